/* SPDX-License-Identifier: Apache-2.0
 *
 * A relay's life: options, sockets, threads, loop; drained by the first SIGTERM, ended by the
 * second or when the last allocation is gone. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "apps/relay/app.h"
#include "crypto/crypto.h"
#include "io/entropy.h"

#define TICK_NS	     (500 * NS_PER_MS)
#define FILES_BEYOND 256 /* files besides the allocations' sockets */
#define HOST_NS	     (10 * NS_PER_SEC)

void app_stop(struct app *a, int exit_code)
{
	if (a->stopping)
		return;
	a->stopping = true;
	a->exit_code = exit_code;
	loop_stop(&a->loop);
}

/* ---- loop callbacks ---- */

static void on_hook(void *ctx, uint64_t now)
{
	struct app *a = ctx;
	struct deadline dl = relay_deadline(&a->relay);

	portal_drain(a, now);
	if (a->ws && a->portal != PORTAL_NONE)
		dl = deadline_min(dl, phx_deadline(&a->phx));
	loop_timer_arm(&a->timer, dl.at);
}

static void on_timer(void *ctx, uint64_t now)
{
	struct app *a = ctx;

	control_timeout(a, now);
	if (a->ws && a->portal != PORTAL_NONE)
		phx_timeout(&a->phx, now);
}

static void check_drained(struct app *a, uint64_t now)
{
	uint32_t left = relay_n_allocs(&a->relay);

	if (!left) {
		LOG_INFO("relay", "drained");
		app_stop(a, 0);
	} else if (time_reached(a->drain_until_ns, now)) {
		LOG_WARN("relay", "drain timeout", LOG_U64("allocations", left));
		app_stop(a, 0);
	}
}

static void on_tick(void *ctx, uint64_t now)
{
	struct app *a = ctx;

	if (a->bpf)
		bpf_relay_alive(a->bpf, now);
	if (a->draining)
		check_drained(a, now);
	if (time_reached(a->host_at_ns, now)) {
		a->host_at_ns = time_add(now, HOST_NS);
		socks_host_refresh(a);
	}
	loop_timer_arm(&a->tick, now + TICK_NS);
}

/* The portal hears first, so that it names us to nobody; who is here stays served. */
static void drain(struct app *a, uint64_t now)
{
	LOG_INFO("relay", "draining", LOG_U64("allocations", relay_n_allocs(&a->relay)),
		 LOG_NS("timeout", a->opt.drain_ns));
	sd_notify(0, "STOPPING=1");
	a->draining = true;
	a->drain_until_ns = time_add(now, a->opt.drain_ns);
	portal_leave(a);
	pthread_rwlock_wrlock(&a->lock);
	relay_drain(&a->relay, true);
	pthread_rwlock_unlock(&a->lock);
	check_drained(a, now);
}

static void on_quit(void *ctx, int signum, uint64_t now)
{
	struct app *a = ctx;

	if (signum == SIGTERM && !a->draining) {
		drain(a, now);
		return;
	}
	LOG_INFO("relay", "stopping", LOG_STR("signal", strsignal(signum)),
		 LOG_U64("allocations", relay_n_allocs(&a->relay)));
	app_stop(a, 0);
}

static void on_hup(void *ctx, int signum, uint64_t now)
{
	struct app *a = ctx;

	(void)signum;
	if (a->ws && a->portal != PORTAL_NONE)
		phx_reconnect(&a->phx, now);
}

/* ---- set-up ---- */

static int make_stamp(struct app *a)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t raw[32];
	int rc = entropy_get(raw, sizeof(raw));

	for (size_t i = 0; i < sizeof(raw); i++) {
		a->stamp[2 * i] = digits[raw[i] >> 4];
		a->stamp[2 * i + 1] = digits[raw[i] & 15];
	}
	a->stamp[2 * sizeof(raw)] = 0;
	crypto_wipe(raw, sizeof(raw));
	return rc;
}

