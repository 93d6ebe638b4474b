/* SPDX-License-Identifier: Apache-2.0
 *
 * The program that fills the queues of the tunnel device, and their life, inside the namespace
 * t_tun-queues.sh made: the program says what tun_steer_queue says for any packet, queues come and
 * go, what the kernel refuses is refused in words, and the kernel executor has its packets first.
 */
#include <bpf/bpf.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "io/bpf_sync.h"
#include "tests/netns/tun_queues.h"

/* ---- a kernel that refuses ---- */

static bool refuse_multi, refuse_steering;
static bool vanish;	  /* the device, just before it is asked for */
static int steering = -1; /* the program last attached */

/* In place of the C library's: what was asked last is known, and can be refused. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if ((request == TUNSETIFF && refuse_multi &&
	     ((struct ifreq *)arg)->ifr_flags & IFF_MULTI_QUEUE) ||
	    (request == TUNSETSTEERINGEBPF && refuse_steering)) {
		errno = EINVAL;
		return -1;
	}
	if (request == TUNSETIFF && vanish)
		shell("ip link del " DEV);
	if (request == TUNSETSTEERINGEBPF) {
		close(steering);
		steering = dup(*(int *)arg);
	}
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

/* ---- the program itself ---- */

/* The kernel takes an Ethernet frame and shows the program what is in it. */
#define ETH 14

static unsigned ask(const uint8_t *pkt, uint32_t len)
{
	uint8_t frame[ETH + 80] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = ETH + len);

	memcpy(frame + ETH, pkt, len);

	T_EQ(bpf_prog_test_run_opts(steering, &o), 0);
	return o.retval;
}

/* The same answer from the program and from C, for whatever may come along. */
static void test_mirror(void)
{
	uint64_t rnd = t_seed();
	unsigned count[WORKERS + 1] = {0}, wrong = 0;
	uint8_t p[80];

	up(WORKERS);
	for (unsigned n = 0; n < 20000; n++) {
		uint32_t len = 1 + (uint32_t)(t_rand(&rnd) % sizeof(p));
		unsigned want;

		for (size_t i = 0; i < sizeof(p); i++)
			p[i] = (uint8_t)t_rand(&rnd);
		if (n & 1)
			p[0] = n & 2 ? 0x45 : 0x60;
		if (n & 4)
			p[9] = p[6] = n & 8 ? 6 : 17;
		if (n & 16 && p[0] == 0x45)
			p[6] = (uint8_t)(n & 32 ? 1u << t_rand(&rnd) % 8 : 0),
			p[7] = n & 64 ? 1 : 0;
		want = tun_steer_queue(p, len, WORKERS);
		wrong += ask(p, len) != want;
		count[want]++;
	}
	T_EQ(wrong, 0);
	for (unsigned i = 0; i <= WORKERS; i++)
		T(count[i] > 1000);
	T_EQ(tun_steer(q[0], TUN_WORKERS_MAX + 1, &err), -EINVAL);
	T(ok(tun_steer(q[0], TUN_WORKERS_MAX, &err)));
	p[0] = 0x45;
	T_EQ(ask(p, 60), tun_steer_queue(p, 60, TUN_WORKERS_MAX));
	down();
}

/* Its price, for the record: no verdict hangs on it. */
static void test_price(void)
{
	static const uint8_t v4[74] = {[ETH] = 0x45, [ETH + 9] = 17, [ETH + 12] = 10},
			     v6[74] = {[ETH] = 0x60, [ETH + 6] = 6, [ETH + 8] = 0xfd};
	uint32_t ns[3];

	up(WORKERS);
	for (unsigned k = 0; k < 3; k++) {
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = k == 1 ? v6 : v4, .data_size_in = 74,
			    .repeat = 100000);

		T(ok(tun_steer(q[0], k < 2 ? WORKERS : 0, &err)));
		T_EQ(bpf_prog_test_run_opts(steering, &o), 0);
		ns[k] = o.duration;
	}
	t_note("a packet costs %u ns (IPv4), %u ns (IPv6), without workers %u ns", ns[0], ns[1],
	       ns[2]);
	down();
}

/* ---- queues that come and go ---- */

