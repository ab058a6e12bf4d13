/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Thunks: the guest's own instruction, between loads of its operands and stores of its results.
 *
 * A thunk does not name the guest's registers. It takes their numbers from the decoded instruction
 * when it runs, and uses fixed host registers for each role:
 *
 *	modrm.reg xmm1 (index in r8), VEX.vvvv xmm2 (r9), modrm.rm xmm3 (r10), immediate 7:4 xmm4 (r11),
 *	modrm.reg general: rax; modrm.rm general: rcx; memory operand: [rdx]; implicit xmm0, eax, edx, ecx
 *
 * with rdi the x86_cpu and rsi the x86_insn, as the C ABI passes them; everything used is the
 * caller's to lose. So there is one thunk for an encoding with its immediate, and how many there
 * can be is bounded whatever the guest executes. MMX and x87 registers are used in place, so their
 * numbers are part of the encoding. The memory is mapped twice, nowhere both writable and
 * executable; a thunk is never changed once made.
 */
#include "kvm/cpu/soft/vector.h"
#include "kvm/x86/hostop.h"
#include "kvm/x86/xstate.h"

#define CODE_SIZE	(32u << 20)	/* address space; used as it fills */
#define THUNK_MAX	384
#define HASH_BITS	13

struct soft_vector {
	struct os_mutex lock;		/* all below; published thunks are immutable */
	struct os_code code;
	size_t used;
	struct soft_thunk *hash[1 << HASH_BITS];
};

int soft_vector_vm_create(struct soft_vector **out)
{
	struct soft_vector *v = os_alloc(sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	r = os_code_alloc(&v->code, CODE_SIZE);
	if (r) {
		os_free(v);
		return r;
	}
	*out = v;
	return 0;
}

void soft_vector_vm_destroy(struct soft_vector **vp)
{
	struct soft_vector *v = *vp;

	if (!v)
		return;
	for (u32 h = 0; h < ARRAY_SIZE(v->hash); h++) {
		struct soft_thunk *t, *next;

		for (t = v->hash[h]; t; t = next) {
			next = t->next;
			os_free(t);
		}
	}
	os_code_free(&v->code);
	os_free(v);
	*vp = NULL;
}

/* ---- what is special about an instruction's form ---- */

static bool has_operand(const struct x86_opcode *op, u8 kind)
{
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		if (op->op[k].kind == kind)
			return true;
	}
	return false;
}

/* CVTPI2PS with a memory operand has nothing to do with MMX. */
bool soft_is_mmx_or_x87(const struct x86_insn *i)
{
	if ((x86_op(i)->attr & X86_A_SSE) && (i->flags & X86_I_MEM) && !has_operand(x86_op(i), X86_OP_P))
		return false;
	return x86_op(i)->attr & (X86_A_MMX | X86_A_X87);
}

/* VEX.L as it counts. */
bool soft_insn_256(const struct x86_insn *i)
{
	return x86_op(i)->vex != X86_LEGACY && x86_op(i)->vex != X86_VEX_LIG && (i->flags & X86_I_VEXL);
}

/* REX.W or VEX.W as it counts: part of the opcode, or a 64-bit operand. */
bool soft_insn_w(const struct x86_insn *i)
{
	if (x86_op(i)->w == X86_W1)
		return true;
	for (u32 k = 0; k < ARRAY_SIZE(x86_op(i)->op); k++) {
		if (x86_op(i)->op[k].size == X86_SZ_Y && x86_op(i)->op[k].kind != X86_OP_NONE)
			return i->opsize == 8;
	}
	return (x86_op(i)->host & X86_H_RD_LEN) && i->opsize == 8;
}

u32 soft_operand_bytes(const struct x86_insn *i, u8 size)
{
	u32 x = soft_insn_256(i) ? 32 : 16;

	switch (size) {
	case X86_SZ_B:	return 1;
	case X86_SZ_W:	return 2;
	case X86_SZ_D:	return 4;
	case X86_SZ_Q:	return 8;
	case X86_SZ_T:	return 10;
	case X86_SZ_DQ:	return 16;
	case X86_SZ_QQ:	return 32;
	case X86_SZ_X:	return x;
	case X86_SZ_HX:	return x / 2;
	case X86_SZ_QX:	return x / 4;
	case X86_SZ_OX:	return x / 8;
	case X86_SZ_Y:	return i->opsize == 8 ? 8 : 4;
	default:	return 0;
	}
}

