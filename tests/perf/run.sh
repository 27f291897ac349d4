#!/usr/bin/env bash
# run.sh [OPTIONS] : builds the benchmark guests and runs them on QEMU and Partita in turn; see README.md.
# QEMU= and PARTITA= name the two programs; the guests go to build/perf (PERF_DIR=).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export PERF_DIR=${PERF_DIR:-$top/build/perf} PARTITA=${PARTITA:-$top/build/partita}
export GUEST_DIR=${GUEST_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/partita/guest}

for need in riscv64-linux-gnu-gcc python3; do
  command -v "$need" >/dev/null || { echo "run.sh: $need is missing" >&2; exit 2; }
done
mkdir -p "$PERF_DIR"
stamp=$PERF_DIR/sources.sum
sum=$(cat "$here"/*.[hs]* "$here"/*/*.[chSl]* | cksum)
if [ "$sum" != "$(cat "$stamp" 2>/dev/null)" ]; then
  "$here/build.sh" "$PERF_DIR" >/dev/null
  echo "$sum" >"$stamp"
fi
export PYTHONPATH=$here
if [ "${1:-}" = images ]; then exec python3 "$here/images/images.py" "${@:2}"; fi
if [ "${1:-}" = migrate ]; then exec python3 "$here/migrate/migrate.py" "${@:2}"; fi
exec python3 "$here/run.py" "$@"
