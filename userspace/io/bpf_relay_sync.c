/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries of the relay's tables: a binding becomes two routes, a port four bits. */
#include <errno.h>
#include <string.h>
#include "io/bpf_relay_internal.h"
#include "io/bpf_sync.h"
#include "plan/relay_route.h"
#include "wire/turn.h"

/* ---- ports --------------------------------------------------------------------------------------
 */

static void bit_set(uint64_t words[PS_TURN_PORT_WORDS], uint16_t port, bool on)
{
	uint64_t mask = 1ull << (port & 63);

	if (on)
		__atomic_fetch_or(&words[port >> 6], mask, __ATOMIC_RELEASE);
	else
		__atomic_fetch_and(&words[port >> 6], ~mask, __ATOMIC_RELEASE);
}

static bool bit_get(const uint64_t words[PS_TURN_PORT_WORDS], uint16_t port)
{
	return words[port >> 6] >> (port & 63) & 1;
}

static uint64_t *words_of(__u64 *words)
{
	_Static_assert(sizeof(uint64_t) == sizeof(__u64), "the kernel's word");
	return (uint64_t *)(void *)words;
}

void bpf_relay_port_set(struct bpf_relay *r, uint16_t port, bool own4, bool own6, bool open4,
			bool open6)
{
	const bool own[] = {own4, own6}, open[] = {open4, open6};

	for (int f = 0; f < PS_TURN_FAMILIES; f++) {
		if (!own[f])
			bit_set(r->spilled[f], port, false);
		/* Open before it is there, there until it is closed: no packet of its own is
		 * dropped in between. */
		if (own[f]) {
			bit_set(words_of(r->port->open[f]), port,
				open[f] || bit_get(r->spilled[f], port));
			bit_set(words_of(r->port->own[f]), port, true);
		} else {
			bit_set(words_of(r->port->own[f]), port, false);
			bit_set(words_of(r->port->open[f]), port, false);
		}
	}
}

/* ---- bindings -----------------------------------------------------------------------------------
 */

/* A binding as the tables know it: keys, the two sides, and the families of both. */
struct entry {
	struct ps_relay_side client_in, client_out, peer_in, peer_out;
	union {
		struct ps_turn_chan4 v4;
		struct ps_turn_chan6 v6;
	} chan;
	union {
		struct ps_turn_peer4 v4;
		struct ps_turn_peer6 v6;
	} peer;
	int client_f, peer_f; /* enum ps_turn_family */
	bool self;
};

static struct ps_relay_side side_of(const struct ipaddr *from, uint16_t from_port,
				    const struct ipaddr *to, uint16_t to_port, uint16_t channel)
{
	struct ps_relay_side s = {.family = from->family,
				  .channel = ps_be16(channel),
				  .sport = ps_be16(from_port),
				  .dport = ps_be16(to_port)};

	memcpy(s.saddr, from->b, sizeof(s.saddr));
	memcpy(s.daddr, to->b, sizeof(s.daddr));
	return s;
}

static void entry_keys(struct entry *e, const struct bpf_relay_bind *b)
{
	const __be16 client_port = ps_be16(b->client.port), channel = ps_be16(b->channel);
	const __be16 peer_port = ps_be16(b->peer.port), port = ps_be16(b->port);

	if (e->client_f == PS_TURN_V4) {
		memcpy(e->chan.v4.client, b->client.ip.b, sizeof(e->chan.v4.client));
		e->chan.v4.client_port = client_port;
		e->chan.v4.channel = channel;
	} else {
		memcpy(e->chan.v6.client, b->client.ip.b, sizeof(e->chan.v6.client));
		e->chan.v6.client_port = client_port;
		e->chan.v6.channel = channel;
	}
	if (e->peer_f == PS_TURN_V4) {
		memcpy(e->peer.v4.peer, b->peer.ip.b, sizeof(e->peer.v4.peer));
		e->peer.v4.peer_port = peer_port;
		e->peer.v4.port = port;
	} else {
		memcpy(e->peer.v6.peer, b->peer.ip.b, sizeof(e->peer.v6.peer));
		e->peer.v6.peer_port = peer_port;
		e->peer.v6.port = port;
	}
}

static int family_of(uint8_t family)
{
	return family == 4 ? PS_TURN_V4 : family == 6 ? PS_TURN_V6 : -1;
}

/* 0 or -errno as bpf_relay_bind_set. */
static int entry_make(const struct bpf_relay *r, const struct bpf_relay_bind *b, struct entry *e)
{
	struct ipaddr local = b->local.ip;
	const struct ipaddr *relayed;

	memset(e, 0, sizeof(*e));
	e->client_f = family_of(b->client.ip.family);
	e->peer_f = family_of(b->peer.ip.family);
	if (e->client_f < 0 || e->peer_f < 0 || !turn_is_channel(b->channel) || !b->port)
		return -EINVAL;
	if (!local.family || ipaddr_is_unspecified(&local))
		local = r->own[e->client_f];
	relayed = &r->own[e->peer_f];
	if (!local.family || !relayed->family)
		return -EAFNOSUPPORT;
	if (local.family != b->client.ip.family)
		return -EINVAL;
	e->client_in = side_of(&b->client.ip, b->client.port, &local, b->local.port, b->channel);
	e->client_out = side_of(&local, b->local.port, &b->client.ip, b->client.port, b->channel);
	e->peer_in = side_of(&b->peer.ip, b->peer.port, relayed, b->port, 0);
	e->peer_out = side_of(relayed, b->port, &b->peer.ip, b->peer.port, 0);
	e->self = ipaddr_eq(&b->peer.ip, relayed) || ipaddr_eq(&b->peer.ip, &r->known[e->peer_f]);
	entry_keys(e, b);
	return 0;
}

