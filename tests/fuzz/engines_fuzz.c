/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The two engines against each other, for libFuzzer: the same code from the same state ends the
 * same way, with the same registers and memory. Inputs are code_fuzz.c's.
 *
 * Only what does not depend on time is compared: runs that end before the timer does, of code
 * without RDTSC and without the instructions for random numbers (which this guest's CPUID has not).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/vm.h"

#define RUNS	15

struct outcome {
	bool ended;
	uint32_t reason;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	uint8_t ram[RAM_SIZE];
};

static struct outcome results[RUNS], other;

static bool tells_time(const uint8_t *code, size_t size)
{
	for (size_t i = 0; i + 1 < size; i++)
		if (code[i] == 0x0f && (code[i + 1] == 0x31 || code[i + 1] == 0x32 ||
					code[i + 1] == 0x33 || code[i + 1] == 0x01))
			return true;
	return false;
}

static void remove_features(int vcpu)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[MAX_CPUID];
	} c;

	c.head.nent = MAX_CPUID;
	anykvm_ioctl(vcpu, KVM_GET_CPUID2, &c);
	for (uint32_t i = 0; i < c.head.nent; i++) {
		if (c.e[i].function == 1)
			c.e[i].ecx &= ~(1u << 30);		/* RDRAND */
		if (c.e[i].function == 7 && !c.e[i].index) {
			c.e[i].ebx &= ~(1u << 18);		/* RDSEED */
			c.e[i].ecx &= ~(1u << 22);		/* RDPID */
		}
	}
	anykvm_ioctl(vcpu, KVM_SET_CPUID2, &c);
}

static void look(struct vm *vm, struct outcome *o)
{
	static const uint16_t none;

	o->reason = vm->run[0]->exit_reason;
	anykvm_ioctl(vm->vcpu[0], KVM_GET_REGS, &o->regs);
	anykvm_ioctl(vm->vcpu[0], KVM_GET_SREGS, &o->sregs);
	anykvm_ioctl(vm->vcpu[0], KVM_GET_XSAVE, &o->xsave);
	/* Where the last x87 instruction was is the engines' own affair. */
	memcpy((uint8_t *)&o->xsave + 6, &none, sizeof(none));
	memset((uint8_t *)&o->xsave + 8, 0, 16);
	memcpy(o->ram, ram, RAM_SIZE);
}

static void differ(const char *what, int run, const struct outcome *a, const struct outcome *b)
{
	fprintf(stderr, "run %d: %s differs; exit %u and %u, rip %llx and %llx, rflags %llx and %llx\n",
		run, what, a->reason, b->reason, a->regs.rip, b->regs.rip, a->regs.rflags, b->regs.rflags);
	for (size_t i = 0; i < sizeof(a->regs) / 8; i++)
		if (((const uint64_t *)&a->regs)[i] != ((const uint64_t *)&b->regs)[i])
			fprintf(stderr, "  register %zu: %lx, %lx\n", i,
				((const uint64_t *)&a->regs)[i], ((const uint64_t *)&b->regs)[i]);
	for (size_t i = 0, n = 0; i < sizeof(a->xsave) && n < 8; i++)
		if (((const uint8_t *)&a->xsave)[i] != ((const uint8_t *)&b->xsave)[i] && ++n)
			fprintf(stderr, "  xsave %zu: %02x, %02x\n", i, ((const uint8_t *)&a->xsave)[i],
				((const uint8_t *)&b->xsave)[i]);
	for (size_t i = 0, n = 0; i < RAM_SIZE && n < 8; i++)
		if (a->ram[i] != b->ram[i] && ++n)
			fprintf(stderr, "  memory %zx: %02x, %02x\n", i, a->ram[i], b->ram[i]);
	abort();
}

static void run_engine(const uint8_t *data, size_t size, bool jit)
{
	struct input in = { data, size };
	enum mode mode = pick(&in, NR_MODES);
	unsigned int flags = (unsigned int)take(&in, 1);
	uint64_t seed = take(&in, 8);
	struct input answers = in;
	struct vm vm;

	vm_open(&vm, jit ? FUZZ_JIT : 0);
	make_tables(flags & 4);
	put_code(&in, in.left);
	if (set_slot(&vm, 0, 0, 0, RAM_SIZE, ram) || !vm_add_vcpu(&vm, 0))
		abort();
	remove_features(vm.vcpu[0]);
	if (flags & 32 && !make_smm(&vm))
		abort();
	for (int i = 0; i < RUNS; i++) {
		struct outcome *o = jit ? &other : &results[i];

		place(&vm, 0, mode, flags & 16, seed);
		o->ended = !(flags & 32) || enter_smm(&vm, 0, seed, &answers);
		o->ended = o->ended && run_guest(&vm, 0, 8, &answers);
		if (jit && !results[i].ended)
			break;
		if (!o->ended)
			break;
		look(&vm, o);
		if (jit && (o->reason != results[i].reason ||
			    memcmp(&o->regs, &results[i].regs, sizeof(o->regs))))
			differ("a register", i, &results[i], o);
		if (jit && memcmp(&o->sregs, &results[i].sregs, sizeof(o->sregs)))
			differ("a special register", i, &results[i], o);
		if (jit && memcmp(&o->xsave, &results[i].xsave, sizeof(o->xsave)))
			differ("x87 or vector state", i, &results[i], o);
		if (jit && memcmp(o->ram, results[i].ram, RAM_SIZE))
			differ("memory", i, &results[i], o);
		seed = seed * 0x9e3779b97f4a7c15 + (uint64_t)i;
	}
	vm_close(&vm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (tells_time(data, size))
		return -1;
	for (int i = 0; i < RUNS; i++)
		results[i].ended = false;
	run_engine(data, size, false);
	run_engine(data, size, true);
	return 0;
}
