/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every guest shares: descriptor tables, task state segments, page tables, and the exception
 * recorder behind all 256 vectors of each mode. All of it is data in the image, not code run at
 * start, so that a guest's first instruction is already the one under test. Each test gets a
 * fresh copy and may spoil it.
 */
#include "guest.h"

/* ---- Vectors -------------------------------------------------------------------------- */

	.section .ivt, "aw", @progbits
	.set	n, 0
	.rept	256
	.word	VEC16 + n * 8, 0
	.set	n, n + 1
	.endr

	.section .vec16, "ax", @progbits
	.code16
	.set	n, 0
	.rept	256
	.balign	8
	pushw	$n
	jmp	record16
	.set	n, n + 1
	.endr

	/* True for the vectors whose exceptions push an error code. */
#define HAS_ERROR(n)	((n) == 8 || ((n) >= 10 && (n) <= 14) || (n) == 17)

	.section .vec32, "ax", @progbits
	.code32
	.set	n, 0
	.rept	256
	.balign	16
	.if	!HAS_ERROR(n)
	push	$0
	.endif
	push	$n
	jmp	record32
	.set	n, n + 1
	.endr

	.section .vec64, "ax", @progbits
	.code64
	.set	n, 0
	.rept	256
	.balign	16
	.if	!HAS_ERROR(n)
	push	$0
	.endif
	push	$n
	jmp	record64
	.set	n, n + 1
	.endr

	/* Gates are DPL 3 where a program may ask for the vector with INT. */
#define GATE_RIGHTS(n)	(0x8e00 | (((n) == BP_VECTOR || (n) == OF_VECTOR || (n) == RETURN_VECTOR) * 0x6000))

	.section .data, "aw", @progbits
	.balign	16
	.globl	idt32
idt32:
	.set	n, 0
	.rept	256
	.word	(VEC32 + n * 16) & 0xffff, KCS32, GATE_RIGHTS(n), (VEC32 + n * 16) >> 16
	.set	n, n + 1
	.endr
	.globl	idt64
idt64:
	.set	n, 0
	.rept	256
	.word	(VEC64 + n * 16) & 0xffff, KCS64, GATE_RIGHTS(n), (VEC64 + n * 16) >> 16
	.long	0, 0
	.set	n, n + 1
	.endr

	/* Operands of LGDT and LIDT, low enough for real mode. */
	.section .text16, "ax", @progbits
	.globl	gdtr32, idtr32, gdtr64, idtr64, idtr_real
gdtr32:
gdtr64:
	.word	GDT_SIZE - 1
	.quad	gdt
idtr32:
	.word	256 * 8 - 1
	.quad	idt32
idtr64:
	.word	256 * 16 - 1
	.quad	idt64
idtr_real:
	.word	256 * 4 - 1
	.quad	0

/* ---- The recorder --------------------------------------------------------------------- */

	/* Real mode: the frame is vector, IP, CS, FLAGS. CS is 0, which makes %cs: reach EXC. */
	.section .text16, "ax", @progbits
	.code16
record16:
	pushl	%eax
	pushw	%bp
	movw	%sp, %bp		/* bp+0 bp, +2 eax, +6 vector, +8 ip, +10 cs, +12 flags */
	incl	%cs:EXC_COUNT
	movzwl	6(%bp), %eax
	movl	%eax, %cs:EXC_VECTOR
	movl	$0, %cs:EXC_ERROR
	movzwl	8(%bp), %eax
	movl	%eax, %cs:EXC_RIP
	movzwl	10(%bp), %eax
	movl	%eax, %cs:EXC_CS
	movzwl	12(%bp), %eax
	movl	%eax, %cs:EXC_FLAGS
	leaw	14(%bp), %ax
	movzwl	%ax, %eax
	movl	%eax, %cs:EXC_RSP
	movl	%dr6, %eax
	movl	%eax, %cs:EXC_DR6
	movl	%cs:EXC_RESUME, %eax
	testl	%eax, %eax
	jz	stray16
	movl	$0, %cs:EXC_RESUME
	movw	%ax, 8(%bp)
	andw	$~0x100, 12(%bp)
	popw	%bp
	popl	%eax
	addw	$2, %sp
	iretw
stray16:
	out	%al, $PORT_STRAY
1:	hlt
	jmp	1b

	/* 32 bits: vector, error code, EIP, CS, EFLAGS and, from another ring, ESP, SS. */
	.section .text, "ax", @progbits
	.code32
