#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The lab's programs: their certificate, tokens, configuration, command lines, and how they are started and stopped.
# Sourced by `lab`; uses P, S, root and the options. A pid file holds the pid and its start time, so that a
# recycled pid is never taken for ours.

program_path()
{
	case $1 in
	client2 | gateway2) program_path "${1%2}" ;;
	relay*) [ "$LAB_RELAY" = coturn ] && command -v turnserver || echo "$root/$PENSTOCK_BUILD/penstock-relay" ;;
	*) echo "$root/$PENSTOCK_BUILD/penstock-$1" ;;
	esac
}

# Clock ticks since boot at which PID started; empty when it is gone or a zombie.
pid_start_time()
{
	sed -n 's/^.*) \([^Z]\) /\1 /p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

program_pid()
{
	cut -d' ' -f1 "$S/pids/$1" 2>/dev/null
}

program_alive()
{
	local pid start

	read -r pid start 2>/dev/null <"$S/pids/$1" || return 1
	[ -n "$start" ] && [ "$(pid_start_time "$pid")" = "$start" ]
}

make_certificate()
{
	local d=$S/tls

	mkdir -p "$d" && cd "$d" || return 1
	cat >cert.cnf <<-END
		[req]
		distinguished_name = dn
		[dn]
		[ca]
		basicConstraints = critical,CA:TRUE
		keyUsage = critical,keyCertSign
		[portal]
		subjectAltName = DNS:$PORTAL_NAME,IP:$PORTAL_V4,IP:$PORTAL_V6
		extendedKeyUsage = serverAuth
	END
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 \
		-subj "/CN=lab CA" -config cert.cnf -extensions ca 2>openssl.log &&
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout portal.key -out portal.csr \
			-subj "/CN=$PORTAL_NAME" -config cert.cnf 2>>openssl.log &&
		openssl x509 -req -in portal.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out portal.pem \
			-extfile cert.cnf -extensions portal 2>>openssl.log || { cat openssl.log >&2; return 1; }
}

# A token as the portal makes them: 32 random bytes, base64url.
make_token()
{
	(umask 077 && head -c 32 /dev/urandom | basenc --base64url | tr -d '=\n' >"$S/$1.token")
}

token_hash()
{
	sha256sum <"$S/$1.token" | cut -d' ' -f1
}

# The relays that do not join: coturn, by time-limited credentials.
static_relays()
{
	local n v4 v6

	[ "$LAB_RELAY" = coturn ] || { echo '[]'; return; }
	for n in ${RELAYS//relay/}; do
		v4=${RELAY_V4[$n]}:3478 v6="[${RELAY_V6[$n]}]:3478"
		[ -z "$LAB_IPV6_ONLY" ] || v4=
		[ -z "$LAB_IPV4_ONLY" ] || v6=
		jq -n --arg v4 "$v4" --arg v6 "$v6" --arg secret "$(cat "$S/relay.token")" '{shared_secret: $secret} +
			(if $v4 == "" then {} else {addr4: $v4} end) + (if $v6 == "" then {} else {addr6: $v6} end)'
	done | jq -s .
}

coturn_config()
{
	local n

	for n in ${RELAYS//relay/}; do
		{
			[ -n "$LAB_IPV6_ONLY" ] || printf '%s\n' "listening-ip=${RELAY_V4[$n]}" "relay-ip=${RELAY_V4[$n]}"
			[ -n "$LAB_IPV4_ONLY" ] || printf '%s\n' "listening-ip=${RELAY_V6[$n]}" "relay-ip=${RELAY_V6[$n]}"
			printf '%s\n' listening-port=3478 min-port=49152 max-port=65535 realm=firezone fingerprint \
				use-auth-secret "static-auth-secret=$(cat "$S/relay.token")" no-cli no-tls no-dtls no-tcp \
				no-tcp-relay "userdb=$S/hosts/relay$n/turndb" "pidfile=$S/hosts/relay$n/turnserver.pid" \
				log-file=stdout simple-log
		} >"$S/relay$n.conf"
	done
}

portal_config()
{
	local v4=$PORTAL_V4:8080 v6="[$PORTAL_V6]:8080" tls=null

	if [ "$LAB_TLS" = 1 ]; then
		v4=$PORTAL_V4:8443 v6="[$PORTAL_V6]:8443"
		tls="{\"cert_file\":\"$S/tls/portal.pem\",\"key_file\":\"$S/tls/portal.key\"}"
	fi
	[ -z "$LAB_IPV6_ONLY" ] || v4=
	[ -z "$LAB_IPV4_ONLY" ] || v6=
	jq -n --arg v4 "$v4" --arg v6 "$v6" --argjson tls "$tls" --arg state "$S/portal-state.json" \
		--arg gw "$(token_hash gateway)" --arg cl "$(token_hash client)" \
		--arg gw2 "$([ "$LAB_GATEWAYS" = 2 ] && token_hash gateway2)" \
		--arg cl2 "$([ "$LAB_CLIENTS" = 2 ] && token_hash client2)" \
		--arg relay "$(token_hash relay)" --argjson static "$(static_relays)" \
		--arg s4 $SERVER_V4/32 --arg s6 $SERVER_V6/128 '
		def listen: if . == "" then empty else {address: .} + (if $tls then {tls: $tls} else {} end) end;
		{
			account_slug: "lab",
			state_file: $state,
			listen: ([{address: "127.0.0.1:8081"}, ($v4 | listen), ($v6 | listen)]),
			sites: [{name: "lab"}],
			gateways: ([{name: "lab gateway", site: "lab", token_sha256: $gw}] +
				if $gw2 == "" then [] else [{name: "lab gateway 2", site: "lab", token_sha256: $gw2}] end),
			clients: ([{name: "lab client", actor: "alice", groups: ["staff"], token_sha256: $cl}] +
				if $cl2 == "" then [] else [{name: "lab client 2", actor: "bob", groups: ["staff"], token_sha256: $cl2}] end),
			relays: [{name: "lab relays", token_sha256: $relay}],
			static_relays: $static,
			resources: [
				{name: "server-v4", type: "cidr", address: $s4, site: "lab"},
				{name: "server-v6", type: "cidr", address: $s6, site: "lab"}
			],
			policies: [
				{group: "staff", resource: "server-v4"},
				{group: "staff", resource: "server-v6"}
			]
		}' >"$S/portal.json"
}

program_files()
{
	local who

	(make_certificate) || return 1
	for who in $GATEWAYS $CLIENTS relay; do
		make_token "$who" || return 1
	done
	portal_config || return 1
	[ "$LAB_RELAY" != coturn ] || (umask 077 && coturn_config)
}

api_url()
{
	[ "$LAB_TLS" = 1 ] && echo "wss://$PORTAL_NAME:8443/" || echo "ws://$PORTAL_NAME:8080/"
}

# The command line of a program, one word a line.
program_command()
{
	program_path "$1"
	case $1 in
	portal) printf '%s\n' --config "$S/portal.json" --log-format json --log-level "$LAB_LOG_LEVEL" ;;
	gateway | gateway2 | client | client2)
		printf '%s\n' --api-url "$(api_url)" --token-path "$S/$1.token" --mode "$MODE" --xdp-mode "$XDP_MODE" \
			--wan-iface eth0 --instance "$P-$1" --id-file "$S/hosts/$1/id.json" --name "lab-$1" \
			--log-format json --log-level "$LAB_LOG_LEVEL"
		[ "${1%2}" != client ] || printf '%s\n' --dns-control "$LAB_DNS_CONTROL"
		[ "$LAB_TLS" = 1 ] && printf '%s\n' --ca-file "$S/tls/ca.pem" || printf '%s\n' --allow-plaintext
		;;
	relay*)
		[ "$LAB_RELAY" = penstock ] || { printf '%s\n' -c "$S/$1.conf"; return; }
		printf '%s\n' --api-url "$(api_url)" --token-path "$S/relay.token" --name "lab-$1" --instance "$P-$1" \
			--log-format json --log-level "$LAB_LOG_LEVEL"
		[ -n "$LAB_IPV6_ONLY" ] || printf '%s\n' --public-ip4-addr "${RELAY_V4[${1#relay}]}"
		[ -n "$LAB_IPV4_ONLY" ] || printf '%s\n' --public-ip6-addr "${RELAY_V6[${1#relay}]}"
		[ "$LAB_RELAY_XDP" = off ] || printf '%s\n' --xdp-iface eth0 --xdp-mode "$LAB_RELAY_XDP"
		[ "$LAB_TLS" = 1 ] && printf '%s\n' --ca-file "$S/tls/ca.pem" || printf '%s\n' --allow-plaintext
		;;
	esac
}

