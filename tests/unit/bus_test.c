/* SPDX-License-Identifier: GPL-2.0-only */
/* Port and MMIO buses, coalesced zones, ioeventfds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/fake_x86.h"

static struct kvm *kvm;
static struct kvm_vcpu *v;

static int setup(void **state)
{
	fake_reset();
	kvm = fake_vm();
	v = fake_vcpu(kvm, 0);
	return 0;
}

static int teardown(void **state)
{
	kvm_put_vcpu(v);
	kvm_put_vm(kvm);
	return fake.vms || fake.vcpus;
}

static int read_bus(enum kvm_bus_id bus, gpa_t addr, int len, u64 *val)
{
	int r;

	*val = 0;
	kvm_vcpu_enter(v);
	r = kvm_bus_read(v, bus, addr, len, val);
	kvm_vcpu_leave(v);
	return r;
}

static int write_bus(enum kvm_bus_id bus, gpa_t addr, int len, u64 val)
{
	int r;

	kvm_vcpu_enter(v);
	r = kvm_bus_write(v, bus, addr, len, &val);
	kvm_vcpu_leave(v);
	return r;
}

/* ---- devices ---- */

struct test_device {
	struct kvm_io_device dev;
	u64 value;
	u32 destroyed;
	int refuse;		/* what its read says */
};

static int device_read(struct kvm_io_device *dev, struct kvm_vcpu *vcpu, gpa_t addr, int len, void *val)
{
	struct test_device *d = container_of(dev, struct test_device, dev);

	memcpy(val, &d->value, len);
	return d->refuse;
}

static int device_write(struct kvm_io_device *dev, struct kvm_vcpu *vcpu, gpa_t addr, int len,
			const void *val)
{
	struct test_device *d = container_of(dev, struct test_device, dev);

	d->value = 0;
	memcpy(&d->value, val, len);
	return 0;
}

static void device_destroy(struct kvm_io_device *dev)
{
	container_of(dev, struct test_device, dev)->destroyed++;
}

#define DEVICE(n)	{ .dev = { device_read, device_write, device_destroy }, .value = n }

static void test_lookup(void **state)
{
	struct test_device a = DEVICE(1), b = DEVICE(2), c = DEVICE(3), exact = DEVICE(4);
	u64 val;

	assert_int_equal(read_bus(KVM_BUS_PIO, 0x60, 1, &val), -EOPNOTSUPP);
	assert_int_equal(kvm_bus_register(kvm, KVM_BUS_PIO, 0x60, 4, &a.dev), 0);
	assert_int_equal(kvm_bus_register(kvm, KVM_BUS_PIO, 0x40, 4, &b.dev), 0);
	assert_int_equal(kvm_bus_register(kvm, KVM_BUS_MMIO, 0xfee00000, 0x1000, &c.dev), 0);
	assert_true(v->requests & BIT(KVM_REQ_SLOTS));
	assert_int_equal(read_bus(KVM_BUS_PIO, 0x60, 4, &val), 0);
	assert_int_equal(val, 1);
	assert_int_equal(read_bus(KVM_BUS_PIO, 0x43, 1, &val), 0);
	assert_int_equal(val, 2);
	assert_int_equal(read_bus(KVM_BUS_PIO, 0x44, 1, &val), -EOPNOTSUPP);
	assert_int_equal(read_bus(KVM_BUS_PIO, 0x43, 2, &val), -EOPNOTSUPP);	/* reaches beyond */
	assert_int_equal(read_bus(KVM_BUS_PIO, 0x3f, 1, &val), -EOPNOTSUPP);
	assert_int_equal(read_bus(KVM_BUS_PIO, 0xfee00000, 1, &val), -EOPNOTSUPP);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0xfee00ff8, 8, 0x123456789abcdef0), 0);
	assert_int_equal(c.value, 0x123456789abcdef0);

	/* Length 0: just there, whatever the access's length. Innermost first; a refusal goes on outwards. */
	assert_int_equal(kvm_bus_register(kvm, KVM_BUS_MMIO, 0xfee00010, 0, &exact.dev), 0);
	assert_int_equal(read_bus(KVM_BUS_MMIO, 0xfee00010, 8, &val), 0);
	assert_int_equal(val, 4);
	exact.refuse = -EOPNOTSUPP;
	assert_int_equal(read_bus(KVM_BUS_MMIO, 0xfee00010, 8, &val), 0);
	assert_int_equal(val, 0x123456789abcdef0);
	assert_int_equal(read_bus(KVM_BUS_MMIO, 0xfee00011, 1, &val), 0);
	assert_int_equal(val, 0xf0);

	kvm_bus_unregister(kvm, KVM_BUS_PIO, &a.dev);
	assert_int_equal(a.destroyed, 1);
	assert_int_equal(read_bus(KVM_BUS_PIO, 0x60, 1, &val), -EOPNOTSUPP);
	kvm_bus_unregister(kvm, KVM_BUS_PIO, &a.dev);		/* not there: nothing */
	assert_int_equal(a.destroyed, 1);
	assert_int_equal(kvm_bus_register(kvm, KVM_BUS_PIO, 0x70, 1, &a.dev), 0);
	assert_int_equal(read_bus(KVM_BUS_PIO, 0x41, 1, &val), 0);
	assert_int_equal(val, 2);
	kvm_bus_unregister(kvm, KVM_BUS_PIO, &a.dev);
	kvm_bus_unregister(kvm, KVM_BUS_PIO, &b.dev);
	kvm_bus_unregister(kvm, KVM_BUS_MMIO, &c.dev);
	kvm_bus_unregister(kvm, KVM_BUS_MMIO, &exact.dev);
	assert_int_equal(b.destroyed, 1);
	assert_int_equal(c.destroyed, 1);
}

