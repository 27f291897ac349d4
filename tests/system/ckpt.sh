#!/usr/bin/env bash
# Images of machines on several ranks: one instant of all, restored on any number of them; signals at any rank, ranks that
# die or cannot write.
. "$(dirname "$0")/lib.sh"
. "$here/lib_images.sh"

# The ring's last round comes, and all of it was right: the run that begins now is the last.
last_piece() {
  echo x >"$work/in"
  begin "$@"
  finish 0
  out_has RING-OK
}

# piece HOW : the running machine makes an image and goes: by SIGTERM, or killed while it goes on after SIGUSR1.
piece() {
  local before
  before=$(newest)
  find_children "${2:-1}"
  sleep 0.2
  if [ "$1" = TERM ]; then
    kill -TERM "${children[-1]}"
    finish 85
    return
  fi
  kill -USR1 "${children[-1]}"
  await_image "$before"
  sleep 0.1
  killed
}

# over RANKS... : the ring in pieces on those numbers of ranks, one after the other, and to its end on the first number.
over() {
  local how=TERM n first=$1
  shift
  begin "$partita" run "${machine[@]}" --checkpoint-dir "$store" --checkpoint-incremental --ranks "$first"
  for n in "$@"; do
    piece $how
    if [ $how = TERM ]; then how=USR1; else how=TERM; fi
    begin "$partita" restore "$store" --checkpoint-dir "$store" --checkpoint-incremental --keep 2 --ranks "$n" "${spread[@]}"
  done
  piece TERM
  last_piece "$partita" restore "$store" --ranks "$first"
  "$partita" image verify "$store" >"$work/verify" || { cat "$work/verify"; fail "damaged"; }
}

# as_one HARTS PAGES : memory and what harts carried in registers are those of a run on one rank that nobody interrupted
as_one() {
  local rounds sum
  read -r rounds sum < <(sed -nE 's/^RING-OK rounds=(\w+) sum=(\w+)\r?$/\1 \2/p' "$work/out")
  ring "$1" "$2" "$rounds"
  : >"$work/in"
  : >"$work/out"
  begin "$partita" run "${machine[@]}"
  finish 0
  out_has "^RING-OK rounds=$rounds sum=$sum"
  echo "$((rounds)) rounds"
}

# Each number of ranks from 1 to 4 to each other and itself. Pages bounce while they are saved.
case_any_to_any() {
  ring 4 16
  over 1 1 2 1 3 1 4 2 2 3 2 4 3 3 4 4
  as_one 4 16
}

# From each number of ranks up to 16 to another one.
case_many_ranks() {
  ring 16 1
  over 1 16 3 13 5 7 2 15 4 12 6 11 8 14 9 10
  as_one 16 1
}

# Late messages in random order, images one after the other.
case_weather() {
  local n
  ring 4 4
  begin "$partita" run "${machine[@]}" --checkpoint-dir "$store" --checkpoint-incremental --checkpoint-every 30ms --keep 2 \
    --ranks 3,seed=4711
  await_image ""
  await_image "$(newest)"
  await_image "$(newest)"
  find_children 1
  killed
  last_piece "$partita" restore "$store"
}

