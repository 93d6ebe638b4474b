/* SPDX-License-Identifier: Apache-2.0
 *
 * A hostile device: description and super-packet. The first ten bytes are the description, the rest
 * the packet. Checked besides memory safety: the packets are as many and as long as was said, each
 * parses, verifies by the plain checksum, and together they carry the payload. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "codec/ip_packet.h"
#include "fwd/off_split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DESCRIPTION 10

static void require(bool ok)
{
	if (!ok)
		abort();
}

static struct off_gso description(const uint8_t *d)
{
	return (struct off_gso){.kind = d[0],
				.csum = d[1] & 1,
				.ecn = d[1] & 2,
				.hdr_len = be16_get(d + 2),
				.size = be16_get(d + 4),
				.csum_start = be16_get(d + 6),
				.csum_off = be16_get(d + 8)};
}

static void check_segment(const struct off_split *s, const uint8_t *p, size_t len)
{
	struct ip_meta m;

	require(!ip_packet_parse(p, len, &m) && m.total_len == len);
	require(m.l4 == (s->kind == OFF_TCP ? IP_L4_TCP : IP_L4_UDP));
	require(!ip_csum_l4(p, &m));
	require(m.family == 6 || !ip_csum(p, (size_t)(p[0] & 15) * 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n, payload = 0, packets = 0, len = size - DESCRIPTION;
	uint8_t *pkt, *out;
	struct off_gso g;
	struct off_split s;

	if (size < DESCRIPTION)
		return 0;
	g = description(data);
	pkt = malloc(len + 1); /* of its own, so that a read beyond it shows */
	require(pkt != NULL);
	memcpy(pkt, data + DESCRIPTION, len);
	if (!off_split_begin(&s, pkt, len, &g)) {
		out = malloc(off_split_max(&s));
		require(out && s.count >= 1);
		require(!off_split_next(&s, out, s.count > 1 ? off_split_max(&s) - 1 : len - 1));
		while ((n = off_split_next(&s, out, off_split_max(&s)))) {
			require(n <= off_split_max(&s));
			if (g.kind != OFF_NONE) {
				check_segment(&s, out, n);
				require(!memcmp(out + s.hdr_len, pkt + s.hdr_len + payload,
						n - s.hdr_len));
				payload += n - s.hdr_len;
			}
			packets++;
		}
		require(packets == s.count);
		require(g.kind == OFF_NONE || payload == len - s.hdr_len);
		free(out);
	}
	free(pkt);
	return 0;
}
