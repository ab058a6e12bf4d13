/* SPDX-License-Identifier: GPL-2.0-only */
/* What all ioctls have in common: pointers, sizes, and the kinds of descriptors that they belong
 * to. */
#include "api.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SYSTEM = 1, VM = 2, VCPU = 4 };

/* How its argument is used. */
enum argument { VALUE, IN, OUT, INOUT };

struct ioctl_row {
	const char *name;
	unsigned long request;
	int kinds;
	enum argument argument;
};

#define ROW(request, ...)	{ #request, request, __VA_ARGS__ }

/* Those that both serve. With the right object, all of them look at their argument before anything
 * else that could fail; those that do not have tests of their own. */
static const struct ioctl_row rows[] = {
	ROW(KVM_GET_API_VERSION, SYSTEM, VALUE),
	ROW(KVM_CREATE_VM, SYSTEM, VALUE),
	ROW(KVM_CHECK_EXTENSION, SYSTEM | VM, VALUE),
	ROW(KVM_GET_VCPU_MMAP_SIZE, SYSTEM, VALUE),
	ROW(KVM_GET_SUPPORTED_CPUID, SYSTEM, INOUT),
	ROW(KVM_GET_EMULATED_CPUID, SYSTEM, INOUT),
	ROW(KVM_GET_MSR_INDEX_LIST, SYSTEM, INOUT),
	ROW(KVM_GET_MSR_FEATURE_INDEX_LIST, SYSTEM, INOUT),
	ROW(KVM_X86_GET_MCE_CAP_SUPPORTED, SYSTEM, OUT),

	ROW(KVM_CREATE_VCPU, VM, VALUE),
	ROW(KVM_SET_BOOT_CPU_ID, VM, VALUE),
	ROW(KVM_SET_USER_MEMORY_REGION, VM, IN),
	ROW(KVM_GET_DIRTY_LOG, VM, IN),
	ROW(KVM_CLEAR_DIRTY_LOG, VM, IN),
	ROW(KVM_RESET_DIRTY_RINGS, VM, VALUE),
	ROW(KVM_REGISTER_COALESCED_MMIO, VM, IN),
	ROW(KVM_UNREGISTER_COALESCED_MMIO, VM, IN),
	ROW(KVM_SET_TSS_ADDR, VM, VALUE),
	ROW(KVM_SET_IDENTITY_MAP_ADDR, VM, IN),
	ROW(KVM_SET_NR_MMU_PAGES, VM, VALUE),
	ROW(KVM_CREATE_IRQCHIP, VM, VALUE),
	ROW(KVM_IRQ_LINE, VM, IN),
	ROW(KVM_IRQ_LINE_STATUS, VM, INOUT),
	ROW(KVM_SET_GSI_ROUTING, VM, IN),
	ROW(KVM_SIGNAL_MSI, VM, IN),
	ROW(KVM_IRQFD, VM, IN),
	ROW(KVM_IOEVENTFD, VM, IN),
	ROW(KVM_GET_IRQCHIP, VM, INOUT),
	ROW(KVM_SET_IRQCHIP, VM, IN),
	ROW(KVM_CREATE_PIT, VM, VALUE),
	ROW(KVM_CREATE_PIT2, VM, IN),
	ROW(KVM_GET_PIT, VM, OUT),
	ROW(KVM_SET_PIT, VM, IN),
	ROW(KVM_GET_PIT2, VM, OUT),
	ROW(KVM_SET_PIT2, VM, IN),
	ROW(KVM_REINJECT_CONTROL, VM, IN),
	ROW(KVM_GET_CLOCK, VM, OUT),
	ROW(KVM_SET_CLOCK, VM, IN),
	ROW(KVM_SET_TSC_KHZ, VM | VCPU, VALUE),
	ROW(KVM_GET_TSC_KHZ, VM | VCPU, VALUE),
	ROW(KVM_ENABLE_CAP, VM | VCPU, IN),
	ROW(KVM_CREATE_DEVICE, VM, IN),
	ROW(KVM_X86_SET_MSR_FILTER, VM, IN),
	ROW(KVM_HAS_DEVICE_ATTR, SYSTEM | VCPU, IN),
	ROW(KVM_GET_DEVICE_ATTR, SYSTEM | VCPU, IN),
	ROW(KVM_SET_DEVICE_ATTR, VCPU, IN),

	ROW(KVM_RUN, VCPU, VALUE),
	ROW(KVM_TRANSLATE, VCPU, INOUT),
	ROW(KVM_SET_SIGNAL_MASK, VCPU, IN),
	ROW(KVM_GET_REGS, VCPU, OUT),
	ROW(KVM_SET_REGS, VCPU, IN),
	ROW(KVM_GET_SREGS, VCPU, OUT),
	ROW(KVM_SET_SREGS, VCPU, IN),
	ROW(KVM_GET_SREGS2, VCPU, OUT),
	ROW(KVM_SET_SREGS2, VCPU, IN),
	ROW(KVM_GET_FPU, VCPU, OUT),
	ROW(KVM_SET_FPU, VCPU, IN),
	ROW(KVM_GET_XSAVE, VCPU, OUT),
	ROW(KVM_GET_XSAVE2, VCPU, OUT),
	ROW(KVM_SET_XSAVE, VCPU, IN),
	ROW(KVM_GET_XCRS, VCPU, OUT),
	ROW(KVM_SET_XCRS, VCPU, IN),
	ROW(KVM_GET_DEBUGREGS, VCPU, OUT),
	ROW(KVM_SET_DEBUGREGS, VCPU, IN),
	ROW(KVM_GET_MSRS, SYSTEM | VCPU, INOUT),
	ROW(KVM_SET_MSRS, VCPU, IN),
	ROW(KVM_SET_CPUID, VCPU, IN),
	ROW(KVM_SET_CPUID2, VCPU, IN),
	ROW(KVM_GET_CPUID2, VCPU, INOUT),
	ROW(KVM_GET_LAPIC, VCPU, OUT),
	ROW(KVM_SET_LAPIC, VCPU, IN),
	ROW(KVM_TPR_ACCESS_REPORTING, VCPU, INOUT),
	ROW(KVM_SET_VAPIC_ADDR, VCPU, IN),
	ROW(KVM_GET_VCPU_EVENTS, VCPU, OUT),
	ROW(KVM_SET_VCPU_EVENTS, VCPU, IN),
	ROW(KVM_GET_MP_STATE, VCPU, OUT),
	ROW(KVM_SET_MP_STATE, VCPU, IN),
	ROW(KVM_INTERRUPT, VCPU, IN),
	ROW(KVM_NMI, VCPU, VALUE),
	ROW(KVM_SET_GUEST_DEBUG, VCPU, IN),
	ROW(KVM_X86_SETUP_MCE, VCPU, IN),
	ROW(KVM_X86_SET_MCE, VCPU, IN),
	ROW(KVM_KVMCLOCK_CTRL, VCPU, VALUE),
};

