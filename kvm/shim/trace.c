/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The trace of a shimmed program: each KVM ioctl with its arguments and result, in strace's manner. One table
 * row an ioctl says which members of its struct are worth printing before and behind the call; what has no
 * fixed length has functions.
 *
 * Nothing of the program's memory is touched but by the kernel's hand (process_vm_readv): any pointer may be
 * bad, and another thread may unmap what was good a moment ago.
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
#include <sys/uio.h>
#include <unistd.h>

#include "kvm/shim/trace.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define STRUCT_MAX	2048	/* of those that are copied whole */
#define LIST_MAX	8	/* entries of a list that are printed */

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

static __attribute__((format(printf, 2, 3))) void add(struct trace_call *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->text + t->n, sizeof(t->text) - t->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->n = t->n + n < sizeof(t->text) ? t->n + n : sizeof(t->text) - 1;
}

/* A line in one write, so that threads' lines do not mix. */
static void end(struct trace_call *t)
{
	if (t->n == sizeof(t->text) - 1)
		t->n--;
	t->text[t->n++] = '\n';
	(void)!syscall(SYS_write, out, t->text, t->n);
}

/* Copies from the program's memory. Returns whether all of it was there. */
static bool peek(void *dst, const void *src, size_t n)
{
	struct iovec local = { .iov_base = dst, .iov_len = n };
	struct iovec remote = { .iov_base = (void *)src, .iov_len = n };

	return syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0) == (long)n;
}

/* ---- members of structs ---- */

enum how { HOW_HEX = 1, HOW_DEC, HOW_NAME, HOW_FLAGS, HOW_SEGMENT, HOW_TABLE };

struct field {
	const char *name;	/* NULL ends a list */
	unsigned short offset;
	unsigned char size;	/* of a number; negative ones are of 4 bytes */
	unsigned char how;
	const struct trace_name *names;
};

