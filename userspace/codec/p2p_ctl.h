/* SPDX-License-Identifier: Apache-2.0
 *
 * The peer-to-peer control packet: an IPv6 packet inside the tunnel with next header 255, both
 * addresses ::, and an 8-byte event header. It is never written to the TUN device and cannot be
 * injected through it.
 *
 *    0      4     6  7  8         24        40    41      48
 *   +------+-----+--+--+---------+---------+-----+-------+----------
 *   |60 0 0|8 + N|ff|00| ::      | ::      |type | 7 × 0 | N bytes
 *   +------+-----+--+--+---------+---------+-----+-------+----------
 *
 * Payloads of assigned-ips and domain-status are JSON and decoded elsewhere; goodbye has none.
 *
 * Two types are Penstock's own, far from Firezone's, which ignores what it does not know: an MTU
 * probe, padded with zeros to the size it asks about, and its acknowledgement, which echoes the
 * identifier and the size and is as short as that.
 *
 *    48        56     58
 *   +---------+------+--------------------------------------
 *   |id        |size  |probe: zeros until the packet has `size` bytes
 *   +---------+------+-------------------------------------- */
#ifndef PENSTOCK_CODEC_P2P_CTL_H
#define PENSTOCK_CODEC_P2P_CTL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define P2P_CTL_HEADER_LEN  48
#define P2P_CTL_GOODBYE_LEN 48
#define P2P_CTL_PAYLOAD_CAP (1280 - P2P_CTL_HEADER_LEN)
#define P2P_CTL_MTU_LEN	    (P2P_CTL_HEADER_LEN + 10) /* an acknowledgement, the least probe */

enum p2p_ctl_type {
	P2P_CTL_ASSIGNED_IPS = 0,  /* client to gateway */
	P2P_CTL_DOMAIN_STATUS = 1, /* gateway to client */
	P2P_CTL_GOODBYE = 2,	   /* both: the sender has dropped the connection, never answered */
	P2P_CTL_MTU_PROBE = 0xf0,  /* both: does a packet of this size arrive? */
	P2P_CTL_MTU_ACK = 0xf1,	   /* both: it did; never answered */
};

enum p2p_ctl_verdict {
	P2P_CTL_EVENT,	   /* type known, payload handed out */
	P2P_CTL_UNKNOWN,   /* a newer peer's event: ignore */
	P2P_CTL_MALFORMED, /* a control packet whose lengths do not fit: ignore */
	P2P_CTL_NOT,	   /* some other packet */
};

struct p2p_ctl {
	uint8_t type;		/* as on the wire */
	const uint8_t *payload; /* into the packet */
	size_t payload_len;
};

/* Judge a decapsulated packet. Everything but P2P_CTL_NOT must stay out of the TUN device. out is
 * set for EVENT and UNKNOWN. */
enum p2p_ctl_verdict p2p_ctl_decode(const uint8_t *pkt, size_t len, struct p2p_ctl *out);
/* 0 and *out_len, or -EMSGSIZE (cap, or payload beyond P2P_CTL_PAYLOAD_CAP). */
int p2p_ctl_encode(uint8_t type, const void *payload, size_t payload_len, uint8_t *out, size_t cap,
		   size_t *out_len);
void p2p_ctl_encode_goodbye(uint8_t out[P2P_CTL_GOODBYE_LEN]);

/* Payload of probe and acknowledgement. */
struct p2p_mtu {
	uint64_t id;
	uint16_t size; /* of the probe, as an inner packet */
};

/* A probe of m->size bytes, at least P2P_CTL_MTU_LEN and at most cap, else -EMSGSIZE. */
int p2p_mtu_encode_probe(const struct p2p_mtu *m, uint8_t *out, size_t cap);
void p2p_mtu_encode_ack(const struct p2p_mtu *m, uint8_t out[P2P_CTL_MTU_LEN]);
/* ctl is of one of the two types. False: too short, or a probe that has not the size it says. */
bool p2p_mtu_decode(const struct p2p_ctl *ctl, struct p2p_mtu *out);
#endif
