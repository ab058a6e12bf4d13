/* SPDX-License-Identifier: GPL-2.0-only */
/* Interrupt routing, MSIs, irqfds: which pin or message each leads to. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/fake_x86.h"

static struct kvm *kvm;

static int setup(void **state)
{
	fake_reset();
	kvm = fake_vm();
	kvm->arch.irqchip_mode = KVM_IRQCHIP_KERNEL;
	return kvm_set_default_irq_routing(kvm);
}

static int teardown(void **state)
{
	kvm_put_vm(kvm);
	return fake.vms;
}

static void clear_log(void)
{
	os_mutex_lock(&fake.lock);
	fake.nr_pins = fake.nr_msis = fake.changes = 0;
	os_mutex_unlock(&fake.lock);
}

#define ASSERT_PIN(n, c, p, s, l)  do {				\
	assert_int_equal(fake.pin[n].chip, c);			\
	assert_int_equal(fake.pin[n].pin, p);			\
	assert_int_equal(fake.pin[n].source, s);		\
	assert_int_equal(fake.pin[n].level, l);			\
} while (0)

static struct kvm_irq_routing_entry pin(u32 gsi, u32 chip, u32 n)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = n } };
}

static struct kvm_irq_routing_entry msi(u32 gsi, u32 lo, u32 hi, u32 data)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = lo, .address_hi = hi, .data = data } };
}

/* ---- routing ---- */

static void test_default_routes(void **state)
{
	assert_int_equal(kvm_set_irq(kvm, 0, 4, 1), 2);		/* both took it */
	assert_int_equal(fake.nr_pins, 2);
	ASSERT_PIN(0, 'p', 4, 0, 1);
	ASSERT_PIN(1, 'i', 4, 0, 1);
	clear_log();
	kvm_set_irq(kvm, 2, 12, 0);
	ASSERT_PIN(0, 'p', 12, 2, 0);
	clear_log();
	assert_int_equal(kvm_set_irq(kvm, 0, 20, 1), 1);
	assert_int_equal(fake.nr_pins, 1);
	ASSERT_PIN(0, 'i', 20, 0, 1);
	clear_log();
	assert_int_equal(kvm_set_irq(kvm, 0, 24, 1), -1);
	assert_int_equal(kvm_set_irq(kvm, 0, KVM_MAX_IRQ_ROUTES, 1), -1);
	assert_int_equal(kvm_set_irq(kvm, 0, ~0u, 1), -1);
	assert_int_equal(fake.nr_pins, 0);
	/* Masked, coalesced: what the chips say. */
	fake.pin_result = -1;
	assert_int_equal(kvm_set_irq(kvm, 0, 4, 1), -1);
	fake.pin_result = 0;
	assert_int_equal(kvm_set_irq(kvm, 0, 4, 1), 0);
}

static int route1(struct kvm_irq_routing_entry e)
{
	return kvm_set_gsi_routing(kvm, &e, 1);
}

