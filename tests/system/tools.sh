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
  build_guest tools_two
  partita_run 0 -kernel "$work/tools_two.elf" -bios none -smp 2 -trace "blocks,addr=0x80000000-0x80000100" \
    -trace "exec,hart=1,file=$work/exec"
  err_has '^block h0 M 000000008000[0-9a-f]+  pa=008000[0-9a-f]+ insns=[0-9]+ host=[0-9]+  # count_down'
  err_has '^           00000000800000[0-9a-f]+  fe031fe3  bne     t1,zero,0x'
  grep -q '^exec  h1 M .*  wfi' "$work/exec" || fail "hart 1 did not wait"
  ! grep -q ' h0 ' "$work/exec" || fail "hart 0 is traced"
}

# Each rank writes its own harts. (Hart 0 is traced in U mode only: its long loop is in M mode.)
case_trace_ranks() {
  build_guest tools_two
  ranks='--ranks 2 -rebalance off' partita_run 0 -kernel "$work/tools_two.elf" -bios none -smp 2 \
    -trace "exec,priv=u,file=$work/exec" -trace "exec,hart=1,file=$work/wait"
  grep -q '^exec  h0 U ' "$work/exec.0" || fail "nothing of hart 0 in exec.0"
  grep -q '^exec  h1 M ' "$work/wait.1" || fail "nothing of hart 1 in wait.1"
  [ ! -s "$work/exec.1" ] && [ ! -s "$work/wait.0" ] || fail "a rank traces harts of the other"
}

# A trace that nothing can be in, and one that did not fit.
case_trace_errors() {
  build_guest tools
  local run=(-kernel "$work/tools.elf" -bios none -smp 2)
  partita_run 2 "${run[@]}" -trace "exec,hart=1-2,file=$work/none"
  one_message "-trace: 'exec,hart=1-2,.*': there is no hart 2 \(the machine has 2, from 0\)"
  [ ! -e "$work/none" ] || fail "a file for nothing"
  partita_run 0 "${run[@]}" -trace exec,priv=u,file=/dev/full
  one_message "-trace: '/dev/full' is not whole: "
}

# instructions : how many the machine has executed
instructions() { "$partita" control "$work/socket" query-status | sed -E 's/.*"instructions": ([0-9]+).*/\1/'; }

# Started and ended while the machine runs, several times.
case_trace_switched() {
  build_guest spin
  timeout -k 5 "$limit" "$partita" run -kernel "$work/spin.elf" -bios none -smp 3 --control "$work/socket" </dev/null \
    >"$work/out" 2>"$work/err" &
  local pid=$! n
  await_path "$work/socket" "$pid"
  for n in 1 2 3; do
    "$partita" control "$work/socket" trace "spec=exec+blocks,hart=0+2,file=$work/trace.$n" || fail "trace on"
    until [ -s "$work/trace.$n" ]; do kill -0 $pid || fail "it ended"; sleep 0.05; done
    "$partita" control "$work/socket" trace spec=off || fail "trace off"
  done
  ! "$partita" control "$work/socket" trace spec=nonsense 2>/dev/null || fail "nonsense is traced"
  "$partita" control "$work/socket" trace "spec=exec,file=/dev/full" || fail "trace on"
  n=$(instructions)
  until [ "$(instructions)" -gt "$n" ]; do kill -0 $pid || fail "it ended"; done # or there is nothing to lose
  ! "$partita" control "$work/socket" trace spec=off 2>"$work/err2" || fail "a trace is lost without a word"
  grep -q "has ended: -trace: '/dev/full' is not whole" "$work/err2" || fail "why: $(cat "$work/err2")"
  "$partita" control "$work/socket" quit || fail "quit"
  wait $pid || fail "exit code $?"
  for n in 1 3; do
    grep -q '^exec  h[02] M 0000000080000002  ' "$work/trace.$n" || fail "nothing in trace.$n"
    ! grep -q ' h1 ' "$work/trace.$n" || fail "hart 1 is traced"
  done
}

plugins=${BUILD_DIR:-$top/build}/plugins

