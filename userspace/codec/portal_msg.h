/* SPDX-License-Identifier: Apache-2.0
 *
 * Portal messages in plain structs: what a client and a gateway receive and send over their channel
 * (spec portal §3, §4; SEED wire, plus the optional fields of its successor that are safe to read).
 *
 * Ownership: decoding copies nothing variable. Strings and lists in the structs are borrowed from
 * the payload and live as long as the caller holds a reference to it. Lists: a `struct pmsg_list`
 * is validated completely by the decode that produced it, so its accessors cannot fail for i <
 * pmsg_count(). The exception is the client's resource list, which is tolerant per element by
 * contract: pmsg_client_resource_at() says which to skip. Unknown keys are ignored. A wrong type or
 * a missing required key fails the message, and struct pmsg_err names the field
 * ("resources[3].gateway_groups[0].id"). */
#ifndef PENSTOCK_CODEC_PORTAL_MSG_H
#define PENSTOCK_CODEC_PORTAL_MSG_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/uuid.h"

/* Events sent by components. */
#define PMSG_EV_CREATE_FLOW	       "create_flow"
#define PMSG_EV_FLOW_AUTHORIZED	       "flow_authorized"
#define PMSG_EV_CANDIDATES	       "broadcast_ice_candidates"
#define PMSG_EV_INVALIDATED_CANDIDATES "broadcast_invalidated_ice_candidates"

enum pmsg_role { PMSG_ROLE_CLIENT, PMSG_ROLE_GATEWAY };

struct pmsg_err {
	char field[64];
	const char *why; /* static */
};

/* Borrowed view of a JSON array; json NULL is an empty list. */
struct pmsg_list {
	const json_t *json;
};
static inline size_t pmsg_count(struct pmsg_list l)
{
	return json_array_size(l.json);
}

struct pmsg_ice_creds {
	const char *username, *password;
};

struct pmsg_interface {
	struct ipaddr v4, v6;	   /* always both */
	struct pmsg_list dns;	   /* pmsg_dns_at(); clients only */
	const char *search_domain; /* NULL: none; clients only */
};

/* Two adjacent entries of one id are one dual-stack relay; see pmsg_relay_next(). */
struct pmsg_relay {
	struct uuid id;
	struct endpoint v4, v6; /* ip.family 0: not offered; at least one is */
	const char *username, *password;
	uint64_t expires_at; /* unix seconds */
};

enum pmsg_resource_type { PMSG_RESOURCE_CIDR, PMSG_RESOURCE_DNS, PMSG_RESOURCE_INTERNET };
enum pmsg_ip_stack { PMSG_STACK_DUAL, PMSG_STACK_V4, PMSG_STACK_V6 };

struct pmsg_resource {
	struct uuid id;
	enum pmsg_resource_type type;
	const char
		*name; /* client: "Internet Resource" when absent there; gateway internet: NULL */
	struct ipnet net;	 /* cidr; family 0 otherwise */
	const char *dns_pattern; /* dns; NULL otherwise */
	const char *description; /* client view; may be NULL */
	enum pmsg_ip_stack ip_stack;
	struct pmsg_list sites;	  /* client view: pmsg_site_at() */
	struct pmsg_list filters; /* pmsg_filter_at(); EMPTY MEANS EVERYTHING IS ALLOWED. Client
				   * view: empty as well when there are none we could read */
};

struct pmsg_site {
	struct uuid id;
	const char *name;
};

enum pmsg_proto { PMSG_PROTO_TCP = 6, PMSG_PROTO_UDP = 17, PMSG_PROTO_ICMP = 1 };
struct pmsg_filter {
	enum pmsg_proto proto;
	uint16_t port_first, port_last; /* inclusive, host order; 0..65535 for icmp */
};

struct pmsg_authorization {
	struct uuid client_id, resource_id;
	bool has_expires_at; /* a SEED portal sends none: keep what is known */
	uint64_t expires_at;
};

enum pmsg_kind {
	PMSG_UNKNOWN, /* not an event of this role */
	PMSG_CLIENT_INIT,
	PMSG_GATEWAY_INIT,
	PMSG_CONFIG_CHANGED,
	PMSG_RESOURCE_CHANGED, /* resource_created_or_updated */
	PMSG_RESOURCE_DELETED,
	PMSG_RELAYS_PRESENCE,
	PMSG_FLOW_CREATED,
	PMSG_FLOW_CREATION_FAILED,
	PMSG_AUTHORIZE_FLOW,
	PMSG_REJECT_ACCESS,
	PMSG_EXPIRY_UPDATED, /* access_authorization_expiry_updated */
	PMSG_RESOURCE_UPDATED,
	PMSG_CANDIDATES,	     /* ice_candidates */
	PMSG_INVALIDATED_CANDIDATES, /* invalidate_ice_candidates */
	PMSG_DISCONNECT,
};

struct pmsg_client_init {
	struct pmsg_interface interface;
	struct pmsg_list resources; /* pmsg_client_resource_at() */
	struct pmsg_list relays;    /* pmsg_relay_next() */
};

