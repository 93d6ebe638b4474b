/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading with limits, writing by replacement, and the two kinds of file with rules of their own.
 */
#include "io/file.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/entropy.h"

#define PATH_LEN_MAX 4096

/* Up to cap - 1 bytes; one more is asked for, to know that it was all. */
static int fd_read_all(int fd, char *out, size_t cap, size_t *len)
{
	char extra;
	size_t n = 0;

	while (n < cap) {
		bool full = n == cap - 1;
		ssize_t got = read(fd, full ? &extra : out + n, full ? 1 : cap - 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		if (full)
			return -EFBIG;
		n += (size_t)got;
	}
	out[n] = '\0';
	*len = n;
	return 0;
}

int file_read(const char *path, char *out, size_t cap, size_t *len, struct io_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	*len = 0;
	if (fd < 0)
		return io_fail(err, -errno, "%s: %s", path, strerror(errno));
	rc = fd_read_all(fd, out, cap, len);
	close(fd);
	if (rc < 0)
		return io_fail(err, rc, "%s: %s", path, strerror(-rc));
	return 0;
}

/* ---- secrets ------------------------------------------------------------------------------------
 */

static int secret_check(const char *path, const struct stat *st, struct io_err *err)
{
	if (!S_ISREG(st->st_mode))
		return io_fail(err, -EPERM, "%s is not a regular file", path);
	if (st->st_uid != 0 || st->st_gid != 0)
		return io_fail(err, -EPERM, "%s is owned by uid %u, gid %u; required: uid 0, gid 0",
			       path, st->st_uid, st->st_gid);
	if (st->st_mode & 0177)
		return io_fail(err, -EPERM, "%s has mode %04o; required: 0600", path,
			       st->st_mode & 07777u);
	return 0;
}

int file_read_secret(const char *path, char *out, size_t cap, size_t *len, struct io_err *err)
{
	/* O_NONBLOCK: a fifo in its place shall not hang us before it is refused. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), rc;
	struct stat st;

	*len = 0;
	if (fd < 0)
		return io_fail(err, -errno, "%s: %s", path, strerror(errno));
	rc = fstat(fd, &st) < 0 ? io_fail(err, -errno, "%s: %s", path, strerror(errno))
				: secret_check(path, &st, err);
	if (rc == 0) {
		rc = fd_read_all(fd, out, cap, len);
		if (rc < 0)
			io_fail(err, rc, "%s: %s", path, strerror(-rc));
	}
	close(fd);
	while (rc == 0 && *len && strchr(" \t\r\n", out[*len - 1]))
		out[--*len] = '\0';
	if (rc == 0 && *len == 0)
		rc = io_fail(err, -ENODATA, "%s is empty", path);
	if (rc < 0) {
		sodium_memzero(out, cap);
		*len = 0;
	}
	return rc;
}

/* ---- replacement --------------------------------------------------------------------------------
 */

static int fd_write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void parent_sync(const char *path)
{
	char dir[PATH_LEN_MAX];
	const char *slash = strrchr(path, '/');
	int fd;

	snprintf(dir, sizeof(dir), "%.*s", slash && slash != path ? (int)(slash - path) : 1,
		 slash ? path : ".");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

int file_write_atomic(const char *path, mode_t mode, const void *data, size_t len,
		      struct io_err *err)
{
	char tmp[PATH_LEN_MAX];
	int fd, rc = 0;

	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
		return io_fail(err, -ENAMETOOLONG, "path of a file to write is too long");
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return io_fail(err, -errno, "%s: %s", path, strerror(errno));
	rc = fd_write_all(fd, data, len);
	if (rc == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(tmp, path) < 0)
		rc = -errno;
	if (rc < 0) {
		unlink(tmp);
		return io_fail(err, rc, "%s: %s", path, strerror(-rc));
	}
	parent_sync(path);
	return 0;
}

int file_mkdirs(const char *path, mode_t mode, struct io_err *err)
{
	char part[PATH_LEN_MAX];
	struct stat st;

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return io_fail(err, -ENAMETOOLONG, "path of a directory to make is too long");
	for (char *p = part + 1;; p++) {
		char end = *p;

		if (end != '/' && end != '\0')
			continue;
		*p = '\0';
		if (mkdir(part, 0755) == 0) {
			/* Only the last one gets the wanted mode, whatever the umask says. */
			if (end == '\0' && chmod(part, mode) < 0)
				return io_fail(err, -errno, "%s: %s", part, strerror(errno));
		} else if (errno != EEXIST) {
			return io_fail(err, -errno, "%s: %s", part, strerror(errno));
		}
		*p = end;
		if (end == '\0')
			break;
	}
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return io_fail(err, -ENOTDIR, "%s is not a directory", path);
	return 0;
}

/* ---- identity -----------------------------------------------------------------------------------
 */

static bool id_plain(const char *id)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t len = strlen(id);

	return len > 0 && len < FILE_ID_LEN && strspn(id, plain) == len;
}

static int id_parse(const char *path, char *text, size_t len, char id[FILE_ID_LEN],
		    struct io_err *err)
{
	json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *found = json_string_value(json_object_get(doc, "id"));
	int rc = 0;

	if (!doc) {
		while (len && strchr(" \t\r\n", text[len - 1]))
			text[--len] = '\0';
		found = text;
	}
	if (found && id_plain(found))
		strcpy(id, found);
	else
		rc = io_fail(err, -EINVAL,
			     "%s: no identity in it: wanted {\"id\":\"…\"} or plain text", path);
	json_decref(doc);
	return rc;
}

static int id_create(const char *path, char id[FILE_ID_LEN], struct io_err *err)
{
	char uuid[ENTROPY_UUID_LEN], dir[PATH_LEN_MAX], doc[128];
	uint8_t hash[crypto_hash_sha256_BYTES];
	const char *slash = strrchr(path, '/');
	int rc = entropy_uuid4(uuid);

	if (rc < 0)
		return io_fail(err, rc, "no randomness for a new identity: %s", strerror(-rc));
	crypto_hash_sha256(hash, (const uint8_t *)uuid, strlen(uuid));
	sodium_bin2hex(id, FILE_ID_LEN, hash, sizeof(hash));
	if (slash && slash != path) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		rc = file_mkdirs(dir, 0770, err);
		if (rc < 0)
			return rc;
	}
	rc = snprintf(doc, sizeof(doc), "{\"id\":\"%s\"}", id);
	return file_write_atomic(path, 0640, doc, (size_t)rc, err);
}

int file_identity(const char *path, char id[FILE_ID_LEN], struct io_err *err)
{
	char text[FILE_SECRET_MAX];
	size_t len;
	int rc = file_read(path, text, sizeof(text), &len, err);

	memset(id, 0, FILE_ID_LEN);
	if (rc == -ENOENT)
		return id_create(path, id, err);
	if (rc < 0)
		return rc;
	return id_parse(path, text, len, id, err);
}
