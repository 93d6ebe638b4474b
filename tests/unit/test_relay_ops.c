/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client does with its allocation: Refresh, CreatePermission, ChannelBind, the lifetimes of
 * what they make, and the events of its end. */
#include "tests/relay_world.h"

#define C1 rw_ep("192.0.2.1:1000")
#define C2 rw_ep("192.0.2.2:2000")
#define P1 rw_ep("198.51.100.7:7000")
#define P6 rw_ep("[2001:db8:a::7]:7006")

#define SEC NS_PER_SEC

static const char stamp_user[] = "1900000000:kF8o3vGOqsBa5vErLDRSdEr69ibaE0PVezlbVE4FGbY";

static void test_refresh(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1), f = rw_ask(STUN_REFRESH, C1);

	T_EQ(rw_refresh(w, C1, NULL, 0), 437);
	T_EQ(rw_refresh(w, C1, NULL, 600), 437);
	T_EQ(rw_go(w, &a), 0);
	T_EQ(rw_refresh(w, C1, "bob", 600), 441);
	T_EQ(rw_refresh(w, C1, "bob", 0), 441);
	/* As Firezone's client sends it. */
	rw_u32(&f, STUN_A_REQUESTED_TRANSPORT, 17U << 24);
	rw_u32(&f, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2U << 24);
	T_EQ(rw_go(w, &f), 0);
	T_EQ(w->m.attrs[0].type, STUN_A_SOFTWARE);
	T_EQ(w->m.attrs[1].type, STUN_A_LIFETIME);
	f.n = 0;
	rw_u32(&f, STUN_A_REQUESTED_ADDRESS_FAMILY, 2U << 24);
	T_EQ(rw_go(w, &f), 443);
	f.attrs[0].u = 9U << 24;
	T_EQ(rw_go(w, &f), 443);
	f.attrs[0].u = 1U << 24;
	T_EQ(rw_go(w, &f), 0);
	T_EQ(rw_refresh(w, C1, NULL, 0), 0);
	T_EQ(w->n_events, 1);
	T_EQ(w->events[0].kind, RELAY_EV_ALLOC_DEL);
	T_EQ(rw_refresh(w, C1, NULL, 0), 437);
	rw_free(w);
}

static void test_permission(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1), p = rw_ask(STUN_CREATE_PERMISSION, C1);

	T_EQ(rw_go(w, &p), 400);
	T_EQ(rw_permit(w, C1, NULL, P1), 437);
	T_EQ(rw_go(w, &a), 0);
	T_EQ(rw_permit(w, C1, "bob", P1), 441);
	T_EQ(rw_permit(w, C1, NULL, P6), 443);
	T_EQ(rw_permit(w, C1, NULL, rw_ep("127.0.0.1:5")), 403);
	T_EQ(rw_permit(w, C1, NULL, P1), 0);
	T(rw_signed(w, RW_ALICE));
	T_EQ(relay_n_perms(&w->r), 1);
	/* By address, whatever the port. */
	T_EQ(rw_permit(w, C1, NULL, rw_ep("198.51.100.7:0")), 0);
	T_EQ(relay_n_perms(&w->r), 1);
	/* All or nothing. */
	rw_addr(&p, STUN_A_XOR_PEER_ADDRESS, rw_ep("198.51.100.8:1"));
	rw_addr(&p, STUN_A_XOR_PEER_ADDRESS, rw_ep("169.254.169.254:80"));
	T_EQ(rw_go(w, &p), 403);
	T_EQ(relay_n_perms(&w->r), 1);
	p.attrs[1].addr = P6;
	T_EQ(rw_go(w, &p), 443);
	p.attrs[1].addr = rw_ep("198.51.100.9:1");
	T_EQ(rw_go(w, &p), 0);
	T_EQ(relay_n_perms(&w->r), 3);
	rw_pass(w, RELAY_PERM_NS - 1);
	T_EQ(relay_n_perms(&w->r), 3);
	T_EQ(rw_permit(w, C1, NULL, P1), 0);
	rw_pass(w, 1);
	T_EQ(relay_n_perms(&w->r), 1);
	T_EQ(rw_refresh(w, C1, NULL, 0), 0);
	T_EQ(relay_n_perms(&w->r), 0);
	rw_free(w);
}

