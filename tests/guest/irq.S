/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts from each chip: 8259A PIC, 8254 PIT, I/O APIC, local APIC and its timer, NMI, MSI.
 * The guests ask the harness for a line's level, an NMI or an MSI by port, so that each is
 * pending at a known instruction. Intel SDM volume 3, 6 and 10; 82093AA; 8259A; 8254.
 *
 * r14 is the local APIC's address, r13 the I/O APIC's. Handlers note their vector in irq_log.
 */
#include "guest.h"
GROUP(irq)

#define WAITS_FOR_EXIT	"while it emulates ring 0, an interrupt waits for the next exit"

#define APIC_ID		0x20(%r14)
#define APIC_TPR	0x80(%r14)
#define APIC_PPR	0xa0(%r14)
#define APIC_EOI	0xb0(%r14)
#define APIC_LDR	0xd0(%r14)
#define APIC_DFR	0xe0(%r14)
#define APIC_SVR	0xf0(%r14)
#define APIC_ISR(v)	(0x100 + ((v) >> 5) * 16)(%r14)
#define APIC_TMR(v)	(0x180 + ((v) >> 5) * 16)(%r14)
#define APIC_IRR(v)	(0x200 + ((v) >> 5) * 16)(%r14)
#define APIC_ICR	0x300(%r14)
#define APIC_ICR2	0x310(%r14)
#define APIC_LVTT	0x320(%r14)
#define APIC_LVT0	0x350(%r14)
#define APIC_LVT1	0x360(%r14)
#define APIC_TMICT	0x380(%r14)
#define APIC_TMCCT	0x390(%r14)
#define APIC_TDCR	0x3e0(%r14)
#define BIT(v)		(1 << ((v) & 31))

	.section .data, "aw", @progbits
	.balign	4
irq_count:
	.long	0
irq_rip:
	.quad	0
irq_log:
	.fill	64, 1, 0

	/* A handler that notes its vector, ends the interrupt in its way, and returns. */
	.macro	handler name, id, end:vararg
	.pushsection .handlers, "ax", @progbits
	.code64
\name:	pushq	%rax
	movl	irq_count, %eax
	movb	$\id, irq_log(%rax)
	incl	irq_count
	movq	8(%rsp), %rax
	movq	%rax, irq_rip
	\end
	popq	%rax
	iretq
	.popsection
	.endm

	.macro	gate vector, name
	movl	$\name, %eax
	movw	%ax, idt64 + 16 * (\vector)
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * (\vector) + 6
	.endm

	.macro	end_apic
	movl	$0, APIC_EOI
	.endm
	.macro	end_pic
	movb	$0x20, %al
	out	%al, $0x20
	.endm
	.macro	end_slave
	movb	$0x20, %al
	out	%al, $0xa0
	out	%al, $0x20
	.endm

	/* One instruction for the interrupt to come in, after STI's shadow. */
#define WINDOW_OPEN	sti; nop; nop; cli
#define RAISE(gsi)	movb $(0x80 | (gsi)), %al; out %al, $PORT_IRQ
#define LOWER(gsi)	movb $(gsi), %al; out %al, $PORT_IRQ
#define OUTB(v, port)	movb $(v), %al; out %al, $(port)

	.macro	pic_init
	movl	$0xfee00000, %r14d
	movl	$0x1ff, APIC_SVR
	movl	$0x700, APIC_LVT0		/* ExtINT */
	OUTB(0x11, 0x20)
	OUTB(0x20, 0x21)
	OUTB(0x04, 0x21)
	OUTB(0x01, 0x21)
	OUTB(0x11, 0xa0)
	OUTB(0x28, 0xa1)
	OUTB(0x02, 0xa1)
	OUTB(0x01, 0xa1)
	OUTB(0x00, 0x21)
	OUTB(0x00, 0xa1)
	.endm

	.macro	apic_init
	movl	$0xfee00000, %r14d
	movl	$0xfec00000, %r13d
	OUTB(0xff, 0x21)
	OUTB(0xff, 0xa1)
	movl	$0x1ff, APIC_SVR
	movl	$0x10000, APIC_LVT0
	movl	$0, APIC_TPR
	.endm

	.macro	ioapic_write reg, value
	movl	$\reg, (%r13)
	movl	$\value, 0x10(%r13)
	.endm
	.macro	ioapic_read reg
	movl	$\reg, (%r13)
	movl	0x10(%r13), %eax
	.endm

