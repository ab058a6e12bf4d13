/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUID, MSRs and the register groups of the API: what is offered, what is refused, what comes back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kvm/anykvm.h"
#include "tests/unit/x86_vm.h"

/* ---- CPUID ---- */

static struct kvm_cpuid_entry2 *leaf(struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
	for (unsigned int n = 0; n < c->nent; n++) {
		struct kvm_cpuid_entry2 *e = &c->entries[n];

		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	fail_msg("no leaf %#x.%u", function, index);
	return NULL;
}

static void test_cpuid_offer(void **state)
{
	struct kvm_cpuid2 *c = x86_supported(*state);
	struct kvm_cpuid_entry2 *e;
	uint32_t size;

	/* in order, each once */
	for (unsigned int n = 1; n < c->nent; n++) {
		struct kvm_cpuid_entry2 *a = &c->entries[n - 1], *b = &c->entries[n];

		assert_true(a->function < b->function || b->function == 0x40000000 ||
			    (a->function == b->function && a->index < b->index));
	}
	/* all leaves that are said to exist do */
	e = leaf(c, 0, 0);
	assert_in_range(e->eax, 0xd, 0x1f);
	for (uint32_t n = 0; n <= leaf(c, 0, 0)->eax; n++)
		leaf(c, n, 0);
	for (uint32_t n = 0x80000000; n <= leaf(c, 0x80000000, 0)->eax; n++)
		leaf(c, n, 0);
	e = leaf(c, 1, 0);
	assert_false(e->ecx & (1u << 5 | 1u << 27));	/* VMX; OSXSAVE is the guest's to set */
	assert_true(e->ecx & (1u << 31));
	assert_int_equal(e->ebx >> 16, 0);		/* APIC ID and threads are the VMM's */
	e = leaf(c, 7, 0);
	assert_false(e->ebx & 0xdc230000u);		/* AVX-512 */
	assert_false(e->ecx & (1u << 3 | 1u << 16));	/* PKU, LA57 */
	e = leaf(c, 0x80000001, 0);
	assert_false(e->ecx & (1u << 2));		/* SVM */
	assert_true(e->edx & (1u << 29));
	e = leaf(c, 0x80000008, 0);
	assert_in_range(e->eax & 0xff, 36, 48);
	assert_int_equal(e->eax >> 8, 48);
	e = leaf(c, 0xd, 0);
	assert_false(e->eax & ~7u);
	size = e->eax & 4 ? 832 : 576;
	assert_int_equal(e->ecx, size);
	assert_int_equal(leaf(c, 0xd, 1)->eax & 8, 0);	/* XSAVES */
	if (e->eax & 4) {
		assert_int_equal(leaf(c, 0xd, 2)->eax, 256);
		assert_int_equal(leaf(c, 0xd, 2)->ebx, 576);
	}
	e = leaf(c, 0x40000000, 0);
	assert_memory_equal(&e->ebx, "KVMKVMKVM\0\0\0", 12);
	assert_int_equal(e->eax, 0x40000001);
	free(c);
}

static void test_cpuid_sizes(void **state)
{
	struct x86_vm_test *t = *state;
	struct kvm_cpuid2 *c = x86_supported(t), *back;
	uint32_t n = c->nent;

	back = calloc(1, sizeof(*back) + 256 * sizeof(back->entries[0]));
	assert_non_null(back);
	c->nent = n - 1;
	assert_int_equal(anykvm_ioctl(t->sys, KVM_GET_SUPPORTED_CPUID, c), -E2BIG);
	c->nent = 257;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_CPUID2, c), -E2BIG);
	c->nent = n;
	leaf(c, 0x80000008, 0)->eax = 47 << 8 | 40;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_CPUID2, c), -EINVAL);
	leaf(c, 0x80000008, 0)->eax = 48 << 8 | 40;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_CPUID2, c), 0);
	back->nent = 256;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_CPUID2, back), 0);
	assert_int_equal(back->nent, n);
	assert_int_equal(leaf(back, 0x80000008, 0)->eax, 48 << 8 | 40);
	free(back);
	free(c);
}

