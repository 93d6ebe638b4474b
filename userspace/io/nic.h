/* SPDX-License-Identifier: Apache-2.0
 *
 * Offload state of an interface, read by SIOCETHTOOL, for status and for the figures of a
 * benchmark. We report these settings; we never change them. */
#ifndef PENSTOCK_IO_NIC_H
#define PENSTOCK_IO_NIC_H
#include <stdbool.h>
#include "io/err.h"

struct nic_offload {
	char driver[32]; /* "" when the driver does not say */
	bool gro, gso, tso, lro, rx_csum, tx_csum, sg;
};

int nic_offload_read(const char *ifname, struct nic_offload *out, struct io_err *err);
#endif
