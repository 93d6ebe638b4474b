/* SPDX-License-Identifier: Apache-2.0
 *
 * A NAT table with memory of a test's size, and packets as metadata. */
#ifndef PENSTOCK_TESTS_NAT_WORLD_H
#define PENSTOCK_TESTS_NAT_WORLD_H
#include <stdlib.h>
#include "core/tunnel/nat.h"
#include "tests/pkt.h"

#define NW_SEC(x) ((x) * NS_PER_SEC)

struct nat_sizes {
	uint32_t clients, mappings, sessions, tombs, mappings_max, sessions_max;
};

struct nat_world {
	struct nat n;
	struct nat_mem mem;
	size_t mapping_bytes, session_bytes; /* with their share of the indices, an entry */
	uint64_t now;
};

static inline void *nw_alloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size);

	if (!p)
		abort();
	return p;
}

static inline void nw_open(struct nat_world *w, const struct nat_sizes *z)
{
	const size_t cell = sizeof(struct idx_cell);
	size_t mc = idx_cap_for(z->mappings), sc = idx_cap_for(z->sessions),
	       tc = idx_cap_for(z->tombs);

	w->mem = (struct nat_mem){
		.clients = nw_alloc(z->clients, sizeof(struct nat_client)),
		.mappings = nw_alloc(z->mappings, sizeof(struct nat_mapping)),
		.sessions = nw_alloc(z->sessions, sizeof(struct nat_session)),
		.tombs = nw_alloc(z->tombs, sizeof(struct nat_tomb)),
		.mapping_cells = nw_alloc(mc, cell),
		.inside_cells = nw_alloc(sc, cell),
		.outside_cells = nw_alloc(sc, cell),
		.tomb_cells = nw_alloc(tc, cell),
		.client_cap = z->clients,
		.mapping_cap = z->mappings,
		.session_cap = z->sessions,
		.tomb_cap = z->tombs,
		.client_mappings_max = z->mappings_max,
		.client_sessions_max = z->sessions_max,
	};
	w->mapping_bytes = sizeof(struct nat_mapping) + mc * cell / z->mappings;
	w->session_bytes = sizeof(struct nat_session) + 2 * sc * cell / z->sessions;
	w->now = NW_SEC(1000);
	nat_init(&w->n, &w->mem, 0x5eed);
}

static inline void nw_close(struct nat_world *w)
{
	free(w->mem.clients);
	free(w->mem.mappings);
	free(w->mem.sessions);
	free(w->mem.tombs);
	free(w->mem.mapping_cells);
	free(w->mem.inside_cells);
	free(w->mem.outside_cells);
	free(w->mem.tomb_cells);
}

/* The table wants a sweep before `until`: it is then, but never before now. */
static inline bool nw_due(struct nat_world *w, uint64_t until)
{
	uint64_t at = nat_deadline(&w->n).at;

	if (at > until)
		return false;
	w->now = at > w->now ? at : w->now;
	return true;
}

/* When a session ends by itself, as the specification says it (tunnel §2.6): kind 0 is TCP. closed:
 * by FIN both ways, or RST. */
static inline uint64_t nw_session_end(int kind, bool rst, bool closed, uint64_t out_ns,
				      uint64_t in_ns)
{
	uint64_t last = in_ns > out_ns ? in_ns : out_ns;

	if (rst)
		return last;
	if (closed)
		return last + NW_SEC(5);
	if (!in_ns)
		return last + NW_SEC(60);
	return last + (kind == 0 ? NW_SEC(7440) : NW_SEC(120));
}

/* Ports are identifiers for ICMP. */
static inline struct ip_meta nw_meta(const struct ipaddr *src, const struct ipaddr *dst,
				     uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct ip_meta m = {.src = *src, .dst = *dst, .family = src->family, .proto = proto};

	if (proto == IP_PROTO_TCP || proto == IP_PROTO_UDP) {
		m.l4 = proto == IP_PROTO_TCP ? IP_L4_TCP : IP_L4_UDP;
		m.sport = sport;
		m.dport = dport;
		m.tcp_flags = proto == IP_PROTO_TCP ? IP_TCP_ACK : 0;
	} else if (proto == IP_PROTO_ICMP || proto == IP_PROTO_ICMPV6) {
		m.l4 = IP_L4_ICMP_ECHO;
		m.icmp_id = sport;
	}
	return m;
}
#endif
