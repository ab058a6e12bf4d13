/* SPDX-License-Identifier: GPL-2.0-only */
/* As many as there may be: vCPUs and slots. */
#include "api.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define VCPUS	288

/* Each runs once, and one more than there may be is refused. */
static void vcpus(void)
{
	struct machine m = GUEST(WITHOUT_VCPU, HLT);
	struct kvm_run *run;
	int vcpu, max = cap(m.vm, KVM_CAP_MAX_VCPUS);

	if (max < VCPUS)
		skip("KVM_CAP_MAX_VCPUS is %d", max);
	for (int i = 0; i < VCPUS; i++) {
		vcpu = call_n(m.vm, KVM_CREATE_VCPU, i);
		if (vcpu < 0)
			give_up("vCPU %d: %s", i, strerror(-vcpu));
		start_at(vcpu, CODE);
		run = provider->mmap(PAGE, vcpu, 0);
		GIVES(call(vcpu, KVM_RUN, NULL), 0);
		GIVES(run->exit_reason, KVM_EXIT_HLT);
		/* It stays, whether its descriptor does or not. */
		munmap(run, PAGE);
		if (i & 1)
			GIVES(provider->close(vcpu), 0);
	}
	/* Where these are all, that comes first. */
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, VCPUS - 1), max == VCPUS ? -EINVAL : -EEXIST);
	if (max == VCPUS)
		GIVES(call_n(m.vm, KVM_CREATE_VCPU, VCPUS), -EINVAL);
	/* A change that all of them have to hear of. */
	GIVES(region(m.vm, 1, 0, 0x100000, PAGE, pages(1)), 0);
	GIVES(region(m.vm, 1, 0, 0, 0, NULL), 0);
}

/* With local APICs, ids above 255 among them, and a broadcast to all. */
static void vcpus_with_apics(void)
{
	struct machine m = machine(WITHOUT_VCPU | WITH_SPLIT);
	struct kvm_msi msi = { .address_lo = 0xfeeff000, .data = 0x30 };
	int max = cap(m.vm, KVM_CAP_MAX_VCPUS), ids = cap(m.vm, KVM_CAP_MAX_VCPU_ID);

	if (max < VCPUS)
		skip("KVM_CAP_MAX_VCPUS is %d", max);
	GIVES(enable(m.vm, KVM_CAP_X2APIC_API, 0,
		     KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK), 0);
	for (int i = 0; i < VCPUS - 1; i++)
		HOLDS(call_n(m.vm, KVM_CREATE_VCPU, i) >= 0);
	HOLDS(call_n(m.vm, KVM_CREATE_VCPU, ids - 1) >= 0);
	HOLDS(call(m.vm, KVM_SIGNAL_MSI, &msi) >= -1);
	msi.address_hi = 0x100;
	HOLDS(call(m.vm, KVM_SIGNAL_MSI, &msi) >= -1);
}

/*
 * As many slots as KVM_CAP_NR_MEMSLOTS says, of a page each; a guest that looks into the first and
 * the last of them; and gone again, from the middle outwards.
 */
static void slots(unsigned int n)
{
	/* mov $0x1000, %ax; mov %ax, %ds; mov 0, %bl; hlt */
	struct machine m = GUEST(0, "\xb8\x00\x10\x8e\xd8\x8a\x1e\x00\x00" HLT);
	uint8_t *host = pages(2);
	struct kvm_regs regs;
	int r;

	host[0] = 0x11;
	host[PAGE] = 0x22;
	for (unsigned int i = 1; i < n; i++) {
		/* Not in their order, as no VMM would. */
		unsigned int at = i & 1 ? i : n + (n & 1) - i;

		r = region(m.vm, i, 0, 0x10000 + (at - 1) * PAGE, PAGE, at == 1 ? host : host + PAGE);
		if (r)
			give_up("slot %u: %s", i, strerror(-r));
	}
	GIVES(region(m.vm, 5, 0, 0x10000 + n * PAGE * 2, PAGE, host + 1), -EINVAL);
	GIVES(region(m.vm, n, 0, 0x10000 + 3 * PAGE, PAGE, host), n == 32764 ? -EINVAL : -EEXIST);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
	must(m.vcpu, KVM_GET_REGS, &regs);
	GIVES(regs.rbx & 0xff, 0x11);
	for (unsigned int i = n / 2; i < n; i++)
		if (region(m.vm, i, 0, 0, 0, NULL))
			give_up("slot %u cannot be deleted", i);
	for (unsigned int i = n / 2; --i; )
		if (region(m.vm, i, 0, 0, 0, NULL))
			give_up("slot %u cannot be deleted", i);
	GIVES(region(m.vm, 1, 0, 0, 0, NULL), -EINVAL);
	start_at(m.vcpu, CODE);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_MMIO);
}

static void slots_509(void)
{
	slots(509);
}

static void slots_all(void)
{
	struct machine m = machine(WITHOUT_VCPU);

	slots(cap(m.vm, KVM_CAP_NR_MEMSLOTS));
}

const struct test limit_tests[] = {
	{ "limits", "vcpus", "288 vCPUs", vcpus },
	{ "limits", "vcpus_with_apics", "288 vCPUs with local APICs", vcpus_with_apics },
	{ "limits", "slots_509", "509 slots", slots_509 },
	{ "limits", "slots_all", "as many slots as KVM_CAP_NR_MEMSLOTS says", slots_all },
	{ 0 }
};
