/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker may carry by itself: each reason against it as a table, and random packets in
 * random states held against the kernel's plan, run step by step over plain lists. */
#include "fwd/fwd_fast.h"

#include "base/time.h"
#include "crypto/crypto.h"
#include "tests/pkt.h"
#include "tests/t.h"

enum { SESSIONS = 8, PEERS = 4, PEER = 2, FLOWS = 40, CACHE = 1024 };
#define NOW	(1000 * NS_PER_SEC)
#define EXPIRES (NOW + 60 * NS_PER_SEC)

/* ---- one peer, one session, flows in both directions ---- */
static struct {
	struct fwd_table t;
	struct ps_session session[SESSIONS];
	struct ps_replay replay[SESSIONS];
	struct ps_peer peer[PEERS];
	struct fwd_keys keys[SESSIONS];
	uint32_t session_free[SESSIONS];
	uint32_t idx;
	struct fwd_flows flows;
	struct fwd_flow_entry list[CACHE];
} w;

static void make(bool kernel)
{
	const struct fwd_mem mem = {w.session,	    w.replay, w.peer, w.keys,
				    w.session_free, SESSIONS, PEERS};
	struct ipaddr v4 = pkt_ip("100.64.0.7"), v6 = pkt_ip("fd00:2021:1111::7");
	struct endpoint e = {.ip = pkt_ip("192.0.2.1"), .port = 9};
	const struct fwd_keys keys = {{1}, {2}};
	uint8_t seed[32] = {3};

	T_EQ(fwd_init(&w.t, &mem, seed), 0);
	T_EQ(fwd_peer_use(&w.t, PEER), 0);
	w.idx = fwd_index_alloc(&w.t);
	fwd_session_install(&w.t,
			    &(struct fwd_session_new){.local_idx = w.idx,
						      .peer = PEER,
						      .rx_until_ns = TIME_NEVER,
						      .tx_until_ns = TIME_NEVER,
						      .keys = &keys},
			    NOW);
	fwd_session_confirm(&w.t, w.idx);
	fwd_peer_set_tx(&w.t, PEER, w.idx);
	fwd_peer_set_tunnel(&w.t, PEER, &v4, &v6, true);
	fwd_peer_set_path(&w.t, PEER, &e, &e, 0, kernel ? 7 : 0);
	fwd_peer_set_kernel(&w.t, PEER, kernel);
	fwd_flows_init(&w.flows, w.list, CACHE, 5);
}

/* The flow of the packet, in the cache as decided. */
static struct fwd_flow_entry *cache(enum fwd_flow_dir dir, const struct pkt *p,
				    const struct tunnel_nat *nat)
{
	struct ps_flow f = {.peer = PEER,
			    .generation = w.peer[PEER].generation,
			    .expires_ns = EXPIRES,
			    .nat = nat != NULL};
	struct fwd_flow_entry *e;
	struct ps_inner in;

	T_EQ(ps_inner_parse(p->b, p->b + p->len, &in), PS_INNER_FLOW);
	in.key.peer = dir == FWD_FLOW_IN ? PEER : 0;
	if (nat) {
		f.nat_port = ps_be16(nat->port);
		memcpy(f.nat_addr, nat->addr.b, sizeof(f.nat_addr));
	}
	e = fwd_flows_take(&w.flows, dir, &in.key);
	fwd_flow_publish(e, &f);
	return e;
}

static enum ps_reason_id in(struct pkt *p, size_t len, struct fwd_fast *out, uint64_t now)
{
	const struct fwd_opened o = {.slot = fwd_slot(&w.t, w.idx),
				     .idx = w.idx,
				     .peer = PEER,
				     .inner = p->b,
				     .inner_len = len};

	out->known = false;
	return fwd_fast_in(&w.t, &w.flows, &o, out, now);
}

static enum ps_reason_id out(const struct pkt *p, struct fwd_fast *f, uint64_t now)
{
	f->known = false;
	return fwd_fast_out(&w.t, &w.flows, p->b, p->len, false, f, now);
}

static struct pkt to_host(uint8_t proto)
{
	return pkt_text("100.64.0.7", "10.9.9.9", proto, 5000, 443);
}

static struct pkt from_host(uint8_t proto)
{
	return pkt_text("10.9.9.9", "100.64.0.7", proto, 443, 5000);
}

