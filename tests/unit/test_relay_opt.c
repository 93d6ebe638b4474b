/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay's options as an operator meets them: the built program with --check, its exit status
 * and the one line it says. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/t.h"

static char program[PATH_MAX + 32], out[8192], dir[64];

/* args and env: NULL-terminated. Exit status; what was printed is in out. */
static int run(const char *const *args, const char *const *env)
{
	const char *argv[32] = {program};
	int p[2], status = 0;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	for (int i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	if (!T(!pipe2(p, O_CLOEXEC)))
		return -1;
	pid = fork();
	if (!pid) {
		dup2(p[1], 1);
		dup2(p[1], 2);
		execve(program, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
		_exit(127);
	}
	close(p[1]);
	while (n < sizeof(out) - 1 && (got = read(p[0], out + n, sizeof(out) - 1 - n)) > 0)
		n += (size_t)got;
	out[n] = 0;
	close(p[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define BASE	  "--public-ip4-addr", "198.51.100.7", "--check"
#define USER	  ARGS("PENSTOCK_USER=a:b")

static void test_good_ones(void)
{
	T_EQ(run(ARGS(BASE), USER), 0);
	T_EQ(run(ARGS("--public-ip6-addr=2001:db8::7", "--check"), USER), 0);
	T_EQ(run(ARGS(BASE, "--deny", "10.0.0.0/8,fd00::/8", "--allow", "10.1.0.0/16"), USER), 0);
	T_EQ(run(ARGS(BASE, "--nexthop", "02:00:5e:10:00:ff", "--xdp-iface", "a,b"), USER), 0);
	T_EQ(run(ARGS(BASE, "--drain-timeout", "90s", "--workers", "3"), USER), 0);
	T_EQ(run(ARGS(BASE), ARGS("PENSTOCK_SHARED_SECRET=s")), 0);
	T_EQ(run(ARGS(BASE, "--api-url", "ws://127.0.0.1:1/", "tokentokentoken", "name"), ARGS()),
	     0);
	T(strstr(out, "visible to every user"));
	T(!strstr(out, "tokentokentoken"));
}

static void test_firezones_names(void)
{
	const char *const env[] = {"PUBLIC_IP4_ADDR=198.51.100.7",
				   "LISTEN_PORT=3479",
				   "LOWEST_PORT=50000",
				   "HIGHEST_PORT=50100",
				   "FIREZONE_API_URL=wss://api.example/",
				   "FIREZONE_TOKEN=a-token-of-firezone",
				   "EBPF_ATTACH_MODE=driver",
				   "LOG_FORMAT=json",
				   "RNG_SEED=1",
				   "OTLP_GRPC_ENDPOINT=127.0.0.1:4317",
				   "FIREZONE_MISSPELT=1",
				   NULL};

	T_EQ(run(ARGS("--check"), env), 0);
	T(strstr(out, "RNG_SEED") && strstr(out, "OTLP_GRPC_ENDPOINT"));
	T(strstr(out, "FIREZONE_MISSPELT"));
	T(!strstr(out, "a-token-of-firezone"));
	T(strstr(out, "{\"timestamp\"")); /* LOG_FORMAT */
}

/* A faulty value of theirs is not looked at when ours is there. */
static void test_ours_wins(void)
{
	T_EQ(run(ARGS("--check"), ARGS("PENSTOCK_USER=a:b", "PENSTOCK_PUBLIC_IP4_ADDR=192.0.2.1",
				       "PUBLIC_IP4_ADDR=nonsense")),
	     0);
	T_EQ(run(ARGS("--check"), ARGS("PENSTOCK_USER=a:b", "PUBLIC_IP4_ADDR=nonsense")), 2);
	T(strstr(out, "PUBLIC_IP4_ADDR"));
}

static void test_a_file_for_the_token(void)
{
	char path[128], env[160];
	int fd;

	snprintf(path, sizeof(path), "%s/token", dir);
	snprintf(env, sizeof(env), "FIREZONE_TOKEN=%s", path);
	T_EQ(run(ARGS(BASE, "--api-url", "wss://p.example"), ARGS(env)), 2);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	T(fd >= 0 && write(fd, "from-a-file\n", 12) == 12);
	close(fd);
	T_EQ(run(ARGS(BASE, "--api-url", "wss://p.example"), ARGS(env)), 0);
	unlink(path);
}

static void test_bad_ones(void)
{
	static const struct {
		const char *flag, *value, *says;
	} cases[] = {
		{"--listen-port", "0", "listen-port"},
		{"--listen-port", "65536", "listen-port"},
		{"--listen-port", "50000", "among the ports"},
		{"--lowest-port", "60000x", "lowest-port"},
		{"--highest-port", "49151", "below --lowest-port"},
		{"--public-ip6-addr", "198.51.100.7", "is no IPv6 address"},
		{"--bind-ip6-addr", "::1", "public address of the family"},
		{"--deny", "10.0.0.1/8", "must be prefixes"},
		{"--deny", "", "deny"},
		{"--nexthop", "02:00:5e:10:00", "must be auto, fib"},
		{"--nexthop", "02:00:5e:10:00:ff:00", "must be auto, fib"},
		{"--xdp-mode", "fast", "xdp-mode"},
		{"--workers", "-1", "workers"},
		{"--drain-timeout", "90", "with a unit"},
		{"--instance", "../x", "instance"},
		{"--api-url", "ftp://x", "api-url"},
		{"--max-allocations", "0", "max-allocations"},
		{"--no-such-option", "1", "unknown option"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		T_EQ(run(ARGS(BASE, cases[i].flag, cases[i].value), USER), 2);
		if (!T(strstr(out, cases[i].says)))
			t_note("%s %s: %s", cases[i].flag, cases[i].value, out);
	}
	T_EQ(run(ARGS("--check"), USER), 2);
	T(strstr(out, "is needed"));
	T_EQ(run(ARGS(BASE), ARGS()), 2);
	T(strstr(out, "nobody could use"));
	T_EQ(run(ARGS(BASE, "--workers"), USER), 2);
	T_EQ(run(ARGS(BASE, "--check=1"), USER), 2);
	T_EQ(run(ARGS(BASE, "--api-url", "wss://p.example"), ARGS()), 2);
	T(strstr(out, "no token"));
}

static void test_help(void)
{
	T_EQ(run(ARGS("--help"), ARGS()), 0);
	T(strstr(out, "--public-ip4-addr") && strstr(out, "PENSTOCK_USERS_FILE"));
	T_EQ(run(ARGS("--version"), ARGS()), 0);
	T(!strncmp(out, "penstock-relay ", 15));
}

int main(int argc, char **argv)
{
	char self[PATH_MAX] = "";

	t_init(argc, argv);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	/* …/build/tests/unit/test_relay_opt */
	snprintf(program, sizeof(program), "%s/penstock-relay", dirname(dirname(dirname(self))));
	snprintf(dir, sizeof(dir), "/tmp/penstock-relay-opt.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	T_RUN(test_good_ones);
	T_RUN(test_firezones_names);
	T_RUN(test_ours_wins);
	T_RUN(test_a_file_for_the_token);
	T_RUN(test_bad_ones);
	T_RUN(test_help);
	rmdir(dir);
	return t_done();
}
