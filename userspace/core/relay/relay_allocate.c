/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocate (RFC 8656 §7.2), in the order of checks of Firezone's relay: 437, 508 when no port is
 * left, 442, then families, ports and quotas. Nothing changes before everything is decided. */
#include "core/relay/relay_req.h"
#include "core/relay/relay_state.h"

#define IPPROTO_OF_UDP 17
#define EVEN_PORT_R    0x80

/* What is asked, decided. */
struct grant {
	uint8_t families;
	uint16_t port; /* 0: to be drawn */
	bool even, reserve;
	uint32_t replaces; /* the user's allocation that gives way, or RELAY_NONE */
};

uint32_t relay_lifetime_s(const struct relay_req *q)
{
	uint32_t s;

	if (!stun_u32(&q->m, STUN_A_LIFETIME, &s))
		return RELAY_LIFETIME_S;
	return s < RELAY_LIFETIME_MAX ? s : RELAY_LIFETIME_MAX;
}

/* relay_F* of an address family attribute; 0: absent, or no family. */
static uint8_t family_asked(const struct relay_req *q, enum stun_attr_type type)
{
	uint32_t v;

	if (!stun_u32(&q->m, type, &v))
		return 0;
	switch (v >> 24) {
	case STUN_FAMILY_IPV4:
		return RELAY_F4;
	case STUN_FAMILY_IPV6:
		return RELAY_F6;
	default:
		return 0;
	}
}

static uint16_t decide_families(const struct relay *r, const struct relay_req *q, uint8_t *out)
{
	uint8_t have = (uint8_t)((r->cfg.public4.family ? RELAY_F4 : 0) |
				 (r->cfg.public6.family ? RELAY_F6 : 0));
	bool wants = stun_has(&q->m, STUN_A_REQUESTED_ADDRESS_FAMILY);
	bool more = stun_has(&q->m, STUN_A_ADDITIONAL_ADDRESS_FAMILY);
	uint8_t one = wants ? family_asked(q, STUN_A_REQUESTED_ADDRESS_FAMILY) : RELAY_F4;

	/* §7.2: both is an error, and so is more IPv4. */
	if (more && (wants || family_asked(q, STUN_A_ADDITIONAL_ADDRESS_FAMILY) != RELAY_F6))
		return 400;
	if (more) {
		*out = have;
		return 0;
	}
	*out = one;
	return one & have ? 0 : 440;
}

static uint16_t decide_port(const struct relay *r, const struct relay_req *q, struct grant *g)
{
	size_t len;
	const uint8_t *token = stun_bytes(&q->m, STUN_A_RESERVATION_TOKEN, &len);
	const uint8_t *even = stun_bytes(&q->m, STUN_A_EVEN_PORT, &len);

	if (even) {
		g->even = true;
		g->reserve = even[0] & EVEN_PORT_R;
	}
	if (g->reserve && stun_has(&q->m, STUN_A_ADDITIONAL_ADDRESS_FAMILY))
		return 400;
	if (!token)
		return 0;
	if (even || stun_has(&q->m, STUN_A_REQUESTED_ADDRESS_FAMILY) ||
	    stun_has(&q->m, STUN_A_ADDITIONAL_ADDRESS_FAMILY))
		return 400;
	g->port = relay_resv_find(&r->table, token);
	return g->port ? 0 : 508;
}

/* Counted as they will be when the replaced allocation is gone. */
static uint16_t decide_quota(struct relay *r, const struct relay_req *q, const struct grant *g)
{
	const struct relay_table *t = &r->table;
	const struct relay_holder *user = relay_user_find(t, q->user, q->user_len);
	const struct relay_holder *source = relay_source_find(t, &q->in->client.ip);
	uint32_t n_source = source ? source->count : 0;
	bool replaces = g->replaces != RELAY_NONE;

	if (replaces && source == &t->sources.slots[t->allocs[g->replaces].source])
		n_source--;
	if (!replaces && user && r->cfg.user_quota && user->count >= r->cfg.user_quota) {
		r->acct.user_quota++;
		return 486;
	}
	if (r->cfg.source_quota && n_source >= r->cfg.source_quota) {
		r->acct.source_quota++;
		return 486;
	}
	if (t->n_allocs - (replaces ? 1 : 0) >= t->size.n_allocs || t->free_alloc == RELAY_NONE) {
		r->acct.allocs_full++;
		return 508;
	}
	return 0;
}

