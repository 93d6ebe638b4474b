/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell shared by penstock-gateway and penstock-client: one control thread, its loop, and
 * everything the loop owns. Cores decide, this performs.
 *
 * Rule of the house: after anything that can shrink an authorisation, role->drain runs before the
 * next packet is looked at. */
/* clang-format off */
/*
 * a packet from the network          data_rx.c  udp -> node (STUN, handshake), or fwd_open_batch -> role policy -> TUN
 * a packet from the TUN              data_tx.c  role policy -> fwd_seal_batch -> udp
 * what both share                    data.c
 * established flows, on other threads worker_rx.c, worker_tx.c  fwd_fast (plan) -> TUN, udp; worker.c, worker_xsk.c
 * how either enters the devices      lane.c
 * what connections want              link.c   node events -> forwarding table, kernel keys, candidates
 * where their packets go             path.c   paths and relays' channels -> forwarding table
 * how long they may be               mtu.c    probes -> forwarding table, routes
 * what the portal says               portal.c websocket -> phx -> role
 * who may do what                    role_gateway.c, role_client.c around core/tunnel
 * cached flows of the kernel         flow.c
 * once a second                      tick.c   counters of both executors -> timers
 * names                              dns.c    sockets <-> stub resolver
 * names in the site                  site.c   the gateway's resolver for its clients
 * whom the host asks for names       dns_host.c    io/dns_control <-> sentinels, system's resolvers
 * the portal's own name              portal_name.c
 * devices, made and undone           dev.c, dev_route.c
 * options, operator's view, life     opt.c, view.c, run.c
 * the operator's switches            switch.c
 */
/* clang-format on */
#ifndef PENSTOCK_DAEMON_H
#define PENSTOCK_DAEMON_H
#include <stdbool.h>
#include <stdint.h>

#include "apps/daemon/opt.h"
#include "base/log.h"
#include "codec/p2p_ctl.h"
#include "codec/portal_msg.h"
#include "core/node/node.h"
#include "core/phx/cand_hold.h"
#include "core/phx/phx_chan.h"
#include "core/phx/phx_url.h"
#include "core/tunnel/client.h"
#include "core/tunnel/gateway.h"
#include "core/tunnel/nat.h"
#include "core/tunnel/pmtu.h"
#include "core/tunnel/tgw_asks.h"
#include "fwd/fwd_flows.h"
#include "fwd/fwd_pace.h"
#include "fwd/fwd_table.h"
#include "io/bpf_load.h"
#include "io/bpf_sync.h"
#include "io/ctl_socket.h"
#include "io/dns_control.h"
#include "io/dns_resolver.h"
#include "io/loop.h"
#include "io/nl_addr.h"
#include "io/nl_link.h"
#include "io/nl_route.h"
#include "io/resolver.h"
#include "io/site_resolver.h"
#include "io/tun.h"
#include "io/udp.h"
#include "io/websocket.h"

struct daemon;

