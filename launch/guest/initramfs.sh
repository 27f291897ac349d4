#!/usr/bin/env bash
# initramfs.sh GUEST OUT [OVERLAY] : packs GUEST's busybox and modules and our init into OUT (cpio, gzip). The files
# of the directory OVERLAY are put on top; act=run on the kernel's command line runs its /run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
guest=$1 out=$2 overlay=${3:-}
version=$(cat "$guest/kernel-version")
modules=$guest/tree/usr/lib/modules/$version
[ -d "$modules" ] || modules=$guest/tree/lib/modules/$version
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

wanted="virtio_mmio virtio_pci virtio_blk virtio_net virtio-rng crc32c_generic ext4"
applets="sh mount umount insmod poweroff reboot cat echo switch_root mdev sleep usleep nproc uname dmesg dd ip ping
  ifconfig mkdir ls date time free seq grep awk sed cut tr head tail wc sync true false cp mv rm setsid cttyhack
  hexdump md5sum sha256sum nc wget udhcpc taskset expr top chroot ln test [ lspci lsmod mknod vi ps kill df touch"

# add NAME: a module after those it depends on. modules.dep lists them nearest first.
add() {
  local line file name
  line=$(grep -E "/$1\.ko(\.xz)?:" "$modules/modules.dep") || return 0 # built in
  for file in $(tr ' ' '\n' <<<"${line#*:}" | tac) "${line%%:*}"; do
    name=$(basename "$file" .xz)
    [ ! -f "$root/lib/modules/$name" ] || continue
    case $file in
      *.xz) xz -dc "$modules/$file" >"$root/lib/modules/$name" ;;
      *) cp "$modules/$file" "$root/lib/modules/$name" ;;
    esac
    echo "$name" >>"$root/etc/modules"
  done
}

mkdir -p "$root"/{bin,proc,sys,dev,mnt,tmp,etc,lib/modules}
cp "$guest/tree/usr/bin/busybox" "$root/bin/busybox"
for applet in $applets; do ln -s busybox "$root/bin/$applet"; done
: >"$root/etc/modules"
for module in $wanted; do add "$module"; done
install -m 755 "$here/init" "$root/init"
[ -z "$overlay" ] || cp -a "$overlay/." "$root/"
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet | gzip -n) >"$out.new"
mv "$out.new" "$out"
