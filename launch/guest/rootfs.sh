#!/usr/bin/env bash
# rootfs.sh IMAGE [PACKAGE...] : a Debian root file system for riscv64 (ext4, 2 GiB sparse): systemd, udev, apt, stress-ng and
# the PACKAGEs. Root logs in without a password. Made once, in minutes: apt resolves and verifies, dpkg-deb unpacks here, and
# Partita itself runs Debian's own installation (rootfs-init) in the guest. Needs what fetch.sh needs, mke2fs, and
# to be root (the files of the image belong to whom they are unpacked as). PARTITA names the program.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
image=$(realpath -m "$1")
shift
guest=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/partita/guest
partita=${PARTITA:-$here/../../build/partita}
packages="systemd-sysv udev dbus apt debian-archive-keyring kmod iproute2 iputils-ping stress-ng $*"
say() { printf '  rootfs: %s\n' "$*"; }

[ "$(id -u)" = 0 ] || { echo "rootfs.sh: must be root, the image's files are root's" >&2; exit 2; }
mkdir -p "$(dirname "$image")"
exec 9>"$image.lock"
flock 9
[ ! -s "$image" ] || exit 0
"$here/fetch.sh" "$guest"
suite=$(cat "$guest/suite")
work=$(mktemp -d "$image.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root

apt() { "$here/apt.sh" "$work/apt" "$suite" "$@"; }

# The essential packages first: they work unconfigured, which the others' scripts need.
download() {
  apt apt-get -qq update
  mkdir -p "$root/debs/essential" "$root/debs/rest"
  apt apt-get -qq -y --no-install-recommends -d install '?essential'
  mv "$work"/apt/cache/archives/*.deb "$root/debs/essential/"
  # shellcheck disable=SC2086
  apt apt-get -qq -y --no-install-recommends -d install '?essential' '?priority(required)' $packages
  mv "$work"/apt/cache/archives/*.deb "$root/debs/rest/"
  for deb in "$root"/debs/essential/*.deb; do rm -f "$root/debs/rest/$(basename "$deb")"; done
}

# base-files brings the links /bin -> usr/bin and so on, through which everything else goes.
unpack() {
  local deb
  dpkg-deb -x "$root"/debs/essential/base-files_*.deb "$root"
  for deb in "$root"/debs/*/*.deb; do dpkg-deb -x "$deb" "$root"; done
}

configure() {
  : >"$root/var/lib/dpkg/status"
  echo partita >"$root/etc/hostname"
  echo "/dev/vda / ext4 defaults,errors=remount-ro 0 1" >"$root/etc/fstab"
  echo "deb http://deb.debian.org/debian $suite main" >"$root/etc/apt/sources.list"
  install -m 755 "$here/rootfs-init" "$root/rootfs-init"
}

# finish: the installation in the guest; its power-off alone does not say that all went well.
finish() {
  "$partita" run -smp 2 -m 2G -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" \
    -append "console=ttyS0 quiet act=root rinit=/rootfs-init" -drive "file=$work/image,format=raw" \
    --timeout 1800 </dev/null >"$work/log" 2>&1 && grep -q '^ROOTFS-OK' "$work/log" || {
    tail -n 40 "$work/log"
    echo "rootfs.sh: the installation in the guest failed" >&2
    exit 1
  }
}

say "downloading packages of Debian's $suite"
download
say "unpacking $(find "$root/debs" -name '*.deb' | wc -l) packages"
unpack
configure
mke2fs -q -t ext4 -d "$root" "$work/image" 2G
rm -rf "$root"
say "installing them in the guest"
finish
mv "$work/image" "$image"
say "done: $image"