/* What differs between a gateway and a client. Functions may be called in any state. */
struct role {
	const char *name; /* "gateway", "client": also the portal's role */
	const char *log_name;
	enum pmsg_role pmsg;
	bool gateway;
	int (*init)(struct daemon *d);
	void (*fini)(struct daemon *d);
	void (*message)(struct daemon *d, const struct pmsg *m, uint64_t now);
	enum ps_reason_id (*check_in)(struct daemon *d, uint32_t slot, const uint8_t *pkt,
				      const struct ip_meta *m, struct tunnel_flow_grant *out,
				      uint64_t now);
	enum ps_reason_id (*check_out)(struct daemon *d, const uint8_t *pkt,
				       const struct ip_meta *m, struct tunnel_flow_grant *out,
				       uint64_t now);
	void (*drain)(struct daemon *d, uint64_t now);
	/* A control packet of the peer, but goodbye; its URX_CONTROL reason. */
	enum ps_reason_id (*control)(struct daemon *d, uint32_t slot, const struct p2p_ctl *ctl,
				     uint64_t now);
	void (*established)(struct daemon *d, uint32_t slot, uint64_t now);
	void (*gone)(struct daemon *d, uint32_t slot, uint64_t now);
	struct deadline (*deadline)(const struct daemon *d);
	void (*timeout)(struct daemon *d, uint64_t now);
	/* For the operator's view. */
	bool (*peer_info)(const struct daemon *d, uint32_t slot, struct uuid *id, struct ipaddr *v4,
			  struct ipaddr *v6, uint32_t *resources);
	bool (*resource_info)(const struct daemon *d, uint32_t resource, struct uuid *id,
			      const char **name);
	/* A flow's site, gateway and name into its JSON object. peer: the other end's slot, or
	 * TUNNEL_NO_SLOT; far: its address on the resource's side, as the client sees it. */
	void (*view_flow)(const struct daemon *d, uint32_t peer, const struct ipaddr *far,
			  json_t *out);
	void (*view_resources)(const struct daemon *d, json_t *out);
};

extern const struct role role_gateway;
extern const struct role role_client;

enum daemon_portal {
	PORTAL_SIGNED_OUT, /* no token */
	PORTAL_CONNECTING,
	PORTAL_BACKOFF,
	PORTAL_CONNECTED,
	PORTAL_FAILED,
};

/* Which flows were put into the kernel lately: spares a map update per packet. */
#define FLOW_MEMO_CAP 4096 /* power of two */
struct flow_memo {
	struct ps_flow_key key;
	uint32_t generation;
	uint64_t expires_ns;
	uint64_t at_ns;
	struct tunnel_nat nat;
};

/* What the last tick saw of a session. */
struct session_seen {
	uint32_t idx;
	uint32_t pad;
	uint64_t rx_ns, tx_ns;
	struct fwd_moved kernel, all; /* both directions; all: by either executor */
	uint64_t tx_bytes;
};

/* Channels of relays the kernel knows: a few for each peer, and never more than eight relays can
 * hand out (RFC 8656 §12: 4096 numbers each). */
#define DAEMON_PEER_CHANNELS 8
#define DAEMON_CHANNELS_MAX  32768

/* How the host is pointed at our resolver (dns_host.c). */
struct dns_host {
	struct dns_control *control;  /* NULL: gateway, or there is none */
	char search[RESOLV_NAME_CAP]; /* the portal's search domain; "" */
	enum dns_state said;	      /* of the last log line about it */
	struct io_err said_why;
	bool left_alone;	    /* said once: the method is disabled */
	uint64_t applied_ns;	    /* when the settings became ours */
	uint64_t again_ns, wait_ns; /* lost or failed: tried again then; the pause before it */
};

struct portal_name;
struct data;
struct workers;

struct daemon {
	const struct role *role;
	struct opt opt;
	int exit_code;
	bool stopping;

	/* devices */
	struct loop loop;
	struct nl *nl;
	struct nl_monitor *monitor;
	struct tun *tun;
	struct udp *udp;
	struct bpf_load *bpf; /* NULL: user space only */
	struct ctl_server *ctl;
	char kernel_why[200]; /* why bpf is NULL */
	bool nft_on, sysctl_on, rules_on;
	bool internet_routed;  /* client: default routes lead into the tunnel */
	char state_prefix[96]; /* /run/penstock/<instance> */
	int wan_ifindex[BPF_WAN_MAX];
	char wan_name[BPF_WAN_MAX][16];
	char xsk_why[BPF_WAN_MAX][160]; /* why there are no AF_XDP sockets though they are wanted */
	size_t wan_len;

