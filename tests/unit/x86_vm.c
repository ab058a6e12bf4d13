/* SPDX-License-Identifier: GPL-2.0-only */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "kvm/anykvm.h"
#include "tests/unit/x86_vm.h"

int x86_vcpu_ioctl(struct x86_vm_test *t, unsigned long request, void *arg)
{
	return anykvm_ioctl(t->vcpu, request, arg);
}

struct kvm_cpuid2 *x86_supported(struct x86_vm_test *t)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	assert_non_null(c);
	c->nent = 256;
	assert_int_equal(anykvm_ioctl(t->sys, KVM_GET_SUPPORTED_CPUID, c), 0);
	return c;
}

int x86_vm_setup(void **state)
{
	struct x86_vm_test *t = calloc(1, sizeof(*t));
	struct kvm_userspace_memory_region region = { .memory_size = X86_VM_MEMORY };
	struct kvm_cpuid2 *cpuid;

	assert_non_null(t);
	t->sys = anykvm_open();
	assert_true(t->sys >= 0);
	t->vm = anykvm_ioctl(t->sys, KVM_CREATE_VM, NULL);
	assert_true(t->vm >= 0);
	t->mem = mmap(NULL, X86_VM_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(t->mem, MAP_FAILED);
	region.userspace_addr = (uintptr_t)t->mem;
	assert_int_equal(anykvm_ioctl(t->vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	t->vcpu = anykvm_ioctl(t->vm, KVM_CREATE_VCPU, NULL);
	assert_true(t->vcpu >= 0);
	t->run_size = anykvm_ioctl(t->sys, KVM_GET_VCPU_MMAP_SIZE, NULL);
	t->run = mmap(NULL, t->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, t->vcpu, 0);
	assert_ptr_not_equal(t->run, MAP_FAILED);
	cpuid = x86_supported(t);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_CPUID2, cpuid), 0);
	free(cpuid);
	*state = t;
	return 0;
}

int x86_vm_teardown(void **state)
{
	struct x86_vm_test *t = *state;

	munmap(t->run, t->run_size);
	anykvm_close(t->vcpu);
	anykvm_close(t->vm);
	anykvm_close(t->sys);
	munmap(t->mem, X86_VM_MEMORY);
	free(t);
	return 0;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, uint32_t limit)
{
	return (struct kvm_segment){
		.selector = selector, .type = type, .limit = limit, .present = 1, .s = 1, .g = 1 };
}

void x86_vm_long_mode(struct x86_vm_test *t)
{
	uint64_t *gdt = (void *)(t->mem + X86_VM_GDT), *idt = (void *)(t->mem + X86_VM_IDT);
	uint64_t *pml4 = (void *)(t->mem + X86_VM_PML4), *pdpt = pml4 + 512, *pd = pdpt + 512;
	uint64_t *pt = pd + 512;
	struct kvm_regs regs = { .rip = X86_VM_CODE, .rsp = X86_VM_STACK, .rflags = 2 };
	struct kvm_sregs sregs;

	pml4[0] = (X86_VM_PML4 + 0x1000) | 7;
	pdpt[0] = X86_VM_PD | 7;
	pd[0] = X86_VM_PT | 7;
	for (unsigned int n = 0; n < 512; n++)
		pt[n] = n << 12 | 3;
	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	gdt[3] = 0x00008b0000000067 | (uint64_t)X86_VM_TSS << 16;
	gdt[4] = 0;
	memset(t->mem + X86_VM_TSS, 0, 0x68);
	for (unsigned int n = 0; n < 256; n++) {
		uint64_t offset = X86_VM_HANDLERS + n;

		idt[n * 2] = (offset & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (offset >> 16) << 48;
		idt[n * 2 + 1] = offset >> 32;
	}
	memset(t->mem + X86_VM_HANDLERS, 0xf4, 256);	/* HLT */

	assert_int_equal(x86_vcpu_ioctl(t, KVM_GET_SREGS, &sregs), 0);
	sregs.cs = segment(8, 0xb, 0xffffffff);
	sregs.cs.l = 1;
	sregs.ss = segment(16, 3, 0xffffffff);
	sregs.ss.db = 1;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
	sregs.tr = segment(24, 0xb, 0x67);
	sregs.tr.s = sregs.tr.g = 0;
	sregs.tr.base = X86_VM_TSS;
	sregs.gdt.base = X86_VM_GDT;
	sregs.gdt.limit = 0x27;
	sregs.idt.base = X86_VM_IDT;
	sregs.idt.limit = 0xfff;
	sregs.cr0 = 0x80010031;
	sregs.cr3 = X86_VM_PML4;
	sregs.cr4 = 0x6b0;	/* PSE, PAE, PGE, OSFXSR, OSXMMEXCPT */
	sregs.efer = 0xd01;
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(x86_vcpu_ioctl(t, KVM_SET_REGS, &regs), 0);
}
