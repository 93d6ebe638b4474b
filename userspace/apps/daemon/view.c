/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator's view: answers of the control socket, as docs/control-socket.md defines them.
 * Reads, never writes: the one request that does is switch.c. No key, token or ICE password is ever
 * put into a document. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/daemon/daemon.h"
#include "apps/daemon/view_json.h"

/* ---- counters ---- */

static void put_counters(json_t *o, const struct ps_session *s)
{
	put(o, "kernel_rx_packets", num(s->rx_kernel_packets));
	put(o, "kernel_rx_bytes", num(s->rx_kernel_bytes));
	put(o, "kernel_tx_packets", num(s->tx_kernel_packets));
	put(o, "kernel_tx_bytes", num(s->tx_kernel_bytes));
	put(o, "user_rx_packets", num(s->rx_user_packets));
	put(o, "user_rx_bytes", num(s->rx_user_bytes));
	put(o, "user_tx_packets", num(s->tx_user_packets));
	put(o, "user_tx_bytes", num(s->tx_user_bytes));
}

/* ---- status ---- */

static json_t *view_kernel(const struct daemon *d)
{
	const struct bpf_load_info *info = d->bpf ? bpf_load_info(d->bpf) : NULL;
	bool active = info && !d->kernel_why[0];
	bool rx = active && info->wan_len && strcmp(info->wan[0].xdp_mode, "off") &&
		  bpf_load_tables(d->bpf)->config->flags & PS_CFG_RX;
	json_t *o = json_object(), *progs = json_array();

	put(o, "active", json_boolean(active));
	put(o, "why", d->kernel_why[0] ? json_string(d->kernel_why) : json_null());
	put(o, "rx", json_boolean(rx));
	put(o, "tx", json_boolean(active && !d->captured));
	put(o, "captured", json_boolean(d->captured));
	put(o, "wan_iface", d->wan_len ? json_string(d->wan_name[0]) : json_null());
	put(o, "xdp_mode", json_string(info && info->wan_len ? info->wan[0].xdp_mode : "off"));
	put(o, "dispatcher",
	    json_boolean(info && info->wan_len && !strcmp(info->wan[0].xdp_attach, "dispatcher")));
	put(o, "attach_note", json_string(info && info->wan_len ? info->wan[0].why : ""));
	put(o, "tc", json_string(info ? info->tun_attach : "none"));
	put(o, "pins", info ? json_string(info->pin_dir) : json_null());
	put(o, "keys_hidden", json_boolean(!info || info->keys_hidden));
	put(o, "keys_why", info && !info->keys_hidden ? json_string(info->shown_why) : json_null());
	for (size_t i = 0; info && i < info->prog_len; i++)
		json_array_append_new(
			progs, json_pack("{s:s,s:I,s:I,s:I}", "name", info->prog[i].name, "id",
					 (json_int_t)info->prog[i].id, "verified_insns",
					 (json_int_t)info->prog[i].verified_insns, "jited_bytes",
					 (json_int_t)info->prog[i].jited_len));
	put(o, "programs", progs);
	return o;
}

/* used NULL: nobody counts them. */
static void add_table(json_t *list, const char *name, const uint64_t *used, uint64_t cap,
		      uint64_t bytes)
{
	json_array_append_new(list, json_pack("{s:s,s:o,s:I,s:I}", "name", name, "used",
					      used ? num(*used) : json_null(), "cap",
					      (json_int_t)cap, "bytes", (json_int_t)bytes));
}

/* What the kernel accounts for the two flow tables; else what an element of them takes: key, value
 * and the kernel's own bookkeeping. */
static uint64_t flow_bytes(const struct daemon *d)
{
	uint64_t known = bpf_load_info(d->bpf)->flow_bytes;

	return known ? known
		     : 2ull * bpf_flow_entries(d->max_flows) *
			       (sizeof(struct ps_flow_key) + sizeof(struct ps_flow) + 68);
}

