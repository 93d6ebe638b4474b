#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One TCP transfer survives what happens to relays: the one in use is killed, comes back, is drained by SIGTERM, is
# deployed anew (another secret), and both are replaced while the client cannot reach the portal. Relayed, where the
# connection must move each time, and direct, where it must not notice. MODE=user for the other executor.
# timeout: 580
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relayed.sh"
relayed_need
how=

other() { echo $((3 - $1)); }

# survives WHAT SECONDS: the transfer goes on within that time.
survives()
{
	took "$how: $1: the transfer goes on" "$2" stream_moves "$2"
	check "$how: $1: it is the same transfer" stream_held
	check "$how: $1: the path is $how" wait_for 20 path_is "$how"
}

# fresh N: relay N serves again under a new secret.
fresh()
{
	wait_for 10 eval "! program_runs relay$1"
	lab relay "$1" start
	check "$how: relay $1 joins" wait_for 15 eval '[ "$(status relay'"$1"' .portal.state)" = connected ]'
}

# The relay in use; without one (direct), the first.
victim()
{
	local n

	n=$(carrier)
	echo "${n:-1}"
}

killed()
{
	local n

	n=$(victim)
	echo "# $how: relay $n is killed"
	lab relay "$n" kill
	survives "killed" 60
	[ $how = direct ] || check "$how: by the other relay" wait_for 10 uses "$(other "$n")"
	fresh "$n"
	survives "started again" 20
	check "$how: both relays are held again" wait_for 30 both_allocated 2
}

# SIGTERM: it leaves the portal and serves the allocations it has on; a second one ends it.
drained()
{
	local n

	n=$(victim)
	echo "# $how: relay $n drains"
	lab relay "$n" term
	survives "draining" 30
	[ $how = direct ] || took "$how: moved to the other relay" 30 uses "$(other "$n")"
	if program_runs "relay$n"; then
		check "$how: relay $n says that it drains" [ "$(status "relay$n" .relay.draining)" = true ]
		lab relay "$n" term
	fi
	took "$how: the drained relay ends" 5 eval "! program_runs relay$n"
	survives "drained" 30
	fresh "$n"
	check "$how: both relays are held after the drain" wait_for 30 both_allocated 2
}

# Both secrets change at once, the addresses stay.
redeployed()
{
	lab relay 1 kill
	lab relay 2 kill
	fresh 1
	fresh 2
	survives "both deployed anew" 60
	check "$how: both relays are held after that" wait_for 40 both_allocated 2
}

# partitioned direct|open|nat: the client learns of the new relays only when it reaches the portal again.
partitioned()
{
	lab partition client on
	lab relay 1 kill
	lab relay 2 kill
	fresh 1
	fresh 2
	check "$how: the gateway holds the new relays" wait_for 30 allocated gateway 2
	case $1 in
	direct) survives "partitioned from the portal" 20 ;;
	# The gateway's new address at a relay reaches the client unannounced where no NAT stands before it.
	open) took "$how: the transfer goes on by what the gateway allocated" 40 stream_moves 40 ;;
	nat) sleep 5 ;;
	esac
	lab partition client off
	took "$how: the client reaches the portal again" 120 eval '[ "$(status client .portal.state)" = connected ]'
	check "$how: and holds the new relays" wait_for 40 allocated client 2
	survives "both replaced while partitioned" 90
}

begin()
{
	how=$1
	stream_start
	check "$how: both relays are held" wait_for 20 both_allocated 2
	check "$how: the path is $how" wait_for 20 path_is "$how"
}

lab_up LAB_DIRECT=0 LAB_RELAYS=2
begin relayed
killed
drained
redeployed
partitioned open
stream_stop

lab_up LAB_DIRECT=0 LAB_RELAYS=2 LAB_IPV4_ONLY=1
begin relayed
partitioned nat
stream_stop

lab_up LAB_DIRECT=1 LAB_RELAYS=2
begin direct
killed
drained
redeployed
partitioned direct
stream_stop
finish
