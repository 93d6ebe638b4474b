/* SPDX-License-Identifier: Apache-2.0
 *
 * The gateway's one nftables table, `inet penstock_<instance>`: masquerade of tunnel sources that
 * leave by any other interface, forwarding between the tunnel device and the rest accepted, TCP MSS
 * clamped to the route's MTU. Made in one transaction (a stale one is replaced in the same),
 * removed at exit.
 *
 * A table of ours can only add: a `drop` policy or rule in another table's forward hook still wins
 * over our accept. nft_forward_blockers names such chains, for the log and the doctor. */
#ifndef PENSTOCK_IO_NFT_H
#define PENSTOCK_IO_NFT_H
#include <stdbool.h>
#include <stddef.h>
#include "io/err.h"

#define NFT_TUNNEL_V4  "100.64.0.0/11"
#define NFT_TUNNEL_V6  "fd00:2021:1111::/107"
#define NFT_SCRIPT_MAX 2048

struct nft_cfg {
	const char *instance; /* [a-z0-9_-]{1,31}; '-' becomes '_' in the table's name */
	const char *tun_name;
	bool masquerade; /* else forward rules and clamp only */
};

/* The script that installs (or, with cfg->tun_name NULL, removes) the table, for display and tests.
 * 0; -EINVAL for a name that is not plain; -EMSGSIZE. */
int nft_render(const struct nft_cfg *cfg, char *buf, size_t cap);
int nft_install(const struct nft_cfg *cfg, struct io_err *err);
/* Remove the table; one that is not there is fine. */
int nft_remove(const char *instance, struct io_err *err);
/* Names ("inet filter forward", comma-separated) of other tables' forward chains whose policy is
 * drop. Returns their number, or -errno. */
int nft_forward_blockers(const char *instance, char *buf, size_t cap);
#endif
