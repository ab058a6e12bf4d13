/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory slots, dirty pages and code pages: what KVM_SET_USER_MEMORY_REGION and its kin promise. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "tests/unit/fake_x86.h"

#define PAGES	300

static struct kvm *kvm;
static struct kvm_vcpu *v;
static u8 *mem;

static int setup(void **state)
{
	fake_reset();
	kvm = fake_vm();
	v = fake_vcpu(kvm, 0);
	mem = mmap(NULL, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return mem == MAP_FAILED;
}

static int teardown(void **state)
{
	munmap(mem, PAGES * PAGE_SIZE);
	kvm_put_vcpu(v);
	kvm_put_vm(kvm);
	return fake.vms || fake.vcpus;
}

static int set_slot(u32 slot, u32 flags, u64 gpa, u64 pages, void *host)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa,
		.memory_size = pages * PAGE_SIZE, .userspace_addr = (u64)host };

	return kvm_set_memory_region(kvm, &r);
}

static struct kvm_page find(gpa_t gpa, bool write, int expected)
{
	struct kvm_page page;
	int r;

	kvm_vcpu_enter(v);
	r = kvm_find_page(v, gpa, write, &page);
	kvm_vcpu_leave(v);
	assert_int_equal(r, expected);
	return page;
}

static u32 requests(void)
{
	return atomic_xchg(&v->requests, 0);
}

/* ---- the array ---- */

static void test_checks(void **state)
{
	struct kvm_userspace_memory_region r = { 0 };

	assert_int_equal(set_slot(0, 0, 0, 0, NULL), -EINVAL);		/* nothing to delete */
	assert_int_equal(set_slot(0, 1u << 5, 0, 1, mem), -EINVAL);
	assert_int_equal(set_slot(KVM_MAX_SLOTS, 0, 0, 1, mem), -EINVAL);
	assert_int_equal(set_slot(1 << 16 | KVM_MAX_SLOTS, 0, 0, 1, mem), -EINVAL);
	assert_int_equal(set_slot(2 << 16, 0, 0, 1, mem), -EINVAL);	/* a third address space */
	assert_int_equal(set_slot(~0u, 0, 0, 1, mem), -EINVAL);
	assert_int_equal(set_slot(0, 0, 100, 1, mem), -EINVAL);
	assert_int_equal(set_slot(0, 0, 0, 1, mem + 1), -EINVAL);
	assert_int_equal(set_slot(0, 0, ~0ull & PAGE_MASK, 2, mem), -EINVAL);
	assert_int_equal(set_slot(0, 0, 1ull << 52, 1, mem), -EINVAL);
	assert_int_equal(set_slot(0, 0, (1ull << 52) - PAGE_SIZE, 2, mem), -EINVAL);
	assert_int_equal(set_slot(0, 0, 0, 1, (void *)(1ull << 47)), -EINVAL);
	assert_int_equal(set_slot(0, 0, 0, 1, (void *)0xffff800000000000ull), -EINVAL);
	assert_int_equal(set_slot(0, 0, 0, 1ull << 31, mem), -EINVAL);
	r.memory_size = PAGE_SIZE + 1;
	r.userspace_addr = (u64)mem;
	assert_int_equal(kvm_set_memory_region(kvm, &r), -EINVAL);
	assert_int_equal(kvm->slots->count, 0);
	assert_int_equal(set_slot(KVM_MAX_SLOTS - 1, 0, (1ull << 52) - PAGE_SIZE, 1, mem), 0);
}

