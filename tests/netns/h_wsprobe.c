/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens one portal websocket with io/websocket and says on stdout what happened, one word a line,
 * for t_portal-tls.sh and for hands. Usage: h_wsprobe URL [--ca FILE] [--mark N] [--plaintext]
 * [--header-token] [--timeout S] [--send TEXT] [--wait] Lines: "opened", "text <bytes> <text>",
 * "closed <kind> <status> <retry-after> <detail>", "refused <errno>". Exit: 0 opened, 1 closed
 * before it opened, 2 refused by us, 3 usage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/websocket.h"

struct probe {
	struct loop loop;
	struct ws *ws;
	const char *send;
	bool wait, opened;
	int n_texts;
};

static void on_opened(void *ctx, uint64_t now)
{
	struct probe *p = ctx;

	(void)now;
	p->opened = true;
	printf("opened\n");
	if (p->send)
		ws_send(p->ws, p->send, strlen(p->send));
	else if (!p->wait)
		loop_stop(&p->loop);
}

static void on_text(void *ctx, const char *text, size_t len, uint64_t now)
{
	struct probe *p = ctx;

	(void)now;
	printf("text %zu %.*s\n", len, (int)(len > 60 ? 60 : len), text);
	p->n_texts++;
	if (!p->wait)
		loop_stop(&p->loop);
}

static void on_closed(void *ctx, const struct phx_close *why, uint64_t now)
{
	static const char *const kinds[] = {"http", "cert", "transport", "peer"};
	struct probe *p = ctx;

	(void)now;
	printf("closed %s %d %u %s\n", kinds[why->kind], why->http_status, why->retry_after_s,
	       why->detail);
	loop_stop(&p->loop);
}

int main(int argc, char **argv)
{
	static struct probe p;
	struct ws_cfg cfg = {
		.on_opened = on_opened, .on_text = on_text, .on_closed = on_closed, .ctx = &p};
	struct phx_url_params params = {
		.role = "client", .token = "n.secret", .device_id = "probe"};
	static struct phx_url url;
	const char *why;
	int rc;

	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--ca") && i + 1 < argc)
			cfg.ca_file = argv[++i];
		else if (!strcmp(argv[i], "--mark") && i + 1 < argc)
			cfg.fwmark = (uint32_t)strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--timeout") && i + 1 < argc)
			cfg.connect_timeout_ns = strtoul(argv[++i], NULL, 0) * NS_PER_SEC;
		else if (!strcmp(argv[i], "--send") && i + 1 < argc)
			p.send = argv[++i];
		else if (!strcmp(argv[i], "--plaintext"))
			cfg.allow_plaintext = true;
		else if (!strcmp(argv[i], "--header-token"))
			params.token_in_header = true;
		else if (!strcmp(argv[i], "--wait"))
			p.wait = true;
		else
			return 3;
	}
	if (argc < 2)
		return 3;
	params.api_url = argv[1];
	if (phx_url_build(&url, &params, &why)) {
		printf("url %s\n", why);
		return 3;
	}
	if (loop_init(&p.loop))
		return 3;
	rc = ws_new(&p.ws, &p.loop, &cfg, &why);
	if (rc) {
		printf("refused %d %s\n", -rc, why);
		loop_fini(&p.loop);
		return 2;
	}
	rc = ws_connect(p.ws, &url, "Debian/12 connlib/1.4.14");
	if (rc)
		printf("refused %d %s\n", -rc, strerrorname_np(-rc));
	else
		loop_run(&p.loop);
	ws_free(p.ws);
	loop_fini(&p.loop);
	return rc ? 2 : p.opened ? 0 : 1;
}
