/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory slots: bad ones, many, and changes under a running guest; dirty logs; what is behind a
 * slot. */
#include "api.h"

#include "kvm/ioctl.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define LOG	KVM_MEM_LOG_DIRTY_PAGES

static void bad_slots(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	char *host = pages(16);

	GIVES(region(m.vm, 0, 0, 0, 0, NULL), -EINVAL);		/* nothing to delete */
	GIVES(region(m.vm, 0, 0, 0, PAGE + 1, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0, PAGE - 1, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0, 1, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 1, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0x800, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0, PAGE, host + 1), -EINVAL);
	for (int bit = 2; bit < 32; bit++)
		GIVES(region(m.vm, 0, 1u << bit, 0, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 32763, 0, 0, PAGE, host), 0);
	GIVES(region(m.vm, 32764, 0, 0, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 32767, 0, 0, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0xffff, 0, 0, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 2 << 16, 0, 0, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0xffffffff, 0, 0, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0x7fff0000, 0, 0, PAGE, host), -EINVAL);

	/* Guest addresses that wrap, or are beyond what a processor has. */
	GIVES(region(m.vm, 0, 0, -PAGE, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, -PAGE, 2 * PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 1ul << 63, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 1ul << 62, PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 1ul << 52, PAGE, host), -EINVAL);

	/* The VMM's addresses. */
	GIVES(region(m.vm, 0, 0, 0x10000, PAGE, (void *)0xffff888000000000), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0x10000, PAGE, (void *)(1ul << 60)), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0x10000, PAGE, (void *)0x800000000000), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0x10000, PAGE, (void *)-PAGE), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0x10000, PAGE, (void *)0x7ffffffff000), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0x10000, PAGE, (void *)0x7fffffffe000), 0);
	GIVES(region(m.vm, 0, 0, 0x10000, 0, NULL), 0);
	GIVES(region(m.vm, 0, 0, 0x10000, -PAGE, host), -EINVAL);
	GIVES(region(m.vm, 0, 0, 0x10000, 1ul << 47, host), -EINVAL);
	/* Too many pages for one slot. */
	GIVES(region(m.vm, 0, 0, 0x10000, 1ul << 43, NULL), -EINVAL);
}

/* A request of libanykvm's own. */
static void written(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	struct anykvm_memory_written w = { .count = 2, .range = { { 0, 1 << 20 }, { 1ul << 51, 5 } } };
	char *host = pages(16);

	if (!on_soft()) {
		GIVES(call(m.vm, ANYKVM_MEMORY_WRITTEN, &w), -ENOTTY);
		return;
	}
	/* That there is no memory is no mistake. */
	GIVES(call(m.vm, ANYKVM_MEMORY_WRITTEN, &w), 0);
	GIVES(region(m.vm, 0, 0, 3 * PAGE, 16 * PAGE, host), 0);
	GIVES(call(m.vm, ANYKVM_MEMORY_WRITTEN, &w), 0);
	w.range[1].length = -(1ul << 51);
	GIVES(call(m.vm, ANYKVM_MEMORY_WRITTEN, &w), -EINVAL);
	w.count = ANYKVM_WRITTEN_RANGES + 1;
	GIVES(call(m.vm, ANYKVM_MEMORY_WRITTEN, &w), -EINVAL);
	w = (struct anykvm_memory_written){ .pad = 1 };
	GIVES(call(m.vm, ANYKVM_MEMORY_WRITTEN, &w), -EINVAL);
	GIVES(call(m.vm, ANYKVM_MEMORY_WRITTEN, (void *)8), -EFAULT);
}

