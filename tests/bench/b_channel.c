/* SPDX-License-Identifier: Apache-2.0
 * What a relay's channel adds to a packet in user space: on the way in it is looked up, its lease
 * renewed and its framing taken off (turn_input), on the way out four bytes are written. Names:
 * user_channel_in, user_channel_out. */
#include <time.h>

#include "tests/bench/bench.h"
#include "tests/unit/turn_rig.h"
#include "wire/turn.h"

#define SAMPLES 15
#define BATCH	20000
#define PEERS	64 /* channels there are */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void report(const char *name, double *v)
{
	bench_print(name, "ns_per_packet", "ns", v, SAMPLES, "\"executor\":\"user\"");
}

static void bench_in(const uint16_t *number)
{
	const struct endpoint local = rig.local4, relay = rig.server4;
	uint8_t pkt[4 + 96] = {0};
	double v[SAMPLES];

	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t0 = now_ns();

		for (unsigned k = 0; k < BATCH; k++) {
			struct turn_data d;

			turn_chan_put(pkt, number[k % PEERS], sizeof(pkt) - 4);
			if (turn_input(&rig.t, &local, &relay, pkt, sizeof(pkt), &d, rig.now) !=
			    TURN_RX_DATA)
				exit(1);
		}
		v[s] = (double)(now_ns() - t0) / BATCH;
	}
	report("user_channel_in", v);
}

static void bench_out(const uint16_t *number)
{
	uint8_t pkt[4 + 96] = {0};
	double v[SAMPLES];

	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t0 = now_ns();

		for (unsigned k = 0; k < BATCH; k++) {
			turn_chan_put(pkt, number[k % PEERS], sizeof(pkt) - 4);
			__asm__ volatile("" : : "r"(pkt) : "memory");
		}
		v[s] = (double)(now_ns() - t0) / BATCH;
	}
	report("user_channel_out", v);
}

static void bench(void)
{
	uint16_t number[PEERS];

	rig_ready();
	for (unsigned i = 0; i < PEERS; i++) {
		char peer[32];

		snprintf(peer, sizeof(peer), "9.9.9.%u:1000", i + 1);
		number[i] = rig_bound(peer);
	}
	if (bench_wanted("user_channel_in"))
		bench_in(number);
	if (bench_wanted("user_channel_out"))
		bench_out(number);
}

int main(int argc, char **argv)
{
	bench_filter = argc > 1 ? argv[1] : NULL;
	t_init(1, argv);
	T_RUN(bench);
	return t_done();
}
