/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guests' half of smp.c: several vCPUs at once. The first starts the others by INIT and SIPI;
 * each finds its APIC ID, its stack and its work. Only what is expected of any x86 processor is
 * checked: locked instructions are atomic, stores become visible in order, a store may pass a
 * later load but not a locked instruction, changed code is seen after a serialising instruction.
 */
#include "guest.h"
#include "smp.h"
GROUP(smp)

	.section .data, "aw", @progbits
	.balign	64
	.globl	smp_cpus, smp_rounds, smp_stop, smp_online, smp_counter, smp_ipis, smp_work, smp_done, smp_round
smp_cpus:				/* how many there are: the host sets it */
	.long	1
smp_rounds:				/* how often to hand over, where vCPUs spin for each other */
	.long	2000
smp_stop:				/* or until the host has seen enough */
	.long	0
smp_online:
	.long	0
smp_work:
	.quad	0
	.balign	64
smp_counter:
	.quad	0
	.balign	64
smp_done:
	.long	0
	.balign	64
smp_ipis:
	.fill	64, 1, 0
	.balign	64
smp_x:	.long	0
	.balign	64
smp_y:	.long	0
	.balign	64
smp_r:	.long	0, 0
	.balign	64
smp_round:
	.long	0, 0
smp_flag:
	.long	0
smp_tsc:
	.quad	0

	/* Real mode at CS 0x800, IP 0 from SIPI vector 8, to 64-bit code. */
	.section .trampoline, "ax", @progbits
	.code16
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	gdtr32
	movl	%cr4, %eax
	orl	$0x20, %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80010001, %eax
	movl	%eax, %cr0
	ljmpl	$KCS64, $smp_ap

	MODE64
smp_ap:
	movl	$KDS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	lidt	idtr64
	movl	$0xfee00000, %r14d
	movl	$0x1ff, 0xf0(%r14)
	movl	0x20(%r14), %r12d
	shrl	$24, %r12d			/* the APIC ID */
	movl	%r12d, %eax
	shll	$12, %eax
	movl	$ap_stack_top, %esp
	subq	%rax, %rsp
	lock incl smp_online
1:	pause
	movq	smp_work, %rax
	testq	%rax, %rax
	jz	1b
	call	*%rax
	lock incl smp_done
	PASS

	.globl	smp_sipi
smp_sipi:
	smp_start smp_nothing
	PASS
smp_nothing:
	ret

	/* Every vCPU adds to the same words in each locked way, 16 of them across a cache line. */
	.globl	smp_atomic
smp_atomic:
	smp_start smp_add
	PASS
smp_add:
	movl	$20000, %ecx
1:	lock incq smp_counter
	lock addl $1, smp_counter + 8
	movl	$1, %eax
	lock xaddl %eax, smp_counter + 16
	movl	smp_counter + 24, %eax
2:	leal	1(%rax), %ebx
	lock cmpxchgl %ebx, smp_counter + 24
	jne	2b
	lock addl $1, SCRATCH + 0x3e		/* across a cache line */
	lock incw SCRATCH + 0x100
	lock incb SCRATCH + 0x110
	decl	%ecx
	jnz	1b
	ret

	.globl	smp_atomic_page
smp_atomic_page:
	smp_start smp_add_page
	PASS
smp_add_page:
	movl	$5000, %ecx
1:	lock addl $1, SCRATCH + 0xffe		/* across a page */
	decl	%ecx
	jnz	1b
	ret

	.globl	smp_cmpxchg16b
smp_cmpxchg16b:
	smp_start smp_add16
	PASS
smp_add16:
	movl	$5000, %esi
1:	movq	SCRATCH, %rax
	movq	SCRATCH + 8, %rdx
2:	leaq	1(%rax), %rbx
	leaq	3(%rdx), %rcx
	lock cmpxchg16b SCRATCH
	jne	2b
	decl	%esi
	jnz	1b
	ret

	/* A spin lock of XCHG around a counter that is not atomic itself. */
	.globl	smp_lock
smp_lock:
	smp_start smp_locked
	PASS
smp_locked:
	movl	$10000, %ecx
1:	movl	$1, %eax
	xchgl	%eax, smp_flag
	testl	%eax, %eax
	jz	2f
	pause
	jmp	1b
2:	incq	smp_counter
	movl	$0, smp_flag
	decl	%ecx
	jnz	1b
	ret

	/* IPIs in a ring: each vCPU on receipt sends to the next, 200 times round. */
	.globl	smp_ring
smp_ring:
	movl	$smp_ipi, %eax
	movw	%ax, idt64 + 16 * 0x60
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * 0x60 + 6
	smp_start smp_pass_on
	PASS
smp_ipi:
	lock incl smp_ipis(,%r12,4)
	movl	$0, 0xb0(%r14)
	iretq
smp_pass_on:
	movl	$200, %esi
	testl	%r12d, %r12d
	jnz	2f
