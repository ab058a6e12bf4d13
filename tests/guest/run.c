/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM_RUN and what ends it: HLT, shutdown, requests to leave, interrupt windows, debugging.
 * Documentation/virt/kvm/api.rst is the specification.
 */
#include "harness.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- HLT and shutdown ------------------------------------------------------------------ */

static void hlt(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");

	run_to_exit(vcpu, KVM_EXIT_HLT);
	CHECK_EQ(regs_of(vcpu).rip, symbol("run_hlt_end"));
	run_to_pass(vcpu);
}

static void *kick_later(void *arg)
{
	struct vcpu *vcpu = arg;

	usleep(50000);
	irq_line(vcpu->vm, 5, 1);
	return NULL;
}

/* With the interrupt chip in KVM, HLT waits inside: a line raised from another thread ends it. */
static void hlt_irqchip(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "irq_hlt_wait");
	pthread_t thread;
	uint64_t start;

	run_to_sync(vcpu, 1);
	start = now_ms();
	CHECK_EQ(pthread_create(&thread, NULL, kick_later, vcpu), 0);
	run_to_pass(vcpu);
	CHECK(now_ms() - start >= 45);
	pthread_join(thread, NULL);
}

static void triple(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_triple");

	run_to_exit(vcpu, KVM_EXIT_SHUTDOWN);
}

/* Not the registers that it had are there then: on AMD's processors they are lost, and the vCPU is as after INIT. */
static void triple_state(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_triple");
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args = { 1 } };
	struct kvm_vcpu_events e;
	struct kvm_sregs s;

	if (!vendor_is("AuthenticAMD"))
		skip("the vendor is not AMD");
	NEED_CAP(vcpu->vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	KVM(vcpu->vm->fd, KVM_ENABLE_CAP, &cap);
	run_to_exit(vcpu, KVM_EXIT_SHUTDOWN);
	s = sregs_of(vcpu);
	CHECK_EQ(regs_of(vcpu).rip, 0xfff0);
	CHECK_EQ(s.cs.selector, 0xf000);
	CHECK_EQ(s.cs.base, 0xffff0000);
	CHECK_EQ(s.cr0 & 0x80000001, 0);
	CHECK_EQ(s.efer, 0);
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK_EQ(e.triple_fault.pending, 0);
	CHECK_EQ(e.exception.injected, 0);
	CHECK_EQ(e.nmi.masked, 0);
	/* It can go on from anywhere. */
	vcpu_start(vcpu, MODE_LONG, "run_hlt");
	run_to_exit(vcpu, KVM_EXIT_HLT);
}

static void triple_prot(void)
{
	struct vcpu *vcpu = guest(0, MODE_PROT, "run_triple_prot");

	run_to_exit(vcpu, KVM_EXIT_SHUTDOWN);
}

/* ---- Leaving on request ---------------------------------------------------------------- */

static void immediate_exit(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_spin");

	vcpu->run->immediate_exit = 1;
	for (int i = 0; i < 3; i++)
		CHECK_EQ(run(vcpu), GUEST_INTR);
	CHECK_EQ(*var(vcpu->vm, "run_count"), 0);
	CHECK_EQ(regs_of(vcpu).rip, symbol("run_spin"));
}

static pthread_t target;
static struct vcpu *target_vcpu;

static void on_signal(int signal)
{
}

static void *signal_later(void *arg)
{
	usleep(50000);
	pthread_kill(target, SIGUSR1);
	return NULL;
}

/* A signal ends KVM_RUN with EINTR, after the guest has run, and its handler has been called. */
static void signal_exit(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_spin");
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	target = pthread_self();
	CHECK_EQ(pthread_create(&thread, NULL, signal_later, NULL), 0);
	CHECK_EQ(run(vcpu), GUEST_INTR);
	pthread_join(thread, NULL);
	CHECK(*var(vcpu->vm, "run_count") > 0);
	CHECK_EQ(vcpu->run->exit_reason, KVM_EXIT_INTR);
}

