/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of the relay's answers. Attribute order as Firezone's relay has it. What answers an
 * unproven request is as short as it can be: no SOFTWARE, no reason phrase, because its source may
 * be forged.
 */
#include <string.h>

#include "core/relay/relay_nonce.h"
#include "core/relay/relay_req.h"

const uint16_t relay_error_codes[RELAY_ERRORS_COUNT] = {400, 401, 403, 420, 437, 438,
							440, 441, 442, 443, 486, 508};

static const char *reason_of(uint16_t code)
{
	switch (code) {
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 420:
		return "Unknown Attribute";
	case 437:
		return "Allocation Mismatch";
	case 440:
		return "Address Family not Supported";
	case 441:
		return "Wrong Credentials";
	case 442:
		return "Unsupported Transport Protocol";
	case 443:
		return "Peer Address Family Mismatch";
	case 486:
		return "Allocation Quota Reached";
	case 508:
		return "Insufficient Capacity";
	default:
		return "";
	}
}

static void to_client(const struct endpoint *local, const struct endpoint *client,
		      struct relay_tx *tx)
{
	tx->to = RELAY_TO_CLIENT;
	tx->alloc = RELAY_NONE;
	tx->src_port = local->port;
	tx->local = *local;
	tx->dst = *client;
	tx->len = 0;
}

void relay_msg_open(const struct relay *r, const struct relay_req *q, enum stun_class cls,
		    struct stun_enc *e, struct relay_tx *tx)
{
	to_client(&q->in->local, &q->in->client, tx);
	stun_enc_init(e, tx->buf, sizeof(tx->buf), (enum stun_method)q->m.method, cls, &q->m.tid);
	if (q->proven && r->cfg.software[0])
		stun_put_bytes(e, STUN_A_SOFTWARE, r->cfg.software, strlen(r->cfg.software));
}

void relay_msg_close(const struct relay_req *q, struct stun_enc *e, struct relay_tx *tx)
{
	if (q->key.cred != RELAY_CRED_NONE)
		stun_put_integrity(e, q->key.b, sizeof(q->key.b));
	if (q->fingerprint)
		stun_put_fingerprint(e);
	if (stun_enc_done(e, &tx->len))
		tx->len = 0;
}

void relay_msg_error(const struct relay *r, struct relay_req *q, uint16_t code,
		     const uint16_t *unknown, size_t n, uint64_t now, struct relay_tx *tx)
{
	struct stun_enc e;

	q->error = code;
	relay_msg_open(r, q, STUN_ERROR, &e, tx);
	stun_put_error(&e, code, q->proven ? reason_of(code) : "");
	if (code == 401 || code == 438) {
		char nonce[RELAY_NONCE_LEN + 1];

		relay_nonce_make(r->nonce_key, &q->in->client, nonce, now);
		stun_put_bytes(&e, STUN_A_REALM, r->auth.realm, strlen(r->auth.realm));
		stun_put_bytes(&e, STUN_A_NONCE, nonce, RELAY_NONCE_LEN);
	}
	if (code == 420)
		stun_put_unknown(&e, unknown, n);
	relay_msg_close(q, &e, tx);
}

bool relay_msg_channel(const struct endpoint *local, const struct endpoint *client,
		       uint16_t channel, const uint8_t *data, size_t len, struct relay_tx *tx)
{
	to_client(local, client, tx);
	if (len > sizeof(tx->buf) - TURN_CHAN_HDR_LEN)
		return false;
	turn_chan_put(tx->buf, channel, (uint16_t)len);
	if (len)
		memcpy(tx->buf + TURN_CHAN_HDR_LEN, data, len);
	tx->len = TURN_CHAN_HDR_LEN + len;
	return true;
}

bool relay_msg_data(const struct relay_alloc *a, const struct endpoint *peer,
		    const struct stun_tid *tid, const uint8_t *data, size_t len,
		    struct relay_tx *tx)
{
	struct stun_enc e;

	to_client(&a->local, &a->client, tx);
	stun_enc_init(&e, tx->buf, sizeof(tx->buf), STUN_DATA, STUN_INDICATION, tid);
	stun_put_xor_addr(&e, STUN_A_XOR_PEER_ADDRESS, peer);
	stun_put_bytes(&e, STUN_A_DATA, data, len);
	if (stun_enc_done(&e, &tx->len)) {
		tx->len = 0;
		return false;
	}
	return true;
}
