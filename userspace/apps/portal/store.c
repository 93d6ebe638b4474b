/* SPDX-License-Identifier: Apache-2.0 */
#include "apps/portal/store.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

#define STORE_VERSION 1
#define PAUSE_MIN_MS  20
#define PAUSE_MAX_MS  2000
#define PAUSE_TIMES   10 /* what a text takes: it is a tenth of the time at most */

int store_lock(const char *path)
{
	char lock[4200], *slash;
	int fd, rc;

	snprintf(lock, sizeof(lock), "%s", path);
	slash = strrchr(lock, '/');
	if (slash && slash != lock) {
		*slash = '\0';
		rc = file_mkdirs(lock, 0700, NULL);
		if (rc < 0)
			return rc;
	}
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

uint64_t store_pause_ms(uint64_t text_ns)
{
	uint64_t ms = text_ns / 1000000 * PAUSE_TIMES;

	if (ms < PAUSE_MIN_MS)
		return PAUSE_MIN_MS;
	return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

void store_text_free(char *text)
{
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
}

int store_write(const char *path, const char *text)
{
	return file_write_atomic(path, 0600, text, strlen(text), NULL);
}
