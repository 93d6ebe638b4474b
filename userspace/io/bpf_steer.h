/* SPDX-License-Identifier: Apache-2.0
 *
 * Which processor receives: where the interface's queue is served (receive-side scaling, or RPS),
 * or by CPUMAP the one of the packet's path; and whether what is user space's goes there through
 * the kernel's stack or around it, by AF_XDP (xsk_rx.h has the sockets). What fits an interface is
 * a pure function here. */
#ifndef PENSTOCK_IO_BPF_STEER_H
#define PENSTOCK_IO_BPF_STEER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bpf_steer {
	BPF_STEER_AUTO,
	BPF_STEER_RSS,	  /* the queue's processor, or RPS's */
	BPF_STEER_CPUMAP, /* the path's processor */
	BPF_STEER_BUSY,	  /* CPUMAP for busy paths, the queue's processor for others */
	BPF_STEER_XSK,	  /* the queue's, and on to user space by AF_XDP */
};

#define BPF_STEER_WHY 120

struct bpf_steer_facts {
	uint32_t rx_queues; /* 0: the driver does not say */
	uint32_t cpus;	    /* we may run on */
	bool rps;	    /* the interface's receiving is spread by RPS */
	bool xdp;	    /* there is a receive program at all */
	bool generic;	    /* it runs after RPS */
	bool kernel;	    /* metadata survives this kernel's CPUMAP */
	bool workers;	    /* user space has threads that could read AF_XDP sockets */
};

/* Anything but AUTO; why (BPF_STEER_WHY bytes) says what decided. */
enum bpf_steer bpf_steer_choose(enum bpf_steer asked, const struct bpf_steer_facts *f, char *why);
const char *bpf_steer_name(enum bpf_steer s);
#endif
