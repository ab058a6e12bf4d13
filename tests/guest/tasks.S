/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hardware task switches and virtual-8086 mode. Intel SDM volume 3, 7 and 20; AMD APM volume 2,
 * 12 and 3.1.6.
 */
#include "guest.h"
GROUP(tasks)

#define NO_TASK_SWITCH	"QEMU's SVM does not intercept task switches, which kvm-amd with npt=0 needs"
#define NO_IRET		NOT_EMULATED("IRET in protected mode")

/* ---- Task switches: SEL(0) is the second task's TSS, at NEW ----------------------------- */

#define NEW		SCRATCH
#define TSS_LINK	0
#define TSS_CR3		0x1c
#define TSS_EIP		0x20
#define TSS_EFLAGS	0x24
#define TSS_EAX		0x28
#define TSS_ECX		0x2c
#define TSS_ESP		0x38
#define TSS_EBP		0x3c
#define TSS_ES		0x48
#define TSS_CS		0x4c
#define TSS_SS		0x50
#define TSS_DS		0x54
#define TSS_FS		0x58
#define TSS_GS		0x5c
#define TSS_LDT		0x60

	.macro	new_task label
	TOUCH(stack1_top - 4)
	SET_SEL(0, NEW, 0x67, 0x89, 0)
	movl	$\label, NEW + TSS_EIP
	movl	$0x46, NEW + TSS_EFLAGS
	movl	$0x1111, NEW + TSS_EAX
	movl	$0x2222, NEW + TSS_ECX
	movl	$stack1_top, NEW + TSS_ESP
	movl	$0x3333, NEW + TSS_EBP
	movl	$KDS, NEW + TSS_ES
	movl	$KCS32, NEW + TSS_CS
	movl	$KDS, NEW + TSS_SS
	movl	$KDS, NEW + TSS_DS
	.endm

TEST(jmp, PROT, "a far jump to a TSS saves this task, loads that one, and moves the busy bit"):
	WRONG(TCG, NO_TASK_SWITCH)
	WRONG(PARAVIRT, NOT_EMULATED("task switches"))
	new_task 1f
	movl	$0x4444, %ecx
	ljmp	$SEL(0), $0
2:	FAIL
1:	movl	%eax, SCRATCH + 0x1000		/* before flags and registers change */
	pushfl
	popl	%edx
	IS32(0x46, %edx)
	IS32(0x1111, %eax)
	IS32(0x2222, %ecx)
	IS32(0x3333, %ebp)
	IS32(stack1_top, %esp)
	IS32(2b, TSS32 + TSS_EIP)
	IS32(0x4444, TSS32 + TSS_ECX)
	IS32(stack_top, TSS32 + TSS_ESP)
	IS16(KCS32, TSS32 + TSS_CS)
	IS16(KDS, TSS32 + TSS_DS)
	IS8(0x89, gdt + TR32 + 5)
	IS8(0x8b, gdt + SEL(0) + 5)
	str	%eax
	IS32(SEL(0), %eax)
	movl	%cr0, %eax
	andl	$8, %eax
	IS32(8, %eax)				/* TS is set */
	xorl	%eax, %eax
	movl	%fs, %eax
	IS32(0, %eax)
	PASS

TEST(call, PROT, "a far call links the tasks: NT, back link, both busy; IRET goes back"):
	WRONG(TCG, NO_TASK_SWITCH)
	WRONG(PARAVIRT, NOT_EMULATED("task switches"))
	new_task 1f
	movl	$0x5555, %eax
	lcall	$SEL(0), $0
	IS32(0x5555, %eax)
	IS32(stack_top, %esp)
	IS8(0x8b, gdt + TR32 + 5)
	IS8(0x89, gdt + SEL(0) + 5)
	str	%eax
	IS32(TR32, %eax)
	pushfl
	popl	%eax
	andl	$0x4000, %eax
	IS32(0, %eax)
	andl	$0x4000, NEW + TSS_EFLAGS	/* IRET saves the flags with NT clear */
	IS32(0, NEW + TSS_EFLAGS)
	IS32(2f, NEW + TSS_EIP)
	IS32(0x7777, NEW + TSS_EAX)
	PASS
1:	pushfl
	popl	%eax
	andl	$0x4000, %eax
	IS32(0x4000, %eax)
	IS16(TR32, NEW + TSS_LINK)
	IS8(0x8b, gdt + TR32 + 5)
	IS8(0x8b, gdt + SEL(0) + 5)
	movl	$0x7777, %eax
	iretl
