/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Into the instruction under test with every register loaded, and out of it with every register
 * saved. The context is at a fixed low address, so that no register is needed to reach it.
 */
#include "layout.h"

	.text
	.globl	native_enter
native_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, CTX_HOST_RSP
	cmpl	$0, CTX_FSGS
	je	1f
	rdfsbase %rax
	mov	%rax, CTX_HOST_FS
1:	mov	CTX_FP, %eax
	test	%eax, %eax
	je	1f
	xor	%edx, %edx
	xrstor	CTX_IN_XSAVE
1:	cmpl	$0, CTX_COMPAT
	jne	compat

	cmpl	$0, CTX_FSGS
	je	1f
	mov	CTX_IN_FS, %rax
	wrfsbase %rax
	mov	CTX_IN_GS, %rax
	wrgsbase %rax
1:	pushq	CTX_IN_FLAGS
	popfq
	mov	CTX_IN_GPR + 0, %rax
	mov	CTX_IN_GPR + 8, %rcx
	mov	CTX_IN_GPR + 16, %rdx
	mov	CTX_IN_GPR + 24, %rbx
	mov	CTX_IN_GPR + 40, %rbp
	mov	CTX_IN_GPR + 48, %rsi
	mov	CTX_IN_GPR + 56, %rdi
	mov	CTX_IN_GPR + 64, %r8
	mov	CTX_IN_GPR + 72, %r9
	mov	CTX_IN_GPR + 80, %r10
	mov	CTX_IN_GPR + 88, %r11
	mov	CTX_IN_GPR + 96, %r12
	mov	CTX_IN_GPR + 104, %r13
	mov	CTX_IN_GPR + 112, %r14
	mov	CTX_IN_GPR + 120, %r15
	mov	CTX_IN_GPR + 32, %rsp
	jmp	*CTX_TARGET

compat:
	mov	CTX_DS, %ds
	mov	CTX_ES, %es
	cmpl	$0, CTX_FSGS
	je	1f
	mov	CTX_SEL_FS, %fs
	mov	CTX_SEL_GS, %gs
1:	pushq	CTX_IN_FLAGS
	popfq
	mov	CTX_IN_GPR + 0, %rax
	mov	CTX_IN_GPR + 8, %rcx
	mov	CTX_IN_GPR + 16, %rdx
	mov	CTX_IN_GPR + 24, %rbx
	mov	CTX_IN_GPR + 40, %rbp
	mov	CTX_IN_GPR + 48, %rsi
	mov	CTX_IN_GPR + 56, %rdi
	mov	CTX_SS, %ss
	mov	CTX_IN_GPR + 32, %rsp
	ljmpl	*CTX_TARGET

/* The signal handler's first steps: flags that C can live with (AC is not cleared by the kernel). */
	.globl	native_signal
native_signal:
	pushq	$0x202
	popfq
	jmp	native_on_signal

/* Copied to STUB_PAGE, where the code under test jumps: in 64-bit mode, with the guest's registers. */
	.globl	native_exit, native_resume, native_exit_end
native_exit:
	mov	%rax, CTX_OUT_GPR + 0
	mov	%rcx, CTX_OUT_GPR + 8
	mov	%rdx, CTX_OUT_GPR + 16
	mov	%rbx, CTX_OUT_GPR + 24
	mov	%rsp, CTX_OUT_GPR + 32
	mov	%rbp, CTX_OUT_GPR + 40
	mov	%rsi, CTX_OUT_GPR + 48
	mov	%rdi, CTX_OUT_GPR + 56
	mov	%r8, CTX_OUT_GPR + 64
	mov	%r9, CTX_OUT_GPR + 72
	mov	%r10, CTX_OUT_GPR + 80
	mov	%r11, CTX_OUT_GPR + 88
	mov	%r12, CTX_OUT_GPR + 96
	mov	%r13, CTX_OUT_GPR + 104
	mov	%r14, CTX_OUT_GPR + 112
	mov	%r15, CTX_OUT_GPR + 120
	mov	CTX_HOST_RSP, %rsp
	pushfq
	popq	CTX_OUT_FLAGS
	pushq	$0x202
	popfq
	cmpl	$0, CTX_FSGS
	je	1f
	rdfsbase %rax
	mov	%rax, CTX_OUT_FS
	rdgsbase %rax
	mov	%rax, CTX_OUT_GS
1:	mov	CTX_FP, %eax
	test	%eax, %eax
	je	native_resume
	xor	%edx, %edx
	xsave	CTX_OUT_XSAVE
/* A fault comes back here, by way of the signal handler, with RSP as in native_enter. */
native_resume:
	cmpl	$0, CTX_FP
	je	1f
	fninit
	ldmxcsr	CTX_MXCSR
	testl	$4, CTX_FP
	je	1f
	vzeroupper
1:	cmpl	$0, CTX_COMPAT
	je	1f
	mov	$0x2b, %eax
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %ds
	mov	%eax, %es
	cmpl	$0, CTX_FSGS
	je	2f
	mov	%eax, %fs
	mov	%eax, %gs
1:	cmpl	$0, CTX_FSGS
	je	2f
	mov	CTX_HOST_FS, %rax
	wrfsbase %rax
2:	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
native_exit_end:

	.section .note.GNU-stack, "", @progbits
