/* SPDX-License-Identifier: Apache-2.0
 *
 * Each turn asks for the default route, the interface's address and the router's place in the
 * neighbour table: a few requests that the kernel answers from memory. The routing tables are read
 * only after something in them changed, and reading them takes a tenth of the time at most.
 *
 * What goes through the switch leaves no trace in the neighbour table, where the router would grow
 * stale unnoticed: so it is verified every HOP_VERIFY_MS. */
#include "apps/relay/hop.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/nl_addr.h"
#include "io/nl_router.h"
#include "io/sysctl.h"

#define HOP_TURN_NS   NS_PER_SEC
#define HOP_HURRY_NS  (100 * NS_PER_MS) /* while the router is looked for */
#define HOP_HURRY_MAX 10
#define HOP_VERIFY_MS 5000
#define READ_SHARE    10

enum { V4, V6, FAMILIES };

enum hop_state {
	HOP_OFF,	/* the family is not served */
	HOP_NONE,	/* no default route, or one without a router */
	HOP_ELSEWHERE,	/* it leads out of an interface that has no switch */
	HOP_UNRESOLVED, /* the router's Ethernet address is not known */
	HOP_ROUTER,
};

struct side {
	struct ipaddr own;
	enum hop_state state;
	struct nl_router via;
	struct bpf_relay_way way;
	struct netset near; /* of `via`, when near_known */
	bool near_known, near_stale;
	unsigned hurry; /* turns in a hurry so far */
	uint64_t verified_ns;
	char said[128]; /* in the log */
};

struct hop {
	struct bpf_relay *bpf;
	struct nl *nl;
	struct nl_monitor *monitor;
	struct loop_fd fd;
	struct loop_timer timer;
	uint64_t read_after_ns;
	bool forwards[FAMILIES]; /* on every interface with the switch */
	struct side side[FAMILIES];
};

static int family_of(int f)
{
	return f == V4 ? 4 : 6;
}

static bool has_switch(const struct hop *h, const char *ifname)
{
	const struct bpf_relay_info *info = bpf_relay_info(h->bpf);

	for (size_t i = 0; i < info->wan_len; i++)
		if (!strcmp(info->wan[i].ifname, ifname))
			return true;
	return false;
}

static bool forwards(const struct hop *h, int f)
{
	const struct bpf_relay_info *info = bpf_relay_info(h->bpf);
	char name[96];

	for (size_t i = 0; i < info->wan_len; i++) {
		snprintf(name, sizeof(name), "net/ipv%d/conf/%s/forwarding", family_of(f),
			 info->wan[i].ifname);
		if (sysctl_read(name) <= 0)
			return false;
	}
	return true;
}

/* ---- looking ------------------------------------------------------------------------------------
 */

static enum hop_state look_router(struct hop *h, struct side *s, int f)
{
	struct nl_router via;

	if (!s->own.family)
		return HOP_OFF;
	if (nl_router_find(h->nl, family_of(f), &s->own, &via))
		memset(&via, 0, sizeof(via));
	if (via.ifindex != s->via.ifindex || !ipaddr_eq(&via.gateway, &s->via.gateway)) {
		s->near_known = false;
		s->hurry = 0;
		s->verified_ns = 0;
	}
	s->via = via;
	if (!via.ifindex || !via.gateway.family)
		return HOP_NONE;
	return has_switch(h, via.ifname) ? HOP_UNRESOLVED : HOP_ELSEWHERE;
}

static void look_near(struct hop *h, struct side *s, int f, uint64_t now)
{
	uint64_t done;

	if ((s->near_known && !s->near_stale) || !time_reached(h->read_after_ns, now))
		return;
	s->near_stale = false;
	memset(&s->near, 0, sizeof(s->near));
	s->near_known = nl_router_near(h->nl, family_of(f), &s->via, &s->near) == 0;
	netset_reduce(&s->near, PS_TURN_NEAR_MAX);
	done = loop_now();
	h->read_after_ns = done + READ_SHARE * time_since(now, done);
}

/* In the neighbour table; the kernel is asked to look when it is not there, or not lately. */
static bool look_neigh(struct hop *h, struct side *s, uint64_t now)
{
	struct nl_neigh n;
	int rc = nl_neigh_get(h->nl, s->via.ifindex, &s->via.gateway, &n);

	if (rc == 0 && n.known) {
		memcpy(s->way.dst, n.mac, sizeof(n.mac));
		s->hurry = 0;
	}
	if (rc < 0 || n.fixed)
		return rc == 0 && n.known;
	if (!n.known) {
		nl_neigh_ask(h->nl, s->via.ifindex, &s->via.gateway, false);
	} else if (n.confirmed_ms >= HOP_VERIFY_MS &&
		   time_reached(s->verified_ns + HOP_VERIFY_MS * NS_PER_MS, now)) {
		nl_neigh_ask(h->nl, s->via.ifindex, &s->via.gateway, true);
		s->verified_ns = now;
	}
	return n.known;
}

static void way_make(struct side *s)
{
	s->way.ifindex = s->state == HOP_ROUTER ? s->via.ifindex : 0;
	s->way.near_len = s->state == HOP_ROUTER ? s->near.len : 0;
	for (size_t i = 0; i < s->way.near_len; i++)
		s->way.near[i] = s->near.net[i];
	if (s->state == HOP_ROUTER)
		return;
	memset(s->way.dst, 0, sizeof(s->way.dst));
	memset(s->way.src, 0, sizeof(s->way.src));
}

