/* SPDX-License-Identifier: GPL-2.0-only */
/* Virtual machines for the fuzzers: see vm.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/vm.h"

#define die(...)	(fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), abort())

uint8_t *const ram = (uint8_t *)0x200000000000;
uint8_t *const scratch = (uint8_t *)0x210000000000;
static uint8_t *const forbidden = (uint8_t *)0x220000000000;	/* no access */
static uint8_t *const constant = (uint8_t *)0x230000000000;	/* to be read only */
static struct kvm_cpuid2 *cpuid;

/* ---- the input ---- */

uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t x = 0;

	take_into(in, &x, bytes);
	return x;
}

void take_into(struct input *in, void *to, size_t n)
{
	size_t part = n < in->left ? n : in->left;

	memcpy(to, in->at, part);
	memset((uint8_t *)to + part, 0, n - part);
	in->at += part;
	in->left -= part;
}

unsigned int pick(struct input *in, unsigned int n)
{
	return (unsigned int)take(in, 1) % n;
}

/* ---- memory ---- */

static void map(uint8_t *at, size_t size, int protection)
{
	/* Guard pages are whatever is around: nothing. */
	if (mmap(at, size, protection, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at)
		die("no memory at %p", (void *)at);
}

void *some_pointer(struct input *in)
{
	uint64_t offset = take(in, 2);

	switch (pick(in, 8)) {
	case 0:
		return (void *)(offset * PAGE);
	case 1:
		return (void *)-offset;
	case 2:
		return (void *)(1ul << 47 | offset);
	case 3:
		return forbidden + offset;
	case 4:
		return constant + offset % (2 * PAGE);
	case 5:
		return scratch + SCRATCH_SIZE - offset % 64;
	default:
		return scratch + offset % SCRATCH_SIZE;
	}
}

/* ---- VMs ---- */

static void nothing(int signal)
{
}

static void init(void)
{
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	int sys;

	if (cpuid)
		return;
	map(ram, RAM_SIZE, PROT_READ | PROT_WRITE);
	map(scratch, SCRATCH_SIZE, PROT_READ | PROT_WRITE);
	map(forbidden, 64 * PAGE, PROT_NONE);
	map(constant, 2 * PAGE, PROT_READ);
	sigaction(SIGUSR2, &action, NULL);
	cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));
	cpuid->nent = MAX_CPUID;
	sys = anykvm_open();
	if (sys < 0 || anykvm_ioctl(sys, KVM_GET_SUPPORTED_CPUID, cpuid))
		die("no CPUID");
	anykvm_close(sys);
}

static int enable(int fd, uint32_t cap, uint64_t value)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { value } };

	return anykvm_ioctl(fd, KVM_ENABLE_CAP, &c);
}

void vm_open(struct vm *vm, unsigned int flags)
{
	struct kvm_pit_config pit = { .flags = 0 };

	init();
	memset(ram, 0, RAM_SIZE);
	anykvm_set_engine(flags & FUZZ_JIT ? "jit" : "interp");
	anykvm_set_option("code-cache", "1M");
	*vm = (struct vm){ .sys = anykvm_open() };
	vm->fd = anykvm_ioctl(vm->sys, KVM_CREATE_VM, NULL);
	if (vm->fd < 0)
		die("no VM: %d", vm->fd);
	if (flags & FUZZ_IRQCHIP)
		anykvm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL);
	else if (flags & FUZZ_SPLIT)
		enable(vm->fd, KVM_CAP_SPLIT_IRQCHIP, 24);
	if (flags & FUZZ_PIT)
		anykvm_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
	if (flags & FUZZ_RING)
		enable(vm->fd, KVM_CAP_DIRTY_LOG_RING, PAGE);
	if (flags & FUZZ_PAYLOAD) {
		enable(vm->fd, KVM_CAP_EXCEPTION_PAYLOAD, 1);
		enable(vm->fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
	}
}

