/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irqfd, ioeventfd, interrupt routing and the split interrupt chip: what connects a VM to device
 * threads without an exit. Documentation/virt/kvm/api.rst 4.52, 4.59, 4.75, 4.71.
 */
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	CHECK(fd >= 0);
	return fd;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	CHECK_EQ(write(fd, &one, 8), 8);
}

/* An eventfd's count, which is then 0. Waits a little: the other end may be another thread. */
static uint64_t count_of(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	if (poll(&p, 1, wait_ms) != 1)
		return 0;
	CHECK_EQ(read(fd, &n, 8), 8);
	return n;
}

static uint32_t events(struct vcpu *vcpu)
{
	return *var(vcpu->vm, "event_count");
}

static int irqfd(struct vm *vm, int fd, unsigned int gsi, int resample, unsigned int flags)
{
	struct kvm_irqfd i = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample };

	return TRY_KVM(vm->fd, KVM_IRQFD, &i);
}

/* An irqfd may be served by another thread: lets the guest look several times. */
static void expect_events(struct vcpu *vcpu, uint32_t want)
{
	for (int i = 0; i < 200 && events(vcpu) < want; i++) {
		run_to_sync(vcpu, 1);
		usleep(500);
	}
	for (int i = 0; i < 3; i++)
		run_to_sync(vcpu, 1);
	CHECK_EQ(events(vcpu), want);
}

static void irqfd_edge(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_wait");
	int fd = new_eventfd();

	run_to_sync(vcpu, 1);
	CHECK_EQ(irqfd(vcpu->vm, fd, 5, 0, 0), 0);
	signal_fd(fd);
	expect_events(vcpu, 1);
	signal_fd(fd);
	expect_events(vcpu, 2);
	CHECK_EQ(count_of(fd, 0), 0);		/* KVM has eaten it */
	CHECK_EQ(irqfd(vcpu->vm, fd, 5, 0, KVM_IRQFD_FLAG_DEASSIGN), 0);
	signal_fd(fd);
	expect_events(vcpu, 2);
	CHECK_EQ(count_of(fd, 0), 1);
}

/* What was signalled before the irqfd was there comes too. */
static void irqfd_pending(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_wait");
	int fd = new_eventfd();

	run_to_sync(vcpu, 1);
	signal_fd(fd);
	CHECK_EQ(irqfd(vcpu->vm, fd, 5, 0, 0), 0);
	expect_events(vcpu, 1);
}

static void irqfd_level(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_wait");
	int fd = new_eventfd(), resample = new_eventfd();

	NEED_CAP(vcpu->vm, KVM_CAP_IRQFD_RESAMPLE);
	run_to_sync(vcpu, 1);
	CHECK_EQ(irqfd(vcpu->vm, fd, 6, resample, KVM_IRQFD_FLAG_RESAMPLE), 0);
	CHECK_EQ(count_of(resample, 0), 0);
	signal_fd(fd);
	expect_events(vcpu, 1);
	/* EOI lowered the line and told us; the device still wants service, so it says so again. */
	CHECK_EQ(count_of(resample, 1000), 1);
	signal_fd(fd);
	expect_events(vcpu, 2);
	CHECK_EQ(count_of(resample, 1000), 1);
	expect_events(vcpu, 2);
}

static void irqfd_bad(void)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	int fd = new_eventfd();

	CHECK_EQ(-irqfd(vm, fd, 5, 0, 0x80), EINVAL);
	CHECK_EQ(-irqfd(vm, -1, 5, 0, 0), EBADF);
	CHECK_EQ(irqfd(vm, fd, 5, 0, 0), 0);
	CHECK_EQ(-irqfd(vm, fd, 6, 0, 0), EBUSY);
}

static void *signal_ten(void *arg)
{
	struct vcpu *vcpu = ((void **)arg)[0];
	int fd = *(int *)((void **)arg)[1];

	for (uint32_t i = 0; i < 10; i++) {
		while (__atomic_load_n(var(vcpu->vm, "event_count"), __ATOMIC_ACQUIRE) < i)
			usleep(100);
		signal_fd(fd);
	}
	return NULL;
}

static void irqfd_hlt(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_hlt");
	int fd = new_eventfd();
	void *arg[] = { vcpu, &fd };
	pthread_t thread;

	run_to_sync(vcpu, 1);
	CHECK_EQ(irqfd(vcpu->vm, fd, 5, 0, 0), 0);
	CHECK_EQ(pthread_create(&thread, NULL, signal_ten, arg), 0);
	run_to_pass(vcpu);
	pthread_join(thread, NULL);
}

/* ---- Routing --------------------------------------------------------------------------- */

