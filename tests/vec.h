/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading test vectors: text files of "name hex" lines, '#' starts a comment. Paths are relative to
 * the root of the tree, where the runner starts every test. */
#ifndef PENSTOCK_VEC_H
#define PENSTOCK_VEC_H
#include "tests/t.h"

/* Bytes of the value called name, at most cap; 0 and a failed check when it is not there. */
static inline size_t vec_get(const char *path, const char *name, uint8_t *out, size_t cap)
{
	static char line[8192];
	FILE *f = fopen(path, "r");
	size_t name_len = strlen(name), n = 0;

	T(f != NULL);
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, name_len) == 0 && line[name_len] == ' ') {
			n = t_unhex(line + name_len, out, cap);
			fclose(f);
			return n;
		}
	}
	if (f)
		fclose(f);
	t_note("%s: no value %s", path, name);
	T(!"vector present");
	return 0;
}
#endif
