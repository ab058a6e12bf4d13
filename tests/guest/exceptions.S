/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Each exception once, with its error code and the instruction pointer it saves. Intel SDM
 * volume 3, 6.15; AMD APM volume 2, 8.2.
 */
#include "guest.h"
GROUP(exceptions)

#define IDT_ERROR_CODE	"QEMU's TCG pushes vector * 16 + 2 in long mode"

TEST(de_div, LONG, "division by zero is #DE, a fault"):
	xorl	%ecx, %ecx
	movl	$1, %eax
	cltd
	FAULTS(DE_VECTOR, 0, divl %ecx)
	IS32(1, %eax)
	IS32(0, %edx)
	PASS

TEST(de_overflow, LONG, "a quotient that does not fit is #DE, signed and unsigned"):
	movl	$2, %edx
	xorl	%eax, %eax
	movl	$2, %ecx
	FAULTS(DE_VECTOR, 0, divl %ecx)
	movl	$0x80000000, %eax
	cltd
	movl	$-1, %ecx
	FAULTS(DE_VECTOR, 0, idivl %ecx)
	movw	$0x100, %ax
	movb	$1, %cl
	FAULTS(DE_VECTOR, 0, divb %cl)
	PASS

TEST(de_real, REAL, "#DE in real mode goes through the vector table, to the instruction itself"):
	xorw	%cx, %cx
	FAULTS(DE_VECTOR, 0, divw %cx)
	PASS

TEST(ud_ud2, LONG, "UD2 is #UD, and pushes no error code"):
	movq	%rsp, %rbx
	FAULTS(UD_VECTOR, 0, ud2)
	IS32(KCS64, EXC_CS)
	cmpq	%rbx, EXC_RSP
	je	1f
	FAIL
1:	PASS

TEST(ud_64bit_only, LONG, "what 64-bit mode took away is #UD: PUSH ES, DAA, AAM, POPA, BOUND's place"):
	WRONG(PARAVIRT, NOT_EMULATED("#UD for all of them"))
	FAULTS(UD_VECTOR, 0, .byte 0x06)		/* push %es */
	FAULTS(UD_VECTOR, 0, .byte 0x27)		/* daa */
	FAULTS(UD_VECTOR, 0, .byte 0xd4; .byte 0x0a)	/* aam */
	FAULTS(UD_VECTOR, 0, .byte 0x61)		/* popa */
	FAULTS(UD_VECTOR, 0, .byte 0xce)		/* into */
	FAULTS(UD_VECTOR, 0, .byte 0x9a; .long 0; .word KCS64)	/* far call, immediate */
	PASS

TEST(ud_lock, LONG, "LOCK where it does not belong is #UD"):
	WRONG(TCG, "QEMU's TCG lets LOCK pass before most instructions")
	FAULTS(UD_VECTOR, 0, .byte 0xf0; nop)
	FAULTS(UD_VECTOR, 0, .byte 0xf0; movl %eax, SCRATCH)
	FAULTS(UD_VECTOR, 0, .byte 0xf0; addl %eax, %ecx)
	FAULTS(UD_VECTOR, 0, .byte 0xf0; cmpl %eax, SCRATCH)
	lock addl $1, SCRATCH
	IS32(1, SCRATCH)
	PASS

TEST(bp, LONG, "INT3 is a trap: the saved RIP is the next instruction's"):
	WRONG(PARAVIRT, NOT_EMULATED("INT outside real mode"))
	TRAPS(BP_VECTOR, int3)
	PASS

TEST(of, PROT, "INTO traps with OF set, and does nothing with OF clear"):
	WRONG(PARAVIRT, NOT_EMULATED("INT outside real mode"))
	xorl	%eax, %eax
	into
	IS32(0, EXC_COUNT)
	movl	$0x7fffffff, %eax
	incl	%eax
	TRAPS(OF_VECTOR, into)
	PASS

