/* SPDX-License-Identifier: Apache-2.0
 *
 * A relay's limits: quotas, full tables, ports, memory, an owner that does not drain, draining for
 * good, what an answer to a forged source costs; and its parts: ports. */
#include "tests/relay_world.h"

#define SEC NS_PER_SEC

static struct endpoint client(unsigned i)
{
	return rw_ep4(192, 0, (uint8_t)(2 + i / 200), (uint8_t)(1 + i % 200), 5000);
}

static struct endpoint peer(unsigned i)
{
	return rw_ep4(198, 51, (uint8_t)(i / 200), (uint8_t)(1 + i % 200), 7000);
}

/* A user nobody else is. */
static const char *user(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "1900000000:%u", i);
	return name;
}

static void test_user_quota(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(client(9));

	for (unsigned i = 0; i < 4; i++)
		T(rw_allocate(w, client(i), NULL));
	T_EQ(rw_go(w, &a), 486);
	T(rw_signed(w, RW_ALICE));
	T_EQ(w->r.acct.user_quota, 1);
	T(rw_allocate(w, client(9), "bob"));
	T_EQ(rw_refresh(w, client(2), NULL, 0), 0);
	a.client = client(10);
	T_EQ(rw_go(w, &a), 0);
	rw_free(w);
}

static void test_source_quota(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw_ask a = rw_alloc_ask(rw_ep("192.0.2.1:3"));
	struct rw *w;

	c.source_quota = 2;
	w = rw_new(&c);
	a.user = "bob";
	T(rw_allocate(w, rw_ep("192.0.2.1:1"), NULL));
	T(rw_allocate(w, rw_ep("192.0.2.1:2"), user(0)));
	T_EQ(rw_go(w, &a), 486);
	T_EQ(w->r.acct.source_quota, 1);
	/* Replacing one's own is not one more. */
	T(rw_allocate(w, rw_ep("192.0.2.1:4"), user(0)));
	T_EQ(relay_n_allocs(&w->r), 2);
	a.client = rw_ep("192.0.2.2:3");
	T_EQ(rw_go(w, &a), 0);
	/* An IPv6 host has a /64 of addresses. */
	T(rw_allocate(w, rw_ep("[2001:db8:5:6:7::1]:1"), user(1)));
	T(rw_allocate(w, rw_ep("[2001:db8:5:6:8::2]:1"), user(2)));
	a.client = rw_ep("[2001:db8:5:6:9::3]:1");
	T_EQ(rw_go(w, &a), 486);
	a.client = rw_ep("[2001:db8:5:7:9::3]:1");
	T_EQ(rw_go(w, &a), 0);
	rw_free(w);
}

static void test_allocations_full(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(client(99));

	for (unsigned i = 0; i < 16; i++)
		T(rw_allocate(w, client(i), user(i)));
	a.user = user(99);
	T_EQ(rw_go(w, &a), 508);
	T_EQ(w->r.acct.allocs_full, 1);
	/* A user that comes again from elsewhere takes its own place. */
	T(rw_allocate(w, client(50), user(3)));
	T_EQ(relay_n_allocs(&w->r), 16);
	T_EQ(rw_refresh(w, client(50), user(3), 0), 0);
	a.user = user(99);
	T_EQ(rw_go(w, &a), 0);
	rw_free(w);
}

static void test_ports_full(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw_ask a = rw_alloc_ask(client(99));
	struct rw *w;

	/* Eight of nine ports: the control port lies among them. */
	c.listen_port = 50004;
	c.port_lo = 50000;
	c.port_hi = 50008;
	w = rw_new(&c);
	for (unsigned i = 0; i < 8; i++) {
		uint16_t port = rw_allocate(w, client(i), user(i));

		T(port >= 50000 && port <= 50008 && port != 50004);
	}
	a.user = user(99);
	T_EQ(rw_go(w, &a), 508);
	T_EQ(w->r.acct.ports_full, 1);
	/* Before the transport is looked at, after the existing allocation. */
	a.attrs[0].u = 6U << 24;
	T_EQ(rw_go(w, &a), 508);
	a.client = client(0);
	T_EQ(rw_go(w, &a), 437);
	T_EQ(rw_refresh(w, client(0), user(0), 0), 0);
	T(rw_allocate(w, client(0), user(0)));
	rw_free(w);
}

