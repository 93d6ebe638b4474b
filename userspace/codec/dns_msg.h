/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS messages as bytes (RFC 1035 §4, 2308, 3596, 6891, 9460): a strict reader and an encoder for
 * what a stub resolver says. Not a resolver, no policy.
 *
 * Strict means: the whole message is checked before anything of it is handed out. Every name, owner
 * and inside RDATA of the types listed below, is walked; compression pointers go strictly
 * backwards, so there are no loops; names are at most 255 bytes; the counts are exactly what is
 * there, nothing trails. RDATA of other types is opaque. After dns_msg_open() reading cannot fail.
 *
 * Checked RDATA: A, AAAA, NS, CNAME, DNAME, PTR, SOA, MX, TXT, SRV, OPT, SVCB, HTTPS.
 *
 * Names are kept as on the wire, uncompressed and in the case they came in; comparison ignores the
 * case of ASCII letters. */
#ifndef PENSTOCK_CODEC_DNS_MSG_H
#define PENSTOCK_CODEC_DNS_MSG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"

#define DNS_HEADER_LEN 12
#define DNS_NAME_CAP   255   /* on the wire, the root's 0 included */
#define DNS_TEXT_CAP   256   /* as text: 253 characters and a NUL, rounded up */
#define DNS_UDP_CAP    1212  /* what fits the tunnel's MTU of 1280 behind the longest IPv4 header */
#define DNS_MSG_CAP    65535 /* over TCP */
#define DNS_QUERY_CAP  288   /* longest dns_query_encode: header, name, type, class, OPT */
#define DNS_PORT       53

#define DNS_TYPE_A	 1
#define DNS_TYPE_NS	 2
#define DNS_TYPE_CNAME	 5
#define DNS_TYPE_SOA	 6
#define DNS_TYPE_PTR	 12
#define DNS_TYPE_MX	 15
#define DNS_TYPE_TXT	 16
#define DNS_TYPE_AAAA	 28
#define DNS_TYPE_SRV	 33
#define DNS_TYPE_DNAME	 39
#define DNS_TYPE_OPT	 41
#define DNS_TYPE_SVCB	 64
#define DNS_TYPE_HTTPS	 65
#define DNS_TYPE_IXFR	 251
#define DNS_TYPE_AXFR	 252
#define DNS_TYPE_ANY	 255
#define DNS_CLASS_IN	 1
#define DNS_OPCODE_QUERY 0

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
};

enum dns_verdict {
	DNS_OK,
	DNS_SHORT,	/* ends before what its counts promise */
	DNS_BAD_QR,	/* an answer where a query is expected */
	DNS_BAD_COUNT,	/* not exactly one question */
	DNS_BAD_NAME,	/* loop, forward pointer, reserved label type, longer than 255 */
	DNS_BAD_RECORD, /* RDATA that is not what its type says, second or misplaced OPT */
	DNS_TRAILING,	/* bytes behind the last record */
	DNS_VERDICT_COUNT,
};

struct dns_name {
	uint8_t len; /* with the root's 0; 0: no name */
	uint8_t b[DNS_NAME_CAP];
};

struct dns_question {
	struct dns_name name;
	uint16_t type, klass;
};

/* A query, as far as it is passed on. EDNS options are not kept. */
struct dns_query {
	struct dns_question q;
	uint16_t id;
	uint8_t opcode;
	bool rd, ad, cd;
	bool edns, dnssec_ok; /* it had an OPT; the DO bit in it */
};

enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };

struct dns_record {
	enum dns_section section;
	struct dns_name owner;
	uint16_t type, klass;
	uint32_t ttl;
	size_t ttl_off;	      /* of the TTL in the message */
	const uint8_t *rdata; /* into the message; names inside may be compressed */
	uint16_t rdata_len;
};

/* A checked message and a cursor over its records. */
struct dns_msg {
	const uint8_t *p;
	size_t len;
	size_t records; /* offset of the first record: the question ends here */
	size_t pos;
	struct dns_question q; /* when question_count is 1 */
	uint16_t id;
	uint16_t question_count, counts[3]; /* by enum dns_section */
	uint16_t left[3];		    /* not yet read */
	uint8_t opcode, rcode;
	bool qr, tc, rd, ad, cd;
};

