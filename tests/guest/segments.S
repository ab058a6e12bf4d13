/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Segments: limits, rights and presence at load and at use, gates, LDT and TSS, and what is left
 * of it all in 64-bit mode. Intel SDM volume 3, 5; AMD APM volume 2, 4.
 */
#include "guest.h"
GROUP(segments)

#define NO_LIMITS	"QEMU's TCG does not check segment limits and rights at each access"
#define RING3_DIES	NOT_EMULATED("IRET in protected mode")
#define NOT_CANONICAL	"QEMU's TCG takes any base"

TEST(limit, PROT, "an access past the limit is #GP(0), the last bytes within are good"):
	WRONG(TCG, NO_LIMITS)
	SET_SEL(0, SCRATCH, 0xfff, 0x93, 4)
	movl	$SEL(0), %eax
	movl	%eax, %fs
	movl	$0x11223344, %fs:0xffc
	IS32(0x11223344, SCRATCH + 0xffc)
	IS8(0x11, %fs:0xfff)
	FAULTS(GP_VECTOR, 0, movl %fs:0xffd, %eax)
	FAULTS(GP_VECTOR, 0, movw %ax, %fs:0xfff)
	FAULTS(GP_VECTOR, 0, movb %fs:0x1000, %al)
	FAULTS(GP_VECTOR, 0, movl %fs:0xfffffffe, %eax)
	PASS

TEST(limit_pages, PROT, "with G the limit counts in pages, and the low 12 bits are ones"):
	WRONG(TCG, NO_LIMITS)
	SET_SEL(0, SCRATCH, 1, 0x93, 0xc)
	movl	$SEL(0), %eax
	movl	%eax, %fs
	movl	%fs:0x1ffc, %eax
	FAULTS(GP_VECTOR, 0, movl %fs:0x1ffd, %eax)
	PASS

TEST(limit_stack, PROT, "past the limit through SS it is #SS(0), and a POP to there leaves ESP"):
	WRONG(TCG, NO_LIMITS)
	/* The fault's own frame needs a good stack: the segment ends above the one in use. */
	SET_SEL(0, 0, 0xfffff, 0x93, 4)
	movl	$SEL(0), %eax
	movl	%eax, %ss
	FAULTS(SS_VECTOR, 0, movl %ss:0xffffd, %eax)
	movl	$0x100000, %ebp
	FAULTS(SS_VECTOR, 0, movl (%ebp), %eax)
	FAULTS(SS_VECTOR, 0, movl %eax, 4(%ebp))
	movl	%esp, %ebx
	FAULTS(SS_VECTOR, 0, popl (%ebp))
	cmpl	%ebx, %esp
	je	1f
	FAIL
1:	PASS

TEST(expand_down, PROT, "expand-down: valid above the limit, up to 4 GiB with B, 64 KiB without"):
	WRONG(TCG, NO_LIMITS)
	SET_SEL(0, SCRATCH, 0xfff, 0x97, 4)
	movl	$SEL(0), %eax
	movl	%eax, %fs
	FAULTS(GP_VECTOR, 0, movb %fs:0xfff, %al)
	FAULTS(GP_VECTOR, 0, movl %fs:0xffd, %eax)
	movl	$0x55, %fs:0x1000
	IS32(0x55, SCRATCH + 0x1000)
	movb	%fs:0x20000, %al
	SET_SEL(1, SCRATCH, 0xfff, 0x97, 0)
	movl	$SEL(1), %eax
	movl	%eax, %fs
	movb	%fs:0xffff, %al
	FAULTS(GP_VECTOR, 0, movl %fs:0xfffd, %eax)
	FAULTS(GP_VECTOR, 0, movb %fs:0x10000, %al)
	FAULTS(GP_VECTOR, 0, movb %fs:0xfff, %al)
	PASS

