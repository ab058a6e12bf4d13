// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decoded instructions, kept by the host address that they were decoded from.
 *
 * Each vCPU has its own, so nothing here is locked. That a page was written is known from the
 * core: while code made from a page is kept, no TLB holds the page writable, and the first write by any
 * vCPU makes every vCPU forget the page's code (kvm_page_holds_code, kvm_page_written).
 */
#include "kvm/cpu/soft/jit/jit.h"
#include "kvm/cpu/soft/soft.h"

static void start(struct soft_icache *ic)
{
	ic->nr_copies = 0;
	ic->used = 8;		/* no soft_ref is 0 */
	ic->nr_insns = 0;
}

int soft_icache_init(struct soft_icache *ic, size_t size)
{
	ic->size = size;
	ic->arena = os_alloc_large(size);
	if (!ic->arena)
		return -ENOMEM;
	if (soft_tables_init(ic)) {
		os_free_large(ic->arena, size);
		return -ENOMEM;
	}
	ic->insns = (struct x86_insn *)(ic->arena + size);
	start(ic);
	return 0;
}

void soft_icache_free(struct soft_icache *ic)
{
	soft_tables_free(ic);
	os_free_large(ic->arena, ic->size);
}

static size_t decoded_bytes(const struct soft_icache *ic)
{
	return ic->used + ic->nr_insns * sizeof(struct x86_insn);
}

bool soft_icache_full(const struct soft_vcpu *s, size_t more)
{
	return decoded_bytes(&s->icache) + soft_tables_bytes(&s->icache) + (s->jit ? jit_used(s->jit) : 0) + more >
	       READ_ONCE(s->vm->share);
}

/* Is there no room for so much more that is decoded? */
static bool full(const struct soft_vcpu *s, size_t more)
{
	return decoded_bytes(&s->icache) + more > s->icache.size || soft_icache_full(s, more);
}

void soft_icache_count(struct soft_vcpu *s)
{
	const struct soft_icache *ic = &s->icache;

	s->stats.copies = (u64)ic->nr_copies * PAGE_SIZE;
	s->stats.decoded = ic->used - s->stats.copies;
	s->stats.known = ic->nr_insns * sizeof(struct x86_insn);
	s->stats.tables = soft_tables_bytes(ic);
	s->stats.code = s->jit ? jit_used(s->jit) : 0;
}

static void empty(struct x86_cpu *c)
{
	struct soft_vcpu *s = c->soft;
	struct soft_icache *ic = &s->icache;

	if (s->jit)
		jit_empty(c, s->jit);
	soft_tables_empty(ic);
	memset(ic->pages, 0, sizeof(ic->pages));
	os_large_zero(ic->arena, ic->size);
	start(ic);
	ic->reset = false;
	s->stats.flushes++;
}

static void *arena_take(struct soft_icache *ic, size_t size)
{
	void *p = ic->arena + ic->used;

	ic->used += ALIGN_UP(size, 8);
	return p;
}

static soft_ref ref_of(const struct soft_icache *ic, const void *p)
{
	return ((const u8 *)p - ic->arena) / 8;
}

/* A handler may be inside the block right now, so its memory stays. Who called the handler looks. */
static void poison(struct soft_block *b)
{
	b->jit_slot = 0;
	b->key = 0;
}

void soft_icache_drop_all(struct x86_cpu *c)
{
	struct soft_vcpu *s = c->soft;

	x86_code_moved(c);
	if (s->current)
		poison(s->current);
	soft_tables_forget_blocks(&s->icache);
	s->icache.reset = true;
}

/* Where the page is referred to, or would be. */
static soft_ref *page_link(struct soft_icache *ic, u64 host)
{
	soft_ref *link = &ic->pages[soft_hash(host) >> (64 - SOFT_PAGE_BITS)];

	while (*link) {
		struct soft_code_page *page = soft_at(ic, *link);

		if (page->host == host)
			break;
		link = &page->next;
	}
	return link;
}

static struct soft_code_page *find_page(struct soft_icache *ic, u64 host)
{
	soft_ref *link = page_link(ic, host);

