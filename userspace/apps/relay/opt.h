/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of penstock-relay: flags, then PENSTOCK_*, then the names Firezone's relay has, then
 * defaults. One table, so that --help, the parser and the documentation cannot disagree. */
#ifndef PENSTOCK_RELAY_OPT_H
#define PENSTOCK_RELAY_OPT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/turn_maps.h"
#include "base/addr.h"
#include "base/log.h"
#include "core/relay/relay.h"
#include "io/bpf_load.h"
#include "io/err.h"

#define OPT_TOKEN_CAP	2048
#define OPT_TEXT_CAP	256
#define OPT_WORKERS_MAX 64

struct relay_opt {
	struct ipaddr public4, public6; /* family 0: none */
	struct ipaddr bind4, bind6;
	uint32_t listen_port, port_lo, port_hi;
	char api_url[OPT_TEXT_CAP]; /* "": works without a portal */
	char token_path[OPT_TEXT_CAP];
	char name[OPT_TEXT_CAP];
	char ca_file[OPT_TEXT_CAP];
	char instance[32];
	char realm[RELAY_REALM_MAX + 1];
	char users_file[OPT_TEXT_CAP];
	char shared_file[OPT_TEXT_CAP];
	char user[OPT_TEXT_CAP];   /* "name:password" from the environment; wiped once read */
	char shared[OPT_TEXT_CAP]; /* shared secret from the environment; likewise */
	char xdp_iface[OPT_TEXT_CAP];
	char health_addr[OPT_TEXT_CAP];
	char log_level[OPT_TEXT_CAP];
	enum log_format log_format;
	enum bpf_xdp_mode xdp_mode;
	enum ps_turn_hop hop;
	uint8_t hop_mac[6];
	struct ipaddr own4, own6; /* relayed addresses as packets carry them; family 0: bind or
				     public */
	struct relay_acl acl;
	bool xdp_required;
	bool allow_plaintext;
	bool check;	 /* validate and exit */
	bool has_token;	 /* token came from the environment or the command line */
	bool token_argv; /* it came from the command line: warn */
	bool has_name;
	uint32_t n_ignored; /* options of Firezone's that were given and have no effect here */
	uint32_t workers;   /* 0: one per processor */
	uint32_t max_allocs, max_channels, max_per_user, max_per_source, max_channels_each;
	uint64_t drain_ns, max_partition_ns; /* TIME_NEVER: unlimited */
};

enum opt_result { OPT_RUN, OPT_EXIT_OK, OPT_EXIT_USAGE };

/* Parses argv and the environment; a token goes to `token` (OPT_TOKEN_CAP); secrets are removed
 * from the environment. Prints help, version or one line naming the option and what is wrong. */
enum opt_result relay_opt_parse(struct relay_opt *o, char *token, int argc, char **argv);
/* Environment variables of our or Firezone's name space that nothing here reads: one line each.
 * Call once the log is up. */
void relay_opt_log_unknown_env(void);
/* What is only known to be wrong once everything is read: NULL or one sentence. */
const char *relay_opt_problem(const struct relay_opt *o);
/* The token: what was given (a path is read, as Firezone's image does), else the systemd
 * credential, else --token-path. 0; -ENOENT: there is none; else -errno with a message. */
int relay_opt_token(const struct relay_opt *o, char *token, struct io_err *err);
/* Static users and the shared secret, out of environment and files. 0 or -errno with a message. */
int relay_opt_credentials(struct relay_opt *o, struct relay_auth *auth, struct io_err *err);
#endif
