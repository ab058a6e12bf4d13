// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMU: page walks (SDM volume 3, 4; APM volume 2, 5) and the software TLB's contents.
 *
 * The TLB is large, and a CR3 load should not empty it. So each entry's tag carries a context number,
 * and a flush usually takes a fresh number instead of touching entries. There are two current
 * numbers, one for each half of the linear address space:
 *
 *   - the lower half's stands for a PCID (or, without PCIDs, for one load of CR3);
 *   - the upper half's outlives CR3 loads as long as only global pages were entered under it, as is
 *     the case for a kernel's. The first non-global one makes the next CR3 load take a fresh number.
 *
 * INVLPG has to find every 4 KiB entry made from a large page. Two small Bloom filters say which
 * regions had large pages at all, so the common case looks at one entry a table.
 *
 * A page of the host's that code is made from, or whose code was written, has to be found too, and
 * often: where code and data share a page, and where programs write programs. So a small table says
 * which entries may name it.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/mem.h"

#define CTX_MAX		0xffd		/* 0xffe is CTX_CLOSED; tags of 0xfff are invalid entries' */
#define CTX_CLOSED	0xffe		/* matches no entry: every access takes the slow path */

#define TAG_NONE	(~0ull)		/* and 0, of an entry never used: contexts are numbered from 1 */

/* Requests after which what was just looked up may no longer hold. */
#define STALE_REQUESTS	(BIT(KVM_REQ_TLB_FLUSH) | BIT(KVM_REQ_TLB_WRITES) | \
			 BIT(KVM_REQ_CODE_PAGES) | BIT(KVM_REQ_SLOTS))

/* Entries by the host page that they lead to: a few by hash, numbered through all tables from 1. */
#define BY_HOST_BITS	12
#define BY_HOST_WAYS	4
#define BY_HOST_MORE	0xffff		/* in the last way: there are more than fit */

#define PTE_P		BIT_ULL(0)
#define PTE_W		BIT_ULL(1)
#define PTE_U		BIT_ULL(2)
#define PTE_A		BIT_ULL(5)
#define PTE_D		BIT_ULL(6)
#define PTE_PS		BIT_ULL(7)
#define PTE_G		BIT_ULL(8)
#define PTE_NX		BIT_ULL(63)

struct x86_mmu {
	u64 ctx[2];			/* the current numbers, by half */
	u32 next_ctx;
	bool upper_private;		/* a non-global page was entered under ctx[1] */
	bool lower_global;		/* a global page was entered under a lower context */
	u64 large_2m[64];		/* Bloom filters of regions with large pages, reset by a full flush */
	u64 large_1g;
	u64 pdpte[4];			/* PAE: loaded with CR3 */
	u16 pcid_ctx[4096];		/* lower context of each PCID; 0: none */
	u16 by_host[1 << BY_HOST_BITS][BY_HOST_WAYS];	/* 0: none */
};

int x86_mmu_init(struct x86_cpu *c)
{
	c->mmu = os_alloc(sizeof(*c->mmu));
	if (!c->mmu)
		return -ENOMEM;
	for (int t = 0; t < X86_NR_TLBS; t++) {
		c->tlbs[t] = os_alloc_large(X86_TLB_SIZE * sizeof(struct x86_tlb_entry));
		if (!c->tlbs[t]) {
			x86_mmu_free(c);
			return -ENOMEM;
		}
	}
	c->tlb = c->tlbs[X86_TLB_SUPER];
	c->mmu->next_ctx = 1;
	x86_tlb_flush_all(c);
	return 0;
}

void x86_mmu_free(struct x86_cpu *c)
{
	for (int t = 0; t < X86_NR_TLBS; t++) {
		if (c->tlbs[t])
			os_free_large(c->tlbs[t], X86_TLB_SIZE * sizeof(struct x86_tlb_entry));
		c->tlbs[t] = NULL;
	}
	os_free(c->mmu);
	c->mmu = NULL;
}

/* ---- contexts and flushes ---- */