program_start()
{
	local prog=$1 pid argv

	program_alive "$prog" && { echo "lab: $prog is running already" >&2; return 1; }
	[ -x "$(program_path "$prog")" ] || { echo "lab: $(program_path "$prog") is not built" >&2; return 1; }
	mapfile -t argv < <(program_command "$prog")
	env -u PENSTOCK_LAB -u PENSTOCK_BUILD -u MODE -u XDP_MODE setsid nsenter --net="/run/netns/$P-$prog" unshare --mount --propagation slave \
		bash "$lab_dir/inside.sh" "$S/hosts/$prog" "${argv[@]}" >>"$S/logs/$prog.log" 2>&1 </dev/null 9>&- &
	pid=$!
	echo "$pid $(pid_start_time $pid)" >"$S/pids/$prog"
	disown $pid
	if [ "$prog" = portal ]; then
		wait_until 10 portal_healthy
	else
		wait_until 10 program_is_itself "$prog"
	fi && program_alive "$prog"
}

# Is the process past the shell that set its namespaces up?
program_is_itself()
{
	[ "/proc/$(program_pid "$1")/exe" -ef "$(program_path "$1")" ]
}

portal_healthy()
{
	in_host portal curl -fsS -m 2 -o /dev/null http://127.0.0.1:8081/healthz 2>/dev/null
}