bool vm_add_vcpu(struct vm *vm, unsigned int id)
{
	int fd;

	if (vm->nr == MAX_VCPUS)
		return false;
	fd = anykvm_ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)id);
	if (fd < 0)
		return false;
	vm->run[vm->nr] = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (vm->run[vm->nr] == MAP_FAILED)
		die("kvm_run cannot be mapped");
	vm->vcpu[vm->nr++] = fd;
	anykvm_ioctl(fd, KVM_SET_CPUID2, cpuid);
	return true;
}

void vm_close(struct vm *vm)
{
	for (int i = 0; i < vm->nr; i++) {
		munmap(vm->run[i], 3 * PAGE);
		anykvm_close(vm->vcpu[i]);
	}
	anykvm_close(vm->fd);
	anykvm_close(vm->sys);
}

int set_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *host)
{
	struct kvm_userspace_memory_region r = { slot, flags, gpa, size, (uintptr_t)host };

	return anykvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

/* ---- system management mode ---- */

#define SMM_ENTRY	0x38000u	/* from SMBASE at power-on */
#define SMM_MAP		0x3fe00u

bool make_smm(struct vm *vm)
{
	static const uint8_t rsm[] = { 0x0f, 0xaa };

	ram[SMM_ENTRY] = 0xf4;
	memcpy(ram + SMM_ENTRY + 1, ram + GUEST_CODE, 16);
	memcpy(ram + SMM_ENTRY + 17, rsm, sizeof(rsm));
	return !set_slot(vm, 1 << 16, 0, 0, RAM_SIZE, ram);
}

bool enter_smm(struct vm *vm, int n, uint64_t seed, struct input *in)
{
	anykvm_ioctl(vm->vcpu[n], KVM_SMI, NULL);
	if (!run_guest(vm, n, 1, in))
		return false;
	for (unsigned int i = seed >> 62; i--; seed *= 0x9e3779b97f4a7c15)
		ram[SMM_MAP + (seed >> 8) % 512] ^= seed & 1 ? 1u << (seed >> 3 & 7) : seed >> 20;
	return true;
}

/* ---- guests ---- */

#define GDT		0x1000u
#define IDT		0x2000u		/* 16 bytes a gate in long mode, 8 in others: see make_tables */
#define IDT32		0x3000u
#define TSS		0x3800u
#define TSS32		0x3900u
#define PAGE_TABLES	0x4000u		/* a page each: PML4, PDPT, PD, PT */
#define HANDLERS	0x7e00u		/* in the last one's page, behind what it uses */

/* Selectors. */
enum { CODE32 = 8, DATA = 16, CODE64 = 24, CODE16 = 32, DATA16 = 40, USER_CODE32 = 48, USER_DATA = 56,
       USER_CODE64 = 64, USER_CODE16 = 72, TASK = 80, TASK32 = 96, GATE = 104, LDT = 120 };

static void gdt(unsigned int selector, uint64_t descriptor)
{
	memcpy(ram + GDT + selector, &descriptor, 8);
}

static void system_segment(unsigned int selector, uint64_t type, uint64_t base)
{
	gdt(selector, 0x67 | (base & 0xffffff) << 16 | (0x80 | type) << 40);
	gdt(selector + 8, 0);
}

static void put64(unsigned int at, uint64_t value)
{
	memcpy(ram + at, &value, 8);
}

static void put32(unsigned int at, uint32_t value)
{
	memcpy(ram + at, &value, 4);
}

void make_tables(bool handlers_return)
{
	/* IRET's operand size is the mode's; a REX prefix is a DEC elsewhere. */
	static const uint8_t iret[] = { 0x48, 0xcf };
	const uint64_t code = 0x00cf9b000000ffff, data = 0x00cf93000000ffff, dpl3 = 3ull << 45;

	for (unsigned int i = 0; i < 0x180; i += 2)
		memcpy(ram + HANDLERS + i, handlers_return ? iret : (const uint8_t *)"\xf4\xf4", 2);
	for (unsigned int n = 0; n < 256; n++)	/* real mode's vectors */
		put32(n * 4, HANDLERS);

	gdt(CODE32, code);
	gdt(DATA, data);
	gdt(CODE64, 0x00af9b000000ffff);
	gdt(CODE16, 0x00009b000000ffff);
	gdt(DATA16, 0x000093000000ffff);
	gdt(USER_CODE32, code | dpl3);
	gdt(USER_DATA, data | dpl3);
	gdt(USER_CODE64, 0x00af9b000000ffff | dpl3);
	gdt(USER_CODE16, 0x00009b000000ffff | dpl3);
	system_segment(TASK, 9, TSS);
	gdt(TASK32, 0x67 | TSS32 << 16 | 0x89ull << 40);
	gdt(GATE, HANDLERS | (uint64_t)CODE32 << 16 | 0xecull << 40);	/* a 32-bit call gate */
	system_segment(LDT, 2, GDT);

	for (unsigned int n = 0; n < 256; n++) {
		uint64_t gate = HANDLERS | 0x8e00ull << 32 | (n & 1 ? 0x6000ull << 32 : 0);

		if (n < 128) {
			put64(IDT + n * 16, gate | (uint64_t)CODE64 << 16 | (n == 8 ? 1ull << 32 : 0));
			put64(IDT + n * 16 + 8, 0);
		}
		put64(IDT32 + n * 8, n == 8 ? (uint64_t)TASK32 << 16 | 0x8500ull << 32 :
						 gate | (uint64_t)CODE32 << 16);
	}
	memset(ram + TSS, 0, 0x68);
	put64(TSS + 4, GUEST_STACK - 0x1000);		/* RSP0, IST1 */
	put64(TSS + 0x24, GUEST_STACK - 0x2000);
	memset(ram + TSS32, 0, 0x68);
	put32(TSS32 + 4, GUEST_STACK - 0x1000);		/* ESP0, SS0 */
	put32(TSS32 + 8, DATA);
	put32(TSS32 + 0x20, HANDLERS);			/* where a task switch leads */
	put32(TSS32 + 0x38, GUEST_STACK - 0x1800);
	for (unsigned int i = 0; i < 6; i++)
		put32(TSS32 + 0x48 + 4 * i, i == 1 ? CODE32 : DATA);
}

void put_code(struct input *in, size_t n)
{
	const size_t room = GUEST_DATA - GUEST_CODE;

	n = n < in->left ? n : in->left;
	memset(ram + GUEST_CODE, 0xf4, room);
	take_into(in, ram + GUEST_CODE, n < room ? n : room);
}

static struct kvm_segment segment(unsigned int selector)
{
	uint64_t d;

	memcpy(&d, ram + GDT + (selector & ~7u), 8);
	return (struct kvm_segment){
		.selector = selector, .type = d >> 40 & 15, .s = d >> 44 & 1, .dpl = d >> 45 & 3,
		.present = d >> 47 & 1, .l = d >> 53 & 1, .db = d >> 54 & 1, .g = d >> 55 & 1,
		.base = (d >> 16 & 0xffffff) | (d >> 56 << 24),
		.limit = d >> 55 & 1 ? 0xffffffff : 0xffff, .unusable = !selector };
}

static struct kvm_segment real_segment(bool user)
{
	return (struct kvm_segment){ .limit = 0xffff, .type = 3, .present = 1, .s = 1,
				     .dpl = user ? 3 : 0 };
}

/* Page tables for the mode, and its CR3. RAM maps to itself; behind it come pages of other
 * kinds. */
static uint64_t page_tables(enum mode mode)
{
	const unsigned int pdpt = PAGE_TABLES + 0x1000, pd = PAGE_TABLES + 0x2000, pt = PAGE_TABLES + 0x3000;

	if (mode == PAGED32) {
		for (unsigned int n = 0; n < RAM_PAGES; n++)
			put32(pt + 4 * n, n << 12 | 7);
		put32(pt + 4 * RAM_PAGES, 0x30000 | 5);			/* not to be written */
		put32(pt + 4 * (RAM_PAGES + 1), 0x31000 | 3);		/* the kernel's */
		put32(PAGE_TABLES, pt | 7);
		put32(PAGE_TABLES + 4, 0x87);				/* 4 MiB */
		return PAGE_TABLES;
	}
	for (unsigned int n = 0; n < RAM_PAGES; n++)
		put64(pt + 8 * n, n << 12 | 7);
	put64(pt + 8 * RAM_PAGES, 0x30000 | 5);
	put64(pt + 8 * (RAM_PAGES + 1), 0x31000 | 3);
	put64(pt + 8 * (RAM_PAGES + 2), 0x32000 | 7 | 1ull << 63);	/* no code */
	put64(pt + 8 * (RAM_PAGES + 3), 0xfee00000 | 7);		/* the local APIC */
	/* A reserved bit, perhaps. */
	put64(pt + 8 * (RAM_PAGES + 4), 1ull << 51 | 7);
	put64(pd, pt | 7);
	put64(pd + 8, 0x87);						/* 2 MiB */
	put64(pdpt, pd | 7);
	if (mode == PAE) {
		put64(PAGE_TABLES, pd | 1);
		put64(PAGE_TABLES + 8, pd | 1);
	} else {
		put64(PAGE_TABLES, pdpt | 7);
	}
	return PAGE_TABLES;
}

static void set_registers(struct kvm_regs *r, uint64_t seed)
{
	static const uint64_t values[16] = {
		0, 1, ~0ull, GUEST_DATA, GUEST_CODE, GUEST_STACK, RAM_SIZE - 4, RAM_SIZE + 8,
		0x80000000, 0x7fffffff, 1ull << 63, 0x0000800000000000, GUEST_DATA + 0xffd,
		0xfee00300, 0x40, RAM_SIZE + 3 * PAGE + 0x80,
	};
	unsigned long long *const reg[16] = {
		&r->rax, &r->rbx, &r->rcx, &r->rdx, &r->rsi, &r->rdi, &r->rbp, &r->r8,
		&r->r9, &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15, &r->rsp,
	};

	for (unsigned int i = 0; i < 16; i++)
		*reg[i] = values[seed >> 4 * i & 15];
	/* A stack that is one, mostly. */
	if (seed >> 60 < 12)
		r->rsp = GUEST_STACK;
}

void place(struct vm *vm, int n, enum mode mode, bool user, uint64_t seed)
{
	struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 2 | (seed & 0xcd5) };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .value = 7 } } };
	unsigned int code, data = user ? USER_DATA | 3 : DATA;
	bool big = mode == LONG || mode == COMPAT;
	struct kvm_sregs s;

	set_registers(&regs, seed);
	if (anykvm_ioctl(vm->vcpu[n], KVM_GET_SREGS, &s))
		die("no registers");
	s.gdt.base = GDT;
	s.gdt.limit = 0x7f;
	s.idt.base = big ? IDT : IDT32;
	s.idt.limit = 0x7ff;
	s.cr0 = mode == REAL ? 0x10 : 0x33;
	s.cr4 = 0x600 | 0x40000;		/* OSFXSR, OSXMMEXCPT, OSXSAVE */
	s.efer = big ? 0xd01 : 0;
	if (mode == PAGED32 || mode == PAE || big) {
		s.cr3 = page_tables(mode);
		s.cr0 |= 0x80000000;
		s.cr4 |= 0x90 | (mode == PAGED32 ? 0 : 0x20);
	}
	if (mode == REAL || mode == VM86) {
		s.cs = s.ss = s.ds = s.es = s.fs = s.gs = real_segment(mode == VM86);
		s.idt.base = mode == REAL ? 0 : IDT32;
		s.idt.limit = mode == REAL ? 0x3ff : 0x7ff;
		regs.rip = GUEST_CODE;
		regs.rsp &= 0xfffe;
		if (mode == VM86) {
			s.tr = segment(TASK32);
			s.tr.type = 11;
			regs.rflags |= 1 << 17;
		}
	} else {
		code = mode == LONG ? CODE64 : mode == PROT16 ? CODE16 : CODE32;
		if (user)
			code = (code == CODE64 ? USER_CODE64 : code == CODE16 ? USER_CODE16 : USER_CODE32) | 3;
		s.cs = segment(code);
		s.ss = s.ds = s.es = s.fs = s.gs = segment(mode == PROT16 && !user ? DATA16 : data);
		s.tr = segment(big ? TASK : TASK32);
		s.tr.type = 11;
		s.tr.limit = 0x67;
	}
	s.ldt = segment(LDT);
	anykvm_ioctl(vm->vcpu[n], KVM_SET_SREGS, &s);
	anykvm_ioctl(vm->vcpu[n], KVM_SET_REGS, &regs);
	anykvm_ioctl(vm->vcpu[n], KVM_SET_XCRS, &xcrs);
}

