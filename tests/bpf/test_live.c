/* SPDX-License-Identifier: Apache-2.0
 * The kernel programs on real devices: a virtual Ethernet pair as the WAN and a tunnel device, in a
 * network namespace of this process. What BPF_PROG_TEST_RUN cannot show: metadata from XDP to TC,
 * delivery on the tunnel device, checksums that the stack leaves to the device, the neighbour
 * lookup, and what happens when the tunnel device goes. */
#include <poll.h>
#include <sys/uio.h>
#include <linux/virtio_net.h>
#include "tests/bpf/klive.h"

/* Sealed packets on the wire come out of a socket bound behind the tunnel device. */
static void ingress(uint32_t xdp_flags, int outer, uint16_t channel)
{
	struct kouter o = {.family = outer, .dport = KP_OUR_PORT, .channel = channel};
	int fds[2] = {-1, -1};

	if (!world_up(false, xdp_flags, outer))
		return;
	if (xdp_flags & XDP_FLAGS_SKB_MODE)
		w.k.config->flags |= PS_CFG_GENERIC;
	for (int i = 0; i < 2; i++) {
		struct kinner in = kw_inner(i ? 6 : 4, 17, 999);
		uint8_t text[1500], got[1500];
		struct kpkt p;
		ssize_t n;

		fds[i] = udp_socket(in.family, in.dport);
		kw_seal(&w, &p, &o, text, kp_inner(text, &in));
		T_EQ(send(wire, p.b, p.len, 0), p.len);
		if (!T(readable(fds[i], 2000))) {
			t_note("outer %d inner %d: delivered %llu, redirected %llu", outer,
			       in.family, (unsigned long long)count_of(PS_R_XDP_DELIVERED),
			       (unsigned long long)count_of(PS_R_IN_DELIVERED));
			continue;
		}
		n = recv(fds[i], got, sizeof(got), 0);
		T_EQ(n, 999);
		T_MEM(got, text + (i ? 48 : 28), 999);
		T_EQ(send(wire, p.b, p.len, 0), p.len); /* a replay */
		T(!readable(fds[i], 50));
	}
	T_EQ(count_of(PS_R_XDP_DELIVERED), 2);
	T_EQ(count_of(PS_R_IN_DELIVERED), 2);
	T_EQ(count_of(PS_R_XDP_REPLAY), 2);
	T_EQ(w.k.session[KW_SLOT].rx_kernel_packets, 2);
	close(fds[0]);
	close(fds[1]);
	world_down();
}

static void test_ingress_native_v4(void)
{
	ingress(XDP_FLAGS_DRV_MODE, 4, 0);
}

static void test_ingress_native_v6(void)
{
	ingress(XDP_FLAGS_DRV_MODE, 6, 0);
}

static void test_ingress_generic(void)
{
	ingress(XDP_FLAGS_SKB_MODE, 4, 0);
}

static void test_ingress_relayed(void)
{
	ingress(XDP_FLAGS_DRV_MODE, 4, KW_CHANNEL);
	ingress(XDP_FLAGS_DRV_MODE, 6, KW_CHANNEL);
	ingress(XDP_FLAGS_SKB_MODE, 4, KW_CHANNEL);
}

/* n messages of the same length in one frame, as a sender with segmentation offload hands it to a
 * virtual link, or receive offload to a generic program. */
