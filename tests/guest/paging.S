/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Paging: what each level's bits permit, the error codes, CR2, accessed and dirty bits, page
 * sizes, and what may be cached until when. Intel SDM volume 3, 4; AMD APM volume 2, 5.
 *
 * The WINDOW's pages go through pt64 (pt32 in 2-level paging) with 4 KiB entries, which the
 * tests change; PAGE(n) is the address and PTE(n) the entry.
 */
#include "guest.h"
GROUP(paging)

#define PAGE(n)		(WINDOW + 0x1000 * (n))
#define PTE(n)		pt64 + 8 * (n)
#define PTE32(n)	pt32 + 4 * (n)
#define PDE		pd64 + 8 * (WINDOW >> 21)
#define PDE32		pd32 + 4 * (WINDOW >> 22)

#define NO_PG32		"2-level paging ends in SHUTDOWN"
#define NO_PAE		"PAE paging ends in SHUTDOWN"

#define RMW_READS	"QEMU's TCG reads first, and faults on that"
#define RSVD_NO_P	"QEMU's TCG reports RSVD without P"

/* Error code bits. */
#define P		1
#define W		2
#define U		4
#define RSVD		8
#define I		0x10

TEST(not_present, LONG, "a page that is not present: error code 0 or W, CR2 the address"):
	movq	$0, PTE(1)
	FAULTS(PF_VECTOR, 0, movl PAGE(1) + 0x123, %eax)
	IS64(PAGE(1) + 0x123, EXC_CR2)
	FAULTS(PF_VECTOR, W, movl %eax, PAGE(1) + 0xffc)
	IS64(PAGE(1) + 0xffc, EXC_CR2)
	PASS

TEST(read_modify_write, LONG, "an instruction that reads and then writes faults as a write"):
	WRONG(TCG, RMW_READS)
	movq	$0, PTE(1)
	FAULTS(PF_VECTOR, W, incl PAGE(1))
	FAULTS(PF_VECTOR, W, lock incl PAGE(1))
	FAULTS(PF_VECTOR, W, shll $3, PAGE(1))
	FAULTS(PF_VECTOR, W, addl $1, PAGE(1))
	movq	$PAGE(2) + 1, PTE(2)
	FAULTS(PF_VECTOR, P | W, notl PAGE(2))
	PASS

TEST(not_present_levels, LONG, "the same at each level above: PDE, PDPTE, PML4E"):
	movq	$0, pd64 + 0x3000 + 8 * 5
	movl	$0xc0a00000, %ebx
	FAULTS(PF_VECTOR, 0, movl (%rbx), %eax)
	movabsq	$0x1000000000, %rbx
	FAULTS(PF_VECTOR, W, movl %eax, (%rbx))
	movq	%rbx, %rax
	cmpq	%rax, EXC_CR2
	je	1f
	FAIL
1:	movabsq	$0x7ffffffffff8, %rbx
	FAULTS(PF_VECTOR, 0, movq (%rbx), %rax)
	movq	$-8, %rbx
	FAULTS(PF_VECTOR, 0, movq (%rbx), %rax)
	IS64(-8, EXC_CR2)
	PASS

TEST(read_only_wp, LONG, "a read-only page: ring 0 may write it only with CR0.WP clear"):
	movq	$PAGE(1) + 1, PTE(1)
	movl	PAGE(1), %eax
	FAULTS(PF_VECTOR, P | W, movl %eax, PAGE(1))
	movq	%cr0, %rax
	andl	$~0x10000, %eax
	movq	%rax, %cr0
	movl	$0x1234, PAGE(1)
	IS32(0x1234, PAGE(1))
	orl	$0x10000, %eax
	movq	%rax, %cr0
	FAULTS(PF_VECTOR, P | W, movl %eax, PAGE(1))
	PASS

TEST(rights_combine, LONG, "write permission is the AND of all levels"):
	andq	$~2, PDE
	movl	PAGE(1), %eax
	FAULTS(PF_VECTOR, P | W, movl %eax, PAGE(1))
	orq	$2, PDE
	movl	%eax, PAGE(1)			/* a stale refusal may not outlive the fault */
	PASS

TEST(user_supervisor, LONG, "ring 3 at a supervisor page: U, with P and W as they are"):
	USER64
1:	movl	PAGE(1), %eax
	int	$RETURN_VECTOR
2:	movl	%eax, PAGE(1)
	int	$RETURN_VECTOR
