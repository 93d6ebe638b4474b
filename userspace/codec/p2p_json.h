/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON inside two peer-to-peer control packets (codec/p2p_ctl.h): which proxy addresses a
 * client has given to a name, and whether the gateway translates them.
 *
 *     {"resource":"<uuid>","domain":"example.com","proxy_ips":["100.96.0.1",…]}
 *     {"resource":"<uuid>","domain":"example.com","status":"Active"}
 *
 * Written compact, keys in this order: byte for byte what deployed peers write. Read in any order,
 * with white space and unknown keys; refused are duplicate keys, names that are no names, more
 * addresses than P2P_PROXIES_MAX. A status that is not known means Inactive.
 *
 * Not here: what addresses and names are permitted. Source: spec tunnel §2.7. */
#ifndef PENSTOCK_CODEC_P2P_JSON_H
#define PENSTOCK_CODEC_P2P_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include "base/addr.h"
#include "base/uuid.h"

#define P2P_DOMAIN_CAP	254 /* longest name as text, NUL included */
#define P2P_PROXIES_MAX 8   /* four of each family; never more are sent */

struct p2p_assigned_ips {
	struct uuid resource;
	char domain[P2P_DOMAIN_CAP]; /* as sent, without trailing dot */
	uint8_t count;		     /* at least 1 */
	struct ipaddr ips[P2P_PROXIES_MAX];
};

struct p2p_domain_status {
	struct uuid resource;
	char domain[P2P_DOMAIN_CAP];
	bool active;
};

/* 1 to 253 printable ASCII characters, no quote, backslash or slash, labels of 1 to 63, no dot at
 * the end. */
bool p2p_domain_valid(const char *domain);

/* Payload of an event. 0, or -EBADMSG; out is then undefined. */
int p2p_assigned_ips_decode(const void *json, size_t len, struct p2p_assigned_ips *out);
int p2p_domain_status_decode(const void *json, size_t len, struct p2p_domain_status *out);
/* 0 and *len (no NUL counts); -EMSGSIZE: cap is too small (P2P_CTL_PAYLOAD_CAP always does);
 * -EINVAL: in is nothing the decoder would take. */
int p2p_assigned_ips_encode(const struct p2p_assigned_ips *in, char *out, size_t cap, size_t *len);
int p2p_domain_status_encode(const struct p2p_domain_status *in, char *out, size_t cap,
			     size_t *len);
#endif
