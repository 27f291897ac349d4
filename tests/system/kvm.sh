#!/usr/bin/env bash
# Machines on the host's KVM: a guest of our own (guest_x86/), whole and in pieces. Where KVM cannot be used: skipped, with
# the reason that `partita doctor` gives.
. "$(dirname "$0")/lib.sh"
. "$here/lib_images.sh"
trap 'kill -KILL $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT # some of these machines never end by themselves

# guest ROUNDS WORD...: the command line of a run. "0 more=N": until something is typed, and N rounds more.
guest() {
  truncate -s 64K "$work/disk"
  command=(run -M virt-x86 -accel kvm -smp 2 -m 64M -kernel "$work/guest_x86.elf" -append "rounds=$1"
    -device virtio-rng-device -drive "file=$work/disk,format=raw" "${@:2}")
}

begin() {
  "$partita" "$@" <"$work/in" >>"$work/out" 2>>"$work/err" &
  pid=$!
}

# What begins next ends after some rounds, however many there have been until then. Who runs already has the old file.
last_one() {
  rm "$work/in"
  echo x >"$work/in"
}

# as_uninterrupted OPTION... : a guest that nobody interrupts comes to the same sum after as many rounds.
as_uninterrupted() {
  local sum rounds
  sum=$(value CHECKSUM) rounds=$((16#$(value ROUNDS)))
  : >"$work/out"
  : >"$work/err"
  rm "$work/disk"
  guest $rounds "$@"
  begin "${command[@]}"
  finish 0
  [ -n "$sum" ] && [ "$sum" = "$(value CHECKSUM)" ] || fail "after $rounds rounds $sum, uninterrupted $(value CHECKSUM)"
  echo "$rounds rounds"
}

await_guest() {
  local tries=0
  until grep -qsa GUEST-UP "$work/out"; do
    kill -0 "$pid" 2>/dev/null || fail "the machine ended"
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "the guest does not come up"
    sleep 0.1
  done
}

# Until SIGUSR1 is taken for a wish, and no longer the process' end.
await_signals() {
  local tries=0
  until grep -qs '^SigBlk:.*[2367abef]..$' "/proc/$pid/status"; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "the machine does not come up"
    sleep 0.1
  done
}

# What the guest and the same work on the host come to.
value() { sed -n "s/^$1 //p" "$work/out" | tr -d '\r'; }

# clocks_are_well NS : the guest's clocks have not gone backwards, and kvmclock went as the PM timer did, to NS.
clocks_are_well() {
  [ -n "$(value CLOCK-DRIFT)" ] || fail "the guest said nothing of its clocks"
  [ -z "$(value CLOCK-BACKWARDS | grep -v '^0*$')" ] || fail "a clock of the guest's went backwards"
  local drift
  for drift in $(value CLOCK-DRIFT); do
    [ $((16#$drift)) -lt "$1" ] || fail "kvmclock and the PM timer have moved apart by $((16#$drift)) ns"
  done
}

# Two CPUs, page tables, page faults, timers, IPIs, virtio by interrupts; the same checksum each time.
case_guest() {
  need_kvm
  guest 12
  begin "${command[@]}"
  finish 0
  out_has '^CHECKSUM [0-9a-f]{16}'
  out_lacks GUEST-FAILED
  local first
  first=$(value CHECKSUM)
  : >"$work/out"
  rm "$work/disk"
  guest 12 --threads 1
  begin "${command[@]}"
  finish 0
  [ "$(value CHECKSUM)" = "$first" ] || fail "another checksum on one thread: $(value CHECKSUM), $first"
}

# Notifications that are exits, and such that are eventfds (the default, which all other cases have): the same sum. Whether they were,
# --stats says.
case_eventfds() {
  need_kvm
  local first='' on
  declare -A rung=([on]='[1-9][0-9]*' [off]=0)
  for on in on off; do
    : >"$work/out"
    : >"$work/err"
    rm -f "$work/disk"
    guest 12 --stats
    command=("${command[@]/virtio-rng-device/virtio-rng-device,ioeventfd=$on}")
    command=("${command[@]/format=raw/format=raw,if=none,id=d}" -device "virtio-blk-device,drive=d,ioeventfd=$on")
    begin "${command[@]}"
    finish 0
    err_lacks 'no effect|cannot come'
    err_has "^ *notifications +${rung[$on]} by eventfd\$"
    first=${first:-$(value CHECKSUM)}
    [ "$(value CHECKSUM)" = "$first" ] || fail "another checksum with ioeventfd=$on: $(value CHECKSUM), $first"
  done
  [ -n "$first" ] || fail "no checksum"
}

# What was asked for stays with the machine, in its images.
case_eventfds_restored() {
  need_kvm
  guest "0 more=20" --checkpoint-dir "$store"
  command=("${command[@]/virtio-rng-device/virtio-rng-device,ioeventfd=off}")
  command=("${command[@]/format=raw/format=raw,if=none,id=d}" -device "virtio-blk-device,drive=d,ioeventfd=off")
  begin "${command[@]}"
  await_guest
  kill -USR1 "$pid"
  images 1
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null
  last_one
  begin restore "$store" --stats
  finish 0
  err_has '^ *notifications +0 by eventfd$'
}

# Virtio interrupts that are edges by eventfd: the same sum as of levels, also of a machine that is killed under load and restored, twice.
case_irqfd() {
  need_kvm
  local round want=0
  guest "0 more=20" --stats -machine virt-x86,irqfd=on --checkpoint-dir "$store"
  begin "${command[@]}"
  await_guest
  for round in 1 2; do
    await_signals
    kill -USR1 "$pid"
    images $((++want))
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    : >"$work/err"
    [ $round = 1 ] || last_one
    begin restore "$store" --checkpoint-dir "$store" --stats
  done
  finish 0
  err_has '^ *virtio interrupts +[1-9][0-9]* by eventfd$'
  err_lacks 'cannot come'
  out_lacks GUEST-FAILED
  as_uninterrupted --stats
  err_has '^ *virtio interrupts +0 by eventfd$'
}

# Interrupt controllers that are Partita's, not KVM's, on one rank and over two: the same sum. A machine over ranks resets
# itself as one does that is on one.
case_own_apics() {
  need_kvm
  guest 12
  begin "${command[@]}"
  finish 0
  local first
  first=$(value CHECKSUM)
  for more in "-machine virt-x86,kernel-irqchip=off" "-machine virt-x86,kernel-irqchip=off --threads 1" "--ranks 2"; do
    : >"$work/out"
    rm "$work/disk"
    # shellcheck disable=SC2086 # words
    guest 12 $more
    begin "${command[@]}"
    finish 0
    out_lacks GUEST-FAILED
    [ "$(value CHECKSUM)" = "$first" ] || fail "another checksum with $more: $(value CHECKSUM), $first"
  done
  : >"$work/out"
  guest "4 resets=2" --ranks 2
  begin "${command[@]}"
  finish 0
  [ "$(grep -c '^GUEST-UP' "$work/out")" = 3 ] || fail "not three starts"
  [ "$(value CHECKSUM | sed -n 2p)" = "$(value CHECKSUM | sed -n 3p)" ] || fail "two sums for the same disk"
  [ "$(value PAGES | sort -u)" = 0000000000000800 ] || fail "pages of before the reset: $(value PAGES | xargs)"
}

# Two processes, each with a VM and a vCPU; the guest's failure is the run's.
case_mpi() {
  need_kvm
  need mpirun
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  guest 12
  begin "${command[@]}"
  finish 0
  local first
  first=$(value CHECKSUM)
  : >"$work/out"
  rm "$work/disk"
  guest 12 -bind off
  timeout -k 5 100 mpirun --oversubscribe --bind-to none -n 2 "$partita" "${command[@]}" </dev/null >"$work/out" 2>"$work/err" ||
    fail "exit code $?"
  err_has 'one machine on 2 ranks: hart 0 on rank 0'
  [ "$(value CHECKSUM)" = "$first" ] || fail "another checksum over two processes: $(value CHECKSUM), $first"
}

# Images under load, full and incremental; the machine is killed and goes on in another process, twice, seconds later.
# It ends as one that nobody interrupted, and its clocks have not seen the time between.
case_checkpoint() {
  need_kvm
  local gap round want=0
  guest "0 more=20" --checkpoint-dir "$store" --checkpoint-incremental
  begin "${command[@]}"
  await_guest
  for round in 1 2; do
    await_signals
    sleep 0.3
    kill -USR1 "$pid"
    images $((++want))
    kill -USR1 "$pid"
    images $((++want))
    sleep 0.1
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    sleep 3
    [ $round = 1 ] || last_one
    begin restore "$store" --checkpoint-dir "$store" --checkpoint-incremental
  done
  finish 0
  err_has '\(incremental\)'
  clocks_are_well 20000000
  for gap in $(value LONGEST-GAP); do # between two ticks, by the PM timer at 3.58 MHz
    [ $((16#$gap)) -lt $((3579545 * 5 / 2)) ] || fail "the guest's time jumped: $((16#$gap)) ticks"
  done
  as_uninterrupted
}

# Over two ranks under load: full and incremental images, killed, back on two ranks, which make images and are killed, too, and
# then on one. The sum is that of a machine on one rank with KVM's interrupt controllers which nobody interrupted.
case_checkpoint_ranks() {
  need_kvm
  local gap want=0 step
  guest "0 more=20" --ranks 2 --checkpoint-dir "$store" --checkpoint-incremental
  begin "${command[@]}"
  await_guest
  for step in "--ranks 2" ""; do
    await_signals
    sleep 0.2
    kill -USR1 "$pid"
    images $((++want))
    kill -USR1 "$pid"
    images $((++want))
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    sleep 3
    [ -n "$step" ] || last_one
    # shellcheck disable=SC2086 # words
    begin restore "$store" --checkpoint-dir "$store" --checkpoint-incremental $step
  done
  finish 0
  err_has '\(incremental\)'
  out_lacks GUEST-FAILED
  clocks_are_well 20000000
  for gap in $(value LONGEST-GAP); do
    [ $((16#$gap)) -lt $((3579545 * 5 / 2)) ] || fail "the guest's time jumped: $((16#$gap)) ticks"
  done
  as_uninterrupted
}

# Homes of memory change their rank all the time: the sum is the same. The guest ends when it is typed to, when they have moved.
case_homes() {
  need_kvm
  local moves=0
  rm "$work/in"
  mkfifo "$work/in"
  exec 9<>"$work/in" # who opens it to read need not wait
  guest "0 more=4" --ranks 2 --control "$work/socket"
  begin "${command[@]}"
  await_guest
  while [ $moves -lt 10 ]; do
    kill -0 "$pid" 2>/dev/null || fail "the machine ended before it was told to"
    ! "$partita" control "$work/socket" move-memory start=0 length=0x4000000 "rank=$((moves % 2))" >>"$work/moves" 2>&1 || moves=$((moves + 1))
    sleep 0.1
  done
  echo x >&9
  finish 0
  out_lacks GUEST-FAILED
  as_uninterrupted
}

# Storms of INIT, STARTUP, NMI, SMI and what APICs do not take at a CPU whose pages go to and fro, and of NMI at the one that sends them, nonsense for interrupt controllers, resets in the midst of it; by KVM's
# controllers, by ours, and over two ranks.
case_storms() {
  need_kvm
  local more
  for more in "" "-machine virt-x86,kernel-irqchip=off" "--ranks 2"; do
    : >"$work/out"
    # shellcheck disable=SC2086 # words
    guest "storms=300 resets=2" $more
    begin "${command[@]}"
    finish 0
    out_lacks GUEST-FAILED
    [ "$(grep -c '^STORM-OK' "$work/out")" = 3 ] || fail "not three storms$more"
    [ "$(value NMIS | grep -vc '^0*$')" = 3 ] || fail "no NMIs of its own: $(value NMIS | xargs)$more"
  done
}

# The guest resets itself by ACPI, twice: both CPUs begin anew. The disk is what it was left as, so sums differ.
case_reset() {
  need_kvm
  guest "24 resets=2"
  begin "${command[@]}"
  finish 0
  [ "$(grep -c '^GUEST-UP' "$work/out")" = 3 ] || fail "not three starts"
  [ "$(grep -c '^CHECKSUM' "$work/out")" = 3 ] || fail "not three ends"
  [ "$(value CHECKSUM | sed -n 2p)" = "$(value CHECKSUM | sed -n 3p)" ] || fail "two sums for the same disk"
  [ "$(value PAGES | sort -u)" = 0000000000000800 ] || fail "pages of before the reset: $(value PAGES | xargs)"
}

# sums_of_lives : of this output, as far as they are whole
sums_of_lives() { sed -nE 's/^CHECKSUM ([0-9a-f]{16}).*/\1/p' "$work/out" | xargs; }

# await_sums N : waits until there are N
await_sums() {
  local tries=0
  until [ "$(sums_of_lives | wc -w)" -ge "$1" ]; do
    kill -0 "$pid" 2>/dev/null || fail "the machine ended before life $1 did"
    tries=$((tries + 1))
    [ $tries -lt 1200 ] || fail "life $1 takes more than a minute"
    sleep 0.05
  done
}

# Triple faults, one after the other without an end (the guest counts them in a byte), while images are made as fast as they can be:
# each is a reset, and no image has anything of after its cut: from each of some the guest goes on to the sums of one that nobody
# interrupted: its first life has one, all later ones another. On one rank with KVM's interrupt controllers, and over two.
case_faults() {
  need_kvm
  local more first later name rest made tries
  guest "1 resets=1 faults=1"
  begin "${command[@]}"
  finish 0
  read -r first later rest <<<"$(sums_of_lives)"
  [[ -n $later && $first != "$later" && -z $rest ]] || fail "not two lives with different sums: $(sums_of_lives)"
  for more in "" "--ranks 2"; do
    rm -rf "$store" "$work/disk"
    # shellcheck disable=SC2086 # words
    guest "1 resets=1000 faults=1" $more --checkpoint-dir "$store" --checkpoint-incremental
    : >"$work/out"
    begin "${command[@]}"
    await_signals
    kill -USR1 "$pid"
    images 1
    cp -p "$work/disk" "$work/disk.first" # from now on its file is written only by who ends
    tries=0
    until [ "$(ls -d "$store"/*/manifest.json | wc -l)" -ge 4 ] && [ "$(sums_of_lives | wc -w)" -ge 2 ]; do
      kill -USR1 "$pid" 2>/dev/null || fail "the machine ended"
      tries=$((tries + 1))
      [ $tries -lt 1200 ] || fail "no four images and two lives in a minute"
      sleep 0.05
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    "$partita" image verify "$store" >>"$work/err" 2>&1 || fail "an image is damaged"
    mapfile -t made < <(cd "$store" && ls -d 0*/manifest.json)
    for name in "${made[${#made[@]} / 2]}" "${made[-1]}"; do
      : >"$work/out"
      cp -p "$work/disk.first" "$work/disk"
      begin restore "$store/${name%/*}"
      await_sums 2 # the interrupted life, and a whole one
      kill -KILL "$pid"
      wait "$pid" 2>/dev/null
      rest=$(sums_of_lives | cut -d ' ' -f 1-2)
      [[ $rest = "$first $later" || $rest = "$later $later" ]] ||
        fail "from image ${name%/*}$more: $rest; uninterrupted: $first, then $later"
    done
  done
}

# From process to process while it works; its memory goes in rounds, by KVM's log of written pages.
case_migrate() {
  need_kvm
  local source
  guest "0 more=20" --control "$work/socket"
  begin "${command[@]}"
  await_guest
  source=$pid
  last_one
  begin restore --incoming "unix:$work/incoming"
  await_path "$work/incoming" "$pid"
  "$partita" migrate "$work/socket" "unix:$work/incoming" >>"$work/err" 2>&1 || fail "the machine does not move"
  finish 0
  pid=$source
  finish 86
  clocks_are_well 20000000
  as_uninterrupted
}

main "$@"
