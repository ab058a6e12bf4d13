/* SPDX-License-Identifier: GPL-2.0-only */
/* The guests' half of run.c and state.c: small loops and stops for the host to look at. */
#include "guest.h"
GROUP(run)

	MODE64
	.globl	run_spin
run_spin:
	incl	run_count
	jmp	run_spin

	.pushsection .data
	.balign	8
	.globl	run_count, run_nmi_count
run_count:
	.long	0
run_nmi_count:
	.long	0
	.popsection

	/* HLT with interrupts off, and on with none pending. */
	.globl	run_hlt, run_hlt_end, run_hlt_sti
run_hlt:
	hlt
run_hlt_end:
	PASS
run_hlt_sti:
	sti
	hlt
	cli
	PASS

	.globl	run_triple, run_triple_int
run_triple:
	lidt	1f(%rip)
run_triple_int:
	ud2
1:	.word	0
	.quad	0

	MODE32
	.globl	run_triple_prot
run_triple_prot:
	lidt	1f
	ud2
1:	.word	0
	.long	0

	MODE64
	/* For KVM_INTERRUPT: a handler that counts vector 0x50. */
	.globl	run_window, run_window_open, run_int50
run_window:
	movl	$run_int50, %eax
	movw	%ax, idt64 + 16 * 0x50
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * 0x50 + 6
	cli
	SYNC(1)
	nop
	sti
	nop
run_window_open:
	nop
	nop
	cli
	SYNC(2)
	sti
1:	hlt
	jmp	1b
run_int50:
	incl	run_count
	iretq

	/* Each step of a debugged guest is one of these. */
	.globl	run_step, run_step_bp
run_step:
	movl	$1, %eax
	incl	%eax
	cpuid
	movl	%eax, SCRATCH
	out	%al, $PORT_LOG
	nop
run_step_bp:
	nop
	PASS

	.globl	run_int3, run_int3_next
run_int3:
	nop
	int3
run_int3_next:
	nop
	PASS

	.globl	run_data, run_data_next
run_data:
	movl	$1, SCRATCH + 4
	movl	$2, SCRATCH
run_data_next:
	nop
	PASS

	.globl	run_cr8
run_cr8:
	movl	$5, %eax
	movq	%rax, %cr8
	movl	$3, %eax
	movq	%rax, %cr8
	PASS

	/* State: registers filled with known values, then handed over. */
	.globl	state_regs, state_regs_back
state_regs:
	movabsq	$0x0101010101010101, %rax
	movabsq	$0x0202020202020202, %rbx
	movabsq	$0x0303030303030303, %rcx
	movabsq	$0x0404040404040404, %rdx
	movabsq	$0x0505050505050505, %rsi
	movabsq	$0x0606060606060606, %rdi
	movabsq	$0x0707070707070707, %rbp
	movabsq	$0x0808080808080808, %r8
	movabsq	$0x0909090909090909, %r9
	movabsq	$0x1010101010101010, %r10
	movabsq	$0x1111111111111111, %r11
	movabsq	$0x1212121212121212, %r12
	movabsq	$0x1313131313131313, %r13
	movabsq	$0x1414141414141414, %r14
	movabsq	$0x1515151515151515, %r15
	stc
	out	%eax, $PORT_TEST
state_regs_back:
	nop
	IS64(0x1111111111111112, %r11)
	IS64(0x2222222222222222, %rax)
	PASS

	/* A long computation over everything that is state, moved half-way to another VM. */
	.globl	state_move
state_move:
	movq	%cr4, %rax
	orl	$0x600, %eax
	movq	%rax, %cr4
	movl	$0x12345678, SCRATCH
	fninit
	fldpi
	movq	SCRATCH, %xmm7
	movl	$0xc0000100, %ecx		/* FS base */
	movl	$SCRATCH, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0xc0000102, %ecx		/* kernel GS base */
	movl	$0x4321, %eax
	wrmsr
	movl	$SCRATCH + 0x40, %eax
	movq	%rax, %dr1
	movl	$0x277, %ecx
	rdmsr
	movl	$0x01040506, %eax
	wrmsr
	SET_SEL(0, SCRATCH, 0x1f, 0x82, 0)	/* an LDT of its own */
	movq	$0, gdt + SEL(1)
	movl	$SEL(0), %eax
	lldt	%ax
	movl	$0xfee00000, %r14d
	movl	$0x1ff, 0xf0(%r14)
	movl	$0x30, 0x80(%r14)		/* TPR */
	movl	$0x40061, 0x300(%r14)		/* a self IPI, pending with interrupts off */
	movl	$run_int50, %eax
	movw	%ax, idt64 + 16 * 0x61
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * 0x61 + 6
	movl	$1000, %ebx
	xorl	%esi, %esi