3:	movl	PAGE(2), %eax
	int	$RETURN_VECTOR
4:	movl	%eax, PAGE(2)
	int	$RETURN_VECTOR
	MODE64
	movq	$0, PTE(2)
	RING3_64(1b)
	SAW(PF_VECTOR, P | U, 1b)
	IS64(PAGE(1), EXC_CR2)
	RING3_64(2b)
	SAW(PF_VECTOR, P | U | W, 2b)
	RING3_64(3b)
	SAW(PF_VECTOR, U, 3b)
	RING3_64(4b)
	SAW(PF_VECTOR, U | W, 4b)
	PASS

TEST(user_pde, LONG, "user permission is the AND of all levels"):
	USER64
1:	movl	PAGE(1), %eax
2:	ud2
	MODE64
	orq	$4, PTE(1)
	RING3_64(1b)
	SAW(UD_VECTOR, 0, 2b)
	andq	$~4, PDE
	invlpg	PAGE(1)
	RING3_64(1b)
	SAW(PF_VECTOR, P | U, 1b)
	PASS

TEST(user_fetch, LONG, "ring 3 fetching from a supervisor page: P and U, and I with NXE"):
	RING3_64(PAGE(1))
	SAW(PF_VECTOR, P | U | I, PAGE(1))
	IS64(PAGE(1), EXC_CR2)
	PASS

TEST(nx, LONG, "fetching from a no-execute page is #PF with I; data accesses pass"):
	NEEDS(NX)
	movb	$0xc3, PAGE(1)			/* ret */
	movl	$PAGE(1), %ebx
	call	*%rbx
	btsq	$63, PTE(1)
	invlpg	PAGE(1)
	movl	$1f, EXC_RESUME
	call	*%rbx
	FAIL
1:	SAW(PF_VECTOR, P | I, PAGE(1))
	IS64(PAGE(1), EXC_CR2)
	IS8(0xc3, PAGE(1))
	movb	$0x90, PAGE(1)
	IS64(stack_top - 8, EXC_RSP)
	PASS

TEST(nx_upper, LONG, "no-execute in any level above counts too"):
	NEEDS(NX)
	movb	$0xc3, PAGE(1)
	btsq	$63, PDE
	movl	$PAGE(1), %ebx
	movl	$1f, EXC_RESUME
	call	*%rbx
	FAIL
1:	SAW(PF_VECTOR, P | I, PAGE(1))
	PASS

TEST(nx_reserved, LONG, "with EFER.NXE clear, bit 63 is reserved, and I is never set"):
	WRONG(TCG, RSVD_NO_P)
	NEEDS(NX)
	btsq	$63, PTE(1)
	movl	$0xc0000080, %ecx
	rdmsr
	andl	$~0x800, %eax
	wrmsr
	FAULTS(PF_VECTOR, P | RSVD, movl PAGE(1), %eax)
	FAULTS(PF_VECTOR, P | RSVD | W, movl %eax, PAGE(1))
	movq	$0, PTE(2)
	movl	$1f, EXC_RESUME
	movl	$PAGE(2), %ebx
	jmp	*%rbx
1:	SAW(PF_VECTOR, 0, PAGE(2))
	PASS

TEST(reserved_bits, LONG, "a bit above MAXPHYADDR, or a large page's address bits, is RSVD"):
	WRONG(TCG, RSVD_NO_P)
	movl	$0x80000008, %eax
	cpuid
	cmpb	$51, %al
	ja	2f				/* no such bit on a machine with all 52 */
	btsq	$51, PTE(1)
	FAULTS(PF_VECTOR, P | RSVD, movl PAGE(1), %eax)
	IS64(PAGE(1), EXC_CR2)
2:	/* Bit 13 of a 2 MiB page's entry. */
	movq	$0x2083, pd64 + 8 * 7
	invlpg	7 << 21
	FAULTS(PF_VECTOR, P | RSVD | W, movl %eax, 7 << 21)
	/* PS in a PML4 entry. */
	movq	$pdpt + 0x87, pml4 + 8
	movabsq	$0x8000000000, %rbx
	FAULTS(PF_VECTOR, P | RSVD, movl (%rbx), %eax)
	PASS

TEST(smep, LONG, "SMEP: ring 0 fetching from a user page is #PF; without it runs"):
	NEEDS(SMEP)
	orq	$4, PTE(1)
	movb	$0xc3, PAGE(1)
	movl	$PAGE(1), %ebx
	call	*%rbx
	movq	%cr4, %rax
	btsq	$20, %rax
	movq	%rax, %cr4
	movl	$1f, EXC_RESUME
	call	*%rbx
	FAIL
