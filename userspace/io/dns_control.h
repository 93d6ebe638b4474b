/* SPDX-License-Identifier: Apache-2.0
 *
 * How the host's programs are told to ask our resolver, and whom they asked before:
 * systemd-resolved over D-Bus, /etc/resolv.conf, or nothing at all. Reads the system's own
 * resolvers and watches them for change with every method.
 *
 * Not a resolver. Never waits for another program: D-Bus is driven by the loop, every call has a
 * limit, and a bus that is away is tried again with growing pauses. Only dns_control_close() waits,
 * at most half a second. Servers in our own sentinel ranges (100.100.111.0/24,
 * fd00:2021:1111:8000:100:100:111:0/120) are never reported as the system's. */
#ifndef PENSTOCK_IO_DNS_CONTROL_H
#define PENSTOCK_IO_DNS_CONTROL_H
#include <stdbool.h>
#include <stdint.h>
#include "base/addr.h"
#include "io/err.h"
#include "io/loop.h"
#include "io/resolv_conf.h"

enum dns_method { DNS_METHOD_RESOLVED, DNS_METHOD_ETC, DNS_METHOD_DISABLED };

enum dns_state {
	DNS_STATE_IDLE,	   /* nothing asked for, or method disabled */
	DNS_STATE_PENDING, /* asked systemd-resolved, no answer yet */
	DNS_STATE_ACTIVE,
	DNS_STATE_FAILED, /* the message says why; systemd-resolved is tried again */
	DNS_STATE_TAKEN,  /* somebody rewrote resolv.conf since; it is theirs until the next set */
};

#define DNS_CHANGED_STATE  1u
#define DNS_CHANGED_SYSTEM 2u

/* Strings are copied; NULL means the default in brackets. */
struct dns_control_cfg {
	enum dns_method method;
	int ifindex;		   /* tunnel device */
	const char *resolv_conf;   /* [/etc/resolv.conf]; its backup and temporary lie beside it */
	const char *resolved_conf; /* [/run/systemd/resolve/resolv.conf] upstreams as a file */
	const char *bus;	   /* [the system bus] D-Bus address */
	/* What changed, after it did: DNS_CHANGED_*. Never called from inside a function below,
	 * except dns_control_refresh(). */
	void (*changed)(void *ctx, unsigned int what, uint64_t now);
	void *ctx;
};

struct dns_settings {
	struct ipaddr server[RESOLV_SERVERS_MAX];
	uint32_t n_servers;
	char search[RESOLV_NAME_CAP]; /* "" for none */
};

struct dns_control;

/* The name as --dns-control has it: systemd-resolved, etc-resolv-conf, disabled. */
const char *dns_method_name(enum dns_method m);
int dns_method_parse(const char *text, enum dns_method *m); /* 0 or -EINVAL */
const char *dns_state_name(enum dns_state s);

/* Undo what a killed run left in resolv.conf (NULL: /etc/resolv.conf). 0: nothing to do or done;
 * -EBUSY: the run is alive; else -errno. */
int dns_control_recover(const char *resolv_conf, struct io_err *err);

/* Recovers first, whatever the method, then reads the system's resolvers and starts to watch. Fails
 * only for lack of memory or descriptors; what else is wrong is a state. */
int dns_control_open(struct dns_control **c, struct loop *l, const struct dns_control_cfg *cfg,
		     struct io_err *err);
/* Point the host at these servers; NULL takes it back. The same settings again change nothing
 * unless the state is FAILED or TAKEN. -EINVAL: settings that cannot be written. With
 * etc-resolv-conf done on return (0 or -errno); with systemd-resolved the state tells. */
int dns_control_set(struct dns_control *c, const struct dns_settings *s, struct io_err *err);
/* Make the host forget cached answers, where it has a cache. Call when resources changed. */
void dns_control_flush(struct dns_control *c);
/* Read the system's resolvers again: after a change of links or addresses. */
void dns_control_refresh(struct dns_control *c);
/* Takes everything back. NULL is fine. */
void dns_control_close(struct dns_control *c);

enum dns_method dns_control_method(const struct dns_control *c);
enum dns_state dns_control_state(const struct dns_control *c);
/* Method and problem in one sentence; "" when all is well. */
const char *dns_control_problem(const struct dns_control *c);
/* The system's resolvers and search domains, without ours. */
const struct resolv_conf *dns_control_system(const struct dns_control *c);
#endif