TEST(read_only, PROT, "writing a read-only or a code segment is #GP(0); reading execute-only too"):
	WRONG(TCG, NO_LIMITS)
	SET_SEL(0, 0, 0xfffff, 0x91, 0xc)
	movl	$SEL(0), %eax
	movl	%eax, %fs
	movl	%fs:SCRATCH, %eax
	FAULTS(GP_VECTOR, 0, movl %eax, %fs:SCRATCH)
	movl	%cs:SCRATCH, %eax
	FAULTS(GP_VECTOR, 0, movl %eax, %cs:SCRATCH)
	SET_SEL(1, 0, 0xfffff, 0x99, 0xc)
	ljmp	$SEL(1), $1f
1:	movl	$2f, EXC_RESUME
3:	movl	%cs:SCRATCH, %eax
	FAIL
2:	SAW(GP_VECTOR, 0, 3b)
	IS32(SEL(1), EXC_CS)
	PASS

TEST(load_bad_type, PROT, "loading a data register with what is no readable segment is #GP(selector)"):
	SET_SEL(0, 0, 0xfffff, 0x99, 0xc)		/* execute only */
	SET_SEL(1, 0, 0xfffff, 0x82, 0xc)		/* an LDT */
	SET_SEL(2, 0, 0xfffff, 0x91, 0xc)		/* read only */
	movl	$SEL(0), %eax
	FAULTS(GP_VECTOR, SEL(0), movl %eax, %ds)
	movl	$SEL(1), %eax
	FAULTS(GP_VECTOR, SEL(1), movl %eax, %es)
	movl	$SEL(2), %eax
	movl	%eax, %es
	FAULTS(GP_VECTOR, SEL(2), movl %eax, %ss)
	movl	$KCS32, %eax
	FAULTS(GP_VECTOR, KCS32, movl %eax, %ss)
	movl	%eax, %es
	movl	%es:SCRATCH, %ebx
	FAULTS(UD_VECTOR, 0, .byte 0x8e, 0xc8)	/* mov %eax, %cs */
	PASS

TEST(not_present, PROT, "a segment not present: #NP(selector), for SS #SS(selector)"):
	SET_SEL(0, 0, 0xfffff, 0x13, 0xc)
	SET_SEL(1, 0, 0xfffff, 0x1b, 0xc)
	movl	$SEL(0), %eax
	FAULTS(NP_VECTOR, SEL(0), movl %eax, %ds)
	FAULTS(NP_VECTOR, SEL(0), movl %eax, %fs)
	FAULTS(SS_VECTOR, SEL(0), movl %eax, %ss)
	FAULTS(NP_VECTOR, SEL(1), ljmp $SEL(1), $0)
	FAULTS(NP_VECTOR, SEL(1), lcall $SEL(1), $0)
	PASS

TEST(null_selector, PROT, "null loads into DS and faults at use; into SS and CS it is #GP(0)"):
	WRONG(TCG, NO_LIMITS)
	xorl	%eax, %eax
	movl	%eax, %es
	FAULTS(GP_VECTOR, 0, movl %es:SCRATCH, %ebx)
	movl	$3, %eax
	movl	%eax, %fs
	movl	%fs, %ecx
	IS32(3, %ecx)
	FAULTS(GP_VECTOR, 0, movl %ebx, %fs:SCRATCH)
	xorl	%eax, %eax
	FAULTS(GP_VECTOR, 0, movl %eax, %ss)
	FAULTS(GP_VECTOR, 0, ljmp $0, $0)
	PASS

TEST(null_load, PROT, "a null selector in DS, ES, FS and GS loads without a fault, in SS and CS not"):
	xorl	%eax, %eax
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	FAULTS(GP_VECTOR, 0, movl %eax, %ss)
	FAULTS(GP_VECTOR, 0, ljmp $0, $0)
	PASS

TEST(gdt_limit, PROT, "a selector past the table's limit is #GP(selector without RPL)"):
	movl	$GDT_SIZE + 3, %eax
	FAULTS(GP_VECTOR, GDT_SIZE, movl %eax, %ds)
	FAULTS(GP_VECTOR, GDT_SIZE, ljmp $GDT_SIZE, $0)
	movl	$0x0c, %eax			/* an LDT that is not there */
	FAULTS(GP_VECTOR, 0x0c, movl %eax, %ds)
	PASS

