/* SPDX-License-Identifier: Apache-2.0
 *
 * A blocking TURN client for tests: one allocation on a socket the caller has, requests with
 * retransmission, long-term credentials. Header only, for h_*.c. What is under test elsewhere is
 * core/turn; this one shares nothing with it, so that they do not err together. */
#ifndef PENSTOCK_TESTS_TURN_CLIENT_H
#define PENSTOCK_TESTS_TURN_CLIENT_H
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/stun.h"
#include "crypto/crypto.h"
#include "io/entropy.h"
#include "io/sockaddr.h"

struct turn_login {
	struct endpoint server;
	const char *user, *password;
};

struct turn_client {
	const struct turn_login *login;
	int fd;
	char realm[128], nonce[256];
	size_t realm_len, nonce_len;
	uint8_t key[MD5_LEN];
	struct endpoint relayed, mapped;
	uint16_t channel;
	unsigned error;	  /* of the last request */
	const char *what; /* the last request */
};

/* The attributes of one request. */
struct turn_ask {
	enum stun_method method;
	uint8_t family;	   /* Allocate: of the relayed address */
	uint32_t lifetime; /* Refresh */
	const struct endpoint *peer;
	uint16_t channel;
};

static inline size_t turn_encode(struct turn_client *c, const struct turn_ask *q,
				 struct stun_tid *tid, uint8_t *buf, size_t cap)
{
	struct stun_enc e;
	size_t len = 0;

	entropy_get(tid, sizeof(*tid));
	stun_enc_init(&e, buf, cap, q->method, STUN_REQUEST, tid);
	if (q->method == STUN_ALLOCATE) {
		stun_put_u32(&e, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
		if (q->family == 6)
			stun_put_u32(&e, STUN_A_REQUESTED_ADDRESS_FAMILY, 2u << 24);
	}
	if (q->method == STUN_REFRESH)
		stun_put_u32(&e, STUN_A_LIFETIME, q->lifetime);
	if (q->channel)
		stun_put_u32(&e, STUN_A_CHANNEL_NUMBER, (uint32_t)q->channel << 16);
	if (q->peer)
		stun_put_xor_addr(&e, STUN_A_XOR_PEER_ADDRESS, q->peer);
	if (c->nonce_len) {
		stun_put_bytes(&e, STUN_A_USERNAME, c->login->user, strlen(c->login->user));
		stun_put_bytes(&e, STUN_A_REALM, c->realm, c->realm_len);
		stun_put_bytes(&e, STUN_A_NONCE, c->nonce, c->nonce_len);
		stun_put_integrity(&e, c->key, sizeof(c->key));
	}
	return stun_enc_done(&e, &len) ? 0 : len;
}

/* The answer to what is in req, into ans; 0, or -ETIMEDOUT. */
static inline int turn_exchange(struct turn_client *c, const uint8_t *req, size_t len,
				const struct stun_tid *tid, uint8_t *buf, size_t cap,
				struct stun_msg *ans)
{
	union sockaddr_any to;
	socklen_t to_len = sockaddr_from_endpoint(&c->login->server, &to);

	for (int round = 0; round < 12; round++) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};

		sendto(c->fd, req, len, 0, &to.sa, to_len);
		while (poll(&p, 1, 500) > 0) {
			ssize_t n = recv(c->fd, buf, cap, MSG_DONTWAIT);

			if (n > 0 && stun_decode(ans, buf, (size_t)n) == STUN_OK &&
			    stun_tid_eq(&ans->tid, tid))
				return 0;
		}
	}
	return -ETIMEDOUT;
}

/* Realm and nonce of a 401 or 438. */
static inline bool turn_challenge(struct turn_client *c, const struct stun_msg *m)
{
	size_t realm_len, nonce_len;
	const uint8_t *realm = stun_bytes(m, STUN_A_REALM, &realm_len),
		      *nonce = stun_bytes(m, STUN_A_NONCE, &nonce_len);
	char text[512];
	int n;

	if (!realm || !nonce || realm_len >= sizeof(c->realm) || nonce_len >= sizeof(c->nonce))
		return false;
	memcpy(c->realm, realm, realm_len);
	c->realm_len = realm_len;
	memcpy(c->nonce, nonce, nonce_len);
	c->nonce_len = nonce_len;
	n = snprintf(text, sizeof(text), "%s:%.*s:%s", c->login->user, (int)realm_len, c->realm,
		     c->login->password);
	md5(text, (size_t)n, c->key);
	return true;
}

/* 0 and the verified answer in ans (into buf), or -ETIMEDOUT, or -EACCES with c->error set. */
static inline int turn_request(struct turn_client *c, const struct turn_ask *q, uint8_t *buf,
			       size_t cap, struct stun_msg *ans)
{
	uint8_t req[STUN_MSG_MAX];
	struct stun_tid tid;

	for (int round = 0; round < 3; round++) {
		size_t len = turn_encode(c, q, &tid, req, sizeof(req));
		int rc = turn_exchange(c, req, len, &tid, buf, cap, ans);

		c->error = 0;
		if (rc)
			return rc;
		if (ans->cls == STUN_SUCCESS)
			return stun_integrity_ok(ans, c->key, sizeof(c->key)) ? 0 : -EBADMSG;
		if (!stun_error_code(ans, &c->error) || (c->error != 401 && c->error != 438) ||
		    (c->error == 401 && c->nonce_len) || !turn_challenge(c, ans))
			return -EACCES;
	}
	return -EACCES;
}

static inline int turn_client_open(struct turn_client *c, int fd, const struct turn_login *login,
				   uint8_t family)
{
	const struct turn_ask q = {.method = STUN_ALLOCATE, .family = family};
	uint8_t buf[STUN_MSG_MAX];
	struct stun_msg m;
	int rc;

	*c = (struct turn_client){.login = login, .fd = fd, .what = "allocate"};
	rc = turn_request(c, &q, buf, sizeof(buf), &m);
	if (rc)
		return rc;
	stun_xor_addr(&m, STUN_A_XOR_MAPPED_ADDRESS, &c->mapped);
	return stun_xor_addr(&m, STUN_A_XOR_RELAYED_ADDRESS, &c->relayed) ? 0 : -EPROTO;
}

static inline int turn_client_bind(struct turn_client *c, const struct endpoint *peer,
				   uint16_t channel)
{
	const struct turn_ask q = {.method = STUN_CHANNEL_BIND, .peer = peer, .channel = channel};
	uint8_t buf[STUN_MSG_MAX];
	struct stun_msg m;

	c->what = "channel bind";
	c->channel = channel;
	return turn_request(c, &q, buf, sizeof(buf), &m);
}

/* lifetime 0: give the allocation back. */
static inline int turn_client_refresh(struct turn_client *c, uint32_t lifetime)
{
	const struct turn_ask q = {.method = STUN_REFRESH, .lifetime = lifetime};
	uint8_t buf[STUN_MSG_MAX];
	struct stun_msg m;

	c->what = "refresh";
	return turn_request(c, &q, buf, sizeof(buf), &m);
}
#endif
