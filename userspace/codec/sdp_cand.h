/* SPDX-License-Identifier: Apache-2.0
 *
 * Candidate strings as they travel through the portal (RFC 8839 §5.1 without the "a="):
 *
 *     candidate:<foundation> 1 udp <prio> <ip> <port> typ <kind> [raddr <ip> rport <port>] [ufrag
 * <u>]
 *
 * Text to plain value and back. What a value means, and whether it is acceptable, is core/ice's
 * business. */
#ifndef PENSTOCK_CODEC_SDP_CAND_H
#define PENSTOCK_CODEC_SDP_CAND_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define SDP_FOUNDATION_MAX 32 /* RFC 8839: 1*32ice-char */
#define SDP_UFRAG_MAX	   32 /* ours have 4 characters */
#define SDP_CAND_STRLEN	   256

enum cand_kind {
	CAND_HOST,
	CAND_SRFLX,
	CAND_PRFLX,
	CAND_RELAY,
};

struct sdp_cand {
	enum cand_kind kind;
	uint32_t prio;
	uint16_t component;
	bool has_raddr;
	struct endpoint addr;
	struct endpoint raddr;			 /* all zero unless has_raddr */
	char foundation[SDP_FOUNDATION_MAX + 1]; /* printable, no space */
	char ufrag[SDP_UFRAG_MAX + 1];		 /* empty: not given */
};

/* text needs no terminator. 0; -EBADMSG when it is not such a string (the optional fields tcptype,
 * raddr+rport, generation, network-id, ufrag, network-cost may appear in this order only);
 * -EPROTO for another transport than UDP. out is untouched on error. */
int sdp_cand_parse(const char *text, size_t len, struct sdp_cand *out);
/* 0, or -EMSGSIZE when cap (SDP_CAND_STRLEN always does) is too small. */
int sdp_cand_fmt(const struct sdp_cand *c, char *buf, size_t cap);
const char *cand_kind_name(enum cand_kind kind); /* "host", "srflx", "prflx", "relay" */
#endif
