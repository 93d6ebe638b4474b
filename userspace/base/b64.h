/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64 (RFC 4648 §4: standard alphabet, padding required, no line breaks). The decoder is strict:
 * the one canonical text of a byte string is the only one accepted (trailing bits must be zero).
 * Not constant time over the data; what it carries here crosses the wire as text anyway. */
#ifndef PENSTOCK_BASE_B64_H
#define PENSTOCK_BASE_B64_H
#include <stddef.h>
#include <stdint.h>

#define B64_STRLEN(n)  ((((n) + 2) / 3) * 4 + 1) /* with NUL */
#define B64_KEY_STRLEN B64_STRLEN(32)

/* len bytes into out of B64_STRLEN(len), NUL-terminated; returns out. */
const char *b64_encode(const void *in, size_t len, char *out);
/* text_len characters. 0 and *len, -EINVAL (not canonical base64) or -EMSGSIZE (does not fit cap).
 */
int b64_decode(const char *text, size_t text_len, void *out, size_t cap, size_t *len);
/* A 32-byte key from its 44 characters and a NUL. 0 or -EINVAL; out is untouched on error. */
int b64_key_decode(const char *text, uint8_t out[32]);
#endif
