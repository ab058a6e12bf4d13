/* SPDX-License-Identifier: GPL-2.0-only */
/* The guests' half of clock.c: KVM's paravirtual clock, wall clock and steal time. */
#include "guest.h"
GROUP(clock)

#define MSR_WALL	0x4b564d00
#define MSR_SYSTEM_TIME	0x4b564d01
#define MSR_STEAL	0x4b564d03

	/* rax: nanoseconds by the structure at r13, as the document says to compute them. */
	MODE64
clock_read:
1:	movl	(%r13), %r8d			/* version: odd while it is written */
	testl	$1, %r8d
	jnz	1b
	lfence
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	subq	8(%r13), %rax			/* since tsc_timestamp */
	movsbl	28(%r13), %ecx
	testl	%ecx, %ecx
	js	2f
	shlq	%cl, %rax
	jmp	3f
2:	negl	%ecx
	shrq	%cl, %rax
3:	movl	24(%r13), %ecx
	mulq	%rcx
	shrdq	$32, %rdx, %rax
	addq	16(%r13), %rax			/* system_time */
	lfence
	cmpl	%r8d, (%r13)
	jne	1b
	ret

	.globl	clock_system, clock_times
clock_system:
	movl	$SCRATCH, %r13d
	movl	$MSR_SYSTEM_TIME, %ecx
	leal	1(%r13), %eax
	xorl	%edx, %edx
	wrmsr
	rdmsr
	IS32(SCRATCH + 1, %eax)
	SYNC(1)
	cmpl	$0, (%r13)
	jne	1f
	FAIL					/* no version: nothing was written */
1:	call	clock_read
	movq	%rax, clock_times
	movl	$20000, %esi
	movq	%rax, %rbx
2:	call	clock_read			/* never backwards */
	cmpq	%rbx, %rax
	jb	9f
	movq	%rax, %rbx
	decl	%esi
	jnz	2b
	SYNC(2)					/* the host waits 100 ms */
	call	clock_read
	movq	%rax, clock_times + 8
	SYNC(3)
	movl	$MSR_SYSTEM_TIME, %ecx		/* off */
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	PASS
9:	movq	%rbx, %rcx
	FAIL

	.pushsection .data
	.balign	8
clock_times:
	.quad	0, 0
	.popsection

	.globl	clock_wall
clock_wall:
	movl	$MSR_WALL, %ecx
	movl	$SCRATCH, %eax
	xorl	%edx, %edx
	wrmsr
	cmpl	$0, SCRATCH
	jne	1f
	FAIL
1:	testl	$1, SCRATCH
	jz	1f
	FAIL
1:	SYNC(1)
	PASS

	.globl	clock_steal
clock_steal:
	movl	$MSR_STEAL, %ecx
	movl	$SCRATCH + 0x40 + 1, %eax
	xorl	%edx, %edx
	wrmsr
	out	%al, $PORT_LOG			/* it is filled on the way in */
	SYNC(1)
	SYNC(2)
	movl	$MSR_STEAL, %ecx
	xorl	%edx, %edx
	movl	$SCRATCH + 0x40 + 0x21, %eax	/* 64-byte alignment, reserved bits */
	FAULTS(GP_VECTOR, 0, wrmsr)
	PASS

	/* kvmclock's old MSRs, which older guests use. */
	.globl	clock_old
clock_old:
	movl	$SCRATCH, %r13d
	movl	$0x12, %ecx
	leal	1(%r13), %eax
	xorl	%edx, %edx
	wrmsr
	SYNC(1)
	call	clock_read
	cmpl	$0, (%r13)
	jne	1f
	FAIL
1:	PASS