# Totals are what executed, on both engines, whatever their blocks look like.
case_plugins() {
  build_guest tools
  for engine in jit interp; do
    partita_run 0 -kernel "$work/tools.elf" -bios none -accel $engine -plugin "$plugins/hot_blocks.so,top=3" \
      -plugin "$plugins/insn_mix.so,priv=u" -plugin "$plugins/cache.so,l1d=4k:1:32,l2=off"
    err_has '^partita: hot_blocks.so: 1[0-9] blocks, 200622[78] instructions$'
    err_has '^partita: hot_blocks.so:  99.6[0-9] % +999[0-9]+ +2  0000000080000050  count_down\+0x6$'
    err_has '^partita: insn_mix.so: 5005 instructions of 9 kinds$'
    err_has '^partita: insn_mix.so: +0.02 % +1  ecall$'
    err_has '^partita: cache.so: l1d +4 KiB, +1 ways, lines of +32: +2001 accesses, +1 misses'
    err_has '^partita: cache.so: +1 +0  0000000080000064  in_user'
  done
}

# Every part of the interface, by a plugin of the test's own.
case_plugin_interface() {
  need cc
  build_guest tools
  cc -std=gnu11 -Wall -Werror -shared -fPIC -I "$top/cpu/include" "$here/guest/plugin_all.c" -o "$work/all.so" || fail "cc"
  for engine in jit interp; do
    partita_run 0 -kernel "$work/tools.elf" -bios none -accel $engine -smp 2 -plugin "$work/all.so,word=a,,b,on"
    err_has '^partita: all.so: arguments word=a,b on=on$'
    err_has '^partita: all.so: vcpus 2, began 2, ended 2$'
    err_has '^partita: all.so: calls agree with counters, block entries too$'
    err_has '^partita: all.so: U mode: 1001 loads and amos, 1000 stores of 8 bytes, 1 ecall with a value of 0x0 in t1$'
    err_has '^partita: all.so: the finisher got 0x5555 from on_trap\+0xa$'
    err_has '^partita: all.so: read back what was stored, and nothing from nowhere$'
  done
}

case_plugin_errors() {
  need cc
  build_guest tools
  local run=(-kernel "$work/tools.elf" -bios none)
  partita_run 2 "${run[@]}" -plugin "$work/nowhere.so"
  one_message "-plugin '.*nowhere.so': cannot be loaded: .*No such file"
  partita_run 2 "${run[@]}" -plugin "$work/tools.elf"
  one_message "-plugin '.*tools.elf': cannot be loaded: "
  echo 'int nothing;' | cc -shared -fPIC -x c - -o "$work/no.so" || fail "cc"
  partita_run 2 "${run[@]}" -plugin "$work/no.so"
  one_message "-plugin '.*no.so': is no plugin: it does not define partita_plugin_abi"
  echo 'unsigned partita_plugin_abi = 999; int partita_plugin_install(void) { return 0; }' |
    cc -shared -fPIC -x c - -o "$work/new.so" || fail "cc"
  partita_run 2 "${run[@]}" -plugin "$work/new.so"
  one_message "-plugin '.*new.so': was compiled for version 999 of the plugin interface; this is version 1"
  partita_run 2 "${run[@]}" -plugin "$plugins/cache.so,l1d=3k:5:64"
  err_has "^partita: cache.so: 'l1d=3k:5:64' is not understood"
  err_has "-plugin '.*cache.so': refuses to run"
}

# A machine on the host's own CPUs executes nothing that could be looked at.
case_other_machines() {
  if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then skip "no /dev/kvm"; fi
  for option in "-trace exec" "-plugin $plugins/cache.so" -perfmap; do
    # shellcheck disable=SC2086 # words
    partita_run 2 -M virt-x86 -accel kvm -m 64M -kernel "$partita" $option
    one_message "look into RISC-V machines"
  done
}

# Several harts at once (under ThreadSanitizer: tests/check.sh san).
case_demo_plugins() {
  partita_run 0 --demo -smp 3 --threads 3 -plugin "$plugins/hot_blocks.so" -plugin "$plugins/cache.so" \
    -plugin "$plugins/insn_mix.so" -trace "exec+mem,priv=s,addr=0x80201000-0x802010ff,file=$work/trace"
  out_has '78,498 primes below 1,000,000: right'
  err_has '^partita: hot_blocks.so: [0-9]+ blocks, [0-9]{6,} instructions'
}

# The same, translated, over ranks: each has plugins of its own.
case_demo_plugin_ranks() {
  ranks='--ranks 2 -rebalance off' partita_run 0 --demo -smp 4 -plugin "$plugins/hot_blocks.so,top=1" -plugin "$plugins/cache.so,top=1"
  out_has '78,498 primes below 1,000,000: right'
  [ "$(grep -c 'hot_blocks.so: .* blocks, ' "$work/err")" = 2 ] || fail "not one report for each rank"
}

main "$@"
