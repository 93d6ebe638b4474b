/* SPDX-License-Identifier: Apache-2.0
 *
 * Where in a JSON text a value stands. The JSON library forgets positions once a document is
 * parsed; this walks the text again along a path, which happens only when something is wrong with
 * it. */
#ifndef PENSTOCK_PORTAL_CONFIG_LINE_H
#define PENSTOCK_PORTAL_CONFIG_LINE_H
#include <stddef.h>

#define CONFIG_PATH_MAX 8

struct config_step {
	const char *key; /* NULL: an array index */
	size_t index;
};

struct config_path {
	struct config_step step[CONFIG_PATH_MAX];
	size_t n;
};

/* 1-based line of the value at the path (of its key, for members), or of the deepest part of the
 * path that exists. The text must be valid JSON; anything else gives some line, never a bad access.
 */
unsigned config_line(const char *text, size_t len, const struct config_path *path);
/* "policies[2].resource" into buf; returns buf. */
const char *config_path_fmt(const struct config_path *path, char *buf, size_t cap);
#endif
