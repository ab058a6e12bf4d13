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

int soft_icache_init(struct soft_icache *ic, size_t size)
{
	ic->size = ic->limit = size;
	ic->arena = os_alloc_large(size);
	return ic->arena ? 0 : -ENOMEM;
}

void soft_icache_free(struct soft_icache *ic)
{
	if (ic->arena)
		os_free_large(ic->arena, ic->size);
	ic->arena = NULL;
}

/* Who is above the limit, because the VM has more vCPUs now, empties his cache when he next needs room. */
void soft_icache_set_share(struct x86_cpu *c)
{
	const struct soft_vm *vm = c->vcpu->kvm->cpu;
	u64 share = vm->options.code_cache / load_acquire(&c->vcpu->kvm->nr_vcpus);
	struct soft_vcpu *s = c->soft;

	s->icache.limit = min(max(SOFT_DECODED(share), (u64)SOFT_SHARE_MIN), (u64)s->icache.size);
	if (s->jit)
		s->jit->limit = min(max(share - SOFT_DECODED(share), (u64)SOFT_SHARE_MIN),
				    (u64)s->jit->code.size);
}

static void empty(struct x86_cpu *c)
{
	struct soft_vcpu *s = c->soft;
	struct soft_icache *ic = &s->icache;

	if (s->jit)
		jit_empty(c, s->jit);
	memset(ic->front, 0, sizeof(ic->front));
	memset(ic->hash, 0, sizeof(ic->hash));
	memset(ic->pages, 0, sizeof(ic->pages));
	ic->used = 0;
	ic->reset = false;
	s->stats.flushes++;
}

/* What the instructions of a stale block become. */
static int stale(struct x86_cpu *c, const struct x86_insn *i)
{
	return X86_RESTART;
}

/* A handler may be inside the block right now, so its memory stays; only what it does changes. */
static void poison(struct soft_block *b)
{
	b->jit_slot = 0;
	for (u32 k = 0; k < b->n; k++)
		b->insn[k].fn = stale;
	b->host = 0;
}

void soft_icache_drop_all(struct x86_cpu *c)
{
	struct soft_vcpu *s = c->soft;

	x86_code_moved(c);
	if (s->current)
		poison(s->current);
	memset(s->icache.front, 0, sizeof(s->icache.front));
	s->icache.reset = true;
}

static struct soft_code_page **page_link(struct soft_icache *ic, u64 host)
{
	struct soft_code_page **link = &ic->pages[soft_hash(host, 0, SOFT_PAGE_BITS)];

	while (*link && (*link)->host != host)
		link = &(*link)->next;
	return link;
}

static void unhash(struct soft_icache *ic, struct soft_block *b)
{
	struct soft_block **link = &ic->hash[soft_hash(b->host, b->mode, SOFT_HASH_BITS)];

	while (*link && *link != b)
		link = &(*link)->hash_next;
	if (*link)
		*link = b->hash_next;
}

void soft_icache_drop_page(struct x86_cpu *c, u64 host)
{
	struct soft_icache *ic = soft_icache(c);
	struct soft_code_page **link = page_link(ic, host), *page = *link;

	if (!page)
		return;
	x86_code_moved(c);
	((struct soft_vcpu *)c->soft)->stats.page_drops++;
	*link = page->next;
	for (struct soft_block *b = page->blocks; b; b = b->page_next) {
		unhash(ic, b);
		poison(b);
	}
}

static const u8 *block_bytes(const struct soft_block *b)
{
	return (const u8 *)&b->insn[b->n];
}

bool soft_icache_check(struct x86_cpu *c, struct soft_block *b)
{
	struct soft_icache *ic = soft_icache(c);

	if (likely(!memcmp(block_bytes(b), (void *)b->host, b->bytes))) {
		b->epoch = ic->epoch;
		return true;
	}
	soft_icache_drop_page(c, b->host & PAGE_MASK);
	return false;
}

static void *arena_take(struct soft_icache *ic, size_t size)
{
	void *p = ic->arena + ic->used;

	ic->used += ALIGN_UP(size, 16);
	return p;
}

/* Is the page as its copy is, and thus as all its blocks are? */
static bool unwritten(struct soft_icache *ic, struct soft_code_page *page)
{
	if (!page->copied || memcmp(page->copy, (void *)page->host, PAGE_SIZE))
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
	struct soft_icache *ic = soft_icache(c);
	struct soft_code_page *page = b->page;

	if (unwritten(ic, page))
		return true;
	/* Never beyond what soft_icache_find leaves free for its own. */
	if (!page->copy && ic->used + 2 * PAGE_SIZE + SOFT_BLOCK_ROOM < ic->limit)
		page->copy = arena_take(ic, PAGE_SIZE);
	if (page->copy)
		memcpy(page->copy, (void *)page->host, PAGE_SIZE);
	for (struct soft_block *other = page->blocks; other; other = other->page_next) {
		const u8 *now = page->copy ? page->copy + (other->host & ~PAGE_MASK) : (u8 *)other->host;

		if (memcmp(block_bytes(other), now, other->bytes)) {
			soft_icache_drop_page(c, page->host);
			return false;
		}
	}
	page->epoch = ic->epoch;
	page->copied = page->copy;
	return true;
}

