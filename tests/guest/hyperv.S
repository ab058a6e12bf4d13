/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guests' half of hyperv.c: Hyper-V's interfaces, as a guest whose CPUID has them uses them (Hypervisor
 * Top-Level Functional Specification). r14 is the local APIC's address.
 */
#include "guest.h"
GROUP(hyperv)

#define OS_ID		0x40000000
#define HYPERCALL	0x40000001
#define VP_INDEX	0x40000002
#define RESET		0x40000003
#define VP_RUNTIME	0x40000010
#define REF_COUNT	0x40000020
#define REF_TSC		0x40000021
#define EOI		0x40000070
#define ICR		0x40000071
#define TPR		0x40000072
#define ASSIST_PAGE	0x40000073
#define SCONTROL	0x40000080
#define SIEFP		0x40000082
#define SIMP		0x40000083
#define EOM		0x40000084
#define SINT(n)		(0x40000090 + (n))
#define STIMER_CONFIG	0x400000b0
#define STIMER_COUNT	0x400000b1
#define CRASH_P0	0x40000100
#define CRASH_CTL	0x40000105

#define CALLS		(SCRATCH + 0x10000)	/* the hypercall page */
#define PAGE		(SCRATCH + 0x11000)	/* whichever else a test needs */
#define INPUT		(SCRATCH + 0x12000)	/* of hypercalls */
#define NOWHERE		0x40000000		/* no memory */

	.section .data, "aw", @progbits
	.balign	4
	.globl	hv_count, hv_round, hv_spared
hv_count:				/* interrupts taken */
	.long	0
hv_spared:				/* interrupts that needed no EOI */
	.long	0
hv_round:				/* of the leader, and of the follower */
	.long	0, 0

	MODE64
	.macro	set_msr msr, low, high=0
	movl	$\msr, %ecx
	movl	$\low, %eax
	movl	$\high, %edx
	wrmsr
	.endm

	.macro	get_msr msr		/* rax */
	movl	$\msr, %ecx
	rdmsr
	shlq	$32, %rdx
	orq	%rdx, %rax
	.endm

	.macro	gate vector, name
	movl	$\name, %eax
	movw	%ax, idt64 + 16 * (\vector)
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * (\vector) + 6
	.endm

	.macro	start
	movl	$0xfee00000, %r14d
	movl	$0x1ff, 0xf0(%r14)
	set_msr	OS_ID, 1
	set_msr	HYPERCALL, CALLS + 1
	movq	%cr4, %rax
	orl	$0x200, %eax			/* XMM registers */
	movq	%rax, %cr4
	.endm

	/* rdx: where the parameters are, or the first; r8: the second. */
	.macro	hypercall input
	movabsq	$\input, %rcx
	movl	$CALLS, %eax
	call	*%rax
	.endm

	/* What Hyper-V has is not there for those who are not shown it. */
TEST(absent, LONG, "without Hyper-V in CPUID its MSRs are #GP"):
	movl	$OS_ID, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	movl	$REF_COUNT, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	movl	$SIMP, %ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	PASS

	.globl	hv_msrs
hv_msrs:
	start
	get_msr	VP_INDEX
	IS64(0, %rax)
	movl	$VP_INDEX, %ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	movl	$VP_RUNTIME, %ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	movl	$REF_COUNT, %ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	movl	$0x40000004, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	movl	$SIMP, %ecx			/* the VMM has not switched it on */
	FAULTS(GP_VECTOR, 0, rdmsr)
	movl	$EOI, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	set_msr	TPR, 0x50
	IS32(0x50, 0x80(%r14))
	/* A page that is no memory cannot be had. */
	movl	$HYPERCALL, %ecx
	movl	$NOWHERE + 1, %eax
	xorl	%edx, %edx
	FAULTS(GP_VECTOR, 0, wrmsr)
	movl	$ASSIST_PAGE, %ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	/* The page stays where it was, and goes with the guest's name. */
	get_msr	HYPERCALL
	IS64(CALLS + 1, %rax)
	set_msr	OS_ID, 0
	get_msr	HYPERCALL
	IS64(CALLS, %rax)
	PASS

	/* The TSC page tells the same time as the counter. */
	.globl	hv_clock
