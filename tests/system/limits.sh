#!/usr/bin/env bash
# Hosts that give little: files that may not grow, full devices, few descriptors, little address space. The program
# says what is missing and ends, or does without; it does not crash or hang.
. "$(dirname "$0")/lib.sh"

# run_under LIMIT... : a guest that powers off at once (by the finisher), under `ulimit LIMIT...`, with options in $options; $code is
# its exit code
options=
run_under() {
  code=0
  printf '\267\002\020\000\025\143\033\003\123\125\043\240\142\000\001\240' >"$work/off"
  # shellcheck disable=SC2086 # words
  (ulimit "$@"; exec timeout -k 5 60 "$partita" run -bios none -kernel "$work/off" -smp 2 -m 64M $options) \
    </dev/null >"$work/out" 2>"$work/err" || code=$?
}

# runs or says why not; a signal, or silence, is neither
ran_or_refused() {
  case $code in
    0) ;;
    2 | 70) err_has '^partita: error: ' ;;
    *) fail "exit code $code under $1" ;;
  esac
}

case_descriptors() {
  local n refused=0
  for n in $(seq 5 24); do
    run_under -n "$n"
    ran_or_refused "ulimit -n $n"
    [ "$code" = 0 ] || refused=$((refused + 1))
  done
  [ "$code" = 0 ] || fail "24 descriptors are not enough"
  [ $refused -gt 0 ] || fail "no limit was too low: the test tests nothing"
}

case_address_space() {
  local n refused=0
  for n in 30 60 100 150 200 250 300 400 500 1000 4000; do
    run_under -v $((n * 1000))
    ! grep -q Sanitizer "$work/err" || skip "sanitizers need all of the address space"
    ran_or_refused "ulimit -v ${n}000"
    [ "$code" = 0 ] || refused=$((refused + 1))
  done
  [ "$code" = 0 ] || fail "4 GB of address space are not enough"
  [ $refused -gt 0 ] || fail "no limit was too low: the test tests nothing"
}

# Memory that ranks share is a file; memory of one rank is not.
case_file_size() {
  run_under -f 1
  [ "$code" = 0 ] || fail "exit code $code on one rank"
  options="--ranks 2"
  run_under -f 1
  [ "$code" = 2 ] || fail "exit code $code"
  err_has 'guest memory: File too large'
}
# Memory fits, the serial log does not.
case_file_size_serial() {
  code=0
  head -c 8M /dev/zero >"$work/log"
  (ulimit -f 8192; exec timeout -k 5 60 "$partita" run --demo -m 8M) </dev/null >>"$work/log" 2>"$work/err" || code=$?
  [ $code = 0 ] || fail "exit code $code"
  err_has "serial output 'stdio': File too large"
}

case_small_stack() {
  run_under -s 256
  [ "$code" = 0 ] || fail "exit code $code"
}

case_stdout_full() {
  code=0
  timeout -k 5 60 "$partita" run --demo </dev/null >/dev/full 2>"$work/err" || code=$?
  [ $code = 0 ] || fail "exit code $code"
  err_has 'No space left on device; output is lost'
}
case_help_full() {
  local words
  for words in "--help" "--version" "run --help" "run -dump-config"; do
    code=0
    # shellcheck disable=SC2086
    "$partita" $words >/dev/full 2>"$work/err" || code=$?
    [ $code = 2 ] || fail "exit code $code of $words >/dev/full"
    err_has 'cannot write to standard output: No space left'
  done
}
case_serial_file_full() {
  partita_run 0 --demo -serial file:/dev/full
  err_has "serial output 'file:/dev/full': No space left on device; output is lost"
}

case_no_such_directory() {
  mkdir "$work/gone"
  cd "$work/gone" && rmdir "$work/gone"
  partita_run 0 --demo
}

main "$1"
