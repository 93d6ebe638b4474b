/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
 *
 * Every fate a packet can have, once. BPF counts them in `ps_reason` (per CPU, packets and bytes),
 * user space in an array of the same shape; `penstock drops` and the documentation print the names
 * from here.
 *
 *   R(NAME, "name", VERDICT, "sentence")
 *
 * Prefix: XDP_ decided by ps_wan_rx, IN_ by ps_wan_in, TX_ by ps_tun_out, RXDP_ by the relay's
 * ps_relay, RUX_ by its workers, URX_/UTX_ by the user-space executor (from and to the network),
 * CTL_ by the control plane. Verdict: DONE  handled here (delivered or sent) PASS  not for this
 * executor: handed on unmodified, the next one decides DROP  ends here Positions are not ABI
 * between versions; names are. */
#ifndef PENSTOCK_ABI_REASONS_H
#define PENSTOCK_ABI_REASONS_H

#define PS_REASONS(R)                                                                              \
	R(XDP_DELIVERED, "xdp_delivered", DONE, "decrypted and delivered by the kernel")           \
	R(XDP_DAEMON_GONE, "xdp_daemon_gone", PASS, "no live daemon owns the tunnel device")       \
	R(XDP_NOT_IP, "xdp_not_ip", PASS, "neither IPv4 nor IPv6")                                 \
	R(XDP_TRUNCATED, "xdp_truncated", PASS, "shorter than its headers say")                    \
	R(XDP_IP_OPTIONS, "xdp_ip_options", PASS, "IPv4 options or IPv6 extension headers")        \
	R(XDP_FRAGMENT, "xdp_fragment", PASS, "outer packet is a fragment")                        \
	R(XDP_NOT_UDP, "xdp_not_udp", PASS, "not UDP")                                             \
	R(XDP_OTHER_PORT, "xdp_other_port", PASS, "not addressed to our UDP port")                 \
	R(XDP_STUN, "xdp_stun", PASS, "STUN, for the control plane")                               \
	R(XDP_NOT_DATA, "xdp_not_data", PASS, "not a WireGuard data packet")                       \
	R(XDP_CHANNEL_LEN, "xdp_channel_len", PASS,                                                \
	  "channel data whose length field is not the datagram's")                                 \
	R(XDP_NO_CHANNEL, "xdp_no_channel", PASS, "channel data of no relay and channel of ours")  \
	R(XDP_NO_SESSION, "xdp_no_session", PASS, "receiver index names no session")               \
	R(XDP_UNCONFIRMED, "xdp_unconfirmed", PASS,                                                \
	  "session awaits its first packet in user space")                                         \
	R(XDP_USER_MODE, "xdp_user_mode", PASS, "session is served by user space")                 \
	R(XDP_EXPIRED, "xdp_expired", PASS, "session is past its lifetime")                        \
	R(XDP_NO_KEY, "xdp_no_key", PASS, "session has no key in the kernel")                      \
	R(XDP_KEEPALIVE, "xdp_keepalive", PASS, "keepalive, for the control plane")                \
	R(XDP_TOO_BIG, "xdp_too_big", PASS, "longer than the kernel cipher handles")               \
	R(XDP_GSO, "xdp_gso", PASS, "several datagrams in one frame, for user space")              \
	R(XDP_BULK, "xdp_bulk", PASS,                                                              \
	  "goes with trains, or follows its session, through user space")                          \
	R(XDP_BAD_TAG, "xdp_bad_tag", DROP, "authentication tag is wrong")                         \
	R(XDP_REPLAY, "xdp_replay", DROP, "counter was seen before or is too old")                 \
	R(XDP_INNER_MALFORMED, "xdp_inner_malformed", PASS,                                        \
	  "inner packet is not plain IPv4/IPv6 of that length")                                    \
	R(XDP_INNER_OTHER, "xdp_inner_other", PASS,                                                \
	  "inner protocol, option or fragment for user space")                                     \
	R(XDP_BAD_SOURCE, "xdp_bad_source", PASS, "inner source is not the peer's tunnel address") \
	R(XDP_NO_FLOW, "xdp_no_flow", PASS, "flow is not established: user space decides")         \
	R(XDP_FLOW_STALE, "xdp_flow_stale", PASS,                                                  \
	  "flow was authorised under an older policy generation")                                  \
	R(XDP_FLOW_EXPIRED, "xdp_flow_expired", PASS, "authorisation of the flow has expired")     \
	R(XDP_FLOW_WARM, "xdp_flow_warm", PASS,                                                    \
	  "flow is new: follows its packets through user space")                                   \
	R(XDP_NAT_BOUND, "xdp_nat_bound", PASS,                                                    \
	  "a translated TCP connection begins or ends: user space keeps account")                  \
	R(XDP_ECN, "xdp_ecn", DROP,                                                                \
	  "marked as having met congestion, but takes no part in ECN (RFC 6040)")                  \
	R(XDP_ADJUST_FAILED, "xdp_adjust_failed", PASS, "driver refused to move the packet start") \
	R(XDP_STEERED, "xdp_steered", DONE, "handed to its path's processor, which decides")       \
	R(XDP_NO_CPU, "xdp_no_cpu", PASS, "its path's processor cannot be handed anything")        \
	R(XDP_XSK, "xdp_xsk", DONE, "handed to user space by its receive queue's AF_XDP socket")   \
	R(IN_DELIVERED, "in_delivered", DONE, "redirected to the tunnel device")                   \
	R(IN_NOT_OURS, "in_not_ours", PASS, "no metadata of ps_wan_rx")                            \
	R(IN_NO_ROOM, "in_no_room", DROP, "decrypted, but no memory to hand it on")                \
	R(IN_DAEMON_GONE, "in_daemon_gone", DROP, "decrypted, but the tunnel device is gone")      \
	R(TX_SENT, "tx_sent", DONE, "encrypted and sent by the kernel")                            \
	R(TX_NOT_IP, "tx_not_ip", PASS, "neither IPv4 nor IPv6, or malformed")                     \
	R(TX_INNER_OTHER, "tx_inner_other", PASS, "protocol, option or fragment for user space")   \
	R(TX_GSO, "tx_gso", PASS, "segmentation-offload packet, for user space")                   \
	R(TX_BULK, "tx_bulk", PASS, "follows earlier packets of its flow through user space")      \
	R(TX_NAT_BOUND, "tx_nat_bound", PASS,                                                      \
	  "a translated TCP connection begins or ends: user space keeps account")                  \
	R(TX_NO_FLOW, "tx_no_flow", PASS, "flow is not established: user space decides")           \
	R(TX_FLOW_STALE, "tx_flow_stale", PASS,                                                    \
	  "flow was authorised under an older policy generation")                                  \
	R(TX_FLOW_EXPIRED, "tx_flow_expired", PASS, "authorisation of the flow has expired")       \
	R(TX_NO_PATH, "tx_no_path", PASS, "peer has no path or session in the kernel")             \
	R(TX_USER_MODE, "tx_user_mode", PASS, "peer is served by user space")                      \
	R(TX_EXPIRED, "tx_expired", PASS, "session is past its sending lifetime")                  \
	R(TX_NO_KEY, "tx_no_key", PASS, "session has no key in the kernel")                        \
	R(TX_TOO_BIG, "tx_too_big", PASS, "longer than the connection carries")                    \
	R(TX_NO_ROOM, "tx_no_room", DROP, "no memory for the outer headers")                       \
	R(RXDP_TO_PEER, "rxdp_to_peer", DONE, "channel data sent on to the peer")                  \
	R(RXDP_TO_CLIENT, "rxdp_to_client", DONE,                                                  \
	  "peer's datagram sent on to the client, on its channel")                                 \
	R(RXDP_TO_SELF, "rxdp_to_self", DONE,                                                      \
	  "channel data sent on to another client of this relay")                                  \
	R(RXDP_DAEMON_GONE, "rxdp_daemon_gone", PASS,                                              \
	  "the relay daemon has not said lately that it lives")                                    \
	R(RXDP_NOT_IP, "rxdp_not_ip", PASS, "neither IPv4 nor IPv6")                               \
	R(RXDP_TRUNCATED, "rxdp_truncated", PASS, "shorter than its headers say")                  \
	R(RXDP_IP_OPTIONS, "rxdp_ip_options", PASS, "IPv4 options or IPv6 extension headers")      \
	R(RXDP_FRAGMENT, "rxdp_fragment", PASS, "fragment")                                        \
	R(RXDP_NOT_UDP, "rxdp_not_udp", PASS, "not UDP")                                           \
	R(RXDP_OTHER_PORT, "rxdp_other_port", PASS, "neither to the relay nor to an allocation")   \
	R(RXDP_NOT_CHANNEL, "rxdp_not_channel", PASS, "STUN or other, for the control plane")      \
	R(RXDP_CHANNEL_LENGTH, "rxdp_channel_length", PASS,                                        \
	  "channel data does not fill its datagram")                                               \
	R(RXDP_NO_CHANNEL, "rxdp_no_channel", PASS,                                                \
	  "channel is not in the table: user space decides")                                       \
	R(RXDP_NO_PEER, "rxdp_no_peer", PASS,                                                      \
	  "peer without a channel, on a port that has permissions")                                \
	R(RXDP_PROBE, "rxdp_probe", DROP, "nobody who may send to that relayed address")           \
	R(RXDP_OTHER_ADDRESS, "rxdp_other_address", PASS, "addressed to another address")          \
	R(RXDP_EXPIRED, "rxdp_expired", PASS, "channel is past its lifetime")                      \
	R(RXDP_NO_SELF, "rxdp_no_self", PASS,                                                      \
	  "peer is this relay, which has no channel for it there")                                 \
	R(RXDP_FROM_SELF, "rxdp_from_self", PASS,                                                  \
	  "comes from the network with a relayed address as source")                               \
	R(RXDP_BAD_SUM, "rxdp_bad_sum", PASS, "IPv4 header checksum is wrong")                     \
	R(RXDP_NO_SUM, "rxdp_no_sum", PASS, "no UDP checksum, which IPv6 needs")                   \
	R(RXDP_TTL, "rxdp_ttl", PASS, "time to live is over")                                      \
	R(RXDP_GSO, "rxdp_gso", PASS, "several datagrams in one frame, for user space")            \
	R(RXDP_UNFINISHED, "rxdp_unfinished", PASS,                                                \
	  "checksum is left to a device to complete, for user space")                              \
	R(RXDP_BULK, "rxdp_bulk", PASS,                                                            \
	  "follows joined datagrams of its channel through user space")                            \
	R(RXDP_TOO_BIG, "rxdp_too_big", PASS, "would be longer than the MTU")                      \
	R(RXDP_NO_HOP, "rxdp_no_hop", PASS, "no neighbour or route: the kernel resolves it")       \
	R(RXDP_NO_ROUTER, "rxdp_no_router", PASS, "the default router's address is not known")     \
	R(RXDP_NEAR, "rxdp_near", PASS,                                                            \
	  "destination is not behind the default router: the kernel sends it")                     \
	R(RXDP_ADJUST_FAILED, "rxdp_adjust_failed", PASS,                                          \
	  "driver refused to move the packet start")                                               \
	R(RUX_TO_PEER, "rux_to_peer", DONE, "channel data relayed to the peer by user space")      \
	R(RUX_TO_CLIENT, "rux_to_client", DONE,                                                    \
	  "peer's datagram relayed to the client by user space")                                   \
	R(RUX_TO_SELF, "rux_to_self", DONE,                                                        \
	  "channel data relayed to another client of this relay by user space")                    \
	R(RUX_ANSWERED, "rux_answered", DONE, "request answered or indication relayed")            \
	R(RUX_CONTROL, "rux_control", DONE, "request handed to the control thread")                \
	R(RUX_BAD_SOURCE, "rux_bad_source", DROP, "empty, or from port 0")                         \
	R(RUX_MALFORMED, "rux_malformed", DROP, "neither a STUN message nor channel data")         \
	R(RUX_IGNORED, "rux_ignored", DROP, "STUN message a relay does not act on")                \
	R(RUX_NO_ALLOC, "rux_no_alloc", DROP, "data of a client without an allocation")            \
	R(RUX_NO_CHANNEL, "rux_no_channel", DROP, "data on a channel that is not bound")           \
	R(RUX_NO_PERMISSION, "rux_no_permission", DROP, "peer has no permission")                  \
	R(RUX_DENIED, "rux_denied", DROP, "peer must not be reached")                              \
	R(RUX_NO_SELF, "rux_no_self", DROP,                                                        \
	  "to a relayed address of this relay that does not take it")                              \
	R(RUX_TOO_LONG, "rux_too_long", DROP, "longer than a message may be")                      \
	R(RUX_RATE, "rux_rate", DROP, "request over the rate of its source or of strangers")       \
	R(RUX_RING_FULL, "rux_ring_full", DROP, "control thread has too much waiting")             \
	R(RUX_SOCKET_FULL, "rux_socket_full", DROP, "socket had no room for the datagram")         \
	R(RUX_SOCKET, "rux_socket", DROP, "socket did not take the datagram")                      \
	R(URX_DELIVERED, "urx_delivered", DONE, "decrypted and delivered by user space")           \
	R(URX_STUN, "urx_stun", DONE, "STUN message taken by an ICE agent")                        \
	R(URX_RELAY, "urx_relay", DONE, "a relay's own message taken")                             \
	R(URX_RELAY_REJECTED, "urx_relay_rejected", DROP,                                          \
	  "a relay's message, or channel data, that means nothing to us")                          \
	R(URX_RELAY_LATE, "urx_relay_late", DROP, "from a relay that was ours once")               \
	R(URX_HANDSHAKE, "urx_handshake", DONE, "WireGuard handshake message taken")               \
	R(URX_KEEPALIVE, "urx_keepalive", DONE, "keepalive received")                              \
	R(URX_CONTROL, "urx_control", DONE, "peer-to-peer control packet taken")                   \
	R(URX_CONTROL_MALFORMED, "urx_control_malformed", DROP,                                    \
	  "control packet is truncated, too long or not the JSON of its kind")                     \
	R(URX_CONTROL_UNKNOWN, "urx_control_unknown", DROP,                                        \
	  "control packet of an unknown kind, or of one that is not for this side")                \
	R(URX_CONTROL_REFUSED, "urx_control_refused", DROP,                                        \
	  "control packet about a resource, name or address that is not the peer's")               \
	R(URX_CONTROL_RATE, "urx_control_rate", DROP,                                              \
	  "more control packets, or more names to resolve at a time, than a peer may have")        \
	R(URX_TOO_LONG, "urx_too_long", DROP, "datagram longer than the protocol allows")          \
	R(URX_MALFORMED, "urx_malformed", DROP, "datagram is neither STUN nor WireGuard")          \
	R(URX_STUN_REJECTED, "urx_stun_rejected", DROP,                                            \
	  "STUN message belongs to no agent or fails its integrity check")                         \
	R(URX_HANDSHAKE_REJECTED, "urx_handshake_rejected", DROP,                                  \
	  "handshake message is unknown, stale or forged")                                         \
	R(URX_UNDER_LOAD, "urx_under_load", DROP,                                                  \
	  "handshake answered with a cookie or dropped under load")                                \
	R(URX_NO_SESSION, "urx_no_session", DROP, "receiver index names no session")               \
	R(URX_EXPIRED, "urx_expired", DROP, "session is past its lifetime")                        \
	R(URX_BAD_TAG, "urx_bad_tag", DROP, "authentication tag is wrong")                         \
	R(URX_REPLAY, "urx_replay", DROP, "counter was seen before or is too old")                 \
	R(URX_INNER_MALFORMED, "urx_inner_malformed", DROP, "inner packet is malformed")           \
	R(URX_BAD_SOURCE, "urx_bad_source", DROP, "inner source is not the peer's tunnel address") \
	R(URX_POLICY, "urx_policy", DROP,                                                          \
	  "no resource authorised for the peer covers the destination")                            \
	R(URX_FILTERED, "urx_filtered", DROP, "resource's filters do not allow protocol and port") \
	R(URX_AUTH_EXPIRED, "urx_auth_expired", DROP, "authorisation has expired")                 \
	R(URX_REVOKED, "urx_revoked", DROP, "resource was revoked from the peer")                  \
	R(URX_NAT_UNKNOWN, "urx_nat_unknown", DROP, "proxy address has no translation")            \
	R(URX_NAT_UNREACHABLE, "urx_nat_unreachable", DROP,                                        \
	  "name has no address of the packet's family")                                            \
	R(URX_NAT_EXHAUSTED, "urx_nat_exhausted", DROP,                                            \
	  "no port or no room is left for another translated session")                             \
	R(URX_NAT_OTHER, "urx_nat_other", DROP, "protocol without ports, to a translated address") \
	R(URX_FRAGMENT, "urx_fragment", DROP,                                                      \
	  "fragment, where only whole packets are judged: filters, a translated address")          \
	R(URX_NAT_ERROR, "urx_nat_error", DROP,                                                    \
	  "ICMP error that is not translated, or about nothing of the peer's")                     \
	R(URX_ECN, "urx_ecn", DROP,                                                                \
	  "marked as having met congestion, but takes no part in ECN (RFC 6040)")                  \
	R(URX_TUN_FULL, "urx_tun_full", DROP, "tunnel device did not take the packet")             \
	R(URX_QUEUE, "urx_queue", DROP, "control thread's queue of a worker was full")             \
	R(UTX_SENT, "utx_sent", DONE, "encrypted and sent by user space")                          \
	R(UTX_MALFORMED, "utx_malformed", DROP, "packet read from the tunnel device is malformed") \
	R(UTX_IGNORED, "utx_ignored", DROP, "multicast or link-local, never tunnelled")            \
	R(UTX_NO_PEER, "utx_no_peer", DROP, "destination is no known peer or resource")            \
	R(UTX_BAD_SOURCE, "utx_bad_source", DROP, "source is not our tunnel address")              \
	R(UTX_POLICY, "utx_policy", DROP, "peer holds no authorisation for the source")            \
	R(UTX_FILTERED, "utx_filtered", DROP, "resource's filters do not allow protocol and port") \
	R(UTX_AUTH_EXPIRED, "utx_auth_expired", DROP, "authorisation has expired")                 \
	R(UTX_REVOKED, "utx_revoked", DROP, "resource was revoked from the peer")                  \
	R(UTX_FRAGMENT, "utx_fragment", DROP,                                                      \
	  "fragment, where only whole packets are judged: filters, a translated address")          \
	R(UTX_NAT_EXPIRED, "utx_nat_expired", DROP, "late packet of a translated session")         \
	R(UTX_NAT_ERROR, "utx_nat_error", DROP,                                                    \
	  "ICMP error about a translated session, of a kind that is not translated")               \
	R(UTX_BUFFERED, "utx_buffered", DONE, "held until the connection stands")                  \
	R(UTX_BUFFER_FULL, "utx_buffer_full", DROP,                                                \
	  "too many packets wait for the connection; oldest dropped")                              \
	R(UTX_NO_SESSION, "utx_no_session", DROP, "peer has no session to send on")                \
	R(UTX_NO_PATH, "utx_no_path", DROP, "peer has no nominated path")                          \
	R(UTX_TOO_BIG, "utx_too_big", DROP,                                                        \
	  "longer than the connection carries; the sender is told")                                \
	R(UTX_QUEUE, "utx_queue", DROP, "control thread's queue of a worker was full")             \
	R(UTX_SOCKET, "utx_socket", DROP, "socket did not take the datagram")                      \
	R(CTL_TABLE_FULL, "ctl_table_full", DROP,                                                  \
	  "a table is full: peer, session or resource refused")

#define PS_REASON_ENUM(name, text, verdict, what) PS_R_##name,
enum ps_reason_id { PS_REASONS(PS_REASON_ENUM) PS_R_COUNT };
#undef PS_REASON_ENUM

/* Value of the per-CPU map ps_reason, indexed by enum ps_reason_id. */
struct ps_reason_count {
	unsigned long long packets;
	unsigned long long bytes;
};
#endif
