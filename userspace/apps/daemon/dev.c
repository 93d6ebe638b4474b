/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything a daemon changes on its host, made in one order and undone in the other: tunnel
 * device, policy rules, routes, nftables table, sysctls, BPF programs. What a killed run left
 * behind is removed first. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "apps/daemon/daemon.h"
#include "io/nft.h"
#include "io/nic.h"
#include "io/sysctl.h"

#define BULK_HOLD_NS   (50 * NS_PER_MS) /* between trains of one transfer, and no longer */
#define TUN_TXQUEUELEN 1000

static int fail(const char *what, int rc, const struct io_err *err)
{
	LOG_ERROR("device", what, LOG_STR("error", err->msg), LOG_ERRNO("errno", rc));
	return rc;
}

/* ---- tunnel device ---- */

static int open_tun(struct daemon *d)
{
	const struct nl_link_cfg link = {
		.mtu = d->opt.tunnel_mtu, .txqueuelen = TUN_TXQUEUELEN, .no_ll6 = true, .up = true};
	const struct tun_cfg cfg = {
		.name = d->opt.tun, .no_gso = d->opt.no_offload, .multi = d->opt.workers > 0};
	struct io_err err = {""};
	int rc = tun_open(&d->tun, &cfg, &err);

	if (rc)
		return fail("cannot make the tunnel device", rc, &err);
	rc = nl_link_set(d->nl, tun_ifindex(d->tun), &link, &err);
	return rc ? fail("cannot set up the tunnel device", rc, &err) : 0;
}

static int open_udp(struct daemon *d)
{
	const struct udp_cfg cfg = {.port = (uint16_t)d->opt.udp_port,
				    .fwmark = NL_FWMARK,
				    .no_gro = d->opt.no_offload,
				    .no_gso = d->opt.no_offload,
				    .shared = d->opt.workers > 0};
	struct io_err err = {""};
	uint32_t rcv, snd;
	int rc = udp_open(&d->udp, &cfg, &err);

	if (rc)
		return fail("cannot open UDP sockets", rc, &err);
	udp_buffers(d->udp, udp_fd(d->udp, 4) >= 0 ? 4 : 6, &rcv, &snd);
	LOG_INFO("device", "listening", LOG_U64("udp4", udp_port(d->udp, 4)),
		 LOG_U64("udp6", udp_port(d->udp, 6)), LOG_U64("rcvbuf", rcv),
		 LOG_U64("sndbuf", snd));
	return 0;
}

static int open_forwarding(struct daemon *d)
{
	const struct nft_cfg cfg = {
		.instance = d->opt.instance, .tun_name = d->opt.tun, .masquerade = true};
	struct io_err err = {""};
	char path[128], chains[200];
	int rc;

	snprintf(path, sizeof(path), "%s.sysctl", d->state_prefix);
	rc = sysctl_forward_enable(path, &err);
	if (rc)
		return fail("cannot enable forwarding", rc, &err);
	d->sysctl_on = true;
	rc = nft_install(&cfg, &err);
	if (rc)
		return fail("cannot install the nftables table", rc, &err);
	d->nft_on = true;
	if (nft_forward_blockers(d->opt.instance, chains, sizeof(chains)) > 0)
		LOG_WARN("device",
			 "other forward chains drop by default and may stop tunnel traffic",
			 LOG_STR("chains", chains));
	return 0;
}

/* ---- WAN ---- */

static int add_wan(struct daemon *d, int ifindex, const char *name)
{
	for (size_t i = 0; i < d->wan_len; i++)
		if (d->wan_ifindex[i] == ifindex)
			return 0;
	if (d->wan_len == BPF_WAN_MAX)
		return -E2BIG;
	d->wan_ifindex[d->wan_len] = ifindex;
	snprintf(d->wan_name[d->wan_len++], sizeof(d->wan_name[0]), "%s", name);
	return 0;
}

