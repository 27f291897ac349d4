#!/usr/bin/env bash
# Several machines in one process (partita cluster): RISC-V translated and x86-64 on KVM, on one Ethernet segment.
. "$(dirname "$0")/lib.sh"

need_peers() {
  [ "$(uname -m)" = x86_64 ] || skip "the host is no x86-64"
  local why
  why=$("$partita" doctor --kvm 2>&1) || skip "no KVM here: $why"
  need gcc
  need riscv64-linux-gnu-gcc
  bash "$here/peers/build.sh" "$work" || fail "the guests cannot be built"
}

net="-netdev segment,id=n,name=lan -device virtio-net-device,netdev=n"

# cluster CODE FILE
cluster() {
  local got=0
  timeout -k 5 "$limit" "$partita" cluster "${@:2}" </dev/null >"$work/out" 2>"$work/err" || got=$?
  [ "$got" = "$1" ] || fail "exit code $got instead of $1"
}

# two MORE-OPTIONS-OF-BOARD MORE-OPTIONS-OF-PC : asker and answerer
two() {
  cat >"$work/two.yaml" <<YAML
machines:
  board: -bios none -m 32M -kernel $work/peers_riscv.elf $net $1
  pc: -M virt-x86 -m 32M -kernel $work/peers_x86.elf $net $2
YAML
}

# Frames both ways, each depending on the last; both machines end by themselves.
case_mixed() {
  need_peers
  for more in "" "--ranks 2 -smp 2"; do
    two "$more" "$more"
    cluster 0 "$work/two.yaml"
    out_has '^board: ASKS'
    out_has '^pc: ANSWERS'
    out_lacks PEER-FAILED
    [ "$(grep -c ': CHAIN' "$work/out")" = 2 ] || fail "not two chains"
    [ "$(sed -n 's/^[a-z]*: CHAIN //p' "$work/out" | sort -u | wc -l)" = 1 ] || fail "two different chains"
  done
}

build() { bash "$here/peers/build.sh" "$work" "$@" || fail "the guest cannot be built"; }

# Two RISC-V machines: an asker of ROUNDS, built with DEFINE..., and who answers as long as it is asked.
boards() { # ROUNDS DEFINE...
  need riscv64-linux-gnu-gcc
  build riscv asker "-DROUNDS=$1" "${@:2}"
  build riscv answerer -DROLE_ASKS=0 -DSTAYS
  cat >"$work/boards.yaml" <<YAML
machines:
  asker: -bios none -m 32M -kernel $work/asker.elf $net
  answerer: -bios none -m 32M -kernel $work/answerer.elf $net
until: asker
YAML
}

chain() { sed -n 's/^asker: CHAIN //p' "$work/out"; }

# A link that takes its time takes it twice a round; one that loses a fifth of the frames costs repetitions; what is computed stays the same.
case_links() {
  boards 40
  cluster 0 "$work/boards.yaml"
  local ideal begin
  ideal=$(chain)
  [ -n "$ideal" ] || fail "no chain"
  printf 'segments:\n  lan: {latency: 10ms}\n' >>"$work/boards.yaml"
  begin=$(date +%s%N)
  cluster 0 "$work/boards.yaml"
  [ $((($(date +%s%N) - begin) / 1000000)) -ge 800 ] || fail "40 rounds of 20 ms took less"
  [ "$(chain)" = "$ideal" ] || fail "another chain over a slow link"
  sed -i 's/latency: 10ms/latency: 100us, loss: 20%/' "$work/boards.yaml"
  cluster 0 "$work/boards.yaml"
  [ "$(chain)" = "$ideal" ] || fail "another chain over a lossy link"
  sed -i 's/loss: 20%/loss: 100%/; s/asker.elf/asker.elf --timeout 2s/' "$work/boards.yaml"
  cluster 124 "$work/boards.yaml"
}

# What the asker comes to after so many rounds: peers.c's steps.
chain_of() {
  local x=$((0x9e3779b97f4a7c15)) i
  for ((i = 0; i < $1; i++)); do
    x=$((x ^ x << 13))
    x=$((x ^ (x >> 7 & (1 << 57) - 1)))
    x=$((x ^ x << 17))
  done
  printf '%016x\n' $x
}

# begin ARGUMENT... : a cluster in the background; $pid, and $job, which ends it should it hang
begin() {
  timeout -k 5 "$limit" "$partita" cluster "$@" </dev/null >"$work/out" 2>"$work/err" &
  job=$!
  child_of "$job"
  pid=$child
}

