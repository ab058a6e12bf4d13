/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing host instructions (SDM volume 2, 2.1 and 2.2).
 *
 * An emitter never writes past its end; it goes on counting, so that the caller finds out afterwards.
 * Code is written through one mapping and runs in another: displacements do not care, and what
 * needs an absolute address adds `to_rx`.
 */
#ifndef KVM_CPU_SOFT_JIT_EMIT_H
#define KVM_CPU_SOFT_JIT_EMIT_H

#include "kvm/os/os.h"

enum {
	H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
	H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15, H_NONE,
};

/* Where an operand is in the host: a register; or memory, base + index << scale + disp. */
struct loc {
	bool mem;
	u8 base;		/* the register, or the base; H_NONE: there is none */
	u8 index, scale;	/* H_NONE: there is none */
	s32 disp;
};

static inline struct loc loc_reg(int r)
{
	return (struct loc){ .base = r };
}

static inline struct loc loc_mem(int base, s32 disp)
{
	return (struct loc){ .mem = true, .base = base, .index = H_NONE, .disp = disp };
}

static inline struct loc loc_sib(int base, int index, int scale, s32 disp)
{
	return (struct loc){ .mem = true, .base = base, .index = index, .scale = scale, .disp = disp };
}

struct emit {
	u8 *p, *end;
	s64 to_rx;		/* add to p for the address where it will run */
};

static inline void e8(struct emit *e, u32 v)
{
	if (e->p < e->end)
		*e->p = v;
	e->p++;
}

static inline void e32(struct emit *e, u32 v)
{
	if (e->p + 4 <= e->end)
		memcpy(e->p, &v, 4);
	e->p += 4;
}

static inline void e64(struct emit *e, u64 v)
{
	if (e->p + 8 <= e->end)
		memcpy(e->p, &v, 8);
	e->p += 8;
}

static inline void eimm(struct emit *e, u64 v, u32 size)
{
	if (size == 1) {
		e8(e, v);
	} else if (size == 2) {
		e8(e, v);
		e8(e, v >> 8);
	} else {
		e32(e, v);
	}
}

/* Opcodes: the byte, its map, and a prefix that belongs to it. */
#define OP_0F		0x100
#define OP_0F38		0x200
#define OP_0F3A		0x300
#define OP_66		0x1000
#define OP_F3		0x2000
#define OP_F2		0x3000
#define OP_LOCK		0x10000
#define OP_REX		0x20000	/* a byte register is named: REX in any case */

static inline void e_modrm(struct emit *e, int reg, struct loc rm)
{
	u32 r = (reg & 7) << 3, b = rm.base & 7;

	if (!rm.mem) {
		e8(e, 0xc0 | r | b);
		return;
	}
	if (rm.base == H_NONE) {		/* [index << scale + disp32] */
		e8(e, r | 4);
		e8(e, rm.scale << 6 | (rm.index == H_NONE ? 4 : rm.index & 7) << 3 | 5);
		e32(e, rm.disp);
		return;
	}
	u32 mod = rm.disp == 0 && b != 5 ? 0 : rm.disp == (s8)rm.disp ? 1 : 2;

	if (rm.index != H_NONE || b == 4) {
		e8(e, mod << 6 | r | 4);
		e8(e, rm.scale << 6 | (rm.index == H_NONE ? 4 : rm.index & 7) << 3 | b);
	} else {
		e8(e, mod << 6 | r | b);
	}
	if (mod == 1)
		e8(e, rm.disp);
	else if (mod == 2)
		e32(e, rm.disp);
}

static inline u32 e_rex_xb(struct loc rm)
{
	if (!rm.mem)
		return rm.base & 8 ? 1 : 0;
	return (rm.index != H_NONE && rm.index & 8 ? 2 : 0) | (rm.base != H_NONE && rm.base & 8 ? 1 : 0);
}

/* With a VEX prefix of three bytes. map: 1 to 3; pp: 0, 66, F3, F2. */
static inline void e_vex(struct emit *e, u32 map, u32 pp, bool w, bool l, u8 op, int reg, int vvvv,
			 struct loc rm)
{
	u32 rxb = (reg & 8 ? 4 : 0) | e_rex_xb(rm);

	e8(e, 0xc4);
	e8(e, (~rxb & 7) << 5 | map);
	e8(e, (w ? 0x80 : 0) | (~vvvv & 15) << 3 | (l ? 4 : 0) | pp);
	e8(e, op);
	e_modrm(e, reg, rm);
}

