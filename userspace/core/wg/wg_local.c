/* SPDX-License-Identifier: Apache-2.0
 *
 * The node's own key, the gate before handshake messages of strangers, and its TAI64N stamps. Only
 * the order is policy here: classify, mac1, count, mac2, per-source limit; the pieces are
 * cookie.c's and ratelimit.c's. */
#include <string.h>
#include "base/bytes.h"
#include "core/wg/wg_local.h"
#include "core/wg/wg_timers.h"
#include "crypto/crypto.h"

/* Stamps advance in steps of 2^24 ns (16.8 ms): fine enough for 20 ms between initiations, and too
 * coarse to measure our clock by. */
#define STAMP_STEP_NS (UINT64_C(1) << 24)

/* TAI64 label of 1970-01-01T00:00:00 UTC, by the convention that every WireGuard uses (TAI - UTC =
 * 10 s). */
#define TAI64_EPOCH UINT64_C(0x400000000000000a)

const char *wg_rx_name(enum wg_rx v)
{
	switch (v) {
	case WG_RX_OK:
		return "ok";
	case WG_RX_NOT_HANDSHAKE:
		return "not_handshake";
	case WG_RX_BAD_MAC1:
		return "bad_mac1";
	case WG_RX_COOKIE:
		return "cookie";
	case WG_RX_LIMITED:
		return "limited";
	case WG_RX_BAD_AUTH:
		return "bad_auth";
	case WG_RX_REPLAY:
		return "replay";
	case WG_RX_FLOOD:
		return "flood";
	case WG_RX_UNEXPECTED:
		return "unexpected";
	case WG_RX_WRONG_PEER:
		return "wrong_peer";
	case WG_RX_BUSY:
		return "busy";
	}
	return "unknown";
}

void wg_local_init(struct wg_local *l, const uint8_t priv[32], const uint8_t seed[32],
		   struct wall wall, uint64_t now)
{
	memset(l, 0, sizeof(*l));
	noise_static_init(&l->key, priv);
	cookie_checker_init(&l->checker, l->key.pub);
	rng_init(&l->rng, seed);
	wg_limit_init(&l->limit);
	l->wall_base = wall;
	l->mono_base = now;
}

void wg_local_fini(struct wg_local *l)
{
	crypto_wipe(l, sizeof(*l));
}

enum wg_rx wg_local_admit(struct wg_local *l, const void *msg, size_t len, const struct ipaddr *src,
			  struct wg_tx *reply, uint64_t now)
{
	const uint64_t cookie_ns = wg_times_default().cookie_ns;
	struct wg_msg_cookie cookie;
	uint32_t bucket;

	if (len > WG_HANDSHAKE_MAX)
		return WG_RX_NOT_HANDSHAKE;
	switch (wg_msg_classify(msg, (uint32_t)len)) {
	case WG_MSG_INITIATION:
	case WG_MSG_RESPONSE:
		break;
	case WG_MSG_COOKIE: /* carries no mac and costs one AEAD to whom it names */
		return WG_RX_OK;
	case WG_MSG_NONE:
	case WG_MSG_DATA:
		return WG_RX_NOT_HANDSHAKE;
	}
	/* Before counting: garbage must not be able to put the node under load. */
	if (!cookie_check_mac1(&l->checker, msg, len))
		return WG_RX_BAD_MAC1;
	if (!wg_limit_under_load(&l->limit, now))
		return WG_RX_OK;
	if (cookie_check(&l->checker, msg, len, src, cookie_ns, &bucket, now) == COOKIE_MAC2_VALID)
		return wg_limit_source(&l->limit, bucket, now) ? WG_RX_OK : WG_RX_LIMITED;
	cookie_reply_write(&l->checker, &cookie, msg, len, src, cookie_ns, &l->rng, now);
	memcpy(reply->buf, &cookie, sizeof(cookie));
	reply->len = sizeof(cookie);
	return WG_RX_COOKIE;
}

enum wg_rx wg_initiation_open(const struct wg_local *l, const void *msg, size_t len,
			      struct noise_opened *out)
{
	struct wg_msg_initiation m;

	if (len != sizeof(m) || wg_msg_classify(msg, sizeof(m)) != WG_MSG_INITIATION)
		return WG_RX_NOT_HANDSHAKE;
	memcpy(&m, msg, sizeof(m));
	return noise_initiation_open(&l->key, &m, out) == 0 ? WG_RX_OK : WG_RX_BAD_AUTH;
}

void wg_local_stamp(struct wg_local *l, uint8_t stamp[WG_STAMP_LEN], uint64_t now)
{
	uint64_t t = l->wall_base.sec * NS_PER_SEC + l->wall_base.nsec +
		     time_since(l->mono_base, now);

	t -= t % STAMP_STEP_NS;
	if (t <= l->last_stamp_ns)
		t = l->last_stamp_ns + STAMP_STEP_NS;
	l->last_stamp_ns = t;
	be64_put(stamp, TAI64_EPOCH + t / NS_PER_SEC);
	be32_put(stamp + 8, (uint32_t)(t % NS_PER_SEC));
}
