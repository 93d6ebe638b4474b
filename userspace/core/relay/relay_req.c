/* SPDX-License-Identifier: Apache-2.0
 *
 * Judging a request as far as that needs no tables. The order is that of Firezone's relay, with the
 * RFC's where that has nothing: form (400), then credentials (401, 438), then unknown attributes
 * (420, RFC 8489 §6.3), and only then what is asked. */
#include <string.h>

#include "core/relay/relay_nonce.h"
#include "core/relay/relay_req.h"

static enum relay_method method_of(const struct stun_msg *m)
{
	switch (m->method) {
	case STUN_BINDING:
		return RELAY_M_BINDING;
	case STUN_ALLOCATE:
		return RELAY_M_ALLOCATE;
	case STUN_REFRESH:
		return RELAY_M_REFRESH;
	case STUN_CREATE_PERMISSION:
		return RELAY_M_PERMISSION;
	case STUN_CHANNEL_BIND:
		return RELAY_M_CHANNEL;
	default:
		return RELAY_M_OTHER;
	}
}

static enum relay_rx refuse(const struct relay *r, struct relay_req *q, uint16_t code, uint64_t now,
			    struct relay_tx *tx)
{
	relay_msg_error(r, q, code, NULL, 0, now, tx);
	return RELAY_RX_REFUSED;
}

/* 0 and q->proven with the key to answer with, or the error. */
static uint16_t prove(const struct relay *r, struct relay_req *q, uint64_t unix_s, uint64_t now)
{
	const struct stun_msg *m = &q->m;
	const uint8_t *nonce;
	size_t len;

	if (!stun_has(m, STUN_A_MESSAGE_INTEGRITY) || !stun_has(m, STUN_A_USERNAME))
		return 401;
	nonce = stun_bytes(m, STUN_A_NONCE, &len);
	if (!nonce)
		return 401;
	switch (relay_nonce_check(r->nonce_key, &q->in->client, nonce, len, now)) {
	case RELAY_NONCE_OK:
		break;
	case RELAY_NONCE_STALE:
		return 438;
	case RELAY_NONCE_MALFORMED:
		return 401;
	}
	if (relay_auth_check(&r->auth, m, unix_s, &q->key) != RELAY_AUTH_OK)
		return 401;
	q->user = (const char *)stun_bytes(m, STUN_A_USERNAME, &q->user_len);
	q->proven = true;
	return 0;
}

/* Comprehension-required types we do not comprehend, DONT-FRAGMENT among them when it cannot be
 * granted (RFC 8656 §7.2). */
static size_t unknown_types(const struct relay *r, const struct stun_msg *m,
			    uint16_t out[STUN_UNKNOWN_MAX + 1])
{
	size_t n = m->n_unknown;

	memcpy(out, m->unknown, n * sizeof(*out));
	if (!r->cfg.dont_fragment && stun_has(m, STUN_A_DONT_FRAGMENT))
		out[n++] = STUN_A_DONT_FRAGMENT;
	return n;
}

static enum relay_rx bound(const struct relay *r, const struct relay_req *q, struct relay_tx *tx)
{
	struct stun_enc e;

	relay_msg_open(r, q, STUN_SUCCESS, &e, tx);
	stun_put_xor_addr(&e, STUN_A_XOR_MAPPED_ADDRESS, &q->in->client);
	relay_msg_close(q, &e, tx);
	return RELAY_RX_DONE;
}

static enum relay_rx request_judge(const struct relay *r, struct relay_req *q, uint64_t unix_s,
				   uint64_t now, struct relay_tx *tx)
{
	uint16_t unknown[STUN_UNKNOWN_MAX + 1], code;
	size_t n = unknown_types(r, &q->m, unknown);

	if (q->method == RELAY_M_OTHER ||
	    (q->method == RELAY_M_ALLOCATE && !stun_has(&q->m, STUN_A_REQUESTED_TRANSPORT)))
		return refuse(r, q, 400, now, tx);
	if (q->method != RELAY_M_BINDING) {
		code = prove(r, q, unix_s, now);
		if (code) {
			relay_auth_error_key(&r->auth, &q->m, &q->key);
			return refuse(r, q, code, now, tx);
		}
	}
	if (n) {
		relay_msg_error(r, q, 420, unknown, n, now, tx);
		return RELAY_RX_REFUSED;
	}
	return q->method == RELAY_M_BINDING ? bound(r, q, tx) : RELAY_RX_STATE;
}

enum relay_rx relay_req_judge(const struct relay *r, const struct relay_dgram *in, uint64_t unix_s,
			      uint64_t now, struct relay_req *q, struct relay_tx *tx)
{
	uint16_t unknown[STUN_UNKNOWN_MAX + 1];
	enum stun_verdict v;

	memset(q, 0, sizeof(*q));
	q->in = in;
	v = stun_decode(&q->m, in->data, in->len);
	/* Without a header there is nobody to answer. */
	if (v != STUN_OK && !q->m.data)
		return RELAY_RX_MALFORMED;
	q->method = method_of(&q->m);
	if (v != STUN_OK)
		return q->m.cls == STUN_REQUEST ? refuse(r, q, 400, now, tx) : RELAY_RX_MALFORMED;
	q->fingerprint = q->m.fp_off;
	if (q->fingerprint && !stun_fingerprint_ok(&q->m))
		return RELAY_RX_MALFORMED;
	if (q->m.cls == STUN_REQUEST)
		return request_judge(r, q, unix_s, now, tx);
	if (q->m.cls == STUN_INDICATION && q->m.method == STUN_SEND &&
	    !unknown_types(r, &q->m, unknown))
		return relay_send(r, q, now, tx);
	return RELAY_RX_IGNORED;
}
