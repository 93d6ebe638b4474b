/* SPDX-License-Identifier: Apache-2.0
 *
 * DNS control against systemd-resolved on a bus of its own; t_dns-control.sh makes both and speaks
 * line by line:
 *
 *     h_dns METHOD INTERFACE     set | other | clear | flush | refresh | exit     on stdin
 *
 * Prints a line at each change: "state NAME PROBLEM" or "system SERVER… search DOMAIN…". The loop's
 * longest turn is printed at the end, for nothing here may block. */
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/dns_control.h"
#include "tests/t.h"

static struct loop l;
static struct dns_control *c;
static struct loop_fd in;
static uint64_t longest;
static bool ending;

static void print_state(void)
{
	printf("state %s %s\n", dns_state_name(dns_control_state(c)), dns_control_problem(c));
}

static void print_system(void)
{
	const struct resolv_conf *s = dns_control_system(c);
	char ep[ENDPOINT_STRLEN];

	printf("system");
	for (uint32_t i = 0; i < s->n_servers; i++)
		printf(" %s", endpoint_fmt(&s->server[i].at, ep));
	printf(" search");
	for (uint32_t i = 0; i < s->n_search; i++)
		printf(" %s", s->search[i]);
	printf("\n");
}

static void changed(void *ctx, unsigned int what, uint64_t now)
{
	(void)ctx;
	(void)now;
	if (what & DNS_CHANGED_STATE)
		print_state();
	if (what & DNS_CHANGED_SYSTEM)
		print_system();
	fflush(stdout);
}

static void command(const char *line)
{
	struct dns_settings s = {.server[0] = {.family = 4, .b = {100, 100, 111, 1}},
				 .server[1] = {.family = 6,
					       .b = {0xfd, 0, 0x20, 0x21, 0x11, 0x11, 0x80, 0, 1, 0,
						     1, 0, 1, 0x11, 0, 1}},
				 .n_servers = 2,
				 .search = "corp.example"};
	struct io_err err = {""};
	int rc = 0;

	if (strcmp(line, "other") == 0)
		s.n_servers = 1;
	if (strcmp(line, "set") == 0 || strcmp(line, "other") == 0)
		rc = dns_control_set(c, &s, &err);
	else if (strcmp(line, "clear") == 0)
		rc = dns_control_set(c, NULL, &err);
	else if (strcmp(line, "flush") == 0)
		dns_control_flush(c);
	else if (strcmp(line, "refresh") == 0)
		dns_control_refresh(c);
	else
		ending = true;
	printf("%s %d %s\n", line, rc, err.msg);
	fflush(stdout);
}

static void on_stdin(void *ctx, unsigned int events, uint64_t now)
{
	static char buf[256];
	static size_t len;
	ssize_t n = read(0, buf + len, sizeof(buf) - 1 - len);
	char *nl;

	(void)ctx;
	(void)events;
	(void)now;
	if (n <= 0) {
		ending = true;
		return;
	}
	len += (size_t)n;
	buf[len] = '\0';
	while ((nl = memchr(buf, '\n', len))) {
		*nl = '\0';
		command(buf);
		len -= (size_t)(nl + 1 - buf);
		memmove(buf, nl + 1, len + 1);
	}
}

int main(int argc, char **argv)
{
	struct dns_control_cfg cfg = {.changed = changed};
	struct io_err err;
	uint64_t t;

	if (argc == 1) /* the script gives it arguments */
		return T_SKIP_EXIT;
	if (argc != 3 || dns_method_parse(argv[1], &cfg.method) < 0)
		return 2;
	cfg.ifindex = (int)if_nametoindex(argv[2]);
	if (loop_init(&l) < 0 || dns_control_open(&c, &l, &cfg, &err) < 0)
		return 1;
	print_system();
	fflush(stdout);
	if (loop_fd_init(&in, &l, 0, LOOP_READ, on_stdin, NULL) < 0)
		return 1;
	while (!ending) {
		uv_update_time(&l.uv);
		loop_run_once(&l, 10 * NS_PER_MS);
		t = loop_now();
		loop_run_once(&l, 0);
		t = loop_now() - t;
		longest = t > longest ? t : longest;
	}
	t = loop_now();
	dns_control_close(c);
	printf("closed after %llu ms, longest turn %llu ms\n",
	       (unsigned long long)((loop_now() - t) / NS_PER_MS),
	       (unsigned long long)(longest / NS_PER_MS));
	loop_fd_fini(&in);
	loop_fini(&l);
	return 0;
}
