/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory slots: which guest-physical pages are which pages of the VMM.
 *
 * The array of slots is sorted by address space and address, and never changes: every change makes a new one, publishes it
 * and waits until no vCPU uses the old one. So a lookup takes no lock. What does change in a slot
 * are bits: pages written (dirty), pages that code was made from (code), and pages of the VMM known to be mapped
 * (checked). The bitmaps are shared by all arrays that the slot appears in.
 */
#include "kvm/core/kvm.h"

#define MAX_GFN		((1ull << (52 - PAGE_SHIFT)) - 1)
#define USER_ADDR_END	((1ull << 47) - PAGE_SIZE)	/* user addresses of this host end below */

#define PAGE_READABLE	1
#define PAGE_WRITABLE	2

/* ---- bitmaps ---- */

/* Small ones are packed; large ones are address space, filled as the guest touches its memory. */
#define LARGE_BITMAP	65536

static size_t bitmap_size(u64 bits)
{
	return ALIGN_UP(bits, 64ull) / 8;
}

static u64 *bitmap_alloc(u64 bits)
{
	size_t size = bitmap_size(bits);

	return size < LARGE_BITMAP ? os_alloc(size) : os_alloc_large(size);
}

static void bitmap_free(u64 *map, u64 bits)
{
	if (bitmap_size(bits) < LARGE_BITMAP)
		os_free(map);
	else
		os_free_large(map, bitmap_size(bits));
}

static bool bit_is_set(const u64 *map, u64 n)
{
	return __atomic_load_n(&map[n / 64], __ATOMIC_SEQ_CST) & BIT_ULL(n % 64);
}

static void free_bitmaps(struct kvm_memslot *slot)
{
	if (slot->dirty)
		bitmap_free(slot->dirty, slot->npages);
	if (slot->code)
		bitmap_free(slot->code, slot->npages);
	if (slot->checked)
		bitmap_free(slot->checked, 2 * slot->npages);
	slot->dirty = slot->code = slot->checked = NULL;
}

/* ---- lookups ---- */

/* The address space that a vCPU sees: system management mode has one of its own. */
static u32 address_space(const struct kvm_vcpu *v)
{
	return v->cpu.ev.smm;
}

/* Index of the slot that holds gfn, or of the last that begins before it. */
static u32 search(const struct kvm_memslots *slots, u32 as, gfn_t gfn)
{
	u32 low = slots->start[as], high = slots->start[as + 1];

	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (slots->slot[middle]->base_gfn <= gfn)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static bool holds(const struct kvm_memslots *slots, u32 as, u32 i, gfn_t gfn)
{
	return i >= slots->start[as] && i < slots->start[as + 1] &&
	       gfn - slots->slot[i]->base_gfn < slots->slot[i]->npages;
}

static struct kvm_memslot *find_slot(struct kvm_vcpu *v, u32 as, gfn_t gfn)
{
	struct kvm_memslots *slots = v->slots;

	if (likely(holds(slots, as, v->last_slot, gfn)))
		return slots->slot[v->last_slot];
	v->last_slot = search(slots, as, gfn);
	return holds(slots, as, v->last_slot, gfn) ? slots->slot[v->last_slot] : NULL;
}

/* Is the VMM's page there? Asked once, since asking is a system call. */
static int check_host_page(struct kvm_memslot *slot, u64 rel, const u8 *host, bool write)
{
	u64 need = write ? PAGE_WRITABLE : PAGE_READABLE, shift = rel % 32 * 2;
	u64 *word = &slot->checked[rel / 32];

	if (likely(READ_ONCE(*word) >> shift & need))
		return 0;
	if (!os_user_page_ok(host, write))
		return -EFAULT;
	atomic_or(word, (write ? PAGE_WRITABLE | PAGE_READABLE : PAGE_READABLE) * 1ull << shift);
	return 0;
}

static int find_page(struct kvm_vcpu *v, u32 as, gpa_t gpa, bool write, struct kvm_page *page)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;
	struct kvm_memslot *slot = find_slot(v, as, gfn);
	u64 rel;

	if (!slot) {
		*page = (struct kvm_page){ .host = NULL };
		return 0;
	}
	rel = gfn - slot->base_gfn;
	page->slot = slot;
	page->host = slot->host + rel * PAGE_SIZE;
	page->writable = !(slot->flags & KVM_MEM_READONLY);
	page->code = bit_is_set(slot->code, rel);
	return check_host_page(slot, rel, page->host, write && page->writable);
}

int kvm_find_page(struct kvm_vcpu *v, gpa_t gpa, bool write, struct kvm_page *page)
{
	return find_page(v, address_space(v), gpa, write, page);
}

