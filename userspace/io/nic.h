/* SPDX-License-Identifier: Apache-2.0
 *
 * Offload state and queues of an interface, read by SIOCETHTOOL and in sysfs, for status and for
 * the figures of a benchmark. We report these settings; we never change them. */
#ifndef PENSTOCK_IO_NIC_H
#define PENSTOCK_IO_NIC_H
#include <stdbool.h>
#include <stdint.h>
#include "io/err.h"

struct nic_offload {
	char driver[32]; /* "" when the driver does not say */
	bool gro, gso, tso, lro, rx_csum, tx_csum, sg;
};

struct nic_queues {
	uint32_t rx; /* 0: the driver does not say */
	bool rps;    /* some queue's packets go on to processors by RPS */
};

void nic_queues_read(const char *ifname, struct nic_queues *out);
int nic_offload_read(const char *ifname, struct nic_offload *out, struct io_err *err);
#endif
