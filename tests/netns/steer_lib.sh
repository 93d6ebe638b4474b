# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the tests of --steer share (t_steer.sh, t_xsk.sh): what status and the reasons say of an interface, and traffic of all
# kinds, whose order is watched. Sourced behind lib.sh and e2e.sh; ORDER_MS as in order_lib.sh.
. "$(dirname "$0")/order_lib.sh"

# wan PROGRAM FIELD-OR-FILTER
wan() { status "$1" ".wan[0] | $2"; }
reason() { lab ctl "$1" drops --json | jq -r --arg r "$2" '[.reasons[] | select(.reason == $r) | .packets] | add // 0'; }

# traffic STEER MODE: everything but the figures.
traffic()
{
	iperf_server 5201
	echo_server
	check_echo $SERVER_V4
	check_echo $SERVER_V6
	check_tcp up4 $SERVER_V4
	check_tcp down6 $SERVER_V6 -R
	small_packets "$2" $SERVER_V4
	order_flow "$1" send 5401
	order_flow "$1" back 5402
}
