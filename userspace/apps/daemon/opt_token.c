/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a daemon's token comes from when neither environment nor command line gave one: a systemd
 * credential, then the token file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/daemon/opt.h"

#define PENSTOCK_CLIENT_TOKEN "/etc/penstock/client-token"
#define FIREZONE_CLIENT_TOKEN "/etc/dev.firezone.client/token"

int opt_load_token(const struct opt *o, char *token, struct io_err *err)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char path[512];
	size_t len;
	int rc;

	if (dir && *dir) {
		/* systemd checked it, and made it readable for us alone */
		snprintf(path, sizeof(path), "%s/FIREZONE_TOKEN", dir);
		rc = file_read(path, token, OPT_TOKEN_CAP, &len, err);
		if (!rc) {
			while (len && strchr(" \t\r\n", token[len - 1]))
				token[--len] = 0;
			return len ? 0 : -ENOENT;
		}
		if (rc != -ENOENT)
			return rc;
	}
	rc = file_read_secret(o->token_path, token, OPT_TOKEN_CAP, &len, err);
	/* A host that ran Firezone's client has its token there. */
	if (rc == -ENOENT && !strcmp(o->token_path, PENSTOCK_CLIENT_TOKEN))
		rc = file_read_secret(FIREZONE_CLIENT_TOKEN, token, OPT_TOKEN_CAP, &len, err);
	return rc;
}