static volatile sig_atomic_t handled;

static void on_masked(int signal)
{
	handled = 1;
}

/*
 * KVM_SET_SIGNAL_MASK: a signal blocked by the thread but not by KVM_RUN's mask ends KVM_RUN,
 * and stays pending.
 */
static void signal_mask(void)
{
	struct {
		struct kvm_signal_mask header;
		uint64_t mask;
	} __attribute__((packed)) mask = { .header.len = 8 };
	struct sigaction action = { .sa_handler = on_masked };
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_spin");
	sigset_t set, pending;
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	KVM(vcpu->fd, KVM_SET_SIGNAL_MASK, &mask);
	target = pthread_self();
	CHECK_EQ(pthread_create(&thread, NULL, signal_later, NULL), 0);
	CHECK_EQ(run(vcpu), GUEST_INTR);
	pthread_join(thread, NULL);
	CHECK_EQ(handled, 0);
	sigpending(&pending);
	CHECK_EQ(sigismember(&pending, SIGUSR1), 1);
	/* Still pending, so that the next entry ends at once. */
	CHECK_EQ(run(vcpu), GUEST_INTR);
	mask.header.len = 4;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_SIGNAL_MASK, &mask), EINVAL);
}

static void *exit_later(void *arg)
{
	usleep(50000);
	target_vcpu->run->immediate_exit = 1;
	pthread_kill(target, SIGUSR1);
	return NULL;
}

/* HLT inside KVM is left by a signal too, and entered again. */
static void signal_in_hlt(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "irq_hlt_wait");
	struct kvm_mp_state state;
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	run_to_sync(vcpu, 1);
	target = pthread_self();
	target_vcpu = vcpu;
	CHECK_EQ(pthread_create(&thread, NULL, exit_later, NULL), 0);
	CHECK_EQ(run(vcpu), GUEST_INTR);
	pthread_join(thread, NULL);
	KVM(vcpu->fd, KVM_GET_MP_STATE, &state);
	CHECK_EQ(state.mp_state, KVM_MP_STATE_HALTED);
	vcpu->run->immediate_exit = 0;
	irq_line(vcpu->vm, 5, 1);
	run_to_pass(vcpu);
}

static void *hlt_cancelled(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	run(arg);
	return NULL;
}

/* A thread that is cancelled in KVM_RUN leaves the vCPU to others. */
static void cancelled(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "irq_hlt_wait");
	struct kvm_mp_state state;
	pthread_t thread;
	void *result;

	if (!dlopen("libgcc_s.so.1", RTLD_LAZY))
		skip("libgcc_s.so.1, which pthread_cancel unwinds with, is not there");
	run_to_sync(vcpu, 1);
	CHECK_EQ(pthread_create(&thread, NULL, hlt_cancelled, vcpu), 0);
	usleep(20000);
	CHECK_EQ(pthread_cancel(thread), 0);
	CHECK_EQ(pthread_join(thread, &result), 0);
	CHECK(result == PTHREAD_CANCELED);
	/* On a busy machine it has not got there. */
	KVM(vcpu->fd, KVM_GET_MP_STATE, &state);
	CHECK(state.mp_state == KVM_MP_STATE_HALTED || state.mp_state == KVM_MP_STATE_RUNNABLE);
	irq_line(vcpu->vm, 5, 1);
	run_to_pass(vcpu);
}

/* ---- Interrupts from user space -------------------------------------------------------- */

