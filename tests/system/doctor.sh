#!/usr/bin/env bash
# `partita doctor`: each thing of the host once, reasons where something is refused, exit codes.
. "$(dirname "$0")/lib.sh"

doctor() {
  local want=$1 got=0
  shift
  "$@" >"$work/out" 2>"$work/err" || got=$?
  [ "$got" = "$want" ] || fail "exit code $got instead of $want: $*"
}

case_report() {
  doctor 0 "$partita" doctor
  for name in translator KVM userfaultfd MPI 'shared memory' 'huge pages' overcommit files perf; do
    out_has "^(fine|limited) +$name "
  done
  [ ! -s "$work/err" ] || fail "something on stderr"
  doctor 2 "$partita" doctor --kwm
  one_message "'--kwm' is not an option"
}

# What it says of KVM is so: a machine starts, or says the same reason.
case_kvm() {
  local why state=0 got=0
  why=$("$partita" doctor --kvm) || state=$?
  [ -n "$why" ] || fail "no sentence"
  : >"$work/none"
  "$partita" run -M virt-x86 -kernel "$work/none" >"$work/out" 2>"$work/err" || got=$?
  [ $got = 2 ] || fail "exit code $got"
  if [ $state = 0 ]; then
    one_message "none'.*(empty|plausible|neither)"
  else
    grep -qF "$why" "$work/err" || fail "another reason than: $why"
  fi
}

# Without the right to open it: the reason, and a fallback is taken and told.
case_refused() {
  if [ "$(id -u)" != 0 ] || [ ! -e /dev/kvm ]; then skip "needs root and a /dev/kvm"; fi
  need setpriv
  cp "$partita" "$work/partita"
  chmod 755 "$work"
  local nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
  # shellcheck disable=SC2086 # words
  $nobody test ! -r /dev/kvm || skip "everybody may open /dev/kvm"
  # shellcheck disable=SC2086
  doctor 1 $nobody "$work/partita" doctor --kvm
  out_has '/dev/kvm: Permission denied .*group kvm'
  # shellcheck disable=SC2086
  doctor 0 $nobody "$work/partita" doctor
  out_has '^limited +KVM +/dev/kvm: Permission denied'
  # shellcheck disable=SC2086
  doctor 2 $nobody "$work/partita" run -M virt-x86 -accel kvm -kernel /dev/null
  one_message '-accel kvm: /dev/kvm: Permission denied'
  doctor 0 "$partita" run -accel kvm:jit --demo --expect . --timeout 60s
  err_has 'warning: -accel kvm: .*using jit'
}

main "$@"
