/* SPDX-License-Identifier: Apache-2.0
 * The cipher of the kernel programs against libsodium: every length, both directions, every
 * tampered byte; in both objects. */
#include "tests/bpf/kworld.h"

static struct kworld w;

/* The receive program's scratch buffer of the CPU that ran the test. */
static bool scratch_holds(const uint8_t *text, size_t len)
{
	int fd = kern_fd(&w.k, "ps_scratch");
	struct bpf_map *map = bpf_object__find_map_by_name(w.k.obj, "ps_scratch");
	size_t each = (bpf_map__value_size(map) + 7) & ~7u;
	uint8_t *all = calloc((size_t)w.k.cpus, each);
	uint32_t rx = 0;
	bool found = false;

	if (all && !bpf_map_lookup_elem(fd, &rx, all)) {
		for (int c = 0; c < w.k.cpus && !found; c++)
			found = !memcmp(all + (size_t)c * each + 96, text, len);
	}
	free(all);
	return found;
}

/* Any text decrypts; one that is no IP packet is then passed on, so the plaintext stays in scratch.
 */
static void open_all_lengths(bool plain)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	uint64_t seed = t_seed();
	uint8_t text[PS_INNER_MAX];
	struct kern_run r;
	struct kpkt p;

	if (!kw_open(&w, plain))
		return;
	for (size_t len = 1; len <= PS_INNER_MAX; len++) {
		for (size_t i = 0; i < len; i++)
			text[i] = (uint8_t)t_rand(&seed);
		text[0] = 0x10; /* neither version */
		kw_seal(&w, &p, &o, text, len);
		T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0);
		if (!T_EQ(r.id, PS_R_XDP_INNER_MALFORMED) || !T(scratch_holds(text, len))) {
			t_note("length %zu", len);
			break;
		}
	}
	kern_close(&w.k);
}

static void test_open(void)
{
	open_all_lengths(false);
}

static void test_open_plain(void)
{
	open_all_lengths(true);
}

/* Strip and check what ps_tun_out made of the len bytes at inner; 1 when libsodium opens it to the
 * same. */
static bool sent_is(const struct kern_run *r, int outer, const uint8_t *inner, size_t len)
{
	size_t ip_len = outer == 4 ? 20 : 40, head = KP_ETH + ip_len + 8 + KP_WG;
	unsigned long long got_len = 0;
	const uint8_t *ip = r->out + KP_ETH;
	uint8_t nonce[12] = {0}, got[2048];
	bool ok = T_EQ(r->out_len, head + len + KP_TAG);

	if (!ok)
		return false;
	memcpy(nonce + 4, r->out + head - 8, 8);
	ok = T_EQ(crypto_aead_chacha20poly1305_ietf_decrypt(got, &got_len, NULL, r->out + head,
							    len + KP_TAG, NULL, 0, nonce,
							    w.send_key),
		  0);
	ok &= T_EQ(got_len, len) && T_MEM(got, inner, len);
	ok &= T_EQ(r->out[head - KP_WG], 4) && T_EQ(r->out[head - 12], KW_FAR & 0xff);
	ok &= T_EQ(ip[ip_len + 4] << 8 | ip[ip_len + 5], r->out_len - KP_ETH - ip_len);
	ok &= T_EQ(kp_sum(ip + ip_len, r->out_len - KP_ETH - ip_len,
			  kp_pseudo(outer, outer == 4 ? kw_local4 : kw_local6,
				    outer == 4 ? kw_remote4 : kw_remote6, 17,
				    r->out_len - KP_ETH - ip_len)),
		   0xffff);
	if (outer == 4)
		ok &= T_EQ(kp_sum(ip, 20, 0), 0xffff) && T_EQ(ip[6], 0x40) && T_EQ(ip[8], 64);
	else
		ok &= T_EQ(ip[0] >> 4, 6) && T_EQ(ip[7], 64);
	ok &= T_EQ(r->out[12] << 8 | r->out[13], outer == 4 ? 0x0800 : 0x86dd);
	return ok;
}

static void seal_all_lengths(bool plain, int outer)
{
	static const int protos[3] = {17, 6, 1};
	uint8_t frame[2048] = {0};
	struct kern_run r;

	if (!kw_open(&w, plain))
		return;
	kw_reset(&w, outer);
	for (size_t len = 28; len <= PS_INNER_MAX; len++) {
		int family = len >= 60 && len & 1 ? 6 : 4, proto = protos[len % 3];
		size_t head = (family == 4 ? 20u : 40u) + (proto == 6 ? 20 : 8);
		struct kinner in;

		if (proto == 1 && family == 6)
			proto = 58;
		if (len < head || (w.k.plain && family != outer))
			continue;
		in = kw_inner_back(family, proto, len - head);
		in.tos = (uint8_t)(len & 3);
		kp_be16(frame + 12, family == 4 ? 0x0800 : 0x86dd);
		kp_inner(frame + KP_ETH, &in);
		T_EQ(kern_run(&w.k, w.k.tun_out, frame, KP_ETH + len, NULL, 0, &r), 0);
		if (!T_EQ(r.id, PS_R_TX_SENT) || !sent_is(&r, outer, frame + KP_ETH, len)) {
			t_note("length %zu family %d proto %d: %s", len, family, proto,
			       r.id < PS_R_COUNT ? kern_reason_name[r.id] : "?");
			break;
		}
		T_EQ((outer == 4 ? r.out[15] : r.out[15] >> 4) & 3, len & 3);
	}
	T(w.k.session[KW_SLOT].tx_counter > 700);
	kern_close(&w.k);
}

static void test_seal_v4(void)
{
	seal_all_lengths(false, 4);
}

static void test_seal_v6(void)
{
	seal_all_lengths(false, 6);
}

static void test_seal_plain(void)
{
	seal_all_lengths(true, 4);
}

/* One flipped bit anywhere from the counter on is a wrong tag, and the window stays as it was. */
static void test_tamper(void)
{
	struct kinner in = kw_inner(4, 17, 100);
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct ps_replay before;
	struct kern_run r;
	uint8_t text[256];
	struct kpkt p;
	size_t len;

	if (!kw_open(&w, false))
		return;
	len = kp_inner(text, &in);
	kw_seal(&w, &p, &o, text, len);
	before = w.k.replay[KW_SLOT];
	for (size_t at = kp_outer_len(&o) + 8; at < p.len; at++) {
		uint8_t bit = (uint8_t)(1u << (at & 7));

		if (at == kp_outer_len(&o) + 13 || at == kp_outer_len(&o) + 14 ||
		    at == kp_outer_len(&o) + 15)
			continue; /* a counter beyond the limit is a replay, not a wrong tag */
		p.b[at] ^= bit;
		T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0);
		p.b[at] ^= bit;
		T_EQ(r.retval, 1); /* XDP_DROP */
		if (!T_EQ(r.id, PS_R_XDP_BAD_TAG)) {
			t_note("byte %zu: %s", at,
			       r.id < PS_R_COUNT ? kern_reason_name[r.id] : "?");
			break;
		}
	}
	T_MEM(&w.k.replay[KW_SLOT], &before, sizeof(before));
	T_EQ(kern_run(&w.k, w.k.wan_rx, p.b, p.len, NULL, 0, &r), 0);
	T_EQ(r.id, PS_R_XDP_DELIVERED);
	kern_close(&w.k);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_open);
	T_RUN(test_open_plain);
	T_RUN(test_seal_v4);
	T_RUN(test_seal_v6);
	T_RUN(test_seal_plain);
	T_RUN(test_tamper);
	return t_done();
}
