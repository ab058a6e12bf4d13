// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's registers, in xAPIC (memory) and x2APIC (MSR) form, and the path of an interrupt
 * from IRR through ISR to EOI (SDM volume 3, 11; APM volume 2, 16).
 */
#include "kvm/x86/events.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/lapic.h"

/* ---- priorities ---- */

/* The highest vector set in a 256-bit register; -1: none. */
static int highest(struct x86_lapic *a, u32 reg)
{
	for (int w = 7; w >= 0; w--) {
		u32 bits = READ_ONCE(*(u32 *)(a->regs + reg + w * 0x10));

		if (bits)
			return w * 32 + 31 - __builtin_clz(bits);
	}
	return -1;
}

static u32 update_ppr(struct x86_lapic *a)
{
	u32 tpr = apic_get(a, APIC_TPR) & 0xff, ppr;
	int isr = highest(a, APIC_ISR);
	u32 isrv = isr < 0 ? 0 : isr;

	ppr = (tpr & 0xf0) >= (isrv & 0xf0) ? tpr : isrv & 0xf0;
	apic_set(a, APIC_PPR, ppr);
	return ppr;
}

int kvm_lapic_pending_vector(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;
	int irr;

	if (!a || !apic_hw_enabled(a))
		return -1;
	irr = highest(a, APIC_IRR);
	if (irr < 0 || (u32)(irr & 0xf0) <= (update_ppr(a) & 0xf0))
		return -1;
	return irr;
}

int kvm_lapic_highest_irr(struct kvm_vcpu *v)
{
	return v->cpu.lapic ? highest(v->cpu.lapic, APIC_IRR) : -1;
}

int kvm_lapic_highest_isr(struct kvm_vcpu *v)
{
	return v->cpu.lapic ? highest(v->cpu.lapic, APIC_ISR) : -1;
}

void kvm_lapic_accept(struct kvm_vcpu *v, u8 vector)
{
	struct x86_lapic *a = v->cpu.lapic;

	atomic_and(apic_word(a, APIC_IRR, vector), ~BIT(vector % 32));
	if (!kvm_hv_auto_eoi(v, vector))
		*apic_word(a, APIC_ISR, vector) |= BIT(vector % 32);
	update_ppr(a);
}

bool apic_accept(struct x86_lapic *a, u8 vector, bool level)
{
	u32 bit = BIT(vector % 32);
	bool fresh;

	if (level)
		atomic_or(apic_word(a, APIC_TMR, vector), bit);
	else
		atomic_and(apic_word(a, APIC_TMR, vector), ~bit);
	fresh = !(atomic_or(apic_word(a, APIC_IRR, vector), bit) & bit);
	kvm_make_request(a->v, KVM_REQ_EVENT);
	return fresh;
}

void kvm_lapic_eoi(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;
	int vector = highest(a, APIC_ISR);
	bool level;

	if (vector < 0)
		return;
	*apic_word(a, APIC_ISR, vector) &= ~BIT(vector % 32);
	update_ppr(a);
	if (kvm_hv_has_vector(v, vector))
		kvm_hv_eoi(v, vector);
	level = READ_ONCE(*apic_word(a, APIC_TMR, vector)) & BIT(vector % 32);
	if (v->kvm->arch.irqchip_mode == KVM_IRQCHIP_KERNEL) {
		kvm_ioapic_eoi(v, vector, level);
	} else if (kvm_split_eoi_exits(v, vector)) {
		v->cpu.ev.eoi_vector = vector;
		kvm_make_request(v, KVM_REQ_IOAPIC_EOI_EXIT);
	}
	kvm_make_request(v, KVM_REQ_EVENT);
}

bool kvm_lapic_eoi_matters(struct kvm_vcpu *v, u8 vector)
{
	if (kvm_hv_has_vector(v, vector))
		return true;
	if (v->kvm->arch.irqchip_mode == KVM_IRQCHIP_KERNEL)
		return kvm_ioapic_has_vector(v->kvm, vector);
	return kvm_split_eoi_exits(v, vector);
}

/* ---- local events ---- */