/* Every even port taken: EVEN-PORT fails, a plain request does not. */
static void test_even_ports_run_out(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw_ask a = rw_alloc_ask(client(0));
	struct rw *w;

	c.port_lo = 50000;
	c.port_hi = 50003;
	w = rw_new(&c);
	rw_bytes(&a, STUN_A_EVEN_PORT, "\x00", 1);
	for (unsigned i = 0; i < 2; i++) {
		a.client = client(i);
		a.user = user(i);
		T_EQ(rw_go(w, &a), 0);
	}
	a.client = client(3);
	a.user = user(3);
	T_EQ(rw_go(w, &a), 508);
	T(rw_allocate(w, client(3), user(3)));
	rw_free(w);
}

static void test_bindings_full(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw *w;

	c.binds_per_alloc = 20;
	w = rw_new(&c);
	T(rw_allocate(w, client(0), NULL) && rw_allocate(w, client(1), "bob"));
	for (uint16_t i = 0; i < 20; i++)
		T_EQ(rw_bind(w, client(0), NULL, (uint16_t)(0x4000 + i), peer(i)), 0);
	T_EQ(rw_bind(w, client(0), NULL, 0x4100, peer(100)), 508);
	for (uint16_t i = 0; i < 12; i++)
		T_EQ(rw_bind(w, client(1), "bob", (uint16_t)(0x4000 + i), peer(i)), 0);
	T_EQ(rw_bind(w, client(1), "bob", 0x4100, peer(100)), 508);
	T_EQ(w->r.acct.binds_full, 2);
	T_EQ(w->n_events, 0);
	/* What is there goes on; what goes makes room. */
	T_EQ(rw_bind(w, client(1), "bob", 0x4000, peer(0)), 0);
	T_EQ(rw_refresh(w, client(0), NULL, 0), 0);
	T_EQ(w->n_events, 21);
	T_EQ(rw_bind(w, client(1), "bob", 0x4100, peer(100)), 0);
	rw_free(w);
}

static void test_permissions_full(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw *w;

	c.perms_per_alloc = 30;
	w = rw_new(&c);
	T(rw_allocate(w, client(0), NULL) && rw_allocate(w, client(1), "bob"));
	for (unsigned i = 0; i < 30; i++)
		T_EQ(rw_permit(w, client(0), NULL, peer(i)), 0);
	T_EQ(rw_permit(w, client(0), NULL, peer(30)), 508);
	T_EQ(rw_permit(w, client(0), NULL, peer(29)), 0);
	T_EQ(rw_permit(w, client(1), "bob", peer(0)), 0);
	T_EQ(rw_permit(w, client(1), "bob", peer(1)), 0);
	T_EQ(rw_permit(w, client(1), "bob", peer(2)), 508);
	/* A channel does without. */
	T_EQ(rw_bind(w, client(1), "bob", 0x4000, peer(2)), 0);
	T_EQ(rw_bind(w, client(0), NULL, 0x4000, peer(40)), 0);
	T_EQ(w->r.acct.perms_full, 4);
	T_EQ(rw_channel(w, client(1), 0x4000, "x", 1, 0), RELAY_RX_DONE);
	rw_free(w);
}

/* The table that is full of what has expired is not full. */
static void test_expired_makes_room(void)
{
	struct rw *w = rw_new(NULL);

	for (unsigned i = 0; i < 16; i++)
		T(rw_allocate(w, client(i), user(i)));
	w->now += 600 * SEC;
	relay_timeout(&w->r, w->now);
	rw_drain(w);
	T_EQ(w->n_events, 16);
	T(rw_allocate(w, client(20), user(20)));
	/* Also when nobody called in time: the request itself cleans up. */
	w->now += 600 * SEC;
	T(rw_allocate(w, client(20), user(20)));
	T_EQ(w->n_events, 2);
	T_EQ(w->events[0].kind, RELAY_EV_ALLOC_DEL);
	T_EQ(w->events[1].kind, RELAY_EV_ALLOC_ADD);
	rw_free(w);
}

