# Sourced by the system tests: run Partita, look at what it said, skip with a reason.
# shellcheck shell=bash
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
partita=${PARTITA:-$top/build/partita}
guest=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/partita/guest
work=$(mktemp -d "${TMPDIR:-/tmp}/partita-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
limit=${LIMIT:-200} # seconds after which a run counts as hung
# RANKS=N: the same runs over N logical ranks of one process; MPI_RANKS=N: over N processes. BALANCE=off: harts stay where they are.
ranks=${RANKS:+--ranks $RANKS}${BALANCE:+ -rebalance $BALANCE}
launcher=
if [ -n "${MPI_RANKS:-}" ]; then
  command -v mpirun >/dev/null || { echo "SKIP: mpirun is not installed"; exit 77; }
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  launcher="mpirun --oversubscribe --bind-to none -n $MPI_RANKS"
fi

skip() { echo "SKIP: $*"; exit 77; }

fail() {
  echo "FAIL: $*"
  for file in out err; do
    [ ! -s "$work/$file" ] || { echo "--- the end of std$file"; tail -n 40 "$work/$file"; }
  done
  exit 1
}

need() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

# The Debian guest, fetched by the fixture system.guest.
need_guest() {
  if [ ! -s "$guest/Image" ] || [ ! -s "$guest/initramfs.cpio.gz" ]; then skip "no Debian guest in $guest"; fi
}

# A KVM that runs guests, and ours for it: $work/guest_x86.elf.
need_kvm() {
  [ "$(uname -m)" = x86_64 ] || skip "the host is no x86-64"
  local why
  why=$("$partita" doctor --kvm 2>&1) || skip "no KVM here: $why"
  need gcc
  bash "$here/guest_x86/build.sh" "$work" || fail "the guest cannot be built"
}

# child_of PID : ${child} is the program that this `timeout` has started, unless that has ended already.
child_of() {
  until child=$(pgrep -P "$1" -x "${partita##*/}") || ! kill -0 "$1" 2>/dev/null; do sleep 0.05; done
}

# await_path PATH PID : until it is there; a socket of ours is when somebody listens.
await_path() {
  until [ -e "$1" ]; do
    kill -0 "$2" 2>/dev/null || fail "process $2 ended before there was ${1##*/}"
    sleep 0.05
  done
}

# takes_signals PID... : until a signal is a wish, and no longer the end; or these processes have gone.
takes_signals() {
  local process
  for process in "$@"; do
    [ -n "$process" ] || continue
    until grep -qsx signals "/proc/$process"/task/*/comm || [ ! -e "/proc/$process" ]; do sleep 0.02; done
  done
}

# For guests' kernels: a hart that does not get on for some seconds is the busy host's doing, one that does not for a minute or
# two is our fault.
patient="watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 workqueue.watchdog_thresh=120"

# partita_run CODE ARGUMENT... : runs the program without input (or with that of $typed) and expects the exit code CODE; stdout and
# stderr are in $work/out and $work/err.
partita_run() {
  local want=$1 got=0
  shift
  # shellcheck disable=SC2086 # words
  timeout -k 5 "$limit" $launcher "$partita" run "$@" $ranks <"${typed:-/dev/null}" >"$work/out" 2>"$work/err" || got=$?
  [ "$got" = "$want" ] || fail "exit code $got instead of $want: $launcher partita run $* $ranks"
}

out_has() { grep -qaE -- "$1" "$work/out" || fail "stdout has no line like: $1"; }
out_lacks() { lacks out "$1"; }
err_lacks() { lacks err "$1"; }
lacks() { # shows what it found: the end of a long output may not
  local found
  found=$(grep -m 3 -A 12 -aE -- "$2" "$work/$1") || return 0
  fail "std$1 has a line like: $2: $found"
}
err_has() { grep -qaE -- "$1" "$work/err" || fail "stderr has no line like: $1"; }

# One clear message: a single line on stderr with our name and the thing at fault, and nothing from a guest.
one_message() {
  [ "$(wc -l <"$work/err")" = 1 ] || fail "not exactly one line on stderr"
  err_has '^partita: '
  err_has "$1"
  [ ! -s "$work/out" ] || fail "something on stdout"
}

# The guest's kernel and processes were content.
healthy() {
  out_lacks 'insmod .* failed|Call Trace|Oops|BUG:|WARNING:|rcu: .*stall|LOCKUP|lockup|Kernel panic'
}

# build_guest NAME [ADDRESS] : assembles guest/NAME.S as $work/NAME.elf, by default at the RAM base.
build_guest() {
  local cc=riscv64-linux-gnu-gcc
  need $cc
  $cc -march=rv64gc -mabi=lp64d -nostdlib -static -no-pie -Wl,-N,--build-id=none,--no-warn-rwx-segments -Wl,-Ttext="${2:-0x80000000}" \
    "$here/guest/$1.S" -o "$work/$1.elf" || fail "cannot build guest/$1.S"
}

# build_hostile NAME [s] [-DWORD...] : $work/NAME.elf, for M mode or (s) for S mode under the built-in SBI
build_hostile() {
  local cc=riscv64-linux-gnu-gcc dir=$here/guest/hostile mode=()
  need $cc
  [ -z "${2-}" ] || mode=(-DSMODE -Wl,--defsym=smode=1)
  $cc -O2 -Wall -Wextra -Werror "${@:3}" -march=rv64gc -mabi=lp64d -mcmodel=medany -ffreestanding -fno-stack-protector -nostdlib \
    -static -no-pie "${mode[@]}" -Wl,--build-id=none,--no-warn-rwx-segments -T "$dir/link.ld" "$dir/start.S" \
    "$dir/common.c" "$dir/$1.c" -o "$work/$1.elf" || fail "cannot build guest/hostile/$1.c"
}

spread=(-rebalance off) # harts stay where the plan wants them

# ring HARTS PAGES [LAST] : builds guest/ring.S, whose pages change their rank in every round, and which knows when one is lost or of
# another instant; it ends when something is typed, or after LAST rounds. $machine is the run.
ring() {
  local cc=riscv64-linux-gnu-gcc
  need $cc
  $cc -march=rv64gc -mabi=lp64d -nostdlib -static -no-pie -Wl,-N,--build-id=none,--no-warn-rwx-segments -Wl,-Ttext=0x80000000 \
    -DHARTS="$1" -DPAGES="$2" -DLAST="${3:--1}" "$here/guest/ring.S" -o "$work/ring.elf" || fail "cannot build guest/ring.S"
  machine=(-smp "$1" -m 64M -bios none -kernel "$work/ring.elf" "${spread[@]}")
}

# move_harts RANKS : of a machine of four harts with --control $work/socket, at random until it ends, or $MOVES times; the moves are in
# $work/moves
move_harts() {
  RANDOM=${MOVE_SEED:-1}
  for _ in $(seq 1200); do
    [ ! -S "$work/socket" ] || break
    sleep 0.05
  done
  local n
  for ((n = 0; n < ${MOVES:-1000000}; n++)); do
    "$partita" control "$work/socket" move-hart "hart=$((RANDOM % 4))" "rank=$((RANDOM % $1))" 2>/dev/null || break
  done >>"$work/moves"
}
# move_homes RANKS : of the first 16 MiB of a machine, likewise
move_homes() {
  for _ in $(seq 1200); do
    [ ! -S "$work/socket" ] || break
    sleep 0.05
  done
  while "$partita" control "$work/socket" move-memory "start=$((0x80000000 + (RANDOM % 8 << 21)))" length=0x200000 \
    "rank=$((RANDOM % $1))" >>"$work/moves" 2>/dev/null || "$partita" control "$work/socket" query-status >/dev/null 2>&1; do
    :
  done
}
# moved AT-LEAST
moved() { [ "$(grep -c pause-ms "$work/moves")" -ge "$1" ] || fail "fewer than $1 moves"; }

# The end of a job for the guest: what its kernel had to complain of, and how often. With more ranks than cores a hart may
# lose its core within an interrupt, and the kernel says how long that took: it is printed, and does not count.
count_kernel_warnings() {
  cat <<'JOB'
dmesg --facility kern --level warn,err,crit,alert,emerg
echo "KERNEL warnings=$(dmesg --facility kern --level warn,err,crit,alert,emerg | grep -vc 'hrtimer: interrupt took')."
JOB
}

# Runs the function case_NAME that the script defines.
main() {
  [ -x "$partita" ] || fail "$partita is missing"
  declare -F "case_$1" >/dev/null || { echo "no case $1"; exit 70; }
  "case_$1"
  echo "ok: $1"
}