/* ---- guest memory for the core ---- */

static int copy_guest(struct kvm_vcpu *v, u32 as, gpa_t gpa, void *to, const void *from, size_t n)
{
	bool entered = v->mode != OUTSIDE_GUEST;	/* our own thread's: nobody else writes it */
	struct kvm_page page;
	int r = 0;

	if (!entered)
		kvm_vcpu_enter(v);
	while (n) {
		u64 offset = gpa & ~PAGE_MASK;
		size_t part = min(n, (size_t)(PAGE_SIZE - offset));

		r = find_page(v, as, gpa, from, &page);
		if (!r && (!page.host || (from && !page.writable)))
			r = -EFAULT;
		if (r)
			break;
		if (from) {
			kvm_page_written(v, page.slot, gpa >> PAGE_SHIFT);
			memcpy(page.host + offset, from, part);
			from = (const u8 *)from + part;
		} else {
			memcpy(to, page.host + offset, part);
			to = (u8 *)to + part;
		}
		gpa += part;
		n -= part;
	}
	if (!entered)
		kvm_vcpu_leave(v);
	return r;
}

int kvm_read_guest(struct kvm_vcpu *v, gpa_t gpa, void *dst, size_t n)
{
	return copy_guest(v, 0, gpa, dst, NULL, n);
}

int kvm_write_guest(struct kvm_vcpu *v, gpa_t gpa, const void *src, size_t n)
{
	return copy_guest(v, 0, gpa, NULL, src, n);
}

int kvm_vcpu_read_guest(struct kvm_vcpu *v, gpa_t gpa, void *dst, size_t n)
{
	return copy_guest(v, address_space(v), gpa, dst, NULL, n);
}

int kvm_vcpu_write_guest(struct kvm_vcpu *v, gpa_t gpa, const void *src, size_t n)
{
	return copy_guest(v, address_space(v), gpa, NULL, src, n);
}

/* ---- pages that code was made from ---- */

static void stale_code(struct kvm_vcpu *v, const u8 *host)
{
	os_mutex_lock(&v->stale_lock);
	if (v->nr_stale < KVM_STALE_CODE_MAX)
		v->stale_code[v->nr_stale] = host;
	if (v->nr_stale <= KVM_STALE_CODE_MAX)
		v->nr_stale++;
	os_mutex_unlock(&v->stale_lock);
}

static void code_page(struct kvm_vcpu *v, const u8 *host)
{
	os_mutex_lock(&v->stale_lock);
	if (v->nr_code_pages < KVM_STALE_CODE_MAX)
		v->code_pages[v->nr_code_pages] = host;
	if (v->nr_code_pages <= KVM_STALE_CODE_MAX)
		v->nr_code_pages++;
	os_mutex_unlock(&v->stale_lock);
}

/* Page `rel` of another slot that is the host page `host`; false: it has none such. */
static bool alias_of(const struct kvm_memslot *other, const u8 *host, u64 *rel)
{
	*rel = (u64)(host - other->host) / PAGE_SIZE;
	return host >= other->host && *rel < other->npages;
}

static void set_code_bit(struct kvm_memslot *slot, u64 rel)
{
	atomic_or(&slot->code[rel / 64], BIT_ULL(rel % 64));
}

/* Makes all vCPUs forget the page's code, if there may be any. */
static void forget_code(struct kvm_vcpu *v, struct kvm_memslot *slot, u64 rel)
{
	const u8 *host = slot->host + rel * PAGE_SIZE;
	u64 bit = BIT_ULL(rel % 64);
	struct kvm_vcpu *other;
	u32 i;

	if (!(atomic_and(&slot->code[rel / 64], ~bit) & bit))
		return;
	/* A processor sees its own writes to its code at the next instruction, others' when it serialises. */
	v->kvm->ops->drop_code(v, host);
	kvm_for_each_vcpu(other, v->kvm, i) {
		if (other == v)
			continue;
		stale_code(other, host);
		kvm_make_request(other, KVM_REQ_CODE);
	}
}

void kvm_page_written(struct kvm_vcpu *v, struct kvm_memslot *slot, gfn_t gfn)
{
	u64 rel = gfn - slot->base_gfn, alias;
	const u8 *host = slot->host + rel * PAGE_SIZE;

	if (slot->flags & KVM_MEM_LOG_DIRTY_PAGES)
		kvm_mark_dirty(v, slot, rel);
	/* Who makes code from the page sets the bit and then waits until this vCPU has left guest code. */
	if (likely(!bit_is_set(slot->code, rel)))
		return;
	forget_code(v, slot, rel);
	for (u32 i = 0; READ_ONCE(slot->aliased) && i < v->slots->count; i++)
		if (alias_of(v->slots->slot[i], host, &alias))
			forget_code(v, v->slots->slot[i], alias);
}

