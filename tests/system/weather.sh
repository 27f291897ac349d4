#!/usr/bin/env bash
# Bad weather for a machine on several ranks: ranks that die, stop or differ, files and memory that are not there. Each
# ends within seconds, with one message that names what is wrong, and leaves no process.
. "$(dirname "$0")/lib.sh"

need_mpi() {
  need mpirun
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
}
mpirun="mpirun --oversubscribe --bind-to none"

# Our own lines on stderr: mpirun adds a page of its own. Of silence is told in `said`: a busy host may have made it.
messages() { grep -a '^partita: ' "$work/err" | grep -avE ': one machine on |: nothing was heard of .* waiting for it|is back after'; }
# message REGEX : the only message matches
message() {
  [ "$(messages | wc -l)" = 1 ] || fail "not exactly one message"
  messages | grep -qE -- "$1" || fail "no message like: $1"
}

# refused CODE REGEX COMMAND... : ends by itself, with one message: that of who refuses, not of who waited for it in vain
refused() {
  local want=$1 regex=$2 code=0
  shift 2
  timeout -k 5 100 "$@" </dev/null >"$work/out" 2>"$work/err" || code=$?
  [ "$code" = "$want" ] || fail "exit code $code instead of $want: $*"
  message "$regex"
}
# Wrong in every rank, or in one: over ranks of one process and over processes.
refused_by_all() {
  local want=$1 regex=$2
  shift 2
  refused "$want" "$regex" "$partita" run --ranks 2 "$@"
  # shellcheck disable=SC2086 # words
  refused "$want" "$regex" $mpirun -n 2 "$partita" run "$@"
}

# Each rank reads its command line, before it has met the others.
case_command_line() {
  need_mpi
  # shellcheck disable=SC2086 # words
  refused 2 "^partita: error: unknown option '-nonsense'" $mpirun -n 3 "$partita" run --demo -smp 3 -nonsense
  # shellcheck disable=SC2086 # words
  refused 2 "^partita: error: unknown command 'rnu'" $mpirun -n 3 "$partita" rnu --demo
  # shellcheck disable=SC2086 # words
  refused 2 '^partita: rank 1 \(host .*, pid [0-9]+\): error: -smp .*nonsense' $mpirun -n 1 "$partita" run --demo -smp 2 \
    : -n 1 "$partita" run --demo -smp nonsense
}
# A warning is no refusal, and also written once.
case_command_line_warns() {
  need_mpi
  local code=0
  # shellcheck disable=SC2086 # words
  timeout -k 5 100 $mpirun -n 2 "$partita" run --demo -smp 2 -rtc base=2020-01-01 </dev/null >"$work/out" 2>"$work/err" || code=$?
  [ "$code" = 0 ] || fail "exit code $code"
  message 'warning: -rtc base=2020-01-01 has no effect'
}

case_no_kernel() { need_mpi; refused_by_all 2 "'/nonexistent'" -smp 2 -kernel /nonexistent; }
case_no_drive() { need_mpi; refused_by_all 2 "drive '/nonexistent'" -smp 2 --demo -drive file=/nonexistent; }
case_broken_tree() {
  need_mpi
  head -c 1000 /dev/zero >"$work/tree"
  refused_by_all 2 'device tree .* is broken' -dtb "$work/tree" -kernel "$work/tree"
}
case_no_memory() {
  need_mpi
  # shellcheck disable=SC2086 # words
  refused 2 'cannot map 512 MiB of guest memory' $mpirun -n 1 "$partita" run -smp 2 -m 512M --demo \
    : -n 1 bash -c "ulimit -v 400000; exec $partita run -smp 2 -m 512M --demo"
  messages | grep -qE '^partita: rank 1 \(host .*, pid [0-9]+\): error: ' || fail "the rank is not named"
}
# /dev/shm is too small for what MPI wants to share: one rank says so, and messages take another way.
case_small_shared_memory() {
  need_mpi
  unshare -m true 2>/dev/null || skip "no mount namespace can be made here"
  local code=0
  # shellcheck disable=SC2086 # words
  timeout -k 5 100 unshare -m sh -c 'mount -t tmpfs -o size=64k shm /dev/shm && exec "$@"' sh \
    $mpirun -n 2 "$partita" run --demo -smp 2 </dev/null >"$work/out" 2>"$work/err" || code=$?
  [ "$code" = 0 ] || fail "exit code $code"
  out_has 'primes below 1,000,000: right'
  [ "$(grep -c '^partita: .*warning: /dev/shm of host .* has only 64 KiB free: 2 ranks want 8 MiB there' "$work/err")" = 1 ] || fail "no warning of /dev/shm"
}
case_options() {
  need_mpi
  refused_by_all 2 '--clock virtual' -smp 2 --demo --clock virtual
}
# Not as many machines as processes, which would all have the same disks.
case_ranks_in_ranks() {
  need_mpi
  # shellcheck disable=SC2086 # words
  refused 2 '^partita: error: --ranks: seed= delays the messages between ranks of one process' $mpirun -n 2 "$partita" run --ranks 1,seed=4 -smp 4 --demo
  # shellcheck disable=SC2086 # words
  refused 2 '^partita: error: --ranks: mpirun has started several processes already' $mpirun -n 2 "$partita" run --ranks 2 -smp 4 --demo
}
case_more_ranks_than_harts() {
  need_mpi
  # shellcheck disable=SC2086 # words
  refused 2 '3 ranks need as many harts: -smp is 2' $mpirun -n 3 "$partita" run -smp 2 --demo
}

