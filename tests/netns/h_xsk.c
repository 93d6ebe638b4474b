/* SPDX-License-Identifier: Apache-2.0
 *
 * h_xsk IFNAME: has the AF_XDP socket of the interface's first receive queue until it is ended, so
 * that nobody else gets one. */
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>
#include "io/xsk_rx.h"

int main(int argc, char **argv)
{
	struct xsk_rx_cfg cfg = {.ifname = argc == 2 ? argv[1] : ""};
	struct io_err err = {""};
	struct xsk_rx *x;

	cfg.ifindex = if_nametoindex(cfg.ifname);
	if (xsk_rx_open(&x, &cfg, &err)) {
		fprintf(stderr, "%s: %s\n", cfg.ifname, err.msg);
		return 1;
	}
	puts("holding");
	fflush(stdout);
	pause();
	return 0;
}
