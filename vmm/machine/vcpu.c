/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vCPU threads. One KVM_RUN loop, one switch over the reasons for coming back. The thread never
 * waits for I/O: what would take time goes to the loop thread.
 *
 * To get a thread out of the guest: immediate_exit makes KVM_RUN return at once if it has not
 * entered yet, a signal if it has. Power-on state is what KVM_GET_* told right after creation
 * rather than a table of our own, so that a reset is exact for every provider.
 */
#include "vmm/machine/vcpu.h"

#include <asm/processor-flags.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "vmm/util.h"

#define KICK_SIGNAL	(SIGRTMIN + 1)

#define MSR_IA32_MISC_ENABLE	0x1a0
#define MISC_ENABLE_FAST_STRING	0x1
#define MSR_IA32_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLED_WB		0x806	/* enabled, everything write-back */
#define MSR_HYPERV_FIRST	0x40000000
#define MSR_HYPERV_LAST		0x400001ff

#define EFER_LME	0x100
#define EFER_LMA	0x400

#define LAPIC_LVT_LINT0	0x350
#define LAPIC_LVT_LINT1	0x360
#define LVT_NMI		0x400
#define LVT_EXTINT	0x700
#define LVT_MASKED	0x10000

struct vcpu_power_on {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	bool has_xcrs;
	struct kvm_xsave *xsave;	/* larger than the struct where the provider says so */
	unsigned int msr_count;
	struct kvm_msr_entry *msrs;
};

int vcpu_ioctl(const struct vcpu *v, unsigned long request, void *arg)
{
	return v->machine->provider->ioctl(v->fd, request, arg);
}

/* ------------------------------------------------------------------ power-on state */

/* Reads or writes one MSR. Returns 0, or -EINVAL where there is no such MSR or value. */
static int one_msr(struct vcpu *v, unsigned long request, uint32_t index, uint64_t *value)
{
	union {
		struct kvm_msrs head;
		char room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} msrs = { .room = "" };
	int ret;

	msrs.head.nmsrs = 1;
	msrs.head.entries[0].index = index;
	msrs.head.entries[0].data = *value;
	ret = vcpu_ioctl(v, request, &msrs);
	*value = msrs.head.entries[0].data;
	return ret == 1 ? 0 : ret < 0 ? ret : -EINVAL;
}

/* Fills in the MSRs that can be read and put back. Hyper-V's are not there for this guest. */
static int save_msrs(struct vcpu *v)
{
	struct machine *m = v->machine;
	struct kvm_msr_list probe = { 0 }, *list;
	struct vcpu_power_on *on = v->power_on;
	int err = m->provider->ioctl(m->kvm_fd, KVM_GET_MSR_INDEX_LIST, &probe);

	if (err && err != -E2BIG)
		return err;
	list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(list->indices[0]));
	on->msrs = calloc(probe.nmsrs + 1, sizeof(on->msrs[0]));
	if (!list || !on->msrs) {
		free(list);
		return -ENOMEM;
	}
	list->nmsrs = probe.nmsrs;
	err = m->provider->ioctl(m->kvm_fd, KVM_GET_MSR_INDEX_LIST, list);
	for (unsigned int i = 0; !err && i < list->nmsrs; i++) {
		uint32_t index = list->indices[i];
		uint64_t value = 0;

		if (index >= MSR_HYPERV_FIRST && index <= MSR_HYPERV_LAST)
			continue;
		if (!one_msr(v, KVM_GET_MSRS, index, &value))
			on->msrs[on->msr_count++] = (struct kvm_msr_entry){
				.index = index, .data = value,
			};
	}
	free(list);
	return err;
}

static int save_power_on(struct vcpu *v)
{
	struct machine *m = v->machine;
	struct vcpu_power_on *on = calloc(1, sizeof(*on));
	int size, err;

	if (!on)
		return -ENOMEM;
	v->power_on = on;
	size = machine_vm_ioctl(m, KVM_CHECK_EXTENSION, (void *)(long)KVM_CAP_XSAVE2);
	if (size < (int)sizeof(*on->xsave))
		size = sizeof(*on->xsave);
	on->xsave = calloc(1, size);
	if (!on->xsave)
		return -ENOMEM;
	err = vcpu_ioctl(v, KVM_GET_REGS, &on->regs);
	if (!err)
		err = vcpu_ioctl(v, KVM_GET_SREGS, &on->sregs);
	if (!err)
		err = vcpu_ioctl(v, (size_t)size > sizeof(*on->xsave) ?
				    KVM_GET_XSAVE2 : KVM_GET_XSAVE, on->xsave);
	if (!err)
		err = vcpu_ioctl(v, KVM_GET_DEBUGREGS, &on->debugregs);
	if (!err)
		err = vcpu_ioctl(v, KVM_GET_LAPIC, &on->lapic);
	if (!err)
		err = vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &on->events);
	if (!err)
		err = vcpu_ioctl(v, KVM_GET_MP_STATE, &on->mp_state);
	if (err)
		return err;
	/* A host without XSAVE has no XCR0. */
	on->has_xcrs = !vcpu_ioctl(v, KVM_GET_XCRS, &on->xcrs);
	return save_msrs(v);
}