struct pmsg_gateway_init {
	struct pmsg_interface interface;
	bool v4_masquerade, v6_masquerade;
	const char *account_slug; /* may be NULL */
	struct pmsg_list relays;
	bool has_authorizations; /* false: the key was absent; revoke nothing because of it */
	struct pmsg_list authorizations; /* pmsg_authorization_at() */
};

struct pmsg_relays_presence {
	struct pmsg_list disconnected; /* pmsg_uuid_at() */
	struct pmsg_list connected;    /* pmsg_relay_next() */
};

struct pmsg_flow_created {
	struct uuid resource_id, gateway_id, site_id;
	uint8_t gateway_key[32];
	struct ipaddr gateway_v4, gateway_v6;
	uint8_t psk[32]; /* secret: pmsg_fini() wipes it */
	struct pmsg_ice_creds client_ice, gateway_ice;
};

enum pmsg_flow_failure {
	PMSG_FLOW_NOT_FOUND,
	PMSG_FLOW_OFFLINE,
	PMSG_FLOW_FORBIDDEN,
	PMSG_FLOW_UNKNOWN_REASON,
};
struct pmsg_flow_creation_failed {
	struct uuid resource_id;
	enum pmsg_flow_failure reason;
	const char *reason_text;
	struct pmsg_list violated_properties; /* pmsg_string_at() */
};

struct pmsg_authorize_flow {
	const char *ref; /* opaque; goes back in flow_authorized */
	struct pmsg_resource resource;
	struct uuid client_id;
	uint8_t client_key[32];
	uint8_t psk[32]; /* secret: pmsg_fini() wipes it */
	struct ipaddr client_v4, client_v6;
	struct pmsg_ice_creds client_ice, gateway_ice;
	bool expires; /* false: expires_at was null, never expires */
	uint64_t expires_at;
};

struct pmsg_access {
	struct uuid client_id, resource_id;
	uint64_t expires_at; /* PMSG_EXPIRY_UPDATED only */
};

struct pmsg_candidates {
	struct uuid peer_id; /* gateway_id at a client, client_id at a gateway */
	struct pmsg_list
		lines; /* pmsg_string_at(): opaque here, codec/sdp parses them one by one */
};

struct pmsg {
	enum pmsg_kind kind;
	union {
		struct pmsg_client_init client_init;
		struct pmsg_gateway_init gateway_init;
		struct pmsg_interface config_changed;
		struct pmsg_resource
			resource; /* RESOURCE_CHANGED (client), RESOURCE_UPDATED (gateway) */
		struct uuid resource_deleted;
		struct pmsg_relays_presence relays_presence;
		struct pmsg_flow_created flow_created;
		struct pmsg_flow_creation_failed flow_creation_failed;
		struct pmsg_authorize_flow authorize_flow;
		struct pmsg_access access; /* REJECT_ACCESS, EXPIRY_UPDATED */
		struct pmsg_candidates candidates;
		const char *disconnect_reason;
	};
};

/* PMSG_UNKNOWN when a component of this role does not know the event. */
enum pmsg_kind pmsg_kind(enum pmsg_role role, const char *event);
/* 0; -ENOENT: unknown event, to be ignored; -EPROTONOSUPPORT: a single client resource of a type or
 * shape to be skipped (only RESOURCE_CHANGED); -EBADMSG: undecodable, drop it and count it. Only
 * with 0 is m valid; err is set for the last two. */
int pmsg_decode(struct pmsg *m, enum pmsg_role role, const char *event, const json_t *payload,
		struct pmsg_err *err);
/* Wipes the key material in m. */
void pmsg_fini(struct pmsg *m);

/* ---- list elements; i < pmsg_count() ---- */
const char *pmsg_string_at(struct pmsg_list l, size_t i);
struct uuid pmsg_uuid_at(struct pmsg_list l, size_t i);
struct endpoint pmsg_dns_at(struct pmsg_list l, size_t i);
struct pmsg_site pmsg_site_at(struct pmsg_list l, size_t i);
struct pmsg_filter pmsg_filter_at(struct pmsg_list l, size_t i);
struct pmsg_authorization pmsg_authorization_at(struct pmsg_list l, size_t i);
/* 0, or -EPROTONOSUPPORT: skip this element (unknown type, missing or bad field), err says which.
 */
int pmsg_client_resource_at(struct pmsg_list l, size_t i, struct pmsg_resource *out,
			    struct pmsg_err *err);
/* Iterates from *cursor = 0, merging adjacent entries of one id and passing over `stun` entries. */
bool pmsg_relay_next(struct pmsg_list l, size_t *cursor, struct pmsg_relay *out);

/* ---- payloads sent, as NUL-terminated JSON text into buf. 0, -EMSGSIZE or -ENOMEM ---- */
int pmsg_encode_create_flow(const struct uuid *resource_id, const struct uuid *connected_gateways,
			    size_t n_gateways, char *buf, size_t cap);
/* ref: the opaque string of authorize_flow; the store must outlive the payload it was borrowed
 * from. */
int pmsg_encode_flow_authorized(const char *ref, char *buf, size_t cap);
/* For both candidate events. peer_id: the gateway when we are a client, the client when a gateway.
 */
int pmsg_encode_candidates(enum pmsg_role role, const struct uuid *peer_id,
			   const char *const *lines, size_t n_lines, char *buf, size_t cap);
#endif
