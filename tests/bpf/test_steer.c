/* SPDX-License-Identifier: Apache-2.0
 * Steering by CPUMAP on a veth: what comes out is what comes out without it, decrypted or passed to
 * a socket, native and generic, whatever the sender's stack left of the checksum; and a path is
 * always the same processor's. */
#include <sched.h>
#include <linux/virtio_net.h>
#include <sys/uio.h>
#include "plan/steer.h"
#include "tests/bpf/klive.h"

#define QUEUE 192

/* Every slot is the last processor's, with the second stage in its thread. */
static bool steer_to(uint32_t cpu, int prog)
{
	struct bpf_cpumap_val v = {.qsize = QUEUE, .bpf_prog.fd = prog};

	if (!T_EQ(bpf_map_update_elem(kern_fd(&w.k, "ps_cpu"), &cpu, &v, BPF_ANY), 0))
		return false;
	for (uint32_t i = 0; i < PS_STEER_SLOTS; i++)
		T_EQ(bpf_map_update_elem(kern_fd(&w.k, "ps_steer"), &i, &cpu, BPF_ANY), 0);
	return true;
}

static bool steered_world_with(uint32_t xdp_flags, int outer, const int *xdp)
{
	if (!kver_steers()) {
		t_skip("metadata is not known to survive CPUMAP before Linux 6.18");
		return false;
	}
	if (!world_up_with(false, xdp_flags, outer, xdp))
		return false;
	if (xdp_flags & XDP_FLAGS_SKB_MODE)
		w.k.config->flags |= PS_CFG_GENERIC;
	return steer_to((uint32_t)(w.k.cpus - 1), w.k.wan_cpu);
}

static bool steered_world(uint32_t xdp_flags, int outer)
{
	return steered_world_with(xdp_flags, outer, &w.k.wan_steer);
}

/* Sealed packets on the wire come out of a socket bound behind the tunnel device. */
static void decrypts(uint32_t xdp_flags, int outer, uint16_t channel)
{
	struct kouter o = {.family = outer, .dport = KP_OUR_PORT, .channel = channel};

	if (!steered_world(xdp_flags, outer))
		return;
	for (int i = 0; i < 2; i++) {
		struct kinner in = kw_inner(i ? 6 : 4, 17, 999);
		uint8_t text[1500], got[1500];
		int fd = udp_socket(in.family, in.dport);
		struct kpkt p;

		kw_seal(&w, &p, &o, text, kp_inner(text, &in));
		T_EQ(send(wire, p.b, p.len, 0), p.len);
		if (T(readable(fd, 2000))) {
			T_EQ(recv(fd, got, sizeof(got), 0), 999);
			T_MEM(got, text + (i ? 48 : 28), 999);
		}
		close(fd);
	}
	T_EQ(count_of(PS_R_XDP_STEERED), 2);
	T_EQ(count_of(PS_R_XDP_DELIVERED), 2);
	T_EQ(count_of(PS_R_IN_DELIVERED), 2);
	T_EQ(w.k.session[KW_SLOT].rx_kernel_packets, 2);
	world_down();
}

static void test_decrypts(void)
{
	for (int generic = 0; generic < 2; generic++)
		for (int outer = 4; outer <= 6; outer += 2) {
			decrypts(generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE, outer, 0);
			decrypts(generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE, outer,
				 KW_CHANNEL);
		}
}

/* n packets of a flow that fills a port, as fast as they can be sealed, each with its number; what
 * comes out is looked at. Returns how many more were steered meanwhile. */
static uint64_t burst(int fd, uint16_t *number, int n, unsigned gap_us)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	uint64_t before = count_of(PS_R_XDP_STEERED);
	uint8_t text[1500], got[1500];
	struct kpkt p[32];
	uint16_t seen = *number;

	for (int done = 0; done < n; done += 32) {
		for (int i = 0; i < 32; i++) {
			struct kinner in = kw_inner(4, 17, 40);
			size_t len = kp_inner(text, &in);

			kp_be16(text + 28, (*number)++);
			text[26] = text[27] = 0; /* no checksum */
			kw_seal(&w, &p[i], &o, text, len);
		}
		for (int i = 0; i < 32; i++) {
			T_EQ(send(wire, p[i].b, p[i].len, 0), p[i].len);
			if (gap_us)
				usleep(gap_us);
		}
		for (int i = 0; i < 32; i++, seen++) {
			if (!T(readable(fd, 2000)))
				return 0;
			T_EQ(recv(fd, got, sizeof(got), 0), 40);
			T_EQ(got[0] << 8 | got[1], seen);
		}
	}
	return count_of(PS_R_XDP_STEERED) - before;
}

