/* SPDX-License-Identifier: Apache-2.0
 *
 * The character device behind the tunnel interface. */
#include "io/tun.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEV_DIR	  "/dev/net"
#define DEV_PATH  "/dev/net/tun"
#define DEV_MAJOR 10
#define DEV_MINOR 200

struct tun {
	int fd;
	int ifindex;
	char name[IFNAMSIZ];
	struct tun_stats stats;
	struct tun_pkt pkt[TUN_BATCH];
	uint8_t buf[TUN_BATCH][TUN_HEADROOM + TUN_PKT_MAX + TUN_TAILROOM];
};

/* Containers and small systems may lack the node although the kernel has the driver. */
static int dev_open(struct io_err *err)
{
	int fd = open(DEV_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT) {
		mkdir(DEV_DIR, 0751);
		if (mknod(DEV_PATH, S_IFCHR | 0666, makedev(DEV_MAJOR, DEV_MINOR)) == 0 ||
		    errno == EEXIST)
			fd = open(DEV_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	if (fd < 0)
		return io_fail(err, -errno, "%s: %s", DEV_PATH, strerror(errno));
	return fd;
}

static int dev_attach(struct tun *t, const char *name, struct io_err *err)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL)};

	if (strlen(name) >= IFNAMSIZ)
		return io_fail(err, -ENAMETOOLONG, "tunnel device name '%.32s' is longer than %d",
			       name, IFNAMSIZ - 1);
	strcpy(ifr.ifr_name, name);
	if (ioctl(t->fd, TUNSETIFF, &ifr) < 0)
		return io_fail(err, -errno, "tunnel device %s: %s", name,
			       errno == EBUSY ? "name is taken" : strerror(errno));
	memcpy(t->name, ifr.ifr_name, IFNAMSIZ);
	t->ifindex = (int)if_nametoindex(t->name);
	if (!t->ifindex)
		return io_fail(err, -errno, "tunnel device %s: %s", t->name, strerror(errno));
	return 0;
}

int tun_open(struct tun **out, const char *name, struct io_err *err)
{
	struct tun *t = calloc(1, sizeof(*t));
	int rc;

	*out = NULL;
	if (!t)
		return io_fail(err, -ENOMEM, "no memory for the tunnel device");
	rc = t->fd = dev_open(err);
	if (rc >= 0)
		rc = dev_attach(t, name, err);
	if (rc < 0) {
		tun_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void tun_close(struct tun *t)
{
	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	free(t);
}

int tun_fd(const struct tun *t)
{
	return t->fd;
}

int tun_ifindex(const struct tun *t)
{
	return t->ifindex;
}

const char *tun_name(const struct tun *t)
{
	return t->name;
}

const struct tun_stats *tun_stats(const struct tun *t)
{
	return &t->stats;
}

size_t tun_read(struct tun *t, struct tun_pkt **out)
{
	size_t n = 0;

	*out = t->pkt;
	while (n < TUN_BATCH) {
		ssize_t got = read(t->fd, t->buf[n] + TUN_HEADROOM, TUN_PKT_MAX);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		t->pkt[n] = (struct tun_pkt){t->buf[n] + TUN_HEADROOM, (size_t)got};
		t->stats.rx_packets++;
		t->stats.rx_bytes += (uint64_t)got;
		n++;
	}
	return n;
}

int tun_write(struct tun *t, const void *pkt, size_t len)
{
	ssize_t n;

	do
		n = write(t->fd, pkt, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		t->stats.tx_packets++;
		t->stats.tx_bytes += len;
		return 0;
	}
	t->stats.tx_last_errno = errno;
	if (errno == EAGAIN || errno == ENOBUFS)
		t->stats.tx_full++;
	else
		t->stats.tx_errors++;
	return -t->stats.tx_last_errno;
}
