/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Model-specific registers (SDM volume 4; APM volume 2, A), as Linux's KVM treats them: what a guest or
 * a VMM expects to be there is there, what KVM ignores is ignored, everything else is #GP(0).
 *
 * `host` accesses come from the VMM (KVM_GET_MSRS, KVM_SET_MSRS): they may write what is read-only
 * for the guest, and restore values in any order.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/cpuid.h"
#include "kvm/x86/descriptor.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/msr.h"

#define MSR_TSC				0x10
#define MSR_PLATFORM_ID			0x17
#define MSR_APIC_BASE			0x1b
#define MSR_EBC_FREQUENCY_ID		0x2c
#define MSR_SMI_COUNT			0x34
#define MSR_FEAT_CTL			0x3a
#define MSR_TSC_ADJUST			0x3b
#define MSR_SPEC_CTRL			0x48
#define MSR_PRED_CMD			0x49
#define MSR_UCODE_WRITE			0x79
#define MSR_UCODE_REV			0x8b
#define MSR_SMBASE			0x9e
#define MSR_P6_PERFCTR0			0xc1
#define MSR_P6_PERFCTR1			0xc2
#define MSR_FSB_FREQ			0xcd
#define MSR_PLATFORM_INFO		0xce
#define MSR_MTRRCAP			0xfe
#define MSR_ARCH_CAPABILITIES		0x10a
#define MSR_BBL_CR_CTL3			0x11e
#define MSR_MISC_FEATURES_ENABLES	0x140
#define MSR_SYSENTER_CS			0x174
#define MSR_SYSENTER_ESP		0x175
#define MSR_SYSENTER_EIP		0x176
#define MSR_MCG_CAP			0x179
#define MSR_MCG_STATUS			0x17a
#define MSR_MCG_CTL			0x17b
#define MSR_P6_EVNTSEL0			0x186
#define MSR_P6_EVNTSEL1			0x187
#define MSR_PERF_STATUS			0x198
#define MSR_PERF_CTL			0x199
#define MSR_MISC_ENABLE			0x1a0
#define MSR_DEBUGCTL			0x1d9
#define MSR_LASTBRANCHFROMIP		0x1db
#define MSR_LASTINTTOIP			0x1de
#define MSR_POWER_CTL			0x1fc
#define MSR_MTRR_VAR			0x200	/* base, mask: 8 pairs */
#define MSR_MTRR_FIX64K			0x250
#define MSR_MTRR_FIX16K			0x258
#define MSR_MTRR_FIX4K			0x268
#define MSR_PAT				0x277
#define MSR_MC0_CTL2			0x280
#define MSR_MTRR_DEF_TYPE		0x2ff
#define MSR_PERF_CAPABILITIES		0x345
#define MSR_MC0_CTL			0x400
#define MSR_RAPL_POWER_UNIT		0x606
#define MSR_PKG_ENERGY_STATUS		0x611
#define MSR_DRAM_ENERGY_STATUS		0x619
#define MSR_PP0_ENERGY_STATUS		0x639
#define MSR_PP1_ENERGY_STATUS		0x641
#define MSR_TSC_DEADLINE		0x6e0
#define MSR_X2APIC			0x800
#define MSR_XSS				0xda0
#define MSR_EFER			0xc0000080
#define MSR_STAR			0xc0000081
#define MSR_LSTAR			0xc0000082
#define MSR_CSTAR			0xc0000083
#define MSR_SYSCALL_MASK		0xc0000084
#define MSR_FS_BASE			0xc0000100
#define MSR_GS_BASE			0xc0000101
#define MSR_KERNEL_GS_BASE		0xc0000102
#define MSR_TSC_AUX			0xc0000103
#define MSR_K7_EVNTSEL0			0xc0010000	/* 0-3, then the counters */
#define MSR_K7_PERFCTR3			0xc0010007
#define MSR_AMD64_SYSCFG		0xc0010010
#define MSR_K7_HWCR			0xc0010015
#define MSR_K7_CLK_CTL			0xc001001b
#define MSR_AMD64_NB_CFG		0xc001001f
#define MSR_AMD64_PATCH_LOADER		0xc0010020
#define MSR_K8_INT_PENDING		0xc0010055
#define MSR_MMIO_CONF_BASE		0xc0010058
#define MSR_K8_TSEG_ADDR		0xc0010112
#define MSR_K8_TSEG_MASK		0xc0010113
#define MSR_VM_HSAVE_PA			0xc0010117
#define MSR_AMD64_DC_CFG		0xc0011022
#define MSR_AMD64_TW_CFG		0xc0011023
#define MSR_AMD64_DE_CFG		0xc0011029
#define MSR_AMD64_BU_CFG2		0xc001102a
#define MSR_F15H_EX_CFG			0xc001102c

