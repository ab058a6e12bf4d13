// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two tables of decoded code: where the block of a host address is, and which instructions there are, each of
 * them once.
 *
 * Both are open: who does not find his slot free takes the next free one, so that a lookup mostly touches one line
 * of cache before it touches what it was for. Both double when they get full. A table of 2^n slots is at the n-th power of
 * two of what is reserved, where nothing else ever is; it is zero until then.
 */
#include "kvm/cpu/soft/soft.h"

#define MIN_BITS	12

#define KNOWN_TAG	0xfc000000u	/* so many instructions do not fit the largest code cache, 2 GiB */

#define HASH_OF(slot)	((slot) & ~(u64)0xffffffff)

static u32 bits_for(u64 n)
{
	u32 bits = MIN_BITS;

	while (BIT_ULL(bits) < n)
		bits++;
	return bits;
}

/* ---- blocks ---- */

static u64 block_slot(const struct soft_icache *ic, const struct soft_block *b)
{
	return HASH_OF(soft_hash(b->key)) | ((u8 *)b - ic->arena) / 8;
}

static void put_block(struct soft_block_table *t, u64 slot)
{
	u32 at = slot >> (64 - t->bits);

	while (t->slots[at])
		at = (at + 1) & (BIT(t->bits) - 1);
	t->slots[at] = slot;
}

static void grow_blocks(struct soft_block_table *t)
{
	u64 *old = t->slots, n = BIT_ULL(t->bits);

	t->slots = old + n;
	t->bits++;
	for (u64 k = 0; k < n; k++) {
		if (old[k])
			put_block(t, old[k]);
	}
	os_large_zero(old, n * sizeof(*old));
}

struct soft_block *soft_table_find(struct soft_icache *ic, u64 key, u64 hash)
{
	const struct soft_block_table *t = &ic->blocks;
	u32 at = hash >> (64 - t->bits);
	u64 slot;

	while ((slot = t->slots[at])) {
		struct soft_block *b = soft_at(ic, (u32)slot);

		if (HASH_OF(slot) == HASH_OF(hash) && likely(b->key == key)) {
			ic->front[hash >> (64 - SOFT_FRONT_BITS)] = slot;
			return b;
		}
		at = (at + 1) & (BIT(t->bits) - 1);
	}
	return NULL;
}

void soft_table_add(struct soft_icache *ic, struct soft_block *b)
{
	struct soft_block_table *t = &ic->blocks;

	if (4 * ++t->nr > 3 * BIT_ULL(t->bits) && t->bits < t->max_bits)
		grow_blocks(t);
	put_block(t, block_slot(ic, b));
}

/* What stands behind it, and would have stood there, moves up. */
void soft_table_remove(struct soft_icache *ic, const struct soft_block *b)
{
	struct soft_block_table *t = &ic->blocks;
	u32 mask = BIT(t->bits) - 1, shift = 64 - t->bits, hole, at;
	u64 slot = block_slot(ic, b);

	for (hole = slot >> shift; t->slots[hole] != slot; hole = (hole + 1) & mask) {
		if (!t->slots[hole])
			return;
	}
	for (at = (hole + 1) & mask; t->slots[at]; at = (at + 1) & mask) {
		u32 home = t->slots[at] >> shift;

		if (((at - home) & mask) >= ((at - hole) & mask)) {
			t->slots[hole] = t->slots[at];
			hole = at;
		}
	}
	t->slots[hole] = 0;
	t->nr--;
}

/* ---- instructions ---- */

