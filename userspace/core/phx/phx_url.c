/* SPDX-License-Identifier: Apache-2.0 */
#include "core/phx/phx_url.h"
#include <errno.h>
#include <string.h>
#include "base/addr.h"
#include "base/b64.h"
#include "base/bytes.h"
#include "base/uuid.h"
#include "crypto/crypto.h"

static const char hex_lower[] = "0123456789abcdef";
static const char hex_upper[] = "0123456789ABCDEF";

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* ---- the base URL ---- */

static int scheme_read(const char **url, bool *tls)
{
	static const struct {
		const char *prefix;
		bool tls;
	} schemes[] = {{"https://", true}, {"wss://", true}, {"http://", false}, {"ws://", false}};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t n = strlen(schemes[i].prefix), k = 0;

		while (k < n && lower((*url)[k]) == schemes[i].prefix[k])
			k++;
		if (k == n) {
			*url += n;
			*tls = schemes[i].tls;
			return 0;
		}
	}
	return -EINVAL;
}

static int port_read(const char *text, size_t len, uint16_t *port)
{
	uint32_t v = 0;

	if (!len || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		v = v * 10 + (uint32_t)(text[i] - '0');
	}
	if (!v || v > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)v;
	return 0;
}

static bool host_is_valid(const char *host, bool bracketed)
{
	struct ipaddr ip;

	if (bracketed)
		return !ipaddr_parse(host, &ip) && ip.family == 6;
	for (const char *p = host; *p; p++)
		if (!is_alnum(*p) && *p != '-' && *p != '.' && *p != '_')
			return false;
	return host[0] != '\0' && host[0] != '.' && host[0] != '-';
}

/* "host", "host:port", "[v6]", "[v6]:port". */
static const char *authority_read(const char *text, size_t len, struct phx_url *u)
{
	bool bracketed = len && text[0] == '[';
	const char *end = text + len, *host_end, *rest;

	if (memchr(text, '@', len))
		return "user information is not allowed in it";
	if (bracketed) {
		text++;
		host_end = memchr(text, ']', (size_t)(end - text));
		if (!host_end)
			return "missing ]";
		rest = host_end + 1;
	} else {
		host_end = memchr(text, ':', len);
		rest = host_end = host_end ? host_end : end;
	}
	if ((size_t)(host_end - text) >= sizeof(u->host))
		return "host name too long";
	for (const char *p = text; p < host_end; p++)
		u->host[p - text] = lower(*p);
	u->host[host_end - text] = '\0';
	if (!host_is_valid(u->host, bracketed))
		return "bad host name";
	u->port = PHX_PORT_DEFAULT;
	if (rest < end && (*rest != ':' || port_read(rest + 1, (size_t)(end - rest - 1), &u->port)))
		return "bad port";
	return NULL;
}

/* Fills tls, host and port; *path and *path_len is the path prefix without its trailing slash.
 * NULL, or what is wrong. */
static const char *base_read(const char *url, struct phx_url *u, const char **path,
			     size_t *path_len)
{
	size_t len;
	const char *why;

	if (scheme_read(&url, &u->tls))
		return "the scheme is not one of https, wss, http, ws";
	len = strcspn(url, "/?#");
	why = authority_read(url, len, u);
	if (why)
		return why;
	*path = url + len;
	*path_len = strcspn(*path, "?#");
	for (size_t i = 0; i < *path_len; i++)
		if ((*path)[i] <= ' ' || (*path)[i] >= 0x7f)
			return "bad character in the path";
	if (*path_len && (*path)[*path_len - 1] == '/')
		--*path_len;
	return NULL;
}

int phx_url_check(const char *api_url, const char **why)
{
	struct phx_url u = {0};
	const char *path;
	size_t path_len;

	*why = base_read(api_url, &u, &path, &path_len);
	return *why ? -EINVAL : 0;
}

/* ---- query ---- */

/* application/x-www-form-urlencoded byte serializer (WHATWG URL §5.2). */
static void put_form_encoded(struct wbuf *w, const char *s)
{
	for (; *s; s++) {
		uint8_t c = (uint8_t)*s;

		if (is_alnum(*s) || c == '*' || c == '-' || c == '.' || c == '_') {
			wbuf_u8(w, c);
		} else if (c == ' ') {
			wbuf_u8(w, '+');
		} else {
			wbuf_u8(w, '%');
			wbuf_u8(w, (uint8_t)hex_upper[c >> 4]);
			wbuf_u8(w, (uint8_t)hex_upper[c & 15]);
		}
	}
}

static void put_str(struct wbuf *w, const char *s)
{
	wbuf_put(w, s, strlen(s));
}

static void put_pair(struct wbuf *w, const char *key, const char *value, char *separator)
{
	if (!value)
		return;
	wbuf_u8(w, (uint8_t)*separator);
	*separator = '&';
	put_str(w, key);
	wbuf_u8(w, '=');
	put_form_encoded(w, value);
}

