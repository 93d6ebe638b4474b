/* SPDX-License-Identifier: Apache-2.0
 *
 * The sections of the configuration file, one function each, in the order they must be read: later
 * ones refer to earlier ones by name. Each returns false with the error recorded in the decoder. */
#ifndef PENSTOCK_PORTAL_CONFIG_SECTIONS_H
#define PENSTOCK_PORTAL_CONFIG_SECTIONS_H
#include "apps/portal/config_dec.h"

/* account_slug, state_file, listen, dns, limits */
bool config_section_general(struct dec *d, const json_t *root, struct config *cfg);
bool config_section_sites(struct dec *d, const json_t *root, struct config *cfg);
/* gateways, clients, relays */
bool config_section_tokens(struct dec *d, const json_t *root, struct config *cfg);
/* static_relays */
bool config_section_relays(struct dec *d, const json_t *root, struct config *cfg);
bool config_section_resources(struct dec *d, const json_t *root, struct config *cfg);
bool config_section_policies(struct dec *d, const json_t *root, struct config *cfg);
/* The "location" member of v; unknown when it is absent. */
bool config_location(struct dec *d, const json_t *v, struct place *out);
/* Is the address, or the network, inside the ranges tunnels use themselves? */
bool config_net_reserved(const struct ipnet *net);
#endif