/* Sparse packets are decrypted where they arrive; of a fast path, after a pause, by the other
 * processor; and each comes out once, in its place. */
static void busy(uint32_t xdp_flags)
{
	uint32_t slot;
	struct ps_busy b;
	uint16_t n = 0;
	int fd, map;

	if (!steered_world_with(xdp_flags, 4, &w.k.wan_busy))
		return;
	map = kern_fd(&w.k, "ps_busy");
	fd = udp_socket(4, kw_inner(4, 17, 0).dport);
	T_EQ(burst(fd, &n, 64, 1200), 0);
	for (slot = 0; slot < PS_STEER_SLOTS; slot++)
		if (bpf_map_lookup_elem(map, &slot, &b) == 0 && b.packets)
			break;
	T(slot < PS_STEER_SLOTS);
	b.fast = 1; /* nobody can rely on the machine's being fast enough for it */
	T_EQ(bpf_map_update_elem(map, &slot, &b, BPF_ANY), 0);
	usleep(2000);
	T_EQ(burst(fd, &n, 32, 0), 32);
	T_EQ(bpf_map_lookup_elem(map, &slot, &b), 0);
	T_EQ(b.to, (uint32_t)w.k.cpus);
	T_EQ(b.sent, 32);
	T_EQ(b.done, 32);
	T(burst(fd, &n, 4 * PS_BUSY_RUN, 1200) > 0);
	T_EQ(burst(fd, &n, 64, 1200), 0); /* sparse again */
	T_EQ(count_of(PS_R_XDP_DELIVERED), n);
	close(fd);
	world_down();
}

static void test_busy(void)
{
	busy(XDP_FLAGS_SKB_MODE);
	busy(XDP_FLAGS_DRV_MODE);
}

#define ROUNDS	   60
#define ROUND_LEN  160 /* less than a thread holds */
#define ROUND_SLOW 32

/* A flow that is now fast, now slow, with pauses about as long as those in which its path changes
 * processors: it comes out in order, whole, whichever of them decrypted it. */
static void test_busy_order(void)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	static struct kpkt p[ROUND_LEN];
	uint64_t seed = t_seed(), steered;
	uint8_t text[1500], got[1500];
	uint16_t sent = 0, seen = 0;
	int fd, rcvbuf = 1 << 20;

	if (!steered_world_with(XDP_FLAGS_SKB_MODE, 4, &w.k.wan_busy))
		return;
	fd = udp_socket(4, kw_inner(4, 17, 0).dport);
	T_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)), 0);
	for (int round = 0; round < ROUNDS; round++) {
		bool slow = t_rand(&seed) % 4 == 0;

		for (int i = 0; i < ROUND_LEN; i++) {
			struct kinner in = kw_inner(4, 17, 40);
			size_t len = kp_inner(text, &in);

			kp_be16(text + 28, sent++);
			text[26] = text[27] = 0; /* no checksum */
			kw_seal(&w, &p[i], &o, text, len);
		}
		for (int i = 0; i < ROUND_LEN; i++) {
			T_EQ(send(wire, p[i].b, p[i].len, 0), p[i].len);
			if (i % (ROUND_LEN / 2) == 0 || (slow && i < ROUND_SLOW))
				usleep((unsigned)(t_rand(&seed) % 1600));
		}
		for (int i = 0; i < ROUND_LEN; i++, seen++) {
			if (!T(readable(fd, 2000)) || !T_EQ(recv(fd, got, sizeof(got), 0), 40) ||
			    !T_EQ(got[0] << 8 | got[1], seen)) {
				t_note("round %d, packet %d", round, i);
				round = ROUNDS;
				break;
			}
		}
	}
	steered = count_of(PS_R_XDP_STEERED);
	t_note("%u packets, %llu of them by the other processor", sent,
	       (unsigned long long)steered);
	close(fd);
	world_down();
}

enum sum { SUM_RIGHT, SUM_WRONG, SUM_UNFINISHED };

static void put_sum(struct kpkt *p, int family, enum sum how)
{
	size_t at = KP_ETH + (family == 4 ? 20 : 40), len = p->len - at;
	uint32_t pseudo = family == 4 ? kp_pseudo(4, kw_remote4, kw_local4, 17, len)
				      : kp_pseudo(6, kw_remote6, kw_local6, 17, len);
	uint16_t sum = how == SUM_UNFINISHED ? (uint16_t)pseudo : kp_csum(p->b + at, len, pseudo);

	kp_be16(p->b + at + 6, how == SUM_WRONG ? sum ^ 0x5555u : sum ? sum : 0xffffu);
}

