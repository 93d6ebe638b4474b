/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/app.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include <uv.h>

#include "apps/portal/reload.h"
#include "apps/portal/server.h"
#include "apps/portal/server_priv.h"
#include "apps/portal/store.h"
#include "base/log.h"
#include "io/entropy.h"

#define TICK_MS	      250
#define SAVE_RETRY_MS 5000
#define STOP_MS	      4000 /* longer than the server's grace for closing */

struct app {
	uv_loop_t loop;
	const char *config_path;
	char *state_path; /* fixed for the life of the process */
	struct portal portal;
	struct server *server;
	struct reload reload;
	uv_signal_t hup, term, intr;
	uv_timer_t tick, save, stop;
	uv_work_t write;
	char *write_text;
	int write_rc;
	uint64_t text_ns; /* that the last text took */
	bool writing, stopping;
};

static void entropy(void *buf, size_t len)
{
	int rc = entropy_get(buf, len);

	if (rc) {
		LOG_ERROR("portal", "no randomness from the kernel", LOG_ERRNO("error", rc));
		abort();
	}
}

/* ---- configuration -----------------------------------------------------------------------------
 */

static void log_config_error(const char *path, const struct config_error *err, const char *msg)
{
	char where[4300];

	snprintf(where, sizeof(where), err->line ? "%s:%u" : "%s", path, err->line);
	LOG_ERROR("portal", msg, LOG_STR("where", where), LOG_U64("line", err->line),
		  LOG_STR("field", err->field), LOG_STR("error", err->msg));
}

static void warn_orphans(const struct config *cfg)
{
	for (size_t i = 0; i < cfg->n_policies; i++) {
		const struct config_policy *p = &cfg->policies[i];

		if (p->orphan)
			LOG_WARN("portal", "a policy names nobody in \"clients\"",
				 LOG_STR(p->actor ? "actor" : "group",
					 p->actor ? p->actor : p->group),
				 LOG_STR("resource", cfg->resources[p->resource].name));
	}
}

static bool same_listeners(const struct config *a, const struct config *b)
{
	if (a->n_listen != b->n_listen)
		return false;
	for (size_t i = 0; i < a->n_listen; i++) {
		const struct config_listen *x = &a->listen[i], *y = &b->listen[i];

		if (!endpoint_eq(&x->addr, &y->addr) ||
		    strcmp(x->cert_file ? x->cert_file : "", y->cert_file ? y->cert_file : "") ||
		    strcmp(x->key_file ? x->key_file : "", y->key_file ? y->key_file : ""))
			return false;
	}
	return true;
}

static void pump(struct app *a);

static void reload_config(void *ctx)
{
	struct app *a = ctx;
	struct config_error err;
	struct config *cfg;

	if (a->stopping)
		return;
	reload_mark(&a->reload);
	cfg = config_load(a->config_path, &err);
	if (!cfg) {
		log_config_error(a->config_path, &err, "configuration refused, the old one stays");
		return;
	}
	if (!same_listeners(a->portal.cfg, cfg) || strcmp(cfg->state_file, a->state_path))
		LOG_WARN("portal", "\"listen\" and \"state_file\" only change with a restart");
	warn_orphans(cfg);
	LOG_INFO("portal", "configuration reloaded", LOG_U64("clients_and_gateways", cfg->n_tokens),
		 LOG_U64("resources", cfg->n_resources), LOG_U64("policies", cfg->n_policies));
	portal_reload(&a->portal, cfg, server_wall());
	pump(a);
}

/* ---- state file --------------------------------------------------------------------------------
 */

static void write_work(uv_work_t *w)
{
	struct app *a = w->data;

	a->write_rc = store_write(a->state_path, a->write_text);
}

static void on_save(uv_timer_t *t);

static void write_done(uv_work_t *w, int status)
{
	struct app *a = w->data;

	(void)status;
	a->writing = false;
	store_text_free(a->write_text);
	a->write_text = NULL;
	if (a->write_rc) {
		LOG_ERROR("portal", "cannot write the state file", LOG_STR("path", a->state_path),
			  LOG_ERRNO("error", a->write_rc));
		a->portal.dirty = true;
	}
	if (a->portal.dirty && !a->stopping)
		uv_timer_start(&a->save, on_save,
			       a->write_rc ? SAVE_RETRY_MS : store_pause_ms(a->text_ns), 0);
}