/* Nothing needs to be at the VMM's address yet: who touches it finds out. */
static void unmapped_memory(void)
{
	struct machine m = GUEST(0, "\xa0\x00\x00" HLT);	/* mov 0x0, %al */
	char *host = pages(16);

	GIVES(region(m.vm, 1, 0, 0x20000, 16 * PAGE, NULL), 0);
	GIVES(region(m.vm, 1, 0, 0x20000, 0, NULL), 0);
	mprotect(host, PAGE, PROT_NONE);
	GIVES(region(m.vm, 0, 0, 0, 0, NULL), 0);
	GIVES(region(m.vm, 0, 0, CODE, PAGE, m.ram + CODE), 0);
	GIVES(region(m.vm, 1, 0, 0, PAGE, host), 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EFAULT);
	/* Once it is there, the same instruction goes on. */
	mprotect(host, PAGE, PROT_READ | PROT_WRITE);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
}

/* Code in memory that is not there, or may not be read. */
static void unmapped_code(void)
{
	struct machine m = GUEST(0, HLT);
	char *none = pages(1);

	mprotect(none, PAGE, PROT_NONE);
	GIVES(region(m.vm, 0, 0, 0, 0, NULL), 0);
	GIVES(region(m.vm, 0, 0, CODE, PAGE, none), 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EFAULT);
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EFAULT);
	mprotect(none, PAGE, PROT_READ);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);	/* zeroes are an instruction that writes */
}

static void overlaps(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	char *host = pages(64);

	GIVES(region(m.vm, 1, 0, 0x10000, 16 * PAGE, host), 0);
	GIVES(region(m.vm, 2, 0, 0x10000, PAGE, host), -EEXIST);
	GIVES(region(m.vm, 2, 0, 0x1f000, PAGE, host), -EEXIST);
	GIVES(region(m.vm, 2, 0, 0xf000, 18 * PAGE, host), -EEXIST);
	GIVES(region(m.vm, 2, 0, 0xf000, 2 * PAGE, host), -EEXIST);
	GIVES(region(m.vm, 2, 0, 0xf000, PAGE, host), 0);
	GIVES(region(m.vm, 3, 0, 0x20000, 16 * PAGE, host), 0);	/* the same memory twice is fine */
	/* Moved: by less than its size, onto another, away. */
	GIVES(region(m.vm, 1, 0, 0x18000, 16 * PAGE, host), -EEXIST);
	GIVES(region(m.vm, 1, 0, 0x8000, 16 * PAGE, host), -EEXIST);
	GIVES(region(m.vm, 2, 0, 0, 0, NULL), 0);
	GIVES(region(m.vm, 1, 0, 0x8000, 16 * PAGE, host), 0);
	GIVES(region(m.vm, 1, 0, 0x9000, 16 * PAGE, host), 0);
	GIVES(region(m.vm, 1, 0, -16 * PAGE, 16 * PAGE, host), -EINVAL);
	/* What a slot is cannot change. */
	GIVES(region(m.vm, 1, 0, 0x9000, 15 * PAGE, host), -EINVAL);
	GIVES(region(m.vm, 1, 0, 0x9000, 16 * PAGE, host + PAGE), -EINVAL);
	GIVES(region(m.vm, 1, KVM_MEM_READONLY, 0x9000, 16 * PAGE, host), -EINVAL);
	GIVES(region(m.vm, 1, LOG | KVM_MEM_READONLY, 0x9000, 16 * PAGE, host), -EINVAL);
	/* Flags and place at once. */
	GIVES(region(m.vm, 1, LOG, 0x30000, 16 * PAGE, host), 0);
	GIVES(region(m.vm, 1, LOG, 0x30000, 16 * PAGE, host), 0);
	/* To delete one, its size is all that matters. */
	GIVES(region(m.vm, 1, 0, 0x123000, 0, host), 0);
	GIVES(region(m.vm, 1, 0, 0x9000, 0, host), -EINVAL);
}

