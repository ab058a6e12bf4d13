/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hostile guest code, for libFuzzer: any bytes, in any mode and ring, end in some exit of the
 * API's, within memory, whichever engine runs them.
 *
 * An input is the mode, flags, 8 bytes that choose the registers, and code. The code runs more
 * often than it takes to be translated, each time with other registers.
 */

#include "tests/fuzz/vm.h"

#define RUNS	15

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	enum mode mode = pick(&in, NR_MODES);
	unsigned int flags = (unsigned int)take(&in, 1);
	uint64_t seed = take(&in, 8);
	struct input answers = in;
	struct vm vm;

	vm_open(&vm, (flags & 1 ? FUZZ_JIT : 0) | (flags & 2 ? FUZZ_IRQCHIP : 0));
	make_tables(flags & 4);
	put_code(&in, in.left);
	if (set_slot(&vm, 0, flags & 8 ? KVM_MEM_LOG_DIRTY_PAGES : 0, 0, RAM_SIZE, ram) ||
	    !vm_add_vcpu(&vm, 0))
		return -1;
	if (flags & 32 && !make_smm(&vm))
		return -1;
	for (unsigned int i = 0; i < RUNS; i++) {
		place(&vm, 0, mode, flags & 16, seed);
		if (flags & 32 && !enter_smm(&vm, 0, seed, &answers))
			break;
		/* What has been run for as long as that is translated. */
		if (!run_guest(&vm, 0, 8, &answers))
			break;
		seed = seed * 0x9e3779b97f4a7c15 + i;
	}
	vm_close(&vm);
	return 0;
}
