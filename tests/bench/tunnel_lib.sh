# SPDX-License-Identifier: Apache-2.0
#
# Worlds for the bench of tunnels: client - gateway - server, each world with one way between them. Sourced after
# tests/netns/lib.sh. The worlds stand side by side, so that runs can go from one to the next without a pause; what is not
# measured is idle. Networks and programs are the lab's (tools/lab), without its routers and its NAT:
#
#   client eth0 198.51.100.1 --- 198.51.100.2 eth0 gateway eth1 10.20.0.1 --- 10.20.0.10 eth0 server
#
# Same links, MTU, offloads and sysctls in all of them. A penstock world has a portal behind the gateway as well; its
# gateway masquerades, as it always does. Only a plain world's client has a route to the server's network outside a tunnel.
#
#   tn_worlds LABEL…        plain, penstock-MODE, wireguard-go-2022, wireguard-go: their numbers are 0, 1, …
#   tn_up N HANDICAP        world N stands and carries; HANDICAP 1: both ends of the WAN link have a native XDP program, which
#                           takes segmentation offload off the other end
#   tn_down                 all of them; also those that a killed run has left
#   tn_on N HOST CMD…       on a host of world N
#   tn_pid N client|gateway of the tunnel's program there, if there is one
#   tn_env N                what it ran under, as JSON; offloads: which of tso uso gso gro tx-csum are off, and where
tn_lab=$root/tools/lab
lab_dir=$tn_lab
tn_mtu=${BENCH_MTU:-1420}
tn_label=()
CLIENT_WAN=198.51.100.1 GATEWAY_WAN=198.51.100.2 CLIENT_TUN=10.8.0.1 GATEWAY_TUN=10.8.0.2

# What the lab's files want to know.
HOSTS="client gateway server portal"
ALL_HOSTS=$HOSTS RELAYS='' GATEWAYS=gateway CLIENTS=client
MODE=auto XDP_MODE=${XDP_MODE:-auto} LAB_CLIENTS=1 LAB_GATEWAYS=1 LAB_RELAY=penstock LAB_TLS=0 LAB_DNS_CONTROL=disabled
LAB_LOG_LEVEL=info LAB_IPV4_ONLY=1 LAB_IPV6_ONLY=''
is_one_of()
{
	case " $2 " in *" $1 "*) return 0 ;; esac
	return 1
}
. "$tn_lab/net.sh"
. "$tn_lab/programs.sh"

tn_worlds() { tn_label=("$@"); }

