/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator's view of a relay: answers of the control socket, as docs/control-socket.md defines
 * them. Reads, never writes. No secret is ever put into a document. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "apps/relay/app.h"

static json_t *num(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static void put(json_t *o, const char *key, json_t *v)
{
	json_object_set_new(o, key, v);
}

static json_t *ip(const struct ipaddr *a)
{
	char buf[IPADDR_STRLEN];

	return a->family ? json_string(ipaddr_fmt(a, buf)) : json_null();
}

static json_t *answer(const char *cmd)
{
	return json_pack("{s:i,s:s}", "schema", 1, "cmd", cmd);
}

/* ---- counters ---- */

static const struct {
	const char *name, *verdict, *what;
} reason_rows[] = {
#define ROW(id, text, verdict_, sentence) {text, #verdict_, sentence},
	PS_REASONS(ROW)
#undef ROW
};

static void sum_reasons(const struct app *a, struct ps_reason_count sum[PS_R_COUNT])
{
	memset(sum, 0, sizeof(*sum) * PS_R_COUNT);
	if (a->bpf)
		bpf_relay_reasons(a->bpf, sum);
	for (unsigned i = 0; i < PS_R_COUNT; i++)
		for (uint32_t k = 0; k < a->n_workers; k++) {
			const struct ps_reason_count *c = &a->workers[k].reasons[i];

			sum[i].packets += __atomic_load_n(&c->packets, __ATOMIC_RELAXED);
			sum[i].bytes += __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
		}
}

/* to_peer, to_client: in the terms of the other programs what was received from a client and sent
 * to it; both are relayed. */
static json_t *view_counters(const struct app *a)
{
	struct ps_reason_count s[PS_R_COUNT];
	json_t *o = json_object();

	sum_reasons(a, s);
	put(o, "kernel_rx_packets",
	    num(s[PS_R_RXDP_TO_PEER].packets + s[PS_R_RXDP_TO_SELF].packets));
	put(o, "kernel_rx_bytes", num(s[PS_R_RXDP_TO_PEER].bytes + s[PS_R_RXDP_TO_SELF].bytes));
	put(o, "kernel_tx_packets", num(s[PS_R_RXDP_TO_CLIENT].packets));
	put(o, "kernel_tx_bytes", num(s[PS_R_RXDP_TO_CLIENT].bytes));
	put(o, "user_rx_packets", num(s[PS_R_RUX_TO_PEER].packets + s[PS_R_RUX_TO_SELF].packets));
	put(o, "user_rx_bytes", num(s[PS_R_RUX_TO_PEER].bytes + s[PS_R_RUX_TO_SELF].bytes));
	put(o, "user_tx_packets", num(s[PS_R_RUX_TO_CLIENT].packets));
	put(o, "user_tx_bytes", num(s[PS_R_RUX_TO_CLIENT].bytes));
	return o;
}

/* ---- status ---- */

static json_t *view_kernel(const struct app *a)
{
	const struct bpf_relay_info *info = a->bpf ? bpf_relay_info(a->bpf) : NULL;
	json_t *o = json_object();

	put(o, "active", json_boolean(info));
	put(o, "why", info ? json_null() : json_string(a->kernel_why));
	put(o, "rx", json_boolean(info));
	put(o, "tx", json_boolean(info));
	put(o, "wan_iface", info && info->wan_len ? json_string(info->wan[0].ifname) : json_null());
	put(o, "xdp_mode", json_string(info && info->wan_len ? info->wan[0].xdp_mode : "off"));
	put(o, "dispatcher",
	    json_boolean(info && info->wan_len && !strcmp(info->wan[0].xdp_attach, "dispatcher")));
	put(o, "attach_note", json_string(info && info->wan_len ? info->wan[0].why : ""));
	put(o, "pins", info ? json_string(info->pin_dir) : json_null());
	put(o, "nexthop", info ? json_string(info->hop) : json_null());
	put(o, "hops", hop_view(info ? a->hop : NULL));
	put(o, "keys_hidden", json_true());
	return o;
}

static json_t *view_portal(const struct app *a, uint64_t now)
{
	json_t *o = json_object();
	char url[OPT_TEXT_CAP];

	memcpy(url, a->opt.api_url, sizeof(url));
	url[strcspn(url, "?")] = 0;
	put(o, "state", json_string(portal_state_name(a->portal)));
	put(o, "url", url[0] ? json_string(url) : json_null());
	put(o, "connected_s",
	    a->portal == PORTAL_CONNECTED ? num(time_since(a->portal_since_ns, now) / NS_PER_SEC)
					  : json_null());
	put(o, "error", a->portal_error[0] ? json_string(a->portal_error) : json_null());
	return o;
}

static json_t *table(const char *name, uint64_t used, uint64_t cap, uint64_t bytes)
{
	return json_pack("{s:s,s:I,s:I,s:I}", "name", name, "used", (json_int_t)used, "cap",
			 (json_int_t)cap, "bytes", (json_int_t)bytes);
}

static uint64_t view_tables(const struct app *a, json_t *list)
{
	uint64_t socks = (uint64_t)a->n_alloc_cap * sizeof(struct alloc_sock);
	uint64_t counts = (uint64_t)a->n_workers * a->n_bind_cap * sizeof(struct bind_count);
	uint64_t kernel = a->bpf ? bpf_relay_info(a->bpf)->memory_bytes : 0;

	json_array_append_new(list, table("allocations", relay_n_allocs(&a->relay), a->n_alloc_cap,
					  a->relay_mem_len + socks));
	json_array_append_new(list,
			      table("channels", relay_n_binds(&a->relay), a->n_bind_cap, counts));
	if (a->bpf)
		json_array_append_new(list, table("kernel", bpf_relay_totals(a->bpf).bound,
						  a->n_bind_cap, kernel));
	return a->relay_mem_len + socks + counts + kernel +
	       (uint64_t)a->n_workers * (RING_CAP + (uint64_t)GRO_BATCH * GRO_BUF_LEN);
}

static json_t *view_relay(const struct app *a)
{
	json_t *o = json_object();

	put(o, "public4", ip(&a->opt.public4));
	put(o, "public6", ip(&a->opt.public6));
	put(o, "port", num(a->opt.listen_port));
	put(o, "port_low", num(a->opt.port_lo));
	put(o, "port_high", num(a->opt.port_hi));
	put(o, "realm", json_string(a->opt.realm));
	put(o, "workers", num(a->n_workers));
	put(o, "draining", json_boolean(a->draining));
	put(o, "allocations", num(relay_n_allocs(&a->relay)));
	put(o, "channels", num(relay_n_binds(&a->relay)));
	put(o, "permissions", num(relay_n_perms(&a->relay)));
	put(o, "allocations_made", num(a->relay.acct.allocs_made));
	put(o, "allocations_expired", num(a->relay.acct.allocs_expired));
	put(o, "ports_taken", num(a->bind_failed));
	return o;
}

static json_t *view_status(const struct app *a, uint64_t now)
{
	json_t *o = answer("status"), *listen = json_array(), *tables = json_array();
	const struct ipaddr *at[2] = {&a->listen4, &a->listen6};

	for (int i = 0; i < 2; i++) {
		struct endpoint e = {.ip = *at[i], .port = (uint16_t)a->opt.listen_port};
		char buf[ENDPOINT_STRLEN];

		if (e.ip.family)
			json_array_append_new(listen, json_string(endpoint_fmt(&e, buf)));
	}
	put(o, "version", json_string(PENSTOCK_VERSION));
	put(o, "instance", json_string(a->opt.instance));
	put(o, "role", json_string("relay"));
	put(o, "mode", json_string(a->bpf ? "auto" : "user"));
	put(o, "uptime_s", num(time_since(a->started_ns, now) / NS_PER_SEC));
	put(o, "kernel", view_kernel(a));
	put(o, "portal", view_portal(a, now));
	put(o, "relay", view_relay(a));
	put(o, "listen", listen);
	put(o, "memory_bytes", num(view_tables(a, tables)));
	put(o, "tables", tables);
	put(o, "counters", view_counters(a));
	return o;
}

/* ---- drops ---- */

static const char *lower(const char *verdict)
{
	return !strcmp(verdict, "DONE") ? "done" : !strcmp(verdict, "PASS") ? "pass" : "drop";
}

static json_t *view_drops(const struct app *a)
{
	struct ps_reason_count sum[PS_R_COUNT];
	json_t *o = answer("drops"), *list = json_array();

	sum_reasons(a, sum);
	for (unsigned i = 0; i < PS_R_COUNT; i++) {
		if (!sum[i].packets)
			continue;
		json_array_append_new(
			list, json_pack("{s:s,s:s,s:s,s:I,s:I,s:s}", "reason", reason_rows[i].name,
					"executor",
					strncmp(reason_rows[i].name, "rux_", 4) ? "kernel" : "user",
					"verdict", lower(reason_rows[i].verdict), "packets",
					(json_int_t)sum[i].packets, "bytes",
					(json_int_t)sum[i].bytes, "what", reason_rows[i].what));
	}
	put(o, "reasons", list);
	return o;
}

/* ---- requests ---- */

static json_t *refuse(const char *code, const char *message)
{
	return json_pack("{s:i,s:{s:s,s:s}}", "schema", 1, "error", "code", code, "message",
			 message);
}

char *view_request(void *arg, const char *request, size_t len)
{
	const struct app *a = arg;
	json_t *req = json_loadb(request, len, JSON_REJECT_DUPLICATES, NULL), *out;
	const char *cmd = json_string_value(json_object_get(req, "cmd"));
	uint64_t now = loop_now();
	char *text;

	if (!cmd)
		out = refuse("bad_request", "want one JSON object with \"cmd\"");
	else if (!a->running)
		out = refuse("internal", "still starting");
	else if (!strcmp(cmd, "status"))
		out = view_status(a, now);
	else if (!strcmp(cmd, "drops"))
		out = view_drops(a);
	else if (!strcmp(cmd, "relays"))
		out = view_relays(a);
	else if (!strcmp(cmd, "allocations"))
		out = view_allocations(a, json_integer_value(json_object_get(req, "limit")), now);
	else
		out = refuse("unknown_command",
			     "a relay knows status, relays, drops and allocations");
	json_decref(req);
	if (!out)
		out = refuse("internal", "the answer could not be built");
	text = json_dumps(out, JSON_COMPACT);
	json_decref(out);
	return text;
}