/* ---- each reason ---- */
static void test_in(void)
{
	const struct tunnel_nat nat = {.on = true, .addr = pkt_ip("10.1.1.1"), .port = 99};
	struct pkt p = to_host(IP_PROTO_UDP), other = to_host(IP_PROTO_TCP);
	struct fwd_flow_entry *e;
	struct fwd_fast f = {0};

	make(false); /* the mode is nothing to workers */
	T_EQ(in(&p, p.len, &f, NOW), PS_R_XDP_NO_FLOW);
	e = cache(FWD_FLOW_IN, &p, NULL);
	T_EQ(in(&p, p.len, &f, NOW), PS_GO_ON);
	T(f.e == e && f.peer == PEER && f.generation == w.peer[PEER].generation && !f.nat.on);
	T(f.in.ip.len == p.len && !memcmp(&f.in.key, &e->key, sizeof(e->key)));
	p.b[p.len] = 0; /* padding */
	T_EQ(in(&p, p.len + 1, &f, NOW), PS_GO_ON);
	T_EQ(f.in.ip.len, p.len);
	T_EQ(in(&other, other.len, &f, NOW), PS_R_XDP_NO_FLOW);
	cache(FWD_FLOW_OUT, &other, NULL); /* the other direction is another flow */
	T_EQ(in(&other, other.len, &f, NOW), PS_R_XDP_NO_FLOW);
	cache(FWD_FLOW_IN, &other, &nat);
	T_EQ(in(&other, other.len, &f, NOW), PS_GO_ON);
	T(f.nat.on && f.nat.port == ps_be16(99));
	T_MEM(f.nat.addr, nat.addr.b, 16);
	fwd_flow_hide(e);
	T_EQ(in(&p, p.len, &f, NOW), PS_R_XDP_NO_FLOW);
}

static void test_in_refused(void)
{
	struct pkt p = to_host(IP_PROTO_UDP), bad;
	struct fwd_opened o = {.peer = PEER, .inner = p.b, .inner_len = p.len};
	struct fwd_fast f = {0};

	make(true);
	cache(FWD_FLOW_IN, &p, NULL);
	T_EQ(fwd_fast_in(&w.t, &w.flows, &o, &f, NOW), PS_GO_ON);
	o.confirms = true;
	T_EQ(fwd_fast_in(&w.t, &w.flows, &o, &f, NOW), PS_R_XDP_UNCONFIRMED);
	o.confirms = false;
	o.peer = PEER + 1;
	T_EQ(fwd_fast_in(&w.t, &w.flows, &o, &f, NOW), PS_R_XDP_USER_MODE);
	o.peer = PS_NO_SLOT;
	T_EQ(fwd_fast_in(&w.t, &w.flows, &o, &f, NOW), PS_R_XDP_USER_MODE);
	w.peer[PEER].seq++;
	T_EQ(in(&p, p.len, &f, NOW), PS_R_XDP_USER_MODE);
	w.peer[PEER].seq++;
	T_EQ(in(&p, 0, &f, NOW), PS_R_XDP_KEEPALIVE);
	T_EQ(in(&p, PS_INNER_MAX + 1, &f, NOW), PS_R_XDP_TOO_BIG);
	T_EQ(in(&p, p.len - 1, &f, NOW), PS_R_XDP_INNER_MALFORMED);
	bad = p;
	bad.b[6] = 0x20; /* a fragment */
	T_EQ(in(&bad, bad.len, &f, NOW), PS_R_XDP_INNER_OTHER);
	bad = pkt_text("100.64.0.8", "10.9.9.9", IP_PROTO_UDP, 5000, 443);
	cache(FWD_FLOW_IN, &bad, NULL);
	T_EQ(in(&bad, bad.len, &f, NOW), PS_R_XDP_BAD_SOURCE);
	T_EQ(in(&p, p.len, &f, EXPIRES - 1), PS_GO_ON);
	T_EQ(in(&p, p.len, &f, EXPIRES), PS_R_XDP_FLOW_EXPIRED);
	fwd_peer_revoke(&w.t, PEER);
	T_EQ(in(&p, p.len, &f, NOW), PS_R_XDP_FLOW_STALE);
	cache(FWD_FLOW_IN, &p, NULL);
	T_EQ(in(&p, p.len, &f, NOW), PS_GO_ON);
	fwd_peer_free(&w.t, PEER);
	T_EQ(fwd_peer_use(&w.t, PEER), 0); /* the slot's next owner */
	T_EQ(in(&p, p.len, &f, NOW), PS_R_XDP_FLOW_STALE);
}

