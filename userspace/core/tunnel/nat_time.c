/* SPDX-License-Identifier: Apache-2.0
 *
 * When sessions end by themselves, what the kernel's flows say about them, and how the table is
 * read. A sweep looks at every session, which is a few nanoseconds each; due_ns, a lower bound of
 * their ends, keeps it from running in vain. */
#include <string.h>

#include "core/tunnel/nat_table.h"
#include "wire/load.h"

bool nat_session_is_closed(const struct nat_session *s)
{
	const uint8_t both = NAT_S_FIN_OUT | NAT_S_FIN_IN;

	return !(s->flags & NAT_S_SHARED) && ((s->flags & NAT_S_RST) || (s->flags & both) == both);
}

uint64_t nat_session_deadline(const struct nat_session *s)
{
	uint64_t last = s->last_in_ns > s->last_out_ns ? s->last_in_ns : s->last_out_ns;

	if (nat_session_is_closed(s))
		return s->flags & NAT_S_RST ? last : time_add(last, NAT_CLOSED_NS);
	if (!s->last_in_ns)
		return time_add(last, NAT_UNCONFIRMED_NS);
	switch ((enum nat_kind)s->kind) {
	case NAT_TCP:
		return time_add(last, NAT_TCP_NS);
	case NAT_UDP:
		return time_add(last, NAT_UDP_NS);
	case NAT_ECHO:
		break;
	}
	return time_add(last, NAT_ICMP_NS);
}

struct deadline nat_deadline(const struct nat *n)
{
	uint64_t at = n->due_ns, tomb;

	if (!n->session_count)
		at = TIME_NEVER;
	if (n->tomb_count) {
		tomb = time_add(n->mem.tombs[n->tomb_first].at_ns, NAT_TOMBSTONE_NS);
		at = tomb < at ? tomb : at;
	}
	if (n->ended)
		at = 0;
	if (at < time_add(n->swept_ns, NAT_SWEEP_NS))
		at = time_add(n->swept_ns, NAT_SWEEP_NS);
	return (struct deadline){.at = at, .why = "translated session ends"};
}

bool nat_timeout(struct nat *n, uint64_t now)
{
	uint64_t due = n->session_count ? time_add(now, NAT_SWEEP_MAX_NS) : TIME_NEVER;
	bool ended;

	for (uint32_t i = n->session_high; i-- > 0;) {
		const struct nat_session *s = &n->mem.sessions[i];
		uint64_t end;

		if (!s->kind)
			continue;
		end = nat_session_deadline(s);
		if (end > now) {
			due = end < due ? end : due;
			continue;
		}
		if (nat_session_is_closed(s))
			n->counters.closed++;
		else
			n->counters.expired++;
		nat_session_end(n, i, true, now);
	}
	while (nat_tomb_pop(n, now, false))
		;
	ended = n->ended;
	n->ended = false;
	n->tomb_fresh = 0;
	n->swept_ns = now;
	n->due_ns = due;
	return ended;
}

static uint8_t kind_of_proto(uint8_t proto)
{
	switch (proto) {
	case IP_PROTO_TCP:
		return NAT_TCP;
	case IP_PROTO_UDP:
		return NAT_UDP;
	case IP_PROTO_ICMP:
	case IP_PROTO_ICMPV6:
		return NAT_ECHO;
	default:
		return 0;
	}
}

static bool flow_says(const struct ps_flow *f, const struct ipaddr *a, uint16_t port)
{
	return ps_host16(f->nat_port) == port && !memcmp(f->nat_addr, a->b, sizeof(f->nat_addr));
}

bool nat_flow_seen(struct nat *n, bool to_resource, const struct ps_flow_key *k,
		   const struct ps_flow *f)
{
	const struct ipaddr far = ipaddr_from(k->family, to_resource ? k->daddr : k->saddr);
	uint8_t kind = kind_of_proto(k->proto);
	__be16 port = to_resource || kind == NAT_ECHO ? k->sport : k->dport;
	struct nat_key key = nat_key_of(to_resource ? k->peer : f->peer, kind, ps_host16(port),
					&far);
	uint32_t i = to_resource ? nat_inside_find(n, &key) : nat_outside_find(n, &key);
	struct nat_hit hit;
	uint64_t *last;

	if (!kind || i == NAT_NONE)
		return false;
	nat_hit_fill(n, i, to_resource, &hit);
	if (!flow_says(f, &hit.nat.addr, hit.nat.port))
		return false;
	last = to_resource ? &n->mem.sessions[i].last_out_ns : &n->mem.sessions[i].last_in_ns;
	if (f->last_ns > *last && f->last_ns >= n->mem.sessions[i].began_ns)
		*last = f->last_ns;
	return true;
}

/* ---- reading ---- */

uint32_t nat_mapping_next(const struct nat *n, uint32_t i)
{
	for (i++; i < n->mem.mapping_cap; i++)
		if (n->mem.mappings[i].family)
			return i;
	return NAT_NONE;
}

uint32_t nat_session_next(const struct nat *n, uint32_t i)
{
	for (i++; i < n->session_high; i++)
		if (n->mem.sessions[i].kind)
			return i;
	return NAT_NONE;
}

struct ipaddr nat_mapping_proxy(const struct nat_mapping *m)
{
	return ipaddr_from(m->family, m->proxy);
}

struct ipaddr nat_mapping_real(const struct nat_mapping *m)
{
	static const struct ipaddr none;

	return m->real_family ? ipaddr_from(m->real_family, m->real) : none;
}

struct ipaddr nat_session_real(const struct nat *n, const struct nat_session *s)
{
	return ipaddr_from(n->mem.mappings[s->mapping].family, s->real);
}
