/* SPDX-License-Identifier: Apache-2.0
 *
 * The NAT table with 100,000 mappings and as many sessions of all protocols and both families,
 * against an oracle that is a plain list of the flows there can be and looks through all of a
 * client's for every question: ports, reuse, timeouts by protocol and state, remapping, late
 * packets. Then the table is full, timed and emptied. (A small world where everything collides is
 * test_nat_model.c; all ports of one address, test_nat.c.) */
#include <time.h>
#include "tests/nat_world.h"

#define MANY	     100000
#define MANY_CLIENTS 50
#define TOMBS	     300000
#define STEPS	     150000
#define REALS	     100 /* of each family: names share addresses, as those of one web server do */

static uint64_t rnd;
static struct nat_world w;
static struct ipaddr tuns[2];

static uint32_t pick(uint32_t n)
{
	return (uint32_t)(t_rand(&rnd) % n);
}

/* ---- the flows: the i-th has a mapping of its own ---- */
static struct ipaddr proxy_of(uint32_t i)
{
	uint32_t n = i / MANY_CLIENTS;

	if (n % 2) {
		struct ipaddr a = pkt_ip("fd00:2021:1111:8000::");

		be32_put(a.b + 12, n / 2 + 1);
		return a;
	}
	return ipaddr_v4(100, 96, (uint8_t)((n / 2 + 1) >> 8), (uint8_t)(n / 2 + 1));
}

static struct ipaddr real_of(uint32_t i, uint32_t real)
{
	if (i / MANY_CLIENTS % 2) {
		struct ipaddr a = pkt_ip("2001:db8::");

		be32_put(a.b + 12, real);
		return a;
	}
	return ipaddr_v4(10, 1, 0, (uint8_t)real);
}

static int kind_of(uint32_t i)
{
	return (int)(i / MANY_CLIENTS / 2 % 3);
}

static uint16_t inside_of(uint32_t i)
{
	return (uint16_t)(1024 + i / MANY_CLIENTS % 3);
}

static struct ip_meta packet(uint32_t i, bool in, const struct ipaddr *real, uint16_t port,
			     uint8_t flags)
{
	static const uint8_t protos[2][3] = {{IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMP},
					     {IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMPV6}};
	struct ipaddr p = proxy_of(i);
	bool v6 = p.family == 6;
	struct ip_meta m = in ? nw_meta(real, &tuns[v6], protos[v6][kind_of(i)], 443, port)
			      : nw_meta(&tuns[v6], &p, protos[v6][kind_of(i)], inside_of(i), 443);

	if (in && m.l4 == IP_L4_ICMP_ECHO)
		m.icmp_id = port;
	if (m.l4 == IP_L4_TCP)
		m.tcp_flags = flags;
	return m;
}

/* ---- the oracle ---- */
struct flow {
	uint32_t map_real, domain; /* the mapping's */
	uint32_t real;		   /* the session's */
	uint16_t outside;
	bool live, fin_out, fin_in, rst;
	uint64_t out_ns, in_ns;
};

struct tomb {
	uint32_t real;
	uint16_t port;
	uint8_t class;
	bool used, fresh;
	uint64_t at_ns;
};

static struct flow flows[MANY];
static uint8_t class_of[MANY]; /* protocol and family: outsides of one class could be the same */
static uint32_t outsides[MANY_CLIENTS][MANY / MANY_CLIENTS]; /* of live sessions, a client's list */
static struct tomb tombs[MANY_CLIENTS][TOMBS / MANY_CLIENTS];
static uint32_t tomb_high[MANY_CLIENTS];
static uint64_t made, ended;

static struct tomb *tomb_of(uint32_t i, uint32_t real, uint16_t port)
{
	uint32_t c = i % MANY_CLIENTS;

	for (uint32_t k = 0; k < tomb_high[c]; k++) {
		struct tomb *t = &tombs[c][k];

		if (t->used && t->port == port && t->real == real && t->class == class_of[i])
			return t;
	}
	return NULL;
}

static bool o_closed(const struct flow *f)
{
	return f->rst || (f->fin_out && f->fin_in);
}

static uint64_t o_end(uint32_t i)
{
	const struct flow *f = &flows[i];

	return nw_session_end(kind_of(i), f->rst, o_closed(f), f->out_ns, f->in_ns);
}

/* Protocol, family, address and port in one number, never 0. */
static uint32_t outside(uint32_t i, uint32_t real, uint16_t port)
{
	return (class_of[i] + 1u) << 24 | real << 16 | port;
}

static void o_over(uint32_t i)
{
	uint32_t c = i % MANY_CLIENTS, k = 0;

	while (k < tomb_high[c] && tombs[c][k].used)
		k++;
	if (!T(k < TOMBS / MANY_CLIENTS))
		return;
	if (k == tomb_high[c])
		tomb_high[c]++;
	tombs[c][k] = (struct tomb){.real = flows[i].real,
				    .class = class_of[i],
				    .port = flows[i].outside,
				    .used = true,
				    .fresh = true,
				    .at_ns = w.now};
	flows[i].live = false;
	outsides[c][i / MANY_CLIENTS] = 0;
	ended++;
}

