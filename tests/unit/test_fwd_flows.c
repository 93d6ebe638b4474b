/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of flows user space carries: found again, told apart, bounded, and busy ones stay; and
 * what a worker gets of it, beside a writer, too. */
#include "fwd/fwd_flows.h"

#include <pthread.h>
#include <stdlib.h>
#include "core/tunnel/nat.h"
#include "tests/t.h"

#define CAP 64u

static struct fwd_flow_entry list[CAP];
static struct fwd_flows s;
static uint64_t now;

static struct ps_flow_key key_of(uint32_t n)
{
	struct ps_flow_key k = {.family = 4, .proto = IP_PROTO_UDP};

	memcpy(k.saddr, &n, sizeof(n));
	return k;
}

static struct fwd_flow_entry *touch(enum fwd_flow_dir dir, uint32_t n)
{
	struct ps_flow_key k = key_of(n);
	struct fwd_flow_entry *f = fwd_flows_take(&s, dir, &k);

	fwd_flow_carried(f, &k, 1, 100, ++now);
	return f;
}

static struct fwd_flow_entry *find(enum fwd_flow_dir dir, uint32_t n)
{
	struct ps_flow_key k = key_of(n);

	return fwd_flows_find(&s, dir, &k);
}

static void test_sizes(void)
{
	T_EQ(fwd_flows_cap_for(0), FWD_FLOW_WAYS);
	T_EQ(fwd_flows_cap_for(5), 8);
	T_EQ(fwd_flows_cap_for(65536), 65536);
	T_EQ(fwd_flows_cap_for(UINT32_MAX), 1u << 30);
}

static void test_found_again(void)
{
	fwd_flows_init(&s, list, CAP, 7);
	T(!find(FWD_FLOW_IN, 1));
	T_EQ(touch(FWD_FLOW_IN, 1)->flow.packets, 1);
	T_EQ(touch(FWD_FLOW_IN, 1)->flow.packets, 2);
	T_EQ(touch(FWD_FLOW_OUT, 1)->flow.packets, 1);
	T(find(FWD_FLOW_IN, 1) && find(FWD_FLOW_IN, 1) != find(FWD_FLOW_OUT, 1));
	T(!find(FWD_FLOW_IN, 2));
	T_EQ(s.used, 2);
	T_EQ(s.displaced, 0);
}

/* A flow that goes on through floods of others is never lost, a flow that is silent is. */
static void test_bounded(void)
{
	fwd_flows_init(&s, list, CAP, 7);
	touch(FWD_FLOW_IN, 0);
	touch(FWD_FLOW_IN, 1);
	for (uint32_t n = 2; n < 5000; n++) {
		touch(FWD_FLOW_IN, n);
		touch(FWD_FLOW_IN, 0);
		T(find(FWD_FLOW_IN, n));
	}
	T_EQ(find(FWD_FLOW_IN, 0)->flow.packets, 4999);
	T(!find(FWD_FLOW_IN, 1));
	T(s.used == CAP && s.displaced == 5000 - CAP);
}

static void test_spread(void)
{
	static struct fwd_flow_entry many[4096];

	fwd_flows_init(&s, many, 4096, 7);
	for (uint32_t n = 0; n < 1024; n++)
		touch(n & 1 ? FWD_FLOW_IN : FWD_FLOW_OUT, n);
	t_note("used=%u of 1024, displaced=%llu", s.used, (unsigned long long)s.displaced);
	T(s.displaced < 32); /* a quarter full: sets of four seldom overflow */
}

/* Which keys share a set with the first one, nobody knows who does not know the seed. */
static uint32_t shares(uint64_t seed, uint32_t n)
{
	fwd_flows_init(&s, list, CAP, seed);
	return (uint32_t)((touch(FWD_FLOW_IN, n) - list) / FWD_FLOW_WAYS ==
			  (touch(FWD_FLOW_IN, 0) - list) / FWD_FLOW_WAYS);
}

static void test_seeded(void)
{
	uint32_t both = 0, first = 0;

	for (uint32_t n = 1; n < 4000; n++)
		if (shares(1, n)) {
			first++;
			both += shares(0x123456789abcdefu, n);
		}
	t_note("%u share a set, %u of them with another seed", first, both);
	T(first > 100 && both < first / 4);
}

static void test_over(void)
{
	struct fwd_flow_entry f = {.key = key_of(1), .flow.last_ns = 5};

	T(!fwd_flow_is_over(&f, 5 + NAT_UDP_NS));
	T(fwd_flow_is_over(&f, 6 + NAT_UDP_NS));
	f.key.proto = IP_PROTO_TCP;
	T(!fwd_flow_is_over(&f, 6 + NAT_UDP_NS));
	T(fwd_flow_is_over(&f, 6 + NAT_TCP_NS));
}

