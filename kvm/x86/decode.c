/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From bytes to struct x86_insn, by the instruction table (SDM volume 2, chapter 2; APM volume 3,
 * chapter 1). Pure: it sees bytes, a code size and a set of features, and nothing of the guest.
 *
 * An instruction is prefixes, then an opcode in one of four maps, perhaps modrm with what belongs
 * to it, perhaps immediates. The rows of an opcode are tried in order once its modrm byte is known;
 * the row then says what follows. What depends on more than that (privilege, real mode, CR0.TS) is
 * for whoever executes the row's attributes.
 */
#include "kvm/os/os.h"
#include "kvm/x86/cpu.h"
#include "kvm/x86/insn.h"

#define INSN_MAX	15
#define NO_ROW		0xffff

enum { FETCH_OK = 1, FETCH_SHORT = 0, UNDEFINED = -1, TOO_LONG = -2 };

/* The bytes, and what is known of the instruction so far. */
struct decode {
	const u8 *bytes;
	u32 n, pos;
	int mode;
	u8 rex;			/* the byte, 0 for none; for VEX, the same bits */
	u8 rep;			/* 0xf2 or 0xf3: the last of them; 0 */
	bool opsize66, addrsize67, lock, vex;
	int seg;		/* override, -1: none */
	u8 map, opcode;
	u8 vex_l, vvvv;		/* vvvv as stored: inverted */
	u8 vex_pp;
	u8 mod, reg, rm;	/* of modrm, three bits each at most */
};

static const u8 prefix_bytes[] = {
	0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3
};

static bool host_is_amd(void)
{
	u32 eax = 0, ebx, ecx = 0, edx;

	__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return (ebx == 0x68747541 && edx == 0x69746e65 && ecx == 0x444d4163) || /* AuthenticAMD */
	       (ebx == 0x6f677948 && edx == 0x6e65476e && ecx == 0x656e6975);	/* HygonGenuine */
}

int x86_decoder_init(struct x86_decoder *d, x86_exec_fn *host_exec)
{
	u32 nr_groups = X86_NR_MAPS * 256, n = 0;

	/* Each opcode's rows, in the order of the table, then NO_ROW. */
	d->rows = os_alloc((x86_optable_size + nr_groups) * sizeof(*d->rows));
	if (!d->rows)
		return -ENOMEM;

	/* A counting sort: sizes, then starts, then places. */
	memset(d->first, 0, sizeof(d->first));
	for (u32 i = 0; i < x86_optable_size; i++)
		d->first[x86_optable[i].map][x86_optable[i].opcode]++;
	for (u32 m = 0; m < X86_NR_MAPS; m++) {
		for (u32 o = 0; o < 256; o++) {
			u32 count = d->first[m][o];

			d->first[m][o] = n;
			for (u32 i = 0; i <= count; i++)
				d->rows[n + i] = NO_ROW;
			n += count + 1;
		}
	}
	for (u32 i = 0; i < x86_optable_size; i++) {
		u16 *slot = &d->rows[d->first[x86_optable[i].map][x86_optable[i].opcode]];

		while (*slot != NO_ROW)
			slot++;
		*slot = i;
	}
	d->host_exec = host_exec;
	d->near66 = host_is_amd();
	return 0;
}

void x86_decoder_free(struct x86_decoder *d)
{
	os_free(d->rows);
	d->rows = NULL;
}

/* The next `size` bytes as a little-endian number. FETCH_OK, FETCH_SHORT, TOO_LONG. */
static int fetch(struct decode *s, u32 size, u64 *val)
{
	u64 v = 0;

	if (s->pos + size > INSN_MAX)
		return TOO_LONG;
	if (s->pos + size > s->n)
		return FETCH_SHORT;
	for (u32 i = 0; i < size; i++)
		v |= (u64)s->bytes[s->pos + i] << (8 * i);
	s->pos += size;
	*val = v;
	return FETCH_OK;
}

static int fetch8(struct decode *s, u8 *val)
{
	u64 v;
	int r = fetch(s, 1, &v);

	if (r == FETCH_OK)
		*val = v;
	return r;
}

static bool is_legacy_prefix(u8 b)
{
	for (u32 i = 0; i < ARRAY_SIZE(prefix_bytes); i++) {
		if (prefix_bytes[i] == b)
			return true;
	}
	return false;
}