static u64 insn_hash(const struct x86_insn *i)
{
	const u64 *w = (const u64 *)i;
	u64 h = w[0] >> 4;

	_Static_assert(sizeof(*i) == 4 * sizeof(u64), "all of it is hashed and compared");
	for (u32 k = 1; k < 4; k++) {
		h = (h ^ w[k]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	return h * 0x9e3779b97f4a7c15ull;
}

static bool same_insn(const struct x86_insn *a, const struct x86_insn *b)
{
	const u64 *x = (const u64 *)a, *y = (const u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

static u32 insn_tag(u64 hash)
{
	return hash & KNOWN_TAG;
}

static void put_insn(struct soft_insn_table *t, u64 hash, u32 nr)
{
	u32 at = hash >> (64 - t->bits);

	while (t->slots[at])
		at = (at + 1) & (BIT(t->bits) - 1);
	t->slots[at] = insn_tag(hash) | nr;
}

static void grow_insns(struct soft_icache *ic)
{
	struct soft_insn_table *t = &ic->known;
	u32 *old = t->slots;
	u64 n = BIT_ULL(t->bits);

	t->slots = old + n;
	t->bits++;
	for (u32 nr = 1; nr <= ic->nr_insns; nr++)
		put_insn(t, insn_hash(ic->insns - nr), nr);
	os_large_zero(old, n * sizeof(*old));
}

static s32 number_of(struct soft_icache *ic, const struct x86_insn *i, u64 hash)
{
	struct soft_insn_table *t = &ic->known;
	u32 at = hash >> (64 - t->bits), slot;

	while ((slot = t->slots[at])) {
		s32 nr = slot & ~KNOWN_TAG;

		if ((slot & KNOWN_TAG) == insn_tag(hash) && same_insn(ic->insns - nr, i))
			return -nr;
		at = (at + 1) & (BIT(t->bits) - 1);
	}
	if (4ull * ic->nr_insns > 3 * BIT_ULL(t->bits) && t->bits < t->max_bits)
		grow_insns(ic);
	ic->insns[-(s64)++ic->nr_insns] = *i;
	put_insn(t, hash, ic->nr_insns);
	return -(s32)ic->nr_insns;
}

void soft_table_share(struct soft_icache *ic, struct soft_block *b)
{
	const struct x86_insn *own = soft_block_own(b);
	u64 hash[SOFT_BLOCK_MAX];

	/* It is the memory that takes time, and less of it if all is waited for together. */
	for (u32 k = 0; k < b->n; k++) {
		hash[k] = insn_hash(&own[k]);
		__builtin_prefetch(&ic->known.slots[hash[k] >> (64 - ic->known.bits)]);
	}
	/* The numbers are where the instructions are, but none is before its instruction has been read. */
	for (u32 k = 0; k < b->n; k++) {
		struct x86_insn i = own[k];

		b->insn[k] = number_of(ic, &i, hash[k]);
	}
	b->own = false;
}

/* ---- both ---- */

int soft_tables_init(struct soft_icache *ic)
{
	struct soft_block_table *b = &ic->blocks;
	struct soft_insn_table *k = &ic->known;

	/* An eighth of them is free, however small all blocks and instructions are. */
	b->max_bits = bits_for(ic->size / sizeof(struct soft_block) / 7 * 8);
	k->max_bits = bits_for(ic->size / sizeof(struct x86_insn) / 7 * 8);
	b->space = os_alloc_large(sizeof(*b->slots) << (b->max_bits + 1));
	k->space = os_alloc_large(sizeof(*k->slots) << (k->max_bits + 1));
	if (!b->space || !k->space) {
		soft_tables_free(ic);
		return -ENOMEM;
	}
	soft_tables_empty(ic);
	return 0;
}

void soft_tables_free(struct soft_icache *ic)
{
	os_free_large(ic->blocks.space, sizeof(*ic->blocks.slots) << (ic->blocks.max_bits + 1));
	os_free_large(ic->known.space, sizeof(*ic->known.slots) << (ic->known.max_bits + 1));
}

void soft_tables_forget_blocks(struct soft_icache *ic)
{
	os_large_zero(ic->blocks.slots, sizeof(*ic->blocks.slots) << ic->blocks.bits);
	ic->blocks.nr = 0;
	memset(ic->front, 0, sizeof(ic->front));
}

void soft_tables_empty(struct soft_icache *ic)
{
	struct soft_block_table *b = &ic->blocks;
	struct soft_insn_table *k = &ic->known;

	if (b->slots)
		soft_tables_forget_blocks(ic);
	if (k->slots)
		os_large_zero(k->slots, sizeof(*k->slots) << k->bits);
	b->bits = k->bits = MIN_BITS;
	b->slots = b->space + BIT(MIN_BITS);
	k->slots = k->space + BIT(MIN_BITS);
}

size_t soft_tables_bytes(const struct soft_icache *ic)
{
	return (sizeof(*ic->blocks.slots) << ic->blocks.bits) + (sizeof(*ic->known.slots) << ic->known.bits);
}