static void dirty_log(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	uint64_t *map = pages(1), *constant = pages(1);
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = map };
	char *host = pages(70);

	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	GIVES(region(m.vm, 1, 0, 0, 70 * PAGE, host), 0);
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	GIVES(region(m.vm, 1, LOG, 0, 70 * PAGE, host), 0);
	memset(map, 0xff, 32);
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	HOLDS(map[0] == 0 && map[1] == 0 && map[2] == ~0ull);
	log.slot = 2;
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	log.slot = 32763;
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
	log.slot = 32764;
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -EINVAL);
	log.slot = 0x20001;
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -EINVAL);
	log.slot = 1;
	for (int n = 0; bad_pointers[n]; n++) {
		log.dirty_bitmap = (void *)bad_pointers[n];
		GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -EFAULT);
	}
	log.dirty_bitmap = at_the_edge(8);	/* a bitmap of two words */
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -EFAULT);
	log.dirty_bitmap = at_the_edge(16);
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	mprotect(constant, PAGE, PROT_READ);
	log.dirty_bitmap = constant;
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -EFAULT);
}

static int clear(int vm, uint32_t slot, uint64_t first, uint32_t n, const void *map)
{
	struct kvm_clear_dirty_log c = { .slot = slot, .num_pages = n, .first_page = first,
					 .dirty_bitmap = (void *)map };

	return call(vm, KVM_CLEAR_DIRTY_LOG, &c);
}

static void clear_dirty_log(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	char *host = pages(200), *map = pages(1);

	GIVES(clear(m.vm, 1, 0, 64, map), -ENOENT);
	GIVES(region(m.vm, 1, LOG, 0, 200 * PAGE, host), 0);
	GIVES(clear(m.vm, 1, 0, 200, map), 0);
	GIVES(clear(m.vm, 1, 0, 64, map), 0);
	GIVES(clear(m.vm, 1, 64, 128, map), 0);
	GIVES(clear(m.vm, 1, 192, 8, map), 0);
	GIVES(clear(m.vm, 1, 1, 64, map), -EINVAL);
	GIVES(clear(m.vm, 1, 32, 64, map), -EINVAL);
	GIVES(clear(m.vm, 1, 0, 63, map), -EINVAL);
	GIVES(clear(m.vm, 1, 0, 199, map), -EINVAL);
	GIVES(clear(m.vm, 1, 0, 201, map), -EINVAL);
	GIVES(clear(m.vm, 1, 0, 256, map), -EINVAL);
	GIVES(clear(m.vm, 1, 192, 64, map), -EINVAL);
	GIVES(clear(m.vm, 1, 256, 64, map), -EINVAL);
	GIVES(clear(m.vm, 1, 1ull << 63, 64, map), -EINVAL);
	GIVES(clear(m.vm, 1, -64ull, 64, map), -EINVAL);
	GIVES(clear(m.vm, 1, 0, 0xffffffff, map), -EINVAL);
	GIVES(clear(m.vm, 1, 0, 0, map), 0);
	GIVES(clear(m.vm, 32764, 0, 64, map), -EINVAL);
	GIVES(clear(m.vm, 2, 0, 64, map), -ENOENT);
	GIVES(clear(m.vm, 1, 0, 200, bad_pointers[0]), -EFAULT);
	GIVES(clear(m.vm, 1, 0, 200, at_the_edge(24)), -EFAULT);
	GIVES(clear(m.vm, 1, 0, 200, at_the_edge(32)), 0);
}

static void dirty_ring(void)
{
	struct machine m = machine(WITHOUT_VCPU);
	struct kvm_dirty_log log = { .dirty_bitmap = pages(1) };
	const long max = 65536 * sizeof(struct kvm_dirty_gfn);
	void *ring;
	int vcpu;

	GIVES(cap(m.vm, KVM_CAP_DIRTY_LOG_RING), max);
	GIVES(call_n(m.vm, KVM_RESET_DIRTY_RINGS, 0), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 0, 0), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 0, 4095), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 0, 2048), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 0, 12288), -EINVAL);
	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 0, 2 * max), -E2BIG);
	GIVES(region(m.vm, 0, LOG, 0, 16 * PAGE, pages(16)), 0);
	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 1, 65536), 0);	/* its flags go unseen */
	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 0, 65536), -EINVAL);
	GIVES(call_n(m.vm, KVM_RESET_DIRTY_RINGS, 0), 0);
	/* The bitmap and the ring exclude each other. */
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), -ENXIO);
	GIVES(clear(m.vm, 0, 0, 16, log.dirty_bitmap), -ENXIO);

	vcpu = must_n(m.vm, KVM_CREATE_VCPU, 0);
	ring = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
		    KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	HOLDS(ring != MAP_FAILED);
	memset(ring, 0xff, 65536);	/* nonsense of the VMM's */
	HOLDS(call_n(m.vm, KVM_RESET_DIRTY_RINGS, 0) >= 0);
	ring = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE, vcpu,
		    KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	DIFFERS(ring == MAP_FAILED ? -errno : 0, -EINVAL, 0,
		"a descriptor of ours is a file in memory");
}