/* Prefixes up to and including the first byte of the opcode, which *op is. */
static int decode_prefixes(struct decode *s, u8 *op)
{
	u8 b;

	for (;;) {
		int r = fetch8(s, &b);

		if (r != FETCH_OK)
			return r;
		if (s->mode == X86_MODE_64 && (b & 0xf0) == 0x40) {
			s->rex = b;
			continue;
		}
		if (!is_legacy_prefix(b))
			break;
		s->rex = 0;	/* counts only right before the opcode */
		switch (b) {
		case 0x26: case 0x2e: case 0x36: case 0x3e:
			/* Void in 64-bit mode: an FS or GS before them stands. */
			if (s->mode != X86_MODE_64)
				s->seg = (b >> 3) & 3;
			break;
		case 0x64: case 0x65:
			s->seg = b - 0x64 + X86_SEG_FS;
			break;
		case 0x66:
			s->opsize66 = true;
			break;
		case 0x67:
			s->addrsize67 = true;
			break;
		case 0xf0:
			s->lock = true;
			break;
		default:
			s->rep = b;
		}
	}
	*op = b;
	return FETCH_OK;
}

/* The rest of a VEX prefix whose first byte is `b0` and whose second is not yet fetched. */
static int decode_vex(struct decode *s, u8 b0)
{
	u8 b1, b2;
	int r = fetch8(s, &b1);

	if (r != FETCH_OK)
		return r;
	if (s->opsize66 || s->rep || s->lock || s->rex)
		return UNDEFINED;
	s->vex = true;
	if (b0 == 0xc5) {
		s->map = X86_MAP_0F;
		b2 = b1 & 0x7f;			/* W is 0 */
		s->rex = b1 & 0x80 ? 0 : 4;
	} else {
		u8 map = b1 & 0x1f;

		r = fetch8(s, &b2);
		if (r != FETCH_OK)
			return r;
		if (map < 1 || map > 3)
			return UNDEFINED;
		s->map = X86_MAP_0F + map - 1;
		s->rex = (~b1 >> 5) & 7;	/* R, X, B */
		if (b2 & 0x80)
			s->rex |= 8;
	}
	if (s->mode != X86_MODE_64)
		s->rex &= 8;			/* there are eight registers */
	s->vvvv = (b2 >> 3) & 0xf;
	s->vex_l = (b2 >> 2) & 1;
	s->vex_pp = b2 & 3;
	return fetch8(s, &s->opcode);
}

/* Map and opcode, for VEX the prefix too. */
static int decode_opcode(struct decode *s)
{
	u8 b;
	int r = decode_prefixes(s, &b);

	if (r != FETCH_OK)
		return r;
	if (b == 0xc4 || b == 0xc5) {
		/* Outside 64-bit mode these are LES and LDS, unless modrm would name a register. */
		if (s->mode == X86_MODE_64)
			return decode_vex(s, b);
		if (s->pos >= INSN_MAX)
			return TOO_LONG;
		if (s->pos >= s->n)
			return FETCH_SHORT;
		if ((s->bytes[s->pos] & 0xc0) == 0xc0)
			return decode_vex(s, b);
	}
	s->map = X86_MAP_1;
	s->opcode = b;
	if (b != 0x0f)
		return FETCH_OK;
	s->map = X86_MAP_0F;
	r = fetch8(s, &s->opcode);
	if (r != FETCH_OK)
		return r;
	if (s->opcode != 0x38 && s->opcode != 0x3a)
		return FETCH_OK;
	s->map = s->opcode == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
	return fetch8(s, &s->opcode);
}

static bool row_has_operand(const struct x86_opcode *row, u8 kind)
{
	for (u32 i = 0; i < ARRAY_SIZE(row->op); i++) {
		if (row->op[i].kind == kind)
			return true;
	}
	return false;
}

static bool row_has_size(const struct x86_opcode *row, u8 size)
{
	for (u32 i = 0; i < ARRAY_SIZE(row->op); i++) {
		if (row->op[i].size == size && row->op[i].kind != X86_OP_NONE &&
		    row->op[i].kind != X86_OP_SEG)
			return true;
	}
	return false;
}

static bool prefix_matches(const struct decode *s, const struct x86_opcode *row)
{
	u8 rep = s->rep;
	bool p66 = s->opsize66;

	if (s->vex) {
		p66 = s->vex_pp == 1;
		rep = s->vex_pp == 2 ? 0xf3 : s->vex_pp == 3 ? 0xf2 : 0;
	}
	switch (row->pfx) {
	case X86_PFX_NP:
		return !rep && !p66;
	case X86_PFX_66:
		return !rep && p66;
	case X86_PFX_F3:
		return rep == 0xf3;
	case X86_PFX_F2:
		return rep == 0xf2;
	case X86_PFX_NOREP:
		return !rep;
	default:
		return true;
	}
}

