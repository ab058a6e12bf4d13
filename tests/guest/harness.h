/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a test's host half is written with: a VM around the guests' image, and calls that end the
 * test with a reason when something is not as it should be. A test runs alone in a process of
 * its own, so fail() and skip() simply end that process, and nothing is ever released.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include "guest.h"
#include "vmm/provider.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#define MAX_VCPUS	4
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* What run() returns besides the KVM_EXIT_* numbers. */
#define GUEST_PASS	1000		/* the guest reached PASS */
#define GUEST_SYNC	1001		/* the guest reached SYNC(n): n is in vcpu->sync */
#define GUEST_INTR	1002		/* KVM_RUN returned EINTR */

struct vm;

struct vcpu {
	struct vm *vm;
	int id;
	int fd;
	struct kvm_run *run;
	unsigned int sync;
	uint32_t log[256];		/* what the guest sent to PORT_LOG */
	unsigned int logged;
};

struct vm {
	int system;
	int fd;
	uint8_t *memory;		/* slot 0: RAM_SIZE bytes from guest-physical 0 */
	unsigned int flags;
	struct vcpu vcpus[MAX_VCPUS];
	int count;
	bool tell;			/* the provider is told what the test writes */
};

struct test {
	const char *group;
	const char *name;
	const char *text;
	void (*run)(void);		/* NULL: the guest alone, from entry in mode */
	const char *wrong_on_paravirt;	/* why it fails there; NULL: it must not */
	const char *wrong_on_tcg;
	const char *wrong_on_linux;
	const char *kills;		/* where kills_on says; NULL: nowhere */
	unsigned int kills_on;		/* ON_* */
	uint32_t needs[4];		/* FEATURE_*, 0 ends */
	int mode;
	uint64_t entry;
	unsigned int vm_flags;
};

/* The provider under test. */
extern const struct kvm_provider *provider;
/* What kind it is: ON_* bits. */
extern int environment;

__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void skip(const char *format, ...);

#define CHECK(condition)						\
	do {								\
		if (!(condition))					\
			fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
	} while (0)

#define CHECK_EQ(got, want)						\
	do {								\
		unsigned long long got_ = (unsigned long long)(got);	\
		unsigned long long want_ = (unsigned long long)(want);	\
		if (got_ != want_)					\
			fail("%s:%d: %s is %#llx, expected %#llx", __FILE__, __LINE__, #got, \
			     got_, want_);				\
	} while (0)

/* An ioctl that must succeed; its result. The second form returns -errno as it comes. */
#define KVM(fd, request, arg)	must_ioctl(fd, request, (void *)(uintptr_t)(arg), #request, \
					   __FILE__, __LINE__)
#define TRY_KVM(fd, request, arg)	provider->ioctl(fd, request, (void *)(uintptr_t)(arg))
int must_ioctl(int fd, unsigned long request, void *arg, const char *name, const char *file,
	       int line);

/* The value of a capability of this VM, 0 where it is not known. */
int vm_cap(struct vm *vm, int cap);
/* Skips the test unless the VM has the capability. */
#define NEED_CAP(vm, cap)	need_cap(vm, cap, #cap)
int need_cap(struct vm *vm, int cap, const char *name);
/* True where the guests' CPUID has the feature (FEATURE_*). */
bool has_feature(uint32_t feature);
void need_feature(uint32_t feature, const char *name);
#define NEED_FEATURE(f)	need_feature(FEATURE_##f, #f)
/* True where CPUID's vendor is this one. */
bool vendor_is(const char *vendor);

/* A VM with its slot 0 and the image in it. */
struct vm *vm_create(unsigned int flags);
/* The VM's next vCPU, with the provider's whole CPUID. */
struct vcpu *vcpu_create(struct vm *vm);
/* Puts a vCPU at a guest's symbol in a mode, with the registers and tables of lib.S. */
void vcpu_start(struct vcpu *vcpu, int mode, const char *symbol);
void vcpu_start_at(struct vcpu *vcpu, int mode, uint64_t rip);
/* A VM with one vCPU that has been started: what most tests want. */
struct vcpu *guest(unsigned int vm_flags, int mode, const char *symbol);

/* The address of a guest's symbol, and memory of slot 0 by its address. */
uint64_t symbol(const char *name);
void *memory(struct vm *vm, uint64_t gpa, size_t size);
uint32_t *var(struct vm *vm, const char *name);

/* KVM_RUN until something the harness does not handle itself (PORT_LOG); fails the test where
 * the guest reports a failure or an unexpected exception. */
int run(struct vcpu *vcpu);
void run_to_pass(struct vcpu *vcpu);
void run_to_sync(struct vcpu *vcpu, unsigned int n);
void run_to_exit(struct vcpu *vcpu, unsigned int reason);
void irq_line(struct vm *vm, unsigned int gsi, unsigned int level);
/* One line about the last exit. The text stays until the next call. */
const char *exit_text(struct vcpu *vcpu, int reason);

struct kvm_regs regs_of(struct vcpu *vcpu);
struct kvm_sregs sregs_of(struct vcpu *vcpu);
uint64_t msr_of(struct vcpu *vcpu, uint32_t index);
void set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value);

/* Runs each vCPU on a thread of its own until all pass. */
void run_all_to_pass(struct vm *vm);

/* Milliseconds on the monotonic clock. */
uint64_t now_ms(void);

/* --- For guest-test.c only: loading the image and being the process of one test. --- */

void image_load(void);
size_t image_tests(struct test *tests, size_t max);
/* Does not return: the outcome goes to the descriptor as one line, P, F text or S text. */
__attribute__((noreturn)) void test_main(const struct test *test, int outcome, int seconds);
/* Is the provider a KVM that emulates ring 0 (ON_PARAVIRT)? To be called in a child. */
void probe_paravirt(void);

#endif
