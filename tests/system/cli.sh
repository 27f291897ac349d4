#!/usr/bin/env bash
# What the program answers to command lines, files and guests: exit codes and messages.
set -u
failures=0

# Bare-metal guests as machine code; each begins at the start of RAM.
guest() { printf "$2" >"$1"; }
guest exit7 '\267\002\020\000\067\063\007\000\033\003\063\063\043\240\142\000\001\240'   # finisher: fail, 7
guest fail256 '\267\002\020\000\067\063\000\001\033\003\063\063\043\240\142\000\001\240' # fail, 256
guest off '\267\002\020\000\025\143\033\003\123\125\043\240\142\000\001\240'             # pass
guest reset '\267\002\020\000\035\143\033\003\163\167\043\240\142\000\001\240'           # reset
guest spin '\001\240'                                                                    # j .
guest hello '\267\002\000\020\023\003\360\004\043\200\142\000\023\003\260\004\043\200\142\000\001\240' # "OK", j .
{ head -c 20 hello && cat off; } >last # "OK" and off
# echoes what it receives until it has echoed a 'q', then powers off
guest echo '\267\002\000\020\003\303\122\000\023\163\023\000\343\014\003\376\203\303\002\000\043\200\162\000\023\016\020\007\343\224\303\377\267\002\020\000\067\123\000\000\033\003\123\125\043\240\142\000\157\000\000\000'

# check CODE TEXT WORD... : runs partita with WORDs; wants exit code CODE and TEXT in what it says.
check() {
  local want=$1 text=$2 said code
  shift 2
  said=$(timeout -k 5 60 "$PARTITA" "$@" 2>&1 </dev/null)
  code=$?
  if [ $code != "$want" ] || ! grep -qF -- "$text" <<<"$said"; then
    echo "FAILED: partita $*: exit code $code (want $want), want '$text' in:"
    printf '%s\n' "$said" | tail -n 5
    failures=$((failures + 1))
  fi
}

# the program
check 0 "partita run" --help
check 0 "partita 0." --version
check 2 "partita COMMAND"
check 2 "did you mean 'run'" rnu
check 0 "-smp N" run --help
check 2 "did you mean '-kernel'" run -kernl x
check 2 "nothing to run" run
check 0 'append: "a b"' run -kernel spin -append "a b" --dump-config

# the guest's end
bare=(run -bios none -kernel)
check 7 "" "${bare[@]}" exit7
check 7 "" "${bare[@]}" exit7 -accel interp
check 7 "" "${bare[@]}" exit7 -smp 3 --threads 2
check 7 "" run -bios exit7
check 1 "" "${bare[@]}" fail256
check 0 "" "${bare[@]}" off
check 0 "" "${bare[@]}" reset -no-reboot
check 124 "time" "${bare[@]}" reset --timeout 1
check 124 "still running after 0.5 s" "${bare[@]}" spin --timeout 0.5
check 124 "" "${bare[@]}" spin --timeout 500ms -accel interp -smp 2
check 0 "OK" "${bare[@]}" hello --expect 'O[K]' --timeout 20
check 0 "OK" "${bare[@]}" last --expect OK # the last bytes, which nothing follows, count
check 1 "'never' never matched; the guest powered off" "${bare[@]}" off --expect never
check 124 "--expect had not matched" "${bare[@]}" hello --expect never --timeout 0.5
check 7 "instructions" "${bare[@]}" exit7 --stats
check 7 "" "${bare[@]}" exit7 --clock virtual

# wrong files and values
: >empty
printf '\177ELF\002\001\001' >short.elf
head -c 65536 /bin/true >host.elf
head -c 100000 /dev/zero | gzip >Image.gz
check 2 "'missing': No such file" run -kernel missing
check 2 "is a directory" run -kernel .
check 2 "is empty" run -kernel empty
check 2 "cut short" run -kernel short.elf
check 2 "not for RISC-V" run -kernel host.elf
check 2 "gunzip" run -kernel Image.gz
check 2 "'missing': No such file" run -kernel spin -initrd missing
check 2 "'missing': No such file" run -kernel spin -bios missing
check 2 "missing" run -kernel spin -dtb missing
check 2 "empty" run -kernel spin -dtb empty
check 2 "missing.img" run -kernel spin -drive file=missing.img,format=raw
check 2 "directory" run -kernel spin -drive file=/tmp,format=raw
check 2 "--checkpoint-dir '/proc/x': cannot write there" "${bare[@]}" exit7 --checkpoint-dir /proc/x
check 2 "1 to 4096 harts" run -kernel spin -smp 0
check 2 "1 to 4096 harts" run -kernel spin -smp 100000
check 2 "qqq" run -kernel spin -cpu rv64,qqq=on
check 2 "more than this host has" run -kernel spin -m 60T
check 2 "regular expression" run -kernel spin --expect '('
check 2 "/nowhere/x" run -kernel spin -serial file:/nowhere/x
check 2 "-serial 'file:second' is number 2" run --demo -serial stdio -serial file:second
check 7 "" run -bios none -kernel exit7 -serial stdio -serial null
head -c 300M /dev/zero >huge # sparse is good enough: only its size counts
check 2 "does not fit" run -kernel huge -m 128M
rm -f huge

