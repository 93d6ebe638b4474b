/* SPDX-License-Identifier: Apache-2.0
 *
 * Randomness from the kernel: seeds for the sans-IO machines, and the material of identities. */
#ifndef PENSTOCK_IO_ENTROPY_H
#define PENSTOCK_IO_ENTROPY_H
#include <stddef.h>

#define ENTROPY_UUID_LEN 37 /* with the NUL */

/* Fill out, waiting for the kernel's pool at early boot if need be. 0 or -errno. */
int entropy_get(void *out, size_t len);
/* Random (version 4) UUID as text. 0 or -errno. */
int entropy_uuid4(char out[ENTROPY_UUID_LEN]);
#endif
