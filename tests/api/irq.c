/* SPDX-License-Identifier: GPL-2.0-only */
/* Interrupt chips, routing, irqfd and ioeventfd, coalesced zones, clocks, capabilities of a VM. */
#include "api.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIT_WITHOUT_PIC	"a PIT needs the PIC and I/O APIC: later kernels refuse it too"

static void without_chips(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_irqchip chip = { .chip_id = 0 };
	struct kvm_irq_routing routing = { 0 };
	struct kvm_pit_config pit = { 0 };
	struct kvm_pit_state2 state = { 0 };
	struct kvm_pit_state old = { 0 };
	struct kvm_reinject_control control = { 0 };
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x30 };
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0) };

	GIVES(call(m.vm, KVM_IRQ_LINE, &line), -ENXIO);
	GIVES(call(m.vm, KVM_IRQ_LINE_STATUS, &line), -ENXIO);
	GIVES(call(m.vm, KVM_GET_IRQCHIP, &chip), -ENXIO);
	GIVES(call(m.vm, KVM_SET_IRQCHIP, &chip), -ENXIO);
	GIVES(call(m.vm, KVM_SET_GSI_ROUTING, &routing), -EINVAL);
	GIVES(call(m.vm, KVM_GET_PIT, &old), -ENXIO);
	GIVES(call(m.vm, KVM_SET_PIT, &old), -ENXIO);
	GIVES(call(m.vm, KVM_GET_PIT2, &state), -ENXIO);
	GIVES(call(m.vm, KVM_SET_PIT2, &state), -ENXIO);
	GIVES(call(m.vm, KVM_REINJECT_CONTROL, &control), -ENXIO);
	GIVES(call(m.vm, KVM_SIGNAL_MSI, &msi), -EINVAL);
	GIVES(call(m.vm, KVM_IRQFD, &irqfd), -EINVAL);
	irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
	GIVES(call(m.vm, KVM_IRQFD, &irqfd), 0);	/* there is none: fine */
	DIFFERS(call(m.vm, KVM_CREATE_PIT2, &pit), 0, -ENOENT, PIT_WITHOUT_PIC);
}

static void chips(void)
{
	struct machine m = machine(WITH_IRQCHIP | WITH_PIT);
	struct kvm_irqchip *chip = pages(1);
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_pit_config pit = { 0 };
	struct kvm_pit_state2 *state = pages(1);

	GIVES(call_n(m.vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
	GIVES(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 0, 24), -EEXIST);
	GIVES(call(m.vm, KVM_CREATE_PIT2, &pit), -EEXIST);
	GIVES(call_n(m.vm, KVM_CREATE_PIT, 0), -EEXIST);
	for (uint32_t id = 0; id < 3; id++) {
		chip->chip_id = id;
		GIVES(call(m.vm, KVM_GET_IRQCHIP, chip), 0);
		/* No state that guests could reach. */
		memset(&chip->chip, 0xff, sizeof(chip->chip));
		GIVES(call(m.vm, KVM_SET_IRQCHIP, chip), 0);
		GIVES(call(m.vm, KVM_GET_IRQCHIP, chip), 0);
	}
	chip->chip_id = 3;
	GIVES(call(m.vm, KVM_GET_IRQCHIP, chip), -EINVAL);
	GIVES(call(m.vm, KVM_SET_IRQCHIP, chip), -EINVAL);
	chip->chip_id = 0xffffffff;
	GIVES(call(m.vm, KVM_GET_IRQCHIP, chip), -EINVAL);
	for (uint32_t irq = 0; irq < 30; irq++) {
		line.irq = irq;
		line.level = irq & 1 ? 1 : 0xffffffff;
		GIVES(call(m.vm, KVM_IRQ_LINE, &line), 0);
	}
	/* Nobody there: no error, and the status says so. */
	line.irq = 4096;
	GIVES(call(m.vm, KVM_IRQ_LINE, &line), 0);
	line.irq = 0xffffffff;
	GIVES(call(m.vm, KVM_IRQ_LINE_STATUS, &line), 0);
	GIVES(line.status, -1);
	memset(state, 0xff, sizeof(*state));
	GIVES(call(m.vm, KVM_SET_PIT2, state), 0);
	GIVES(call(m.vm, KVM_GET_PIT2, state), 0);
	memset(state, 0, sizeof(*state));
	GIVES(call(m.vm, KVM_SET_PIT2, state), 0);
}

static void chips_late(void)
{
	struct machine m = machine(0);
	uint64_t address = 0xfffbc000;

	GIVES(call_n(m.vm, KVM_CREATE_IRQCHIP, 0), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 0, 24), -EEXIST);
	GIVES(call(m.vm, KVM_SET_IDENTITY_MAP_ADDR, &address), -EINVAL);
	DIFFERS(call_n(m.vm, KVM_SET_TSC_KHZ, 0), 0, -EINVAL,
		"the frequency for vCPUs to come: later kernels refuse it too");
}

