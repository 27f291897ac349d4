#!/usr/bin/env bash
# Live migration of whole machines: Debian counts, writes memory and disks, and moves on; peers that fail.
. "$(dirname "$0")/lib.sh"

# begin NAME ARGUMENT... : a machine in the background, with a control socket; its output is $work/NAME.out and .err, what is typed
# comes from $work/NAME.in. under[NAME]: the launcher of its ranks.
declare -A pid process under
begin() {
  local name=$1 child
  shift
  [ -e "$work/$name.in" ] || : >"$work/$name.in"
  : >"$work/$name.out" 2>"$work/$name.err"
  # shellcheck disable=SC2086 # words
  timeout -k 5 "$limit" ${under[$name]:-} "$partita" "$@" --control "$work/$name.socket" <"$work/$name.in" >"$work/$name.out" 2>"$work/$name.err" &
  pid[$name]=$!
  [ -z "${under[$name]:-}" ] || return 0
  child_of "${pid[$name]}"
  process[$name]=$child
}

# finish NAME CODE
finish() {
  local code=0
  wait "${pid[$1]}" || code=$?
  [ "$code" = "$2" ] || failed "$1 ended with $code instead of $2"
}

failed() {
  local name
  for name in "$work"/*.err; do echo "--- ${name##*/}"; tail -n 15 "$name"; done >>"$work/err"
  cat "$work"/*.out >"$work/out" 2>/dev/null
  fail "$@"
}
err_has() { grep -qaE -- "$1" "$work/err" || failed "stderr has no line like: $1"; }

# until_in STREAM NAME PATTERN [NUMBER] : waits for that many lines, as long as the machine is there
until_in() {
  until [ "$(grep -cae "$3" "$work/$2.$1")" -ge "${4:-1}" ]; do
    kill -0 "${pid[$2]}" 2>/dev/null || failed "$2 ended before '$3'"
    sleep 0.1
  done
}
until_out() { until_in out "$@"; } # what the guest prints
until_err() { until_in err "$@"; } # what the program says

# A guest whose /run counts, and `extra` besides.
guest_with() {
  need_guest
  mkdir -p "$work/overlay"
  cat >"$work/overlay/run"
  initrd=$work/initrd
  "$top/launch/guest/initramfs.sh" "$guest" "$initrd" "$work/overlay"
}

counting() {
  guest_with <<'RUN'
n=0; while :; do echo "COUNT $n."; n=$((n+1)); usleep 20000; done
RUN
}

debian() {
  command=(run -smp "$1" -m "${memory:-512M}" -kernel "$guest/Image" -initrd "$initrd"
    -append "console=ttyS0 $patient quiet act=run" "${@:2}")
}

# An address for the next target: this host's, and no other test's at the same time; below the ports that the kernel gives to others.
own_host="127.$((1 + ($$ >> 16 & 63))).$(($$ >> 8 & 255)).$(($$ & 255))"
any_port() { echo "tcp:$own_host:$((20000 + RANDOM % 10000))"; }

# in_proc HOST : as /proc/net/tcp has it
in_proc() {
  # shellcheck disable=SC2183,SC2046 # four words
  printf '%02X%02X%02X%02X' $(tr . '\n' <<<"$1" | tac)
}

# listening URI : does somebody?
listening() {
  [[ $1 == unix:* ]] && { [ -S "${1#unix:}" ]; return; }
  grep -q ": $(in_proc "$own_host"):$(printf %04X "${1##*:}") [0-9A-F:]* 0A " /proc/net/tcp
}

# move FROM TO URI [FLAG] : the target is started, the machine moves
move() {
  local tries=0
  begin "$2" restore --incoming "$3" ${more[$2]:-}
  until listening "$3" && [ -S "$work/$1.socket" ]; do
    kill -0 "${pid[$1]}" 2>/dev/null && kill -0 "${pid[$2]}" 2>/dev/null || failed "$1 or $2 ended before the move"
    tries=$((tries + 1))
    [ $tries -lt 1000 ] || failed "$2 does not listen, or $1 is not there"
    sleep 0.05
  done
  "$partita" migrate "$work/$1.socket" "$3" ${4:-} >>"$work/moves" 2>>"$work/progress" || failed "migrate $1 to $2"
  finish "$1" 86
}
declare -A more

# The numbers in these outputs, joined, have neither gap nor repetition (a line may be cut in two).
consecutive() {
  cat "${@/#/$work/}" | tr -d '\r' | grep -ao 'COUNT [0-9]*\.' | tr -d '.' |
    awk '$2 != n { print "got " $2 " instead of " n; exit 1 } { n++ } END { print n " numbers" }' || failed "not consecutive"
}

# From process to process, over Unix sockets and TCP, to another engine and another number of threads: no number is lost,
# none comes twice, and the last one powers off.
case_chain() {
  counting
  debian 3
  more=([b]="--accel interp" [c]="--threads 1" [d]="--accel jit")
  begin a "${command[@]}"
  until_out a COUNT 5
  move a b "unix:$work/m"
  until_out b COUNT 5
  move b c "$(any_port)"
  until_out c COUNT 5
  move c d "unix:$work/m" --no-postcopy
  until_out d COUNT 5
  "$partita" control "$work/d.socket" quit >/dev/null
  finish d 0
  consecutive a.out b.out c.out d.out
  cat "$work/moves"
  [ "$(grep -c 'of them after the pause' "$work/moves")" = 3 ] || failed "figures"
  tail -n 1 "$work/moves" | grep -q ' 0 of them after the pause' || failed "blocks after the pause without post-copy"
}

# A guest that writes 48 MB over and over, and checks them: nothing is lost while pages come on demand.
case_memory() {
  guest_with <<'RUN'
mkdir -p /m; mount -t tmpfs -o size=80m tmpfs /m
dd if=/dev/urandom of=/m/a bs=1M count=24 2>/dev/null
want=$(sha256sum </m/a)
echo WRITING
while :; do
  cp /m/a /m/b; [ "$(sha256sum </m/b)" = "$want" ] || echo DAMAGED
  cp /m/b /m/a; [ "$(sha256sum </m/a)" = "$want" ] || echo DAMAGED
  echo "VERIFIED."
done
RUN
  debian 2
  begin a "${command[@]}"
  until_out a VERIFIED
  move a b "unix:$work/m"
  until_out b VERIFIED 2
  move b c "unix:$work/m"
  until_out c VERIFIED 2
  "$partita" control "$work/c.socket" quit >/dev/null
  finish c 0
  cat "$work"/*.out >"$work/out"
  out_lacks DAMAGED
  healthy
  cat "$work/moves"
}

# Disks: one that is written in place, one whose writes are in an overlay since an image was made.
case_disk() {
  need mke2fs
  local d
  for d in x y; do mke2fs -q -t ext4 "$work/$d.img" 48M || fail mke2fs; done
  guest_with <<'RUN'
mkdir -p /x /y; while [ ! -b /dev/vdb ]; do usleep 10000; done
mount -t ext4 /dev/vda /x && mount -t ext4 /dev/vdb /y || exit 1
(read word && : >/end) </dev/console &
i=0
while [ ! -e /end ]; do
  for d in /x /y; do
    dd if=/dev/urandom of=$d/f$((i % 9)) bs=64k count=$((i % 5 + 4)) conv=fsync 2>/dev/null || exit 1
    (cd $d && sha256sum f$((i % 9)) >sum$((i % 9)) && sync)
  done
  i=$((i + 1)); echo "WROTE $i"
done
echo 3 >/proc/sys/vm/drop_caches
for d in /x /y; do cd $d && cat sum* | sha256sum -c - >/dev/null && echo "VERIFY-OK $d"; done
cd / && umount /x && umount /y && echo UNMOUNTED
RUN
  debian 2 -drive "file=$work/x.img,format=raw" -drive "file=$work/y.img,format=raw"
  begin a "${command[@]}"
  until_out a WROTE 3
  move a b "unix:$work/m"
  until_out b WROTE 3
  "$partita" checkpoint "$work/b.socket" "$work/store" >/dev/null || failed checkpoint # both have overlays from here on
  until_out b WROTE 6
  echo enough >"$work/c.in"
  move b c "unix:$work/m"
  finish c 0
  for d in x y; do
    grep -qa "VERIFY-OK /$d" "$work/c.out" || failed "$d was not verified"
    e2fsck -fn "$work/$d.img" >"$work/fsck" 2>&1 || { cat "$work/fsck"; failed "the file system on $d is damaged"; }
  done
  grep -qa UNMOUNTED "$work/c.out" || failed "not unmounted"
}

# Whatever goes wrong before the machine is handed over leaves it running where it is.
case_weather() {
  local n
  counting
  debian 2
  begin a "${command[@]}"
  until_out a COUNT
  "$partita" migrate "$work/a.socket" "unix:$work/nobody" >"$work/out" 2>"$work/err" && failed "moved to nobody"
  err_has "stays where it is: cannot reach 'unix:.*nobody'"
  grep -q "cannot reach 'unix:.*nobody'" "$work/a.err" || failed "no message of the source"
  "$partita" migrate "$work/a.socket" "carrier-pigeon" >"$work/out" 2>"$work/err" && failed "moved by pigeon"
  grep -q "is no address" "$work/a.err" || failed "no message about the address"
  # What listens is no Partita: it ends the connection, or sends rubbish.
  if command -v python3 >/dev/null; then
    for n in 0 4096; do
      python3 - "$work/m" $n <<'PY' &
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1] + ".new"); s.listen(1); os.rename(sys.argv[1] + ".new", sys.argv[1]); c, _ = s.accept(); c.send(b"\x5a" * int(sys.argv[2])); os.unlink(sys.argv[1])
PY
      until [ -S "$work/m" ]; do sleep 0.05; done
      "$partita" migrate "$work/a.socket" "unix:$work/m" >"$work/out" 2>"$work/err" && failed "moved into a wall"
      wait $!
    done
  fi
  # The target dies while memory moves.
  for n in 1 2 3; do
    begin "b$n" restore --incoming "unix:$work/back"
    until [ -S "$work/back" ]; do sleep 0.05; done
    wire 9 hold # STOPPED: it cannot be handed over
    "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/out" 2>"$work/err" &
    sleep "0.0$((RANDOM % 10))"
    kill -KILL "${process[b$n]}"
    wait $! && failed "handed over to a process that died"
    kill $wire 2>/dev/null
    wait $wire # it may be about to remove what the next one makes
    wait "${pid[b$n]}" 2>/dev/null
    rm -f "$work/back"
  done
  local seen
  seen=$(grep -ca COUNT "$work/a.out")
  until_out a COUNT $((seen + 5))
  consecutive a.out
  # After all that it moves.
  move a c "unix:$work/m"
  until_out c COUNT 3
  consecutive a.out c.out
  "$partita" control "$work/c.socket" quit >/dev/null
  finish c 0
}

# wire FRAME [hold|late [BACK]] : a connection in between, from $work/front to $work/back (or tcp:HOST:PORT), which is cut right after a
# frame of that type (FORMAT.md), or which holds back that frame and all that follows, which $work/front.held says, until there is
# $work/go; "late": GO is held so, and FRAME is the last one. Connections of other ranks live as long
wire() {
  rm -f "$work/front" "$work/front.held" "$work/go"
  python3 - "$work/front" "${3:-$work/back}" "$1" "${2:-}" "$work/go" <<'PY' &
import os, socket, struct, sys, threading, time
front = socket.socket(socket.AF_UNIX); front.bind(sys.argv[1] + ".new"); front.listen(9); os.rename(sys.argv[1] + ".new", sys.argv[1])
ends, closing, passing = [], [], threading.Lock()
def cut(sockets, how):
    for s in sockets:
        try: s.shutdown(how)
        except OSError: pass
def pump(a, b, counts):
    f = a.makefile("rb")
    try:
        while True:
            head = f.read(32)
            if len(head) < 32: # the other direction and other connections may have something under way
                cut((b,), socket.SHUT_WR)
                return
            kind = struct.unpack_from("<H", head, 4)[0]
            last = counts and kind == int(sys.argv[3])
            held = counts and kind == (11 if sys.argv[4] == "late" else int(sys.argv[3]))
            if held and sys.argv[4]: open(sys.argv[1] + ".held", "w")
            while held and sys.argv[4] and not os.path.exists(sys.argv[5]): time.sleep(0.05)
            frame = head + f.read(struct.unpack_from("<I", head, 20)[0])
            with passing: # an answer to the last frame does not come through
                if closing: break
                b.sendall(frame)
                if last and sys.argv[4] != "hold":
                    closing.append(True)
                    break
    except OSError: pass
    cut(ends if closing else (a, b), socket.SHUT_RDWR)
def accept(counts):
    source, _ = front.accept()
    if sys.argv[2].startswith("tcp:"): target = socket.create_connection(sys.argv[2].split(":")[1:])
    else: target = socket.socket(socket.AF_UNIX); target.connect(sys.argv[2])
    ends.extend((source, target))
    threads = [threading.Thread(target=pump, args=(*p, counts)) for p in ((source, target), (target, source))]
    for t in threads: t.start()
    return threads
def others(): # of other ranks; what they say does not count
    try:
        while True: accept(False)
    except OSError: pass
try: threads = accept(True)
except OSError: os._exit(0) # the target has gone
threading.Thread(target=others, daemon=True).start()
for t in threads: t.join()
os.unlink(sys.argv[1])
os._exit(0)
PY
  wire=$!
  until [ -S "$work/front" ]; do sleep 0.05; done
}

# break_early TARGET FRAME... : each of these breaks is a warning of a target that still listens
break_early() {
  local frame n=0
  for frame in "${@:2}"; do
    wire "$frame"
    "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/out" 2>"$work/err" && failed "moved over a cut wire"
    err_has 'stays where it is'
    wait $wire
    n=$((n + 1))
    until_err "$1" 'warning.*(process [0-9]*).*it is sent away' $n
  done
  [ "$(grep -c . "$work/$1.err")" = $n ] || failed "more than $n warnings of $1"
}

# A connection that breaks: up to the tree (4) the target goes on listening; up to STOPPED (9) the machine stays and goes on; from
# LOADED to GO (10, 11) it stands still until somebody who knows says that it may; after STARTED (12) with pages missing both sides
# say what is lost and end. One failure, one message.
case_broken_wire() {
  need python3
  guest_with <<'RUN'
n=0; while :; do echo "COUNT $n."; n=$((n+1)); dd if=/dev/urandom of=/f bs=64k count=8 2>/dev/null; done
RUN
  debian 2
  begin a "${command[@]}"
  until_out a COUNT
  local frame
  for frame in 4 5 6 9 10 11; do
    begin "b$frame" restore --incoming "unix:$work/back"
    until [ -S "$work/back" ]; do sleep 0.05; done
    [ $frame != 4 ] || break_early b4 1 2 17 3
    wire $frame
    "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/out" 2>"$work/err" && failed "moved over a cut wire"
    finish "b$frame" 2
    wait $wire
    if [ $frame -lt 10 ]; then
      err_has 'stays where it is'
    else
      err_has 'it stands still'
      "$partita" control "$work/a.socket" query-status | grep -q paused || failed "it does not stand still"
      "$partita" control "$work/a.socket" cont >/dev/null
    fi
    [ "$(grep -c error "$work/b$frame.err")" = 1 ] || failed "not one message of target b$frame"
  done
  local seen
  seen=$(grep -ca COUNT "$work/a.out")
  until_out a COUNT $((seen + 3))
  begin c restore --incoming "unix:$work/back"
  until [ -S "$work/back" ]; do sleep 0.05; done
  wire 12
  "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/out" 2>"$work/err" && failed "a migration that broke is no success"
  err_has 'while the machine ran there already'
  finish a 74
  finish c 2
  wait $wire
  [ "$(grep -c . "$work/c.err")" = 1 ] || failed "not one message of the target"
}

# --- several ranks ---

mpi() {
  need mpirun
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
}

# The ring, and KVM's guest, end when they are typed to, wherever they are by then, and know whether they have lost a page.
ring_ends() {
  echo x >"$work/$1.in"
}

# not_waited NAME SINCE : whose migration was cancelled at once: it has not come to see that the other side does not answer.
not_waited() {
  grep -E "$work/front: |cannot reach|no answer" "$work/$1.err" && failed "$1 waited for its migration"
  [ $((SECONDS - $2)) -lt 60 ] || failed "$((SECONDS - $2)) s until the end"
}

# SIGTERM while the target says nothing, takes nothing, or does not take over: a machine with a folder for images makes one and
# ends, any other ends; neither waits for the migration, or its time-outs. The image goes on.
case_sigterm() {
  local frame nr code start n=0
  need python3
  ring 4 4
  while read -r frame nr code; do
    n=$((n + 1))
    begin a$n run "${machine[@]}" --ranks "$nr" $([ "$code" = 143 ] || echo "--checkpoint-dir $work/store")
    until [ -S "$work/a$n.socket" ]; do sleep 0.05; done
    begin b$n restore --incoming "unix:$work/back"
    until [ -S "$work/back" ]; do sleep 0.05; done
    wire "$frame" hold
    "$partita" migrate "$work/a$n.socket" "unix:$work/front" >"$work/out" 2>"$work/err" &
    until [ -e "$work/front.held" ]; do sleep 0.05; done
    start=$SECONDS
    kill -TERM "${process[a$n]}"
    finish a$n "$code"
    not_waited a$n $start
    wait $! && failed "moved through a wire that holds"
    kill $wire 2>/dev/null
    wait $wire # it may be about to remove what the next one makes
    if [ "$frame" = 2 ]; then # it knows of no machine yet, and listens
      until_err b$n 'sent away'
      kill -TERM "${process[b$n]}"
      finish b$n 143
    else
      finish b$n 2
    fi
  done <<'ROWS'
2 2 85
6 2 85
9 1 85
6 1 143
9 2 143
9 2 85
ROWS
  ring_ends z
  begin z restore "$work/store" --ranks 3
  finish z 0
  grep -qa RING-OK "$work/z.out" || failed "the ring is broken"
}

# stranger WHAT ADDRESS... : somebody at each address (a path, or HOST:PORT) who is no source; until they are sent away
stranger() {
  python3 - "$@" <<'PY'
import socket, sys
def to(address):
    if address.startswith("/"):
        s = socket.socket(socket.AF_UNIX); s.connect(address); return s
    return socket.create_connection(address.rsplit(":", 1))
all = [to(a) for a in sys.argv[2:]]
for s in all:
    hello = s.recv(40, socket.MSG_WAITALL)
    try:
        if sys.argv[1] == "rubbish": s.sendall(b"GET / HTTP/1.1\r\n\r\n" + 100 * b"x")
        if sys.argv[1] == "half": s.sendall(hello[:20])
        if sys.argv[1] == "greets": s.sendall(hello) # and says nothing more
        if sys.argv[1] == "joins": s.sendall(hello + hello[:4] + b"\x13" + hello[5:]) # a JOIN (19) that makes no sense
        if sys.argv[1] == "gone": s.close(); continue
        while s.recv(4096): pass
    except OSError: pass
PY
}

# tcp_of STATE NAME : local addresses of this machine's sockets in a state, as /proc/net/tcp has them
tcp_of() {
  local inode
  ls -l "/proc/${process[$2]}/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\].*/\1/p' | while read -r inode; do
    awk -v i="$inode" -v s="$1" '$4 == s && $10 == i { print $2 }' /proc/net/tcp
  done
}

