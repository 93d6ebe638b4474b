#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs a command as if on a lab host: inside.sh HOSTDIR CMD…, started in the host's network namespace and a fresh
# mount namespace. The host's own /etc is laid over the machine's: links to the machine's entries, which are below
# /etc/.machine, and two files of its own, hosts and a resolv.conf that programs may exchange by rename; what one command
# does to it the others see. /sys shows the host's interfaces, while /sys/fs/bpf stays the machine's, because pins are
# looked at from outside. The machine's system bus is out of reach: a host's own would be at an abstract address, which
# is a network namespace's.
dir=$1
shift
# Never over the machine's own /etc.
! [ /proc/self/ns/mnt -ef /proc/1/ns/mnt ] &&
	mount --rbind /etc "$dir/etc/.machine" &&
	mount --rbind "$dir/etc" /etc &&
	mount --bind "$dir/hosts" /etc/hosts &&
	mount --bind /sys/fs/bpf "$dir/bpf" &&
	mount -t sysfs sysfs /sys &&
	mount --bind "$dir/bpf" /sys/fs/bpf || exit 126
export DBUS_SYSTEM_BUS_ADDRESS=unix:abstract=lab-system-bus
exec "$@"
