/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The edges of the KVM API: wrong numbers, wrong pointers, wrong order. The same checks run over libanykvm
 * and, where /dev/kvm opens, over Linux's KVM, so that what is expected is what Linux does. Then what is
 * libanykvm's own: its descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <linux/kvm.h>

#include "kvm/anykvm.h"

#define PAGE	4096ul
#define BAD	((void *)8)

/* ---- the two providers ---- */

static bool linux_kvm;

static int linux_ioctl(int fd, unsigned long request, void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

static int open_kvm(void)
{
	int fd;

	if (!linux_kvm)
		return anykvm_open();
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int call(int fd, unsigned long request, void *arg)
{
	return linux_kvm ? linux_ioctl(fd, request, arg) : anykvm_ioctl(fd, request, arg);
}

static int call_n(int fd, unsigned long request, unsigned long arg)
{
	return call(fd, request, (void *)arg);
}

static void close_kvm(int fd)
{
	if (linux_kvm)
		close(fd);
	else
		assert_int_equal(anykvm_close(fd), 0);
}

static int sys, vm, vcpu;

static int setup_system(void **state)
{
	vm = vcpu = -1;
	sys = open_kvm();
	return sys < 0;
}

static int setup_vm(void **state)
{
	int r = setup_system(state);

	if (!r)
		vm = call_n(sys, KVM_CREATE_VM, 0);
	return r || vm < 0;
}

static int setup_vcpu(void **state)
{
	int r = setup_vm(state);

	if (!r)
		vcpu = call_n(vm, KVM_CREATE_VCPU, 0);
	return r || vcpu < 0;
}

static int teardown(void **state)
{
	if (vcpu >= 0)
		close_kvm(vcpu);
	if (vm >= 0)
		close_kvm(vm);
	close_kvm(sys);
	return 0;
}

/* ---- the system ---- */

static void test_system(void **state)
{
	int fd;

	assert_int_equal(call_n(sys, KVM_GET_API_VERSION, 0), 12);
	assert_int_equal(call_n(sys, KVM_GET_API_VERSION, 1), -EINVAL);
	assert_int_equal(call_n(sys, KVM_GET_VCPU_MMAP_SIZE, 0), 3 * PAGE);
	assert_int_equal(call_n(sys, KVM_GET_VCPU_MMAP_SIZE, 1), -EINVAL);
	assert_int_equal(call_n(sys, KVM_CREATE_VM, 12345), -EINVAL);
	assert_int_equal(call_n(sys, 0xabcd, 0), -EINVAL);
	assert_int_equal(call_n(sys, KVM_RUN, 0), -EINVAL);
	assert_int_equal(call_n(sys, KVM_CHECK_EXTENSION, 0xffffffff), 0);
	assert_int_equal(call_n(sys, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), 1);
	fd = call_n(sys, KVM_CREATE_VM, 0);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close_kvm(fd);
}

static void test_lists(void **state)
{
	struct { struct kvm_msr_list head; uint32_t index[1024]; } *msrs = calloc(1, sizeof(*msrs));
	struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 e[256]; } *cpuid = calloc(1, sizeof(*cpuid));
	uint32_t n;

	assert_int_equal(call(sys, KVM_GET_MSR_INDEX_LIST, BAD), -EFAULT);
	assert_int_equal(call(sys, KVM_GET_MSR_INDEX_LIST, msrs), -E2BIG);
	n = msrs->head.nmsrs;
	assert_true(n > 10 && n < 1024);
	msrs->head.nmsrs = n - 1;
	assert_int_equal(call(sys, KVM_GET_MSR_INDEX_LIST, msrs), -E2BIG);
	assert_int_equal(msrs->index[0], 0);
	msrs->head.nmsrs = 1024;
	assert_int_equal(call(sys, KVM_GET_MSR_INDEX_LIST, msrs), 0);
	assert_int_equal(msrs->head.nmsrs, n);
	assert_int_not_equal(msrs->index[n - 1], 0);
	msrs->head.nmsrs = 0;
	assert_int_equal(call(sys, KVM_GET_MSR_FEATURE_INDEX_LIST, msrs), -E2BIG);
	assert_int_equal(call(sys, KVM_GET_MSR_FEATURE_INDEX_LIST, BAD), -EFAULT);

	assert_int_equal(call(sys, KVM_GET_SUPPORTED_CPUID, BAD), -EFAULT);
	assert_int_equal(call(sys, KVM_GET_SUPPORTED_CPUID, cpuid), -E2BIG);
	cpuid->head.nent = 3;
	assert_int_equal(call(sys, KVM_GET_SUPPORTED_CPUID, cpuid), -E2BIG);
	cpuid->head.nent = 256;
	assert_int_equal(call(sys, KVM_GET_SUPPORTED_CPUID, cpuid), 0);
	assert_true(cpuid->head.nent > 10 && cpuid->head.nent < 256);
	cpuid->head.nent = 100000;	/* taken for as many as there may be */
	assert_int_equal(call(sys, KVM_GET_EMULATED_CPUID, cpuid), 0);
	free(msrs);
	free(cpuid);
}

/* What is offered, both have; the numbers may differ where Linux's depend on the machine. */
static void test_capabilities(void **state)
{
	static const int same[] = {
		KVM_CAP_IRQCHIP, KVM_CAP_USER_MEMORY, KVM_CAP_EXT_CPUID, KVM_CAP_NR_MEMSLOTS,
		KVM_CAP_MP_STATE, KVM_CAP_COALESCED_MMIO, KVM_CAP_IRQ_ROUTING, KVM_CAP_PIT2,
		KVM_CAP_IOEVENTFD, KVM_CAP_IOEVENTFD_ANY_LENGTH, KVM_CAP_IRQFD, KVM_CAP_IRQFD_RESAMPLE,
		KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_READONLY_MEM, KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_SIGNAL_MSI,
		KVM_CAP_DIRTY_LOG_RING, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_CAP_EXCEPTION_PAYLOAD,
		KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_ENABLE_CAP_VM, KVM_CAP_X86_ROBUST_SINGLESTEP,
		KVM_CAP_MCE, KVM_CAP_XSAVE, KVM_CAP_XCRS, KVM_CAP_DEBUGREGS, KVM_CAP_VCPU_EVENTS,
		KVM_CAP_SYS_ATTRIBUTES, KVM_CAP_ADJUST_CLOCK, KVM_CAP_TSC_DEADLINE_TIMER, KVM_CAP_SREGS2,
	};
	static const int32_t expected[] = {
		1, 1, 1, 32764, 1, 2, 4096, 1, 1, 1, 1, 1, 1, 1, 1, 1, 65536 * 16, 3, 1, 1, 1, 1, 32, 1, 1, 1,
		1, 1, 14, 1, 1,
	};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_int_equal(call_n(sys, KVM_CHECK_EXTENSION, same[i]), expected[i]);
		assert_int_equal(call_n(vm, KVM_CHECK_EXTENSION, same[i]), expected[i]);
	}
	assert_true(call_n(sys, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS) >=
		    call_n(sys, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS));
	assert_true(call_n(sys, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2) >= (int)PAGE);
}