/* The operand that modrm.rm names. */
static const struct x86_operand *rm_operand(const struct x86_opcode *op)
{
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		switch (op->op[k].kind) {
		case X86_OP_E:
		case X86_OP_M:
		case X86_OP_W:
		case X86_OP_Q:
			return &op->op[k];
		}
	}
	return NULL;
}

/* ---- emitting ---- */

struct emit {
	u8 *p, *end;
	u64 rx;			/* address of the next byte where it will run */
};

static void byte(struct emit *e, u8 b)
{
	if (e->p < e->end)
		*e->p = b;
	e->p++;
	e->rx++;
}

static void bytes(struct emit *e, const u8 *b, u32 n)
{
	for (u32 k = 0; k < n; k++)
		byte(e, b[k]);
}
#define CODE(e, ...) do {						\
	static const u8 code_bytes[] = { __VA_ARGS__ };			\
	bytes(e, code_bytes, sizeof(code_bytes));			\
} while (0)

static void imm32(struct emit *e, u32 v)
{
	for (u32 k = 0; k < 4; k++)
		byte(e, v >> (8 * k));
}

static void imm64(struct emit *e, u64 v)
{
	imm32(e, v);
	imm32(e, v >> 32);
}

enum { HOST_RAX, HOST_RCX, HOST_RDX, HOST_R8 = 8, HOST_R9, HOST_R10, HOST_R11 };
enum { ROLE_IMPLICIT, ROLE_REG, ROLE_VVVV, ROLE_RM, ROLE_L };	/* xmm number; r7+role holds the index */

#define CPU(field)	((u32)offsetof(struct x86_cpu, field))

/* role's register number, times 32 for a vector register, to r8-r11. */
static void load_index(struct emit *e, int role, bool vector)
{
	u32 off = role == ROLE_REG ? offsetof(struct x86_insn, reg) :
		  role == ROLE_RM ? offsetof(struct x86_insn, rm) :
		  role == ROLE_VVVV ? offsetof(struct x86_insn, vvvv) : offsetof(struct x86_insn, imm2);
	u8 n = role - 1;	/* r8 + n */

	/* movzx r(8+n)d, byte [rsi + off] */
	byte(e, 0x44); byte(e, 0x0f); byte(e, 0xb6); byte(e, 0x46 | n << 3); byte(e, off);
	if (role == ROLE_L) {
		/* and r11d, 0xf0; add r11d, r11d: bits 7:4 times 32 */
		CODE(e, 0x41, 0x81, 0xe3, 0xf0, 0, 0, 0, 0x45, 0x01, 0xdb);
	} else if (vector) {
		/* shl r(8+n)d, 5 */
		byte(e, 0x41); byte(e, 0xc1); byte(e, 0xe0 | n); byte(e, 5);
	}
}

/* movups between xmm<role> and the guest's register; 16 bytes, or with VEX 16 or 32. */
static void move_vector(struct emit *e, int role, bool store, bool vex, bool l)
{
	u8 n = role - 1;

	if (role == ROLE_IMPLICIT) {
		/* [rdi + disp32] */
		if (vex) {
			byte(e, 0xc5); byte(e, 0xf8 | (l ? 4 : 0));
		} else {
			byte(e, 0x0f);
		}
		byte(e, store ? 0x11 : 0x10); byte(e, 0x87);
		imm32(e, CPU(fpu.ymm));
		return;
	}
	/* [rdi + r(8+n) + disp32] */
	if (vex) {
		byte(e, 0xc4); byte(e, 0xa1); byte(e, 0x78 | (l ? 4 : 0));	/* ~R, X, ~B; map 0F */
	} else {
		byte(e, 0x42); byte(e, 0x0f);
	}
	byte(e, store ? 0x11 : 0x10);
	byte(e, 0x84 | role << 3);
	byte(e, 0x07 | n << 3);		/* base rdi, index r8 + n */
	imm32(e, CPU(fpu.ymm));
}

