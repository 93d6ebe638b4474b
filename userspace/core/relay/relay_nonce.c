/* SPDX-License-Identifier: Apache-2.0
 * See relay_nonce.h. */
#include "core/relay/relay_nonce.h"

#include <string.h>

#include "base/b64.h"
#include "base/bytes.h"
#include "crypto/crypto.h"

#define TIME_LEN  3
#define MAC_LEN	  12
#define RAW_LEN	  (TIME_LEN + MAC_LEN)
#define STEP_NS	  (60 * NS_PER_SEC)
#define STEP_MASK 0xffffffU /* of 24 bits of minutes: it wraps after 31 years */

_Static_assert(B64_STRLEN(RAW_LEN) == RELAY_NONCE_LEN + 1, "base64 without padding");

static uint32_t step_of(uint64_t now)
{
	return (uint32_t)(now / STEP_NS) & STEP_MASK;
}

static void seal(const uint8_t key[32], const struct endpoint *client, uint32_t step,
		 uint8_t raw[RAW_LEN])
{
	uint8_t who[1 + 16 + 2];
	struct crypto_span spans[] = {{raw, TIME_LEN}, {who, sizeof(who)}};

	raw[0] = (uint8_t)(step >> 16);
	be16_put(raw + 1, (uint16_t)step);
	who[0] = client->ip.family;
	memcpy(who + 1, client->ip.b, 16);
	be16_put(who + 17, client->port);
	blake2s(key, 32, spans, 2, raw + TIME_LEN, MAC_LEN);
}

void relay_nonce_make(const uint8_t key[32], const struct endpoint *client,
		      char out[RELAY_NONCE_LEN + 1], uint64_t now)
{
	uint8_t raw[RAW_LEN];

	seal(key, client, step_of(now), raw);
	b64_encode(raw, sizeof(raw), out);
}

enum relay_nonce relay_nonce_check(const uint8_t key[32], const struct endpoint *client,
				   const void *text, size_t len, uint64_t now)
{
	uint8_t got[RAW_LEN], want[RAW_LEN];
	uint32_t step;
	size_t n;

	if (len != RELAY_NONCE_LEN || b64_decode(text, len, got, sizeof(got), &n) || n != RAW_LEN)
		return RELAY_NONCE_MALFORMED;
	step = (uint32_t)got[0] << 16 | be16_get(got + 1);
	seal(key, client, step, want);
	if (!crypto_equal(got, want, RAW_LEN))
		return RELAY_NONCE_STALE;
	return ((step_of(now) - step) & STEP_MASK) < RELAY_NONCE_NS / STEP_NS ? RELAY_NONCE_OK
									      : RELAY_NONCE_STALE;
}
