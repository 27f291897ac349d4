#!/usr/bin/env bash
# check.sh [quick|san|tiers|fuzz|perf|rootfs|kvm-nested] : builds Partita and tests it. Without an argument: all that CI does.
#   quick  gcc build, unit and isa tests (under 2 minutes)
#   san    AddressSanitizer + UBSan and ThreadSanitizer builds: unit and isa tests and the demo on both
#   tiers  unit, isa and system tests translated by the quick tier only, and each hot region again at once
#   fuzz   each fuzzer for FUZZ_SECONDS (30)
#   perf   benchmarks beside QEMU (tests/perf/README.md); QEMU= names the program
#   rootfs a whole Debian with systemd, stress-ng and apt in the guest, also in pieces (root only: it makes the image)
#   kvm-nested  Debian's amd64 kernel on -M virt-x86 -accel kvm, inside QEMU with kvm-amd (QEMU_X86 names the program)
# Installs missing Debian packages first (root or sudo). The last line counts the tests: "N passed, N failed, N skipped".
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 70
. launch/packages.sh
level=${1:-ci}
jobs=2
passed=0 failed=0 skipped=0

packages_build="cmake ninja-build gcc libc6-dev pkg-config libfdt-dev libhwloc-dev libnuma-dev libopenmpi-dev libslirp-dev libzstd-dev libxxhash-dev libjansson-dev libyaml-dev libcmocka-dev"
packages_mpi="openmpi-bin iproute2"
packages_model="spin"
packages_guest="cpio kmod xz-utils gzip debian-archive-keyring device-tree-compiler e2fsprogs gcc-riscv64-linux-gnu"
packages_clang="clang libclang-rt-14-dev"
packages_nested="cpio kmod xz-utils zstd binutils debian-archive-keyring"
packages_perf="python3 zstd libc6-dev-riscv64-cross"

