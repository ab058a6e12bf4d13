/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sequences of ioctls around hostile guests, for libFuzzer: whatever a VMM asks in whatever order,
 * and whatever the guest in there does, each call ends, stays within memory, and leaves nothing
 * behind at the end.
 *
 * An input is flags for the VM, then operations of a byte each with what they need. What a VMM may
 * do to itself is kept out: slots lie in the pool of vm.c, and KVM_RUN lets the timer's signal in.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/fuzz/vm.h"

#define MAX_OPERATIONS	60
#define EVENTS		4

struct state {
	struct input in;
	struct vm vm;
	int event[EVENTS];
	unsigned int runs;		/* left */
};

static int some_vcpu(struct state *s)
{
	return s->vm.nr ? (int)pick(&s->in, (unsigned int)s->vm.nr) : 0;
}

static int vcpu_fd(struct state *s)
{
	return s->vm.nr ? s->vm.vcpu[some_vcpu(s)] : s->vm.fd;
}

static uint64_t some_gpa(struct input *in)
{
	uint64_t offset = take(in, 2);

	switch (pick(in, 6)) {
	case 0:
		return take(in, 8);
	case 1:
		return 0xfee00000 + (offset & 0xfff);
	case 2:
		return 0xfec00000 + (offset & 0xff);
	default:
		return offset * 4;
	}
}

/* ---- any ioctl, with any argument ---- */

static const unsigned long system_requests[] = {
	KVM_GET_API_VERSION, KVM_CHECK_EXTENSION, KVM_GET_VCPU_MMAP_SIZE, KVM_GET_SUPPORTED_CPUID,
	KVM_GET_EMULATED_CPUID, KVM_GET_MSR_INDEX_LIST, KVM_GET_MSR_FEATURE_INDEX_LIST, KVM_GET_MSRS,
	KVM_X86_GET_MCE_CAP_SUPPORTED, KVM_GET_SUPPORTED_HV_CPUID,
};

/* Those with pointers in their structs have operations of their own. */
static const unsigned long vm_requests[] = {
	KVM_SET_BOOT_CPU_ID, KVM_RESET_DIRTY_RINGS, KVM_REGISTER_COALESCED_MMIO,
	KVM_UNREGISTER_COALESCED_MMIO, KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR,
	KVM_SET_NR_MMU_PAGES, KVM_CREATE_IRQCHIP, KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS,
	KVM_SET_GSI_ROUTING, KVM_SIGNAL_MSI, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, KVM_CREATE_PIT,
	KVM_CREATE_PIT2, KVM_GET_PIT, KVM_SET_PIT, KVM_GET_PIT2, KVM_SET_PIT2, KVM_REINJECT_CONTROL,
	KVM_GET_CLOCK, KVM_SET_CLOCK, KVM_SET_TSC_KHZ, KVM_GET_TSC_KHZ, KVM_CHECK_EXTENSION,
	KVM_ENABLE_CAP, KVM_CREATE_DEVICE, KVM_HYPERV_EVENTFD,
};

static const unsigned long vcpu_requests[] = {
	KVM_TRANSLATE, KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_SREGS2,
	KVM_SET_SREGS2, KVM_GET_FPU, KVM_SET_FPU, KVM_GET_XSAVE, KVM_GET_XSAVE2, KVM_SET_XSAVE,
	KVM_GET_XCRS, KVM_SET_XCRS, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, KVM_GET_MSRS, KVM_SET_MSRS,
	KVM_SET_CPUID, KVM_SET_CPUID2, KVM_GET_CPUID2, KVM_GET_LAPIC, KVM_SET_LAPIC,
	KVM_TPR_ACCESS_REPORTING, KVM_SET_VAPIC_ADDR, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
	KVM_GET_MP_STATE, KVM_SET_MP_STATE, KVM_INTERRUPT, KVM_NMI, KVM_SMI, KVM_SET_GUEST_DEBUG,
	KVM_X86_SETUP_MCE, KVM_X86_SET_MCE, KVM_GET_TSC_KHZ, KVM_SET_TSC_KHZ, KVM_KVMCLOCK_CTRL,
	KVM_ENABLE_CAP, KVM_GET_NESTED_STATE,
};