static void test_checks(void **state)
{
	struct kvm_irq_routing_entry two[2], e;

	assert_int_equal(route1(pin(KVM_MAX_IRQ_ROUTES, KVM_IRQCHIP_IOAPIC, 0)), -EINVAL);
	assert_int_equal(route1(pin(0, KVM_IRQCHIP_IOAPIC, 24)), -EINVAL);
	assert_int_equal(route1(pin(0, KVM_IRQCHIP_PIC_MASTER, 8)), -EINVAL);
	assert_int_equal(route1(pin(0, KVM_IRQCHIP_PIC_SLAVE, 8)), -EINVAL);
	assert_int_equal(route1(pin(0, 3, 0)), -EINVAL);
	e = pin(0, KVM_IRQCHIP_IOAPIC, 0);
	e.flags = 1;
	assert_int_equal(route1(e), -EINVAL);
	e.flags = 0;
	e.type = 77;
	assert_int_equal(route1(e), -EINVAL);
	e = msi(0, 0, 0, 0);
	e.flags = 2;
	assert_int_equal(route1(e), -EINVAL);
	/* One GSI: one MSI, or one pin of each chip. */
	two[0] = two[1] = pin(5, KVM_IRQCHIP_IOAPIC, 3);
	two[1].u.irqchip.pin = 4;
	assert_int_equal(kvm_set_gsi_routing(kvm, two, 2), -EINVAL);
	two[0] = msi(5, 0xfee00000, 0, 0x30);
	assert_int_equal(kvm_set_gsi_routing(kvm, two, 2), -EINVAL);
	two[1] = two[0];
	assert_int_equal(kvm_set_gsi_routing(kvm, two, 2), -EINVAL);
	two[0] = pin(5, KVM_IRQCHIP_IOAPIC, 3);
	two[1] = pin(5, KVM_IRQCHIP_PIC_SLAVE, 3);
	assert_int_equal(kvm_set_gsi_routing(kvm, two, 2), 0);
	/* A refused table leaves the old one. */
	assert_int_equal(route1(pin(0, 3, 0)), -EINVAL);
	assert_int_equal(kvm_set_irq(kvm, 0, 5, 1), 2);
	ASSERT_PIN(0, 'p', 11, 0, 1);
	ASSERT_PIN(1, 'i', 3, 0, 1);
	assert_int_equal(kvm_set_gsi_routing(kvm, NULL, 0), 0);
	assert_int_equal(kvm_set_irq(kvm, 0, 5, 1), -1);
	/* The VMM has the pins of the chips it has itself. */
	kvm->arch.irqchip_mode = KVM_IRQCHIP_SPLIT;
	assert_int_equal(route1(pin(5, KVM_IRQCHIP_IOAPIC, 3)), -EINVAL);
}

static void test_order(void **state)
{
	struct kvm_irq_routing_entry e[40];

	for (u32 i = 0; i < 40; i++)
		e[i] = msi((i * 27) % 40 * 100, 0xfee00000, 0, 0x20 + i);
	assert_int_equal(kvm_set_gsi_routing(kvm, e, 40), 0);
	for (u32 i = 0; i < 40; i++) {
		clear_log();
		assert_int_equal(kvm_set_irq(kvm, 0, (i * 27) % 40 * 100, 1), 1);
		assert_int_equal(fake.nr_msis, 1);
		assert_int_equal(fake.msi[0].vector, 0x20 + i);
	}
	assert_int_equal(kvm_set_irq(kvm, 0, 50, 1), -1);
}

/* ---- messages ---- */

static int send(u32 lo, u32 hi, u32 data)
{
	struct kvm_msi m = { .address_lo = lo, .address_hi = hi, .data = data };

	clear_log();
	return kvm_send_msi(kvm, &m);
}

static void test_msi(void **state)
{
	struct kvm_msi flagged = { .flags = 2 };

	assert_int_equal(send(0xfee12000, 0, 0x4031), 1);
	assert_int_equal(fake.msi[0].dest, 0x12);
	assert_int_equal(fake.msi[0].vector, 0x31);
	assert_int_equal(fake.msi[0].delivery_mode, 0);
	assert_false(fake.msi[0].logical);
	assert_int_equal(fake.msi[0].trig_mode, 0);
	assert_true(fake.msi[0].assert);
	assert_false(fake.msi[0].x2apic_dest);
	send(0xfeeff004, 0xabcdef00, 0xc441);		/* logical, level, NMI; upper half without meaning */
	assert_int_equal(fake.msi[0].dest, 0xff);
	assert_true(fake.msi[0].logical);
	assert_int_equal(fake.msi[0].trig_mode, 1);
	assert_int_equal(fake.msi[0].delivery_mode, 4);
	fake.msi_result = 0;
	assert_int_equal(send(0xfee00000, 0, 0x31), 0);
	assert_int_equal(kvm_send_msi(kvm, &flagged), -EINVAL);

	kvm->arch.x2apic_format = true;
	assert_int_equal(send(0xfee00000, 1, 0x31), -EINVAL);
	assert_int_equal(send(0xfee34000, 0x12345600, 0x31), 0);
	assert_int_equal(fake.msi[0].dest, 0x12345634);
	assert_true(fake.msi[0].x2apic_dest);
	send(0xfeeff000, 0, 0x31);			/* still a broadcast… */
	assert_false(fake.msi[0].x2apic_dest);
	kvm->arch.x2apic_no_broadcast_quirk = true;
	send(0xfeeff000, 0, 0x31);			/* …unless the VMM says that 255 is a processor */
	assert_true(fake.msi[0].x2apic_dest);
	assert_int_equal(route1(msi(0, 0xfee00000, 5, 0x31)), -EINVAL);

	/* Routed ones fire on a rise alone. */
	assert_int_equal(route1(msi(3, 0xfee00000, 0x100, 0x55)), 0);
	clear_log();
	assert_int_equal(kvm_set_irq(kvm, 0, 3, 0), -1);
	assert_int_equal(fake.nr_msis, 0);
	kvm_set_irq(kvm, 0, 3, 1);
	assert_int_equal(fake.msi[0].dest, 0x100);
	kvm->arch.irqchip_mode = KVM_IRQCHIP_NONE;
	assert_int_equal(send(0xfee00000, 0, 0x31), -EINVAL);
}

