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

struct ice_creds {
	char username[5];
	char password[23];
};

/* The two parties of a connection, as their texts go on the wire. */
struct pair_ids {
	const char *client_id, *gateway_id;   /* UUID text */
	const char *client_key, *gateway_key; /* public keys, base64 text */
};

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

/* 64 bits of SHA-256 over the parts: where a device's search for a free tunnel address begins. */
uint64_t derive_offset(const char *const *parts);
#endif