killed() {
  kill -KILL "$pid"
  wait "$job" 2>/dev/null
}

finish() { # CODE
  local code=0
  wait "$job" || code=$?
  [ "$code" = "$1" ] || fail "exit code $code instead of $1"
}

# until COMMAND... succeeds; the cluster runs meanwhile
await() {
  local tries=0
  until "$@"; do
    kill -0 "$pid" 2>/dev/null || fail "the cluster ended before: $*"
    [ $((++tries)) -lt 600 ] || fail "a minute was not enough for: $*"
    sleep 0.1
  done
}

# Images with frames under way, of which none may be lost: the asker sends nothing twice. Killed, back, killed, back, saved by
# SIGTERM, back: the sum is what it would have been. As long as images are made links are so slow that no machine comes to its end.
images() { # FILE ROUNDS
  local store=$work/store slow=$work/slow.yaml n=0 first
  cp "$1" "$slow"
  printf 'segments:\n  lan: {latency: 100ms}\n' >>"$slow"
  begin "$slow" --checkpoint-dir "$store" --checkpoint-incremental
  await grep -qs '^asker: ASKS' "$work/out"
  until [ $n -ge 2 ] && first=$(grep -l '"data"' "$store"/cluster-*.json); do # a frame was under way
    n=$((n + 1))
    kill -USR1 "$pid"
    await [ -f "$store/cluster-00000$n.json" ]
    [ $n -lt 9 ] || fail "no frame is ever under way"
  done
  killed
  begin "$1" --restore "$(head -n 1 <<<"$first")"
  finish 0
  [ "$(chain)" = "$(chain_of "$2")" ] || fail "another chain from the first image with a frame: $(chain)"
  begin "$slow" --restore "$store" --checkpoint-dir "$store"
  await grep -qs '^SigBlk:.*[2367abef]..$' "/proc/$pid/status"
  kill -TERM "$pid"
  finish 85
  [ "$(ls "$store"/cluster-*.json | wc -l)" = $((n + 1)) ] || fail "no image by SIGTERM"
  begin "$1" --restore "$store"
  finish 0
  [ "$(chain)" = "$(chain_of "$2")" ] || fail "another chain from the last image: $(chain)"
}

case_images() {
  boards 200 -DPATIENT
  images "$work/boards.yaml" 200
}

# Of three images the newest two stay, and of the machines' those that belong to them; also from the older one they go on.
case_keep() {
  boards 200 -DPATIENT
  local store=$work/store slow=$work/slow.yaml n
  cp "$work/boards.yaml" "$slow"
  printf 'segments:\n  lan: {latency: 100ms}\n' >>"$slow"
  mkdir "$store"
  touch "$store/cluster-7.json" "$store/cluster-+00008.json" # somebody else's: not counted, not removed
  begin "$slow" --checkpoint-dir "$store" --keep 2
  await grep -qs '^asker: ASKS' "$work/out"
  for n in 1 2 3; do
    kill -USR1 "$pid"
    await [ -f "$store/cluster-00000$n.json" ]
  done
  for n in asker answerer; do await [ ! -d "$store/$n/000001" ]; done
  killed
  [ "$(cd "$store" && echo cluster-0* cluster-[+7]* */0*)" = "cluster-000002.json cluster-000003.json cluster-+00008.json cluster-7.json answerer/000002 answerer/000003 asker/000002 asker/000003" ] ||
    fail "of the images there are: $(cd "$store" && echo cluster-* */0*)"
  sed -i 's/-m 32M/-m 32M --state-hash/' "$work/boards.yaml" # what the image leaves open, the file says
  begin "$work/boards.yaml" --restore "$store/cluster-000002.json"
  finish 0
  [ "$(chain)" = "$(chain_of 200)" ] || fail "another chain: $(chain)"
  [ "$(cat "$work/out" "$work/err" | grep -ac 'state hash')" = 2 ] || fail "no two state hashes"
}

# One of them on KVM, the other on two ranks.
case_images_mixed() {
  need_peers
  build riscv asker -DROUNDS=200 -DPATIENT
  build x86 answerer -DROUNDS=200
  cat >"$work/mixed.yaml" <<YAML
machines:
  asker: -bios none -m 32M -smp 2 --ranks 2 -kernel $work/asker.elf $net
  answerer: -M virt-x86 -m 32M -kernel $work/answerer.elf $net
until: asker
YAML
  images "$work/mixed.yaml" 200
}

