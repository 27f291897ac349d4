#!/usr/bin/env bash
# The benchmark guests (tests/perf) as tests: what they compute must be what QEMU computed (tests/perf/sums.txt).
. "$(dirname "$0")/lib.sh"

# built_kernels : bare-*.elf in $kernels, made once for all cases
built_kernels() {
  need riscv64-linux-gnu-gcc
  kernels=$PWD/guests
  mkdir -p "$kernels"
  (flock 9 && { [ -e "$kernels/done" ] && [ -z "$(find "$top/tests/perf" -newer "$kernels/done" -type f)" ] ||
    { "$top/tests/perf/build.sh" "$kernels" bare && touch "$kernels/done"; }; }) 9>"$kernels/lock" \
    >"$work/out" 2>&1 || fail "tests/perf/build.sh"
}

# check REGEX ARGUMENT... : the kernels whose names match, with ARGUMENTs for Partita
check() {
  local names=$1 name sum count=0
  shift
  built_kernels
  while read -r name sum; do
    [[ $name =~ $names ]] || continue
    partita_run 0 -m 256M -bios none -kernel "$kernels/bare-$name.elf" "$@"
    out_has "^PERF $name hart=0 .* sum=$sum.?$"
    count=$((count + 1))
  done <"$top/tests/perf/sums.txt"
  [ $count -gt 0 ] || fail "no kernel matches $names"
}

case_integer() { check '^(int|chase)_'; }
case_floating() { check '^fp_'; }
case_memory() { check '^mem_'; }
case_system() { check '^sys_'; }
# VLEN 128, as the sums were made; and the longest, of kernels whose sums do not depend on it.
case_vector() { check '^vec_' -cpu rv64,v=true,vlen=128; }
case_vector_1024() { check '^vec_(memcpy|axpy|dot|strlen|masked|complex|pixel|sums)$' -cpu rv64,v=true,vlen=1024; }
case_quick() { check '^(sys_(pagefault|codegen|warm)|fp_convert|int_(vm|sort|calls)|mem_copy)$' -accel jit,tier=quick,threshold=1; }
case_tiers() {
  check '^(sys_(pagefault|codegen|syscall)|fp_convert|int_(vm|calls)|mem_copy)$' -accel jit,tier=auto,threshold=1 --stats
  err_has '^  second tier +[1-9]' # the last one's
}
# With counted time all is the same whatever is translated, and when.
case_counted() {
  local tier=
  built_kernels
  for tier in opt quick auto; do
    partita_run 0 -smp 2 -m 64M -bios none -kernel "$kernels/bare-int_calls.elf" -accel "jit,tier=$tier" --clock virtual \
      --state-hash --stats
    # Of the statistics one line is the guest's.
    grep -aE 'state hash|^  hart [01]  ' "$work/err" | sed 's/instructions,.*/instructions/' >"$work/$tier"
    cmp "$work/opt" "$work/$tier" || fail "tier=$tier ends in another state"
  done
  err_has '^  second tier +[1-9]'
}
case_interpreter() { check '^(sys_pagefault|sys_switch|sys_codegen|fp_convert|int_vm)$' -accel interp; }

# Two harts at once, each in its own part of memory: both compute what one does alone.
case_two_harts() {
  built_kernels
  for name in int_sort fp_lu sys_switch; do
    partita_run 0 -smp 2 -m 256M -bios none -kernel "$kernels/bare-$name.elf"
    sum=$(sed -n "s/^$name //p" "$top/tests/perf/sums.txt")
    [ "$(grep -acE "^PERF $name hart=[01] .* sum=$sum.?$" "$work/out")" = 2 ] || fail "$name: not two right sums"
  done
}

# Pages that two ranks write all the time stay for a moment with each, and those of a stream come before they are missed.
case_ranks() {
  local name steps count pages waits
  built_kernels
  for name in dsm_counter dsm_false dsm_stream; do
    partita_run 0 -smp 2 -ranks 2 -m 256M -bios none -kernel "$kernels/ranks-$name.elf" --stats
    [ "$(grep -acE "^PERF $name hart=[01] " "$work/out")" = 2 ] || fail "$name: not two results"
    steps=0
    while read -r count; do
      steps=$((steps + 16#$count))
    done < <(sed -nE "s/^PERF $name .* sum=([0-9a-f]+).*/\1/p" "$work/out")
    pages=$(cat "$work/out" "$work/err" | sed -nE 's/.*pages in ([0-9]+),.*/\1/p' | paste -sd+)
    waits=$(cat "$work/out" "$work/err" | sed -nE 's/.* in ([0-9]+) waits.*/\1/p' | paste -sd+)
    case $name in
      dsm_stream) [ $((4 * (waits))) -lt 16384 ] || fail "$name: $((waits)) waits for 16384 pages" ;;
      *) [ "$steps" -gt $((500 * (pages))) ] || fail "$name: $steps steps with $((pages)) transfers" ;;
    esac
    echo "$name: $steps steps, $((pages)) pages in, $((waits)) waits"
  done
}

main "$@"
