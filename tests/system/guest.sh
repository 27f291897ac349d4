#!/usr/bin/env bash
# Fixture of the tests with a Debian guest: fetches it once. No network: they are skipped with a reason.
. "$(dirname "$0")/lib.sh"
for tool in dpkg-deb apt-get cpio depmod xz; do need $tool; done
"$top/launch/guest/fetch.sh" "$guest" 2>&1 || skip "cannot fetch the Debian guest (network? mirror?)"
echo "ok: guest in $guest"
