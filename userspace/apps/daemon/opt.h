/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of the daemons: flags, then PENSTOCK_*, then FIREZONE_* environment, then defaults. One
 * table, so that --help, the parser and the documentation cannot disagree. */
#ifndef PENSTOCK_DAEMON_OPT_H
#define PENSTOCK_DAEMON_OPT_H
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "io/bpf_load.h"
#include "io/dns_control.h"
#include "io/file.h"

#define OPT_TOKEN_CAP	2048
#define OPT_TEXT_CAP	256
#define FILE_ID_LEN_MAX 128

enum opt_mode { OPT_MODE_AUTO, OPT_MODE_KERNEL, OPT_MODE_USER };

struct opt {
	char api_url[OPT_TEXT_CAP];
	char token_path[OPT_TEXT_CAP];
	char id_file[OPT_TEXT_CAP];
	char id[FILE_ID_LEN_MAX];
	char name[OPT_TEXT_CAP];
	char ca_file[OPT_TEXT_CAP];
	char wan_iface[OPT_TEXT_CAP];
	char instance[32];
	char tun[16];
	char log_level[OPT_TEXT_CAP];
	enum log_format log_format;
	enum opt_mode mode;
	enum bpf_xdp_mode xdp_mode;
	enum bpf_steer steer;
	enum dns_method dns_method; /* client */
	bool allow_plaintext;
	bool check;	    /* validate and exit */
	bool no_offload;    /* one packet at a time, from and to sockets and tunnel device */
	bool has_token;	    /* token came from the environment or, on a gateway, the command line */
	bool loopback;	    /* loopback addresses as host candidates: tests on one host */
	bool internet;	    /* client: begin with the Internet resource on */
	bool token_argv;    /* it came from the command line: warn */
	uint32_t n_ignored; /* options of Firezone's that were given and have no effect here */
	uint32_t max_peers;
	uint32_t max_flows;
	uint32_t workers; /* threads each way; 0: the control thread carries everything */
	uint32_t udp_port;
	uint32_t tunnel_mtu;	   /* longest inner packet; IP_PACKET_MTU: no probes */
	uint64_t max_partition_ns; /* TIME_NEVER: unlimited */
};

#define OPT_WORKERS_MAX 64

enum opt_result { OPT_RUN, OPT_EXIT_OK, OPT_EXIT_USAGE };

/* Parses argv and the environment; a token goes to `token` (OPT_TOKEN_CAP) and is removed from the
 * environment. Prints help, version or one line naming the option and what is wrong with its value.
 */
enum opt_result opt_parse(struct opt *o, char *token, bool gateway, int argc, char **argv);
/* Environment variables of our or Firezone's name space that nothing here reads: one line each.
 * Call once the log is up. */
void opt_log_unknown_env(void);
/* The token from the option's file or the systemd credential. 0; -ENOENT: there is none; else
 * -errno with a message. */
int opt_load_token(const struct opt *o, char *token, struct io_err *err);
const char *opt_mode_name(enum opt_mode m);
/* --workers=auto: one for two processors that we may run on, as each is two threads; at least one,
 * OPT_WORKERS_MAX at most. */
uint32_t opt_workers_auto(void);
#endif