/* One device in several places goes with the last of them; and with the VM. */
static void test_two_places(void **state)
{
	static struct test_device d;
	struct kvm *other = fake_vm();

	d = (struct test_device)DEVICE(7);
	assert_int_equal(kvm_bus_register(kvm, KVM_BUS_PIO, 0x20, 2, &d.dev), 0);
	assert_int_equal(kvm_bus_register(kvm, KVM_BUS_PIO, 0xa0, 2, &d.dev), 0);
	assert_int_equal(kvm_bus_register(kvm, KVM_BUS_MMIO, 0xa0, 2, &d.dev), 0);
	kvm_bus_unregister(kvm, KVM_BUS_MMIO, &d.dev);
	assert_int_equal(d.destroyed, 0);
	kvm_bus_unregister(kvm, KVM_BUS_PIO, &d.dev);
	assert_int_equal(d.destroyed, 1);

	assert_int_equal(kvm_bus_register(other, KVM_BUS_PIO, 0x20, 2, &d.dev), 0);
	assert_int_equal(kvm_bus_register(other, KVM_BUS_PIO, 0x30, 2, &d.dev), 0);
	kvm_put_vm(other);
	assert_int_equal(d.destroyed, 2);
}

static void test_many_devices(void **state)
{
	static struct test_device d[200];
	u64 val;

	for (u32 i = 0; i < 200; i++) {
		d[i] = (struct test_device)DEVICE(i);
		assert_int_equal(kvm_bus_register(kvm, KVM_BUS_PIO, i * 83 % 200 * 4, 2, &d[i].dev), 0);
	}
	for (u32 i = 0; i < 200; i++) {
		assert_int_equal(read_bus(KVM_BUS_PIO, i * 83 % 200 * 4 + 1, 1, &val), 0);
		assert_int_equal(val, i);
		assert_int_equal(read_bus(KVM_BUS_PIO, i * 83 % 200 * 4 + 2, 1, &val), -EOPNOTSUPP);
	}
	for (u32 i = 0; i < 200; i += 2)
		kvm_bus_unregister(kvm, KVM_BUS_PIO, &d[i].dev);
	for (u32 i = 0; i < 200; i++)
		assert_int_equal(read_bus(KVM_BUS_PIO, i * 83 % 200 * 4, 1, &val),
				 i & 1 ? 0 : -EOPNOTSUPP);
}

/* Devices come and go under a vCPU that uses them. */
static void poke(struct kvm_vcpu *vcpu, void *arg)
{
	u8 x = 1;

	kvm_bus_write(vcpu, KVM_BUS_PIO, 0x80, 1, &x);
}

