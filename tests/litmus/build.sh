#!/usr/bin/env bash
# build.sh MKLITMUS OUT : builds the guests into OUT: litmus.elf (shapes.litmus), stack.elf, and in S mode storm.elf and shared.elf.
# Needs riscv64-linux-gnu-gcc (CROSS= changes the prefix).
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

# guest NAME START ARGUMENT...
guest() {
  local name=$1 start=$2
  shift 2
  "$cc" "${flags[@]}" "${link[@]}" "$here/guest/$start.S" "$here/guest/guest.c" "$@" -o "$out/$name.elf"
}

"$mklitmus" emit "$here/shapes.litmus" "$out/tests.S"
guest litmus start "$here/guest/litmus.c" "$out/tests.S"
guest stack start "$here/guest/stack.c"
guest storm start_s "$here/guest/storm.c" -Wl,--defsym=smode=1
guest shared start_s "$here/guest/shared.c" -Wl,--defsym=smode=1
