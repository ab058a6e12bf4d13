/* SPDX-License-Identifier: GPL-2.0-only */
/* /dev/kvm itself: versions, capabilities, and lists of variable length. */
#include "api.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void values(void)
{
	struct machine m = machine(WITHOUT_VCPU);

	GIVES(call_n(m.sys, KVM_GET_API_VERSION, 0), 12);
	GIVES(call_n(m.sys, KVM_GET_API_VERSION, 1), -EINVAL);
	GIVES(call_n(m.sys, KVM_GET_API_VERSION, 1ul << 32), -EINVAL);
	GIVES(call_n(m.sys, KVM_GET_VCPU_MMAP_SIZE, 0), 3 * PAGE);
	GIVES(call_n(m.sys, KVM_GET_VCPU_MMAP_SIZE, -1ul), -EINVAL);
	GIVES(call_n(m.sys, KVM_CREATE_VM, 1), -EINVAL);
	GIVES(call_n(m.sys, KVM_CREATE_VM, 1ul << 32), -EINVAL);
	GIVES(call_n(m.sys, KVM_CREATE_VM, -1ul), -EINVAL);
}

/* A capability's number has 64 bits: none of those further up are known. */
static void capabilities(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	const int fds[] = { m.sys, m.vm };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		GIVES(cap(fds[i], KVM_CAP_USER_MEMORY), 1);
		GIVES(cap(fds[i], KVM_CAP_USER_MEMORY | 1l << 32), 0);
		GIVES(cap(fds[i], -1), 0);
		GIVES(cap(fds[i], 0x7fffffff), 0);
		GIVES(cap(fds[i], INT64_MIN), 0);
		GIVES(cap(fds[i], KVM_CAP_NR_MEMSLOTS), 32764);
		GIVES(cap(fds[i], KVM_CAP_COALESCED_MMIO), 2);
		GIVES(cap(fds[i], KVM_CAP_IRQ_ROUTING), 4096);
		GIVES(cap(fds[i], KVM_CAP_PPC_SMT), 0);
	}
	HOLDS(cap(m.vm, KVM_CAP_MAX_VCPUS) >= cap(m.vm, KVM_CAP_NR_VCPUS));
	HOLDS(cap(m.vm, KVM_CAP_MAX_VCPU_ID) >= cap(m.vm, KVM_CAP_MAX_VCPUS));
	DIFFERS(cap(m.vm, KVM_CAP_MAX_VCPUS), 1024, 288, "a limit of ours");
	DIFFERS(cap(m.vm, KVM_CAP_MAX_VCPU_ID), 4096, 1024, "a limit of ours");
}

static void index_lists(void)
{
	const unsigned long lists[] = { KVM_GET_MSR_INDEX_LIST, KVM_GET_MSR_FEATURE_INDEX_LIST };
	struct machine m = machine(WITHOUT_VCPU);
	struct kvm_msr_list *list = pages(4), *edge;
	uint32_t n;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		list->nmsrs = 0;
		GIVES(call(m.sys, lists[i], list), -E2BIG);
		n = list->nmsrs;
		HOLDS(n > 0 && n < 1000);
		list->nmsrs = n - 1;
		GIVES(call(m.sys, lists[i], list), -E2BIG);
		GIVES(list->nmsrs, n);
		GIVES(list->indices[0], 0);
		list->nmsrs = n;
		GIVES(call(m.sys, lists[i], list), 0);
		GIVES(list->nmsrs, n);
		HOLDS(list->indices[n - 1] != 0);
		list->indices[n] = 0x12345678;
		list->nmsrs = 0xffffffff;
		GIVES(call(m.sys, lists[i], list), 0);
		GIVES(list->indices[n], 0x12345678);
		memset(list, 0, 4 * PAGE);

		/* Room enough by its own word, but not in memory. */
		edge = at_the_edge(sizeof(*edge) + (n - 1) * sizeof(edge->indices[0]));
		edge->nmsrs = n;
		GIVES(call(m.sys, lists[i], edge), -EFAULT);
	}
}