# differing REGEX OPTION... -- OPTION... : rank 0 has the first options, rank 1 the second
differing() {
  local regex=$1 first=()
  shift
  while [ "$1" != -- ]; do first+=("$1"); shift; done
  shift
  # shellcheck disable=SC2086 # words
  refused 2 "$regex" $mpirun -n 1 "$partita" run "${first[@]}" : -n 1 "$partita" run "$@"
}
both='rank 0 \(host .*, pid [0-9]+\) has .*, rank 1 \(host .*, pid [0-9]+\) has'
case_other_options() {
  need_mpi
  differing "-smp: $both" --demo -smp 2 -- --demo -smp 3
  differing "-m: $both" --demo -smp 2 -m 64M -- --demo -smp 2 -m 65540K
  differing "-append: $both" --demo -smp 2 -append a -- --demo -smp 2 -append b
  differing "-rebalance: $both" --demo -smp 2 -- --demo -smp 2 -rebalance off
  differing "-harts-per-rank: $both" --demo -smp 4 -harts-per-rank 1,3 -- --demo -smp 4 -harts-per-rank 2,2
  differing "-clock: $both" --demo -smp 2 -- --demo -smp 2 --clock virtual
}
case_other_kernel() {
  need_mpi
  build_guest spin
  cp "$work/spin.elf" "$work/first"
  cp "$work/spin.elf" "$work/second"
  printf x >>"$work/second"
  differing "kernel file: $both" -smp 2 -bios none -kernel "$work/first" -- -smp 2 -bios none -kernel "$work/second"
}
case_other_version() {
  need_mpi
  local version
  version=$("$partita" --version | cut -d' ' -f2)
  sed "s/${version//./\\.}/${version%?}x/g" "$partita" >"$work/other"
  chmod +x "$work/other"
  [ "$("$work/other" --version)" = "partita ${version%?}x" ] || skip "the version cannot be changed in the binary"
  # shellcheck disable=SC2086 # words
  refused 2 "program version: $both" $mpirun -n 1 "$partita" run --demo -smp 2 : -n 1 "$work/other" run --demo -smp 2
}

# --- ranks that die or stop while a guest runs ---

# start RANKS WORDS REGEX : Debian's kernel over RANKS processes, until its output has the REGEX; $job, $pids by rank
start() {
  local nr=$1 words=$2 regex=$3
  need_mpi
  need_guest
  # shellcheck disable=SC2086 # words
  timeout -k 5 "$limit" $mpirun -n "$nr" sh -c 'echo "$OMPI_COMM_WORLD_RANK $$" >>'"$work/pids"'; exec "$@"' sh \
    "$partita" run -smp "$nr" -m 512M -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" \
    -append "console=ttyS0 $patient nomods $words" </dev/null >"$work/out" 2>"$work/err" &
  job=$!
  until grep -qsa "$regex" "$work/out"; do
    kill -0 "$job" 2>/dev/null || fail "the run ended before '$regex'"
    sleep 0.1
  done
  mapfile -t pids < <(sort -n "$work/pids" | cut -d' ' -f2)
}

# all_gone SECONDS : job and ranks end; $code is the job's
all_gone() {
  local i pid left
  for ((i = 0; i < $1 * 10; i++)); do
    left=
    for pid in "$job" "${pids[@]}"; do ! kill -0 "$pid" 2>/dev/null || left=$pid; done
    [ -n "$left" ] || break
    sleep 0.1
  done
  [ -z "$left" ] || { kill -9 "$job" "${pids[@]}" 2>/dev/null; fail "process $left is still there after $1 s"; }
  code=0
  wait "$job" || code=$?
}

