/* SPDX-License-Identifier: GPL-2.0-only */
/* System management mode and its address space: KVM_SMI, events, MSRs, slots. What guests see of it is in
 * tests/guest. */
#include "api.h"

#include <string.h>
#include <sys/mman.h>

#define LOG		KVM_MEM_LOG_DIRTY_PAGES
#define SMM(n)		(1u << 16 | (n))
#define SMBASE		0x30000ul
#define MSR_SMI_COUNT	0x34
#define MSR_SMBASE	0x9e

static void need_smm(const struct machine *m)
{
	if (cap(m->vm, KVM_CAP_X86_SMM) <= 0 || cap(m->vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		skip("there is no system management mode");
}

static struct kvm_vcpu_events events_of(int vcpu)
{
	struct kvm_vcpu_events e;

	must(vcpu, KVM_GET_VCPU_EVENTS, &e);
	return e;
}

static bool in_smm(const struct machine *m)
{
	return m->run->flags & KVM_RUN_X86_SMM;
}

/* ---- slots ---- */

static void slots(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	char *host = pages(16);

	need_smm(&m);
	GIVES(cap(m.vm, KVM_CAP_X86_SMM), 1);
	GIVES(cap(m.vm, KVM_CAP_MULTI_ADDRESS_SPACE), 2);
	GIVES(region(m.vm, SMM(0), 0, 0, 0, NULL), -EINVAL);		/* nothing to delete */
	GIVES(region(m.vm, SMM(32763), 0, 0, PAGE, host), 0);
	GIVES(region(m.vm, SMM(32764), 0, 0x10000, PAGE, host), -EINVAL);
	GIVES(region(m.vm, SMM(0xffff), 0, 0x10000, PAGE, host), -EINVAL);
	for (uint32_t as = 2; as < 0x10000; as += as)
		GIVES(region(m.vm, as << 16, 0, 0x10000, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0xffff0000, 0, 0x10000, PAGE, host), -EINVAL);
	GIVES(region(m.vm, SMM(1), 0, 1, PAGE, host), -EINVAL);
	GIVES(region(m.vm, SMM(1), 4, 0x10000, PAGE, host), -EINVAL);

	/* Numbers and addresses are each address space's own. */
	GIVES(region(m.vm, 32763, 0, 0, PAGE, host), 0);
	GIVES(region(m.vm, 1, 0, 0x10000, 16 * PAGE, host), 0);
	GIVES(region(m.vm, SMM(1), 0, 0x18000, 16 * PAGE, host), 0);
	GIVES(region(m.vm, SMM(2), 0, 0x10000, 8 * PAGE, host), 0);
	GIVES(region(m.vm, SMM(3), 0, 0x17000, PAGE, host), -EEXIST);
	GIVES(region(m.vm, SMM(3), 0, 0x27000, PAGE, host), -EEXIST);
	GIVES(region(m.vm, 3, 0, 0x1f000, PAGE, host), -EEXIST);
	GIVES(region(m.vm, 3, 0, 0x20000, PAGE, host), 0);
	/* Moved, other flags, deleted: the one of that number in the other stays. */
	GIVES(region(m.vm, SMM(1), 0, 0x40000, 16 * PAGE, host), 0);
	GIVES(region(m.vm, SMM(1), 0, 0x40000, 15 * PAGE, host), -EINVAL);
	GIVES(region(m.vm, SMM(1), LOG, 0x40000, 16 * PAGE, host), 0);
	GIVES(region(m.vm, 1, KVM_MEM_READONLY, 0x10000, 16 * PAGE, host), -EINVAL);
	GIVES(region(m.vm, SMM(1), 0, 0, 0, NULL), 0);
	GIVES(region(m.vm, SMM(1), 0, 0, 0, NULL), -EINVAL);
	GIVES(region(m.vm, 1, 0, 0, 0, NULL), 0);
	GIVES(region(m.vm, SMM(32763), 0, 0, 0, NULL), 0);
	GIVES(region(m.vm, 32763, 0, 0, 0, NULL), 0);
}

static void dirty_log(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	uint64_t bits[8];
	struct kvm_dirty_log log = { .dirty_bitmap = bits };
	struct kvm_clear_dirty_log clear = { .num_pages = 64, .dirty_bitmap = bits };

	need_smm(&m);
	GIVES(region(m.vm, SMM(0), LOG, 0, 64 * PAGE, pages(64)), 0);
	GIVES(region(m.vm, 1, LOG, 0, 64 * PAGE, pages(64)), 0);
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	log.slot = SMM(1);
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	log.slot = 2 << 16;
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -EINVAL);
	log.slot = SMM(32764);
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -EINVAL);
	log.slot = SMM(0);
	bits[0] = ~0ull;
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	GIVES(bits[0], 0);
	clear.slot = SMM(0);
	GIVES(call(m.vm, KVM_CLEAR_DIRTY_LOG, &clear), 0);
	clear.slot = 0;
	GIVES(call(m.vm, KVM_CLEAR_DIRTY_LOG, &clear), -ENOENT);
	clear.slot = 3 << 16;
	GIVES(call(m.vm, KVM_CLEAR_DIRTY_LOG, &clear), -EINVAL);
}