record32:
	pushl	%eax
	pushl	%ds
	movl	$KDS, %eax
	movl	%eax, %ds
	incl	EXC_COUNT
	movl	8(%esp), %eax
	movl	%eax, EXC_VECTOR
	movl	12(%esp), %eax
	movl	%eax, EXC_ERROR
	movl	16(%esp), %eax
	movl	%eax, EXC_RIP
	movl	20(%esp), %eax
	movzwl	%ax, %eax
	movl	%eax, EXC_CS
	movl	24(%esp), %eax
	movl	%eax, EXC_FLAGS
	testl	$0x20000, %eax		/* from virtual-8086 mode there is always a stack */
	jnz	2f
	testb	$3, EXC_CS
	jz	3f
2:	movl	28(%esp), %eax
	movl	%eax, EXC_RSP
	movl	32(%esp), %eax
	movzwl	%ax, %eax
	movl	%eax, EXC_SS
	jmp	4f
3:	leal	28(%esp), %eax
	movl	%eax, EXC_RSP
	movl	%ss, %eax
	movl	%eax, EXC_SS
4:	leal	16(%esp), %eax
	movl	%eax, EXC_HANDLER_RSP
	pushfl
	popl	%eax
	movl	%eax, EXC_HANDLER_FLAGS
	movl	%cr2, %eax
	movl	%eax, EXC_CR2
	movl	%dr6, %eax
	movl	%eax, EXC_DR6
	movl	EXC_RESUME, %eax
	testl	%eax, %eax
	jz	stray32
	cmpl	$0, EXC_KSTACK
	jne	5f
	movl	$0, EXC_RESUME
	movl	%eax, 16(%esp)
	andl	$~0x100, 24(%esp)
	testl	$0x20000, 24(%esp)
	jnz	6f
	testb	$3, 20(%esp)
	jnz	6f
	/* Within ring 0 without IRET, which some emulators of ring 0 do not have. */
	popl	%ds
	popl	%eax
	addl	$8, %esp
	pushl	8(%esp)
	popfl
	lretl	$4
6:	popl	%ds
	popl	%eax
	addl	$8, %esp
	iretl
5:	addl	$4, %esp
	popl	%eax
	movl	EXC_KSTACK, %esp
	pushl	EXC_RESUME
	movl	$0, EXC_RESUME
	ret
stray32:
	out	%al, $PORT_STRAY
1:	hlt
	jmp	1b

	/* 64 bits: vector, error code, RIP, CS, RFLAGS, RSP, SS, always. */
	.code64
record64:
	pushq	%rax
	incq	EXC_COUNT
	movq	8(%rsp), %rax
	movq	%rax, EXC_VECTOR
	movq	16(%rsp), %rax
	movq	%rax, EXC_ERROR
	movq	24(%rsp), %rax
	movq	%rax, EXC_RIP
	movzwl	32(%rsp), %eax
	movq	%rax, EXC_CS
	movq	40(%rsp), %rax
	movq	%rax, EXC_FLAGS
	movq	48(%rsp), %rax
	movq	%rax, EXC_RSP
	movzwl	56(%rsp), %eax
	movq	%rax, EXC_SS
	leaq	24(%rsp), %rax
	movq	%rax, EXC_HANDLER_RSP
	pushfq
	popq	%rax
	movq	%rax, EXC_HANDLER_FLAGS
	movq	%cr2, %rax
	movq	%rax, EXC_CR2
	movq	%dr6, %rax
	movq	%rax, EXC_DR6
	movq	EXC_RESUME, %rax
	testq	%rax, %rax
	jz	stray64
	cmpq	$0, EXC_KSTACK
	jne	5f
	movq	$0, EXC_RESUME
	movq	%rax, 24(%rsp)
	andl	$~0x100, 40(%rsp)
	popq	%rax
	addq	$16, %rsp
	iretq
5:	popq	%rax
	movq	EXC_KSTACK, %rsp
	pushq	EXC_RESUME
	movq	$0, EXC_RESUME
	ret
stray64:
	out	%al, $PORT_STRAY
1:	hlt
	jmp	1b

/* ---- Descriptors ---------------------------------------------------------------------- */

	/* A descriptor of base 0 to 0xffffffff from constants; flags is byte 6's high half. */
#define DESC(base, limit, type, flags)						\
	.word	(limit) & 0xffff, (base) & 0xffff;				\
	.byte	((base) >> 16) & 0xff, type, ((limit) >> 16) | ((flags) << 4), (base) >> 24

	.section .data, "aw", @progbits
	.balign	GDT_SIZE			/* in one page: see TOUCH */
	.globl	gdt