static void split(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	struct kvm_irqchip chip = { .chip_id = 0 };
	struct kvm_pit_config pit = { 0 };
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .resamplefd = eventfd(0, 0),
				   .flags = KVM_IRQFD_FLAG_RESAMPLE };

	GIVES(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 0, 4097), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 0, 1ull << 32), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 1, 24), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 0, 4096), 0);
	GIVES(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 0, 24), -EEXIST);
	GIVES(call_n(m.vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
	GIVES(call(m.vm, KVM_GET_IRQCHIP, &chip), -ENXIO);
	GIVES(call(m.vm, KVM_SET_IRQCHIP, &chip), -ENXIO);
	DIFFERS(call(m.vm, KVM_CREATE_PIT2, &pit), 0, -ENOENT, PIT_WITHOUT_PIC);
	/* Nobody there to hear of acknowledgements. */
	GIVES(call(m.vm, KVM_IRQFD, &irqfd), -EINVAL);
	irqfd.flags = 0;
	GIVES(call(m.vm, KVM_IRQFD, &irqfd), 0);
}

/* ---- routing ---- */

static struct kvm_irq_routing *routing(uint32_t n)
{
	struct kvm_irq_routing *r = pages(60);

	r->nr = n;
	return r;
}

static void pin(struct kvm_irq_routing_entry *e, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	*e = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
					     .u.irqchip = { .irqchip = chip, .pin = pin } };
}

static void msi(struct kvm_irq_routing_entry *e, uint32_t gsi, uint32_t high, uint32_t flags)
{
	*e = (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI, .flags = flags,
		.u.msi = { .address_lo = 0xfee00000, .address_hi = high, .data = 0x30 } };
}

static int route(int vm, struct kvm_irq_routing *r)
{
	return call(vm, KVM_SET_GSI_ROUTING, r);
}

static void routes(void)
{
	struct machine m = machine(WITH_IRQCHIP);
	struct kvm_irq_routing *r = routing(0), *edge;
	struct kvm_irq_routing_entry *e = r->entries;

	GIVES(route(m.vm, r), 0);
	r->flags = 1;
	GIVES(route(m.vm, r), -EINVAL);
	r->flags = 0;
	r->nr = 4097;
	GIVES(route(m.vm, r), -EINVAL);
	r->nr = 0xffffffff;
	GIVES(route(m.vm, r), -EINVAL);
	for (uint32_t i = 0; i < 4096; i++)
		msi(&e[i], i, 0, 0);
	r->nr = 4096;
	GIVES(route(m.vm, r), 0);
	/* One GSI may lead to one pin of each chip, or to one MSI. */
	r->nr = 2;
	msi(&e[1], 0, 0, 0);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[1], 0, KVM_IRQCHIP_IOAPIC, 0);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[0], 0, KVM_IRQCHIP_IOAPIC, 1);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[0], 0, KVM_IRQCHIP_PIC_MASTER, 1);
	GIVES(route(m.vm, r), 0);
	pin(&e[2], 0, KVM_IRQCHIP_PIC_SLAVE, 1);
	r->nr = 3;
	GIVES(route(m.vm, r), 0);
	r->nr = 1;
	pin(&e[0], 0, KVM_IRQCHIP_IOAPIC, 23);
	GIVES(route(m.vm, r), 0);
	pin(&e[0], 0, KVM_IRQCHIP_IOAPIC, 24);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[0], 0, KVM_IRQCHIP_PIC_MASTER, 8);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[0], 0, KVM_IRQCHIP_PIC_SLAVE, 8);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[0], 0, 3, 0);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[0], 4096, KVM_IRQCHIP_IOAPIC, 0);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[0], 0xffffffff, KVM_IRQCHIP_IOAPIC, 0);
	GIVES(route(m.vm, r), -EINVAL);
	pin(&e[0], 4, KVM_IRQCHIP_IOAPIC, 0);
	e[0].flags = 1;
	GIVES(route(m.vm, r), -EINVAL);
	msi(&e[0], 0, 0, 2);
	GIVES(route(m.vm, r), -EINVAL);
	e[0] = (struct kvm_irq_routing_entry){ .type = 77 };
	GIVES(route(m.vm, r), -EINVAL);
	e[0] = (struct kvm_irq_routing_entry){ .type = KVM_IRQ_ROUTING_S390_ADAPTER };
	GIVES(route(m.vm, r), -EINVAL);
	/* With 32-bit ids, the low byte of the upper address is reserved. */
	msi(&e[0], 0, 0xff, 0);
	GIVES(route(m.vm, r), 0);
	GIVES(enable(m.vm, KVM_CAP_X2APIC_API, 0, KVM_X2APIC_API_USE_32BIT_IDS), 0);
	GIVES(route(m.vm, r), -EINVAL);
	edge = at_the_edge(sizeof(*edge) + sizeof(edge->entries[0]));
	*edge = (struct kvm_irq_routing){ .nr = 2 };
	GIVES(route(m.vm, edge), -EFAULT);
}

