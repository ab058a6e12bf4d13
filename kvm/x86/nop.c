/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instructions that change no register: NOP, hints, prefetches, fences, cache flushes, UD; and the
 * random numbers, which change one without reading any.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/alu.h"
#include "kvm/x86/handlers_int.h"

static int do_nop(struct x86_cpu *c, const struct x86_insn *i)
{
	return X86_OK;
}
X86_HANDLER(nop, do_nop);

/* A vCPU that spins waits for another one, whose thread may be waiting for this CPU. */
#define SPINS_BEFORE_YIELD	256

static int do_pause(struct x86_cpu *c, const struct x86_insn *i)
{
	if (++c->spins % SPINS_BEFORE_YIELD == 0 && c->vcpu->kvm->nr_vcpus > 1)
		os_yield();
	return X86_OK;
}
X86_HANDLER(pause, do_pause);

/* The host orders its own accesses as the guest's processor would, but for fences. */
static int do_fence(struct x86_cpu *c, const struct x86_insn *i)
{
	__asm__ __volatile__("mfence" : : : "memory");
	return X86_OK;
}
X86_HANDLER(fence, do_fence);

/* CLFLUSH and kin fault as a byte's read would. */
static int do_clflush(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 lin;
	int r = x86_operand_lin(c, i, 1, X86_READ, &lin);

	if (r)
		return r;
	return x86_probe(c, lin, 1, X86_READ);
}
X86_HANDLER(clflush, do_clflush);

static int do_ud(struct x86_cpu *c, const struct x86_insn *i)
{
	return x86_raise(c, X86_UD);
}
X86_HANDLER(ud, do_ud);

/* RDRAND, RDSEED: the host's generator; always ready, CF says so, the other flags are cleared. */
static __always_inline int random(struct x86_cpu *c, const struct x86_insn *i, u32 size)
{
	u64 v;

	os_random(&v, sizeof(v));
	x86_reg_set(c, i, i->rm, size, v);
	c->rflags = (c->rflags & ~(u64)X86_RFLAGS_ARITH) | X86_RFLAGS_CF;
	return X86_OK;
}

static int random_16(struct x86_cpu *c, const struct x86_insn *i)
{
	return random(c, i, 2);
}

static int random_32(struct x86_cpu *c, const struct x86_insn *i)
{
	return random(c, i, 4);
}

static int random_64(struct x86_cpu *c, const struct x86_insn *i)
{
	return random(c, i, 8);
}
X86_HANDLER_SIZES(random, NULL, random_16, random_32, random_64);