#define NR_VAR_MTRRS			8
#define MTRRCAP_VALUE			(BIT(10) | BIT(8) | NR_VAR_MTRRS)	/* WC, fixed ranges */
#define PAT_RESET			0x0007040600070406ull
#define MISC_ENABLE_RESET		(BIT(11) | BIT(12))	/* no BTS, no PEBS */
#define HWCR_MCI_STATUS_WRITE		BIT_ULL(18)
#define HWCR_TSC_FREQ_SEL		BIT_ULL(24)
#define DE_CFG_LFENCE_SERIALIZE		BIT_ULL(1)
#define CPUID_FAULT			BIT_ULL(31)	/* of PLATFORM_INFO */
#define MCG_STATUS_MCIP			BIT_ULL(2)
#define MCI_STATUS_VAL			BIT_ULL(63)
#define MCI_STATUS_OVER			BIT_ULL(62)
#define MCI_STATUS_UC			BIT_ULL(61)
#define SPEC_CTRL_DEFINED		7u		/* IBRS, STIBP, SSBD */

/*
 * Borders inside the guest are not the host's (cpuid.c): RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO,
 * MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
 */
#define ARCH_CAPABILITIES_VALUE							\
	(BIT_ULL(0) | BIT_ULL(1) | BIT_ULL(3) | BIT_ULL(4) | BIT_ULL(5) | BIT_ULL(6) |	\
	 BIT_ULL(8) | BIT_ULL(13) | BIT_ULL(14) | BIT_ULL(15) | BIT_ULL(20) | BIT_ULL(24) |	\
	 BIT_ULL(26) | BIT_ULL(27) | BIT_ULL(62))

/* MSRs that nothing looks at but RDMSR, WRMSR and the VMM. */
struct x86_msrs {
	u64 mtrr_fixed[11];		/* 250, 258, 259, 268-26f */
	u64 mtrr_var[NR_VAR_MTRRS * 2];
	u64 mtrr_def_type;
	u64 mcg_cap, mcg_status, mcg_ctl;
	u64 mci[KVM_MAX_MCE_BANKS * 4];	/* CTL, STATUS, ADDR, MISC */
	u64 mci_ctl2[KVM_MAX_MCE_BANKS];
	u64 feat_ctl, spec_ctrl, ucode_rev, arch_capabilities, platform_info, misc_features, power_ctl;
	u64 hwcr, de_cfg;
};

static const u32 state_msrs[] = {
	MSR_TSC, MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_STAR, MSR_LSTAR, MSR_CSTAR,
	MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE, MSR_TSC_AUX, MSR_PAT, MSR_DEBUGCTL, MSR_SPEC_CTRL,
	0x11, 0x12, 0x4b564d00, 0x4b564d01, 0x4b564d03, 0x4b564d04, 0x4b564d05,	/* pv.c */
	MSR_TSC_ADJUST, MSR_TSC_DEADLINE, MSR_ARCH_CAPABILITIES, MSR_MISC_ENABLE, MSR_MCG_STATUS,
	MSR_MCG_CTL, MSR_SMBASE, MSR_SMI_COUNT, MSR_PLATFORM_INFO, MSR_MISC_FEATURES_ENABLES, MSR_UCODE_REV, MSR_K7_HWCR,
	MSR_AMD64_DE_CFG,
	/* hyperv.c: of sources and timers the first stands for all */
	0x40000000, 0x40000001, 0x40000002, 0x40000003, 0x40000010, 0x40000020, 0x40000021, 0x40000022,
	0x40000023, 0x40000073, 0x40000080, 0x400000b0, 0x400000f1, 0x400000f2, 0x400000f3, 0x400000f4,
	0x400000f5, 0x400000ff, 0x40000100, 0x40000101, 0x40000102, 0x40000103, 0x40000104, 0x40000105,
	0x40000106, 0x40000107, 0x40000108,
	MSR_MTRR_VAR, MSR_MTRR_VAR + 1, MSR_MTRR_VAR + 2, MSR_MTRR_VAR + 3, MSR_MTRR_VAR + 4,
	MSR_MTRR_VAR + 5, MSR_MTRR_VAR + 6, MSR_MTRR_VAR + 7, MSR_MTRR_VAR + 8, MSR_MTRR_VAR + 9,
	MSR_MTRR_VAR + 10, MSR_MTRR_VAR + 11, MSR_MTRR_VAR + 12, MSR_MTRR_VAR + 13, MSR_MTRR_VAR + 14,
	MSR_MTRR_VAR + 15,
	MSR_MTRR_FIX64K, MSR_MTRR_FIX16K, MSR_MTRR_FIX16K + 1, MSR_MTRR_FIX4K, MSR_MTRR_FIX4K + 1,
	MSR_MTRR_FIX4K + 2, MSR_MTRR_FIX4K + 3, MSR_MTRR_FIX4K + 4, MSR_MTRR_FIX4K + 5,
	MSR_MTRR_FIX4K + 6, MSR_MTRR_FIX4K + 7, MSR_MTRR_DEF_TYPE,
};

