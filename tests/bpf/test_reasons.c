/* SPDX-License-Identifier: Apache-2.0
 * One packet for every fate the kernel programs know; what is not handled stays untouched. */
#include <linux/pkt_cls.h>
#include "base/time.h"
#include "plan/ecn.h"
#include "tests/bpf/kworld.h"

static struct kworld w;
static uint32_t seen[PS_R_COUNT];

/* The tables' state that a rejected packet must not change. */
struct tables {
	struct ps_session session[KERN_SESSIONS];
	struct ps_replay replay[KERN_SESSIONS];
	struct ps_peer peer[KERN_PEERS];
};

static void tables_read(struct tables *t)
{
	memcpy(t->session, w.k.session, sizeof(t->session));
	memcpy(t->replay, w.k.replay, sizeof(t->replay));
	memcpy(t->peer, w.k.peer, sizeof(t->peer));
}

static bool expect_rx(enum ps_reason_id want, const struct kpkt *p)
{
	static struct tables before, after;
	static struct kern_run r;
	bool ok;

	tables_read(&before);
	ok = T_EQ(kern_run(&w.k, w.k.wan_rx, p->b, p->len, NULL, 0, &r), 0);
	tables_read(&after);
	if (want == PS_R_XDP_TOO_BIG || want == PS_R_XDP_BULK || want == PS_R_XDP_UNCONFIRMED ||
	    want == PS_R_XDP_USER_MODE) { /* the one thing they leave behind */
		after.session[KW_SLOT].rx_held_until_ns = before.session[KW_SLOT].rx_held_until_ns;
		after.session[KW_SLOT].rx_passed_ns = before.session[KW_SLOT].rx_passed_ns;
		after.session[KW_SLOT].rx_alone_ns = before.session[KW_SLOT].rx_alone_ns;
	}
	if (!ok || !T_EQ(r.id, want)) {
		t_note("wanted %s, got %s", kern_reason_name[want],
		       r.id < PS_R_COUNT ? kern_reason_name[r.id] : "?");
		return false;
	}
	seen[want]++;
	ok = T_EQ(r.retval, ps_verdict_of(want) == PS_V_DROP ? XDP_DROP : XDP_PASS);
	if (ps_verdict_of(want) == PS_V_DONE)
		return ok;
	if (ps_verdict_of(want) == PS_V_PASS)
		ok &= T_EQ(r.out_len, p->len) && T_MEM(r.out, p->b, p->len);
	return ok & T_MEM(&after, &before, sizeof(before));
}

/* A valid packet of the flow. */
static struct kpkt valid(int outer, int family, int proto)
{
	struct kouter o = {.family = outer, .dport = KP_OUR_PORT};
	struct kinner in = kw_inner(family, proto, 33);
	struct kpkt p = {0};
	uint8_t text[256];

	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	return p;
}

/* Congestion met by a packet that takes no part in ECN; the counter is not spent on it. */
static void rx_ecn(void)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT, .tos = PS_ECN_CE};
	struct kinner in = kw_inner(4, 17, 33);
	struct kpkt p = {0};
	uint8_t text[256];

	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	expect_rx(PS_R_XDP_ECN, &p);
}

