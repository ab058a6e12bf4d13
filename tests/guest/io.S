/* SPDX-License-Identifier: GPL-2.0-only */
/* The guests' half of io.c: port I/O, single and by string. */
#include "guest.h"
GROUP(io)

	MODE64
	.globl	io_out
io_out:
	movabsq	$0x1122334455667788, %rax
	out	%al, $0xe0
	out	%ax, $0xe2
	out	%eax, $0xe4
	movl	$0xfffe, %edx
	out	%al, %dx
	out	%ax, %dx
	out	%eax, %dx
	PASS

	.globl	io_in
io_in:
	movq	$-1, %rax
	in	$0xe0, %al
	IS64(0xffffffffffffff11, %rax)
	movq	$-1, %rax
	in	$0xe0, %ax
	IS64(0xffffffffffff2211, %rax)
	movq	$-1, %rax
	movl	$0xe0, %edx
	in	%dx, %eax
	IS64(0x44332211, %rax)
	PASS

	/* Strings out: bytes, words, dwords; backwards; with a segment; nothing for a count of 0. */
	.globl	io_outs
io_outs:
	movl	$SCRATCH, %esi
	movl	$0xe0, %edx
	movl	$10, %ecx
	rep outsb
	IS64(SCRATCH + 10, %rsi)
	IS64(0, %rcx)
	SYNC(1)
	movl	$0xe0, %edx
	movl	$3, %ecx
	rep outsw
	movl	$2, %ecx
	rep outsl
	IS64(SCRATCH + 24, %rsi)
	SYNC(2)
	movl	$0xe0, %edx
	movl	$SCRATCH + 9, %esi
	movl	$5, %ecx
	std
	rep outsb
	cld
	IS64(SCRATCH + 4, %rsi)
	SYNC(3)
	movl	$0xe0, %edx
	xorl	%ecx, %ecx
	rep outsb
	outsb
	IS64(SCRATCH + 5, %rsi)
	PASS

	.globl	io_outs_page
io_outs_page:
	movl	$SCRATCH + 0xff9, %esi
	movl	$0xe0, %edx
	movl	$4, %ecx
	rep outsl
	SYNC(1)
	movl	$SCRATCH, %esi
	movl	$0xe0, %edx
	movl	$0x1800, %ecx
	rep outsb
	SYNC(2)
	PASS

	.globl	io_ins
io_ins:
	movl	$SCRATCH, %edi
	movl	$0xe0, %edx
	movl	$10, %ecx
	rep insb
	IS64(SCRATCH + 10, %rdi)
	IS64(0, %rcx)
	SYNC(1)
	movl	$0xe0, %edx
	movl	$SCRATCH + 0x20 + 9, %edi
	movl	$5, %ecx
	std
	rep insb
	cld
	IS64(SCRATCH + 0x20 + 4, %rdi)
	movl	$SCRATCH + 0xffd, %edi
	movl	$3, %ecx
	rep insl
	IS64(SCRATCH + 0xffd + 12, %rdi)
	insw
	SYNC(2)
	PASS

	/* A page fault in the middle: the count tells how far it got, and it goes on from there. */
	.globl	io_ins_fault
io_ins_fault:
	movl	$WINDOW + 0x1ff8, %edi
	movl	$0xe0, %edx
	movl	$16, %ecx
	movq	$0, pt64 + 16
	invlpg	WINDOW + 0x2000
	FAULTS(PF_VECTOR, 2, rep insb)
	IS64(8, %rcx)
	IS64(WINDOW + 0x2000, %rdi)
	IS64(WINDOW + 0x2000, EXC_CR2)
	movq	$WINDOW + 0x2003, pt64 + 16
	rep insb
	IS64(0, %rcx)
	SYNC(1)
	PASS

	.globl	io_outs_fault
io_outs_fault:
	movl	$WINDOW + 0x1ff8, %esi
	movl	$0xe0, %edx
	movl	$16, %ecx
	movq	$0, pt64 + 16
	invlpg	WINDOW + 0x2000
	FAULTS(PF_VECTOR, 0, rep outsb)
	IS64(8, %rcx)
	movq	$WINDOW + 0x2003, pt64 + 16
	rep outsb
	SYNC(1)
	PASS

	MODE16
	.globl	io_outs_real
io_outs_real:
	movw	$0x100, %ax
	movw	%ax, %fs
	movw	$0x4010, %si
	movw	$0xe0, %dx
	movw	$4, %cx
	rep outsb %fs:(%si), %dx
	movw	$0xfffe, %si
	movw	$4, %cx
	rep outsb
	IS16(2, %si)
	SYNC(1)
	movw	$0xe0, %dx
	movl	$0x10000, %ecx			/* CX counts: none */
	rep outsb
	IS32(0x10000, %ecx)
	PASS
