/* SPDX-License-Identifier: Apache-2.0
 * Bytes of connectivity checks and their answers (RFC 8445 §7.1.1, §7.3.1.4; credentials §7.1.2,
 * short-term: the key is the receiver's password in a request and the sender's in a response, the
 * same one). */
#include <string.h>

#include "core/ice/ice_int.h"

static void tx_finish(struct stun_enc *e, const char *pwd, struct ice_tx *out)
{
	stun_put_integrity(e, pwd, strlen(pwd));
	stun_put_fingerprint(e);
	if (stun_enc_done(e, &out->len))
		out->len = 0;
}

void ice_msg_check(const struct ice *ice, const struct ice_pair *p, const struct stun_tid *tid,
		   bool nominate, struct ice_tx *out)
{
	const struct ice_cand *l = &ice->locals[p->local];
	uint32_t as_prflx = ice_priority(CAND_PRFLX, (uint16_t)(l->prio >> 8));
	char username[2 * ICE_UFRAG_MAX + 2];
	size_t theirs = strlen(ice->remote_creds.ufrag), ours = strlen(ice->local_creds.ufrag);
	struct stun_enc e;

	memcpy(username, ice->remote_creds.ufrag, theirs);
	username[theirs] = ':';
	memcpy(username + theirs + 1, ice->local_creds.ufrag, ours);
	out->local = l->base;
	out->remote = ice->remotes[p->remote].addr;
	stun_enc_init(&e, out->buf, sizeof(out->buf), STUN_BINDING, STUN_REQUEST, tid);
	stun_put_bytes(&e, STUN_A_USERNAME, username, theirs + 1 + ours);
	stun_put_u64(&e, ice->controlling ? STUN_A_ICE_CONTROLLING : STUN_A_ICE_CONTROLLED,
		     ice->tie_breaker);
	stun_put_u32(&e, STUN_A_PRIORITY, as_prflx);
	if (nominate)
		stun_put_flag(&e, STUN_A_USE_CANDIDATE);
	tx_finish(&e, ice->remote_creds.pwd, out);
}

void ice_msg_reply(const struct ice *ice, const struct ice_reply *r, struct ice_tx *out)
{
	struct stun_enc e;

	out->local = r->local;
	out->remote = r->remote;
	stun_enc_init(&e, out->buf, sizeof(out->buf), STUN_BINDING,
		      r->error ? STUN_ERROR : STUN_SUCCESS, &r->tid);
	if (!r->error)
		stun_put_xor_addr(&e, STUN_A_XOR_MAPPED_ADDRESS, &r->remote);
	else
		stun_put_error(&e, r->error,
			       r->error == 487 ? "Role Conflict" : "Unknown Attribute");
	if (r->n_unknown)
		stun_put_unknown(&e, r->unknown, r->n_unknown);
	tx_finish(&e, ice->local_creds.pwd, out);
}

static bool bytes_are(const uint8_t *p, size_t len, const char *s)
{
	return len == strlen(s) && !memcmp(p, s, len);
}

bool ice_msg_username(const struct ice *ice, const struct stun_msg *m, bool *ours)
{
	size_t len, left;
	const uint8_t *p = stun_bytes(m, STUN_A_USERNAME, &len);
	const uint8_t *colon = p ? memchr(p, ':', len) : NULL;

	if (!colon)
		return false;
	left = (size_t)(colon - p);
	*ours = bytes_are(p, left, ice->local_creds.ufrag) &&
		bytes_are(colon + 1, len - left - 1, ice->remote_creds.ufrag);
	return true;
}

bool ice_peek(const uint8_t *data, size_t len, struct ice_peek *out)
{
	struct stun_msg m;
	const uint8_t *p, *colon;
	size_t n;

	memset(out, 0, sizeof(*out));
	if (stun_decode(&m, data, len) != STUN_OK)
		return false;
	if (m.cls == STUN_SUCCESS || m.cls == STUN_ERROR) {
		out->response = true;
		out->tag = be32_get(m.tid.b);
		return true;
	}
	p = stun_bytes(&m, STUN_A_USERNAME, &n);
	colon = p ? memchr(p, ':', n) : NULL;
	if (colon && colon - p <= ICE_UFRAG_MAX)
		memcpy(out->ufrag, p, (size_t)(colon - p));
	return true;
}
