#!/usr/bin/env bash
# quickstart.sh [OPTIONS FOR partita run] : from a bare Debian to a Linux guest: packages, build, guest material, run.
# On a terminal it ends in a shell of the guest; elsewhere the guest prints BOOT-OK, powers off, and the exit code is 0.
set -eu -o pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
. launch/packages.sh
build=${BUILD_DIR:-$top/build}
guest=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/partita/guest
harts=4
ranks=${RANKS:-2} # the guest is one machine spread over this many

bold "[1/4] packages"
packages_install cmake ninja-build gcc libc6-dev pkg-config libfdt-dev libhwloc-dev libnuma-dev libopenmpi-dev openmpi-bin libslirp-dev libzstd-dev libxxhash-dev libjansson-dev libyaml-dev \
  cpio kmod xz-utils gzip debian-archive-keyring || exit $?

bold "[2/4] build (log: $build/quickstart.log)"
mkdir -p "$build"
# Only the program: the tests are check.sh's business. On a terminal the builder's own counts are the progress.
build_program() {
  # shellcheck disable=SC2046
  cmake -B "$build" $(cmake_generator "$build") -DCMAKE_C_COMPILER=gcc && cmake --build "$build" -j "$(nproc)" --target partita
}
show() { if [ -t 1 ]; then cut -c-100; else cat >/dev/null; fi; }
build_program 2>&1 | tee "$build/quickstart.log" | show || {
  tail -n 30 "$build/quickstart.log"
  echo "quickstart.sh: the build failed"
  exit 1
}

bold "[3/4] guest: Debian for riscv64"
launch/guest/fetch.sh "$guest"

bold "[4/4] run: one machine of $harts harts on $ranks ranks"
action=poweroff
limits=(--timeout 300)
launcher=() spread=(--ranks "$ranks")
if [ -t 0 ] && [ -t 1 ]; then
  # The keyboard is one process's: the ranks are threads of it.
  action=shell limits=()
  echo "  a shell of the guest follows; Ctrl-A x ends Partita"
elif [ "$ranks" -gt 1 ] && command -v mpirun >/dev/null; then
  launcher=(mpirun --oversubscribe --bind-to none -n "$ranks") spread=()
  [ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
command=("${launcher[@]}" "$build/partita" run "${spread[@]}" -smp "$harts" -m 1G -kernel "$guest/Image"
  -initrd "$guest/initramfs.cpio.gz" -append "console=ttyS0 quiet act=$action" "${limits[@]}" "$@")
printf ' '; printf ' %q' "${command[@]}"; echo
if [ "$action" = shell ]; then exec "${command[@]}"; fi

output=$(mktemp)
trap 'rm -f "$output"' EXIT
status=0
"${command[@]}" </dev/null 2>&1 | tee "$output" || status=$?
[ "$status" = 0 ] || { echo "quickstart.sh: partita ended with code $status"; exit "$status"; }
grep -q '^BOOT-OK' "$output" || { echo "quickstart.sh: the guest did not print BOOT-OK"; exit 1; }
