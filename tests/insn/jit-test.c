/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The translator against the interpreter and the host's processor: random sequences of instructions, run by all
 * from the same state, must end in the same place with the same registers, flags, vectors, memory and fault.
 *
 * A sequence is one block of a few cases of generate.c, or several blocks (joined.c), which the translator is told
 * have run often. It lies in guest memory with HLT behind it, which faults at this privilege and so tells where the
 * straight way ended.
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
#include "random.h"

#define DEFAULT_SECONDS	20
#define LONGEST		8
#define MAX_REPORTS	10
#define MAX_ROUNDS	1500
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
static int only_mode;		/* 0, 32, 64 */

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

/* As loop.c runs a block, or an instruction that is in two pages and is another one than it was. */
static int interpret(struct x86_cpu *c, struct soft_block *b)
{
	bool stale = b->cross && !soft_crosses(c, b, c_rip(c));
	struct x86_insn now;

	if (stale) {
		if (x86_decode(c->decoder, memory.code + (c_rip(c) - CODE_PAGE), 15, c->mode, c->features, &now) <= 0)
			return x86_raise(c, X86_UD);
		soft_bind_insn(c, &now);
	}
	for (u32 k = 0; k < b->n; k++) {
		const struct x86_insn *i = stale ? &now : soft_block_insn(soft_icache(c), b, k);
		int r;

		c_rip(c) += i->len;
		r = i->fn(c, i);
		if (r == X86_FAULT)
			x86_finish_fault(c, i);
		if (r == X86_FAULT || r == X86_RESTART)		/* RESTART: it was interrupted */
			c_rip(c) -= i->len;
		if (r)
			return r == X86_DONE || r == X86_RESTART ? JIT_NEXT : r;
		if (!soft_block_host(b))	/* its code was modified */
			break;
	}
	return JIT_NEXT;
}

/* The block at a place in the code pages. NULL: none can be made. */
static struct soft_block *block_at(struct x86_cpu *c, u64 lin)
{
	struct soft_icache *ic = soft_icache(c);
	struct x86_mapping map[CODE_PAGES];
	u32 page = (lin - CODE_PAGE) / PAGE_SIZE;
	struct soft_block *b;
	u64 host;

	/* All of them, for instructions that are in two. */
	for (u32 k = 0; k < CODE_PAGES; k++) {
		int r = x86_translate(c, CODE_PAGE + k * PAGE_SIZE, X86_FETCH, false, &map[k]);

		if (r == X86_RESTART) {
			/* The core would serve the requests that come with the first code of a page. */
			atomic_xchg(&c->vcpu->requests, 0);
			x86_tlb_flush_all(c);
			r = x86_translate(c, CODE_PAGE + k * PAGE_SIZE, X86_FETCH, false, &map[k]);
		}
		if (r || !map[k].host)
			return NULL;
	}
	host = (u64)map[page].host + (lin & ~PAGE_MASK);
	b = soft_icache_find(c, host);
	/* As loop.c does: what is translated is compared with its page. */
	if (b && b->jit_slot && !soft_icache_compared(ic, b) && !soft_icache_check_page(c, b))
		b = soft_icache_find(c, host);
	return b;
}

/* The sequence's blocks have run often, nearly all of them. */
static void heat(struct x86_cpu *c, const struct sequence *q)
{
	for (u32 k = 0; k < q->nr_blocks; k++) {
		u64 rip = c_rip(c);
		struct soft_block *b;

		c_rip(c) = q->at + q->block[k];
		b = block_at(c, q->at + q->block[k]);
		if (b && !b->jit_slot)
			b->runs = q->runs[k] ? JIT_HOT / 2 + q->runs[k] % (JIT_HOT - JIT_HOT / 2) : 0;
		c_rip(c) = rip;
	}
}

enum ran { RAN, ENDLESS, CANNOT };

