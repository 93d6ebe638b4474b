/* SPDX-License-Identifier: Apache-2.0
 *
 * systemd-resolved over its D-Bus interface (org.freedesktop.resolve1). Everything is asynchronous:
 *
 *     away ── connect ──▶ joining ── Hello ──▶ read ── owner's network namespace ──▶ apply steps
 *
 * One call is out at a time. Whatever fails goes back to the start after a pause that doubles from
 * one second to thirty; so does a new owner of the name, for it has forgotten the link. The link's
 * settings die with the link, so a killed run leaves nothing. */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include "io/dns_internal.h"

#define NAME	     "org.freedesktop.resolve1"
#define PATH	     "/org/freedesktop/resolve1"
#define MANAGER	     NAME ".Manager"
#define CALL_US	     (3 * US_PER_SEC)
#define JOIN_NS	     (3 * NS_PER_SEC)
#define PAUSE_NS     (1 * NS_PER_SEC)
#define PAUSE_MAX_NS (30 * NS_PER_SEC)
#define CLOSE_NS     (500 * NS_PER_MS)
#define US_PER_SEC   1000000u
#define TURN_MAX     64 /* messages handled before the loop sees to others */

struct dns_resolved {
	struct dns_resolved_cfg cfg;
	char bus_address[256];
	struct loop *loop;
	struct loop_fd io;
	struct loop_timer timer;
	sd_bus *bus;
	sd_bus_slot *call; /* the one that is out */
	uint64_t join_by;  /* TIME_NEVER once joined */
	uint64_t retry_at, pause;
	struct dns_settings want;
	bool wanted, applied, trusted;
	bool stale_read, stale_set, stale_flush; /* to be done when no call is out */
	unsigned int step;
	bool broken; /* give the bus up once we are out of its callbacks */
	struct io_err why;
};

static void turn(struct dns_resolved *r, uint64_t now);
static void next(struct dns_resolved *r);

/* ---- failure ---- */

static void failed(struct dns_resolved *r, const char *what, const char *text, bool drop_bus)
{
	uint64_t now = loop_now();

	snprintf(r->why.msg, sizeof(r->why.msg), "systemd-resolved: %s%s%s", what, text ? ": " : "",
		 text ? text : "");
	r->broken = r->broken || drop_bus;
	r->retry_at = now + r->pause;
	r->pause = r->pause * 2 < PAUSE_MAX_NS ? r->pause * 2 : PAUSE_MAX_NS;
	r->cfg.on_state(r->cfg.ctx, DNS_STATE_FAILED, r->why.msg, now);
}

static void bus_drop(struct dns_resolved *r)
{
	loop_fd_fini(&r->io);
	r->call = sd_bus_slot_unref(r->call);
	if (r->bus) {
		sd_bus_close(r->bus);
		r->bus = sd_bus_unref(r->bus);
	}
	r->broken = r->trusted = r->applied = false;
	r->join_by = TIME_NEVER;
}

/* The reply's error as text, or NULL. The slot is done with either way. */
static const char *reply_error(struct dns_resolved *r, sd_bus_message *m)
{
	const sd_bus_error *e = sd_bus_message_get_error(m);

	r->call = sd_bus_slot_unref(r->call);
	if (!e)
		return NULL;
	if (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) ||
	    sd_bus_error_has_name(e, SD_BUS_ERROR_TIMEOUT))
		return "no answer";
	return e->message ? e->message : e->name;
}

/* ---- reading the system's resolvers ---- */

static int on_read(sd_bus_message *m, void *ctx, sd_bus_error *e)
{
	struct dns_resolved *r = ctx;
	const char *bad = reply_error(r, m);
	struct resolv_conf sys;

	(void)e;
	if (bad) {
		failed(r, "cannot be asked over D-Bus", bad, false);
		return 0;
	}
	if (dns_resolved_read(m, r->cfg.ifindex, &sys) < 0) {
		failed(r, "its D-Bus answer is not what was expected", NULL, false);
		return 0;
	}
	r->cfg.on_system(r->cfg.ctx, &sys, loop_now());
	next(r);
	return 0;
}

static int call_read(struct dns_resolved *r)
{
	sd_bus_message *m = NULL;
	int rc = sd_bus_message_new_method_call(r->bus, &m, NAME, PATH,
						"org.freedesktop.DBus.Properties", "GetAll");

	if (rc >= 0)
		rc = sd_bus_message_append(m, "s", MANAGER);
	if (rc >= 0)
		rc = sd_bus_call_async(r->bus, &r->call, m, on_read, r, CALL_US);
	sd_bus_message_unref(m);
	return rc;
}

