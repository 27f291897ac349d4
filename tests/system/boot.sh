#!/usr/bin/env bash
# Debian's kernel and an initramfs on the machine virt: boots, power-off, reset, disk, network, console.
. "$(dirname "$0")/lib.sh"

# boot CODE HARTS WORDS ARGUMENT... : WORDS go to the kernel's command line
boot() {
  local code=$1 harts=$2 words=$3
  shift 3
  need_guest
  partita_run "$code" -smp "$harts" -m 1G -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" \
    -append "console=ttyS0 $patient $words" "$@"
}

boot_smp() {
  boot 0 "$1" ""
  out_has "^BOOT-OK nproc=$1 "
  out_has 'reboot: Power down'
  healthy
}
case_smp1() { boot_smp 1; }
case_smp2() { boot_smp 2; }
case_smp4() { boot_smp 4; }
case_smp8() { boot_smp 8; }
# Everything is translated when it is executed for the first time, and again as soon as a turn ends in it.
case_tiers() {
  boot 0 2 "" -accel jit,tier=auto,threshold=1,hot=1 --stats
  out_has '^BOOT-OK nproc=2 '
  healthy
  err_has '^  second tier +[1-9]'
}

# Processes that talk all the time, then processes that only compute: over ranks they should come together and spread.
case_balanced() {
  need_guest
  mkdir "$work/overlay"
  cat >"$work/overlay/run" <<'RUN'
dd if=/dev/urandom of=/tmp/blob bs=1M count=2 2>/dev/null
n=0; while [ $n -lt 40 ]; do dd if=/tmp/blob bs=4k 2>/dev/null | sha256sum; n=$((n + 1)); done >/tmp/talk
for i in 1 2 3 4; do
  (for n in 1 2 3 4 5 6 7 8 9 10; do sha256sum /tmp/blob; done | cut -c-64 >/tmp/s$i) &
done
wait
[ "$(cat /tmp/talk | cut -c-64 | cat - /tmp/s? | sort | uniq -c | sed 's/^ *//;s/ .*//')" = 80 ] && echo SUMS-OK
RUN
  "$top/launch/guest/initramfs.sh" "$guest" "$work/initrd" "$work/overlay"
  partita_run 0 -smp 4 -m 1G -kernel "$guest/Image" -initrd "$work/initrd" -append "console=ttyS0 $patient quiet nomods act=run" --stats
  out_has '^SUMS-OK'
  out_has 'reboot: Power down'
  healthy
  [ -z "${RANKS:-}${MPI_RANKS:-}" ] || err_has 'balancing moved [0-9]+ harts'
}

# More harts than host threads of any kind.
case_smp32() { boot_smp 32; }
boot_many() {
  boot 0 "$1" "nomods"
  local most
  most=$(sed -n 's/.*CPUs from NR_CPUS=\([0-9]*\) .*/\1/p' "$work/out")
  [ -z "$most" ] || [ "$most" -ge "$1" ] || skip "the kernel has NR_CPUS=$most"
  out_has "^BOOT-OK nproc=$1 "
  out_has "smp: Brought up 1 node, $1 CPUs"
  out_has 'reboot: Power down'
  healthy
}
case_smp64() { boot_many 64; }
case_smp128() { boot_many 128; }

# Two nodes, of which the guest's own scheduler and allocator know.
case_numa() {
  boot 0 4 "nomods" -numa node,cpus=0-1,mem=256M -numa node,cpus=2-3,mem=768M -numa dist,src=0,dst=1,val=25
  out_has '^BOOT-OK nproc=4 '
  out_has 'smp: Brought up 2 nodes, 4 CPUs'
  out_lacks 'Unknown NUMA node'
  out_has 'node   1: .mem 0x0000000090000000-0x00000000bfffffff'
  healthy
}

case_interpreter() {
  boot 0 1 "quiet nomods" -accel interp
  out_has '^BOOT-OK nproc=1 '
}

