#!/usr/bin/env bash
# Every extension that -cpu knows, switched off by itself: the machine runs a bare guest of RV64I or refuses clearly, and its
# device tree says what is missing, also when it comes back as -dtb.
. "$(dirname "$0")/lib.sh"

# lui t0,0x100; lui t1,5; addiw t1,t1,0x555; sw t1,0(t0); j . : the finisher's "pass"
write_guest() {
  printf '\267\002\020\000\067\123\000\000\033\003\123\125\043\240\142\000\157\000\000\000' >"$work/off"
}

tree_names() { fdtget "$1" /cpus/cpu@0 "$2" 2>/dev/null | tr ' ' '\n'; }

# says_so EXTENSION TREE : it is not among what the hart has, or among what it is without, or no mode of the MMU
says_so() {
  case $1 in
    s | u | pmp) tree_names "$2" partita,without | grep -qx "$1" ;;
    sv*[0-9]) ! tree_names "$2" mmu-type | grep -q "$1" ;;
    *) ! tree_names "$2" riscv,isa-extensions | grep -qx "$1" ;;
  esac
}

case_each_off() {
  need fdtget
  write_guest
  for name in m a f d c zicsr zifencei zicntr zihpm zba zbb zbs zicond zawrs zihintpause zicbom zicboz zicbop zacas \
    sstc svadu svinval svnapot svpbmt s u sv39 sv48 sv57 pmp; do
    partita_run 0 -m 16M -smp 2 -bios none -kernel "$work/off" -cpu "rv64,$name=off"
    partita_run 0 -m 16M -smp 2 -bios none -cpu "rv64,$name=off" -dumpdtb "$work/one.dtb"
    says_so "$name" "$work/one.dtb" || fail "$name=off: the device tree does not say so"
    partita_run 0 -bios none -kernel "$work/off" -dtb "$work/one.dtb"
    partita_run 0 -bios none -dtb "$work/one.dtb" -dumpdtb "$work/two.dtb"
    cmp "$work/one.dtb" "$work/two.dtb" || fail "$name=off: the tree changes on its way"
  done
}

case_base_stays() {
  partita_run 2 --demo -cpu rv64,i=off
  one_message 'the base i cannot be switched off'
}

# What a guest of ours cannot do without is said before it starts.
case_refusals() {
  for name in m a f d c zicntr; do
    partita_run 2 --demo -cpu "rv64,$name=off"
    one_message '--demo: the built-in guest needs [a-z]+, which hart 0 is without'
  done
  for name in s u zicsr; do
    partita_run 2 --demo -cpu "rv64,$name=off"
    one_message 'the built-in SBI needs S mode'
  done
}

# The built-in guest, interpreted and translated, without all it can do without.
case_demo_bare() {
  local off=zifencei=off,zihpm=off,zba=off,zbb=off,zbs=off,zicond=off,zawrs=off,zihintpause=off,zicbom=off,zicboz=off
  for engine in jit interp; do
    partita_run 0 --demo -smp 2 -accel $engine -cpu "rv64,$off,zacas=off,sstc=off,svadu=off,sv57=off,pmp=off"
    out_has 'primes below 1,000,000: right'
  done
}

main "$@"