/* A translated connection begins and ends in the control thread, any other one does not. */
static void test_nat_bounds(void)
{
	const struct tunnel_nat nat = {.on = true, .addr = pkt_ip("10.1.1.1"), .port = 99};
	struct pkt i = to_host(IP_PROTO_TCP), o = from_host(IP_PROTO_TCP);
	struct fwd_fast f = {0};

	make(false);
	for (int translated = 0; translated < 2; translated++) {
		cache(FWD_FLOW_IN, &i, translated ? &nat : NULL);
		cache(FWD_FLOW_OUT, &o, translated ? &nat : NULL);
		for (int flags = 0; flags < 64; flags++) {
			bool bound = translated && flags & 7;

			i.b[33] = o.b[33] = (uint8_t)flags;
			T_EQ(in(&i, i.len, &f, NOW), bound ? PS_R_XDP_NAT_BOUND : PS_GO_ON);
			T_EQ(out(&o, &f, NOW), bound ? PS_R_TX_NAT_BOUND : PS_GO_ON);
			T_EQ(fwd_fast_out(&w.t, &w.flows, o.b, o.len, true, &f, NOW),
			     bound ? PS_R_TX_NAT_BOUND : PS_GO_ON);
		}
	}
}

static void test_out(void)
{
	const struct tunnel_nat nat = {.on = true, .addr = pkt_ip("100.96.0.1"), .port = 98};
	struct pkt p = from_host(IP_PROTO_UDP), tcp = from_host(IP_PROTO_TCP);
	struct fwd_flow_entry *e;
	struct fwd_fast f = {0};

	make(false); /* nor is the interface the kernel would send over */
	T_EQ(out(&p, &f, NOW), PS_R_TX_NO_FLOW);
	e = cache(FWD_FLOW_OUT, &p, NULL);
	cache(FWD_FLOW_OUT, &tcp, &nat);
	T_EQ(out(&p, &f, NOW), PS_GO_ON);
	T(f.e == e && f.peer == PEER && f.generation == w.peer[PEER].generation && !f.nat.on);
	T(f.path.tx_slot == fwd_slot(&w.t, w.idx) && f.path.family == 4 && f.path.ifindex == 0);
	T_EQ(f.path.flags & PS_PEER_KERNEL, 0);
	T_EQ(out(&tcp, &f, NOW), PS_GO_ON);
	T(f.nat.on && f.nat.port == ps_be16(98));
}

/* Flows of a peer that the kernel serves are offered to it anew now and then: the packet that
 * brings that about is the control thread's. */
static void test_offered_anew(void)
{
	struct pkt i = to_host(IP_PROTO_UDP), o = from_host(IP_PROTO_UDP);

	for (int kernel = 0; kernel < 2; kernel++) {
		struct fwd_fast f = {0};

		make(kernel);
		cache(FWD_FLOW_IN, &i, NULL)->again_ns = NOW + 5;
		cache(FWD_FLOW_OUT, &o, NULL)->again_ns = NOW + 5;
		for (uint64_t now = NOW + 4; now < NOW + 7; now++) {
			bool due = kernel && now >= NOW + 5;

			T(in(&i, i.len, &f, now) == PS_GO_ON && f.again == due);
			T(out(&o, &f, now) == PS_GO_ON && f.again == due);
		}
	}
}

