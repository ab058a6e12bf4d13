/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instructions on RFLAGS.IF and what it hides: CLI, STI, PUSHF, POPF with IOPL, VME and PVI (SDM
 * volume 3, 20.3 and 20.4); HLT; and the software interrupts.
 */
#include "kvm/x86/descriptor.h"
#include "kvm/x86/events.h"
#include "kvm/x86/handlers_sys.h"

/* Who may change IF: everybody, nobody, or the program that has VIF instead. */
enum if_right { IF_REAL, IF_VIRTUAL, IF_FAULT };

static enum if_right if_right(const struct x86_cpu *c)
{
	if (!x86_protected(c))
		return IF_REAL;
	if (x86_vm86(c)) {
		if (x86_iopl(c) == 3)
			return IF_REAL;
		return c->cr4 & X86_CR4_VME ? IF_VIRTUAL : IF_FAULT;
	}
	if (c->cpl <= x86_iopl(c))
		return IF_REAL;
	return c->cpl == 3 && (c->cr4 & X86_CR4_PVI) ? IF_VIRTUAL : IF_FAULT;
}

static int do_cli(struct x86_cpu *c, const struct x86_insn *i)
{
	switch (if_right(c)) {
	case IF_REAL:
		c->rflags &= ~(u64)X86_RFLAGS_IF;
		return X86_OK;
	case IF_VIRTUAL:
		c->rflags &= ~(u64)X86_RFLAGS_VIF;
		return X86_OK;
	default:
		return x86_raise_err(c, X86_GP, 0);
	}
}

static int do_sti(struct x86_cpu *c, const struct x86_insn *i)
{
	switch (if_right(c)) {
	case IF_REAL:
		if (c->rflags & X86_RFLAGS_IF)
			return X86_OK;
		x86_set_rflags(c, c->rflags | X86_RFLAGS_IF);
		c->int_shadow = X86_SHADOW_STI;
		return X86_DONE;
	case IF_VIRTUAL:
		if (c->rflags & X86_RFLAGS_VIP)
			return x86_raise_err(c, X86_GP, 0);
		c->rflags |= X86_RFLAGS_VIF;
		return X86_OK;
	default:
		return x86_raise_err(c, X86_GP, 0);
	}
}

static int do_pushf(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 flags = c->rflags & ~(u64)(X86_RFLAGS_VM | X86_RFLAGS_RF);

	if (x86_protected(c) && x86_vm86(c) && x86_iopl(c) < 3) {
		if (!(c->cr4 & X86_CR4_VME) || i->opsize != 2)
			return x86_raise_err(c, X86_GP, 0);
		flags = (flags & ~(u64)X86_RFLAGS_IF) | X86_RFLAGS_IOPL;
		if (flags & X86_RFLAGS_VIF)
			flags |= X86_RFLAGS_IF;
	}
	return x86_push(c, i->opsize, flags);
}

static int do_popf(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 mask = X86_RFLAGS_ARITH | X86_RFLAGS_TF | X86_RFLAGS_DF | X86_RFLAGS_NT;
	bool vm86 = x86_protected(c) && x86_vm86(c), virtual_if = vm86 && x86_iopl(c) < 3;
	u64 sp = c->regs[X86_RSP], flags;
	int r;

	if (virtual_if && (!(c->cr4 & X86_CR4_VME) || i->opsize != 2))
		return x86_raise_err(c, X86_GP, 0);
	r = x86_pop_at(c, &sp, i->opsize, &flags);
	if (r)
		return r;
	if (i->opsize != 2)
		mask |= X86_RFLAGS_AC | X86_RFLAGS_ID;
	if (virtual_if) {
		if ((flags & X86_RFLAGS_TF) ||
		    ((flags & X86_RFLAGS_IF) && (c->rflags & X86_RFLAGS_VIP)))
			return x86_raise_err(c, X86_GP, 0);
		mask |= X86_RFLAGS_VIF;
		flags = (flags & ~(u64)X86_RFLAGS_VIF) | (flags & X86_RFLAGS_IF ? X86_RFLAGS_VIF : 0);
	} else {
		if (!x86_protected(c) || vm86 || c->cpl <= x86_iopl(c))
			mask |= X86_RFLAGS_IF;
		if (!x86_protected(c) || (!vm86 && c->cpl == 0))
			mask |= X86_RFLAGS_IOPL;
	}
	x86_set_sp(c, sp);
	flags = (c->rflags & ~mask) | (flags & mask);
	r = ((flags & ~c->rflags) & X86_RFLAGS_TF) || ((flags & X86_RFLAGS_IF) && c->event_waiting) ?
		X86_DONE : X86_OK;
	x86_set_rflags(c, flags);
	return r;
}

static int do_hlt(struct x86_cpu *c, const struct x86_insn *i)
{
	int r = x86_check_attr(c, i);

	if (r)
		return r;
	c->halted = true;
	return X86_DONE;
}

X86_HANDLER(cli, do_cli);
X86_HANDLER(sti, do_sti);
X86_HANDLER(pushf, do_pushf);
X86_HANDLER(popf, do_popf);
X86_HANDLER(hlt, do_hlt);

/* ---- software interrupts ---- */

static int do_int(struct x86_cpu *c, const struct x86_insn *i)
{
	return x86_software_interrupt(c, i->imm, X86_INT_N);
}

static int do_int3(struct x86_cpu *c, const struct x86_insn *i)
{
	/* A breakpoint that the VMM planted: the fault never reaches the guest. */
	if (unlikely(x86_debug_intercepts(c, X86_BP)))
		return x86_raise(c, X86_BP);
	return x86_software_interrupt(c, X86_BP, X86_INT_3);
}

static int do_into(struct x86_cpu *c, const struct x86_insn *i)
{
	if (!(c->rflags & X86_RFLAGS_OF))
		return X86_OK;
	return x86_software_interrupt(c, X86_OF, X86_INT_O);
}

static int do_icebp(struct x86_cpu *c, const struct x86_insn *i)
{
	return x86_software_interrupt(c, X86_DB, X86_INT_1);
}

X86_HANDLER(int, do_int);
X86_HANDLER(int3, do_int3);
X86_HANDLER(into, do_into);
X86_HANDLER(icebp, do_icebp);