static void interrupt_window(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_window");
	struct kvm_interrupt irq = { .irq = 0x50 };
	uint64_t open = symbol("run_window_open");

	run_to_sync(vcpu, 1);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 0);
	CHECK_EQ(vcpu->run->if_flag, 0);
	vcpu->run->request_interrupt_window = 1;
	run_to_exit(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	CHECK_EQ(vcpu->run->if_flag, 1);
	/* After STI's shadow, and before CLI. */
	CHECK(regs_of(vcpu).rip >= open && regs_of(vcpu).rip <= open + 2);
	vcpu->run->request_interrupt_window = 0;
	KVM(vcpu->fd, KVM_INTERRUPT, &irq);
	run_to_sync(vcpu, 2);
	CHECK_EQ(*var(vcpu->vm, "run_count"), 1);
	/* HLT with interrupts on, and none: user space has to wait for one. */
	run_to_exit(vcpu, KVM_EXIT_HLT);
	CHECK_EQ(vcpu->run->ready_for_interrupt_injection, 1);
	KVM(vcpu->fd, KVM_INTERRUPT, &irq);
	run_to_exit(vcpu, KVM_EXIT_HLT);
	CHECK_EQ(*var(vcpu->vm, "run_count"), 2);
}

static void interrupt_refused(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "run_window");
	struct kvm_interrupt irq = { .irq = 0x50 };

	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_INTERRUPT, &irq), ENXIO);
	vcpu = guest(0, MODE_LONG, "run_window");
	irq.irq = 256;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_INTERRUPT, &irq), EINVAL);
}

/* Without a local APIC in KVM, a write to CR8 below kvm_run's own is user space's to know of. */
static void set_tpr(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_cr8");

	vcpu->run->cr8 = 0;
	run_to_exit(vcpu, KVM_EXIT_SET_TPR);
	CHECK_EQ(vcpu->run->cr8, 3);
	run_to_pass(vcpu);
}

/* ---- Debugging ------------------------------------------------------------------------- */

static void single_step(void)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_step");
	uint64_t start = symbol("run_step");
	/* mov 5, inc 2, cpuid 2, mov 7, out 2, nop 1 */
	static const unsigned int steps[] = { 5, 7, 9, 16, 18, 19 };

	NEED_CAP(vcpu->vm, KVM_CAP_SET_GUEST_DEBUG);
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		run_to_exit(vcpu, KVM_EXIT_DEBUG);
		CHECK_EQ(vcpu->run->debug.arch.exception, DB_VECTOR);
		CHECK_EQ(vcpu->run->debug.arch.pc, start + steps[i]);
		CHECK_EQ(vcpu->run->debug.arch.dr6 & 0x4000, 0x4000);
		CHECK_EQ(regs_of(vcpu).rip, start + steps[i]);
		/* The guest's own TF does not show. */
		CHECK_EQ(regs_of(vcpu).rflags & 0x100, 0);
	}
	memset(&debug, 0, sizeof(debug));
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_pass(vcpu);
}

static void hardware_breakpoint(void)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		.arch.debugreg = { [0] = symbol("run_step_bp"), [7] = 0x401 },
	};
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_step");

	NEED_CAP(vcpu->vm, KVM_CAP_SET_GUEST_DEBUG);
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_exit(vcpu, KVM_EXIT_DEBUG);
	CHECK_EQ(vcpu->run->debug.arch.exception, DB_VECTOR);
	CHECK_EQ(vcpu->run->debug.arch.pc, symbol("run_step_bp"));
	CHECK_EQ(vcpu->run->debug.arch.dr6 & 0xf, 1);
	memset(&debug, 0, sizeof(debug));
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_pass(vcpu);
}

static void data_breakpoint(void)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		/* DR1, 4 bytes, writes */
		.arch.debugreg = { [1] = SCRATCH, [7] = 0x400 | 4 | 0xd << 20 },
	};
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_data");

	NEED_CAP(vcpu->vm, KVM_CAP_SET_GUEST_DEBUG);
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_exit(vcpu, KVM_EXIT_DEBUG);
	CHECK_EQ(vcpu->run->debug.arch.pc, symbol("run_data_next"));
	CHECK_EQ(vcpu->run->debug.arch.dr6 & 0xf, 2);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 2);
	memset(&debug, 0, sizeof(debug));
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_pass(vcpu);
}

