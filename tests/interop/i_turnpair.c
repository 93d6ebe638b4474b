/* SPDX-License-Identifier: Apache-2.0
 *
 * Two TURN clients in one process that talk to each other through a real relay, each with its own
 * sockets. For interop tests only:
 *
 *     i_turnpair ADDR4:PORT|- [ADDR6]:PORT|- USERNAME PASSWORD REALM|- SECONDS
 *
 * Every 50 ms each says something to the other's relayed address of each family the allocation has.
 * One line per event on stdout, a summary at the end. Exit 0 when both were ready at the end. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/turn/turn.h"
#include "io/entropy.h"
#include "io/udp.h"

#define SAY_NS (50 * NS_PER_MS)

struct side {
	struct turn t;
	struct udp *udp;
	unsigned said, heard;
	enum turn_state state;
};

static struct side side[2];

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(2);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static void events(unsigned i, uint64_t now)
{
	static const char *const kinds[] = {"host", "srflx", "relay"};
	char addr[ENDPOINT_STRLEN];
	struct turn_event ev;

	while (turn_poll_event(&side[i].t, &ev, now)) {
		switch (ev.kind) {
		case TURN_EV_CAND:
		case TURN_EV_CAND_GONE:
			printf("%u %s %s %s\n", i, ev.kind == TURN_EV_CAND ? "candidate" : "gone",
			       kinds[ev.cand.kind], endpoint_fmt(&ev.cand.addr, addr));
			break;
		case TURN_EV_CHANNEL_UP:
		case TURN_EV_CHANNEL_DOWN:
			printf("%u channel %s %#x %s\n", i,
			       ev.kind == TURN_EV_CHANNEL_UP ? "up" : "down", ev.number,
			       endpoint_fmt(&ev.peer, addr));
			break;
		}
	}
	if (side[i].state != turn_state(&side[i].t))
		printf("%u state %s: %s\n", i, turn_state_name(turn_state(&side[i].t)),
		       side[i].t.why);
	side[i].state = turn_state(&side[i].t);
}

static void drive(unsigned i, uint64_t now)
{
	struct turn_tx tx;

	turn_timeout(&side[i].t, now);
	while (turn_poll_tx(&side[i].t, &tx, now))
		udp_send(side[i].udp, &tx.local.ip, &tx.remote, 0, tx.buf, tx.len);
	events(i, now);
	udp_flush(side[i].udp);
}

static void receive(unsigned i, int family, uint64_t now)
{
	struct udp_dgram *d;
	struct turn_data data;
	bool more;

	do {
		size_t n = udp_recv(side[i].udp, family, &d, &more);

		for (size_t k = 0; k < n; k++) {
			enum turn_rx rx = turn_input(&side[i].t, &d[k].local, &d[k].remote,
						     d[k].data, d[k].len, &data, now);

			side[i].heard += rx == TURN_RX_DATA;
			if (rx != TURN_RX_DATA && rx != TURN_RX_CONTROL)
				printf("%u rejected %s\n", i, turn_rx_name(rx));
		}
	} while (more);
}

static void say(unsigned i, uint8_t family, uint64_t now)
{
	struct endpoint to, local, server;
	uint8_t buf[TURN_CHAN_HDR_LEN + 5] = "....hello";
	uint16_t number;

	if (!turn_relayed(&side[!i].t, family, &to) || !turn_route(&side[i].t, &local, &server))
		return;
	if (!turn_channel(&side[i].t, &to, now, &number)) {
		turn_bind(&side[i].t, &to, now);
		return;
	}
	turn_chan_put(buf, number, 5);
	udp_send(side[i].udp, NULL, &server, 0, buf, sizeof(buf));
	turn_sent(&side[i].t, now);
	side[i].said++;
}

static void wait_until(uint64_t at)
{
	struct pollfd fds[4];
	uint64_t now = now_ns();

	for (unsigned i = 0; i < 4; i++)
		fds[i] = (struct pollfd){.fd = udp_fd(side[i / 2].udp, i % 2 ? 6 : 4),
					 .events = POLLIN};
	poll(fds, 4, at > now ? (int)((at - now) / NS_PER_MS) + 1 : 0);
}

static void run(uint64_t span)
{
	uint64_t now = now_ns(), end = now + span, say_at = now + SAY_NS;

	while (now < end) {
		uint64_t at = say_at < end ? say_at : end;

		for (unsigned i = 0; i < 2; i++) {
			receive(i, 4, now);
			receive(i, 6, now);
			drive(i, now);
			if (now >= say_at) {
				say(i, 4, now);
				say(i, 6, now);
				drive(i, now);
			}
			if (turn_deadline(&side[i].t).at < at)
				at = turn_deadline(&side[i].t).at;
		}
		if (now >= say_at)
			say_at = now + SAY_NS;
		fflush(stdout);
		wait_until(at);
		now = now_ns();
	}
}

static void start(unsigned i, char **argv)
{
	struct turn_cfg cfg = {0};
	struct udp_cfg ucfg = {0};
	struct io_err err;
	uint8_t seed[32];

	if ((strcmp(argv[1], "-") != 0 && endpoint_parse(argv[1], &cfg.addr4)) ||
	    (strcmp(argv[2], "-") != 0 && endpoint_parse(argv[2], &cfg.addr6)))
		die("not an address");
	snprintf(cfg.username, sizeof(cfg.username), "%s", argv[3]);
	snprintf(cfg.password, sizeof(cfg.password), "%s", argv[4]);
	snprintf(cfg.realm, sizeof(cfg.realm), "%s", strcmp(argv[5], "-") != 0 ? argv[5] : "");
	if (udp_open(&side[i].udp, &ucfg, &err) || entropy_get(seed, sizeof(seed)) ||
	    turn_init(&side[i].t, &cfg, seed, now_ns()))
		die("cannot start");
}

int main(int argc, char **argv)
{
	bool good = true;

	if (argc != 7 || crypto_init())
		die("usage: i_turnpair ADDR4:PORT|- [ADDR6]:PORT|- USERNAME PASSWORD REALM|- "
		    "SECONDS");
	for (unsigned i = 0; i < 2; i++)
		start(i, argv);
	run(strtoull(argv[6], NULL, 10) * NS_PER_SEC);
	for (unsigned i = 0; i < 2; i++) {
		const struct turn_acct *a = &side[i].t.acct;

		printf("end %u state=%s said=%u heard=%u sent=%llu retransmits=%llu "
		       "challenges=%llu "
		       "errors=%llu allocations=%llu lost=%llu rtt_us=%llu\n",
		       i, turn_state_name(side[i].state), side[i].said, side[i].heard,
		       (unsigned long long)a->tx, (unsigned long long)a->retransmits,
		       (unsigned long long)a->challenges, (unsigned long long)a->errors,
		       (unsigned long long)a->allocations, (unsigned long long)a->lost,
		       (unsigned long long)turn_rtt_ns(&side[i].t) / 1000);
		good = good && side[i].state == TURN_READY;
		turn_fini(&side[i].t);
		udp_close(side[i].udp);
	}
	return !good;
}
