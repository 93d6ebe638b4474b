/* SPDX-License-Identifier: Apache-2.0
 *
 * The stub resolver with its sockets and nothing else: h_dns-stub DEVICE OWN4 OWN6 GATEWAY4
 * GATEWAY6 UPSTREAM…; an upstream with a "+" in front is one the tunnel covers. Resources:
 * *.corp.test (both families), v4.only, v6.only; in-site queries go to GATEWAY after a first one
 * has been held.
 *
 * Prints "sentinel ADDRESS UPSTREAM" lines and "ready"; SIGHUP swaps the last upstream away and
 * prints anew; SIGUSR1 prints counters; SIGTERM ends. */
#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "io/dns_resolver.h"
#include "io/entropy.h"
#include "io/nl_link.h"
#include "io/nl_route.h"

#define NAMES 1024

static struct loop loop;
static struct dns_stub stub;
static struct dns_resolver *resolver;
static struct loop_signal sig_term, sig_usr1, sig_hup;
static struct loop_timer later;
static struct ipaddr gateway4, gateway6;
static struct endpoint upstreams[DNS_UPSTREAMS_CAP];
static bool covered[DNS_UPSTREAMS_CAP];
static uint32_t n_upstreams, n_named;
static bool gateway_up;
static struct uuid held_for;

static void apply(uint64_t now)
{
	char a[IPADDR_STRLEN], b[ENDPOINT_STRLEN];
	struct io_err err = {""};

	dns_stub_set_upstreams(&stub, upstreams, n_upstreams, NULL, 0);
	for (uint32_t i = 0; i < stub.sentinels.count; i++)
		dns_stub_set_covered(&stub, i, false, covered[i]);
	if (dns_resolver_apply(resolver, false, now, &err))
		printf("error %s\n", err.msg);
	for (uint32_t i = 0; i < stub.sentinels.count; i++)
		printf("sentinel %s %s\n", ipaddr_fmt(&stub.sentinels.list[i].sentinel, a),
		       endpoint_fmt(&stub.sentinels.list[i].at, b));
	printf("ready\n");
}

static int gateway(void *ctx, const struct uuid *resource, uint8_t family, struct ipaddr *at,
		   uint64_t now)
{
	(void)ctx;
	*at = family == 6 ? gateway6 : gateway4;
	if (gateway_up)
		return 0;
	held_for = *resource;
	loop_timer_arm(&later, now + 200 * NS_PER_MS);
	return -EAGAIN;
}

static void on_later(void *ctx, uint64_t now)
{
	(void)ctx;
	gateway_up = true;
	dns_resolver_in_site(resolver, &held_for, now);
}

static void named(void *ctx, const struct uuid *resource, uint32_t name, uint64_t now)
{
	(void)ctx;
	(void)resource;
	(void)now;
	n_named += name < NAMES;
}

static void on_term(void *ctx, int signum, uint64_t now)
{
	(void)ctx;
	(void)signum;
	(void)now;
	loop_stop(&loop);
}

static void on_hup(void *ctx, int signum, uint64_t now)
{
	(void)ctx;
	(void)signum;
	n_upstreams--;
	apply(now);
}

static void on_usr1(void *ctx, int signum, uint64_t now)
{
	const struct dns_server_stats *s = dns_resolver_server(resolver);
	const struct dns_upstream_stats *u = dns_resolver_upstreams(resolver);
	const struct dns_stub_counters *c = &stub.counters;

	(void)ctx;
	(void)signum;
	(void)now;
	printf("counters conns=%u sockets=%u pending=%u accepted=%lu evicted=%lu refused=%lu "
	       "bad_frame=%lu idle=%lu slow=%lu udp_unsent=%lu tcp_unsent=%lu upstream_failed=%lu "
	       "timeouts=%lu rebinding=%lu bad_id=%lu cached=%lu truncated=%lu named=%u "
	       "malformed=%lu\n",
	       dns_resolver_conns(resolver), dns_resolver_sockets(resolver), stub.pending.count,
	       s->tcp_accepted, s->tcp_evicted, s->tcp_refused, s->tcp_bad_frame, s->tcp_idle,
	       s->tcp_slow, s->udp_unsent, s->tcp_unsent, u->failed, c->timeouts, c->rebinding,
	       c->bad_id, c->cached, c->truncated, n_named, c->malformed[DNS_SHORT]);
}

