/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts behind dns_control.h: resolv.conf as a file, the watch over files, systemd-resolved.
 * Each stands alone; dns_control.c joins them. */
#ifndef PENSTOCK_IO_DNS_INTERNAL_H
#define PENSTOCK_IO_DNS_INTERNAL_H
#include <limits.h>
#include "io/dns_control.h"

/* ---- dns_resolvconf.c ----
 * Steps of taking over: backup written, synced and locked; then the file exchanged for ours in one
 * rename. Of giving back: the file exchanged; then the backup removed. So whenever the file has our
 * header there is a backup, and a backup beside a file without our header is of no use. The
 * backup's lock says that its process lives. */
struct dns_file {
	char path[PATH_MAX], backup[PATH_MAX], tmp[PATH_MAX];
	int lock_fd; /* of the backup, while the file is ours; else -1 */
};
int dns_file_init(struct dns_file *f, const char *path, struct io_err *err);
int dns_file_apply(struct dns_file *f, const struct dns_settings *s, struct io_err *err);
/* Also after a process that died; leaves what somebody else wrote. */
int dns_file_restore(struct dns_file *f, struct io_err *err);
/* Whose the file is now; no file is theirs. */
enum resolv_kind dns_file_kind(const struct dns_file *f);
/* The resolvers of the file, of its backup when it is ours. 0 or -errno, then empty. */
int dns_file_system(const struct dns_file *f, struct resolv_conf *out);

/* ---- dns_watch.c ----
 * Tells when the file at path may have changed, however it was: written, replaced, linked
 * elsewhere, removed. Gathers changes for a moment; looks every few seconds where inotify cannot.
 */
struct dns_watch {
	char path[PATH_MAX];
	int fd; /* inotify */
	struct loop_fd io;
	struct loop_timer timer;
	bool dirty;
	void (*cb)(void *ctx, uint64_t now);
	void *ctx;
};
int dns_watch_init(struct dns_watch *w, struct loop *l, const char *path,
		   void (*cb)(void *ctx, uint64_t now), void *ctx);
void dns_watch_fini(struct dns_watch *w); /* a zeroed one is fine */

/* ---- dns_resolved.c ---- */
struct dns_resolved;
struct dns_resolved_cfg {
	const char *bus; /* NULL: the system's */
	int ifindex;
	/* problem is "" unless the state is FAILED */
	void (*on_state)(void *ctx, enum dns_state s, const char *problem, uint64_t now);
	void (*on_system)(void *ctx, const struct resolv_conf *sys, uint64_t now);
	void *ctx;
};
int dns_resolved_open(struct dns_resolved **r, struct loop *l, const struct dns_resolved_cfg *cfg);
void dns_resolved_set(struct dns_resolved *r, const struct dns_settings *s); /* NULL: revert */
void dns_resolved_flush(struct dns_resolved *r);
void dns_resolved_refresh(struct dns_resolved *r);
void dns_resolved_close(struct dns_resolved *r);

/* ---- dns_resolved_read.c ---- m: GetAll's answer; not_link: our own. 0 or -errno. */
struct sd_bus_message;
int dns_resolved_read(struct sd_bus_message *m, int not_link, struct resolv_conf *out);
#endif
