/* SPDX-License-Identifier: Apache-2.0
 * What comes from the relay: answers and channel data. See turn.h.
 *
 * An answer is judged first, without touching anything, and acted on afterwards. Who may say what:
 *
 *   success of BINDING             anyone who knows the transaction id (RFC 8489 §9: not
 *                                  authenticated); it carries our address only
 *   success or error with MI       the relay: it knows the password
 *   401, 438 without MI            changes the nonce (and the realm, where none is configured)
 *   400 without MI and we sent     the request is asked without credentials, so that the server
 *     no nonce                     challenges us (some want the challenge to come first)
 *   anything else                  nobody: the request stays in flight */
#include <string.h>

#include "core/turn/turn_int.h"

/* What to do with an answer. */
enum verdict {
	V_REJECT,
	V_SUCCESS,
	V_CHALLENGE, /* learn nonce and realm, ask again at once */
	V_LEARN,     /* the same, but at the schedule's pace */
	V_BARE,	     /* ask again without credentials */
	V_ERROR,
};

struct answer {
	const struct stun_msg *m;
	struct turn_req *req;
	unsigned code;		      /* of an error */
	bool authentic;		      /* MESSAGE-INTEGRITY verified */
	struct endpoint mapped;	      /* BINDING */
	struct endpoint relayed[2];   /* ALLOCATE: v4, v6; family 0: none */
	uint32_t lifetime;	      /* ALLOCATE, REFRESH: seconds */
	const uint8_t *nonce, *realm; /* challenge */
	size_t nonce_len, realm_len;
};

static bool addr_good(const struct endpoint *e)
{
	return e->port && !ipaddr_is_unspecified(&e->ip) && !ipaddr_is_multicast(&e->ip);
}

static bool is_near(const struct ipaddr *ip)
{
	return ipaddr_is_loopback(ip) || ipaddr_is_link_local(ip);
}

/* Can the relay be right that this is an address beyond it? Not one that means something else to
 * everybody, unless the relay is near itself. */
static bool addr_far(const struct turn *t, const struct answer *a, const struct endpoint *e)
{
	return addr_good(e) && (!is_near(&e->ip) || is_near(&turn_server(t, a->req->server)->ip));
}

/* Can it be a relayed address: none of our own sockets, nor the relay's? What is sent from there
 * goes into a channel. */
static bool addr_relayable(const struct turn *t, const struct answer *a, const struct endpoint *e)
{
	for (unsigned i = 0; i < TURN_HOSTS_MAX; i++)
		if (endpoint_eq(e, &t->hosts[i].now.addr))
			return false;
	return addr_far(t, a, e) && !turn_is_server(t, e);
}

/* ---- judging: nothing here changes the machine ---- */

static enum turn_rx judge_binding(const struct turn *t, struct answer *a, enum verdict *v)
{
	if (a->m->cls == STUN_ERROR)
		return TURN_RX_IGNORED;
	if (!stun_xor_addr(a->m, STUN_A_XOR_MAPPED_ADDRESS, &a->mapped) ||
	    !addr_far(t, a, &a->mapped) ||
	    a->mapped.ip.family != turn_server(t, a->req->server)->ip.family)
		return TURN_RX_MALFORMED;
	*v = V_SUCCESS;
	return TURN_RX_CONTROL;
}

/* The first address of each family counts; one that cannot be a candidate does not. */
static void relayed_addrs(const struct turn *t, struct answer *a)
{
	unsigned n = stun_count(a->m, STUN_A_XOR_RELAYED_ADDRESS);
	struct endpoint e;

	for (unsigned i = 0; i < n; i++) {
		if (!stun_xor_addr_nth(a->m, STUN_A_XOR_RELAYED_ADDRESS, i, &e) ||
		    !addr_relayable(t, a, &e))
			continue;
		if (!a->relayed[e.ip.family == 6].ip.family)
			a->relayed[e.ip.family == 6] = e;
	}
}

static enum turn_rx judge_success(const struct turn *t, struct answer *a, enum verdict *v)
{
	if (!a->authentic)
		return TURN_RX_BAD_AUTH;
	if (a->req->method == STUN_ALLOCATE) {
		relayed_addrs(t, a);
		if (!a->relayed[0].ip.family && !a->relayed[1].ip.family)
			return TURN_RX_MALFORMED;
	}
	if (a->req->method != STUN_CHANNEL_BIND && !stun_u32(a->m, STUN_A_LIFETIME, &a->lifetime) &&
	    !a->req->removal)
		return TURN_RX_MALFORMED;
	if (a->req->method == STUN_ALLOCATE && !a->lifetime)
		return TURN_RX_MALFORMED;
	*v = V_SUCCESS;
	return TURN_RX_CONTROL;
}

