/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guests' half of smm.c. A handler is a piece of 16-bit code between its label and label_end, which the host
 * copies to where an SMI starts it; so it branches by displacements only. What it touches by address is in the
 * low segments that SMM begins with, bases of 0 and limits of 4 GiB.
 */
#include "guest.h"
#include "smm.h"
#include "smp.h"
GROUP(smm)

	.section .data, "aw", @progbits
	.balign	4
	.globl	smm_count, smm_nmis, smm_irqs, smm_value
smm_count:				/* SMIs that a handler has seen */
	.long	0
smm_nmis:
	.long	0
smm_irqs:
	.long	0
smm_value:
	.long	0
smm_in:	.long	0			/* SMP: how often SMM was entered, and left, on all vCPUs together */
smm_out:
	.long	0
smm_target:
	.long	0
smm_release:
	.long	0

	.macro	gate vector, name
	movl	$\name, %eax
	movw	%ax, idt64 + 16 * (\vector)
	shrl	$16, %eax
	movw	%ax, idt64 + 16 * (\vector) + 6
	.endm

	.macro	apic_on
	movl	$0xfee00000, %r14d
	movb	$0xff, %al
	out	%al, $0x21
	out	%al, $0xa1
	movl	$0x1ff, 0xf0(%r14)
	movl	$0x10000, 0x350(%r14)
	.endm

	/* An SMI for oneself, by the local APIC. */
	.macro	send_smi
	movl	$0x44200, 0x300(%r14)
	.endm

	.macro	handler name
	.section .text, "ax", @progbits
	.code16
	.globl	\name, \name\()_end
\name:
	.endm

	HANDLERS
smm_nmi_handler:
	incl	smm_nmis
	iretq
	/* An NMI's handler with time for an SMI in it. */
smm_nmi_slow:
	incl	smm_nmis
	pushq	%rax
	SYNC(5)
	SYNC(6)
	popq	%rax
	iretq
smm_irq_handler:
	incl	smm_irqs
	movl	$0, 0xb0(%r14)
	iretq
	.popsection

/* ---- Handlers ---- */

	handler smm_back
	rsm
smm_back_end:

	handler smm_sync
	SYNC(2)
	rsm
smm_sync_end:

	handler smm_sync_twice
	SYNC(2)
	nop
	SYNC(4)
	rsm
smm_sync_twice_end:

	handler smm_counts
	movl	$smm_count, %ebx
	lock incl (%ebx)
	rsm
smm_counts_end:

	/* A new SMBASE for the next one. */
	handler smm_relocates
	movl	$SMRAM, %cs:0xff00
	SYNC(2)
	rsm
smm_relocates_end:

	handler smm_ud
	ud2
smm_ud_end:

	/* Real-mode interrupts in SMM, once there is a table: the recorder takes one, and goes on here. */
	handler smm_nested
	movw	$REAL_STACK, %sp
	lidtl	idtr_real
	call	1f
1:	popw	%ax
	movl	$EXC_RESUME, %ebx
	addw	$2f - 1b, %ax
	movzwl	%ax, %eax
	movl	%eax, (%ebx)
	ud2
2:	SYNC(2)
	rsm
smm_nested_end:

	/* NMIs are held back until an IRET, here as anywhere. */
	handler smm_iret
	movw	$REAL_STACK, %sp
	lidtl	idtr_real
	SYNC(2)
	call	1f
1:	popw	%ax
	addw	$2f - 1b, %ax
	pushfw
	pushw	%cs
	pushw	%ax
	iretw
2:	nop
	SYNC(4)
	rsm
smm_iret_end:

	/* The code and the data at the same addresses as the guest's own are others. */
	handler smm_elsewhere
	movw	$REAL_STACK, %sp
	movl	$SMRAM + SMM_DATA, %ebx
	cmpl	$0x22222222, (%ebx)
	jne	1f
	movw	$SMM_CODE, %ax
	call	*%ax
	rsm
1:	FAIL
smm_elsewhere_end:

	handler smm_elsewhere_code		/* 16-bit code for SMM_CODE */
	movl	$smm_count, %ebx
	incl	(%ebx)
	ret
smm_elsewhere_code_end:

	/* Changes the guest's code, by the second address space. */
	handler smm_patches
	movl	$smm_patched + 1, %ebx
	incl	(%ebx)
	rsm
smm_patches_end:

	/* Runs code that both address spaces share, and that the guest changes. */
	handler smm_runs_shared
	movw	$REAL_STACK, %sp
	lcallw	$0, $smm_shared
	movl	$smm_value, %ebx
	movl	%eax, (%ebx)
	rsm
