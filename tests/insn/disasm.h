/* SPDX-License-Identifier: GPL-2.0-only */
/* Disassembly by Capstone, whose names clash with ours: apart. */
#ifndef INSN_DISASM_H
#define INSN_DISASM_H

#include <stddef.h>

/* Text of the instruction in bits-bit code, empty where Capstone does not know it or is not there.
 * The length that it found, 0 for none. */
int disassemble(const unsigned char *bytes, size_t n, int bits, unsigned long long addr, char *text,
		size_t size);

#endif
