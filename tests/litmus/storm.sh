#!/usr/bin/env bash
# Remote fences and IPIs between all harts while pages and code change under them (guest/storm.c), and the same of a kernel's
# code that harts share (guest/shared.c).
# shellcheck disable=SC2154 # variables of guests.sh
. "$(dirname "$0")/guests.sh"

# storm ROUNDS OPTION... : nothing stale, nothing lost
storm() {
  local rounds=${LITMUS_ITERATIONS:-$1}
  shift
  run_guest 0 storm "rounds=$rounds" "$@"
  out_has '^STORM [0-9]+ harts, '
}
case_jit() { storm 20000 -smp 4 -threads 2; }
case_interpreter() { storm 10000 -smp 4 -threads 2 -accel interp; }
case_one_thread() { storm 20000 -smp 4 -threads 1; }
case_many() { storm 3000 -smp 24 -threads 2; }

shared() { # ROUNDS OPTION...
  local rounds=${LITMUS_ITERATIONS:-$1}
  shift
  run_guest 0 shared "rounds=$rounds" "$@"
  out_has '^SHARED [0-9]+ harts, version [0-9]+'
}
case_shared() { shared 4000 -smp 8 -threads 2; }
case_shared_one_thread() { shared 4000 -smp 8 -threads 1; }
case_shared_interpreter() { shared 3000 -smp 6 -threads 2 -accel interp; }

# On several ranks calls of the SBI let pages go: what comes back must not use them.
case_ranks() { storm 4000 -smp 2 -ranks 2; }
case_ranks_four() { storm 2000 -smp 4 -ranks 4; }
case_ranks_uneven() { storm 2000 -smp 5 -ranks 3; }
case_ranks_threads() { storm 3000 -smp 4 -ranks 2 -threads 2; }
case_ranks_late() { storm 400 -smp 4 -ranks 4,seed="${LITMUS_SEED-1}"; }
case_ranks_interpreter() { storm 2000 -smp 4 -ranks 2 -accel interp; }
case_mpi() { mpi 2; storm 3000 -smp 4; }
case_mpi_uneven() { mpi 3; storm 2000 -smp 4; }

# A hart that waits for the others' fences ends its turn when they have been told to stand still.
case_ranks_moving() {
  MOVES=600 move_harts 2 & # with one core there is time for hardly anything else
  storm 3000 -smp 4 -ranks 2 --control "$work/socket"
  wait
  moved 5
}

# Without remote fences a stale load (20), store (21) or instruction (23) must be seen.
fails() { fails_in storm "$@"; }
fails_in() {
  local got=0 elf=$1
  shift
  build_guests
  timeout -k 5 "$limit" "$partita" run -kernel "$guests/$elf.elf" -append "rounds=100000 fault=nofence" "$@" -rebalance off \
    </dev/null >"$work/out" 2>"$work/err" || got=$?
  case $got in 20 | 21 | 23) ;; *) fail "exit code $got without remote fences: $*" ;; esac
}
case_broken() {
  local engine
  for engine in "-threads 2" "-threads 1" "-threads 2 -accel interp"; do
    # shellcheck disable=SC2086 # words
    fails $engine -smp 4
  done
}
case_broken_shared() {
  fails_in shared -smp 8 -threads 2
  fails_in shared -smp 8 -threads 1
}
case_broken_ranks() { fails -smp 4 -ranks 2; }

main "$1"
