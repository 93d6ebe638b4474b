/* SPDX-License-Identifier: Apache-2.0
 *
 * A group of sockets: how it comes to be, what its members have in common, what refuses it; and one
 * struct udp under two threads (who gets what of a group: test_udp_steer.c). */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/unit/udp_group.h"

static unsigned fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (T(d != NULL) && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static uint32_t option(const struct udp *u, int family, int name)
{
	uint32_t v = 0;
	socklen_t len = sizeof(v);

	T_EQ(getsockopt(udp_fd(u, family), SOL_SOCKET, name, &v, &len), 0);
	return v;
}

static bool same_as_first(const struct udp *m, int family)
{
	const struct udp *of = member[0];
	uint32_t rcv[2], snd[2];
	bool same;

	udp_buffers(of, family, &rcv[0], &snd[0]);
	udp_buffers(m, family, &rcv[1], &snd[1]);
	same = T_EQ(udp_port(m, family), udp_port(of, family)) &&
	       T_EQ(udp_missing(m, family), udp_missing(of, family)) &&
	       T_EQ(udp_gro(m, family), udp_gro(of, family)) &&
	       T_EQ(udp_gso(m, family), udp_gso(of, family)) && T_EQ(rcv[1], rcv[0]) &&
	       T_EQ(snd[1], snd[0]);
	if (udp_fd(of, family) < 0)
		return T(udp_fd(m, family) < 0) && same;
	return T(udp_fd(m, family) >= 0 && udp_fd(m, family) != udp_fd(of, family)) &&
	       T_EQ(option(m, family, SO_MARK), option(of, family, SO_MARK)) &&
	       T_EQ(option(m, family, SO_RCVBUF), 2 * rcv[0]) &&
	       T_EQ(option(m, family, SO_SNDBUF), 2 * snd[0]) && same;
}

static void test_members_are_alike(void)
{
	bool root = geteuid() == 0;
	const struct udp_cfg c[] = {
		{.shared = true},
		{.shared = true, .no_gro = true},
		{.shared = true, .no_gso = true},
		{.shared = true, .no_v4 = true},
		{.shared = true, .no_v6 = true},
		{.shared = true, .rcvbuf = 300000, .sndbuf = 100000},
		{.shared = true, .fwmark = root ? 77 : 0},
	};
	uint32_t rcv, snd;

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		if (!group_open(&c[i], 3))
			return;
		for (unsigned m = 1; m <= 3; m++) {
			same_as_first(member[m], 4);
			same_as_first(member[m], 6);
		}
		T_EQ(udp_fd(member[3], 4) < 0, c[i].no_v4);
		udp_buffers(member[3], c[i].no_v4 ? 6 : 4, &rcv, &snd);
		T(!root || rcv == (c[i].rcvbuf ? c[i].rcvbuf : 16u << 20)); /* whatever rmem_max */
		T(!root || snd == (c[i].sndbuf ? c[i].sndbuf : 2u << 20));
		group_close();
	}
}

/* Sharing is for members: another instance finds the port taken, as it does without. */
static void test_groups_do_not_mix(void)
{
	struct udp_cfg cfg = {.shared = true, .port_strict = true};
	struct udp *other = NULL;

	if (!group_open(&(struct udp_cfg){.shared = true, .no_v6 = true}, 2))
		return;
	cfg.no_v6 = true;
	cfg.port = udp_port(member[0], 4);
	T_EQ(udp_open(&other, &cfg, &err), -EADDRINUSE);
	cfg.port_strict = false;
	T_EQ(udp_open(&other, &cfg, &err), 0);
	T(udp_port(other, 4) != cfg.port);
	udp_close(other);
	cfg.shared = false;
	T_EQ(udp_open(&other, &cfg, &err), 0);
	T(udp_port(other, 4) != cfg.port);
	/* nor does a first join one that does not share */
	cfg = (struct udp_cfg){
		.shared = true, .port_strict = true, .no_v6 = true, .port = udp_port(other, 4)};
	members_close();
	udp_close(member[0]);
	T_EQ(udp_open(&member[0], &cfg, &err), -EADDRINUSE);
	udp_close(other);
	T_EQ(udp_open(&member[0], &cfg, &err), 0);
	udp_close(member[0]);
}

static void test_refused(void)
{
	unsigned fds = fds_open();
	struct udp *m = NULL;

	T_EQ(udp_open(&member[0], &(struct udp_cfg){0}, &err), 0);
	err.msg[0] = 0;
	T_EQ(udp_open_member(&m, member[0], &err), -EINVAL);
	T(!m && err.msg[0]);
	T_EQ(udp_steer(member[0], 0, &err), 0);
	T(udp_steer(member[0], 1, &err) < 0);
	udp_close(member[0]);
	if (!group_open(&(struct udp_cfg){.shared = true}, 1))
		return;
	T_EQ(udp_open_member(&m, member[1], &err), -EINVAL);
	T(!m);
	err.msg[0] = 0;
	T_EQ(udp_steer(member[0], 65536, &err), -EINVAL);
	T(err.msg[0]);
	group_close();
	T_EQ(fds_open(), fds);
}

