/* SPDX-License-Identifier: Apache-2.0
 * Differential test of the kernel programs: generated packets, most of them damaged in some way,
 * must meet the same fate and leave as the same bytes as in a native reference made of the shared
 * planning functions, libsodium, a replay window that is a plain list of what was accepted, and the
 * one relay channel there is. A
 * packet that is not delivered changes no table. */
#include <linux/pkt_cls.h>
#include "tests/bpf/kworld.h"
#include "plan/ecn.h"
#include "plan/egress.h"
#include "plan/ingress.h"
#include "plan/nat.h"

#define RX_PACKETS 14000
#define TX_PACKETS 6000
#define KEPT	   64 /* accepted packets that may be replayed */

static struct kworld w;
static uint64_t rnd;
static uint32_t counted[PS_R_COUNT];

static uint32_t pick(uint32_t n)
{
	return (uint32_t)(t_rand(&rnd) % n);
}

/* ---- the oracle of the replay window: what was accepted, and the highest of it ---- */
static struct {
	uint64_t accepted[RX_PACKETS];
	size_t len;
	uint64_t top; /* highest + 1 */
} oracle;

static bool oracle_would(uint64_t counter)
{
	if (counter >= PS_REPLAY_LIMIT || counter + PS_REPLAY_WINDOW < oracle.top)
		return false;
	for (size_t i = 0; i < oracle.len; i++) {
		if (oracle.accepted[i] == counter)
			return false;
	}
	return true;
}

static void oracle_add(uint64_t counter)
{
	oracle.accepted[oracle.len++] = counter;
	if (counter >= oracle.top)
		oracle.top = counter + 1;
}

/* ---- the reference ---- */
struct outcome {
	enum ps_reason_id id;
	uint8_t out[2048];
	size_t out_len;
	int via; /* family of the channel it came by, 0: none */
};

static struct ps_flow *flow_find(int map, struct ps_inner *in, uint32_t peer, struct ps_flow *f)
{
	in->key.peer = peer;
	return bpf_map_lookup_elem(map, &in->key, f) ? NULL : f;
}

/* Is the sender of channel data at wg, behind whichever headers, our relay, on our channel? */
static bool channel_known(const uint8_t *wg, bool v4)
{
	static const uint8_t ports[4] = {KP_HIS_PORT >> 8, KP_HIS_PORT & 255, KP_OUR_PORT >> 8,
					 KP_OUR_PORT & 255};
	const uint8_t *chan = wg - 4, *udp = chan - 8;

	return chan[0] == KW_CHANNEL >> 8 && chan[1] == (KW_CHANNEL & 255) &&
	       !memcmp(udp, ports, 4) &&
	       (v4 ? !memcmp(udp - 20 + 12, kw_remote4, 4) : !memcmp(udp - 40 + 8, kw_remote6, 16));
}

static enum ps_reason_id ref_rx_steps(const uint8_t *b, size_t len, uint64_t now, struct outcome *o)
{
	struct ps_peer_view v = {0};
	uint8_t text[2048], nonce[12] = {0};
	unsigned long long text_len = 0;
	const struct ps_session *s;
	const struct ps_peer *p;
	enum ps_reason_id id;
	struct ps_outer outer;
	struct ps_inner in;
	struct ps_flow f;
	struct ps_nat nat;
	__u8 ecn;

