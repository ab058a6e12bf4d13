/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory order between vCPUs: litmus.S has the tests. */
#include "harness.h"

#include <pthread.h>
#include <unistd.h>

#define MILLISECONDS	400

static void *stop_later(void *arg)
{
	usleep(MILLISECONDS * 1000);
	*(volatile uint32_t *)arg = 1;
	return NULL;
}

static void litmus(int cpus, const char *name)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	pthread_t thread;

	if (vm_cap(vm, KVM_CAP_MAX_VCPUS) < cpus)
		skip("KVM_CAP_MAX_VCPUS is %d", vm_cap(vm, KVM_CAP_MAX_VCPUS));
	for (int i = 0; i < cpus; i++)
		vcpu_create(vm);
	*var(vm, "smp_cpus") = cpus;
	vcpu_start(&vm->vcpus[0], MODE_LONG, name);
	CHECK_EQ(pthread_create(&thread, NULL, stop_later, var(vm, "smp_stop")), 0);
	run_all_to_pass(vm);
	CHECK(*var(vm, "litmus_batches") > 2);
}

#define ON_2(name)	static void name##_2(void) { litmus(2, "litmus_" #name); }
#define ON_4(name)	static void name##_4(void) { litmus(4, "litmus_" #name); }

ON_2(sb_mfence) ON_4(sb_mfence)
ON_2(sb_lock) ON_4(sb_lock)
ON_2(sb_xadd) ON_2(sb_cpuid)
ON_2(sb_xchg) ON_4(sb_xchg)
ON_2(mp) ON_4(mp)
ON_2(mp_push) ON_2(mp_sse) ON_2(mp_string) ON_2(mp_line) ON_2(mp_rmw)
ON_2(lb) ON_4(lb)
ON_2(w2p2w) ON_4(w2p2w)
ON_2(s) ON_2(r_mfence) ON_2(corr) ON_2(own) ON_2(whole)
ON_4(wrc) ON_4(iriw) ON_4(iriw_mfence) ON_4(iriw_lock)

const struct test litmus_tests[] = {
	{ "litmus", "sb_mfence_2", "store buffering: not both loads read 0 with MFENCE", sb_mfence_2 },
	{ "litmus", "sb_mfence_4", "the same in two pairs", sb_mfence_4 },
	{ "litmus", "sb_lock_2", "nor with a locked instruction on another place", sb_lock_2 },
	{ "litmus", "sb_lock_4", "the same in two pairs", sb_lock_4 },
	{ "litmus", "sb_xadd", "nor with LOCK XADD and LOCK CMPXCHG", sb_xadd_2 },
	{ "litmus", "sb_cpuid", "nor with CPUID and XCHG", sb_cpuid_2 },
	{ "litmus", "sb_xchg_2", "nor where the store itself is locked", sb_xchg_2 },
	{ "litmus", "sb_xchg_4", "the same in two pairs", sb_xchg_4 },
	{ "litmus", "mp_2", "message passing: stores are seen in order, loads are done in order", mp_2 },
	{ "litmus", "mp_4", "the same in two pairs", mp_4 },
	{ "litmus", "mp_push", "with a message by PUSH", mp_push_2 },
	{ "litmus", "mp_sse", "by a vector instruction", mp_sse_2,
	  .wrong_on_paravirt = NOT_EMULATED("SSE") },
	{ "litmus", "mp_string", "by REP STOS: a later store comes after all of it", mp_string_2 },
	{ "litmus", "mp_line", "across two cache lines", mp_line_2 },
	{ "litmus", "mp_rmw", "by INC", mp_rmw_2 },
	{ "litmus", "lb_2", "load buffering: a load does not see what depends on nothing but is later", lb_2 },
	{ "litmus", "lb_4", "the same in two pairs", lb_4 },
	{ "litmus", "2p2w_2", "2+2W: the stores of two threads have one order", w2p2w_2 },
	{ "litmus", "2p2w_4", "the same in two pairs", w2p2w_4 },
	{ "litmus", "s", "a load that sees the last store comes before the store behind it", s_2 },
	{ "litmus", "r_mfence", "MFENCE between a store and a load orders them for all", r_mfence_2 },
	{ "litmus", "corr", "two loads of one place do not go back in time", corr_2 },
	{ "litmus", "own", "a thread sees its own stores at once", own_2 },
	{ "litmus", "whole", "an aligned quadword is seen whole", whole_2 },
	{ "litmus", "wrc", "what one has seen, the next sees", wrc_4 },
	{ "litmus", "iriw", "IRIW: stores of two are seen in one order by two others", iriw_4 },
	{ "litmus", "iriw_mfence", "with MFENCE between the loads", iriw_mfence_4 },
	{ "litmus", "iriw_lock", "by XCHG, with locked instructions between", iriw_lock_4 },
	{ 0 }
};