	/* cores */
	struct fwd_table fwd;
	struct fwd_flows flows; /* those user space carries */
	struct node node;
	struct phx phx;
	struct cand_hold held;
	union {
		struct tgw tgw;
		struct tcl tcl;
	};
	struct mtu *mtu;	      /* mtu.c's own */
	struct tgw_asks asks;	      /* gateway: what one client may make it do */
	struct nat *nat;	      /* gateway: translations of DNS resources; NULL: none */
	struct dns_resolver *stub_io; /* client: its sockets */
	struct endpoint dns_portal[DNS_UPSTREAMS_CAP]; /* resolvers the portal names */
	struct endpoint dns_system[DNS_UPSTREAMS_CAP]; /* those the host had before us */
	uint32_t dns_portal_count, dns_system_count;
	struct dns_host dns_host;
	struct dns_stub *stub;	    /* client: names of its DNS resources; NULL: none */
	struct resolver *resolver;  /* gateway: the host's names; else NULL */
	struct site_resolver *site; /* gateway: answers its clients' SRV and TXT; else NULL */
	uint32_t max_peers, n_sessions, max_flows, max_channels;
	struct ipaddr tun4, tun6; /* family 0 before the portal's init */
	char id[FILE_ID_LEN_MAX];

	/* memory handed to the cores */
	struct fwd_mem fwd_mem;
	struct node_mem node_mem;
	struct session_seen *seen;
	struct fwd_pace *pace;
	bool token_refused; /* logged already */
	bool captured;	    /* somebody captures on the tunnel device */
	struct flow_memo *memo;
	struct data *data;	 /* data.h */
	struct workers *workers; /* worker.h; NULL: none */
	char workers_why[160];	 /* why there are none */
	void *role_mem[20];

	/* portal */
	struct ws *ws;
	struct portal_name *portal_name; /* client */
	enum daemon_portal portal;
	uint64_t portal_since_ns;
	char portal_error[160];
	uint64_t relays_due_ns;			  /* ask for relays then; 0: no need */
	uint64_t relays_asked_ns, relays_wait_ns; /* last time, and the pause after it */
	char token[OPT_TOKEN_CAP];		  /* wiped at exit; never formatted */
	char user_agent[PHX_USER_AGENT_CAP];

	/* loop handles */
	struct loop_hook hook;
	struct loop_wake workers_wake;
	struct loop_timer timer, tick;
	uint32_t tick_at;   /* the session that the next tick begins with */
	uint32_t tick_each; /* how many it looks at; 0: the usual number */
	struct loop_fd fd_udp4, fd_udp6, fd_tun, fd_monitor;
	struct loop_signal sig_int, sig_term, sig_hup;

	/* counters of user space by reason, since start */
	struct ps_reason_count reasons[PS_R_COUNT];
	uint64_t started_ns;
	uint64_t lag_ns, lag_max_ns; /* how late the tick came: last time, and ever */
	uint64_t tick_due_ns;
	uint64_t icmp_tokens, icmp_at_ns;
	/* packets and inner bytes of sessions that are gone */
	struct ps_session retired;
};

/* ---- data.c, data_rx.c, data_tx.c: the user-space executor ---- */
int data_open(struct daemon *d);
void data_close(struct daemon *d);
void data_udp_readable(struct daemon *d, int family, uint64_t now);
void data_tun_readable(struct daemon *d, uint64_t now);
/* Encrypt one inner packet to the peer and queue it. */
enum ps_reason_id data_send(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
			    uint8_t ecn, uint64_t now);
/* The same whatever the length, and without asking for a session when there is none: a probe. */
enum ps_reason_id data_send_any(struct daemon *d, uint32_t slot, const uint8_t *pkt, size_t len,
				uint8_t ecn, uint64_t now);
/* After PS_R_UTX_TOO_BIG: tell the sender behind the tunnel device, at a bounded rate. pkt is as it
 * came from there. */
void data_too_big(struct daemon *d, uint32_t slot, const uint8_t *pkt, const struct ip_meta *m,
		  uint64_t now);
/* Before each sleep: the kernel programs learn when nothing they passed up is left here. */
void data_drained(struct daemon *d);
void data_goodbye(struct daemon *d, uint32_t slot, uint64_t now);
void data_count(struct daemon *d, enum ps_reason_id reason, size_t bytes);

