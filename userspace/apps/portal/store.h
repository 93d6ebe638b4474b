/* SPDX-License-Identifier: Apache-2.0
 *
 * The state file: devices (with their secrets) and flows, so that a restarted portal hands out the
 * same addresses and gateways need not drop anybody. One JSON document, mode 0600, replaced
 * atomically. */
#ifndef PENSTOCK_PORTAL_STORE_H
#define PENSTOCK_PORTAL_STORE_H
#include "apps/portal/state.h"

struct store_error {
	char msg[256];
};

/* Makes the directory if need be and takes the lock "<path>.lock", which keeps a second portal off;
 * held until the process ends. 0 or -errno. */
int store_lock(const char *path);
/* Fills p from the file; a missing one is an empty one. Refuses a file others can read. 0 or
 * -errno. */
int store_load(const char *path, struct portal *p, struct store_error *err);
/* The document; free with store_text_free(). NULL when out of memory. */
char *store_text(const struct portal *p);
/* How long to wait with the next one, by what the last took: joins come in bursts, and with many
 * devices a text after each of them would leave time for little else. */
uint64_t store_pause_ms(uint64_t text_ns);
void store_text_free(char *text);
/* Writes, syncs and renames into place. Safe in another thread. 0 or -errno. */
int store_write(const char *path, const char *text);
#endif