static void feature_msrs(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	struct kvm_msr_list *list = pages(4);
	struct kvm_msrs *msrs = pages(2), *edge;

	list->nmsrs = 1000;
	must(m.sys, KVM_GET_MSR_FEATURE_INDEX_LIST, list);
	msrs->nmsrs = 3;
	msrs->entries[0].index = msrs->entries[2].index = list->indices[0];
	msrs->entries[1].index = 0xdeadbeef;
	GIVES(call(m.sys, KVM_GET_MSRS, msrs), 1);
	msrs->entries[0].index = 0x10;		/* the TSC is none of the features */
	GIVES(call(m.sys, KVM_GET_MSRS, msrs), 0);
	msrs->nmsrs = 0;
	GIVES(call(m.sys, KVM_GET_MSRS, msrs), 0);
	msrs->nmsrs = 255;
	GIVES(call(m.sys, KVM_GET_MSRS, msrs), 0);
	msrs->nmsrs = 256;
	GIVES(call(m.sys, KVM_GET_MSRS, msrs), -E2BIG);
	msrs->nmsrs = 0xffffffff;
	GIVES(call(m.sys, KVM_GET_MSRS, msrs), -E2BIG);
	edge = at_the_edge(sizeof(*edge) + sizeof(edge->entries[0]));
	edge->nmsrs = 2;
	GIVES(call(m.sys, KVM_GET_MSRS, edge), -EFAULT);
	edge->nmsrs = 1;
	edge->entries[0].index = list->indices[0];
	GIVES(call(m.sys, KVM_GET_MSRS, edge), 1);
}

static void cpuid_lists(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	struct kvm_cpuid2 *c = pages(4), *edge;
	uint32_t n;

	c->nent = 0;
	GIVES(call(m.sys, KVM_GET_SUPPORTED_CPUID, c), -E2BIG);
	c->nent = 1;
	GIVES(call(m.sys, KVM_GET_SUPPORTED_CPUID, c), -E2BIG);
	GIVES(c->nent, 1);			/* how many it takes is not told */
	c->nent = 256;
	GIVES(call(m.sys, KVM_GET_SUPPORTED_CPUID, c), 0);
	n = c->nent;
	HOLDS(n > 10 && n < 256);
	c->nent = n - 1;
	GIVES(call(m.sys, KVM_GET_SUPPORTED_CPUID, c), -E2BIG);
	c->nent = n;
	GIVES(call(m.sys, KVM_GET_SUPPORTED_CPUID, c), 0);
	c->nent = 0xffffffff;			/* taken for as many as there may be */
	GIVES(call(m.sys, KVM_GET_SUPPORTED_CPUID, c), 0);
	GIVES(c->nent, n);
	edge = at_the_edge(sizeof(*edge) + (n - 1) * sizeof(edge->entries[0]));
	edge->nent = n;
	GIVES(call(m.sys, KVM_GET_SUPPORTED_CPUID, edge), -EFAULT);

	c->nent = 0;
	GIVES(call(m.sys, KVM_GET_EMULATED_CPUID, c), -E2BIG);
	c->nent = 100;
	GIVES(call(m.sys, KVM_GET_EMULATED_CPUID, c), 0);
	/* What was not asked to be zero goes unread. */
	memset(c, 0xff, sizeof(*c) + 200 * sizeof(c->entries[0]));
	c->nent = 200;
	GIVES(call(m.sys, KVM_GET_SUPPORTED_CPUID, c), 0);
	memset(c, 0xff, sizeof(*c) + 200 * sizeof(c->entries[0]));
	c->nent = 200;
	GIVES(call(m.sys, KVM_GET_EMULATED_CPUID, c), -EINVAL);
}

/* The descriptors themselves: closed by exec, and nothing to map or read. */
static void descriptors(void)
{
	struct machine m = machine(0);
	const int fds[] = { m.sys, m.vm, m.vcpu };
	char byte;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		HOLDS(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
	HOLDS(read(m.vm, &byte, 1) <= 0);
	HOLDS(write(m.vm, &byte, 1) <= 0);
	HOLDS(write(m.sys, &byte, 1) <= 0);
}

const struct test system_tests[] = {
	{ "system", "values", "requests with a number for an argument", values },
	{ "system", "capabilities", "KVM_CHECK_EXTENSION with numbers that are none", capabilities },
	{ "system", "index_lists", "lists of MSRs with too little room", index_lists },
	{ "system", "feature_msrs", "KVM_GET_MSRS with bad counts and MSRs", feature_msrs },
	{ "system", "cpuid_lists", "KVM_GET_SUPPORTED_CPUID and its like with bad counts", cpuid_lists },
	{ "system", "descriptors", "what is not an ioctl", descriptors },
	{ 0 }
};