static void test_split_eoi(void **state)
{
	struct kvm_irq_routing_entry e[3] = {
		msi(2, 0xfee00000, 0, 0x8031),		/* level */
		msi(3, 0xfee00000, 0, 0x0032),		/* edge */
		msi(30, 0xfee00000, 0, 0x8033),		/* level, but no I/O APIC pin */
	};
	struct kvm_vcpu *v = fake_vcpu(kvm, 0);

	kvm->arch.irqchip_mode = KVM_IRQCHIP_SPLIT;
	kvm->arch.nr_reserved_ioapic_pins = 24;
	assert_int_equal(kvm_set_gsi_routing(kvm, e, 3), 0);
	assert_true(kvm_split_eoi_exits(v, 0x31));
	assert_false(kvm_split_eoi_exits(v, 0x32));
	assert_false(kvm_split_eoi_exits(v, 0x33));
	kvm_put_vcpu(v);
}

/* ---- acknowledgements ---- */

static u32 acked;

static void note_ack(struct kvm_irq_ack *ack)
{
	acked++;
	kvm_set_irq(kvm, KVM_IRQFD_RESAMPLE_SOURCE_ID, ack->gsi, 0);
}

static void test_ack(void **state)
{
	struct kvm_irq_ack ack = { .gsi = 12, .fn = note_ack };

	acked = 0;
	kvm_register_irq_ack(kvm, &ack);
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_IOAPIC, 12);
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_PIC_SLAVE, 4);
	assert_int_equal(acked, 2);
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_PIC_MASTER, 4);
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_IOAPIC, 4);
	assert_int_equal(acked, 2);
	/* By the routing of the moment. */
	assert_int_equal(route1(pin(12, KVM_IRQCHIP_IOAPIC, 4)), 0);
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_IOAPIC, 12);
	assert_int_equal(acked, 2);
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_IOAPIC, 4);
	assert_int_equal(acked, 3);
	kvm_unregister_irq_ack(kvm, &ack);
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_IOAPIC, 4);
	assert_int_equal(acked, 3);
	assert_int_equal(fake.pit_acks, 0);		/* there is no PIT */
}

/* ---- irqfd ---- */

static int irqfd(int fd, u32 gsi, u32 flags, int resamplefd)
{
	struct kvm_irqfd i = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resamplefd };

	return kvm_irqfd(kvm, &i);
}