TEST(ldt, PROT, "LLDT, segments in the LDT, and TI in the error code"):
	SET_SEL(0, SCRATCH, 0x17, 0x82, 0)
	movl	$SEL(0), %eax
	lldt	%ax
	movl	gdt + KDS, %eax
	movl	%eax, SCRATCH + 8
	movl	gdt + KDS + 4, %eax
	movl	%eax, SCRATCH + 12
	movl	$0x0c, %eax			/* index 1, TI */
	movl	%eax, %fs
	movl	$0x1234, %fs:SCRATCH + 0x100
	IS32(0x1234, SCRATCH + 0x100)
	sldt	%ecx
	IS32(SEL(0), %ecx)
	movl	$0x1c, %eax			/* index 3: past its limit */
	FAULTS(GP_VECTOR, 0x1c, movl %eax, %fs)
	movl	$KDS, %eax
	FAULTS(GP_VECTOR, KDS, lldt %ax)
	movl	$0x0c, %eax
	FAULTS(GP_VECTOR, 0x0c, lldt %ax)
	movb	$0x02, gdt + SEL(0) + 5
	movl	$SEL(0), %eax
	FAULTS(NP_VECTOR, SEL(0), lldt %ax)
	xorl	%eax, %eax
	lldt	%ax
	movl	$0x0c, %eax
	FAULTS(GP_VECTOR, 0x0c, movl %eax, %fs)
	PASS

TEST(ltr, PROT, "LTR marks the TSS busy, and faults for a busy, absent or other descriptor"):
	SET_SEL(0, SCRATCH, 0x67, 0x89, 0)
	movl	$SEL(0), %eax
	ltr	%ax
	IS8(0x8b, gdt + SEL(0) + 5)
	str	%ecx
	IS32(SEL(0), %ecx)
	FAULTS(GP_VECTOR, SEL(0), ltr %ax)
	movl	$KDS, %eax
	FAULTS(GP_VECTOR, KDS, ltr %ax)
	SET_SEL(1, SCRATCH, 0x67, 0x09, 0)
	movl	$SEL(1), %eax
	FAULTS(NP_VECTOR, SEL(1), ltr %ax)
	PASS

TEST(ltr_null, PROT, "LTR of a null selector is #GP(0)"):
	WRONG(TCG, "QEMU's TCG takes it")
	xorl	%eax, %eax
	FAULTS(GP_VECTOR, 0, ltr %ax)
	PASS

TEST(accessed, PROT, "loading a segment register sets the descriptor's accessed bit"):
	SET_SEL(0, 0, 0xfffff, 0x92, 0xc)
	movl	$SEL(0), %eax
	movl	%eax, %fs
	IS8(0x93, gdt + SEL(0) + 5)
	PASS

TEST(accessed_code, PROT, "so does a far jump"):
	WRONG(TCG, "QEMU's TCG does not")
	SET_SEL(1, 0, 0xfffff, 0x9a, 0xc)
	ljmp	$SEL(1), $1f
1:	IS8(0x9b, gdt + SEL(1) + 5)
	PASS

TEST(dpl, PROT, "SS wants DPL and RPL equal to CPL, DS a DPL no less than both"):
	movl	$UDS | 3, %eax
	FAULTS(GP_VECTOR, UDS, movl %eax, %ss)
	movl	$UDS, %eax
	FAULTS(GP_VECTOR, UDS, movl %eax, %ss)
	movl	$KDS | 3, %eax
	FAULTS(GP_VECTOR, KDS, movl %eax, %ss)
	FAULTS(GP_VECTOR, KDS, movl %eax, %ds)	/* RPL 3 against DPL 0 */
	movl	$UDS | 3, %eax
	movl	%eax, %ds
	PASS

