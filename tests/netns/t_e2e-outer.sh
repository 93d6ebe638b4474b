#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The same small packets over the other outsides: IPv4 only (through NAT and without), IPv6 only, generic XDP,
# and no XDP at all, where the kernel still encrypts and sends.
# timeout: 300
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
need_lab
need_bpf

one()
{
	local name=$1 want=$2
	shift 2
	echo "# $name"
	lab_up "$@"
	iperf_server 5201
	echo_server
	check_echo $SERVER_V4
	check_echo $SERVER_V6
	small_packets "$want" $SERVER_V4
	small_packets "$want" $SERVER_V6
	check "$name: the remote candidate has the right family" remote_is "$*"
}

remote_is()
{
	local addr

	addr=$(lab ctl client peers --json | jq -r '.peers[0].remote.addr')
	case $1 in *LAB_IPV6_ONLY=1*) [ "${addr:0:1}" = "[" ] ;; *LAB_IPV4_ONLY=1*) [ "${addr:0:1}" != "[" ] ;; *) [ -n "$addr" ] ;; esac
}

one "IPv4 through NAT" kernel MODE=kernel XDP_MODE=native LAB_IPV4_ONLY=1
one "IPv4 without NAT" kernel MODE=kernel LAB_CLIENT_NAT=0 LAB_IPV4_ONLY=1
one "IPv6" kernel MODE=kernel XDP_MODE=native LAB_IPV6_ONLY=1
one "generic XDP" kernel MODE=kernel XDP_MODE=generic LAB_CLIENT_NAT=1
one "no XDP" either MODE=kernel XDP_MODE=off LAB_CLIENT_NAT=1
check "no XDP: nothing is received by the kernel" [ "$(status gateway .counters.kernel_rx_packets)" = 0 ]
check "no XDP: the kernel sends" at_least "$(status gateway .counters.kernel_tx_packets)" 5000
finish