static int fd_of(const struct machine *m, int kind)
{
	return kind == SYSTEM ? m->sys : kind == VM ? m->vm : m->vcpu;
}

static const char *kind_name(int kind)
{
	return kind == SYSTEM ? "/dev/kvm" : kind == VM ? "a VM" : "a vCPU";
}

/* What an unknown request gives. */
static int unknown(int kind)
{
	return kind == VM ? -ENOTTY : -EINVAL;
}

/* Every request on every kind of object that it does not belong to. */
static void wrong_object(void)
{
	struct machine m = machine(WITH_IRQCHIP | WITH_PIT);
	void *arg = pages(4);
	char text[100];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int kind = SYSTEM; kind <= VCPU; kind *= 2) {
			if (rows[i].kinds & kind)
				continue;
			snprintf(text, sizeof(text), "%s of %s", rows[i].name, kind_name(kind));
			GIVES_FOR(text, call(fd_of(&m, kind), rows[i].request, arg), unknown(kind));
		}
	}
}

/* Descriptors that have nothing to do with KVM. */
static void no_object(void)
{
	int event = eventfd(0, 0), closed = eventfd(0, 0);
	void *arg = pages(4);

	close(closed);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		GIVES_FOR(rows[i].name, call(event, rows[i].request, arg), -ENOTTY);
		GIVES_FOR(rows[i].name, call(closed, rows[i].request, arg), -EBADF);
		GIVES_FOR(rows[i].name, call(-1, rows[i].request, arg), -EBADF);
	}
}

/* The size of the argument is part of the number: another size is another request, which is not
 * there. */
static void wrong_size(void)
{
	struct machine m = machine(WITH_IRQCHIP | WITH_PIT);
	void *arg = pages(4);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned long r = rows[i].request, size = _IOC_SIZE(r);
		const unsigned long other[] = { size + 1, size - 1, size + 8, 0, 0x3fff };

		for (size_t n = 0; n < ARRAY_SIZE(other); n++) {
			unsigned long wrong = _IOC(_IOC_DIR(r), _IOC_TYPE(r), _IOC_NR(r), 0) |
					      (other[n] & 0x3fff) << _IOC_SIZESHIFT;

			if (wrong == r)
				continue;
			for (int kind = SYSTEM; kind <= VCPU; kind *= 2)
				if (rows[i].kinds & kind)
					GIVES_FOR(rows[i].name, call(fd_of(&m, kind), wrong, arg),
						  unknown(kind));
		}
		/* Another magic byte, another direction. */
		for (int kind = SYSTEM; kind <= VCPU; kind *= 2) {
			if (!(rows[i].kinds & kind))
				continue;
			GIVES_FOR(rows[i].name, call(fd_of(&m, kind), r ^ 0x100, arg), unknown(kind));
			GIVES_FOR(rows[i].name, call(fd_of(&m, kind), r ^ 0xc0000000, arg),
				  unknown(kind));
		}
	}
	/* Only 32 bits are the request. */
	GIVES(call(m.sys, KVM_GET_API_VERSION | 1ul << 40, NULL), 12);
}

