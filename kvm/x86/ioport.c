/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IN, OUT, INS, OUTS, and who may use which port: IOPL, and the TSS's permission bitmap (SDM
 * volume 1, 19.5).
 */
#include "kvm/x86/descriptor.h"
#include "kvm/x86/handlers_sys.h"

int x86_check_io(struct x86_cpu *c, u16 port, u32 size)
{
	const struct x86_segment *tr = &c->seg[X86_SEG_TR];
	u32 at;
	u16 map;
	int r;

	if (!x86_protected(c) || (!x86_vm86(c) && c->cpl <= x86_iopl(c)))
		return X86_OK;
	if ((tr->attr & X86_SEG_UNUSABLE) || !(tr->attr & 8) || tr->limit < 0x67)
		return x86_raise_err(c, X86_GP, 0);
	r = x86_read_sys(c, (tr->base + 0x66) & x86_sys_mask(c), &map, 2);
	if (r)
		return r;
	/* Two bytes are read: an access may span them. So the map ends with a byte of ones. */
	at = map + port / 8;
	if (at + 1 > tr->limit)
		return x86_raise_err(c, X86_GP, 0);
	r = x86_read_sys(c, (tr->base + at) & x86_sys_mask(c), &map, 2);
	if (r)
		return r;
	if ((map >> (port & 7)) & (BIT(size) - 1))
		return x86_raise_err(c, X86_GP, 0);
	return X86_OK;
}

static u32 port_size(const struct x86_insn *i)
{
	return min((u32)i->opsize, 4u);
}

static int in(struct x86_cpu *c, const struct x86_insn *i, u16 port)
{
	u32 size = port_size(i), val = 0;
	int r = x86_check_io(c, port, size);

	if (!r)
		r = x86_port_in(c, port, size, &val);
	if (!r)
		x86_reg_set(c, i, X86_RAX, size, val);
	return r;
}

static int out(struct x86_cpu *c, const struct x86_insn *i, u16 port)
{
	u32 size = port_size(i);
	int r = x86_check_io(c, port, size);

	return r ? r : x86_port_out(c, port, size, x86_reg_get(c, i, X86_RAX, size));
}

static int do_in_i(struct x86_cpu *c, const struct x86_insn *i)
{
	return in(c, i, (u8)i->imm);
}

static int do_in_dx(struct x86_cpu *c, const struct x86_insn *i)
{
	return in(c, i, c->regs[X86_RDX]);
}

static int do_out_i(struct x86_cpu *c, const struct x86_insn *i)
{
	return out(c, i, (u8)i->imm);
}

static int do_out_dx(struct x86_cpu *c, const struct x86_insn *i)
{
	return out(c, i, c->regs[X86_RDX]);
}

/* ---- strings: RESTART comes back for what is left ---- */

static u64 addr_mask(const struct x86_insn *i)
{
	return i->addrsize == 8 ? ~0ull : i->addrsize == 4 ? 0xffffffff : 0xffff;
}

static bool repeats(const struct x86_insn *i)
{
	return i->flags & (X86_I_REP | X86_I_REPNE);
}

/* Moves the index register on by n elements and counts; does the instruction go on? */
static int step(struct x86_cpu *c, const struct x86_insn *i, u32 reg, u32 size, u32 n)
{
	s64 by = c->rflags & X86_RFLAGS_DF ? -(s64)size * n : (s64)size * n;

	x86_reg_set(c, i, reg, i->addrsize, c->regs[reg] + by);
	if (!repeats(i))
		return X86_OK;
	x86_reg_set(c, i, X86_RCX, i->addrsize, c->regs[X86_RCX] - n);
	return c->regs[X86_RCX] & addr_mask(i) ? X86_RESTART : X86_OK;
}

/*
 * REP INS: how many elements can be taken at once, because they go up one page of memory. That is one exit to the
 * VMM for a sector of a disk, not 256. 0: an element at a time.
 */
static u32 ins_run(struct x86_cpu *c, const struct x86_insn *i, int seg, u32 size, u8 **host)
{
	u64 mask = addr_mask(i), offset = c->regs[X86_RDI] & mask, lin;
	u64 left = min(c->regs[X86_RCX] & mask, (u64)PAGE_SIZE), room = min(mask - offset, PAGE_SIZE - 1) + 1;
	u32 bytes = min(left * size, room);

	if (!repeats(i) || (c->rflags & (X86_RFLAGS_DF | X86_RFLAGS_TF)) ||
	    x86_lin(c, seg, offset, bytes, X86_WRITE, &lin) ||
	    x86_host_range(c, lin, X86_WRITE, &bytes, host) || !*host)
		return 0;
	return bytes / size;
}

static int do_ins(struct x86_cpu *c, const struct x86_insn *i)
{
	int seg = c->mode == X86_MODE_64 ? X86_SEG_FLAT : X86_SEG_ES;
	u32 size = port_size(i), val = 0, n;
	u16 port = c->regs[X86_RDX];
	const u8 *data;
	u8 *host;
	u64 lin;
	int r;

	if (repeats(i) && !(c->regs[X86_RCX] & addr_mask(i)))
		return X86_OK;
	r = x86_check_io(c, port, size);
	if (!r)
		r = x86_lin(c, seg, c->regs[X86_RDI] & addr_mask(i), size, X86_WRITE, &lin);
	if (!r)		/* before the port is read: reading may change the device */
		r = x86_probe(c, lin, size, X86_WRITE);
	if (r)
		return r;
	n = ins_run(c, i, seg, size, &host);
	if (n) {
		r = x86_port_in_string(c, port, size, &n, &data);
		if (r)
			return r;
		memcpy(host, data, n * size);
		return step(c, i, X86_RDI, size, n);
	}
	r = x86_port_in(c, port, size, &val);
	if (!r)
		r = x86_write_size(c, lin, size, val);
	return r ? r : step(c, i, X86_RDI, size, 1);
}

static int do_outs(struct x86_cpu *c, const struct x86_insn *i)
{
	u32 size = port_size(i);
	u16 port = c->regs[X86_RDX];
	u64 lin, val;
	int r, out;

	if (repeats(i) && !(c->regs[X86_RCX] & addr_mask(i)))
		return X86_OK;
	r = x86_check_io(c, port, size);
	if (!r)
		r = x86_lin(c, i->seg, c->regs[X86_RSI] & addr_mask(i), size, X86_READ, &lin);
	if (!r)
		r = x86_read_size(c, lin, size, &val);
	if (r)
		return r;
	out = x86_port_out(c, port, size, val);
	if (out != X86_OK && out != X86_DONE)
		return out;
	r = step(c, i, X86_RSI, size, 1);
	return r == X86_OK ? out : r;
}

X86_HANDLER(in_i, do_in_i);
X86_HANDLER(in_dx, do_in_dx);
X86_HANDLER(out_i, do_out_i);
X86_HANDLER(out_dx, do_out_dx);
X86_HANDLER(ins, do_ins);
X86_HANDLER(outs, do_outs);