static void side_look(struct hop *h, int f, uint64_t now)
{
	struct side *s = &h->side[f];

	s->state = look_router(h, s, f);
	if (s->state == HOP_UNRESOLVED) {
		look_near(h, s, f, now);
		if (look_neigh(h, s, now) && s->near_known &&
		    nl_router_mac(h->nl, s->via.ifindex, s->way.src) == 0)
			s->state = HOP_ROUTER;
	}
	way_make(s);
}

/* ---- saying -------------------------------------------------------------------------------------
 */

static void side_text(const struct side *s, char *out, size_t cap)
{
	const uint8_t *m = s->way.dst;
	char gateway[IPADDR_STRLEN];

	ipaddr_fmt(&s->via.gateway, gateway);
	switch (s->state) {
	case HOP_OFF:
		snprintf(out, cap, "not served");
		break;
	case HOP_NONE:
		snprintf(out, cap, "no default router");
		break;
	case HOP_ELSEWHERE:
		snprintf(out, cap, "router %s is behind %s, which has no switch", gateway,
			 s->via.ifname);
		break;
	case HOP_UNRESOLVED:
		snprintf(out, cap, "router %s on %s is unresolved", gateway, s->via.ifname);
		break;
	case HOP_ROUTER:
		snprintf(out, cap, "router %s at %02x:%02x:%02x:%02x:%02x:%02x on %s", gateway,
			 m[0], m[1], m[2], m[3], m[4], m[5], s->via.ifname);
		break;
	}
}

/* What becomes of packets that the router does not take. */
static const char *otherwise(const struct hop *h, int f)
{
	return h->forwards[f] ? "fib" : "user";
}

static void side_say(struct hop *h, int f)
{
	struct side *s = &h->side[f];
	char text[sizeof(s->said)];

	side_text(s, text, sizeof(text));
	if (!strcmp(text, s->said))
		return;
	/* A moment without an answer is no news. */
	if (s->state == HOP_OFF || (s->state == HOP_UNRESOLVED && s->hurry < HOP_HURRY_MAX))
		return;
	memcpy(s->said, text, sizeof(text));
	if (s->state == HOP_ROUTER)
		LOG_INFO("kernel", "next hop", LOG_U64("family", (uint64_t)family_of(f)),
			 LOG_STR("is", text), LOG_U64("prefixes_not_behind_it", s->near.len));
	else
		LOG_WARN("kernel", "no next hop by the router",
			 LOG_U64("family", (uint64_t)family_of(f)), LOG_STR("why", text),
			 LOG_STR("relayed_by", otherwise(h, f)));
}

json_t *hop_view(const struct hop *h)
{
	json_t *list = json_array();

	for (int f = 0; h && f < FAMILIES; f++) {
		const struct side *s = &h->side[f];
		json_t *near = json_array();
		char text[IPNET_STRLEN], why[sizeof(s->said)];

		if (s->state == HOP_OFF)
			continue;
		side_text(s, why, sizeof(why));
		for (size_t i = 0; i < s->way.near_len; i++)
			json_array_append_new(near, json_string(ipnet_fmt(&s->way.near[i], text)));
		json_array_append_new(
			list, json_pack("{s:i,s:s,s:s,s:s,s:o}", "family", family_of(f), "use",
					s->state == HOP_ROUTER ? "router" : otherwise(h, f), "why",
					why, "otherwise", otherwise(h, f), "not_behind", near));
	}
	return list;
}

/* ---- turns --------------------------------------------------------------------------------------
 */

static void turn(struct hop *h, uint64_t now)
{
	uint64_t next = now + HOP_TURN_NS;

	if (!h->bpf)
		return;
	for (int f = 0; f < FAMILIES; f++) {
		struct side *s = &h->side[f];

		h->forwards[f] = forwards(h, f);
		side_look(h, f, now);
		if (s->state == HOP_UNRESOLVED && s->hurry < HOP_HURRY_MAX) {
			s->hurry++;
			next = now + HOP_HURRY_NS;
		}
		side_say(h, f);
	}
	bpf_relay_way_set(h->bpf, &h->side[V4].way, &h->side[V6].way);
	loop_timer_arm(&h->timer, next);
}

static void on_timer(void *ctx, uint64_t now)
{
	turn(ctx, now);
}

static void on_change(void *ctx, unsigned int events, uint64_t now)
{
	struct hop *h = ctx;

	(void)events;
	if (!nl_monitor_take(h->monitor))
		return;
	h->side[V4].near_stale = h->side[V6].near_stale = true;
	turn(h, now);
}

int hop_open(struct hop **out, const struct hop_cfg *cfg, struct loop *loop, struct io_err *err)
{
	struct hop *h = calloc(1, sizeof(*h));
	int rc;

	*out = h;
	if (!h)
		return io_fail(err, -ENOMEM, "no memory for the next hop");
	h->bpf = cfg->bpf;
	h->side[V4].own = cfg->own4;
	h->side[V6].own = cfg->own6;
	h->timer.fd = -1;
	rc = nl_open(&h->nl, err);
	if (rc == 0)
		rc = nl_monitor_open(&h->monitor, 0, 0, err);
	if (rc == 0)
		rc = loop_timer_init(&h->timer, loop, on_timer, h);
	if (rc == 0)
		rc = loop_fd_init(&h->fd, loop, nl_monitor_fd(h->monitor), LOOP_READ, on_change, h);
	if (rc == 0)
		turn(h, loop_now());
	return rc;
}

void hop_stop(struct hop *h)
{
	if (h)
		h->bpf = NULL;
}

void hop_close(struct hop *h)
{
	if (!h)
		return;
	nl_monitor_close(h->monitor);
	nl_close(h->nl);
	if (h->timer.fd >= 0)
		close(h->timer.fd);
	free(h);
}
