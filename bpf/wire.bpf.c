// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A wire between two veths for benches: what comes in by a device leaves by the one whose index
// differs in the lowest bit, so that frames arrive as a driver's would, without a socket buffer
// around them. The device with the odd index leads to the machine that is measured; what comes from
// there over IPv4/UDP loses its checksum, which a sender with checksum offload left unfinished.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static void checksum_drop(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) <= end && eth->h_proto == bpf_htons(ETH_P_IP) &&
	    ip->protocol == IPPROTO_UDP && ip->ihl == 5)
		udp->check = 0;
}

SEC("xdp")
int ps_wire(struct xdp_md *ctx)
{
	if (ctx->ingress_ifindex & 1)
		checksum_drop(ctx);
	return (int)bpf_redirect(ctx->ingress_ifindex ^ 1, 0);
}