hv_clock:
	start
	set_msr	REF_TSC, PAGE + 1
	cmpl	$0, PAGE
	jne	1f
	FAIL
1:	movl	$100, %ebp
2:	get_msr	REF_COUNT
	movq	%rax, %r8
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	mulq	PAGE + 8
	addq	PAGE + 16, %rdx
	movq	%rdx, %r9
	get_msr	REF_COUNT
	cmpq	%r8, %r9
	jb	3f
	cmpq	%r9, %rax
	jb	3f
	decl	%ebp
	jnz	2b
	/* A place without memory: the counter goes on alone. */
	set_msr	REF_TSC, NOWHERE + 1
	get_msr	REF_COUNT
	cmpq	%r9, %rax
	jb	3f
	PASS
3:	FAIL

	.globl	hv_exits
hv_exits:
	start
	set_msr	SIMP, PAGE + 1
	set_msr	SIEFP, INPUT + 1
	set_msr	SCONTROL, 1
	/* Messages are the VMM's. */
	movl	$INPUT, %edx
	movl	$PAGE, %r8d
	hypercall 0x5c
	IS64(0x1122334455667788, %rax)
	/* A connection that it does not know otherwise, too. */
	movl	$0x33, %edx
	xorl	%r8d, %r8d
	hypercall 0x1005d
	IS64(0x12, %rax)
	set_msr	CRASH_P0, 0xdead
	set_msr	CRASH_CTL, 0, 0x80000000
	set_msr	RESET, 1
	PASS

	.globl	hv_signal
hv_signal:
	start
	movl	$0x123456, %edx			/* in a register */
	hypercall 0x1005d
	IS64(0, %rax)
	movq	$0x123456, INPUT
	movl	$INPUT, %edx			/* in memory */
	hypercall 0x5d
	IS64(0, %rax)
	movl	$INPUT + 1, %edx		/* not aligned */
	hypercall 0x5d
	IS64(4, %rax)
	movl	$NOWHERE, %edx
	hypercall 0x5d
	IS64(4, %rax)
	movl	$0x3123456, %edx		/* more than an identifier */
	hypercall 0x1005d
	IS64(3, %rax)
	movl	$0x123456, %edx			/* repetitions and variable parts that it has not */
	hypercall 0x10001005d
	IS64(3, %rax)
	movl	$0x123456, %edx
	hypercall 0x3005d
	IS64(3, %rax)
	movl	$0x123456, %edx			/* reserved bits */
	hypercall 0x801005d
	IS64(3, %rax)
	hypercall 0xbeef
	IS64(2, %rax)
	PASS

	/* In compatibility and protected mode parameters are pairs of registers, and ring 3 has no say. */
	.globl	hv_calls32
	MODE32
hv_calls32:
	movl	$OS_ID, %ecx
	movl	$1, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$HYPERCALL, %ecx
	movl	$CALLS + 1, %eax
	wrmsr
	movl	$0x1005d, %eax
	xorl	%edx, %edx
	xorl	%ebx, %ebx
	movl	$0x123456, %ecx
	movl	$CALLS, %ebp
	call	*%ebp
	IS32(0, %eax)
	IS32(0, %edx)
	movl	$0x0014, %eax			/* a list, of three, of which all are done */
	movl	$3, %edx
	xorl	%ebx, %ebx
	movl	$INPUT, %ecx
	movl	$0, INPUT + 16
	movl	$0, INPUT + 24
	call	*%ebp
	IS32(0, %eax)
	IS32(3, %edx)
	PASS

	MODE64
	.pushsection .handlers, "ax", @progbits
	.code64
hv_plain:				/* ends its interrupt by Hyper-V's register */
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	incl	hv_count
	set_msr	EOI, 0
	popq	%rdx
	popq	%rcx
	popq	%rax
	iretq
hv_auto:				/* need not end it at all */
	incl	hv_count
	iretq
hv_lazy:				/* ends it by the page, where that can be */
	btrl	$0, PAGE
	jnc	hv_plain
	incl	hv_count
	incl	hv_spared
	iretq
	.popsection

	/* Synthetic interrupts that the VMM raises by routes: GSI 16, 17 to sources 2, 3. */
	.globl	hv_sints
