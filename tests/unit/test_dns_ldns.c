/* SPDX-License-Identifier: Apache-2.0
 *
 * The DNS codec against ldns: what ldns writes (with compression) we read as it meant it; what we
 * write ldns reads as we meant it; and of messages damaged at random none that we accept is refused
 * by ldns or read differently: strictness is never in the wrong place. */
#include <stdbool.h> /* first: ldns brings a bool of its own where there is none yet */
#include <ldns/ldns.h>
#include "base/bytes.h"
#include "codec/dns_msg.h"
#include "tests/t.h"

#define ROUNDS	3000
#define DAMAGES 20 /* of each message */

static const char *const zone[] = {
	"www.example.com. 300 IN A 93.184.216.34",
	"www.Example.com. 301 IN AAAA 2606:2800:220:1::1946",
	"a.b.c.example.com. 60 IN CNAME www.example.com.",
	"example.com. 3600 IN MX 10 mail.example.com.",
	"example.com. 3600 IN NS ns1.example.com.",
	"example.com. 3600 IN NS ns.other.net.",
	"_sip._tcp.example.com. 5 IN SRV 1 2 5060 sip.example.com.",
	"example.com. 30 IN TXT \"v=spf1 -all\" \"second\"",
	"example.com. 900 IN SOA ns1.example.com. host.example.com. 1 2 3 4 30",
	"34.216.184.93.in-addr.arpa. 1 IN PTR www.example.com.",
	"old.example.com. 10 IN DNAME new.example.com.",
};
#define ZONE (sizeof(zone) / sizeof(*zone))

static const ldns_pkt_section sections[] = {LDNS_SECTION_ANSWER, LDNS_SECTION_AUTHORITY,
					    LDNS_SECTION_ADDITIONAL};
static uint64_t seed;

static ldns_pkt *random_packet(void)
{
	ldns_rdf *name = ldns_dname_new_frm_str("www.Example.com");
	ldns_pkt *p = ldns_pkt_query_new(name, LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN,
					 t_rand(&seed) % 2 ? LDNS_RD : 0);

	ldns_pkt_set_id(p, (uint16_t)t_rand(&seed));
	ldns_pkt_set_qr(p, true);
	ldns_pkt_set_rcode(p, (uint8_t)(t_rand(&seed) % 6));
	ldns_pkt_set_tc(p, t_rand(&seed) % 2);
	for (int s = 0; s < 3; s++)
		for (uint64_t n = t_rand(&seed) % 5; n; n--) {
			ldns_rr *rr = NULL;

			T_EQ(ldns_rr_new_frm_str(&rr, zone[t_rand(&seed) % ZONE], 0, NULL, NULL),
			     0);
			ldns_pkt_push_rr(p, sections[s], rr);
		}
	if (t_rand(&seed) % 2) {
		ldns_pkt_set_edns_udp_size(p, 1232);
		ldns_pkt_set_edns_do(p, t_rand(&seed) % 2);
	}
	return p;
}

/* But for case: ldns compresses against names that are spelt another way. */
static bool same_owner(const struct dns_name *n, const ldns_rdf *d)
{
	struct dns_name other = {.len = (uint8_t)ldns_rdf_size(d)};

	memcpy(other.b, ldns_rdf_data(d), other.len);
	return dns_name_eq(n, &other);
}

