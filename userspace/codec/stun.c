/* SPDX-License-Identifier: Apache-2.0
 * See stun.h. Header: RFC 8489 §5, attributes: §14, XOR addresses: §14.2, integrity: §14.5,
 * fingerprint: §14.7. */
#include "codec/stun.h"

#include <zlib.h>

#include "crypto/crypto.h"

#define MI_LEN	 20
#define FP_LEN	 4
#define FP_XOR	 0x5354554eU
#define ATTR_HDR 4
/* ADDITIONAL-ADDRESS-FAMILY as the draft before RFC 8656 numbered it; coturn 4.6 still does. */
#define ADDITIONAL_FAMILY_DRAFT 0x8032

/* What we know of an attribute before any use of it. */
static const struct attr_rule {
	uint16_t type, min, max;
	const char *name;
} rules[] = {
	{STUN_A_USERNAME, 1, 513, "USERNAME"},
	{STUN_A_MESSAGE_INTEGRITY, MI_LEN, MI_LEN, "MESSAGE-INTEGRITY"},
	{STUN_A_ERROR_CODE, 4, 767, "ERROR-CODE"},
	{STUN_A_UNKNOWN_ATTRIBUTES, 0, 2 * STUN_ATTRS_MAX, "UNKNOWN-ATTRIBUTES"},
	{STUN_A_CHANNEL_NUMBER, 4, 4, "CHANNEL-NUMBER"},
	{STUN_A_LIFETIME, 4, 4, "LIFETIME"},
	{STUN_A_XOR_PEER_ADDRESS, 8, 20, "XOR-PEER-ADDRESS"},
	{STUN_A_DATA, 0, STUN_MSG_MAX, "DATA"},
	{STUN_A_REALM, 0, 763, "REALM"},
	{STUN_A_NONCE, 0, 763, "NONCE"},
	{STUN_A_XOR_RELAYED_ADDRESS, 8, 20, "XOR-RELAYED-ADDRESS"},
	{STUN_A_REQUESTED_ADDRESS_FAMILY, 4, 4, "REQUESTED-ADDRESS-FAMILY"},
	{STUN_A_EVEN_PORT, 1, 1, "EVEN-PORT"},
	{STUN_A_REQUESTED_TRANSPORT, 4, 4, "REQUESTED-TRANSPORT"},
	{STUN_A_DONT_FRAGMENT, 0, 0, "DONT-FRAGMENT"},
	{STUN_A_XOR_MAPPED_ADDRESS, 8, 20, "XOR-MAPPED-ADDRESS"},
	{STUN_A_RESERVATION_TOKEN, 8, 8, "RESERVATION-TOKEN"},
	{STUN_A_PRIORITY, 4, 4, "PRIORITY"},
	{STUN_A_USE_CANDIDATE, 0, 0, "USE-CANDIDATE"},
	{STUN_A_ADDITIONAL_ADDRESS_FAMILY, 4, 4, "ADDITIONAL-ADDRESS-FAMILY"},
	{STUN_A_ADDRESS_ERROR_CODE, 4, 767, "ADDRESS-ERROR-CODE"},
	{STUN_A_SOFTWARE, 0, 763, "SOFTWARE"},
	{STUN_A_FINGERPRINT, FP_LEN, FP_LEN, "FINGERPRINT"},
	{STUN_A_ICE_CONTROLLED, 8, 8, "ICE-CONTROLLED"},
	{STUN_A_ICE_CONTROLLING, 8, 8, "ICE-CONTROLLING"},
};

static const struct attr_rule *rule_find(uint16_t type)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

const char *stun_attr_name(uint16_t type)
{
	const struct attr_rule *r = rule_find(type);

	return r ? r->name : NULL;
}

