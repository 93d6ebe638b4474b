/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend of aead_batch.h that runs everywhere: crypto.h's AEAD, one packet after the other. */
#include "crypto/aead_backend.h"

static bool usable(void)
{
	return true;
}

static void seal(struct aead_job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		aead_seal(jobs[i].out, jobs[i].key, jobs[i].counter, NULL, 0, jobs[i].in,
			  jobs[i].len);
}

static void open(struct aead_job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct aead_job *j = &jobs[i];

		j->ok = aead_open(j->out, j->key, j->counter, NULL, 0, j->in,
				  (size_t)j->len + AEAD_TAG) == 0;
	}
}

const struct aead_backend aead_sodium = {"libsodium", usable, seal, open};