# wait_until SECONDS CMD…: polls; false when the time is over.
wait_until()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# A relay would wait for its allocations to go; a second SIGTERM tells it not to.
program_end()
{
	case $1 in
	relay*) program_alive "$1" && kill -TERM "$(program_pid "$1")" 2>/dev/null && sleep 0.1 ;;
	esac
	program_stop "$1"
}

program_gone()
{
	! program_alive "$1"
}

# SIGTERM, ten seconds of grace, SIGKILL. False when it had to be killed.
program_stop()
{
	local pid rc=0

	if program_alive "$1"; then
		pid=$(program_pid "$1")
		kill -TERM "$pid" 2>/dev/null
		if ! wait_until 10 program_gone "$1"; then
			echo "lab: $1 did not stop within 10 s; killed" >&2
			kill -KILL "$pid" 2>/dev/null
			wait_until 5 program_gone "$1"
			rc=1
		fi
	fi
	rm -f "$S/pids/$1"
	return $rc
}

# What a killed program leaves in places that outlive the namespaces.
program_leftovers()
{
	local prog base i f

	for prog in gateway gateway2 client client2 relay1 relay2; do
		rm -rf "/sys/fs/bpf/penstock/$P-$prog"
		rm -f "/run/penstock/$P-$prog".*
	done
	rmdir /sys/fs/bpf/penstock /run/penstock 2>/dev/null
	base=$(index_base)
	for i in $(seq 0 31); do
		for f in /sys/fs/bpf/xdp/dispatch-$((base + i))-*; do
			[ -e "$f" ] && rm -rf "$f"
		done
	done
	return 0
}