static const u32 feature_msrs[] = {
	MSR_UCODE_REV, MSR_ARCH_CAPABILITIES, MSR_PLATFORM_INFO, MSR_AMD64_DE_CFG,
	MSR_PERF_CAPABILITIES,
};

u32 x86_msr_list(u32 *indices, u32 max, bool features)
{
	const u32 *list = features ? feature_msrs : state_msrs;
	u32 n = features ? ARRAY_SIZE(feature_msrs) : ARRAY_SIZE(state_msrs);

	memcpy(indices, list, min(n, max) * sizeof(*list));
	return n;
}

static u64 default_ucode_rev(u8 vendor)
{
	return vendor == X86_VENDOR_AMD ? 0x01000065 : 0x100000000ull;
}

int x86_get_feature_msr(u32 index, u64 *val)
{
	switch (index) {
	case MSR_UCODE_REV:
		*val = default_ucode_rev(x86_host_vendor());
		return 0;
	case MSR_ARCH_CAPABILITIES:
		*val = ARCH_CAPABILITIES_VALUE;
		return 0;
	case MSR_PLATFORM_INFO:
		*val = CPUID_FAULT;
		return 0;
	case MSR_AMD64_DE_CFG:
		*val = DE_CFG_LFENCE_SERIALIZE;
		return 0;
	case MSR_PERF_CAPABILITIES:	/* there are no counters */
		*val = 0;
		return 0;
	default:
		return -EINVAL;
	}
}

int x86_msr_init(struct x86_cpu *c)
{
	struct x86_vm *vm = &c->vcpu->kvm->arch;
	struct x86_msrs *m = os_alloc(sizeof(*m));

	if (!m)
		return -ENOMEM;
	c->msrs = m;
	m->mcg_cap = KVM_MAX_MCE_BANKS;
	m->arch_capabilities = ARCH_CAPABILITIES_VALUE;
	m->platform_info = CPUID_FAULT;
	x86_cpuid_init(c);
	m->ucode_rev = default_ucode_rev(c->vendor);
	c->tsc_khz = os_tsc_khz();
	c->tsc_ratio = 1ull << 32;
	if (vm->default_tsc_khz)
		x86_set_tsc_khz(c, vm->default_tsc_khz);
	x86_write_tsc(c, 0, true);
	return 0;
}

void x86_msr_free(struct x86_cpu *c)
{
	os_free(c->msrs);
	c->msrs = NULL;
}

void x86_reset_msrs(struct x86_cpu *c)
{
	struct x86_msrs *m = c->msrs;
	bool bsp = c->vcpu->id == c->vcpu->kvm->arch.bsp_vcpu_id;

	c->star = c->lstar = c->cstar = c->sfmask = c->kernel_gs_base = c->tsc_aux = 0;
	c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
	c->pat = PAT_RESET;
	c->debugctl = 0;
	c->misc_enable = MISC_ENABLE_RESET;
	c->smbase = 0x30000;
	if (!c->lapic)
		c->apic_base = 0xfee00000 | X86_APIC_BASE_ENABLE | (bsp ? X86_APIC_BASE_BSP : 0);
	memset(m->mtrr_fixed, 0, sizeof(m->mtrr_fixed));
	memset(m->mtrr_var, 0, sizeof(m->mtrr_var));
	m->mtrr_def_type = 0;
	m->mcg_status = 0;
	m->feat_ctl = m->spec_ctrl = m->misc_features = m->power_ctl = 0;
	m->hwcr = HWCR_TSC_FREQ_SEL;
	m->de_cfg = DE_CFG_LFENCE_SERIALIZE;
}

bool x86_cpuid_faults(const struct x86_cpu *c)
{
	return c->msrs->misc_features & 1;
}

/* ---- the time-stamp counter ---- */

static u64 scaled_host_tsc(const struct x86_cpu *c)
{
	u64 tsc = os_rdtsc();

	if (likely(c->tsc_ratio == 1ull << 32))
		return tsc;
	return (u64)(((u128)tsc * c->tsc_ratio) >> 32);
}

u64 x86_read_tsc(struct x86_cpu *c)
{
	return scaled_host_tsc(c) + c->tsc_offset;
}

/* The clock page and the deadline timer are reckoned from the TSC. */
static void tsc_changed(struct x86_cpu *c)
{
	if (c->lapic)
		kvm_lapic_tsc_changed(c->vcpu);
	if (c->vcpu->index == 0)
		kvm_hv_clock_changed(c->vcpu->kvm);
	kvm_make_own_request(c->vcpu, KVM_REQ_CLOCK_UPDATE);
}

