/* SPDX-License-Identifier: Apache-2.0
 * Candidates as values: builders, text form, identity, priorities. See ice_cand.h. */
#include "core/ice/ice_cand.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COMPONENT	     1
#define OTHER_FAMILY_PENALTY 1000
#define SAME_KIND_STEP	     2

/* Same kind, base address and transport: same foundation (RFC 8445 §5.1.1.3). FNV-1a. */
static void foundation_make(struct ice_cand *c)
{
	uint32_t h = (2166136261U ^ (uint32_t)c->kind) * 16777619U;

	for (size_t i = 0; i < sizeof(c->base.ip.b); i++)
		h = (h ^ c->base.ip.b[i]) * 16777619U;
	snprintf(c->foundation, sizeof(c->foundation), "%u", h);
}

static struct ice_cand cand_make(enum cand_kind kind, const struct endpoint *addr,
				 const struct endpoint *base)
{
	struct ice_cand c = {.kind = kind, .addr = *addr, .base = *base};

	if (kind != CAND_HOST) {
		c.has_raddr = true;
		c.raddr.ip.family = addr->ip.family;
	}
	foundation_make(&c);
	return c;
}

struct ice_cand ice_cand_host(const struct endpoint *addr)
{
	return cand_make(CAND_HOST, addr, addr);
}

struct ice_cand ice_cand_srflx(const struct endpoint *mapped, const struct endpoint *base)
{
	return cand_make(CAND_SRFLX, mapped, base);
}

struct ice_cand ice_cand_relay(const struct endpoint *allocated, const struct endpoint *via)
{
	struct ice_cand c = cand_make(CAND_RELAY, allocated, allocated);

	c.via_family = via->ip.family;
	return c;
}

bool ice_addr_usable(const struct endpoint *e)
{
	const struct ipaddr *ip = &e->ip;

	if (!e->port || (ip->family != 4 && ip->family != 6) || ipaddr_is_unspecified(ip) ||
	    ipaddr_is_multicast(ip))
		return false;
	return ip->family == 6 || !ipaddr_is_link_local(ip);
}

int ice_cand_parse(const char *text, size_t len, const char *remote_ufrag, struct ice_cand *out)
{
	struct sdp_cand s;
	int rc = sdp_cand_parse(text, len, &s);

	if (rc)
		return rc;
	if (s.component != COMPONENT || !ice_addr_usable(&s.addr))
		return -EPROTO;
	if (remote_ufrag && s.ufrag[0] && strcmp(s.ufrag, remote_ufrag))
		return -EPROTO;
	*out = (struct ice_cand){.kind = s.kind,
				 .prio = s.prio,
				 .addr = s.addr,
				 .base = s.addr,
				 .raddr = s.raddr,
				 .has_raddr = s.has_raddr};
	memcpy(out->foundation, s.foundation, sizeof(out->foundation));
	return 0;
}

int ice_cand_fmt(const struct ice_cand *c, const char *ufrag, char *buf, size_t cap)
{
	struct sdp_cand s = {.kind = c->kind,
			     .prio = c->prio,
			     .component = COMPONENT,
			     .has_raddr = c->has_raddr,
			     .addr = c->addr,
			     .raddr = c->raddr};

	memcpy(s.foundation, c->foundation, sizeof(s.foundation));
	if (ufrag) {
		if (strlen(ufrag) > SDP_UFRAG_MAX)
			return -EMSGSIZE;
		memcpy(s.ufrag, ufrag, strlen(ufrag));
	}
	return sdp_cand_fmt(&s, buf, cap);
}

bool ice_cand_same(const struct ice_cand *a, const struct ice_cand *b)
{
	return a->kind == b->kind && a->has_raddr == b->has_raddr &&
	       endpoint_eq(&a->addr, &b->addr) && endpoint_eq(&a->base, &b->base) &&
	       endpoint_eq(&a->raddr, &b->raddr);
}

uint32_t ice_priority(enum cand_kind kind, uint16_t local_pref)
{
	static const uint8_t type_pref[] = {
		[CAND_HOST] = 126, [CAND_SRFLX] = 100, [CAND_PRFLX] = 110, [CAND_RELAY] = 2};

	return (uint32_t)type_pref[kind] << 24 | (uint32_t)local_pref << 8 | (256 - COMPONENT);
}

uint16_t ice_local_pref(enum cand_kind kind, uint8_t family, unsigned n_same, uint8_t via_family)
{
	static const uint16_t base[] = {[CAND_HOST] = 65535,
					[CAND_SRFLX] = 32767,
					[CAND_PRFLX] = 49151,
					[CAND_RELAY] = 16383};
	unsigned less = SAME_KIND_STEP * (n_same < 1000 ? n_same : 1000);

	if (family == 4)
		less++;
	if (kind == CAND_RELAY && via_family && via_family != family)
		less += OTHER_FAMILY_PENALTY;
	return (uint16_t)(base[kind] - less);
}

uint64_t ice_pair_priority(uint32_t g, uint32_t d)
{
	uint64_t lo = g < d ? g : d, hi = g < d ? d : g;

	return (lo << 32) + 2 * hi + (g > d);
}
