/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ways into and out of ring 0: SYSCALL and SYSENTER and their returns, IRET in each direction,
 * interrupt stacks and traps. Intel SDM volume 3, 5.8 and 6; AMD APM volume 2, 6.1 and 8.
 */
#include "guest.h"
GROUP(entry)

#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_CSTAR	0xc0000083
#define MSR_SFMASK	0xc0000084
#define MSR_EFER	0xc0000080
#define MSR_SYSENTER_CS	0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176

	.macro	set_msr index, high, low
	movl	$\index, %ecx
	movl	$\low, %eax
	movl	$\high, %edx
	wrmsr
	.endm

	/* SYSCALL to a label, with SCE and a mask of IF and DF. */
	.macro	syscall_setup label
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$1, %eax
	wrmsr
	set_msr	MSR_STAR, (UCS32 | 3) << 16 | KCS64, 0
	set_msr	MSR_LSTAR, 0, \label
	set_msr	MSR_SFMASK, 0, 0x600
	.endm

	.macro	ring3 label, flags=0x3002, cs=UCS64|3, ss=UDS|3
	movq	%rsp, EXC_KSTACK
	movl	$889f, EXC_RESUME
	pushq	$(\ss)
	pushq	$USER_STACK
	pushq	$(\flags)
	pushq	$(\cs)
	pushq	$\label
	iretq
889:	movq	$0, EXC_KSTACK
	.endm

TEST(syscall, LONG, "SYSCALL: RCX and R11 saved, flags masked, CS and SS from STAR, RSP kept"):
	WRONG(PARAVIRT, "SYSCALL does not save RCX and R11")
	USER64
1:	std
	syscall
2:	nop
	MODE64
	syscall_setup 3f
	ring3	1b, 0x3202
	FAIL
3:	pushfq
	popq	%rbx
	IS64(2b, %rcx)
	IS64(0x3602, %r11)
	IS64(USER_STACK, %rsp)
	movl	%cs, %eax
	IS32(KCS64, %eax)
	movl	%ss, %eax
	IS32(KCS64 + 8, %eax)
	IS64(0x3002, %rbx)
	PASS

TEST(sysret, LONG, "SYSRET to 64-bit code: CS, SS from STAR, flags from R11"):
	WRONG(PARAVIRT, "ring 3 has the host's own selectors")
	USER64
1:	movl	%cs, %ebx
	movl	%ss, %edx
	pushfq
	popq	%rax
	ud2
	MODE64
	syscall_setup 2f
	movl	$1b, %ecx
	movl	$0x13203, %r11d			/* RF is not taken */
	movq	%rsp, EXC_KSTACK
	movl	$2f, EXC_RESUME
	movl	$USER_STACK, %esp
	sysretq
2:	IS32(UD_VECTOR, EXC_VECTOR)
	IS32(UCS64 | 3, %ebx)
	IS32(UDS | 3, %edx)
	IS64(0x3203, %rax)
	PASS

TEST(sysret_compat, LONG, "SYSRET to 32-bit code"):
	WRONG(PARAVIRT, "ring 3 has the host's own selectors")
	USER32
1:	movl	%cs, %ebx
	xorl	%eax, %eax
	.byte	0x40				/* INC here, REX in 64-bit code */
	nop
	ud2
	MODE64
	syscall_setup 2f
	movl	$1b, %ecx
	movl	$0x3002, %r11d
	movq	%rsp, EXC_KSTACK
	movl	$2f, EXC_RESUME
	movl	$USER_STACK, %esp
	sysretl
2:	IS32(UD_VECTOR, EXC_VECTOR)
	IS32(UCS32 | 3, %ebx)
	IS32(1, %eax)
	PASS

TEST(syscall_disabled, LONG, "SYSCALL and SYSRET without EFER.SCE are #UD"):
	WRONG(PARAVIRT, "EFER.SCE does not count")
	FAULTS(UD_VECTOR, 0, syscall)
	FAULTS(UD_VECTOR, 0, sysretq)
	PASS

TEST(sysret_noncanonical, LONG, "SYSRET to a non-canonical RCX is #GP(0): in ring 0 on Intel, in ring 3 on AMD"):
	syscall_setup 2f
	btsq	$47, %rcx
	movl	$0x3002, %r11d
	movq	%rsp, EXC_KSTACK
	movl	$2f, EXC_RESUME
	sysretq
2:	IS32(GP_VECTOR, EXC_VECTOR)
	IS32(0, EXC_ERROR)
	PASS

TEST(syscall_msr, LONG, "LSTAR and CSTAR take canonical addresses only"):
	WRONG(TCG, "QEMU's TCG takes any address")
	movl	$MSR_LSTAR, %ecx
	movl	$0x8000, %edx
	FAULTS(GP_VECTOR, 0, wrmsr)
	incl	%ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	PASS

