#!/usr/bin/env bash
# A stock Debian amd64 kernel under `partita run -M virt-x86 -accel kvm`, where a whole KVM is: inside QEMU, which translates an
# AMD CPU with SVM, runs the same kernel with kvm-amd. Not part of CI (check.sh kvm-nested). QEMU_X86 names the program.
#
#   host -> QEMU (TCG, EPYC) -> Debian kernel, kvm-amd -> partita -> Debian kernel -> BOOT-OK
#
# Each step prints how far it is; a busy host takes minutes where a quiet one takes half of one. nested/README.md: why VMs are held.
. "$(dirname "$0")/lib.sh"
patient="nowatchdog rcupdate.rcu_cpu_stall_suppress=1" # each of its instructions is emulated twice

nested=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/partita/guest-amd64
qemu=${QEMU_X86:-qemu-system-x86_64}
limit=${LIMIT:-1800}
run_limit=900 # of each run inside, host seconds there

say() { echo "  kvm-nested: $* ($((SECONDS)) s)"; }

need_nested() {
  [ "$(uname -m)" = x86_64 ] || skip "the host is no x86-64"
  for tool in "$qemu" gcc dpkg-deb depmod cpio xz zstd; do need "$tool"; done
  bash "$here/nested/fetch.sh" "$nested" || skip "cannot fetch Debian's amd64 kernel (network? mirror?)"
}

# The innermost guest: uses its devices, and runs its part of the test from $work/job.
make_inner() {
  mkdir -p "$work/inner"
  cat - "$work/job" >"$work/inner/run" <<'RUN'
echo "CLOCK $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
tries=0; while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do usleep 50000; tries=$((tries + 1)); done
echo "DISK $(dd if=/dev/vda bs=64k 2>/dev/null | sha256sum)"
echo written | dd of=/dev/vda bs=512 seek=8 conv=notrunc,fsync 2>/dev/null
echo "RANDOM $(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | hexdump -e '16/1 "%02x"')"
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
ping -c 1 -W 60 10.0.2.2 >/dev/null && echo NETWORK-OK
grep virtio /proc/interrupts
RUN
  "$top/launch/guest/initramfs.sh" "$nested" "$work/inner.gz" "$work/inner"
}

# The program with its libraries, kvm-amd, kernel and initramfs; `$work/outer_job` is what is done with them.
make_outer() {
  local root=$work/outer modules=$nested/tree/usr/lib/modules/ name library
  modules+=$(cat "$nested/kernel-version")/kernel
  mkdir -p "$root/kvm" "$root/lib64" "$root/libs"
  for name in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd; do
    xz -dc "$modules/$name.ko.xz" >"$root/kvm/$(basename $name).ko"
  done
  cp "$partita" "$root/partita"
  strip "$root/partita"
  for library in $(ldd "$partita" ${programs:-} | grep -o '/[^ :]*' | grep '\.so'); do cp -Lu "$library" "$root/libs/"; done
  cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
  gcc -O2 -Wall -Wextra -Werror -static "$here/nested/hold.c" -o "$root/kvm/hold" || fail "nested/hold.c cannot be built"
  cp "$nested/$kernel" "$root/kernel"
  cp "$work/inner.gz" "$root/inner.gz"
  head -c 65536 /dev/urandom >"$root/disk"
  sha256sum <"$root/disk" >"$work/disk.sum"
  cat - "$work/outer_job" >"$root/run" <<RUN
export LD_LIBRARY_PATH=/libs PATH=/bin:/ run_limit=$run_limit
for module in irqbypass kvm kvm-amd; do insmod /kvm/\$module.ko || exit 1; done
((/kvm/hold; echo KVM-LOST) >/held 2>&1 &) # no child of this shell, which waits for its own
until grep -q KVM- /held; do usleep 200000; done
cat /held
/partita doctor
start() {
  echo "STEP \$*"
  /partita run -M virt-x86\$machine -accel kvm -m 256M -kernel /kernel -initrd /inner.gz -drive file=/disk,format=raw -netdev user,id=n0 \\
    -device virtio-net-device,netdev=n0 -device virtio-rng-device -append "console=ttyS0 act=run $patient" --timeout \${run_limit}s "\$@"
}
RUN
  "$top/launch/guest/initramfs.sh" "$nested" "$work/outer.gz" "$root"
}

