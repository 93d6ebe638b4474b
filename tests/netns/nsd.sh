#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Real name servers in a lab: nsd on some host, from zone files. Sourced after lib.sh.
#
#   nsd_zone NAME ZONE <zone text        a zone of the server NAME, with SOA and NS in front of the text
#   nsd_start NAME HOST ADDRESS…         serves them on the host; stopped with the lab
need_nsd() { command -v nsd >/dev/null || skip "'nsd' is not installed"; }

nsd_zone()
{
	local dir=$tmp/nsd-$1

	mkdir -p "$dir"
	{
		printf '$ORIGIN %s.\n$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.254\n' "$2"
		cat
	} >"$dir/$2.zone"
	printf 'zone:\n  name: "%s"\n  zonefile: "%s.zone"\n' "$2" "$2" >>"$dir/zones.conf"
}

nsd_start()
{
	local dir=$tmp/nsd-$1 host=$2 ip
	shift 2

	{
		printf 'server:\n  username: ""\n  chroot: ""\n  zonesdir: "%s"\n  database: ""\n  server-count: 1\n' "$dir"
		printf '  pidfile: "%s/pid"\n  xfrdfile: "%s/xfrd"\n  xfrdir: "%s"\n  zonelistfile: "%s/list"\n' "$dir" "$dir" "$dir" "$dir"
		for ip in "$@"; do printf '  ip-address: %s\n' "$ip"; done
		printf 'remote-control:\n  control-enable: no\n'
		cat "$dir/zones.conf"
	} >"$dir/nsd.conf"
	"$root/tools/lab/lab" exec "$host" nsd -d -c "$dir/nsd.conf" >"$dir/log" 2>&1 &
	disown
	wait_for 10 nsd_answers "$host" "$1" || { cat "$dir/log"; fatal "nsd does not start on $host"; }
}

nsd_answers() { on "$1" dig +tries=1 +time=1 @"$2" . SOA | grep -q '^;; ->>HEADER'; }
