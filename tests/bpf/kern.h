/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel programs in a test's hands: load either object with small tables, write the table,
 * run a packet by BPF_PROG_TEST_RUN, read counters back. Nothing is attached to any device. */
#ifndef PENSTOCK_TESTS_KERN_H
#define PENSTOCK_TESTS_KERN_H
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "abi/maps.h"
#include "plan/verdict.h"
#include "penstock.skel.h"
#include "penstock_plain.skel.h"
#include "tests/bpf/kver.h"
#include "tests/t.h"

#define KERN_SESSIONS 16
#define KERN_PEERS    16
#define KERN_FLOWS    1024
#define KERN_SLOT(i)  ((uint32_t)(i) & (KERN_SESSIONS - 1))
#define KERN_LO	      1 /* the loopback device: exists in every namespace */

/* Sizes of the tables: a test of large ones sets them before it opens. Sessions: a power of two. */
static uint32_t kern_sessions = KERN_SESSIONS, kern_peers = KERN_PEERS, kern_flows = KERN_FLOWS;

struct kern {
	struct bpf_object *obj;
	int wan_rx, wan_steer, wan_busy, wan_cpu, wan_xsk, wan_in, tun_out, key_set;
	int flow_in, flow_out, channel, reason, key, alive;
	struct ps_session *session;
	struct ps_replay *replay;
	struct ps_peer *peer;
	struct ps_config *config;
	int cpus;
	bool plain;    /* the object for older kernels, asked for or all there is */
	char why[160]; /* why it did not open */
};

struct kern_run {
	uint32_t retval;
	uint32_t duration_ns;
	uint8_t out[4096];
	size_t out_len;
	enum ps_reason_id
		id; /* the one reason counted during the run, PS_R_COUNT: none or several */
};

static const char *const kern_reason_name[PS_R_COUNT] = {
#define KERN_NAME(name, text, verdict, what) text,
	PS_REASONS(KERN_NAME)
#undef KERN_NAME
};

static inline int kern_quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
	return 0;
}

static inline int kern_print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, ap) : 0;
}

static inline int kern_fd(struct kern *k, const char *map)
{
	return bpf_object__find_map_fd_by_name(k->obj, map);
}

static inline void *kern_mmap(struct kern *k, const char *map, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = mmap(NULL, (len + page - 1) / page * page, PROT_READ | PROT_WRITE, MAP_SHARED,
		       kern_fd(k, map), 0);

	return p == MAP_FAILED ? NULL : p;
}

static inline int kern_prog(struct kern *k, const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(k->obj, name);

	return p ? bpf_program__fd(p) : -1;
}

static inline void kern_size(struct kern *k, const char *map, uint32_t entries)
{
	bpf_map__set_max_entries(bpf_object__find_map_by_name(k->obj, map), entries);
}

/* Where the tunnel device's packets begin: 14 for BPF_PROG_TEST_RUN, 0 on a real device. */
static inline void kern_set_l2(struct kern *k, uint32_t l2_len)
{
	struct bpf_map *map;
	size_t len;

	for (map = bpf_object__next_map(k->obj, NULL); map;
	     map = bpf_object__next_map(k->obj, map)) {
		if (strstr(bpf_map__name(map), ".rodata"))
			memcpy((char *)(uintptr_t)bpf_map__initial_value(map, &len) +
				       offsetof(struct penstock_bpf__rodata, ps_tun_l2_len),
			       &l2_len, sizeof(l2_len));
	}
}

/* The programs of steering are not for kernels that the loader does not steer on. */
static inline void kern_steering(struct kern *k)
{
	static const char *const names[] = {"ps_wan_steer", "ps_wan_busy", "ps_wan_cpu"};

	for (size_t i = 0; i < 3 && !kver_steers(); i++)
		bpf_program__set_autoload(bpf_object__find_program_by_name(k->obj, names[i]),
					  false);
}

/* 0, or -errno with k->why. plain: the object for older kernels. */
static inline int kern_open(struct kern *k, bool plain, uint32_t l2_len)
{
	const void *elf;
	size_t len;
	int rc;

	memset(k, 0, sizeof(*k));
	k->plain = plain;
	libbpf_set_print(kern_quiet);
	if (getenv("V"))
		libbpf_set_print(kern_print);
	elf = plain ? penstock_plain_bpf__elf_bytes(&len) : penstock_bpf__elf_bytes(&len);
	k->obj = bpf_object__open_mem(elf, len, NULL);
	if (!k->obj) {
		snprintf(k->why, sizeof(k->why), "cannot open the object: %s", strerror(errno));
		return -errno;
	}
	kern_size(k, "ps_session", kern_sessions);
	kern_size(k, "ps_replay", kern_sessions);
	kern_size(k, "ps_key", kern_sessions);
	kern_size(k, "ps_peer", kern_peers);
	kern_size(k, "ps_flow_in", kern_flows);
	kern_size(k, "ps_flow_out", kern_flows);
	kern_size(k, "ps_cpu", (uint32_t)libbpf_num_possible_cpus());
	kern_steering(k);
	kern_set_l2(k, l2_len);
	rc = bpf_object__load(k->obj);
	if (rc) {
		snprintf(k->why, sizeof(k->why), "bpf(2) refused the programs: %s", strerror(-rc));
		bpf_object__close(k->obj);
		k->obj = NULL;
		return rc;
	}
	k->wan_rx = kern_prog(k, "ps_wan_rx");
	k->wan_steer = kern_prog(k, "ps_wan_steer");
	k->wan_busy = kern_prog(k, "ps_wan_busy");
	k->wan_cpu = kern_prog(k, "ps_wan_cpu");
	k->wan_xsk = kern_prog(k, "ps_wan_xsk");
	k->wan_in = kern_prog(k, "ps_wan_in");
	k->tun_out = kern_prog(k, "ps_tun_out");
	k->key_set = kern_prog(k, "ps_key_set");
	k->flow_in = kern_fd(k, "ps_flow_in");
	k->flow_out = kern_fd(k, "ps_flow_out");
	k->channel = kern_fd(k, "ps_channel");
	k->reason = kern_fd(k, "ps_reason");
	k->key = kern_fd(k, "ps_key");
	k->alive = kern_fd(k, "ps_alive");
	k->session = kern_mmap(k, "ps_session", kern_sessions * sizeof(*k->session));
	k->replay = kern_mmap(k, "ps_replay", kern_sessions * sizeof(*k->replay));
	k->peer = kern_mmap(k, "ps_peer", kern_peers * sizeof(*k->peer));
	k->config = kern_mmap(k, "ps_config", sizeof(*k->config));
	k->cpus = libbpf_num_possible_cpus();
	if (!k->session || !k->replay || !k->peer || !k->config || k->cpus <= 0) {
		snprintf(k->why, sizeof(k->why), "cannot map the tables: %s", strerror(errno));
		return -EINVAL;
	}
	return 0;
}