# Says how far it is while it runs.
watch() {
  local last='' now
  while sleep 5 && kill -0 "$1" 2>/dev/null; do
    now=$(tr -d '\r' <"$work/out" | grep -aoE 'STEP.*|BOOT-OK.*|RUN-END.*|GUEST-CODE.*|KVM-HELD|Run /init' | tail -n 1)
    [ "$now" = "$last" ] || say "$now"
    last=$now
  done
}

qemu_once() {
  say "QEMU begins"
  timeout -k 5 "$limit" nice -n 5 "$qemu" -M q35 -accel tcg,thread=multi -smp 2 -cpu EPYC,-xsaves -m 1536 -display none \
    -nodefaults -no-reboot -serial stdio -kernel "$nested/Image" -initrd "$work/outer.gz" \
    -append "console=ttyS0 act=run mitigations=off no_timer_check panic=-1 $patient" </dev/null >"$work/out" 2>"$work/err" &
  local pid=$! code=0
  watch $pid &
  wait $pid || code=$?
  [ $code = 0 ] || fail "QEMU: exit code $code"
}

# QEMU's processors sometimes keep an int3 that another one has put into code for an instant, and the outer kernel panics
# (nested/README.md). Before VMs are held that has nothing to do with us: once more. Afterwards it is a failure.
run_outer() {
  local try
  for try in 1 2 3; do
    qemu_once
    ! grep -qa '^KVM-HELD' "$work/out" || return 0
    say "QEMU's kernel did not come to hold its VMs, attempt $try: $(grep -am 1 -oE 'Kernel panic.*' "$work/out")"
  done
}

outer() {
  kernel=${kernel:-Image}
  make_inner
  make_outer
  run_outer
  tr -d '\r' <"$work/out" >"$work/clean" && mv "$work/clean" "$work/out"
  say "QEMU has ended"
  out_has '^RUN-END status=0'
  out_has '^KVM-HELD'
  out_has 'KVM +/dev/kvm works' # the outer doctor sees SVM
}

# Every device was used from within.
# A warning is not ours: Debian's KVM 6.12.117 as the outer host tells a CPUID leaf 0xd of before XCR0 was set.
inner_is_well() {
  sed -i '/XSAVE consistency problem/,/end trace/d' "$work/out"
  out_has '^CLOCK kvm-clock'
  out_has "^DISK $(cut -d' ' -f1 "$work/disk.sum")"
  out_has '^RANDOM [0-9a-f]{32}'
  out_has '^NETWORK-OK'
  local trouble='insmod .* failed|Call Trace|Oops|BUG:|Kernel panic'
  grep -aE -m 1 -B 5 -A 40 "$trouble" "$work/out" # what led to it, which the end of the output does not show
  out_lacks "$trouble"
}

# boots CPUS OPTION...
boots() {
  need_nested
  : >"$work/job"
  cat >"$work/outer_job" <<JOB
machine=${machine:-}
start -smp $*; echo "GUEST-CODE \$?"
echo "AFTERWARDS \$(dd if=/disk bs=512 skip=8 count=1 2>/dev/null | head -n 1)"
JOB
  outer
  out_has "^BOOT-OK nproc=$1 "
  out_has 'ACPI: PM: Preparing to enter system sleep state S5'
  out_has '^GUEST-CODE 0'
  out_has '^AFTERWARDS written'
  inner_is_well
}
case_smp1() { boots 1; }
case_smp2() { boots 2; }

# Virtio interrupts by eventfd, which the kernel takes for edges.
case_irqfd() {
  machine=,irqfd=on
  boots 2 --stats
  out_has '^ *virtio interrupts +[1-9][0-9]* by eventfd$'
  out_has '^ *[0-9]+: .* IO-APIC +[12][0-9]-edge +virtio'
}

# Interrupt controllers that are Partita's, and no PIC, no PIT.
case_own_apics() {
  machine=,kernel-irqchip=off
  boots 2
}