/* ---- a VM ---- */

static void test_vm(void **state)
{
	int id_limit = call_n(sys, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPU_ID), fd;
	struct kvm_create_device device = { .type = 99 };

	assert_int_equal(call_n(vm, 0xabcd, 0), -ENOTTY);
	assert_int_equal(call_n(vm, KVM_RUN, 0), -ENOTTY);
	assert_int_equal(call_n(vm, KVM_GET_API_VERSION, 0), -ENOTTY);
	fd = call_n(vm, KVM_CREATE_VCPU, 3);
	assert_true(fd >= 0);
	assert_int_equal(call_n(vm, KVM_CREATE_VCPU, 3), -EEXIST);
	assert_int_equal(call_n(vm, KVM_CREATE_VCPU, id_limit), -EINVAL);
	assert_int_equal(call_n(vm, KVM_CREATE_VCPU, 0xffffffff), -EINVAL);
	close_kvm(fd);
	assert_int_equal(call_n(vm, KVM_CREATE_VCPU, 3), -EEXIST);	/* it lives as long as the VM */
	assert_int_equal(call(vm, KVM_CREATE_DEVICE, &device), -ENODEV);
	assert_int_equal(call(vm, KVM_CREATE_DEVICE, BAD), -EFAULT);
	assert_int_equal(call_n(vm, KVM_SET_TSS_ADDR, 0xfffbd000), 0);
	assert_int_equal(call_n(vm, KVM_SET_TSS_ADDR, 0xffffe000), -EINVAL);
	assert_int_equal(call_n(vm, KVM_SET_BOOT_CPU_ID, 1), -EBUSY);
	assert_int_equal(call_n(vm, KVM_SET_NR_MMU_PAGES, 3), -EINVAL);
	assert_int_equal(call_n(vm, KVM_SET_NR_MMU_PAGES, 1000), 0);
}

