/* SPDX-License-Identifier: Apache-2.0
 *
 * A slot is a super-packet being made. A packet is looked at once (look), finds the slot of its
 * flow, and either continues it or ends it; what ends goes to the queue at once, so the order of
 * each flow is the order of the queue. The contract is in off_join.h. */
#include "fwd/off_join.h"
#include <string.h>
#include "base/bytes.h"
#include "base/csum.h"

#define NO_SLOT OFF_JOIN_SLOTS

enum { PROTO_TCP = 6, PROTO_UDP = 17 };
enum { TCP_ACK = 16, TCP_PSH = 8 };
#define IP4_DF		0x40
#define IP4_RESERVED	0x80
#define IP4_MORE_OFFSET 0x3fff /* any of these: a fragment */

/* A packet as joining sees it. */
struct look {
	uint8_t *pkt;
	size_t len;
	uint16_t l4_off, hdr_len;
	uint16_t payload;
	uint8_t family, proto; /* proto 0: ports unknown, family 0: not even addresses */
	bool joinable;
	bool last; /* PSH */
};

/* ---- looking at a packet ---- */

static void look_ip(struct look *l)
{
	const uint8_t *p = l->pkt;

	if (l->len >= 20 && p[0] >> 4 == 4) {
		l->family = 4;
		l->l4_off = 20;
		if (p[0] == 0x45 && be16_get(p + 2) == l->len &&
		    !(be16_get(p + 6) & IP4_MORE_OFFSET))
			l->proto = p[9];
	} else if (l->len >= 40 && p[0] >> 4 == 6) {
		l->family = 6;
		l->l4_off = 40;
		if (be16_get(p + 4) + 40u == l->len)
			l->proto = p[6];
	}
	if ((l->proto != PROTO_TCP && l->proto != PROTO_UDP) || l->len < l->l4_off + 8u)
		l->proto = 0;
}

/* 0xffff is no checksum anybody computes: written anew it would be 0. */
static bool ip_header_right(const struct look *l)
{
	if (l->family == 6)
		return true;
	return !(l->pkt[6] & IP4_RESERVED) && be16_get(l->pkt + 10) != 0xffff &&
	       csum_fold(csum_add_words(0, l->pkt, 5)) == 0xffff;
}

static bool look_tcp(struct look *l)
{
	const uint8_t *t = l->pkt + l->l4_off;
	size_t hdr = l->len >= l->l4_off + 20u ? l->l4_off + (t[12] >> 4) * 4u : 0;

	if (hdr < l->l4_off + 20u || hdr >= l->len || (t[13] & ~TCP_PSH) != TCP_ACK ||
	    be16_get(t + 16) == 0xffff)
		return false;
	l->hdr_len = (uint16_t)hdr;
	l->last = t[13] & TCP_PSH;
	return true;
}

static bool look_udp(struct look *l)
{
	const uint8_t *u = l->pkt + l->l4_off;

	l->hdr_len = (uint16_t)(l->l4_off + 8);
	return be16_get(u + 4) == l->len - l->l4_off && l->len > l->hdr_len && be16_get(u + 6);
}

static struct look look(const struct off_join *j, uint8_t *pkt, size_t len)
{
	struct look l = {.pkt = pkt, .len = len};

	look_ip(&l);
	if (len > OFF_SUPER_MAX || !l.proto)
		return l;
	if (l.proto == PROTO_TCP)
		l.joinable = j->tcp && look_tcp(&l);
	else
		l.joinable = j->udp && look_udp(&l);
	l.joinable = l.joinable && ip_header_right(&l);
	l.payload = (uint16_t)(len - l.hdr_len);
	return l;
}

/* ---- checksums ---- */

static uint64_t pseudo_sum(const uint8_t *pkt, uint16_t l4_off, size_t l4_len)
{
	uint64_t sum = l4_off == 20 ? csum_add_words(0, pkt + 12, 2)
				    : csum_add_words(0, pkt + 8, 8);

	sum = csum_add16(sum, pkt[l4_off == 20 ? 9 : 6]);
	return csum_add16(sum, (uint16_t)l4_len);
}

static bool verifies(const uint8_t *pkt, uint16_t l4_off, size_t len)
{
	uint64_t sum = pseudo_sum(pkt, l4_off, len - l4_off);

	return csum_fold(csum_add(sum, pkt + l4_off, len - l4_off)) == 0xffff;
}