static int find_wan(struct daemon *d)
{
	char list[OPT_TEXT_CAP], *save = NULL;
	struct nl_hop hop;

	snprintf(list, sizeof(list), "%s", d->opt.wan_iface);
	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		unsigned ifindex = if_nametoindex(name);

		if (!ifindex || add_wan(d, (int)ifindex, name)) {
			LOG_ERROR("config",
				  ifindex ? "--wan-iface: too many interfaces"
					  : "--wan-iface: no such interface",
				  LOG_STR("name", name));
			return -ENODEV;
		}
	}
	for (int family = 4; !d->opt.wan_iface[0] && family <= 6; family += 2)
		if (!nl_link_default(d->nl, family, NL_FWMARK, &hop, NULL))
			add_wan(d, hop.ifindex, hop.ifname);
	return 0;
}

/* Once, at the start; status goes on saying it. */
static void advise_wan(const struct daemon *d)
{
	struct nic_offload nic;
	struct io_err err;

	for (size_t i = 0; i < d->wan_len; i++)
		if (!nic_offload_read(d->wan_name[i], &nic, &err) && !nic.gro)
			LOG_WARN("device", WAN_ADVICE_GRO, LOG_STR("interface", d->wan_name[i]));
}

/* ---- the forwarding table and the kernel executor ---- */

static uint32_t pow2_at_least(uint32_t n)
{
	uint32_t p = 16;

	while (p < n)
		p <<= 1;
	return p;
}

static int user_mode(struct daemon *d)
{
	snprintf(d->kernel_why, sizeof(d->kernel_why), "mode is user");
	return 0;
}

static int open_kernel(struct daemon *d)
{
	struct bpf_load_cfg cfg = {
		.instance = d->opt.instance,
		.wan_len = d->wan_len,
		.tun_ifindex = tun_ifindex(d->tun),
		.xdp_mode = d->opt.xdp_mode,
		.steer = d->opt.steer,
		.workers = d->opt.workers > 0,
		.user_only = d->opt.mode == OPT_MODE_USER,
		.sessions = d->n_sessions,
		.peers = d->max_peers,
		.flows = d->max_flows,
		.channels = d->max_channels,
	};
	struct io_err err = {""};
	int rc;

	if (cfg.user_only && cfg.steer != BPF_STEER_XSK) {
		bpf_load_clean(d->opt.instance, &err);
		return user_mode(d);
	}
	if (!d->wan_len) {
		rc = -ENODEV;
		snprintf(err.msg, sizeof(err.msg), "no default route and no --wan-iface");
	} else {
		memcpy(cfg.wan_ifindex, d->wan_ifindex, sizeof(cfg.wan_ifindex));
		rc = bpf_load_open(&d->bpf, &cfg, &err);
	}
	if (!rc)
		return cfg.user_only ? user_mode(d) : 0;
	d->bpf = NULL;
	if (cfg.user_only) {
		for (size_t i = 0; i < d->wan_len; i++)
			snprintf(d->xsk_why[i], sizeof(d->xsk_why[i]), "%s", err.msg);
		LOG_WARN("kernel", "no AF_XDP sockets: the UDP sockets receive all",
			 LOG_STR("why", err.msg));
		bpf_load_clean(d->opt.instance, &err);
		return user_mode(d);
	}
	snprintf(d->kernel_why, sizeof(d->kernel_why), "%s", err.msg);
	if (d->opt.mode == OPT_MODE_KERNEL)
		return fail("--mode=kernel: the kernel executor is not available", rc, &err);
	LOG_WARN("kernel", "user space carries everything", LOG_STR("why", err.msg));
	return 0;
}

