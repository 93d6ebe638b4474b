/* SPDX-License-Identifier: Apache-2.0
 *
 * The choice; CPUMAP's entries, a thread for each processor that this process may run on, with
 * ps_wan_cpu in it; and the entries of AF_XDP sockets. */
#include "io/bpf_steer.h"
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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
	static const char *const names[] = {"auto", "rss", "cpumap", "busy", "xsk"};

	return names[s];
}

static enum bpf_steer settle(enum bpf_steer s, char *why, const char *text)
{
	snprintf(why, BPF_STEER_WHY, "%s", text);
	return s;
}

/* Joined datagrams, which generic XDP sees as one frame, fit no ring; and were they left to the
 * sockets, what follows them would overtake. */
static enum bpf_steer choose_xsk(const struct bpf_steer_facts *f, char *why)
{
	if (!f->xdp)
		return settle(BPF_STEER_RSS, why, "xsk: no receive program");
	if (f->generic)
		return settle(BPF_STEER_RSS, why, "xsk needs native XDP");
	if (!f->workers)
		return settle(BPF_STEER_RSS, why, "xsk needs workers");
	return settle(BPF_STEER_XSK, why, "asked for");
}

/* docs/performance.md, "Learned", has the figures behind this. AF_XDP has to be asked for: copied
 * frames are no gain, and what a driver without copies would gain has not been seen yet. */
enum bpf_steer bpf_steer_choose(enum bpf_steer asked, const struct bpf_steer_facts *f, char *why)
{
	if (asked == BPF_STEER_RSS)
		return settle(BPF_STEER_RSS, why, "asked for");
	if (asked == BPF_STEER_XSK)
		return choose_xsk(f, why);
	if (!f->xdp)
		return settle(BPF_STEER_RSS, why, "no receive program");
	if (!f->kernel)
		return settle(BPF_STEER_RSS, why, "cpumap needs Linux 6.18");
	if (asked != BPF_STEER_AUTO)
		return settle(asked, why, "asked for");
	if (f->cpus < 2)
		return settle(BPF_STEER_RSS, why, "one processor");
	if (!f->rx_queues)
		return settle(BPF_STEER_RSS, why, "the driver does not tell its queues");
	if (f->rx_queues > 1)
		return settle(BPF_STEER_RSS, why, "several receive queues");
	if (f->generic && f->rps)
		return settle(BPF_STEER_RSS, why, "RPS spreads it");
	if (f->generic)
		return settle(BPF_STEER_BUSY, why, "one receive queue, and no RPS");
	if (f->cpus == 2)
		return settle(BPF_STEER_RSS, why, "two processors");
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

/* There is one program for all interfaces: what only some have use for, none gets. */
static void decide_for_all(struct bpf_load *b)
{
	enum bpf_steer all = b->info.wan[0].steer;

	for (size_t i = 1; i < b->cfg.wan_len; i++)
		if (b->info.wan[i].steer != all)
			all = BPF_STEER_RSS;
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		struct bpf_wan_info *w = &b->info.wan[i];
		char why[BPF_STEER_WHY];

		snprintf(why, sizeof(why), "another interface has no use for %s",
			 bpf_steer_name(w->steer));
		if (w->steer != all)
			w->steer = settle(all, w->steer_why, why);
	}
	b->steer = all;
}

void bpf_steer_decide(struct bpf_load *b)
{
	uint32_t cpu[PS_STEER_SLOTS];
	struct bpf_steer_facts f = {.cpus = cpus_list(cpu),
				    .xdp = b->cfg.xdp_mode != BPF_XDP_OFF,
				    .generic = b->cfg.xdp_mode == BPF_XDP_GENERIC,
				    .kernel = kernel_can(),
				    .workers = b->cfg.workers};

	b->steer = BPF_STEER_RSS;
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		struct bpf_wan_info *w = &b->info.wan[i];
		struct nic_queues q;

		nic_queues_read(w->ifname, &q);
		f.rx_queues = q.rx;
		f.rps = q.rps;
		w->steer = bpf_steer_choose(b->cfg.steer, &f, w->steer_why);
	}
	if (b->cfg.wan_len)
		decide_for_all(b);
}

void bpf_steer_refused(struct bpf_load *b, const char *why)
{
	for (size_t i = 0; i < b->cfg.wan_len; i++) {
		b->info.wan[i].steer = BPF_STEER_RSS;
		snprintf(b->info.wan[i].steer_why, BPF_STEER_WHY, "%s: %.100s",
			 bpf_steer_name(b->steer), why);
	}
	b->steer = BPF_STEER_RSS;
}

/* ---- the object ---------------------------------------------------------------------------------
 */

bool bpf_steer_by_cpumap(enum bpf_steer s)
{
	return s == BPF_STEER_CPUMAP || s == BPF_STEER_BUSY;
}

const char *bpf_steer_program(enum bpf_steer s)
{
	return s == BPF_STEER_CPUMAP ? "ps_wan_steer"
	       : s == BPF_STEER_BUSY ? "ps_wan_busy"
	       : s == BPF_STEER_XSK  ? "ps_wan_xsk"
				     : "ps_wan_rx";
}

#define OF(s) (1u << (s))