static void send_msi(void)
{
	struct machine m = machine(WITH_IRQCHIP);
	struct kvm_msi s = { .address_lo = 0xfee00000, .data = 0x30 };

	HOLDS(call(m.vm, KVM_SIGNAL_MSI, &s) >= 0);
	s.flags = 2;
	GIVES(call(m.vm, KVM_SIGNAL_MSI, &s), -EINVAL);
	s.flags = 0;
	s.address_hi = 0xff;
	HOLDS(call(m.vm, KVM_SIGNAL_MSI, &s) >= 0);
	GIVES(enable(m.vm, KVM_CAP_X2APIC_API, 0, KVM_X2APIC_API_USE_32BIT_IDS), 0);
	GIVES(call(m.vm, KVM_SIGNAL_MSI, &s), -EINVAL);
	s.address_hi = 0;
	/* Every way of delivery, reserved ones too. */
	for (uint32_t mode = 0; mode < 8; mode++) {
		s.data = mode << 8 | 0x31;
		HOLDS(call(m.vm, KVM_SIGNAL_MSI, &s) != -EFAULT);
	}
	s.address_lo = 0xfee00000 | 0x77 << 12;		/* nobody */
	s.data = 0x30;
	GIVES(call(m.vm, KVM_SIGNAL_MSI, &s), 0);
}

/* ---- irqfd ---- */

static int irqfd(int vm, int fd, uint32_t gsi, uint32_t flags, int resample)
{
	struct kvm_irqfd i = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample };

	return call(vm, KVM_IRQFD, &i);
}

