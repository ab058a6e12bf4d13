/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Code that changes, where it has run often before: SDM volume 3, 9.1.3 (self-modifying and
 * cross-modifying code) and 12.6. cpu.S has the same for code that runs once.
 *
 * A processor sees its own stores to code at the next branch at the latest and, at the same linear
 * address, by the next instruction already. What another processor stores, it sees whole where the
 * store is aligned, in order, and after a serialising instruction for certain.
 */
#include "guest.h"
#include "smp.h"
GROUP(modify)

#define ROUNDS		400		/* many times what makes code hot anywhere */

	/* Symbols, since the preprocessor leaves strings alone. */
	.set	DATA, SCRATCH
	.set	CODE, SCRATCH + 0x2000
	.set	ALIAS, WINDOW + 0x5000

	/* mov $imm32, %eax; ret: what is changed is the four bytes behind the first. */
	.macro	code_at address, value
	movb	$0xb8, \address
	movl	$\value, \address + 1
	movb	$0xc3, \address + 5
	.endm

	/* SSE as user programs have it. */
	.macro	sse_on
	movq	%cr4, %rax
	orl	$0x600, %eax
	movq	%rax, %cr4
	.endm

	/* Runs CODE until it is hot; rbx is its address. */
	.macro	heat
	movl	$CODE, %ebx
	movl	$ROUNDS, %ebp
777:	call	*%rbx
	decl	%ebp
	jnz	777b
	.endm

	/* Stores ebp somehow to CODE + 1, calls CODE and looks what it gives; ROUNDS times. */
	.macro	changed_by insn
	code_at	CODE, 0
	heat
	movl	$ROUNDS, %ebp
776:	movl	%ebp, %eax
	\insn
	xorl	%eax, %eax
	call	*%rbx
	cmpl	%ebp, %eax
	jne	774f
	decl	%ebp
	jnz	776b
	jmp	775f
774:	movl	%ebp, %ecx
	FAIL
775:
	.endm

TEST(by_mov, LONG, "hot code that MOV changes, by 32, 16 and 8 bits, and across it"):
	changed_by "movl %ebp, CODE + 1"
	changed_by "movw %bp, CODE + 1"
	changed_by "movb %ah, CODE + 2; movb %al, CODE + 1"
	changed_by "movl %ebp, %edx; shlq $8, %rdx; movb $0xb8, %dl; movabsq $0xc30000000000, %rcx; \
		orq %rcx, %rdx; movq %rdx, CODE"
	PASS

TEST(by_xchg, LONG, "that XCHG, XADD, CMPXCHG and BTS change"):
	changed_by "xchgl %eax, CODE + 1"
	changed_by "subl CODE + 1, %eax; lock xaddl %eax, CODE + 1"
	changed_by "movl CODE + 1, %eax; lock cmpxchgl %ebp, CODE + 1"
	changed_by "movl $0, CODE + 1; movl $8, %edx; 773: btl %edx, %ebp; jnc 772f; lock btsl %edx, CODE + 1; \
		772: decl %edx; jns 773b"
	PASS

TEST(by_alu, LONG, "that ADD, INC, NOT and a shift change"):
	changed_by "subl CODE + 1, %eax; addl %eax, CODE + 1"
	changed_by "decl %eax; movl %eax, CODE + 1; incl CODE + 1"
	changed_by "notl %eax; movl %eax, CODE + 1; notl CODE + 1"
	changed_by "movl %eax, CODE + 1; roll $16, CODE + 1; roll $16, CODE + 1"
	PASS

TEST(by_push, LONG, "that PUSH, CALL and PUSHF change"):
	changed_by "movl %esp, %edi; movl $CODE + 9, %esp; pushq $0; movl %edi, %esp; movl %ebp, CODE + 1; \
		movb $0xc3, CODE + 5"
	changed_by "movl %esp, %edi; shlq $32, %rbp; movl $CODE + 5, %esp; pushq %rbp; movl %edi, %esp; \
		shrq $32, %rbp; movb $0xb8, CODE"
	/* CALL leaves its return address behind the code's first byte: the code gives it back. */
	code_at	CODE, 0
	heat
	movl	$ROUNDS, %ebp