bool stun_tid_eq(const struct stun_tid *a, const struct stun_tid *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

static bool may_repeat(uint16_t type)
{
	return type == STUN_A_XOR_PEER_ADDRESS || type == STUN_A_XOR_RELAYED_ADDRESS;
}

static const struct stun_attr *attr_nth(const struct stun_msg *m, enum stun_attr_type type,
					unsigned nth)
{
	for (unsigned i = 0; i < m->n_attrs; i++)
		if (m->attrs[i].type == type && !nth--)
			return &m->attrs[i];
	return NULL;
}

static const struct stun_attr *attr_find(const struct stun_msg *m, enum stun_attr_type type)
{
	return attr_nth(m, type, 0);
}

/* ---- decoding ---- */

/* §5: the method's 12 bits have the two class bits between them. */
static uint16_t method_of(uint16_t type)
{
	return (uint16_t)((type & 0x000f) | (type & 0x00e0) >> 1 | (type & 0x3e00) >> 2);
}

static enum stun_class class_of(uint16_t type)
{
	return (enum stun_class)((type & 0x0010) >> 4 | (type & 0x0100) >> 7);
}

/* File one attribute whose bounds are known to be good. */
static enum stun_verdict attr_add(struct stun_msg *m, uint16_t type, uint16_t off, uint16_t len)
{
	const struct attr_rule *r;

	if (type == ADDITIONAL_FAMILY_DRAFT)
		type = STUN_A_ADDITIONAL_ADDRESS_FAMILY;
	r = rule_find(type);
	if (m->mi_off && type != STUN_A_FINGERPRINT)
		return STUN_OK;
	if (!r) {
		if (type < 0x8000 && m->n_unknown < STUN_UNKNOWN_MAX)
			m->unknown[m->n_unknown++] = type;
		return STUN_OK;
	}
	if (len < r->min || len > r->max)
		return STUN_BAD_ATTR;
	if (type == STUN_A_MESSAGE_INTEGRITY)
		m->mi_off = (uint16_t)(off - ATTR_HDR);
	if (type == STUN_A_FINGERPRINT)
		m->fp_off = (uint16_t)(off - ATTR_HDR);
	if (attr_find(m, type) && !may_repeat(type))
		return STUN_OK;
	if (m->n_attrs == STUN_ATTRS_MAX)
		return STUN_TOO_LARGE;
	m->attrs[m->n_attrs++] = (struct stun_attr){.type = type, .len = len, .off = off};
	return STUN_OK;
}

enum stun_verdict stun_decode(struct stun_msg *m, const void *data, size_t len)
{
	struct rbuf r = rbuf_init(data, len);
	uint16_t type;

	memset(m, 0, sizeof(*m));
	if (len > STUN_MSG_MAX)
		return STUN_TOO_LARGE;
	if (!stun_is_message(data, (uint32_t)len))
		return STUN_NOT_STUN;
	m->data = data;
	m->len = len;
	type = rbuf_be16(&r);
	m->method = method_of(type);
	m->cls = class_of(type);
	rbuf_take(&r, 6);
	rbuf_copy(&r, m->tid.b, sizeof(m->tid.b));
	while (rbuf_left(&r)) {
		uint16_t attr = rbuf_be16(&r), alen = rbuf_be16(&r);
		uint16_t off = (uint16_t)(r.p - m->data);
		enum stun_verdict v;

		rbuf_take(&r, (alen + 3U) & ~3U);
		if (r.bad || m->fp_off)
			return STUN_BAD_ATTR;
		v = attr_add(m, attr, off, alen);
		if (v != STUN_OK)
			return v;
	}
	return STUN_OK;
}

bool stun_integrity_ok(const struct stun_msg *m, const void *key, size_t key_len)
{
	uint8_t hdr[STUN_HDR_LEN], mac[SHA1_LEN];
	struct crypto_span spans[] = {{hdr, sizeof(hdr)}, {m->data + STUN_HDR_LEN, 0}};

	if (!m->mi_off)
		return false;
	spans[1].len = m->mi_off - (size_t)STUN_HDR_LEN;
	memcpy(hdr, m->data, sizeof(hdr));
	be16_put(hdr + 2, (uint16_t)(m->mi_off + ATTR_HDR + MI_LEN - STUN_HDR_LEN));
	hmac_sha1_spans(key, key_len, spans, 2, mac);
	return crypto_equal(mac, m->data + m->mi_off + ATTR_HDR, MI_LEN);
}

static uint32_t fingerprint_of(const uint8_t *data, size_t len)
{
	return (uint32_t)crc32(crc32(0, NULL, 0), data, (uInt)len) ^ FP_XOR;
}

bool stun_fingerprint_ok(const struct stun_msg *m)
{
	return m->fp_off &&
	       be32_get(m->data + m->fp_off + ATTR_HDR) == fingerprint_of(m->data, m->fp_off);
}

bool stun_has(const struct stun_msg *m, enum stun_attr_type type)
{
	return attr_find(m, type);
}

const uint8_t *stun_bytes(const struct stun_msg *m, enum stun_attr_type type, size_t *len)
{
	const struct stun_attr *a = attr_find(m, type);

	*len = a ? a->len : 0;
	return a ? m->data + a->off : NULL;
}

bool stun_u32(const struct stun_msg *m, enum stun_attr_type type, uint32_t *out)
{
	const struct stun_attr *a = attr_find(m, type);

	if (!a || a->len != 4)
		return false;
	*out = be32_get(m->data + a->off);
	return true;
}

bool stun_u64(const struct stun_msg *m, enum stun_attr_type type, uint64_t *out)
{
	const struct stun_attr *a = attr_find(m, type);

	if (!a || a->len != 8)
		return false;
	*out = be64_get(m->data + a->off);
	return true;
}

/* Addresses are XORed with the cookie and the transaction id, which is bytes 4..19 of the header.
 */
static void xor_bytes(uint8_t *b, size_t len, const uint8_t *hdr)
{
	for (size_t i = 0; i < len; i++)
		b[i] ^= hdr[4 + i];
}

bool stun_xor_addr_nth(const struct stun_msg *m, enum stun_attr_type type, unsigned nth,
		       struct endpoint *out)
{
	const struct stun_attr *a = attr_nth(m, type, nth);
	struct endpoint e = {0};
	const uint8_t *v;
	size_t ip_len;

	if (!a || a->len < 4)
		return false;
	v = m->data + a->off;
	if (v[1] == STUN_FAMILY_IPV4)
		e.ip.family = 4;
	else if (v[1] == STUN_FAMILY_IPV6)
		e.ip.family = 6;
	else
		return false;
	ip_len = ipaddr_size(&e.ip);
	if (a->len != 4 + ip_len)
		return false;
	e.port = (uint16_t)(be16_get(v + 2) ^ (STUN_MAGIC_COOKIE >> 16));
	memcpy(e.ip.b, v + 4, ip_len);
	xor_bytes(e.ip.b, ip_len, m->data);
	*out = e;
	return true;
}

bool stun_xor_addr(const struct stun_msg *m, enum stun_attr_type type, struct endpoint *out)
{
	return stun_xor_addr_nth(m, type, 0, out);
}

unsigned stun_count(const struct stun_msg *m, enum stun_attr_type type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->n_attrs; i++)
		n += m->attrs[i].type == type;
	return n;
}