/* false: this kernel takes no such thing from a socket (before 6.2). */
static bool send_train(const struct kinner *in, int n)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct virtio_net_hdr h = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				   .gso_type = 5, /* VIRTIO_NET_HDR_GSO_UDP_L4, of Linux 6.2 */
				   .csum_start = KP_ETH + 20,
				   .csum_offset = 6};
	struct kpkt p;
	struct iovec v[2] = {{&h, sizeof(h)}, {p.b, 0}};
	size_t head = kp_outer_len(&o), each = 0, len;
	uint8_t text[256];
	int on = 1;
	ssize_t sent;

	len = kp_inner(text, in);
	for (int i = 0; i < n; i++)
		each = kp_wg(p.b + head + (size_t)i * each, KW_LOCAL, w.next_counter++, w.recv_key,
			     text, len);
	kp_outer(&p, &o, (size_t)n * each);
	kp_be16(p.b + KP_ETH + 26,
		kp_sum((const uint8_t[]){0}, 1,
		       kp_pseudo(4, kw_remote4, kw_local4, 17, p.len - KP_ETH - 20)));
	h.hdr_len = (uint16_t)head;
	h.gso_size = (uint16_t)each;
	v[1].iov_len = p.len;
	T_EQ(setsockopt(wire, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	sent = writev(wire, v, 2);
	if (sent < 0 && errno == EINVAL)
		return false;
	return T_EQ(sent, sizeof(h) + p.len);
}

/* What holds several messages is user space's, whole and as it came: judged as one it would be a
 * forgery. The window stays open for the messages in it. */
static void train(bool plain, int n)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(KP_OUR_PORT)};
	struct kinner in = kw_inner(4, 17, 36);
	struct ps_flow_key key = kw_key(&in, KW_PEER);
	struct ps_replay before;
	struct ps_flow flow;
	uint8_t got[4096], text[256];
	int fd;

	if (!world_up(plain, XDP_FLAGS_SKB_MODE, 4))
		return;
	w.k.config->flags |= PS_CFG_GENERIC;
	w.k.session[KW_SLOT].rx_alone_ns = 1ull << 62; /* it has not only bulk */
	before = w.k.replay[KW_SLOT];
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	memcpy(&a.sin_addr, kw_local4, 4);
	T_EQ(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (!send_train(&in, n)) {
		t_skip("this kernel sends no train from a packet socket");
		close(fd);
		world_down();
		return;
	}
	for (int i = 0; i < n; i++) {
		uint8_t want[256];
		size_t len = kp_wg(want, KW_LOCAL, (uint64_t)i, w.recv_key, text,
				   kp_inner(text, &in));

		if (!T(readable(fd, 2000)) || !T_EQ(recv(fd, got, sizeof(got), 0), len))
			break;
		T_MEM(got, want, len);
	}
	T_EQ(count_of(PS_R_XDP_BAD_TAG), 0);
	T_EQ(count_of(PS_R_XDP_GSO), 1);
	T_MEM(&w.k.replay[KW_SLOT], &before, sizeof(before));
	T_EQ(bpf_map_lookup_elem(w.k.flow_in, &key, &flow), 0);
	T(flow.bulk_until_ns != 0); /* and what follows of it */
	T_EQ(w.k.session[KW_SLOT].rx_held_until_ns, 0);
	close(fd);
	world_down();
}

static void test_train(void)
{
	for (int plain = 0; plain < 2; plain++) {
		train(plain, 2);
		train(plain, 15);
	}
}

/* The next WireGuard data packet on the wire, opened: the inner packet's length, 0 for none. */
static size_t wire_open(int outer, uint16_t channel, uint8_t *text)
{
	size_t ip_len = outer == 4 ? 20 : 40, chan = KP_ETH + ip_len + 8;
	size_t head = chan + (channel ? 4 : 0) + KP_WG;
	unsigned long long len = 0;
	uint8_t b[2048], nonce[12] = {0};

	while (readable(wire, 1000)) {
		ssize_t n = recv(wire, b, sizeof(b), 0);
		const uint8_t *ip = b + KP_ETH;

		if (n < (ssize_t)(head + KP_TAG) ||
		    (b[12] << 8 | b[13]) != (outer == 4 ? 0x0800 : 0x86dd) ||
		    ip[outer == 4 ? 9 : 6] != 17)
			continue;
		T_EQ(b[0], 0x46); /* the neighbour's address */
		T_EQ(b[6], 0x02); /* ours */
		T_EQ(kp_sum(ip + ip_len, (size_t)n - KP_ETH - ip_len,
			    kp_pseudo(outer, outer == 4 ? kw_local4 : kw_local6,
				      outer == 4 ? kw_remote4 : kw_remote6, 17,
				      (size_t)n - KP_ETH - ip_len)),
		     0xffff);
		if (channel) {
			T_EQ(b[chan] << 8 | b[chan + 1], channel);
			T_EQ(b[chan + 2] << 8 | b[chan + 3], (size_t)n - chan - 4);
		}
		memcpy(nonce + 4, b + head - 8, 8);
		if (!T_EQ(crypto_aead_chacha20poly1305_ietf_decrypt(text, &len, NULL, b + head,
								    (size_t)n - head, NULL, 0,
								    nonce, w.send_key),
			  0))
			return 0;
		return (size_t)len;
	}
	return 0;
}

