#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# For tests of the Internet resource, after lib.sh: a far host that the client reaches by two ways, directly and
# through the gateway, and that tells by which; counters of what leaves the client's network.

FAR_V4=198.18.0.53 FAR_V6=2001:db8:ffff::53 FAR_PORT=8053
DIRECT_V4=198.51.100.2 DIRECT_V6=2001:db8:c::10      # as the far host sees the client by itself
GATEWAY_V4=203.0.113.66 GATEWAY_V6=2001:db8:6::66    # and through the gateway

in_ns() { nsenter --net="/run/netns/$PENSTOCK_LAB-$1" "${@:2}"; }

# The far host is the internet's router under addresses of its own; the resource and its policy are in force.
far_up()
{
	in_ns core ip addr add $FAR_V4/32 dev lo
	in_ns core ip -6 addr add $FAR_V6/128 dev lo nodad
	in_ns core timeout 900 python3 "$tests_dir/whoami.py" $FAR_PORT &
	disown
	wait_for 10 listening core $FAR_PORT || fatal "the far host does not listen"
	grant_internet
	wait_for 10 listed internet || fatal "the client has no Internet resource"
}

listed() { lab ctl client resources --json | jq -e --arg t "$1" '.resources[] | select(.type == $t)' >/dev/null; }
revoke_internet() { portal_edit '.policies |= map(select(.resource != "Internet"))'; }
grant_internet()
{
	portal_edit '.resources |= map(select(.name != "Internet")) + [{name: "Internet", type: "internet", site: "lab"}] |
		.policies |= map(select(.resource != "Internet")) + [{group: "staff", resource: "Internet"}]'
}

# seen 4|6: the client's address as the far host sees it.
seen()
{
	local to=$FAR_V4

	[ "$1" = 4 ] || to=$FAR_V6
	on client timeout 8 bash -c "exec 3<>/dev/tcp/$to/$FAR_PORT && read -r -t 6 -u 3 who && echo \$who" 2>/dev/null
}
# seen_as 4|6 direct|gateway
seen_as()
{
	local want

	case $1$2 in
	4direct) want=$DIRECT_V4 ;;
	4gateway) want=$GATEWAY_V4 ;;
	6direct) want=$DIRECT_V6 ;;
	6gateway) want=$GATEWAY_V6 ;;
	esac
	[ "$(seen "$1")" = "${DIRECT_WAS:-$want}" ]
}
# through gateway|direct: both families.
through() { seen_as 4 "$1" && seen_as 6 "$1"; }
