/* SPDX-License-Identifier: Apache-2.0
 *
 * The properties of systemd-resolved's manager, as GetAll returns them, made the system's
 * resolvers. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include "io/dns_internal.h"

/* One element of DNS "(iiay)" or DNSEx "(iiayqs)". */
static int read_server(sd_bus_message *m, bool ex, int not_link, struct resolv_conf *out)
{
	int32_t ifindex, family;
	const void *bytes;
	const char *name;
	size_t len;
	uint16_t port = 0;
	struct resolv_server s = {0};
	int rc = sd_bus_message_enter_container(m, 'r', ex ? "iiayqs" : "iiay");

	if (rc <= 0)
		return rc;
	if ((rc = sd_bus_message_read(m, "ii", &ifindex, &family)) < 0 ||
	    (rc = sd_bus_message_read_array(m, 'y', &bytes, &len)) < 0 ||
	    (ex && (rc = sd_bus_message_read(m, "qs", &port, &name)) < 0))
		return rc;
	if ((rc = sd_bus_message_exit_container(m)) < 0)
		return rc;
	if (ifindex == not_link)
		return 1;
	if ((family == AF_INET && len == 4) || (family == AF_INET6 && len == 16)) {
		s.at.ip = ipaddr_from(len == 4 ? 4 : 6, bytes);
		s.at.port = port ? port : 53;
		if (ipaddr_is_link_local(&s.at.ip))
			s.ifindex = (uint32_t)ifindex;
		resolv_server_add(out, &s);
	} else {
		out->n_dropped++;
	}
	return 1;
}

static int read_servers(sd_bus_message *m, bool ex, int not_link, struct resolv_conf *out)
{
	int rc = sd_bus_message_enter_container(m, 'v', ex ? "a(iiayqs)" : "a(iiay)");

	if (rc < 0 || (rc = sd_bus_message_enter_container(m, 'a', ex ? "(iiayqs)" : "(iiay)")) < 0)
		return rc;
	while ((rc = read_server(m, ex, not_link, out)) > 0)
		;
	if (rc < 0 || (rc = sd_bus_message_exit_container(m)) < 0)
		return rc;
	return sd_bus_message_exit_container(m);
}

/* Search domains; those that only route are no search domains. */
static int read_domains(sd_bus_message *m, int not_link, struct resolv_conf *out)
{
	int32_t ifindex;
	const char *name;
	int route_only, rc = sd_bus_message_enter_container(m, 'v', "a(isb)");

	if (rc < 0 || (rc = sd_bus_message_enter_container(m, 'a', "(isb)")) < 0)
		return rc;
	while ((rc = sd_bus_message_read(m, "(isb)", &ifindex, &name, &route_only)) > 0)
		if (!route_only && ifindex != not_link)
			resolv_search_add(out, name, strlen(name));
	if (rc < 0 || (rc = sd_bus_message_exit_container(m)) < 0)
		return rc;
	return sd_bus_message_exit_container(m);
}

struct found {
	struct resolv_conf dns, dns_ex, fallback, fallback_ex;
};

static int read_property(sd_bus_message *m, const char *name, int not_link, struct found *f)
{
	if (strcmp(name, "DNSEx") == 0)
		return read_servers(m, true, not_link, &f->dns_ex);
	if (strcmp(name, "DNS") == 0)
		return read_servers(m, false, not_link, &f->dns);
	if (strcmp(name, "FallbackDNSEx") == 0)
		return read_servers(m, true, not_link, &f->fallback_ex);
	if (strcmp(name, "FallbackDNS") == 0)
		return read_servers(m, false, not_link, &f->fallback);
	if (strcmp(name, "Domains") == 0)
		return read_domains(m, not_link, &f->dns);
	return sd_bus_message_skip(m, "v");
}

/* GetAll's a{sv}. Old versions have no …Ex, that is: no ports; the fallback counts where nothing
 * else is there, as it does for systemd-resolved. */
int dns_resolved_read(sd_bus_message *m, int not_link, struct resolv_conf *out)
{
	struct found *f = calloc(1, sizeof(*f));
	const char *name;
	int rc = f ? sd_bus_message_enter_container(m, 'a', "{sv}") : -ENOMEM;

	while (rc >= 0 && (rc = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		rc = sd_bus_message_read(m, "s", &name);
		if (rc >= 0)
			rc = read_property(m, name, not_link, f);
		if (rc >= 0)
			rc = sd_bus_message_exit_container(m);
	}
	if (rc >= 0) {
		const struct resolv_conf *from = f->dns_ex.n_servers	    ? &f->dns_ex
						 : f->dns.n_servers	    ? &f->dns
						 : f->fallback_ex.n_servers ? &f->fallback_ex
									    : &f->fallback;

		*out = f->dns; /* search domains */
		memcpy(out->server, from->server, sizeof(out->server));
		out->n_servers = from->n_servers;
	}
	free(f);
	return rc < 0 ? rc : 0;
}
