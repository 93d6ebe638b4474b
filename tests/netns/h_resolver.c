/* SPDX-License-Identifier: Apache-2.0
 *
 * io/resolver against a name server of this process on 127.0.0.1, in the namespace t_resolver.sh
 * made. The server knows names under .test:
 *
 *     both 10.0.0.1, 2001:db8::1   four 10.0.0.4   six 2001:db8::6   none NXDOMAIN   mute silence
 *     brief 10.0.0.5 with TTL 0, all others 60
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/bytes.h"
#include "io/resolver.h"
#include "tests/netns/io_help.h"
#include "tests/t.h"

enum { QUESTIONS = 4, BURST = 1000, ANSWERS = BURST, TYPE_A = 1, TYPE_AAAA = 28 };

static struct loop loop;
static struct loop_fd server;
static int server_fd;
static unsigned int queries;
static char servers[64];
static struct resolver *res;
static struct got {
	uint64_t cookie;
	bool failed;
	size_t n;
	struct ipaddr addrs[RESOLVER_ADDRS_MAX];
} got[ANSWERS];
static size_t got_len;

static void on_done(void *ctx, uint64_t cookie, const struct ipaddr *addrs, size_t n, uint64_t now)
{
	(void)ctx;
	(void)now;
	if (!T(got_len < ANSWERS))
		return;
	got[got_len].cookie = cookie;
	got[got_len].failed = !addrs;
	got[got_len].n = n;
	for (size_t i = 0; i < n; i++)
		got[got_len].addrs[i] = addrs[i];
	got_len++;
}

/* The answer to the query in p[len]; its length, 0: none. */
static size_t reply(uint8_t *p, size_t len, size_t cap)
{
	static const struct {
		const char *label, *v4, *v6;
	} names[] = {{"both", "10.0.0.1", "2001:db8::1"},
		     {"four", "10.0.0.4", NULL},
		     {"six", NULL, "2001:db8::6"},
		     {"brief", "10.0.0.5", NULL}};
	struct wbuf w = wbuf_init(p + len, cap - len);
	uint16_t type;
	const char *text = NULL;
	bool known = false;
	struct ipaddr a;
	size_t q = 12, out = 0;

	while (q < len && p[q])
		q += 1u + p[q];
	if (q + 5 > len || (p[12] == 4 && !memcmp(p + 13, "mute", 4)))
		return 0;
	type = be16_get(p + q + 1);
	w = wbuf_init(p + q + 5, cap - q - 5);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (p[12] == strlen(names[i].label) && !memcmp(p + 13, names[i].label, p[12])) {
			known = true;
			text = type == TYPE_A ? names[i].v4 : type == TYPE_AAAA ? names[i].v6 : 0;
		}
	p[2] = 0x81;
	p[3] = known ? 0x80 : 0x83;
	be16_put(p + 6, text ? 1 : 0);
	be16_put(p + 8, 0);
	be16_put(p + 10, 0);
	if (text) {
		a = addr(text);
		wbuf_be16(&w, 0xc00c);
		wbuf_be16(&w, type);
		wbuf_be16(&w, 1);
		wbuf_be32(&w, !strcmp(text, "10.0.0.5") ? 0 : 60);
		wbuf_be16(&w, (uint16_t)ipaddr_size(&a));
		wbuf_put(&w, a.b, ipaddr_size(&a));
	}
	T_EQ(wbuf_done(&w, &out), 0);
	return q + 5 + out;
}

static void on_query(void *ctx, unsigned int events, uint64_t now)
{
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint8_t buf[1024];
	ssize_t n;

	(void)ctx;
	(void)events;
	(void)now;
	while ((n = recvfrom(server_fd, buf, 512, 0, (struct sockaddr *)&from, &from_len)) >= 12) {
		queries++;
		n = (ssize_t)reply(buf, (size_t)n, sizeof(buf));
		if (n)
			(void)sendto(server_fd, buf, (size_t)n, 0, (struct sockaddr *)&from,
				     from_len);
	}
}

static void setup_for(uint32_t questions)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct resolver_cfg cfg = {
		.questions_max = questions, .fwmark = 7, .servers = servers, .done = on_done};
	socklen_t len = sizeof(sa);
	int room = 8 << 20;

	T_EQ(loop_init(&loop), 0);
	server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	T_EQ(setsockopt(server_fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)), 0);
	T_EQ(bind(server_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	T_EQ(getsockname(server_fd, (struct sockaddr *)&sa, &len), 0);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(sa.sin_port));
	T_EQ(loop_fd_init(&server, &loop, server_fd, LOOP_READ, on_query, NULL), 0);
	T_EQ(resolver_open(&res, &loop, &cfg), 0);
	got_len = 0;
	queries = 0;
}

static void setup(void)
{
	setup_for(QUESTIONS);
}

static void teardown(void)
{
	loop_fd_fini(&server);
	loop_fini(&loop);
	resolver_close(res);
	close(server_fd);
}

/* True: so many answers have come before the time was over. */
static bool wait_for(size_t n, uint64_t max_ns)
{
	uint64_t end = loop_now() + max_ns;

	while (got_len < n && loop_now() < end)
		loop_run_once(&loop, 100 * NS_PER_MS);
	return got_len >= n;
}