/* "Bearer " and the token without any white space in it. */
static int authorization_write(struct phx_url *u, const char *token)
{
	struct wbuf w = wbuf_init(u->authorization, sizeof(u->authorization));
	size_t len;

	put_str(&w, "Bearer ");
	for (; *token; token++)
		if ((uint8_t)*token > ' ' && (uint8_t)*token < 0x7f)
			wbuf_u8(&w, (uint8_t)*token);
	wbuf_u8(&w, 0);
	return wbuf_done(&w, &len);
}

static int path_write(struct phx_url *u, const struct phx_url_params *p, const char *prefix,
		      size_t prefix_len)
{
	struct wbuf w = wbuf_init(u->path, sizeof(u->path));
	char external_id[PHX_EXTERNAL_ID_CAP], key[B64_KEY_STRLEN], separator = '?';
	size_t len;

	if (p->device_id && phx_external_id(p->device_id, external_id, sizeof(external_id)))
		return -EMSGSIZE;
	wbuf_put(&w, prefix, prefix_len);
	wbuf_u8(&w, '/');
	put_str(&w, p->role);
	put_str(&w, "/websocket");
	put_pair(&w, "token", p->token_in_header ? NULL : p->token, &separator);
	put_pair(&w, "external_id", p->device_id ? external_id : NULL, &separator);
	put_pair(&w, "name", p->name, &separator);
	put_pair(&w, "ipv4", p->ipv4, &separator);
	put_pair(&w, "ipv6", p->ipv6, &separator);
	put_pair(&w, "port", p->port, &separator);
	put_pair(&w, "device_serial", p->device_serial, &separator);
	put_pair(&w, "device_uuid", p->device_uuid, &separator);
	put_pair(&w, "public_key", p->public_key ? b64_encode(p->public_key, 32, key) : NULL,
		 &separator);
	wbuf_u8(&w, 0);
	return wbuf_done(&w, &len);
}

int phx_url_build(struct phx_url *u, const struct phx_url_params *p, const char **why)
{
	const char *prefix;
	size_t prefix_len;
	int rc;

	memset(u, 0, sizeof(*u));
	*why = base_read(p->api_url, u, &prefix, &prefix_len);
	if (*why)
		return -EINVAL;
	rc = path_write(u, p, prefix, prefix_len);
	if (!rc && p->token && p->token_in_header)
		rc = authorization_write(u, p->token);
	if (rc) {
		*why = "too long with all its parameters";
		phx_url_fini(u);
	}
	return rc;
}

void phx_url_fini(struct phx_url *u)
{
	explicit_bzero(u, sizeof(*u));
}

/* ---- external id ---- */

static bool all_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!s[i] || !strchr("0123456789abcdefABCDEF", s[i]))
			return false;
	return true;
}

/* Hyphenated, simple (32 digits), "urn:uuid:" or {braced}. */
static bool text_is_uuid(const char *s)
{
	size_t len = strlen(s);
	char body[UUID_STRLEN];
	struct uuid id;

	if (len == 32)
		return all_hex(s, len);
	if (len == 45 && !strncasecmp(s, "urn:uuid:", 9))
		s += 9;
	else if (len == 38 && s[0] == '{' && s[37] == '}')
		s += 1;
	else if (len != 36)
		return false;
	memcpy(body, s, UUID_STRLEN - 1);
	body[UUID_STRLEN - 1] = '\0';
	return !uuid_parse(body, &id);
}

int phx_external_id(const char *device_id, char *buf, size_t cap)
{
	size_t len = strlen(device_id);
	uint8_t hash[32];

	if (!text_is_uuid(device_id)) {
		if (len >= cap)
			return -EMSGSIZE;
		memcpy(buf, device_id, len + 1);
		return 0;
	}
	if (cap < 2 * sizeof(hash) + 1)
		return -EMSGSIZE;
	sha256(device_id, len, hash);
	for (size_t i = 0; i < sizeof(hash); i++) {
		buf[2 * i] = hex_lower[hash[i] >> 4];
		buf[2 * i + 1] = hex_lower[hash[i] & 15];
	}
	buf[2 * sizeof(hash)] = '\0';
	return 0;
}

/* ---- user agent ---- */

static void put_printable(struct wbuf *w, const char *s)
{
	for (; s && *s; s++)
		if (*s >= ' ' && *s < 0x7f)
			wbuf_u8(w, (uint8_t)*s);
}

int phx_user_agent(const char *os, const char *os_version, const char *version, const char *arch,
		   const char *kernel, char *buf, size_t cap)
{
	struct wbuf w = wbuf_init(buf, cap);
	bool has_arch = arch && *arch, has_kernel = kernel && *kernel;
	size_t len;

	put_printable(&w, os);
	wbuf_u8(&w, '/');
	put_printable(&w, os_version);
	put_str(&w, " connlib/");
	put_printable(&w, version);
	if (has_arch || has_kernel) {
		put_str(&w, " (");
		put_printable(&w, arch);
		if (has_arch && has_kernel)
			put_str(&w, "; ");
		put_printable(&w, kernel);
		put_str(&w, ")");
	}
	wbuf_u8(&w, 0);
	return wbuf_done(&w, &len);
}
