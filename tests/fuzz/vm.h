/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzzers of libanykvm share: an input that is read from front to back, virtual machines
 * whose memory is a pool between guard pages, guests in every mode, and KVM_RUN that comes back.
 *
 * Guest memory is the pool and nothing else, so that no guest has a right to touch memory of the
 * fuzzer's.
 */
#ifndef FUZZ_VM_H
#define FUZZ_VM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvm/anykvm.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096ul
#define MAX_VCPUS	4
#define MAX_CPUID	256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the input: zeroes behind its end ---- */

struct input {
	const uint8_t *at;
	size_t left;
};

uint64_t take(struct input *in, unsigned int bytes);
void take_into(struct input *in, void *to, size_t n);
/* A number below n. */
unsigned int pick(struct input *in, unsigned int n);

/* ---- memory ---- */

#define RAM_PAGES	64
#define RAM_SIZE	(RAM_PAGES * PAGE)

extern uint8_t *const ram;		/* RAM_SIZE bytes, the memory of guests */
extern uint8_t *const scratch;		/* SCRATCH_SIZE bytes for arguments */
#define SCRATCH_SIZE	(64 * PAGE)
/* Some address, of the pool or of nothing. */
void *some_pointer(struct input *in);

/* ---- a VM ---- */

struct vm {
	int sys, fd, nr;
	int vcpu[MAX_VCPUS];
	struct kvm_run *run[MAX_VCPUS];
};

enum { FUZZ_IRQCHIP = 1, FUZZ_SPLIT = 2, FUZZ_PIT = 4, FUZZ_RING = 8, FUZZ_JIT = 16, FUZZ_PAYLOAD = 32 };

void vm_open(struct vm *vm, unsigned int flags);
/* One more vCPU with the whole CPUID; false where it cannot be had. */
bool vm_add_vcpu(struct vm *vm, unsigned int id);
void vm_close(struct vm *vm);
int set_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *host);

/* ---- guests ---- */

enum mode { REAL, PROT16, PROT32, PAGED32, PAE, LONG, COMPAT, VM86, NR_MODES };

#define GUEST_CODE	0x8000u		/* up to GUEST_DATA */
#define GUEST_DATA	0x10000u
#define GUEST_STACK	0x1f000u

/* Tables for all modes, in the first pages of ram; handlers of faults halt, or return. */
void make_tables(bool handlers_return);
/* The next n bytes of the input (or what is left of it) as code, and HLTs behind. */
void put_code(struct input *in, size_t n);
/* Brings a vCPU to GUEST_CODE in a mode and ring, with registers chosen by `seed`. */
void place(struct vm *vm, int n, enum mode mode, bool user, uint64_t seed);

/*
 * KVM_RUN, at most `exits` times, with answers to accesses from the input, for some hundred
 * microseconds each at the most. Dies where what comes back is no answer of the API's. False: the
 * guest would have gone on (the time was over).
 */
bool run_guest(struct vm *vm, int n, unsigned int exits, struct input *in);
/*
 * System management mode for a VM whose slot 0 is the pool: it sees the pool too, and its handler halts, runs the first
 * bytes of GUEST_CODE and ends in RSM. False: the slot cannot be had.
 */
bool make_smm(struct vm *vm);
/* An SMI for a vCPU that has been placed, up to that HLT; and some of what it saved is changed, as `seed` says. False as
 * run_guest. */
bool enter_smm(struct vm *vm, int n, uint64_t seed, struct input *in);
/* At the end of a thread that has called it. */
void end_thread(void);

#endif