/* Judged by what was found for the packet before, or by itself: it is the same. */
static void test_next_of_the_flow(void)
{
	const struct tunnel_nat nat = {.on = true, .addr = pkt_ip("10.1.1.1"), .port = 99};
	struct pkt in_p[6], out_p[6];
	struct fwd_fast kept_in = {0}, kept_out = {0}, f = {0};
	uint64_t rnd = t_seed();
	unsigned again = 0;

	make(false);
	for (unsigned i = 0; i < 6; i++) {
		const uint8_t proto = i < 3 ? IP_PROTO_TCP : IP_PROTO_UDP;
		const uint16_t port = (uint16_t)(5000 + i);

		in_p[i] = pkt_text("100.64.0.7", "10.9.9.9", proto, port, 443);
		out_p[i] = pkt_text("10.9.9.9", "100.64.0.7", proto, 443, port);
		if (i % 3 != 2) { /* those are not in the cache */
			cache(FWD_FLOW_IN, &in_p[i], i % 3 ? &nat : NULL);
			cache(FWD_FLOW_OUT, &out_p[i], i % 3 ? &nat : NULL);
		}
	}
	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = (unsigned)(t_rand(&rnd) % 6);
		struct pkt a = in_p[i], b = out_p[i];
		struct fwd_opened o = {.slot = fwd_slot(&w.t, w.idx), .idx = w.idx, .peer = PEER};
		enum ps_reason_id id;

		if (t_rand(&rnd) % 3 && kept_in.known) { /* often the same flow once more */
			i = ps_host16(kept_in.in.key.sport) - 5000u;
			a = in_p[i], b = out_p[i];
		}
		if (i < 3 && !(t_rand(&rnd) % 4))
			a.b[33] = b.b[33] = (uint8_t)(1 << t_rand(&rnd) % 5); /* flags */
		if (!(t_rand(&rnd) % 16))
			a.b[6] = b.b[6] = 0x20; /* a fragment */
		o.confirms = !(t_rand(&rnd) % 16);
		o.inner = a.b, o.inner_len = a.len + t_rand(&rnd) % 3;
		f.known = false;
		again += kept_in.known;
		id = fwd_fast_in(&w.t, &w.flows, &o, &f, NOW);
		T_EQ(fwd_fast_in(&w.t, &w.flows, &o, &kept_in, NOW), id);
		T_EQ(kept_in.known, f.known);
		if (id == PS_GO_ON)
			T(kept_in.e == f.e && kept_in.in.ip.len == f.in.ip.len &&
			  kept_in.nat.on == f.nat.on && kept_in.nat.port == f.nat.port);
		id = out(&b, &f, NOW);
		T_EQ(fwd_fast_out(&w.t, &w.flows, b.b, b.len, false, &kept_out, NOW), id);
		T(id != PS_GO_ON || (kept_out.e == f.e && kept_out.nat.on == f.nat.on));
	}
	T(again > 5000); /* or nothing was shown */
}

static void test_out_refused(void)
{
	struct endpoint e = {.ip = pkt_ip("192.0.2.1"), .port = 9};
	struct ipaddr s = pkt_ip("10.9.9.9"), d = pkt_ip("100.64.0.7");
	struct pkt p = from_host(IP_PROTO_UDP), bad = p, big;
	struct fwd_fast f = {0};

	make(true);
	cache(FWD_FLOW_OUT, &p, NULL);
	T_EQ(out(&p, &f, NOW), PS_GO_ON);
	bad.b[0] = 0x55;
	T_EQ(out(&bad, &f, NOW), PS_R_TX_NOT_IP);
	bad = p;
	bad.b[6] = 0x20;
	T_EQ(out(&bad, &f, NOW), PS_R_TX_INNER_OTHER);
	bad = p;
	bad.len++; /* bytes behind the packet: not what a stack sends */
	T_EQ(out(&bad, &f, NOW), PS_R_TX_INNER_OTHER);
	T_EQ(out(&p, &f, EXPIRES), PS_R_TX_FLOW_EXPIRED);
	big = pkt_make(&s, &d, IP_PROTO_UDP, 443, 5000, 1300);
	T_EQ(out(&big, &f, NOW), PS_R_TX_TOO_BIG);
	T_EQ(fwd_fast_out(&w.t, &w.flows, big.b, big.len, true, &f, NOW), PS_GO_ON);
	fwd_peer_set_mtu(&w.t, PEER, (uint16_t)big.len);
	T_EQ(out(&big, &f, NOW), PS_GO_ON);
	w.peer[PEER].seq++;
	T_EQ(out(&p, &f, NOW), PS_R_TX_USER_MODE);
	w.peer[PEER].seq++;
	fwd_peer_set_path(&w.t, PEER, NULL, NULL, 0, 0);
	T_EQ(out(&p, &f, NOW), PS_R_TX_NO_PATH);
	fwd_peer_set_path(&w.t, PEER, &e, &e, 0, 7);
	fwd_peer_set_tx(&w.t, PEER, 0);
	T_EQ(out(&p, &f, NOW), PS_R_TX_NO_PATH);
	fwd_peer_set_tx(&w.t, PEER, w.idx);
	T_EQ(out(&p, &f, NOW), PS_GO_ON);
	fwd_peer_revoke(&w.t, PEER);
	T_EQ(out(&p, &f, NOW), PS_R_TX_FLOW_STALE);
	cache(FWD_FLOW_OUT, &p, NULL);
	T_EQ(out(&p, &f, NOW), PS_GO_ON);
	fwd_peer_free(&w.t, PEER);
	T_EQ(out(&p, &f, NOW), PS_R_TX_USER_MODE);
}

