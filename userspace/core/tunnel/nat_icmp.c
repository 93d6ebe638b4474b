/* SPDX-License-Identifier: Apache-2.0
 *
 * ICMP errors about translated packets (RFC 5508 §4): a new error of the same type, code and second
 * word (the next hop's MTU is there), whose quoted packet is the one its receiver has sent. It
 * comes from the other end of the session, whichever router wrote it, for a router's address would
 * tell of the network behind the gateway; only the gateway's own kernel, the first router on the
 * way, keeps its tunnel address. Checksums inside the quotation follow as far as they are quoted.
 * Not here: errors we answer with ourselves (codec/icmp_error.h). */
#include <string.h>

#include "base/bytes.h"
#include "core/tunnel/nat_table.h"
#include "plan/nat.h"

#define HOP_LIMIT 20

/* RFC 792: unreachable (with "fragmentation needed") and time exceeded; RFC 4443 §3.1-3.3. */
static bool is_translated_kind(const struct ip_meta *m)
{
	if (m->family == 4)
		return m->icmp_type == 3 || m->icmp_type == 11;
	return m->icmp_type >= 1 && m->icmp_type <= 3;
}

/* The header before an ICMP message of len bytes. */
static size_t put_ip(uint8_t *p, const struct ipaddr *src, const struct ipaddr *dst, size_t len)
{
	size_t hlen = src->family == 4 ? PS_IP4_HLEN : PS_IP6_HLEN;

	memset(p, 0, hlen);
	if (src->family == 4) {
		p[0] = 0x45;
		be16_put(p + PS_IP4_LEN, (uint16_t)(hlen + len));
		be16_put(p + PS_IP4_FRAG, PS_IP4_DF); /* atomic: needs no identification */
		p[PS_IP4_TTL] = HOP_LIMIT;
		p[PS_IP4_PROTO] = IP_PROTO_ICMP;
		memcpy(p + PS_IP4_SADDR, src->b, 4);
		memcpy(p + PS_IP4_DADDR, dst->b, 4);
		be16_put(p + PS_IP4_CSUM, ip_csum(p, hlen));
		return hlen;
	}
	p[0] = 0x60;
	be16_put(p + PS_IP6_LEN, (uint16_t)len);
	p[PS_IP6_NEXT] = IP_PROTO_ICMPV6;
	p[PS_IP6_HOPS] = HOP_LIMIT;
	memcpy(p + PS_IP6_SADDR, src->b, 16);
	memcpy(p + PS_IP6_DADDR, dst->b, 16);
	return hlen;
}

/* What the error pkt becomes: from src to dst, the quoted packet q rewritten by `to`. Its length;
 * 0: longer than cap. */
static size_t error_make(const uint8_t *pkt, const struct ip_meta *m, const struct ip_meta *q,
			 const struct ipaddr *src, const struct ipaddr *dst, enum ps_nat_dir dir,
			 const struct tunnel_nat *to, uint8_t *out, size_t cap)
{
	size_t len = (size_t)m->total_len - m->l4_off, quoted = len - 8, l4 = quoted - q->l4_off;
	size_t hlen = m->family == 4 ? PS_IP4_HLEN : PS_IP6_HLEN;
	struct ps_nat nat = {.port = ps_be16(to->port), .on = 1};
	struct ip_meta made = {.family = m->family,
			       .proto = m->proto,
			       .l4_off = (uint16_t)hlen,
			       .src = *src,
			       .dst = *dst,
			       .total_len = (uint16_t)(hlen + len)};
	uint8_t *icmp, *in;

	if (hlen + len > cap || hlen + len > UINT16_MAX)
		return 0;
	if (l4 > (size_t)q->total_len - q->l4_off) /* what follows is not the packet's (RFC 4884) */
		l4 = (size_t)q->total_len - q->l4_off;
	memcpy(nat.addr, to->addr.b, sizeof(nat.addr));
	icmp = out + put_ip(out, src, dst, len);
	memcpy(icmp, pkt + m->l4_off, len);
	in = icmp + 8;
	ps_nat_rewrite(in, in + q->l4_off, (uint32_t)l4, q->family, q->proto, dir, &nat);
	be16_put(icmp + PS_ICMP_CSUM, 0);
	be16_put(icmp + PS_ICMP_CSUM, ip_csum_l4(out, &made));
	return hlen + len;
}

/* Will the error be translated at all? The quoted packet must be the receiver's. */
static bool may_translate(const uint8_t *pkt, const struct ip_meta *m, bool quotes_receiver)
{
	return quotes_receiver && is_translated_kind(m) && !ip_csum_l4(pkt, m);
}

static enum nat_icmp counted(struct nat *n, size_t len)
{
	if (!len) {
		n->counters.icmp_refused++;
		return NAT_ICMP_REFUSED;
	}
	n->counters.icmp_translated++;
	return NAT_ICMP_OK;
}

enum nat_icmp nat_icmp_in(struct nat *n, uint32_t client, const uint8_t *pkt,
			  const struct ip_meta *m, uint8_t *out, size_t cap, size_t *len,
			  struct nat_hit *hit)
{
	struct nat_hit to;
	struct nat_key k;
	struct ip_meta q;
	uint8_t kind;
	uint32_t i;

	*len = 0;
	if (ip_packet_parse_quoted(pkt, m, &q) || !(kind = nat_kind_of(&q)))
		return NAT_ICMP_NONE;
	k = nat_key_of(client, kind, kind == NAT_ECHO ? q.icmp_id : q.sport, &q.dst);
	i = nat_outside_find(n, &k);
	if (i == NAT_NONE)
		return nat_tomb_find(n, &k) == NAT_NONE ? NAT_ICMP_NONE : NAT_ICMP_EXPIRED;
	nat_hit_fill(n, i, false, &to);
	if (may_translate(pkt, m, ipaddr_eq(&q.src, &m->dst)))
		*len = error_make(pkt, m, &q, tunnel_in_peer_range(&m->src) ? &m->src : &to.proxy,
				  &m->dst, PS_NAT_TO, &to.nat, out, cap);
	if (*len)
		*hit = to;
	return counted(n, *len);
}

enum nat_icmp nat_icmp_out(struct nat *n, uint32_t client, const uint8_t *pkt,
			   const struct ip_meta *m, uint8_t *out, size_t cap, size_t *len,
			   struct nat_hit *hit)
{
	struct nat_hit to;
	struct nat_key k;
	struct ip_meta q;
	uint8_t kind;
	uint32_t i;

	*len = 0;
	if (ip_packet_parse_quoted(pkt, m, &q) || !(kind = nat_kind_of(&q)))
		return NAT_ICMP_NONE;
	k = nat_key_of(client, kind, kind == NAT_ECHO ? q.icmp_id : q.dport, &q.src);
	i = nat_inside_find(n, &k);
	if (i == NAT_NONE)
		return NAT_ICMP_NONE;
	nat_hit_fill(n, i, true, &to);
	if (may_translate(pkt, m, ipaddr_eq(&q.dst, &m->src) && ipaddr_eq(&q.src, &m->dst)))
		*len = error_make(pkt, m, &q, &m->src, &to.nat.addr, PS_NAT_FROM, &to.nat, out,
				  cap);
	if (*len)
		*hit = to;
	return counted(n, *len);
}
