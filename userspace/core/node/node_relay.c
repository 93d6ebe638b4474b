/* SPDX-License-Identifier: Apache-2.0
 * The set of relays; see node_relay.h. */
#include "core/node/node.h"
#include "core/node/node_priv.h"

void node_update_relays(struct node *n, const struct uuid *gone, uint32_t n_gone,
			const struct node_relay *add, uint32_t n_add, uint64_t now)
{
	(void)gone;
	(void)n_gone;
	(void)add;
	(void)now;
	n->acct.relays_refused += n_add;
}

uint32_t node_n_relays(const struct node *n)
{
	(void)n;
	return 0;
}

bool node_relay_view(const struct node *n, uint32_t i, struct node_relay_view *out)
{
	(void)n;
	(void)i;
	(void)out;
	return false;
}

bool node_conn_path(const struct node *n, uint32_t slot, struct node_path *out, uint64_t now)
{
	const struct node_conn *c = node_conn(n, slot);

	(void)now;
	if (!c || !c->has_path)
		return false;
	*out = (struct node_path){.ice = c->path};
	return true;
}

bool node_route(const struct node *n, uint32_t slot, struct node_route *out, uint64_t now)
{
	const struct node_conn *c = node_conn(n, slot);

	(void)now;
	if (!c || !c->has_path)
		return false;
	*out = (struct node_route){.local = c->path.local, .remote = c->path.remote};
	return true;
}
