#!/usr/bin/env bash
# The program around the guest: the built-in guest, exit codes, standard descriptors, machines from device trees.
. "$(dirname "$0")/lib.sh"

case_demo() {
  partita_run 0 --demo -smp 4
  out_has "primes below 1,000,000: right"
}

# Several harts on two threads without the JIT: what ThreadSanitizer can follow.
case_demo_interpreted() {
  partita_run 0 --demo -smp 4 -threads 2 -accel interp
  out_has 'primes below 1,000,000: right'
}

# finisher VALUE CODE : the word VALUE in the test finisher gives the exit code CODE
finisher() {
  build_guest finisher
  printf '%b' "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)))" \
    >"$work/word"
  dd if="$work/word" of="$work/finisher.elf" bs=1 conv=notrunc status=none \
    seek="$(grep -abo FINISHER-VALUE "$work/finisher.elf" | head -n 1 | cut -d: -f1)"
  partita_run "$2" -m 16M -bios none -kernel "$work/finisher.elf"
}
case_finisher_pass() { finisher $((0x5555)) 0; }
case_finisher_fail() { finisher $((0x3333 | 7 << 16)) 7; }
case_finisher_fail_255() { finisher $((0x3333 | 255 << 16)) 255; }
# A failure whose low byte is 0 must not look like success.
case_finisher_fail_256() { finisher $((0x3333 | 256 << 16)) 1; }

case_stdin_closed() {
  local code=0
  timeout -k 5 60 "$partita" run --demo <&- >"$work/out" 2>"$work/err" || code=$?
  [ $code = 0 ] || fail "exit code $code with stdin closed"
}
case_all_closed() {
  local code=0
  timeout -k 5 60 "$partita" run --demo <&- >&- 2>&- || code=$?
  [ $code = 0 ] || fail "exit code $code with every standard descriptor closed"
}
# The reader of our output goes away: we end or go on, but do not crash.
case_reader_gone() {
  local code=0
  (timeout -k 5 60 "$partita" run --demo </dev/null 2>"$work/err"; echo $? >"$work/code") | head -c 1 >/dev/null
  code=$(cat "$work/code")
  [ "$code" -lt 126 ] || fail "exit code $code when the reader has gone"
}

case_sigterm() {
  local code=0
  build_guest spin
  "$partita" run -m 16M -bios none -kernel "$work/spin.elf" </dev/null >"$work/out" 2>"$work/err" &
  sleep 1
  kill -TERM $!
  wait $! || code=$?
  [ $code = $((128 + 15)) ] || fail "exit code $code after SIGTERM"
}

# A terminal is as before after Ctrl-A x.
case_terminal() {
  need script
  build_guest spin
  mkfifo "$work/typed"
  trap '' PIPE # a session that ends too early is told by what it said
  timeout -k 5 100 script -qec \
    "stty -a >$work/before; $partita run -m 16M -bios none -kernel $work/spin.elf; echo code=\$?; stty -a >$work/after" \
    /dev/null <"$work/typed" >"$work/out" 2>&1 &
  exec 3>"$work/typed"
  until grep -q booting: "$work/out"; do kill -0 $! || fail "the session has ended"; sleep 0.05; done
  printf '\001x' >&3
  wait $!
  exec 3>&-
  out_has 'code=0'
  cmp "$work/before" "$work/after" || fail "the terminal's settings changed"
}

case_dump_config() {
  "$partita" run --dump-config -smp 3 -m 256M -kernel /k -append 'a "b"' >"$work/out" 2>"$work/err" || fail "exit code $?"
  out_has '3'
}

# soc.dts: 3 harts with different ISA strings, RAM, PLIC, ACLINT and two UARTs at addresses of their own, and a node
# that nothing implements. The kernel sees just that.
case_soc() {
  need_guest
  need dtc
  dtc -q -I dts -O dtb -o "$work/soc.dtb" "$here/soc.dts" || fail "dtc"
  partita_run 0 -dtb "$work/soc.dtb" -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" \
    -append "console=ttyS1 nomods act=info" -serial "file:$work/first" -serial stdio
  out_has '^BOOT-OK nproc=3 '
  out_has '30001000\.serial: ttyS1 at MMIO 0x30001000'
  out_has '30000000\.serial: ttyS0 at MMIO 0x30000000'
  [ "$(grep -ac '^hart isa.*zba' "$work/out")" = 2 ] || fail "not two harts with Zba"
  [ "$(grep -ac '^hart isa.*zbb' "$work/out")" = 1 ] || fail "not one hart with Zbb"
  healthy
  [ "$(grep -ac 'widget' "$work/err")" = 1 ] || fail "the unknown node is not listed exactly once"
}

# A tree that promises what the harts have not, as QEMU's own does: Linux would compute checksums by Zbc's instructions.
case_unknown_extensions() {
  need_guest
  need fdtput
  "$partita" run -smp 2 -m 256M -dumpdtb "$work/two.dtb" --demo || fail "-dumpdtb"
  local cpu
  for cpu in /cpus/cpu@0 /cpus/cpu@1; do
    # shellcheck disable=SC2046 # words
    fdtput -t s "$work/two.dtb" $cpu riscv,isa-extensions $(fdtget "$work/two.dtb" $cpu riscv,isa-extensions) zbc zfa
    fdtput -t s "$work/two.dtb" $cpu riscv,isa "$(fdtget "$work/two.dtb" $cpu riscv,isa)_zbc_zfa"
  done
  partita_run 0 -dtb "$work/two.dtb" -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" -append "console=ttyS0 nomods act=info"
  out_has '^BOOT-OK nproc=2 '
  healthy
  out_has '^hart isa'
  ! grep -aq '^hart isa.*\(zbc\|zfa\)' "$work/out" || fail "the guest believes in Zbc or Zfa"
  [ "$(grep -c 'not shown to the guest: zbc zfa$' "$work/err")" = 1 ] || fail "it is not said exactly once"
}

# Harts that the tree does not name, as with QEMU's virt: where there is no SBI they start as all do,
two_harts() { "$partita" run -m 16M -smp 2 -dumpdtb "$work/two.dtb" --demo || fail "-dumpdtb"; }
case_unnamed_harts() {
  two_harts
  build_hostile smc
  limit=100 partita_run 0 -dtb "$work/two.dtb" -m 16M -smp 4 -bios none -kernel "$work/smc.elf"
  err_has 'has 2 harts; the others have no interrupt controllers'
}
# else by it.
case_unnamed_harts_sbi() {
  two_harts
  build_hostile starts s
  limit=100 partita_run 0 -dtb "$work/two.dtb" -smp 4 -kernel "$work/starts.elf"
}
case_fewer_harts_than_named() {
  two_harts
  partita_run 2 -dtb "$work/two.dtb" -smp 1 --demo
  err_has '^partita: error: -smp: 1 harts, but the device tree .* has 2$'
}

main "$@"
