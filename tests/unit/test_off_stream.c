/* SPDX-License-Identifier: Apache-2.0
 *
 * Joining streams of many flows with everything irregular in them: the result splits into what went
 * in, byte for byte and in the order of each flow, and is joined exactly as the plain rules of a
 * model here say. */
#include "tests/unit/off_rig.h"

static size_t addresses(const struct item *p, const uint8_t **at)
{
	if (p->len >= 20 && p->b[0] >> 4 == 4)
		return *at = p->b + 12, 8;
	if (p->len >= 40 && p->b[0] >> 4 == 6)
		return *at = p->b + 8, 32;
	return 0;
}

/* Does the model see ports? */
static bool has_flow(const struct item *p)
{
	size_t plain = p->len && p->b[0] >> 4 == 4 ? 20 : 40;

	if (p->len < plain + 8)
		return false;
	if (plain == 20) {
		if (p->b[0] != 0x45 || be16_get(p->b + 2) != p->len || be16_get(p->b + 6) & 0x3fff)
			return false;
		return p->b[9] == 6 || p->b[9] == 17;
	}
	return p->b[0] >> 4 == 6 && be16_get(p->b + 4) + 40u == p->len &&
	       (p->b[6] == 6 || p->b[6] == 17);
}

static bool same_pair(const struct item *a, const struct item *b)
{
	const uint8_t *x = NULL, *y = NULL;
	size_t n = addresses(a, &x), m = addresses(b, &y);

	return n && n == m && !memcmp(x, y, n);
}

static bool same_flow(const struct item *a, const struct item *b)
{
	size_t l4 = a->b[0] >> 4 == 4 ? 20 : 40, proto = l4 == 20 ? 9 : 6;

	return has_flow(a) && has_flow(b) && same_pair(a, b) && a->b[proto] == b->b[proto] &&
	       !memcmp(a->b + l4, b->b + l4, 4);
}

/* Must b keep its place behind a? What is not even IP keeps it among all. */
static bool ordered(const struct item *a, const struct item *b)
{
	const uint8_t *at;

	if (!addresses(a, &at) || !addresses(b, &at))
		return true;
	if (has_flow(a) && has_flow(b))
		return same_flow(a, b);
	return same_pair(a, b);
}

static size_t header(const struct item *p)
{
	size_t l4 = p->b[0] >> 4 == 4 ? 20 : 40;

	return l4 + (p->b[l4 == 20 ? 9 : 6] == 6 ? (p->b[l4 + 12] >> 4) * 4u : 8);
}

/* The model: may a packet be part of any super-packet? */
static bool regular(const struct item *p)
{
	size_t l4 = p->b[0] >> 4 == 4 ? 20 : 40;
	struct ip_meta m;

	if (!has_flow(p) || ip_packet_parse(p->b, p->len, &m) || ip_csum_l4(p->b, &m))
		return false;
	if (l4 == 20 && (ip_csum(p->b, 20) || p->b[6] & 0x80))
		return false;
	if (m.l4 == IP_L4_UDP)
		return be16_get(p->b + l4 + 4) == p->len - l4 && p->len > l4 + 8 &&
		       be16_get(p->b + l4 + 6);
	return (m.tcp_flags == 16 || m.tcp_flags == 24) && p->len > header(p);
}

/* The model: may b be behind a in one super-packet, sizes and PSH aside? */
static bool continues(const struct item *a, const struct item *b)
{
	size_t h = header(a), l4 = a->b[0] >> 4 == 4 ? 20 : 40;
	uint8_t x[128], y[128];

	if (h != header(b))
		return false;
	memcpy(x, a->b, h), memcpy(y, b->b, h);
	if (l4 == 20) {
		if (!(x[6] & 0x40) && (uint16_t)(be16_get(x + 4) + 1) != be16_get(y + 4))
			return false;
		memset(x + 2, 0, 4), memset(y + 2, 0, 4), memset(x + 10, 0, 2),
			memset(y + 10, 0, 2);
	} else {
		memset(x + 4, 0, 2), memset(y + 4, 0, 2);
	}
	if (h == l4 + 8) {
		memset(x + l4 + 4, 0, 4), memset(y + l4 + 4, 0, 4);
	} else {
		if (be32_get(x + l4 + 4) + (uint32_t)(a->len - h) != be32_get(y + l4 + 4))
			return false;
		memset(x + l4 + 4, 0, 4), memset(y + l4 + 4, 0, 4);
		memset(x + l4 + 16, 0, 2), memset(y + l4 + 16, 0, 2);
		x[l4 + 13] &= (uint8_t)~8, y[l4 + 13] &= (uint8_t)~8;
	}
	return !memcmp(x, y, h);
}

static bool pushes(const struct item *p)
{
	size_t l4 = p->b[0] >> 4 == 4 ? 20 : 40;

	return p->b[l4 == 20 ? 9 : 6] == 6 && (p->b[l4 + 13] & 8);
}

/* For each packet the index of the one it continues, or -1; only for as many flows as are open. */
static int model_before(size_t i)
{
	size_t first, count = 1, len;

	for (size_t k = i; k-- > 0;) {
		if (!ordered(&in[k], &in[i]))
			continue;
		if (!same_flow(&in[k], &in[i]) || !regular(&in[i]) || !regular(&in[k]) ||
		    pushes(&in[k]) || !continues(&in[k], &in[i]))
			return -1;
		for (first = k, len = in[k].len; in[first].group; first = in[first].group - 1) {
			count++;
			len += in[in[first].group - 1].len - header(&in[k]);
		}
		if (in[k].len < in[first].len || in[i].len > in[first].len || count == 64 ||
		    len + in[i].len - header(&in[i]) > 65535)
			return -1;
		return (int)k;
	}
	return -1;
}