/* ---- events, MSRs ---- */

static void smi(void)
{
	struct machine m = GUEST(0, HLT);

	need_smm(&m);
	GIVES(events_of(m.vcpu).flags & KVM_VCPUEVENT_VALID_SMM, KVM_VCPUEVENT_VALID_SMM);
	GIVES(events_of(m.vcpu).smi.pending, 0);
	GIVES(call_n(m.sys, KVM_SMI, 0), -EINVAL);
	GIVES(call_n(m.vm, KVM_SMI, 0), -ENOTTY);
	GIVES(call_n(m.vcpu, KVM_SMI, 0), 0);
	GIVES(call_n(m.vcpu, KVM_SMI, 12345), 0);		/* nobody looks at the argument */
	GIVES(events_of(m.vcpu).smi.pending, 1);
	GIVES(events_of(m.vcpu).smi.smm, 0);
	GIVES(m.run->flags, 0);
}

static void set_events(void)
{
	struct machine m = machine(WITH_IRQCHIP);
	struct kvm_mp_state s;
	struct kvm_vcpu_events good, e;
	struct kvm_run *run;
	int second;

	need_smm(&m);
	second = add_vcpu(&m, 1, &run);
	good = events_of(m.vcpu);
	good.flags = KVM_VCPUEVENT_VALID_SMM;
#define SET(what, want)	\
	(e = good, what, GIVES_FOR(#what, call(m.vcpu, KVM_SET_VCPU_EVENTS, &e), want), e = events_of(m.vcpu))
	SET((e.smi.pending = 0xff), 0);
	GIVES(e.smi.pending, 1);
	SET((e.flags = 0), 0);			/* without the flag it stays */
	GIVES(e.smi.pending, 1);
	SET((e.smi.smm = 1, e.smi.smm_inside_nmi = 0xff), 0);
	GIVES(e.smi.pending, 0);
	GIVES(e.smi.smm, 1);
	GIVES(e.smi.smm_inside_nmi, 1);
	/* INIT waits: it cannot have been received. */
	s.mp_state = KVM_MP_STATE_INIT_RECEIVED;
	GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), -EINVAL);
	s.mp_state = KVM_MP_STATE_SIPI_RECEIVED;
	GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), -EINVAL);
	s.mp_state = KVM_MP_STATE_HALTED;
	GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), 0);
	s.mp_state = KVM_MP_STATE_UNINITIALIZED;
	GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), 0);
	s.mp_state = KVM_MP_STATE_RUNNABLE;
	GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), 0);
	SET((e.smi.latched_init = 1, e.smi.smm = 1), 0);
	GIVES(e.smi.latched_init, 1);
	GIVES(e.smi.smm_inside_nmi, 0);
	SET((e.smi.latched_init = 0), 0);
	GIVES(e.smi.latched_init, 0);
	GIVES(e.smi.smm, 0);
	SET((e.smi.smm_inside_nmi = 1), 0);	/* means nothing outside */
	GIVES(e.smi.smm_inside_nmi, 0);
	SET((e.smi.pending = 1), 0);
	s.mp_state = KVM_MP_STATE_INIT_RECEIVED;
	GIVES(call(m.vcpu, KVM_SET_MP_STATE, &s), -EINVAL);