TEST(br, PROT, "BOUND outside is #BR, a fault; at either limit it passes"):
	WRONG(PARAVIRT, NOT_EMULATED("BOUND"))
	movl	$-4, SCRATCH
	movl	$10, SCRATCH + 4
	movl	$-4, %eax
	bound	%eax, SCRATCH
	movl	$10, %eax
	bound	%eax, SCRATCH
	IS32(0, EXC_COUNT)
	movl	$11, %eax
	FAULTS(BR_VECTOR, 0, bound %eax, SCRATCH)
	movl	$-5, %eax
	FAULTS(BR_VECTOR, 0, bound %eax, SCRATCH)
	PASS

TEST(gp_noncanonical, LONG, "a non-canonical data address is #GP(0), through RSP #SS(0)"):
	movabsq	$0x800000000000, %rbx
	FAULTS(GP_VECTOR, 0, movl (%rbx), %eax)
	FAULTS(GP_VECTOR, 0, movl %eax, (%rbx))
	movabsq	$0xffff7fffffffffff, %rbx
	FAULTS(GP_VECTOR, 0, movb (%rbx), %al)
	IS64(0, EXC_CR2)
	PASS

TEST(ss_noncanonical, LONG, "a non-canonical address through RSP or RBP is #SS(0)"):
	WRONG(TCG, "QEMU's TCG raises #GP")
	movabsq	$0x800000000000, %rbp
	FAULTS(SS_VECTOR, 0, movl (%rbp), %eax)
	FAULTS(GP_VECTOR, 0, movl %fs:(%rbp), %eax)
	PASS

TEST(gp_cr, LONG, "reserved bits and wrong combinations in CR0, CR4, CR8 and EFER are #GP(0)"):
	movq	%cr0, %rax
	andl	$~1, %eax
	FAULTS(GP_VECTOR, 0, movq %rax, %cr0)		/* PG without PE */
	movq	%cr0, %rax
	orl	$0x20000000, %eax
	FAULTS(GP_VECTOR, 0, movq %rax, %cr0)		/* NW without CD */
	movq	%cr4, %rax
	andl	$~0x20, %eax
	FAULTS(GP_VECTOR, 0, movq %rax, %cr4)		/* PAE off in long mode */
	movq	%cr4, %rax
	orl	$0x80000000, %eax
	FAULTS(GP_VECTOR, 0, movq %rax, %cr4)
	movl	$0x10, %eax
	FAULTS(GP_VECTOR, 0, movq %rax, %cr8)
	movl	$0xc0000080, %ecx
	rdmsr
	andl	$~0x100, %eax
	FAULTS(GP_VECTOR, 0, wrmsr)			/* LME off while paging */
	rdmsr
	orl	$2, %eax
	FAULTS(GP_VECTOR, 0, wrmsr)			/* a reserved bit */
	FAULTS(UD_VECTOR, 0, movq %cr1, %rax)
	PASS

TEST(gp_privileged, LONG, "each privileged instruction is #GP(0) in ring 3"):
	.macro	user_gp insn:vararg
	.pushsection .utext, "ax", @progbits
777:	\insn
	int	$RETURN_VECTOR
	.popsection
	RING3_64(777b)
	SAW(GP_VECTOR, 0, 777b)
	.endm
	user_gp hlt
	user_gp movq %cr0, %rax
	user_gp movq %rax, %cr3
	user_gp movq %rax, %cr8
	user_gp movq %rax, %dr7
	user_gp movq %dr0, %rax
	user_gp rdmsr
	user_gp wrmsr
	user_gp invd
	user_gp wbinvd
	user_gp clts
	user_gp invlpg (%rsp)
	user_gp lgdt (%rsp)
	user_gp lidt (%rsp)
	user_gp lldt %ax
	user_gp ltr %ax
	user_gp lmsw %ax
	user_gp swapgs
	PASS

TEST(int_gate_dpl, LONG, "INT n through a gate of lower DPL than CPL is #GP(n * 8 + 2)"):
	WRONG(PARAVIRT, "INT in ring 3 is #UD")
	WRONG(TCG, IDT_ERROR_CODE)
	USER64
