#!/usr/bin/env bash
# fetch.sh DIR : a stock Debian amd64 guest in DIR, made once: Image (the cloud flavour's bzImage), vmlinux (the same, unpacked:
# it has a PVH entry), kernel-version, tree/ (modules, busybox). Needs dpkg-deb, depmod, zstd, xz. Installs nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "$1" && cd "$1" && pwd)
suite=${NESTED_SUITE:-trixie}

apt() { GUEST_ARCH=amd64 "$here/../../../launch/guest/apt.sh" "$dir/apt" "$suite" "$@"; }

# little_endian FILE OFFSET : 4 bytes as a number
little_endian() { od -An -tu4 -j "$2" -N 4 "$1" | tr -d ' '; }

# The kernel inside a bzImage: its setup header says where (payload_offset, payload_length).
unpack_kernel() {
  local sectors at length
  sectors=$(od -An -tu1 -j 497 -N 1 "$1" | tr -d ' ')
  at=$(((sectors + 1) * 512 + $(little_endian "$1" 584)))
  length=$(($(little_endian "$1" 588) - 4)) # the size of what it unpacks to is behind
  tail -c +$((at + 1)) "$1" | head -c "$length" | zstd -dcq >"$2"
}

exec 9>"$dir/lock"
flock 9
[ ! -s "$dir/Image" ] || exit 0
echo "  nested: fetching Debian $suite's linux-image-cloud-amd64 and busybox"
rm -rf "$dir/work" && mkdir -p "$dir/work/debs" "$dir/work/tree"
apt apt-get -qq update
package=$(apt apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: *\(linux-image-[0-9][^: ]*\).*/\1/p' | head -n 1)
(cd "$dir/work/debs" && apt apt-get -qq download "$package" busybox-static)
for deb in "$dir"/work/debs/*.deb; do dpkg-deb -x "$deb" "$dir/work/tree"; done
version=${package#linux-image-}
depmod -b "$dir/work/tree/usr" "$version"
unpack_kernel "$dir/work/tree/boot/vmlinuz-$version" "$dir/work/vmlinux"
rm -rf "$dir/tree"
mv "$dir/work/tree" "$dir/work/vmlinux" "$dir/"
echo "$version" >"$dir/kernel-version"
mv "$dir/tree/boot/vmlinuz-$version" "$dir/Image" # last: its presence says that the rest is complete
rm -rf "$dir/work"
