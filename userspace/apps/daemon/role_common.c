/* SPDX-License-Identifier: Apache-2.0
 * Portal messages as both roles translate them for policy and node. */
#include <errno.h>
#include <string.h>

#include "apps/daemon/daemon.h"
#include "crypto/crypto.h"

static int add_filter(struct filter_set *set, const struct pmsg_filter *f)
{
	switch (f->proto) {
	case PMSG_PROTO_TCP:
		return filter_set_add_ports(set, IP_PROTO_TCP, f->port_first, f->port_last);
	case PMSG_PROTO_UDP:
		return filter_set_add_ports(set, IP_PROTO_UDP, f->port_first, f->port_last);
	case PMSG_PROTO_ICMP:
		filter_set_add_icmp(set);
		return 0;
	}
	return -EINVAL;
}

int role_resource(const struct pmsg_resource *in, struct tunnel_resource *out)
{
	*out = (struct tunnel_resource){.id = in->id};
	tunnel_text_copy(out->name, sizeof(out->name), in->name ? in->name : "");
	filter_set_init(&out->filters);
	switch (in->type) {
	case PMSG_RESOURCE_CIDR:
		out->type = TUNNEL_RESOURCE_CIDR;
		out->net = in->net;
		break;
	case PMSG_RESOURCE_DNS:
		out->type = TUNNEL_RESOURCE_DNS;
		tunnel_text_copy(out->address, sizeof(out->address), in->dns_pattern);
		break;
	case PMSG_RESOURCE_INTERNET:
		out->type = TUNNEL_RESOURCE_INTERNET;
		if (!out->name[0]) /* gateways are told its id alone */
			tunnel_text_copy(out->name, sizeof(out->name), "Internet Resource");
		break;
	}
	for (size_t i = 0; i < pmsg_count(in->filters); i++) {
		struct pmsg_filter f = pmsg_filter_at(in->filters, i);

		if (add_filter(&out->filters, &f)) {
			/* never read as "everything", should the first one not fit */
			out->filters.restricted = true;
			return -E2BIG;
		}
	}
	return 0;
}

static bool put(char *dst, size_t cap, const char *src)
{
	size_t len = strlen(src);

	if (!len || len >= cap)
		return false;
	memset(dst, 0, cap);
	memcpy(dst, src, len);
	return true;
}

bool role_creds(const struct pmsg_ice_creds *in, struct ice_creds *out)
{
	return put(out->ufrag, sizeof(out->ufrag), in->username) &&
	       put(out->pwd, sizeof(out->pwd), in->password);
}

static bool to_relay(const struct pmsg_relay *in, struct node_relay *out)
{
	*out = (struct node_relay){.id = in->id, .addr4 = in->v4, .addr6 = in->v6};
	return put(out->username, sizeof(out->username), in->username) &&
	       put(out->password, sizeof(out->password), in->password);
}

void role_relays(struct daemon *d, struct pmsg_list gone, struct pmsg_list relays, uint64_t now)
{
	struct node_relay add[NODE_RELAYS_MAX];
	struct uuid ids[2 * NODE_RELAYS_MAX];
	struct pmsg_relay r;
	uint32_t n = 0, n_gone = 0, skipped = 0;
	size_t cursor = 0;

	/* More ids than we ever hold relays cannot all be ours. */
	for (size_t i = 0; i < pmsg_count(gone); i++) {
		struct uuid id = pmsg_uuid_at(gone, i);

		LOG_INFO("relay", "relay gone, says the portal", LOG_UUID("rid", &id));
		if (n_gone < 2 * NODE_RELAYS_MAX)
			ids[n_gone++] = id;
	}
	while (pmsg_relay_next(relays, &cursor, &r)) {
		if (n == NODE_RELAYS_MAX || !to_relay(&r, &add[n])) {
			skipped++;
			continue;
		}
		LOG_DEBUG("relay", "relay named", LOG_UUID("rid", &r.id),
			  LOG_ENDPOINT("addr4", &r.v4), LOG_ENDPOINT("addr6", &r.v6));
		n++;
	}
	if (skipped)
		LOG_WARN("relay", "relays skipped: too many, or unusable credentials",
			 LOG_U64("count", skipped));
	node_update_relays(&d->node, ids, n_gone, add, n, now);
	crypto_wipe(add, sizeof(add));
	link_drain(d, now);
}

void role_candidates(struct daemon *d, uint32_t slot, const struct pmsg_candidates *c, bool gone,
		     uint64_t now)
{
	if (!node_conn(&d->node, slot)) {
		LOG_DEBUG("ice", "candidates for an unknown connection",
			  LOG_UUID("cid", &c->peer_id));
		return;
	}
	for (size_t i = 0; i < pmsg_count(c->lines); i++) {
		const char *line = pmsg_string_at(c->lines, i);
		bool ok = gone ? node_remove_candidate(&d->node, slot, line, strlen(line), now)
			       : node_add_candidate(&d->node, slot, line, strlen(line), now);

		LOG_DEBUG("ice", gone ? "candidate invalidated" : "candidate received",
			  LOG_UUID("cid", &c->peer_id), LOG_STR("candidate", line),
			  LOG_BOOL("used", ok));
		link_drain(d, now);
	}
}