/* All that can be told before modrm. */
static bool row_matches(const struct decode *s, const struct x86_opcode *row, const u32 *features)
{
	if (s->vex != (row->vex != X86_LEGACY))
		return false;
	if ((row->vex == X86_VEX_128 && s->vex_l) || (row->vex == X86_VEX_256 && !s->vex_l))
		return false;
	if (row->w != X86_W_ANY && !(s->rex & 8) != (row->w == X86_W0))
		return false;
	if (!prefix_matches(s, row))
		return false;
	if (row->attr & (s->mode == X86_MODE_64 ? X86_A_I64 : X86_A_O64))
		return false;
	if (features && row->feature && !(features[row->feature / 32] & BIT(row->feature % 32)))
		return false;
	if (row->mod == X86_MOD_NONE && row->rm >= 0 &&
	    row->rm != ((s->opcode & 7) | (s->rex & 1) << 3))
		return false;
	return true;
}

static bool modrm_matches(const struct decode *s, const struct x86_opcode *row)
{
	if (row->mod == X86_MOD_MEM && s->mod == 3)
		return false;
	if (row->mod == X86_MOD_REG && s->mod != 3)
		return false;
	if (row->reg >= 0 && row->reg != s->reg)
		return false;
	return row->rm < 0 || row->rm == s->rm;
}

/* Finds the row, fetching modrm where the opcode has one. */
static int find_row(struct decode *s, const struct x86_decoder *d, const u32 *features,
		    const struct x86_opcode **out)
{
	const u16 *slot = &d->rows[d->first[s->map][s->opcode]];
	bool have_modrm = false;

	for (; *slot != NO_ROW; slot++) {
		const struct x86_opcode *row = &x86_optable[*slot];

		if (!row_matches(s, row, features))
			continue;
		if (row->mod != X86_MOD_NONE) {
			if (!have_modrm) {
				u8 b;
				int r = fetch8(s, &b);

				if (r != FETCH_OK)
					return r;
				s->mod = b >> 6;
				s->reg = (b >> 3) & 7;
				s->rm = b & 7;
				have_modrm = true;
			}
			if (!modrm_matches(s, row))
				continue;
		}
		*out = row;
		return FETCH_OK;
	}
	return UNDEFINED;
}

static u8 operand_size(const struct decode *s, const struct x86_decoder *d,
		       const struct x86_opcode *row)
{
	bool p66 = s->opsize66 && row->pfx != X86_PFX_66;
	u8 size;

	if (row->attr & X86_A_BYTE)
		return 1;
	if (row_has_operand(row, X86_OP_C) || row_has_operand(row, X86_OP_D))
		return s->mode == X86_MODE_64 ? 8 : 4;
	if (s->mode == X86_MODE_64) {
		if (s->rex & 8)
			size = 8;
		else if (row->attr & X86_A_F64)
			size = p66 && (row->attr & X86_A_BRANCH) && d->near66 ? 2 : 8;
		else if (row->attr & X86_A_D64)
			size = p66 ? 2 : 8;
		else
			size = p66 ? 2 : 4;
	} else if (s->vex) {
		size = 4;
	} else {
		size = p66 == (s->mode == X86_MODE_16) ? 4 : 2;
	}
	if (size == 2 && row_has_size(row, X86_SZ_Y) && !row_has_size(row, X86_SZ_V) &&
	    !row_has_size(row, X86_SZ_Z))
		size = 4;
	return size;
}

/* Base, index and displacement of 16-bit addressing, by modrm.rm (SDM volume 2, table 2-1). */
static const struct { u8 base, index; } modrm16[8] = {
	{ X86_RBX, X86_RSI }, { X86_RBX, X86_RDI }, { X86_RBP, X86_RSI }, { X86_RBP, X86_RDI },
	{ X86_RSI, X86_REG_ZERO }, { X86_RDI, X86_REG_ZERO }, { X86_RBP, X86_REG_ZERO },
	{ X86_RBX, X86_REG_ZERO },
};

