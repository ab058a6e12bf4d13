/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of one x86 processor: what the manuals call its registers, the software TLB, and what is
 * under way (a fault, an MMIO access that the VMM has to answer). Hot fields first.
 */
#ifndef KVM_X86_CPU_H
#define KVM_X86_CPU_H

#include <linux/kvm.h>

#include "kvm/os/os.h"
#include "kvm/x86/defs.h"
#include "kvm/x86/insn.h"

struct kvm;
struct kvm_hv_vcpu;
struct kvm_vcpu;
struct x86_lapic;
struct jit_target;
struct soft_block;

/* General registers by encoding; then two pseudo-registers that make addresses uniform. */
enum {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_REG_ZERO,		/* always 0 */
	X86_REG_RIP,		/* c->rip lives here */
	X86_NR_REGS,
};

/* Segment registers by encoding. FLAT: base 0, no limit: what a 64-bit address without FS or GS uses. */
enum {
	X86_SEG_ES, X86_SEG_CS, X86_SEG_SS, X86_SEG_DS, X86_SEG_FS, X86_SEG_GS,
	X86_SEG_TR, X86_SEG_LDTR, X86_SEG_FLAT, X86_NR_SEGS,
};

/* Segment attributes: bits 8-15 and 20-23 of a descriptor's second word, moved down. */
#define X86_SEG_TYPE	0x000f
#define X86_SEG_S	0x0010		/* code or data, not system */
#define X86_SEG_DPL(a)	(((a) >> 5) & 3)
#define X86_SEG_P	0x0080
#define X86_SEG_AVL	0x1000
#define X86_SEG_L	0x2000
#define X86_SEG_DB	0x4000
#define X86_SEG_G	0x8000
#define X86_SEG_UNUSABLE 0x10000	/* a null selector was loaded, or none */

struct x86_segment {
	u64 base;
	u32 limit;			/* bytes, scaled */
	u32 attr;
	u16 sel;
};

struct x86_table { u64 base; u16 limit; };	/* GDTR, IDTR */

/*
 * A software TLB entry: linear page to host page. A tag is the page's address with, in its low 12
 * bits, the number of the address space it belongs to; no access is allowed where the tag is ~0.
 */
struct x86_tlb_entry {
	u64 rd, wr, ex;			/* tags by kind of access */
	u64 addend;			/* host address minus linear address */
};

#define X86_TLB_BITS	12
#define X86_TLB_SIZE	(1u << X86_TLB_BITS)
/* Access modes, a table each: user, supervisor (SMAP off or AC set), supervisor under SMAP. */
enum { X86_TLB_USER, X86_TLB_SUPER, X86_TLB_SMAP, X86_NR_TLBS };

/* An exception that an instruction raised; also how the VMM injects one. */
struct x86_fault {
	u8 vector;
	bool has_error;
	u32 error;
	u64 payload;			/* CR2 for #PF, DR6 bits for #DB */
	bool noncanonical;		/* #GP for the form of an address: #SS where it is the stack's */
};

/*
 * Accesses to devices by the instruction at hand, and what else the VMM is asked on its behalf. Reads already
 * answered are replayed when the instruction runs again; writes go to the VMM after it is done.
 */
#define X86_IO_FRAGMENTS	8
/* Where the answer that the VMM owes will be in kvm_run; it becomes reads[nr_reads]. */
enum x86_io_wait { X86_WAIT_NONE, X86_WAIT_MMIO, X86_WAIT_PIO, X86_WAIT_MSR, X86_WAIT_HYPERCALL,
		   X86_WAIT_HV_HYPERCALL };
struct x86_io_fragment {
	u64 addr;
	u8 len;
	bool refused;			/* an MSR: #GP instead of a value */
	u8 data[8];
};
struct x86_io {
	u8 nr_reads, next_read;
	u8 nr_writes, next_write;
	u8 wait;			/* enum x86_io_wait */
	u32 pio_count;			/* elements that X86_WAIT_PIO asks for: more than one for REP INS */
	struct x86_io_fragment reads[X86_IO_FRAGMENTS];
	struct x86_io_fragment writes[X86_IO_FRAGMENTS];
};

