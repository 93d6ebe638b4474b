/* SPDX-License-Identifier: Apache-2.0
 *
 * Random sequences of requests, data and time against a naive model: every answer's code, every
 * lookup, a copy of the bindings kept from the events alone, and the tables' own consistency. */
#include "tests/relay_world.h"

#define SEC NS_PER_SEC

enum { CLIENTS = 7, USERS = 6, CHANNELS = 4, PEERS = 6, ALLOCS = 4, BINDS = 6, PERMS = 7 };
enum { QUOTA = 2, PORTS = 6, PORT_LO = 50000 };

struct m_bind {
	bool used;
	unsigned peer;
	uint64_t expires, freed;
};

struct m_alloc {
	bool used;
	unsigned user;
	uint16_t port;
	uint8_t families;
	uint64_t expires;
	struct m_bind binds[CHANNELS];
	uint64_t perms[PEERS]; /* expiry, 0: none */
};

static struct m_alloc model[CLIENTS];
static struct rw *w;
static uint64_t seed;

/* What the owner's copy of the tables knows, from events. */
static struct copy {
	bool used;
	struct relay_event ev;
} copy_binds[BINDS], copy_allocs[ALLOCS + 1];

static const char *const users[USERS] = {RW_ALICE,	 "bob",	       "1900000000:a",
					 "1900000000:b", "1900000000", "1900000001"};

static bool one_only(unsigned user)
{
	return user == 2 || user == 3;
}

static struct endpoint client_at(unsigned i)
{
	return i & 1 ? rw_ep4(192, 0, 2, 1, (uint16_t)(1000 + i))
		     : (struct endpoint){.ip = rw_ep("[2001:db8:c::1]:0").ip,
					 .port = (uint16_t)(1000 + i)};
}

/* The addresses of peers 0 and 1 differ in the port alone. */
static struct endpoint peer_at(unsigned i)
{
	return i < 2   ? rw_ep4(198, 51, 100, 7, (uint16_t)(7000 + i))
	       : i & 1 ? rw_ep4(198, 51, 100, (uint8_t)i, 7000)
		       : (struct endpoint){.ip = rw_ep("[2001:db8:a::1]:0").ip,
					   .port = (uint16_t)(7000 + i)};
}

static bool same_ip(unsigned a, unsigned b)
{
	struct endpoint x = peer_at(a), y = peer_at(b);

	return ipaddr_eq(&x.ip, &y.ip);
}

static uint8_t family_of(unsigned peer)
{
	return peer_at(peer).ip.family == 4 ? RELAY_F4 : RELAY_F6;
}

static unsigned pick(unsigned n)
{
	return (unsigned)(t_rand(&seed) % n);
}

/* ---- the model ---- */

static void model_pass(void)
{
	for (unsigned c = 0; c < CLIENTS; c++) {
		struct m_alloc *a = &model[c];

		if (a->used && a->expires <= w->now)
			memset(a, 0, sizeof(*a));
		for (unsigned i = 0; i < CHANNELS; i++)
			if (a->binds[i].used && a->binds[i].freed <= w->now)
				a->binds[i].used = false;
		for (unsigned i = 0; i < PEERS; i++)
			if (a->perms[i] <= w->now)
				a->perms[i] = 0;
	}
}

static unsigned n_allocs(void)
{
	unsigned n = 0;

	for (unsigned c = 0; c < CLIENTS; c++)
		n += model[c].used;
	return n;
}

static unsigned n_binds(void)
{
	unsigned n = 0;

	for (unsigned c = 0; c < CLIENTS; c++)
		for (unsigned i = 0; i < CHANNELS; i++)
			n += model[c].binds[i].used;
	return n;
}

/* Peers of equal address share a permission: it is kept at the first of them. */
static unsigned perm_of(unsigned peer)
{
	unsigned i = 0;

	while (!same_ip(i, peer))
		i++;
	return i;
}

static unsigned n_perms(void)
{
	unsigned n = 0;

	for (unsigned c = 0; c < CLIENTS; c++)
		for (unsigned i = 0; i < PEERS; i++)
			n += model[c].perms[i] != 0;
	return n;
}

