/* SPDX-License-Identifier: Apache-2.0
 *
 * A daemon's life: options, devices, cores, loop, and everything undone at the end. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "apps/daemon/daemon.h"
#include "crypto/crypto.h"
#include "io/entropy.h"

#define TOKEN_POLL_NS (5 * NS_PER_SEC) /* signed out: how often the token file is looked for */

void daemon_stop(struct daemon *d, int exit_code)
{
	if (d->stopping)
		return;
	d->stopping = true;
	d->exit_code = exit_code;
	loop_stop(&d->loop);
}

/* ---- loop callbacks ---- */

static uint64_t next_deadline(const struct daemon *d)
{
	struct deadline dl = node_deadline(&d->node);

	dl = deadline_min(dl, d->role->deadline(d));
	dl = deadline_min(dl, mtu_deadline(d));
	if (d->portal != PORTAL_SIGNED_OUT)
		dl = deadline_min(dl, phx_deadline(&d->phx));
	return dl.at;
}

/* Before each sleep: let every machine speak, then sleep until the earliest of their deadlines. */
static void on_hook(void *ctx, uint64_t now)
{
	struct daemon *d = ctx;

	d->role->drain(d, now);
	link_drain(d, now);
	portal_drain(d, now);
	mtu_drain(d);
	udp_flush(d->udp);
	data_drained(d);
	loop_fd_set(&d->fd_udp4, LOOP_READ | (udp_pending(d->udp, 4) ? LOOP_WRITE : 0));
	loop_fd_set(&d->fd_udp6, LOOP_READ | (udp_pending(d->udp, 6) ? LOOP_WRITE : 0));
	loop_timer_arm(&d->timer, next_deadline(d));
}

static void on_timer(void *ctx, uint64_t now)
{
	struct daemon *d = ctx;

	node_timeout(&d->node, now);
	d->role->timeout(d, now);
	mtu_timeout(d, now);
	if (d->portal != PORTAL_SIGNED_OUT)
		phx_timeout(&d->phx, now);
}

static void on_udp4(void *ctx, unsigned events, uint64_t now)
{
	if (events & (LOOP_READ | LOOP_ERROR))
		data_udp_readable(ctx, 4, now);
}

static void on_udp6(void *ctx, unsigned events, uint64_t now)
{
	if (events & (LOOP_READ | LOOP_ERROR))
		data_udp_readable(ctx, 6, now);
}

static void on_tun(void *ctx, unsigned events, uint64_t now)
{
	struct daemon *d = ctx;

	if (events & LOOP_ERROR) {
		/* somebody deleted it: whoever supervises us makes everything anew */
		LOG_ERROR("device", "the tunnel device is gone", LOG_STR("name", d->opt.tun));
		daemon_stop(d, 1);
	} else if (events & LOOP_READ) {
		data_tun_readable(d, now);
	}
}

static void on_network(void *ctx, unsigned events, uint64_t now)
{
	struct daemon *d = ctx;
	unsigned what = nl_monitor_take(d->monitor);

	(void)events;
	if (!what)
		return;
	LOG_DEBUG("device", "network changed", LOG_U64("what", what));
	dev_follow_network(d);
	dns_host_refresh(d);
	/* A portal connection from an address that is gone would take minutes to notice. */
	if (link_refresh_hosts(d, now) && !d->stopping)
		portal_reconnect(d, now);
	path_refresh(d, now);
}

static void on_quit(void *ctx, int signum, uint64_t now)
{
	struct daemon *d = ctx;

	(void)now;
	LOG_INFO("daemon", "stopping", LOG_STR("signal", strsignal(signum)));
	daemon_stop(d, 0);
}

/* ---- signing in ---- */

static bool sign_in(struct daemon *d, uint64_t now)
{
	struct io_err err = {""};
	int rc = d->opt.has_token ? 0 : opt_load_token(&d->opt, d->token, &err);

	if (!rc) {
		LOG_INFO("daemon", "signed in", LOG_STR("portal", d->opt.api_url));
		portal_start(d, now);
		return true;
	}
	if (rc != -ENOENT && !d->token_refused) {
		LOG_ERROR("config", "token file refused", LOG_STR("error", err.msg));
		/* At the start that is final. Later the file may be half written: keep looking. */
		if (!d->started_ns)
			daemon_stop(d, 2);
	}
	d->token_refused = rc != -ENOENT;
	return false;
}