static void rx_link(void)
{
	struct kpkt p = valid(4, 4, 17), q;
	struct kouter two = {.family = 4, .vlan = 2, .dport = KP_OUR_PORT};

	q = p;
	q.b[12] = 0x08, q.b[13] = 0x06; /* ARP */
	expect_rx(PS_R_XDP_NOT_IP, &q);
	q = p;
	q.b[14] = 0x55;
	expect_rx(PS_R_XDP_NOT_IP, &q);
	kp_outer(&q, &two, 64);
	expect_rx(PS_R_XDP_NOT_IP, &q);
	q = p;
	q.len = 14 + 19;
	expect_rx(PS_R_XDP_TRUNCATED, &q);
	q = p;
	q.b[14] = 0x44; /* ihl 4 */
	expect_rx(PS_R_XDP_TRUNCATED, &q);
	q = p;
	q.len--; /* IP length says more */
	expect_rx(PS_R_XDP_TRUNCATED, &q);
	q = p;
	q.b[14 + 20 + 4] = 0xff; /* UDP length says more */
	expect_rx(PS_R_XDP_TRUNCATED, &q);
	q = p;
	q.b[14] = 0x46;
	expect_rx(PS_R_XDP_IP_OPTIONS, &q);
	q = valid(6, 4, 17);
	q.b[14 + 6] = 60;
	expect_rx(PS_R_XDP_IP_OPTIONS, &q);
	q.b[14 + 6] = 44;
	expect_rx(PS_R_XDP_FRAGMENT, &q);
	q = p;
	q.b[14 + 6] = 0x20; /* more fragments */
	expect_rx(PS_R_XDP_FRAGMENT, &q);
	q = p;
	q.b[14 + 7] = 1; /* offset */
	expect_rx(PS_R_XDP_FRAGMENT, &q);
	q = p;
	q.b[14 + 9] = 6;
	expect_rx(PS_R_XDP_NOT_UDP, &q);
}

static void rx_payload(void)
{
	static const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct kpkt p = valid(4, 4, 17), q = p;

	q.b[14 + 20 + 3]++;
	expect_rx(PS_R_XDP_OTHER_PORT, &q);
	w.k.config->port4 = 0;
	q = p;
	kp_be16(q.b + 14 + 20 + 2, 0);
	expect_rx(PS_R_XDP_OTHER_PORT, &q);
	kw_reset(&w, 4);
	memcpy(q.b + kp_outer_len(&o), stun, sizeof(stun));
	kp_outer(&q, &o, sizeof(stun));
	expect_rx(PS_R_XDP_STUN, &q);
	q = p;
	q.b[kp_outer_len(&o)] = 1; /* an initiation of the wrong length: user space's to judge */
	expect_rx(PS_R_XDP_NOT_DATA, &q);
	q = p;
	q.b[kp_outer_len(&o) + 2] = 1; /* reserved bytes */
	expect_rx(PS_R_XDP_NOT_DATA, &q);
	kp_outer(&q, &o, 31);
	expect_rx(PS_R_XDP_NOT_DATA, &q);
	kp_outer(&q, &o, 0);
	expect_rx(PS_R_XDP_NOT_DATA, &q);
	kw_seal(&w, &q, &o, q.b, 0);
	expect_rx(PS_R_XDP_KEEPALIVE, &q);
	kw_seal(&w, &q, &o, p.b, PS_INNER_MAX + 1);
	expect_rx(PS_R_XDP_TOO_BIG, &q);
	expect_rx(PS_R_XDP_BULK, &p); /* of the same session: it must not overtake */
	kw_reset(&w, 4);
	w.k.config->bulk_hold_ns = 0;
	expect_rx(PS_R_XDP_TOO_BIG, &q);
	kw_pause_passes();
	expect_rx(PS_R_XDP_DELIVERED, &p);
	kw_reset(&w, 4);
	kern_set_alive(&w.k, 0);
	expect_rx(PS_R_XDP_DAEMON_GONE, &p);
	kw_reset(&w, 4);
}

/* The inner packet sealed for a channel. */
static struct kpkt relayed(int outer, uint8_t pad)
{
	struct kouter o = {
		.family = outer, .dport = KP_OUR_PORT, .channel = KW_CHANNEL, .pad = pad};
	struct kinner in = kw_inner(4, 17, 33);
	struct kpkt p = {0};
	uint8_t text[256];

	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	return p;
}