# A machine on two ranks as far as it gets here: its CPUs come up, one on each. Then their page tables go to and fro, since a
# nested page walk counts as a write, and a page takes tens of milliseconds (kvm/README.md): 5 minutes on a quiet host, more than 15
# on one with a load of 20.
case_ranks() {
  run_limit=2000
  limit=${LIMIT:-2300}
  need_nested
  : >"$work/job"
  cat >"$work/outer_job" <<'JOB'
start -smp 2 --ranks 2 --stats --expect 'smp: Brought up [12] nodes?, 2 CPUs'; echo "GUEST-CODE $?"
JOB
  outer
  out_has '^GUEST-CODE 0'
}

# The unpacked kernel starts by its PVH note.
case_pvh() {
  kernel=vmlinux
  boots 2
}

# Killed under load and restored in another process, a minute later: the work ends as if nothing had been, and neither the
# guest's clock nor its scheduler has seen the time between.
case_checkpoint() {
  need_nested
  cat >"$work/job" <<'JOB'
chain=start i=0 last=$(cut -d. -f1 /proc/uptime) gap=0
while [ $i -lt 120 ]; do
  chain=$(echo "$chain $i" | sha256sum | cut -d' ' -f1)
  now=$(cut -d. -f1 /proc/uptime); [ $((now - last)) -le $gap ] || gap=$((now - last)); last=$now
  [ $((i % 10)) != 0 ] || echo "CHAIN-AT $i at $now s, longest step $gap s"
  i=$((i + 1)); usleep 20000
done
echo "CHAIN $chain"; echo "GAP $gap"
JOB
  cat >"$work/outer_job" <<'JOB'
start -smp 2 --checkpoint-dir /store --checkpoint-incremental >/log 2>&1 &
wait_for() { # LINE-PATTERN FILE
  tries=0; until grep -qa "$1" "$2" || [ $tries -gt $((run_limit * 2)) ]; do usleep 500000; tries=$((tries + 1)); done
}
images() { tries=0; until [ -f "/store/00000$1/manifest.json" ] || [ $tries -gt 600 ]; do usleep 500000; tries=$((tries + 1)); done; }
partita_pid() { ps | grep '[/]partita' | grep -v grep | head -n 1 | awk '{print $1}'; }
wait_for 'CHAIN-AT 0' /log
echo "STEP first image"
kill -USR1 $(partita_pid); images 1
kill -USR1 $(partita_pid); images 2
kill -KILL $(partita_pid); wait
cat /log
echo "STEP killed; restored in 60 s"
sleep 60
/partita restore /store --timeout ${run_limit}s; echo "GUEST-CODE $?"
JOB
  outer
  local chain=start i
  for ((i = 0; i < 120; i++)); do chain=$(echo "$chain $i" | sha256sum | cut -d' ' -f1); done
  out_has '000002 \(incremental\)'
  out_has "^CHAIN $chain"
  out_has '^GUEST-CODE 0'
  local gap
  gap=$(sed -n 's/^GAP //p' "$work/out")
  [ "$gap" -lt 40 ] || fail "the guest's time jumped by $gap s"
  inner_is_well
}

# The folder's unit tests and the guest of system.kvm, where nothing of KVM is missing: the guest's sum is that of this host.
case_units() {
  local programs name
  need_nested
  programs=$(ls "${BUILD_DIR:-$(dirname "$partita")}"/tests/unit.kvm.*) || fail "no unit tests"
  bash "$here/guest_x86/build.sh" "$work" || fail "the guest cannot be built"
  mkdir -p "$work/outer/units"
  for name in $programs; do strip -o "$work/outer/units/$(basename "$name")" "$name"; done
  cp "$work/guest_x86.elf" "$work/outer/guest_x86.elf"
  : >"$work/job"
  cat >"$work/outer_job" <<'JOB'
for unit in /units/*; do
  echo "STEP $unit"; $unit; echo "UNIT $unit code $?"
done
echo "STEP guest_x86"
dd if=/dev/zero of=/zeroes bs=64k count=1 2>/dev/null
/partita run -M virt-x86 -smp 2 -m 64M -kernel /guest_x86.elf -append rounds=3 -device virtio-rng-device \
  -drive file=/zeroes,format=raw --timeout ${run_limit}s; echo "GUEST-CODE $?"
JOB
  outer
  grep -aE 'Failure!|^\[  FAILED' "$work/out"
  for name in $programs; do out_has "^UNIT /units/$(basename "$name") code 0"; done
  out_has '^GUEST-CODE 0'
  out_has '^CHECKSUM 0f7e5c32b4b40e43'
}

main "$@"
