/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hyper-V's reference time, in units of 100 ns (TLFS 12.7, 12.8): a counter to be read by MSR, and a page with
 * which the guest computes the same from its TSC.
 *
 * Both follow kvmclock. While the page is in use, the counter is computed as the guest would, so that the two agree to
 * the last digit. The page says by a sequence number of 0 that it cannot be used: so it is while it is rewritten.
 */
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"

struct tsc_page {
	u32 sequence;
	u32 reserved;
	u64 scale;
	u64 offset;
};

static u64 high_product(u64 a, u64 b)
{
	return (u64)(((u128)a * b) >> 64);
}

u64 kvm_hv_reference_time(struct kvm *kvm)
{
	struct kvm_hv *hv = kvm->arch.hv;
	u64 scale, offset;
	bool set;

	os_mutex_lock(&hv->lock);
	set = hv->tsc_page == HV_TSC_PAGE_SET;
	scale = hv->tsc_scale;
	offset = hv->tsc_offset;
	os_mutex_unlock(&hv->lock);
	if (!set)
		return kvm_clock_read(kvm) / 100;
	return high_product(x86_read_tsc(&kvm->vcpus[0]->cpu), scale) + offset;
}

/* The page's figures from the pair that kvmclock is reckoned from. False: the TSC is too slow for 64 bits. */
static bool compute(struct kvm *kvm, struct tsc_page *p)
{
	struct kvm_vcpu *first = kvm->vcpus[0];
	u64 khz = READ_ONCE(first->cpu.tsc_khz), tsc, ns, high;

	if (khz <= 10000)
		return false;
	/* 10 MHz in fractions of the TSC's rate, 32 bits at a time. */
	high = (10000ull << 32) / khz;
	p->scale = high << 32 | (((10000ull << 32) % khz) << 32) / khz;
	kvm_clock_pair(first, &tsc, &ns);
	p->offset = ns / 100 - high_product(tsc, p->scale);
	return true;
}

/* What becomes of the page at gpa; *p: the figures in it. */
static enum kvm_hv_tsc_page write_page(struct kvm_vcpu *v, u64 gpa, bool keep, struct tsc_page *p)
{
	const u64 figures = offsetof(struct tsc_page, scale);
	u32 sequence, none = 0;

	if (kvm_read_guest(v, gpa, &sequence, sizeof(sequence)))
		return HV_TSC_PAGE_BROKEN;
	/*
	 * A guest that asked to be told when its TSC's rate changes relies on the figures until it has been: the
	 * VMM sees to it that they hold, and what is there is taken.
	 */
	if (sequence && keep)
		return kvm_read_guest(v, gpa, p, sizeof(*p)) ? HV_TSC_PAGE_BROKEN : HV_TSC_PAGE_SET;
	if (kvm_write_guest(v, gpa, &none, sizeof(none)) || !compute(v->kvm, p))
		return HV_TSC_PAGE_BROKEN;
	smp_mb();
	if (kvm_write_guest(v, gpa + figures, (u8 *)p + figures, sizeof(*p) - figures))
		return HV_TSC_PAGE_BROKEN;
	smp_mb();
	/* All ones once said that the page is of no use, too. */
	p->sequence = sequence >= 0xfffffffe ? 1 : sequence + 1;
	return kvm_write_guest(v, gpa, &p->sequence, sizeof(p->sequence)) ? HV_TSC_PAGE_BROKEN : HV_TSC_PAGE_SET;
}

void kvm_hv_update_tsc_page(struct kvm_vcpu *v)
{
	struct kvm_hv *hv = v->kvm->arch.hv;
	struct tsc_page page = { 0 };
	enum kvm_hv_tsc_page result;
	u32 changes;
	bool keep;
	u64 gpa;

	os_mutex_lock(&hv->lock);
	if (hv->tsc_page != HV_TSC_PAGE_STALE || hv->tsc_writing) {
		os_mutex_unlock(&hv->lock);
		return;
	}
	hv->tsc_writing = true;
	changes = hv->tsc_changes;
	keep = hv->tsc_by_host && hv->tsc_emulation_control;
	gpa = hv->tsc_msr & PAGE_MASK;
	os_mutex_unlock(&hv->lock);

	result = write_page(v, gpa, keep, &page);

	os_mutex_lock(&hv->lock);
	hv->tsc_writing = false;
	if (changes == hv->tsc_changes) {
		hv->tsc_page = result;
		hv->tsc_scale = page.scale;
		hv->tsc_offset = page.offset;
	} else {
		kvm_make_own_request(v, KVM_REQ_CLOCK_UPDATE);
	}
	os_mutex_unlock(&hv->lock);
}

void kvm_hv_set_tsc_msr(struct kvm_vcpu *v, u64 val, bool host)
{
	struct kvm_hv *hv = v->kvm->arch.hv;

	os_mutex_lock(&hv->lock);
	hv->tsc_msr = val;
	hv->tsc_page = val & HV_PAGE_ENABLED ? HV_TSC_PAGE_STALE : HV_TSC_PAGE_OFF;
	hv->tsc_by_host = host;
	hv->tsc_changes++;
	os_mutex_unlock(&hv->lock);
	/* The guest finds the page filled in; as part of saved state, it waits until all of that is there. */
	if (host)
		kvm_make_own_request(v, KVM_REQ_CLOCK_UPDATE);
	else
		kvm_hv_update_tsc_page(v);
}

void kvm_hv_clock_changed(struct kvm *kvm)
{
	struct kvm_hv *hv = kvm->arch.hv;

	os_mutex_lock(&hv->lock);
	if (hv->tsc_page == HV_TSC_PAGE_SET && !hv->tsc_emulation_control) {
		hv->tsc_page = HV_TSC_PAGE_STALE;
		hv->tsc_by_host = true;
	}
	hv->tsc_changes++;
	os_mutex_unlock(&hv->lock);
}