/* mov between host register r and the guest's general register whose number is in r8 + role - 1. */
static void move_gpr(struct emit *e, int role, u8 r, bool store)
{
	u8 n = role - 1;

	byte(e, 0x4a); byte(e, store ? 0x89 : 0x8b);		/* REX.W, X */
	byte(e, 0x84 | r << 3);
	byte(e, 0xc7 | n << 3);					/* [rdi + r(8+n) * 8 + disp32] */
	imm32(e, CPU(regs));
}

/* mov r64, [rdi + off], or the store. r < 8. */
static void move_field(struct emit *e, u8 r, u32 off, bool store)
{
	byte(e, 0x48); byte(e, store ? 0x89 : 0x8b); byte(e, 0x87 | r << 3);
	imm32(e, off);
}

static void jump_far(struct emit *e, const void *to)
{
	byte(e, 0x48); byte(e, 0xb8); imm64(e, (u64)to);	/* mov rax, to */
	CODE(e, 0xff, 0xe0);					/* jmp rax */
}

/* jcc rel32 to a place not known yet; returns where the displacement goes. */
static u8 *jump_if(struct emit *e, u8 cc)
{
	byte(e, 0x0f); byte(e, 0x80 | cc);
	imm32(e, 0);
	return e->p - 4;
}

static void land(struct emit *e, u8 *at)
{
	u32 rel = e->p - (at + 4);

	if (at + 4 <= e->end)
		memcpy(at, &rel, 4);
}

/* The instruction itself. base: host register that holds the address of the memory operand. */
static void emit_insn(struct emit *e, const struct x86_insn *i, u8 base)
{
	static const u8 pp[] = { [X86_PFX_66] = 1, [X86_PFX_F3] = 2, [X86_PFX_F2] = 3 };
	static const u8 legacy_prefix[] = {
		[X86_PFX_66] = 0x66, [X86_PFX_F3] = 0xf3, [X86_PFX_F2] = 0xf2 };
	const struct x86_opcode *op = x86_op(i);
	bool mem = i->flags & X86_I_MEM, w = soft_insn_w(i), b = mem && base >= 8;
	u8 reg = 0, rm = 0, vvvv = 0, prefix;

	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		switch (op->op[k].kind) {
		case X86_OP_V:	reg = ROLE_REG; break;
		case X86_OP_P:	reg = i->reg & 7; break;
		case X86_OP_H:	vvvv = ROLE_VVVV; break;
		case X86_OP_W:	rm = ROLE_RM; break;
		case X86_OP_E:	rm = HOST_RCX; break;
		case X86_OP_Q:
		case X86_OP_ST:	rm = i->rm & 7; break;
		}
	}
	if (op->reg >= 0)
		reg = op->reg;
	if (op->rm >= 0)
		rm = op->rm;

	prefix = op->pfx < ARRAY_SIZE(legacy_prefix) ? op->pfx : X86_PFX_ANY;
	if (op->vex != X86_LEGACY) {
		byte(e, 0xc4);
		byte(e, 0xc0 | (b ? 0 : 0x20) | op->map);	/* map 0F is 1 in both numberings */
		byte(e, (w ? 0x80 : 0) | (~vvvv & 0xf) << 3 | (soft_insn_256(i) ? 4 : 0) | pp[prefix]);
	} else {
		if (legacy_prefix[prefix])
			byte(e, legacy_prefix[prefix]);
		if (w || b)
			byte(e, 0x40 | (w ? 8 : 0) | b);
		if (op->map != X86_MAP_1)
			byte(e, 0x0f);
		if (op->map == X86_MAP_0F38)
			byte(e, 0x38);
		if (op->map == X86_MAP_0F3A)
			byte(e, 0x3a);
	}
	byte(e, op->opcode);
	if (op->mod != X86_MOD_NONE)
		byte(e, mem ? reg << 3 | (base & 7) : 0xc0 | reg << 3 | rm);
	if (has_operand(op, X86_OP_L))
		byte(e, ROLE_L << 4);
	else if (has_operand(op, X86_OP_I))
		byte(e, i->imm2);
}

