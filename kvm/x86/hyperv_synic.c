/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hyper-V's synthetic interrupt controller (TLFS 11): sixteen sources a processor, each with a vector of the
 * local APIC, a slot for one message in the message page and flags in the event page.
 *
 * Interrupts from outside come by routes to (processor, source) and eventfds; the pages are the VMM's to fill, which
 * is told by an exit where they are. The hypervisor itself only leaves the messages of timers.
 */
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"

#define MSR_SCONTROL		0x40000080
#define MSR_SVERSION		0x40000081
#define MSR_SIEFP		0x40000082
#define MSR_SIMP		0x40000083
#define MSR_EOM			0x40000084
#define MSR_SINT0		0x40000090
#define MSR_SINT15		0x4000009f

#define SINT_VECTOR		0xff
#define SINT_MASKED		BIT(16)
#define SINT_AUTO_EOI		BIT(17)
#define FIRST_VECTOR		16	/* below are exceptions */

#define MESSAGE_SIZE		256	/* of a slot */
#define MESSAGE_PENDING		BIT(0)	/* of its flags: tell me when the slot is free */

/* A message slot's head; the payload follows. */
struct message {
	u32 type;			/* 0: the slot is free */
	u8 payload_size;
	u8 flags;
	u8 reserved[2];
	u64 sender;
};

int kvm_hv_activate_synic(struct kvm_vcpu *v, bool keep_pages)
{
	struct kvm_hv_vcpu *hv = v->cpu.hv;

	if (!v->cpu.lapic)
		return -EINVAL;
	hv->keep_pages = keep_pages;
	hv->scontrol = 1;
	WRITE_ONCE(hv->synic_active, true);
	return 0;
}

/* ---- interrupts ---- */

int kvm_hv_raise_sint(struct kvm_vcpu *v, u32 sint)
{
	const struct kvm_hv_vcpu *hv = v->cpu.hv;
	u64 val;

	if (!READ_ONCE(hv->synic_active) || sint >= HV_NR_SINTS)
		return -1;
	val = READ_ONCE(hv->sint[sint]);
	return val & SINT_MASKED ? -1 : kvm_lapic_raise(v, val & SINT_VECTOR);
}

int kvm_hv_raise_sint_of(struct kvm *kvm, u32 vp_index, u32 sint)
{
	struct kvm_vcpu *v = kvm_hv_find_vp(kvm, vp_index);

	return v ? kvm_hv_raise_sint(v, sint) : -1;
}

static bool sint_has(const struct kvm_hv_vcpu *hv, u32 sint, u8 vector)
{
	u64 val = hv->sint[sint];

	return !(val & SINT_MASKED) && (val & SINT_VECTOR) == vector && vector >= FIRST_VECTOR;
}

bool kvm_hv_has_vector(struct kvm_vcpu *v, u8 vector)
{
	const struct kvm_hv_vcpu *hv = v->cpu.hv;

	if (likely(!hv->synic_active))
		return false;
	for (u32 n = 0; n < HV_NR_SINTS; n++)
		if (sint_has(hv, n, vector))
			return true;
	return false;
}

bool kvm_hv_auto_eoi(struct kvm_vcpu *v, u8 vector)
{
	const struct kvm_hv_vcpu *hv = v->cpu.hv;

	if (likely(!hv->synic_active))
		return false;
	for (u32 n = 0; n < HV_NR_SINTS; n++)
		if (sint_has(hv, n, vector) && (hv->sint[n] & SINT_AUTO_EOI))
			return true;
	return false;
}

/* The guest is done with what the source brought: there may be room for the next. */
static void acked(struct kvm_vcpu *v, u32 sint)
{
	kvm_hv_stimer_slot_free(v, sint);
	kvm_notify_acked_sint(v->kvm, v->cpu.hv->vp_index, sint);
}

void kvm_hv_eoi(struct kvm_vcpu *v, u8 vector)
{
	for (u32 n = 0; n < HV_NR_SINTS; n++)
		if (sint_has(v->cpu.hv, n, vector))
			acked(v, n);
}

/* ---- messages ---- */

