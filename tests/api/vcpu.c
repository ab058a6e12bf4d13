/* SPDX-License-Identifier: GPL-2.0-only */
/* A vCPU's state with values that no processor has, its lists with bad counts, and KVM_RUN in wrong
 * states. */
#include "api.h"

#include <string.h>
#include <sys/mman.h>

#define CR0_PE	1ull
#define CR0_NW	(1ull << 29)
#define CR0_CD	(1ull << 30)
#define CR0_PG	(1ull << 31)
#define CR4_PAE	(1ull << 5)
#define EFER_LME	(1ull << 8)
#define EFER_LMA	(1ull << 10)

static void create(void)
{
	struct machine m = machine(0);
	int ids = cap(m.vm, KVM_CAP_MAX_VCPU_ID);

	GIVES(call_n(m.vm, KVM_CREATE_VCPU, 0), -EEXIST);
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, ids), -EINVAL);
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, 0x7fffffff), -EINVAL);
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, 0xffffffff), -EINVAL);
	HOLDS(call_n(m.vm, KVM_CREATE_VCPU, ids - 1) >= 0);
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, ids - 1), -EEXIST);
	DIFFERS(call_n(m.vm, KVM_CREATE_VCPU, 1ul << 32) == -EINVAL, 0, 1,
		"Linux 6.1 ignores the upper half of the id; later kernels refuse it as we do");
	GIVES(call_n(m.vm, KVM_SET_BOOT_CPU_ID, 0), -EBUSY);
}

static void max_id(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	int ids = cap(m.vm, KVM_CAP_MAX_VCPU_ID);

	GIVES(enable(m.vm, KVM_CAP_MAX_VCPU_ID, 0, ids + 1), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_MAX_VCPU_ID, 0, 0), 0);	/* as it was */
	GIVES(enable(m.vm, KVM_CAP_MAX_VCPU_ID, 0, 4), 0);
	GIVES(enable(m.vm, KVM_CAP_MAX_VCPU_ID, 0, 5), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_MAX_VCPU_ID, 0, 0), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_MAX_VCPU_ID, 0, 4), 0);
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, 4), -EINVAL);
	HOLDS(call_n(m.vm, KVM_CREATE_VCPU, 3) >= 0);
}

