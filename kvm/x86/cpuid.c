/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUID: what KVM_GET_SUPPORTED_CPUID offers, what KVM_SET_CPUID2 makes of it, and what the guest's
 * CPUID instruction answers (SDM volume 2, CPUID; APM volume 3, E; Linux's
 * Documentation/virt/kvm/x86/cpuid.rst).
 *
 * Offered is what we implement and the host can run: vector instructions run on the host's own units, so
 * its CPUID bounds ours; what is done in software (paging, x2APIC, UMIP, …) is offered always.
 *
 * Speculation. The guest's borders between user and kernel are the software MMU's, not the host's page
 * tables. So the processor bugs that break the latter (Meltdown, L1TF, MDS, …) do not break
 * the former, and ARCH_CAPABILITIES says that they are absent: a guest that believed otherwise
 * would spend much of its time defending what is not attacked.
 */
#include <asm/kvm_para.h>

#include "kvm/core/kvm.h"
#include "kvm/x86/cpuid.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/mem.h"

enum { EAX, EBX, ECX, EDX };

/* "KVMKVMKVM\0\0\0" */
#define KVM_SIGNATURE_EBX	0x4b4d564b
#define KVM_SIGNATURE_ECX	0x564b4d56
#define KVM_SIGNATURE_EDX	0x4d

struct regs {
	u32 r[4];
};

static struct regs host_cpuid(u32 leaf, u32 index)
{
	struct regs h;

	__asm__ __volatile__("cpuid"
			     : "=a"(h.r[EAX]), "=b"(h.r[EBX]), "=c"(h.r[ECX]), "=d"(h.r[EDX])
			     : "a"(leaf), "c"(index));
	return h;
}

/* The host's leaf, zero where it has none: Intel's answer to an unknown leaf is another one's. */
static struct regs host_leaf(u32 leaf, u32 index)
{
	if (host_cpuid(leaf & 0x80000000, 0).r[EAX] < leaf)
		return (struct regs){ { 0 } };
	return host_cpuid(leaf, index);
}

static bool vendor_is_amd(u32 ebx)
{
	return ebx == 0x68747541 /* Auth */ || ebx == 0x6f677948 /* Hygo */;
}

/* ---- features ---- */

#define BITOF(f)	BIT((f) % 32)

/* Where each feature word is, which of its bits we implement where the host has them, and which of
 * themselves. */
struct feature_word {
	u32 leaf, index, reg;
	u32 from_host;
	u32 always;
};

#define LEAF1_EDX							\
	(BIT(0) | BITOF(X86_FEATURE_TSC) | BITOF(X86_FEATURE_MSR) | BITOF(X86_FEATURE_CX8) | \
	 BITOF(X86_FEATURE_CMOV) | BITOF(X86_FEATURE_MMX) | BITOF(X86_FEATURE_FXSR))
#define LEAF1_EDX_SOFT							\
	(BITOF(X86_FEATURE_VME) | BITOF(X86_FEATURE_DE) | BITOF(X86_FEATURE_PSE) |	\
	 BITOF(X86_FEATURE_PAE) | BITOF(X86_FEATURE_MCE) | BITOF(X86_FEATURE_APIC) |	\
	 BITOF(X86_FEATURE_MTRR) | BITOF(X86_FEATURE_PGE) | BITOF(X86_FEATURE_MCA) |	\
	 BITOF(X86_FEATURE_PAT) | BITOF(X86_FEATURE_PSE36))