/* 1: it is new; 0: an older one was replaced; or -errno. */
static int entry_put(int fd, const void *key, const struct ps_turn_route *route)
{
	if (bpf_map_update_elem(fd, key, route, BPF_EXIST) == 0)
		return 0;
	if (errno == ENOENT && bpf_map_update_elem(fd, key, route, BPF_NOEXIST) == 0)
		return 1;
	return errno == E2BIG || errno == ENOMEM ? -ENOSPC : -errno;
}

static int entry_del(int fd, const void *key)
{
	if (bpf_map_delete_elem(fd, key) == 0)
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

static void stat_clear(struct ps_turn_stat *s)
{
	__atomic_store_n(&s->packets, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->bytes, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->last_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->passed_ns, 0, __ATOMIC_RELAXED);
}

/* No router takes it, though no route may say so. */
static bool never_routed(const struct ipaddr *ip)
{
	return ipaddr_is_loopback(ip) || ipaddr_is_multicast(ip) || ipaddr_is_unspecified(ip) ||
	       (ip->family == 6 && ipaddr_is_link_local(ip));
}

/* Both directions, or neither. */
static int entry_insert(struct bpf_relay *r, const struct bpf_relay_bind *b, const struct entry *e)
{
	struct ps_turn_route to_client, to_peer;
	int rc, fresh;

	ps_relay_route_make(&to_client, &e->peer_in, &e->client_out, r->bindings + b->index,
			    b->expires_ns);
	ps_relay_route_make(&to_peer, &e->client_in, &e->peer_out, b->index, b->expires_ns);
	to_client.flags = to_peer.flags = e->self ? PS_TURN_SELF : 0;
	if (never_routed(&b->client.ip))
		to_client.flags |= PS_TURN_NEAR;
	if (never_routed(&b->peer.ip))
		to_peer.flags |= PS_TURN_NEAR;
	fresh = entry_put(r->peer_fd[e->peer_f], &e->peer, &to_client);
	if (fresh < 0)
		return fresh;
	if (fresh) {
		stat_clear(&r->stat[b->index]);
		stat_clear(&r->stat[r->bindings + b->index]);
		r->totals.bound++;
	}
	rc = entry_put(r->chan_fd[e->client_f], &e->chan, &to_peer);
	if (rc >= 0)
		return 0;
	if (entry_del(r->peer_fd[e->peer_f], &e->peer) > 0)
		r->totals.bound--;
	return rc;
}

int bpf_relay_bind_set(struct bpf_relay *r, const struct bpf_relay_bind *bind)
{
	struct entry e;
	int rc = entry_make(r, bind, &e);

	if (rc == 0)
		rc = bind->index < r->bindings ? entry_insert(r, bind, &e) : -ENOSPC;
	if (rc == -EAFNOSUPPORT)
		r->totals.no_family++;
	if (rc != -ENOSPC)
		return rc;
	r->totals.no_room++;
	bit_set(r->spilled[e.peer_f], bind->port, true);
	bit_set(words_of(r->port->open[e.peer_f]), bind->port, true);
	return rc;
}

int bpf_relay_bind_del(struct bpf_relay *r, const struct bpf_relay_bind *bind)
{
	struct entry e;
	int rc = entry_make(r, bind, &e), chan, peer;

	if (rc == -EAFNOSUPPORT)
		return 0;
	if (rc < 0)
		return rc;
	chan = entry_del(r->chan_fd[e.client_f], &e.chan);
	peer = entry_del(r->peer_fd[e.peer_f], &e.peer);
	if (peer > 0)
		r->totals.bound--;
	return chan < 0 ? chan : peer < 0 ? peer : 0;
}

/* ---- counters -----------------------------------------------------------------------------------
 */

static void stat_read(const struct ps_turn_stat *from, struct ps_turn_stat *to)
{
	to->packets = __atomic_load_n(&from->packets, __ATOMIC_RELAXED);
	to->bytes = __atomic_load_n(&from->bytes, __ATOMIC_RELAXED);
	to->last_ns = __atomic_load_n(&from->last_ns, __ATOMIC_RELAXED);
}

void bpf_relay_stat(const struct bpf_relay *r, uint32_t index, struct ps_turn_stat *to_peer,
		    struct ps_turn_stat *to_client)
{
	*to_peer = *to_client = (struct ps_turn_stat){0};
	if (index >= r->bindings)
		return;
	stat_read(&r->stat[index], to_peer);
	stat_read(&r->stat[r->bindings + index], to_client);
}

int bpf_relay_reasons(struct bpf_relay *r, struct ps_reason_count out[PS_R_COUNT])
{
	return bpf_counts_read(bpf_load_map_fd(&r->load, "ps_reason"), out);
}

struct bpf_relay_totals bpf_relay_totals(const struct bpf_relay *r)
{
	return r->totals;
}
