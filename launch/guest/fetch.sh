#!/usr/bin/env bash
# fetch.sh [DIR] : Debian riscv64 guest material in DIR (default: the cache), made once, in DIR:
#   Image initramfs.cpio.gz kernel-version suite fw_dynamic.bin fw_jump.elf u-boot.bin tree/ (the unpacked packages)
# The suite is Debian 13 (trixie). A mirror that is half-way through a point release serves indices which do not match
# their signature: then testing (forky) is used and said so, for nothing unverified is ever unpacked. GUEST_SUITES overrides.
# Needs dpkg-deb, cpio, kmod, xz. Installs nothing. Prints one line per step; silent when all is there.
# PARTITA_OFFLINE=1: fail at once rather than use the network.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/partita/guest}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
say() { printf '  guest: %s\n' "$*"; }

suites=${GUEST_SUITES:-trixie forky}
suite=

apt() { "$here/apt.sh" "$dir/apt-$suite" "$suite" "$@"; }

# The first suite whose lists this mirror has whole and signed, into $suite.
choose_suite() {
  local log=$work/apt.log
  for suite in $suites; do
    say "reading the package lists of Debian's $suite"
    ! apt apt-get -qq update >"$log" 2>&1 || return 0
    say "not usable now: $(grep -m 1 '^E: ' "$log" | cut -c 1-150)"
  done
  echo "fetch.sh: this mirror has no usable package lists of: $suites" >&2
  return 1
}

# The versioned package behind the metapackage linux-image-riscv64.
kernel_package() {
  apt apt-cache depends linux-image-riscv64 | sed -n 's/.*Depends: *\(linux-image-[0-9][^: ]*\).*/\1/p' | head -n 1
}

# kernel_parts PACKAGE : the packages that hold its files: itself, or since Linux 7 the binary and the modules apart.
kernel_parts() {
  local parts
  parts=$(apt apt-cache depends "$1" | sed -n 's/.*Depends: *\(linux-\(binary\|modules\)-[^: ]*\).*/\1/p')
  echo "${parts:-$1}"
}

# download PACKAGE...: the packages' files into $work/debs, with apt's progress on a terminal.
download() {
  local quiet=-qq
  [ ! -t 1 ] || quiet=-q=0
  (cd "$work/debs" && apt apt-get $quiet download "$@")
}

fetch_packages() {
  local kernel parts size
  choose_suite
  kernel=$(kernel_package)
  [ -n "$kernel" ] || { echo "fetch.sh: no linux-image for riscv64 at this mirror" >&2; return 1; }
  parts=$(kernel_parts "$kernel")
  # shellcheck disable=SC2086
  size=$(apt apt-cache show $parts | awk '/^Size: /{sum += $2} END{print sum}')
  say "downloading $kernel ($((size >> 20)) MiB), busybox-static, opensbi, u-boot-qemu"
  mkdir -p "$work/debs" "$work/tree"
  # shellcheck disable=SC2086
  download $parts busybox-static opensbi u-boot-qemu
  say "unpacking"
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/tree"; done
  echo "${kernel#linux-image-}" >"$work/kernel-version"
  echo "$suite" >"$work/suite"
}

# collect: the files that users and tests name, out of the tree.
collect() {
  local version
  version=$(cat "$work/kernel-version")
  find "$work/tree" \( -name "vmlinux-$version" -o -path "*/$version/vmlinuz" \) -exec mv {} "$work/Image" \;
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
  mv "$work/tree" "$work/kernel-version" "$work/suite" "$work"/fw_* "$work"/u-boot.bin "$dir/"
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
