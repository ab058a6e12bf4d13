/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x87, SSE and AVX as a kernel meets them: who may use them when, their exceptions, and their
 * state saved and restored. Intel SDM volume 1, 8 to 14, volume 3, 2.5 and 13.
 */
#include "guest.h"
GROUP(fpu)

#define CR0_MP		2
#define CR0_EM		4
#define CR0_TS		8
#define CR4_OSFXSR	0x200
#define CR4_OSXMMEXCPT	0x400
#define CR4_OSXSAVE	0x40000

#define NO_XSETBV	"QEMU's SVM does not intercept XSETBV"
#define NO_FPU		NOT_EMULATED("x87 and SSE")

	.macro	cr0 set, clear=0
	movq	%cr0, %rax
	orl	$(\set), %eax
	andl	$~(\clear), %eax
	movq	%rax, %cr0
	.endm
	.macro	cr4 set
	movq	%cr4, %rax
	orl	$(\set), %eax
	movq	%rax, %cr4
	.endm

TEST(nm_ts, LONG, "CR0.TS: x87, SSE and FXSAVE are #NM; WAIT only with MP; CLTS ends it"):
	WRONG(PARAVIRT, NO_FPU)
	cr4	CR4_OSFXSR
	cr0	CR0_TS
	FAULTS(NM_VECTOR, 0, fld1)
	FAULTS(NM_VECTOR, 0, fnstcw SCRATCH)
	FAULTS(NM_VECTOR, 0, movaps %xmm0, %xmm1)
	FAULTS(NM_VECTOR, 0, fxsave SCRATCH)
	fwait
	cr0	CR0_MP
	FAULTS(NM_VECTOR, 0, fwait)
	clts
	fld1
	movaps	%xmm0, %xmm1
	PASS

TEST(nm_em, LONG, "CR0.EM: x87 is #NM, SSE is #UD"):
	WRONG(PARAVIRT, NO_FPU)
	cr4	CR4_OSFXSR
	cr0	CR0_EM
	FAULTS(NM_VECTOR, 0, fld1)
	FAULTS(UD_VECTOR, 0, movaps %xmm0, %xmm1)
	fwait
	PASS

TEST(ud_osfxsr, LONG, "SSE without CR4.OSFXSR is #UD"):
	WRONG(PARAVIRT, NO_FPU)
	FAULTS(UD_VECTOR, 0, movaps %xmm0, %xmm1)
	FAULTS(UD_VECTOR, 0, ldmxcsr SCRATCH)
	PASS

TEST(init, LONG, "FNINIT: control word 0x37f, empty stack; FNSTSW and FNSTCW"):
	WRONG(PARAVIRT, NO_FPU)
	fninit
	fnstcw	SCRATCH
	IS16(0x37f, SCRATCH)
	fnstsw	%ax
	IS16(0, %ax)
	fld1
	fnstsw	%ax
	IS16(0x3800, %ax)
	fnstenv	SCRATCH
	IS16(0x3fff, SCRATCH + 8)		/* tags: ST0 in use */
	PASS

TEST(arithmetic, LONG, "x87 arithmetic in 80 bits: 1 / 3 * 3, and pi"):
	WRONG(PARAVIRT, NO_FPU)
	fninit
	fldpi
	fstpt	SCRATCH
	movq	SCRATCH, %rax
	IS64(0xc90fdaa22168c235, %rax)
	IS16(0x4000, SCRATCH + 8)
	movl	$7, SCRATCH
	fildl	SCRATCH
	fsqrt
	fstpl	SCRATCH
	movq	SCRATCH, %rax
	IS64(0x40052a7fa9d2f8ea, %rax)
	PASS

TEST(mf, LONG, "an unmasked x87 exception is #MF at the next waiting instruction"):
	WRONG(PARAVIRT, NO_FPU)
	fninit
	movw	$0x37b, SCRATCH			/* division by zero unmasked */
	fldcw	SCRATCH
	fld1
	fldz
	fdivrp
	fnstsw	%ax				/* does not wait */
	andl	$0x80ff, %eax
	IS32(0x8084, %eax)
	FAULTS(MF_VECTOR, 0, fwait)
	fnclex
	fwait
	PASS