bool apic_local_event(struct x86_lapic *a, u32 lvt_reg)
{
	u32 lvt = apic_get(a, lvt_reg);

	if (!apic_hw_enabled(a) || (lvt & APIC_LVT_MASKED))
		return false;
	switch ((lvt >> 8) & 7) {
	case APIC_DM_FIXED:
		apic_accept(a, lvt & 0xff, lvt_reg == APIC_LVT0 && (lvt & BIT(15)));
		return true;
	case APIC_DM_SMI:
		kvm_make_request(a->v, KVM_REQ_SMI);
		return true;
	case APIC_DM_NMI:
		x86_queue_nmi(a->v);
		return true;
	default:		/* ExtINT is asked for, not delivered: kvm_lapic_accepts_pic */
		return false;
	}
}

void kvm_lapic_local_nmi(struct kvm_vcpu *v)
{
	if (v->cpu.lapic)
		apic_local_event(v->cpu.lapic, APIC_LVT1);
}

bool kvm_lapic_accepts_pic(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;
	u32 lvt0;

	if (!a)
		return false;
	if (!apic_hw_enabled(a))
		return v->id == v->kvm->arch.bsp_vcpu_id;
	lvt0 = apic_get(a, APIC_LVT0);
	return !(lvt0 & APIC_LVT_MASKED) && ((lvt0 >> 8) & 7) == APIC_DM_EXTINT;
}

/* An error in what the guest asked for: ESR bit, and the error interrupt. */
static void error(struct x86_lapic *a, u32 bit)
{
	/* ESR is what the last write to it latched; the live bits wait beside it. */
	a->v->cpu.ev.apic_errors |= bit;
	apic_local_event(a, APIC_LVTERR);
}

/* ---- registers ---- */

static u32 read_reg(struct x86_lapic *a, u32 reg)
{
	switch (reg) {
	case APIC_TMCCT:
		return apic_timer_current(a);
	case APIC_PPR:
		return update_ppr(a);
	case APIC_APR:
	case APIC_RRD:
	case APIC_EOI:
		return 0;
	default:
		return apic_get(a, reg);
	}
}

/* The registers that exist, by offset / 16. */
static bool readable(u32 reg)
{
	static const u64 valid =
		BIT_ULL(0x2) | BIT_ULL(0x3) | BIT_ULL(0x8) | BIT_ULL(0x9) | BIT_ULL(0xa) | BIT_ULL(0xc) |
		BIT_ULL(0xd) | BIT_ULL(0xe) | BIT_ULL(0xf) | 0xffffffull << 0x10 | BIT_ULL(0x28) |
		BIT_ULL(0x30) | BIT_ULL(0x31) | 0x3full << 0x32 | BIT_ULL(0x38) | BIT_ULL(0x39) |
		BIT_ULL(0x3e);

	return reg < 0x400 && (valid & BIT_ULL(reg >> 4));
}

static void write_svr(struct x86_lapic *a, u32 val)
{
	bool was = apic_sw_enabled(a);

	apic_set(a, APIC_SVR, val & 0x1ff);
	if (was && !(val & APIC_SVR_ENABLED)) {
		for (u32 reg = APIC_LVTT; reg <= APIC_LVTERR; reg += 0x10)
			apic_set(a, reg, apic_get(a, reg) | APIC_LVT_MASKED);
		apic_timer_lvt_changed(a, apic_get(a, APIC_LVTT));
	}
	kvm_make_request(a->v, KVM_REQ_EVENT);
}

static void write_lvt(struct x86_lapic *a, u32 reg, u32 val)
{
	static const u32 writable[] = {		/* LVTT, THMR, PC, LVT0, LVT1, ERR */
		0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff,
	};
	u32 old = apic_get(a, reg);

	val &= writable[(reg - APIC_LVTT) / 0x10];
	if (!apic_sw_enabled(a))
		val |= APIC_LVT_MASKED;
	if (reg == APIC_LVTT && !x86_has(&a->v->cpu, X86_FEATURE_TSC_DEADLINE))
		val &= ~BIT(18);
	apic_set(a, reg, val);
	if (reg == APIC_LVTT)
		apic_timer_lvt_changed(a, old);
	if (reg == APIC_LVT0)
		kvm_make_request(a->v, KVM_REQ_EVENT);
}