# Strangers, at every time and every address at which a target listens: each is one warning, and the machine comes all the same.
# Only the address that was given is open, on all ranks.
case_ranks_strangers() {
  local address port what move listening host
  address=$(any_port)
  address=${address#tcp:}
  host=$(in_proc "$own_host")
  need python3
  ring 4 4
  ring_ends b
  begin a run "${machine[@]}" --ranks 2
  begin b restore --incoming "tcp:$address" --ranks 2
  await_path "$work/a.socket" "${pid[a]}"
  until [ -n "$(tcp_of 0A b)" ]; do kill -0 "${pid[b]}" || failed "b ended"; sleep 0.05; done
  for what in silent half greets; do stranger $what "$address" & done # they hold nobody up
  for what in rubbish gone joins; do stranger $what "$address"; done
  wire 18 hold "tcp:$address" # PLACE: both ranks listen
  "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/moves" 2>"$work/err" &
  move=$!
  until listening=$(tcp_of 0A b) && [ "$(wc -w <<<"$listening")" = 2 ]; do
    kill -0 $move 2>/dev/null || failed "it did not come so far"
    sleep 0.05
  done
  grep -qv "^$host:" <<<"$listening" && failed "listens at $listening"
  for what in rubbish joins gone; do
    # shellcheck disable=SC2046 # words
    stranger $what $(for port in ${listening//$host:/}; do echo "$own_host:$((16#$port))"; done)
  done
  : >"$work/go"
  wait $move || failed "it did not come"
  finish a 86
  finish b 0
  grep -qa RING-OK "$work/b.out" || failed "the ring is broken"
  grep -q error "$work/b.err" && failed "an error"
  for what in 'no frame of a migration' 'has ended' 'JOIN makes no sense'; do
    [ "$(grep -c "warning.*port [0-9]*).*$what.*sent away" "$work/b.err")" -ge 2 ] || failed "fewer than two of '$what'"
  done
}

# A stranger who knows how a machine is announced, and names a longer memory: nothing of it stays for the one who comes then.
case_stranger_announces() {
  need python3
  ring 4 4
  ring_ends b
  begin a run "${machine[@]}"
  begin b restore --incoming "unix:$work/back"
  await_path "$work/a.socket" "${pid[a]}"
  await_path "$work/back" "${pid[b]}"
  python3 - "$work/front" "$work/back" "$work/ready" <<'PY' &
import ctypes, socket, struct, sys
front = socket.socket(socket.AF_UNIX); front.bind(sys.argv[1]); front.listen(1)
open(sys.argv[3], "w")
source, _ = front.accept()
back = socket.socket(socket.AF_UNIX); back.connect(sys.argv[2]) # which hears nobody for long who says nothing
source.sendall(back.recv(40, socket.MSG_WAITALL)) # the target's HELLO
said = source.makefile("rb")
def frame():
    head = said.read(32)
    return head + said.read(struct.unpack_from("<I", head, 20)[0])
begin = [frame() for _ in range(3)] # HELLO, CONFIG, RANKS
space = struct.pack("<Q", 1) + b"rambling"
hash = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
hash.restype, hash.argtypes = ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_size_t)
head = begin[0][:4] + struct.pack("<HHQIIQ", 3, 0, 0, 0, len(space), hash(space, len(space)))
back.sendall(b"".join(begin) + head + space + bytes(32))
try:
    while back.recv(4096): pass
except OSError: pass
PY
  local stranger=$!
  until [ -e "$work/ready" ]; do kill -0 $stranger || failed "no stranger"; sleep 0.05; done
  "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/moves" 2>"$work/err" && failed "moved to a stranger"
  wait $stranger || failed "the stranger was not heard"
  until_err b 'sent away'
  "$partita" migrate "$work/a.socket" "unix:$work/back" >>"$work/moves" 2>"$work/err" || failed "it did not come"
  finish a 86
  finish b 0
  grep -qa RING-OK "$work/b.out" || failed "the ring is broken"
  grep -q error "$work/b.err" && failed "an error"
  return 0
}

# SIGTERM while a host does not answer.
case_sigterm_dialling() {
  local port start
  need python3
  ring 4 4
  begin a run "${machine[@]}"
  until [ -S "$work/a.socket" ]; do sleep 0.05; done
  python3 - "$work/port" <<'PY' &
import os, socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
queue = [socket.socket() for _ in range(4)] # which is full then: nobody else gets an answer
for c in queue: c.setblocking(False); c.connect_ex(s.getsockname())
open(sys.argv[1] + ".new", "w").write(str(s.getsockname()[1])); os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(100)
PY
  local busy=$!
  until [ -s "$work/port" ]; do sleep 0.05; done
  port=$(cat "$work/port")
  "$partita" migrate "$work/a.socket" "tcp:127.0.0.1:$port" >"$work/out" 2>"$work/err" &
  until [ -n "$(tcp_of 02 a)" ]; do sleep 0.05; done # SYN_SENT
  start=$SECONDS
  kill -TERM "${process[a]}"
  finish a 143
  not_waited a $start
  kill $busy
  wait $! && failed "moved to nobody"
  return 0
}

# A machine that answers and goes while its client wants to ask how far it is: the answer counts. This one takes no more questions
# before it answers.
case_regress_client_last_words() {
  need python3
  python3 - "$work/socket" <<'PY' &
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1] + ".new"); s.listen(1); os.rename(sys.argv[1] + ".new", sys.argv[1])
c, _ = s.accept()
while not c.recv(4096).endswith(b"\n"): pass
c.shutdown(socket.SHUT_RD)
time.sleep(1.5) # the client asks twice a second
c.sendall(b'{"return": {"seconds": 1.5, "rounds": 3}, "id": 1}\n')
PY
  await_path "$work/socket" $!
  "$partita" migrate "$work/socket" unix:/nowhere >"$work/out" 2>"$work/err" || fail "the answer was not heard"
  out_has '^migrated: 1.50 s, 3 rounds'
}