static void sregs(void)
{
	struct machine m = machine(0);
	struct kvm_sregs good, s;

	must(m.vcpu, KVM_GET_SREGS, &good);
	GIVES(call(m.vcpu, KVM_SET_SREGS, &good), 0);
#define WITH(what, want)	\
	(s = good, what, GIVES_FOR(#what, call(m.vcpu, KVM_SET_SREGS, &s), want))
	/* Long mode by halves. */
	WITH(s.efer = EFER_LMA, -EINVAL);
	WITH(s.efer = EFER_LME | EFER_LMA, -EINVAL);
	WITH((s.efer = EFER_LME, s.cr0 |= CR0_PG | CR0_PE), -EINVAL);
	WITH((s.efer = EFER_LME | EFER_LMA, s.cr0 |= CR0_PG | CR0_PE), -EINVAL);
	WITH((s.efer = EFER_LME, s.cr0 |= CR0_PG | CR0_PE, s.cr4 = CR4_PAE), -EINVAL);
	WITH(s.cs.l = 1, -EINVAL);
	WITH((s.efer = EFER_LME | EFER_LMA, s.cr0 |= CR0_PG | CR0_PE, s.cr4 = CR4_PAE,
	      s.cr3 = 1ull << 60), -EINVAL);
	/* CR0 that no processor takes. */
	WITH(s.cr0 = CR0_PG, -EINVAL);
	WITH(s.cr0 = CR0_NW, -EINVAL);
	WITH(s.cr0 = 1ull << 32, -EINVAL);
	/* Bits that are not there. */
	WITH(s.cr4 = 1ull << 31, -EINVAL);
	WITH(s.cr4 = 1ull << 63, -EINVAL);
	WITH(s.cr4 = 1 << 13, -EINVAL);			/* VMXE */
	/* The local APIC's base. */
	WITH(s.apic_base = 0xfee00000 | 1ull << 60, -EINVAL);
	WITH(s.apic_base = 0xfee00000 | 1 << 10, -EINVAL);	/* x2APIC without the APIC */
	WITH(s.apic_base = 0xfee00001, -EINVAL);
	GIVES(call(m.vcpu, KVM_SET_SREGS, &good), 0);
#undef WITH
	must(m.vcpu, KVM_GET_SREGS, &s);
	HOLDS(!memcmp(&good, &s, sizeof(s)));		/* nothing of the above has stayed */
	s.efer = 1ull << 40;
	DIFFERS(call(m.vcpu, KVM_SET_SREGS, &s), 0, -EINVAL,
		"EFER with bits that are not there: the processor refuses to run then");
}

static void sregs2(void)
{
	struct machine m = machine(0);
	struct kvm_sregs2 good, s;

	must(m.vcpu, KVM_GET_SREGS2, &good);
	GIVES(good.flags, 0);
	GIVES(call(m.vcpu, KVM_SET_SREGS2, &good), 0);
	s = good;
	s.flags = 1;			/* PDPTRs without PAE paging */
	GIVES(call(m.vcpu, KVM_SET_SREGS2, &s), -EINVAL);
	s.flags = 2;
	GIVES(call(m.vcpu, KVM_SET_SREGS2, &s), -EINVAL);
	s.flags = 1ull << 63;
	GIVES(call(m.vcpu, KVM_SET_SREGS2, &s), -EINVAL);
	s = good;
	s.cr0 |= CR0_PE | CR0_PG;
	s.cr4 = CR4_PAE;
	s.flags = 1;
	GIVES(call(m.vcpu, KVM_SET_SREGS2, &s), 0);
	GIVES(call(m.vcpu, KVM_GET_SREGS2, &s), 0);
	GIVES(s.flags, 1);
}

static void fpu(void)
{
	struct machine m = machine(0);
	struct kvm_fpu *f = pages(1);
	struct kvm_xsave *x = pages(1);
	struct kvm_xcrs xcrs = { 0 };
	uint64_t *header = (uint64_t *)((char *)x + 512);
	uint32_t *mxcsr = (uint32_t *)((char *)x + 24);

	memset(f, 0xff, sizeof(*f));
	GIVES(call(m.vcpu, KVM_SET_FPU, f), 0);		/* any bits are a state */
	must(m.vcpu, KVM_GET_XSAVE, x);
	GIVES(call(m.vcpu, KVM_SET_XSAVE, x), 0);
	header[0] = 1ull << 63;
	GIVES(call(m.vcpu, KVM_SET_XSAVE, x), -EINVAL);
	header[0] = 1ull << 40;
	GIVES(call(m.vcpu, KVM_SET_XSAVE, x), -EINVAL);
	header[0] = 3;
	for (int i = 1; i < 8; i++) {
		header[i] = 1;
		GIVES(call(m.vcpu, KVM_SET_XSAVE, x), -EINVAL);
		header[i] = 0;
	}
	*mxcsr = 0xffffffff;
	GIVES(call(m.vcpu, KVM_SET_XSAVE, x), -EINVAL);
	*mxcsr = 0x1f80;
	GIVES(call(m.vcpu, KVM_SET_XSAVE, x), 0);
	memset(x, 0, sizeof(*x));
	GIVES(call(m.vcpu, KVM_SET_XSAVE, x), 0);

	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), 0);	/* none */
	xcrs.nr_xcrs = KVM_MAX_XCRS + 1;
	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), -EINVAL);
	xcrs.nr_xcrs = 0xffffffff;
	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), -EINVAL);
	xcrs.nr_xcrs = 1;
	xcrs.flags = 1;
	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), -EINVAL);
	xcrs.flags = 0;
	xcrs.xcrs[0].value = 0;				/* x87 cannot be off */
	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), -EINVAL);
	xcrs.xcrs[0].value = 1;
	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), 0);
	xcrs.xcrs[0].value = 5;				/* YMM without SSE */
	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), -EINVAL);
	xcrs.xcrs[0].value = 1ull << 62 | 1;
	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), -EINVAL);
	xcrs.xcrs[0].value = 3;
	DIFFERS(call(m.vcpu, KVM_SET_XCRS, &xcrs), -EINVAL, 0,
		"before KVM_SET_CPUID2 a vCPU of Linux's has no features, one of ours has all");
	xcrs.xcrs[0].xcr = 7;				/* another register: passed over */
	GIVES(call(m.vcpu, KVM_SET_XCRS, &xcrs), 0);
}

