// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace of a shimmed program: each KVM ioctl with its arguments and result, in strace's manner.
 * What goes in is printed before the call, what comes out behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm/shim/trace.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int out = -1;

static void start(void)
{
	const char *where = getenv("ANYKVM_TRACE");

	if (!where || !*where)
		return;
	if (!strcmp(where, "1"))
		out = STDERR_FILENO;
	else
		out = open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

static bool tracing(void)
{
	pthread_once(&once, start);
	return out >= 0;
}

/* One line at a time, in one write, so that threads' lines do not mix. */
struct line {
	char text[512];
	size_t n;
};

static __attribute__((format(printf, 2, 3))) void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->n, sizeof(l->text) - l->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->n = l->n + n < sizeof(l->text) ? l->n + n : sizeof(l->text) - 1;
}

static void end(struct line *l)
{
	if (l->n == sizeof(l->text) - 1)
		l->n--;
	l->text[l->n++] = '\n';
	(void)!syscall(SYS_write, out, l->text, l->n);
}

#define NAME(request)	{ request, #request }
static const struct {
	unsigned int request;
	const char *name;
} names[] = {
	NAME(KVM_GET_API_VERSION), NAME(KVM_CREATE_VM), NAME(KVM_GET_MSR_INDEX_LIST),
	NAME(KVM_CHECK_EXTENSION), NAME(KVM_GET_VCPU_MMAP_SIZE), NAME(KVM_GET_SUPPORTED_CPUID),
	NAME(KVM_GET_EMULATED_CPUID), NAME(KVM_GET_MSR_FEATURE_INDEX_LIST), NAME(KVM_CREATE_VCPU),
	NAME(KVM_GET_DIRTY_LOG), NAME(KVM_SET_NR_MMU_PAGES), NAME(KVM_SET_USER_MEMORY_REGION),
	NAME(KVM_SET_TSS_ADDR), NAME(KVM_SET_IDENTITY_MAP_ADDR), NAME(KVM_CREATE_IRQCHIP),
	NAME(KVM_IRQ_LINE), NAME(KVM_GET_IRQCHIP), NAME(KVM_SET_IRQCHIP), NAME(KVM_CREATE_PIT),
	NAME(KVM_GET_PIT), NAME(KVM_SET_PIT), NAME(KVM_IRQ_LINE_STATUS), NAME(KVM_REGISTER_COALESCED_MMIO),
	NAME(KVM_UNREGISTER_COALESCED_MMIO), NAME(KVM_SET_GSI_ROUTING), NAME(KVM_REINJECT_CONTROL),
	NAME(KVM_IRQFD), NAME(KVM_CREATE_PIT2), NAME(KVM_SET_BOOT_CPU_ID), NAME(KVM_IOEVENTFD),
	NAME(KVM_SET_CLOCK), NAME(KVM_GET_CLOCK), NAME(KVM_RUN), NAME(KVM_GET_REGS), NAME(KVM_SET_REGS),
	NAME(KVM_GET_SREGS), NAME(KVM_SET_SREGS), NAME(KVM_TRANSLATE), NAME(KVM_INTERRUPT),
	NAME(KVM_GET_MSRS), NAME(KVM_SET_MSRS), NAME(KVM_SET_CPUID), NAME(KVM_SET_SIGNAL_MASK),
	NAME(KVM_GET_FPU), NAME(KVM_SET_FPU), NAME(KVM_GET_LAPIC), NAME(KVM_SET_LAPIC), NAME(KVM_SET_CPUID2),
	NAME(KVM_GET_CPUID2), NAME(KVM_TPR_ACCESS_REPORTING), NAME(KVM_SET_VAPIC_ADDR),
	NAME(KVM_GET_MP_STATE), NAME(KVM_SET_MP_STATE), NAME(KVM_NMI), NAME(KVM_SET_GUEST_DEBUG),
	NAME(KVM_X86_SETUP_MCE), NAME(KVM_X86_GET_MCE_CAP_SUPPORTED), NAME(KVM_X86_SET_MCE),
	NAME(KVM_GET_PIT2), NAME(KVM_SET_PIT2), NAME(KVM_GET_VCPU_EVENTS), NAME(KVM_SET_VCPU_EVENTS),
	NAME(KVM_GET_DEBUGREGS), NAME(KVM_SET_DEBUGREGS), NAME(KVM_SET_TSC_KHZ), NAME(KVM_GET_TSC_KHZ),
	NAME(KVM_GET_XSAVE), NAME(KVM_SET_XSAVE), NAME(KVM_GET_XSAVE2), NAME(KVM_GET_XCRS), NAME(KVM_SET_XCRS),
	NAME(KVM_SIGNAL_MSI), NAME(KVM_ENABLE_CAP), NAME(KVM_KVMCLOCK_CTRL), NAME(KVM_SMI),
	NAME(KVM_GET_SREGS2), NAME(KVM_SET_SREGS2), NAME(KVM_CREATE_DEVICE), NAME(KVM_SET_DEVICE_ATTR),
	NAME(KVM_GET_DEVICE_ATTR), NAME(KVM_HAS_DEVICE_ATTR), NAME(KVM_CLEAR_DIRTY_LOG),
	NAME(KVM_RESET_DIRTY_RINGS), NAME(KVM_GET_STATS_FD), NAME(KVM_X86_SET_MSR_FILTER),
	NAME(KVM_GET_NESTED_STATE), NAME(KVM_SET_NESTED_STATE), NAME(KVM_XEN_HVM_CONFIG),
	NAME(KVM_GET_SUPPORTED_HV_CPUID), NAME(KVM_MEMORY_ENCRYPT_OP),
};

