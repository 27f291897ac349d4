#!/usr/bin/env bash
# Checkpoint and restore of whole machines: boots in pieces, disks, damage, killed writers, the control socket.
. "$(dirname "$0")/lib.sh"
. "$here/lib_images.sh"

# begin ARGUMENT... : a machine in the background; $pid. Its output is appended to $work/out and $work/err; what is typed comes from
# $typed.
typed=/dev/null
begin() {
  timeout -k 5 "$limit" "$partita" "$@" <"$typed" >>"$work/out" 2>>"$work/err" &
  pid=$!
  # Signals go to the program itself: timeout passes SIGTERM on twice (to it and to its group), and the second ends it.
  child_of "$pid"
}

# until_out PATTERN : waits for that line
until_out() {
  local tries=0
  until grep -qae "$1" "$work/out"; do
    kill -0 "$pid" 2>/dev/null || fail "the machine ended before '$1'"
    tries=$((tries + 1))
    [ $tries -lt 900 ] || fail "no '$1'"
    sleep 0.1
  done
}

debian() {
  need_guest
  command=(run -smp "$1" -m 512M -kernel "$guest/Image" -initrd "${initrd:-$guest/initramfs.cpio.gz}"
    -append "console=ttyS0 $patient $2" "${@:3}")
}

# A guest that never ends and says so.
ticking() {
  mkdir "$work/overlay"
  echo 'while :; do echo TICK; usleep 200000; done' >"$work/overlay/run"
  initrd=$work/initrd
  "$top/launch/guest/initramfs.sh" "$guest" "$initrd" "$work/overlay"
}

