#!/usr/bin/env bash
# Looking into the guest: perf sees its code by name.
. "$(dirname "$0")/lib.sh"

# A perf that may sample this user's processes.
need_perf() {
  need perf
  perf record -q -e cpu-clock -o "$work/try" -- true 2>/dev/null || skip "perf may not sample here (perf_event_paranoid?)"
}

# record OPTION... : a profile of the guest guest/tools.S in $work/profile.
record() {
  timeout -k 5 "$limit" perf record -q -k mono -e cpu-clock -F 2000 -o "$work/profile" -- \
    "$partita" run -kernel "$work/tools.elf" -bios none "$@" </dev/null >"$work/out" 2>"$work/err" ||
    fail "perf record partita run $*"
}

case_perf_map() {
  need_perf
  build_guest tools
  record -perfmap
  perf report -i "$work/profile" --stdio >"$work/out" 2>"$work/err" || fail "perf report"
  rm -f /tmp/perf-"$(sed -n 's/.*JIT. tid \([0-9]*\).*/\1/p' "$work/out" | head -n 1)".map
  out_has 'guest:00000000800000[0-9a-f]+ count_down'
}

case_jitdump() {
  need_perf
  build_guest tools
  cd "$work" || fail "no $work"
  record -jitdump -symbols "$work/tools.elf"
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

main "$@"