static int decode_address16(struct decode *s, struct x86_insn *out, bool *stack)
{
	u64 disp = 0;
	int r = FETCH_OK;

	out->base = modrm16[s->rm].base;
	out->index = modrm16[s->rm].index;
	if (s->mod == 0 && s->rm == 6) {
		out->base = X86_REG_ZERO;
		r = fetch(s, 2, &disp);
	} else if (s->mod == 1) {
		r = fetch(s, 1, &disp);
		disp = (s8)disp;
	} else if (s->mod == 2) {
		r = fetch(s, 2, &disp);
	}
	*stack = out->base == X86_RBP;
	out->disp = (s16)disp;
	return r;
}

static int decode_address(struct decode *s, const struct x86_opcode *row, struct x86_insn *out,
			  bool *stack)
{
	u8 base = s->rm, sib;
	u64 disp = 0;
	u32 disp_size = s->mod == 1 ? 1 : s->mod == 2 ? 4 : 0;
	bool vsib = row_has_operand(row, X86_OP_VSIB);
	int r;

	if (vsib && s->rm != 4)
		return UNDEFINED;
	out->base = s->rm | (s->rex & 1) << 3;
	if (s->rm == 4) {
		u8 index;

		r = fetch8(s, &sib);
		if (r != FETCH_OK)
			return r;
		base = sib & 7;
		out->base = base | (s->rex & 1) << 3;
		index = ((sib >> 3) & 7) | (s->rex & 2) << 2;
		out->scale = sib >> 6;
		out->index = index == 4 && !vsib ? X86_REG_ZERO : index;
		if (out->index == X86_REG_ZERO)
			out->scale = 0;
		if (s->mod == 0 && base == 5) {
			out->base = X86_REG_ZERO;
			disp_size = 4;
		}
	} else if (s->mod == 0 && s->rm == 5) {
		out->base = s->mode == X86_MODE_64 ? X86_REG_RIP : X86_REG_ZERO;
		disp_size = 4;
	}
	*stack = out->base == X86_RSP || out->base == X86_RBP;
	if (!disp_size)
		return FETCH_OK;
	r = fetch(s, disp_size, &disp);
	out->disp = disp_size == 1 ? (s8)disp : (s32)disp;
	return r;
}

/* The memory operand of modrm, or its register. */
static int decode_modrm(struct decode *s, const struct x86_opcode *row, struct x86_insn *out)
{
	bool stack = false;
	int r;

	out->reg = s->reg | (s->rex & 4) << 1;
	if (row->attr & X86_A_X87)
		/* part of the opcode that FOP shows */
		out->imm2 = s->mod << 6 | s->reg << 3 | s->rm;
	/* Moves to and from control and debug registers take any mod for a register. */
	if (s->mod == 3 || row_has_operand(row, X86_OP_R)) {
		out->rm = s->rm | (s->rex & 1) << 3;
		return FETCH_OK;
	}
	out->flags |= X86_I_MEM;
	if (out->addrsize == 2) {
		if (row_has_operand(row, X86_OP_VSIB))
			return UNDEFINED;
		r = decode_address16(s, out, &stack);
	} else {
		r = decode_address(s, row, out, &stack);
	}
	if (stack && s->mode != X86_MODE_64 && s->seg < 0)
		out->seg = X86_SEG_SS;
	return r;
}

/* Register numbers that REX cannot extend, and those that do not exist. */
static int check_registers(const struct x86_opcode *row, struct x86_insn *out)
{
	for (u32 i = 0; i < ARRAY_SIZE(row->op); i++) {
		switch (row->op[i].kind) {
		case X86_OP_P:
			out->reg &= 7;
			break;
		case X86_OP_Q:
		case X86_OP_ST:
			out->rm &= 7;
			break;
		case X86_OP_S:
			out->reg &= 7;
			if (out->reg > X86_SEG_GS)
				return UNDEFINED;
			break;
		case X86_OP_D:
			if (out->reg > 7)
				return UNDEFINED;
			break;
		}
	}
	return FETCH_OK;
}

