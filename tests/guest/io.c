/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Port I/O. KVM may hand a REP string out in as many exits as it likes; what counts is the
 * sequence of bytes at the port, and where the guest's registers stand.
 */
#include "harness.h"

#include <string.h>

static uint8_t stream[0x4000];
static size_t streamed;

/* Runs to SYNC(n), taking what the guest writes to PORT_TEST and giving it 1, 2, 3... */
static void stream_to_sync(struct vcpu *vcpu, unsigned int n, unsigned int size)
{
	struct kvm_run *run_area = vcpu->run;
	static uint8_t next;
	int r;

	streamed = 0;
	while ((r = run(vcpu)) == KVM_EXIT_IO) {
		uint8_t *data = (uint8_t *)run_area + run_area->io.data_offset;
		size_t bytes = (size_t)run_area->io.size * run_area->io.count;

		CHECK_EQ(run_area->io.port, PORT_TEST);
		CHECK(bytes > 0 && streamed + bytes <= sizeof(stream));
		if (size)
			CHECK_EQ(run_area->io.size, size);
		if (run_area->io.direction == KVM_EXIT_IO_IN)
			for (size_t i = 0; i < bytes; i++)
				data[i] = ++next;
		memcpy(stream + streamed, data, bytes);
		streamed += bytes;
	}
	if (r != GUEST_SYNC || vcpu->sync != n)
		fail("%s, expected SYNC(%u)", exit_text(vcpu, r), n);
}

static void expect_out(struct vcpu *vcpu, unsigned int port, unsigned int size, uint32_t value)
{
	uint32_t got = 0;

	run_to_exit(vcpu, KVM_EXIT_IO);
	memcpy(&got, (uint8_t *)vcpu->run + vcpu->run->io.data_offset, 4);
	CHECK_EQ(vcpu->run->io.direction, KVM_EXIT_IO_OUT);
	CHECK_EQ(vcpu->run->io.port, port);
	CHECK_EQ(vcpu->run->io.size, size);
	CHECK_EQ(vcpu->run->io.count, 1);
	CHECK_EQ(size == 4 ? got : got & ((1u << size * 8) - 1), value);
}

static void out(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "io_out");

	expect_out(vcpu, 0xe0, 1, 0x88);
	expect_out(vcpu, 0xe2, 2, 0x7788);
	expect_out(vcpu, 0xe4, 4, 0x55667788);
	expect_out(vcpu, 0xfffe, 1, 0x88);
	expect_out(vcpu, 0xfffe, 2, 0x7788);
	expect_out(vcpu, 0xfffe, 4, 0x55667788);
	run_to_pass(vcpu);
}

static void in(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "io_in");

	for (unsigned int size = 1; size <= 4; size *= 2) {
		run_to_exit(vcpu, KVM_EXIT_IO);
		CHECK_EQ(vcpu->run->io.direction, KVM_EXIT_IO_IN);
		CHECK_EQ(vcpu->run->io.port, 0xe0);
		CHECK_EQ(vcpu->run->io.size, size);
		CHECK_EQ(vcpu->run->io.count, 1);
		memcpy((uint8_t *)vcpu->run + vcpu->run->io.data_offset, "\x11\x22\x33\x44", size);
	}
	run_to_pass(vcpu);
}

static void outs(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "io_outs");
	uint8_t *scratch = memory(vcpu->vm, SCRATCH, 0x1000);

	for (int i = 0; i < 64; i++)
		scratch[i] = 0x40 + i;
	stream_to_sync(vcpu, 1, 1);
	CHECK_EQ(streamed, 10);
	CHECK(!memcmp(stream, scratch, 10));
	stream_to_sync(vcpu, 2, 0);
	CHECK_EQ(streamed, 14);
	CHECK(!memcmp(stream, scratch + 10, 14));
	stream_to_sync(vcpu, 3, 1);
	CHECK_EQ(streamed, 5);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(stream[i], scratch[9 - i]);
	expect_out(vcpu, 0xe0, 1, scratch[4]);
	run_to_pass(vcpu);
}

