/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tests/insn cannot see of the x87 and vector unit: who may use it, exceptions that stay pending
 * from one instruction to the next, state that is live in the host's registers meanwhile, and the
 * API's formats. Register forms only, so no memory is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvm/cpu/soft/vector.h"
#include "kvm/core/kvm.h"
#include "kvm/x86/xstate.h"

#define CR0	(X86_CR0_PE | X86_CR0_MP | X86_CR0_NE | X86_CR0_PG)
#define CR4	(X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE)
#define ALL	(X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_YMM)

struct fixture {
	struct kvm_vcpu *v;
	struct x86_decoder decoder;
};

static struct x86_cpu *cpu_of(void **state)
{
	return &((struct fixture *)*state)->v->cpu;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct x86_cpu *c;

	f->v = aligned_alloc(64, ALIGN_UP(sizeof(*f->v), 64));
	memset(f->v, 0, sizeof(*f->v));
	c = &f->v->cpu;
	assert_int_equal(x86_decoder_init(&f->decoder, soft_host_exec), 0);
	assert_int_equal(soft_vector_vm_create(&c->vector), 0);
	c->decoder = &f->decoder;
	c->mode = X86_MODE_64;
	c->lin_mask = ~0ull;
	c->cr0 = CR0;
	c->cr4 = CR4;
	c->efer = X86_EFER_LME | X86_EFER_LMA;
	c->rflags = X86_RFLAGS_FIXED;
	x86_fpu_reset(c, false);
	c->fpu.xcr0 = ALL;
	x86_fpu_update_mode(c);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	soft_vector_vm_destroy(&f->v->cpu.vector);
	x86_decoder_free(&f->decoder);
	free(f->v);
	free(f);
	return 0;
}

/* Runs one instruction; the vector of its fault, or -1. */
static int run(struct x86_cpu *c, const char *bytes)
{
	u8 padded[15] = { 0 };
	struct x86_insn i;
	int r;

	memcpy(padded, bytes, 8);
	assert_true(x86_decode(c->decoder, padded, sizeof(padded), c->mode, NULL, &i) > 0);
	c_rip(c) += i.len;
	soft_bind_insn(c, &i);
	r = i.fn(c, &i);
	assert_true(r == X86_OK || r == X86_FAULT);
	return r == X86_FAULT ? c->fault.vector : -1;
}

#define PADDD	"\x66\x0f\xfe\xca\0\0\0\0"	/* paddd xmm1, xmm2 */
#define ADDSD	"\xf2\x0f\x58\xca\0\0\0\0"	/* addsd xmm1, xmm2 */
#define DIVSD	"\xf2\x0f\x5e\xca\0\0\0\0"	/* divsd xmm1, xmm2 */
#define VPADDD	"\xc5\xe9\xfe\xcb\0\0\0\0"	/* vpaddd xmm1, xmm2, xmm3 */
#define MMX	"\x0f\xfe\xca\0\0\0\0\0"	/* paddd mm1, mm2 */
#define FLD1	"\xd9\xe8\0\0\0\0\0\0"
#define FLDZ	"\xd9\xee\0\0\0\0\0\0"
#define FDIVP	"\xde\xf9\0\0\0\0\0\0"
#define FNSTSW	"\xdf\xe0\0\0\0\0\0\0"
#define FNCLEX	"\xdb\xe2\0\0\0\0\0\0"
#define FNINIT	"\xdb\xe3\0\0\0\0\0\0"
#define FWAIT	"\x9b\0\0\0\0\0\0\0"

