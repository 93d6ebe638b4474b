/* SPDX-License-Identifier: Apache-2.0
 *
 * resolv.conf taken over and given back, with no moment at which a kill or somebody else's edit
 * could lose contents: files are exchanged, not overwritten, and what came out of the exchange is
 * compared with what was judged before. A file that cannot be renamed over (a bind mount, as
 * containers have) is written in place in one write that leaves nothing of it behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "io/dns_internal.h"

#define TEXT_CAP (256u << 10)
#define TRIES	 4 /* somebody edits again and again: not ours to win */

struct doc {
	char *text; /* TEXT_CAP */
	size_t len;
	bool missing;
	struct stat st;
};

static int say(struct io_err *err, int rc, const char *path)
{
	return io_fail(err, rc, "etc-resolv-conf: %s: %s", path, strerror(-rc));
}

/* ---- reading ---- */

static int fd_load(int fd, struct doc *d)
{
	ssize_t n = 1;

	if (fstat(fd, &d->st) < 0)
		return -errno;
	if (!S_ISREG(d->st.st_mode))
		return -ENOTSUP;
	for (d->len = 0; n > 0 && d->len < TEXT_CAP; d->len += (size_t)n) {
		n = read(fd, d->text + d->len, TEXT_CAP - d->len);
		if (n < 0)
			return -errno;
	}
	return d->len == TEXT_CAP ? -EFBIG : 0;
}

/* O_NONBLOCK: a fifo in its place must not hang us. */
static int doc_load(struct doc *d, const char *path, int flags)
{
	int fd, rc;

	d->len = 0;
	d->missing = false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
	if (fd < 0) {
		d->missing = errno == ENOENT;
		return -errno;
	}
	rc = fd_load(fd, d);
	close(fd);
	return rc;
}

static int doc_init(struct doc *d)
{
	memset(d, 0, sizeof(*d));
	d->text = malloc(TEXT_CAP);
	return d->text ? 0 : -ENOMEM;
}

static bool same_text(const struct doc *a, const struct doc *b)
{
	return a->missing == b->missing && a->len == b->len &&
	       memcmp(a->text, b->text, a->len) == 0;
}

/* ---- writing ---- */

static int write_all(int fd, const char *p, size_t len)
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

/* Owner, mode and label of the file it will stand for. */
static int take_looks(int fd, const char *like, const struct stat *st)
{
	char label[256];
	ssize_t n;

	if (st->st_mode == 0) /* there was none */
		return fchmod(fd, 0644) < 0 ? -errno : 0;
	if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0)
		return -errno;
	n = getxattr(like, "security.selinux", label, sizeof(label));
	if (n > 0 && fsetxattr(fd, "security.selinux", label, (size_t)n, 0) < 0)
		return 0; /* readable all the same, as a rule */
	return 0;
}

/* The temporary file with these contents, open and synced; *out is the caller's to close. */
static int tmp_write(const struct dns_file *f, const struct doc *d, const struct stat *looks,
		     int *out)
{
	int fd, rc;

	unlink(f->tmp);
	fd = open(f->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, d->text, d->len);
	if (rc == 0)
		rc = take_looks(fd, f->path, looks);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc < 0) {
		close(fd);
		unlink(f->tmp);
		return rc;
	}
	*out = fd;
	return 0;
}

static void dir_sync(const struct dns_file *f)
{
	char dir[PATH_MAX];
	int fd;

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(f->path, '/') - f->path) + 1, f->path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

/* 0 when the file is still as judged, -EAGAIN when not. */
static int still(const struct dns_file *f, const struct doc *judged)
{
	struct doc now;
	int rc = doc_init(&now);

	if (rc == 0) {
		rc = doc_load(&now, f->path, O_NOFOLLOW);
		if (rc == 0 || now.missing)
			rc = same_text(&now, judged) ? 0 : -EAGAIN;
	}
	free(now.text);
	return rc;
}

/* After an exchange the temporary holds what the file was. What is not what we last put or saw
 * there is newer than what we put in its place, and goes back; so does what came in between, and so
 * on. */