union x86_vec {
	u8 b[32];
	u64 q[4];
};

/* x87, MMX and SSE state as FXSAVE lays it out (SDM volume 1, 10.5.1), then the high halves. */
struct x86_fpu {
	u8 fx[512] __attribute__((aligned(64)));	/* FCW, FSW, FTW (abridged), FOP, FIP, FDP, MXCSR, ST0-7; its XMM
							 * slots are not used: ymm[] holds the registers */
	union x86_vec ymm[16];
	u64 xcr0;
	u64 xss;
	u32 mxcsr_mask;			/* bits that MXCSR may have: the host's */
	u16 fcs, fds;			/* selectors of the last x87 instruction and its operand */
	u8 deny;			/* X86_DENY_*: x86_fpu_update_mode (xstate.h) keeps it */
	/* While guest code runs, the processor may keep some of the state in the host's own registers;
	 * what is here is then stale. See cpu/soft/vector.h; all clear outside of run(). */
	bool lazy, x87_live, mxcsr_live;
	u8 x87_stop;			/* X86_X87_STOP_*; 0: translated code may use the unit as it is */
	u32 host_mxcsr;
	/* The last x87 instruction of translated code: FOP, X86_X87_LAST, its offset in the page at linear
	 * address x87_page. 0: fx has it. */
	u32 x87_last;
	u64 x87_page;
};

/* Units that would fault now: a test of this byte stands for all of CR0, CR4 and XCR0. */
#define X86_DENY_X87		BIT(0)	/* x87: CR0.EM or TS (#NM) */
#define X86_DENY_MMX		BIT(1)	/* CR0.EM (#UD), TS */
#define X86_DENY_SSE		BIT(2)	/* CR0.EM, CR4.OSFXSR (#UD), TS */
#define X86_DENY_AVX		BIT(3)	/* real mode, vm86, CR4.OSXSAVE, XCR0 (#UD), TS */

/* Why x87 and MMX instructions are not to be run unasked. */
#define X86_X87_STOP_UNIT	BIT(0)	/* not x87_live, or an exception is not masked */
#define X86_X87_STOP_DENIED	BIT(1)	/* X86_DENY_X87 */
#define X86_X87_LAST		BIT(15)

/* Bits of c->attention: leave guest code at the next block. */
#define X86_ATTN_KICK		BIT(0)	/* another thread: requests, immediate_exit */
#define X86_ATTN_EVENT		BIT(1)	/* this thread: an event may have become deliverable */

