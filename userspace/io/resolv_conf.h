/* SPDX-License-Identifier: Apache-2.0
 *
 * resolv.conf as text (resolv.conf(5)): reading any, writing ours, undoing ours. No files here.
 *
 * Ours starts with a header line that holds the length and hash of what follows, so that a file
 * that was edited afterwards is known from one that was not, by a later process, too. */
#ifndef PENSTOCK_IO_RESOLV_CONF_H
#define PENSTOCK_IO_RESOLV_CONF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"

#define RESOLV_SERVERS_MAX 16
#define RESOLV_SEARCH_MAX  16
#define RESOLV_NAME_CAP	   254
#define RESOLV_OPTIONS_CAP 256

struct resolv_server {
	struct endpoint at; /* port 53 unless systemd-resolved says otherwise */
	uint32_t ifindex;   /* scope of a link-local address, else 0 */
};

/* Zeroed is empty. What does not fit is counted, not kept. */
struct resolv_conf {
	struct resolv_server server[RESOLV_SERVERS_MAX];
	char search[RESOLV_SEARCH_MAX][RESOLV_NAME_CAP];
	char options[RESOLV_OPTIONS_CAP]; /* as they stand, without ndots */
	uint32_t n_servers, n_search;
	uint32_t n_dropped; /* lines, addresses and names that were no use or did not fit */
};

enum resolv_kind {
	RESOLV_THEIRS,	    /* no header of ours */
	RESOLV_OURS,	    /* exactly as we wrote it */
	RESOLV_OURS_EDITED, /* our header, other contents */
};

struct resolv_header {
	enum resolv_kind kind;
	bool was_missing; /* there was no file before ours */
};

/* Labels of letters, digits, '-' and '_', at most 253 characters; a dot at the end is allowed. */
bool resolv_name_ok(const char *name);
/* Add unless it is there already, a sentinel, unspecified or one too many. */
void resolv_server_add(struct resolv_conf *c, const struct resolv_server *s);
void resolv_search_add(struct resolv_conf *c, const char *name, size_t len);
bool resolv_conf_eq(const struct resolv_conf *a, const struct resolv_conf *b);

/* Any bytes. The last of several search lines counts. */
void resolv_conf_parse(struct resolv_conf *c, const char *text, size_t len);
struct resolv_header resolv_conf_judge(const char *text, size_t len);

/* Our file for these servers: search before the old one's domains, ndots:1 and the old options.
 * Returns the length, 0 when cap is too small. */
size_t resolv_conf_render(char *out, size_t cap, const struct ipaddr *server, uint32_t n_servers,
			  const char *search, const struct resolv_conf *old, const char *backup,
			  bool was_missing);
/* Our file with somebody's edits, made theirs: the old nameserver lines, then all lines but our
 * notes and our nameservers. Returns the length, 0 when cap is too small. */
size_t resolv_conf_strip(char *out, size_t cap, const char *text, size_t len, const char *before,
			 size_t before_len);
#endif
