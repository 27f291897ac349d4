#!/usr/bin/env bash
# run.sh CASE : the interconnect over real MPI, several processes on this host. ctest mpi.<case>.
# $IC_RANKS and $IC_PINGPONG are the programs. Exit code 77 after "SKIP: reason": cannot run here.
# shellcheck shell=bash
set -u
build=$(cd "$(dirname "$0")/../.." && pwd)/build
ranks=${IC_RANKS:-$build/tests/mpi/ic_ranks}
pingpong=${IC_PINGPONG:-$build/tests/mpi/ic_pingpong}
work=$(mktemp -d "${TMPDIR:-/tmp}/partita-mpi.XXXXXX")
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

fail() {
  echo "FAIL: $*"
  cat "$work/out"
  exit 1
}

has() { grep -qE -- "$1" "$work/out" || fail "no line like: $1"; }
has_once() { [ "$(grep -cE -- "$1" "$work/out")" = 1 ] || fail "not exactly one line like: $1"; }
lacks() { ! grep -qE -- "$1" "$work/out" || fail "a line like: $1"; }

# expect CODE COMMAND... : `any` is every code but 0 and those of timeout.
expect() {
  local want=$1 got=0
  shift
  timeout -k 5 60 "$@" >"$work/out" 2>&1 || got=$?
  case $got in 124 | 137) fail "it hangs: $*" ;; esac
  if [ "$want" = any ]; then [ "$got" != 0 ]; else [ "$got" = "$want" ]; fi || fail "exit code $got instead of $want: $*"
}

case_traffic_2() { expect 0 mpirun -n 2 --oversubscribe "$ranks" traffic; lacks partita:; }
case_traffic_4() { expect 0 mpirun -n 4 --oversubscribe "$ranks" traffic; lacks partita:; }
case_traffic_tcp() { expect 0 mpirun -n 3 --oversubscribe --mca btl tcp,self "$ranks" traffic; lacks partita:; }
case_slow() { expect 0 mpirun -n 4 --oversubscribe "$ranks" slow; lacks partita:; }
case_idle() { expect 0 mpirun -n 2 --oversubscribe "$ranks" idle; has 'round trip to an idle rank'; cat "$work/out"; }
case_parked() { expect 0 mpirun -n 2 --oversubscribe "$ranks" parked; cat "$work/out"; }
case_pingpong() { expect 0 mpirun -n 2 --oversubscribe "$pingpong" 50; has 'ratio'; cat "$work/out"; }

case_mismatch() {
  expect any mpirun -n 3 --oversubscribe "$ranks" mismatch
  has_once '^partita: error: kernel file: rank 0 \(host .*\) has Image, 100 bytes, rank 2 \(host .*\) has Image, 101 bytes'
}

case_missing() {
  expect any mpirun -n 3 --oversubscribe "$ranks" missing 3000
  has '^partita: error: rank 2 \(host .*, pid [0-9]+\) did not show up within 3.0 s'
}

# MPI itself would wait for ever.
case_absent() {
  expect any mpirun -n 3 --oversubscribe "$ranks" absent 1500
  has '^partita: error: MPI did not start within 1.5 s: not all 3 ranks came up \(this is rank [02]\)'
}

# start_waiting RANKS COMMAND... : ranks that only wait, in the background, until each has heard of the others; $pids are theirs, by rank.
start_waiting() {
  local n=$1 i
  shift
  timeout -k 5 90 "$@" "$ranks" wait >"$work/out" 2>&1 &
  job=$!
  until [ "$(grep -c 'is pid' "$work/out")" = "$n" ]; do
    kill -0 "$job" 2>/dev/null || fail "not all ranks came up"
    sleep 0.1
  done
  mapfile -t pids < <(sed -nE 's/^rank ([0-9]+) is pid ([0-9]+)$/\1 \2/p' "$work/out" | sort -n | cut -d' ' -f2)
  [ "${#pids[@]}" = "$n" ] || fail "not all ranks came up"
}

