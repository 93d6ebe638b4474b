#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What tables cost a gateway with the kernel executor.
#
#   memory_flows_N    --max-flows=N (65536 1000000), before any traffic: "median" the two flow maps as the kernel accounts
#                     them, "per_flow" bytes of these by N; "tables": what status calls memory, "process": resident
#   memory_peers_N    N clients the portal has introduced (1000): bytes a client by which the process has grown
# The first argument is a name of these or a part of it.
exec 3>&1 1>&2
. "$(dirname "$0")/../netns/lib.sh"
. "$(dirname "$0")/capacity_lib.sh"
filter=${1:-}

wanted() { [[ $1 == *"$filter"* ]]; }
status() { "$PENSTOCK_BUILD/penstock" --instance "$ns" status --json | jq -c "$1"; }
resident() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$cap_pid/status"; }

flows()
{
	PENSTOCK_MAX_FLOWS=$1 cap_start penstock kernel generic
	jq -nc --arg bench "memory_flows_$1" --argjson n "$1" --argjson env "$(cap_env kernel generic)" --argjson process "$(resident)" \
		--argjson tables "$(status .memory_bytes)" --argjson maps "$(status '[.tables[] | select(.name == "flows") | .bytes] | add')" \
		--argjson list "$(status '[.tables[] | select(.name == "user_flows") | .bytes] | add')" '
		{$bench, metric: "flow_maps", unit: "bytes", median: $maps, min: $maps, max: $maps, n: 1, per_flow: ($maps / $n | round),
		user_list: $list, $tables, $process, $env}' >&3
	cap_stop
}

peers()
{
	local before

	cap_start penstock kernel generic
	before=$(resident)
	cap_crowd "$1"
	jq -nc --arg bench "memory_peers_$1" --argjson n "$1" --argjson env "$(cap_env kernel generic)" --argjson before "$before" \
		--argjson after "$(resident)" --argjson known "$(status .peers.total)" '
		(($after - $before) / $n | round) as $each |
		{$bench, metric: "process_growth", unit: "bytes_per_peer", median: $each, min: $each, max: $each, n: 1, peers: $known, $before, $after, $env}' >&3
	cap_stop
}

cap_need
command -v python3 >/dev/null || skip "'python3' is not installed"
cap_net_up
for n in 65536 1000000; do
	! wanted "memory_flows_$n" || flows "$n"
done
! wanted memory_peers_1000 || peers 1000
