/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory as the guest's processor sees it: linear addresses, through the software TLB.
 *
 * The fast path is inline: one tag compare, one add, one host access. Everything else (a page
 * crossing, a TLB miss, MMIO, a page that holds code, a data breakpoint) is in mem.c and mmu.c. The
 * TLB is the only way from a guest address to host memory.
 *
 * All functions return an enum x86_result: X86_OK, X86_FAULT with c->fault filled in, X86_CAREFUL
 * or X86_EXIT for devices. A handler passes anything but X86_OK on at once, and must not have changed
 * registers, flags or memory before its last access that can fail.
 */
#ifndef KVM_X86_MEM_H
#define KVM_X86_MEM_H

#include "kvm/x86/cpu.h"

enum x86_access { X86_READ, X86_WRITE, X86_FETCH };

/* ---- slow paths: mem.c ---- */
int x86_read_slow(struct x86_cpu *c, u64 lin, void *dst, u32 size);
int x86_write_slow(struct x86_cpu *c, u64 lin, const void *src, u32 size);
/* Segment limit, type and right checks for an access outside 64-bit mode: #GP(0) or #SS(0). */
int x86_check_segment(struct x86_cpu *c, int seg, u64 offset, u32 size, enum x86_access acc);
int x86_rmw_slow(struct x86_cpu *c, u64 lin, u32 size, void **host);

static __always_inline struct x86_tlb_entry *x86_tlb_slot(struct x86_cpu *c, u64 lin)
{
	return &c->tlb[(lin >> PAGE_SHIFT) & (X86_TLB_SIZE - 1)];
}

/* One compare finds a page-crossing access too: its last byte's page is not the one that the entry
 * at its first byte's index can hold. size is 1 to 512. */
static __always_inline bool x86_tlb_hit(struct x86_cpu *c, u64 lin, u32 size, u64 tag)
{
	return tag == (((lin + size - 1) & PAGE_MASK) | c->tlb_ctx[lin >> 63]);
}