static int exchange_check(const struct dns_file *f, const struct doc *d, const struct doc *judged)
{
	struct doc out[3]; /* two are still compared with when the third is filled */
	const struct doc *want = judged, *in_place = d;
	int rc = doc_init(&out[0]) | doc_init(&out[1]) | doc_init(&out[2]);

	for (int i = 0; rc == 0; i = (i + 1) % 3) {
		int got = doc_load(&out[i], f->tmp, O_NOFOLLOW);

		if (got == 0 && same_text(&out[i], want)) {
			rc = want == judged ? 1 : -EAGAIN;
			break;
		}
		if (renameat2(AT_FDCWD, f->tmp, AT_FDCWD, f->path, RENAME_EXCHANGE) < 0 || got < 0)
			rc = -EAGAIN; /* removed meanwhile, or a link: theirs */
		want = in_place;
		in_place = &out[i];
	}
	unlink(f->tmp);
	free(out[0].text);
	free(out[1].text);
	free(out[2].text);
	return rc == 1 ? 0 : rc;
}

/* One write that covers all of the old contents; only empty lines are cut afterwards. */
static int write_in_place(const struct dns_file *f, const struct doc *d, const struct doc *judged)
{
	size_t cover = d->len > judged->len ? d->len : judged->len;
	int fd = open(f->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), rc = still(f, judged);
	char *all;

	if (fd < 0)
		return -errno;
	all = malloc(cover ? cover : 1);
	if (all && rc == 0) {
		memset(all, '\n', cover);
		memcpy(all, d->text, d->len);
		if (pwrite(fd, all, cover, 0) != (ssize_t)cover)
			rc = errno ? -errno : -EIO;
		else if (ftruncate(fd, (off_t)d->len) < 0 || fsync(fd) < 0)
			rc = -errno;
	} else if (!all) {
		rc = -ENOMEM;
	}
	free(all);
	close(fd);
	return rc;
}

/* Put d where judged is. -EAGAIN: somebody was faster, theirs is in place. */
static int replace(const struct dns_file *f, const struct doc *d, const struct doc *judged)
{
	int fd, rc = tmp_write(f, d, &judged->st, &fd);
	unsigned int how = judged->missing ? RENAME_NOREPLACE : RENAME_EXCHANGE;

	if (rc < 0)
		return rc;
	close(fd);
	if (renameat2(AT_FDCWD, f->tmp, AT_FDCWD, f->path, how) == 0)
		rc = judged->missing ? 0 : exchange_check(f, d, judged);
	else if (errno == EBUSY)
		rc = write_in_place(f, d, judged);
	else if (errno == EEXIST || errno == ENOENT)
		rc = -EAGAIN;
	else if (errno != EINVAL && errno != ENOSYS)
		rc = -errno;
	else if ((rc = still(f, judged)) == 0 && rename(f->tmp, f->path) < 0)
		rc = errno == EBUSY ? write_in_place(f, d, judged) : -errno;
	unlink(f->tmp);
	dir_sync(f);
	return rc;
}

/* ---- the backup ---- */

static void unlock(struct dns_file *f)
{
	if (f->lock_fd >= 0)
		close(f->lock_fd);
	f->lock_fd = -1;
}

static void backup_drop(struct dns_file *f)
{
	unlink(f->backup);
	unlink(f->tmp);
	unlock(f);
}

/* Written beside, locked, then given its name: nobody sees it without its lock. */
static int backup_write(struct dns_file *f, const struct doc *before)
{
	int fd, rc = tmp_write(f, before, &before->st, &fd);

	if (rc < 0)
		return rc;
	close(fd); /* open for writing it would be in the way of a remount */
	fd = open(f->tmp, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || rename(f->tmp, f->backup) < 0) {
		rc = -errno;
		close(fd);
		unlink(f->tmp);
		return rc;
	}
	unlock(f);
	f->lock_fd = fd;
	dir_sync(f);
	return 0;
}

