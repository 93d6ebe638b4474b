/* SPDX-License-Identifier: Apache-2.0
 *
 * mac1, mac2 and cookie replies: WireGuard's proof of knowing whom one talks to (mac1) and, under
 * load, of owning one's address (mac2). Two roles: the checker guards our own key, the jar belongs
 * to one peer and holds what that peer asked of us.
 *
 * A cookie is bound to the source IP address, not to the port: behind a relay or a NAT the port is
 * not the sender's to keep. */
#ifndef PENSTOCK_WG_COOKIE_H
#define PENSTOCK_WG_COOKIE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "crypto/rng.h"
#include "wire/wg.h"

struct cookie_checker {
	uint8_t mac1_key[32];
	uint8_t seal_key[32];
	uint8_t secret[32]; /* what cookies are made of; re-rolled every 120 s when used */
	uint64_t secret_at;
	bool has_secret;
	uint8_t pad[7];
};

struct cookie_jar {
	uint8_t mac1_key[32];
	uint8_t open_key[32];
	uint8_t cookie[WG_COOKIE_LEN];
	uint8_t last_mac1[WG_MAC_LEN]; /* of our last message: a reply is sealed to it */
	uint64_t cookie_at;
	bool has_cookie;
	bool has_mac1;
	uint8_t pad[6];
};

enum cookie_verdict {
	COOKIE_BAD_MAC1,
	COOKIE_MAC1_ONLY,
	COOKIE_MAC2_VALID,
};

void cookie_checker_init(struct cookie_checker *c, const uint8_t our_pub[32]);
/* mac1 of a handshake message of len bytes whose last 32 are mac1 and mac2; constant state. */
bool cookie_check_mac1(const struct cookie_checker *c, const void *msg, size_t len);
/* Both macs. Only the current secret counts. *bucket is a number only we can predict from src, for
 * limiting per source; valid with COOKIE_MAC2_VALID. All of an IPv6 /64 are one source: whoever has
 * one has all of its addresses. */
enum cookie_verdict cookie_check(const struct cookie_checker *c, const void *msg, size_t len,
				 const struct ipaddr *src, uint64_t cookie_ns, uint32_t *bucket,
				 uint64_t now);
/* Answer msg (mac1 checked) with a cookie for src. Rolls the secret when it is older than
 * cookie_ns. */
void cookie_reply_write(struct cookie_checker *c, struct wg_msg_cookie *out, const void *msg,
			size_t len, const struct ipaddr *src, uint64_t cookie_ns, struct rng *rng,
			uint64_t now);

void cookie_jar_init(struct cookie_jar *j, const uint8_t remote_pub[32]);
/* Put mac1, and mac2 while we hold a fresh cookie, at the end of a finished message. */
void cookie_stamp(struct cookie_jar *j, void *msg, size_t len, uint64_t cookie_ns, uint64_t now);
/* Take a cookie reply to our last message. 0; -ENOENT when nothing was sent that it could answer;
 * -EACCES when it is not for that message. */
int cookie_reply_read(struct cookie_jar *j, const struct wg_msg_cookie *m, uint64_t now)
	__attribute__((warn_unused_result));
#endif
