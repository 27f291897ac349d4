# Sourced by the scripts here: builds the guests and runs them.
#
#   LITMUS_ITERATIONS  instances of each test, or rounds, instead of the case's (millions for a long run)
#   LITMUS_OPTIONS     options for every `partita run`, for instance to spread the machine
#   LITMUS_LAUNCH      a command before the program: mpirun -n 4
#   LITMUS_SEED        another order of places, kinds and parts
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
. "$(dirname "$0")/../system/lib.sh"

mklitmus=${MKLITMUS:-$top/build/tests/litmus/mklitmus}
launch=${LITMUS_LAUNCH-}

# build_guests : $guests/litmus.elf, stack.elf, storm.elf and shared.elf, made once for all cases
build_guests() {
  local dir=$top/tests/litmus
  need riscv64-linux-gnu-gcc
  guests=$PWD/guests
  mkdir -p "$guests"
  (flock 9 && { [ -e "$guests/done" ] && [ -z "$(find "$dir" "$mklitmus" -newer "$guests/done" -type f)" ] ||
    { "$dir/build.sh" "$mklitmus" "$guests" && touch "$guests/done"; }; }) 9>"$guests/lock" \
    >"$work/out" 2>&1 || fail "tests/litmus/build.sh"
}

# run_guest CODES GUEST APPEND OPTION... : as partita_run; any of the exit codes will do. Over ranks, harts stay where the
# plan put them.
run_guest() {
  local want=$1 elf=$2 append=$3 got=0
  shift 3
  build_guests
  # shellcheck disable=SC2086 # words
  timeout -k 5 "$limit" $launch "$partita" run -kernel "$guests/$elf.elf" -append "seed=${LITMUS_SEED-1} $append" "$@" -rebalance off \
    ${LITMUS_OPTIONS-} </dev/null >"$work/out" 2>"$work/err" || got=$?
  [[ " $want " = *" $got "* ]] || fail "exit code $got instead of $want: $elf $append: $*"
}

# mpi RANKS : what follows runs as so many processes.
mpi() {
  need mpirun
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  launch="mpirun --oversubscribe -n $1"
}