TEST(mf_waiting, LONG, "x87 instructions wait too, and MMX; FNSTSW and its like do not"):
	WRONG(PARAVIRT, NO_FPU)
	WRONG(TCG, "QEMU's TCG looks at FWAIT only")
	fninit
	movw	$0x37b, SCRATCH
	fldcw	SCRATCH
	fld1
	fldz
	fdivrp
	FAULTS(MF_VECTOR, 0, fld1)
	FAULTS(MF_VECTOR, 0, fldcw SCRATCH)
	FAULTS(MF_VECTOR, 0, movd %eax, %mm0)
	fnstcw	SCRATCH
	fnclex
	fld1
	PASS

TEST(mf_pointers, LONG, "FNSTENV shows the instruction that raised it"):
	WRONG(TCG, "QEMU's TCG keeps no instruction pointer")
	WRONG(PARAVIRT, NO_FPU)
	fninit
	movw	$0x37b, SCRATCH
	fldcw	SCRATCH
	fld1
	fldz
1:	fdivrp
	fxsave64 SCRATCH
	movq	SCRATCH + 8, %rax
	IS64(1b, %rax)
	PASS

TEST(stack_fault, LONG, "masked stack overflow and underflow: IE and SF, C1 for overflow"):
	WRONG(TCG, "QEMU's TCG has no stack faults")
	WRONG(PARAVIRT, NO_FPU)
	fninit
	fstp	%st(0)
	fnstsw	%ax
	andl	$0x241, %eax
	IS32(0x41, %eax)
	fninit
	.rept	9
	fld1
	.endr
	fnstsw	%ax
	andl	$0x241, %eax
	IS32(0x241, %eax)
	PASS

TEST(xm, LONG, "an unmasked SSE exception is #XM, or #UD without CR4.OSXMMEXCPT"):
	WRONG(TCG, "QEMU's TCG raises no SSE exceptions")
	WRONG(PARAVIRT, NO_FPU)
	cr4	CR4_OSFXSR
	movl	$0x1d80, SCRATCH		/* division by zero unmasked */
	ldmxcsr	SCRATCH
	movl	$0x3f800000, SCRATCH
	movss	SCRATCH, %xmm0
	xorps	%xmm1, %xmm1
	FAULTS(UD_VECTOR, 0, divss %xmm1, %xmm0)
	cr4	CR4_OSXMMEXCPT
	FAULTS(XM_VECTOR, 0, divss %xmm1, %xmm0)
	stmxcsr	SCRATCH + 4
	IS32(0x1d84, SCRATCH + 4)
	movss	%xmm0, SCRATCH + 8
	IS32(0x3f800000, SCRATCH + 8)
	PASS

TEST(mxcsr, LONG, "MXCSR after reset is 0x1f80"):
	WRONG(PARAVIRT, NO_FPU)
	cr4	CR4_OSFXSR
	stmxcsr	SCRATCH
	IS32(0x1f80, SCRATCH)
	PASS

TEST(mxcsr_reserved, LONG, "LDMXCSR and FXRSTOR with reserved bits are #GP(0)"):
	WRONG(PARAVIRT, NO_FPU)
	WRONG(TCG, "QEMU's TCG takes them")
	cr4	CR4_OSFXSR
	movl	$0x10000, SCRATCH
	FAULTS(GP_VECTOR, 0, ldmxcsr SCRATCH)
	fxsave64 SCRATCH + 0x1000
	orl	$0x80000000, SCRATCH + 0x1018
	FAULTS(GP_VECTOR, 0, fxrstor64 SCRATCH + 0x1000)
	PASS

TEST(alignment, LONG, "MOVAPS and FXSAVE off their alignment are #GP(0), MOVUPS is not"):
	WRONG(PARAVIRT, NO_FPU)
	WRONG(TCG, "QEMU's TCG does not check alignment")
	cr4	CR4_OSFXSR
	movups	SCRATCH + 1, %xmm0
	FAULTS(GP_VECTOR, 0, movaps SCRATCH + 8, %xmm0)
	FAULTS(GP_VECTOR, 0, movaps %xmm0, SCRATCH + 8)
	FAULTS(GP_VECTOR, 0, addps SCRATCH + 8, %xmm0)
	FAULTS(GP_VECTOR, 0, fxsave SCRATCH + 8)
	PASS

TEST(fxsave, LONG, "FXSAVE and FXRSTOR carry x87, MXCSR and 16 XMM registers"):
	WRONG(PARAVIRT, NO_FPU)
	cr4	CR4_OSFXSR
	fninit
	fldpi
	movq	$0x12345678, SCRATCH
	movq	SCRATCH, %xmm0
	movq	SCRATCH, %xmm15
	fxsave64 SCRATCH + 0x1000
	fninit
	xorps	%xmm0, %xmm0
	xorps	%xmm15, %xmm15
	fxrstor64 SCRATCH + 0x1000
	movq	%xmm0, %rax
	IS64(0x12345678, %rax)
	movq	%xmm15, %rax
	IS64(0x12345678, %rax)
	fstpt	SCRATCH
	IS16(0x4000, SCRATCH + 8)
	IS8(0x80, SCRATCH + 0x1004)		/* the abridged tags: ST0 in physical register 7 */
	PASS

