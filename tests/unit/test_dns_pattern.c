/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns of DNS resources: the tables of the specification row by row, the order as an order, and
 * matching against a matcher that tries everything. */
#include "core/tunnel/dns_pattern.h"

#include <errno.h>
#include <stdlib.h>
#include "tests/t.h"

#define ROUNDS 200000

/* ---- the tables ---- */
struct row {
	const char *pattern;
	const char *yes[4], *no[4];
};

static const struct row table[] = {
	{"**.example.com",
	 {"example.com", "foo.example.com", "foo.bar.example.com"},
	 {"xexample.com"}},
	{"*.example.com", {"example.com", "foo.example.com"}, {"foo.bar.example.com"}},
	{"?.example.com", {"f.example.com"}, {"example.com", "foo.example.com"}},
	{"app.**.example.com", {"app.bar.foo.example.com", "app.bar.example.com"}, {"example.com"}},
	{"foo.*.example.com", {"foo.bar.example.com"}, {"foo.example.com"}},
	{"app.*.*.example.com", {"app.foo.bar.example.com"}, {"app.foo.example.com"}},
	{"app.f??.example.com", {"app.foo.example.com"}, {"app.fo.example.com"}},
	{"*?*.example.com", {"app.example.com"}, {"example.com"}},
	{"app.**.web.**.example.com", {"app.web.example.com"}, {"app.example.com"}},
	{"app.*.example.com", {"app.foo.example.com"}, {"app.foo.bar.example.com"}},
	{"app.*com", {"app.com", "app.xcom"}, {"app.foo.com"}},
	{"app?com", {"appxcom"}, {"app.com"}},
	{"*ample.com", {"example.com", "ample.com"}, {"x.ample.com"}},
	{"f*o.example.com", {"fo.example.com", "fooo.example.com"}, {"f.o.example.com"}},
	{"h[0-9].example.com", {"h7.example.com"}, {"hx.example.com", "h77.example.com"}},
	{"h[!0-9].example.com", {"hx.example.com"}, {"h7.example.com", "h.example.com"}},
	{"[abc]x", {"ax", "Bx"}, {"dx", "x"}},
	{"[A-C]x", {"ax", "Bx"}, {"dx"}},
	{"[]]x", {"]x"}, {"x"}},
	{"a-[a-]", {"a--", "a-a"}, {"a-b"}},
	{"**", {"a", "a.b", "a.b.c.d"}, {NULL}},
	{"*", {"a", "abc"}, {"a.b"}},
	{"**.a.**.a", {"a.a", "x.a.y.z.a", "a.a.a"}, {"a", "a.b"}},
	{"example.com", {"example.com", "EXAMPLE.Com"}, {"a.example.com", "example.co", "example"}},
	{"Example.COM", {"example.com"}, {"com"}},
	{"*.Example.com", {"EXAMPLE.com", "a.example.COM"}, {"b.a.example.com"}},
	/* Only the literal rest is the parent: what the rest would match is not. */
	{"*.f?o.com", {"x.foo.com"}, {"foo.com"}},
	{"a.b", {"a.b"}, {"a", "b", "a.b.c"}},
};

static void test_match_table(void)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		const struct row *r = &table[i];

		if (!T(dns_pattern_valid(r->pattern)))
			t_note("pattern %s", r->pattern);
		for (int k = 0; k < 4 && r->yes[k]; k++)
			if (!T(dns_pattern_match(r->pattern, r->yes[k])))
				t_note("%s should match %s", r->pattern, r->yes[k]);
		for (int k = 0; k < 4 && r->no[k]; k++)
			if (!T(!dns_pattern_match(r->pattern, r->no[k])))
				t_note("%s should not match %s", r->pattern, r->no[k]);
	}
}

static void test_names_that_match_nothing(void)
{
	T(!dns_pattern_match("**", ""));
	T(!dns_pattern_match("**", "a/b"));
	T(!dns_pattern_match("*", "a/b"));
	T(!dns_pattern_match("*", "a\"b"));
}