# Harts change their rank between images, and while one is made: each has one state in each image.
case_moving_harts() {
  spread=()
  ring 4 4
  begin "$partita" run "${machine[@]}" --checkpoint-dir "$store" --checkpoint-incremental --checkpoint-every 5ms --keep 2 \
    --ranks 3 --control "$work/socket"
  local n image name
  await_image ""
  for n in 1 2 3 4 5 6 7 8; do
    "$partita" control "$work/socket" move-hart "hart=$((n % 4))" "rank=$((n % 3))" >/dev/null || fail "move $n"
    "$partita" control "$work/socket" move-hart "hart=$(((n + 2) % 4))" "rank=$((n % 3))" >/dev/null || fail "move $n"
  done
  await_image "$(newest)"
  find_children 1
  killed
  for image in "$store"/*/manifest.json; do
    "$partita" image show "$(dirname "$image")" >"$work/show" || fail "image show"
    for name in 0 1 2 3; do
      [ "$(grep -c "^section hart/$name " "$work/show")" = 1 ] || fail "not one section hart/$name in $image"
    done
  done
  last_piece "$partita" restore "$store" --ranks 2
}

# move_memory START LENGTH RANK [CODE]
move_memory() {
  local got=0
  "$partita" control "$work/socket" move-memory "start=$1" "length=$2" "rank=$3" >>"$work/moves" 2>>"$work/err.moves" || got=$?
  [ "$got" = "${4:-0}" ] || fail "move-memory $*: exit code $got"
}

# homes_are LINE : what query-memory says
homes_are() {
  "$partita" control "$work/socket" query-memory >"$work/homes" || fail "query-memory"
  [ "$(cat "$work/homes")" = "$1" ] || fail "homes: $(cat "$work/homes") instead of $1"
}

# Homes of memory change their rank while pages bounce and images are made, also while memory still comes from an image. The
# ring lies in the first segments.
case_moving_homes() {
  local n
  ring 4 64
  begin "$partita" run "${machine[@]}" --ranks 4 --control "$work/socket"
  find_children 1
  homes_are '{"homes": [{"length": 16777216, "rank": 0, "start": 2147483648}, {"length": 16777216, "rank": 1, "start": 2164260864}, {"length": 16777216, "rank": 2, "start": 2181038080}, {"length": 16777216, "rank": 3, "start": 2197815296}]}'
  for n in 1 2 3 0 2 1; do
    move_memory 0x80000000 4096 $n
    move_memory 0x80200000 0x1e00000 $(((n + 1) % 4))
  done
  move_memory 0x80000000 0x4000000 3
  homes_are '{"homes": [{"length": 67108864, "rank": 3, "start": 2147483648}]}'
  "$partita" checkpoint "$work/socket" "$store" >/dev/null || fail "image 1"
  move_memory 0x80000000 0x4000000 1
  "$partita" checkpoint "$work/socket" "$store" --incremental >"$work/image" || fail "image 2"
  grep -q '(incremental)' "$work/image" || fail "image 2 is not incremental"
  move_memory 0x80000000 0x200000 2
  [ "$(grep -c '"moved-bytes": [1-9]' "$work/moves")" -ge 12 ] || fail "homes did not move"
  move_memory 0x80000000 0x200000 4 1
  grep -q 'not all homes were moved: move-memory: .* to rank 4: .*ranks 0-3' "$work/err.moves" || fail "why: $(cat "$work/err.moves")"
  move_memory 0x70000000 0x200000 1 1
  move_memory 0x80000000 -1 1 1
  find_children 1
  killed
  begin "$partita" restore "$store" --ranks 3 --control "$work/socket" "${spread[@]}"
  find_children 1
  for n in 2 0 1; do move_memory 0x80000000 0x4000000 $n; done
  "$partita" checkpoint "$work/socket" "$store" >/dev/null || fail "image 3"
  find_children 1
  killed
  last_piece "$partita" restore "$store" --ranks 2
}

# By themselves: no hart is left on the rank that has the home of what the others share.
case_homes_follow() {
  local n=0
  spread=(-rebalance homes)
  ring 3 64
  begin "$partita" run "${machine[@]}" --ranks 3 --control "$work/socket" --stats
  find_children 1
  until "$partita" control "$work/socket" move-hart hart=0 rank=1 >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || fail "the run has ended"
    sleep 0.1
  done
  until "$partita" control "$work/socket" query-memory | grep -q '"rank": [12], "start": 2147483648}'; do
    kill -0 "$pid" 2>/dev/null || fail "the run has ended"
    n=$((n + 1))
    [ $n -lt 1200 ] || fail "its home stays at rank 0"
    sleep 0.1
  done
  "$partita" checkpoint "$work/socket" "$store" --stop >/dev/null || fail "image"
  finish 85
  err_has 'rank 0:   balancing moved the homes of [0-9]+ MiB in [0-9]+ pauses'
  last_piece "$partita" restore "$store" --ranks 2
}

# `stop` is for all ranks and their clocks; an image of what stands still is as good; `cont` lets them go on at one time.
case_stopped() {
  need python3
  ring 4 4
  begin "$partita" run "${machine[@]}" --ranks 3 --control "$work/socket"
  find_children 1
  python3 - "$work/socket" "$store" <<'PY' || fail "conversation"
import json, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')
def ask(name, **arguments):
    f.write(json.dumps({"execute": name, "arguments": arguments}) + "\n"); f.flush()
    return json.loads(f.readline())["return"]
f.readline()
ask("stop")
a = ask("query-status"); time.sleep(0.5); b = ask("query-status")
assert a == b and a["status"] == "paused", (a, b)
assert ask("checkpoint", dir=sys.argv[2])["image"].endswith("000001")
c = ask("query-status"); assert c == a, (a, c)
begin = time.monotonic(); ask("cont")
while (d := ask("query-status"))["instructions"] <= a["instructions"]: time.sleep(0.05) # on a busy host harts may wait for their core
most = (time.monotonic() - begin) * 1e9; assert 0 < d["guest-time-ns"] - a["guest-time-ns"] < most, (a, d, most)
PY
  killed
  last_piece "$partita" restore "$store" --ranks 4 "${spread[@]}"
}

# One image right after the other: ranks whose last one still ends make the next all the same.
case_at_once() {
  need python3
  ring 4 16
  begin "$partita" run "${machine[@]}" --ranks 3 --control "$work/socket"
  find_children 1
  python3 - "$work/socket" "$store" <<'PY' || fail "conversation"
import json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')
f.readline()
for n in range(60):
    f.write(json.dumps({"execute": "checkpoint", "arguments": {"dir": sys.argv[2], "incremental": True}}) + "\n"); f.flush()
    answer = json.loads(f.readline())
    assert "return" in answer, (n, answer)
PY
  killed
  last_piece "$partita" restore "$store" --ranks 2
}

# Debian's boot in pieces, each on another number of ranks.
case_boot() {
  need_guest
  local n=0 more=(3 1 4 2) accel=interp lines=10
  begin "$partita" run -smp 4 -m 512M -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" \
    -append "earlycon=sbi console=ttyS0 $patient act=poweroff" --ranks 2 -accel interp --checkpoint-dir "$store" --checkpoint-incremental
  while :; do
    # A piece is some lines, and interpreted, or the boot is over too soon; what prints takes signals. After four it may go on to
    # its end, translated.
    until [ "$(wc -l <"$work/out")" -ge $lines ] || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    kill -TERM "$(pgrep -P "$pid" -x partita)" 2>/dev/null
    finish 0 85
    [ "$code" != 0 ] || break
    lines=$(($(wc -l <"$work/out") + 10))
    if [ $n = 3 ]; then lines=1000000 accel=jit; fi
    begin "$partita" restore "$store" --checkpoint-dir "$store" --checkpoint-incremental --keep 3 --accel $accel --ranks ${more[n % 4]}
    n=$((n + 1))
  done
  [ $n -ge 4 ] || fail "only $n restores"
  out_has '^BOOT-OK nproc=4'
  out_has 'reboot: Power down'
  healthy
}

# A restored machine that ends while its memory is still coming.
case_ends_early() {
  local n
  ring 4 4000
  begin "$partita" run "${machine[@]}" --checkpoint-dir "$store" --ranks 2
  piece TERM
  for n in 2 4 2 4; do
    begin "$partita" restore "$store" --ranks $n --timeout 0.000001s
    finish 124
  done
}

# All ranks are killed at once, at instants that nobody chose, while one image after the other is made: the last complete one goes on, on
# another number of ranks, and so on. KILLS=200: more than 20 instants; SEED: those of another run.
case_killed_all() {
  local n before='' seed=${SEED:-$$}
  mpi
  ring 4 16
  echo "SEED=$seed"
  RANDOM=$seed
  begin "$partita" run "${machine[@]}" --checkpoint-dir "$store" --checkpoint-incremental --checkpoint-every 20ms --keep 3 --ranks 3
  find_children 1
  for n in $(seq "${KILLS:-20}"); do
    await_image "$before"
    sleep "0.$(printf %03d $((RANDOM % 120)))"
    killed
    "$partita" image verify "$store" >"$work/verify" || { cat "$work/verify"; fail "damaged after kill $n"; }
    before=$(newest)
    again=(restore "$store" --checkpoint-dir "$store" --checkpoint-incremental --checkpoint-every 20ms --keep 3 "${spread[@]}")
    if [ $((n % 7)) = 0 ]; then
      begin "${mpirun[@]}" -n 2 "$partita" "${again[@]}"
      find_children 2
    else
      begin "$partita" "${again[@]}" --ranks $((n % 4 + 1))
      find_children 1
    fi
  done
  await_image "$before"
  killed
  last_piece "$partita" restore "$store" --ranks 2
}

# Processes: the last rank is asked, all end with 85, and it goes on in others.
case_mpi() {
  mpi
  ring 4 8
  begin "${mpirun[@]}" -n 2 "$partita" run "${machine[@]}" --checkpoint-dir "$store" --checkpoint-incremental
  piece USR1 2
  begin "${mpirun[@]}" -n 3 "$partita" restore "$store" --checkpoint-dir "$store" --checkpoint-incremental "${spread[@]}"
  piece TERM 3
  last_piece "$partita" restore "$store"
}

# A rank dies at a random instant while images are made one after the other: the last complete one is good.
case_mpi_killed_rank() {
  mpi
  ring 4 8
  begin "${mpirun[@]}" -n 2 "$partita" run "${machine[@]}" --checkpoint-dir "$store" --checkpoint-every 20ms --keep 2
  await_image ""
  find_children 2
  local n
  for n in 1 2 3; do
    sleep "0.$((RANDOM % 400 + 100))"
    kill -KILL "${children[1]}"
    gone
    "$partita" image verify "$store" >"$work/verify" || { cat "$work/verify"; fail "damaged after kill $n"; }
    grep -q good "$work/verify" || fail "no image after kill $n"
    if [ $n = 3 ]; then break; fi
    begin "${mpirun[@]}" -n 2 "$partita" restore "$store" --checkpoint-dir "$store" --checkpoint-every 20ms --keep 2
    find_children 2
    await_image "$(newest)"
  done
  last_piece "$partita" restore "$store"
}

# One rank cannot write its part: it says why, the first says which rank it was, the guest goes on, nothing is left of the
# image, and the one before is good. When there is room again the next is a full one.
case_mpi_full_disk() {
  mpi
  need prlimit
  ring 4 64
  trap "" XFSZ # as a full disk: no signal, an error
  begin "${mpirun[@]}" -n 2 "$partita" run "${machine[@]}" --checkpoint-dir "$store" --checkpoint-incremental
  find_children 2
  kill -USR1 "${children[0]}"
  await_image ""
  prlimit --pid "${children[1]}" --fsize=1000:unlimited
  kill -USR1 "${children[0]}"
  await_err "part-0001.(data|index)': .*File too large" # mpirun may pass on what rank 0 says of it first
  await_err 'no image was made'
  err_has "checkpoint: rank 1 \(.*\) cannot save its part: input/output error"
  [ "$(ls "$store")" = "000001
lock" ] || fail "something is left: $(ls "$store")"
  prlimit --pid "${children[1]}" --fsize=unlimited:unlimited
  kill -USR1 "${children[1]}"
  await_image "$(newest)"
  await_err 'checkpoint: .*000002: ' # not "(incremental)"
  killed
  last_piece "$partita" restore "$store"
}

# The directory is another one for the second rank: said before the guest runs.
case_mpi_invisible_folder() {
  mpi
  ring 4 1
  mkdir "$work/elsewhere"
  cd "$work" || fail "cd"
  local args=(run "${machine[@]}" --checkpoint-dir store)
  begin "${mpirun[@]}" -n 1 "$partita" "${args[@]}" : -n 1 bash -c 'cd elsewhere && exec "$@"' bash "$partita" "${args[@]}"
  finish 2
  err_has "partita: error: --checkpoint-dir 'store': rank 1 .* does not see there what rank 0 writes"
  [ "$(grep -c '^partita: ' "$work/err")" = 1 ] || fail "not exactly one message"
}

main "$@"
