/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory slots: added, moved and removed while the vCPU is out; read-only; dirty logging. */
#include "harness.h"
#include "vmm/benign.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static uint8_t *host_memory(size_t size)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	guest_memory(p, size);
	return p;
}

static int slot(struct vm *vm, unsigned int number, uint64_t gpa, uint64_t size, uint8_t *host,
		uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = number, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return TRY_KVM(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static void add(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_readwrite");
	uint32_t *host = (uint32_t *)host_memory(0x1000);

	host[0] = 0x11111111;
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, (uint8_t *)host, 0), 0);
	run_to_sync(vcpu, 1);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 0x11111111);
	CHECK_EQ(host[1], 0x600d);
}

static void move(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_readwrite");
	uint32_t *host = (uint32_t *)host_memory(0x2000);

	host[0] = 0x11111111;
	host[0x400] = 0x22222222;
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x2000, (uint8_t *)host, 0), 0);
	run_to_sync(vcpu, 1);
	/* One page down: what the guest finds at MOVABLE is now the second page. */
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE - 0x1000, 0x2000, (uint8_t *)host, 0), 0);
	run_to_sync(vcpu, 2);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 0x22222222);
	CHECK_EQ(host[0x401], 0x600e);
	CHECK_EQ(host[1], 0x600d);
}

static void remove_slot(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_readwrite");
	uint32_t *host = (uint32_t *)host_memory(0x1000);

	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, (uint8_t *)host, 0), 0);
	run_to_sync(vcpu, 1);
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0, (uint8_t *)host, 0), 0);
	run_to_exit(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, MOVABLE);
	CHECK_EQ(vcpu->run->mmio.is_write, 0);
	CHECK_EQ(vcpu->run->mmio.len, 4);
	memcpy(vcpu->run->mmio.data, "\x78\x56\x34\x12", 4);
	run_to_exit(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 0x12345678);
	CHECK_EQ(vcpu->run->mmio.phys_addr, MOVABLE + 4);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	CHECK_EQ(host[1], 0x600d);
	run_to_sync(vcpu, 2);
	/* And again in: the same guest reads memory where it just met MMIO. */
	host[0] = 0x33333333;
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, (uint8_t *)host, 0), 0);
	run_to_pass(vcpu);
	CHECK_EQ(*(uint32_t *)memory(vcpu->vm, SCRATCH, 4), 0x33333333);
}

static void overlap(void)
{
	struct vm *vm = vm_create(0);
	uint8_t *host = host_memory(0x4000);

	CHECK_EQ(-slot(vm, 1, RAM_SIZE - 0x1000, 0x2000, host, 0), EEXIST);
	CHECK_EQ(slot(vm, 1, MOVABLE, 0x2000, host, 0), 0);
	CHECK_EQ(-slot(vm, 2, MOVABLE + 0x1000, 0x2000, host, 0), EEXIST);
	CHECK_EQ(slot(vm, 2, MOVABLE + 0x2000, 0x2000, host, 0), 0);
	/* A slot's size cannot change, nor can a slot that is not there be removed. */
	CHECK_EQ(-slot(vm, 1, MOVABLE, 0x1000, host, 0), EINVAL);
	CHECK_EQ(-slot(vm, 3, MOVABLE, 0, host, 0), EINVAL);
	/* Alignment, unknown flags, a slot number out of range. */
	CHECK_EQ(-slot(vm, 3, MOVABLE + 0x10001, 0x1000, host, 0), EINVAL);
	CHECK_EQ(-slot(vm, 3, MOVABLE + 0x10000, 0x1001, host, 0), EINVAL);
	CHECK_EQ(-slot(vm, 3, MOVABLE + 0x10000, 0x1000, host + 1, 0), EINVAL);
	CHECK_EQ(-slot(vm, 3, MOVABLE + 0x10000, 0x1000, host, 0x80000000), EINVAL);
	CHECK_EQ(-slot(vm, 0xffff, MOVABLE + 0x10000, 0x1000, host, 0), EINVAL);
}

/* ---- Read-only ------------------------------------------------------------------------- */