static const struct feature_word feature_words[X86_NR_FEATURE_WORDS] = {
	[X86_FW_1_EDX] = {
		1, 0, EDX,
		LEAF1_EDX | BITOF(X86_FEATURE_SEP) | BITOF(X86_FEATURE_CLFLUSH) |
			BITOF(X86_FEATURE_SSE) | BITOF(X86_FEATURE_SSE2),
		LEAF1_EDX_SOFT },
	[X86_FW_1_ECX] = {
		1, 0, ECX,
		BITOF(X86_FEATURE_SSE3) | BITOF(X86_FEATURE_PCLMULQDQ) | BITOF(X86_FEATURE_SSSE3) |
			BITOF(X86_FEATURE_FMA) | BITOF(X86_FEATURE_CX16) | BITOF(X86_FEATURE_SSE4_1) |
			BITOF(X86_FEATURE_SSE4_2) | BITOF(X86_FEATURE_POPCNT) |
			BITOF(X86_FEATURE_AES) | BITOF(X86_FEATURE_XSAVE) | BITOF(X86_FEATURE_AVX) |
			BITOF(X86_FEATURE_F16C) | BITOF(X86_FEATURE_RDRAND),
		BITOF(X86_FEATURE_PCID) | BITOF(X86_FEATURE_X2APIC) | BITOF(X86_FEATURE_MOVBE) |
			BITOF(X86_FEATURE_TSC_DEADLINE) | BITOF(X86_FEATURE_HYPERVISOR) },
	[X86_FW_80000001_EDX] = {
		0x80000001, 0, EDX,
		/* AMD repeats leaf 1's bits here. */
		LEAF1_EDX | LEAF1_EDX_SOFT | BITOF(X86_FEATURE_SYSCALL) | BITOF(X86_FEATURE_MMXEXT) |
			BITOF(X86_FEATURE_LM),
		BITOF(X86_FEATURE_NX) | BITOF(X86_FEATURE_GBPAGES) | BITOF(X86_FEATURE_RDTSCP) },
	[X86_FW_80000001_ECX] = {
		0x80000001, 0, ECX,
		BITOF(X86_FEATURE_LAHF_LM) | BITOF(X86_FEATURE_CR8_LEGACY) | BITOF(X86_FEATURE_ABM) |
			BITOF(X86_FEATURE_3DNOWPREFETCH) | BIT(1) /* CMP_LEGACY */ | BIT(22) /* TOPOEXT */,
		0 },
	[X86_FW_7_EBX] = {
		7, 0, EBX,
		BITOF(X86_FEATURE_BMI1) | BITOF(X86_FEATURE_AVX2) | BITOF(X86_FEATURE_BMI2) |
			BITOF(X86_FEATURE_ERMS) | BITOF(X86_FEATURE_RDSEED) | BITOF(X86_FEATURE_ADX) |
			BITOF(X86_FEATURE_CLFLUSHOPT) | BITOF(X86_FEATURE_CLWB) |
			BITOF(X86_FEATURE_SHA) | BIT(6) /* FDP_EXCPTN_ONLY */ | BIT(13) /* ZERO_FCS_FDS */,
		BITOF(X86_FEATURE_FSGSBASE) | BITOF(X86_FEATURE_TSC_ADJUST) | BITOF(X86_FEATURE_SMEP) |
			BITOF(X86_FEATURE_INVPCID) | BITOF(X86_FEATURE_SMAP) },
	[X86_FW_7_ECX] = {
		7, 0, ECX,
		BITOF(X86_FEATURE_VAES) | BITOF(X86_FEATURE_VPCLMULQDQ),
		BITOF(X86_FEATURE_UMIP) | BITOF(X86_FEATURE_RDPID) },
	[X86_FW_7_EDX] = {
		7, 0, EDX,
		BITOF(X86_FEATURE_FSRM),
		BITOF(X86_FEATURE_SPEC_CTRL) | BITOF(X86_FEATURE_STIBP) |
			BITOF(X86_FEATURE_ARCH_CAPABILITIES) | BITOF(X86_FEATURE_SSBD) },
	[X86_FW_D_1_EAX] = {
		0xd, 1, EAX,
		BITOF(X86_FEATURE_XSAVEOPT) | BITOF(X86_FEATURE_XSAVEC) | BITOF(X86_FEATURE_XGETBV1),
		0 },
	/* Without it, Linux cleans the x87 unit by hand at every switch of tasks. */
	[X86_FW_80000008_EBX] = { 0x80000008, 0, EBX, BIT(2) /* XSaveErPtr */, 0 },
	[X86_FW_7_1_EAX] = { 7, 1, EAX, 0, 0 },
	[X86_FW_KVM_EAX] = {
		KVM_CPUID_FEATURES, 0, EAX, 0,
		BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_NOP_IO_DELAY) |
			BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_STEAL_TIME) |
			BIT(KVM_FEATURE_PV_EOI) | BIT(KVM_FEATURE_PV_UNHALT) |
			BIT(KVM_FEATURE_PV_SEND_IPI) | BIT(KVM_FEATURE_POLL_CONTROL) |
			BIT(KVM_FEATURE_PV_SCHED_YIELD) | BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT) },
};

