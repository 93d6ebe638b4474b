/* SPDX-License-Identifier: Apache-2.0
 *
 * Nonces nobody has to remember: the minute they were made in and a MAC over it and the client's
 * endpoint. One is good for RELAY_NONCE_NS (RFC 8489 §9.2 wants them to end), for any number of
 * requests, from the client's socket alone. */
#ifndef PENSTOCK_CORE_RELAY_NONCE_H
#define PENSTOCK_CORE_RELAY_NONCE_H
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"

#define RELAY_NONCE_LEN 20 /* base64 of 3 bytes of time and 12 of MAC */
#define RELAY_NONCE_NS	(3600 * NS_PER_SEC)

enum relay_nonce {
	RELAY_NONCE_OK,
	RELAY_NONCE_STALE,     /* too old, of another client, of an earlier life of the relay */
	RELAY_NONCE_MALFORMED, /* we never made one like it */
};

/* out: RELAY_NONCE_LEN characters and a NUL. */
void relay_nonce_make(const uint8_t key[32], const struct endpoint *client,
		      char out[RELAY_NONCE_LEN + 1], uint64_t now);
enum relay_nonce relay_nonce_check(const uint8_t key[32], const struct endpoint *client,
				   const void *text, size_t len, uint64_t now);
#endif
