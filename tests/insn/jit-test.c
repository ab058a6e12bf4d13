/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The translator against the interpreter and the host's processor: random sequences of one to a few
 * instructions, run by all from the same state, must end in the same place with the same registers, flags,
 * vectors, memory and fault.
 *
 * A sequence is made of cases of generate.c and lies in guest memory with HLT behind it, which
 * faults at this privilege and so tells where the straight way ended.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disasm.h"
#include "insn.h"
#include "kvm/anykvm.h"
#include "kvm/cpu/soft/jit/jit.h"
#include "kvm/cpu/soft/soft.h"

#define DEFAULT_SECONDS	20
#define LONGEST		8
#define MAX_REPORTS	10
#define MAX_ROUNDS	50
#define DATA_PAGES	ARRAY_SIZE(data_pages)

/* All that a run leaves behind. */
struct result {
	int r;
	u8 vector;
	u32 error;
	u64 payload;
	u64 regs[X86_NR_REGS];
	u64 rflags, fs_base, gs_base;
	u8 fx[512];
	union x86_vec ymm[16];
	u8 data[ARRAY_SIZE(data_pages)][PAGE_SIZE];
};

static struct native_can can;
static struct memory host_memory, memory;
static u64 seed, hosted;

/* Wild addresses must hit nothing on the host; AddressSanitizer's shadow is terabytes of memory that they hit. */
#if defined(__SANITIZE_ADDRESS__)
#define HOST_IS_EMPTY	false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOST_IS_EMPTY	false
#endif
#endif
#ifndef HOST_IS_EMPTY
#define HOST_IS_EMPTY	true
#endif