case_interpreter2() {
  boot 0 2 "quiet nomods" -accel interp
  out_has '^BOOT-OK nproc=2 '
}

case_one_thread() {
  boot 0 4 "quiet nomods" -threads 1
  out_has '^BOOT-OK nproc=4 '
}

# The guest resets itself for ever: it must come up again and again. It is ended when it has done so twice.
end_after_boots() {
  for _ in $(seq 1500); do
    if [ "$(grep -ac '^BOOT-OK' "$work/out" 2>/dev/null)" -ge "$1" ]; then
      "$partita" control "$work/socket" quit >/dev/null
      return
    fi
    sleep 0.1
  done
}
case_reset() {
  need_guest
  end_after_boots 3 &
  boot 0 2 "quiet nomods act=reboot" -timeout 150 --control "$work/socket"
  [ "$(grep -ac '^BOOT-OK' "$work/out")" -ge 3 ] || fail "no third boot after the guest's resets"
}

case_no_reboot() {
  boot 0 1 "quiet nomods act=reboot" -no-reboot
  [ "$(grep -ac '^BOOT-OK' "$work/out")" = 1 ] || fail "not exactly one boot"
}

case_expect() {
  boot 0 1 "quiet nomods act=idle" -expect '^BOOT-OK nproc=[0-9]+' -timeout 120
  out_has '^BOOT-OK'
}

case_expect2() {
  boot 0 2 "quiet nomods act=idle" -expect '^BOOT-OK nproc=[0-9]+' -timeout 120
  out_has '^BOOT-OK'
}

case_expect_unmatched2() {
  boot 1 2 "quiet nomods" -expect 'never printed by anyone'
  out_has '^BOOT-OK'
  err_has 'never matched'
}

case_expect_unmatched() {
  boot 1 1 "quiet nomods" -expect 'never printed by anyone'
  out_has '^BOOT-OK'
  err_has 'never matched'
}

case_timeout() {
  local start=$SECONDS
  boot 124 1 "quiet nomods act=idle" -timeout 15
  [ $((SECONDS - start)) -le 30 ] || fail "--timeout 15 took $((SECONDS - start)) s"
  err_has 'timeout'
}

# One virtio disk of each kind, read and written through ext4; what the guest wrote is on the host's file.
disk_image() {
  need mke2fs
  mkdir -p "$work"/root/{bin,sbin,dev,proc}
  cp "$guest/tree/usr/bin/busybox" "$work/root/bin/"
  ln -s busybox "$work/root/bin/sh"
  dd if=/dev/urandom of="$work/root/blob" bs=1M count=4 status=none
  cat >"$work/root/sbin/init" <<'INIT'
#!/bin/sh
b=/bin/busybox
$b mount -t proc proc /proc
echo "ROOT-OK $($b sha256sum </blob)"
$b dd if=/blob of=/copy bs=64k 2>/dev/null && $b sync && $b mount -o remount,ro / && echo WROTE-OK
$b poweroff -f
INIT
  chmod +x "$work/root/sbin/init"
  mke2fs -q -t ext4 -d "$work/root" "$work/disk.img" 32M || fail "mke2fs"
}

disk_boot() {
  need_guest
  disk_image
  boot 0 2 "quiet act=root" -drive "file=$work/disk.img,format=raw,$1"
  out_has "^ROOT-OK $(sha256sum <"$work/root/blob" | cut -c-64)"
  out_has '^WROTE-OK'
  healthy
  e2fsck -fn "$work/disk.img" >"$work/err" 2>&1 || fail "the file system is damaged"
  debugfs -R "dump /copy $work/copy" "$work/disk.img" 2>/dev/null
  cmp "$work/copy" "$work/root/blob" || fail "the guest's copy differs"
}
case_disk_pci() { disk_boot bus=pci; }
case_disk_mmio() { disk_boot bus=mmio; }

