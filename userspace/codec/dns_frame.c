/* SPDX-License-Identifier: Apache-2.0
 *
 * Framing of DNS over a stream; contracts in dns_frame.h. */
#include "codec/dns_frame.h"
#include "codec/dns_msg.h"

enum dns_frame dns_frame_next(const uint8_t *p, size_t len, size_t max, size_t *msg_len)
{
	size_t n;

	if (len < DNS_FRAME_LEN)
		return DNS_FRAME_MORE;
	n = (size_t)p[0] << 8 | p[1];
	if (n < DNS_HEADER_LEN || n > max)
		return DNS_FRAME_BAD;
	if (len - DNS_FRAME_LEN < n)
		return DNS_FRAME_MORE;
	*msg_len = n;
	return DNS_FRAME_OK;
}

void dns_frame_put(uint8_t out[DNS_FRAME_LEN], size_t len)
{
	out[0] = (uint8_t)(len >> 8);
	out[1] = (uint8_t)len;
}