static bool l4_sum_right(const uint8_t *p, size_t len)
{
	size_t hlen = p[0] >> 4 == 4 ? 20 : 40, at = hlen == 20 ? 12 : 8, n = hlen == 20 ? 4 : 16;
	int proto = hlen == 20 ? p[9] : p[6];

	return kp_sum(p + hlen, len - hlen,
		      kp_pseudo(hlen == 20 ? 4 : 6, p + at, p + at + n, proto, len - hlen)) ==
	       0xffff;
}

static socklen_t far_address(int family, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (family == 4) {
		a4->sin_family = AF_INET;
		a4->sin_port = htons(port);
		memcpy(&a4->sin_addr, kw_tun4, 4);
		return sizeof(*a4);
	}
	a6->sin6_family = AF_INET6;
	a6->sin6_port = htons(port);
	memcpy(&a6->sin6_addr, kw_tun6, 16);
	return sizeof(*a6);
}

/* A connecting TCP socket: its SYN has its checksum left to the device. */
static int tcp_socket(int family, const struct kinner *back)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(back->sport)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(back->sport)};
	int fd = socket(family == 4 ? AF_INET : AF_INET6,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage to;
	socklen_t len = far_address(family, back->dport, &to);

	memcpy(&a4.sin_addr, kw_host4, 4);
	memcpy(&a6.sin6_addr, kw_host6, 16);
	T_EQ(family == 4 ? bind(fd, (struct sockaddr *)&a4, sizeof(a4))
			 : bind(fd, (struct sockaddr *)&a6, sizeof(a6)),
	     0);
	T(connect(fd, (struct sockaddr *)&to, len) == -1 && errno == EINPROGRESS);
	return fd;
}

static void egress_one(int outer, uint16_t channel, int family, int proto)
{
	struct kinner back = kw_inner_back(family, proto, 0);
	struct sockaddr_storage to;
	uint8_t text[2048];
	size_t len;
	int fd;

	if (proto == 6) {
		fd = tcp_socket(family, &back);
	} else {
		socklen_t to_len = far_address(family, back.dport, &to);

		fd = udp_socket(family, back.sport);
		T_EQ(sendto(fd, "Hello", 5, 0, (struct sockaddr *)&to, to_len), 5);
	}
	len = wire_open(outer, channel, text);
	if (!T(len > 0)) {
		t_note("outer %d inner %d proto %d", outer, family, proto);
	} else {
		T_EQ(text[0] >> 4, family);
		T(l4_sum_right(text, len));
		T_EQ(len, (size_t)(family == 4 ? 20 : 40) + (proto == 6 ? 40 : 13));
	}
	close(fd);
}

static void egress(bool plain, int outer, uint16_t channel)
{
	if (!world_up(plain, XDP_FLAGS_SKB_MODE, outer))
		return;
	w.k.peer[KW_PEER].path_channel = __builtin_bswap16(channel);
	for (int family = 4; family <= 6; family += 2) {
		if (w.k.plain && family != outer)
			continue;
		egress_one(outer, channel, family, 17);
		egress_one(outer, channel, family, 6);
	}
	T_EQ(count_of(PS_R_TX_NO_ROOM), 0);
	T(count_of(PS_R_TX_SENT) >= (w.k.plain ? 2 : 4));
	world_down();
}

static void test_egress_v4(void)
{
	egress(false, 4, 0);
}

static void test_egress_v6(void)
{
	egress(false, 6, 0);
}

static void test_egress_relayed(void)
{
	egress(false, 4, KW_CHANNEL);
	egress(false, 6, KW_CHANNEL);
}

static void test_egress_plain(void)
{
	egress(true, 4, KW_CHANNEL);
	egress(true, 6, 0);
}