void x86_set_tsc_khz(struct x86_cpu *c, u32 khz)
{
	u32 host = os_tsc_khz();
	u64 now = x86_read_tsc(c);

	/* As near as two measurements of one clock: 250 parts in a million. */
	if (khz - host + host / 4000 <= host / 4000 * 2)
		c->tsc_ratio = 1ull << 32;
	else
		c->tsc_ratio = mul_div(khz, 1ull << 32, host);
	c->tsc_khz = khz;
	c->tsc_offset = 0;
	c->tsc_offset = now - scaled_host_tsc(c);
	tsc_changed(c);
}

void x86_write_tsc(struct x86_cpu *c, u64 val, bool host)
{
	struct x86_vm *vm = &c->vcpu->kvm->arch;
	u64 offset = val - scaled_host_tsc(c), now = os_time_ns(), second = (u64)c->tsc_khz * 1000, expected;

	if (!host) {
		c->tsc_adjust += offset - c->tsc_offset;
		c->tsc_offset = offset;
		tsc_changed(c);
		return;
	}
	/*
	 * A VMM that writes one value to each vCPU in turn means all to have the same counter, not counters
	 * apart by the time that the writing took.
	 */
	os_mutex_lock(&vm->clock_lock);
	if (vm->last_tsc_nsec && vm->last_tsc_khz == c->tsc_khz) {
		expected = vm->last_tsc_write +
			   mul_div(now - vm->last_tsc_nsec, c->tsc_khz, 1000000);
		if (val == 0 || val - expected + second < 2 * second)
			offset = vm->last_tsc_offset;
	}
	vm->last_tsc_khz = c->tsc_khz;
	vm->last_tsc_nsec = now;
	vm->last_tsc_write = val;
	vm->last_tsc_offset = offset;
	os_mutex_unlock(&vm->clock_lock);
	c->tsc_offset = offset;
	tsc_changed(c);
}

void x86_set_tsc_offset(struct x86_cpu *c, u64 offset)
{
	struct x86_vm *vm = &c->vcpu->kvm->arch;

	os_mutex_lock(&vm->clock_lock);
	vm->last_tsc_khz = c->tsc_khz;
	vm->last_tsc_nsec = os_time_ns();
	vm->last_tsc_write = scaled_host_tsc(c) + offset;
	vm->last_tsc_offset = offset;
	os_mutex_unlock(&vm->clock_lock);
	c->tsc_offset = offset;
	tsc_changed(c);
}

/* ---- memory types ---- */

static bool valid_type(u8 t)	/* UC, WC, WT, WP, WB */
{
	return t < 8 && (0x73 & BIT(t));
}

static bool valid_types(u64 val)
{
	for (int n = 0; n < 8; n++)
		if (!valid_type(val >> (n * 8)))
			return false;
	return true;
}

static bool valid_pat(u64 val)	/* also UC- */
{
	for (int n = 0; n < 8; n++) {
		u8 t = val >> (n * 8);

		if (t >= 8 || !(0xf3 & BIT(t)))
			return false;
	}
	return true;
}

static u64 *mtrr_slot(struct x86_msrs *m, u32 index)
{
	switch (index) {
	case MSR_MTRR_VAR ... MSR_MTRR_VAR + NR_VAR_MTRRS * 2 - 1:
		return &m->mtrr_var[index - MSR_MTRR_VAR];
	case MSR_MTRR_FIX64K:
		return &m->mtrr_fixed[0];
	case MSR_MTRR_FIX16K ... MSR_MTRR_FIX16K + 1:
		return &m->mtrr_fixed[1 + index - MSR_MTRR_FIX16K];
	case MSR_MTRR_FIX4K ... MSR_MTRR_FIX4K + 7:
		return &m->mtrr_fixed[3 + index - MSR_MTRR_FIX4K];
	case MSR_MTRR_DEF_TYPE:
		return &m->mtrr_def_type;
	default:
		return NULL;
	}
}

static bool set_mtrr(struct x86_cpu *c, u32 index, u64 val)
{
	u64 high = ~(BIT_ULL(c->phys_bits) - 1);
	bool ok;

	if (index == MSR_MTRR_DEF_TYPE)
		ok = !(val & ~0xcffull) && valid_type(val);
	else if (index >= MSR_MTRR_FIX64K)
		ok = valid_types(val);
	else if (index & 1)
		ok = !(val & (high | 0x7ff));
	else
		ok = !(val & (high | 0xf00)) && valid_type(val);
	if (ok)
		*mtrr_slot(c->msrs, index) = val;
	return ok;
}

/* ---- machine checks ---- */

static u32 nr_banks(const struct x86_cpu *c)
{
	return c->msrs->mcg_cap & 0xff;
}

static bool is_mce(u32 index)
{
	return (index >= MSR_MCG_CAP && index <= MSR_MCG_CTL) ||
	       (index >= MSR_MC0_CTL2 && index < MSR_MC0_CTL2 + KVM_MAX_MCE_BANKS) ||
	       (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + KVM_MAX_MCE_BANKS * 4);
}