TEST(lar_lsl, PROT, "LAR, LSL, VERR, VERW: rights, limits, and ZF where it may not be seen"):
	WRONG(PARAVIRT, NOT_EMULATED("LAR, LSL, VERR, VERW"))
	movl	$KDS, %eax
	lar	%eax, %ecx
	jnz	9f
	andl	$0xf0ff00, %ecx			/* bits 16 to 19 are undefined */
	IS32(0xc09300, %ecx)
	lsl	%eax, %ecx
	jnz	9f
	IS32(0xffffffff, %ecx)
	SET_SEL(0, 0, 0x12345, 0x91, 4)
	movl	$SEL(0), %eax
	lsl	%eax, %ecx
	jnz	9f
	IS32(0x12345, %ecx)
	verr	%ax
	jnz	9f
	verw	%ax
	jz	9f
	movl	$KCS32, %eax
	verr	%ax
	jnz	9f
	verw	%ax
	jz	9f
	xorl	%eax, %eax
	movl	$0x77, %ecx
	lar	%eax, %ecx
	jz	9f
	IS32(0x77, %ecx)
	lsl	%eax, %ecx
	jz	9f
	movl	$GDT_SIZE, %eax
	verr	%ax
	jz	9f
	movl	$TR32, %eax			/* a TSS has rights and a limit */
	lar	%eax, %ecx
	jnz	9f
	andl	$0xff00, %ecx
	IS32(0x8b00, %ecx)
	lsl	%eax, %ecx
	jnz	9f
	IS32(TSS_SIZE - 1, %ecx)
	SET_SEL(1, 0, 0, 0x8e, 0)		/* an interrupt gate has neither */
	movl	$SEL(1), %eax
	lar	%eax, %ecx
	jz	9f
	PASS
9:	FAIL

TEST(arpl, PROT, "ARPL raises the RPL and sets ZF, or leaves both"):
	WRONG(PARAVIRT, NOT_EMULATED("ARPL"))
	movl	$KDS, %eax
	movl	$3, %ecx
	arpl	%cx, %ax
	jnz	9f
	IS32(KDS | 3, %eax)
	movl	$1, %ecx
	arpl	%cx, %ax
	jz	9f
	IS32(KDS | 3, %eax)
	PASS
9:	FAIL

TEST(far_jmp_bad, PROT, "a far jump to what is no code of this privilege is #GP(selector)"):
	WRONG(PARAVIRT, NOT_EMULATED("system descriptors in far jumps"))
	FAULTS(GP_VECTOR, KDS, ljmp $KDS, $0)
	FAULTS(GP_VECTOR, UCS32, ljmp $UCS32, $0)
	FAULTS(GP_VECTOR, KCS32, ljmp $KCS32 | 3, $0)
	FAULTS(GP_VECTOR, LDT, ljmp $LDT, $0)
	PASS

TEST(far_jmp_limit, PROT, "a far jump past the code segment's limit is #GP(0)"):
	WRONG(PARAVIRT, NOT_EMULATED("limit checks in far jumps"))
	WRONG(TCG, NO_LIMITS)
	SET_SEL(0, 0, 0xffff, 0x9b, 4)
	FAULTS(GP_VECTOR, 0, ljmp $SEL(0), $0x10000)
	PASS

TEST(far_call, PROT, "far call and return within ring 0, 32 and 16 bits"):
	movl	%esp, %ebx
	lcall	$KCS32, $1f
	IS32(0x77, %eax)
	cmpl	%ebx, %esp
	jne	9f
	PASS
9:	FAIL
1:	IS32(KCS32, 4(%esp))
	movl	$0x77, %eax
	lretl

TEST(code_limit, PROT, "running past the code segment's limit is #GP(0) at the next instruction"):
	WRONG(TCG, NO_LIMITS)
	movb	$0x90, SCRATCH + 0xfff
	SET_SEL(0, SCRATCH, 0xfff, 0x9b, 4)
	movl	$1f, EXC_RESUME
	movl	%esp, EXC_KSTACK
	ljmp	$SEL(0), $0xfff
