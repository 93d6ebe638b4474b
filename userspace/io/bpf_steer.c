/* SPDX-License-Identifier: Apache-2.0
 *
 * The choice, and CPUMAP's entries: a thread for each processor that this process may run on, with
 * ps_wan_cpu in it. */
#include "io/bpf_steer.h"
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include "io/bpf_internal.h"
#include "io/nic.h"
#include "plan/steer.h"

/* Frames that may wait for one processor: some milliseconds of what it can decrypt. */
#define STEER_QUEUE 2048
/* The oldest kernel on which frames were seen to keep their metadata through CPUMAP, native and
 * generic. Without it a decrypted packet would enter the interface's own receive path. */
#define STEER_KERNEL_MAJOR 6
#define STEER_KERNEL_MINOR 18

const char *bpf_steer_name(enum bpf_steer s)
{
	return s == BPF_STEER_CPUMAP ? "cpumap" : s == BPF_STEER_RSS ? "rss" : "auto";
}

static enum bpf_steer settle(enum bpf_steer s, char *why, const char *text)
{
	snprintf(why, BPF_STEER_WHY, "%s", text);
	return s;
}

/* docs/performance.md, "Learned", has the figures behind this. */
enum bpf_steer bpf_steer_choose(enum bpf_steer asked, const struct bpf_steer_facts *f, char *why)
{
	if (asked == BPF_STEER_RSS)
		return settle(BPF_STEER_RSS, why, "asked for");
	if (!f->xdp)
		return settle(BPF_STEER_RSS, why, "no receive program");
	if (!f->kernel)
		return settle(BPF_STEER_RSS, why, "cpumap needs Linux 6.18");
	if (asked == BPF_STEER_CPUMAP)
		return settle(BPF_STEER_CPUMAP, why, "asked for");
	if (f->cpus <= 2)
		return settle(BPF_STEER_RSS, why, "two processors or fewer");
	if (!f->rx_queues)
		return settle(BPF_STEER_RSS, why, "the driver does not tell its queues");
	if (f->rx_queues > 1)
		return settle(BPF_STEER_RSS, why, "several receive queues");
	if (f->generic)
		return settle(BPF_STEER_RSS, why,
			      f->rps ? "RPS spreads it" : "generic: RPS spreads it for less");
	return settle(BPF_STEER_CPUMAP, why, "one receive queue for several processors");
}

/* ---- facts --------------------------------------------------------------------------------------
 */

static bool kernel_can(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	if (uname(&u) || sscanf(u.release, "%d.%d", &major, &minor) != 2)
		return false;
	return major > STEER_KERNEL_MAJOR ||
	       (major == STEER_KERNEL_MAJOR && minor >= STEER_KERNEL_MINOR);
}

/* The processors we may run on, PS_STEER_SLOTS of them at most; their number. */
static uint32_t cpus_list(uint32_t out[PS_STEER_SLOTS])
{
	uint32_t n = 0;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 0;
	for (uint32_t i = 0; i < CPU_SETSIZE && n < PS_STEER_SLOTS; i++)
		if (CPU_ISSET(i, &set))
			out[n++] = i;
	return n;
}

void bpf_steer_decide(struct bpf_load *b)
{
	uint32_t cpu[PS_STEER_SLOTS];
	struct bpf_steer_facts f = {.cpus = cpus_list(cpu),
				    .xdp = b->cfg.xdp_mode != BPF_XDP_OFF,
				    .generic = b->cfg.xdp_mode == BPF_XDP_GENERIC,
				    .kernel = kernel_can()};

	b->steer = b->cfg.wan_len > 0;
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		struct bpf_wan_info *w = &b->info.wan[i];
		struct nic_queues q;

		nic_queues_read(w->ifname, &q);
		f.rx_queues = q.rx;
		f.rps = q.rps;
		w->steer = bpf_steer_choose(b->cfg.steer, &f, w->steer_why);
		b->steer &= w->steer == BPF_STEER_CPUMAP;
	}
	/* There is one program for all interfaces. */
	for (size_t i = 0; i < b->cfg.wan_len && !b->steer; i++)
		if (b->info.wan[i].steer == BPF_STEER_CPUMAP)
			b->info.wan[i].steer = settle(BPF_STEER_RSS, b->info.wan[i].steer_why,
						      "another interface has no use for cpumap");
}

void bpf_steer_refused(struct bpf_load *b, const char *why)
{
	b->steer = false;
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		b->info.wan[i].steer = BPF_STEER_RSS;
		snprintf(b->info.wan[i].steer_why, BPF_STEER_WHY, "cpumap: %.100s", why);
	}
}

/* ---- the object ---------------------------------------------------------------------------------
 */

int bpf_steer_prepare(struct bpf_object *obj, bool on)
{
	static const char *const maps[] = {"ps_cpu", "ps_steer"};
	static const struct {
		const char *name;
		bool on;
	} progs[] = {{"ps_wan_rx", false}, {"ps_wan_steer", true}, {"ps_wan_cpu", true}};
	int rc = 0;

	for (size_t i = 0; i < 2 && rc == 0; i++)
		rc = bpf_map__set_autocreate(bpf_object__find_map_by_name(obj, maps[i]), on);
	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = bpf_program__set_autoload(bpf_object__find_program_by_name(obj, progs[i].name),
					       on == progs[i].on);
	if (rc == 0 && on)
		rc = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "ps_cpu"),
					      (uint32_t)libbpf_num_possible_cpus());
	return rc;
}

int bpf_steer_fill(const struct bpf_object *obj)
{
	int cpus = bpf_object__find_map_fd_by_name(obj, "ps_cpu");
	int slots = bpf_object__find_map_fd_by_name(obj, "ps_steer");
	struct bpf_cpumap_val v = {.qsize = STEER_QUEUE};
	uint32_t cpu[PS_STEER_SLOTS], n = cpus_list(cpu);

	v.bpf_prog.fd = bpf_program__fd(bpf_object__find_program_by_name(obj, "ps_wan_cpu"));
	if (!n)
		return -ESRCH;
	for (uint32_t i = 0; i < n; i++)
		if (bpf_map_update_elem(cpus, &cpu[i], &v, BPF_ANY) < 0)
			return -errno;
	for (uint32_t i = 0; i < PS_STEER_SLOTS; i++)
		if (bpf_map_update_elem(slots, &i, &cpu[i % n], BPF_ANY) < 0)
			return -errno;
	return 0;
}

void bpf_steer_empty(const struct bpf_object *obj)
{
	int cpus = bpf_object__find_map_fd_by_name(obj, "ps_cpu");
	int n = libbpf_num_possible_cpus();

	for (uint32_t i = 0; cpus >= 0 && (int)i < n; i++)
		bpf_map_delete_elem(cpus, &i);
}
