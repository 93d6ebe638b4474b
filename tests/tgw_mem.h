/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of a gateway's policy for a test: static arrays, and the struct that hands them over. It
 * says nothing of policy, and leaves cell_cap and client_domains_max to the test. */
#ifndef PENSTOCK_TESTS_TGW_MEM_H
#define PENSTOCK_TESTS_TGW_MEM_H
#include "core/tunnel/gateway.h"

/* Once a file, at its top level: arrays of these sizes and tgw_mem_static(). nat_cells is the size
 * of each of the four indices. */
#define TGW_MEM_STATIC(n_clients, n_resources, n_grants, n_domains, n_cells, n_mappings, \
		       n_sessions, n_nat_cells)                                          \
	static struct tgw_client clients[n_clients];                                     \
	static struct tgw_resource resources[n_resources];                               \
	static struct tgw_grant grants[n_grants];                                        \
	static struct tgw_domain domains[n_domains];                                     \
	static struct idx_cell cells[n_cells];                                           \
	static struct nat_client nat_clients[n_clients];                                 \
	static struct nat_mapping nat_mappings[n_mappings];                              \
	static struct nat_session nat_sessions[n_sessions];                              \
	static struct nat_tomb nat_tombs[n_sessions];                                    \
	static struct idx_cell nat_cells[4][n_nat_cells];                                \
                                                                                         \
	static inline struct tgw_mem tgw_mem_static(void)                                \
	{                                                                                \
		return (struct tgw_mem){.clients = clients,                              \
					.resources = resources,                          \
					.grants = grants,                                \
					.domains = domains,                              \
					.cells = cells,                                  \
					.client_cap = (n_clients),                       \
					.resource_cap = (n_resources),                   \
					.grant_cap = (n_grants),                         \
					.domain_cap = (n_domains),                       \
					.nat = {.clients = nat_clients,                  \
						.mappings = nat_mappings,                \
						.sessions = nat_sessions,                \
						.tombs = nat_tombs,                      \
						.mapping_cells = nat_cells[0],           \
						.inside_cells = nat_cells[1],            \
						.outside_cells = nat_cells[2],           \
						.tomb_cells = nat_cells[3],              \
						.client_cap = (n_clients),               \
						.mapping_cap = (n_mappings),             \
						.session_cap = (n_sessions),             \
						.tomb_cap = (n_sessions)}};              \
	}
#endif