static u16 current_pcid(const struct x86_cpu *c)
{
	return c->cr4 & X86_CR4_PCIDE ? c->cr3 & 0xfff : 0;
}

/* Empties the tables and starts the numbers anew. */
static void recycle(struct x86_cpu *c)
{
	struct x86_mmu *m = c->mmu;

	for (int t = 0; t < X86_NR_TLBS; t++)
		memset(c->tlbs[t], 0xff, X86_TLB_SIZE * sizeof(struct x86_tlb_entry));
	x86_stack_moved(c);
	memset(m->pcid_ctx, 0, sizeof(m->pcid_ctx));
	memset(m->large_2m, 0, sizeof(m->large_2m));
	memset(m->by_host, 0, sizeof(m->by_host));
	m->large_1g = 0;
	m->lower_global = false;
	m->next_ctx = 3;
	x86_code_moved(c);
	m->ctx[0] = 1;
	m->ctx[1] = 2;
	m->upper_private = false;
	m->pcid_ctx[current_pcid(c)] = 1;
}

void x86_tlb_flush_all(struct x86_cpu *c)
{
	struct x86_mmu *m = c->mmu;

	if (m->next_ctx + 2 > CTX_MAX) {
		recycle(c);
	} else {
		memset(m->pcid_ctx, 0, sizeof(m->pcid_ctx));
		m->ctx[0] = m->next_ctx++;
		m->ctx[1] = m->next_ctx++;
		m->pcid_ctx[current_pcid(c)] = m->ctx[0];
		m->upper_private = false;
		m->lower_global = false;
	}
	x86_mmu_access_mode(c);
}

/* Takes a fresh number for the lower half as PCID pcid's, and for the upper if it is not all global. */
static void fresh_context(struct x86_cpu *c, bool lower, bool upper)
{
	struct x86_mmu *m = c->mmu;

	if (m->next_ctx + 2 > CTX_MAX) {
		recycle(c);
	} else {
		if (lower) {
			m->ctx[0] = m->next_ctx++;
			m->pcid_ctx[current_pcid(c)] = m->ctx[0];
		}
		if (upper) {
			m->ctx[1] = m->next_ctx++;
			m->upper_private = false;
		}
	}
	x86_mmu_access_mode(c);
}

void x86_tlb_flush_current(struct x86_cpu *c, bool keep_global)
{
	if (!keep_global)
		x86_tlb_flush_all(c);
	else
		fresh_context(c, true, c->mmu->upper_private);
}

void x86_mmu_cr3_changed(struct x86_cpu *c, bool flush)
{
	struct x86_mmu *m = c->mmu;
	u16 known = m->pcid_ctx[current_pcid(c)];

	if (flush || !known) {
		fresh_context(c, true, m->upper_private);
		return;
	}
	m->ctx[0] = known;
	if (m->upper_private)
		fresh_context(c, false, true);
	else
		x86_mmu_access_mode(c);
}

void x86_tlb_flush_pcid(struct x86_cpu *c, u16 pcid)
{
	struct x86_mmu *m = c->mmu;

	if (pcid == current_pcid(c))
		x86_tlb_flush_current(c, true);
	else
		m->pcid_ctx[pcid & 0xfff] = 0;	/* its number is not used again before a recycle */
}

static u32 bloom_bit(u64 lin)
{
	return (lin >> 21) & 4095;
}

static void drop_entry(struct x86_tlb_entry *e)
{
	e->rd = e->wr = e->ex = TAG_NONE;
}

static u64 entry_page(const struct x86_tlb_entry *e)
{
	return (e->rd != TAG_NONE ? e->rd : e->ex) & PAGE_MASK;
}