/* ---- workers ---- */
static struct ps_flow decision(uint32_t peer, uint32_t generation)
{
	return (struct ps_flow){
		.peer = peer, .generation = generation, .expires_ns = PS_NEVER, .resource = 3};
}

/* Does a worker find it, and as decided? */
static bool gets(enum fwd_flow_dir dir, uint32_t n, const struct ps_flow *want)
{
	struct ps_flow_key k = key_of(n);
	struct fwd_flow_entry *e = NULL;
	struct ps_flow f;

	if (!fwd_flows_get(&s, dir, &k, &f, &e))
		return false;
	return T(e == find(dir, n)) && T_EQ(f.peer, want->peer) &&
	       T_EQ(f.generation, want->generation) && T_EQ(f.expires_ns, want->expires_ns) &&
	       T_EQ(f.resource, want->resource) && T_EQ(f.nat, want->nat) &&
	       T_EQ(f.nat_port, want->nat_port) && T_MEM(f.nat_addr, want->nat_addr, 16);
}

static void test_published_and_hidden(void)
{
	struct ps_flow f = decision(1, 9);
	struct fwd_flow_entry *e;

	fwd_flows_init(&s, list, CAP, 7);
	e = touch(FWD_FLOW_IN, 1);
	T(!gets(FWD_FLOW_IN, 1, &f)); /* seen is not allowed */
	fwd_flow_note(e, &f);
	T(!gets(FWD_FLOW_IN, 1, &f));
	fwd_flow_publish(e, &f);
	T(gets(FWD_FLOW_IN, 1, &f));
	T(!gets(FWD_FLOW_OUT, 1, &f) && !gets(FWD_FLOW_IN, 2, &f));
	T(e->flow.packets == 1 && e->flow.bytes == 100 && e->flow.last_ns == now);
	e->seq++; /* being written */
	T(!gets(FWD_FLOW_IN, 1, &f));
	e->seq++;
	T(gets(FWD_FLOW_IN, 1, &f));
	fwd_flow_note(e, &f); /* nothing new */
	T(gets(FWD_FLOW_IN, 1, &f));
	f.generation++;
	fwd_flow_note(e, &f); /* not for workers any more */
	T(!gets(FWD_FLOW_IN, 1, &f));
	T_EQ(e->flow.generation, 10);
	fwd_flow_publish(e, &f);
	fwd_flow_hide(e);
	T(!gets(FWD_FLOW_IN, 1, &f));
	T_EQ(find(FWD_FLOW_IN, 1)->flow.packets, 1);
	s.cap = 0;
	T(!gets(FWD_FLOW_IN, 1, &f) && !find(FWD_FLOW_IN, 1));
}

/* Each field of a decision counts; the rest of f does not. */
static void test_decided_anew(void)
{
	struct ps_flow f = decision(1, 9);
	struct fwd_flow_entry *e;
	uint32_t seq;

	fwd_flows_init(&s, list, CAP, 7);
	e = touch(FWD_FLOW_OUT, 1);
	for (int i = 0; i < 8; i++) {
		f.peer += i == 1;
		f.generation += i == 2;
		f.expires_ns = i < 3 ? PS_NEVER : (uint64_t)i * NS_PER_SEC;
		f.resource += i == 4;
		f.nat = i >= 5;
		f.nat_port = i >= 6 ? 77 : 0;
		f.nat_addr[15] = i >= 7;
		fwd_flow_publish(e, &f);
		T(gets(FWD_FLOW_OUT, 1, &f));
	}
	seq = e->seq;
	f.packets = f.bytes = f.last_ns = f.bulk_until_ns = 5;
	fwd_flow_publish(e, &f);
	f.expires_ns += 5; /* of another reading of the clocks */
	fwd_flow_publish(e, &f);
	T_EQ(e->seq, seq); /* readers are not disturbed */
	T(e->flow.packets == 1 && !e->flow.bulk_until_ns);
}