static int route(struct vm *vm, unsigned int n, const struct kvm_irq_routing_entry *entries)
{
	struct {
		struct kvm_irq_routing header;
		struct kvm_irq_routing_entry entries[8];
	} table = { .header.nr = n };

	memcpy(table.header.entries, entries, n * sizeof(*entries));
	return TRY_KVM(vm->fd, KVM_SET_GSI_ROUTING, &table);
}

static struct kvm_irq_routing_entry msi_route(unsigned int gsi, uint32_t data)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = data },
	};
}

static void routing_msi(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_wait");
	struct kvm_irq_routing_entry entry = msi_route(30, 0x50);
	int fd = new_eventfd();

	NEED_CAP(vcpu->vm, KVM_CAP_IRQ_ROUTING);
	run_to_sync(vcpu, 1);
	CHECK_EQ(route(vcpu->vm, 1, &entry), 0);
	CHECK_EQ(irqfd(vcpu->vm, fd, 30, 0, 0), 0);
	signal_fd(fd);
	expect_events(vcpu, 1);
	/* The new table has replaced the old: pin 5 goes nowhere. */
	irq_line(vcpu->vm, 5, 1);
	expect_events(vcpu, 1);
	/* A route changed under an irqfd. */
	entry = msi_route(30, 0x45);
	CHECK_EQ(route(vcpu->vm, 1, &entry), 0);
	signal_fd(fd);
	expect_events(vcpu, 2);
}

static void routing_pin(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_wait");
	struct kvm_irq_routing_entry entry = {
		.gsi = 3, .type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = 5 },
	};

	NEED_CAP(vcpu->vm, KVM_CAP_IRQ_ROUTING);
	run_to_sync(vcpu, 1);
	CHECK_EQ(route(vcpu->vm, 1, &entry), 0);
	irq_line(vcpu->vm, 3, 1);
	irq_line(vcpu->vm, 3, 0);
	expect_events(vcpu, 1);
	entry.u.irqchip.pin = 99;
	CHECK_EQ(-route(vcpu->vm, 1, &entry), EINVAL);
	entry.u.irqchip.pin = 5;
	entry.type = 77;
	CHECK_EQ(-route(vcpu->vm, 1, &entry), EINVAL);
}

/* KVM_SIGNAL_MSI says how many took it: none, with no such APIC. */
static void signal_msi(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_wait");
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x50 };

	run_to_sync(vcpu, 1);
	CHECK_EQ(TRY_KVM(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	expect_events(vcpu, 1);
	msi.address_lo = 0xfee09000;
	CHECK(TRY_KVM(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi) <= 0);
	expect_events(vcpu, 1);
	msi.address_lo = 0xfee00000;
	msi.flags = 0x80;
	CHECK_EQ(-TRY_KVM(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi), EINVAL);
}

#define CODE	(SCRATCH + 0x2000)

/* What is told of, where the provider wants to be told. */
static void *writer(void *arg)
{
	static const struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x50 };
	const struct ram_range ranges[] = { { 0, 0 }, { CODE - 4096, 4097 + 4 } };
	struct vm *vm = arg;

	for (uint32_t n = 1; n <= 500; n++) {
		memcpy(memory(vm, CODE + 1, 4), &n, 4);
		if (vm->tell)
			provider->memory_written(vm->fd, ranges, 2);
		TRY_KVM(vm->fd, KVM_SIGNAL_MSI, &msi);
		for (unsigned int i = 0; i < 100000 && *(volatile uint32_t *)var(vm, "event_count") != n; i++)
			usleep(20);
	}
	return NULL;
}

static void written(bool tell)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_written");
	pthread_t thread;

	vcpu->vm->tell = tell && provider->memory_written;
	if (vcpu->vm->tell)
		provider->memory_written(vcpu->vm->fd, NULL, 0);
	run_to_sync(vcpu, 1);
	CHECK_EQ(pthread_create(&thread, NULL, writer, vcpu->vm), 0);
	run_to_pass(vcpu);
}

static void written_silently(void)
{
	written(false);
}

static void written_and_told(void)
{
	written(true);
}

/* KVM_IRQ_LINE_STATUS: more than 0 delivered, 0 where the line was high already. */
static void line_status(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_wait");
	struct kvm_irq_level line = { .irq = 5, .level = 1 };

	run_to_sync(vcpu, 1);
	KVM(vcpu->vm->fd, KVM_IRQ_LINE_STATUS, &line);
	CHECK(line.status >= 1);
	line = (struct kvm_irq_level){ .irq = 5, .level = 1 };
	KVM(vcpu->vm->fd, KVM_IRQ_LINE_STATUS, &line);
	CHECK_EQ(line.status, 0);
	expect_events(vcpu, 1);
}

/* ---- Split chip ------------------------------------------------------------------------ */

