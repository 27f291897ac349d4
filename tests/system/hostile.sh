#!/usr/bin/env bash
# Guests that mean harm (guest/hostile, bare metal), on both engines. Each ends with 0 when it saw nothing that the
# architecture does not allow; a code of 10 or more is the place in the guest where it did.
. "$(dirname "$0")/lib.sh"

# every_engine BIOS NAME OPTION... : four harts on one and more threads, interpreted and translated; $tiers: in the
# background, too
every_engine() {
  local bios=$1 name=$2 engine
  shift 2
  for engine in "-accel interp -threads 1" "-accel interp -threads 2" "-accel jit -threads 1" "-accel jit -threads 4"\
    ${tiers:+"-accel jit,tier=auto,threshold=1 -threads 4"}; do
    # shellcheck disable=SC2086 # words
    limit=100 partita_run 0 -m 16M -smp 4 -bios "$bios" -kernel "$work/$name.elf" $engine "$@"
  done
}
m_mode() { build_hostile "$1"; every_engine none "$@"; }
s_mode() { build_hostile "$1" s; every_engine default "$@"; }

# One of each virtio device on both buses.
all_devices() {
  truncate -s 1M "$work/a.img" "$work/b.img"
  echo "-drive file=$work/a.img,format=raw -drive file=$work/b.img,format=raw,bus=mmio" \
    "-device virtio-rng-pci -device virtio-serial-pci -chardev null,id=c0 -device virtconsole,chardev=c0"
}

case_tables() { m_mode tables; }
case_jumps() { m_mode jumps; }
case_smc() { [ -n "$ranks" ] || tiers=1; m_mode smc; }
case_detours() { [ -n "$ranks" ] || tiers=1; m_mode detours; }
case_ipis() { m_mode ipis; }
case_counters() { m_mode counters; }
# shellcheck disable=SC2046 # words
case_storm() { m_mode storm $(all_devices); }
# shellcheck disable=SC2046
case_bars() { m_mode bars $(all_devices); }
# shellcheck disable=SC2046
case_resets() { m_mode resets $(all_devices); }
# shellcheck disable=SC2046 # words
case_rings() {
  truncate -s 1M "$work/a.img" "$work/b.img"
  m_mode rings $(printf -- '-drive file=%s,format=raw,bus=mmio ' "$work/a.img" "$work/b.img") -device virtio-rng-device \
    -device virtio-serial-device -chardev null,id=c0 -device virtconsole,chardev=c0
}
shared_disk() { truncate -s 1M "$work/a.img" && echo "-drive file=$work/a.img,format=raw,bus=mmio"; }
# shellcheck disable=SC2046 # words
case_shares() { m_mode shares $(shared_disk); }
# The same while harts and the pages' homes change their ranks, and messages are late. The guest goes on until enough of them have.
all_have_moved() {
  [ "$(grep -c '"moved-bytes": [1-9]' "$work/moves")" -ge 3 ] && [ "$(grep -c '"pause-ms": [0-9.]*[1-9]' "$work/moves")" -ge 9 ]
}
case_shares_moving() {
  local seed machine
  build_hostile shares "" -DUNTIL_TYPED
  mkfifo "$work/typed"
  exec 9<>"$work/typed" # who opens it to read need not wait
  for seed in 1 2 3; do
    : >"$work/moves"
    # shellcheck disable=SC2046 # words
    typed=$work/typed limit=90 partita_run 0 -m 16M -smp 4 -bios none -kernel "$work/shares.elf" --ranks 3,seed=$seed \
      -rebalance off --control "$work/socket" $(shared_disk) &
    machine=$!
    await_path "$work/socket" $machine
    move_harts 3 &
    move_homes 3 &
    until all_have_moved; do
      kill -0 $machine 2>/dev/null || fail "the machine ended before it was told to"
      sleep 0.05
    done
    echo x >&9
    wait $machine || exit 1
    wait
  done
}
case_calls() { s_mode calls; }
case_fences() { s_mode fences; }
case_starts() { s_mode starts; }
# The same while they change their ranks, but not all the time: a busy host would have none for the guest.
case_starts_moving() {
  build_hostile starts s
  for engine in "-accel interp" "-accel jit"; do
    MOVES=300 move_harts 3 &
    # shellcheck disable=SC2086 # words
    limit=120 partita_run 0 -m 16M -smp 4 -kernel "$work/starts.elf" --ranks 3 -rebalance off --control "$work/socket" $engine
    wait
  done
  moved 10
}
# No byte is lost, also of harts whose rank has no devices.
case_console() {
  local options n
  build_hostile console s
  for options in "" "--ranks 2 -rebalance off" "--ranks 4 -rebalance off"; do
    # shellcheck disable=SC2086 # words
    limit=60 partita_run 0 -m 16M -smp 4 -kernel "$work/console.elf" $options
    for n in 0 1 2 3; do
      out_has "^HART $n BYTES"
      out_has "^HART $n WHOLE"
    done
  done
}
case_reboots() { s_mode reboots; }

# Harts that wait for ever cost nothing.
case_idle() {
  build_hostile idle
  TIMEFORMAT='%U %S'
  cost=$( { time partita_run 124 -m 16M -smp 4 -bios none -kernel "$work/idle.elf" -timeout 3; } 2>&1 | tail -n 1)
  awk '{ exit !($1 + $2 < 0.3) }' <<<"$cost" || fail "3 s of waiting cost $cost s of CPU time"
}

main "$1"