1:	SAW(PF_VECTOR, P | I, PAGE(1))
	movq	%cr4, %rax
	btrq	$20, %rax
	movq	%rax, %cr4
	call	*%rbx
	PASS

TEST(smap, LONG, "SMAP: ring 0 at a user page is #PF unless RFLAGS.AC is set"):
	NEEDS(SMAP)
	orq	$4, PTE(1)
	movl	$0x77, PAGE(1)
	movq	%cr4, %rax
	btsq	$21, %rax
	movq	%rax, %cr4
	FAULTS(PF_VECTOR, P, movl PAGE(1), %eax)
	FAULTS(PF_VECTOR, P | W, movl %eax, PAGE(1))
	stac
	IS32(0x77, PAGE(1))
	movl	$0x78, PAGE(1)
	clac
	FAULTS(PF_VECTOR, P, movl PAGE(1), %eax)
	btrq	$21, %rax
	stac
	IS32(0x78, PAGE(1))
	PASS

TEST(smap_implicit, LONG, "SMAP: an implicit access, to the GDT, faults whatever AC says"):
	WRONG(TCG, "QEMU's TCG lets AC permit implicit accesses too")
	NEEDS(SMAP)
	movl	$gdt, %esi			/* SEL(0) on is in a user page, the rest before it */
	movl	$PAGE(1) - 0x80, %edi
	movl	$GDT_SIZE / 8, %ecx
	rep movsq
	movq	gdt + KDS, %rax
	movq	%rax, PAGE(1)
	lgdt	1f(%rip)
	movl	$SEL(0), %ebx
	movl	%ebx, %ds
	orq	$4, PTE(1)
	movq	%cr4, %rax
	btsq	$21, %rax
	movq	%rax, %cr4
	stac
	FAULTS(PF_VECTOR, P, movl %ebx, %ds)
	IS64(PAGE(1), EXC_CR2)
	PASS
1:	.word	GDT_SIZE - 1
	.quad	PAGE(1) - 0x80

TEST(stac_user, LONG, "STAC in ring 3 is #UD"):
	NEEDS(SMAP)
	USER64
1:	stac
	int	$RETURN_VECTOR
	MODE64
	RING3_64(1b)
	SAW(UD_VECTOR, 0, 1b)
	PASS

TEST(accessed_dirty, LONG, "reads set A, writes A and D, at each level A; nothing sets more"):
	movl	PAGE(1), %eax
	IS64(PAGE(1) + 0x23, PTE(1))
	movl	%eax, PAGE(2)
	IS64(PAGE(2) + 0x63, PTE(2))
	IS64(PAGE(3) + 0x03, PTE(3))
	movq	PDE, %rax
	andl	$0xfff, %eax
	andl	$~0x40, %eax			/* bit 6 is ignored in a directory entry */
	IS32(0x27, %eax)
	movl	%eax, PAGE(1)			/* D for a translation that was cached clean */
	IS64(PAGE(1) + 0x63, PTE(1))
	movl	SCRATCH, %eax			/* a 2 MiB page: A only */
	movq	pd64 + 8 * (SCRATCH >> 21), %rbx
	IS64(SCRATCH + 0xa3, %rbx)
	movl	%eax, SCRATCH
	movq	pd64 + 8 * (SCRATCH >> 21), %rbx
	IS64(SCRATCH + 0xe3, %rbx)
	PASS

TEST(dirty_not_on_fault, LONG, "a write that faults sets no D"):
	movq	$PAGE(1) + 1, PTE(1)
	FAULTS(PF_VECTOR, P | W, movl %eax, PAGE(1))
	testb	$0x40, PTE(1)
	jz	1f
	FAIL
1:	PASS

TEST(cmpxchg_writes, LONG, "a CMPXCHG that compares unequal still writes: #PF with W, D set"):
	movl	$5, PAGE(1)
	movl	$6, %eax
	movq	$PAGE(1) + 1, PTE(1)
	invlpg	PAGE(1)
	FAULTS(PF_VECTOR, P | W, lock cmpxchgl %ecx, PAGE(1))
	movl	$5, PAGE(2)
	movq	$PAGE(2) + 3, PTE(2)
	invlpg	PAGE(2)
	lock cmpxchgl %ecx, PAGE(2)
	jne	1f
	FAIL
