/* SPDX-License-Identifier: Apache-2.0
 *
 * Rebinding: an answer from outside that names an address of the tunnel's own ranges. It could
 * point a foreign name at a peer, at a resolver or at what a resource's name was given. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_REBIND_H
#define PENSTOCK_CORE_TUNNEL_DNS_REBIND_H
#include "codec/dns_msg.h"

/* Any record of any section, A, AAAA (mapped ones, too) or hint of HTTPS and SVCB. Rewinds. */
bool dns_rebind_found(struct dns_msg *m);
#endif