static void ask(const char *name, uint64_t cookie)
{
	resolver_ask(res, name, cookie, loop_now());
}

static bool has(const struct got *g, const char *text)
{
	struct ipaddr want = addr(text);

	for (size_t i = 0; i < g->n; i++)
		if (ipaddr_eq(&g->addrs[i], &want))
			return true;
	return false;
}

static void test_families(void)
{
	static const struct {
		const char *name;
		size_t n;
		const char *a, *b;
	} cases[] = {{"both.test", 2, "10.0.0.1", "2001:db8::1"},
		     {"four.test", 1, "10.0.0.4", NULL},
		     {"six.test", 1, "2001:db8::6", NULL},
		     {"none.test", 0, NULL, NULL}};

	setup();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ask(cases[i].name, 100 + i);
		if (!T(wait_for(i + 1, 5 * NS_PER_SEC)))
			break;
		T_EQ(got[i].cookie, 100 + i);
		T_EQ(got[i].n, cases[i].n);
		T(!got[i].failed);
		T(!cases[i].a || has(&got[i], cases[i].a));
		T(!cases[i].b || has(&got[i], cases[i].b));
	}
	T_EQ(resolver_counters(res).failed, 1);
	teardown();
}

/* Did the n-th question of the test go to the server? */
static bool asked_for(const char *name, size_t n)
{
	unsigned int before = queries;

	ask(name, n);
	T(wait_for(n, 5 * NS_PER_SEC));
	return queries > before;
}

static void test_kept(void)
{
	setup();
	T(asked_for("both.test", 1));
	ask("BOTH.test", 2);
	T_EQ(got_len, 2); /* at once */
	T_EQ(got[1].n, 2);
	T_EQ(resolver_counters(res).kept, 1);
	T(asked_for("none.test", 3));
	T(asked_for("none.test", 4)); /* a failure is asked for again */
	teardown();
}

/* No longer than its TTL says, but for a second in any case. */
static void test_kept_ttl(void)
{
	setup();
	T(asked_for("brief.test", 1));
	T(!asked_for("brief.test", 2));
	T(!wait_for(3, RESOLVER_KEEP_MIN_NS + 100 * NS_PER_MS)); /* time passes */
	T(asked_for("brief.test", 3));
	teardown();
}

/* No answer: given up in time; no room: at once; what is under way at the end is forgotten. */
static void test_bounds(void)
{
	uint64_t began;

	setup();
	began = loop_now();
	for (uint64_t i = 0; i < QUESTIONS; i++)
		ask("mute.test", i);
	T_EQ(got_len, 0);
	ask("both.test", 9);
	T_EQ(got_len, 1);
	T_EQ(got[0].cookie, 9);
	T_EQ(got[0].n, 0);
	T(got[0].failed);
	T_EQ(resolver_counters(res).full, 1);
	T(wait_for(1 + QUESTIONS, RESOLVER_TIMEOUT_NS + 5 * NS_PER_SEC));
	T(loop_now() - began >= RESOLVER_TIMEOUT_NS - NS_PER_SEC);
	T_EQ(resolver_counters(res).timed_out, QUESTIONS);
	T(got_len > 1 && got[1].failed);
	teardown();
	T_EQ(got_len, 1 + QUESTIONS);
}

/* As many questions as a gateway has under way, answered all at once: no answer is lost and asked
 * for again. */
static void test_burst(void)
{
	setup_for(BURST);
	for (uint64_t i = 0; i < BURST; i++)
		ask("both.test", i);
	T(wait_for(BURST, RESOLVER_TIMEOUT_NS));
	T_EQ(resolver_counters(res).failed, 0);
	T_EQ(queries, 2 * BURST);
	teardown();
}

static void test_closed_under_way(void)
{
	setup();
	ask("mute.test", 1);
	ask("both.test", 2);
	loop_run_once(&loop, 0);
	teardown();
	T_EQ(got_len, 0);
}

/* Other servers: what is under way fails at once, what was kept is asked for again. */
static void test_servers_set(void)
{
	unsigned int before;
	char again[sizeof(servers)];

	setup();
	memcpy(again, servers, sizeof(again));
	ask("both.test", 1);
	T(wait_for(1, 5 * NS_PER_SEC));
	ask("mute.test", 2);
	loop_run_once(&loop, 0);
	T_EQ(got_len, 1);
	T_EQ(resolver_set_servers(res, "no address"), -EINVAL);
	T_EQ(got_len, 1); /* and nothing has changed */
	T_EQ(resolver_set_servers(res, again), 0);
	T(wait_for(2, NS_PER_SEC));
	T_EQ(got[1].cookie, 2);
	T_EQ(got[1].n, 0);
	before = queries;
	ask("both.test", 3);
	T(wait_for(3, 5 * NS_PER_SEC));
	T_EQ(got[2].n, 2);
	T(queries > before);
	teardown();
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_families);
	T_RUN(test_kept);
	T_RUN(test_kept_ttl);
	T_RUN(test_burst);
	T_RUN(test_closed_under_way);
	T_RUN(test_servers_set);
	T_RUN(test_bounds);
	return t_done();
}
