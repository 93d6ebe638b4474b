/* SPDX-License-Identifier: Apache-2.0
 *
 * The interfaces of the outer packets, for status: how they receive, and what of their settings
 * costs. Settings are reported, never changed. */
#include <net/if.h>
#include <string.h>
#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"
#include "io/nic.h"

static const struct bpf_wan_info *attached(const struct daemon *d, int ifindex)
{
	const struct bpf_load_info *info = d->bpf ? bpf_load_info(d->bpf) : NULL;

	for (size_t i = 0; info && i < info->wan_len; i++)
		if (info->wan[i].ifindex == ifindex)
			return &info->wan[i];
	return NULL;
}

/* An interface whose AF_XDP sockets could not be is served as any other. */
static void view_steer(const struct daemon *d, size_t i, const struct bpf_wan_info *w, json_t *o)
{
	json_t *xsk = workers_xsk_view(d, i);
	bool lacking = d->xsk_why[i][0] || (w && w->steer == BPF_STEER_XSK && json_is_null(xsk));
	const char *why = w ? w->steer_why : d->kernel_why;

	if (lacking)
		why = d->xsk_why[i][0] ? d->xsk_why[i] : d->workers_why;
	put(o, "steer", json_string(bpf_steer_name(w && !lacking ? w->steer : BPF_STEER_RSS)));
	put(o, "steer_why", json_string(why));
	put(o, "xsk", xsk);
}

static json_t *view_one(const struct daemon *d, size_t i)
{
	const char *name = d->wan_name[i];
	const struct bpf_wan_info *w = attached(d, d->wan_ifindex[i]);
	struct nic_offload nic;
	struct nic_queues q;
	struct io_err err;
	json_t *o = json_object();
	bool known = !nic_offload_read(name, &nic, &err);

	nic_queues_read(name, &q);
	put(o, "iface", json_string(name));
	put(o, "xdp_mode", json_string(w ? w->xdp_mode : "off"));
	view_steer(d, i, w, o);
	put(o, "rx_queues", q.rx ? num(q.rx) : json_null());
	put(o, "rps", json_boolean(q.rps));
	put(o, "driver", known && nic.driver[0] ? json_string(nic.driver) : json_null());
	put(o, "gro", known ? json_boolean(nic.gro) : json_null());
	put(o, "advice", known && !nic.gro ? json_string(WAN_ADVICE_GRO) : json_null());
	return o;
}

json_t *view_wan(const struct daemon *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->wan_len; i++)
		json_array_append_new(list, view_one(d, i));
	return list;
}
