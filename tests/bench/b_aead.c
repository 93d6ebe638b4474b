/* SPDX-License-Identifier: Apache-2.0
 *
 * Cost of the AEAD for bulk data, by backend, packet length and batch: aead_seal_<len>_b<batch> and
 * aead_open_…, a line each for every backend this CPU runs and for OpenSSL's EVP, which is here to
 * compare. Packets lie in 64 buffers, sealed in place; "keys":"mixed" has another key for every
 * packet. Backends take turns sample by sample, so that a busy machine is the same to all. */
#include <openssl/evp.h>
#include <time.h>

#include "base/bytes.h"
#include "base/time.h"
#include "crypto/aead_backend.h"
#include "tests/bench/bench.h"

#define SAMPLES	     15
#define N_PACKETS    64
#define BYTES	     (256 * 1024) /* a sample's work, about */
#define MAX_LEN	     1500
#define MAX_BACKENDS 8

static uint8_t buf[N_PACKETS][MAX_LEN + AEAD_TAG], sealed[N_PACKETS][MAX_LEN + AEAD_TAG];
static uint8_t keys[N_PACKETS][AEAD_KEY];
static struct aead_job jobs[N_PACKETS];
static EVP_CIPHER_CTX *evp_seal_ctx, *evp_open_ctx;

static bool evp_usable(void)
{
	return evp_seal_ctx && evp_open_ctx;
}

static void nonce_of(uint8_t nonce[12], uint64_t counter)
{
	memset(nonce, 0, 4);
	le64_put(nonce + 4, counter);
}

static void evp_seal(struct aead_job *j, size_t n)
{
	uint8_t nonce[12];
	int len;

	for (; n; n--, j++) {
		nonce_of(nonce, j->counter);
		if (!EVP_EncryptInit_ex(evp_seal_ctx, NULL, NULL, j->key, nonce) ||
		    !EVP_EncryptUpdate(evp_seal_ctx, j->out, &len, j->in, (int)j->len) ||
		    !EVP_EncryptFinal_ex(evp_seal_ctx, j->out + len, &len) ||
		    !EVP_CIPHER_CTX_ctrl(evp_seal_ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG,
					 j->out + j->len))
			exit(1);
	}
}

static void evp_open(struct aead_job *j, size_t n)
{
	uint8_t nonce[12];
	int len;

	for (; n; n--, j++) {
		nonce_of(nonce, j->counter);
		j->ok = EVP_DecryptInit_ex(evp_open_ctx, NULL, NULL, j->key, nonce) &&
			EVP_CIPHER_CTX_ctrl(evp_open_ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG,
					    (void *)(uintptr_t)(j->in + j->len)) &&
			EVP_DecryptUpdate(evp_open_ctx, j->out, &len, j->in, (int)j->len) &&
			EVP_DecryptFinal_ex(evp_open_ctx, j->out + len, &len) == 1;
	}
}

static const struct aead_backend evp = {"openssl-evp", evp_usable, evp_seal, evp_open};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

struct bench_case {
	size_t len, batch;
	bool opening, mixed;
};

static void run(const struct aead_backend *be, const struct bench_case *c)
{
	for (size_t i = 0; i + c->batch <= N_PACKETS; i += c->batch)
		(c->opening ? be->open : be->seal)(&jobs[i], c->batch);
}

static void prepare(const struct bench_case *c)
{
	for (size_t i = 0; i < N_PACKETS; i++) {
		const uint8_t *key = keys[c->mixed ? i : 0];

		aead_seal(sealed[i], key, i, NULL, 0, buf[i], c->len);
		jobs[i] = (struct aead_job){.key = key,
					    .counter = i,
					    .in = c->opening ? sealed[i] : buf[i],
					    .out = buf[i],
					    .len = (uint32_t)c->len};
	}
}

static void sample(const struct aead_backend *be, const struct bench_case *c, double *ns)
{
	size_t rounds = 1 + BYTES / (N_PACKETS * (c->len + 100));
	uint64_t t0;

	run(be, c);
	t0 = now_ns();
	for (size_t r = 0; r < rounds; r++)
		run(be, c);
	*ns = (double)(now_ns() - t0) / (double)(rounds * (N_PACKETS - N_PACKETS % c->batch));
	for (size_t i = 0; c->opening && i < N_PACKETS; i++)
		if (!jobs[i].ok)
			exit(1);
}

static void bench(const struct bench_case *c)
{
	const struct aead_backend *be[MAX_BACKENDS];
	static double ns[MAX_BACKENDS][SAMPLES];
	char name[64], extra[96];
	size_t n = 0;

	snprintf(name, sizeof(name), "aead_%s_%zu_b%zu", c->opening ? "open" : "seal", c->len,
		 c->batch);
	if (!bench_wanted(name))
		return;
	for (const struct aead_backend *const *p = aead_backends(); *p; p++)
		if ((*p)->usable() && n < MAX_BACKENDS - 1)
			be[n++] = *p;
	if (evp.usable())
		be[n++] = &evp;
	prepare(c);
	for (size_t s = 0; s < SAMPLES; s++)
		for (size_t i = 0; i < n; i++)
			sample(be[i], c, &ns[i][s]);
	for (size_t i = 0; i < n; i++) {
		snprintf(extra, sizeof(extra),
			 "\"backend\":\"%s\",\"keys\":\"%s\",\"pinning\":\"none\"", be[i]->name,
			 c->mixed ? "mixed" : "one");
		bench_print(name, "ns_per_packet", "ns", ns[i], SAMPLES, extra);
	}
}

int main(int argc, char **argv)
{
	static const size_t lens[] = {64, 128, 256, 512, 1024, 1280, 1420};
	static const size_t batches[] = {1, 2, 4, 8, 16, 64};

	bench_filter = argc > 1 ? argv[1] : NULL;
	if (crypto_init())
		return 1;
	evp_seal_ctx = EVP_CIPHER_CTX_new();
	evp_open_ctx = EVP_CIPHER_CTX_new();
	if (!evp_usable() ||
	    !EVP_EncryptInit_ex(evp_seal_ctx, EVP_chacha20_poly1305(), NULL, NULL, NULL) ||
	    !EVP_DecryptInit_ex(evp_open_ctx, EVP_chacha20_poly1305(), NULL, NULL, NULL))
		return 1;
	memset(keys, 0x5c, sizeof(keys));
	for (size_t i = 0; i < N_PACKETS; i++)
		keys[i][0] = (uint8_t)i;
	for (int opening = 0; opening < 2; opening++)
		for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++)
			for (size_t k = 0; k < sizeof(batches) / sizeof(*batches); k++)
				for (int mixed = 0; mixed < 2; mixed++)
					if (!mixed || batches[k] == 64)
						bench(&(struct bench_case){lens[i], batches[k],
									   opening, mixed});
	EVP_CIPHER_CTX_free(evp_seal_ctx);
	EVP_CIPHER_CTX_free(evp_open_ctx);
	return 0;
}
