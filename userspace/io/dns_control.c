/* SPDX-License-Identifier: Apache-2.0
 *
 * Methods joined: one state, one view of the system's resolvers, one callback. */
#include "io/dns_control.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/dns_internal.h"

#define RESOLV_CONF   "/etc/resolv.conf"
#define RESOLVED_CONF "/run/systemd/resolve/resolv.conf"

struct dns_control {
	struct dns_control_cfg cfg;
	struct dns_file file;
	struct dns_watch watch;
	struct dns_resolved *resolved;
	char resolved_conf[PATH_MAX];
	enum dns_state state;
	struct io_err problem;
	struct dns_settings want;
	bool wanted;
	bool told; /* systemd-resolved itself has said whom it asks */
	struct resolv_conf sys;
};

static const char *const method_names[] = {"systemd-resolved", "etc-resolv-conf", "disabled"};

const char *dns_method_name(enum dns_method m)
{
	return method_names[m];
}

int dns_method_parse(const char *text, enum dns_method *m)
{
	for (int i = 0; i < 3; i++)
		if (strcmp(text, method_names[i]) == 0) {
			*m = (enum dns_method)i;
			return 0;
		}
	return -EINVAL;
}

const char *dns_state_name(enum dns_state s)
{
	static const char *const names[] = {"idle", "pending", "active", "failed", "taken"};

	return names[s];
}

/* True when it is a change. */
static bool set_state(struct dns_control *c, enum dns_state s, const char *problem)
{
	if (c->state == s && strcmp(c->problem.msg, problem) == 0)
		return false;
	c->state = s;
	snprintf(c->problem.msg, sizeof(c->problem.msg), "%s", problem);
	return true;
}

static void tell(struct dns_control *c, unsigned int what, uint64_t now)
{
	if (what && c->cfg.changed)
		c->cfg.changed(c->cfg.ctx, what, now);
}

static bool take_system(struct dns_control *c, const struct resolv_conf *sys)
{
	bool changed = !resolv_conf_eq(&c->sys, sys);

	c->sys = *sys;
	return changed;
}

/* systemd-resolved's own list where there is one: what programs see is only its stub. */
static bool read_files(struct dns_control *c)
{
	struct dns_file up = {.lock_fd = -1};
	struct resolv_conf sys;

	if (c->cfg.method == DNS_METHOD_RESOLVED &&
	    dns_file_init(&up, c->resolved_conf, NULL) == 0 && dns_file_system(&up, &sys) == 0)
		return take_system(c, &sys);
	dns_file_system(&c->file, &sys);
	return take_system(c, &sys);
}

static void on_file(void *ctx, uint64_t now)
{
	struct dns_control *c = ctx;
	unsigned int what = 0;

	if (c->resolved) {
		dns_resolved_refresh(c->resolved);
		if (!c->told && read_files(c))
			what |= DNS_CHANGED_SYSTEM;
		tell(c, what, now);
		return;
	}
	if (c->state == DNS_STATE_ACTIVE && c->cfg.method == DNS_METHOD_ETC &&
	    dns_file_kind(&c->file) == RESOLV_THEIRS) {
		struct io_err why;

		io_fail(&why, 0, "etc-resolv-conf: another program rewrote %.100s; it stays so",
			c->file.path);
		set_state(c, DNS_STATE_TAKEN, why.msg);
		what |= DNS_CHANGED_STATE;
	}
	if (read_files(c))
		what |= DNS_CHANGED_SYSTEM;
	tell(c, what, now);
}

static void on_resolved_state(void *ctx, enum dns_state s, const char *problem, uint64_t now)
{
	struct dns_control *c = ctx;

	if (set_state(c, s, problem))
		tell(c, DNS_CHANGED_STATE, now);
}

static void on_resolved_system(void *ctx, const struct resolv_conf *sys, uint64_t now)
{
	struct dns_control *c = ctx;

	c->told = true;
	if (take_system(c, sys))
		tell(c, DNS_CHANGED_SYSTEM, now);
}

int dns_control_recover(const char *resolv_conf, struct io_err *err)
{
	struct dns_file f;
	int rc = dns_file_init(&f, resolv_conf ? resolv_conf : RESOLV_CONF, err);

	return rc < 0 ? rc : dns_file_restore(&f, err);
}

static int open_parts(struct dns_control *c, struct loop *l, struct io_err *err)
{
	struct dns_resolved_cfg rcfg = {.bus = c->cfg.bus,
					.ifindex = c->cfg.ifindex,
					.on_state = on_resolved_state,
					.on_system = on_resolved_system,
					.ctx = c};
	bool resolved = c->cfg.method == DNS_METHOD_RESOLVED;
	struct io_err why = {""};
	int rc = dns_file_restore(&c->file, &why);

	if (rc < 0)
		set_state(c, DNS_STATE_FAILED, why.msg);
	read_files(c);
	rc = dns_watch_init(&c->watch, l, resolved ? c->resolved_conf : c->file.path, on_file, c);
	if (rc == 0 && resolved)
		rc = dns_resolved_open(&c->resolved, l, &rcfg);
	return rc < 0 ? io_fail(err, rc, "%s: %s", dns_method_name(c->cfg.method), strerror(-rc))
		      : 0;
}