1:	IS32(GP_VECTOR, EXC_VECTOR)
	IS32(0, EXC_ERROR)
	IS32(0x1000, EXC_RIP)
	PASS

TEST(gate_same, PROT, "a call gate within ring 0: the selector's offset is ignored"):
	WRONG(PARAVIRT, NOT_EMULATED("call gates"))
	movl	$1f, %eax
	movw	%ax, gdt + SEL(0)
	movw	$KCS32, gdt + SEL(0) + 2
	movw	$0x8c00, gdt + SEL(0) + 4
	shrl	$16, %eax
	movw	%ax, gdt + SEL(0) + 6
	lcall	$SEL(0), $0xdeadbeef
	IS32(0x77, %eax)
	movw	$0x0c00, gdt + SEL(0) + 4
	FAULTS(NP_VECTOR, SEL(0), lcall $SEL(0), $0)
	movw	$0x8c00, gdt + SEL(0) + 4
	movw	$0, gdt + SEL(0) + 2
	FAULTS(GP_VECTOR, 0, lcall $SEL(0), $0)
	PASS
1:	movl	$0x77, %eax
	lretl

TEST(gate_inner, PROT, "a call gate from ring 3 to ring 0 switches stacks and copies parameters"):
	WRONG(PARAVIRT, RING3_DIES)
	USER32
1:	pushl	$0x1111
	pushl	$0x2222
	lcall	$SEL(0) | 3, $0
2:	int	$RETURN_VECTOR
	MODE32
	movl	$3f, %eax
	movw	%ax, gdt + SEL(0)
	movw	$KCS32, gdt + SEL(0) + 2
	movw	$0xec02, gdt + SEL(0) + 4
	shrl	$16, %eax
	movw	%ax, gdt + SEL(0) + 6
	RING3_32(1b)
	IS32(RETURN_VECTOR, EXC_VECTOR)
	IS32(USER_STACK, EXC_RSP)
	PASS
	/* EIP, CS, the two parameters, ESP, SS from the top of the ring 0 stack down. */
3:	IS32(stack0_top - 24, %esp)
	IS32(2b, (%esp))
	IS32(UCS32 | 3, 4(%esp))
	IS32(0x2222, 8(%esp))
	IS32(0x1111, 12(%esp))
	IS32(USER_STACK - 8, 16(%esp))
	IS32(UDS | 3, 20(%esp))
	lretl	$8

TEST(gate_dpl, PROT, "a call gate of DPL 0 from ring 3 is #GP(its selector)"):
	WRONG(PARAVIRT, RING3_DIES)
	USER32
1:	lcall	$SEL(0), $0
	MODE32
	movl	$KCS32 << 16, gdt + SEL(0)
	movl	$0x8c00, gdt + SEL(0) + 4
	RING3_32(1b)
	SAW(GP_VECTOR, SEL(0), 1b)
	PASS

TEST(far_return_outer, PROT, "a far return to ring 3 nulls data registers of a lower DPL"):
	WRONG(PARAVIRT, RING3_DIES)
	USER32
1:	movl	%ds, %ebx
	movl	%es, %ecx
	movl	%fs, %edx
	int	$RETURN_VECTOR
	MODE32
	movl	$UDS | 3, %eax
	movl	%eax, %es
	movl	%esp, EXC_KSTACK
	movl	$2f, EXC_RESUME
	pushl	$UDS | 3
	pushl	$USER_STACK
	pushl	$UCS32 | 3
	pushl	$1b
	lretl
2:	IS32(RETURN_VECTOR, EXC_VECTOR)
	IS32(0, %ebx)
	IS32(UDS | 3, %ecx)
	IS32(0, %edx)
	PASS

TEST(conforming, PROT, "a conforming segment of DPL 0 runs at ring 3, with CPL 3"):
	WRONG(PARAVIRT, RING3_DIES)
	USER32
1:	ljmp	$SEL(0), $2f
2:	movl	%cs, %ebx
3:	hlt
	MODE32
	SET_SEL(0, 0, 0xfffff, 0x9f, 0xc)
	RING3_32(1b)
	SAW(GP_VECTOR, 0, 3b)
	IS32(SEL(0) | 3, %ebx)
	IS32(SEL(0) | 3, EXC_CS)
	PASS