static void freeing_destroy(struct kvm_io_device *dev)
{
	free(container_of(dev, struct test_device, dev));
}

static void test_removal_while_running(void **state)
{
	struct fake_runner *r = fake_run(v, poke, NULL);

	for (int i = 0; i < 500; i++) {
		struct test_device *d = calloc(1, sizeof(*d));

		d->dev = (struct kvm_io_device){ device_read, device_write, freeing_destroy };
		assert_int_equal(kvm_bus_register(kvm, KVM_BUS_PIO, 0x80, 1, &d->dev), 0);
		kvm_bus_unregister(kvm, KVM_BUS_PIO, &d->dev);
	}
	fake_run_stop(r);
}

/* ---- coalesced zones ---- */

static void test_coalesced(void **state)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = 0xa0000, .size = 0x1000 };
	struct kvm_coalesced_mmio_zone part = { .addr = 0xa0800, .size = 0x100 };
	struct kvm_coalesced_mmio_zone pio = { .addr = 0x3c0, .size = 0x10, .pio = 1 };
	struct kvm_coalesced_mmio_ring *ring = v->coalesced;
	u64 val;

	assert_ptr_equal((u8 *)ring, (u8 *)v->run + 2 * PAGE_SIZE);
	pio.pio = 2;
	assert_int_equal(kvm_register_coalesced(kvm, &pio), -EINVAL);
	assert_int_equal(kvm_unregister_coalesced(kvm, &pio), -EINVAL);
	pio.pio = 1;
	assert_int_equal(kvm_register_coalesced(kvm, &zone), 0);
	assert_int_equal(kvm_register_coalesced(kvm, &pio), 0);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0xa0004, 4, 0xdeadbeef), 0);
	assert_int_equal(write_bus(KVM_BUS_PIO, 0x3c4, 1, 7), 0);
	assert_int_equal(write_bus(KVM_BUS_PIO, 0x3d0, 1, 7), -EOPNOTSUPP);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0xa0ffe, 4, 0), -EOPNOTSUPP);
	assert_int_equal(read_bus(KVM_BUS_MMIO, 0xa0004, 4, &val), -EOPNOTSUPP);
	assert_int_equal(ring->last, 2);
	assert_int_equal(ring->coalesced_mmio[0].phys_addr, 0xa0004);
	assert_int_equal(ring->coalesced_mmio[0].len, 4);
	assert_int_equal(ring->coalesced_mmio[0].pio, 0);
	assert_memory_equal(ring->coalesced_mmio[0].data, "\xef\xbe\xad\xde", 4);
	assert_int_equal(ring->coalesced_mmio[1].pio, 1);

	/* Full: the VMM gets an exit. Nonsense in the ring: the same. */
	for (u32 i = 2; i < KVM_COALESCED_MMIO_MAX - 1; i++)
		assert_int_equal(write_bus(KVM_BUS_MMIO, 0xa0000, 1, i), 0);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0xa0000, 1, 0), -EOPNOTSUPP);
	ring->first = 5;
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0xa0000, 1, 0), 0);
	assert_int_equal(ring->last, 0);
	ring->last = 0xffffffff;
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0xa0000, 1, 0), -EOPNOTSUPP);
	ring->last = ring->first = 0;

	assert_int_equal(kvm_unregister_coalesced(kvm, &part), 0);	/* the zone that holds it */
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0xa0004, 4, 1), -EOPNOTSUPP);
	assert_int_equal(write_bus(KVM_BUS_PIO, 0x3c4, 1, 7), 0);
	assert_int_equal(kvm_unregister_coalesced(kvm, &part), 0);
}

/* ---- ioeventfd ---- */

static int ioeventfd(int fd, u32 flags, u64 addr, u32 len, u64 match)
{
	struct kvm_ioeventfd e = { .fd = fd, .flags = flags, .addr = addr, .len = len,
				   .datamatch = match };

	return kvm_ioeventfd(kvm, &e);
}