static int region(uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *host)
{
	struct kvm_userspace_memory_region r = { slot, flags, gpa, size, (uint64_t)host };

	return call(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

static void test_memory(void **state)
{
	char *mem = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t map[2];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = map };
	struct kvm_clear_dirty_log clear = { .slot = 1, .num_pages = 16, .dirty_bitmap = map };

	assert_int_equal(call(vm, KVM_SET_USER_MEMORY_REGION, BAD), -EFAULT);
	assert_int_equal(region(0, 0, 0, 0, NULL), -EINVAL);
	assert_int_equal(region(0, 0, 0, PAGE + 1, mem), -EINVAL);
	assert_int_equal(region(0, 0, 1, PAGE, mem), -EINVAL);
	assert_int_equal(region(0, 0, 0, PAGE, mem + 1), -EINVAL);
	assert_int_equal(region(0, 1 << 9, 0, PAGE, mem), -EINVAL);
	assert_int_equal(region(32764, 0, 0, PAGE, mem), -EINVAL);
	assert_int_equal(region(0, 0, -PAGE, 2 * PAGE, mem), -EINVAL);
	assert_int_equal(region(0, 0, 0, PAGE, (void *)0xffff880000000000), -EINVAL);
	assert_int_equal(region(0, 0, 0, PAGE, (void *)(1ul << 60)), -EINVAL);
	assert_int_equal(region(0, 0, 0, 1ul << 43, mem), -EINVAL);
	assert_int_equal(region(1, 0, 0x10000, 16 * PAGE, mem), 0);
	assert_int_equal(region(2, 0, 0x1f000, 16 * PAGE, mem), -EEXIST);
	assert_int_equal(region(2, 0, 0x20000, 16 * PAGE, mem), 0);	/* memory twice: fine */
	assert_int_equal(region(1, 0, 0x10000, 8 * PAGE, mem), -EINVAL);
	assert_int_equal(region(1, KVM_MEM_READONLY, 0x10000, 16 * PAGE, mem), -EINVAL);
	assert_int_equal(region(1, 0, 0x18000, 16 * PAGE, mem), -EEXIST);
	assert_int_equal(region(1, 0, 0x30000, 16 * PAGE, mem), 0);

	assert_int_equal(call(vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	assert_int_equal(call(vm, KVM_GET_DIRTY_LOG, BAD), -EFAULT);
	assert_int_equal(region(1, KVM_MEM_LOG_DIRTY_PAGES, 0x30000, 16 * PAGE, mem), 0);
	memset(map, 0xff, sizeof(map));
	assert_int_equal(call(vm, KVM_GET_DIRTY_LOG, &log), 0);
	assert_true(map[0] == 0 && map[1] == ~0ull);
	log.dirty_bitmap = BAD;
	assert_int_equal(call(vm, KVM_GET_DIRTY_LOG, &log), -EFAULT);
	log.slot = 40000;
	assert_int_equal(call(vm, KVM_GET_DIRTY_LOG, &log), -EINVAL);
	assert_int_equal(call(vm, KVM_CLEAR_DIRTY_LOG, &clear), 0);
	clear.first_page = 1;
	assert_int_equal(call(vm, KVM_CLEAR_DIRTY_LOG, &clear), -EINVAL);
	clear.first_page = 0;
	clear.num_pages = 17;
	assert_int_equal(call(vm, KVM_CLEAR_DIRTY_LOG, &clear), -EINVAL);
	clear.num_pages = 16;
	clear.slot = 2;
	assert_int_equal(call(vm, KVM_CLEAR_DIRTY_LOG, &clear), -ENOENT);
	assert_int_equal(region(1, 0, 0, 0, NULL), 0);
	assert_int_equal(region(1, 0, 0, 0, NULL), -EINVAL);
	munmap(mem, 16 * PAGE);
}

static void test_no_irqchip(void **state)
{
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_irqchip chip = { 0 };
	struct kvm_irq_routing routing = { 0 };
	struct kvm_pit_config pit = { 0 };
	struct kvm_pit_state2 pit_state;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x30 };
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0) };

	assert_int_equal(call(vm, KVM_IRQ_LINE, &line), -ENXIO);
	assert_int_equal(call(vm, KVM_IRQ_LINE, BAD), -EFAULT);
	assert_int_equal(call(vm, KVM_GET_IRQCHIP, &chip), -ENXIO);
	assert_int_equal(call(vm, KVM_SET_IRQCHIP, &chip), -ENXIO);
	assert_int_equal(call(vm, KVM_SET_GSI_ROUTING, &routing), -EINVAL);
	assert_int_equal(call(vm, KVM_CREATE_PIT2, &pit), -ENOENT);
	assert_int_equal(call(vm, KVM_GET_PIT2, &pit_state), -ENXIO);
	assert_int_equal(call(vm, KVM_SIGNAL_MSI, &msi), -EINVAL);
	assert_int_equal(call(vm, KVM_IRQFD, &irqfd), -EINVAL);
	close(irqfd.fd);
}

static void test_irqchip(void **state)
{
	struct { struct kvm_irq_routing head; struct kvm_irq_routing_entry e[4]; } r = { .head.nr = 1 };
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_pit_config pit = { 0 };
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x30, .flags = 2 };
	int cpu;

	assert_int_equal(call_n(vm, KVM_CREATE_IRQCHIP, 0), 0);
	assert_int_equal(call_n(vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
	assert_int_equal(call(vm, KVM_CREATE_PIT2, BAD), -EFAULT);
	assert_int_equal(call(vm, KVM_CREATE_PIT2, &pit), 0);
	assert_int_equal(call(vm, KVM_CREATE_PIT2, &pit), -EEXIST);
	assert_int_equal(call(vm, KVM_IRQ_LINE, &line), 0);
	line.irq = 0x70000000;
	assert_int_equal(call(vm, KVM_IRQ_LINE, &line), 0);	/* nobody there: no error */
	assert_int_equal(call(vm, KVM_IRQ_LINE_STATUS, &line), 0);
	assert_int_equal(line.status, -1);
	assert_int_equal(call(vm, KVM_GET_IRQCHIP, &chip), 0);
	assert_int_equal(call(vm, KVM_SET_IRQCHIP, &chip), 0);
	chip.chip_id = 3;
	assert_int_equal(call(vm, KVM_GET_IRQCHIP, &chip), -EINVAL);
	assert_int_equal(call(vm, KVM_SIGNAL_MSI, &msi), -EINVAL);

	r.e[0] = (struct kvm_irq_routing_entry){ .gsi = 4, .type = KVM_IRQ_ROUTING_IRQCHIP,
						 .u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = 4 } };
	r.e[1] = r.e[0];
	assert_int_equal(call(vm, KVM_SET_GSI_ROUTING, &r), 0);
	r.head.nr = 2;
	assert_int_equal(call(vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.head.nr = 1;
	r.head.flags = 1;
	assert_int_equal(call(vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.head.flags = 0;
	r.head.nr = 5000;
	assert_int_equal(call(vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.head.nr = 1;
	r.e[0].u.irqchip.pin = 24;
	assert_int_equal(call(vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.e[0].u.irqchip.pin = 4;
	r.e[0].gsi = 4096;
	assert_int_equal(call(vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.head.nr = 0;
	assert_int_equal(call(vm, KVM_SET_GSI_ROUTING, &r), 0);
	cpu = call_n(vm, KVM_CREATE_VCPU, 0);
	assert_true(cpu >= 0);
	close_kvm(cpu);
}

static void test_irqchip_after_vcpu(void **state)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	uint64_t addr = 0xfffbc000;

	assert_int_equal(call_n(vm, KVM_CREATE_IRQCHIP, 0), -EINVAL);
	assert_int_equal(call(vm, KVM_ENABLE_CAP, &split), -EEXIST);
	assert_int_equal(call(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), -EINVAL);
}

static int enable(int fd, uint32_t cap, uint32_t flags, uint64_t arg)
{
	struct kvm_enable_cap c = { .cap = cap, .flags = flags, .args = { arg } };

	return call(fd, KVM_ENABLE_CAP, &c);
}

static void test_enable_cap(void **state)
{
	struct kvm_irqchip chip = { 0 };

	assert_int_equal(call(vm, KVM_ENABLE_CAP, BAD), -EFAULT);
	assert_int_equal(enable(vm, 0x7fffffff, 0, 0), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_SPLIT_IRQCHIP, 1, 24), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_SPLIT_IRQCHIP, 0, 5000), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_X2APIC_API, 0, 1ull << 40), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_X2APIC_API, 0, 3), 0);
	assert_int_equal(enable(vm, KVM_CAP_SPLIT_IRQCHIP, 0, 24), 0);
	assert_int_equal(enable(vm, KVM_CAP_SPLIT_IRQCHIP, 0, 24), -EEXIST);
	assert_int_equal(call_n(vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
	assert_int_equal(call(vm, KVM_GET_IRQCHIP, &chip), -ENXIO);
	assert_int_equal(enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 2), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 4), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 3), 0);
	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING, 0, 4095), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING, 0, 1ull << 21), -E2BIG);
	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING, 0, 65536), 0);
	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING, 0, 131072), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_EXCEPTION_PAYLOAD, 0, 1), 0);
	assert_int_equal(enable(vm, KVM_CAP_DISABLE_QUIRKS2, 0, 1ull << 50), -EINVAL);
	assert_int_equal(enable(vm, KVM_CAP_X86_DISABLE_EXITS, 0, 1 << 10), -EINVAL);
	assert_int_equal(call_n(vm, KVM_RESET_DIRTY_RINGS, 0), 0);
}