/* Zero, and from the start of a page: entries that are made of cache lines then lie in them. */
static void *table_new(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void table_free(void *p, size_t len)
{
	if (p)
		munmap(p, len);
}

static int make_tables(struct daemon *d)
{
	struct fwd_mem *m = &d->fwd_mem;
	uint32_t n = d->n_sessions, peers = d->max_peers;

	m->n_sessions = n;
	m->n_peers = peers;
	if (d->bpf) {
		struct bpf_tables *t = bpf_load_tables(d->bpf);

		m->session = t->session;
		m->replay = t->replay;
		m->peer = t->peer;
	} else {
		m->session = table_new(n * sizeof(*m->session));
		m->replay = table_new(n * sizeof(*m->replay));
		m->peer = table_new(peers * sizeof(*m->peer));
	}
	m->session_free = calloc(n, sizeof(*m->session_free));
	m->keys = table_new(n * sizeof(*m->keys));
	d->seen = calloc(n, sizeof(*d->seen));
	d->pace = calloc(peers, sizeof(*d->pace));
	d->memo = calloc(FLOW_MEMO_CAP, sizeof(*d->memo));
	d->node_mem = (struct node_mem){
		.conns = calloc(peers, sizeof(struct node_conn)),
		.due = calloc(peers, sizeof(struct due)),
		.due_pos = calloc(peers, sizeof(uint32_t)),
		.n_conns = peers,
		.n_buckets = pow2_at_least(peers),
		.n_slots = n,
	};
	d->node_mem.buckets = calloc(NODE_CHAINS * (size_t)d->node_mem.n_buckets, sizeof(uint32_t));
	d->node_mem.conn_of_slot = calloc(n, sizeof(uint32_t));
	d->node_mem.n_relays = NODE_RELAYS_MAX;
	d->node_mem.relays = calloc(NODE_RELAYS_MAX, sizeof(*d->node_mem.relays));
	if (!m->session || !m->replay || !m->peer || !m->session_free || !m->keys || !d->seen ||
	    !d->pace || !d->memo || !d->node_mem.conns || !d->node_mem.due ||
	    !d->node_mem.due_pos || !d->node_mem.buckets || !d->node_mem.conn_of_slot ||
	    !d->node_mem.relays)
		return -ENOMEM;
	/* Keys stay out of core dumps always, out of swap where we are allowed to. */
	madvise(m->keys, n * sizeof(*m->keys), MADV_DONTDUMP);
	if (mlock(m->keys, n * sizeof(*m->keys)))
		LOG_WARN("device", "session keys may be swapped out", LOG_ERRNO("error", errno));
	return 0;
}

/* Ports and switches; then the programs go live. */
static int start_kernel(struct daemon *d)
{
	uint32_t flags = d->opt.mode == OPT_MODE_USER ? 0 : PS_CFG_RX | PS_CFG_TX;
	struct ps_config *c;
	struct io_err err = {""};
	int rc;

	if (!d->bpf)
		return 0;
	c = bpf_load_tables(d->bpf)->config;
	c->port4 = ps_be16(udp_port(d->udp, 4));
	c->port6 = ps_be16(udp_port(d->udp, 6));
	c->fwmark = NL_FWMARK;
	c->bulk_hold_ns = BULK_HOLD_NS;
	rc = bpf_load_start(d->bpf, &err);
	if (rc && d->opt.mode != OPT_MODE_KERNEL) {
		/* The table lives on in the maps; the programs just never see a packet. */
		snprintf(d->kernel_why, sizeof(d->kernel_why), "%s", err.msg);
		LOG_WARN("kernel", "user space carries everything", LOG_STR("why", err.msg));
		return 0;
	}
	if (rc)
		return fail("--mode=kernel: cannot attach", rc, &err);
	for (size_t i = 0; i < bpf_load_info(d->bpf)->wan_len; i++)
		if (!strcmp(bpf_load_info(d->bpf)->wan[i].xdp_mode, "generic"))
			flags |= PS_CFG_GENERIC;
	PS_WRITE_ONCE(c->flags, flags);
	for (size_t i = 0; i < bpf_load_info(d->bpf)->wan_len; i++) {
		const struct bpf_wan_info *w = &bpf_load_info(d->bpf)->wan[i];

		LOG_INFO("kernel", "fast path attached", LOG_STR("interface", w->ifname),
			 LOG_STR("xdp", w->xdp_mode), LOG_STR("by", w->xdp_attach),
			 LOG_STR("tc", w->tc_attach), LOG_STR("note", w->why),
			 LOG_STR("steer", bpf_steer_name(w->steer)),
			 LOG_STR("steer_why", w->steer_why));
	}
	if (!bpf_load_info(d->bpf)->keys_hidden)
		LOG_WARN("kernel", "a dump by root can show session keys on this kernel",
			 LOG_STR("why", bpf_load_info(d->bpf)->shown_why));
	return 0;
}

int dev_open(struct daemon *d)
{
	struct io_err err = {""};
	int rc = nl_open(&d->nl, &err);

	if (rc)
		return fail("no rtnetlink", rc, &err);
	d->n_sessions = pow2_at_least(d->max_peers * 3);
	rc = find_wan(d);
	if (!rc)
		rc = open_tun(d);
	if (!rc)
		rc = open_udp(d);
	if (rc)
		return rc;
	advise_wan(d);
	dev_open_rules(d);
	if (d->role->gateway)
		rc = open_forwarding(d);
	if (!rc)
		rc = open_kernel(d);
	if (!rc)
		rc = make_tables(d);
	if (!rc)
		rc = start_kernel(d);
	if (rc)
		return rc;
	rc = nl_monitor_open(&d->monitor, tun_ifindex(d->tun), NL_TABLE, &err);
	return rc ? fail("cannot watch the network", rc, &err) : 0;
}

static void free_tables(struct daemon *d)
{
	struct fwd_mem *m = &d->fwd_mem;

	if (!d->bpf) {
		table_free(m->session, m->n_sessions * sizeof(*m->session));
		table_free(m->replay, m->n_sessions * sizeof(*m->replay));
		table_free(m->peer, m->n_peers * sizeof(*m->peer));
	}
	free(m->session_free);
	table_free(m->keys, m->n_sessions * sizeof(*m->keys));
	free(d->seen);
	free(d->pace);
	free(d->memo);
	free(d->node_mem.conns);
	free(d->node_mem.due);
	free(d->node_mem.due_pos);
	free(d->node_mem.buckets);
	free(d->node_mem.conn_of_slot);
	free(d->node_mem.relays);
}

void dev_close(struct daemon *d)
{
	struct io_err err = {""};

	nl_monitor_close(d->monitor);
	free_tables(d);
	bpf_load_close(d->bpf);
	if (d->nft_on && nft_remove(d->opt.instance, &err))
		LOG_WARN("device", "nftables table not removed", LOG_STR("error", err.msg));
	dev_restore_sysctls(d);
	dev_close_rules(d);
	udp_close(d->udp);
	tun_close(d->tun);
	nl_close(d->nl);
}

int dev_set_interface(struct daemon *d, const struct ipaddr *v4, const struct ipaddr *v6)
{
	static const struct ipnet peer_ranges[] = {
		{.ip = {.family = 4, .b = {100, 64}}, .len = 11},
		{.ip = {.family = 6, .b = {0xfd, 0, 0x20, 0x21, 0x11, 0x11}}, .len = 107},
	};
	int ifindex = tun_ifindex(d->tun);
	struct io_err err = {""};
	int rc4, rc6;

	if (ipaddr_eq(&d->tun4, v4) && ipaddr_eq(&d->tun6, v6))
		return 0;
	nl_link_addr_flush(d->nl, ifindex, NULL);
	rc4 = nl_link_addr_add(d->nl, ifindex, v4, 32, &err);
	rc6 = nl_link_addr_add(d->nl, ifindex, v6, 128, &err);
	if (rc4 && rc6)
		return fail("tunnel addresses not set", rc4, &err);
	if (rc4 || rc6)
		LOG_WARN("device", "the tunnel has one address family only",
			 LOG_STR("error", err.msg));
	d->tun4 = *v4;
	d->tun6 = *v6;
	dev_guard(d, v4);
	dev_guard(d, v6);
	LOG_INFO("device", "tunnel addresses set", LOG_IP("ipv4", v4), LOG_IP("ipv6", v6));
	if (d->role->gateway) {
		mtu_withdraw(d);
		dev_set_routes(d, peer_ranges, 2);
		mtu_announce(d);
	}
	return 1;
}
