/* SPDX-License-Identifier: GPL-2.0-only */
/* The API's own manners: versions, capabilities, and errors for what is not there. */
#include "harness.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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

static void arguments(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vcpu_create(vm);

	CHECK_EQ(-TRY_KVM(vm->system, KVM_GET_API_VERSION, 1), EINVAL);
	CHECK_EQ(-TRY_KVM(vm->system, KVM_GET_VCPU_MMAP_SIZE, 1), EINVAL);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_RUN, 1), EINVAL);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_SET_TSS_ADDR, 0xfffff000), EINVAL);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_GET_REGS, 8), EFAULT);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_SREGS, 8), EFAULT);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_SET_USER_MEMORY_REGION, 8), EFAULT);
}

/* What belongs to a chip, in a VM that has none. */
static void no_irqchip(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vcpu_create(vm);
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_irqchip chip = { .chip_id = 0 };
	struct kvm_lapic_state lapic;
	struct kvm_pit_state2 pit;

	CHECK_EQ(-TRY_KVM(vm->fd, KVM_IRQ_LINE, &line), ENXIO);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_GET_IRQCHIP, &chip), ENXIO);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_GET_PIT2, &pit), ENXIO);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_GET_LAPIC, &lapic), EINVAL);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_LAPIC, &lapic), EINVAL);
}

static void boot_cpu(void)
{
	struct vm *vm = vm_create(VM_IRQCHIP);
	struct kvm_mp_state state;

	NEED_CAP(vm, KVM_CAP_SET_BOOT_CPU_ID);
	KVM(vm->fd, KVM_SET_BOOT_CPU_ID, 1);
	vcpu_create(vm);
	vcpu_create(vm);
	KVM(vm->vcpus[0].fd, KVM_GET_MP_STATE, &state);
	CHECK_EQ(state.mp_state, KVM_MP_STATE_UNINITIALIZED);
	KVM(vm->vcpus[1].fd, KVM_GET_MP_STATE, &state);
	CHECK_EQ(state.mp_state, KVM_MP_STATE_RUNNABLE);
	CHECK_EQ(sregs_of(&vm->vcpus[0]).apic_base, 0xfee00800);
	CHECK_EQ(sregs_of(&vm->vcpus[1]).apic_base, 0xfee00900);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_SET_BOOT_CPU_ID, 0), EBUSY);
}

static void pit(void)
{
	struct vm *vm = vm_create(VM_PIT);
	struct kvm_pit_config config = { 0 };
	struct kvm_reinject_control control = { .pit_reinject = 1 };

	CHECK_EQ(-TRY_KVM(vm->fd, KVM_CREATE_PIT2, &config), EEXIST);
	NEED_CAP(vm, KVM_CAP_REINJECT_CONTROL);
	KVM(vm->fd, KVM_REINJECT_CONTROL, &control);
	control.pit_reinject = 0;
	KVM(vm->fd, KVM_REINJECT_CONTROL, &control);
	vm = vm_create(0);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_REINJECT_CONTROL, &control), ENXIO);
}

/* Every feature MSR of the list can be read at the system descriptor. */
static void msr_features(void)
{
	struct vm *vm = vm_create(0);
	static struct {
		struct kvm_msr_list header;
		uint32_t indices[256];
	} list = { .header.nmsrs = 256 };

	NEED_CAP(vm, KVM_CAP_GET_MSR_FEATURES);
	KVM(vm->system, KVM_GET_MSR_FEATURE_INDEX_LIST, &list);
	for (unsigned int i = 0; i < list.header.nmsrs; i++) {
		struct {
			struct kvm_msrs header;
			struct kvm_msr_entry entry;
		} one = { .header.nmsrs = 1, .entry.index = list.header.indices[i] };

		CHECK_EQ(TRY_KVM(vm->system, KVM_GET_MSRS, &one), 1);
	}
}

static void emulated_cpuid(void)
{
	struct vm *vm = vm_create(0);
	static struct {
		struct kvm_cpuid2 header;
		struct kvm_cpuid_entry2 entries[256];
	} c = { .header.nent = 256 };

	NEED_CAP(vm, KVM_CAP_EXT_EMUL_CPUID);
	KVM(vm->system, KVM_GET_EMULATED_CPUID, &c);
	CHECK(c.header.nent < 256);
}

static void mce(void)
{
	struct vm *vm = vm_create(0);
	struct vcpu *vcpu = vcpu_create(vm);
	uint64_t cap;

	NEED_CAP(vm, KVM_CAP_MCE);
	KVM(vm->system, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap);
	CHECK((cap & 0xff) == 0 && cap != 0);
	cap |= 5;
	KVM(vcpu->fd, KVM_X86_SETUP_MCE, &cap);
	/* AMD's has no more than these bits. */
	CHECK_EQ(msr_of(vcpu, 0x179) & 0x1ff, cap & 0x1ff);
	cap = 0xff;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_X86_SETUP_MCE, &cap), EINVAL);
}

