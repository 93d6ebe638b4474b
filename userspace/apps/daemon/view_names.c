/* SPDX-License-Identifier: Apache-2.0
 *
 * A gateway's names and translations in its status: how much there is, what was refused and why.
 * What single clients have is in `resources` and `flows`. */
#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"

json_t *view_names_status(const struct daemon *d)
{
	const struct tgw_counters *n = &d->tgw.counters;
	json_t *o = json_object();

	put(o, "held", num(d->tgw.domain_count));
	put(o, "cap", num(d->tgw.mem.domain_cap));
	put(o, "resolving", num(d->asks.open));
	put(o, "refused_resource", num(n->refused_resource));
	put(o, "refused_name", num(n->refused_name));
	put(o, "refused_proxies", num(n->refused_proxies));
	put(o, "over_rate", num(d->asks.counters.over_rate));
	put(o, "over_open", num(d->asks.counters.over_open));
	put(o, "table_full", num(n->domain_table_full));
	put(o, "share_full", num(n->domain_share_full));
	put(o, "evicted", num(n->domain_evicted));
	put(o, "reals_refused", num(n->reals_refused));
	put(o, "resolved_late", num(n->resolved_late));
	return o;
}

json_t *view_nat_status(const struct daemon *d)
{
	const struct nat *n = d->nat;
	const struct nat_counters *c = &n->counters;
	json_t *o = json_object();

	put(o, "mappings", num(n->mapping_count));
	put(o, "mapping_cap", num(n->mem.mapping_cap));
	put(o, "sessions", num(n->session_count));
	put(o, "session_cap", num(n->mem.session_cap));
	put(o, "tombstones", num(n->tomb_count));
	put(o, "made", num(c->made));
	put(o, "port_changed", num(c->port_changed));
	put(o, "expired", num(c->expired));
	put(o, "closed", num(c->closed));
	put(o, "ports_exhausted", num(c->ports_exhausted));
	put(o, "session_table_full", num(c->session_table_full));
	put(o, "session_share_full", num(c->session_share_full));
	put(o, "mapping_table_full", num(c->mapping_table_full));
	put(o, "mapping_share_full", num(c->mapping_share_full));
	put(o, "tombstones_evicted", num(c->tomb_evicted));
	put(o, "icmp_translated", num(c->icmp_translated));
	put(o, "icmp_refused", num(c->icmp_refused));
	return o;
}