TEST(sysenter, PROT, "SYSENTER and SYSEXIT in protected mode: flat CS and SS, ESP and EIP from MSRs"):
	WRONG(PARAVIRT, NOT_EMULATED("IRET in protected mode"))
	USER32
1:	movl	$2f, %edx
	movl	%esp, %ecx
	sysenter
2:	movl	%cs, %ebx
	movl	%ss, %esi
	int	$RETURN_VECTOR
	MODE32
	set_msr	MSR_SYSENTER_CS, 0, KCS32
	set_msr	MSR_SYSENTER_ESP, 0, stack1_top
	set_msr	MSR_SYSENTER_EIP, 0, 3f
	RING3_32(1b)
	IS32(RETURN_VECTOR, EXC_VECTOR)
	IS32(UCS32 | 3, %ebx)
	IS32(UDS | 3, %esi)
	IS32(USER_STACK, EXC_RSP)
	PASS
3:	pushfl
	popl	%eax
	IS32(0x3002, %eax)			/* IOPL stays, IF and VM are cleared */
	IS32(stack1_top, %esp)
	movl	%cs, %eax
	IS32(KCS32, %eax)
	movl	%ss, %eax
	IS32(KDS, %eax)
	sysexit

TEST(sysenter_null, PROT, "SYSENTER and SYSEXIT with a null SYSENTER_CS are #GP(0)"):
	set_msr	MSR_SYSENTER_CS, 0, 0
	FAULTS(GP_VECTOR, 0, sysenter)
	FAULTS(GP_VECTOR, 0, sysexit)
	PASS

TEST(sysexit_user, PROT, "SYSEXIT in ring 3 is #GP(0)"):
	WRONG(PARAVIRT, NOT_EMULATED("IRET in protected mode"))
	USER32
1:	sysexit
	MODE32
	set_msr	MSR_SYSENTER_CS, 0, KCS32
	RING3_32(1b)
	SAW(GP_VECTOR, 0, 1b)
	PASS

TEST(iret_same, LONG, "IRETQ within ring 0 loads RSP and SS too"):
	movq	%rsp, %rbx
	pushq	$KDS
	leaq	-0x100(%rbx), %rax
	pushq	%rax
	pushq	$0x47				/* CF, PF, ZF */
	pushq	$KCS64
	pushq	$1f
	iretq
1:	pushfq
	popq	%rcx
	addq	$0x100, %rsp
	cmpq	%rbx, %rsp
	jne	2f
	IS64(0x47, %rcx)
	PASS
2:	FAIL

TEST(iret_32, LONG, "IRETL in 64-bit mode pops 32-bit values, SS:ESP among them"):
	WRONG(PARAVIRT, NOT_EMULATED("IRETL in long mode"))
	movq	%rsp, %rbx
	subq	$20, %rsp
	movl	$1f, (%rsp)
	movl	$KCS64, 4(%rsp)
	movl	$2, 8(%rsp)
	movl	$stack0_top, 12(%rsp)
	movl	$KDS, 16(%rsp)
	iretl
1:	IS64(stack0_top, %rsp)
	PASS

TEST(iret_compat, LONG, "IRETQ to compatibility mode in ring 3, and INT back"):
	USER32
1:	xorl	%eax, %eax
	.byte	0x40
	nop
	movl	%cs, %ebx
	int	$RETURN_VECTOR
	MODE64
	ring3	1b, 0x3002, UCS32|3
	IS32(1, %eax)
	IS32(UCS32 | 3, %ebx)
	IS32(UCS32 | 3, EXC_CS)
	PASS

TEST(iret_bad, LONG, "IRET to a selector that is no code, or a privilege that does not fit: #GP(selector)"):
	.macro	iret_to cs, ss=KDS
	movq	%rsp, %rbx
	pushq	$(\ss)
	pushq	%rbx
	pushq	$2
	pushq	$(\cs)
	pushq	$1f
	.endm
	iret_to KDS
	FAULTS(GP_VECTOR, KDS, iretq)
	iret_to UCS64
	FAULTS(GP_VECTOR, UCS64, iretq)		/* RPL 0, DPL 3 */
	iret_to 0
	FAULTS(GP_VECTOR, 0, iretq)
	iret_to (UCS64 | 3), KDS		/* SS of another privilege */
	FAULTS(GP_VECTOR, KDS, iretq)
	iret_to (UCS64 | 3), 0
	FAULTS(GP_VECTOR, 0, iretq)
	iret_to GDT_SIZE
	FAULTS(GP_VECTOR, GDT_SIZE, iretq)
	SET_SEL(0, 0, 0xfffff, 0x1b, 0xa)
	iret_to SEL(0)
	FAULTS(NP_VECTOR, SEL(0), iretq)
1:	PASS

