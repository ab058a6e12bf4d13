/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the translator makes of each row of the instruction table, as text: emission --check FILE compares it with a
 * file that is kept, so that a worse translation shows in review, and --write FILE brings that up to date.
 *
 * Of each row there is a form with registers and one with memory, in a block of its own, for 64-bit mode where it is
 * there. Shown is the straight way through, up to the jump that leaves the block; what lies off it is counted, as is
 * the form with memory of vector instructions. Rows whose forms are calls of their handlers are only named. What depends on where things lie is masked: addresses, ways to
 * other code, and displacements into the x86_cpu, whose fields are named instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disasm.h"
#include "insn.h"
#include "kvm/anykvm.h"
#include "kvm/cpu/soft/jit/translate.h"

#define LINE		120

static struct memory memory;
static FILE *nowhere;

/* ---- guest instructions ---- */

static bool has_kind(const struct x86_opcode *op, u8 kind)
{
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++)
		if (op->op[k].kind == kind)
			return true;
	return false;
}

/* The row's bytes with registers (RDX, RBX, or 2 and 3), or with memory at RBX + 16. Immediates are 0x11. */
static void encode(const struct x86_opcode *op, bool mem, u8 b[32])
{
	static const u8 prefix[] = { [X86_PFX_66] = 0x66, [X86_PFX_F3] = 0xf3, [X86_PFX_F2] = 0xf2 };
	static const u8 pp[] = { [X86_PFX_66] = 1, [X86_PFX_F3] = 2, [X86_PFX_F2] = 3 };
	u8 *p = b, pfx = op->pfx < ARRAY_SIZE(prefix) ? op->pfx : X86_PFX_ANY, rm = op->rm >= 0 ? op->rm : 2;
	bool w = op->w == X86_W1;

	memset(b, 0x11, 32);
	if (op->vex != X86_LEGACY) {
		u8 vvvv = has_kind(op, X86_OP_H) || has_kind(op, X86_OP_B) ? 1 : 0;

		*p++ = 0xc4;
		*p++ = 0xe0 | (op->map - X86_MAP_0F + 1);
		*p++ = w << 7 | (~vvvv & 15) << 3 | (op->vex == X86_VEX_256) << 2 | pp[pfx];
	} else {
		if (prefix[pfx])
			*p++ = prefix[pfx];
		if (w)
			*p++ = 0x48;
		if (op->map != X86_MAP_1)
			*p++ = 0x0f;
		if (op->map == X86_MAP_0F38 || op->map == X86_MAP_0F3A)
			*p++ = op->map == X86_MAP_0F38 ? 0x38 : 0x3a;
	}
	*p++ = op->opcode;
	if (op->mod == X86_MOD_NONE)
		return;
	if (mem && has_kind(op, X86_OP_VSIB)) {
		*p++ = 0x44 | (op->reg >= 0 ? op->reg : 3) << 3;
		*p++ = 0x2b;				/* [rbx + index 5] */
		*p++ = 0x10;
	} else if (mem) {
		*p++ = 0x43 | (op->reg >= 0 ? op->reg : 3) << 3;
		*p++ = 0x10;
	} else {
		*p++ = 0xc0 | (op->reg >= 0 ? op->reg : 3) << 3 | rm;
	}
}

/* ---- host instructions ---- */

/* The field of the x86_cpu at a displacement from RBP. */
static void name_field(s64 disp, char *text, size_t size)
{
#define FIELD(f)	{ #f, offsetof(struct x86_cpu, f), sizeof(((struct x86_cpu *)0)->f) }
	static const struct { const char *name; size_t at, size; } fields[] = {
		FIELD(regs), FIELD(rflags), FIELD(attention), FIELD(cpl), FIELD(mode), FIELD(tlb_ctx), FIELD(tlb),
		FIELD(jit.page), FIELD(jit.flags), FIELD(jit), FIELD(seg), FIELD(fpu.fx), FIELD(fpu.ymm),
		FIELD(fpu),
	};
	size_t at = disp + BIAS;

	for (u32 k = 0; k < ARRAY_SIZE(fields); k++) {
		if (at - fields[k].at >= fields[k].size)
			continue;
		if (at == fields[k].at)
			snprintf(text, size, "%s", fields[k].name);
		else
			snprintf(text, size, "%s + %#zx", fields[k].name, at - fields[k].at);
		return;
	}
	snprintf(text, size, "x86_cpu");
}

/* Puts `by` in place of what begins with `from` and ends before a character of `end`. */
static void replace(char *text, size_t size, const char *from, const char *end, const char *by)
{
	char *at = strstr(text, from), rest[LINE];

	if (!at)
		return;
	snprintf(rest, sizeof(rest), "%s", at + strcspn(at, end));
	snprintf(at, size - (at - text), "%s%s", by, rest);
}

/* Without blanks at its end. */
static void print_line(FILE *out, const char *indent, char *hex, char *text)
{
	char *strings[] = { hex, text };

	for (u32 k = 0; k < ARRAY_SIZE(strings); k++)
		for (size_t n = strlen(strings[k]); n && strings[k][n - 1] == ' '; n--)
			strings[k][n - 1] = 0;
	fprintf(out, "%s%s%s%s\n", indent, hex, *text ? "\t" : "", text);
}