smm_runs_shared_end:

	/* To 64-bit code by the guest's tables, and back from there. */
	handler smm_long_mode
	lgdtl	gdtr64
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
	orl	$0x80000001, %eax
	movl	%eax, %cr0
	ljmpl	$KCS64, $SMRAM + SMM_ENTRY + 1f - smm_long_mode
	.code64
1:	movl	$KDS, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	movl	$stack0_top, %esp
	movq	$-1, %r15
	pushq	%r15
	popq	%rbx
	incl	smm_count
	SYNC(2)
	cmpl	$0x22222222, SMRAM + SMM_DATA
	jne	2f
	cmpq	%r15, %rbx
	jne	2f
	rsm
2:	FAIL
	.code16
smm_long_mode_end:

	/* All vCPUs are in SMM at once before the first leaves it. */
	handler smm_meets
	movl	$smm_in, %ebx
	lock incl (%ebx)
1:	pause
	movl	(%ebx), %eax
	cmpl	smm_target - smm_in(%ebx), %eax
	jb	1b
	lock incl smm_out - smm_in(%ebx)
	rsm
smm_meets_end:

	/* Until the other vCPU lets it go. */
	handler smm_waits
	movl	$smm_in, %ebx
	lock incl (%ebx)
1:	pause
	cmpl	$0, smm_release - smm_in(%ebx)
	je	1b
	rsm
smm_waits_end:

/* ---- Guests ---- */

	/* With something in each register; the SMI comes behind SYNC(1). */
	MODE64
	.globl	smm_long, smm_long_next
smm_long:
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
	movabsq	$0x0101010101010100, %rax
	stc
	SYNC(1)
smm_long_next:
	SYNC(3)
	SYNC(1)
	SYNC(3)
	PASS

	/* Where the handler may have sent it instead. */
	.globl	smm_long_other
smm_long_other:
	SYNC(7)
	PASS

	MODE32
	.globl	smm_prot
smm_prot:
	movl	$0x02020202, %ebx
	movl	$0x03030303, %ecx
	movl	$0x04040404, %edx
	movl	$0x05050505, %esi
	movl	$0x06060606, %edi
	movl	$0x07070707, %ebp
	std
	SYNC(1)
	.globl	smm_prot_next
smm_prot_next:
	SYNC(3)
	PASS

	MODE16
	.globl	smm_real
smm_real:
	movw	$0x1234, %bx
	movw	%bx, %es
	SYNC(1)
	SYNC(3)
	PASS

	/* Code that SMM and the guest share: below 64 KiB. */
	.globl	smm_shared
smm_shared:
	movl	$1, %eax
	lretw

	MODE64
	.globl	smm_pcid
smm_pcid:
	movq	%cr4, %rax
	orl	$0x20000, %eax
	movq	%rax, %cr4
	movq	%cr3, %rax
	orq	$5, %rax
	movq	%rax, %cr3
	SYNC(1)
	SYNC(3)
	PASS

	/* RFLAGS.TF comes with RSM: the step is the first instruction behind it. */
	.globl	smm_step
smm_step:
	movl	$1f, EXC_RESUME
	SYNC(1)
	movl	$0x77, %eax
2:	movl	$0x78, %eax
1:	IS32(0x77, %eax)
	IS32(DB_VECTOR, EXC_VECTOR)
	IS32(2b, EXC_RIP)
	IS32(1, EXC_COUNT)
	PASS

	.globl	smm_nmi, smm_nmi_in
smm_nmi:
	gate	2, smm_nmi_handler
	jmp	1f
smm_nmi_in:
	gate	2, smm_nmi_slow
1:	SYNC(1)
	SYNC(3)
	PASS

	.globl	smm_irq
smm_irq:
	apic_on
	gate	0x50, smm_irq_handler
	sti
	SYNC(1)
	SYNC(3)
	PASS

	/* Every way of the interrupt chips to send one. */
	.globl	smm_senders
smm_senders:
	apic_on
	send_smi
	IS32(1, smm_count)
	movl	$0, 0x310(%r14)			/* to APIC 0 */
	movl	$0x4200, 0x300(%r14)
	IS32(2, smm_count)
	movl	$0x84200, 0x300(%r14)		/* to all */
	IS32(3, smm_count)
	movl	$0xc4200, 0x300(%r14)		/* to all others: there is none */
	IS32(3, smm_count)
	movl	$0x200, %eax
	out	%eax, $PORT_MSI
	nop
	IS32(4, smm_count)
	movl	$0xfec00000, %r13d
	movl	$0x1b, (%r13)			/* pin 5 */
	movl	$0, 0x10(%r13)
	movl	$0x1a, (%r13)
	movl	$0x200, 0x10(%r13)
	movb	$0x85, %al
	out	%al, $PORT_IRQ
	movb	$0x05, %al
	out	%al, $PORT_IRQ
	nop
	IS32(5, smm_count)
	PASS

	/* Waits for an SMI from another thread, which is all that can wake it; goes on behind HLT. */
	.globl	smm_hlt