static void outs_page(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "io_outs_page");
	uint8_t *scratch = memory(vcpu->vm, SCRATCH, 0x2000);

	for (int i = 0; i < 0x2000; i++)
		scratch[i] = i * 7 + (i >> 8);
	stream_to_sync(vcpu, 1, 4);
	CHECK_EQ(streamed, 16);
	CHECK(!memcmp(stream, scratch + 0xff9, 16));
	stream_to_sync(vcpu, 2, 1);
	CHECK_EQ(streamed, 0x1800);
	CHECK(!memcmp(stream, scratch, 0x1800));
	run_to_pass(vcpu);
}

static void ins(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "io_ins");
	uint8_t *scratch = memory(vcpu->vm, SCRATCH, 0x2000);

	stream_to_sync(vcpu, 1, 1);
	CHECK_EQ(streamed, 10);
	CHECK(!memcmp(scratch, stream, 10));
	stream_to_sync(vcpu, 2, 0);
	CHECK_EQ(streamed, 5 + 12 + 2);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(scratch[0x20 + 9 - i], stream[i]);
	CHECK(!memcmp(scratch + 0xffd, stream + 5, 14));
	run_to_pass(vcpu);
}

static void ins_fault(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "io_ins_fault");

	stream_to_sync(vcpu, 1, 1);
	/* Linux reads ahead, and loses what met the fault; but what arrives is in order. */
	CHECK(streamed >= 16);
	CHECK(!memcmp(memory(vcpu->vm, WINDOW + 0x1ff8, 8), stream, 8));
	CHECK(!memcmp(memory(vcpu->vm, WINDOW + 0x2000, 8), stream + streamed - 8, 8));
	run_to_pass(vcpu);
}

static void outs_fault(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "io_outs_fault");
	uint8_t *window = memory(vcpu->vm, WINDOW + 0x1ff8, 16);

	for (int i = 0; i < 16; i++)
		window[i] = 0x60 + i;
	stream_to_sync(vcpu, 1, 1);
	CHECK_EQ(streamed, 16);
	CHECK(!memcmp(stream, window, 16));
	run_to_pass(vcpu);
}

static void outs_real(void)
{
	struct vcpu *vcpu = guest(0, MODE_REAL, "io_outs_real");
	uint8_t want[8];

	memcpy(memory(vcpu->vm, 0x5010, 4), "abcd", 4);
	memcpy(memory(vcpu->vm, 0xfffe, 2), "ef", 2);
	memcpy(want, "abcdef", 6);
	memcpy(want + 6, memory(vcpu->vm, 0, 2), 2);
	stream_to_sync(vcpu, 1, 1);
	CHECK_EQ(streamed, 8);
	CHECK(!memcmp(stream, want, 8));
	run_to_pass(vcpu);
}

/* With immediate_exit a pending IN is completed, and nothing more runs. */
static void immediate_exit(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "io_in");
	uint64_t rip = regs_of(vcpu).rip;

	run_to_exit(vcpu, KVM_EXIT_IO);
	((uint8_t *)vcpu->run)[vcpu->run->io.data_offset] = 0x11;
	vcpu->run->immediate_exit = 1;
	CHECK_EQ(run(vcpu), GUEST_INTR);
	vcpu->run->immediate_exit = 0;
	CHECK_EQ(regs_of(vcpu).rax, 0xffffffffffffff11);
	CHECK_EQ(regs_of(vcpu).rip, rip + 9);	/* movq $-1 is 7 bytes long, in $0xe0 2 */
	run_to_exit(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.size, 2);
}

const struct test io_tests[] = {
	{ "io", "out", "OUT of 1, 2 and 4 bytes, immediate and DX ports", out },
	{ "io", "in", "IN leaves the rest of RAX, but 4 bytes zero the upper half", in },
	{ "io", "outs", "REP OUTS of each size, backwards, and with a count of 0", outs },
	{ "io", "outs_page", "REP OUTS over pages, with a dword across two", outs_page },
	{ "io", "ins", "REP INS of each size, backwards and across pages", ins },
	{ "io", "ins_fault", "REP INS into an absent page: #PF in the middle, then on", ins_fault },
	{ "io", "outs_fault", "REP OUTS from an absent page: #PF in the middle, then on",
	  outs_fault },
	{ "io", "outs_real", "REP OUTS in real mode: a segment override, SI wraps, CX counts",
	  outs_real },
	{ "io", "immediate_exit", "immediate_exit completes a pending IN and returns EINTR",
	  immediate_exit },
	{ 0 }
};