/* ---- worker.c, worker_rx.c, worker_xsk.c, worker_tx.c: threads that carry established flows ----
 */
/* As many as the options say, if kernel and devices allow; d->workers_why when they do not. Before
 * the sockets are opened anew they are closed. */
void workers_open(struct daemon *d);
void workers_close(struct daemon *d);
/* loop_wake of workers_wake: what they have handed over. */
void workers_take(void *d, uint64_t now);
/* The control thread may have packets; has none left. The latter only with workers. */
void workers_busy(struct daemon *d);
void workers_drained(struct daemon *d);
/* A relay's channel on which data may come. */
void workers_channel(struct daemon *d, const struct ps_channel_key *k, bool up);
/* Add their counters. */
void workers_reasons(const struct daemon *d, struct ps_reason_count *sum);
/* The same of what status shows of their devices. */
void workers_tun_stats(const struct daemon *d, struct tun_stats *sum);
void workers_udp_stats(const struct daemon *d, struct udp_stats *sum);
json_t *workers_view(const struct daemon *d);
/* The AF_XDP sockets of an interface; null: there are none. */
json_t *workers_xsk_view(const struct daemon *d, size_t wan);

/* ---- link.c ---- */
/* Until the node has neither events nor datagrams. */
void link_drain(struct daemon *d, uint64_t now);
/* Close the connection in slot, if any, and drain it to its end. */
void link_close(struct daemon *d, uint32_t slot, uint64_t now);
/* Claim the slot in the forwarding table for a peer the policy has added. */
void link_peer_added(struct daemon *d, uint32_t slot, const struct ipaddr *v4,
		     const struct ipaddr *v6);
/* Policy shrank: cached flows are misses from now on. */
void link_peer_changed(struct daemon *d, uint32_t slot);
void link_peer_removed(struct daemon *d, uint32_t slot, uint64_t now);
/* Create or reuse the connection; false: it could not be (counted and logged). */
bool link_connect(struct daemon *d, uint32_t slot, const struct node_peer *p, uint64_t now);
/* Interface addresses -> host candidates. True: one of them is gone, and with it whatever
 * connection had it as its source; or there is a new one to try the portal from. */
bool link_refresh_hosts(struct daemon *d, uint64_t now);

/* ---- path.c ---- */
/* Packets to the peer take this path from now on, in both executors. One through a relay without a
 * channel is none. */
void path_set(struct daemon *d, uint32_t slot, const struct node_path *path, uint64_t now);
void path_clear(struct daemon *d, uint32_t slot, uint64_t now);
/* Routes changed: ask anew which interface each path leaves by. */
void path_refresh(struct daemon *d, uint64_t now);
/* A relay's channel came up or went: does the kernel take what arrives on it? */
void path_channel(struct daemon *d, const struct node_channel *c, bool up);

/* ---- mtu.c ---- */
/* A path as far as its packets' length goes. */
struct mtu_way {
	int ifindex;	/* it leaves by; 0: not known */
	uint8_t family; /* outside */
	bool relayed;	/* by a relay of ours or the peer's */
	bool changed;	/* it is another one than before */
};
int mtu_open(struct daemon *d);
void mtu_close(struct daemon *d);
void mtu_path(struct daemon *d, uint32_t slot, const struct mtu_way *way, uint64_t now);
void mtu_no_path(struct daemon *d, uint32_t slot, uint64_t now);
void mtu_established(struct daemon *d, uint32_t slot, uint64_t now);
/* The data path has sent so many inner bytes, probes among them; then, once a second, the tick. */
void mtu_sent(struct daemon *d, uint32_t slot, uint64_t bytes);
void mtu_tick(struct daemon *d, uint64_t now);
/* A control packet and what became of it; false: none of ours. */
bool mtu_control(struct daemon *d, uint32_t slot, const struct p2p_ctl *ctl,
		 enum ps_reason_id *reason, uint64_t now);
