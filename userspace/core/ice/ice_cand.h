/* SPDX-License-Identifier: Apache-2.0
 *
 * An ICE candidate as a value: identity, priority (RFC 8445 §5.1.2), text form. UDP, component 1.
 */
#ifndef PENSTOCK_CORE_ICE_CAND_H
#define PENSTOCK_CORE_ICE_CAND_H
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "codec/sdp_cand.h"

struct ice_cand {
	enum cand_kind kind;
	uint32_t prio;	       /* 0 on a local candidate: ice_add_local computes it */
	struct endpoint addr;  /* what the peer sends to */
	struct endpoint base;  /* local: where we send from. remote: equals addr */
	struct endpoint raddr; /* part of the identity; all zero when the text had none */
	bool has_raddr;
	uint8_t via_family;  /* local relay: IP version spoken to the relay; else 0 */
	bool optimistic;     /* guessed by ice_add_optimistic, not signalled */
	bool discarded;	     /* invalidated; kept so that late checks are recognised */
	uint8_t prflx_local; /* remote prflx: index + 1 of the local that heard it; else 0 */
	char foundation[SDP_FOUNDATION_MAX + 1];
};

/* Builders. raddr of srflx and relay is the unspecified address with port 0, so that nothing about
 * the inside is signalled and an invalidation always matches. */
struct ice_cand ice_cand_host(const struct endpoint *addr);
struct ice_cand ice_cand_srflx(const struct endpoint *mapped, const struct endpoint *base);
/* allocated: the relayed address, also the base; via: our socket towards the relay. */
struct ice_cand ice_cand_relay(const struct endpoint *allocated, const struct endpoint *via);

/* Remote candidate from its text. 0; -EBADMSG undecodable; -EPROTO another transport, a component
 * other than 1, a ufrag other than remote_ufrag (NULL: do not compare), or an unusable address. */
int ice_cand_parse(const char *text, size_t len, const char *remote_ufrag, struct ice_cand *out);
/* Text to signal into buf of SDP_CAND_STRLEN; ufrag NULL or "" leaves it out. 0 or -EMSGSIZE. */
int ice_cand_fmt(const struct ice_cand *c, const char *ufrag, char *buf, size_t cap);

/* Can it be a candidate address? Not unspecified, multicast, broadcast, IPv4 link-local or port 0.
 */
bool ice_addr_usable(const struct endpoint *e);
/* Same candidate for the purpose of invalidation: addr, base, raddr and kind. */
bool ice_cand_same(const struct ice_cand *a, const struct ice_cand *b);

/* RFC 8445 §5.1.2.1 with component 1. */
uint32_t ice_priority(enum cand_kind kind, uint16_t local_pref);
/* Local preference: base(kind) − (IPv4) − 2·n_same − 1000 when a relay is reached over the other IP
 * version. n_same: local candidates of this kind and family already there. via_family 0: not a
 * relay. */
uint16_t ice_local_pref(enum cand_kind kind, uint8_t family, unsigned n_same, uint8_t via_family);
/* §6.1.2.3; g: the controlling side's candidate priority, d: the controlled side's. */
uint64_t ice_pair_priority(uint32_t g, uint32_t d);
#endif