static bool wire_send(const struct kpkt *p, int family, bool marked)
{
	struct virtio_net_hdr h = {.flags = marked ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
				   .csum_start = (uint16_t)(KP_ETH + (family == 4 ? 20 : 40)),
				   .csum_offset = 6};
	struct iovec v[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)p->b, p->len}};

	return T_EQ(writev(wire, v, 2), sizeof(h) + p->len);
}

/* What the kernel does not take reaches the socket as it was sent; a wrong checksum stays wrong. A
 * native frame has lost the mark that its checksum is unfinished, a generic one has it still. */
static void passes(uint32_t xdp_flags, int family)
{
	static const size_t payload[] = {1, 2, 400, 432, 433, 434, 435, 436, 944, 945, 1300};
	struct kouter o = {.family = family, .dport = KP_OUR_PORT};
	int fd, on = 1;

	if (!steered_world(xdp_flags, family))
		return;
	w.k.session[KW_SLOT].flags &= ~(uint32_t)PS_SESS_CONFIRMED;
	fd = udp_socket_at(family, kw_local4, kw_local6, KP_OUR_PORT); /* user space's */
	T_EQ(setsockopt(wire, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	for (size_t i = 0; i < 3 * sizeof(payload) / sizeof(*payload); i++) {
		struct kinner in = kw_inner(4, 17, payload[i / 3]);
		size_t head = kp_outer_len(&o);
		enum sum how = (enum sum)(i % 3);
		uint8_t text[1500], got[2048];
		struct kpkt p;

		kw_seal(&w, &p, &o, text, kp_inner(text, &in));
		put_sum(&p, family, how);
		wire_send(&p, family, how == SUM_UNFINISHED);
		if (how == SUM_WRONG) {
			readable(fd, 2000); /* looked at by whoever receives it */
			T(recv(fd, got, sizeof(got), 0) < 0);
			continue;
		}
		if (!T(readable(fd, 2000))) {
			t_note("outer %d, payload %zu, checksum %d", family, payload[i / 3], how);
			continue;
		}
		T_EQ(recv(fd, got, sizeof(got), 0), p.len - head);
		T_MEM(got, p.b + head, p.len - head);
	}
	T_EQ(count_of(PS_R_XDP_STEERED), 33);
	T_EQ(count_of(PS_R_XDP_UNCONFIRMED), 33);
	close(fd);
	world_down();
}

static void test_passes(void)
{
	for (int family = 4; family <= 6; family += 2) {
		passes(XDP_FLAGS_DRV_MODE, family);
		passes(XDP_FLAGS_SKB_MODE, family);
	}
}

/* What is no WireGuard data is not steered, nor is anything when there is no thread, or no daemon.
 */
static void test_stays(void)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct kinner in = kw_inner(4, 17, 40);
	struct kern_run r;
	uint8_t text[256];
	struct kpkt p, q;

	if (!kver_steers()) {
		t_skip("nothing is steered before Linux 6.18");
		return;
	}
	if (!kw_open(&w, false))
		return;
	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	T_EQ(kern_run(&w.k, w.k.wan_steer, p.b, p.len, NULL, 0, &r), 0);
	T_EQ(r.id, PS_R_XDP_NO_CPU);
	T_EQ(r.retval, XDP_PASS);
	T_EQ(r.out_len, p.len);
	T_MEM(r.out, p.b, p.len);
	if (steer_to(0, w.k.wan_cpu)) {
		T_EQ(kern_run(&w.k, w.k.wan_steer, p.b, p.len, NULL, 0, &r), 0);
		T_EQ(r.id, PS_R_XDP_STEERED);
		T_EQ(r.retval, XDP_REDIRECT);
	}
	q = p;
	q.b[kp_outer_len(&o)] = 1; /* a handshake's first byte */
	T_EQ(kern_run(&w.k, w.k.wan_steer, q.b, q.len, NULL, 0, &r), 0);
	T_EQ(r.id, PS_R_XDP_NOT_DATA);
	T_EQ(r.retval, XDP_PASS);
	T_EQ(kern_set_alive(&w.k, 0), 0);
	T_EQ(kern_run(&w.k, w.k.wan_steer, p.b, p.len, NULL, 0, &r), 0);
	T_EQ(r.id, PS_R_XDP_DAEMON_GONE);
	T_EQ(r.retval, XDP_PASS);
	kern_close(&w.k);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_decrypts);
	T_RUN(test_busy);
	T_RUN(test_busy_order);
	T_RUN(test_passes);
	T_RUN(test_stays);
	return t_done();
}