bool stun_error_code(const struct stun_msg *m, unsigned *code)
{
	const struct stun_attr *a = attr_find(m, STUN_A_ERROR_CODE);
	unsigned cls, num;

	if (!a)
		return false;
	cls = m->data[a->off + 2] & 7;
	num = m->data[a->off + 3];
	if (cls < 3 || cls > 6 || num > 99)
		return false;
	*code = cls * 100 + num;
	return true;
}

/* ---- encoding ---- */

void stun_enc_init(struct stun_enc *e, void *buf, size_t cap, enum stun_method method,
		   enum stun_class cls, const struct stun_tid *tid)
{
	unsigned mth = method, c = cls;

	e->w = wbuf_init(buf, cap);
	wbuf_be16(&e->w, (uint16_t)((mth & 0xf) | (mth & 0x70) << 1 | (mth & 0xf80) << 2 |
				    (c & 1) << 4 | (c & 2) << 7));
	wbuf_be16(&e->w, 0);
	wbuf_be32(&e->w, STUN_MAGIC_COOKIE);
	wbuf_put(&e->w, tid->b, sizeof(tid->b));
}

/* The header's length field: what is there and what is about to follow. */
static void length_patch(struct stun_enc *e, size_t more)
{
	if (!e->w.over)
		be16_put(e->w.start + 2, (uint16_t)(wbuf_len(&e->w) + more - STUN_HDR_LEN));
}

