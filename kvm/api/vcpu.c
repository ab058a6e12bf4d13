/* SPDX-License-Identifier: GPL-2.0-only */
/* ioctls of a vCPU: one at a time; those of other threads wait while it runs. */
#include "kvm/api/api.h"
#include "kvm/x86/cpuid.h"
#include "kvm/x86/events.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/state.h"
#include "kvm/x86/xstate.h"

static long run(struct api_call *c)
{
	return c->arg ? -EINVAL : kvm_vcpu_run(c->v);
}

/* ---- registers ---- */

static long get_regs(struct api_call *c)
{
	x86_get_regs(&c->v->cpu, c->data);
	return 0;
}

static long set_regs(struct api_call *c)
{
	x86_set_regs(&c->v->cpu, c->data);
	return 0;
}

static long get_sregs(struct api_call *c)
{
	x86_get_sregs(&c->v->cpu, c->data);
	return 0;
}

static long set_sregs(struct api_call *c)
{
	return x86_set_sregs(&c->v->cpu, c->data);
}

static long get_sregs2(struct api_call *c)
{
	x86_get_sregs2(&c->v->cpu, c->data);
	return 0;
}

static long set_sregs2(struct api_call *c)
{
	return x86_set_sregs2(&c->v->cpu, c->data);
}

static long get_debugregs(struct api_call *c)
{
	x86_get_debugregs(&c->v->cpu, c->data);
	return 0;
}

static long set_debugregs(struct api_call *c)
{
	return x86_set_debugregs(&c->v->cpu, c->data);
}

static long get_xcrs(struct api_call *c)
{
	return x86_get_xcrs(&c->v->cpu, c->data);
}

static long set_xcrs(struct api_call *c)
{
	return x86_set_xcrs(&c->v->cpu, c->data);
}

static long get_fpu(struct api_call *c)
{
	x86_get_fpu(&c->v->cpu, c->data);
	return 0;
}

static long set_fpu(struct api_call *c)
{
	x86_set_fpu(&c->v->cpu, c->data);
	return 0;
}

/* KVM_GET_XSAVE2 too: no component needs more room. */
static long get_xsave(struct api_call *c)
{
	x86_get_xsave(&c->v->cpu, c->data, sizeof(struct kvm_xsave));
	return 0;
}

static long set_xsave(struct api_call *c)
{
	return x86_set_xsave(&c->v->cpu, c->data, sizeof(struct kvm_xsave), x86_supported_xcr0());
}

/* ---- events ---- */

static long get_vcpu_events(struct api_call *c)
{
	return kvm_x86_get_vcpu_events(c->v, c->data);
}

static long set_vcpu_events(struct api_call *c)
{
	return kvm_x86_set_vcpu_events(c->v, c->data);
}

static long get_mp_state(struct api_call *c)
{
	return kvm_x86_get_mp_state(c->v, c->data);
}

static long set_mp_state(struct api_call *c)
{
	return kvm_x86_set_mp_state(c->v, c->data);
}

static long interrupt(struct api_call *c)
{
	return kvm_x86_interrupt(c->v, ((struct kvm_interrupt *)c->data)->irq);
}

static long nmi(struct api_call *c)
{
	return kvm_x86_nmi(c->v);
}

static long smi(struct api_call *c)
{
	return kvm_x86_smi(c->v);
}

static long set_guest_debug(struct api_call *c)
{
	return kvm_x86_set_guest_debug(c->v, c->data);
}

static long translate(struct api_call *c)
{
	return kvm_x86_translate(c->v, c->data);
}

static long set_signal_mask(struct api_call *c)
{
	struct kvm_signal_mask head;
	u64 mask;

	if (!c->arg) {
		c->v->sigmask = (struct os_sigmask){ .set = false };
		return 0;
	}
	if (os_copy_from_user(&head, c->arg, sizeof(head.len)))
		return -EFAULT;
	if (head.len != sizeof(mask))
		return -EINVAL;
	if (os_copy_from_user(&mask, c->arg + offsetof(struct kvm_signal_mask, sigset), sizeof(mask)))
		return -EFAULT;
	c->v->sigmask = (struct os_sigmask){ .set = true, .mask = mask };
	return 0;
}

/* ---- the local APIC ---- */

