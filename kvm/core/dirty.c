/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages the guest wrote: the bitmap (KVM_GET_DIRTY_LOG, KVM_CLEAR_DIRTY_LOG) and the rings.
 *
 * A page is noted when a vCPU makes it writable in its TLB, before it is written. Whoever clears a
 * note afterwards makes all vCPUs drop their writable translations, in this order: a page that becomes writable
 * in between keeps its new note, and what was written through an old translation is in memory when the
 * VMM is told, since the vCPUs have left guest code since.
 *
 * With rings, the bitmap is there too, and says what is in some ring and not yet taken back: so a page
 * gets one entry, however often it leaves the TLBs.
 */
#include "kvm/core/kvm.h"

#define CHUNK_WORDS	512	/* of a bitmap, at a time */

/* ---- noting ---- */

static u32 ring_entries(const struct kvm_vcpu *v)
{
	return v->kvm->dirty_ring_size / sizeof(struct kvm_dirty_gfn);
}

bool kvm_dirty_ring_full(struct kvm_vcpu *v)
{
	return v->dirty_ring && v->dirty_index - READ_ONCE(v->dirty_reset_index) >=
				ring_entries(v) - KVM_DIRTY_RING_RESERVED;
}

static void push(struct kvm_vcpu *v, const struct kvm_memslot *slot, u64 rel)
{
	struct kvm_dirty_gfn *e = &v->dirty_ring[v->dirty_index & (ring_entries(v) - 1)];

	if (v->dirty_index - READ_ONCE(v->dirty_reset_index) >= ring_entries(v)) {
		/* The reserve is gone: losing the page would corrupt what the VMM copies. */
		os_log("dirty ring of vCPU %u overflows: the VM stops", v->id);
		WRITE_ONCE(v->kvm->dead, true);
		kvm_make_own_request(v, KVM_REQ_VM_DEAD);
		return;
	}
	e->slot = slot->id;
	e->offset = rel;
	store_release(&e->flags, KVM_DIRTY_GFN_F_DIRTY);
	WRITE_ONCE(v->dirty_index, v->dirty_index + 1);
	if (kvm_dirty_ring_full(v))
		kvm_make_own_request(v, KVM_REQ_DIRTY_RING_FULL);
}

void kvm_mark_dirty(struct kvm_vcpu *v, struct kvm_memslot *slot, u64 rel)
{
	u64 bit = BIT_ULL(rel % 64);

	if (atomic_or(&slot->dirty[rel / 64], bit) & bit)
		return;
	if (v->dirty_ring)
		push(v, slot, rel);
}

/* ---- the bitmap ---- */

static struct kvm_memslot *logged_slot(struct kvm *kvm, u32 id, int *error)
{
	struct kvm_memslot *slot;

	*error = -ENXIO;
	if (kvm->dirty_ring_size)
		return NULL;
	*error = -EINVAL;
	if (!kvm_valid_slot_id(id))
		return NULL;
	*error = -ENOENT;
	slot = kvm_memslot_by_id(kvm, id);
	return slot && slot->dirty ? slot : NULL;
}

int kvm_get_dirty_log(struct kvm *kvm, const struct kvm_dirty_log *log)
{
	u64 words, to = (u64)log->dirty_bitmap, any = 0, *chunk;
	struct kvm_memslot *slot;
	int r;

	chunk = os_alloc(CHUNK_WORDS * sizeof(u64));
	if (!chunk)
		return -ENOMEM;
	os_mutex_lock(&kvm->slots_lock);
	slot = logged_slot(kvm, log->slot, &r);
	if (!slot)
		goto out;
	r = 0;
	words = (slot->npages + 63) / 64;
	for (u64 at = 0; at < words && !r; at += CHUNK_WORDS) {
		u64 n = min(words - at, (u64)CHUNK_WORDS);

		for (u64 i = 0; i < n; i++) {
			u64 *word = &slot->dirty[at + i];

			chunk[i] = READ_ONCE(*word);
			if (!chunk[i] || kvm->manual_dirty_protect)
				continue;
			chunk[i] = atomic_xchg(word, 0);
			any |= chunk[i];
		}
		r = os_copy_to_user(to + at * sizeof(u64), chunk, n * sizeof(u64));
		/* Not told: still to be told. */
		for (u64 i = 0; r && !kvm->manual_dirty_protect && i < n; i++)
			atomic_or(&slot->dirty[at + i], chunk[i]);
	}
	if (any)
		kvm_request_all_and_wait(kvm, KVM_REQ_TLB_WRITES, NULL);
out:
	os_mutex_unlock(&kvm->slots_lock);
	os_free(chunk);
	return r;
}

