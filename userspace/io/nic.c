/* SPDX-License-Identifier: Apache-2.0
 *
 * The old one-value ethtool requests: every kernel has them, and they are all that is asked. */
#include "io/nic.h"
#include <errno.h>
#include <glob.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

/* First line of a file in sysfs; "" when there is none. */
static void line_read(const char *path, char *out, int cap)
{
	FILE *f = fopen(path, "re");

	out[0] = '\0';
	if (f && !fgets(out, cap, f))
		out[0] = '\0';
	if (f)
		fclose(f);
}

/* Is /sys that of our network namespace, where the interface has this name? */
static bool sysfs_ours(const char *ifname)
{
	char path[64], line[32];

	snprintf(path, sizeof(path), "/sys/class/net/%.16s/ifindex", ifname);
	line_read(path, line, sizeof(line));
	return line[0] && strtoul(line, NULL, 10) == if_nametoindex(ifname);
}

static bool rps_on(const char *ifname)
{
	char path[80], line[512];
	glob_t g = {0};
	bool on = false;

	snprintf(path, sizeof(path), "/sys/class/net/%.16s/queues/rx-*/rps_cpus", ifname);
	if (!sysfs_ours(ifname) || glob(path, 0, NULL, &g))
		return false;
	for (size_t i = 0; i < g.gl_pathc && !on; i++) {
		line_read(g.gl_pathv[i], line, sizeof(line));
		on = line[strspn(line, "0,\n")] != '\0';
	}
	globfree(&g);
	return on;
}

void nic_queues_read(const char *ifname, struct nic_queues *out)
{
	struct ethtool_channels c = {.cmd = ETHTOOL_GCHANNELS};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(out, 0, sizeof(*out));
	if (fd >= 0 && request(fd, ifname, &c) == 0)
		out->rx = c.rx_count + c.combined_count;
	if (fd >= 0)
		close(fd);
	out->rps = rps_on(ifname);
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