struct host {
	const u8 *code;
	u32 size;
};

/* Bytes that are masked: `n` of value v, the last such in the instruction. */
static void mask(bool *masked, const u8 *b, u32 len, const void *v, u32 n)
{
	for (u32 at = len - n + 1; at-- > 1; ) {
		if (memcmp(b + at, v, n))
			continue;
		memset(masked + at, true, n);
		return;
	}
}

/* One line; where the way ends, *end. Returns the instruction's length. */
static u32 show_host(FILE *out, const struct host *h, u32 at, u32 *skips_to, bool *end)
{
	const struct x86_cpu *c = interp_cpu();
	const u8 *b = h->code + at;
	char text[LINE] = "", field[LINE], hex[3 * 16 + 1] = "";
	bool masked[16] = { false };
	struct x86_insn i;
	int len = x86_decode(c->decoder, b, min(h->size - at, 15u), X86_MODE_64, NULL, &i);
	s64 target;

	if (len <= 0) {
		fprintf(out, "\tnot an instruction: %02x\n", *b);
		*end = true;
		return 1;
	}
	disassemble(b, len, 64, at, text, sizeof(text));
	if ((i.flags & X86_I_MEM) && i.base == X86_RBP && i.index == X86_REG_ZERO) {
		mask(masked, b, len, &i.disp, i.disp == (s8)i.disp ? 1 : 4);
		name_field(i.disp, field, sizeof(field));
		replace(text, sizeof(text), "rbp", "]", field);
	}
	if (i.opsize == 8 && len == 10 && (x86_op(&i)->opcode & 0xf8) == 0xb8 && x86_op(&i)->map == X86_MAP_1) {
		memset(masked + 2, true, 8);
		replace(text, sizeof(text), "0x", "", "ADDRESS");
	}
	if (x86_op(&i)->attr & X86_A_BRANCH && has_kind(x86_op(&i), X86_OP_J)) {
		target = (s64)at + len + (s64)i.imm;
		if (target < 0 || target >= h->size) {
			memset(masked + len - 4, true, 4);
			replace(text, sizeof(text), "0x", "", "STUB");
			replace(text, sizeof(text), "-0x", "", "STUB");
		} else if (len == 2) {
			*skips_to = max(*skips_to, (u32)target);
		}
	}
	/* A jump that a short one goes around is no end. */
	if (at + len > *skips_to && !strcmp(x86_op(&i)->name, "jmp") && len != 2)
		*end = true;
	if (!strcmp(x86_op(&i)->name, "ret"))
		*end = true;
	for (int k = 0; k < len; k++)
		snprintf(hex + 3 * k, sizeof(hex) - 3 * k, masked[k] ? ".. " : "%02x ", b[k]);
	print_line(out, "\t", hex, text);
	return len;
}

/* ---- rows ---- */

/* The block of one instruction, translated. NULL: it cannot be decoded so. */
static struct soft_block *make_block(struct x86_cpu *c, const struct x86_opcode *op, int mode, bool mem, u8 *bytes,
				     u32 *len, struct host *h)
{
	struct test_case t = { .mode = mode, .in.rip = CODE_START, .in.rflags = 2 };
	struct soft_vcpu *s = c->soft;
	struct x86_mapping map;
	struct soft_block *b;
	struct x86_insn i;
	u64 before;
	u8 *code;
	int n;

	encode(op, mem, bytes);
	n = x86_decode(c->decoder, bytes, 15, mode, NULL, &i);
	if (n <= 0 || x86_op(&i) != op || (bool)(i.flags & X86_I_MEM) != mem)
		return NULL;
	/* What follows is no instruction, so the block is this one. */
	memset(memory.code, 0xff, PAGE_SIZE);
	memcpy(memory.code + (CODE_START - CODE_PAGE), bytes, n);
	interp_load(&t);
	soft_icache_drop_all(c);
	s->icache.epoch++;
	jit_begin(s->jit);
	if (x86_translate(c, CODE_START, X86_FETCH, false, &map) == X86_RESTART) {
		atomic_xchg(&c->vcpu->requests, 0);
		x86_tlb_flush_all(c);
		if (x86_translate(c, CODE_START, X86_FETCH, false, &map))
			return NULL;
	}
	b = soft_icache_find(c, (u64)map.host);
	if (!b)
		return NULL;
	code = s->jit->code.rx + s->jit->hot;
	before = s->stats.host_bytes;
	jit_translate(c, b);
	if (!b->jit_slot)
		return NULL;
	*len = n;
	*h = (struct host){ code, s->stats.host_bytes - before };
	return b;
}

