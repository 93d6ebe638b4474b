/* SPDX-License-Identifier: Apache-2.0
 *
 * STUN messages (RFC 8489) with the attributes of ICE (RFC 8445 §16.1) and TURN (RFC 8656
 * §18): a view over a received
 * datagram and an encoder with a sticky overflow flag. Adding an attribute means adding a row to
 * the table in stun.c and using a typed getter; order rules (integrity, then fingerprint, then
 * nothing) live in one loop.
 *
 * Not here: transactions, retransmission, credentials. Text of peers (USERNAME, SOFTWARE, reason
 * phrases) is bytes, never a C string. */
#ifndef PENSTOCK_CODEC_STUN_H
#define PENSTOCK_CODEC_STUN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "wire/stun.h"

/* Largest message decoded or encoded: one unfragmented datagram and some. */
#define STUN_MSG_MAX 1500
/* Attributes remembered of one message. RFC 5766 requests carry at most ten. */
#define STUN_ATTRS_MAX	 24
#define STUN_UNKNOWN_MAX 8

enum stun_class {
	STUN_REQUEST = 0,
	STUN_INDICATION = 1,
	STUN_SUCCESS = 2,
	STUN_ERROR = 3,
};

enum stun_method {
	STUN_BINDING = 0x001,
	STUN_ALLOCATE = 0x003, /* RFC 8656 §17 from here on */
	STUN_REFRESH = 0x004,
	STUN_SEND = 0x006,
	STUN_DATA = 0x007,
	STUN_CREATE_PERMISSION = 0x008,
	STUN_CHANNEL_BIND = 0x009,
};

enum stun_attr_type {
	STUN_A_USERNAME = 0x0006,
	STUN_A_MESSAGE_INTEGRITY = 0x0008,
	STUN_A_ERROR_CODE = 0x0009,
	STUN_A_UNKNOWN_ATTRIBUTES = 0x000a,
	STUN_A_CHANNEL_NUMBER = 0x000c,	  /* u32: number << 16 */
	STUN_A_LIFETIME = 0x000d,	  /* u32, seconds */
	STUN_A_XOR_PEER_ADDRESS = 0x0012, /* may repeat */
	STUN_A_DATA = 0x0013,		  /* bytes */
	STUN_A_REALM = 0x0014,
	STUN_A_NONCE = 0x0015,
	STUN_A_XOR_RELAYED_ADDRESS = 0x0016,	  /* may repeat: one per family */
	STUN_A_REQUESTED_ADDRESS_FAMILY = 0x0017, /* u32: enum stun_family << 24 */
	STUN_A_EVEN_PORT = 0x0018,	     /* one byte: top bit asks for the next port, too */
	STUN_A_REQUESTED_TRANSPORT = 0x0019, /* u32: IP protocol << 24 */
	STUN_A_DONT_FRAGMENT = 0x001a,	     /* flag */
	STUN_A_XOR_MAPPED_ADDRESS = 0x0020,
	STUN_A_RESERVATION_TOKEN = 0x0022, /* 8 bytes */
	STUN_A_PRIORITY = 0x0024,
	STUN_A_USE_CANDIDATE = 0x0025,
	STUN_A_ADDITIONAL_ADDRESS_FAMILY = 0x8000, /* u32: enum stun_family << 24 */
	STUN_A_ADDRESS_ERROR_CODE = 0x8001,	   /* u32: family << 24 | class << 8 | number */
	STUN_A_SOFTWARE = 0x8022,
	STUN_A_FINGERPRINT = 0x8028,
	STUN_A_ICE_CONTROLLED = 0x8029,
	STUN_A_ICE_CONTROLLING = 0x802a,
};

/* Address families of attributes (RFC 8489 §14.1). */
enum stun_family {
	STUN_FAMILY_IPV4 = 1,
	STUN_FAMILY_IPV6 = 2,
};

struct stun_tid {
	uint8_t b[STUN_TID_LEN];
};

/* One known attribute: where its value lies in the datagram. */
struct stun_attr {
	uint16_t type, len, off;
};