1:	IS64(PAGE(2) + 0x63, PTE(2))
	PASS

TEST(crossing_write, LONG, "a write across into an absent page: CR2 is the second page, nothing is written"):
	WRONG(PARAVIRT, "its emulator writes the first page before it looks at the second")
	movq	$-1, %rax
	movq	$0, PAGE(1) + 0xff8
	movq	$0, PTE(2)
	FAULTS(PF_VECTOR, W, movq %rax, PAGE(1) + 0xffd)
	IS64(PAGE(2), EXC_CR2)
	IS64(0, PAGE(1) + 0xff8)
	FAULTS(PF_VECTOR, 0, movq PAGE(1) + 0xfff, %rax)
	IS64(PAGE(2), EXC_CR2)
	movq	$0, PTE(1)			/* with both absent, the first counts */
	invlpg	PAGE(1)
	FAULTS(PF_VECTOR, W, movq %rax, PAGE(1) + 0xffd)
	IS64(PAGE(1) + 0xffd, EXC_CR2)
	PASS

TEST(crossing_data, LONG, "an access across two pages that are apart in memory"):
	movq	$PAGE(5) + 3, PTE(2)
	invlpg	PAGE(2)
	movl	$0x44332211, %eax
	movl	%eax, PAGE(1) + 0xffe
	IS16(0x2211, PAGE(1) + 0xffe)
	IS16(0x4433, PAGE(5))
	IS32(0x44332211, PAGE(1) + 0xffe)
	lock addl $0x01010101, PAGE(1) + 0xffe
	IS32(0x45342312, PAGE(1) + 0xffe)
	PASS

TEST(crossing_fetch, LONG, "an instruction across into an absent page: CR2 the second, RIP its first byte"):
	movb	$0xb8, PAGE(1) + 0xffe		/* mov $imm32, %eax */
	movl	$PAGE(1) + 0xffe, %ebx
	movq	$0, PTE(2)
	movl	$1f, EXC_RESUME
	jmp	*%rbx
1:	IS32(PF_VECTOR, EXC_VECTOR)
	IS64(PAGE(1) + 0xffe, EXC_RIP)
	IS64(PAGE(2), EXC_CR2)
	PASS

TEST(crossing_code, LONG, "an instruction across two pages that are apart in memory"):
	movq	$PAGE(5) + 3, PTE(2)
	invlpg	PAGE(2)
	movl	$0x2211b8, PAGE(1) + 0xffd	/* mov $0x44332211, %eax; ret */
	movl	$0xc34433, PAGE(5)
	movl	$PAGE(1) + 0xffd, %ebx
	call	*%rbx
	IS32(0x44332211, %eax)
	PASS

TEST(alias, LONG, "two addresses of one page: a write through one shows through the other"):
	movq	$PAGE(1) + 3, PTE(2)
	invlpg	PAGE(2)
	movl	$0x1111, PAGE(1)
	IS32(0x1111, PAGE(2))
	movl	$0x2222, PAGE(2)
	IS32(0x2222, PAGE(1))
	PASS

TEST(page_1g, LONG, "a 1 GiB page"):
	WRONG(TCG, RSVD_NO_P)
	NEEDS(GBPAGES)
	movq	$0x83, pdpt + 8 * 4
	movabsq	$0x100000000 + SCRATCH + 0x123, %rbx
	movl	$0xabcd, (%rbx)
	IS32(0xabcd, SCRATCH + 0x123)
	IS64(0xe3, pdpt + 8 * 4)
	/* Its reserved address bits. */
	movq	$0x2083, pdpt + 8 * 5
	movabsq	$0x140000000, %rbx
	FAULTS(PF_VECTOR, P | RSVD, movl (%rbx), %eax)
	PASS

TEST(high_half, LONG, "the last page below 2^64, and wrapping around to 0"):
	movq	$pdpt + 7, pml4 + 8 * 511
	movq	$pd64 + 7, pdpt + 8 * 511	/* the top GiB is the bottom one again */
	movq	$SCRATCH + 0x83, pd64 + 8 * 511
	movl	$0x12345678, -0x1000
	IS32(0x12345678, SCRATCH + 0x1ff000)
	movl	$0x88776655, SCRATCH + 0x1ffffc
	movl	$0x44332211, 0
	movq	$-4, %rbx
	movq	(%rbx), %rax
	IS64(0x4433221188776655, %rax)
	PASS