static int vector_role(u8 kind, bool mem)
{
	switch (kind) {
	case X86_OP_V:	return ROLE_REG;
	case X86_OP_H:	return ROLE_VVVV;
	case X86_OP_W:	return mem ? -1 : ROLE_RM;
	case X86_OP_L:	return ROLE_L;
	default:	return -1;
	}
}

static int gpr_role(u8 kind, bool mem)
{
	switch (kind) {
	case X86_OP_G:	return ROLE_REG;
	case X86_OP_E:	return mem ? -1 : ROLE_RM;
	default:	return -1;
	}
}

static void emit_core(struct emit *e, const struct x86_insn *i)
{
	const struct x86_opcode *op = x86_op(i);
	bool mem = i->flags & X86_I_MEM, vex = op->vex != X86_LEGACY, l = soft_insn_256(i);
	u8 base = HOST_RDX;
	int role;

	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		role = vector_role(op->op[k].kind, mem);
		if (role >= 0) {
			load_index(e, role, true);
			if (op->op[k].access & X86_RD)
				move_vector(e, role, false, vex, l);
		}
		role = gpr_role(op->op[k].kind, mem);
		if (role >= 0) {
			load_index(e, role, false);
			if (op->op[k].access & X86_RD)
				move_gpr(e, role, role == ROLE_REG ? HOST_RAX : HOST_RCX, false);
		}
	}
	if (op->host & X86_H_RD_XMM0)
		move_vector(e, ROLE_IMPLICIT, false, vex, l);
	if (op->host & X86_H_RD_LEN) {
		CODE(e, 0x49, 0x89, 0xd1);			/* mov r9, rdx */
		base = HOST_R9;
		move_field(e, HOST_RAX, CPU(regs[X86_RAX]), false);
		move_field(e, HOST_RDX, CPU(regs[X86_RDX]), false);
	}
	if (op->host & X86_H_RD_FLAGS) {
		move_field(e, HOST_RAX, CPU(rflags), false);
		CODE(e, 0x25, 0xd5, 0x08, 0, 0,			/* and eax, 0x8d5 */
		     0x50, 0x9d);				/* push rax; popfq */
	}

	emit_insn(e, i, base);

	if (op->host & X86_H_WR_ECX)
		move_field(e, HOST_RCX, CPU(regs[X86_RCX]), true);
	if (op->host & X86_H_FLAGS) {
		CODE(e, 0x0f, 0x90, 0xc0,			/* seto al */
		     0x9f,					/* lahf */
		     0x0f, 0xb6, 0xcc,				/* movzx ecx, ah */
		     0x81, 0xe1, 0xd5, 0, 0, 0,			/* and ecx, 0xd5 */
		     0x0f, 0xb6, 0xc0,				/* movzx eax, al */
		     0xc1, 0xe0, 0x0b,				/* shl eax, 11 */
		     0x09, 0xc1);				/* or ecx, eax */
		move_field(e, HOST_RAX, CPU(rflags), false);
		CODE(e, 0x48, 0x25, 0x2a, 0xf7, 0xff, 0xff,	/* and rax, ~0x8d5 */
		     0x48, 0x09, 0xc8);				/* or rax, rcx */
		move_field(e, HOST_RAX, CPU(rflags), true);
	}
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		if (!(op->op[k].access & X86_WR))
			continue;
		role = vector_role(op->op[k].kind, mem);
		if (role >= 0)
			move_vector(e, role, true, vex, vex);
		role = gpr_role(op->op[k].kind, mem);
		if (role >= 0)
			move_gpr(e, role, role == ROLE_REG ? HOST_RAX : HOST_RCX, true);
		if (op->op[k].kind == X86_OP_ACC) {		/* fnstsw ax */
			byte(e, 0x66); byte(e, 0x89); byte(e, 0x87);
			imm32(e, CPU(regs[X86_RAX]));
		}
	}
	if (op->host & X86_H_WR_XMM0)
		move_vector(e, ROLE_IMPLICIT, true, vex, vex);
	if (l)
		CODE(e, 0xc5, 0xf8, 0x77);			/* vzeroupper */
	if (op->attr & X86_A_X87)
		CODE(e, 0xdf, 0xe0, 0x0f, 0xb7, 0xc0);		/* fnstsw ax; movzx eax, ax */
	else
		CODE(e, 0x31, 0xc0);				/* xor eax, eax: X86_OK */
	byte(e, 0xc3);
}

