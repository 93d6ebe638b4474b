/* SPDX-License-Identifier: Apache-2.0
 *
 * getrandom, whole or not at all. */
#include "io/entropy.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

int entropy_get(void *out, size_t len)
{
	uint8_t *p = out;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int entropy_uuid4(char out[ENTROPY_UUID_LEN])
{
	uint8_t b[16];
	char *p = out;
	int rc = entropy_get(b, sizeof(b));

	if (rc < 0)
		return rc;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* RFC 9562 variant */
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += snprintf(p, 3, "%02x", b[i]);
	}
	return 0;
}
