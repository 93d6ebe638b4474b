/* SPDX-License-Identifier: Apache-2.0
 *
 * Hooks. XDP: as a member of libxdp's dispatcher, beside other programs, where the kernel has
 * program extensions; else alone, by a link that ends with the process. Traffic control: a TCX link
 * (Linux 6.6), else a clsact filter. */
#include "io/bpf_internal.h"
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Values of enum bpf_attach_type that Debian 12's headers do not have yet. */
#define ATTACH_TCX_INGRESS 46
#define ATTACH_TCX_EGRESS  47

#define TC_HANDLE   1
#define TC_PRIORITY 50

/* ---- kinds of devices
 * ----------------------------------------------------------------------------
 */

bool bpf_is_veth(int ifindex)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq req = {.ifr_data = (void *)&info};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && if_indextoname((unsigned)ifindex, req.ifr_name) &&
		   ioctl(fd, SIOCETHTOOL, &req) == 0 && strcmp(info.driver, "veth") == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

/* ---- XDP, dispatcher ----------------------------------------------------------------------------
 */

static const char *mode_name(enum xdp_attach_mode mode)
{
	return mode == XDP_MODE_SKB ? "generic" : "native";
}

/* libxdp quietly attaches a program alone when there can be no dispatcher; alone we do it
 * ourselves. */
static bool in_dispatcher(int ifindex)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex(ifindex);
	bool yes = !libxdp_get_error(mp) && !xdp_multiprog__is_legacy(mp);

	if (!libxdp_get_error(mp))
		xdp_multiprog__close(mp);
	return yes;
}

static int dispatcher_one(struct bpf_load *b, size_t i, struct xdp_program *xdp)
{
	static const enum xdp_attach_mode modes[] = {XDP_MODE_NATIVE, XDP_MODE_SKB};
	int ifindex = b->cfg.wan_ifindex[i], rc = -EINVAL;
	size_t first = b->cfg.xdp_mode == BPF_XDP_GENERIC, last = b->cfg.xdp_mode != BPF_XDP_NATIVE;

	for (size_t m = first; m <= last; m++) {
		rc = xdp_program__attach(xdp, ifindex, modes[m], 0);
		if (rc < 0)
			continue;
		b->xdp_mode[i] = modes[m];
		b->xdp_on[i] = true;
		return in_dispatcher(ifindex) ? 0 : -EOPNOTSUPP;
	}
	return rc;
}

int bpf_attach_dispatcher(struct bpf_load *b, struct bpf_object *obj, char *why, size_t why_cap)
{
	DECLARE_LIBXDP_OPTS(xdp_program_opts, opts, .obj = obj, .prog_name = b->xdp_name);
	struct xdp_program *xdp = xdp_program__create(&opts);
	int rc = (int)libxdp_get_error(xdp);

	if (rc) {
		snprintf(why, why_cap, "%s", strerror(-rc));
		bpf_object__close(obj);
		return rc;
	}
	b->xdp = xdp;
	for (size_t i = 0; i < b->cfg.wan_len && rc == 0; i++)
		rc = dispatcher_one(b, i, xdp);
	/* Loaded, so the other programs of the object are there as well? */
	if (rc == 0 && b->tc_name &&
	    bpf_program__fd(bpf_object__find_program_by_name(obj, b->tc_name)) < 0)
		rc = -EOPNOTSUPP;
	if (rc == 0)
		rc = bpf_steer_fill(b, obj);
	if (rc < 0) {
		snprintf(why, why_cap, "%s", bpf_said()[0] ? bpf_said() : strerror(-rc));
		bpf_detach_xdp(b);
		xdp_program__close(xdp);
		b->xdp = NULL;
		bpf_object__close(obj);
		return rc;
	}
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		strcpy(b->info.wan[i].xdp_attach, "dispatcher");
		strcpy(b->info.wan[i].xdp_mode, mode_name(b->xdp_mode[i]));
	}
	return 0;
}

/* ---- XDP, single --------------------------------------------------------------------------------
 */

static int single_one(struct bpf_load *b, size_t i, struct io_err *err)
{
	static const uint32_t flags[] = {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
	static const char *const names[] = {"native", "generic"};
	struct bpf_wan_info *w = &b->info.wan[i];
	size_t first = b->cfg.xdp_mode == BPF_XDP_GENERIC, last = b->cfg.xdp_mode != BPF_XDP_NATIVE;
	int prog = bpf_load_prog_fd(b, b->xdp_name), rc = -EINVAL;

	for (size_t m = first; m <= last; m++) {
		LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags[m]);
		size_t said = strlen(w->why);

		b->xdp_link[i] = bpf_link_create(prog, w->ifindex, BPF_XDP, &opts);
		if (b->xdp_link[i] >= 0) {
			strcpy(w->xdp_mode, names[m]);
			strcpy(w->xdp_attach, "single");
			return 0;
		}
		rc = -errno;
		if (rc == -EBUSY || rc == -EEXIST)
			return io_fail(
				err, rc,
				"XDP on %s: another program is attached there, and there is no "
				"dispatcher to share it",
				w->ifname);
		snprintf(w->why + said, sizeof(w->why) - said, "%s%s: %s", said ? "; " : "",
			 names[m], strerror(-rc));
	}
	return io_fail(err, rc, "XDP on %s: %s", w->ifname, w->why);
}

int bpf_attach_single(struct bpf_load *b, struct io_err *err)
{
	int rc = 0;

	for (size_t i = 0; i < b->cfg.wan_len && rc == 0; i++)
		rc = single_one(b, i, err);
	if (rc < 0)
		bpf_detach_xdp(b);
	return rc;
}