static void debug_registers(void)
{
	struct machine m = machine(0);
	struct kvm_debugregs d;
	struct kvm_guest_debug g = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB };

	must(m.vcpu, KVM_GET_DEBUGREGS, &d);
	GIVES(d.dr6, 0xffff0ff0);
	GIVES(d.dr7, 0x400);
	GIVES(call(m.vcpu, KVM_SET_DEBUGREGS, &d), 0);
	d.flags = 1;
	GIVES(call(m.vcpu, KVM_SET_DEBUGREGS, &d), -EINVAL);
	d.flags = 0;
	d.dr6 |= 1ull << 32;
	GIVES(call(m.vcpu, KVM_SET_DEBUGREGS, &d), -EINVAL);
	d.dr6 = 0xffff0ff0;
	d.dr7 = 1ull << 63;
	GIVES(call(m.vcpu, KVM_SET_DEBUGREGS, &d), -EINVAL);

	GIVES(call(m.vcpu, KVM_SET_GUEST_DEBUG, &g), 0);
	GIVES(call(m.vcpu, KVM_SET_GUEST_DEBUG, &g), -EBUSY);	/* one exception waits already */
	memset(&g, 0xff, sizeof(g));
	g.control = 0;
	GIVES(call(m.vcpu, KVM_SET_GUEST_DEBUG, &g), 0);
}

static void events(void)
{
	struct machine m = machine(0);
	struct kvm_vcpu_events good, e;

	must(m.vcpu, KVM_GET_VCPU_EVENTS, &good);
	GIVES(call(m.vcpu, KVM_SET_VCPU_EVENTS, &good), 0);
#define WITH(what, want)	\
	(e = good, what, GIVES_FOR(#what, call(m.vcpu, KVM_SET_VCPU_EVENTS, &e), want))
	WITH(e.flags |= 1u << 31, -EINVAL);
	WITH(e.flags |= 1u << 6, -EINVAL);
	WITH(e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD, -EINVAL);		/* not enabled */
	WITH(e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT, -EINVAL);	/* nor this */
	WITH((e.exception.injected = 1, e.exception.nr = 32), -EINVAL);
	WITH((e.exception.injected = 1, e.exception.nr = 255), -EINVAL);
	WITH((e.exception.injected = 1, e.exception.nr = 2), -EINVAL);	/* an NMI is none */
	WITH((e.exception.injected = 1, e.exception.nr = 13), 0);
	WITH((e.exception.injected = 0, e.exception.nr = 200), 0);
	WITH((e.interrupt.injected = 1, e.interrupt.nr = 255), 0);
	WITH(memset(&e.reserved, 0xff, sizeof(e.reserved)), 0);
	WITH((e.interrupt.shadow = 0xff, e.flags |= KVM_VCPUEVENT_VALID_SHADOW), 0);
	GIVES(enable(m.vm, KVM_CAP_EXCEPTION_PAYLOAD, 0, 1), 0);
	WITH((e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD, e.exception.pending = 1, e.exception.injected = 1,
	      e.exception.nr = 13), 0);
	WITH((e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD, e.exception.pending = 1, e.exception.nr = 14,
	      e.exception_has_payload = 1, e.exception_payload = 1), 0);
#undef WITH
}

static void mp_state_alone(void)
{
	struct machine m = machine(0);
	struct kvm_mp_state s = { 99 };

	GIVES(call(m.vcpu, KVM_GET_MP_STATE, &s), 0);
	GIVES(s.mp_state, KVM_MP_STATE_RUNNABLE);
	for (uint32_t i = 1; i < 12; i++) {
		s.mp_state = i;
		GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), -EINVAL);
	}
	s.mp_state = 0;
	GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), 0);
}

static void mp_state(void)
{
	/* RUNNABLE to SIPI_RECEIVED, then s390's, SEV-ES's, and those of other machines. */
	const int answers[12] = { 0, 0, 0, 0, 0, -EINVAL, -EINVAL, -EINVAL, -EINVAL, 1, -EINVAL,
				  -EINVAL };
	struct machine m = machine(WITH_IRQCHIP);
	struct kvm_mp_state s;
	struct kvm_run *run;
	int second = add_vcpu(&m, 1, &run);

	GIVES(call(second, KVM_GET_MP_STATE, &s), 0);
	GIVES(s.mp_state, KVM_MP_STATE_UNINITIALIZED);
	run->immediate_exit = 1;
	GIVES(call(second, KVM_RUN, NULL), -EINTR);
	for (uint32_t i = 0; i < 12; i++) {
		s.mp_state = i;
		if (answers[i] == 1)
			DIFFERS(call(m.vcpu, KVM_SET_MP_STATE, &s), 0, -EINVAL,
				"KVM_MP_STATE_AP_RESET_HOLD belongs to SEV-ES, which is not here");
		else
			GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), answers[i]);
	}
	s.mp_state = 0xffffffff;
	GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), -EINVAL);
}