/* A read-only slot: reads are memory, writes are MMIO and leave it as it is. */
static void read_only(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_readonly");
	uint32_t *host = (uint32_t *)host_memory(0x2000);

	NEED_CAP(vcpu->vm, KVM_CAP_READONLY_MEM);
	host[0] = 0x11111111;
	/* mov $0x600d, %eax; ret */
	memcpy(host + 0x400, "\xb8\x0d\x60\x00\x00\xc3", 6);
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x2000, (uint8_t *)host, KVM_MEM_READONLY), 0);
	run_to_exit(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	CHECK_EQ(vcpu->run->mmio.phys_addr, MOVABLE + 4);
	CHECK_EQ(vcpu->run->mmio.len, 4);
	CHECK_EQ(*(uint32_t *)vcpu->run->mmio.data, 0x5a5a5a5a);
	/* Read and write in one: the read is memory's. */
	run_to_exit(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	CHECK_EQ(vcpu->run->mmio.phys_addr, MOVABLE);
	CHECK_EQ(*(uint32_t *)vcpu->run->mmio.data, 0x11111112);
	run_to_sync(vcpu, 1);
	CHECK_EQ(host[0], 0x11111111);
	CHECK_EQ(host[1], 0);
	/* The same memory writable: the slot has to go and come again. */
	CHECK_EQ(-slot(vcpu->vm, 1, MOVABLE, 0x2000, (uint8_t *)host, 0), EINVAL);
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0, (uint8_t *)host, 0), 0);
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x2000, (uint8_t *)host, 0), 0);
	run_to_pass(vcpu);
	CHECK_EQ(host[1], 0x600d);
}

/* As VMMs do flash: a read-only slot, which goes while the chip has a command to do. */
static void flash(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_flash");
	struct kvm_run *r = vcpu->run;
	uint8_t *host = host_memory(0x2000);

	NEED_CAP(vcpu->vm, KVM_CAP_READONLY_MEM);
	/* mov $round, %eax; ret */
	memcpy(host + 0x1000, "\xb8\0\0\0\0\xc3", 6);
	for (unsigned int round = 0; round < 4; round++) {
		host[0x1001] = round;
		CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x2000, host, KVM_MEM_READONLY), 0);
		run_to_exit(vcpu, KVM_EXIT_MMIO);
		CHECK_EQ(r->mmio.is_write, 1);
		CHECK_EQ(r->mmio.phys_addr, MOVABLE + 0x1000);
		CHECK_EQ(r->mmio.data[0], 0x40);
		CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0, host, KVM_MEM_READONLY), 0);
		run_to_exit(vcpu, KVM_EXIT_MMIO);
		CHECK_EQ(r->mmio.is_write, 0);
		CHECK_EQ(r->mmio.phys_addr, MOVABLE + 0x1000);
		memset(r->mmio.data, 0x80, sizeof(r->mmio.data));
		run_to_exit(vcpu, KVM_EXIT_MMIO);
		CHECK_EQ(r->mmio.is_write, 1);
		CHECK_EQ(r->mmio.phys_addr, MOVABLE);
		CHECK_EQ(r->mmio.data[0], 0xff);
	}
	run_to_pass(vcpu);
}

/* ---- Dirty logging --------------------------------------------------------------------- */

#define LOG_PAGES	200

static uint64_t dirty[(LOG_PAGES + 63) / 64];

static void get_log(struct vm *vm)
{
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = dirty };

	memset(dirty, 0, sizeof(dirty));
	KVM(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

/* The pages the guest's loop writes: every seventh. */
static void expect_sevenths(void)
{
	for (int i = 0; i < LOG_PAGES; i++)
		if ((dirty[i / 64] >> (i % 64) & 1) != (i % 7 == 0))
			fail("page %d is %sin the dirty log", i, i % 7 ? "" : "not ");
}

static void expect_clean(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(dirty); i++)
		CHECK_EQ(dirty[i], 0);
}

/*
 * The guest reads every page. The log may hold more than was written: Linux maps a page writable
 * where it can, and then counts it. But that is once.
 */
static void drop_reads(struct vcpu *vcpu)
{
	run_to_sync(vcpu, 2);
	get_log(vcpu->vm);
}