TEST(invlpg, LONG, "a changed entry holds from INVLPG on, and from a CR3 load on"):
	movl	$0x11, PAGE(1)
	movl	$0x22, PAGE(2)
	movl	$0x33, PAGE(3)
	movq	$PAGE(2) + 3, PTE(1)
	invlpg	PAGE(1) + 0x800
	IS32(0x22, PAGE(1))
	movq	$PAGE(3) + 3, PTE(1)
	movq	%cr3, %rax
	movq	%rax, %cr3
	IS32(0x33, PAGE(1))
	PASS

TEST(invlpg_large, LONG, "INVLPG anywhere in a 2 MiB page drops all of it"):
	movl	$0x11, SCRATCH + 0x1000
	movl	$0x22, 7 << 21
	movl	$0x33, (7 << 21) + 0x1000
	movl	SCRATCH, %eax
	movl	SCRATCH + 0x1ff000, %eax
	movq	$(7 << 21) + 0x83, pd64 + 8 * (SCRATCH >> 21)
	invlpg	SCRATCH + 0x54321
	IS32(0x22, SCRATCH)
	IS32(0x33, SCRATCH + 0x1000)
	PASS

TEST(present_uncached, LONG, "an entry made present needs no INVLPG"):
	movl	$0x55, PAGE(1)
	movq	$0, PTE(1)
	invlpg	PAGE(1)
	FAULTS(PF_VECTOR, 0, movl PAGE(1), %eax)
	movq	$PAGE(1) + 3, PTE(1)
	IS32(0x55, PAGE(1))
	PASS

TEST(split_page, LONG, "a 2 MiB page replaced by a table of 4 KiB pages, and back"):
	movl	$0x11, SCRATCH
	movl	$0x22, SCRATCH + 0x1000
	movl	SCRATCH + 0x2000, %eax
	movl	$0x33, PAGE(1)
	movq	$pt64 + 7, pd64 + 8 * (SCRATCH >> 21)
	movq	%cr3, %rax
	movq	%rax, %cr3
	IS32(0x33, SCRATCH + 0x1000)
	movq	$SCRATCH + 0x83, pd64 + 8 * (SCRATCH >> 21)
	movq	%rax, %cr3
	IS32(0x11, SCRATCH)
	IS32(0x22, SCRATCH + 0x1000)
	PASS

TEST(global, LONG, "a global page: INVLPG drops it, and so does a change of CR4.PGE"):
	movl	$0x11, PAGE(1)
	movl	$0x22, PAGE(2)
	movl	$0x33, PAGE(3)
	movq	%cr4, %rax
	orl	$0x80, %eax
	movq	%rax, %cr4
	movq	$PAGE(1) + 0x103, PTE(1)
	invlpg	PAGE(1)
	IS32(0x11, PAGE(1))
	movq	$PAGE(2) + 0x103, PTE(1)
	invlpg	PAGE(1)
	IS32(0x22, PAGE(1))
	movq	$PAGE(3) + 0x103, PTE(1)
	andl	$~0x80, %eax
	movq	%rax, %cr4
	IS32(0x33, PAGE(1))
	PASS

TEST(wp_toggle_cached, LONG, "CR0.WP takes effect on translations that are cached"):
	movq	$PAGE(1) + 1, PTE(1)
	movq	%cr0, %rax
	btrq	$16, %rax
	movq	%rax, %cr0
	movl	$1, PAGE(1)
	movl	$2, PAGE(1)
	btsq	$16, %rax
	movq	%rax, %cr0
	FAULTS(PF_VECTOR, P | W, movl %eax, PAGE(1))
	btrq	$16, %rax
	movq	%rax, %cr0
	movl	$3, PAGE(1)
	IS32(3, PAGE(1))
	PASS

TEST(cr3_switch, LONG, "two address spaces: a CR3 load switches what an address means"):
	/* The second space: a PML4, PDPT and PD of its own in SCRATCH, the same but for PAGE(1). */
	movl	$pd64, %esi
	movl	$SCRATCH, %edi
	movl	$512, %ecx
	rep movsq
	movq	$7 << 21 | 0x83, SCRATCH + 8 * (WINDOW >> 21)
	movq	$SCRATCH + 7, SCRATCH + 0x1000
	movq	$SCRATCH + 0x1000 + 7, SCRATCH + 0x2000
	movl	$0x11, PAGE(1)
	movl	$0x22, (7 << 21) + 0x1000
	movq	%cr3, %rbx
	movl	$SCRATCH + 0x2000, %edx
	movl	$100, %ecx
