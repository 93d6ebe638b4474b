/* SPDX-License-Identifier: Apache-2.0
 *
 * IPv4, IPv6 and transport header parsing, ECN and the Internet checksum; contracts in ip_packet.h.
 */
#include "codec/ip_packet.h"

#include <errno.h>
#include <string.h>
#include "base/bytes.h"
#include "plan/ecn.h"

#define EXT_HEADERS_MAX \
	8 /* real packets have one or two; a longer chain is an attack on the parser */

enum {
	EXT_HOP_BY_HOP = 0,
	EXT_ROUTING = 43,
	EXT_FRAGMENT = 44,
	EXT_AUTH = 51,
	EXT_DEST_OPTS = 60,
	EXT_MOBILITY = 135,
	EXT_HIP = 139,
	EXT_SHIM6 = 140,
};

static bool icmp4_is_error(uint8_t type)
{
	/* unreachable, source quench, redirect, time exceeded, parameter problem */
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

static int parse_tcp(const uint8_t *l4, size_t len, bool quoted, struct ip_meta *m)
{
	if (!quoted && (len < 20 || l4[12] >> 4 < 5 || (size_t)(l4[12] >> 4) * 4 > len))
		return -EBADMSG;
	m->l4 = IP_L4_TCP;
	m->sport = be16_get(l4);
	m->dport = be16_get(l4 + 2);
	m->tcp_seq = be32_get(l4 + 4);
	m->tcp_flags = quoted ? 0 : l4[13];
	return 0;
}

static int parse_udp(const uint8_t *l4, size_t len, bool quoted, struct ip_meta *m)
{
	uint16_t udp_len = be16_get(l4 + 4);

	if (!quoted && (udp_len < 8 || udp_len > len))
		return -EBADMSG;
	m->l4 = IP_L4_UDP;
	m->sport = be16_get(l4);
	m->dport = be16_get(l4 + 2);
	return 0;
}

static int parse_icmp(const uint8_t *l4, struct ip_meta *m)
{
	bool v6 = m->proto == IP_PROTO_ICMPV6;
	bool echo, error;

	m->icmp_type = l4[0];
	m->icmp_code = l4[1];
	echo = v6 ? l4[0] == 128 || l4[0] == 129 : l4[0] == 8 || l4[0] == 0;
	error = v6 ? l4[0] < 128 : icmp4_is_error(l4[0]);
	m->l4 = echo ? IP_L4_ICMP_ECHO : error ? IP_L4_ICMP_ERROR : IP_L4_ICMP_OTHER;
	m->icmp_id = echo ? be16_get(l4 + 4) : 0;
	return 0;
}

/* The transport header at m->l4_off; len is what is there of it. */
static int parse_l4(const uint8_t *pkt, size_t len, bool quoted, struct ip_meta *m)
{
	const uint8_t *l4 = pkt + m->l4_off;
	bool known = m->proto == IP_PROTO_TCP || m->proto == IP_PROTO_UDP ||
		     m->proto == (m->family == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6);

	m->l4 = IP_L4_OTHER;
	if (m->is_fragment || !known)
		return 0;
	if (len < 8)
		return -EBADMSG;
	if (m->proto == IP_PROTO_TCP)
		return parse_tcp(l4, len, quoted, m);
	if (m->proto == IP_PROTO_UDP)
		return parse_udp(l4, len, quoted, m);
	return parse_icmp(l4, m);
}

/* Options of an IPv4 header: only source routes matter here (RFC 791 §3.1). */
static int scan_options4(const uint8_t *opt, size_t len, struct ip_meta *m)
{
	for (size_t i = 0; i < len;) {
		if (opt[i] == 0)
			return 0;
		if (opt[i] == 1) {
			i++;
			continue;
		}
		if (len - i < 2 || opt[i + 1] < 2 || opt[i + 1] > len - i)
			return -EBADMSG;
		if (opt[i] == 131 || opt[i] == 137)
			m->source_routed = true;
		i += opt[i + 1];
	}
	return 0;
}

static int parse4(const uint8_t *pkt, size_t len, bool quoted, struct ip_meta *m)
{
	size_t ihl;
	uint16_t frag;

	if (len < 20)
		return -EBADMSG;
	ihl = (size_t)(pkt[0] & 15) * 4;
	m->total_len = be16_get(pkt + 2);
	if (ihl < 20 || ihl > len || m->total_len < ihl || (!quoted && m->total_len > len))
		return -EBADMSG;
	frag = be16_get(pkt + 6);
	m->family = 4;
	m->ecn = pkt[1] & 3;
	m->is_later_fragment = (frag & 0x1fff) != 0;
	m->is_fragment = m->is_later_fragment || (frag & 0x2000);
	m->proto = pkt[9];
	m->src = ipaddr_from(4, pkt + 12);
	m->dst = ipaddr_from(4, pkt + 16);
	m->l4_off = (uint16_t)ihl;
	m->has_ext = ihl > 20;
	if (m->has_ext && scan_options4(pkt + 20, ihl - 20, m))
		return -EBADMSG;
	return parse_l4(pkt, (len < m->total_len ? len : m->total_len) - ihl, quoted, m);
}

static bool is_ext6(uint8_t next)
{
	return next == EXT_HOP_BY_HOP || next == EXT_ROUTING || next == EXT_FRAGMENT ||
	       next == EXT_AUTH || next == EXT_DEST_OPTS || next == EXT_MOBILITY ||
	       next == EXT_HIP || next == EXT_SHIM6;
}

/* Walk the extension headers of pkt[end] (RFC 8200 §4) and leave m at what follows them. */
static int walk_ext6(const uint8_t *pkt, size_t end, struct ip_meta *m)
{
	size_t off = 40;
	uint8_t next = pkt[6];

	for (int n = 0; is_ext6(next) && !m->is_later_fragment; n++) {
		const uint8_t *h = pkt + off;
		size_t hlen;

		if (n == EXT_HEADERS_MAX || end - off < 8 || (next == EXT_HOP_BY_HOP && n))
			return -EBADMSG;
		hlen = next == EXT_FRAGMENT ? 8
		       : next == EXT_AUTH   ? ((size_t)h[1] + 2) * 4
					    : ((size_t)h[1] + 1) * 8;
		if (hlen > end - off)
			return -EBADMSG;
		if (next == EXT_FRAGMENT) {
			uint16_t frag = be16_get(h + 2);

			m->is_later_fragment = frag >> 3 != 0;
			m->is_fragment |= m->is_later_fragment || (frag & 1);
		} else if (next == EXT_ROUTING && h[3]) {
			m->source_routed = true;
		}
		m->has_ext = true;
		next = h[0];
		off += hlen;
	}
	m->proto = next;
	m->l4_off = (uint16_t)off;
	return 0;
}

static int parse6(const uint8_t *pkt, size_t len, bool quoted, struct ip_meta *m)
{
	size_t total, end;

	if (len < 40)
		return -EBADMSG;
	total = 40 + (size_t)be16_get(pkt + 4);
	if (total > UINT16_MAX || (!quoted && total > len))
		return -EBADMSG;
	end = total < len ? total : len;
	m->family = 6;
	m->total_len = (uint16_t)total;
	m->ecn = pkt[1] >> 4 & 3;
	m->src = ipaddr_from(6, pkt + 8);
	m->dst = ipaddr_from(6, pkt + 24);
	if (walk_ext6(pkt, end, m))
		return -EBADMSG;
	return parse_l4(pkt, end - m->l4_off, quoted, m);
}

static int parse_any(const uint8_t *pkt, size_t len, bool quoted, struct ip_meta *out)
{
	struct ip_meta m = {0};
	int rc = -EBADMSG;

	if (len && pkt[0] >> 4 == 4)
		rc = parse4(pkt, len, quoted, &m);
	else if (len && pkt[0] >> 4 == 6)
		rc = parse6(pkt, len, quoted, &m);
	if (!rc)
		*out = m;
	return rc;
}

int ip_packet_parse(const uint8_t *pkt, size_t len, struct ip_meta *out)
{
	return parse_any(pkt, len, false, out);
}

int ip_packet_parse_quoted(const uint8_t *pkt, const struct ip_meta *outer, struct ip_meta *out)
{
	size_t off = (size_t)outer->l4_off + 8;
	struct ip_meta m;

	if (outer->l4 != IP_L4_ICMP_ERROR || off > outer->total_len ||
	    parse_any(pkt + off, outer->total_len - off, true, &m) || m.family != outer->family)
		return -EBADMSG;
	*out = m;
	return 0;
}

bool ip_packet_merge_ecn(uint8_t *pkt, const struct ip_meta *meta, uint8_t outer_ecn)
{
	uint8_t ecn = ps_ecn_decap(meta->ecn, outer_ecn);

	if (ecn == PS_ECN_DROP)
		return false;
	if (ecn != meta->ecn)
		ps_ecn_put(pkt, meta->family, ecn);
	return true;
}

static uint64_t sum_words(uint64_t sum, const uint8_t *p, size_t len)
{
	for (; len >= 2; p += 2, len -= 2)
		sum += be16_get(p);
	return len ? sum + (uint64_t)(p[0] << 8) : sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint16_t ip_csum(const void *data, size_t len)
{
	return fold(sum_words(0, data, len));
}

uint16_t ip_csum_l4(const uint8_t *pkt, const struct ip_meta *meta)
{
	size_t len = (size_t)meta->total_len - meta->l4_off;
	uint64_t sum = 0;

	if (meta->proto == IP_PROTO_UDP)
		len = be16_get(pkt + meta->l4_off + 4);
	if (meta->proto != IP_PROTO_ICMP) {
		sum = sum_words(sum, meta->src.b, ipaddr_size(&meta->src));
		sum = sum_words(sum, meta->dst.b, ipaddr_size(&meta->dst));
		sum += len + meta->proto;
	}
	return fold(sum_words(sum, pkt + meta->l4_off, len));
}