static void irqfds(void)
{
	struct machine m = machine(WITH_IRQCHIP), other = machine(WITH_IRQCHIP);
	int a = eventfd(0, 0), b = eventfd(0, EFD_NONBLOCK), copy = dup(a), closed = eventfd(0, 0);
	int memory = memfd_create("x", 0);

	close(closed);
	GIVES(irqfd(m.vm, a, 4, 4, 0), -EINVAL);
	GIVES(irqfd(m.vm, a, 4, 1u << 31, 0), -EINVAL);
	GIVES(irqfd(m.vm, closed, 4, 0, 0), -EBADF);	/* as long as nothing else has its number */
	GIVES(irqfd(m.vm, -1, 4, 0, 0), -EBADF);
	GIVES(irqfd(m.vm, memory, 4, 0, 0), -EINVAL);
	GIVES(irqfd(m.vm, m.vm, 4, 0, 0), -EINVAL);
	GIVES(irqfd(m.vm, a, 4, 0, 0), 0);
	GIVES(irqfd(m.vm, a, 4, 0, 0), -EBUSY);
	GIVES(irqfd(m.vm, a, 5, 0, 0), -EBUSY);
	GIVES(irqfd(m.vm, copy, 4, 0, 0), -EBUSY);
	GIVES(irqfd(other.vm, a, 4, 0, 0), 0);		/* two VMs: fine */
	GIVES(irqfd(m.vm, b, 4, 0, 0), 0);		/* two events, one GSI: fine */
	GIVES(irqfd(m.vm, a, 9, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);	/* not that one: no error */
	GIVES(irqfd(m.vm, a, 4, 0, 0), -EBUSY);
	GIVES(irqfd(m.vm, copy, 4, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
	GIVES(irqfd(m.vm, a, 4, 0, 0), 0);
	GIVES(irqfd(m.vm, -1, 4, KVM_IRQFD_FLAG_DEASSIGN, 0), -EBADF);
	GIVES(irqfd(m.vm, memory, 4, KVM_IRQFD_FLAG_DEASSIGN, 0), -EINVAL);
	/* GSIs that nothing is routed to, or can be. */
	GIVES(irqfd(m.vm, eventfd(1, 0), 4095, 0, 0), 0);
	GIVES(irqfd(m.vm, eventfd(1, 0), 4096, 0, 0), 0);
	GIVES(irqfd(m.vm, eventfd(1, 0), 0xffffffff, 0, 0), 0);

	/* With a second event, for the acknowledgement. */
	GIVES(irqfd(m.vm, eventfd(0, 0), 6, KVM_IRQFD_FLAG_RESAMPLE, -1), -EBADF);
	GIVES(irqfd(m.vm, eventfd(0, 0), 6, KVM_IRQFD_FLAG_RESAMPLE, memory), -EINVAL);
	GIVES(irqfd(m.vm, eventfd(0, 0), 6, KVM_IRQFD_FLAG_RESAMPLE, b), 0);
	GIVES(irqfd(m.vm, eventfd(0, 0), 6, KVM_IRQFD_FLAG_RESAMPLE, b), 0);
	GIVES(irqfd(m.vm, eventfd(0, 0), 0xffffffff, KVM_IRQFD_FLAG_RESAMPLE, b), 0);
	GIVES(irqfd(m.vm, a, 4, KVM_IRQFD_FLAG_RESAMPLE | KVM_IRQFD_FLAG_DEASSIGN, -1), 0);
}

static bool irr_bit(int vcpu, unsigned int vector)
{
	struct kvm_lapic_state s;
	uint32_t word;

	must(vcpu, KVM_GET_LAPIC, &s);
	memcpy(&word, s.regs + 0x200 + vector / 32 * 16, 4);
	return word >> vector % 32 & 1;
}

/* The MSI of a GSI arrives in the IRR within a while. */
static bool arrives(int vcpu, unsigned int vector)
{
	for (int i = 0; i < 3000; i++) {
		if (irr_bit(vcpu, vector))
			return true;
		sleep_ms(1);
	}
	return false;
}

static struct machine with_routes(void)
{
	struct machine m = machine(WITH_IRQCHIP);
	struct kvm_irq_routing *r = routing(8);
	struct kvm_lapic_state s;

	for (uint32_t i = 0; i < 8; i++) {
		msi(&r->entries[i], 32 + i, 0, 0);
		r->entries[i].u.msi.data = 0x40 + i;
	}
	GIVES(route(m.vm, r), 0);
	/* Enabled: a local APIC that is not takes no interrupts. */
	must(m.vcpu, KVM_GET_LAPIC, &s);
	s.regs[0xf1] |= 1;
	must(m.vcpu, KVM_SET_LAPIC, &s);
	return m;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	HOLDS(write(fd, &one, sizeof(one)) == sizeof(one));
}

/* A descriptor that the VMM closes while it is an irqfd. */
static void irqfd_closed(void)
{
	struct machine m = with_routes();
	int a = eventfd(0, 0), copy, b;

	GIVES(irqfd(m.vm, a, 32, 0, 0), 0);
	signal_fd(a);
	HOLDS(arrives(m.vcpu, 0x40));
	/* The event lives on in the copy, and so does the irqfd. */
	copy = dup(a);
	close(a);
	GIVES(irqfd(m.vm, copy, 33, 0, 0), -EBUSY);
	GIVES(irqfd(m.vm, copy, 32, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
	GIVES(irqfd(m.vm, copy, 33, 0, 0), 0);
	signal_fd(copy);
	HOLDS(arrives(m.vcpu, 0x41));
	close(copy);
	/* Signalled, then closed at once: the interrupt comes. */
	b = eventfd(0, 0);
	GIVES(irqfd(m.vm, b, 34, 0, 0), 0);
	signal_fd(b);
	close(b);
	HOLDS(arrives(m.vcpu, 0x42));
	/* Signalled before it becomes an irqfd. */
	b = eventfd(3, 0);
	GIVES(irqfd(m.vm, b, 35, 0, 0), 0);
	HOLDS(arrives(m.vcpu, 0x43));
	close(m.vm);
	close(m.vcpu);
	munmap(m.run, 3 * PAGE);
	/* Nobody listens any more, or the VM is still there: no harm. */
	signal_fd(b);
}

static unsigned int open_files(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Irqfds whose descriptors are all gone are gone too: a VMM that never deassigns does not run out
 * of descriptors. */
static void irqfd_gone(void)
{
	struct machine m = with_routes();
	unsigned int before;
	int fd;

	fd = eventfd(0, 0);
	GIVES(irqfd(m.vm, fd, 32, 0, 0), 0);
	close(fd);
	before = open_files();
	for (int i = 0; i < 300; i++) {
		fd = eventfd(0, 0);
		if (irqfd(m.vm, fd, 32, 0, 0))
			give_up("irqfd %d fails", i);
		close(fd);
	}
	/* Not at once: libanykvm looks for such now and then. */
	HOLDS(open_files() <= before + 40);
	/* A new one with an old number is another event. */
	fd = eventfd(0, 0);
	GIVES(irqfd(m.vm, fd, 37, 0, 0), 0);
	signal_fd(fd);
	HOLDS(arrives(m.vcpu, 0x45));
	HOLDS(!irr_bit(m.vcpu, 0x40));
}

/* ---- ioeventfd ---- */

static void ioeventfds(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	int a = eventfd(0, 0), b = eventfd(0, 0), memory = memfd_create("x", 0);
	const struct kvm_ioeventfd plain = { .addr = 0x1000, .len = 4, .fd = a };
	struct kvm_ioeventfd io;

#define IO(want, what)	\
	(io = plain, what, GIVES_FOR(#what, call(m.vm, KVM_IOEVENTFD, &io), want))
	IO(-EINVAL, io.len = 3);
	IO(-EINVAL, io.len = 16);
	IO(-EINVAL, io.len = 0xffffffff);
	IO(-EINVAL, io.flags = 1u << 5);
	IO(-EINVAL, io.flags = 1u << 31);
	IO(-EINVAL, io.addr = ~0ull);
	IO(-EINVAL, io.addr = -3ull);
	IO(-EBADF, io.fd = -1);
	IO(-EINVAL, io.fd = memory);
	IO(-EINVAL, (io.len = 0, io.flags = KVM_IOEVENTFD_FLAG_DATAMATCH));
	IO(-ENOENT, io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN);
	IO(0, io.fd = a);
	IO(-EEXIST, io.fd = a);
	IO(-EEXIST, io.fd = b);
	IO(-EEXIST, (io.flags = KVM_IOEVENTFD_FLAG_DATAMATCH, io.datamatch = 5));
	IO(0, io.len = 2);
	IO(0, io.flags = KVM_IOEVENTFD_FLAG_PIO);
	IO(-EEXIST, io.len = 0);
	/* No such port, and no error. */
	IO(0, (io.flags = KVM_IOEVENTFD_FLAG_PIO, io.addr = 0x10000));
	IO(-ENOENT, (io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN, io.fd = b));
	IO(-ENOENT, (io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN, io.len = 8));
	IO(-ENOENT, io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN | KVM_IOEVENTFD_FLAG_DATAMATCH);
	IO(-EBADF, (io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN, io.fd = -1));
	IO(0, io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN);
	IO(0, (io.flags = KVM_IOEVENTFD_FLAG_DATAMATCH, io.datamatch = 5));
	IO(0, (io.flags = KVM_IOEVENTFD_FLAG_DATAMATCH, io.datamatch = 6));
	IO(-EEXIST, (io.flags = KVM_IOEVENTFD_FLAG_DATAMATCH, io.datamatch = 5, io.fd = b));
	IO(-EEXIST, io.fd = b);
	IO(-ENOENT, (io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN | KVM_IOEVENTFD_FLAG_DATAMATCH,
		     io.datamatch = 7));
	IO(0, (io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN | KVM_IOEVENTFD_FLAG_DATAMATCH,
	       io.datamatch = 5));
	/* Data longer than the access. */
	IO(0, (io.flags = KVM_IOEVENTFD_FLAG_DATAMATCH, io.datamatch = ~0ull, io.len = 1));
	IO(0, (io.addr = 0x2000, io.len = 0));
	IO(-EEXIST, (io.addr = 0x2000, io.len = 8));
#undef IO
	io = (struct kvm_ioeventfd){ .addr = 0x3000, .len = 4, .fd = a };
	for (int bit = 3; bit < 5; bit++) {
		io.flags = 1u << bit;
		DIFFERS(call(m.vm, KVM_IOEVENTFD, &io), 0, -EINVAL,
			"flags of another machine's, and Linux's own: without a meaning here");
	}
}

/* The descriptor is closed while it is an ioeventfd: the event stays with the VM. */
static void ioeventfd_closed(void)
{
	struct machine m = GUEST(0, "\xe6\x10" HLT "\xe6\x10" HLT);	/* out %al, $0x10 */
	struct kvm_ioeventfd io = { .addr = 0x10, .len = 1, .fd = eventfd(0, EFD_NONBLOCK),
				    .flags = KVM_IOEVENTFD_FLAG_PIO };
	uint64_t count = 0;
	int copy = dup(io.fd);

	GIVES(call(m.vm, KVM_IOEVENTFD, &io), 0);
	close(io.fd);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
	HOLDS(read(copy, &count, sizeof(count)) == sizeof(count));
	GIVES(count, 1);
	close(copy);
	/* Nobody listens, but the port is still taken. */
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
}

/* ---- coalesced zones ---- */

static int zone(int vm, unsigned long request, uint64_t addr, uint32_t size, uint32_t pio)
{
	struct kvm_coalesced_mmio_zone z = { .addr = addr, .size = size, .pio = pio };

	return call(vm, request, &z);
}

static void zones(void)
{
	struct machine m = machine(0);
	int r = 0, n;

	GIVES(zone(m.vm, KVM_REGISTER_COALESCED_MMIO, 0xa0000, 0x1000, 2), -EINVAL);
	GIVES(zone(m.vm, KVM_UNREGISTER_COALESCED_MMIO, 0xa0000, 0x1000, 2), -EINVAL);
	GIVES(zone(m.vm, KVM_UNREGISTER_COALESCED_MMIO, 0xa0000, 0x1000, 0), 0);
	GIVES(zone(m.vm, KVM_REGISTER_COALESCED_MMIO, 0xa0000, 0x1000, 0), 0);
	GIVES(zone(m.vm, KVM_REGISTER_COALESCED_MMIO, 0xa0000, 0x1000, 0), 0);	/* twice is fine */
	GIVES(zone(m.vm, KVM_REGISTER_COALESCED_MMIO, 0xa0000, 0, 0), 0);
	GIVES(zone(m.vm, KVM_REGISTER_COALESCED_MMIO, ~0ull, 0xffffffff, 0), 0);
	GIVES(zone(m.vm, KVM_REGISTER_COALESCED_MMIO, 0x70, 1, 1), 0);
	GIVES(zone(m.vm, KVM_UNREGISTER_COALESCED_MMIO, 0xa0800, 0x10, 0), 0);
	GIVES(zone(m.vm, KVM_UNREGISTER_COALESCED_MMIO, ~0ull, 0xffffffff, 0), 0);
	for (n = 0; n < 3000 && !r; n++)
		r = zone(m.vm, KVM_REGISTER_COALESCED_MMIO, 0x100000 + 0x1000ull * n, 0x1000, 0);
	GIVES(r, -ENOSPC);
	HOLDS(n > 900 && n < 1100);
}

/* ---- the rest of a VM ---- */

static void vm_caps(void)
{
	struct machine m = machine(WITHOUT_VCPU);

	GIVES(enable(m.vm, 0x7fffffff, 0, 0), -EINVAL);
	GIVES(enable(m.vm, 0, 0, 0), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_USER_MEMORY, 0, 0), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_X2APIC_API, 0, 4), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_X2APIC_API, 0, 1ull << 40), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_X2APIC_API, 1, 3), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_X2APIC_API, 0, 3), 0);
	GIVES(enable(m.vm, KVM_CAP_X2APIC_API, 0, 0), 0);
	GIVES(enable(m.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 2), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 4), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 3), 0);
	GIVES(enable(m.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 1), 0);
	GIVES(enable(m.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1, 1), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_DISABLE_QUIRKS2, 0, 1ull << 50), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_DISABLE_QUIRKS2, 0, 1), 0);
	GIVES(enable(m.vm, KVM_CAP_DISABLE_QUIRKS, 0, ~0ull), 0);
	GIVES(enable(m.vm, KVM_CAP_X86_DISABLE_EXITS, 0, 1 << 10), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_X86_DISABLE_EXITS, 0, 0), 0);
	GIVES(enable(m.vm, KVM_CAP_EXCEPTION_PAYLOAD, 0, 5), 0);
	GIVES(enable(m.vm, KVM_CAP_EXCEPTION_PAYLOAD, 0, 0), 0);
	GIVES(enable(m.vm, KVM_CAP_HALT_POLL, 0, 1ull << 32), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_HALT_POLL, 0, 1000), 0);
	GIVES(enable(m.vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 0, 1), 0);
}