static void test_ioeventfd(void **state)
{
	struct kvm_ioeventfd io = { .addr = 0x1000, .len = 3, .fd = eventfd(0, 0) };

	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), -EINVAL);
	io.len = 4;
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), 0);
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), -EEXIST);
	io.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), -EEXIST);
	io.len = 0;
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), -EINVAL);
	io.len = 4;
	io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN | KVM_IOEVENTFD_FLAG_DATAMATCH;
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), -ENOENT);
	io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), 0);
	io.flags = 0;
	io.addr = ~0ull;
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), -EINVAL);
	io.addr = 0x1000;
	close(io.fd);
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), -EBADF);
	io.fd = STDOUT_FILENO;
	assert_int_equal(call(vm, KVM_IOEVENTFD, &io), -EINVAL);
}

static void test_coalesced(void **state)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = 0xa0000, .size = 0x1000 };

	assert_int_equal(call(vm, KVM_REGISTER_COALESCED_MMIO, &zone), 0);
	assert_int_equal(call(vm, KVM_UNREGISTER_COALESCED_MMIO, &zone), 0);
	assert_int_equal(call(vm, KVM_UNREGISTER_COALESCED_MMIO, &zone), 0);
	zone.pio = 2;
	assert_int_equal(call(vm, KVM_REGISTER_COALESCED_MMIO, &zone), -EINVAL);
	assert_int_equal(call(vm, KVM_REGISTER_COALESCED_MMIO, BAD), -EFAULT);
}

static void test_clock(void **state)
{
	struct kvm_clock_data d = { 0 };

	assert_int_equal(call(vm, KVM_GET_CLOCK, &d), 0);
	assert_true(d.clock < 60000000000ull);
	d.clock = 1ull << 40;
	d.flags = 0;
	assert_int_equal(call(vm, KVM_SET_CLOCK, &d), 0);
	assert_int_equal(call(vm, KVM_GET_CLOCK, &d), 0);
	assert_true(d.clock >= 1ull << 40 && d.clock < (1ull << 40) + 60000000000ull);
	d.flags = 1;
	assert_int_equal(call(vm, KVM_SET_CLOCK, &d), -EINVAL);
}

/* ---- a vCPU ---- */

