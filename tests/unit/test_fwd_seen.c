/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of flows user space carries: found again, told apart, bounded, and busy ones stay. */
#include "fwd/fwd_seen.h"

#include <stdlib.h>
#include "core/tunnel/nat.h"
#include "tests/t.h"

#define CAP 64u

static struct fwd_seen_flow list[CAP];
static struct fwd_seen s;
static uint64_t now;

static struct ps_flow_key key_of(uint32_t n)
{
	struct ps_flow_key k = {.family = 4, .proto = IP_PROTO_UDP};

	memcpy(k.saddr, &n, sizeof(n));
	return k;
}

static struct fwd_seen_flow *touch(enum fwd_seen_dir dir, uint32_t n)
{
	struct ps_flow_key k = key_of(n);
	struct fwd_seen_flow *f = fwd_seen_take(&s, dir, &k);

	f->packets++;
	f->last_ns = ++now;
	return f;
}

static const struct fwd_seen_flow *find(enum fwd_seen_dir dir, uint32_t n)
{
	struct ps_flow_key k = key_of(n);

	return fwd_seen_find(&s, dir, &k);
}

static void test_sizes(void)
{
	T_EQ(fwd_seen_cap_for(0), FWD_SEEN_WAYS);
	T_EQ(fwd_seen_cap_for(5), 8);
	T_EQ(fwd_seen_cap_for(65536), 65536);
	T_EQ(fwd_seen_cap_for(UINT32_MAX), 1u << 30);
}

static void test_found_again(void)
{
	fwd_seen_init(&s, list, CAP);
	T(!find(FWD_SEEN_IN, 1));
	T_EQ(touch(FWD_SEEN_IN, 1)->packets, 1);
	T_EQ(touch(FWD_SEEN_IN, 1)->packets, 2);
	T_EQ(touch(FWD_SEEN_OUT, 1)->packets, 1);
	T(find(FWD_SEEN_IN, 1) && find(FWD_SEEN_IN, 1) != find(FWD_SEEN_OUT, 1));
	T(!find(FWD_SEEN_IN, 2));
	T_EQ(s.used, 2);
	T_EQ(s.displaced, 0);
}

/* A flow that goes on through floods of others is never lost, a flow that is silent is. */
static void test_bounded(void)
{
	fwd_seen_init(&s, list, CAP);
	touch(FWD_SEEN_IN, 0);
	touch(FWD_SEEN_IN, 1);
	for (uint32_t n = 2; n < 5000; n++) {
		touch(FWD_SEEN_IN, n);
		touch(FWD_SEEN_IN, 0);
		T(find(FWD_SEEN_IN, n));
	}
	T_EQ(find(FWD_SEEN_IN, 0)->packets, 4999);
	T(!find(FWD_SEEN_IN, 1));
	T(s.used == CAP && s.displaced == 5000 - CAP);
}

static void test_spread(void)
{
	static struct fwd_seen_flow many[4096];

	fwd_seen_init(&s, many, 4096);
	for (uint32_t n = 0; n < 1024; n++)
		touch(n & 1 ? FWD_SEEN_IN : FWD_SEEN_OUT, n);
	t_note("used=%u of 1024, displaced=%llu", s.used, (unsigned long long)s.displaced);
	T(s.displaced < 32); /* a quarter full: sets of four seldom overflow */
}

static void test_over(void)
{
	struct fwd_seen_flow f = {.key = key_of(1), .last_ns = 5};

	T(!fwd_seen_is_over(&f, 5 + NAT_UDP_NS));
	T(fwd_seen_is_over(&f, 6 + NAT_UDP_NS));
	f.key.proto = IP_PROTO_TCP;
	T(!fwd_seen_is_over(&f, 6 + NAT_UDP_NS));
	T(fwd_seen_is_over(&f, 6 + NAT_TCP_NS));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_sizes);
	T_RUN(test_found_again);
	T_RUN(test_bounded);
	T_RUN(test_spread);
	T_RUN(test_over);
	return t_done();
}