static struct vcpu *log_guest(uint8_t **host)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_dirty");

	*host = host_memory(LOG_PAGES * 0x1000);
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, LOG_PAGES * 0x1000, *host,
		      KVM_MEM_LOG_DIRTY_PAGES), 0);
	return vcpu;
}

static void dirty_log(void)
{
	struct vcpu *vcpu;
	uint8_t *host;

	vcpu = log_guest(&host);
	get_log(vcpu->vm);
	expect_clean();
	run_to_sync(vcpu, 1);
	get_log(vcpu->vm);
	expect_sevenths();
	get_log(vcpu->vm);
	expect_clean();			/* asking has cleared it */
	drop_reads(vcpu);
	/* What is written again, by pages the vCPU has had writable, shows again. */
	run_to_sync(vcpu, 3);
	get_log(vcpu->vm);
	expect_sevenths();
	get_log(vcpu->vm);
	expect_clean();
	/* A slot without logging has no log. */
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, LOG_PAGES * 0x1000, host, 0), 0);
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = dirty };

	CHECK_EQ(-TRY_KVM(vcpu->vm->fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
	run_to_pass(vcpu);
}

/* Logging switched on for a slot the guest has already written. */
static void dirty_log_later(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_dirty");
	uint8_t *host = host_memory(LOG_PAGES * 0x1000);

	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, LOG_PAGES * 0x1000, host, 0), 0);
	run_to_sync(vcpu, 1);
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, LOG_PAGES * 0x1000, host,
		      KVM_MEM_LOG_DIRTY_PAGES), 0);
	get_log(vcpu->vm);
	expect_clean();
	drop_reads(vcpu);
	run_to_sync(vcpu, 3);
	get_log(vcpu->vm);
	expect_sevenths();
}

/* KVM's own writes count: accessed and dirty bits, a port's data, the clock page. */
static void dirty_log_implicit(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_dirty_implicit");
	uint8_t *host = host_memory(LOG_PAGES * 0x1000);
	int r;

	*(uint64_t *)(host + 0x5000) = SCRATCH | 3;
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, LOG_PAGES * 0x1000, host,
		      KVM_MEM_LOG_DIRTY_PAGES), 0);
	while ((r = run(vcpu)) == KVM_EXIT_IO)
		memset((uint8_t *)vcpu->run + vcpu->run->io.data_offset, 0x5a,
		       vcpu->run->io.size * vcpu->run->io.count);
	if (r != GUEST_SYNC)
		fail("%s, expected SYNC(1)", exit_text(vcpu, r));
	get_log(vcpu->vm);
	CHECK_EQ(dirty[0], 1 << 3 | 1 << 5);
	CHECK_EQ(host[0x3000], 0x5a);
}

static void manual_protect(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 1 } };
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_dirty");
	uint8_t *host = host_memory(LOG_PAGES * 0x1000);
	struct kvm_clear_dirty_log clear = {
		.slot = 1, .first_page = 0, .num_pages = LOG_PAGES, .dirty_bitmap = dirty,
	};

	NEED_CAP(vcpu->vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	KVM(vcpu->vm->fd, KVM_ENABLE_CAP, &cap);
	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, LOG_PAGES * 0x1000, host,
		      KVM_MEM_LOG_DIRTY_PAGES), 0);
	run_to_sync(vcpu, 1);
	get_log(vcpu->vm);
	expect_sevenths();
	/* Not cleared by asking, only by saying so. */
	get_log(vcpu->vm);
	expect_sevenths();
	KVM(vcpu->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear);
	get_log(vcpu->vm);
	expect_clean();
	drop_reads(vcpu);
	KVM(vcpu->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear);
	run_to_sync(vcpu, 3);
	get_log(vcpu->vm);
	expect_sevenths();
	/* A part only: the first 64 pages. */
	clear.num_pages = 64;
	KVM(vcpu->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear);
	get_log(vcpu->vm);
	CHECK_EQ(dirty[0], 0);
	CHECK(dirty[1] != 0);
	clear.first_page = 1;
	CHECK_EQ(-TRY_KVM(vcpu->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear), EINVAL);
}

