/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls on the maps, and the one program that is run rather than attached. */
#include "io/bpf_sync.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "io/bpf_internal.h"

#define BATCH_FIRST 256 /* entries a bpf_map_lookup_batch; grown when a hash bucket holds more */
#define BATCH_MAX   65536

static const char *flow_map(enum bpf_dir dir)
{
	return dir == BPF_FLOW_IN ? "ps_flow_in" : "ps_flow_out";
}

/* ---- keys ---------------------------------------------------------------------------------------
 */

static int key_run(struct bpf_load *b, struct ps_key_args *args)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(*args));
	int fd = bpf_load_prog_fd(b, "ps_key_set"), rc;

	rc = bpf_prog_test_run_opts(fd, &opts) < 0 ? -errno : (int)opts.retval;
	sodium_memzero(args, sizeof(*args));
	return rc;
}

int bpf_key_set(struct bpf_load *b, uint32_t slot, const uint8_t recv[32], const uint8_t send[32])
{
	struct ps_key_args args = {.slot = slot, .set = 1};

	memcpy(args.recv, recv, sizeof(args.recv));
	memcpy(args.send, send, sizeof(args.send));
	return key_run(b, &args);
}

int bpf_key_wipe(struct bpf_load *b, uint32_t slot)
{
	struct ps_key_args args = {.slot = slot};

	return key_run(b, &args);
}

/* ---- flows --------------------------------------------------------------------------------------
 */

int bpf_flow_put(struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key,
		 const struct ps_flow *flow)
{
	return bpf_map_update_elem(bpf_load_map_fd(b, flow_map(dir)), key, flow, BPF_ANY) < 0
		       ? -errno
		       : 0;
}

int bpf_flow_get(struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key,
		 struct ps_flow *out)
{
	return bpf_map_lookup_elem(bpf_load_map_fd(b, flow_map(dir)), key, out) < 0 ? -errno : 0;
}

int bpf_flow_del(struct bpf_load *b, enum bpf_dir dir, const struct ps_flow_key *key)
{
	if (bpf_map_delete_elem(bpf_load_map_fd(b, flow_map(dir)), key) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

struct batch {
	struct ps_flow_key *key;
	struct ps_flow *flow;
	uint32_t cap;
};

static int batch_size(struct batch *batch, uint32_t cap)
{
	free(batch->key);
	free(batch->flow);
	batch->key = calloc(cap, sizeof(*batch->key));
	batch->flow = calloc(cap, sizeof(*batch->flow));
	batch->cap = cap;
	return batch->key && batch->flow ? 0 : -ENOMEM;
}

static int batch_walk(struct bpf_load *b, enum bpf_dir dir, struct batch *batch, bpf_flow_fn fn,
		      void *arg)
{
	int fd = bpf_load_map_fd(b, flow_map(dir));
	uint32_t in = 0, out = 0;
	bool first = true;

	for (;;) {
		uint32_t count = batch->cap;
		int e = bpf_map_lookup_batch(fd, first ? NULL : &in, &out, batch->key, batch->flow,
					     &count, NULL) < 0
				? errno
				: 0;

		if (e == ENOSPC && batch->cap < BATCH_MAX) {
			if (batch_size(batch, batch->cap * 4) < 0)
				return -ENOMEM;
			continue;
		}
		if (e && e != ENOENT)
			return -e;
		for (uint32_t i = 0; i < count; i++)
			if (!fn(arg, &batch->key[i], &batch->flow[i]))
				bpf_flow_del(b, dir, &batch->key[i]);
		if (e == ENOENT)
			return 0;
		in = out;
		first = false;
	}
}

int bpf_flow_each(struct bpf_load *b, enum bpf_dir dir, bpf_flow_fn fn, void *arg)
{
	struct batch batch = {0};
	int rc = batch_size(&batch, BATCH_FIRST);

	if (rc == 0)
		rc = batch_walk(b, dir, &batch, fn, arg);
	free(batch.key);
	free(batch.flow);
	return rc;
}

/* ---- channels -----------------------------------------------------------------------------------
 */

int bpf_channel_set(struct bpf_load *b, const struct ps_channel_key *key,
		    const struct endpoint *peer)
{
	struct ps_channel c = {.peer_family = peer->ip.family, .peer_port = ps_be16(peer->port)};

	memcpy(c.peer, peer->ip.b, sizeof(c.peer));
	return bpf_map_update_elem(bpf_load_map_fd(b, "ps_channel"), key, &c, BPF_ANY) < 0 ? -errno
											   : 0;
}

int bpf_channel_del(struct bpf_load *b, const struct ps_channel_key *key)
{
	if (bpf_map_delete_elem(bpf_load_map_fd(b, "ps_channel"), key) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int bpf_channel_get(struct bpf_load *b, const struct ps_channel_key *key, struct ps_channel *out)
{
	return bpf_map_lookup_elem(bpf_load_map_fd(b, "ps_channel"), key, out) < 0 ? -errno : 0;
}

int bpf_channel_clear(struct bpf_load *b)
{
	int fd = bpf_load_map_fd(b, "ps_channel"), rc = 0;
	struct ps_channel_key key;

	while (rc == 0 && bpf_map_get_next_key(fd, NULL, &key) == 0)
		rc = bpf_channel_del(b, &key);
	return rc;
}

/* ---- counters -----------------------------------------------------------------------------------
 */

int bpf_counts_read(int fd, struct ps_reason_count out[PS_R_COUNT])
{
	int cpus = libbpf_num_possible_cpus(), rc = 0;
	struct ps_reason_count *per_cpu;

	memset(out, 0, PS_R_COUNT * sizeof(*out));
	if (cpus <= 0)
		return cpus < 0 ? cpus : -EINVAL;
	per_cpu = calloc((size_t)cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	for (uint32_t id = 0; id < PS_R_COUNT && rc == 0; id++) {
		if (bpf_map_lookup_elem(fd, &id, per_cpu) < 0) {
			rc = -errno;
			memset(out, 0, PS_R_COUNT * sizeof(*out));
			break;
		}
		for (int c = 0; c < cpus; c++) {
			out[id].packets += per_cpu[c].packets;
			out[id].bytes += per_cpu[c].bytes;
		}
	}
	free(per_cpu);
	return rc;
}

int bpf_reasons_read(struct bpf_load *b, struct ps_reason_count out[PS_R_COUNT])
{
	return bpf_counts_read(bpf_load_map_fd(b, "ps_reason"), out);
}