/* An instruction with modrm. size: 1, 2, 4, 8; reg: a register or an opcode extension. With size 1 the
 * registers are the low bytes: there is always a REX. */
static inline void e_op(struct emit *e, u32 op, u32 size, int reg, struct loc rm)
{
	u32 rex = (size == 8 ? 8 : 0) | (reg & 8 ? 4 : 0) | e_rex_xb(rm);

	if (op & OP_LOCK)
		e8(e, 0xf0);
	if (size == 2)
		e8(e, 0x66);
	switch (op & 0xf000) {
	case OP_66: e8(e, 0x66); break;
	case OP_F3: e8(e, 0xf3); break;
	case OP_F2: e8(e, 0xf2); break;
	}
	if (rex || size == 1 || (op & OP_REX))
		e8(e, 0x40 | rex);
	if (op & 0x300) {
		e8(e, 0x0f);
		if ((op & 0x300) == OP_0F38)
			e8(e, 0x38);
		else if ((op & 0x300) == OP_0F3A)
			e8(e, 0x3a);
	}
	e8(e, op);
	e_modrm(e, reg, rm);
}

static inline void e_rr(struct emit *e, u32 op, u32 size, int reg, int rm)
{
	e_op(e, op, size, reg, loc_reg(rm));
}

static inline void e_push(struct emit *e, int r)
{
	if (r & 8)
		e8(e, 0x41);
	e8(e, 0x50 | (r & 7));
}

static inline void e_pop(struct emit *e, int r)
{
	if (r & 8)
		e8(e, 0x41);
	e8(e, 0x58 | (r & 7));
}

/* mov reg, rm and mov rm, reg */
static inline void e_load(struct emit *e, u32 size, int reg, struct loc rm)
{
	e_op(e, size == 1 ? 0x8a : 0x8b, size, reg, rm);
}

static inline void e_store(struct emit *e, u32 size, int reg, struct loc rm)
{
	e_op(e, size == 1 ? 0x88 : 0x89, size, reg, rm);
}

static inline void e_mov(struct emit *e, u32 size, int dst, int src)
{
	e_rr(e, size == 1 ? 0x8a : 0x8b, size, dst, src);
}

static inline void e_lea(struct emit *e, u32 size, int dst, struct loc m)
{
	e_op(e, 0x8d, size, dst, m);
}

/* ADD 0, OR 1, ADC 2, SBB 3, AND 4, SUB 5, XOR 6, CMP 7 with an immediate */
static inline void e_alu_imm(struct emit *e, u32 n, u32 size, struct loc rm, s32 imm)
{
	if (size == 1) {
		e_op(e, 0x80, 1, n, rm);
		e8(e, imm);
	} else if (imm == (s8)imm) {
		e_op(e, 0x83, size, n, rm);
		e8(e, imm);
	} else {
		e_op(e, 0x81, size, n, rm);
		eimm(e, imm, size);
	}
}

static inline void e_mov_imm64(struct emit *e, int r, u64 v)
{
	if (v <= 0xffffffff) {
		if (r & 8)
			e8(e, 0x41);
		e8(e, 0xb8 | (r & 7));
		e32(e, v);
	} else if ((s64)v == (s32)v) {
		e_op(e, 0xc7, 8, 0, loc_reg(r));
		e32(e, v);
	} else {
		e8(e, 0x48 | (r & 8 ? 1 : 0));
		e8(e, 0xb8 | (r & 7));
		e64(e, v);
	}
}

/* Jumps whose target is set later by e_land: the place of the displacement. */
static inline u8 *e_jcc(struct emit *e, u32 cc)
{
	e8(e, 0x0f);
	e8(e, 0x80 | cc);
	e32(e, 0);
	return e->p - 4;
}

static inline u8 *e_jmp(struct emit *e)
{
	e8(e, 0xe9);
	e32(e, 0);
	return e->p - 4;
}

static inline u8 *e_call(struct emit *e)
{
	e8(e, 0xe8);
	e32(e, 0);
	return e->p - 4;
}

static inline void e_patch(struct emit *e, u8 *at, const u8 *target)
{
	s32 rel = target - (at + 4);

	if (at + 4 <= e->end)
		memcpy(at, &rel, 4);
}

static inline void e_land(struct emit *e, u8 *at)
{
	e_patch(e, at, e->p);
}

/* Where `target` is in the writable mapping. */
static inline void e_jmp_to(struct emit *e, const u8 *target)
{
	e_patch(e, e_jmp(e), target);
}

static inline void e_call_to(struct emit *e, const u8 *target)
{
	e_patch(e, e_call(e), target);
}

#endif
