/* SPDX-License-Identifier: Apache-2.0
 *
 * The policy world by itself: one resource of each type reached end to end with everything easy,
 * replies included, and carried by the kernel's tables afterwards. */
#include "tests/policy/pw_kernel.h"
#include "tests/policy/pw_worker.h"

static struct pw_world w;

static void open_world(void)
{
	T(pw_open(&w, &(struct pw_cfg){.clients = 2, .gateways = 2, .sites = 2}, t_seed()));
	w.easy = true;
}

static void permit(uint8_t r, enum tunnel_resource_type type, const char *address)
{
	struct pw_resource def = {.r = r, .type = type, .sites = 1};

	tunnel_text_copy(def.address, sizeof(def.address), address);
	pw_resource_put(&w, &def);
	pw_policy_set(&w, 0, r, true, TUNNEL_NEVER_EXPIRES);
}

/* The packet goes out at gateway 0, to that address; what left is returned. */
static struct pkt reaches(const struct ipaddr *far, const struct ipaddr *real)
{
	struct pkt p = pkt_make(far->family == 4 ? &w.node[0].tun4 : &w.node[0].tun6, far,
				IP_PROTO_UDP, 5000, 80, 4);
	uint32_t before = w.out_count;
	struct pkt got = {0};
	struct pw_out *o;

	pw_app_send(&w, 0, &p);
	if (!T_EQ(w.out_count, before + 1))
		return got;
	o = &w.out[before % PW_OUT];
	T_EQ(o->node, PW_CLIENTS);
	got.len = o->len;
	memcpy(got.b, o->b, o->len);
	T_EQ(ip_packet_parse(got.b, got.len, &got.m), 0);
	T(ipaddr_eq(&got.m.dst, real));
	T_EQ(got.m.dport, 80);
	return got;
}

static void replied(const struct pkt *got, const struct ipaddr *far)
{
	struct pkt back = pkt_make(&got->m.dst, &got->m.src, IP_PROTO_UDP, got->m.dport,
				   got->m.sport, 4);
	uint32_t before = w.out_count, slot;
	struct pw_out out;
	struct ip_meta m;

	pw_lan_send(&w, 0, &back);
	if (!T_EQ(w.out_count, before + 1))
		return;
	T_EQ(w.out[before % PW_OUT].node, 0);
	T_EQ(ip_packet_parse(w.out[before % PW_OUT].b, w.out[before % PW_OUT].len, &m), 0);
	T(ipaddr_eq(&m.src, far));
	T_EQ(m.dport, 5000);
	pw_advance(&w, 50 * NS_PER_MS);
	T_EQ(pw_kernel_out(&w.node[PW_CLIENTS], &back, &slot, &out), PS_R_TX_SENT);
	T_EQ(out.len, w.out[before % PW_OUT].len);
	T_MEM(out.b, w.out[before % PW_OUT].b, out.len);
}

static void test_cidr(void)
{
	struct ipaddr far = pkt_ip("10.1.2.3");
	struct pw_out out;
	struct pkt got;
	uint32_t slot;

	open_world();
	permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	reaches(&far, &far); /* held for the connection first */
	got = reaches(&far, &far);
	replied(&got, &far);
	pw_advance(&w, 50 * NS_PER_MS);
	T_EQ(pw_kernel_out(&w.node[0], &got, &slot, &out), PS_R_TX_SENT);
	T_EQ(pw_kernel_in(&w.node[PW_CLIENTS], pw_slot(&w, PW_CLIENTS, 0), &got, &out),
	     PS_R_XDP_DELIVERED);
	pw_policy_set(&w, 0, 1, false, 0);
	T(pw_kernel_in(&w.node[PW_CLIENTS], pw_slot(&w, PW_CLIENTS, 0), &got, &out) !=
	  PS_R_XDP_DELIVERED);
	pw_close(&w);
}