/* Once there are vCPUs it is too late for rings. */
static void dirty_ring_late(void)
{
	struct machine m = machine(0);

	GIVES(enable(m.vm, KVM_CAP_DIRTY_LOG_RING, 0, 65536), -EINVAL);
}

/* ---- under a running guest ---- */

#define MOVABLE	0x20000ul

/* Counts in the word at MOVABLE, through ES. */
#define COUNT_FAR							\
	"\xb8\x00\x20\x8e\xc0"		/* mov $0x2000, %ax; mov %ax, %es */ \
	"\x26\xff\x06\x00\x00\xeb\xf9"	/* 1: incw %es:0; jmp 1b */

/* Deleted, the memory is the VMM's own again when the call returns: the guest gets MMIO. */
static void deleted(void)
{
	struct machine m = GUEST(0, COUNT_FAR);
	volatile uint16_t *word = pages(1);
	struct runner r;
	uint16_t then;

	GIVES(region(m.vm, 1, 0, MOVABLE, PAGE, (void *)word), 0);
	start_runner(&r, m.vcpu, m.run);
	for (int i = 0; i < 20; i++) {
		HOLDS(changes(word, *word));
		GIVES(region(m.vm, 1, 0, 0, 0, NULL), 0);
		then = *word;
		sleep_ms(5);
		GIVES(*word, then);
		GIVES(region(m.vm, 1, 0, MOVABLE, PAGE, (void *)word), 0);
	}
	HOLDS(stop_runner(&r));
}

/* The same place, other memory: the old is left alone, the new is written. */
static void replaced(void)
{
	struct machine m = GUEST(0, COUNT_FAR);
	volatile uint16_t *word[2] = { pages(1), pages(1) };
	struct runner r;
	uint16_t then;

	GIVES(region(m.vm, 1, 0, MOVABLE, PAGE, (void *)word[0]), 0);
	start_runner(&r, m.vcpu, m.run);
	HOLDS(changes(word[0], 0));
	for (int i = 0; i < 20; i++) {
		volatile uint16_t *old = word[i % 2], *new = word[(i + 1) % 2];

		GIVES(region(m.vm, 1, 0, 0, 0, NULL), 0);
		then = *old;
		GIVES(region(m.vm, 1, 0, MOVABLE, PAGE, (void *)new), 0);
		HOLDS(changes(new, *new));
		GIVES(*old, then);
	}
	HOLDS(stop_runner(&r));
}

/* A slot of two pages, moved so that the guest's page is the first, then the second. */
static void moved(void)
{
	struct machine m = GUEST(0, COUNT_FAR);
	volatile uint16_t *two = pages(2), *word[2] = { two, two + PAGE / 2 };
	struct runner r;
	uint16_t then;

	GIVES(region(m.vm, 1, 0, MOVABLE, 2 * PAGE, (void *)two), 0);
	start_runner(&r, m.vcpu, m.run);
	for (int i = 0; i < 20; i++) {
		volatile uint16_t *old = word[i % 2], *new = word[(i + 1) % 2];

		HOLDS(changes(old, *old));
		GIVES(region(m.vm, 1, 0, i % 2 ? MOVABLE : MOVABLE - PAGE, 2 * PAGE, (void *)two),
		      0);
		then = *old;
		HOLDS(changes(new, *new));
		GIVES(*old, then);
	}
	HOLDS(stop_runner(&r));
}

