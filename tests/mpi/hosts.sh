#!/usr/bin/env bash
# hosts.sh HOSTS RANKS COMMAND... : runs COMMAND as RANKS ranks on HOSTS hosts made of network namespaces of this machine,
# joined by a bridge: TCP between them, shared memory within. Root only (exit code 77 after "SKIP: reason" elsewhere).
# The first hosts get the ranks that are over: hosts.sh 2 3 has two on node1 and one on node2.
#   tests/mpi/hosts.sh 2 2 build/tests/mpi/ic_pingpong
# Environment: MPIRUN_OPTIONS go to mpirun. HOSTS_READY names a file that gets the words by which a command runs inside
# node N, for tests that break a link:  $(cat FILE)N COMMAND.  HOSTS_CLOCKS=1: CLOCK_MONOTONIC of node N is N * 1000 s
# ahead.  HOSTS_BLOCKED=1: what MPI sends between hosts is dropped, as by a firewall (mpirun's own connections are not);
# HOSTS_BLOCKED=2-1: only what node 2 sends to node 1 (its Ethernet address is wrong there).
set -u
[ $# -ge 3 ] || { sed -n '2,9s/^# //p' "$0"; exit 2; }
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

# wire N I : interface vethI of node N, 10.77.I.N, at bridge brI.
wire() {
  ip link add veth$2 netns ${id}n$1 type veth peer name port$2n$1 netns ${id}sw &&
    ip -n ${id}sw link set port$2n$1 master br$2 up &&
    ip -n ${id}n$1 addr add 10.77.$2.$1/24 dev veth$2 &&
    ip -n ${id}n$1 link set veth$2 up
}

# Network 0 is mpirun's, network 1 MPI's.
up() {
  local n i
  ip netns add ${id}sw || return
  for i in 0 1; do
    ip -n ${id}sw link add br$i type bridge && ip -n ${id}sw link set br$i up || return
  done
  for ((n = 1; n <= hosts; n++)); do
    ip netns add ${id}n$n && ip -n ${id}n$n link set lo up && wire $n 0 && wire $n 1 || return
    [ "${HOSTS_BLOCKED:-}" != 1 ] || bridge -n ${id}sw link set dev port1n$n isolated on || return
  done
}

one_way() { ip -n ${id}n${1%-*} neigh replace 10.77.1.${1#*-} lladdr 02:00:00:00:00:01 dev veth1 nud permanent; }

# clock_of N : how node N's namespaces are made.
clock_of() { echo "--uts${HOSTS_CLOCKS:+ --time --monotonic $1}${HOSTS_CLOCKS:+000}"; }

# Instead of ssh. Each host needs a name of its own: Open MPI takes ranks with equal host names for neighbours.
cat >"$dir/agent" <<X
#!/bin/sh
host=\$1; shift
n=\${host##*.}
exec ip netns exec ${id}n\$n unshare $(clock_of '${n}') sh -c 'hostname "\$0"; exec sh -c "\$1"' node\$n "\$*"
X
chmod +x "$dir/agent"

up 2>"$dir/log" && case "${HOSTS_BLOCKED:-}" in *-*) one_way "$HOSTS_BLOCKED" ;; esac 2>"$dir/log" || { echo "SKIP: no network namespaces here: $(tail -n 1 "$dir/log")"; exit 77; }
[ -z "${HOSTS_READY:-}" ] || echo "ip netns exec ${id}n" >"$HOSTS_READY"

# One line a host with its number of ranks. RTT and bandwidth are the kernel's: there is no delay on the links.
for ((n = 1; n <= hosts; n++)); do
  echo "10.77.0.$n slots=$(((ranks + hosts - n) / hosts))"
done | grep -v 'slots=0' >"$dir/hostfile"

# shellcheck disable=SC2086 # words
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ip netns exec ${id}n1 unshare $(clock_of 1) sh -c 'hostname node1; exec "$@"' sh \
  mpirun -np "$ranks" --hostfile "$dir/hostfile" --oversubscribe --bind-to none --mca plm_rsh_agent "$dir/agent" \
  --mca oob_tcp_if_include 10.77.0.0/24 --mca btl vader,tcp,self --mca btl_tcp_if_include 10.77.1.0/24 \
  ${MPIRUN_OPTIONS:-} "$@" &
job=$!
trap 'kill $job 2>/dev/null; wait $job; exit 143' TERM INT
wait $job
