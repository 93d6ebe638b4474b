/* SPDX-License-Identifier: Apache-2.0
 *
 * One rtnetlink request socket: send a request, collect the acknowledgement or the dump. Blocking,
 * but only on the kernel, which answers at once. What is asked is in nl_link, nl_route and nl_addr.
 */
#ifndef PENSTOCK_IO_NL_H
#define PENSTOCK_IO_NL_H
#include <stddef.h>
#include <stdint.h>
#include "io/err.h"

#define NL_BUF_LEN 32768 /* a dump part; the kernel never sends larger ones */

/* The attributes behind a family header of head_len bytes (libmnl's loop, without its narrowing).
 */
#define nl_attr_each(attr, msg, head_len)                                              \
	for ((attr) = mnl_nlmsg_get_payload_offset((msg), (head_len));                 \
	     mnl_attr_ok((attr), (int)((const char *)mnl_nlmsg_get_payload_tail(msg) - \
				       (const char *)(attr)));                         \
	     (attr) = mnl_attr_next(attr))

struct nl;
struct nlmsghdr;

/* Called for every message of a dump or reply. A negative return stops reading and is handed on. */
typedef int (*nl_msg_fn)(const struct nlmsghdr *msg, void *arg);

int nl_open(struct nl **out, struct io_err *err);
void nl_close(struct nl *nl);
/* Begin a request in the socket's own buffer: header of type and flags (NLM_F_REQUEST added),
 * zeroed family header of head_len bytes at *head. Attributes are put with libmnl. */
struct nlmsghdr *nl_begin(struct nl *nl, uint16_t type, uint16_t flags, size_t head_len,
			  void *head);
/* Send what nl_begin made; with fn, call it for each reply. 0 or the kernel's -errno. */
int nl_run(struct nl *nl, struct nlmsghdr *msg, nl_msg_fn fn, void *arg);
#endif
