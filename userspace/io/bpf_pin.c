/* SPDX-License-Identifier: Apache-2.0
 *
 * Names in bpffs. Below BPF_PIN_ROOT/<instance>: the maps by their names (ps_key and ps_scratch
 * never: keys, and packets in the clear), the programs by theirs, and `link_in_<ifindex>`, which
 * keeps ps_wan_in attached should the process die: a packet still on its way from ps_wan_rx then
 * ends there instead of entering the WAN's own receive path.
 *
 * Pinned programs do not run by being pinned; they are how the next start knows what a dead run
 * left attached. */
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io/bpf_internal.h"
#include "io/file.h"

#define BPFFS "/sys/fs/bpf"

static bool bpffs_there(void)
{
	struct statfs st;

	return statfs(BPFFS, &st) == 0 && (unsigned long)st.f_type == BPF_FS_MAGIC;
}

int bpf_pin_mount(struct io_err *err)
{
	if (bpffs_there())
		return 0;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return io_fail(err, -errno, "mounting bpffs on " BPFFS ": %s", strerror(errno));
	return 0;
}

void bpf_pin_dir(const char *instance, char out[BPF_PATH_MAX])
{
	snprintf(out, BPF_PATH_MAX, BPF_PIN_ROOT "/%.*s", BPF_INSTANCE_MAX, instance);
}

static int pin_one(int fd, const char *dir, const char *name, struct io_err *err)
{
	char path[BPF_PATH_MAX];

	snprintf(path, sizeof(path), "%.80s/%.40s", dir, name);
	if (bpf_obj_pin(fd, path) < 0)
		return io_fail(err, -errno, "pinning %s: %s", path, strerror(errno));
	return 0;
}

static bool map_public(const char *name)
{
	return strncmp(name, "ps_", 3) == 0 && strcmp(name, "ps_key") != 0 &&
	       strcmp(name, "ps_scratch") != 0;
}

int bpf_pin_all(struct bpf_load *b, struct io_err *err)
{
	const char *dir = b->info.pin_dir;
	struct bpf_program *prog;
	struct bpf_map *map;
	int rc = -ENOENT;

	/* Another instance's exit may take the empty root away between our two mkdirs. */
	for (int try = 0; try < 5 && rc == -ENOENT; try++)
		rc = file_mkdirs(dir, 0700, err);
	if (rc < 0)
		return rc;
	bpf_object__for_each_map(map, b->obj)
	{
		if (rc == 0 && bpf_map__fd(map) >= 0 && map_public(bpf_map__name(map)))
			rc = pin_one(bpf_map__fd(map), dir, bpf_map__name(map), err);
	}
	bpf_object__for_each_program(prog, b->obj)
	{
		if (rc == 0 && bpf_program__fd(prog) >= 0)
			rc = pin_one(bpf_program__fd(prog), dir, bpf_program__name(prog), err);
	}
	for (size_t i = 0; i < b->cfg.wan_len && rc == 0; i++) {
		char name[32];

		snprintf(name, sizeof(name), "link_in_%d", b->wan_tc[i].ifindex);
		if (b->wan_tc[i].link_fd >= 0)
			rc = pin_one(b->wan_tc[i].link_fd, dir, name, err);
	}
	return rc;
}

void bpf_pin_remove(const char *instance)
{
	char dir[BPF_PATH_MAX], path[BPF_PATH_MAX];
	const struct dirent *e;
	DIR *d;

	bpf_pin_dir(instance, dir);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%.80s/%.40s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
	rmdir(BPF_PIN_ROOT); /* the last instance takes it along */
}

static uint32_t pinned_prog_id(const char *dir, const char *name)
{
	char path[BPF_PATH_MAX];
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	int fd;

	snprintf(path, sizeof(path), "%.80s/%.40s", dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		info.id = 0;
	close(fd);
	return info.id;
}

/* In a child of our own: libxdp (1.3) never closes the descriptors of programs it has looked up,
 * which would keep the dead run's loaded for as long as we live. */
static void stale_detach(const uint32_t *prog_id, size_t len)
{
	pid_t pid = fork();

	if (pid <= 0)
		bpf_detach_stale(prog_id, len);
	if (pid == 0)
		_exit(0);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int bpf_load_clean(const char *instance, struct io_err *err)
{
	static const char *const names[] = {"ps_wan_rx",    "ps_wan_in",   "ps_tun_out", "ps_relay",
					    "ps_wan_steer", "ps_wan_busy", "ps_wan_xsk"};
	char dir[BPF_PATH_MAX];
	uint32_t id[6];
	size_t len = 0;

	if (!bpffs_there())
		return 0;
	bpf_pin_dir(instance, dir);
	if (access(dir, F_OK) < 0)
		return errno == ENOENT ? 0 : io_fail(err, -errno, "%s: %s", dir, strerror(errno));
	for (size_t i = 0; i < 6; i++)
		if ((id[len] = pinned_prog_id(dir, names[i])))
			len++;
	if (len)
		stale_detach(id, len);
	bpf_pin_remove(instance);
	if (access(dir, F_OK) == 0)
		return io_fail(err, -EBUSY, "%s: leftovers of an earlier run cannot be removed",
			       dir);
	return 0;
}