static void rx_channel_framing(int outer)
{
	static const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	struct kouter o = {.family = outer, .dport = KP_OUR_PORT, .channel = KW_CHANNEL};
	size_t chan = kp_udp_end(&o);
	struct kpkt p = relayed(outer, 0), q = p;

	q.b[chan + 3]++; /* says more than there is */
	expect_rx(PS_R_XDP_CHANNEL_LEN, &q);
	kp_be16(q.b + chan + 2, 0xffff);
	expect_rx(PS_R_XDP_CHANNEL_LEN, &q);
	q = relayed(outer, 4); /* more behind it than padding */
	expect_rx(PS_R_XDP_CHANNEL_LEN, &q);
	kw_seal(&w, &q, &o, p.b, PS_INNER_MAX + 1);
	kp_be16(q.b + chan + 2, 64); /* the first of several, joined on their way */
	expect_rx(PS_R_XDP_TOO_BIG, &q);
	expect_rx(PS_R_XDP_BULK, &p); /* of the same session: it must not overtake */
	kw_reset(&w, outer);
	kp_outer(&q, &(struct kouter){.family = outer, .dport = KP_OUR_PORT}, 3);
	q.b[chan] = 0x40;
	expect_rx(PS_R_XDP_NOT_DATA, &q); /* no room for a header */
	q = p;
	kp_outer(&q, &o, 0); /* an empty message */
	expect_rx(PS_R_XDP_NOT_DATA, &q);
	q = p;
	memcpy(q.b + chan + 4, stun, sizeof(stun));
	kp_outer(&q, &o, sizeof(stun));
	expect_rx(PS_R_XDP_STUN, &q);
	q = p;
	memcpy(q.b + chan + 4, p.b + chan, 64); /* a channel within the channel */
	kp_be16(q.b + chan + 6, 60);
	kp_outer(&q, &o, 64);
	expect_rx(PS_R_XDP_NOT_DATA, &q);
	q = p;
	q.b[chan] = 0x80; /* no channel number */
	expect_rx(PS_R_XDP_NOT_DATA, &q);
}

static void rx_channel_known(int outer)
{
	struct kouter o = {.family = outer, .dport = KP_OUR_PORT, .channel = KW_CHANNEL};
	size_t chan = kp_udp_end(&o), addr = chan - 8 - (outer == 4 ? 8 : 32);
	struct kpkt p = relayed(outer, 0), q;
	struct ps_channel c;
	struct ps_channel_key key = kw_channel_key(outer);

	for (size_t i = 0; i < (outer == 4 ? 4u : 16u); i++) {
		q = p;
		q.b[addr + i] ^= 0x10; /* another relay */
		expect_rx(PS_R_XDP_NO_CHANNEL, &q);
	}
	for (size_t i = 0; i < 2; i++) {
		q = p;
		q.b[chan - 8 + i] ^= 0x10; /* another port of it */
		expect_rx(PS_R_XDP_NO_CHANNEL, &q);
		q = p;
		q.b[chan + i] ^= 0x10; /* another channel */
		expect_rx(PS_R_XDP_NO_CHANNEL, &q);
	}
	*(outer == 4 ? &w.k.config->port4 : &w.k.config->port6) = __builtin_bswap16(53);
	q = p;
	kp_be16(q.b + chan - 6, 53); /* of another port of ours */
	expect_rx(PS_R_XDP_NO_CHANNEL, &q);
	kw_reset(&w, 4);
	kw_channel(&w, outer, false);
	expect_rx(PS_R_XDP_NO_CHANNEL, &p);
	kw_reset(&w, 4);
	w.k.session[KW_SLOT].flags = PS_SESS_USED; /* what is inside is judged as any other */
	expect_rx(PS_R_XDP_UNCONFIRMED, &p);
	kw_reset(&w, 4);
	expect_rx(PS_R_XDP_DELIVERED, &p);
	expect_rx(PS_R_XDP_REPLAY, &p);
	for (uint8_t pad = 1; pad < 4; pad++) {
		q = relayed(outer, pad);
		expect_rx(PS_R_XDP_DELIVERED, &q);
	}
	T_EQ(bpf_map_lookup_elem(w.k.channel, &key, &c), 0);
	T_EQ(c.peer_family, 4);
	T_EQ(c.packets, 4);
	T_EQ(c.bytes, 4 * (28 + 33));
	kw_reset(&w, 4);
}

