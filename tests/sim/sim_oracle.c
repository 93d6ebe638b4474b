/* SPDX-License-Identifier: Apache-2.0
 * Is a direct path possible at all? Two sides shout at every address of the other they know of,
 * learn from what arrives, and repeat; a path exists when a request arrived and its reply found the
 * way back. See sim_oracle.h. */
#include "tests/sim/sim_oracle.h"

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
	return (to->nat.cfg.transparent || ipaddr_eq(&dst->ip, &to->nat.cfg.public_ip)) &&
	       sim_nat_in(&to->nat, dst, src, &inside, 0) && endpoint_eq(&inside, &to->own);
}

static void side_init(struct side *s, const struct sim_nat_cfg *cfg, uint8_t last)
{
	*s = (struct side){.natted = cfg, .own = {.ip = ipaddr_v4(10, 0, 0, last), .port = 1000}};
	if (!cfg || cfg->transparent)
		s->own.ip = ipaddr_v4(203, 0, 113, last);
	if (cfg)
		sim_nat_init(&s->nat, cfg);
}

/* What the other side is told: own address, and the address a public server saw if there is one. */
static void announce(struct side *s, struct side *other, bool server_there)
{
	struct endpoint server = {.ip = ipaddr_v4(198, 51, 100, 255), .port = 3478}, mapped;

	learn(other, &s->own);
	if (s->natted && server_there && sim_nat_out(&s->nat, &s->own, &server, &mapped, 0))
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

/* One end of a possible path. */
struct end {
	const struct sim_nat_cfg *nat;
	bool mapped_known; /* there is a server that tells the mapped address */
};

static void learn_all(struct side *s, const struct side *from)
{
	for (unsigned i = 0; i < from->n_known; i++)
		learn(s, &from->known[i]);
}

/* From a relayed address (a channel admits what its owner knows of) to eb; what the owner itself
 * (NULL: it cannot) hears of eb directly it knows as well. */
static bool possible_helped(const struct end *relayed, const struct end *owner,
			    const struct end *eb)
{
	struct side r, o, b;
	bool ok = false;

	side_init(&r, relayed->nat, 1);
	side_init(&o, owner ? owner->nat : NULL, 3);
	side_init(&b, eb->nat, 2);
	announce(&r, &b, true);
	announce(&b, &r, eb->mapped_known);
	if (owner) {
		announce(&o, &b, owner->mapped_known);
		announce(&b, &o, eb->mapped_known);
	}
	for (int i = 0; i < ROUNDS; i++) {
		bool rb = shout(&r, &b), br = shout(&b, &r);

		ok = rb && br;
		if (!owner)
			continue;
		shout(&o, &b);
		shout(&b, &o);
		learn_all(&r, &o);
	}
	return ok;
}

static bool possible(const struct end *ea, const struct end *eb)
{
	struct side a, b;
	bool ok = false;

	side_init(&a, ea->nat, 1);
	side_init(&b, eb->nat, 2);
	announce(&a, &b, ea->mapped_known);
	announce(&b, &a, eb->mapped_known);
	for (int i = 0; i < ROUNDS; i++) {
		bool ab = shout(&a, &b), ba = shout(&b, &a);

		ok = ab && ba;
	}
	return ok;
}

bool sim_direct_possible(const struct sim_nat_cfg *a_cfg, const struct sim_nat_cfg *b_cfg)
{
	const struct end a = {a_cfg, true}, b = {b_cfg, true};

	return possible(&a, &b);
}

/* Does the node reach the relay's control port, and over which family? */
static bool reaches(const struct sim_oracle_node *n, const struct sim_oracle_relay *r, unsigned bit,
		    enum sim_family f)
{
	return (n->told & ~n->cut_off) >> bit & 1 && n->has[f] && r->has[f];
}

static struct end own_end(const struct sim_oracle_node *n, enum sim_family f,
			  const struct sim_oracle_relay *relays, unsigned n_relays)
{
	struct end e = {.nat = n->nat[f]};

	for (unsigned i = 0; i < n_relays; i++)
		e.mapped_known |= reaches(n, &relays[i], i, f);
	return e;
}

/* Has the node a relayed address of family f at relay i? */
static bool allocates(const struct sim_oracle_node *n, const struct sim_oracle_relay *r,
		      unsigned bit, enum sim_family f)
{
	return r->has[f] && (reaches(n, r, bit, SIM_V4) || reaches(n, r, bit, SIM_V6));
}

/* From a's relayed address at relay i to b itself. */
static bool half_relayed(const struct sim_oracle_node *a, const struct sim_oracle_node *b, bool cut,
			 enum sim_family f, unsigned i, const struct sim_oracle_relay *relays,
			 unsigned n_relays)
{
	const struct sim_nat_cfg channel = {.public_ip = ipaddr_v4(192, 0, 2, 200),
					    .mapping = SIM_INDEPENDENT,
					    .filtering = SIM_ADDR_PORT_DEPENDENT};
	const struct end relayed = {&channel, true}, own = own_end(b, f, relays, n_relays),
			 owner = own_end(a, f, relays, n_relays);
	bool helped = a->has[f] && !cut && !a->only_control;

	return allocates(a, &relays[i], i, f) && b->has[f] && !b->only_control &&
	       !(b->cut_off >> i & 1) && possible_helped(&relayed, helped ? &owner : NULL, &own);
}

static bool relayed_possible(const struct sim_oracle_node *a, const struct sim_oracle_node *b,
			     bool cut, enum sim_family f, const struct sim_oracle_relay *relays,
			     unsigned n_relays)
{
	bool at_a = false, at_b = false;

	for (unsigned i = 0; i < n_relays; i++) {
		if (half_relayed(a, b, cut, f, i, relays, n_relays) ||
		    half_relayed(b, a, cut, f, i, relays, n_relays))
			return true;
		at_a |= allocates(a, &relays[i], i, f);
		at_b |= allocates(b, &relays[i], i, f);
	}
	return at_a && at_b;
}

enum sim_outcome sim_oracle(const struct sim_oracle_node *a, const struct sim_oracle_node *b,
			    bool cut, const struct sim_oracle_relay *relays, unsigned n_relays)
{
	enum sim_outcome best = SIM_OUT_NONE;

	for (enum sim_family f = SIM_V4; f < SIM_FAMILIES; f++) {
		const struct end ea = own_end(a, f, relays, n_relays),
				 eb = own_end(b, f, relays, n_relays);

		if (a->has[f] && b->has[f] && !cut && !a->only_control && !b->only_control &&
		    possible(&ea, &eb))
			return SIM_OUT_DIRECT;
		if (relayed_possible(a, b, cut, f, relays, n_relays))
			best = SIM_OUT_RELAYED;
	}
	return best;
}

const char *sim_outcome_name(enum sim_outcome o)
{
	static const char *const names[] = {"none", "relayed", "direct"};

	return names[o];
}
