#!/usr/bin/env bash
# Machines under load that verifies itself, memory and file system together: images in every way, all killed, on other numbers of ranks.
. "$(dirname "$0")/lib.sh"
. "$here/lib_images.sh"

wrote='WROTE [ab]' # lines of the guest that say that it works

# await_work NUMBER : until the guest has said so often that it has written a file
await_work() {
  until [ "$(grep -cae "$wrote" "$work/out")" -ge "$1" ]; do
    kill -0 "$pid" 2>/dev/null || fail "the machine ended before '$wrote' number $1"
    sleep 0.1
  done
}

# some_work : it goes on, for a while that nobody chose
most=8 # files
some_work() { await_work $(($(grep -cae "$wrote" "$work/out") + RANDOM % most + 1)); }

# killed : the machine with all its processes, mpirun, too, whatever they are at
killed() {
  kill -KILL -- "-$pid" "${children[@]}"
  gone
}

# The ways of making images; each makes two, and leaves nothing that runs.
by_socket() {
  "$partita" checkpoint "$work/socket" "$store" >"$work/image" 2>"$work/progress" || fail "full image"
  some_work
  "$partita" checkpoint "$work/socket" "$store" --incremental >"$work/image" 2>"$work/progress" || fail "incremental image"
  grep -q '(incremental)' "$work/image" || fail "not incremental: $(cat "$work/image")"
  some_work
  killed
}
by_signals() { # to the last rank, and to the first
  local child before
  for child in "${children[-1]}" "${children[0]}"; do
    before=$(newest)
    kill -USR1 "$child"
    await_image "$before"
    some_work
  done
  killed
}
by_time() {
  await_image "$(newest)"
  await_image "$(newest)"
  some_work
  killed
}
by_end() {
  local before
  before=$(newest)
  kill -USR1 "${children[-1]}"
  await_image "$before"
  some_work
  kill -TERM "${children[-1]}"
  finish 85
}
ways=(by_socket by_signals by_time by_end)