	id = ps_rx_classify(b, b + len, w.k.config, &outer);
	if (id != PS_GO_ON)
		return id;
	if (b[outer.wg_off - 4] == KW_CHANNEL >> 8 || outer.via.key.number) {
		bool v4 = b[outer.link_len - 2] == 0x08;

		T_EQ(outer.via.key.number != 0, outer.wg_off - outer.link_len == (v4 ? 32u : 52u));
		if (outer.via.key.number && !channel_known(b + outer.wg_off, v4))
			return PS_R_XDP_NO_CHANNEL;
	}
	s = &w.k.session[outer.receiver % KERN_SESSIONS];
	id = ps_rx_session(s, outer.receiver, now);
	if (id != PS_GO_ON)
		return id;
	p = &w.k.peer[s->peer];
	v.flags = p->flags;
	v.generation = p->generation;
	memcpy(v.tun4, p->tun4, 4);
	memcpy(v.tun6, p->tun6, 16);
	id = ps_rx_peer(&v, &outer, 0);
	if (id != PS_GO_ON)
		return id;
	if (!oracle_would(outer.counter))
		return PS_R_XDP_REPLAY;
	kp_le64(nonce + 4, outer.counter);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(text, &text_len, NULL, b + outer.wg_off + 16,
						      outer.payload_len - 16, NULL, 0, nonce,
						      w.recv_key))
		return PS_R_XDP_BAD_TAG;
	id = ps_rx_inner(text, text + text_len, &in);
	if (id == PS_GO_ON)
		id = ps_rx_source(&v, &in);
	if (id == PS_GO_ON)
		id = ps_rx_flow(flow_find(w.k.flow_in, &in, s->peer, &f), s->peer, v.generation,
				now);
	if (id != PS_GO_ON)
		return id;
	ps_nat_of_flow(&f, &nat);
	id = ps_rx_nat(&nat, text, &in.ip);
	if (id != PS_GO_ON)
		return id;
	ecn = ps_ecn_decap(in.ip.tos & PS_ECN_MASK, outer.ecn);
	if (ecn == PS_ECN_DROP)
		return PS_R_XDP_ECN;
	oracle_add(outer.counter);
	if (ecn != (in.ip.tos & PS_ECN_MASK))
		ps_ecn_put(text, in.ip.family, ecn);
	if (nat.on)
		ps_nat_apply(text, &in.ip, PS_NAT_TO, &nat);
	memcpy(o->out, &(struct ps_meta){PS_META_MAGIC, KERN_LO}, sizeof(struct ps_meta));
	memcpy(o->out + 8, b, 12);
	kp_be16(o->out + 20, in.ip.family == 4 ? 0x0800 : 0x86dd);
	memcpy(o->out + 22, text, in.ip.len);
	o->out_len = 22 + in.ip.len;
	o->via = outer.via.key.family;
	return PS_R_XDP_DELIVERED;
}

static void ref_rx(const struct kpkt *p, struct outcome *o)
{
	memcpy(o->out, p->b, p->len);
	o->out_len = p->len;
	o->via = 0;
	o->id = ref_rx_steps(p->b, p->len, kern_now(), o);
}

static enum ps_reason_id ref_tx_steps(const uint8_t *b, size_t len, bool gso, uint64_t now,
				      struct outcome *o)
{
	const struct ps_peer *p;
	struct ps_path_view v = {0};
	struct ps_tx_plan plan = {0};
	uint8_t nonce[12] = {0}, text[2048], *to;
	enum ps_reason_id id;
	struct ps_inner in;
	struct ps_nat nat;
	struct ps_flow flow, *f;
	struct ps_session *s;