#define FIELD(type, member, how, names)						\
	{ #member, offsetof(struct type, member), sizeof(((struct type *)0)->member), how, names }
#define HEX(type, member)		FIELD(type, member, HOW_HEX, NULL)
#define DEC(type, member)		FIELD(type, member, HOW_DEC, NULL)
#define NAME(type, member, names)	FIELD(type, member, HOW_NAME, names)
#define FLAGS(type, member, names)	FIELD(type, member, HOW_FLAGS, names)
#define SEGMENT(type, member)		FIELD(type, member, HOW_SEGMENT, NULL)
#define TABLE(type, member)		FIELD(type, member, HOW_TABLE, NULL)
#define END				{ .name = NULL }

static void add_name(struct trace_call *t, const struct trace_name *names, unsigned long value)
{
	const char *name = trace_find(names, value);

	if (name)
		add(t, "%s", name);
	else
		add(t, "%#lx", value);
}

static void add_flags(struct trace_call *t, const struct trace_name *names, unsigned long value)
{
	const char *separator = "";

	for (; names->name; names++) {
		if (!names->value || (value & names->value) != names->value)
			continue;
		add(t, "%s%s", separator, names->name);
		separator = "|";
		value &= ~names->value;
	}
	if (value || !*separator)
		add(t, *separator ? "|%#lx" : "%#lx", value);
}

static void add_field(struct trace_call *t, const struct field *f, const void *data)
{
	const char *p = (const char *)data + f->offset;
	unsigned long value = 0;
	struct kvm_segment s;
	struct kvm_dtable d;

	add(t, "%s=", f->name);
	switch (f->how) {
	case HOW_SEGMENT:
		memcpy(&s, p, sizeof(s));
		add(t, "{%#x, base=%#llx, limit=%#x, type=%u, dpl=%u%s%s%s%s}", s.selector, s.base, s.limit,
		    s.type, s.dpl, s.present ? ", present" : "", s.l ? ", l" : "", s.db ? ", db" : "",
		    s.unusable ? ", unusable" : "");
		return;
	case HOW_TABLE:
		memcpy(&d, p, sizeof(d));
		add(t, "{%#llx, %#x}", d.base, d.limit);
		return;
	}
	memcpy(&value, p, f->size < sizeof(value) ? f->size : sizeof(value));
	switch (f->how) {
	case HOW_HEX:
		add(t, "%#lx", value);
		break;
	case HOW_DEC:
		add(t, "%ld", f->size == 4 ? (long)(int)value : (long)value);
		break;
	case HOW_NAME:
		add_name(t, f->names, value);
		break;
	case HOW_FLAGS:
		add_flags(t, f->names, value);
		break;
	}
}

static void add_fields(struct trace_call *t, const struct field *f, const void *data)
{
	const char *separator = "{";

	for (; f->name; f++) {
		add(t, "%s", separator);
		add_field(t, f, data);
		separator = ", ";
	}
	add(t, "}");
}

static const struct field slot_fields[] = {
	DEC(kvm_userspace_memory_region, slot), FLAGS(kvm_userspace_memory_region, flags, trace_slot_flags),
	HEX(kvm_userspace_memory_region, guest_phys_addr), HEX(kvm_userspace_memory_region, memory_size),
	HEX(kvm_userspace_memory_region, userspace_addr), END
};
static const struct field dirty_log_fields[] = {
	DEC(kvm_dirty_log, slot), HEX(kvm_dirty_log, dirty_bitmap), END
};
static const struct field clear_log_fields[] = {
	DEC(kvm_clear_dirty_log, slot), DEC(kvm_clear_dirty_log, num_pages),
	DEC(kvm_clear_dirty_log, first_page), END
};
static const struct field zone_fields[] = {
	HEX(kvm_coalesced_mmio_zone, addr), HEX(kvm_coalesced_mmio_zone, size),
	DEC(kvm_coalesced_mmio_zone, pio), END
};
static const struct field line_fields[] = {
	DEC(kvm_irq_level, irq), DEC(kvm_irq_level, level), END
};
static const struct field line_status_fields[] = { DEC(kvm_irq_level, status), END };
static const struct field irqfd_fields[] = {
	DEC(kvm_irqfd, fd), DEC(kvm_irqfd, gsi), FLAGS(kvm_irqfd, flags, trace_irqfd_flags),
	DEC(kvm_irqfd, resamplefd), END
};
static const struct field ioeventfd_fields[] = {
	DEC(kvm_ioeventfd, fd), HEX(kvm_ioeventfd, addr), DEC(kvm_ioeventfd, len),
	HEX(kvm_ioeventfd, datamatch), FLAGS(kvm_ioeventfd, flags, trace_ioeventfd_flags), END
};
static const struct field hv_eventfd_fields[] = {
	HEX(kvm_hyperv_eventfd, conn_id), DEC(kvm_hyperv_eventfd, fd), HEX(kvm_hyperv_eventfd, flags), END
};
static const struct field msi_fields[] = {
	HEX(kvm_msi, address_lo), HEX(kvm_msi, address_hi), HEX(kvm_msi, data), HEX(kvm_msi, flags), END
};
static const struct field cap_fields[] = {
	NAME(kvm_enable_cap, cap, trace_caps), HEX(kvm_enable_cap, flags), HEX(kvm_enable_cap, args[0]),
	HEX(kvm_enable_cap, args[1]), END
};
static const struct field chip_fields[] = { NAME(kvm_irqchip, chip_id, trace_chips), END };
static const struct field pit_config_fields[] = { HEX(kvm_pit_config, flags), END };
static const struct field pit_fields[] = {
	DEC(kvm_pit_state2, channels[0].count), DEC(kvm_pit_state2, channels[0].mode),
	DEC(kvm_pit_state2, channels[2].count), DEC(kvm_pit_state2, channels[2].mode),
	HEX(kvm_pit_state2, flags), END
};
static const struct field reinject_fields[] = { DEC(kvm_reinject_control, pit_reinject), END };
static const struct field clock_fields[] = {
	DEC(kvm_clock_data, clock), FLAGS(kvm_clock_data, flags, trace_clock_flags), END
};
static const struct field regs_fields[] = {
	HEX(kvm_regs, rax), HEX(kvm_regs, rbx), HEX(kvm_regs, rcx), HEX(kvm_regs, rdx), HEX(kvm_regs, rsi),
	HEX(kvm_regs, rdi), HEX(kvm_regs, rsp), HEX(kvm_regs, rbp), HEX(kvm_regs, r8), HEX(kvm_regs, r9),
	HEX(kvm_regs, r10), HEX(kvm_regs, r11), HEX(kvm_regs, r12), HEX(kvm_regs, r13), HEX(kvm_regs, r14),
	HEX(kvm_regs, r15), HEX(kvm_regs, rip), HEX(kvm_regs, rflags), END
};
static const struct field sregs_fields[] = {
	SEGMENT(kvm_sregs, cs), SEGMENT(kvm_sregs, ds), SEGMENT(kvm_sregs, es), SEGMENT(kvm_sregs, fs),
	SEGMENT(kvm_sregs, gs), SEGMENT(kvm_sregs, ss), SEGMENT(kvm_sregs, tr), SEGMENT(kvm_sregs, ldt),
	TABLE(kvm_sregs, gdt), TABLE(kvm_sregs, idt), HEX(kvm_sregs, cr0), HEX(kvm_sregs, cr2),
	HEX(kvm_sregs, cr3), HEX(kvm_sregs, cr4), HEX(kvm_sregs, cr8), HEX(kvm_sregs, efer),
	HEX(kvm_sregs, apic_base), END
};
static const struct field sregs2_fields[] = {
	SEGMENT(kvm_sregs2, cs), SEGMENT(kvm_sregs2, ds), SEGMENT(kvm_sregs2, es), SEGMENT(kvm_sregs2, fs),
	SEGMENT(kvm_sregs2, gs), SEGMENT(kvm_sregs2, ss), SEGMENT(kvm_sregs2, tr), SEGMENT(kvm_sregs2, ldt),
	TABLE(kvm_sregs2, gdt), TABLE(kvm_sregs2, idt), HEX(kvm_sregs2, cr0), HEX(kvm_sregs2, cr2),
	HEX(kvm_sregs2, cr3), HEX(kvm_sregs2, cr4), HEX(kvm_sregs2, cr8), HEX(kvm_sregs2, efer),
	HEX(kvm_sregs2, apic_base), HEX(kvm_sregs2, flags), END
};
static const struct field fpu_fields[] = {
	HEX(kvm_fpu, fcw), HEX(kvm_fpu, fsw), HEX(kvm_fpu, ftwx), HEX(kvm_fpu, last_ip), HEX(kvm_fpu, mxcsr),
	END
};
/* Offsets into the area are XSAVE's. */
static const struct field xsave_fields[] = {
	{ "fcw", 0, 2, HOW_HEX, NULL }, { "mxcsr", 24, 4, HOW_HEX, NULL },
	{ "xstate_bv", 512, 8, HOW_HEX, NULL }, END
};
static const struct field xcrs_fields[] = {
	DEC(kvm_xcrs, nr_xcrs), DEC(kvm_xcrs, xcrs[0].xcr), HEX(kvm_xcrs, xcrs[0].value), END
};
static const struct field debugregs_fields[] = {
	HEX(kvm_debugregs, db[0]), HEX(kvm_debugregs, db[1]), HEX(kvm_debugregs, db[2]),
	HEX(kvm_debugregs, db[3]), HEX(kvm_debugregs, dr6), HEX(kvm_debugregs, dr7), END
};
/* Offsets into the page are the local APIC's. */
static const struct field lapic_fields[] = {
	{ "id", 0x20, 4, HOW_HEX, NULL }, { "tpr", 0x80, 4, HOW_HEX, NULL },
	{ "ldr", 0xd0, 4, HOW_HEX, NULL }, { "dfr", 0xe0, 4, HOW_HEX, NULL },
	{ "svr", 0xf0, 4, HOW_HEX, NULL }, { "icr", 0x300, 4, HOW_HEX, NULL },
	{ "lvtt", 0x320, 4, HOW_HEX, NULL }, { "lint0", 0x350, 4, HOW_HEX, NULL },
	{ "lint1", 0x360, 4, HOW_HEX, NULL }, { "tmict", 0x380, 4, HOW_HEX, NULL },
	{ "tmcct", 0x390, 4, HOW_HEX, NULL }, { "tdcr", 0x3e0, 4, HOW_HEX, NULL }, END
};
static const struct field tpr_fields[] = {
	DEC(kvm_tpr_access_ctl, enabled), HEX(kvm_tpr_access_ctl, flags), END
};
static const struct field vapic_fields[] = { HEX(kvm_vapic_addr, vapic_addr), END };
static const struct field events_fields[] = {
	DEC(kvm_vcpu_events, exception.injected), DEC(kvm_vcpu_events, exception.pending),
	DEC(kvm_vcpu_events, exception.nr), HEX(kvm_vcpu_events, exception.error_code),
	DEC(kvm_vcpu_events, interrupt.injected), DEC(kvm_vcpu_events, interrupt.nr),
	DEC(kvm_vcpu_events, interrupt.shadow), DEC(kvm_vcpu_events, nmi.injected),
	DEC(kvm_vcpu_events, nmi.pending), DEC(kvm_vcpu_events, nmi.masked),
	HEX(kvm_vcpu_events, sipi_vector), FLAGS(kvm_vcpu_events, flags, trace_event_flags), END
};
static const struct field mp_state_fields[] = { NAME(kvm_mp_state, mp_state, trace_mp_states), END };
static const struct field interrupt_fields[] = { HEX(kvm_interrupt, irq), END };
static const struct field debug_fields[] = {
	FLAGS(kvm_guest_debug, control, trace_debug_flags), HEX(kvm_guest_debug, arch.debugreg[0]),
	HEX(kvm_guest_debug, arch.debugreg[1]), HEX(kvm_guest_debug, arch.debugreg[2]),
	HEX(kvm_guest_debug, arch.debugreg[3]), HEX(kvm_guest_debug, arch.debugreg[7]), END
};
static const struct field translation_in_fields[] = { HEX(kvm_translation, linear_address), END };
static const struct field translation_fields[] = {
	HEX(kvm_translation, physical_address), DEC(kvm_translation, valid), END
};
static const struct field mce_fields[] = {
	DEC(kvm_x86_mce, bank), HEX(kvm_x86_mce, status), HEX(kvm_x86_mce, mcg_status),
	HEX(kvm_x86_mce, addr), HEX(kvm_x86_mce, misc), END
};
static const struct field attr_fields[] = {
	DEC(kvm_device_attr, group), DEC(kvm_device_attr, attr), HEX(kvm_device_attr, addr), END
};
static const struct field device_fields[] = {
	DEC(kvm_create_device, type), HEX(kvm_create_device, flags), END
};
static const struct field number_fields[] = { { "value", 0, 8, HOW_HEX, NULL }, END };

/* ---- lists ---- */

static void add_cpuid(struct trace_call *t, const void *arg)
{
	const struct kvm_cpuid2 *list = arg;
	struct kvm_cpuid_entry2 e;
	struct kvm_cpuid2 head;

	if (!peek(&head, list, sizeof(head)))
		return;
	add(t, "{nent=%u", head.nent);
	for (unsigned int i = 0; i < head.nent && i < LIST_MAX && peek(&e, list->entries + i, sizeof(e)); i++) {
		add(t, ", {%#x", e.function);
		if (e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
			add(t, ".%u", e.index);
		add(t, ": %#x, %#x, %#x, %#x}", e.eax, e.ebx, e.ecx, e.edx);
	}
	add(t, head.nent > LIST_MAX ? ", …}" : "}");
}

/* How many there are: all that is known of a list before it is filled. */
static void add_count(struct trace_call *t, const void *arg)
{
	unsigned int n;

	if (peek(&n, arg, sizeof(n)))
		add(t, "{n=%u}", n);
}

static void add_msr_list(struct trace_call *t, const void *arg, bool values)
{
	const struct kvm_msrs *list = arg;
	struct kvm_msr_entry e;
	struct kvm_msrs head;

	if (!peek(&head, list, sizeof(head)))
		return;
	add(t, "{nmsrs=%u", head.nmsrs);
	for (unsigned int i = 0; i < head.nmsrs && i < LIST_MAX && peek(&e, list->entries + i, sizeof(e)); i++) {
		add(t, ", ");
		add_name(t, trace_msrs, e.index);
		if (values)
			add(t, "=%#llx", e.data);
	}
	add(t, head.nmsrs > LIST_MAX ? ", …}" : "}");
}

static void add_msr_values(struct trace_call *t, const void *arg)
{
	add_msr_list(t, arg, true);
}

static void add_msr_names(struct trace_call *t, const void *arg)
{
	add_msr_list(t, arg, false);
}

static void add_routes(struct trace_call *t, const void *arg)
{
	const struct kvm_irq_routing *list = arg;
	struct kvm_irq_routing_entry e;
	struct kvm_irq_routing head;
	unsigned int i, shown = 0;

	if (!peek(&head, list, sizeof(head)))
		return;
	add(t, "{nr=%u", head.nr);
	for (i = 0; i < head.nr && shown < LIST_MAX && peek(&e, list->entries + i, sizeof(e)); i++) {
		/* Those of a PC's pins are always the same. */
		if (e.type == KVM_IRQ_ROUTING_IRQCHIP)
			continue;
		add(t, ", {gsi=%u, ", e.gsi);
		add_name(t, trace_route_types, e.type);
		if (e.type == KVM_IRQ_ROUTING_MSI)
			add(t, ", address=%#x%08x, data=%#x", e.u.msi.address_hi, e.u.msi.address_lo,
			    e.u.msi.data);
		if (e.type == KVM_IRQ_ROUTING_HV_SINT)
			add(t, ", vcpu=%u, sint=%u", e.u.hv_sint.vcpu, e.u.hv_sint.sint);
		add(t, "}");
		shown++;
	}
	add(t, i < head.nr ? ", …}" : "}");
}

/* ---- KVM_RUN ---- */

static void add_bytes(struct trace_call *t, const unsigned char *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add(t, "%s%02x", i ? " " : "", data[i]);
}

static void add_io(struct trace_call *t, int fd, const struct kvm_run *run)
{
	unsigned char data[16];
	size_t n = (size_t)run->io.size * run->io.count;
	size_t shown = n < sizeof(data) ? n : sizeof(data);

	add(t, ", %s port=%#x, size=%u", run->io.direction == KVM_EXIT_IO_OUT ? "out" : "in", run->io.port,
	    run->io.size);
	if (run->io.count != 1)
		add(t, ", count=%u", run->io.count);
	if (run->io.direction != KVM_EXIT_IO_OUT ||
	    syscall(SYS_pread64, fd, data, shown, run->io.data_offset) != (long)shown)
		return;
	add(t, ", data=");
	add_bytes(t, data, shown);
	if (shown < n)
		add(t, " …");
}

/* The vCPU's descriptor is a file with struct kvm_run at its beginning. */
static void add_exit(struct trace_call *t, int fd)
{
	struct kvm_run run;

	if (syscall(SYS_pread64, fd, &run, sizeof(run), 0) != sizeof(run))
		return;
	add(t, " {");
	add_name(t, trace_exits, run.exit_reason);
	switch (run.exit_reason) {
	case KVM_EXIT_IO:
		add_io(t, fd, &run);
		break;
	case KVM_EXIT_MMIO:
		add(t, ", %s %#llx, len=%u", run.mmio.is_write ? "write" : "read", run.mmio.phys_addr,
		    run.mmio.len);
		if (run.mmio.is_write && run.mmio.len <= sizeof(run.mmio.data)) {
			add(t, ", data=");
			add_bytes(t, run.mmio.data, run.mmio.len);
		}
		break;
	case KVM_EXIT_DEBUG:
		add(t, ", exception=%u, pc=%#llx, dr6=%#llx, dr7=%#llx", run.debug.arch.exception,
		    run.debug.arch.pc, run.debug.arch.dr6, run.debug.arch.dr7);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		add(t, ", reason=%#llx", run.fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		add(t, ", suberror=%u", run.internal.suberror);
		for (unsigned int i = 0; i < run.internal.ndata && i < ARRAY_SIZE(run.internal.data); i++)
			add(t, ", %#llx", run.internal.data[i]);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		add(t, ", ");
		add_name(t, trace_system_events, run.system_event.type);
		break;
	case KVM_EXIT_HYPERCALL:
		add(t, ", nr=%llu, %#llx, %#llx, %#llx", run.hypercall.nr, run.hypercall.args[0],
		    run.hypercall.args[1], run.hypercall.args[2]);
		break;
	case KVM_EXIT_HYPERV:
		if (run.hyperv.type == KVM_EXIT_HYPERV_HCALL)
			add(t, ", input=%#llx, params=%#llx,%#llx", run.hyperv.u.hcall.input,
			    run.hyperv.u.hcall.params[0], run.hyperv.u.hcall.params[1]);
		else if (run.hyperv.type == KVM_EXIT_HYPERV_SYNIC)
			add(t, ", msr=%#x, control=%#llx, evt_page=%#llx, msg_page=%#llx", run.hyperv.u.synic.msr,
			    run.hyperv.u.synic.control, run.hyperv.u.synic.evt_page, run.hyperv.u.synic.msg_page);
		break;
	case KVM_EXIT_IOAPIC_EOI:
		add(t, ", vector=%#x", run.eoi.vector);
		break;
	case KVM_EXIT_TPR_ACCESS:
		add(t, ", rip=%#llx, %s", run.tpr_access.rip, run.tpr_access.is_write ? "write" : "read");
		break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		add(t, ", ");
		add_name(t, trace_msrs, run.msr.index);
		if (run.exit_reason == KVM_EXIT_X86_WRMSR)
			add(t, "=%#llx", run.msr.data);
		break;
	}
	add(t, "}");
}

/* ---- ioctls ---- */

enum arg { ARG_NONE, ARG_DEC, ARG_HEX, ARG_CAP, ARG_POINTER };

struct call {
	unsigned int request;
	const char *name;
	unsigned char arg;
	unsigned short size;			/* of what the pointer points to */
	const struct field *in, *out;		/* members of it; or: */
	void (*in_fn)(struct trace_call *t, const void *arg);
	void (*out_fn)(struct trace_call *t, const void *arg);
};

#define CALL(request, arg)		{ request, #request, arg, 0, NULL, NULL, NULL, NULL }
#define STRUCT(request, type, in, out)	{ request, #request, ARG_POINTER, sizeof(type), in, out, NULL, NULL }
#define LIST(request, in, out)		{ request, #request, ARG_POINTER, 0, NULL, NULL, in, out }

_Static_assert(sizeof(struct kvm_lapic_state) <= STRUCT_MAX, "copied whole");

static const struct call calls[] = {
	CALL(KVM_GET_API_VERSION, ARG_NONE),
	CALL(KVM_CREATE_VM, ARG_DEC),
	CALL(KVM_CHECK_EXTENSION, ARG_CAP),
	CALL(KVM_GET_VCPU_MMAP_SIZE, ARG_NONE),
	CALL(KVM_CREATE_VCPU, ARG_DEC),
	CALL(KVM_SET_BOOT_CPU_ID, ARG_DEC),
	CALL(KVM_SET_NR_MMU_PAGES, ARG_DEC),
	CALL(KVM_GET_NR_MMU_PAGES, ARG_NONE),
	CALL(KVM_SET_TSS_ADDR, ARG_HEX),
	CALL(KVM_CREATE_IRQCHIP, ARG_NONE),
	CALL(KVM_CREATE_PIT, ARG_NONE),
	CALL(KVM_SET_TSC_KHZ, ARG_DEC),
	CALL(KVM_GET_TSC_KHZ, ARG_NONE),
	CALL(KVM_RUN, ARG_NONE),
	CALL(KVM_NMI, ARG_NONE),
	CALL(KVM_SMI, ARG_NONE),
	CALL(KVM_KVMCLOCK_CTRL, ARG_NONE),
	CALL(KVM_RESET_DIRTY_RINGS, ARG_NONE),
	CALL(KVM_GET_STATS_FD, ARG_NONE),
	CALL(KVM_SET_SIGNAL_MASK, ARG_HEX),
	CALL(KVM_X86_SET_MSR_FILTER, ARG_HEX),
	CALL(KVM_GET_NESTED_STATE, ARG_HEX),
	CALL(KVM_SET_NESTED_STATE, ARG_HEX),
	CALL(KVM_XEN_HVM_CONFIG, ARG_HEX),
	CALL(KVM_MEMORY_ENCRYPT_OP, ARG_HEX),

	LIST(KVM_GET_MSR_INDEX_LIST, add_count, add_count),
	LIST(KVM_GET_MSR_FEATURE_INDEX_LIST, add_count, add_count),
	LIST(KVM_GET_SUPPORTED_CPUID, add_count, add_cpuid),
	LIST(KVM_GET_EMULATED_CPUID, add_count, add_cpuid),
	LIST(KVM_GET_SUPPORTED_HV_CPUID, add_count, add_cpuid),
	LIST(KVM_SET_CPUID, add_count, NULL),
	LIST(KVM_SET_CPUID2, add_cpuid, NULL),
	LIST(KVM_GET_CPUID2, add_count, add_cpuid),
	LIST(KVM_GET_MSRS, add_msr_names, add_msr_values),
	LIST(KVM_SET_MSRS, add_msr_values, NULL),
	LIST(KVM_SET_GSI_ROUTING, add_routes, NULL),

	STRUCT(KVM_SET_USER_MEMORY_REGION, struct kvm_userspace_memory_region, slot_fields, NULL),
	STRUCT(KVM_GET_DIRTY_LOG, struct kvm_dirty_log, dirty_log_fields, NULL),
	STRUCT(KVM_CLEAR_DIRTY_LOG, struct kvm_clear_dirty_log, clear_log_fields, NULL),
	STRUCT(KVM_REGISTER_COALESCED_MMIO, struct kvm_coalesced_mmio_zone, zone_fields, NULL),
	STRUCT(KVM_UNREGISTER_COALESCED_MMIO, struct kvm_coalesced_mmio_zone, zone_fields, NULL),
	STRUCT(KVM_SET_IDENTITY_MAP_ADDR, __u64, number_fields, NULL),
	STRUCT(KVM_IRQ_LINE, struct kvm_irq_level, line_fields, NULL),
	STRUCT(KVM_IRQ_LINE_STATUS, struct kvm_irq_level, line_fields, line_status_fields),
	STRUCT(KVM_IRQFD, struct kvm_irqfd, irqfd_fields, NULL),
	STRUCT(KVM_IOEVENTFD, struct kvm_ioeventfd, ioeventfd_fields, NULL),
	STRUCT(KVM_HYPERV_EVENTFD, struct kvm_hyperv_eventfd, hv_eventfd_fields, NULL),
	STRUCT(KVM_SIGNAL_MSI, struct kvm_msi, msi_fields, NULL),
	STRUCT(KVM_ENABLE_CAP, struct kvm_enable_cap, cap_fields, NULL),
	STRUCT(KVM_GET_IRQCHIP, struct kvm_irqchip, chip_fields, NULL),
	STRUCT(KVM_SET_IRQCHIP, struct kvm_irqchip, chip_fields, NULL),
	STRUCT(KVM_CREATE_PIT2, struct kvm_pit_config, pit_config_fields, NULL),
	/* The older struct is the newer one's beginning, without its flags. */
	CALL(KVM_GET_PIT, ARG_HEX),
	CALL(KVM_SET_PIT, ARG_HEX),
	STRUCT(KVM_GET_PIT2, struct kvm_pit_state2, NULL, pit_fields),
	STRUCT(KVM_SET_PIT2, struct kvm_pit_state2, pit_fields, NULL),
	STRUCT(KVM_REINJECT_CONTROL, struct kvm_reinject_control, reinject_fields, NULL),
	STRUCT(KVM_GET_CLOCK, struct kvm_clock_data, NULL, clock_fields),
	STRUCT(KVM_SET_CLOCK, struct kvm_clock_data, clock_fields, NULL),
	STRUCT(KVM_GET_REGS, struct kvm_regs, NULL, regs_fields),
	STRUCT(KVM_SET_REGS, struct kvm_regs, regs_fields, NULL),
	STRUCT(KVM_GET_SREGS, struct kvm_sregs, NULL, sregs_fields),
	STRUCT(KVM_SET_SREGS, struct kvm_sregs, sregs_fields, NULL),
	STRUCT(KVM_GET_SREGS2, struct kvm_sregs2, NULL, sregs2_fields),
	STRUCT(KVM_SET_SREGS2, struct kvm_sregs2, sregs2_fields, NULL),
	STRUCT(KVM_GET_FPU, struct kvm_fpu, NULL, fpu_fields),
	STRUCT(KVM_SET_FPU, struct kvm_fpu, fpu_fields, NULL),
	{ KVM_GET_XSAVE, "KVM_GET_XSAVE", ARG_POINTER, 576, NULL, xsave_fields, NULL, NULL },
	{ KVM_GET_XSAVE2, "KVM_GET_XSAVE2", ARG_POINTER, 576, NULL, xsave_fields, NULL, NULL },
	{ KVM_SET_XSAVE, "KVM_SET_XSAVE", ARG_POINTER, 576, xsave_fields, NULL, NULL, NULL },
	STRUCT(KVM_GET_XCRS, struct kvm_xcrs, NULL, xcrs_fields),
	STRUCT(KVM_SET_XCRS, struct kvm_xcrs, xcrs_fields, NULL),
	STRUCT(KVM_GET_DEBUGREGS, struct kvm_debugregs, NULL, debugregs_fields),
	STRUCT(KVM_SET_DEBUGREGS, struct kvm_debugregs, debugregs_fields, NULL),
	STRUCT(KVM_GET_LAPIC, struct kvm_lapic_state, NULL, lapic_fields),
	STRUCT(KVM_SET_LAPIC, struct kvm_lapic_state, lapic_fields, NULL),
	STRUCT(KVM_TPR_ACCESS_REPORTING, struct kvm_tpr_access_ctl, tpr_fields, NULL),
	STRUCT(KVM_SET_VAPIC_ADDR, struct kvm_vapic_addr, vapic_fields, NULL),
	STRUCT(KVM_GET_VCPU_EVENTS, struct kvm_vcpu_events, NULL, events_fields),
	STRUCT(KVM_SET_VCPU_EVENTS, struct kvm_vcpu_events, events_fields, NULL),
	STRUCT(KVM_GET_MP_STATE, struct kvm_mp_state, NULL, mp_state_fields),
	STRUCT(KVM_SET_MP_STATE, struct kvm_mp_state, mp_state_fields, NULL),
	STRUCT(KVM_INTERRUPT, struct kvm_interrupt, interrupt_fields, NULL),
	STRUCT(KVM_SET_GUEST_DEBUG, struct kvm_guest_debug, debug_fields, NULL),
	STRUCT(KVM_TRANSLATE, struct kvm_translation, translation_in_fields, translation_fields),
	STRUCT(KVM_X86_SETUP_MCE, __u64, number_fields, NULL),
	STRUCT(KVM_X86_GET_MCE_CAP_SUPPORTED, __u64, NULL, number_fields),
	STRUCT(KVM_X86_SET_MCE, struct kvm_x86_mce, mce_fields, NULL),
	STRUCT(KVM_CREATE_DEVICE, struct kvm_create_device, device_fields, NULL),
	STRUCT(KVM_HAS_DEVICE_ATTR, struct kvm_device_attr, attr_fields, NULL),
	STRUCT(KVM_GET_DEVICE_ATTR, struct kvm_device_attr, attr_fields, NULL),
	STRUCT(KVM_SET_DEVICE_ATTR, struct kvm_device_attr, attr_fields, NULL),
};

static const struct call *find_call(unsigned int request)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].request == request)
			return &calls[i];
	return NULL;
}

