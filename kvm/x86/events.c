// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events and when they are taken (SDM volume 3, 6.9 and 10; KVM's api.rst on VCPU_EVENTS, MP_STATE and
 * SET_GUEST_DEBUG). Delivery itself is exception.c's.
 */
#include "kvm/x86/events.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/mem.h"
#include "kvm/x86/state.h"

/* ---- requests ---- */

static void drop_stale_code(struct kvm_vcpu *v)
{
	const u8 *pages[KVM_STALE_CODE_MAX];
	u32 n;

	os_mutex_lock(&v->stale_lock);
	n = v->nr_stale;
	memcpy(pages, v->stale_code, sizeof(pages));
	v->nr_stale = 0;
	os_mutex_unlock(&v->stale_lock);
	if (n > KVM_STALE_CODE_MAX) {
		v->kvm->ops->drop_code(v, NULL);
		return;
	}
	for (u32 i = 0; i < n; i++)
		v->kvm->ops->drop_code(v, pages[i]);
}

/* Pages that code is being made from: the next write to one has to be noticed. */
static void protect_code_pages(struct kvm_vcpu *v)
{
	const u8 *pages[KVM_STALE_CODE_MAX];
	u32 n;

	os_mutex_lock(&v->stale_lock);
	n = v->nr_code_pages;
	memcpy(pages, v->code_pages, sizeof(pages));
	v->nr_code_pages = 0;
	os_mutex_unlock(&v->stale_lock);
	if (n > KVM_STALE_CODE_MAX) {
		x86_tlb_drop_writes(&v->cpu);
		return;
	}
	for (u32 i = 0; i < n; i++)
		x86_tlb_drop_host_writes(&v->cpu, pages[i]);
}

void x86_serve_requests(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;

	if (kvm_check_request(v, KVM_REQ_SLOTS)) {
		/* Host addresses may mean something else now. */
		kvm_vcpu_reload_slots(v);
		v->kvm->ops->drop_code(v, NULL);
		x86_tlb_flush_all(c);
	}
	if (kvm_check_request(v, KVM_REQ_TLB_FLUSH))
		x86_tlb_flush_all(c);
	if (kvm_check_request(v, KVM_REQ_TLB_WRITES))
		x86_tlb_drop_writes(c);
	if (kvm_check_request(v, KVM_REQ_CODE_PAGES))
		protect_code_pages(v);
	if (kvm_check_request(v, KVM_REQ_CODE))
		drop_stale_code(v);
	if (kvm_check_request(v, KVM_REQ_TIMER) && c->lapic)
		kvm_lapic_run_timer(v);
	if (kvm_check_request(v, KVM_REQ_MASTERCLOCK) || kvm_check_request(v, KVM_REQ_CLOCK_UPDATE)) {
		kvm_pv_update_clock(v);
		kvm_hv_update_tsc_page(v);
		kvm_hv_run_stimers(v);
	}
	if (kvm_check_request(v, KVM_REQ_HV_STIMER))
		kvm_hv_run_stimers(v);
	if (kvm_check_request(v, KVM_REQ_STEAL_UPDATE))
		kvm_pv_update_steal(v);
	if (kvm_check_request(v, KVM_REQ_SMI))
		c->ev.smi_pending = true;
	if (kvm_check_request(v, KVM_REQ_TRIPLE_FAULT))
		c->ev.triple_fault = true;
	kvm_check_request(v, KVM_REQ_EVENT);
	kvm_check_request(v, KVM_REQ_UNHALT);
}

static void init_vcpu(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;

	x86_reset(c, true);
	kvm_pv_reset(v);
	if (c->lapic)
		kvm_lapic_reset(v, true);
	c->halted = false;
	x86_io_begin(c);
}

void x86_shut_down(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;

	/* Under KVM on AMD's processors the state is lost then, and the vCPU as after INIT; on Intel's it stays. */
	if (c->ev.shutdown && c->vendor == X86_VENDOR_AMD)
		init_vcpu(v);
	c->ev.shutdown = false;
}