hv_sints:
	start
	gate	0x51, hv_plain
	gate	0x52, hv_auto
	set_msr	SINT(2), 0x51
	set_msr	SINT(3), 0x20052
	movl	$SINT(4), %ecx
	movl	$0xf, %eax			/* no vector for an interrupt */
	FAULTS(GP_VECTOR, 0, wrmsr)
	sti
	SYNC(1)
1:	cmpl	$2, hv_count
	jb	1b
	SYNC(2)
1:	cmpl	$4, hv_count
	jb	1b
	cli
	set_msr	SINT(2), 0x10051		/* masked */
	SYNC(3)
	sti
	nop
	cli
	IS32(4, hv_count)
	IS32(0, 0x120(%r14))			/* none in service */
	PASS

	/* An interrupt that nobody else waits for the end of, ended by the assist page: it takes no exit. */
	.globl	hv_assist
hv_assist:
	start
	gate	0x53, hv_lazy
	movl	$~0, PAGE
	movl	$0x5a5a5a5a, PAGE + 4
	set_msr	ASSIST_PAGE, PAGE + 1
	IS32(0, PAGE)
	IS32(0x5a5a5a5a, PAGE + 4)		/* saved state may be there */
	movl	$100, %ebp
1:	set_msr	ICR, 0x40053, 0
	sti
	nop
	cli
	decl	%ebp
	jnz	1b
	IS32(100, hv_count)
	cmpl	$0, hv_spared			/* one that an exit comes into is not spared */
	jne	2f
	FAIL
2:
	IS32(0, 0xa0(%r14))			/* nothing is left in service */
	set_msr	ASSIST_PAGE, 0
	set_msr	ICR, 0x40053, 0
	sti
	nop
	cli
	IS32(101, hv_count)
	PASS

	/* A timer as fast as can be written, and messages to where no memory is. */
	.globl	hv_hostile
hv_hostile:
	start
	gate	0x51, hv_plain
	set_msr	SINT(0), 0x51
	set_msr	SIMP, NOWHERE + 1
	set_msr	STIMER_COUNT, 1
	set_msr	STIMER_CONFIG, 3
	set_msr	EOM, 0
	set_msr	STIMER_CONFIG, 0x1513		/* periodic, direct, vector 51h */
	set_msr	STIMER_COUNT, 0xffffffff, 0xffffffff
	set_msr	STIMER_COUNT, 1
	set_msr	STIMER_CONFIG, 0x1513
	sti
1:	hlt
	cmpl	$20, hv_count
	jb	1b
	cli
	set_msr	STIMER_CONFIG, 0
	/* Once, now, to the same place; then to one that is there. */
	set_msr	STIMER_CONFIG, 0x20001
	set_msr	SINT(2), 0x51
	set_msr	SIMP, PAGE + 1
	movl	$0, PAGE + 2 * 256
	set_msr	EOM, 0
	IS32(0x80000010, PAGE + 2 * 256)
	PASS

	/*
	 * The first changes what a page is and has the second's TLB flushed, by each form of the call in turn; the
	 * second, whose virtual processor's index is 70, looks.
	 */
	.globl	hv_flush, hv_flush_other
hv_flush:
	start
	movl	$0, WINDOW + 0x1000
	movl	$1, WINDOW + 0x2000
	movl	$1, %ebp
1:	movl	%ebp, %eax			/* odd: page 2, even: page 1 */
	andl	$1, %eax
	incl	%eax
	shll	$12, %eax
	addl	$WINDOW + 3, %eax
	movq	%rax, pt64 + 8 * 3
	xorl	%r9d, %r9d
	movl	%ebp, %eax
	xorl	%edx, %edx
	movl	$5, %ecx
	divl	%ecx
	movq	$0, INPUT			/* address space, flags; set or mask */
	movq	$0, INPUT + 8
	cmpl	$1, %edx
	jb	2f
	je	3f
	cmpl	$3, %edx
	jb	4f
	je	5f
	/* Everybody, by the older call: the mask has no bit for the second. */
	movq	$1, INPUT + 8
	movq	$0, INPUT + 16
	movl	$INPUT, %edx
	hypercall 0x2
	jmp	6f
