#!/usr/bin/env bash
# Random vector instructions (vector/): registers, memory, CSRs and traps after each must be what QEMU 10 had, of which
# checksums are kept. With QEMU=program it runs beside us, and the first difference is shown.
. "$(dirname "$0")/lib.sh"

# build SEED COUNT VLEN : $work/guest.elf
build() {
  need riscv64-linux-gnu-gcc
  need python3
  (cd "$work" && python3 "$here/vector/records.py" "$top/cpu/riscv/insn32.decode" "$@") || fail "records.py"
  (cd "$work" && riscv64-linux-gnu-gcc -march=rv64gcv -mabi=lp64d -nostdlib -static -Wl,-Ttext=0x80000000 \
    -Wl,--build-id=none,--no-warn-rwx-segments -o guest.elf "$here/vector/guest.S") || fail "no guest"
}

# beside VLEN : the first line that QEMU has otherwise
beside() {
  timeout 100 "$QEMU" -M virt -m 64M -cpu "rv64,v=true,vlen=$1" -bios none -kernel "$work/guest.elf" -display none \
    -monitor none -serial "file:$work/qemu" || fail "QEMU"
  tr -d '\r' <"$work/qemu" >"$work/want"
  echo "records and words that differ, Partita's line, QEMU's:"
  paste <(tr -d '\r' <"$work/out") "$work/want" | awk '$1 != $2 { print NR - 1, $0 }' | head -n 20
  echo "checksum of QEMU's: $(cksum <"$work/want" | cut -d' ' -f1)"
}

# vectors SEED COUNT VLEN CHECKSUM ARGUMENT...
vectors() {
  local seed=$1 count=$2 vlen=$3 want=$4 sum
  shift 4
  build "$seed" "$count" "$vlen"
  partita_run 0 -m 64M -cpu "rv64,v=true,vlen=$vlen" -bios none -kernel "$work/guest.elf" "$@"
  [ "$(wc -l <"$work/out")" = "$count" ] || fail "not $count lines"
  sum=$(tr -d '\r' <"$work/out" | cksum | cut -d' ' -f1)
  if [ -n "${QEMU:-}" ]; then beside "$vlen"; fi
  [ "$sum" = "$want" ] || fail "checksum $sum, not $want"
}

case_128() { vectors 101 4000 128 2982064123; }
case_256() { vectors 102 4000 256 2909720542; }
case_1024() { vectors 103 2000 1024 1911915274; }
case_interpreter() { vectors 104 2000 512 2181764246 -accel interp; }

# Debian's kernel finds V, and keeps the vectors of processes apart that share two harts.
case_linux() {
  need_guest
  need riscv64-linux-gnu-gcc
  mkdir "$work/overlay"
  riscv64-linux-gnu-gcc -march=rv64gcv -nostdlib -static -o "$work/overlay/vectors" "$here/vector/user.S" || fail "no program"
  cat >"$work/overlay/run" <<'RUN'
grep -m1 '^isa' /proc/cpuinfo
for i in 1 2 3 4 5 6; do (/vectors && /vectors && echo "KEPT $i") & done
wait
RUN
  "$top/launch/guest/initramfs.sh" "$guest" "$work/initrd" "$work/overlay"
  partita_run 0 -smp 2 -m 512M -cpu rv64,v=true,vlen=256 -kernel "$guest/Image" -initrd "$work/initrd" \
    -append "console=ttyS0 $patient quiet nomods act=run"
  out_has '^isa.*rv64imafdcv_.*_zve64d'
  [ "$(grep -c '^KEPT' "$work/out")" = 6 ] || fail "vectors were lost"
  out_has 'reboot: Power down'
  healthy
}

main "$@"
