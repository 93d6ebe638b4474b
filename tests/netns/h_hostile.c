/* SPDX-License-Identifier: Apache-2.0
 *
 * A client that lies: the real one, with a portal's leave and a session, but that the payload of
 * whatever its host sends to UDP port 9999 goes into the tunnel as a packet by itself. */
#include "apps/daemon/daemon.h"

#define PORT 9999

static enum ps_reason_id check_out(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
				   struct tunnel_flow_grant *out, uint64_t now)
{
	size_t head = (size_t)m->l4_off + 8;

	if (m->l4 != IP_L4_UDP || m->dport != PORT)
		return role_client.check_out(d, pkt, m, out, now);
	*out = (struct tunnel_flow_grant){.slot = TUNNEL_NO_SLOT};
	for (uint32_t slot = 0; slot < d->max_peers; slot++) {
		const struct node_conn *c = node_conn(&d->node, slot);

		if (!c || !c->established)
			continue;
		fwd_peer_set_mtu(&d->fwd, slot, PS_INNER_MAX);
		data_send(d, slot, pkt + head, m->total_len - head, 0, now);
	}
	return PS_R_UTX_IGNORED;
}

int main(int argc, char **argv)
{
	struct role hostile = role_client;

	hostile.check_out = check_out;
	return daemon_main(&hostile, argc, argv);
}