static void split(void)
{
	struct vcpu *vcpu = guest(VM_SPLIT, MODE_LONG, "event_split");
	struct kvm_irq_routing_entry entries[2] = { msi_route(0, 0x50), msi_route(6, 0xc046) };
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0xc046 };
	int fd = new_eventfd(), r;

	/* User space's I/O APIC pins are the first 24 routes; a level one wants its EOI told. */
	CHECK_EQ(route(vcpu->vm, 2, entries), 0);
	CHECK_EQ(irqfd(vcpu->vm, fd, 0, 0, 0), 0);
	run_to_sync(vcpu, 1);
	signal_fd(fd);
	expect_events(vcpu, 1);
	CHECK_EQ(TRY_KVM(vcpu->vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	for (int i = 0; (r = run(vcpu)) == GUEST_SYNC && i < 3; i++)
		;
	CHECK_EQ(r, KVM_EXIT_IOAPIC_EOI);
	CHECK_EQ(vcpu->run->eoi.vector, 0x46);
	CHECK_EQ(events(vcpu), 2);
	run_to_sync(vcpu, 1);
	CHECK_EQ(-TRY_KVM(vcpu->vm->fd, KVM_CREATE_IRQCHIP, 0), EEXIST);
}

/* The PIC is user space's: its interrupt goes in by KVM_INTERRUPT, one at a time. */
static void split_pic(void)
{
	struct vcpu *vcpu = guest(VM_SPLIT, MODE_LONG, "run_window");
	struct kvm_interrupt irq = { .irq = 0x50 };
	struct kvm_lapic_state lapic;

	KVM(vcpu->fd, KVM_GET_LAPIC, &lapic);
	*(uint32_t *)(lapic.regs + 0x350) = 0x700;	/* LVT0: ExtINT */
	*(uint32_t *)(lapic.regs + 0xf0) = 0x1ff;
	KVM(vcpu->fd, KVM_SET_LAPIC, &lapic);
	run_to_sync(vcpu, 1);
	vcpu->run->request_interrupt_window = 1;
	run_to_exit(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	vcpu->run->request_interrupt_window = 0;
	KVM(vcpu->fd, KVM_INTERRUPT, &irq);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_INTERRUPT, &irq), EEXIST);
	run_to_sync(vcpu, 2);
	CHECK_EQ(*var(vcpu->vm, "run_count"), 1);
}

/* ---- ioeventfd ------------------------------------------------------------------------- */

static int ioeventfd(struct vm *vm, int fd, uint64_t addr, uint32_t len, uint32_t flags,
		     uint64_t data)
{
	struct kvm_ioeventfd i = { .fd = fd, .addr = addr, .len = len, .flags = flags,
				   .datamatch = data };

	return TRY_KVM(vm->fd, KVM_IOEVENTFD, &i);
}

#define PIO	KVM_IOEVENTFD_FLAG_PIO
#define MATCH	KVM_IOEVENTFD_FLAG_DATAMATCH

static void ioeventfds(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "event_out");
	int port = new_eventfd(), match = new_eventfd(), any = new_eventfd();
	int mmio = new_eventfd(), mmio_match = new_eventfd(), mmio_any = new_eventfd();
	struct vm *vm = vcpu->vm;

	NEED_CAP(vm, KVM_CAP_IOEVENTFD_ANY_LENGTH);
	CHECK_EQ(ioeventfd(vm, port, 0xe0, 2, PIO, 0), 0);
	CHECK_EQ(ioeventfd(vm, match, 0xe2, 1, PIO | MATCH, 0x55), 0);
	CHECK_EQ(ioeventfd(vm, any, 0xe4, 0, PIO, 0), 0);
	CHECK_EQ(ioeventfd(vm, mmio, MMIO, 4, 0, 0), 0);
	CHECK_EQ(ioeventfd(vm, mmio_match, MMIO + 8, 4, MATCH, 0x77), 0);
	CHECK_EQ(ioeventfd(vm, mmio_any, MMIO + 0x10, 0, 0, 0), 0);

	run_to_exit(vcpu, KVM_EXIT_IO);		/* 1 byte at 0xe0 */
	CHECK_EQ(vcpu->run->io.size, 1);
	run_to_exit(vcpu, KVM_EXIT_IO);		/* 0x56 at 0xe2 */
	CHECK_EQ(vcpu->run->io.port, 0xe2);
	run_to_sync(vcpu, 1);
	CHECK_EQ(count_of(port, 0), 1);
	CHECK_EQ(count_of(match, 0), 1);
	CHECK_EQ(count_of(any, 0), 2);

	run_to_exit(vcpu, KVM_EXIT_MMIO);	/* 2 bytes */
	CHECK_EQ(vcpu->run->mmio.len, 2);
	run_to_exit(vcpu, KVM_EXIT_MMIO);	/* 0x78 */
	CHECK_EQ(vcpu->run->mmio.phys_addr, MMIO + 8);
	run_to_exit(vcpu, KVM_EXIT_MMIO);	/* the read */
	CHECK_EQ(vcpu->run->mmio.is_write, 0);
	run_to_sync(vcpu, 2);
	CHECK_EQ(count_of(mmio, 0), 1);
	CHECK_EQ(count_of(mmio_match, 0), 1);
	CHECK_EQ(count_of(mmio_any, 0), 2);

	CHECK_EQ(ioeventfd(vm, port, 0xe0, 2, PIO | KVM_IOEVENTFD_FLAG_DEASSIGN, 0), 0);
	run_to_exit(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0xe0);
	run_to_pass(vcpu);
	CHECK_EQ(count_of(port, 0), 0);
}

