/* SPDX-License-Identifier: Apache-2.0
 * See relay.h: set-up, driving, counting, status. */
#include "core/relay/relay.h"

#include <errno.h>
#include <string.h>

#include "core/relay/relay_req.h"
#include "core/relay/relay_state.h"

#define SLOTS_MAX (1U << 24) /* of a table: far beyond any machine's use, and no sum overflows */

static struct relay_size size_full(const struct relay_size *size)
{
	return (struct relay_size){.n_allocs = size->n_allocs ? size->n_allocs : RELAY_ALLOCS,
				   .n_binds = size->n_binds ? size->n_binds : RELAY_BINDS,
				   .n_perms = size->n_perms ? size->n_perms : RELAY_PERMS};
}

size_t relay_mem_size(const struct relay_size *size)
{
	struct relay_table t = {.size = size_full(size)};

	return relay_table_layout(&t, NULL);
}

/* Defaults filled in. */
static int cfg_complete(struct relay_cfg *c)
{
	if (!c->port_lo && !c->port_hi) {
		c->port_lo = RELAY_PORT_LO;
		c->port_hi = RELAY_PORT_HI;
	}
	if (!c->listen_port)
		c->listen_port = TURN_PORT;
	c->size = size_full(&c->size);
	if (!c->port_lo || c->port_lo > c->port_hi ||
	    (c->public4.family != 4 && c->public4.family) ||
	    (c->public6.family != 6 && c->public6.family) ||
	    (!c->public4.family && !c->public6.family) || c->acl.n > RELAY_ACL_MAX ||
	    !memchr(c->software, 0, sizeof(c->software)) || c->size.n_allocs > RELAY_PORTS ||
	    c->size.n_binds > SLOTS_MAX || c->size.n_perms > SLOTS_MAX)
		return -EINVAL;
	return 0;
}

int relay_init(struct relay *r, const struct relay_cfg *cfg, const struct relay_auth *auth,
	       void *mem, size_t mem_len, const uint8_t seed[32], uint64_t now)
{
	int rc;

	(void)now;
	memset(r, 0, sizeof(*r));
	r->cfg = *cfg;
	rc = cfg_complete(&r->cfg);
	if (rc)
		return rc;
	if (mem_len < relay_mem_size(&r->cfg.size))
		return -ENOMEM;
	r->auth = *auth;
	r->table.size = r->cfg.size;
	relay_table_layout(&r->table, mem);
	relay_table_init(&r->table, &r->cfg, seed);
	rng_bytes(&r->table.rng, r->nonce_key, sizeof(r->nonce_key));
	return 0;
}

void relay_fini(struct relay *r)
{
	relay_auth_fini(&r->auth);
	crypto_wipe(r->nonce_key, sizeof(r->nonce_key));
	crypto_wipe(r->table.resvs, sizeof(r->table.resvs));
	rng_wipe(&r->table.rng);
}

/* ---- datagrams ---- */

/* All that changes nothing. q is for the caller to go on with, and to wipe. */
static enum relay_rx judge(const struct relay *r, const struct relay_dgram *in, uint64_t unix_s,
			   uint64_t now, struct relay_req *q, struct relay_tx *tx)
{
	q->key.cred = RELAY_CRED_NONE;
	q->m.method = 0;
	q->error = 0;
	tx->len = 0;
	tx->empty = false;
	if (!in->len || !in->client.port)
		return RELAY_RX_EMPTY;
	if (in->data[0] <= 3)
		return relay_req_judge(r, in, unix_s, now, q, tx);
	if (in->data[0] >= TURN_CHAN_MIN >> 8 && in->data[0] <= TURN_CHAN_MAX >> 8)
		return relay_channel_data(r, in, now, tx);
	return RELAY_RX_NOT_TURN;
}