	return *link ? soft_at(ic, *link) : NULL;
}

void soft_icache_drop_page(struct x86_cpu *c, u64 host)
{
	struct soft_icache *ic = soft_icache(c);
	soft_ref *link = page_link(ic, host);
	struct soft_code_page *page;

	if (!*link)
		return;
	x86_code_moved(c);
	((struct soft_vcpu *)c->soft)->stats.page_drops++;
	page = soft_at(ic, *link);
	*link = page->next;
	for (soft_ref ref = page->blocks; ref; ) {
		struct soft_block *b = soft_at(ic, ref);

		soft_table_remove(ic, b);
		poison(b);
		ref = b->page_next;
	}
}

bool soft_icache_check(struct x86_cpu *c, struct soft_block *b)
{
	struct soft_icache *ic = soft_icache(c);
	u64 host = soft_block_host(b);

	if (likely(!memcmp(soft_block_bytes(b), (void *)host, b->bytes))) {
		b->epoch = ic->epoch;
		return true;
	}
	soft_icache_drop_page(c, host & PAGE_MASK);
	return false;
}

/* Is the page as its copy is, and thus as all its blocks are? */
static bool unwritten(struct soft_icache *ic, struct soft_code_page *page)
{
	if (!page->copied || memcmp(soft_at(ic, page->copy), (void *)page->host, PAGE_SIZE))
		return false;
	page->epoch = ic->epoch;
	return true;
}

/*
 * The whole page against a copy first: usually nothing was written at all. Where data is among the
 * code, block by block, against a new copy.
 */
bool soft_icache_check_page(struct x86_cpu *c, struct soft_block *b)
{
	struct soft_vcpu *s = c->soft;
	struct soft_icache *ic = &s->icache;
	struct soft_code_page *page = soft_block_page(ic, b);
	const u8 *now = (const u8 *)page->host;

	if (unwritten(ic, page))
		return true;
	/* Never beyond what soft_icache_find leaves free for its own. */
	if (!page->copy && !full(s, PAGE_SIZE + SOFT_BLOCK_ROOM)) {
		page->copy = ref_of(ic, arena_take(ic, PAGE_SIZE));
		ic->nr_copies++;
	}
	if (page->copy)
		now = memcpy(soft_at(ic, page->copy), now, PAGE_SIZE);
	for (soft_ref ref = page->blocks; ref; ) {
		const struct soft_block *other = soft_at(ic, ref);

		if (memcmp(soft_block_bytes(other), now + (soft_block_host(other) & ~PAGE_MASK), other->bytes)) {
			soft_icache_drop_page(c, page->host);
			return false;
		}
		ref = other->page_next;
	}
	page->epoch = ic->epoch;
	page->copied = page->copy;
	return true;
}

void soft_icache_doubt_page(struct x86_cpu *c, u64 host)
{
	struct soft_icache *ic = soft_icache(c);
	struct soft_code_page *page = find_page(ic, host);
	bool translated = false;

	if (!page || unwritten(ic, page))
		return;
	page->epoch = ic->epoch - 1;
	for (soft_ref ref = page->blocks; ref; ) {
		struct soft_block *b = soft_at(ic, ref);

		b->epoch = ic->epoch - 1;
		translated |= b->jit_slot != 0;
		ref = b->page_next;
	}
	if (translated)
		x86_code_moved(c);
}

/* The bytes behind lin's page, where they may be fetched without further ado; NULL where not. */
static const u8 *next_page(struct x86_cpu *c, u64 lin)
{
	u64 next = ((lin | ~PAGE_MASK) + 1) & c->lin_mask;
	struct x86_tlb_entry *e = x86_tlb_slot(c, next);

	return x86_tlb_hit(c, next, 1, e->ex) ? (u8 *)(next + e->addend) : NULL;
}

bool soft_crosses(struct x86_cpu *c, const struct soft_block *b, u64 lin)
{
	const u8 *rest = next_page(c, lin);

	return rest && !memcmp(soft_block_bytes(b) + b->bytes, rest, b->cross);
}

