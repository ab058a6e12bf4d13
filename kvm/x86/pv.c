// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest that knows it runs under KVM uses: kvmclock, wall clock, steal time, EOI by memory,
 * hypercalls (Linux's Documentation/virt/kvm/x86/{msr,hypercalls,cpuid}.rst).
 *
 * kvmclock. The host's TSC is taken to be stable, so all vCPUs are given one and the same pair of
 * (TSC, nanoseconds) to reckon from, which makes their clocks agree to the tick; the pair is
 * taken anew only when the VMM sets the clock.
 */
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/mem.h"

#define MSR_WALL_CLOCK		0x11
#define MSR_SYSTEM_TIME		0x12
#define MSR_WALL_CLOCK_NEW	0x4b564d00
#define MSR_SYSTEM_TIME_NEW	0x4b564d01
#define MSR_STEAL_TIME		0x4b564d03
#define MSR_EOI_EN		0x4b564d04
#define MSR_POLL_CONTROL	0x4b564d05

#define ENABLED			BIT(0)

#define STEAL_INTERVAL		100000ull	/* ns */

/* CPUID 40000001h EAX */
#define PV_CLOCKSOURCE		BIT(0)
#define PV_CLOCKSOURCE2		BIT(3)
#define PV_STEAL_TIME		BIT(5)
#define PV_PV_EOI		BIT(6)
#define PV_UNHALT		BIT(7)
#define PV_SEND_IPI		BIT(11)
#define PV_POLL_CONTROL		BIT(12)
#define PV_SCHED_YIELD		BIT(13)

#define HC_VAPIC_POLL_IRQ	1
#define HC_KICK_CPU		5
#define HC_CLOCK_PAIRING	9
#define HC_SEND_IPI		10
#define HC_SCHED_YIELD		11
#define HC_MAP_GPA_RANGE	12
#define HC_ENOSYS		1000
#define HC_EPERM		EPERM
#define HC_EOPNOTSUPP		95

/* The guest's view of its time, in memory that it names. */
struct pvclock_time_info {
	u32 version;			/* odd while it is being written */
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 tsc_to_system_mul;		/* 0.32 fraction */
	s8 tsc_shift;
	u8 flags;
	u8 pad[2];
};
#define PVCLOCK_TSC_STABLE	BIT(0)
#define PVCLOCK_GUEST_STOPPED	BIT(1)

struct pvclock_wall {
	u32 version, sec, nsec;
};

/* KVM_HC_CLOCK_PAIRING: the real time, and the guest's TSC at it. */
struct clock_pairing {
	s64 sec, nsec;
	u64 tsc;
	u32 flags, pad[9];
};

struct steal_time {
	u64 steal;
	u32 version, flags;
	u8 preempted, pad8[3];
	u32 pad[11];
};

struct x86_pv {
	u64 wall_clock, system_time, steal_time, eoi, poll_control;	/* as written to the MSRs */
	u32 version;
	bool stopped;			/* KVM_KVMCLOCK_CTRL: to be told with the next update */
	bool enforce_cpuid;		/* KVM_CAP_ENFORCE_PV_FEATURE_CPUID */
	bool eoi_armed;			/* the guest may end its interrupt by clearing the bit */
	u64 steal_from, stolen, steal_seen;	/* ns: of the thread; the guest's; when it was looked at */
	u32 steal_version;
};

int kvm_pv_init(struct kvm_vcpu *v)
{
	v->cpu.pv = os_alloc(sizeof(*v->cpu.pv));
	return v->cpu.pv ? 0 : -ENOMEM;
}

void kvm_pv_free(struct kvm_vcpu *v)
{
	os_free(v->cpu.pv);
	v->cpu.pv = NULL;
}

/* INIT: the processor must no longer write where its old kernel asked for it. */
void kvm_pv_reset(struct kvm_vcpu *v)
{
	v->cpu.pv->system_time = 0;
	v->cpu.pv->eoi = 0;
	v->cpu.pv->eoi_armed = false;
}

void kvm_pv_enforce_cpuid(struct kvm_vcpu *v, bool on)
{
	v->cpu.pv->enforce_cpuid = on;
}

/* ---- kvmclock ---- */

static u64 scale_tsc(const struct x86_cpu *c, u64 host)
{
	return (u64)(((u128)host * c->tsc_ratio) >> 32);
}

/* Nanoseconds since `since` ticks of the host's TSC. */
static u64 host_ticks_ns(u64 ticks)
{
	return mul_div(ticks, 1000000, os_tsc_khz());
}

/* The common pair; clock_lock is held. */
static void take_base(struct x86_vm *vm)
{
	if (vm->base_tsc)
		return;
	vm->base_tsc = os_rdtsc();
	vm->base_ns = os_boottime_ns();
}

u64 kvm_clock_read(struct kvm *kvm)
{
	struct x86_vm *vm = &kvm->arch;
	u64 ns;

	os_mutex_lock(&vm->clock_lock);
	take_base(vm);
	ns = vm->base_ns + vm->clock_offset + host_ticks_ns(os_rdtsc() - vm->base_tsc);
	os_mutex_unlock(&vm->clock_lock);
	return ns;
}

void kvm_clock_set(struct kvm *kvm, u64 ns)
{
	struct x86_vm *vm = &kvm->arch;
	struct kvm_vcpu *v;
	u32 i;

	os_mutex_lock(&vm->clock_lock);
	vm->base_tsc = 0;
	take_base(vm);
	vm->clock_offset = ns - vm->base_ns;
	os_mutex_unlock(&vm->clock_lock);
	kvm_hv_clock_changed(kvm);
	kvm_for_each_vcpu(v, kvm, i)
		kvm_make_request(v, KVM_REQ_CLOCK_UPDATE);
}

int kvm_clock_get(struct kvm *kvm, struct kvm_clock_data *d)
{
	memset(d, 0, sizeof(*d));
	d->clock = kvm_clock_read(kvm);
	d->host_tsc = os_rdtsc();
	d->realtime = os_realtime_ns();
	d->flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	return 0;
}

/* ns = ((ticks << shift) * mul) >> 32, for ticks of `khz`. */
static void time_scale(u32 khz, s8 *shift, u32 *mul)
{
	u64 hz = khz * 1000ull;

	*shift = 0;
	while (hz > 2000000000) {
		hz >>= 1;
		(*shift)--;
	}
	while (hz && hz <= 1000000000) {
		hz <<= 1;
		(*shift)++;
	}
	*mul = hz ? (1000000000ull << 32) / hz : 0;
}

/* Writes a versioned structure: odd, contents, even. The guest looks at version before and after. */
static void write_versioned(struct kvm_vcpu *v, u64 gpa, u32 *version, void *data, u32 size, u32 at)
{
	u32 *field = (u32 *)((u8 *)data + at), odd = (*version + 1) | 1;

	*field = odd;
	if (kvm_write_guest(v, gpa + at, &odd, 4))
		return;
	smp_mb();
	kvm_write_guest(v, gpa, data, size);
	smp_mb();
	*version = odd + 1;
	kvm_write_guest(v, gpa + at, version, 4);
}

void kvm_clock_pair(struct kvm_vcpu *v, u64 *tsc, u64 *ns)
{
	struct x86_vm *vm = &v->kvm->arch;

	os_mutex_lock(&vm->clock_lock);
	take_base(vm);
	*tsc = scale_tsc(&v->cpu, vm->base_tsc) + READ_ONCE(v->cpu.tsc_offset);
	*ns = vm->base_ns + vm->clock_offset;
	os_mutex_unlock(&vm->clock_lock);
}

void kvm_pv_update_clock(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	struct x86_pv *pv = c->pv;
	struct pvclock_time_info info = { 0 };

	if (!(pv->system_time & ENABLED))
		return;
	kvm_clock_pair(v, &info.tsc_timestamp, &info.system_time);
	time_scale(c->tsc_khz, &info.tsc_shift, &info.tsc_to_system_mul);
	info.flags = PVCLOCK_TSC_STABLE | (pv->stopped ? PVCLOCK_GUEST_STOPPED : 0);
	pv->stopped = false;
	write_versioned(v, pv->system_time & ~(u64)ENABLED, &pv->version, &info, sizeof(info), 0);
}

int kvm_pv_clock_stopped(struct kvm_vcpu *v)
{
	if (!(v->cpu.pv->system_time & ENABLED))
		return -EINVAL;
	v->cpu.pv->stopped = true;
	kvm_make_request(v, KVM_REQ_CLOCK_UPDATE);
	return 0;
}

/* The real time at which kvmclock was 0. */
static void write_wall_clock(struct kvm_vcpu *v, u64 gpa)
{
	u64 boot = os_realtime_ns() - kvm_clock_read(v->kvm);
	struct pvclock_wall wall = { .sec = boot / 1000000000, .nsec = boot % 1000000000 };
	u32 version = 0;

	if (kvm_read_guest(v, gpa, &version, 4))
		return;
	write_versioned(v, gpa, &version, &wall, sizeof(wall), 0);
}

/* ---- steal time ---- */

void kvm_pv_update_steal(struct kvm_vcpu *v)
{
	struct x86_pv *pv = v->cpu.pv;
	u64 time = os_time_ns(), now;
	struct steal_time st = { 0 };

	if (!(pv->steal_time & ENABLED))
		return;
	/* Asking is a system call, and this is done with every KVM_RUN. */
	if (time - pv->steal_seen >= STEAL_INTERVAL) {
		now = os_thread_steal_ns();
		if (now > pv->steal_from)
			pv->stolen += now - pv->steal_from;
		pv->steal_from = now;
		pv->steal_seen = time;
	}
	st.steal = pv->stolen;
	write_versioned(v, pv->steal_time & ~63ull, &pv->steal_version, &st, sizeof(st),
			offsetof(struct steal_time, version));
}

void kvm_pv_run_begin(struct kvm_vcpu *v)
{
	if (v->cpu.pv->steal_time & ENABLED)
		kvm_make_own_request(v, KVM_REQ_STEAL_UPDATE);
}

/* ---- EOI by memory ---- */

bool kvm_pv_eoi_take(struct kvm_vcpu *v)
{
	struct x86_pv *pv = v->cpu.pv;
	u8 byte = 1;

	if (!pv->eoi_armed)
		return false;
	kvm_read_guest(v, pv->eoi & ~3ull, &byte, 1);
	if (byte & 1) {
		/* Not yet. Another interrupt may come before it: from here on by register. */
		byte &= ~1;
		kvm_write_guest(v, pv->eoi & ~3ull, &byte, 1);
		pv->eoi_armed = false;
		return false;
	}
	pv->eoi_armed = false;
	return true;
}

void kvm_pv_eoi_arm(struct kvm_vcpu *v)
{
	struct x86_pv *pv = v->cpu.pv;
	int isr = kvm_lapic_highest_isr(v);
	u8 byte;

	/* Only where the EOI does nothing but end this one interrupt. */
	if (!(pv->eoi & ENABLED) || pv->eoi_armed || isr < 0 || kvm_lapic_highest_irr(v) >= 0 ||
	    kvm_lapic_eoi_matters(v, isr))
		return;
	if (kvm_read_guest(v, pv->eoi & ~3ull, &byte, 1))
		return;
	byte |= 1;
	if (!kvm_write_guest(v, pv->eoi & ~3ull, &byte, 1))
		pv->eoi_armed = true;
}

void kvm_pv_set_eoi(struct kvm_vcpu *v, u64 val)
{
	v->cpu.pv->eoi = val;
	v->cpu.pv->eoi_armed = false;
}

/* ---- MSRs ---- */

/* The CPUID bit that offers an MSR; 0: not one of ours. */
static u32 offered_by(u32 msr)
{
	switch (msr) {
	case MSR_WALL_CLOCK:
	case MSR_SYSTEM_TIME:
		return PV_CLOCKSOURCE;
	case MSR_WALL_CLOCK_NEW:
	case MSR_SYSTEM_TIME_NEW:
		return PV_CLOCKSOURCE2;
	case MSR_STEAL_TIME:
		return PV_STEAL_TIME;
	case MSR_EOI_EN:
		return PV_PV_EOI;
	case MSR_POLL_CONTROL:
		return PV_POLL_CONTROL;
	}
	return 0;
}

static bool offered(struct kvm_vcpu *v, u32 bit)
{
	/* Unless the VMM asked for it (KVM_CAP_ENFORCE_PV_FEATURE_CPUID), CPUID is only advice. */
	return !v->cpu.pv->enforce_cpuid || (v->cpu.features[X86_FW_KVM_EAX] & bit);
}

int kvm_pv_msr_read(struct kvm_vcpu *v, u32 msr, u64 *val)
{
	struct x86_pv *pv = v->cpu.pv;
	u32 bit = offered_by(msr);

	if (!bit)
		return -ENOENT;
	if (!offered(v, bit))
		return 1;
	switch (msr) {
	case MSR_WALL_CLOCK:
	case MSR_WALL_CLOCK_NEW:
		*val = v->kvm->arch.wall_clock_gpa;
		break;
	case MSR_SYSTEM_TIME:
	case MSR_SYSTEM_TIME_NEW:
		*val = pv->system_time;
		break;
	case MSR_STEAL_TIME:
		*val = pv->steal_time;
		break;
	case MSR_EOI_EN:
		*val = pv->eoi;
		break;
	default:
		*val = pv->poll_control ? 0 : 1;
	}
	return 0;
}

bool kvm_pv_guest_polls(const struct kvm_vcpu *v)
{
	return v->cpu.pv->poll_control;
}

int kvm_pv_msr_write(struct kvm_vcpu *v, u32 msr, u64 val, bool host)
{
	struct x86_pv *pv = v->cpu.pv;
	u32 bit = offered_by(msr);

	if (!bit)
		return -ENOENT;
	if (!host && !offered(v, bit))
		return 1;
	switch (msr) {
	case MSR_WALL_CLOCK:
	case MSR_WALL_CLOCK_NEW:
		v->kvm->arch.wall_clock_gpa = val;
		/* Loading saved state must not change the guest's memory. */
		if (val && !host)
			write_wall_clock(v, val);
		break;
	case MSR_SYSTEM_TIME:
	case MSR_SYSTEM_TIME_NEW:
		pv->system_time = val;
		kvm_make_request(v, KVM_REQ_CLOCK_UPDATE);
		break;
	case MSR_STEAL_TIME:
		if (val & 0x3e)
			return 1;
		pv->steal_time = val;
		pv->steal_from = os_thread_steal_ns();
		kvm_make_request(v, KVM_REQ_STEAL_UPDATE);
		break;
	case MSR_EOI_EN:
		if (val & 2)
			return 1;
		kvm_pv_set_eoi(v, val);
		break;
	default:
		if (val & ~1ull)
			return 1;
		pv->poll_control = !val;	/* stored so that all zero is the default, polling on */
	}
	return 0;
}

/* ---- hypercalls ---- */

static void kick_cpu(struct kvm *kvm, u32 apic_id)
{
	struct kvm_vcpu *v = kvm_vcpu_by_id(kvm, apic_id);

	if (!v)
		return;
	store_release(&v->cpu.ev.pv_unhalted, true);
	kvm_make_request(v, KVM_REQ_UNHALT);
}

/* A bitmap of APIC ids from `first` on; `icr` has vector and delivery mode. Number delivered to. */
static u64 send_ipi(struct kvm_vcpu *v, const u64 map[2], u32 bits, u64 first, u64 icr)
{
	struct kvm_lapic_msg m = { .vector = icr & 0xff, .delivery_mode = (icr >> 8) & 7,
				   .x2apic_dest = true, .level = true, .assert = true };
	u64 count = 0;

	if (m.delivery_mode != 0 && m.delivery_mode != 4)
		return -(u64)EINVAL;
	for (u32 i = 0; i < bits * 2; i++) {
		if (!(map[i / bits] & BIT_ULL(i % bits)) || first + i > 0xfffffffe)
			continue;
		m.dest = first + i;
		if (kvm_lapic_deliver(v->kvm, v, &m) > 0)
			count++;
	}
	return count;
}

static u64 clock_pairing(struct kvm_vcpu *v, u64 gpa, u64 type)
{
	struct clock_pairing pair = { 0 };
	u64 now;

	if (type)		/* KVM_CLOCK_PAIRING_WALLCLOCK is the only one */
		return -(u64)HC_EOPNOTSUPP;
	now = os_realtime_ns();
	pair.tsc = x86_read_tsc(&v->cpu);
	pair.sec = now / 1000000000;
	pair.nsec = now % 1000000000;
	return kvm_write_guest(v, gpa, &pair, sizeof(pair)) ? -(u64)EFAULT : 0;
}

/* A hypercall's result. */
static int finish(struct x86_cpu *c, u64 ret)
{
	c->regs[X86_RAX] = c->mode == X86_MODE_64 ? ret : (u32)ret;
	return X86_DONE;
}

/* The guest says what its memory is to be: encrypted or not. Only the VMM can make something of it. */
static int map_gpa_range(struct kvm_vcpu *v, u64 gpa, u64 npages, u64 attributes)
{
	struct x86_cpu *c = &v->cpu;
	struct kvm_run *run = v->run;
	u64 gfn = gpa >> PAGE_SHIFT;
	int r;

	if (!(READ_ONCE(v->kvm->arch.hypercall_exits) & BIT(HC_MAP_GPA_RANGE)))
		return finish(c, -(u64)HC_ENOSYS);
	if ((gpa & ~PAGE_MASK) || gfn + npages <= gfn)
		return finish(c, -(u64)EINVAL);
	r = x86_ask_vmm(c, X86_WAIT_HYPERCALL);
	if (r != X86_EXIT)
		return r;
	run->exit_reason = KVM_EXIT_HYPERCALL;
	run->hypercall.nr = HC_MAP_GPA_RANGE;
	run->hypercall.args[0] = gpa;
	run->hypercall.args[1] = npages;
	run->hypercall.args[2] = attributes;
	run->hypercall.longmode = c->mode == X86_MODE_64;
	return X86_EXIT;
}

int kvm_hypercall(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	bool wide = c->mode == X86_MODE_64, refused;
	u64 mask = wide ? ~0ull : 0xffffffff;
	u64 nr = c->regs[X86_RAX] & mask, ret = -(u64)HC_ENOSYS;
	u64 a0 = c->regs[X86_RBX] & mask, a1 = c->regs[X86_RCX] & mask;
	u64 a2 = c->regs[X86_RDX] & mask, a3 = c->regs[X86_RSI] & mask;

	if (kvm_hv_calls_enabled(v))
		return kvm_hv_hypercall(v);
	kvm_count(v, KVM_STAT_HYPERCALLS);
	if (x86_vmm_answered(c, &ret, &refused)) {
		/* that is the result */
	} else if (c->cpl != 0) {
		ret = -(u64)HC_EPERM;
	} else {
		switch (nr) {
		case HC_VAPIC_POLL_IRQ:
			ret = 0;
			break;
		case HC_KICK_CPU:
			if (!offered(v, PV_UNHALT))
				break;
			kick_cpu(v->kvm, a1);
			ret = 0;
			break;
		case HC_CLOCK_PAIRING:
			ret = clock_pairing(v, a0, a1);
			break;
		case HC_MAP_GPA_RANGE:
			return map_gpa_range(v, a0, a1, a2);
		case HC_SEND_IPI:
			if (!offered(v, PV_SEND_IPI))
				break;
			ret = send_ipi(v, (u64[]){ a0, a1 }, wide ? 64 : 32, a2, a3);
			break;
		case HC_SCHED_YIELD:
			if (!offered(v, PV_SCHED_YIELD))
				break;
			os_yield();
			ret = 0;
			break;
		}
	}
	return finish(c, ret);
}
