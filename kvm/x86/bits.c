/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bits: BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT, CRC32 and BMI1, BMI2. What the host may
 * lack is in the guest's CPUID only where the host has it.
 */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

/* ---- BT and kin ---- */

#define BT_COMPUTE(bits, sfx, q, name)							\
static __always_inline u##bits name##_##bits(u##bits a, u##bits bit, u32 *ax)		\
{											\
	__asm__(FLAGS_FROM_AX #name sfx " %[bit], %[a]\n\t" FLAGS_TO_AX			\
		: [a] "+r" (a), "+a" (*ax) : [bit] "r" (bit) : "cc");			\
	return a;									\
}
FOR_WIDE_SIZES(BT_COMPUTE, bt)
FOR_WIDE_SIZES(BT_COMPUTE, bts)
FOR_WIDE_SIZES(BT_COMPUTE, btr)
FOR_WIDE_SIZES(BT_COMPUTE, btc)

/* A bit number in a register reaches beyond a memory operand: its signed high part counts in
 * units of the operand. */
#define BT_OFFSET(bits, sfx, q, ...)							\
static __always_inline int bit_string_lin_##bits(struct x86_cpu *c, const struct x86_insn *i, \
						 enum x86_access acc, u64 *lin)		\
{											\
	s64 bit = (s##bits)c->regs[i->reg];						\
	u64 ea = x86_ea(c, i) + (bit >> (bits == 16 ? 4 : bits == 32 ? 5 : 6)) * (bits / 8); \
											\
	return x86_lin(c, i->seg, ea & x86_addr_mask(i), bits / 8, acc, lin);		\
}
FOR_WIDE_SIZES(BT_OFFSET,)

#define BT_TEST(bits, sfx, q, ...)							\
static __always_inline int bt_value_##bits(struct x86_cpu *c, u##bits a, u##bits bit)	\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
											\
	bt_##bits(a, bit, &ax);								\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static int bt_er_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return bt_value_##bits(c, c->regs[i->rm], c->regs[i->reg]);			\
}											\
static int bt_er_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 lin, v;									\
	int r = bit_string_lin_##bits(c, i, X86_READ, &lin);				\
											\
	if (unlikely(r))								\
		return r;								\
	r = x86_read_size(c, lin, bits / 8, &v);					\
	if (unlikely(r))								\
		return r;								\
	return bt_value_##bits(c, v, c->regs[i->reg]);					\
}											\
static int bt_ei_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return bt_value_##bits(c, c->regs[i->rm], i->imm);				\
}											\
static int bt_ei_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 v;										\
	int r = x86_operand_read(c, i, bits / 8, &v);					\
											\
	if (unlikely(r))								\
		return r;								\
	return bt_value_##bits(c, v, i->imm);						\
}
FOR_WIDE_SIZES(BT_TEST,)
ALU_TABLE_WIDE(bt_er, bt_er);
ALU_TABLE_WIDE(bt_ei, bt_ei);

#define BT_MODIFY(bits, sfx, q, name)							\
static u64 name##_copy_##bits(u64 a, u64 bit, u64 rf, u32 *ax)				\
{											\
	*ax = x86_flags_to_ax(rf);							\
	return name##_##bits(a, bit, ax);						\
}											\
static __always_inline int name##_reg_##bits(struct x86_cpu *c, const struct x86_insn *i, u64 bit) \
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u##bits v = name##_##bits(c->regs[i->rm], bit, &ax);				\
											\
	x86_reg_set(c, i, i->rm, bits / 8, v);						\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static __always_inline int name##_mem_##bits(struct x86_cpu *c, const struct x86_insn *i, \
					     u64 lin, u64 bit)				\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	void *host;									\
	u##bits *p;									\
	int r = x86_rmw(c, lin, bits / 8, &host);					\
											\
	if (unlikely(r))								\
		return r;								\
	if (unlikely(!host))								\
		return x86_rmw_by_copy(c, i, lin, bits / 8, bit, name##_copy_##bits,	\
				       X86_RFLAGS_ARITH);				\
	p = host;									\
	if (i->flags & X86_I_LOCK) {							\
		u##bits within = bit & (bits - 1);					\
											\
		__asm__ __volatile__(FLAGS_FROM_AX "lock; " #name sfx " %[bit], %[p]\n\t" \
				     FLAGS_TO_AX					\
			: [p] "+m" (*p), "+a" (ax) : [bit] "r" (within) : "cc", "memory"); \
	} else {									\
		*(volatile u##bits *)p = name##_##bits(*(volatile u##bits *)p, bit, &ax); \
	}										\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}											\