static uint16_t decide(struct relay *r, const struct relay_req *q, struct grant *g)
{
	const struct relay_holder *user;
	uint32_t transport;
	uint16_t code;

	if (!r->table.ports.n_free && !stun_has(&q->m, STUN_A_RESERVATION_TOKEN)) {
		r->acct.ports_full++;
		return 508;
	}
	if (!stun_u32(&q->m, STUN_A_REQUESTED_TRANSPORT, &transport) ||
	    transport >> 24 != IPPROTO_OF_UDP)
		return 442;
	code = decide_port(r, q, g);
	if (code)
		return code;
	code = decide_families(r, q, &g->families);
	if (code)
		return code;
	/* A portal's user has one allocation: its NAT may give it another port at any time, and two
	 * allocations would fight over a peer. */
	user = relay_user_find(&r->table, q->user, q->user_len);
	if (q->key.cred == RELAY_CRED_STAMP && user)
		g->replaces = user->alloc;
	return decide_quota(r, q, g);
}

static struct endpoint relayed(const struct relay *r, const struct relay_alloc *a, uint8_t family)
{
	return (struct endpoint){.ip = family == RELAY_F4 ? r->cfg.public4 : r->cfg.public6,
				 .port = a->port};
}

static void answer(const struct relay *r, const struct relay_req *q, const struct relay_alloc *a,
		   struct relay_tx *tx)
{
	struct stun_enc e;

	relay_msg_open(r, q, STUN_SUCCESS, &e, tx);
	for (uint8_t f = RELAY_F4; f <= RELAY_F6; f = (uint8_t)(f << 1)) {
		struct endpoint at = relayed(r, a, f);

		if (a->families & f)
			stun_put_xor_addr(&e, STUN_A_XOR_RELAYED_ADDRESS, &at);
	}
	stun_put_xor_addr(&e, STUN_A_XOR_MAPPED_ADDRESS, &q->in->client);
	stun_put_u32(&e, STUN_A_LIFETIME, a->lifetime_s);
	if (a->has_token)
		stun_put_bytes(&e, STUN_A_RESERVATION_TOKEN, a->token, RELAY_TOKEN_LEN);
	/* §7.2: which of the two asked for there is not. */
	if (stun_has(&q->m, STUN_A_ADDITIONAL_ADDRESS_FAMILY) &&
	    a->families != (RELAY_F4 | RELAY_F6)) {
		uint32_t missing = a->families == RELAY_F4 ? STUN_FAMILY_IPV6 : STUN_FAMILY_IPV4;

		stun_put_u32(&e, STUN_A_ADDRESS_ERROR_CODE, missing << 24 | 4 << 8 | 40);
	}
	relay_msg_close(q, &e, tx);
}

uint16_t relay_do_allocate(struct relay *r, struct relay_req *q, struct relay_tx *tx, uint64_t now)
{
	struct relay_table *t = &r->table;
	uint32_t i = relay_alloc_of_client(t, &q->in->client), lifetime_s = relay_lifetime_s(q);
	struct grant g = {.replaces = RELAY_NONE};
	uint16_t code;

	if (i != RELAY_NONE) {
		/* §7.2: the answer to a retransmission is that to the first. */
		if (!stun_tid_eq(&t->allocs[i].tid, &q->m.tid) ||
		    !relay_alloc_is_user(t, i, q->user, q->user_len))
			return 437;
		answer(r, q, &t->allocs[i], tx);
		tx->alloc = i;
		return 0;
	}
	code = r->draining ? 508 : decide(r, q, &g);
	if (code)
		return code;
	if (!g.port)
		g.port = relay_ports_draw(&t->ports, &t->rng, g.even, g.reserve);
	if (!g.port || (g.reserve && !relay_resv_room(t))) {
		r->acct.ports_full++;
		return 508;
	}
	if (g.replaces != RELAY_NONE) {
		relay_alloc_del(t, g.replaces);
		r->acct.allocs_replaced++;
	}
	i = relay_alloc_add(
		t,
		&(struct relay_alloc_new){.client = &q->in->client,
					  .local = &q->in->local,
					  .port = g.port,
					  .families = g.families,
					  .user = q->user,
					  .user_len = q->user_len,
					  .tid = q->m.tid,
					  .lifetime_s = lifetime_s ? lifetime_s : RELAY_LIFETIME_S,
					  .reserve = g.reserve,
					  .portal = q->key.cred == RELAY_CRED_STAMP},
		now);
	r->acct.allocs_made++;
	answer(r, q, &t->allocs[i], tx);
	tx->alloc = i;
	return 0;
}
