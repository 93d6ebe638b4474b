/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay's object: loaded, sized, mapped, pinned, attached. Its hooks and names are bpf_attach's
 * and bpf_pin's; its entries bpf_relay_sync's. */
#include "io/bpf_relay.h"
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "io/bpf_relay_internal.h"
#include "relay.skel.h"

/* ---- configuration ------------------------------------------------------------------------------
 */

static int cfg_check(const struct bpf_relay_cfg *cfg, struct io_err *err)
{
	if (!bpf_instance_plain(cfg->instance))
		return io_fail(err, -EINVAL, "instance '%.40s' is no plain name",
			       cfg->instance ? cfg->instance : "");
	if (!cfg->if_len || cfg->if_len > BPF_WAN_MAX)
		return io_fail(err, -EINVAL, "%zu interfaces for the relay's switch: 1 to %d",
			       cfg->if_len, BPF_WAN_MAX);
	if (!cfg->bindings || cfg->bindings > UINT32_MAX / 2)
		return io_fail(err, -EINVAL, "table of %u bindings", cfg->bindings);
	if (!cfg->listen_port)
		return io_fail(err, -EINVAL, "no port for the relay's switch");
	if ((cfg->own4.family && cfg->own4.family != 4) ||
	    (cfg->own6.family && cfg->own6.family != 6) || (!cfg->own4.family && !cfg->own6.family))
		return io_fail(err, -EINVAL, "no address for the relay's switch");
	return 0;
}

static bool name_of(int ifindex, struct ifreq *req)
{
	*req = (struct ifreq){0};
	return if_indextoname((unsigned)ifindex, req->ifr_name) != NULL;
}

static int mtu_of(int fd, int ifindex)
{
	struct ifreq req;

	if (!name_of(ifindex, &req) || ioctl(fd, SIOCGIFMTU, &req) < 0)
		return -errno;
	return req.ifr_mtu;
}

/* What depends on the interfaces: the smallest MTU, and whether native mode does any good. A veth
 * throws away what a native program sends, unless its peer has a program as well, and its peer
 * loses segmentation offload, which costs bulk most of its speed; so `auto` takes generic mode
 * there. */
static int devices_look(struct bpf_relay *r, const struct bpf_relay_cfg *cfg, struct io_err *err)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), least = UINT16_MAX, mtu = 0;

	if (fd < 0)
		return io_fail(err, -errno, "socket: %s", strerror(errno));
	for (size_t i = 0; i < cfg->if_len && mtu >= 0; i++) {
		mtu = mtu_of(fd, cfg->ifindex[i]);
		if (mtu < least)
			least = mtu;
		if (cfg->xdp_mode == BPF_XDP_AUTO && bpf_is_veth(cfg->ifindex[i])) {
			r->load.cfg.xdp_mode = BPF_XDP_GENERIC;
			strcpy(r->load.info.wan[i].why,
			       "native: takes a veth's other end its offloads");
		}
	}
	close(fd);
	if (mtu < 0)
		return io_fail(err, mtu, "MTU of an interface: %s", strerror(-mtu));
	r->info.mtu = cfg->mtu ? cfg->mtu : (uint16_t)least;
	return 0;
}

/* ---- object -------------------------------------------------------------------------------------
 */

/* Opened, sized, not loaded. NULL: errno. */
static struct bpf_object *object_open(uint32_t bindings)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "penstock_relay");
	static const struct {
		const char *name;
		uint32_t per_binding;
	} maps[] = {{"ps_turn_chan4", 1},
		    {"ps_turn_chan6", 1},
		    {"ps_turn_peer4", 1},
		    {"ps_turn_peer6", 1},
		    {"ps_turn_stat", 2}};
	size_t len = 0;
	const void *elf = relay_bpf__elf_bytes(&len);
	struct bpf_object *obj = bpf_object__open_mem(elf, len, &opts);
	int rc = 0;

	if (!obj)
		return NULL;
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps) && rc == 0; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(obj, maps[i].name);

		rc = map ? bpf_map__set_max_entries(map, bindings * maps[i].per_binding) : -ENOENT;
	}
	if (rc < 0) {
		bpf_object__close(obj);
		errno = -rc;
		return NULL;
	}
	return obj;
}