static unsigned of_user(unsigned user, unsigned *client)
{
	unsigned n = 0;

	for (unsigned c = 0; c < CLIENTS; c++)
		if (model[c].used && model[c].user == user) {
			*client = c;
			n++;
		}
	return n;
}

static int expect_allocate(unsigned c, unsigned user, unsigned *replaced)
{
	unsigned other = 0, n = of_user(user, &other), have = n_allocs();

	*replaced = CLIENTS;
	if (model[c].used)
		return 437;
	if (have == PORTS)
		return 508;
	if (one_only(user) && n) {
		*replaced = other;
		have--;
	} else if (n >= QUOTA) {
		return 486;
	}
	return have >= ALLOCS ? 508 : 0;
}

static int expect_own(unsigned c, unsigned user)
{
	if (!model[c].used)
		return 437;
	return model[c].user == user || (one_only(user) && one_only(model[c].user)) ? 0 : 441;
}

static int expect_bind(unsigned c, unsigned user, unsigned ch, unsigned peer)
{
	const struct m_alloc *a = &model[c];
	int code = expect_own(c, user);

	if (code)
		return code;
	if (!(a->families & family_of(peer)))
		return 443;
	for (unsigned i = 0; i < CHANNELS; i++)
		if (a->binds[i].used && (i == ch) != (a->binds[i].peer == peer))
			return 400;
	return !a->binds[ch].used && n_binds() == BINDS ? 508 : 0;
}

static void model_permit(unsigned c, unsigned peer)
{
	unsigned i = perm_of(peer);

	if (model[c].perms[i] || n_perms() < PERMS)
		model[c].perms[i] = w->now + RELAY_PERM_NS;
}

/* ---- the copy made of events ---- */

static void copy_apply(void)
{
	for (unsigned i = 0; i < w->n_events; i++) {
		const struct relay_event *e = &w->events[i];
		bool alloc = e->kind == RELAY_EV_ALLOC_ADD || e->kind == RELAY_EV_ALLOC_DEL;
		bool add = e->kind == RELAY_EV_ALLOC_ADD || e->kind == RELAY_EV_BIND_ADD;
		struct copy *c = alloc ? &copy_allocs[e->alloc] : &copy_binds[e->bind];

		T(alloc || copy_allocs[e->alloc].used);
		T(alloc && add ? !c->used : true);
		T(add || c->used);
		if (c->used && !alloc)
			T(c->ev.channel == e->channel && c->ev.port == e->port &&
			  endpoint_eq(&c->ev.peer, &e->peer) &&
			  endpoint_eq(&c->ev.client, &e->client));
		if (alloc && !add)
			for (unsigned k = 0; k < BINDS; k++)
				T(!copy_binds[k].used || copy_binds[k].ev.alloc != e->alloc);
		c->used = add;
		c->ev = *e;
	}
}

static void copy_check(void)
{
	unsigned live = 0, bound = 0;

	for (unsigned c = 0; c < CLIENTS; c++)
		for (unsigned i = 0; i < CHANNELS; i++)
			bound += model[c].binds[i].used && model[c].binds[i].expires > w->now;
	for (unsigned i = 0; i < BINDS; i++)
		live += copy_binds[i].used;
	T_EQ(live, bound);
	live = 0;
	for (unsigned i = 0; i <= ALLOCS; i++)
		live += copy_allocs[i].used;
	T_EQ(live, n_allocs());
}

/* ---- the tables ---- */

static unsigned chain(uint32_t first, bool binds, uint32_t alloc)
{
	const struct relay_table *t = &w->r.table;
	unsigned n = 0;

	for (uint32_t i = first, prev = RELAY_NONE; i != RELAY_NONE; n++) {
		T_EQ(binds ? t->binds[i].prev : t->perms[i].prev, prev);
		T_EQ(binds ? t->binds[i].alloc : t->perms[i].alloc, alloc);
		prev = i;
		i = binds ? t->binds[i].next : t->perms[i].next;
	}
	return n;
}