/* False: there is no such register, or it cannot be written. */
static bool write_reg(struct x86_lapic *a, u32 reg, u32 val)
{
	bool x2 = apic_x2(&a->v->cpu);

	switch (reg) {
	case APIC_ID:
		if (x2)
			return false;
		apic_set(a, APIC_ID, val & 0xff000000);
		break;
	case APIC_TPR:
		apic_set(a, APIC_TPR, val & 0xff);
		update_ppr(a);
		kvm_make_request(a->v, KVM_REQ_EVENT);
		break;
	case APIC_EOI:
		kvm_lapic_eoi(a->v);
		break;
	case APIC_LDR:
		if (x2)
			return false;
		apic_set(a, APIC_LDR, val & 0xff000000);
		break;
	case APIC_DFR:
		if (x2)
			return false;
		apic_set(a, APIC_DFR, val | 0x0fffffff);
		break;
	case APIC_SVR:
		write_svr(a, val);
		break;
	case APIC_ESR:
		apic_set(a, APIC_ESR, a->v->cpu.ev.apic_errors);
		a->v->cpu.ev.apic_errors = 0;
		break;
	case APIC_ICR:
		val &= ~APIC_LVT_PENDING;
		apic_set(a, APIC_ICR, val);
		if (((val >> 8) & 7) == APIC_DM_FIXED && (val & 0xff) < 16)
			error(a, BIT(5));	/* illegal vector sent */
		else
			apic_send_icr(a, val, x2 ? apic_get(a, APIC_ICR2) : apic_get(a, APIC_ICR2) >> 24);
		break;
	case APIC_ICR2:
		apic_set(a, APIC_ICR2, x2 ? val : val & 0xff000000);
		break;
	case APIC_LVTT:
	case APIC_LVTTHMR:
	case APIC_LVTPC:
	case APIC_LVT0:
	case APIC_LVT1:
	case APIC_LVTERR:
		write_lvt(a, reg, val);
		break;
	case APIC_TMICT:
		if ((apic_get(a, APIC_LVTT) & APIC_LVT_TIMER_MODE) == APIC_TIMER_DEADLINE)
			break;
		apic_set(a, APIC_TMICT, val);
		apic_timer_start(a, val);
		break;
	case APIC_TDCR: {
		u32 left = apic_timer_current(a);

		apic_set(a, APIC_TDCR, val & 0xb);
		if (a->deadline)
			apic_timer_start(a, left);
		break;
	}
	case APIC_SELF_IPI:
		if (!x2)
			return false;
		apic_send_icr(a, BIT(18) | (val & 0xff), 0);
		break;
	default:
		return false;
	}
	return true;
}

/* An EOI that the guest gave by its memory takes effect before it looks at the registers. */
static void sync_pv_eoi(struct kvm_vcpu *v)
{
	if (kvm_pv_eoi_take(v))
		kvm_lapic_eoi(v);
}

static bool in_page(struct kvm_vcpu *v, u64 gpa)
{
	return ((gpa ^ v->cpu.apic_base) & 0x000ffffffffff000ull) == 0;
}

static bool mmio_mode(const struct x86_cpu *c)
{
	return (c->apic_base & (X86_APIC_BASE_ENABLE | X86_APIC_BASE_X2APIC)) == X86_APIC_BASE_ENABLE;
}

/* KVM's quirk: with the APIC off or in x2APIC mode its page is a hole, and not the VMM's, who would take a write
 * for an MSI. */
static bool is_hole(struct kvm_vcpu *v)
{
	return !(v->kvm->arch.disabled_quirks & KVM_X86_QUIRK_LAPIC_MMIO_HOLE);
}

static void note_tpr_access(struct kvm_vcpu *v, bool write)
{
	if (!v->cpu.lapic->report_tpr)
		return;
	v->cpu.ev.tpr_access_rip = v->cpu.fault_rip;
	v->cpu.ev.tpr_access_write = write;
	kvm_make_own_request(v, KVM_REQ_TPR_ACCESS);
}