# A disk that may not be written: the guest is told, the file stays as it was.
case_disk_readonly() {
  need_guest
  head -c 8M /dev/urandom >"$work/disk.img"
  cp "$work/disk.img" "$work/before"
  mkdir "$work/overlay"
  cat >"$work/overlay/run" <<'RUN'
cat /sys/block/vda/ro
dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync && echo WRITTEN || echo REFUSED
sha256sum /dev/vda
RUN
  "$top/launch/guest/initramfs.sh" "$guest" "$work/initrd" "$work/overlay"
  partita_run 0 -m 512M -kernel "$guest/Image" -initrd "$work/initrd" -append "console=ttyS0 $patient quiet act=run" \
    -drive "file=$work/disk.img,format=raw,readonly=on"
  out_has '^REFUSED'
  out_has "$(sha256sum <"$work/before" | cut -c-64)"
  cmp "$work/disk.img" "$work/before" || fail "the read-only disk was written"
}

# The host's disk is full under the guest's: the guest sees an I/O error, we say so once. Needs a mount namespace
# for a file system of 4 MiB.
case_disk_full() {
  need_guest
  unshare -rm true 2>/dev/null || skip "no private mount namespace (unshare -rm)"
  mkdir "$work/overlay" "$work/small"
  cat >"$work/overlay/run" <<'RUN'
dd if=/dev/zero of=/dev/vda bs=1M count=2 oflag=direct && echo FIRST-OK
dd if=/dev/zero of=/dev/vda bs=1M count=8 seek=16 oflag=direct && echo SECOND-OK || echo SECOND-FAILED
dd if=/dev/vda of=/dev/null bs=1M count=32 iflag=direct && echo READ-OK
RUN
  "$top/launch/guest/initramfs.sh" "$guest" "$work/initrd" "$work/overlay"
  cat >"$work/full.sh" <<'FULL'
mount -t tmpfs -o size=4m tmpfs "$1" && truncate -s 32M "$1/disk.img" && shift && exec "$@"
FULL
  local code=0
  timeout -k 5 120 unshare -rm sh "$work/full.sh" "$work/small" "$partita" run -m 512M -kernel "$guest/Image" \
    -initrd "$work/initrd" -append "console=ttyS0 $patient quiet act=run" -drive "file=$work/small/disk.img,format=raw" \
    </dev/null >"$work/out" 2>"$work/err" || code=$?
  [ $code = 0 ] || fail "exit code $code"
  out_has '^FIRST-OK'
  out_has '^SECOND-FAILED'
  out_has '^READ-OK'
  [ "$(grep -ac 'disk.img' "$work/err")" = 1 ] || fail "not exactly one message about the disk"
}

network() {
  need_guest
  if "$partita" run --demo -netdev user,id=n 2>&1 </dev/null | grep -q 'needs libslirp'; then skip "built without libslirp"; fi
  mkdir "$work/overlay"
  cat >"$work/overlay/run" <<'RUN'
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up && ping -c 3 10.0.2.2 && echo PING-OK
RUN
  "$top/launch/guest/initramfs.sh" "$guest" "$work/initrd" "$work/overlay"
  partita_run 0 -smp "${1:-1}" -m 512M -kernel "$guest/Image" -initrd "$work/initrd" -append "console=ttyS0 $patient quiet act=run" -netdev user,id=n
  out_has '^PING-OK'
  healthy
}
case_network() { network 1; }
case_network2() { network 2; }

# A kernel's output through a file, and nothing of it on stdout.
case_serial_file() {
  boot 0 1 "quiet nomods" -serial "file:$work/serial"
  grep -qa '^BOOT-OK' "$work/serial" || fail "no BOOT-OK in the serial file"
  out_lacks BOOT-OK
}

case_quickstart() {
  need_guest
  timeout -k 5 "$limit" "$top/launch/quickstart.sh" </dev/null >"$work/out" 2>"$work/err" || fail "quickstart.sh: exit code $?"
  out_has '^BOOT-OK nproc=4'
}

main "$@"