static long get_lapic(struct api_call *c)
{
	if (!c->v->cpu.lapic)
		return -EINVAL;
	kvm_lapic_get_state(c->v, c->data);
	return 0;
}

static long set_lapic(struct api_call *c)
{
	if (!c->v->cpu.lapic)
		return -EINVAL;
	return kvm_lapic_set_state(c->v, c->data);
}

/* ---- machine checks ---- */

static long setup_mce(struct api_call *c)
{
	return x86_setup_mce(&c->v->cpu, *(u64 *)c->data);
}

static long set_mce(struct api_call *c)
{
	return x86_set_mce(&c->v->cpu, c->data);
}

/* ---- clocks ---- */

static long get_tsc_khz(struct api_call *c)
{
	return c->v->cpu.tsc_khz;
}

static long set_tsc_khz(struct api_call *c)
{
	if (c->arg != (u32)c->arg)
		return -EINVAL;
	x86_set_tsc_khz(&c->v->cpu, c->arg ? c->arg : os_tsc_khz());
	return 0;
}

/* The only attribute: the TSC's offset, which says more than its value when that goes on meanwhile. */
static bool has_attr(const struct kvm_device_attr *a)
{
	return a->group == KVM_VCPU_TSC_CTRL && a->attr == KVM_VCPU_TSC_OFFSET;
}

static long has_device_attr(struct api_call *c)
{
	return has_attr(c->data) ? 0 : -ENXIO;
}

static long get_device_attr(struct api_call *c)
{
	const struct kvm_device_attr *a = c->data;
	u64 offset = c->v->cpu.tsc_offset;

	return has_attr(a) ? os_copy_to_user(a->addr, &offset, sizeof(offset)) : -ENXIO;
}

static long set_device_attr(struct api_call *c)
{
	const struct kvm_device_attr *a = c->data;
	u64 offset;

	if (!has_attr(a))
		return -ENXIO;
	if (os_copy_from_user(&offset, a->addr, sizeof(offset)))
		return -EFAULT;
	x86_set_tsc_offset(&c->v->cpu, offset);
	return 0;
}

static long kvmclock_ctrl(struct api_call *c)
{
	return kvm_pv_clock_stopped(c->v);
}

static long enable_cap(struct api_call *c)
{
	return api_enable_vcpu_cap(c->v, c->data);
}

static long tpr_access_reporting(struct api_call *c)
{
	struct kvm_tpr_access_ctl *ctl = c->data;

	if (ctl->flags)
		return -EINVAL;
	if (c->v->cpu.lapic)
		kvm_lapic_report_tpr(c->v, ctl->enabled);
	return 0;
}

static long set_vapic_addr(struct api_call *c)
{
	const struct kvm_vapic_addr *a = c->data;

	return c->v->cpu.lapic ? kvm_lapic_set_vapic(c->v, a->vapic_addr) : -EINVAL;
}

static long get_stats_fd(struct api_call *c)
{
	return kvm_vcpu_stats_fd(c->v);
}

/* These need no guest memory, or (KVM_RUN, KVM_TRANSLATE) enter by themselves. */
static const struct api_row outside_rows[] = {
	API_ROW(KVM_RUN, NONE, run),
	API_ROW(KVM_TRANSLATE, INOUT(struct kvm_translation), translate),
	API_ROW(KVM_SET_SIGNAL_MASK, NONE, set_signal_mask),
	API_ROW(KVM_ENABLE_CAP, IN(struct kvm_enable_cap), enable_cap),
	API_ROW(KVM_GET_STATS_FD, NONE, get_stats_fd),
};

