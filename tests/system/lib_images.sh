# Sourced after lib.sh by tests of machines in pieces: one runs in the background, makes images in $store, ends or is killed, and is
# restored from them.
# shellcheck shell=bash
store=$work/store
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# begin COMMAND... : in the background; $pid; what is typed comes from the file $work/in.
begin() {
  timeout -k 5 "$limit" "$@" <"$work/in" >>"$work/out" 2>>"$work/err" &
  pid=$!
}
: >"$work/in"

# find_children N : ${children[*]} are the N processes of the run, by rank; their parent is timeout, or mpirun below it.
find_children() {
  local want=$1 tries=0
  until children=($(pgrep -P "$pid" -x partita || pgrep -P "$(pgrep -P "$pid" | head -n 1)" -x partita 2>/dev/null)) &&
    [ ${#children[@]} = "$want" ]; do
    kill -0 "$pid" 2>/dev/null || fail "the run has ended"
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "no $want ranks in 30 s"
    sleep 0.05
  done
  # From here on a signal is an image, not the end.
  for want in "${children[@]}"; do
    until grep -qsx signals "/proc/$want"/task/*/comm; do
      tries=$((tries + 1))
      kill -0 "$pid" 2>/dev/null && [ $tries -lt 1200 ] || fail "rank $want never takes signals"
      sleep 0.05
    done
  done
}

# await_err PATTERN : until the program has said that
await_err() {
  until grep -qE -- "$1" "$work/err"; do
    kill -0 "$pid" 2>/dev/null || fail "the machine ended before it said '$1'"
    sleep 0.05
  done
}

# finish CODE...: waits for the machine; its exit code must be one of these, and is left in $code.
finish() {
  local want
  code=0
  wait "$pid" || code=$?
  for want in "$@"; do [ "$code" != "$want" ] || return 0; done
  fail "exit code $code instead of $*"
}

# gone : after the run, until nothing is left of its processes, nor of their locks: mpirun does not wait for those that it ends.
gone() {
  local child
  wait "$pid" 2>/dev/null
  for child in "${children[@]}"; do
    while grep -qsv ') Z ' /proc/"$child"/task/*/stat; do sleep 0.02; done
  done
}

# killed : all processes of the machine, whatever they are at
killed() {
  kill -KILL "${children[@]}"
  gone
}

# images N : waits until the store has at least N complete images
images() {
  local tries=0
  until [ "$(ls -d "$store"/*/manifest.json 2>/dev/null | wc -l)" -ge "$1" ]; do
    kill -0 "$pid" 2>/dev/null || fail "the machine ended before image $1"
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "no image $1 in a minute"
    sleep 0.1
  done
}

# newest : the name of the newest complete image, or nothing
newest() { ls -d "$store"/*/manifest.json 2>/dev/null | tail -n 1; }

# await_image NAME : until there is a newer one than that
await_image() {
  local tries=0
  until [ "$(newest)" != "$1" ]; do
    kill -0 "$pid" 2>/dev/null || fail "the machine ended before an image was made"
    tries=$((tries + 1))
    [ $tries -lt 1200 ] || fail "no image in a minute"
    sleep 0.05
  done
}

mpi() {
  need mpirun
  mpirun=(mpirun --oversubscribe --bind-to none)
}