static int object_load(struct bpf_relay *r, struct io_err *err)
{
	struct bpf_load *b = &r->load;
	int rc;

	bpf_said_reset();
	b->obj = object_open(r->bindings);
	rc = b->obj ? bpf_object__load(b->obj) : -errno;
	if (rc == 0)
		return 0;
	bpf_object__close(b->obj);
	b->obj = NULL;
	if (rc == -EPERM)
		return io_fail(err, rc, "loading the relay's switch: not permitted (%.100s)",
			       bpf_said());
	return io_fail(err, rc == -ENOTSUP ? -EOPNOTSUPP : rc,
		       "loading the relay's switch: %s (%.120s)", strerror(-rc), bpf_said());
}

/* Beside other programs, when libxdp can; it needs an object of its own for that. */
static void dispatcher_try(struct bpf_relay *r)
{
	struct bpf_load *b = &r->load;
	char why[120] = "";
	struct bpf_object *obj;

	if (b->cfg.force_single || bpf_env_set("PENSTOCK_XDP_SINGLE"))
		return;
	obj = object_open(r->bindings);
	if (!obj)
		return;
	bpf_said_reset();
	if (bpf_attach_dispatcher(b, obj, why, sizeof(why)) == 0) {
		bpf_object__close(b->obj);
		b->obj = obj;
		return;
	}
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		char *said = b->info.wan[i].why;
		size_t at = strlen(said);

		snprintf(said + at, sizeof(b->info.wan[i].why) - at, "%sdispatcher: %.60s",
			 at ? "; " : "", why);
	}
}

/* ---- memory -------------------------------------------------------------------------------------
 */

static int tables_share(struct bpf_relay *r, const struct bpf_relay_cfg *cfg, struct io_err *err)
{
	struct ps_turn_cfg *c;

	r->stat = bpf_map_share(&r->load, "ps_turn_stat", 2u * (size_t)r->bindings,
				sizeof(*r->stat));
	r->port = bpf_map_share(&r->load, "ps_turn_port", 1, sizeof(*r->port));
	r->cfg = c = bpf_map_share(&r->load, "ps_turn_cfg", 1, sizeof(*r->cfg));
	r->way = bpf_map_share(&r->load, "ps_turn_way", 2, sizeof(*r->way));
	if (!r->stat || !r->port || !r->cfg || !r->way)
		return io_fail(err, -errno, "mapping the relay's tables: %s", strerror(errno));
	r->chan_fd[0] = bpf_load_map_fd(&r->load, "ps_turn_chan4");
	r->chan_fd[1] = bpf_load_map_fd(&r->load, "ps_turn_chan6");
	r->peer_fd[0] = bpf_load_map_fd(&r->load, "ps_turn_peer4");
	r->peer_fd[1] = bpf_load_map_fd(&r->load, "ps_turn_peer6");
	c->abi = PS_TURN_ABI_VERSION;
	c->mtu = r->info.mtu;
	c->listen_port = ps_be16(cfg->listen_port);
	memcpy(c->own4, cfg->own4.b, sizeof(c->own4));
	memcpy(c->own6, cfg->own6.b, sizeof(c->own6));
	c->hop = (uint8_t)cfg->hop;
	memcpy(c->hop_mac, cfg->hop_mac, sizeof(c->hop_mac));
	return 0;
}

static void tables_unshare(struct bpf_relay *r)
{
	bpf_map_unshare(r->stat, 2u * (size_t)r->bindings, sizeof(*r->stat));
	bpf_map_unshare(r->port, 1, sizeof(*r->port));
	bpf_map_unshare(r->cfg, 1, sizeof(*r->cfg));
	bpf_map_unshare(r->way, 2, sizeof(*r->way));
}

