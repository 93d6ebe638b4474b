/* SPDX-License-Identifier: Apache-2.0
 *
 * Contract in dns_rebind.h. */
#include "core/tunnel/dns_rebind.h"

#include <string.h>
#include "core/tunnel/tunnel.h"

/* The IPv4 address inside an IPv4-mapped one, else the address itself. */
static struct ipaddr unmapped(const struct ipaddr *a)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return a->family == 6 && !memcmp(a->b, prefix, sizeof(prefix)) ? ipaddr_from(4, a->b + 12)
								       : *a;
}

bool dns_rebind_found(struct dns_msg *m)
{
	struct dns_record r;
	struct ipaddr ip;
	bool found = false;

	dns_msg_rewind(m);
	while (!found && dns_msg_next(m, &r))
		for (uint32_t n = 0; !found && dns_record_address(&r, n, &ip); n++) {
			ip = unmapped(&ip);
			found = tunnel_in_reserved_range(&ip);
		}
	dns_msg_rewind(m);
	return found;
}