2:	FAIL

TEST(task_gate, PROT, "INT through a task gate, and IRET back"):
	WRONG(TCG, NO_TASK_SWITCH)
	WRONG(PARAVIRT, NOT_EMULATED("task switches"))
	new_task 1f
	movl	$SEL(0) << 16, idt32 + 8 * 0x40
	movl	$0x8500, idt32 + 8 * 0x40 + 4
	xorl	%ebx, %ebx
	int	$0x40
	IS32(0x600d, SCRATCH + 0x1000)
	IS32(stack_top, %esp)
	PASS
1:	movl	$0x600d, SCRATCH + 0x1000
	IS32(stack1_top, %esp)			/* no error code for INT n */
	IS16(TR32, NEW + TSS_LINK)
	iretl

TEST(task_gate_fault, PROT, "a fault through a task gate pushes its error code on the new stack"):
	WRONG(TCG, NO_TASK_SWITCH)
	WRONG(PARAVIRT, NOT_EMULATED("task switches"))
	new_task 1f
	movl	$SEL(0) << 16, idt32 + 8 * GP_VECTOR
	movl	$0x8500, idt32 + 8 * GP_VECTOR + 4
	movl	$KDS | 3, %eax
2:	movl	%eax, %ds			/* #GP(KDS): RPL 3 */
	IS32(0x600d, SCRATCH + 0x1000)
	PASS
1:	IS32(stack1_top - 4, %esp)
	popl	%eax
	IS32(KDS, %eax)
	IS32(2b, TSS32 + TSS_EIP)		/* the instruction to be tried again */
	movl	$KDS, TSS32 + TSS_EAX
	movl	$0x600d, SCRATCH + 0x1000
	iretl

TEST(bad_target, PROT, "a TSS that is busy, absent or too short: #GP, #NP, #TS with its selector"):
	WRONG(PARAVIRT, NOT_EMULATED("task switches"))
	new_task 1f
	movb	$0x8b, gdt + SEL(0) + 5
	FAULTS(GP_VECTOR, SEL(0), ljmp $SEL(0), $0)
	FAULTS(GP_VECTOR, SEL(0), lcall $SEL(0), $0)
	movb	$0x09, gdt + SEL(0) + 5
	FAULTS(NP_VECTOR, SEL(0), ljmp $SEL(0), $0)
	movb	$0x89, gdt + SEL(0) + 5
	movw	$0x66, gdt + SEL(0)
	FAULTS(TS_VECTOR, SEL(0), ljmp $SEL(0), $0)
	PASS
1:	FAIL

TEST(bad_segment, PROT, "a bad FS in the new TSS is #TS(selector) in the new task"):
	WRONG(LINUX, "Linux's KVM drops the fault")
	WRONG(PARAVIRT, NOT_EMULATED("task switches"))
	WRONG(TCG, "QEMU's TCG reports it otherwise")
	new_task 1f
	movl	$GDT_SIZE, NEW + TSS_FS
	movl	$2f, EXC_RESUME
	ljmp	$SEL(0), $0
	FAIL
2:	IS32(TS_VECTOR, EXC_VECTOR)
	IS32(GDT_SIZE, EXC_ERROR)
	IS32(1f, EXC_RIP)
	str	%eax
	IS32(SEL(0), %eax)
	PASS
1:	FAIL

TEST(task_16, PROT, "a 16-bit TSS"):
	WRONG(PARAVIRT, NOT_EMULATED("task switches"))
	SET_SEL(0, NEW, 0x2b, 0x81, 0)
	movw	$1f, NEW + 0x0e			/* IP */
	movw	$2, NEW + 0x10			/* FLAGS */
	movw	$0x1111, NEW + 0x12		/* AX */
	movw	$0x2222, NEW + 0x14		/* CX */
	movw	$REAL_STACK, NEW + 0x1a		/* SP */
	movw	$KDS, NEW + 0x22		/* ES, CS, SS, DS */
	movw	$KCS32, NEW + 0x24
	movw	$KDS, NEW + 0x26
	movw	$KDS, NEW + 0x28
	ljmp	$SEL(0), $0
	FAIL
	LOW32
1:	IS16(0x1111, %ax)
	IS16(0x2222, %cx)
	IS16(REAL_STACK, %sp)
	IS8(0x83, gdt + SEL(0) + 5)
	PASS