static void interrupt(void)
{
	struct machine none = machine(0), kernel = machine(WITH_IRQCHIP);
	struct machine split = machine(WITH_SPLIT);
	struct kvm_interrupt irq = { .irq = 256 };

	GIVES(call(none.vcpu, KVM_INTERRUPT, &irq), -EINVAL);
	irq.irq = 0xffffffff;
	GIVES(call(none.vcpu, KVM_INTERRUPT, &irq), -EINVAL);
	irq.irq = 255;
	GIVES(call(none.vcpu, KVM_INTERRUPT, &irq), 0);
	GIVES(call(none.vcpu, KVM_INTERRUPT, &irq), 0);
	GIVES(call(kernel.vcpu, KVM_INTERRUPT, &irq), -ENXIO);
	GIVES(call(split.vcpu, KVM_INTERRUPT, &irq), 0);
	GIVES(call(split.vcpu, KVM_INTERRUPT, &irq), -EEXIST);
	for (int i = 0; i < 5; i++)
		GIVES(call_n(none.vcpu, KVM_NMI, 0), 0);
	GIVES(call_n(none.vcpu, KVM_NMI, -1ul), 0);
}

static void signal_mask(void)
{
	struct machine m = machine(0);
	struct kvm_signal_mask *mask = pages(1), *edge;

	GIVES(call(m.vcpu, KVM_SET_SIGNAL_MASK, NULL), 0);
	mask->len = 4;
	GIVES(call(m.vcpu, KVM_SET_SIGNAL_MASK, mask), -EINVAL);
	mask->len = 16;
	GIVES(call(m.vcpu, KVM_SET_SIGNAL_MASK, mask), -EINVAL);
	mask->len = 0;
	GIVES(call(m.vcpu, KVM_SET_SIGNAL_MASK, mask), -EINVAL);
	mask->len = 8;
	GIVES(call(m.vcpu, KVM_SET_SIGNAL_MASK, mask), 0);
	memset(mask->sigset, 0xff, 8);
	GIVES(call(m.vcpu, KVM_SET_SIGNAL_MASK, mask), 0);
	edge = at_the_edge(8);
	edge->len = 8;
	GIVES(call(m.vcpu, KVM_SET_SIGNAL_MASK, edge), -EFAULT);
}

static void msrs(void)
{
	struct machine m = machine(0);
	struct kvm_msrs *list = pages(2), *edge;

	list->nmsrs = 3;
	list->entries[0].index = list->entries[2].index = 0x10;
	list->entries[1].index = 0xdeadbeef;
	GIVES(call(m.vcpu, KVM_GET_MSRS, list), 1);
	list->entries[0].index = 0xc0000081;
	list->entries[0].data = 0x1122334400000000;
	GIVES(call(m.vcpu, KVM_SET_MSRS, list), 1);
	list->entries[0].data = 0;
	GIVES(call(m.vcpu, KVM_GET_MSRS, list), 1);
	GIVES(list->entries[0].data, 0x1122334400000000);
	for (int i = 0; i < 256; i++)
		list->entries[i].index = 0x10;
	list->nmsrs = 0;
	GIVES(call(m.vcpu, KVM_GET_MSRS, list), 0);
	GIVES(call(m.vcpu, KVM_SET_MSRS, list), 0);
	list->nmsrs = 255;
	GIVES(call(m.vcpu, KVM_GET_MSRS, list), 255);
	list->nmsrs = 256;
	GIVES(call(m.vcpu, KVM_GET_MSRS, list), -E2BIG);
	GIVES(call(m.vcpu, KVM_SET_MSRS, list), -E2BIG);
	list->nmsrs = 0xffffffff;
	GIVES(call(m.vcpu, KVM_GET_MSRS, list), -E2BIG);
	/* Values that cannot be: none of them is set, and that is no error. */
	list->nmsrs = 1;
	list->entries[0].index = 0xc0000080;		/* EFER */
	list->entries[0].data = ~0ull;
	GIVES(call(m.vcpu, KVM_SET_MSRS, list), 0);
	list->entries[0].index = 0x1b;			/* APIC_BASE */
	GIVES(call(m.vcpu, KVM_SET_MSRS, list), 0);
	list->entries[0].index = 0xc0000082;		/* LSTAR: not canonical */
	list->entries[0].data = 1ull << 63;
	GIVES(call(m.vcpu, KVM_SET_MSRS, list), 0);
	list->entries[0].index = 0x277;			/* PAT: no such memory type */
	list->entries[0].data = 0x0202020202020202;
	GIVES(call(m.vcpu, KVM_SET_MSRS, list), 0);
	edge = at_the_edge(sizeof(*edge) + sizeof(edge->entries[0]));
	edge->nmsrs = 2;
	GIVES(call(m.vcpu, KVM_GET_MSRS, edge), -EFAULT);
	GIVES(call(m.vcpu, KVM_SET_MSRS, edge), -EFAULT);
	edge->nmsrs = 1;
	edge->entries[0].index = 0x10;
	GIVES(call(m.vcpu, KVM_GET_MSRS, edge), 1);
	mprotect((void *)((uintptr_t)edge & -PAGE), PAGE, PROT_READ);
	GIVES(call(m.vcpu, KVM_GET_MSRS, edge), -EFAULT);
	GIVES(call(m.vcpu, KVM_SET_MSRS, edge), 1);
}

