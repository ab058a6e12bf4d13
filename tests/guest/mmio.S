/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guests' half of mmio.c. The host keeps 64 KiB of bytes behind MMIO, so that what is written
 * can be read back, and the same behind RAM_SIZE, where RAM ends.
 */
#include "guest.h"
GROUP(mmio)

	MODE64
	.globl	mmio_read
mmio_read:
	movq	$-1, %rax
	movb	MMIO, %al
	IS64(0xffffffffffffff11, %rax)
	movq	$-1, %rax
	movw	MMIO, %ax
	IS64(0xffffffffffff2211, %rax)
	movq	$-1, %rax
	movl	MMIO, %eax
	IS64(0x44332211, %rax)
	movq	MMIO, %rax
	IS64(0x8877665544332211, %rax)
	movzbl	MMIO + 7, %eax
	IS64(0x88, %rax)
	movsbq	MMIO + 7, %rax
	IS64(0xffffffffffffff88, %rax)
	movzwl	MMIO + 6, %eax
	IS64(0x8877, %rax)
	movslq	MMIO + 4, %rax
	IS64(0xffffffff88776655, %rax)
	PASS

	.globl	mmio_write
mmio_write:
	movabsq	$0x1122334455667788, %rax
	movb	%al, MMIO
	movw	%ax, MMIO + 2
	movl	%eax, MMIO + 4
	movq	%rax, MMIO + 8
	movb	%ah, MMIO + 0x10
	movb	$0x5a, MMIO + 0x11
	movw	$0x5b5a, MMIO + 0x12
	movl	$0x5d5c5b5a, MMIO + 0x14
	movq	$-2, MMIO + 0x18
	PASS

	/* Not aligned within a page, then across pages of nothing. */
	.globl	mmio_unaligned
mmio_unaligned:
	movl	MMIO + 1, %eax
	IS32(0x55443322, %eax)
	movq	MMIO + 3, %rax
	IS64(0x0a09088877665544, %rax)
	movabsq	$0xa1a2a3a4a5a6a7a8, %rbx
	movq	%rbx, MMIO + 0xffd
	movq	MMIO + 0xffd, %rax
	IS64(0xa1a2a3a4a5a6a7a8, %rax)
	movw	MMIO + 0xfff, %ax
	IS16(0xa5a6, %ax)
	PASS

	/* Half in RAM, half beyond it. */
	.globl	mmio_straddle
mmio_straddle:
	movl	$0x44332211, %eax
	movl	%eax, RAM_SIZE - 2
	IS16(0x2211, RAM_SIZE - 2)
	movw	RAM_SIZE, %bx
	IS16(0x4433, %bx)
	movl	RAM_SIZE - 1, %eax
	movq	RAM_SIZE - 4, %rax
	shrq	$16, %rax
	IS32(0x44332211, %eax)
	PASS

	.globl	mmio_sse
mmio_sse:
	movq	%cr4, %rax
	orl	$0x200, %eax
	movq	%rax, %cr4
	movups	MMIO, %xmm0
	movups	%xmm0, SCRATCH
	movq	SCRATCH, %rax
	IS64(0x8877665544332211, %rax)
	movq	SCRATCH + 8, %rax
	IS64(0x0f0e0d0c0b0a0908, %rax)
	movdqu	%xmm0, MMIO + 0x20
	movl	MMIO + 0x2c, %eax
	IS32(0x0f0e0d0c, %eax)
	PASS

	/* Strings from, to and within MMIO, both directions. */
	.globl	mmio_movs
mmio_movs:
	movl	$MMIO, %esi
	movl	$SCRATCH, %edi
	movl	$16, %ecx
	rep movsb
	IS64(MMIO + 16, %rsi)
	IS64(SCRATCH + 16, %rdi)
	movq	SCRATCH, %rax
	IS64(0x8877665544332211, %rax)
	movl	$SCRATCH, %esi
	movl	$MMIO + 0x100, %edi
	movl	$4, %ecx
	rep movsl
	movq	MMIO + 0x100, %rax
	IS64(0x8877665544332211, %rax)
	movl	$MMIO, %esi
	movl	$MMIO + 0x200, %edi
	movl	$2, %ecx
	rep movsq
	IS64(0, %rcx)
	movq	MMIO + 0x200, %rax
	IS64(0x8877665544332211, %rax)
	movl	$MMIO + 0x310, %edi
	movl	$0x5a, %eax
	movl	$8, %ecx
	std
	rep stosb
	cld
	IS64(MMIO + 0x308, %rdi)
	movq	MMIO + 0x309, %rax
	IS64(0x5a5a5a5a5a5a5a5a, %rax)
	movl	$MMIO, %esi
	lodsw
	IS16(0x2211, %ax)
	movl	$MMIO, %edi
	movb	$0x44, %al
	movl	$8, %ecx
	repne scasb
	IS64(4, %rcx)
	movl	$MMIO, %esi
	movl	$SCRATCH, %edi
	movb	$0, SCRATCH + 5
	movl	$8, %ecx
	repe cmpsb
	IS64(2, %rcx)
	PASS

	.globl	mmio_movs_page
