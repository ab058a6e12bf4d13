/* SPDX-License-Identifier: GPL-2.0-only */
/* A VM of libanykvm with one vCPU and a little memory, for tests of kvm/x86 through the API. */
#ifndef TESTS_X86_VM_H
#define TESTS_X86_VM_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#define X86_VM_MEMORY	(1u << 20)	/* at guest-physical 0 */

struct x86_vm_test {
	int sys, vm, vcpu;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *mem;
};

/* cmocka's setup and teardown: *state is a struct x86_vm_test, with all that is supported in its CPUID. */
int x86_vm_setup(void **state);
int x86_vm_teardown(void **state);

/* anykvm_ioctl on the vCPU: result or -errno. */
int x86_vcpu_ioctl(struct x86_vm_test *t, unsigned long request, void *arg);
/* The supported CPUID; the caller frees it. */
struct kvm_cpuid2 *x86_supported(struct x86_vm_test *t);

/*
 * 64-bit mode, level 0, identity-mapped memory, flat segments: CS 8, SS and DS 16, TSS 24. GDT, IDT (all
 * gates present, each to a HLT of its own), TSS and page tables are in the first 64 KiB.
 */
#define X86_VM_PML4	0x1000
#define X86_VM_PD	0x3000
#define X86_VM_PT	0x4000		/* the first 2 MiB, page by page */
#define X86_VM_GDT	0x5000
#define X86_VM_TSS	0x6000
#define X86_VM_IDT	0x7000
#define X86_VM_HANDLERS	0x8000		/* vector n's is at + n */
#define X86_VM_CODE	0x10000
#define X86_VM_STACK	0x20000
void x86_vm_long_mode(struct x86_vm_test *t);

#endif
