#!/usr/bin/env bash
# Many harts on few threads: guest/many_harts.S on as many as a machine can have. Each counts itself and sends an interrupt
# to the next; the guest ends with code 0 when none was lost.
. "$(dirname "$0")/lib.sh"

# many HARTS ARGUMENT... : the guest on that many harts
many() {
  local harts=$1
  shift
  [ -s "$work/many_harts.elf" ] || build_guest many_harts 0x80200000
  partita_run 0 -smp "$harts" -m 64M -kernel "$work/many_harts.elf" "$@"
}

case_demo_4096() { many 4096; }
case_demo_4096_one_thread() { many 4096 -threads 1; }
case_demo_4095() { many 4095; } # the last that one CLINT serves
case_demo_interpreted() { many 1000 -threads 2 -accel interp; }

# With counted time the order of all turns is the same in every run.
case_demo_counted() {
  many 700 --clock virtual --state-hash
  err_has 'state hash'
  mv "$work/err" "$work/first"
  many 700 --clock virtual --state-hash
  cmp "$work/first" "$work/err" || fail "another state"
}

# What an idle hart takes of the host's memory, from the difference between many and few.
peak_kib() {
  /usr/bin/time -o "$work/peak" -f %M timeout -k 5 "$limit" "$partita" run -smp "$1" -m 64M -kernel "$work/many_harts.elf" \
    </dev/null >"$work/out" 2>"$work/err" || fail "exit code $?"
  cat "$work/peak"
}
case_demo_memory() {
  [ -x /usr/bin/time ] || skip "/usr/bin/time is not installed"
  ! nm "$partita" 2>/dev/null | grep -q __asan_init || skip "sanitizers take memory of their own"
  build_guest many_harts 0x80200000
  local few many
  few=$(peak_kib 64)
  many=$(peak_kib 4096)
  [ $(((many - few) / (4096 - 64))) -le 100 ] || fail "$(((many - few) / (4096 - 64))) KiB a hart"
}

main "$@"
