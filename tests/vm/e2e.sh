#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Portal, gateway and client in --mode=kernel on whatever kernel this is, however slow the machine: both families
# through the tunnel, pings carried by the kernel on both sides, and a status that says where the keys are.
. "$(dirname "$0")/../netns/lib.sh"
. "$(dirname "$0")/../netns/e2e.sh"
need_lab
need_bpf
lab_up MODE=kernel

# kernel_packets GATEWAY-BEFORE CLIENT-BEFORE: what the kernel carried since, "gateway client".
kernel_packets()
{
	local g c

	read -r g _ < <(counters gateway)
	read -r c _ < <(counters client)
	echo "$((g - $1)) $((c - $2))"
}

# carried ADDR: 20 pings are 20 packets each way on both programs. A kernel that cannot turn an skb of one family
# into one of the other sends the inner family that is not the path's through user space; receiving it can.
full=0
carried()
{
	local g c

	read -r g c < <(kernel_packets 0 0)
	ping_ok "$1" 20 || return 1
	sleep 1.2
	read -r g c < <(kernel_packets "$g" "$c")
	echo "# 20 pings of $1: $g packets by the gateway's kernel, $c by the client's"
	[ "$g" -ge 36 ] && [ "$c" -ge 36 ] && full=$((full + 1))
	[ "$g" -ge 18 ] && [ "$c" -ge 18 ]
}

hidden=$(status gateway .kernel.keys_hidden)
for p in gateway client; do
	check "$p: kernel executor is active" [ "$(status $p .kernel.active)" = true ]
	check "$p: keys are hidden, or there is a reason" \
		[ "$(status $p '.kernel.keys_hidden != ((.kernel.keys_why // "") != "")')" = true ]
	echo "# $p: $(status $p '.kernel | "xdp \(.xdp_mode), dispatcher \(.dispatcher), tc \(.tc), keys_hidden \(.keys_hidden) \(.keys_why)"')"
done
iperf_server 5201
for a in $SERVER_V4 $SERVER_V6; do
	check_ping $a
	check "the kernel carries pings of $a" carried $a
	check "TCP with $a" iperf tcp -c $a -t 1 ${reverse:-}
	check "TCP with $a arrives" at_least "$(iperf_bps tcp)" 100000
	reverse=-R
done
check "both ways by the kernel: $full of 2 families" [ $full -ge "$([ "$hidden" = true ] && echo 2 || echo 1)" ]
check "a denied address is not reached" fails ping_once $DENIED_V4
finish