# await REGEX : until they have said that
await() {
  until grep -qE -- "$1" "$work/out"; do
    kill -0 "$job" 2>/dev/null || fail "they ended before a line like: $1"
    sleep 0.1
  done
}

# gone_within SECONDS PID... : none of these processes exists any more.
gone_within() {
  local i pid left=
  for ((i = 0; i < $1 * 10; i++)); do
    left=
    for pid in "${@:2}"; do
      grep -qsv ') Z ' "/proc/$pid/stat" && left=$pid # mpirun's children may be nobody's who waits for them
    done
    [ -n "$left" ] || return 0
    sleep 0.1
  done
  kill -9 "$left"
  fail "process $left is still there after $1 s"
}

case_killed() {
  start_waiting 3 mpirun -n 3 --oversubscribe
  kill -9 "${pids[1]}"
  gone_within 30 "$job" "${pids[@]}"
  ! wait "$job" || fail "exit code 0"
}

# mpirun told to leave the others alone: we must notice.
case_killed_unnoticed() {
  start_waiting 3 mpirun -n 3 --oversubscribe --enable-recovery
  kill -9 "${pids[2]}"
  gone_within 30 "$job" "${pids[@]}"
  has_once "^partita: error: rank 2 \(host .*, pid ${pids[2]}\) is lost: its process ended"
}

case_stopped() {
  start_waiting 2 mpirun -n 2 --oversubscribe
  kill -STOP "${pids[1]}"
  await 'nothing was heard of rank 1 '
  kill -CONT "${pids[1]}"
  await 'rank 1 .* is back after'
  sleep 0.5
  kill -0 "$job" 2>/dev/null || fail "it did not go on"
  has_once "^partita: warning: nothing was heard of rank 1 \(host .*, pid ${pids[1]}\)"
  has_once "^partita: rank 1 \(host .*, pid ${pids[1]}\) is back after [0-9]+\\.[0-9] s"
  lacks 'heard of rank 0'
  kill -TERM "$job"
  wait "$job" || true # ended by us
}

# --- several hosts (hosts.sh) ---

hosts=$(dirname "$0")/hosts.sh

need_hosts() {
  local code=0 reason
  reason=$("$hosts" 1 1 true) || code=$?
  [ "$code" != 77 ] || { echo "$reason"; exit 77; }
}

case_hosts_traffic() { need_hosts; expect 0 "$hosts" 2 4 "$ranks" traffic; lacks partita:; }
case_hosts_idle() { need_hosts; expect 0 "$hosts" 2 2 "$ranks" idle; cat "$work/out"; }
case_hosts_parked() { need_hosts; expect 0 "$hosts" 2 2 "$ranks" parked; cat "$work/out"; }
case_hosts_clock() { need_hosts; HOSTS_CLOCKS=1 expect 0 "$hosts" 3 3 "$ranks" clock; cat "$work/out"; }

case_hosts_blocked() {
  need_hosts
  HOSTS_BLOCKED=1 expect any "$hosts" 2 2 "$ranks" traffic 3000
  has '^partita: error: rank [01] did not show up within 3.0 s of start-up'
}

case_hosts_blocked_one_way() {
  need_hosts
  HOSTS_BLOCKED=2-1 expect any "$hosts" 2 2 "$ranks" traffic 3000
  has '^partita: error: rank [01] did not show up within 3.0 s of start-up'
}

case_hosts_killed() {
  need_hosts
  export MPIRUN_OPTIONS=--enable-recovery # mpirun does not end the others: we must notice
  start_waiting 3 "$hosts" 3 3
  kill -9 "${pids[2]}"
  gone_within 30 "$job" "${pids[@]}"
  has_once "^partita: error: rank 2 \(host node3, pid ${pids[2]}\) is lost: its connection was closed"
}

command -v mpirun >/dev/null || { echo "SKIP: mpirun is not installed"; exit 77; }
"case_$1"