int kvm_lapic_mmio_read(struct kvm_vcpu *v, u64 gpa, int len, void *val)
{
	u32 reg = gpa & 0xfff, at = reg & 0xf, word;

	if (!v->cpu.lapic || !in_page(v, gpa))
		return -EOPNOTSUPP;
	if (!mmio_mode(&v->cpu)) {
		memset(val, 0xff, len);
		return is_hole(v) ? 0 : -EOPNOTSUPP;
	}
	memset(val, 0, len);
	sync_pv_eoi(v);
	reg &= ~0xfu;
	if (!readable(reg) || at + len > 4)
		return 0;
	if (reg == APIC_TPR)
		note_tpr_access(v, false);
	word = read_reg(v->cpu.lapic, reg);
	memcpy(val, (u8 *)&word + at, len);
	return 0;
}

int kvm_lapic_mmio_write(struct kvm_vcpu *v, u64 gpa, int len, const void *val)
{
	u32 reg = gpa & 0xfff, word;

	if (!v->cpu.lapic || !in_page(v, gpa))
		return -EOPNOTSUPP;
	if (!mmio_mode(&v->cpu))
		return is_hole(v) ? 0 : -EOPNOTSUPP;
	/* Registers are written whole and aligned; the manual leaves the rest undefined. */
	if (len != 4 || (reg & 0xf))
		return 0;
	memcpy(&word, val, 4);
	sync_pv_eoi(v);
	if (reg == APIC_TPR)
		note_tpr_access(v, true);
	if (reg != APIC_SELF_IPI)
		write_reg(v->cpu.lapic, reg, word);
	return 0;
}

/* ---- the TPR in the guest's memory ---- */

void kvm_lapic_report_tpr(struct kvm_vcpu *v, bool on)
{
	v->cpu.lapic->report_tpr = on;
}

int kvm_lapic_set_vapic(struct kvm_vcpu *v, u64 gpa)
{
	u32 word;

	if (gpa && kvm_read_guest(v, gpa, &word, sizeof(word)))
		return -EINVAL;
	v->cpu.lapic->vapic_gpa = gpa;
	return 0;
}

void kvm_lapic_from_vapic(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;
	u32 word;

	if (a->vapic_gpa && !kvm_read_guest(v, a->vapic_gpa, &word, sizeof(word)))
		apic_set(a, APIC_TPR, word & 0xff);
}

/* TPR, then the classes of what is in service and the vector that waits. */
void kvm_lapic_to_vapic(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;
	int irr, isr;
	u32 word;

	if (!a->vapic_gpa)
		return;
	irr = max(highest(a, APIC_IRR), 0);
	isr = max(highest(a, APIC_ISR), 0);
	word = (apic_get(a, APIC_TPR) & 0xff) | (isr & 0xf0) << 8 | (u32)irr << 24;
	kvm_write_guest(v, a->vapic_gpa, &word, sizeof(word));
}

/* ---- x2APIC MSRs ---- */

int kvm_lapic_msr_read(struct kvm_vcpu *v, u32 msr, u64 *val)
{
	struct x86_lapic *a = v->cpu.lapic;
	u32 reg = (msr - 0x800) << 4;

	if (!a || !apic_x2(&v->cpu))
		return 1;
	sync_pv_eoi(v);
	if (reg == APIC_ICR) {
		*val = apic_get(a, APIC_ICR) | (u64)apic_get(a, APIC_ICR2) << 32;
		return 0;
	}
	if (!readable(reg) || reg == APIC_DFR || reg == APIC_ICR2 || reg == APIC_APR || reg == APIC_RRD)
		return 1;
	*val = read_reg(a, reg);
	return 0;
}

