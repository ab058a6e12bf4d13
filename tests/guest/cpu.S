/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUID, model-specific registers, the time-stamp counter, XCR0, and the rest of what a kernel
 * sets up or finds out about its processor. Intel SDM volume 2 and 3; AMD APM volume 2 and 3.
 */
#include "guest.h"
GROUP(cpu)

#define NO_XSETBV	"QEMU's SVM does not intercept XSETBV"

TEST(cpuid, LONG, "CPUID zeroes the upper halves; the highest leaf is at least 7"):
	movq	$-1, %rbx
	movq	$-1, %rcx
	movq	$-1, %rdx
	xorl	%eax, %eax
	cpuid
	movq	%rbx, %rsi
	orq	%rcx, %rsi
	orq	%rdx, %rsi
	shrq	$32, %rsi
	IS64(0, %rsi)
	cmpl	$7, %eax
	jae	1f
	FAIL
1:	movl	$0x80000000, %eax
	cpuid
	cmpl	$0x80000008, %eax
	jae	1f
	FAIL
1:	PASS

TEST(cpuid_long_mode, LONG, "CPUID has LM, and the physical and linear address widths"):
	movl	$0x80000001, %eax
	cpuid
	btl	$29, %edx
	jc	1f
	FAIL
1:	movl	$0x80000008, %eax
	cpuid
	cmpb	$36, %al
	jb	2f
	cmpb	$52, %al
	ja	2f
	cmpb	$48, %ah
	jb	2f
	PASS
2:	FAIL

TEST(cpuid_hypervisor, LONG, "leaf 0x40000000 says KVM, and leaf 1 that there is a hypervisor"):
	movl	$1, %eax
	cpuid
	btl	$31, %ecx
	jc	1f
	FAIL
1:	movl	$0x40000000, %eax
	cpuid
	IS32(0x4b4d564b, %ebx)			/* KVMK VMKV M */
	IS32(0x564b4d56, %ecx)
	IS32(0x0000004d, %edx)
	cmpl	$0x40000001, %eax
	jae	1f
	FAIL
1:	PASS

TEST(cpuid_osxsave, LONG, "CPUID shows CR4.OSXSAVE as it is now"):
	NEEDS(XSAVE)
	movl	$1, %eax
	cpuid
	btl	$27, %ecx
	jnc	1f
	FAIL
1:	movq	%cr4, %rax
	btsq	$18, %rax
	movq	%rax, %cr4
	movl	$1, %eax
	cpuid
	btl	$27, %ecx
	jc	1f
	FAIL
1:	PASS

TEST(cpuid_xsave_size, LONG, "leaf 0xd: EBX is the size for what XCR0 enables now"):
	WRONG(TCG, NO_XSETBV)
	NEEDS(AVX)
	movq	%cr4, %rax
	btsq	$18, %rax
	movq	%rax, %cr4
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$3, %eax
	xsetbv
	movl	$0xd, %eax
	xorl	%ecx, %ecx
	cpuid
	IS32(576, %ebx)
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$7, %eax
	xsetbv
	movl	$0xd, %eax
	xorl	%ecx, %ecx
	cpuid
	IS32(832, %ebx)
	PASS

TEST(cpuid_apic, LONG, "CPUID shows whether the APIC is enabled in its base MSR"):
	VM(IRQCHIP)
	movl	$0x1b, %ecx
	rdmsr
	IS32(0xfee00900, %eax)			/* enabled, the bootstrap processor */
	movl	%eax, %esi
	movl	$1, %eax
	cpuid
	btl	$9, %edx
	jc	1f
	FAIL
1:	movl	$0x1b, %ecx
	xorl	%edx, %edx
	leal	-0x800(%rsi), %eax
	wrmsr
	movl	$1, %eax
	cpuid
	btl	$9, %edx
	jnc	1f
	FAIL
1:	PASS

TEST(cpuid_user, LONG, "CPUID runs in ring 3"):
	USER64
1:	xorl	%eax, %eax
	cpuid