static void on_save(uv_timer_t *t)
{
	struct app *a = t->data;
	uint64_t began = uv_hrtime();

	if (a->writing || !a->portal.dirty)
		return;
	a->write_text = store_text(&a->portal);
	a->text_ns = uv_hrtime() - began;
	if (!a->write_text)
		return;
	a->portal.dirty = false;
	a->writing = true;
	a->write.data = a;
	if (uv_queue_work(&a->loop, &a->write, write_work, write_done)) {
		a->writing = false;
		a->portal.dirty = true;
		store_text_free(a->write_text);
		a->write_text = NULL;
	}
}

static void save_soon(struct app *a)
{
	if (a->portal.dirty && !a->writing && !uv_is_active((uv_handle_t *)&a->save))
		uv_timer_start(&a->save, on_save, store_pause_ms(a->text_ns), 0);
}

static void save_now(struct app *a)
{
	char *text = store_text(&a->portal);
	int rc = text ? store_write(a->state_path, text) : -ENOMEM;

	if (rc)
		LOG_ERROR("portal", "cannot write the state file", LOG_STR("path", a->state_path),
			  LOG_ERRNO("error", rc));
	store_text_free(text);
}

/* ---- loop --------------------------------------------------------------------------------------
 */

static void pump(struct app *a)
{
	server_pump(a->server);
	save_soon(a);
}

static void close_handles(struct app *a)
{
	uv_handle_t *handles[] = {(uv_handle_t *)&a->hup,  (uv_handle_t *)&a->term,
				  (uv_handle_t *)&a->intr, (uv_handle_t *)&a->tick,
				  (uv_handle_t *)&a->save, (uv_handle_t *)&a->stop};

	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
		if (!uv_is_closing(handles[i]))
			uv_close(handles[i], NULL);
	reload_stop(&a->reload);
}

static void on_tick(uv_timer_t *t)
{
	struct app *a = t->data;

	if (!a->stopping)
		portal_tick(&a->portal, server_now(), server_wall());
	pump(a);
	if (server_idle(a->server))
		uv_stop(&a->loop);
}

static void on_stop_timeout(uv_timer_t *t)
{
	uv_stop(t->loop);
}

static void on_signal(uv_signal_t *s, int signum)
{
	struct app *a = s->data;

	if (signum == SIGHUP) {
		LOG_INFO("portal", "SIGHUP");
		reload_config(a);
		server_reload_certs(a->server);
		return;
	}
	if (a->stopping) {
		uv_stop(&a->loop);
		return;
	}
	LOG_INFO("portal", "stopping", LOG_U64("signal", (uint64_t)signum));
	sd_notify(0, "STOPPING=1");
	a->stopping = true;
	server_stop(a->server);
	uv_timer_start(&a->tick, on_tick, 0, 20);
	uv_timer_start(&a->stop, on_stop_timeout, STOP_MS, 0);
}

static void start_handles(struct app *a)
{
	struct {
		uv_signal_t *h;
		int signum;
	} signals[] = {{&a->hup, SIGHUP}, {&a->term, SIGTERM}, {&a->intr, SIGINT}};
	uv_timer_t *timers[] = {&a->tick, &a->save, &a->stop};
	int rc;

	for (size_t i = 0; i < 3; i++) {
		uv_signal_init(&a->loop, signals[i].h);
		signals[i].h->data = a;
		uv_signal_start(signals[i].h, on_signal, signals[i].signum);
		uv_timer_init(&a->loop, timers[i]);
		timers[i]->data = a;
	}
	uv_timer_start(&a->tick, on_tick, TICK_MS, TICK_MS);
	rc = reload_start(&a->reload, &a->loop, a->config_path, reload_config, a);
	if (rc)
		LOG_WARN("portal", "cannot watch the configuration file; send SIGHUP after changes",
			 LOG_STR("error", uv_strerror(rc)));
}

