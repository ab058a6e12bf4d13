/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU: its making, and how other threads get its attention.
 *
 * A vCPU's thread is IN_GUEST from kvm_vcpu_enter to kvm_vcpu_leave. Meanwhile it uses the slot array and
 * the buses as it found them, and translations made from them, without a lock. Whoever changes
 * something that those rest on publishes the change, sets a request on each vCPU and waits until each
 * vCPU that was IN_GUEST has left; a vCPU enters by saying so first and looking at requests and slots then.
 * One of the two always sees the other: docs/locking.md has the argument.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/events.h"

size_t kvm_vcpu_run_size(const struct kvm *kvm)
{
	size_t pages = KVM_VCPU_MMAP_PAGES;

	if (kvm->dirty_ring_size)
		pages = KVM_DIRTY_RING_OFFSET + kvm->dirty_ring_size / PAGE_SIZE;
	return pages * PAGE_SIZE;
}

static int init_vcpu(struct kvm_vcpu *v)
{
	struct kvm *kvm = v->kvm;
	int r;

	r = os_event_init(&v->wake);
	if (r)
		return r;
	r = kvm_x86_vcpu_init(v);
	if (r)
		goto out_event;
	r = kvm->ops->vcpu_create(v);
	if (!r)
		return 0;
	kvm_x86_vcpu_free(v);
out_event:
	os_event_destroy(&v->wake);
	return r;
}

