/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects and maps. Two objects hold the same programs: one keeps keys behind typed pointers, which
 * no dump shows; the other, for kernels that refuse the first, in a plain map. */
#include "io/bpf_load.h"
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "io/bpf_internal.h"
#include "io/nl_route.h"
#include "penstock.skel.h"
#include "penstock_plain.skel.h"

#define SAID_MAX     160
#define CPU_KEEPS    128 /* most free entries of an LRU map that a CPU takes to itself */
#define KEPT_AT_MOST 64	 /* CPUs: more than that do not all make flows at once */

/* ---- what the libraries say ---------------------------------------------------------------------
 */

static char said[SAID_MAX];

void bpf_said_reset(void)
{
	said[0] = '\0';
}

const char *bpf_said(void)
{
	const char *text = said + strspn(said, " ");

	said[strcspn(said, "\n")] = '\0';
	return strncmp(text, "lib", 3) == 0 && strchr(text, ':') ? strchr(text, ':') + 2 : text;
}

__attribute__((format(printf, 1, 0))) static int say(const char *fmt, va_list ap)
{
	if (getenv("PENSTOCK_BPF_DEBUG"))
		return vfprintf(stderr, fmt, ap);
	if (said[0])
		return 0;
	return vsnprintf(said, sizeof(said), fmt, ap);
}

__attribute__((format(printf, 2, 0))) static int libbpf_say(enum libbpf_print_level level,
							    const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? say(fmt, ap) : 0;
}

__attribute__((format(printf, 2, 0))) static int libxdp_say(enum libxdp_print_level level,
							    const char *fmt, va_list ap)
{
	return level != LIBXDP_DEBUG ? say(fmt, ap) : 0;
}

void bpf_say_init(void)
{
	libbpf_set_print(libbpf_say);
	libxdp_set_print(libxdp_say);
}

/* ---- the object ---------------------------------------------------------------------------------
 */

bool bpf_env_set(const char *name)
{
	const char *v = getenv(name);

	return v && strcmp(v, "1") == 0;
}

static int map_size(struct bpf_object *obj, const char *name, uint32_t entries)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, name);

	return map ? bpf_map__set_max_entries(map, entries) : -ENOENT;
}

uint32_t bpf_flow_entries(uint32_t flows)
{
	int cpus = libbpf_num_possible_cpus();

	cpus = cpus < 1 ? 1 : cpus > KEPT_AT_MOST ? KEPT_AT_MOST : cpus;
	return flows + CPU_KEEPS * (uint32_t)cpus;
}

/* Opened, sized, not loaded. NULL: errno. */
static struct bpf_object *object_open(const struct bpf_load *b)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "penstock");
	static const char *const per_session[] = {"ps_session", "ps_replay", "ps_key"};
	static const char *const per_flow[] = {"ps_flow_in", "ps_flow_out"};
	struct bpf_object *obj;
	const void *elf;
	size_t len = 0;
	int rc = 0;

	elf = b->plain ? penstock_plain_bpf__elf_bytes(&len) : penstock_bpf__elf_bytes(&len);
	obj = bpf_object__open_mem(elf, len, &opts);
	if (!obj)
		return NULL;
	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = map_size(obj, per_session[i], b->cfg.sessions);
	for (size_t i = 0; i < 2 && rc == 0; i++)
		rc = map_size(obj, per_flow[i], bpf_flow_entries(b->cfg.flows));
	if (rc == 0)
		rc = map_size(obj, "ps_peer", b->cfg.peers);
	if (rc == 0)
		rc = map_size(obj, "ps_channel", b->cfg.channels);
	if (rc == 0)
		rc = bpf_steer_prepare(obj, b->steer);
	if (rc < 0) {
		bpf_object__close(obj);
		errno = -rc;
		return NULL;
	}
	return obj;
}

static int object_load(struct bpf_load *b)
{
	int rc;

	b->obj = object_open(b);
	if (!b->obj)
		return -errno;
	rc = bpf_object__load(b->obj);
	if (rc < 0) {
		bpf_object__close(b->obj);
		b->obj = NULL;
	}
	return rc;
}

