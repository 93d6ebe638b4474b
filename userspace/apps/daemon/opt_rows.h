/* SPDX-License-Identifier: Apache-2.0
 *
 * The option table as opt.c walks it; private to the option parser. */
#ifndef PENSTOCK_DAEMON_OPT_ROWS_H
#define PENSTOCK_DAEMON_OPT_ROWS_H
#include "apps/daemon/opt.h"

struct opt_row {
	const char *flag;
	char letter;
	const char *env[4]; /* first wins */
	const char *arg;    /* NULL: a switch */
	/* 0, or -EINVAL and *why */
	int (*set)(struct opt *o, const char *value, const char **why);
	const char *help; /* NULL: not shown */
	uint8_t roles;	  /* 1 gateway, 2 client */
};

extern const struct opt_row opt_rows[];
extern const size_t opt_rows_len;
/* Setter of the rows that have no effect. */
int opt_set_ignored(struct opt *o, const char *v, const char **why);
#endif
