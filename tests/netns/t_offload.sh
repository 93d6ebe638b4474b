#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# --offload=off: no packet is joined or cut by either end, status says so, and everything arrives; on, which is the default,
# the same transfer goes in trains, where the kernel has them.
. "$(dirname "$0")/lib.sh"
need_lab

# PROGRAM: what went joined, all ways together
joined() { status "$1" '.bulk | .tun.rx_super + .tun.tx_super + .udp.rx_merged + .udp.tx_merged'; }
offloads() { status "$1" '.bulk | [.tun.tso, .tun.uso, .tun.joins_tcp, .tun.joins_udp, .udp.gro, .udp.gso] | any'; }

# Both ways.
transfers()
{
	check "$1: TCP up" iperf up -c $SERVER_V4 -p 5201 -n 20M
	check "$1: TCP down" iperf down -c $SERVER_V4 -p 5201 -n 20M -R
}

for how in off on; do
	lab_up MODE=user PENSTOCK_OFFLOAD=$how
	iperf_server 5201
	transfers $how
	for h in client gateway; do
		if [ $how = off ]; then
			check "off: none in use at the $h" [ "$(offloads $h)" = false ]
			check "off: nothing went joined at the $h" [ "$(joined $h)" = 0 ]
			check "off: status says so in words" grep -q 'without offloads.*without offloads' <(lab ctl $h status)
		elif [ "$(offloads $h)" = true ]; then
			check "on: trains at the $h" at_least "$(joined $h)" 100
		else
			echo "# this kernel has no offloads for the $h"
		fi
	done
done
finish