1:	leal	1(%r12), %eax			/* to the next, by physical destination */
	cmpl	smp_cpus, %eax
	jne	3f
	xorl	%eax, %eax
3:	shll	$24, %eax
	movl	%eax, 0x310(%r14)
	movl	$0x4060, 0x300(%r14)
	decl	%esi
	jz	4f
2:	movl	smp_ipis(,%r12,4), %eax
	addl	%esi, %eax			/* received so far and still to send: 200, or 201 */
	movl	$201, %ebx
	cmpl	$1, %r12d
	sbbl	$0, %ebx
	cmpl	%ebx, %eax
	je	1b
	sti
	hlt
	cli
	jmp	2b
4:	testl	%r12d, %r12d
	jnz	6f
5:	cmpl	$200, smp_ipis
	je	6f
	sti
	hlt
	cli
	jmp	5b
6:	ret

	/*
	 * Store buffering: each of two stores to its word and loads the other's. With MFENCE, or a
	 * locked instruction, between them, not both may read 0.
	 */
	.globl	smp_sb_mfence, smp_sb_lock, smp_sb_xchg
	.macro	store_buffer name, insn:vararg
\name:	smp_start \name\()_run
	PASS
\name\()_run:
	cmpl	$2, %r12d
	jae	9f
	movl	smp_rounds, %ebp
1:	testl	%r12d, %r12d
	jnz	2f
	leader_stops
	movl	$0, smp_x
	movl	$0, smp_y
	/* Meet: the first opens the round, the second answers. */
	mfence
	movl	%ebp, smp_round
3:	pause
	cmpl	%ebp, smp_round + 4
	jne	3b
	movl	$1, smp_x
	\insn
	movl	smp_y, %eax
	movl	%eax, smp_r
	jmp	5f
2:	pause
	follower_stops
	cmpl	%ebp, smp_round
	jne	2b
	movl	%ebp, smp_round + 4
	movl	$1, smp_y
	\insn
	movl	smp_x, %eax
	movl	%eax, smp_r + 4
5:	/* Meet again before looking. */
	lock incl smp_flag
	movl	smp_rounds, %ecx
	incl	%ecx
	subl	%ebp, %ecx
	leal	(%rcx,%rcx), %ecx
6:	pause
	cmpl	%ecx, smp_flag
	jb	6b
	movl	smp_r, %eax
	orl	smp_r + 4, %eax
	jnz	7f
	FAIL
7:	/* And once more, before the words are cleared for the next round. */
	lock incl smp_flag + 4
8:	pause
	cmpl	%ecx, smp_flag + 4
	jb	8b
	decl	%ebp
	jnz	1b
9:	ret
	.endm
	store_buffer smp_sb_mfence, mfence
	store_buffer smp_sb_lock, lock orl $0, (%rsp)
	store_buffer smp_sb_xchg, xchgl %edx, -4(%rsp)

	/*
	 * Message passing: the first writes the datum, then the flag; the other, once it sees the
	 * flag, must see the datum, with no fence on either side.
	 */
	.globl	smp_mp
smp_mp:
	smp_start smp_mp_run
	PASS
smp_mp_run:
	cmpl	$2, %r12d
	jae	9f
	movl	$1, %ecx
1:	testl	%r12d, %r12d
	jnz	2f
	movl	%ecx, smp_x
	movl	%ecx, smp_y
	jmp	3f
2:	pause
	movl	smp_y, %eax
	movl	smp_x, %ebx
	cmpl	%eax, %ebx
	jae	4f
	FAIL
4:	cmpl	%ecx, %eax
	jb	2b
	movl	%eax, %ecx
3:	incl	%ecx
	cmpl	$200000, %ecx
	jbe	1b
9:	ret

	/* One changes the other's code; the other runs CPUID, then the code, and must find it new. */
	.globl	smp_cross
smp_cross:
	movb	$0xb8, SCRATCH			/* mov $imm, %eax; ret */
	movl	$0, SCRATCH + 1
	movb	$0xc3, SCRATCH + 5
	smp_start smp_cross_run
	PASS
smp_cross_run:
	cmpl	$2, %r12d
	jae	9f
	movl	$1, %ebp
1:	testl	%r12d, %r12d
	jnz	2f
	leader_stops
	movl	%ebp, SCRATCH + 1
	movl	%ebp, smp_round
3:	pause
	cmpl	%ebp, smp_round + 4
	jne	3b
	jmp	4f
2:	pause
	follower_stops
	cmpl	%ebp, smp_round
	jne	2b
	xorl	%eax, %eax
	xorl	%ecx, %ecx
	cpuid
	movl	$SCRATCH, %ebx
	call	*%rbx
	cmpl	%ebp, %eax
	je	5f
	movl	%ebp, %ecx
	FAIL
5:	movl	%ebp, smp_round + 4
4:	incl	%ebp
	cmpl	smp_rounds, %ebp
	jbe	1b