#undef SET
	s.mp_state = KVM_MP_STATE_INIT_RECEIVED;
	GIVES(call(second, KVM_SET_MP_STATE, &s), 0);
	e = good;
	e.smi.pending = 1;
	GIVES(call(second, KVM_SET_VCPU_EVENTS, &e), -EINVAL);
	e.smi.pending = 0;
	e.smi.smm = 1;
	GIVES(call(second, KVM_SET_VCPU_EVENTS, &e), -EINVAL);
	e.smi.smm = 0;
	GIVES(call(second, KVM_SET_VCPU_EVENTS, &e), 0);
}

static int msr(int vcpu, unsigned long request, uint32_t index, uint64_t *value)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} one = { .header.nmsrs = 1, .entry = { .index = index, .data = *value } };
	int r = call(vcpu, request, &one);

	*value = one.entry.data;
	return r;
}

static void msrs(void)
{
	static struct {
		struct kvm_msr_list header;
		uint32_t indices[1024];
	} list = { .header.nmsrs = 1024 };
	struct machine m = machine(0);
	uint64_t value = 0;
	int found = 0;

	need_smm(&m);
	GIVES(msr(m.vcpu, KVM_GET_MSRS, MSR_SMBASE, &value), 1);
	GIVES(value, SMBASE);
	value = 0x123456789abcdef1;			/* anything: nobody checks */
	GIVES(msr(m.vcpu, KVM_SET_MSRS, MSR_SMBASE, &value), 1);
	value = 0;
	GIVES(msr(m.vcpu, KVM_GET_MSRS, MSR_SMBASE, &value), 1);
	GIVES(value, 0x123456789abcdef1);
	GIVES(msr(m.vcpu, KVM_GET_MSRS, MSR_SMI_COUNT, &value), 1);
	GIVES(value, 0);
	value = 77;
	GIVES(msr(m.vcpu, KVM_SET_MSRS, MSR_SMI_COUNT, &value), 1);
	value = 0;
	GIVES(msr(m.vcpu, KVM_GET_MSRS, MSR_SMI_COUNT, &value), 1);
	GIVES(value, 77);
	must(m.sys, KVM_GET_MSR_INDEX_LIST, &list);
	for (uint32_t i = 0; i < list.header.nmsrs; i++)
		found += list.indices[i] == MSR_SMBASE || list.indices[i] == MSR_SMI_COUNT;
	GIVES(found, 2);
}

/* The guest may read how many there were, and nothing else of it. */
static void guest_msrs(void)
{
	/* xor %cx, %cx; mov $0x34, %cl; rdmsr; hlt */
	struct machine m = GUEST(0, "\x31\xc9\xb1\x34\x0f\x32" HLT);
	struct kvm_regs r;

	need_smm(&m);
	/* #GP's handler is at 0x500. */
	m.ram[0x500] = 0xf4;
	m.ram[13 * 4 + 1] = 0x05;
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	must(m.vcpu, KVM_GET_REGS, &r);
	GIVES(r.rip, CODE + 7);
	m.ram[CODE + 3] = MSR_SMBASE;
	start_at(m.vcpu, CODE);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
	must(m.vcpu, KVM_GET_REGS, &r);
	GIVES(r.rip, 0x501);
}

/* ---- running ---- */

/* No memory where the handler should be. */
static void nowhere(void)
{
	struct machine m = GUEST(0, HLT);

	need_smm(&m);
	must_n(m.vcpu, KVM_SMI, 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_INTERNAL_ERROR);
	HOLDS(in_smm(&m));
	GIVES(events_of(m.vcpu).smi.smm, 1);
}