void x86_tlb_flush_page(struct x86_cpu *c, u64 lin)
{
	struct x86_mmu *m = c->mmu;
	u32 bit = bloom_bit(lin), first = 0, n = 0;
	u64 region = 0;

	x86_stack_moved(c);
	if (m->lower_global && !(lin >> 63)) {
		x86_tlb_flush_all(c);	/* a global page may be cached under other PCIDs too */
		return;
	}
	if (m->large_1g & BIT_ULL((lin >> 30) & 63)) {
		region = ~(BIT_ULL(30) - 1);
		n = X86_TLB_SIZE;
	} else if (m->large_2m[bit / 64] & BIT_ULL(bit % 64)) {
		/* 4 MiB, for the 2-level format's large pages */
		region = ~(BIT_ULL(22) - 1);
		first = ((lin & region) >> PAGE_SHIFT) & (X86_TLB_SIZE - 1);
		n = 1024;
	}
	if (c->jit.pages && (n || (c->jit.pages[(lin >> PAGE_SHIFT) % X86_CODE_PAGES / 64] &
				   BIT_ULL((lin >> PAGE_SHIFT) % 64))))
		x86_code_moved(c);
	for (int t = 0; t < X86_NR_TLBS; t++) {
		struct x86_tlb_entry *tlb = c->tlbs[t];

		drop_entry(&tlb[(lin >> PAGE_SHIFT) & (X86_TLB_SIZE - 1)]);
		for (u32 k = 0; k < n; k++) {
			struct x86_tlb_entry *e = &tlb[(first + k) & (X86_TLB_SIZE - 1)];

			if ((entry_page(e) & region) == (lin & region))
				drop_entry(e);
		}
	}
}

void x86_tlb_flush_page_pcid(struct x86_cpu *c, u64 lin, u16 pcid)
{
	/* Entries are found by address alone: this drops other PCIDs' too, which is allowed. */
	(void)pcid;
	x86_tlb_flush_page(c, lin);
}

void x86_tlb_drop_writes(struct x86_cpu *c)
{
	x86_stack_moved(c);
	for (int t = 0; t < X86_NR_TLBS; t++)
		for (u32 k = 0; k < X86_TLB_SIZE; k++)
			c->tlbs[t][k].wr = TAG_NONE;
}

/* ---- entries by host page ---- */

static u32 host_hash(u64 host)
{
	u64 page = host >> PAGE_SHIFT;

	return (page ^ (page >> BY_HOST_BITS)) & (BIT(BY_HOST_BITS) - 1);
}

static struct x86_tlb_entry *entry_by_number(struct x86_cpu *c, u32 n)
{
	return &c->tlbs[(n - 1) / X86_TLB_SIZE][(n - 1) % X86_TLB_SIZE];
}

/* The host page that an entry leads to; 0: no access is allowed by it. */
static u64 entry_host(const struct x86_tlb_entry *e)
{
	if (e->rd == TAG_NONE && e->wr == TAG_NONE && e->ex == TAG_NONE)
		return 0;
	return (e->rd != TAG_NONE ? e->rd & PAGE_MASK : e->wr != TAG_NONE ? e->wr & PAGE_MASK :
		e->ex & PAGE_MASK) + e->addend;
}

/* Entry number n leads to the host page now. */
static void note_host(struct x86_cpu *c, u32 n, u64 host)
{
	u16 *way = c->mmu->by_host[host_hash(host)];

	if (way[BY_HOST_WAYS - 1] == BY_HOST_MORE)
		return;
	for (u32 k = 0; k < BY_HOST_WAYS; k++)
		if (way[k] == n)
			return;
	for (u32 k = 0; k < BY_HOST_WAYS; k++) {
		u64 other = way[k] ? entry_host(entry_by_number(c, way[k])) : 0;

		if (!other || host_hash(other) != host_hash(host)) {
			way[k] = n;
			return;
		}
	}
	way[BY_HOST_WAYS - 1] = BY_HOST_MORE;
}

static void drop_host(struct x86_tlb_entry *e, u64 host, bool writes)
{
	if (entry_host(e) != host)
		return;
	if (writes)
		e->wr = TAG_NONE;
	else
		e->ex = TAG_NONE;
}

