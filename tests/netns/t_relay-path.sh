#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The direct path is blocked and the packets go through a relay, here coturn: the kernel opens and makes the channel
# framing on both sides, user space alone does it as well, and the path moves to direct and back under a stream.
# timeout: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
need_lab
need_bpf
command -v turnserver >/dev/null || skip "coturn is not installed"

peer() { lab ctl "$1" peers --json | jq -r ".peers[0] | $2"; }
path_is() { [ "$(peer client .path)" = "$1" ]; }
# Channel data that the kernel of PROGRAM has opened.
channel_packets()
{
	bpftool -j map dump pinned "/sys/fs/bpf/penstock/$PENSTOCK_LAB-$1/ps_channel" |
		jq '[.[] | (.formatted // .).value.packets] | add // 0'
}
channels() { lab ctl "$1" relays --json | jq '[.relays[].channels] | add'; }
reason() { lab ctl "$1" drops --json | jq "[.reasons[] | select(.reason == \"$2\").packets] | add // 0"; }

ends_differ=10 # coturn keeps little for a moment in which it does not run
lab_up MODE=kernel LAB_RELAY=coturn LAB_RELAYS=1 LAB_DIRECT=0
check "path is relayed" path_is relayed
# Whose relay it is may change in the first seconds.
has_relay() { [ "$(peer "$1" '.channel // 0')" -ge 16384 ]; }
one_has_relay() { has_relay client || has_relay gateway; }
sleep 4
check "one side sends to its relay, in a channel" wait_for 10 one_has_relay
side=client
has_relay client || side=gateway
echo "# by the relay of the $side: $(peer $side '"\(.relay) channel \(.channel)"')"
iperf_server 5201
small_packets kernel $SERVER_V4
small_packets kernel $SERVER_V6
before=$(channel_packets $side)
check_tcp down4 $SERVER_V4 -R
check "channel data was opened in the kernel" at_least "$(channel_packets $side)" $((before > 5000 ? before : 5000))
check "every channel is known to the kernel" [ "$(bpftool -j map dump pinned \
	"/sys/fs/bpf/penstock/$PENSTOCK_LAB-$side/ps_channel" | jq length)" = "$(channels $side)" ]
check "none came in a framing or channel that was not ours" \
	[ "$(reason $side xdp_channel_len) $(reason $side xdp_no_channel)" = "0 0" ]

# A stream of small packets while the path moves, and both executors with it.
iperf moving -c $SERVER_V4 -u -l 64 -b 512000 -t 20 &
stream=$!
lab unblock direct
check "path moves to direct" wait_for 20 path_is direct
wait $stream
check "its loss $(jq -r '.end.sum.lost_percent' "$tmp/moving.json") % <= 0.5 %" \
	at_most "$(jq -r '.end.sum.lost_percent' "$tmp/moving.json")" 0.5
check "out of order: $(jq -r '.end.streams[0].udp.out_of_order' "$tmp/moving.json") of $(jq -r '.end.sum.packets' "$tmp/moving.json")" \
	at_most "$(jq -r '.end.streams[0].udp.out_of_order' "$tmp/moving.json")" 20
lab block direct
check "and back when it is blocked" wait_for 40 path_is relayed
check_ping $SERVER_V4
lab down

lab_up MODE=user LAB_RELAY=coturn LAB_RELAYS=1 LAB_DIRECT=0
check "user space: path is relayed" path_is relayed
iperf_server 5201
small_packets user $SERVER_V4
check_tcp user_up6 $SERVER_V6
check_tcp user_down6 $SERVER_V6 -R
finish