/* Reads a statistics descriptor and looks whether it describes itself well; the figure of that name. */
static uint64_t statistic(int fd, const char *name, const char *id)
{
	struct kvm_stats_header h;
	char text[64] = "", buf[128];
	struct kvm_stats_desc *d = (void *)buf;
	uint64_t value = ~0ull;

	CHECK_EQ(pread(fd, &h, sizeof(h), 0), sizeof(h));
	CHECK(h.name_size <= sizeof(text) && h.num_desc > 0);
	CHECK_EQ(pread(fd, text, h.name_size, h.id_offset), h.name_size);
	CHECK(!strncmp(text, "kvm-", 4));
	CHECK(!id || strstr(text, id));
	for (uint32_t n = 0; n < h.num_desc; n++) {
		size_t size = sizeof(*d) + h.name_size;

		CHECK_EQ(pread(fd, d, size, h.desc_offset + n * size), size);
		CHECK((d->flags & KVM_STATS_TYPE_MASK) <= KVM_STATS_TYPE_MAX);
		CHECK((d->flags & KVM_STATS_UNIT_MASK) <= KVM_STATS_UNIT_MAX);
		CHECK(d->size > 0);
		if (!strcmp(d->name, name))
			CHECK_EQ(pread(fd, &value, 8, h.data_offset + d->offset), 8);
	}
	return value;
}

static void statistics(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	int vm_fd, fd;
	uint64_t exits;

	NEED_CAP(vcpu->vm, KVM_CAP_BINARY_STATS_FD);
	vm_fd = KVM(vcpu->vm->fd, KVM_GET_STATS_FD, 0);
	CHECK(statistic(vm_fd, "remote_tlb_flush", NULL) != ~0ull);
	CHECK(write(vm_fd, &fd, 4) < 0);
	fd = KVM(vcpu->fd, KVM_GET_STATS_FD, 0);
	exits = statistic(fd, "exits", "vcpu-0");
	run_to_exit(vcpu, KVM_EXIT_HLT);
	/* A descriptor goes on to tell how it is. */
	CHECK(statistic(fd, "exits", "vcpu-0") > exits);
	fd = KVM(vcpu->fd, KVM_GET_STATS_FD, 0);
	CHECK_EQ(statistic(fd, "halt_exits", "vcpu-0"), 1);
}

static void tsc_offset(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "run_hlt");
	uint64_t offset = 0, tsc;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&offset };

	if (TRY_KVM(vcpu->fd, KVM_HAS_DEVICE_ATTR, &attr))
		skip("KVM_VCPU_TSC_OFFSET is not there");
	KVM(vcpu->fd, KVM_GET_DEVICE_ATTR, &attr);
	tsc = msr_of(vcpu, 0x10);
	offset += 1ull << 50;
	KVM(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr);
	CHECK_EQ((msr_of(vcpu, 0x10) - tsc) >> 50, 1);
	offset = 0;
	KVM(vcpu->fd, KVM_GET_DEVICE_ATTR, &attr);
	offset -= 1ull << 50;
	KVM(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr);
	CHECK((msr_of(vcpu, 0x10) - tsc) >> 40 == 0);

	attr.addr = 8;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_GET_DEVICE_ATTR, &attr), EFAULT);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr), EFAULT);
	attr.attr = 1;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_HAS_DEVICE_ATTR, &attr), ENXIO);
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr), ENXIO);
	attr.group = 1;
	attr.attr = 0;
	CHECK_EQ(-TRY_KVM(vcpu->fd, KVM_GET_DEVICE_ATTR, &attr), ENXIO);
}

const struct test api_tests[] = {
	{ "api", "version", "API version 12, sizes and the capabilities every VMM asks for",
	  version },
	{ "api", "unknown_ioctl", "an unknown request fails with Linux's errno for each descriptor",
	  unknown_ioctl },
	{ "api", "create_vm_type", "an unknown VM type is EINVAL", create_vm_type },
	{ "api", "create_vcpu_twice", "the same vCPU id twice is EEXIST, one out of range EINVAL",
	  create_vcpu_twice },
	{ "api", "irqchip_after_vcpu", "an interrupt chip after the first vCPU is EINVAL",
	  irqchip_after_vcpu },
	{ "api", "irqchip_twice", "a second interrupt chip is EEXIST", irqchip_twice },
	{ "api", "arguments", "an argument where none belongs is EINVAL, a bad pointer EFAULT",
	  arguments },
	{ "api", "no_irqchip", "requests of chips that are not there: ENXIO, EINVAL", no_irqchip },
	{ "api", "boot_cpu", "KVM_SET_BOOT_CPU_ID makes another vCPU the first", boot_cpu },
	{ "api", "pit", "a second PIT is EEXIST; KVM_REINJECT_CONTROL", pit },
	{ "api", "msr_features", "each MSR of the feature list reads at the system's descriptor",
	  msr_features },
	{ "api", "emulated_cpuid", "KVM_GET_EMULATED_CPUID", emulated_cpuid },
	{ "api", "mce", "KVM_X86_SETUP_MCE sets the banks that IA32_MCG_CAP shows", mce },
	{ "api", "statistics", "KVM_GET_STATS_FD: a file that describes itself, with figures that go on",
	  statistics },
	{ "api", "tsc_offset", "the TSC's offset as a vCPU's device attribute", tsc_offset,
	  .wrong_on_paravirt = "its guests have the host's TSC" },
	{ 0 }
};
