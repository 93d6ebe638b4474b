/* SPDX-License-Identifier: Apache-2.0
 *
 * The AEAD for bulk data behind one seam: many packets a call, each with its own key, so that an
 * implementation may fill its vector lanes across packets. ChaCha20-Poly1305 (RFC 8439) with the
 * nonce of WireGuard's data packets and no associated data; for anything else there is crypto.h.
 * Which implementation runs is decided by what the CPU can do, at run time.
 *
 * Safe to call from several threads at once, each with its own jobs. Nothing is allocated. Time
 * depends on lengths, on how many jobs there are and, for opening, on which tags were right: never
 * on keys or contents. */
#ifndef PENSTOCK_CRYPTO_AEAD_BATCH_H
#define PENSTOCK_CRYPTO_AEAD_BATCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "crypto/crypto.h"

/* One packet. The nonce is 4 zero bytes and the counter little endian. */
struct aead_job {
	const uint8_t *key; /* AEAD_KEY bytes; neither in nor inside out of any job */
	uint64_t counter;
	const uint8_t *in; /* seal: len bytes of plaintext; open: len bytes of ciphertext and tag */
	uint8_t *out;	   /* seal: len bytes of ciphertext and tag; open: len bytes of plaintext.
			    * out == in is fine; no other overlap, nor with another job's out */
	uint32_t len;	   /* without the tag */
	bool ok;	   /* open sets it: the tag was right; if not, out is untouched or zeroed */
};

/* Any n, any mix of keys and lengths. */
void aead_seal_batch(struct aead_job *jobs, size_t n);
/* Verifies, then decrypts: no byte of plaintext of a packet with a wrong tag is written. */
void aead_open_batch(struct aead_job *jobs, size_t n);

/* The implementation in use, for status: "avx512-16", "avx2-8", "libsodium". */
const char *aead_backend(void);
#endif
