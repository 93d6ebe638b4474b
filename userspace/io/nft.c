/* SPDX-License-Identifier: Apache-2.0
 *
 * The table as one script, handed to libnftables as one transaction. */
#include "io/nft.h"
#include <errno.h>
#include <jansson.h>
#include <nftables/libnftables.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INSTANCE_MAX 31
#define TUN_NAME_MAX 15

struct script {
	char *buf;
	size_t cap, len;
};

__attribute__((format(printf, 2, 3))) static void put(struct script *s, const char *fmt, ...)
{
	size_t left = s->len < s->cap ? s->cap - s->len : 0;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(left ? s->buf + s->len : NULL, left, fmt, ap);
	va_end(ap);
	s->len += n > 0 ? (size_t)n : 0;
}

/* Names go into a script: nothing but letters, digits, '_', '-' and '.'. */
static bool name_plain(const char *name, size_t max)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	size_t len = strlen(name);

	return len > 0 && len <= max && strspn(name, plain) == len;
}

static void table_name(const char *instance, char out[INSTANCE_MAX + 16])
{
	snprintf(out, INSTANCE_MAX + 16, "penstock_%.*s", INSTANCE_MAX, instance);
	for (char *p = out; *p; p++)
		if (*p == '-' || *p == '.')
			*p = '_';
}

static void rules_put(struct script *s, const struct nft_cfg *cfg)
{
	const char *tun = cfg->tun_name;

	put(s,
	    "	chain forward {\n"
	    "		type filter hook forward priority filter; policy accept;\n"
	    "		iifname \"%s\" accept\n"
	    "		oifname \"%s\" accept\n"
	    "	}\n",
	    tun, tun);
	put(s,
	    "	chain clamp {\n"
	    "		type filter hook forward priority mangle; policy accept;\n"
	    "		iifname \"%s\" tcp flags & (syn | rst) == syn tcp option maxseg size set "
	    "rt mtu\n"
	    "		oifname \"%s\" tcp flags & (syn | rst) == syn tcp option maxseg size set "
	    "rt mtu\n"
	    "	}\n",
	    tun, tun);
	if (!cfg->masquerade)
		return;
	put(s,
	    "	chain postrouting {\n"
	    "		type nat hook postrouting priority srcnat; policy accept;\n"
	    "		ip saddr " NFT_TUNNEL_V4 " oifname != \"%s\" masquerade\n"
	    "		ip6 saddr " NFT_TUNNEL_V6 " oifname != \"%s\" masquerade\n"
	    "	}\n",
	    tun, tun);
}

int nft_render(const struct nft_cfg *cfg, char *buf, size_t cap)
{
	struct script s = {.buf = buf, .cap = cap};
	char table[INSTANCE_MAX + 16];

	if (!name_plain(cfg->instance, INSTANCE_MAX) ||
	    (cfg->tun_name && !name_plain(cfg->tun_name, TUN_NAME_MAX)))
		return -EINVAL;
	table_name(cfg->instance, table);
	/* "add" makes "delete" succeed whether the table was there or not. */
	put(&s, "add table inet %s\ndelete table inet %s\n", table, table);
	if (cfg->tun_name) {
		put(&s, "table inet %s {\n", table);
		rules_put(&s, cfg);
		put(&s, "}\n");
	}
	return s.len < cap ? 0 : -EMSGSIZE;
}

/* First line of libnftables' complaint, without its line break. */
static const char *complaint(struct nft_ctx *ctx, char *buf, size_t cap)
{
	const char *text = nft_ctx_get_error_buffer(ctx);

	snprintf(buf, cap, "%.*s", (int)strcspn(text ? text : "", "\n"), text ? text : "");
	return buf[0] ? buf : "refused";
}

static int script_run(const struct nft_cfg *cfg, struct io_err *err)
{
	char script[NFT_SCRIPT_MAX], why[120];
	struct nft_ctx *ctx;
	int rc = nft_render(cfg, script, sizeof(script));

	if (rc < 0)
		return io_fail(err, rc,
			       "nftables: instance '%.40s' or device '%.20s' is no plain name",
			       cfg->instance, cfg->tun_name ? cfg->tun_name : "");
	ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!ctx)
		return io_fail(err, -ENOMEM, "nftables: no context");
	nft_ctx_buffer_output(ctx);
	nft_ctx_buffer_error(ctx);
	if (nft_run_cmd_from_buffer(ctx, script) != 0)
		rc = io_fail(err, -EIO, "nftables table penstock_%.*s: %s", INSTANCE_MAX,
			     cfg->instance, complaint(ctx, why, sizeof(why)));
	nft_ctx_free(ctx);
	return rc;
}

int nft_install(const struct nft_cfg *cfg, struct io_err *err)
{
	return script_run(cfg, err);
}

int nft_remove(const char *instance, struct io_err *err)
{
	return script_run(&(struct nft_cfg){.instance = instance}, err);
}

static const char *text_of(const json_t *chain, const char *key)
{
	const char *s = json_string_value(json_object_get(chain, key));

	return s ? s : "";
}

int nft_forward_blockers(const char *instance, char *buf, size_t cap)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	struct script list = {.buf = buf, .cap = cap};
	char table[INSTANCE_MAX + 16];
	json_t *doc = NULL, *item;
	int found = -EIO;
	size_t i;

	if (!cap || !ctx)
		return -ENOMEM;
	buf[0] = '\0';
	table_name(instance, table);
	nft_ctx_output_set_flags(ctx, NFT_CTX_OUTPUT_JSON);
	nft_ctx_buffer_output(ctx);
	nft_ctx_buffer_error(ctx);
	if (nft_run_cmd_from_buffer(ctx, "list chains") == 0) {
		doc = json_loads(nft_ctx_get_output_buffer(ctx), 0, NULL);
		found = doc ? 0 : -EIO;
	}
	json_array_foreach(json_object_get(doc, "nftables"), i, item)
	{
		const json_t *chain = json_object_get(item, "chain");

		if (strcmp(text_of(chain, "hook"), "forward") != 0 ||
		    strcmp(text_of(chain, "policy"), "drop") != 0 ||
		    strcmp(text_of(chain, "table"), table) == 0)
			continue;
		put(&list, "%s%s %s %s", found ? ", " : "", text_of(chain, "family"),
		    text_of(chain, "table"), text_of(chain, "name"));
		found++;
	}
	json_decref(doc);
	nft_ctx_free(ctx);
	return found;
}
