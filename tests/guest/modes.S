/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The processor's modes, and every way from one to the next. Intel SDM volume 3, 9.8 and 9.9;
 * AMD APM volume 2, 14.
 */
#include "guest.h"
GROUP(modes)

TEST(real_add, REAL, "real mode runs: 16-bit registers, carry out of 16 bits"):
	movw	$0xffff, %ax
	addw	$2, %ax
	jc	1f
	FAIL
1:	IS16(1, %ax)
	PASS

TEST(real_segment, REAL, "a real-mode address is selector * 16 + offset"):
	movw	$0x5555, 0x5010
	movw	$0x0501, %ax
	movw	%ax, %es
	IS16(0x5555, %es:0)
	movw	$0x0500, %ax
	movw	%ax, %es
	IS16(0x5555, %es:0x10)
	PASS

TEST(real_a20, REAL, "0xffff:0x10 is 1 MiB: there is no A20 wrap"):
	movl	$0x12345678, 0x0
	movw	$0xffff, %ax
	movw	%ax, %es
	movl	$0x600dd00d, %es:0x10
	IS32(0x12345678, 0x0)
	PASS

TEST(real_int, REAL, "INT pushes FLAGS, CS, IP and clears IF"):
	sti
	movw	%sp, %bx
	TRAPS(0x55, int $0x55)
	IS32(0, EXC_CS)
	testl	$0x200, EXC_FLAGS
	jnz	1f
	FAIL
1:	cmpw	%sp, %bx
	je	1f
	FAIL
1:	PASS

TEST(prot_to_long, PROT, "protected mode to PAE to long mode to 64-bit code"):
	movl	%cr4, %eax
	orl	$0x20, %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	/* Compatibility mode now: REX is still INC and DEC. */
	xorl	%eax, %eax
	.byte	0x40
	IS32(1, %eax)
	movl	$0xc0000080, %ecx
	rdmsr
	andl	$0x500, %eax
	IS32(0x500, %eax)
	lidt	idtr64
	ljmp	$KCS64, $1f
	.code64
1:	movabsq	$0x123456789abcdef0, %rax
	IS64(0x123456789abcdef0, %rax)
	FAULTS(UD_VECTOR, 0, ud2)
	PASS

TEST(real_to_prot, REAL, "real mode to protected mode, and back by way of 16-bit segments"):
	lgdtl	gdtr32
	lidtl	idtr32
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$KCS32, $1f
	.section .text
	.code32
1:	movw	$KDS, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movl	$stack_top, %esp
	FAULTS(UD_VECTOR, 0, ud2)
	movl	$0x11223344, SCRATCH
	IS32(0x11223344, SCRATCH)
	ljmp	$KCS16, $2f
	MODE16
2:	movw	$KDS16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$REAL_STACK, %sp
	lidtl	idtr_real
	movl	%cr0, %eax
	andb	$0xfe, %al
	movl	%eax, %cr0
	ljmpw	$0, $3f
3:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	TRAPS(0x56, int $0x56)
	PASS

TEST(real_unreal, REAL, "limits of 4 GiB loaded in protected mode stay in real mode"):
	lgdtl	gdtr32
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	movw	$KDS, %bx
	movw	%bx, %es
	andb	$0xfe, %al
	movl	%eax, %cr0
	movl	$SCRATCH, %edi
	movl	$0xfeedf00d, %es:(%edi)
	IS32(0xfeedf00d, %es:(%edi))
	xorw	%ax, %ax
	movw	%ax, %es
	movl	$0xcafe, %es:(%edi)
	IS32(0xcafe, %es:(%edi))
	PASS

TEST(long_to_compat, LONG, "64-bit mode to compatibility mode by far return, and back"):
	pushq	$KCS32
	pushq	$1f
	lretq
	.code32
1:	xorl	%eax, %eax
	.byte	0x40
	IS32(1, %eax)
	ljmp	$KCS64, $2f
	.code64
2:	PASS

TEST(compat_flat, LONG, "compatibility mode: upper halves are out of reach, and zero after a write"):
	movabsq	$0xaaaaaaaabbbbbbbb, %rax
	pushq	$KCS32
	pushq	$1f
	lretq
	.code32
1:	addl	$1, %eax
	ljmp	$KCS64, $2f
	.code64
2:	IS64(0xbbbbbbbc, %rax)
	PASS

TEST(long_to_prot, LONG, "long mode off through compatibility mode, and 32-bit paging off"):
	pushq	$KCS32
	pushq	$1f
	lretq
	.code32
1:	movl	$KDS, %eax
	movl	%eax, %ss
	movl	%eax, %ds
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	movl	$0xc0000080, %ecx
	rdmsr
	andl	$0x500, %eax
	IS32(0x100, %eax)
	xorl	%eax, %eax
	wrmsr
	movl	%cr4, %eax
	andl	$~0x20, %eax
	movl	%eax, %cr4
	lidt	idtr32
	FAULTS(UD_VECTOR, 0, ud2)
	PASS

TEST(pg32_runs, PG32, "2-level paging with 4 MiB pages"):
	WRONG(PARAVIRT, "32-bit paging without PAE ends in SHUTDOWN")
	movl	$0x1234, SCRATCH
	IS32(0x1234, SCRATCH)
	PASS

TEST(pae_runs, PAE, "PAE paging with 2 MiB pages"):
	WRONG(PARAVIRT, "PAE paging ends in SHUTDOWN")
	movl	$0x1234, SCRATCH
	IS32(0x1234, SCRATCH)
	PASS

TEST(cr3_long_only_32, LONG, "moves to control registers are 64 bits whatever the prefix"):
	movq	%cr3, %rax
	.byte	0x66
	movq	%rax, %cr3
	PASS

TEST(lme_with_pg, PAE, "LME cannot be set while paging is on: #GP(0)"):
	WRONG(PARAVIRT, "PAE paging ends in SHUTDOWN")
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x100, %eax
	FAULTS(GP_VECTOR, 0, wrmsr)
	PASS