static void any_request(struct state *s, int fd, const unsigned long *requests, unsigned int n)
{
	unsigned long request = requests[pick(&s->in, n)];
	size_t size = _IOC_SIZE(request);
	void *arg = scratch;

	if (!size) {
		arg = (void *)(uintptr_t)take(&s->in, 4);
	} else if (pick(&s->in, 16) == 0) {
		arg = some_pointer(&s->in);
	} else {
		/* More than the struct: some have a list behind it. */
		memset(scratch, 0, PAGE);
		take_into(&s->in, scratch, pick(&s->in, 4) ? pick(&s->in, 64) + 8 : size);
	}
	anykvm_ioctl(fd, request, arg);
}

/* ---- state, taken, changed a little and put back ---- */

struct pair {
	unsigned long get, set;
	uint32_t first;			/* what the struct begins with on the way in */
	bool of_vm;
};

static const struct pair pairs[] = {
	{ KVM_GET_REGS, KVM_SET_REGS, 0, false }, { KVM_GET_SREGS, KVM_SET_SREGS, 0, false },
	{ KVM_GET_SREGS2, KVM_SET_SREGS2, 0, false }, { KVM_GET_FPU, KVM_SET_FPU, 0, false },
	{ KVM_GET_XSAVE, KVM_SET_XSAVE, 0, false }, { KVM_GET_XCRS, KVM_SET_XCRS, 0, false },
	{ KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, 0, false },
	{ KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, 0, false },
	{ KVM_GET_MP_STATE, KVM_SET_MP_STATE, 0, false }, { KVM_GET_LAPIC, KVM_SET_LAPIC, 0, false },
	{ KVM_GET_CPUID2, KVM_SET_CPUID2, MAX_CPUID, false },
	{ KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, 0, true }, { KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, 1, true },
	{ KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, 2, true }, { KVM_GET_PIT2, KVM_SET_PIT2, 0, true },
	{ KVM_GET_CLOCK, KVM_SET_CLOCK, 0, true },
};

static void change_state(struct state *s)
{
	const struct pair *p = &pairs[pick(&s->in, ARRAY_SIZE(pairs))];
	int fd = p->of_vm ? s->vm.fd : vcpu_fd(s);
	size_t size = _IOC_SIZE(p->get);

	if (p->get == KVM_GET_CPUID2)
		size += 40 * sizeof(struct kvm_cpuid_entry2);
	memset(scratch, 0, 4 * PAGE);
	memcpy(scratch, &p->first, sizeof(p->first));
	if (anykvm_ioctl(fd, p->get, scratch))
		return;
	for (unsigned int n = pick(&s->in, 6); n; n--) {
		size_t at = take(&s->in, 2) % size;

		scratch[at] = (uint8_t)take(&s->in, 1);
	}
	anykvm_ioctl(fd, p->set, scratch);
}

static void change_msr(struct state *s)
{
	static const uint32_t blocks[] = { 0, 0x1b, 0x174, 0x200, 0x250, 0x400, 0x800, 0xc0000080, 0xc0000100,
					   0xc0010000, 0x4b564d00, 0x40000000 };
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1 };
	int fd = vcpu_fd(s);

	m.entry.index = blocks[pick(&s->in, ARRAY_SIZE(blocks))] + pick(&s->in, 64);
	m.entry.data = pick(&s->in, 2) ? take(&s->in, 8) : take(&s->in, 2) | 1;
	anykvm_ioctl(fd, KVM_SET_MSRS, &m);
	anykvm_ioctl(fd, KVM_GET_MSRS, &m);
}

/* ---- memory ---- */

