/* SPDX-License-Identifier: Apache-2.0
 *
 * The NAT table against an oracle that is arrays over all there can be and looks through them from
 * one end to the other: no hashes, no lists, no lower bounds. A small world, where everything
 * collides; 100,000 sessions are test_nat_scale.c. */
#include "tests/nat_world.h"

static uint64_t rnd;

static uint32_t pick(uint32_t n)
{
	return (uint32_t)(t_rand(&rnd) % n);
}

/* ---- the oracle ---- */
#define CLIENTS	 3
#define PROXIES	 6 /* half of each family */
#define REALS	 4 /* half of each family */
#define PORTS	 7
#define SESSIONS 400
#define TOMBS	 4000

struct o_mapping {
	bool used;
	int real; /* -1: none */
	uint32_t resource, domain;
};

struct o_session {
	bool used;
	int client, proxy, real, kind;
	uint16_t inside, outside, far;
	uint64_t out_ns, in_ns;
	bool fin_out, fin_in, rst, shared;
};

struct o_tomb {
	bool used;
	int client, real, kind;
	uint16_t port;
	uint64_t at_ns;
	bool fresh;
};

static struct {
	struct o_mapping mapping[CLIENTS][PROXIES];
	struct o_session session[SESSIONS];
	struct o_tomb tomb[TOMBS];
} o;

static struct nat_world w;
static struct ipaddr proxies[PROXIES], reals[REALS], tuns[2];
static const uint8_t protos[2][3] = {{IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMP},
				     {IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMPV6}};

static bool o_closed(const struct o_session *s)
{
	return !s->shared && (s->rst || (s->fin_out && s->fin_in));
}

static uint64_t o_end(const struct o_session *s)
{
	return nw_session_end(s->kind, !s->shared && s->rst, o_closed(s), s->out_ns, s->in_ns);
}

static struct o_tomb *o_tomb_find(int client, int kind, int real, uint16_t port)
{
	for (int i = 0; i < TOMBS; i++) {
		struct o_tomb *t = &o.tomb[i];

		if (t->used && t->client == client && t->kind == kind && t->real == real &&
		    t->port == port)
			return t;
	}
	return NULL;
}

static void o_session_end(struct o_session *s)
{
	for (int i = 0; i < TOMBS; i++) {
		if (o.tomb[i].used)
			continue;
		o.tomb[i] = (struct o_tomb){true,	s->client, s->real, s->kind,
					    s->outside, w.now,	   true};
		break;
	}
	s->used = false;
}

static struct o_session *o_find(int client, int kind, bool inside, int place, uint16_t port)
{
	for (int i = 0; i < SESSIONS; i++) {
		struct o_session *s = &o.session[i];

		if (s->used && s->client == client && s->kind == kind &&
		    (inside ? s->proxy == place && s->inside == port
			    : s->real == place && s->outside == port))
			return s;
	}
	return NULL;
}

static struct o_session *o_make(int client, int kind, int proxy, uint16_t port)
{
	int real = o.mapping[client][proxy].real;
	uint32_t at = port;

	for (int tries = 0; tries < 65536; tries++) {
		struct o_tomb *t = o_tomb_find(client, kind, real, (uint16_t)at);

		if (!o_find(client, kind, false, real, (uint16_t)at) && (!t || !t->fresh)) {
			if (t)
				t->used = false;
			for (int i = 0; i < SESSIONS; i++) {
				if (o.session[i].used)
					continue;
				o.session[i] = (struct o_session){.used = true,
								  .client = client,
								  .proxy = proxy,
								  .real = real,
								  .kind = kind,
								  .inside = port,
								  .outside = (uint16_t)at};
				return &o.session[i];
			}
		}
		at = at == 65535 ? 1 : at + 1;
	}
	return NULL;
}

static enum nat_out o_out(int client, int kind, int proxy, const struct ip_meta *m,
			  struct o_session **out)
{
	uint16_t port = kind == 2 ? m->icmp_id : m->sport;
	const struct o_mapping *map = &o.mapping[client][proxy];
	bool syn = kind == 0 && (m->tcp_flags & IP_TCP_SYN) && !(m->tcp_flags & IP_TCP_ACK);
	struct o_session *s;

	if (!map->used)
		return NAT_OUT_NO_MAPPING;
	s = o_find(client, kind, true, proxy, port);
	if (s && syn && o_closed(s)) {
		s->fin_in = s->fin_out = s->rst = s->shared = false;
		s->far = m->dport;
		s->in_ns = 0;
		if (s->real != map->real) {
			o_session_end(s);
			s = NULL;
		}
	}
	if (!s) {
		if (map->real < 0)
			return NAT_OUT_UNREACHABLE;
		s = o_make(client, kind, proxy, port);
		if (!s)
			return NAT_OUT_EXHAUSTED;
		s->far = m->dport;
	}
	s->out_ns = w.now;
	s->shared |= s->far != m->dport;
	s->rst |= (m->tcp_flags & IP_TCP_RST) != 0;
	s->fin_out |= (m->tcp_flags & IP_TCP_FIN) != 0;
	*out = s;
	return NAT_OUT_OK;
}

