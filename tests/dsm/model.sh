#!/usr/bin/env bash
# model.sh check|broken|full|along : checks mem/dsm/protocol.def with spin, through protocol.pml.
# The short checkers are compiled without optimisation: their code is long and they run for seconds.
#   check   exhaustively: 3 ranks x 1 page and 2 ranks x 2 pages, safety and progress (under a minute)
#   broken  breaks one row after the other; spin must find each (tests the model)
#   full    3 ranks x 2 pages, safety (20 million states: a minute on a quiet host, 2 GiB)
#   along   3 ranks x 2 pages of which one comes along with the other, safety (12 million states); no test of its own
# Exit code 77 when spin is not installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
table=$here/../../mem/dsm/protocol.def
cc=${CC:-cc}
mode=${1:-check}
command -v spin >/dev/null || {
  echo "SKIP: spin is not installed"
  exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# explore TABLE RANKS PAGES "DEFINES" "COMPILE OPTIONS" "RUN OPTIONS" : leaves spin's words in $work/out
explore() {
  local dir=$work/run
  mkdir -p "$dir"
  cp "$1" "$dir/protocol.def"
  # shellcheck disable=SC2086 # lists of words
  (cd "$dir" && "$cc" -E -P -x c -DNR="$2" -DPAGES="$3" $4 -I. "$here/protocol.pml" -o m.pml &&
    spin -a m.pml >/dev/null && "$cc" -w -DMEMLIM=3000 $5 -o pan pan.c && ./pan $6) >"$work/out" 2>&1 || true
  grep -q 'errors: [0-9]' "$work/out" || {
    cat "$work/out"
    echo "spin did not come to an end"
    exit 1
  }
}

found_error() {
  ! grep -q 'errors: 0' "$work/out" || grep -q 'max search depth too small' "$work/out"
}

# expect_none TITLE EXPLORE-ARGUMENTS...
expect_none() {
  local title=$1
  shift
  explore "$table" "$@"
  echo "$title: $(grep -m 1 'states, stored' "$work/out" | sed 's/ *//')"
  if found_error; then
    grep -E '^pan|error' "$work/out"
    exit 1
  fi
}

# expect_error TITLE SED-PROGRAM [EXPLORE-ARGUMENTS...] : the table, changed, must fail.
expect_error() {
  local title=$1 edit=$2
  shift 2
  [ $# -gt 0 ] || set -- 3 1 "" "-DSAFETY" "-m200000"
  sed -E "$edit" "$table" >"$work/broken.def"
  if cmp -s "$table" "$work/broken.def"; then
    echo "$title: nothing was changed"
    exit 1
  fi
  explore "$work/broken.def" "$@"
  if ! found_error; then
    echo "$title: NOT FOUND"
    exit 1
  fi
  echo "$title: $(grep -m 1 '^pan:' "$work/out")"
}

# row STATE EVENT : a sed address of rows
row() {
  echo "/^DSM_(RANK|HOME)\\($1, +$2, /"
}

case $mode in
  check)
    expect_none "3 ranks, 1 page, safety" 3 1 "" "-DSAFETY" "-m200000"
    expect_none "3 ranks, 1 page, fetched ahead as well" 3 1 "-DAHEAD" "-DSAFETY -DCOLLAPSE" "-m1000000"
    expect_none "2 ranks, 2 pages, safety" 2 2 "" "-DSAFETY" "-m1000000"
    expect_none "2 ranks, 2 pages, along with each other" 2 2 "-DRUN -DAHEAD" "-DSAFETY -DCOLLAPSE" "-m1000000"
    expect_none "3 ranks, 1 page, progress" 3 1 "-DPROGRESS" "-DNFAIR=4 -DCOLLAPSE" "-a -f -m200000"
    expect_none "2 ranks, 2 pages, progress" 2 2 "-DPROGRESS" "-DNFAIR=4 -DCOLLAPSE" "-a -f -m1000000"
    ;;
  broken)
    expect_error "the owner keeps its copy" "$(row E FWD_E)s/ I, / S, /"
    expect_error "a sharer keeps its copy" "$(row S INV)s/ I, / S, /"
    expect_error "an upgrade forgets that it lost its copy" "$(row SE INV)s/IE,/I, /"
    expect_error "a writer does not wait for ACKs" "$(row IE DATA_E)s/IEA, COPY, NOP,  NOP/E, COPY, WAKE, DONE/"
    expect_error "an upgrade does not wait for ACKs" "$(row SE GRANT)s/SEA, NOP,  NOP,/E, WAKE, DONE,/"
    expect_error "the bytes are not copied" "$(row IS DATA_S)s/COPY/NOP/"
    expect_error "sharers are not told" "$(row S GET_E)s/ INV,/ NOP,/"
    expect_error "the home forgets its queue" "$(row BX DONE)s/NEXT/NOP/"
    expect_error "the home does not queue" "$(row BX GET_S)d"
    expect_error "an early ACK is not expected" "$(row IE ACK)d"
    expect_error "an INV that meets an upgrade is not expected" "$(row SE INV)d"
    along=(2 2 "-DRUN -DAHEAD" "-DSAFETY -DCOLLAPSE" "-m1000000")
    expect_error "the home keeps what it gives along" "$(row E GIVE)s/ I, / E, /" "${along[@]}"
    expect_error "what is given along is not remembered" "$(row X GIVE)s/OWN,/NOP,/" "${along[@]}"
    expect_error "what is given along does not wait for DONE" "$(row X GIVE)s/BX,/X, /" "${along[@]}"
    expect_error "who waits for a refused page is not woken" "$(row IR NO_GIFT)s/WAKE/NOP/" "${along[@]}"
    expect_error "what may come along is asked for again" "$(row IR WRITE)s/IR, +WAIT, +NOP/IE, GET_E, WAIT/" "${along[@]}"
    ;;
  full)
    expect_none "3 ranks, 2 pages, safety" 3 2 "" "-O2 -DSAFETY -DHC4" "-m11000000 -w25"
    ;;
  along)
    expect_none "3 ranks, 2 pages, along with each other" 3 2 "-DRUN" "-O2 -DSAFETY -DHC4" "-m20000000 -w25"
    ;;
  *)
    sed -n '2,8s/^# //p' "$0"
    exit 2
    ;;
esac
