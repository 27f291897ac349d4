#!/usr/bin/env bash
# fetch.sh [DIR] : Debian 13 riscv64 guest material in DIR (default: the cache), made once, in DIR:
#   Image initramfs.cpio.gz kernel-version fw_dynamic.bin fw_jump.elf u-boot.bin tree/ (the unpacked packages)
# Needs dpkg-deb, cpio, kmod, xz. Installs nothing. Prints one line per step; silent when all is there.
# PARTITA_OFFLINE=1: fail at once rather than use the network.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/partita/guest}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
say() { printf '  guest: %s\n' "$*"; }

apt() { "$here/apt.sh" "$dir/apt" "$@"; }

# The versioned package behind the metapackage linux-image-riscv64.
kernel_package() {
  apt apt-cache depends linux-image-riscv64 | sed -n 's/.*Depends: *\(linux-image-[0-9][^: ]*\).*/\1/p' | head -n 1
}

# download PACKAGE...: the packages' files into $work/debs, with apt's progress on a terminal.
download() {
  local quiet=-qq
  [ ! -t 1 ] || quiet=-q=0
  (cd "$work/debs" && apt apt-get $quiet download "$@")
}

fetch_packages() {
  local kernel size
  say "reading the package lists"
  apt apt-get -qq update
  kernel=$(kernel_package)
  [ -n "$kernel" ] || { echo "fetch.sh: no linux-image for riscv64 at this mirror" >&2; return 1; }
  size=$(apt apt-cache show "$kernel" | sed -n 's/^Size: //p' | head -n 1)
  say "downloading $kernel ($((size >> 20)) MiB), busybox-static, opensbi, u-boot-qemu"
  mkdir -p "$work/debs" "$work/tree"
  download "$kernel" busybox-static opensbi u-boot-qemu
  say "unpacking"
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/tree"; done
  echo "${kernel#linux-image-}" >"$work/kernel-version"
}

# collect: the files that users and tests name, out of the tree.
collect() {
  local version
  version=$(cat "$work/kernel-version")
  mv "$work/tree/boot/vmlinux-$version" "$work/Image"
  find "$work/tree" -path '*/riscv64-linux-gnu/opensbi/generic/*' \( -name fw_dynamic.bin -o -name fw_jump.elf \) -exec cp {} "$work" \;
  find "$work/tree" -path '*qemu-riscv64_smode*' -name u-boot.bin -exec cp {} "$work" \;
  rm -rf "$work/debs" "$work/tree/usr/share" "$work/tree/boot"
  depmod -b "$work/tree/usr" "$version" 2>/dev/null || depmod -b "$work/tree" "$version"
}

exec 9>"$dir/lock"
flock 9
if [ ! -s "$dir/Image" ]; then
  [ -z "${PARTITA_OFFLINE:-}" ] || { echo "fetch.sh: no guest in $dir and PARTITA_OFFLINE is set" >&2; exit 1; }
  work=$dir/work
  rm -rf "$work" && mkdir -p "$work"
  fetch_packages
  collect
  rm -rf "$dir/tree" "$dir/debs"
  mv "$work/tree" "$work/kernel-version" "$work"/fw_* "$work"/u-boot.bin "$dir/"
  mv "$work/Image" "$dir/Image" # last: its presence says that the rest is complete
  rm -rf "$work"
fi

# The initramfs depends on this repository's scripts too: made again whenever they change.
want=$(cat "$here/initramfs.sh" "$here/init" "$dir/kernel-version" | cksum)
if [ "$want" != "$(cat "$dir/initramfs.sum" 2>/dev/null)" ]; then
  say "making initramfs.cpio.gz"
  "$here/initramfs.sh" "$dir" "$dir/initramfs.cpio.gz"
  echo "$want" >"$dir/initramfs.sum"
fi
