/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the control-plane machine share: state.c (life, queue), connect.c (HTTP
 * upgrade), channel.c (frames), channel_peers.c (client and gateway messages), channel_flows.c (who
 * is introduced to whom), access.c (flows and what clients see), relays.c. Not for anybody else. */
#ifndef PENSTOCK_PORTAL_STATE_PRIV_H
#define PENSTOCK_PORTAL_STATE_PRIV_H
#include <jansson.h>

#include "apps/portal/state.h"

/* state.c */
struct session *session_find(struct portal *p, uint64_t id);
/* Keeps the device's pointer to its joined session and the list of online relays as well. */
void session_set_phase(struct portal *p, struct session *s, enum session_phase phase);
void session_forget_told(struct session *s);
/* Queue a push on the session's topic if it has joined. Consumes payload. */
void session_push(struct portal *p, struct session *s, const char *event, json_t *payload);
/* Queue any frame. Consumes payload. */
void session_send(struct portal *p, struct session *s, const char *topic, const char *event,
		  const json_t *ref, json_t *payload);
void session_close(struct portal *p, struct session *s, int code);
/* "disconnect" with token_expired, then close: the component will not come back. */
void session_expel(struct portal *p, struct session *s, const char *why, uint64_t wall);

/* channel_peers.c: false when the event, or its payload, is not one the role may send. */
bool channel_client_event(struct portal *p, struct session *s, const char *event,
			  const json_t *payload, uint64_t now, uint64_t wall);
bool channel_gateway_event(struct portal *p, struct session *s, const char *event,
			   const json_t *payload, const json_t *ref, uint64_t wall);
/* An array of at most max strings? */
bool channel_strings_only(const json_t *list, size_t max);

/* channel_flows.c: a client's create_flow; false when it is malformed. */
bool flows_create(struct portal *p, struct session *s, const json_t *payload, uint64_t now,
		  uint64_t wall);
/* A gateway's flow_authorized; likewise. */
bool flows_authorized(struct portal *p, struct session *s, const json_t *payload,
		      const json_t *ref);
/* Requests whose gateway takes its time, or has gone, go to the next one; those that nobody answers
 * fail. */
void flows_pending_tick(struct portal *p, uint64_t now, uint64_t wall);
/* This gateway's connection is gone. What it was asked is seen to by the next tick, as here the
 * configuration may be half changed. */
void flows_pending_orphan(struct portal *p, uint64_t gateway);

/* access.c */
/* The client's init payload; remembers what it was told. */
json_t *access_client_init(struct portal *p, struct session *s, uint64_t wall);
/* The gateway's, the same way. */
json_t *access_gateway_init(struct portal *p, struct session *s, uint64_t wall);
/* Push what changed since the client was last told. */
void access_sync(struct portal *p, struct session *s, uint64_t wall);
/* Takes a flow back that its client does not count on: tells the gateway, leaves a tombstone. */
void access_withdraw(struct portal *p, struct flow *f, uint64_t wall);
/* The same for any flow; marks the client's resource for a flap. */
void access_revoke(struct portal *p, struct flow *f, uint64_t wall);
/* Revokes every flow the current configuration does not grant as it stands. */
void access_revoke_invalid(struct portal *p, uint64_t wall);
/* Tells gateways of flows that now may last longer. */
void access_prolong(struct portal *p, uint64_t wall);
/* Revokes all flows through a gateway that must not come back; its clients will ask for another. */
void access_drop_gateway(struct portal *p, struct device *gateway, uint64_t wall);
/* Revokes the flows through what this gateway was at another site, unless that is still here: a
 * token that changed sites while its gateway was away. */
void access_drop_elsewhere(struct portal *p, const struct device *gateway, uint64_t wall);
/* Removes expired flows and old tombstones. */
void access_expire(struct portal *p, uint64_t wall);
/* Tells a gateway of new filters; only of resources it forwards for. */
void access_sync_filters(struct portal *p, struct session *gateway);
/* After a gateway's init: repeat what was revoked lately, for those that keep what is not listed.
 */
void access_repeat_revocations(struct portal *p, struct session *gateway);
#endif