static bool text_fits(const uint8_t *p, size_t len, size_t max)
{
	return len && len <= max && !memchr(p, 0, len);
}

/* 401 or 438, authentic or not. */
static enum turn_rx judge_challenge(const struct turn *t, struct answer *a, enum verdict *v)
{
	const struct turn_req *r = a->req;

	a->nonce = stun_bytes(a->m, STUN_A_NONCE, &a->nonce_len);
	a->realm = stun_bytes(a->m, STUN_A_REALM, &a->realm_len);
	if (!a->nonce || !text_fits(a->nonce, a->nonce_len, TURN_NONCE_MAX))
		return TURN_RX_MALFORMED;
	if (a->realm && !text_fits(a->realm, a->realm_len, TURN_REALM_MAX))
		return TURN_RX_MALFORMED;
	if (t->cfg.realm[0]) {
		if (a->realm && (a->realm_len != strlen(t->cfg.realm) ||
				 memcmp(a->realm, t->cfg.realm, a->realm_len)))
			return TURN_RX_REALM;
		a->realm = NULL;
	} else if (!a->realm && !t->realm[0]) {
		return TURN_RX_MALFORMED;
	}
	*v = r->n_auth < TURN_REAUTH_MAX && (a->code == 438 || !r->nonced) ? V_CHALLENGE : V_LEARN;
	return TURN_RX_CONTROL;
}

static enum turn_rx judge_error(const struct turn *t, struct answer *a, enum verdict *v)
{
	const struct turn_req *r = a->req;

	if (!stun_error_code(a->m, &a->code))
		return a->authentic || !a->m->mi_off ? TURN_RX_MALFORMED : TURN_RX_BAD_AUTH;
	/* Nobody's integrity can be checked while we know no realm. */
	if (!a->authentic && a->m->mi_off && t->realm[0])
		return TURN_RX_BAD_AUTH;
	if (a->code == 438 || (a->code == 401 && !(a->authentic && r->nonced)))
		return judge_challenge(t, a, v);
	if (!a->authentic && a->code == 400 && !r->nonced && !r->bare) {
		*v = V_BARE;
		return TURN_RX_CONTROL;
	}
	if (!a->authentic)
		return TURN_RX_BAD_AUTH;
	*v = V_ERROR;
	return TURN_RX_CONTROL;
}

static enum turn_rx judge(const struct turn *t, struct answer *a, enum verdict *v)
{
	if (stun_has(a->m, STUN_A_FINGERPRINT) && !stun_fingerprint_ok(a->m))
		return TURN_RX_MALFORMED;
	if (a->req->method == STUN_BINDING)
		return judge_binding(t, a, v);
	a->authentic = t->realm[0] && stun_integrity_ok(a->m, t->key, sizeof(t->key));
	if (a->m->cls == STUN_SUCCESS)
		return judge_success(t, a, v);
	return judge_error(t, a, v);
}

/* ---- acting: successes ---- */

static void see_local(struct turn *t, const struct endpoint *local, uint64_t now)
{
	if (!local || !local->ip.family || endpoint_eq(&t->local, local))
		return;
	t->local = *local;
	turn_chans_tell_again(&t->chans);
	turn_queue(t, now);
}

static void on_binding(struct turn *t, struct answer *a, const struct endpoint *local, uint64_t now)
{
	unsigned server = a->req->server;
	bool moved = turn_learn_mapped(t, server, local, &a->mapped, now);

	turn_req_free(t, a->req);
	if (t->state == TURN_PROBING) {
		t->active = (int8_t)server;
		turn_set_state(t, TURN_ALLOCATING, "the relay answers", now);
		see_local(t, local, now);
		turn_ask_allocation(t, now);
	} else if (t->active == (int)server && moved && t->state == TURN_READY) {
		/* Another address of ours is another client to the relay: see at once. */
		t->refresh_at = now;
	}
}

static void renew(struct turn *t, uint32_t lifetime, uint64_t now)
{
	t->lifetime_ns = lifetime * NS_PER_SEC;
	t->expires_at = time_add(now, t->lifetime_ns);
	t->refresh_at = time_add(now, t->lifetime_ns / 2);
}

