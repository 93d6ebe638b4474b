/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Ethernet II, with one or two VLAN tags (IEEE 802.1Q, 802.1ad). */
#ifndef PENSTOCK_WIRE_ETH_H
#define PENSTOCK_WIRE_ETH_H
#include "wire/load.h"

#define PS_ETH_HLEN	14 /* destination 6, source 6, type 2 */
#define PS_ETH_TYPE_OFF 12
#define PS_VLAN_HLEN	4

#define PS_ETHERTYPE_IP4  0x0800
#define PS_ETHERTYPE_IP6  0x86dd
#define PS_ETHERTYPE_VLAN 0x8100
#define PS_ETHERTYPE_QINQ 0x88a8

/* Length of the link header and, in *type, the ethertype behind at most one tag (host order).
 * 0: the frame is shorter than its header. */
static __always_inline __u32 ps_eth_parse(const __u8 *p, const __u8 *end, __u16 *type)
{
	*type = 0;
	if (p + PS_ETH_HLEN > end)
		return 0;
	*type = ps_host16_at(p + PS_ETH_TYPE_OFF);
	if (*type != PS_ETHERTYPE_VLAN && *type != PS_ETHERTYPE_QINQ)
		return PS_ETH_HLEN;
	if (p + PS_ETH_HLEN + PS_VLAN_HLEN > end)
		return 0;
	*type = ps_host16_at(p + PS_ETH_TYPE_OFF + PS_VLAN_HLEN);
	return PS_ETH_HLEN + PS_VLAN_HLEN;
}

/* The same behind at most two tags. */
static __always_inline __u32 ps_eth_parse_tags(const __u8 *p, const __u8 *end, __u16 *type)
{
	__u32 len = ps_eth_parse(p, end, type);

	if (len == PS_ETH_HLEN + PS_VLAN_HLEN &&
	    (*type == PS_ETHERTYPE_VLAN || *type == PS_ETHERTYPE_QINQ)) {
		if (p + PS_ETH_HLEN + 2 * PS_VLAN_HLEN > end)
			return 0;
		*type = ps_host16_at(p + PS_ETH_TYPE_OFF + 2 * PS_VLAN_HLEN);
		return PS_ETH_HLEN + 2 * PS_VLAN_HLEN;
	}
	return len;
}
#endif
