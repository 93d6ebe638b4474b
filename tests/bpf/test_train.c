/* SPDX-License-Identifier: Apache-2.0
 * Trains and the order behind them (plan/train.h): ps_wan_in finds the flows of every message in a
 * train and holds them, and nothing else is held: what follows of them is user space's, what is of
 * other flows of the session stays the kernel's. */
#include <linux/pkt_cls.h>
#include "plan/train.h"
#include "tests/bpf/kworld.h"

#define OTHER_SLOT  9
#define OTHER_PEER  6
#define OTHER_LOCAL (0xdef00000u | OTHER_SLOT)

static struct kworld w;

/* What a train is made of, one message after the other. */
struct load {
	struct kouter o;
	uint8_t b[1800];
	size_t len,
		first; /* of all; of the first message, which the others but the last have, too */
	int n;
};

static struct load load(int family, uint16_t channel)
{
	return (struct load){.o = {.family = family, .dport = KP_OUR_PORT, .channel = channel}};
}

static void put_bytes(struct load *l, const uint8_t *msg, size_t len)
{
	if (l->o.channel) {
		kp_be16(l->b + l->len, l->o.channel);
		kp_be16(l->b + l->len + 2, (unsigned)len);
		l->len += 4;
	}
	memcpy(l->b + l->len, msg, len);
	l->len += len;
	if (!l->n++)
		l->first = l->len;
}

static void put_to(struct load *l, uint32_t receiver, const struct kinner *in)
{
	uint8_t text[1500], msg[1600];

	put_bytes(l, msg,
		  kp_wg(msg, receiver, w.next_counter++, w.recv_key, text, kp_inner(text, in)));
}

static void put(struct load *l, const struct kinner *in)
{
	put_to(l, KW_LOCAL, in);
}

/* It comes, and goes on as it came. */
static void comes(struct load *l, bool train)
{
	struct kouter o = l->o;
	struct __sk_buff skb = {.gso_size = train ? (uint32_t)l->first : 0,
				.gso_segs = train ? (uint32_t)l->n : 0};
	struct ps_replay before = w.k.replay[KW_SLOT];
	struct kern_run r;
	struct kpkt p;

	o.channel = 0; /* each message has its own */
	memcpy(p.b + kp_outer_len(&o), l->b, l->len);
	kp_outer(&p, &o, l->len);
	T_EQ(kern_run(&w.k, w.k.wan_in, p.b, p.len, &skb, sizeof(skb), &r), 0);
	T_EQ(r.id, PS_R_IN_NOT_OURS);
	T_EQ(r.retval, (uint32_t)TC_ACT_UNSPEC);
	T_EQ(r.out_len, p.len);
	T_MEM(r.out, p.b, p.len);
	T_MEM(&w.k.replay[KW_SLOT], &before, sizeof(before));
}

/* A packet that comes alone: its fate. */
static enum ps_reason_id alone(const struct kinner *in)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct kern_run r;
	uint8_t text[1500], msg[1600];
	struct kpkt p;
	size_t len;

	len = kp_wg(msg, KW_LOCAL, w.next_counter++, w.recv_key, text, kp_inner(text, in));
	memcpy(p.b + kp_outer_len(&o), msg, len);
	kp_outer(&p, &o, len);
	T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0);
	return r.id;
}

static bool held(const struct kinner *in)
{
	struct ps_flow_key key = kw_key(in, KW_PEER);
	struct ps_flow f;

	T_EQ(bpf_map_lookup_elem(w.k.flow_in, &key, &f), 0);
	return f.bulk_until_ns != 0;
}

static bool session_held(uint32_t slot)
{
	return w.k.session[slot].rx_held_until_ns != 0;
}

static void reset(void)
{
	kw_reset(&w, 4);
	w.k.config->flags |= PS_CFG_GENERIC;
	w.k.session[KW_SLOT].rx_alone_ns = 1ull << 62; /* it has not only bulk */
}

static void of_two_flows(int outer, uint16_t channel, int inner)
{
	struct kinner a = kw_inner(inner, 17, 300), b = kw_inner(inner, 6, 288),
		      c = kw_inner(inner == 4 ? 6 : 4, 17, 40);
	struct load l = load(outer, channel);

	reset();
	put(&l, &a);
	put(&l, &a);
	put(&l, &b);
	b.payload = 0; /* a shorter one at its end */
	put(&l, &b);
	comes(&l, true);
	T(held(&a));
	T(held(&b));
	T(!held(&c));
	T(!session_held(KW_SLOT));
	a.payload = b.payload = c.payload = 20;
	T_EQ(alone(&a), PS_R_XDP_FLOW_WARM);
	T_EQ(alone(&b), PS_R_XDP_FLOW_WARM);
	T_EQ(alone(&c), PS_R_XDP_DELIVERED);
}