void x86_accept_reset_signals(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;

	/* INIT waits for RSM; SIPI is for one who waits for it. */
	if (c->ev.smm) {
		store_release(&c->ev.sipi_pending, false);
		return;
	}
	if (atomic_xchg(&c->ev.init_pending, false)) {
		init_vcpu(v);
		c->mp_state = c->apic_base & X86_APIC_BASE_BSP ? KVM_MP_STATE_RUNNABLE
							       : KVM_MP_STATE_INIT_RECEIVED;
	}
	if (atomic_xchg(&c->ev.sipi_pending, false) && c->mp_state == KVM_MP_STATE_INIT_RECEIVED) {
		struct x86_segment *cs = &c->seg[X86_SEG_CS];
		u8 vector = READ_ONCE(c->ev.sipi_vector);

		cs->sel = vector << 8;
		cs->base = (u64)vector << 12;
		c_rip(c) = 0;
		x86_update_mode(c);
		c->mp_state = KVM_MP_STATE_RUNNABLE;
	}
}

/* ---- what may be taken now ---- */

/* KVM_GUESTDBG_BLOCKIRQ: a debugger that steps does not want to end up in handlers. */
static bool blocked_by_debugger(const struct x86_cpu *c)
{
	return c->debug.control & KVM_GUESTDBG_BLOCKIRQ;
}

static bool interrupts_open(const struct x86_cpu *c)
{
	return (c->rflags & X86_RFLAGS_IF) && !c->int_shadow && !blocked_by_debugger(c);
}

static bool nmi_open(const struct x86_cpu *c)
{
	return !c->ev.nmi_masked && !c->int_shadow && !blocked_by_debugger(c);
}

/* In a shadow an SMI waits too, as it may: saved, the shadow would be lost. */
static bool smi_open(const struct x86_cpu *c)
{
	return !c->ev.smm && !c->int_shadow && !blocked_by_debugger(c);
}

/* Would an interrupt from the VMM's PIC (KVM_INTERRUPT) be taken at once? */
static bool ready_for_injection(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;

	return interrupts_open(c) && !c->ev.interrupt_injected && !c->ev.extint_pending &&
	       !c->ev.exception_pending && !c->io.nr_reads &&
	       (!c->lapic || kvm_lapic_accepts_pic(v));
}

void x86_queue_nmi(struct kvm_vcpu *v)
{
	atomic_add(&v->cpu.ev.nmi_queued, 1);
	kvm_make_request(v, KVM_REQ_EVENT);
}

/*
 * What was sent becomes pending. A processor remembers one NMI beside the one that it handles: so two that
 * come at once are both taken, while of those that come during a handler one is (SDM volume 3, 6.7.1).
 */
static u32 collect_nmis(struct x86_cpu *c)
{
	u32 queued = READ_ONCE(c->ev.nmi_queued) ? atomic_xchg(&c->ev.nmi_queued, 0) : 0;

	if (queued)
		c->ev.nmi_pending = min(c->ev.nmi_pending + min(queued, 2u), c->ev.nmi_masked ? 1u : 2u);
	return c->ev.nmi_pending;
}

bool x86_wakes(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;

	if (c->ev.exception_pending || c->ev.triple_fault || c->ev.interrupt_injected)
		return true;
	if ((READ_ONCE(v->requests) & BIT(KVM_REQ_SMI)) || (c->ev.smi_pending && !c->ev.smm))
		return true;
	if (collect_nmis(c) && !c->ev.nmi_masked)
		return true;
	return (c->rflags & X86_RFLAGS_IF) && kvm_has_interrupt(v);
}

/* A delivery's result as x86_inject_events's. A triple fault is the core's to turn into an exit. */
static int delivered(struct x86_cpu *c, int r)
{
	int error = c->run_error;

	if (r == X86_OK || c->ev.triple_fault)
		return 0;
	c->run_error = 0;
	return error ? error : KVM_RUN_USER;
}

