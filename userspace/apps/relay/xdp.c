/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's copy of bound channels: attached where asked for, filled from the machine's events,
 * kept alive by the tick. What it cannot take, user space relays. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "apps/relay/app.h"
#include "io/file.h"

static int interfaces(struct app *a, struct bpf_relay_cfg *cfg, struct io_err *err)
{
	const char *at = a->opt.xdp_iface;

	while (*at) {
		size_t len = strcspn(at, ",");
		char name[IFNAMSIZ];

		if (cfg->if_len == BPF_WAN_MAX)
			return io_fail(err, -E2BIG, "at most %d interfaces", BPF_WAN_MAX);
		if (!len || len >= sizeof(name))
			return io_fail(err, -EINVAL, "--xdp-iface: no interface name");
		memcpy(name, at, len);
		name[len] = 0;
		cfg->ifindex[cfg->if_len] = (int)if_nametoindex(name);
		if (!cfg->ifindex[cfg->if_len])
			return io_fail(err, -ENODEV, "no interface %s", name);
		cfg->if_len++;
		at += len + (at[len] == ',');
	}
	return 0;
}

/* A relayed address as packets carry it: as told, else what the sockets are bound to, else the
 * public one. */
static struct ipaddr own(const struct ipaddr *told, const struct ipaddr *bound,
			 const struct ipaddr *public_)
{
	if (told->family)
		return *told;
	return bound->family && !ipaddr_is_unspecified(bound) ? *bound : *public_;
}

static int load(struct app *a, struct io_err *err)
{
	struct bpf_relay_cfg cfg = {
		.instance = a->opt.instance,
		.xdp_mode = a->opt.xdp_mode,
		.hop = a->opt.hop,
		.listen_port = (uint16_t)a->opt.listen_port,
		.own4 = own(&a->opt.own4, &a->bind4, &a->opt.public4),
		.own6 = own(&a->opt.own6, &a->bind6, &a->opt.public6),
		.public4 = a->opt.public4,
		.public6 = a->opt.public6,
		.bindings = a->n_bind_cap,
	};
	int rc = interfaces(a, &cfg, err);

	memcpy(cfg.hop_mac, a->opt.hop_mac, sizeof(cfg.hop_mac));
	rc = rc ? rc : bpf_relay_open(&a->bpf, &cfg, err);
	if (rc == 0 && cfg.hop == PS_TURN_HOP_AUTO) {
		const struct hop_cfg hop = {.bpf = a->bpf, .own4 = cfg.own4, .own6 = cfg.own6};

		rc = hop_open(&a->hop, &hop, &a->loop, err);
		if (rc)
			xdp_close(a);
	}
	return rc;
}

/* The kernel answers a program's question for the way only where it would forward itself. */
static void check_forwarding(const char *ifname)
{
	static const char *const families[] = {"ipv4", "ipv6"};

	for (int i = 0; i < 2; i++) {
		char path[96], text[8];
		size_t len;

		snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/forwarding", families[i],
			 ifname);
		if (!file_read(path, text, sizeof(text), &len, NULL) && text[0] == '0')
			LOG_WARN("kernel",
				 "--nexthop fib works only where forwarding is on: user space "
				 "relays what comes in here",
				 LOG_STR("interface", ifname), LOG_STR("family", families[i]));
	}
}

int xdp_open(struct app *a)
{
	struct io_err err = {""};
	int rc;

	if (!a->opt.xdp_iface[0] || a->opt.xdp_mode == BPF_XDP_OFF) {
		snprintf(a->kernel_why, sizeof(a->kernel_why), "%s",
			 a->opt.xdp_iface[0] ? "xdp-mode is off" : "no interface is given");
		return 0;
	}
	rc = load(a, &err);
	if (!rc) {
		const struct bpf_relay_info *info = bpf_relay_info(a->bpf);

		for (size_t i = 0; i < info->wan_len && a->opt.hop == PS_TURN_HOP_FIB; i++)
			check_forwarding(info->wan[i].ifname);
		for (size_t i = 0; i < info->wan_len; i++)
			LOG_INFO("kernel", "relaying in the kernel",
				 LOG_STR("interface", info->wan[i].ifname),
				 LOG_STR("xdp", info->wan[i].xdp_mode),
				 LOG_STR("by", info->wan[i].xdp_attach),
				 LOG_STR("nexthop", info->hop), LOG_STR("note", info->wan[i].why));
		return 0;
	}
	snprintf(a->kernel_why, sizeof(a->kernel_why), "%s", err.msg[0] ? err.msg : strerror(-rc));
	if (a->opt.xdp_required) {
		LOG_ERROR("kernel", "cannot relay in the kernel", LOG_STR("why", a->kernel_why));
		return rc;
	}
	LOG_WARN("kernel", "user space relays everything", LOG_STR("why", a->kernel_why));
	return 0;
}

/* Who has no channel may still have a permission: such packets are user space's. */
static void set_port(struct app *a, const struct relay_alloc_view *v)
{
	bool f4 = v->families & RELAY_F4, f6 = v->families & RELAY_F6, open = v->n_perms;

	bpf_relay_port_set(a->bpf, v->port, f4, f6, f4 && open, f6 && open);
}

void xdp_alloc_changed(struct app *a, uint32_t alloc)
{
	struct relay_alloc_view v;

	if (a->bpf && relay_alloc_at(&a->relay, alloc, &v))
		set_port(a, &v);
}

static struct bpf_relay_bind binding(const struct relay_event *ev)
{
	return (struct bpf_relay_bind){
		.client = ev->client,
		.local = ev->local,
		.peer = ev->peer,
		.channel = ev->channel,
		.port = ev->port,
		.index = ev->bind,
		.expires_ns = ev->expires_ns,
	};
}

void xdp_event(struct app *a, const struct relay_event *ev)
{
	struct bpf_relay_bind b;
	int rc;

	if (!a->bpf)
		return;
	switch (ev->kind) {
	case RELAY_EV_ALLOC_ADD:
		bpf_relay_port_set(a->bpf, ev->port, ev->families & RELAY_F4,
				   ev->families & RELAY_F6, false, false);
		break;
	case RELAY_EV_ALLOC_DEL:
		bpf_relay_port_set(a->bpf, ev->port, false, false, false, false);
		break;
	case RELAY_EV_BIND_ADD:
		b = binding(ev);
		rc = bpf_relay_bind_set(a->bpf, &b);
		if (rc)
			LOG_DEBUG("kernel", "binding stays in user space", LOG_ERRNO("why", rc));
		break;
	case RELAY_EV_BIND_DEL:
		b = binding(ev);
		bpf_relay_bind_del(a->bpf, &b);
		break;
	}
}

void xdp_close(struct app *a)
{
	hop_stop(a->hop);
	bpf_relay_close(a->bpf);
	a->bpf = NULL;
}