static void odds(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	struct kvm_create_device device = { .type = 99 };
	struct kvm_clock_data clock = { 0 };
	uint64_t address = 0xfffbc000;

	GIVES(call(m.vm, KVM_CREATE_DEVICE, &device), -ENODEV);
	device.type = 0xffffffff;
	GIVES(call(m.vm, KVM_CREATE_DEVICE, &device), -ENODEV);
	device.flags = KVM_CREATE_DEVICE_TEST;
	GIVES(call(m.vm, KVM_CREATE_DEVICE, &device), -ENODEV);
	GIVES(call_n(m.vm, KVM_SET_TSS_ADDR, 0xfffbd000), 0);
	GIVES(call_n(m.vm, KVM_SET_TSS_ADDR, 0xffffd000), 0);
	GIVES(call_n(m.vm, KVM_SET_TSS_ADDR, 0xffffd001), -EINVAL);
	GIVES(call_n(m.vm, KVM_SET_TSS_ADDR, 1ul << 32), -EINVAL);
	GIVES(call_n(m.vm, KVM_SET_NR_MMU_PAGES, 3), -EINVAL);
	GIVES(call_n(m.vm, KVM_SET_NR_MMU_PAGES, 63), -EINVAL);
	GIVES(call_n(m.vm, KVM_SET_NR_MMU_PAGES, 64), 0);
	GIVES(call(m.vm, KVM_SET_IDENTITY_MAP_ADDR, &address), 0);
	GIVES(call_n(m.vm, KVM_SET_BOOT_CPU_ID, 12345), 0);
	GIVES(call(m.vm, KVM_GET_CLOCK, &clock), 0);
	clock.flags = 1;
	GIVES(call(m.vm, KVM_SET_CLOCK, &clock), -EINVAL);
	clock.flags = 1u << 31;
	GIVES(call(m.vm, KVM_SET_CLOCK, &clock), -EINVAL);
	clock.flags = 0;
	clock.clock = ~0ull;
	GIVES(call(m.vm, KVM_SET_CLOCK, &clock), 0);
	clock.flags = KVM_CLOCK_REALTIME;
	clock.realtime = ~0ull;
	GIVES(call(m.vm, KVM_SET_CLOCK, &clock), 0);
	clock.realtime = 0;
	GIVES(call(m.vm, KVM_SET_CLOCK, &clock), 0);
	HOLDS(call_n(m.vm, KVM_GET_TSC_KHZ, 0) > 0);
	GIVES(call_n(m.vm, KVM_SET_TSC_KHZ, 0), 0);
}