int x86_inject_events(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	struct kvm_run *run = v->run;
	bool in_user = v->kvm->arch.irqchip_mode == KVM_IRQCHIP_NONE, smi, nmi, intr;
	bool wants_window = v->kvm->arch.irqchip_mode != KVM_IRQCHIP_KERNEL;
	int r = 0;

	if (c->ev.triple_fault)
		return 0;	/* nothing comes behind it */
	collect_nmis(c);
	c->event_waiting = false;
	if (c->lapic) {
		kvm_lapic_from_vapic(v);
		if (kvm_pv_eoi_take(v))
			kvm_lapic_eoi(v);
	}
	/* An instruction that waits for the VMM's answer goes first: it was begun. What else waits is looked at
	 * again right behind it. */
	if (c->io.nr_reads) {
		if (c->ev.exception_pending || c->ev.interrupt_injected || c->ev.smi_pending || c->ev.nmi_pending ||
		    (!in_user && kvm_has_interrupt(v)) ||
		    (wants_window && READ_ONCE(run->request_interrupt_window)))
			atomic_or(&c->attention, X86_ATTN_EVENT);
		return 0;
	}
	if (c->ev.exception_pending) {
		c->ev.exception_pending = false;
		c->fault = c->ev.exception;
		r = delivered(c, x86_deliver_fault(c));
	} else if (c->ev.interrupt_injected) {
		c->ev.interrupt_injected = false;
		r = delivered(c, x86_deliver_interrupt(c, c->ev.interrupt_vector));
	} else if (c->ev.smi_pending && smi_open(c)) {
		c->ev.smi_pending = false;
		x86_enter_smm(c);
	} else if (c->ev.nmi_pending && nmi_open(c)) {
		c->ev.nmi_pending--;
		kvm_count(v, KVM_STAT_NMI_INJECTIONS);
		c->ev.nmi_masked = true;
		r = delivered(c, x86_deliver_interrupt(c, X86_NMI));
	} else if (!in_user && kvm_has_interrupt(v) && interrupts_open(c)) {
		int vector = kvm_take_interrupt(v);

		if (vector >= 0) {
			kvm_count(v, KVM_STAT_IRQ_INJECTIONS);
			r = delivered(c, x86_deliver_interrupt(c, vector));
			kvm_pv_eoi_arm(v);
		}
	}
	if (c->lapic)
		kvm_lapic_to_vapic(v);
	if (r || c->ev.triple_fault)
		return r;

	/* What is left waits for IF, for IRET or RSM, or for the end of the shadow: one instruction. */
	smi = c->ev.smi_pending && !c->ev.smm;
	nmi = c->ev.nmi_pending;
	intr = !in_user && kvm_has_interrupt(v);
	c->event_waiting = smi || nmi || intr;
	if ((smi && smi_open(c)) || (nmi && nmi_open(c)) || (intr && interrupts_open(c)) || (c->event_waiting && c->int_shadow))
		atomic_or(&c->attention, X86_ATTN_EVENT);
	if (wants_window && READ_ONCE(run->request_interrupt_window)) {
		if (ready_for_injection(v)) {
			run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			return KVM_RUN_USER;
		}
		c->event_waiting = true;
		if (c->int_shadow)
			atomic_or(&c->attention, X86_ATTN_EVENT);
	}
	return 0;
}

/* KVM_CAP_SYNC_REGS: what the VMM changed in kvm_run, which others may be writing to: copied first. */
static __noinline int load_sregs(struct kvm_vcpu *v)
{
	struct kvm_sregs sregs = v->run->s.regs.sregs;

	return x86_set_sregs(&v->cpu, &sregs);
}

static int load_dirty_regs(struct kvm_vcpu *v)
{
	struct kvm_run *run = v->run;
	u64 dirty = READ_ONCE(run->kvm_dirty_regs);
	int r = 0;

	if ((dirty | READ_ONCE(run->kvm_valid_regs)) & ~(u64)KVM_SYNC_X86_VALID_FIELDS)
		return -EINVAL;
	if (likely(!dirty))
		return 0;
	kvm_vcpu_enter(v);
	if (dirty & KVM_SYNC_X86_REGS) {
		struct kvm_regs regs = run->s.regs.regs;

		x86_set_regs(&v->cpu, &regs);
		run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_REGS;
	}
	if (dirty & KVM_SYNC_X86_SREGS) {
		r = load_sregs(v);
		if (!r)
			run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_SREGS;
	}
	if (!r && (dirty & KVM_SYNC_X86_EVENTS)) {
		struct kvm_vcpu_events events = run->s.regs.events;

		r = kvm_x86_set_vcpu_events(v, &events);
		if (!r)
			run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_EVENTS;
	}
	kvm_vcpu_leave(v);
	return r;
}