static bool taken(uint32_t i, uint32_t real, uint16_t port)
{
	const uint32_t *list = outsides[i % MANY_CLIENTS], key = outside(i, real, port);

	for (uint32_t k = 0; k < MANY / MANY_CLIENTS; k++)
		if (list[k] == key)
			return true;
	return false;
}

static void o_make(uint32_t i)
{
	struct flow *f = &flows[i];
	uint16_t port = inside_of(i);
	struct tomb *t;

	for (;; port = port == 65535 ? 1 : (uint16_t)(port + 1)) {
		t = tomb_of(i, f->map_real, port);
		if (!taken(i, f->map_real, port) && (!t || !t->fresh))
			break;
	}
	if (t)
		t->used = false;
	f->real = f->map_real;
	f->outside = port;
	f->live = true;
	outsides[i % MANY_CLIENTS][i / MANY_CLIENTS] = outside(i, f->real, port);
	f->fin_out = f->fin_in = f->rst = false;
	f->in_ns = 0;
	made++;
}

static void o_sweep(void)
{
	for (uint32_t i = 0; i < MANY; i++)
		if (flows[i].live && o_end(i) <= w.now)
			o_over(i);
	for (uint32_t c = 0; c < MANY_CLIENTS; c++)
		for (uint32_t k = 0; k < tomb_high[c]; k++) {
			tombs[c][k].fresh = false;
			tombs[c][k].used &= w.now - tombs[c][k].at_ns < NW_SEC(900);
		}
}

/* ---- both ---- */
static uint8_t random_flags(void)
{
	static const uint8_t flags[] = {IP_TCP_ACK, IP_TCP_ACK, IP_TCP_ACK,
					IP_TCP_SYN, IP_TCP_FIN, IP_TCP_RST};

	return flags[pick(sizeof(flags))];
}

static bool step_out(uint32_t i, uint8_t flags)
{
	struct ip_meta m = packet(i, false, NULL, 0, flags);
	struct flow *f = &flows[i];
	struct ipaddr real;
	struct nat_hit hit;

	flags = m.tcp_flags;
	if (f->live && flags == IP_TCP_SYN && o_closed(f)) {
		f->fin_out = f->fin_in = f->rst = false;
		f->in_ns = 0;
		if (f->real != f->map_real)
			o_over(i);
	}
	if (!f->live)
		o_make(i);
	f->out_ns = w.now;
	f->rst |= (flags & IP_TCP_RST) != 0;
	f->fin_out |= (flags & IP_TCP_FIN) != 0;
	real = real_of(i, f->real);
	return T_EQ(nat_out(&w.n, i % MANY_CLIENTS, &m, &hit, w.now), NAT_OUT_OK) &&
	       T_EQ(hit.nat.port, f->outside) & T(ipaddr_eq(&hit.nat.addr, &real)) &
		       T_EQ(hit.resource, i) & T_EQ(hit.domain, f->domain);
}

/* To where the flow's session is, or was last: then it is late, unless another one has the port. */
static bool step_in(uint32_t i, uint8_t flags)
{
	struct flow *f = &flows[i];
	struct ipaddr real = real_of(i, f->real), proxy = proxy_of(i);
	struct ip_meta m = packet(i, true, &real, f->outside, flags);
	enum nat_in want = NAT_IN_OK, got;
	struct nat_hit hit;

	if (!f->live && taken(i, f->real, f->outside))
		return true;
	if (!f->live)
		want = tomb_of(i, f->real, f->outside) ? NAT_IN_EXPIRED : NAT_IN_NONE;
	got = nat_in(&w.n, i % MANY_CLIENTS, &m, &hit, w.now);
	if (!T_EQ(got, want) || want != NAT_IN_OK)
		return got == want;
	f->in_ns = w.now;
	f->rst |= (m.tcp_flags & IP_TCP_RST) != 0;
	f->fin_in |= (m.tcp_flags & IP_TCP_FIN) != 0;
	return T_EQ(hit.nat.port, inside_of(i)) & T(ipaddr_eq(&hit.nat.addr, &proxy)) &
	       T_EQ(hit.resource, i);
}

/* Another address; sometimes another name, which ends the session. */
static bool step_set(uint32_t i, bool rename)
{
	struct ipaddr proxy = proxy_of(i), real;
	struct flow *f = &flows[i];
	int over = rename && f->live;

	f->map_real = pick(REALS);
	f->domain += rename;
	if (over)
		o_over(i);
	real = real_of(i, f->map_real);
	return T_EQ(nat_translate_set(&w.n, i % MANY_CLIENTS, &proxy, &real, i, f->domain, w.now),
		    over);
}