TEST(address_space, PG32, "a task switch loads CR3"):
	WRONG(TCG, NO_TASK_SWITCH)
	WRONG(PARAVIRT, NOT_EMULATED("task switches"))
	new_task 1f
	movl	$pd32, %esi
	movl	$SCRATCH + 0x1000, %edi
	movl	$1024, %ecx
	rep movsl
	movl	$SCRATCH + 0x1000, NEW + TSS_CR3
	movl	$0x11, WINDOW
	movl	$0x22, WINDOW + 0x400000 + 0x5000
	movl	$WINDOW + 0x400000 + 0x83, SCRATCH + 0x1000 + 4 * (WINDOW >> 22)
	ljmp	$SEL(0), $0
	FAIL
1:	IS32(0x22, WINDOW + 0x5000)
	movl	%cr3, %eax
	IS32(SCRATCH + 0x1000, %eax)
	PASS

/* ---- Virtual-8086 mode ------------------------------------------------------------------ */

	.macro	vm86 label, flags=0x23002
	movl	%esp, EXC_KSTACK
	movl	$889f, EXC_RESUME
	pushl	$0x600				/* GS, FS, DS, ES */
	pushl	$0x500
	pushl	$0x400
	pushl	$0x300
	pushl	$0				/* SS:ESP */
	pushl	$REAL_STACK
	pushl	$\flags
	pushl	$0
	pushl	$\label
	iretl
889:	movl	$0, EXC_KSTACK
	.endm

TEST(vm86, PROT, "IRET into virtual-8086 mode: all six segments, 16-bit code; INT n back out"):
	WRONG(PARAVIRT, NO_IRET)
	MODE16
1:	movw	$0x55aa, 0x10
	movw	%ds, %ax
	movw	%es, %bx
	movw	%fs, %cx
	movw	%gs, %dx
	int	$RETURN_VECTOR
2:	nop
	MODE32
	vm86	1b
	SAW(RETURN_VECTOR, 0, 2b)
	IS16(0x400, %ax)
	IS16(0x300, %bx)
	IS16(0x500, %cx)
	IS16(0x600, %dx)
	IS16(0x55aa, 0x4010)
	testl	$0x20000, EXC_FLAGS
	jnz	1f
	FAIL
1:	testl	$0x20000, EXC_HANDLER_FLAGS
	jz	1f
	FAIL
1:	IS32(stack0_top - 36, EXC_HANDLER_RSP)
	IS32(0x300, stack0_top - 16)		/* ES, DS, FS, GS above SS:ESP */
	IS32(0x400, stack0_top - 12)
	IS32(0x500, stack0_top - 8)
	IS32(0x600, stack0_top - 4)
	movl	%es, %eax			/* null in the handler */
	IS32(0, %eax)
	PASS

TEST(vm86_iopl0, PROT, "with IOPL 0 CLI, STI, PUSHF, POPF, INT n and IRET are #GP(0)"):
	WRONG(PARAVIRT, NO_IRET)
	.macro	vm86_gp insn:vararg
	MODE16
777:	\insn
	MODE32
	vm86	777b, 0x20002
	SAW(GP_VECTOR, 0, 777b)
	.endm
	vm86_gp cli
	vm86_gp sti
	vm86_gp pushfw
	vm86_gp popfw
	vm86_gp int $RETURN_VECTOR
	vm86_gp iretw
	PASS

TEST(vm86_privileged, PROT, "with IOPL 3 too, HLT, MOV CR and LGDT are #GP(0), ARPL and SLDT #UD"):
	WRONG(PARAVIRT, NO_IRET)
	.macro	vm86_fault vector, insn:vararg
	MODE16
777:	\insn
	MODE32
	vm86	777b
	SAW(\vector, 0, 777b)
	.endm
	vm86_fault GP_VECTOR, hlt
	vm86_fault GP_VECTOR, movl %cr0, %eax
	vm86_fault GP_VECTOR, lgdtw 0x10
	vm86_fault UD_VECTOR, arpl %ax, %bx
	vm86_fault UD_VECTOR, sldtw %ax
	vm86_fault UD_VECTOR, lldtw %ax
	PASS

TEST(vm86_flags, PROT, "with IOPL 3 POPF changes IF, never VM or IOPL"):
	WRONG(PARAVIRT, NO_IRET)
	MODE16