static void change_slot(struct state *s)
{
	uint32_t slot = pick(&s->in, 10), flags = pick(&s->in, 4);
	uint64_t size = pick(&s->in, 9) * 8 * PAGE, gpa;
	uint8_t *host;

	slot = slot < 5 ? slot : 1 << 16 | (slot - 5);	/* the second address space */
	if (pick(&s->in, 8) == 0)
		slot = (uint32_t)take(&s->in, 4);
	gpa = pick(&s->in, 4) ? pick(&s->in, 32) * 4 * PAGE : some_gpa(&s->in) & -PAGE;
	host = pick(&s->in, 8) ? ram + pick(&s->in, RAM_PAGES) * PAGE : some_pointer(&s->in);
	/* The scratch area is the fuzzer's own: guests have the pool. */
	if (host < ram || host >= ram + RAM_SIZE)
		host = (uint8_t *)(pick(&s->in, 2) ? 0x220000000000 : 0x1000);
	else if (size > (uint64_t)(ram + RAM_SIZE - host))
		size = (uint64_t)(ram + RAM_SIZE - host);
	if (host < ram && size > 16 * PAGE)
		size = 16 * PAGE;
	set_slot(&s->vm, slot, flags, gpa, size, host);
}

static void dirty_log(struct state *s)
{
	struct kvm_dirty_log log = { .slot = pick(&s->in, 6) };
	struct kvm_clear_dirty_log clear = { .slot = log.slot };

	log.dirty_bitmap = clear.dirty_bitmap = pick(&s->in, 4) ? scratch : some_pointer(&s->in);
	clear.first_page = pick(&s->in, 2) ? 0 : take(&s->in, 8);
	clear.num_pages = (uint32_t)take(&s->in, pick(&s->in, 2) ? 1 : 4);
	if (pick(&s->in, 2))
		anykvm_ioctl(s->vm.fd, KVM_GET_DIRTY_LOG, &log);
	else
		anykvm_ioctl(s->vm.fd, KVM_CLEAR_DIRTY_LOG, &clear);
	anykvm_ioctl(s->vm.fd, KVM_RESET_DIRTY_RINGS, NULL);
}

static void msr_filter(struct state *s)
{
	struct kvm_msr_filter *f = (void *)scratch;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { pick(&s->in, 16) } };

	memset(f, 0, sizeof(*f));
	f->flags = pick(&s->in, 4) / 2;
	for (unsigned int i = 0, n = pick(&s->in, KVM_MSR_FILTER_MAX_RANGES + 1); i < n; i++) {
		f->ranges[i].flags = pick(&s->in, 4);
		f->ranges[i].nmsrs = (uint32_t)take(&s->in, 2);
		f->ranges[i].base = (uint32_t)take(&s->in, 4);
		f->ranges[i].bitmap = pick(&s->in, 4) ? scratch + PAGE : some_pointer(&s->in);
	}
	take_into(&s->in, scratch + PAGE, 16);
	anykvm_ioctl(s->vm.fd, KVM_ENABLE_CAP, &cap);
	anykvm_ioctl(s->vm.fd, KVM_X86_SET_MSR_FILTER, f);
}

static void statistics(struct state *s)
{
	int fd = anykvm_ioctl(pick(&s->in, 2) ? s->vm.fd : vcpu_fd(s), KVM_GET_STATS_FD, NULL);

	if (fd < 0)
		return;
	if (pread(fd, scratch, pick(&s->in, 256) * 16, pick(&s->in, 2) ? 0 : (long)take(&s->in, 8)) < -1)
		abort();
	if (anykvm_close(fd))
		close(fd);
}

static void device_attribute(struct state *s)
{
	static const unsigned long requests[] = { KVM_HAS_DEVICE_ATTR, KVM_GET_DEVICE_ATTR,
						  KVM_SET_DEVICE_ATTR };
	struct kvm_device_attr a = { .group = pick(&s->in, 3), .attr = pick(&s->in, 3),
				     .flags = pick(&s->in, 2),
				     .addr = (uintptr_t)some_pointer(&s->in) };
	int fds[] = { s->vm.sys, s->vm.fd, vcpu_fd(s) };

	anykvm_ioctl(fds[pick(&s->in, 3)], requests[pick(&s->in, 3)], &a);
}