static int make_machine(struct app *a, struct relay_auth *auth, uint64_t now)
{
	struct relay_cfg cfg = {
		.public4 = a->opt.public4,
		.public6 = a->opt.public6,
		.listen_port = (uint16_t)a->opt.listen_port,
		.port_lo = (uint16_t)a->opt.port_lo,
		.port_hi = (uint16_t)a->opt.port_hi,
		.user_quota = a->opt.max_per_user,
		.source_quota = a->opt.max_per_source,
		.binds_per_alloc = a->opt.max_channels_each,
		/* as many as it may have channels, whose numbers are bounded by themselves */
		.perms_per_alloc = a->opt.max_channels_each
					   ? a->opt.max_channels_each
					   : TURN_CHAN_ALLOC_MAX - TURN_CHAN_MIN + 1,
		.size = {.n_allocs = a->opt.max_allocs,
			 .n_binds = a->opt.max_channels,
			 .n_perms = a->opt.max_channels},
		.acl = a->opt.acl,
	};
	uint8_t seed[32];
	int rc = entropy_get(seed, sizeof(seed));

	snprintf(cfg.software, sizeof(cfg.software), "penstock-relay %s", PENSTOCK_VERSION);
	a->relay_mem_len = relay_mem_size(&cfg.size);
	a->relay_mem = malloc(a->relay_mem_len);
	if (!a->relay_mem)
		rc = -ENOMEM;
	if (!rc)
		rc = relay_init(&a->relay, &cfg, auth, a->relay_mem, a->relay_mem_len, seed, now);
	crypto_wipe(seed, sizeof(seed));
	if (rc) {
		LOG_ERROR("relay", "cannot set up the relay", LOG_ERRNO("error", rc));
		return rc;
	}
	a->n_alloc_cap = relay_alloc_cap(&a->relay);
	a->n_bind_cap = a->opt.max_channels;
	a->allocs = calloc(a->n_alloc_cap, sizeof(*a->allocs));
	a->tx = gso_tx_new();
	for (uint32_t i = 0; a->allocs && i < a->n_alloc_cap; i++)
		a->allocs[i].sock[FAM4].fd = a->allocs[i].sock[FAM6].fd = -1;
	return a->allocs && a->tx ? 0 : -ENOMEM;
}

static int open_machine(struct app *a, uint64_t now)
{
	struct relay_auth *auth = calloc(1, sizeof(*auth));
	struct io_err err = {""};
	int rc = auth ? relay_opt_credentials(&a->opt, auth, &err) : -ENOMEM;

	if (rc)
		LOG_ERROR("config", "credentials", LOG_STR("error", err.msg));
	if (!rc)
		rc = make_stamp(a);
	if (!rc && a->opt.api_url[0])
		rc = relay_auth_set_stamp(auth, a->stamp);
	if (!rc)
		rc = make_machine(a, auth, now);
	if (auth)
		crypto_wipe(auth, sizeof(*auth));
	free(auth);
	return rc;
}

static int open_workers(struct app *a)
{
	struct io_err err = {""};
	pthread_rwlockattr_t attr;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int rc = 0;

	pthread_rwlockattr_init(&attr);
	/* or the control thread would wait for ever behind busy workers */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&a->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	a->n_workers = a->opt.workers ? a->opt.workers : cpus > 0 ? (uint32_t)cpus : 1;
	if (a->n_workers > OPT_WORKERS_MAX)
		a->n_workers = OPT_WORKERS_MAX;
	a->workers = aligned_alloc(64, a->n_workers * sizeof(*a->workers));
	if (!a->workers) {
		a->n_workers = 0;
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < a->n_workers; i++) {
		a->workers[i] = (struct worker){.epoll = -1, .stop_fd = -1};
		a->workers[i].listen[FAM4].fd = a->workers[i].listen[FAM6].fd = -1;
	}
	for (uint32_t i = 0; i < a->n_workers && !rc; i++)
		rc = worker_init(&a->workers[i], a, i, &err);
	a->out[FAM4] = a->workers[0].listen[FAM4];
	a->out[FAM6] = a->workers[0].listen[FAM6];
	if (rc)
		LOG_ERROR("relay", "cannot open sockets", LOG_STR("error", err.msg));
	return rc;
}

static int open_loop(struct app *a)
{
	int rc = loop_hook_init(&a->hook, &a->loop, on_hook, a);

	if (!rc)
		rc = loop_timer_init(&a->timer, &a->loop, on_timer, a);
	if (!rc)
		rc = loop_timer_init(&a->tick, &a->loop, on_tick, a);
	if (!rc)
		rc = loop_wake_init(&a->wake, &a->loop, control_wake, a);
	if (!rc)
		rc = loop_signal_init(&a->sig_int, &a->loop, SIGINT, on_quit, a);
	if (!rc)
		rc = loop_signal_init(&a->sig_term, &a->loop, SIGTERM, on_quit, a);
	if (!rc)
		rc = loop_signal_init(&a->sig_hup, &a->loop, SIGHUP, on_hup, a);
	socks_host_refresh(a);
	for (uint32_t i = 0; i < a->n_workers && !rc; i++)
		rc = worker_start(&a->workers[i]);
	return rc;
}

static int open_ctl(struct app *a)
{
	struct io_err err = {""};
	char path[128];
	int rc;

	snprintf(path, sizeof(path), "%s/%s.sock", CTL_RUN_DIR, a->opt.instance);
	rc = ctl_server_open(&a->ctl, &a->loop.uv, path, view_request, a, &err);
	/* The socket is root's, and so is an XDP program; relaying is not. */
	if (rc && rc != -EADDRINUSE && geteuid()) {
		LOG_WARN("relay", "no control socket", LOG_STR("error", err.msg));
		return 0;
	}
	if (rc)
		LOG_ERROR("relay", "no control socket", LOG_STR("error", err.msg));
	return rc;
}