/* Runs the sequence until it is left. CANNOT: no block can be made, or there was no room to translate it. */
static enum ran run(const struct sequence *q, bool jit, struct result *o)
{
	const struct test_case *t = &q->first;
	struct x86_cpu *c = interp_cpu();
	struct soft_vcpu *s = c->soft;
	struct soft_block *b;
	/* The translator may leave behind each instruction. */
	int r = JIT_NEXT, rounds, most = jit ? MAX_ROUNDS * SOFT_BLOCK_MAX : MAX_ROUNDS;
	bool first = true;

	interp_load(t);
	/* As systems have them: a base, and no limit. */
	if (t->mode == X86_MODE_32 && (t->number & 1)) {
		c->seg[X86_SEG_FS].limit = c->seg[X86_SEG_GS].limit = ~0u;
		x86_update_mode(c);
	}
	s->icache.epoch++;
	jit_begin(s->jit);
	if (jit)
		heat(c, q);
	soft_fpu_enter(c);
	/* The HLT behind it belongs to it. */
	for (rounds = 0; r == JIT_NEXT && rounds < most && c_rip(c) - q->at <= q->len; rounds++) {
		b = block_at(c, c_rip(c));
		if (!b)
			break;
		if (jit && !b->jit_slot && (first || q->eager))
			jit_translate(c, b);
		if (jit && first && !b->jit_slot)
			break;
		first = false;
		WRITE_ONCE(c->attention, 0);
		if (!jit || !b->jit_slot || (b->cross && !soft_crosses(c, b, c_rip(c)))) {
			r = interpret(c, b);
			continue;
		}
		if (q->attention)
			WRITE_ONCE(c->attention, X86_ATTN_KICK);
		r = jit_run(c, b);
		if (r == X86_FAULT)
			x86_finish_fault(c, s->jit->insn);
		if (r == X86_FAULT || r == X86_RESTART)
			c_rip(c) -= s->jit->insn->len;
		if (r == X86_DONE || r == X86_RESTART)
			r = JIT_NEXT;
		/* Whoever wanted something has it, and it goes on. */
		if (r == JIT_NEXT && READ_ONCE(c->attention) && c_rip(c) - q->at <= q->len) {
			WRITE_ONCE(c->attention, 0);
			b = block_at(c, c_rip(c));
			if (!b)
				break;
			r = interpret(c, b);
		}
	}
	soft_fpu_leave(c);
	WRITE_ONCE(c->attention, 0);
	take(c, o, r);
	return r != JIT_NEXT || c_rip(c) - q->at > q->len ? RAN : rounds < most ? CANNOT : ENDLESS;
}

static void print_code(const struct sequence *q)
{
	for (u32 k = 0; k < q->nr; k++) {
		const u8 *p = q->code + q->start[k];
		u32 n = q->start[k + 1] - q->start[k];
		char text[128];

		for (u32 b = 0; b < q->nr_blocks; b++)
			if (q->block[b] == q->start[k])
				printf("  %x, %u runs\n", q->at + q->start[k], q->runs[b]);
		disassemble(p, n, 16 << q->first.mode, q->at + q->start[k], text, sizeof(text));
		printf("    ");
		for (u32 b = 0; b < n; b++)
			printf("%02x ", p[b]);
		printf("\t%s\n", text);
	}
	printf("  %s%s\n", q->eager ? "with all translated " : "", q->attention ? "with interruptions" : "");
}

