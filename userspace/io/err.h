/* SPDX-License-Identifier: Apache-2.0
 *
 * How io/ reports a failure: a negative errno for the program, one sentence with the field (file,
 * interface, address) for the operator. No secret ever goes into a message. */
#ifndef PENSTOCK_IO_ERR_H
#define PENSTOCK_IO_ERR_H

struct io_err {
	char msg[200]; /* a truncated sentence is still a sentence; always terminated */
};

/* Write the sentence (err may be NULL) and return rc, so that a failing line is one line. */
int io_fail(struct io_err *err, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#endif
