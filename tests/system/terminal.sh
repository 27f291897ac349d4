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
said=$({ sleep 2; printf '\001h'; sleep 1; printf '\001x'; sleep 2; } |
  timeout 60 script -qec "bash session.sh" /dev/null 2>&1)
for want in "booting:" "Ctrl-A x" "code=0" "mode=same"; do
  grep -qF -- "$want" <<<"$said" || { printf 'FAILED: no "%s" in:\n%s\n' "$want" "$said"; exit 1; }
done