static bool get_mce(struct x86_cpu *c, u32 index, u64 *val, bool host)
{
	struct x86_msrs *m = c->msrs;

	switch (index) {
	case MSR_MCG_CAP:
		*val = m->mcg_cap;
		return true;
	case MSR_MCG_STATUS:
		*val = m->mcg_status;
		return true;
	case MSR_MCG_CTL:
		*val = m->mcg_ctl;
		return (m->mcg_cap & BIT(8)) || host;
	case MSR_MC0_CTL2 ... MSR_MC0_CTL2 + KVM_MAX_MCE_BANKS - 1:
		if (index - MSR_MC0_CTL2 >= nr_banks(c) || (!(m->mcg_cap & BIT(10)) && !host))
			return false;
		*val = m->mci_ctl2[index - MSR_MC0_CTL2];
		return true;
	default:
		if (index < MSR_MC0_CTL || index >= MSR_MC0_CTL + nr_banks(c) * 4)
			return false;
		*val = m->mci[index - MSR_MC0_CTL];
		return true;
	}
}

static bool set_mci(struct x86_cpu *c, u32 n, u64 val, bool host)
{
	bool writable = c->vendor == X86_VENDOR_AMD && (c->msrs->hwcr & HWCR_MCI_STATUS_WRITE);

	/* CTL takes all ones or all zeros (and what some guests do about two odd bits). */
	if (n % 4 == 0 && val && (val | BIT(10) | 1) != ~0ull)
		return false;
	/* STATUS can only be cleared, or restored, or written for injection where AMD's HWCR lets it. */
	if (n % 4 == 1 && !host && val && !writable)
		return false;
	c->msrs->mci[n] = val;
	return true;
}

static bool set_mce(struct x86_cpu *c, u32 index, u64 val, bool host)
{
	struct x86_msrs *m = c->msrs;

	switch (index) {
	case MSR_MCG_STATUS:
		m->mcg_status = val;
		return true;
	case MSR_MCG_CTL:
		if (!(m->mcg_cap & BIT(8)) && (val || !host))
			return false;
		if (val && val != ~0ull)
			return false;
		m->mcg_ctl = val;
		return true;
	case MSR_MC0_CTL2 ... MSR_MC0_CTL2 + KVM_MAX_MCE_BANKS - 1:
		if (index - MSR_MC0_CTL2 >= nr_banks(c))
			return false;
		if (!(m->mcg_cap & BIT(10)) && (val || !host))
			return false;
		if (val & ~(BIT_ULL(30) | 0x7fff))
			return false;
		m->mci_ctl2[index - MSR_MC0_CTL2] = val;
		return true;
	default:
		if (index < MSR_MC0_CTL || index >= MSR_MC0_CTL + nr_banks(c) * 4)
			return false;
		return set_mci(c, index - MSR_MC0_CTL, val, host);
	}
}

int x86_setup_mce(struct x86_cpu *c, u64 mcg_cap)
{
	u32 banks = mcg_cap & 0xff;

	if (!banks || banks > KVM_MAX_MCE_BANKS || (mcg_cap & ~(KVM_MCE_CAP_SUPPORTED | 0xff | BIT(16) * 0xffull)))
		return -EINVAL;
	c->msrs->mcg_cap = mcg_cap;
	if (mcg_cap & BIT(8))
		c->msrs->mcg_ctl = ~0ull;
	for (u32 n = 0; n < banks; n++)
		c->msrs->mci[n * 4] = ~0ull;
	return 0;
}

int x86_set_mce(struct x86_cpu *c, const struct kvm_x86_mce *mce)
{
	struct x86_msrs *m = c->msrs;
	bool uncorrected = mce->status & MCI_STATUS_UC;
	u64 *bank;

	if (mce->bank >= nr_banks(c) || !(mce->status & MCI_STATUS_VAL))
		return -EINVAL;
	bank = &m->mci[mce->bank * 4];
	/* Reporting that the guest has switched off. */
	if (uncorrected && (m->mcg_cap & BIT(8)) && m->mcg_ctl != ~0ull)
		return 0;
	if (uncorrected && bank[0] != ~0ull)
		return 0;
	if (uncorrected && ((m->mcg_status & MCG_STATUS_MCIP) || !(c->cr4 & X86_CR4_MCE))) {
		kvm_make_request(c->vcpu, KVM_REQ_TRIPLE_FAULT);
		return 0;
	}
	if (!uncorrected && (bank[1] & MCI_STATUS_VAL) && (bank[1] & MCI_STATUS_UC)) {
		bank[1] |= MCI_STATUS_OVER;
		return 0;
	}
	bank[1] = mce->status | (bank[1] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0);
	bank[2] = mce->addr;
	bank[3] = mce->misc;
	if (uncorrected) {
		m->mcg_status = mce->mcg_status;
		c->ev.exception_pending = true;
		c->ev.exception = (struct x86_fault){ .vector = X86_MC };
	}
	return 0;
}

