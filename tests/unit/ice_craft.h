/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks made by hand, for rules about single datagrams: from A1, received by agent b on B1. */
#ifndef PENSTOCK_ICE_CRAFT_H
#define PENSTOCK_ICE_CRAFT_H
#include "tests/unit/ice_rig.h"

#define A1 "192.0.2.1:1000"
#define B1 "198.51.100.1:2000"

struct spec {
	const char *username, *pwd;
	uint32_t prio;
	bool controlling, controlled, use_candidate, no_integrity;
	uint64_t tie;
	uint16_t unknown;
	enum stun_class cls;
};

static inline struct rig_pkt craft(const struct spec *s)
{
	struct stun_tid tid = {"tid-tid-tid"};
	struct rig_pkt p = {.local = ep(B1), .remote = ep(A1)};
	struct stun_enc e;

	stun_enc_init(&e, p.data, sizeof(p.data), STUN_BINDING, s->cls, &tid);
	if (s->username)
		stun_put_bytes(&e, STUN_A_USERNAME, s->username, strlen(s->username));
	if (s->prio)
		stun_put_u32(&e, STUN_A_PRIORITY, s->prio);
	if (s->controlling)
		stun_put_u64(&e, STUN_A_ICE_CONTROLLING, s->tie);
	if (s->controlled)
		stun_put_u64(&e, STUN_A_ICE_CONTROLLED, s->tie);
	if (s->use_candidate)
		stun_put_flag(&e, STUN_A_USE_CANDIDATE);
	if (s->unknown)
		stun_put_bytes(&e, (enum stun_attr_type)s->unknown, "", 0);
	if (!s->no_integrity)
		stun_put_integrity(&e, s->pwd, strlen(s->pwd));
	stun_put_fingerprint(&e);
	T_EQ(stun_enc_done(&e, &p.len), 0);
	return p;
}

/* Like ice_input, and checks that anything but OK left the agent byte-identical (acct aside). */
static inline enum ice_rx give_checked(struct ice *ice, const struct rig_pkt *p, uint64_t now)
{
	static struct ice before;
	const size_t after_acct = offsetof(struct ice, pairs);
	enum ice_rx rc;

	memcpy(&before, ice, sizeof(before));
	rc = rig_give(ice, p, now);
	if (rc == ICE_RX_OK || (rc == ICE_RX_IGNORED && ice->n_replies != before.n_replies))
		return rc;
	T_MEM(ice, &before, offsetof(struct ice, acct));
	T_MEM((uint8_t *)ice + after_acct, (uint8_t *)&before + after_acct,
	      sizeof(*ice) - after_acct);
	return rc;
}

#endif
