/* SPDX-License-Identifier: Apache-2.0
 *
 * Files the daemons own or trust: secrets (permissions checked before a byte is read), identity
 * files, and whole-file replacement that a crash cannot tear. */
#ifndef PENSTOCK_IO_FILE_H
#define PENSTOCK_IO_FILE_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "io/err.h"

#define FILE_ID_LEN	65 /* 64 hex digits and a NUL */
#define FILE_SECRET_MAX 4096

/* Read a secret: a regular file (not a link's surprise: the opened file is what is checked) owned
 * by uid 0 and gid 0 with no permission beyond 0600, trailing white space cut, NUL-terminated; *len
 * without the NUL. 0; -ENOENT; -EPERM when owner or mode are too open (err names the file, what was
 * found and what is required); -ENODATA when empty; -EFBIG when it does not fit cap; else -errno.
 * out is wiped on failure; the caller wipes it after use. */
int file_read_secret(const char *path, char *out, size_t cap, size_t *len, struct io_err *err);
/* Read a plain file, NUL-terminated, at most cap - 1 bytes. 0, -EFBIG or -errno. */
int file_read(const char *path, char *out, size_t cap, size_t *len, struct io_err *err);
/* Replace path by way of a temporary neighbour, fsync and rename. 0 or -errno. */
int file_write_atomic(const char *path, mode_t mode, const void *data, size_t len,
		      struct io_err *err);
/* mkdir -p; an existing directory keeps its mode. */
int file_mkdirs(const char *path, mode_t mode, struct io_err *err);
/* The identity in path: {"id":"…"} or, as older installations have it, the bare text. When there is
 * no file, one is made (directory 0770, file 0640) with a new identity: the hex SHA-256 of a random
 * UUID's text. 0; -EINVAL when the file holds neither form or an id longer than 64 characters or
 * with anything but [0-9A-Za-z_-] in it; else -errno. */
int file_identity(const char *path, char id[FILE_ID_LEN], struct io_err *err);
#endif