static int flavour_choose(struct bpf_load *b, struct io_err *err)
{
	struct bpf_load_info *info = &b->info;
	int rc;

	bpf_said_reset();
	if (b->cfg.force_plain || bpf_env_set("PENSTOCK_BPF_PLAIN")) {
		snprintf(info->shown_why, sizeof(info->shown_why), "a plain key map was asked for");
	} else {
		rc = object_load(b);
		if (rc == 0) {
			info->keys_hidden = true;
			return 0;
		}
		if (rc == -EPERM)
			return io_fail(err, rc, "loading BPF programs: not permitted (%.100s)",
				       bpf_said());
		snprintf(info->shown_why, sizeof(info->shown_why),
			 "kernel refuses typed pointers in maps: %.70s", bpf_said());
	}
	bpf_said_reset();
	b->plain = true;
	rc = object_load(b);
	if (rc < 0)
		return io_fail(err, rc == -ENOTSUP ? -EOPNOTSUPP : rc,
			       "loading BPF programs: %s (%.120s)", strerror(-rc), bpf_said());
	return 0;
}

/* Steered when that was decided and the kernel takes it, never at the price of readable keys. */
static int object_choose(struct bpf_load *b, struct io_err *err)
{
	struct bpf_load_info *info = &b->info;
	int rc;

	b->xdp_name = bpf_steer_program(b->steer);
	rc = b->steer != BPF_STEER_RSS ? flavour_choose(b, err) : -ENOENT;
	if (rc == 0 && bpf_steer_by_cpumap(b->steer) && b->plain && !b->cfg.force_plain &&
	    !bpf_env_set("PENSTOCK_BPF_PLAIN"))
		rc = -EOPNOTSUPP;
	if (rc == 0)
		rc = bpf_steer_fill(b, b->obj);
	if (rc == 0 || rc == -EPERM)
		return rc;
	if (b->steer != BPF_STEER_RSS)
		bpf_steer_refused(b, rc == -ESRCH    ? "its threads cannot be given priority"
				     : bpf_said()[0] ? bpf_said()
						     : strerror(-rc));
	b->xdp_name = bpf_steer_program(b->steer);
	bpf_object__close(b->obj);
	b->obj = NULL;
	b->plain = info->keys_hidden = false;
	info->shown_why[0] = '\0';
	return flavour_choose(b, err);
}

/* Programs of a dispatcher are loaded as its extensions, so this takes a second object; when it
 * works the first is let go. Never an error: single programs do as well. */
static void dispatcher_try(struct bpf_load *b)
{
	char why[120] = "";
	struct bpf_object *obj;

	if (b->cfg.xdp_mode == BPF_XDP_OFF || !b->cfg.wan_len || b->cfg.force_single ||
	    bpf_env_set("PENSTOCK_XDP_SINGLE"))
		return;
	obj = object_open(b);
	if (!obj)
		return;
	bpf_said_reset();
	if (bpf_attach_dispatcher(b, obj, why, sizeof(why)) == 0) {
		if (b->obj)
			bpf_steer_empty(b->obj);
		bpf_object__close(b->obj);
		b->obj = obj;
		return;
	}
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		struct bpf_wan_info *w = &b->info.wan[i];
		size_t at = strlen(w->why);

		snprintf(w->why + at, sizeof(w->why) - at, "%sdispatcher: %.100s", at ? "; " : "",
			 why);
	}
}

/* ---- maps in memory -----------------------------------------------------------------------------
 */

static size_t span(size_t entries, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (entries * ((size + 7) & ~(size_t)7) + page - 1) / page * page;
}

void *bpf_map_share(const struct bpf_load *b, const char *name, size_t entries, size_t size)
{
	int fd = bpf_load_map_fd(b, name);
	void *p = fd < 0 ? MAP_FAILED
			 : mmap(NULL, span(entries, size), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				0);

	return p == MAP_FAILED ? NULL : p;
}

void bpf_map_unshare(void *p, size_t entries, size_t size)
{
	if (p)
		munmap(p, span(entries, size));
}

static int tables_share(struct bpf_load *b, struct io_err *err)
{
	struct bpf_tables *t = &b->tables;

	t->sessions = b->cfg.sessions;
	t->peers = b->cfg.peers;
	t->flows = b->cfg.flows;
	t->channels = b->cfg.channels;
	t->session = bpf_map_share(b, "ps_session", t->sessions, sizeof(*t->session));
	t->replay = bpf_map_share(b, "ps_replay", t->sessions, sizeof(*t->replay));
	t->peer = bpf_map_share(b, "ps_peer", t->peers, sizeof(*t->peer));
	t->config = bpf_map_share(b, "ps_config", 1, sizeof(*t->config));
	if (!t->session || !t->replay || !t->peer || !t->config)
		return io_fail(err, -errno, "mapping the forwarding table: %s", strerror(errno));
	t->config->abi = PS_ABI_VERSION;
	t->config->slot_mask = t->sessions - 1;
	t->config->tun_ifindex = (uint32_t)b->cfg.tun_ifindex;
	t->config->fwmark = NL_FWMARK;
	return 0;
}