static enum nat_in o_in(int client, int kind, int real, const struct ip_meta *m,
			struct o_session **out)
{
	uint16_t port = kind == 2 ? m->icmp_id : m->dport;
	struct o_session *s = o_find(client, kind, false, real, port);

	if (!s)
		return o_tomb_find(client, kind, real, port) ? NAT_IN_EXPIRED : NAT_IN_NONE;
	s->in_ns = w.now;
	s->shared |= s->far != m->sport;
	s->rst |= (m->tcp_flags & IP_TCP_RST) != 0;
	s->fin_in |= (m->tcp_flags & IP_TCP_FIN) != 0;
	*out = s;
	return NAT_IN_OK;
}

static void o_sweep(void)
{
	for (int i = 0; i < SESSIONS; i++)
		if (o.session[i].used && o_end(&o.session[i]) <= w.now)
			o_session_end(&o.session[i]);
	for (int i = 0; i < TOMBS; i++) {
		o.tomb[i].fresh = false;
		if (o.tomb[i].used && w.now - o.tomb[i].at_ns >= NW_SEC(900))
			o.tomb[i].used = false;
	}
}

/* ---- both ---- */
static uint32_t fates[16];

static uint8_t random_flags(void)
{
	static const uint8_t flags[] = {IP_TCP_ACK,
					IP_TCP_ACK,
					IP_TCP_ACK,
					IP_TCP_SYN,
					IP_TCP_SYN | IP_TCP_ACK,
					IP_TCP_FIN | IP_TCP_ACK,
					IP_TCP_RST};

	return flags[pick(sizeof(flags))];
}

/* Ports are few and at both ends of the range, so that the search runs over the end of it. */
static uint16_t random_port(void)
{
	return (uint16_t)(pick(2) ? 1 + pick(PORTS / 2) : 65535 - pick(PORTS / 2));
}

static bool step_out(void)
{
	int client = (int)pick(CLIENTS), proxy = (int)pick(PROXIES), kind = (int)pick(3);
	bool v6 = proxy >= PROXIES / 2;
	struct ip_meta m = nw_meta(&tuns[v6], &proxies[proxy], protos[v6][kind], random_port(),
				   (uint16_t)(pick(9) ? 443 : 80));
	struct o_session *s = NULL;
	struct nat_hit hit = {0};
	enum nat_out got, want;

	if (kind == 0)
		m.tcp_flags = random_flags();
	want = o_out(client, kind, proxy, &m, &s);
	got = nat_out(&w.n, (uint32_t)client, &m, &hit, w.now);
	fates[want]++;
	if (!T_EQ(got, want))
		return false;
	if (want != NAT_OUT_OK)
		return true;
	return T_EQ(hit.nat.port, s->outside) & T(ipaddr_eq(&hit.nat.addr, &reals[s->real])) &
	       T_EQ(hit.resource, o.mapping[client][proxy].resource) &
	       T_EQ(hit.domain, o.mapping[client][proxy].domain);
}

static bool step_in(void)
{
	int client = (int)pick(CLIENTS), real = (int)pick(REALS), kind = (int)pick(3);
	bool v6 = real >= REALS / 2;
	uint16_t port = random_port();
	struct ip_meta m = nw_meta(&reals[real], &tuns[v6], protos[v6][kind],
				   (uint16_t)(pick(9) ? 443 : 80), port);
	struct o_session *s = NULL;
	struct nat_hit hit = {0};
	enum nat_in got, want;

	if (kind == 2) {
		m.icmp_id = port;
	} else if (kind == 0) {
		m.tcp_flags = random_flags();
	}
	want = o_in(client, kind, real, &m, &s);
	got = nat_in(&w.n, (uint32_t)client, &m, &hit, w.now);
	fates[8 + want]++;
	if (!T_EQ(got, want))
		return false;
	return want != NAT_IN_OK ||
	       (T_EQ(hit.nat.port, s->inside) & T(ipaddr_eq(&hit.nat.addr, &proxies[s->proxy])));
}

static bool step_set(void)
{
	int client = (int)pick(CLIENTS), proxy = (int)pick(PROXIES), ended = 0;
	int real = pick(6) ? (int)pick(REALS / 2) + (proxy >= PROXIES / 2 ? REALS / 2 : 0) : -1;
	struct o_mapping *map = &o.mapping[client][proxy];
	uint32_t domain = pick(4) ? map->domain : pick(3);
	static const struct ipaddr none;

	for (int i = 0; map->used && domain != map->domain && i < SESSIONS; i++) {
		struct o_session *s = &o.session[i];

		if (!s->used || s->client != client || s->proxy != proxy)
			continue;
		o_session_end(s);
		ended = 1;
	}
	*map = (struct o_mapping){true, real, pick(3), domain};
	return T_EQ(nat_translate_set(&w.n, (uint32_t)client, &proxies[proxy],
				      real < 0 ? &none : &reals[real], map->resource, domain,
				      w.now),
		    ended);
}

