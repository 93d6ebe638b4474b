/* SPDX-License-Identifier: Apache-2.0
 *
 * What the subcommands of `penstock` share: reading an answer tolerantly and printing it for
 * people. Every string that came over the socket is printed through ctl_clean(): names come from a
 * portal, and a terminal obeys bytes. */
#ifndef PENSTOCK_APPS_CTL_CTL_H
#define PENSTOCK_APPS_CTL_CTL_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Documented in docs/control-socket.md. */
enum ctl_exit { CTL_OK = 0, CTL_REFUSED = 1, CTL_USAGE = 2, CTL_NO_DAEMON = 3, CTL_DENIED = 4 };

struct ctl_options {
	const char *instance; /* NULL: the only one there is */
	const char *socket;   /* NULL: by instance */
	const char *resource; /* resources enable|disable: which; NULL: list them */
	bool on;	      /* enable */
	bool json;
	bool all;   /* drops: what was handled and passed on, too */
	long limit; /* flows, allocations; 0: the daemon's default */
};

struct ctl_command {
	const char *name;
	const char *help;
	/* Print the answer for people. */
	void (*print)(const json_t *answer, const struct ctl_options *opt);
};

void cmd_status(const json_t *answer, const struct ctl_options *opt);
void cmd_peers(const json_t *answer, const struct ctl_options *opt);
void cmd_flows(const json_t *answer, const struct ctl_options *opt);
void cmd_drops(const json_t *answer, const struct ctl_options *opt);
void cmd_allocations(const json_t *answer, const struct ctl_options *opt);
void cmd_relays(const json_t *answer, const struct ctl_options *opt);
void cmd_resources(const json_t *answer, const struct ctl_options *opt);

/* The answer to resources enable|disable. */
void cmd_switch(const json_t *answer, const struct ctl_options *opt);

/* Path of the socket to talk to in buf[cap], or an exit code after saying why not. */
int ctl_find_socket(const struct ctl_options *opt, char *buf, size_t cap);

/* Members of an object; absent or of another type: NULL, 0, false. obj may be NULL. */
const char *ctl_str(const json_t *obj, const char *key);
uint64_t ctl_u64(const json_t *obj, const char *key);
bool ctl_bool(const json_t *obj, const char *key);
bool ctl_has(const json_t *obj, const char *key); /* there and not null */

/* Text for people in one of a few rotating buffers: good for one printf. */
#define CTL_TEXT_CAP 320
const char *ctl_clean(const char *text); /* control bytes shown as '?'; NULL is "-" */
const char *ctl_clean_str(const json_t *obj, const char *key);
const char *ctl_bytes(uint64_t bytes);	   /* 1.5 MiB */
const char *ctl_count(uint64_t n);	   /* 12.3k */
const char *ctl_plain(uint64_t n);	   /* 12345: numbers that are names or sizes */
const char *ctl_seconds(uint64_t s);	   /* 3 h 2 min */
const char *ctl_micros(uint64_t us);	   /* 216 µs, 3.4 ms */
const char *ctl_join(const json_t *array); /* strings, with commas */

/* An aligned table: cells are copied; the widest cell of a column decides. */
#define CTL_COLUMNS_CAP 12
struct ctl_table {
	const char *titles[CTL_COLUMNS_CAP];
	bool right[CTL_COLUMNS_CAP];
	size_t columns;
	char **cells;
	size_t count, cap;
};
/* A title that starts with ">" makes its column right-aligned; the titles must outlive the table.
 */
void ctl_table_init(struct ctl_table *t, const char *const *titles, size_t columns);
void ctl_table_cell(struct ctl_table *t, const char *text);
/* Print to stdout and free. */
void ctl_table_print(struct ctl_table *t);
#endif