static void software_breakpoint(void)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP,
	};
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_int3");
	struct kvm_regs regs;

	NEED_CAP(vcpu->vm, KVM_CAP_SET_GUEST_DEBUG);
	KVM(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	run_to_exit(vcpu, KVM_EXIT_DEBUG);
	CHECK_EQ(vcpu->run->debug.arch.exception, BP_VECTOR);
	/* The INT3's own address, so that a debugger can put the instruction back. */
	CHECK_EQ(vcpu->run->debug.arch.pc, symbol("run_int3_next") - 1);
	CHECK_EQ(regs_of(vcpu).rip, symbol("run_int3_next") - 1);
	regs = regs_of(vcpu);
	regs.rip++;
	KVM(vcpu->fd, KVM_SET_REGS, &regs);
	run_to_pass(vcpu);
}

/* ---- Translation ----------------------------------------------------------------------- */

static struct kvm_translation translate(struct vcpu *vcpu, uint64_t address)
{
	struct kvm_translation t = { .linear_address = address };

	KVM(vcpu->fd, KVM_TRANSLATE, &t);
	return t;
}

static void translation(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	uint64_t *pte = memory(vcpu->vm, symbol("pt64"), 4096);
	struct kvm_translation t;

	pte[1] = (WINDOW + 0x5000) | 3;
	pte[2] = 0;
	t = translate(vcpu, WINDOW + 0x1234);
	CHECK_EQ(t.valid, 1);
	CHECK_EQ(t.physical_address, WINDOW + 0x5234);
	t = translate(vcpu, WINDOW + 0x2234);
	CHECK_EQ(t.valid, 0);
	t = translate(vcpu, 0x12345);
	CHECK_EQ(t.valid, 1);
	CHECK_EQ(t.physical_address, 0x12345);
	t = translate(vcpu, 0x7fff00000000);
	CHECK_EQ(t.valid, 0);
	vcpu_start(vcpu, MODE_PROT, "run_triple_prot");
	t = translate(vcpu, 0xdeadbeef);
	CHECK_EQ(t.valid, 1);
	CHECK_EQ(t.physical_address, 0xdeadbeef);
}

/* ---- kvm_run's own copy of registers --------------------------------------------------- */

static void sync_regs(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "state_regs");
	int cap = NEED_CAP(vcpu->vm, KVM_CAP_SYNC_REGS);

	CHECK(cap & KVM_SYNC_X86_REGS);
	vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	run_to_exit(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->s.regs.regs.rax, 0x0101010101010101);
	CHECK_EQ(vcpu->run->s.regs.regs.r15, 0x1515151515151515);
	CHECK_EQ(vcpu->run->s.regs.sregs.cr3, symbol("pml4"));
	vcpu->run->s.regs.regs.rax = 0x2222222222222222;
	vcpu->run->s.regs.regs.r11++;
	vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	run_to_pass(vcpu);
	CHECK_EQ(vcpu->run->kvm_dirty_regs, 0);
	vcpu->run->kvm_valid_regs = 0x80000000;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_RUN, 0), EINVAL);
	vcpu->run->kvm_valid_regs = 0;
	vcpu->run->kvm_dirty_regs = 0x80000000;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_RUN, 0), EINVAL);
	/* What KVM_SET_SREGS refuses is refused here. */
	vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_SREGS;
	vcpu->run->s.regs.sregs = sregs_of(vcpu);
	vcpu->run->s.regs.sregs.cr0 &= ~1ull;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_RUN, 0), EINVAL);
}

static void bad_entry(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	struct kvm_sregs sregs = sregs_of(vcpu);

	/* Paging without protection, long mode without PAE: no processor is in such a state. */
	sregs.cr0 &= ~1ull;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_SREGS, &sregs), EINVAL);
	sregs = sregs_of(vcpu);
	sregs.cr4 &= ~0x20ull;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_SREGS, &sregs), EINVAL);
	sregs = sregs_of(vcpu);
	sregs.cr4 |= 1ull << 40;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_SREGS, &sregs), EINVAL);
	run_to_exit(vcpu, KVM_EXIT_HLT);
}

