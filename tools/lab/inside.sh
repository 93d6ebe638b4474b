#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs a command as if on a lab host: inside.sh HOSTDIR CMD…, started in the host's network namespace and a fresh
# mount namespace. The host's own /etc/hosts and /etc/resolv.conf are laid over the machine's; /sys shows the host's
# interfaces, while /sys/fs/bpf stays the machine's, because pins are looked at from outside.
dir=$1
shift
mount --bind "$dir/hosts" /etc/hosts &&
	mount --bind "$dir/resolv.conf" /etc/resolv.conf &&
	mount --bind /sys/fs/bpf "$dir/bpf" &&
	mount -t sysfs sysfs /sys &&
	mount --bind "$dir/bpf" /sys/fs/bpf || exit 126
exec "$@"
