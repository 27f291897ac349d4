#!/usr/bin/env bash
# apt.sh STATE SUITE apt-get|apt-cache ARGS... : apt for packages of a Debian suite and of GUEST_ARCH (riscv64), with a state
# directory of its own.
# It uses the mirror this host is configured with and Debian's keyring, and changes nothing on the host.
set -eu
state=$(mkdir -p "$1" && cd "$1" && pwd)
suite=$2
tool=$3
arch=${GUEST_ARCH:-riscv64}
shift 3

# The first Debian mirror of the host: deb822 files first, then one-line sources.
host_mirror() {
  local found
  found=$(sed -n 's/^URIs: *\([^ ]*\/debian\/*\)\( .*\)*$/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
  [ -n "$found" ] || found=$(sed -n 's/^deb \(\[[^]]*\] \)*\([^ ]*\/debian\/*\) .*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1)
  echo "${found:-http://deb.debian.org/debian}"
}

mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/empty"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -s "$keyring" ] || { echo "apt.sh: $keyring is missing (package debian-archive-keyring)" >&2; exit 1; }
echo "deb [signed-by=$keyring arch=$arch] $(host_mirror) $suite main" >"$state/sources.list"
exec "$tool" \
  -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts="$state/empty" \
  -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$state/empty" \
  -o Dir::State::Lists="$state/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$state/cache" \
  -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o Acquire::Languages=none \
  -o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any "$@"
