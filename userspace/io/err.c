/* SPDX-License-Identifier: Apache-2.0
 *
 * One function: the sentence that goes with an errno. */
#include "io/err.h"
#include <stdarg.h>
#include <stdio.h>

int io_fail(struct io_err *err, int rc, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return rc;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	return rc;
}