static void signal_fd(int fd)
{
	u64 one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

#define GONE	KVM_IRQFD_FLAG_DEASSIGN
#define RESAMPLE KVM_IRQFD_FLAG_RESAMPLE

static void test_irqfd(void **state)
{
	int fd = eventfd(0, 0), other = eventfd(0, 0);

	assert_int_equal(irqfd(fd, 4, 1 << 5, 0), -EINVAL);
	assert_int_equal(irqfd(-1, 4, 0, 0), -EBADF);
	assert_int_equal(irqfd(STDERR_FILENO, 4, 0, 0), -EINVAL);
	assert_int_equal(irqfd(fd, 4, RESAMPLE, -1), -EBADF);
	kvm->arch.irqchip_mode = KVM_IRQCHIP_NONE;
	assert_int_equal(irqfd(fd, 4, 0, 0), -EINVAL);
	kvm->arch.irqchip_mode = KVM_IRQCHIP_SPLIT;
	assert_int_equal(irqfd(fd, 4, RESAMPLE, other), -EINVAL);
	kvm->arch.irqchip_mode = KVM_IRQCHIP_KERNEL;

	assert_int_equal(irqfd(fd, 20, 0, 0), 0);
	assert_int_equal(irqfd(fd, 21, 0, 0), -EBUSY);
	assert_int_equal(irqfd(other, 20, 0, 0), 0);	/* two may share a line */
	signal_fd(fd);
	fake_wait(2);
	assert_int_equal(fake.nr_pins, 2);		/* up and down: an edge */
	ASSERT_PIN(0, 'i', 20, KVM_USERSPACE_IRQ_SOURCE_ID, 1);
	ASSERT_PIN(1, 'i', 20, KVM_USERSPACE_IRQ_SOURCE_ID, 0);
	clear_log();
	signal_fd(other);
	fake_wait(2);
	assert_int_equal(fake.nr_pins, 2);

	/* Taken away: by event and line. What is not there is no error. */
	assert_int_equal(irqfd(fd, 19, GONE, 0), 0);
	assert_int_equal(irqfd(-1, 20, GONE, 0), -EBADF);
	clear_log();
	signal_fd(fd);
	fake_wait(2);
	assert_int_equal(fake.nr_pins, 2);
	assert_int_equal(irqfd(fd, 20, GONE, 0), 0);
	clear_log();
	signal_fd(fd);
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	assert_int_equal(fake.nr_pins, 0);
	/* What was signalled before is raised on assignment. */
	assert_int_equal(irqfd(fd, 21, 0, 0), 0);
	fake_wait(2);
	ASSERT_PIN(0, 'i', 21, KVM_USERSPACE_IRQ_SOURCE_ID, 1);
	/* Routed to a message: one each time. */
	assert_int_equal(route1(msi(21, 0xfee00000, 0, 0x66)), 0);
	clear_log();
	signal_fd(fd);
	fake_wait(1);
	assert_int_equal(fake.nr_msis, 1);
	assert_int_equal(fake.msi[0].vector, 0x66);
	close(fd);
	close(other);
}

static void test_irqfd_resample(void **state)
{
	int fd = eventfd(0, 0), again = eventfd(0, EFD_NONBLOCK);
	int fd2 = eventfd(0, 0), again2 = eventfd(0, EFD_NONBLOCK);
	u64 n;

	assert_int_equal(irqfd(fd, 20, RESAMPLE, again), 0);
	assert_int_equal(irqfd(fd2, 20, RESAMPLE, again2), 0);
	signal_fd(fd);
	fake_wait(1);
	assert_int_equal(fake.nr_pins, 1);		/* up, until it is acknowledged */
	ASSERT_PIN(0, 'i', 20, KVM_IRQFD_RESAMPLE_SOURCE_ID, 1);
	clear_log();
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_IOAPIC, 20);
	assert_int_equal(fake.nr_pins, 1);
	ASSERT_PIN(0, 'i', 20, KVM_IRQFD_RESAMPLE_SOURCE_ID, 0);
	assert_int_equal(read(again, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	assert_int_equal(read(again2, &n, sizeof(n)), sizeof(n));	/* those on the line share it */
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_IOAPIC, 19);
	assert_int_equal(read(again, &n, sizeof(n)), -1);

	/* The last one's going lowers the line. */
	assert_int_equal(irqfd(fd, 20, GONE, 0), 0);
	clear_log();
	assert_int_equal(irqfd(fd2, 20, GONE, 0), 0);
	assert_int_equal(fake.nr_pins, 1);
	ASSERT_PIN(0, 'i', 20, KVM_IRQFD_RESAMPLE_SOURCE_ID, 0);
	kvm_notify_acked_irq(kvm, KVM_IRQCHIP_IOAPIC, 20);
	assert_int_equal(read(again, &n, sizeof(n)), -1);
	/* The VM goes with one assigned. */
	assert_int_equal(irqfd(fd, 20, RESAMPLE, again), 0);
	signal_fd(fd);
	close(fd);
	close(again);
	close(fd2);
	close(again2);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(default_routes), TEST(checks), TEST(order), TEST(msi), TEST(split_eoi), TEST(ack),
		TEST(irqfd), TEST(irqfd_resample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
