/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory order: the outcomes that x86 processors never show (SDM volume 3, 9.2; Sewell and others' x86-TSO).
 *
 * A test is a few instructions for each of two to four threads. It is done on an array of cells at once, so
 * that threads meet once a batch and run side by side within it; then one of them looks at each cell for the
 * forbidden outcome. With 4 vCPUs, a test of two threads is done twice, each pair on cells of its own.
 */
#include "guest.h"
#include "smp.h"
GROUP(litmus)

#define CELLS		256
#define STRIDE		64		/* a cache line */
#define SPAN		(CELLS * STRIDE)
/* A cell's variables at %rsi, two that are split across a line, and what the threads read. */
	.set	X, SCRATCH + 0x10000
	.set	Y, SCRATCH + 0x50000
	.set	SPLIT, X + 0x3e
	.set	R0, SCRATCH + 0x90000
	.set	R1, R0 + 4
	.set	R2, R0 + 8
	.set	R3, R0 + 12

	.section .data, "aw", @progbits
	.balign	64
	.globl	litmus_batches
litmus_batches:				/* done so far */
	.long	0
	.balign	64
litmus_met:
	.long	0
	.balign	64
litmus_end:
	.long	0

	MODE64
	/* Waits for all vCPUs. r13d: how many have come by when all have. */
	.macro	meet
	addl	smp_cpus, %r13d
	lock incl litmus_met
777:	pause
	cmpl	%r13d, litmus_met
	jl	777b
	.endm

	/* The thread's code on each cell. */
	.macro	on_cells code
	movl	%r8d, %esi
776:	\code
	addl	$STRIDE, %esi
	cmpl	%r9d, %esi
	jb	776b
	.endm

	.macro	clear variable, quads
	.set	n, 0
	.rept	\quads
	movq	$0, \variable + 8 * n(%rsi)
	.set	n, n + 1
	.endr
	.endm

	/* What was read, or is there now, against a value: what differs is added up in eax. */
	.macro	same value, place:vararg
	movl	\place, %ecx
	xorl	$\value, %ecx
	orl	%ecx, %eax
	.endm

	/* threads: 2 to 4; forbidden: a list of `same` that leaves 0 in eax for the outcome. */
	.macro	litmus name, threads, t0, t1, t2, t3, forbidden
	.globl	litmus_\name
litmus_\name:
	smp_start litmus_\name\()_run
	PASS
litmus_\name\()_run:
	movq	%cr4, %rax
	orl	$0x600, %eax			/* SSE */
	movq	%rax, %cr4
	xorl	%r13d, %r13d
	xorl	%edx, %edx			/* edx: the role, eax: which group's */
	movl	%r12d, %eax
	movl	$\threads, %ecx
	divl	%ecx
	movl	%edx, %r15d
	imull	$SPAN, %eax, %r8d		/* r8d to r9d: its cells */
	leal	SPAN(%r8), %r9d
1:	testl	%r12d, %r12d
	jnz	2f
	xorl	%eax, %eax			/* a few in any case */
	cmpl	$2, litmus_batches
	cmovael	smp_stop, %eax
	movl	%eax, litmus_end
	lock incl litmus_batches
2:	testl	%r15d, %r15d
	jnz	3f
	on_cells "clear X, 4; clear Y, 1; movq $-1, R0(%rsi); movq $-1, R2(%rsi)"
3:	meet
	cmpl	$0, litmus_end
	jne	9f
	cmpl	$1, %r15d
	je	4f
	ja	5f
	on_cells "\t0"
	jmp	8f
4:	on_cells "\t1"
	jmp	8f
5:	cmpl	$3, %r15d
	je	6f
	on_cells "\t2"
	jmp	8f
6:	on_cells "\t3"
8:	meet
	testl	%r15d, %r15d
	jnz	1b
	movl	%r8d, %esi
7:	xorl	%eax, %eax
	\forbidden
	testl	%eax, %eax
	jz	10f
	addl	$STRIDE, %esi
	cmpl	%r9d, %esi
	jb	7b
	jmp	1b
10:	movl	R0(%rsi), %eax
	movl	R1(%rsi), %ecx
	FAIL
9:	ret
	.endm

#define NONE		"nop"

	/* Store buffering: not both read 0, where something orders the load behind the store. */
	.macro	sb name, order0, order1
	litmus	\name, 2, "movl $1, X(%rsi); \order0; movl Y(%rsi), %eax; movl %eax, R0(%rsi)", \
		"movl $1, Y(%rsi); \order1; movl X(%rsi), %eax; movl %eax, R1(%rsi)", NONE, NONE, \
		"same 0, R0(%rsi); same 0, R1(%rsi)"
	.endm
	sb	sb_mfence, "mfence", "mfence"
	sb	sb_lock, "lock addl $0, -8(%rsp)", "lock orb $0, -8(%rsp)"
	sb	sb_xadd, "lock xaddl %ebx, -8(%rsp)", "lock cmpxchgl %ebx, -8(%rsp)"
	sb	sb_cpuid, "xorl %eax, %eax; cpuid", "xchgl %ebx, -8(%rsp)"
	/* The store itself is locked. */
	litmus	sb_xchg, 2, "movl $1, %ebx; xchgl %ebx, X(%rsi); movl Y(%rsi), %eax; movl %eax, R0(%rsi)", \
		"lock btsl $0, Y(%rsi); movl X(%rsi), %eax; movl %eax, R1(%rsi)", NONE, NONE, \
		"same 0, R0(%rsi); same 0, R1(%rsi)"

	/* Message passing: who sees the second store sees the first. */
	.macro	mp name, store, load
	litmus	\name, 2, "\store; movl $1, Y(%rsi)", \
		"movl Y(%rsi), %eax; \load; movl %eax, R0(%rsi); movl %ebx, R1(%rsi)", NONE, NONE, \
		"same 1, R0(%rsi); same 0, R1(%rsi)"
	.endm
	mp	mp, "movl $1, X(%rsi)", "movl X(%rsi), %ebx"
	mp	mp_push, \
		"movl %esp, %ebx; leal X + 8(%rsi), %esp; pushq $1; movl %ebx, %esp", \
		"movl X(%rsi), %ebx"
	mp	mp_sse, "movl $1, %ebx; movd %ebx, %xmm0; movups %xmm0, X(%rsi)", \
		"movups X(%rsi), %xmm1; movd %xmm1, %ebx"
	mp	mp_string, "leal X(%rsi), %edi; movl $1, %eax; movl $8, %ecx; cld; rep stosl", \
		"movl X + 28(%rsi), %ebx"
	mp	mp_line, "movl $0x10001, SPLIT(%rsi)", "movzwl SPLIT + 2(%rsi), %ebx"
	mp	mp_rmw, "incl X(%rsi)", "movl $0, %ebx; orl X(%rsi), %ebx"

	/* Load buffering: not both read what the other stores afterwards. */
	litmus	lb, 2, "movl X(%rsi), %eax; movl $1, Y(%rsi); movl %eax, R0(%rsi)", \
		"movl Y(%rsi), %eax; movl $1, X(%rsi); movl %eax, R1(%rsi)", NONE, NONE, \
		"same 1, R0(%rsi); same 1, R1(%rsi)"

	/* Stores of two threads to the same two places: there is one order of all. */
	litmus	w2p2w, 2, "movl $1, X(%rsi); movl $2, Y(%rsi)", "movl $1, Y(%rsi); movl $2, X(%rsi)", \
		NONE, NONE, \
		"same 1, X(%rsi); same 1, Y(%rsi)"
	litmus	s, 2, "movl $2, X(%rsi); movl $1, Y(%rsi)", \
		"movl Y(%rsi), %eax; movl $1, X(%rsi); movl %eax, R0(%rsi)", NONE, NONE, \
		"same 1, R0(%rsi); same 2, X(%rsi)"
	litmus	r_mfence, 2, "movl $1, X(%rsi); movl $1, Y(%rsi)", \
		"movl $2, Y(%rsi); mfence; movl X(%rsi), %eax; movl %eax, R0(%rsi)", NONE, NONE, \
		"same 2, Y(%rsi); same 0, R0(%rsi)"

	/* Reads of one place do not go back, and a thread sees its own store. */
	litmus	corr, 2, "movl $1, X(%rsi); movl $2, X(%rsi)", \
		"movl X(%rsi), %eax; movl X(%rsi), %ebx; movl %eax, R0(%rsi); movl %ebx, R1(%rsi)", NONE, NONE, \
		"same 2, R0(%rsi); same 1, R1(%rsi)"
	litmus	own, 2, "movl $1, X(%rsi); movl X(%rsi), %eax; movl %eax, R0(%rsi)", "movl $2, X(%rsi)", \
		NONE, NONE, "same 0, R0(%rsi)"

	/* An aligned quadword is never seen by halves. */
	litmus	whole, 2, "movq $-1, X(%rsi)", \
		"movq X(%rsi), %rax; movl %eax, R0(%rsi); shrq $32, %rax; movl %eax, R1(%rsi)", \
		NONE, NONE, "movl R0(%rsi), %eax; cmpl R1(%rsi), %eax; sete %al; movzbl %al, %eax"

	/* What one thread has seen of another's store, a third that hears from it sees too. */
	litmus	wrc, 3, "movl $1, X(%rsi)", "movl X(%rsi), %eax; movl %eax, Y(%rsi); movl %eax, R0(%rsi)", \
		"movl Y(%rsi), %eax; movl X(%rsi), %ebx; movl %eax, R1(%rsi); movl %ebx, R2(%rsi)", NONE, \
		"same 1, R0(%rsi); same 1, R1(%rsi); same 0, R2(%rsi)"

	/* Two stores by two threads are seen in the same order by two others. */
	.macro	iriw name, store, order
	litmus	\name, 4, "movl $1, %ebx; \store X(%rsi)", "movl $1, %ebx; \store Y(%rsi)", \
		"movl X(%rsi), %eax; \order; movl Y(%rsi), %ebx; movl %eax, R0(%rsi); movl %ebx, R1(%rsi)", \
		"movl Y(%rsi), %eax; \order; movl X(%rsi), %ebx; movl %eax, R2(%rsi); movl %ebx, R3(%rsi)", \
		"same 1, R0(%rsi); same 0, R1(%rsi); same 1, R2(%rsi); same 0, R3(%rsi)"
	.endm
	iriw	iriw, "movl %ebx,", "nop"
	iriw	iriw_mfence, "movl %ebx,", "mfence"
	iriw	iriw_lock, "xchgl %ebx,", "lock addl $0, -8(%rsp)"