/* ---- flows ---- */

static uint32_t flow_hash(const struct look *l)
{
	const uint8_t *p = l->pkt;
	uint64_t h = (uint64_t)l->proto << 32 | le32_get(p + l->l4_off);

	if (l->family == 4) {
		h = (h ^ le64_get(p + 12)) * 0x9e3779b97f4a7c15;
	} else {
		h = (h ^ le64_get(p + 8)) * 0x9e3779b97f4a7c15;
		h = ((h >> 29 ^ h) + le64_get(p + 16)) * 0xbf58476d1ce4e5b9;
		h = ((h >> 29 ^ h) + le64_get(p + 24)) * 0x94d049bb133111eb;
		h = ((h >> 29 ^ h) + le64_get(p + 32)) * 0x9e3779b97f4a7c15;
	}
	return (uint32_t)(h >> 32);
}

static bool same_addresses(const struct look *l, const uint8_t *head)
{
	if (l->pkt[0] >> 4 != head[0] >> 4)
		return false;
	return l->family == 4 ? !memcmp(l->pkt + 12, head + 12, 8)
			      : !memcmp(l->pkt + 8, head + 8, 32);
}

/* Among open slots, whose headers are of the plain kind. */
static bool same_flow(const struct look *l, const uint8_t *head)
{
	size_t proto = l->family == 4 ? 9 : 6;

	return same_addresses(l, head) && l->pkt[proto] == head[proto] &&
	       !memcmp(l->pkt + l->l4_off, head + l->l4_off, 4);
}

static uint32_t find(const struct off_join *j, const struct look *l, uint32_t hash)
{
	for (uint32_t m = j->open; m; m &= m - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(m);

		if (j->hash[i] == hash && same_flow(l, j->slot[i].head))
			return i;
	}
	return NO_SLOT;
}

/* ---- slots ---- */

/* The first packet's header becomes the super-packet's. */
static void finish(struct off_slot *o)
{
	uint8_t *p = o->head, *l4 = p + o->l4_off;
	bool tcp = p[o->l4_off == 20 ? 9 : 6] == PROTO_TCP;
	uint16_t field = tcp ? 16 : 6;
	size_t l4_len = o->s.len - o->l4_off;

	if (o->l4_off == 20) {
		be16_put(p + 2, (uint16_t)o->s.len);
		be16_put(p + 10, 0);
		csum_put(p + 10, (uint16_t)~csum_fold(csum_add(0, p, 20)));
	} else {
		be16_put(p + 4, (uint16_t)l4_len);
	}
	if (!tcp)
		be16_put(l4 + 4, (uint16_t)l4_len);
	csum_put(l4 + field, csum_fold(pseudo_sum(p, o->l4_off, l4_len)));
	o->s.gso = (struct off_gso){.kind = tcp ? OFF_TCP : OFF_UDP,
				    .csum = true,
				    .hdr_len = o->hdr_len,
				    .size = o->size,
				    .csum_start = o->l4_off,
				    .csum_off = field};
}

static void end(struct off_join *j, uint32_t i)
{
	j->open &= ~(1u << i);
	j->queue[j->queue_len++] = (uint8_t)i;
	if (j->slot[i].s.packets > 1)
		finish(&j->slot[i]);
}

static uint32_t oldest(const struct off_join *j)
{
	uint32_t best = NO_SLOT;

	for (uint32_t m = j->open; m; m &= m - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(m);

		if (best == NO_SLOT || (int32_t)(j->age[i] - j->age[best]) < 0)
			best = i;
	}
	return best;
}

/* A slot with one packet. There is a free one: at most OFF_JOIN_OPEN are open when a packet comes.
 */
static uint32_t begin(struct off_join *j, const struct look *l)
{
	uint32_t i = (uint32_t)__builtin_ctz(~j->busy);
	struct off_slot *o = &j->slot[i];

	j->busy |= 1u << i;
	o->s.gso = (struct off_gso){0};
	o->s.packets = o->s.vecs = 1;
	o->s.bytes = o->s.len = (uint32_t)l->len;
	o->s.vec[0] = (struct off_vec){l->pkt, l->len};
	return i;
}

static void alone(struct off_join *j, const struct look *l)
{
	end(j, begin(j, l));
}