/* XCR0 of the host: what its kernel lets programs use. 0 without XSAVE. */
static u64 host_xcr0(void)
{
	u32 lo, hi;

	if (!(host_leaf(1, 0).r[ECX] & BITOF(X86_FEATURE_OSXSAVE)))
		return 0;
	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (u64)hi << 32;
}

u64 x86_supported_xcr0(void)
{
	u64 xcr0 = host_xcr0() & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_YMM);

	return xcr0 & X86_XCR0_YMM ? xcr0 : xcr0 & ~(u64)X86_XCR0_YMM;
}

void x86_supported_features(u32 words[X86_NR_FEATURE_WORDS])
{
	static const u16 need_avx[] = {
		X86_FEATURE_AVX, X86_FEATURE_AVX2, X86_FEATURE_FMA, X86_FEATURE_F16C, X86_FEATURE_VAES,
		X86_FEATURE_VPCLMULQDQ,
	};
	u64 xcr0 = host_xcr0();

	for (u32 w = 0; w < X86_NR_FEATURE_WORDS; w++) {
		const struct feature_word *f = &feature_words[w];

		words[w] = f->always;
		if (f->from_host)
			words[w] |= host_leaf(f->leaf, f->index).r[f->reg] & f->from_host;
	}
	if (!xcr0) {
		words[X86_FW_1_ECX] &= ~BITOF(X86_FEATURE_XSAVE);
		words[X86_FW_D_1_EAX] = 0;
	}
	if (!(xcr0 & X86_XCR0_YMM))
		for (u32 n = 0; n < ARRAY_SIZE(need_avx); n++)
			words[need_avx[n] / 32] &= ~BITOF(need_avx[n]);
}

u32 x86_xsave_size(u64 xcr0, bool compacted)
{
	(void)compacted;	/* with one extended component, both forms are as long */
	return xcr0 & X86_XCR0_YMM ? 832 : 576;
}

/* ---- KVM_GET_SUPPORTED_CPUID ---- */

/* Where entries go; full: there was no room for one. */
struct sink {
	struct kvm_cpuid_entry2 *entries;
	u32 n, max;
	bool full;
};

static void add(struct sink *s, u32 leaf, u32 index, bool indexed, struct regs r)
{
	struct kvm_cpuid_entry2 *e;

	if (s->n == s->max) {
		s->full = true;
		return;
	}
	e = &s->entries[s->n++];
	*e = (struct kvm_cpuid_entry2){
		.function = leaf, .index = index,
		.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
		.eax = r.r[EAX], .ebx = r.r[EBX], .ecx = r.r[ECX], .edx = r.r[EDX],
	};
}

/* Physical address bits that guests get: the page walk knows 52, but a host that has fewer may be
 * asked to run the same guest in hardware. */
static u32 supported_phys_bits(void)
{
	u32 bits = host_leaf(0x80000008, 0).r[EAX] & 0xff;

	return bits < 36 ? 36 : bits > 48 ? 48 : bits;
}

#define MAX_BASIC	0x1f
#define MAX_INTEL_EXT	0x80000008
#define MAX_AMD_EXT	0x80000021
#define MAX_CACHES	8

