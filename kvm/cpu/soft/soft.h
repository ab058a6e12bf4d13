/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The software processor: runs guest code on a host without virtualization hardware.
 *
 *   soft.c    what the core calls: the kvm_cpu_ops table, set-up
 *   loop.c    running: blocks of decoded instructions, and single ones with every check
 *   icache.c  decoded code, by host address
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

/*
 * Decoded code from one page, up to a branch or whatever else ends a block. Keyed by the host address
 * of its first byte and by mode: that the linear address still maps there is what the TLB is asked at each
 * entry, so no flush ever has to touch blocks.
 *
 * What vCPUs write to the page is noticed (kvm_page_written), but the VMM writes too, by DMA or in a
 * debugger, and mostly tells nobody. So a block keeps the bytes that it was decoded from and is compared with
 * memory once in each epoch: one begins after every exit and every interrupt that the VMM raised
 * (kvm_note_outside), and for a page's blocks whenever a translation to the page is made. A VMM that tells
 * (kvm_memory_written) begins none by its interrupts, but only where it wrote to a page of code.
 */
struct soft_block {
	u64 host;
	u32 mode;			/* X86_MODE_* */
	u16 n;				/* instructions */
	u16 bytes;			/* of this page */
	u8 cross;			/* and of the next one, for a single instruction across both: see soft_crosses */
	u32 epoch;			/* the one it was last compared in */
	struct soft_block *hash_next;
	struct soft_block *page_next;	/* others from the same page */
	struct soft_code_page *page;
	u32 jit_slot;			/* its translation's entry in code memory (jit_entry); 0: none */
	s16 jit_host;			/* and from there to the other */
	u8 runs;			/* before it was translated, which is tried once */
	struct x86_insn insn[];		/* and behind them, the bytes */
};

/* 0: it is stale. */
static __always_inline u64 soft_block_host(const struct soft_block *b)
{
	return b->host;
}

static __always_inline int soft_block_mode(const struct soft_block *b)
{
	return b->mode;
}

/* The most that a block takes. */
#define SOFT_BLOCK_ROOM	(sizeof(struct soft_block) + SOFT_BLOCK_MAX * (sizeof(struct x86_insn) + 15))

#define SOFT_FRONT_BITS	14
#define SOFT_HASH_BITS	17
#define SOFT_PAGE_BITS	13
/* How much of the code cache is for decoded instructions, page by page; the rest is for translations. */
#define SOFT_DECODED(size)	ALIGN_UP((size) / 8 * 5, PAGE_SIZE)
#define SOFT_SHARE_MIN	(256u << 10)	/* of decoded code, and of translated, whatever the VM may have */

/* The code of one page. */
struct soft_code_page {
	u64 host;
	struct soft_block *blocks;
	struct soft_code_page *next;
	u32 epoch;			/* the one in which all its translated blocks were compared */
	u8 *copy;			/* the page when they last were; NULL: never */
	bool copied;			/* all blocks are as the copy is */
};

/* A vCPU's decoded code. Memory comes from an arena that is emptied as a whole. */
struct soft_icache {
	struct soft_block *front[1 << SOFT_FRONT_BITS];	/* last block by hash: one compare */
	struct soft_block *hash[1 << SOFT_HASH_BITS];
	struct soft_code_page *pages[1 << SOFT_PAGE_BITS];
	u8 *arena;
	size_t size;			/* of address space; touched as it fills */
	size_t limit, used;		/* limit: this vCPU's share of what the VM may have */
	u32 epoch;
	bool reset;			/* empty it before the next lookup */
};

struct soft_vcpu {
	struct soft_icache icache;
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

/* ---- icache.c ---- */
int soft_icache_init(struct soft_icache *ic, size_t size);
void soft_icache_free(struct soft_icache *ic);
/* The block at host address `host`, which is lin in the guest; decoded if it is not there. NULL where
 * the first instruction cannot be kept (it is undefined, or goes on in a page that the TLB does not
 * know): run it alone. */
struct soft_block *soft_icache_find(struct x86_cpu *c, u64 host);
/* The block, if there is one. Nothing is compared. */
struct soft_block *soft_icache_peek(struct x86_cpu *c, u64 host);
/* b's instruction begins at lin's end of a page: is the rest what the next linear address says? Asked each time
 * before it runs, since nothing else is known of that page. False: it is not, or the TLB does not know. */
bool soft_crosses(struct x86_cpu *c, const struct soft_block *b, u64 lin);
/* Does the block still say what memory says? If not, it is forgotten. */
bool soft_icache_check(struct x86_cpu *c, struct soft_block *b);
/* The same for all blocks of b's page, of which the translated ones jump to each other unasked. */
bool soft_icache_check_page(struct x86_cpu *c, struct soft_block *b);
/* It was so in this epoch already. */
static __always_inline bool soft_icache_compared(const struct soft_icache *ic, const struct soft_block *b)
{
	return b->page->epoch == ic->epoch;
}
/* A translation to the host page at `host` was made: its blocks are to be compared again. */
void soft_icache_doubt_page(struct x86_cpu *c, u64 host);
/* Code made from the host page at `host` is stale: forgotten, and stopped if it is running now. */
void soft_icache_drop_page(struct x86_cpu *c, u64 host);
void soft_icache_drop_all(struct x86_cpu *c);

static __always_inline u32 soft_hash(u64 host, u32 mode, u32 bits)
{
	u64 h = (host ^ ((u64)mode << 40)) * 0x9e3779b97f4a7c15ull;

	return h >> (64 - bits);
}

/* At the start of a stretch of guest code: how much this vCPU's code may take now. */
void soft_icache_set_share(struct x86_cpu *c);

/* ---- loop.c ---- */
int soft_run(struct kvm_vcpu *v);

#endif