1:	int	$0x40
	MODE64
	RING3_64(1b)
	SAW(GP_VECTOR, 0x40 * 8 + 2, 1b)
	PASS

TEST(int_return, LONG, "INT n from ring 3 switches to RSP0, saves SS:RSP, clears IF in a gate"):
	WRONG(PARAVIRT, "INT in ring 3 is #UD")
	USER64
	.balign	16
1:	int	$RETURN_VECTOR
2:	nop
	MODE64
	RING3_64(1b)
	SAW(RETURN_VECTOR, 0, 2b)
	IS32(UCS64 | 3, EXC_CS)
	IS32(UDS | 3, EXC_SS)
	IS64(USER_STACK, EXC_RSP)
	IS64(stack0_top - 40, EXC_HANDLER_RSP)
	movw	%ss, %ax
	IS16(0, %ax)
	PASS

TEST(stack_alignment, LONG, "the frame in 64-bit mode is aligned to 16 bytes first"):
	WRONG(PARAVIRT, NOT_EMULATED("INT outside real mode"))
	subq	$5, %rsp
	TRAPS(BP_VECTOR, int3)
	IS64(stack_top - 5, EXC_RSP)
	IS64(stack_top - 16 - 40, EXC_HANDLER_RSP)
	PASS

TEST(double_fault, LONG, "a #GP while delivering a #PF is #DF, error code 0"):
	WRONG(TCG, "QEMU's TCG delivers the second exception instead")
	movl	$0, idt64 + PF_VECTOR * 16 + 4		/* its gate is not present any more */
	movl	$1f, EXC_RESUME
	movabsq	$0x100000000000, %rbx
	movl	(%rbx), %eax
	FAIL
1:	IS32(0, EXC_ERROR)
	IS32(DF_VECTOR, EXC_VECTOR)
	IS64(0x100000000000, EXC_CR2)
	PASS

TEST(contributory, LONG, "a gate that is not present is #NP with vector * 8 + 2, and EXT for a fault"):
	WRONG(PARAVIRT, NOT_EMULATED("INT outside real mode"))
	WRONG(TCG, IDT_ERROR_CODE)
	movw	$0x0e00, idt64 + 0x40 * 16 + 4
	FAULTS(NP_VECTOR, 0x40 * 8 + 2, int $0x40)
	movw	$0x0e00, idt64 + UD_VECTOR * 16 + 4
	FAULTS(NP_VECTOR, UD_VECTOR * 8 + 3, ud2)
	PASS

TEST(idt_limit, LONG, "a vector outside the IDT's limit is #GP(vector * 8 + 2)"):
	WRONG(PARAVIRT, NOT_EMULATED("INT outside real mode"))
	WRONG(TCG, IDT_ERROR_CODE)
	lidt	1f(%rip)
	FAULTS(GP_VECTOR, 0x80 * 8 + 2, int $0x80)
	PASS
1:	.word	0x80 * 16 - 1
	.quad	idt64

TEST(path, LONG, "a fault in the middle of a hot path has the flags and registers of its instruction"):
	movq	$0, pt64 + 8 * 5
	invlpg	WINDOW + 0x5000
	movl	$5f, EXC_RESUME
	movl	$WINDOW + 0x4000, %ebx
	xorl	%r10d, %r10d
	xorl	%r11d, %r11d
2:	cmpl	$-1, %r10d
	je	9f
	addl	$3, %r10d
	js	9f
	subl	$1, %r11d
3:	movl	(%rbx), %eax
	jo	9f
	addq	$8, %rbx
	cmpl	$0x2000, %r10d
	jb	2b
9:	movl	%r10d, %eax
	xorl	%ecx, %ecx
	FAIL
5:	IS32(PF_VECTOR, EXC_VECTOR)
	IS32(3b, EXC_RIP)
	IS64(WINDOW + 0x5000, EXC_CR2)
	movl	EXC_FLAGS, %eax
	andl	$0x8d5, %eax
	IS32(0x94, %eax)			/* SF, AF, PF: -512 minus 1 */
	IS32(-513, %r11d)
	IS32(3 * 513, %r10d)
	PASS
