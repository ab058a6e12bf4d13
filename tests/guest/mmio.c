/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory-mapped I/O: where there is no slot, each access leaves to user space. How an access is
 * cut into exits is KVM's affair where it crosses a page or is wider than 8 bytes; one that is
 * aligned and no wider is one exit. The bytes are kept here, so that the guest can read back
 * what it wrote.
 */
#include "harness.h"

#include <string.h>

static uint8_t space[0x10000];		/* behind MMIO, and behind the end of RAM */
static unsigned int reads, writes, last_len;

static void serve(struct vcpu *vcpu)
{
	struct kvm_run *r = vcpu->run;
	uint64_t base = r->mmio.phys_addr >= MMIO ? MMIO : RAM_SIZE;
	uint64_t offset = r->mmio.phys_addr - base;

	CHECK(r->mmio.phys_addr >= base);
	CHECK(r->mmio.len >= 1 && r->mmio.len <= 8);
	CHECK(offset + r->mmio.len <= sizeof(space));
	/* Never across a page: the next page may be somebody else's. */
	CHECK((offset & 0xfff) + r->mmio.len <= 0x1000);
	if (r->mmio.is_write)
		memcpy(space + offset, r->mmio.data, r->mmio.len);
	else
		memcpy(r->mmio.data, space + offset, r->mmio.len);
	reads += !r->mmio.is_write;
	writes += r->mmio.is_write;
	last_len = r->mmio.len;
}

static struct vcpu *mmio_guest(int mode, const char *name)
{
	static const uint8_t start[] = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
					 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f };

	memcpy(space, start, sizeof(start));
	return guest(0, mode, name);
}

static void serve_to_pass(struct vcpu *vcpu)
{
	int r;

	while ((r = run(vcpu)) == KVM_EXIT_MMIO)
		serve(vcpu);
	if (r != GUEST_PASS)
		fail("%s, expected PASS", exit_text(vcpu, r));
}

static void read_widths(void)
{
	static const unsigned int widths[] = { 1, 2, 4, 8, 1, 1, 2, 4 };
	struct vcpu *vcpu = mmio_guest(MODE_LONG, "mmio_read");

	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		run_to_exit(vcpu, KVM_EXIT_MMIO);
		serve(vcpu);
		CHECK_EQ(vcpu->run->mmio.is_write, 0);
		CHECK_EQ(last_len, widths[i]);
	}
	run_to_pass(vcpu);
}

static void write_widths(void)
{
	static const struct {
		unsigned int offset, len;
		uint64_t value;
	} want[] = {
		{ 0, 1, 0x88 }, { 2, 2, 0x7788 }, { 4, 4, 0x55667788 },
		{ 8, 8, 0x1122334455667788 }, { 0x10, 1, 0x77 }, { 0x11, 1, 0x5a },
		{ 0x12, 2, 0x5b5a }, { 0x14, 4, 0x5d5c5b5a }, { 0x18, 8, -2ull },
	};
	struct vcpu *vcpu = mmio_guest(MODE_LONG, "mmio_write");

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		uint64_t value = 0;

		run_to_exit(vcpu, KVM_EXIT_MMIO);
		CHECK_EQ(vcpu->run->mmio.is_write, 1);
		CHECK_EQ(vcpu->run->mmio.phys_addr, MMIO + want[i].offset);
		CHECK_EQ(vcpu->run->mmio.len, want[i].len);
		memcpy(&value, vcpu->run->mmio.data, want[i].len);
		CHECK_EQ(value, want[i].value);
	}
	run_to_pass(vcpu);
}

#define SERVED(function, mode, symbol)					\
static void function(void)						\
{									\
	serve_to_pass(mmio_guest(mode, symbol));			\
}

SERVED(unaligned, MODE_LONG, "mmio_unaligned")
SERVED(straddle, MODE_LONG, "mmio_straddle")
SERVED(sse, MODE_LONG, "mmio_sse")
SERVED(movs, MODE_LONG, "mmio_movs")
SERVED(movs_page, MODE_LONG, "mmio_movs_page")
SERVED(rmw, MODE_LONG, "mmio_rmw")
SERVED(cmpxchg, MODE_LONG, "mmio_cmpxchg")
SERVED(stack, MODE_LONG, "mmio_stack")
SERVED(pointer, MODE_LONG, "mmio_pointer")
SERVED(real, MODE_REAL, "mmio_real")

static void compare(void)
{
	serve_to_pass(mmio_guest(MODE_LONG, "mmio_compare"));
	CHECK_EQ(reads, 4);
	CHECK_EQ(writes, 0);
}

static void fault(void)
{
	serve_to_pass(mmio_guest(MODE_LONG, "mmio_fault"));
	CHECK_EQ(writes, 0);
}

