/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the user-space executor share: data.c, data_rx.c (from the network), data_tx.c
 * (from the tunnel device). The rest of the daemon sees daemon.h.
 *
 * Both directions work in batches, each run to completion on the control thread: what one wake-up
 * brings is judged packet by packet, in order, and the cipher's work is done for many packets at
 * once. Nothing of a batch outlives the call that began it. */
#ifndef PENSTOCK_DATA_H
#define PENSTOCK_DATA_H
#include "apps/daemon/daemon.h"
#include "apps/daemon/lane.h"
#include "plan/nat.h"

#define DATA_BATCHES 4 /* batches a wake-up takes before it lets timers and signals in */

#define DATA_TCP_ENDS (0x01 | 0x02 | 0x04) /* FIN, SYN, RST */

/* Packets of one flow that follow each other, and what policy said of the first: it holds for the
 * others within a batch, where neither clock nor policy moves. */
struct data_run {
	bool on;
	enum bpf_dir dir;
	uint32_t slot;
	struct ip_meta first;
	struct tunnel_flow_grant grant;
	uint64_t packets, bytes;
};

/* Is this one more packet of the run? Only a plain segment of TCP or UDP is, of a flow whose
 * permission is the flow's. */
bool data_run_has(const struct data_run *r, uint32_t slot, const struct ip_meta *m);
/* The run ends, and begins anew with this packet and what policy said of it. */
void data_run_begin(struct daemon *d, struct data_run *r, enum bpf_dir dir, uint32_t slot,
		    const struct ip_meta *m, const struct tunnel_flow_grant *g, uint64_t now);
/* It carried so much. */
void data_run_add(struct data_run *r, uint64_t packets, uint64_t bytes);
/* Before anything that can change policy, and at the end of a batch: the flow's table learns. */
void data_run_end(struct daemon *d, struct data_run *r, uint64_t now);

/* Rewrite a whole packet as its grant says. */
void data_translate(uint8_t *pkt, const struct ip_meta *m, const struct tunnel_nat *nat,
		    enum ps_nat_dir dir);
/* Packets are about to be taken: data_drained will say when none is left. */
void data_moves(struct daemon *d);

/* What a worker has handed over: each is seen to its end, delivered or queued for sending. */
void data_take_datagram(struct daemon *d, const struct udp_dgram *g, uint64_t now);
void data_take_opened(struct daemon *d, const struct fwd_opened *o, uint8_t ecn, size_t wire_len,
		      uint64_t now);
void data_take_packet(struct daemon *d, const struct tun_pkt *p, uint64_t now);

/* An ICMP error about a refused packet into out[ICMP_ERROR_LEN_MAX], at a bounded rate; 0: none. */
size_t data_refusal(struct daemon *d, const uint8_t *pkt, const struct ip_meta *m,
		    enum icmp_error kind, uint8_t *out, uint64_t now);

/* Received datagrams that wait for the cipher. They lie in the socket's buffers, until the next
 * udp_recv. */
struct data_rx {
	struct fwd_rx job[FWD_BATCH];
	uint8_t ecn[FWD_BATCH];
	size_t n;
	struct data_run run;
};

struct data {
	struct lane lane;
	struct data_rx rx;
	struct data_run tx_run;
	bool moved; /* packets, since data_drained last said that there are none */
};
#endif