static void cpuid(void)
{
	struct machine m = GUEST(0, HLT HLT);
	struct kvm_cpuid2 *c = pages(4), *edge;

	c->nent = 257;
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), -E2BIG);
	GIVES(call(m.vcpu, KVM_SET_CPUID, c), -E2BIG);
	c->nent = 0xffffffff;
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), -E2BIG);
	GIVES(call(m.vcpu, KVM_SET_CPUID, c), -E2BIG);
	c->nent = 0;
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), 0);
	GIVES(call(m.vcpu, KVM_SET_CPUID, c), 0);
	c->nent = 2;
	c->entries[0] = (struct kvm_cpuid_entry2){ .function = 0, .eax = 1 };
	c->entries[1] = (struct kvm_cpuid_entry2){ .function = 1, .eax = 0x600, .edx = 0x78bfbff };
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), 0);
	/* Virtual addresses of 48 or 57 bits there are, and no others. */
	c->entries[1] = (struct kvm_cpuid_entry2){ .function = 0x80000008, .eax = 0x2028 };
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), -EINVAL);
	c->entries[1].eax = 0x3028;
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), 0);
	c->nent = 1;
	GIVES(call(m.vcpu, KVM_GET_CPUID2, c), -E2BIG);
	c->nent = 0;
	GIVES(call(m.vcpu, KVM_GET_CPUID2, c), -E2BIG);
	c->nent = 0xffffffff;
	GIVES(call(m.vcpu, KVM_GET_CPUID2, c), 0);
	DIFFERS(c->nent, 0xffffffff, 2, "how many entries there are, later kernels tell too");
	c->nent = 2;
	edge = at_the_edge(sizeof(*edge) + sizeof(edge->entries[0]));
	edge->nent = 2;
	GIVES(call(m.vcpu, KVM_SET_CPUID2, edge), -EFAULT);
	GIVES(call(m.vcpu, KVM_GET_CPUID2, edge), -EFAULT);
	/* The same entry twice: fine. */
	c->entries[1] = c->entries[0];
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), 0);
	/* A vCPU that has run keeps its CPUID; to set the same is fine. */
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), 0);
	c->entries[0].eax = 7;
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), -EINVAL);
	c->nent = 0;
	GIVES(call(m.vcpu, KVM_SET_CPUID2, c), -EINVAL);
}