/* The ring: one entry for each page, in no order to rely on (Intel's comes reversed). */
static void dirty_ring(void)
{
	struct vm *vm = vm_create(0);
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { 65536 } };
	uint8_t *host = host_memory(LOG_PAGES * 0x1000);
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = dirty };
	volatile struct kvm_dirty_gfn *ring;
	struct vcpu *vcpu;
	unsigned int n = 0;

	if (!vm_cap(vm, KVM_CAP_DIRTY_LOG_RING)) {
		NEED_CAP(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
		cap.cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
	}
	KVM(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu = vcpu_create(vm);
	vcpu_start(vcpu, MODE_LONG, "slot_dirty");
	ring = provider->mmap(65536, vcpu->fd, KVM_DIRTY_LOG_PAGE_OFFSET * 4096);
	CHECK(ring != MAP_FAILED);
	CHECK_EQ(slot(vm, 1, MOVABLE, LOG_PAGES * 0x1000, host, KVM_MEM_LOG_DIRTY_PAGES), 0);
	CHECK_EQ(-TRY_KVM(vm->fd, KVM_GET_DIRTY_LOG, &log), ENXIO);
	for (int round = 0; round < 2; round++) {
		unsigned int first = n;

		if (round)
			run_to_sync(vcpu, 2);
		while (round && ring[n].flags & KVM_DIRTY_GFN_F_DIRTY)
			ring[n++].flags = KVM_DIRTY_GFN_F_RESET;	/* reads: see drop_reads */
		if (n != first)
			KVM(vm->fd, KVM_RESET_DIRTY_RINGS, 0);
		run_to_sync(vcpu, round ? 3 : 1);
		first = n;
		memset(dirty, 0, sizeof(dirty));
		for (; ring[n].flags & KVM_DIRTY_GFN_F_DIRTY; n++) {
			CHECK_EQ(ring[n].slot, 1);
			CHECK(ring[n].offset < LOG_PAGES);
			dirty[ring[n].offset / 64] |= 1ull << (ring[n].offset % 64);
			ring[n].flags = KVM_DIRTY_GFN_F_RESET;
		}
		CHECK_EQ(n - first, (LOG_PAGES + 6) / 7);
		expect_sevenths();
		CHECK_EQ(KVM(vm->fd, KVM_RESET_DIRTY_RINGS, 0), n - first);
	}
}

/* ---- Elsewhere ------------------------------------------------------------------------- */

/* Two slots of one host memory: what is written through one shows in the other, code too. */
static void alias(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_alias");
	uint8_t *host = host_memory(0x1000);

	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, host, 0), 0);
	CHECK_EQ(slot(vcpu->vm, 2, MOVABLE + 0x100000, 0x1000, host, 0), 0);
	run_to_pass(vcpu);
}

static void alias_later(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_alias_later");
	uint8_t *page = memory(vcpu->vm, symbol("slot_aliased"), 0x1000);

	for (int i = 1; i < 10; i++) {
		run_to_sync(vcpu, 1);
		if (i > 1)
			CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0, NULL, 0), 0);
		CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, page, 0), 0);
	}
	run_to_pass(vcpu);
}

/* An access across from one slot into the next, whose host memory is elsewhere. */
static void adjacent(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_adjacent");
	uint8_t *first = host_memory(0x3000), *second = first + 0x2000;

	CHECK_EQ(slot(vcpu->vm, 1, MOVABLE, 0x1000, first, 0), 0);
	CHECK_EQ(slot(vcpu->vm, 2, MOVABLE + 0x1000, 0x1000, second, 0), 0);
	run_to_pass(vcpu);
	CHECK(!memcmp(first + 0xffc, "\x11\x22\x33\x44", 4));
	CHECK(!memcmp(second, "\x55\x66\x77\x88", 4));
}

/* Guest-physical memory above 4 GiB. */
static void high(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_high");
	uint32_t *host = (uint32_t *)host_memory(0x200000);

	CHECK_EQ(slot(vcpu->vm, 1, 0x800000000, 0x200000, (uint8_t *)host, 0), 0);
	host[0x100] = 0x12345678;
	run_to_pass(vcpu);
	CHECK_EQ(host[0x101], 0x600d);
}