/* Whoever still holds an entry that is another flow's by now counts nothing there. */
static void test_displaced_is_a_miss(void)
{
	struct ps_flow f = decision(1, 9);
	struct ps_flow_key k = key_of(0);
	struct fwd_flow_entry *e;

	fwd_flows_init(&s, list, CAP, 7);
	e = touch(FWD_FLOW_IN, 0);
	fwd_flow_publish(e, &f);
	e->has_resource = true;
	for (uint32_t n = 1; find(FWD_FLOW_IN, 0); n++) {
		T(gets(FWD_FLOW_IN, 0, &f));
		touch(FWD_FLOW_IN, n);
	}
	T(!gets(FWD_FLOW_IN, 0, &f));
	T(!e->cached && !e->flow.generation && !e->has_resource);
	T_EQ(e->flow.packets, 1);
	fwd_flow_carried(e, &k, 10, 1000, now + 1);
	T_EQ(e->flow.packets, 1);
	k = e->key;
	e->seq++;
	fwd_flow_carried(e, &k, 10, 1000, now + 1);
	e->seq++;
	T_EQ(e->flow.packets, 1);
	fwd_flow_carried(e, &k, 10, 1000, now + 1);
	T(e->flow.packets == 11 && e->flow.bytes == 1100 && e->flow.last_ns == now + 1);
	fwd_flow_carried(e, &k, 1, 1, now - 1); /* a worker's clock is a batch old */
	T_EQ(e->flow.last_ns, now + 1);
}

/* What workers carry keeps a flow, like what the control thread carries. */
static void test_silence_as_workers_see_it(void)
{
	struct ps_flow_key k = key_of(0);
	struct fwd_flow_entry *e;

	fwd_flows_init(&s, list, CAP, 7);
	e = touch(FWD_FLOW_IN, 0);
	for (uint32_t n = 1; n < 2000; n++) {
		fwd_flow_carried(e, &k, 1, 1, now);
		touch(FWD_FLOW_IN, n);
	}
	T(find(FWD_FLOW_IN, 0) == e);
}

/* ---- beside a writer ---- */
enum { WRITES = 200000, KEYS = 12 };
static bool writing;

/* In every decision all fields follow from the generation, and the key from the peer. */
static struct ps_flow numbered(uint32_t key, uint32_t i)
{
	struct ps_flow f = {.peer = key,
			    .generation = i,
			    .expires_ns = i * NS_PER_SEC,
			    .resource = i,
			    .nat = i & 1,
			    .nat_port = (uint16_t)i};

	memcpy(f.nat_addr, &i, sizeof(i));
	memcpy(f.nat_addr + 12, &i, sizeof(i));
	return f;
}

static void *writer(void *arg)
{
	uint64_t rnd = t_seed();

	for (uint32_t i = 1; i <= WRITES; i++) {
		uint32_t n = (uint32_t)(t_rand(&rnd) % KEYS);
		struct ps_flow_key k = key_of(n);
		struct ps_flow f = numbered(n, i);
		struct fwd_flow_entry *e = fwd_flows_take(arg, FWD_FLOW_IN, &k);

		if (i % 8)
			fwd_flow_publish(e, &f);
		else
			fwd_flow_hide(e);
		fwd_flow_carried(e, &k, 1, 1, i);
	}
	__atomic_store_n(&writing, false, __ATOMIC_RELEASE);
	return NULL;
}

static void test_copies_are_of_one_decision(void)
{
	uint32_t got = 0, torn = 0;
	pthread_t thread;

	fwd_flows_init(&s, list, FWD_FLOW_WAYS,
		       7); /* one set: entries are exchanged all the time */
	writing = true;
	T_EQ(pthread_create(&thread, NULL, writer, &s), 0);
	while (__atomic_load_n(&writing, __ATOMIC_ACQUIRE)) {
		uint32_t n = got++ % KEYS;
		struct ps_flow_key k = key_of(n);
		struct fwd_flow_entry *e;
		struct ps_flow f, want;

		if (!fwd_flows_get(&s, FWD_FLOW_IN, &k, &f, &e))
			continue;
		want = numbered(n, f.generation);
		torn += f.peer != n || f.expires_ns != want.expires_ns ||
			f.resource != want.resource || f.nat != want.nat ||
			f.nat_port != want.nat_port || memcmp(f.nat_addr, want.nat_addr, 16);
	}
	pthread_join(thread, NULL);
	t_note("%u looks, %llu exchanged", got, (unsigned long long)s.displaced);
	T_EQ(torn, 0);
	T(s.displaced > 1000);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_sizes);
	T_RUN(test_found_again);
	T_RUN(test_bounded);
	T_RUN(test_spread);
	T_RUN(test_seeded);
	T_RUN(test_over);
	T_RUN(test_published_and_hidden);
	T_RUN(test_decided_anew);
	T_RUN(test_displaced_is_a_miss);
	T_RUN(test_silence_as_workers_see_it);
	T_RUN(test_copies_are_of_one_decision);
	return t_done();
}