static int read_token(struct app *a)
{
	struct io_err err = {""};
	int rc;

	if (!a->opt.api_url[0])
		return 0;
	rc = relay_opt_token(&a->opt, a->token, &err);
	if (rc)
		LOG_ERROR("config",
			  "no token: set PENSTOCK_TOKEN or FIREZONE_TOKEN, or --token-path",
			  LOG_STR("token_path", a->opt.token_path), LOG_STR("error", err.msg));
	return rc;
}

/* ---- life ---- */

static int serve(struct app *a)
{
	uint64_t now = loop_now();

	if (open_ctl(a) || socks_prepare(a))
		return 1;
	if (open_machine(a, now))
		return 2;
	socks_raise_limit(2 * a->n_alloc_cap + FILES_BEYOND);
	if (open_workers(a) || xdp_open(a) || portal_init(a, now) || health_open(a) || open_loop(a))
		return 1;
	a->started_ns = now;
	a->running = true;
	on_tick(a, now);
	portal_start(a, now);
	LOG_INFO("relay", "serving", LOG_IP("public4", &a->opt.public4),
		 LOG_IP("public6", &a->opt.public6), LOG_IP("bind4", &a->bind4),
		 LOG_IP("bind6", &a->bind6), LOG_U64("port", a->opt.listen_port),
		 LOG_U64("workers", a->n_workers), LOG_U64("allocations", a->n_alloc_cap));
	sd_notify(0, "READY=1");
	if (!a->stopping)
		loop_run(&a->loop);
	sd_notify(0, "STOPPING=1");
	return a->exit_code;
}

static void teardown(struct app *a)
{
	a->running = false;
	xdp_close(a);
	for (uint32_t i = 0; i < a->n_workers; i++)
		worker_stop(&a->workers[i]);
	portal_fini(a);
	health_close(a);
	ctl_server_close(a->ctl);
	loop_fini(&a->loop);
	hop_close(a->hop);
	for (uint32_t i = 0; a->allocs && i < a->n_alloc_cap; i++) {
		gso_sock_close(&a->allocs[i].sock[FAM4]);
		gso_sock_close(&a->allocs[i].sock[FAM6]);
	}
	for (uint32_t i = 0; i < a->n_workers; i++)
		worker_fini(&a->workers[i]);
	if (a->relay_mem)
		relay_fini(&a->relay);
	free(a->relay_mem);
	free(a->workers);
	free(a->allocs);
	gso_tx_free(a->tx);
}

static int prepare(struct app *a)
{
	struct log_cfg cfg = {.filter = a->opt.log_level[0] ? a->opt.log_level : NULL,
			      .format = a->opt.log_format};
	const char *bad = NULL;

	if (log_init(&cfg, &bad) && a->opt.log_level[0]) {
		fprintf(stderr, "--log-level: '%s' is no log filter\n", bad ? bad : "");
		return 2;
	}
	relay_opt_log_unknown_env();
	if (a->opt.n_ignored)
		LOG_WARN("config", "options of Firezone's were given that have no effect here",
			 LOG_U64("count", a->opt.n_ignored));
	if (a->opt.token_argv)
		LOG_WARN("config", "a token on the command line is visible to every user; use the "
				   "environment or a file");
	return read_token(a) ? 2 : 0;
}

static int run(struct app *a)
{
	int rc = prepare(a);

	if (rc)
		return rc;
	if (a->opt.check) {
		printf("configuration is valid\n");
		return 0;
	}
	LOG_INFO("relay", "starting", LOG_STR("program", "penstock-relay"),
		 LOG_STR("version", PENSTOCK_VERSION), LOG_STR("instance", a->opt.instance));
	rc = loop_init(&a->loop);
	if (rc) {
		LOG_ERROR("relay", "no event loop", LOG_ERRNO("error", rc));
		return 1;
	}
	rc = serve(a);
	teardown(a);
	LOG_INFO("relay", "stopped", LOG_I64("status", rc));
	return rc;
}

/* The join message carries the stamp secret: what the JSON library frees, it wipes. */
static void free_wiped(void *p)
{
	if (p)
		crypto_wipe(p, malloc_usable_size(p));
	free(p);
}

int app_main(int argc, char **argv)
{
	struct app *a = calloc(1, sizeof(*a));
	int rc = 2;

	if (!a || crypto_init()) {
		fprintf(stderr, "penstock-relay: crypto libraries or memory missing\n");
		free(a);
		return 1;
	}
	json_set_alloc_funcs(malloc, free_wiped);
	prctl(PR_SET_DUMPABLE, 0);
	switch (relay_opt_parse(&a->opt, a->token, argc, argv)) {
	case OPT_RUN:
		rc = run(a);
		break;
	case OPT_EXIT_OK:
		rc = 0;
		break;
	case OPT_EXIT_USAGE:
		break;
	}
	crypto_wipe(a, sizeof(*a));
	free(a);
	return rc;
}
