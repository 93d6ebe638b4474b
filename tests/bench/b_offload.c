/* SPDX-License-Identifier: Apache-2.0
 *
 * Cost of segmentation and joining, ns per packet, no device and no kernel: split_<kind>_<payload>
 * and join_<kind>_<payload>, TCP with timestamps; join_lone: packets of as many flows as a batch
 * has, none joined; join_turn: 16 flows in turn. */
#include <time.h>

#include "base/time.h"
#include "fwd/off_join.h"
#include "fwd/off_split.h"
#include "tests/bench/bench.h"
#include "tests/off_pkt.h"

#define SAMPLES 25
#define BATCH	640
#define PKT	1536

static uint8_t pkts[BATCH][PKT], heads[BATCH][80], super[70000], payload[70000], out[64][PKT];
static size_t len[BATCH];
static struct off_join join;
static uint64_t sink;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static struct off_flow flow(uint8_t proto, unsigned n)
{
	return (struct off_flow){.family = 4,
				 .proto = proto,
				 .src = (uint8_t)n,
				 .sport = (uint16_t)(n >> 8),
				 .ttl = 64,
				 .flags = 16,
				 .df = true,
				 .opt_len = proto == IP_PROTO_TCP ? 12 : 0};
}

static void report(const char *name, double *v)
{
	bench_print(name, "ns_per_packet", "ns", v, SAMPLES, "\"pinning\":\"none\"");
}

static void bench_split(const char *kind, uint8_t proto, size_t size)
{
	const struct off_flow f = flow(proto, 1);
	size_t n = 64000 / size < 64 ? 64000 / size : 64;
	const struct off_gso g = off_pkt_gso(&f, (uint16_t)size);
	size_t total = off_pkt(&f, payload, n * size, super);
	struct off_split s;
	double v[SAMPLES];
	char name[48];

	snprintf(name, sizeof(name), "split_%s_%zu", kind, size);
	if (!bench_wanted(name))
		return;
	for (unsigned k = 0; k < SAMPLES; k++) {
		uint64_t t0 = now_ns();

		for (unsigned r = 0; r < 100; r++) {
			if (off_split_begin(&s, super, total, &g))
				exit(1);
			for (size_t i = 0; i < n; i++)
				sink += off_split_next(&s, out[i], PKT);
		}
		v[k] = (double)(now_ns() - t0) / (100 * (double)n);
	}
	report(name, v);
}

static size_t join_all(size_t n)
{
	const struct off_super *s;
	size_t written = 0;

	for (size_t i = 0; i < n; i++) {
		off_join_add(&join, pkts[i], len[i]);
		while ((s = off_join_next(&join)))
			written++, sink += s->len;
	}
	off_join_flush(&join);
	while ((s = off_join_next(&join)))
		written++, sink += s->len;
	return written;
}

static void bench_join(const char *kind, uint8_t proto, size_t size, unsigned flows)
{
	size_t n = flows == 1 ? (64000 / size < 64 ? 64000 / size : 64) : BATCH, written = 0;
	double v[SAMPLES];
	char name[48];

	snprintf(name, sizeof(name), "join_%s_%zu", kind, size);
	if (!bench_wanted(name))
		return;
	for (size_t i = 0; i < n; i++) {
		struct off_flow f = flow(proto, (unsigned)i % flows);

		f.seq = (uint32_t)(i / flows * size);
		len[i] = off_pkt(&f, payload, size, pkts[i]);
		memcpy(heads[i], pkts[i], sizeof(heads[i]));
	}
	off_join_init(&join, true, true);
	for (unsigned k = 0; k < SAMPLES; k++) {
		uint64_t spent = 0;

		for (unsigned r = 0; r < 100; r++) {
			uint64_t t0;

			for (size_t i = 0; i < n; i++) /* what joining wrote */
				memcpy(pkts[i], heads[i], sizeof(heads[i]));
			t0 = now_ns();
			written = join_all(n);
			spent += now_ns() - t0;
		}
		v[k] = (double)spent / (100 * (double)n);
	}
	report(name, v);
	fprintf(stderr, "# %s: %zu packets, %zu written\n", name, n, written);
}

int main(int argc, char **argv)
{
	bench_filter = argc > 1 ? argv[1] : NULL;
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7 >> 2);
	bench_split("tcp", IP_PROTO_TCP, 1400);
	bench_split("tcp", IP_PROTO_TCP, 100);
	bench_split("udp", IP_PROTO_UDP, 1400);
	bench_split("udp", IP_PROTO_UDP, 100);
	bench_join("tcp", IP_PROTO_TCP, 1400, 1);
	bench_join("tcp", IP_PROTO_TCP, 100, 1);
	bench_join("udp", IP_PROTO_UDP, 1400, 1);
	bench_join("udp", IP_PROTO_UDP, 100, 1);
	bench_join("lone", IP_PROTO_TCP, 100, BATCH);
	bench_join("turn", IP_PROTO_TCP, 1400, OFF_JOIN_OPEN);
	return sink == 1;
}