/* ---- KVM_RUN ---- */

/* Signals to this thread, again and again, since a run may end just before one. */
static timer_t timer(void)
{
	static __thread timer_t t;
	static __thread bool made;
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2 };

	if (made)
		return t;
	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &t))
		die("no timer");
	made = true;
	return t;
}

static void arm(long ns)
{
	struct itimerspec when = { .it_value = { .tv_nsec = ns }, .it_interval = { .tv_nsec = ns } };

	timer_settime(timer(), 0, &when, NULL);
}

void end_thread(void)
{
	timer_delete(timer());
}

static void answer(struct kvm_run *run, struct input *in)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.direction == KVM_EXIT_IO_IN &&
		    run->io.data_offset + (uint64_t)run->io.size * run->io.count <= 3 * PAGE)
			take_into(in, (uint8_t *)run + run->io.data_offset, (size_t)run->io.size);
		break;
	case KVM_EXIT_MMIO:
		if (!run->mmio.is_write)
			take_into(in, run->mmio.data, sizeof(run->mmio.data));
		break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		run->msr.error = (uint8_t)take(in, 1);
		run->msr.data = take(in, 8);
		break;
	case KVM_EXIT_HYPERV:
		if (run->hyperv.type == KVM_EXIT_HYPERV_HCALL)
			run->hyperv.u.hcall.result = take(in, 8);
		break;
	}
}