static void add_cache_leaves(struct sink *s, u32 leaf)
{
	for (u32 n = 0; n < MAX_CACHES; n++) {
		struct regs h = host_leaf(leaf, n);

		/* Numbers of cores and sharers are the VMM's to say. */
		h.r[EAX] &= leaf == 4 ? 0x3fff : ~0x03ffc000u;
		add(s, leaf, n, true, h);
		if (!(h.r[EAX] & 0x1f))
			break;
	}
}

static void add_xsave_leaves(struct sink *s, const u32 *words)
{
	u64 xcr0 = x86_supported_xcr0();
	u32 size = x86_xsave_size(xcr0, false);

	if (!xcr0 || !(words[X86_FW_1_ECX] & BITOF(X86_FEATURE_XSAVE))) {
		add(s, 0xd, 0, true, (struct regs){ { 0 } });
		return;
	}
	add(s, 0xd, 0, true, (struct regs){ { (u32)xcr0, size, size, 0 } });
	add(s, 0xd, 1, true, (struct regs){ {
		words[X86_FW_D_1_EAX],
		words[X86_FW_D_1_EAX] & BITOF(X86_FEATURE_XSAVEC) ? x86_xsave_size(xcr0, true) : 0 } });
	if (xcr0 & X86_XCR0_YMM)
		add(s, 0xd, 2, true, (struct regs){ { 256, 576, 0, 0 } });
}

static void add_basic(struct sink *s, u32 leaf, u32 max, const u32 *words)
{
	struct regs h = host_leaf(leaf, 0), z = { { 0 } };

	switch (leaf) {
	case 0:
		h.r[EAX] = max;
		add(s, 0, 0, false, h);
		break;
	case 1:
		/* EBX: the CLFLUSH size; APIC ID and number of threads are the VMM's. */
		h.r[EBX] &= 0xff00;
		/* The deadline timer depends on who has the local APIC: KVM_CAP_TSC_DEADLINE_TIMER
		 * says that it is there where KVM_CREATE_IRQCHIP made one. */
		h.r[ECX] = words[X86_FW_1_ECX] & ~BITOF(X86_FEATURE_TSC_DEADLINE);
		h.r[EDX] = words[X86_FW_1_EDX];
		add(s, 1, 0, false, h);
		break;
	case 2:
		add(s, 2, 0, false, h);
		break;
	case 4:
		add_cache_leaves(s, 4);
		break;
	case 6:
		z.r[EAX] = BIT(2);	/* ARAT: the APIC timer does not stop */
		add(s, 6, 0, false, z);
		break;
	case 7:
		z.r[EBX] = words[X86_FW_7_EBX];
		z.r[ECX] = words[X86_FW_7_ECX];
		z.r[EDX] = words[X86_FW_7_EDX];
		add(s, 7, 0, true, z);
		break;
	case 0xb:
	case 0x1f:
		add(s, leaf, 0, true, z);	/* topology: the VMM's */
		break;
	case 0xd:
		add_xsave_leaves(s, words);
		break;
	default:
		add(s, leaf, 0, false, z);
	}
}

static void add_extended(struct sink *s, u32 leaf, u32 max, const u32 *words)
{
	struct regs h = host_leaf(leaf, 0), z = { { 0 } };

	switch (leaf) {
	case 0x80000000:
		h.r[EAX] = max;
		break;
	case 0x80000001:
		h.r[ECX] = words[X86_FW_80000001_ECX];
		h.r[EDX] = words[X86_FW_80000001_EDX];
		break;
	case 0x80000002 ... 0x80000006:		/* name, caches and TLBs */
	case 0x80000019:
	case 0x8000001a:
		break;
	case 0x80000007:
		z.r[EDX] = h.r[EDX] & BIT(8);	/* the TSC's rate does not change */
		h = z;
		break;
	case 0x80000008:
		h = z;
		h.r[EAX] = supported_phys_bits() | 48 << 8;
		h.r[EBX] = words[X86_FW_80000008_EBX];
		break;
	case 0x8000001d:
		if (words[X86_FW_80000001_ECX] & BIT(22)) {
			add_cache_leaves(s, leaf);
			return;
		}
		h = z;
		break;
	case 0x80000021:
		/* LFENCE serialises; a null selector's load clears the base; no SMM_CTL MSR */
		z.r[EAX] = BIT(2) | BIT(6) | BIT(9);
		h = z;
		break;
	default:
		h = z;
	}
	add(s, leaf, 0, leaf == 0x8000001e, h);
}

