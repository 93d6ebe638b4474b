/* SPDX-License-Identifier: Apache-2.0
 *
 * Phoenix channel frames, serializer V1: one JSON object {"topic","event","payload","ref"} per
 * WebSocket text message. This is the envelope only; payloads are codec/portal_msg.h.
 *
 * Decoding is tolerant of extra keys and strict about types, and bounds size, nesting and the
 * number of values before the JSON library sees the text. */
#ifndef PENSTOCK_CODEC_PHX_FRAME_H
#define PENSTOCK_CODEC_PHX_FRAME_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PHX_FRAME_MAX	     (1024 * 1024)
#define PHX_FRAME_DEPTH_MAX  24
#define PHX_FRAME_VALUES_MAX (256 * 1024) /* about 5,000 resources */
#define PHX_TOPIC_CAP	     64
#define PHX_EVENT_CAP	     64

enum phx_frame_verdict {
	PHX_FRAME_OK,
	PHX_FRAME_TRUNCATED, /* the JSON ends too early (an empty text too): the stream is broken */
	PHX_FRAME_BAD,	     /* not a frame: to be dropped, the connection is kept */
};

struct phx_frame {
	char topic[PHX_TOPIC_CAP];
	char event[PHX_EVENT_CAP];
	bool has_ref; /* false: "ref" was null or absent */
	uint64_t ref;
	json_t *payload; /* owned by the frame, JSON null when absent; never NULL when OK */
	const char *why; /* static; what was wrong when not OK */
};

/* text need not be NUL-terminated. When OK the caller owns f and ends it with phx_frame_fini();
 * otherwise only f->why is set and there is nothing to free. */
enum phx_frame_verdict phx_frame_decode(struct phx_frame *f, const char *text, size_t len);
void phx_frame_fini(struct phx_frame *f);
/* The payload's ownership goes to the caller (json_decref); f keeps none. */
json_t *phx_frame_take_payload(struct phx_frame *f);

/* payload is JSON text, trusted to be valid ("null", "{}", what pmsg_encode_* wrote); topic and
 * event are plain names [A-Za-z0-9_:-]. NUL-terminates buf. 0 and *len, -EINVAL (a name) or
 * -EMSGSIZE. */
int phx_frame_encode(const char *topic, const char *event, const char *payload, uint64_t ref,
		     char *buf, size_t cap, size_t *len);
#endif
