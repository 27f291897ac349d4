#!/usr/bin/env bash
# Harts that change their rank under a guest that works: nothing is lost, and the guest hears nothing of it.
. "$(dirname "$0")/lib.sh"

# move HART RANK CODE
move() {
  local got=0
  "$partita" control "$work/socket" move-hart "hart=$1" "rank=$2" >>"$work/moves" 2>>"$work/err.moves" || got=$?
  [ "$got" = "$3" ] || fail "move-hart hart=$1 rank=$2: exit code $got instead of $3"
}

# Every hart leaves its rank and comes back, one rank is left without harts, and wishes that cannot be are refused.
case_harts() {
  need_guest
  mkdir "$work/overlay"
  # Mostly computing: processes that start and talk over ranks would take most of the time on a busy host.
  cat >"$work/overlay/run" <<'RUN'
dd if=/dev/urandom of=/tmp/blob bs=1M count=4 2>/dev/null
for i in 1 2 3 4; do
  (for n in 1 2 3 4 5 6 7 8; do sha256sum /tmp/blob; done >/tmp/s$i) &
done
wait
[ "$(cat /tmp/s? | sort -u | wc -l)" = 1 ] && [ "$(cat /tmp/s? | wc -l)" = 32 ] && echo SUMS-OK
RUN
  "$top/launch/guest/initramfs.sh" "$guest" "$work/initrd" "$work/overlay"
  "$partita" run -smp 4 -m 1G --ranks 2 --control "$work/socket" -timeout 250 -kernel "$guest/Image" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet nomods act=run" </dev/null >"$work/out" 2>"$work/err" &
  local machine=$! code=0
  for _ in $(seq 200); do
    ! grep -qa '^BOOT-OK' "$work/out" || break
    kill -0 $machine 2>/dev/null || fail "the machine ended before BOOT-OK"
    sleep 1
  done
  for pair in "2 0" "3 0" "2 1" "0 1" "1 1" "0 0" "3 1" "1 0"; do
    # shellcheck disable=SC2086 # two words
    move $pair 0
  done
  move 4 0 1
  move 0 2 1
  wait $machine || code=$?
  [ $code = 0 ] || fail "exit code $code"
  [ "$(grep -c pause-ms "$work/moves")" = 8 ] || fail "not eight moves"
  out_has '^SUMS-OK'
  out_has 'reboot: Power down'
  healthy
}

main "$@"
