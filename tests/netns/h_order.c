/* SPDX-License-Identifier: Apache-2.0
 *
 * Does one UDP flow keep its order? A sender numbers datagrams and changes its manner all the time:
 * single ones at various rates, trains by sendmmsg, segmentation-offload messages, pauses, all
 * mixed. The receiver counts what arrives late, twice or not at all.
 *
 *   h_order recv ADDR PORT               serves one flow: "sent=… received=… late=… twice=…", exit
 * 0 when nothing was late or twice h_order send ADDR PORT MS SEED       the flow goes to the
 * receiver h_order back ADDR PORT MS SEED       it comes from there: this end asks for it and
 * counts
 *
 * Numbers are counted in a window, so a flow may be as long as it likes. Loss is told, and not
 * judged. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define MAGIC	   0x70734f52u
#define LONGEST	   1200
#define TRAIN	   32
#define SEEN	   (1u << 16)
#define QUIET_MS   1500 /* so long nothing: the flow is over */
#define NS_PER_SEC 1000000000ull

enum kind { K_DATA, K_ASK, K_END };

struct head {
	uint32_t magic, kind;
	uint64_t n; /* number; asked for: milliseconds; at the end: how many there were */
	uint64_t seed;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t rnd_state;

static uint32_t rnd(uint32_t below)
{
	rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((rnd_state >> 33) % below);
}

static void wait_us(uint32_t us)
{
	struct timespec t = {.tv_nsec = (long)us * 1000};

	nanosleep(&t, NULL);
}

static int endpoint(const char *addr, const char *port, struct sockaddr_storage *ss, socklen_t *len)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	a4->sin_port = htons((uint16_t)atoi(port));
	if (inet_pton(AF_INET, addr, &a4->sin_addr) == 1) {
		a4->sin_family = AF_INET;
		*len = sizeof(*a4);
	} else if (inet_pton(AF_INET6, addr, &a6->sin6_addr) == 1) {
		a6->sin6_family = AF_INET6;
		*len = sizeof(*a6);
	} else {
		fprintf(stderr, "h_order: '%s' is no address\n", addr);
		exit(2);
	}
	return socket(ss->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* ---- the sender ---- */

static uint64_t number;

static void fill(uint8_t *b, size_t len)
{
	struct head h = {.magic = MAGIC, .kind = K_DATA, .n = number++};

	memset(b, (int)h.n, len);
	memcpy(b, &h, sizeof(h));
}

static void send_single(int fd, size_t len)
{
	uint8_t b[LONGEST];

	fill(b, len);
	send(fd, b, len, 0);
}

static void send_train(int fd, unsigned n, size_t len)
{
	static uint8_t b[TRAIN][LONGEST];
	struct iovec iov[TRAIN];
	struct mmsghdr m[TRAIN];

	memset(m, 0, sizeof(m));
	for (unsigned i = 0; i < n; i++) {
		fill(b[i], len);
		iov[i] = (struct iovec){b[i], len};
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	sendmmsg(fd, m, n, 0);
}

/* The kernel cuts it, or hands it on whole. */
static void send_super(int fd, unsigned n, uint16_t len)
{
	static uint8_t b[TRAIN * LONGEST];
	union {
		struct cmsghdr h;
		uint8_t b[CMSG_SPACE(sizeof(uint16_t))];
	} ctrl;
	struct iovec iov = {b, (size_t)n * len};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &ctrl,
			   .msg_controllen = sizeof(ctrl)};

	for (unsigned i = 0; i < n; i++)
		fill(b + (size_t)i * len, len);
	memset(&ctrl, 0, sizeof(ctrl));
	ctrl.h = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(len)), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
	memcpy(CMSG_DATA(&ctrl.h), &len, sizeof(len));
	sendmsg(fd, &m, 0);
}

/* One manner for a while. What is sent stays below 100 Mbit/s, so that nothing need be lost. */
static void manner(int fd)
{
	uint16_t len = (uint16_t)(sizeof(struct head) + rnd(LONGEST - sizeof(struct head)));
	uint32_t kind = rnd(6), times = 1 + rnd(20), gap = rnd(4) ? rnd(3000) : rnd(200);

	for (uint32_t i = 0; i < times; i++) {
		if (kind == 0 || kind == 1)
			send_single(fd, len);
		else if (kind == 2)
			send_train(fd, 1 + rnd(TRAIN), len);
		else if (kind == 3)
			send_super(fd, 2 + rnd(TRAIN - 2), len);
		else if (rnd(2))
			send_super(fd, 2 + rnd(8), len);
		else
			send_single(fd, (uint16_t)(sizeof(struct head) + rnd(100)));
		wait_us(gap + (kind > 1 ? 1000 : 0));
	}
	if (!rnd(8))
		wait_us(rnd(300000));
}

static void stream(int fd, uint64_t ms, uint64_t seed)
{
	struct head h = {.magic = MAGIC, .kind = K_END};
	uint64_t until = now_ns() + ms * 1000000;

	rnd_state = seed;
	number = 0;
	while (now_ns() < until)
		manner(fd);
	h.n = number;
	wait_us(300000);
	for (int i = 0; i < 5; i++) {
		send(fd, &h, sizeof(h), 0);
		wait_us(10000);
	}
}

/* ---- the receiver ---- */

static int count(int fd, bool serve)
{
	static uint64_t seen[SEEN]; /* number + 1 */
	uint64_t received = 0, late = 0, twice = 0, next = 0, sent = 0;
	uint8_t b[65536];
	struct head h;
	ssize_t n;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);

