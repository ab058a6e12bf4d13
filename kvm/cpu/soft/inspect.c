// SPDX-License-Identifier: GPL-2.0-only
/* What the software processor shows of itself to those who asked: instructions, and what they become. */
#include <string.h>

#include "kvm/cpu/soft/inspect.h"
#include "kvm/cpu/soft/soft.h"

#define HEX_SIZE	(3 * 16 + 1)	/* of sixteen bytes */

static u32 bits_of(int mode)
{
	return mode == X86_MODE_64 ? 64 : mode == X86_MODE_32 ? 32 : 16;
}

static const char *hex_of(const u8 *bytes, u32 n, char hex[HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	char *to = hex;

	for (u32 k = 0; k < min(n, 16u); k++) {
		*to++ = digits[bytes[k] >> 4];
		*to++ = digits[bytes[k] & 15];
		*to++ = ' ';
	}
	*to = 0;
	return hex;
}

/* ---- each instruction that runs ---- */

/* What the instructions since the last line did to the registers. */
static void show_changes(const struct x86_cpu *c, u64 *before)
{
	static const char *const names[] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
	};

	for (u32 r = 0; r < ARRAY_SIZE(names); r++) {
		if (c->regs[r] != before[r])
			os_show("vcpu%u:     %s = %#llx", c->vcpu->id, names[r], (unsigned long long)c->regs[r]);
		before[r] = c->regs[r];
	}
}

void soft_show_insn(struct x86_cpu *c, const struct x86_insn *i, u64 lin)
{
	struct x86_fault fault = c->fault;
	char hex[HEX_SIZE], text[128];
	u8 bytes[16];
	int r;
	u32 n = x86_fetch(c, lin, bytes, i->len, &r);

	c->fault = fault;	/* nothing that happens here is the guest's */
	if (!os_disassemble(bytes, n, bits_of(c->mode), lin, text, sizeof(text)))
		memcpy(text, x86_op(i)->name, min(strlen(x86_op(i)->name) + 1, sizeof(text)));
	show_changes(c, ((struct soft_vcpu *)c->soft)->shown);
	os_show("vcpu%u: %04x:%016llx  %-30s %s", c->vcpu->id, c->seg[X86_SEG_CS].sel, (unsigned long long)lin,
		hex_of(bytes, n, hex), text);
}

/* ---- blocks that are translated ---- */

/* With their disassembly where there is one, else sixteen bytes a line. */
static void show_code(const u8 *code, size_t n, u32 bits, u64 addr)
{
	char hex[HEX_SIZE], text[128];

	for (size_t at = 0; at < n; ) {
		unsigned long long where = addr + at;
		u32 len = os_disassemble(code + at, n - at, bits, where, text, sizeof(text));

		if (!len) {
			len = min(n - at, (size_t)16);
			text[0] = 0;
		}
		os_show("    %016llx  %-30s %s", where, hex_of(code + at, len, hex), text);
		at += len;
	}
}

void soft_show_translation(struct x86_cpu *c, struct soft_block *const *parts, u32 n, const u8 *code, size_t size,
			   const u8 *cold, size_t cold_size)
{
	struct soft_vcpu *s = c->soft;
	u64 page = c_rip(c) & PAGE_MASK;
	u32 bits = bits_of(c->mode);

	s->stats.translations++;
	for (u32 k = 0; k < n; k++)
		s->stats.guest_bytes += parts[k]->bytes;
	s->stats.host_bytes += size + cold_size;
	/* The same code may run at other addresses too; this is the first. */
	os_perf_map_add(code, size, "guest%s:%llx", bits == 64 ? "" : bits == 32 ? "32" : "16",
			(unsigned long long)c_rip(c));
	os_perf_map_add(cold, cold_size, "guest-cold:%llx", (unsigned long long)c_rip(c));
	if (likely(!(s->trace & SOFT_TRACE_TRANSLATE)))
		return;
	for (u32 k = 0; k < n; k++) {
		os_show("vcpu%u: %u instructions, %u bits:", c->vcpu->id, parts[k]->n, bits);
		show_code(soft_block_bytes(parts[k]), parts[k]->bytes, bits,
			  page + (soft_block_host(parts[k]) & ~PAGE_MASK));
	}
	os_show("vcpu%u: became %zu bytes:", c->vcpu->id, size);
	show_code(code, size, 64, (u64)code);
	os_show("vcpu%u: and %zu bytes off the straight way:", c->vcpu->id, cold_size);
	show_code(cold, cold_size, 64, (u64)cold);
}