static int name##_er_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_reg_##bits(c, i, c->regs[i->reg]);				\
}											\
static int name##_er_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u64 lin;									\
	int r = bit_string_lin_##bits(c, i, X86_WRITE, &lin);				\
											\
	if (unlikely(r))								\
		return r;								\
	return name##_mem_##bits(c, i, lin, c->regs[i->reg]);				\
}											\
static int name##_ei_r##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return name##_reg_##bits(c, i, i->imm);						\
}											\
static int name##_ei_m##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u64 lin;									\
	int r = x86_operand_lin(c, i, bits / 8, X86_WRITE, &lin);			\
											\
	if (unlikely(r))								\
		return r;								\
	return name##_mem_##bits(c, i, lin, i->imm);					\
}
#define BT_OPERATION(name)								\
	FOR_WIDE_SIZES(BT_MODIFY, name)							\
	ALU_TABLE_WIDE(name##_er, name##_er);						\
	ALU_TABLE_WIDE(name##_ei, name##_ei)
BT_OPERATION(bts);
BT_OPERATION(btr);
BT_OPERATION(btc);

/* ---- scans and counts: G from E ---- */

/* The whole destination register goes through the host's instruction: what BSF and BSR leave there
 * for a source of zero, upper half included, is the host's. */
#define SCAN_SIZE(bits, sfx, m, name)							\
static int name##_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u64 d = c->regs[i->reg], v;							\
	int r = x86_rm_get(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	__asm__(FLAGS_FROM_AX #name sfx " %" m "[v], %" m "[d]\n\t" FLAGS_TO_AX		\
		: [d] "+&r" (d), "+&a" (ax) : [v] "r" (v) : "cc");			\
	c->regs[i->reg] = d;								\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}
#define SCAN_OPERATION(name)								\
	SCAN_SIZE(16, "w", "w", name)							\
	SCAN_SIZE(32, "l", "k", name)							\
	SCAN_SIZE(64, "q", "q", name)							\
	X86_HANDLER_SIZES(name, NULL, name##_16, name##_32, name##_64)
SCAN_OPERATION(bsf);
SCAN_OPERATION(bsr);
SCAN_OPERATION(tzcnt);
SCAN_OPERATION(lzcnt);
SCAN_OPERATION(popcnt);

/* ---- CRC32: no flags ---- */

#define CRC32_SIZE(bits, sfx, q, ...)							\
static int crc32_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 crc = (u32)c->regs[i->reg], v;						\
	int r = x86_rm_get(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	__asm__("crc32" sfx " %[v], %q[crc]" : [crc] "+r" (crc) : [v] q ((u##bits)v));	\
	c->regs[i->reg] = crc;								\
	return X86_OK;									\
}
#define CRC32_SIZE32(bits, sfx, q, ...)							\
static int crc32_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u32 crc = c->regs[i->reg];							\
	u64 v;										\
	int r = x86_rm_get(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	__asm__("crc32" sfx " %[v], %[crc]" : [crc] "+r" (crc) : [v] q ((u##bits)v));	\
	c->regs[i->reg] = crc;								\
	return X86_OK;									\
}
CRC32_SIZE32(8, "b", "q",)
CRC32_SIZE32(16, "w", "r",)
CRC32_SIZE32(32, "l", "r",)
CRC32_SIZE(64, "q", "r",)
X86_HANDLER_SIZES(crc32, crc32_8, crc32_16, crc32_32, crc32_64);

/* ---- BMI ---- */

/* The operand of an instruction with VEX, which real and virtual-8086 mode do not have. */
static __always_inline int vex_operand(struct x86_cpu *c, const struct x86_insn *i, u32 size, u64 *val)
{
	if (unlikely(c->mode != X86_MODE_64) && (!x86_protected(c) || x86_vm86(c)))
		return x86_raise(c, X86_UD);
	return x86_rm_get(c, i, size, val);
}

#define FOR_BMI_SIZES(M, ...) M(32, __VA_ARGS__) M(64, __VA_ARGS__)

/* With flags, to register dst. `t` is the operands: e is modrm.rm, s VEX.vvvv, d the result. */
#define BMI_FLAGS(bits, name, t, dst)					\
static int name##_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u32 ax = x86_flags_to_ax(c->rflags);						\
	u##bits d, s;									\
	u64 v;										\
	int r = vex_operand(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	s = c->regs[i->vvvv];								\
	__asm__(FLAGS_FROM_AX #name t "\n\t" FLAGS_TO_AX				\
		: [d] "=&r" (d), "+&a" (ax) : [e] "r" ((u##bits)v), [s] "r" (s) : "cc"); \
	c->regs[dst] = d;								\
	x86_flags_set(c, ax);								\
	return X86_OK;									\
}
/* Without flags. */
#define BMI_PLAIN(bits, name, t)							\
static int name##_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u##bits d, s = c->regs[i->vvvv];						\
	u64 v;										\
	int r = vex_operand(c, i, bits / 8, &v);						\
											\
	if (unlikely(r))								\
		return r;								\
	__asm__(#name t : [d] "=r" (d) : [e] "r" ((u##bits)v), [s] "r" (s));		\
	c->regs[i->reg] = d;								\
	return X86_OK;									\
}
FOR_BMI_SIZES(BMI_FLAGS, andn, " %[e], %[s], %[d]", i->reg)
FOR_BMI_SIZES(BMI_FLAGS, bextr, " %[s], %[e], %[d]", i->reg)
FOR_BMI_SIZES(BMI_FLAGS, bzhi, " %[s], %[e], %[d]", i->reg)
FOR_BMI_SIZES(BMI_FLAGS, blsi, " %[e], %[d]", i->vvvv)
FOR_BMI_SIZES(BMI_FLAGS, blsmsk, " %[e], %[d]", i->vvvv)
FOR_BMI_SIZES(BMI_FLAGS, blsr, " %[e], %[d]", i->vvvv)
FOR_BMI_SIZES(BMI_PLAIN, pdep, " %[e], %[s], %[d]")
FOR_BMI_SIZES(BMI_PLAIN, pext, " %[e], %[s], %[d]")
FOR_BMI_SIZES(BMI_PLAIN, sarx, " %[s], %[e], %[d]")
FOR_BMI_SIZES(BMI_PLAIN, shlx, " %[s], %[e], %[d]")
FOR_BMI_SIZES(BMI_PLAIN, shrx, " %[s], %[e], %[d]")
#define BMI_TABLE(name) X86_HANDLER_SIZES(name, NULL, NULL, name##_32, name##_64)
BMI_TABLE(andn);
BMI_TABLE(bextr);
BMI_TABLE(bzhi);
BMI_TABLE(blsi);
BMI_TABLE(blsmsk);
BMI_TABLE(blsr);
BMI_TABLE(pdep);
BMI_TABLE(pext);
BMI_TABLE(sarx);
BMI_TABLE(shlx);
BMI_TABLE(shrx);

static int rorx_32(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 n = i->imm & 31;
	u64 v;
	int r = vex_operand(c, i, 4, &v);

	if (unlikely(r))
		return r;
	c->regs[i->reg] = (u32)(v >> n | v << (32 - n));
	return X86_OK;
}

static int rorx_64(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 n = i->imm & 63;
	u64 v;
	int r = vex_operand(c, i, 8, &v);

	if (unlikely(r))
		return r;
	c->regs[i->reg] = v >> n | v << (-n & 63);
	return X86_OK;
}
BMI_TABLE(rorx);

/* RDX times E; the high half is written last, so that it wins where both go to one register. */
static int mulx_32(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 v;
	int r = vex_operand(c, i, 4, &v);

	if (unlikely(r))
		return r;
	v *= (u32)c->regs[X86_RDX];
	c->regs[i->vvvv] = (u32)v;
	c->regs[i->reg] = v >> 32;
	return X86_OK;
}

static int mulx_64(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 v;
	u128 product;
	int r = vex_operand(c, i, 8, &v);

	if (unlikely(r))
		return r;
	product = (u128)v * c->regs[X86_RDX];
	c->regs[i->vvvv] = product;
	c->regs[i->reg] = product >> 64;
	return X86_OK;
}
BMI_TABLE(mulx);
