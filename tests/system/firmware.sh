#!/usr/bin/env bash
# Debian's OpenSBI and U-Boot as -bios, in place of the built-in SBI.
. "$(dirname "$0")/lib.sh"

need_firmware() {
  need_guest
  for file in "$@"; do [ -s "$guest/$file" ] || skip "no $file in $guest"; done
}

case_opensbi_linux() {
  need_firmware fw_dynamic.bin
  partita_run 0 -smp 4 -m 1G -bios "$guest/fw_dynamic.bin" -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" \
    -append "console=ttyS0 $patient"
  out_has '^OpenSBI v'
  out_has '^BOOT-OK nproc=4 '
  healthy
}

# fw_jump puts the device tree 32 MiB behind the kernel's beginning: into kernels that are larger.
case_opensbi_jump() {
  need_firmware fw_jump.elf
  local size
  size=$(od -An -t u8 -j 16 -N 8 "$guest/Image")
  [ "$((size))" -le $((32 << 20)) ] || skip "this kernel takes $((size >> 20)) MiB, fw_jump leaves it 32"
  partita_run 0 -smp 2 -m 1G -bios "$guest/fw_jump.elf" -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" \
    -append "console=ttyS0 $patient quiet nomods"
  out_has '^OpenSBI v'
  out_has '^BOOT-OK nproc=2 '
}

case_opensbi_uboot() {
  need_firmware fw_dynamic.bin u-boot.bin
  partita_run 0 -smp 2 -m 1G -bios "$guest/fw_dynamic.bin" -kernel "$guest/u-boot.bin" -timeout 120 -expect '^=> '
  out_has '^OpenSBI v'
  out_has '^U-Boot 20'
}

main "$@"
