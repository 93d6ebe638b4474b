/* SPDX-License-Identifier: Apache-2.0
 *
 * Access tokens: how they are made, stored and compared.
 *
 * A token is 32 random bytes as 43 characters of unpadded base64url. The configuration holds only
 * its SHA-256. A fast, unsalted hash is the right one here: with 256 bits of entropy there is
 * nothing to guess, so neither stretching nor salt would add anything, while a slow hash would let
 * strangers burn our CPU with every handshake. This is not a password store; do not use it for
 * chosen secrets. */
#ifndef PENSTOCK_PORTAL_TOKEN_H
#define PENSTOCK_PORTAL_TOKEN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_HASH_LEN	  32
#define TOKEN_HASH_STRLEN 65 /* lower-case hex and a NUL */
#define TOKEN_TEXT_CAP	  48 /* 43 characters and a NUL, rounded up */
/* Shorter ones are refused wherever a token is seen in clear: they cannot carry 128 bits. */
#define TOKEN_MIN_LEN 32
#define TOKEN_MAX_LEN 4096

/* SHA-256 of the token's bytes. False when its length is outside TOKEN_MIN_LEN..TOKEN_MAX_LEN. */
bool token_hash(const char *text, size_t len, uint8_t hash[TOKEN_HASH_LEN]);
/* 64 hex digits, any case. */
bool token_hash_parse(const char *hex, uint8_t hash[TOKEN_HASH_LEN]);
void token_hash_fmt(const uint8_t hash[TOKEN_HASH_LEN], char out[TOKEN_HASH_STRLEN]);
/* In time that depends on nothing but the length. */
bool token_hash_eq(const uint8_t a[TOKEN_HASH_LEN], const uint8_t b[TOKEN_HASH_LEN]);
/* A token from 32 bytes of entropy; the caller wipes both. */
void token_from_entropy(const uint8_t entropy[32], char out[TOKEN_TEXT_CAP]);
#endif