static void test_invalid_patterns(void)
{
	static const char *const bad[] = {
		"",    "***",  "a.***.b",  "**x.com", "x**.com",      "a***b", ".a",
		"a.",  "a..b", "[abc.com", "a[b.c]d", "[z-a].com",    "[]",    "a\"b",
		"[!]", "a/b",  "a b.com",  "a\tb",    "b\xc3\xbc.de", "a.**b", "x.[a"};
	char longest[TUNNEL_ADDRESS_CAP + 1];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!T(!dns_pattern_valid(bad[i])))
			t_note("accepted: %s", bad[i]);
	memset(longest, 'a', sizeof(longest));
	longest[TUNNEL_ADDRESS_CAP - 1] = 0;
	T(dns_pattern_valid(longest));
	longest[TUNNEL_ADDRESS_CAP - 1] = 'a';
	longest[TUNNEL_ADDRESS_CAP] = 0;
	T(!dns_pattern_valid(longest));
}

static const char *const sorted[] = {"example.com",	"bar.example.com", "*.bar.example.com",
				     "foo.example.com", "?.example.com",   "*.example.com",
				     "**.example.com",	"*ample.com",	   "*.com"};
#define SORTED (sizeof(sorted) / sizeof(*sorted))

static void test_order_table(void)
{
	for (size_t i = 0; i < SORTED; i++)
		for (size_t k = 0; k < SORTED; k++) {
			int d = dns_pattern_cmp(sorted[i], sorted[k]);

			T(i < k ? d < 0 : i > k ? d > 0 : d == 0);
		}
}

/* ---- random patterns and names ---- */
static const char letters[] = "abAB-1";

static void random_name(uint64_t *seed, char out[64])
{
	size_t len = 0;

	for (uint64_t labels = 1 + t_rand(seed) % 5; labels; labels--) {
		if (len)
			out[len++] = '.';
		for (uint64_t n = 1 + t_rand(seed) % 3; n; n--)
			out[len++] = letters[t_rand(seed) % 6];
	}
	out[len] = 0;
}

static void random_label(uint64_t *seed, char *out, size_t *len)
{
	for (uint64_t n = 1 + t_rand(seed) % 4; n; n--) {
		uint64_t pick = t_rand(seed) % 8;
		bool star = *len && out[*len - 1] == '*';

		if (pick == 0 && !star)
			out[(*len)++] = '*';
		else if (pick == 1)
			out[(*len)++] = '?';
		else if (pick == 2)
			*len += (size_t)sprintf(out + *len, "[%sa-b]", t_rand(seed) % 2 ? "!" : "");
		else
			out[(*len)++] = letters[t_rand(seed) % 6];
	}
}

static void random_pattern(uint64_t *seed, char out[128])
{
	size_t len = 0;

	for (uint64_t labels = 1 + t_rand(seed) % 5; labels; labels--) {
		if (len)
			out[len++] = '.';
		if (t_rand(seed) % 4 == 0)
			len += (size_t)sprintf(out + len, "**");
		else if (t_rand(seed) % 6 == 0)
			out[len++] = '*';
		else
			random_label(seed, out, &len);
	}
	out[len] = 0;
}