# World N is the one that the lab's functions work on.
tn_use()
{
	P=tb$$-$1
	S=/run/penstock-lab/$P
	MODE=${tn_label[$1]#penstock-}
}

tn_on()
{
	local n=$1 host=$2

	shift 2
	nsenter --net="/run/netns/tb$$-$n-$host" ${tn_pin:+taskset -c 0} "$@"
}

tn_pid() { cut -d' ' -f1 "/run/penstock-lab/tb$$-$1/pids/$2" 2>/dev/null; }

tn_network()
{
	local h

	(umask 077 && mkdir -p "$S/pids" "$S/logs") || return 1
	for h in client gateway server; do
		net_host $h || return 1
	done
	link 0 client eth0 gateway eth0 && link 1 gateway eth1 server eth0 &&
		addr client eth0 $CLIENT_WAN/24 - && addr gateway eth0 $GATEWAY_WAN/24 - &&
		addr gateway eth1 10.20.0.1/24 - && addr server eth0 $SERVER_V4/24 - || return 1
	in_host gateway sysctl -qw net.ipv4.ip_forward=1 || return 1
	[ -z "$tn_pin" ] || for h in eth0 eth1; do
		ip netns exec "$P-gateway" sh -c "echo 2 >/sys/class/net/$h/queues/rx-0/rps_cpus" || return 1
	done
}

tn_plain()
{
	ip -n "$P-client" route add 10.20.0.0/24 via $GATEWAY_WAN mtu "$tn_mtu" &&
		ip -n "$P-server" route add 198.51.100.0/24 via 10.20.0.1 mtu "$tn_mtu"
}

# ---- penstock -------------------------------------------------------------------------------------
# HANDICAP: then ours are attached natively, if it is left to them: generic ones would stand beside the native ones of others.
tn_penstock()
{
	local prog XDP_MODE=$XDP_MODE

	[ "$1" = 0 ] || [ "$XDP_MODE" != auto ] || XDP_MODE=native
	net_host portal && link 2 gateway p0 portal eth0 && addr gateway p0 192.0.2.1/24 - &&
		addr portal eth0 $PORTAL_V4/24 - && ip -n "$P-portal" route add default via 192.0.2.1 &&
		ip -n "$P-client" route add $PORTAL_V4 via $GATEWAY_WAN && program_files || return 1
	for prog in portal gateway client; do
		PENSTOCK_TUNNEL_MTU=$tn_mtu program_start $prog || return 1
	done
}

tn_ctl() { "$root/$PENSTOCK_BUILD/penstock" --instance "$P-$1" "${@:2}"; }

# A connection begins with 1280 bytes and grows.
tn_has_grown()
{
	local h

	for h in client gateway; do
		[ "$(tn_ctl $h peers --json | jq -r '.peers[0] | "\(.path) \(.mtu.size)"')" = "direct $tn_mtu" ] || return 1
	done
}

# ---- wireguard-go -----------------------------------------------------------------------------------
tn_binary() { [ "$1" = wireguard-go ] && echo "$WIREGUARD_GO" || echo wireguard-go; }

# Its socket is named after the device, which so is the machine's only one of that name.
tn_device() { echo "tb$$-$1${2:0:1}"; }

# N SIDE OTHER-SIDE PORT ADDRESS ALLOWED…: the far end's address is known to the client only.
tn_wg_end()
{
	local dev pid

	dev=$(tn_device "$1" "$2")
	LOG_LEVEL=error setsid nsenter --net="/run/netns/$P-$2" "$(tn_binary "${tn_label[$1]}")" -f "$dev" \
		>"$S/logs/$2.log" 2>&1 </dev/null &
	pid=$!
	echo "$pid $(pid_start_time $pid)" >"$S/pids/$2"
	disown $pid
	wait_for 10 in_host "$2" wg show "$dev" || return 1
	in_host "$2" wg set "$dev" private-key "$S/$2.key" listen-port 51820 peer "$(wg pubkey <"$S/$3.key")" \
		${5:+endpoint "$5:51820"} allowed-ips "$6" || return 1
	ip -n "$P-$2" addr add "$4/24" dev "$dev" && ip -n "$P-$2" link set "$dev" mtu "$tn_mtu" up
}

tn_wireguard()
{
	local h

	for h in client gateway; do
		(umask 077 && wg genkey >"$S/$h.key") || return 1
	done
	tn_wg_end "$1" client gateway $CLIENT_TUN $GATEWAY_WAN 10.8.0.0/24,10.20.0.0/24 &&
		tn_wg_end "$1" gateway client $GATEWAY_TUN '' $CLIENT_TUN/32 &&
		ip -n "$P-client" route add 10.20.0.0/24 dev "$(tn_device "$1" client)" &&
		ip -n "$P-server" route add 10.8.0.0/24 via 10.20.0.1
}

# ---- both -------------------------------------------------------------------------------------------
# "native", "generic" or "off": what is on the WAN link's end on HOST.
tn_xdp()
{
	ip -n "$P-$1" -d -j link show dev eth0 |
		jq -r '.[0].xdp | if . == null then "off" else ({"1": "native", "2": "generic"}[.mode | tostring] // "other") end'
}

# Where our own programs are attached natively they are the handicap.
tn_handicap()
{
	local h

	for h in client gateway; do
		[ "$(tn_xdp $h)" != native ] || continue
		ip -n "$P-$h" link set dev eth0 xdpdrv obj "$root/build/bpf/pass.bpf.o" sec xdp || return 1
	done
	for h in client gateway; do
		[ "$(tn_offloads $h eth0 | cut -d' ' -f1)" = tso:off ] || { echo "$P: $h's eth0 still has TSO"; return 1; }
	done
}

tn_offloads()
{
	ip netns exec "$P-$1" ethtool -k "$2" | awk '
		/^tcp-segmentation-offload:/ { tso = $2 } /^generic-segmentation-offload:/ { gso = $2 }
		/^generic-receive-offload:/ { gro = $2 } /tx-udp-segmentation:/ { uso = $2 } /^tx-checksumming:/ { csum = $2 }
		END { printf "tso:%s uso:%s gso:%s gro:%s tx-csum:%s\n", tso, uso, gso, gro, csum }'
}

tn_reaches() { tn_on "$1" client ping -n -q -c 1 -W 1 $SERVER_V4; }

tn_up()
{
	local n=$1 h pid

	tn_use "$n"
	tn_network || return 1
	case ${tn_label[n]} in
	plain) tn_plain ;;
	penstock-*) tn_penstock "$2" ;;
	*) tn_wireguard "$n" ;;
	esac || return 1
	wait_for 30 tn_reaches "$n" || { echo "$P: the client does not reach the server"; return 1; }
	case ${tn_label[n]} in
	penstock-*)
		wait_for 20 tn_has_grown || { echo "$P: not $tn_mtu bytes inside on a direct path"; return 1; }
		;;
	esac
	[ "$2" = 0 ] || tn_handicap || return 1
	for h in client gateway; do
		pid=$(tn_pid "$n" $h)
		[ -z "$tn_pin" ] || [ -z "$pid" ] || taskset -acp $([ $h = gateway ] && echo 1 || echo 0) "$pid" >/dev/null || return 1
	done
}

