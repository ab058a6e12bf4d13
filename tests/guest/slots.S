/* SPDX-License-Identifier: GPL-2.0-only */
/* The guests' half of slots.c. */
#include "guest.h"
GROUP(slots)

	MODE64
	.globl	slot_readwrite
slot_readwrite:
	movl	MOVABLE, %eax
	movl	%eax, SCRATCH
	movl	$0x600d, MOVABLE + 4
	SYNC(1)
	movl	MOVABLE, %eax
	movl	%eax, SCRATCH
	movl	$0x600e, MOVABLE + 4
	SYNC(2)
	movl	MOVABLE, %eax
	movl	%eax, SCRATCH
	PASS

	.globl	slot_readonly
slot_readonly:
	movl	MOVABLE, %eax
	IS32(0x11111111, %eax)
	movl	$0x5a5a5a5a, MOVABLE + 4
	IS32(0, MOVABLE + 4)
	incl	MOVABLE
	IS32(0x11111111, MOVABLE)
	movl	$MOVABLE + 0x1000, %ebx
	call	*%rbx
	IS32(0x600d, %eax)
	SYNC(1)
	movl	$0x600d, MOVABLE + 4
	PASS

	/*
	 * Flash memory with code in it: a write is a command, after which the chip answers with its status
	 * until the command FFh makes it memory again. Each round has other code.
	 */
	.globl	slot_flash
slot_flash:
	xorl	%r12d, %r12d
1:	movl	$5000, %ecx
2:	movl	$MOVABLE + 0x1000, %ebx
	xorl	%eax, %eax
	call	*%rbx
	subl	%r12d, %eax
	IS32(0, %eax)
	decl	%ecx
	jnz	2b
	movb	$0x40, MOVABLE + 0x1000
	movl	MOVABLE + 0x1000, %eax
	IS32(0x80808080, %eax)
	movb	$0xff, MOVABLE
	incl	%r12d
	cmpl	$4, %r12d
	jne	1b
	PASS

#define LOG_PAGES	200

	.globl	slot_dirty
slot_dirty:
	call	slot_dirty_loop
	SYNC(1)
	movl	$MOVABLE, %ebx
	movl	$LOG_PAGES, %ecx
1:	movl	(%rbx), %eax
	addl	$0x1000, %ebx
	decl	%ecx
	jnz	1b
	SYNC(2)
	call	slot_dirty_loop
	SYNC(3)
	PASS
slot_dirty_loop:
	movl	$MOVABLE, %ebx
1:	incl	(%rbx)
	addl	$0x7000, %ebx
	cmpl	$MOVABLE + LOG_PAGES * 0x1000, %ebx
	jb	1b
	ret

	/*
	 * A string from a port to page 3, and a page table in page 5: the host filled it, so that
	 * only the accessed bit's setting makes it dirty.
	 */
	.globl	slot_dirty_implicit
slot_dirty_implicit:
	movl	$MOVABLE + 0x3000, %edi
	movl	$8, %ecx
	movl	$0xe0, %edx
	rep insb
	movl	$MOVABLE + 0x5000 + 7, pd64 + 8 * (WINDOW >> 21)
	movq	%cr3, %rax
	movq	%rax, %cr3
	movl	WINDOW, %eax
	SYNC(1)

	.globl	slot_alias
slot_alias:
	movl	$0x600d, MOVABLE
	IS32(0x600d, MOVABLE + 0x100000)
	movl	$0x600e, MOVABLE + 0x100000
	IS32(0x600e, MOVABLE)
	movb	$0xb8, MOVABLE			/* mov $imm, %eax; ret */
	movl	$1, MOVABLE + 1
	movb	$0xc3, MOVABLE + 5
	movl	$MOVABLE, %ebx
	call	*%rbx
	IS32(1, %eax)
	movl	$2, MOVABLE + 0x100000 + 1
	call	*%rbx
	IS32(2, %eax)
	PASS

	/* The second address of the code's page comes later, and goes, and comes back. */
	.globl	slot_alias_later, slot_aliased
slot_alias_later:
	movl	$1, %ebx
1:	movl	$40, %ecx
2:	call	slot_aliased
	cmpl	%ebx, %eax
	jne	3f
	decl	%ecx
	jnz	2b
	SYNC(1)
	movl	$10, %ecx
4:	call	slot_aliased
	decl	%ecx
	jnz	4b
	incl	%ebx
	movl	%ebx, MOVABLE + 1
	cmpl	$10, %ebx
	jne	1b
	call	slot_aliased
	IS32(10, %eax)
	PASS
3:	movl	%ebx, %ecx
	FAIL
	.balign	4096
slot_aliased:
	movl	$1, %eax
	ret
	.balign	4096

	.globl	slot_adjacent
slot_adjacent:
	movabsq	$0x8877665544332211, %rax
	movq	%rax, MOVABLE + 0xffc
	movq	MOVABLE + 0xffc, %rbx
	IS64(0x8877665544332211, %rbx)
	lock addq $0, MOVABLE + 0xffc
	movl	$MOVABLE + 0xff8, %esi
	movl	$SCRATCH, %edi
	movl	$16, %ecx
	rep movsb
	movq	SCRATCH + 4, %rbx
	IS64(0x8877665544332211, %rbx)
	PASS

	.globl	slot_host_code
slot_host_code:
	movl	$SCRATCH, %esi
1:	call	*%rsi
	movl	%eax, %ebx
	SYNC(1)
	jmp	1b

	.globl	slot_high
slot_high:
	movl	$SCRATCH + 0x1000 + 7, pdpt + 8 * 4	/* a directory with one 2 MiB page */
	movabsq	$0x800000083, %rax
	movq	%rax, SCRATCH + 0x1000
	movabsq	$0x100000400, %rbx
	IS32(0x12345678, (%rbx))
	movl	$0x600d, 4(%rbx)
	PASS

	.globl	slot_coalesced
slot_coalesced:
	movb	$0x11, MMIO
	movl	$0x11223344, MMIO + 4
	movq	$-1, MMIO + 8
	movl	$1, MMIO + 0x100
	movl	MMIO, %eax
	movl	$1, MMIO
	PASS
