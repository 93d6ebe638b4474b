#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# Queues of the tunnel device and the program that fills them, in a namespace of its own: h_tun-queues.c and
# h_tun-steer.c.
set -u
cd "$(dirname "$0")/../.." || exit 2
h=$PWD/${PENSTOCK_BUILD:-build}/tests/netns/h_tun-
ns=queues-$$
export PATH=$PATH:/usr/sbin:/sbin

skip() { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
ip netns add "$ns" 2>/dev/null || skip "cannot create a network namespace"
cleanup()
{
	ip netns del "$ns" 2>/dev/null
	rm -rf /sys/fs/bpf/penstock/h-queues
	rmdir /sys/fs/bpf/penstock 2>/dev/null
}
trap cleanup EXIT
trap 'exit 1' INT TERM

ip -n "$ns" link set lo up
ip -n "$ns" link add w0 type veth peer name w1
ip -n "$ns" link set w0 up
ip -n "$ns" link set w1 up
ip -n "$ns" addr add 10.99.0.1/32 dev lo
ip -n "$ns" addr add fd99::1/128 dev lo nodad
# Not "ip netns exec": that has a bpffs of its own.
rc=0
for part in queues steer; do
	nsenter --net="/run/netns/$ns" "$h$part" "$@" || rc=1
done
exit $rc