static int load(struct app *a)
{
	struct config_error err;
	struct store_error serr;
	struct config *cfg = config_load(a->config_path, &err);
	int rc;

	if (!cfg) {
		log_config_error(a->config_path, &err, "configuration refused");
		return PORTAL_EXIT_USAGE;
	}
	warn_orphans(cfg);
	a->state_path = strdup(cfg->state_file);
	if (!a->state_path || portal_init(&a->portal, cfg, entropy, server_wall())) {
		LOG_ERROR("portal", "out of memory");
		return PORTAL_EXIT_FAILED;
	}
	rc = store_lock(a->state_path);
	if (rc) {
		LOG_ERROR("portal",
			  rc == -EWOULDBLOCK ? "another portal uses this state file"
					     : "cannot lock the state file",
			  LOG_STR("path", a->state_path), LOG_ERRNO("error", rc));
		return PORTAL_EXIT_FAILED;
	}
	if (store_load(a->state_path, &a->portal, &serr)) {
		LOG_ERROR("portal", "cannot use the state file", LOG_STR("path", a->state_path),
			  LOG_STR("error", serr.msg));
		return PORTAL_EXIT_FAILED;
	}
	portal_reconcile(&a->portal, server_wall());
	LOG_INFO("portal", "state loaded", LOG_STR("path", a->state_path),
		 LOG_U64("devices", a->portal.reg.n), LOG_U64("flows", a->portal.flows.n));
	return PORTAL_EXIT_OK;
}

/* The websocket library sizes its tables by the descriptor limit; a million is of no use here. */
static void limit_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max < 66000 ? r.rlim_max : 66000;
	setrlimit(RLIMIT_NOFILE, &r);
}

static void run(struct app *a)
{
	start_handles(a);
	save_now(a); /* a state file that cannot be written should show now */
	a->portal.dirty = false;
	sd_notify(0, "READY=1");
	uv_run(&a->loop, UV_RUN_DEFAULT);
	while (a->writing)
		uv_run(&a->loop, UV_RUN_ONCE);
	save_now(a);
	close_handles(a);
	server_free(a->server);
	LOG_INFO("portal", "stopped");
}

int app_run(const char *config_path)
{
	struct app *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return PORTAL_EXIT_FAILED;
	a->config_path = config_path;
	signal(SIGPIPE, SIG_IGN);
	limit_descriptors();
	rc = load(a);
	if (!rc && uv_loop_init(&a->loop) == 0) {
		a->server = server_start(&a->loop, &a->portal);
		if (a->server)
			run(a);
		else
			rc = PORTAL_EXIT_FAILED;
		uv_run(&a->loop, UV_RUN_NOWAIT);
		uv_loop_close(&a->loop);
	}
	portal_fini(&a->portal);
	free(a->state_path);
	free(a);
	return rc;
}

int app_check(const char *config_path)
{
	struct config_error err;
	struct config *cfg = config_load(config_path, &err);

	if (!cfg) {
		if (err.line)
			fprintf(stderr, "%s:%u: %s%s%s\n", config_path, err.line, err.field,
				*err.field ? " " : "", err.msg);
		else
			fprintf(stderr, "%s: %s\n", config_path, err.msg);
		return PORTAL_EXIT_USAGE;
	}
	warn_orphans(cfg);
	printf("%s: valid: %zu sites, %zu tokens, %zu resources, %zu policies\n", config_path,
	       cfg->n_sites, cfg->n_tokens, cfg->n_resources, cfg->n_policies);
	config_free(cfg);
	return PORTAL_EXIT_OK;
}

int app_token(void)
{
	uint8_t raw[32], hash[TOKEN_HASH_LEN];
	char text[TOKEN_TEXT_CAP], hex[TOKEN_HASH_STRLEN];
	int rc;

	entropy(raw, sizeof(raw));
	token_from_entropy(raw, text);
	token_hash(text, strlen(text), hash);
	token_hash_fmt(hash, hex);
	printf("token        %s\ntoken_sha256 %s\n", text, hex);
	rc = fflush(stdout) || ferror(stdout) ? PORTAL_EXIT_FAILED : PORTAL_EXIT_OK;
	OPENSSL_cleanse(raw, sizeof(raw));
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}
