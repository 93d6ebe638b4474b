/* SPDX-License-Identifier: Apache-2.0
 *
 * What the relay's machine costs with its tables full (16 384 allocations, a channel each):
 * relay_core_from_client, relay_core_from_peer, relay_core_binding, relay_core_unproven,
 * relay_core_allocate (one allocation made and deleted, both requests proven), relay_core_refresh,
 * and relay_core_memory. */
#include <time.h>

#include "tests/bench/bench.h"
#include "tests/relay_world.h"

#define SAMPLES	 11
#define BATCH	 20000
#define REQUESTS 1000

static struct rw *w;
static uint16_t ports[RELAY_ALLOCS];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void report(const char *bench, const char *metric, const char *unit, double *v, int n)
{
	bench_print(bench, metric, unit, v, n, "\"allocations\":16384,\"pinning\":\"none\"");
}

static struct endpoint client_at(unsigned i)
{
	return rw_ep4(100, 64, (uint8_t)(i >> 8), (uint8_t)i, 999);
}

static struct endpoint peer_at(unsigned i)
{
	return rw_ep4(100, 65, (uint8_t)(i >> 8), (uint8_t)i, 52625);
}

static const char *user_at(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "1900000000:%u", i);
	return name;
}

static void fill(void)
{
	struct relay_cfg c = rw_cfg();

	/* One port more than allocations, so that one can be replaced. */
	c.size = (struct relay_size){.n_allocs = RELAY_ALLOCS + 1};
	c.port_lo = 40000;
	c.port_hi = 40000 + RELAY_ALLOCS;
	w = rw_new(&c);
	for (unsigned i = 0; i < RELAY_ALLOCS; i++) {
		ports[i] = rw_allocate(w, client_at(i), user_at(i));
		if (!ports[i] || rw_bind(w, client_at(i), user_at(i), 0x4000, peer_at(i)))
			exit(1);
	}
}

static void bench_lookups(bool from_client, const char *name)
{
	struct relay_route route;
	double v[SAMPLES];

	for (unsigned s = 0; s < SAMPLES && bench_wanted(name); s++) {
		uint64_t t0 = now_ns();

		for (unsigned k = 0; k < BATCH; k++) {
			unsigned i = k * 7919 % RELAY_ALLOCS;
			struct endpoint e = from_client ? client_at(i) : peer_at(i);

			if ((from_client ? relay_from_client(&w->r, &e, 0x4000, w->now, &route)
					 : relay_from_peer(&w->r, ports[i], &e, w->now, &route)) !=
			    RELAY_HIT)
				exit(1);
		}
		v[s] = (double)(now_ns() - t0) / BATCH;
	}
	if (bench_wanted(name))
		report(name, "ns_per_packet", "ns", v, SAMPLES);
}

/* An answer that needs no tables. */
static void bench_answer(const char *name, const struct rw_ask *a, enum relay_rx want)
{
	static struct relay_tx tx;
	double v[SAMPLES];

	if (!bench_wanted(name))
		return;
	rw_build(w, a);
	w->in = (struct relay_dgram){
		.local = w->at4, .client = a->client, .data = w->req, .len = w->req_len};
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t0 = now_ns();

		for (unsigned k = 0; k < BATCH; k++)
			if (relay_answer(&w->r, &w->in, w->unix_s, w->now, &tx) != want)
				exit(1);
		v[s] = (double)(now_ns() - t0) / BATCH;
	}
	report(name, "ns_per_request", "ns", v, SAMPLES);
}

/* Time in the machine alone: the requests are made beforehand. */
static uint64_t timed(const struct rw_ask *a)
{
	uint64_t t0;

	rw_build(w, a);
	t0 = now_ns();
	rw_input(w, &a->client, w->req, w->req_len);
	t0 = now_ns() - t0;
	if (!w->is_stun || w->m.cls != STUN_SUCCESS)
		exit(1);
	return t0;
}

static void bench_allocate(void)
{
	struct endpoint client = client_at(RELAY_ALLOCS);
	struct rw_ask make = rw_alloc_ask(client), end = rw_ask(STUN_REFRESH, client);
	double v[SAMPLES], refresh[SAMPLES];

	make.user = end.user = "1900000000:more";
	rw_u32(&end, STUN_A_LIFETIME, 0);
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t ns = 0, again = 0;

		for (unsigned k = 0; k < REQUESTS; k++) {
			ns += timed(&make);
			end.attrs[0].u = 600;
			again += timed(&end);
			end.attrs[0].u = 0;
			ns += timed(&end);
		}
		v[s] = (double)ns / REQUESTS;
		refresh[s] = (double)again / REQUESTS;
	}
	if (bench_wanted("relay_core_allocate"))
		report("relay_core_allocate", "ns_per_allocation", "ns", v, SAMPLES);
	if (bench_wanted("relay_core_refresh"))
		report("relay_core_refresh", "ns_per_request", "ns", refresh, SAMPLES);
}

int main(int argc, char **argv)
{
	struct rw_ask binding = rw_ask(STUN_BINDING, client_at(20000));
	struct rw_ask unproven = rw_alloc_ask(client_at(20000));
	double bytes = (double)relay_mem_size(&(struct relay_size){0});

	bench_filter = argc > 1 ? argv[1] : NULL;
	fill();
	bench_lookups(true, "relay_core_from_client");
	bench_lookups(false, "relay_core_from_peer");
	bench_answer("relay_core_binding", &binding, RELAY_RX_DONE);
	unproven.no_mi = true;
	unproven.user = unproven.nonce = "";
	bench_answer("relay_core_unproven", &unproven, RELAY_RX_REFUSED);
	bench_allocate();
	if (bench_wanted("relay_core_memory"))
		report("relay_core_memory", "bytes", "bytes", &bytes, 1);
	rw_free(w);
	return 0;
}