static bool used[N_MAX + 8];
static uint32_t group_of[N_MAX]; /* by place in in[], of its counterpart */

/* Nothing lost or invented, and the order of every flow, and of odd packets among all between their
 * addresses. */
static bool check_order(void)
{
	memset(used, 0, sizeof(used));
	for (size_t i = 0; i < n_in; i++) {
		size_t k = 0;

		/* what is before its counterpart and ordered with it must be used up by now */
		for (; k < n_out && (used[k] || !rig_same(&in[i], &out[k])); k++)
			if (!T(used[k] || !ordered(&out[k], &in[i])))
				return false;
		if (!T(k < n_out))
			return false;
		used[k] = true;
		group_of[i] = out[k].group;
	}
	return true;
}

/* The same super-packets as the model's. */
static void check_groups(void)
{
	for (size_t i = 0; i < n_in; i++) {
		if (in[i].group && !T(group_of[i] && group_of[i] == group_of[in[i].group - 1]))
			t_note("packet %zu is not joined with %u", i, in[i].group - 1);
		for (size_t k = 0; group_of[i] && !in[i].group && k < i; k++)
			T(group_of[k] != group_of[i]);
	}
}

static size_t flows_in(void)
{
	size_t n = 0;

	for (size_t i = 0; i < n_in; i++) {
		size_t k = 0;

		while (k < i && !same_flow(&in[k], &in[i]))
			k++;
		n += k == i && has_flow(&in[i]);
	}
	return n;
}

/* One packet of f, mostly a regular one. */
static void put_some(struct off_flow *f, uint64_t *r)
{
	struct off_flow one = *f;
	size_t n = t_rand(r) % 8 ? 700 : 1 + t_rand(r) % 1000, last = n_in;

	switch (t_rand(r) % 40) {
	case 0:
		one.flags |= (uint8_t)(1u << t_rand(r) % 8);
		break;
	case 1:
		one.flags |= 8;
		break;
	case 2:
		one.tos ^= (uint8_t)(1 + t_rand(r) % 3);
		break;
	case 3:
		f->ack++;
		break;
	case 4:
		f->win++;
		break;
	case 5:
		f->id = (uint16_t)t_rand(r);
		break;
	case 6:
		f->seq += 5;
		break;
	case 7:
		one.seq -= 700;
		break;
	case 8:
		n = 0;
		break;
	case 9:
		f->opt_fill ^= 1;
		break;
	case 10:
		f->df = !f->df;
		break;
	case 11:
		one.ttl ^= 1;
		break;
	default:
		break;
	}
	rig_more(&one, n);
	f->seq += (uint32_t)n;
	f->id++;
	switch (t_rand(r) % 50) {
	case 0:
		in[last].b[in[last].len - 1 - t_rand(r) % 20] ^= 1;
		break;
	case 1:
		in[last].b[10] ^= 1;
		break;
	case 2:
		if (f->family == 4)
			in[last].b[7] = 1, off_pkt_seal(in[last].b, in[last].len);
		else
			in[last].b[6] = 44;
		break;
	case 3:
		in[last].len -= 1 + t_rand(r) % 3;
		break;
	case 4:
		in[last].len = t_rand(r) % (in[last].len + 1);
		break;
	case 5:
		in[last].b[t_rand(r) % 60 % in[last].len] ^= (uint8_t)t_rand(r);
		break;
	default:
		break;
	}
}

static void stream(uint64_t *r, unsigned flows)
{
	struct off_flow f[40];
	unsigned burst = 1 + (unsigned)(t_rand(r) % 8), at = 0;

	for (unsigned i = 0; i < flows; i++) {
		f[i] = rig_flow(t_rand(r) % 2 ? 4 : 6, t_rand(r) % 3 ? 6 : 17);
		f[i].src = (uint8_t)(1 + i / 4); /* some between the same addresses */
		f[i].sport = (uint16_t)(i & 3);
		f[i].df = t_rand(r) % 2;
		f[i].opt_len = f[i].proto == 6 ? (uint8_t)(t_rand(r) % 4 * 4) : 0;
	}
	n_in = 0;
	for (size_t i = 0; i < N_MAX; i++) {
		if (t_rand(r) % burst == 0)
			at = (unsigned)(t_rand(r) % flows);
		put_some(&f[at], r);
	}
}

static void test_streams(void)
{
	size_t packets = 0, written = 0, modelled = 0;
	uint64_t r = t_seed();

	for (int round = 0; round < 400; round++) {
		stream(&r, 1 + (unsigned)(t_rand(&r) % (round % 2 ? 40 : 6)));
		for (size_t i = 0; i < n_in; i++)
			in[i].group = (uint32_t)(model_before(i) + 1);
		rig_run(true, true);
		packets += n_in;
		written += n_super;
		if (!check_order() || flows_in() > OFF_JOIN_OPEN)
			continue;
		check_groups();
		modelled++;
	}
	t_note("packets=%zu written=%zu modelled=%zu", packets, written, modelled);
	T(written < packets * 8 / 10);
	T(modelled > 50);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	rig_fill();
	T_RUN(test_streams);
	return t_done();
}