static u64 splitmix(u64 *s)
{
	u64 z = *s += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void take(struct x86_cpu *c, struct result *o, int r)
{
	memset(o, 0, offsetof(struct result, data));
	o->r = r;
	if (r == X86_FAULT) {
		o->vector = c->fault.vector;
		o->error = c->fault.has_error ? c->fault.error : 0;
		o->payload = c->fault.vector == X86_PF ? c->fault.payload : 0;
	}
	memcpy(o->regs, c->regs, sizeof(o->regs));
	o->rflags = c->rflags;
	o->fs_base = c->seg[X86_SEG_FS].base;
	o->gs_base = c->seg[X86_SEG_GS].base;
	memcpy(o->fx, c->fpu.fx, sizeof(o->fx));
	memcpy(o->ymm, c->fpu.ymm, sizeof(o->ymm));
	for (u32 k = 0; k < DATA_PAGES; k++)
		memcpy(o->data[k], memory.data + data_pages[k], PAGE_SIZE);
}

/* As loop.c runs a block. */
static int interpret(struct x86_cpu *c, struct soft_block *b, u32 from)
{
	const struct x86_insn *i;
	u32 at = 0;

	for (u32 k = 0; k < b->n; k++, at += i->len) {
		int r;

		i = soft_block_insn(soft_icache(c), b, k);
		if (at < from)
			continue;
		c_rip(c) += i->len;
		r = i->fn(c, i);
		if (r == X86_FAULT)
			x86_finish_fault(c, i);
		if (r)
			return r;
		if (!soft_block_host(b))	/* its code was modified */
			break;
	}
	return JIT_NEXT;
}

/* Runs what is at RIP. false: no block can be made, or the translator's tick came in between. */
static bool run(const struct test_case *t, bool jit, struct result *o)
{
	struct x86_cpu *c = interp_cpu();
	struct soft_vcpu *s = c->soft;
	struct x86_mapping map;
	struct soft_block *b;
	bool done = true;
	int r;

	interp_load(t);
	/* As systems have them: a base, and no limit. */
	if (t->mode == X86_MODE_32 && (t->number & 1)) {
		c->seg[X86_SEG_FS].limit = c->seg[X86_SEG_GS].limit = ~0u;
		x86_update_mode(c);
	}
	s->icache.epoch++;
	jit_begin(s->jit);
	r = x86_translate(c, c_rip(c), X86_FETCH, false, &map);
	if (r == X86_RESTART) {
		/* The core would serve the requests that come with the first code of a page. */
		atomic_xchg(&c->vcpu->requests, 0);
		x86_tlb_flush_all(c);
		r = x86_translate(c, c_rip(c), X86_FETCH, false, &map);
	}
	if (r || !map.host)
		return false;
	b = soft_icache_find(c, (u64)map.host);
	/* As loop.c does: what is translated is compared with its page. */
	if (b && b->jit_slot && !soft_icache_compared(&s->icache, b) && !soft_icache_check_page(c, b))
		b = soft_icache_find(c, (u64)map.host);
	if (!b)
		return false;
	if (jit && !b->jit_slot)
		jit_translate(c, b);
	if (jit && !b->jit_slot)
		return false;
	WRITE_ONCE(c->attention, 0);
	soft_fpu_enter(c);
	r = jit ? jit_run(c, b) : JIT_NEXT;
	if (r == X86_FAULT)
		x86_finish_fault(c, s->jit->insn);
	/* The translator may leave at any time: what is left to do is the interpreter's. */
	for (u32 rounds = 0; r == JIT_NEXT && soft_block_host(b) && c_rip(c) - t->in.rip < b->bytes &&
	     rounds < MAX_ROUNDS; rounds++)
		r = interpret(c, b, c_rip(c) - t->in.rip);
	if (jit && r == X86_RESTART) {
		c_rip(c) -= s->jit->insn->len;
		r = JIT_NEXT;
	}
	soft_fpu_leave(c);
	if (READ_ONCE(c->attention))
		done = false;
	WRITE_ONCE(c->attention, 0);
	take(c, o, r);
	return done;
}

static void print_code(const u8 *p, u32 len)
{
	while (len) {
		struct x86_cpu *c = interp_cpu();
		struct x86_insn i;
		char text[128];
		int n = x86_decode(c->decoder, p, min(len, 15u), c->mode, c->features, &i);

		if (n <= 0)
			break;
		disassemble(p, n, 16 << c->mode, CODE_START, text, sizeof(text));
		printf("    ");
		for (int k = 0; k < n; k++)
			printf("%02x ", p[k]);
		printf("\t%s\n", text);
		p += n;
		len -= n;
	}
}

static const char *compare(const struct test_case *t, const struct result *a, const struct result *b)
{
	static char what[200];

	if (a->r != b->r)
		snprintf(what, sizeof(what), "result: interpreter %d, translator %d", a->r, b->r);
	else if (a->vector != b->vector || a->error != b->error || a->payload != b->payload)
		snprintf(what, sizeof(what), "fault: vector %u, %u", a->vector, b->vector);
	else if (a->rflags != b->rflags)
		snprintf(what, sizeof(what), "flags: %llx, %llx", (unsigned long long)a->rflags,
			 (unsigned long long)b->rflags);
	else if (a->fs_base != b->fs_base || a->gs_base != b->gs_base)
		return "FS or GS base";
	else if (memcmp(a->fx, b->fx, sizeof(a->fx)))
		return "x87 state or MXCSR";
	else if (memcmp(a->ymm, b->ymm, sizeof(a->ymm))) {
		u32 n = 0;

		while (!memcmp(&a->ymm[n], &b->ymm[n], sizeof(a->ymm[n])))
			n++;
		snprintf(what, sizeof(what), "vector register %u: %016llx%016llx %016llx%016llx, "
			 "%016llx%016llx %016llx%016llx", n,
			 (unsigned long long)a->ymm[n].q[3], (unsigned long long)a->ymm[n].q[2],
			 (unsigned long long)a->ymm[n].q[1], (unsigned long long)a->ymm[n].q[0],
			 (unsigned long long)b->ymm[n].q[3], (unsigned long long)b->ymm[n].q[2],
			 (unsigned long long)b->ymm[n].q[1], (unsigned long long)b->ymm[n].q[0]);
	}
	else if (memcmp(a->data, b->data, sizeof(a->data)))
		return "memory";
	else {
		for (u32 n = 0; n < X86_NR_REGS; n++) {
			if (a->regs[n] == b->regs[n])
				continue;
			snprintf(what, sizeof(what), "register %u: was %llx, interpreter %llx, translator %llx",
				 n, n < 16 ? (unsigned long long)t->in.gpr[n] : 0,
				 (unsigned long long)a->regs[n], (unsigned long long)b->regs[n]);
			return what;
		}
		return NULL;
	}
	return what;
}

/* What a sequence is mostly made of: instructions that each have a way of their own through the translator. */
enum theme { INTEGERS, ALL, X87, STRINGS, HIGH_BYTES, NR_THEMES };

static bool of_theme(const struct x86_insn *i, enum theme theme, u64 chance)
{
	bool reg_high = i->reg - 4u < 4, rm_high = !(i->flags & X86_I_MEM) && i->rm - 4u < 4;
	u32 attr = x86_op(i)->attr;

	switch (theme) {
	case ALL:
		return true;
	case X87:
		return (attr & (X86_A_X87 | X86_A_MMX)) || !(chance % 32);
	case STRINGS:
		return (attr & X86_A_REP) || !(chance % 16);
	case HIGH_BYTES:
		return (attr & X86_A_BYTE && !(i->flags & X86_I_REX) && (reg_high || rm_high)) || !(chance % 8);
	default:
		return !(attr & X86_A_HOST) || !(chance % 8);
	}
}

/* ---- the host's processor ---- */

/* Are there instructions whose faults are in part the processor's choice, as insn-test knows them? They
 * move memory in pieces, or have two reasons to fault. */
static bool free_to_fault(const struct x86_opcode *op)
{
	static const char *const names[] = {
		"pusha", "popa", "enter", "bound", "call", "maskmovq", "maskmovdqu", "vmaskmovdqu",
	};

	for (u32 k = 0; k < ARRAY_SIZE(names); k++)
		if (!strcmp(op->name, names[k]))
			return true;
	for (u32 k = 0; k < ARRAY_SIZE(op->op); k++) {
		u8 size = op->op[k].size;

		if (op->op[k].kind == X86_OP_VSIB || size == X86_SZ_STATE || size == X86_SZ_ENV ||
		    size == X86_SZ_T)
			return true;
	}
	return strstr(op->name, "maskmov");
}

/* XSAVE need not write a component that is in its initial state. */
static void complete_xsave(u8 *x)
{
	u64 there;

	memcpy(&there, x + XSAVE_HEADER, 8);
	if (!(there & 1)) {
		memset(x, 0, 24);
		x[0] = 0x7f;
		x[1] = 3;
		memset(x + X86_FX_ST, 0, 128);
	}
	if (!(there & 2))
		memset(x + X86_FX_XMM, 0, 256);
	if (!(there & 4))
		memset(x + XSAVE_YMM, 0, 256);
}

static const char *compare_fp(const struct result *ours, const u8 *x)
{
	static char what[250];

	if (memcmp(ours->fx, x, 6) || memcmp(ours->fx + X86_FX_MXCSR, x + X86_FX_MXCSR, 4))
		return "host: x87 control, status or tags, or MXCSR";
	for (u32 n = 0; n < 8; n++)
		if (memcmp(ours->fx + X86_FX_ST + 16 * n, x + X86_FX_ST + 16 * n, 10))
			return "host: x87 register";
	for (u32 n = 0; n < 16; n++) {
		const union x86_vec *v = &ours->ymm[n];
		u64 host[4];

		memcpy(host, x + X86_FX_XMM + 16 * n, 16);
		memcpy(host + 2, x + XSAVE_YMM + 16 * n, 16);
		if (!memcmp(host, v, can.xsave_mask & 4 ? 32 : 16))
			continue;
		snprintf(what, sizeof(what), "vector register %u: host %016llx%016llx %016llx%016llx, ours "
			 "%016llx%016llx %016llx%016llx", n, (unsigned long long)host[3],
			 (unsigned long long)host[2], (unsigned long long)host[1], (unsigned long long)host[0],
			 (unsigned long long)v->q[3], (unsigned long long)v->q[2], (unsigned long long)v->q[1],
			 (unsigned long long)v->q[0]);
		return what;
	}
	return NULL;
}

/* What the host's processor makes of the sequence, against what the interpreter did; which ended with a fault,
 * that of the HLT behind the sequence at least. NULL: the same. */
static const char *on_host(const struct test_case *t, const u8 *page, u32 len, const u32 *starts, u32 n,
			   const struct result *ours)
{
	const u64 flags = X86_RFLAGS_ARITH | X86_RFLAGS_DF | X86_RFLAGS_AC | X86_RFLAGS_ID | X86_RFLAGS_IF |
			  X86_RFLAGS_IOPL;
	u64 mask = t->mode == X86_MODE_64 ? ~0ull : 0xffffffff, rip = t->in.rip + len;
	bool fault = ours->regs[X86_REG_RIP] != rip + 1;	/* HLT's is behind it */
	static struct outcome o;
	static char what[200];

	native_run_page(t, page, len, &o);
	/* Ours is behind the instruction. */
	for (u32 k = 0; fault && k < n; k++)
		if (t->in.rip + starts[k + 1] == ours->regs[X86_REG_RIP])
			rip = t->in.rip + starts[k];
	if (o.fault != fault || o.out.rip != rip) {
		snprintf(what, sizeof(what), "host: %s at %llx, ours: %s at %llx", o.fault ? "fault" : "end",
			 (unsigned long long)o.out.rip, fault ? "fault" : "end", (unsigned long long)rip);
		return what;
	}
	if (fault) {
		u32 error = ours->error;

		/* The host has pages of its own elsewhere. */
		if (ours->vector == X86_PF && ours->payload - DATA_BASE >= DATA_SIZE)
			error |= o.error & X86_PF_P;
		/* Around the end of 4 GiB, the segment's limit may count or not (SDM volume 3, 6.3). */
		if (t->mode == X86_MODE_32 && (o.vector == X86_GP || o.vector == X86_SS) &&
		    (ours->vector == X86_AC || (ours->vector == X86_PF && (u32)ours->payload + 64 < 128)))
			return NULL;
		if (o.vector != ours->vector || o.error != error || o.cr2 != ours->payload) {
			snprintf(what, sizeof(what), "at %llx, host: vector %u error %x CR2 %llx, ours: vector %u "
				 "error %x CR2 %llx", (unsigned long long)rip, o.vector, o.error,
				 (unsigned long long)o.cr2, ours->vector, error, (unsigned long long)ours->payload);
			return what;
		}
	}
	for (u32 k = 0; k < (t->mode == X86_MODE_64 ? 16u : 8u); k++) {
		if (!((o.out.gpr[k] ^ ours->regs[k]) & mask))
			continue;
		snprintf(what, sizeof(what), "register %u: was %llx, host %llx, ours %llx", k,
			 (unsigned long long)t->in.gpr[k], (unsigned long long)o.out.gpr[k],
			 (unsigned long long)ours->regs[k]);
		return what;
	}
	if ((o.out.rflags ^ ours->rflags) & flags) {
		snprintf(what, sizeof(what), "flags: host %llx, ours %llx", (unsigned long long)o.out.rflags,
			 (unsigned long long)ours->rflags);
		return what;
	}
	if (t->mode == X86_MODE_64 && can.fsgs &&
	    (o.out.fs_base != ours->fs_base || o.out.gs_base != ours->gs_base))
		return "host: FS or GS base";
	for (u32 k = 0; k < DATA_PAGES; k++)
		if (memcmp(host_memory.data + data_pages[k], ours->data[k], PAGE_SIZE))
			return "host: memory";
	if (!t->fp)
		return NULL;
	complete_xsave(o.out.xsave);
	return compare_fp(ours, o.out.xsave);
}

/* One sequence. -1: none was made; 0: alike. */
static int sequence(u64 number)
{
	static struct test_case first, t;
	static struct result interpreted, translated;
	static u8 before[ARRAY_SIZE(data_pages)][PAGE_SIZE], page[PAGE_SIZE];
	u64 mix = seed * 0x9e3779b97f4a7c15ull + number;
	u8 *code = memory.code + (CODE_START - CODE_PAGE);
	u32 want = 1 + splitmix(&mix) % LONGEST, have = 0, len = 0;
	u32 starts[LONGEST + 2] = { 0 };
	const char *what;
	bool host = true;
	int mode = can.compat && splitmix(&mix) % 4 == 0 ? X86_MODE_32 : X86_MODE_64;
	u32 pick = number % 8;
	enum theme theme = pick < NR_THEMES ? (enum theme)pick : INTEGERS;

	/* All of the page, since it may be read. */
	memset(memory.code, 0xcc, PAGE_SIZE);
	for (u32 tries = 0; tries < 400 && have < want; tries++) {
		u32 attr;

		if (!generate(seed, splitmix(&mix) >> 8, &host_memory, &memory, &t) || !t.insn.fn)
			continue;
		attr = x86_op(&t.insn)->attr;
		if (t.mode != mode || t.small_data || t.stack16 || (attr & (X86_A_IO | X86_A_SHADOW)) ||
		    ((attr & X86_A_END) && (!(attr & X86_A_BRANCH) || have + 1 < want)))
			continue;
		if (!of_theme(&t.insn, theme, splitmix(&mix)))
			continue;
		memcpy(code + len, t.bytes, t.insn.len);
		len += t.insn.len;
		host = host && !(attr & X86_A_END) && !free_to_fault(x86_op(&t.insn));
		starts[have + 1] = len;
		if (!have++ || t.fp)
			first = t;
	}
	if (!have)
		return -1;
	if (splitmix(&mix) % 2) {
		/* A loop: dec r; jne to the start. */
		u32 r = splitmix(&mix) % (mode == X86_MODE_64 ? 16 : 8);
		u8 loop[] = { mode == X86_MODE_64 ? 0x40 | r >> 3 : 0x3e, 0xff, 0xc8 | (r & 7),
			      0x0f, 0x85, 0, 0, 0, 0 };
		s32 back = -(s32)(len + sizeof(loop));

		memcpy(loop + 5, &back, 4);
		memcpy(code + len, loop, sizeof(loop));
		len += sizeof(loop);
		starts[have + 1] = len;
		first.in.gpr[r] = 1 + splitmix(&mix) % 4;
	}
	memset(code + len, 0xf4, 16);
	memcpy(page, memory.code, PAGE_SIZE);
	for (u32 k = 0; k < DATA_PAGES; k++)
		memcpy(before[k], memory.data + data_pages[k], PAGE_SIZE);
	if (!run(&first, false, &interpreted))
		return -1;
	if (interpreted.r == JIT_NEXT && interpreted.regs[X86_REG_RIP] - CODE_START < len)
		return -1;	/* a loop */
	for (u32 k = 0; k < DATA_PAGES; k++)
		memcpy(memory.data + data_pages[k], before[k], PAGE_SIZE);
	if (!run(&first, true, &translated))
		return -1;
	what = compare(&first, &interpreted, &translated);
	/* In those cases FS and GS are not the host's: see run(). */
	if (mode == X86_MODE_32 && (first.number & 1))
		host = false;
	if (!what && host && HOST_IS_EMPTY && interpreted.r == X86_FAULT) {
		for (u32 k = 0; k < DATA_PAGES; k++)
			memcpy(host_memory.data + data_pages[k], before[k], PAGE_SIZE);
		hosted++;
		what = on_host(&first, page, len, starts, have + 1, &interpreted);
	}
	for (u32 k = 0; k < DATA_PAGES; k++)
		memcpy(host_memory.data + data_pages[k], memory.data + data_pages[k], PAGE_SIZE);
	if (!what)
		return 0;
	printf("MISMATCH: %s (--seed %llu --first %llu --cases 1)\n", what, (unsigned long long)seed,
	       (unsigned long long)number);
	print_code(code, len);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "first", required_argument, NULL, 'f' },
		{ "cases", required_argument, NULL, 'c' }, { "seconds", required_argument, NULL, 't' },
		{ "op", required_argument, NULL, 'o' }, { NULL, 0, NULL, 0 },
	};
	u64 number = 0, cases = ~0ull, done = 0, bad = 0;
	double seconds = DEFAULT_SECONDS;
	const char *op = NULL;
	time_t start = time(NULL);
	int o;

	seed = ((u64)start * 1000003 + getpid()) & 0xffffffff;
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'f': number = strtoull(optarg, NULL, 0); break;
		case 'c': cases = strtoull(optarg, NULL, 0); break;
		case 't': seconds = atof(optarg); break;
		case 'o': op = optarg; break;
		default:
			fprintf(stderr, "usage: jit-test [--seed N] [--first N] [--cases N] [--seconds N] "
				"[--op NAME]\nTries random sequences of instructions in the translator and in "
				"the interpreter.\n");
			return 2;
		}
	}
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	anykvm_set_engine("jit");
	if (native_init(&host_memory, &can) || interp_init(&memory)) {
		fprintf(stderr, "jit-test: cannot set up\n");
		return 1;
	}
	generate_init(&can, interp_cpu(), op);
	for (; cases-- && bad < MAX_REPORTS; number++) {
		int r = sequence(number);

		done += r >= 0;
		bad += r > 0;
		if (!(number & 255) && time(NULL) - start >= seconds)
			break;
	}
	printf("%llu sequences, %llu of them on the host too, %llu mismatches\n", (unsigned long long)done,
	       (unsigned long long)hosted, (unsigned long long)bad);
	return bad || !done || (HOST_IS_EMPTY && !hosted);
}