/* Workers carry what is not the kernel's, and lose it by the same revocation. */
static void test_user_mode(void)
{
	struct ipaddr far = pkt_ip("10.1.2.3");
	struct pw_node *c = &w.node[0], *g = &w.node[PW_CLIENTS];
	uint32_t there, back, slot;
	struct pw_out out;
	struct pkt got;

	open_world();
	permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	reaches(&far, &far);
	there = pw_slot(&w, 0, PW_CLIENTS);
	back = pw_slot(&w, PW_CLIENTS, 0);
	fwd_peer_set_kernel(&c->d->fwd, there, false);
	fwd_peer_set_kernel(&g->d->fwd, back, false);
	pw_policy_set(&w, 0, 1, false, 0); /* forget what the kernel was offered meanwhile */
	pw_policy_set(&w, 0, 1, true, TUNNEL_NEVER_EXPIRES);
	reaches(&far, &far); /* held for the resource's gateway first */
	got = reaches(&far, &far);
	there = pw_slot(&w, 0, PW_CLIENTS);
	back = pw_slot(&w, PW_CLIENTS, 0);
	T_EQ(pw_kernel_out(c, &got, &slot, &out), PS_R_TX_NO_FLOW); /* nobody offered it */
	T_EQ(pw_worker_out(c, &got, &slot, &out), PS_R_TX_SENT);
	T_EQ(slot, there);
	T_EQ(pw_kernel_in(g, back, &got, &out), PS_R_XDP_USER_MODE);
	T_EQ(pw_worker_in(g, back, &got, &out), PS_R_XDP_DELIVERED);
	T(out.len == got.len && !memcmp(out.b, got.b, got.len));
	pw_policy_set(&w, 0, 1, false, 0);
	T(pw_worker_out(c, &got, &slot, &out) != PS_R_TX_SENT);
	T(pw_worker_in(g, back, &got, &out) != PS_R_XDP_DELIVERED);
	pw_close(&w);
}

static void test_internet(void)
{
	struct ipaddr far = pkt_ip("2001:db8::7");
	struct pkt got;

	open_world();
	permit(2, TUNNEL_RESOURCE_INTERNET, "");
	got = reaches(&far, &far);
	replied(&got, &far);
	pw_close(&w);
}

static void test_name(void)
{
	struct ipaddr real = pkt_ip("10.7.0.1"), proxies[8];
	struct pkt got;

	open_world();
	pw_zone_set(&w, "a.one.test", &real, 1);
	permit(3, TUNNEL_RESOURCE_DNS, "*.one.test");
	T_EQ(pw_query(&w, 0, "a.one.test", DNS_TYPE_A, proxies), 4);
	got = reaches(&proxies[0], &real);
	replied(&got, &proxies[0]);
	pw_close(&w);
}

static void count(void *ctx, uint8_t node)
{
	(void)node;
	++*(unsigned *)ctx;
}

/* A sweep looks at every grant there is room for, and any timer of the daemon calls the role's
 * timeout: it sweeps when it is due and not else. */
static void test_sweep_when_due(void)
{
	unsigned sweeps = 0;
	struct pw_node *g = &w.node[PW_CLIENTS];
	struct ipaddr far = pkt_ip("10.1.2.3");

	open_world();
	w.cfg.hooks.timers = count;
	w.cfg.hooks.ctx = &sweeps;
	permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	pw_policy_set(&w, 0, 1, true, w.wall_ns / NS_PER_SEC + 3600);
	reaches(&far, &far);
	pw_advance(&w, 10 * NS_PER_SEC);
	T(sweeps >= 9 && sweeps <= 11);
	sweeps = 0;
	for (int i = 0; i < 100; i++) {
		pw_jump(&w, NS_PER_MS);
		g->d->role->timeout(g->d, w.now);
	}
	T(sweeps <= 1);
	pw_close(&w);
}

/* A large table in parts: in as many ticks as there are parts each session's news has arrived, not
 * before its own, and the next round begins where the first did. */
static void test_tick_in_parts(void)
{
	struct ipaddr far = pkt_ip("10.1.2.3");
	struct daemon *d;
	uint32_t slot = 0, n;

	open_world();
	permit(1, TUNNEL_RESOURCE_CIDR, "10.1.0.0/16");
	reaches(&far, &far);
	d = w.node[0].d;
	n = d->n_sessions;
	while (slot < n && !(d->fwd.mem.session[slot].flags & PS_SESS_USED))
		slot++;
	if (T(slot < n && n % 4 == 0 && !d->tick_at)) {
		d->tick_each = n / 4;
		for (uint32_t round = 0; round < 2; round++) {
			uint64_t sent = w.now + 1 + round;

			d->fwd.mem.session[slot].last_tx_ns = sent;
			for (uint32_t part = 0; part < 4; part++) {
				T_EQ(d->seen[slot].tx_ns == sent, part > slot / (n / 4));
				tick(d, w.now + 2);
				T_EQ(d->tick_at, (part + 1) % 4 * (n / 4));
			}
			T_EQ(d->seen[slot].tx_ns, sent);
		}
	}
	pw_close(&w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_cidr);
	T_RUN(test_user_mode);
	T_RUN(test_internet);
	T_RUN(test_name);
	T_RUN(test_sweep_when_due);
	T_RUN(test_tick_in_parts);
	return t_done();
}
