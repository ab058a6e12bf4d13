/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Selectors, descriptors, gates, and stacks that are not yet (or no longer) the current one: what
 * segment.c, exception.c, transfer.c, task.c and system.c share. SDM volume 3, 3 to 8.
 */
#ifndef KVM_X86_DESCRIPTOR_H
#define KVM_X86_DESCRIPTOR_H

#include "kvm/x86/handler.h"

#define X86_SEL_RPL(sel)	((sel) & 3)
#define X86_SEL_TI		4
#define X86_SEL_NULL(sel)	(((sel) & ~3) == 0)

/* Type bits of code and data segments. */
#define X86_TYPE_ACCESSED	1
#define X86_TYPE_RW		2	/* data: writable; code: readable */
#define X86_TYPE_DOWN		4	/* data: expand-down */
#define X86_TYPE_CONFORMING	4	/* code */
#define X86_TYPE_CODE		8

/* Types of system descriptors. In long mode the 32-bit ones are the 64-bit ones. */
enum {
	X86_DESC_TSS16 = 1, X86_DESC_LDT, X86_DESC_TSS16_BUSY, X86_DESC_CALL16, X86_DESC_TASK_GATE,
	X86_DESC_INT16, X86_DESC_TRAP16, X86_DESC_TSS = 9, X86_DESC_TSS_BUSY = 11,
	X86_DESC_CALL, X86_DESC_INT = 14, X86_DESC_TRAP,
};
#define X86_TSS_BUSY		2	/* the type bit that tells a busy TSS */

/* A descriptor and where it came from. */
struct x86_desc {
	u64 raw;
	u64 high;		/* second half, of long mode's system descriptors */
	u64 lin;
};

static inline u32 x86_desc_attr(const struct x86_desc *d)
{
	return (d->raw >> 40) & 0xf0ff;
}
static inline u32 x86_desc_type(const struct x86_desc *d)
{
	return (d->raw >> 40) & 0xf;
}
/* Offset, selector and IST or parameter count of a gate. */
static inline u32 x86_gate_offset(const struct x86_desc *d)
{
	return (d->raw & 0xffff) | ((d->raw >> 32) & 0xffff0000);
}
static inline u16 x86_gate_sel(const struct x86_desc *d)
{
	return d->raw >> 16;
}
static inline bool x86_attr_code(u32 attr)
{
	return (attr & (X86_SEG_S | X86_TYPE_CODE)) == (X86_SEG_S | X86_TYPE_CODE);
}
static inline bool x86_attr_conforming(u32 attr)
{
	return attr & X86_TYPE_CONFORMING;
}
static inline bool x86_attr_writable_data(u32 attr)
{
	return (attr & (X86_SEG_S | X86_TYPE_CODE | X86_TYPE_RW)) == (X86_SEG_S | X86_TYPE_RW);
}
static inline bool x86_canonical(u64 addr)
{
	return (u64)((s64)(addr << 16) >> 16) == addr;
}
/* Mask for addresses of tables and the TSS: 64 bits in long mode, compatibility mode included. */
static inline u64 x86_sys_mask(const struct x86_cpu *c)
{
	return x86_long_mode(c) ? ~0ull : 0xffffffff;
}
static inline u32 x86_iopl(const struct x86_cpu *c)
{
	return (c->rflags & X86_RFLAGS_IOPL) >> X86_RFLAGS_IOPL_SHIFT;
}

/*
 * What a row's X86_A_PROT and X86_A_PRIV ask: #UD in real and virtual-8086 mode, #GP(0) above level 0.
 * Handlers of such rows begin with it.
 */
static inline int x86_check_attr(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 attr = x86_op(i)->attr;

	if ((attr & X86_A_PROT) && (!x86_protected(c) || x86_vm86(c)))
		return x86_raise(c, X86_UD);
	if ((attr & X86_A_PRIV) && c->cpl != 0)
		return x86_raise_err(c, X86_GP, 0);
	return X86_OK;
}