static void table_check(void)
{
	const struct relay_table *t = &w->r.table;
	unsigned held = 0;

	T_EQ(t->n_allocs, n_allocs());
	T_EQ(t->n_binds, n_binds());
	T_EQ(t->n_perms, n_perms());
	T_EQ(t->by_client.used, t->n_allocs);
	T_EQ(t->by_channel.used, t->n_binds);
	T_EQ(t->by_peer.used, t->n_binds);
	T_EQ(t->by_perm.used, t->n_perms);
	T_EQ(t->heap.n, t->n_allocs + t->n_binds + t->n_perms);
	T_EQ(t->ports.n_free, PORTS - t->n_allocs);
	for (uint32_t i = 0; i <= ALLOCS; i++) {
		if (t->allocs[i].state != RELAY_LIVE)
			continue;
		T_EQ(chain(t->allocs[i].first_bind, true, i), t->allocs[i].n_binds);
		T_EQ(chain(t->allocs[i].first_perm, false, i), t->allocs[i].n_perms);
		T_EQ(t->ports.owner[t->allocs[i].port], i);
	}
	for (uint32_t i = 0; i <= ALLOCS; i++)
		held += t->users.slots[i].count;
	T_EQ(held, t->n_allocs);
}

/* ---- operations ---- */

/* An owner that lets deadlines pass may find a table full of what the very request expired: its
 * slots are free once the events are drained. What the second try says counts. */
static bool full_for_now(int got, int want, bool late)
{
	if (got != 508 || want == 508 || !late)
		return false;
	T(w->n_events);
	copy_apply();
	return true;
}

static bool is_late(void)
{
	return relay_deadline(&w->r).at <= w->now;
}

static void op_allocate(void)
{
	unsigned c = pick(CLIENTS), user = pick(USERS), replaced, kind = pick(3);
	int want = expect_allocate(c, user, &replaced), got;
	bool late = is_late();
	struct rw_ask a = rw_alloc_ask(client_at(c));

	a.user = users[user];
	if (kind == 1)
		rw_u32(&a, STUN_A_REQUESTED_ADDRESS_FAMILY, 2U << 24);
	if (kind == 2)
		rw_u32(&a, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2U << 24);
	got = rw_go(w, &a);
	if (full_for_now(got, want, late))
		got = rw_go(w, &a);
	T_EQ(got, want);
	if (want)
		return;
	if (replaced != CLIENTS)
		memset(&model[replaced], 0, sizeof(model[replaced]));
	model[c] = (struct m_alloc){.used = true,
				    .user = user,
				    .port = w->events[w->n_events - 1].port,
				    .families = (uint8_t)(kind + 1),
				    .expires = w->now + 600 * SEC};
	for (unsigned i = 0; i < CLIENTS; i++)
		T(i == c || !model[i].used || model[i].port != model[c].port);
}

/* Mostly of the user whose allocation it is. */
static unsigned some_user(unsigned c)
{
	return pick(8) ? model[c].user : pick(USERS);
}

static void op_refresh(void)
{
	unsigned c = pick(CLIENTS), user = some_user(c);
	uint32_t lifetime = pick(4) ? 300 + pick(1000) : 0;
	int want = expect_own(c, user);

	T_EQ(rw_refresh(w, client_at(c), users[user], lifetime), want);
	if (!want && lifetime)
		model[c].expires = w->now + lifetime * SEC;
	else if (!want)
		memset(&model[c], 0, sizeof(model[c]));
}

static void op_permit(void)
{
	unsigned c = pick(CLIENTS), user = some_user(c), peer = pick(PEERS);
	int want = expect_own(c, user);

	if (!want && !(model[c].families & family_of(peer)))
		want = 443;
	if (!want && !model[c].perms[perm_of(peer)] && n_perms() == PERMS)
		want = 508;
	T_EQ(rw_permit(w, client_at(c), users[user], peer_at(peer)), want);
	if (!want)
		model_permit(c, peer);
}