static u64 count_of(int fd)
{
	u64 n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

#define PIO	KVM_IOEVENTFD_FLAG_PIO
#define MATCH	KVM_IOEVENTFD_FLAG_DATAMATCH
#define GONE	KVM_IOEVENTFD_FLAG_DEASSIGN

static void test_ioeventfd(void **state)
{
	int a = eventfd(0, EFD_NONBLOCK), b = eventfd(0, EFD_NONBLOCK);
	u64 val;

	assert_int_equal(ioeventfd(a, 0, 0x1000, 3, 0), -EINVAL);
	assert_int_equal(ioeventfd(a, 0, ~0ull, 2, 0), -EINVAL);
	assert_int_equal(ioeventfd(a, 1 << 20, 0x1000, 2, 0), -EINVAL);
	assert_int_equal(ioeventfd(a, MATCH, 0x1000, 0, 0), -EINVAL);
	assert_int_equal(ioeventfd(-1, 0, 0x1000, 4, 0), -EBADF);
	assert_int_equal(ioeventfd(STDERR_FILENO, 0, 0x1000, 4, 0), -EINVAL);
	assert_int_equal(ioeventfd(a, GONE, 0x1000, 4, 0), -ENOENT);

	assert_int_equal(ioeventfd(a, MATCH, 0x1000, 4, 5), 0);
	assert_int_equal(ioeventfd(a, MATCH, 0x1000, 4, 5), -EEXIST);
	assert_int_equal(ioeventfd(b, 0, 0x1000, 4, 0), -EEXIST);	/* would take 5 too */
	assert_int_equal(ioeventfd(b, 0, 0x1000, 0, 0), -EEXIST);
	assert_int_equal(ioeventfd(b, MATCH, 0x1000, 4, 6), 0);
	assert_int_equal(ioeventfd(b, MATCH, 0x1000, 2, 5), 0);
	assert_int_equal(ioeventfd(b, PIO | MATCH, 0x1000, 4, 5), 0);

	assert_int_equal(write_bus(KVM_BUS_MMIO, 0x1000, 4, 5), 0);
	assert_int_equal(count_of(a), 1);
	assert_int_equal(count_of(b), 0);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0x1000, 4, 6), 0);
	assert_int_equal(count_of(b), 1);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0x1000, 2, 5), 0);
	assert_int_equal(count_of(b), 1);
	assert_int_equal(write_bus(KVM_BUS_PIO, 0x1000, 4, 5), 0);
	assert_int_equal(count_of(b), 1);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0x1000, 4, 7), -EOPNOTSUPP);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0x1000, 8, 5), -EOPNOTSUPP);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0x1001, 1, 5), -EOPNOTSUPP);
	assert_int_equal(read_bus(KVM_BUS_MMIO, 0x1000, 4, &val), -EOPNOTSUPP);
	assert_int_equal(count_of(a), 0);

	/* Only what was registered, exactly, can be taken away. */
	assert_int_equal(ioeventfd(b, GONE | MATCH, 0x1000, 4, 5), -ENOENT);
	assert_int_equal(ioeventfd(a, GONE, 0x1000, 4, 5), -ENOENT);
	assert_int_equal(ioeventfd(a, GONE | MATCH, 0x1000, 4, 5), 0);
	assert_int_equal(ioeventfd(a, GONE | MATCH, 0x1000, 4, 5), -ENOENT);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0x1000, 4, 5), -EOPNOTSUPP);

	/* Any length: 0. */
	assert_int_equal(ioeventfd(a, 0, 0x2000, 0, 0), 0);
	assert_int_equal(ioeventfd(b, 0, 0x2000, 4, 0), -EEXIST);
	for (int len = 1; len <= 8; len *= 2)
		assert_int_equal(write_bus(KVM_BUS_MMIO, 0x2000, len, 99), 0);
	assert_int_equal(count_of(a), 4);
	/* The VMM's descriptor may go; the event is still signalled. */
	b = dup(a);
	close(a);
	assert_int_equal(write_bus(KVM_BUS_MMIO, 0x2000, 1, 0), 0);
	assert_int_equal(count_of(b), 1);
	assert_int_equal(ioeventfd(b, GONE, 0x2000, 0, 0), 0);
	close(b);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lookup), TEST(two_places), TEST(many_devices), TEST(removal_while_running),
		TEST(coalesced), TEST(ioeventfd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