static int open_stub(void)
{
	struct dns_stub_mem mem = {.pattern_cap = 8,
				   .name_cap = NAMES,
				   .cell_cap = DNS_NAMES_CELLS(NAMES),
				   .pending_cap = DNS_PENDING_CAP,
				   .cached_cap = 64};
	static const struct {
		const char *pattern;
		enum dns_stack stack;
	} list[] = {{"*.corp.test", DNS_STACK_DUAL},
		    {"v4.only", DNS_STACK_V4},
		    {"v6.only", DNS_STACK_V6}};
	uint8_t seed[32];

	mem.patterns = calloc(mem.pattern_cap, sizeof(*mem.patterns));
	mem.names = calloc(mem.name_cap, sizeof(*mem.names));
	mem.cells = calloc(mem.cell_cap, sizeof(*mem.cells));
	mem.pending = calloc(mem.pending_cap, sizeof(*mem.pending));
	mem.cached = calloc(mem.cached_cap, sizeof(*mem.cached));
	if (!mem.patterns || !mem.names || !mem.cells || !mem.pending || !mem.cached ||
	    entropy_get(seed, sizeof(seed)))
		return -ENOMEM;
	dns_stub_init(&stub, &mem, seed);
	for (uint8_t i = 0; i < 3; i++) {
		struct uuid id = {.b = {i + 1}};

		if (dns_stub_add_resource(&stub, &id, list[i].pattern, list[i].stack))
			return -EINVAL;
	}
	return 0;
}

static void close_stub(void)
{
	free(stub.patterns.list);
	free(stub.names.list);
	free(stub.names.idx.cells);
	free(stub.pending.list);
	free(stub.cache.list);
}

int main(int argc, char **argv)
{
	struct ipaddr own4, own6;
	struct io_err err = {""};
	struct nl *nl = NULL;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 7 || ipaddr_parse(argv[2], &own4) || ipaddr_parse(argv[3], &own6) ||
	    ipaddr_parse(argv[4], &gateway4) || ipaddr_parse(argv[5], &gateway6))
		return 2;
	for (int i = 6; i < argc && n_upstreams < DNS_UPSTREAMS_CAP; i++) {
		covered[n_upstreams] = argv[i][0] == '+';
		if (endpoint_parse(argv[i] + covered[n_upstreams], &upstreams[n_upstreams]))
			return 2;
		n_upstreams++;
	}
	if (open_stub() || loop_init(&loop) || nl_open(&nl, &err))
		return 1;
	const struct dns_resolver_cfg cfg = {
		.loop = &loop,
		.nl = nl,
		.ifindex = (int)if_nametoindex(argv[1]),
		.fwmark = NL_FWMARK,
		.stub = &stub,
		.gateway = gateway,
		.named = named,
	};
	if (dns_resolver_open(&resolver, &cfg, &err) ||
	    loop_timer_init(&later, &loop, on_later, NULL) ||
	    loop_signal_init(&sig_term, &loop, SIGTERM, on_term, NULL) ||
	    loop_signal_init(&sig_hup, &loop, SIGHUP, on_hup, NULL) ||
	    loop_signal_init(&sig_usr1, &loop, SIGUSR1, on_usr1, NULL)) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	dns_resolver_set_own(resolver, &own4, &own6);
	apply(loop_now());
	loop_run(&loop);
	loop_timer_fini(&later);
	loop_fini(&loop);
	dns_resolver_close(resolver);
	nl_close(nl);
	close_stub();
	return 0;
}