2:	/* A sparse set in memory. */
	movq	$0, INPUT + 16
	movq	$2, INPUT + 24
	movq	$1 << 6, INPUT + 32
	movl	$INPUT, %edx
	hypercall 0x20013
	jmp	6f
3:	/* The same in registers. */
	xorl	%edx, %edx
	xorl	%r8d, %r8d
	movl	$2, %eax
	movq	%rax, %xmm0
	pslldq	$8, %xmm0
	movl	$1 << 6, %eax
	movq	%rax, %xmm1
	hypercall 0x30013
	jmp	6f
4:	/* A list of addresses in memory, to all. */
	movq	$1, INPUT + 16
	movq	$0, INPUT + 24
	movq	$WINDOW + 0x3000, INPUT + 32
	movl	$INPUT, %edx
	hypercall 0x100000014
	movl	$1, %r9d
	jmp	6f
5:	/* No mask: all. */
	xorl	%edx, %edx
	xorl	%r8d, %r8d
	pxor	%xmm0, %xmm0
	hypercall 0x10002
6:	cmpl	$0, %eax
	je	7f
	FAIL
7:	shrq	$32, %rax			/* as many repetitions as there were */
	cmpl	%eax, %r9d
	je	8f
	FAIL
8:	movl	%ebp, hv_round
9:	pause
	cmpl	%ebp, hv_round + 4
	jne	9b
	incl	%ebp
	cmpl	$200, %ebp
	jbe	1b
	/* Sets that are not what they say. */
	movq	$0, INPUT + 16
	movq	$3, INPUT + 24
	movl	$INPUT, %edx
	hypercall 0x20013			/* two banks, one word */
	IS64(3, %rax)
	movl	$NOWHERE, %edx
	hypercall 0x20013
	IS64(3, %rax)
	PASS

hv_flush_other:
	movl	$1, %ebp
	movl	WINDOW + 0x3000, %eax
1:	pause
	movl	WINDOW + 0x3000, %eax
	cmpl	%ebp, hv_round
	jne	1b
	movl	WINDOW + 0x3000, %eax
	movl	%ebp, %ebx
	andl	$1, %ebx
	cmpl	%ebx, %eax
	je	2f
	FAIL
2:	movl	%ebp, hv_round + 4
	incl	%ebp
	cmpl	$200, %ebp
	jbe	1b
	PASS

	/* IPIs to a set of which only the second is, which sleeps. */
	.globl	hv_ipis, hv_ipis_other
hv_ipis:
	start
	gate	0x54, hv_plain
1:	pause
	cmpl	$1, hv_round + 4		/* its APIC is on */
	jne	1b
	movl	$1, %ebp
1:	testl	$1, %ebp
	jz	2f
	movl	$0x54, %edx			/* in registers */
	xorl	%r8d, %r8d
	movl	$2, %eax
	movq	%rax, %xmm0
	movl	$1 << 6, %eax
	movq	%rax, %xmm1
	pslldq	$8, %xmm1
	por	%xmm1, %xmm0
	hypercall 0x30015
	jmp	3f
2:	movq	$0x54, INPUT			/* in memory */
	movq	$0, INPUT + 8
	movq	$2, INPUT + 16
	movq	$1 << 6, INPUT + 24
	movl	$INPUT, %edx
	hypercall 0x20015
3:	cmpq	$0, %rax
	je	4f
	FAIL
4:	pause
	cmpl	%ebp, hv_count
	jne	4b
	incl	%ebp
	cmpl	$100, %ebp
	jbe	1b
	pxor	%xmm0, %xmm0
	movl	$0x8, %edx			/* no vector of an interrupt */
	movl	$1, %r8d
	hypercall 0x10015
	IS64(3, %rax)
	movl	$0x54, %edx			/* a mask that the second is not in */
	movl	$2, %r8d
	hypercall 0x1000b
	IS64(0, %rax)
	IS32(100, hv_count)
	PASS

hv_ipis_other:
	movl	$0xfee00000, %r14d
	movl	$0x1ff, 0xf0(%r14)
	movl	$1, hv_round + 4
1:	sti
	hlt
	cli
	cmpl	$100, hv_count
	jb	1b
	PASS
