/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The decoder alone: lengths against Capstone's over random bytes in three modes, too few bytes,
 * too many prefixes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disasm.h"
#include "kvm/x86/insn.h"

#define CASES	5000000
#define MAX_SHOWN 40

static struct x86_decoder decoder;
static u32 failures;
static u64 rng_state;

static int no_exec(struct x86_cpu *c, const struct x86_insn *i)
{
	return X86_OK;
}

static u64 rnd(void)
{
	u64 z = rng_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void fail(const char *what, const u8 *b, int mode, int ours, int theirs)
{
	char text[128];

	if (failures++ >= MAX_SHOWN)
		return;
	disassemble(b, 15, 16 << mode, 0, text, sizeof(text));
	printf("FAIL %s, %d-bit: ours %d, expected %d:", what, 16 << mode, ours, theirs);
	for (u32 i = 0; i < 15; i++)
		printf(" %02x", b[i]);
	printf("  %s\n", text);
}

/* Random bytes, with prefixes and escapes more often than chance has them. */
static void random_bytes(u8 *b)
{
	static const u8 prefixes[] = {
		0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x64, 0x65, 0x40, 0x48, 0x41, 0x4f,
	};
	u32 n = 0;

	while (n < 4 && rnd() % 3 == 0)
		b[n++] = prefixes[rnd() % ARRAY_SIZE(prefixes)];
	switch (rnd() % 8) {
	case 0: case 1:
		b[n++] = 0x0f;
		break;
	case 2:
		b[n++] = 0x0f;
		b[n++] = rnd() & 1 ? 0x38 : 0x3a;
		break;
	case 3:
		b[n++] = 0xc5;
		break;
	case 4:
		b[n++] = 0xc4;
		b[n++] = (rnd() & 0xe0) | (1 + rnd() % 3);
		break;
	}
	while (n < 16)
		b[n++] = rnd();
}

/*
 * Where Capstone 4.0.2 is wrong about lengths, or another processor's reading is as good:
 *   near branches with 66 in 64-bit mode (Capstone reads them as Intel's do, we as the host does)
 *   moves to and from control, debug and test registers with a mod other than 3
 *   near branches with REX.W; PUSH of an immediate with 66 behind F2 or F3; UD0 and UD1, with or
 *   without modrm
 */
static bool excused(const struct x86_insn *i, int mode)
{
	const struct x86_opcode *op = x86_op(i);

	if ((op->attr & X86_A_BRANCH) && (i->flags & (X86_I_66 | X86_I_W)))
		return true;
	if (op->map == X86_MAP_1 && op->opcode == 0x68 && (i->flags & X86_I_66))
		return true;
	if (op->map == X86_MAP_0F && (op->opcode & 0xf8) == 0x20)
		return true;
	return op->map == X86_MAP_0F && (op->opcode == 0xff || op->opcode == 0xb9);
}

static void test_lengths(void)
{
	u32 both = 0;

	for (u32 k = 0; k < CASES; k++) {
		int mode = k % 3, ours, theirs;
		struct x86_insn i;
		u8 b[16];

		random_bytes(b);
		ours = x86_decode(&decoder, b, 15, mode, NULL, &i);
		if (ours <= 0)
			continue;
		theirs = disassemble(b, 15, 16 << mode, 0, NULL, 0);
		if (theirs <= 0)
			continue;
		both++;
		if (ours != theirs && !excused(&i, mode))
			fail("length", b, mode, ours, theirs);
	}
	printf("lengths: %u of %u random strings are instructions to both\n", both, CASES);
	if (!both)
		printf("(no Capstone)\n");
}

/* Of an instruction of n bytes, any fewer are too few, and any more do not matter. */
static void test_truncation(void)
{
	for (u32 k = 0; k < CASES / 10; k++) {
		int mode = k % 3, len, r;
		struct x86_insn i, j;
		u8 b[16];

		random_bytes(b);
		len = x86_decode(&decoder, b, 15, mode, NULL, &i);
		if (len <= 0)
			continue;
		for (int n = 0; n < len; n++) {
			r = x86_decode(&decoder, b, n, mode, NULL, &j);
			if (r != 0)
				fail("truncated", b, mode, r, 0);
		}
		memset(b + len, rnd(), 15 - len);
		r = x86_decode(&decoder, b, len, mode, NULL, &j);
		if (r != len || memcmp(&i, &j, sizeof(i)))
			fail("what follows matters", b, mode, r, len);
	}
}

/* Prefixes up to 15 bytes in all; one more is #GP. */
static void test_limit(void)
{
	static const struct { u8 b[8]; int len; } insns[] = {
		{ { 0x90 }, 1 }, { { 0x01, 0xc0 }, 2 }, { { 0x0f, 0xaf, 0xc1 }, 3 },
		{ { 0x81, 0xc0, 1, 2, 3, 4 }, 6 }, { { 0x8b, 0x84, 0x88, 1, 2, 3, 4 }, 7 },
	};

	for (u32 k = 0; k < ARRAY_SIZE(insns); k++) {
		for (int n = 0; n <= 15; n++) {
			int expected = n + insns[k].len <= 15 ? n + insns[k].len : -2, r;
			struct x86_insn i;
			u8 b[32];

			memset(b, 0x3e, sizeof(b));
			memcpy(b + n, insns[k].b, insns[k].len);
			r = x86_decode(&decoder, b, 15, X86_MODE_32, NULL, &i);
			if (r != expected)
				fail("limit of 15 bytes", b, X86_MODE_32, r, expected);
		}
	}
}

/* What must be undefined, and what must not. */
static void test_single(void)
{
	static const struct { int mode, len; u8 b[8]; } t[] = {
		{ X86_MODE_64, -1, { 0xf0, 0x01, 0xc0 } },		/* lock add eax, eax */
		{ X86_MODE_64, 3, { 0xf0, 0x01, 0x00 } },		/* lock add [rax], eax */
		{ X86_MODE_64, -1, { 0xf0, 0x8b, 0x00 } },		/* lock mov */
		{ X86_MODE_64, -1, { 0x06 } },				/* push es */
		{ X86_MODE_32, 1, { 0x06 } },
		{ X86_MODE_64, -1, { 0x66, 0xc5, 0xf8, 0x58, 0xc0 } },	/* VEX after 66 */
		{ X86_MODE_64, -1, { 0x48, 0xc5, 0xf8, 0x58, 0xc0 } },	/* VEX after REX */
		{ X86_MODE_64, -1, { 0xc5, 0xf0, 0x77 } },		/* vzeroupper vvvv */
		{ X86_MODE_64, 3, { 0xc5, 0xf8, 0x77 } },
		{ X86_MODE_32, 2, { 0xc5, 0x00 } },			/* lds */
		{ X86_MODE_32, 2, { 0x62, 0x00 } },			/* bound */
		{ X86_MODE_64, -1, { 0x62, 0x00, 0x00, 0x00, 0x00, 0x00 } },
		{ X86_MODE_64, 2, { 0x41, 0x90 } },			/* xchg r8, rax */
		{ X86_MODE_64, 10, { 0x48, 0xb8, 1, 2, 3, 4, 5, 6 } },	/* mov rax, imm64 */
		{ X86_MODE_16, 3, { 0x8b, 0x46, 0x10 } },		/* mov ax, [bp+16] */
		{ X86_MODE_64, -1, { 0x0f, 0x0a } },
		{ X86_MODE_64, -1, { 0x8f, 0xc8 } },			/* pop /1 is XOP */
	};

	for (u32 k = 0; k < ARRAY_SIZE(t); k++) {
		u8 b[16] = { 0 };
		struct x86_insn i;
		int r;

		memcpy(b, t[k].b, sizeof(t[k].b));
		r = x86_decode(&decoder, b, 15, t[k].mode, NULL, &i);
		if (r != t[k].len)
			fail("single", b, t[k].mode, r, t[k].len);
	}
}

int main(int argc, char **argv)
{
	rng_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	printf("seed %llu\n", (unsigned long long)rng_state);
	if (x86_decoder_init(&decoder, no_exec)) {
		fprintf(stderr, "decode-test: no memory\n");
		return 1;
	}
	test_single();
	test_limit();
	test_truncation();
	test_lengths();
	x86_decoder_free(&decoder);
	printf("%u failures\n", failures);
	return failures != 0;
}