static void test_who_may(void **state)
{
	struct x86_cpu *c = cpu_of(state);
	static const struct {
		const char *insn;
		u64 cr0_set, cr4_clear, xcr0;
		int fault;
	} t[] = {
		{ PADDD, 0, 0, ALL, -1 },
		{ PADDD, X86_CR0_EM, 0, ALL, X86_UD },
		{ PADDD, X86_CR0_TS, 0, ALL, X86_NM },
		{ PADDD, X86_CR0_TS | X86_CR0_EM, 0, ALL, X86_UD },
		{ PADDD, X86_CR0_TS, X86_CR4_OSFXSR, ALL, X86_UD },
		{ PADDD, 0, X86_CR4_OSXSAVE, X86_XCR0_X87, -1 },
		{ VPADDD, 0, 0, ALL, -1 },
		{ VPADDD, X86_CR0_EM, 0, ALL, -1 },
		{ VPADDD, X86_CR0_TS, 0, ALL, X86_NM },
		{ VPADDD, 0, X86_CR4_OSFXSR, ALL, -1 },
		{ VPADDD, X86_CR0_TS, X86_CR4_OSXSAVE, ALL, X86_UD },
		{ VPADDD, X86_CR0_TS, 0, X86_XCR0_X87 | X86_XCR0_SSE, X86_UD },
		{ MMX, 0, X86_CR4_OSFXSR, ALL, -1 },
		{ MMX, X86_CR0_EM | X86_CR0_TS, 0, ALL, X86_UD },
		{ MMX, X86_CR0_TS, 0, ALL, X86_NM },
		{ FLD1, 0, X86_CR4_OSFXSR, ALL, -1 },
		{ FLD1, X86_CR0_EM, 0, ALL, X86_NM },
		{ FLD1, X86_CR0_TS, 0, ALL, X86_NM },
		{ FWAIT, X86_CR0_EM, 0, ALL, -1 },
		{ FWAIT, X86_CR0_TS, 0, ALL, X86_NM },
	};

	for (u32 k = 0; k < ARRAY_SIZE(t); k++) {
		c->cr0 = CR0 | t[k].cr0_set;
		c->cr4 = CR4 & ~t[k].cr4_clear;
		c->fpu.xcr0 = t[k].xcr0;
		x86_fpu_update_mode(c);
		if (run(c, t[k].insn) != t[k].fault)
			fail_msg("row %u", k);
	}
	/* VEX is undefined in virtual-8086 and real mode. */
	c->cr0 = CR0;
	c->cr4 = CR4;
	c->fpu.xcr0 = ALL;
	c->rflags |= X86_RFLAGS_VM;
	x86_fpu_update_mode(c);
	assert_int_equal(run(c, VPADDD), X86_UD);
	assert_int_equal(run(c, PADDD), -1);
	c->rflags &= ~(u64)X86_RFLAGS_VM;
	c->cr0 = X86_CR0_ET;
	x86_fpu_update_mode(c);
	assert_int_equal(run(c, VPADDD), X86_UD);
	assert_int_equal(run(c, PADDD), -1);
}

static void test_simd_exception(void **state)
{
	struct x86_cpu *c = cpu_of(state);
	const double one = 1.0;

	memcpy(c->fpu.ymm[1].b, &one, 8);
	x86_set_mxcsr(c, X86_MXCSR_RESET & ~BIT(9));	/* zero divide */
	for (int lazy = 0; lazy < 2; lazy++) {
		if (lazy)
			soft_fpu_enter(c);
		assert_int_equal(run(c, DIVSD), X86_XM);
		c->cr4 &= ~(u64)X86_CR4_OSXMMEXCPT;
		assert_int_equal(run(c, DIVSD), X86_UD);
		c->cr4 |= X86_CR4_OSXMMEXCPT;
		soft_fpu_leave(c);
		assert_memory_equal(c->fpu.ymm[1].b, &one, 8);
		assert_int_equal(x86_mxcsr(c), (X86_MXCSR_RESET & ~BIT(9)) | BIT(2));
	}
	/* Masked, it leaves infinity. */
	x86_set_mxcsr(c, X86_MXCSR_RESET);
	assert_int_equal(run(c, DIVSD), -1);
	assert_int_equal(c->fpu.ymm[1].q[0], 0x7ff0000000000000);
	assert_int_equal(x86_mxcsr(c), X86_MXCSR_RESET | BIT(2));
}

static void test_live_mxcsr(void **state)
{
	struct x86_cpu *c = cpu_of(state);
	const double one = 1.0, little = 1e-300;
	u32 host = soft_get_mxcsr();

	memcpy(c->fpu.ymm[1].b, &one, 8);
	memcpy(c->fpu.ymm[2].b, &little, 8);
	x86_set_mxcsr(c, X86_MXCSR_RESET | 0x4000);	/* round up */
	soft_fpu_enter(c);
	assert_int_equal(run(c, ADDSD), -1);
	assert_true(c->fpu.mxcsr_live);
	assert_int_equal(run(c, PADDD), -1);
	soft_fpu_leave(c);
	assert_int_equal(soft_get_mxcsr(), host);
	assert_int_equal(x86_mxcsr(c), X86_MXCSR_RESET | 0x4000 | X86_MXCSR_PE);
}

static u16 fsw(const struct x86_cpu *c)
{
	return x86_fx_get16(c->fpu.fx, X86_FX_FSW);
}

static void test_pending_x87(void **state)
{
	struct x86_cpu *c = cpu_of(state);
	u16 fcw = 0x37b;			/* zero divide is not masked */
	u64 rip, fip;

	for (int lazy = 0; lazy < 2; lazy++) {
		if (lazy)
			soft_fpu_enter(c);
		assert_int_equal(run(c, FNINIT), -1);
		soft_x87_sync(c);
		memcpy(c->fpu.fx, &fcw, 2);
		assert_int_equal(run(c, FLD1), -1);
		assert_int_equal(run(c, FLDZ), -1);
		rip = c_rip(c);
		assert_int_equal(run(c, FDIVP), -1);	/* reported by the next that waits */
		assert_false(c->fpu.x87_live);
		assert_int_equal(run(c, FNSTSW), -1);
		assert_int_equal(c->regs[X86_RAX] & 0x8084, 0x8084);
		assert_int_equal(run(c, FLD1), X86_MF);
		assert_int_equal(run(c, FWAIT), X86_MF);
		assert_int_equal(run(c, MMX), X86_MF);
		assert_int_equal(run(c, PADDD), -1);
		memcpy(&fip, c->fpu.fx + X86_FX_FIP, 8);
		assert_int_equal(fip, rip);
		assert_int_equal(run(c, FNCLEX), -1);
		assert_int_equal(run(c, FWAIT), -1);
		assert_int_equal(run(c, FLD1), -1);
		soft_fpu_leave(c);
		assert_int_equal(fsw(c) & 0x80ff, 0);
	}
}

