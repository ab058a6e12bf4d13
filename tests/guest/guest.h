/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The world a small guest lives in, for both sides: the assembler of the guests includes it, and
 * so does the C of the harness. The first half is the layout (memory, selectors, ports), the
 * second half the macros a guest is written with.
 *
 * A guest checks itself. It ends with PASS, or with one of the IS* or FAULTS macros reporting
 * file, line, what it got and what it wanted. It never needs a stack or a working segment for a
 * report: values travel in registers, by one OUT with an immediate port.
 */
#ifndef GUEST_H
#define GUEST_H

/* Guest-physical memory. All of it is mapped one to one in the page tables of lib.S. */
#define RAM_SIZE	0x1000000	/* slot 0: 16 MiB from 0 */
#define EXC		0x600		/* what the exception recorder saw, see below */
#define TRAMPOLINE	0x8000		/* where a second vCPU starts: SIPI vector 8 */
#define REAL_STACK	0xf000
#define VEC16		0x1000		/* 256 stubs of 8 bytes: the real-mode vectors */
#define VEC32		0x10000		/* 256 stubs of 16 bytes: the vectors of the 32-bit IDT */
#define VEC64		0x11000		/* and of the 64-bit one */
#define TSS64		0x12000
#define TSS32		0x12400
#define TSS_SIZE	(0x68 + 0x20 + 1)	/* with an I/O bitmap for ports 0 to 0xff */
#define USER_BASE	0x400000	/* 4 MiB that ring 3 may use: .utext, .udata */
#define USER_STACK	0x7ff000
#define WINDOW		0x800000	/* 4 KiB pages by pt32 or pt64, for tests to change */
#define SCRATCH		0xc00000	/* memory for tests, not in the image */
#define MMIO		0x10000000	/* nothing there: accesses leave to user space */
#define MOVABLE		0x20000000	/* nothing there at first: tests add and move slots */

/* The exception recorder's fields, 64 bits each. */
#define EXC_COUNT	(EXC + 0x00)	/* exceptions so far */
#define EXC_VECTOR	(EXC + 0x08)
#define EXC_ERROR	(EXC + 0x10)	/* 0 where the vector pushes none */
#define EXC_RIP		(EXC + 0x18)
#define EXC_CS		(EXC + 0x20)
#define EXC_FLAGS	(EXC + 0x28)
#define EXC_RSP		(EXC + 0x30)
#define EXC_SS		(EXC + 0x38)
#define EXC_CR2		(EXC + 0x40)
#define EXC_DR6		(EXC + 0x48)
#define EXC_RESUME	(EXC + 0x50)	/* where to go on; 0: not expected, the test fails */
#define EXC_KSTACK	(EXC + 0x58)	/* if not 0, go on in ring 0 on this stack, without IRET */
#define EXC_HANDLER_RSP	(EXC + 0x60)	/* where the handler's own frame lay */
#define EXC_HANDLER_FLAGS (EXC + 0x68)	/* the flags it was entered with */

/* Selectors. The order serves SYSRET (0x18) and SYSEXIT (0x08, 0x38) at once. */
#define KCS32		0x08
#define KDS		0x10
#define UCS32		0x18
#define UDS		0x20
#define UCS64		0x28
#define UDS2		0x30
#define KCS64		0x38
#define KDS2		0x40
#define KCS16		0x48
#define KDS16		0x50
#define TR64		0x58		/* 16 bytes in long mode */
#define TR32		0x68
#define LDT		0x70		/* 16 bytes in long mode */
#define SEL(n)		(0x80 + 8 * (n))	/* 16 free entries for tests */
#define GDT_SIZE	0x100

