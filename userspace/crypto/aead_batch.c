/* SPDX-License-Identifier: Apache-2.0
 * The choice behind aead_batch.h. */
#include "crypto/aead_backend.h"

const struct aead_backend *const *aead_backends(void)
{
	static const struct aead_backend *const all[] = {
#if defined(__x86_64__)
		&aead_avx512, &aead_avx2,
#endif
		&aead_sodium, NULL};

	return all;
}

/* Asked for every batch: a load and a test for each candidate, and no state that threads share. */
static const struct aead_backend *best(void)
{
	const struct aead_backend *const *b = aead_backends();

	while (!(*b)->usable())
		b++;
	return *b;
}

void aead_seal_batch(struct aead_job *jobs, size_t n)
{
	best()->seal(jobs, n);
}

void aead_open_batch(struct aead_job *jobs, size_t n)
{
	best()->open(jobs, n);
}

const char *aead_backend(void)
{
	return best()->name;
}