1:	movl	%esp, %edi
	movl	$CODE + 9, %esp
	call	2f
3:	jmp	4f
2:	movl	%edi, %esp
	movb	$0xc3, CODE + 5
	call	*%rbx
	cmpl	$3b, %eax
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
4:	FAIL
9:	movl	$3b, %ecx
	FAIL

TEST(by_string, LONG, "that STOS and MOVS change, one by one and repeated"):
	cld
	changed_by "movl $CODE + 1, %edi; stosl"
	changed_by "movl %ebp, DATA; movl $DATA, %esi; movl $CODE + 1, %edi; movl $4, %ecx; \
		rep movsb"
	changed_by "movl %ebp, DATA; movl $DATA, %esi; movl $CODE + 1, %edi; movsl"
	changed_by "movl $CODE + 2, %edi; xorl %eax, %eax; movl $3, %ecx; rep stosb; movl %ebp, %eax; \
		movb %ah, CODE + 2; movl $CODE + 1, %edi; movl $1, %ecx; rep stosb"
	PASS

TEST(by_sse, LONG, "that vector instructions change"):
	WRONG(PARAVIRT, NOT_EMULATED("SSE"))
	sse_on
	changed_by "movd %ebp, %xmm0; movd %xmm0, CODE + 1"
	changed_by "movups CODE + 1, %xmm1; movd %ebp, %xmm0; movss %xmm0, %xmm1; \
		movups %xmm1, CODE + 1"
	changed_by "movl %ebp, DATA; movb $0xc3, DATA + 4; movq DATA, %xmm0; movq %xmm0, CODE + 1"
	PASS

TEST(by_x87, LONG, "that x87 instructions change"):
	WRONG(PARAVIRT, NOT_EMULATED("x87"))
	fninit
	changed_by "movl %ebp, DATA; fildl DATA; fistpl CODE + 1"
	PASS

	/* In the code that runs itself, the instruction behind the store is the one that is changed. */
TEST(next, LONG, "a hot instruction that changes the next one of its own block"):
	WRONG(TCG, "QEMU's TCG runs what stood there before")
	movl	$ROUNDS, %ebp
1:	movl	%ebp, 2f + 1
2:	movl	$0, %eax
	cmpl	%ebp, %eax
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
9:	movl	%ebp, %ecx
	FAIL

TEST(next_prot, PROT, "the same in 32-bit code"):
	movl	$ROUNDS, %ebp
1:	movl	%ebp, 2f + 1
2:	movl	$0, %eax
	cmpl	%ebp, %eax
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
9:	movl	%ebp, %ecx
	FAIL

TEST(next_pg32, PG32, "and with 2-level paging"):
	WRONG(PARAVIRT, "2-level paging ends in SHUTDOWN")
	WRONG(TCG, "QEMU's TCG runs what stood there before")
	movl	$ROUNDS, %ebp
1:	movl	%ebp, 2f + 1
2:	movl	$0, %eax
	cmpl	%ebp, %eax
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
9:	movl	%ebp, %ecx
	FAIL

TEST(later, LONG, "that changes one further down its block"):
	movl	$ROUNDS, %ebp
1:	movl	%ebp, 2f + 1
	nop
	addl	$1, %ecx
	movl	%ecx, SCRATCH
	pushq	%rcx
	popq	%rcx
2:	movl	$0, %eax
	cmpl	%ebp, %eax
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
9:	movl	%ebp, %ecx
	FAIL

TEST(same_page, LONG, "code that changes hot code beside it, and data beside it that leaves it alone"):
	movl	$ROUNDS, %ebp
1:	movl	%ebp, 3f			/* data only */
	movl	%ebp, 4f + 1
	movl	3f, %edx
	call	4f
	cmpl	%ebp, %eax
	jne	9f
	cmpl	%ebp, %edx
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
3:	.long	0
4:	movl	$0, %eax
	ret
