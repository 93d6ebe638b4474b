/* SPDX-License-Identifier: Apache-2.0
 *
 * Floods for a TURN server from sources that hold no credentials: Binding requests, Allocate
 * requests, channel data on channels that do not exist, random bytes, and probes to its relayed
 * ports. Counts what comes back, since the source of such packets can be forged. Paced, bounded in
 * time, in the network namespace it is started in. Prints one JSON object. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/time.h"
#include "codec/stun.h"
#include "crypto/crypto.h"
#include "crypto/rng.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include "wire/turn.h"

#define SOURCES	  16
#define BATCH	  32
#define PACKET	  256
#define PROBE_LO  49152
#define PROBE_LEN 120

enum kind { BINDING, ALLOCATE, CHANNEL, GARBAGE, PROBE, KINDS };
static const char *const kinds[KINDS] = {"binding", "allocate", "channel", "garbage", "probe"};

static struct {
	enum kind kind;
	struct endpoint to;
	uint32_t pps, seconds;
	int fds[SOURCES];
	struct rng rng;
	uint64_t sent, sent_bytes, replies, reply_bytes, largest;
} f;

static void die(const char *what)
{
	fprintf(stderr, "h_turnflood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static size_t request(uint8_t *buf, enum stun_method method)
{
	struct stun_enc e;
	struct stun_tid tid;
	size_t len = 0;

	rng_bytes(&f.rng, &tid, sizeof(tid));
	stun_enc_init(&e, buf, PACKET, method, STUN_REQUEST, &tid);
	if (method == STUN_ALLOCATE)
		stun_put_u32(&e, STUN_A_REQUESTED_TRANSPORT, UINT32_C(17) << 24);
	if (stun_enc_done(&e, &len))
		exit(1);
	return len;
}

/* One packet; its length. */
static size_t make(uint8_t *buf, struct endpoint *to)
{
	*to = f.to;
	switch (f.kind) {
	case BINDING:
		return request(buf, STUN_BINDING);
	case ALLOCATE:
		return request(buf, STUN_ALLOCATE);
	case CHANNEL:
		rng_bytes(&f.rng, buf, PROBE_LEN);
		turn_chan_put(buf, (uint16_t)(TURN_CHAN_MIN + (buf[0] << 8 | buf[1]) % 0x4000),
			      PROBE_LEN - TURN_CHAN_HDR_LEN);
		return PROBE_LEN;
	case GARBAGE:
		rng_bytes(&f.rng, buf, PROBE_LEN);
		return 1 + buf[0] % PROBE_LEN;
	case PROBE:
		rng_bytes(&f.rng, buf, PROBE_LEN);
		to->port = (uint16_t)(PROBE_LO + (buf[0] << 8 | buf[1]) % (65536 - PROBE_LO));
		return PROBE_LEN;
	case KINDS:
		break;
	}
	exit(2);
}

static void burst(int fd)
{
	static uint8_t bufs[BATCH][PACKET];
	union sockaddr_any sa[BATCH];
	struct mmsghdr m[BATCH] = {0};
	struct iovec iov[BATCH];
	int n;

	for (unsigned i = 0; i < BATCH; i++) {
		struct endpoint to;

		iov[i] = (struct iovec){bufs[i], make(bufs[i], &to)};
		m[i].msg_hdr.msg_namelen = sockaddr_from_endpoint(&to, &sa[i]);
		m[i].msg_hdr.msg_name = &sa[i];
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	n = sendmmsg(fd, m, BATCH, MSG_DONTWAIT);
	for (int i = 0; i < n; i++) {
		f.sent++;
		f.sent_bytes += iov[i].iov_len;
	}
}

static void collect(void)
{
	uint8_t buf[2048];

	for (unsigned i = 0; i < SOURCES; i++) {
		ssize_t n;

		while ((n = recv(f.fds[i], buf, sizeof(buf), MSG_DONTWAIT)) >= 0) {
			f.replies++;
			f.reply_bytes += (uint64_t)n;
			if ((uint64_t)n > f.largest)
				f.largest = (uint64_t)n;
		}
	}
}

static void run(void)
{
	uint64_t start = loop_now(), end = start + f.seconds * NS_PER_SEC, now = start;

	for (unsigned i = 0; now < end; i++, now = loop_now()) {
		uint64_t due = start + f.sent * NS_PER_SEC / f.pps;

		if (due > now) {
			struct timespec ts = {
				.tv_nsec = (long)(due - now < NS_PER_MS ? due - now : NS_PER_MS)};

			nanosleep(&ts, NULL);
			collect();
			continue;
		}
		burst(f.fds[i % SOURCES]);
		collect();
	}
	for (unsigned i = 0; i < 20; i++) {
		struct timespec ts = {.tv_nsec = 10 * NS_PER_MS};

		nanosleep(&ts, NULL);
		collect();
	}
}

int main(int argc, char **argv)
{
	uint8_t seed[32] = "h_turnflood";

	if (argc != 5 || endpoint_parse(argv[2], &f.to)) {
		fputs("usage: h_turnflood binding|allocate|channel|garbage|probe IP:PORT PPS "
		      "SECONDS\n",
		      stderr);
		return 2;
	}
	while (f.kind < KINDS && strcmp(argv[1], kinds[f.kind]))
		f.kind++;
	f.pps = (uint32_t)strtoul(argv[3], NULL, 10);
	f.seconds = (uint32_t)strtoul(argv[4], NULL, 10);
	if (f.kind == KINDS || !f.pps || !f.seconds || f.seconds > 60 || crypto_init())
		return 2;
	rng_init(&f.rng, seed);
	for (unsigned i = 0; i < SOURCES; i++) {
		f.fds[i] = socket(f.to.ip.family == 4 ? AF_INET : AF_INET6,
				  SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (f.fds[i] < 0)
			die("socket");
	}
	run();
	printf("{\"kind\":\"%s\",\"sent\":%llu,\"sent_bytes\":%llu,\"replies\":%llu,"
	       "\"reply_bytes\":%llu,\"largest_reply\":%llu,\"amplification\":%.3f}\n",
	       kinds[f.kind], (unsigned long long)f.sent, (unsigned long long)f.sent_bytes,
	       (unsigned long long)f.replies, (unsigned long long)f.reply_bytes,
	       (unsigned long long)f.largest,
	       f.sent_bytes ? (double)f.reply_bytes / (double)f.sent_bytes : 0);
	return 0;
}