/* Linux cannot fetch code from where nothing is, and gives up with an internal error. */
static void fetch(void)
{
	struct vcpu *vcpu = mmio_guest(MODE_LONG, "mmio_fetch");

	run_to_exit(vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(vcpu->run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
	CHECK_EQ(regs_of(vcpu).rip, MMIO);
}

static void expect_high(struct vcpu *vcpu)
{
	run_to_exit(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, 0x100801234);
	CHECK_EQ(vcpu->run->mmio.len, 4);
	CHECK_EQ(*(uint32_t *)vcpu->run->mmio.data, 0x5a5b);
	run_to_pass(vcpu);
}

static void high(void)
{
	expect_high(guest(0, MODE_LONG, "mmio_high"));
}

static void pae_high(void)
{
	expect_high(guest(0, MODE_PAE, "mmio_pae_high"));
}

static void immediate_exit(void)
{
	struct vcpu *vcpu = mmio_guest(MODE_LONG, "mmio_read");

	run_to_exit(vcpu, KVM_EXIT_MMIO);
	serve(vcpu);
	vcpu->run->immediate_exit = 1;
	CHECK_EQ(run(vcpu), GUEST_INTR);
	vcpu->run->immediate_exit = 0;
	CHECK_EQ(regs_of(vcpu).rax, 0xffffffffffffff11);
	serve_to_pass(vcpu);
}

static struct kvm_coalesced_mmio_ring *ring_of(struct vcpu *vcpu)
{
	int page = NEED_CAP(vcpu->vm, KVM_CAP_COALESCED_MMIO);

	return (void *)((uint8_t *)vcpu->run + page * 0x1000);
}

/* The ring is the VM's: which vCPU wrote, and whose mapping is looked at, makes no difference. */
static void coalesced(void)
{
	struct vm *vm = vm_create(0);
	struct kvm_coalesced_mmio_zone zone = { .addr = MMIO, .size = 0x18 };
	struct kvm_coalesced_mmio_ring *rings[2];

	for (int i = 0; i < 2; i++)
		rings[i] = ring_of(vcpu_create(vm));
	KVM(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone);
	for (int i = 1; i >= 0; i--) {
		vcpu_start(&vm->vcpus[i], MODE_LONG, "mmio_write");
		/* Behind the zone's end. */
		run_to_exit(&vm->vcpus[i], KVM_EXIT_MMIO);
		CHECK_EQ(vm->vcpus[i].run->mmio.phys_addr, MMIO + 0x18);
		run_to_pass(&vm->vcpus[i]);
	}
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(rings[i]->first, 0);
		CHECK_EQ(rings[i]->last, 16);
		CHECK_EQ(rings[i]->coalesced_mmio[9].phys_addr, MMIO + 2);
		CHECK_EQ(rings[i]->coalesced_mmio[9].len, 2);
		CHECK_EQ(*(uint16_t *)rings[i]->coalesced_mmio[9].data, 0x7788);
	}
	rings[1]->first = 16;
	CHECK_EQ(rings[0]->first, 16);
}

const struct test mmio_tests[] = {
	{ "mmio", "read_widths", "reads of 1, 2, 4 and 8 bytes, extended as the instruction says",
	  read_widths },
	{ "mmio", "write_widths", "writes of 1, 2, 4 and 8 bytes are one exit each", write_widths },
	{ "mmio", "unaligned", "unaligned accesses, within a page and across two", unaligned },
	{ "mmio", "straddle", "an access half in RAM and half beyond its end", straddle },
	{ "mmio", "sse", "16 bytes by MOVUPS and MOVDQU", sse },
	{ "mmio", "movs", "string instructions from, to and within MMIO", movs },
	{ "mmio", "movs_page", "REP MOVS across pages of MMIO", movs_page },
	{ "mmio", "rmw", "instructions that read and write, with LOCK and without", rmw },
	{ "mmio", "cmpxchg", "LOCK CMPXCHG, equal and unequal", cmpxchg },
	{ "mmio", "compare", "CMP, TEST and BT only read", compare },
	{ "mmio", "stack", "PUSH, POP, CALL and RET on a stack in MMIO", stack },
	{ "mmio", "pointer", "JMP and CALL through a pointer in MMIO", pointer },
	{ "mmio", "fetch", "running code from MMIO is INTERNAL_ERROR, an emulation failure",
	  fetch },
	{ "mmio", "fault", "MOVS with a page fault on one side writes nothing on the other",
	  fault },
	{ "mmio", "high", "guest-physical addresses above 4 GiB in long mode", high },
	{ "mmio", "pae_high", "and in PAE paging", pae_high,
	  .wrong_on_paravirt = "PAE paging ends in SHUTDOWN" },
	{ "mmio", "real", "MMIO from real mode with a 4 GiB limit", real },
	{ "mmio", "immediate_exit", "immediate_exit completes a pending read and returns EINTR",
	  immediate_exit },
	{ "mmio", "coalesced", "writes to a coalesced zone are in the VM's ring, in order", coalesced },
	{ 0 }
};
