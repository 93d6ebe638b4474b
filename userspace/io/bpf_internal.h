/* SPDX-License-Identifier: Apache-2.0
 *
 * What bpf_load and bpf_relay (objects, maps), bpf_attach (hooks) and bpf_pin (names in bpffs,
 * leftovers) share. For these files alone. */
#ifndef PENSTOCK_IO_BPF_INTERNAL_H
#define PENSTOCK_IO_BPF_INTERNAL_H
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xdp/libxdp.h>
#include "io/bpf_load.h"

#define BPF_INSTANCE_MAX 31
#define BPF_PATH_MAX	 128

/* One program at one interface's traffic-control hook. */
struct bpf_tc {
	int ifindex;
	bool egress;
	int link_fd;	  /* TCX; -1: not */
	bool clsact;	  /* a filter; or nothing when both are unset */
	bool clsact_made; /* the qdisc is ours too */
};

struct bpf_load {
	struct bpf_load_cfg cfg;
	char instance[BPF_INSTANCE_MAX + 1];
	struct bpf_object *obj;
	const char *xdp_name; /* of the object's XDP program */
	const char
		*tc_name; /* of another that must have been loaded with it; NULL: there is none */
	bool plain;
	enum bpf_steer steer;	  /* settled: which programs and maps there are */
	struct xdp_program *xdp;  /* dispatcher: owns obj */
	bool xdp_on[BPF_WAN_MAX]; /* attached by the dispatcher */
	enum xdp_attach_mode xdp_mode[BPF_WAN_MAX];
	int xdp_link[BPF_WAN_MAX]; /* single: -1 when not attached */
	struct bpf_tc wan_tc[BPF_WAN_MAX];
	struct bpf_tc tun_tc;
	struct bpf_tables tables;
	struct bpf_load_info info;
};

/* What libbpf or libxdp said first since the last reset, for messages. */
void bpf_said_reset(void);
const char *bpf_said(void);

/* bpf_load.c */
void bpf_say_init(void);
bool bpf_instance_plain(const char *name);
bool bpf_env_set(const char *name);
/* Instance, interfaces, descriptors that are not open; b is zeroed, cfg is set. */
void bpf_load_init(struct bpf_load *b);
/* An mmapable array of the object, mapped; NULL: errno. */
void *bpf_map_share(const struct bpf_load *b, const char *name, size_t entries, size_t size);
void bpf_map_unshare(void *p, size_t entries, size_t size);
void bpf_info_fill(struct bpf_load *b);
int bpf_counts_read(int fd, struct ps_reason_count out[PS_R_COUNT]);

/* bpf_attach.c: 0 or -errno. */
int bpf_attach_dispatcher(struct bpf_load *b, struct bpf_object *obj, char *why, size_t why_cap);
int bpf_attach_single(struct bpf_load *b, struct io_err *err);
int bpf_attach_tc(struct bpf_load *b, struct io_err *err);
bool bpf_is_veth(int ifindex);
void bpf_detach_xdp(struct bpf_load *b);
void bpf_detach_tc(struct bpf_load *b);
/* Remove filters and dispatcher members whose program has one of these ids, on every interface. */
void bpf_detach_stale(const uint32_t *prog_id, size_t len);

/* bpf_steer.c */
void bpf_steer_decide(struct bpf_load *b);
/* This kernel takes no part of it after all. */
void bpf_steer_refused(struct bpf_load *b, const char *why);
/* Are frames handed to other processors' threads? */
bool bpf_steer_by_cpumap(enum bpf_steer s);
/* The XDP program of the interfaces. */
const char *bpf_steer_program(enum bpf_steer s);
/* Which programs and maps of the opened object there are to be. */
int bpf_steer_prepare(struct bpf_object *obj, enum bpf_steer steer);
/* In the loaded object: the processors' threads, and which slot is whose; or the interfaces.
 * -ESRCH: nobody asked for threads, and they cannot be given priority. */
int bpf_steer_fill(const struct bpf_load *b, const struct bpf_object *obj);
void bpf_steer_empty(const struct bpf_object *obj);

/* bpf_pin.c */
int bpf_pin_mount(struct io_err *err);
void bpf_pin_dir(const char *instance, char out[BPF_PATH_MAX]);
/* Pin maps (never keys or packet scratch), programs and the WAN's TC links. */
int bpf_pin_all(struct bpf_load *b, struct io_err *err);
void bpf_pin_remove(const char *instance);
#endif