TEST(io_bitmap, PROT, "ports in ring 3 with IOPL 0: by the TSS's bitmap, else #GP(0)"):
	WRONG(PARAVIRT, RING3_DIES)
	USER32
1:	inb	$0xe2, %al			/* 0xe2 and 0xe3 are permitted */
	inw	$0xe2, %ax
2:	inl	$0xe2, %eax
3:	inb	$0xe1, %al
4:	cli
5:	movw	$0x200, %dx			/* past the bitmap */
6:	inb	%dx, %al
	MODE32
	.macro	ring3_iopl0 label
	movl	%esp, EXC_KSTACK
	movl	$889f, EXC_RESUME
	pushl	$UDS | 3
	pushl	$USER_STACK
	pushl	$2
	pushl	$UCS32 | 3
	pushl	$\label
	iretl
889:
	.endm
	ring3_iopl0 3b
	SAW(GP_VECTOR, 0, 3b)
	ring3_iopl0 4b
	SAW(GP_VECTOR, 0, 4b)
	ring3_iopl0 5b
	SAW(GP_VECTOR, 0, 6b)
	ring3_iopl0 2b
	SAW(GP_VECTOR, 0, 2b)
	PASS

TEST(real_limit, REAL, "in real mode a word at 0xffff is vector 13, through SS 12"):
	WRONG(TCG, NO_LIMITS)
	FAULTS(GP_VECTOR, 0, movw 0xffff, %ax)
	FAULTS(GP_VECTOR, 0, movl %eax, 0xfffd)
	movw	$0xffff, %bp
	FAULTS(SS_VECTOR, 0, movw (%bp), %ax)
	movl	$0x10000, %ebx
	FAULTS(GP_VECTOR, 0, movb (%ebx), %al)
	movb	0xffff, %al
	PASS

TEST(real_wrap, REAL, "16-bit address arithmetic wraps at 64 KiB; so does SP"):
	movb	$0x5a, 0x5010
	movw	$0xfff0, %bx
	movw	$0x5020, %si
	IS8(0x5a, (%bx,%si))
	movw	$0x5a5a, 0xfffe
	xorw	%sp, %sp
	pushw	$0x1234
	IS16(0x1234, 0xfffe)
	popw	%ax
	IS16(0, %sp)
	PASS

TEST(long_flat, LONG, "in 64-bit mode bases and limits count for nothing but FS and GS"):
	SET_SEL(0, 0x10000, 0xff, 0x93, 0)
	movl	$SEL(0), %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	$0x1234, SCRATCH
	IS32(0x1234, SCRATCH)
	movl	%eax, %fs			/* the base counts here, the limit does not */
	movl	$0x5678, SCRATCH + 0x10000
	IS32(0x5678, %fs:SCRATCH)
	xorl	%eax, %eax
	movl	%eax, %ds
	IS32(0x1234, SCRATCH)
	PASS

TEST(long_override, LONG, "an override with ES, CS, SS or DS is ignored in 64-bit mode"):
	WRONG(TCG, "QEMU's TCG adds the base of an ES that is named")
	SET_SEL(0, 0x10000, 0xff, 0x93, 0)
	movl	$SEL(0), %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	$0x1234, SCRATCH
	IS32(0x1234, %es:SCRATCH)
	IS32(0x1234, %cs:SCRATCH)
	IS32(0x1234, %ss:SCRATCH)
	IS32(0x1234, %ds:SCRATCH)
	PASS

TEST(long_fs_base, LONG, "MSR_FS_BASE and MSR_GS_BASE are 64 bits wide"):
	movl	$0xc0000100, %ecx
	movl	$SCRATCH, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0x11, SCRATCH + 0x10
	IS32(0x11, %fs:0x10)
	incl	%ecx
	movl	$SCRATCH + 0x100, %eax
	wrmsr
	movl	$0x22, SCRATCH + 0x110
	IS32(0x22, %gs:0x10)
	movl	$0xffff8000, %edx
	wrmsr
	rdmsr
	IS32(0xffff8000, %edx)
	PASS

