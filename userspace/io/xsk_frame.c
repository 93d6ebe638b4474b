/* SPDX-License-Identifier: Apache-2.0
 *
 * From a frame to its datagram; contract in xsk_rx.h. The headers are judged by the function that
 * the kernel's programs use. */
#include <string.h>
#include "io/xsk_rx.h"
#include "plan/ingress.h"
#include "wire/csum.h"

static void ends4(const uint8_t *ip, struct udp_dgram *out)
{
	out->remote.ip = ipaddr_from(4, ip + PS_IP4_SADDR);
	out->local.ip = ipaddr_from(4, ip + PS_IP4_DADDR);
}

static void ends6(const uint8_t *ip, struct udp_dgram *out)
{
	out->remote.ip = ipaddr_from(6, ip + PS_IP6_SADDR);
	out->local.ip = ipaddr_from(6, ip + PS_IP6_DADDR);
}

bool xsk_frame_read(uint8_t *frame, size_t len, uint16_t port4, uint16_t port6,
		    struct udp_dgram *out)
{
	const struct ps_config ports = {.port4 = ps_be16(port4), .port6 = ps_be16(port6)};
	const uint8_t *ip = frame + PS_ETH_HLEN, *udp;
	struct ps_outer o = {0};
	bool v4;

	memset(out, 0, sizeof(*out));
	if (ps_rx_classify(frame, frame + len, &ports, &o) != PS_GO_ON ||
	    o.link_len != PS_ETH_HLEN || o.via.word[0])
		return false;
	v4 = ip[0] >> 4 == 4;
	if (v4 && ps_csum_fold(ps_csum_words(ip, PS_IP4_HLEN)) != 0xffff)
		return false;
	if (v4)
		ends4(ip, out);
	else
		ends6(ip, out);
	udp = frame + o.wg_off - PS_UDP_HLEN;
	out->remote.port = ps_host16_at(udp + PS_UDP_SPORT);
	out->local.port = v4 ? port4 : port6;
	out->data = frame + o.wg_off;
	out->len = o.payload_len;
	out->ecn = o.ecn;
	return true;
}