2:	ud2
	MODE64
	xorl	%ebx, %ebx
	RING3_64(1b)
	SAW(UD_VECTOR, 0, 2b)
	testl	%ebx, %ebx
	jnz	1f
	FAIL
1:	PASS

TEST(msr_unknown, LONG, "an MSR that is not there is #GP(0), to read and to write"):
	movl	$0x12345678, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	xorl	%eax, %eax
	xorl	%edx, %edx
	FAULTS(GP_VECTOR, 0, wrmsr)
	movl	$0xc0001fff, %ecx
	FAULTS(GP_VECTOR, 0, rdmsr)
	PASS

TEST(msr_zero_extends, LONG, "RDMSR zeroes the upper halves of RAX and RDX"):
	movl	$0x1b, %ecx
	movq	$-1, %rax
	movq	$-1, %rdx
	rdmsr
	shrq	$32, %rax
	shrq	$32, %rdx
	IS64(0, %rax)
	IS64(0, %rdx)
	PASS

TEST(msr_pat, LONG, "PAT: its reset value, and #GP(0) for types that are none"):
	WRONG(PARAVIRT, "it takes any type")
	movl	$0x277, %ecx
	rdmsr
	IS32(0x00070406, %eax)
	IS32(0x00070406, %edx)
	movl	$0x01040500, %eax
	wrmsr
	rdmsr
	IS32(0x01040500, %eax)
	movl	$0x00070402, %eax
	FAULTS(GP_VECTOR, 0, wrmsr)
	movl	$0x00070408, %eax
	FAULTS(GP_VECTOR, 0, wrmsr)
	PASS

TEST(msr_mtrr, LONG, "MTRRs: the default type, fixed and variable ranges keep their values"):
	movl	$0xfe, %ecx
	rdmsr
	movzbl	%al, %ebx
	testl	%ebx, %ebx
	jnz	1f
	FAIL
1:	movl	$0x2ff, %ecx
	movl	$0xc06, %eax
	xorl	%edx, %edx
	wrmsr
	rdmsr
	IS32(0xc06, %eax)
	movl	$0x250, %ecx
	movl	$0x06060606, %eax
	movl	$0x05050505, %edx
	wrmsr
	rdmsr
	IS32(0x06060606, %eax)
	IS32(0x05050505, %edx)
	movl	$0x200, %ecx
	movl	$0x80000006, %eax
	xorl	%edx, %edx
	wrmsr
	rdmsr
	IS32(0x80000006, %eax)
	movl	$0x80000002, %eax
	FAULTS(GP_VECTOR, 0, wrmsr)		/* type 2 is none */
	PASS

TEST(msr_efer, LONG, "EFER: SCE and NXE change, LMA is read-only"):
	movl	$0xc0000080, %ecx
	rdmsr
	andl	$~0x400, %eax
	orl	$1, %eax
	wrmsr
	rdmsr
	andl	$0x501, %eax
	IS32(0x501, %eax)
	PASS

TEST(msr_list, LONG, "the MSRs that every kernel saves: writable, and read back as written"):
	.pushsection .data
	.balign	4
msr_numbers:
	.long	0x175, 0x176
	.long	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084
	.long	0xc0000100, 0xc0000101, 0xc0000102, 0
	.popsection
	movl	$msr_numbers, %esi
1:	movl	(%rsi), %ecx
	testl	%ecx, %ecx
	jz	2f
	movl	$0x12345678, %eax
	xorl	%edx, %edx
	wrmsr
	rdmsr
	IS32(0x12345678, %eax)
	addq	$4, %rsi
	jmp	1b
2:	movl	$0x174, %ecx			/* SYSENTER_CS may have 16 bits only */
	movl	$KCS32, %eax
	wrmsr
	rdmsr
	IS32(KCS32, %eax)
	PASS

