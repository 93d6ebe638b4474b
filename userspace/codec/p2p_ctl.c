/* SPDX-License-Identifier: Apache-2.0
 *
 * Recognises and writes the control packets drawn in p2p_ctl.h. */
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

static bool is_known(uint8_t type)
{
	return type <= P2P_CTL_GOODBYE || type == P2P_CTL_MTU_PROBE || type == P2P_CTL_MTU_ACK;
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
	return is_known(out->type) ? P2P_CTL_EVENT : P2P_CTL_UNKNOWN;
}

static void header_put(struct wbuf *w, uint8_t type, size_t payload_len)
{
	wbuf_be32(w, UINT32_C(0x60000000));
	wbuf_be16(w, (uint16_t)(8 + payload_len));
	wbuf_u8(w, NEXT_HEADER);
	wbuf_u8(w, 0);
	wbuf_zero(w, 32);
	wbuf_u8(w, type);
	wbuf_zero(w, 7);
}

int p2p_ctl_encode(uint8_t type, const void *payload, size_t payload_len, uint8_t *out, size_t cap,
		   size_t *out_len)
{
	struct wbuf w = wbuf_init(out, cap);

	if (payload_len > P2P_CTL_PAYLOAD_CAP)
		return -EMSGSIZE;
	header_put(&w, type, payload_len);
	wbuf_put(&w, payload, payload_len);
	return wbuf_done(&w, out_len);
}

void p2p_ctl_encode_goodbye(uint8_t out[P2P_CTL_GOODBYE_LEN])
{
	size_t len;

	(void)p2p_ctl_encode(P2P_CTL_GOODBYE, NULL, 0, out, P2P_CTL_GOODBYE_LEN, &len);
}

static int mtu_put(uint8_t type, const struct p2p_mtu *m, uint8_t *out, size_t cap, size_t len)
{
	struct wbuf w = wbuf_init(out, cap);
	size_t done;

	if (len < P2P_CTL_MTU_LEN)
		return -EMSGSIZE;
	header_put(&w, type, len - P2P_CTL_HEADER_LEN);
	wbuf_be64(&w, m->id);
	wbuf_be16(&w, m->size);
	wbuf_zero(&w, len - P2P_CTL_MTU_LEN);
	return wbuf_done(&w, &done);
}

int p2p_mtu_encode_probe(const struct p2p_mtu *m, uint8_t *out, size_t cap)
{
	return mtu_put(P2P_CTL_MTU_PROBE, m, out, cap, m->size);
}

void p2p_mtu_encode_ack(const struct p2p_mtu *m, uint8_t out[P2P_CTL_MTU_LEN])
{
	(void)mtu_put(P2P_CTL_MTU_ACK, m, out, P2P_CTL_MTU_LEN, P2P_CTL_MTU_LEN);
}

bool p2p_mtu_decode(const struct p2p_ctl *ctl, struct p2p_mtu *out)
{
	if (ctl->payload_len < P2P_CTL_MTU_LEN - P2P_CTL_HEADER_LEN)
		return false;
	out->id = be64_get(ctl->payload);
	out->size = be16_get(ctl->payload + 8);
	return ctl->type != P2P_CTL_MTU_PROBE || out->size == P2P_CTL_HEADER_LEN + ctl->payload_len;
}