static void free_power_on(struct vcpu *v)
{
	if (!v->power_on)
		return;
	free(v->power_on->xsave);
	free(v->power_on->msrs);
	free(v->power_on);
	v->power_on = NULL;
}

int vcpu_reset(struct vcpu *v)
{
	struct vcpu_power_on *on = v->power_on;
	int err;

	/* The APIC's base comes with the special registers and decides what KVM_SET_LAPIC means;
	 * the deadline among the MSRs wants the APIC as it will be. */
	err = vcpu_ioctl(v, KVM_SET_SREGS, &on->sregs);
	if (!err && on->has_xcrs)
		err = vcpu_ioctl(v, KVM_SET_XCRS, &on->xcrs);
	if (!err)
		err = vcpu_ioctl(v, KVM_SET_XSAVE, on->xsave);
	if (!err)
		err = vcpu_ioctl(v, KVM_SET_DEBUGREGS, &on->debugregs);
	if (!err)
		err = vcpu_ioctl(v, KVM_SET_LAPIC, &on->lapic);
	if (err)
		return err;
	for (unsigned int i = 0; i < on->msr_count; i++) {
		uint64_t value = on->msrs[i].data;

		/* Some can be read only. */
		one_msr(v, KVM_SET_MSRS, on->msrs[i].index, &value);
	}
	err = vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &on->events);
	if (!err)
		err = vcpu_ioctl(v, KVM_SET_MP_STATE, &on->mp_state);
	if (!err)
		err = vcpu_ioctl(v, KVM_SET_REGS, &on->regs);
	v->unfinished = false;
	return err;
}

/* What firmware would have done by the time it starts a kernel. */
static int set_firmware_state(struct vcpu *v)
{
	struct kvm_lapic_state lapic;
	uint32_t lint0 = v->id ? LVT_MASKED : LVT_EXTINT, lint1 = LVT_NMI;
	uint64_t value = 0;
	int err;

	/* Neither MSR is everywhere; guests look at CPUID before they use them. */
	if (!one_msr(v, KVM_GET_MSRS, MSR_IA32_MISC_ENABLE, &value)) {
		value |= MISC_ENABLE_FAST_STRING;
		one_msr(v, KVM_SET_MSRS, MSR_IA32_MISC_ENABLE, &value);
	}
	/* Linux makes no use of the PAT while MTRRs are off. */
	value = MTRR_ENABLED_WB;
	one_msr(v, KVM_SET_MSRS, MSR_IA32_MTRR_DEF_TYPE, &value);
	err = vcpu_ioctl(v, KVM_GET_LAPIC, &lapic);
	if (err)
		return err;
	memcpy(lapic.regs + LAPIC_LVT_LINT0, &lint0, sizeof(lint0));
	memcpy(lapic.regs + LAPIC_LVT_LINT1, &lint1, sizeof(lint1));
	return vcpu_ioctl(v, KVM_SET_LAPIC, &lapic);
}

int vcpu_create(struct vcpu *v, struct machine *m, unsigned int id, struct vmm_error *error)
{
	int err, size;
	void *run;

	*v = (struct vcpu){ .machine = m, .id = id };
	v->fd = machine_vm_ioctl(m, KVM_CREATE_VCPU, (void *)(unsigned long)id);
	if (v->fd < 0)
		return vmm_fail(error, v->fd, "cannot create vCPU %u: %s", id, strerror(-v->fd));
	size = m->provider->ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (size < (int)sizeof(*v->run))
		return vmm_fail(error, size < 0 ? size : -EINVAL, "cannot map vCPU %u", id);
	run = m->provider->mmap(size, v->fd, 0);
	if (run == MAP_FAILED)
		return vmm_fail(error, -errno, "cannot map vCPU %u: %s", id, strerror(errno));
	v->run = run;
	v->run_size = size;
	err = vcpu_set_cpuid(v, error);
	if (err)
		return err;
	err = set_firmware_state(v);
	if (!err)
		err = save_power_on(v);
	if (err)
		return vmm_fail(error, err, "cannot set up vCPU %u: %s", id, strerror(-err));
	return 0;
}

void vcpu_destroy(struct vcpu *v)
{
	const struct kvm_provider *provider = v->machine ? v->machine->provider : NULL;

	if (!provider)
		return;
	free_power_on(v);
	if (v->run)
		provider->munmap(v->run, v->run_size);
	if (v->fd >= 0)
		provider->close(v->fd);
	v->run = NULL;
	v->fd = -1;
}

/* ------------------------------------------------------------------ the entry to the guest */

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool code64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1,
		.db = !code64, .l = code64, .g = 1,
	};
}