struct x86_cpu {
	u64 regs[X86_NR_REGS];
	u64 rflags;			/* all bits as architectural; bit 1 set */
	u32 attention;			/* polled before each block */
	u32 cpl;
	u32 mode;			/* X86_MODE_16/32/64 of CS */
	u32 seg_check;			/* bit s set: an access through segment s must check limit and rights */
	u64 lin_mask;			/* ~0 in 64-bit mode, else 0xffffffff */
	u64 tlb_ctx[2];			/* address space number by bit 63 of the address */
	struct x86_tlb_entry *tlb;	/* the table of the current access mode */
	struct x86_jit {		/* the translator's, while its code runs: cpu/soft/jit. The first ones are in its reach
					 * with short displacements */
		u64 page;		/* linear address of the page that the code is from */
		u32 flags;		/* arithmetic flags: SF, ZF, AF, PF, CF in bits 15:8, OF in bit 0 */
		u32 at;			/* where the edge leads in the page; */
		/* Where code is, as far as translated code has looked it up, holds as long as the key does: see
		 * x86_code_moved. 0: it holds no longer. */
		u64 key;
		/*
		 * The page that the stack is in, writable, as long as the TLB would say so too: see x86_stack_moved.
		 * room: how far into the page an access of up to 8, 64, 512 bytes may begin, plus 1; 0: no
		 * such page is known.
		 */
		u64 stack_page, stack_addend;	/* linear address; host minus linear */
		u64 stack_room[3];
		/* The host's stack pointer with no guest call on it, and with as many as may be. */
		u64 host_sp, host_sp_limit;
		u64 generation;
		u64 *pages;		/* a bit for each linear page, by hash, that was looked up: X86_CODE_PAGES */
		struct jit_target *targets;
		u64 *ways;		/* keys of branches to other pages */
		u64 addend[4];		/* host minus linear address, of accesses that were looked up together */
		u64 tmp[3];
		u32 edge;		/* where in code memory it leaves, */
		u32 block;		/* and from which block: its place in the arena */
	} jit;
	struct x86_segment seg[X86_NR_SEGS];
	bool careful;			/* running one instruction with all checks: MMIO, ports, stepping */
	bool watch;			/* breakpoints or the VMM's single step: every instruction carefully */
	bool no_trap;			/* the instruction at hand takes no single-step trap: INT n, SYSCALL clearing TF */
	u8 int_shadow;			/* X86_SHADOW_*: no interrupts before the next instruction is done */
	bool event_waiting;		/* an event waits for RFLAGS.IF: who sets IF sets ATTN_EVENT */
	bool halted;			/* HLT was executed; the core decides what that means */
	bool exit_user;			/* with X86_DONE: run->exit_reason is set, back to the VMM */
	int run_error;			/* with X86_EXIT: KVM_RUN's -errno; 0: run->exit_reason is set */
	const u8 *stop;			/* run->immediate_exit, polled before each block */

	struct x86_fault fault;		/* valid after X86_FAULT */
	u32 spins;			/* PAUSEs executed */
	u64 fault_rip;			/* RIP of the instruction that is being run carefully */

	u64 cr0, cr2, cr3, cr4, cr8, efer;
	u64 dr[4], dr6, dr7;
	struct x86_table gdt, idt;
	u64 apic_base;
	u64 star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, debugctl, misc_enable;
	u64 tsc_offset;			/* guest TSC = host TSC scaled + offset */
	u64 tsc_adjust;
	u32 tsc_khz;			/* of the guest */
	u64 smbase, smi_count;		/* system management mode: smm.c */
	u64 tsc_ratio;			/* 32.32; 1 << 32: as the host */

	struct x86_fpu fpu;
	struct x86_io io;

	/* Events: SDM volume 3, 6; KVM_GET_VCPU_EVENTS. */
	struct {
		bool exception_pending;		/* fault to deliver before the next instruction */
		struct x86_fault exception;
		bool interrupt_injected;	/* KVM_INTERRUPT, or taken from a chip and not yet delivered */
		u8 interrupt_vector;
		bool interrupt_soft;
		u32 nmi_queued;			/* sent by other threads; x86_queue_nmi */
		u8 nmi_pending;			/* to be taken; v's thread's */
		bool nmi_masked;
		bool smi_pending;		/* to be taken */
		bool smm, smm_inside_nmi;	/* in system management mode; and NMIs were masked before */
		bool triple_fault, shutdown;	/* the second: by exceptions, not because something asked for it */
		bool init_pending, sipi_pending;
		u8 sipi_vector;
		bool extint_pending;		/* split irqchip: KVM_INTERRUPT's vector, for LINT0 */
		u8 extint_vector;
		u8 eoi_vector;			/* split irqchip: of KVM_REQ_IOAPIC_EOI_EXIT */
		u32 apic_errors;		/* local APIC errors since the last write to ESR */
		bool tpr_access_write;		/* of KVM_REQ_TPR_ACCESS: KVM_TPR_ACCESS_REPORTING */
		u64 tpr_access_rip;
		bool pv_unhalted;		/* KVM_HC_KICK_CPU: the next HLT ends at once */
	} ev;
	u32 mp_state;			/* KVM_MP_STATE_* */

