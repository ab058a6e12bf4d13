/* SPDX-License-Identifier: GPL-2.0-only */
/* The software TLB: a page that is mapped at more addresses than it keeps count of. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "kvm/anykvm.h"
#include "tests/unit/x86_vm.h"

#define FUNCTION	0x11000		/* mov eax, imm32; ret */
#define ALIASES		0x40000
#define NR_ALIASES	12
#define ROUNDS		100

/* A function is changed through each of its page's addresses in turn, and called after each change: a
 * translation that stayed writable would let one pass unseen. */
static void test_many_aliases(void **state)
{
	static const uint8_t function[] = { 0xb8, 0, 0, 0, 0, 0xc3 };
	static const uint8_t code[] = {
		0xba, ROUNDS, 0, 0, 0,				/*    mov edx, ROUNDS */
		0xbb, 0, ALIASES >> 8 & 0xff, ALIASES >> 16, 0,	/* 5: mov ebx, ALIASES */
		0xb9, NR_ALIASES, 0, 0, 0,			/*    mov ecx, NR_ALIASES */
		0x41, 0xff, 0xc0,				/* 15: inc r8d */
		0x44, 0x89, 0x43, 0x01,				/*    mov [rbx + 1], r8d */
		0xe8, 0xe5, 0x0f, 0, 0,				/*    call FUNCTION */
		0x44, 0x39, 0xc0,				/* 27: cmp eax, r8d */
		0x75, 0x0f,					/*    jne 47 */
		0x81, 0xc3, 0, 0x10, 0, 0,			/* 32: add ebx, 4096 */
		0xff, 0xc9,					/*    dec ecx */
		0x75, 0xe5,					/*    jne 15 */
		0xff, 0xca,					/* 42: dec edx */
		0x75, 0xd7,					/*    jne 5 */
		0x90,
		0xf4,						/* 47: hlt */
	};
	struct x86_vm_test *t = *state;
	uint64_t *pt = (void *)(t->mem + X86_VM_PT);
	struct kvm_regs regs;

	x86_vm_long_mode(t);
	memcpy(t->mem + X86_VM_CODE, code, sizeof(code));
	memcpy(t->mem + FUNCTION, function, sizeof(function));
	for (unsigned int n = 0; n < NR_ALIASES; n++)
		pt[ALIASES / 4096 + n] = FUNCTION | 3;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_REGS, &regs), 0);
	regs.r8 = 0;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_REGS, &regs), 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_RUN, NULL), 0);
	assert_int_equal(t->run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_REGS, &regs), 0);
	assert_int_equal(regs.rdx, 0);
	assert_int_equal(regs.rax, ROUNDS * NR_ALIASES);
	assert_int_equal(regs.r8, ROUNDS * NR_ALIASES);
}

static int setup_translator(void **state)
{
	return anykvm_set_engine("jit") ? -1 : x86_vm_setup(state);
}

static int setup_interpreter(void **state)
{
	return anykvm_set_engine("interp") ? -1 : x86_vm_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many_aliases, setup_translator, x86_vm_teardown),
		cmocka_unit_test_setup_teardown(test_many_aliases, setup_interpreter, x86_vm_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
