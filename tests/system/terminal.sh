#!/usr/bin/env bash
# On a terminal: Ctrl-A x ends a guest that listens to nobody, and the terminal's mode comes back.
set -u
command -v script >/dev/null || { echo "SKIP: no script(1)"; exit 77; }
printf '\001\240' >spin # j .
cat >session.sh <<EOS
before=\$(stty -g)
'$PARTITA' run -bios none -kernel spin --timeout 30
echo "code=\$?"
[ "\$(stty -g)" = "\$before" ] && echo mode=same
EOS
# await TEXT : until the terminal shows that, or its session is over
await() {
  until grep -qF -- "$1" said || [ ! -e typed ]; do sleep 0.05; done
}
rm -f typed
mkfifo typed
: >said
{ timeout 60 script -qec "bash session.sh" /dev/null <typed >said 2>&1; rm -f typed; } &
trap '' PIPE # a session that ends too early is told by what it said
exec 3>typed
await "booting:" # what is typed before the terminal is the guest's may be lost
printf '\001h' >&3
await "Ctrl-A x"
printf '\001x' >&3
await "mode="
exec 3>&-
wait $!
said=$(cat said)
for want in "booting:" "Ctrl-A x" "code=0" "mode=same"; do
  grep -qF -- "$want" <<<"$said" || { printf 'FAILED: no "%s" in:\n%s\n' "$want" "$said"; exit 1; }
done