static void on_tick(void *ctx, uint64_t now)
{
	struct daemon *d = ctx;

	d->lag_ns = time_since(d->tick_due_ns, now);
	if (d->lag_ns > d->lag_max_ns)
		d->lag_max_ns = d->lag_ns;
	if (d->portal == PORTAL_SIGNED_OUT &&
	    time_since(d->portal_since_ns, now) >= TOKEN_POLL_NS) {
		d->portal_since_ns = now;
		sign_in(d, now);
	}
	tick(d, now);
}

static int new_node_key(struct daemon *d, bool first, uint64_t now)
{
	const struct node_cfg cfg = {.gateway = d->role->gateway, .wg_times = wg_times_default()};
	uint8_t priv[32], seed[32];
	int rc = entropy_get(priv, sizeof(priv));

	if (!rc)
		rc = entropy_get(seed, sizeof(seed));
	if (!rc && first)
		rc = node_init(&d->node, &cfg, &d->node_mem, priv, seed, loop_wall(), now);
	else if (!rc)
		node_rekey(&d->node, priv, loop_wall(), now);
	crypto_wipe(priv, sizeof(priv));
	crypto_wipe(seed, sizeof(seed));
	return rc;
}

/* SIGHUP on a client: as after a change of networks, everything anew (snownet: reset). */
static void reset(struct daemon *d, uint64_t now)
{
	struct io_err err = {""};

	LOG_INFO("daemon", "resetting connections");
	dns_host_refresh(d);
	tcl_reset(&d->tcl, now);
	dns_resolver_reset(d->stub_io, now);
	d->role->drain(d, now);
	for (uint32_t slot = 0; slot < d->max_peers; slot++)
		link_close(d, slot, now);
	udp_flush(d->udp); /* the goodbyes */
	cand_hold_clear(&d->held);
	loop_fd_fini(&d->fd_udp4);
	loop_fd_fini(&d->fd_udp6);
	workers_close(d);
	if (udp_rebind(d->udp, &err))
		LOG_WARN("device", "no UDP sockets", LOG_STR("error", err.msg));
	if (udp_fd(d->udp, 4) >= 0)
		loop_fd_init(&d->fd_udp4, &d->loop, udp_fd(d->udp, 4), LOOP_READ, on_udp4, d);
	if (udp_fd(d->udp, 6) >= 0)
		loop_fd_init(&d->fd_udp6, &d->loop, udp_fd(d->udp, 6), LOOP_READ, on_udp6, d);
	workers_open(d);
	if (d->bpf) {
		struct ps_config *c = bpf_load_tables(d->bpf)->config;

		PS_WRITE_ONCE(c->port4, ps_be16(udp_port(d->udp, 4)));
		PS_WRITE_ONCE(c->port6, ps_be16(udp_port(d->udp, 6)));
		bpf_channel_clear(d->bpf); /* they were with the old ports */
	}
	if (new_node_key(d, false, now)) {
		daemon_stop(d, 1);
		return;
	}
	node_restart_relays(&d->node, now); /* they know us by the old ports */
	link_refresh_hosts(d, now);
	portal_reconnect(d, now);
}

static void on_hup(void *ctx, int signum, uint64_t now)
{
	struct daemon *d = ctx;

	(void)signum;
	if (d->portal == PORTAL_SIGNED_OUT)
		sign_in(d, now);
	else if (d->role->gateway)
		portal_reconnect(d, now);
	else
		reset(d, now);
}

/* ---- life ---- */