# A machine that fails ends the other, which would wait for ever; its code is the run's.
case_failure() {
  need_peers
  two "--timeout 2s" ""
  sed -i "s/name=lan -device virtio-net-device,netdev=n --timeout/name=other -device virtio-net-device,netdev=n --timeout/" "$work/two.yaml"
  cluster 124 "$work/two.yaml"
  err_has "^partita: machine 'board' has ended with exit code 124, and so all have"
}

# `until`: the end of one is that of all, and no failure.
case_until() {
  need_peers
  cat >"$work/until.yaml" <<YAML
machines:
  pc: [-M, virt-x86, -m, 32M, -kernel, $work/peers_x86.elf, -netdev, "segment,id=n,name=lan", -device, "virtio-net-device,netdev=n"]
  board: --demo
until: board
YAML
  cluster 0 "$work/until.yaml"
  out_has '^board:   The guest powers off'
  out_lacks '^pc: CHAIN'
}

# A guest that prints OK, then loops.
build_hello() {
  printf '\267\002\000\020\023\003\360\004\043\200\142\000\023\003\260\004\043\200\142\000\023\003\240\000\043\200\142\000\001\240' >"$work/hello"
}

# A folder of images is one cluster's as long as that lives, however it ends.
case_one_folder() {
  local store=$work/store
  build_hello
  printf 'machines:\n  a: -bios none -m 32M -kernel %s\n' "$work/hello" >"$work/first.yaml"
  sed 's/$/ --timeout 0.2s/; 1s/ .*//' "$work/first.yaml" >"$work/second.yaml"
  begin "$work/first.yaml" --checkpoint-dir "$store"
  await grep -qs '^a: OK' "$work/out"
  mv "$work/out" "$work/err" "$store" # still the first one's
  cluster 2 "$work/second.yaml" --checkpoint-dir "$store"
  one_message "image store '$store' is being written by another process: process $pid on "
  kill -USR1 "$pid"
  await [ -f "$store/cluster-000001.json" ]
  killed
  cluster 124 "$work/second.yaml" --checkpoint-dir "$store" --restore "$store"
}

# ask MACHINE COMMAND... : what a machine answers.
ask() { timeout -k 5 "$limit" "$partita" control "$work/sockets/$1" "${@:2}" 2>>"$work/asked"; }

# A socket for each machine: one stands while the other runs, ends while the other runs, and images and moves of one alone are refused;
# the cluster ends when both have. Restored machines have sockets, too.
case_control() {
  build_hello
  printf 'machines:\n  a: -bios none -m 32M -kernel %s\n  b: -bios none -m 32M -kernel %s\n' "$work/hello" "$work/hello" >"$work/two.yaml"
  local store=$work/store from
  for from in "" "--restore $store"; do
    # shellcheck disable=SC2086 # words
    begin "$work/two.yaml" --control "$work/sockets" --checkpoint-dir "$store" $from
    await ask a query-status >/dev/null
    await ask b query-status >/dev/null
    [ "$(ls "$work/sockets" | xargs)" = "a b" ] || fail "sockets: $(ls "$work/sockets" | xargs)"
    ask a stop >/dev/null || fail "a does not stop"
    [[ $(ask a query-status) == *paused* ]] || fail "a runs on: $(ask a query-status)"
    [[ $(ask b query-status) == *'"running": true'* ]] || fail "b stands: $(ask b query-status)"
    ask a cont >/dev/null || fail "a does not go on"
    [[ $(ask a query-status) == *'"running": true'* ]] || fail "a still stands: $(ask a query-status)"
    ! ask a checkpoint "dir=$work/alone" >/dev/null || fail "an image of a alone"
    ! ask b migrate uri=unix:/none >/dev/null || fail "b moves alone"
    if [ -z "$from" ]; then
      kill -USR1 "$pid"
      await [ -f "$store/cluster-000001.json" ]
      killed
      continue
    fi
    ask a quit >/dev/null || fail "a does not end"
    await [ ! -e "$work/sockets/a" ]
    [[ $(ask b query-status) == *'"running": true'* ]] || fail "b ended with a"
    ask b quit >/dev/null || fail "b does not end"
    local got=0
    wait "$job" || got=$?
    [ "$got" = 0 ] || fail "exit code $got"
  done
}