	if (len == 0)
		return PS_R_TX_NOT_IP;
	id = ps_tx_inner(b, b + len, &in);
	if (id != PS_GO_ON)
		return id;
	f = flow_find(w.k.flow_out, &in, 0, &flow);
	id = ps_tx_flow(f, now);
	if (id != PS_GO_ON)
		return id;
	p = &w.k.peer[f->peer];
	v.flags = p->flags;
	v.generation = p->generation;
	v.tx_slot = p->tx_slot;
	v.ifindex = p->path_ifindex;
	v.family = p->path_family;
	v.channel = p->path_channel;
	memcpy(v.local, p->path_local, 16);
	memcpy(v.remote, p->path_remote, 16);
	v.local_port = p->path_local_port;
	v.remote_port = p->path_remote_port;
	v.mtu = p->mtu;
	id = ps_tx_peer(&v, f);
	if (id == PS_GO_ON && w.k.plain && v.family != in.ip.family)
		id = PS_R_TX_NO_PATH; /* older kernels cannot turn an skb's family */
	if (id == PS_GO_ON)
		id = ps_tx_bulk(f, gso, now, w.k.config);
	if (id == PS_GO_ON)
		id = ps_tx_size(&v, (uint32_t)len);
	if (id != PS_GO_ON)
		return id;
	if (in.ip.len != len)
		return PS_R_TX_INNER_OTHER;
	ps_nat_of_flow(f, &nat);
	id = ps_tx_nat(&nat, b, &in.ip);
	if (id != PS_GO_ON)
		return id;
	s = &w.k.session[v.tx_slot];
	id = ps_tx_session(s, f->peer, now);
	if (id != PS_GO_ON)
		return id;
	plan = (struct ps_tx_plan){.sealed_len = (uint32_t)len + 16,
				   .remote_idx = s->remote_idx,
				   .counter = s->tx_counter,
				   .ecn = in.ip.tos & 3};
	kp_le64(nonce + 4, plan.counter);
	to = o->out + PS_ETH_HLEN + ps_tx_outer_len(&v);
	memcpy(text, b, len);
	if (nat.on)
		ps_nat_apply(text, &in.ip, PS_NAT_FROM, &nat);
	crypto_aead_chacha20poly1305_ietf_encrypt(to, NULL, text, len, NULL, 0, NULL, nonce,
						  w.send_key);
	plan.sealed_sum = __builtin_bswap16((uint16_t)kp_sum(to, len + 16, 0));
	ps_tx_put_eth(o->out, &v);
	if (v.family == 4)
		ps_tx_put_outer4(o->out + PS_ETH_HLEN, &v, &plan, ps_tx_chan_len(&v));
	else
		ps_tx_put_outer6(o->out + PS_ETH_HLEN, &v, &plan, ps_tx_chan_len(&v));
	o->out_len = PS_ETH_HLEN + ps_tx_outer_len(&v) + len + 16;
	return PS_R_TX_SENT;
}

/* ---- tables that only a delivered packet may change ---- */
struct tables {
	struct ps_session session[KERN_SESSIONS];
	struct ps_replay replay[KERN_SESSIONS];
	struct ps_peer peer[KERN_PEERS];
	struct ps_flow flow[12];
	struct ps_channel channel[2];
};

static void tables_read(struct tables *t)
{
	static const int protos[2][3] = {{6, 17, 1}, {6, 17, 58}};

	memcpy(t->session, w.k.session, sizeof(t->session));
	t->session[KW_SLOT].rx_held_until_ns = t->session[KW_SLOT].rx_passed_ns = 0;
	memcpy(t->replay, w.k.replay, sizeof(t->replay));
	memcpy(t->peer, w.k.peer, sizeof(t->peer));
	memset(t->flow, 0, sizeof(t->flow));
	for (int i = 0; i < 2; i++) {
		struct ps_channel_key key = kw_channel_key(i ? 6 : 4);

		T_EQ(bpf_map_lookup_elem(w.k.channel, &key, &t->channel[i]), 0);
	}
	for (int i = 0; i < 6; i++) {
		struct kinner in = kw_inner(i < 3 ? 4 : 6, protos[i / 3][i % 3], 0);
		struct kinner back = kw_inner_back(in.family, in.proto, 0);
		struct ps_flow_key a = kw_key(&in, KW_PEER), b = kw_key(&back, 0);

		bpf_map_lookup_elem(w.k.flow_in, &a, &t->flow[2 * i]);
		bpf_map_lookup_elem(w.k.flow_out, &b, &t->flow[2 * i + 1]);
		if (t->flow[2 * i + 1].bulk_until_ns) { /* held: a matter of time as well */
			t->flow[2 * i + 1].bulk_until_ns = t->flow[2 * i + 1].last_ns = 0;
			bpf_map_update_elem(w.k.flow_out, &b, &t->flow[2 * i + 1], BPF_EXIST);
		}
	}
}

/* ---- generation ---- */
static struct kpkt kept[KEPT];
static size_t kept_len;

static struct kinner random_inner(bool back)
{
	int family = pick(2) ? 4 : 6;
	int proto = (int[]){6, 17, family == 4 ? 1 : 58}[pick(3)];
	size_t payload = pick(4) ? pick(200) : pick(1400);
	struct kinner in = back ? kw_inner_back(family, proto, payload)
				: kw_inner(family, proto, payload);

	in.tos = (uint8_t)pick(256);
	return in;
}

