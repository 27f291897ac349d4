#!/usr/bin/env bash
# Looking into the guest: perf sees its code by name.
. "$(dirname "$0")/lib.sh"

# A perf that may sample this user's processes.
need_perf() {
  need perf
  perf record -q -e cpu-clock -o "$work/try" -- true 2>/dev/null || skip "perf may not sample here (perf_event_paranoid?)"
}

# record OPTION... : a profile of the guest guest/tools_long.S in $work/profile.
record() {
  timeout -k 5 "$limit" perf record -q -k mono -e cpu-clock -F 2000 -o "$work/profile" -- \
    "$partita" run -kernel "$work/tools_long.elf" -bios none "$@" </dev/null >"$work/out" 2>"$work/err" ||
    fail "perf record partita run $*"
}

case_perf_map() {
  need_perf
  build_guest tools_long
  record -perfmap
  perf report -i "$work/profile" --stdio >"$work/out" 2>"$work/err" || fail "perf report"
  rm -f /tmp/perf-"$(sed -n 's/.*JIT. tid \([0-9]*\).*/\1/p' "$work/out" | head -n 1)".map
  out_has 'guest:00000000800000[0-9a-f]+ count_down'
}

case_jitdump() {
  need_perf
  build_guest tools_long
  cd "$work" || fail "no $work"
  record -jitdump -symbols "$work/tools_long.elf"
  perf inject --jit -i "$work/profile" -o "$work/injected" 2>"$work/err" || fail "perf inject"
  perf report -i "$work/injected" --stdio >"$work/out" 2>"$work/err" || fail "perf report"
  out_has 'jitted-.*guest:00000000800000[0-9a-f]+ count_down'
}

case_bad_symbols() {
  build_guest tools
  partita_run 2 -kernel "$work/tools.elf" -bios none -symbols "$work/nowhere"
  one_message "-symbols '.*nowhere'"
  partita_run 2 -kernel "$work/tools.elf" -bios none -symbols "$here/guest/tools.S"
  one_message "tools.S.*has no symbols"
}

# Instructions and accesses are the same, whoever executes them. (The end overtakes the guest: the last line may lack.)
case_trace_engines() {
  build_guest tools
  for engine in jit interp; do
    partita_run 0 -kernel "$work/tools.elf" -bios none -accel $engine -trace "exec,priv=u,file=$work/exec.$engine" \
      -trace "mem,file=$work/mem.$engine"
  done
  [ "$(wc -l <"$work/exec.jit")" = 5006 ] || fail "U mode executes 5005 instructions and traps"
  cmp "$work/exec.jit" "$work/exec.interp" || fail "instructions differ"
  cmp "$work/mem.jit" "$work/mem.interp" || fail "accesses differ"
  grep -q '^exec  h0 U 000000008000006a  01c3b023  sd      t3,0(t2)  # in_user+0x12$' "$work/exec.jit" || fail "no such instruction"
  grep -q '^trap  h0 U 000000008000007[0-9a-f]  cause=8 tval=0  # in_user' "$work/exec.jit" || fail "no trap"
  grep -q '^amo   h0 U 00000000800000' "$work/mem.jit" || fail "no amo"
  grep -q '^store h0 M .* va=0000000000100000 pa=0000100000 size=4 value=0x5555 mmio' "$work/mem.jit" || fail "no MMIO"
}

case_trace_blocks() {
  build_guest tools
  partita_run 0 -kernel "$work/tools.elf" -bios none -smp 2 -trace "blocks,addr=0x80000000-0x80000100" -trace "exec,hart=1,file=$work/exec"
  err_has '^block h0 M 000000008000[0-9a-f]+  pa=008000[0-9a-f]+ insns=[0-9]+ host=[0-9]+  # count_down'
  err_has '^           00000000800000[0-9a-f]+  fe031fe3  bne     t1,zero,0x'
  grep -q '^exec  h1 M .*  wfi' "$work/exec" || fail "hart 1 did not wait"
  ! grep -q ' h0 ' "$work/exec" || fail "hart 0 is traced"
}

# Each rank writes its own harts.
case_trace_ranks() {
  build_guest tools
  ranks='--ranks 2' partita_run 0 -kernel "$work/tools.elf" -bios none -smp 2 -trace "exec,addr=0x80000000-0x8000000b,file=$work/exec"
  grep -q '^exec  h0 ' "$work/exec.0" || fail "nothing of hart 0 in exec.0"
  grep -q '^exec  h1 ' "$work/exec.1" || fail "nothing of hart 1 in exec.1"
}

# Started and ended while the machine runs, several times; the guest's work comes out right.
case_demo_trace_switched() {
  need python3
  timeout -k 5 "$limit" "$partita" run --demo -smp 3 --control "$work/socket" </dev/null >"$work/out" 2>"$work/err" &
  local pid=$! n=0
  for n in $(seq 100); do
    [ ! -S "$work/socket" ] || break
    sleep 0.05
  done
  for n in 1 2 3; do
    "$partita" control "$work/socket" trace spec=exec+mem+blocks,priv=s,hart=0+2,file="$work/trace.$n" || fail "trace on"
    "$partita" control "$work/socket" trace spec=off || fail "trace off"
  done
  ! "$partita" control "$work/socket" trace spec=nonsense 2>/dev/null || fail "nonsense is traced"
  wait $pid || fail "exit code $?"
  out_has '78,498 primes below 1,000,000: right'
  grep -q '^exec  h[02] S ' "$work/trace.1" || fail "nothing in trace.1"
  ! grep -q ' h1 ' "$work/trace.1" || fail "hart 1 is traced"
}

main "$@"