static void write_memory(struct state *s)
{
	unsigned int at = (unsigned int)take(&s->in, 2) * 4 % RAM_SIZE, n = pick(&s->in, 40);

	if (n > RAM_SIZE - at)
		n = (unsigned int)RAM_SIZE - at;
	take_into(&s->in, ram + at, n);
}

/* ---- events ---- */

static void eventfds(struct state *s)
{
	int *event = &s->event[pick(&s->in, EVENTS)];
	struct kvm_irqfd irqfd = { .fd = (uint32_t)*event, .gsi = pick(&s->in, 30), .flags = pick(&s->in, 5),
				   .resamplefd = (uint32_t)s->event[0] };
	struct kvm_ioeventfd io = { .fd = *event, .len = 1u << pick(&s->in, 5), .flags = pick(&s->in, 9) };
	uint64_t one = 1;

	switch (pick(&s->in, 6)) {
	case 0:
	case 1:
		anykvm_ioctl(s->vm.fd, KVM_IRQFD, &irqfd);
		break;
	case 2:
	case 3:
		io.addr = some_gpa(&s->in);
		io.datamatch = take(&s->in, 1);
		io.len &= 15;
		anykvm_ioctl(s->vm.fd, KVM_IOEVENTFD, &io);
		break;
	case 4:
		(void)!write(*event, &one, sizeof(one));
		break;
	case 5:
		close(*event);
		*event = eventfd(0, EFD_NONBLOCK);
		break;
	}
}

static void signal_mask(struct state *s)
{
	struct kvm_signal_mask *mask = (void *)scratch;
	uint64_t set = take(&s->in, 8) & ~(1ull << (SIGUSR2 - 1));

	mask->len = sizeof(set);
	memcpy(mask->sigset, &set, sizeof(set));
	anykvm_ioctl(vcpu_fd(s), KVM_SET_SIGNAL_MASK, pick(&s->in, 3) ? mask : NULL);
}

/* ---- guests ---- */

static void start_guest(struct state *s)
{
	enum mode mode = pick(&s->in, NR_MODES);
	unsigned int n = pick(&s->in, 48), flags = pick(&s->in, 4);

	if (!s->vm.nr)
		return;
	make_tables(flags & 1);
	put_code(&s->in, n);
	place(&s->vm, some_vcpu(s), mode, flags & 2, take(&s->in, 8));
}

/* ---- Hyper-V's interfaces ---- */

static unsigned int emit(uint8_t *at, const char *bytes, unsigned int n, uint64_t value, unsigned int size)
{
	memcpy(at, bytes, n);
	memcpy(at + n, &value, size);
	return n + size;
}

static uint64_t hyperv_word(struct input *in)
{
	switch (pick(in, 4)) {
	case 0:
		return take(in, 8);
	case 1:
		return take(in, 2);
	default:
		return (some_gpa(in) & (pick(in, 4) ? -PAGE : ~0ull)) | pick(in, 2);
	}
}