# in_rounds WHERE... : the machine that runs goes on there each time, on so many ranks of a process (3) or processes (mpi3); it ends by
# itself, after something has been typed, on two ranks.
in_rounds() {
  local n=0 where again
  find_children 1
  for where in "$@"; do
    ${ways[n % 4]}
    "$partita" image verify "$(dirname "$(newest)")" >"$work/verify" 2>&1 || { cat "$work/verify"; fail "damaged in round $n"; }
    echo "round $n: ${ways[n % 4]}, $(basename "$(dirname "$(newest)")"), goes on on $where"
    n=$((n + 1))
    again=(restore "$store" "${images[@]}" --checkpoint-incremental)
    [ "${ways[n % 4]}" != by_time ] || [ $n = $# ] || again+=(--checkpoint-every 700ms)
    if [ "$where" = "${where#mpi}" ]; then
      begin "$partita" "${again[@]}" --ranks "$where"
      find_children 1
    else
      begin "${mpirun[@]}" -n "${where#mpi}" "$partita" "${again[@]}"
      find_children "${where#mpi}"
    fi
    some_work
  done
  by_socket
  echo x >"$work/in"
  begin "$partita" restore "$store" --ranks 2
  finish 0
}

# begin_machine MACHINE... : and until it works. What its processes leave behind when they are killed goes with $work.
begin_machine() {
  mpi
  export OMPI_MCA_orte_tmpdir_base=$work OMPI_MCA_btl_vader_backing_directory=$work
  images=(--checkpoint-dir "$store" --keep 3 --control "$work/socket")
  begin "$partita" run "$@" "${images[@]}"
  await_work 2
}

# What guest, file system and program say at the end.
all_is_well() { # DISK
  out_has 'VERIFY-OK a'
  out_has 'VERIFY-OK b'
  out_lacks 'LOAD-FAILED'
  healthy
  err_has 'has what the guest wrote'
  e2fsck -fn "$1" >"$work/fsck" 2>&1 || { cat "$work/fsck"; fail "the file system is damaged"; }
}

# Files written with fsync and their checksums, until /tmp/end exists; for both guests.
writers() {
  cat <<'SH'
write() {
  i=0
  mkdir -p $1 && cd $1 || exit 1
  while [ ! -e /tmp/end ]; do
    n=$((i % 12))
    { dd if=/dev/urandom of=f$n bs=64k count=$((i % 5 + 4)) conv=fsync 2>/dev/null && sha256sum f$n >sum$n && sync; } ||
      { echo "LOAD-FAILED $1"; exit 1; }
    i=$((i + 1)); echo "WROTE ${1##*/} $i"
  done
}
verify() {
  echo 3 >/proc/sys/vm/drop_caches
  for d in a b; do cd $1/$d && cat sum* | sha256sum -c - >/dev/null && echo "VERIFY-OK $d"; done
  cd /
}
SH
}

# In a small guest: stress.c beside the writers, from two ranks to three processes, and so on: images in each way once.
case_ranks() {
  local cc=riscv64-linux-gnu-gcc
  need $cc
  need mke2fs
  need_guest
  most=2
  truncate -s 64M "$work/disk.img"
  mke2fs -q -t ext4 "$work/disk.img" || fail mke2fs
  mkdir -p "$work/overlay"
  $cc -O2 -Wall -Wextra -Werror -march=rv64gc -mabi=lp64d -ffreestanding -fno-stack-protector -nostdlib -static -no-pie -Wl,--no-relax \
    "$here/guest/stress.c" -o "$work/overlay/stress" || fail "cannot build guest/stress.c"
  {
    writers
    cat <<'RUN'
mkdir -p /mnt; while [ ! -b /dev/vda ]; do usleep 10000; done
mount -t ext4 /dev/vda /mnt || exit 1
(read word && : >/tmp/end) </dev/console &
/stress & stress=$!
write /mnt/a & a=$!
write /mnt/b & wait $! $a $stress
verify /mnt
umount /mnt && echo UNMOUNTED
RUN
  } >"$work/overlay/run"
  "$top/launch/guest/initramfs.sh" "$guest" "$work/initrd" "$work/overlay"
  begin_machine -smp 3 -m 256M -kernel "$guest/Image" -initrd "$work/initrd" -append "console=ttyS0 $patient quiet act=run" \
    -drive "file=$work/disk.img,format=raw" --ranks 2
  in_rounds mpi3 1 mpi2 3
  out_has STRESS-OK
  out_lacks STRESS-FAILED
  out_has UNMOUNTED
  all_is_well "$work/disk.img"
}

# A whole Debian (check.sh rootfs; ROUNDS=10, SEED): stress-ng --verify beside files on the system's own disk. What systemd runs there
# comes from the second disk: a shell script, padded with empty lines.
case_rootfs() {
  local rounds=() ranks=2 n image=${PARTITA_ROOTFS:-$guest/rootfs.img}
  need e2fsck
  need_guest
  limit=${LIMIT:-600} # of a piece
  PARTITA=$partita "$top/launch/guest/rootfs.sh" "$image" || skip "no root file system (see above)"
  cp --sparse=always "$image" "$work/root.img"
  {
    echo 'exec >/dev/console 2>&1'
    writers
    cat <<'JOB'
(read word && : >/tmp/end) </dev/console &
stress() {
  while [ ! -e /tmp/end ]; do
    stress-ng --verify --timeout 15s --vm 1 --vm-bytes 48M --futex 1 --atomic 1 --fork 1 --pipe 1 --shm 1 --shm-bytes 8M
    echo "STRESS code=$?."
  done
}
write /var/load/a & a=$!
write /var/load/b & b=$!
stress & wait $! $a $b
verify /var/load
JOB
    count_kernel_warnings
    yes '' | head -c 8192
  } | head -c 8192 >"$work/job"
  RANDOM=${SEED:=$$}
  echo "SEED=$SEED"
  for n in $(seq "${ROUNDS:-10}"); do
    ranks=$(((ranks + RANDOM % 3) % 4 + 1)) # another number than before
    rounds+=("$([ $((RANDOM % 2)) = 0 ] || echo mpi)$ranks")
  done
  begin_machine -smp 4 -m 1G -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" -append \
    "console=ttyS0 $patient quiet act=root "'systemd.run="/bin/sh /dev/vdb" systemd.run_success_action=poweroff' \
    -drive "file=$work/root.img,format=raw" -drive "file=$work/job,format=raw,readonly=on" --ranks 2
  in_rounds "${rounds[@]}"
  grep -aoE 'stress-ng: info: .*(passed|failed|skipped|metrics untrustworthy): .*' "$work/out" | tr -d '\r' | sed 's/\[[0-9]*\] //' | sort | uniq -c
  echo "$(grep -ca 'STRESS code=0\.' "$work/out") runs of stress-ng, $(grep -cae "$wrote" "$work/out") files"
  out_has 'STRESS code=0\.'
  out_lacks 'STRESS code=[1-9]|stress-ng: (fail|error)|failed: [1-9]'
  out_has 'KERNEL warnings=0\.'
  out_has 'reboot: Power down'
  all_is_well "$work/root.img"
}

main "$@"
