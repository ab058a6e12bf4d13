/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a fault in the delivery of an exception becomes: every pair of SDM volume 3, table 6-5. The first
 * is injected by the VMM; its gate makes the second. Each handler is a HLT that tells by its
 * address which one ran.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/x86_vm.h"

#define NMI	2
#define DF	8
#define TS	10
#define NP	11
#define GP	13
#define PF	14
#define SHUTDOWN (-1)

/* Ways to break a vector's gate, and what each raises. */
enum { WHOLE, ABSENT, BAD_TYPE, UNMAPPED, NR_WAYS };
static const int raises[NR_WAYS] = { 0, NP, GP, PF };

/* A page with nothing in it but what a broken gate leads to. */
#define UNMAPPED_STACK	0x30000

static void break_gate(struct x86_vm_test *t, int vector, int way)
{
	uint64_t *gate = (uint64_t *)(t->mem + X86_VM_IDT) + vector * 2;
	uint64_t *pt = (uint64_t *)(t->mem + X86_VM_PT);
	uint64_t *ist = (uint64_t *)(t->mem + X86_VM_TSS + 36);

	switch (way) {
	case ABSENT:
		*gate &= ~(0x8000ull << 32);
		break;
	case BAD_TYPE:
		*gate &= ~(0xf00ull << 32);
		break;
	case UNMAPPED:		/* its stack, IST1, is on a page that is not there */
		memcpy(ist, &(uint64_t){ UNMAPPED_STACK + 0x1000 }, 8);
		pt[UNMAPPED_STACK >> 12] = 0;
		*gate |= 1ull << 32;
		break;
	}
}

static bool has_error(int vector)
{
	return vector == DF || (vector >= TS && vector <= PF) || vector == 17;
}

/* Injects `first`; the vector of the handler that ran, or SHUTDOWN. */
static int inject(struct x86_vm_test *t, int first)
{
	struct kvm_vcpu_events ev;
	struct kvm_regs regs;

	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_VCPU_EVENTS, &ev), 0);
	ev.exception.injected = 1;
	ev.exception.nr = first;
	ev.exception.has_error_code = has_error(first);
	ev.exception.error_code = 0;
	ev.flags = 0;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_VCPU_EVENTS, &ev), 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_RUN, NULL), 0);
	if (t->run->exit_reason == KVM_EXIT_SHUTDOWN)
		return SHUTDOWN;
	assert_int_equal(t->run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_REGS, &regs), 0);
	assert_in_range(regs.rip, X86_VM_HANDLERS + 1, X86_VM_HANDLERS + 256);
	return regs.rip - 1 - X86_VM_HANDLERS;
}

static bool contributory(int vector)
{
	return vector == 0 || (vector >= TS && vector <= GP) || vector == 21;
}

static int expected(int first, int second)
{
	if (!second)
		return first;
	if (first == DF)
		return SHUTDOWN;
	if ((first == PF || first == 20) && (contributory(second) || second == PF))
		return DF;
	if (contributory(first) && contributory(second))
		return DF;
	return second;
}

static void test_pairs(void **state)
{
	struct x86_vm_test *t = *state;

	for (int first = 0; first < 32; first++) {
		if (first == NMI)
			continue;
		for (int way = 0; way < NR_WAYS; way++) {
			int want = expected(first, raises[way]), got;

			x86_vm_long_mode(t);
			((uint64_t *)(t->mem + X86_VM_PT))[UNMAPPED_STACK >> 12] = UNMAPPED_STACK | 3;
			break_gate(t, first, way);
			got = inject(t, first);
			if (got != want)
				fail_msg("vector %d, way %d: %d, not %d", first, way, got, want);
		}
	}
}

/* A broken double-fault gate: whatever leads there ends the machine. */
static void test_triple(void **state)
{
	struct x86_vm_test *t = *state;

	for (int way = ABSENT; way < NR_WAYS; way++) {
		x86_vm_long_mode(t);
		((uint64_t *)(t->mem + X86_VM_PT))[UNMAPPED_STACK >> 12] = UNMAPPED_STACK | 3;
		break_gate(t, GP, way);
		break_gate(t, NP, ABSENT);
		break_gate(t, PF, ABSENT);
		break_gate(t, DF, way);
		assert_int_equal(inject(t, GP), SHUTDOWN);
	}
}