void kvm_page_holds_code(struct kvm_vcpu *v, struct kvm_memslot *slot, gfn_t gfn)
{
	u64 rel = gfn - slot->base_gfn, alias;
	const u8 *host = slot->host + rel * PAGE_SIZE;
	struct kvm_vcpu *other;
	u32 n;

	/* While somebody still waits, the bit may be set and yet a vCPU hold a writable translation. */
	if (bit_is_set(slot->code, rel) && !__atomic_load_n(&v->kvm->code_waits, __ATOMIC_SEQ_CST))
		return;
	atomic_add(&v->kvm->code_waits, 1);
	__atomic_store_n(&v->kvm->holds_code, true, __ATOMIC_SEQ_CST);
	set_code_bit(slot, rel);
	/* Whoever writes the page by another of its addresses has to notice too. */
	for (u32 i = 0; READ_ONCE(slot->aliased) && i < v->slots->count; i++)
		if (alias_of(v->slots->slot[i], host, &alias))
			set_code_bit(v->slots->slot[i], alias);
	kvm_for_each_vcpu(other, v->kvm, n)
		code_page(other, host);
	kvm_make_own_request(v, KVM_REQ_CODE_PAGES);
	kvm_request_all_and_wait(v->kvm, KVM_REQ_CODE_PAGES, v);
	atomic_add(&v->kvm->code_waits, -1);
}

/* Was code made from any page of the range? With slots_lock held. */
static bool holds_code(struct kvm *kvm, gpa_t gpa, u64 length)
{
	gfn_t first = gpa >> PAGE_SHIFT, last = (gpa + length - 1) >> PAGE_SHIFT;

	for (u32 i = 0; i < kvm->slots->count; i++) {
		const struct kvm_memslot *slot = kvm->slots->slot[i];
		u64 from = max(first, slot->base_gfn), to = min(last, slot->base_gfn + slot->npages - 1);

		for (gfn_t gfn = from; gfn <= to; gfn++)
			if (bit_is_set(slot->code, gfn - slot->base_gfn))
				return true;
	}
	return false;
}

void kvm_memory_written(struct kvm *kvm, const struct anykvm_memory_written *written)
{
	bool code = false;

	WRITE_ONCE(kvm->told, true);
	/* Who makes code sets the page's bit first and reads the page then; here it was written, and now the bit is read. */
	smp_mb();
	os_mutex_lock(&kvm->slots_lock);
	for (u32 i = 0; i < min(written->count, (u32)ANYKVM_WRITTEN_RANGES) && !code; i++)
		code = written->range[i].length &&
		       holds_code(kvm, written->range[i].gpa, written->range[i].length);
	os_mutex_unlock(&kvm->slots_lock);
	if (code)
		kvm_note_outside(kvm);
}

/* ---- changes ---- */

static struct kvm_memslots *alloc_slots(u32 count)
{
	struct kvm_memslots *slots = os_alloc(sizeof(*slots) + count * sizeof(slots->slot[0]));

	if (slots)
		slots->count = count;
	return slots;
}

static void free_slot(struct kvm_memslot *slot)
{
	free_bitmaps(slot);
	os_free(slot);
}

#define BY_ID_SIZE	(KVM_ADDRESS_SPACES * KVM_MAX_SLOTS * sizeof(struct kvm_memslot *))

int kvm_memslots_init(struct kvm *kvm)
{
	kvm->slots = alloc_slots(0);
	kvm->slot_by_id = os_alloc_large(BY_ID_SIZE);
	return kvm->slots && kvm->slot_by_id ? 0 : -ENOMEM;
}

void kvm_memslots_destroy(struct kvm *kvm)
{
	for (u32 i = 0; kvm->slots && i < kvm->slots->count; i++)
		free_slot(kvm->slots->slot[i]);
	os_free(kvm->slots);
	os_free_large(kvm->slot_by_id, BY_ID_SIZE);
	kvm->slots = NULL;
	kvm->slot_by_id = NULL;
}

static struct kvm_memslot **by_id(struct kvm *kvm, u32 id)
{
	return &kvm->slot_by_id[(id >> 16) * KVM_MAX_SLOTS + (id & 0xffff)];
}

struct kvm_memslot *kvm_memslot_by_id(struct kvm *kvm, u32 id)
{
	return kvm_valid_slot_id(id) ? *by_id(kvm, id) : NULL;
}