static void rx_session(void)
{
	struct ps_session *s = &w.k.session[KW_SLOT];
	struct kpkt p = valid(4, 4, 17), q = p;
	struct kouter o = {.family = 4};

	q.b[kp_outer_len(&o) + 7] ^= 0x40; /* same slot, other index */
	expect_rx(PS_R_XDP_NO_SESSION, &q);
	q = p;
	q.b[kp_outer_len(&o) + 4] ^= 1; /* other slot */
	expect_rx(PS_R_XDP_NO_SESSION, &q);
	w.k.config->slot_mask = 0xffffffff; /* beyond the table */
	expect_rx(PS_R_XDP_NO_SESSION, &p);
	kw_reset(&w, 4);
	s->flags = PS_SESS_CONFIRMED;
	expect_rx(PS_R_XDP_NO_SESSION, &p);
	s->flags = PS_SESS_USED;
	expect_rx(PS_R_XDP_UNCONFIRMED, &p);
	s->flags |= PS_SESS_CONFIRMED; /* user space has seen it, and may not be done with it */
	w.k.config->drained_ns = 0;
	expect_rx(PS_R_XDP_BULK, &p);
	w.k.config->drained_ns = PS_NEVER;
	kw_pause_passes();
	expect_rx(PS_R_XDP_DELIVERED, &p);
	kw_reset(&w, 4);
	s->rx_until_ns = kern_past();
	expect_rx(PS_R_XDP_EXPIRED, &p);
	kw_reset(&w, 4);
	s->peer = 0xffff;
	expect_rx(PS_R_XDP_USER_MODE, &p);
	kw_reset(&w, 4);
	w.k.peer[KW_PEER].flags &= ~(uint32_t)PS_PEER_KERNEL;
	expect_rx(PS_R_XDP_USER_MODE, &p);
	kw_reset(&w, 4);
	w.k.peer[KW_PEER].seq = 7; /* being written */
	expect_rx(PS_R_XDP_USER_MODE, &p);
	kw_reset(&w, 4);
	w.k.config->flags = PS_CFG_TX;
	expect_rx(PS_R_XDP_USER_MODE, &p);
	kw_reset(&w, 4);
	T_EQ(kern_set_keys(&w.k, KW_SLOT, NULL, NULL), 0);
	expect_rx(PS_R_XDP_NO_KEY, &p);
	kw_reset(&w, 4);
	T_EQ(kern_set_keys(&w.k, KW_SLOT, w.send_key, w.recv_key), 0);
	expect_rx(PS_R_XDP_BAD_TAG, &p);
	kw_reset(&w, 4);
	T_EQ(kern_set_keys(&w.k, KERN_SESSIONS, w.recv_key, w.send_key), (uint64_t)-EINVAL);
}

static void rx_inner_one(enum ps_reason_id want, const uint8_t *text, size_t len)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct kpkt p;

	kw_seal(&w, &p, &o, text, len);
	expect_rx(want, &p);
}

static void rx_inner(void)
{
	struct kinner in = kw_inner(4, 17, 20);
	uint8_t text[256], t[256];
	size_t len = kp_inner(text, &in);

#define TEXT(off, v) (memcpy(t, text, sizeof(t)), t[off] = (uint8_t)(v), t)
	rx_inner_one(PS_R_XDP_INNER_MALFORMED, TEXT(0, 0x15), len);
	rx_inner_one(PS_R_XDP_INNER_MALFORMED, TEXT(0, 0x44), len);
	rx_inner_one(PS_R_XDP_INNER_MALFORMED, text, len - 1);
	rx_inner_one(PS_R_XDP_INNER_MALFORMED, TEXT(25, 0xff), len); /* UDP length */
	rx_inner_one(PS_R_XDP_INNER_OTHER, TEXT(0, 0x46), len);
	rx_inner_one(PS_R_XDP_INNER_OTHER, TEXT(6, 0x20), len);
	rx_inner_one(PS_R_XDP_INNER_OTHER, TEXT(9, 47), len);
	rx_inner_one(PS_R_XDP_INNER_OTHER, TEXT(9, 58), len);
	rx_inner_one(PS_R_XDP_BAD_SOURCE, TEXT(15, 8), len);
	rx_inner_one(PS_R_XDP_NO_FLOW, TEXT(19, 8), len);
	rx_inner_one(PS_R_XDP_NO_FLOW, TEXT(23, 8), len);
	rx_inner_one(PS_R_XDP_NO_FLOW, TEXT(21, 8), len);
	w.k.peer[KW_PEER].flags &= ~(uint32_t)PS_PEER_CHECK_SOURCE;
	rx_inner_one(PS_R_XDP_NO_FLOW, TEXT(15, 8), len);
	kw_reset(&w, 4);
	w.k.peer[KW_PEER].generation++;
	rx_inner_one(PS_R_XDP_FLOW_STALE, text, len);
	kw_reset(&w, 4);
	kw_flow(&w, w.k.flow_in, &in, kern_past());
	rx_inner_one(PS_R_XDP_FLOW_EXPIRED, text, len);
	kw_reset(&w, 4);
	/* Last seen later than now: however long a busy machine takes, that is no pause. */
	for (int i = 0; i < 2; i++) {
		kw_flow_warm(&w, w.k.flow_in, &in, kern_now() + 1800 * NS_PER_SEC);
		rx_inner_one(PS_R_XDP_FLOW_WARM, text, len);
	}
	kw_flow_warm(&w, w.k.flow_in, &in, kern_now() - PS_PAUSE_NS);
	rx_inner_one(PS_R_XDP_DELIVERED, text, len);
	kw_reset(&w, 4);
	w.k.session[KW_SLOT].peer = KW_PEER + 1; /* its flow is another peer's */
	w.k.peer[KW_PEER + 1] = w.k.peer[KW_PEER];
	rx_inner_one(PS_R_XDP_NO_FLOW, text, len);
	kw_reset(&w, 4);
#undef TEXT
}

