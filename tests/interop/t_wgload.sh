#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# The load generator (tests/bench/wgload.h) at a low rate: every packet arrives, once, in order and byte for byte, through
# wireguard-go and through our gateway, in user space and in the kernel; and what does not arrive so is noticed.
. "$(dirname "$0")/../netns/lib.sh"
. "$root/tests/bench/capacity_lib.sh"
cap_need
cap_pin=none

# Is it so in the last result?
says() { jq -e "$1" "$tmp/out.json" >/dev/null || { cat "$tmp/out.json"; return 1; }; }

run() { cap_load "$@" >"$tmp/out.json"; }

all_arrive()
{
	run run --verify --rate 1000 --packets 300 "$@" &&
		says '.sent == 300 and .delivered + .late == 300 and .checked == 300' &&
		says '.reordered == 0 and .duplicated == 0 and .corrupted == 0'
}

both_ways()
{
	check "$1: 64 bytes, in trains, four flows" all_arrive --size 64 --gso on --flows 4 --train 2
	check "$1: 1420 bytes, one by one" all_arrive --size 1420 --gso off
}

# NFT-STATEMENT CONDITION: what happens to some packets on their way is seen.
sees()
{
	cap_inside g nft "add table ip harm; add chain ip harm f { type filter hook forward priority 0; };
		add rule ip harm f udp dport 9000 numgen inc mod 10 0 $1" || return 1
	run run --verify --rate 1000 --packets 300 --size 512 --gso off
	cap_inside g nft delete table ip harm
	says "$2"
}

arrived() { [ "$(cap_inside s nft -j list counter netdev wgload arrived | jq '.nftables[].counter.packets // empty')" -ge "$1" ]; }

# From somewhere else: a packet whose number is below those that have arrived, and one that makes no sense. The first
# number of the run is lost on the way, so that it is not a duplicate.
sees_strangers()
{
	local mark='\0\0\0\0\0\0\0\0\0\0\x77\x67\0\0\0\x18\x70\x77\x7e\x85\x8c\x93\x9a\xa1'

	cap_inside g nft "add table ip harm; add chain ip harm f { type filter hook forward priority 0; };
		add rule ip harm f udp dport 9000 numgen inc mod 1000000 0 drop" || return 1
	cap_load run --verify --rate 100 --packets 200 --size 52 --gso off >"$tmp/out.json" &
	wait_for 20 arrived 20
	cap_inside g bash -c "printf '$mark' >/dev/udp/10.9.1.2/9000; echo nonsense >/dev/udp/10.9.1.2/9000"
	wait $!
	cap_inside g nft delete table ip harm
	says '.reordered == 1 and .corrupted == 1 and .duplicated == 0 and .checked == 201'
}

# MODE N: by our gateway's own count, N or more.
carried()
{
	local n

	n=$("$PENSTOCK_BUILD/penstock" --instance "$ns" status --json | jq ".counters.${1}_rx_packets")
	[ "$n" -ge "$2" ] || { echo "$n"; return 1; }
}

# Without a tunnel.
plain()
{
	ip -n "$ns-c" route replace 10.9.1.0/24 via 10.9.0.2
	cap_inside c "$h_wgload" "$1" --plain --sink $cap_sink --sink-ns "$ns-s" --sink-dev s0 "${@:2}" >"$tmp/out.json"
}

plain_arrive()
{
	plain run --verify --rate 1000 --packets 300 "$@" &&
		says '.sent == 300 and .delivered + .late == 300 and .checked == 300' &&
		says '.reordered == 0 and .duplicated == 0 and .corrupted == 0'
}

# A way that takes 2000 a second is found to be one.
finds()
{
	cap_inside g nft "add table ip harm; add chain ip harm f { type filter hook forward priority 0; };
		add rule ip harm f udp dport 9000 limit rate over 2000/second burst 5 packets drop" || return 1
	plain search --size 64 --seconds 0.2 --warm 0 --max-seconds 8 --rate 1500
	cap_inside g nft delete table ip harm
	says '.loss <= 0.001 and .pps > 0 and .pps <= 2200'
}

cap_net_up
check "a plain sender, 64 bytes" plain_arrive --size 64
check "1420 bytes, three flows" plain_arrive --size 1420 --flows 3
check "its highest rate is found" finds
if command -v wireguard-go >/dev/null; then
	cap_start wireguard wireguard-go 40
	both_ways wireguard-go
	check "40 peers in turn" all_arrive --peers 40 --size 512
	check "handshakes of 40 peers" run handshakes --peers 40 --seconds 0.3 --window 8
	check "… are answered" says '.completed >= 40 and .lost == 0 and .cookies == 0'
	check "lost packets are counted" sees drop '.sent == 300 and .delivered + .late == 270 and .duplicated == 0'
	check "duplicated ones as well" sees 'dup to 10.9.1.2' '.duplicated == 30 and .reordered == 0 and .corrupted == 0'
	check "and overtaken and foreign ones" sees_strangers
	cap_stop
else
	echo "ok - wireguard-go # SKIP not installed"
fi
for mode in $(modes); do
	cap_start penstock "$mode" native
	both_ways "penstock-gateway, $mode"
	# the kernel takes a flow when user space has made it known: sooner or later
	check "… which carried them" carried $mode $([ "$mode" = user ] && echo 600 || echo 1)
	if [ "$mode" = user ] && command -v python3 >/dev/null; then
		cap_crowd 20
		check "20 peers in turn" all_arrive --size 512
	fi
	cap_stop
done
finish