static void info_fill(struct bpf_relay *r, enum ps_turn_hop hop)
{
	static const char *const hops[] = {[PS_TURN_HOP_SWAP] = "swap",
					   [PS_TURN_HOP_MAC] = "mac",
					   [PS_TURN_HOP_FIB] = "fib",
					   [PS_TURN_HOP_AUTO] = "auto"};
	const struct bpf_load_info *from = &r->load.info;
	struct bpf_relay_info *info = &r->info;

	bpf_info_fill(&r->load);
	memcpy(info->wan, from->wan, sizeof(info->wan));
	info->wan_len = from->wan_len;
	info->prog = from->prog[0];
	memcpy(info->pin_dir, from->pin_dir, sizeof(info->pin_dir));
	info->memory_bytes = from->memory_bytes;
	info->hop = hops[hop];
}

/* Who may have made the frames. */
static uint8_t frames_look(const struct bpf_relay *r)
{
	uint8_t flags = 0;

	for (size_t i = 0; i < r->info.wan_len; i++) {
		if (!strcmp(r->info.wan[i].xdp_mode, "generic"))
			flags |= PS_TURN_GENERIC | PS_TURN_LOCAL;
		if (bpf_is_veth(r->info.wan[i].ifindex))
			flags |= PS_TURN_LOCAL;
	}
	return flags;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static struct bpf_relay *relay_alloc(const struct bpf_relay_cfg *cfg)
{
	struct bpf_relay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->bindings = cfg->bindings;
	r->own[0] = cfg->own4;
	r->own[1] = cfg->own6;
	r->known[0] = cfg->public4;
	r->known[1] = cfg->public6;
	r->load.cfg = (struct bpf_load_cfg){.instance = cfg->instance,
					    .wan_len = cfg->if_len,
					    .xdp_mode = cfg->xdp_mode,
					    .force_single = cfg->force_single};
	memcpy(r->load.cfg.wan_ifindex, cfg->ifindex, sizeof(r->load.cfg.wan_ifindex));
	r->load.xdp_name = "ps_relay";
	bpf_load_init(&r->load);
	return r;
}

int bpf_relay_open(struct bpf_relay **out, const struct bpf_relay_cfg *cfg, struct io_err *err)
{
	struct bpf_relay *r;
	int rc = cfg_check(cfg, err);

	*out = NULL;
	if (rc < 0)
		return rc;
	bpf_say_init();
	r = relay_alloc(cfg);
	if (!r)
		return io_fail(err, -ENOMEM, "no memory for the relay's switch");
	rc = devices_look(r, cfg, err);
	if (rc == 0)
		rc = bpf_pin_mount(err);
	if (rc == 0) {
		bpf_load_clean(r->load.instance, NULL);
		rc = object_load(r, err);
	}
	if (rc == 0) {
		dispatcher_try(r);
		rc = tables_share(r, cfg, err);
	}
	if (rc == 0)
		rc = bpf_pin_all(&r->load, err);
	if (rc == 0 && !r->load.xdp)
		rc = bpf_attach_single(&r->load, err);
	if (rc < 0) {
		bpf_relay_close(r);
		return rc;
	}
	info_fill(r, cfg->hop);
	PS_WRITE_ONCE(r->cfg->flags, frames_look(r));
	*out = r;
	return 0;
}

void bpf_relay_close(struct bpf_relay *r)
{
	if (!r)
		return;
	if (r->cfg)
		bpf_relay_pause(r);
	bpf_detach_xdp(&r->load);
	bpf_pin_remove(r->load.instance);
	tables_unshare(r);
	if (r->load.xdp)
		xdp_program__close(r->load.xdp);
	bpf_object__close(r->load.obj);
	free(r);
}

void bpf_relay_alive(struct bpf_relay *r, uint64_t now)
{
	__atomic_store_n(&r->cfg->alive_until_ns, now + BPF_RELAY_ALIVE_NS, __ATOMIC_RELEASE);
}

void bpf_relay_pause(struct bpf_relay *r)
{
	__atomic_store_n(&r->cfg->alive_until_ns, 0, __ATOMIC_RELEASE);
}

const struct bpf_relay_info *bpf_relay_info(const struct bpf_relay *r)
{
	return &r->info;
}
