/* SPDX-License-Identifier: Apache-2.0
 * AF_XDP: which frames ps_wan_xsk hands to the socket of their receive queue, and which go where
 * they would without it; then over a veth with a real socket (copied frames): what comes out, what
 * becomes of frames that find no room, and of those that come when the socket is gone. */
#include "io/xsk_rx.h"
#include "plan/steer.h"
#include "tests/bpf/klive.h"

static struct xsk_rx *xsk_up(const char *ifname, unsigned ifindex)
{
	const struct xsk_rx_cfg cfg = {
		.ifname = ifname, .ifindex = ifindex, .port4 = KP_OUR_PORT, .port6 = KP_OUR_PORT};
	uint32_t wan = 1, slot = ps_xsk_slot(wan, 0);
	struct io_err err = {""};
	struct xsk_rx *x;
	int rc = xsk_rx_open(&x, &cfg, &err), fd;

	if (rc == -EPERM || rc == -EAFNOSUPPORT || rc == -EOPNOTSUPP) {
		t_skip(err.msg);
		return NULL;
	}
	if (!T_EQ(rc, 0)) {
		t_note("%s", err.msg);
		return NULL;
	}
	fd = xsk_rx_fd(x);
	T_EQ(bpf_map_update_elem(kern_fd(&w.k, "ps_xsk"), &slot, &fd, BPF_ANY), 0);
	T_EQ(bpf_map_update_elem(kern_fd(&w.k, "ps_xsk_dev"), &wan, &ifindex, BPF_ANY), 0);
	return x;
}

/* ---- decisions ---- */

struct kase {
	const char *what;
	uint16_t channel;
	bool vlan, handshake, stranger;					  /* the frame */
	bool unconfirmed, user_mode, user_peer, expired, gone, elsewhere; /* the table */
	bool taken;
};

static void set_up(const struct kase *c)
{
	uint32_t wan = 1, ifindex = c->elsewhere ? 4711 : KERN_LO;
	struct ps_session *s = &w.k.session[KW_SLOT];

	kw_reset(&w, 4);
	if (c->unconfirmed)
		s->flags &= ~(uint32_t)PS_SESS_CONFIRMED;
	if (c->expired)
		s->rx_until_ns = kern_past();
	if (c->user_mode)
		w.k.config->flags = 0;
	if (c->user_peer)
		w.k.peer[KW_PEER].flags &= ~(uint32_t)PS_PEER_KERNEL;
	if (c->gone)
		kern_set_alive(&w.k, 0);
	bpf_map_update_elem(kern_fd(&w.k, "ps_xsk_dev"), &wan, &ifindex, BPF_ANY);
}

static void decide(const struct kase *c)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT, .channel = c->channel};
	struct kinner in = kw_inner(4, 17, 40);
	static struct kern_run r;
	uint64_t before;
	uint8_t text[256];
	struct kpkt p;

	set_up(c);
	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	if (c->handshake)
		p.b[kp_outer_len(&o)] = 1;
	if (c->stranger)
		p.b[kp_outer_len(&o) + 7] ^= 0x40;
	if (c->vlan) {
		memmove(p.b + 16, p.b + 12, p.len - 12);
		kp_be16(p.b + 12, 0x8100);
		kp_be16(p.b + 14, 5);
		p.len += 4;
	}
	before = count_of(PS_R_XDP_XSK);
	T_EQ(kern_run(&w.k, w.k.wan_xsk, p.b, p.len, NULL, 0, &r), 0);
	if (!T_EQ(r.retval, c->taken ? XDP_REDIRECT : XDP_PASS) ||
	    !T_EQ(count_of(PS_R_XDP_XSK) - before, c->taken))
		t_note("%s", c->what);
	T_EQ(r.out_len, p.len);
	T_MEM(r.out, p.b, p.len);
	if (c->gone)
		kern_set_alive(&w.k, KERN_LO);
}