TEST(tsc, LONG, "RDTSC counts up; a write to IA32_TSC is what it goes on from"):
	WRONG(PARAVIRT, "writes to IA32_TSC have no effect")
	rdtsc
	movl	%eax, %esi
	movl	%edx, %edi
	rdtsc
	subl	%esi, %eax
	sbbl	%edi, %edx
	jc	9f
	movl	$0x10, %ecx
	xorl	%eax, %eax
	movl	$0x1000, %edx
	wrmsr
	rdtsc
	IS32(0x1000, %edx)
	rdmsr
	IS32(0x1000, %edx)
	PASS
9:	FAIL

TEST(tsc_adjust, LONG, "IA32_TSC_ADJUST follows a write to IA32_TSC, and moves it"):
	WRONG(PARAVIRT, "writes to IA32_TSC have no effect")
	movl	$7, %eax
	xorl	%ecx, %ecx
	cpuid
	btl	$1, %ebx
	jnc	2f
	movl	$0x3b, %ecx
	rdmsr
	IS32(0, %eax)
	IS32(0, %edx)
	movl	$0x1000, %edx
	wrmsr
	rdtsc
	movl	%edx, %ebx
	shrl	$4, %ebx
	IS32(0x100, %ebx)
	movl	$0x10, %ecx
	movl	$0x2000, %edx
	xorl	%eax, %eax
	wrmsr
	movl	$0x3b, %ecx
	rdmsr
	subl	$0x1ff0, %edx
	cmpl	$0x10, %edx
	ja	3f
2:	PASS
3:	FAIL

TEST(rdtscp, LONG, "RDTSCP gives TSC_AUX in ECX"):
	NEEDS(RDTSCP)
	WRONG(PARAVIRT, NOT_EMULATED("RDTSCP"))
	movl	$0xc0000103, %ecx
	movl	$0x1234, %eax
	xorl	%edx, %edx
	wrmsr
	movq	$-1, %rcx
	rdtscp
	IS64(0x1234, %rcx)
	testl	%eax, %eax
	jnz	1f
	FAIL
1:	PASS

TEST(tsd, LONG, "with CR4.TSD, RDTSC in ring 3 is #GP(0), in ring 0 not"):
	WRONG(PARAVIRT, "CR4.TSD has no effect")
	USER64
1:	rdtsc
2:	ud2
	MODE64
	RING3_64(1b)
	SAW(UD_VECTOR, 0, 2b)
	movq	%cr4, %rax
	orl	$4, %eax
	movq	%rax, %cr4
	rdtsc
	RING3_64(1b)
	SAW(GP_VECTOR, 0, 1b)
	PASS

TEST(xsetbv, LONG, "XSETBV: x87 always, AVX only with SSE, no unknown bits, XCR0 only"):
	WRONG(TCG, NO_XSETBV)
	NEEDS(XSAVE)
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$1, %eax
	FAULTS(UD_VECTOR, 0, xsetbv)
	FAULTS(UD_VECTOR, 0, xgetbv)
	movq	%cr4, %rax
	btsq	$18, %rax
	movq	%rax, %cr4
	xgetbv
	IS32(1, %eax)
	movl	$3, %eax
	xsetbv
	xgetbv
	IS32(3, %eax)
	IS32(0, %edx)
	movl	$2, %eax
	FAULTS(GP_VECTOR, 0, xsetbv)
	movl	$5, %eax
	FAULTS(GP_VECTOR, 0, xsetbv)
	movl	$1, %eax
	movl	$0x80000000, %edx
	FAULTS(GP_VECTOR, 0, xsetbv)
	xorl	%edx, %edx
	movl	$1, %ecx
	FAULTS(GP_VECTOR, 0, xsetbv)
	xorl	%ecx, %ecx
	xgetbv
	IS32(3, %eax)
	PASS

TEST(xsetbv_user, LONG, "XSETBV in ring 3 is #GP(0), XGETBV is not"):
	NEEDS(XSAVE)
	USER64
1:	xorl	%ecx, %ecx
	xgetbv
2:	xsetbv
	MODE64
	movq	%cr4, %rax
	btsq	$18, %rax
	movq	%rax, %cr4
	RING3_64(1b)
	SAW(GP_VECTOR, 0, 2b)
	PASS