static void test_undrained_owner(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(client(0));
	struct relay_event ev;

	rw_build(w, &a);
	w->in = (struct relay_dgram){
		.local = w->at4, .client = a.client, .data = w->req, .len = w->req_len};
	T_EQ(relay_input(&w->r, &w->in, w->unix_s, w->now), RELAY_RX_DONE);
	T_EQ(relay_input(&w->r, &w->in, w->unix_s, w->now), RELAY_RX_BUSY);
	T(!relay_close(&w->r, 0, w->now));
	T(relay_poll_event(&w->r, &ev));
	T(!relay_poll_event(&w->r, &ev));
	T_EQ(relay_input(&w->r, &w->in, w->unix_s, w->now), RELAY_RX_DONE);
	T_EQ(w->r.acct.tx_dropped, 1);
	T_EQ(w->r.acct.rx[RELAY_RX_BUSY], 1);
	rw_free(w);
}

static void test_drain_and_close(void)
{
	struct rw *w = rw_new(NULL);
	struct stun_tid tid = {"again, again"};
	struct rw_ask a = rw_alloc_ask(client(0)), b = rw_alloc_ask(client(1));
	struct relay_alloc_view v;
	struct relay_bind_view bv;

	a.tid = &tid;
	T_EQ(rw_go(w, &a), 0);
	relay_drain(&w->r, true);
	T_EQ(rw_go(w, &b), 508);
	/* What is here goes on. */
	T_EQ(rw_go(w, &a), 0);
	T_EQ(rw_refresh(w, client(0), NULL, 600), 0);
	T_EQ(rw_bind(w, client(0), NULL, 0x4000, peer(0)), 0);
	T(relay_alloc_at(&w->r, 0, &v));
	T_EQ(v.n_binds, 1);
	T(v.user_len == 5 && !memcmp(v.user, RW_ALICE, 5));
	T(relay_bind_at(&w->r, 0, &bv) && bv.channel == 0x4000 && bv.alloc == 0);
	T(!relay_bind_at(&w->r, 1, &bv) && !relay_bind_at(&w->r, 1000, &bv));
	T(!relay_close(&w->r, 1, w->now) && !relay_close(&w->r, 1000, w->now));
	T(relay_close(&w->r, 0, w->now));
	rw_drain(w);
	T_EQ(w->n_events, 2);
	T(!relay_alloc_at(&w->r, 0, &v) && !relay_bind_at(&w->r, 0, &bv));
	relay_drain(&w->r, false);
	T_EQ(rw_go(w, &b), 0);
	rw_free(w);
}

/* Unproven requests leave no trace, and their answers carry nothing they need not. */
static void test_flood(void)
{
	struct rw *w = rw_new(NULL);
	static struct relay before;
	uint64_t sum = 0, got = 0;

	memcpy(&before.table, &w->r.table, sizeof(before.table));
	for (unsigned i = 0; i < 20000; i++) {
		struct rw_ask a = rw_alloc_ask(client(i % 30000));

		a.client.port = (uint16_t)(1 + i);
		a.no_mi = true;
		a.user = a.nonce = "";
		T_EQ(rw_go(w, &a), 401);
		sum += w->req_len;
		got += w->tx.len;
	}
	T_MEM(&before.table, &w->r.table, sizeof(before.table));
	/* 28 bytes ask; 28 of header and error, REALM and NONCE answer. */
	T_EQ(sum, 20000 * 28);
	T_EQ(got, 20000 * (28 + 12 + 24));
	rw_free(w);
}

static void test_init_refuses(void)
{
	static struct relay r;
	static struct relay_auth auth;
	struct relay_cfg good = rw_cfg(), c;
	uint8_t seed[32] = {0};
	size_t len = relay_mem_size(&good.size);
	void *mem = malloc(len);

	rw_auth(&auth);
	T_EQ(relay_init(&r, &good, &auth, mem, len, seed, 0), 0);
	T_EQ(relay_init(&r, &good, &auth, mem, len - 1, seed, 0), -ENOMEM);
	c = good;
	c.public4 = c.public6 = (struct ipaddr){0};
	T_EQ(relay_init(&r, &c, &auth, mem, len, seed, 0), -EINVAL);
	c = good;
	c.public4 = good.public6;
	T_EQ(relay_init(&r, &c, &auth, mem, len, seed, 0), -EINVAL);
	c = good;
	c.port_lo = 2;
	c.port_hi = 1;
	T_EQ(relay_init(&r, &c, &auth, mem, len, seed, 0), -EINVAL);
	c = good;
	c.size.n_binds = UINT32_MAX;
	T_EQ(relay_init(&r, &c, &auth, mem, len, seed, 0), -EINVAL);
	free(mem);
}