# From any number of ranks to any other, by Unix sockets and TCP, pages on demand or all before: the pages of a ring, which
# change their rank in every round, arrive as its harts left them.
case_ranks() {
  local from=a to n=0 ranks uri flag
  ring 4 16
  begin a run "${machine[@]}" --ranks 2
  for ranks in 1 2 4 3 1 4 2; do
    n=$((n + 1)) to=r$n uri=unix:$work/m flag=
    [ $((n % 3)) != 0 ] || uri=$(any_port)
    [ $((n % 4)) != 0 ] || flag=--no-postcopy
    more=([$to]="--ranks $ranks -rebalance off")
    [ $n != 7 ] || ring_ends $to
    sleep 0.3
    move $from $to $uri $flag
    from=$to
  done
  finish $to 0
  grep -qa RING-OK "$work/$to.out" || failed "the ring is broken"
  cat "$work/moves"
}

# A kernel whose harts move between ranks meanwhile, and which writes all the time.
case_ranks_memory() {
  guest_with <<'RUN'
n=0; while :; do echo "COUNT $n."; n=$((n+1)); usleep 20000; done &
mkdir -p /m; mount -t tmpfs -o size=80m tmpfs /m
dd if=/dev/urandom of=/m/a bs=1M count=8 2>/dev/null
want=$(sha256sum </m/a)
while :; do
  cp /m/a /m/b; [ "$(sha256sum </m/b)" = "$want" ] || echo DAMAGED
  cp /m/b /m/a; [ "$(sha256sum </m/a)" = "$want" ] || echo DAMAGED
  echo "VERIFIED."
done
RUN
  debian 4 --ranks 2
  more=([b]="--ranks 3" [c]="--ranks 2")
  begin a "${command[@]}"
  until_out a VERIFIED
  move a b "unix:$work/m"
  until_out b VERIFIED 2
  move b c "unix:$work/m"
  until_out c VERIFIED 2
  "$partita" control "$work/c.socket" quit >/dev/null
  finish c 0
  consecutive a.out b.out c.out
  cat "$work"/*.out >"$work/out"
  out_lacks DAMAGED
  healthy
  cat "$work/moves"
}

# Processes on both sides.
case_ranks_mpi() {
  mpi
  ring 4 16
  under=([a]="mpirun --oversubscribe --bind-to none -n 2" [b]="mpirun --oversubscribe --bind-to none -n 3")
  more=([b]="-rebalance off -bind off" [c]="--ranks 2")
  begin a run "${machine[@]}" -bind off
  until [ -S "$work/a.socket" ]; do sleep 0.05; done
  sleep 0.5
  move a b "unix:$work/m"
  sleep 0.5
  ring_ends c
  move b c "$(any_port)"
  finish c 0
  grep -qa RING-OK "$work/c.out" || failed "the ring is broken"
  cat "$work/moves"
}

# stays URI PATTERN : a, on two ranks, does not leave; that is one message of it, and it goes on.
stays() {
  local before
  before=$(wc -l <"$work/a.err")
  "$partita" migrate "$work/a.socket" "$1" >"$work/out" 2>"$work/err" && failed "moved to $1"
  err_has 'stays where it is'
  tail -n +$((before + 1)) "$work/a.err" | grep -qE "$2" || failed "no message like '$2'"
}

# Whatever breaks before the machine is handed over leaves it running on its ranks: nobody at the address, connections that are
# cut, a target that dies, or one process of it, or that cannot begin.
case_ranks_weather() {
  local frame n victim
  need python3
  mpi
  counting
  debian 2 --ranks 2
  begin a "${command[@]}"
  until_out a COUNT
  stays "unix:$work/nobody" "cannot reach 'unix:.*nobody'"
  for frame in 4 5 18; do # the first connection
    begin "b$frame" restore --incoming "unix:$work/back" --ranks 2
    until [ -S "$work/back" ]; do sleep 0.05; done
    [ $frame != 4 ] || break_early b4 2 17
    wire $frame
    stays "unix:$work/front" 'the connection has ended|cannot reach|reset by peer|the other side refuses'
    finish "b$frame" 2
    [ "$(grep -c error "$work/b$frame.err")" = 1 ] || failed "not one message of target b$frame"
    wait $wire
  done
  under=([d4]="mpirun --oversubscribe --bind-to none -n 2")
  for n in 1 2 3 4; do
    rm -f "$work/back" # of who was killed
    begin "d$n" restore --incoming "unix:$work/back" --ranks $((n < 4 ? 2 : 1)) -bind off
    until [ -S "$work/back" ]; do sleep 0.05; done
    victim=${process[d$n]:-}
    [ -n "$victim" ] || victim=$(pgrep -P "$(pgrep -P "${pid[d$n]}" | head -n 1)" -x partita | tail -n 1)
    wire 9 hold # STOPPED: it cannot be handed over
    "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/out" 2>"$work/err" &
    sleep "0.0$((RANDOM % 10))"
    kill -KILL "$victim"
    wait $! && failed "handed over to a process that died"
    kill $wire 2>/dev/null
    wait $wire # it may be about to remove what the next one makes
    wait "${pid[d$n]}" 2>/dev/null
    err_has 'stays where it is'
  done
  rm -f "$work/m"
  begin e restore --incoming "unix:$work/m" --ranks 9 # more than it has harts
  until [ -S "$work/m" ]; do sleep 0.05; done
  stays "unix:$work/m" 'the other side refuses|the connection has ended'
  finish e 2
  until_out a COUNT $(($(grep -ca COUNT "$work/a.out") + 5))
  more=([f]="--ranks 2")
  move a f "unix:$work/m"
  until_out f COUNT 3
  consecutive a.out f.out
  "$partita" control "$work/f.socket" quit >/dev/null
  finish f 0
}

# A connection that breaks after GO, with pages missing on both ranks of the target: one message of each side, and both end.
case_ranks_lost() {
  local lines
  need python3
  guest_with <<'RUN'
n=0; while :; do echo "COUNT $n."; n=$((n+1)); dd if=/dev/urandom of=/f bs=64k count=8 2>/dev/null; done
RUN
  debian 2
  begin a "${command[@]}"
  until_out a COUNT
  begin c restore --incoming "unix:$work/back" --ranks 2
  until [ -S "$work/back" ]; do sleep 0.05; done
  wire 12
  "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/out" 2>"$work/err" && failed "a migration that broke is no success"
  err_has 'while the machine ran there already'
  finish a 74
  finish c 2
  wait $wire
  lines=$(grep -c 'error' "$work/c.err")
  [ "$lines" = 1 ] || failed "$lines messages of the target"
}

# The same where all connections have ended before the source comes to see that the machine runs there: it says the same, and does
# not offer to let it go on here, too.
case_ranks_lost_unseen() {
  need python3
  ring 4 4
  begin a run "${machine[@]}"
  until [ -S "$work/a.socket" ]; do sleep 0.05; done
  begin c restore --incoming "unix:$work/back" --ranks 2
  until [ -S "$work/back" ]; do sleep 0.05; done
  wire 12 late
  "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/out" 2>"$work/err" &
  local moving=$!
  until [ -e "$work/front.held" ]; do kill -0 $moving || failed "it never ran there"; sleep 0.05; done
  kill -STOP "${process[a]}"
  : >"$work/go"
  wait $wire
  finish c 2
  kill -CONT "${process[a]}"
  wait $moving && failed "a migration that broke is no success"
  err_has 'while the machine ran there already'
  finish a 74
}

# The first connection of two ranks to two breaks around GO: it stands still on both until somebody lets it go on, and moves later.
case_ranks_undecided() {
  local frame
  need python3
  ring 4 4
  begin a run "${machine[@]}" --ranks 2
  until [ -S "$work/a.socket" ]; do sleep 0.05; done
  for frame in 9 10 11; do
    sleep 0.3
    begin "b$frame" restore --incoming "unix:$work/back" --ranks 2
    until [ -S "$work/back" ]; do sleep 0.05; done
    wire $frame
    "$partita" migrate "$work/a.socket" "unix:$work/front" >"$work/out" 2>"$work/err" && failed "moved over a cut wire"
    finish "b$frame" 2
    wait $wire
    [ "$(grep -c error "$work/b$frame.err")" = 1 ] || failed "not one message of target b$frame"
    if [ $frame = 9 ]; then
      err_has 'stays where it is'
    else
      err_has 'it stands still'
      "$partita" control "$work/a.socket" query-status | grep -q paused || failed "it does not stand still"
      "$partita" control "$work/a.socket" cont >/dev/null
    fi
  done
  ring_ends z
  more=([z]="--ranks 3")
  move a z "unix:$work/m"
  finish z 0
  grep -qa RING-OK "$work/z.out" || failed "the ring is broken"
}

# A machine on KVM, with interrupt controllers of ours: one rank to two, to two, and back to one, pages on demand where ranks ask
# for them. The sum is that of a machine that stayed, and no clock has seen the 3 s for which the first move is held up.
case_ranks_kvm() {
  need_kvm
  need python3
  local kvm=(-M virt-x86 -accel kvm -smp 2 -m 64M -kernel "$work/guest_x86.elf" -device virtio-rng-device)
  local name gap rounds
  truncate -s 64K "$work/disk"
  ring_ends d # until then it goes on
  begin a run "${kvm[@]}" -append rounds=0 -machine virt-x86,kernel-irqchip=off -drive "file=$work/disk,format=raw"
  until_out a GUEST-UP
  begin b restore --incoming "unix:$work/back" --ranks 2
  until [ -S "$work/back" ] && [ -S "$work/a.socket" ]; do sleep 0.05; done
  wire 10 hold # LOADED: it stands still
  "$partita" migrate "$work/a.socket" "unix:$work/front" >>"$work/moves" 2>"$work/err" &
  local move=$!
  until [ -e "$work/front.held" ]; do kill -0 $move 2>/dev/null || failed "it did not come so far"; sleep 0.05; done
  sleep 3
  : >"$work/go"
  wait $move || failed "migrate a to b"
  finish a 86
  more=([c]="--ranks 2")
  move b c "$(any_port)"
  move c d "unix:$work/m"
  finish d 0
  for name in a b c; do grep -qa CHECKSUM "$work/$name.out" && failed "it ended at $name"; done
  grep -qa GUEST-FAILED "$work"/*.out && failed "the guest failed"
  rounds=$((16#$(value ROUNDS d)))
  rm "$work/disk"
  truncate -s 64K "$work/disk"
  begin whole run "${kvm[@]}" -append "rounds=$rounds" -drive "file=$work/disk,format=raw"
  finish whole 0
  [ "$(value CHECKSUM whole)" = "$(value CHECKSUM d)" ] || failed "another checksum after $rounds rounds: $(value CHECKSUM d), $(value CHECKSUM whole)"
  for gap in $(sed -n 's/^LONGEST-GAP //p' "$work/d.out" | tr -d '\r'); do # between two ticks, by the PM timer at 3.58 MHz
    [ $((16#$gap)) -lt $((3579545 * 5 / 2)) ] || failed "the guest's time jumped: $((16#$gap)) ticks"
  done
  cat "$work/moves"
}
value() { sed -n "s/^$1 //p" "$work/$2.out" | tr -d '\r'; } # WHAT NAME

main "$@"