/* Damage to the inner packet before it is sealed. */
static size_t damage_text(uint8_t *text, size_t len, const struct kinner *in)
{
	size_t source = in->family == 4 ? 12 : 8;

	switch (pick(16)) {
	case 0: /* wrong source */
		text[source + pick(in->family == 4 ? 4 : 16)] ^= (uint8_t)(1u << pick(8));
		return len;
	case 1: /* any bit of the headers */
		text[pick(len < 60 ? (uint32_t)len : 60)] ^= (uint8_t)(1u << pick(8));
		return len;
	case 2: /* cut short */
		return pick((uint32_t)len);
	case 3: /* padding, as other implementations do */
		memset(text + len, 0, 32);
		return len + pick(32);
	case 4: /* fragment, options, or the next header of one */
		text[in->family == 4 ? (pick(2) ? 6 : 0) : 6] = (uint8_t)(pick(2) ? 0x46 : 44);
		return len;
	case 5: /* another flow */
		text[(in->family == 4 ? 20 : 40) + pick(4)] ^= (uint8_t)(1u << pick(8));
		return len;
	case 6: /* TCP flags */
		if (in->proto == 6)
			text[(in->family == 4 ? 20 : 40) + 13] = (uint8_t)t_rand(&rnd);
		return len;
	default:
		return len;
	}
}

/* Damage to the finished frame. n numbers the packet: cuts walk through every length. */
static void damage_frame(struct kpkt *p, const struct kouter *o, uint32_t n)
{
	size_t ip = KP_ETH + 4 * (size_t)o->vlan, wg = kp_outer_len(o);

	switch (pick(12)) {
	case 0:
		p->len = KP_ETH + n % (p->len - KP_ETH + 1);
		break;
	case 1:
		p->b[pick((uint32_t)p->len)] ^= (uint8_t)(1u << pick(8));
		break;
	case 2: /* wrong index, of a slot in use or not */
		p->b[wg + 4 + pick(4)] ^= (uint8_t)(1u << pick(8));
		break;
	case 3: /* options or extension headers */
		if (o->family == 4)
			p->b[ip] = (uint8_t)(0x40 | pick(16));
		else
			p->b[ip + 6] = (uint8_t)pick(61);
		break;
	case 4: /* fragments */
		if (o->family == 4)
			p->b[ip + 6 + pick(2)] = (uint8_t)t_rand(&rnd);
		else
			p->b[ip + 6] = 44;
		break;
	case 5: /* lengths */
		p->b[pick(2) ? ip + (o->family == 4 ? 2 : 4) + pick(2)
			     : kp_udp_end(o) - 4 + pick(2)] = (uint8_t)t_rand(&rnd);
		break;
	case 6: /* channel number or length; of a direct packet the checksum, which nobody reads */
		p->b[wg - 4 + pick(4)] ^= (uint8_t)(1u << pick(pick(2) ? 8 : 2));
		break;
	case 7: /* sender: address, port; for a direct packet as good as any */
		p->b[kp_udp_end(o) - 8 - (pick(2) ? 0 : o->family == 4 ? 8 : 32) + pick(2)] ^= 1;
		break;
	default:
		break;
	}
}

static void generate_rx(struct kpkt *p, uint32_t n)
{
	struct kouter o = {.family = pick(2) ? 4 : 6,
			   .vlan = (int)pick(8) / 7 + (int)pick(16) / 15,
			   .tos = (uint8_t)(pick(4) ? 0 : pick(256)),
			   .dport = (uint16_t)(pick(50) ? KP_OUR_PORT : 53),
			   .channel = pick(2) ? KW_CHANNEL : 0,
			   .pad = (uint8_t)(pick(2) ? 0 : pick(5))};
	struct kinner in = random_inner(false);
	uint64_t counter = w.next_counter;
	uint8_t text[2048];
	size_t len;

	if (kept_len && !pick(10)) {
		*p = kept[pick((uint32_t)kept_len)];
		return;
	}
	len = damage_text(text, kp_inner(text, &in), &in);
	if (!pick(8)) /* reordered, perhaps too late */
		w.next_counter -= pick(2) ? pick(64) : pick(6000);
	if (w.next_counter > counter)
		w.next_counter = 0;
	kw_seal(&w, p, &o, text, len);
	w.next_counter = counter + 1 + (pick(200) ? 0 : pick(5000));
	damage_frame(p, &o, n);
}