int kvm_lapic_msr_write(struct kvm_vcpu *v, u32 msr, u64 val)
{
	struct x86_lapic *a = v->cpu.lapic;
	u32 reg = (msr - 0x800) << 4;

	if (!a || !apic_x2(&v->cpu))
		return 1;
	sync_pv_eoi(v);
	if (reg == APIC_ICR) {
		apic_set(a, APIC_ICR2, val >> 32);
		return !write_reg(a, APIC_ICR, val);
	}
	if (val >> 32)
		return 1;
	switch (reg) {
	case APIC_ICR2:
	case APIC_DFR:
		return 1;
	case APIC_EOI:
	case APIC_ESR:
		if (val)
			return 1;
		break;
	case APIC_TPR:
	case APIC_SELF_IPI:
		if (val > 0xff)
			return 1;
		break;
	}
	return !write_reg(a, reg, val);
}

/* ---- Hyper-V's MSRs ---- */

int kvm_lapic_hv_read(struct kvm_vcpu *v, u32 reg, u64 *val)
{
	struct x86_lapic *a = v->cpu.lapic;

	if (!a)
		return 1;
	sync_pv_eoi(v);
	*val = read_reg(a, reg);
	if (reg == APIC_ICR)
		*val |= (u64)apic_get(a, APIC_ICR2) << 32;
	return 0;
}

int kvm_lapic_hv_write(struct kvm_vcpu *v, u32 reg, u64 val)
{
	struct x86_lapic *a = v->cpu.lapic;

	if (!a || (reg != APIC_ICR && val >> 32))
		return 1;
	sync_pv_eoi(v);
	if (reg == APIC_ICR)
		write_reg(a, APIC_ICR2, val >> 32);
	return !write_reg(a, reg, val);
}

/* ---- IA32_APIC_BASE ---- */

/* In x2APIC mode the logical id follows from the id: cluster and position. */
static void set_x2apic_id(struct x86_lapic *a)
{
	u32 id = a->v->id;

	apic_set(a, APIC_ID, id);
	apic_set(a, APIC_LDR, (id >> 4) << 16 | BIT(id & 0xf));
}

int kvm_lapic_set_base(struct kvm_vcpu *v, u64 val, bool host)
{
	struct x86_cpu *c = &v->cpu;
	struct x86_lapic *a = c->lapic;
	u64 mode = X86_APIC_BASE_ENABLE | X86_APIC_BASE_X2APIC;
	u64 reserved = ~(BIT_ULL(c->phys_bits) - 1) | 0x2ff;
	u64 from = c->apic_base & mode, to = val & mode;

	if (!x86_has(c, X86_FEATURE_X2APIC))
		reserved |= X86_APIC_BASE_X2APIC;
	if ((val & reserved) || to == X86_APIC_BASE_X2APIC)
		return 1;
	if (!host) {
		/* SDM volume 3, figure 11-27: x2APIC is entered from xAPIC and left by disabling. */
		if (from == mode && to == X86_APIC_BASE_ENABLE)
			return 1;
		if (from == 0 && to == mode)
			return 1;
	}
	c->apic_base = val;
	if (!a)
		return 0;
	if (from != to) {
		if (to == mode) {
			set_x2apic_id(a);
		} else if (from == mode || !to) {
			if (!to) {
				apic_timer_stop(a);
				apic_set(a, APIC_SVR, 0xff);
			}
			apic_set(a, APIC_ID, v->id << 24);
			apic_set(a, APIC_LDR, 0);
		}
		kvm_make_request(v, KVM_REQ_EVENT);
	}
	return 0;
}

u8 kvm_lapic_get_cr8(struct kvm_vcpu *v)
{
	return (apic_get(v->cpu.lapic, APIC_TPR) & 0xf0) >> 4;
}

void kvm_lapic_set_cr8(struct kvm_vcpu *v, u8 tpr)
{
	apic_set(v->cpu.lapic, APIC_TPR, tpr << 4 | (apic_get(v->cpu.lapic, APIC_TPR) & 4));
	update_ppr(v->cpu.lapic);
	kvm_make_request(v, KVM_REQ_EVENT);
}

/* ---- life ---- */