# The tail of what the programs of world N have said.
tn_logs()
{
	local f

	for f in "/run/penstock-lab/tb$$-$1/logs"/*.log; do
		[ -s "$f" ] && echo "--- ${f##*/} of ${tn_label[$1]}" && tail -n 15 "$f"
	done
}

tn_version()
{
	case ${tn_label[$1]} in
	plain) uname -r ;;
	penstock-*) "$root/$PENSTOCK_BUILD/penstock" --version | head -n 1 ;;
	*) "$(tn_binary "${tn_label[$1]}")" --version | head -n 1 ;;
	esac
}

tn_env()
{
	tn_use "$1"
	jq -nc --arg version "$(tn_version "$1")" --arg cx "$(tn_xdp client)" --arg gx "$(tn_xdp gateway)" \
		--arg c "$(tn_offloads client eth0)" --arg g "$(tn_offloads gateway eth0)" --arg l "$(tn_offloads gateway eth1)" \
		--arg s "$(tn_offloads server eth0)" \
		--argjson status "$(case ${tn_label[$1]} in penstock-*) tn_ctl gateway status --json ;; *) echo null ;; esac)" '
		def lacks: [split(" ")[] | select(endswith(":off")) | rtrimstr(":off")];
		{$version, xdp: (if $cx == $gx then $cx else "client \($cx), gateway \($gx)" end),
		offloads: ([{client_wan: $c, gateway_wan: $g, gateway_lan: $l, server: $s} | to_entries[] |
			select(.value | lacks != []) | "\(.key) without \(.value | lacks | join(" "))"] |
			if . == [] then "all on" else join(", ") end)} +
		if $status then {mode: $status.mode, xdp_mode: ($status.kernel.xdp_mode // "off"),
			kernel_executor: $status.kernel.active, workers: $status.bulk.workers.count} + (if $status.aead then {aead: $status.aead} else {} end) else {workers: null} end'
}

# P, S: ends what runs there and removes it, quickly: run.sh gives an interrupted bench twenty seconds.
tn_world_down()
{
	local prog pid

	for prog in client gateway portal; do
		program_alive $prog && kill -TERM "$(program_pid $prog)"
	done
	for prog in client gateway portal; do
		wait_until 3 program_gone $prog || kill -KILL "$(program_pid $prog)"
	done
	net_down
	program_leftovers
	rm -f "/run/wireguard/$P"[cg].sock
	rm -rf --one-file-system "$S"
} 2>/dev/null

tn_down()
{
	local d owner

	for d in /run/penstock-lab/tb*-*; do
		owner=${d##*/tb} owner=${owner%%-*}
		[ -d "$d" ] && { [ "$owner" = $$ ] || ! [ -d "/proc/$owner" ]; } || continue
		(P=${d##*/} S=$d && tn_world_down) &
	done
	wait
	rmdir /run/penstock-lab 2>/dev/null
	return 0
}