static void test_reopen(void)
{
	up(WORKERS);
	for (unsigned round = 0; round < 3; round++) {
		tun_close(q[--n_q]);
		send_udp(net_of[0].here, net_of[0].there, 400, 1, 100);
		look(WORKERS); /* the last worker's are the first queue's now */
		T_EQ(seen.packets, 400);
		T_EQ(seen.wrong, 0);
		T(seen.queue[0] > 50);
		add_queue();
		send_udp(net_of[0].here, net_of[0].there, 400, 1, 100);
		look(WORKERS);
		check("opened again", 400, false);
	}
	/* Not the last one: the last one takes its place. */
	tun_close(q[2]);
	q[2] = q[--n_q];
	send_udp(net_of[1].here, net_of[1].there, 400, 1, 100);
	look(WORKERS);
	T_EQ(seen.packets, 400);
	T_EQ(seen.wrong, 0);
	down();
}

static void test_other_workers(void)
{
	up(WORKERS);
	look(WORKERS); /* what the kernel says of its own when the device comes up */
	T(ok(tun_steer(q[0], 0, &err)));
	for (unsigned k = 0; k < 2; k++) {
		send_udp(net_of[k].here, net_of[k].there, 200, 1, 100);
		look(0);
		T_EQ(seen.packets, 200);
		T_EQ(seen.queue[0], 200);
		T_EQ(seen.wrong, 0);
	}
	for (unsigned workers = 1; workers <= WORKERS; workers++) {
		T(ok(tun_steer(q[0], workers, &err)));
		send_udp(net_of[0].here, net_of[0].there, 200, 1, 100);
		look(workers);
		check("workers change", 200, false);
		for (unsigned i = 1; i <= WORKERS; i++)
			T_EQ(seen.queue[i] > 0, i <= workers);
	}
	down();
}

/* The descriptor it came by does not matter, nor which queue is closed. */
static void test_first_closed(void)
{
	struct tun *only;

	up(1);
	tun_close(q[0]);
	only = q[1];
	n_q = 1;
	q[0] = only;
	send_udp(net_of[0].here, net_of[0].there, 100, 1, 100);
	look(1);
	T_EQ(seen.packets, 100);
	T_EQ(seen.queue[0], 100);
	add_queue();
	send_udp(net_of[0].here, net_of[0].there, 100, 1, 100);
	look(1);
	check("first closed", 100, false);
	down();
}

static void test_renamed_and_gone(void)
{
	struct tun *more;

	up(1);
	T_STR(shell("(ip link set " DEV " down; ip link set " DEV " name other-q) 2>&1"), "");
	T(ok(tun_open_queue(&more, q[0], &err)));
	T_STR(tun_name(more), "other-q");
	T_EQ(tun_ifindex(more), tun_ifindex(q[0]));
	tun_close(more);
	T_STR(shell("ip link del other-q 2>&1"), "");
	T_EQ(tun_open_queue(&more, q[0], &err), -ENODEV);
	T(more == NULL);
	T(strstr(err.msg, "gone") != NULL);
	T(tun_steer(q[0], 1, &err) < 0);
	T_STR(shell("ip link show type tun 2>/dev/null"), "");
	down();
}

/* The kernel then makes a device of that name, which is not ours and must not stay. */
static void test_gone_meanwhile(void)
{
	struct tun *more;

	up(1);
	vanish = true;
	T_EQ(tun_open_queue(&more, q[0], &err), -ENODEV);
	vanish = false;
	T(more == NULL && strstr(err.msg, "gone"));
	T_STR(shell("ip link show dev " DEV " 2>/dev/null"), "");
	down();
}

/* ---- refusals ---- */

static void test_no_multi(void)
{
	struct tun *t, *more;

	refuse_multi = true;
	T(ok(tun_open(&t, &(struct tun_cfg){.name = DEV, .multi = true}, &err)));
	refuse_multi = false;
	T(!tun_multi(t));
	T_EQ(tun_open_queue(&more, t, &err), -EOPNOTSUPP);
	T(more == NULL && strstr(err.msg, "one queue"));
	T_EQ(tun_steer(t, 2, &err), -EOPNOTSUPP);
	T_EQ(tun_steer(t, 0, &err), 0);
	tun_close(t);
	T(ok(tun_open(&t, &(struct tun_cfg){.name = DEV}, &err)));
	T(!tun_multi(t));
	tun_close(t);
	T(ok(tun_open(&t, &(struct tun_cfg){.name = DEV, .multi = true, .no_gso = true}, &err)));
	T_EQ(tun_open(&more, &(struct tun_cfg){.name = DEV, .multi = true}, &err), -EBUSY);
	T(more == NULL && strstr(err.msg, "taken"));
	T(ok(tun_open_queue(&more, t, &err)));
	T(!tun_offload(more)->vnet_hdr && !tun_joins_tcp(more) && !tun_joins_udp(more));
	tun_close(more);
	tun_close(t);
}

