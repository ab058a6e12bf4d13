/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The software processor: runs guest code on a host without virtualization hardware.
 *
 *   soft.c    what the core calls: the kvm_cpu_ops table, set-up
 *   loop.c    running: blocks of decoded instructions, and single ones with every check
 *   icache.c  decoded code, by host address
 *   table.c   its two tables: where a host address's block is; each different instruction once
 *   vector.h  x87 and vector instructions, run on the host's own units
 *   jit/      the translator, for blocks that run often
 */
#ifndef KVM_CPU_SOFT_H
#define KVM_CPU_SOFT_H

#include "kvm/core/kvm.h"
#include "kvm/cpu/soft/inspect.h"
#include "kvm/cpu/soft/vector.h"
#include "kvm/x86/mem.h"

#define SOFT_BLOCK_MAX	64	/* instructions */

typedef u32 soft_ref;			/* a place in the arena of decoded code, in units of 8 bytes; 0: none */

/*
 * Decoded code from one page, up to a branch or whatever else ends a block. Keyed by the host address
 * of its first byte and by mode: that the linear address still maps there is what the TLB is asked at each
 * entry, so no flush ever has to touch blocks.
 *
 * What vCPUs write to the page is noticed (kvm_page_written), but the VMM writes too, by DMA or in a
 * debugger, and mostly tells nobody. So a block keeps the bytes that it was decoded from and is compared with
 * memory once in each epoch: one begins after every exit and every interrupt that the VMM raised
 * (kvm_note_outside), and for a page's blocks whenever a translation to the page is made. A VMM that tells
 * (kvm_memory_written) begins none by its interrupts, but only where it wrote to a page of code; and until then,
 * translations mean nothing.
 */
struct soft_block {
	u64 key;			/* soft_block_key; 0: it is stale */
	u32 jit_slot;			/* its translation's entry in code memory (jit_entry); 0: none */
	u32 epoch;			/* the one it was last compared in */
	soft_ref page;			/* its struct soft_code_page */
	soft_ref page_next;		/* another block from the same page */
	u16 bytes;			/* of this page */
	s16 jit_host;			/* from jit_slot to the translation's other entry */
	u8 n;				/* instructions */
	u8 cross;			/* bytes of the next page, for a single instruction across both: see soft_crosses */
	u8 runs;			/* before it was translated, which is tried once */
	bool own;			/* it has its instructions by itself, instead of: */
	s32 insn[];			/* their places behind soft_icache.insns. And behind these or those, the bytes */
};

/* The most that a block takes, and its page. */
#define SOFT_BLOCK_ROOM	(sizeof(struct soft_block) + SOFT_BLOCK_MAX * (sizeof(s32) + sizeof(struct x86_insn) + 15) + \
			 sizeof(struct soft_code_page) + 64)

#define SOFT_FRONT_BITS	15
#define SOFT_PAGE_BITS	13
#define SOFT_SHARE_MIN	(512u << 10)	/* of decoded and translated code, whatever the VM may have */

/* The code of one page. */
struct soft_code_page {
	u64 host;
	soft_ref blocks;
	soft_ref next;			/* in soft_icache.pages */
	u32 epoch;			/* the one in which all its translated blocks were compared */
	soft_ref copy;			/* the page when they last were; 0: never */
	bool copied;			/* all blocks are as the copy is */
};

/*
 * A vCPU's decoded code. Memory comes from an arena that is emptied as a whole: blocks and pages from its start, instructions
 * from its end. Most instructions of a program are there many times, so a block has the numbers of its instructions only.
 * Where nothing is translated, it has them by itself, which is one step less on the way from RIP to an instruction's handler.
 */
struct soft_icache {
	u8 *arena;
	struct x86_insn *insns;		/* the arena's end: an instruction's number is negative */
	size_t size;			/* of address space; touched as it fills */
	size_t used;			/* at its start */
	u32 nr_copies;			/* of pages, in there */
	u32 nr_insns;			/* at its end */
	u32 epoch;
	bool reset;			/* empty it before the next lookup */
	struct soft_block_table {
		u64 *slots;		/* upper half: of the hash; lower half: soft_ref. 0: free */
		u64 *space;		/* what is reserved for tables of all sizes */
		u32 bits, max_bits, nr;
	} blocks;
	struct soft_insn_table {
		u32 *slots;		/* upper 6 bits: of the hash; the rest: minus the number. 0: free */
		u32 *space;
		u32 bits, max_bits;
	} known;
	soft_ref pages[1 << SOFT_PAGE_BITS];
	soft_ref front[1 << SOFT_FRONT_BITS];	/* blocks that were found last: where running code finds them close together */
};

struct soft_vcpu {
	struct soft_icache icache;
	const struct soft_vm *vm;
	struct soft_block *current;	/* the block that is running */
	u32 outside;			/* kvm->outside when the epoch began */
	struct soft_jit *jit;		/* NULL: interpret only */
	struct soft_stats stats;
	u32 trace;			/* SOFT_TRACE_* */
	u64 shown[X86_NR_REGS];		/* registers when they were last traced */
};

/* What hangs on kvm->cpu. */
struct soft_vm {
	struct soft_options options;
	/* Bytes that each vCPU may have for code. Who has more, because there are more vCPUs now, empties his cache when
	 * he next needs room. */
	u64 share;
	struct soft_stats stats;	/* of vCPUs that are gone */
	struct x86_decoder decoder;
	struct soft_vector *vector;	/* x87 and vector instructions */
};

