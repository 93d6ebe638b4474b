/* SPDX-License-Identifier: Apache-2.0
 *
 * The character device behind the tunnel interface. */
#include "io/tun.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fwd/off_split.h"

#define DEV_DIR	  "/dev/net"
#define DEV_PATH  "/dev/net/tun"
#define DEV_MAJOR 10
#define DEV_MINOR 200

/* Linux 6.2; older headers lack them. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define REFUSED_MAX 8 /* refusals in a row before a kind of joining is given up */
#define SLOT_ALIGN  64
#define VNET_LEN    sizeof(struct virtio_net_hdr)

_Static_assert(VNET_LEN == 10 && VNET_LEN <= TUN_HEADROOM, "the header goes where headroom is");

struct tun {
	/* Settled when it is opened (but for off.no_*, the writer's, which change once). */
	int fd;
	int ifindex;
	char name[IFNAMSIZ];
	bool multi;
	struct tun_offload off;
	/* The reader's, up to the middle of stats; then the writer's. */
	_Alignas(TUN_LINE) bool more;
	struct tun_stats stats;
	unsigned refused[OFF_UDP + 1]; /* in a row, by enum off_kind */
	_Alignas(TUN_LINE) struct tun_pkt pkt[TUN_BATCH];
	_Alignas(TUN_LINE) uint8_t arena[TUN_ARENA];
	_Alignas(TUN_LINE) uint8_t whole[OFF_SUPER_MAX]; /* of a refused joined packet */
	uint8_t part[OFF_SUPER_MAX];
};

/* One thread counts, others may look. */
#define COUNT(field, n) __atomic_store_n(&(field), (field) + (n), __ATOMIC_RELAXED)
#define LOOK(field)	__atomic_load_n(&(field), __ATOMIC_RELAXED)

/* ---- opening ---- */

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

/* A new device. Kernels that refuse several queues get the question again without. */
static int set_iff(struct tun *t, struct ifreq *ifr, bool multi)
{
	const short flags = ifr->ifr_flags;

	t->multi = multi;
	if (multi) {
		ifr->ifr_flags = (short)(flags | IFF_MULTI_QUEUE);
		if (ioctl(t->fd, TUNSETIFF, ifr) == 0)
			return 0;
		if (errno != EINVAL)
			return -errno;
		t->multi = false;
		ifr->ifr_flags = flags;
	}
	return ioctl(t->fd, TUNSETIFF, ifr) < 0 ? -errno : 0;
}

static int dev_attach(struct tun *t, const struct tun_cfg *cfg, struct io_err *err)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL)};
	unsigned features = 0;
	int rc;

	if (strlen(cfg->name) >= IFNAMSIZ)
		return io_fail(err, -ENAMETOOLONG, "tunnel device name '%.32s' is longer than %d",
			       cfg->name, IFNAMSIZ - 1);
	strcpy(ifr.ifr_name, cfg->name);
	if (ioctl(t->fd, TUNGETFEATURES, &features) < 0)
		features = 0;
	t->off.vnet_hdr = !cfg->no_gso && (features & IFF_VNET_HDR);
	if (t->off.vnet_hdr)
		ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_VNET_HDR);
	rc = set_iff(t, &ifr, cfg->multi && (features & IFF_MULTI_QUEUE));
	if (rc)
		return io_fail(err, rc, "tunnel device %s: %s", cfg->name,
			       rc == -EBUSY ? "name is taken" : strerror(-rc));
	memcpy(t->name, ifr.ifr_name, IFNAMSIZ);
	t->ifindex = (int)if_nametoindex(t->name);
	if (!t->ifindex)
		return io_fail(err, -errno, "tunnel device %s: %s", t->name, strerror(errno));
	return 0;
}

