/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the relay's secrets come from: its token at the portal, static users, the shared secret of
 * time-limited credentials. Secret files must be root's alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/relay/opt.h"
#include "crypto/crypto.h"
#include "io/file.h"

static void cut_space(char *s)
{
	size_t len = strlen(s);

	while (len && strchr(" \t\r\n", s[len - 1]))
		s[--len] = 0;
}

int relay_opt_token(const struct relay_opt *o, char *token, struct io_err *err)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char path[512];
	size_t len;
	int rc;

	if (o->has_token && token[0] == '/') {
		/* the image of Firezone's relay takes a file for the token; the mount decides who
		 * may read it */
		if (strlen(token) >= sizeof(path))
			return io_fail(err, -ENAMETOOLONG, "the path for the token is too long");
		memcpy(path, token, strlen(token) + 1);
		rc = file_read(path, token, OPT_TOKEN_CAP, &len, err);
		cut_space(token);
		return rc;
	}
	if (o->has_token)
		return 0;
	if (dir && *dir) {
		snprintf(path, sizeof(path), "%s/FIREZONE_TOKEN", dir);
		rc = file_read(path, token, OPT_TOKEN_CAP, &len, err);
		cut_space(token);
		if (rc != -ENOENT)
			return rc;
	}
	return file_read_secret(o->token_path, token, OPT_TOKEN_CAP, &len, err);
}

/* "name:password", in place. */
static int add_user(struct relay_auth *auth, char *line, const char *where, unsigned number,
		    struct io_err *err)
{
	char *colon = strchr(line, ':');
	int rc = -EINVAL;

	if (colon) {
		*colon = 0;
		rc = relay_auth_add_user(auth, line, colon + 1);
	}
	if (rc)
		return io_fail(err, rc, "%s: user %u: %s", where, number,
			       rc == -EEXIST   ? "is there already"
			       : rc == -ENOSPC ? "is one too many"
					       : "is not name:password, or too long");
	return 0;
}

static int users_from_file(struct relay_auth *auth, const char *path, struct io_err *err)
{
	char text[32768], *save = NULL;
	unsigned number = 0;
	size_t len;
	int rc = file_read_secret(path, text, sizeof(text), &len, err);

	for (char *line = rc ? NULL : strtok_r(text, "\n", &save); line && !rc;
	     line = strtok_r(NULL, "\n", &save)) {
		cut_space(line);
		if (line[0] && line[0] != '#')
			rc = add_user(auth, line, path, ++number, err);
	}
	crypto_wipe(text, sizeof(text));
	return rc;
}

int relay_opt_credentials(struct relay_opt *o, struct relay_auth *auth, struct io_err *err)
{
	char text[OPT_TEXT_CAP];
	size_t len;
	int rc = relay_auth_init(auth, o->realm);

	if (!rc && o->user[0])
		rc = add_user(auth, o->user, "PENSTOCK_USER", 1, err);
	if (!rc && o->users_file[0])
		rc = users_from_file(auth, o->users_file, err);
	if (!rc && o->shared[0])
		rc = relay_auth_set_shared(auth, o->shared);
	else if (!rc && o->shared_file[0] &&
		 !(rc = file_read_secret(o->shared_file, text, sizeof(text), &len, err)))
		rc = relay_auth_set_shared(auth, text);
	if (rc && !err->msg[0])
		io_fail(err, rc, "shared secret: empty or too long");
	crypto_wipe(text, sizeof(text));
	crypto_wipe(o->user, sizeof(o->user));
	crypto_wipe(o->shared, sizeof(o->shared));
	return rc;
}