int x86_supported_cpuid(struct kvm_cpuid_entry2 *entries, u32 max)
{
	struct sink s = { .entries = entries, .max = max };
	struct regs basic = host_cpuid(0, 0);
	u32 words[X86_NR_FEATURE_WORDS], last;

	x86_supported_features(words);
	last = min(max(basic.r[EAX], 0xdu), (u32)MAX_BASIC);
	for (u32 leaf = 0; leaf <= last; leaf++)
		add_basic(&s, leaf, last, words);

	last = min(host_cpuid(0x80000000, 0).r[EAX],
		   vendor_is_amd(basic.r[EBX]) ? (u32)MAX_AMD_EXT : (u32)MAX_INTEL_EXT);
	last = max(last, 0x80000008u);
	for (u32 leaf = 0x80000000; leaf <= last; leaf++)
		add_extended(&s, leaf, last, words);

	add(&s, KVM_CPUID_SIGNATURE, 0, false,
	    (struct regs){ { KVM_CPUID_FEATURES, KVM_SIGNATURE_EBX, KVM_SIGNATURE_ECX, KVM_SIGNATURE_EDX } });
	add(&s, KVM_CPUID_FEATURES, 0, false, (struct regs){ { words[X86_FW_KVM_EAX] } });
	return s.full ? -E2BIG : (int)s.n;
}

int x86_emulated_cpuid(struct kvm_cpuid_entry2 *entries, u32 max)
{
	struct sink s = { .entries = entries, .max = max };

	add(&s, 0, 0, false, (struct regs){ { 7 } });
	add(&s, 1, 0, false, (struct regs){ { 0, 0, BITOF(X86_FEATURE_MOVBE), 0 } });
	add(&s, 7, 0, true, (struct regs){ { 0, 0, BITOF(X86_FEATURE_RDPID), 0 } });
	return s.full ? -E2BIG : (int)s.n;
}

/* ---- the guest's ---- */

