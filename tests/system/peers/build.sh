#!/usr/bin/env bash
# build.sh OUT : the two guests as OUT/peers_riscv.elf and OUT/peers_x86.elf.
# build.sh OUT riscv|x86 NAME DEFINE... : OUT/NAME.elf, built otherwise (peers.h).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
common="-O2 -Wall -Wextra -Werror -std=gnu11 -ffreestanding -fno-pie -no-pie -nostdlib -static -fno-stack-protector"
common="$common -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -Wl,-N,--build-id=none,--no-warn-rwx-segments"
common="$common -Wl,--entry=start"
mkdir -p "$out"
# shellcheck disable=SC2086 # words
riscv() { # NAME DEFINE...
  riscv64-linux-gnu-gcc $common -march=rv64gc -mabi=lp64d -mcmodel=medany -Wl,-Ttext=0x80000000 "${@:2}" \
    "$here/start_riscv.S" "$here/peers.c" -o "$out/$1.elf"
}

# shellcheck disable=SC2086 # words
x86() { # NAME DEFINE...
  ${CC:-gcc} $common -mgeneral-regs-only -mno-red-zone -fcf-protection=none -Wl,-z,noexecstack,-Ttext=0x100000 "${@:2}" \
    "$here/start_x86.S" "$here/peers.c" -o "$out/$1.elf"
}

if [ $# -gt 1 ]; then
  "${@:2}"
else
  riscv peers_riscv
  x86 peers_x86
fi