# A signal ends all of them in order: each still says what it did.
case_signal() {
  build_hello
  cat >"$work/two.yaml" <<YAML
machines:
  a: -bios none -m 32M -kernel $work/hello --stats
  b: -bios none -m 32M -kernel $work/hello --stats
YAML
  begin "$work/two.yaml"
  await grep -qs '^a: OK' "$work/out"
  await grep -qs '^b: OK' "$work/out"
  kill -TERM "$pid"
  finish 143
  [ "$(grep -c 'statistics' "$work/err")" = 2 ] || fail "not two machines that say what they did"
}

# What is wrong is one message, and nothing runs.
refused() { # YAML PATTERN
  printf '%b' "$1" >"$work/bad.yaml"
  cluster 2 "$work/bad.yaml"
  one_message "$2"
}

case_bad_files() {
  printf 'machines:\n  a: --demo\n' >"$work/good.yaml"
  cluster 2 "$work/good.yaml" --keep 2
  one_message "--checkpoint-incremental and --keep need --checkpoint-dir DIR"
  cluster 2 "$work/good.yaml" --checkpoint-dir "$work/new" --keep
  one_message "--keep needs N"
  cluster 2 "$work/good.yaml" --control
  one_message "--control needs DIR"
  cluster 2 "$work/good.yaml" --control "$work/none/new"
  one_message "--control '.*none/new': cannot make the directory: No such file"
  cluster 2 "$work/good.yaml" --keep=2
  one_message "--keep=2 is no option"
  cluster 2 "$work/good.yaml" "$work/good.yaml"
  one_message "good.yaml is one file too many"
  cluster 2 "$work/good.yaml" --checkpoint-dir "$work/none/new"
  one_message "none/new': cannot make it: No such file"
  refused 'machines: {a: --demo, a: --demo}\n' "bad.yaml', line 1: two machines"
  refused 'machines:\n  a: --demo\nuntil: b\n' "'until' names no machine"
  refused 'machines:\n  a: --demo\nlinks: x\n' "line 3: there are 'machines', 'segments', 'seed' and 'until'"
  refused 'machines:\n  a: --demo\nsegments:\n  lan: {latency: 50}\n' "line 4: a latency is"
  refused 'machines:\n  a: --demo\nsegments:\n  lan: {latency: -1us}\n' "line 4: a latency is"
  refused 'machines:\n  a: --demo\nsegments:\n  lan: {loss: 101%%}\n' "line 4: a loss is"
  refused 'machines:\n  a: --demo\nsegments:\n  lan: {lost: 1%%}\n' "line 4: a segment has"
  refused 'machines:\n  a: --demo\nsegments: {lan: {}, lan: {}}\n' "line 3: two segments"
  refused 'machines:\n  a: --demo\nsegments: [lan]\n' "line 3: 'segments' is"
  refused 'machines:\n  a: --demo\nsegments:\n  lan: 50us\n' "line 4: a segment is"
  refused 'machines:\n  a: --demo\nsegments:\n  lan: {latency: 1ms}\n' "line 4: no machine is on the segment 'lan'"
  refused 'machines:\n  a: --demo\nseed: x\n' "line 3: 'seed' is"
  refused 'machines:\n  a: [--demo, [x]]\n' "line 2: a machine's words"
  refused "machines:\n  a: --demo -append 'x\n" "line 2: a quote"
  refused 'machines:\n  a: --demo -smp none\n' "machine 'a': -smp"
  refused 'machines:\n  a: --demo --control /x\n' "machine 'a': --control"
  refused 'machines: {}\n' "no machine"
  refused '- a\n' "a mapping"
  refused '"\n' "bad.yaml', line"
  cluster 2 "$work/good.yaml" --restore "$work/none"
  one_message "none': .*No such file"
  mkdir "$work/empty"
  cluster 2 "$work/good.yaml" --restore "$work/empty"
  one_message "no image of a cluster"
  printf '{"format": 1, "machines": {"b": {"ended": true}}, "nets": []}' >"$work/empty/cluster-000001.json"
  cluster 2 "$work/good.yaml" --restore "$work/empty"
  one_message "no machine 'a' in it"
  printf '{"format": 2}' >"$work/empty/cluster-000002.json"
  cluster 2 "$work/good.yaml" --restore "$work/empty"
  one_message "000002.json': it has not format 1"
  cluster 2 "$work/none.yaml"
  one_message "none.yaml'.*No such file"
}

main "$@"
