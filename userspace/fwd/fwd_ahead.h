/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetching ahead: with many peers and flows nothing of the table that a packet needs is in a cache,
 * and one after the other those misses cost several times what the cipher does for a small packet.
 * So what a batch will touch is fetched a step before it is asked for, many packets at a time.
 *
 * Hints and no more: nothing is judged here, nothing is changed, any bytes and any thread will do,
 * within a section of fwd_table.h. Packets of one flow that follow each other are looked at once.
 */
#ifndef PENSTOCK_FWD_AHEAD_H
#define PENSTOCK_FWD_AHEAD_H
#include "fwd/fwd_flows.h"
#include "fwd/fwd_table.h"

#define FWD_AHEAD \
	16 /* packets a step of fwd_ahead_out, and a good distance for the first of them */

/* A data message that will be opened: session, window, key. */
void fwd_ahead_open(const struct fwd_table *t, const uint8_t *msg, size_t len);
/* Opened packets that fwd_fast_in will judge: peer, flow. */
void fwd_ahead_in(const struct fwd_table *t, const struct fwd_flows *f, const struct fwd_rx *rx,
		  size_t n);

struct fwd_ahead_pkt {
	const uint8_t *pkt;
	size_t len;
};
/* Packets that fwd_fast_out will judge, at most FWD_AHEAD: flow, peer, session, key. */
void fwd_ahead_out(const struct fwd_table *t, const struct fwd_flows *f,
		   const struct fwd_ahead_pkt *p, size_t n);
#endif