		if (poll(&p, 1, received || !serve ? QUIET_MS * 4 : 60000) <= 0)
			break;
		n = recvfrom(fd, b, sizeof(b), 0, (struct sockaddr *)&from, &len);
		if (n < (ssize_t)sizeof(h))
			continue;
		memcpy(&h, b, sizeof(h));
		if (h.magic != MAGIC)
			continue;
		if (h.kind == K_ASK && serve) {
			if (!connect(fd, (struct sockaddr *)&from, len))
				stream(fd, h.n, h.seed);
			return 0;
		}
		if (h.kind == K_END) {
			sent = h.n;
			break;
		}
		received++;
		twice += seen[h.n % SEEN] == h.n + 1;
		seen[h.n % SEEN] = h.n + 1;
		if (h.n < next) {
			late++;
			printf("# late: %llu after %llu\n", (unsigned long long)h.n,
			       (unsigned long long)next - 1);
		} else {
			next = h.n + 1;
		}
	}
	printf("sent=%llu received=%llu late=%llu twice=%llu\n", (unsigned long long)sent,
	       (unsigned long long)received, (unsigned long long)late, (unsigned long long)twice);
	return !sent || late || twice;
}

int main(int argc, char **argv)
{
	struct sockaddr_storage at;
	struct head h = {.magic = MAGIC, .kind = K_ASK};
	socklen_t len;
	int fd, big = 4 << 20;

	if (argc < 4 || (strcmp(argv[1], "recv") != 0 && argc < 6)) {
		fprintf(stderr, "usage: h_order recv ADDR PORT | send|back ADDR PORT MS SEED\n");
		return 2;
	}
	fd = endpoint(argv[2], argv[3], &at, &len);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	if (!strcmp(argv[1], "recv")) {
		if (bind(fd, (struct sockaddr *)&at, len) < 0) {
			perror("h_order: bind");
			return 2;
		}
		return count(fd, true);
	}
	if (connect(fd, (struct sockaddr *)&at, len) < 0) {
		perror("h_order: connect");
		return 2;
	}
	h.n = strtoull(argv[4], NULL, 10);
	h.seed = strtoull(argv[5], NULL, 10);
	if (!strcmp(argv[1], "send")) {
		stream(fd, h.n, h.seed);
		return 0;
	}
	send(fd, &h, sizeof(h), 0);
	return count(fd, false);
}
