/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS messages in a byte stream (RFC 1035 §4.2.2, 7766 §8): two bytes of length, then the message.
 * Looks at the front of what has arrived; keeps nothing. What the message says is codec/dns_msg. */
#ifndef PENSTOCK_CODEC_DNS_FRAME_H
#define PENSTOCK_CODEC_DNS_FRAME_H
#include <stddef.h>
#include <stdint.h>

#define DNS_FRAME_LEN 2 /* bytes in front of each message */

enum dns_frame {
	DNS_FRAME_MORE, /* not all of it is here yet */
	DNS_FRAME_OK,
	DNS_FRAME_BAD, /* shorter than a header or longer than max: the stream is of no use */
};

/* The frame at the front of p. OK: *msg_len bytes of message at p + DNS_FRAME_LEN. The length is
 * judged as soon as it is there. */
enum dns_frame dns_frame_next(const uint8_t *p, size_t len, size_t max, size_t *msg_len);
/* The two bytes in front of a message of len <= 65535. */
void dns_frame_put(uint8_t out[DNS_FRAME_LEN], size_t len);
#endif