/* A guest that writes MSRs, or makes hypercalls. */
static void hyperv_code(struct state *s)
{
	static const uint16_t calls[] = { 2, 3, 8, 0xb, 0x13, 0x14, 0x15, 0x5c, 0x5d, 0x69, 0x6b };
	uint8_t *at = ram + GUEST_CODE, *end = ram + GUEST_DATA - 64;

	memset(at, 0xf4, GUEST_DATA - GUEST_CODE);
	/* Who says what it is may call. */
	at += emit(at, "\xb9", 1, 0x40000000, 4);
	at += emit(at, "\xb8", 1, pick(&s->in, 8), 4);
	at += emit(at, "\x31\xd2\x0f\x30", 4, 0, 0);
	for (unsigned int n = pick(&s->in, 12); n && at < end; n--) {
		uint64_t value = hyperv_word(&s->in);

		if (pick(&s->in, 2)) {
			at += emit(at, "\xb9", 1, 0x40000000 + pick(&s->in, 256) + 256 * (pick(&s->in, 8) == 0), 4);
			at += emit(at, "\xb8", 1, value, 4);
			at += emit(at, "\xba", 1, value >> 32, 4);
			at += emit(at, pick(&s->in, 4) ? "\x0f\x30" : "\x0f\x32", 2, 0, 0);
		} else {
			at += emit(at, "\x48\xba", 2, value, 8);
			at += emit(at, "\x49\xb8", 2, hyperv_word(&s->in), 8);
			value = calls[pick(&s->in, ARRAY_SIZE(calls))] | (uint64_t)pick(&s->in, 8) << 16;
			value |= pick(&s->in, 2) ? (uint64_t)pick(&s->in, 4) << 32 : 0;
			at += emit(at, "\x48\xb9", 2, value, 8);
			at += emit(at, "\x0f\x01\xd9", 3, 0, 0);
		}
	}
	if (pick(&s->in, 2))
		emit(at, "\xfb\xf4\xeb\xfd", 4, 0, 0);	/* sleeps for interrupts */
}

static void hyperv(struct state *s)
{
	struct kvm_cpuid2 *c = (void *)scratch, *hv = (void *)(scratch + SCRATCH_SIZE / 2);
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HYPERV_SYNIC };
	struct kvm_hyperv_eventfd event = { .conn_id = pick(&s->in, 4) };
	int n = some_vcpu(s), fd;

	if (!s->vm.nr)
		return;
	fd = s->vm.vcpu[n];
	if (pick(&s->in, 2))
		cap.cap = KVM_CAP_HYPERV_SYNIC2;
	anykvm_ioctl(fd, KVM_ENABLE_CAP, &cap);
	cap.cap = KVM_CAP_HYPERV_ENFORCE_CPUID;
	cap.args[0] = pick(&s->in, 4) == 0;
	anykvm_ioctl(fd, KVM_ENABLE_CAP, &cap);
	c->nent = hv->nent = MAX_CPUID;
	if (!anykvm_ioctl(fd, KVM_GET_CPUID2, c) && !anykvm_ioctl(fd, KVM_GET_SUPPORTED_HV_CPUID, hv) &&
	    c->nent + hv->nent <= MAX_CPUID) {
		/* The first of a kind is the one that counts. */
		memmove(&c->entries[hv->nent], c->entries, c->nent * sizeof(c->entries[0]));
		memcpy(c->entries, hv->entries, hv->nent * sizeof(c->entries[0]));
		c->nent += hv->nent;
		anykvm_ioctl(fd, KVM_SET_CPUID2, c);
	}
	event.fd = s->event[pick(&s->in, EVENTS)];
	event.flags = pick(&s->in, 4) == 0;
	anykvm_ioctl(s->vm.fd, KVM_HYPERV_EVENTFD, &event);
	make_tables(pick(&s->in, 2));
	hyperv_code(s);
	place(&s->vm, n, LONG, false, take(&s->in, 8));
	if (pick(&s->in, 4))
		set_slot(&s->vm, 0, 0, 0, RAM_SIZE, ram);
	if (s->runs) {
		s->runs--;
		run_guest(&s->vm, n, 1 + pick(&s->in, 20), &s->in);
	}
}

static void run_one(struct state *s)
{
	if (!s->vm.nr || !s->runs)
		return;
	s->runs--;
	run_guest(&s->vm, some_vcpu(s), 1 + pick(&s->in, 20), &s->in);
}

struct half {
	struct vm *vm;
	int n;
	struct input in;
};

static void *run_half(void *arg)
{
	struct half *h = arg;

	run_guest(h->vm, h->n, 8, &h->in);
	end_thread();
	return NULL;
}