static inline void kern_close(struct kern *k)
{
	if (k->obj)
		bpf_object__close(k->obj);
	k->obj = NULL;
}

/* Load; older kernels get the object for them, as from the daemon. Skip the running test, or fail
 * it when the programs should have loaded. */
static inline bool kern_ready(struct kern *k, bool plain, uint32_t l2_len)
{
	int rc = kern_open(k, plain || kver_plain_only(), l2_len);

	if (!rc)
		return true;
	if (rc == -EPERM || rc == -ENOSYS) {
		t_skip(k->why);
		return false;
	}
	t_note("%s", k->why);
	T(rc == 0);
	return false;
}

static inline uint64_t kern_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A time that is over for the programs as well, whose clock may be a tick behind. */
static inline uint64_t kern_past(void)
{
	return kern_now() - 20000000;
}

static inline int kern_set_keys(struct kern *k, uint32_t slot, const uint8_t *recv_key,
				const uint8_t *send_key)
{
	struct ps_key_args a = {.slot = slot, .set = recv_key != NULL};
	LIBBPF_OPTS(bpf_test_run_opts, o, .ctx_in = &a, .ctx_size_in = sizeof(a));
	static const struct ps_key_args zero;
	int rc;

	if (recv_key) {
		memcpy(a.recv, recv_key, 32);
		memcpy(a.send, send_key, 32);
	}
	rc = bpf_prog_test_run_opts(k->key_set, &o);
	if (rc)
		return rc;
	T(!memcmp(a.recv, zero.recv, 32) && !memcmp(a.send, zero.send, 32));
	return (int)o.retval;
}

static inline int kern_set_alive(struct kern *k, uint32_t ifindex)
{
	uint32_t zero = 0;

	return ifindex ? bpf_map_update_elem(k->alive, &zero, &ifindex, 0)
		       : bpf_map_delete_elem(k->alive, &zero);
}

/* Packets counted per reason, all CPUs. */
static inline void kern_counts(struct kern *k, uint64_t count[PS_R_COUNT])
{
	struct ps_reason_count per_cpu[256];

	for (uint32_t id = 0; id < PS_R_COUNT; id++) {
		count[id] = 0;
		if (k->cpus > 256 || bpf_map_lookup_elem(k->reason, &id, per_cpu))
			continue;
		for (int c = 0; c < k->cpus; c++)
			count[id] += per_cpu[c].packets;
	}
}

/* Clear the counters: reading one run's reason is then reading the only one that is not 0. */
static inline void kern_counts_clear(struct kern *k)
{
	static const struct ps_reason_count zero[256];

	for (uint32_t id = 0; id < PS_R_COUNT; id++)
		bpf_map_update_elem(k->reason, &id, zero, BPF_ANY);
}

/* Run one packet; ctx (may be NULL) is an xdp_md or __sk_buff. The program's one counted reason is
 * in r->id. */
static inline int kern_run(struct kern *k, int prog, const void *pkt, size_t len, void *ctx,
			   size_t ctx_len, struct kern_run *r)
{
	uint64_t before[PS_R_COUNT], after[PS_R_COUNT];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = pkt, .data_size_in = (uint32_t)len,
		    .data_out = r->out, .data_size_out = sizeof(r->out), .repeat = 1);
	unsigned changed = 0;
	int rc;

	if (ctx) {
		o.ctx_in = ctx;
		o.ctx_size_in = (uint32_t)ctx_len;
		o.ctx_out = ctx;
		o.ctx_size_out = (uint32_t)ctx_len;
	}
	kern_counts(k, before);
	rc = bpf_prog_test_run_opts(prog, &o);
	if (rc)
		return rc;
	kern_counts(k, after);
	r->retval = o.retval;
	r->duration_ns = o.duration;
	r->out_len = o.data_size_out;
	r->id = PS_R_COUNT;
	for (int id = 0; id < PS_R_COUNT; id++) {
		if (after[id] == before[id])
			continue;
		changed += (unsigned)(after[id] - before[id]);
		r->id = (enum ps_reason_id)id;
	}
	if (changed != 1)
		r->id = PS_R_COUNT;
	return 0;
}
#endif