static void step_drop(void)
{
	int client = (int)pick(CLIENTS), proxy = (int)pick(PROXIES), what = (int)pick(3);
	uint32_t resource = pick(3);

	for (int p = 0; p < PROXIES; p++) {
		struct o_mapping *map = &o.mapping[client][p];

		if (!map->used || (what == 0 && p != proxy) ||
		    (what == 1 && map->resource != resource))
			continue;
		for (int i = 0; i < SESSIONS; i++)
			if (o.session[i].used && o.session[i].client == client &&
			    o.session[i].proxy == p)
				o_session_end(&o.session[i]);
		*map = (struct o_mapping){0};
	}
	for (int i = 0; what == 2 && i < TOMBS; i++)
		if (o.tomb[i].client == client)
			o.tomb[i].used = false;
	if (what == 0)
		nat_proxy_drop(&w.n, (uint32_t)client, &proxies[proxy], w.now);
	else if (what == 1)
		nat_resource_drop(&w.n, (uint32_t)client, resource, w.now);
	else
		nat_client_drop(&w.n, (uint32_t)client);
}

/* Sweeps whenever the table wants one; the oracle is swept at the same times, plus every second, at
 * which nothing may be due. */
static bool step_time(void)
{
	uint64_t until = w.now + NW_SEC(pick(20) ? pick(4) : pick(20) ? 60 + pick(100) : 7440);

	while (nw_due(&w, until)) {
		nat_timeout(&w.n, w.now);
		o_sweep();
	}
	w.now = until;
	for (int i = 0; i < SESSIONS; i++)
		if (o.session[i].used && !T(o_end(&o.session[i]) > w.now - 2 * NS_PER_SEC))
			return false;
	return true;
}

static uint32_t o_count(void)
{
	uint32_t n = 0;

	for (int i = 0; i < SESSIONS; i++)
		n += o.session[i].used;
	return n;
}

static void small_world(uint32_t steps)
{
	uint32_t n, most = 0;
	bool ok = true;

	memset(&o, 0, sizeof(o));
	for (int i = 0; i < PROXIES; i++)
		proxies[i] = pkt_ip(i < PROXIES / 2 ? "100.96.0.1" : "fd00:2021:1111:8000::1");
	for (int i = 0; i < REALS; i++)
		reals[i] = pkt_ip(i < REALS / 2 ? "10.1.0.1" : "2001:db8::1");
	for (int i = 0; i < PROXIES; i++)
		proxies[i].b[i < PROXIES / 2 ? 3 : 15] = (uint8_t)(1 + i);
	for (int i = 0; i < REALS; i++)
		reals[i].b[i < REALS / 2 ? 3 : 15] = (uint8_t)(1 + i);
	tuns[0] = pkt_ip("100.64.0.9");
	tuns[1] = pkt_ip("fd00:2021:1111::9");
	nw_open(&w, &(struct nat_sizes){.clients = CLIENTS,
					.mappings = CLIENTS * PROXIES,
					.sessions = SESSIONS,
					.tombs = TOMBS});
	for (n = 0; n < steps && ok; n++) {
		uint32_t what = pick(100);

		if (what < 50)
			ok = step_out();
		else if (what < 85)
			ok = step_in();
		else if (what < 92)
			ok = step_set();
		else if (what < 99)
			ok = step_time();
		else if (pick(2))
			step_drop();
		ok &= T_EQ(w.n.session_count, o_count());
		most = w.n.session_count > most ? w.n.session_count : most;
	}
	if (!ok)
		t_note("step %u, seed %llu", n, (unsigned long long)t_seed());
	t_note("small: %u steps, at most %u sessions; made %llu, other port %llu, expired %llu, "
	       "closed %llu",
	       n, most, (unsigned long long)w.n.counters.made,
	       (unsigned long long)w.n.counters.port_changed,
	       (unsigned long long)w.n.counters.expired, (unsigned long long)w.n.counters.closed);
	nw_close(&w);
}

static void test_small_world(void)
{
	rnd = t_seed();
	small_world(60000);
	t_note("out: ok %u, no mapping %u, unreachable %u; in: ok %u, expired %u, none %u",
	       fates[NAT_OUT_OK], fates[NAT_OUT_NO_MAPPING], fates[NAT_OUT_UNREACHABLE],
	       fates[8 + NAT_IN_OK], fates[8 + NAT_IN_EXPIRED], fates[8 + NAT_IN_NONE]);
	T(fates[NAT_OUT_OK] > 1000 && fates[NAT_OUT_NO_MAPPING] > 100 &&
	  fates[NAT_OUT_UNREACHABLE] > 100);
	T(fates[8 + NAT_IN_OK] > 1000 && fates[8 + NAT_IN_EXPIRED] > 1000 &&
	  fates[8 + NAT_IN_NONE] > 100);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_small_world);
	return t_done();
}
