/* SPDX-License-Identifier: Apache-2.0
 *
 * The old one-value ethtool requests: every kernel has them, and they are all that is asked. */
#include "io/nic.h"
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int request(int fd, const char *ifname, void *data)
{
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	ifr.ifr_data = data;
	return ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

static bool flag(int fd, const char *ifname, uint32_t cmd, uint32_t mask)
{
	struct ethtool_value value = {.cmd = cmd};

	return request(fd, ifname, &value) == 0 && (value.data & mask);
}

int nic_offload_read(const char *ifname, struct nic_offload *out, struct io_err *err)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	int fd, rc;

	memset(out, 0, sizeof(*out));
	if (!if_nametoindex(ifname))
		return io_fail(err, -ENODEV, "interface %.16s: %s", ifname, strerror(ENODEV));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return io_fail(err, -errno, "socket: %s", strerror(errno));
	rc = request(fd, ifname, &info);
	if (rc == 0)
		snprintf(out->driver, sizeof(out->driver), "%s", info.driver);
	out->gro = flag(fd, ifname, ETHTOOL_GGRO, 1);
	out->gso = flag(fd, ifname, ETHTOOL_GGSO, 1);
	out->tso = flag(fd, ifname, ETHTOOL_GTSO, 1);
	out->rx_csum = flag(fd, ifname, ETHTOOL_GRXCSUM, 1);
	out->tx_csum = flag(fd, ifname, ETHTOOL_GTXCSUM, 1);
	out->sg = flag(fd, ifname, ETHTOOL_GSG, 1);
	out->lro = flag(fd, ifname, ETHTOOL_GFLAGS, ETH_FLAG_LRO);
	close(fd);
	return 0;
}