static void lapic(void)
{
	struct machine none = machine(0), m = machine(WITH_IRQCHIP);
	struct kvm_lapic_state *state = pages(1);
	struct kvm_tpr_access_ctl ctl = { .enabled = 1 };
	struct kvm_vapic_addr addr = { .vapic_addr = 0x1000 };

	GIVES(call(none.vcpu, KVM_GET_LAPIC, state), -EINVAL);
	GIVES(call(none.vcpu, KVM_SET_LAPIC, state), -EINVAL);
	GIVES(call(none.vcpu, KVM_SET_VAPIC_ADDR, &addr), -EINVAL);
	GIVES(call(none.vcpu, KVM_TPR_ACCESS_REPORTING, &ctl), 0);
	GIVES(call(m.vcpu, KVM_TPR_ACCESS_REPORTING, &ctl), 0);
	ctl.flags = 1;
	GIVES(call(m.vcpu, KVM_TPR_ACCESS_REPORTING, &ctl), -EINVAL);

	GIVES(call(m.vcpu, KVM_GET_LAPIC, state), 0);
	GIVES(call(m.vcpu, KVM_SET_LAPIC, state), 0);
	/* Registers in no state that guests could reach. */
	memset(state, 0xff, sizeof(*state));
	GIVES(call(m.vcpu, KVM_SET_LAPIC, state), 0);
	GIVES(call(m.vcpu, KVM_GET_LAPIC, state), 0);
	/* Only an address that is memory, or none. */
	GIVES(call(m.vcpu, KVM_SET_VAPIC_ADDR, &addr), -EINVAL);
	addr.vapic_addr = ~0ull;
	GIVES(call(m.vcpu, KVM_SET_VAPIC_ADDR, &addr), -EINVAL);
	addr.vapic_addr = 0;
	GIVES(call(m.vcpu, KVM_SET_VAPIC_ADDR, &addr), 0);
	GIVES(region(m.vm, 0, 0, 0, 4 * PAGE, pages(4)), 0);
	addr.vapic_addr = 0x1000;
	GIVES(call(m.vcpu, KVM_SET_VAPIC_ADDR, &addr), 0);
}

static void machine_checks(void)
{
	struct machine m = machine(0);
	uint64_t supported, c;
	struct kvm_x86_mce mce = { .status = 1ull << 63, .bank = 0 };

	must(m.sys, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported);
	c = 0;
	GIVES(call(m.vcpu, KVM_X86_SETUP_MCE, &c), -EINVAL);	/* no banks */
	c = 33;
	GIVES(call(m.vcpu, KVM_X86_SETUP_MCE, &c), -EINVAL);
	c = 5 | 1ull << 63;
	GIVES(call(m.vcpu, KVM_X86_SETUP_MCE, &c), -EINVAL);
	c = 5 | supported;
	GIVES(call(m.vcpu, KVM_X86_SETUP_MCE, &c), 0);
	mce.bank = 5;
	GIVES(call(m.vcpu, KVM_X86_SET_MCE, &mce), -EINVAL);
	mce.bank = 255;
	GIVES(call(m.vcpu, KVM_X86_SET_MCE, &mce), -EINVAL);
	mce.bank = 0;
	mce.status = 0;
	GIVES(call(m.vcpu, KVM_X86_SET_MCE, &mce), -EINVAL);
}

static void odds(void)
{
	struct machine m = machine(0);
	struct kvm_translation t = { .linear_address = ~0ull };

	GIVES(call_n(m.vcpu, KVM_KVMCLOCK_CTRL, 0), -EINVAL);	/* the guest has no such clock */
	GIVES(enable(m.vcpu, 0x7fffffff, 0, 0), -EINVAL);
	GIVES(enable(m.vcpu, KVM_CAP_USER_MEMORY, 0, 0), -EINVAL);
	GIVES(enable(m.vcpu, KVM_CAP_SPLIT_IRQCHIP, 0, 24), -EINVAL);
	GIVES(enable(m.vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1, 0), -EINVAL);
	GIVES(enable(m.vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 0, 0), 0);
	GIVES(call(m.vcpu, KVM_TRANSLATE, &t), 0);
	GIVES(call_n(m.vcpu, KVM_SET_TSC_KHZ, 0), 0);
	HOLDS(call_n(m.vcpu, KVM_GET_TSC_KHZ, 0) > 0);
	GIVES(call_n(m.vcpu, KVM_GET_TSC_KHZ, 77), call_n(m.vcpu, KVM_GET_TSC_KHZ, 0));
}

/* ---- KVM_RUN ---- */