/* The default size: as many allocations as ports, in memory that is said in advance. */
static void test_sixteen_thousand(void)
{
	struct relay_cfg c = rw_cfg();
	struct rw *w;

	c.size = (struct relay_size){0};
	t_note("memory of the default size: %zu KiB", relay_mem_size(&c.size) / 1024);
	T(relay_mem_size(&c.size) < 32U << 20);
	w = rw_new(&c);
	for (unsigned i = 0; i < RELAY_ALLOCS; i++) {
		struct endpoint e = rw_ep4(100, 64, (uint8_t)(i >> 8), (uint8_t)i, 999);

		if (!rw_allocate(w, e, user(i)) || rw_bind(w, e, user(i), 0x4000, peer(i % 5000))) {
			T(false);
			break;
		}
	}
	T_EQ(relay_n_allocs(&w->r), RELAY_ALLOCS);
	T_EQ(w->r.table.ports.n_free, 0);
	T_EQ(rw_allocate(w, client(0), user(RELAY_ALLOCS)), 0);
	w->now += 600 * SEC;
	relay_timeout(&w->r, w->now);
	do
		rw_drain(w);
	while (w->n_events == RW_EVENTS);
	T_EQ(relay_n_allocs(&w->r), 0);
	T_EQ(relay_n_binds(&w->r), 0);
	T_EQ(w->r.table.ports.n_free, RELAY_ALLOCS);
	T_EQ(w->r.table.by_client.used + w->r.table.by_peer.used + w->r.table.users.idx.used, 0);
	rw_free(w);
}

/* ---- parts ---- */

static void test_ports_are_uniform(void)
{
	static uint32_t owner[RELAY_PORTS];
	static uint16_t list[RELAY_PORTS], pos[RELAY_PORTS];
	struct relay_ports p;
	unsigned seen[10] = {0};
	struct rng rng;
	uint8_t seed[32] = {9};

	rng_init(&rng, seed);
	relay_ports_init(&p, owner, list, pos, 60000, 60010, 60005);
	T_EQ(p.n_free, 10);
	T(!relay_ports_is_free(&p, 60005) && !relay_ports_is_free(&p, 59999) &&
	  !relay_ports_is_free(&p, 0) && !relay_ports_is_free(&p, RELAY_PORTS));
	for (unsigned i = 0; i < 10000; i++) {
		uint16_t port = relay_ports_draw(&p, &rng, false, false);

		seen[port < 60005 ? port - 60000 : port - 60001]++;
	}
	for (unsigned i = 0; i < 10; i++)
		T(seen[i] > 800 && seen[i] < 1200);
	for (unsigned i = 0; i < 1000; i++) {
		uint16_t port = relay_ports_draw(&p, &rng, true, true);

		/* 60004 and 60010 have no successor. */
		T(port == 60000 || port == 60002 || port == 60006 || port == 60008);
	}
	relay_ports_take(&p, 60002, 7);
	T(!relay_ports_is_free(&p, 60002) && p.owner[60002] == 7 && p.n_free == 9);
	relay_ports_take(&p, 60002, 8);
	T(p.owner[60002] == 8 && p.n_free == 9);
	relay_ports_give(&p, 60002);
	T(relay_ports_is_free(&p, 60002) && p.n_free == 10);
	/* The last port of all has no successor either. */
	relay_ports_init(&p, owner, list, pos, 65535, 65535, 0);
	T_EQ(relay_ports_draw(&p, &rng, false, false), 65535);
	T_EQ(relay_ports_draw(&p, &rng, true, false), 0);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_user_quota);
	T_RUN(test_source_quota);
	T_RUN(test_allocations_full);
	T_RUN(test_ports_full);
	T_RUN(test_even_ports_run_out);
	T_RUN(test_bindings_full);
	T_RUN(test_permissions_full);
	T_RUN(test_expired_makes_room);
	T_RUN(test_undrained_owner);
	T_RUN(test_drain_and_close);
	T_RUN(test_flood);
	T_RUN(test_init_refuses);
	T_RUN(test_sixteen_thousand);
	T_RUN(test_ports_are_uniform);
	return t_done();
}