gdt:	.quad	0
	DESC(0, 0xfffff, 0x9b, 0xc)		/* KCS32 */
	DESC(0, 0xfffff, 0x93, 0xc)		/* KDS */
	DESC(0, 0xfffff, 0xfb, 0xc)		/* UCS32 */
	DESC(0, 0xfffff, 0xf3, 0xc)		/* UDS */
	DESC(0, 0xfffff, 0xfb, 0xa)		/* UCS64 */
	DESC(0, 0xfffff, 0xf3, 0xc)		/* UDS2 */
	DESC(0, 0xfffff, 0x9b, 0xa)		/* KCS64 */
	DESC(0, 0xfffff, 0x93, 0xc)		/* KDS2 */
	DESC(0, 0xffff, 0x9b, 0x0)		/* KCS16 */
	DESC(0, 0xffff, 0x93, 0x0)		/* KDS16 */
	DESC(TSS64, TSS_SIZE - 1, 0x89, 0)	/* TR64 */
	.quad	0
	DESC(TSS32, TSS_SIZE - 1, 0x89, 0)	/* TR32 */
	.quad	0, 0				/* LDT */
	.fill	16, 8, 0			/* SEL(0) to SEL(15) */

	/* The I/O bitmap forbids all ports: ring 3 has them by IOPL, or by a test's own bits. */
	.section .tss, "aw", @progbits
	.org	TSS64 - TSS64
	.long	0
	.quad	stack0_top, 0, 0		/* RSP0 to 2 */
	.quad	0
	.quad	ist1_top, ist2_top, 0, 0, 0, 0, 0
	.quad	0
	.word	0, 0x68
	.fill	33, 1, 0xff
	.org	TSS32 - TSS64
	.long	0, stack0_top, KDS		/* back link, ESP0, SS0 */
	.long	stack1_top, SEL(14) | 1		/* ESP1, SS1: a test of ring 1 fills SEL(14) */
	.long	0, 0
	.fill	0x66 - 0x1c, 1, 0
	.word	0x68
	.fill	33, 1, 0xff

	.section .bss, "aw", @nobits
	.balign	16
	.globl	stack_top, stack0_top, stack1_top, ist1_top, ist2_top, ap_stack_top
	.skip	4096
stack_top:
	.skip	4096
stack0_top:
	.skip	4096
stack1_top:
	.skip	4096
ist1_top:
	.skip	4096
ist2_top:
	.skip	4096 * 4		/* one page for each vCPU but the first, downwards */
ap_stack_top:

/* ---- Page tables ---------------------------------------------------------------------- */

	/*
	 * The same map in each format: 4 GiB one to one, writable, in large pages, USER_BASE
	 * for ring 3, and the WINDOW's 2 or 4 MiB through a table of 4 KiB pages. Accessed and
	 * dirty bits start clear.
	 */
#define P_KERNEL	0x3
#define P_USER		0x7
#define P_LARGE		0x80

	.section .pagetables, "aw", @progbits
	.balign	4096
	.globl	pd32, pt32, pdptae, pml4, pdpt, pd64, pt64
pd32:
	.set	n, 0
	.rept	1024
	.if	n == WINDOW >> 22
	.long	pt32 + P_USER
	.elseif	n == USER_BASE >> 22
	.long	(n << 22) + P_USER + P_LARGE
	.else
	.long	(n << 22) + P_KERNEL + P_LARGE
	.endif
	.set	n, n + 1
	.endr
pt32:
	.set	n, 0
	.rept	1024
	.long	WINDOW + (n << 12) + P_KERNEL
	.set	n, n + 1
	.endr

pml4:	.quad	pdpt + P_USER
	.fill	511, 8, 0
pdpt:	.quad	pd64 + P_USER, pd64 + 0x1000 + P_USER, pd64 + 0x2000 + P_USER, pd64 + 0x3000 + P_USER
	.fill	508, 8, 0
	/* Serves PAE too, whose four-entry table is pdptae. */
pd64:
	.set	n, 0
	.rept	2048
	.if	n == WINDOW >> 21
	.quad	pt64 + P_USER
	.elseif	n >> 1 == USER_BASE >> 22
	.quad	(n << 21) + P_USER + P_LARGE
	.else
	.quad	(n << 21) + P_KERNEL + P_LARGE
	.endif
	.set	n, n + 1
	.endr
pt64:
	.set	n, 0
	.rept	512
	.quad	WINDOW + (n << 12) + P_KERNEL
	.set	n, n + 1
	.endr
pdptae:	.quad	pd64 + 1, pd64 + 0x1001, pd64 + 0x2001, pd64 + 0x3001

/* ---- The harness's own probe ---------------------------------------------------------- */

	/* One instruction that hardware runs anywhere and that KVM's emulator does not have. */
	.section .text, "ax", @progbits
	.code64
	.globl	probe
probe:
	xorl	%eax, %eax
	xorl	%ebx, %ebx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	lock cmpxchg16b	SCRATCH
	PASS