static void store_valid_regs(struct kvm_vcpu *v)
{
	struct kvm_run *run = v->run;
	u64 valid = READ_ONCE(run->kvm_valid_regs);

	if (valid & KVM_SYNC_X86_REGS)
		x86_get_regs(&v->cpu, &run->s.regs.regs);
	if (valid & KVM_SYNC_X86_SREGS)
		x86_get_sregs(&v->cpu, &run->s.regs.sregs);
	if (valid & KVM_SYNC_X86_EVENTS)
		kvm_x86_get_vcpu_events(v, &run->s.regs.events);
}

int x86_run_begin(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	int r = load_dirty_regs(v);

	if (r)
		return r;
	kvm_pv_run_begin(v);
	kvm_hv_run_begin(v);
	/* With the local APIC in the VMM, CR8 passes through kvm_run. */
	if (!c->lapic && x86_set_cr8(c, READ_ONCE(v->run->cr8)))
		return -EINVAL;
	return 0;
}

void x86_run_end(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	struct kvm_run *run = v->run;

	if (unlikely(READ_ONCE(run->kvm_valid_regs)))
		store_valid_regs(v);
	run->if_flag = !!(c->rflags & X86_RFLAGS_IF);
	run->cr8 = c->lapic ? kvm_lapic_get_cr8(v) : c->cr8;
	run->apic_base = c->apic_base;
	run->flags = c->ev.smm ? KVM_RUN_X86_SMM : 0;
	run->ready_for_interrupt_injection =
		v->kvm->arch.irqchip_mode == KVM_IRQCHIP_KERNEL || ready_for_injection(v);
}

/* ---- debugging by the VMM ---- */

bool x86_debug_intercepts(const struct x86_cpu *c, u8 vector)
{
	if (likely(!c->debug.control))
		return false;
	if (vector == X86_BP)
		return c->debug.control & KVM_GUESTDBG_USE_SW_BP;
	if (vector == X86_DB)
		return c->debug.control & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP);
	return false;
}

void x86_debug_exit(struct x86_cpu *c, u8 vector, u64 dr6_bits, u64 pc)
{
	struct kvm_run *run = c->vcpu->run;

	run->exit_reason = KVM_EXIT_DEBUG;
	run->debug.arch.exception = vector;
	run->debug.arch.pad = 0;
	run->debug.arch.pc = pc;
	run->debug.arch.dr6 = vector == X86_DB ? X86_DR6_FIXED | dr6_bits : 0;
	run->debug.arch.dr7 = c->debug.control & KVM_GUESTDBG_USE_HW_BP ? c->debug.dr7 : c->dr7;
}

u64 x86_code_breakpoints(const struct x86_cpu *c, u64 lin)
{
	bool host = c->debug.control & KVM_GUESTDBG_USE_HW_BP;
	u64 dr7 = host ? c->debug.dr7 : c->dr7;
	const u64 *dr = host ? c->debug.dr : c->dr;
	u64 hits = 0;

	for (int i = 0; i < 4; i++)
		if ((dr7 & (3ull << (i * 2))) && !(dr7 & (3ull << (16 + i * 4))) && dr[i] == lin)
			hits |= BIT(i);
	return hits;
}

int kvm_x86_set_guest_debug(struct kvm_vcpu *v, const struct kvm_guest_debug *d)
{
	struct x86_cpu *c = &v->cpu;

	if (d->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
		if (c->ev.exception_pending)
			return -EBUSY;
		c->ev.exception = (struct x86_fault){
			.vector = d->control & KVM_GUESTDBG_INJECT_DB ? X86_DB : X86_BP };
		c->ev.exception_pending = true;
	}
	c->debug.control = d->control;
	if (!(d->control & KVM_GUESTDBG_ENABLE))
		c->debug.control = 0;
	for (int i = 0; i < 4; i++)
		c->debug.dr[i] = d->arch.debugreg[i];
	c->debug.dr7 = d->arch.debugreg[7];
	x86_mmu_access_mode(c);
	return 0;
}

/* ---- the API's ---- */

int kvm_x86_interrupt(struct kvm_vcpu *v, u32 irq)
{
	struct x86_cpu *c = &v->cpu;

	if (irq >= 256)
		return -EINVAL;
	if (v->kvm->arch.irqchip_mode == KVM_IRQCHIP_KERNEL)
		return -ENXIO;
	if (v->kvm->arch.irqchip_mode == KVM_IRQCHIP_SPLIT) {
		/* An ExtINT from the VMM's PIC, to be fetched through LINT0. */
		if (c->ev.extint_pending)
			return -EEXIST;
		c->ev.extint_vector = irq;
		c->ev.extint_pending = true;
	} else {
		c->ev.interrupt_injected = true;
		c->ev.interrupt_soft = false;
		c->ev.interrupt_vector = irq;
	}
	kvm_make_request(v, KVM_REQ_EVENT);
	return 0;
}

