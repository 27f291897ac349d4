#!/usr/bin/env bash
# build.sh OUT [bare] : builds the benchmark guests into OUT: bare-NAME.elf, one per kernel, ranks-NAME.elf, for harts
# on several ranks, apart-NAME.elf, a kernel again and again for a second and more, and, unless "bare" is given, perf-linux, a static program for Linux with all portable and linux/ kernels.
# Needs riscv64-linux-gnu-gcc (CROSS= changes the prefix) and for perf-linux its C library.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
CC=${CROSS:-riscv64-linux-gnu-}gcc
common=(-std=gnu11 -O2 -g0 -Wall -Wextra -Werror -march=rv64gc -mabi=lp64d -fno-math-errno -I"$here")
common+=(-fno-tree-loop-distribute-patterns) # a kernel's own loop is not to become a call of memcpy
bare=(-ffreestanding -fno-pic -fno-pie -mcmodel=medany -fno-stack-protector -fno-asynchronous-unwind-tables)
# shellcheck disable=SC2054
link=(-static -no-pie -nostdlib -nostartfiles -T "$here/bare/bare.ld"
      "-Wl,--build-id=none" "-Wl,--no-warn-rwx-segments")

mkdir -p "$out/obj"
"$CC" "${common[@]}" "${bare[@]}" -c "$here/bare/start.S" -o "$out/obj/start.o"
"$CC" "${common[@]}" "${bare[@]}" -c "$here/bare/runtime.c" -o "$out/obj/runtime.o"

# kernel SOURCE NAME KIND ROUNDS : one ELF
kernel() {
  printf '#include "perf.h"\nperf_fn run_%s;\nconst struct perf_kernel perf_kernel = {"%s", run_%s, %s};\n' \
    "$2" "$2" "$2" "$4" >"$out/obj/$2.table.c"
  "$CC" "${common[@]}" "${bare[@]}" "${link[@]}" -DPERF_NAME="run_$2" -include "$here/perf.h" \
    -Wno-missing-prototypes "$out/obj/start.o" "$out/obj/runtime.o" "$1" "$out/obj/$2.table.c" -o "$out/$3-$2.elf"
}

for source in "$here"/kernels/*.c "$here"/bare/{*_*,vops}.c "$here"/ranks/*.c; do
  name=$(basename "$source" .c)
  kind=bare
  case $source in "$here"/ranks/*) kind=ranks ;; */vops.c) kind=micro ;; esac
  kernel "$source" "$name" $kind 1
done
for many in int_matrix:8 int_vm:40 fp_matmul:80; do
  kernel "$here/kernels/${many%:*}.c" "${many%:*}" apart "${many#*:}"
done

"$CC" -march=rv64gc -mabi=lp64d -nostdlib -static -no-pie -Wl,-N,--build-id=none,--no-warn-rwx-segments \
  -Wl,-Ttext=0x80200000 "$here/../system/guest/many_harts.S" -o "$out/many_harts.elf"
echo "bare-metal guests built in $out"
[ "${2:-}" != bare ] || exit 0

# one program for Linux
table=$out/obj/linux.table.c
objects=()
{ echo '#include "perf.h"'; for source in "$here"/kernels/*.c "$here"/linux/*_*.c; do
    echo "perf_fn run_$(basename "$source" .c);"; done
  echo 'const struct perf_kernel perf_kernels[] = {'
  for source in "$here"/kernels/*.c "$here"/linux/*_*.c; do
    name=$(basename "$source" .c); echo "    {\"$name\", run_$name, 1},"; done
  echo '    {0, 0, 0},'; echo '};'; } >"$table"
for source in "$here"/kernels/*.c "$here"/linux/*.c "$table"; do
  name=$(basename "$source" .c)
  "$CC" "${common[@]}" -pthread -DPERF_NAME="run_$name" -c "$source" -o "$out/obj/linux-$name.o"
  objects+=("$out/obj/linux-$name.o")
done
"$CC" -static -pthread "${objects[@]}" -o "$out/perf-linux"
"${CC%gcc}strip" "$out/perf-linux"
echo "perf-linux built in $out"