static void run(void)
{
	struct machine m = GUEST(0, HLT HLT HLT HLT);

	GIVES(call_n(m.vcpu, KVM_RUN, 1), -EINVAL);
	GIVES(call_n(m.vcpu, KVM_RUN, 1ul << 32), -EINVAL);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
	m.run->immediate_exit = 1;
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINTR);
	m.run->immediate_exit = 255;
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINTR);
	m.run->immediate_exit = 0;
	/* Fields for which there is no room. */
	m.run->kvm_valid_regs = 1ull << 40;
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINVAL);
	m.run->kvm_valid_regs = 0;
	m.run->kvm_dirty_regs = 1ull << 63;
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINVAL);
	m.run->kvm_dirty_regs = 0;
	/* Without a local APIC of KVM's, CR8 comes from here. */
	m.run->cr8 = 16;
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINVAL);
	m.run->cr8 = 1ull << 32;
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINVAL);
	m.run->cr8 = 0;
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	/* Nonsense where KVM writes. */
	memset(&m.run->exit_reason, 0xff, sizeof(*m.run) - 8);
	m.run->cr8 = m.run->kvm_valid_regs = m.run->kvm_dirty_regs = 0;
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
}

/* From the reset vector, where there is no memory. */
static void run_nowhere(void)
{
	struct machine m = machine(0);

	DIFFERS(call(m.vcpu, KVM_RUN, NULL), -ENOSPC, 0,
		"Linux reckons from the slots how many shadow pages it may have: none");
	GIVES(region(m.vm, 0, 0, 0, 16 * PAGE, pages(16)), 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_INTERNAL_ERROR);
	GIVES(m.run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
}

/* An access that the VMM answers: what it does in between is its own affair. */
static void answered(void)
{
	struct machine m = GUEST(0, "\xe4\x10\xe4\x11" HLT);	/* in $0x10, %al; in $0x11, %al */
	uint8_t *data;
	struct kvm_regs regs;

	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_IO);
	data = (uint8_t *)m.run + m.run->io.data_offset;
	*data = 0x5a;
	/* What KVM has told is read back by nobody. */
	m.run->io.data_offset = ~0ull;
	m.run->io.size = 255;
	m.run->io.count = 0xffffffff;
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_IO);
	GIVES(m.run->io.port, 0x11);
	GIVES(call(m.vcpu, KVM_GET_REGS, &regs), 0);
	GIVES(regs.rax, 0x5a);
	/* The answer is taken, though nothing runs. */
	*data = 0x77;
	m.run->immediate_exit = 1;
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINTR);
	GIVES(call(m.vcpu, KVM_GET_REGS, &regs), 0);
	GIVES(regs.rax, 0x77);
	GIVES(regs.rip, CODE + 4);
	m.run->immediate_exit = 0;
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
}

const struct test vcpu_tests[] = {
	{ "vcpu", "create", "ids that are taken or out of range", create },
	{ "vcpu", "max_id", "KVM_CAP_MAX_VCPU_ID", max_id },
	{ "vcpu", "sregs", "special registers that cannot be", sregs },
	{ "vcpu", "sregs2", "KVM_SET_SREGS2's flags", sregs2 },
	{ "vcpu", "fpu", "x87 and vector state, XSAVE headers, XCR0", fpu },
	{ "vcpu", "debug_registers", "debug registers, KVM_SET_GUEST_DEBUG", debug_registers },
	{ "vcpu", "events", "KVM_SET_VCPU_EVENTS", events },
	{ "vcpu", "mp_state_alone", "KVM_SET_MP_STATE without a local APIC", mp_state_alone },
	{ "vcpu", "mp_state", "and with one", mp_state },
	{ "vcpu", "interrupt", "KVM_INTERRUPT and KVM_NMI, by who has which chip", interrupt },
	{ "vcpu", "signal_mask", "KVM_SET_SIGNAL_MASK", signal_mask },
	{ "vcpu", "msrs", "KVM_GET_MSRS and KVM_SET_MSRS: counts, unknown MSRs, bad values", msrs },
	{ "vcpu", "cpuid", "KVM_SET_CPUID2: counts, bad values, too late", cpuid },
	{ "vcpu", "lapic", "the local APIC's state, TPR reporting, the vAPIC page", lapic },
	{ "vcpu", "machine_checks", "KVM_X86_SETUP_MCE, KVM_X86_SET_MCE", machine_checks },
	{ "vcpu", "odds", "the rest", odds },
	{ "vcpu", "run", "KVM_RUN with an argument, and with nonsense in kvm_run", run },
	{ "vcpu", "run_nowhere", "KVM_RUN where there is no memory", run_nowhere },
	{ "vcpu", "answered", "an access half done", answered },
	{ 0 }
};
