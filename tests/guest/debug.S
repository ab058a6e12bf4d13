/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single step, breakpoints by register, and the ways around them. Intel SDM volume 3, 17;
 * AMD APM volume 2, 13.
 */
#include "guest.h"
GROUP(debug)

#define NO_DATA_BREAKS	"its emulator, which runs ring 0, does not look for data breakpoints"

#define TF		0x100
#define RF		0x10000
#define DR6_BS		0x4000
#define DR6_BD		0x2000
#define DR6_CLEAR	0xffff0ff0

	.section .data, "aw", @progbits
	.balign	8
db_count:
	.long	0
db_dr6:
	.long	0
db_rip:
	.fill	8, 8, 0
db_flags:
	.long	0

	/* A #DB handler that notes what it saw, sets RF and goes on. */
	HANDLERS
db_note:
	pushq	%rax
	pushq	%rbx
	movl	db_count, %ebx
	andl	$7, %ebx
	movq	16(%rsp), %rax
	movq	%rax, db_rip(,%rbx,8)
	incl	db_count
	movl	32(%rsp), %eax
	movl	%eax, db_flags
	movq	%dr6, %rax
	movl	%eax, db_dr6
	movl	$DR6_CLEAR, %eax
	movq	%rax, %dr6
	orl	$RF, 32(%rsp)
	popq	%rbx
	popq	%rax
	iretq
	/* The same, and single stepping ends. */
db_note_once:
	andl	$~TF, 16(%rsp)
	jmp	db_note
	.popsection

	.macro	gate vector, name
	movl	$\name, %eax
	movw	%ax, idt64 + 16 * (\vector)
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * (\vector) + 6
	.endm

	.macro	set_dr n, address
	movl	$\address, %eax
	movq	%rax, %dr\n
	.endm

	/* The end of a test with breakpoints: QEMU's TCG hangs, all of QEMU, in the next virtual
	 * machine with any where the last one ended with DR7 on. */
#define PASS_UNWATCHED	set_dr7 0; PASS

	.macro	set_dr7 value
	movl	$(0x400 | \value), %eax
	movq	%rax, %dr7
	.endm

	/* DR7: breakpoint n enabled, on rw 0 fetch, 1 write, 2 port, 3 any; len 0 to 3 for 1, 2, 8, 4. */
#define BREAK(n, rw, len)	(1 << (2 * (n)) | ((rw) | (len) << 2) << (16 + 4 * (n)))

#define SET_TF		pushfq; orl $TF, (%rsp); popfq

TEST(single_step, LONG, "TF: #DB after the instruction that follows POPF, with DR6.BS"):
	movl	$1f, EXC_RESUME
	SET_TF
	incl	%eax
2:	incl	%eax
	FAIL
1:	SAW(DB_VECTOR, 0, 2b)
	IS32(DR6_CLEAR | DR6_BS, EXC_DR6)
	testl	$TF, EXC_FLAGS
	jnz	1f
	FAIL
1:	testl	$TF, EXC_HANDLER_FLAGS
	jz	1f
	FAIL
1:	PASS

TEST(single_step_all, LONG, "each instruction steps once, taken branches and calls too"):
	gate	DB_VECTOR, db_note
	SET_TF
1:	nop
2:	jmp	3f
	nop
3:	call	4f
5:	pushfq
6:	andl	$~TF, (%rsp)
7:	popfq
8:	nop
	jmp	9f
4:	ret
9:	IS64(2b, db_rip)
	IS64(3b, db_rip + 8)
	IS64(4b, db_rip + 16)
	IS64(5b, db_rip + 24)
	IS64(6b, db_rip + 32)
	IS64(7b, db_rip + 40)
	IS64(8b, db_rip + 48)
	IS32(7, db_count)
	PASS

TEST(single_step_rep, LONG, "TF: a REP instruction steps once an iteration, RIP on itself"):
	WRONG(PARAVIRT, "its emulator, which runs ring 0, steps over a whole REP")
	gate	DB_VECTOR, db_note
	movl	$SCRATCH, %edi
	movl	$3, %ecx
	TOUCH(SCRATCH)
	SET_TF
1:	rep stosb
2:	pushfq
	andl	$~TF, (%rsp)
	popfq
	IS64(1b, db_rip)
	IS64(1b, db_rip + 8)
	IS64(2b, db_rip + 16)
	IS64(0, %rcx)
	PASS

TEST(single_step_emulated, LONG, "TF over CPUID, RDMSR, OUT and HLT's neighbours that a VMM emulates"):
	WRONG(PARAVIRT, "its emulator, which runs ring 0, loses steps at exits")
	gate	DB_VECTOR, db_note
	xorl	%eax, %eax
	movl	$0x1b, %ecx
	SET_TF
	cpuid