TEST(iret_flags, LONG, "IRET in ring 3 changes IF and IOPL only as IOPL allows"):
	WRONG(PARAVIRT, "IOPL does not count in ring 3")
	USER64
1:	pushq	$(UDS | 3)
	pushq	$USER_STACK
	pushq	$0x3246
	pushq	$(UCS64 | 3)
	pushq	$2f
	iretq
2:	pushfq
	popq	%rax
	pushq	$0x3246
	popfq
	pushfq
	popq	%rbx
	int	$RETURN_VECTOR
	MODE64
	ring3	1b, 2
	IS64(0x46, %rax)			/* IOPL 0 and CPL 3: IF stays clear, IOPL 0 */
	IS64(0x46, %rbx)
	ring3	1b, 0x3002
	IS64(0x3246, %rax)
	IS64(0x3246, %rbx)
	PASS

TEST(iret_to_self, PROT, "IRET within ring 0 in 32-bit and 16-bit form"):
	WRONG(PARAVIRT, NOT_EMULATED("IRET in protected mode"))
	movl	%esp, %ebx
	pushl	$0x47
	pushl	$KCS32
	pushl	$1f
	iretl
1:	pushfl
	popl	%ecx
	IS32(0x47, %ecx)
	cmpl	%ebx, %esp
	je	1f
	FAIL
1:	pushw	$2
	pushw	$KCS32
	pushw	$1f
	iretw
	LOW32
1:	cmpl	%ebx, %esp
	je	1f
	FAIL
1:	PASS

TEST(ist, LONG, "an IST stack is taken whatever the privilege, and RSP saved"):
	movb	$1, idt64 + 16 * UD_VECTOR + 4
	movq	%rsp, %rbx
	FAULTS(UD_VECTOR, 0, ud2)
	IS64(ist1_top - 40, EXC_HANDLER_RSP)
	cmpq	%rbx, EXC_RSP
	je	1f
	FAIL
1:	movb	$2, idt64 + 16 * GP_VECTOR + 4
	movl	$0xffff, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	IS64(ist2_top - 40, EXC_HANDLER_RSP)
	PASS

TEST(ist_double_fault, LONG, "#DF on an IST stack when the kernel's own is gone"):
	TOUCH(ist1_top - 8)
	movb	$1, idt64 + 16 * DF_VECTOR + 4
	movq	%rsp, EXC_KSTACK
	movl	$1f, EXC_RESUME
	movabsq	$0x100000000000, %rsp
	pushq	%rax				/* #PF, whose frame page-faults */
	FAIL
1:	IS32(DF_VECTOR, EXC_VECTOR)
	IS32(0, EXC_ERROR)
	IS64(ist1_top - 40, EXC_HANDLER_RSP)
	IS64(0x100000000000, EXC_RSP)
	PASS

TEST(trap_gate, LONG, "a trap gate leaves IF, an interrupt gate clears it; both clear TF and NT"):
	WRONG(PARAVIRT, NOT_EMULATED("INT outside real mode"))
	movb	$0x8f, idt64 + 16 * 0x50 + 5
	sti
	TRAPS(0x50, int $0x50)
	testl	$0x200, EXC_HANDLER_FLAGS
	jnz	1f
	FAIL
1:	TRAPS(0x51, int $0x51)
	testl	$0x200, EXC_HANDLER_FLAGS
	jz	1f
	FAIL
1:	testl	$0x200, EXC_FLAGS
	jnz	1f
	FAIL
1:	cli
	pushfq
	orl	$0x4000, (%rsp)
	popfq
	TRAPS(0x50, int $0x50)
	testl	$0x4000, EXC_HANDLER_FLAGS
	jz	1f
	FAIL
1:	PASS

TEST(iret_nt, LONG, "IRET in long mode with NT set is #GP(0)"):
	WRONG(TCG, "QEMU's TCG does not look at NT here")
	movq	%rsp, %rbx
	pushq	$KDS
	pushq	%rbx
	pushq	$2
	pushq	$KCS64
	pushq	$1f
	pushfq
	orl	$0x4000, (%rsp)
	popfq
	FAULTS(GP_VECTOR, 0, iretq)
	PASS
1:	FAIL

TEST(int_stack_32, PROT, "INT from ring 3 to ring 0 in protected mode: SS0:ESP0, and the frame"):
	WRONG(PARAVIRT, NOT_EMULATED("IRET in protected mode"))
	USER32
1:	int	$RETURN_VECTOR
2:	nop
	MODE32
	RING3_32(1b)
	SAW(RETURN_VECTOR, 0, 2b)
	IS32(UCS32 | 3, EXC_CS)
	IS32(UDS | 3, EXC_SS)
	IS32(USER_STACK, EXC_RSP)
	IS32(stack0_top - 20, EXC_HANDLER_RSP)
	movl	%ss, %eax
	IS32(KDS, %eax)
	PASS