/* Runs CPUID in the guest. */
static struct kvm_regs cpuid_in_guest(struct x86_vm_test *t, uint32_t eax, uint32_t ecx)
{
	static const uint8_t code[] = { 0x0f, 0xa2, 0xf4 };
	struct kvm_regs r;

	x86_vm_long_mode(t);
	memcpy(t->mem + X86_VM_CODE, code, sizeof(code));
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_REGS, &r), 0);
	r.rax = ~0ull << 32 | eax;
	r.rcx = ~0ull << 32 | ecx;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_REGS, &r), 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_RUN, NULL), 0);
	assert_int_equal(t->run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_REGS, &r), 0);
	return r;
}

/* Leaves that are not there, by vendor: APM volume 3, E.2; SDM volume 2, CPUID. */
static void out_of_range(struct x86_vm_test *t, bool intel)
{
	const char *vendor = intel ? "GenuineIntel" : "AuthenticAMD";
	struct kvm_cpuid2 *c = x86_supported(t);
	struct kvm_cpuid_entry2 *zero = leaf(c, 0, 0), *last;
	struct kvm_regs r;

	zero->eax = 0xd;
	memcpy(&zero->ebx, vendor, 4);
	memcpy(&zero->edx, vendor + 4, 4);
	memcpy(&zero->ecx, vendor + 8, 4);
	last = leaf(c, 0xd, 2);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_CPUID2, c), 0);
	r = cpuid_in_guest(t, 0x12345678, 2);
	assert_int_equal(r.rax, intel ? last->eax : 0);
	assert_int_equal(r.rbx, intel ? last->ebx : 0);
	r = cpuid_in_guest(t, 0x90000000, 2);
	assert_int_equal(r.rax, intel ? last->eax : 0);
	r = cpuid_in_guest(t, 0x40000000, 0);
	assert_int_equal(r.rbx, 0x4b4d564b);
	free(c);
}

static void test_cpuid_out_of_range(void **state)
{
	out_of_range(*state, false);
}

static void test_cpuid_out_of_range_intel(void **state)
{
	out_of_range(*state, true);
}

/* ---- MSRs ---- */

static int one_msr(struct x86_vm_test *t, unsigned long request, uint32_t index, uint64_t *value)
{
	struct kvm_msrs *m = calloc(1, sizeof(*m) + sizeof(m->entries[0]));
	int r;

	assert_non_null(m);
	m->nmsrs = 1;
	m->entries[0] = (struct kvm_msr_entry){ .index = index, .data = *value };
	r = x86_vcpu_ioctl(t, request, m);
	*value = m->entries[0].data;
	free(m);
	return r;
}

static void test_msr_list(void **state)
{
	struct x86_vm_test *t = *state;
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + 1024 * sizeof(uint32_t));

	assert_non_null(list);
	assert_int_equal(anykvm_ioctl(t->sys, KVM_GET_MSR_INDEX_LIST, list), -E2BIG);
	assert_in_range(list->nmsrs, 30, 1024);
	assert_int_equal(anykvm_ioctl(t->sys, KVM_GET_MSR_INDEX_LIST, list), 0);
	/* what can be saved can be restored */
	for (unsigned int n = 0; n < list->nmsrs; n++) {
		uint64_t value = 0;

		if (one_msr(t, KVM_GET_MSRS, list->indices[n], &value) != 1)
			fail_msg("cannot read %#x", list->indices[n]);
		if (one_msr(t, KVM_SET_MSRS, list->indices[n], &value) != 1)
			fail_msg("cannot write %#x to %#x", (unsigned int)value, list->indices[n]);
	}
	free(list);
}

