#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One UDP flow keeps its order through the tunnel, whatever manner it is sent in (h_order.c): through the kernel, through user
# space, and while it changes hands between them, native and generic, both directions. Not one datagram is late.
# timeout: 420
. "$(dirname "$0")/lib.sh"
need_lab
helper=$PENSTOCK_BUILD/tests/netns/h_order
[ -x "$helper" ] || fatal "$helper is not built"
MS=${ORDER_MS:-8000}
seed=${ORDER_SEED:-$RANDOM}

# flow WHAT send|back PORT
flow()
{
	local out=$tmp/order.$3 rc

	bg server "$helper" recv "$SERVER_V4" "$3" >"$out"
	pid=$!
	sleep 0.3
	if [ "$2" = send ]; then
		on client "$helper" send "$SERVER_V4" "$3" "$MS" "$seed"
		wait $pid
		rc=$?
	else
		on client "$helper" back "$SERVER_V4" "$3" "$MS" "$seed" >"$out"
		rc=$?
		wait $pid
	fi
	sed "s/^/# $1, $2: /" "$out" | tail -n 12
	check "$1, $2: nothing is late or twice (seed $seed)" [ $rc = 0 ]
	check "$1, $2: what was sent arrived" awk -F'[= ]' '/^sent=/ { ok = $4 >= 0.98 * $2 } END { exit !ok }' "$out"
}

# world WHAT ENV=VALUE…
world()
{
	local what=$1

	shift
	lab_up "$@"
	flow "$what" send 5401
	flow "$what" back 5402
}

for m in $(modes); do
	if [ "$m" = user ]; then
		world "user space" MODE=user
	else
		world "kernel, native" MODE=kernel XDP_MODE=native
		world "both, generic" MODE=auto XDP_MODE=generic
	fi
done
finish
