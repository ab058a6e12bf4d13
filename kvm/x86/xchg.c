/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B: exchanges, which between vCPUs are what locks are made
 * of. On ordinary memory the host's own locked instruction does it; elsewhere the VM's split lock
 * stands in.
 */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

/* XCHG with memory is locked with or without the prefix. */
static __noinline int xchg_by_copy(struct x86_cpu *c, u64 lin, u32 size, u64 *val)
{
	u64 old = 0;
	int r;

	x86_split_lock(c);
	r = x86_read_slow(c, lin, &old, size);
	if (!r)
		r = x86_write_slow(c, lin, val, size);
	x86_split_unlock(c);
	if (!r)
		*val = old;
	return r;
}

#define XCHG_SIZE(bits, sfx, q, ...)							\
static int xchg_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u##bits a = x86_reg_get(c, i, i->rm, bits / 8);					\
	u##bits b = x86_reg_get(c, i, i->reg, bits / 8);				\
											\
	x86_reg_set(c, i, i->rm, bits / 8, b);						\
	x86_reg_set(c, i, i->reg, bits / 8, a);						\
	return X86_OK;									\
}											\
static int xchg_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 lin, v = x86_reg_get(c, i, i->reg, bits / 8);				\
	void *host;									\
	int r = x86_operand_rmw(c, i, bits / 8, &lin, &host);				\
											\
	if (unlikely(r))								\
		return r;								\
	if (likely(host)) {								\
		v = atomic_xchg((u##bits *)host, (u##bits)v);				\
	} else {									\
		r = xchg_by_copy(c, lin, bits / 8, &v);					\
		if (r)									\
			return r;							\
	}										\
	x86_reg_set(c, i, i->reg, bits / 8, v);						\
	return X86_OK;									\
}
FOR_SIZES(XCHG_SIZE,)
ALU_TABLE(xchg, xchg);

#define XADD_SIZE(bits, sfx, q, ...)							\
static u64 xadd_copy_##bits(u64 a, u64 b, u64 rf, u32 *ax)				\
{											\
	u##bits v = a;									\
											\
	__asm__("add" sfx " %[b], %[v]\n\t" FLAGS_TO_AX					\
		: [v] "+" q (v), "=a" (*ax) : [b] q ((u##bits)b) : "cc");		\
	return v;									\
}											\
static int xadd_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u##bits a = x86_reg_get(c, i, i->rm, bits / 8);					\
	u32 ax;										\
	u64 sum = xadd_copy_##bits(a, x86_reg_get(c, i, i->reg, bits / 8), 0, &ax);	\
											\
	x86_reg_set(c, i, i->reg, bits / 8, a);						\
	x86_reg_set(c, i, i->rm, bits / 8, sum);					\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static __noinline int xadd_by_copy_##bits(struct x86_cpu *c, const struct x86_insn *i, u64 lin) \
{											\
	u64 v = 0;									\
	u32 ax;										\
	u##bits sum;									\
	int r;										\
											\
	x86_split_lock(c);								\
	r = x86_read_slow(c, lin, &v, bits / 8);					\
	if (!r) {									\
		sum = xadd_copy_##bits(v, x86_reg_get(c, i, i->reg, bits / 8), 0, &ax);	\
		r = x86_write_slow(c, lin, &sum, bits / 8);				\
	}										\
	x86_split_unlock(c);								\
	if (r)										\
		return r;								\
	x86_reg_set(c, i, i->reg, bits / 8, v);						\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static int xadd_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u##bits v = x86_reg_get(c, i, i->reg, bits / 8), *p;				\
	void *host;									\
	u64 lin;									\
	u32 ax;										\
	int r = x86_operand_rmw(c, i, bits / 8, &lin, &host);				\
											\
	if (unlikely(r))								\
		return r;								\
	if (unlikely(!host))								\
		return xadd_by_copy_##bits(c, i, lin);					\
	p = host;									\
	__asm__ __volatile__("lock; xadd" sfx " %[v], %[p]\n\t" FLAGS_TO_AX		\
		: [v] "+" q (v), [p] "+m" (*p), "=&a" (ax) : : "cc", "memory");		\
	x86_reg_set(c, i, i->reg, bits / 8, v);						\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}
FOR_SIZES(XADD_SIZE,)
ALU_TABLE(xadd, xadd);

/*
 * CMPXCHG. Whole registers go through the host's instruction, because whether a 32-bit one clears
 * upper halves depends on the outcome.
 */
#define CMPXCHG_SIZE(bits, sfx, m)							\
static int cmpxchg_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 acc = c->regs[X86_RAX], d = c->regs[i->rm], s = c->regs[i->reg];		\
	u32 ax;										\
											\
	__asm__("mov %[acc], %%rax\n\t"							\
		"cmpxchg" sfx " %" m "[s], %" m "[d]\n\t"				\
		"mov %%rax, %[acc]\n\t" FLAGS_TO_AX					\
		: [acc] "+&r" (acc), [d] "+&r" (d), "=&a" (ax) : [s] "r" (s) : "cc");	\
	c->regs[X86_RAX] = acc;								\
	c->regs[i->rm] = d;								\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}
CMPXCHG_SIZE(16, "w", "w")
CMPXCHG_SIZE(32, "l", "k")
CMPXCHG_SIZE(64, "q", "q")

static int cmpxchg_r8(struct x86_cpu *c, const struct x86_insn *i)
{
	u8 acc = c->regs[X86_RAX], *d = x86_reg8(c, i, i->rm), v = *d;
	u32 ax;

	__asm__("mov %[acc], %%al\n\tcmpxchgb %[s], %[v]\n\tmov %%al, %[acc]\n\t" FLAGS_TO_AX
		: [acc] "+&q" (acc), [v] "+&q" (v), "=&a" (ax) : [s] "q" (*x86_reg8(c, i, i->reg))
		: "cc");
	*(u8 *)&c->regs[X86_RAX] = acc;
	*d = v;
	x86_flags_set(c, ax);
	return X86_OK;
}

#define CMPXCHG_MEMORY(bits, sfx, q, ...)						\
static __noinline int cmpxchg_by_copy_##bits(struct x86_cpu *c, const struct x86_insn *i, u64 lin) \
{											\
	bool locked = i->flags & X86_I_LOCK;						\
	u##bits old = 0, v;								\
	u32 ax;										\
	int r;										\
											\
	if (locked)									\
		x86_split_lock(c);							\
	r = x86_read_slow(c, lin, &old, bits / 8);					\
	if (r)										\
		goto out;								\
	__asm__("cmp" sfx " %[old], %[acc]\n\t" FLAGS_TO_AX				\
		: "=a" (ax) : [acc] q ((u##bits)c->regs[X86_RAX]), [old] q (old) : "cc"); \
	v = old;									\
	if ((u##bits)c->regs[X86_RAX] == old)						\
		v = x86_reg_get(c, i, i->reg, bits / 8);				\
	r = x86_write_slow(c, lin, &v, bits / 8);					\
	if (r)										\
		goto out;								\
	if ((u##bits)c->regs[X86_RAX] != old) {						\
		if (bits == 8)								\
			*(u8 *)&c->regs[X86_RAX] = old;					\
		else									\
			x86_reg_set(c, i, X86_RAX, bits / 8, old);			\
	}										\
	x86_flags_set(c, ax);								\
out:											\
	if (locked)									\
		x86_split_unlock(c);							\
	return r;									\
}											\
static int cmpxchg_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u##bits s = x86_reg_get(c, i, i->reg, bits / 8), *p;				\
	u64 acc = c->regs[X86_RAX], lin;						\
	void *host;									\
	u32 ax;										\
	int r = x86_operand_rmw(c, i, bits / 8, &lin, &host);				\
											\
	if (unlikely(r))								\
		return r;								\
	if (unlikely(!host))								\
		return cmpxchg_by_copy_##bits(c, i, lin);				\
	p = host;									\
	__asm__ __volatile__("mov %[acc], %%rax\n\t"					\
		"lock; cmpxchg" sfx " %[s], %[p]\n\t"					\
		"mov %%rax, %[acc]\n\t" FLAGS_TO_AX					\
		: [acc] "+&r" (acc), [p] "+m" (*p), "=&a" (ax) : [s] q (s) : "cc", "memory"); \
	c->regs[X86_RAX] = acc;								\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}
FOR_SIZES(CMPXCHG_MEMORY,)
ALU_TABLE(cmpxchg, cmpxchg);

/* ---- CMPXCHG8B, CMPXCHG16B: ZF is the only flag ---- */

static void set_zf(struct x86_cpu *c, bool equal)
{
	c->rflags = (c->rflags & ~(u64)X86_RFLAGS_ZF) | (equal ? X86_RFLAGS_ZF : 0);
}

static int do_cmpxchg8b(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 expected = (u64)(u32)c->regs[X86_RDX] << 32 | (u32)c->regs[X86_RAX];
	u64 desired = (u64)(u32)c->regs[X86_RCX] << 32 | (u32)c->regs[X86_RBX];
	u64 lin, old = expected;
	void *host;
	int r = x86_operand_rmw(c, i, 8, &lin, &host);

	if (unlikely(r))
		return r;
	if (likely(host)) {
		__atomic_compare_exchange_n((u64 *)host, &old, desired, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
	} else {
		bool locked = i->flags & X86_I_LOCK;

		if (locked)
			x86_split_lock(c);
		r = x86_read_slow(c, lin, &old, 8);
		if (!r)
			r = x86_write_slow(c, lin, old == expected ? &desired : &old, 8);
		if (locked)
			x86_split_unlock(c);
		if (r)
			return r;
	}
	set_zf(c, old == expected);
	if (old != expected) {
		c->regs[X86_RAX] = (u32)old;
		c->regs[X86_RDX] = old >> 32;
	}
	return X86_OK;
}

static int do_cmpxchg16b(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 expected[2] = { c->regs[X86_RAX], c->regs[X86_RDX] };
	u64 desired[2] = { c->regs[X86_RBX], c->regs[X86_RCX] };
	u64 lin, old[2] = { expected[0], expected[1] };
	bool equal;
	void *host;
	int r = x86_operand_lin(c, i, 16, X86_WRITE, &lin);

	if (unlikely(r))
		return r;
	if (unlikely(lin & 15))
		return x86_raise_err(c, X86_GP, 0);
	r = x86_rmw(c, lin, 16, &host);
	if (unlikely(r))
		return r;
	if (likely(host)) {
		u128 *p = host;

		__asm__ __volatile__("lock; cmpxchg16b %[p]\n\tsete %[equal]"
			: [p] "+m" (*p), "+a" (old[0]), "+d" (old[1]), [equal] "=q" (equal)
			: "b" (desired[0]), "c" (desired[1]) : "cc", "memory");
	} else {
		bool locked = i->flags & X86_I_LOCK;

		if (locked)
			x86_split_lock(c);
		r = x86_read_buf(c, lin, old, 16);
		equal = old[0] == expected[0] && old[1] == expected[1];
		if (!r)
			r = x86_write_buf(c, lin, equal ? desired : old, 16);
		if (locked)
			x86_split_unlock(c);
		if (r)
			return r;
	}
	set_zf(c, equal);
	if (!equal) {
		c->regs[X86_RAX] = old[0];
		c->regs[X86_RDX] = old[1];
	}
	return X86_OK;
}
X86_HANDLER_SIZES(cmpxchg8b, NULL, do_cmpxchg8b, do_cmpxchg8b, do_cmpxchg16b);