9:	movl	%ebp, %ecx
	FAIL

	/* Blocks that run after each other, which a translator takes as one. Mostly the store goes elsewhere, so that they
	 * are hot when it changes the last of them. */
	.macro	path insn
	movl	$64 * ROUNDS, %ebp
	xorl	%esi, %esi
	xorl	%r9d, %r9d
1:	movl	$SCRATCH, %edi
	movl	$3f + 1, %edx
	testb	$63, %bpl
	cmovzl	%edx, %edi
	cmovzl	%ebp, %esi
	addl	%ebp, %r9d
	cmpl	$-1, %ebp
	je	9f
	\insn
	testl	%ebp, %ebp
	je	9f
	jmp	2f
	ud2
2:	cmpl	$-2, %ebp
	je	9f
3:	movl	$0, %eax
	cmpl	%esi, %eax
	jne	9f
	decl	%ebp
	jnz	1b
	.endm

TEST(path, LONG, "a hot path of several blocks that changes what is further down it"):
	path	"movl %ebp, (%rdi)"
	PASS
9:	movl	%esi, %ecx
	FAIL

TEST(path_sse, LONG, "the same by vector registers, of which one counts along"):
	WRONG(PARAVIRT, NOT_EMULATED("SSE"))
	sse_on
	pxor	%xmm1, %xmm1
	path	"movd %ebp, %xmm0; paddd %xmm0, %xmm1; movd %xmm0, (%rdi)"
	movd	%xmm1, %eax
	movl	%r9d, %esi
	cmpl	%esi, %eax
	jne	9f
	PASS
9:	movl	%esi, %ecx
	FAIL

TEST(branch, LONG, "a hot loop's own branch, which the loop takes away"):
	movw	3f, %si				/* the branch as it is */
	movl	$50, %ebp
1:	movw	%si, 3f
	movl	$ROUNDS, %ecx
2:	cmpl	$5, %ecx
	je	4f
5:	decl	%ecx
	nop
3:	jnz	2b
	cmpl	$4, %ecx
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
4:	movw	$0x9090, 3b			/* it ends here */
	jmp	5b
9:	movl	%ecx, %eax
	movl	$4, %ecx
	FAIL

TEST(crossing, LONG, "a hot instruction across two pages, changed in either"):
	movl	$SCRATCH + 0x2ffd, %ebx
	code_at	SCRATCH + 0x2ffd, 0
	movl	$ROUNDS, %ebp
1:	movb	%bpl, SCRATCH + 0x2ffe
	call	*%rbx
	cmpb	%bpl, %al
	jne	9f
	movw	%bp, SCRATCH + 0x3000
	call	*%rbx
	shrl	$16, %eax
	cmpw	%bp, %ax
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
9:	movl	%ebp, %ecx
	FAIL

TEST(next_page, LONG, "a hot way from one page into the next, which is changed"):
	/* 0x2ff8: nops to the page's end; then mov $imm32, %eax; ret */
	movabsq	$0x9090909090909090, %rax
	movq	%rax, SCRATCH + 0x2ff8
	code_at	SCRATCH + 0x3000, 0
	movl	$SCRATCH + 0x2ff8, %ebx
	movl	$ROUNDS, %ebp
1:	movl	%ebp, SCRATCH + 0x3001
	call	*%rbx
	cmpl	%ebp, %eax
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
9:	movl	%ebp, %ecx
	FAIL

TEST(alias, LONG, "hot code that is changed through another address of its page, then CPUID"):
	movq	$CODE + 3, pt64 + 8 * 5		/* WINDOW + 0x5000 is CODE too */
	invlpg	WINDOW + 0x5000
	changed_by "movl %ebp, ALIAS + 1; movl %ebx, %edi; xorl %eax, %eax; cpuid; \
		movl %edi, %ebx"
	PASS

TEST(two_addresses, LONG, "hot code that runs at two addresses, changed through either"):
	movq	$CODE + 3, pt64 + 8 * 5
	invlpg	WINDOW + 0x5000
	code_at	CODE, 0
	movl	$CODE, %ebx
	movl	$WINDOW + 0x5000, %esi
	movl	$ROUNDS, %ebp
