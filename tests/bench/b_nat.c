/* SPDX-License-Identifier: Apache-2.0
 * The NAT table in user space with 50,000 sessions: nanoseconds a packet for finding a session in
 * each direction and for making one, the rewrite itself, a sweep, and memory. */
#include <time.h>
#include "plan/nat.h"
#include "tests/bench/bench.h"
#include "tests/nat_world.h"

#define SESSIONS 50000
#define CLIENTS	 100
#define RUNS	 9

static struct nat_world w;
static struct ip_meta outward[SESSIONS], inward[SESSIONS];

static volatile uint8_t kept;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void print(const char *bench, const char *metric, const char *unit, double *v, int n)
{
	if (bench_wanted(bench))
		bench_print(bench, metric, unit, v, n, "\"sessions\":50000");
}

static void world(void)
{
	struct ipaddr tun = pkt_ip("100.64.0.9");

	nw_open(&w, &(struct nat_sizes){.clients = CLIENTS,
					.mappings = CLIENTS * 8,
					.sessions = SESSIONS,
					.tombs = SESSIONS});
	for (uint32_t i = 0; i < CLIENTS * 8; i++) {
		struct ipaddr proxy = ipaddr_v4(100, 96, 0, (uint8_t)(1 + i / CLIENTS));
		struct ipaddr real = ipaddr_v4(10, 1, 0, (uint8_t)(1 + i / CLIENTS / 2));

		T_EQ(nat_translate_set(&w.n, i % CLIENTS, &proxy, &real, 0, i, w.now), 0);
	}
	for (uint32_t i = 0; i < SESSIONS; i++) {
		uint32_t of = i / CLIENTS;
		struct ipaddr proxy = ipaddr_v4(100, 96, 0, (uint8_t)(1 + of % 8));

		outward[i] = nw_meta(&tun, &proxy, IP_PROTO_TCP, (uint16_t)(40000 + of), 443);
	}
}

static double make(void)
{
	struct nat_hit hit;
	uint64_t at = now_ns();

	for (uint32_t i = 0; i < SESSIONS; i++) {
		if (!T_EQ(nat_out(&w.n, i % CLIENTS, &outward[i], &hit, w.now), NAT_OUT_OK))
			break;
		inward[i] = nw_meta(&hit.nat.addr, &outward[i].src, IP_PROTO_TCP, 443,
				    hit.nat.port);
	}
	return (double)(now_ns() - at) / SESSIONS;
}

static double find(bool in)
{
	struct nat_hit hit;
	uint32_t found = 0;
	uint64_t at = now_ns();

	for (uint32_t n = 0; n < SESSIONS; n++) {
		uint32_t i = (uint32_t)((uint64_t)n * 7919 % SESSIONS); /* not in order of memory */

		found += in ? nat_in(&w.n, i % CLIENTS, &inward[i], &hit, w.now) == NAT_IN_OK
			    : nat_out(&w.n, i % CLIENTS, &outward[i], &hit, w.now) == NAT_OUT_OK;
	}
	T_EQ(found, SESSIONS);
	return (double)(now_ns() - at) / SESSIONS;
}

static double rewrite(uint8_t family)
{
	struct ps_nat to[2] = {{.addr = {10, 1, 2, 3}, .port = 99},
			       {.addr = {10, 9, 8, 7}, .port = 77}};
	uint8_t p[128] = {0};
	uint64_t at = now_ns();

	for (uint32_t i = 0; i < SESSIONS; i++)
		ps_nat_rewrite(p, p + (family == 4 ? 20 : 40), 20, family, IP_PROTO_TCP,
			       i & 2 ? PS_NAT_TO : PS_NAT_FROM, &to[i & 1]);
	kept = p[17];
	return (double)(now_ns() - at) / SESSIONS;
}

static void bench(void)
{
	double made[1], in[RUNS], out[RUNS], r4[RUNS], r6[RUNS], sweep[RUNS], v;

	world();
	made[0] = make();
	for (int i = 0; i < RUNS; i++) {
		uint64_t at;

		out[i] = find(false);
		in[i] = find(true);
		r4[i] = rewrite(4);
		r6[i] = rewrite(6);
		at = now_ns();
		nat_timeout(&w.n, w.now);
		sweep[i] = (double)(now_ns() - at) / 1000;
	}
	T_EQ(w.n.session_count, SESSIONS);
	print("nat_session_make", "ns_per_packet", "ns", made, 1);
	print("nat_find_to_resource", "ns_per_packet", "ns", out, RUNS);
	print("nat_find_from_resource", "ns_per_packet", "ns", in, RUNS);
	print("nat_rewrite_v4", "ns_per_packet", "ns", r4, RUNS);
	print("nat_rewrite_v6", "ns_per_packet", "ns", r6, RUNS);
	print("nat_sweep", "us_per_sweep", "us", sweep, RUNS);
	v = (double)w.session_bytes;
	print("nat_session_memory", "bytes_per_session", "bytes", &v, 1);
	v = (double)w.mapping_bytes;
	print("nat_mapping_memory", "bytes_per_mapping", "bytes", &v, 1);
	nw_close(&w);
}

int main(int argc, char **argv)
{
	bench_filter = argc > 1 ? argv[1] : NULL;
	t_init(1, argv);
	T_RUN(bench);
	return t_done();
}
