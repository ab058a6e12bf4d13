/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x87 and vector instructions, run on the host's own units.
 *
 *   thunk.c   a few host instructions for each encoding: load the guest's registers, the instruction, store
 *   vector.c  binding, memory operands, floating-point exceptions of SSE and AVX
 *   fpflags.c the flags of overflows and underflows that are not masked
 *   vecmem.c  masked moves and gathers
 *   x87.c     x87 and MMX
 *   xsave.c   FXSAVE, XSAVE and their kind
 *
 * A decoded instruction is bound once: i->fn becomes its handler and i->host its thunk. The
 * register forms of SSE and AVX without more ado have the thunk itself for a handler.
 *
 * Between soft_fpu_enter and soft_fpu_leave some guest state may be live in the host's registers,
 * where it is used in place instead of being swapped in and out around each instruction:
 *   MXCSR (fpu.mxcsr_live)  while it masks all exceptions, so that nothing can trap in the host
 *   x87   (fpu.x87_live)    while no exception is pending, for the same reason
 * The vector registers are never live: C code uses them.
 */
#ifndef KVM_CPU_SOFT_VECTOR_H
#define KVM_CPU_SOFT_VECTOR_H

#include "kvm/x86/xstate.h"

struct soft_vector;

/* The thunks of one VM, shared by its vCPUs (x86_cpu.vector). 0 or -ENOMEM. */
int soft_vector_vm_create(struct soft_vector **out);
void soft_vector_vm_destroy(struct soft_vector **v);	/* no vCPU may run */

/* Handler of an X86_A_HOST instruction that is not bound: works, slowly. */
int soft_host_exec(struct x86_cpu *c, const struct x86_insn *i);
/* Binds a decoded instruction, which may be of any kind, to its handler. c gives the mode. */
void soft_bind_insn(struct x86_cpu *c, struct x86_insn *i);

/* Around any stretch of guest code on one thread; the host's MXCSR and x87 are the guest's
 * meanwhile. Without them instructions work too, and leave everything in c->fpu. */
void soft_fpu_enter(struct x86_cpu *c);
void soft_fpu_leave(struct x86_cpu *c);

/* ---- between the files of the unit ---- */

struct soft_thunk {
	struct soft_thunk *next;
	u64 key;
	const struct x86_opcode *op;
	/* The instruction alone; mem: its memory operand. x87: returns the status word. */
	u64 (*core)(struct x86_cpu *c, const struct x86_insn *i, void *mem);
	x86_exec_fn *fn;
	u8 mem_size;			/* bytes of the memory operand; 0: there is none */
	u8 align_mask;			/* address bits that must be 0 */
	u8 deny;			/* X86_DENY_* that matter */
};

/* Finds or makes a thunk. NULL: no memory. */
const struct soft_thunk *soft_thunk_get(struct soft_vector *v, const struct x86_insn *i);
/* Length in bytes of an operand of size X86_SZ_*. */
u32 soft_operand_bytes(const struct x86_insn *i, u8 size);
bool soft_is_mmx_or_x87(const struct x86_insn *i);
bool soft_insn_256(const struct x86_insn *i);	/* VEX.L as it counts */
bool soft_insn_w(const struct x86_insn *i);	/* REX.W or VEX.W as it counts */

/* Raises what fpu.deny stands for. */
int soft_denied(struct x86_cpu *c, const struct x86_insn *i);
/* An SSE register-form thunk with floating-point exceptions found MXCSR not live. */
int soft_fp_reg(struct x86_cpu *c, const struct x86_insn *i);
/* Runs a thunk whose instruction uses MXCSR. X86_OK, X86_FAULT (#XM, #UD). */
int soft_fp_exec(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t, void *mem);

/* Runs a thunk under the given control bits, all exceptions masked; the flags that it raised. */
u32 soft_run_masked(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t, void *mem,
		    u32 mxcsr);
/* The flags that an instruction whose exceptions are not all masked leaves, whether or not it
 * faults (fpflags.c). */
bool soft_fp_flags_matter(const struct x86_opcode *op);
u32 soft_fp_flags(struct x86_cpu *c, const struct x86_insn *i, const struct soft_thunk *t,
		  const void *mem, u32 mxcsr);

static inline u32 soft_get_mxcsr(void)
{
	u32 v;

	__asm__ __volatile__("stmxcsr %0" : "=m"(v));
	return v;
}

static inline void soft_put_mxcsr(u32 v)
{
	__asm__ __volatile__("ldmxcsr %0" : : "m"(v) : "memory");
}

/* The guest's MXCSR, wherever it is. */
static inline u32 soft_mxcsr(const struct x86_cpu *c)
{
	return c->fpu.mxcsr_live ? soft_get_mxcsr() : x86_mxcsr(c);
}

/* Bring live state home: c->fpu is whole afterwards. */
void soft_mxcsr_sync(struct x86_cpu *c);
void soft_x87_sync(struct x86_cpu *c);
/* What follows an instruction that used x87 or MMX. */
int soft_x87_begin(struct x86_cpu *c, const struct x86_insn *i);
void soft_x87_end(struct x86_cpu *c, u64 fsw);
/* Are all x87 exceptions masked now? */
bool soft_x87_masked(const struct x86_cpu *c);
/* After the image was written from memory: fixed and summary bits as the unit has them. */
void soft_x87_settle(struct x86_cpu *c);

x86_exec_fn *soft_x87_handler(const struct x86_insn *i);
x86_exec_fn soft_maskmov, soft_maskmov_bytes, soft_gather, soft_vzero;
x86_exec_fn soft_fxsave, soft_fxrstor, soft_xsave, soft_xrstor;
x86_exec_fn soft_fwait, soft_x87_env, soft_x87_nop;

#endif