/* ---- linear address in hand ---- */
#define X86_DEFINE_ACCESS(bits)								\
static __always_inline int x86_read##bits(struct x86_cpu *c, u64 lin, u##bits *val)	\
{											\
	struct x86_tlb_entry *e = x86_tlb_slot(c, lin);					\
											\
	if (likely(x86_tlb_hit(c, lin, bits / 8, e->rd))) {				\
		*val = *(const volatile u##bits *)(lin + e->addend);			\
		return X86_OK;								\
	}										\
	return x86_read_slow(c, lin, val, bits / 8);					\
}											\
static __always_inline int x86_write##bits(struct x86_cpu *c, u64 lin, u##bits val)	\
{											\
	struct x86_tlb_entry *e = x86_tlb_slot(c, lin);					\
											\
	if (likely(x86_tlb_hit(c, lin, bits / 8, e->wr))) {				\
		*(volatile u##bits *)(lin + e->addend) = val;				\
		return X86_OK;								\
	}										\
	return x86_write_slow(c, lin, &val, bits / 8);					\
}
X86_DEFINE_ACCESS(8)
X86_DEFINE_ACCESS(16)
X86_DEFINE_ACCESS(32)
X86_DEFINE_ACCESS(64)

/* Any size from 1 to 512 bytes, not atomic as a whole. All pages are checked before the first byte
 * is written. */
int x86_read_buf(struct x86_cpu *c, u64 lin, void *dst, u32 size);
int x86_write_buf(struct x86_cpu *c, u64 lin, const void *src, u32 size);

/*
 * For read-modify-write: with X86_OK and *host set, the operand is ordinary writable memory within
 * a page (and, for `size` 16, aligned), to be worked on in place, with a LOCK prefix where the guest's has one. With *host NULL it is
 * not (device, page crossing): read, compute, write; the caller then holds x86_split_lock for locked ones.
 */
static __always_inline int x86_rmw(struct x86_cpu *c, u64 lin, u32 size, void **host)
{
	struct x86_tlb_entry *e = x86_tlb_slot(c, lin);

	if (likely(x86_tlb_hit(c, lin, size, e->wr))) {
		*host = (void *)(lin + e->addend);
		return X86_OK;
	}
	return x86_rmw_slow(c, lin, size, host);
}
void x86_split_lock(struct x86_cpu *c);
void x86_split_unlock(struct x86_cpu *c);

/* Host address of guest memory for bulk work (rep strings): *n bytes at most, cut to what is
 * contiguous in one page. *host NULL: not plain memory. Makes no access and raises what one byte's would. */
int x86_host_range(struct x86_cpu *c, u64 lin, enum x86_access acc, u32 *n, u8 **host);

/* Would an access fault? For PUSHA, ENTER, task switches, far transfers: test before changing. */
int x86_probe(struct x86_cpu *c, u64 lin, u32 size, enum x86_access acc);

/* Accesses by the processor itself (descriptor tables, TSS): supervisor rights whatever the CPL. */
int x86_read_sys(struct x86_cpu *c, u64 lin, void *dst, u32 size);
int x86_write_sys(struct x86_cpu *c, u64 lin, const void *src, u32 size);
/* Sets bits atomically in a descriptor byte (accessed, busy), supervisor rights. */
int x86_or_sys(struct x86_cpu *c, u64 lin, u8 bits, bool clear);

/* ---- segment and offset: what handlers use ---- */

/* Linear address of offset in seg for an access of size bytes, checked where it has to be. */
static __always_inline int x86_lin(struct x86_cpu *c, int seg, u64 offset, u32 size,
				   enum x86_access acc, u64 *lin)
{
	if (unlikely(c->seg_check & BIT(seg))) {
		int r = x86_check_segment(c, seg, offset, size, acc);

		if (r)
			return r;
	}
	*lin = (c->seg[seg].base + offset) & c->lin_mask;
	return X86_OK;
}

/* Offset of the modrm memory operand (what LEA gives). */
static __always_inline u64 x86_ea(struct x86_cpu *c, const struct x86_insn *i)
{
	u64 ea = c->regs[i->base] + (c->regs[i->index] << i->scale) + (s64)i->disp;

	if (likely(i->addrsize == 8))
		return ea;
	return i->addrsize == 4 ? (u32)ea : (u16)ea;
}

static __always_inline int x86_operand_lin(struct x86_cpu *c, const struct x86_insn *i, u32 size,
					   enum x86_access acc, u64 *lin)
{
	return x86_lin(c, i->seg, x86_ea(c, i), size, acc, lin);
}

/* For whoever takes a handler's X86_FAULT: a bad address from RSP or RBP, without FS or GS, is the
 * stack's and so #SS(0) (SDM volume 1, 3.3.7.1). Pushes and pops see to theirs themselves. */
static inline void x86_finish_fault(struct x86_cpu *c, const struct x86_insn *i)
{
	if (unlikely(c->fault.noncanonical) && (i->flags & X86_I_MEM) && i->seg == X86_SEG_FLAT &&
	    (i->base == X86_RSP || i->base == X86_RBP))
		c->fault.vector = X86_SS;
}

/* ---- the MMU: mmu.c ---- */

/* How a linear address maps. */
struct x86_walk {
	u64 gpa;
	u64 page_size;		/* 4K, 2M, 4M, 1G; 4K without paging */
	bool writable, user, nx, global, dirty;
	u32 error;		/* of #PF, where the walk failed */
};

int x86_mmu_init(struct x86_cpu *c);		/* 0, -ENOMEM */
void x86_mmu_free(struct x86_cpu *c);
/* Walks the page tables. `access_error` has X86_PF_W, X86_PF_U, X86_PF_I as the access would. Sets accessed (and
 * for W dirty) bits if `mark`. X86_OK; X86_FAULT with w->error (c->fault untouched). */
int x86_walk(struct x86_cpu *c, u64 lin, u32 access_error, bool mark, struct x86_walk *w);

/* Flushes. All are for the calling vCPU's own thread. */
void x86_tlb_flush_all(struct x86_cpu *c);		/* all contexts, global pages too */
void x86_tlb_flush_current(struct x86_cpu *c, bool keep_global);	/* CR3 load without PCID's no-flush bit */
void x86_tlb_flush_pcid(struct x86_cpu *c, u16 pcid);
void x86_tlb_flush_page(struct x86_cpu *c, u64 lin);	/* INVLPG: current context and global */
void x86_tlb_flush_page_pcid(struct x86_cpu *c, u64 lin, u16 pcid);
void x86_tlb_drop_writes(struct x86_cpu *c);		/* no entry stays writable */
/* CR3 was loaded (flush: bit 63 was clear or PCID is off): picks the context; flushes. */
void x86_mmu_cr3_changed(struct x86_cpu *c, bool flush);
/* CR0.PG/WP, CR4, EFER.NXE/LMA, MAXPHYADDR changed: all cached translations go; reloads PAE PDPTRs where they are due:
 * X86_OK or X86_FAULT (reserved bits in a PDPTE: #GP(0) is raised). */
int x86_mmu_reconfigure(struct x86_cpu *c);
/* Sets c->tlb for the access mode (CPL, SMAP, AC), and closes the fast path while data breakpoints are
 * armed; sets c->watch. After any change of these, of DR7 and of c->debug; x86_update_mode calls it. */
void x86_mmu_access_mode(struct x86_cpu *c);

void x86_tlb_drop_host_page(struct x86_cpu *c, const u8 *host);	/* no entry executes from it */
void x86_tlb_drop_host_writes(struct x86_cpu *c, const u8 *host);	/* no entry writes it */
u64 x86_mmu_context(const struct x86_cpu *c, int half);	/* what c->tlb_ctx[half] is while the fast path is open */
bool x86_pae_paging(const struct x86_cpu *c);
/* The four PDPTEs that PAE paging loaded with CR3. load: from memory, X86_OK or #GP(0); nothing without PAE paging. */
int x86_mmu_load_pdptrs(struct x86_cpu *c);
void x86_mmu_get_pdptrs(struct x86_cpu *c, u64 pdpte[4]);
void x86_mmu_set_pdptrs(struct x86_cpu *c, const u64 pdpte[4]);

#define X86_WALK_IMPLICIT	BIT(31)	/* x86_walk: an access by the processor itself, which AC does not excuse */

struct x86_mapping {
	u8 *host;		/* NULL: a device, or a write to read-only memory */
	u64 gpa;		/* valid where host is NULL */
};
/* What lin maps to for one access within a page, entered in the TLB where it is memory. sys: by the processor
 * itself. X86_OK, X86_FAULT (#PF), X86_EXIT (the VMM's memory is not mapped: KVM_RUN gives -EFAULT), and for a fetch
 * X86_RESTART (the slots changed meanwhile). */
int x86_translate(struct x86_cpu *c, u64 lin, enum x86_access acc, bool sys, struct x86_mapping *map);

/* Reads up to n bytes of code at lin, which may cross a page. Returns how many can be read; fewer than n where the
 * second page faults (c->fault then says how); 0 with *result set where the first does. */
u32 x86_fetch(struct x86_cpu *c, u64 lin, u8 *buf, u32 n, int *result);

/* Is gpa in the enabled xAPIC page of this vCPU? */
bool x86_apic_page(const struct x86_cpu *c, u64 gpa);
int x86_bad_host_page(struct x86_cpu *c, u64 gpa);	/* X86_EXIT, KVM_RUN: -EFAULT */
/* KVM_EXIT_INTERNAL_ERROR with suberror; X86_EXIT. */
int x86_internal_error(struct x86_cpu *c, u32 suberror);

/* The VMM's answers and what is left to tell it, around an exit: mem.c. */
void x86_io_begin(struct x86_cpu *c);		/* a new instruction: forget what the last one read */
void x86_io_complete(struct x86_cpu *c);	/* KVM_RUN again: take the answer from kvm_run */
/* The instruction at hand needs to be told something that no access reads: X86_EXIT, once kvm_run is filled in. Run
 * again, it finds the answer by x86_vmm_answered, which is to be asked first. */
int x86_ask_vmm(struct x86_cpu *c, enum x86_io_wait what);
bool x86_vmm_answered(struct x86_cpu *c, u64 *val, bool *refused);
bool x86_io_exit_next_write(struct x86_cpu *c);	/* sets run->mmio for the next queued write; false: none is left */

/* ---- ports ---- */
/* One IN or OUT element. X86_OK, X86_CAREFUL, X86_EXIT (IN: the VMM answers), X86_DONE (OUT: run->io is set). Permission
 * (IOPL, TSS bitmap) is x86_check_io's. */
int x86_port_in(struct x86_cpu *c, u16 port, u32 size, u32 *val);
int x86_port_out(struct x86_cpu *c, u16 port, u32 size, u32 val);
/* Up to *n elements of one port; *n and *data say how many there are, and where. */
int x86_port_in_string(struct x86_cpu *c, u16 port, u32 size, u32 *n, const u8 **data);
int x86_check_io(struct x86_cpu *c, u16 port, u32 size);	/* X86_OK or #GP(0): exception.c's neighbour ioperm in system.c */

#endif