static void test_add_and_delete(void **state)
{
	struct kvm_page page;

	assert_int_equal(set_slot(5, 0, 0x10000, 4, mem), 0);
	assert_int_equal(set_slot(2, 0, 0x4000, 2, mem + 10 * PAGE_SIZE), 0);
	assert_int_equal(set_slot(9, KVM_MEM_READONLY, 0x20000, 1, mem + 20 * PAGE_SIZE), 0);
	assert_int_equal(requests(), BIT(KVM_REQ_SLOTS));
	/* Sorted, whatever the order in which they came. */
	assert_int_equal(kvm->slots->count, 3);
	assert_int_equal(kvm->slots->slot[0]->id, 2);
	assert_int_equal(kvm->slots->slot[2]->id, 9);

	page = find(0x13fff, true, 0);
	assert_ptr_equal(page.host, mem + 3 * PAGE_SIZE);
	assert_true(page.writable);
	assert_null(find(0x14000, false, 0).host);
	assert_null(find(0, false, 0).host);
	assert_null(find(0x6000, false, 0).host);
	assert_null(find(~0ull, true, 0).host);
	assert_ptr_equal(find(0x4000, false, 0).host, mem + 10 * PAGE_SIZE);
	page = find(0x20000, true, 0);		/* a write to it is the VMM's, not a fault */
	assert_ptr_equal(page.host, mem + 20 * PAGE_SIZE);
	assert_false(page.writable);

	/* Overlaps, at each end and around; neighbours are none. */
	assert_int_equal(set_slot(7, 0, 0x12000, 1, mem), -EEXIST);
	assert_int_equal(set_slot(7, 0, 0xf000, 2, mem), -EEXIST);
	assert_int_equal(set_slot(7, 0, 0x13000, 2, mem), -EEXIST);
	assert_int_equal(set_slot(7, 0, 0, 0x100, mem), -EEXIST);
	assert_int_equal(set_slot(7, 0, 0x14000, 1, mem), 0);
	assert_int_equal(set_slot(8, 0, 0xf000, 1, mem), 0);

	assert_int_equal(set_slot(5, 0, 0, 0, NULL), 0);
	assert_null(find(0x10000, false, 0).host);
	assert_int_equal(set_slot(5, 0, 0, 0, NULL), -EINVAL);
	assert_int_equal(kvm->slots->count, 4);
}

static void test_modify(void **state)
{
	u64 generation;

	assert_int_equal(set_slot(0, 0, 0x1000, 4, mem), 0);
	assert_int_equal(set_slot(1, 0, 0x8000, 4, mem + 4 * PAGE_SIZE), 0);
	generation = kvm->slots->generation;
	assert_int_equal(set_slot(0, 0, 0x1000, 4, mem), 0);
	assert_int_equal(kvm->slots->generation, generation);	/* nothing changed */
	assert_int_equal(set_slot(0, 0, 0x1000, 5, mem), -EINVAL);
	assert_int_equal(set_slot(0, 0, 0x1000, 4, mem + PAGE_SIZE), -EINVAL);
	assert_int_equal(set_slot(0, KVM_MEM_READONLY, 0x1000, 4, mem), -EINVAL);
	/* A move: also by less than its own size; not onto another. */
	assert_int_equal(set_slot(0, 0, 0x7000, 4, mem), -EEXIST);
	assert_int_equal(set_slot(0, 0, 0x2000, 4, mem), 0);
	assert_null(find(0x1000, false, 0).host);
	assert_ptr_equal(find(0x2000, false, 0).host, mem);
	assert_int_equal(set_slot(0, 0, 0x100000, 4, mem), 0);
	assert_ptr_equal(find(0x100000, false, 0).host, mem);
	assert_ptr_equal(find(0x8000, false, 0).host, mem + 4 * PAGE_SIZE);
}

static void test_many(void **state)
{
	for (u32 i = 0; i < PAGES; i++)
		assert_int_equal(set_slot(i, 0, ((i * 7919ull) % PAGES) * 2 * PAGE_SIZE, 1,
					  mem + i * PAGE_SIZE), 0);
	for (u32 i = 0; i < PAGES; i++) {
		gpa_t gpa = ((i * 7919ull) % PAGES) * 2 * PAGE_SIZE;

		assert_ptr_equal(find(gpa + 5, true, 0).host, mem + i * PAGE_SIZE);
		assert_null(find(gpa + PAGE_SIZE, true, 0).host);
	}
}