static void test_channel_bind(void)
{
	struct rw *w = rw_new(NULL);
	struct rw_ask b = rw_ask(STUN_CHANNEL_BIND, C1), a = rw_alloc_ask(C1);

	T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 437);
	T_EQ(rw_go(w, &a), 0);
	T_EQ(rw_go(w, &b), 400);
	rw_u32(&b, STUN_A_CHANNEL_NUMBER, 0x4000U << 16);
	T_EQ(rw_go(w, &b), 400);
	b.n = 0;
	rw_addr(&b, STUN_A_XOR_PEER_ADDRESS, P1);
	T_EQ(rw_go(w, &b), 400);
	T_EQ(rw_bind(w, C1, NULL, 0x3fff, P1), 400);
	T_EQ(rw_bind(w, C1, NULL, 0x8000, P1), 400);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("198.51.100.7:0")), 400);
	T_EQ(rw_bind(w, C1, "bob", 0x4000, P1), 441);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P6), 443);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("224.0.0.1:1")), 403);
	T_EQ(relay_n_binds(&w->r), 0);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 0);
	T(rw_signed(w, RW_ALICE));
	T_EQ(w->n_events, 1);
	T_EQ(w->events[0].kind, RELAY_EV_BIND_ADD);
	T_EQ(w->events[0].channel, 0x4000);
	T_EQ(w->events[0].expires_ns, w->now + RELAY_BIND_NS);
	T(endpoint_eq(&w->events[0].peer, &(struct endpoint){P1.ip, P1.port, 0}));
	/* One channel a peer, one peer a channel; family before conflict. */
	T_EQ(rw_bind(w, C1, NULL, 0x4001, P1), 400);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, rw_ep("198.51.100.7:7001")), 400);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P6), 443);
	T_EQ(w->n_events, 0);
	T_EQ(rw_bind(w, C1, NULL, 0x7fff, rw_ep("198.51.100.7:7001")), 0);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 0);
	T_EQ(w->n_events, 1);
	T_EQ(w->events[0].kind, RELAY_EV_BIND_ADD);
	T_EQ(relay_n_binds(&w->r), 2);
	T_EQ(relay_n_perms(&w->r), 1);
	rw_free(w);
}

/* Bound 10 minutes, reserved 5 more, then gone; a bind within brings it back. */
static void test_channel_lifetime(void)
{
	struct rw *w = rw_new(NULL);
	const struct endpoint c1 = C1;
	struct relay_route route;

	T(rw_allocate(w, C1, NULL));
	T_EQ(rw_refresh(w, C1, NULL, 3600), 0);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 0);
	rw_pass(w, RELAY_BIND_NS - 1);
	T_EQ(relay_from_client(&w->r, &c1, 0x4000, w->now, &route), RELAY_HIT);
	T_EQ(relay_from_client(&w->r, &c1, 0x4000, w->now + 1, &route), RELAY_MISS_CHANNEL);
	rw_pass(w, 1);
	T_EQ(w->n_events, 1);
	T_EQ(w->events[0].kind, RELAY_EV_BIND_DEL);
	T_EQ(w->events[0].channel, 0x4000);
	T_EQ(relay_n_binds(&w->r), 1);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P6), 400);
	T_EQ(rw_bind(w, C1, NULL, 0x4001, P1), 400);
	rw_pass(w, RELAY_BIND_HOLD_NS - 1);
	T_EQ(rw_bind(w, C1, NULL, 0x4001, P1), 400);
	T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 0);
	T_EQ(w->n_events, 1);
	T_EQ(w->events[0].kind, RELAY_EV_BIND_ADD);
	T_EQ(relay_from_client(&w->r, &c1, 0x4000, w->now, &route), RELAY_HIT);
	rw_pass(w, RELAY_BIND_NS);
	T_EQ(w->n_events, 1);
	T_EQ(rw_refresh(w, C1, NULL, 3600), 0);
	rw_pass(w, RELAY_BIND_HOLD_NS);
	T_EQ(w->n_events, 0);
	T_EQ(relay_n_binds(&w->r), 0);
	T_EQ(rw_bind(w, C1, NULL, 0x4001, P1), 0);
	rw_free(w);
}