/* An exception that comes after the instruction at hand, which is done: the new task's, or a trap. */
static inline void x86_pend(struct x86_cpu *c, const struct x86_fault *f)
{
	c->ev.exception = *f;
	c->ev.exception_pending = true;
	atomic_or(&c->attention, X86_ATTN_EVENT);
}

/* ---- segment.c ---- */

/*
 * Reads sel's descriptor. Outside its table: raises `vector` with the selector and `ext` (0 or 1) as
 * error code. sel must not be null.
 */
int x86_fetch_desc(struct x86_cpu *c, u16 sel, u8 vector, u32 ext, struct x86_desc *d);
/* The second half of a system descriptor in long mode (d->high = 0 elsewhere). */
int x86_fetch_desc_high(struct x86_cpu *c, u16 sel, u8 vector, u32 ext, struct x86_desc *d);
/* Sets the accessed bit in memory and in d, where it is not. */
int x86_desc_mark_accessed(struct x86_cpu *c, struct x86_desc *d);
void x86_desc_to_segment(const struct x86_desc *d, u16 sel, struct x86_segment *s);
/* A segment register as a null selector leaves it. */
void x86_null_segment(struct x86_segment *s, u16 sel, u32 dpl);
/* Real and virtual-8086 mode's load: base is the selector times 16. */
void x86_real_segment(struct x86_cpu *c, int seg, u16 sel);
/* Is [off, off + size) within the segment? Limit only. */
bool x86_limit_ok(const struct x86_segment *s, u64 off, u32 size);
/* A transfer's RIP: canonical in 64-bit code, within the limit elsewhere. */
bool x86_rip_ok(const struct x86_cpu *c, const struct x86_segment *cs, u64 rip);
/* On a return to an outer level: data segments that it may not use become null. */
void x86_drop_inner_segments(struct x86_cpu *c);

/* ---- stacks ---- */

/* A stack being pushed to or popped from, apart from the registers until the transfer is certain. */
struct x86_stack {
	struct x86_segment ss;
	u64 sp;
	u64 mask;		/* what of sp counts: 64, 32 or 16 bits */
	bool flat;		/* 64-bit mode: no base, no limit */
	bool sys;		/* accessed with supervisor rights whatever the CPL */
	u32 error;		/* #SS error code for its violations */
};

/* The current stack. */
void x86_stack_current(struct x86_cpu *c, struct x86_stack *st);
int x86_stack_push(struct x86_cpu *c, struct x86_stack *st, u64 val, u32 size);
int x86_stack_pop(struct x86_cpu *c, struct x86_stack *st, u64 *val, u32 size);
/* RSP := st's pointer; bits above a 16-bit pointer stay as they are in `old`. */
void x86_stack_commit_sp(struct x86_cpu *c, const struct x86_stack *st, u64 old);
/*
 * The stack of inner level dpl from the TSS, outside long mode, with all checks (SDM volume 3, 5.8.5).
 * Errors are #TS and #SS, with ext.
 */
int x86_stack_inner(struct x86_cpu *c, u32 dpl, u32 ext, struct x86_stack *st);
/* In long mode: RSPn (ist 0) or ISTn of the 64-bit TSS. */
int x86_tss_rsp(struct x86_cpu *c, u32 dpl, u32 ist, u32 ext, u64 *rsp);

/* ---- task.c ---- */

enum x86_task_reason { X86_TASK_JMP, X86_TASK_CALL, X86_TASK_IRET, X86_TASK_GATE };

/*
 * Switches to the task of TSS selector sel. X86_OK; X86_FAULT: with *committed false nothing happened,
 * with *committed true the new task runs and c->fault belongs to it. With error, pushes an
 * exception's error code on the new stack.
 */
int x86_task_switch(struct x86_cpu *c, u16 sel, enum x86_task_reason reason, u32 ext,
		    const u32 *error, bool *committed);
/* The same for instructions: a fault of the new task is left pending. enum x86_result. */
int x86_task_transfer(struct x86_cpu *c, u16 sel, enum x86_task_reason reason);

#endif