int kvm_x86_nmi(struct kvm_vcpu *v)
{
	x86_queue_nmi(v);
	return 0;
}

int kvm_x86_smi(struct kvm_vcpu *v)
{
	kvm_make_request(v, KVM_REQ_SMI);
	return 0;
}

int kvm_x86_get_vcpu_events(struct kvm_vcpu *v, struct kvm_vcpu_events *e)
{
	struct x86_cpu *c = &v->cpu;
	const struct x86_fault *f = &c->ev.exception;
	bool payload = v->kvm->arch.exception_payload;

	if (kvm_check_request(v, KVM_REQ_SMI))
		c->ev.smi_pending = true;
	memset(e, 0, sizeof(*e));
	if (c->ev.exception_pending) {
		/* Without the payload capability a pending exception looks already injected, and what it would put
		 * in CR2 or DR6 goes there now. */
		e->exception.injected = !payload;
		e->exception.pending = payload;
		e->exception.nr = f->vector;
		e->exception.has_error_code = f->has_error;
		e->exception.error_code = f->error;
		if (payload && (f->vector == X86_PF || f->vector == X86_DB)) {
			e->exception_has_payload = 1;
			e->exception_payload = f->payload;
		}
	}
	e->interrupt.injected = c->ev.interrupt_injected && !c->ev.interrupt_soft;
	e->interrupt.nr = c->ev.interrupt_vector;
	e->interrupt.soft = 0;
	e->interrupt.shadow = c->int_shadow == X86_SHADOW_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS :
			      c->int_shadow == X86_SHADOW_STI ? KVM_X86_SHADOW_INT_STI : 0;
	e->nmi.pending = collect_nmis(c) != 0;
	e->nmi.masked = c->ev.nmi_masked;
	e->sipi_vector = READ_ONCE(c->ev.sipi_vector);
	e->smi.smm = c->ev.smm;
	e->smi.pending = c->ev.smi_pending;
	e->smi.smm_inside_nmi = c->ev.smm_inside_nmi;
	e->smi.latched_init = c->lapic && load_acquire(&c->ev.init_pending);
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM;
	if (v->kvm->arch.triple_fault_event) {
		e->triple_fault.pending = c->ev.triple_fault ||
					  (READ_ONCE(v->requests) & BIT(KVM_REQ_TRIPLE_FAULT));
		e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	}
	if (payload)
		e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	return 0;
}

