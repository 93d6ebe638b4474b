/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading DNS messages; contracts in dns_msg.h. dns_msg_open() walks the whole message once and
 * judges it, dns_msg_next() walks it again and hands records out. */
#include "codec/dns_msg.h"

#include <string.h>
#include "base/bytes.h"

#define FLAG_QR	   0x8000u
#define FLAG_TC	   0x0200u
#define FLAG_RD	   0x0100u
#define FLAG_AD	   0x0020u
#define FLAG_CD	   0x0010u
#define OPT_DO	   0x8000u
#define RR_FIXED   10 /* type, class, TTL, length */
#define SOA_FIXED  20
#define SVC_V4HINT 4
#define SVC_V6HINT 6

bool dns_question_eq(const struct dns_question *a, const struct dns_question *b)
{
	return a->type == b->type && a->klass == b->klass && dns_name_eq(&a->name, &b->name);
}

/* ---- RDATA ---- */
/* A name that starts `skip` bytes into the RDATA and is followed by exactly `fixed` bytes. */
static bool rdata_name(const struct dns_msg *m, size_t at, size_t end, size_t skip, size_t fixed)
{
	size_t pos = at + skip;

	return pos <= end && dns_name_read(m->p, end, &pos, NULL) == DNS_OK && end - pos == fixed;
}

static bool rdata_soa(const struct dns_msg *m, size_t at, size_t end)
{
	return dns_name_read(m->p, end, &at, NULL) == DNS_OK &&
	       rdata_name(m, at, end, 0, SOA_FIXED);
}

static bool rdata_txt(const uint8_t *p, size_t len)
{
	struct rbuf r = rbuf_init(p, len);

	do
		rbuf_take(&r, rbuf_u8(&r));
	while (!r.bad && rbuf_left(&r));
	return !r.bad;
}

/* Options, or service parameters: code, length, value. */
static bool rdata_pairs(const uint8_t *p, size_t len)
{
	struct rbuf r = rbuf_init(p, len);

	while (!r.bad && rbuf_left(&r)) {
		rbuf_be16(&r);
		rbuf_take(&r, rbuf_be16(&r));
	}
	return !r.bad;
}

static bool rdata_svc(const struct dns_msg *m, size_t at, size_t end)
{
	size_t pos = at + 2;

	return pos <= end && dns_name_read(m->p, end, &pos, NULL) == DNS_OK &&
	       rdata_pairs(m->p + pos, end - pos);
}

static bool rdata_ok(const struct dns_msg *m, const struct dns_record *r)
{
	size_t at = (size_t)(r->rdata - m->p), end = at + r->rdata_len;

	/* What a class other than Internet means by a type is its own affair. */
	if (r->type == DNS_TYPE_OPT)
		return r->owner.len == 1 && rdata_pairs(r->rdata, r->rdata_len);
	if (r->klass != DNS_CLASS_IN)
		return true;
	switch (r->type) {
	case DNS_TYPE_A:
		return r->rdata_len == 4;
	case DNS_TYPE_AAAA:
		return r->rdata_len == 16;
	case DNS_TYPE_NS:
	case DNS_TYPE_CNAME:
	case DNS_TYPE_DNAME:
	case DNS_TYPE_PTR:
		return rdata_name(m, at, end, 0, 0);
	case DNS_TYPE_MX:
		return rdata_name(m, at, end, 2, 0);
	case DNS_TYPE_SRV:
		return rdata_name(m, at, end, 6, 0);
	case DNS_TYPE_SOA:
		return rdata_soa(m, at, end);
	case DNS_TYPE_TXT:
		return rdata_txt(r->rdata, r->rdata_len);
	case DNS_TYPE_SVCB:
	case DNS_TYPE_HTTPS:
		return rdata_svc(m, at, end);
	default:
		return true;
	}
}

/* ---- messages ---- */
static enum dns_verdict header_read(struct dns_msg *m)
{
	struct rbuf r = rbuf_init(m->p, m->len);
	uint16_t flags;

	m->id = rbuf_be16(&r);
	flags = rbuf_be16(&r);
	m->question_count = rbuf_be16(&r);
	for (int i = 0; i < 3; i++)
		m->counts[i] = rbuf_be16(&r);
	if (r.bad)
		return DNS_SHORT;
	m->qr = flags & FLAG_QR;
	m->tc = flags & FLAG_TC;
	m->rd = flags & FLAG_RD;
	m->ad = flags & FLAG_AD;
	m->cd = flags & FLAG_CD;
	m->opcode = flags >> 11 & 0xf;
	m->rcode = flags & 0xf;
	return m->question_count > 1 ? DNS_BAD_COUNT : DNS_OK;
}

static enum dns_verdict question_read(struct dns_msg *m)
{
	size_t pos = DNS_HEADER_LEN;
	enum dns_verdict v;

	if (m->question_count) {
		v = dns_name_read(m->p, m->len, &pos, &m->q.name);
		if (v != DNS_OK)
			return v;
		if (m->len - pos < 4)
			return DNS_SHORT;
		m->q.type = be16_get(m->p + pos);
		m->q.klass = be16_get(m->p + pos + 2);
		pos += 4;
	}
	m->records = pos;
	return DNS_OK;
}

/* The record at m->pos, which then is behind it. */
static enum dns_verdict record_read(struct dns_msg *m, struct dns_record *out)
{
	size_t pos = m->pos;
	enum dns_verdict v = dns_name_read(m->p, m->len, &pos, &out->owner);

