/* SPDX-License-Identifier: Apache-2.0
 * Translated flows in the kernel programs, both directions, families and path families, TCP, UDP
 * with and without a checksum, and ICMP echo: what leaves is byte for byte what plan/nat.h makes of
 * the packet natively, and what a host that had that address and port would have sent, checksums by
 * a plain sum of its own. */
#include <linux/pkt_cls.h>
#include "tests/bpf/kworld.h"
#include "plan/nat.h"

#define PACKETS 3000

static struct kworld w;
static uint64_t rnd;

static uint32_t pick(uint32_t n)
{
	return (uint32_t)(t_rand(&rnd) % n);
}

struct sample {
	struct kinner in;
	struct ps_nat to;
	uint8_t text[2048]; /* the packet, and as it is to become */
	uint8_t want[2048];
	size_t len;
	bool bound;   /* user space's */
	bool damaged; /* its checksum was wrong to begin with */
	bool no_sum;
};

static size_t l4_of(const struct sample *s)
{
	return s->in.family == 4 ? 20 : 40;
}

static size_t sum_field(const struct sample *s)
{
	return l4_of(s) + (s->in.proto == 6 ? 16u : s->in.proto == 17 ? 6u : 2u);
}

/* The packet as a host with those names would have sent it; the sum is made anew. */
static void rebuild(struct sample *s, bool tx)
{
	size_t l4 = l4_of(s), field = sum_field(s), at = s->in.family == 4 ? 12 : 8;
	size_t n = s->in.family == 4 ? 4 : 16;
	bool echo = s->in.proto == 1 || s->in.proto == 58;
	uint8_t *p = s->want;
	uint32_t sum = 0;

	memcpy(p, s->text, s->len);
	memcpy(p + at + (tx ? 0 : n), s->to.addr, n);
	memcpy(p + l4 + (echo ? 4 : tx ? 2 : 0), &s->to.port, 2);
	if (s->in.family == 4) {
		kp_be16(p + 10, 0);
		kp_be16(p + 10, kp_csum(p, 20, 0));
	}
	if (s->no_sum)
		return;
	kp_be16(p + field, 0);
	if (s->in.proto != 1)
		sum = kp_pseudo(s->in.family, p + at, p + at + n, s->in.proto, s->len - l4);
	sum = kp_csum(p + l4, s->len - l4, sum);
	kp_be16(p + field, sum || s->in.proto != 17 ? sum : 0xffff);
}

static void sample_make(struct sample *s, bool tx, uint32_t n)
{
	static const uint8_t flags[] = {0x10, 0x18, 0x18, 0x30, 0x11, 0x02, 0x14};
	int family = n & 1 ? 4 : 6, proto = (int[]){6, 17, family == 4 ? 1 : 58}[n / 2 % 3];
	size_t payload = pick(4) ? pick(300) : pick(1400);
	uint8_t native[2048];
	struct ps_inner parsed;

	memset(s, 0, sizeof(*s));
	s->in = tx ? kw_inner_back(family, proto, payload) : kw_inner(family, proto, payload);
	s->in.tos = (uint8_t)pick(256);
	s->to.on = 1;
	s->to.port = (__be16)t_rand(&rnd);
	for (int i = 0; i < (family == 4 ? 4 : 16); i++)
		s->to.addr[i] = (uint8_t)(1 + pick(255));
	s->len = kp_inner(s->text, &s->in);
	if (proto == 6) {
		uint8_t *f = s->text + l4_of(s) + 13;

		*f = flags[pick(sizeof(flags))];
		s->bound = *f & 7;
		kp_be16(s->text + sum_field(s), 0);
		kp_be16(s->text + sum_field(s),
			kp_csum(s->text + l4_of(s), s->len - l4_of(s),
				kp_pseudo(family, s->in.saddr, s->in.daddr, 6, s->len - l4_of(s))));
	}
	if (proto == 17 && !pick(4)) {
		kp_be16(s->text + sum_field(s), 0);
		s->no_sum = true;
	}
	if ((proto == 1 || proto == 58) && pick(2)) /* a reply: the sum follows by the difference */
		s->text[l4_of(s)] = family == 4 ? 0 : 129;
	rebuild(s, tx);
	if (proto == 1 || proto == 58) { /* right again before, as it is after */
		uint32_t sum = proto == 58 ? kp_pseudo(6, s->in.saddr, s->in.daddr, 58,
						       s->len - l4_of(s))
					   : 0;

		kp_be16(s->text + sum_field(s), 0);
		kp_be16(s->text + sum_field(s),
			kp_csum(s->text + l4_of(s), s->len - l4_of(s), sum));
	}
	memcpy(native, s->text, s->len);
	T_EQ(ps_inner_parse(native, native + s->len, &parsed), PS_INNER_FLOW);
	ps_nat_apply(native, &parsed.ip, tx ? PS_NAT_FROM : PS_NAT_TO, &s->to);
	T_MEM(native, s->want, s->len);
	if (!pick(10)) { /* a damaged one stays damaged: only the native answer is known */
		size_t at = sum_field(s) + pick(2);

		s->text[at] ^= (uint8_t)(1u << pick(8));
		s->damaged = true;
		memcpy(s->want, s->text, s->len);
		ps_nat_apply(s->want, &parsed.ip, tx ? PS_NAT_FROM : PS_NAT_TO, &s->to);
	}
}