/* Question, flags and every record as ldns has them. */
static bool same_message(struct dns_msg *m, const ldns_pkt *p)
{
	const ldns_rr_list *lists[] = {ldns_pkt_answer(p), ldns_pkt_authority(p),
				       ldns_pkt_additional(p)};
	const ldns_rr *q = ldns_rr_list_rr(ldns_pkt_question(p), 0);
	size_t at[3] = {0};
	struct dns_record r;

	if (m->id != ldns_pkt_id(p) || m->qr != ldns_pkt_qr(p) || m->tc != ldns_pkt_tc(p) ||
	    m->rd != ldns_pkt_rd(p) || m->rcode != ldns_pkt_get_rcode(p) ||
	    m->opcode != ldns_pkt_get_opcode(p))
		return false;
	if (m->question_count &&
	    (!same_owner(&m->q.name, ldns_rr_owner(q)) || m->q.type != ldns_rr_get_type(q) ||
	     m->q.klass != ldns_rr_get_class(q)))
		return false;
	while (dns_msg_next(m, &r)) {
		const ldns_rr *rr;

		if (r.type == DNS_TYPE_OPT) /* kept apart there */
			continue;
		rr = ldns_rr_list_rr(lists[r.section], at[r.section]++);
		if (!rr || !same_owner(&r.owner, ldns_rr_owner(rr)) ||
		    r.type != ldns_rr_get_type(rr) || r.klass != ldns_rr_get_class(rr) ||
		    r.ttl != ldns_rr_ttl(rr))
			return false;
	}
	for (int s = 0; s < 3; s++)
		if (at[s] != ldns_rr_list_rr_count(lists[s]))
			return false;
	dns_msg_rewind(m);
	return true;
}

static void test_reads_what_ldns_writes(void)
{
	seed = t_seed();
	for (int i = 0; i < ROUNDS; i++) {
		ldns_pkt *p = random_packet();
		uint8_t *wire = NULL;
		struct dns_msg m;
		size_t len;

		T_EQ(ldns_pkt2wire(&wire, p, &len), LDNS_STATUS_OK);
		if (T_EQ(dns_msg_open(wire, len, &m), DNS_OK))
			T(same_message(&m, p));
		free(wire);
		ldns_pkt_free(p);
	}
}

/* Types whose RDATA only ldns looks into: there it may be the stricter one. */
static bool only_checked_types(struct dns_msg *m)
{
	static const uint16_t checked[] = {DNS_TYPE_A,	   DNS_TYPE_AAAA, DNS_TYPE_NS,
					   DNS_TYPE_CNAME, DNS_TYPE_MX,	  DNS_TYPE_DNAME,
					   DNS_TYPE_PTR,   DNS_TYPE_SOA,  DNS_TYPE_TXT,
					   DNS_TYPE_SRV,   DNS_TYPE_OPT};
	struct dns_record r;
	bool ok = true;

	while (dns_msg_next(m, &r)) {
		bool found = false;

		for (size_t i = 0; i < sizeof(checked) / sizeof(*checked); i++)
			found = found || r.type == checked[i];
		ok = ok && found && (r.klass == DNS_CLASS_IN || r.type == DNS_TYPE_OPT);
	}
	dns_msg_rewind(m);
	return ok;
}

static uint64_t accepted, refused;

static void judge_damaged(const uint8_t *wire, size_t len)
{
	ldns_pkt *p = NULL;
	struct dns_msg m;

	if (dns_msg_open(wire, len, &m) != DNS_OK) {
		refused++;
		return;
	}
	if (!only_checked_types(&m))
		return;
	accepted++;
	if (!T_EQ(ldns_wire2pkt(&p, wire, len), LDNS_STATUS_OK))
		return;
	T(same_message(&m, p));
	ldns_pkt_free(p);
}

static void test_damaged_messages(void)
{
	seed = t_seed();
	accepted = refused = 0;
	for (int i = 0; i < ROUNDS; i++) {
		ldns_pkt *p = random_packet();
		uint8_t *wire = NULL, copy[2048];
		size_t len;

		T_EQ(ldns_pkt2wire(&wire, p, &len), LDNS_STATUS_OK);
		for (int k = 0; k < DAMAGES && len <= sizeof(copy); k++) {
			memcpy(copy, wire, len);
			for (uint64_t n = 1 + t_rand(&seed) % 3; n; n--)
				copy[t_rand(&seed) % len] = t_rand(&seed) % 2
								    ? 0xc0
								    : (uint8_t)t_rand(&seed);
			judge_damaged(copy, len);
		}
		free(wire);
		ldns_pkt_free(p);
	}
	T(accepted > ROUNDS && refused > ROUNDS);
	t_note("accepted=%llu refused=%llu", (unsigned long long)accepted,
	       (unsigned long long)refused);
}

