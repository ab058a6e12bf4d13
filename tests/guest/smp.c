/* SPDX-License-Identifier: GPL-2.0-only */
/* Several vCPUs, each on a thread of its own. */
#include "harness.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

static struct vm *smp_guest(int cpus, const char *name)
{
	struct vm *vm = vm_create(VM_IRQCHIP);

	if (vm_cap(vm, KVM_CAP_MAX_VCPUS) < cpus)
		skip("KVM_CAP_MAX_VCPUS is %d", vm_cap(vm, KVM_CAP_MAX_VCPUS));
	for (int i = 0; i < cpus; i++)
		vcpu_create(vm);
	*var(vm, "smp_cpus") = cpus;
	vcpu_start(&vm->vcpus[0], MODE_LONG, name);
	return vm;
}

/* Where vCPUs wait for each other by spinning, each turn can cost a time slice: on a machine with
 * few processors, or busy ones, the rounds have to end before they are all done. */
static void *stop_later(void *arg)
{
	sleep(3);
	*(volatile uint32_t *)arg = 1;
	return NULL;
}

static void run_rounds(int cpus, const char *name)
{
	struct vm *vm = smp_guest(cpus, name);
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, stop_later, var(vm, "smp_stop")), 0);
	run_all_to_pass(vm);
}

#define SMP(function, cpus, symbol)					\
static void function(void)						\
{									\
	run_rounds(cpus, symbol);					\
}

SMP(sipi_2, 2, "smp_sipi")
SMP(sipi_4, 4, "smp_sipi")
SMP(lock_2, 2, "smp_lock")
SMP(ring_2, 2, "smp_ring")
SMP(ring_4, 4, "smp_ring")
SMP(sb_mfence, 2, "smp_sb_mfence")
SMP(sb_lock, 2, "smp_sb_lock")
SMP(sb_xchg, 2, "smp_sb_xchg")
SMP(mp, 2, "smp_mp")
SMP(cross, 2, "smp_cross")
SMP(shootdown, 2, "smp_shootdown")
SMP(restart, 2, "smp_restart")
SMP(tsc_sync, 2, "smp_tsc_sync")
SMP(kinds, 2, "smp_kinds")

static uint64_t quad(struct vm *vm, uint64_t address)
{
	uint64_t value;

	memcpy(&value, memory(vm, address, 8), 8);
	return value;
}

static void atomic(int cpus)
{
	struct vm *vm = smp_guest(cpus, "smp_atomic");
	uint64_t counter = symbol("smp_counter");
	uint32_t want = 20000 * cpus;

	run_all_to_pass(vm);
	CHECK_EQ(quad(vm, counter), want);
	CHECK_EQ((uint32_t)quad(vm, counter + 8), want);
	CHECK_EQ((uint32_t)quad(vm, counter + 16), want);
	CHECK_EQ((uint32_t)quad(vm, counter + 24), want);
	CHECK_EQ((uint32_t)quad(vm, SCRATCH + 0x3e), want);
	CHECK_EQ((uint16_t)quad(vm, SCRATCH + 0x100), (uint16_t)want);
	CHECK_EQ((uint8_t)quad(vm, SCRATCH + 0x110), (uint8_t)want);
}

static void atomic_2(void)
{
	atomic(2);
}

static void atomic_4(void)
{
	atomic(4);
}

static void atomic_page(void)
{
	struct vm *vm = smp_guest(2, "smp_atomic_page");

	run_all_to_pass(vm);
	CHECK_EQ((uint32_t)quad(vm, SCRATCH + 0xffe), 10000);
}

static void atomic_16(void)
{
	struct vm *vm = smp_guest(2, "smp_cmpxchg16b");

	NEED_FEATURE(CX16);
	run_all_to_pass(vm);
	CHECK_EQ(quad(vm, SCRATCH), 10000);
	CHECK_EQ(quad(vm, SCRATCH + 8), 30000);
}

/* A lock's counter, which every vCPU adds to by a plain increment. */
static void locked(void)
{
	struct vm *vm = smp_guest(4, "smp_lock");

	run_all_to_pass(vm);
	CHECK_EQ(quad(vm, symbol("smp_counter")), 40000);
}

#define WAITS		"while it emulates ring 0, an interrupt waits for the next exit"
#define NOT_ATOMIC	"its emulator, which runs ring 0, is not atomic across a page"

const struct test smp_tests[] = {
	{ "smp", "sipi_2", "INIT and SIPI start the second vCPU in real mode", sipi_2 },
	{ "smp", "sipi_4", "and three at once", sipi_4 },
	{ "smp", "restart", "INIT and SIPI to a vCPU that runs start it anew", restart,
	  .wrong_on_paravirt = WAITS },
	{ "smp", "atomic_2", "locked instructions of each width add up on 2 vCPUs", atomic_2 },
	{ "smp", "atomic_4", "and on 4", atomic_4 },
	{ "smp", "atomic_page", "a locked addition across two pages", atomic_page,
	  .wrong_on_paravirt = NOT_ATOMIC },
	{ "smp", "cmpxchg16b", "LOCK CMPXCHG16B on 2 vCPUs", atomic_16,
	  .wrong_on_paravirt = NOT_EMULATED("CMPXCHG16B") },
	{ "smp", "lock", "a spin lock by XCHG, a plain store to release it", lock_2 },
	{ "smp", "lock_4", "the same on 4 vCPUs, and its count", locked },
	{ "smp", "ring_2", "IPIs back and forth between 2 vCPUs in HLT", ring_2 },
	{ "smp", "ring_4", "IPIs round a ring of 4", ring_4 },
	{ "smp", "ipi_kinds", "NMI, logical, lowest-priority and broadcast IPIs", kinds,
	  .wrong_on_paravirt = WAITS },
	{ "smp", "sb_mfence", "store buffering: not both loads read 0 with MFENCE", sb_mfence },
	{ "smp", "sb_lock", "nor with a locked instruction", sb_lock },
	{ "smp", "sb_xchg", "nor with XCHG", sb_xchg },
	{ "smp", "message", "message passing needs no fence", mp },
	{ "smp", "cross_modify", "code changed by the other vCPU is seen after CPUID", cross },
	{ "smp", "shootdown", "a remapped page after IPI and INVLPG", shootdown,
	  .wrong_on_paravirt = WAITS },
	{ "smp", "tsc_sync", "no vCPU sees the TSC run backwards against another", tsc_sync },
	{ 0 }
};