static struct kvm_cpuid_entry2 *find_in(struct kvm_cpuid_entry2 *entries, u32 n, u32 leaf, u32 index)
{
	for (u32 k = 0; k < n; k++) {
		struct kvm_cpuid_entry2 *e = &entries[k];

		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	return NULL;
}

static struct kvm_cpuid_entry2 *find(const struct x86_cpu *c, u32 leaf, u32 index)
{
	return find_in(c->cpuid, c->nr_cpuid, leaf, index);
}

static u32 entry_reg(const struct kvm_cpuid_entry2 *e, u32 reg)
{
	return reg == EAX ? e->eax : reg == EBX ? e->ebx : reg == ECX ? e->ecx : e->edx;
}

u64 x86_guest_xcr0(const struct x86_cpu *c)
{
	const struct kvm_cpuid_entry2 *e = find(c, 0xd, 0);

	if (!c->nr_cpuid)
		return x86_supported_xcr0();
	return e ? (e->eax | (u64)e->edx << 32) & x86_supported_xcr0() : X86_XCR0_X87;
}

u8 x86_host_vendor(void)
{
	return vendor_is_amd(host_cpuid(0, 0).r[EBX]) ? X86_VENDOR_AMD : X86_VENDOR_INTEL;
}

void x86_cpuid_init(struct x86_cpu *c)
{
	x86_supported_features(c->features);
	c->vendor = x86_host_vendor();
	c->phys_bits = supported_phys_bits();
}

/* Where the VMM put KVM's leaves: behind those of another hypervisor that it also shows, if there are any. */
static u32 kvm_base(const struct x86_cpu *c)
{
	const struct kvm_cpuid_entry2 *e;

	for (u32 base = KVM_CPUID_SIGNATURE; base < KVM_CPUID_SIGNATURE + 0x10000; base += 0x100) {
		e = find(c, base, 0);
		if (e && e->ebx == KVM_SIGNATURE_EBX && e->ecx == KVM_SIGNATURE_ECX && e->edx == KVM_SIGNATURE_EDX)
			return base;
	}
	return 0;
}

/* The guest's features: what it was given, limited to what we implement. */
static void apply(struct x86_cpu *c)
{
	u32 words[X86_NR_FEATURE_WORDS];
	const struct kvm_cpuid_entry2 *e;

	c->kvm_cpuid = kvm_base(c);
	x86_supported_features(words);
	/* MWAIT is never offered, but does nothing where it is given. */
	words[X86_FW_1_ECX] |= BITOF(X86_FEATURE_MONITOR);
	for (u32 w = 0; w < X86_NR_FEATURE_WORDS; w++) {
		const struct feature_word *f = &feature_words[w];

		e = find(c, f->leaf, f->index);
		if (w == X86_FW_KVM_EAX)
			e = c->kvm_cpuid ? find(c, c->kvm_cpuid + 1, 0) : NULL;
		c->features[w] = e ? entry_reg(e, f->reg) & words[w] : 0;
	}
	e = find(c, 0, 0);
	c->vendor = e && vendor_is_amd(e->ebx) ? X86_VENDOR_AMD : X86_VENDOR_INTEL;
	c->phys_bits = 36;
	e = find(c, 0x80000000, 0);
	if (e && e->eax >= 0x80000008) {
		e = find(c, 0x80000008, 0);
		if (e)
			c->phys_bits = e->eax & 0xff;
	}
	if (c->phys_bits < 32 || c->phys_bits > 52)
		c->phys_bits = c->phys_bits > 52 ? 52 : 36;
}

int x86_set_cpuid(struct x86_cpu *c, const struct kvm_cpuid_entry2 *entries, u32 n)
{
	struct kvm_cpuid_entry2 *copy, *e;
	u32 linear;

	if (n > KVM_MAX_CPUID_ENTRIES)
		return -E2BIG;
	copy = os_alloc(max((size_t)n, (size_t)1) * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, entries, n * sizeof(*copy));
	e = find_in(copy, n, 0x80000008, 0);
	linear = e ? (e->eax >> 8) & 0xff : 0;
	if (linear != 0 && linear != 48 && linear != 57) {
		os_free(copy);
		return -EINVAL;
	}
	os_free(c->cpuid);
	c->cpuid = copy;
	c->nr_cpuid = n;
	if (n)
		apply(c);
	else
		x86_cpuid_init(c);
	kvm_hv_cpuid_changed(c->vcpu);
	x86_tlb_flush_all(c);	/* reserved bits depend on MAXPHYADDR and 1 GiB pages */
	return 0;
}

/* Bits that tell how the processor is set up now. */
static void adjust(const struct x86_cpu *c, const struct kvm_cpuid_entry2 *e, struct regs *r)
{
	u64 quirks = c->vcpu->kvm->arch.disabled_quirks;

	if (c->kvm_cpuid && e->function == c->kvm_cpuid + 1) {
		if (c->vcpu->kvm->arch.disabled_exits & KVM_X86_DISABLE_EXITS_HLT)
			r->r[EAX] &= ~BIT(KVM_FEATURE_PV_UNHALT);
		return;
	}

	switch (e->function) {
	case 1:
		r->r[ECX] &= ~BITOF(X86_FEATURE_OSXSAVE);
		if ((r->r[ECX] & BITOF(X86_FEATURE_XSAVE)) && (c->cr4 & X86_CR4_OSXSAVE))
			r->r[ECX] |= BITOF(X86_FEATURE_OSXSAVE);
		if (c->lapic && !(c->apic_base & X86_APIC_BASE_ENABLE))
			r->r[EDX] &= ~BITOF(X86_FEATURE_APIC);
		if (quirks & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT) {
			r->r[ECX] &= ~BITOF(X86_FEATURE_MONITOR);
			if (c->misc_enable & X86_MISC_ENABLE_MWAIT)
				r->r[ECX] |= BITOF(X86_FEATURE_MONITOR);
		}
		break;
	case 0xd:
		if (e->index == 0 && r->r[EAX])
			r->r[EBX] = x86_xsave_size(c->fpu.xcr0, false);
		else if (e->index == 1 && (r->r[EAX] & (BITOF(X86_FEATURE_XSAVEC) | BITOF(X86_FEATURE_XSAVES))))
			r->r[EBX] = x86_xsave_size(c->fpu.xcr0 | c->fpu.xss, true);
		break;
	}
}

static struct regs entry_regs(const struct x86_cpu *c, const struct kvm_cpuid_entry2 *e)
{
	struct regs r = { { e->eax, e->ebx, e->ecx, e->edx } };