/* Where a translated TCP connection begins or ends, user space looks on. */
static void rx_nat(void)
{
	static const uint8_t flags[] = {0x02, 0x12, 0x11, 0x04, 0x14};

	for (int family = 4; family <= 6; family += 2) {
		struct kinner in = kw_inner(family, 6, 20);
		uint8_t text[256];
		size_t len = kp_inner(text, &in), at = (family == 4 ? 20 : 40) + 13;

		kw_flow_nat(&w, w.k.flow_in, &in, family == 4 ? kw_local4 : kw_local6, 0x1234);
		for (size_t i = 0; i < sizeof(flags); i++) {
			text[at] = flags[i];
			rx_inner_one(PS_R_XDP_NAT_BOUND, text, len);
		}
		text[at] = 0x18;
		rx_inner_one(PS_R_XDP_DELIVERED, text, len);
		kw_flow(&w, w.k.flow_in, &in, PS_NEVER); /* not translated: nobody cares */
		text[at] = 0x11;
		rx_inner_one(PS_R_XDP_DELIVERED, text, len);
	}
	kw_reset(&w, 4);
}

static void rx_end(void)
{
	struct kpkt p = valid(4, 4, 17);
	struct kpkt q;

	expect_rx(PS_R_XDP_DELIVERED, &p);
	expect_rx(PS_R_XDP_REPLAY, &p);
	w.next_counter += 2 * PS_REPLAY_WINDOW;
	q = valid(4, 4, 17);
	expect_rx(PS_R_XDP_DELIVERED, &q);
	w.next_counter -= 2 * PS_REPLAY_WINDOW;
	q = valid(4, 4, 17);
	expect_rx(PS_R_XDP_REPLAY, &q); /* too old */
	w.next_counter = PS_REPLAY_LIMIT;
	q = valid(4, 4, 17);
	expect_rx(PS_R_XDP_REPLAY, &q);
	w.next_counter = 3 * PS_REPLAY_WINDOW;
	kw_reset(&w, 4);
}

static void test_rx(void)
{
	if (!kw_open(&w, false))
		return;
	rx_link();
	rx_ecn();
	rx_payload();
	for (int outer = 4; outer <= 6; outer += 2) {
		rx_channel_framing(outer);
		rx_channel_known(outer);
	}
	rx_session();
	rx_inner();
	rx_nat();
	rx_end();
	for (int id = PS_R_XDP_DELIVERED; id < PS_R_IN_DELIVERED; id++) {
		/* Drivers without metadata; an skb, see test_live; test_steer; test_xsk. */
		if (id == PS_R_XDP_ADJUST_FAILED || id == PS_R_XDP_GSO || id == PS_R_XDP_STEERED ||
		    id == PS_R_XDP_NO_CPU || id == PS_R_XDP_XSK)
			continue;
		if (!T(seen[id] > 0))
			t_note("no packet for %s", kern_reason_name[id]);
	}
	kern_close(&w.k);
}

