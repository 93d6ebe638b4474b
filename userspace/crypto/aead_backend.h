/* SPDX-License-Identifier: Apache-2.0
 *
 * The implementations behind aead_batch.h, one by one: for that seam, and for tests and benchmarks
 * that hold them against each other; and for blake2s_avx512.c, which asks the same of a CPU. Nobody
 * else includes this. */
#ifndef PENSTOCK_CRYPTO_AEAD_BACKEND_H
#define PENSTOCK_CRYPTO_AEAD_BACKEND_H
#include "crypto/aead_batch.h"

struct aead_backend {
	const char *name;
	bool (*usable)(void); /* this CPU and operating system can run it */
	void (*seal)(struct aead_job *jobs, size_t n);
	void (*open)(struct aead_job *jobs, size_t n);
};

#if defined(__x86_64__)
extern const struct aead_backend aead_avx512, aead_avx2;
#endif
extern const struct aead_backend aead_sodium;

/* Best first, NULL behind the last; the last one is usable everywhere. */
const struct aead_backend *const *aead_backends(void);
#endif
