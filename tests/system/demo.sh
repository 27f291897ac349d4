#!/usr/bin/env bash
# The built-in demo on both engines and several harts: computes right and powers off.
set -u
for options in "-smp 1" "-smp 4 --threads 2" "-smp 3 -accel interp" "-smp 2 --clock virtual" "-smp 40 -m 64M"; do
  # shellcheck disable=SC2086
  said=$(timeout 120 "$PARTITA" run --demo $options --timeout 100 </dev/null 2>&1)
  code=$?
  harts=$(cut -d' ' -f2 <<<"$options")
  if [ $code != 0 ] || ! grep -q '78,498 primes below 1,000,000: right' <<<"$said" ||
    ! grep -q "harts     $harts hart" <<<"$said"; then
    echo "FAILED: --demo $options: exit code $code"
    printf '%s\n' "$said" | tail -n 20
    exit 1
  fi
done