int kvm_clear_dirty_log(struct kvm *kvm, const struct kvm_clear_dirty_log *log)
{
	u64 words, first, from = (u64)log->dirty_bitmap, any = 0, *chunk;
	struct kvm_memslot *slot;
	int r;

	chunk = os_alloc(CHUNK_WORDS * sizeof(u64));
	if (!chunk)
		return -ENOMEM;
	os_mutex_lock(&kvm->slots_lock);
	slot = logged_slot(kvm, log->slot, &r);
	if (!slot)
		goto out;
	r = -EINVAL;
	if (log->first_page & 63 || log->first_page > slot->npages ||
	    log->num_pages > slot->npages - log->first_page ||
	    (log->num_pages < slot->npages - log->first_page && log->num_pages & 63))
		goto out;
	r = 0;
	words = (log->num_pages + 63) / 64;
	first = log->first_page / 64;
	for (u64 at = 0; at < words; at += CHUNK_WORDS) {
		u64 n = min(words - at, (u64)CHUNK_WORDS);

		r = os_copy_from_user(chunk, from + at * sizeof(u64), n * sizeof(u64));
		if (r)
			break;
		for (u64 i = 0; i < n; i++)
			if (chunk[i])
				any |= atomic_and(&slot->dirty[first + at + i], ~chunk[i]) & chunk[i];
	}
	if (any)
		kvm_request_all_and_wait(kvm, KVM_REQ_TLB_WRITES, NULL);
out:
	os_mutex_unlock(&kvm->slots_lock);
	os_free(chunk);
	return r;
}

/* ---- the rings ---- */

/* The ring is the VMM's memory: what it says of slot and page is checked. */
static void take_back(struct kvm *kvm, u32 id, u64 rel)
{
	struct kvm_memslot *slot = kvm_memslot_by_id(kvm, id);

	if (slot && slot->dirty && rel < slot->npages)
		atomic_and(&slot->dirty[rel / 64], ~BIT_ULL(rel % 64));
}

static u32 reset_ring(struct kvm_vcpu *v)
{
	u32 n = 0, size = ring_entries(v);

	while (n < size) {
		struct kvm_dirty_gfn *e = &v->dirty_ring[v->dirty_reset_index & (size - 1)];

		if (!(load_acquire(&e->flags) & KVM_DIRTY_GFN_F_RESET))
			break;
		take_back(v->kvm, READ_ONCE(e->slot), READ_ONCE(e->offset));
		store_release(&e->flags, 0);
		WRITE_ONCE(v->dirty_reset_index, v->dirty_reset_index + 1);
		n++;
	}
	return n;
}

long kvm_reset_dirty_rings(struct kvm *kvm)
{
	struct kvm_vcpu *v;
	long n = 0;
	u32 i;

	if (!kvm->dirty_ring_size)
		return -EINVAL;
	os_mutex_lock(&kvm->slots_lock);
	kvm_for_each_vcpu(v, kvm, i)
		n += reset_ring(v);
	if (n)
		kvm_request_all_and_wait(kvm, KVM_REQ_TLB_WRITES, NULL);
	os_mutex_unlock(&kvm->slots_lock);
	return n;
}