/* The code itself is swapped under the guest that runs it. */
static void code_replaced(void)
{
	struct machine m = GUEST(0, COUNT);
	uint8_t *other = pages(RAM_SIZE / PAGE);
	struct runner r;

	/* The same loop, counting elsewhere. */
	memcpy(other + CODE, "\xff\x06\x00\x30\xeb\xfa", 6);
	start_runner(&r, m.vcpu, m.run);
	HOLDS(changes((uint16_t *)(m.ram + COUNTER), 0));
	GIVES(region(m.vm, 0, 0, 0, 0, NULL), 0);
	GIVES(region(m.vm, 0, 0, 0, RAM_SIZE, other), 0);
	/* Code in MMIO is an internal error, after which the runner tries again. */
	HOLDS(changes((uint16_t *)(other + 0x3000), 0));
	GIVES(*(uint16_t *)(other + COUNTER), 0);
	HOLDS(stop_runner(&r));
}

/* Logging begins and ends, and the log is taken, while the guest writes. */
static void logged(void)
{
	struct machine m = GUEST(0, COUNT_FAR);
	volatile uint16_t *word = pages(3);
	uint64_t map[1];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = map };
	struct runner r;
	uint16_t seen;

	GIVES(region(m.vm, 1, 0, MOVABLE - PAGE, 3 * PAGE, (char *)word), 0);
	word += PAGE / 2;
	start_runner(&r, m.vcpu, m.run);
	for (int i = 0; i < 10; i++) {
		HOLDS(changes(word, *word));
		GIVES(region(m.vm, 1, LOG, MOVABLE - PAGE, 3 * PAGE, (char *)word - PAGE), 0);
		for (int k = 0; k < 5; k++) {
			HOLDS(changes(word, *word));
			map[0] = 0;
			GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
			GIVES(map[0], 2);
		}
		GIVES(region(m.vm, 1, 0, MOVABLE - PAGE, 3 * PAGE, (char *)word - PAGE), 0);
	}
	GIVES(region(m.vm, 1, LOG, MOVABLE - PAGE, 3 * PAGE, (char *)word - PAGE), 0);
	HOLDS(changes(word, *word));
	HOLDS(stop_runner(&r));
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	seen = *word;
	GIVES(call(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	GIVES(map[0], 0);
	GIVES(*word, seen);
}

const struct test memory_tests[] = {
	{ "memory", "bad_slots", "KVM_SET_USER_MEMORY_REGION out of every range", bad_slots },
	{ "memory", "written", "ANYKVM_MEMORY_WRITTEN, which Linux does not have", written },
	{ "memory", "unmapped_memory", "a slot whose memory comes later", unmapped_memory },
	{ "memory", "unmapped_code", "code in memory that may not be read", unmapped_code },
	{ "memory", "overlaps", "slots that overlap, and what may change in one", overlaps },
	{ "memory", "dirty_log", "KVM_GET_DIRTY_LOG of no slot, into no memory", dirty_log },
	{ "memory", "clear_dirty_log", "KVM_CLEAR_DIRTY_LOG at every odd place", clear_dirty_log },
	{ "memory", "dirty_ring", "sizes of dirty rings, and rings with nonsense in them", dirty_ring },
	{ "memory", "dirty_ring_late", "no dirty rings once there are vCPUs", dirty_ring_late },
	{ "memory", "deleted", "a slot deleted while the guest writes it", deleted },
	{ "memory", "replaced", "other memory at the same place", replaced },
	{ "memory", "moved", "a slot moved while the guest writes it", moved },
	{ "memory", "code_replaced", "the memory with the guest's code replaced while it runs",
	  code_replaced },
	{ "memory", "logged", "dirty logging of memory that is being written", logged },
	{ 0 }
};