/* A decoded message: offsets into data, which is borrowed and must outlive it. */
struct stun_msg {
	const uint8_t *data;
	size_t len;
	uint16_t method; /* enum stun_method, or one we do not know */
	enum stun_class cls;
	struct stun_tid tid;
	uint16_t mi_off; /* offset of MESSAGE-INTEGRITY's header, 0 when absent */
	uint16_t fp_off; /* offset of FINGERPRINT's header, 0 when absent */
	uint8_t n_attrs, n_unknown;
	struct stun_attr attrs[STUN_ATTRS_MAX];
	uint16_t unknown[STUN_UNKNOWN_MAX]; /* comprehension-required types not in the table, the
					       first few */
};

enum stun_verdict {
	STUN_OK,
	STUN_NOT_STUN,	/* not a STUN header, or its length does not cover the datagram */
	STUN_BAD_ATTR,	/* an attribute overruns the message or has an illegal length or order */
	STUN_TOO_LARGE, /* more than STUN_MSG_MAX bytes or STUN_ATTRS_MAX attributes */
};

/* Judge and index a datagram. Of a repeated attribute the first counts (all of those that may
 * repeat: stun_xor_addr_nth); on STUN_BAD_ATTR and on too many attributes method, class and
 * transaction id are filled in, so that a server can answer. After MESSAGE-INTEGRITY
 * only FINGERPRINT counts, nothing may follow FINGERPRINT. Neither is verified here. */
enum stun_verdict stun_decode(struct stun_msg *m, const void *data, size_t len);

/* Is MESSAGE-INTEGRITY present and right for this key? Constant-time compare. */
bool stun_integrity_ok(const struct stun_msg *m, const void *key, size_t key_len);
/* Is FINGERPRINT present and right? */
bool stun_fingerprint_ok(const struct stun_msg *m);

bool stun_has(const struct stun_msg *m, enum stun_attr_type type);
/* The value's bytes, or NULL when absent. */
const uint8_t *stun_bytes(const struct stun_msg *m, enum stun_attr_type type, size_t *len);
bool stun_u32(const struct stun_msg *m, enum stun_attr_type type, uint32_t *out);
bool stun_u64(const struct stun_msg *m, enum stun_attr_type type, uint64_t *out);
/* An XOR-…-ADDRESS attribute; false when absent or of an unknown family. */
bool stun_xor_addr(const struct stun_msg *m, enum stun_attr_type type, struct endpoint *out);
/* The nth (from 0) of an XOR-…-ADDRESS attribute that may repeat; false when there are fewer or it
 * is of an unknown family. stun_count: how many there are. */
bool stun_xor_addr_nth(const struct stun_msg *m, enum stun_attr_type type, unsigned nth,
		       struct endpoint *out);
unsigned stun_count(const struct stun_msg *m, enum stun_attr_type type);
/* ERROR-CODE as 300..699; false when absent or out of range. */
bool stun_error_code(const struct stun_msg *m, unsigned *code);

/* Name of a known attribute for logs, NULL for others. */
const char *stun_attr_name(uint16_t type);
bool stun_tid_eq(const struct stun_tid *a, const struct stun_tid *b);

/* Encoder: stun_enc_init, any stun_put_*, optionally integrity then fingerprint, stun_enc_done. */
struct stun_enc {
	struct wbuf w;
};

void stun_enc_init(struct stun_enc *e, void *buf, size_t cap, enum stun_method method,
		   enum stun_class cls, const struct stun_tid *tid);
void stun_put_bytes(struct stun_enc *e, enum stun_attr_type type, const void *p, size_t len);
void stun_put_flag(struct stun_enc *e, enum stun_attr_type type);
void stun_put_u32(struct stun_enc *e, enum stun_attr_type type, uint32_t v);
void stun_put_u64(struct stun_enc *e, enum stun_attr_type type, uint64_t v);
void stun_put_xor_addr(struct stun_enc *e, enum stun_attr_type type, const struct endpoint *addr);
void stun_put_error(struct stun_enc *e, unsigned code, const char *reason);
void stun_put_unknown(struct stun_enc *e, const uint16_t *types, size_t n);
/* HMAC-SHA1 over all written so far, as RFC 8489 §14.5. Short-term key: the password. */
void stun_put_integrity(struct stun_enc *e, const void *key, size_t key_len);
void stun_put_fingerprint(struct stun_enc *e);
/* 0 and the message's length, or -EMSGSIZE when something did not fit. */
int stun_enc_done(struct stun_enc *e, size_t *len);
#endif