static void drop_by_host(struct x86_cpu *c, u64 host, bool writes)
{
	u16 *way = c->mmu->by_host[host_hash(host)];

	if (way[BY_HOST_WAYS - 1] != BY_HOST_MORE) {
		for (u32 k = 0; k < BY_HOST_WAYS; k++)
			if (way[k])
				drop_host(entry_by_number(c, way[k]), host, writes);
		return;
	}
	/* All that there are; perhaps they fit by now. */
	memset(way, 0, sizeof(c->mmu->by_host[0]));
	for (u32 n = 1; n <= X86_NR_TLBS * X86_TLB_SIZE; n++) {
		struct x86_tlb_entry *e = entry_by_number(c, n);
		u64 other;

		drop_host(e, host, writes);
		other = entry_host(e);
		if (other && host_hash(other) == host_hash(host))
			note_host(c, n, other);
	}
}

void x86_tlb_drop_host_page(struct x86_cpu *c, const u8 *host)
{
	x86_code_moved(c);
	drop_by_host(c, (u64)host, false);
}

void x86_tlb_drop_host_writes(struct x86_cpu *c, const u8 *host)
{
	x86_stack_moved(c);
	drop_by_host(c, (u64)host, true);
}

/* ---- configuration ---- */

static int load_pdptrs(struct x86_cpu *c)
{
	u64 rsvd = 0x1e6 | ~(BIT_ULL(c->phys_bits) - 1);
	u64 pdpte[4];

	if (kvm_vcpu_read_guest(c->vcpu, c->cr3 & 0xffffffe0, pdpte, sizeof(pdpte)))
		return x86_raise_err(c, X86_GP, 0);
	for (int i = 0; i < 4; i++)
		if ((pdpte[i] & PTE_P) && (pdpte[i] & rsvd))
			return x86_raise_err(c, X86_GP, 0);
	memcpy(c->mmu->pdpte, pdpte, sizeof(pdpte));
	return X86_OK;
}

bool x86_pae_paging(const struct x86_cpu *c)
{
	return (c->cr0 & X86_CR0_PG) && (c->cr4 & X86_CR4_PAE) && !x86_long_mode(c);
}

int x86_mmu_load_pdptrs(struct x86_cpu *c)
{
	return x86_pae_paging(c) ? load_pdptrs(c) : X86_OK;
}

void x86_mmu_get_pdptrs(struct x86_cpu *c, u64 pdpte[4])
{
	memcpy(pdpte, c->mmu->pdpte, sizeof(c->mmu->pdpte));
}

void x86_mmu_set_pdptrs(struct x86_cpu *c, const u64 pdpte[4])
{
	memcpy(c->mmu->pdpte, pdpte, sizeof(c->mmu->pdpte));
}

int x86_mmu_reconfigure(struct x86_cpu *c)
{
	int r = x86_mmu_load_pdptrs(c);

	x86_tlb_flush_all(c);
	return r;
}

static bool data_breakpoints(const struct x86_cpu *c)
{
	u64 dr7 = c->debug.control & KVM_GUESTDBG_USE_HW_BP ? c->debug.dr7 : c->dr7;

	for (int i = 0; i < 4; i++)
		if ((dr7 & (3ull << (i * 2))) && (dr7 & (1ull << (16 + i * 4))))
			return true;
	return false;
}

static bool alignment_checked(const struct x86_cpu *c)
{
	return c->cpl == 3 && (c->cr0 & X86_CR0_AM) && (c->rflags & X86_RFLAGS_AC);
}

static int access_mode(const struct x86_cpu *c)
{
	if (c->cpl == 3)
		return X86_TLB_USER;
	return (c->cr4 & X86_CR4_SMAP) && !(c->rflags & X86_RFLAGS_AC) ? X86_TLB_SMAP : X86_TLB_SUPER;
}