/* ---- Odds and ends --------------------------------------------------------------------- */

static void tpr_access(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "run_tpr");
	struct kvm_tpr_access_ctl control = { .enabled = 1 };

	NEED_CAP(vcpu->vm, KVM_CAP_VAPIC);
	KVM(vcpu->fd, KVM_TPR_ACCESS_REPORTING, &control);
	run_to_exit(vcpu, KVM_EXIT_TPR_ACCESS);
	CHECK_EQ(vcpu->run->tpr_access.is_write, 0);
	CHECK_EQ(vcpu->run->tpr_access.rip, symbol("run_tpr_read"));
	run_to_exit(vcpu, KVM_EXIT_TPR_ACCESS);
	CHECK_EQ(vcpu->run->tpr_access.is_write, 1);
	CHECK_EQ(vcpu->run->tpr_access.rip, symbol("run_tpr_write"));
	run_to_pass(vcpu);
}

/* With the capability, a pending #PF's CR2 is its payload, and CR2 changes only on delivery. */
static void exception_payload(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_spin");
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
	struct kvm_vcpu_events e;

	NEED_CAP(vcpu->vm, KVM_CAP_EXCEPTION_PAYLOAD);
	KVM(vcpu->vm->fd, KVM_ENABLE_CAP, &cap);
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	e.exception.pending = 1;
	e.exception.injected = 0;
	e.exception.nr = PF_VECTOR;
	e.exception.has_error_code = 1;
	e.exception.error_code = 2;
	e.exception_has_payload = 1;
	e.exception_payload = 0x12345678;
	KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	CHECK_EQ(sregs_of(vcpu).cr2, 0);
	*(uint64_t *)memory(vcpu->vm, EXC_RESUME, 8) = symbol("run_hlt");
	run_to_exit(vcpu, KVM_EXIT_HLT);
	CHECK_EQ(*(uint64_t *)memory(vcpu->vm, EXC_VECTOR, 8), PF_VECTOR);
	CHECK_EQ(*(uint64_t *)memory(vcpu->vm, EXC_ERROR, 8), 2);
	CHECK_EQ(*(uint64_t *)memory(vcpu->vm, EXC_CR2, 8), 0x12345678);
}

