/* SPDX-License-Identifier: Apache-2.0
 *
 * The running portal: machine, sockets, configuration file, state file and signals on one loop. */
#ifndef PENSTOCK_PORTAL_APP_H
#define PENSTOCK_PORTAL_APP_H

/* Exit codes, part of the interface (docs/portal-config.md). */
#define PORTAL_EXIT_OK	   0
#define PORTAL_EXIT_FAILED 1 /* could not start, or could not go on */
#define PORTAL_EXIT_USAGE  2 /* a wrong flag or an invalid configuration */

/* Loads, listens and runs until SIGTERM or SIGINT. Returns the exit code. */
int app_run(const char *config_path);
/* Only checks the file; says what is wrong on stderr, or that it is valid on stdout. */
int app_check(const char *config_path);
/* A new token and its hash on stdout. */
int app_token(void);
#endif
