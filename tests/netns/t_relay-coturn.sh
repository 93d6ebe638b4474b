#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# coturn as the relay of client and gateway, by time-limited credentials out of the portal's configuration: everything
# of the end-to-end test through it; one TCP transfer when its credentials and then its process are replaced.
# timeout: 400
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
. "$(dirname "$0")/relayed.sh"
LOSS_BIG=25 LOSS_SMALL=40 # one more process, or two more trips through softirq, on the same processors
ends_differ=10 # coturn keeps little for a moment in which it does not run
need_lab
command -v turnserver >/dev/null || skip "coturn is not installed"

for mode in $(modes); do
	echo "# $mode"
	lab_up MODE="$mode" LAB_DIRECT=0 LAB_RELAYS=2 LAB_RELAY=coturn
	everything "$mode" relayed
	check "$mode: still relayed" path_is relayed
done

stream_start
check "both relays are held" wait_for 20 both_allocated 2

# Other secrets: the relays' own first, as a deployment would.
for n in 1 2; do
	lab relay $n kill
	sed -i "s/^static-auth-secret=.*/static-auth-secret=another-secret/" "$state/relay$n.conf"
	wait_for 5 eval "! program_runs relay$n"
	lab relay $n start
done
portal_edit '.static_relays |= map(.shared_secret = "another-secret")'
took "the transfer goes on with other secrets" 60 stream_moves 60
check "both relays are held with other secrets" wait_for 40 both_allocated 2
check "it was one transfer" stream_held
check "the path is relayed" path_is relayed

# One of two goes without the portal knowing.
n=$(carrier)
lab relay "${n:-1}" kill
took "the transfer goes on by the other relay" 60 stream_moves 60
check "by the other one" wait_for 10 uses $((3 - ${n:-1}))
check "it was one transfer to the end" stream_held
stream_stop
finish