static void test_msr_refused(void **state)
{
	static const struct { uint32_t index; uint64_t good, bad; } cases[] = {
		{ 0xc0000082, 0xffff800000000000, 0x0000800000000000 },	/* LSTAR: canonical */
		{ 0xc0000100, 0x00007fffffffffff, 0xffff7fffffffffff },	/* FS base */
		{ 0xc0000102, 0, 1ull << 63 },				/* kernel GS base */
		{ 0x277, 0x0007040600070406, 0x0000000000000002 },	/* PAT: 2 is no type */
		{ 0x2ff, 0xc06, 0xc02 },				/* MTRR default type */
		{ 0x250, 0x0606060606060606, 0x0606060606060602 },
		{ 0x201, 0xffc00800, 0xffc00001 },			/* mask: reserved bits */
		{ 0x400, ~0ull, 5 },					/* MC0_CTL */
		{ 0x140, 0, 2 },
	};
	struct x86_vm_test *t = *state;
	uint64_t v = 0;

	for (unsigned int n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		v = cases[n].good;
		assert_int_equal(one_msr(t, KVM_SET_MSRS, cases[n].index, &v), 1);
		v = cases[n].bad;
		if (one_msr(t, KVM_SET_MSRS, cases[n].index, &v) != 0)
			fail_msg("MSR %#x took a bad value", cases[n].index);
		v = 0;
		assert_int_equal(one_msr(t, KVM_GET_MSRS, cases[n].index, &v), 1);
		assert_true(v == cases[n].good);
	}
	assert_int_equal(one_msr(t, KVM_GET_MSRS, 0xdeadbeef, &v), 0);
}

/* Two vCPUs given one TSC value shortly after each other count together. */
static void test_tsc_synchronised(void **state)
{
	struct x86_vm_test *t = *state, other = *t;
	uint64_t value = 1ull << 40, a = 0, b = 0;

	other.vcpu = anykvm_ioctl(t->vm, KVM_CREATE_VCPU, (void *)1);
	assert_true(other.vcpu >= 0);
	assert_int_equal(one_msr(t, KVM_SET_MSRS, 0x10, &value), 1);
	value = 1ull << 40;
	assert_int_equal(one_msr(&other, KVM_SET_MSRS, 0x10, &value), 1);
	assert_int_equal(one_msr(t, KVM_GET_MSRS, 0x10, &a), 1);
	assert_int_equal(one_msr(&other, KVM_GET_MSRS, 0x10, &b), 1);
	/* read in this order: so much for the order, and a bound far below a second */
	assert_in_range(b - a, 0, 1ull << 30);
	assert_true(a > 1ull << 40);
	anykvm_close(other.vcpu);
}

/* ---- register groups ---- */

static void test_sregs_refused(void **state)
{
	struct x86_vm_test *t = *state;
	struct kvm_sregs good, s, after;

	x86_vm_long_mode(t);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS, &good), 0);

#define REFUSED(...) do {							\
		s = good;							\
		__VA_ARGS__;							\
		assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_SREGS, &s), -EINVAL); \
		assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS, &after), 0);	\
		assert_memory_equal(&after, &good, sizeof(after));		\
	} while (0)
	REFUSED(s.cr4 &= ~0x20ull);			/* long mode without PAE */
	REFUSED(s.efer &= ~0x400ull);			/* LME, PG, but not LMA */
	REFUSED(s.efer &= ~0x100ull);			/* LMA without LME */
	REFUSED(s.cr0 &= ~1ull);			/* PG without PE */
	REFUSED(s.cr0 |= 1ull << 29, s.cr0 &= ~(1ull << 30));	/* NW without CD */
	REFUSED(s.cr0 |= 1ull << 32);
	REFUSED(s.cr4 |= 1ull << 12);			/* LA57 */
	REFUSED(s.cr4 |= 1ull << 40);
	REFUSED(s.cr3 |= 1ull << 52);
	REFUSED(s.cr8 = 16);
	REFUSED(s.apic_base |= 1);
#undef REFUSED
}