struct deadline mtu_deadline(const struct daemon *d);
void mtu_timeout(struct daemon *d, uint64_t now);
/* Before each sleep: routes follow what has changed. */
void mtu_drain(struct daemon *d);
/* The MTU of one of the device's routes, now. */
uint16_t mtu_of_route(struct daemon *d, const struct ipnet *net);
/* A client's resources may have changed gateways: its routes' MTUs are looked at anew. */
void mtu_mapped(struct daemon *d);
/* A peer's tunnel addresses changed. */
void mtu_peer_changed(struct daemon *d, uint32_t slot);
/* Around an exchange of all of a gateway's routes: its clients' own ones go, and come again. */
void mtu_withdraw(struct daemon *d);
void mtu_announce(struct daemon *d);
json_t *mtu_view(const struct daemon *d, uint32_t slot);

/* ---- flow.c ---- */
int flow_init(struct daemon *d);
void flow_fini(struct daemon *d);
/* User space has passed packets like this one: their flow is noted, and offered to the kernel if it
 * can be. bytes are the inner packets'. */
void flow_carried(struct daemon *d, enum bpf_dir dir, uint32_t slot, const struct ip_meta *m,
		  const struct tunnel_flow_grant *g, uint64_t packets, uint64_t bytes,
		  uint64_t now);
/* Once a second: translated sessions learn what the kernel carried, those that are over end, and
 * the kernel's flows of them with them. */
void flow_nat_tick(struct daemon *d, uint64_t now);

/* ---- portal.c ---- */
int portal_init(struct daemon *d);
void portal_start(struct daemon *d, uint64_t now);
void portal_drain(struct daemon *d, uint64_t now);
/* The last relay is gone, and only the portal knows others: join it anew as soon as the pause since
 * the last time is over. portal_tick does it. */
void portal_ask_relays(struct daemon *d, uint64_t now);
void portal_tick(struct daemon *d, uint64_t now);
/* Hand candidates that wait to the portal, no more; portal_drain does it, too. */
void portal_flush(struct daemon *d, uint64_t now);
void portal_reconnect(struct daemon *d, uint64_t now);
void portal_fini(struct daemon *d);
/* Send a message on the role topic; logs what is refused. */
int portal_send(struct daemon *d, const char *event, const char *payload, uint64_t now);
const char *portal_state_name(enum daemon_portal p);

/* ---- role_common.c ---- */
/* The portal's view of a resource as policy takes it. 0; -E2BIG when its filters do not fit: it
 * then permits less than the portal says, and nothing more. */
int role_resource(const struct pmsg_resource *in, struct tunnel_resource *out);
/* ICE credentials of a portal message; false when they do not fit. */
bool role_creds(const struct pmsg_ice_creds *in, struct ice_creds *out);
/* The relays a portal message names go to the node: those of init (gone is empty) or of
 * relays_presence. */
void role_relays(struct daemon *d, struct pmsg_list gone, struct pmsg_list relays, uint64_t now);
void role_candidates(struct daemon *d, uint32_t slot, const struct pmsg_candidates *c, bool gone,
		     uint64_t now);

/* ---- dev.c ---- */
int dev_open(struct daemon *d);
void dev_close(struct daemon *d);
/* The portal told our tunnel addresses. 1: they are new and the device's routes may have gone with
 * the old ones (the gateway's are set again); 0: nothing changed; -errno. */
int dev_set_interface(struct daemon *d, const struct ipaddr *v4, const struct ipaddr *v6);

/* ---- dev_route.c ---- */
/* Policy rules, after what a killed run left of them and of the tables was removed. */
void dev_open_rules(struct daemon *d);
void dev_close_rules(struct daemon *d);
/* A client's packets with this address of the tunnel leave by the tunnel or not at all: streams of
 * a resource that is gone would else go on in the clear. */
