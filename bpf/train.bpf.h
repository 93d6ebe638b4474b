/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * What ps_wan_in does with a train that ps_wan_rx has left alone: it looks into each message and
 * holds the flows in it (plan/train.h). The packet is only read. It is a part of that program
 * because the other one's stack is full. */
#ifndef PENSTOCK_TRAIN_BPF_H
#define PENSTOCK_TRAIN_BPF_H
#include "aead.bpf.h"
#include "plan/train.h"

struct train {
	struct __sk_buff *ctx;
	struct ps_scratch *scratch; /* head: of the message; buf: its first block */
	struct ps_config *cfg;
	__u64 now;
	__u32 at;	/* of the next message */
	__u32 left;	/* from there on */
	__u32 each;	/* length of all but the last */
	__u32 alone;	/* it is no train, but a long packet that may be one of the bulk */
	__u32 receiver; /* of the last message */
	__u32 look;	/* into those for the same one */
	__u32 peer_id;
	__u32 pad;
	struct chacha c;
};

/* 1: the message can be looked into and is to be; its session's key is in t->c. */
static __always_inline int train_session(struct train *t, const struct ps_train_msg *m)
{
	__u32 slot = m->receiver & t->cfg->slot_mask, seq;
	struct ps_session *s = bpf_map_lookup_elem(&ps_session, &slot);
	struct key_slot *key = bpf_map_lookup_elem(&ps_key, &slot);
	struct ps_peer *p;

	if (!s || !key || !m->receiver || !(s->flags & PS_SESS_USED))
		return 0;
	if (!keys_load(key, 0, chacha_key(&t->c), &seq) ||
	    PS_READ_ONCE(s->local_idx) != m->receiver || !keys_still(key, seq))
		return 0; /* no session of ours, or about to end */
	t->peer_id = s->peer;
	if (t->alone)
		return ps_train_alone(s, t->now, m);
	p = bpf_map_lookup_elem(&ps_peer, &t->peer_id);
	return ps_train_session(s, p ? PS_READ_ONCE(p->flags) : 0, t->now, m, t->cfg);
}

/* The message's first block, decrypted, begins a packet: hold its flow. */
static __always_inline void train_flow(struct train *t, const struct ps_train_msg *m)
{
	struct ps_inner *in = &t->scratch->inner;
	struct ps_flow_key last = in->key;
	const __u8 *p = t->scratch->buf;
	__u32 len = m->text_len;
	struct ps_flow *flow;

	OPAQUE(len);
	if (len > PS_INNER_MAX || ps_inner_parse(p, p + len, in) != PS_INNER_FLOW)
		return;
	in->key.peer = t->peer_id;
	if (ps_words_equal((const __u8 *)&in->key, (const __u8 *)&last, sizeof(last)))
		return;
	flow = bpf_map_lookup_elem(&ps_flow_in, &in->key);
	if (flow)
		ps_flow_hold(flow, t->now, t->now + t->cfg->bulk_hold_ns);
}

/* 1: the last one. */
static int train_message(__u32 i, struct train *t)
{
	__u32 len = t->left < t->each ? t->left : t->each, at = t->at, block = AEAD_BLOCK;
	struct ps_scratch *sc = t->scratch;
	struct ps_train_msg m;

	(void)i;
	t->at += len;
	t->left -= len;
	if (len < PS_TRAIN_HEAD || bpf_skb_load_bytes(t->ctx, at, sc->head, PS_TRAIN_HEAD))
		return 1;
	if (!ps_train_message(sc->head, len, &m))
		return !t->left;
	if (m.receiver != t->receiver) {
		t->receiver = m.receiver;
		t->look = train_session(t, &m);
	}
	if (t->look) {
		/* tag included, there are 17 bytes at least */
		at += m.text_off;
		if (m.text_len < AEAD_BLOCK - AEAD_TAG_LEN)
			block = 32;
		if (m.text_len < 32 - AEAD_TAG_LEN)
			block = 16;
		bpf_skb_load_bytes(t->ctx, at, sc->buf, block);
		chacha_init(&t->c, m.counter);
		t->c.s[12] = 1; /* block 0 is the one-time key */
		chacha_xor(&t->c, (struct chacha_block *)sc->buf);
		train_flow(t, &m);
	}
	return !t->left;
}

/* What ps_wan_rx has passed on is about to go to user space. */
static __always_inline void train_look(struct __sk_buff *ctx)
{
	__u32 which = PS_SCRATCH_RX;
	struct train t = {.ctx = ctx};

	t.cfg = config_get();
	if (!t.cfg || (t.cfg->flags & (PS_CFG_RX | PS_CFG_GENERIC)) != (PS_CFG_RX | PS_CFG_GENERIC))
		return;
	t.each = ctx->gso_size;
	if (!t.each) {
		if (ctx->len < PS_RX_LONG)
			return;
		t.alone = 1;
		t.each = ctx->len;
	}
	t.scratch = bpf_map_lookup_elem(&ps_scratch, &which);
	if (!t.scratch)
		return;
	if (bpf_skb_load_bytes(ctx, 0, t.scratch->head, PS_TRAIN_OUTER))
		return;
	t.at = ps_train_payload(t.scratch->head, t.scratch->head + PS_TRAIN_OUTER, t.cfg);
	if (!t.at || t.at >= ctx->len)
		return;
	t.left = ctx->len - t.at;
	t.now = bpf_ktime_get_ns();
	__builtin_memset(&t.scratch->inner.key, 0, sizeof(t.scratch->inner.key));
	bpf_loop(PS_TRAIN_MAX, train_message, &t, 0);
}
#endif
