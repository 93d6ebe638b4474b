/* SPDX-License-Identifier: Apache-2.0
 *
 * resolv.conf taken and given back: kinds of file, edits in between, a kill at every system call.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io/dns_internal.h"
#include "io/file.h"
#include "tests/t.h"

#define BEFORE "# mine\nnameserver 192.0.2.1\nsearch lan\n\n\n"
#define THEIRS "nameserver 192.0.2.77\n"

static char dir[] = "/tmp/penstock-test-dns.XXXXXX";
static char path[128], backup[160], tmp[160];
static struct dns_file f;
static struct io_err err;
static const struct dns_settings ours = {.server[0] = {.family = 4, .b = {100, 100, 111, 1}},
					 .n_servers = 1,
					 .search = "corp.example"};

static void put(const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	T(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static const char *get(const char *p)
{
	static char text[1u << 16];
	size_t len;

	return file_read(p, text, sizeof(text), &len, NULL) < 0 ? "(none)" : text;
}

static void fresh(const char *text)
{
	unlink(path);
	unlink(backup);
	unlink(tmp);
	if (text)
		put(text);
	T(dns_file_init(&f, path, &err) == 0);
}

/* As a process that was killed leaves it: the lock is gone, the files are not. */
static void die(void)
{
	close(f.lock_fd);
	dns_file_init(&f, path, &err);
}

static bool clean(void)
{
	return access(backup, F_OK) != 0 && access(tmp, F_OK) != 0 && f.lock_fd < 0;
}

static void test_regular(void)
{
	struct resolv_conf sys;
	struct stat st;

	fresh(BEFORE);
	T(chmod(path, 0640) == 0);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	T_EQ(dns_file_kind(&f), RESOLV_OURS);
	T(strstr(get(path), "search corp.example lan") != NULL);
	T_STR(get(backup), BEFORE);
	T(stat(path, &st) == 0 && (st.st_mode & 07777) == 0640);
	T_EQ(dns_file_system(&f, &sys), 0);
	T_EQ(sys.n_servers, 1);
	T_EQ(sys.server[0].at.ip.b[0], 192);
	T_EQ(dns_file_apply(&f, &ours, &err), 0); /* again: the backup stays the first one */
	T_STR(get(backup), BEFORE);
	T_EQ(dns_file_restore(&f, &err), 0);
	T_STR(get(path), BEFORE);
	T(stat(path, &st) == 0 && (st.st_mode & 07777) == 0640);
	T(clean());
}

static void test_missing_and_odd(void)
{
	fresh(NULL);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	T_EQ(dns_file_kind(&f), RESOLV_OURS);
	die();
	T_EQ(dns_file_restore(&f, &err), 0);
	T(access(path, F_OK) != 0 && clean());
	fresh(NULL);
	T(symlink("../run/systemd/resolve/stub-resolv.conf", path) == 0);
	T_EQ(dns_file_apply(&f, &ours, &err), -ENOTSUP);
	T(strstr(err.msg, "etc-resolv-conf") && strstr(err.msg, "stub-resolv.conf"));
	T(clean());
	T_EQ(dns_file_restore(&f, &err), 0);
	fresh(NULL);
	T(mkfifo(path, 0644) == 0);
	T_EQ(dns_file_apply(&f, &ours, &err), -ENOTSUP);
	T(clean());
	fresh(NULL);
	char *big = malloc(300000);
	memset(big, '#', 299999);
	big[299999] = '\0';
	put(big);
	free(big);
	T_EQ(dns_file_apply(&f, &ours, &err), -EFBIG);
	T(clean());
}

static void test_rewritten_by_another(void)
{
	fresh(BEFORE);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	put(THEIRS);
	T_EQ(dns_file_kind(&f), RESOLV_THEIRS);
	die();
	T_EQ(dns_file_restore(&f, &err), 0);
	T_STR(get(path), THEIRS);
	T(clean());
	fresh(BEFORE);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	unlink(path);
	T_EQ(dns_file_restore(&f, &err), 0);
	T(access(path, F_OK) != 0 && clean());
}

static void test_edited_in_place(void)
{
	int fd;

	fresh(BEFORE);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	fd = open(path, O_WRONLY | O_APPEND);
	T(write(fd, "nameserver 203.0.113.5\n", 23) == 23);
	close(fd);
	T_EQ(dns_file_kind(&f), RESOLV_OURS_EDITED);
	T_EQ(dns_file_restore(&f, &err), 0);
	T(strstr(get(path), "nameserver 192.0.2.1\n") != NULL);
	T(strstr(get(path), "nameserver 203.0.113.5\n") != NULL);
	T(strstr(get(path), "100.100.111") == NULL && strstr(get(path), "Penstock") == NULL);
	T(clean());
}

static void test_one_at_a_time(void)
{
	struct dns_file other;

	fresh(BEFORE);
	T(dns_file_init(&other, path, &err) == 0);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	T_EQ(dns_file_restore(&other, &err), -EBUSY);
	T_EQ(dns_file_apply(&other, &ours, &err), -EBUSY);
	T(strstr(err.msg, "another running instance") != NULL);
	T_EQ(dns_file_kind(&f), RESOLV_OURS);
	T_EQ(dns_file_restore(&f, &err), 0);
	T_STR(get(path), BEFORE);
}

