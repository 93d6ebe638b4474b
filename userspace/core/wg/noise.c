/* SPDX-License-Identifier: Apache-2.0
 *
 * The handshake of WireGuard (whitepaper §5.4.2 and §5.4.3), token by token: each message function
 * reads like the pattern's line in noise.h, built from one helper per Noise token. Secrets live in
 * locals that every exit wipes; outputs are written in one block, after the last check. */
#include <errno.h>
#include <string.h>
#include "base/bytes.h"
#include "core/wg/noise.h"
#include "crypto/crypto.h"

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

/* ---- tokens ---- */

static void mix_hash(struct noise_sym *s, const void *data, size_t len)
{
	blake2s(NULL, 0, (struct crypto_span[]){{s->h, 32}, {data, len}}, 2, s->h, 32);
}

/* Both sides begin with the responder's static key. */
static void begin(struct noise_sym *s, const uint8_t responder_pub[32])
{
	blake2s(NULL, 0, &(struct crypto_span){construction, sizeof(construction) - 1}, 1, s->ck,
		32);
	memcpy(s->h, s->ck, 32);
	mix_hash(s, identifier, sizeof(identifier) - 1);
	mix_hash(s, responder_pub, 32);
}

static void mix_ephemeral(struct noise_sym *s, const uint8_t e_pub[32])
{
	mix_hash(s, e_pub, 32);
	kdf_blake2s(s->ck, e_pub, 32, s->ck, NULL, NULL);
}

/* A DH result into ck; key may be NULL when no encryption follows. */
static void mix_shared(struct noise_sym *s, uint8_t *key, const uint8_t shared[32])
{
	kdf_blake2s(s->ck, shared, 32, s->ck, key, NULL);
}

static int mix_dh(struct noise_sym *s, uint8_t *key, const uint8_t priv[32], const uint8_t pub[32])
{
	uint8_t shared[32];
	int rc = x25519(shared, priv, pub);

	if (rc == 0)
		mix_shared(s, key, shared);
	crypto_wipe(shared, sizeof(shared));
	return rc;
}

static void mix_psk(struct noise_sym *s, uint8_t key[32], const uint8_t psk[32])
{
	uint8_t tau[32];

	kdf_blake2s(s->ck, psk, 32, s->ck, tau, key);
	mix_hash(s, tau, 32);
	crypto_wipe(tau, sizeof(tau));
}

/* Seal with h as the associated data; every key is used once, so the counter is 0. */
static void seal(struct noise_sym *s, uint8_t *box, const uint8_t key[32], const void *plain,
		 size_t len)
{
	aead_seal(box, key, 0, s->h, 32, plain, len);
	mix_hash(s, box, len + WG_TAG_LEN);
}

static int open_box(struct noise_sym *s, uint8_t *plain, const uint8_t key[32], const uint8_t *box,
		    size_t box_len)
{
	if (aead_open(plain, key, 0, s->h, 32, box, box_len) != 0)
		return -EACCES;
	mix_hash(s, box, box_len);
	return 0;
}

static void split(const struct noise_sym *s, uint8_t initiator_sends[32],
		  uint8_t responder_sends[32])
{
	kdf_blake2s(s->ck, NULL, 0, initiator_sends, responder_sends, NULL);
}

static void ephemeral_make(uint8_t priv[32], uint8_t pub[32], struct rng *rng)
{
	rng_bytes(rng, priv, 32);
	x25519_clamp(priv);
	x25519_public(pub, priv);
}

/* ---- keys ---- */

void noise_static_init(struct noise_static *s, const uint8_t priv[32])
{
	memcpy(s->priv, priv, 32);
	x25519_clamp(s->priv);
	x25519_public(s->pub, s->priv);
	begin(&s->start, s->pub);
}

int noise_remote_init(struct noise_remote *r, const struct noise_static *me, const uint8_t pub[32],
		      const uint8_t psk[32])
{
	uint8_t ss[32];

	if (x25519(ss, me->priv, pub) != 0)
		return -EINVAL;
	memcpy(r->pub, pub, 32);
	memcpy(r->psk, psk, 32);
	memcpy(r->ss, ss, 32);
	crypto_wipe(ss, sizeof(ss));
	return 0;
}

/* ---- -> e, es, s, ss, {stamp} ---- */

int noise_initiation_write(struct wg_msg_initiation *m, struct noise_waiting *st,
			   const struct noise_static *me, const struct noise_remote *r,
			   uint32_t sender, const uint8_t stamp[WG_STAMP_LEN], struct rng *rng)
{
	struct noise_waiting w;
	uint8_t e_pub[32], key[32];
	int rc = -EINVAL;

	begin(&w.sym, r->pub);
	/* e */
	ephemeral_make(w.e_priv, e_pub, rng);
	mix_ephemeral(&w.sym, e_pub);
	/* es */
	if (mix_dh(&w.sym, key, w.e_priv, r->pub) != 0)
		goto out;
	memset(m, 0, sizeof(*m));
	/* s */
	seal(&w.sym, m->static_box, key, me->pub, 32);
	/* ss */
	mix_shared(&w.sym, key, r->ss);
	/* {stamp} */
	seal(&w.sym, m->stamp_box, key, stamp, WG_STAMP_LEN);

	le32_put((uint8_t *)&m->type_le, WG_MSG_INITIATION);
	le32_put((uint8_t *)&m->sender_le, sender);
	memcpy(m->ephemeral, e_pub, 32);
	*st = w;
	rc = 0;
out:
	crypto_wipe(&w, sizeof(w));
	crypto_wipe(key, sizeof(key));
	return rc;
}