static void op_bind(void)
{
	unsigned c = pick(CLIENTS), user = some_user(c), ch = pick(CHANNELS), peer = pick(PEERS);
	uint16_t number = (uint16_t)(0x4000 + ch);
	int want = expect_bind(c, user, ch, peer), got;
	bool late = is_late();

	got = rw_bind(w, client_at(c), users[user], number, peer_at(peer));
	if (full_for_now(got, want, late))
		got = rw_bind(w, client_at(c), users[user], number, peer_at(peer));
	T_EQ(got, want);
	if (want)
		return;
	model[c].binds[ch] = (struct m_bind){.used = true,
					     .peer = peer,
					     .expires = w->now + RELAY_BIND_NS,
					     .freed = w->now + RELAY_BIND_NS + RELAY_BIND_HOLD_NS};
	model_permit(c, peer);
}

static void op_pass(void)
{
	uint64_t at = relay_deadline(&w->r).at, span = (pick(2) ? pick(30) : 200 + pick(500)) * SEC;

	/* Sometimes exactly to the next deadline, or right before it. */
	if (at != TIME_NEVER && at > w->now && !pick(3))
		span = at - w->now - pick(2);
	w->now += span;
	w->n_events = 0;
	model_pass();
	if (pick(2))
		rw_pass(w, 0);
	else
		w->sent = false;
}

/* ---- lookups ---- */

static void check_lookups(void)
{
	struct relay_route route = {0};

	for (unsigned c = 0; c < CLIENTS; c++) {
		const struct m_alloc *a = &model[c];
		struct endpoint at = client_at(c);

		for (unsigned i = 0; i < CHANNELS; i++) {
			bool live = a->binds[i].used && a->binds[i].expires > w->now;
			enum relay_hit want = !a->used ? RELAY_MISS_ALLOC
					      : live   ? RELAY_HIT
						       : RELAY_MISS_CHANNEL;
			struct endpoint to = peer_at(a->binds[i].peer);

			T_EQ(relay_from_client(&w->r, &at, (uint16_t)(0x4000 + i), w->now, &route),
			     want);
			if (want == RELAY_HIT)
				T(endpoint_eq(&route.dst, &to) && route.src_port == a->port);
		}
		for (unsigned p = 0; a->used && p < PEERS; p++) {
			enum relay_hit want = a->perms[perm_of(p)] ? RELAY_HIT_INDICATE
								   : RELAY_MISS_CHANNEL;
			struct endpoint from = peer_at(p);

			for (unsigned i = 0; i < CHANNELS; i++)
				if (a->binds[i].used && a->binds[i].peer == p &&
				    a->binds[i].expires > w->now)
					want = RELAY_HIT;
			T_EQ(relay_from_peer(&w->r, a->port, &from, w->now, &route), want);
			if (want == RELAY_HIT)
				T(endpoint_eq(&route.dst, &at) &&
				  a->binds[route.channel % CHANNELS].peer == p);
		}
	}
}

static void run(uint64_t s)
{
	static void (*const ops[])(void) = {op_allocate, op_allocate, op_refresh, op_permit,
					    op_bind,	 op_bind,     op_bind,	  op_pass};
	struct relay_cfg c = rw_cfg();

	c.size = (struct relay_size){.n_allocs = ALLOCS, .n_binds = BINDS, .n_perms = PERMS};
	c.user_quota = QUOTA;
	c.port_lo = PORT_LO;
	c.port_hi = PORT_LO + PORTS - 1;
	memset(model, 0, sizeof(model));
	memset(copy_binds, 0, sizeof(copy_binds));
	memset(copy_allocs, 0, sizeof(copy_allocs));
	seed = s;
	w = rw_new(&c);
	for (unsigned i = 0; i < 3000; i++) {
		ops[pick(sizeof(ops) / sizeof(*ops))]();
		copy_apply();
		check_lookups();
		if (!pick(4)) {
			rw_pass(w, 0);
			copy_apply();
			copy_check();
			table_check();
		}
	}
	rw_free(w);
}

static void test_random_sequences(void)
{
	uint64_t s = t_seed();

	for (unsigned i = 0; i < 20; i++)
		run(t_rand(&s) | 1);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_random_sequences);
	return t_done();
}
