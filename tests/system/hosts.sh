#!/usr/bin/env bash
# One machine on several hosts, made of network namespaces of this one (tests/mpi/hosts.sh): TCP between them. Root only.
. "$(dirname "$0")/lib.sh"

hosts=$here/../mpi/hosts.sh

need_hosts() {
  local code=0 reason
  reason=$("$hosts" 1 1 true) || code=$?
  [ "$code" != 77 ] || { echo "$reason"; exit 77; }
}

# on HOSTS RANKS OPTION... : runs to exit code 0
on() {
  local code=0
  need_hosts
  timeout -k 5 "$limit" "$hosts" "$1" "$2" "$partita" run "${@:3}" </dev/null >"$work/out" 2>"$work/err" || code=$?
  [ "$code" = 0 ] || fail "exit code $code"
}

# Debian's kernel; the first host has two ranks when there are three on two hosts
boot_on() {
  need_guest
  on "$1" "$2" -smp "$3" -m 512M -kernel "$guest/Image" -initrd "$guest/initramfs.cpio.gz" -append "console=ttyS0 $patient nomods"
  out_has "^BOOT-OK nproc=$3 "
  out_has 'reboot: Power down'
  healthy
}

case_demo2() { on 2 2 --demo -smp 4; out_has 'primes below 1,000,000: right'; }
case_demo3() { on 3 3 --demo -smp 3; out_has 'primes below 1,000,000: right'; }
case_boot2() { boot_on 2 2 2; }
case_boot_mixed() { boot_on 2 3 5; }

# Nothing that the second host sends gets to the first, in the middle of a boot, until that says so; then it goes on.
case_one_way_outage() {
  need_hosts
  need_guest
  local job code=0
  HOSTS_READY=$work/ready timeout -k 5 "$limit" "$hosts" 2 2 "$partita" run -smp 2 -m 512M -kernel "$guest/Image" \
    -initrd "$guest/initramfs.cpio.gz" -append "console=ttyS0 $patient nomods act=idle" --control "$work/socket" </dev/null \
    >"$work/out" 2>"$work/err" &
  job=$!
  until grep -qsa 'Linux version' "$work/out"; do
    kill -0 $job 2>/dev/null || fail "it ended before the kernel began"
    sleep 0.1
  done
  $(cat "$work/ready")2 ip neigh replace 10.77.1.1 lladdr 02:00:00:00:00:01 dev veth1 nud permanent
  until grep -qa 'warning: nothing was heard of rank 1' "$work/err"; do # after 3 s; a loaded host counts slowly
    kill -0 $job 2>/dev/null || fail "it ended by itself"
    sleep 0.1
  done
  $(cat "$work/ready")2 ip neigh del 10.77.1.1 dev veth1
  until grep -qa '^BOOT-OK' "$work/out" && grep -qaE '^partita: rank 1 .* is back after' "$work/err"; do
    kill -0 $job 2>/dev/null || fail "it ended by itself"
    sleep 0.1
  done
  "$partita" control "$work/socket" quit >/dev/null || fail "quit"
  wait $job || code=$?
  [ "$code" = 0 ] || fail "exit code $code"
  out_has '^BOOT-OK nproc=2 '
  err_has '^partita: warning: nothing was heard of rank 1 \(host node2, '
  err_has '^partita: rank 1 \(host node2, .* is back after '
}

# packets NODE : that have come there from the other one
packets() { $(cat "$work/ready")"$1" cat /sys/class/net/veth1/statistics/rx_packets; }

# The link goes down in the middle of a run: named within the 30 s of silence that a rank has, and all end.
case_link_down() {
  need_hosts
  build_guest spin
  local job i node before code=0
  HOSTS_READY=$work/ready timeout -k 5 "$limit" "$hosts" 2 2 "$partita" run -smp 2 -m 16M -bios none -kernel "$work/spin.elf" \
    </dev/null >"$work/out" 2>"$work/err" &
  job=$!
  until grep -qsa 'one machine on 2 ranks' "$work/err"; do
    kill -0 $job 2>/dev/null || fail "it ended before it began"
    sleep 0.1
  done
  for node in 1 2; do # silence counts from the first heartbeat on, and this guest sends nothing
    before=$(packets $node)
    until [ "$(packets $node)" -ge $((before + 10)) ]; do
      kill -0 $job 2>/dev/null || fail "it ended by itself"
      sleep 0.1
    done
  done
  $(cat "$work/ready")2 ip link set veth1 down
  for ((i = 0; i < 1000; i++)); do # a loaded host counts slowly
    kill -0 $job 2>/dev/null || break
    sleep 0.1
  done
  [ "$i" -lt 1000 ] || fail "it goes on 100 s after the link went down"
  wait $job || code=$?
  [ "$code" != 0 ] || fail "exit code 0"
  err_has '^partita: error: rank [01] \(host node[12], pid [0-9]+\) is lost: '
}

main "$@"