static void tables_unshare(struct bpf_tables *t)
{
	bpf_map_unshare(t->session, t->sessions, sizeof(*t->session));
	bpf_map_unshare(t->replay, t->sessions, sizeof(*t->replay));
	bpf_map_unshare(t->peer, t->peers, sizeof(*t->peer));
	bpf_map_unshare(t->config, 1, sizeof(*t->config));
	*t = (struct bpf_tables){0};
}

/* ---- information --------------------------------------------------------------------------------
 */

static uint64_t map_memory(int fd)
{
	char path[64], line[128];
	uint64_t bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "memlock:", 8) == 0)
			bytes = strtoull(line + 8, NULL, 10);
	if (f)
		fclose(f);
	return bytes;
}

void bpf_info_fill(struct bpf_load *b)
{
	struct bpf_load_info *info = &b->info;
	struct bpf_program *prog;
	struct bpf_map *map;

	bpf_object__for_each_program(prog, b->obj)
	{
		struct bpf_prog_info pi = {0};
		uint32_t len = sizeof(pi);
		struct bpf_prog_stat *st = &info->prog[info->prog_len];

		if (info->prog_len == BPF_PROGS_MAX ||
		    bpf_obj_get_info_by_fd(bpf_program__fd(prog), &pi, &len) < 0)
			continue;
		snprintf(st->name, sizeof(st->name), "%.15s", bpf_program__name(prog));
		st->id = pi.id;
		st->verified_insns = pi.verified_insns;
		st->jited_len = pi.jited_prog_len;
		info->prog_len++;
	}
	bpf_object__for_each_map(map, b->obj)
	{
		uint64_t bytes = map_memory(bpf_map__fd(map));

		info->memory_bytes += bytes;
		if (strncmp(bpf_map__name(map), "ps_flow_", 8) == 0)
			info->flow_bytes += bytes;
	}
}

/* ---- life ---------------------------------------------------------------------------------------
 */

bool bpf_instance_plain(const char *name)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t len = name ? strlen(name) : 0;

	return len > 0 && len <= BPF_INSTANCE_MAX && strspn(name, plain) == len;
}

static int cfg_check(const struct bpf_load_cfg *cfg, struct io_err *err)
{
	if (!bpf_instance_plain(cfg->instance))
		return io_fail(err, -EINVAL, "instance '%.40s' is no plain name",
			       cfg->instance ? cfg->instance : "");
	if (!cfg->sessions || (cfg->sessions & (cfg->sessions - 1)) || !cfg->peers || !cfg->flows ||
	    !cfg->channels)
		return io_fail(err, -EINVAL,
			       "table sizes: %u sessions (a power of two), %u peers, %u flows, "
			       "%u channels",
			       cfg->sessions, cfg->peers, cfg->flows, cfg->channels);
	if (cfg->wan_len > BPF_WAN_MAX)
		return io_fail(err, -EINVAL, "%zu WAN interfaces are more than %d", cfg->wan_len,
			       BPF_WAN_MAX);
	return 0;
}

void bpf_load_init(struct bpf_load *b)
{
	const struct bpf_load_cfg *cfg = &b->cfg;

	snprintf(b->instance, sizeof(b->instance), "%s", cfg->instance);
	b->cfg.instance = b->instance;
	b->info.wan_len = cfg->wan_len;
	b->tun_tc.link_fd = -1;
	for (size_t i = 0; i < BPF_WAN_MAX; i++) {
		b->xdp_link[i] = -1;
		b->wan_tc[i].link_fd = -1;
	}
	for (size_t i = 0; i < cfg->wan_len; i++) {
		struct bpf_wan_info *w = &b->info.wan[i];

		w->ifindex = cfg->wan_ifindex[i];
		if (!if_indextoname((unsigned)w->ifindex, w->ifname))
			snprintf(w->ifname, sizeof(w->ifname), "?");
		strcpy(w->xdp_mode, "off");
		strcpy(w->xdp_attach, "none");
	}
	bpf_pin_dir(b->instance, b->info.pin_dir);
}