static void on_allocated(struct turn *t, struct answer *a, uint64_t now)
{
	t->n_stale = 0;
	t->acct.allocations++;
	turn_req_free(t, a->req);
	turn_set_state(t, TURN_READY, "allocated", now);
	renew(t, a->lifetime, now);
	t->keepalive_at = time_add(now, TURN_KEEPALIVE_NS);
	for (unsigned i = 0; i < 2; i++)
		if (a->relayed[i].ip.family)
			turn_learn_relayed(t, &a->relayed[i], now);
}

/* The relay has nothing of ours, or nothing any more. */
static void allocate_anew(struct turn *t, const char *why, uint64_t now)
{
	turn_invalidate(t, now);
	if (t->state != TURN_ALLOCATING)
		turn_set_state(t, TURN_ALLOCATING, why, now);
	turn_ask_allocation_anew(t, now);
}

static void on_success(struct turn *t, struct answer *a, const struct endpoint *local, uint64_t now)
{
	struct turn_req *r = a->req;
	unsigned chan = r->chan;

	switch ((enum stun_method)r->method) {
	case STUN_BINDING:
		on_binding(t, a, local, now);
		return;
	case STUN_ALLOCATE:
		see_local(t, local, now);
		on_allocated(t, a, now);
		break;
	case STUN_REFRESH:
		if (r->removal || !a->lifetime) {
			allocate_anew(t, "removed by the relay", now);
			return;
		}
		see_local(t, local, now);
		turn_req_free(t, r);
		renew(t, a->lifetime, now);
		break;
	case STUN_CHANNEL_BIND:
		see_local(t, local, now);
		turn_req_free(t, r);
		turn_chan_confirm(&t->chans, chan, now);
		turn_queue(t, now);
		break;
	case STUN_SEND:
	case STUN_DATA:
	case STUN_CREATE_PERMISSION:
		return;
	}
	turn_ring_drain(t, now);
}

/* ---- acting: errors ---- */

static void learn_nonce(struct turn *t, const struct answer *a)
{
	memset(t->nonce, 0, sizeof(t->nonce));
	memcpy(t->nonce, a->nonce, a->nonce_len);
	t->acct.challenges++;
	if (!a->realm)
		return;
	memset(t->realm, 0, sizeof(t->realm));
	memcpy(t->realm, a->realm, a->realm_len);
	turn_derive_key(t);
}

static void on_challenge(struct turn *t, struct answer *a, bool at_once, uint64_t now)
{
	bool fresh = a->req->bare || !a->req->nonced;

	learn_nonce(t, a);
	if (at_once) {
		turn_req_again(t, a->req, false, now);
		return;
	}
	/* Past the limit, or a 401 although there was a nonce: perhaps a forgery, perhaps the
	 * password is wrong. Its next transmission has the new nonce and decides. */
	a->req->challenged |= !fresh && a->code == 401;
}

static void on_bare(struct turn *t, struct turn_req *r, uint64_t now)
{
	t->bare_first = true;
	turn_req_again(t, r, true, now);
}

/* A bind that was lost with its allocation is wanted still. */
static void rescue_binds(struct turn *t)
{
	for (unsigned i = 0; i < TURN_REQS_MAX; i++)
		if (t->reqs[i].method == STUN_CHANNEL_BIND)
			turn_ring_push(t, &t->reqs[i].peer);
}

static void on_mismatch(struct turn *t, const struct answer *a, uint64_t now)
{
	bool stale = a->req->method == STUN_ALLOCATE;

	rescue_binds(t);
	if (!stale) {
		allocate_anew(t, "the relay lost the allocation", now);
		return;
	}
	turn_invalidate(t, now);
	if (++t->n_stale > TURN_STALE_MAX) {
		turn_ring_clear(t);
		turn_set_state(t, TURN_SUSPENDED, "an old allocation will not go", now);
		return;
	}
	turn_ask_refresh(t, false, true, now);
}

/* Another way to ask for an allocation, if there is one left: remembered, for the relay will not
 * learn it meanwhile. */
static bool next_form(struct turn *t, const struct answer *a, uint64_t now)
{
	bool family = a->code == 440, form = family || a->code == 400 || a->code == 420;

	if (a->req->method != STUN_ALLOCATE)
		return false;
	if (a->req->form == TURN_FORM_DUAL && form)
		t->form = TURN_FORM_PLAIN;
	else if (a->req->form == TURN_FORM_PLAIN && family)
		t->form = TURN_FORM_V6;
	else
		return false;
	turn_req_free(t, a->req);
	turn_ask_allocation(t, now);
	return true;
}

/* It would not now: perhaps later, while there is time. */
static void refresh_later(struct turn *t, uint64_t now)
{
	uint64_t left = t->expires_at > now ? (t->expires_at - now) / 2 : 0;

	t->refresh_at = time_add(now, left > TURN_REFRESH_MIN_NS ? left : TURN_REFRESH_MIN_NS);
}