static int open_loop(struct daemon *d)
{
	int rc = loop_hook_init(&d->hook, &d->loop, on_hook, d);

	if (!rc)
		rc = loop_timer_init(&d->timer, &d->loop, on_timer, d);
	if (!rc)
		rc = loop_wake_init(&d->workers_wake, &d->loop, workers_take, d);
	if (!rc)
		rc = loop_timer_init(&d->tick, &d->loop, on_tick, d);
	if (!rc && udp_fd(d->udp, 4) >= 0)
		rc = loop_fd_init(&d->fd_udp4, &d->loop, udp_fd(d->udp, 4), LOOP_READ, on_udp4, d);
	if (!rc && udp_fd(d->udp, 6) >= 0)
		rc = loop_fd_init(&d->fd_udp6, &d->loop, udp_fd(d->udp, 6), LOOP_READ, on_udp6, d);
	if (!rc)
		rc = loop_fd_init(&d->fd_tun, &d->loop, tun_fd(d->tun), LOOP_READ, on_tun, d);
	if (!rc)
		rc = loop_fd_init(&d->fd_monitor, &d->loop, nl_monitor_fd(d->monitor), LOOP_READ,
				  on_network, d);
	if (!rc)
		rc = loop_signal_init(&d->sig_int, &d->loop, SIGINT, on_quit, d);
	if (!rc)
		rc = loop_signal_init(&d->sig_term, &d->loop, SIGTERM, on_quit, d);
	if (!rc)
		rc = loop_signal_init(&d->sig_hup, &d->loop, SIGHUP, on_hup, d);
	return rc;
}

static int open_identity(struct daemon *d)
{
	struct io_err err = {""};
	char id[FILE_ID_LEN];
	int rc;

	if (d->opt.id[0]) {
		snprintf(d->id, sizeof(d->id), "%s", d->opt.id);
		return 0;
	}
	rc = file_identity(d->opt.id_file, id, &err);
	if (rc)
		LOG_ERROR("config", "no identity", LOG_STR("error", err.msg));
	else
		snprintf(d->id, sizeof(d->id), "%s", id);
	return rc;
}

static int open_ctl(struct daemon *d)
{
	struct io_err err = {""};
	char path[128];
	int rc;

	snprintf(path, sizeof(path), "%s.sock", d->state_prefix);
	rc = ctl_server_open(&d->ctl, &d->loop.uv, path, view_request, d, &err);
	if (rc)
		LOG_ERROR("daemon", "no control socket", LOG_STR("error", err.msg));
	return rc;
}

static int open_cores(struct daemon *d, uint64_t now)
{
	uint8_t seed[32];
	int rc = entropy_get(seed, sizeof(seed));

	if (!rc)
		rc = fwd_init(&d->fwd, &d->fwd_mem, seed);
	crypto_wipe(seed, sizeof(seed));
	if (!rc)
		rc = new_node_key(d, true, now);
	if (!rc)
		rc = mtu_open(d);
	if (!rc)
		rc = flow_init(d);
	if (!rc)
		rc = data_open(d);
	if (!rc)
		rc = d->role->init(d);
	if (!rc)
		rc = portal_init(d);
	return rc;
}

static int serve(struct daemon *d)
{
	uint64_t now = loop_now();
	int rc = open_ctl(d);

	if (!rc && !d->role->gateway)
		dns_host_recover();
	if (!rc)
		rc = dev_open(d);
	if (!rc)
		rc = open_cores(d, now);
	if (!rc)
		rc = open_loop(d);
	if (rc)
		return 1;
	workers_open(d);
	d->tick_due_ns = now + NS_PER_SEC;
	loop_timer_arm(&d->tick, d->tick_due_ns);
	link_refresh_hosts(d, now);
	if (!sign_in(d, now) && !d->stopping) {
		if (d->role->gateway) {
			LOG_ERROR("config",
				  "no token: set PENSTOCK_TOKEN or FIREZONE_TOKEN, or --token-path",
				  LOG_STR("token_path", d->opt.token_path));
			return 2;
		}
		LOG_WARN("daemon",
			 "signed out: no token; waiting for one (SIGHUP looks again at once)",
			 LOG_STR("token_path", d->opt.token_path));
	}
	if (d->stopping)
		return d->exit_code;
	d->started_ns = now;
	sd_notify(0, "READY=1");
	loop_run(&d->loop);
	sd_notify(0, "STOPPING=1");
	return d->exit_code;
}