TEST(cmpxchg16b, LONG, "CMPXCHG16B: equal, unequal, and #GP(0) where it is not aligned"):
	NEEDS(CX16)
	WRONG(PARAVIRT, NOT_EMULATED("CMPXCHG16B"))
	movq	$0x11, SCRATCH
	movq	$0x22, SCRATCH + 8
	movl	$0x11, %eax
	movl	$0x22, %edx
	movl	$0x33, %ebx
	movl	$0x44, %ecx
	lock cmpxchg16b SCRATCH
	jne	9f
	IS32(0x33, SCRATCH)
	IS32(0x44, SCRATCH + 8)
	lock cmpxchg16b SCRATCH
	je	9f
	IS64(0x33, %rax)
	IS64(0x44, %rdx)
	FAULTS(GP_VECTOR, 0, cmpxchg16b SCRATCH + 8)
	PASS
9:	FAIL

TEST(cmpxchg8b, LONG, "CMPXCHG8B: equal and unequal"):
	movl	$0x11, SCRATCH
	movl	$0x22, SCRATCH + 4
	movl	$0x11, %eax
	movl	$0x22, %edx
	movl	$0x33, %ebx
	movl	$0x44, %ecx
	lock cmpxchg8b SCRATCH
	jne	9f
	IS32(0x33, SCRATCH)
	lock cmpxchg8b SCRATCH
	je	9f
	IS64(0x33, %rax)
	IS64(0x44, %rdx)
	PASS
9:	FAIL

TEST(cr4_unknown, LONG, "a feature that CPUID does not have cannot be set in CR4: #GP(0)"):
	movl	$7, %eax
	xorl	%ecx, %ecx
	cpuid
	movq	%cr4, %rax
	btl	$16, %ecx			/* LA57 */
	jc	1f
	movq	%rax, %rsi
	btsq	$12, %rsi
	FAULTS(GP_VECTOR, 0, movq %rsi, %cr4)
1:	movl	$1, %eax
	cpuid
	btl	$5, %ecx			/* VMX */
	jc	1f
	movq	%cr4, %rsi
	btsq	$13, %rsi
	FAULTS(GP_VECTOR, 0, movq %rsi, %cr4)
1:	PASS

TEST(monitor_hint, LONG, "PAUSE, PREFETCH and long NOPs have no effect, whatever they point to"):
	movabsq	$0x800000000000, %rbx
	prefetcht0 (%rbx)
	prefetchnta (%rbx)
	nopw	(%rbx)
	nopl	0x12345678(%rbx,%rbx,8)
	pause
	leaq	(%rbx,%rbx), %rax
	IS32(0, EXC_COUNT)
	PASS

TEST(long_instruction, LONG, "an instruction longer than 15 bytes is #GP(0)"):
	.byte	0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
	IS32(0, EXC_COUNT)
	FAULTS(GP_VECTOR, 0, .byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90)
	PASS

TEST(invalid_opcodes, LONG, "opcodes that are none are #UD"):
	WRONG(TCG, "QEMU's TCG takes C6 /1")
	WRONG(PARAVIRT, NOT_EMULATED("#UD for all of them"))
	FAULTS(UD_VECTOR, 0, .byte 0x0f, 0xff, 0xc0)
	FAULTS(UD_VECTOR, 0, .byte 0x0f, 0x04)
	FAULTS(UD_VECTOR, 0, .byte 0xff, 0xf8)	/* group 5, /7 */
	FAULTS(UD_VECTOR, 0, .byte 0xc6, 0xc8, 0x00)	/* group 11, /1 */
	FAULTS(UD_VECTOR, 0, .byte 0x82, 0xc0, 0x00)
	FAULTS(UD_VECTOR, 0, .byte 0x0f, 0xc7, 0xc8)	/* CMPXCHG8B of a register */
	FAULTS(UD_VECTOR, 0, .byte 0x8d, 0xc0)	/* LEA of a register */
	FAULTS(UD_VECTOR, 0, .byte 0x0f, 0x20, 0xc8)	/* MOV from CR1 */
	PASS