/* Ports. */
#define PORT_PASS	0xf0		/* the test is over and good */
#define PORT_FAIL	0xf1		/* rax got, rcx wanted, edx line, esi file */
#define PORT_STRAY	0xf2		/* an exception nobody expected: read EXC */
#define PORT_LOG	0xf3		/* note down eax for the host */
#define PORT_SYNC	0xf4		/* let the host act; al says at which point of the test */
#define PORT_NOFAULT	0xf5		/* ecx: the vector that did not come; else as PORT_FAIL */
#define PORT_IRQ	0xf6		/* al: GSI, with bit 7 raised, without lowered */
#define PORT_NMI	0xf7		/* an NMI for this vCPU */
#define PORT_MSI	0xf8		/* eax: an MSI's data, for APIC 0 */
#define PORT_TEST	0xe0		/* 0xe0 to 0xef: for tests of port I/O */

/* Modes a guest can be started in. */
#define MODE_REAL	0		/* 16 bits, flat segments of base 0 */
#define MODE_PROT	1		/* 32 bits, no paging */
#define MODE_PG32	2		/* 32 bits, 2-level paging with 4 MiB pages */
#define MODE_PAE	3		/* 32 bits, PAE paging */
#define MODE_LONG	4		/* 64 bits, 4-level paging */

/* Vectors. */
#define DE_VECTOR	0
#define DB_VECTOR	1
#define NMI_VECTOR	2
#define BP_VECTOR	3
#define OF_VECTOR	4
#define BR_VECTOR	5
#define UD_VECTOR	6
#define NM_VECTOR	7
#define DF_VECTOR	8
#define TS_VECTOR	10
#define NP_VECTOR	11
#define SS_VECTOR	12
#define GP_VECTOR	13
#define PF_VECTOR	14
#define MF_VECTOR	16
#define AC_VECTOR	17
#define XM_VECTOR	19
#define RETURN_VECTOR	0x80		/* ring 3's way back, a gate of DPL 3 */

/* Processor features a guest may need: bits of CPUID, as (leaf, subleaf, register, bit). */
#define FEATURE(leaf, sub, reg, bit)	((leaf) | (sub) << 8 | (reg) << 12 | (bit) << 16)
#define EXT_LEAF	0x80		/* stands for leaves from 0x80000000 */
#define REG_EAX		0
#define REG_EBX		1
#define REG_ECX		2
#define REG_EDX		3
#define FEATURE_VME		FEATURE(1, 0, REG_EDX, 1)
#define FEATURE_DE		FEATURE(1, 0, REG_EDX, 2)
#define FEATURE_PCID		FEATURE(1, 0, REG_ECX, 17)
#define FEATURE_X2APIC		FEATURE(1, 0, REG_ECX, 21)
#define FEATURE_TSC_DEADLINE	FEATURE(1, 0, REG_ECX, 24)
#define FEATURE_XSAVE		FEATURE(1, 0, REG_ECX, 26)
#define FEATURE_AVX		FEATURE(1, 0, REG_ECX, 28)
#define FEATURE_SSE42		FEATURE(1, 0, REG_ECX, 20)
#define FEATURE_POPCNT		FEATURE(1, 0, REG_ECX, 23)
#define FEATURE_CX16		FEATURE(1, 0, REG_ECX, 13)
#define FEATURE_FSGSBASE	FEATURE(7, 0, REG_EBX, 0)
#define FEATURE_SMEP		FEATURE(7, 0, REG_EBX, 7)
#define FEATURE_INVPCID		FEATURE(7, 0, REG_EBX, 10)
#define FEATURE_SMAP		FEATURE(7, 0, REG_EBX, 20)
#define FEATURE_UMIP		FEATURE(7, 0, REG_ECX, 2)
#define FEATURE_GBPAGES		FEATURE(EXT_LEAF + 1, 0, REG_EDX, 26)
#define FEATURE_RDTSCP		FEATURE(EXT_LEAF + 1, 0, REG_EDX, 27)
#define FEATURE_NX		FEATURE(EXT_LEAF + 1, 0, REG_EDX, 20)