/* None where the state was saved: RSM finds nothing. */
static void nothing_saved(void)
{
	struct machine m = GUEST(0, HLT);
	uint8_t *host = pages(1);

	need_smm(&m);
	memcpy(host, "\x0f\xaa", 2);
	GIVES(region(m.vm, SMM(0), 0, SMBASE + 0x8000, PAGE, host), 0);
	must_n(m.vcpu, KVM_SMI, 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_INTERNAL_ERROR);
	GIVES(events_of(m.vcpu).smi.smm, 1);
}

/* Read-only: the state is lost, and what is there instead is loaded. */
static void read_only(void)
{
	struct machine m = GUEST(0, HLT);
	uint8_t *host = pages(16);

	need_smm(&m);
	memcpy(host + 0x8000, "\x0f\xaa", 2);
	GIVES(region(m.vm, SMM(0), KVM_MEM_READONLY, SMBASE, 16 * PAGE, host), 0);
	must_n(m.vcpu, KVM_SMI, 0);
	call(m.vcpu, KVM_RUN, NULL);
	GIVES(host[0xfefe], 0);
	GIVES(events_of(m.vcpu).smi.smm, 0);
}

/* The ring says by which address space a page was written. */
static void dirty_ring(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	uint8_t *host = pages(16);
	struct kvm_dirty_gfn *ring;
	struct kvm_run *run;
	bool saved = false;

	need_smm(&m);
	if (cap(m.vm, KVM_CAP_DIRTY_LOG_RING) <= 0)
		skip("no dirty ring");
	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 0, 65536), 0);
	m.vcpu = add_vcpu(&m, 0, &run);
	ring = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, m.vcpu, KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	HOLDS(ring != MAP_FAILED);
	host[0x8000] = 0xf4;
	GIVES(region(m.vm, SMM(7), LOG, SMBASE, 16 * PAGE, host), 0);
	GIVES(region(m.vm, 7, LOG, SMBASE, 16 * PAGE, pages(16)), 0);
	must_n(m.vcpu, KVM_SMI, 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(run->exit_reason, KVM_EXIT_HLT);
	for (int i = 0; i < 8; i++)
		if (ring[i].flags & KVM_DIRTY_GFN_F_DIRTY) {
			GIVES(ring[i].slot, SMM(7));
			saved |= ring[i].offset == 15;
		}
	HOLDS(saved);
}

/* A debugger that holds back interrupts holds back SMIs. */
static void blocked(void)
{
	struct machine m = GUEST(0, "\x90\x90" HLT);
	struct kvm_guest_debug g = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ };

	need_smm(&m);
	must_n(m.vcpu, KVM_SMI, 0);
	GIVES(call(m.vcpu, KVM_SET_GUEST_DEBUG, &g), 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_DEBUG);
	HOLDS(!in_smm(&m));
	GIVES(events_of(m.vcpu).smi.pending, 1);
}

const struct test smm_tests[] = {
	{ "smm", "slots", "slots of the second address space", slots },
	{ "smm", "dirty_log", "and their dirty logs", dirty_log },
	{ "smm", "smi", "KVM_SMI", smi },
	{ "smm", "set_events", "KVM_SET_VCPU_EVENTS with every odd value", set_events },
	{ "smm", "msrs", "SMBASE and the number of SMIs by KVM_GET_MSRS and KVM_SET_MSRS", msrs },
	{ "smm", "guest_msrs", "and by the guest", guest_msrs },
	{ "smm", "nowhere", "a handler where there is no memory", nowhere },
	{ "smm", "nothing_saved", "a state that could not be saved", nothing_saved },
	{ "smm", "read_only", "a state saved to memory that may not be written", read_only },
	{ "smm", "dirty_ring", "entries of the dirty ring name the address space", dirty_ring },
	{ "smm", "blocked", "KVM_GUESTDBG_BLOCKIRQ", blocked },
	{ 0 }
};