/* ---- beside the kernel's plan ---- */
/* What the kernel's maps would hold: a list. */
static struct shadow {
	enum fwd_flow_dir dir; /* FWD_FLOW_FREE: hidden, or never there */
	struct ps_flow_key key;
	struct ps_flow f;
} shadow[FLOWS];
static uint64_t rnd;
static uint32_t seen[PS_R_COUNT + 1];

#define NAME_ENTRY(name, text, verdict, what) [PS_R_##name] = text,
static const char *const names[PS_R_COUNT + 1] = {PS_REASONS(NAME_ENTRY)[PS_GO_ON] = "go on"};
#undef NAME_ENTRY

static uint32_t pick(uint32_t n)
{
	return (uint32_t)(t_rand(&rnd) % n);
}

static const struct ps_flow *map(enum fwd_flow_dir dir, const struct ps_flow_key *key)
{
	for (int i = 0; i < FLOWS; i++)
		if (shadow[i].dir == dir && !memcmp(&shadow[i].key, key, sizeof(*key)))
			return &shadow[i].f;
	return NULL;
}

/* Order and steps of bpf/rx.bpf.h, between opening and delivery; the peer is the kernel's. */
static enum ps_reason_id plan_in(uint32_t peer, const uint8_t *p, size_t len, struct ps_nat *nat)
{
	const struct ps_peer *k = &w.peer[peer];
	struct ps_peer_view v = {.flags = k->flags | PS_PEER_KERNEL, .generation = k->generation};
	const struct ps_outer outer = {.payload_len = (uint32_t)len + WG_DATA_OVERHEAD};
	const struct ps_flow *f;
	enum ps_reason_id id;
	struct ps_inner inner;

	memcpy(v.tun4, k->tun4, sizeof(v.tun4));
	memcpy(v.tun6, k->tun6, sizeof(v.tun6));
	id = ps_rx_session(&w.session[fwd_slot(&w.t, w.idx)], w.idx, NOW);
	if (id == PS_GO_ON)
		id = ps_rx_peer(&v, &outer, 0);
	if (id == PS_GO_ON)
		id = ps_rx_inner(p, p + len, &inner);
	if (id == PS_GO_ON)
		id = ps_rx_source(&v, &inner);
	if (id != PS_GO_ON)
		return id;
	inner.key.peer = peer;
	f = map(FWD_FLOW_IN, &inner.key);
	id = ps_rx_flow(f, peer, v.generation, NOW);
	if (id != PS_GO_ON)
		return id;
	ps_nat_of_flow(f, nat);
	return ps_rx_nat(nat, p, &inner.ip);
}

/* Of bpf/tx.bpf.h, for a peer that is the kernel's, over an interface it knows. */
static enum ps_reason_id plan_out(const uint8_t *p, size_t len, struct ps_nat *nat)
{
	const struct ps_peer *k;
	struct ps_path_view v = {.ifindex = 1};
	const struct ps_flow *f;
	enum ps_reason_id id;
	struct ps_inner inner;

	id = ps_tx_inner(p, p + len, &inner);
	if (id != PS_GO_ON)
		return id;
	f = map(FWD_FLOW_OUT, &inner.key);
	id = ps_tx_flow(f, NOW);
	if (id != PS_GO_ON)
		return id;
	k = &w.peer[f->peer];
	v.flags = k->flags | PS_PEER_KERNEL;
	v.generation = k->generation;
	v.tx_slot = k->tx_slot;
	v.family = k->path_family;
	v.mtu = k->mtu;
	id = ps_tx_peer(&v, f);
	if (id == PS_GO_ON)
		id = ps_tx_size(&v, (uint32_t)len);
	if (id == PS_GO_ON && inner.ip.len != len)
		id = PS_R_TX_INNER_OTHER;
	if (id != PS_GO_ON)
		return id;
	ps_nat_of_flow(f, nat);
	id = ps_tx_nat(nat, p, &inner.ip);
	return id == PS_GO_ON ? ps_tx_session(&w.session[v.tx_slot], f->peer, NOW) : id;
}