int kvm_create_vcpu(struct kvm *kvm, u32 id, void *run, size_t run_size, struct kvm_vcpu **out)
{
	struct kvm_vcpu *v;
	int r;

	v = os_alloc(sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->kvm = kvm;
	v->id = id;
	v->run = run;
	v->pio_data = (u8 *)run + KVM_PIO_PAGE_OFFSET * PAGE_SIZE;
	v->coalesced = (void *)((u8 *)run + KVM_COALESCED_MMIO_PAGE_OFFSET * PAGE_SIZE);
	v->run_size = run_size;
	kvm_stats_init(&v->stats);

	os_mutex_lock(&kvm->lock);
	r = -EINVAL;
	if (id >= kvm->max_vcpu_id || kvm->nr_vcpus >= KVM_MAX_VCPUS ||
	    run_size < kvm_vcpu_run_size(kvm))
		goto out;
	if (kvm->dirty_ring_size)
		v->dirty_ring = (void *)((u8 *)run + KVM_DIRTY_RING_OFFSET * PAGE_SIZE);
	r = -EEXIST;
	if (kvm_vcpu_by_id(kvm, id))
		goto out;
	v->index = kvm->nr_vcpus;
	r = init_vcpu(v);
	if (r)
		goto out;
	kvm_get_vm(kvm);
	kvm->vcpus[v->index] = v;
	store_release(&kvm->nr_vcpus, v->index + 1);
	*out = v;
out:
	os_mutex_unlock(&kvm->lock);
	if (r)
		os_free(v);
	return r;
}

void kvm_put_vcpu(struct kvm_vcpu *v)
{
	kvm_put_vm(v->kvm);
}

void kvm_free_vcpu(struct kvm_vcpu *v)
{
	v->kvm->ops->vcpu_destroy(v);
	kvm_x86_vcpu_free(v);
	os_event_destroy(&v->wake);
	kvm_stats_destroy(&v->stats);
	os_fd_unmap(v->run, v->run_size);
	os_free(v);
}

struct kvm_vcpu *kvm_vcpu_by_id(struct kvm *kvm, u32 id)
{
	u32 n = load_acquire(&kvm->nr_vcpus);
	struct kvm_vcpu *v;
	u32 i;

	/* Most VMMs number them in order. */
	if (id < n && kvm->vcpus[id]->id == id)
		return kvm->vcpus[id];
	kvm_for_each_vcpu(v, kvm, i)
		if (v->id == id)
			return v;
	return NULL;
}

/* ---- entering and leaving ---- */

void kvm_vcpu_reload_slots(struct kvm_vcpu *v)
{
	v->slots = __atomic_load_n(&v->kvm->slots, __ATOMIC_SEQ_CST);
}

void kvm_vcpu_enter(struct kvm_vcpu *v)
{
	/* A kick from before is answered by the look at requests that follows; one from now on stays. */
	atomic_xchg(&v->cpu.attention, 0);
	/* The store comes before all loads of what others publish: slots, buses, requests. */
	__atomic_store_n(&v->mode, IN_GUEST, __ATOMIC_SEQ_CST);
	kvm_vcpu_reload_slots(v);
}

static void tell_waiters(struct kvm_vcpu *v)
{
	atomic_add(&v->mode_word, 1);
	if (__atomic_load_n(&v->mode_waiters, __ATOMIC_SEQ_CST))
		os_word_wake(&v->mode_word);
}

void kvm_vcpu_leave(struct kvm_vcpu *v)
{
	v->slots = NULL;
	atomic_add(&v->leaves, 1);
	__atomic_store_n(&v->mode, OUTSIDE_GUEST, __ATOMIC_SEQ_CST);
	tell_waiters(v);
}

/* ---- requests ---- */

void kvm_vcpu_kick(struct kvm_vcpu *v)
{
	atomic_or(&v->cpu.attention, X86_ATTN_KICK);
	os_event_set(&v->wake);
}

void kvm_make_request(struct kvm_vcpu *v, enum kvm_request req)
{
	atomic_or(&v->requests, BIT(req));
	kvm_vcpu_kick(v);
}

void kvm_make_own_request(struct kvm_vcpu *v, enum kvm_request req)
{
	atomic_or(&v->requests, BIT(req));
	atomic_or(&v->cpu.attention, X86_ATTN_KICK);
}

/* Until v, seen in guest code, has left it; with `pointers`, until it also holds none. */
static void wait_left(struct kvm_vcpu *v, bool pointers)
{
	u32 leaves = __atomic_load_n(&v->leaves, __ATOMIC_SEQ_CST), word, mode;

	atomic_add(&v->mode_waiters, 1);
	for (;;) {
		word = __atomic_load_n(&v->mode_word, __ATOMIC_SEQ_CST);
		mode = __atomic_load_n(&v->mode, __ATOMIC_SEQ_CST);
		if (mode == OUTSIDE_GUEST || (mode == WAITING && !pointers) ||
		    __atomic_load_n(&v->leaves, __ATOMIC_SEQ_CST) != leaves)
			break;
		/* It may have entered after the request, served it and dropped the kick: another one. */
		atomic_or(&v->cpu.attention, X86_ATTN_KICK);
		os_word_wait(&v->mode_word, word);
	}
	atomic_add(&v->mode_waiters, -1);
}

void kvm_request_some_and_wait(struct kvm *kvm, enum kvm_request req, struct kvm_vcpu *except,
			       bool (*wanted)(void *arg, struct kvm_vcpu *v), void *arg)
{
	struct kvm_vcpu *v;
	u32 i;

	if (except && load_acquire(&kvm->nr_vcpus) == 1)
		return;
	atomic_add(&load_acquire(&kvm->stats.data)[KVM_STAT_VM_REMOTE_TLB_FLUSH], 1);
	if (except) {
		__atomic_store_n(&except->mode, WAITING, __ATOMIC_SEQ_CST);
		tell_waiters(except);
	}
	kvm_for_each_vcpu(v, kvm, i)
		if (v != except && wanted(arg, v))
			kvm_make_request(v, req);
	kvm_for_each_vcpu(v, kvm, i)
		if (v != except && wanted(arg, v))
			wait_left(v, req == KVM_REQ_SLOTS);
	if (except)
		__atomic_store_n(&except->mode, IN_GUEST, __ATOMIC_SEQ_CST);
}

static bool everybody(void *arg, struct kvm_vcpu *v)
{
	return true;
}

void kvm_request_all_and_wait(struct kvm *kvm, enum kvm_request req, struct kvm_vcpu *except)
{
	kvm_request_some_and_wait(kvm, req, except, everybody, NULL);
}
