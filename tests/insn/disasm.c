/* SPDX-License-Identifier: GPL-2.0-only */
/* Disassembly for reports, and the second opinion on lengths. */
#include <stdio.h>

#include "disasm.h"

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>

int disassemble(const unsigned char *bytes, size_t n, int bits, unsigned long long addr, char *text,
		size_t size)
{
	static csh handles[3];
	int which = bits == 16 ? 0 : bits == 32 ? 1 : 2, len = 0;
	static const cs_mode modes[] = { CS_MODE_16, CS_MODE_32, CS_MODE_64 };
	cs_insn *insn;

	if (size)
		text[0] = 0;
	if (!handles[which] && cs_open(CS_ARCH_X86, modes[which], &handles[which]) != CS_ERR_OK)
		return 0;
	if (cs_disasm(handles[which], bytes, n, addr, 1, &insn)) {
		if (size)
			snprintf(text, size, "%s %s", insn->mnemonic, insn->op_str);
		len = insn->size;
		cs_free(insn, 1);
	}
	return len;
}
#else
int disassemble(const unsigned char *bytes, size_t n, int bits, unsigned long long addr, char *text,
		size_t size)
{
	(void)bytes; (void)n; (void)bits; (void)addr;
	if (size)
		text[0] = 0;
	return 0;
}
#endif