static int decode_immediates(struct decode *s, const struct x86_opcode *row, struct x86_insn *out)
{
	bool second = false;

	for (u32 i = 0; i < ARRAY_SIZE(row->op); i++) {
		u32 z = out->opsize == 2 ? 2 : 4, size = 0;
		u64 v = 0, sel;
		int r;

		switch (row->op[i].kind) {
		case X86_OP_L:
			size = 1;
			break;
		case X86_OP_I:
		case X86_OP_IS:
		case X86_OP_J:
			switch (row->op[i].size) {
			case X86_SZ_B:
				size = 1;
				break;
			case X86_SZ_W:
				size = 2;
				break;
			case X86_SZ_V:
				size = out->opsize;
				break;
			default:
				size = z;
			}
			break;
		case X86_OP_A:
			size = z;
			break;
		case X86_OP_O:
			size = out->addrsize;
			break;
		default:
			continue;
		}
		r = fetch(s, size, &v);
		if (r != FETCH_OK)
			return r;
		switch (row->op[i].kind) {
		case X86_OP_A:
			r = fetch(s, 2, &sel);
			if (r != FETCH_OK)
				return r;
			out->disp = sel;
			break;
		case X86_OP_I:
			if (row->op[i].size == X86_SZ_Z && size == 4)
				v = (s32)v;
			break;
		case X86_OP_IS:
		case X86_OP_J:
			v = size == 1 ? (u64)(s8)v : size == 2 ? (u64)(s16)v : (u64)(s32)v;
			break;
		}
		if (second || (row->attr & X86_A_HOST))
			out->imm2 = v;
		else
			out->imm = v;
		second = true;
	}
	return FETCH_OK;
}

int x86_decode(const struct x86_decoder *d, const u8 *bytes, u32 n, int mode, const u32 *features,
	       struct x86_insn *out)
{
	struct decode s = {
		.bytes = bytes, .n = min(n, (u32)INSN_MAX), .mode = mode, .seg = -1, .vvvv = 0xf
	};
	const struct x86_opcode *row = NULL;
	int r;

	*out = (struct x86_insn){ .base = X86_REG_ZERO, .index = X86_REG_ZERO };
	r = decode_opcode(&s);
	if (r != FETCH_OK)
		return r;
	r = find_row(&s, d, features, &row);
	if (r != FETCH_OK)
		return r;

	out->row = row - x86_optable;
	out->opsize = operand_size(&s, d, row);
	if (mode == X86_MODE_64)
		out->addrsize = s.addrsize67 ? 4 : 8;
	else
		out->addrsize = s.addrsize67 == (mode == X86_MODE_16) ? 4 : 2;
	if (s.seg >= 0)
		out->seg = s.seg;
	else
		out->seg = mode == X86_MODE_64 ? X86_SEG_FLAT : X86_SEG_DS;
	out->vvvv = ~s.vvvv & (mode == X86_MODE_64 ? 0xf : 7);
	out->flags = (s.lock ? X86_I_LOCK : 0) | (s.rep == 0xf3 ? X86_I_REP : 0) |
		     (s.rep == 0xf2 ? X86_I_REPNE : 0) | (s.vex_l ? X86_I_VEXL : 0) |
		     (s.rex & 8 ? X86_I_W : 0) | (s.opsize66 ? X86_I_66 : 0) |
		     (s.rex && !s.vex ? X86_I_REX : 0);

	if (row->mod == X86_MOD_NONE) {
		out->reg = (s.opcode & 7) | (s.rex & 1) << 3;
		out->rm = row_has_operand(row, X86_OP_ACC) ? 0 : out->reg;
	} else {
		r = decode_modrm(&s, row, out);
		if (r != FETCH_OK)
			return r;
	}
	r = decode_immediates(&s, row, out);
	if (r != FETCH_OK)
		return r;

	/* Only now, because a fault of fetching the rest comes before #UD. */
	r = row->mod == X86_MOD_NONE ? FETCH_OK : check_registers(row, out);
	if (r != FETCH_OK)
		return r;
	if (s.vex && s.vvvv != 0xf && !row_has_operand(row, X86_OP_H) &&
	    !row_has_operand(row, X86_OP_B))
		return UNDEFINED;
	/* A row for registers only that takes LOCK is MOV CR0 as an alias of CR8. */
	if (s.lock && (!(row->attr & X86_A_LOCK) ||
		       (!(out->flags & X86_I_MEM) && row->mod != X86_MOD_REG)))
		return UNDEFINED;

	if (row->attr & X86_A_HOST) {
		out->fn = d->host_exec;
	} else {
		u32 log = out->opsize == 8 ? 3 : out->opsize >> 1;

		out->fn = row->handler->fn[log][!!(out->flags & X86_I_MEM)];
	}
	if (!out->fn)
		return UNDEFINED;
	out->len = s.pos;
	return s.pos;
}
