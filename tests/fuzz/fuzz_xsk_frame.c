/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames from an AF_XDP ring. Besides memory safety: what is taken lies within the frame, is a
 * data message by its first bytes, and is read the same twice. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "io/xsk_rx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct udp_dgram g, again;
	uint8_t *p;

	if (!size || size > XSK_RX_FRAME)
		return 0;
	p = malloc(size);
	require(p);
	memcpy(p, data, size);
	if (xsk_frame_read(p, size, 51820, 51821, &g)) {
		require(g.data > p && g.data + g.len <= p + size && g.len >= 16);
		require(le32_get(g.data) == 4 && !g.truncated && g.ecn < 4);
		require(g.local.ip.family == g.remote.ip.family);
		require(g.local.port == (g.local.ip.family == 4 ? 51820 : 51821));
		require(xsk_frame_read(p, size, 51820, 51821, &again));
		require(!memcmp(&g, &again, sizeof(g)));
	}
	free(p);
	return 0;
}