TEST(avx, LONG, "AVX wants CR4.OSXSAVE and XCR0: #UD without, and XSAVE keeps the upper halves"):
	WRONG(TCG, NO_XSETBV)
	NEEDS(AVX)
	WRONG(PARAVIRT, NO_FPU)
	cr4	CR4_OSFXSR
	FAULTS(UD_VECTOR, 0, vxorps %ymm0, %ymm0, %ymm0)
	cr4	CR4_OSXSAVE
	FAULTS(UD_VECTOR, 0, vxorps %ymm0, %ymm0, %ymm0)
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$7, %eax
	xsetbv
	movq	$0x1111, SCRATCH
	movq	$0x2222, SCRATCH + 24
	vmovups	SCRATCH, %ymm3
	movl	$7, %eax
	xorl	%edx, %edx
	xsave64	SCRATCH + 0x1000
	vxorps	%ymm3, %ymm3, %ymm3
	movl	$7, %eax
	xrstor64 SCRATCH + 0x1000
	vmovups	%ymm3, SCRATCH + 0x100
	IS32(0x1111, SCRATCH + 0x100)
	IS32(0x2222, SCRATCH + 0x118)
	movb	SCRATCH + 0x1000 + 512, %al	/* XSTATE_BV: x87 may count as initial */
	andb	$6, %al
	IS8(6, %al)
	/* A clear bit in XSTATE_BV restores the initial state. */
	movb	$3, SCRATCH + 0x1000 + 512
	movl	$7, %eax
	xrstor64 SCRATCH + 0x1000
	vmovups	%ymm3, SCRATCH + 0x100
	IS32(0x1111, SCRATCH + 0x100)
	IS32(0, SCRATCH + 0x118)
	PASS

TEST(xrstor_bad, LONG, "XRSTOR of a header with unknown bits is #GP(0)"):
	NEEDS(XSAVE)
	WRONG(PARAVIRT, NO_FPU)
	cr4	(CR4_OSFXSR | CR4_OSXSAVE)
	movl	$1, %eax
	xorl	%edx, %edx
	xsave64	SCRATCH
	btsq	$62, SCRATCH + 512
	FAULTS(GP_VECTOR, 0, xrstor64 SCRATCH)
	btrq	$62, SCRATCH + 512
	movq	$1, SCRATCH + 520		/* XCOMP_BV without its bit 63 */
	FAULTS(GP_VECTOR, 0, xrstor64 SCRATCH)
	PASS

TEST(ac, LONG, "#AC(0) in ring 3 with CR0.AM and EFLAGS.AC; never in ring 0"):
	WRONG(TCG, "QEMU's TCG does not check alignment")
	USER64
1:	movl	user_data + 1, %eax
	int	$RETURN_VECTOR
2:	ud2
	.pushsection .udata, "aw", @progbits
	.balign	16
user_data:
	.quad	0, 0
	.popsection
	MODE64
	movq	%cr0, %rax
	btsq	$18, %rax
	movq	%rax, %cr0
	.macro	ring3_ac label, flags
	movq	%rsp, EXC_KSTACK
	movl	$889f, EXC_RESUME
	pushq	$(UDS | 3)
	pushq	$USER_STACK
	pushq	$(\flags)
	pushq	$(UCS64 | 3)
	pushq	$\label
	iretq
889:	movq	$0, EXC_KSTACK
	.endm
	ring3_ac 1b, 0x43002
	SAW(AC_VECTOR, 0, 1b)
	pushfq
	btsq	$18, (%rsp)
	popfq
	movl	SCRATCH + 1, %eax
	PASS

TEST(emms, LONG, "MMX: MOVQ marks all registers in use, EMMS none"):
	WRONG(PARAVIRT, NO_FPU)
	cr4	CR4_OSFXSR
	fninit
	movl	$0x12345678, %eax
	movd	%eax, %mm3
	fxsave	SCRATCH
	IS8(0xff, SCRATCH + 4)
	movd	%mm3, %ebx
	IS32(0x12345678, %ebx)
	emms
	fxsave	SCRATCH
	IS8(0, SCRATCH + 4)
	PASS
