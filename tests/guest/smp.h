/* SPDX-License-Identifier: GPL-2.0-only */
/* What guests of several vCPUs begin with: for smp.S, where the others' half of it is, and its like. */

	/* The first vCPU: starts the others, waits for them, gives all of them a function. */
	.macro	smp_start function
	movl	$0xfee00000, %r14d
	movl	$0x1ff, 0xf0(%r14)
	xorl	%r12d, %r12d
	cmpl	$1, smp_cpus
	je	2f
	movl	$0xc4500, 0x300(%r14)		/* INIT, all but oneself */
	movl	$0xc4608, 0x300(%r14)		/* SIPI, vector 8 */
	movl	$0xc4608, 0x300(%r14)		/* again: has no effect on those that run */
1:	pause
	movl	smp_online, %eax
	incl	%eax
	cmpl	smp_cpus, %eax
	jne	1b
2:	movl	$\function, %eax
	movq	%rax, smp_work
	call	*%rax
	lock incl smp_done
3:	pause
	movl	smp_done, %eax
	cmpl	smp_cpus, %eax
	jne	3b
	.endm

	/* Ends a test that goes by rounds, for both who take part: round -1 is the last. */
	.macro	leader_stops
	cmpl	$0, smp_stop
	je	777f
	movl	$-1, smp_round
	ret
777:
	.endm
	.macro	follower_stops
	cmpl	$-1, smp_round
	jne	777f
	ret
777:
	.endm
