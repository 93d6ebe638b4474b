#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# --steer with each of its values but xsk (t_xsk.sh): the daemons start or say why not, status says what each interface does and why, traffic
# passes, the kernel carries it, and one flow keeps its order (h_order.c), native and generic.
# alone
# timeout: 420
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
need_lab
need_bpf
ORDER_MS=${ORDER_MS:-4000}
. "$(dirname "$0")/steer_lib.sh"

# refused PROGRAM VALUE SAYS
refused()
{
	local out

	out=$("$PENSTOCK_BUILD/penstock-$1" --api-url ws://127.0.0.1:1/ --steer="$2" --check 2>&1)
	check "$1 --steer=$2 is a usage error" [ $? = 2 ]
	check "$1 --steer=$2: says '$3'" grep -q -- "$3" <<<"$out"
}

for p in gateway client; do
	refused $p sideways "must be auto, rss, cpumap, busy or xsk"
done

cpumap_kernel() { [ "$(printf '6.18\n%s\n' "$(uname -r | cut -d- -f1)" | sort -V | head -n 1)" = 6.18 ]; }

for xdp in native generic; do
	lab_up MODE=kernel XDP_MODE=$xdp PENSTOCK_STEER=cpumap
	if ! cpumap_kernel; then
		for p in gateway client; do
			check "$p: without metadata there is no cpumap" [ "$(wan $p '"\(.steer) \(.steer_why)"')" = "rss cpumap needs Linux 6.18" ]
		done
		break
	fi
	for p in gateway client; do
		check "$xdp, $p: status says cpumap" [ "$(wan $p .steer)" = cpumap ]
		check "$xdp, $p: because it was asked for" [ "$(wan $p .steer_why)" = "asked for" ]
		check "$xdp, $p: XDP is $xdp" [ "$(wan $p .xdp_mode)" = $xdp ]
		check "$xdp, $p: status says so to people" grep -q 'steering cpumap (asked for)' <(lab ctl $p status)
	done
	traffic "cpumap, $xdp" kernel
	for p in gateway client; do
		echo "# $p: steered $(reason $p xdp_steered), decrypted $(reason $p xdp_delivered), no processor $(reason $p xdp_no_cpu)"
		check "$xdp, $p: frames were steered" at_least "$(reason $p xdp_steered)" 1000
		check "$xdp, $p: none found no processor" [ "$(reason $p xdp_no_cpu)" = 0 ]
		check "$xdp, $p: no forgeries, nothing decrypted astray" [ "$(reason $p xdp_bad_tag)" = 0 ]
	done
done

# Sparse traffic stays where it arrives, and a fast flow keeps its order while it changes processors.
if cpumap_kernel; then
	lab_up MODE=kernel XDP_MODE=generic PENSTOCK_STEER=auto
	for p in gateway client; do
		[ "$(nproc)" = 1 ] || check "auto, generic, $p: status says busy" [ "$(wan $p '"\(.steer) \(.steer_why)"')" = "busy one receive queue, and no RPS" ]
	done
	on client ping -q -c 200 -i 0.002 $SERVER_V4 >/dev/null
	check "busy: a ping is not steered" [ "$(reason gateway xdp_steered)" = 0 ]
	traffic busy kernel
	for p in gateway client; do
		echo "# $p: steered $(reason $p xdp_steered), decrypted $(reason $p xdp_delivered), no processor $(reason $p xdp_no_cpu)"
		check "busy, $p: none found no processor" [ "$(reason $p xdp_no_cpu)" = 0 ]
		check "busy, $p: no forgeries, nothing decrypted astray" [ "$(reason $p xdp_bad_tag)" = 0 ]
	done
fi

lab_up MODE=kernel PENSTOCK_STEER=rss
for p in gateway client; do
	check "rss, $p: status says so" [ "$(wan $p '"\(.steer) \(.steer_why)"')" = "rss asked for" ]
done
traffic rss kernel
check "rss: nothing is steered" [ "$(reason gateway xdp_steered)" = 0 ]

# What suits a veth of this machine; GRO as the lab has it.
lab_up MODE=auto PENSTOCK_STEER=auto
for p in gateway client; do
	check "auto, $p: is one of the three" grep -qxE 'rss|cpumap|busy' <<<"$(wan $p .steer)"
	check "auto, $p: says why" [ -n "$(wan $p .steer_why)" ]
	check "auto, $p: queues are known" [ "$(wan $p .rx_queues)" = 1 ]
	check "auto, $p: advice is there without GRO only" [ "$(wan $p '.advice != null')" = "$(wan $p '.gro | not')" ]
done
[ "$(nproc)" != 2 ] || ! cpumap_kernel ||
	check "auto, native: two processors are served by their queues" [ "$(wan gateway '"\(.steer) \(.steer_why)"')" = "rss two processors" ]
check_ping $SERVER_V4
nsenter --net="/run/netns/$PENSTOCK_LAB-gateway" ethtool -K eth0 gro off >/dev/null
check "GRO off: status advises" grep -q 'GRO is off' <<<"$(wan gateway .advice)"
nsenter --net="/run/netns/$PENSTOCK_LAB-gateway" ethtool -K eth0 gro on >/dev/null
check "GRO on: it does not" [ "$(wan gateway .advice)" = null ]

lab_up MODE=user PENSTOCK_STEER=cpumap
check "user space alone: there is nothing to steer" [ "$(wan gateway '"\(.steer) \(.steer_why)"')" = "rss mode is user" ]
check_ping $SERVER_V4
finish