/* Tell the peers, so that they need not find out by silence. */
static void farewell(struct daemon *d)
{
	uint64_t now = loop_now();

	if (!d->started_ns)
		return;
	for (uint32_t slot = 0; slot < d->max_peers; slot++)
		if (node_conn(&d->node, slot))
			data_goodbye(d, slot, now);
	udp_flush(d->udp);
}

static void teardown(struct daemon *d)
{
	dns_host_close(d); /* first: from here on nobody answers */
	workers_close(d);
	portal_name_close(d);
	farewell(d);
	if (d->bpf)
		PS_WRITE_ONCE(bpf_load_tables(d->bpf)->config->flags, 0);
	portal_fini(d);
	ctl_server_close(d->ctl);
	loop_fini(&d->loop);
	resolver_close(d->resolver);
	if (d->node.mem.conns)
		node_fini(&d->node);
	if (d->fwd.mem.session)
		fwd_fini(&d->fwd);
	d->role->fini(d);
	mtu_close(d);
	flow_fini(d);
	data_close(d);
	dev_close(d);
}

/* What a supervisor or a test wants to know before anything is changed. */
static int prepare(struct daemon *d)
{
	struct log_cfg lcfg = {.filter = d->opt.log_level[0] ? d->opt.log_level : NULL,
			       .format = d->opt.log_format};
	const char *bad = NULL;

	if (log_init(&lcfg, &bad)) {
		fprintf(stderr, "--log-level: '%s' is no log filter\n", bad ? bad : "");
		return 2;
	}
	opt_log_unknown_env();
	if (d->opt.n_ignored)
		LOG_WARN("config", "options of Firezone's were given that have no effect here",
			 LOG_U64("count", d->opt.n_ignored));
	if (d->opt.token_argv)
		LOG_WARN(
			"config",
			"a token on the command line is visible to every user; use the environment "
			"or a file");
	if (geteuid()) {
		LOG_ERROR("config", "must run as root (CAP_NET_ADMIN, CAP_BPF)");
		return 1;
	}
	d->max_peers = d->opt.max_peers;
	d->max_flows = d->opt.max_flows;
	d->max_channels = d->max_peers < DAEMON_CHANNELS_MAX / DAEMON_PEER_CHANNELS
				  ? d->max_peers * DAEMON_PEER_CHANNELS
				  : DAEMON_CHANNELS_MAX;
	snprintf(d->state_prefix, sizeof(d->state_prefix), "%s/%s", CTL_RUN_DIR, d->opt.instance);
	return open_identity(d) ? 2 : 0;
}

static int run(struct daemon *d)
{
	int rc = prepare(d);

	if (rc)
		return rc;
	if (d->opt.check) {
		printf("configuration is valid\n");
		return 0;
	}
	LOG_INFO("daemon", "starting", LOG_STR("program", d->role->log_name),
		 LOG_STR("version", PENSTOCK_VERSION), LOG_STR("instance", d->opt.instance),
		 LOG_STR("mode", opt_mode_name(d->opt.mode)));
	rc = loop_init(&d->loop);
	if (rc) {
		LOG_ERROR("daemon", "no event loop", LOG_ERRNO("error", rc));
		return 1;
	}
	rc = serve(d);
	teardown(d);
	LOG_INFO("daemon", "stopped", LOG_I64("status", rc));
	return rc;
}

/* Portal messages carry pre-shared keys: what the JSON library frees, it wipes. */
static void free_wiped(void *p)
{
	if (p)
		crypto_wipe(p, malloc_usable_size(p));
	free(p);
}

int daemon_main(const struct role *role, int argc, char **argv)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int rc;

	if (!d || crypto_init()) {
		fprintf(stderr, "%s: cannot start: crypto libraries or memory missing\n",
			role->log_name);
		free(d);
		return 1;
	}
	json_set_alloc_funcs(malloc, free_wiped);
	prctl(PR_SET_DUMPABLE, 0);
	d->role = role;
	switch (opt_parse(&d->opt, d->token, role->gateway, argc, argv)) {
	case OPT_RUN:
		rc = run(d);
		break;
	case OPT_EXIT_OK:
		rc = 0;
		break;
	case OPT_EXIT_USAGE:
	default:
		rc = 2;
		break;
	}
	crypto_wipe(d, sizeof(*d));
	free(d);
	return rc;
}
