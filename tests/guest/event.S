/* SPDX-License-Identifier: GPL-2.0-only */
/* The guests' half of event.c: interrupts that come by eventfd, and writes that leave by one. */
#include "guest.h"
GROUP(event)

	.section .data, "aw", @progbits
	.balign	4
	.globl	event_count
event_count:
	.long	0

	HANDLERS
event_irq:
	incl	event_count
	movl	$0, 0xb0(%r14)
	iretq
	/* A level interrupt: the host lowers the line on EOI, by its resample eventfd. */
event_level:
	incl	event_count
	movl	$0, 0xb0(%r14)
	iretq
event_nmi:
	incl	event_count
	iretq
	.popsection

	.macro	gate vector, name
	movl	$\name, %eax
	movw	%ax, idt64 + 16 * (\vector)
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * (\vector) + 6
	.endm

	.macro	apic_on
	movl	$0xfee00000, %r14d
	movl	$0xfec00000, %r13d
	movb	$0xff, %al
	out	%al, $0x21
	out	%al, $0xa1
	movl	$0x1ff, 0xf0(%r14)
	movl	$0x10000, 0x350(%r14)
	.endm

	MODE64
	/* Hot code that the VMM writes before it sends vector 0x50, and all without an exit. */
	.globl	event_written
event_written:
	apic_on
	gate	0x50, event_irq
	movl	$SCRATCH + 0x2000, %ebx
	movb	$0xb8, (%rbx)			/* mov $0, %eax; ret */
	movl	$0, 1(%rbx)
	movb	$0xc3, 5(%rbx)
	xorl	%ebp, %ebp
	SYNC(1)
	sti
1:	movl	event_count, %ecx		/* so many were written */
	call	*%rbx
	cmpl	%ecx, %eax
	jb	9f
	cmpl	%ebp, %eax
	jb	9f
	movl	%eax, %ebp
	cmpl	$500, %eax
	jb	1b
	cli
	PASS
9:	cli
	FAIL

	/* Pin 5 edge on vector 0x45, pin 6 level on 0x46, 0x50 for MSIs; the host looks at each SYNC. */
	.globl	event_wait
event_wait:
	apic_on
	gate	0x45, event_irq
	gate	0x46, event_level
	gate	0x50, event_irq
	movl	$0x1b, (%r13)
	movl	$0, 0x10(%r13)
	movl	$0x1a, (%r13)
	movl	$0x45, 0x10(%r13)
	movl	$0x1d, (%r13)
	movl	$0, 0x10(%r13)
	movl	$0x1c, (%r13)
	movl	$0x8046, 0x10(%r13)
1:	sti
	SYNC(1)
	nop
	cli
	jmp	1b

	/* NMIs come while it is out. */
	.globl	event_nmis
event_nmis:
	gate	2, event_nmi
	SYNC(1)
	nop
	IS32(2, event_count)
	PASS

	/* Waits in HLT for one interrupt after another. */
	.globl	event_hlt
event_hlt:
	apic_on
	gate	0x45, event_irq
	gate	0x50, event_irq
	movl	$0x1b, (%r13)
	movl	$0, 0x10(%r13)
	movl	$0x1a, (%r13)
	movl	$0x45, 0x10(%r13)
	SYNC(1)
1:	sti
	hlt
	cli
	cmpl	$10, event_count
	jb	1b
	PASS

	/* For a split chip: only the local APIC is in KVM, and EOI of 0x46 is told. */
	.globl	event_split
event_split:
	movl	$0xfee00000, %r14d
	movl	$0x1ff, 0xf0(%r14)
	movl	$0x10000, 0x350(%r14)
	gate	0x46, event_irq
	gate	0x50, event_irq
1:	sti
	SYNC(1)
	nop
	cli
	jmp	1b

	/* ioeventfds: ports 0xe0 to 0xe4, MMIO + 0 to + 0x20. */
	.globl	event_out
event_out:
	movl	$0x1234, %eax
	out	%ax, $0xe0			/* matches: 2 bytes at 0xe0 */
	out	%al, $0xe0			/* another width */
	movl	$0x55, %eax
	out	%al, $0xe2			/* datamatch 0x55 */
	movl	$0x56, %eax
	out	%al, $0xe2			/* another datum */
	out	%eax, $0xe4			/* any length */
	out	%al, $0xe4
	SYNC(1)
	movl	$1, MMIO			/* 4 bytes */
	movw	$1, MMIO			/* another width */
	movl	$0x77, MMIO + 8			/* datamatch 0x77 */
	movl	$0x78, MMIO + 8
	movb	$1, MMIO + 0x10			/* any length */
	movq	$1, MMIO + 0x10
	movl	MMIO, %eax			/* a read is nobody's but the host's */
	SYNC(2)
	out	%ax, $0xe0			/* taken away */
	PASS

	/* Virtual clock: PV EOI with a page of the guest's. */
	.globl	event_pv_eoi
event_pv_eoi:
	apic_on
	movl	$0x4b564d04, %ecx
	movl	$SCRATCH + 1, %eax
	xorl	%edx, %edx
	wrmsr
	rdmsr
	IS32(SCRATCH + 1, %eax)
	gate	0x50, event_pv_irq
	gate	0x51, event_pv_irq
	movl	$0x40050, 0x300(%r14)
	sti
	nop
	nop
	cli
	IS32(1, event_count)
	movl	$0x40051, 0x300(%r14)		/* the first must count as ended by now */
	sti
	nop
	nop
	cli
	IS32(2, event_count)
	movl	0x120(%r14), %eax		/* ISR */
	IS32(0, %eax)
	movl	$SCRATCH + 2, %eax		/* misaligned, bit 1 set */
	movl	$0x4b564d04, %ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	PASS
event_pv_irq:
	incl	event_count
	/* As Linux does: where the bit is set, clearing it is the EOI. */
	btrl	$0, SCRATCH
	jc	1f
	movl	$0, 0xb0(%r14)
	incl	SCRATCH + 4
1:	iretq