static void test_sregs_round_trip(void **state)
{
	struct x86_vm_test *t = *state;
	struct kvm_sregs a, b;
	struct kvm_sregs2 s2;

	x86_vm_long_mode(t);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS, &a), 0);
	a.fs.base = 0x123456789abc;
	a.ldt = (struct kvm_segment){ .unusable = 1 };
	a.gs = (struct kvm_segment){
		.base = 5, .limit = 0x1ffff, .selector = 0x33, .type = 7, .present = 1, .dpl = 3, .s = 1, .avl = 1 };
	a.interrupt_bitmap[1] = 1ull << 5;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_SREGS, &a), 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));

	/* PAE pointers: only with PAE paging */
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS2, &s2), 0);
	assert_int_equal(s2.flags, 0);
	s2.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_SREGS2, &s2), -EINVAL);
	s2.efer = 0;
	s2.cs.l = 0;
	for (int n = 0; n < 4; n++)
		s2.pdptrs[n] = 0x5001 + n * 0x1000;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_SREGS2, &s2), 0);
	memset(&s2, 0, sizeof(s2));
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS2, &s2), 0);
	assert_int_equal(s2.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	for (int n = 0; n < 4; n++)
		assert_int_equal(s2.pdptrs[n], 0x5001 + n * 0x1000);
}

static void test_debug_and_xcr(void **state)
{
	struct x86_vm_test *t = *state;
	struct kvm_debugregs d = { .db = { 1, 2, 3, 4 }, .dr6 = 0xffff4ff1, .dr7 = 0x455 }, back;
	struct kvm_xcrs x = { .nr_xcrs = 1 };

	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_DEBUGREGS, &d), 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_DEBUGREGS, &back), 0);
	assert_memory_equal(&d, &back, sizeof(d));
	d.dr7 |= 1ull << 32;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_DEBUGREGS, &d), -EINVAL);

	x.xcrs[0].value = 3;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_XCRS, &x), 0);
	x.xcrs[0].value = 2;		/* without x87 */
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_XCRS, &x), -EINVAL);
	x.xcrs[0].value = 5;		/* AVX without SSE */
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_XCRS, &x), -EINVAL);
	x.xcrs[0].value = 0xe7;		/* AVX-512 */
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_XCRS, &x), -EINVAL);
	memset(&x, 0, sizeof(x));
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_XCRS, &x), 0);
	assert_int_equal(x.nr_xcrs, 1);
	assert_int_equal(x.xcrs[0].value, 3);
}

/* Power-on values: SDM volume 3, table 10-1, as Linux's KVM shows them. */
static void test_power_on(void **state)
{
	struct x86_vm_test *t = *state;
	struct kvm_debugregs d;
	struct kvm_sregs s;
	struct kvm_regs r;

	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_REGS, &r), 0);
	assert_int_equal(r.rip, 0xfff0);
	assert_int_equal(r.rflags, 2);
	assert_int_not_equal(r.rdx, 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS, &s), 0);
	assert_int_equal(s.cr0, 0x60000010);
	assert_int_equal(s.efer, 0);
	assert_int_equal(s.cs.selector, 0xf000);
	assert_int_equal(s.cs.base, 0xffff0000);
	assert_int_equal(s.cs.type, 0xb);
	assert_int_equal(s.ds.type, 3);
	assert_int_equal(s.ds.limit, 0xffff);
	assert_int_equal(s.tr.type, 0xb);
	assert_int_equal(s.ldt.type, 2);
	assert_int_equal(s.idt.limit, 0xffff);
	assert_int_equal(s.apic_base, 0xfee00900);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_DEBUGREGS, &d), 0);
	assert_int_equal(d.dr6, 0xffff0ff0);
	assert_int_equal(d.dr7, 0x400);
}

#define T(f)	cmocka_unit_test_setup_teardown(f, x86_vm_setup, x86_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_cpuid_offer), T(test_cpuid_sizes), T(test_cpuid_out_of_range),
		T(test_cpuid_out_of_range_intel), T(test_msr_list),
		T(test_msr_refused), T(test_tsc_synchronised), T(test_sregs_refused),
		T(test_sregs_round_trip), T(test_debug_and_xcr), T(test_power_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