9:	ret

	/*
	 * TLB shoot-down: the first remaps a page and sends an IPI; the other's handler runs INVLPG,
	 * and after its answer must see the other page.
	 */
	.globl	smp_shootdown
smp_shootdown:
	movl	$smp_flush, %eax
	movw	%ax, idt64 + 16 * 0x61
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * 0x61 + 6
	movl	$0, WINDOW + 0x1000
	movl	$1, WINDOW + 0x2000
	smp_start smp_shootdown_run
	PASS
smp_flush:
	invlpg	WINDOW + 0x3000
	movl	$0, 0xb0(%r14)
	lock incl smp_flag
	iretq
smp_shootdown_run:
	cmpl	$1, %r12d
	ja	9f
	je	5f
	movl	$1, %ebp
1:	leader_stops
	movl	%ebp, %eax			/* odd: page 2, even: page 1 */
	andl	$1, %eax
	incl	%eax
	shll	$12, %eax
	addl	$WINDOW + 3, %eax
	movq	%rax, pt64 + 8 * 3
	invlpg	WINDOW + 0x3000
	movl	$1 << 24, 0x310(%r14)
	movl	$0x4061, 0x300(%r14)
2:	pause
	cmpl	%ebp, smp_flag
	jne	2b
	movl	%ebp, smp_round			/* now the other may look */
3:	pause
	cmpl	%ebp, smp_round + 4
	jne	3b
	incl	%ebp
	cmpl	smp_rounds, %ebp
	jbe	1b
	ret
5:	movl	$1, %ebp
	movl	WINDOW + 0x3000, %eax
	sti
6:	pause
	follower_stops
	movl	WINDOW + 0x3000, %eax
	cmpl	%ebp, smp_round
	jne	6b
	movl	WINDOW + 0x3000, %eax
	movl	%ebp, %ebx
	andl	$1, %ebx
	cmpl	%ebx, %eax
	je	7f
	FAIL
7:	movl	%ebp, smp_round + 4
	incl	%ebp
	cmpl	smp_rounds, %ebp
	jbe	6b
	cli
9:	ret

	/* INIT and SIPI to a vCPU that runs: it starts again, in real mode, by the trampoline. */
	.globl	smp_restart
smp_restart:
	smp_start smp_nothing2
	PASS
smp_nothing2:
	testl	%r12d, %r12d
	jz	2f
1:	pause
	cmpl	$2, smp_online			/* until one, the second time here, has counted again */
	jb	1b
	ret
2:	movl	$1 << 24, 0x310(%r14)
	movl	$0x4500, 0x300(%r14)
	movl	$1 << 24, 0x310(%r14)
	movl	$0x4608, 0x300(%r14)
3:	pause
	cmpl	$2, smp_online
	jne	3b
	ret

	/* A vCPU may see another's TSC, handed over through memory, never ahead of its own. */
	.globl	smp_tsc_sync
smp_tsc_sync:
	smp_start smp_tsc_run
	PASS
smp_tsc_run:
	movl	$2000, %esi
1:	movl	$1, %eax
	xchgl	%eax, smp_flag
	testl	%eax, %eax
	jz	2f
	pause
	jmp	1b
2:	lfence
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	cmpq	smp_tsc, %rax
	jae	3f
	movq	smp_tsc, %rcx
	FAIL
3:	movq	%rax, smp_tsc
	movl	$0, smp_flag
	decl	%esi
	jnz	1b
	ret

	/* An NMI, and a logical and a lowest-priority IPI, to the second vCPU. */
	.globl	smp_kinds
smp_kinds:
	movl	$smp_ipi, %eax
	movw	%ax, idt64 + 16 * 0x60
	movw	%ax, idt64 + 16 * 2
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * 0x60 + 6
	movw	%ax, idt64 + 16 * 2 + 6
	smp_start smp_kinds_run
	IS32(4, smp_ipis + 4)
	IS32(0, smp_ipis)
	PASS
smp_kinds_run:
	movl	$0xffffffff, 0xe0(%r14)		/* the flat model */
	movl	$0x01000000, %eax
	movl	%r12d, %ecx
	shll	%cl, %eax
	movl	%eax, 0xd0(%r14)		/* LDR: a bit for each */
	lock incl smp_flag
1:	pause
	cmpl	$2, smp_flag
	jb	1b
	testl	%r12d, %r12d
	jz	3f
	sti
2:	pause
	cmpl	$4, smp_ipis + 4
	jb	2b
	cli
	ret
	.macro	ipi_and_wait destination, command, count
	movl	$\destination << 24, 0x310(%r14)
	movl	$\command, 0x300(%r14)
777:	pause
	cmpl	$\count, smp_ipis + 4
	jb	777b
	.endm
3:	ipi_and_wait 1, 0x4400, 1		/* NMI */
	ipi_and_wait 2, 0x4860, 2		/* fixed, logical */
	ipi_and_wait 2, 0x4960, 3		/* lowest priority, logical */
	ipi_and_wait 0, 0xc4060, 4		/* all but oneself */
	ret
