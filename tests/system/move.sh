#!/usr/bin/env bash
# Harts and homes of memory that change their rank under a guest that works: nothing is lost, and the guest hears nothing of it.
. "$(dirname "$0")/lib.sh"

# move HART RANK CODE
move() {
  local got=0
  "$partita" control "$work/socket" move-hart "hart=$1" "rank=$2" >>"$work/moves" 2>>"$work/err.moves" || got=$?
  [ "$got" = "$3" ] || fail "move-hart hart=$1 rank=$2: exit code $got instead of $3"
}

# await PATTERN COUNT : that many lines of the guest's output
await() {
  until [ "$(grep -scae "$1" "$work/out")" -ge "$2" ] 2>/dev/null; do
    kill -0 "$machine" 2>/dev/null || fail "the machine ended before $2 lines like $1"
    sleep 0.1
  done
}

# guest_that_checks : $work/initrd, whose four processes never end and compare what they read
guest_that_checks() {
  need_guest
  mkdir "$work/overlay"
  cat >"$work/overlay/run" <<'RUN'
dd if=/dev/urandom of=/tmp/blob bs=256k count=1 2>/dev/null
want=$(sha256sum /tmp/blob)
for i in 1 2 3 4; do
  while :; do [ "$(sha256sum /tmp/blob)" = "$want" ] && echo "GOOD $i" || echo "BAD $i"; sleep 0.1; done &
done
wait
RUN
  "$top/launch/guest/initramfs.sh" "$guest" "$work/initrd" "$work/overlay"
}

# begin OPTION... : that guest on four harts; $machine
begin() {
  "$partita" run -smp 4 -m 1G --control "$work/socket" -timeout 250 -kernel "$guest/Image" -initrd "$work/initrd" \
    -append "console=ttyS0 $patient quiet nomods act=run" "$@" </dev/null >"$work/out" 2>"$work/err" &
  machine=$!
}

# Every hart leaves its rank and comes back, one rank is left without harts, and wishes that cannot be are refused. The guest
# works until it is ended.
case_harts() {
  guest_that_checks
  begin --ranks 2 -rebalance off
  local code=0 i
  for i in 1 2 3 4; do await "^GOOD $i" 1; done
  for pair in "2 0" "3 0" "2 1" "0 1" "1 1" "0 0" "3 1" "1 0"; do
    # shellcheck disable=SC2086 # two words
    move $pair 0
  done
  move 4 0 1
  move 0 2 1
  for i in 1 2 3 4; do await "^GOOD $i" $(($(grep -cae "^GOOD $i" "$work/out") + 3)); done
  "$partita" control "$work/socket" quit >>"$work/moves" || fail "quit"
  wait $machine || code=$?
  [ $code = 0 ] || fail "exit code $code"
  [ "$(grep -c pause-ms "$work/moves")" = 8 ] || fail "not eight moves"
  out_lacks '^BAD'
  healthy
}

# The homes of all memory go round three ranks while the kernel boots and works, harts moving as they like.
case_homes() {
  guest_that_checks
  begin --ranks 3
  local code=0 i rank
  until [ -S "$work/socket" ]; do kill -0 "$machine" || fail "no machine"; sleep 0.1; done
  until "$partita" control "$work/socket" query-status >/dev/null 2>&1; do kill -0 "$machine" || fail "no machine"; sleep 0.1; done
  for rank in 1 2 0 1 2 0 2 1 0 1; do
    for i in $(seq 20); do # a device may be long with a page
      ! "$partita" control "$work/socket" move-memory start=0x80000000 length=0x40000000 "rank=$rank" >>"$work/moves" || break
    done
    [ "$i" -lt 20 ] || fail "move-memory to $rank"
    await . "$(($(grep -ca . "$work/out") + 1))"
  done
  for i in 1 2 3 4; do await "^GOOD $i" $(($(grep -cae "^GOOD $i" "$work/out") + 2)); done
  "$partita" control "$work/socket" quit >>"$work/moves" || fail "quit"
  wait $machine || code=$?
  [ $code = 0 ] || fail "exit code $code"
  [ "$(grep -c '"moved-bytes": [1-9]' "$work/moves")" = 10 ] || fail "not ten moves"
  out_lacks '^BAD'
  healthy
}

# Harts are moved while the guest resets again and again: each of them has one executor at any time, and starts in each life.
case_resets() {
  need python3
  build_hostile lives s
  local code=0
  "$partita" run -smp 4 -m 16M --ranks 2 -rebalance off --control "$work/socket" -timeout 250 -kernel "$work/lives.elf" \
    </dev/null >"$work/out" 2>"$work/err" &
  machine=$!
  until [ -S "$work/socket" ]; do kill -0 "$machine" || fail "no machine"; sleep 0.05; done
  python3 - "$work/socket" <<'PY' >"$work/moves" || fail "conversation"
import itertools, json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')
moved = 0
try:
    f.readline()
    for n in itertools.count():
        f.write(json.dumps({"execute": "move-hart", "arguments": {"hart": 1 + n % 3, "rank": n // 3 % 2}}) + "\n"); f.flush()
        moved += "return" in json.loads(f.readline()) # refused while one of them is in a reset
except (OSError, ValueError):
    print(moved)
PY
  wait $machine || code=$?
  [ $code = 0 ] || fail "exit code $code"
  [ "$(cat "$work/moves")" -ge 10 ] || fail "$(cat "$work/moves") moves"
}

# status FIELD : a number of query-status, 0 when it has none
status() {
  local got
  got=$("$partita" control "$work/socket" query-status 2>/dev/null | grep -o "\"$1\": *[0-9]*") || got=0
  echo "${got##*[!0-9]}"
}

# turns_go_on : do harts have turns on lent cores while they execute this many millions of instructions?
turns_go_on() {
  local turns insns
  turns=$(status turns-on-lent-cores)
  insns=$(($(status instructions) + $1 * 1000000))
  while [ "$(status instructions)" -lt $insns ]; do
    kill -0 "$machine" 2>/dev/null || fail "the machine ended"
    sleep 0.05
  done
  [ "$(status turns-on-lent-cores)" -gt "$turns" ]
}

# The harts of two ranks come together on one: it has the core of the other, until they go back. The host of this test has two
# cores, whatever there are. On a busy host harts may wait for a page so long that they are moved by themselves, hence each
# wish is repeated.
case_demo_lend() {
  build_guest spin
  HWLOC_SYNTHETIC="core:2 pu:1" "$partita" run -smp 4 -m 64M --ranks 2 --control "$work/socket" -timeout 250 -bios none \
    -kernel "$work/spin.elf" --stats </dev/null >"$work/out" 2>"$work/err" &
  machine=$!
  local code=0 i
  for i in $(seq 600); do [ "$(status instructions)" = 0 ] || break; sleep 0.1; done
  for i in $(seq 100); do
    move 2 0 0
    move 3 0 0
    ! turns_go_on 100 || break
  done
  turns_go_on 1000 || fail "no turns on a lent core"
  for i in $(seq 100); do
    move 2 1 0
    move 3 1 0
    turns_go_on 300 || break
  done
  [ "$i" -lt 100 ] || fail "still turns on a lent core"
  "$partita" control "$work/socket" quit >>"$work/moves" || fail "quit"
  wait $machine || code=$?
  [ $code = 0 ] || fail "exit code $code"
  err_has 'rank 0:   cores were lent or taken back [0-9]+ times'
  err_has 'rank 0:   [0-9]+ turns on lent cores'
}

main "$@"