static void count(struct relay *r, const struct relay_req *q, enum relay_rx rx)
{
	r->acct.rx[rx]++;
	if (rx == RELAY_RX_REFUSED) {
		for (unsigned i = 0; i < RELAY_ERRORS_COUNT; i++)
			r->acct.errors[i] += relay_error_codes[i] == q->error;
	} else if (rx == RELAY_RX_DONE && q->m.method) {
		if (q->m.cls == STUN_REQUEST)
			r->acct.ok[q->method]++;
		else
			r->acct.indications_to_peer++;
	}
}

static void carry_out(struct relay *r, struct relay_req *q, uint64_t now)
{
	uint16_t code = 400;

	switch (q->method) {
	case RELAY_M_ALLOCATE:
		code = relay_do_allocate(r, q, &r->tx, now);
		break;
	case RELAY_M_REFRESH:
		code = relay_do_refresh(r, q, &r->tx, now);
		break;
	case RELAY_M_PERMISSION:
		code = relay_do_permission(r, q, &r->tx, now);
		break;
	case RELAY_M_CHANNEL:
		code = relay_do_channel(r, q, &r->tx, now);
		break;
	case RELAY_M_BINDING:
	case RELAY_M_OTHER:
		break;
	}
	if (code)
		relay_msg_error(r, q, code, NULL, 0, now, &r->tx);
}

/* Time passes before anything else is looked at. false: the owner did not drain. */
static bool begin(struct relay *r, uint64_t now)
{
	if (r->table.n_events) {
		r->acct.rx[RELAY_RX_BUSY]++;
		return false;
	}
	if (r->tx.len || r->tx.empty)
		r->acct.tx_dropped++;
	relay_table_expire(&r->table, &r->acct, now);
	return true;
}

enum relay_rx relay_input(struct relay *r, const struct relay_dgram *in, uint64_t unix_s,
			  uint64_t now)
{
	struct relay_req q;
	enum relay_rx rx;

	if (!begin(r, now))
		return RELAY_RX_BUSY;
	rx = judge(r, in, unix_s, now, &q, &r->tx);
	if (rx == RELAY_RX_STATE) {
		carry_out(r, &q, now);
		rx = q.error ? RELAY_RX_REFUSED : RELAY_RX_DONE;
	}
	count(r, &q, rx);
	crypto_wipe(&q.key, sizeof(q.key));
	return rx;
}

enum relay_rx relay_answer(const struct relay *r, const struct relay_dgram *in, uint64_t unix_s,
			   uint64_t now, struct relay_tx *out)
{
	struct relay_req q;
	enum relay_rx rx = judge(r, in, unix_s, now, &q, out);

	crypto_wipe(&q.key, sizeof(q.key));
	return rx;
}

enum relay_rx relay_peer_input(struct relay *r, uint16_t port, const struct endpoint *peer,
			       const uint8_t *data, size_t len, uint64_t now)
{
	enum relay_rx rx;

	if (!begin(r, now))
		return RELAY_RX_BUSY;
	rx = relay_peer_answer(r, port, peer, data, len, now, &r->tx);
	r->acct.rx[rx]++;
	r->acct.indications_to_client += rx == RELAY_RX_DONE && r->tx.buf[0] < 4;
	return rx;
}

bool relay_poll_tx(struct relay *r, struct relay_tx *tx)
{
	if (!r->tx.len && !r->tx.empty)
		return false;
	memcpy(tx, &r->tx, offsetof(struct relay_tx, buf) + r->tx.len);
	r->tx.len = 0;
	r->tx.empty = false;
	return true;
}

/* ---- time, events, the owner's wishes ---- */

void relay_timeout(struct relay *r, uint64_t now)
{
	if (!r->table.n_events)
		relay_table_expire(&r->table, &r->acct, now);
}

struct deadline relay_deadline(const struct relay *r)
{
	static const char *const why[] = {"allocation", "channel", "permission", "reservation"};
	const struct due *d = due_heap_first(&r->table.heap);
	uint32_t slot;

	if (!d)
		return deadline_never();
	return (struct deadline){.at = d->at, .why = why[relay_due_kind(&r->table, d->id, &slot)]};
}