/* What a VM can have. */
#define VM_IRQCHIP	1		/* PIC, I/O APIC and local APICs */
#define VM_PIT		2		/* VM_IRQCHIP and the PIT, with the speaker's port */
#define VM_SPLIT	4		/* local APICs only, the rest is user space's */

/* Kinds of record in .tests, and where a provider can be known to be wrong. */
#define RECORD_TEST	1
#define RECORD_NEEDS	2
#define RECORD_WRONG	3
#define RECORD_VM	4
#define RECORD_KILLS	5
#define ON_PARAVIRT	1		/* a KVM that emulates ring 0, without the hardware */
/* The common reason for the first: what ring 0 does there is emulated, and this is not. */
#define NOT_EMULATED(what)	"its emulator, which runs ring 0, has no " what
#define ON_TCG		2		/* Linux's KVM on the SVM that QEMU's TCG emulates */
#define ON_LINUX	4	/* Linux's KVM, wherever it runs */

#ifdef __ASSEMBLER__

/* First line of a file of guests: GROUP(paging), the first half of its tests' names. */
#define GROUP(g)				\
	.pushsection .rodata;			\
this_file: .asciz __FILE__;			\
this_group: .asciz #g;				\
	.popsection

/*
 * Starts a guest: TEST(wp_off, LONG, "what it shows"). NEEDS and WRONG after it tell what it
 * must have (skipped without) and where it is known to fail, with the reason. MODE16 to MODE64
 * choose section and instruction size.
 */
#define TEST(name, mode, text)			\
	.pushsection .rodata;			\
881: .asciz #name;				\
882: .asciz text;				\
	.popsection;				\
	.pushsection .tests, "a";		\
	.quad RECORD_TEST, this_group, 881b, 882b, MODE_##mode, test_##name; \
	.popsection;				\
	SECTION_##mode;				\
test_##name

#define NEEDS(feature)				\
	.pushsection .tests, "a";		\
	.quad RECORD_NEEDS, FEATURE_##feature, 0, 0, 0, 0; \
	.popsection

#define WRONG(where, why)			\
	.pushsection .rodata;			\
881: .asciz why;				\
	.popsection;				\
	.pushsection .tests, "a";		\
	.quad RECORD_WRONG, ON_##where, 881b, 0, 0, 0; \
	.popsection

/* The same where trying would take down the machine around the test: it is not run there. */
#define KILLS(where, why)			\
	.pushsection .rodata;			\
881: .asciz why;				\
	.popsection;				\
	.pushsection .tests, "a";		\
	.quad RECORD_KILLS, ON_##where, 881b, 0, 0, 0; \
	.popsection

#define MODE16	.section .text16, "ax", @progbits; .code16
/* 32-bit code below 64 KiB, for what reaches it by a 16-bit offset. */
#define LOW32	.section .text16, "ax", @progbits; .code32
#define MODE32	.section .text, "ax", @progbits; .code32
#define MODE64	.section .text, "ax", @progbits; .code64
/* For what a test branches to from elsewhere, such as handlers; .popsection ends it. */
#define HANDLERS .pushsection .handlers, "ax", @progbits; .code64
#define USER32	.section .utext, "ax", @progbits; .code32
#define USER64	.section .utext, "ax", @progbits; .code64
#define SECTION_REAL	MODE16
#define SECTION_PROT	MODE32
#define SECTION_PG32	MODE32
#define SECTION_PAE	MODE32
#define SECTION_LONG	MODE64

/* What VM the guest wants: VM(IRQCHIP), VM(PIT); without, there is no interrupt chip. */
#define VM(what)				\
	.pushsection .tests, "a";		\
	.quad RECORD_VM, VM_##what, 0, 0, 0, 0;	\
	.popsection

#define PASS		out %al, $PORT_PASS
#define SYNC(n)		mov $(n), %al; out %al, $PORT_SYNC
#define FAIL		movl $__LINE__, %edx; movl $this_file, %esi; out %al, $PORT_FAIL