/* The API takes any status word: flags that are not masked are pending whatever the summary bit says. */
static void test_set_pending(void **state)
{
	struct x86_cpu *c = cpu_of(state);
	struct kvm_fpu fpu = { .fcw = 0x340, .fsw = 1 };

	for (int lazy = 0; lazy < 2; lazy++) {
		x86_set_fpu(c, &fpu);
		if (lazy)
			soft_fpu_enter(c);
		assert_int_equal(run(c, FLD1), X86_MF);
		assert_int_equal(run(c, FWAIT), X86_MF);
		assert_int_equal(run(c, FNSTSW), -1);
		assert_int_equal(c->regs[X86_RAX] & 0x8081, 0x8081);
		assert_int_equal(run(c, MMX), X86_MF);
		assert_int_equal(run(c, FNCLEX), -1);
		assert_int_equal(run(c, FLD1), -1);
		soft_fpu_leave(c);
		assert_int_equal(fsw(c), 0x3800);
	}
}

static void test_set_xsave(void **state)
{
	struct x86_cpu *c = cpu_of(state);
	u8 *area = calloc(1, 4096), *got = malloc(4096);
	u64 bv = ALL, bits;
	u32 mxcsr = 0x9fc0;

	memset(area + X86_FX_ST, 0x11, 8 * 16);
	memset(area + X86_FX_XMM, 0x22, 256);
	memset(area + X86_XSAVE_YMM, 0x33, 256);
	memcpy(area + X86_FX_MXCSR, &mxcsr, 4);
	memcpy(area + X86_XSAVE_HEADER, &bv, 8);
	assert_int_equal(x86_set_xsave(c, area, 4096, ALL), 0);
	x86_get_xsave(c, got, 4096);
	memcpy(area + X86_FX_MXCSR_MASK, &c->fpu.mxcsr_mask, 4);
	assert_memory_equal(got, area, 4096);

	/* Nothing of a refused area is taken. */
	memset(area + X86_FX_XMM, 0x44, 256);
	bits = ALL | BIT(9);
	memcpy(area + X86_XSAVE_HEADER, &bits, 8);
	assert_int_equal(x86_set_xsave(c, area, 4096, ALL), -EINVAL);
	memcpy(area + X86_XSAVE_HEADER, &bv, 8);
	assert_int_equal(x86_set_xsave(c, area, 4096, ALL & ~X86_XCR0_YMM), -EINVAL);
	area[X86_XSAVE_HEADER + 15] = 0x80;		/* compacted */
	assert_int_equal(x86_set_xsave(c, area, 4096, ALL), -EINVAL);
	area[X86_XSAVE_HEADER + 15] = 0;
	area[X86_XSAVE_HEADER + 63] = 1;
	assert_int_equal(x86_set_xsave(c, area, 4096, ALL), -EINVAL);
	area[X86_XSAVE_HEADER + 63] = 0;
	mxcsr = 0x80000000;
	memcpy(area + X86_FX_MXCSR, &mxcsr, 4);
	assert_int_equal(x86_set_xsave(c, area, 4096, ALL), -EINVAL);
	assert_int_equal(x86_set_xsave(c, area, 512, ALL), -EINVAL);
	x86_get_xsave(c, got, 4096);
	assert_int_equal(got[X86_FX_XMM], 0x22);

	/* Components that are not there take their initial values. */
	memset(area, 0, 4096);
	assert_int_equal(x86_set_xsave(c, area, 4096, ALL), 0);
	x86_get_xsave(c, got, 4096);
	assert_int_equal(got[X86_FX_XMM], 0);
	assert_int_equal(got[X86_XSAVE_YMM], 0);
	assert_int_equal(x86_mxcsr(c), X86_MXCSR_RESET);
	assert_int_equal(x86_fx_get16(c->fpu.fx, X86_FX_FCW), 0x37f);
	assert_int_equal(x86_xinuse(c), 0);
	free(area);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_who_may, setup, teardown),
		cmocka_unit_test_setup_teardown(test_simd_exception, setup, teardown),
		cmocka_unit_test_setup_teardown(test_live_mxcsr, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pending_x87, setup, teardown),
		cmocka_unit_test_setup_teardown(test_set_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(test_set_xsave, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