bool relay_poll_event(struct relay *r, struct relay_event *ev)
{
	return relay_event_pop(&r->table, ev);
}

void relay_set_host(struct relay *r, const struct ipaddr *ips, uint32_t n)
{
	r->n_host = n < RELAY_HOST_MAX ? n : RELAY_HOST_MAX;
	if (n)
		memcpy(r->host, ips, r->n_host * sizeof(*ips));
}

void relay_drain(struct relay *r, bool on)
{
	r->draining = on;
}

bool relay_close(struct relay *r, uint32_t alloc, uint64_t now)
{
	if (r->table.n_events || alloc > r->cfg.size.n_allocs ||
	    !relay_alloc_is_live(&r->table, alloc, now))
		return false;
	relay_alloc_del(&r->table, alloc);
	r->acct.allocs_deleted++;
	return true;
}

/* ---- status ---- */

uint32_t relay_alloc_cap(const struct relay *r)
{
	return r->cfg.size.n_allocs + 1;
}

bool relay_alloc_at(const struct relay *r, uint32_t alloc, struct relay_alloc_view *out)
{
	const struct relay_alloc *a;
	const struct relay_holder *user;

	if (alloc >= relay_alloc_cap(r) || r->table.allocs[alloc].state != RELAY_LIVE)
		return false;
	a = &r->table.allocs[alloc];
	user = &r->table.users.slots[a->user];
	*out = (struct relay_alloc_view){.client = a->client,
					 .local = a->local,
					 .port = a->port,
					 .families = a->families,
					 .expires_ns = a->expires_ns,
					 .n_binds = a->n_binds,
					 .n_perms = a->n_perms,
					 .user = user->name,
					 .user_len = user->len};
	return true;
}

bool relay_bind_at(const struct relay *r, uint32_t bind, struct relay_bind_view *out)
{
	const struct relay_bind *b;

	if (bind >= r->cfg.size.n_binds)
		return false;
	b = &r->table.binds[bind];
	if (b->state != RELAY_LIVE && b->state != RELAY_HELD)
		return false;
	*out = (struct relay_bind_view){.alloc = b->alloc,
					.channel = b->channel,
					.peer = b->peer,
					.expires_ns = b->expires_ns};
	return true;
}

uint32_t relay_n_allocs(const struct relay *r)
{
	return r->table.n_allocs;
}

uint32_t relay_n_binds(const struct relay *r)
{
	return r->table.n_binds;
}

uint32_t relay_n_perms(const struct relay *r)
{
	return r->table.n_perms;
}

const char *relay_rx_name(enum relay_rx rx)
{
	static const char *const names[RELAY_RX_COUNT] = {
		[RELAY_RX_DONE] = "done",
		[RELAY_RX_STATE] = "state",
		[RELAY_RX_EMPTY] = "empty",
		[RELAY_RX_NOT_TURN] = "not_turn",
		[RELAY_RX_MALFORMED] = "malformed",
		[RELAY_RX_IGNORED] = "ignored",
		[RELAY_RX_REFUSED] = "refused",
		[RELAY_RX_NO_ALLOC] = "no_allocation",
		[RELAY_RX_NO_CHANNEL] = "no_channel",
		[RELAY_RX_NO_PERMISSION] = "no_permission",
		[RELAY_RX_DENIED] = "denied",
		[RELAY_RX_SELF] = "self",
		[RELAY_RX_TOO_LARGE] = "too_large",
		[RELAY_RX_BUSY] = "busy",
	};

	return names[rx];
}

const char *relay_hit_name(enum relay_hit hit)
{
	static const char *const names[] = {
		[RELAY_HIT] = "hit",
		[RELAY_HIT_INDICATE] = "indicate",
		[RELAY_MISS_ALLOC] = "no_allocation",
		[RELAY_MISS_CHANNEL] = "no_channel",
		[RELAY_MISS_SELF] = "self",
	};

	return names[hit];
}