TEST(long_base_canonical, LONG, "a base that is not canonical is #GP(0): FS, GS, KERNEL_GS"):
	WRONG(TCG, NOT_CANONICAL)
	movl	$0xc0000100, %ecx
	movl	$0x8000, %edx
	FAULTS(GP_VECTOR, 0, wrmsr)
	incl	%ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	incl	%ecx
	FAULTS(GP_VECTOR, 0, wrmsr)
	PASS

TEST(long_swapgs, LONG, "SWAPGS exchanges GS base and MSR_KERNEL_GS_BASE"):
	movl	$0xc0000101, %ecx
	movl	$0x1000, %eax
	xorl	%edx, %edx
	wrmsr
	incl	%ecx
	movl	$0x2000, %eax
	wrmsr
	swapgs
	rdmsr
	IS32(0x1000, %eax)
	decl	%ecx
	rdmsr
	IS32(0x2000, %eax)
	PASS

TEST(long_fsgsbase, LONG, "RDFSBASE and its kin: #UD without CR4.FSGSBASE, then 32 and 64 bits"):
	NEEDS(FSGSBASE)
	WRONG(PARAVIRT, NOT_EMULATED("RDFSBASE"))
	FAULTS(UD_VECTOR, 0, rdfsbase %rax)
	movq	%cr4, %rax
	btsq	$16, %rax
	movq	%rax, %cr4
	movabsq	$0xffff800012345678, %rbx
	wrfsbase %rbx
	rdfsbase %rcx
	IS64(0xffff800012345678, %rcx)
	wrgsbase %ebx
	rdgsbase %rcx
	IS64(0x12345678, %rcx)
	PASS

TEST(long_fsgsbase_canonical, LONG, "WRFSBASE and WRGSBASE of what is not canonical are #GP(0)"):
	NEEDS(FSGSBASE)
	WRONG(TCG, NOT_CANONICAL)
	WRONG(PARAVIRT, NOT_EMULATED("RDFSBASE"))
	movq	%cr4, %rax
	btsq	$16, %rax
	movq	%rax, %cr4
	movabsq	$0x800000000000, %rbx
	FAULTS(GP_VECTOR, 0, wrgsbase %rbx)
	FAULTS(GP_VECTOR, 0, wrfsbase %rbx)
	PASS

TEST(long_null_ss, LONG, "in 64-bit mode ring 0 may load a null SS"):
	xorl	%eax, %eax
	movl	%eax, %ss
	pushq	$0x1234
	popq	%rax
	IS32(0x1234, %eax)
	PASS

TEST(long_null_ss_rpl, LONG, "a null SS whose RPL is not CPL is #GP(0)"):
	WRONG(TCG, "QEMU's TCG takes it")
	movl	$3, %eax
	FAULTS(GP_VECTOR, 0, movl %eax, %ss)
	PASS

TEST(long_l_and_d, LONG, "a code segment with both L and D is #GP(selector)"):
	SET_SEL(0, 0, 0xfffff, 0x9b, 0xe)
	pushq	$SEL(0)
	pushq	$1f
	FAULTS(GP_VECTOR, SEL(0), lretq)
1:	PASS

TEST(long_gate, LONG, "a 16-byte call gate to ring 0 from ring 3, with RSP0 and a null SS"):
	WRONG(PARAVIRT, NOT_EMULATED("far RET to ring 3"))
	USER64
1:	lcall	*2f
3:	int	$RETURN_VECTOR
2:	.long	0
	.word	SEL(0) | 3
	MODE64
	movl	$4f, %eax
	movw	%ax, gdt + SEL(0)
	movw	$KCS64, gdt + SEL(0) + 2
	movw	$0xec00, gdt + SEL(0) + 4
	shrl	$16, %eax
	movw	%ax, gdt + SEL(0) + 6
	movq	$0, gdt + SEL(1)
	RING3_64(1b)
	IS32(RETURN_VECTOR, EXC_VECTOR)
	IS64(USER_STACK, EXC_RSP)
	PASS