smm_hlt:
	apic_on
	cli
	SYNC(1)
	hlt
	IS32(1, smm_count)
	SYNC(3)
	PASS

	/* The same addresses inside and outside, often: translations and code must not be mixed up. */
	.globl	smm_spaces
smm_spaces:
	apic_on
	movl	$500, %ecx
1:	movl	$SMRAM + SMM_CODE, %eax
	call	*%rax
	IS32(0x1111, %eax)
	IS32(0x11111111, SMRAM + SMM_DATA)
	send_smi
	decl	%ecx
	jnz	1b
	IS32(500, smm_count)
	PASS
	.globl	smm_spaces_code, smm_spaces_code_end
smm_spaces_code:			/* 64-bit code for SMM_CODE */
	movl	$0x1111, %eax
	ret
smm_spaces_code_end:

	/* The handler changes code here. */
	.globl	smm_patched_loop
smm_patched_loop:
	apic_on
	movl	$1, %ebx
1:	movl	$20, %ecx
2:	call	smm_patched
	cmpl	%ebx, %eax
	jne	3f
	decl	%ecx
	jnz	2b
	send_smi
	incl	%ebx
	cmpl	$100, %ebx
	jne	1b
	PASS
3:	movl	%ebx, %ecx
	FAIL
	.balign	4096
smm_patched:
	movl	$1, %eax
	ret
	.balign	4096

	/* The guest changes code that the handler runs. */
	.globl	smm_shared_loop
smm_shared_loop:
	apic_on
	movl	$1, %ebx
1:	movl	$20, %ecx
2:	send_smi
	cmpl	%ebx, smm_value
	jne	3f
	decl	%ecx
	jnz	2b
	incl	smm_shared + 2
	incl	%ebx
	cmpl	$50, %ebx
	jne	1b
	PASS
3:	movl	smm_value, %eax
	movl	%ebx, %ecx
	FAIL

	.globl	smm_outside
smm_outside:
	FAULTS(UD_VECTOR, 0, rsm)
	PASS

	/* The second address space, if the host says so, is what is read here. */
	.globl	smm_reads
smm_reads:
	movl	SMRAM + SMM_DATA, %ebx
	SYNC(1)
	movl	SMRAM + SMM_DATA, %ebx
	SYNC(3)
	PASS

	.globl	smm_dirty
smm_dirty:
	SYNC(1)
	movl	$1, SCRATCH
	SYNC(3)
	PASS
	handler smm_writes
	movl	$SCRATCH + 0x1000, %ebx
	movl	%ebx, (%ebx)
	SYNC(2)
	rsm
smm_writes_end:

	/* Rounds: an SMI for all, whose handlers wait for each other. */
	MODE64
	.globl	smm_rounds
smm_rounds:
	smp_start smm_round
	PASS
smm_round:
	testl	%r12d, %r12d
	jnz	4f
	movl	$20, %ecx
1:	movl	smp_cpus, %eax
	lock addl %eax, smm_target
	movl	$0x84200, 0x300(%r14)
2:	pause
	movl	smm_out, %eax
	cmpl	smm_target, %eax
	jne	2b
	decl	%ecx
	jnz	1b
	movl	$-1, smm_release
	ret
4:	pause
	cmpl	$0, smm_release
	je	4b
	ret

	/* INIT to a vCPU in SMM takes effect behind RSM; a SIPI that comes meanwhile is lost. */
	.globl	smm_init
smm_init:
	smp_start smm_init_work
	PASS
smm_init_work:
	testl	%r12d, %r12d
	jnz	3f
	movl	$0x1000000, 0x310(%r14)
	movl	$0x4200, 0x300(%r14)		/* SMI to APIC 1 */
1:	pause
	cmpl	$1, smm_in
	jne	1b
	movl	$0x4500, 0x300(%r14)		/* INIT */
	movl	$0x4608, 0x300(%r14)		/* SIPI, in vain */
	movl	$100000, %ecx
2:	pause
	decl	%ecx
	jnz	2b
	IS32(1, smp_online)
	movl	$1, smm_release
	movl	$100000, %ecx
5:	pause
	decl	%ecx
	jnz	5b
	IS32(1, smp_online)
	movl	$0x4608, 0x300(%r14)		/* SIPI */
6:	pause
	cmpl	$2, smp_online
	jne	6b
	ret
3:	pause
	cmpl	$2, smp_online			/* it has been started anew */
	je	4f
	cmpl	$0, smm_release
	je	3b
	FAIL
4:	ret
