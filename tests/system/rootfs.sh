#!/usr/bin/env bash
# A whole Debian on a virtio disk: systemd to the login prompt, stress-ng --verify, apt and dpkg, a clean power-off, and not one
# warning of the kernel. Not part of CI (check.sh rootfs): the image takes minutes to make.
. "$(dirname "$0")/lib.sh"
image=${PARTITA_ROOTFS:-$guest/rootfs.img}
limit=${LIMIT:-600}

# boot_root HARTS ARGUMENT... : a copy of the image as root file system, options in $append.
boot_root() {
  local harts=$1
  shift
  PARTITA=$partita "$top/launch/guest/rootfs.sh" "$image" || skip "no root file system (see above)"
  cp --sparse=always "$image" "$work/root.img"
  partita_run 0 -smp "$harts" -m 2G -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" \
    -append "console=ttyS0 quiet act=root ${append-}" -drive "file=$work/root.img,format=raw" "$@"
}

# What systemd runs on the booted system, from the second disk: a shell script, padded with empty lines.
write_job() {
  cat >"$work/job" <<'JOB'
exec >/dev/console 2>&1
export DEBIAN_FRONTEND=noninteractive
echo "JOB nproc=$(nproc) failed=$(systemctl --failed --no-legend | wc -l)"
stress-ng --verify --timeout 8s --cpu 1 --vm 1 --vm-bytes 64M --fork 1 --pipe 1 --futex 1 --atomic 1 --shm 1 --matrix 1 --memcpy 1
echo "STRESS code=$?"
mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin
printf 'Package: hello-partita\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: hello\n' >/tmp/p/DEBIAN/control
printf '#!/bin/sh\necho HELLO-PARTITA\n' >/tmp/p/usr/bin/hello-partita
chmod 755 /tmp/p/usr/bin/hello-partita
dpkg-deb -b /tmp/p /tmp/hello.deb && apt-get -qq -y install /tmp/hello.deb && hello-partita &&
  apt-get -qq -y purge hello-partita &&
  [ -z "$(dpkg --audit)" ] && [ ! -e /usr/bin/hello-partita ] && echo APT-OK
JOB
  count_kernel_warnings >>"$work/job"
  yes '' | head -c 8192 >>"$work/job"
  truncate -s 8192 "$work/job"
}

# system HARTS OPTION...
system() {
  need e2fsck
  need_guest
  write_job
  append='systemd.run="/bin/sh /dev/vdb" systemd.run_success_action=poweroff' \
    boot_root "$1" -drive "file=$work/job,format=raw,readonly=on" "${@:2}"
  out_has "^JOB nproc=$1 failed=0"
  out_has '^STRESS code=0'
  out_has '^APT-OK'
  out_has '^KERNEL warnings=0\.'
  out_has 'reboot: Power down'
  healthy
  e2fsck -fn "$work/root.img" >"$work/err" 2>&1 || fail "the file system is damaged"
}
case_smp1() { system 1; }
case_smp2() { system 2; }
case_smp4() { system 4; }
case_ranks2() { system 2 -ranks 2; }
case_ranks3() { system 4 -ranks 3; }
case_ranks4() { system 5 -ranks 4; }

case_login() {
  need_guest
  boot_root 2 -expect '^partita login: '
}

main "$@"