# images
check 2 "need --checkpoint-dir" "${bare[@]}" exit7 --checkpoint-every 1s
check 2 "'nowhere': No such file" restore nowhere
check 2 "'--ranks': the image comes first" restore --ranks 2 nowhere
check 0 "-ranks N" restore --help
check 2 "image ls: something is missing: partita image ls DIR" image ls
check 2 "image show: there is too much: partita image show IMAGE" image show a b
check 2 "'--kep' is not for it" image prune . --kep 3
check 2 "--keep needs N" image prune . --keep
check 2 "cannot reach a machine at 'nowhere'" checkpoint nowhere images
check 0 "exit code 85" checkpoint --help
rm -rf images
"$PARTITA" "${bare[@]}" spin --checkpoint-dir images --clock virtual --checkpoint-every 1ms --timeout 100 </dev/null >said 2>&1 &
spinning=$!
until grep -q '16 left out' said; do kill -0 $spinning 2>/dev/null || { echo "FAILED: no warning of too many images"; failures=$((failures + 1)); break; }; sleep 0.05; done
kill -TERM $spinning
wait $spinning
[ $? = 85 ] || { echo "FAILED: SIGTERM does not end with 85"; failures=$((failures + 1)); }
[ "$(grep -c 'left out' said)" -le 20 ] || { echo "FAILED: a warning for each image that is left out"; failures=$((failures + 1)); }
check 2 "-m: what a restored machine is made of" restore images -m 1G
check 2 "(partita restore --help" restore images --frobnicate
check 2 "the machine has fewer" "${bare[@]}" spin -n 2
check 124 "" restore images --timeout 0.1

# the device tree
check 0 "" run -smp 3 -dumpdtb tree.dtb -append 'a=b'
grep -qa 'a=b' tree.dtb || { echo "FAILED: -dumpdtb lacks the command line"; failures=$((failures + 1)); }
check 7 "" run -bios none -kernel exit7 -dtb tree.dtb
check 2 "cannot write" run -dumpdtb /nowhere/tree.dtb

# input: a pipe is fed to the guest, its end is not the guest's end
said=$(printf 'abc\001xq' | timeout 60 "$PARTITA" "${bare[@]}" echo --timeout 30 2>/dev/null)
[ "$said" = $'abc\001xq' ] || { echo "FAILED: echo through a pipe: '$said'"; failures=$((failures + 1)); }
printf 'file q' >input
said=$(timeout 60 "$PARTITA" "${bare[@]}" echo --timeout 30 2>/dev/null <input)
[ "$said" = 'file q' ] || { echo "FAILED: echo from a file: '$said'"; failures=$((failures + 1)); }
timeout 60 "$PARTITA" "${bare[@]}" exit7 <&- >/dev/null 2>&1
[ $? = 7 ] || { echo "FAILED: stdin closed"; failures=$((failures + 1)); }
timeout 60 "$PARTITA" "${bare[@]}" exit7 <&- >&- 2>&-
[ $? = 7 ] || { echo "FAILED: all closed"; failures=$((failures + 1)); }

# taking_signals PID : until it has a thread that waits for them, or has ended
taking_signals() { until grep -qsx signals "/proc/$1"/task/*/comm || ! kill -0 "$1" 2>/dev/null; do sleep 0.02; done; }

# signals; env, because a shell starts background jobs with SIGINT ignored
for signal in TERM:143 INT:130 HUP:129 QUIT:131; do
  env --default-signal=INT,QUIT "$PARTITA" "${bare[@]}" spin --timeout 30 </dev/null >/dev/null 2>&1 &
  taking_signals $!
  kill "-${signal%:*}" $!
  wait $!
  code=$?
  [ "$code" = "${signal#*:}" ] || { echo "FAILED: SIG${signal%:*}: exit code $code"; failures=$((failures + 1)); }
done
# one that was ignored from the start (nohup) stays ignored
(trap '' HUP; exec "$PARTITA" "${bare[@]}" spin --timeout 2 </dev/null >/dev/null 2>&1) &
taking_signals $!
kill -HUP $!
wait $!
[ $? = 124 ] || { echo "FAILED: an ignored SIGHUP ended the run"; failures=$((failures + 1)); }

[ $failures = 0 ] && echo "command lines, files and guests: as they should be"
exit $((failures != 0))