void dev_guard(struct daemon *d, const struct ipaddr *a);
/* What was set in io/sysctl.h gets its old value back. */
void dev_restore_sysctls(struct daemon *d);
/* These networks lead into the tunnel, and no others. */
int dev_set_routes(struct daemon *d, const struct ipnet *nets, uint32_t n);
/* Addresses or routes of the host have changed. */
void dev_follow_network(struct daemon *d);

/* ---- dns.c: the client's resolver ---- */
int dns_open(struct daemon *d);
/* What the portal says: own addresses and its resolvers. fresh: the device lost its addresses. */
void dns_set_interface(struct daemon *d, const struct pmsg_interface *i, bool fresh, uint64_t now);
/* The host's own resolvers, without ours. */
void dns_set_system(struct daemon *d, const struct endpoint *list, uint32_t n, uint64_t now);
json_t *dns_view(const struct daemon *d); /* null without a resolver */
/* Raise the limit of descriptors as far as queries need. */
void dns_allow_files(void);
json_t *dns_view_server(const struct dns_server_stats *n);

/* ---- site.c: the gateway's resolver ---- */
int site_open(struct daemon *d);
/* The tunnel addresses are known or were told again: listen there. */
void site_listen(struct daemon *d, uint64_t now);
json_t *site_view(const struct daemon *d);

/* ---- dns_host.c: the host's settings. Only open and close must come in this order. ---- */
/* What a killed client left in the host's settings, undone before anything else is tried. */
void dns_host_recover(void);
void dns_host_open(struct daemon *d);
void dns_host_set_search(struct daemon *d, const char *domain); /* the portal's; NULL: none */
/* The sentinels that can be asked, or the search domain, may be others: the host is told, or has
 * its own settings back when there are none. */
void dns_host_update(struct daemon *d, uint64_t now);
/* Resources changed: the host forgets what it cached. */
void dns_host_flush(struct daemon *d);
/* The network changed. */
void dns_host_refresh(struct daemon *d);
void dns_host_tick(struct daemon *d, uint64_t now);
void dns_host_view(const struct daemon *d, json_t *out);
/* Everything back. Waits half a second at most. */
void dns_host_close(struct daemon *d);

/* ---- portal_name.c: the portal's name, client only ---- */
void portal_name_open(struct daemon *d);
/* ws_cfg.lookup, of a struct daemon. */
int portal_name_ask(void *ctx, const char *host, uint64_t cookie, uint64_t now);
void portal_name_close(struct daemon *d);

/* ---- tick.c ---- */
void tick(void *ctx, uint64_t now);

/* ---- view.c ---- */
char *view_request(void *arg, const char *request, size_t len);
/* What both roles show of a resource; the role adds its own keys. A new reference. */
json_t *view_resource(const struct tunnel_resource *r);

/* A refusal with that code; fmt has one %s. */
json_t *view_refuse(const char *code, const char *fmt, const char *arg);

/* ---- view_wan.c ---- */
#define WAN_ADVICE_GRO                                                                             \
	"GRO is off: bulk arrives in single datagrams, which cost several times as much; ethtool " \
	"-K <interface> gro on"
json_t *view_wan(const struct daemon *d);

/* ---- view_bulk.c ---- */
json_t *view_bulk(const struct daemon *d);

/* ---- switch.c ---- */
/* {"resource","on"}: switch a resource of the client. */
json_t *switch_request(struct daemon *d, const json_t *req, uint64_t now);

/* ---- view_names.c: of a gateway ---- */
json_t *view_names_status(const struct daemon *d);
json_t *view_nat_status(const struct daemon *d);

/* ---- view_flows.c ---- */
json_t *view_flows(const struct daemon *d, const json_t *req, uint64_t now);

/* ---- view_relays.c ---- */
json_t *view_relays(const struct daemon *d, uint64_t now);

/* ---- run.c ---- */
/* The whole life of a daemon; returns the exit status. */
int daemon_main(const struct role *role, int argc, char **argv);
void daemon_stop(struct daemon *d, int exit_code);
#endif