/* Now and then another flow is translated, to something else, or not any more. */
static void generate_nat(bool tx)
{
	struct kinner in;
	int map = tx ? w.k.flow_out : w.k.flow_in;
	uint8_t addr[16];

	if (pick(6))
		return;
	in = random_inner(tx);
	for (int i = 0; i < 16; i++)
		addr[i] = (uint8_t)t_rand(&rnd);
	if (pick(4))
		kw_flow_nat(&w, map, &in, addr, (__be16)t_rand(&rnd));
	else
		kw_flow(&w, map, &in, PS_NEVER);
}

/* Sometimes the tables themselves say no; far enough from now that the clock does not matter. */
static void generate_state(bool tx)
{
	struct ps_session *s = &w.k.session[KW_SLOT];
	struct ps_peer *p = &w.k.peer[KW_PEER];

	s->rx_held_until_ns = 0; /* what is held back is a matter of time: test_reasons */
	s->flags = PS_SESS_USED | (pick(40) ? PS_SESS_CONFIRMED : 0);
	s->rx_until_ns = pick(40) ? PS_NEVER : 1;
	s->tx_until_ns = pick(40) ? PS_NEVER : 1;
	p->generation = pick(40) ? 9 : 10;
	p->flags = PS_PEER_USED | (pick(40) ? PS_PEER_KERNEL : 0) |
		   (pick(3) ? PS_PEER_CHECK_SOURCE : 0);
	if (!tx)
		return;
	p->path_family = pick(2) ? 4 : 6;
	memcpy(p->path_local, p->path_family == 4 ? kw_local4 : kw_local6, 16);
	memcpy(p->path_remote, p->path_family == 4 ? kw_remote4 : kw_remote6, 16);
	p->path_ifindex = pick(40) ? KERN_LO : 0;
	p->path_channel = pick(2) ? __builtin_bswap16(KW_CHANNEL) : 0;
	p->mtu = (uint16_t)(pick(3) ? 1280 : pick(2) ? PS_INNER_MAX : pick(2000));
}

static bool same(const struct kern_run *r, const struct outcome *o, const struct kpkt *p,
		 uint32_t n)
{
	bool ok = T_EQ(r->id, o->id);

	if (ok && ps_verdict_of(o->id) != PS_V_DROP)
		ok = T_EQ(r->out_len, o->out_len) && T_MEM(r->out, o->out, o->out_len);
	if (!ok) {
		t_note("packet %u, seed %llu: program %s, reference %s", n,
		       (unsigned long long)t_seed(),
		       r->id < PS_R_COUNT ? kern_reason_name[r->id] : "?", kern_reason_name[o->id]);
		for (size_t i = 0; i < p->len; i += 32) {
			printf("#   %04zx:", i);
			for (size_t j = i; j < i + 32 && j < p->len; j++)
				printf(" %02x", p->b[j]);
			printf("\n");
		}
	}
	return ok;
}

static void report(const char *what, uint32_t n, int from, int to)
{
	int kinds = 0;

	t_note("%s: %u packets, seed %llu", what, n, (unsigned long long)t_seed());
	for (int id = from; id < to; id++) {
		if (!counted[id])
			continue;
		kinds++;
		t_note("  %-22s %u", kern_reason_name[id], counted[id]);
	}
	T(kinds >= 8);
}