void bpf_detach_xdp(struct bpf_load *b)
{
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		if (b->xdp && b->xdp_on[i])
			xdp_program__detach(b->xdp, b->cfg.wan_ifindex[i], b->xdp_mode[i], 0);
		b->xdp_on[i] = false;
		if (b->xdp_link[i] >= 0) {
			bpf_link_detach(b->xdp_link[i]);
			close(b->xdp_link[i]);
		}
		b->xdp_link[i] = -1;
	}
}

/* ---- traffic control ----------------------------------------------------------------------------
 */

static int clsact_attach(struct bpf_tc *tc, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = tc->ifindex,
		    .attach_point = tc->egress ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY,
		    .prog_fd = prog, .flags = BPF_TC_F_REPLACE);
	int rc = bpf_tc_hook_create(&hook);

	if (rc < 0 && rc != -EEXIST)
		return rc;
	tc->clsact_made = rc == 0;
	rc = bpf_tc_attach(&hook, &opts);
	tc->clsact = rc == 0;
	return rc;
}

/* how: 16 bytes, for the status. */
static int tc_attach(struct bpf_tc *tc, int prog, char *how)
{
	const char *force = getenv("PENSTOCK_TC_CLSACT");

	if (!force || strcmp(force, "1") != 0)
		tc->link_fd = bpf_link_create(
			prog, tc->ifindex,
			(enum bpf_attach_type)(tc->egress ? ATTACH_TCX_EGRESS : ATTACH_TCX_INGRESS),
			NULL);
	if (tc->link_fd >= 0) {
		strcpy(how, "tcx");
		return 0;
	}
	strcpy(how, "clsact");
	return clsact_attach(tc, prog);
}

static void tc_detach(struct bpf_tc *tc)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = tc->ifindex,
		    .attach_point = tc->egress ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);

	if (tc->link_fd >= 0) {
		bpf_link_detach(tc->link_fd);
		close(tc->link_fd);
		tc->link_fd = -1;
	}
	if (tc->clsact)
		bpf_tc_detach(&hook, &opts);
	if (tc->clsact_made) {
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		bpf_tc_hook_destroy(&hook);
	}
	tc->clsact = tc->clsact_made = false;
}

int bpf_attach_tc(struct bpf_load *b, struct io_err *err)
{
	int in = bpf_load_prog_fd(b, "ps_wan_in"), out = bpf_load_prog_fd(b, "ps_tun_out"), rc;

	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		struct bpf_wan_info *w = &b->info.wan[i];

		b->wan_tc[i].ifindex = w->ifindex;
		rc = tc_attach(&b->wan_tc[i], in, w->tc_attach);
		if (rc < 0)
			return io_fail(err, rc, "ps_wan_in on %s (%s): %s", w->ifname, w->tc_attach,
				       strerror(-rc));
	}
	b->tun_tc.ifindex = b->cfg.tun_ifindex;
	b->tun_tc.egress = true;
	rc = tc_attach(&b->tun_tc, out, b->info.tun_attach);
	if (rc < 0)
		return io_fail(err, rc, "ps_tun_out on interface %d (%s): %s", b->cfg.tun_ifindex,
			       b->info.tun_attach, strerror(-rc));
	return 0;
}

void bpf_detach_tc(struct bpf_load *b)
{
	tc_detach(&b->tun_tc);
	for (size_t i = 0; i < b->cfg.wan_len; i++)
		tc_detach(&b->wan_tc[i]);
}

/* ---- leftovers ----------------------------------------------------------------------------------
 */

static bool id_in(const uint32_t *id, size_t len, uint32_t want)
{
	for (size_t i = 0; i < len; i++)
		if (id[i] == want)
			return true;
	return false;
}

static void stale_xdp(int ifindex, const uint32_t *prog_id, size_t len)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex(ifindex);
	struct xdp_program *prog = NULL;
	enum xdp_attach_mode mode;

	if (libxdp_get_error(mp))
		return;
	mode = xdp_multiprog__attach_mode(mp);
	if (xdp_multiprog__is_legacy(mp)) {
		prog = xdp_multiprog__main_prog(mp);
		if (prog && id_in(prog_id, len, xdp_program__id(prog)))
			xdp_program__detach(prog, ifindex, mode, 0);
	} else {
		while ((prog = xdp_multiprog__next_prog(prog, mp)))
			if (id_in(prog_id, len, xdp_program__id(prog))) {
				xdp_program__detach(prog, ifindex, mode, 0);
				break;
			}
	}
	xdp_multiprog__close(mp);
}

static void stale_filter(int ifindex, enum bpf_tc_attach_point point, const uint32_t *prog_id,
			 size_t len)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);

	if (bpf_tc_query(&hook, &opts) < 0 || !id_in(prog_id, len, opts.prog_id))
		return;
	opts.prog_id = 0;
	opts.prog_fd = 0;
	opts.flags = 0;
	bpf_tc_detach(&hook, &opts);
}

void bpf_detach_stale(const uint32_t *prog_id, size_t len)
{
	struct if_nameindex *list = if_nameindex();

	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		stale_xdp((int)i->if_index, prog_id, len);
		stale_filter((int)i->if_index, BPF_TC_INGRESS, prog_id, len);
		stale_filter((int)i->if_index, BPF_TC_EGRESS, prog_id, len);
	}
	if (list)
		if_freenameindex(list);
}