/* What is behind the pointer, by the fields or the function. Nothing where it cannot be read. */
static void add_data(struct trace_call *t, const struct call *c, const void *arg, const struct field *fields,
		     void (*fn)(struct trace_call *t, const void *arg))
{
	unsigned long data[STRUCT_MAX / sizeof(unsigned long)];

	if (fn)
		fn(t, arg);
	else if (fields && peek(data, arg, c->size))
		add_fields(t, fields, data);
}

static void add_input(struct trace_call *t, const struct call *c, const void *arg)
{
	size_t before;

	switch (c->arg) {
	case ARG_DEC:
		add(t, ", %ld", (long)arg);
		break;
	case ARG_HEX:
		add(t, ", %#lx", (unsigned long)arg);
		break;
	case ARG_CAP:
		add(t, ", ");
		add_name(t, trace_caps, (unsigned long)arg);
		break;
	case ARG_POINTER:
		add(t, ", ");
		before = t->n;
		add_data(t, c, arg, c->in, c->in_fn);
		if (t->n == before)
			add(t, arg ? "%p" : "NULL", arg);
		break;
	}
}

void trace_open(int fd)
{
	struct trace_call t = { .n = 0 };

	if (!tracing())
		return;
	add(&t, "[%ld] open(\"/dev/kvm\") = %d", (long)syscall(SYS_gettid), fd);
	if (fd < 0)
		add(&t, " (%s)", strerror(-fd));
	end(&t);
}

void trace_enter(struct trace_call *t, int fd, unsigned long request, void *arg)
{
	const struct call *c;
	int saved = errno;

	t->n = 0;
	if (!tracing())
		return;
	c = find_call(request);
	add(t, "[%ld] ioctl(%d, ", (long)syscall(SYS_gettid), fd);
	if (c) {
		add(t, "%s", c->name);
		add_input(t, c, arg);
	} else {
		add(t, "KVM_%#lx, %p", _IOC_NR(request), arg);
	}
	errno = saved;
}

void trace_leave(struct trace_call *t, int fd, unsigned long request, void *arg, int result)
{
	const struct call *c;
	int saved = errno;

	if (!t->n)
		return;
	c = find_call(request);
	add(t, ") = %d", result);
	if (result < 0)
		add(t, " (%s)", strerror(-result));
	if (request == KVM_RUN) {
		add_exit(t, fd);
	} else if (result >= 0 && c && (c->out || c->out_fn)) {
		add(t, " ");
		add_data(t, c, arg, c->out, c->out_fn);
	}
	end(t);
	errno = saved;
}