	adjust(c, e, &r);
	return r;
}

bool x86_same_cpuid(struct x86_cpu *c, const struct kvm_cpuid_entry2 *entries, u32 n)
{
	if (n != c->nr_cpuid)
		return false;
	for (u32 i = 0; i < n; i++) {
		struct regs new = entry_regs(c, &entries[i]), old = entry_regs(c, &c->cpuid[i]);

		if (entries[i].function != c->cpuid[i].function || entries[i].index != c->cpuid[i].index ||
		    entries[i].flags != c->cpuid[i].flags || memcmp(&new, &old, sizeof(new)))
			return false;
	}
	return true;
}

int x86_get_cpuid(struct x86_cpu *c, struct kvm_cpuid_entry2 *entries, u32 max)
{
	if (max < c->nr_cpuid)
		return -E2BIG;
	for (u32 n = 0; n < c->nr_cpuid; n++) {
		struct regs r = entry_regs(c, &c->cpuid[n]);

		entries[n] = c->cpuid[n];
		entries[n].eax = r.r[EAX];
		entries[n].ebx = r.r[EBX];
		entries[n].ecx = r.r[ECX];
		entries[n].edx = r.r[EDX];
	}
	return c->nr_cpuid;
}

/* A leaf that does not exist: 0 on AMD's; on Intel's, beyond its class's last leaf, the last basic one. */
static const struct kvm_cpuid_entry2 *out_of_range(const struct x86_cpu *c, u32 leaf, u32 index)
{
	const struct kvm_cpuid_entry2 *basic = find(c, 0, 0), *class;

	if (!basic || c->vendor == X86_VENDOR_AMD)
		return NULL;
	if (leaf >= 0x40000000 && leaf <= 0x4fffffff)
		class = find(c, leaf & 0xffffff00, 0);
	else if (leaf >= 0xc0000000)
		class = find(c, 0xc0000000, 0);
	else
		class = find(c, leaf & 0x80000000, 0);
	if (class && leaf <= class->eax)
		return NULL;
	return find(c, basic->eax, index);
}

void x86_cpuid(struct x86_cpu *c, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	u32 leaf = *eax, index = *ecx;
	const struct kvm_cpuid_entry2 *e = find(c, leaf, index);
	struct regs r = { { 0 } };

	if (!e)
		e = out_of_range(c, leaf, index);
	if (e) {
		r = entry_regs(c, e);
	} else if (leaf == 0xb || leaf == 0x1f) {
		/* Topology: past the last level, the level asked for and the APIC ID. */
		e = find(c, leaf, 1);
		if (e) {
			r.r[ECX] = index & 0xff;
			r.r[EDX] = e->edx;
		}
	}
	*eax = r.r[EAX];
	*ebx = r.r[EBX];
	*ecx = r.r[ECX];
	*edx = r.r[EDX];
}
