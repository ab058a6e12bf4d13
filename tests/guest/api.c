/* SPDX-License-Identifier: GPL-2.0-only */
/* The API's own manners: versions, capabilities, and errors for what is not there. */
#include "harness.h"

#include <errno.h>

static void version(void)
{
	struct vm *vm = vm_create(0);

	CHECK_EQ(KVM(vm->system, KVM_GET_API_VERSION, 0), 12);
	CHECK(KVM(vm->system, KVM_GET_VCPU_MMAP_SIZE, 0) >= 4096);
	CHECK(TRY_KVM(vm->system, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) > 0);
	CHECK(TRY_KVM(vm->system, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0);
	CHECK(TRY_KVM(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS) >= 32);
	CHECK_EQ(TRY_KVM(vm->system, KVM_CHECK_EXTENSION, 0x7fffffff), 0);
}

static void unknown_ioctl(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vcpu_create(vm);

	CHECK_EQ(-TRY_KVM(vm->system, _IO(KVMIO, 0xfe), 0), EINVAL);
	CHECK_EQ(-TRY_KVM(vm->fd, _IO(KVMIO, 0xfe), 0), ENOTTY);
	CHECK_EQ(-TRY_KVM(vcpu->fd, _IO(KVMIO, 0xfe), 0), EINVAL);
}

static void create_vm_type(void)
{
	struct vm *vm = vm_create(0);

	CHECK_EQ(-TRY_KVM(vm->system, KVM_CREATE_VM, 0x1234), EINVAL);
}

static void create_vcpu_twice(void)
{
	struct vm *vm = vm_create(0);

	vcpu_create(vm);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_VCPU, 0), EEXIST);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_VCPU, 0x7fffffff), EINVAL);
}

static void irqchip_after_vcpu(void)
{
	struct vm *vm = vm_create(0);

	vcpu_create(vm);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_IRQCHIP, 0), EINVAL);
}

static void irqchip_twice(void)
{
	struct vm *vm = vm_create(VM_IRQCHIP);

	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_IRQCHIP, 0), EEXIST);
}

const struct test api_tests[] = {
	{ "api", "version", "API version 12, sizes and the capabilities every VMM asks for", version },
	{ "api", "unknown_ioctl", "an unknown request fails with Linux's errno for each descriptor",
	  unknown_ioctl },
	{ "api", "create_vm_type", "an unknown VM type is EINVAL", create_vm_type },
	{ "api", "create_vcpu_twice", "the same vCPU id twice is EEXIST, one out of range EINVAL",
	  create_vcpu_twice },
	{ "api", "irqchip_after_vcpu", "an interrupt chip after the first vCPU is EINVAL",
	  irqchip_after_vcpu },
	{ "api", "irqchip_twice", "a second interrupt chip is EEXIST", irqchip_twice },
	{ 0 }
};