/* ---- the oracle: characters, every possibility tried ---- */
static char low(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool try_at(const char *start, const char *p, const char *nstart, const char *n)
{
	bool at_label = p == start || p[-1] == '.', n_at_label = n == nstart || n[-1] == '.';

	if (!*p)
		return !*n;
	if (at_label && !strncmp(p, "**", 2) && (p[2] == '.' || !p[2])) {
		const char *rest = n;

		if (!p[2]) /* last: the rest is whole labels anyway, or it is nothing behind a dot
			    */
			return n_at_label || !*n;
		for (;;) {
			if (try_at(start, p + 3, nstart, rest))
				return true;
			rest = strchr(rest, '.');
			if (!rest)
				return false;
			rest++;
		}
	}
	if (*p == '*') {
		for (const char *rest = n;; rest++) {
			if (try_at(start, p + 1, nstart, rest))
				return true;
			if (!*rest || *rest == '.')
				return false;
		}
	}
	/* "x.**" also means x. */
	if (*p == '.' && !strncmp(p + 1, "**", 2) && !*n)
		return try_at(start, p + 3, nstart, n);
	if (!*n)
		return false;
	if (*p == '?')
		return *n != '.' && try_at(start, p + 1, nstart, n + 1);
	if (*p == '[') {
		bool neg = p[1] == '!', in = low(*n) == 'a' || low(*n) == 'b';
		const char *end = strchr(p, ']');

		return *n != '.' && in != neg && try_at(start, end + 1, nstart, n + 1);
	}
	return low(*p) == low(*n) && try_at(start, p + 1, nstart, n + 1);
}

static bool naive_match(const char *pattern, const char *name)
{
	if (!strncmp(pattern, "*.", 2) && strlen(name) == strlen(pattern + 2)) {
		size_t i = 0;

		while (name[i] && low(name[i]) == low(pattern[2 + i]))
			i++;
		if (!name[i])
			return true;
	}
	return try_at(pattern, pattern, name, name);
}

static void test_match_against_naive(void)
{
	uint64_t seed = t_seed(), matched = 0;

	for (int i = 0; i < ROUNDS; i++) {
		char pattern[128], name[64];
		bool want;

		random_pattern(&seed, pattern);
		random_name(&seed, name);
		want = naive_match(pattern, name);
		matched += want;
		if (dns_pattern_match(pattern, name) == want)
			continue;
		T(false);
		t_note("%s %s: naive says %d", pattern, name, want);
		return;
	}
	T(matched > ROUNDS / 50);
	t_note("rounds=%d matched=%llu", ROUNDS, (unsigned long long)matched);
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

/* Total, antisymmetric, transitive; equal means the same string. */
static void test_order_is_total(void)
{
	uint64_t seed = t_seed();

	for (int i = 0; i < ROUNDS; i++) {
		char a[128], b[128], c[128];
		int ab, bc, ac;

		random_pattern(&seed, a);
		random_pattern(&seed, b);
		random_pattern(&seed, c);
		ab = sign(dns_pattern_cmp(a, b));
		bc = sign(dns_pattern_cmp(b, c));
		ac = sign(dns_pattern_cmp(a, c));
		if (ab != -sign(dns_pattern_cmp(b, a)) || (ab == 0) != !strcmp(a, b) ||
		    (ab <= 0 && bc <= 0 && ac > 0) || (ab >= 0 && bc >= 0 && ac < 0)) {
			T(false);
			t_note("%s %s %s: %d %d %d", a, b, c, ab, bc, ac);
			return;
		}
	}
	T(true);
}

/* The longest hostile pattern against the longest hostile name ends at once. */
static void test_match_is_bounded(void)
{
	char pattern[TUNNEL_ADDRESS_CAP], name[254];

	memset(name, 'a', 253);
	name[253] = 0;
	for (size_t i = 0; i + 1 < sizeof(pattern); i++)
		pattern[i] = i % 2 ? 'a' : '*';
	pattern[sizeof(pattern) - 2] = 'b';
	pattern[sizeof(pattern) - 1] = 0;
	T(dns_pattern_valid(pattern));
	T(!dns_pattern_match(pattern, name));
	for (size_t i = 1; i < 253; i += 2)
		name[i] = '.';
	for (size_t i = 0; i < 250; i += 5)
		memcpy(pattern + i, "**.a.", 5);
	memcpy(pattern + 250, "b", 2);
	T(dns_pattern_valid(pattern));
	T(!dns_pattern_match(pattern, name));
}

/* ---- the list ---- */
static struct uuid id(uint8_t n)
{
	return (struct uuid){.b = {n}};
}

static void test_list_first_match_wins(void)
{
	struct dns_pattern list[SORTED];
	struct dns_patterns p;

	dns_patterns_init(&p, list, SORTED);
	for (size_t i = 0; i < SORTED; i++) {
		size_t at = (i * 5 + 3) % SORTED;

		T_EQ(dns_patterns_add(&p, &(struct uuid){.b = {(uint8_t)(at + 1)}}, sorted[at],
				      DNS_STACK_DUAL),
		     0);
	}
	for (size_t i = 0; i < SORTED; i++)
		T_STR(p.list[i].text, sorted[i]);
	T_STR(dns_patterns_match(&p, "bar.example.com")->text, "bar.example.com");
	T_STR(dns_patterns_match(&p, "x.bar.example.com")->text, "*.bar.example.com");
	T_STR(dns_patterns_match(&p, "x.example.com")->text, "?.example.com");
	T_STR(dns_patterns_match(&p, "xy.example.com")->text, "*.example.com");
	T_STR(dns_patterns_match(&p, "x.y.example.com")->text, "**.example.com");
	T_STR(dns_patterns_match(&p, "sample.com")->text, "*ample.com");
	T_STR(dns_patterns_match(&p, "other.com")->text, "*.com");
	T(!dns_patterns_match(&p, "other.org"));
}

static void test_list_same_pattern_twice(void)
{
	struct dns_pattern list[4];
	struct dns_patterns p;
	struct uuid a = id(1), b = id(2);

	dns_patterns_init(&p, list, 4);
	T_EQ(dns_patterns_add(&p, &a, "*.x", DNS_STACK_V4), 0);
	T_EQ(dns_patterns_add(&p, &b, "*.x", DNS_STACK_V6), 0);
	T_EQ(p.count, 2);
	T(uuid_eq(&dns_patterns_match(&p, "y.x")->resource, &b)); /* the larger id */
	T(dns_patterns_remove(&p, &b));
	T(uuid_eq(&dns_patterns_match(&p, "y.x")->resource, &a));
	T_EQ(dns_patterns_match(&p, "y.x")->stack, DNS_STACK_V4);
	T(!dns_patterns_remove(&p, &b));
}

static void test_list_replace_and_full(void)
{
	struct dns_pattern list[2];
	struct dns_patterns p;
	struct uuid a = id(1), b = id(2), c = id(3);

	dns_patterns_init(&p, list, 2);
	T_EQ(dns_patterns_add(&p, &a, "a.x", DNS_STACK_DUAL), 0);
	T_EQ(dns_patterns_add(&p, &b, "b.x", DNS_STACK_DUAL), 0);
	T_EQ(dns_patterns_add(&p, &c, "c.x", DNS_STACK_DUAL), -ENOSPC);
	T_EQ(dns_patterns_add(&p, &a, "**a.x", DNS_STACK_DUAL), -EINVAL);
	T_STR(dns_patterns_of(&p, &a)->text, "a.x");
	T_EQ(dns_patterns_add(&p, &a, "d.x", DNS_STACK_DUAL), 0);
	T_EQ(p.count, 2);
	T(!dns_patterns_match(&p, "a.x"));
	T(dns_patterns_match(&p, "d.x"));
	dns_patterns_clear(&p);
	T(!dns_patterns_match(&p, "d.x"));
}

int main(int argc, char **argv)
{
	t_init(argc, argv);
	T_RUN(test_match_table);
	T_RUN(test_names_that_match_nothing);
	T_RUN(test_invalid_patterns);
	T_RUN(test_order_table);
	T_RUN(test_match_against_naive);
	T_RUN(test_order_is_total);
	T_RUN(test_match_is_bounded);
	T_RUN(test_list_first_match_wins);
	T_RUN(test_list_same_pattern_twice);
	T_RUN(test_list_replace_and_full);
	return t_done();
}