/* The operand, a register or memory, must hold the wanted value, or the test fails. */
#define IS8(want, ...)	cmpb $(want), __VA_ARGS__; je 779f; movzbl __VA_ARGS__, %eax; \
			movl $((want) & 0xff), %ecx; FAIL; 779:
#define IS16(want, ...)	cmpw $(want), __VA_ARGS__; je 779f; movzwl __VA_ARGS__, %eax; \
			movl $((want) & 0xffff), %ecx; FAIL; 779:
#define IS32(want, ...)	cmpl $(want), __VA_ARGS__; je 779f; movl __VA_ARGS__, %eax; \
			movl $(want), %ecx; FAIL; 779:
/* 64-bit code only; r15 is lost. */
#define IS64(want, ...)	movq __VA_ARGS__, %r15; cmpq 778f(%rip), %r15; je 779f; \
			movq %r15, %rax; movq 778f(%rip), %rcx; FAIL; 778: .quad want; 779:

/* The instruction must fault so, leaving the saved instruction pointer on itself. */
#define FAULTS(vec, err, ...)			\
	movl $772f, EXC_RESUME;			\
771:	__VA_ARGS__;				\
	movl $(vec), %ecx; movl $__LINE__, %edx; movl $this_file, %esi; out %al, $PORT_NOFAULT; \
772:	IS32(vec, EXC_VECTOR);			\
	IS32(err, EXC_ERROR);			\
	IS32(771b, EXC_RIP)

/* The instruction must trap so: the saved instruction pointer is the next one's. */
#define TRAPS(vec, ...)				\
	movl $772f, EXC_RESUME;			\
	__VA_ARGS__;				\
771:	nop;					\
	movl $(vec), %ecx; movl $__LINE__, %edx; movl $this_file, %esi; out %al, $PORT_NOFAULT; \
772:	IS32(vec, EXC_VECTOR);			\
	IS32(771b, EXC_RIP)

/* Fills a free GDT entry: type is byte 5 of the descriptor, flags the high half of byte 6. */
#define SET_SEL(n, base, limit, type, flags)	\
	movl	$(((limit) & 0xffff) | ((base) & 0xffff) << 16), gdt + SEL(n); \
	movl	$((((base) >> 16) & 0xff) | (type) << 8 | ((limit) & 0xf0000) | (flags) << 20 | \
		  ((base) & 0xff000000)), gdt + SEL(n) + 4

/*
 * Memory that an exception, a task switch or a single step is about to use. Emulated
 * virtualization loses its place where a nested page fault comes in the middle: QEMU's SVM in the
 * first two, Bochs' VMX in the last.
 */
#define TOUCH(address)	lock orl $0, address

/* What the recorder must have seen, after RING3. */
#define SAW(vec, err, rip)			\
	IS32(vec, EXC_VECTOR);			\
	IS32(err, EXC_ERROR);			\
	IS32(rip, EXC_RIP)

/*
 * Runs the label in ring 3 with IOPL 3 until any exception, or int $RETURN_VECTOR, and goes on
 * here in ring 0. General registers are as ring 3 left them.
 */
#define RING3_64(label)				\
	movq %rsp, EXC_KSTACK;			\
	movl $773f, EXC_RESUME;			\
	pushq $(UDS | 3);			\
	pushq $USER_STACK;			\
	pushq $0x3002;				\
	pushq $(UCS64 | 3);			\
	pushq $label;				\
	iretq;					\
773:	movl $0, EXC_KSTACK

#define RING3_32(label)				\
	movl %esp, EXC_KSTACK;			\
	movl $773f, EXC_RESUME;			\
	pushl $(UDS | 3);			\
	pushl $USER_STACK;			\
	pushl $0x3002;				\
	pushl $(UCS32 | 3);			\
	pushl $label;				\
	iretl;					\
773:	movl $0, %ss:EXC_KSTACK

#endif
#endif
