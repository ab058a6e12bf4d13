/* SPDX-License-Identifier: GPL-2.0-only */
/* The guests' half of ask.c: instructions that the VMM is asked about. */
#include "guest.h"
GROUP(ask)

#define UNKNOWN_MSR	0x12345678
#define MSR_PAT		0x277
#define MSR_EFER	0xc0000080

	MODE64
	.globl	ask_unknown_msr
ask_unknown_msr:
	movl	$UNKNOWN_MSR, %ecx
	rdmsr
	IS32(0x55667788, %eax)
	IS32(0x11223344, %edx)
	movl	$0xccddeeff, %eax
	movl	$0x8899aabb, %edx
	movl	$UNKNOWN_MSR, %ecx
	wrmsr
	FAULTS(GP_VECTOR, 0, rdmsr)
	movl	$UNKNOWN_MSR, %ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	PASS

	/* PAT may be written, not read; what is refused is first asked for, then #GP. */
	.globl	ask_filtered_msr
ask_filtered_msr:
	movl	$MSR_PAT, %ecx
	movl	$0x00070406, %eax
	movl	$0x00070407, %edx
	wrmsr
	rdmsr
	IS32(0x42, %eax)
	SYNC(1)
	movl	$MSR_PAT, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	SYNC(2)
	movl	$MSR_PAT, %ecx
	rdmsr
	IS32(0x00070406, %eax)
	IS32(0x00070407, %edx)
	PASS

	.globl	ask_platform_info
ask_platform_info:
	movl	$0xce, %ecx
	rdmsr
	SYNC(1)
	movl	$0xce, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	PASS

	/* A value that EFER does not take is no unknown MSR. */
	.globl	ask_bad_value
ask_bad_value:
	movl	$MSR_EFER, %ecx
	rdmsr
	movl	$0x80000000, %edx
	wrmsr
	PASS

	/* KVM_HC_MAP_GPA_RANGE, by the instruction that the processor has. */
	.macro	hypercall
	cmpl	$0, ask_amd
	jne	1f
	vmcall
	jmp	2f
1:	vmmcall
2:
	.endm

	.globl	ask_map_gpa_range
ask_map_gpa_range:
	movl	$12, %eax
	movl	$0x3000, %ebx
	movl	$2, %ecx
	movl	$0x10, %edx
	hypercall
	IS64(0x1234, %rax)
	movl	$12, %eax
	movl	$0x3001, %ebx			/* no page */
	hypercall
	IS64(-22, %rax)
	SYNC(1)
	movl	$12, %eax
	movl	$0x3000, %ebx
	hypercall
	IS64(-1000, %rax)
	PASS

	/* The other vendor's instruction: served, and replaced by this one's; then, the quirk off, undefined. */
	.macro	wrong_hypercall insn, right
	movl	$1, %eax			/* KVM_HC_VAPIC_POLL_IRQ: nothing */
3:	\insn
	IS64(0, %rax)
	IS8(\right, 3b + 2)
	SYNC(1)
	FAULTS(UD_VECTOR, 0, \insn)
	PASS
	.endm

	.globl	ask_vmcall, ask_vmmcall
ask_vmcall:
	wrong_hypercall vmcall, 0xd9
ask_vmmcall:
	wrong_hypercall vmmcall, 0xc1

	.globl	ask_mwait
ask_mwait:
	movl	$SCRATCH, %eax
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	monitor	%rax, %ecx, %edx
	mwait	%eax, %ecx
	SYNC(1)
	movl	$SCRATCH, %eax
	FAULTS(UD_VECTOR, 0, monitor %rax, %ecx, %edx)
	FAULTS(UD_VECTOR, 0, mwait %eax, %ecx)
	PASS

	.globl	ask_debug_register
ask_debug_register:
	movq	%dr0, %rax
	PASS

	.section .data, "aw", @progbits
	.balign	4
	.globl	ask_amd
ask_amd:
	.long	0