1:	movl	%ebp, CODE + 1
	call	*%rbx
	cmpl	%ebp, %eax
	jne	9f
	movl	%ebx, %edi
	xorl	%eax, %eax
	cpuid
	movl	%edi, %ebx
	call	*%rsi
	cmpl	%ebp, %eax
	jne	9f
	movl	%ebp, %edx
	notl	%edx
	movl	%edx, WINDOW + 0x5001
	call	*%rsi
	notl	%eax
	cmpl	%ebp, %eax
	jne	9f
	decl	%ebp
	jnz	1b
	PASS
9:	movl	%ebp, %ecx
	FAIL

TEST(remap, LONG, "a hot address whose page is another one from now on"):
	code_at	WINDOW + 0x1000, 1
	code_at	WINDOW + 0x2000, 2
	movl	$WINDOW + 0x3000, %ebx
	movl	$ROUNDS, %ebp
1:	movl	%ebp, %esi			/* odd: page 1, even: page 2 */
	andl	$1, %esi
	xorl	$1, %esi
	incl	%esi
	movl	%esi, %eax
	shll	$12, %eax
	addl	$WINDOW + 3, %eax
	movq	%rax, pt64 + 8 * 3
	invlpg	WINDOW + 0x3000
	movl	$40, %edi
2:	call	*%rbx
	cmpl	%esi, %eax
	jne	9f
	decl	%edi
	jnz	2b
	decl	%ebp
	jnz	1b
	PASS
9:	movl	%esi, %ecx
	FAIL

	/* The host changes it at each SYNC. */
	.globl	modify_host
modify_host:
	code_at	CODE, 0
	movl	$CODE, %ebx
	movl	$1, %ebp
1:	SYNC(1)
	movl	$40, %ecx
2:	call	*%rbx
	cmpl	%ebp, %eax
	jne	9f
	decl	%ecx
	jnz	2b
	incl	%ebp
	cmpl	$200, %ebp
	jbe	1b
	PASS
9:	movl	%ebp, %ecx
	FAIL

	/* ---- by another vCPU ---- */

	.section .data, "aw", @progbits
	.balign	64
	.globl	modify_traps
modify_traps:
	.long	0
	.balign	64
modify_seen:				/* the last value that the runner has seen */
	.long	0
	MODE64

	/*
	 * One vCPU stores rising numbers to an aligned word of the other's code, which calls it all the time: what it
	 * sees never falls, and the last one is seen in the end, without anything that serialises.
	 */
	.globl	modify_cross
modify_cross:
	code_at	CODE + 3, 0			/* its immediate is at CODE + 4 */
	smp_start modify_cross_run
	PASS
modify_cross_run:
	cmpl	$1, %r12d
	ja	9f
	je	3f
	movl	$1, %ebp
1:	movl	%ebp, CODE + 4
	movl	$20, %ecx
2:	pause
	decl	%ecx
	jnz	2b
	incl	%ebp
	cmpl	$0, smp_stop
	je	1b
	movl	$0x7fffffff, CODE + 4
	ret
3:	movl	$CODE + 3, %ebx
	xorl	%ecx, %ecx
4:	call	*%rbx
	cmpl	%ecx, %eax
	jb	8f
	movl	%eax, %ecx
	cmpl	$0x7fffffff, %eax
	jne	4b
9:	ret
8:	FAIL

	/*
	 * As kernels patch: INT3 over the first byte of an instruction that the other vCPU runs in a loop without an
	 * end, then what follows it, then the first byte. The other's handler steps over; in between it only ever
	 * runs the old instruction, the new one, or INT3.
	 */
	.globl	modify_int3
modify_int3:
	movl	$modify_trap, %eax
	movw	%ax, idt64 + 16 * BP_VECTOR
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * BP_VECTOR + 6
	smp_start modify_int3_run
	PASS