static bool expect_tx(enum ps_reason_id want, const struct kpkt *p, struct __sk_buff *skb)
{
	static struct tables before, after;
	static struct kern_run r;
	bool ok;

	tables_read(&before);
	ok = T_EQ(kern_run(&w.k, w.k.tun_out, p->b, p->len, skb, skb ? sizeof(*skb) : 0, &r), 0);
	tables_read(&after);
	if (!ok || !T_EQ(r.id, want)) {
		t_note("wanted %s, got %s", kern_reason_name[want],
		       r.id < PS_R_COUNT ? kern_reason_name[r.id] : "?");
		return false;
	}
	seen[want]++;
	if (ps_verdict_of(want) == PS_V_DONE)
		return T_EQ(r.retval, TC_ACT_REDIRECT) && T_EQ(skb ? skb->mark : 0x5053, 0x5053);
	ok = T_EQ(r.retval, (uint32_t)TC_ACT_UNSPEC) && T_EQ(r.out_len, p->len) &&
	     T_MEM(r.out, p->b, p->len);
	return ok & T_MEM(&after, &before, sizeof(before));
}

static struct kpkt outgoing(int family, int proto, size_t payload)
{
	struct kinner in = kw_inner_back(family, proto, payload);
	struct kpkt p = {0};

	kp_be16(p.b + 12, family == 4 ? 0x0800 : 0x86dd);
	p.len = KP_ETH + kp_inner(p.b + KP_ETH, &in);
	return p;
}

static void tx_nat(void)
{
	for (int family = 4; family <= 6; family += 2) {
		struct kinner in = kw_inner_back(family, 6, 20);
		struct kpkt p = outgoing(family, 6, 20);
		size_t at = KP_ETH + (family == 4 ? 20 : 40) + 13;

		kw_reset(&w, family);
		kw_flow_nat(&w, w.k.flow_out, &in, family == 4 ? kw_local4 : kw_local6, 0x1234);
		p.b[at] = 0x12;
		expect_tx(PS_R_TX_NAT_BOUND, &p, NULL);
		p.b[at] = 0x11;
		expect_tx(PS_R_TX_NAT_BOUND, &p, NULL);
		p.b[at] = 0x18;
		expect_tx(PS_R_TX_SENT, &p, NULL);
		kw_flow(&w, w.k.flow_out, &in, PS_NEVER);
		p.b[at] = 0x11;
		expect_tx(PS_R_TX_SENT, &p, NULL);
	}
	kw_reset(&w, 4);
}

static void tx_packet(void)
{
	struct kpkt p = outgoing(4, 17, 20), q = p;
	struct __sk_buff skb = {0};

	expect_tx(PS_R_TX_SENT, &p, &skb);
	T_EQ(skb.mark, 0x5053);
	q.b[KP_ETH] = 0x25;
	expect_tx(PS_R_TX_NOT_IP, &q, NULL);
	q = p;
	q.len--;
	expect_tx(PS_R_TX_NOT_IP, &q, NULL);
	q = p;
	q.b[KP_ETH + 9] = 47;
	expect_tx(PS_R_TX_INNER_OTHER, &q, NULL);
	q = p;
	q.len++;
	expect_tx(PS_R_TX_INNER_OTHER, &q, NULL);
	q = p;
	q.b[KP_ETH + 21]++;
	expect_tx(PS_R_TX_NO_FLOW, &q, NULL);
	q = outgoing(4, 17, PS_INNER_MAX - 27);
	expect_tx(PS_R_TX_TOO_BIG, &q, NULL);
	/* to the byte, the peer's size */
	w.k.peer[KW_PEER].mtu = 1280;
	q = outgoing(4, 17, 1280 - 28);
	expect_tx(PS_R_TX_SENT, &q, NULL);
	q = outgoing(4, 17, 1280 - 27);
	expect_tx(PS_R_TX_TOO_BIG, &q, NULL);
	w.k.peer[KW_PEER].mtu = 1281;
	expect_tx(PS_R_TX_SENT, &q, NULL);
	w.k.peer[KW_PEER].mtu = PS_INNER_MAX;
	q = outgoing(4, 17, PS_INNER_MAX - 28);
	expect_tx(PS_R_TX_SENT, &q, NULL);
	q = outgoing(4, 6, 200);
	skb = (struct __sk_buff){.gso_size = 100, .gso_segs = 2};
	expect_tx(PS_R_TX_GSO, &q, &skb);
	expect_tx(PS_R_TX_BULK, &q, NULL);
	expect_tx(PS_R_TX_SENT, &p, NULL); /* another flow */
	w.k.config->bulk_hold_ns = 0;
	expect_tx(PS_R_TX_GSO, &q, &skb);
	kw_pause_passes();
	expect_tx(PS_R_TX_SENT, &q, NULL);
	kw_reset(&w, 4);
}