/* The VMM's pages may not be there, or not be writable. */
static void test_host_pages(void **state)
{
	assert_int_equal(set_slot(0, 0, 0, 8, mem), 0);
	munmap(mem + PAGE_SIZE, PAGE_SIZE);
	mprotect(mem + 2 * PAGE_SIZE, PAGE_SIZE, PROT_READ);
	find(0, true, 0);
	find(0x1000, false, -EFAULT);
	find(0x1000, true, -EFAULT);
	find(0x2000, false, 0);
	find(0x2000, true, -EFAULT);
	find(0x2000, false, 0);
	assert_true(mmap(mem + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem + PAGE_SIZE);
	find(0x1000, true, 0);		/* asked anew */
}

static void test_copies(void **state)
{
	u8 out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = i * 31 >> 3;
	assert_int_equal(set_slot(0, 0, 0x1000, 2, mem), 0);
	assert_int_equal(set_slot(1, 0, 0x3000, 2, mem + 20 * PAGE_SIZE), 0);
	assert_int_equal(set_slot(2, KVM_MEM_READONLY, 0x5000, 1, mem + 30 * PAGE_SIZE), 0);
	assert_int_equal(kvm_write_guest(v, 0x1800, in, sizeof(in)), 0);
	assert_memory_equal(mem + 0x800, in, 0x1800);
	assert_memory_equal(mem + 20 * PAGE_SIZE, in + 0x1800, 0x1800);
	assert_int_equal(kvm_read_guest(v, 0x1800, out, sizeof(out)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(kvm_write_guest(v, 0x4ff8, in, 16), -EFAULT);	/* into the read-only one */
	assert_int_equal(kvm_read_guest(v, 0x4ff8, out, 16), 0);
	assert_int_equal(kvm_read_guest(v, 0x5ff8, out, 16), -EFAULT);
	assert_int_equal(kvm_read_guest(v, 0, out, 1), -EFAULT);
	assert_int_equal(v->mode, OUTSIDE_GUEST);
}

/* ---- while vCPUs run ---- */

static void touch(struct kvm_vcpu *vcpu, void *arg)
{
	struct kvm_page page;

	/* The slot's memory is there as long as the slot is found. */
	if (!kvm_find_page(vcpu, 0x10000, true, &page) && page.host) {
		page.host[vcpu->id] += 1;
		kvm_page_written(vcpu, page.slot, 0x10);
	}
	if (!kvm_find_page(vcpu, 0x20000, false, &page) && page.slot)
		kvm_page_holds_code(vcpu, page.slot, 0x20);
}

static void test_changes_while_running(void **state)
{
	struct kvm_vcpu *other = fake_vcpu(kvm, 1);
	struct fake_runner *a, *b;

	assert_int_equal(set_slot(3, 0, 0x20000, 1, mem), 0);
	a = fake_run(v, touch, NULL);
	b = fake_run(other, touch, NULL);
	for (int i = 0; i < 300; i++) {
		void *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		assert_int_equal(set_slot(1, i & 1 ? KVM_MEM_LOG_DIRTY_PAGES : 0, 0x10000, 1, p), 0);
		assert_int_equal(set_slot(1, KVM_MEM_LOG_DIRTY_PAGES, 0x10000, 1, p), 0);
		assert_int_equal(set_slot(1, 0, 0x10000, 1, p), 0);
		assert_int_equal(set_slot(1, 0, 0, 0, NULL), 0);
		/* Nobody writes to it any more: a vCPU that did would die of it. */
		munmap(p, PAGE_SIZE);
	}
	fake_run_stop(a);
	fake_run_stop(b);
	kvm_put_vcpu(other);
}

/* ---- dirty pages ---- */

static void dirty(gpa_t gpa)
{
	struct kvm_page page;

	kvm_vcpu_enter(v);
	assert_int_equal(kvm_find_page(v, gpa, true, &page), 0);
	kvm_page_written(v, page.slot, gpa >> PAGE_SHIFT);
	kvm_vcpu_leave(v);
}

static int get_log(u32 slot, u64 *bitmap)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

	return kvm_get_dirty_log(kvm, &log);
}

static void test_dirty_log(void **state)
{
	u64 map[5];

	assert_int_equal(get_log(0, map), -ENOENT);
	assert_int_equal(get_log(KVM_MAX_SLOTS, map), -EINVAL);
	assert_int_equal(set_slot(0, 0, 0x100000, PAGES, mem), 0);
	assert_int_equal(get_log(0, map), -ENOENT);
	dirty(0x100000);
	assert_int_equal(set_slot(0, KVM_MEM_LOG_DIRTY_PAGES, 0x100000, PAGES, mem), 0);
	memset(map, 0xff, sizeof(map));
	assert_int_equal(get_log(0, map), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(map[i], 0);

	dirty(0x100000);
	dirty(0x100000 + 65 * PAGE_SIZE);
	dirty(0x100000 + 299 * PAGE_SIZE);
	assert_int_equal(kvm_write_guest(v, 0x100000 + 130 * PAGE_SIZE - 1, "ab", 2), 0);
	requests();
	assert_int_equal(get_log(0, map), 0);
	assert_int_equal(map[0], 1);
	assert_int_equal(map[1], 2);
	assert_int_equal(map[2], 6);
	assert_int_equal(map[4], 1ull << 43);
	assert_int_equal(requests(), BIT(KVM_REQ_TLB_WRITES));
	assert_int_equal(get_log(0, map), 0);
	assert_int_equal(map[0] | map[1] | map[2] | map[3] | map[4], 0);
	assert_int_equal(requests(), 0);

	/* What could not be told is told the next time. */
	dirty(0x101000);
	assert_int_equal(get_log(0, (u64 *)8), -EFAULT);
	assert_int_equal(get_log(0, map), 0);
	assert_int_equal(map[0], 2);
	assert_int_equal(set_slot(0, 0, 0x100000, PAGES, mem), 0);
	assert_int_equal(get_log(0, map), -ENOENT);
}

static int clear_log(u64 first, u32 n, u64 *bitmap)
{
	struct kvm_clear_dirty_log log = { .slot = 0, .first_page = first, .num_pages = n,
					   .dirty_bitmap = bitmap };

	return kvm_clear_dirty_log(kvm, &log);
}

static void test_clear_dirty_log(void **state)
{
	u64 map[5], clear[5] = { 3 };

	kvm->manual_dirty_protect = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	assert_int_equal(set_slot(0, KVM_MEM_LOG_DIRTY_PAGES, 0, PAGES, mem), 0);
	assert_int_equal(get_log(0, map), 0);
	assert_int_equal(map[0], ~0ull);
	assert_int_equal(map[4], (1ull << 44) - 1);
	assert_int_equal(get_log(0, map), 0);
	assert_int_equal(map[0], ~0ull);			/* reading clears nothing */

	assert_int_equal(clear_log(1, 64, clear), -EINVAL);
	assert_int_equal(clear_log(0, 63, clear), -EINVAL);
	assert_int_equal(clear_log(320, 0, clear), -EINVAL);
	assert_int_equal(clear_log(256, 64, clear), -EINVAL);
	assert_int_equal(clear_log(0, 64, (u64 *)8), -EFAULT);
	requests();
	assert_int_equal(clear_log(64, 64, clear), 0);
	assert_int_equal(requests(), BIT(KVM_REQ_TLB_WRITES));
	assert_int_equal(clear_log(64, 64, clear), 0);
	assert_int_equal(requests(), 0);
	assert_int_equal(clear_log(256, 44, clear), 0);
	assert_int_equal(get_log(0, map), 0);
	assert_int_equal(map[0], ~0ull);
	assert_int_equal(map[1], ~3ull);
	assert_int_equal(map[4], (1ull << 44) - 4);
}

/* A slot larger than what is looked at in one go, of memory that is not there: bits alone. */
static void test_large_dirty_log(void **state)
{
	const u64 pages = 3000000, words = (pages + 63) / 64;
	u8 *nothing = mmap(NULL, pages * PAGE_SIZE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	u64 *map = calloc(words, 8);

	assert_true(nothing != MAP_FAILED);
	assert_int_equal(set_slot(0, KVM_MEM_LOG_DIRTY_PAGES, 0, pages, nothing), 0);
	for (u64 p = 1; p < pages; p *= 3)
		kvm_mark_dirty(v, kvm->slots->slot[0], p);
	assert_int_equal(get_log(0, map), 0);
	for (u64 p = 1, word = 0; word < words; word++) {
		u64 expected = 0;

		for (; p < pages && p / 64 == word; p *= 3)
			expected |= 1ull << p % 64;
		assert_int_equal(map[word], expected);
	}
	find(0, false, -EFAULT);
	free(map);
	munmap(nothing, pages * PAGE_SIZE);
}

/* No write is lost while the log is read over and over: each page's count is that of its notes at most. */
struct writer { u32 round[4]; };

static void write_pages(struct kvm_vcpu *vcpu, void *arg)
{
	struct writer *w = arg;
	struct kvm_page page;

	for (u32 i = 0; i < 4; i++) {
		if (kvm_find_page(vcpu, i * PAGE_SIZE, true, &page) || !page.host)
			continue;
		/* As through a TLB entry: noted once, then written many times without a note. */
		kvm_page_written(vcpu, page.slot, i);
		for (int k = 0; k < 50 && !READ_ONCE(vcpu->cpu.attention); k++)
			WRITE_ONCE(*(u32 *)page.host, ++w->round[i]);
	}
}

static void test_no_write_is_lost(void **state)
{
	struct writer w = { { 0 } };
	struct fake_runner *r;
	u32 copy[4] = { 0 };
	u64 map[1];

	assert_int_equal(set_slot(0, KVM_MEM_LOG_DIRTY_PAGES, 0, 4, mem), 0);
	r = fake_run(v, write_pages, &w);
	for (int n = 0; n < 2000 || !READ_ONCE(w.round[3]); n++) {
		assert_int_equal(get_log(0, map), 0);
		for (u32 i = 0; i < 4; i++)
			if (map[0] >> i & 1)
				copy[i] = READ_ONCE(*(u32 *)(mem + i * PAGE_SIZE));
	}
	fake_run_stop(r);
	assert_int_equal(get_log(0, map), 0);
	for (u32 i = 0; i < 4; i++)
		if (map[0] >> i & 1)
			copy[i] = *(u32 *)(mem + i * PAGE_SIZE);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(copy[i], w.round[i]);
}

/* ---- the dirty ring ---- */

static void test_dirty_ring(void **state)
{
	const u32 size = 256;		/* entries: a page */
	struct kvm_dirty_gfn *ring;
	struct kvm_vcpu *rv;
	struct kvm *rk;
	u64 map[5];

	assert_int_equal(kvm_reset_dirty_rings(kvm), -EINVAL);
	rk = fake_vm();
	rk->dirty_ring_size = size * sizeof(struct kvm_dirty_gfn);
	rv = fake_vcpu(rk, 3);
	ring = rv->dirty_ring;
	assert_ptr_equal((u8 *)ring, (u8 *)rv->run + 64 * PAGE_SIZE);
	assert_int_equal(rv->run_size, 65 * PAGE_SIZE);
	assert_int_equal(kvm_set_memory_region(rk, &(struct kvm_userspace_memory_region){
		.slot = 6, .flags = KVM_MEM_LOG_DIRTY_PAGES, .guest_phys_addr = 0x8000,
		.memory_size = PAGES * PAGE_SIZE, .userspace_addr = (u64)mem }), 0);
	assert_int_equal(kvm_get_dirty_log(rk, &(struct kvm_dirty_log){ .slot = 6, .dirty_bitmap = map }),
			 -ENXIO);

	assert_int_equal(kvm_write_guest(rv, 0x9000, "x", 1), 0);
	assert_int_equal(kvm_write_guest(rv, 0xb000, "x", 1), 0);
	assert_int_equal(kvm_write_guest(rv, 0x9010, "x", 1), 0);	/* noted already */
	assert_int_equal(rv->dirty_index, 2);
	assert_int_equal(ring[0].flags, KVM_DIRTY_GFN_F_DIRTY);
	assert_int_equal(ring[0].slot, 6);
	assert_int_equal(ring[0].offset, 1);
	assert_int_equal(ring[1].offset, 3);
	assert_int_equal(ring[2].flags, 0);

	/* Taken back in order, up to the first that the VMM has not seen. */
	ring[1].flags |= KVM_DIRTY_GFN_F_RESET;
	assert_int_equal(kvm_reset_dirty_rings(rk), 0);
	ring[0].flags |= KVM_DIRTY_GFN_F_RESET;
	ring[1].slot = 77;			/* nonsense by the VMM harms nobody */
	ring[1].offset = ~0ull;
	assert_int_equal(kvm_reset_dirty_rings(rk), 2);
	assert_int_equal(rv->dirty_reset_index, 2);
	assert_int_equal(ring[0].flags, 0);
	assert_int_equal(kvm_write_guest(rv, 0x9000, "x", 1), 0);
	assert_int_equal(rv->dirty_index, 3);

	/* Nearly full: KVM_RUN has to end. */
	for (u32 i = 10; rv->dirty_index - rv->dirty_reset_index < size - KVM_DIRTY_RING_RESERVED; i++) {
		assert_false(kvm_dirty_ring_full(rv));
		assert_int_equal(kvm_write_guest(rv, 0x8000 + i * PAGE_SIZE, "x", 1), 0);
	}
	assert_true(kvm_dirty_ring_full(rv));
	assert_true(rv->requests & BIT(KVM_REQ_DIRTY_RING_FULL));
	for (u32 i = 0; i < size; i++)
		if (ring[i].flags)
			ring[i].flags |= KVM_DIRTY_GFN_F_RESET;
	assert_int_equal(kvm_reset_dirty_rings(rk), size - KVM_DIRTY_RING_RESERVED);
	assert_false(kvm_dirty_ring_full(rv));
	kvm_put_vcpu(rv);
	kvm_put_vm(rk);
}

/* ---- code pages ---- */

static void test_code_pages(void **state)
{
	struct kvm_vcpu *other = fake_vcpu(kvm, 1);
	struct kvm_page page;

	assert_int_equal(set_slot(0, 0, 0x8000, 100, mem), 0);
	requests();
	atomic_xchg(&other->requests, 0);
	kvm_vcpu_enter(v);
	assert_int_equal(kvm_find_page(v, 0x9000, false, &page), 0);
	assert_false(page.code);
	kvm_page_holds_code(v, page.slot, 9);
	assert_int_equal(v->mode, IN_GUEST);
	assert_int_equal(requests(), BIT(KVM_REQ_CODE_PAGES));
	assert_true(v->cpu.attention);
	assert_int_equal(atomic_xchg(&other->requests, 0), BIT(KVM_REQ_CODE_PAGES));
	assert_int_equal(v->nr_code_pages, 1);
	assert_int_equal(other->nr_code_pages, 1);
	assert_ptr_equal(other->code_pages[0], page.host);
	kvm_page_holds_code(v, page.slot, 9);		/* known: nothing to do */
	assert_int_equal(requests(), 0);
	assert_int_equal(kvm_find_page(v, 0x9000, true, &page), 0);
	assert_true(page.code);

	/* The writer's own code goes at once, others' when they next look. */
	kvm_page_written(v, page.slot, 9);
	assert_int_equal(fake.dropped, 1);
	assert_ptr_equal(fake.last_dropped, mem + PAGE_SIZE);
	assert_int_equal(requests(), 0);
	assert_int_equal(atomic_xchg(&other->requests, 0), BIT(KVM_REQ_CODE));
	assert_int_equal(v->nr_stale, 0);
	assert_int_equal(other->nr_stale, 1);
	assert_ptr_equal(other->stale_code[0], mem + PAGE_SIZE);
	assert_int_equal(kvm_find_page(v, 0x9000, true, &page), 0);
	assert_false(page.code);
	kvm_page_written(v, page.slot, 9);
	assert_int_equal(other->nr_stale, 1);
	assert_int_equal(fake.dropped, 1);
	/* More than the list holds: it says so. */
	for (u32 i = 0; i < 40; i++) {
		kvm_page_holds_code(v, page.slot, 10 + i);
		kvm_page_written(v, page.slot, 10 + i);
	}
	assert_true(other->nr_stale > KVM_STALE_CODE_MAX);
	kvm_vcpu_leave(v);
	kvm_put_vcpu(other);
}

/* One host page at two guest addresses: a write by either is seen. */
static void test_code_aliases(void **state)
{
	struct kvm_page page, alias;

	assert_int_equal(set_slot(0, 0, 0x8000, 4, mem), 0);
	assert_int_equal(set_slot(1, 0, 0x100000, 8, mem + 2 * PAGE_SIZE), 0);
	assert_int_equal(set_slot(2, 0, 0x200000, 4, mem + 50 * PAGE_SIZE), 0);
	assert_true(kvm->slots->slot[0]->aliased);
	assert_true(kvm->slots->slot[1]->aliased);
	assert_false(kvm->slots->slot[2]->aliased);
	kvm_vcpu_enter(v);
	assert_int_equal(kvm_find_page(v, 0xb000, false, &page), 0);
	kvm_page_holds_code(v, page.slot, 0xb);
	assert_int_equal(kvm_find_page(v, 0x101000, true, &alias), 0);
	assert_ptr_equal(alias.host, page.host);
	assert_true(alias.code);
	kvm_page_written(v, alias.slot, 0x101);
	assert_true(fake.dropped > 0);
	assert_int_equal(kvm_find_page(v, 0xb000, false, &page), 0);
	assert_false(page.code);
	assert_int_equal(kvm_find_page(v, 0x101000, false, &page), 0);
	assert_false(page.code);
	kvm_vcpu_leave(v);
}

/* Two vCPUs that make code at the same time wait for each other. */
static void make_code(struct kvm_vcpu *vcpu, void *arg)
{
	static u32 next;
	struct kvm_page page;
	gfn_t gfn = atomic_add(&next, 1) % PAGES;

	if (kvm_find_page(vcpu, gfn << PAGE_SHIFT, false, &page) || !page.slot)
		return;
	kvm_page_holds_code(vcpu, page.slot, gfn);
	kvm_page_written(vcpu, page.slot, gfn);
	atomic_add((u32 *)arg, 1);
}

static void test_code_by_two(void **state)
{
	struct kvm_vcpu *other = fake_vcpu(kvm, 1);
	struct fake_runner *a, *b;
	u32 n = 0;

	assert_int_equal(set_slot(0, 0, 0, PAGES, mem), 0);
	a = fake_run(v, make_code, &n);
	b = fake_run(other, make_code, &n);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(set_slot(1, 0, 0x1000000, 1, mem), 0);
		assert_int_equal(set_slot(1, 0, 0, 0, NULL), 0);
	}
	while (load_acquire(&n) < 2000)
		os_yield();
	fake_run_stop(a);
	fake_run_stop(b);
	kvm_put_vcpu(other);
}

/* ---- vCPUs ---- */

static void test_vcpus(void **state)
{
	size_t size = kvm_vcpu_run_size(kvm);
	void *run = os_alloc_large(size);
	struct kvm_vcpu *other;

	assert_int_equal(kvm_create_vcpu(kvm, 0, run, size, &other), -EEXIST);
	assert_int_equal(kvm_create_vcpu(kvm, KVM_MAX_VCPU_ID, run, size, &other), -EINVAL);
	assert_int_equal(kvm_create_vcpu(kvm, 1, run, size - 1, &other), -EINVAL);
	fake.fail_vcpu_create = -ENOMEM;
	assert_int_equal(kvm_create_vcpu(kvm, 1, run, size, &other), -ENOMEM);
	fake.fail_vcpu_create = 0;
	assert_int_equal(kvm->nr_vcpus, 1);
	assert_int_equal(kvm_create_vcpu(kvm, 700, run, size, &other), 0);
	assert_ptr_equal(kvm_vcpu_by_id(kvm, 700), other);
	assert_ptr_equal(kvm_vcpu_by_id(kvm, 0), v);
	assert_null(kvm_vcpu_by_id(kvm, 1));
	/* Without its descriptor it is still there. */
	kvm_put_vcpu(other);
	assert_int_equal(fake.vcpus, 2);
	for (u32 id = 1; id < KVM_MAX_VCPUS - 1; id++)
		kvm_put_vcpu(fake_vcpu(kvm, id));
	run = os_alloc_large(size);
	assert_int_equal(kvm_create_vcpu(kvm, 900, run, size, &other), -EINVAL);
	os_free_large(run, size);
}

/* ---- address spaces ---- */

static void in_smm(bool smm)
{
	v->cpu.ev.smm = smm;
}

static void test_address_spaces(void **state)
{
	const u32 smm = 1 << 16;
	u8 byte = 1;

	/* The second is there before the first has anything. */
	assert_int_equal(set_slot(smm | 3, 0, 0x8000, 2, mem), 0);
	assert_null(find(0x8000, false, 0).host);
	in_smm(true);
	assert_ptr_equal(find(0x9000, false, 0).host, mem + PAGE_SIZE);
	/* The same number and the same addresses in each. */
	assert_int_equal(set_slot(3, 0, 0x8000, 4, mem + 10 * PAGE_SIZE), 0);
	assert_int_equal(set_slot(0, 0, 0xc000, 1, mem + 20 * PAGE_SIZE), 0);
	assert_int_equal(set_slot(smm | 4, 0, 0xc000, 1, mem + 21 * PAGE_SIZE), 0);
	assert_int_equal(set_slot(smm | 0, 0, 0, 1, mem + 22 * PAGE_SIZE), 0);
	assert_ptr_equal(find(0x8000, false, 0).host, mem);
	assert_null(find(0xa000, false, 0).host);
	assert_ptr_equal(find(0xc000, false, 0).host, mem + 21 * PAGE_SIZE);
	assert_ptr_equal(find(0, false, 0).host, mem + 22 * PAGE_SIZE);
	in_smm(false);
	assert_ptr_equal(find(0x8000, false, 0).host, mem + 10 * PAGE_SIZE);
	assert_ptr_equal(find(0xa000, false, 0).host, mem + 12 * PAGE_SIZE);
	assert_ptr_equal(find(0xc000, false, 0).host, mem + 20 * PAGE_SIZE);
	assert_null(find(0, false, 0).host);
	/* Each overlaps with its own only. */
	assert_int_equal(set_slot(smm | 5, 0, 0xa000, 2, mem), 0);
	assert_int_equal(set_slot(smm | 6, 0, 0x9000, 1, mem), -EEXIST);
	assert_int_equal(set_slot(6, 0, 0xa000, 2, mem), -EEXIST);
	assert_int_equal(kvm->slots->count, 6);

	/* What is shared with the guest is in the first, whatever the vCPU sees. */
	in_smm(true);
	assert_int_equal(kvm_write_guest(v, 0x8000, &byte, 1), 0);
	assert_int_equal(mem[10 * PAGE_SIZE], 1);
	assert_int_equal(mem[0], 0);
	assert_int_equal(kvm_read_guest(v, 0, &byte, 1), -EFAULT);
	byte = 2;
	assert_int_equal(kvm_vcpu_write_guest(v, 0x8000, &byte, 1), 0);
	assert_int_equal(mem[0], 2);
	assert_int_equal(kvm_vcpu_read_guest(v, 0, &byte, 1), 0);
	assert_int_equal(byte, mem[22 * PAGE_SIZE]);
	in_smm(false);
	assert_int_equal(kvm_vcpu_read_guest(v, 0x8000, &byte, 1), 0);
	assert_int_equal(byte, 1);
	assert_int_equal(kvm_vcpu_read_guest(v, 0, &byte, 1), -EFAULT);

	/* Deleting one leaves the other's. */
	assert_int_equal(set_slot(3, 0, 0, 0, NULL), 0);
	assert_null(find(0x8000, false, 0).host);
	in_smm(true);
	assert_ptr_equal(find(0x8000, false, 0).host, mem);
	for (u32 n = 0; n < 7; n++)
		set_slot(smm | n, 0, 0, 0, NULL);
	assert_null(find(0x8000, false, 0).host);
	assert_null(find(0, false, 0).host);
	in_smm(false);
	assert_ptr_equal(find(0xc000, false, 0).host, mem + 20 * PAGE_SIZE);
}

static void test_dirty_log_of_each(void **state)
{
	const u32 smm = 1 << 16;
	u64 bits[PAGES / 64 + 1] = { 0 };
	struct kvm_dirty_log log = { .dirty_bitmap = bits };
	u8 byte = 1;

	assert_int_equal(set_slot(0, KVM_MEM_LOG_DIRTY_PAGES, 0, 8, mem), 0);
	assert_int_equal(set_slot(smm, KVM_MEM_LOG_DIRTY_PAGES, 0, 8, mem), 0);
	assert_int_equal(kvm_vcpu_write_guest(v, 0x2000, &byte, 1), 0);
	in_smm(true);
	assert_int_equal(kvm_vcpu_write_guest(v, 0x3000, &byte, 1), 0);
	in_smm(false);
	log.slot = smm;
	assert_int_equal(kvm_get_dirty_log(kvm, &log), 0);
	assert_int_equal(bits[0], BIT(3));
	log.slot = 0;
	assert_int_equal(kvm_get_dirty_log(kvm, &log), 0);
	assert_int_equal(bits[0], BIT(2));
	log.slot = 2 << 16;
	assert_int_equal(kvm_get_dirty_log(kvm, &log), -EINVAL);
	log.slot = smm | 1;
	assert_int_equal(kvm_get_dirty_log(kvm, &log), -ENOENT);
}

static void test_vm_type(void **state)
{
	int error = 0;

	assert_null(kvm_create_vm(1, &error));
	assert_int_equal(error, -EINVAL);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(checks), TEST(add_and_delete), TEST(modify), TEST(many), TEST(host_pages),
		TEST(copies), TEST(changes_while_running), TEST(dirty_log), TEST(clear_dirty_log),
		TEST(large_dirty_log), TEST(no_write_is_lost), TEST(dirty_ring), TEST(code_pages), TEST(code_aliases),
		TEST(code_by_two), TEST(address_spaces), TEST(dirty_log_of_each), TEST(vcpus), TEST(vm_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