	struct {
		u32 control;		/* KVM_GUESTDBG_* */
		u64 dr[4], dr7;
		u64 hit;		/* DR6 bits of data and I/O breakpoints that the instruction at hand met */
	} debug;

	u32 features[X86_NR_FEATURE_WORDS];	/* from the guest's CPUID */
	struct kvm_cpuid_entry2 *cpuid;
	u32 nr_cpuid;
	u32 kvm_cpuid;			/* KVM's first leaf in it; 0: it has none */
	u8 phys_bits;			/* MAXPHYADDR */
	u8 vendor;			/* X86_VENDOR_*, from leaf 0: where Intel's and AMD's manuals differ */

	struct x86_tlb_entry *tlbs[X86_NR_TLBS];
	struct x86_mmu *mmu;		/* the MMU's cold part: mmu.c */
	bool show_events;		/* tell of what goes through the IDT: os_show */
	u64 tlb_misses;			/* how often the software TLB had to be filled */
	struct x86_lapic *lapic;	/* NULL: no in-kernel local APIC */
	struct x86_pv *pv;		/* kvmclock, steal time, PV EOI: pv.c */
	struct kvm_hv_vcpu *hv;		/* Hyper-V's interfaces: hyperv.h */
	struct x86_msrs *msrs;		/* the cold MSRs, MTRRs and machine check banks included: msr.c */
	struct x86_decoder *decoder;	/* the VM's */
	void *soft;			/* the software processor's own */
	struct soft_vector *vector;	/* the software processor's x87 and vector unit, the VM's: cpu/soft/vector.h */
	struct kvm_vcpu *vcpu;
};

/* Linear pages of code, by the lower bits of their number. */
#define X86_CODE_PAGES	32768

/* Code may be somewhere else, or be another, from now on. Changes of the context or the access mode count too. */
static inline void x86_code_moved(struct x86_cpu *c)
{
	c->jit.generation++;
	c->jit.key = 0;
}

/* The TLB may not say any more what it said of the stack's page, or say it for another access mode. */
static inline void x86_stack_moved(struct x86_cpu *c)
{
	c->jit.stack_room[0] = c->jit.stack_room[1] = c->jit.stack_room[2] = 0;
}

#define c_rip(c)	((c)->regs[X86_REG_RIP])

#define X86_SHADOW_STI		1
#define X86_SHADOW_MOV_SS	2

enum { X86_VENDOR_INTEL, X86_VENDOR_AMD };	/* AMD: Hygon too; INTEL: everybody else */

static inline bool x86_has(const struct x86_cpu *c, u32 feature)
{
	return c->features[feature / 32] & BIT(feature % 32);
}
static inline bool x86_protected(const struct x86_cpu *c)
{
	return c->cr0 & X86_CR0_PE;
}
static inline bool x86_vm86(const struct x86_cpu *c)
{
	return c->rflags & X86_RFLAGS_VM;
}
static inline bool x86_long_mode(const struct x86_cpu *c)	/* 64-bit or compatibility */
{
	return c->efer & X86_EFER_LMA;
}

/* ---- raising: fill c->fault, return X86_FAULT ---- */
static inline int x86_raise(struct x86_cpu *c, u8 vector)
{
	c->fault = (struct x86_fault){ .vector = vector };
	return X86_FAULT;
}
static inline int x86_raise_err(struct x86_cpu *c, u8 vector, u32 error)
{
	c->fault = (struct x86_fault){ .vector = vector, .has_error = true, .error = error };
	return X86_FAULT;
}
static inline int x86_raise_noncanonical(struct x86_cpu *c)
{
	c->fault = (struct x86_fault){ .vector = X86_GP, .has_error = true, .noncanonical = true };
	return X86_FAULT;
}
static inline int x86_raise_pf(struct x86_cpu *c, u64 lin, u32 error)
{
	c->fault = (struct x86_fault){
		.vector = X86_PF, .has_error = true, .error = error, .payload = lin };
	return X86_FAULT;
}

