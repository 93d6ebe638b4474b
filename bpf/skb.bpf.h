/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * The few fields of the kernel's sk_buff that __sk_buff does not show, relocated at load. */
#ifndef PENSTOCK_SKB_BPF_H
#define PENSTOCK_SKB_BPF_H
#include <linux/types.h>

#define CHECKSUM_PARTIAL 3 /* <linux/skbuff.h>: the device, or whoever sends, completes the sum */

struct sk_buff {
	__u8 ip_summed : 2;
	__u16 csum_start; /* from head */
	__u16 csum_offset;
	unsigned char *head;
	unsigned char *data;
} __attribute__((preserve_access_index));
#endif
