#!/usr/bin/env bash
# build.sh MKLITMUS OUT : builds the guests into OUT: litmus.elf (shapes.litmus) and stack.elf. Needs
# riscv64-linux-gnu-gcc (CROSS= changes the prefix).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mklitmus=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
cc=${CROSS:-riscv64-linux-gnu-}gcc
flags=(-std=gnu11 -O2 -Wall -Wextra -Werror -march=rv64gc -mabi=lp64d -mcmodel=medany -ffreestanding -fno-pic
  -fno-stack-protector -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -I"$here/guest")
# shellcheck disable=SC2054
link=(-nostdlib -static -no-pie -Wl,--build-id=none,--no-warn-rwx-segments -T "$here/guest/link.ld")
common=("$here/guest/start.S" "$here/guest/guest.c")

"$mklitmus" emit "$here/shapes.litmus" "$out/tests.S"
"$cc" "${flags[@]}" "${link[@]}" "${common[@]}" "$here/guest/litmus.c" "$out/tests.S" -o "$out/litmus.elf"
"$cc" "${flags[@]}" "${link[@]}" "${common[@]}" "$here/guest/stack.c" -o "$out/stack.elf"