	if (v != DNS_OK)
		return v;
	if (m->len - pos < RR_FIXED)
		return DNS_SHORT;
	out->type = be16_get(m->p + pos);
	out->klass = be16_get(m->p + pos + 2);
	out->ttl = be32_get(m->p + pos + 4);
	out->ttl_off = pos + 4;
	out->rdata_len = be16_get(m->p + pos + 8);
	pos += RR_FIXED;
	if (m->len - pos < out->rdata_len)
		return DNS_SHORT;
	out->rdata = m->p + pos;
	m->pos = pos + out->rdata_len;
	return DNS_OK;
}

void dns_msg_rewind(struct dns_msg *m)
{
	m->pos = m->records;
	memcpy(m->left, m->counts, sizeof(m->left));
}

/* Takes one record off the counts; false when they are used up. */
static bool section_next(struct dns_msg *m, enum dns_section *out)
{
	for (unsigned i = 0; i < 3; i++)
		if (m->left[i]) {
			m->left[i]--;
			*out = (enum dns_section)i;
			return true;
		}
	return false;
}

bool dns_msg_next(struct dns_msg *m, struct dns_record *out)
{
	return section_next(m, &out->section) && record_read(m, out) == DNS_OK;
}

static enum dns_verdict records_check(struct dns_msg *m)
{
	struct dns_record r;
	unsigned opts = 0;

	while (section_next(m, &r.section)) {
		enum dns_verdict v = record_read(m, &r);

		if (v != DNS_OK)
			return v;
		if (!rdata_ok(m, &r))
			return DNS_BAD_RECORD;
		if (r.type == DNS_TYPE_OPT && (opts++ || r.section != DNS_ADDITIONAL))
			return DNS_BAD_RECORD;
	}
	return m->pos == m->len ? DNS_OK : DNS_TRAILING;
}

enum dns_verdict dns_msg_open(const uint8_t *p, size_t len, struct dns_msg *out)
{
	struct dns_msg m = {.p = p, .len = len};
	enum dns_verdict v = header_read(&m);

	if (v == DNS_OK)
		v = question_read(&m);
	if (v != DNS_OK)
		return v;
	dns_msg_rewind(&m);
	v = records_check(&m);
	if (v != DNS_OK)
		return v;
	dns_msg_rewind(&m);
	*out = m;
	return DNS_OK;
}

enum dns_verdict dns_query_parse(const uint8_t *p, size_t len, struct dns_query *out)
{
	struct dns_record r;
	struct dns_msg m;
	enum dns_verdict v;

	/* Told apart first: answers that stray here need not be walked. */
	if (len >= DNS_HEADER_LEN && (p[2] & 0x80))
		return DNS_BAD_QR;
	v = dns_msg_open(p, len, &m);
	if (v != DNS_OK)
		return v;
	if (m.question_count != 1)
		return DNS_BAD_COUNT;
	*out = (struct dns_query){
		.q = m.q, .id = m.id, .opcode = m.opcode, .rd = m.rd, .ad = m.ad, .cd = m.cd};
	while (dns_msg_next(&m, &r))
		if (r.type == DNS_TYPE_OPT) {
			out->edns = true;
			out->dnssec_ok = r.ttl & OPT_DO;
		}
	return DNS_OK;
}

/* ---- what records say ---- */
/* Address n of the hints of an HTTPS or SVCB record: its target name is not compressed. */
static bool svc_address(const struct dns_record *r, uint32_t n, struct ipaddr *out)
{
	struct rbuf b = rbuf_init(r->rdata, r->rdata_len);
	uint8_t label;

	rbuf_be16(&b); /* priority */
	while (!b.bad && (label = rbuf_u8(&b)))
		if ((label & 0xc0) == 0xc0) { /* forbidden, but nothing is to be hidden behind it */
			rbuf_u8(&b);
			break;
		} else {
			rbuf_take(&b, label);
		}
	while (!b.bad && rbuf_left(&b)) {
		uint16_t key = rbuf_be16(&b), len = rbuf_be16(&b);
		const uint8_t *v = rbuf_take(&b, len);
		uint8_t family = key == SVC_V4HINT ? 4 : 6;
		uint32_t size = family == 4 ? 4 : 16;

		if (!v || (key != SVC_V4HINT && key != SVC_V6HINT))
			continue;
		if (n < len / size) {
			*out = ipaddr_from(family, v + n * size);
			return true;
		}
		n -= len / size;
	}
	return false;
}

bool dns_record_address(const struct dns_record *r, uint32_t n, struct ipaddr *out)
{
	if (r->klass != DNS_CLASS_IN)
		return false;
	if (r->type == DNS_TYPE_HTTPS || r->type == DNS_TYPE_SVCB)
		return svc_address(r, n, out);
	if (n || (r->type != DNS_TYPE_A && r->type != DNS_TYPE_AAAA))
		return false;
	*out = ipaddr_from(r->type == DNS_TYPE_A ? 4 : 6, r->rdata);
	return true;
}

uint32_t dns_record_soa_minimum(const struct dns_record *r)
{
	if (r->type != DNS_TYPE_SOA || r->klass != DNS_CLASS_IN)
		return 0;
	return be32_get(r->rdata + r->rdata_len - 4);
}
