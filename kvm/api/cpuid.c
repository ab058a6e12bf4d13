/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUID leaves, in and out. */
#include "kvm/api/api.h"
#include "kvm/x86/cpuid.h"
#include "kvm/x86/hyperv.h"

#define HEAD	offsetof(struct kvm_cpuid2, entries)

/* The VMM's list, of at most nent entries; *out is freed by the caller. */
static long read_list(struct api_call *c, u32 *nent, struct kvm_cpuid_entry2 **out)
{
	struct kvm_cpuid2 head;
	size_t size;

	*out = NULL;
	if (os_copy_from_user(&head, c->arg, HEAD))
		return -EFAULT;
	*nent = head.nent;
	if (head.nent > KVM_MAX_CPUID_ENTRIES)
		return -E2BIG;
	size = head.nent * sizeof(**out);
	*out = os_alloc(size);
	if (!*out)
		return -ENOMEM;
	return os_copy_from_user(*out, c->arg + HEAD, size);
}

/* Fills the VMM's list by `fill` (whose result is the number, or an error). */
static long write_list(struct api_call *c, int (*fill)(struct api_call *c,
						       struct kvm_cpuid_entry2 *e, u32 max))
{
	struct kvm_cpuid_entry2 *entries;
	struct kvm_cpuid2 head;
	long r;

	if (os_copy_from_user(&head, c->arg, HEAD))
		return -EFAULT;
	entries = os_alloc(KVM_MAX_CPUID_ENTRIES * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	r = fill(c, entries, min(head.nent, (u32)KVM_MAX_CPUID_ENTRIES));
	if (r < 0)
		goto out;
	head.nent = r;
	r = os_copy_to_user(c->arg + HEAD, entries, head.nent * sizeof(*entries));
	if (!r)
		r = os_copy_to_user(c->arg, &head, HEAD);
out:
	os_free(entries);
	return r;
}

static int fill_supported(struct api_call *c, struct kvm_cpuid_entry2 *e, u32 max)
{
	return x86_supported_cpuid(e, max);
}

/* As Linux, this one insists on entries whose padding the VMM has cleared. */
static int fill_emulated(struct api_call *c, struct kvm_cpuid_entry2 *e, u32 max)
{
	for (u32 i = 0; i < max; i++) {
		u64 at = c->arg + HEAD + i * sizeof(*e) + offsetof(struct kvm_cpuid_entry2, padding);
		u32 padding[ARRAY_SIZE(e->padding)];

		if (os_copy_from_user(padding, at, sizeof(padding)) || padding[0] || padding[1] ||
		    padding[2])
			return -EINVAL;
	}
	return x86_emulated_cpuid(e, max);
}

static int fill_current(struct api_call *c, struct kvm_cpuid_entry2 *e, u32 max)
{
	return x86_get_cpuid(&c->v->cpu, e, max);
}

/* Of the system, as for a vCPU with a local APIC. */
static int fill_supported_hv(struct api_call *c, struct kvm_cpuid_entry2 *e, u32 max)
{
	return kvm_hv_supported_cpuid(e, max, !c->v || c->v->cpu.lapic);
}

long api_get_supported_hv_cpuid(struct api_call *c)
{
	return write_list(c, fill_supported_hv);
}

long api_get_supported_cpuid(struct api_call *c)
{
	return write_list(c, fill_supported);
}

long api_get_emulated_cpuid(struct api_call *c)
{
	return write_list(c, fill_emulated);
}

long api_get_cpuid2(struct api_call *c)
{
	return write_list(c, fill_current);
}

static long set(struct kvm_vcpu *v, const struct kvm_cpuid_entry2 *entries, u32 n)
{
	long r;

	/* A processor that has run stays the one that it was. */
	if (v->has_run)
		return x86_same_cpuid(&v->cpu, entries, n) ? 0 : -EINVAL;
	r = x86_set_cpuid(&v->cpu, entries, n);
	if (!r)
		v->kvm->ops->features_changed(v);
	return r;
}

long api_set_cpuid2(struct api_call *c)
{
	struct kvm_cpuid_entry2 *entries;
	u32 n;
	long r = read_list(c, &n, &entries);

	if (!r)
		r = set(c->v, entries, n);
	os_free(entries);
	return r;
}

/* The older form, without indices. */
long api_set_cpuid(struct api_call *c)
{
	const size_t head_size = offsetof(struct kvm_cpuid, entries);
	struct kvm_cpuid_entry2 *entries;
	struct kvm_cpuid_entry old;
	struct kvm_cpuid head;
	long r = 0;

	if (os_copy_from_user(&head, c->arg, head_size))
		return -EFAULT;
	if (head.nent > KVM_MAX_CPUID_ENTRIES)
		return -E2BIG;
	entries = os_alloc(head.nent * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (u32 i = 0; i < head.nent && !r; i++) {
		r = os_copy_from_user(&old, c->arg + head_size + i * sizeof(old), sizeof(old));
		entries[i] = (struct kvm_cpuid_entry2){
			.function = old.function,
			.eax = old.eax, .ebx = old.ebx, .ecx = old.ecx, .edx = old.edx };
	}
	if (!r)
		r = set(c->v, entries, head.nent);
	os_free(entries);
	return r;
}
