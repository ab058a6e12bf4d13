/* SPDX-License-Identifier: GPL-2.0-only */
/* Code that the host or another vCPU changes: modify.S has the guests. */
#include "harness.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define CODE		(SCRATCH + 0x2000)
#define MILLISECONDS	600

static void host(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "modify_host");

	for (uint32_t n = 1; n <= 200; n++) {
		run_to_sync(vcpu, 1);
		memcpy(memory(vcpu->vm, CODE + 1, 4), &n, 4);
	}
	run_to_pass(vcpu);
}

static void *stop_later(void *arg)
{
	usleep(MILLISECONDS * 1000);
	*(volatile uint32_t *)arg = 1;
	return NULL;
}

static void two(const char *name)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	pthread_t thread;

	if (vm_cap(vm, KVM_CAP_MAX_VCPUS) < 2)
		skip("KVM_CAP_MAX_VCPUS is %d", vm_cap(vm, KVM_CAP_MAX_VCPUS));
	vcpu_create(vm);
	vcpu_create(vm);
	*var(vm, "smp_cpus") = 2;
	vcpu_start(&vm->vcpus[0], MODE_LONG, name);
	CHECK_EQ(pthread_create(&thread, NULL, stop_later, var(vm, "smp_stop")), 0);
	run_all_to_pass(vm);
}

static void cross(void)
{
	two("modify_cross");
}

static void int3(void)
{
	two("modify_int3");
}

static void alias(void)
{
	two("modify_alias");
}

static void hand_over(void)
{
	two("modify_hand_over");
}

const struct test modify_tests[] = {
	{ "modify", "host", "hot code that the VMM changes between exits", host },
	{ "modify", "cross", "an aligned word of hot code, changed by another vCPU all the time", cross },
	{ "modify", "cross_alias", "the same through another address of the page", alias },
	{ "modify", "cross_int3", "INT3 put over hot code by another vCPU, and taken away", int3,
	  .wrong_on_paravirt = NOT_EMULATED("INT3 that appears behind its back") },
	{ "modify", "hand_over", "code changed for each other runs after a flag and CPUID", hand_over },
	{ 0 }
};
