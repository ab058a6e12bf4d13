/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory slots: added, moved and removed while the vCPU is out; read-only; dirty logging. */
#include "harness.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static uint8_t *host_memory(size_t size)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static int slot(struct vm *vm, unsigned int number, uint64_t gpa, uint64_t size, uint8_t *host,
		uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = number, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return TRY_KVM(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static void add(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_readwrite");
	uint32_t *host = (uint32_t *)host_memory(0x1000);

	host[0] = 0x11111111;
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, (uint8_t *)host, 0), 0);
	run_to_sync(vcpu, 1);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 0x11111111);
	CHECK_EQ(host[1], 0x600d);
}

static void move(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_readwrite");
	uint32_t *host = (uint32_t *)host_memory(0x2000);

	host[0] = 0x11111111;
	host[0x400] = 0x22222222;
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x2000, (uint8_t *)host, 0), 0);
	run_to_sync(vcpu, 1);
	/* One page down: what the guest finds at MOVABLE is now the second page. */
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE - 0x1000, 0x2000, (uint8_t *)host, 0), 0);
	run_to_sync(vcpu, 2);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 0x22222222);
	CHECK_EQ(host[0x401], 0x600e);
	CHECK_EQ(host[1], 0x600d);
}

static void remove_slot(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_readwrite");
	uint32_t *host = (uint32_t *)host_memory(0x1000);

	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, (uint8_t *)host, 0), 0);
	run_to_sync(vcpu, 1);
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0, (uint8_t *)host, 0), 0);
	run_to_exit(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, MOVABLE);
	CHECK_EQ(vcpu->run->mmio.is_write, 0);
	CHECK_EQ(vcpu->run->mmio.len, 4);
	memcpy(vcpu->run->mmio.data, "\x78\x56\x34\x12", 4);
	run_to_exit(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 0x12345678);
	CHECK_EQ(vcpu->run->mmio.phys_addr, MOVABLE + 4);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	CHECK_EQ(host[1], 0x600d);
	run_to_sync(vcpu, 2);
	/* And again in: the same guest reads memory where it just met MMIO. */
	host[0] = 0x33333333;
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, (uint8_t *)host, 0), 0);
	run_to_pass(vcpu);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 0x33333333);
}

static void overlap(void)
{
	struct vm *vm = vm_create(0);
	uint8_t *host = host_memory(0x4000);

	CHECK_EQ(-slot(vm, 1, RAM_SIZE - 0x1000, 0x2000, host, 0), EEXIST);
	CHECK_EQ(slot(vm, 1, MOVABLE, 0x2000, host, 0), 0);
	CHECK_EQ(-slot(vm, 2, MOVABLE + 0x1000, 0x2000, host, 0), EEXIST);
	CHECK_EQ(slot(vm, 2, MOVABLE + 0x2000, 0x2000, host, 0), 0);
	/* A slot's size cannot change, nor can a slot that is not there be removed. */
	CHECK_EQ(-slot(vm, 1, MOVABLE, 0x1000, host, 0), EINVAL);
	CHECK_EQ(-slot(vm, 3, MOVABLE, 0, host, 0), EINVAL);
	/* Alignment, unknown flags, a slot number out of range. */
	CHECK_EQ(-slot(vm, 3, MOVABLE + 0x10001, 0x1000, host, 0), EINVAL);
	CHECK_EQ(-slot(vm, 3, MOVABLE + 0x10000, 0x1001, host, 0), EINVAL);
	CHECK_EQ(-slot(vm, 3, MOVABLE + 0x10000, 0x1000, host + 1, 0), EINVAL);
	CHECK_EQ(-slot(vm, 3, MOVABLE + 0x10000, 0x1000, host, 0x80000000), EINVAL);
	CHECK_EQ(-slot(vm, 0xffff, MOVABLE + 0x10000, 0x1000, host, 0), EINVAL);
}

const struct test slot_tests[] = {
	{ "slots", "add", "the guest reads and writes a slot's memory", add },
	{ "slots", "move", "a slot moved by a page shows its other page at the old address", move },
	{ "slots", "remove", "a removed slot is MMIO, and memory again once it is back", remove_slot },
	{ "slots", "bad", "overlap is EEXIST; bad size, alignment, flags or number EINVAL", overlap },
	{ 0 }
};