int noise_initiation_open(const struct noise_static *me, const struct wg_msg_initiation *m,
			  struct noise_opened *out)
{
	struct noise_opened o;
	uint8_t key[32];
	int rc = -EACCES;

	o.sym = me->start;
	/* e */
	memcpy(o.remote_ephemeral, m->ephemeral, 32);
	mix_ephemeral(&o.sym, o.remote_ephemeral);
	/* es */
	if (mix_dh(&o.sym, key, me->priv, o.remote_ephemeral) != 0)
		goto out;
	/* s */
	if (open_box(&o.sym, o.remote_static, key, m->static_box, sizeof(m->static_box)) != 0)
		goto out;

	memcpy(o.stamp_box, m->stamp_box, sizeof(o.stamp_box));
	o.remote_index = wg_get_le32(&m->sender_le);
	*out = o;
	rc = 0;
out:
	crypto_wipe(&o, sizeof(o));
	crypto_wipe(key, sizeof(key));
	return rc;
}

int noise_initiation_verify(const struct noise_opened *in, const struct noise_remote *r,
			    struct noise_sym *after, uint8_t stamp[WG_STAMP_LEN])
{
	struct noise_sym s = in->sym;
	uint8_t key[32], t[WG_STAMP_LEN];
	int rc = -EACCES;

	/* ss */
	mix_shared(&s, key, r->ss);
	/* {stamp} */
	if (open_box(&s, t, key, in->stamp_box, sizeof(in->stamp_box)) != 0)
		goto out;

	memcpy(stamp, t, WG_STAMP_LEN);
	*after = s;
	rc = 0;
out:
	crypto_wipe(&s, sizeof(s));
	crypto_wipe(key, sizeof(key));
	return rc;
}

/* ---- <- e, ee, se, psk, {} ---- */

int noise_response_write(struct wg_msg_response *m, struct noise_keys *keys,
			 const struct noise_sym *sym, const uint8_t remote_ephemeral[32],
			 uint32_t remote_index, const struct noise_remote *r, uint32_t sender,
			 struct rng *rng)
{
	struct noise_sym s = *sym;
	uint8_t e_priv[32], e_pub[32], key[32];
	int rc = -EACCES;

	/* e */
	ephemeral_make(e_priv, e_pub, rng);
	mix_ephemeral(&s, e_pub);
	/* ee */
	if (mix_dh(&s, NULL, e_priv, remote_ephemeral) != 0)
		goto out;
	/* se */
	if (mix_dh(&s, NULL, e_priv, r->pub) != 0)
		goto out;
	/* psk */
	mix_psk(&s, key, r->psk);
	memset(m, 0, sizeof(*m));
	/* {} */
	seal(&s, m->empty_box, key, NULL, 0);

	le32_put((uint8_t *)&m->type_le, WG_MSG_RESPONSE);
	le32_put((uint8_t *)&m->sender_le, sender);
	le32_put((uint8_t *)&m->receiver_le, remote_index);
	memcpy(m->ephemeral, e_pub, 32);
	split(&s, keys->recv, keys->send);
	rc = 0;
out:
	crypto_wipe(&s, sizeof(s));
	crypto_wipe(e_priv, sizeof(e_priv));
	crypto_wipe(key, sizeof(key));
	return rc;
}

int noise_response_read(const struct wg_msg_response *m, const struct noise_waiting *st,
			const struct noise_static *me, const struct noise_remote *r,
			struct noise_keys *keys)
{
	struct noise_sym s = st->sym;
	uint8_t key[32], nothing[1];
	int rc = -EACCES;

	/* e */
	mix_ephemeral(&s, m->ephemeral);
	/* ee */
	if (mix_dh(&s, NULL, st->e_priv, m->ephemeral) != 0)
		goto out;
	/* se */
	if (mix_dh(&s, NULL, me->priv, m->ephemeral) != 0)
		goto out;
	/* psk */
	mix_psk(&s, key, r->psk);
	/* {} */
	if (open_box(&s, nothing, key, m->empty_box, sizeof(m->empty_box)) != 0)
		goto out;

	split(&s, keys->send, keys->recv);
	rc = 0;
out:
	crypto_wipe(&s, sizeof(s));
	crypto_wipe(key, sizeof(key));
	return rc;
}

void noise_opened_wipe(struct noise_opened *o)
{
	crypto_wipe(o, sizeof(*o));
}