1:	movq	%rdx, %cr3
	cmpl	$0x22, PAGE(1)
	jne	2f
	movq	%rbx, %cr3
	cmpl	$0x11, PAGE(1)
	jne	2f
	decl	%ecx
	jnz	1b
	PASS
2:	FAIL

/* PAGE(1) and PAGE(2) as code: MOV EAX, 1 or 2; RET. RBX: the first. */
.macro two_functions
	movl	$0x000001b8, PAGE(1)
	movw	$0xc300, PAGE(1) + 4
	movl	$0x000002b8, PAGE(2)
	movw	$0xc300, PAGE(2) + 4
	movl	$PAGE(1), %ebx
.endm

TEST(code_remapped, LONG, "a call to a page that was mapped elsewhere goes there after CR3's reload"):
	two_functions
	movq	%cr3, %rdx
	movl	$100, %ecx			/* often enough to be translated */
1:	movq	$PAGE(1) + 3, PTE(1)
	movq	%rdx, %cr3
	pushq	%rax		/* the stack is in the TLB again */
	popq	%rax
	call	*%rbx
	cmpl	$1, %eax
	jne	2f
	movq	$PAGE(2) + 3, PTE(1)
	movq	%rdx, %cr3
	pushq	%rax		/* the stack is in the TLB again */
	popq	%rax
	call	*%rbx
	cmpl	$2, %eax
	jne	2f
	decl	%ecx
	jnz	1b
	PASS
2:	FAIL

TEST(code_invlpg, LONG, "the same after INVLPG, for a call and a jump"):
	two_functions
	movl	$100, %ecx
1:	movq	$PAGE(1) + 3, PTE(1)
	invlpg	(%rbx)
	call	PAGE(1)
	cmpl	$1, %eax
	jne	2f
	movq	$PAGE(2) + 3, PTE(1)
	invlpg	(%rbx)
	pushq	$3f
	jmp	PAGE(1)
3:
	cmpl	$2, %eax
	jne	2f
	decl	%ecx
	jnz	1b
	PASS
2:	FAIL

TEST(pcid, LONG, "PCIDs: kept across CR3 loads with bit 63, dropped without"):
	NEEDS(PCID)
	movq	%cr4, %rax
	btsq	$17, %rax
	movq	%rax, %cr4
	movl	$0x11, PAGE(1)
	movl	$0x22, PAGE(2)
	movl	$pml4 + 1, %ebx
	movq	%rbx, %cr3
	IS32(0x11, PAGE(1))
	movl	$pml4 + 2, %edx
	movq	%rdx, %cr3
	movq	$PAGE(2) + 3, PTE(1)
	/* PCID 1 may still have the old page; a load without bit 63 drops it. */
	movq	%rbx, %cr3
	IS32(0x22, PAGE(1))
	btsq	$63, %rbx
	movq	%rbx, %cr3
	IS32(0x22, PAGE(1))
	movq	%cr3, %rax
	IS64(pml4 + 1, %rax)
	PASS

TEST(pcid_enable, LONG, "CR4.PCIDE needs long mode and CR3[11:0] zero; PG cannot go while it is on"):
	NEEDS(PCID)
	movl	$pml4 + 8, %ebx
	movq	%rbx, %cr3
	movq	%cr4, %rax
	btsq	$17, %rax
	FAULTS(GP_VECTOR, 0, movq %rax, %cr4)
	movl	$pml4, %ebx
	movq	%rbx, %cr3
	movq	%rax, %cr4
	btsq	$63, %rbx
	movq	%rbx, %cr3
	movq	%cr3, %rax
	IS64(pml4, %rax)
	PASS

TEST(invpcid, LONG, "INVPCID: each type drops its translations; a bad type or PCID is #GP(0)"):
	NEEDS(PCID)
	NEEDS(INVPCID)
	movq	%cr4, %rax
	btsq	$17, %rax
	movq	%rax, %cr4
	movl	$pml4 + 1, %ebx
	movq	%rbx, %cr3
	movl	$0x11, PAGE(1)
	movl	$0x22, PAGE(2)
	movq	$1, SCRATCH			/* the descriptor: PCID, address */
	movq	$PAGE(1), SCRATCH + 8
	xorl	%ecx, %ecx