/* A packet of one of a few flows, mostly in good order. */
static struct pkt random_packet(bool inbound)
{
	static const uint8_t protos[] = {IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMP, 47};
	static const char *const near[2][2] = {{"100.64.0.7", "100.64.0.8"},
					       {"fd00:2021:1111::7", "fd00:2021:1111::8"}};
	static const char *const far[2] = {"10.9.9.9", "fd12::1"};
	int six = pick(2) != 0;
	uint8_t proto = protos[pick(20) ? pick(3) : 3];
	struct ipaddr n = pkt_ip(near[six][!pick(12)]), f = pkt_ip(far[six]);
	struct pkt p;

	if (proto == IP_PROTO_ICMP && six)
		proto = IP_PROTO_ICMPV6;
	p = pkt_make(inbound ? &n : &f, inbound ? &f : &n, proto,
		     proto == IP_PROTO_ICMP || proto == IP_PROTO_ICMPV6 ? 0
									: (uint16_t)(1 + pick(2)),
		     (uint16_t)(1 + pick(2)), pick(10) ? pick(64) : pick(1400));
	switch (pick(10)) {
	case 0:
		p.b[pick((uint32_t)p.len)] ^= (uint8_t)(1u << pick(8));
		break;
	case 1:
		p.len = pick((uint32_t)p.len + 1);
		break;
	case 2:
		p.len += pick(16);
		break;
	case 3:
		if (proto == IP_PROTO_TCP)
			p.b[(six ? 40 : 20) + 13] = (uint8_t)t_rand(&rnd);
		break;
	default:
		break;
	}
	return p;
}

/* Some flow is decided anew, or hidden: in the cache and in the list. */
static void random_flow(void)
{
	bool inbound = pick(2) != 0;
	struct pkt p = random_packet(inbound);
	struct shadow *s = NULL, k = {.dir = inbound ? FWD_FLOW_IN : FWD_FLOW_OUT};
	struct fwd_flow_entry *e;
	struct ps_inner inner;

	if (ps_inner_parse(p.b, p.b + p.len, &inner) != PS_INNER_FLOW)
		return;
	inner.key.peer = inbound ? (pick(20) ? PEER : pick(PEERS)) : 0;
	k.key = inner.key;
	k.f = (struct ps_flow){.peer = pick(20) ? PEER : pick(PEERS),
			       .generation = w.peer[PEER].generation - !pick(20),
			       .expires_ns = pick(20) ? NOW + 1 : NOW,
			       .nat = pick(3) == 0,
			       .nat_port = (uint16_t)t_rand(&rnd)};
	for (int i = 0; i < FLOWS && !s; i++)
		if (shadow[i].dir == k.dir && !memcmp(&shadow[i].key, &k.key, sizeof(k.key)))
			s = &shadow[i];
	if (!s) {
		s = &shadow[pick(FLOWS)];
		e = s->dir ? fwd_flows_find(&w.flows, s->dir, &s->key) : NULL;
		if (e)
			fwd_flow_hide(e);
	}
	*s = k;
	e = fwd_flows_take(&w.flows, k.dir, &k.key);
	if (pick(8)) {
		fwd_flow_publish(e, &k.f);
		s->f.expires_ns = e->flow.expires_ns;
	} else {
		fwd_flow_note(e, &k.f);
		s->dir = FWD_FLOW_FREE;
	}
	fwd_flow_carried(e, &k.key, 1, 1, ++rnd); /* none is displaced for good */
}

static void random_state(void)
{
	struct endpoint e = {.ip = pkt_ip(pick(2) ? "192.0.2.1" : "2001:db8::1"), .port = 9};
	struct ps_session *s = &w.session[fwd_slot(&w.t, w.idx)];

	s->flags = PS_SESS_USED | (pick(20) ? PS_SESS_CONFIRMED : 0);
	s->tx_until_ns = pick(20) ? TIME_NEVER : NOW;
	s->tx_counter = pick(40) ? 0 : PS_REPLAY_LIMIT;
	fwd_peer_set_kernel(&w.t, PEER, pick(2));
	fwd_peer_set_tx(&w.t, PEER, pick(20) ? w.idx : 0);
	fwd_peer_set_mtu(&w.t, PEER, (uint16_t)(pick(4) ? 1500 : pick(1500)));
	fwd_peer_set_path(&w.t, PEER, pick(20) ? &e : NULL, &e, 0, pick(2));
	w.peer[PEER].flags = (w.peer[PEER].flags & ~(uint32_t)PS_PEER_CHECK_SOURCE) |
			     (pick(3) ? PS_PEER_CHECK_SOURCE : 0);
	if (!pick(200))
		fwd_peer_revoke(&w.t, PEER);
}