static void test_flows_of_a_train_are_held(void)
{
	for (int outer = 4; outer <= 6; outer += 2)
		for (int inner = 4; inner <= 6; inner += 2) {
			of_two_flows(outer, 0, inner);
			of_two_flows(outer, KW_CHANNEL, inner);
		}
}

/* Only at the end, behind what is nobody's flow. */
static void test_last_of_many(void)
{
	struct kinner a = kw_inner(4, 17, 0), b = kw_inner(4, 6, 0);
	struct load l = load(4, 0);
	uint8_t junk[KP_WG + 28 + 16] = {4}, keepalive[KP_WG + 16] = {4};

	reset();
	kp_le32(junk + 4, KW_LOCAL);
	kp_le32(keepalive + 4, KW_LOCAL);
	while (l.n < 20)
		put_bytes(&l, junk, sizeof(junk)); /* a block that is no packet */
	put(&l, &a);
	put_bytes(&l, keepalive, sizeof(keepalive));
	comes(&l, true);
	T(held(&a));
	T(!held(&b));
}

/* A packet of every length up to a block, for what is read ends where the message does. */
static void test_short_messages(void)
{
	for (size_t payload = 0; payload < 80; payload++) {
		struct kinner a = kw_inner(4, 17, payload);
		struct load l = load(4, 0);

		reset();
		put(&l, &a);
		put(&l, &a);
		comes(&l, true);
		T(held(&a));
	}
}

/* Long packets between the trains are passed undecrypted, and their flows held as well. */
static void test_long_packet_goes_with_the_trains(void)
{
	struct kinner a = kw_inner(4, 17, 300), b = kw_inner(4, 6, PS_RX_LONG - 40);
	struct load l = load(4, 0), one = load(4, 0);

	reset();
	b.payload++;
	T_EQ(alone(&b), PS_R_XDP_DELIVERED); /* without trains */
	put(&one, &b);
	comes(&one, false); /* passed up for some other reason */
	T(!held(&b));
	put(&l, &a);
	put(&l, &a);
	comes(&l, true);
	b.payload--;
	T_EQ(alone(&b), PS_R_XDP_DELIVERED);
	b.payload++;
	T_EQ(alone(&b), PS_R_XDP_BULK);
	T(!held(&b));
	comes(&one, false);
	T(held(&b));
	b.payload = 0;
	T_EQ(alone(&b), PS_R_XDP_FLOW_WARM);
	w.k.session[KW_SLOT].rx_trains_until_ns = 1; /* long ago */
	b.payload = PS_RX_LONG;
	T_EQ(alone(&b), PS_R_XDP_FLOW_WARM);
}

/* A train is one socket's, not one session's: before and after a new key, and of all who come by
 * one relay. */
static void test_two_sessions(void)
{
	struct kinner a = kw_inner(4, 17, 0);
	struct ps_flow_key key = kw_key(&a, OTHER_PEER);
	struct ps_flow f = {.peer = OTHER_PEER, .expires_ns = PS_NEVER};
	struct load l = load(4, 0);

	reset();
	w.k.session[OTHER_SLOT] = w.k.session[KW_SLOT];
	w.k.session[OTHER_SLOT].local_idx = OTHER_LOCAL;
	w.k.session[OTHER_SLOT].peer = OTHER_PEER;
	w.k.peer[OTHER_PEER] = w.k.peer[KW_PEER];
	T_EQ(kern_set_keys(&w.k, OTHER_SLOT, w.recv_key, w.send_key), 0);
	T_EQ(bpf_map_update_elem(w.k.flow_in, &key, &f, BPF_ANY), 0);
	put(&l, &a);
	put_to(&l, OTHER_LOCAL, &a);
	put_to(&l, OTHER_LOCAL + 0x100000, &a); /* nobody */
	comes(&l, true);
	T(held(&a));
	T_EQ(bpf_map_lookup_elem(w.k.flow_in, &key, &f), 0);
	T(f.bulk_until_ns != 0);
	T(!session_held(KW_SLOT));
	T(!session_held(OTHER_SLOT));
}

/* Where it cannot be looked into, all that the session receives waits. */
static void test_session_is_held_instead(void)
{
	struct kinner a = kw_inner(4, 17, 0);
	struct load l = load(4, 0);

	reset();
	put(&l, &a);
	put(&l, &a);
	w.k.session[KW_SLOT].flags = PS_SESS_USED;
	comes(&l, true);
	T(session_held(KW_SLOT));
	T(!held(&a));
	reset();
	w.k.peer[KW_PEER].flags &= ~(uint32_t)PS_PEER_KERNEL;
	comes(&l, true);
	T(session_held(KW_SLOT));
	T(!held(&a));
}