/* ---- Which fault first ----------------------------------------------------------------- */

#define ABSENT		(WINDOW + 0x1000)

	.macro	absent
	movq	$0, pt64 + 8
	invlpg	ABSENT
	.endm

TEST(priority_div, LONG, "DIV by memory: #PF for the operand before #DE for its value"):
	absent
	xorl	%edx, %edx
	movl	$1, %eax
	FAULTS(PF_VECTOR, 0, divl ABSENT)
	PASS

TEST(priority_lock, LONG, "#UD for LOCK before the operand's #PF"):
	WRONG(TCG, "QEMU's TCG lets LOCK pass before most instructions")
	absent
	FAULTS(UD_VECTOR, 0, .byte 0xf0; cmpl %eax, ABSENT)
	PASS

TEST(priority_cmov, LONG, "CMOV reads its operand, and faults, whatever the condition"):
	absent
	xorl	%eax, %eax
	movl	$0x77, %ecx
	FAULTS(PF_VECTOR, 0, cmovnz ABSENT, %ecx)
	movq	$-1, %rcx
	cmovnz	SCRATCH, %ecx			/* and zeroes the upper half even so */
	IS64(0xffffffff, %rcx)
	PASS

TEST(priority_xchg, LONG, "XCHG and XADD that fault change no register"):
	WRONG(TCG, "QEMU's TCG reads first, and faults on that")
	absent
	movl	$0x77, %ecx
	FAULTS(PF_VECTOR, 2, xchgl %ecx, ABSENT)
	IS32(0x77, %ecx)
	FAULTS(PF_VECTOR, 2, xaddl %ecx, ABSENT)
	IS32(0x77, %ecx)
	PASS

TEST(priority_pop, LONG, "POP to memory that faults leaves RSP; POP to (RSP) addresses after the pop"):
	absent
	movq	%rsp, %rbx
	pushq	$0x55
	FAULTS(PF_VECTOR, 2, popq ABSENT)
	leaq	8(%rsp), %rcx
	cmpq	%rcx, %rbx
	jne	9f
	movq	$0, (%rbx)
	popq	(%rsp)
	IS32(0x55, (%rbx))
	cmpq	%rbx, %rsp
	jne	9f
	PASS
9:	FAIL

TEST(priority_call, LONG, "CALL through memory that faults pushes nothing"):
	absent
	movq	%rsp, %rbx
	movq	$0x1234, -8(%rsp)
	FAULTS(PF_VECTOR, 0, call *ABSENT)
	cmpq	%rbx, %rsp
	je	1f
	FAIL
1:	PASS

TEST(priority_enter, LONG, "ENTER that faults leaves RSP and RBP; nesting copies the frame pointers"):
	WRONG(PARAVIRT, NOT_EMULATED("nested ENTER"))
	movl	$SCRATCH + 0x1000, %esp
	movl	$SCRATCH + 0x2000, %ebp
	movq	$0x1111, SCRATCH + 0x2000 - 8
	movq	$0x2222, SCRATCH + 0x2000 - 16
	enter	$0x20, $3
	IS64(SCRATCH + 0x1000 - 8, %rbp)
	IS64(SCRATCH + 0x1000 - 32 - 0x20, %rsp)
	IS32(SCRATCH + 0x2000, SCRATCH + 0x1000 - 8)
	IS32(0x1111, SCRATCH + 0x1000 - 16)
	IS32(0x2222, SCRATCH + 0x1000 - 24)
	IS32(SCRATCH + 0x1000 - 8, SCRATCH + 0x1000 - 32)
	leave
	IS64(SCRATCH + 0x1000, %rsp)
	IS64(SCRATCH + 0x2000, %rbp)
	PASS