const struct test irq_tests[] = {
	{ "irq", "without_chips", "requests of chips that are not there", without_chips },
	{ "irq", "chips", "chips twice, state that cannot be, lines that are not there", chips },
	{ "irq", "chips_late", "chips after the first vCPU", chips_late },
	{ "irq", "split", "KVM_CAP_SPLIT_IRQCHIP", split },
	{ "irq", "routes", "KVM_SET_GSI_ROUTING out of every range", routes },
	{ "irq", "send_msi", "KVM_SIGNAL_MSI", send_msi },
	{ "irq", "irqfds", "irqfds: wrong descriptors, twice, for GSIs that are none", irqfds },
	{ "irq", "irqfd_closed", "an irqfd's descriptor is closed", irqfd_closed },
	{ "irq", "irqfd_gone", "an irqfd goes with the last descriptor of its event", irqfd_gone },
	{ "irq", "ioeventfds", "ioeventfds: sizes, addresses, those that collide", ioeventfds },
	{ "irq", "ioeventfd_closed", "an ioeventfd's descriptor is closed", ioeventfd_closed },
	{ "irq", "zones", "coalesced zones, until there is no room", zones },
	{ "vm", "caps", "KVM_ENABLE_CAP of a VM", vm_caps },
	{ "vm", "odds", "the rest", odds },
	{ 0 }
};