# killed RANKS RANK WORDS REGEX
killed() {
  start "$1" "$3" "$4"
  kill -9 "${pids[$2]}"
  all_gone 20
  [ "$code" != 0 ] || fail "exit code 0"
  # mpirun ends the others too, and may be faster than their message.
  [ "$(messages | wc -l)" -le 1 ] || fail "more than one message"
  [ -z "$(messages)" ] || message "rank $2 \(host .*, pid ${pids[$2]}\) is lost: its process ended"
}
case_killed_first_booting() { killed 2 0 '' 'Linux version'; }
case_killed_last_booting() { killed 3 2 '' 'Linux version'; }
case_killed_first_idle() { killed 2 0 'quiet act=idle' BOOT-OK; }
case_killed_last_idle() { killed 3 2 'quiet act=idle' BOOT-OK; }
# mpirun told to leave the others alone: ours notice and say so.
case_killed_unnoticed() {
  mpirun+=" --enable-recovery"
  start 2 'quiet act=idle' BOOT-OK
  kill -9 "${pids[1]}"
  all_gone 20
  message "rank 1 \(host .*, pid ${pids[1]}\) is lost: its process ended"
}

# said REGEX : how many lines
said() { grep -acE -- "^partita: $1" "$work/err"; }

# stopped RANK : in the middle of a boot, until the other one says that it misses it. Each silence is told once, and so is its end.
stopped() {
  local of before
  start 2 '' 'Linux version'
  of="rank $1 \(host .*, pid ${pids[$1]}\)"
  before=$(said "warning: nothing was heard of $of")
  kill -STOP "${pids[$1]}"
  until [ "$(said "warning: nothing was heard of $of")" -gt "$before" ]; do # a loaded host counts slowly
    kill -0 "$job" 2>/dev/null || fail "the run has ended"
    sleep 0.1
  done
  kill -CONT "${pids[$1]}"
  all_gone 150
  [ "$code" = 0 ] || fail "exit code $code"
  out_has '^BOOT-OK nproc=2 '
  [ "$(said "$of is back after")" = "$(said "warning: nothing was heard of $of")" ] || fail "not as often back as silent"
}
case_stopped() { stopped 1; }
case_stopped_first() { stopped 0; } # with the devices

# ended SIGNAL RANK : one rank is told to end, all do, with its code
ended() {
  start 2 'quiet act=idle' BOOT-OK
  kill "-$1" "${pids[$2]}"
  all_gone 20
  [ "$code" = $((128 + $(kill -l "$1"))) ] || fail "exit code $code after SIG$1"
  [ -z "$(messages)" ] || fail "a message"
}
case_sigterm_first() { ended TERM 0; }
case_sigterm_other() { ended TERM 1; }
case_sigint_other() { ended INT 1; }
case_sigterm_launcher() {
  start 2 'quiet act=idle' BOOT-OK
  kill -TERM "$job" # timeout passes it on to mpirun
  all_gone 20
  [ "$code" != 0 ] || fail "exit code 0"
}

# The kernel file goes away before the guest resets itself: all ranks end.
case_kernel_gone_at_reset() {
  need_guest
  local code=0 i
  cp "$guest/Image" "$work/kernel"
  timeout -k 5 100 "$partita" run --ranks 2 -smp 2 -m 512M -kernel "$work/kernel" -initrd "$guest/initramfs.cpio.gz" \
    -append "console=ttyS0 $patient nomods quiet act=reboot" </dev/null >"$work/out" 2>"$work/err" &
  for ((i = 0; i < 900; i++)); do
    ! grep -qa BOOT-OK "$work/out" || break
    sleep 0.1
  done
  rm "$work/kernel"
  wait $! || code=$?
  [ "$code" = 2 ] || fail "exit code $code"
  message "-kernel '.*/kernel'"
}

# --- exit codes through mpirun ---

# The finisher's word from hart 1, which runs on rank 1.
case_finisher_elsewhere() {
  need_mpi
  local code=0
  build_guest finisher_last
  # shellcheck disable=SC2086 # words
  timeout -k 5 60 $mpirun -n 2 "$partita" run -smp 2 -m 16M -bios none -kernel "$work/finisher_last.elf" </dev/null \
    >"$work/out" 2>"$work/err" || code=$?
  [ "$code" = 7 ] || fail "exit code $code instead of 7"
}
case_timeout() {
  need_mpi
  build_guest spin
  # shellcheck disable=SC2086 # words
  refused 124 'timeout' $mpirun -n 2 "$partita" run -smp 2 -m 16M -bios none -kernel "$work/spin.elf" -timeout 2
}

main "$@"