1:	addl	%ebx, %esi
	cmpl	$500, %ebx
	jne	2f
	SYNC(1)
2:	decl	%ebx
	jnz	1b
	IS64(500500, %rsi)
	movq	%xmm7, %rax
	IS64(0x12345678, %rax)
	fstpt	SCRATCH + 0x20
	movq	SCRATCH + 0x20, %rax
	IS64(0xc90fdaa22168c235, %rax)
	IS32(0x12345678, %fs:0)
	movl	$0xc0000102, %ecx
	rdmsr
	IS32(0x4321, %eax)
	movl	$0x277, %ecx
	rdmsr
	IS32(0x01040506, %eax)
	movq	%dr1, %rax
	IS64(SCRATCH + 0x40, %rax)
	sldt	%eax
	IS32(SEL(0), %eax)
	movq	%cr8, %rax
	IS64(3, %rax)
	IS32(0, run_count)
	sti
	nop
	nop
	cli
	IS32(1, run_count)
	movl	$0x1b, %ecx
	rdmsr
	IS32(0xfee00900, %eax)
	PASS

	/* NMI blocking is state too: stopped in the handler, moved, one NMI sent, none comes yet. */
	.globl	state_nmi, state_nmi_handler
state_nmi:
	movl	$state_nmi_handler, %eax
	movw	%ax, idt64 + 16 * 2
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * 2 + 6
	out	%al, $PORT_NMI
	nop
	nop
	IS32(2, run_nmi_count)
	PASS
state_nmi_handler:
	incl	run_nmi_count
	cmpl	$1, run_nmi_count
	jne	1f
	SYNC(1)
	out	%al, $PORT_NMI
	nop
	nop
	IS32(1, run_nmi_count)
1:	iretq

	/* STI's shadow is state too. */
	.globl	state_shadow
state_shadow:
	movl	$run_int50, %eax
	movw	%ax, idt64 + 16 * 0x50
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * 0x50 + 6
	sti
	SYNC(1)
	cli
	PASS

	MODE32
	.globl	state_pae
state_pae:
	movl	SCRATCH, %eax
	PASS

	MODE64
	.globl	run_tpr, run_tpr_read, run_tpr_write
run_tpr:
	movl	$0xfee00000, %r14d
	movl	$0x1ff, 0xf0(%r14)
run_tpr_read:
	movl	0x80(%r14), %eax
run_tpr_write:
	movl	$0x20, 0x80(%r14)
	PASS

	/* Fills vector and x87 registers with the host's pattern, and looks at them after each exit. */
	.globl	run_vectors, run_pattern
run_vectors:
	movq	%cr4, %rax
	orl	$0x600, %eax
	movq	%rax, %cr4
	fninit
	fildl	run_pattern
	movd	run_pattern, %xmm0
	pshufd	$0, %xmm0, %xmm0
	movaps	%xmm0, %xmm7
	movaps	%xmm0, %xmm15
1:	SYNC(1)
	movaps	%xmm7, %xmm1
	pcmpeqd	%xmm15, %xmm1
	movaps	%xmm0, %xmm2
	pcmpeqd	%xmm15, %xmm2
	pand	%xmm2, %xmm1
	pmovmskb %xmm1, %eax
	IS32(0xffff, %eax)
	movd	%xmm15, %eax
	cmpl	run_pattern, %eax
	jne	2f
	fistl	SCRATCH
	movl	SCRATCH, %eax
	cmpl	run_pattern, %eax
	je	1b
2:	movl	run_pattern, %ecx
	FAIL
	.pushsection .data
run_pattern:
	.long	0
	.popsection