static void on_other(struct turn *t, struct answer *a, uint64_t now)
{
	unsigned method = a->req->method, chan = a->req->chan;

	turn_req_free(t, a->req);
	if (method == STUN_CHANNEL_BIND) {
		turn_chan_drop(&t->chans, chan);
		turn_queue(t, now);
		turn_ring_drain(t, now);
	} else if (t->state == TURN_READY) {
		refresh_later(t, now);
	} else {
		turn_invalidate(t, now);
		turn_ring_clear(t);
		t->form = a->code == 440 ? TURN_FORM_DUAL : t->form;
		turn_set_state(t, TURN_SUSPENDED, "the relay would not allocate", now);
	}
}

static void on_error(struct turn *t, struct answer *a, uint64_t now)
{
	t->acct.errors++;
	t->acct.last_error = a->code;
	if (next_form(t, a, now))
		return;
	if (a->code == 401)
		turn_give_up(t, TURN_REFUSED, "authentication error", now);
	else if (a->code == 420)
		turn_give_up(t, TURN_BROKEN, "the relay does not understand us", now);
	else if (a->code == 437)
		on_mismatch(t, a, now);
	else
		on_other(t, a, now);
}

/* ---- entry ---- */

static void measure(struct turn *t, const struct turn_req *r, uint64_t now)
{
	uint64_t rtt = time_since(r->sent_at, now);

	t->rtt_ns = t->rtt_ns ? (7 * t->rtt_ns + rtt) / 8 : rtt;
	t->rtt_ns += !t->rtt_ns;
}

static enum turn_rx answer_input(struct turn *t, const struct endpoint *local,
				 const struct endpoint *remote, const void *data, size_t len,
				 uint64_t now)
{
	struct answer a = {0};
	enum verdict v = V_REJECT;
	struct stun_msg m;
	enum turn_rx rx;

	if (stun_decode(&m, data, len) != STUN_OK)
		return TURN_RX_MALFORMED;
	if (m.cls != STUN_SUCCESS && m.cls != STUN_ERROR)
		return TURN_RX_UNKNOWN;
	a.m = &m;
	a.req = turn_req_find(t, &m.tid);
	if (!a.req || !a.req->sent_at || a.req->method != m.method ||
	    !endpoint_eq(turn_server(t, a.req->server), remote))
		return TURN_RX_UNKNOWN;
	rx = judge(t, &a, &v);
	if (v == V_REJECT)
		return rx;
	if (v != V_LEARN) /* which may come again and again, for later copies */
		measure(t, a.req, now);
	if (v == V_SUCCESS)
		on_success(t, &a, local, now);
	else if (v == V_ERROR)
		on_error(t, &a, now);
	else if (v == V_BARE)
		on_bare(t, a.req, now);
	else
		on_challenge(t, &a, v == V_CHALLENGE, now);
	return rx;
}

static enum turn_rx data_input(struct turn *t, const void *data, size_t len, struct turn_data *out,
			       uint64_t now)
{
	struct turn_chan_hdr h;
	unsigned i;

	if (!turn_chan_parse(data, (uint32_t)len, &h))
		return TURN_RX_MALFORMED;
	i = turn_chan_of_number(&t->chans, h.number);
	if (i == TURN_CHAN_NONE || !turn_chan_connected(&t->chans.at[i], now))
		return TURN_RX_NO_CHANNEL;
	out->peer = t->chans.at[i].peer;
	out->number = h.number;
	out->off = TURN_CHAN_HDR_LEN;
	out->len = h.len;
	if (!turn_relayed(t, out->peer.ip.family, &out->local))
		return TURN_RX_NO_CHANNEL;
	turn_chan_heard(&t->chans, i, now);
	return TURN_RX_DATA;
}

enum turn_rx turn_input(struct turn *t, const struct endpoint *local, const struct endpoint *remote,
			const void *data, size_t len, struct turn_data *out, uint64_t now)
{
	const uint8_t *first = data;
	enum turn_rx rx = TURN_RX_FOREIGN;

	if (turn_is_server(t, remote)) {
		if (len && *first >= 0x40 && *first <= 0x7f)
			rx = data_input(t, data, len, out, now);
		else
			rx = answer_input(t, local, remote, data, len, now);
	}
	if (rx == TURN_RX_CONTROL || rx == TURN_RX_DATA)
		t->heard_at = now;
	t->acct.rx[rx]++;
	return rx;
}