/* ---- the cache ---- */

static u8 deny_bits(const struct x86_opcode *op)
{
	return (op->attr & X86_A_X87 ? X86_DENY_X87 : 0) | (op->attr & X86_A_MMX ? X86_DENY_MMX : 0) |
	       (op->attr & X86_A_SSE ? X86_DENY_SSE : 0) | (op->attr & X86_A_AVX ? X86_DENY_AVX : 0);
}

static u64 thunk_key(const struct x86_insn *i)
{
	bool mem = i->flags & X86_I_MEM;
	u64 key = (u64)i->row << 32 | soft_insn_256(i) << 0 | soft_insn_w(i) << 1 | mem << 2;

	if (has_operand(x86_op(i), X86_OP_I))
		key |= (u32)i->imm2 << 8;
	if (has_operand(x86_op(i), X86_OP_P))
		key |= (i->reg & 7) << 16;
	if (!mem && (has_operand(x86_op(i), X86_OP_Q) || has_operand(x86_op(i), X86_OP_ST)))
		key |= (i->rm & 7) << 20;
	return key;
}

static struct soft_thunk *make_thunk(struct soft_vector *v, const struct x86_insn *i, u64 key)
{
	const struct x86_operand *rm = rm_operand(x86_op(i));
	struct soft_thunk *t;
	u8 *rw = v->code.rw + v->used, *denied = NULL, *not_live = NULL;
	struct emit e = { rw, rw + THUNK_MAX, (u64)(v->code.rx + v->used) };
	bool direct;

	if (v->used + THUNK_MAX > v->code.size)
		return NULL;
	t = os_alloc(sizeof(*t));
	if (!t)
		return NULL;
	t->key = key;
	t->op = x86_op(i);
	t->deny = deny_bits(x86_op(i));
	if ((i->flags & X86_I_MEM) && rm) {
		t->mem_size = soft_operand_bytes(i, rm->size);
		if (x86_op(i)->attr & X86_A_ALIGN)
			t->align_mask = t->mem_size - 1;
	}

	/* Register forms of SSE and AVX run straight from the loop: the checks come first. */
	direct = !soft_is_mmx_or_x87(i) && !(i->flags & X86_I_MEM);
	if (direct) {
		t->fn = (x86_exec_fn *)e.rx;
		/* test byte [rdi + deny], bits */
		byte(&e, 0xf6); byte(&e, 0x87); imm32(&e, CPU(fpu.deny)); byte(&e, t->deny);
		denied = jump_if(&e, 5);
		if (x86_op(i)->host & X86_H_FP) {
			/* cmp byte [rdi + mxcsr_live], 0 */
			byte(&e, 0x80); byte(&e, 0xbf); imm32(&e, CPU(fpu.mxcsr_live)); byte(&e, 0);
			not_live = jump_if(&e, 4);
		}
	}
	t->core = (void *)e.rx;
	emit_core(&e, i);
	if (direct) {
		land(&e, denied);
		jump_far(&e, soft_denied);
		if (not_live) {
			land(&e, not_live);
			jump_far(&e, soft_fp_reg);
		}
	}
	if (e.p > e.end)
		os_panic("soft: thunk too long");
	v->used += ALIGN_UP((size_t)(e.p - rw), 16);
	return t;
}

const struct soft_thunk *soft_thunk_get(struct soft_vector *v, const struct x86_insn *i)
{
	u64 key = thunk_key(i);
	struct soft_thunk **slot = &v->hash[(key * 0x9e3779b97f4a7c15ull) >> (64 - HASH_BITS)];
	struct soft_thunk *t;

	os_mutex_lock(&v->lock);
	for (t = *slot; t; t = t->next) {
		if (t->key == key)
			goto out;
	}
	t = make_thunk(v, i, key);
	if (t) {
		t->next = *slot;
		*slot = t;
	}
out:
	os_mutex_unlock(&v->lock);
	return t;
}