/* ---- reading ---- */

/* MSRs that read as a constant, mostly 0: something that guests look at and that says nothing. */
static bool get_constant(const struct x86_cpu *c, u32 index, u64 *val)
{
	*val = 0;
	switch (index) {
	case MSR_PLATFORM_ID:
	case MSR_P6_PERFCTR0:
	case MSR_P6_PERFCTR1:
	case MSR_P6_EVNTSEL0:
	case MSR_P6_EVNTSEL1:
	case MSR_PERF_CTL:
	case MSR_LASTBRANCHFROMIP ... MSR_LASTINTTOIP:
	case MSR_RAPL_POWER_UNIT:
	case MSR_PKG_ENERGY_STATUS:
	case MSR_DRAM_ENERGY_STATUS:
	case MSR_PP0_ENERGY_STATUS:
	case MSR_PP1_ENERGY_STATUS:
	case MSR_K7_EVNTSEL0 ... MSR_K7_PERFCTR3:
	case MSR_AMD64_SYSCFG:
	case MSR_AMD64_NB_CFG:
	case MSR_K8_INT_PENDING:
	case MSR_MMIO_CONF_BASE:
	case MSR_K8_TSEG_ADDR:
	case MSR_K8_TSEG_MASK:
	case MSR_VM_HSAVE_PA:
	case MSR_AMD64_DC_CFG:
	case MSR_AMD64_TW_CFG:
	case MSR_AMD64_BU_CFG2:
	case MSR_F15H_EX_CFG:
		return true;
	case MSR_EBC_FREQUENCY_ID:
		*val = 1 << 24;
		return true;
	case MSR_FSB_FREQ:
		*val = 3;
		return true;
	case MSR_PERF_STATUS:
		*val = 1000 | 4ull << 40;
		return true;
	case MSR_K7_CLK_CTL:
		*val = 0x20000000;
		return true;
	case MSR_BBL_CR_CTL3:
		*val = 0xbe702111;
		return true;
	case MSR_MTRRCAP:
		*val = MTRRCAP_VALUE;
		return true;
	default:
		return false;
	}
}

static bool has_tsc_aux(const struct x86_cpu *c)
{
	return x86_has(c, X86_FEATURE_RDTSCP) || x86_has(c, X86_FEATURE_RDPID);
}

static bool get_simple(struct x86_cpu *c, u32 index, u64 *val, bool host, bool *known)
{
	struct x86_msrs *m = c->msrs;

	*known = true;
	switch (index) {
	case MSR_EFER: *val = c->efer; return true;
	case MSR_STAR: *val = c->star; return true;
	case MSR_LSTAR: *val = c->lstar; return true;
	case MSR_CSTAR: *val = c->cstar; return true;
	case MSR_SYSCALL_MASK: *val = c->sfmask; return true;
	case MSR_FS_BASE: *val = c->seg[X86_SEG_FS].base; return true;
	case MSR_GS_BASE: *val = c->seg[X86_SEG_GS].base; return true;
	case MSR_KERNEL_GS_BASE: *val = c->kernel_gs_base; return true;
	case MSR_TSC_AUX: *val = c->tsc_aux; return host || has_tsc_aux(c);
	case MSR_SYSENTER_CS: *val = c->sysenter_cs; return true;
	case MSR_SYSENTER_ESP: *val = c->sysenter_esp; return true;
	case MSR_SYSENTER_EIP: *val = c->sysenter_eip; return true;
	case MSR_PAT: *val = c->pat; return true;
	case MSR_TSC: *val = x86_read_tsc(c); return true;
	case MSR_TSC_ADJUST: *val = c->tsc_adjust; return host || x86_has(c, X86_FEATURE_TSC_ADJUST);
	case MSR_TSC_DEADLINE: *val = c->lapic ? kvm_lapic_tsc_deadline(c->vcpu) : 0; return true;
	case MSR_APIC_BASE: *val = c->apic_base; return true;
	case MSR_MISC_ENABLE: *val = c->misc_enable; return true;
	case MSR_DEBUGCTL: *val = c->debugctl; return true;
	case MSR_FEAT_CTL: *val = m->feat_ctl; return c->vendor == X86_VENDOR_INTEL;
	case MSR_SPEC_CTRL: *val = m->spec_ctrl; return host || x86_has(c, X86_FEATURE_SPEC_CTRL);
	case MSR_UCODE_REV: *val = m->ucode_rev; return true;
	case MSR_ARCH_CAPABILITIES:
		*val = m->arch_capabilities;
		return host || x86_has(c, X86_FEATURE_ARCH_CAPABILITIES);
	case MSR_PLATFORM_INFO:
		*val = m->platform_info;
		return host || !READ_ONCE(c->vcpu->kvm->arch.platform_info_hidden);
	case MSR_MISC_FEATURES_ENABLES: *val = m->misc_features; return true;
	case MSR_POWER_CTL: *val = m->power_ctl; return true;
	case MSR_SMBASE: *val = c->smbase; return host;
	case MSR_SMI_COUNT: *val = c->smi_count; return true;
	case MSR_XSS: *val = 0; return host;
	case MSR_PERF_CAPABILITIES: *val = 0; return host;
	case MSR_K7_HWCR: *val = m->hwcr; return true;
	case MSR_AMD64_DE_CFG: *val = m->de_cfg; return host || c->vendor == X86_VENDOR_AMD;
	default:
		*known = false;
		return false;
	}
}