static const struct api_row rows[] = {
	API_ROW(KVM_GET_REGS, OUT(struct kvm_regs), get_regs),
	API_ROW(KVM_SET_REGS, IN(struct kvm_regs), set_regs),
	API_ROW(KVM_GET_SREGS, OUT(struct kvm_sregs), get_sregs),
	API_ROW(KVM_SET_SREGS, IN(struct kvm_sregs), set_sregs),
	API_ROW(KVM_GET_SREGS2, OUT(struct kvm_sregs2), get_sregs2),
	API_ROW(KVM_SET_SREGS2, IN(struct kvm_sregs2), set_sregs2),
	API_ROW(KVM_GET_FPU, OUT(struct kvm_fpu), get_fpu),
	API_ROW(KVM_SET_FPU, IN(struct kvm_fpu), set_fpu),
	API_ROW(KVM_GET_XSAVE, OUT(struct kvm_xsave), get_xsave),
	API_ROW(KVM_GET_XSAVE2, OUT(struct kvm_xsave), get_xsave),
	API_ROW(KVM_SET_XSAVE, IN(struct kvm_xsave), set_xsave),
	API_ROW(KVM_GET_XCRS, OUT(struct kvm_xcrs), get_xcrs),
	API_ROW(KVM_SET_XCRS, IN(struct kvm_xcrs), set_xcrs),
	API_ROW(KVM_GET_DEBUGREGS, OUT(struct kvm_debugregs), get_debugregs),
	API_ROW(KVM_SET_DEBUGREGS, IN(struct kvm_debugregs), set_debugregs),
	API_ROW(KVM_GET_MSRS, NONE, api_get_msrs),
	API_ROW(KVM_SET_MSRS, NONE, api_set_msrs),
	API_ROW(KVM_SET_CPUID, NONE, api_set_cpuid),
	API_ROW(KVM_SET_CPUID2, NONE, api_set_cpuid2),
	API_ROW(KVM_GET_CPUID2, NONE, api_get_cpuid2),
	API_ROW(KVM_GET_SUPPORTED_HV_CPUID, NONE, api_get_supported_hv_cpuid),
	API_ROW(KVM_GET_LAPIC, OUT(struct kvm_lapic_state), get_lapic),
	API_ROW(KVM_SET_LAPIC, IN(struct kvm_lapic_state), set_lapic),
	API_ROW(KVM_TPR_ACCESS_REPORTING, INOUT(struct kvm_tpr_access_ctl), tpr_access_reporting),
	API_ROW(KVM_SET_VAPIC_ADDR, IN(struct kvm_vapic_addr), set_vapic_addr),
	API_ROW(KVM_GET_VCPU_EVENTS, OUT(struct kvm_vcpu_events), get_vcpu_events),
	API_ROW(KVM_SET_VCPU_EVENTS, IN(struct kvm_vcpu_events), set_vcpu_events),
	API_ROW(KVM_GET_MP_STATE, OUT(struct kvm_mp_state), get_mp_state),
	API_ROW(KVM_SET_MP_STATE, IN(struct kvm_mp_state), set_mp_state),
	API_ROW(KVM_INTERRUPT, IN(struct kvm_interrupt), interrupt),
	API_ROW(KVM_NMI, NONE, nmi),
	API_ROW(KVM_SMI, NONE, smi),
	API_ROW(KVM_SET_GUEST_DEBUG, IN(struct kvm_guest_debug), set_guest_debug),
	API_ROW(KVM_X86_SETUP_MCE, IN(u64), setup_mce),
	API_ROW(KVM_X86_SET_MCE, IN(struct kvm_x86_mce), set_mce),
	API_ROW(KVM_GET_TSC_KHZ, NONE, get_tsc_khz),
	API_ROW(KVM_SET_TSC_KHZ, NONE, set_tsc_khz),
	API_ROW(KVM_KVMCLOCK_CTRL, NONE, kvmclock_ctrl),
	API_ROW(KVM_HAS_DEVICE_ATTR, IN(struct kvm_device_attr), has_device_attr),
	API_ROW(KVM_GET_DEVICE_ATTR, IN(struct kvm_device_attr), get_device_attr),
	API_ROW(KVM_SET_DEVICE_ATTR, IN(struct kvm_device_attr), set_device_attr),
};

/* No row has this for a result. */
#define NO_SUCH_ROW	(-4096)

long kvm_vcpu_ioctl(struct kvm_vcpu *v, u32 cmd, u64 arg)
{
	struct api_call c = { .kvm = v->kvm, .v = v, .arg = arg };
	long r;

	if (READ_ONCE(v->kvm->dead))
		return -EIO;
	os_mutex_lock(&v->lock);
	r = api_dispatch(outside_rows, ARRAY_SIZE(outside_rows), cmd, &c, NO_SUCH_ROW);
	if (r == NO_SUCH_ROW) {
		kvm_vcpu_enter(v);
		r = api_dispatch(rows, ARRAY_SIZE(rows), cmd, &c, -EINVAL);
		kvm_vcpu_leave(v);
	}
	os_mutex_unlock(&v->lock);
	return r;
}