1:	movq	$PAGE(1) + 3, PTE(1)
	invlpg	PAGE(1)
	IS32(0x11, PAGE(1))
	movq	$PAGE(2) + 3, PTE(1)
	invpcid	SCRATCH, %rcx
	IS32(0x22, PAGE(1))
	incl	%ecx
	cmpl	$4, %ecx
	jne	1b
	FAULTS(GP_VECTOR, 0, invpcid SCRATCH, %rcx)
	movq	$0x1000, SCRATCH
	xorl	%ecx, %ecx
	FAULTS(GP_VECTOR, 0, invpcid SCRATCH, %rcx)
	movq	$1, SCRATCH
	btsq	$63, SCRATCH + 8
	FAULTS(GP_VECTOR, 0, invpcid SCRATCH, %rcx)
	PASS

TEST(invpcid_user, LONG, "INVPCID in ring 3 is #GP(0)"):
	NEEDS(INVPCID)
	USER64
1:	invpcid	(%rsp), %rax
	MODE64
	RING3_64(1b)
	SAW(GP_VECTOR, 0, 1b)
	PASS

TEST(rep_movs, LONG, "REP MOVSB into an absent page stops there, to go on once it is present"):
	movl	$SCRATCH, %esi
	movl	$PAGE(1) + 0xff0, %edi
	movl	$0x20, %ecx
	movb	$0x5a, SCRATCH + 0x1f
	movq	$0, PTE(2)
	FAULTS(PF_VECTOR, W, rep movsb)
	IS32(0x10, %ecx)
	IS32(SCRATCH + 0x10, %esi)
	IS32(PAGE(2), %edi)
	IS64(PAGE(2), EXC_CR2)
	movq	$PAGE(2) + 3, PTE(2)
	rep movsb
	IS8(0x5a, PAGE(2) + 0xf)
	IS32(0, %ecx)
	PASS

TEST(push_fault, LONG, "a PUSH that faults leaves RSP as it was"):
	USER64
1:	pushq	%rax
	int	$RETURN_VECTOR
2:	call	1b
	MODE64
	orq	$4, PTE(1)
	movq	$0, PTE(0)
	movq	%rsp, EXC_KSTACK
	movl	$3f, EXC_RESUME
	pushq	$(UDS | 3)
	pushq	$PAGE(1)
	pushq	$0x3002
	pushq	$(UCS64 | 3)
	pushq	$1b
	iretq
3:	SAW(PF_VECTOR, W | U, 1b)
	IS64(PAGE(1), EXC_RSP)
	IS64(PAGE(1) - 8, EXC_CR2)
	movl	$3f, EXC_RESUME
	pushq	$(UDS | 3)
	pushq	$PAGE(1) + 4
	pushq	$0x3002
	pushq	$(UCS64 | 3)
	pushq	$2b
	iretq
3:	SAW(PF_VECTOR, W | U, 2b)
	IS64(PAGE(1) + 4, EXC_RSP)
	PASS

TEST(descriptor_fault, LONG, "a segment load whose descriptor's page is absent: #PF, a supervisor read"):
	USER64
1:	movl	$SEL(0) | 3, %eax
2:	movl	%eax, %ds
	int	$RETURN_VECTOR
	MODE64
	movl	$gdt, %esi
	movl	$PAGE(1) - 0x80, %edi
	movl	$GDT_SIZE / 8, %ecx
	rep movsq
	lgdt	3f(%rip)
	movq	$0, PTE(1)
	invlpg	PAGE(1)
	RING3_64(1b)
	SAW(PF_VECTOR, 0, 2b)
	IS64(PAGE(1), EXC_CR2)
	PASS
3:	.word	GDT_SIZE - 1
	.quad	PAGE(1) - 0x80

TEST(idt_fault, LONG, "a gate whose page is absent: #PF on the INT itself"):
	WRONG(PARAVIRT, NOT_EMULATED("INT outside real mode"))
	movl	$idt64, %esi			/* vector 128 on is in PAGE(1) */
	movl	$PAGE(0) + 0x800, %edi
	movl	$512, %ecx
	rep movsq
	lidt	1f(%rip)
	movq	$0, PTE(1)
	invlpg	PAGE(1)
	FAULTS(PF_VECTOR, 0, int $0x81)
	IS64(PAGE(1) + 0x10, EXC_CR2)
	PASS
1:	.word	256 * 16 - 1
	.quad	PAGE(0) + 0x800