static void add_call(struct line *l, int fd, unsigned long request)
{
	add(l, "[%ld] ioctl(%d, ", (long)syscall(SYS_gettid), fd);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].request == (unsigned int)request) {
			add(l, "%s", names[i].name);
			return;
		}
	}
	add(l, "KVM_%#lx", _IOC_NR(request));
}

static void add_input(struct line *l, unsigned long request, const void *arg)
{
	switch ((unsigned int)request) {
	case KVM_SET_USER_MEMORY_REGION: {
		const struct kvm_userspace_memory_region *m = arg;

		add(l, ", {slot=%u, flags=%#x, gpa=%#llx, size=%#llx, host=%#llx}", m->slot, m->flags,
		    m->guest_phys_addr, m->memory_size, m->userspace_addr);
		break;
	}
	case KVM_IRQ_LINE:
	case KVM_IRQ_LINE_STATUS: {
		const struct kvm_irq_level *i = arg;

		add(l, ", {irq=%u, level=%u}", i->irq, i->level);
		break;
	}
	case KVM_IRQFD: {
		const struct kvm_irqfd *i = arg;

		add(l, ", {fd=%d, gsi=%u, flags=%#x, resamplefd=%d}", i->fd, i->gsi, i->flags, i->resamplefd);
		break;
	}
	case KVM_IOEVENTFD: {
		const struct kvm_ioeventfd *i = arg;

		add(l, ", {fd=%d, addr=%#llx, len=%u, datamatch=%#llx, flags=%#x}", i->fd, i->addr, i->len,
		    i->datamatch, i->flags);
		break;
	}
	case KVM_SIGNAL_MSI: {
		const struct kvm_msi *m = arg;

		add(l, ", {address=%#llx, data=%#x}", (unsigned long long)m->address_hi << 32 | m->address_lo,
		    m->data);
		break;
	}
	case KVM_SET_GSI_ROUTING:
		add(l, ", {nr=%u}", ((const struct kvm_irq_routing *)arg)->nr);
		break;
	case KVM_ENABLE_CAP: {
		const struct kvm_enable_cap *c = arg;

		add(l, ", {cap=%u, args={%#llx, %#llx}}", c->cap, c->args[0], c->args[1]);
		break;
	}
	case KVM_SET_MSRS:
	case KVM_GET_MSRS: {
		const struct kvm_msrs *m = arg;

		add(l, ", {nmsrs=%u", m->nmsrs);
		if (m->nmsrs)
			add(l, ", {%#x, %#llx}%s", m->entries[0].index, m->entries[0].data,
			    m->nmsrs > 1 ? ", …" : "");
		add(l, "}");
		break;
	}
	case KVM_SET_REGS: {
		const struct kvm_regs *r = arg;

		add(l, ", {rip=%#llx, rsp=%#llx, rax=%#llx, rflags=%#llx}", r->rip, r->rsp, r->rax, r->rflags);
		break;
	}
	case KVM_SET_MP_STATE:
		add(l, ", {%u}", ((const struct kvm_mp_state *)arg)->mp_state);
		break;
	case KVM_CHECK_EXTENSION:
	case KVM_CREATE_VCPU:
	case KVM_CREATE_VM:
	case KVM_SET_TSS_ADDR:
	case KVM_SET_TSC_KHZ:
		add(l, ", %#lx", (unsigned long)arg);
		break;
	case KVM_RUN:
		break;
	default:
		if (arg)
			add(l, ", %p", arg);
	}
}

static void add_output(struct line *l, unsigned long request, const void *arg)
{
	switch ((unsigned int)request) {
	case KVM_GET_REGS: {
		const struct kvm_regs *r = arg;

		add(l, " {rip=%#llx, rsp=%#llx, rax=%#llx, rflags=%#llx}", r->rip, r->rsp, r->rax, r->rflags);
		break;
	}
	case KVM_GET_MP_STATE:
		add(l, " {%u}", ((const struct kvm_mp_state *)arg)->mp_state);
		break;
	case KVM_TRANSLATE: {
		const struct kvm_translation *t = arg;

		add(l, " {linear=%#llx, physical=%#llx, valid=%u}", t->linear_address, t->physical_address,
		    t->valid);
		break;
	}
	}
}

void trace_open(int fd)
{
	struct line l = { .n = 0 };

	if (!tracing())
		return;
	add(&l, "[%ld] open(\"/dev/kvm\") = %d", (long)syscall(SYS_gettid), fd);
	end(&l);
}

void trace_enter(int fd, unsigned long request, void *arg)
{
	struct line l = { .n = 0 };

	/* Only what may not come back soon is announced. */
	if (!tracing() || (unsigned int)request != KVM_RUN)
		return;
	add_call(&l, fd, request);
	add(&l, " …");
	end(&l);
}

void trace_leave(int fd, unsigned long request, void *arg, int result)
{
	struct line l = { .n = 0 };

	if (!tracing())
		return;
	add_call(&l, fd, request);
	/* A pointer that KVM refused is not for us to look behind. */
	if (result != -EFAULT)
		add_input(&l, request, arg);
	add(&l, ") = %d", result);
	if (result < 0)
		add(&l, " (%s)", strerror(-result));
	else
		add_output(&l, request, arg);
	end(&l);
}
