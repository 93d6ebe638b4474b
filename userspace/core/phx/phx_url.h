/* SPDX-License-Identifier: Apache-2.0
 *
 * Where and how to dial the portal: the upgrade request's host, port, path and query (spec portal
 * §1.2-1.3), the User-Agent (§1.4) and the external id. Pure text work; nothing is resolved or
 * sent. */
#ifndef PENSTOCK_CORE_PHX_URL_H
#define PENSTOCK_CORE_PHX_URL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PHX_HOST_CAP	    256
#define PHX_PATH_CAP	    8192
#define PHX_AUTH_CAP	    4096
#define PHX_USER_AGENT_CAP  256
#define PHX_EXTERNAL_ID_CAP 512
#define PHX_PORT_DEFAULT    443 /* whatever the scheme: what SEED components do */

/* NULL strings are left out of the query. All strings are the caller's. */
struct phx_url_params {
	const char *api_url; /* http, https, ws or wss; a path prefix is kept, query and fragment
				are not */
	const char *role;    /* "client", "gateway", "relay" */
	const char *token;
	bool token_in_header;  /* X-Authorization: Bearer …, instead of the query */
	const char *device_id; /* goes out as external_id, hashed when it is a UUID */
	const char *name;
	const char *ipv4, *ipv6, *port; /* relay: where it listens */
	const uint8_t *public_key;	/* 32 bytes or NULL */
	const char *device_serial, *device_uuid;
};

/* What io/websocket dials. Holds the token: wipe with phx_url_fini(). */
struct phx_url {
	bool tls;
	uint16_t port;
	char host[PHX_HOST_CAP];	  /* no brackets around IPv6 */
	char path[PHX_PATH_CAP];	  /* path and query */
	char authorization[PHX_AUTH_CAP]; /* value of X-Authorization; "" none */
};

/* 0; -EINVAL: *why (static, never NULL then) says what is wrong with the URL; -EMSGSIZE: too long.
 */
int phx_url_build(struct phx_url *u, const struct phx_url_params *p, const char **why);
/* The same URL checks without the rest, for configuration errors at start. */
int phx_url_check(const char *api_url, const char **why);
void phx_url_fini(struct phx_url *u);

/* lower_hex(SHA-256(device_id)) when device_id is a UUID (hyphenated, simple, urn or braced; any
 * case), else a copy. 0 or -EMSGSIZE. */
int phx_external_id(const char *device_id, char *buf, size_t cap);

/* "<os>/<os_version> connlib/<version> (<arch>; <kernel>)"; NULL or empty arch and kernel are left
 * out, characters outside printable ASCII are dropped. The portal reads the version after
 * "connlib/". 0 or -EMSGSIZE. */
int phx_user_agent(const char *os, const char *os_version, const char *version, const char *arch,
		   const char *kernel, char *buf, size_t cap);
#endif
