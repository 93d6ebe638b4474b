#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# The host resolves with the client by the real systemd-resolved: a page by its plain name through libc, resolved's stub, our
# sentinel and the tunnel; the other link's names stay its own; resolved's restart, the client's kill and its end.
# RESOLVED names the binary; without one (install-deps does not install it, for the package takes over the host's
# resolv.conf) the test is skipped.
. "$(dirname "$0")/lib.sh"
. "$tests_dir/dns_world.sh"
need_world
command -v dbus-daemon busctl >/dev/null || skip "no dbus-daemon or busctl"
resolved=${RESOLVED:-$(ls /usr/lib/systemd/systemd-resolved /lib/systemd/systemd-resolved 2>/dev/null | head -n 1)}
[ -x "$resolved" ] || skip "systemd-resolved is not installed"
etc=$state/hosts/client/etc
joined() { [ "$(status client .portal.state)" = connected ]; }
bus() { on client busctl --address=unix:abstract=lab-system-bus "$@"; }
manager="org.freedesktop.resolve1 /org/freedesktop/resolve1 org.freedesktop.resolve1.Manager"
property() { bus get-property $manager "$1"; }
has() { property "$1" | grep -qF -- "$2"; }

# An account and a directory that resolved may write, seen by everything on the host.
client_host()
{
	rm "$etc/passwd" "$etc/group"
	cp /etc/passwd /etc/group "$etc/"
	grep -q ^systemd-resolve: "$etc/passwd" || {
		echo 'systemd-resolve:x:64996:64996::/:/usr/sbin/nologin' >>"$etc/passwd"
		echo 'systemd-resolve:x:64996:' >>"$etc/group"
	}
	mkdir -m 755 "$state/hosts/client/resolve"
	ln -sfn "$state/hosts/client/resolve/stub-resolv.conf" "$etc/resolv.conf"
	cat >"$tmp/bus.conf" <<-X
		<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
		<busconfig><type>system</type><listen>unix:abstract=lab-system-bus</listen><auth>EXTERNAL</auth>
		<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
		</policy></busconfig>
	X
	bg client dbus-daemon --config-file="$tmp/bus.conf" --nofork >"$tmp/bus" 2>&1
	disown
	serve
}

serve()
{
	# shellcheck disable=SC2016
	bg client bash -c 'mkdir -p /run/systemd && mount -t tmpfs t /run/systemd && mkdir /run/systemd/resolve &&
		mount --bind "$1" /run/systemd/resolve && chown systemd-resolve: /run/systemd/resolve && exec "$2"' - \
		"$state/hosts/client/resolve" "$resolved" >>"$tmp/resolved" 2>&1
	server=$!
	disown
	wait_for 20 property DNS || { cat "$tmp/bus" "$tmp/resolved"; fatal "systemd-resolved does not start"; }
	bus call $manager SetLinkDNS 'ia(iay)' "$eth0" 1 2 4 192 168 77 1 &&
		bus call $manager SetLinkDomains 'ia(sb)' "$eth0" 1 home.example false || fatal "the link has no resolver"
}

world_up MODE=auto LAB_DNS_CONTROL=systemd-resolved
eth0=$(on client cat /sys/class/net/eth0/ifindex)
client_host
check "before: the host resolves by its link" wait_for 10 resolves www.home.example 203.0.113.65
check "and public names" resolves public.test 203.0.113.66
lab start client || fatal "the client does not start"
check "resolved is told" wait_for 20 dns_is state active
check "the link's resolver is the system's, and our upstream" upstreams $ROUTER:53
check "the home network's names are its own" resolves www.home.example 203.0.113.65
portal_dns "[\"$PUBLIC\"]" '"example"'
check "the portal's resolver takes its place" wait_for 10 upstreams $PUBLIC:53
check "what was cached is forgotten" wait_for 10 resolves public.test 203.0.113.80
check "a page by its plain name" wait_for 20 fetches app.example
check "by its first label, below the portal's search domain" wait_for 10 fetches app
check "a name with IPv4 only" wait_for 10 fetches four.example
check "a name with IPv6 only" wait_for 10 fetches six.example
n=$(status client .dns.stub.queries)
check "the home network's names are still its own" resolves nas.home.example 203.0.113.67
check "which were not asked of us" dns_is stub.queries "$n"
portal_dns "[\"$SERVER_V4\"]" '"example"'
check "a resolver inside a resource" wait_for 10 upstreams $SERVER_V4:53
check "answers through the tunnel" wait_for 10 resolves inner.test 10.20.0.77
check "asked by the gateway" was_asked server A inner.test $GATEWAY_INSIDE

kill "$server"
check "resolved stops: said so" wait_for 20 dns_is state failed
check "by name" eval 'status client .dns.problem | grep -q "systemd-resolved: it stopped"'
serve
check "it is back: told again" wait_for 60 dns_is state active
check "and names resolve" wait_for 20 fetches app.example

portal_edit '.resources += [{name: "lab", type: "dns", address: "**.lab", site: "lab"}] | .policies += [{group: "staff", resource: "lab"}]'
check "the portal's name is a resource's for programs" wait_for 10 eval 'on client getent hosts portal.lab | grep -q ^fd00:2021:1111:8000:'
lab stop portal gateway
check "the portal is lost" wait_for 30 fails joined
lab start portal
check "and found again, at the link's resolver" wait_for 90 joined
lab start gateway
check "the tunnel comes back" lab wait 40

lab kill client KILL
wait_for 5 fails program_runs client
check "after a kill the host resolves as before" wait_for 10 resolves public.test 203.0.113.66
lab start client
check "the next start is told again" wait_for 20 dns_is state active
check "and names resolve" wait_for 20 fetches app.example
check "the client stops" lab stop client
check "and resolved has forgotten it" fails has DNS "100 100 111"
check "the host resolves as before" resolves public.test 203.0.113.66
finish
