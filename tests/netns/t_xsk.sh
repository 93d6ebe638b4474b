#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# --steer=xsk: what user space receives comes by AF_XDP (copied: a veth has no zero-copy mode). Status says so and counts it, bytes
# and order are right in every mode, a full ring loses and reorders nothing, revocation holds, a relay's channels stay with the
# sockets, and nothing is left behind. Where it cannot be, status says why and the sockets receive.
# alone
# timeout: 600
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
need_lab
need_bpf
ORDER_MS=${ORDER_MS:-3000}
. "$(dirname "$0")/steer_lib.sh"

pid_of() { cut -d' ' -f1 "$state/pids/$1"; }
# xsk PROGRAM FIELD
xsk() { wan "$1" ".xsk.$2"; }
handed() { echo $(($(xsk "$1" packets) + $(xsk "$1" dropped))); }

says_so()
{
	local p

	for p in gateway client; do
		check "$1, $p: status says xsk" [ "$(wan $p '"\(.steer) \(.steer_why)"')" = "xsk asked for" ]
		check "$1, $p: one socket, copied, native" [ "$(wan $p '"\(.xsk.sockets) \(.xsk.zero_copy) \(.xdp_mode)"')" = "1 false native" ]
		check "$1, $p: 16 MiB" [ "$(xsk $p bytes)" = $((16 << 20)) ]
		check "$1, $p: status says so to people" grep -q 'AF_XDP, copied' <(lab ctl $p status)
	done
}

# all_of_it WHAT: what the program redirected the sockets have had, and nothing was unreadable.
all_of_it()
{
	local p

	for p in gateway client; do
		echo "# $1, $p: by AF_XDP $(xsk $p packets), dropped $(xsk $p dropped), received in user space $(status $p .counters.user_rx_packets)"
		# The two are read one after the other, and timers send now and then.
		check "$1, $p: all that was redirected came" wait_for 3 eval "[ \"\$(reason $p xdp_xsk)\" = \"\$(handed $p)\" ]"
		check "$1, $p: nothing malformed" [ "$(xsk $p malformed)" = 0 ]
		check "$1, $p: no forgeries" [ "$(reason $p urx_bad_tag)" = 0 ]
	done
}

# ---- every mode ----
lab_up MODE=user PENSTOCK_STEER=xsk
says_so user
for p in gateway client; do
	check "user, $p: the kernel carries nothing" [ "$(status $p '"\(.kernel.active) \(.kernel.why)"')" = "false mode is user" ]
done
traffic user user
all_of_it user
for p in gateway client; do
	check "user, $p: data came by AF_XDP" at_least "$(xsk $p packets)" "$(($(status $p .counters.user_rx_packets) * 99 / 100))"
done

# ---- revocation ----
check "revoke: before, it passes" ping_once $SERVER_V4
portal_edit '.policies |= map(select(.resource != "server-v4"))'
check "revoke: within 2 s nothing passes" wait_for 2 fails ping_once $SERVER_V4
check "revoke: the other resource does" ping_once $SERVER_V6
portal_edit '.policies += [{group: "staff", resource: "server-v4"}]'
check "grant: it passes again" wait_for 5 ping_once $SERVER_V4

# ---- a ring that is full: the gateway stands still while a flow goes on ----
bg server "$order" recv "$SERVER_V4" 5403 >"$tmp/full"
pid=$!
sleep 0.3
bg client "$order" send "$SERVER_V4" 5403 4000 "$ORDER_SEED"
sender=$!
bg client iperf3 -c $SERVER_V4 -u -l 300 -b 60M -t 4 >/dev/null 2>&1
flood=$!
gateway_pid=$(pid_of gateway)
for _ in 1 2 3; do
	sleep 0.5
	kill -STOP "$gateway_pid"
	sleep 0.7
	kill -CONT "$gateway_pid"
done
wait $sender $flood
wait $pid
check "full: nothing is late or twice (seed $ORDER_SEED)" [ $? = 0 ]
sed 's/^/# full: /' "$tmp/full"
echo "# full: dropped $(xsk gateway dropped)"
check "full: frames were lost for want of room" at_least "$(xsk gateway dropped)" 1
all_of_it full
check "full: the tunnel goes on" ping_ok $SERVER_V4 3