/* The far end's answer to the SYN that user space has read from the device. */
static bool answer_syn(int family)
{
	size_t hlen = family == 4 ? 20 : 40, at = family == 4 ? 12 : 8, n = family == 4 ? 4 : 16;
	uint8_t syn[256], p[128], *t = p + hlen;
	ssize_t len;

	do {
		if (!T(readable(tun_fd, 2000)))
			return false;
		len = read(tun_fd, syn, sizeof(syn));
	} while (len < (ssize_t)hlen + 20 || syn[0] >> 4 != family ||
		 syn[family == 4 ? 9 : 6] != 6 || syn[hlen + 13] != 2);
	kp_ip(p, family, 6, syn + at + n, syn + at, 0, 20);
	memset(t, 0, 20);
	memcpy(t, syn + hlen + 2, 2);
	memcpy(t + 2, syn + hlen, 2);
	kp_be16(t + 4, 7);
	memcpy(t + 8, syn + hlen + 4, 4);
	for (int i = 11; i >= 8 && !++t[i]; i--)
		;
	t[12] = 0x50;
	t[13] = 0x12;
	kp_be16(t + 14, 65535);
	kp_be16(t + 16, kp_csum(t, 20, kp_pseudo(family, p + at, p + at + n, 6, 20)));
	return T_EQ(write(tun_fd, p, hlen + 20), hlen + 20);
}

/* A translated connection of this host: the SYN is user space's; what follows the kernel
 * translates, after it has completed the checksum that was left to the device. */
static void egress_translated(bool plain, int family)
{
	static const uint8_t to4[16] = {100, 96, 3, 4};
	static const uint8_t to6[16] = {0xfd, 0, 0x20, 0x21, 0x11, 0x11, 0x80, [15] = 4};
	struct kinner back = kw_inner_back(family, 6, 0);
	size_t hlen = family == 4 ? 20 : 40, at = family == 4 ? 12 : 8, len;
	uint8_t text[2048];
	int fd;

	if (!world_up(plain, XDP_FLAGS_SKB_MODE, family))
		return;
	kw_flow_nat(&w, w.k.flow_out, &back, family == 4 ? to4 : to6, __builtin_bswap16(999));
	fd = tcp_socket(family, &back);
	if (answer_syn(family)) {
		T_EQ(count_of(PS_R_TX_NAT_BOUND), 1);
		T_EQ(send(fd, "Hello", 5, 0), 5);
		for (int i = 0; i < 2; i++) { /* its ACK, its data */
			len = wire_open(family, 0, text);
			if (!T(len == hlen + (i ? 25 : 20)))
				break;
			T(l4_sum_right(text, len));
			T(family == 6 || kp_sum(text, 20, 0) == 0xffff);
			T_MEM(text + at, family == 4 ? to4 : to6, family == 4 ? 4 : 16);
			T_EQ(text[hlen + 2] << 8 | text[hlen + 3], 999);
			T_EQ(text[hlen] << 8 | text[hlen + 1], back.sport);
			T_EQ(text[hlen + 13], i ? 0x18 : 0x10);
		}
	}
	close(fd);
	world_down();
}

static void test_egress_translated(void)
{
	for (int plain = 0; plain < 2; plain++) {
		egress_translated(plain, 4);
		egress_translated(plain, 6);
	}
}

/* The tunnel device goes with its last descriptor, and with it every delivery, though the programs
 * are still attached and the tables as they were. */
static void test_daemon_gone(void)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct kinner in = kw_inner(4, 17, 10);
	struct ps_replay before;
	uint8_t text[100];
	uint32_t zero = 0, ifindex;
	struct kpkt p;

	if (!world_up(false, XDP_FLAGS_DRV_MODE, 4))
		return;
	close(tun_fd);
	tun_fd = -1;
	T(bpf_map_lookup_elem(w.k.alive, &zero, &ifindex) == -ENOENT);
	before = w.k.replay[KW_SLOT];
	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	T_EQ(send(wire, p.b, p.len, 0), p.len);
	for (int i = 0; i < 100 && !count_of(PS_R_XDP_DAEMON_GONE); i++)
		readable(wire, 10);
	T(count_of(PS_R_XDP_DAEMON_GONE) >= 1);
	T_EQ(count_of(PS_R_XDP_DELIVERED), 0);
	T_MEM(&w.k.replay[KW_SLOT], &before, sizeof(before));
	world_down();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_ingress_native_v4);
	T_RUN(test_ingress_native_v6);
	T_RUN(test_ingress_generic);
	T_RUN(test_ingress_relayed);
	T_RUN(test_train);
	T_RUN(test_egress_v4);
	T_RUN(test_egress_v6);
	T_RUN(test_egress_relayed);
	T_RUN(test_egress_plain);
	T_RUN(test_egress_translated);
	T_RUN(test_daemon_gone);
	return t_done();
}