/* The most the kernel agrees to, from the newest down. */
static int dev_offload(struct tun *t, struct io_err *err)
{
	static const unsigned tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int len = VNET_LEN;

	if (!t->off.vnet_hdr)
		return 0;
	if (ioctl(t->fd, TUNSETVNETHDRSZ, &len) < 0)
		return io_fail(err, -errno, "tunnel device %s: header size: %s", t->name,
			       strerror(errno));
	t->off.uso = !ioctl(t->fd, TUNSETOFFLOAD, (unsigned long)(tso | TUN_F_USO4 | TUN_F_USO6));
	t->off.tso = t->off.uso || !ioctl(t->fd, TUNSETOFFLOAD, (unsigned long)tso);
	t->off.csum = t->off.tso || !ioctl(t->fd, TUNSETOFFLOAD, (unsigned long)TUN_F_CSUM);
	return 0;
}

/* A queue more. The kernel knows the device by its name, which may have changed, and makes one
 * where there is none of that name: that one goes again with its descriptor. */
static int queue_attach(struct tun *t, const struct tun *first, struct io_err *err)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE |
						 (first->off.vnet_hdr ? IFF_VNET_HDR : 0))};

	if (!first->multi)
		return io_fail(err, -EOPNOTSUPP, "tunnel device %s has one queue", first->name);
	if (!if_indextoname((unsigned)first->ifindex, ifr.ifr_name))
		return io_fail(err, -ENODEV, "tunnel device %s is gone", first->name);
	if (ioctl(t->fd, TUNSETIFF, &ifr) < 0)
		return io_fail(err, -errno, "tunnel device %s: one more queue: %s", first->name,
			       strerror(errno));
	memcpy(t->name, ifr.ifr_name, IFNAMSIZ);
	t->ifindex = (int)if_nametoindex(t->name);
	if (t->ifindex != first->ifindex)
		return io_fail(err, -ENODEV, "tunnel device %s is gone", first->name);
	t->multi = true;
	t->off = first->off;
	t->off.no_tcp = t->off.no_udp = false;
	return 0;
}

static struct tun *tun_new(struct io_err *err, int *rc)
{
	struct tun *t = aligned_alloc(TUN_LINE, sizeof(*t));

	*rc = t ? 0 : io_fail(err, -ENOMEM, "no memory for the tunnel device");
	if (!t)
		return NULL;
	memset(t, 0, offsetof(struct tun, pkt));
	*rc = t->fd = dev_open(err);
	return t;
}

static int tun_end(struct tun **out, struct tun *t, int rc)
{
	if (rc < 0)
		tun_close(t);
	*out = rc < 0 ? NULL : t;
	return rc < 0 ? rc : 0;
}

int tun_open(struct tun **out, const struct tun_cfg *cfg, struct io_err *err)
{
	int rc;
	struct tun *t = tun_new(err, &rc);

	if (rc >= 0)
		rc = dev_attach(t, cfg, err);
	if (rc >= 0)
		rc = dev_offload(t, err);
	return tun_end(out, t, rc);
}

int tun_open_queue(struct tun **out, struct tun *first, struct io_err *err)
{
	int rc;
	struct tun *t = tun_new(err, &rc);

	if (rc >= 0)
		rc = queue_attach(t, first, err);
	return tun_end(out, t, rc);
}

void tun_close(struct tun *t)
{
	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	free(t);
}