static uint64_t view_tables(const struct daemon *d, json_t *list)
{
	uint64_t n = d->n_sessions, peers = d->max_peers, used = n - d->fwd.n_session_free;
	uint64_t s = n * sizeof(struct ps_session), r = n * sizeof(struct ps_replay);
	uint64_t p = peers * sizeof(struct ps_peer), k = n * sizeof(struct fwd_keys), sum;
	uint64_t f = d->bpf ? flow_bytes(d) : 0, seen = d->flows.used, conns = d->node.n_used;
	uint64_t u = d->flows.cap * sizeof(*d->flows.list);

	add_table(list, "sessions", &used, n, s);
	add_table(list, "replay", &used, n, r);
	add_table(list, "peers", &conns, peers, p);
	add_table(list, "keys", &used, n, k);
	if (d->bpf)
		add_table(list, "flows", NULL, 2ull * d->max_flows, f);
	add_table(list, "user_flows", &seen, d->flows.cap, u);
	sum = s + r + p + k + f + u;
	if (d->bpf && bpf_load_info(d->bpf)->memory_bytes)
		sum = bpf_load_info(d->bpf)->memory_bytes + k + u;
	return sum;
}

static json_t *view_portal(const struct daemon *d, uint64_t now)
{
	json_t *o = json_object();
	char url[OPT_TEXT_CAP];

	snprintf(url, sizeof(url), "%s", d->opt.api_url);
	url[strcspn(url, "?")] = 0;
	put(o, "state", json_string(portal_state_name(d->portal)));
	put(o, "url", json_string(url));
	put(o, "connected_s",
	    d->portal == PORTAL_CONNECTED ? num(time_since(d->portal_since_ns, now) / NS_PER_SEC)
					  : json_null());
	put(o, "error", d->portal_error[0] ? json_string(d->portal_error) : json_null());
	return o;
}

static json_t *view_listen(const struct daemon *d)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < d->node.n_hosts; i++)
		json_array_append_new(list, endpoint(&d->node.hosts[i]));
	return list;
}

static json_t *view_status(const struct daemon *d, uint64_t now)
{
	json_t *o = answer("status"), *tables = json_array(), *counters = json_object();
	struct ps_session sum = d->retired;
	uint64_t memory = view_tables(d, tables), connected = 0;

	for (uint32_t i = 0; i < d->n_sessions; i++)
		if (d->fwd.mem.session[i].flags & PS_SESS_USED)
			fwd_session_sum(&sum, &d->fwd.mem.session[i]);
	put_counters(counters, &sum);
	for (uint32_t i = 0; i < d->max_peers; i++) {
		const struct node_conn *c = node_conn(&d->node, i);

		connected += c && c->established;
	}
	put(o, "version", json_string(PENSTOCK_VERSION));
	put(o, "instance", json_string(d->opt.instance));
	put(o, "role", json_string(d->role->name));
	put(o, "mode", json_string(opt_mode_name(d->opt.mode)));
	put(o, "uptime_s", num(time_since(d->started_ns, now) / NS_PER_SEC));
	put(o, "kernel", view_kernel(d));
	put(o, "wan", view_wan(d));
	put(o, "bulk", view_bulk(d));
	put(o, "control",
	    json_pack("{s:I,s:I}", "lag_us", (json_int_t)(d->lag_ns / 1000), "lag_max_us",
		      (json_int_t)(d->lag_max_ns / 1000)));
	put(o, "portal", view_portal(d, now));
	put(o, "tunnel",
	    json_pack("{s:s,s:o,s:o,s:i}", "iface", d->opt.tun, "ipv4", ip(&d->tun4), "ipv6",
		      ip(&d->tun6), "mtu", (int)d->opt.tunnel_mtu));
	put(o, "listen", view_listen(d));
	put(o, "dns", dns_view(d));
	if (d->role->gateway) {
		put(o, "names", view_names_status(d));
		put(o, "nat", view_nat_status(d));
	}
	put(o, "tables", tables);
	put(o, "memory_bytes", num(memory));
	put(o, "peers",
	    json_pack("{s:I,s:I}", "total", (json_int_t)d->node.n_used, "connected",
		      (json_int_t)connected));
	put(o, "counters", counters);
	return o;
}

/* ---- peers ---- */

static const char *peer_state(const struct node_conn *c)
{
	if (!c)
		return "disconnected";
	return c->established ? "connected" : "connecting";
}

static json_t *candidate(enum cand_kind kind, const struct endpoint *e)
{
	json_t *o = json_pack("{s:s}", "type", cand_kind_name(kind));

	put(o, "addr", endpoint(e));
	return o;
}

/* Through a relay of ours, or of the peer's. */
static const char *path_kind(const struct node_path *p)
{
	return p->relayed || p->peer_relayed ? "relayed" : "direct";
}