/* 0: ours to handle (no backup is, too); -EBUSY: its process lives. */
static int backup_lock(struct dns_file *f)
{
	if (f->lock_fd >= 0)
		return 0;
	f->lock_fd = open(f->backup, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (f->lock_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(f->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		unlock(f);
		return -EBUSY;
	}
	return 0;
}

/* ---- taking over, giving back ---- */

static int link_refused(const struct dns_file *f, struct io_err *err)
{
	char to[96];
	ssize_t n = readlink(f->path, to, sizeof(to) - 1);

	to[n < 0 ? 0 : n] = '\0';
	return io_fail(err, -ENOTSUP,
		       "etc-resolv-conf: %.40s is a link to %.70s: another program keeps it, "
		       "use --dns-control systemd-resolved or disabled",
		       f->path, to);
}

static int judged_load(const struct dns_file *f, struct doc *d, struct io_err *err)
{
	int rc = doc_load(d, f->path, O_NOFOLLOW);

	if (rc == -ELOOP)
		return link_refused(f, err);
	if (rc == -ENOTSUP)
		return io_fail(err, rc, "etc-resolv-conf: %s is not a regular file", f->path);
	if (rc < 0 && !d->missing)
		return say(err, rc, f->path);
	return 0;
}

/* What the file is without us, into before: itself, the backup, or both when ours was edited. */
static int before_load(const struct dns_file *f, const struct doc *now, struct doc *before)
{
	struct resolv_header h = resolv_conf_judge(now->text, now->len);
	struct doc kept;
	int rc;

	before->missing = now->missing;
	before->st = now->st;
	if (h.kind == RESOLV_THEIRS) {
		memcpy(before->text, now->text, now->len);
		before->len = now->len;
		return 0;
	}
	rc = doc_load(before, f->backup, O_NOFOLLOW);
	if (rc < 0 && !before->missing)
		return rc;
	before->st = now->st;
	before->missing = h.kind == RESOLV_OURS && h.was_missing;
	if (rc == 0 && h.kind == RESOLV_OURS)
		return 0;
	rc = doc_init(&kept);
	if (rc < 0)
		return rc;
	memcpy(kept.text, before->text, before->len);
	kept.len = before->len;
	before->len = resolv_conf_strip(before->text, TEXT_CAP - 1, now->text, now->len, kept.text,
					kept.len);
	free(kept.text);
	return 0;
}

static int apply_once(struct dns_file *f, const struct dns_settings *s, struct doc d[3],
		      struct io_err *err)
{
	struct doc *now = &d[0], *before = &d[1], *ours = &d[2];
	struct resolv_conf old;
	int rc = judged_load(f, now, err);

	if (rc < 0)
		return rc;
	rc = before_load(f, now, before);
	if (rc == 0)
		rc = backup_write(f, before);
	if (rc < 0)
		return say(err, rc, f->backup);
	resolv_conf_parse(&old, before->text, before->len);
	ours->len = resolv_conf_render(ours->text, TEXT_CAP - 1, s->server, s->n_servers, s->search,
				       &old, f->backup, before->missing);
	rc = ours->len ? replace(f, ours, now) : -EFBIG;
	return rc < 0 ? say(err, rc, f->path) : 0;
}

static int docs_init(struct doc d[3], struct io_err *err)
{
	for (int i = 0; i < 3; i++)
		d[i].text = NULL;
	for (int i = 0; i < 3; i++)
		if (doc_init(&d[i]) < 0)
			return io_fail(err, -ENOMEM, "etc-resolv-conf: no memory");
	return 0;
}

static void docs_free(struct doc d[3])
{
	for (int i = 0; i < 3; i++)
		free(d[i].text);
}

int dns_file_apply(struct dns_file *f, const struct dns_settings *s, struct io_err *err)
{
	struct doc d[3];
	int rc = docs_init(d, err);

	if (rc == 0 && backup_lock(f) < 0)
		rc = io_fail(err, -EBUSY,
			     "etc-resolv-conf: %s is in use by another running instance", f->path);
	if (rc == 0) {
		for (int i = 0; i < TRIES; i++) {
			rc = apply_once(f, s, d, err);
			if (rc != -EAGAIN)
				break;
		}
		/* Not ours after all: then the backup is of no use. */
		if (rc < 0 && dns_file_kind(f) == RESOLV_THEIRS)
			backup_drop(f);
	}
	docs_free(d);
	return rc;
}

/* There was none before: take ours away, if it is still ours. */
static int remove_ours(const struct dns_file *f, const struct doc *now)
{
	struct doc out;
	int rc = doc_init(&out);

	if (rc < 0)
		return rc;
	if (rename(f->path, f->tmp) < 0)
		rc = -errno;
	else if (doc_load(&out, f->tmp, O_NOFOLLOW) < 0 || !same_text(&out, now)) {
		renameat2(AT_FDCWD, f->tmp, AT_FDCWD, f->path, RENAME_NOREPLACE);
		rc = -EAGAIN;
	}
	free(out.text);
	return rc;
}

static int restore_once(struct dns_file *f, struct doc d[3], struct io_err *err)
{
	struct doc *now = &d[0], *before = &d[1];
	int rc = doc_load(now, f->path, O_NOFOLLOW);

	if (rc < 0 && rc != -ENOENT && rc != -ELOOP && rc != -ENOTSUP)
		return say(err, rc, f->path);
	if (rc < 0 || resolv_conf_judge(now->text, now->len).kind == RESOLV_THEIRS)
		return 0;
	rc = before_load(f, now, before);
	if (rc < 0)
		return say(err, rc, f->backup);
	rc = before->missing ? remove_ours(f, now) : replace(f, before, now);
	return rc < 0 ? say(err, rc, f->path) : 0;
}

int dns_file_restore(struct dns_file *f, struct io_err *err)
{
	struct doc d[3];
	int rc = backup_lock(f);

	if (rc < 0)
		return rc == -EBUSY ? io_fail(err, rc,
					      "etc-resolv-conf: %s is in use by another running "
					      "instance",
					      f->path)
				    : say(err, rc, f->backup);
	rc = docs_init(d, err);
	if (rc == 0) {
		for (int i = 0; i < TRIES; i++) {
			rc = restore_once(f, d, err);
			if (rc != -EAGAIN)
				break;
		}
		if (rc == 0)
			backup_drop(f);
		else
			unlock(f);
	}
	docs_free(d);
	return rc;
}

int dns_file_init(struct dns_file *f, const char *path, struct io_err *err)
{
	f->lock_fd = -1;
	if (path[0] != '/' || strlen(path) >= sizeof(f->path) - 32)
		return io_fail(err, -EINVAL, "etc-resolv-conf: %.80s is no absolute path", path);
	snprintf(f->path, sizeof(f->path), "%s", path);
	snprintf(f->backup, sizeof(f->backup), "%.4060s.before-penstock", path);
	snprintf(f->tmp, sizeof(f->tmp), "%.4060s.penstock-tmp", path);
	return 0;
}

enum resolv_kind dns_file_kind(const struct dns_file *f)
{
	enum resolv_kind kind = RESOLV_THEIRS;
	struct doc d;

	if (doc_init(&d) == 0 && doc_load(&d, f->path, O_NOFOLLOW) == 0)
		kind = resolv_conf_judge(d.text, d.len).kind;
	free(d.text);
	return kind;
}

int dns_file_system(const struct dns_file *f, struct resolv_conf *out)
{
	struct doc d;
	int rc = doc_init(&d);

	memset(out, 0, sizeof(*out));
	if (rc == 0) {
		rc = doc_load(&d, f->path, 0);
		if ((rc == 0 || rc == -EFBIG) &&
		    resolv_conf_judge(d.text, d.len).kind != RESOLV_THEIRS)
			rc = doc_load(&d, f->backup, 0);
		if (rc == 0 || rc == -EFBIG)
			resolv_conf_parse(out, d.text, d.len);
		if (rc == -EFBIG)
			rc = 0;
	}
	free(d.text);
	return rc;
}