bool tun_multi(const struct tun *t)
{
	return t->multi;
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

const struct tun_offload *tun_offload(const struct tun *t)
{
	return &t->off;
}

const struct tun_stats *tun_stats(const struct tun *t)
{
	return &t->stats;
}

void tun_stats_add(struct tun_stats *sum, const struct tun *t)
{
	const struct tun_stats *s = &t->stats;
	int last = LOOK(s->tx_last_errno);

	sum->rx_packets += LOOK(s->rx_packets);
	sum->rx_bytes += LOOK(s->rx_bytes);
	sum->rx_super += LOOK(s->rx_super);
	sum->rx_malformed += LOOK(s->rx_malformed);
	sum->tx_packets += LOOK(s->tx_packets);
	sum->tx_bytes += LOOK(s->tx_bytes);
	sum->tx_super += LOOK(s->tx_super);
	sum->tx_refused += LOOK(s->tx_refused);
	sum->tx_full += LOOK(s->tx_full);
	sum->tx_errors += LOOK(s->tx_errors);
	sum->tx_last_errno = last ? last : sum->tx_last_errno;
}

bool tun_joins_tcp(const struct tun *t)
{
	return t->off.vnet_hdr && !LOOK(t->off.no_tcp);
}

bool tun_joins_udp(const struct tun *t)
{
	return t->off.uso && !LOOK(t->off.no_udp);
}

bool tun_more(const struct tun *t)
{
	return t->more;
}

/* ---- reading ---- */

/* What the header says. Only what makes no sense for any packet is refused here. */
static int describe(const struct virtio_net_hdr *h, const struct tun_pkt *p, struct off_gso *g)
{
	unsigned version = p->len ? p->data[0] >> 4 : 0;

	*g = (struct off_gso){.csum = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM};
	if (g->csum) {
		g->csum_start = h->csum_start;
		g->csum_off = h->csum_offset;
	}
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return 0;
	g->hdr_len = h->hdr_len;
	g->size = h->gso_size;
	g->ecn = h->gso_type & VIRTIO_NET_HDR_GSO_ECN;
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		g->kind = OFF_TCP;
		return version == 4 ? 0 : -EBADMSG;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		g->kind = OFF_TCP;
		return version == 6 ? 0 : -EBADMSG;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		g->kind = OFF_UDP;
		return g->ecn ? -EBADMSG : 0;
	default:
		return -EBADMSG;
	}
}

/* One packet to at, its header before it. False: nothing there. */
static bool read_one(struct tun *t, uint8_t *at, struct tun_pkt *p, int *bad)
{
	size_t head = t->off.vnet_hdr ? VNET_LEN : 0;
	struct virtio_net_hdr h;
	ssize_t got;

	do
		got = read(t->fd, at - head, head + TUN_PKT_MAX);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return false;
	*p = (struct tun_pkt){.data = at};
	*bad = 0;
	if (!head) {
		p->len = (size_t)got;
		return true;
	}
	*bad = (size_t)got < head ? -EBADMSG : 0;
	if (*bad)
		return true;
	p->len = (size_t)got - head;
	memcpy(&h, at - head, sizeof(h));
	*bad = describe(&h, p, &p->gso);
	return true;
}

size_t tun_read(struct tun *t, struct tun_pkt **out)
{
	static const size_t most = TUN_HEADROOM + TUN_PKT_MAX + TUN_TAILROOM;
	size_t n = 0, at = 0;
	int bad;

	*out = t->pkt;
	t->more = true;
	for (size_t reads = 0; reads < TUN_BATCH && TUN_ARENA - at >= most; reads++) {
		struct tun_pkt *p = &t->pkt[n];

		t->more = read_one(t, t->arena + at + TUN_HEADROOM, p, &bad);
		if (!t->more)
			break;
		if (bad) {
			COUNT(t->stats.rx_malformed, 1);
			continue;
		}
		COUNT(t->stats.rx_packets, 1);
		COUNT(t->stats.rx_bytes, p->len);
		COUNT(t->stats.rx_super, p->gso.kind != OFF_NONE);
		at += (TUN_HEADROOM + p->len + TUN_TAILROOM + SLOT_ALIGN - 1) &
		      ~(size_t)(SLOT_ALIGN - 1);
		n++;
	}
	return n;
}

/* ---- writing ---- */

static int count_tx(struct tun *t, ssize_t rc, int error, uint32_t packets, size_t bytes)
{
	if (rc >= 0) {
		COUNT(t->stats.tx_packets, packets);
		COUNT(t->stats.tx_bytes, bytes);
		return 0;
	}
	__atomic_store_n(&t->stats.tx_last_errno, error, __ATOMIC_RELAXED);
	if (error == EAGAIN || error == ENOBUFS)
		COUNT(t->stats.tx_full, 1);
	else
		COUNT(t->stats.tx_errors, 1);
	return -error;
}

