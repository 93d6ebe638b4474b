/* SPDX-License-Identifier: Apache-2.0
 *
 * A STUN request on its way through the relay: decoded, judged, answered. Nobody outside core/relay
 * includes this. */
#ifndef PENSTOCK_CORE_RELAY_REQ_H
#define PENSTOCK_CORE_RELAY_REQ_H
#include "core/relay/relay.h"

struct relay_req {
	const struct relay_dgram *in;
	struct stun_msg m;
	enum relay_method method;
	bool fingerprint;     /* it had one: so has the answer */
	bool proven;	      /* its credentials hold */
	struct relay_key key; /* to sign the answer with; cred NONE: unsigned */
	const char *user;     /* proven: its bytes in the datagram */
	size_t user_len;
	uint16_t error; /* it was answered with this error; 0: with success, or not */
};

/* ---- relay_msg.c: bytes of answers ---- */
/* Start an answer, put attributes, close it: signed and fingerprinted as the request asks. */
void relay_msg_open(const struct relay *r, const struct relay_req *q, enum stun_class cls,
		    struct stun_enc *e, struct relay_tx *tx);
void relay_msg_close(const struct relay_req *q, struct stun_enc *e, struct relay_tx *tx);
/* An error answer; unknown (n of them) with 420. Sets q->error. */
void relay_msg_error(const struct relay *r, struct relay_req *q, uint16_t code,
		     const uint16_t *unknown, size_t n, uint64_t now, struct relay_tx *tx);
/* ChannelData or a Data indication to the client of an allocation. false: too large. */
bool relay_msg_channel(const struct endpoint *local, const struct endpoint *client,
		       uint16_t channel, const uint8_t *data, size_t len, struct relay_tx *tx);
bool relay_msg_data(const struct relay_alloc *a, const struct endpoint *peer,
		    const struct stun_tid *tid, const uint8_t *data, size_t len,
		    struct relay_tx *tx);

/* ---- relay_req.c ---- */
/* Decode and judge all that needs no tables. RELAY_RX_STATE: it is proven and yet to be carried
 * out; else it is over, and answered if it is to be answered. The caller wipes q->key. */
enum relay_rx relay_req_judge(const struct relay *r, const struct relay_dgram *in, uint64_t unix_s,
			      uint64_t now, struct relay_req *q, struct relay_tx *tx);

/* ---- carrying out a proven request: 0 and answered with success, or the error to answer ---- */
uint16_t relay_do_allocate(struct relay *r, struct relay_req *q, struct relay_tx *tx, uint64_t now);
uint16_t relay_do_refresh(struct relay *r, struct relay_req *q, struct relay_tx *tx, uint64_t now);
uint16_t relay_do_permission(struct relay *r, struct relay_req *q, struct relay_tx *tx,
			     uint64_t now);
uint16_t relay_do_channel(struct relay *r, struct relay_req *q, struct relay_tx *tx, uint64_t now);
/* LIFETIME as granted: the default when there is none, at most the maximum. */
uint32_t relay_lifetime_s(const struct relay_req *q);

/* ---- relay_data.c: which peers, and the way to them ---- */
uint8_t relay_family_bit(const struct ipaddr *ip);
/* May the relay be used to reach this address at all (a permission), this socket (data)? local: the
 * address the client talks to, which is ours, too. */
bool relay_peer_ip_ok(const struct relay *r, const struct ipaddr *ip);
bool relay_peer_ok(const struct relay *r, const struct endpoint *local,
		   const struct endpoint *peer);

enum relay_rx relay_channel_data(const struct relay *r, const struct relay_dgram *in, uint64_t now,
				 struct relay_tx *tx);
enum relay_rx relay_send(const struct relay *r, const struct relay_req *q, uint64_t now,
			 struct relay_tx *tx);
#endif