/* A native program on a veth takes segmentation offload from its other end, whoever uses that: bulk
 * through it costs several times as much, ours and everybody else's. So `auto` takes generic mode
 * there (docs/performance.md has the figures), but where AF_XDP was asked for, which needs it. */
static void veth_choose(struct bpf_load *b)
{
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		if (b->cfg.xdp_mode != BPF_XDP_AUTO || b->cfg.steer == BPF_STEER_XSK ||
		    !bpf_is_veth(b->cfg.wan_ifindex[i]))
			continue;
		b->cfg.xdp_mode = BPF_XDP_GENERIC;
		strcpy(b->info.wan[i].why, "native: takes a veth's other end its offloads");
	}
}

static struct bpf_load *load_alloc(const struct bpf_load_cfg *cfg)
{
	struct bpf_load *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->cfg = *cfg;
	b->tc_name = "ps_wan_in";
	bpf_load_init(b);
	veth_choose(b);
	bpf_steer_decide(b);
	return b;
}

int bpf_load_open(struct bpf_load **out, const struct bpf_load_cfg *cfg, struct io_err *err)
{
	struct bpf_load *b;
	int rc = cfg_check(cfg, err);

	*out = NULL;
	if (rc < 0)
		return rc;
	bpf_say_init();
	b = load_alloc(cfg);
	if (!b)
		return io_fail(err, -ENOMEM, "no memory for the BPF loader");
	if (cfg->user_only && b->steer != BPF_STEER_XSK) {
		rc = io_fail(err, -EOPNOTSUPP, "%s",
			     b->info.wan_len ? b->info.wan[0].steer_why : "no interface");
		free(b);
		return rc;
	}
	rc = bpf_pin_mount(err);
	if (rc == 0) {
		bpf_load_clean(b->instance, NULL);
		rc = object_choose(b, err);
	}
	if (rc == 0) {
		dispatcher_try(b);
		rc = tables_share(b, err);
	}
	if (rc == 0 && !cfg->user_only)
		rc = bpf_attach_tc(b, err);
	if (rc == 0)
		rc = bpf_pin_all(b, err);
	if (rc < 0) {
		bpf_load_close(b);
		return rc;
	}
	bpf_info_fill(b);
	*out = b;
	return 0;
}

int bpf_load_start(struct bpf_load *b, struct io_err *err)
{
	uint32_t zero = 0, tun = (uint32_t)b->cfg.tun_ifindex;

	if (bpf_map_update_elem(bpf_load_map_fd(b, "ps_alive"), &zero, &tun, BPF_ANY) < 0)
		return io_fail(err, -errno, "ps_alive: tunnel device %u: %s", tun, strerror(errno));
	return b->xdp || b->cfg.xdp_mode == BPF_XDP_OFF ? 0 : bpf_attach_single(b, err);
}

void bpf_load_close(struct bpf_load *b)
{
	uint32_t zero = 0;

	if (!b)
		return;
	if (b->tables.config)
		__atomic_store_n(&b->tables.config->flags, 0, __ATOMIC_SEQ_CST);
	if (b->obj)
		bpf_map_delete_elem(bpf_load_map_fd(b, "ps_alive"), &zero);
	bpf_detach_xdp(b);
	if (b->obj && bpf_steer_by_cpumap(b->steer))
		bpf_steer_empty(b->obj);
	bpf_pin_remove(b->instance);
	bpf_detach_tc(b);
	tables_unshare(&b->tables);
	if (b->xdp)
		xdp_program__close(b->xdp);
	bpf_object__close(b->obj);
	free(b);
}

struct bpf_tables *bpf_load_tables(struct bpf_load *b)
{
	return &b->tables;
}

const struct bpf_load_info *bpf_load_info(const struct bpf_load *b)
{
	return &b->info;
}

int bpf_load_map_fd(const struct bpf_load *b, const char *map_name)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(b->obj, map_name);

	return map ? bpf_map__fd(map) : -1;
}

int bpf_load_prog_fd(const struct bpf_load *b, const char *prog_name)
{
	const struct bpf_program *prog = bpf_object__find_program_by_name(b->obj, prog_name);

	return prog ? bpf_program__fd(prog) : -1;
}