1:	out	%al, $PORT_LOG
2:	movq	%cr0, %rax
3:	movq	%rax, %cr0
4:	nop
	pushfq
	andl	$~TF, (%rsp)
	popfq
	IS64(1b, db_rip)
	IS64(2b, db_rip + 8)
	IS64(3b, db_rip + 16)
	IS64(4b, db_rip + 24)
	PASS

TEST(single_step_fault, LONG, "a faulting instruction gives its fault, with TF in the saved flags"):
	movl	$1f, EXC_RESUME
	SET_TF
2:	ud2
1:	SAW(UD_VECTOR, 0, 2b)
	testl	$TF, EXC_FLAGS
	jnz	1f
	FAIL
1:	IS32(1, EXC_COUNT)
	PASS

TEST(single_step_mov_ss, LONG, "TF: no trap right after MOV SS, but after the next instruction"):
	WRONG(PARAVIRT, "its emulator, which runs ring 0, traps at once")
	gate	DB_VECTOR, db_note_once
	movl	$KDS, %ebx
	TOUCH(gdt + KDS)
	SET_TF
	movl	%ebx, %ss
	nop
1:	nop
	IS32(1, db_count)
	IS64(1b, db_rip)
	PASS

TEST(single_step_sti, LONG, "TF: STI does not hold the trap off"):
	WRONG(TCG, "QEMU's TCG holds the trap off too")
	gate	DB_VECTOR, db_note_once
	SET_TF
	sti
1:	nop
	nop
	cli
	IS32(1, db_count)
	IS64(1b, db_rip)
	PASS

TEST(single_step_int, LONG, "TF: INT n enters its handler unstepped; the trap comes after IRET's target"):
	WRONG(PARAVIRT, NOT_EMULATED("INT outside real mode"))
	gate	DB_VECTOR, db_note
	movl	$1f, EXC_RESUME
	SET_TF
	int	$0x80
	nop
1:	IS32(RETURN_VECTOR, EXC_VECTOR)
	testl	$TF, EXC_FLAGS
	jnz	1f
	FAIL
1:	IS32(0, db_count)
	PASS

TEST(icebp, LONG, "ICEBP is a #DB trap that leaves DR6 alone"):
	WRONG(PARAVIRT, NOT_EMULATED("ICEBP"))
	WRONG(TCG, "QEMU's TCG does not make it #DB")
	movl	$DR6_CLEAR, %eax
	movq	%rax, %dr6
	TRAPS(DB_VECTOR, .byte 0xf1)
	IS32(DR6_CLEAR, EXC_DR6)
	PASS

TEST(execute, LONG, "an instruction breakpoint: a fault before it, B0, and RF passes it once"):
	gate	DB_VECTOR, db_note
	set_dr	0, 1f
	set_dr7 BREAK(0, 0, 0)
	xorl	%ecx, %ecx
1:	incl	%ecx
	cmpl	$2, %ecx
	jne	1b
	IS32(2, db_count)
	IS64(1b, db_rip)
	IS32(DR6_CLEAR | 1, db_dr6)
	IS32(2, %ecx)
	PASS_UNWATCHED

TEST(execute_mov_ss, LONG, "an instruction breakpoint behind MOV SS hits on AMD's, and not on Intel's"):
	gate	DB_VECTOR, db_note
	xorl	%eax, %eax
	cpuid
	xorl	%edi, %edi
	cmpl	$0x68747541, %ebx		/* "Auth" */
	sete	%dil
	set_dr	0, 1f
	set_dr7 BREAK(0, 0, 0)
	movl	%ss, %ecx
	movl	%ecx, %ss
1:	incl	%ecx
	set_dr7 0
	cmpl	%edi, db_count
	je	1f
	FAIL
1:	PASS

TEST(execute_rf_once, LONG, "RF lasts for one instruction: PUSHF never shows it"):
	gate	DB_VECTOR, db_note
	set_dr	0, 1f
	set_dr7 BREAK(0, 0, 0)
1:	pushfq
	popq	%rax
	andl	$0x30000, %eax
	IS32(0, %eax)
	IS32(1, db_count)
	PASS_UNWATCHED

TEST(execute_all_four, LONG, "four breakpoints, B0 to B3"):
	gate	DB_VECTOR, db_note
	set_dr	0, 1f
	set_dr	1, 2f
	set_dr	2, 3f
	set_dr	3, 4f
	set_dr7 (BREAK(0, 0, 0) | BREAK(1, 0, 0) | BREAK(2, 0, 0) | BREAK(3, 0, 0))
1:	nop
	IS32(DR6_CLEAR | 1, db_dr6)
