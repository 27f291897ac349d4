#!/usr/bin/env bash
# Memory-model tests on Partita's harts (README.md). One case each: engine, number of harts, number of host threads.
# shellcheck disable=SC2154 # variables of guests.sh
. "$(dirname "$0")/guests.sh"

pairs=mp,sb,lb,s,r,2+2w,co,amo,lrsc # groups of tests for two harts, or mostly

# litmus ITERATIONS APPEND OPTION... : no forbidden outcome
litmus() {
  local iterations=${LITMUS_ITERATIONS:-$1} append=$2
  shift 2
  run_guest 0 litmus "iterations=$iterations $append" -bios none "$@"
  out_has '^LITMUS ran [1-9][0-9]* tests, .* 0 with forbidden outcomes'
  out_lacks '^FORBIDDEN'
  grep -a '^LITMUS ran' "$work/out"
  awk '/^LITMUS .* ok/ { weak += $6 > 0; tests++ }
    END { print weak " of " tests " tests showed their outcome of interest" }' "$work/out"
}

case_pairs() { litmus 20000 "groups=$pairs" -smp 2 -threads 2; }
case_pairs_interpreter() { litmus 3000 "groups=$pairs" -smp 2 -threads 2 -accel interp; }
case_four() { litmus 4000 "" -smp 4 -threads 2; out_has ' 0 skipped'; }
case_four_interpreter() { litmus 1000 "" -smp 4 -threads 2 -accel interp; }
case_four_one_thread() { litmus 2000 "" -smp 4 -threads 1; }
case_three() { litmus 4000 "" -smp 3 -threads 2; }
case_many() { litmus 1000 "" -smp 13 -threads 2; }

# Every hart on another rank, or nearly: pages travel with each instance, so there are few of them. The threads meet
# before an instance without long waits, which would only move pages.
ranks() {
  local iterations=$1 append=$2
  shift 2
  litmus "$iterations" "$append batch=40 meet=mixed,spin polls=30" "$@"
}
case_ranks_pairs() { ranks 120 "groups=$pairs" -smp 2 -ranks 2; }
case_ranks_four() { ranks 30 groups=amo,lrsc,three,four -smp 4 -ranks 4; }
case_ranks_uneven() { ranks 40 groups=lrsc,four -smp 5 -ranks 3; }
case_ranks_interpreter() { ranks 40 "groups=$pairs" -smp 2 -ranks 2 -accel interp; }

# Several host threads a rank: pages are taken from a hart that runs on another one.
case_ranks_threads() {
  litmus 500 "groups=mp,sb,lb,co,amo meet=free,spin kinds=32,64 polls=100" -smp 4 -ranks 2 -threads 2
}

# Messages come late and overtake those of other ranks.
case_ranks_late() { ranks 20 "groups=mp,sb,lb,co,lrsc" -smp 2 -ranks 2,seed="${LITMUS_SEED-1}"; }
case_ranks_four_late() { ranks 10 groups=amo,lrsc,four -smp 4 -ranks 4,seed="${LITMUS_SEED-1}"; }

# The same with processes for ranks.
case_mpi_pairs() { mpi 2; ranks 120 "groups=$pairs" -smp 2; }
case_mpi_four() { mpi 4; ranks 40 groups=lrsc,four -smp 4; }

# The harness must be able to fail: guests that do not do what they claim (group `broken`).
fails() {
  local iterations=$1 test
  shift
  for test in stores-swapped fence-late wrong-value atomicity; do
    run_guest 10 litmus "iterations=$iterations tests=BROKEN+$test" -bios none "$@"
    out_has "^FORBIDDEN BROKEN\\+$test: .* [1-9][0-9]* times"
  done
}
case_broken() {
  local engine
  for engine in "-threads 2" "-threads 1" "-threads 2 -accel interp"; do
    # shellcheck disable=SC2086 # words
    fails 2000 -smp 2 $engine
  done
}
case_broken_ranks() { fails 1500 -smp 2 -ranks 2; }
case_broken_mpi() { mpi 2; fails 1500 -smp 2; }

# All outcomes that an interleaving of the operations can have are seen: what is not seen cannot be judged.
case_interleavings() {
  local test name all
  for test in MP+fence.rw.rws:3 SB+fence.rw.rws:3 LB+datas:3 CoRR:3 IRIW+fence.rw.rws:15 add-add-add-add:24; do
    name=${test%:*} all=${test#*:}
    run_guest 0 litmus "iterations=10000 kinds=paused tests=$name" -bios none -smp 4 -threads 2
    out_has "^LITMUS ${name//+/\\+}  .* outcomes $all of $all\\)"
  done
}

# A stack with LR/SC keeps its nodes; with compare-and-swap it must not: one is popped twice, or lost.
stack() {
  local rounds=${LITMUS_ITERATIONS:-$1}
  shift
  run_guest 0 stack "rounds=$rounds" -bios none "$@"
  out_has '^STACK 3 of 3 nodes left'
  run_guest "20 21" stack "rounds=1000000 scheme=cas" -bios none "$@"
}
case_aba() { stack 50000 -smp 4 -threads 2; }
case_aba_two() { stack 50000 -smp 2 -threads 2; }
case_aba_one_thread() { stack 30000 -smp 4 -threads 1; }
case_aba_interpreter() { stack 20000 -smp 4 -threads 2 -accel interp; }
case_aba_ranks() { stack 2000 -smp 4 -ranks 4; }
case_aba_mpi() { mpi 2; stack 2000 -smp 4; }

main "$1"