int vcpu_set_entry(struct vcpu *v, const struct boot_entry *entry)
{
	struct kvm_regs regs = {
		.rip = entry->rip, .rsi = entry->rsi, .rbx = entry->rbx, .rflags = 2,
	};
	struct kvm_sregs sregs;
	int err = vcpu_ioctl(v, KVM_GET_SREGS, &sregs);

	if (err)
		return err;
	/* Execute and read; read and write; both accessed. */
	sregs.cs = flat_segment(BOOT_CS, 0xb, entry->long_mode);
	sregs.ds = flat_segment(BOOT_DS, 0x3, false);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	/* A busy TSS, which the processor insists on. */
	sregs.tr = (struct kvm_segment){
		.limit = 0x67, .type = 0xb, .present = 1,
	};
	sregs.gdt.base = entry->gdt;
	sregs.gdt.limit = entry->gdt_limit;
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = X86_CR0_PE | X86_CR0_ET;
	if (entry->long_mode) {
		sregs.cr0 |= X86_CR0_PG;
		sregs.cr3 = entry->cr3;
		sregs.cr4 = X86_CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	err = vcpu_ioctl(v, KVM_SET_SREGS, &sregs);
	if (!err)
		err = vcpu_ioctl(v, KVM_SET_REGS, &regs);
	return err;
}

/* ------------------------------------------------------------------ running */

static void handle_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(&v->machine->pio, run->io.port, data, run->io.size);
		else
			bus_read(&v->machine->pio, run->io.port, data, run->io.size);
	}
}

static void handle_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	if (run->mmio.is_write)
		bus_write(&v->machine->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(&v->machine->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

static void handle_system_event(struct vcpu *v)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_request_poweroff(v->machine);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		machine_request_reset(v->machine);
		break;
	default:
		machine_request_panic(v->machine);
	}
}

static uint64_t guest_rip(struct vcpu *v)
{
	struct kvm_regs regs;

	return vcpu_ioctl(v, KVM_GET_REGS, &regs) ? 0 : regs.rip;
}

static void handle_internal_error(struct vcpu *v)
{
	uint32_t suberror = v->run->internal.suberror;
	const char *what = suberror == KVM_INTERNAL_ERROR_EMULATION ?
			   "cannot emulate an instruction" : "has an internal error";

	machine_request_error(v->machine, "%s %s (suberror %" PRIu32 ", vCPU %u, rip 0x%" PRIx64
			      "); try another --accel", v->machine->provider->description, what,
			      suberror, v->id, guest_rip(v));
}

static void handle_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		v->unfinished = true;
		handle_io(v);
		break;
	case KVM_EXIT_MMIO:
		v->unfinished = true;
		handle_mmio(v);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		machine_request_dead(v->machine, "the guest triple-faulted");
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(v);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		handle_internal_error(v);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		machine_request_error(v->machine, "the processor refuses to enter the guest "
				      "(reason 0x%llx, vCPU %u, rip 0x%" PRIx64 ")",
				      run->fail_entry.hardware_entry_failure_reason, v->id,
				      guest_rip(v));
		break;
	default:
		machine_request_error(v->machine, "%s came back for a reason that should not be: "
				      "exit %" PRIu32 " (vCPU %u, rip 0x%" PRIx64 ")",
				      v->machine->provider->description, run->exit_reason, v->id,
				      guest_rip(v));
	}
}

static void run_once(struct vcpu *v)
{
	int ret = vcpu_ioctl(v, KVM_RUN, NULL);

	v->unfinished = false;
	switch (ret) {
	case 0:
		handle_exit(v);
		break;
	case -EINTR:		/* kicked */
	case -EAGAIN:		/* got INIT or SIPI, or a signal while waiting for one */
		break;
	default:
		machine_request_error(v->machine, "cannot run vCPU %u: %s", v->id, strerror(-ret));
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;

	while (machine_vcpu_wait(v->machine, v))
		run_once(v);
	return NULL;
}

/* ------------------------------------------------------------------ kicks */

static void on_kick(int signo)
{
}

int vcpu_signal_init(void)
{
	struct sigaction action = { .sa_handler = on_kick };

	return sigaction(KICK_SIGNAL, &action, NULL) ? -errno : 0;
}

int vcpu_start(struct vcpu *v)
{
	static const int open_signals[] = {
		SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS,
	};
	sigset_t mask, before;
	char name[16];
	int err;

	sigfillset(&mask);
	sigdelset(&mask, KICK_SIGNAL);
	for (unsigned int i = 0; i < ARRAY_SIZE(open_signals); i++)
		sigdelset(&mask, open_signals[i]);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	err = pthread_create(&v->thread, NULL, vcpu_thread, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return -err;
	v->started = true;
	pthread_getcpuclockid(v->thread, &v->clock);
	snprintf(name, sizeof(name), "vcpu%u", v->id);
	pthread_setname_np(v->thread, name);
	return 0;
}

void vcpu_join(struct vcpu *v)
{
	if (v->started)
		pthread_join(v->thread, NULL);
	v->started = false;
}

void vcpu_kick(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (v->started)
		pthread_kill(v->thread, KICK_SIGNAL);
}

void vcpu_finish_exit(struct vcpu *v)
{
	/* An access that KVM hands out in parts comes back with the next. */
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	while (v->unfinished)
		run_once(v);
}

void vcpu_clear_kick(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}
