/* SPDX-License-Identifier: Apache-2.0
 * NAT after RFC 4787: mapping and filtering behaviour chosen independently; filters belong to a
 * mapping. A transparent one is a firewall: one mapping for each inside endpoint, to itself. */
#include <string.h>

#include "tests/sim/sim.h"

void sim_nat_init(struct sim_nat *n, const struct sim_nat_cfg *cfg)
{
	memset(n, 0, sizeof(*n));
	n->cfg = *cfg;
	n->next_port = 20000;
}

/* The part of an endpoint that behaviour `dep` looks at. */
static struct endpoint key_of(enum sim_nat_dep dep, const struct endpoint *e)
{
	struct endpoint k = {0};

	if (dep != SIM_INDEPENDENT)
		k.ip = e->ip;
	if (dep == SIM_ADDR_PORT_DEPENDENT)
		k.port = e->port;
	return k;
}

static bool expired(const struct sim_nat *n, const struct sim_mapping *m, uint64_t now)
{
	return n->cfg.timeout_ns && time_since(m->used_at, now) >= n->cfg.timeout_ns;
}

static struct sim_mapping *mapping_for(struct sim_nat *n, const struct endpoint *inside,
				       const struct endpoint *dst, uint64_t now)
{
	struct endpoint key = key_of(n->cfg.transparent ? SIM_INDEPENDENT : n->cfg.mapping, dst);
	struct sim_mapping *m, *oldest = NULL;

	for (unsigned i = 0; i < n->n_mappings; i++) {
		m = &n->mappings[i];
		if (endpoint_eq(&m->inside, inside) && endpoint_eq(&m->key, &key) &&
		    !expired(n, m, now))
			return m;
		if (!oldest || m->used_at < oldest->used_at)
			oldest = m;
	}
	if (n->n_mappings < SIM_MAPPINGS_MAX)
		m = &n->mappings[n->n_mappings++];
	else
		m = oldest;
	memset(m, 0, sizeof(*m));
	m->inside = *inside;
	m->key = key;
	m->port = n->cfg.transparent ? inside->port : n->next_port++;
	return m;
}

static void permit(struct sim_mapping *m, const struct endpoint *dst)
{
	for (unsigned i = 0; i < m->n_permits; i++)
		if (endpoint_eq(&m->permits[i], dst))
			return;
	m->permits[m->next_permit++ % SIM_PERMITS_MAX] = *dst;
	if (m->n_permits < SIM_PERMITS_MAX)
		m->n_permits++;
}

bool sim_nat_out(struct sim_nat *n, const struct endpoint *inside, const struct endpoint *dst,
		 struct endpoint *outside, uint64_t now)
{
	struct sim_mapping *m = mapping_for(n, inside, dst, now);

	if (!m)
		return false;
	m->used_at = now;
	permit(m, dst);
	*outside = *inside;
	if (!n->cfg.transparent)
		*outside = (struct endpoint){.ip = n->cfg.public_ip, .port = m->port};
	return true;
}

bool sim_nat_in(struct sim_nat *n, const struct endpoint *outside, const struct endpoint *src,
		struct endpoint *inside, uint64_t now)
{
	struct endpoint want = key_of(n->cfg.filtering, src);

	for (unsigned i = 0; i < n->n_mappings; i++) {
		struct sim_mapping *m = &n->mappings[i];

		if (m->port != outside->port || expired(n, m, now))
			continue;
		if (n->cfg.transparent && !endpoint_eq(&m->inside, outside))
			continue;
		for (unsigned p = 0; p < m->n_permits; p++) {
			struct endpoint have = key_of(n->cfg.filtering, &m->permits[p]);

			if (endpoint_eq(&have, &want)) {
				*inside = m->inside;
				return true;
			}
		}
	}
	return false;
}