/* The frame and the error code of a fault that replaced another: EXT is set, the gate is named. */
static void test_frame(void **state)
{
	struct x86_vm_test *t = *state;
	uint64_t *frame = (uint64_t *)(t->mem + X86_VM_STACK - 48);
	struct kvm_sregs sregs;

	x86_vm_long_mode(t);
	break_gate(t, 6, ABSENT);
	assert_int_equal(inject(t, 6), NP);
	assert_int_equal(frame[0], 6 * 8 + 2 + 1);
	assert_int_equal(frame[1], X86_VM_CODE);
	assert_int_equal(frame[2], 8);
	assert_int_equal(frame[3], 0x10002);	/* RF */
	assert_int_equal(frame[4], X86_VM_STACK);
	assert_int_equal(frame[5], 16);

	/* A double fault has error code 0, and CR2 is the fault's that made it. */
	x86_vm_long_mode(t);
	break_gate(t, PF, UNMAPPED);
	assert_int_equal(inject(t, PF), DF);
	assert_int_equal(frame[0], 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS, &sregs), 0);
	assert_in_range(sregs.cr2, UNMAPPED_STACK, UNMAPPED_STACK + 0xfff);
}

/* An interrupt is benign whatever its vector: a fault in its delivery comes in its place. */
static void test_interrupt(void **state)
{
	struct x86_vm_test *t = *state;

	for (int vector = 0; vector < 256; vector += 51) {
		struct kvm_interrupt irq = { .irq = vector };
		uint64_t *frame = (uint64_t *)(t->mem + X86_VM_STACK - 48);
		struct kvm_regs regs;

		x86_vm_long_mode(t);
		break_gate(t, vector, ABSENT);
		assert_int_equal(x86_vcpu_ioctl(t, KVM_INTERRUPT, &irq), 0);
		assert_int_equal(x86_vcpu_ioctl(t, KVM_RUN, NULL), 0);
		assert_int_equal(t->run->exit_reason, KVM_EXIT_HLT);
		assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_REGS, &regs), 0);
		assert_int_equal(regs.rip - 1, X86_VM_HANDLERS + NP);
		assert_int_equal(frame[0], vector * 8 + 2 + 1);
	}
}

/*
 * A guest that reads a port with interrupts off and lets them in for an instruction between: what waited
 * while the VMM answered the port is delivered there.
 */
static void test_window_behind_port(void **state)
{
	/* 1: sti; nop; nop; cli; in $0x10, %al; jmp 1b */
	static const uint8_t code[] = { 0xfb, 0x90, 0x90, 0xfa, 0xe4, 0x10, 0xeb, 0xf8 };
	struct x86_vm_test *t = *state;
	struct kvm_interrupt interrupt = { .irq = 40 };
	struct kvm_regs regs;

	x86_vm_long_mode(t);
	memcpy(t->mem + X86_VM_CODE, code, sizeof(code));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(x86_vcpu_ioctl(t, KVM_RUN, NULL), 0);
		assert_int_equal(t->run->exit_reason, KVM_EXIT_IO);
	}
	t->run->request_interrupt_window = 1;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_RUN, NULL), 0);
	assert_int_equal(t->run->exit_reason, KVM_EXIT_IRQ_WINDOW_OPEN);
	t->run->request_interrupt_window = 0;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_INTERRUPT, &interrupt), 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_RUN, NULL), 0);
	assert_int_equal(t->run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_REGS, &regs), 0);
	assert_int_equal(regs.rip, X86_VM_HANDLERS + 40 + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pairs, x86_vm_setup, x86_vm_teardown),
		cmocka_unit_test_setup_teardown(test_triple, x86_vm_setup, x86_vm_teardown),
		cmocka_unit_test_setup_teardown(test_frame, x86_vm_setup, x86_vm_teardown),
		cmocka_unit_test_setup_teardown(test_interrupt, x86_vm_setup, x86_vm_teardown),
		cmocka_unit_test_setup_teardown(test_window_behind_port, x86_vm_setup, x86_vm_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
