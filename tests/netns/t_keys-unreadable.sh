#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# No dump of any map shows a live session key: with traffic running through the kernel, every 32 bytes of every dump
# are tried as a key on packets captured on the wire. The search is proved to find a key where the plain object shows
# one.
# timeout: 240
. "$(dirname "$0")/lib.sh"
need_lab
need_bpf
H=$PENSTOCK_BUILD/tests/netns/h_keys
[ -x "$H" ] || fatal "$H is not built"

# capture: data packets of the running sessions, both directions, seen by a router on the way.
capture()
{
	local pid

	rm -f "$tmp/wire.pcap"
	bg rg timeout 20 tcpdump -Z root -U -w "$tmp/wire.pcap" -i wan0 -c 40 'udp and udp[8:4] = 0x04000000' \
		2>"$tmp/tcpdump.err"
	pid=$!
	wait_for 5 grep -q listening "$tmp/tcpdump.err" || return 1
	on client ping -n -q -c 30 -i 0.05 -s 56 $SERVER_V4 >/dev/null
	wait_for 10 fails kill -0 $pid
	[ -s "$tmp/wire.pcap" ]
}

# dumps: bpftool's, of all our maps but the replay windows, whose text is a hundred times as long as it is dense
# (the search reads those by system call).
dumps()
{
	local id name

	rm -f "$tmp"/dump-*.json
	while read -r id name; do
		timeout 60 bpftool -j map dump id "$id" >"$tmp/dump-$id-$name.json" 2>/dev/null
	done < <(bpftool -j map show | jq -r '.[] | select((.name // "") | test("^(ps_|penstock)")) |
		select(.name != "ps_replay") | "\(.id) \(.name)"')
	ls "$tmp"/dump-*.json >/dev/null
}

search()
{
	"$H" "$tmp/wire.pcap" "$tmp"/dump-*.json
}

lab_up MODE=kernel LAB_IPV4_ONLY=1
if ! lab ctl gateway status | grep -q 'keys:.*in no dump'; then
	check "status says that keys are not hidden" eval "lab ctl gateway status | grep -q keys:"
	skip "this kernel cannot hide keys: $(lab ctl gateway status | grep keys:)"
fi
check "packets of both directions were captured" capture
check "maps were dumped" dumps
check "no dump shows a live session key" search
lab down

PENSTOCK_BPF_PLAIN=1 lab_up MODE=kernel LAB_IPV4_ONLY=1
check "plain keys: status says so" fails eval "lab ctl gateway status | grep -q 'keys:.*in no dump'"
check "plain keys: captured" capture
check "plain keys: dumped" dumps
search
check "plain keys: the search finds them" [ $? = 1 ]
finish
