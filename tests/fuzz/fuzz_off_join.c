/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile packets out of a tunnel, one after the other: two bytes of length, whose upper four bits
 * say what is made right before (1: IP and transport lengths and checksums; 2: the packet is the
 * one before, continued), then the packet. Checked besides memory safety: what was handed out
 * splits into the packets that went in, all of them, none twice. */
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "codec/ip_packet.h"
#include "fwd/off_join.h"
#include "fwd/off_split.h"
#include "tests/off_pkt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PKTS 64

struct one {
	uint8_t *work, want[2048];
	size_t len;
	bool seen;
};

static struct one in[PKTS];
static size_t n_in;
static struct off_join join;

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* An id means nothing where DF is set. */
static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
	bool v4 = len >= 20 && a[0] == 0x45 && b[0] == 0x45 && (a[6] & b[6] & 0x40);

	if (!v4)
		return !memcmp(a, b, len);
	return !memcmp(a, b, 4) && !memcmp(a + 6, b + 6, 4) && !memcmp(a + 12, b + 12, len - 12);
}

static void went_in(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < n_in; i++)
		if (!in[i].seen && in[i].len == len && same(in[i].want, p, len)) {
			in[i].seen = true;
			return;
		}
	abort();
}

static void take(const struct off_super *s)
{
	static uint8_t whole[OFF_SUPER_MAX], one[2048];
	size_t len = 0, n;
	struct off_split sp;

	for (uint32_t i = 0; i < s->vecs; i++)
		len += s->vec[i].len;
	require(len == s->len && len <= OFF_SUPER_MAX && s->vecs <= OFF_SEGS_MAX);
	off_pkt_gather(s, whole);
	if (s->gso.kind == OFF_NONE) {
		require(s->packets == 1);
		went_in(whole, len);
		return;
	}
	require(!off_split_begin(&sp, whole, len, &s->gso) && sp.count == s->packets);
	while ((n = off_split_next(&sp, one, sizeof(one))))
		went_in(one, n);
}

static void drain(void)
{
	const struct off_super *s;

	while ((s = off_join_next(&join)))
		take(s);
}

static void make_right(uint8_t *p, size_t len)
{
	size_t l4 = p[0] >> 4 == 4 ? 20 : 40;

	if (len < l4 + 8)
		return;
	p[0] = l4 == 20 ? 0x45 : 0x60;
	be16_put(p + (l4 == 20 ? 2 : 4), (uint16_t)(l4 == 20 ? len : len - 40));
	if (p[l4 == 20 ? 9 : 6] == IP_PROTO_UDP)
		be16_put(p + l4 + 4, (uint16_t)(len - l4));
	off_pkt_seal(p, len);
}

static size_t continued(uint8_t *p, const struct one *before)
{
	size_t len = before->len, l4 = before->want[0] >> 4 == 4 ? 20 : 40;
	struct ip_meta m;

	memcpy(p, before->want, len);
	if (ip_packet_parse(p, len, &m))
		return len;
	if (l4 == 20)
		be16_put(p + 4, (uint16_t)(be16_get(p + 4) + 1));
	if (m.l4 == IP_L4_TCP)
		be32_put(p + m.l4_off + 4, m.tcp_seq + (uint32_t)(m.total_len - m.l4_off -
								  (p[m.l4_off + 12] >> 4) * 4));
	off_pkt_seal(p, len);
	return len;
}

static void add(const uint8_t *p, size_t len, unsigned how)
{
	struct one *o = &in[n_in];

	memcpy(o->want, p, len);
	o->len = len;
	if ((how & 2) && n_in)
		o->len = continued(o->want, &in[n_in - 1]);
	if (how & 1)
		make_right(o->want, o->len);
	o->seen = false;
	o->work = malloc(o->len + 1);
	require(o->work != NULL);
	memcpy(o->work, o->want, o->len);
	n_in++;
	require(off_join_add(&join, o->work, o->len));
	drain();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rbuf r = rbuf_init(data, size);

	n_in = 0;
	off_join_init(&join, true, true);
	while (rbuf_left(&r) >= 2 && n_in < PKTS) {
		uint16_t word = rbuf_be16(&r);
		size_t len = word & 0x7ff;

		len = len < rbuf_left(&r) ? len : rbuf_left(&r);
		add(rbuf_take(&r, len), len, word >> 12);
	}
	off_join_flush(&join);
	drain();
	for (size_t i = 0; i < n_in; i++) {
		require(in[i].seen);
		free(in[i].work);
	}
	return 0;
}
