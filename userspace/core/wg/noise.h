/* SPDX-License-Identifier: Apache-2.0
 *
 * Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s as WireGuard uses it, four functions shaped like the two
 * messages:
 *
 *     <- s
 *     ...
 *     -> e, es, s, ss, {stamp}       noise_initiation_write / noise_initiation_open + _verify
 *     <- e, ee, se, psk, {}          noise_response_write   / noise_response_read
 *
 * Pure: state in, state out, no timers, no indices beyond those in the messages, and mac1/mac2 are
 * cookie.h's. Readers verify into locals and write outputs only on success. */
#ifndef PENSTOCK_WG_NOISE_H
#define PENSTOCK_WG_NOISE_H
#include <stdbool.h>
#include <stdint.h>
#include "crypto/rng.h"
#include "wire/wg.h"

/* Chaining key and transcript hash. */
struct noise_sym {
	uint8_t ck[32];
	uint8_t h[32];
};

struct noise_static {
	uint8_t priv[32];
	uint8_t pub[32];
	struct noise_sym start; /* of every handshake that comes to us: it depends on pub alone */
};

/* The other side, as far as the handshake needs it. */
struct noise_remote {
	uint8_t pub[32];
	uint8_t psk[32]; /* zero: none */
	uint8_t ss[32];	 /* DH(our static, their static) */
};

/* Initiator, between its message and the answer. */
struct noise_waiting {
	struct noise_sym sym;
	uint8_t e_priv[32];
};

/* Responder, between the two messages. */
struct noise_opened {
	struct noise_sym sym;
	uint8_t remote_static[32];
	uint8_t remote_ephemeral[32];
	uint8_t stamp_box[WG_STAMP_LEN + WG_TAG_LEN];
	uint32_t remote_index;
};

struct noise_keys {
	uint8_t send[32];
	uint8_t recv[32];
};

void noise_static_init(struct noise_static *s, const uint8_t priv[32]);
/* 0, or -EINVAL when pub is a low-order point. */
int noise_remote_init(struct noise_remote *r, const struct noise_static *me, const uint8_t pub[32],
		      const uint8_t psk[32]) __attribute__((warn_unused_result));

/* Fill all of m but the macs. 0, or -EINVAL for a remote key that cannot be used. */
int noise_initiation_write(struct wg_msg_initiation *m, struct noise_waiting *st,
			   const struct noise_static *me, const struct noise_remote *r,
			   uint32_t sender, const uint8_t stamp[WG_STAMP_LEN], struct rng *rng)
	__attribute__((warn_unused_result));
/* e, es, s: 0 and *out, or -EACCES. Says who claims to be calling. */
int noise_initiation_open(const struct noise_static *me, const struct wg_msg_initiation *m,
			  struct noise_opened *out) __attribute__((warn_unused_result));
/* ss, {stamp}: 0, or -EACCES; on success *after is the state to respond from. r must be
 * the remote whose key is in->remote_static. */
int noise_initiation_verify(const struct noise_opened *in, const struct noise_remote *r,
			    struct noise_sym *after, uint8_t stamp[WG_STAMP_LEN])
	__attribute__((warn_unused_result));
/* Fill all of m but the macs and derive the session keys. sym, remote_ephemeral and remote_index as
 * of the verified initiation. 0, or -EACCES when their ephemeral is a low-order point. */
int noise_response_write(struct wg_msg_response *m, struct noise_keys *keys,
			 const struct noise_sym *sym, const uint8_t remote_ephemeral[32],
			 uint32_t remote_index, const struct noise_remote *r, uint32_t sender,
			 struct rng *rng) __attribute__((warn_unused_result));
/* 0 and *keys, or -EACCES. */
int noise_response_read(const struct wg_msg_response *m, const struct noise_waiting *st,
			const struct noise_static *me, const struct noise_remote *r,
			struct noise_keys *keys) __attribute__((warn_unused_result));

void noise_opened_wipe(struct noise_opened *o);
#endif