void x86_mmu_access_mode(struct x86_cpu *c)
{
	bool closed;

	if (!c->mmu)
		return;
	closed = alignment_checked(c) || data_breakpoints(c);
	c->watch = (c->dr7 & 0xff) ||
		   (c->debug.control & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP));
	c->tlb = c->tlbs[access_mode(c)];
	c->jit.key = 0;
	x86_stack_moved(c);
	c->tlb_ctx[0] = closed ? CTX_CLOSED : c->mmu->ctx[0];
	c->tlb_ctx[1] = closed ? CTX_CLOSED : c->mmu->ctx[1];
}

u64 x86_mmu_context(const struct x86_cpu *c, int half)
{
	return c->mmu->ctx[half];
}

/* ---- page walk ---- */

/* Where an entry of a paging structure is in host memory. NULL: no memory there. */
static void *pte_host(struct x86_cpu *c, u64 gpa, struct kvm_page *page)
{
	if (kvm_find_page(c->vcpu, gpa, false, page) || !page->host)
		return NULL;
	return page->host + (gpa & ~PAGE_MASK);
}

/* Sets accessed and dirty bits as the processor does: atomically, and only in what was read. */
static bool pte_mark(struct x86_cpu *c, u64 gpa, u64 *host64, u32 *host32, u64 old, u64 bits)
{
	struct kvm_page page;

	if ((old & bits) == bits)
		return true;
	/* In a read-only slot the bits stay as they are, as under Linux's KVM. */
	if (kvm_find_page(c->vcpu, gpa, true, &page) || !page.host || !page.writable)
		return true;
	kvm_page_written(c->vcpu, page.slot, gpa >> PAGE_SHIFT);
	if (host64)
		return __atomic_compare_exchange_n(host64, &old, old | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	u32 old32 = old;

	return __atomic_compare_exchange_n(host32, &old32, old32 | bits, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* The paging structures' shape for the mode at hand. */
struct paging {
	int levels;		/* 5, 4, 3 (PAE: 2 and the PDPTEs), 2 */
	u64 root;
	bool wide;		/* 8-byte entries */
};

static void paging_of(const struct x86_cpu *c, struct paging *p)
{
	if (x86_long_mode(c)) {
		p->levels = c->cr4 & X86_CR4_LA57 ? 5 : 4;
		p->root = c->cr3 & 0x000ffffffffff000ull;
		p->wide = true;
	} else if (c->cr4 & X86_CR4_PAE) {
		p->levels = 2;
		p->root = 0;		/* from a PDPTE */
		p->wide = true;
	} else {
		p->levels = 2;
		p->root = c->cr3 & 0xfffff000;
		p->wide = false;
	}
}

/* Bits that have to be 0 in an entry at `level` (1: page table), large: it maps a page. */
static u64 reserved_bits(const struct x86_cpu *c, const struct paging *p, int level, bool large)
{
	u64 rsvd;

	if (!p->wide)
		return large && level == 2 ? BIT_ULL(21) : 0;
	rsvd = ~(BIT_ULL(c->phys_bits) - 1) & 0x000fffffffffffffull;
	if (!x86_long_mode(c))
		rsvd |= 0x7ff0000000000000ull;	/* PAE: 62:52 are reserved */
	if (!(c->efer & X86_EFER_NXE))
		rsvd |= PTE_NX;
	if (level >= 4)
		rsvd |= PTE_PS;
	if (large && level == 3)
		rsvd |= x86_has(c, X86_FEATURE_GBPAGES) ? 0x3fffe000 : PTE_PS;
	if (large && level == 2)
		rsvd |= 0x1fe000;
	return rsvd;
}

int x86_walk(struct x86_cpu *c, u64 lin, u32 access, bool mark, struct x86_walk *w)
{
	u32 report = access & (X86_PF_W | X86_PF_U);
	struct paging p;
	struct kvm_page page;
	u64 table, gpa, pte, size;
	bool writable, user, nx, large;
	u64 *host64;
	u32 *host32;
	int level;

	if (!(c->cr0 & X86_CR0_PG)) {
		*w = (struct x86_walk){ .gpa = lin & 0xffffffff, .page_size = PAGE_SIZE, .writable = true,
					.user = true, .dirty = true };
		return X86_OK;
	}
	/* The fetch bit is reported only where fetches can fault as such. */
	if ((access & X86_PF_I) &&
	    (((c->efer & X86_EFER_NXE) && (c->cr4 & X86_CR4_PAE)) || (c->cr4 & X86_CR4_SMEP)))
		report |= X86_PF_I;
again:
	paging_of(c, &p);
	writable = user = true;
	nx = false;
	table = p.root;
	if (p.wide && p.levels == 2) {
		u64 pdpte = c->mmu->pdpte[(lin >> 30) & 3];

		if (!(pdpte & PTE_P)) {
			w->error = report;
			return X86_FAULT;
		}
		table = pdpte & 0x000ffffffffff000ull;
	}
	for (level = p.levels; ; level--) {
		int shift = PAGE_SHIFT + (level - 1) * (p.wide ? 9 : 10);

		gpa = table + ((lin >> shift) & (p.wide ? 511 : 1023)) * (p.wide ? 8 : 4);
		host64 = pte_host(c, gpa, &page);
		if (!host64) {
			w->error = report;
			return X86_FAULT;
		}
		host32 = p.wide ? NULL : (u32 *)host64;
		if (host32) {
			host64 = NULL;
			pte = READ_ONCE(*host32);
		} else {
			pte = READ_ONCE(*host64);
		}
		if (!(pte & PTE_P)) {
			w->error = report;
			return X86_FAULT;
		}
		large = level > 1 && (pte & PTE_PS) && (p.wide || (c->cr4 & X86_CR4_PSE));
		if (pte & reserved_bits(c, &p, level, large)) {
			w->error = report | X86_PF_P | X86_PF_RSVD;
			return X86_FAULT;
		}
		writable = writable && (pte & PTE_W);
		user = user && (pte & PTE_U);
		nx = nx || (p.wide && (pte & PTE_NX));
		if (level == 1 || large)
			break;
		if (mark && !pte_mark(c, gpa, host64, host32, pte, PTE_A))
			goto again;
		table = p.wide ? pte & 0x000ffffffffff000ull : pte & 0xfffff000;
	}

	w->error = report | X86_PF_P;
	if (access & X86_PF_U) {
		if (!user || ((access & X86_PF_W) && !writable))
			return X86_FAULT;
	} else {
		if ((access & X86_PF_W) && !writable && (c->cr0 & X86_CR0_WP))
			return X86_FAULT;
		if (user && (access & X86_PF_I) && (c->cr4 & X86_CR4_SMEP))
			return X86_FAULT;
		if (user && !(access & X86_PF_I) && (c->cr4 & X86_CR4_SMAP) &&
		    ((access & X86_WALK_IMPLICIT) || !(c->rflags & X86_RFLAGS_AC)))
			return X86_FAULT;
	}
	if ((access & X86_PF_I) && nx)
		return X86_FAULT;

	if (mark) {
		u64 bits = PTE_A | (access & X86_PF_W ? PTE_D : 0);

		if (!pte_mark(c, gpa, host64, host32, pte, bits))
			goto again;
		pte |= bits;
	}
	size = p.wide ? PAGE_SIZE << ((level - 1) * 9) : PAGE_SIZE << ((level - 1) * 10);
	if (p.wide) {
		gpa = pte & 0x000ffffffffff000ull & ~(size - 1);
	} else {
		gpa = pte & 0xfffff000 & ~(size - 1);
		if (large)	/* PSE-36: bits 20:13 are address bits 39:32 */
			gpa |= (pte & 0x1fe000) << 19;
	}
	*w = (struct x86_walk){
		.gpa = gpa | (lin & (size - 1)),
		.page_size = size,
		/* CR0.WP off: a supervisor writes everywhere */
		.writable = writable || (!(access & X86_PF_U) && !(c->cr0 & X86_CR0_WP)),
		.user = user,
		.nx = nx,
		.global = (pte & PTE_G) && (c->cr4 & X86_CR4_PGE),
		.dirty = pte & PTE_D,
	};
	return X86_OK;
}

/* ---- filling the TLB ---- */

static void note_context(struct x86_cpu *c, u64 lin, const struct x86_walk *w)
{
	struct x86_mmu *m = c->mmu;

	if (lin >> 63) {
		if (!w->global)
			m->upper_private = true;
	} else if (w->global) {
		m->lower_global = true;
	}
	if (w->page_size > (4 << 20)) {
		m->large_1g |= BIT_ULL((lin >> 30) & 63);
	} else if (w->page_size > PAGE_SIZE) {
		u32 bit = bloom_bit(lin & ~(w->page_size - 1));

		m->large_2m[bit / 64] |= BIT_ULL(bit % 64);
		if (w->page_size == (4 << 20))
			m->large_2m[bit / 64] |= BIT_ULL((bit + 1) % 64);
	}
}

int x86_translate(struct x86_cpu *c, u64 lin, enum x86_access acc, bool sys, struct x86_mapping *map)
{
	int mode = sys ? (c->cr4 & X86_CR4_SMAP ? X86_TLB_SMAP : X86_TLB_SUPER) : access_mode(c);
	struct x86_tlb_entry *e = &c->tlbs[mode][(lin >> PAGE_SHIFT) & (X86_TLB_SIZE - 1)];
	u64 tag = (lin & PAGE_MASK) | c->mmu->ctx[lin >> 63];
	u32 access = mode == X86_TLB_USER ? X86_PF_U : 0;
	struct kvm_page page;
	struct x86_walk w;
	int r;

	if ((acc == X86_READ ? e->rd : acc == X86_WRITE ? e->wr : e->ex) == tag) {
		map->host = (u8 *)(lin + e->addend);
		return X86_OK;
	}
	c->tlb_misses++;
	if (sys)
		access |= X86_WALK_IMPLICIT;
	if (acc == X86_WRITE)
		access |= X86_PF_W;
	else if (acc == X86_FETCH)
		access |= X86_PF_I;
	if (x86_walk(c, lin, access, true, &w))
		return x86_raise_pf(c, lin, w.error);

	map->gpa = w.gpa;
	map->host = NULL;
	if (c->lapic && x86_apic_page(c, w.gpa))
		return X86_OK;
	r = kvm_find_page(c->vcpu, w.gpa, acc == X86_WRITE, &page);
	if (r)
		return x86_bad_host_page(c, w.gpa);
	if (!page.host || (acc == X86_WRITE && !page.writable))
		return X86_OK;
	if (acc == X86_WRITE)
		kvm_page_written(c->vcpu, page.slot, w.gpa >> PAGE_SHIFT);
	else if (acc == X86_FETCH && !page.code)
		kvm_page_holds_code(c->vcpu, page.slot, w.gpa >> PAGE_SHIFT);
	page.code = acc == X86_FETCH || (page.code && acc != X86_WRITE);

	/* kvm_page_holds_code may have waited for others, and they for this vCPU: slots may have changed. */
	if (acc == X86_FETCH && (READ_ONCE(c->vcpu->requests) & STALE_REQUESTS))
		return X86_RESTART;
	map->host = page.host + (w.gpa & ~PAGE_MASK);
	note_context(c, lin, &w);
	e->addend = (u64)page.host - (lin & PAGE_MASK);
	e->rd = (mode == X86_TLB_USER ? w.user : mode == X86_TLB_SUPER || !w.user) ? tag : TAG_NONE;
	/* A clean page traps once more, to set its dirty bit; so do pages that are logged or hold code. */
	e->wr = acc == X86_WRITE || (e->rd == tag && w.writable && w.dirty && page.writable && !page.code &&
				     !page.slot->dirty && !c->vcpu->dirty_ring) ? tag : TAG_NONE;
	e->ex = acc == X86_FETCH ? tag : TAG_NONE;
	note_host(c, mode * X86_TLB_SIZE + ((lin >> PAGE_SHIFT) & (X86_TLB_SIZE - 1)) + 1, (u64)page.host);
	return X86_OK;
}