static void test_vcpu(void **state)
{
	struct { struct kvm_signal_mask head; uint64_t set; } mask = { .head.len = 4 };
	struct { struct kvm_msrs head; struct kvm_msr_entry e[3]; } msrs = { .head.nmsrs = 3 };
	struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 e[64]; } cpuid = { .head.nent = 300 };
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_lapic_state *lapic = calloc(1, sizeof(*lapic));
	struct kvm_interrupt irq = { .irq = 256 };
	struct kvm_debugregs debug;
	struct kvm_xsave *xsave = calloc(1, sizeof(*xsave));
	struct kvm_xcrs xcrs;

	assert_int_equal(call_n(vcpu, 0xabcd, 0), -EINVAL);
	assert_int_equal(call_n(vcpu, _IO(KVMIO, 0xfe), 0), -EINVAL);
	assert_int_equal(call_n(vcpu, KVM_CREATE_VCPU, 0), -EINVAL);
	assert_int_equal(call_n(vcpu, KVM_RUN, 1), -EINVAL);
	assert_int_equal(call(vcpu, KVM_GET_REGS, BAD), -EFAULT);
	assert_int_equal(call(vcpu, KVM_SET_REGS, BAD), -EFAULT);
	assert_int_equal(call(vcpu, KVM_GET_REGS, &regs), 0);
	assert_int_equal(regs.rip, 0xfff0);
	assert_int_equal(regs.rflags, 2);
	regs.rax = 0x1122334455667788;
	assert_int_equal(call(vcpu, KVM_SET_REGS, &regs), 0);
	memset(&regs, 0, sizeof(regs));
	assert_int_equal(call(vcpu, KVM_GET_REGS, &regs), 0);
	assert_int_equal(regs.rax, 0x1122334455667788);
	assert_int_equal(call(vcpu, KVM_GET_SREGS, &sregs), 0);
	assert_int_equal(sregs.cs.base, 0xffff0000);
	assert_int_equal(sregs.cs.selector, 0xf000);
	assert_int_equal(sregs.cr0, 0x60000010);
	assert_int_equal(call(vcpu, KVM_SET_SREGS, &sregs), 0);
	sregs.cr0 = 0x80000000;				/* paging without protection */
	assert_int_equal(call(vcpu, KVM_SET_SREGS, &sregs), -EINVAL);

	assert_int_equal(call(vcpu, KVM_GET_LAPIC, lapic), -EINVAL);	/* it is the VMM's */
	assert_int_equal(call(vcpu, KVM_INTERRUPT, &irq), -EINVAL);
	assert_int_equal(call(vcpu, KVM_SET_SIGNAL_MASK, NULL), 0);
	assert_int_equal(call(vcpu, KVM_SET_SIGNAL_MASK, &mask), -EINVAL);
	mask.head.len = 8;
	assert_int_equal(call(vcpu, KVM_SET_SIGNAL_MASK, &mask), 0);
	assert_int_equal(call(vcpu, KVM_SET_SIGNAL_MASK, NULL), 0);
	assert_int_equal(call(vcpu, KVM_SET_SIGNAL_MASK, BAD), -EFAULT);

	/* MSRs up to the first that is not there. */
	msrs.e[0].index = 0x10;
	msrs.e[1].index = 0xdeadbeef;
	msrs.e[2].index = 0x10;
	assert_int_equal(call(vcpu, KVM_GET_MSRS, &msrs), 1);
	msrs.e[0].index = 0xc0000081;
	msrs.e[0].data = 0x1234567800000000;
	assert_int_equal(call(vcpu, KVM_SET_MSRS, &msrs), 1);
	msrs.e[0].data = 0;
	msrs.head.nmsrs = 1;
	assert_int_equal(call(vcpu, KVM_GET_MSRS, &msrs), 1);
	assert_int_equal(msrs.e[0].data, 0x1234567800000000);
	msrs.head.nmsrs = 0;
	assert_int_equal(call(vcpu, KVM_GET_MSRS, &msrs), 0);
	msrs.head.nmsrs = 256;
	assert_int_equal(call(vcpu, KVM_GET_MSRS, &msrs), -E2BIG);
	assert_int_equal(call(vcpu, KVM_GET_MSRS, BAD), -EFAULT);

	assert_int_equal(call(vcpu, KVM_SET_CPUID2, &cpuid), -E2BIG);
	assert_int_equal(call(vcpu, KVM_SET_CPUID2, BAD), -EFAULT);
	cpuid.head.nent = 2;
	cpuid.e[0] = (struct kvm_cpuid_entry2){ .function = 0, .eax = 1 };
	cpuid.e[1] = (struct kvm_cpuid_entry2){ .function = 1, .eax = 0x600, .edx = 0x78bfbff };
	assert_int_equal(call(vcpu, KVM_SET_CPUID2, &cpuid), 0);
	cpuid.head.nent = 1;
	assert_int_equal(call(vcpu, KVM_GET_CPUID2, &cpuid), -E2BIG);
	cpuid.head.nent = 64;
	memset(cpuid.e, 0, sizeof(cpuid.e));
	assert_int_equal(call(vcpu, KVM_GET_CPUID2, &cpuid), 0);
	if (!linux_kvm)		/* a paravirtual KVM adds leaves of its own */
		assert_int_equal(cpuid.head.nent, 2);
	assert_int_equal(cpuid.e[1].function, 1);
	assert_int_equal(cpuid.e[1].eax, 0x600);

	assert_int_equal(call(vcpu, KVM_GET_DEBUGREGS, &debug), 0);
	assert_int_equal(debug.dr6, 0xffff0ff0);
	debug.flags = 1;
	assert_int_equal(call(vcpu, KVM_SET_DEBUGREGS, &debug), -EINVAL);
	assert_int_equal(call(vcpu, KVM_GET_XSAVE, xsave), 0);
	assert_int_equal(call(vcpu, KVM_SET_XSAVE, xsave), 0);
	assert_int_equal(call(vcpu, KVM_GET_XCRS, &xcrs), 0);
	assert_int_equal(xcrs.nr_xcrs, 1);
	assert_int_equal(xcrs.xcrs[0].value, 1);
	assert_int_equal(enable(vcpu, 0x7fffffff, 0, 0), -EINVAL);
	free(lapic);
	free(xsave);
}

