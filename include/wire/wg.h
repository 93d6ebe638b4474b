/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * WireGuard on the wire: message structs, sizes and the classification of a UDP payload. Shared by
 * BPF, daemon and tests. All integers are little endian; fields named _le are kept in wire order.
 * The structs are packed so that they may lie over any byte of a datagram. */
/* clang-format off */
/*
 * initiation, 148 bytes           response, 92                 cookie reply, 64     data, 32 + n
 * | type 1 (4) | sender (4)  |   | type 2 (4) | sender (4) |   | type 3 | recv (4)| | type 4 | recv (4)|
 * | ephemeral (32)           |   | receiver (4)            |   | nonce (24)       | | counter (8)      |
 * | static, sealed (32+16)   |   | ephemeral (32)          |   | cookie, sealed   | | packet, sealed   |
 * | stamp, sealed (12+16)    |   | nothing, sealed (16)    |   |   (16+16)        | |   (n+16)         |
 * | mac1 (16) | mac2 (16)    |   | mac1 (16) | mac2 (16)   |
 */
/* clang-format on */
#ifndef PENSTOCK_WIRE_WG_H
#define PENSTOCK_WIRE_WG_H
#include <linux/types.h>

#define WG_KEY_LEN    32
#define WG_TAG_LEN    16
#define WG_MAC_LEN    16
#define WG_STAMP_LEN  12 /* TAI64N: seconds (8) and nanoseconds (4), big endian */
#define WG_COOKIE_LEN 16
#define WG_NONCE_LEN  24 /* of a cookie reply: XChaCha20 */

#define WG_INITIATION_LEN 148
#define WG_RESPONSE_LEN	  92
#define WG_COOKIE_MSG_LEN 64
#define WG_DATA_HDR_LEN	  16
#define WG_DATA_OVERHEAD \
	32 /* header and tag: an IP packet grows by exactly this, there is no padding */
#define WG_HANDSHAKE_MAX WG_INITIATION_LEN

enum wg_msg_type {
	WG_MSG_NONE = 0, /* not WireGuard */
	WG_MSG_INITIATION = 1,
	WG_MSG_RESPONSE = 2,
	WG_MSG_COOKIE = 3,
	WG_MSG_DATA = 4,
};

struct wg_msg_initiation {
	__u32 type_le;
	__u32 sender_le;
	__u8 ephemeral[WG_KEY_LEN];
	__u8 static_box[WG_KEY_LEN + WG_TAG_LEN];
	__u8 stamp_box[WG_STAMP_LEN + WG_TAG_LEN];
	__u8 mac1[WG_MAC_LEN];
	__u8 mac2[WG_MAC_LEN];
} __attribute__((packed));

struct wg_msg_response {
	__u32 type_le;
	__u32 sender_le;
	__u32 receiver_le;
	__u8 ephemeral[WG_KEY_LEN];
	__u8 empty_box[WG_TAG_LEN];
	__u8 mac1[WG_MAC_LEN];
	__u8 mac2[WG_MAC_LEN];
} __attribute__((packed));

struct wg_msg_cookie {
	__u32 type_le;
	__u32 receiver_le;
	__u8 nonce[WG_NONCE_LEN];
	__u8 cookie_box[WG_COOKIE_LEN + WG_TAG_LEN];
} __attribute__((packed));

struct wg_msg_data {
	__u32 type_le;
	__u32 receiver_le;
	__u64 counter_le;
} __attribute__((packed));

_Static_assert(sizeof(struct wg_msg_initiation) == WG_INITIATION_LEN, "initiation");
_Static_assert(sizeof(struct wg_msg_response) == WG_RESPONSE_LEN, "response");
_Static_assert(sizeof(struct wg_msg_cookie) == WG_COOKIE_MSG_LEN, "cookie reply");
_Static_assert(sizeof(struct wg_msg_data) == WG_DATA_HDR_LEN, "data header");

/* Kind of a UDP payload from its first four bytes read as a little-endian number and its length: 1,
 * 2 and 3 have exactly one length, 4 has a minimum. This is the whole test for "is this WireGuard".
 */
static __always_inline enum wg_msg_type wg_msg_classify_word(__u32 type, __u32 len)
{
	if (type == WG_MSG_DATA)
		return len >= WG_DATA_OVERHEAD ? WG_MSG_DATA : WG_MSG_NONE;
	if (type == WG_MSG_INITIATION)
		return len == WG_INITIATION_LEN ? WG_MSG_INITIATION : WG_MSG_NONE;
	if (type == WG_MSG_RESPONSE)
		return len == WG_RESPONSE_LEN ? WG_MSG_RESPONSE : WG_MSG_NONE;
	if (type == WG_MSG_COOKIE)
		return len == WG_COOKIE_MSG_LEN ? WG_MSG_COOKIE : WG_MSG_NONE;
	return WG_MSG_NONE;
}

/* Little-endian loads from any byte; p must have 4 (8) readable bytes. */
static inline __u32 wg_get_le32(const void *p)
{
	const __u8 *b = p;

	return (__u32)b[0] | (__u32)b[1] << 8 | (__u32)b[2] << 16 | (__u32)b[3] << 24;
}

static inline __u64 wg_get_le64(const void *p)
{
	return (__u64)wg_get_le32(p) | (__u64)wg_get_le32((const __u8 *)p + 4) << 32;
}

/* The same over a buffer of len bytes; never reads past it. */
static inline enum wg_msg_type wg_msg_classify(const void *p, __u32 len)
{
	return len < 4 ? WG_MSG_NONE : wg_msg_classify_word(wg_get_le32(p), len);
}

/* Index of the receiver (the session or handshake of ours that a message is for), in host order.
 * Valid for response, cookie reply and data; an initiation has none (0). p must have been
 * classified as type. */
static inline __u32 wg_msg_receiver(enum wg_msg_type type, const void *p)
{
	if (type == WG_MSG_RESPONSE)
		return wg_get_le32((const __u8 *)p + 8);
	if (type == WG_MSG_COOKIE || type == WG_MSG_DATA)
		return wg_get_le32((const __u8 *)p + 4);
	return 0;
}
#endif
