/* SPDX-License-Identifier: Apache-2.0
 * Requests to the relay: their schedule and their bytes. See turn.h.
 *
 * Nothing is stored encoded: a retransmission has the transaction id of the first copy, so that a
 * late answer counts (RFC 8489 §6.2.1), and the newest nonce. Whether it carries a nonce at all is
 * fixed with the id, because a 401 means something else then (§9.2.5). */
#include <assert.h>
#include <string.h>

#include "core/turn/turn_int.h"

#define SOFTWARE      "penstock"
#define TRANSPORT_UDP (17U << 24)
#define FAMILY_V6     ((uint32_t)STUN_FAMILY_IPV6 << 24)

/* Transmissions 0, 1, 2.5 and 4.75 s after the start; given up at 8.125 s: 1 s, then half as much
 * longer each time, until the next would lie past 8 s. */
static const uint64_t schedule_ms[] = {0, 1000, 2500, 4750, 8125};
#define STEPS (sizeof(schedule_ms) / sizeof(*schedule_ms) - 1)

static void set_due(struct turn *t, struct turn_req *r, bool due)
{
	t->n_due = (uint16_t)(t->n_due + due - r->due);
	r->due = due;
}

/* A transaction of its own, from its first transmission on. */
static void begin(struct turn *t, struct turn_req *r, uint64_t now)
{
	rng_bytes(&t->rng, r->tid.b, sizeof(r->tid.b));
	r->start = now;
	r->sent_at = 0;
	r->step = 0;
	r->next_at = time_add(now, r->probe ? TURN_PROBE_NS : schedule_ms[1] * NS_PER_MS);
	r->nonced = r->method != STUN_BINDING && t->nonce[0] != 0;
	set_due(t, r, true);
	turn_queue(t, now);
}

struct turn_req *turn_req_new(struct turn *t, enum stun_method method, unsigned server,
			      uint64_t now)
{
	for (unsigned i = 0; i < TURN_REQS_MAX; i++) {
		struct turn_req *r = &t->reqs[i];

		if (r->method)
			continue;
		*r = (struct turn_req){.method = (uint16_t)method, .server = (uint8_t)server};
		r->bare = method != STUN_BINDING && !t->nonce[0] && (t->bare_first || !t->realm[0]);
		t->n_reqs++;
		begin(t, r, now);
		return r;
	}
	t->acct.reqs_full++;
	return NULL;
}

void turn_req_free(struct turn *t, struct turn_req *r)
{
	set_due(t, r, false);
	memset(r, 0, sizeof(*r));
	t->n_reqs--;
}

void turn_req_free_all(struct turn *t, bool bindings)
{
	for (unsigned i = 0; i < TURN_REQS_MAX && t->n_reqs; i++)
		if (t->reqs[i].method && (bindings || t->reqs[i].method != STUN_BINDING))
			turn_req_free(t, &t->reqs[i]);
}

struct turn_req *turn_req_find(struct turn *t, const struct stun_tid *tid)
{
	for (unsigned i = 0; i < TURN_REQS_MAX && t->n_reqs; i++)
		if (t->reqs[i].method && stun_tid_eq(&t->reqs[i].tid, tid))
			return &t->reqs[i];
	return NULL;
}

struct turn_req *turn_req_of(struct turn *t, enum stun_method method)
{
	for (unsigned i = 0; i < TURN_REQS_MAX && t->n_reqs; i++)
		if (t->reqs[i].method == method)
			return &t->reqs[i];
	return NULL;
}

void turn_req_again(struct turn *t, struct turn_req *r, bool bare, uint64_t now)
{
	r->bare = bare;
	r->n_auth++;
	begin(t, r, now);
}

bool turn_req_step(struct turn *t, struct turn_req *r, uint64_t now)
{
	if (r->probe)
		return false;
	while (r->step < STEPS && time_since(r->start, now) >= schedule_ms[r->step + 1] * NS_PER_MS)
		r->step++;
	if (r->step == STEPS)
		return false;
	r->next_at = time_add(r->start, schedule_ms[r->step + 1] * NS_PER_MS);
	set_due(t, r, true);
	turn_queue(t, now);
	return true;
}

/* ---- what is asked ---- */

void turn_ask_binding(struct turn *t, unsigned server, uint64_t now)
{
	turn_req_new(t, STUN_BINDING, server, now);
	if ((int)server == t->active)
		t->keepalive_at = time_add(now, TURN_KEEPALIVE_NS);
}

