/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the stub resolver: what its two halves, queries (dns_stub.c) and what comes of them
 * (dns_stub_wait.c), share. */
#ifndef PENSTOCK_CORE_TUNNEL_DNS_STUB_INT_H
#define PENSTOCK_CORE_TUNNEL_DNS_STUB_INT_H
#include "core/tunnel/dns_stub.h"

/* An action that says nothing yet. */
void dns_action_init(struct dns_action *out);
/* ANSWER: a reply of our own to a query of who. */
void dns_stub_say(struct dns_stub *s, const struct dns_asker *who, const struct dns_query *q,
		  const struct dns_reply *a, struct dns_action *out);
void dns_stub_say_code(struct dns_stub *s, const struct dns_asker *who, const struct dns_query *q,
		       enum dns_rcode code, struct dns_action *out);
/* UPSTREAM: send the query of a pending entry, which is SENT. */
void dns_stub_send(struct dns_stub *s, uint32_t slot, struct dns_action *out);
#endif