modify_trap:
	lock incl modify_traps
	addq	$4, (%rsp)			/* behind the instruction */
	iretq
modify_int3_run:
	cmpl	$1, %r12d
	ja	9f
	je	5f
	movl	$1, %ebp
1:	movl	modify_traps, %edx
	movb	$0xcc, modify_site
2:	pause
	cmpl	%edx, modify_traps		/* it is seen without help */
	je	2b
	movl	%ebp, modify_site + 1
	xorl	%eax, %eax
	cpuid
	movb	$0xb8, modify_site
3:	pause
	cmpl	%ebp, modify_seen
	jne	3b
	incl	%ebp
	cmpl	$0, smp_stop
	je	1b
	movb	$0xcc, modify_site
	movl	modify_traps, %edx
4:	pause
	cmpl	%edx, modify_traps
	je	4b
	movl	$-1, modify_site + 1
	movb	$0xb8, modify_site
	ret
5:	xorl	%ecx, %ecx
6:	movl	%ecx, %eax			/* where INT3 is, what was seen last stays */
modify_site:
	movl	$0, %eax
	cmpl	%ecx, %eax
	je	7f
	leal	1(%rcx), %edx			/* the next one */
	cmpl	$-1, %eax
	je	9f
	cmpl	%edx, %eax
	jne	8f
	movl	%eax, %ecx
	movl	%ecx, modify_seen
7:	jmp	6b
9:	ret
8:	FAIL

	/* The store goes through another address of the code's page. */
	.globl	modify_alias
modify_alias:
	movq	$CODE + 3, pt64 + 8 * 5
	invlpg	WINDOW + 0x5000
	code_at	CODE + 3, 0
	smp_start modify_alias_run
	PASS
modify_alias_run:
	cmpl	$1, %r12d
	ja	9f
	je	3f
	movl	$1, %ebp
1:	movl	%ebp, WINDOW + 0x5004
	movl	$20, %ecx
2:	pause
	decl	%ecx
	jnz	2b
	incl	%ebp
	cmpl	$0, smp_stop
	je	1b
	movl	$0x7fffffff, WINDOW + 0x5004
	ret
3:	movl	$CODE + 3, %ebx
	xorl	%esi, %esi
4:	call	*%rbx
	cmpl	%esi, %eax
	jb	8f
	movl	%eax, %esi
	cmpl	$0x7fffffff, %eax
	jne	4b
9:	ret
8:	movl	%esi, %ecx
	FAIL

	/* Handed over by a flag: after CPUID the new code runs, in hot code, in both directions. */
	.globl	modify_hand_over
modify_hand_over:
	code_at	CODE, 0
	code_at	CODE + 0x1000, 0
	smp_start modify_hand_over_run
	PASS
modify_hand_over_run:
	cmpl	$2, %r12d
	jae	9f
	movl	$CODE, %esi			/* the other's, mine */
	movl	$CODE + 0x1000, %edi
	testl	%r12d, %r12d
	jz	1f
	xchgl	%esi, %edi
1:	movl	$1, %ebp
2:	movl	%ebp, 1(%rsi)
	testl	%r12d, %r12d
	jnz	3f
	movl	smp_stop, %eax
	negl	%eax
	orl	%ebp, %eax
	movl	%eax, smp_round			/* -1: this is the last */
	jmp	4f
3:	movl	%ebp, smp_round + 4
4:	pause
	movl	smp_round, %eax
	cmpl	$-1, %eax
	je	9f
	cmpl	%ebp, %eax
	jb	4b
	cmpl	%ebp, smp_round + 4
	jb	4b
	xorl	%eax, %eax
	cpuid
	call	*%rdi
	movl	%ebp, %ecx
	cmpl	%ebp, %eax
	jne	8f
	/* Nobody writes the next one before both have looked. */
	lock incl modify_seen
	leal	(%rbp,%rbp), %ecx
5:	pause
	cmpl	$-1, smp_round
	je	9f
	cmpl	%ecx, modify_seen
	jb	5b
	incl	%ebp
	jmp	2b
9:	ret
8:	FAIL
