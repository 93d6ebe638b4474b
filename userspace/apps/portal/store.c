/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/store.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_VERSION 1

int store_lock(const char *path)
{
	char lock[4200];
	int fd, rc;

	snprintf(lock, sizeof(lock), "%s.lock", path);
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0; /* the descriptor stays open on purpose */
	rc = -errno;
	close(fd);
	return rc;
}

static int wrong(struct store_error *err, int rc, const char *what, size_t index, const char *why)
{
	if (what)
		snprintf(err->msg, sizeof(err->msg), "%s[%zu] %s", what, index, why);
	else
		snprintf(err->msg, sizeof(err->msg), "%s", why);
	return rc;
}

static int load_doc(struct portal *p, const json_t *doc, struct store_error *err)
{
	const json_t *devices = json_object_get(doc, "devices"),
		     *flows = json_object_get(doc, "flows");
	const char *why;
	size_t index = 0;

	if (json_integer_value(json_object_get(doc, "version")) != STORE_VERSION)
		return wrong(err, -EINVAL, NULL, 0, "has no version this program knows");
	if (!json_is_array(devices) || !json_is_array(flows))
		return wrong(err, -EINVAL, NULL, 0, "lacks \"devices\" or \"flows\"");
	why = registry_load(&p->reg, devices, &index);
	if (why)
		return wrong(err, -EINVAL, "devices", index, why);
	why = flows_load(&p->flows, &p->reg, flows, &index);
	return why ? wrong(err, -EINVAL, "flows", index, why) : 0;
}

int store_load(const char *path, struct portal *p, struct store_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), rc;
	json_error_t jerr;
	struct stat st;
	json_t *doc;

	err->msg[0] = '\0';
	if (fd < 0)
		return errno == ENOENT ? 0 : wrong(err, -errno, NULL, 0, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_mode & 077)) {
		close(fd);
		return wrong(err, -EPERM, NULL, 0,
			     "must be a file with mode 0600: it holds secrets");
	}
	doc = json_loadfd(fd, JSON_REJECT_DUPLICATES, &jerr);
	close(fd);
	if (!doc) {
		snprintf(err->msg, sizeof(err->msg), "line %d: is not valid JSON: %s", jerr.line,
			 jerr.text);
		return -EINVAL;
	}
	rc = load_doc(p, doc, err);
	json_decref(doc);
	return rc;
}

char *store_text(const struct portal *p)
{
	json_t *devices = registry_save(&p->reg), *flows = flows_save(&p->flows), *doc = NULL;
	char *text = NULL;

	if (devices && flows)
		doc = json_pack("{s:i,s:O,s:O}", "version", STORE_VERSION, "devices", devices,
				"flows", flows);
	if (doc)
		text = json_dumps(doc, JSON_INDENT(1));
	json_decref(doc);
	json_decref(devices);
	json_decref(flows);
	return text;
}

void store_text_free(char *text)
{
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

static void sync_dir(const char *path)
{
	char copy[4200];
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

int store_write(const char *path, const char *text)
{
	char tmp[4200];
	int fd, rc;

	snprintf(tmp, sizeof(tmp), "%s.new", path);
	unlink(tmp); /* ours alone, by the lock */
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, strlen(text));
	if (close(fd) && !rc)
		rc = -errno;
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc)
		unlink(tmp);
	else
		sync_dir(path);
	return rc;
}