/* An allocation's end unbinds its channels first. */
static void test_deletion_unbinds(void)
{
	struct rw *w = rw_new(NULL);

	for (unsigned how = 0; how < 2; how++) {
		uint16_t port = rw_allocate(w, C1, NULL);

		T(port);
		T_EQ(rw_bind(w, C1, NULL, 0x4000, P1), 0);
		T_EQ(rw_bind(w, C1, NULL, 0x4001, P6), 0);
		if (how)
			rw_pass(w, 600 * SEC);
		else
			T_EQ(rw_refresh(w, C1, NULL, 0), 0);
		/* When all ends at once, the order of the two lists does not matter, but this does.
		 */
		T_EQ(w->n_events, 3);
		T_EQ(w->events[0].kind, RELAY_EV_BIND_DEL);
		T_EQ(w->events[1].kind, RELAY_EV_BIND_DEL);
		T(w->events[0].channel != w->events[1].channel);
		T_EQ(w->events[2].kind, RELAY_EV_ALLOC_DEL);
		for (unsigned i = 0; i < 3; i++)
			T_EQ(w->events[i].port, port);
		T_EQ(relay_n_binds(&w->r), 0);
		T_EQ(relay_n_allocs(&w->r), 0);
		T_EQ(relay_deadline(&w->r).at, TIME_NEVER);
	}
	rw_free(w);
}

/* A portal's user has one allocation: the newer replaces the older, also from another socket. */
static void test_one_allocation_per_portal_user(void)
{
	struct rw *w = rw_new(NULL);
	uint16_t first = rw_allocate(w, C1, stamp_user), second;

	T(first);
	T_EQ(rw_bind(w, C1, stamp_user, 0x4000, P1), 0);
	T_EQ(rw_allocate(w, C1, stamp_user), 0);
	second = rw_allocate(w, C2, stamp_user);
	T(second);
	T_EQ(w->n_events, 3);
	T_EQ(w->events[0].kind, RELAY_EV_BIND_DEL);
	T_EQ(w->events[1].kind, RELAY_EV_ALLOC_DEL);
	T_EQ(w->events[1].port, first);
	T_EQ(w->events[2].kind, RELAY_EV_ALLOC_ADD);
	T_EQ(w->events[2].port, second);
	T_EQ(relay_n_allocs(&w->r), 1);
	T_EQ(rw_refresh(w, C1, stamp_user, 600), 437);
	T_EQ(rw_refresh(w, C2, stamp_user, 600), 0);
	/* A request that is refused replaces nothing. */
	{
		struct rw_ask a = rw_ask(STUN_ALLOCATE, C1);

		a.user = stamp_user;
		rw_u32(&a, STUN_A_REQUESTED_TRANSPORT, 6U << 24);
		T_EQ(rw_go(w, &a), 442);
	}
	T_EQ(relay_n_allocs(&w->r), 1);
	/* Other users have as many as their quota. */
	T(rw_allocate(w, C1, "1900000000:web") && rw_allocate(w, rw_ep("192.0.2.9:1"), "bob"));
	T(rw_allocate(w, rw_ep("192.0.2.9:2"), "bob"));
	T_EQ(relay_n_allocs(&w->r), 4);
	rw_free(w);
}

/* A client that starts anew on its old socket, with a new key: 437, then it deletes, then it has
 * its own. */
static void test_portal_user_starts_anew(void)
{
	static const char newer[] = "1900000000:another";
	struct rw *w = rw_new(NULL);
	struct rw_ask a = rw_alloc_ask(C1);

	T(rw_allocate(w, C1, stamp_user));
	a.user = newer;
	T_EQ(rw_go(w, &a), 437);
	T(rw_signed(w, newer));
	/* By the portal's users only. */
	T_EQ(rw_refresh(w, C1, NULL, 0), 441);
	T_EQ(rw_refresh(w, C1, "1900000000", 0), 441);
	T_EQ(rw_refresh(w, C1, newer, 0), 0);
	T(rw_signed(w, newer));
	T_EQ(rw_go(w, &a), 0);
	T_EQ(relay_n_allocs(&w->r), 1);
	T_EQ(rw_refresh(w, C1, newer, 0), 0);
	T(rw_allocate(w, C1, NULL));
	T_EQ(rw_refresh(w, C1, newer, 0), 441);
	rw_free(w);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_refresh);
	T_RUN(test_permission);
	T_RUN(test_channel_bind);
	T_RUN(test_channel_lifetime);
	T_RUN(test_deletion_unbinds);
	T_RUN(test_one_allocation_per_portal_user);
	T_RUN(test_portal_user_starts_anew);
	return t_done();
}
