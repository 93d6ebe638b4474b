/* SPDX-License-Identifier: Apache-2.0
 * Is a direct path possible at all? Two sides shout at every address of the other they know of,
 * learn from what arrives, and repeat; a path exists when a request arrived and its reply found the
 * way back. No ICE here. */
#include "tests/sim/sim.h"

#define KNOWN_MAX 12
#define ROUNDS	  4

struct side {
	bool natted;
	struct sim_nat nat;
	struct endpoint own;
	unsigned n_known;
	struct endpoint known[KNOWN_MAX]; /* where the other might be */
};

static void learn(struct side *s, const struct endpoint *e)
{
	for (unsigned i = 0; i < s->n_known; i++)
		if (endpoint_eq(&s->known[i], e))
			return;
	if (s->n_known < KNOWN_MAX)
		s->known[s->n_known++] = *e;
}

/* One datagram; true when it arrived, with the source the receiver saw. */
static bool deliver(struct side *from, struct side *to, const struct endpoint *dst,
		    struct endpoint *src)
{
	struct endpoint inside;

	*src = from->own;
	if (from->natted && !sim_nat_out(&from->nat, &from->own, dst, src, 0))
		return false;
	if (!to->natted)
		return endpoint_eq(dst, &to->own);
	return ipaddr_eq(&dst->ip, &to->nat.cfg.public_ip) &&
	       sim_nat_in(&to->nat, dst, src, &inside, 0) && endpoint_eq(&inside, &to->own);
}

static void side_init(struct side *s, const struct sim_nat_cfg *cfg, uint8_t last)
{
	*s = (struct side){.natted = cfg, .own = {.ip = ipaddr_v4(10, 0, 0, last), .port = 1000}};
	if (!cfg)
		s->own.ip = ipaddr_v4(203, 0, 113, last);
	else
		sim_nat_init(&s->nat, cfg);
}

/* What the other side is told: own address, and the address a public server saw. */
static void announce(struct side *s, struct side *other)
{
	struct endpoint server = {.ip = ipaddr_v4(198, 51, 100, 255), .port = 3478}, mapped;

	learn(other, &s->own);
	if (s->natted && sim_nat_out(&s->nat, &s->own, &server, &mapped, 0))
		learn(other, &mapped);
}

static bool shout(struct side *from, struct side *to)
{
	bool round_trip = false;

	for (unsigned i = 0; i < from->n_known; i++) {
		struct endpoint dst = from->known[i], src, back;

		if (!deliver(from, to, &dst, &src))
			continue;
		learn(to, &src);
		round_trip |= deliver(to, from, &src, &back);
	}
	return round_trip;
}

bool sim_direct_possible(const struct sim_nat_cfg *a_cfg, const struct sim_nat_cfg *b_cfg)
{
	struct side a, b;
	bool possible = false;

	side_init(&a, a_cfg, 1);
	side_init(&b, b_cfg, 2);
	announce(&a, &b);
	announce(&b, &a);
	for (int i = 0; i < ROUNDS; i++) {
		bool ab = shout(&a, &b), ba = shout(&b, &a);

		possible = ab && ba;
	}
	return possible;
}