static json_t *view_session(const struct daemon *d, const struct ps_peer *p, uint64_t now)
{
	const struct ps_session *s;
	bool kernel;
	char local[16], remote[16];

	if (!p || p->tx_slot == PS_NO_SLOT)
		return json_null();
	s = &d->fwd.mem.session[p->tx_slot];
	kernel = d->bpf && (p->flags & PS_PEER_KERNEL) && (s->flags & PS_SESS_CONFIRMED) &&
		 p->path_ifindex;
	snprintf(local, sizeof(local), "0x%08x", s->local_idx);
	snprintf(remote, sizeof(remote), "0x%08x", s->remote_idx);
	return json_pack("{s:I,s:s,s:s,s:I,s:s}", "slot", (json_int_t)p->tx_slot, "local_index",
			 local, "remote_index", remote, "age_s",
			 (json_int_t)(time_since(s->born_ns, now) / NS_PER_SEC), "executor",
			 kernel ? "kernel" : "user");
}

static json_t *view_peer(const struct daemon *d, uint32_t slot, const struct ps_session *sum,
			 uint64_t now)
{
	const struct node_conn *c = node_conn(&d->node, slot);
	const struct ps_peer *p = fwd_peer(&d->fwd, slot);
	struct ipaddr v4, v6;
	struct ice_path fresh;
	struct node_path path;
	const struct ice_path *ice = &path.ice;
	struct uuid id;
	uint32_t resources;
	bool nominated;
	json_t *o;

	if (!p || !d->role->peer_info(d, slot, &id, &v4, &v6, &resources))
		return NULL;
	nominated = c && node_conn_path(&d->node, slot, &path, now);
	if (nominated && ice_selected(&c->ice, &fresh) && endpoint_eq(&fresh.local, &ice->local) &&
	    endpoint_eq(&fresh.remote, &ice->remote))
		path.ice = fresh; /* its round trip is newer */
	o = json_pack("{s:I}", "slot", (json_int_t)slot);
	put(o, "id", uuid(&id));
	put(o, "ipv4", ip(&v4));
	put(o, "ipv6", ip(&v6));
	put(o, "state", json_string(peer_state(c)));
	put(o, "path", json_string(nominated ? path_kind(&path) : "none"));
	put(o, "local", nominated ? candidate(ice->local_kind, &ice->local) : json_null());
	put(o, "remote", nominated ? candidate(ice->remote_kind, &ice->remote) : json_null());
	put(o, "relay", nominated && path.relayed ? endpoint(&path.relay) : json_null());
	put(o, "channel",
	    nominated && path.relayed && path.channel ? num(path.channel) : json_null());
	put(o, "rtt_us", nominated && ice->rtt_ns ? num(ice->rtt_ns / NS_PER_US) : json_null());
	put(o, "last_handshake_s",
	    c && c->handshake_ns ? num(time_since(c->handshake_ns, now) / NS_PER_SEC)
				 : json_null());
	put(o, "mtu", mtu_view(d, slot));
	put(o, "session", view_session(d, p, now));
	put_counters(o, sum);
	put(o, "resources", num(resources));
	put(o, "generation", num(p->generation));
	return o;
}

static json_t *view_peers(const struct daemon *d, uint64_t now)
{
	json_t *o = answer("peers"), *list = json_array();
	struct ps_session *sums = calloc(d->max_peers, sizeof(*sums));

	for (uint32_t i = 0; sums && i < d->n_sessions; i++) {
		const struct ps_session *s = &d->fwd.mem.session[i];

		if ((s->flags & PS_SESS_USED) && s->peer < d->max_peers)
			fwd_session_sum(&sums[s->peer], s);
	}
	for (uint32_t slot = 0; sums && slot < d->max_peers; slot++) {
		json_t *peer = view_peer(d, slot, &sums[slot], now);

		if (peer)
			json_array_append_new(list, peer);
	}
	free(sums);
	put(o, "peers", list);
	return o;
}

/* ---- drops ---- */

struct reason_row {
	const char *name, *verdict, *what;
};

#define VERDICT_DONE		     "done"
#define VERDICT_PASS		     "pass"
#define VERDICT_DROP		     "drop"
#define ROW(id, text, verdict, what) {text, VERDICT_##verdict, what},
static const struct reason_row reason_rows[PS_R_COUNT] = {PS_REASONS(ROW)};

static const char *reason_executor(const char *name)
{
	if (!strncmp(name, "urx_", 4) || !strncmp(name, "utx_", 4))
		return "user";
	return !strncmp(name, "ctl_", 4) ? "control" : "kernel";
}