static void open_slot(struct off_join *j, const struct look *l, uint32_t hash)
{
	struct off_slot *o;
	uint32_t i;

	if (__builtin_popcount(j->open) == OFF_JOIN_OPEN)
		end(j, oldest(j));
	i = begin(j, l);
	o = &j->slot[i];
	o->head = l->pkt;
	o->l4_off = l->l4_off;
	o->hdr_len = l->hdr_len;
	o->size = l->payload;
	o->verified = false;
	o->seq = l->proto == PROTO_TCP ? be32_get(l->pkt + l->l4_off + 4) + l->payload : 0;
	o->id = (uint16_t)(be16_get(l->pkt + 4) + 1);
	j->hash[i] = hash;
	j->age[i] = j->born++;
	j->open |= 1u << i;
}

/* ---- does a packet continue a slot? ---- */

static bool ip_continues(const struct off_slot *o, const struct look *l)
{
	const uint8_t *a = o->head, *b = l->pkt;

	if (l->family == 6)
		return !memcmp(a, b, 4) && a[7] == b[7];
	return a[1] == b[1] && a[6] == b[6] && a[8] == b[8] &&
	       ((b[6] & IP4_DF) || be16_get(b + 4) == o->id);
}

static bool tcp_continues(const struct off_slot *o, const struct look *l)
{
	const uint8_t *a = o->head + o->l4_off, *b = l->pkt + l->l4_off;

	return be32_get(b + 4) == o->seq && !memcmp(a + 8, b + 8, 5) &&
	       !memcmp(a + 14, b + 14, 2) &&
	       !memcmp(a + 18, b + 18, (size_t)l->hdr_len - l->l4_off - 18);
}

static bool continues(struct off_slot *o, const struct look *l)
{
	if (l->hdr_len != o->hdr_len || l->payload > o->size ||
	    o->s.len + l->payload > OFF_SUPER_MAX || !ip_continues(o, l) ||
	    (l->proto == PROTO_TCP && !tcp_continues(o, l)))
		return false;
	/* only packets that have company are worth summing up */
	o->verified = o->verified || verifies(o->head, o->l4_off, o->s.vec[0].len);
	return o->verified && verifies(l->pkt, l->l4_off, l->len);
}

static void append(struct off_join *j, uint32_t i, const struct look *l)
{
	struct off_slot *o = &j->slot[i];

	o->s.vec[o->s.vecs++] = (struct off_vec){l->pkt + l->hdr_len, l->payload};
	o->s.packets++;
	o->s.bytes += (uint32_t)l->len;
	o->s.len += l->payload;
	o->seq += l->payload;
	o->id++;
	if (l->last)
		o->head[o->l4_off + 13] |= TCP_PSH;
	if (l->last || l->payload < o->size || o->s.vecs == OFF_SEGS_MAX)
		end(j, i);
}

/* ---- the outside ---- */

void off_join_init(struct off_join *j, bool tcp, bool udp)
{
	j->tcp = tcp;
	j->udp = udp;
	j->open = j->busy = j->born = 0;
	j->queue_len = j->queue_at = 0;
}

/* Its flow is unknown: it may belong to any between its addresses. */
static void add_odd(struct off_join *j, const struct look *l)
{
	for (uint32_t m = j->open; m; m &= m - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(m);

		if (!l->family || same_addresses(l, j->slot[i].head))
			end(j, i);
	}
	alone(j, l);
}

static void add_known(struct off_join *j, const struct look *l)
{
	uint32_t hash = flow_hash(l), i = find(j, l, hash);

	if (i != NO_SLOT && l->joinable && continues(&j->slot[i], l)) {
		append(j, i, l);
		return;
	}
	if (i != NO_SLOT)
		end(j, i);
	if (l->joinable && !l->last)
		open_slot(j, l, hash);
	else
		alone(j, l);
}

bool off_join_add(struct off_join *j, uint8_t *pkt, size_t len)
{
	struct look l;

	if (j->queue_at < j->queue_len)
		return false;
	j->queue_len = j->queue_at = 0;
	j->busy = j->open;
	l = look(j, pkt, len);
	if (l.proto)
		add_known(j, &l);
	else
		add_odd(j, &l);
	return true;
}

void off_join_flush(struct off_join *j)
{
	if (j->queue_at == j->queue_len)
		j->queue_len = j->queue_at = 0;
	while (j->open)
		end(j, oldest(j));
}

const struct off_super *off_join_next(struct off_join *j)
{
	return j->queue_at < j->queue_len ? &j->slot[j->queue[j->queue_at++]].s : NULL;
}