static const struct kase cases[] = {
	{.what = "not confirmed", .unconfirmed = true, .taken = true},
	{.what = "expired", .expired = true, .taken = true},
	{.what = "mode user", .user_mode = true, .taken = true},
	{.what = "peer of user space", .user_peer = true, .taken = true},
	{.what = "names no session", .user_mode = true, .stranger = true},
	{.what = "handshake", .user_mode = true, .handshake = true},
	{.what = "channel", .user_mode = true, .channel = KW_CHANNEL},
	{.what = "tagged", .user_mode = true, .vlan = true},
	{.what = "no daemon", .user_mode = true, .gone = true},
	{.what = "another interface", .user_mode = true, .elsewhere = true},
};

/* Decrypted frames stay the kernel's, forged ones end. */
static void stay(void)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	struct kinner in = kw_inner(4, 17, 40);
	static struct kern_run r;
	uint8_t text[256];
	struct kpkt p;

	set_up(&cases[0]);
	kw_reset(&w, 4);
	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	T_EQ(kern_run(&w.k, w.k.wan_xsk, p.b, p.len, NULL, 0, &r), 0);
	T_EQ(r.id, PS_R_XDP_DELIVERED);
	T_EQ(r.retval, XDP_PASS);
	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	p.b[p.len - 1] ^= 1;
	T_EQ(kern_run(&w.k, w.k.wan_xsk, p.b, p.len, NULL, 0, &r), 0);
	T_EQ(r.id, PS_R_XDP_BAD_TAG);
	T_EQ(r.retval, XDP_DROP);
}

static void test_decides(void)
{
	const struct kase *user = &cases[2];
	struct kase without = *user;
	struct xsk_rx *x;

	if (geteuid() != 0) {
		t_skip("needs root");
		return;
	}
	if (unshare(CLONE_NEWNET) || !sh("ip link set lo up") || !kw_open(&w, false))
		return;
	x = xsk_up("lo", KERN_LO);
	if (x) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
			decide(&cases[i]);
		stay();
		xsk_rx_close(x);
		without.what = "the socket is gone";
		without.taken = false;
		decide(&without);
	}
	kern_close(&w.k);
}

/* ---- over a veth ---- */

static struct kpkt sealed(int family, size_t payload, uint8_t *text)
{
	struct kouter o = {.family = family, .dport = KP_OUR_PORT};
	struct kinner in = kw_inner(4, 17, payload);
	struct kpkt p;

	kw_seal(&w, &p, &o, text, kp_inner(text, &in));
	return p;
}

static bool live_up(int family, struct xsk_rx **x)
{
	if (!world_up_with(false, XDP_FLAGS_DRV_MODE, family, &w.k.wan_xsk))
		return false;
	w.k.config->flags = 0;
	*x = xsk_up("pswan", wan_ifindex);
	return *x;
}

/* One datagram is handed out, from the far end's address, and is the one in p. */
static void comes(struct xsk_rx *x, const struct kpkt *p, size_t head, int family)
{
	struct udp_dgram *g;
	size_t n = 0;

	if (!T(readable(xsk_rx_fd(x), 2000)) || !T(xsk_rx_recv(x, &g, &n)) || !T_EQ(n, 1))
		return;
	T_EQ(g->len, p->len - head);
	T_MEM(g->data, p->b + head, p->len - head);
	T_EQ(g->remote.ip.family, family);
	T_MEM(g->remote.ip.b, family == 4 ? kw_remote4 : kw_remote6, family == 4 ? 4 : 16);
	T_MEM(g->local.ip.b, family == 4 ? kw_local4 : kw_local6, family == 4 ? 4 : 16);
	T_EQ(g->ifindex, wan_ifindex);
	xsk_rx_done(x);
}

