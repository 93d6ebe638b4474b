#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 90
#
# io/resolver in a namespace of its own, against a name server on its loopback: h_resolver's tests.
set -u
cd "$(dirname "$0")/../.." || exit 2
h=$PWD/${PENSTOCK_BUILD:-build}/tests/netns/h_resolver
ns=resolver-$$
export PATH=$PATH:/usr/sbin:/sbin

skip() { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
ip netns add "$ns" 2>/dev/null || skip "cannot create a network namespace"
trap 'ip netns del "$ns" 2>/dev/null' EXIT
trap 'exit 1' INT TERM

ip -n "$ns" link set lo up
ip netns exec "$ns" "$h"