static void test_no_steering(void)
{
	up(WORKERS);
	refuse_steering = true;
	T_EQ(tun_steer(q[0], 2, &err), -EINVAL);
	T(strstr(err.msg, DEV) && strstr(err.msg, "refused"));
	refuse_steering = false;
	send_udp(net_of[0].here, net_of[0].there, 200, 1, 100);
	look(WORKERS); /* what was, is */
	check("refused", 200, false);
	down();
}

static bool drop_bpf(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	const unsigned bpf = 39, admin = 21; /* CAP_BPF, CAP_SYS_ADMIN */

	if (syscall(SYS_capget, &h, d))
		return false;
	d[admin / 32].effective &= ~(1u << admin % 32);
	d[bpf / 32].effective &= ~(1u << bpf % 32);
	return syscall(SYS_capset, &h, d) == 0;
}

static void test_no_right(void)
{
	int status = 0;
	pid_t pid;

	if (atoi(shell("cat /proc/sys/kernel/unprivileged_bpf_disabled 2>/dev/null")) == 0) {
		t_skip("everybody may load such a program here");
		return;
	}
	up(WORKERS);
	pid = fork();
	if (pid == 0) {
		int rc = drop_bpf() ? tun_steer(q[0], 2, &err) : 0;

		_exit(rc == -EPERM && strstr(err.msg, "CAP_BPF") ? 42 : 1);
	}
	T_EQ(waitpid(pid, &status, 0), pid);
	T_EQ(WEXITSTATUS(status), 42);
	send_udp(net_of[0].here, net_of[0].there, 200, 1, 100);
	look(WORKERS); /* what was, is */
	check("no right", 200, false);
	down();
}

/* ---- beside the kernel executor ---- */

/* Its program has each packet first; what it leaves is steered. */
static void test_kernel_executor(void)
{
	struct bpf_load_cfg cfg = {.instance = "h-queues",
				   .wan_ifindex = {(int)if_nametoindex("w0")},
				   .wan_len = 1,
				   .sessions = 64,
				   .peers = 32,
				   .flows = 2048,
				   .channels = 64};
	struct ps_reason_count r[PS_R_COUNT];
	struct bpf_load *b;
	int rc;

	up(WORKERS);
	cfg.tun_ifindex = tun_ifindex(q[0]);
	rc = bpf_load_open(&b, &cfg, &err);
	if (rc == -EPERM || rc == -EOPNOTSUPP) {
		t_skip("no kernel executor here");
		down();
		return;
	}
	T(ok(rc));
	T(ok(bpf_load_start(b, &err)));
	bpf_load_tables(b)->config->flags = PS_CFG_RX | PS_CFG_TX;
	for (unsigned k = 0; k < 2; k++) {
		send_udp(net_of[k].here, net_of[k].there, 500, 2, 100);
		look(WORKERS);
		check(bpf_load_info(b)->tun_attach, 1000, true);
	}
	T_EQ(bpf_reasons_read(b, r), 0);
	T(r[PS_R_TX_NO_FLOW].packets >= 2000);
	T(ok(tun_steer(q[0], 2, &err)));
	send_udp(net_of[0].here, net_of[0].there, 200, 1, 100);
	look(2);
	check("two workers beside it", 200, false);
	bpf_load_close(b);
	down();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_mirror);
	T_RUN(test_price);
	T_RUN(test_reopen);
	T_RUN(test_other_workers);
	T_RUN(test_first_closed);
	T_RUN(test_renamed_and_gone);
	T_RUN(test_gone_meanwhile);
	T_RUN(test_no_multi);
	T_RUN(test_no_steering);
	T_RUN(test_no_right);
	T_RUN(test_kernel_executor);
	return t_done();
}