/* ---- exception.c: interrupts and exceptions through the IDT (SDM volume 3, 6; APM volume 2, 8) ---- */

/* Delivers c->fault at RIP, with the rules for contributory and double faults.
 * 0; X86_EXIT after a triple fault (shutdown: ev.triple_fault is set), or where tables or stack are no
 * memory (run->exit_reason or run_error is set). A trap of a task switch may be left in ev.exception. */
int x86_deliver_fault(struct x86_cpu *c);
/* External interrupt or NMI through vector. 0, or X86_EXIT after a triple fault. */
int x86_deliver_interrupt(struct x86_cpu *c, u8 vector);
/* INT n, INT3, INTO, ICEBP: the handler's own; c_rip is behind the instruction. enum x86_result. */
enum { X86_INT_N, X86_INT_3, X86_INT_O, X86_INT_1 };
int x86_software_interrupt(struct x86_cpu *c, u8 vector, int kind);

/* ---- segment.c ---- */
/* Recomputes cpl, mode, seg_check, lin_mask, the TLB's access mode: after any change of CS, SS, other
 * segments, CR0, EFER, RFLAGS.VM, RFLAGS.AC, CR4. Cheap. */
void x86_update_mode(struct x86_cpu *c);
/* Loads a segment register from a selector, with all checks (not CS). enum x86_result. */
int x86_load_segment(struct x86_cpu *c, int seg, u16 sel);

/* ---- control.c: control registers and mode switches, with the checks and the flushes ---- */
int x86_set_cr0(struct x86_cpu *c, u64 val);	/* 0 or X86_FAULT (#GP) */
int x86_set_cr3(struct x86_cpu *c, u64 val);
int x86_set_cr4(struct x86_cpu *c, u64 val);
int x86_set_cr8(struct x86_cpu *c, u64 val);
u64 x86_get_cr8(struct x86_cpu *c);
u64 x86_cr4_allowed(const struct x86_cpu *c);	/* the bits that may be set with the guest's CPUID */
int x86_set_efer(struct x86_cpu *c, u64 val);
int x86_set_xcr(struct x86_cpu *c, u32 index, u64 val);
int x86_set_dr(struct x86_cpu *c, int n, u64 val);	/* 0 to 7; 4, 5 are 6, 7: CR4.DE is the caller's */
/* RFLAGS as POPF and IRET load it have gone through the caller's masks; this applies the consequences. */
void x86_set_rflags(struct x86_cpu *c, u64 val);
void x86_reset(struct x86_cpu *c, bool init);	/* power-on values; init: what INIT leaves (SDM 3, table 9-1) */

/* ---- msr.c, cpuid.c ---- */
/* At vCPU creation, before x86_reset: the cold MSRs, the TSC's rate, and, until the VMM sets a CPUID, all
 * features that the host can run. 0, -ENOMEM. */
int x86_msr_init(struct x86_cpu *c);
void x86_msr_free(struct x86_cpu *c);
void x86_reset_msrs(struct x86_cpu *c);		/* power-on values: x86_reset's */
void x86_set_tsc_khz(struct x86_cpu *c, u32 khz);	/* the guest's rate; the TSC's value stays */
/* Writes the time-stamp counter. A value close to what another vCPU just got is taken to mean "the same". */
void x86_write_tsc(struct x86_cpu *c, u64 val, bool host);
void x86_set_tsc_offset(struct x86_cpu *c, u64 offset);	/* from the host's, scaled */
/* host: from the API. UNKNOWN: there is no such MSR. */
enum x86_msr_result { X86_MSR_OK, X86_MSR_REFUSED, X86_MSR_UNKNOWN, X86_MSR_FILTERED };
enum x86_msr_result x86_get_msr(struct x86_cpu *c, u32 index, u64 *val, bool host);
enum x86_msr_result x86_set_msr(struct x86_cpu *c, u32 index, u64 val, bool host);
void x86_cpuid(struct x86_cpu *c, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);
u64 x86_read_tsc(struct x86_cpu *c);

#endif