static void attr_hdr(struct stun_enc *e, enum stun_attr_type type, size_t len)
{
	if (len > STUN_MSG_MAX)
		e->w.over = true;
	wbuf_be16(&e->w, (uint16_t)type);
	wbuf_be16(&e->w, (uint16_t)len);
}

static void attr_pad(struct stun_enc *e, size_t len)
{
	wbuf_zero(&e->w, (4 - len % 4) % 4);
}

void stun_put_bytes(struct stun_enc *e, enum stun_attr_type type, const void *p, size_t len)
{
	attr_hdr(e, type, len);
	wbuf_put(&e->w, p, len);
	attr_pad(e, len);
}

void stun_put_flag(struct stun_enc *e, enum stun_attr_type type)
{
	attr_hdr(e, type, 0);
}

void stun_put_u32(struct stun_enc *e, enum stun_attr_type type, uint32_t v)
{
	attr_hdr(e, type, 4);
	wbuf_be32(&e->w, v);
}

void stun_put_u64(struct stun_enc *e, enum stun_attr_type type, uint64_t v)
{
	attr_hdr(e, type, 8);
	wbuf_be64(&e->w, v);
}

void stun_put_xor_addr(struct stun_enc *e, enum stun_attr_type type, const struct endpoint *addr)
{
	size_t ip_len = ipaddr_size(&addr->ip);
	struct ipaddr ip = addr->ip;

	attr_hdr(e, type, 4 + ip_len);
	wbuf_u8(&e->w, 0);
	wbuf_u8(&e->w, ip.family == 4 ? STUN_FAMILY_IPV4 : STUN_FAMILY_IPV6);
	wbuf_be16(&e->w, (uint16_t)(addr->port ^ (STUN_MAGIC_COOKIE >> 16)));
	if (!e->w.over)
		xor_bytes(ip.b, ip_len, e->w.start);
	wbuf_put(&e->w, ip.b, ip_len);
}

void stun_put_error(struct stun_enc *e, unsigned code, const char *reason)
{
	size_t len = strlen(reason);

	attr_hdr(e, STUN_A_ERROR_CODE, 4 + len);
	wbuf_be16(&e->w, 0);
	wbuf_u8(&e->w, (uint8_t)(code / 100));
	wbuf_u8(&e->w, (uint8_t)(code % 100));
	wbuf_put(&e->w, reason, len);
	attr_pad(e, len);
}

void stun_put_unknown(struct stun_enc *e, const uint16_t *types, size_t n)
{
	attr_hdr(e, STUN_A_UNKNOWN_ATTRIBUTES, 2 * n);
	for (size_t i = 0; i < n; i++)
		wbuf_be16(&e->w, types[i]);
	attr_pad(e, 2 * n);
}

void stun_put_integrity(struct stun_enc *e, const void *key, size_t key_len)
{
	size_t len = wbuf_len(&e->w);
	uint8_t *mac;

	length_patch(e, ATTR_HDR + MI_LEN);
	attr_hdr(e, STUN_A_MESSAGE_INTEGRITY, MI_LEN);
	mac = wbuf_reserve(&e->w, MI_LEN);
	if (mac)
		hmac_sha1(key, key_len, e->w.start, len, mac);
}

void stun_put_fingerprint(struct stun_enc *e)
{
	size_t len = wbuf_len(&e->w);
	uint8_t *fp;

	length_patch(e, ATTR_HDR + FP_LEN);
	attr_hdr(e, STUN_A_FINGERPRINT, FP_LEN);
	fp = wbuf_reserve(&e->w, FP_LEN);
	if (fp)
		be32_put(fp, fingerprint_of(e->w.start, len));
}

int stun_enc_done(struct stun_enc *e, size_t *len)
{
	length_patch(e, 0);
	return wbuf_done(&e->w, len);
}