TEST(pae_not_present, PAE, "PAE: absent and read-only pages, error codes and CR2"):
	WRONG(PARAVIRT, NO_PAE)
	movl	$0, PTE(1)
	FAULTS(PF_VECTOR, 0, movl PAGE(1) + 4, %eax)
	IS32(PAGE(1) + 4, EXC_CR2)
	movl	$PAGE(2) + 1, PTE(2)
	FAULTS(PF_VECTOR, P | W, movl %eax, PAGE(2))
	PASS

TEST(pae_nx, PAE, "PAE: no-execute"):
	NEEDS(NX)
	WRONG(PARAVIRT, NO_PAE)
	movb	$0xc3, PAGE(1)
	movl	$PAGE(1), %ebx
	call	*%ebx
	movl	$0x80000000, PTE(1) + 4
	invlpg	PAGE(1)
	movl	$1f, EXC_RESUME
	call	*%ebx
	FAIL
1:	SAW(PF_VECTOR, P | I, PAGE(1))
	PASS

TEST(pae_pdpte, PAE, "PAE: a PDPTE not present is #PF for its GiB"):
	WRONG(PARAVIRT, NO_PAE)
	movl	$0, pdptae + 8 * 2
	movl	%cr3, %eax
	movl	%eax, %cr3
	movl	$0x80001234, %ebx
	FAULTS(PF_VECTOR, 0, movl (%ebx), %eax)
	IS32(0x80001234, EXC_CR2)
	PASS

TEST(pae_user, PAE, "PAE: ring 3 at a supervisor page"):
	WRONG(PARAVIRT, NO_PAE)
	USER32
1:	movl	%eax, %ss:PAGE(1)		/* the IRET has emptied DS */
	MODE32
	RING3_32(1b)
	SAW(PF_VECTOR, P | W | U, 1b)
	PASS

TEST(pg32_not_present, PG32, "2-level: absent and read-only pages, error codes and CR2"):
	WRONG(PARAVIRT, NO_PG32)
	movl	$0, PTE32(1)
	FAULTS(PF_VECTOR, 0, movl PAGE(1) + 4, %eax)
	IS32(PAGE(1) + 4, EXC_CR2)
	movl	$PAGE(2) + 1, PTE32(2)
	FAULTS(PF_VECTOR, P | W, movl %eax, PAGE(2))
	movl	$0, pd32 + 4 * 0x300
	movl	$0xc0000000, %ebx
	FAULTS(PF_VECTOR, W, movl %eax, (%ebx))
	PASS

TEST(pg32_accessed_dirty, PG32, "2-level: A and D in 4 KiB and 4 MiB entries"):
	WRONG(PARAVIRT, NO_PG32)
	movl	PAGE(1), %eax
	IS32(PAGE(1) + 0x23, PTE32(1))
	movl	%eax, PAGE(1)
	IS32(PAGE(1) + 0x63, PTE32(1))
	movl	SCRATCH, %eax
	IS32(SCRATCH + 0xa3, pd32 + 4 * (SCRATCH >> 22))
	movl	%eax, SCRATCH
	IS32(SCRATCH + 0xe3, pd32 + 4 * (SCRATCH >> 22))
	PASS

TEST(pg32_user, PG32, "2-level: ring 3 at a supervisor page, and running in its own"):
	WRONG(PARAVIRT, NO_PG32)
	USER32
1:	pushl	$0x1234
	popl	%ecx
2:	movl	%ss:PAGE(1), %eax		/* the IRET has emptied DS */
	MODE32
	RING3_32(1b)
	SAW(PF_VECTOR, P | U, 2b)
	IS32(0x1234, %ecx)
	IS32(USER_STACK, EXC_RSP)
	PASS

TEST(pg32_no_pse, PG32, "2-level: with CR4.PSE clear a directory entry's bit 7 means nothing"):
	WRONG(PARAVIRT, NO_PG32)
	/* Table entries for all that is used with PSE off: the first 4 MiB and the WINDOW. */
	movl	$SCRATCH, %edi
	movl	$3, %eax
	movl	$1024, %ecx
1:	stosl
	addl	$0x1000, %eax
	loop	1b
	movl	$0x77, PAGE(3) + 0x10
	movl	$SCRATCH + 3, pd32
	movl	%cr4, %eax
	andl	$~0x10, %eax
	movl	%eax, %cr4
	movl	$pt32 + 0x87, PDE32
	movl	%cr3, %eax
	movl	%eax, %cr3
	IS32(0x77, PAGE(3) + 0x10)
	PASS