int dns_control_open(struct dns_control **out, struct loop *l, const struct dns_control_cfg *cfg,
		     struct io_err *err)
{
	struct dns_control *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return io_fail(err, -ENOMEM, "%s: no memory", dns_method_name(cfg->method));
	c->cfg = *cfg;
	snprintf(c->resolved_conf, sizeof(c->resolved_conf), "%s",
		 cfg->resolved_conf ? cfg->resolved_conf : RESOLVED_CONF);
	rc = dns_file_init(&c->file, cfg->resolv_conf ? cfg->resolv_conf : RESOLV_CONF, err);
	if (rc == 0)
		rc = open_parts(c, l, err);
	if (rc < 0) {
		dns_control_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

static int check(const struct dns_settings *s, enum dns_method m, struct io_err *err)
{
	if (s->n_servers == 0 || s->n_servers > RESOLV_SERVERS_MAX)
		return io_fail(err, -EINVAL, "%s: %u servers, wanted 1 to %d", dns_method_name(m),
			       s->n_servers, RESOLV_SERVERS_MAX);
	for (uint32_t i = 0; i < s->n_servers; i++)
		if (ipaddr_size(&s->server[i]) == 0)
			return io_fail(err, -EINVAL, "%s: a server has no address",
				       dns_method_name(m));
	if (memchr(s->search, '\0', sizeof(s->search)) == NULL ||
	    (s->search[0] && !resolv_name_ok(s->search)))
		return io_fail(err, -EINVAL, "%s: the search domain is no domain name",
			       dns_method_name(m));
	return 0;
}

static bool same_settings(const struct dns_settings *a, const struct dns_settings *b)
{
	if (a->n_servers != b->n_servers || strcmp(a->search, b->search) != 0)
		return false;
	for (uint32_t i = 0; i < a->n_servers; i++)
		if (!ipaddr_eq(&a->server[i], &b->server[i]))
			return false;
	return true;
}

static int set_file(struct dns_control *c, struct io_err *err)
{
	struct io_err why = {""};
	int rc = c->wanted ? dns_file_apply(&c->file, &c->want, &why)
			   : dns_file_restore(&c->file, &why);

	if (rc < 0)
		set_state(c, DNS_STATE_FAILED, why.msg);
	else
		set_state(c, c->wanted ? DNS_STATE_ACTIVE : DNS_STATE_IDLE, "");
	return rc < 0 ? io_fail(err, rc, "%s", why.msg) : 0;
}

int dns_control_set(struct dns_control *c, const struct dns_settings *s, struct io_err *err)
{
	bool bad = c->state == DNS_STATE_FAILED || c->state == DNS_STATE_TAKEN;
	int rc = s ? check(s, c->cfg.method, err) : 0;

	if (rc < 0)
		return rc;
	if (c->wanted == (s != NULL) && !bad && (!s || same_settings(s, &c->want)))
		return 0;
	c->wanted = s != NULL;
	if (s)
		c->want = *s;
	switch (c->cfg.method) {
	case DNS_METHOD_RESOLVED:
		if (c->state != DNS_STATE_FAILED)
			set_state(c, DNS_STATE_PENDING, "");
		dns_resolved_set(c->resolved, s);
		return 0;
	case DNS_METHOD_ETC:
		return set_file(c, err);
	case DNS_METHOD_DISABLED:
		break;
	}
	return 0;
}

void dns_control_flush(struct dns_control *c)
{
	if (c->resolved)
		dns_resolved_flush(c->resolved);
}

void dns_control_refresh(struct dns_control *c)
{
	on_file(c, loop_now());
}

void dns_control_close(struct dns_control *c)
{
	if (!c)
		return;
	c->cfg.changed = NULL;
	dns_resolved_close(c->resolved);
	dns_watch_fini(&c->watch);
	if (c->cfg.method == DNS_METHOD_ETC && c->file.lock_fd >= 0)
		dns_file_restore(&c->file, NULL);
	free(c);
}

enum dns_method dns_control_method(const struct dns_control *c)
{
	return c->cfg.method;
}

enum dns_state dns_control_state(const struct dns_control *c)
{
	return c->state;
}

const char *dns_control_problem(const struct dns_control *c)
{
	return c->problem.msg;
}

const struct resolv_conf *dns_control_system(const struct dns_control *c)
{
	return &c->sys;
}
