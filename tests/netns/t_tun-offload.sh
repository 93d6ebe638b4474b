#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# Segmentation and joining against the kernel's own, in a namespace of its own: h_tun-offload.c.
set -u
cd "$(dirname "$0")/../.." || exit 2
h=$PWD/${PENSTOCK_BUILD:-build}/tests/netns/h_tun-offload
ns=off-$$
export PATH=$PATH:/usr/sbin:/sbin

skip() { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
ip netns add "$ns" 2>/dev/null || skip "cannot create a network namespace"
trap 'ip netns del "$ns" 2>/dev/null' EXIT
trap 'exit 1' INT TERM

ip -n "$ns" link set lo up
ip -n "$ns" addr add 10.99.0.1/32 dev lo
ip -n "$ns" addr add fd99::1/128 dev lo nodad
ip netns exec "$ns" "$h" "$@"
