/* SPDX-License-Identifier: Apache-2.0
 *
 * Policy against its model: random resources, filters, overlaps, revocations, expiries, names,
 * roams and portal restarts; after each step random packets, in user space, in the kernel's
 * tables and in the workers', are to fare as the model says. STEPS and SEED (environment) set how
 * many and which; the last line tells. Then the same with a fault switched on, once for each, to
 * see that it would be noticed. */
#include <stdlib.h>
#include "tests/policy/pm_test.h"

enum { STEPS = 20000, PROBES = 8, FAULT_FROM = 300, FAULT_STEPS = 15000 };

static const char *const fault_names[PW_FAULTS] = {
	[PW_FAULT_NO_BUMP] = "generations stay, at gateways",
	[PW_FAULT_NO_BUMP_CLIENT] = "generations stay, at clients",
	[PW_FAULT_KERNEL_EXPIRY] = "the kernel's flows never expire",
	[PW_FAULT_STOPPED_WALL] = "the gateways' clocks stand still",
	[PW_FAULT_FILTERS] = "filters permit everything",
	[PW_FAULT_NAT_SWEEP] = "translated flows outlive their sessions",
	[PW_FAULT_RETAIN] = "what init does not list stays",
	[PW_FAULT_PATTERN] = "gateways set up names of any pattern",
	[PW_FAULT_CLIENT_IN] = "clients take whatever a gateway sends",
	[PW_FAULT_WORKER_STALE] = "workers take flows of any generation",
	[PW_FAULT_WORKER_EXPIRY] = "workers' flows never expire",
	[PW_FAULT_WORKER_HIDE] = "workers keep what is taken from them",
};

static struct pmt t;
static struct pmt_counts with_plan, with_bpf; /* of the two runs */

static uint64_t env(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v && *v ? strtoull(v, NULL, 10) : otherwise;
}

static uint64_t seed(void)
{
	return env("SEED", t_seed());
}

static void one_step(void)
{
	pmt_step(&t);
	for (int i = 0; i < PROBES; i++)
		pmt_probe(&t);
}

static bool is_clean(void)
{
	return !t.n.denied_delivered && !t.n.allowed_dropped && !t.n.twice && !t.n.differs &&
	       !t.m.unexpected;
}

static void against_model(bool bpf, uint64_t steps)
{
	if (!pmt_open(&t, seed(), bpf)) {
		pw_close(&t.w);
		t_skip("the kernel's programs cannot be loaded here");
		return;
	}
	while (t.n.steps < steps && t.told < 12)
		one_step();
	T_EQ(t.n.denied_delivered, 0);
	T_EQ(t.n.allowed_dropped, 0);
	T_EQ(t.n.kernel_missed, 0);
	T_EQ(t.n.worker_missed, 0);
	T_EQ(t.n.twice, 0);
	T_EQ(t.n.differs, 0);
	T_EQ(t.m.unexpected, 0);
	T(is_clean());
	T(t.n.kernel_carried > 10 * steps && t.n.worker_carried > 10 * steps &&
	  t.n.allowed > steps / 5 && t.n.translated > steps / 10);
	t_note("probes=%llu allowed=%llu denied=%llu held=%llu translated=%llu icmp=%llu "
	       "allowed_dropped=%llu",
	       (unsigned long long)t.n.probes, (unsigned long long)t.n.allowed,
	       (unsigned long long)t.n.denied, (unsigned long long)t.n.held,
	       (unsigned long long)t.n.translated, (unsigned long long)t.n.refused_icmp,
	       (unsigned long long)t.n.allowed_dropped);
	t_note("kernel=%s kernel_probes=%llu kernel_carried=%llu (client out %llu, gateway in "
	       "%llu, "
	       "gateway out %llu, client in %llu) kernel_missed=%llu ambiguous=%llu",
	       t.w.cfg.bpf ? "bpf" : "plan", (unsigned long long)t.n.kernel_probes,
	       (unsigned long long)t.n.kernel_carried, (unsigned long long)t.n.kernel_by[0],
	       (unsigned long long)t.n.kernel_by[1], (unsigned long long)t.n.kernel_by[2],
	       (unsigned long long)t.n.kernel_by[3], (unsigned long long)t.n.kernel_missed,
	       (unsigned long long)t.n.ambiguous);
	t_note("worker_carried=%llu (client out %llu, gateway in %llu, gateway out %llu, client in "
	       "%llu) worker_missed=%llu",
	       (unsigned long long)t.n.worker_carried, (unsigned long long)t.n.worker_by[0],
	       (unsigned long long)t.n.worker_by[1], (unsigned long long)t.n.worker_by[2],
	       (unsigned long long)t.n.worker_by[3], (unsigned long long)t.n.worker_missed);
	pw_close(&t.w);
}

static void test_model(void)
{
	against_model(false, env("STEPS", STEPS));
	with_plan = t.n;
}

static void test_model_bpf(void)
{
	against_model(true, env("STEPS", STEPS));
	with_bpf = t.n;
}

/* ---- faults ---- */
static bool noticed(enum pw_fault f)
{
	bool seen;

	pmt_open(&t, seed() + f, with_bpf.steps != 0);
	t.quiet = true;
	while (t.n.steps < FAULT_FROM)
		one_step();
	seen = !is_clean() || t.n.kernel_missed || t.n.worker_missed;
	T(!seen); /* nothing differs before it is on */
	t.w.fault = f;
	while (!t.n.denied_delivered && t.n.steps < FAULT_FROM + FAULT_STEPS)
		one_step();
	t_note("%s: %s after %llu steps", fault_names[f],
	       t.n.denied_delivered ? "noticed" : "NOT noticed",
	       (unsigned long long)t.n.steps - FAULT_FROM);
	pw_close(&t.w);
	return t.n.denied_delivered;
}

static void test_faults_are_noticed(void)
{
	for (int f = PW_FAULT_NONE + 1; f < PW_FAULTS; f++)
		T(noticed((enum pw_fault)f));
}

int main(int argc, char **argv)
{
	int rc;

	t_init(argc, argv);
	T_RUN(test_model);
	T_RUN(test_model_bpf);
	T_RUN(test_faults_are_noticed);
	rc = t_done();
	printf("steps=%llu denied_delivered=%llu seed=%llu\n",
	       (unsigned long long)(with_plan.steps + with_bpf.steps),
	       (unsigned long long)(with_plan.denied_delivered + with_bpf.denied_delivered),
	       (unsigned long long)seed());
	return rc;
}
