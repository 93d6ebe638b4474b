/* SPDX-License-Identifier: Apache-2.0
 * Congestion marks at the tunnel's end: RFC 6040's figure 4, all sixteen of it, through the
 * kernel's program and through what user space does, which must agree to the byte; and at its
 * beginning, where the outer header copies the inner one's. */
#include <linux/pkt_cls.h>
#include "codec/ip_packet.h"
#include "tests/bpf/kworld.h"

enum { NOT, ECT1, ECT0, CE, DROP };

/* By inner field, then outer. */
static const uint8_t arriving[4][4] = {
	[NOT] = {[NOT] = NOT, [ECT1] = NOT, [ECT0] = NOT, [CE] = DROP},
	[ECT1] = {[NOT] = ECT1, [ECT1] = ECT1, [ECT0] = ECT1, [CE] = CE},
	[ECT0] = {[NOT] = ECT0, [ECT1] = ECT1, [ECT0] = ECT0, [CE] = CE},
	[CE] = {[NOT] = CE, [ECT1] = CE, [ECT0] = CE, [CE] = CE},
};

static struct kworld w;

static uint8_t ecn_of(const uint8_t *ip)
{
	return (ip[0] >> 4 == 4 ? ip[1] : ip[1] >> 4) & 3;
}

static void in_one(int outer, int family, uint8_t ecn_in, uint8_t ecn_out)
{
	/* a differentiated service that must stay */
	struct kouter o = {.family = outer, .dport = KP_OUR_PORT, .tos = ecn_out};
	struct kinner in = kw_inner(family, 17, 33);
	uint8_t want = arriving[ecn_in][ecn_out], text[256];
	const uint8_t *out;
	static struct kern_run r;
	struct kpkt p = {0};
	struct ip_meta m;
	size_t len;
	bool ok;

	in.tos = (uint8_t)(0xb8 | ecn_in);
	len = kp_inner(text, &in);
	kw_seal(&w, &p, &o, text, len);
	if (!T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0) ||
	    !T_EQ(ip_packet_parse(text, len, &m), 0))
		return;
	ok = T_EQ(ip_packet_merge_ecn(text, &m, ecn_out), want != DROP);
	ok &= T_EQ(r.id, want == DROP ? PS_R_XDP_ECN : PS_R_XDP_DELIVERED);
	if (want == DROP) {
		ok &= T_EQ(r.retval, XDP_DROP);
	} else {
		out = r.out + r.out_len - len;
		ok &= T_EQ(ecn_of(text), want) && T_EQ(ecn_of(out), want);
		ok &= T_MEM(out, text, len);
		ok &= T(family == 6 || ip_csum(text, 20) == 0);
		ok &= T_EQ(family == 4 ? text[1] & 0xfc : (text[0] << 4 | text[1] >> 4) & 0xfc,
			   0xb8);
	}
	if (!ok)
		t_note("IPv%d in IPv%d, inner %d, outer %d", family, outer, ecn_in, ecn_out);
}

static void test_in(void)
{
	if (!kw_open(&w, false))
		return;
	for (int i = 0; i < 64; i++)
		in_one(i & 16 ? 6 : 4, i & 32 ? 6 : 4, i & 3, i >> 2 & 3);
	kern_close(&w.k);
}

static void test_out(void)
{
	static struct kern_run r;

	if (!kw_open(&w, false))
		return;
	for (int i = 0; i < 16; i++) {
		struct kinner in = kw_inner_back(i & 4 ? 6 : 4, 17, 33);
		int outer = i & 8 ? 6 : 4;
		uint8_t p[512] = {0};
		struct __sk_buff skb = {0};
		size_t len;

		kw_reset(&w, outer);
		in.tos = (uint8_t)(0xb8 | (i & 3));
		len = KP_ETH + kp_inner(p + KP_ETH, &in);
		kp_be16(p + 12, in.family == 4 ? 0x0800 : 0x86dd);
		if (!T_EQ(kern_run(&w.k, w.k.tun_out, p, len, &skb, sizeof(skb), &r), 0) ||
		    !T_EQ(r.id, PS_R_TX_SENT))
			continue;
		/* the mark, and nothing else: the service inside is nobody's business */
		T_EQ(outer == 4 ? r.out[KP_ETH + 1]
				: (r.out[KP_ETH] << 4 & 0xf0) | r.out[KP_ETH + 1] >> 4,
		     i & 3);
	}
	kern_close(&w.k);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_in);
	T_RUN(test_out);
	return t_done();
}
