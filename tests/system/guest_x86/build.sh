#!/usr/bin/env bash
# build.sh OUT : the guest as OUT/guest_x86.elf.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
cc=${CC:-gcc}
common="-O2 -g -Wall -Wextra -Werror -std=gnu11 -ffreestanding -fno-pie -fno-stack-protector -fcf-protection=none"
common="$common -fno-asynchronous-unwind-tables -mno-red-zone -fno-tree-loop-distribute-patterns"
mkdir -p "$out"
# shellcheck disable=SC2086 # words
{
  $cc $common -mgeneral-regs-only -c "$here/kernel.c" -o "$out/kernel.o"
  $cc $common -c "$here/worker.c" -o "$out/worker.o"
  $cc $common -c "$here/start.S" -o "$out/start.o"
}
$cc -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,--no-warn-rwx-segments -Wl,-T,"$here/guest.ld" \
  "$out/start.o" "$out/kernel.o" "$out/worker.o" -o "$out/guest_x86.elf"
