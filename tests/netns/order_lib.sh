#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One UDP flow through the tunnel in every manner, and its order (h_order.c). Sourced by tests after lib.sh.
order=$PENSTOCK_BUILD/tests/netns/h_order
[ -x "$order" ] || fatal "$order is not built"
ORDER_MS=${ORDER_MS:-8000} ORDER_SEED=${ORDER_SEED:-$RANDOM}

# order_flow WHAT send|back PORT: from the client to the server, or back.
order_flow()
{
	local out=$tmp/order.$3 rc

	bg server "$order" recv "$SERVER_V4" "$3" >"$out"
	pid=$!
	sleep 0.3
	if [ "$2" = send ]; then
		on client "$order" send "$SERVER_V4" "$3" "$ORDER_MS" "$ORDER_SEED"
		wait $pid
		rc=$?
	else
		on client "$order" back "$SERVER_V4" "$3" "$ORDER_MS" "$ORDER_SEED" >"$out"
		rc=$?
		wait $pid
	fi
	sed "s/^/# $1, $2: /" "$out" | tail -n 12
	check "$1, $2: nothing is late or twice (seed $ORDER_SEED)" [ $rc = 0 ]
	check "$1, $2: what was sent arrived" awk -F'[= ]' '/^sent=/ { ok = $4 >= 0.98 * $2 } END { exit !ok }' "$out"
}
