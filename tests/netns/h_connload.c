/* SPDX-License-Identifier: Apache-2.0
 *
 * How many TCP connections a second can be set up: h_connload serve PORT on one end, h_connload run
 * ADDR PORT SECONDS AT-ONCE on the other. A connection is set up when the server's first byte has
 * come; it is then reset, so that neither end runs out of ports. run prints one JSON object. IPv4.
 *
 * Closed loop: AT-ONCE connections are being made at any time. What is not there after 3 s failed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE_MAX 256
#define SAMPLES_MAX (1u << 20)
#define GIVE_UP_NS  3000000000ull

struct attempt {
	int fd;
	uint64_t begun;
};

static struct attempt attempts[AT_ONCE_MAX];
static uint32_t took_us[SAMPLES_MAX];
static uint32_t n_done, n_failed, at_once;
static struct sockaddr_in server;
static int ep;

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static _Noreturn void serve(void)
{
	const int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&server, sizeof(server)) || listen(fd, 4096))
		die("listen");
	for (;;) {
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (c < 0 && errno != ECONNABORTED && errno != EINTR)
			die("accept");
		if (c < 0)
			continue;
		send(c, "+", 1, MSG_NOSIGNAL);
		close(c);
	}
}

static void begin(uint32_t i)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLERR, .data.u32 = i};
	struct attempt *a = &attempts[i];

	a->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	a->begun = now_ns();
	if (a->fd < 0)
		die("socket");
	if (connect(a->fd, (struct sockaddr *)&server, sizeof(server)) && errno != EINPROGRESS)
		die("connect");
	if (epoll_ctl(ep, EPOLL_CTL_ADD, a->fd, &ev))
		die("epoll_ctl");
}

/* Reset, not closed: no TIME_WAIT. */
static void end(uint32_t i)
{
	const struct linger reset = {.l_onoff = 1};

	setsockopt(attempts[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(attempts[i].fd);
}

static void answered(uint32_t i)
{
	char byte;

	if (recv(attempts[i].fd, &byte, 1, 0) == 1 && byte == '+') {
		if (n_done < SAMPLES_MAX)
			took_us[n_done] = (uint32_t)((now_ns() - attempts[i].begun) / 1000);
		n_done++;
	} else {
		n_failed++;
	}
	end(i);
	begin(i);
}

static void give_up_old(void)
{
	const uint64_t now = now_ns();

	for (uint32_t i = 0; i < at_once; i++) {
		if (now - attempts[i].begun < GIVE_UP_NS)
			continue;
		n_failed++;
		end(i);
		begin(i);
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int run(unsigned seconds)
{
	const uint64_t start = now_ns(), stop = start + seconds * 1000000000ull;
	uint64_t now, checked = start;
	uint32_t n;

	for (uint32_t i = 0; i < at_once; i++)
		begin(i);
	while ((now = now_ns()) < stop) {
		struct epoll_event ev[64];
		int got = epoll_wait(ep, ev, 64, 100);

		for (int i = 0; i < got; i++)
			answered(ev[i].data.u32);
		if (now - checked > GIVE_UP_NS / 10) {
			give_up_old();
			checked = now;
		}
	}
	/* What has stood still until now would not be seen otherwise. */
	for (uint32_t i = 0; i < at_once; i++)
		n_failed += now - attempts[i].begun > 1000000000u;
	n = n_done < SAMPLES_MAX ? n_done : SAMPLES_MAX;
	qsort(took_us, n, sizeof(*took_us), by_value);
	printf("{\"per_s\":%.1f,\"connections\":%u,\"failed\":%u,\"p50_us\":%u,\"p99_us\":%u}\n",
	       n_done * 1e9 / (double)(now - start), n_done, n_failed, n ? took_us[n / 2] : 0,
	       n ? took_us[(uint64_t)n * 99 / 100] : 0);
	return n_done == 0;
}

int main(int argc, char **argv)
{
	server.sin_family = AF_INET;
	if (argc == 3 && !strcmp(argv[1], "serve")) {
		server.sin_port = htons((uint16_t)atoi(argv[2]));
		serve();
	}
	if (argc == 6 && !strcmp(argv[1], "run") &&
	    inet_pton(AF_INET, argv[2], &server.sin_addr) == 1) {
		server.sin_port = htons((uint16_t)atoi(argv[3]));
		at_once = (uint32_t)atoi(argv[5]);
		ep = epoll_create1(EPOLL_CLOEXEC);
		if (ep >= 0 && at_once > 0 && at_once <= AT_ONCE_MAX)
			return run((unsigned)atoi(argv[4]));
	}
	fprintf(stderr, "usage: h_connload serve PORT | run ADDR PORT SECONDS AT-ONCE\n");
	return 2;
}
