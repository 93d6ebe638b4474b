/* SPDX-License-Identifier: Apache-2.0
 *
 * What all WireGuard connections of one node share: the static key pair, the gate that every
 * handshake message of a stranger must pass (mac1, then at most 100 a second, then cookies), and
 * the clock of the TAI64N stamps. Nothing here knows a peer.
 *
 * Receiving an initiation takes two steps, because only its decryption says whom it is from:
 *
 *     wg_local_admit(l, ...)      mac1, load; may answer with a cookie reply
 *     wg_initiation_open(l, ...)  one X25519: yields the sender's public key; the caller finds its
 * peer wg_peer_rx_initiation(...)  authenticates, judges the stamp, commits (wg_peer.h)
 *
 * Responses and cookie replies go to the peer that owns wg_msg_receiver(), responses after
 * wg_local_admit. */
#ifndef PENSTOCK_WG_LOCAL_H
#define PENSTOCK_WG_LOCAL_H
#include "base/addr.h"
#include "base/time.h"
#include "core/wg/cookie.h"
#include "core/wg/noise.h"
#include "core/wg/ratelimit.h"
#include "crypto/rng.h"
#include "wire/wg.h"

/* Judgement of a message from the network. Anything but WG_RX_OK left the object as it was. */
enum wg_rx {
	WG_RX_OK,
	WG_RX_NOT_HANDSHAKE, /* not WireGuard, or a data packet: not for this module */
	WG_RX_BAD_MAC1,	     /* not made for our public key */
	WG_RX_COOKIE,	     /* under load and without a valid mac2: a cookie reply is in *reply */
	WG_RX_LIMITED,	     /* under load, valid mac2, but this source already had its share */
	WG_RX_BAD_AUTH,	     /* an AEAD or a DH failed: not from that peer */
	WG_RX_REPLAY,	     /* authentic, but its stamp is not newer than the last one */
	WG_RX_FLOOD,	     /* authentic, but too soon after the previous initiation */
	WG_RX_UNEXPECTED,    /* no handshake of ours waits for this */
	WG_RX_WRONG_PEER,    /* the opened initiation is not from this peer's key */
	WG_RX_BUSY,	     /* the caller has not drained the events of earlier calls */
};
#define WG_RX_COUNT (WG_RX_BUSY + 1)

const char *wg_rx_name(enum wg_rx v);

/* One outgoing datagram, by value. */
struct wg_tx {
	uint8_t buf[WG_HANDSHAKE_MAX];
	uint32_t len;
};

struct wg_local {
	struct noise_static key;
	struct cookie_checker checker;
	struct rng rng;
	struct wall wall_base; /* wall clock at mono_base */
	uint64_t mono_base;
	uint64_t last_stamp_ns; /* last stamp issued, as ns since 1970: stamps only go up */
	struct wg_limit limit;	/* load accounting; changes on rejected packets too */
};

/* priv need not be clamped. wall is the current time of day, once: stamps advance with `now` from
 * there. */
void wg_local_init(struct wg_local *l, const uint8_t priv[32], const uint8_t seed[32],
		   struct wall wall, uint64_t now);
void wg_local_fini(struct wg_local *l);

/* The gate for initiations, responses and cookie replies. src is the peer's address as the packet
 * carries it (for relayed traffic: as the relay saw it). WG_RX_OK: go on; WG_RX_COOKIE: send *reply
 * to where the packet came from, same path. Else drop. */
enum wg_rx wg_local_admit(struct wg_local *l, const void *msg, size_t len, const struct ipaddr *src,
			  struct wg_tx *reply, uint64_t now);

/* Decrypt the sender's static key out of an admitted initiation. WG_RX_OK fills *out, whose
 * remote_static names the peer *claimed*; it is authentic only after wg_peer_rx_initiation. Wipe
 * *out (noise_opened_wipe) when done with it, whatever the outcome. */
enum wg_rx wg_initiation_open(const struct wg_local *l, const void *msg, size_t len,
			      struct noise_opened *out);

/* The next TAI64N stamp: coarse (about 17 ms steps, so as not to give the clock away) and strictly
 * increasing for this node's key, across all peers and re-created connections. */
void wg_local_stamp(struct wg_local *l, uint8_t stamp[WG_STAMP_LEN], uint64_t now);
#endif
