/* SPDX-License-Identifier: Apache-2.0
 *
 * Recognises and writes the control packet drawn in p2p_ctl.h. */
#include "codec/p2p_ctl.h"

#include <errno.h>
#include <string.h>
#include "base/bytes.h"

#define NEXT_HEADER 0xff

static bool is_ctl(const uint8_t *pkt, size_t len)
{
	static const uint8_t none[32];

	return len >= 40 && pkt[0] >> 4 == 6 && pkt[6] == NEXT_HEADER &&
	       !memcmp(pkt + 8, none, sizeof(none));
}

enum p2p_ctl_verdict p2p_ctl_decode(const uint8_t *pkt, size_t len, struct p2p_ctl *out)
{
	uint16_t payload_len;

	if (!is_ctl(pkt, len))
		return P2P_CTL_NOT;
	payload_len = be16_get(pkt + 4);
	if (payload_len < 8 || payload_len > len - 40)
		return P2P_CTL_MALFORMED;
	*out = (struct p2p_ctl){
		.type = pkt[40],
		.payload = pkt + P2P_CTL_HEADER_LEN,
		.payload_len = (size_t)payload_len - 8,
	};
	return out->type <= P2P_CTL_GOODBYE ? P2P_CTL_EVENT : P2P_CTL_UNKNOWN;
}

int p2p_ctl_encode(uint8_t type, const void *payload, size_t payload_len, uint8_t *out, size_t cap,
		   size_t *out_len)
{
	struct wbuf w = wbuf_init(out, cap);

	if (payload_len > P2P_CTL_PAYLOAD_CAP)
		return -EMSGSIZE;
	wbuf_be32(&w, UINT32_C(0x60000000));
	wbuf_be16(&w, (uint16_t)(8 + payload_len));
	wbuf_u8(&w, NEXT_HEADER);
	wbuf_u8(&w, 0);
	wbuf_zero(&w, 32);
	wbuf_u8(&w, type);
	wbuf_zero(&w, 7);
	wbuf_put(&w, payload, payload_len);
	return wbuf_done(&w, out_len);
}

void p2p_ctl_encode_goodbye(uint8_t out[P2P_CTL_GOODBYE_LEN])
{
	size_t len;

	(void)p2p_ctl_encode(P2P_CTL_GOODBYE, NULL, 0, out, P2P_CTL_GOODBYE_LEN, &len);
}
