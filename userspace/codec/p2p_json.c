/* SPDX-License-Identifier: Apache-2.0
 *
 * Read with the JSON library's parser, written by hand: nothing that is written needs an escape.
 * Contracts in p2p_json.h. */
#include "codec/p2p_json.h"

#include <errno.h>
#include <string.h>
#include "base/bytes.h"
#include "codec/p2p_ctl.h"
#include "codec/pjson.h"

static bool name_character(char c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '/';
}

bool p2p_domain_valid(const char *domain)
{
	size_t label = 0, i;

	for (i = 0; domain[i]; i++) {
		if (i + 1 == P2P_DOMAIN_CAP || !name_character(domain[i]))
			return false;
		if (domain[i] != '.')
			label++;
		else if (!label)
			return false;
		else
			label = 0;
		if (label > 63)
			return false;
	}
	return label > 0;
}

/* ---- reading ---- */

/* The tree of an event's payload, NULL: it is no JSON object. */
static json_t *tree(const void *json, size_t len)
{
	json_error_t err;
	json_t *v;

	if (len > P2P_CTL_PAYLOAD_CAP)
		return NULL;
	v = json_loadb(json, len, JSON_REJECT_DUPLICATES, &err);
	if (json_is_object(v))
		return v;
	json_decref(v);
	return NULL;
}

static int read_domain(const struct pjson *obj, char out[P2P_DOMAIN_CAP])
{
	const char *text;
	int rc = pjson_str(obj, "domain", &text);

	if (rc)
		return rc;
	if (!p2p_domain_valid(text))
		return pjson_fail_key(obj, "domain", "not a name");
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

static int check_ip(const struct pjson *el)
{
	struct ipaddr ip;

	if (!json_is_string(el->v) || ipaddr_parse(json_string_value(el->v), &ip))
		return pjson_fail(el, "not an IP address");
	return 0;
}

static int read_ips(const struct pjson *obj, struct p2p_assigned_ips *out)
{
	struct pmsg_list list;
	int rc = pjson_list(obj, "proxy_ips", true, check_ip, &list);
	size_t n;

	if (rc)
		return rc;
	n = pmsg_count(list);
	if (!n || n > P2P_PROXIES_MAX)
		return pjson_fail_key(obj, "proxy_ips", "none or too many");
	for (size_t i = 0; i < n; i++)
		(void)ipaddr_parse(json_string_value(json_array_get(list.json, i)), &out->ips[i]);
	out->count = (uint8_t)n;
	return 0;
}

int p2p_assigned_ips_decode(const void *json, size_t len, struct p2p_assigned_ips *out)
{
	struct pmsg_err err;
	json_t *v = tree(json, len);
	struct pjson obj = pjson_root(v, &err);
	int rc = -EBADMSG;

	memset(out, 0, sizeof(*out));
	if (v)
		rc = pjson_uuid(&obj, "resource", &out->resource);
	if (!rc)
		rc = read_domain(&obj, out->domain);
	if (!rc)
		rc = read_ips(&obj, out);
	json_decref(v);
	return rc;
}

int p2p_domain_status_decode(const void *json, size_t len, struct p2p_domain_status *out)
{
	struct pmsg_err err;
	json_t *v = tree(json, len);
	struct pjson obj = pjson_root(v, &err);
	const char *status;
	int rc = -EBADMSG;

	memset(out, 0, sizeof(*out));
	if (v)
		rc = pjson_uuid(&obj, "resource", &out->resource);
	if (!rc)
		rc = read_domain(&obj, out->domain);
	if (!rc)
		rc = pjson_str(&obj, "status", &status);
	if (!rc)
		out->active = !strcmp(status, "Active");
	json_decref(v);
	return rc;
}

/* ---- writing ---- */

static void put(struct wbuf *w, const char *text)
{
	wbuf_put(w, text, strlen(text));
}

static void put_head(struct wbuf *w, const struct uuid *resource, const char *domain)
{
	char id[UUID_STRLEN];

	put(w, "{\"resource\":\"");
	put(w, uuid_fmt(resource, id));
	put(w, "\",\"domain\":\"");
	put(w, domain);
	put(w, "\",");
}

int p2p_assigned_ips_encode(const struct p2p_assigned_ips *in, char *out, size_t cap, size_t *len)
{
	struct wbuf w = wbuf_init(out, cap);
	char ip[IPADDR_STRLEN];

	*len = 0;
	if (!p2p_domain_valid(in->domain) || !in->count || in->count > P2P_PROXIES_MAX)
		return -EINVAL;
	put_head(&w, &in->resource, in->domain);
	put(&w, "\"proxy_ips\":[");
	for (uint8_t i = 0; i < in->count; i++) {
		if (!ipaddr_size(&in->ips[i]))
			return -EINVAL;
		put(&w, i ? ",\"" : "\"");
		put(&w, ipaddr_fmt(&in->ips[i], ip));
		put(&w, "\"");
	}
	put(&w, "]}");
	return wbuf_done(&w, len);
}

int p2p_domain_status_encode(const struct p2p_domain_status *in, char *out, size_t cap, size_t *len)
{
	struct wbuf w = wbuf_init(out, cap);

	*len = 0;
	if (!p2p_domain_valid(in->domain))
		return -EINVAL;
	put_head(&w, &in->resource, in->domain);
	put(&w, in->active ? "\"status\":\"Active\"}" : "\"status\":\"Inactive\"}");
	return wbuf_done(&w, len);
}