/* Nobody is in a hurry there. The first packet that is no bulk waits with the rest, and from then
 * on it is told apart. */
static void test_bulk_alone_is_not_looked_into(void)
{
	struct kinner a = kw_inner(4, 17, 300), b = kw_inner(4, 6, PS_RX_LONG - 39);
	struct load l = load(4, 0);
	uint64_t until;

	reset();
	w.k.session[KW_SLOT].rx_alone_ns = 1;
	put(&l, &a);
	put(&l, &a);
	comes(&l, true);
	T(session_held(KW_SLOT));
	T(!held(&a));
	T_EQ(alone(&b), PS_R_XDP_BULK);
	T_EQ(w.k.session[KW_SLOT].rx_alone_ns, 1);
	comes(&l, true);
	T(!held(&a));
	b.payload--;
	T_EQ(alone(&b), PS_R_XDP_BULK);
	T(w.k.session[KW_SLOT].rx_alone_ns > 1);
	until = w.k.session[KW_SLOT].rx_held_until_ns;
	comes(&l, true);
	T(held(&a));
	T(!held(&b));
	T_EQ(w.k.session[KW_SLOT].rx_held_until_ns, until);
}

static void test_not_ours(void)
{
	struct kinner a = kw_inner(4, 17, 0);
	struct load l = load(4, 0);

	reset();
	put(&l, &a);
	put(&l, &a);
	l.o.dport = KP_OUR_PORT + 1;
	comes(&l, true);
	l.o.dport = KP_OUR_PORT;
	w.k.config->flags &= ~(uint32_t)PS_CFG_GENERIC; /* a driver's frames are no trains */
	comes(&l, true);
	T(!held(&a));
	T(!session_held(KW_SLOT));
	T_EQ(w.k.session[KW_SLOT].rx_trains_until_ns, 0);
	w.k.config->flags |= PS_CFG_GENERIC;
	comes(&l, true);
	T(held(&a));
}

/* No byte of a train makes it read what it must not, or touch a packet. */
static void test_any_bytes(void)
{
	uint64_t seed = t_seed();

	reset();
	for (int i = 0; i < 2000; i++) {
		struct kinner a = kw_inner(i & 1 ? 4 : 6, 17, t_rand(&seed) % 100);
		struct load l = load(i & 2 ? 4 : 6, i & 4 ? KW_CHANNEL : 0);

		for (uint64_t n = 1 + t_rand(&seed) % 6; n--;)
			put(&l, &a);
		for (uint64_t n = t_rand(&seed) % 8; n--;)
			l.b[t_rand(&seed) % l.len] = (uint8_t)t_rand(&seed);
		l.first = 1 + t_rand(&seed) % l.len;
		comes(&l, true);
	}
}

static void test_message(void)
{
	uint8_t p[PS_TRAIN_HEAD] = {4, 0, 0, 0, 1, 2, 3, 4, 5},
		c[PS_TRAIN_HEAD] = {0x40, 1, 0, 99, 4};
	struct ps_train_msg m;

	T(!ps_train_message(p, WG_DATA_OVERHEAD, &m)); /* a keepalive */
	T(ps_train_message(p, WG_DATA_OVERHEAD + 1, &m));
	T_EQ(m.receiver, 0x04030201);
	T_EQ(m.counter, 5);
	T_EQ(m.text_off, WG_DATA_HDR_LEN);
	T_EQ(m.text_len, 1);
	T(!ps_train_message(p, PS_TRAIN_HEAD - 1, &m));
	p[0] = 2;
	T(!ps_train_message(p, 92, &m));
	T(!ps_train_message(c, 4 + WG_DATA_OVERHEAD, &m));
	T(ps_train_message(c, 4 + WG_DATA_OVERHEAD + 1, &m));
	T_EQ(m.text_off, 4 + WG_DATA_HDR_LEN);
	T_EQ(m.text_len, 1);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_message);
	for (int plain = 0; plain < 2; plain++) {
		if (!kw_open(&w, plain))
			continue;
		T_RUN(test_flows_of_a_train_are_held);
		T_RUN(test_last_of_many);
		T_RUN(test_short_messages);
		T_RUN(test_long_packet_goes_with_the_trains);
		T_RUN(test_two_sessions);
		T_RUN(test_session_is_held_instead);
		T_RUN(test_bulk_alone_is_not_looked_into);
		T_RUN(test_not_ours);
		T_RUN(test_any_bytes);
		kern_close(&w.k);
	}
	return t_done();
}