# ---- the client's sockets anew, on new ports ----
kill -HUP "$(pid_of client)"
check "reset: passes again" wait_for 20 ping_once $SERVER_V4
n=$(xsk client packets)
check "reset: pings pass" ping_ok $SERVER_V4 5
check "reset: by AF_XDP" at_least "$(xsk client packets)" $((n + 5))

# ---- the end ----
left()
{
	find "/sys/fs/bpf/penstock/$PENSTOCK_LAB-gateway" 2>/dev/null
	nsenter --net="/run/netns/$PENSTOCK_LAB-gateway" sh -c 'ip -d link show eth0 | grep -o "prog/xdp.*"'
}
check "stop: the gateway runs with its program (or this test sees nothing)" grep -q xdp <<<"$(left)"
check "stop: ends on SIGTERM" lab stop gateway
check "stop: nothing is left" [ -z "$(left)" ]
MODE=user PENSTOCK_STEER=xsk lab start gateway
check "stop: a new start works" wait_for 30 ping_once $SERVER_V4
kill -9 "$(pid_of gateway)"
sleep 0.5
lab stop gateway >/dev/null 2>&1
MODE=user PENSTOCK_STEER=xsk lab start gateway
check "kill -9: a new start works" wait_for 30 ping_once $SERVER_V4
check "kill -9: by AF_XDP" at_least "$(xsk gateway packets)" 1

lab_up MODE=auto PENSTOCK_STEER=xsk PENSTOCK_WORKERS=2
says_so auto
traffic auto auto
all_of_it auto
for p in gateway client; do
	check "auto, $p: both executors received" at_least "$(xsk $p packets)" 1000
	check "auto, $p: the kernel as well" at_least "$(status $p .counters.kernel_rx_packets)" 1000
done

lab_up MODE=kernel PENSTOCK_STEER=xsk
says_so kernel
traffic kernel kernel
all_of_it kernel

# ---- IPv6 outside ----
lab_up MODE=user PENSTOCK_STEER=xsk LAB_IPV6_ONLY=1
echo_server
check_echo $SERVER_V4
all_of_it "IPv6 outside"
check "IPv6 outside: by AF_XDP" at_least "$(xsk gateway packets)" 100

# ---- a relay's channels ----
lab_up MODE=user PENSTOCK_STEER=xsk LAB_RELAYS=1 LAB_DIRECT=0
echo_server
check "relayed: it is" [ "$(lab ctl client peers --json | jq -r '.peers[0].path')" = relayed ]
check_echo $SERVER_V4
for p in gateway client; do
	echo "# relayed, $p: by AF_XDP $(xsk $p packets) of $(status $p .counters.user_rx_packets)"
	[ $((20 * $(xsk $p packets))) -gt "$(status $p .counters.user_rx_packets)" ] || channels=$p
done
check "relayed: the sockets of the end that has channels have it" [ -n "${channels:-}" ]

# ---- where it cannot be ----
# cannot WHAT SAYS ENV=VALUE…
cannot()
{
	local what=$1 says=$2 p

	shift 2
	lab_up PENSTOCK_STEER=xsk "$@"
	for p in gateway client; do
		check "$what, $p: says why" [ "$(wan $p '"\(.steer) \(.steer_why) \(.xsk)"')" = "rss $says null" ]
	done
	check_ping $SERVER_V4
}
cannot "user, no workers" "xsk needs workers" MODE=user PENSTOCK_WORKERS=0
cannot "auto, generic" "xsk needs native XDP" MODE=auto XDP_MODE=generic
cannot "user, no receive program" "xsk: no receive program" MODE=user XDP_MODE=off

# Somebody else has the queue's socket.
lab_up MODE=user PENSTOCK_STEER=xsk
lab stop gateway
bg gateway "$PENSTOCK_BUILD/tests/netns/h_xsk" eth0 >"$tmp/h_xsk" 2>&1
holder=$!
wait_for 5 grep -q holding "$tmp/h_xsk" || fatal "$(cat "$tmp/h_xsk")"
MODE=user PENSTOCK_STEER=xsk lab start gateway
check "taken: the sockets receive" wait_for 30 ping_once $SERVER_V4
check "taken: says why" [ "$(wan gateway '"\(.steer) \(.steer_why) \(.xsk)"')" = "rss queue 0: Device or resource busy null" ]
kill $holder

lab_up MODE=auto PENSTOCK_STEER=auto
check "auto does not take what copies" grep -qxE 'rss|cpumap' <<<"$(wan gateway .steer)"
finish