static void test_backup_lost(void)
{
	fresh(BEFORE);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	unlink(backup);
	die();
	T_EQ(dns_file_restore(&f, &err), 0);
	T(strstr(get(path), "100.100.111") == NULL);
	T(clean());
}

/* Immutable files, read-only file systems, bind mounts: in a mount namespace of its own. */
static void test_mounts(void)
{
	int fd, flags = FS_IMMUTABLE_FL, none = 0;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("t", dir, "tmpfs", 0, NULL) < 0) {
		t_skip("needs mount namespaces");
		return;
	}
	fresh(BEFORE);
	fd = open(path, O_RDONLY);
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) {
		T_EQ(dns_file_apply(&f, &ours, &err), -EPERM);
		T(strstr(err.msg, path) != NULL);
		T_STR(get(path), BEFORE);
		T(clean());
		T(ioctl(fd, FS_IOC_SETFLAGS, &none) == 0);
	} else {
		t_note("no immutable files here");
	}
	close(fd);
	T(mount(path, path, NULL, MS_BIND, NULL) == 0);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	T_EQ(dns_file_kind(&f), RESOLV_OURS);
	die();
	T_EQ(dns_file_restore(&f, &err), 0);
	T_STR(get(path), BEFORE);
	T(clean());
	T(umount(path) == 0);
	T_EQ(dns_file_apply(&f, &ours, &err), 0);
	T(mount("t", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	T_EQ(dns_file_restore(&f, &err), -EROFS);
	T_EQ(dns_file_kind(&f), RESOLV_OURS);
	T(mount("t", dir, NULL, MS_REMOUNT, NULL) == 0);
	T_EQ(dns_file_restore(&f, &err), 0); /* was kept for this */
	T_STR(get(path), BEFORE);
	T(mount("t", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	T_EQ(dns_file_apply(&f, &ours, &err), -EROFS);
	T(strstr(err.msg, "Read-only") != NULL);
	T_STR(get(path), BEFORE);
	T(umount(dir) == 0);
}

/* Runs one of the two in a child that is killed at its nth stop at a system call; false when it got
 * through before. */
static bool killed_at(int n, bool restore)
{
	pid_t pid = fork();
	int st;

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(restore ? dns_file_restore(&f, NULL) : dns_file_apply(&f, &ours, NULL));
	}
	waitpid(pid, &st, 0);
	for (int i = 0; i < n; i++) {
		ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
		waitpid(pid, &st, 0);
		if (WIFEXITED(st)) {
			T_EQ(WEXITSTATUS(st), 0);
			return false;
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, &st, 0);
	return true;
}

static void kill_everywhere(const char *before, bool restore, bool again)
{
	bool more = true;
	int n;

	for (n = 1; more && n < 500; n++) {
		fresh(before);
		if (restore) {
			T_EQ(dns_file_apply(&f, &ours, &err), 0);
			die();
		}
		more = killed_at(n, restore);
		dns_file_init(&f, path, &err);
		if (again) /* the next start takes over again and stops */
			T_EQ(dns_file_apply(&f, &ours, &err), 0);
		T_EQ(dns_file_restore(&f, &err), 0);
		T_STR(get(path), before ? before : "(none)");
		T(clean());
	}
	T(n > 20);
	t_note("killed at %d stops: %s", n - 2, restore ? "giving back" : "taking over");
}

static void test_kill(void)
{
	for (int i = 0; i < 4; i++) {
		kill_everywhere(BEFORE, i & 1, i & 2);
		kill_everywhere(NULL, i & 1, i & 2);
	}
}

/* Somebody replaces the file all the time: whatever happens, the last edit is there in the end. */
static void test_concurrent(void)
{
	char text[64], other[160];
	int won = 0;

	snprintf(other, sizeof(other), "%s.other", path);
	for (int round = 0; round < 30; round++) {
		pid_t pid;
		int st;

		fresh(BEFORE);
		pid = fork();
		if (pid == 0) {
			for (int i = 0; i < 20; i++) {
				int n = snprintf(text, sizeof(text), "nameserver 10.0.0.%d\n",
						 i + 1);
				int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC, 0644);

				if (write(fd, text, (size_t)n) != n)
					_exit(1);
				close(fd);
				rename(other, path);
			}
			_exit(0);
		}
		while (waitpid(pid, &st, WNOHANG) == 0) {
			won += dns_file_apply(&f, &ours, &err) == 0;
			dns_file_restore(&f, &err);
		}
		T_EQ(st, 0);
		T_EQ(dns_file_restore(&f, &err), 0);
		if (strcmp(get(path), "nameserver 10.0.0.20\n") != 0)
			t_note("left: %s", get(path));
		T_STR(get(path), "nameserver 10.0.0.20\n");
		T(clean());
	}
	t_note("taken over %d times between edits", won);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/resolv.conf", dir);
	snprintf(backup, sizeof(backup), "%s.before-penstock", path);
	snprintf(tmp, sizeof(tmp), "%s.penstock-tmp", path);
	T_RUN(test_regular);
	T_RUN(test_missing_and_odd);
	T_RUN(test_rewritten_by_another);
	T_RUN(test_edited_in_place);
	T_RUN(test_one_at_a_time);
	T_RUN(test_backup_lost);
	T_RUN(test_kill);
	T_RUN(test_concurrent);
	T_RUN(test_mounts);
	fresh(NULL);
	rmdir(dir);
	return t_done();
}