static void triple_fault_event(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args = { 1 } };
	struct kvm_vcpu_events e;

	NEED_CAP(vcpu->vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	KVM(vcpu->vm->fd, KVM_ENABLE_CAP, &cap);
	KVM(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	CHECK(e.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	CHECK_EQ(e.triple_fault.pending, 0);
	e.triple_fault.pending = 1;
	KVM(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	run_to_exit(vcpu, KVM_EXIT_SHUTDOWN);
}

/* Two guests in turn on one thread, with this process's own vector code in between. */
static void fpu_kept(void)
{
	struct vcpu *a = guest(0, MODE_LONG, "run_vectors");
	struct vcpu *b = guest(0, MODE_LONG, "run_vectors");
	volatile double x = 1.5;

	*var(a->vm, "run_pattern") = 0x11111111;
	*var(b->vm, "run_pattern") = 0x22222222;
	for (int i = 0; i < 50; i++) {
		run_to_sync(i & 1 ? a : b, 1);
		x = x * 1.25 - 0.125;
	}
	CHECK(x > 1e3);
}

static void *other_thread(void *arg)
{
	run_to_sync(arg, 1);
	return NULL;
}

/* A vCPU may be run by one thread after another, floating point and all. */
static void other_threads(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_vectors");
	pthread_t thread;

	*var(vcpu->vm, "run_pattern") = 0x33333333;
	for (int i = 0; i < 10; i++) {
		run_to_sync(vcpu, 1);
		CHECK_EQ(pthread_create(&thread, NULL, other_thread, vcpu), 0);
		pthread_join(thread, NULL);
	}
}

#define NO_DR7	"QEMU's VMRUN does not arm the breakpoints of the DR7 it loads"

const struct test run_tests[] = {
	{ "run", "hlt", "HLT without an interrupt chip is KVM_EXIT_HLT, RIP after it", hlt },
	{ "run", "hlt_irqchip", "HLT with the chip in KVM waits there for a line of another thread",
	  hlt_irqchip },
	{ "run", "triple_fault", "a triple fault is KVM_EXIT_SHUTDOWN, in long mode", triple },
	{ "run", "triple_fault_state", "behind it the vCPU is as after INIT, on AMD's processors", triple_state,
	  .wrong_on_paravirt = "the registers stay as they were" },
	{ "run", "triple_fault_prot", "and in protected mode", triple_prot },
	{ "run", "immediate_exit", "with immediate_exit nothing of the guest runs",
	  immediate_exit },
	{ "run", "signal", "a signal ends KVM_RUN with EINTR", signal_exit },
	{ "run", "signal_mask", "KVM_SET_SIGNAL_MASK: a pending signal ends KVM_RUN unhandled",
	  signal_mask },
	{ "run", "signal_in_hlt", "a signal ends HLT's waiting, the MP state is HALTED",
	  signal_in_hlt },
	{ "run", "cancelled", "a thread cancelled in KVM_RUN leaves the vCPU to others", cancelled },
	{ "run", "interrupt_window", "IRQ_WINDOW_OPEN, KVM_INTERRUPT and HLT without a chip",
	  interrupt_window,
	  .wrong_on_paravirt = "while it emulates ring 0, an interrupt waits for the next exit" },
	{ "run", "interrupt_refused", "ENXIO with the chip in KVM, EINVAL for no vector",
	  interrupt_refused },
	{ "run", "set_tpr", "a lowered CR8 is KVM_EXIT_SET_TPR", set_tpr,
	  .wrong_on_paravirt = "moves to CR8 do not leave" },
	{ "run", "single_step", "KVM_SET_GUEST_DEBUG: single step, over CPUID and OUT as well",
	  single_step,
	  .wrong_on_paravirt = "its emulator, which runs ring 0, loses steps at exits" },
	{ "run", "hardware_breakpoint", "a breakpoint by register", hardware_breakpoint,
	  .wrong_on_tcg = NO_DR7 },
	{ "run", "data_breakpoint", "a data breakpoint by register", data_breakpoint,
	  .wrong_on_paravirt =
		"its emulator, which runs ring 0, does not look for data breakpoints",
	  .wrong_on_tcg = NO_DR7 },
	{ "run", "software_breakpoint", "a breakpoint by INT3", software_breakpoint,
	  .wrong_on_paravirt = NOT_EMULATED("INT3"),
	  .wrong_on_tcg = "QEMU's SVM does not intercept #BP" },
	{ "run", "translate", "KVM_TRANSLATE, with paging and without", translation },
	{ "run", "sync_regs", "registers in kvm_run, by kvm_valid_regs and kvm_dirty_regs",
	  sync_regs },
	{ "run", "bad_sregs", "KVM_SET_SREGS refuses impossible states with EINVAL", bad_entry },
	{ "run", "tpr_access", "KVM_TPR_ACCESS_REPORTING: reads and writes of TPR, with their RIP",
	  tpr_access, .wrong_on_paravirt = "it does not report them" },
	{ "run", "exception_payload", "a pending #PF with CR2 as its payload", exception_payload },
	{ "run", "triple_fault_event", "a triple fault by KVM_SET_VCPU_EVENTS",
	  triple_fault_event },
	{ "run", "fpu_kept", "vector registers of two guests in turn, and this process's own",
	  fpu_kept, .wrong_on_paravirt = NOT_EMULATED("x87 and SSE") },
	{ "run", "other_threads", "a vCPU run by one thread after another", other_threads,
	  .wrong_on_paravirt = NOT_EMULATED("x87 and SSE") },
	{ 0 }
};