# in_pieces SECONDS ARGUMENT... : ends the run with SIGTERM when it has taken signals for that time and restores it, until it ends
# by itself. The arguments of restores come from `more`, an array of words taken in turn.
in_pieces() {
  local seconds=$1 n=0
  shift
  begin "$@"
  while :; do
    takes_signals "$child"
    sleep "$seconds"
    kill -TERM "$child" 2>/dev/null
    finish 0 85 143
    [ "$code" = 85 ] || break
    begin restore "$store" --checkpoint-dir "$store" --keep 3 ${more[$((n % ${#more[@]}))]}
    n=$((n + 1))
    # On a busy host most of a piece may be its beginning; on a fast one a longer piece might be the whole.
    if [ $((n % 10)) = 0 ]; then seconds=$(awk "BEGIN { print $seconds * 2 }"); fi
    [ $n -lt 100 ] || fail "100 pieces, and the guest has not ended"
  done
  [ "$code" = 0 ] || out_has 'Power down' # a signal when the guest has ended, and nobody waits for signals any more
  [ $n -gt 1 ] || fail "only $n restores"
  echo "$n restores"
}

# A boot continued from an image again and again, with other engines and numbers of threads, ends as any other.
case_boot_in_pieces() {
  debian 3 act=poweroff --checkpoint-dir "$store" --checkpoint-incremental
  more=("--checkpoint-incremental -accel jit,tier=auto,threshold=1,hot=1" "--threads 1 --checkpoint-incremental" "--accel interp"
    "--accel jit --checkpoint-incremental")
  in_pieces 0.1 "${command[@]}"
  out_has '^BOOT-OK nproc=3'
  out_has 'reboot: Power down'
  healthy
}

# The same with counted time: the machine ends in the same state, bit for bit, as one that nobody interrupted, whatever
# engine runs its pieces.
case_deterministic() {
  debian 2 "quiet nomods" --clock virtual -accel jit --state-hash
  begin "${command[@]}"
  finish 0
  local whole
  whole=$(grep 'state hash' "$work/err")
  mv "$work/out" "$work/whole"
  rm "$work/err"
  more=("--accel interp --state-hash" "--accel jit,tier=auto,threshold=1,hot=1 --state-hash" "--accel jit --state-hash")
  in_pieces 0.5 "${command[@]}" --checkpoint-dir "$store"
  cmp "$work/out" "$work/whole" || fail "another output"
  local last # of the piece that came to the end
  last=$(grep 'state hash' "$work/err" | tail -n 1)
  [ "$last" = "$whole" ] || fail "another state: $whole, $last"
}

# Writes files with fsync until something is typed (echo >&3), then compares all their checksums.
writing_disk() {
  need mke2fs
  mke2fs -q -t ext4 "$work/disk.img" 64M || fail mke2fs
  mkfifo "$work/typed"
  exec 3<>"$work/typed"
  typed=$work/typed
  mkdir "$work/overlay"
  cat >"$work/overlay/run" <<'RUN'
mkdir -p /mnt; while [ ! -b /dev/vda ]; do usleep 10000; done
mount -t ext4 /dev/vda /mnt || exit 1
(read word && : >/end) </dev/console &
write() {
  i=0
  mkdir -p /mnt/$1 && cd /mnt/$1 || exit 1
  while [ ! -e /end ]; do
    dd if=/dev/urandom of=f$((i % 12)) bs=64k count=$((i % 5 + 4)) conv=fsync 2>/dev/null || exit 1
    sha256sum f$((i % 12)) >sum$((i % 12)) && sync
    i=$((i + 1)); echo "WROTE $1 $i"
  done
}
write a & write=$!
write b
wait $write
echo 3 >/proc/sys/vm/drop_caches
for d in a b; do cd /mnt/$d && cat sum* | sha256sum -c - >/dev/null && echo "VERIFY-OK $d"; done
cd / && umount /mnt && echo UNMOUNTED
RUN
  initrd=$work/initrd
  "$top/launch/guest/initramfs.sh" "$guest" "$initrd" "$work/overlay"
}

# killed_and_restored RANKS... : a guest that writes is killed with SIGKILL under load and restored, on so many ranks each time:
# memory and disk agree, and the file gets it all when the guest has ended. Afterwards the images are of no use, and say so.
killed_and_restored() {
  need_guest
  writing_disk
  debian 3 "quiet act=run" --checkpoint-dir "$store" --checkpoint-incremental -drive "file=$work/disk.img,format=raw" --ranks "$1"
  begin "${command[@]}"
  local n want=0
  until_out "WROTE b"
  for n in "${@:2}"; do
    kill -USR1 "$child"
    images $((++want))
    sleep "0.$((RANDOM % 300))"
    kill -USR1 "$child"
    images $((++want))
    sleep "0.$((RANDOM % 300))"
    kill -KILL "$child"
    wait "$pid" 2>/dev/null
    : >"$work/out"
    begin restore "$store" --checkpoint-dir "$store" --checkpoint-incremental --ranks "$n"
    until_out "WROTE [ab]"
  done
  echo enough >&3
  finish 0
  out_has 'VERIFY-OK a'
  out_has 'VERIFY-OK b'
  out_has UNMOUNTED
  healthy
  err_has 'has what the guest wrote'
  e2fsck -fn "$work/disk.img" >"$work/fsck" 2>&1 || { cat "$work/fsck"; fail "the file system is damaged"; }
  begin restore "$store"
  finish 2
  err_has "drive .*disk.img' has changed since image"
}

case_disk() { killed_and_restored 1 1 1; }

# From two ranks to one, to three. ROUNDS=30: so many more, on 1 to 4 ranks.
case_disk_ranks() {
  local more=() n
  for n in $(seq "${ROUNDS:-0}"); do more+=($((RANDOM % 3 + 1))); done # it has three harts
  killed_and_restored 2 1 3 "${more[@]}"
}

# The file of a drive is not touched after the first image; an end from outside leaves it so.
case_disk_is_left_alone() {
  need_guest
  writing_disk
  debian 1 "quiet act=run" --checkpoint-dir "$store" -drive "file=$work/disk.img,format=raw" --expect VERIFY-OK
  begin "${command[@]}"
  until_out WROTE
  kill -USR1 "$child"
  images 1
  cp "$work/disk.img" "$work/then"
  echo enough >&3
  finish 0
  cmp "$work/disk.img" "$work/then" || fail "the drive's file was written after the first image"
  err_has 'stays as it was'
  echo enough >&3
  begin restore "$store" --expect VERIFY-OK
  finish 0
}

# SIGKILL at random instants while images are made: the last complete one restores, and verify finds nothing wrong.
case_killed_writer() {
  local n
  need_guest
  ticking
  debian 2 "quiet act=run" --checkpoint-dir "$store" --checkpoint-every 50ms --keep 3 --checkpoint-incremental
  begin "${command[@]}"
  images 1
  for n in 1 2 3 4 5 6; do
    sleep "0.$((RANDOM % 900 + 100))"
    kill -KILL "$child"
    wait "$pid" 2>/dev/null
    "$partita" image verify "$store" >"$work/verify" || { cat "$work/verify"; fail "damaged after kill $n"; }
    grep -q good "$work/verify" || fail "no image after kill $n"
    begin restore "$store" --checkpoint-dir "$store" --checkpoint-every 50ms --keep 3 --checkpoint-incremental \
      --expect TICK
    if [ $n = 6 ]; then break; fi
  done
  finish 0
  healthy
}

# A flipped bit anywhere in the data: refused with file, offset and reason, at once or when the guest needs the page.
case_damage() {
  need_guest
  ticking
  debian 1 "quiet act=run" --checkpoint-dir "$store"
  begin "${command[@]}"
  until_out TICK
  kill -TERM "$child"
  finish 85
  local file=$store/000001/part-0000.data size at
  size=$(stat -c %s "$file")
  for at in 20 $((size / 3)) $((size - 5)); do
    cp "$file" "$work/good"
    printf '\xff\x00\xff' | dd of="$file" bs=1 seek="$at" conv=notrunc status=none
    "$partita" image verify "$store" >"$work/verify" 2>"$work/err" && fail "verify finds nothing at $at"
    err_has "image file '.*part-0000.data': offset [0-9]+: "
    : >"$work/err"
    begin restore "$store" --expect never --timeout 60
    finish 2
    err_has "image file '.*part-0000.data': offset [0-9]+: .*damaged"
    cp "$work/good" "$file"
  done
  truncate -s -1 "$store/000001/part-0000.index"
  : >"$work/out"
  : >"$work/err"
  begin restore "$store"
  finish 2
  one_message 'truncated'
}

# Images by time, of which two are kept; the tool lists, compares, joins and removes them.
case_image_tool() {
  need_guest
  ticking
  debian 2 "quiet act=run" --checkpoint-dir "$store" --checkpoint-every 700ms --keep 2 --checkpoint-incremental
  begin "${command[@]}"
  until_out TICK
  until "$partita" image ls "$store" 2>/dev/null | grep -q ' on 0'; do kill -0 "$pid" || fail "the machine ended"; sleep 0.2; done
  kill -TERM "$child"
  finish 85
  "$partita" image ls "$store" >"$work/out" || fail ls
  out_has ' on 0'
  local newest flat
  newest=$(ls -d "$store"/0* | tail -n 1)
  "$partita" image flatten "$(ls -d "$store"/0* | head -n 1)" >"$work/out" 2>"$work/err" || fail "flatten an old one"
  err_has 'the state of .*, is now the newest image of'
  flat=$("$partita" image flatten "$newest" 2>"$work/err") || fail flatten
  "$partita" image diff "$newest" "$flat" >"$work/out" || fail "the flat image differs"
  out_has 'the same'
  "$partita" image diff "$(ls -d "$store"/0* | head -n 1)" "$flat" >"$work/out" && fail "no difference to an older one"
  out_has 'space ram: .* blocks differ'
  out_has 'section machine: differs'
  "$partita" image prune "$store" --keep 1 >"$work/out" || fail prune
  [ "$(ls -d "$store"/0*)" = "$flat" ] || fail "prune kept something else"
  "$partita" image show "$store" >"$work/out" || fail show
  out_has 'section hart/1'
  : >"$work/out"
  begin restore "$store" --expect TICK
  finish 0
}

# The control socket: JSON in, JSON out; `checkpoint` of the command line is its client.
case_control() {
  need python3
  need_guest
  ticking
  debian 2 "quiet act=run" --control "$work/socket"
  begin "${command[@]}"
  await_path "$work/socket" "$child"
  python3 - "$work/socket" "$store" <<'PY' || fail "conversation"
import json, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')
def ask(name, **arguments):
    f.write(json.dumps({"execute": name, "arguments": arguments, "id": name}) + "\n"); f.flush()
    answer = json.loads(f.readline())
    assert answer["id"] == name, answer
    return answer
assert "QMP" in json.loads(f.readline())
assert ask("query-status")["return"]["status"] == "running"
ask("stop")
a = ask("query-status")["return"]; time.sleep(0.3); b = ask("query-status")["return"]
assert a == b and a["status"] == "paused", (a, b)
r = ask("checkpoint", dir=sys.argv[2])["return"]
assert r["image"].endswith("000001") and not r["incremental"], r
r = ask("checkpoint", dir=sys.argv[2], incremental=True)["return"]
assert r["incremental"] and r["guest-bytes"] < 1000000, r
ask("cont"); time.sleep(0.2)
assert ask("query-status")["return"]["guest-time-ns"] > a["guest-time-ns"]
assert ask("frobnicate")["error"]["class"] == "CommandNotFound"
assert "error" in ask("checkpoint")
f.write("{broken\n"); f.flush(); assert "error" in json.loads(f.readline())
PY
  "$partita" checkpoint "$work/socket" "$store" --incremental >"$work/out" || fail "partita checkpoint"
  out_has '000003 \(incremental\): .* ratio .* stood still for'
  "$partita" checkpoint "$work/socket" /proc/nowhere >"$work/out" 2>"$work/err2" && fail "an image in /proc"
  grep -q "no image was made: .*/proc/nowhere" "$work/err2" || fail "why: $(cat "$work/err2")"
  "$partita" checkpoint "$work/socket" "$store" --stop >"$work/out" || fail "partita checkpoint --stop"
  finish 85
  : >"$work/out"
  begin restore "$store" --expect TICK --control "$work/socket"
  finish 0
  [ ! -e "$work/socket" ] || fail "the socket is left behind"
}

# Images that other programs or hands made: one message each.
case_demo_wrong_input() {
  begin restore "$work/nothing"
  finish 2
  one_message 'No such file'
  mkdir "$store"
  : >"$work/err"
  begin restore "$store"
  finish 2
  one_message 'no complete image'
  mkdir "$store/000001"
  echo '{"format": "partita-image"}' >"$store/000001/manifest.json"
  : >"$work/err"
  begin restore "$store"
  finish 2
  one_message 'checksum'
  : >"$work/err"
  begin run --demo --checkpoint-every 1s
  finish 2
  one_message 'checkpoint-dir'
}

main "$@"