#define IPI(value)	movl $(value), APIC_ICR
#define SELF		0x40000

/* ---- PIC ------------------------------------------------------------------------------ */

TEST(pic_edge, LONG, "PIC, edge: one interrupt for a rising line, the next after it fell"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	pic_irq4, 0x24, end_pic
	pic_init
	gate	0x24, pic_irq4
	RAISE(4)
	WINDOW_OPEN
	IS32(1, irq_count)
	IS8(0x24, irq_log)
	WINDOW_OPEN
	RAISE(4)
	WINDOW_OPEN
	IS32(1, irq_count)
	LOWER(4)
	RAISE(4)
	LOWER(4)
	WINDOW_OPEN
	IS32(2, irq_count)
	PASS

TEST(pic_level, LONG, "PIC, level by ELCR: again after EOI while the line is high"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	HANDLERS
pic_irq5:
	pushq	%rax
	incl	irq_count
	cmpl	$3, irq_count
	jne	1f
	LOWER(5)
1:	end_pic
	popq	%rax
	iretq
	.popsection
	pic_init
	gate	0x25, pic_irq5
	movl	$0x4d0, %edx
	movb	$0x20, %al
	out	%al, %dx
	in	%dx, %al
	IS8(0x20, %al)
	RAISE(5)
	sti
	nop
	nop
	nop
	cli
	IS32(3, irq_count)
	RAISE(5)				/* a level that falls again is no request */
	LOWER(5)
	WINDOW_OPEN
	IS32(3, irq_count)
	PASS

TEST(pic_slave, LONG, "the slave's interrupts arrive through IRQ 2"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	pic_irq12, 0x2c, end_slave
	pic_init
	gate	0x2c, pic_irq12
	RAISE(12)
	OUTB(0x0a, 0x20)			/* read IRR next */
	in	$0x20, %al
	IS8(0x04, %al)
	WINDOW_OPEN
	IS32(1, irq_count)
	IS8(0x2c, irq_log)
	LOWER(12)
	RAISE(12)
	WINDOW_OPEN
	IS32(2, irq_count)
	PASS

TEST(pic_mask, LONG, "a masked interrupt waits in IRR until it is unmasked"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	pic_init
	gate	0x24, pic_irq4
	OUTB(0x10, 0x21)
	in	$0x21, %al
	IS8(0x10, %al)
	RAISE(4)
	LOWER(4)
	WINDOW_OPEN
	IS32(0, irq_count)
	OUTB(0x0a, 0x20)
	in	$0x20, %al
	IS8(0x10, %al)
	OUTB(0, 0x21)
	WINDOW_OPEN
	IS32(1, irq_count)
	PASS

TEST(pic_priority, LONG, "the lower number first; in service, it keeps the higher ones waiting"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	pic_irq7, 0x27, end_pic
	HANDLERS
pic_irq3:
	pushq	%rax
	movl	irq_count, %eax
	movb	$0x23, irq_log(%rax)
	incl	irq_count
	OUTB(0x0b, 0x20)			/* read ISR next */
	in	$0x20, %al
	IS8(0x08, %al)
	WINDOW_OPEN
	IS32(1, irq_count)
	end_pic
	in	$0x20, %al
	IS8(0, %al)
	popq	%rax
	iretq
	.popsection
	pic_init
	gate	0x23, pic_irq3
	gate	0x27, pic_irq7
	RAISE(7)
	RAISE(3)
	WINDOW_OPEN
	WINDOW_OPEN
	IS32(2, irq_count)
	IS16(0x2723, irq_log)
	PASS

TEST(pic_auto_eoi, LONG, "ICW4's automatic EOI"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	pic_irq6, 0x26
	pic_init
	OUTB(0x11, 0x20)
	OUTB(0x20, 0x21)
	OUTB(0x04, 0x21)
	OUTB(0x03, 0x21)
	OUTB(0x00, 0x21)
	gate	0x26, pic_irq6
	RAISE(6)
	LOWER(6)
	WINDOW_OPEN
	RAISE(6)
	WINDOW_OPEN
	IS32(2, irq_count)
	PASS

/* ---- PIT ------------------------------------------------------------------------------ */

TEST(pit_periodic, LONG, "PIT channel 0 in mode 2 ticks on IRQ 0; HLT waits for it"):
	VM(PIT)
	handler	pit_tick, 0x20, end_pic
	pic_init
	gate	0x20, pit_tick
	OUTB(0x34, 0x43)
	OUTB(1193 & 0xff, 0x40)			/* 1 ms */
	OUTB(1193 >> 8, 0x40)
1:	sti
	hlt
	cli
	cmpl	$10, irq_count
	jb	1b
	IS8(0x20, irq_log + 9)
	PASS

TEST(pit_one_shot, LONG, "mode 0 interrupts once"):
	VM(PIT)
	pic_init
	gate	0x20, pit_tick
	OUTB(0x30, 0x43)
	OUTB(1193 & 0xff, 0x40)
	OUTB(1193 >> 8, 0x40)
	sti
	hlt
	cli
	IS32(1, irq_count)
	/* 3 ms by channel 2, and channel 0 stays quiet. */
	OUTB(0xb0, 0x43)
	in	$0x61, %al
	andb	$0xfd, %al
	orb	$1, %al
	out	%al, $0x61
	OUTB(3579 & 0xff, 0x42)
	OUTB(3579 >> 8, 0x42)
	sti
1:	in	$0x61, %al
	testb	$0x20, %al
	jz	1b
	cli
	IS32(1, irq_count)
	PASS

TEST(pit_latch, LONG, "a latched count stays until it is read, low byte first; it counts down"):
	VM(PIT)
	OUTB(0x34, 0x43)
	OUTB(0xff, 0x40)
	OUTB(0xff, 0x40)
	OUTB(0x00, 0x43)			/* latch channel 0 */
	in	$0x40, %al
	movb	%al, %bl
	in	$0x40, %al
	movb	%al, %bh
1:	OUTB(0x00, 0x43)
	in	$0x40, %al
	movb	%al, %cl
	in	$0x40, %al
	movb	%al, %ch
	cmpw	%bx, %cx			/* at least 4 µs later: less, once it moved */
	jae	1b
	OUTB(0xe2, 0x43)			/* read back channel 0's status */
	in	$0x40, %al
	andb	$0x3f, %al
	IS8(0x34, %al)
	PASS

TEST(pit_speaker, LONG, "port 0x61: channel 2's gate and output, as clocks are calibrated by"):
	VM(PIT)
	in	$0x61, %al
	andb	$0xfd, %al
	orb	$1, %al
	out	%al, $0x61
	OUTB(0xb0, 0x43)
	OUTB(0xff, 0x42)
	OUTB(0x7f, 0x42)			/* 27 ms */
	in	$0x61, %al
	testb	$0x20, %al
	jz	1f
	FAIL
1:	in	$0x61, %al
	testb	$0x20, %al
	jz	1b
	testb	$1, %al
	jnz	1f
	FAIL
1:	PASS

/* ---- I/O APIC ------------------------------------------------------------------------- */

TEST(ioapic_registers, LONG, "24 pins, masked after reset; read-only bits stay"):
	VM(IRQCHIP)
	apic_init
	ioapic_read 1
	andl	$0xff00ff, %eax
	shrl	$16, %eax
	IS32(23, %eax)
	ioapic_read 0x10
	andl	$0x10000, %eax
	IS32(0x10000, %eax)
	ioapic_write 0x18, 0x1f045		/* with the read-only bits 12 and 14 */
	ioapic_read 0x18
	IS32(0x1a045, %eax)
	ioapic_write 0x19, 0x05000000
	ioapic_read 0x19
	IS32(0x05000000, %eax)
	PASS

TEST(ioapic_edge, LONG, "an edge pin: one interrupt a rise, no remote IRR"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	io_edge, 0x45, end_apic
	apic_init
	gate	0x45, io_edge
	ioapic_write 0x1b, 0			/* pin 5 to APIC 0 */
	ioapic_write 0x1a, 0x45
	RAISE(5)
	WINDOW_OPEN
	IS32(1, irq_count)
	WINDOW_OPEN
	RAISE(5)
	WINDOW_OPEN
	IS32(1, irq_count)
	ioapic_read 0x1a
	IS32(0x45, %eax)
	LOWER(5)
	RAISE(5)
	WINDOW_OPEN
	IS32(2, irq_count)
	movl	APIC_TMR(0x45), %eax
	testl	$BIT(0x45), %eax
	jz	1f
	FAIL
1:	PASS

TEST(ioapic_level, LONG, "a level pin: remote IRR until EOI, then again while it is high"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	HANDLERS
io_level:
	pushq	%rax
	incl	irq_count
	ioapic_read 0x1a
	IS32(0xc047, %eax)			/* remote IRR */
	movl	APIC_TMR(0x47), %eax
	testl	$BIT(0x47), %eax
	jnz	1f
	FAIL
1:	cmpl	$3, irq_count
	jne	1f
	LOWER(5)
1:	end_apic
	popq	%rax
	iretq
	.popsection
	apic_init
	gate	0x47, io_level
	ioapic_write 0x1b, 0
	ioapic_write 0x1a, 0x8047
	RAISE(5)
	sti
	nop
	nop
	nop
	cli
	IS32(3, irq_count)
	ioapic_read 0x1a
	IS32(0x8047, %eax)
	PASS

TEST(ioapic_level_pulse, LONG, "a level that falls before EOI does not come again"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	io_level_once, 0x48, end_apic
	apic_init
	gate	0x48, io_level_once
	ioapic_write 0x1b, 0
	ioapic_write 0x1a, 0x8048
	RAISE(5)
	LOWER(5)
	WINDOW_OPEN
	WINDOW_OPEN
	IS32(1, irq_count)
	ioapic_read 0x1a
	IS32(0x8048, %eax)
	PASS

TEST(ioapic_mask, LONG, "a masked level pin delivers once it is unmasked"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	.macro	end_line5
	LOWER(5)
	end_apic
	.endm
	handler	io_unmasked, 0x49, end_line5
	apic_init
	gate	0x49, io_unmasked
	ioapic_write 0x1b, 0
	ioapic_write 0x1a, 0x18049
	RAISE(5)
	WINDOW_OPEN
	IS32(0, irq_count)
	ioapic_write 0x1a, 0x8049
	WINDOW_OPEN
	IS32(1, irq_count)
	ioapic_read 0x1a
	IS32(0x8049, %eax)
	PASS

TEST(ioapic_logical, LONG, "logical destination, by LDR in the flat model"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	apic_init
	gate	0x45, io_edge
	movl	$0xffffffff, APIC_DFR
	movl	$0x04000000, APIC_LDR
	ioapic_write 0x1b, 0x02000000		/* not ours */
	ioapic_write 0x1a, 0x845
	RAISE(5)
	LOWER(5)
	WINDOW_OPEN
	IS32(0, irq_count)
	ioapic_write 0x1b, 0x06000000
	RAISE(5)
	LOWER(5)
	WINDOW_OPEN
	IS32(1, irq_count)
	PASS

/* ---- Local APIC ----------------------------------------------------------------------- */

TEST(self_ipi, LONG, "a self IPI waits in IRR, is in ISR while served, and in neither after EOI"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	HANDLERS
self_60:
	pushq	%rax
	incl	irq_count
	movl	APIC_IRR(0x60), %eax
	IS32(0, %eax)
	movl	APIC_ISR(0x60), %eax
	IS32(BIT(0x60), %eax)
	movl	APIC_PPR, %eax
	IS32(0x60, %eax)
	end_apic
	movl	APIC_ISR(0x60), %eax
	IS32(0, %eax)
	popq	%rax
	iretq
	.popsection
	apic_init
	gate	0x60, self_60
	IPI(SELF | 0x60)
	movl	APIC_IRR(0x60), %eax
	IS32(BIT(0x60), %eax)
	IS32(0, irq_count)
	WINDOW_OPEN
	IS32(1, irq_count)
	movl	APIC_ICR, %eax
	andl	$0x1000, %eax			/* never pending for long */
	IS32(0, %eax)
	PASS

TEST(ipi_physical, LONG, "an IPI by APIC ID to oneself, and to all with the broadcast ID"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	ipi_61, 0x61, end_apic
	apic_init
	gate	0x61, ipi_61
	movl	$0, APIC_ICR2
	IPI(0x4061)
	WINDOW_OPEN
	IS32(1, irq_count)
	movl	$0xff000000, APIC_ICR2
	IPI(0x4061)
	WINDOW_OPEN
	IS32(2, irq_count)
	movl	$0x05000000, APIC_ICR2		/* nobody */
	IPI(0x4061)
	WINDOW_OPEN
	IS32(2, irq_count)
	IPI(0xc4061)				/* all but oneself */
	WINDOW_OPEN
	IS32(2, irq_count)
	PASS

TEST(priority, LONG, "of two pending vectors the higher comes first"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	prio_41, 0x41, end_apic
	handler	prio_91, 0x91, end_apic
	apic_init
	gate	0x41, prio_41
	gate	0x91, prio_91
	IPI(SELF | 0x41)
	IPI(SELF | 0x91)
	WINDOW_OPEN
	WINDOW_OPEN
	IS32(2, irq_count)
	IS16(0x4191, irq_log)
	PASS

TEST(nesting, LONG, "in service, a vector keeps its class and lower out, and lets higher in"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	HANDLERS
nest_51:
	pushq	%rax
	movl	irq_count, %eax
	movb	$0x51, irq_log(%rax)
	incl	irq_count
	IPI(SELF | 0x41)
	IPI(SELF | 0x52)
	WINDOW_OPEN
	IS32(1, irq_count)
	IPI(SELF | 0x91)
	WINDOW_OPEN
	IS32(2, irq_count)
	end_apic
	popq	%rax
	iretq
	.popsection
	handler	prio_52, 0x52, end_apic
	apic_init
	gate	0x41, prio_41
	gate	0x51, nest_51
	gate	0x52, prio_52
	gate	0x91, prio_91
	IPI(SELF | 0x51)
	WINDOW_OPEN
	WINDOW_OPEN
	WINDOW_OPEN
	IS32(4, irq_count)
	IS32(0x41529151, irq_log)
	PASS

TEST(tpr, LONG, "TPR keeps its class and below out; CR8 is its high half"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	handler	prio_61, 0x61, end_apic
	apic_init
	gate	0x52, prio_52
	gate	0x61, prio_61
	movl	$0x50, APIC_TPR
	movq	%cr8, %rax
	IS64(5, %rax)
	movl	APIC_PPR, %eax
	IS32(0x50, %eax)
	IPI(SELF | 0x52)
	IPI(SELF | 0x61)
	WINDOW_OPEN
	IS32(1, irq_count)
	IS8(0x61, irq_log)
	movl	$4, %eax
	movq	%rax, %cr8
	movl	APIC_TPR, %eax
	IS32(0x40, %eax)
	WINDOW_OPEN
	IS32(2, irq_count)
	PASS

TEST(tpr_lower_with_if, LONG, "lowering CR8 with interrupts on lets one in at once"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	apic_init
	gate	0x52, prio_52
	movl	$15, %eax
	movq	%rax, %cr8
	IPI(SELF | 0x52)
	sti
	nop
	nop
	IS32(0, irq_count)
	xorl	%eax, %eax
	movq	%rax, %cr8
	nop
	IS32(1, irq_count)
	PASS

TEST(software_disabled, LONG, "with the APIC disabled in SVR no IPI is taken, and LVTs are masked"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	apic_init
	gate	0x61, prio_61
	movl	$0xff, APIC_SVR
	IPI(SELF | 0x61)
	WINDOW_OPEN
	movl	$0x70, APIC_LVTT
	movl	APIC_LVTT, %eax
	andl	$0x10000, %eax
	IS32(0x10000, %eax)
	movl	$0x1ff, APIC_SVR
	WINDOW_OPEN
	IS32(0, irq_count)
	IPI(SELF | 0x61)
	WINDOW_OPEN
	IS32(1, irq_count)
	PASS

TEST(timer_one_shot, LONG, "the APIC timer interrupts once, and HLT waits for it"):
	VM(IRQCHIP)
	handler	apic_timer, 0x70, end_apic
	apic_init
	gate	0x70, apic_timer
	movl	$0xb, APIC_TDCR
	movl	$0x70, APIC_LVTT
	movl	$20000000, APIC_TMICT		/* 20 ms: a busy host takes some */
	movl	APIC_TMCCT, %ebx
	testl	%ebx, %ebx
	jnz	1f
	FAIL
1:	sti
	hlt
	cli
	IS32(1, irq_count)
	movl	APIC_TMCCT, %eax
	IS32(0, %eax)
	movl	$50000, %ecx
	sti
1:	pause
	decl	%ecx
	jnz	1b
	cli
	IS32(1, irq_count)
	PASS

TEST(timer_periodic, LONG, "in periodic mode it comes again and again, until its count is 0"):
	VM(IRQCHIP)
	apic_init
	gate	0x70, apic_timer
	movl	$0x0, APIC_TDCR			/* divided by 2 */
	movl	$0x20070, APIC_LVTT
	movl	$500000, APIC_TMICT
1:	sti
	hlt
	cli
	cmpl	$10, irq_count
	jb	1b
	movl	$0, APIC_TMICT
	WINDOW_OPEN
	movl	irq_count, %ebx
	movl	$50000, %ecx
	sti
1:	pause
	decl	%ecx
	jnz	1b
	cli
	cmpl	%ebx, irq_count
	je	1f
	FAIL
1:	PASS

	/* Two counters, one of them in a vector register, which differ by one at the most wherever it comes. */
	.pushsection .data, "aw", @progbits
	.balign	4
path_bad:
	.long	0
	.popsection
	.pushsection .handlers, "ax", @progbits
	.code64
path_timer:
	pushq	%rax
	pushq	%rdx
	movd	%xmm1, %edx
	movl	%r10d, %eax
	subl	%edx, %eax
	cmpl	$1, %eax
	jbe	1f
	incl	path_bad
1:	incl	irq_count
	end_apic
	popq	%rdx
	popq	%rax
	iretq
	.popsection

TEST(timer_path, LONG, "in the middle of a hot loop it finds the registers as they are there"):
	VM(IRQCHIP)
	WRONG(PARAVIRT, NOT_EMULATED("SSE"))
	movq	%cr4, %rax
	orl	$0x600, %eax
	movq	%rax, %cr4
	apic_init
	gate	0x70, path_timer
	xorl	%r10d, %r10d
	pxor	%xmm1, %xmm1
	movl	$1, %eax
	movd	%eax, %xmm2
	movl	$0x0, APIC_TDCR
	movl	$0x20070, APIC_LVTT
	movl	$500000, APIC_TMICT
	sti
1:	incl	%r10d
	cmpl	$-1, %r10d
	je	2f
	paddd	%xmm2, %xmm1
	cmpl	$20, irq_count
	jae	2f
	testl	%r10d, %r10d
	jnz	1b
2:	cli
	movl	$0, APIC_TMICT
	IS32(0, path_bad)
	movd	%xmm1, %eax
	movl	%r10d, %ecx
	cmpl	%ecx, %eax
	je	3f
	FAIL
3:	PASS

TEST(timer_masked, LONG, "masked it counts but does not interrupt"):
	VM(IRQCHIP)
	apic_init
	gate	0x70, apic_timer
	movl	$0xb, APIC_TDCR
	movl	$0x10070, APIC_LVTT
	movl	$300000, APIC_TMICT
1:	movl	APIC_TMCCT, %eax
	testl	%eax, %eax
	jnz	1b
	WINDOW_OPEN
	IS32(0, irq_count)
	movl	APIC_IRR(0x70), %eax
	IS32(0, %eax)
	PASS

TEST(timer_deadline, LONG, "TSC deadline: fires at that time, then the MSR is 0; 0 disarms"):
	VM(IRQCHIP)
	NEEDS(TSC_DEADLINE)
	apic_init
	gate	0x70, apic_timer
	movl	$0x40070, APIC_LVTT
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	leaq	1000000(%rax), %rbx
	movq	%rbx, %rax
	movq	%rbx, %rdx
	shrq	$32, %rdx
	movl	$0x6e0, %ecx
	wrmsr
	sti
	hlt
	cli
	IS32(1, irq_count)
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	cmpq	%rbx, %rax
	jae	1f
	FAIL
1:	rdmsr
	IS32(0, %eax)
	IS32(0, %edx)
	/* Armed, disarmed: nothing. One in the past: at once. */
	rdtsc
	addl	$10000000, %eax
	adcl	$0, %edx
	wrmsr
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$1, %eax
	wrmsr
	sti
	hlt
	cli
	IS32(2, irq_count)
	PASS

TEST(x2apic, LONG, "x2APIC: MSRs instead of MMIO, the self IPI register, ID in 32 bits"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	NEEDS(X2APIC)
	.macro	x2_end
	pushq	%rcx
	pushq	%rdx
	movl	$0x80b, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	popq	%rdx
	popq	%rcx
	.endm
	handler	x2_62, 0x62, x2_end
	apic_init
	gate	0x62, x2_62
	movl	$0x1b, %ecx
	rdmsr
	orl	$0xc00, %eax
	wrmsr
	movl	$0x802, %ecx
	rdmsr
	IS32(0, %eax)
	movl	$0x83f, %ecx
	movl	$0x62, %eax
	wrmsr
	WINDOW_OPEN
	IS32(1, irq_count)
	movl	$0x830, %ecx			/* ICR: 64 bits, no busy bit */
	movl	$SELF | 0x62, %eax
	xorl	%edx, %edx
	wrmsr
	WINDOW_OPEN
	IS32(2, irq_count)
	movl	$0x830, %ecx
	movl	$0x62, %eax			/* destination 0 in the upper half */
	xorl	%edx, %edx
	wrmsr
	WINDOW_OPEN
	IS32(3, irq_count)
	movl	$0x80d, %ecx			/* LDR: cluster 0, bit 0 */
	rdmsr
	IS32(1, %eax)
	PASS

TEST(x2apic_faults, LONG, "x2APIC: read-only, absent and reserved registers are #GP(0)"):
	VM(IRQCHIP)
	NEEDS(X2APIC)
	apic_init
	movl	$0x802, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)		/* not in x2APIC mode yet */
	movl	$0x1b, %ecx
	rdmsr
	movl	%eax, %ebx
	orl	$0xc00, %eax
	wrmsr
	xorl	%eax, %eax
	xorl	%edx, %edx
	movl	$0x802, %ecx
	FAULTS(GP_VECTOR, 0, wrmsr)		/* the ID is read-only */
	movl	$0x80e, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)		/* no DFR */
	movl	$0x831, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)		/* no ICR2 */
	movl	$0x1b, %ecx
	movl	%ebx, %eax
	xorl	%edx, %edx
	FAULTS(GP_VECTOR, 0, wrmsr)		/* back to xAPIC only through disabled */
	andl	$~0xc00, %eax
	wrmsr
	movl	%ebx, %eax
	wrmsr
	PASS

TEST(sti_shadow, LONG, "STI holds interrupts off for one more instruction"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	apic_init
	gate	0x61, prio_61
	IPI(SELF | 0x61)
	xorl	%ecx, %ecx
	sti
	incl	%ecx
1:	incl	%ecx
	cli
	IS32(1, irq_count)
	IS64(1b, irq_rip)
	PASS

TEST(popf_no_shadow, LONG, "POPF and IRET that set IF let interrupts in at once"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	apic_init
	gate	0x61, prio_61
	IPI(SELF | 0x61)
	pushq	$0x202
	popfq
1:	nop
	cli
	IS32(1, irq_count)
	IS64(1b, irq_rip)
	IPI(SELF | 0x61)
	movq	%rsp, %rax
	pushq	$KDS
	pushq	%rax
	pushq	$0x202
	pushq	$KCS64
	pushq	$1f
	iretq
1:	nop
	cli
	IS32(2, irq_count)
	IS64(1b, irq_rip)
	PASS

TEST(rep_interrupted, LONG, "interrupts in the middle of REP MOVSB lose and repeat nothing"):
	VM(IRQCHIP)
	apic_init
	gate	0x70, apic_timer
	movl	$SCRATCH, %edi
	movl	$0x20000, %ecx
1:	movl	%ecx, (%rdi)
	addq	$4, %rdi
	subl	$4, %ecx
	jnz	1b
	movl	$0xb, APIC_TDCR
	movl	$0x20070, APIC_LVTT
	movl	$200000, APIC_TMICT
	sti
	movl	$SCRATCH, %esi
	movl	$SCRATCH + 0x20000, %edi
	movl	$0x20000, %ecx
	rep movsb
	IS64(SCRATCH + 0x20000, %rsi)
	IS64(SCRATCH + 0x40000, %rdi)
	hlt
	cli
	movl	$0, APIC_TMICT
	movl	$SCRATCH, %esi
	movl	$SCRATCH + 0x20000, %edi
	movl	$0x8000, %ecx
	repe cmpsl
	je	1f
	FAIL
1:	PASS

/* ---- NMI and MSI ---------------------------------------------------------------------- */

TEST(nmi, LONG, "an NMI arrives with interrupts off, on vector 2"):
	handler	nmi_2, 2
	gate	2, nmi_2
	cli
	out	%al, $PORT_NMI
	nop
	IS32(1, irq_count)
	IS8(2, irq_log)
	PASS

TEST(nmi_blocked, LONG, "in its handler the next NMI waits for IRET; no more than one waits"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	HANDLERS
nmi_nested:
	pushq	%rax
	incl	irq_count
	cmpl	$1, irq_count
	jne	1f
	out	%al, $PORT_NMI
	nop
	nop
	IS32(1, irq_count)
1:	popq	%rax
	iretq
	.popsection
	gate	2, nmi_nested
	out	%al, $PORT_NMI
	nop
	nop
	IS32(2, irq_count)
	PASS

TEST(nmi_ipi, LONG, "an IPI with NMI delivery mode"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	apic_init
	gate	2, nmi_2
	movl	$0, APIC_ICR2
	IPI(0x4400)
	nop
	IS32(1, irq_count)
	PASS

TEST(nmi_lint1, LONG, "KVM_NMI comes whatever LVT1 says"):
	VM(IRQCHIP)
	apic_init
	gate	2, nmi_2
	movl	$0x10000, APIC_LVT1
	out	%al, $PORT_NMI
	nop
	IS32(1, irq_count)
	PASS

TEST(msi, LONG, "KVM_SIGNAL_MSI delivers its vector, edge and level"):
	WRONG(PARAVIRT, WAITS_FOR_EXIT)
	VM(IRQCHIP)
	apic_init
	gate	0x61, prio_61
	gate	0x41, prio_41
	movl	$0x61, %eax
	out	%eax, $PORT_MSI
	movl	$0xc041, %eax			/* level, asserted */
	out	%eax, $PORT_MSI
	WINDOW_OPEN
	WINDOW_OPEN
	IS32(2, irq_count)
	IS16(0x4161, irq_log)
	PASS

TEST(hlt_returns, LONG, "the RIP an interrupt saves in HLT is the next instruction's"):
	VM(IRQCHIP)
	apic_init
	gate	0x70, apic_timer
	movl	$0xb, APIC_TDCR
	movl	$0x70, APIC_LVTT
	movl	$200000, APIC_TMICT
	sti
	hlt
1:	nop
	IS64(1b, irq_rip)
	PASS

/* ---- For run.c: HLT until pin 5's interrupt, from another thread -------------------------- */

	MODE64
	.globl	irq_hlt_wait
irq_hlt_wait:
	apic_init
	gate	0x45, io_edge
	ioapic_write 0x1b, 0
	ioapic_write 0x1a, 0x45
	SYNC(1)
	sti
1:	hlt
	cmpl	$0, irq_count
	je	1b
	cli
	PASS