/* ---- Coalesced writes ------------------------------------------------------------------ */

static void coalesced(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_coalesced");
	struct kvm_coalesced_mmio_zone zone = { .addr = MMIO, .size = 0x100 };
	struct kvm_coalesced_mmio_ring *ring;
	int page = NEED_CAP(vcpu->vm, KVM_CAP_COALESCED_MMIO);

	ring = (void *)((uint8_t *)vcpu->run + page * 4096);
	KVM(vcpu->vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone);
	run_to_exit(vcpu, KVM_EXIT_MMIO);		/* past the zone */
	CHECK_EQ(vcpu->run->mmio.phys_addr, MMIO + 0x100);
	CHECK_EQ(ring->last - ring->first, 3);
	CHECK_EQ(ring->coalesced_mmio[0].phys_addr, MMIO);
	CHECK_EQ(ring->coalesced_mmio[0].len, 1);
	CHECK_EQ(ring->coalesced_mmio[0].data[0], 0x11);
	CHECK_EQ(ring->coalesced_mmio[1].phys_addr, MMIO + 4);
	CHECK_EQ(ring->coalesced_mmio[1].len, 4);
	CHECK(!memcmp(ring->coalesced_mmio[1].data, "\x44\x33\x22\x11", 4));
	CHECK_EQ(ring->coalesced_mmio[2].len, 8);
	run_to_exit(vcpu, KVM_EXIT_MMIO);		/* a read in the zone */
	CHECK_EQ(vcpu->run->mmio.is_write, 0);
	KVM(vcpu->vm->fd, KVM_UNREGISTER_COALESCED_MMIO, &zone);
	run_to_exit(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	run_to_pass(vcpu);
}

/* The host writes the guest's code while it is out: nothing needs to be told. */
static void host_writes_code(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "slot_host_code");
	uint8_t *code = memory(vcpu->vm, SCRATCH, 0x1000);

	memcpy(code, "\xb8\x01\x00\x00\x00\xc3", 6);
	run_to_sync(vcpu, 1);
	CHECK_EQ(regs_of(vcpu).rbx, 1);
	code[1] = 2;
	run_to_sync(vcpu, 1);
	CHECK_EQ(regs_of(vcpu).rbx, 2);
}

const struct test slot_tests[] = {
	{ "slots", "add", "the guest reads and writes a slot's memory", add },
	{ "slots", "move", "a slot moved by a page shows its other page at the old address", move },
	{ "slots", "remove", "a removed slot is MMIO, and memory again once it is back",
	  remove_slot },
	{ "slots", "bad", "overlap is EEXIST; bad size, alignment, flags or number EINVAL",
	  overlap },
	{ "slots", "read_only", "a read-only slot: writes are MMIO exits, reads and code memory",
	  read_only },
	{ "slots", "flash", "a read-only slot with code that goes, changes and comes back", flash },
	{ "slots", "dirty_log", "the dirty log: what was written since it was last asked for",
	  dirty_log },
	{ "slots", "dirty_log_later", "logging switched on after the guest has written",
	  dirty_log_later },
	{ "slots", "dirty_log_implicit", "page-table bits and REP INS dirty pages too",
	  dirty_log_implicit },
	{ "slots", "manual_protect", "KVM_CLEAR_DIRTY_LOG with manual protection", manual_protect },
	{ "slots", "dirty_ring", "the dirty ring: each page once, and again after a reset",
	  dirty_ring },
	{ "slots", "high", "a slot at 32 GiB", high },
	{ "slots", "coalesced", "coalesced MMIO: writes collect in the ring, reads exit",
	  coalesced },
	{ "slots", "alias", "two slots of one host memory, with code in it", alias },
	{ "slots", "alias_later", "another address of a page of code comes while the guest runs", alias_later },
	{ "slots", "adjacent", "accesses across two slots that are apart in the host", adjacent },
	{ "slots", "host_code", "code the host changed while the vCPU was out", host_writes_code },
	{ 0 }
};