enum x86_msr_result x86_get_msr(struct x86_cpu *c, u32 index, u64 *val, bool host)
{
	u64 *mtrr = mtrr_slot(c->msrs, index);
	bool known;
	int r;

	*val = 0;
	if (get_simple(c, index, val, host, &known))
		return X86_MSR_OK;
	if (known)
		return X86_MSR_REFUSED;
	if (mtrr) {
		*val = *mtrr;
		return X86_MSR_OK;
	}
	if (index >= MSR_X2APIC && index <= MSR_X2APIC + 0xff)
		return kvm_lapic_msr_read(c->vcpu, index, val) ? X86_MSR_REFUSED : X86_MSR_OK;
	if (is_mce(index))
		return get_mce(c, index, val, host) ? X86_MSR_OK : X86_MSR_REFUSED;
	if (get_constant(c, index, val))
		return X86_MSR_OK;
	if (kvm_hv_is_msr(index))
		return kvm_hv_get_msr(c->vcpu, index, val, host) ? X86_MSR_OK : X86_MSR_REFUSED;
	r = kvm_pv_msr_read(c->vcpu, index, val);
	return r == -ENOENT ? X86_MSR_UNKNOWN : r ? X86_MSR_REFUSED : X86_MSR_OK;
}

/* ---- writing ---- */

static bool set_canonical(u64 *reg, u64 val)
{
	if (!x86_canonical(val))
		return false;
	*reg = val;
	return true;
}

static bool set_efer(struct x86_cpu *c, u64 val, bool host)
{
	u64 known = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_FFXSR;

	if (!host)
		return x86_set_efer(c, val) == X86_OK;
	/* Restored in any order with CR0: LMA is the special registers' to set. */
	if (val & ~known)
		return false;
	c->efer = (val & ~(u64)X86_EFER_LMA) | (c->efer & X86_EFER_LMA);
	x86_tlb_flush_all(c);
	x86_update_mode(c);
	return true;
}

static bool set_tsc_adjust(struct x86_cpu *c, u64 val, bool host)
{
	if (!host) {
		if (!x86_has(c, X86_FEATURE_TSC_ADJUST))
			return false;
		c->tsc_offset += val - c->tsc_adjust;
	}
	c->tsc_adjust = val;
	tsc_changed(c);
	return true;
}

static bool set_feat_ctl(struct x86_cpu *c, u64 val, bool host)
{
	/* There is nothing to enable; it can be locked. */
	if (c->vendor != X86_VENDOR_INTEL || (val & ~1ull) || ((c->msrs->feat_ctl & 1) && !host))
		return false;
	c->msrs->feat_ctl = val;
	return true;
}

static bool set_hwcr(struct x86_cpu *c, u64 val)
{
	/* FFDIS, IGNNE, TLBCACHEDIS, MONMWAITUSEREN: accepted, without effect */
	val &= ~(BIT_ULL(6) | BIT_ULL(8) | BIT_ULL(3) | BIT_ULL(10));
	if (val & ~(HWCR_MCI_STATUS_WRITE | HWCR_TSC_FREQ_SEL))
		return false;
	c->msrs->hwcr = val;
	return true;
}

/* Writes that are taken and do nothing. */
static bool set_ignored(struct x86_cpu *c, u32 index, u64 val)
{
	switch (index) {
	case MSR_UCODE_WRITE:
	case MSR_AMD64_NB_CFG:
	case MSR_AMD64_PATCH_LOADER:
	case MSR_AMD64_BU_CFG2:
	case MSR_AMD64_DC_CFG:
	case MSR_AMD64_TW_CFG:
	case MSR_F15H_EX_CFG:
	case MSR_VM_HSAVE_PA:
	case MSR_BBL_CR_CTL3:
	case MSR_P6_PERFCTR0:
	case MSR_P6_PERFCTR1:
	case MSR_P6_EVNTSEL0:
	case MSR_P6_EVNTSEL1:
	case MSR_K7_EVNTSEL0 ... MSR_K7_PERFCTR3:
	case MSR_K7_CLK_CTL:
		return true;
	case MSR_MMIO_CONF_BASE:
		return !val;
	default:
		return false;
	}
}