static void check_exit(const struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.size != 1 && run->io.size != 2 && run->io.size != 4)
			die("KVM_EXIT_IO of %u bytes", run->io.size);
		if (!run->io.count || run->io.data_offset + (uint64_t)run->io.size * run->io.count > 3 * PAGE)
			die("KVM_EXIT_IO of %u at %llu", run->io.count, run->io.data_offset);
		break;
	case KVM_EXIT_MMIO:
		if (!run->mmio.len || run->mmio.len > 8)
			die("KVM_EXIT_MMIO of %u bytes", run->mmio.len);
		break;
	case KVM_EXIT_UNKNOWN:
	case KVM_EXIT_FAIL_ENTRY:
		die("exit %u", run->exit_reason);
	}
}

bool run_guest(struct vm *vm, int n, unsigned int exits, struct input *in)
{
	bool ended = true;
	int r;

	arm(400000);
	while (exits--) {
		r = anykvm_ioctl(vm->vcpu[n], KVM_RUN, NULL);
		ended = r != -EINTR;
		if (!r) {
			check_exit(vm->run[n]);
			answer(vm->run[n], in);
			if (vm->run[n]->exit_reason == KVM_EXIT_SHUTDOWN ||
			    vm->run[n]->exit_reason == KVM_EXIT_INTERNAL_ERROR ||
			    vm->run[n]->exit_reason == KVM_EXIT_HLT)
				break;
		} else if (r == -EAGAIN) {
			continue;
		} else {
			if (r != -EINTR && r != -EFAULT && r != -EINVAL && r != -ENOMEM && r != -EIO)
				die("KVM_RUN gives %d", r);
			break;
		}
	}
	arm(0);
	return ended;
}
