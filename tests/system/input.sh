#!/usr/bin/env bash
# Wrong command lines and files: exit code 2, one line that names the thing, nothing else. No guest runs here.
. "$(dirname "$0")/lib.sh"

bad() { # bad PATTERN ARGUMENT...
  local pattern=$1
  shift
  limit=20 partita_run 2 "$@"
  one_message "$pattern"
}

case_kernel_missing() { bad "$work/nothing" -kernel "$work/nothing"; }
case_kernel_directory() { bad "$work.*directory" -kernel "$work"; }
case_kernel_empty() {
  : >"$work/empty"
  bad "$work/empty" -kernel "$work/empty"
}
case_kernel_unreadable() {
  [ "$(id -u)" != 0 ] || skip "root reads everything"
  : >"$work/secret" && chmod 0 "$work/secret"
  bad "$work/secret" -kernel "$work/secret"
}

# The first 64 KiB of Debian's kernel.
case_kernel_short() {
  need_guest
  head -c 65536 "$guest/Image" >"$work/short"
  bad "$work/short.*short" -kernel "$work/short" -m 256M
}
case_kernel_packed() {
  need_guest
  head -c 65536 "$guest/Image" | gzip >"$work/Image.gz"
  bad "$work/Image.gz.*gzip" -kernel "$work/Image.gz"
}

case_elf_other_machine() { bad "$partita.*RISC-V" -kernel "$partita"; }
case_elf_short() {
  build_guest finisher
  head -c 100 "$work/finisher.elf" >"$work/short.elf"
  bad "$work/short.elf" -bios none -kernel "$work/short.elf"
}
case_elf_outside_ram() {
  build_guest finisher 0x40000000
  bad "$work/finisher.elf" -bios none -kernel "$work/finisher.elf"
}

# Kernel and firmware both at the RAM base.
case_overlap() {
  need_guest
  [ -s "$guest/fw_jump.elf" ] || skip "no OpenSBI"
  build_guest finisher
  bad "$work/finisher.elf|fw_jump.elf" -bios "$guest/fw_jump.elf" -kernel "$work/finisher.elf"
}
case_initrd_too_large() {
  need_guest
  truncate -s 200M "$work/initrd"
  bad "$work/initrd" -m 128M -kernel "$guest/Image" -initrd "$work/initrd"
}
case_kernel_too_large() {
  need_guest
  bad "$guest/Image" -m 16M -kernel "$guest/Image"
}
case_initrd_missing() {
  need_guest
  bad "$work/nothing" -m 256M -kernel "$guest/Image" -initrd "$work/nothing"
}

case_memory_too_large() {
  build_guest finisher
  bad 'memory|RAM|-m' -m 32T -bios none -kernel "$work/finisher.elf"
}
case_memory_nonsense() { bad "-m.*lots" -m lots --demo; }
case_smp_zero() { bad "-smp.*0" -smp 0 --demo; }
case_smp_100000() { bad "-smp.*100000" -smp 100000 --demo; }
case_smp_nonsense() { bad "-smp" -smp many --demo; }
case_cpu_unknown() { bad "bogus" -cpu rv64,bogus=on --demo; }
case_option_unknown() { bad "kernle" -kernle x; }
case_option_without_argument() { bad "-kernel" -kernel; }
case_nothing_to_run() { bad "nothing to run|-kernel" -m 128M; }
case_expect_broken() { bad "expect" --expect '(' --demo; }

case_dtb_missing() { bad "$work/nothing" -dtb "$work/nothing" --demo; }
case_dtb_garbage() {
  head -c 4096 /dev/urandom >"$work/bad.dtb"
  bad "$work/bad.dtb" -dtb "$work/bad.dtb" --demo
}
case_dtb_short() {
  "$partita" run -dumpdtb "$work/good.dtb" --demo || fail "-dumpdtb"
  head -c 700 "$work/good.dtb" >"$work/short.dtb"
  bad "$work/short.dtb" -dtb "$work/short.dtb" --demo
}
# Bytes of a good tree changed one after the other: never a crash. (Exit code 2, or a tree that still makes sense.)
case_dtb_damaged() {
  "$partita" run -dumpdtb "$work/good.dtb" --demo || fail "-dumpdtb"
  local size at code
  size=$(stat -c %s "$work/good.dtb")
  for at in $(seq 0 97 $((size - 1))); do
    cp "$work/good.dtb" "$work/odd.dtb"
    printf '\377' | dd of="$work/odd.dtb" bs=1 seek="$at" conv=notrunc status=none
    code=0
    timeout 20 "$partita" run -dtb "$work/odd.dtb" --demo --timeout 1 </dev/null >"$work/out" 2>"$work/err" || code=$?
    case $code in
      0 | 1 | 2 | 124) ;;
      *) fail "exit code $code with byte $at changed" ;;
    esac
  done
}

case_drive_missing() { bad "$work/nothing" --demo -drive "file=$work/nothing,format=raw"; }
case_drive_directory() { bad "$work.*directory" --demo -drive "file=$work,format=raw"; }
case_drive_not_writable() {
  [ "$(id -u)" != 0 ] || skip "root writes everything"
  head -c 4096 /dev/zero >"$work/ro.img" && chmod 444 "$work/ro.img"
  bad "$work/ro.img.*readonly=on" --demo -drive "file=$work/ro.img,format=raw"
}
case_drive_format() {
  head -c 4096 /dev/zero >"$work/a.img"
  bad "qcow2" --demo -drive "file=$work/a.img,format=qcow2"
}

main "$@"