static const char *compare(const struct test_case *t, const struct result *a, const struct result *b)
{
	static char what[200];

	if (a->r != b->r)
		snprintf(what, sizeof(what), "result: interpreter %d at %llx, translator %d at %llx", a->r,
			 (unsigned long long)a->regs[X86_REG_RIP], b->r, (unsigned long long)b->regs[X86_REG_RIP]);
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
 * that of the HLT behind the sequence at least, or left it. NULL: the same. */
static const char *on_host(const struct sequence *q, const u8 *pages, const struct result *ours)
{
	const u64 flags = X86_RFLAGS_ARITH | X86_RFLAGS_DF | X86_RFLAGS_AC | X86_RFLAGS_ID | X86_RFLAGS_IF |
			  X86_RFLAGS_IOPL;
	const struct test_case *t = &q->first;
	u64 mask = t->mode == X86_MODE_64 ? ~0ull : 0xffffffff, rip = ours->regs[X86_REG_RIP];
	bool fault = ours->r == X86_FAULT;
	static struct outcome o;
	static char what[200];

	native_run_pages(t, pages, q->len, &o);
	/* HLT's is none of the sequence's. */
	fault &= rip != q->at + q->len;
	if (o.fault != fault || o.out.rip != rip) {
		snprintf(what, sizeof(what), "host: %s at %llx, vector %u CR2 %llx, ours: %s at %llx",
			 o.fault ? "fault" : "end", (unsigned long long)o.out.rip, o.vector,
			 (unsigned long long)o.cr2, fault ? "fault" : "end", (unsigned long long)rip);
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

/* A sequence of one block, or one that is a loop. */
static bool make_single(u64 number, int mode, struct sequence *q)
{
	struct rng r = random_start(seed, number);
	u32 want = 1 + below(&r, LONGEST), pick = number % 8;
	enum theme theme = pick < NR_THEMES ? (enum theme)pick : INTEGERS;
	static struct test_case t;

	q->at = CODE_START;
	q->nr_blocks = q->nr = q->len = 0;
	q->host = true;
	q->eager = q->attention = false;
	for (u32 tries = 0; tries < 400 && q->nr < want; tries++) {
		u32 attr;

		if (!generate(seed, rnd(&r) >> 8, &host_memory, &memory, &t) || !t.insn.fn)
			continue;
		attr = x86_op(&t.insn)->attr;
		if (t.mode != mode || t.small_data || t.stack16 || (attr & (X86_A_IO | X86_A_SHADOW)) ||
		    ((attr & X86_A_END) && (!(attr & X86_A_BRANCH) || q->nr + 1 < want)))
			continue;
		if (!of_theme(&t.insn, theme, rnd(&r)))
			continue;
		memcpy(q->code + q->len, t.bytes, t.insn.len);
		q->len += t.insn.len;
		q->host = q->host && !(attr & X86_A_END) && !generate_free_to_fault(x86_op(&t.insn));
		q->start[q->nr + 1] = q->len;
		if (!q->nr++ || t.fp)
			q->first = t;
	}
	if (!q->nr)
		return false;
	if (one_in(&r, 2)) {
		/* A loop: dec r; jne to the start. */
		u32 reg = below(&r, mode == X86_MODE_64 ? 16 : 8);
		u8 loop[] = { mode == X86_MODE_64 ? 0x40 | reg >> 3 : 0x3e, 0xff, 0xc8 | (reg & 7),
			      0x0f, 0x85, 0, 0, 0, 0 };
		s32 back = -(s32)(q->len + sizeof(loop));

		memcpy(loop + 5, &back, 4);
		memcpy(q->code + q->len, loop, sizeof(loop));
		q->start[++q->nr] = q->len + 3;
		q->len += sizeof(loop);
		q->start[++q->nr] = q->len;
		q->first.in.gpr[reg] = 1 + below(&r, 4);
	}
	return true;
}

static void restore(u8 *to, const u8 (*from)[PAGE_SIZE])
{
	for (u32 k = 0; k < DATA_PAGES; k++)
		memcpy(to + data_pages[k], from[k], PAGE_SIZE);
}

/* Does it end the same way on the host? Where one of its instructions is, or outside: in the middle of one, anything may
 * be. And not because the runner's own pages are not there. */
static bool ends_on_host(const struct sequence *q, const struct result *o)
{
	u64 at = o->regs[X86_REG_RIP] - q->at;

	for (u32 k = 0; k < q->nr; k++)
		if (at > q->start[k] && at < q->start[k + 1])
			return false;
	if (o->r == X86_FAULT && at > q->len)
		return false;
	return o->regs[X86_REG_RIP] - CODE_BASE < STUB_PAGE - CODE_BASE &&
	       o->payload + 64 - STUB_PAGE > CTX + PAGE_SIZE + 64 - STUB_PAGE;
}

/* One sequence. -1: none was made; 0: alike. */
static int sequence(u64 number)
{
	static struct sequence q;
	static struct result interpreted, translated;
	static u8 before[ARRAY_SIZE(data_pages)][PAGE_SIZE], pages[CODE_PAGES * PAGE_SIZE], spare[DATA_SIZE];
	struct rng r = random_start(seed, number ^ 1ull << 63);
	int mode = !only_mode ? can.compat && one_in(&r, 4) ? X86_MODE_32 : X86_MODE_64 :
		   only_mode == 32 ? X86_MODE_32 : X86_MODE_64;
	const char *what = NULL;
	bool joined = number % 4;

	q.scratch = (struct memory){ .data = spare };
	if (joined ? !make_joined(seed, number, mode, &q) : !make_single(number, mode, &q))
		return -1;
	/* All of the pages, since they may be read. */
	memset(memory.code, 0xcc, CODE_PAGES * PAGE_SIZE);
	memcpy(memory.code + (q.at - CODE_PAGE), q.code, q.len);
	memset(memory.code + (q.at - CODE_PAGE) + q.len, 0xf4, 16);
	memcpy(pages, memory.code, sizeof(pages));
	for (u32 k = 0; joined && k < DATA_PAGES; k++) {
		for (u32 at = 0; at < PAGE_SIZE; at += 8) {
			u64 v = one_in(&r, 8) ? random_floats(&r) : random_integer(&r);

			memcpy(memory.data + data_pages[k] + at, &v, 8);
		}
	}
	for (u32 k = 0; k < DATA_PAGES; k++)
		memcpy(before[k], memory.data + data_pages[k], PAGE_SIZE);
	if (run(&q, false, &interpreted) != RAN)
		return -1;
	/* What modified code does may be none of what is tried on the host. */
	q.host &= !memcmp(memory.code, pages, sizeof(pages));
	/* Twice: the second time, its ways out are linked. */
	for (u32 k = 0; k < 1u + joined && !what; k++) {
		restore(memory.data, before);
		memcpy(memory.code, pages, sizeof(pages));
		switch (run(&q, true, &translated)) {
		case RAN:
			what = compare(&q.first, &interpreted, &translated);
			break;
		case CANNOT:
			return -1;
		default:
			what = "the translator's does not end";
		}
	}
	/* In those cases FS and GS are not the host's: see run(). */
	if (!what && q.host && HOST_IS_EMPTY && !(mode == X86_MODE_32 && (q.first.number & 1)) &&
	    (interpreted.r == X86_FAULT || (joined && interpreted.r == JIT_NEXT)) && ends_on_host(&q, &interpreted)) {
		restore(host_memory.data, before);
		hosted++;
		what = on_host(&q, pages, &interpreted);
	}
	for (u32 k = 0; k < DATA_PAGES; k++)
		memcpy(host_memory.data + data_pages[k], memory.data + data_pages[k], PAGE_SIZE);
	if (!what)
		return 0;
	printf("MISMATCH: %s (--seed %llu --first %llu --cases 1)\n", what, (unsigned long long)seed,
	       (unsigned long long)number);
	print_code(&q);
	printf("  interpreter: result %d, vector %u, RIP %llx; translator: %d, %u, %llx\n", interpreted.r,
	       interpreted.vector, (unsigned long long)interpreted.regs[X86_REG_RIP], translated.r,
	       translated.vector, (unsigned long long)translated.regs[X86_REG_RIP]);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "first", required_argument, NULL, 'f' },
		{ "cases", required_argument, NULL, 'c' }, { "seconds", required_argument, NULL, 't' },
		{ "op", required_argument, NULL, 'o' }, { "mode", required_argument, NULL, 'm' }, { NULL, 0, NULL, 0 },
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
		case 'm': only_mode = atoi(optarg); break;
		default:
			fprintf(stderr, "usage: jit-test [--seed N] [--first N] [--cases N] [--seconds N] "
				"[--op NAME] [--mode 32|64]\nTries random sequences of instructions in the translator and in "
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
	if (only_mode == 32 && !can.compat) {
		fprintf(stderr, "jit-test: the host's kernel has no 32-bit code\n");
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
