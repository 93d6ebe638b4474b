/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds the ICMP errors of icmp_error.h for both families. */
#include "codec/icmp_error.h"

#include <string.h>
#include "base/bytes.h"

#define HOP_LIMIT 20

/* RFC 1122 §3.2.2, RFC 4443 §2.4 (e): what must never be answered with an error. */
static bool may_answer(const struct ip_meta *m)
{
	return m->l4 != IP_L4_ICMP_ERROR && !m->is_later_fragment &&
	       !ipaddr_is_multicast(&m->src) && !ipaddr_is_multicast(&m->dst) &&
	       !ipaddr_is_unspecified(&m->src) && !ipaddr_is_unspecified(&m->dst) &&
	       !ipaddr_is_loopback(&m->src) && !ipaddr_is_loopback(&m->dst);
}

struct kind {
	uint8_t type, code;
	uint16_t mtu; /* 0: the field is not used */
};

static size_t build4(struct kind k, const uint8_t *pkt, const struct ip_meta *m, uint8_t *out,
		     size_t cap)
{
	size_t quote = (size_t)(pkt[0] & 15) * 4 + 8;
	size_t total;

	if (quote > m->total_len)
		quote = m->total_len;
	total = 20 + 8 + quote;
	if (total > cap)
		return 0;
	memset(out, 0, 28);
	out[0] = 0x45;
	be16_put(out + 2, (uint16_t)total);
	be16_put(out + 6, 0x4000); /* atomic: needs no identification (RFC 6864) */
	out[8] = HOP_LIMIT;
	out[9] = IP_PROTO_ICMP;
	memcpy(out + 12, m->dst.b, 4);
	memcpy(out + 16, m->src.b, 4);
	be16_put(out + 10, ip_csum(out, 20));
	out[20] = k.type;
	out[21] = k.code;
	be16_put(out + 26, k.mtu);
	memcpy(out + 28, pkt, quote);
	be16_put(out + 22, ip_csum(out + 20, 8 + quote));
	return total;
}

static size_t build6(struct kind k, const uint8_t *pkt, const struct ip_meta *m, uint8_t *out,
		     size_t cap)
{
	struct ip_meta reply = {.family = 6, .proto = IP_PROTO_ICMPV6, .l4_off = 40};
	size_t quote = m->total_len;

	if (quote > ICMP_ERROR_LEN_MAX - 48)
		quote = ICMP_ERROR_LEN_MAX - 48;
	if (48 + quote > cap)
		return 0;
	memset(out, 0, 48);
	out[0] = 0x60;
	be16_put(out + 4, (uint16_t)(8 + quote));
	out[6] = IP_PROTO_ICMPV6;
	out[7] = HOP_LIMIT;
	memcpy(out + 8, m->dst.b, 16);
	memcpy(out + 24, m->src.b, 16);
	out[40] = k.type;
	out[41] = k.code;
	be16_put(out + 46, k.mtu);
	memcpy(out + 48, pkt, quote);
	reply.src = m->dst;
	reply.dst = m->src;
	reply.total_len = (uint16_t)(48 + quote);
	be16_put(out + 42, ip_csum_l4(out, &reply));
	return 48 + quote;
}

size_t icmp_error_build(enum icmp_error kind, const uint8_t *pkt, const struct ip_meta *meta,
			uint8_t *out, size_t cap)
{
	bool prohibited = kind == ICMP_ERROR_PROHIBITED;

	if (kind == ICMP_ERROR_NONE || !may_answer(meta))
		return 0;
	if (meta->family == 4)
		return build4((struct kind){3, prohibited ? 13 : 0, 0}, pkt, meta, out, cap);
	return build6((struct kind){1, prohibited ? 1 : 3, 0}, pkt, meta, out, cap);
}

size_t icmp_too_big_build(uint16_t mtu, const uint8_t *pkt, const struct ip_meta *meta,
			  uint8_t *out, size_t cap)
{
	if (!may_answer(meta))
		return 0;
	if (meta->family == 4)
		return build4((struct kind){3, 4, mtu}, pkt, meta, out, cap);
	return build6((struct kind){2, 0, mtu}, pkt, meta, out, cap);
}
