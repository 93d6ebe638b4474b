#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One UDP flow keeps its order through the tunnel, whatever manner it is sent in (h_order.c): through the kernel, through user
# space, and while it changes hands between them, native and generic, both directions. Not one datagram is late.
# alone
# timeout: 600
. "$(dirname "$0")/lib.sh"
need_lab
. "$tests_dir/order_lib.sh"

# world WHAT ENV=VALUE…
world()
{
	local what=$1

	shift
	lab_up "$@"
	order_flow "$what" send 5401
	order_flow "$what" back 5402
}

for m in $(modes); do
	if [ "$m" = user ]; then
		world "user space" MODE=user
		world "user space, three workers" MODE=user PENSTOCK_WORKERS=3
		world "user space, the control thread alone" MODE=user PENSTOCK_WORKERS=0
	else
		world "kernel, native" MODE=kernel XDP_MODE=native
		world "both, generic" MODE=auto XDP_MODE=generic
	fi
done
finish
