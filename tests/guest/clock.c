/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM's paravirtual clock, against the host's own. Documentation/virt/kvm/x86/msr.rst and
 * cpuid.rst.
 */
#include "harness.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t quad(struct vm *vm, uint64_t address)
{
	uint64_t value;

	memcpy(&value, memory(vm, address, 8), 8);
	return value;
}

/* True where leaf 0x40000001 of the provider's CPUID has the feature bit. */
static bool pv_feature(struct vcpu *vcpu, unsigned int bit)
{
	static struct {
		struct kvm_cpuid2 header;
		struct kvm_cpuid_entry2 entries[256];
	} c = { .header.nent = 256 };

	KVM(vcpu->vm->system, KVM_GET_SUPPORTED_CPUID, &c);
	for (unsigned int i = 0; i < c.header.nent; i++)
		if (c.header.entries[i].function == 0x40000001)
			return c.header.entries[i].eax >> bit & 1;
	return false;
}

static void system_time(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "clock_system");
	struct kvm_clock_data c;
	uint64_t times = symbol("clock_times"), start, elapsed, guest_elapsed;

	if (!pv_feature(vcpu, 3))
		skip("no KVM_FEATURE_CLOCKSOURCE2");
	run_to_sync(vcpu, 1);
	start = now_ms();
	run_to_sync(vcpu, 2);
	usleep(100000);
	run_to_sync(vcpu, 3);
	elapsed = now_ms() - start;
	guest_elapsed = (quad(vcpu->vm, times + 8) - quad(vcpu->vm, times)) / 1000000;
	if (guest_elapsed < 99 || guest_elapsed > elapsed + 2)
		fail("%llu ms passed for the guest, %llu here", (unsigned long long)guest_elapsed,
		     (unsigned long long)elapsed);
	/* KVM_GET_CLOCK is the same clock. */
	KVM(vcpu->vm->fd, KVM_GET_CLOCK, &c);
	CHECK(c.clock >= quad(vcpu->vm, times + 8));
	CHECK(c.clock < quad(vcpu->vm, times + 8) + 5000000000ull);
	run_to_pass(vcpu);
}

/* The clock that is set is the clock the guest reads. */
static void set_clock(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "clock_system");
	struct kvm_clock_data c = { .clock = 1000000000000ull };
	uint64_t times = symbol("clock_times");

	if (!pv_feature(vcpu, 3))
		skip("no KVM_FEATURE_CLOCKSOURCE2");
	run_to_sync(vcpu, 1);
	KVM(vcpu->vm->fd, KVM_SET_CLOCK, &c);
	run_to_sync(vcpu, 2);
	CHECK(quad(vcpu->vm, times) >= c.clock);
	CHECK(quad(vcpu->vm, times) < c.clock + 10000000000ull);
}

static void wall(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "clock_wall");
	uint32_t *w = memory(vcpu->vm, SCRATCH, 12);
	struct kvm_clock_data c;
	struct timespec now;
	int64_t boot_ns, now_ns;

	run_to_sync(vcpu, 1);
	KVM(vcpu->vm->fd, KVM_GET_CLOCK, &c);
	clock_gettime(CLOCK_REALTIME, &now);
	/* Wall clock is the time of day when the VM's clock was 0. */
	boot_ns = (int64_t)w[1] * 1000000000 + w[2] + (int64_t)c.clock;
	now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	CHECK(w[2] < 1000000000);
	if (boot_ns - now_ns > 1000000000 || now_ns - boot_ns > 1000000000)
		fail("wall clock and system time add up to %lld ns off the time of day",
		     (long long)(boot_ns - now_ns));
	run_to_pass(vcpu);
}

static void steal(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "clock_steal");
	uint32_t *s = memory(vcpu->vm, SCRATCH + 0x40, 64), version;

	if (!pv_feature(vcpu, 5))
		skip("no KVM_FEATURE_STEAL_TIME");
	run_to_sync(vcpu, 1);
	/* version, at offset 8, even and no longer 0; how much was stolen is the host's affair. */
	CHECK(s[2] != 0);
	CHECK_EQ(s[2] & 1, 0);
	/* Each KVM_RUN tells anew. */
	version = s[2];
	run_to_sync(vcpu, 2);
	CHECK(s[2] != version);
	run_to_pass(vcpu);
}

static void old_msrs(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "clock_old");

	if (!pv_feature(vcpu, 0))
		skip("no KVM_FEATURE_CLOCKSOURCE");
	run_to_sync(vcpu, 1);
	run_to_pass(vcpu);
}

/* KVM_KVMCLOCK_CTRL tells the guest it was stopped: a flag in its structure. */
static void paused(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "clock_system");
	uint8_t *flags = memory(vcpu->vm, SCRATCH + 29, 1);

	if (!pv_feature(vcpu, 3))
		skip("no KVM_FEATURE_CLOCKSOURCE2");
	NEED_CAP(vcpu->vm, KVM_CAP_KVMCLOCK_CTRL);
	CHECK(TRY_KVM(vcpu->fd, KVM_KVMCLOCK_CTRL, 0) < 0);	/* no clock yet */
	run_to_sync(vcpu, 1);
	run_to_sync(vcpu, 2);
	CHECK_EQ(*flags & 2, 0);
	KVM(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
	run_to_sync(vcpu, 3);
	CHECK_EQ(*flags & 2, 2);
}

/* The TSC that KVM_SET_MSRS sets is the one the guest goes on from. */
static void tsc(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "clock_wall");
	uint64_t first;

	set_msr(vcpu, 0x10, 1ull << 50);
	first = msr_of(vcpu, 0x10);
	CHECK(first >= 1ull << 50 && first < (1ull << 50) + (1ull << 36));
	run_to_sync(vcpu, 1);
	CHECK(msr_of(vcpu, 0x10) > first);
}

const struct test clock_tests[] = {
	{ "clock", "system_time", "kvmclock: monotonic, at the host's rate, KVM_GET_CLOCK the same",
	  system_time },
	{ "clock", "set_clock", "KVM_SET_CLOCK sets what the guest reads", set_clock },
	{ "clock", "wall_clock", "the wall clock and the system time make the time of day", wall },
	{ "clock", "steal_time", "steal time: its structure is filled, its address checked",
	  steal },
	{ "clock", "old_msrs", "MSR_KVM_SYSTEM_TIME, the old number", old_msrs },
	{ "clock", "paused", "KVM_KVMCLOCK_CTRL sets the flag that the guest was stopped", paused },
	{ "clock", "tsc_msr", "IA32_TSC set by KVM_SET_MSRS", tsc,
	  .wrong_on_paravirt = "writes to IA32_TSC have no effect" },
	{ 0 }
};
