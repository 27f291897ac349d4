#!/usr/bin/env bash
# hosts.sh HOSTS RANKS COMMAND... : runs COMMAND as RANKS ranks on HOSTS hosts made of network namespaces of this machine,
# joined by a bridge: TCP between them, shared memory within. Root only (exit code 77 after "SKIP: reason" elsewhere).
# RANKS are dealt round: hosts.sh 2 3 has two on node1, one on node2. MPIRUN_OPTIONS go to mpirun; HOSTS_READY names a file
# that gets the words by which a command runs inside node N, for tests that break a link:  $(cat FILE)N COMMAND
#   tests/mpi/hosts.sh 2 2 build/tests/mpi/ic_pingpong
set -u
[ $# -ge 3 ] || { sed -n '2,6s/^# //p' "$0"; exit 2; }
hosts=$1 ranks=$2
shift 2
[ "$(id -u)" = 0 ] || { echo "SKIP: network namespaces need root"; exit 77; }
for tool in ip unshare mpirun; do
  command -v $tool >/dev/null || { echo "SKIP: $tool is not installed"; exit 77; }
done
id=p$$ # several of us may run at once
dir=$(mktemp -d "${TMPDIR:-/tmp}/partita-hosts.XXXXXX")

down() {
  local n
  for ((n = 1; n <= hosts; n++)); do ip netns del ${id}n$n 2>/dev/null; done
  ip netns del ${id}sw 2>/dev/null
  rm -rf "$dir"
}
trap down EXIT
trap 'exit 143' TERM INT

up() {
  local n
  ip netns add ${id}sw && ip -n ${id}sw link add br0 type bridge && ip -n ${id}sw link set br0 up || return
  for ((n = 1; n <= hosts; n++)); do
    ip netns add ${id}n$n &&
      ip link add veth0 netns ${id}n$n type veth peer name port$n netns ${id}sw &&
      ip -n ${id}sw link set port$n master br0 up &&
      ip -n ${id}n$n addr add 10.77.0.$n/24 dev veth0 &&
      ip -n ${id}n$n link set veth0 up && ip -n ${id}n$n link set lo up || return
  done
}

# Instead of ssh. Each host needs a name of its own: Open MPI takes ranks with equal host names for neighbours.
cat >"$dir/agent" <<X
#!/bin/sh
host=\$1; shift
n=\${host##*.}
exec ip netns exec ${id}n\$n unshare --uts sh -c 'hostname "\$0"; exec sh -c "\$1"' node\$n "\$*"
X
chmod +x "$dir/agent"

up 2>"$dir/log" || { echo "SKIP: no network namespaces here: $(tail -n 1 "$dir/log")"; exit 77; }
[ -z "${HOSTS_READY:-}" ] || echo "ip netns exec ${id}n" >"$HOSTS_READY"

# One line a host with its number of ranks. RTT and bandwidth are the kernel's: there is no delay on the links.
for ((n = 1; n <= hosts; n++)); do
  echo "10.77.0.$n slots=$(((ranks + hosts - n) / hosts))"
done | grep -v 'slots=0' >"$dir/hostfile"

# shellcheck disable=SC2086 # words
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ip netns exec ${id}n1 unshare --uts sh -c 'hostname node1; exec "$@"' sh \
  mpirun -np "$ranks" --hostfile "$dir/hostfile" --oversubscribe --bind-to none --mca plm_rsh_agent "$dir/agent" \
  --mca oob_tcp_if_include 10.77.0.0/24 --mca btl vader,tcp,self --mca btl_tcp_if_include 10.77.0.0/24 \
  ${MPIRUN_OPTIONS:-} "$@" &
job=$!
trap 'kill $job 2>/dev/null; wait $job; exit 143' TERM INT
wait $job