static void test_ingress(void)
{
	static struct tables before, after;
	static struct outcome o;
	static struct kern_run r;
	uint32_t n, via[7] = {0};
	struct kpkt p;

	rnd = t_seed();
	if (!kw_open(&w, false))
		return;
	for (n = 0; n < RX_PACKETS; n++) {
		generate_rx(&p, n);
		generate_state(false);
		generate_nat(false);
		tables_read(&before);
		ref_rx(&p, &o);
		T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0);
		counted[o.id]++;
		if (!same(&r, &o, &p, n) ||
		    !T_EQ(r.retval, ps_verdict_of(o.id) == PS_V_DROP ? XDP_DROP : XDP_PASS))
			break;
		tables_read(&after);
		if (o.id == PS_R_XDP_DELIVERED) {
			kept[kept_len < KEPT ? kept_len++ : pick(KEPT)] = p;
			via[o.via]++;
			if (!T(memcmp(&after.replay, &before.replay, sizeof(after.replay)) != 0) ||
			    !T_EQ(after.channel[0].packets,
				  before.channel[0].packets + (o.via == 4)) ||
			    !T_EQ(after.channel[1].packets,
				  before.channel[1].packets + (o.via == 6)))
				break;
		} else if (!T_MEM(&after, &before, sizeof(after))) {
			break;
		}
	}
	report("ingress", n, PS_R_XDP_DELIVERED, PS_R_IN_DELIVERED);
	T(counted[PS_R_XDP_DELIVERED] > RX_PACKETS / 10);
	T(counted[PS_R_XDP_BAD_TAG] > 100);
	T(counted[PS_R_XDP_CHANNEL_LEN] > 100);
	T(counted[PS_R_XDP_NO_CHANNEL] > 100);
	T(via[0] > 1000 && via[4] > 500 && via[6] > 500);
	t_note("delivered: %u directly, %u and %u by channels over IPv4 and IPv6", via[0], via[4],
	       via[6]);
	T(counted[PS_R_XDP_REPLAY] > 100);
	T(counted[PS_R_XDP_NAT_BOUND] > 0);
	kern_close(&w.k);
}

static void generate_tx(struct kpkt *p, uint32_t n)
{
	struct kinner in = random_inner(true);
	size_t len = kp_inner(p->b + KP_ETH, &in);

	memset(p->b, 0, 12);
	kp_be16(p->b + 12, in.family == 4 ? 0x0800 : 0x86dd);
	len = damage_text(p->b + KP_ETH, len, &in);
	p->len = KP_ETH + len;
	if (!pick(12) && len)
		p->len = KP_ETH + 1 + n % (uint32_t)len;
}

static void test_egress(void)
{
	static struct tables before, after;
	static struct outcome o;
	static struct kern_run r;
	struct kpkt p;
	uint32_t n, ran = 0;

	rnd = t_seed() + 1;
	if (!kw_open(&w, false))
		return;
	w.k.config->bulk_hold_ns = 0; /* what it holds back is a matter of time: test_reasons */
	for (n = 0; n < TX_PACKETS; n++) {
		struct __sk_buff skb = {0};
		bool gso = !pick(20);

		generate_tx(&p, n);
		if (p.len <
		    KP_ETH + (p.b[13] ? 40u : 20u)) /* BPF_PROG_TEST_RUN makes no such skb */
			continue;
		ran++;
		generate_state(true);
		generate_nat(true);
		tables_read(&before);
		memcpy(o.out, p.b, p.len);
		o.out_len = p.len;
		o.id = ref_tx_steps(p.b + KP_ETH, p.len - KP_ETH, gso, kern_now(), &o);
		skb.gso_size = gso ? 100 : 0;
		skb.gso_segs = gso ? 2 : 0;
		T_EQ(kern_run(&w.k, w.k.tun_out, p.b, p.len, &skb, sizeof(skb), &r), 0);
		counted[o.id]++;
		if (!same(&r, &o, &p, n) ||
		    !T_EQ(r.retval,
			  o.id == PS_R_TX_SENT ? TC_ACT_REDIRECT : (uint32_t)TC_ACT_UNSPEC))
			break;
		tables_read(&after);
		for (int i = 0; i < 12; i++)
			after.flow[i].last_ns = before.flow[i].last_ns;
		if (o.id == PS_R_TX_SENT) {
			if (!T_EQ(after.session[KW_SLOT].tx_counter,
				  before.session[KW_SLOT].tx_counter + 1))
				break;
		} else if (!T_MEM(&after, &before, sizeof(after))) {
			break;
		}
	}
	report("egress", ran, PS_R_TX_SENT, PS_R_RXDP_TO_PEER);
	T(ran > TX_PACKETS / 2);
	T(counted[PS_R_TX_SENT] > TX_PACKETS / 10);
	T(counted[PS_R_TX_NAT_BOUND] > 0);
	kern_close(&w.k);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_ingress);
	T_RUN(test_egress);
	return t_done();
}
