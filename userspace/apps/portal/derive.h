/* SPDX-License-Identifier: Apache-2.0
 *
 * Values both ends of a connection must agree on, computed from what the portal already knows, so
 * that asking twice gives the same answer: ICE credentials, the WireGuard preshared key,
 * identifiers and tunnel-address offsets. Pure functions; no randomness, no storage. */
#ifndef PENSTOCK_PORTAL_DERIVE_H
#define PENSTOCK_PORTAL_DERIVE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

#define KEY_B64_STRLEN 45 /* 32 bytes in padded base64 and a NUL */
#define PSK_BASE_LEN   32
#define STAMP_MAX      512 /* of a relay's secret */
#define TURN_TEXT_MAX  128 /* of a user name or a password */

struct ice_creds {
	char username[5];
	char password[23];
};

/* The two parties of a connection, as their texts go on the wire. */
struct pair_ids {
	const char *client_id, *gateway_id;   /* UUID text */
	const char *client_key, *gateway_key; /* public keys, base64 text */
};

/* What a component shows a relay. Secret; the caller wipes it. */
struct turn_creds {
	char username[TURN_TEXT_MAX + 1];
	char password[TURN_TEXT_MAX + 1];
};

/* Credentials a relay that joined can check with its stamp secret and nothing else: the user name
 * is "expiry:salt", the salt the unpadded base64 of SHA-256 over the component's public key, the
 * password that of SHA-256("expiry:stamp:salt"). The same inputs give the same credentials, so that
 * a component that comes back keeps its allocation. */
void derive_turn_stamp(const char *stamp, const char *public_key, uint64_t expiry,
		       struct turn_creds *out);
/* Time-limited credentials as TURN servers with a shared secret take them: user "expiry:name",
 * password base64(HMAC-SHA1(secret, user)). */
void derive_turn_shared(const char *secret, const char *name, uint64_t expiry,
			struct turn_creds *out);

/* base32(SHA-256("cid:ckey:gid:gkey")) cut in four: stable as long as both public keys are. */
void derive_ice(const struct pair_ids *p, struct ice_creds *client, struct ice_creds *gateway);

/* PBKDF2-HMAC-SHA256, one iteration, over both devices' never-sent secrets, salted with ids and
 * keys; base64 into out. Deterministic, so a lost answer cannot leave the two sides with different
 * keys. The caller wipes out. */
bool derive_psk(const struct pair_ids *p, const uint8_t client_base[PSK_BASE_LEN],
		const uint8_t gateway_base[PSK_BASE_LEN], char out[KEY_B64_STRLEN]);

/* An identifier for a named thing: the first 16 bytes of SHA-256 over the NUL-separated parts, made
 * to look like a version 4 UUID. parts ends with NULL. */
void derive_uuid(const char *const *parts, char out[UUID_STRLEN]);

/* A relay is its secret: the same from the secret's text alone, whatever its address. */
void derive_relay_id(const char *stamp, char out[UUID_STRLEN]);

/* 64 bits of SHA-256 over the parts: where a device's search for a free tunnel address begins. */
uint64_t derive_offset(const char *const *parts);
#endif