static void tx_state(void)
{
	struct ps_session *s = &w.k.session[KW_SLOT];
	struct kinner in = kw_inner_back(4, 17, 0);
	struct ps_peer *peer = &w.k.peer[KW_PEER];
	struct kpkt p = outgoing(4, 17, 20);

#define TX_CASE(what, want)                \
	do {                               \
		what;                      \
		expect_tx(want, &p, NULL); \
		kw_reset(&w, 4);           \
	} while (0)
	TX_CASE(w.k.config->flags = PS_CFG_RX, PS_R_TX_USER_MODE);
	TX_CASE(peer->flags = PS_PEER_USED, PS_R_TX_USER_MODE);
	TX_CASE(peer->seq = 1, PS_R_TX_USER_MODE);
	TX_CASE(peer->generation++, PS_R_TX_FLOW_STALE);
	TX_CASE(kw_flow(&w, w.k.flow_out, &in, kern_past()), PS_R_TX_FLOW_EXPIRED);
	TX_CASE(peer->path_ifindex = 0, PS_R_TX_NO_PATH);
	TX_CASE(peer->path_family = 0, PS_R_TX_NO_PATH);
	TX_CASE(peer->tx_slot = PS_NO_SLOT, PS_R_TX_NO_PATH);
	TX_CASE(s->flags = PS_SESS_USED, PS_R_TX_NO_PATH);
	TX_CASE(s->peer = KW_PEER + 1, PS_R_TX_NO_PATH);
	TX_CASE(s->tx_until_ns = kern_past(), PS_R_TX_EXPIRED);
	TX_CASE(s->tx_counter = PS_REPLAY_LIMIT, PS_R_TX_EXPIRED);
	TX_CASE(kern_set_keys(&w.k, KW_SLOT, NULL, NULL), PS_R_TX_NO_KEY);
#undef TX_CASE
}

static void test_tx(void)
{
	if (!kw_open(&w, false))
		return;
	tx_packet();
	tx_nat();
	tx_state();
	for (int id = PS_R_TX_SENT; id < PS_R_RXDP_TO_PEER; id++) {
		if (id == PS_R_TX_NO_ROOM) /* only when the kernel is out of memory */
			continue;
		if (!T(seen[id] > 0))
			t_note("no packet for %s", kern_reason_name[id]);
	}
	kern_close(&w.k);
}

/* Without metadata nothing is ours. What has it is tested on devices, where it can exist. */
static void test_in(void)
{
	struct kern_run r;
	struct kpkt p;

	if (!kw_open(&w, false))
		return;
	p = valid(4, 4, 17);
	T_EQ(kern_run(&w.k, w.k.wan_in, p.b, p.len, NULL, 0, &r), 0);
	T_EQ(r.id, PS_R_IN_NOT_OURS);
	T_EQ(r.retval, (uint32_t)TC_ACT_UNSPEC);
	T_EQ(r.out_len, p.len);
	T_MEM(r.out, p.b, p.len);
	kern_close(&w.k);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_rx);
	T_RUN(test_tx);
	T_RUN(test_in);
	return t_done();
}
