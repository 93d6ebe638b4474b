/* SPDX-License-Identifier: Apache-2.0
 *
 * The option table as opt.c walks it; private to the option parser. */
#ifndef PENSTOCK_RELAY_OPT_ROWS_H
#define PENSTOCK_RELAY_OPT_ROWS_H
#include "apps/relay/opt.h"

struct relay_opt_row {
	const char *flag;
	const char *env[3]; /* first wins */
	const char *arg;    /* NULL: a switch */
	/* 0, or -EINVAL and *why; field is at `at` in the options. */
	int (*set)(struct relay_opt *o, const struct relay_opt_row *r, const char *value,
		   const char **why);
	size_t at;
	uint32_t a, b;	  /* numbers: least and greatest; texts: a is the room */
	const char *help; /* NULL: not shown */
};

extern const struct relay_opt_row relay_opt_rows[];
extern const size_t relay_opt_rows_len;
/* Setter of the rows that have no effect. */
int relay_opt_ignored(struct relay_opt *o, const struct relay_opt_row *r, const char *v,
		      const char **why);
#endif