int bpf_steer_prepare(struct bpf_object *obj, enum bpf_steer steer)
{
	static const struct {
		const char *name;
		unsigned of;
	} maps[] = {{"ps_cpu", OF(BPF_STEER_CPUMAP) | OF(BPF_STEER_BUSY)},
		    {"ps_steer", OF(BPF_STEER_CPUMAP) | OF(BPF_STEER_BUSY)},
		    {"ps_busy", OF(BPF_STEER_CPUMAP) | OF(BPF_STEER_BUSY)},
		    {"ps_xsk", OF(BPF_STEER_XSK)},
		    {"ps_xsk_dev", OF(BPF_STEER_XSK)}},
	  progs[] = {{"ps_wan_rx", OF(BPF_STEER_RSS)},
		     {"ps_wan_steer", OF(BPF_STEER_CPUMAP)},
		     {"ps_wan_busy", OF(BPF_STEER_BUSY)},
		     {"ps_wan_cpu", OF(BPF_STEER_CPUMAP) | OF(BPF_STEER_BUSY)},
		     {"ps_wan_xsk", OF(BPF_STEER_XSK)}};
	int rc = 0;

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps) && rc == 0; i++)
		rc = bpf_map__set_autocreate(bpf_object__find_map_by_name(obj, maps[i].name),
					     maps[i].of & OF(steer));
	for (size_t i = 0; i < sizeof(progs) / sizeof(*progs) && rc == 0; i++)
		rc = bpf_program__set_autoload(bpf_object__find_program_by_name(obj, progs[i].name),
					       progs[i].of & OF(steer));
	if (rc == 0 && bpf_steer_by_cpumap(steer))
		rc = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "ps_cpu"),
					      (uint32_t)libbpf_num_possible_cpus());
	return rc;
}

/* Is the process a thread of this cpumap? They are the kernel's, named cpumap/CPU/map:ID. */
static bool is_thread_of(const char *pid, uint32_t map)
{
	char path[300], name[64] = "";
	uint32_t cpu, id;
	FILE *f;
	bool yes;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	yes = fgets(name, sizeof(name), f) && sscanf(name, "cpumap/%u/map:%u", &cpu, &id) == 2 &&
	      id == map;
	fclose(f);
	return yes;
}

/* What they do is a softirq's work, which elsewhere goes before every process: as the least of
 * them, on a busy processor, they would lose most of what they are handed. False: one cannot be
 * seen or changed, as in a container that has its processes for itself. */
static bool threads_prefer(int map_fd, uint32_t n)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	struct dirent *e;
	DIR *proc;

	if (bpf_obj_get_info_by_fd(map_fd, &info, &len))
		return false;
	proc = opendir("/proc");
	while (proc && (e = readdir(proc)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && is_thread_of(e->d_name, info.id))
			n -= !setpriority(PRIO_PROCESS, (id_t)atoi(e->d_name), -20);
	if (proc)
		closedir(proc);
	return !n;
}

static int cpumap_fill(const struct bpf_load *b, const struct bpf_object *obj)
{
	int cpus = bpf_object__find_map_fd_by_name(obj, "ps_cpu");
	int slots = bpf_object__find_map_fd_by_name(obj, "ps_steer");
	struct bpf_cpumap_val v = {.qsize = STEER_QUEUE};
	uint32_t cpu[PS_STEER_SLOTS], n = cpus_list(cpu);

	v.bpf_prog.fd = bpf_program__fd(bpf_object__find_program_by_name(obj, "ps_wan_cpu"));
	if (!n)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++)
		if (bpf_map_update_elem(cpus, &cpu[i], &v, BPF_ANY) < 0)
			return -errno;
	if (!threads_prefer(cpus, n) && b->cfg.steer == BPF_STEER_AUTO)
		return -ESRCH; /* asked for, it is taken all the same */
	for (uint32_t i = 0; i < PS_STEER_SLOTS; i++)
		if (bpf_map_update_elem(slots, &i, &cpu[i % n], BPF_ANY) < 0)
			return -errno;
	return 0;
}

static int xsk_fill(const struct bpf_load *b, const struct bpf_object *obj)
{
	int fd = bpf_object__find_map_fd_by_name(obj, "ps_xsk_dev");

	for (uint32_t i = 0; i < b->cfg.wan_len; i++)
		if (bpf_map_update_elem(fd, &i, &b->cfg.wan_ifindex[i], BPF_ANY) < 0)
			return -errno;
	return 0;
}

int bpf_steer_fill(const struct bpf_load *b, const struct bpf_object *obj)
{
	if (bpf_steer_by_cpumap(b->steer))
		return cpumap_fill(b, obj);
	return b->steer == BPF_STEER_XSK ? xsk_fill(b, obj) : 0;
}

void bpf_steer_empty(const struct bpf_object *obj)
{
	int cpus = bpf_object__find_map_fd_by_name(obj, "ps_cpu");
	int n = libbpf_num_possible_cpus();

	for (uint32_t i = 0; cpus >= 0 && (int)i < n; i++)
		bpf_map_delete_elem(cpus, &i);
}

int bpf_steer_socket(struct bpf_load *b, size_t wan, uint32_t queue, int fd)
{
	int map = bpf_load_map_fd(b, "ps_xsk");
	uint32_t slot = ps_xsk_slot((uint32_t)wan, queue);

	if (map < 0 || slot == PS_NO_SLOT)
		return -ENOSPC;
	if (fd < 0)
		return bpf_map_delete_elem(map, &slot) < 0 ? -errno : 0;
	return bpf_map_update_elem(map, &slot, &fd, BPF_ANY) < 0 ? -errno : 0;
}