mmio_movs_page:
	movl	$SCRATCH, %esi
	movl	$MMIO + 0xff0, %edi
	movl	$0x20, %ecx
	rep movsb
	movl	$MMIO + 0xff0, %esi
	movl	$SCRATCH + 0x1ff0, %edi
	movl	$0x20, %ecx
	rep movsb
	movl	$SCRATCH, %esi
	movl	$SCRATCH + 0x1ff0, %edi
	movl	$0x20, %ecx
	repe cmpsb
	je	1f
	FAIL
1:	PASS

	/* Reads and writes in one instruction. */
	.globl	mmio_rmw
mmio_rmw:
	movl	$0x600d, %eax
	xchgl	%eax, MMIO
	IS32(0x44332211, %eax)
	addl	$1, MMIO
	orl	$0x10000, MMIO
	movl	MMIO, %eax
	IS32(0x1600e, %eax)
	lock addl $2, MMIO
	lock incw MMIO
	lock btsl $31, MMIO
	jnc	1f
	FAIL
1:	movl	MMIO, %eax
	IS32(0x80016011, %eax)
	movl	$3, %ebx
	xaddl	%ebx, MMIO
	IS32(0x80016011, %ebx)
	negl	MMIO
	notl	MMIO
	movl	MMIO, %eax
	IS32(0x80016013, %eax)
	shll	$4, MMIO
	movl	MMIO, %eax
	IS32(0x00160130, %eax)
	PASS

	.globl	mmio_cmpxchg
mmio_cmpxchg:
	movl	$0x44332211, %eax
	movl	$0x55, %ebx
	lock cmpxchgl %ebx, MMIO
	je	1f
	FAIL
1:	movl	$0x1234, %eax
	movl	$0x66, %ebx
	lock cmpxchgl %ebx, MMIO
	jne	1f
	FAIL
1:	IS32(0x55, %eax)
	movl	MMIO, %eax
	IS32(0x55, %eax)
	PASS

	/* Comparing and testing reads, and writes nothing. */
	.globl	mmio_compare
mmio_compare:
	cmpl	$0x44332211, MMIO
	je	1f
	FAIL
1:	testb	$0x10, MMIO
	jnz	1f
	FAIL
1:	btl	$4, MMIO
	jc	1f
	FAIL
1:	movl	$0x44332211, %eax
	cmpl	MMIO, %eax
	je	1f
	FAIL
1:	PASS

	/* A stack of nothing. */
	.globl	mmio_stack
mmio_stack:
	movl	$MMIO + 0x800, %esp
	movl	$0x1234, %eax
	pushq	%rax
	pushq	$-2
	popq	%rbx
	IS64(-2, %rbx)
	popq	%rcx
	IS64(0x1234, %rcx)
	call	1f
	IS64(MMIO + 0x800, %rsp)
	PASS
1:	movq	(%rsp), %rdx
	pushfq
	popq	%rax
	ret

	/* Jumps and calls by a pointer there. */
	.globl	mmio_pointer
mmio_pointer:
	movq	$1f, %rax
	movq	%rax, MMIO + 8
	jmp	*MMIO + 8
	FAIL
1:	movq	$1f, %rax
	movq	%rax, MMIO + 8
	call	*MMIO + 8
	PASS
1:	ret

	.globl	mmio_fetch
mmio_fetch:
	movl	$MMIO, %eax
	jmp	*%rax

	/* A copy from a page that is absent into MMIO: the fault, and no write. */
	.globl	mmio_fault
mmio_fault:
	movq	$0, pt64 + 8
	invlpg	WINDOW + 0x1000
	movl	$WINDOW + 0x1000, %esi
	movl	$MMIO, %edi
	FAULTS(PF_VECTOR, 0, movsl)
	IS64(WINDOW + 0x1000, %rsi)
	movl	$MMIO, %esi
	movl	$WINDOW + 0x1000, %edi
	FAULTS(PF_VECTOR, 2, movsl)
	IS64(MMIO, %rsi)
	PASS

	.globl	mmio_high
mmio_high:
	/* The window's page 1 at guest-physical 0x1_0080_1000. */
	movl	$1, pt64 + 8 + 4
	invlpg	WINDOW + 0x1000
	movl	$0x5a5b, WINDOW + 0x1234
	PASS

	MODE32
	.globl	mmio_pae_high
mmio_pae_high:
	movl	$1, pt64 + 8 + 4
	invlpg	WINDOW + 0x1000
	movl	$0x5a5b, WINDOW + 0x1234
	PASS

	MODE16
	.globl	mmio_real
mmio_real:
	lgdtl	gdtr32
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	movw	$KDS, %bx
	movw	%bx, %es
	andb	$0xfe, %al
	movl	%eax, %cr0
	movl	$MMIO, %edi
	IS32(0x44332211, %es:(%edi))
	movw	$0x1234, %es:4(%edi)
	movl	%es:4(%edi), %eax
	IS32(0x88771234, %eax)
	PASS