TEST(noncanonical_jump, LONG, "a jump or return to a non-canonical address is #GP(0) on the jump itself"):
	WRONG(TCG, "QEMU's TCG faults at the target")
	movabsq	$0x800000000000, %rbx
	FAULTS(GP_VECTOR, 0, jmp *%rbx)
	FAULTS(GP_VECTOR, 0, call *%rbx)
	pushq	%rbx
	movq	%rsp, %rbp
	FAULTS(GP_VECTOR, 0, ret)
	cmpq	%rbp, %rsp
	je	1f
	FAIL
1:	PASS

/* ---- Code that changes ------------------------------------------------------------------ */

	/* What a test overwrites: mov $imm32, %eax; ret. */
	.macro	code_at address, value
	movb	$0xb8, \address
	movl	$\value, \address + 1
	movb	$0xc3, \address + 5
	.endm

TEST(smc_loop, LONG, "code that is changed between calls runs as it is then"):
	code_at	SCRATCH, 0
	movl	$SCRATCH, %ebx
	movl	$1000, %ecx
1:	movl	%ecx, SCRATCH + 1
	call	*%rbx
	cmpl	%ecx, %eax
	jne	9f
	decl	%ecx
	jnz	1b
	PASS
9:	FAIL

TEST(smc_next, LONG, "an instruction that changes the next one in its own block"):
	movl	$SCRATCH, %ebx
	movb	$0xc7, (%rbx)			/* movl $imm, 12(%rbx); then at 7: mov imm, %eax; */
	movb	$0x43, 1(%rbx)
	movb	$8, 2(%rbx)
	movl	$0x600d, 3(%rbx)
	movb	$0xb8, 7(%rbx)
	movl	$0xbad, 8(%rbx)
	movb	$0xc3, 12(%rbx)
	call	*%rbx
	IS32(0x600d, %eax)
	PASS

TEST(smc_alias, LONG, "code that is changed through another address of its page"):
	movq	$SCRATCH + 0x83, pd64 + 8 * 7
	code_at	SCRATCH, 1
	movl	$SCRATCH, %ebx
	call	*%rbx
	IS32(1, %eax)
	movl	$2, (7 << 21) + 1
	call	*%rbx
	IS32(2, %eax)
	movl	$7 << 21, %ebx
	call	*%rbx
	IS32(2, %eax)
	movl	$3, SCRATCH + 1
	call	*%rbx
	IS32(3, %eax)
	PASS

TEST(smc_remap, LONG, "the same address after its mapping changed runs the other page's code"):
	code_at	WINDOW + 0x1000, 1
	code_at	WINDOW + 0x2000, 2
	movl	$WINDOW + 0x1000, %ebx
	call	*%rbx
	IS32(1, %eax)
	movq	$WINDOW + 0x2003, pt64 + 8
	invlpg	WINDOW + 0x1000
	call	*%rbx
	IS32(2, %eax)
	PASS

TEST(smc_crossing, LONG, "an instruction across two pages, changed in its second half"):
	movl	$SCRATCH + 0xffd, %ebx
	code_at	SCRATCH + 0xffd, 0x11111111
	call	*%rbx
	IS32(0x11111111, %eax)
	movw	$0x2222, SCRATCH + 0x1000
	call	*%rbx
	IS32(0x22221111, %eax)
	PASS

TEST(smc_string, LONG, "code that is written by REP MOVSB and REP STOSB"):
	code_at	SCRATCH, 1
	code_at	SCRATCH + 0x100, 2
	movl	$SCRATCH, %ebx
	call	*%rbx
	IS32(1, %eax)
	movl	$SCRATCH + 0x100, %esi
	movl	$SCRATCH, %edi
	movl	$6, %ecx
	rep movsb
	call	*%rbx
	IS32(2, %eax)
	movl	$SCRATCH + 1, %edi
	movl	$4, %ecx
	movb	$5, %al
	rep stosb
	call	*%rbx
	IS32(0x05050505, %eax)
	PASS

TEST(smc_real, REAL, "self-modifying code in real mode"):
	movw	$100, %cx
1:	movw	%cx, 2f + 1
2:	movw	$0, %ax
	cmpw	%cx, %ax
	jne	9f
	loop	1b
	PASS
9:	FAIL