void soft_icache_doubt_page(struct x86_cpu *c, u64 host)
{
	struct soft_icache *ic = soft_icache(c);
	struct soft_code_page *page = *page_link(ic, host);
	bool translated = false;

	if (!page || unwritten(ic, page))
		return;
	page->epoch = ic->epoch - 1;
	for (struct soft_block *b = page->blocks; b; b = b->page_next) {
		b->epoch = ic->epoch - 1;
		translated |= b->jit_slot != 0;
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

	return rest && !memcmp(block_bytes(b) + b->bytes, rest, b->cross);
}

/* The first instruction is longer than the page, of which `room` bytes are there. */
static void decode_crossing(struct x86_cpu *c, struct soft_block *b, u8 *bytes, u32 room)
{
	u64 lin = soft_code_lin(c);
	const u8 *rest = next_page(c, lin);
	int len;

	if (!rest || ((lin ^ b->host) & ~PAGE_MASK))
		return;
	memcpy(bytes + room, rest, 15 - room);
	len = x86_decode(c->decoder, bytes, 15, c->mode, c->features, &b->insn[0]);
	if (len <= (int)room)
		return;
	soft_bind_insn(c, &b->insn[0]);
	b->n = 1;
	b->bytes = room;
	b->cross = len - room;
	memcpy(&b->insn[1], bytes, len);
}

/* Decodes from host on into b, within the page, or the first instruction alone. Zero instructions: that cannot be
 * kept. */
static void decode_block(struct x86_cpu *c, u64 host, struct soft_block *b)
{
	u32 room = PAGE_SIZE - (host & ~PAGE_MASK), at = 0;
	u8 bytes[SOFT_BLOCK_MAX * 15 + 1];

	b->host = host;
	b->mode = c->mode;
	b->n = b->cross = 0;
	while (b->n < SOFT_BLOCK_MAX && at < room) {
		struct x86_insn *i = &b->insn[b->n];
		u32 n = min(room - at, 15u);
		int len;

		/* A copy: another vCPU may write the page while it is decoded. */
		memcpy(bytes + at, (void *)(host + at), n);
		len = x86_decode(c->decoder, bytes + at, n, c->mode, c->features, i);
		if (len == 0 && !at && room < 15) {
			decode_crossing(c, b, bytes, room);
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
	memcpy(&b->insn[b->n], bytes, at);
}

struct soft_block *soft_icache_peek(struct x86_cpu *c, u64 host)
{
	struct soft_icache *ic = soft_icache(c);
	struct soft_block *b = ic->front[soft_hash(host, c->mode, SOFT_FRONT_BITS)];

	if (b && b->host == host && b->mode == c->mode)
		return b;
	if (ic->reset)
		return NULL;
	for (b = ic->hash[soft_hash(host, c->mode, SOFT_HASH_BITS)]; b; b = b->hash_next)
		if (b->host == host && b->mode == c->mode)
			break;
	return b;
}

struct soft_block *soft_icache_find(struct x86_cpu *c, u64 host)
{
	struct soft_icache *ic = soft_icache(c);
	struct soft_code_page **page;
	struct soft_block *b, **bucket;

	if (unlikely(ic->reset || ic->used + SOFT_BLOCK_ROOM + sizeof(**page) + 64 > ic->limit))
		empty(c);
	b = soft_icache_peek(c, host);
	if (b && (b->epoch == ic->epoch || b->jit_slot || soft_icache_check(c, b)))
		goto found;

	b = (struct soft_block *)(ic->arena + ic->used);
	decode_block(c, host, b);
	if (!b->n)
		return NULL;
	soft_stats_decoded(&((struct soft_vcpu *)c->soft)->stats, b->n, b->bytes);
	arena_take(ic, sizeof(*b) + b->n * sizeof(b->insn[0]) + b->bytes + b->cross);
	b->epoch = ic->epoch;
	b->jit_slot = 0;
	b->runs = 0;
	bucket = &ic->hash[soft_hash(host, c->mode, SOFT_HASH_BITS)];
	b->hash_next = *bucket;
	*bucket = b;

	page = page_link(ic, host & PAGE_MASK);
	if (!*page) {
		struct soft_code_page *p = arena_take(ic, sizeof(*p));

		*p = (struct soft_code_page){ .host = host & PAGE_MASK, .epoch = ic->epoch };
		*page = p;
	}
	b->page = *page;
	b->page_next = (*page)->blocks;
	(*page)->blocks = b;
	/* Written since the copy was taken: it may yet be written back. */
	if ((*page)->copied && memcmp((*page)->copy + (host & ~PAGE_MASK), block_bytes(b), b->bytes))
		(*page)->copied = false;
found:
	ic->front[soft_hash(host, c->mode, SOFT_FRONT_BITS)] = b;
	return b;
}
