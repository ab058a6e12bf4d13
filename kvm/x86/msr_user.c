/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSRs in the VMM's hands: which the guest may touch at all (KVM_X86_SET_MSR_FILTER), and which of those that are
 * refused the VMM is asked about before it is #GP (KVM_CAP_X86_USER_SPACE_MSR).
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/mem.h"
#include "kvm/x86/msr.h"

/* A filter is kept until the next one replaces it. Looking and replacing take turns by msr_filter_lock: VMMs that
 * filter at all filter MSRs that are seldom used. */
struct x86_msr_filter {
	bool default_allow;
	u32 count;
	struct x86_msr_range {
		u32 flags, base, nmsrs;
		u8 *bitmap;
	} range[KVM_MSR_FILTER_MAX_RANGES];
};

#define BITMAP_MAX	0x600		/* bytes, as Linux has it */

static void free_filter(struct x86_msr_filter *f)
{
	for (u32 n = 0; f && n < f->count; n++)
		os_free(f->range[n].bitmap);
	os_free(f);
}

static int add_range(struct x86_msr_filter *f, const struct kvm_msr_filter_range *in)
{
	struct x86_msr_range *r = &f->range[f->count];
	/* whole words, of which some bits may mean nothing */
	u64 bytes = ALIGN_UP((u64)in->nmsrs, 64) / 8;

	if (!in->nmsrs)
		return 0;
	if ((in->flags & ~(u32)(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)) || bytes > BITMAP_MAX)
		return -EINVAL;
	*r = (struct x86_msr_range){ .flags = in->flags, .base = in->base, .nmsrs = in->nmsrs };
	r->bitmap = os_alloc(bytes);
	if (!r->bitmap)
		return -ENOMEM;
	f->count++;
	return os_copy_from_user(r->bitmap, (u64)in->bitmap, bytes);
}

static void replace(struct kvm *kvm, struct x86_msr_filter *f)
{
	struct x86_msr_filter *old;

	os_mutex_lock(&kvm->arch.msr_filter_lock);
	old = kvm->arch.msr_filter;
	WRITE_ONCE(kvm->arch.msr_filter, f);
	os_mutex_unlock(&kvm->arch.msr_filter_lock);
	free_filter(old);
}

int kvm_set_msr_filter(struct kvm *kvm, const struct kvm_msr_filter *in)
{
	struct x86_msr_filter *f;
	bool empty = true;
	int r = 0;

	if (in->flags & ~(u32)KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	for (u32 n = 0; n < KVM_MSR_FILTER_MAX_RANGES; n++)
		empty &= !in->ranges[n].nmsrs;
	/* That no MSR is allowed can only be a mistake. */
	if (empty && (in->flags & KVM_MSR_FILTER_DEFAULT_DENY))
		return -EINVAL;
	f = os_alloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->default_allow = !(in->flags & KVM_MSR_FILTER_DEFAULT_DENY);
	for (u32 n = 0; n < KVM_MSR_FILTER_MAX_RANGES && !r; n++)
		r = add_range(f, &in->ranges[n]);
	if (r)
		free_filter(f);
	else
		replace(kvm, f);
	return r;
}

void kvm_msr_filter_destroy(struct kvm *kvm)
{
	replace(kvm, NULL);
}

/* access: KVM_MSR_FILTER_READ or KVM_MSR_FILTER_WRITE. */
static bool allowed(struct kvm *kvm, u32 index, u32 access)
{
	const struct x86_msr_filter *f;
	bool yes = true;

	/* x2APIC's are no subject of filters: hardware may serve them. */
	if (likely(!READ_ONCE(kvm->arch.msr_filter)) || (index >= 0x800 && index <= 0x8ff))
		return true;
	os_mutex_lock(&kvm->arch.msr_filter_lock);
	f = kvm->arch.msr_filter;
	if (f)
		yes = f->default_allow;
	for (u32 n = 0; f && n < f->count; n++) {
		const struct x86_msr_range *r = &f->range[n];
		u32 bit = index - r->base;

		if (bit < r->nmsrs && (r->flags & access)) {
			yes = r->bitmap[bit / 8] & BIT(bit % 8);
			break;
		}
	}
	os_mutex_unlock(&kvm->arch.msr_filter_lock);
	return yes;
}

/* What an access that was not served becomes: the VMM's question, if it wants it, or #GP(0). */
static int refuse(struct x86_cpu *c, enum x86_msr_result why, u32 exit, u32 index, u64 data)
{
	struct kvm_run *run = c->vcpu->run;
	u32 reason = why == X86_MSR_FILTERED ? KVM_MSR_EXIT_REASON_FILTER :
		     why == X86_MSR_UNKNOWN ? KVM_MSR_EXIT_REASON_UNKNOWN : KVM_MSR_EXIT_REASON_INVAL;
	int r;

	if (!(READ_ONCE(c->vcpu->kvm->arch.msr_exits) & reason))
		return x86_raise_err(c, X86_GP, 0);
	r = x86_ask_vmm(c, X86_WAIT_MSR);
	if (r != X86_EXIT)
		return r;
	run->exit_reason = exit;
	memset(&run->msr, 0, sizeof(run->msr));
	run->msr.reason = reason;
	run->msr.index = index;
	run->msr.data = data;
	return X86_EXIT;
}

int x86_rdmsr(struct x86_cpu *c, u32 index, u64 *val)
{
	enum x86_msr_result r = X86_MSR_FILTERED;
	bool refused;

	if (x86_vmm_answered(c, val, &refused))
		return refused ? x86_raise_err(c, X86_GP, 0) : X86_OK;
	if (allowed(c->vcpu->kvm, index, KVM_MSR_FILTER_READ))
		r = x86_get_msr(c, index, val, false);
	return likely(r == X86_MSR_OK) ? X86_OK : refuse(c, r, KVM_EXIT_X86_RDMSR, index, 0);
}

int x86_wrmsr(struct x86_cpu *c, u32 index, u64 val)
{
	enum x86_msr_result r = X86_MSR_FILTERED;
	bool refused;
	u64 unused;

	if (x86_vmm_answered(c, &unused, &refused))
		return refused ? x86_raise_err(c, X86_GP, 0) : X86_OK;
	if (allowed(c->vcpu->kvm, index, KVM_MSR_FILTER_WRITE))
		r = x86_set_msr(c, index, val, false);
	return likely(r == X86_MSR_OK) ? X86_OK : refuse(c, r, KVM_EXIT_X86_WRMSR, index, val);
}