static ssize_t write_vec(struct tun *t, const struct iovec *v, size_t n)
{
	ssize_t rc;

	do
		rc = writev(t->fd, v, (int)n);
	while (rc < 0 && errno == EINTR);
	return rc;
}

int tun_write(struct tun *t, const void *pkt, size_t len)
{
	static const struct virtio_net_hdr nothing;
	const struct iovec v[2] = {{(void *)(uintptr_t)&nothing, VNET_LEN},
				   {(void *)(uintptr_t)pkt, len}};
	ssize_t rc = t->off.vnet_hdr ? write_vec(t, v, 2) : write_vec(t, v + 1, 1);

	return count_tx(t, rc, errno, 1, len);
}

static struct virtio_net_hdr vnet_header(const struct off_super *s)
{
	bool v4 = *(const uint8_t *)s->vec[0].p >> 4 == 4;
	uint8_t tcp = v4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;

	return (struct virtio_net_hdr){
		.flags = s->gso.csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
		.gso_type = s->gso.kind == OFF_TCP
				    ? (uint8_t)(tcp | (s->gso.ecn ? VIRTIO_NET_HDR_GSO_ECN : 0))
				    : VIRTIO_NET_HDR_GSO_UDP_L4,
		.hdr_len = s->gso.hdr_len,
		.gso_size = s->gso.size,
		.csum_start = s->gso.csum_start,
		.csum_offset = s->gso.csum_off,
	};
}

/* The packets a joined one stands for, one after the other. */
static int write_parts(struct tun *t, const struct off_super *s)
{
	size_t len = 0, n;
	struct off_split sp;
	int rc = 0;

	for (uint32_t i = 0; i < s->vecs && s->vec[i].len <= sizeof(t->whole) - len; i++) {
		memcpy(t->whole + len, s->vec[i].p, s->vec[i].len);
		len += s->vec[i].len;
	}
	if (len != s->len || off_split_begin(&sp, t->whole, len, &s->gso))
		return count_tx(t, -1, EINVAL, s->packets, s->bytes);
	while ((n = off_split_next(&sp, t->part, sizeof(t->part)))) {
		int one = tun_write(t, t->part, n);

		rc = one ? one : rc;
	}
	return rc;
}

/* The kernel does not understand the header, or not for this packet. Not: no room, link down. */
static bool is_refusal(int error)
{
	return error == EINVAL || error == EOPNOTSUPP || error == EMSGSIZE || error == EPROTO ||
	       error == EFAULT;
}

static void note_refusal(struct tun *t, uint8_t kind)
{
	COUNT(t->stats.tx_refused, 1);
	if (++t->refused[kind] < REFUSED_MAX)
		return;
	if (kind == OFF_TCP)
		__atomic_store_n(&t->off.no_tcp, true, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&t->off.no_udp, true, __ATOMIC_RELAXED);
}

int tun_write_super(struct tun *t, const struct off_super *s)
{
	struct iovec v[1 + OFF_SEGS_MAX];
	struct virtio_net_hdr h;
	ssize_t rc;

	if (s->gso.kind == OFF_NONE)
		return tun_write(t, s->vec[0].p, s->vec[0].len);
	if (!(s->gso.kind == OFF_TCP ? tun_joins_tcp(t) : tun_joins_udp(t)))
		return write_parts(t, s);
	h = vnet_header(s);
	v[0] = (struct iovec){&h, sizeof(h)};
	for (uint32_t i = 0; i < s->vecs; i++)
		v[1 + i] = (struct iovec){(void *)(uintptr_t)s->vec[i].p, s->vec[i].len};
	rc = write_vec(t, v, 1 + s->vecs);
	if (rc < 0 && is_refusal(errno)) {
		note_refusal(t, s->gso.kind);
		return write_parts(t, s);
	}
	if (rc >= 0) {
		t->refused[s->gso.kind] = 0;
		COUNT(t->stats.tx_super, 1);
	}
	return count_tx(t, rc, errno, s->packets, s->bytes);
}