static json_t *view_drops(const struct daemon *d)
{
	struct ps_reason_count kernel[PS_R_COUNT] = {0}, user[PS_R_COUNT];
	json_t *o = answer("drops"), *list = json_array();

	if (d->bpf)
		bpf_reasons_read(d->bpf, kernel);
	memcpy(user, d->reasons, sizeof(user));
	workers_reasons(d, user);
	for (unsigned i = 0; i < PS_R_COUNT; i++) {
		uint64_t packets = kernel[i].packets + user[i].packets;
		uint64_t bytes = kernel[i].bytes + user[i].bytes;

		if (!packets)
			continue;
		json_array_append_new(
			list, json_pack("{s:s,s:s,s:s,s:I,s:I,s:s}", "reason", reason_rows[i].name,
					"executor", reason_executor(reason_rows[i].name), "verdict",
					reason_rows[i].verdict, "packets", (json_int_t)packets,
					"bytes", (json_int_t)bytes, "what", reason_rows[i].what));
	}
	put(o, "reasons", list);
	return o;
}

/* ---- resources ---- */

static json_t *view_filters(const struct filter_set *f)
{
	json_t *list = json_array();
	char text[32];

	for (unsigned i = 0; i < f->range_count; i++) {
		const struct filter_range *r = &f->ranges[i];

		snprintf(text, sizeof(text), r->first == r->last ? "%s/%u" : "%s/%u-%u",
			 r->proto == IP_PROTO_TCP ? "tcp" : "udp", r->first, r->last);
		json_array_append_new(list, json_string(text));
	}
	if (f->icmp)
		json_array_append_new(list, json_string("icmp"));
	return list;
}

json_t *view_resource(const struct tunnel_resource *r)
{
	static const char *const types[] = {[TUNNEL_RESOURCE_CIDR] = "cidr",
					    [TUNNEL_RESOURCE_INTERNET] = "internet",
					    [TUNNEL_RESOURCE_DNS] = "dns"};
	json_t *o = json_object();
	char net[IPNET_STRLEN];

	put(o, "id", uuid(&r->id));
	put(o, "name", json_string(r->name));
	put(o, "type", json_string(types[r->type]));
	put(o, "address",
	    r->type == TUNNEL_RESOURCE_CIDR  ? json_string(ipnet_fmt(&r->net, net))
	    : r->type == TUNNEL_RESOURCE_DNS ? json_string(r->address)
					     : json_null());
	put(o, "supported", json_boolean(r->type != TUNNEL_RESOURCE_DNS));
	put(o, "filters", view_filters(&r->filters));
	return o;
}

static json_t *view_resources(const struct daemon *d)
{
	json_t *o = answer("resources"), *list = json_array();

	d->role->view_resources(d, list);
	put(o, "resources", list);
	return o;
}

/* ---- requests ---- */

json_t *view_refuse(const char *code, const char *fmt, const char *arg)
{
	char text[160];

	snprintf(text, sizeof(text), fmt, arg);
	return json_pack("{s:i,s:{s:s,s:s}}", "schema", 1, "error", "code", code, "message", text);
}

char *view_request(void *arg, const char *request, size_t len)
{
	struct daemon *d = arg;
	json_t *req = json_loadb(request, len, JSON_REJECT_DUPLICATES, NULL), *out;
	const char *cmd = json_string_value(json_object_get(req, "cmd"));
	uint64_t now = loop_now();
	char *text;

	if (!cmd)
		out = view_refuse("bad_request", "%s", "want one JSON object with \"cmd\"");
	else if (!d->started_ns)
		out = view_refuse("internal", "%s", "still starting");
	else if (!strcmp(cmd, "status"))
		out = view_status(d, now);
	else if (!strcmp(cmd, "peers"))
		out = view_peers(d, now);
	else if (!strcmp(cmd, "flows"))
		out = view_flows(d, req, now);
	else if (!strcmp(cmd, "drops"))
		out = view_drops(d);
	else if (!strcmp(cmd, "relays"))
		out = view_relays(d, now);
	else if (!strcmp(cmd, "resources"))
		out = view_resources(d);
	else if (!strcmp(cmd, "switch"))
		out = switch_request(d, req, now);
	else
		out = view_refuse("unknown_command", "unknown command '%.64s'", cmd);
	json_decref(req);
	if (!out)
		out = view_refuse("internal", "%s", "the answer could not be built");
	text = json_dumps(out, JSON_COMPACT);
	json_decref(out);
	return text;
}
