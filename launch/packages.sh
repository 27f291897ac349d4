# shellcheck shell=bash
# Sourced by quickstart.sh and tests/check.sh: Debian packages, and lines that say what is going on.

# Those of the given packages that are not installed.
packages_missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

# packages_install PACKAGE... : installs what is missing, as root or through sudo; else says how and fails (2).
packages_install() {
  local missing sudo=
  command -v dpkg-query >/dev/null || { echo "This is not a Debian system: please install by hand: $*"; return 0; }
  missing=$(packages_missing "$@" | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      echo "These packages are missing and root rights with them. Please run:"
      echo "  apt-get update && apt-get install -y --no-install-recommends $missing"
      return 2
    fi
    sudo=sudo
  fi
  echo "  installing: $missing"
  # shellcheck disable=SC2086 # words, on purpose
  { $sudo apt-get -qq update && $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends $missing; } >/dev/null || {
    echo "apt-get could not install: $missing"
    return 2
  }
}

# cmake_generator DIR : options for a first configuration of DIR; Ninja when it is there.
cmake_generator() {
  if [ ! -f "$1/CMakeCache.txt" ] && command -v ninja >/dev/null; then echo "-GNinja"; fi
}

# bold TEXT, for step lines on a terminal
bold() {
  if [ -t 1 ]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi
}