/* The second family cannot be opened: the first of it is not left either. */
static void test_nothing_is_left(void)
{
	struct rlimit was, now;
	unsigned fds;
	struct udp *m;
	int probe;

	T_EQ(udp_open(&member[0], &(struct udp_cfg){.shared = true}, &err), 0);
	fds = fds_open();
	probe = dup(0);
	T_EQ(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = was;
	now.rlim_cur = (rlim_t)probe + 1; /* one more descriptor */
	close(probe);
	T_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
	err.msg[0] = 0;
	m = member[0];
	T_EQ(udp_open_member(&m, member[0], &err), -EMFILE);
	T(!m && err.msg[0]);
	T_EQ(setrlimit(RLIMIT_NOFILE, &was), 0);
	T_EQ(fds_open(), fds);
	workers = 0;
	T(members_open(2)); /* and nothing is in the way of the next attempt */
	group_close();
}

/* Another network: the first is opened anew, and members join it there. */
static void test_rebind(void)
{
	uint16_t port;
	int fd;

	if (!group_open(&(struct udp_cfg){.shared = true}, 2))
		return;
	fd = udp_fd(member[1], 4);
	err.msg[0] = 0;
	T_EQ(udp_rebind(member[1], &err), -EINVAL);
	T(err.msg[0]);
	T_EQ(udp_fd(member[1], 4), fd);
	for (unsigned n = 3; n > 0; n--) {
		members_close();
		T_EQ(udp_rebind(member[0], &err), 0);
		port = udp_port(member[0], 4);
		T(port != 0);
		T(members_open(n));
		same_as_first(member[n], 4);
		same_as_first(member[n], 6);
	}
	group_close();
}

/* A user without any privilege has a group, with buffers as the system allows; one user's is not
 * another's to join. */
static bool as_nobody(void)
{
	struct udp *m = NULL;
	unsigned fds = fds_open();

	err.msg[0] = 0;
	return T_EQ(seteuid(65534), 0) && T_EQ(udp_open_member(&m, member[0], &err), -EADDRINUSE) &&
	       T(!m && err.msg[0]) && T_EQ(fds_open(), fds) &&
	       group_open(&(struct udp_cfg){.shared = true}, 2) && same_as_first(member[1], 4) &&
	       same_as_first(member[2], 6);
}

static void test_without_privilege(void)
{
	int status = -1;
	pid_t child;

	if (geteuid() != 0) {
		t_skip("needs root to become another user");
		return;
	}
	T_EQ(udp_open(&member[0], &(struct udp_cfg){.shared = true}, &err), 0);
	workers = 0;
	child = fork();
	if (child == 0)
		_exit(!as_nobody());
	T_EQ(waitpid(child, &status, 0), child);
	T_EQ(status, 0);
	udp_close(member[0]);
}

/* ---- two threads --------------------------------------------------------------------------------
 */

#define ROUNDS	 200
#define A_ROUND	 100
#define WATCHDOG 10000000u /* empty calls before a lost datagram is given up on */

static atomic_uint rounds_heard;

/* The receive side, of datagrams that the send side of the same sends to itself. */
static void *receiver(void *arg)
{
	struct udp *u = arg;
	unsigned empty = 0;
	size_t n = 0;

	while (n < (size_t)ROUNDS * A_ROUND && empty < WATCHDOG) {
		for (int family = 4; family <= 6; family += 2) {
			struct udp_dgram *d;
			bool more;
			size_t got = udp_recv(u, family, &d, &more);

			for (size_t i = 0; i < got; i++)
				if (d[i].len != 100 || d[i].data[0] != d[i].data[99])
					return NULL;
			n += got;
			empty = got || udp_rx_held(u, family) ? 0 : empty + 1;
		}
		atomic_store(&rounds_heard, (unsigned)(n / A_ROUND));
	}
	return arg;
}

static void test_two_threads(void)
{
	const struct udp_stats *st;
	struct endpoint to[2] = {0};
	pthread_t thread;
	void *done = NULL;
	struct udp *u;

	T_EQ(udp_open(&u, &(struct udp_cfg){0}, &err), 0);
	st = udp_stats(u);
	for (int i = 0; i < 2; i++) {
		T_EQ(ipaddr_parse(i ? "::1" : "127.0.0.1", &to[i].ip), 0);
		to[i].port = udp_port(u, i ? 6 : 4);
	}
	atomic_store(&rounds_heard, 0);
	T_EQ(pthread_create(&thread, NULL, receiver, u), 0);
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned i = 0; i < A_ROUND; i++) {
			uint8_t *p = udp_reserve(u, i % 20 < 10 ? 4 : 6);

			if (T(p != NULL))
				memset(p, (int)(r + i), 100);
			udp_commit(u, NULL, &to[i % 20 >= 10], 0, 100);
		}
		udp_flush(u);
		T_EQ(udp_pending(u, 4) + udp_pending(u, 6), 0);
		for (unsigned w = 0; w < WATCHDOG && atomic_load(&rounds_heard) + 10 < r; w++)
			sched_yield(); /* the receiver's buffer is finite */
	}
	T_EQ(pthread_join(thread, &done), 0);
	T(done == u);
	T_EQ(st->rx_packets, ROUNDS * A_ROUND);
	T_EQ(st->tx_packets, ROUNDS * A_ROUND);
	T_EQ(st->rx_bytes, st->tx_bytes);
	udp_close(u);
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_members_are_alike);
	T_RUN(test_groups_do_not_mix);
	T_RUN(test_refused);
	T_RUN(test_nothing_is_left);
	T_RUN(test_rebind);
	T_RUN(test_without_privilege);
	T_RUN(test_two_threads);
	return t_done();
}