int kvm_x86_set_vcpu_events(struct kvm_vcpu *v, const struct kvm_vcpu_events *e)
{
	struct x86_cpu *c = &v->cpu;
	bool payload = v->kvm->arch.exception_payload;

	if (e->flags & ~(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			 KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM |
			 KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT))
		return -EINVAL;
	if ((e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && !payload)
		return -EINVAL;
	if ((e->exception.injected || e->exception.pending) &&
	    (e->exception.nr > 31 || e->exception.nr == X86_NMI))
		return -EINVAL;
	/* INIT waits while in system management mode: it is not received. */
	if ((e->flags & KVM_VCPUEVENT_VALID_SMM) && (e->smi.smm || e->smi.pending) &&
	    c->mp_state == KVM_MP_STATE_INIT_RECEIVED)
		return -EINVAL;
	if ((e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && !v->kvm->arch.triple_fault_event)
		return -EINVAL;

	c->ev.exception_pending = e->exception.injected ||
				  ((e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && e->exception.pending);
	c->ev.exception = (struct x86_fault){
		.vector = e->exception.nr,
		.has_error = e->exception.has_error_code,
		.error = e->exception.error_code,
		/* Delivery stores the payload in CR2: an injected fault's is there already. */
		.payload = (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && e->exception_has_payload ?
			e->exception_payload : e->exception.nr == X86_PF ? c->cr2 : 0,
	};
	c->ev.interrupt_injected = e->interrupt.injected;
	c->ev.interrupt_vector = e->interrupt.nr;
	c->ev.interrupt_soft = e->interrupt.soft;
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW)
		c->int_shadow = e->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? X86_SHADOW_MOV_SS :
				e->interrupt.shadow & KVM_X86_SHADOW_INT_STI ? X86_SHADOW_STI : 0;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		c->ev.nmi_pending = !!e->nmi.pending;
	c->ev.nmi_masked = e->nmi.masked;
	if ((e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR) && c->lapic)
		WRITE_ONCE(c->ev.sipi_vector, e->sipi_vector);
	if (e->flags & KVM_VCPUEVENT_VALID_SMM) {
		if (c->ev.smm != !!e->smi.smm) {
			x86_smm_changed(c, e->smi.smm);
			x86_mmu_reconfigure(c);
		}
		c->ev.smi_pending = e->smi.pending;
		c->ev.smm_inside_nmi = e->smi.smm && e->smi.smm_inside_nmi;
		if (c->lapic)
			store_release(&c->ev.init_pending, (bool)e->smi.latched_init);
	}
	if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) {
		kvm_check_request(v, KVM_REQ_TRIPLE_FAULT);
		c->ev.triple_fault = e->triple_fault.pending;
	}
	kvm_make_request(v, KVM_REQ_EVENT);
	return 0;
}

int kvm_x86_get_mp_state(struct kvm_vcpu *v, struct kvm_mp_state *s)
{
	struct x86_cpu *c = &v->cpu;

	x86_accept_reset_signals(v);
	s->mp_state = c->mp_state;
	return 0;
}

int kvm_x86_set_mp_state(struct kvm_vcpu *v, const struct kvm_mp_state *s)
{
	struct x86_cpu *c = &v->cpu;

	switch (s->mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_SIPI_RECEIVED:
	case KVM_MP_STATE_HALTED:
		/* Only a local APIC of ours can end these. */
		if (!c->lapic)
			return -EINVAL;
		/* Where INIT waits, it has not been taken. */
		if ((c->ev.smm || c->ev.smi_pending) && (s->mp_state == KVM_MP_STATE_INIT_RECEIVED ||
							 s->mp_state == KVM_MP_STATE_SIPI_RECEIVED))
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (s->mp_state == KVM_MP_STATE_SIPI_RECEIVED) {
		c->mp_state = KVM_MP_STATE_INIT_RECEIVED;
		store_release(&c->ev.sipi_pending, true);
	} else {
		c->mp_state = s->mp_state;
	}
	kvm_make_request(v, KVM_REQ_EVENT);
	return 0;
}

int kvm_x86_translate(struct kvm_vcpu *v, struct kvm_translation *t)
{
	struct x86_walk w;
	bool ok;

	kvm_vcpu_enter(v);
	x86_serve_requests(v);
	ok = x86_walk(&v->cpu, t->linear_address, 0, false, &w) == X86_OK;
	kvm_vcpu_leave(v);
	t->physical_address = ok ? w.gpa : ~0ull;
	t->valid = ok;
	t->writeable = 1;	/* what Linux answers */
	t->usermode = 0;
	return 0;
}

int kvm_x86_vcpu_init(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	int r;

	c->vcpu = v;
	c->stop = &v->run->immediate_exit;
	r = x86_mmu_init(c);
	if (r)
		return r;
	r = kvm_hv_init_vcpu(v);
	if (r)
		goto out;
	r = x86_msr_init(c);
	if (r)
		goto out;
	r = kvm_pv_init(v);
	if (r)
		goto out;
	if (v->kvm->arch.irqchip_mode != KVM_IRQCHIP_NONE) {
		r = kvm_lapic_create(v);
		if (r)
			goto out;
	}
	c->mp_state = v->id == v->kvm->arch.bsp_vcpu_id || v->kvm->arch.irqchip_mode == KVM_IRQCHIP_NONE ?
		KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED;
	x86_reset(c, false);
	return 0;
out:
	kvm_x86_vcpu_free(v);
	return r;
}

void kvm_x86_vcpu_free(struct kvm_vcpu *v)
{
	kvm_lapic_destroy(v);
	kvm_pv_free(v);
	kvm_hv_free_vcpu(v);
	x86_msr_free(&v->cpu);
	x86_mmu_free(&v->cpu);
	os_free(v->cpu.cpuid);
	v->cpu.cpuid = NULL;
}
