/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUID: what the provider supports, plus what only the machine knows, which is who each vCPU is
 * and how many there are. The topology is one package of single-threaded cores, APIC identifiers
 * counted up.
 */
#include "vmm/machine/vcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES	512
#define EXTRA_ENTRIES	3	/* subleaves of 0xb that are ours */

#define LEAF1_ECX_TSC_DEADLINE	(1U << 24)
#define LEAF1_ECX_HYPERVISOR	(1U << 31)
#define LEAF1_EDX_HTT		(1U << 28)
#define EXT1_ECX_CMP_LEGACY	(1U << 1)

/* The number of APIC identifier bits that cpus cores take. */
static unsigned int core_bits(unsigned int cpus)
{
	unsigned int bits = 0;

	while (1U << bits < cpus)
		bits++;
	return bits;
}

/* Cache leaves 4 (Intel) and 0x8000001d (AMD): levels 1 and 2 are a core's own, 3 is shared. */
static uint32_t cache_sharing(uint32_t eax, unsigned int cpus)
{
	uint32_t level = eax >> 5 & 7, shared = level >= 3 ? (1U << core_bits(cpus)) - 1 : 0;

	return (eax & ~(0xfffU << 14)) | shared << 14;
}

static void patch(struct kvm_cpuid_entry2 *e, const struct vcpu *v, bool tsc_deadline)
{
	unsigned int cpus = v->machine->vcpu_count;

	switch (e->function) {
	case 0x1:
		e->ecx |= LEAF1_ECX_HYPERVISOR | (tsc_deadline ? LEAF1_ECX_TSC_DEADLINE : 0);
		/* Brand, CLFLUSH size as they are; the number of identifiers, and this one. */
		e->ebx = (e->ebx & 0xffff) | (1U << core_bits(cpus) & 0xff) << 16 | v->id << 24;
		if (cpus > 1)
			e->edx |= LEAF1_EDX_HTT;
		else
			e->edx &= ~LEAF1_EDX_HTT;
		break;
	case 0x4:
		if (!(e->eax & 0x1f))
			break;
		e->eax = cache_sharing(e->eax, cpus) & ~(0x3fU << 26);
		/* Six bits for the cores of the package: 64 of them at most. */
		e->eax |= ((1U << (core_bits(cpus) < 6 ? core_bits(cpus) : 6)) - 1) << 26;
		break;
	case 0x80000001:
		if (cpus > 1)
			e->ecx |= EXT1_ECX_CMP_LEGACY;
		else
			e->ecx &= ~EXT1_ECX_CMP_LEGACY;
		break;
	case 0x80000008:
		/* Cores, less one, and the bits of the identifier they take. */
		e->ecx = (e->ecx & ~0xf0ffU) | core_bits(cpus) << 12 | (cpus - 1);
		break;
	case 0x8000001d:
		if (e->eax & 0x1f)
			e->eax = cache_sharing(e->eax, cpus);
		break;
	case 0x8000001e:
		e->eax = v->id;
		e->ebx = v->id & 0xff;	/* the core; one thread in it */
		e->ecx = 0;		/* one node */
		break;
	}
}

/* Leaf 0xb: a level of threads, a level of cores, and the end. */
static unsigned int topology_leaf(struct kvm_cpuid_entry2 *e, const struct vcpu *v)
{
	unsigned int cpus = v->machine->vcpu_count;

	for (unsigned int level = 0; level < EXTRA_ENTRIES; level++)
		e[level] = (struct kvm_cpuid_entry2){
			.function = 0xb, .index = level, .ecx = level, .edx = v->id,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		};
	e[0].ebx = 1;
	e[0].ecx |= 1 << 8;		/* threads */
	e[1].eax = core_bits(cpus);
	e[1].ebx = cpus;
	e[1].ecx |= 2 << 8;		/* cores */
	return EXTRA_ENTRIES;
}

int vcpu_set_cpuid(struct vcpu *v, struct vmm_error *error)
{
	struct machine *m = v->machine;
	struct kvm_cpuid2 *supported, *cpuid;
	size_t size = sizeof(*cpuid) + (MAX_ENTRIES + EXTRA_ENTRIES) * sizeof(cpuid->entries[0]);
	bool tsc_deadline, has_topology = false;
	int err = -ENOMEM;

	supported = calloc(1, size);
	cpuid = calloc(1, size);
	if (!supported || !cpuid)
		goto out;
	supported->nent = MAX_ENTRIES;
	err = m->provider->ioctl(m->kvm_fd, KVM_GET_SUPPORTED_CPUID, supported);
	if (err)
		goto out;
	/* The timer is KVM's own, so the supported list leaves it out. */
	tsc_deadline = machine_vm_ioctl(m, KVM_CHECK_EXTENSION,
					(void *)(long)KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	for (uint32_t i = 0; i < supported->nent; i++) {
		struct kvm_cpuid_entry2 *e = &supported->entries[i];

		if (e->function == 0 && e->eax >= 0xb)
			has_topology = true;
		/* The host's topology. 0xb is made below; the others are optional beside it. */
		if (e->function == 0xb || e->function == 0x1f || e->function == 0x80000026)
			continue;
		cpuid->entries[cpuid->nent] = *e;
		patch(&cpuid->entries[cpuid->nent++], v, tsc_deadline);
	}
	if (has_topology)
		cpuid->nent += topology_leaf(cpuid->entries + cpuid->nent, v);
	err = vcpu_ioctl(v, KVM_SET_CPUID2, cpuid);
out:
	free(supported);
	free(cpuid);
	if (err)
		vmm_fail(error, err, "cannot set vCPU %u's CPUID: %s", v->id, strerror(-err));
	return err;
}