/* The first instruction is longer than the page, of which `room` bytes are there. */
static void decode_crossing(struct x86_cpu *c, u64 host, struct soft_block *b, u8 *bytes, u32 room)
{
	u64 lin = soft_code_lin(c);
	const u8 *rest = next_page(c, lin);
	struct x86_insn *i = soft_block_own(b);
	int len;

	if (!rest || ((lin ^ host) & ~PAGE_MASK))
		return;
	memcpy(bytes + room, rest, 15 - room);
	len = x86_decode(c->decoder, bytes, 15, c->mode, c->features, i);
	if (len <= (int)room)
		return;
	soft_bind_insn(c, i);
	b->n = 1;
	b->bytes = room;
	b->cross = len - room;
}

/* Decodes from host on into b, within the page, or the first instruction alone. Zero instructions: that cannot be
 * kept. bytes: what there was. */
static void decode_block(struct x86_cpu *c, u64 host, struct soft_block *b, u8 *bytes)
{
	u32 room = PAGE_SIZE - (host & ~PAGE_MASK), at = 0;

	while (b->n < SOFT_BLOCK_MAX && at < room) {
		struct x86_insn *i = &soft_block_own(b)[b->n];
		u32 n = min(room - at, 15u);
		int len;

		/* A copy: another vCPU may write the page while it is decoded. */
		memcpy(bytes + at, (void *)(host + at), n);
		len = x86_decode(c->decoder, bytes + at, n, c->mode, c->features, i);
		if (len == 0 && !at && room < 15) {
			decode_crossing(c, host, b, bytes, room);
			return;
		}
		if (len <= 0)
			break;
		soft_bind_insn(c, i);
		at += len;
		b->n++;
		if (x86_op(i)->attr & (X86_A_END | X86_A_SHADOW | X86_A_IO))
			break;
	}
	b->bytes = at;
}

/* The page that b is from, which may be new. */
static struct soft_code_page *page_of(struct soft_icache *ic, u64 host)
{
	soft_ref *link = page_link(ic, host);
	struct soft_code_page *page;

	if (*link)
		return soft_at(ic, *link);
	page = arena_take(ic, sizeof(*page));
	*page = (struct soft_code_page){ .host = host, .epoch = ic->epoch };
	*link = ref_of(ic, page);
	return page;
}

struct soft_block *soft_icache_find(struct x86_cpu *c, u64 host)
{
	struct soft_vcpu *s = c->soft;
	struct soft_icache *ic = &s->icache;
	struct soft_code_page *page;
	struct soft_block *b;
	u8 bytes[SOFT_BLOCK_MAX * 15 + 1];

	if (unlikely(ic->reset || full(s, SOFT_BLOCK_ROOM)))
		empty(c);
	b = soft_icache_peek(ic, host, c->mode);
	if (b && (b->epoch == ic->epoch || b->jit_slot || soft_icache_check(c, b)))
		return b;

	if (!s->jit)
		ic->used = ALIGN_UP(ic->used, sizeof(struct x86_insn));
	b = (struct soft_block *)(ic->arena + ic->used);
	*b = (struct soft_block){
		.key = soft_block_key(host, c->mode), .epoch = ic->epoch, .own = true,
	};
	decode_block(c, host, b, bytes);
	if (!b->n)
		return NULL;
	soft_stats_decoded(&s->stats, b->n, b->bytes);
	if (s->jit)
		soft_table_share(ic, b);
	memcpy(soft_block_bytes(b), bytes, b->bytes + b->cross);
	arena_take(ic, soft_block_bytes(b) + b->bytes + b->cross - (u8 *)b);
	page = page_of(ic, host & PAGE_MASK);
	b->page = ref_of(ic, page);
	b->page_next = page->blocks;
	page->blocks = ref_of(ic, b);
	/* Written since the copy was taken: it may yet be written back. */
	if (page->copied && memcmp((u8 *)soft_at(ic, page->copy) + (host & ~PAGE_MASK), soft_block_bytes(b), b->bytes))
		page->copied = false;
	soft_table_add(ic, b);
	return b;
}