/* ---- whose links are they ---- */

/* A process in another network namespace would take our interface's number for one of its own. What
 * cannot be told is believed. */
static bool other_netns(uint32_t pid)
{
	char path[48];
	struct stat ours, theirs;

	snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
	return stat("/proc/self/ns/net", &ours) == 0 && stat(path, &theirs) == 0 &&
	       (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev);
}

static int on_owner(sd_bus_message *m, void *ctx, sd_bus_error *e)
{
	struct dns_resolved *r = ctx;
	const char *bad = reply_error(r, m);
	uint32_t pid = 0;

	(void)e;
	if (bad || sd_bus_message_read(m, "u", &pid) < 0) {
		failed(r, "is not on the bus", bad, false);
	} else if (other_netns(pid)) {
		failed(r, "it runs in another network namespace and does not see the tunnel device",
		       NULL, false);
	} else {
		r->trusted = true;
		next(r);
	}
	return 0;
}

/* ---- applying ---- */

static int fill_dns(sd_bus_message *m, const struct dns_settings *s)
{
	int rc = sd_bus_message_open_container(m, 'a', "(iay)");

	for (uint32_t i = 0; rc >= 0 && i < s->n_servers; i++) {
		const struct ipaddr *a = &s->server[i];

		if ((rc = sd_bus_message_open_container(m, 'r', "iay")) < 0 ||
		    (rc = sd_bus_message_append(m, "i", a->family == 4 ? AF_INET : AF_INET6)) < 0 ||
		    (rc = sd_bus_message_append_array(m, 'y', a->b, ipaddr_size(a))) < 0)
			return rc;
		rc = sd_bus_message_close_container(m);
	}
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

/* "." routes what no other link has a closer domain for. */
static int fill_domains(sd_bus_message *m, const struct dns_settings *s)
{
	if (s->search[0])
		return sd_bus_message_append(m, "a(sb)", 2, s->search, 0, ".", 1);
	return sd_bus_message_append(m, "a(sb)", 1, ".", 1);
}

static int fill_true(sd_bus_message *m, const struct dns_settings *s)
{
	(void)s;
	return sd_bus_message_append(m, "b", 1);
}

static int fill_yes(sd_bus_message *m, const struct dns_settings *s)
{
	(void)s;
	return sd_bus_message_append(m, "s", "yes");
}

static int fill_no(sd_bus_message *m, const struct dns_settings *s)
{
	(void)s;
	return sd_bus_message_append(m, "s", "no");
}

/* Our resolver's made-up addresses are not signed, and it has no TLS. */
static const struct step {
	const char *method;
	int (*fill)(sd_bus_message *m, const struct dns_settings *s);
	bool must;
} steps[] = {
	{"SetLinkDNSOverTLS", fill_no, false},
	{"SetLinkDNSSEC", fill_no, false},
	{"SetLinkDNS", fill_dns, true},
	{"SetLinkDomains", fill_domains, true},
	{"SetLinkDefaultRoute", fill_true, false},
	{"SetLinkLLMNR", fill_yes, false},
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

static int call_link(struct dns_resolved *r, const char *method,
		     int (*fill)(sd_bus_message *, const struct dns_settings *),
		     sd_bus_message_handler_t cb)
{
	sd_bus_message *m = NULL;
	int rc = sd_bus_message_new_method_call(r->bus, &m, NAME, PATH, MANAGER, method);

	if (rc >= 0)
		rc = sd_bus_message_append(m, "i", r->cfg.ifindex);
	if (rc >= 0 && fill)
		rc = fill(m, &r->want);
	if (rc >= 0)
		rc = sd_bus_call_async(r->bus, &r->call, m, cb, r, CALL_US);
	sd_bus_message_unref(m);
	return rc;
}

static int on_step(sd_bus_message *m, void *ctx, sd_bus_error *e)
{
	struct dns_resolved *r = ctx;
	const struct step *s = &steps[r->step];
	const char *bad = reply_error(r, m);

	(void)e;
	if (bad && s->must) {
		r->stale_set = true;
		failed(r, s->method, bad, false);
		return 0;
	}
	r->applied = true;
	r->step++;
	next(r);
	return 0;
}

static int on_revert(sd_bus_message *m, void *ctx, sd_bus_error *e)
{
	struct dns_resolved *r = ctx;

	(void)e;
	reply_error(r, m); /* the link may be gone already */
	r->applied = false;
	r->cfg.on_state(r->cfg.ctx, DNS_STATE_IDLE, "", loop_now());
	next(r);
	return 0;
}

static int on_flush(sd_bus_message *m, void *ctx, sd_bus_error *e)
{
	struct dns_resolved *r = ctx;

	(void)e;
	reply_error(r, m);
	next(r);
	return 0;
}

static int call_flush(struct dns_resolved *r)
{
	return sd_bus_call_method_async(r->bus, &r->call, NAME, PATH, MANAGER, "FlushCaches",
					on_flush, r, NULL);
}

/* What is to be done next, when no call is out. */
static int next_call(struct dns_resolved *r)
{
	if (r->stale_read) {
		r->stale_read = false;
		return call_read(r);
	}
	if (!r->trusted)
		return sd_bus_call_method_async(r->bus, &r->call, "org.freedesktop.DBus",
						"/org/freedesktop/DBus", "org.freedesktop.DBus",
						"GetConnectionUnixProcessID", on_owner, r, "s",
						NAME);
	if (r->stale_set) {
		r->stale_set = false;
		r->step = 0;
		if (!r->wanted && r->applied)
			return call_link(r, "RevertLink", NULL, on_revert);
		r->stale_flush = r->wanted;
	}
	if (r->wanted && r->step < STEPS)
		return call_link(r, steps[r->step].method, steps[r->step].fill, on_step);
	if (r->stale_flush) {
		r->stale_flush = false;
		return call_flush(r);
	}
	r->pause = PAUSE_NS;
	if (r->wanted)
		r->cfg.on_state(r->cfg.ctx, DNS_STATE_ACTIVE, "", loop_now());
	else
		r->cfg.on_state(r->cfg.ctx, DNS_STATE_IDLE, "", loop_now());
	return 0;
}

static void next(struct dns_resolved *r)
{
	int rc;

	if (r->call || !r->bus || r->broken || r->join_by != TIME_NEVER ||
	    r->retry_at != TIME_NEVER)
		return;
	rc = next_call(r);
	if (rc < 0)
		failed(r, "cannot write to the bus", strerror(-rc), true);
}

/* ---- the bus ---- */

/* From the top: after joining, after a pause, after a new owner. */
static void restart(struct dns_resolved *r)
{
	r->retry_at = TIME_NEVER;
	r->trusted = false;
	r->stale_read = true;
	r->stale_set = r->wanted || r->applied;
	r->step = r->wanted ? r->step : 0;
	next(r);
}

static int on_properties(sd_bus_message *m, void *ctx, sd_bus_error *e)
{
	struct dns_resolved *r = ctx;

	(void)m;
	(void)e;
	r->stale_read = true;
	next(r);
	return 0;
}

static int on_name(sd_bus_message *m, void *ctx, sd_bus_error *e)
{
	struct dns_resolved *r = ctx;
	const char *name, *before, *after;

	(void)e;
	if (sd_bus_message_read(m, "sss", &name, &before, &after) < 0 || strcmp(name, NAME) != 0)
		return 0;
	r->call = sd_bus_slot_unref(r->call);
	if (after[0])
		restart(r);
	else
		failed(r, "it stopped", NULL, false);
	return 0;
}

static int watch(struct dns_resolved *r)
{
	int rc = sd_bus_match_signal_async(r->bus, NULL, NAME, PATH,
					   "org.freedesktop.DBus.Properties", "PropertiesChanged",
					   on_properties, NULL, r);

	if (rc < 0)
		return rc;
	return sd_bus_add_match_async(r->bus, NULL,
				      "type='signal',sender='org.freedesktop.DBus',"
				      "interface='org.freedesktop.DBus',"
				      "member='NameOwnerChanged',arg0='" NAME "'",
				      on_name, NULL, r);
}

static void on_io(void *ctx, unsigned int events, uint64_t now)
{
	(void)events;
	turn(ctx, now);
}

static int bus_start(struct dns_resolved *r)
{
	const char *address = r->bus_address[0] ? r->bus_address
						: getenv("DBUS_SYSTEM_BUS_ADDRESS");
	int rc = sd_bus_new(&r->bus);

	if (!address || !address[0])
		address = "unix:path=/run/dbus/system_bus_socket";
	if (rc < 0 || (rc = sd_bus_set_address(r->bus, address)) < 0 ||
	    (rc = sd_bus_set_bus_client(r->bus, 1)) < 0 || (rc = sd_bus_start(r->bus)) < 0)
		return rc;
	rc = sd_bus_get_fd(r->bus);
	if (rc < 0)
		return rc;
	return loop_fd_init(&r->io, r->loop, rc, LOOP_READ, on_io, r);
}

static void bus_connect(struct dns_resolved *r, uint64_t now)
{
	int rc = bus_start(r);

	r->retry_at = TIME_NEVER;
	r->join_by = now + JOIN_NS;
	if (rc < 0)
		failed(r, "no D-Bus system bus", strerror(-rc), true);
}

static void joined(struct dns_resolved *r)
{
	int rc = watch(r);

	r->join_by = TIME_NEVER;
	if (rc < 0)
		failed(r, "cannot write to the bus", strerror(-rc), true);
	else
		restart(r);
}

static void wait_for_more(struct dns_resolved *r)
{
	uint64_t at = r->retry_at < r->join_by ? r->retry_at : r->join_by, us;
	int events = r->bus ? sd_bus_get_events(r->bus) : 0;

	if (r->bus && sd_bus_get_timeout(r->bus, &us) >= 0 && us < TIME_NEVER / NS_PER_US &&
	    us * NS_PER_US < at)
		at = us * NS_PER_US;
	if (events >= 0)
		loop_fd_set(&r->io, (events & POLLIN ? LOOP_READ : 0u) |
					    (events & POLLOUT ? LOOP_WRITE : 0u));
	loop_timer_arm(&r->timer, at);
}

static void turn(struct dns_resolved *r, uint64_t now)
{
	int rc = 1;

	if (now >= r->retry_at) {
		if (r->bus)
			restart(r);
		else
			bus_connect(r, now);
	}
	for (int i = 0; r->bus && !r->broken && rc > 0 && i < TURN_MAX; i++)
		rc = sd_bus_process(r->bus, NULL);
	if (r->bus && !r->broken && rc < 0)
		failed(r, "the bus is gone", strerror(-rc), true);
	if (r->bus && !r->broken && r->join_by != TIME_NEVER) {
		if (sd_bus_is_ready(r->bus) > 0)
			joined(r);
		else if (now >= r->join_by)
			failed(r, "the D-Bus system bus does not answer", NULL, true);
	}
	next(r);
	if (r->broken)
		bus_drop(r);
	wait_for_more(r);
}

static void on_timer(void *ctx, uint64_t now)
{
	struct dns_resolved *r = ctx;

	r->timer.at = TIME_NEVER;
	turn(r, now);
}

/* ---- interface ---- */

int dns_resolved_open(struct dns_resolved **out, struct loop *l, const struct dns_resolved_cfg *cfg)
{
	struct dns_resolved *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->cfg = *cfg;
	r->loop = l;
	r->pause = PAUSE_NS;
	r->join_by = TIME_NEVER;
	r->retry_at = 0; /* at the loop's first turn */
	snprintf(r->bus_address, sizeof(r->bus_address), "%s", cfg->bus ? cfg->bus : "");
	rc = loop_timer_init(&r->timer, l, on_timer, r);
	if (rc < 0) {
		free(r);
		return rc;
	}
	loop_timer_arm(&r->timer, loop_now());
	*out = r;
	return 0;
}

/* At the loop's next turn, so that no callback runs inside the caller. */
static void soon(struct dns_resolved *r)
{
	loop_timer_arm(&r->timer, 1);
}

void dns_resolved_set(struct dns_resolved *r, const struct dns_settings *s)
{
	r->wanted = s != NULL;
	if (s)
		r->want = *s;
	r->stale_set = true;
	soon(r);
}

void dns_resolved_flush(struct dns_resolved *r)
{
	r->stale_flush = r->wanted;
	soon(r);
}

void dns_resolved_refresh(struct dns_resolved *r)
{
	r->stale_read = true;
	soon(r);
}

void dns_resolved_close(struct dns_resolved *r)
{
	uint64_t by = loop_now() + CLOSE_NS, now;

	if (!r)
		return;
	r->wanted = false;
	if (r->bus && r->applied && r->join_by == TIME_NEVER) {
		r->call = sd_bus_slot_unref(r->call);
		r->broken = false;
		if (call_link(r, "RevertLink", NULL, on_revert) < 0)
			r->broken = true;
	}
	while (r->bus && r->applied && r->call && !r->broken && (now = loop_now()) < by) {
		int rc = sd_bus_process(r->bus, NULL), events = sd_bus_get_events(r->bus);
		struct pollfd p = {.fd = sd_bus_get_fd(r->bus), .events = (short)events};

		if (rc < 0)
			break;
		if (rc == 0)
			poll(&p, 1, (int)((by - now) / NS_PER_MS) + 1);
	}
	bus_drop(r);
	loop_timer_fini(&r->timer);
	free(r);
}