2:	nop
	IS32(DR6_CLEAR | 2, db_dr6)
3:	nop
	IS32(DR6_CLEAR | 4, db_dr6)
4:	nop
	IS32(DR6_CLEAR | 8, db_dr6)
	IS32(4, db_count)
	PASS_UNWATCHED

TEST(write, LONG, "a data breakpoint on writes: a trap after the instruction, not for reads"):
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	gate	DB_VECTOR, db_note
	set_dr	1, SCRATCH
	set_dr7 BREAK(1, 1, 3)
	movl	SCRATCH, %eax
	movl	%eax, SCRATCH + 4
	IS32(0, db_count)
	movl	$5, SCRATCH
1:	nop
	IS32(1, db_count)
	IS64(1b, db_rip)
	IS32(DR6_CLEAR | 2, db_dr6)
	IS32(5, SCRATCH)
	movb	$6, SCRATCH + 3			/* any byte of the four */
	IS32(2, db_count)
	movw	$6, SCRATCH - 1			/* and from one before */
	IS32(3, db_count)
	movw	$6, SCRATCH - 2
	IS32(3, db_count)
	PASS_UNWATCHED

TEST(access_1, LONG, "a data breakpoint on reads and writes of one byte"):
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	gate	DB_VECTOR, db_note
	set_dr	0, SCRATCH + 1
	set_dr7 BREAK(0, 3, 0)
	movb	SCRATCH, %al
	movb	SCRATCH + 2, %al
	IS32(0, db_count)
	movl	SCRATCH, %eax
	nop
	IS32(DR6_CLEAR | 1, db_dr6)
	IS32(1, db_count)
	PASS_UNWATCHED

TEST(access_2, LONG, "of two bytes"):
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	gate	DB_VECTOR, db_note
	set_dr	1, SCRATCH + 0x12
	set_dr7 BREAK(1, 3, 1)
	movb	SCRATCH + 0x13, %al
	nop
	IS32(DR6_CLEAR | 2, db_dr6)
	movb	SCRATCH + 0x14, %al
	IS32(1, db_count)
	PASS_UNWATCHED

TEST(access_8, LONG, "of eight bytes"):
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	gate	DB_VECTOR, db_note
	set_dr	2, SCRATCH + 0x28
	set_dr7 BREAK(2, 3, 2)
	movb	%al, SCRATCH + 0x2f
	nop
	IS32(DR6_CLEAR | 4, db_dr6)
	movb	%al, SCRATCH + 0x30
	IS32(1, db_count)
	PASS_UNWATCHED

TEST(write_string, LONG, "a data breakpoint within REP STOSB traps at its iteration"):
	gate	DB_VECTOR, db_note
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	set_dr	0, SCRATCH + 4
	set_dr7 BREAK(0, 1, 0)
	movl	$SCRATCH, %edi
	movl	$8, %ecx
1:	rep stosb
	IS32(1, db_count)
	IS64(1b, db_rip)
	IS64(0, %rcx)
	PASS_UNWATCHED

TEST(disabled, LONG, "DR7 without the enable bits: nothing"):
	gate	DB_VECTOR, db_note
	set_dr	0, SCRATCH
	set_dr7	0xf0000
	movl	$5, SCRATCH
	IS32(0, db_count)
	PASS_UNWATCHED

TEST(push_data, LONG, "a data breakpoint meets implicit accesses: PUSH and CALL"):
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	gate	DB_VECTOR, db_note
	set_dr	0, (stack_top - 8)
	set_dr7 BREAK(0, 1, 2)
	pushq	$1
1:	nop
	IS64(1b, db_rip)
	popq	%rax
	IS32(1, db_count)
	call	1f
1:	nop
	IS64(1b, db_rip + 8)
	IS32(2, db_count)
	PASS_UNWATCHED

TEST(mov_ss_data, LONG, "a data breakpoint in MOV SS waits for the next instruction's end"):
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	WRONG(TCG, "QEMU's TCG traps at once")
	gate	DB_VECTOR, db_note
	movl	$KDS, SCRATCH
	TOUCH(gdt + KDS)
	set_dr	0, SCRATCH
	set_dr7 BREAK(0, 3, 1)
	movw	SCRATCH, %ss
	nop
1:	nop
	set_dr7 0
	IS32(1, db_count)
	IS64(1b, db_rip)
	PASS

TEST(mov_ss_icebp, LONG, "a data breakpoint in MOV SS before ICEBP is one #DB with it"):
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	KILLS(TCG, "the machine ends soon after: QEMU's TCG takes the breakpoint out of the guest")
	gate	DB_VECTOR, db_note
	movl	$KDS, SCRATCH
	TOUCH(gdt + KDS)
	set_dr	0, SCRATCH
	set_dr7 BREAK(0, 3, 1)
	movw	SCRATCH, %ss
	.byte	0xf1