static void ioeventfd_bad(void)
{
	struct vm *vm = vm_create(0);
	int fd = new_eventfd();

	CHECK_EQ(-ioeventfd(vm, fd, 0xe0, 3, PIO, 0), EINVAL);
	CHECK_EQ(-ioeventfd(vm, fd, 0xe0, 2, PIO | 0x8000, 0), EINVAL);
	CHECK_EQ(-ioeventfd(vm, -1, 0xe0, 2, PIO, 0), EBADF);
	CHECK_EQ(-ioeventfd(vm, fd, -1ull, 2, 0, 0), EINVAL);
	CHECK_EQ(ioeventfd(vm, fd, 0xe0, 2, PIO, 0), 0);
	CHECK_EQ(-ioeventfd(vm, fd, 0xe0, 2, PIO, 0), EEXIST);
	/* A datum of its own is another event, but not beside one that takes all. */
	CHECK_EQ(-ioeventfd(vm, fd, 0xe0, 2, PIO | MATCH, 1), EEXIST);
	CHECK_EQ(ioeventfd(vm, fd, 0xe4, 2, PIO | MATCH, 1), 0);
	CHECK_EQ(ioeventfd(vm, fd, 0xe4, 2, PIO | MATCH, 2), 0);
	CHECK_EQ(-ioeventfd(vm, fd, 0xe8, 2, PIO | KVM_IOEVENTFD_FLAG_DEASSIGN, 0), ENOENT);
}

/* One is handled, one waits; the processor remembers no more. */
static void nmis(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "event_nmis");

	run_to_sync(vcpu, 1);
	for (int i = 0; i < 3; i++)
		KVM(vcpu->fd, KVM_NMI, 0);
	run_to_pass(vcpu);
}

static void pv_eoi(void)
{
	struct vcpu *vcpu = guest(VM_IRQCHIP, MODE_LONG, "event_pv_eoi");

	run_to_pass(vcpu);
}

#define WAITS	"while it emulates ring 0, an interrupt waits for the next exit"

const struct test event_tests[] = {
	{ "event", "irqfd_edge", "an irqfd raises and lowers its line; not once deassigned",
	  irqfd_edge },
	{ "event", "irqfd_pending", "an eventfd that was signalled before is an interrupt at once",
	  irqfd_pending },
	{ "event", "irqfd_level", "a level irqfd: EOI lowers the line and signals the resample fd",
	  irqfd_level },
	{ "event", "irqfd_bad", "bad flags, no eventfd, the same one twice", irqfd_bad },
	{ "event", "irqfd_hlt", "irqfds from another thread wake HLT, ten times", irqfd_hlt },
	{ "event", "written", "hot code that the VMM writes before it sends an MSI", written_silently },
	{ "event", "written_told", "the same by a VMM that tells what it writes", written_and_told },
	{ "event", "routing_msi", "an MSI route by irqfd; a new table replaces the old",
	  routing_msi },
	{ "event", "routing_pin", "a GSI routed to another pin; EINVAL for none such",
	  routing_pin },
	{ "event", "signal_msi", "KVM_SIGNAL_MSI's result", signal_msi },
	{ "event", "line_status", "KVM_IRQ_LINE_STATUS: delivered or coalesced", line_status },
	{ "event", "split", "a split chip: routes are MSIs, a level one's EOI exits", split },
	{ "event", "split_pic", "a split chip: the PIC's interrupt by KVM_INTERRUPT", split_pic,
	  .wrong_on_paravirt = WAITS },
	{ "event", "ioeventfd", "ioeventfds by port and MMIO, width, datum, and any length",
	  ioeventfds },
	{ "event", "ioeventfd_bad", "EINVAL, EBADF, EEXIST, ENOENT", ioeventfd_bad },
	{ "event", "nmis", "of NMIs that come together two are taken", nmis,
	  .wrong_on_paravirt = "while it emulates ring 0, the second one is lost" },
	{ "event", "pv_eoi", "an EOI by clearing a bit of the guest's memory", pv_eoi,
	  .wrong_on_paravirt = WAITS },
	{ 0 }
};
