// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What stands before a machine with one interface, for benches: a router that leads to two
// networks, between veths whose indices are given. It moves frames, so that they arrive as a
// driver's would, without a socket buffer around them; stations behind it bear its MAC address, and
// nothing in a frame changes but this: what comes from the machine over IPv4/UDP loses its
// checksum, which a sender with checksum offload left unfinished.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum { CLIENTS = 100, MACHINE = 101, PEERS = 200 };

// Clients are in x.x.1.0/24, peers in x.x.2.0/24.
static __u32 from_machine(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return CLIENTS;
	if (ip->protocol == IPPROTO_UDP && ip->ihl == 5)
		udp->check = 0;
	return (bpf_ntohl(ip->daddr) >> 8 & 0xff) == 2 ? PEERS : CLIENTS;
}

SEC("xdp")
int ps_wire(struct xdp_md *ctx)
{
	__u32 to = ctx->ingress_ifindex == MACHINE ? from_machine(ctx) : MACHINE;

	return (int)bpf_redirect(to, 0);
}
