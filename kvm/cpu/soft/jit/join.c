/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Blocks that are translated together.
 *
 * A branch in hot code mostly goes one way. What it leads to there is translated with it, block by block, so that
 * lookups, flags and vector registers are kept across branches, and the code of a path is in one piece. What it
 * leads to otherwise is an edge. It ends where a loop closes.
 */
#include "kvm/cpu/soft/jit/translate.h"

s32 jit_branch_target(const struct tr *t, u32 k)
{
	return t->start[k] + t->insn[k]->len + (s32)(s64)t->insn[k]->imm;
}

static void append(struct tr *t, struct soft_block *b)
{
	u32 at = soft_block_host(b) & ~PAGE_MASK;

	for (u32 k = 0; k < b->n; k++, t->n++) {
		t->insn[t->n] = soft_block_insn(soft_icache(t->c), b, k);
		t->of[t->n] = b;
		t->sub[t->n] = k;
		t->start[t->n] = at;
		t->go[t->n] = GO_OUT;
		at += t->insn[t->n]->len;
	}
}

/* A block of this page that has run nearly as often as the first, and is neither translated nor part of this. */
static struct soft_block *follower(struct tr *t, s32 at)
{
	struct soft_block *b;

	if (at < 0 || at >= (s32)PAGE_SIZE)
		return NULL;
	for (u32 k = 0; k < t->n; k++)
		if (t->start[k] == at)
			return NULL;
	b = soft_icache_peek(soft_icache(t->c), t->page + at, t->c->mode);
	return b && !b->jit_slot && !b->cross && b->runs >= JIT_HOT / 2 && b->runs < JIT_HOT &&
	       t->n + b->n <= SOFT_BLOCK_MAX ? b : NULL;
}

void jit_join(struct tr *t, struct soft_block *b)
{
	u32 far = 0;

	for (struct soft_block *fall, *taken; b; ) {
		struct kind_of kd;
		u32 last, end;
		s32 to;

		append(t, b);
		last = t->n - 1;
		kd = jit_kind_of(t, t->insn[last]);
		if ((kd.kind != K_JCC && kd.kind != K_JMP_J) || b->cross)
			return;
		end = t->start[last] + t->insn[last]->len;
		to = jit_branch_target(t, last);
		if (to == t->start[0])
			return;
		fall = kd.kind == K_JCC ? follower(t, end) : NULL;
		taken = end < PAGE_SIZE ? follower(t, to) : NULL;
		if (taken && (!fall || fall->runs < taken->runs)) {
			t->go[last] = GO_TAKEN;
			b = taken;
			continue;
		}
		if (!fall || ((to < 0 || to >= (s32)PAGE_SIZE) && ++far > JIT_BLOCK_WAYS - 2))
			return;
		t->go[last] = GO_FALL;
		b = fall;
	}
}