# step TITLE COMMAND... : runs it with its output in a log; counts and shows a failure. For builds.
step() {
  local title=$1 log code=0 start=$SECONDS
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 || code=$?
  if [ $code = 0 ]; then
    echo "$title: done ($((SECONDS - start)) s)"
  else
    tail -n 60 "$log"
    echo "$title: FAILED (exit code $code)"
    failed=$((failed + 1))
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# configure_build DIR CMAKE-OPTIONS... : everything that DIR's configuration knows.
configure_build() {
  local dir=$1
  shift
  # shellcheck disable=SC2046
  cmake -B "$dir" $(cmake_generator "$dir") "$@" && cmake --build "$dir" -j $jobs
}

# attribute FILE NAME : of the testsuite element of a JUnit file
attribute() {
  grep -o "[[:space:]]$2=\"[0-9]*\"" "$1" | head -n 1 | tr -dc 0-9
}

# run_ctest DIR CTEST-OPTIONS... : runs and counts; says why tests were skipped, and counts parts of a unit test as well, of which
# ctest knows nothing.
run_ctest() {
  local dir=$1 junit said
  shift
  junit=$top/$dir/junit.xml
  rm -f "$junit"
  (cd "$dir" && ctest -j $jobs --output-on-failure --no-tests=error --output-junit "$junit" "$@")
  said=$(grep -h '^SKIP: ' "$dir/Testing/Temporary/LastTest.log" 2>/dev/null | sort)
  [ -z "$said" ] || uniq -c <<<"$said"
  if [ ! -s "$junit" ]; then
    failed=$((failed + 1))
    return
  fi
  local tests=$(($(attribute "$junit" tests))) bad=$(($(attribute "$junit" failures)))
  local none=$(($(attribute "$junit" skipped) + $(attribute "$junit" disabled)))
  passed=$((passed + tests - bad - none)) failed=$((failed + bad))
  said=$(grep -c . <<<"$said")
  skipped=$((skipped + (said > none ? said : none)))
}

# say_cases DIR : what became of each test of the last run there, a line each; where all they say is shown, these get lost.
say_cases() {
  local name seconds what
  declare -A word=([run]=passed [fail]=FAILED)
  sed -nE 's/^[[:space:]]*<testcase name="([^"]*)".* time="([0-9.]*)[^"]*" status="([a-z]*)".*/\1 \2 \3/p' "$1/junit.xml" |
    while read -r name seconds what; do printf '%-36s %-8s %5.0f s\n' "$name" "${word[$what]:-skipped}" "$seconds"; done
}

check_gcc() {
  step "gcc build" configure_build build -DCMAKE_C_COMPILER=gcc || return
  run_ctest build "$@"
}

check_headers() {
  step "every public header alone" cmake --build build -j $jobs --target all_verify_interface_header_sets
}

check_clang() {
  step "clang build" configure_build build-clang -DCMAKE_C_COMPILER=clang
}

# Under sanitizers a kernel's boot takes minutes: the demo stands for the system tests. ThreadSanitizer does not see what
# translated code orders, so there the harts are interpreted.
check_sanitizers() {
  step "address and undefined-behaviour sanitizer build" \
    configure_build build-asan -DCMAKE_C_COMPILER=gcc -DPARTITA_SANITIZE=address,undefined &&
    run_ctest build-asan -R '^(unit|isa)\.|^system\.demo$'
  step "thread sanitizer build" configure_build build-tsan -DCMAKE_C_COMPILER=gcc -DPARTITA_SANITIZE=thread &&
    run_ctest build-tsan -R '^(unit|isa)\.|^system\.(machine\.demo_interpreted|tools\.demo_plugins)$' -E lockstep
}

# check_tier TIER THRESHOLD HOT : all that runs guest code, translated otherwise than a release does.
check_tier() {
  local dir=build-$1
  step "$1 tier build" configure_build "$dir" -DCMAKE_C_COMPILER=gcc -DPARTITA_DEFAULT_TIER="$1" \
    -DPARTITA_DEFAULT_THRESHOLD="$2" -DPARTITA_DEFAULT_HOT="$3" && run_ctest "$dir" -L 'unit|isa|system'
}

# The optimising tier never, and from the first turn on that ends in a region.
check_tiers() {
  check_tier quick 20 1
  check_tier auto 1 1
}

build_fuzzers() {
  # shellcheck disable=SC2046
  cmake -B build-fuzz $(cmake_generator build-fuzz) -DCMAKE_C_COMPILER=clang -DPARTITA_FUZZ=ON \
    -DPARTITA_SANITIZE=address,undefined && cmake --build build-fuzz -j $jobs --target "$@"
}

# check_fuzzers SECONDS : tests/fuzz/fuzz_NAME.c is one libFuzzer program each.
check_fuzzers() {
  local name names corpus
  names=$(basename -s .c tests/fuzz/fuzz_*.c)
  # shellcheck disable=SC2086
  step "fuzzer build" build_fuzzers $names || return
  for name in $names; do
    corpus=build-fuzz/corpus/$name
    mkdir -p "$corpus"
    if step "$name" "build-fuzz/tests/fuzz/$name" -max_total_time="$1" -timeout=20 -rss_limit_mb=2048 \
      -artifact_prefix="build-fuzz/$name-" "$corpus"; then
      passed=$((passed + 1))
    fi
  done
}

check_ci() {
  check_gcc -LE 'perf|rootfs|kvm-nested'
  [ ! -f build/CMakeCache.txt ] || check_headers
  check_clang
  check_sanitizers
  check_fuzzers 10
}

# shellcheck disable=SC2086 # lists of words
case $level in
  ci)
    packages_install $packages_build $packages_mpi $packages_model $packages_guest $packages_clang || exit $?
    check_ci
    ;;
  quick)
    packages_install $packages_build $packages_mpi || exit $?
    check_gcc -L 'unit|isa'
    ;;
  san)
    packages_install $packages_build $packages_mpi || exit $?
    check_sanitizers
    ;;
  tiers)
    packages_install $packages_build $packages_mpi $packages_guest || exit $?
    check_tiers
    ;;
  fuzz)
    packages_install $packages_build $packages_mpi $packages_clang || exit $?
    check_fuzzers "${FUZZ_SECONDS:-30}"
    ;;
  rootfs)
    packages_install $packages_build $packages_mpi $packages_guest || exit $?
    check_gcc -L rootfs -j 1
    ;;
  kvm-nested)
    packages_install $packages_build $packages_nested $([ -n "${QEMU_X86:-}" ] || echo qemu-system-x86) || exit $?
    check_gcc -L kvm-nested -j 1 -V
    say_cases build
    ;;
  perf)
    packages_install $packages_build $packages_guest $packages_perf || exit $?
    step "gcc build" configure_build build -DCMAKE_C_COMPILER=gcc && launch/guest/fetch.sh &&
      { tests/perf/run.sh && passed=1 || failed=1; }
    ;;
  *)
    sed -n '2,10s/^# //p' "$0"
    exit 2
    ;;
esac
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
