/* SPDX-License-Identifier: Apache-2.0
 *
 * mac1, mac2 and cookie replies (WireGuard whitepaper §5.4.4 and §5.4.7): keyed BLAKE2s over a
 * finished message, and one XChaCha20-Poly1305 box per reply. */
#include <errno.h>
#include <string.h>
#include "base/bytes.h"
#include "base/time.h"
#include "core/wg/cookie.h"
#include "crypto/crypto.h"

#define MACS_LEN (2 * WG_MAC_LEN)

static void label_key(uint8_t out[32], const char label[8], const uint8_t pub[32])
{
	blake2s(NULL, 0, (struct crypto_span[]){{label, 8}, {pub, 32}}, 2, out, 32);
}

static void mac(uint8_t out[WG_MAC_LEN], const void *key, size_t key_len, const void *msg,
		size_t len)
{
	blake2s(key, key_len, &(struct crypto_span){msg, len}, 1, out, WG_MAC_LEN);
}

static const uint8_t *mac1_of(const void *msg, size_t len)
{
	return (const uint8_t *)msg + len - MACS_LEN;
}

static const uint8_t *mac2_of(const void *msg, size_t len)
{
	return (const uint8_t *)msg + len - WG_MAC_LEN;
}

/* ---- our own key ---- */

void cookie_checker_init(struct cookie_checker *c, const uint8_t our_pub[32])
{
	memset(c, 0, sizeof(*c));
	label_key(c->mac1_key, "mac1----", our_pub);
	label_key(c->seal_key, "cookie--", our_pub);
}

bool cookie_check_mac1(const struct cookie_checker *c, const void *msg, size_t len)
{
	uint8_t want[WG_MAC_LEN];

	if (len < MACS_LEN)
		return false;
	mac(want, c->mac1_key, 32, msg, len - MACS_LEN);
	return crypto_equal(want, mac1_of(msg, len), WG_MAC_LEN);
}

static void cookie_make(const struct cookie_checker *c, const struct ipaddr *src,
			uint8_t out[WG_COOKIE_LEN])
{
	mac(out, c->secret, 32, src->b, ipaddr_size(src));
}

static bool secret_fresh(const struct cookie_checker *c, uint64_t cookie_ns, uint64_t now)
{
	return c->has_secret && time_since(c->secret_at, now) < cookie_ns;
}

enum cookie_verdict cookie_check(const struct cookie_checker *c, const void *msg, size_t len,
				 const struct ipaddr *src, uint64_t cookie_ns, uint32_t *bucket,
				 uint64_t now)
{
	uint8_t cookie[WG_COOKIE_LEN], want[WG_MAC_LEN];
	bool ok;

	if (!cookie_check_mac1(c, msg, len))
		return COOKIE_BAD_MAC1;
	if (!secret_fresh(c, cookie_ns, now))
		return COOKIE_MAC1_ONLY;
	cookie_make(c, src, cookie);
	mac(want, cookie, sizeof(cookie), msg, len - WG_MAC_LEN);
	ok = crypto_equal(want, mac2_of(msg, len), WG_MAC_LEN);
	if (ok && src->family == 6) /* the link's prefix (RFC 4291 §2.5.1) */
		mac(cookie, c->secret, 32, src->b, 8);
	if (ok)
		*bucket = le32_get(cookie);
	crypto_wipe(cookie, sizeof(cookie));
	return ok ? COOKIE_MAC2_VALID : COOKIE_MAC1_ONLY;
}

void cookie_reply_write(struct cookie_checker *c, struct wg_msg_cookie *out, const void *msg,
			size_t len, const struct ipaddr *src, uint64_t cookie_ns, struct rng *rng,
			uint64_t now)
{
	uint8_t cookie[WG_COOKIE_LEN];

	if (!secret_fresh(c, cookie_ns, now)) {
		rng_bytes(rng, c->secret, sizeof(c->secret));
		c->secret_at = now;
		c->has_secret = true;
	}
	cookie_make(c, src, cookie);
	le32_put((uint8_t *)&out->type_le, WG_MSG_COOKIE);
	memcpy(&out->receiver_le, (const uint8_t *)msg + 4, 4); /* the sender field of both kinds */
	rng_bytes(rng, out->nonce, sizeof(out->nonce));
	xaead_seal(out->cookie_box, c->seal_key, out->nonce, mac1_of(msg, len), WG_MAC_LEN, cookie,
		   sizeof(cookie));
	crypto_wipe(cookie, sizeof(cookie));
}

/* ---- a peer's key ---- */

void cookie_jar_init(struct cookie_jar *j, const uint8_t remote_pub[32])
{
	memset(j, 0, sizeof(*j));
	label_key(j->mac1_key, "mac1----", remote_pub);
	label_key(j->open_key, "cookie--", remote_pub);
}

void cookie_stamp(struct cookie_jar *j, void *msg, size_t len, uint64_t cookie_ns, uint64_t now)
{
	uint8_t *mac1 = (uint8_t *)msg + len - MACS_LEN, *mac2 = mac1 + WG_MAC_LEN;

	mac(mac1, j->mac1_key, 32, msg, len - MACS_LEN);
	memcpy(j->last_mac1, mac1, WG_MAC_LEN);
	j->has_mac1 = true;
	if (j->has_cookie && time_since(j->cookie_at, now) < cookie_ns)
		mac(mac2, j->cookie, sizeof(j->cookie), msg, len - WG_MAC_LEN);
	else
		memset(mac2, 0, WG_MAC_LEN);
}

int cookie_reply_read(struct cookie_jar *j, const struct wg_msg_cookie *m, uint64_t now)
{
	uint8_t cookie[WG_COOKIE_LEN];

	if (!j->has_mac1)
		return -ENOENT;
	if (xaead_open(cookie, j->open_key, m->nonce, j->last_mac1, WG_MAC_LEN, m->cookie_box,
		       sizeof(m->cookie_box)) != 0)
		return -EACCES;
	memcpy(j->cookie, cookie, sizeof(cookie));
	j->cookie_at = now;
	j->has_cookie = true;
	j->has_mac1 = false; /* one reply per message: a copy of it must not refresh the cookie */
	crypto_wipe(cookie, sizeof(cookie));
	return 0;
}