static bool same(enum ps_reason_id got, enum ps_reason_id want, const struct ps_nat *a,
		 const struct ps_nat *b)
{
	seen[want]++;
	return T_EQ(got, want) &&
	       (want != PS_GO_ON ||
		(T_EQ(a->on, b->on) &&
		 (!a->on || (T_EQ(a->port, b->port) && T_MEM(a->addr, b->addr, 16)))));
}

static bool inbound_agrees(void)
{
	struct ps_session *s = &w.session[fwd_slot(&w.t, w.idx)];
	struct pkt p = random_packet(true);
	const struct fwd_opened o = {.peer = PEER,
				     .idx = w.idx,
				     .inner = p.b,
				     .inner_len = p.len,
				     .confirms = !(s->flags & PS_SESS_CONFIRMED)};
	struct ps_nat nat = {0};
	enum ps_reason_id want = plan_in(PEER, p.b, p.len, &nat);
	struct fwd_fast f = {0};

	return same(fwd_fast_in(&w.t, &w.flows, &o, &f, NOW), want, &f.nat, &nat);
}

/* With the session, which the kernel judges before anything else is done, too. */
static bool outbound_agrees(void)
{
	struct pkt p = random_packet(false);
	struct fwd_counters c;
	struct ps_nat nat = {0};
	enum ps_reason_id want = plan_out(p.b, p.len, &nat), got;
	struct fwd_fast f = {0};

	got = fwd_fast_out(&w.t, &w.flows, p.b, p.len, false, &f, NOW);
	if (got == PS_GO_ON &&
	    fwd_seal_reserve(&w.t, f.peer, f.path.tx_slot, 1, &c, NOW) != PS_R_UTX_SENT) {
		seen[want]++; /* which of the session's reasons, it does not say */
		return T(want == PS_R_TX_NO_PATH || want == PS_R_TX_EXPIRED);
	}
	return same(got, want, &f.nat, &nat);
}

static void test_differential(void)
{
	bool ok = true;
	uint32_t n;

	rnd = t_seed();
	make(true);
	T_EQ(fwd_peer_use(&w.t, PEER + 1), 0);
	for (n = 0; n < 300000 && ok; n++) {
		random_flow();
		random_state();
		ok = inbound_agrees() && outbound_agrees();
	}
	for (int id = 0; id <= PS_R_COUNT; id++)
		if (seen[id])
			t_note("%-22s %u", names[id], seen[id]);
	t_note("%u packets a direction, seed %llu", n, (unsigned long long)t_seed());
	T(seen[PS_GO_ON] > n / 10);
	T(seen[PS_R_XDP_FLOW_STALE] && seen[PS_R_XDP_FLOW_EXPIRED] && seen[PS_R_XDP_NO_FLOW] &&
	  seen[PS_R_XDP_BAD_SOURCE] && seen[PS_R_XDP_NAT_BOUND] && seen[PS_R_XDP_UNCONFIRMED]);
	T(seen[PS_R_TX_FLOW_STALE] && seen[PS_R_TX_FLOW_EXPIRED] && seen[PS_R_TX_NO_FLOW] &&
	  seen[PS_R_TX_NO_PATH] && seen[PS_R_TX_TOO_BIG] && seen[PS_R_TX_EXPIRED] &&
	  seen[PS_R_TX_NAT_BOUND] && seen[PS_R_TX_USER_MODE]);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (crypto_init())
		return 1;
	T_RUN(test_in);
	T_RUN(test_in_refused);
	T_RUN(test_nat_bounds);
	T_RUN(test_out);
	T_RUN(test_offered_anew);
	T_RUN(test_next_of_the_flow);
	T_RUN(test_out_refused);
	T_RUN(test_differential);
	return t_done();
}