/* Two vCPUs at once, and an ioctl meanwhile. */
static void run_two(struct state *s)
{
	struct half other = { &s->vm, 1, s->in };
	pthread_t thread;

	if (s->vm.nr < 2 || !s->runs)
		return;
	s->runs--;
	if (pthread_create(&thread, NULL, run_half, &other))
		abort();
	change_slot(s);
	run_guest(&s->vm, 0, 8, &s->in);
	pthread_join(thread, NULL);
}

/* What the VMM and KVM share holds anything. */
static void change_run(struct state *s)
{
	uint8_t *page;

	if (!s->vm.nr)
		return;
	page = (uint8_t *)s->vm.run[some_vcpu(s)];
	for (unsigned int n = pick(&s->in, 8); n; n--) {
		unsigned int at = (unsigned int)take(&s->in, 2);

		at %= pick(&s->in, 4) ? 256 : 3 * PAGE;
		page[at] = (uint8_t)take(&s->in, 1);
	}
}

static void run_request(struct state *s)
{
	if (!s->vm.nr)
		return;
	s->vm.run[some_vcpu(s)]->request_interrupt_window = (uint8_t)take(&s->in, 1);
}

static void close_one(struct state *s)
{
	int copy;

	if (!s->vm.nr)
		return;
	copy = dup(s->vm.vcpu[0]);
	anykvm_close(s->vm.vcpu[0]);
	s->vm.vcpu[0] = copy;
	anykvm_collect();
}

static void add_vcpu(struct state *s)
{
	if (!(s->vm.nr == 1 && pick(&s->in, 2)))
		vm_add_vcpu(&s->vm, (unsigned int)take(&s->in, 1));
	else
		vm_add_vcpu(&s->vm, (unsigned int)take(&s->in, 4));
}

static void operation(struct state *s)
{
	switch (pick(&s->in, 21)) {
	case 0:
		any_request(s, s->vm.sys, system_requests, ARRAY_SIZE(system_requests));
		break;
	case 1:
	case 2:
		any_request(s, s->vm.fd, vm_requests, ARRAY_SIZE(vm_requests));
		break;
	case 3:
	case 4:
		any_request(s, vcpu_fd(s), vcpu_requests, ARRAY_SIZE(vcpu_requests));
		break;
	case 5:
	case 6:
		change_state(s);
		break;
	case 7:
		change_msr(s);
		break;
	case 8:
		change_slot(s);
		break;
	case 9:
		dirty_log(s);
		break;
	case 10:
		write_memory(s);
		break;
	case 11:
		eventfds(s);
		break;
	case 12:
		signal_mask(s);
		break;
	case 13:
		start_guest(s);
		break;
	case 14:
	case 15:
		run_one(s);
		break;
	case 16:
		run_two(s);
		break;
	case 17:
		change_run(s);
		break;
	case 18:
		run_request(s);
		break;
	case 19:
		if (pick(&s->in, 2))
			close_one(s);
		else
			add_vcpu(s);
		break;
	case 20:
		switch (pick(&s->in, 5)) {
		case 0:
			msr_filter(s);
			break;
		case 1:
			statistics(s);
			break;
		case 2:
			device_attribute(s);
			break;
		case 3:
		case 4:
			hyperv(s);
			break;
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state s = { .in = { data, size }, .runs = 12 };
	unsigned int flags = (unsigned int)take(&s.in, 1), vcpus = pick(&s.in, 4);

	vm_open(&s.vm, flags);
	for (unsigned int i = 0; i < EVENTS; i++)
		s.event[i] = eventfd(0, EFD_NONBLOCK);
	make_tables(false);
	if (flags & 64)
		set_slot(&s.vm, 0, 0, 0, RAM_SIZE, ram);
	for (unsigned int i = 0; i < vcpus; i++)
		vm_add_vcpu(&s.vm, i);
	for (unsigned int n = 0; n < MAX_OPERATIONS && s.in.left; n++)
		operation(&s);
	for (unsigned int i = 0; i < EVENTS; i++)
		close(s.event[i]);
	vm_close(&s.vm);
	return 0;
}
