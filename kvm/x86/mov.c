/* SPDX-License-Identifier: GPL-2.0-only */
/* Moves and conversions: MOV, MOVZX, MOVSX, MOVSXD, MOVBE, BSWAP, LEA, XLAT, CBW, CWD and kin. */
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

/* ---- MOV ---- */

#define MOV_HANDLERS(bits, sfx, q, ...)							\
static int mov_er_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	x86_reg_set(c, i, i->rm, bits / 8, x86_reg_get(c, i, i->reg, bits / 8));	\
	return X86_OK;									\
}											\
static int mov_er_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return x86_operand_write(c, i, bits / 8, x86_reg_get(c, i, i->reg, bits / 8));	\
}											\
static int mov_re_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	x86_reg_set(c, i, i->reg, bits / 8, x86_reg_get(c, i, i->rm, bits / 8));	\
	return X86_OK;									\
}											\
static int mov_re_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 v;										\
	int r = x86_operand_read(c, i, bits / 8, &v);					\
											\
	if (unlikely(r))								\
		return r;								\
	x86_reg_set(c, i, i->reg, bits / 8, v);						\
	return X86_OK;									\
}											\
static int mov_ei_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	x86_reg_set(c, i, i->rm, bits / 8, i->imm);					\
	return X86_OK;									\
}											\
static int mov_ei_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	return x86_operand_write(c, i, bits / 8, i->imm);				\
}											\
/* RAX and an address in the instruction. */						\
static int mov_ao_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 lin, v;									\
	int r = x86_lin(c, i->seg, i->imm, bits / 8, X86_READ, &lin);			\
											\
	if (unlikely(r))								\
		return r;								\
	r = x86_read_size(c, lin, bits / 8, &v);					\
	if (unlikely(r))								\
		return r;								\
	if (bits == 8)									\
		*(u8 *)&c->regs[X86_RAX] = v;						\
	else										\
		x86_reg_set(c, i, X86_RAX, bits / 8, v);				\
	return X86_OK;									\
}											\
static int mov_oa_##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 lin;									\
	int r = x86_lin(c, i->seg, i->imm, bits / 8, X86_WRITE, &lin);			\
											\
	if (unlikely(r))								\
		return r;								\
	return x86_write_size(c, lin, bits / 8, c->regs[X86_RAX]);			\
}
FOR_SIZES(MOV_HANDLERS,)
ALU_TABLE(mov_er, mov_er);
ALU_TABLE(mov_re, mov_re);
ALU_TABLE(mov_ei, mov_ei);
X86_HANDLER_SIZES(mov_ao, mov_ao_8, mov_ao_16, mov_ao_32, mov_ao_64);
X86_HANDLER_SIZES(mov_oa, mov_oa_8, mov_oa_16, mov_oa_32, mov_oa_64);

/* ---- extensions: G from a narrower E ---- */

#define EXTEND_HANDLERS(bits, sfx, q, name, from)					\
static int name##_r##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	x86_reg_set(c, i, i->reg, bits / 8,						\
		    (u64)(from)x86_reg_get(c, i, i->rm, sizeof(from)));			\
	return X86_OK;									\
}											\
static int name##_m##bits(struct x86_cpu *c, const struct x86_insn *i)			\
{											\
	u64 v;										\
	int r = x86_operand_read(c, i, sizeof(from), &v);				\
											\
	if (unlikely(r))								\
		return r;								\
	x86_reg_set(c, i, i->reg, bits / 8, (u64)(from)v);				\
	return X86_OK;									\
}
FOR_WIDE_SIZES(EXTEND_HANDLERS, movzx_b, u8)
FOR_WIDE_SIZES(EXTEND_HANDLERS, movzx_w, u16)
FOR_WIDE_SIZES(EXTEND_HANDLERS, movsx_b, s8)
FOR_WIDE_SIZES(EXTEND_HANDLERS, movsx_w, s16)
EXTEND_HANDLERS(32, "l", "r", movsxd, s32)
EXTEND_HANDLERS(64, "q", "r", movsxd, s32)
ALU_TABLE_WIDE(movzx_b, movzx_b);
ALU_TABLE_WIDE(movzx_w, movzx_w);
ALU_TABLE_WIDE(movsx_b, movsx_b);
ALU_TABLE_WIDE(movsx_w, movsx_w);

/* With a 16-bit operand size it moves 16 bits. */
const struct x86_handler x86_op_movsxd = { {
	{ NULL, NULL }, { mov_re_r16, mov_re_m16 }, { movsxd_r32, movsxd_m32 },
	{ movsxd_r64, movsxd_m64 } } };

