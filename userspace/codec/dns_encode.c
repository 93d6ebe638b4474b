/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing DNS messages; contracts in dns_msg.h. */
#include <string.h>
#include "base/bytes.h"
#include "codec/dns_msg.h"

#define FLAG_QR	    0x8000u
#define FLAG_TC	    0x0200u
#define FLAG_RD	    0x0100u
#define FLAG_AD	    0x0020u
#define FLAG_CD	    0x0010u
#define OPT_DO	    0x8000u
#define TO_QUESTION 0xc00c /* compression pointer to the name at offset 12 */

static void put_header(struct wbuf *w, uint16_t id, uint16_t flags, uint16_t answers,
		       uint16_t additional)
{
	wbuf_be16(w, id);
	wbuf_be16(w, flags);
	wbuf_be16(w, 1);
	wbuf_be16(w, answers);
	wbuf_be16(w, 0);
	wbuf_be16(w, additional);
}

static void put_question(struct wbuf *w, const struct dns_question *q)
{
	wbuf_put(w, q->name.b, q->name.len);
	wbuf_be16(w, q->type);
	wbuf_be16(w, q->klass);
}

int dns_query_encode(const struct dns_query *q, uint16_t id, uint8_t *out, size_t cap,
		     size_t *out_len)
{
	struct wbuf w = wbuf_init(out, cap);
	unsigned flags = (unsigned)q->opcode << 11 | (q->rd ? FLAG_RD : 0) | (q->ad ? FLAG_AD : 0) |
			 (q->cd ? FLAG_CD : 0);

	put_header(&w, id, (uint16_t)flags, 0, q->edns);
	put_question(&w, &q->q);
	if (q->edns) {
		wbuf_u8(&w, 0); /* owner: the root */
		wbuf_be16(&w, DNS_TYPE_OPT);
		wbuf_be16(&w, DNS_UDP_CAP);
		wbuf_be32(&w, q->dnssec_ok ? OPT_DO : 0); /* extended code and version 0 */
		wbuf_be16(&w, 0);
	}
	return wbuf_done(&w, out_len);
}

static void put_record(struct wbuf *w, uint16_t type, uint32_t ttl, const void *rdata, uint16_t len)
{
	wbuf_be16(w, TO_QUESTION);
	wbuf_be16(w, type);
	wbuf_be16(w, DNS_CLASS_IN);
	wbuf_be32(w, ttl);
	wbuf_be16(w, len);
	wbuf_put(w, rdata, len);
}

static int reply_encode(const struct dns_query *q, const struct dns_reply *a, bool truncated,
			uint8_t *out, size_t cap, size_t *out_len)
{
	struct wbuf w = wbuf_init(out, cap);
	unsigned flags = FLAG_QR | (unsigned)q->opcode << 11 | (q->rd ? FLAG_RD : 0) |
			 (truncated ? FLAG_TC : 0) | (unsigned)a->rcode;
	uint16_t count = truncated ? 0 : (uint16_t)(a->ip_count + (a->ptr ? 1 : 0));

	put_header(&w, q->id, (uint16_t)flags, count, 0);
	put_question(&w, &q->q);
	for (uint32_t i = 0; !truncated && i < a->ip_count; i++)
		put_record(&w, a->ips[i].family == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA, a->ttl,
			   a->ips[i].b, (uint16_t)ipaddr_size(&a->ips[i]));
	if (!truncated && a->ptr)
		put_record(&w, DNS_TYPE_PTR, a->ttl, a->ptr->b, a->ptr->len);
	return wbuf_done(&w, out_len);
}

int dns_reply_encode(const struct dns_query *q, const struct dns_reply *a, uint8_t *out, size_t cap,
		     size_t *out_len)
{
	if (!reply_encode(q, a, false, out, cap, out_len))
		return 0;
	return reply_encode(q, a, true, out, cap, out_len);
}

size_t dns_msg_truncate(const struct dns_msg *m, uint8_t *p)
{
	p[2] |= FLAG_TC >> 8;
	memset(p + 6, 0, 6); /* the three counts */
	return m->records;
}

bool dns_msg_drop_additional(struct dns_msg *m)
{
	struct dns_record r;
	bool more = false;
	size_t len;

	dns_msg_rewind(m);
	while (m->left[DNS_ANSWER] || m->left[DNS_AUTHORITY])
		dns_msg_next(m, &r);
	len = m->pos;
	while (dns_msg_next(m, &r))
		more |= r.type != DNS_TYPE_OPT;
	m->len = len;
	m->counts[DNS_ADDITIONAL] = 0;
	dns_msg_rewind(m);
	return more;
}

bool dns_msg_relay(const struct dns_msg *m, const struct dns_query *q, size_t cap, uint8_t *out,
		   size_t *out_len)
{
	bool cut = m->len > cap;

	memcpy(out, m->p, m->len);
	be16_put(out + 10, m->counts[DNS_ADDITIONAL]);
	*out_len = cut ? dns_msg_truncate(m, out) : m->len;
	dns_msg_set_id(out, q->id);
	dns_msg_set_name_case(out, &q->q.name);
	return cut;
}

void dns_msg_set_id(uint8_t *p, uint16_t id)
{
	be16_put(p, id);
}

void dns_msg_set_name_case(uint8_t *p, const struct dns_name *n)
{
	memcpy(p + DNS_HEADER_LEN, n->b, n->len);
}