void turn_ask_allocation(struct turn *t, uint64_t now)
{
	struct turn_req *r = turn_req_new(t, STUN_ALLOCATE, (unsigned)t->active, now);

	if (r)
		r->form = (uint8_t)t->form;
}

void turn_ask_allocation_anew(struct turn *t, uint64_t now)
{
	uint64_t paid = t->paced_at > now ? t->paced_at : now;

	t->paced_at = time_add(paid, TURN_ANEW_NS);
	if (paid - now > TURN_ANEW_BURST_NS)
		t->allocate_at = paid - TURN_ANEW_BURST_NS;
	else
		turn_ask_allocation(t, now);
}

void turn_ask_refresh(struct turn *t, bool probe, bool removal, uint64_t now)
{
	struct turn_req *r = turn_req_new(t, STUN_REFRESH, (unsigned)t->active, now);

	if (!r)
		return;
	r->removal = removal;
	r->probe = probe;
	if (probe)
		r->next_at = time_add(now, TURN_PROBE_NS);
}

bool turn_ask_channel(struct turn *t, unsigned i, uint64_t now)
{
	struct turn_req *r = turn_req_new(t, STUN_CHANNEL_BIND, (unsigned)t->active, now);

	if (!r)
		return false;
	r->chan = (uint16_t)i;
	r->peer = t->chans.at[i].peer;
	t->chans.at[i].in_flight = true;
	return true;
}

/* ---- bytes ---- */

static void put_auth(const struct turn *t, const struct turn_req *r, struct stun_enc *e)
{
	if (r->bare)
		return;
	stun_put_bytes(e, STUN_A_USERNAME, t->cfg.username, strlen(t->cfg.username));
	stun_put_bytes(e, STUN_A_REALM, t->realm, strlen(t->realm));
	if (r->nonced)
		stun_put_bytes(e, STUN_A_NONCE, t->nonce, strlen(t->nonce));
	stun_put_integrity(e, t->key, sizeof(t->key));
}

static void put_allocate(const struct turn_req *r, struct stun_enc *e)
{
	stun_put_u32(e, STUN_A_REQUESTED_TRANSPORT, TRANSPORT_UDP);
	if (r->form == TURN_FORM_DUAL)
		stun_put_u32(e, STUN_A_ADDITIONAL_ADDRESS_FAMILY, FAMILY_V6);
	if (r->form == TURN_FORM_V6)
		stun_put_u32(e, STUN_A_REQUESTED_ADDRESS_FAMILY, FAMILY_V6);
}

static void encode(const struct turn *t, const struct turn_req *r, struct turn_tx *out)
{
	struct stun_enc e;
	int rc;

	stun_enc_init(&e, out->buf, sizeof(out->buf), (enum stun_method)r->method, STUN_REQUEST,
		      &r->tid);
	if (r->method == STUN_ALLOCATE)
		put_allocate(r, &e);
	if (r->method == STUN_REFRESH && r->removal)
		stun_put_u32(&e, STUN_A_LIFETIME, 0);
	if (r->method == STUN_CHANNEL_BIND) {
		stun_put_u32(&e, STUN_A_CHANNEL_NUMBER, (uint32_t)turn_chan_number(r->chan) << 16);
		stun_put_xor_addr(&e, STUN_A_XOR_PEER_ADDRESS, &r->peer);
	}
	stun_put_bytes(&e, STUN_A_SOFTWARE, SOFTWARE, sizeof(SOFTWARE) - 1);
	if (r->method != STUN_BINDING)
		put_auth(t, r, &e);
	rc = stun_enc_done(&e, &out->len);
	assert(!rc); /* the limits of names, realm and nonce leave room */
	(void)rc;
}

bool turn_poll_tx(struct turn *t, struct turn_tx *out, uint64_t now)
{
	for (unsigned i = 0; i < TURN_REQS_MAX && t->n_due; i++) {
		struct turn_req *r = &t->reqs[i];

		if (!r->due)
			continue;
		set_due(t, r, false);
		out->local = (struct endpoint){0};
		out->remote = *turn_server(t, r->server);
		encode(t, r, out);
		t->acct.tx++;
		t->acct.retransmits += r->sent_at != 0;
		if (!r->sent_at)
			r->sent_at = now;
		return true;
	}
	if (!turn_has_news(t))
		t->queued_at = TIME_NEVER;
	return false;
}