static bool step_time(void)
{
	uint64_t until = w.now + NW_SEC(pick(60) ? 1 + pick(20) : 200 + pick(8000));

	while (nw_due(&w, until)) {
		nat_timeout(&w.n, w.now);
		o_sweep();
	}
	w.now = until;
	return true;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool all_made(void)
{
	double at = seconds(), took;
	bool ok = true;

	for (uint32_t i = 0; i < MANY && ok; i++) {
		flows[i].map_real = i / MANY_CLIENTS / 2 % REALS;
		flows[i].domain = i;
		class_of[i] = (uint8_t)(2 * kind_of(i) + (int)(i / MANY_CLIENTS % 2));
	}
	for (uint32_t i = 0; i < MANY && ok; i++) {
		struct ipaddr p = proxy_of(i), r = real_of(i, flows[i].map_real);

		ok = T_EQ(nat_translate_set(&w.n, i % MANY_CLIENTS, &p, &r, i, i, w.now), 0);
	}
	took = seconds() - at;
	t_note("%u mappings: %zu bytes each, set in %.0f ns", MANY, w.mapping_bytes,
	       took / MANY * 1e9);
	for (uint32_t i = 0; i < MANY && ok; i++)
		ok = step_out(i, IP_TCP_SYN);
	t_note("%u sessions: %zu bytes each, %llu with another port", MANY, w.session_bytes,
	       (unsigned long long)w.n.counters.port_changed);
	return ok & T_EQ(w.n.mapping_count, MANY) & T_EQ(w.n.session_count, MANY) &
	       T(w.n.counters.port_changed > MANY / 100);
}

/* One more is refused, and is no more once one is over. */
static void full(void)
{
	struct ip_meta m = packet(0, false, NULL, 0, IP_TCP_SYN);
	struct nat_hit hit;

	m.sport = m.icmp_id = 9;
	T_EQ(nat_out(&w.n, 0, &m, &hit, w.now), NAT_OUT_EXHAUSTED);
	T_EQ(w.n.counters.session_table_full, 1);
	T_EQ(w.n.session_count, MANY);
}

static void random_steps(void)
{
	bool ok = true;
	uint32_t n, live = 0;

	for (n = 0; n < STEPS && ok; n++) {
		uint32_t what = pick(1000), i = pick(MANY);

		if (what < 550)
			ok = step_out(i, random_flags());
		else if (what < 950)
			ok = step_in(i, random_flags());
		else if (what < 999)
			ok = step_set(i, !pick(3));
		else
			ok = step_time();
	}
	for (uint32_t i = 0; i < MANY; i++)
		live += flows[i].live;
	T_EQ(w.n.session_count, live);
	T_EQ(w.n.counters.made, made);
	T_EQ(w.n.counters.tomb_evicted, 0);
	t_note("%u steps, seed %llu: %u live now, made %llu, expired %llu, closed %llu, ended %llu",
	       n, (unsigned long long)t_seed(), live, (unsigned long long)w.n.counters.made,
	       (unsigned long long)w.n.counters.expired, (unsigned long long)w.n.counters.closed,
	       (unsigned long long)ended);
	T(w.n.counters.expired > MANY / 2 && w.n.counters.closed > 1000);
}

/* Everything alive again, then looked up and swept. */
static void timed(void)
{
	double at;
	bool ok = true;

	for (uint32_t i = 0; i < MANY && ok; i++)
		ok = step_out(i, IP_TCP_SYN) && step_in(i, IP_TCP_ACK);
	T_EQ(w.n.session_count, MANY);
	at = seconds();
	T_EQ(nat_timeout(&w.n, w.now), w.n.ended);
	t_note("a sweep over all of them: %.2f ms", (seconds() - at) * 1e3);
	w.now += NAT_TCP_NS;
	at = seconds();
	T(nat_timeout(&w.n, w.now));
	t_note("a sweep that ends all of them: %.1f ms", (seconds() - at) * 1e3);
	T_EQ(w.n.session_count, 0);
}

static void test_many(void)
{
	rnd = t_seed();
	tuns[0] = pkt_ip("100.64.0.9");
	tuns[1] = pkt_ip("fd00:2021:1111::9");
	nw_open(&w, &(struct nat_sizes){.clients = MANY_CLIENTS,
					.mappings = MANY,
					.sessions = MANY,
					.tombs = TOMBS});
	if (all_made()) {
		full();
		random_steps();
		timed();
	}
	for (uint32_t c = 0; c < MANY_CLIENTS; c++)
		nat_client_drop(&w.n, c);
	T_EQ(w.n.mapping_count, 0);
	T_EQ(w.n.by_tomb.used + w.n.by_inside.used + w.n.by_outside.used + w.n.by_proxy.used, 0);
	nw_close(&w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_many);
	return t_done();
}
