#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The portal on the wire: the real program, ws and wss, played against by a bare WebSocket client. What it
# answers to right and wrong requests and frames, reloads by rename, in place and by SIGHUP, restarts, limits.
#
# timeout: 240
set -u
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root (a network namespace)"
for t in python3 openssl unshare ip; do
	command -v $t >/dev/null || skip "'$t' is not installed"
done
unshare -n true 2>/dev/null || skip "network namespaces are not available here"
[ -x "$PENSTOCK_BUILD/penstock-portal" ] || fatal "$PENSTOCK_BUILD/penstock-portal is not built"

unshare -n bash -c 'ip link set lo up && exec python3 "$@"' - tests/netns/portal_wire.py "$PENSTOCK_BUILD/penstock-portal" "$tmp"