static void test_arrives(void)
{
	for (int family = 4; family <= 6; family += 2) {
		struct kouter o = {.family = family, .dport = KP_OUR_PORT};
		uint8_t text[1500];
		struct xsk_rx *x;
		struct kpkt p;

		if (!live_up(family, &x))
			return;
		T(!xsk_rx_zero_copy(x));
		for (size_t payload = 1; payload < 1300; payload += 331) {
			p = sealed(family, payload, text);
			T_EQ(send(wire, p.b, p.len, 0), p.len);
			comes(x, &p, kp_outer_len(&o), family);
		}
		xsk_rx_close(x);
		world_down();
	}
}

/* More than there are frames, some at a time, goes round: every frame comes back. */
static void test_goes_round(void)
{
	struct kouter o = {.family = 4, .dport = KP_OUR_PORT};
	uint8_t text[256];
	struct xsk_rx *x;
	struct kpkt p;
	size_t got = 0;

	if (!live_up(4, &x))
		return;
	p = sealed(4, 40, text);
	for (uint32_t i = 0; i < 3 * XSK_RX_FRAMES; i++) {
		struct udp_dgram *g;
		size_t n = 0;

		p.b[kp_outer_len(&o) + 8] = (uint8_t)i; /* of the counter */
		T(send(wire, p.b, p.len, 0) == (ssize_t)p.len);
		while (i % 100 == 99 && readable(xsk_rx_fd(x), 50)) {
			if (!xsk_rx_recv(x, &g, &n))
				break;
			for (size_t k = 0; k < n; k++, got++)
				if (!T(g[k].data[8] == (uint8_t)got))
					k = n;
			xsk_rx_done(x);
			if (got == i + 1)
				break;
		}
	}
	T_EQ(got, 3 * XSK_RX_FRAMES / 100 * 100);
	xsk_rx_close(x);
	world_down();
}

/* A daemon that begins anew closes its socket and wants the queue again at once; the kernel lets go
 * of it a little later. */
static void test_again_at_once(void)
{
	struct xsk_rx *x;

	if (!live_up(4, &x))
		return;
	for (int i = 0; i < 20 && x; i++) {
		xsk_rx_close(x);
		x = xsk_up("pswan", wan_ifindex);
	}
	T(x);
	xsk_rx_close(x);
	world_down();
}

/* A full ring loses what comes, and nothing of it goes to the UDP socket instead. */
static void test_full(void)
{
	const size_t sent = XSK_RX_RING + 500;
	struct xsk_rx_stats st;
	struct udp_dgram *g;
	uint8_t text[256];
	struct xsk_rx *x;
	struct kpkt p;
	size_t n, got = 0;
	int fd;

	if (!live_up(4, &x))
		return;
	fd = udp_socket_at(4, kw_local4, kw_local6, KP_OUR_PORT);
	p = sealed(4, 40, text);
	for (size_t i = 0; i < sent; i++)
		T(send(wire, p.b, p.len, 0) == (ssize_t)p.len);
	for (int i = 0; i < 100 && count_of(PS_R_XDP_XSK) < sent; i++)
		usleep(20000);
	T_EQ(count_of(PS_R_XDP_XSK), sent);
	while (readable(xsk_rx_fd(x), 100) && xsk_rx_recv(x, &g, &n)) {
		got += n;
		xsk_rx_done(x);
	}
	T_EQ(got, XSK_RX_RING);
	xsk_rx_stats(x, &st);
	T_EQ(st.packets, got);
	T_EQ(st.dropped, sent - got);
	T_EQ(st.malformed, 0);
	T(!readable(fd, 0));
	/* Then there is room again; and without the socket the UDP socket has it. */
	T_EQ(send(wire, p.b, p.len, 0), p.len);
	T(readable(xsk_rx_fd(x), 2000));
	xsk_rx_close(x);
	T_EQ(send(wire, p.b, p.len, 0), p.len);
	T(readable(fd, 2000));
	close(fd);
	world_down();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_decides);
	T_RUN(test_arrives);
	T_RUN(test_goes_round);
	T_RUN(test_again_at_once);
	T_RUN(test_full);
	return t_done();
}