static bool set_simple(struct x86_cpu *c, u32 index, u64 val, bool host, bool *known)
{
	struct x86_msrs *m = c->msrs;

	*known = true;
	switch (index) {
	case MSR_EFER: return set_efer(c, val, host);
	case MSR_STAR: c->star = val; return true;
	case MSR_LSTAR: return set_canonical(&c->lstar, val);
	case MSR_CSTAR: return set_canonical(&c->cstar, val);
	case MSR_SYSCALL_MASK: c->sfmask = (u32)val; return true;
	case MSR_FS_BASE: return set_canonical(&c->seg[X86_SEG_FS].base, val);
	case MSR_GS_BASE: return set_canonical(&c->seg[X86_SEG_GS].base, val);
	case MSR_KERNEL_GS_BASE: return set_canonical(&c->kernel_gs_base, val);
	case MSR_SYSENTER_CS: c->sysenter_cs = (u32)val; return true;
	case MSR_SYSENTER_ESP: return set_canonical(&c->sysenter_esp, val);
	case MSR_SYSENTER_EIP: return set_canonical(&c->sysenter_eip, val);
	case MSR_TSC_AUX:
		/* AMD drops the upper half, Intel refuses it. */
		if ((!host && !has_tsc_aux(c)) || (c->vendor == X86_VENDOR_INTEL && val >> 32))
			return false;
		c->tsc_aux = (u32)val;
		return true;
	case MSR_PAT:
		if (!valid_pat(val))
			return false;
		c->pat = val;
		return true;
	case MSR_TSC: x86_write_tsc(c, val, host); return true;
	case MSR_TSC_ADJUST: return set_tsc_adjust(c, val, host);
	case MSR_TSC_DEADLINE:
		if (c->lapic)
			kvm_lapic_set_tsc_deadline(c->vcpu, val);
		return true;
	case MSR_APIC_BASE: return !kvm_lapic_set_base(c->vcpu, val, host);
	case MSR_MISC_ENABLE: c->misc_enable = val; return true;
	case MSR_DEBUGCTL:
		if (val & ~3ull)	/* LBR, BTF */
			return false;
		c->debugctl = val;
		return true;
	case MSR_FEAT_CTL: return set_feat_ctl(c, val, host);
	case MSR_SPEC_CTRL:
		if ((!host && !x86_has(c, X86_FEATURE_SPEC_CTRL)) || (val & ~(u64)SPEC_CTRL_DEFINED))
			return false;
		m->spec_ctrl = val;
		return true;
	case MSR_PRED_CMD: return (host || x86_has(c, X86_FEATURE_SPEC_CTRL)) && !(val & ~1ull);
	case MSR_UCODE_REV:
		if (host)
			m->ucode_rev = val;
		return true;
	case MSR_ARCH_CAPABILITIES:
		if (!host)
			return false;
		m->arch_capabilities = val;
		return true;
	case MSR_PLATFORM_INFO:
		if (!host || (!(val & CPUID_FAULT) && (m->misc_features & 1)))
			return false;
		m->platform_info = val;
		return true;
	case MSR_MISC_FEATURES_ENABLES:
		if ((val & ~1ull) || ((val & 1) && !(m->platform_info & CPUID_FAULT)))
			return false;
		m->misc_features = val;
		return true;
	case MSR_POWER_CTL: m->power_ctl = val; return true;
	case MSR_SMBASE:
	case MSR_SMI_COUNT:
		if (!host)
			return false;
		*(index == MSR_SMBASE ? &c->smbase : &c->smi_count) = val;
		return true;
	case MSR_XSS:
	case MSR_PERF_CAPABILITIES: return host && !val;
	case MSR_K7_HWCR: return set_hwcr(c, val);
	case MSR_AMD64_DE_CFG:
		if ((!host && c->vendor != X86_VENDOR_AMD) || (val & ~DE_CFG_LFENCE_SERIALIZE))
			return false;
		m->de_cfg = val;
		return true;
	default:
		*known = false;
		return false;
	}
}

enum x86_msr_result x86_set_msr(struct x86_cpu *c, u32 index, u64 val, bool host)
{
	bool known, ok = set_simple(c, index, val, host, &known);
	int r;

	if (!known) {
		if (mtrr_slot(c->msrs, index)) {
			ok = set_mtrr(c, index, val);
		} else if (index >= MSR_X2APIC && index <= MSR_X2APIC + 0xff) {
			ok = !kvm_lapic_msr_write(c->vcpu, index, val);
		} else if (is_mce(index)) {
			ok = set_mce(c, index, val, host);
		} else if (set_ignored(c, index, val)) {
			ok = true;
		} else if (kvm_hv_is_msr(index)) {
			ok = kvm_hv_set_msr(c->vcpu, index, val, host);
		} else {
			r = kvm_pv_msr_write(c->vcpu, index, val, host);
			if (r == -ENOENT)
				return X86_MSR_UNKNOWN;
			ok = !r;
		}
	}
	return ok ? X86_MSR_OK : X86_MSR_REFUSED;
}