/* ---- byte order ---- */

static __always_inline u64 swap_bytes(u64 v, u32 size)
{
	return size == 2 ? __builtin_bswap16(v) : size == 4 ? __builtin_bswap32(v) :
	       __builtin_bswap64(v);
}

#define MOVBE_HANDLERS(bits, sfx, q, ...)						\
static int movbe_load_##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	u64 v;										\
	int r = x86_operand_read(c, i, bits / 8, &v);					\
											\
	if (unlikely(r))								\
		return r;								\
	x86_reg_set(c, i, i->reg, bits / 8, swap_bytes(v, bits / 8));			\
	return X86_OK;									\
}											\
static int movbe_store_##bits(struct x86_cpu *c, const struct x86_insn *i)		\
{											\
	return x86_operand_write(c, i, bits / 8, swap_bytes(c->regs[i->reg], bits / 8)); \
}
FOR_WIDE_SIZES(MOVBE_HANDLERS,)
X86_HANDLER_SIZES(movbe_load, NULL, movbe_load_16, movbe_load_32, movbe_load_64);
X86_HANDLER_SIZES(movbe_store, NULL, movbe_store_16, movbe_store_32, movbe_store_64);

/* The manuals leave the 16-bit form undefined; this is what the host does. */
static int do_bswap16(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 v = c->regs[i->reg];

	__asm__(".byte 0x66, 0x0f, 0xc8 # bswap %%ax" : "+a" (v));
	c->regs[i->reg] = v;
	return X86_OK;
}

static int do_bswap32(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[i->reg] = __builtin_bswap32(c->regs[i->reg]);
	return X86_OK;
}

static int do_bswap64(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[i->reg] = __builtin_bswap64(c->regs[i->reg]);
	return X86_OK;
}
X86_HANDLER_SIZES(bswap, NULL, do_bswap16, do_bswap32, do_bswap64);

/* ---- LEA, XLAT ---- */

static int do_lea16(struct x86_cpu *c, const struct x86_insn *i)
{
	*(u16 *)&c->regs[i->reg] = x86_ea(c, i);
	return X86_OK;
}

static int do_lea32(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[i->reg] = (u32)x86_ea(c, i);
	return X86_OK;
}

static int do_lea64(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[i->reg] = x86_ea(c, i);
	return X86_OK;
}
X86_HANDLER_SIZES(lea, NULL, do_lea16, do_lea32, do_lea64);

static int do_xlat(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 offset = (c->regs[X86_RBX] + (u8)c->regs[X86_RAX]) & x86_addr_mask(i);
	u64 lin, v;
	int r = x86_lin(c, i->seg, offset, 1, X86_READ, &lin);

	if (unlikely(r))
		return r;
	r = x86_read_size(c, lin, 1, &v);
	if (unlikely(r))
		return r;
	*(u8 *)&c->regs[X86_RAX] = v;
	return X86_OK;
}
X86_HANDLER(xlat, do_xlat);

/* ---- sign extension within RAX, and from RAX to RDX ---- */

static int do_cbw(struct x86_cpu *c, const struct x86_insn *i)
{
	*(u16 *)&c->regs[X86_RAX] = (s8)c->regs[X86_RAX];
	return X86_OK;
}

static int do_cwde(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[X86_RAX] = (u32)(s16)c->regs[X86_RAX];
	return X86_OK;
}

static int do_cdqe(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[X86_RAX] = (s32)c->regs[X86_RAX];
	return X86_OK;
}
X86_HANDLER_SIZES(cbw, NULL, do_cbw, do_cwde, do_cdqe);

static int do_cwd(struct x86_cpu *c, const struct x86_insn *i)
{
	*(u16 *)&c->regs[X86_RDX] = (s16)c->regs[X86_RAX] >> 15;
	return X86_OK;
}

static int do_cdq(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[X86_RDX] = (u32)((s32)c->regs[X86_RAX] >> 31);
	return X86_OK;
}

static int do_cqo(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[X86_RDX] = (s64)c->regs[X86_RAX] >> 63;
	return X86_OK;
}
X86_HANDLER_SIZES(cwd, NULL, do_cwd, do_cdq, do_cqo);

/* ---- RDPID ---- */

static int do_rdpid(struct x86_cpu *c, const struct x86_insn *i)
{
	c->regs[i->rm] = c->tsc_aux;
	return X86_OK;
}
X86_HANDLER(rdpid, do_rdpid);