static void test_mp_state(void **state)
{
	struct kvm_mp_state mp = { 99 };

	assert_int_equal(call(vcpu, KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(mp.mp_state, KVM_MP_STATE_RUNNABLE);
	mp.mp_state = KVM_MP_STATE_UNINITIALIZED;
	assert_int_equal(call(vcpu, KVM_SET_MP_STATE, &mp), -EINVAL);	/* without a chip there is no INIT */
	mp.mp_state = 77;
	assert_int_equal(call(vcpu, KVM_SET_MP_STATE, &mp), -EINVAL);
}

/* A guest of one HLT, in real mode. */
static struct kvm_run *halting_guest(char **mem)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_run *run = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	assert_true(run != MAP_FAILED);
	*mem = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(*mem + PAGE, 0xf4, PAGE);
	assert_int_equal(region(0, 0, 0, 16 * PAGE, *mem), 0);
	assert_int_equal(call(vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = sregs.cs.selector = 0;
	assert_int_equal(call(vcpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(call(vcpu, KVM_SET_REGS, &regs), 0);
	return run;
}

static void free_guest(struct kvm_run *run, char *mem)
{
	assert_int_equal(region(0, 0, 0, 0, NULL), 0);
	munmap(run, 3 * PAGE);
	munmap(mem, 16 * PAGE);
}

static void test_run(void **state)
{
	char *mem;
	struct kvm_run *run = halting_guest(&mem);
	struct kvm_regs regs;

	assert_int_equal(call(vcpu, KVM_RUN, NULL), 0);
	assert_int_equal(run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(call(vcpu, KVM_GET_REGS, &regs), 0);
	assert_int_equal(regs.rip, 0x1001);
	run->immediate_exit = 1;
	assert_int_equal(call(vcpu, KVM_RUN, NULL), -EINTR);
	run->immediate_exit = 0;
	assert_int_equal(call(vcpu, KVM_RUN, NULL), 0);
	assert_int_equal(run->exit_reason, KVM_EXIT_HLT);
	free_guest(run, mem);
}

/* ---- signals and other threads, while a guest runs ---- */

static void nothing(int sig)
{
}

static pthread_t runner_thread;

static void *kick_soon(void *arg)
{
	nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
	pthread_kill(runner_thread, SIGUSR1);
	return NULL;
}

/* jmp .: only a signal ends it, be its handler empty. */
static void test_signal(void **state)
{
	struct sigaction sa = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct { struct kvm_signal_mask head; uint64_t set; } mask = { .head.len = 8 };
	struct timespec none = { 0 };
	sigset_t set;
	char *mem;
	struct kvm_run *run = halting_guest(&mem);
	pthread_t t;

	memcpy(mem + PAGE, "\xeb\xfe", 2);
	sigaction(SIGUSR1, &sa, NULL);
	runner_thread = pthread_self();
	pthread_create(&t, NULL, kick_soon, NULL);
	assert_int_equal(call(vcpu, KVM_RUN, NULL), -EINTR);
	assert_int_equal(run->exit_reason, KVM_EXIT_INTR);
	pthread_join(t, NULL);

	/* Blocked outside, let in by KVM_SET_SIGNAL_MASK: it stays pending. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	assert_int_equal(call(vcpu, KVM_SET_SIGNAL_MASK, &mask), 0);
	pthread_create(&t, NULL, kick_soon, NULL);
	assert_int_equal(call(vcpu, KVM_RUN, NULL), -EINTR);
	pthread_join(t, NULL);
	assert_int_equal(sigtimedwait(&set, NULL, &none), SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	free_guest(run, mem);
}

static uint32_t done;

static void *get_regs_meanwhile(void *arg)
{
	struct kvm_regs regs;

	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	pthread_kill(runner_thread, SIGUSR1);
	assert_int_equal(call(vcpu, KVM_GET_REGS, &regs), 0);	/* waits until it does not run */
	__atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void test_ioctl_while_running(void **state)
{
	struct sigaction sa = { .sa_handler = nothing };
	char *mem;
	struct kvm_run *run = halting_guest(&mem);
	pthread_t t;

	memcpy(mem + PAGE, "\xeb\xfe", 2);
	sigaction(SIGUSR1, &sa, NULL);
	runner_thread = pthread_self();
	done = 0;
	pthread_create(&t, NULL, get_regs_meanwhile, NULL);
	assert_int_equal(call(vcpu, KVM_RUN, NULL), -EINTR);
	pthread_join(t, NULL);
	assert_int_equal(done, 1);
	free_guest(run, mem);
}

/* Slots change under a running guest. */
static void *change_slots(void *arg)
{
	char *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 50; i++) {
		assert_int_equal(region(1, 0, 0x100000, PAGE, other), 0);
		assert_int_equal(region(1, 0, 0, 0, NULL), 0);
	}
	munmap(other, PAGE);
	pthread_kill(runner_thread, SIGUSR1);
	return NULL;
}

static void test_slots_while_running(void **state)
{
	struct sigaction sa = { .sa_handler = nothing };
	char *mem;
	struct kvm_run *run = halting_guest(&mem);
	pthread_t t;

	memcpy(mem + PAGE, "\xeb\xfe", 2);
	sigaction(SIGUSR1, &sa, NULL);
	runner_thread = pthread_self();
	pthread_create(&t, NULL, change_slots, NULL);
	assert_int_equal(call(vcpu, KVM_RUN, NULL), -EINTR);
	pthread_join(t, NULL);
	free_guest(run, mem);
}

/* ---- the dirty ring ---- */

#define RING_PAGES	16
#define RING_ENTRIES	(RING_PAGES * PAGE / sizeof(struct kvm_dirty_gfn))
#define RING_MEMORY	(2 * RING_ENTRIES)	/* pages */

static struct kvm_segment flat(uint8_t type)
{
	return (struct kvm_segment){ .limit = 0xffffffff, .selector = 8, .type = type, .present = 1,
				     .db = 1, .s = 1, .g = 1 };
}

/* Writes a byte to every page from 1 MiB on, for ever. */
static void writing_guest(uint64_t pages)
{
	static const uint8_t code[] = {
		0xbf, 0, 0, 0x10, 0,			/* 1: mov $0x100000, %edi */
		0xb9, 0, 0, 0, 0,			/* mov $pages, %ecx */
		0x88, 0x07,				/* 2: mov %al, (%edi) */
		0x81, 0xc7, 0, 0x10, 0, 0,		/* add $0x1000, %edi */
		0xe2, 0xf6,				/* loop 2b */
		0xeb, 0xea,				/* jmp 1b */
	};
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs sregs;
	uint8_t *mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	memcpy(mem, code, sizeof(code));
	memcpy(mem + 6, &pages, 4);
	assert_int_equal(region(0, 0, 0x1000, PAGE, mem), 0);
	assert_int_equal(call(vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cr0 |= 1;
	sregs.cs = flat(11);
	sregs.ds = sregs.es = sregs.ss = flat(3);
	assert_int_equal(call(vcpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(call(vcpu, KVM_SET_REGS, &regs), 0);
}

/* Marks what is in the ring from *next on as collected; counts each page. */
static uint32_t collect(struct kvm_dirty_gfn *ring, uint32_t *next, uint8_t *count)
{
	uint32_t n = 0;

	for (;; n++, ++*next) {
		struct kvm_dirty_gfn *e = &ring[*next % RING_ENTRIES];

		if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY) ||
		    (e->flags & KVM_DIRTY_GFN_F_RESET))
			return n;
		assert_int_equal(e->slot, 1);
		assert_true(e->offset < RING_MEMORY);
		count[e->offset]++;
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
	}
}

static void test_dirty_ring(void **state)
{
	uint8_t *mem = mmap(NULL, RING_MEMORY * PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint8_t *count = calloc(1, RING_MEMORY);
	struct kvm_dirty_gfn *ring;
	struct kvm_run *run;
	uint32_t next = 0, n;

	assert_int_equal(enable(vm, KVM_CAP_DIRTY_LOG_RING, 0, RING_PAGES * PAGE), 0);
	vcpu = call_n(vm, KVM_CREATE_VCPU, 0);
	assert_true(vcpu >= 0);
	run = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	ring = mmap(NULL, RING_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
		    KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	assert_true(run != MAP_FAILED && ring != MAP_FAILED);
	assert_int_equal(region(1, KVM_MEM_LOG_DIRTY_PAGES, 0x100000, RING_MEMORY * PAGE, mem), 0);
	writing_guest(RING_MEMORY);

	for (int round = 0; round < 5; round++) {
		assert_int_equal(call(vcpu, KVM_RUN, NULL), 0);
		assert_int_equal(run->exit_reason, KVM_EXIT_DIRTY_RING_FULL);
		n = collect(ring, &next, count);
		assert_true(n > RING_ENTRIES / 2 && n <= RING_ENTRIES);
		/* Full it stays until it is taken back. */
		assert_int_equal(call(vcpu, KVM_RUN, NULL), 0);
		assert_int_equal(run->exit_reason, KVM_EXIT_DIRTY_RING_FULL);
		assert_int_equal(call_n(vm, KVM_RESET_DIRTY_RINGS, 0), n);
		assert_int_equal(call_n(vm, KVM_RESET_DIRTY_RINGS, 0), 0);
	}
	/* The guest has been through its memory twice. */
	for (n = 0; n < RING_MEMORY; n++)
		assert_true(count[n] > 0);
	munmap(ring, RING_PAGES * PAGE);
	munmap(run, 3 * PAGE);
	munmap(mem, RING_MEMORY * PAGE);
	free(count);
}

/* ---- closing, in any order ---- */

static void test_close_order(void **state)
{
	int a = call_n(vm, KVM_CREATE_VCPU, 0), b = call_n(vm, KVM_CREATE_VCPU, 1), copy;
	struct kvm_regs regs;
	char *mem;
	struct kvm_run *run;

	assert_true(a >= 0 && b >= 0);
	vcpu = a;
	run = halting_guest(&mem);
	/* The vCPUs keep the VM. */
	close_kvm(vm);
	vm = -1;
	assert_int_equal(call(a, KVM_RUN, NULL), 0);
	close_kvm(b);
	copy = dup(a);
	close_kvm(a);
	assert_int_equal(call(copy, KVM_GET_REGS, &regs), 0);
	assert_int_equal(regs.rip, 0x1001);
	close_kvm(copy);
	vcpu = -1;
	run->immediate_exit = 1;	/* the mapping is still there */
	munmap(run, 3 * PAGE);
	munmap(mem, 16 * PAGE);
}

/* ---- libanykvm's descriptors ---- */

static void test_foreign_descriptors(void **state)
{
	int fd = memfd_create("x", 0);

	assert_int_equal(anykvm_ioctl(-1, KVM_GET_API_VERSION, NULL), -EBADF);
	assert_int_equal(anykvm_ioctl(fd, KVM_GET_API_VERSION, NULL), -ENOTTY);
	assert_int_equal(anykvm_ioctl(STDIN_FILENO, KVM_RUN, NULL), -ENOTTY);
	assert_int_equal(anykvm_close(fd), -EBADF);
	assert_false(anykvm_owns(fd));
	assert_false(anykvm_owns(-1));
	assert_true(anykvm_owns(sys));
	close(fd);
	assert_int_equal(ftruncate(sys, 100), -1);
}

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static size_t mapped_objects(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	size_t n = 0;

	while (fgets(line, sizeof(line), f))
		n += strstr(line, "kvm-vcpu") != NULL;
	fclose(f);
	return n;
}

/* Numbers closed by plain close, given to something else, duplicated over: always the right object. */
static void test_reused_numbers(void **state)
{
	int first = call_n(sys, KVM_CREATE_VM, 0), file, before;

	assert_true(first >= 0);
	close(first);
	file = memfd_create("x", 0);
	assert_int_equal(file, first);
	assert_int_equal(anykvm_ioctl(file, KVM_CHECK_EXTENSION, NULL), -ENOTTY);
	assert_int_equal(dup2(vm, file), file);
	assert_true(anykvm_owns(file));
	assert_int_equal(anykvm_ioctl(file, KVM_CREATE_IRQCHIP, NULL), 0);
	assert_int_equal(anykvm_ioctl(vm, KVM_CREATE_IRQCHIP, NULL), -EEXIST);
	assert_int_equal(anykvm_close(file), 0);
	assert_int_equal(anykvm_ioctl(vm, KVM_CREATE_IRQCHIP, NULL), -EEXIST);

	/* What went by plain close is taken apart when the next one is made. */
	close(call_n(sys, KVM_CREATE_VM, 0));
	close_kvm(call_n(sys, KVM_CREATE_VM, 0));
	before = count_descriptors();
	for (int i = 0; i < 50; i++) {
		int v = call_n(sys, KVM_CREATE_VM, 0), c = call_n(v, KVM_CREATE_VCPU, 0);

		assert_true(v >= 0 && c >= 0);
		close(i & 1 ? v : c);
		close(i & 1 ? c : v);
	}
	close_kvm(call_n(sys, KVM_CREATE_VM, 0));
	assert_int_equal(count_descriptors(), before);
	assert_int_equal(mapped_objects(), 0);
}

/* Out of descriptors: an error, no leak, and all works again afterwards. */
static void test_no_descriptors(void **state)
{
	struct rlimit old, few = { .rlim_cur = count_descriptors() + 40, .rlim_max = 0 };
	int before = count_descriptors(), fd[64], left[8], n = 0, k = 0, r = 0;
	struct kvm_regs regs;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (n < 64 && (r = call_n(vm, KVM_CREATE_VCPU, n)) >= 0)
		fd[n++] = r;
	assert_int_equal(r, -EMFILE);
	assert_true(n > 2);
	/* A VM takes fewer: what is left for it goes too. */
	while (k < 8 && (left[k] = dup(sys)) >= 0)
		k++;
	assert_int_equal(call_n(sys, KVM_CREATE_VM, 0), -EMFILE);
	while (k)
		close(left[--k]);
	assert_int_equal(call(fd[n - 1], KVM_GET_REGS, &regs), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* The id is free: nothing is left of the vCPU that was not made. */
	fd[n] = call_n(vm, KVM_CREATE_VCPU, n);
	assert_true(fd[n] >= 0);
	for (int i = 0; i <= n; i++)
		close_kvm(fd[i]);
	close_kvm(vm);
	vm = -1;
	assert_int_equal(count_descriptors(), before - 2);
	assert_int_equal(mapped_objects(), 0);
}

/* A mapping of kvm_run alone keeps the vCPU, as with Linux. */
static void test_mapping_keeps(void **state)
{
	int c = call_n(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *run = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, c, 0);

	assert_true(run != MAP_FAILED);
	close_kvm(c);
	close_kvm(vm);
	vm = -1;
	assert_int_equal(mapped_objects(), 2);
	munmap(run, 3 * PAGE);
	close_kvm(call_n(sys, KVM_CREATE_VM, 0));
	assert_int_equal(mapped_objects(), 0);
}

static void test_fork(void **state)
{
	int status, c = call_n(vm, KVM_CREATE_VCPU, 0);
	struct kvm_regs regs;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		int own;

		/* The parent's objects are the parent's; the child may make its own. */
		if (anykvm_ioctl(vm, KVM_CREATE_VCPU, (void *)1) != -EIO ||
		    anykvm_ioctl(c, KVM_GET_REGS, &regs) != -EIO || anykvm_close(c) || anykvm_close(vm))
			_exit(2);
		own = anykvm_ioctl(sys, KVM_CREATE_VM, NULL);
		if (own < 0 || anykvm_ioctl(own, KVM_CREATE_IRQCHIP, NULL) || anykvm_close(own))
			_exit(3);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(anykvm_ioctl(c, KVM_GET_REGS, &regs), 0);
	close_kvm(c);
}

/* The last descriptors go while the vCPU runs: the run ends with the VM still whole. */
static void *close_all(void *arg)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	close_kvm(vcpu);
	close_kvm(vm);
	pthread_kill(runner_thread, SIGUSR1);
	return NULL;
}

static void test_close_while_running(void **state)
{
	struct sigaction sa = { .sa_handler = nothing };
	char *mem;
	struct kvm_run *run = halting_guest(&mem);
	pthread_t t;

	memcpy(mem + PAGE, "\xeb\xfe", 2);
	munmap(run, 3 * PAGE);
	sigaction(SIGUSR1, &sa, NULL);
	runner_thread = pthread_self();
	pthread_create(&t, NULL, close_all, NULL);
	assert_int_equal(call(vcpu, KVM_RUN, NULL), -EINTR);
	pthread_join(t, NULL);
	assert_int_equal(mapped_objects(), 0);
	munmap(mem, 16 * PAGE);
	vm = vcpu = -1;
}

#define SYSTEM(name)	cmocka_unit_test_setup_teardown(test_##name, setup_system, teardown)
#define VM(name)	cmocka_unit_test_setup_teardown(test_##name, setup_vm, teardown)
#define VCPU(name)	cmocka_unit_test_setup_teardown(test_##name, setup_vcpu, teardown)

int main(void)
{
	const struct CMUnitTest both[] = {
		SYSTEM(system), SYSTEM(lists), VM(capabilities), VM(vm), VM(memory), VM(no_irqchip),
		VM(irqchip), VCPU(irqchip_after_vcpu), VM(enable_cap), VM(ioeventfd), VM(coalesced),
		VM(clock), VCPU(vcpu), VCPU(mp_state), VCPU(run), VCPU(signal), VCPU(ioctl_while_running),
		VCPU(slots_while_running), VM(close_order),
	};
	/* The ring among them: a paravirtual KVM, which emulates ring 0, overflows it. */
	const struct CMUnitTest ours[] = {
		VM(dirty_ring), SYSTEM(foreign_descriptors), VM(reused_numbers), VM(no_descriptors), VM(mapping_keeps), VM(fork),
		VCPU(close_while_running),
	};
	int fd, failed;

	failed = cmocka_run_group_tests_name("libanykvm", both, NULL, NULL);
	failed += cmocka_run_group_tests_name("descriptors", ours, NULL, NULL);
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		linux_kvm = true;
		failed += cmocka_run_group_tests_name("/dev/kvm", both, NULL, NULL);
	}
	return failed;
}