static bool share_pages(const struct kvm_memslot *a, const struct kvm_memslot *b)
{
	u64 from = (u64)a->host, other = (u64)b->host;	/* the VMM's, any of them: no pointers yet */

	return from < other + b->npages * PAGE_SIZE && other < from + a->npages * PAGE_SIZE;
}

/* vCPUs that still run with the old array may see the mark: it costs them a look around, no more. */
static void mark_aliases(struct kvm_memslots *slots, struct kvm_memslot *new)
{
	for (u32 i = 0; i < slots->count; i++) {
		struct kvm_memslot *s = slots->slot[i];

		if (s == new || !share_pages(s, new))
			continue;
		WRITE_ONCE(s->aliased, true);
		new->aliased = true;
	}
}

/* Marks in `to` what holds code by `from`'s marks. True: there was something to mark. */
static bool copy_code_bits(struct kvm_memslot *to, const struct kvm_memslot *from)
{
	bool any = false;
	u64 rel;

	for (u64 w = 0; w < (from->npages + 63) / 64; w++) {
		u64 bits = __atomic_load_n(&from->code[w], __ATOMIC_SEQ_CST);

		for (; bits; bits &= bits - 1) {
			u64 page = w * 64 + __builtin_ctzll(bits);

			if (!alias_of(to, from->host + page * PAGE_SIZE, &rel) || bit_is_set(to->code, rel))
				continue;
			set_code_bit(to, rel);
			any = true;
		}
	}
	return any;
}

/*
 * A page of code that has one more address now has to be known as such by that one too. All code has just been dropped,
 * but marks stay, and whoever finds one does not ask again: what was made or written since is dropped once more.
 */
static void share_code_bits(struct kvm *kvm, struct kvm_memslots *slots, struct kvm_memslot *new)
{
	bool any = false;

	for (u32 i = 0; i < slots->count; i++) {
		struct kvm_memslot *s = slots->slot[i];

		if (s == new || !share_pages(s, new))
			continue;
		any |= copy_code_bits(new, s);
		any |= copy_code_bits(s, new);
	}
	if (any)
		kvm_request_all_and_wait(kvm, KVM_REQ_SLOTS, NULL);
}

static bool comes_before(const struct kvm_memslot *a, const struct kvm_memslot *b)
{
	return a->id >> 16 != b->id >> 16 ? a->id >> 16 < b->id >> 16 : a->base_gfn < b->base_gfn;
}

/*
 * Replaces slot `old` (NULL: none) by `new` (NULL: none): a new array, published, and the old one freed
 * when no vCPU uses it any more. The slots are the caller's to free.
 */
static int swap_slots(struct kvm *kvm, struct kvm_memslot *old, struct kvm_memslot *new)
{
	u32 id = new ? new->id : old->id;
	struct kvm_memslots *from = kvm->slots, *to;
	bool placed = !new;
	u32 n = 0;

	to = alloc_slots(from->count - !!old + !!new);
	if (!to)
		return -ENOMEM;
	to->generation = from->generation + 1;
	for (u32 i = 0; i < from->count; i++) {
		if (!placed && comes_before(new, from->slot[i])) {
			to->slot[n++] = new;
			placed = true;
		}
		if (from->slot[i] != old)
			to->slot[n++] = from->slot[i];
	}
	if (!placed)
		to->slot[n++] = new;
	for (u32 as = 0; as <= KVM_ADDRESS_SPACES; as++)
		to->start[as] = from->start[as] - (old && old->id >> 16 < as) + (new && new->id >> 16 < as);
	if (new)
		mark_aliases(to, new);
	*by_id(kvm, id) = new;
	__atomic_store_n(&kvm->slots, to, __ATOMIC_SEQ_CST);
	kvm_request_all_and_wait(kvm, KVM_REQ_SLOTS, NULL);
	os_free(from);
	if (new && new->aliased && __atomic_load_n(&kvm->holds_code, __ATOMIC_SEQ_CST))
		share_code_bits(kvm, to, new);
	return 0;
}

/* The slots are in order and apart: those that may overlap are next to where the new one goes. */
static bool overlaps(const struct kvm_memslots *slots, u32 as, const struct kvm_memslot *except,
		     gfn_t base, u64 npages)
{
	for (u32 i = search(slots, as, base); i < slots->start[as + 1]; i++) {
		const struct kvm_memslot *s = slots->slot[i];

		if (s->base_gfn >= base + npages)
			break;
		if (s != except && base < s->base_gfn + s->npages)
			return true;
	}
	return false;
}