int kvm_hv_send_message(struct kvm_vcpu *v, u32 sint, u32 type, const void *payload, u32 n, bool retry)
{
	u64 slot = (v->cpu.hv->simp & PAGE_MASK) + sint * MESSAGE_SIZE;
	struct message m;
	int r;

	if (!(v->cpu.hv->simp & HV_PAGE_ENABLED))
		return -ENOENT;
	r = kvm_read_guest(v, slot, &m, sizeof(m));
	if (r)
		return r;
	if (m.type) {
		if (!retry)
			return 0;
		m.flags = MESSAGE_PENDING;
		r = kvm_write_guest(v, slot + offsetof(struct message, flags), &m.flags, sizeof(m.flags));
		return r ? r : -EAGAIN;
	}
	/* The type goes last: it is what the guest looks at. */
	m = (struct message){ .payload_size = n };
	r = kvm_write_guest(v, slot, &m, sizeof(m));
	if (!r)
		r = kvm_write_guest(v, slot + sizeof(m), payload, n);
	smp_mb();
	if (!r)
		r = kvm_write_guest(v, slot, &type, sizeof(type));
	if (r)
		return r;
	return kvm_hv_raise_sint(v, sint) < 0 ? -ENOENT : 0;
}

/* ---- MSRs ---- */

bool kvm_hv_get_synic_msr(struct kvm_vcpu *v, u32 msr, u64 *val, bool host)
{
	const struct kvm_hv_vcpu *hv = v->cpu.hv;

	if (!hv->synic_active && !host)
		return false;
	switch (msr) {
	case MSR_SCONTROL: *val = hv->scontrol; return true;
	case MSR_SVERSION: *val = hv->sversion; return true;
	case MSR_SIEFP: *val = hv->siefp; return true;
	case MSR_SIMP: *val = hv->simp; return true;
	case MSR_EOM: *val = 0; return true;
	case MSR_SINT0 ... MSR_SINT15: *val = hv->sint[msr - MSR_SINT0]; return true;
	default: return false;
	}
}

static bool clear_page(struct kvm_vcpu *v, u64 gpa)
{
	static const u8 zeros[512];

	for (u32 n = 0; n < PAGE_SIZE; n += sizeof(zeros))
		if (kvm_write_guest(v, gpa + n, zeros, sizeof(zeros)))
			return false;
	return true;
}

static bool set_page(struct kvm_vcpu *v, u64 *page, u64 val, bool host)
{
	if (!host && (val & HV_PAGE_ENABLED) && !v->cpu.hv->keep_pages && !clear_page(v, val & PAGE_MASK))
		return false;
	*page = val;
	return true;
}

static void tell_vmm(struct kvm_vcpu *v, u32 msr)
{
	const struct kvm_hv_vcpu *hv = v->cpu.hv;
	struct kvm_hyperv_exit exit = { .type = KVM_EXIT_HYPERV_SYNIC };

	exit.u.synic.msr = msr;
	exit.u.synic.control = hv->scontrol;
	exit.u.synic.evt_page = hv->siefp;
	exit.u.synic.msg_page = hv->simp;
	kvm_hv_request_exit(v, &exit);
}

static bool set_sint(struct kvm_vcpu *v, u32 sint, u64 val, bool host)
{
	/* A masked source may have any vector: it is how guests leave one that they do not use. */
	if ((val & SINT_VECTOR) < FIRST_VECTOR && !host && !(val & SINT_MASKED))
		return false;
	WRITE_ONCE(v->cpu.hv->sint[sint], val);
	return true;
}

bool kvm_hv_set_synic_msr(struct kvm_vcpu *v, u32 msr, u64 val, bool host)
{
	struct kvm_hv_vcpu *hv = v->cpu.hv;
	bool ok = true;

	/* Saved state of a VM without it is zeros. */
	if (!hv->synic_active && (!host || val))
		return false;
	switch (msr) {
	case MSR_SCONTROL:
		hv->scontrol = val;
		break;
	case MSR_SIEFP:
		ok = set_page(v, &hv->siefp, val, host);
		break;
	case MSR_SIMP:
		ok = set_page(v, &hv->simp, val, host);
		break;
	case MSR_SVERSION:
		if (host)
			hv->sversion = val;
		return host;
	case MSR_EOM:
		for (u32 n = 0; n < HV_NR_SINTS && hv->synic_active; n++)
			acked(v, n);
		return true;
	case MSR_SINT0 ... MSR_SINT15:
		return set_sint(v, msr - MSR_SINT0, val, host);
	default:
		return false;
	}
	if (ok && !host)
		tell_vmm(v, msr);
	return ok;
}