/* Shows a form; false: it is a call of the handler, or there is no such form. */
static bool show_form(FILE *out, const struct x86_opcode *op, int mode, bool mem, bool brief)
{
	struct x86_cpu *c = interp_cpu();
	struct soft_vcpu *s = c->soft;
	u32 len, at = 0, skips_to = 0, n = 0;
	char text[LINE] = "", hex[3 * 16 + 1] = "";
	struct host h;
	u8 bytes[32];
	bool end = false;

	if (!make_block(c, op, mode, mem, bytes, &len, &h) || !jit_knows_row(s->jit, op - x86_optable))
		return false;
	disassemble(bytes, len, 16 << mode, 0, text, sizeof(text));
	for (u32 k = 0; k < len; k++)
		snprintf(hex + 3 * k, sizeof(hex) - 3 * k, "%02x ", bytes[k]);
	print_line(out, mode == X86_MODE_32 ? "32 bits: " : "", hex, text);
	while (at < h.size && !end) {
		at += show_host(brief ? nowhere : out, &h, at, &skips_to, &end);
		n++;
	}
	if (brief)
		fprintf(out, "\t%u instructions, %u bytes\n", n, at);
	fprintf(out, "\tand %u bytes elsewhere\n", h.size - min(at, h.size));
	return true;
}

static void show_row(FILE *out, const struct x86_opcode *op, char **calls)
{
	int mode = op->attr & X86_A_I64 ? X86_MODE_32 : X86_MODE_64;
	bool shown = false;
	char *more;

	/* One of the eight with a register in the opcode. */
	if (op->mod == X86_MOD_NONE && has_kind(op, X86_OP_Z) && (op->opcode & 7) != 3)
		return;
	if (op->mod != X86_MOD_MEM)
		shown |= show_form(out, op, mode, false, false);
	/* Vector instructions look up their operands all alike. */
	if (op->mod == X86_MOD_MEM || op->mod == X86_MOD_ANY)
		shown |= show_form(out, op, mode, true, shown && (op->attr & X86_A_HOST));
	if (shown)
		return;
	if (asprintf(&more, "%s%s (map %u, %02x%s%.*d)\n", *calls, op->name, op->map, op->opcode,
		     op->reg >= 0 ? " /" : "", op->reg >= 0 ? 1 : 0, max(op->reg, 0)) < 0)
		exit(1);
	free(*calls);
	*calls = more;
}

static void show_all(FILE *out)
{
	char *calls = strdup("");

	fprintf(out, "What instructions become, by row of the instruction table. Made by tests/insn/emission --write; see\n"
		"tests/insn/emission.c for what is shown and what is masked.\n\n");
	for (u32 row = 0; row < x86_optable_size; row++)
		show_row(out, &x86_optable[row], &calls);
	fprintf(out, "\nCalls of their handlers:\n%s", calls);
	free(calls);
}

/* ---- comparing ---- */

/* Without a disassembler there is no text, so bytes alone count. */
static void cut_text(char *line)
{
	char text[LINE];

	if (!disassemble((const u8 *)"\x90", 1, 64, 0, text, sizeof(text)) && *line)
		line[1 + strcspn(line + 1, "\t")] = 0;
	line[strcspn(line, "\n")] = 0;
}

/* The file's lines as they count, in a temporary file of that name. */
static bool cut(FILE *in, char *name)
{
	int fd = mkstemp(name);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	char line[512];

	if (!out)
		return false;
	while (fgets(line, sizeof(line), in)) {
		cut_text(line);
		fprintf(out, "%s\n", line);
	}
	return !fclose(out);
}

/* diff(1) shows what is different. */
static int check(FILE *wanted, FILE *got)
{
	char a[] = "/tmp/emission-kept.XXXXXX", b[] = "/tmp/emission-now.XXXXXX", command[128];
	int r;

	if (!cut(wanted, a) || !cut(got, b)) {
		perror("emission: a temporary file");
		return 1;
	}
	snprintf(command, sizeof(command), "diff -U2 %s %s", a, b);
	r = system(command);
	unlink(a);
	unlink(b);
	if (r)
		printf("If this is as it should be, ninja update-emission writes the file anew.\n");
	return r != 0;
}

int main(int argc, char **argv)
{
	bool write = argc == 3 && !strcmp(argv[1], "--write");
	struct memory host;
	struct native_can can;
	FILE *file, *got;
	int r = 0;

	if (!write && !(argc == 3 && !strcmp(argv[1], "--check"))) {
		fprintf(stderr, "usage: emission --check FILE | --write FILE\n");
		return 2;
	}
	anykvm_set_engine("jit");
	if (native_init(&host, &can) || interp_init(&memory)) {
		fprintf(stderr, "emission: cannot set up\n");
		return 1;
	}
	/* As for a guest that has everything. */
	memset(interp_cpu()->features, 0xff, sizeof(interp_cpu()->features));
	nowhere = fopen("/dev/null", "w");
	file = fopen(argv[2], write ? "w" : "r");
	if (!file || !nowhere) {
		perror(argv[2]);
		return 1;
	}
	got = write ? file : tmpfile();
	show_all(got);
	if (!write) {
		rewind(got);
		r = check(file, got);
		fclose(got);
	}
	fclose(file);
	return r;
}