static int check_region(const struct kvm_userspace_memory_region *mem)
{
	if (mem->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if (!kvm_valid_slot_id(mem->slot))
		return -EINVAL;
	if ((mem->memory_size | mem->guest_phys_addr | mem->userspace_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (mem->userspace_addr > USER_ADDR_END ||
	    mem->memory_size > USER_ADDR_END - mem->userspace_addr)
		return -EINVAL;
	if (mem->guest_phys_addr + mem->memory_size < mem->guest_phys_addr)
		return -EINVAL;
	if (mem->memory_size >> PAGE_SHIFT > KVM_MAX_SLOT_PAGES)
		return -EINVAL;
	return 0;
}

/* The dirty bitmap that slot `s` needs with its flags. */
static int start_dirty_log(struct kvm *kvm, struct kvm_memslot *s)
{
	s->dirty = bitmap_alloc(s->npages);
	if (!s->dirty)
		return -ENOMEM;
	if (!(kvm->manual_dirty_protect & KVM_DIRTY_LOG_INITIALLY_SET))
		return 0;
	/* All pages count as written, once; bits beyond the end stay clear. */
	memset(s->dirty, 0xff, s->npages / 64 * 8);
	if (s->npages % 64)
		s->dirty[s->npages / 64] = BIT_ULL(s->npages % 64) - 1;
	return 0;
}

static int create_slot(struct kvm *kvm, struct kvm_memslot *new)
{
	int r;

	new->code = bitmap_alloc(new->npages);
	new->checked = bitmap_alloc(2 * new->npages);
	if (!new->code || !new->checked)
		return -ENOMEM;
	if (new->flags & KVM_MEM_LOG_DIRTY_PAGES) {
		r = start_dirty_log(kvm, new);
		if (r)
			return r;
	}
	return swap_slots(kvm, NULL, new);
}

static int delete_slot(struct kvm *kvm, struct kvm_memslot *old)
{
	int r = swap_slots(kvm, old, NULL);

	if (!r)
		free_slot(old);
	return r;
}

/* A move or a change of flags: the slot keeps its bitmaps, but for the dirty one. */
static int change_slot(struct kvm *kvm, struct kvm_memslot *old, struct kvm_memslot *new)
{
	bool logged = old->flags & KVM_MEM_LOG_DIRTY_PAGES;
	bool logs = new->flags & KVM_MEM_LOG_DIRTY_PAGES;
	int r;

	new->aliased = old->aliased;
	new->code = old->code;
	new->checked = old->checked;
	new->dirty = logs ? old->dirty : NULL;
	if (logs && !logged) {
		r = start_dirty_log(kvm, new);
		if (r)
			goto out;
	}
	r = swap_slots(kvm, old, new);
	if (!r) {
		/* What the new one has taken over is no longer the old one's. */
		old->code = old->checked = NULL;
		if (logs)
			old->dirty = NULL;
		free_slot(old);
		return 0;
	}
	if (logged)
		new->dirty = NULL;
out:
	new->code = new->checked = NULL;
	return r;
}

int kvm_set_memory_region(struct kvm *kvm, const struct kvm_userspace_memory_region *mem)
{
	const struct kvm_memslot new = {
		.base_gfn = mem->guest_phys_addr >> PAGE_SHIFT,
		.npages = mem->memory_size >> PAGE_SHIFT,
		.host = (u8 *)mem->userspace_addr,
		.id = mem->slot,
		.flags = mem->flags,
	};
	struct kvm_memslot *old, *slot;
	int r = check_region(mem);

	if (r)
		return r;
	os_mutex_lock(&kvm->slots_lock);
	old = kvm_memslot_by_id(kvm, mem->slot);
	if (!new.npages) {
		r = old ? delete_slot(kvm, old) : -EINVAL;
		goto out;
	}
	if (old) {
		r = -EINVAL;
		if (old->host != new.host || old->npages != new.npages ||
		    ((old->flags ^ new.flags) & KVM_MEM_READONLY))
			goto out;
		r = 0;
		if (old->base_gfn == new.base_gfn && old->flags == new.flags)
			goto out;
	}
	if (!old || old->base_gfn != new.base_gfn) {
		r = -EEXIST;
		if (overlaps(kvm->slots, new.id >> 16, old, new.base_gfn, new.npages))
			goto out;
		r = -EINVAL;
		if (new.base_gfn + new.npages - 1 > MAX_GFN)
			goto out;
	}
	r = -ENOMEM;
	slot = os_alloc(sizeof(*slot));
	if (!slot)
		goto out;
	*slot = new;
	r = old ? change_slot(kvm, old, slot) : create_slot(kvm, slot);
	if (r)
		free_slot(slot);
out:
	os_mutex_unlock(&kvm->slots_lock);
	return r;
}