/* Is this one of those whose argument is looked at first only where something else is in order? */
static bool is_special(unsigned long request)
{
	/* EEXIST where there is one; EINVAL once there are vCPUs. */
	return request == KVM_CREATE_PIT2 || request == KVM_SET_IDENTITY_MAP_ADDR;
}

static void bad_pointer(void)
{
	struct machine m = machine(WITH_IRQCHIP | WITH_PIT), new = machine(WITHOUT_VCPU);
	char text[100];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].argument == VALUE || is_special(rows[i].request))
			continue;
		for (int kind = SYSTEM; kind <= VCPU; kind *= 2) {
			for (int n = 0; (rows[i].kinds & kind) && bad_pointers[n]; n++) {
				snprintf(text, sizeof(text), "%s of %s with %p", rows[i].name,
					 kind_name(kind), bad_pointers[n]);
				GIVES_FOR(text, call(fd_of(&m, kind), rows[i].request, bad_pointers[n]),
					  -EFAULT);
			}
		}
	}
	GIVES(call(m.vm, KVM_CREATE_PIT2, bad_pointers[0]), -EFAULT);
	GIVES(call(new.vm, KVM_SET_IDENTITY_MAP_ADDR, bad_pointers[0]), -EFAULT);
}

/* Arguments of which only the last byte is missing. */
static void cut_short(void)
{
	struct machine m = machine(WITH_IRQCHIP | WITH_PIT);
	struct kvm_regs before, after;

	must(m.vcpu, KVM_GET_REGS, &before);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned long size = _IOC_SIZE(rows[i].request);
		char *arg;

		if (rows[i].argument == VALUE || !size ||
		    rows[i].request == KVM_SET_IDENTITY_MAP_ADDR)
			continue;
		arg = at_the_edge(size - 1);
		for (int kind = SYSTEM; kind <= VCPU; kind *= 2)
			if (rows[i].kinds & kind)
				GIVES_FOR(rows[i].name,
					  call(fd_of(&m, kind), rows[i].request, arg), -EFAULT);
	}
	must(m.vcpu, KVM_GET_REGS, &after);
	HOLDS(!memcmp(&before, &after, sizeof(before)));
}

/* Memory that can be read and not written takes no answer; memory that cannot be read gives no
 * argument. */
static void protected_memory(void)
{
	struct machine m = machine(WITH_IRQCHIP | WITH_PIT);
	char *none = pages(4), *constant = pages(4);

	mprotect(none, 4 * PAGE, PROT_NONE);
	mprotect(constant, 4 * PAGE, PROT_READ);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].argument == VALUE || !_IOC_SIZE(rows[i].request))
			continue;
		for (int kind = SYSTEM; kind <= VCPU; kind *= 2) {
			if (!(rows[i].kinds & kind))
				continue;
			if (!is_special(rows[i].request))
				GIVES_FOR(rows[i].name,
					  call(fd_of(&m, kind), rows[i].request, none), -EFAULT);
			if (rows[i].argument == OUT)
				GIVES_FOR(rows[i].name,
					  call(fd_of(&m, kind), rows[i].request, constant), -EFAULT);
		}
	}
	GIVES(call(m.vcpu, KVM_SET_REGS, constant), 0);
	GIVES(call(m.vm, KVM_IRQ_LINE, constant), 0);
	GIVES(call(m.vm, KVM_IRQ_LINE_STATUS, constant), -EFAULT);
}

/* Requests that Linux knows on no x86 machine, or no longer. */
static void other_machines(void)
{
	struct machine m = machine(0);
	void *arg = pages(1);

	GIVES(call(m.vcpu, KVM_GET_ONE_REG, arg), -EINVAL);
	GIVES(call(m.vcpu, KVM_SET_ONE_REG, arg), -EINVAL);
	GIVES(call(m.vcpu, KVM_GET_REG_LIST, arg), -EINVAL);
	GIVES(call(m.vcpu, _IO(KVMIO, 0xff), arg), -EINVAL);
	GIVES(call(m.vm, _IO(KVMIO, 0xff), arg), -ENOTTY);
	GIVES(call(m.sys, _IO(KVMIO, 0xff), arg), -EINVAL);
	GIVES(call(m.vm, KVM_PPC_GET_PVINFO, arg), -ENOTTY);
	GIVES(call(m.vm, KVM_S390_VCPU_FAULT, arg), -ENOTTY);
	GIVES(call(m.vcpu, KVM_S390_INTERRUPT, arg), -EINVAL);
}

const struct test ioctl_tests[] = {
	{ "ioctl", "wrong_object", "requests of one kind of object on the two others", wrong_object },
	{ "ioctl", "no_object", "requests on other descriptors and on none", no_object },
	{ "ioctl", "wrong_size", "another size, direction or magic byte is another request", wrong_size },
	{ "ioctl", "bad_pointer", "arguments at addresses that no process has", bad_pointer },
	{ "ioctl", "cut_short", "arguments that end behind the last mapped byte", cut_short },
	{ "ioctl", "protected_memory", "arguments in memory that may not be read, or not be written",
	  protected_memory },
	{ "ioctl", "other_machines", "requests of other architectures", other_machines },
	{ 0 }
};