static __always_inline struct soft_icache *soft_icache(struct x86_cpu *c)
{
	return &((struct soft_vcpu *)c->soft)->icache;
}

/* The linear address of what RIP is at. */
static __always_inline u64 soft_code_lin(const struct x86_cpu *c)
{
	return c->mode == X86_MODE_64 ? c_rip(c) : (u32)(c_rip(c) + c->seg[X86_SEG_CS].base);
}

/* ---- blocks ---- */

/* What a block is found by. Host addresses have fewer than 62 bits. */
static __always_inline u64 soft_block_key(u64 host, u32 mode)
{
	return host | (u64)mode << 62;
}

/* 0: it is stale, and its instructions must not run any more. */
static __always_inline u64 soft_block_host(const struct soft_block *b)
{
	return b->key << 2 >> 2;
}

static __always_inline u32 soft_block_mode(const struct soft_block *b)
{
	return b->key >> 62;
}

static __always_inline void *soft_at(const struct soft_icache *ic, soft_ref ref)
{
	return ic->arena + ref * 8ul;
}

static __always_inline struct soft_code_page *soft_block_page(const struct soft_icache *ic, const struct soft_block *b)
{
	return soft_at(ic, b->page);
}

static __always_inline struct x86_insn *soft_block_own(const struct soft_block *b)
{
	return (struct x86_insn *)b->insn;
}

static __always_inline const struct x86_insn *soft_block_insn(const struct soft_icache *ic, const struct soft_block *b,
							      u32 k)
{
	return b->own ? soft_block_own(b) + k : ic->insns + b->insn[k];
}

static __always_inline u8 *soft_block_bytes(const struct soft_block *b)
{
	return b->own ? (u8 *)&soft_block_own(b)[b->n] : (u8 *)&b->insn[b->n];
}

/* Was b's page compared in this epoch? */
static __always_inline bool soft_icache_compared(const struct soft_icache *ic, const struct soft_block *b)
{
	return soft_block_page(ic, b)->epoch == ic->epoch;
}

static __always_inline u64 soft_hash(u64 key)
{
	return key * 0x9e3779b97f4a7c15ull;
}

/* In the table of all blocks: soft_icache_peek's other half. */
struct soft_block *soft_table_find(struct soft_icache *ic, u64 key, u64 hash);

/* The block, if there is one. Nothing is compared. */
static __always_inline struct soft_block *soft_icache_peek(struct soft_icache *ic, u64 host, u32 mode)
{
	u64 key = soft_block_key(host, mode), hash = soft_hash(key);
	struct soft_block *b = soft_at(ic, ic->front[hash >> (64 - SOFT_FRONT_BITS)]);

	/* What is at 0 is no block, and has no key. */
	return likely(b->key == key) ? b : soft_table_find(ic, key, hash);
}

/* ---- table.c ---- */
int soft_tables_init(struct soft_icache *ic);	/* 0, -ENOMEM */
void soft_tables_free(struct soft_icache *ic);
void soft_tables_empty(struct soft_icache *ic);
void soft_tables_forget_blocks(struct soft_icache *ic);
size_t soft_tables_bytes(const struct soft_icache *ic);	/* that they take now */
void soft_table_add(struct soft_icache *ic, struct soft_block *b);
void soft_table_remove(struct soft_icache *ic, const struct soft_block *b);
/* b has its instructions by itself: now it has the numbers of what is the same in all fields. */
void soft_table_share(struct soft_icache *ic, struct soft_block *b);

/* ---- icache.c ---- */
int soft_icache_init(struct soft_icache *ic, size_t size);
void soft_icache_free(struct soft_icache *ic);
/* Is there no room for so much more, decoded or translated? */
bool soft_icache_full(const struct soft_vcpu *s, size_t more);
/* What there is now, for s->stats. */
void soft_icache_count(struct soft_vcpu *s);
/* The block at host address `host`, which is lin in the guest; decoded if it is not there. NULL where
 * the first instruction cannot be kept (it is undefined, or goes on in a page that the TLB does not
 * know): run it alone. */
struct soft_block *soft_icache_find(struct x86_cpu *c, u64 host);
/* b's instruction begins at lin's end of a page: is the rest what the next linear address says? Asked each time
 * before it runs, since nothing else is known of that page. False: it is not, or the TLB does not know. */
bool soft_crosses(struct x86_cpu *c, const struct soft_block *b, u64 lin);
/* Does the block still say what memory says? If not, it is forgotten. */
bool soft_icache_check(struct x86_cpu *c, struct soft_block *b);
/* The same for all blocks of b's page, of which the translated ones jump to each other unasked. */
bool soft_icache_check_page(struct x86_cpu *c, struct soft_block *b);
/* A translation to the host page at `host` was made: its blocks are to be compared again. */
void soft_icache_doubt_page(struct x86_cpu *c, u64 host);
/* Code made from the host page at `host` is stale: forgotten, and stopped if it is running now. */
void soft_icache_drop_page(struct x86_cpu *c, u64 host);
void soft_icache_drop_all(struct x86_cpu *c);

/* ---- loop.c ---- */
int soft_run(struct kvm_vcpu *v);

#endif
