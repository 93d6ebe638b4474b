/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel switches a gateway needs, in the calling network namespace: forwarding of both
 * families and src_valid_mark; and the one a client needs: reverse-path filtering that is not
 * strict. What had another value before is remembered in a state file, so that a clean exit (or the
 * next start after a kill) puts back exactly what we changed, unless somebody changed it since. */
#ifndef PENSTOCK_IO_SYSCTL_H
#define PENSTOCK_IO_SYSCTL_H
#include <stdbool.h>
#include "io/err.h"

/* Set the switches; state_path (e.g. /run/penstock/<instance>.sysctl) remembers. An existing state
 * file (a killed run) keeps its older, truer values. IPv6 switches the kernel lacks are skipped. 0
 * or -errno when IPv4 forwarding could not be had. */
int sysctl_forward_enable(const char *state_path, struct io_err *err);
/* Where the interface's IPv4 packets are filtered strictly by the way back, filter them loosely.
 * The same state file. 0 or -errno. */
int sysctl_loosen(const char *state_path, const char *ifname, struct io_err *err);
/* Put back and remove the state file; none there is fine. */
int sysctl_restore(const char *state_path, struct io_err *err);
/* Current value of /proc/sys/<name with slashes>, or -errno. */
int sysctl_read(const char *name);
#endif