4:	IS64(stack0_top - 32, %rsp)
	IS64(3b, (%rsp))
	IS64(UCS64 | 3, 8(%rsp))
	IS64(USER_STACK, 16(%rsp))
	IS64(UDS | 3, 24(%rsp))
	movw	%ss, %ax
	IS16(0, %ax)
	lretq

TEST(long_ltr, LONG, "LTR of a 16-byte descriptor: busy, and its upper half checked"):
	SET_SEL(0, SCRATCH, 0x67, 0x89, 0)
	movq	$0, gdt + SEL(1)
	movl	$SEL(0), %eax
	ltr	%ax
	IS8(0x8b, gdt + SEL(0) + 5)
	FAULTS(GP_VECTOR, SEL(0), ltr %ax)
	PASS

TEST(sgdt_sidt, LONG, "SGDT and SIDT store what LGDT and LIDT loaded, 10 bytes"):
	lidt	1f(%rip)
	lgdt	2f(%rip)
	movq	$-1, SCRATCH + 8
	sidt	SCRATCH
	IS16(0x1234, SCRATCH)
	movq	SCRATCH + 2, %rbx
	IS64(0xffff800012345678, %rbx)
	IS16(-1, SCRATCH + 10)
	sgdt	SCRATCH
	IS16(0xabc, SCRATCH)
	movq	SCRATCH + 2, %rbx
	IS64(0x1122334455, %rbx)
	PASS
1:	.word	0x1234
	.quad	0xffff800012345678
2:	.word	0xabc
	.quad	0x1122334455

TEST(lgdt_canonical, LONG, "LGDT and LIDT with a non-canonical base are #GP(0)"):
	WRONG(TCG, NOT_CANONICAL)
	FAULTS(GP_VECTOR, 0, lidt 1f(%rip))
	FAULTS(GP_VECTOR, 0, lgdt 1f(%rip))
	PASS
1:	.word	0x1234
	.quad	0x800012345678

TEST(umip, LONG, "UMIP: SGDT, SIDT, SLDT and STR in ring 3 are #GP(0)"):
	NEEDS(UMIP)
	USER64
1:	sgdt	(%rsp)
2:	sidt	(%rsp)
3:	sldt	%eax
4:	str	%eax
	int	$RETURN_VECTOR
	MODE64
	movq	%cr4, %rax
	btsq	$11, %rax
	movq	%rax, %cr4
	RING3_64(1b)
	SAW(GP_VECTOR, 0, 1b)
	RING3_64(2b)
	SAW(GP_VECTOR, 0, 2b)
	RING3_64(3b)
	SAW(GP_VECTOR, 0, 3b)
	RING3_64(4b)
	SAW(GP_VECTOR, 0, 4b)
	PASS

TEST(umip_smsw, LONG, "and SMSW"):
	NEEDS(UMIP)
	WRONG(LINUX, "where the processor has no UMIP, KVM's own leaves out SMSW")
	USER64
1:	smsw	%eax
	int	$RETURN_VECTOR
	MODE64
	movq	%cr4, %rax
	btsq	$11, %rax
	movq	%rax, %cr4
	RING3_64(1b)
	SAW(GP_VECTOR, 0, 1b)
	PASS

TEST(smsw_lmsw, LONG, "SMSW reads CR0; LMSW sets PE and TS but never clears PE"):
	movq	%cr0, %rbx
	smsw	%rcx
	cmpq	%rbx, %rcx
	jne	9f
	movl	$0xe, %eax
	lmsw	%ax
	movq	%cr0, %rcx
	andl	$0xf, %ecx
	IS32(0xf, %ecx)
	clts
	movq	%cr0, %rcx
	andl	$0xf, %ecx
	IS32(0x7, %ecx)
	PASS
9:	FAIL