static void test_ldns_reads_what_we_write(void)
{
	static const char *const names[] = {"www.Example.com", "x.y", "4.3.2.1.in-addr.arpa"};

	seed = t_seed();
	for (int i = 0; i < ROUNDS; i++) {
		struct dns_query q = {.id = (uint16_t)t_rand(&seed),
				      .rd = i & 1,
				      .edns = i & 2,
				      .dnssec_ok = (i & 6) == 6};
		struct ipaddr ips[8];
		struct dns_name target;
		struct dns_reply a = {
			.rcode = (enum dns_rcode)(t_rand(&seed) % 6), .ttl = 1, .ips = ips};
		uint8_t buf[DNS_UDP_CAP];
		ldns_pkt *p = NULL;
		struct dns_msg m;
		size_t len;

		T_EQ(dns_name_parse(names[i % 3], &q.q.name), 0);
		T_EQ(dns_name_parse(names[(i + 1) % 3], &target), 0);
		q.q.type = i % 3 == 2 ? DNS_TYPE_PTR : i % 3 ? DNS_TYPE_AAAA : DNS_TYPE_A;
		q.q.klass = DNS_CLASS_IN;
		a.ip_count = i % 3 == 2 ? 0 : (uint32_t)(t_rand(&seed) % 9);
		a.ptr = i % 3 == 2 ? &target : NULL;
		for (uint32_t k = 0; k < a.ip_count; k++) {
			uint64_t b[2] = {t_rand(&seed), t_rand(&seed)};

			ips[k] = ipaddr_from(i % 3 ? 6 : 4, b);
		}
		T_EQ(dns_query_encode(&q, q.id, buf, sizeof(buf), &len), 0);
		T_EQ(dns_msg_open(buf, len, &m), DNS_OK);
		if (T_EQ(ldns_wire2pkt(&p, buf, len), LDNS_STATUS_OK)) {
			T(same_message(&m, p));
			T_EQ(ldns_pkt_edns(p), q.edns);
			T_EQ(ldns_pkt_edns_do(p), q.dnssec_ok);
			ldns_pkt_free(p);
		}
		T_EQ(dns_reply_encode(&q, &a, buf, sizeof(buf), &len), 0);
		T_EQ(dns_msg_open(buf, len, &m), DNS_OK);
		if (T_EQ(ldns_wire2pkt(&p, buf, len), LDNS_STATUS_OK)) {
			T(same_message(&m, p));
			T_EQ(ldns_pkt_ancount(p), a.ip_count + (a.ptr ? 1 : 0));
			ldns_pkt_free(p);
		}
	}
}

static void test_names_like_ldns(void)
{
	static const char letters[] = "abcXYZ019-_*.";

	seed = t_seed();
	for (int i = 0; i < 10 * ROUNDS; i++) {
		size_t len = t_rand(&seed) % 100 ? t_rand(&seed) % 12 : 240 + t_rand(&seed) % 20;
		struct dns_name n;
		ldns_rdf *d;
		char text[300];
		int rc;

		for (size_t k = 0; k < len; k++)
			text[k] = letters[t_rand(&seed) % (sizeof(letters) - 1)];
		text[len] = 0;
		rc = dns_name_parse(text, &n);
		d = len ? ldns_dname_new_frm_str(text) : NULL;
		if (T(rc ? !d : d && same_owner(&n, d)) == false)
			t_note("%s rc=%d", text, rc);
		if (d)
			ldns_rdf_deep_free(d);
	}
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_reads_what_ldns_writes);
	T_RUN(test_damaged_messages);
	T_RUN(test_ldns_reads_what_we_write);
	T_RUN(test_names_like_ldns);
	return t_done();
}