1:	nop
	set_dr7 0
	IS32(1, db_count)
	IS64(1b, db_rip)
	IS32(DR6_CLEAR | 1, db_dr6)
	PASS

TEST(mov_ss_execute, LONG, "a data breakpoint in MOV SS and one on the instruction behind it are one #DB, or the latter none"):
	WRONG(PARAVIRT, NO_DATA_BREAKS)
	KILLS(TCG, "the machine ends soon after: QEMU's TCG takes the breakpoint out of the guest")
	gate	DB_VECTOR, db_note
	xorl	%eax, %eax
	cpuid
	movl	$DR6_CLEAR | 1, %edi
	cmpl	$0x68747541, %ebx		/* AMD's look for the second one, Intel's do not */
	jne	1f
	orl	$2, %edi
1:	movl	$KDS, SCRATCH
	TOUCH(gdt + KDS)
	set_dr	0, SCRATCH
	set_dr	1, 2f
	set_dr7 (BREAK(0, 3, 1) | BREAK(1, 0, 0))
	movw	SCRATCH, %ss
2:	nop
	nop
	set_dr7 0
	IS32(1, db_count)
	cmpl	%edi, db_dr6
	je	1f
	FAIL
1:	PASS

TEST(general_detect, LONG, "DR7.GD: a move to or from a debug register is #DB with BD, and GD is cleared"):
	WRONG(TCG, "QEMU's TCG has no general detect")
	movl	$DR6_CLEAR, %eax
	movq	%rax, %dr6
	set_dr7 0x2000
	FAULTS(DB_VECTOR, 0, movq %dr0, %rax)
	IS32(DR6_CLEAR | DR6_BD, EXC_DR6)
	movq	%dr7, %rax
	IS64(0x400, %rax)
	PASS

TEST(registers, LONG, "DR0 to DR3 hold 64 bits; DR6 and DR7 have fixed bits, and upper halves of 0"):
	movabsq	$0x123456789abcdef0, %rax
	movq	%rax, %dr2
	movq	%dr2, %rbx
	IS64(0x123456789abcdef0, %rbx)
	xorl	%eax, %eax
	movq	%rax, %dr6
	movq	%dr6, %rbx
	IS64(DR6_CLEAR, %rbx)
	movq	%rax, %dr7
	movq	%dr7, %rbx
	IS64(0x400, %rbx)
	movl	$0xe00f, %eax
	movq	%rax, %dr6
	movq	%dr6, %rbx
	IS64(DR6_CLEAR | 0xe00f, %rbx)
	btsq	$32, %rax
	FAULTS(GP_VECTOR, 0, movq %rax, %dr6)
	FAULTS(GP_VECTOR, 0, movq %rax, %dr7)
	PASS

TEST(dr4_dr5, LONG, "DR4 and DR5 are DR6 and DR7, and #UD with CR4.DE"):
	NEEDS(DE)
	set_dr7 0x2
	movq	%dr5, %rbx
	IS64(0x402, %rbx)
	movq	%cr4, %rax
	orl	$8, %eax
	movq	%rax, %cr4
	FAULTS(UD_VECTOR, 0, movq %dr5, %rbx)
	FAULTS(UD_VECTOR, 0, movq %rbx, %dr4)
	PASS_UNWATCHED

TEST(port, LONG, "an I/O breakpoint, with CR4.DE: a trap after IN and OUT"):
	NEEDS(DE)
	WRONG(LINUX, "Linux's KVM emulates the port access and does not look")
	gate	DB_VECTOR, db_note
	movq	%cr4, %rax
	orl	$8, %eax
	movq	%rax, %cr4
	set_dr	0, PORT_LOG
	set_dr7 BREAK(0, 2, 0)
	out	%al, $PORT_LOG
1:	nop
	IS32(1, db_count)
	IS64(1b, db_rip)
	PASS_UNWATCHED

TEST(user_step, LONG, "TF in ring 3 traps to ring 0 with TF clear there"):
	USER64
1:	nop
2:	nop
	MODE64
	TOUCH(1b)
	movq	%rsp, EXC_KSTACK
	movl	$3f, EXC_RESUME
	pushq	$(UDS | 3)
	pushq	$USER_STACK
	pushq	$(0x3002 | TF)
	pushq	$(UCS64 | 3)
	pushq	$1b
	iretq
3:	SAW(DB_VECTOR, 0, 2b)
	testl	$TF, EXC_HANDLER_FLAGS
	jz	1f
	FAIL
1:	PASS