static uint32_t kinds[2][8];

static void count(const struct sample *s, bool tx)
{
	int proto = s->in.proto == 6 ? 0 : s->in.proto == 17 ? (s->no_sum ? 3 : 1) : 2;

	kinds[tx][proto + (s->in.family == 6 ? 4 : 0)]++;
}

static bool report(bool tx)
{
	static const char *const names[] = {"tcp4", "udp4", "icmp4", "udp4 without sum",
					    "tcp6", "udp6", "icmp6", "udp6 without sum"};
	bool ok = true;

	for (int i = 0; i < 8; i++) {
		t_note("%s %s: %u", tx ? "from the resource" : "to the resource", names[i],
		       kinds[tx][i]);
		ok &= T(kinds[tx][i] > 50);
	}
	return ok;
}

static void ingress(bool plain)
{
	static struct kern_run r;
	static struct sample s;
	uint32_t n;

	memset(kinds, 0, sizeof(kinds));
	rnd = t_seed();
	if (!kw_open(&w, plain))
		return;
	for (n = 0; n < PACKETS; n++) {
		struct kouter o = {.family = pick(2) ? 4 : 6,
				   .dport = KP_OUR_PORT,
				   .channel = pick(2) ? KW_CHANNEL : 0};
		struct kpkt p;
		bool ok;

		sample_make(&s, false, n);
		kw_flow_nat(&w, w.k.flow_in, &s.in, s.to.addr, s.to.port);
		kw_seal(&w, &p, &o, s.text, s.len);
		T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0);
		if (s.bound) {
			ok = T_EQ(r.id, PS_R_XDP_NAT_BOUND) && T_EQ(r.out_len, p.len) &&
			     T_MEM(r.out, p.b, p.len);
			w.next_counter--; /* it was not taken */
		} else {
			ok = T_EQ(r.id, PS_R_XDP_DELIVERED) && T_EQ(r.out_len, 22 + s.len) &&
			     T_MEM(r.out + 22, s.want, s.len);
			count(&s, false);
		}
		if (!ok) {
			t_note("packet %u", n);
			break;
		}
	}
	T_EQ(n, PACKETS);
	report(false);
	kern_close(&w.k);
}

static size_t opened(const uint8_t *frame, size_t len, int outer, bool channel, uint8_t *text)
{
	size_t head = KP_ETH + (outer == 4 ? 28u : 48u) + (channel ? 4u : 0u) + KP_WG;
	unsigned long long got = 0;
	uint8_t nonce[12] = {0};

	memcpy(nonce + 4, frame + head - 8, 8);
	T_EQ(crypto_aead_chacha20poly1305_ietf_decrypt(text, &got, NULL, frame + head, len - head,
						       NULL, 0, nonce, w.send_key),
	     0);
	return (size_t)got;
}

static void egress(bool plain)
{
	static uint8_t text[2048];
	static struct kern_run r;
	static struct sample s;
	uint32_t n;

	memset(kinds, 0, sizeof(kinds));
	rnd = t_seed() + 1;
	if (!kw_open(&w, plain))
		return;
	for (n = 0; n < PACKETS; n++) {
		struct ps_peer *peer = &w.k.peer[KW_PEER];
		struct kpkt p = {0};
		bool ok;

		sample_make(&s, true, n);
		peer->path_family = (uint8_t)(w.k.plain ? s.in.family : pick(2) ? 4 : 6);
		peer->path_channel = pick(2) ? __builtin_bswap16(KW_CHANNEL) : 0;
		memcpy(peer->path_local, peer->path_family == 4 ? kw_local4 : kw_local6, 16);
		memcpy(peer->path_remote, peer->path_family == 4 ? kw_remote4 : kw_remote6, 16);
		kw_flow_nat(&w, w.k.flow_out, &s.in, s.to.addr, s.to.port);
		kp_be16(p.b + 12, s.in.family == 4 ? 0x0800 : 0x86dd);
		memcpy(p.b + KP_ETH, s.text, s.len);
		p.len = KP_ETH + s.len;
		T_EQ(kern_run(&w.k, w.k.tun_out, p.b, p.len, NULL, 0, &r), 0);
		if (s.bound) {
			ok = T_EQ(r.id, PS_R_TX_NAT_BOUND) && T_EQ(r.out_len, p.len) &&
			     T_MEM(r.out, p.b, p.len);
		} else {
			ok = T_EQ(r.id, PS_R_TX_SENT) && T_EQ(r.retval, TC_ACT_REDIRECT) &&
			     T_EQ(opened(r.out, r.out_len, peer->path_family,
					 peer->path_channel != 0, text),
				  s.len) &&
			     T_MEM(text, s.want, s.len);
			count(&s, true);
		}
		if (!ok) {
			t_note("packet %u", n);
			break;
		}
	}
	T_EQ(n, PACKETS);
	report(true);
	kern_close(&w.k);
}

static void test_ingress(void)
{
	ingress(false);
}

static void test_egress(void)
{
	egress(false);
}

static void test_ingress_plain(void)
{
	ingress(true);
}

static void test_egress_plain(void)
{
	egress(true);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_ingress);
	T_RUN(test_egress);
	T_RUN(test_ingress_plain);
	T_RUN(test_egress_plain);
	return t_done();
}