int kvm_lapic_create(struct kvm_vcpu *v)
{
	struct x86_lapic *a = os_alloc(sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->v = v;
	apic_timer_init(a);
	v->cpu.lapic = a;
	kvm_lapic_reset(v, false);
	return 0;
}

void kvm_lapic_destroy(struct kvm_vcpu *v)
{
	struct x86_lapic *a = v->cpu.lapic;

	if (!a)
		return;
	os_timer_destroy(&a->timer);
	v->cpu.lapic = NULL;
	os_free(a);
}

/* SDM volume 3, 11.4.7.1 and 11.4.7.3: INIT keeps the APIC base and the id. */
void kvm_lapic_reset(struct kvm_vcpu *v, bool init)
{
	struct x86_lapic *a = v->cpu.lapic;
	bool bsp = v->id == v->kvm->arch.bsp_vcpu_id;

	apic_timer_stop(a);
	if (!init)
		v->cpu.apic_base = 0xfee00000ull | X86_APIC_BASE_ENABLE | (bsp ? X86_APIC_BASE_BSP : 0);
	for (u32 reg = 0; reg < sizeof(a->regs); reg += 0x10)
		if (reg != APIC_ID || !init)
			apic_set(a, reg, 0);
	apic_set(a, APIC_LVR, 0x14 | 5 << 16);		/* version, six LVT entries */
	apic_set(a, APIC_SVR, 0xff);
	apic_set(a, APIC_DFR, ~0u);
	for (u32 reg = APIC_LVTT; reg <= APIC_LVTERR; reg += 0x10)
		apic_set(a, reg, APIC_LVT_MASKED);
	/* What firmware would have done: the PIC's output reaches the boot processor. */
	if (bsp)
		apic_set(a, APIC_LVT0, APIC_DM_EXTINT << 8);
	v->cpu.ev.apic_errors = 0;
	if (apic_x2(&v->cpu))
		set_x2apic_id(a);
	else if (!init)
		apic_set(a, APIC_ID, v->id << 24);
	update_ppr(a);
}

void kvm_lapic_get_state(struct kvm_vcpu *v, struct kvm_lapic_state *s)
{
	struct x86_lapic *a = v->cpu.lapic;

	if (kvm_pv_eoi_take(v))
		kvm_lapic_eoi(v);
	apic_set(a, APIC_TMCCT, apic_timer_current(a));
	update_ppr(a);
	/* Interrupts may arrive meanwhile: register by register. */
	for (u32 reg = 0; reg < sizeof(a->regs); reg += 4)
		*(u32 *)(s->regs + reg) = apic_get(a, reg);
	apic_set(a, APIC_TMCCT, 0);
	/* Without KVM_X2APIC_API_USE_32BIT_IDS the id is told as an xAPIC's. */
	if (apic_x2(&v->cpu) && !v->kvm->arch.x2apic_format)
		*(u32 *)(s->regs + APIC_ID) <<= 24;
}

int kvm_lapic_set_state(struct kvm_vcpu *v, const struct kvm_lapic_state *s)
{
	struct x86_lapic *a = v->cpu.lapic;
	u32 left;

	if (apic_x2(&v->cpu)) {
		u32 id = *(const u32 *)(s->regs + APIC_ID);

		if (v->kvm->arch.x2apic_format ? id != v->id : id >> 24 != (v->id & 0xff))
			return -EINVAL;
	}
	apic_timer_stop(a);
	for (u32 reg = 0; reg < sizeof(a->regs); reg += 4)
		apic_set(a, reg, *(const u32 *)(s->regs + reg));
	left = apic_get(a, APIC_TMCCT);
	apic_set(a, APIC_TMCCT, 0);
	apic_set(a, APIC_LVR, 0x14 | 5 << 16);
	if (apic_x2(&v->cpu))
		set_x2apic_id(a);
	if ((apic_get(a, APIC_LVTT) & APIC_LVT_TIMER_MODE) == APIC_TIMER_DEADLINE)
		kvm_lapic_set_tsc_deadline(v, a->tsc_deadline);
	else if (left)
		apic_timer_start(a, left);
	update_ppr(a);
	kvm_make_request(v, KVM_REQ_EVENT);
	return 0;
}