1:	pushl	$0x246
	popfl
	pushfl
	popl	%ebx
	cli
	pushfl
	popl	%ecx
	int	$RETURN_VECTOR
	MODE32
	vm86	1b
	IS32(RETURN_VECTOR, EXC_VECTOR)
	IS32(0x3246, %ebx)
	andl	$0x200, %ecx
	IS32(0, %ecx)
	PASS

TEST(vm86_ports, PROT, "ports go by the bitmap, even with IOPL 3"):
	WRONG(PARAVIRT, NO_IRET)
	MODE16
1:	in	$0x80, %al
	MODE32
	vm86	1b
	SAW(GP_VECTOR, 0, 1b)
	PASS

TEST(vm86_limit, PROT, "a word at offset 0xffff is #GP(0), through SS #SS(0)"):
	WRONG(PARAVIRT, NO_IRET)
	WRONG(TCG, "QEMU's TCG does not check segment limits and rights at each access")
	vm86_fault GP_VECTOR, movw 0xffff, %ax
	vm86_fault SS_VECTOR, movw %ss:0xffff, %ax
	PASS

TEST(vm86_fault_return, PROT, "a fault, emulated and returned from, goes on in virtual-8086 mode"):
	WRONG(PARAVIRT, NO_IRET)
	MODE16
1:	movw	$0x1234, %bx
	cli
2:	movw	$0x5678, %cx
	movw	%ds, %dx
3:	hlt
	MODE32
	/* The recorder goes back by IRET to where the test says: past CLI. */
	movl	$2b, EXC_RESUME
	movl	%esp, SCRATCH
	movl	$4f, %eax
	movw	%ax, idt32 + 8 * GP_VECTOR
	movw	$KCS32, idt32 + 8 * GP_VECTOR + 2
	shrl	$16, %eax
	movw	%ax, idt32 + 8 * GP_VECTOR + 6
	pushl	$0
	pushl	$0
	pushl	$0x400
	pushl	$0
	pushl	$0
	pushl	$REAL_STACK
	pushl	$0x20002
	pushl	$0
	pushl	$1b
	iretl
4:	cmpl	$3b, 4(%esp)
	je	5f
	IS32(2b - 1, 4(%esp))
	movl	$2b, 4(%esp)
	addl	$4, %esp
	iretl
5:	IS16(0x1234, %bx)
	IS16(0x5678, %cx)
	IS16(0x400, %dx)
	PASS

TEST(vme_flags, PROT, "VME with IOPL 0: CLI, STI, PUSHF and POPF work on VIF; STI with VIP is #GP(0)"):
	NEEDS(VME)
	WRONG(PARAVIRT, NO_IRET)
	MODE16
1:	cli
	pushfw
	popw	%bx
	sti
	pushfw
	popw	%cx
	ud2
2:	sti
	MODE32
	movl	%cr4, %eax
	orl	$1, %eax
	movl	%eax, %cr4
	vm86	1b, 0xa0002
	IS32(UD_VECTOR, EXC_VECTOR)
	andl	$0x3200, %ebx			/* the image shows VIF as IF, and IOPL 3 */
	IS32(0x3000, %ebx)
	andl	$0x3200, %ecx
	IS32(0x3200, %ecx)
	movl	EXC_FLAGS, %eax
	andl	$0x80200, %eax
	IS32(0x80000, %eax)
	vm86	2b, 0x120002			/* VIP, and VIF clear */
	SAW(GP_VECTOR, 0, 2b)
	PASS

TEST(vme_int, PROT, "VME: INT n with its redirection bit clear goes through the vector table at 0"):
	NEEDS(VME)
	WRONG(PARAVIRT, NO_IRET)
	MODE16
1:	int	$0x40
2:	nop
	ud2
3:	movw	%sp, %bp
	movw	(%bp), %bx
	movw	4(%bp), %cx
	iretw
	MODE32
	movl	%cr4, %eax
	orl	$1, %eax
	movl	%eax, %cr4
	movw	$0x88, TSS32 + 0x66		/* the redirection map is the 32 bytes before */
	movb	$0xfe, TSS32 + 0x68 + (0x40 >> 3)
	movl	$3b, 4 * 0x40
	vm86	1b, 0xa0002
	IS32(UD_VECTOR, EXC_VECTOR)
	IS32(2b + 1, EXC_RIP)
	movzwl	%bx, %ebx
	IS32(2b, %ebx)
	andl	$0x3200, %ecx
	IS32(0x3200, %ecx)
	PASS