/* What to say: addresses (of one family, A or AAAA by their family), or a PTR, or nothing. */
struct dns_reply {
	enum dns_rcode rcode;
	uint32_t ttl; /* seconds */
	const struct ipaddr *ips;
	uint32_t ip_count;
	const struct dns_name *ptr; /* NULL: none */
};

/* ---- names ---- */
/* "a.example" or "a.example.", "." is the root. 0; -EINVAL: empty or too long label, too long, a
 * character text cannot carry (see dns_name_text). */
int dns_name_parse(const char *text, struct dns_name *out);
/* Without trailing dot, case kept; the root is "". 0; -EINVAL: a label holds a dot or anything but
 * printable ASCII, so that its text would be another name's. */
int dns_name_text(const struct dns_name *n, char out[DNS_TEXT_CAP]);
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);
void dns_name_lower(struct dns_name *n);
bool dns_question_eq(const struct dns_question *a, const struct dns_question *b);
/* The address a reverse name stands for: exactly four decimal labels below in-addr.arpa or 32
 * nibbles below ip6.arpa. 0 or -EINVAL. */
int dns_name_reverse(const struct dns_name *n, struct ipaddr *out);

/* The name at *pos of a message, which then is behind it. DNS_OK, DNS_SHORT or DNS_BAD_NAME. out
 * may be NULL. */
enum dns_verdict dns_name_read(const uint8_t *p, size_t len, size_t *pos, struct dns_name *out);

/* ---- reading ---- */
/* Checks everything; out is set when DNS_OK. Not judged: flags and the number of questions (0 or 1;
 * more is DNS_BAD_COUNT). The bytes must stay while out is used. */
enum dns_verdict dns_msg_open(const uint8_t *p, size_t len, struct dns_msg *out);
/* Next record in message order; false at the end. dns_msg_rewind starts over. */
bool dns_msg_next(struct dns_msg *m, struct dns_record *out);
void dns_msg_rewind(struct dns_msg *m);
/* A query: QR 0 and one question. */
enum dns_verdict dns_query_parse(const uint8_t *p, size_t len, struct dns_query *out);
/* Address n of an A, AAAA, HTTPS or SVCB (hints) record; false when it has no more. */
bool dns_record_address(const struct dns_record *r, uint32_t n, struct ipaddr *out);
/* The MINIMUM field of a SOA (RFC 2308 §4); 0 for any other type. */
uint32_t dns_record_soa_minimum(const struct dns_record *r);

/* ---- writing ---- */
/* The query under another id, with an OPT of our own (DNS_UDP_CAP) if it had one. 0 and *out_len,
 * or -EMSGSIZE; DNS_QUERY_CAP bytes always suffice. */
int dns_query_encode(const struct dns_query *q, uint16_t id, uint8_t *out, size_t cap,
		     size_t *out_len);
/* The answer to q: id, opcode and RD are the query's, QR is set and no other flag, the question as
 * it came, owners in its case. What does not fit cap becomes a truncated answer. 0 and *out_len;
 * -EMSGSIZE when not even that fits (DNS_QUERY_CAP bytes always suffice). */
int dns_reply_encode(const struct dns_query *q, const struct dns_reply *a, uint8_t *out, size_t cap,
		     size_t *out_len);
/* A checked message cut down to header and question, TC set; returns its new length. */
size_t dns_msg_truncate(const struct dns_msg *m, uint8_t *p);
/* A checked message without its additional section: dns_msg_relay leaves it out. True: there was
 * more in it than an OPT. Rewinds. */
bool dns_msg_drop_additional(struct dns_msg *m);
/* A checked answer as the answer to q, whose question it has: its id, its spelling of the name. out
 * holds at least m->len bytes. True: it was longer than cap and is cut. */
bool dns_msg_relay(const struct dns_msg *m, const struct dns_query *q, size_t cap, uint8_t *out,
		   size_t *out_len);
/* In a buffer of at least DNS_HEADER_LEN bytes. */
void dns_msg_set_id(uint8_t *p, uint16_t id);
/* The question's name bytes in p become those of n, which must equal it but for case. */
void dns_msg_set_name_case(uint8_t *p, const struct dns_name *n);
#endif
