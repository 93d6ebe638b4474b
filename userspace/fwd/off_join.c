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

/* Only packets that have company are worth summing up. */
static bool head_verifies(struct off_slot *o)
{
	if (o->verified)
		return true;
	o->pseudo = pseudo_sum(o->head, o->l4_off, o->s.vec[0].len - o->l4_off);
	o->verified = csum_fold(csum_add(o->pseudo, o->head + o->l4_off,
					 o->s.vec[0].len - o->l4_off)) == 0xffff;
	return o->verified;
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
	o->staged = NULL;
	o->verified = false;
	o->seq = l->proto == PROTO_TCP ? be32_get(l->pkt + l->l4_off + 4) + l->payload : 0;
	o->id = (uint16_t)(be16_get(l->pkt + 4) + 1);
	j->hash[i] = hash;
	j->age[i] = j->born++;
	j->open |= 1u << i;
	j->last = i;
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
	return head_verifies(o) && verifies(l->pkt, l->l4_off, l->len);
}

/* Room for all payloads the slot may still get, when they are short and there is so much. */
static void stage(struct off_join *j, struct off_slot *o)
{
	uint32_t want = (OFF_SEGS_MAX - 1) * o->size;

	if (o->size > OFF_JOIN_SHORT || want > sizeof(j->stage) - j->stage_used)
		return;
	o->staged = j->stage + j->stage_used;
	j->stage_used += want;
	o->s.vec[o->s.vecs++] = (struct off_vec){o->staged, 0};
}

/* Where the next payload is put. */
static uint8_t *staged_end(const struct off_slot *o)
{
	return o->staged + o->s.vec[1].len;
}

/* Its payload has its place. */
static void appended(struct off_join *j, uint32_t i, size_t payload, bool last)
{
	struct off_slot *o = &j->slot[i];

	o->s.packets++;
	o->s.bytes += (uint32_t)(o->hdr_len + payload);
	o->s.len += (uint32_t)payload;
	o->seq += (uint32_t)payload;
	o->id++;
	j->last = i;
	if (last)
		o->head[o->l4_off + 13] |= TCP_PSH;
	if (last || payload < o->size || o->s.packets == OFF_SEGS_MAX)
		end(j, i);
}

static void append(struct off_join *j, uint32_t i, const struct look *l)
{
	struct off_slot *o = &j->slot[i];

	if (o->s.vecs == 1)
		stage(j, o);
	if (o->staged) {
		memcpy(staged_end(o), l->pkt + l->hdr_len, l->payload);
		o->s.vec[1].len += l->payload;
	} else {
		o->s.vec[o->s.vecs++] = (struct off_vec){l->pkt + l->hdr_len, l->payload};
	}
	appended(j, i, l->payload, l->last);
}

/* ---- the short way: a packet just like those of the slot that the last one went to ---- */

static uint64_t diff64(const uint8_t *a, const uint8_t *b)
{
	return le64_get(a) ^ le64_get(b);
}

static uint32_t diff32(const uint8_t *a, const uint8_t *b)
{
	return le32_get(a) ^ le32_get(b);
}

/* All that look and continues ask of the IP header and the ports, the slot's own being right: a
 * packet as long as the first differs from it in the id and the checksum at most. */
static bool ip_alike(const struct off_slot *o, const uint8_t *b)
{
	const uint8_t *a = o->head;

	if (o->l4_off != 20)
		return !(diff64(a, b) | diff64(a + 8, b + 8) | diff64(a + 16, b + 16) |
			 diff64(a + 24, b + 24) | diff64(a + 32, b + 32) | diff32(a + 40, b + 40));
	if (diff32(a, b) | diff32(a + 6, b + 6) | diff64(a + 12, b + 12) | diff32(a + 20, b + 20))
		return false;
	return ((b[6] & IP4_DF) || be16_get(b + 4) == o->id) && be16_get(b + 10) != 0xffff &&
	       csum_fold(csum_add_words(0, b, 5)) == 0xffff;
}

static bool tcp_alike(const struct off_slot *o, const uint8_t *pkt)
{
	const uint8_t *a = o->head + o->l4_off, *b = pkt + o->l4_off;
	size_t rest = (size_t)o->hdr_len - o->l4_off - 18;

	return be32_get(b + 4) == o->seq && !diff32(a + 8, b + 8) && !diff32(a + 12, b + 12) &&
	       be16_get(b + 16) != 0xffff && !memcmp(a + 18, b + 18, rest);
}

static bool udp_alike(const struct off_slot *o, const uint8_t *pkt)
{
	const uint8_t *a = o->head + o->l4_off, *b = pkt + o->l4_off;

	return a[4] == b[4] && a[5] == b[5] && be16_get(b + 6);
}

/* The sum of a packet that is alike; its payload is copied to `to` on the way, if that is set. */
static uint64_t sum_alike(const struct off_slot *o, const uint8_t *pkt, uint8_t *to)
{
	const uint8_t *l4 = pkt + o->l4_off, *payload = pkt + o->hdr_len;
	size_t hdr = (size_t)o->hdr_len - o->l4_off;
	uint64_t sum;

	if (!to)
		return csum_add(o->pseudo, l4, hdr + o->size);
	sum = hdr == 8 ? csum_add_words(o->pseudo, l4, 2) : csum_add(o->pseudo, l4, hdr);
	return csum_add_copy(sum, to, payload, o->size);
}

/* True: taken. Else it goes the long way. Most packets of a train are full ones of its only flow,
 * and this is a third of what the long way costs. */
static bool add_alike(struct off_join *j, uint8_t *pkt, size_t len)
{
	struct off_slot *o = &j->slot[j->last];
	uint8_t *to = NULL;

	if (!(j->open >> j->last & 1) || len != (size_t)o->hdr_len + o->size ||
	    o->s.len + o->size > OFF_SUPER_MAX || !ip_alike(o, pkt) || o->s.vecs < 2 ||
	    !(pkt[o->l4_off == 20 ? 9 : 6] == PROTO_TCP ? tcp_alike(o, pkt) : udp_alike(o, pkt)))
		return false;
	if (o->staged)
		to = staged_end(o);
	if (csum_fold(sum_alike(o, pkt, to)) != 0xffff)
		return false;
	if (to)
		o->s.vec[1].len += o->size;
	else
		o->s.vec[o->s.vecs++] = (struct off_vec){pkt + o->hdr_len, o->size};
	appended(j, j->last, o->size, false);
	return true;
}

/* ---- the outside ---- */

void off_join_init(struct off_join *j, bool tcp, bool udp)
{
	j->tcp = tcp;
	j->udp = udp;
	j->open = j->busy = j->born = j->last = 0;
	j->queue_len = j->queue_at = 0;
	j->stage_used = 0;
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
	if (add_alike(j, pkt, len))
		return true;
	if (!j->open)
		j->stage_used = 0;
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
