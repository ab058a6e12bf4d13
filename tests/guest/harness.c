/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM around the guests' image, and the process of one test.
 *
 * The outcome leaves through one descriptor, by whichever comes first of pass, fail(), skip() and
 * the alarm. The alarm asks the vCPUs to leave (immediate_exit and the signal itself) so that
 * the report can say where the guest was; if none answers within a second, it ends the process.
 */
#include "harness.h"
#include "vmm/benign.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern const uint8_t guest_image[], guest_image_end[];

const struct kvm_provider *provider;
int environment;

static int outcome_fd = 1;
static int timeout_seconds;
static volatile sig_atomic_t timed_out;
static struct vm *current_vm;

static const Elf64_Shdr *symtab;
static const char *symbol_names;

/* ---- Outcome -------------------------------------------------------------------------- */

static void __attribute__((noreturn)) finish(char letter, const char *format, va_list args)
{
	char line[1024];
	int n;

	line[0] = letter;
	n = vsnprintf(line + 1, sizeof(line) - 1, format, args);
	if (n < 0 || (size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	if (write(outcome_fd, line, n + 1) < 0)
		_exit(2);
	_exit(0);
}

void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	finish('F', format, args);
}

void skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	finish('S', format, args);
}

static void on_alarm(int signal)
{
	if (timed_out) {
		static const char text[] = "Ftimed out, and KVM_RUN did not return when asked to";

		if (write(outcome_fd, text, sizeof(text) - 1) < 0)
			_exit(2);
		_exit(0);
	}
	timed_out = 1;
	for (int i = 0; current_vm && i < current_vm->count; i++)
		current_vm->vcpus[i].run->immediate_exit = 1;
}

static void fail_timed_out(struct vcpu *vcpu)
{
	struct kvm_regs regs = { 0 };

	if (TRY_KVM(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		fail("timed out after %d s", timeout_seconds);
	fail("timed out after %d s at rip %#llx, rflags %#llx", timeout_seconds, regs.rip,
	     regs.rflags);
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- The image ------------------------------------------------------------------------ */

void image_load(void)
{
	const Elf64_Ehdr *ehdr = (const void *)guest_image;
	const Elf64_Shdr *shdr = (const void *)(guest_image + ehdr->e_shoff);

	for (int i = 0; i < ehdr->e_shnum; i++)
		if (shdr[i].sh_type == SHT_SYMTAB)
			symtab = &shdr[i];
	if (!symtab) {
		fprintf(stderr, "guest-test: the guests' image has no symbols\n");
		exit(2);
	}
	symbol_names = (const char *)guest_image + shdr[symtab->sh_link].sh_offset;
}

uint64_t symbol(const char *name)
{
	const Elf64_Sym *syms = (const void *)(guest_image + symtab->sh_offset);

	for (size_t i = 0; i < symtab->sh_size / sizeof(*syms); i++)
		if (ELF64_ST_BIND(syms[i].st_info) == STB_GLOBAL &&
		    !strcmp(symbol_names + syms[i].st_name, name))
			return syms[i].st_value;
	fail("no symbol %s in the guests' image", name);
}

/* Bytes of the image as they were linked, by guest address. */
static const void *image_bytes(uint64_t address)
{
	const Elf64_Ehdr *ehdr = (const void *)guest_image;
	const Elf64_Phdr *phdr = (const void *)(guest_image + ehdr->e_phoff);

	for (int i = 0; i < ehdr->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD && address >= phdr[i].p_vaddr &&
		    address < phdr[i].p_vaddr + phdr[i].p_filesz)
			return guest_image + phdr[i].p_offset + (address - phdr[i].p_vaddr);
	return NULL;
}

static void image_copy(uint8_t *ram)
{
	const Elf64_Ehdr *ehdr = (const void *)guest_image;
	const Elf64_Phdr *phdr = (const void *)(guest_image + ehdr->e_phoff);

	for (int i = 0; i < ehdr->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD && phdr[i].p_vaddr < RAM_SIZE)
			memcpy(ram + phdr[i].p_vaddr, guest_image + phdr[i].p_offset,
			       phdr[i].p_filesz);
}

/* The records that TEST, NEEDS and WRONG leave in the section .tests. */
size_t image_tests(struct test *tests, size_t max)
{
	const Elf64_Ehdr *ehdr = (const void *)guest_image;
	const Elf64_Shdr *shdr = (const void *)(guest_image + ehdr->e_shoff);
	const char *names = (const char *)guest_image + shdr[ehdr->e_shstrndx].sh_offset;
	const uint64_t (*records)[6] = NULL;
	struct test *test = NULL;
	size_t count = 0, n = 0;

	for (int i = 0; i < ehdr->e_shnum; i++) {
		if (!strcmp(names + shdr[i].sh_name, ".tests")) {
			records = (const void *)(guest_image + shdr[i].sh_offset);
			n = shdr[i].sh_size / sizeof(*records);
		}
	}
	for (size_t i = 0; i < n; i++) {
		const uint64_t *r = records[i];

		switch (r[0]) {
		case RECORD_TEST:
			if (count == max)
				return count;
			test = &tests[count++];
			*test = (struct test){
				.group = image_bytes(r[1]), .name = image_bytes(r[2]),
				.text = image_bytes(r[3]), .mode = r[4], .entry = r[5],
			};
			break;
		case RECORD_NEEDS:
			for (size_t j = 0; test && j < ARRAY_SIZE(test->needs) - 1; j++) {
				if (!test->needs[j]) {
					test->needs[j] = r[1];
					break;
				}
			}
			break;
		case RECORD_VM:
			if (test)
				test->vm_flags = r[1];
			break;
		case RECORD_WRONG:
			if (test && r[1] == ON_PARAVIRT)
				test->wrong_on_paravirt = image_bytes(r[2]);
			else if (test && r[1] == ON_TCG)
				test->wrong_on_tcg = image_bytes(r[2]);
			else if (test && r[1] == ON_LINUX)
				test->wrong_on_linux = image_bytes(r[2]);
			break;
		case RECORD_KILLS:
			if (test) {
				test->kills_on = r[1];
				test->kills = image_bytes(r[2]);
			}
			break;
		}
	}
	return count;
}

/* ---- ioctls --------------------------------------------------------------------------- */

int must_ioctl(int fd, unsigned long request, void *arg, const char *name, const char *file,
	       int line)
{
	int r = provider->ioctl(fd, request, arg);

	if (r < 0)
		fail("%s:%d: %s: %s", file, line, name, strerror(-r));
	return r;
}

int vm_cap(struct vm *vm, int cap)
{
	int r = TRY_KVM(vm->fd, KVM_CHECK_EXTENSION, cap);

	if (r < 0)
		r = TRY_KVM(vm->system, KVM_CHECK_EXTENSION, cap);
	return r < 0 ? 0 : r;
}

int need_cap(struct vm *vm, int cap, const char *name)
{
	int r = vm_cap(vm, cap);

	if (r == 0)
		skip("no %s", name);
	return r;
}

static struct kvm_cpuid2 *supported_cpuid(void)
{
	static struct kvm_cpuid2 *cpuid;
	const unsigned int max = 256;
	int system;

	if (cpuid)
		return cpuid;
	cpuid = calloc(1, sizeof(*cpuid) + max * sizeof(cpuid->entries[0]));
	if (!cpuid)
		fail("out of memory");
	cpuid->nent = max;
	system = provider->open();
	if (system < 0)
		fail("cannot open: %s", strerror(-system));
	KVM(system, KVM_GET_SUPPORTED_CPUID, cpuid);
	/* What user space adds by the API's own words: the LAPIC timer's mode is a capability of
	 * its own, and the hypervisor bit is a VMM's to set. */
	for (unsigned int i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1) {
			e->ecx |= 1u << 31 | 1u << 21;
			if (TRY_KVM(system, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
				e->ecx |= 1u << 24;
		}
	}
	provider->close(system);
	return cpuid;
}

bool has_feature(uint32_t feature)
{
	uint32_t leaf = feature & 0xff, sub = feature >> 8 & 0xf;
	struct kvm_cpuid2 *cpuid = supported_cpuid();

	if (leaf & EXT_LEAF)
		leaf = 0x80000000u + (leaf & ~EXT_LEAF);
	for (unsigned int i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
		uint32_t regs[] = { e->eax, e->ebx, e->ecx, e->edx };

		if (e->function == leaf && e->index == sub)
			return regs[feature >> 12 & 0xf] >> (feature >> 16) & 1;
	}
	return false;
}

void need_feature(uint32_t feature, const char *name)
{
	if (!has_feature(feature))
		skip("the provider's CPUID has no %s", name);
}

bool vendor_is(const char *vendor)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid();

	for (unsigned int i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
		uint32_t words[] = { e->ebx, e->edx, e->ecx };

		if (e->function == 0)
			return !memcmp(words, vendor, 12);
	}
	return false;
}

/* ---- VMs and vCPUs -------------------------------------------------------------------- */

void *memory(struct vm *vm, uint64_t gpa, size_t size)
{
	if (gpa > RAM_SIZE || size > RAM_SIZE - gpa)
		fail("guest address %#llx is not in slot 0", (unsigned long long)gpa);
	return vm->memory + gpa;
}

uint32_t *var(struct vm *vm, const char *name)
{
	return memory(vm, symbol(name), sizeof(uint32_t));
}

struct vm *vm_create(unsigned int flags)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct kvm_userspace_memory_region slot = { .memory_size = RAM_SIZE };

	if (!vm)
		fail("out of memory");
	vm->flags = flags;
	vm->system = provider->open();
	if (vm->system < 0)
		fail("cannot open: %s", strerror(-vm->system));
	vm->fd = KVM(vm->system, KVM_CREATE_VM, 0);
	KVM(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000);
	if (flags & VM_SPLIT) {
		struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

		NEED_CAP(vm, KVM_CAP_SPLIT_IRQCHIP);
		KVM(vm->fd, KVM_ENABLE_CAP, &cap);
	}
	if (flags & (VM_IRQCHIP | VM_PIT))
		KVM(vm->fd, KVM_CREATE_IRQCHIP, 0);
	if (flags & VM_PIT) {
		struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

		KVM(vm->fd, KVM_CREATE_PIT2, &pit);
	}
	vm->memory = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	if (vm->memory == MAP_FAILED)
		fail("no %d bytes for the guest's memory: %s", RAM_SIZE, strerror(errno));
	guest_memory(vm->memory, RAM_SIZE);
	image_copy(vm->memory);
	slot.userspace_addr = (uintptr_t)vm->memory;
	KVM(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);
	current_vm = vm;
	return vm;
}

struct vcpu *vcpu_create(struct vm *vm)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid();
	struct vcpu *vcpu = &vm->vcpus[vm->count];
	int size;

	if (vm->count == MAX_VCPUS)
		fail("the harness has no more than %d vCPUs", MAX_VCPUS);
	vcpu->vm = vm;
	vcpu->id = vm->count;
	vcpu->fd = KVM(vm->fd, KVM_CREATE_VCPU, vcpu->id);
	size = KVM(vm->system, KVM_GET_VCPU_MMAP_SIZE, 0);
	CHECK((size_t)size >= sizeof(struct kvm_run));
	vcpu->run = provider->mmap(size, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		fail("kvm_run cannot be mapped: %s", strerror(errno));
	for (unsigned int i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | (uint32_t)vcpu->id << 24;
		else if (e->function == 0xb || e->function == 0x1f)
			e->edx = vcpu->id;
	}
	KVM(vcpu->fd, KVM_SET_CPUID2, cpuid);
	vm->count++;
	return vcpu;
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool dpl3, bool l, bool db)
{
	return (struct kvm_segment){
		.selector = selector, .limit = 0xffffffff, .type = type, .s = 1, .present = 1,
		.dpl = dpl3 ? 3 : 0, .l = l, .db = db, .g = 1,
	};
}

static struct kvm_segment real_segment(uint8_t type)
{
	return (struct kvm_segment){ .limit = 0xffff, .type = type, .s = 1, .present = 1 };
}

void vcpu_start_at(struct vcpu *vcpu, int mode, uint64_t rip)
{
	struct kvm_regs regs = { .rip = rip, .rflags = 2 };
	bool is_long = mode == MODE_LONG;
	struct kvm_segment data = mode == MODE_REAL ? real_segment(3) :
						      flat(KDS, 3, false, false, true);
	struct kvm_sregs sregs = sregs_of(vcpu);

	regs.rsp = mode == MODE_REAL ? REAL_STACK : symbol("stack_top");
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cs = mode == MODE_REAL ? real_segment(11) :
		   is_long ? flat(KCS64, 11, false, true, false) :
			     flat(KCS32, 11, false, false, true);
	sregs.ldt = (struct kvm_segment){ .type = 2, .unusable = 1 };
	sregs.cr0 = 0x10;
	sregs.cr4 = 0;
	sregs.efer = 0;
	sregs.idt.base = 0;
	sregs.idt.limit = 256 * 4 - 1;
	if (mode != MODE_REAL) {
		sregs.cr0 = 0x00010031;		/* WP, NE, ET, PE */
		sregs.gdt.base = symbol("gdt");
		sregs.gdt.limit = GDT_SIZE - 1;
		sregs.idt.base = symbol(is_long ? "idt64" : "idt32");
		sregs.idt.limit = 256 * (is_long ? 16 : 8) - 1;
		sregs.tr = (struct kvm_segment){
			.selector = is_long ? TR64 : TR32, .base = is_long ? TSS64 : TSS32,
			.limit = TSS_SIZE - 1, .type = 11, .present = 1,
		};
		/* QEMU's TCG aborts, all of QEMU, where it meets a busy type in TR. */
		if (environment & ON_TCG)
			sregs.tr.type = 9;
		/* As LTR leaves it, so that a task switch finds its own TSS busy. */
		vcpu->vm->memory[symbol("gdt") + sregs.tr.selector + 5] |= 2;
	}
	if (mode == MODE_PG32) {
		sregs.cr4 = 0x10;
		sregs.cr3 = symbol("pd32");
	} else if (mode == MODE_PAE) {
		sregs.cr4 = 0x20;
		sregs.cr3 = symbol("pdptae");
	} else if (is_long) {
		sregs.cr4 = 0x20;
		sregs.cr3 = symbol("pml4");
		sregs.efer = 0x500;
	}
	if (mode >= MODE_PAE && has_feature(FEATURE_NX))
		sregs.efer |= 0x800;
	if (mode >= MODE_PG32)
		sregs.cr0 |= 0x80000000;
	KVM(vcpu->fd, KVM_SET_SREGS, &sregs);
	KVM(vcpu->fd, KVM_SET_REGS, &regs);
}

void vcpu_start(struct vcpu *vcpu, int mode, const char *name)
{
	vcpu_start_at(vcpu, mode, symbol(name));
}

struct vcpu *guest(unsigned int vm_flags, int mode, const char *name)
{
	struct vcpu *vcpu = vcpu_create(vm_create(vm_flags));

	vcpu_start(vcpu, mode, name);
	return vcpu;
}

struct kvm_regs regs_of(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	KVM(vcpu->fd, KVM_GET_REGS, &regs);
	return regs;
}

struct kvm_sregs sregs_of(struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	KVM(vcpu->fd, KVM_GET_SREGS, &sregs);
	return sregs;
}

struct one_msr {
	struct kvm_msrs header;
	struct kvm_msr_entry entry;
};

uint64_t msr_of(struct vcpu *vcpu, uint32_t index)
{
	struct one_msr msr = { .header.nmsrs = 1, .entry.index = index };

	if (KVM(vcpu->fd, KVM_GET_MSRS, &msr) != 1)
		fail("KVM_GET_MSRS does not know MSR %#x", index);
	return msr.entry.data;
}

void set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct one_msr msr = { .header.nmsrs = 1, .entry = { .index = index, .data = value } };

	if (KVM(vcpu->fd, KVM_SET_MSRS, &msr) != 1)
		fail("KVM_SET_MSRS refuses %#llx for MSR %#x", (unsigned long long)value, index);
}

/* ---- Running -------------------------------------------------------------------------- */

const char *exit_text(struct vcpu *vcpu, int reason)
{
	static _Thread_local char text[256];
	struct kvm_run *run = vcpu->run;
	struct kvm_regs regs = { 0 };
	int n;

	TRY_KVM(vcpu->fd, KVM_GET_REGS, &regs);
	switch (reason) {
	case GUEST_PASS:
		n = snprintf(text, sizeof(text), "PASS");
		break;
	case GUEST_SYNC:
		n = snprintf(text, sizeof(text), "SYNC(%u)", vcpu->sync);
		break;
	case GUEST_INTR:
		n = snprintf(text, sizeof(text), "EINTR");
		break;
	case KVM_EXIT_IO:
		n = snprintf(text, sizeof(text), "exit IO %s port %#x, %u of %u bytes",
			     run->io.direction ? "out" : "in", run->io.port, run->io.count,
			     run->io.size);
		break;
	case KVM_EXIT_MMIO:
		n = snprintf(text, sizeof(text), "exit MMIO %s %u bytes at %#llx",
			     run->mmio.is_write ? "write" : "read", run->mmio.len,
			     run->mmio.phys_addr);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		n = snprintf(text, sizeof(text), "exit INTERNAL_ERROR %u", run->internal.suberror);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		n = snprintf(text, sizeof(text), "exit FAIL_ENTRY %#llx",
			     run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_SHUTDOWN:
		n = snprintf(text, sizeof(text), "exit SHUTDOWN");
		break;
	case KVM_EXIT_HLT:
		n = snprintf(text, sizeof(text), "exit HLT");
		break;
	default:
		n = snprintf(text, sizeof(text), "exit reason %d", reason);
		break;
	}
	snprintf(text + n, sizeof(text) - n, " (rip %#llx)", regs.rip);
	return text;
}

static const char *guest_text(struct vm *vm, uint32_t address)
{
	return address < RAM_SIZE ? (const char *)vm->memory + address : "?";
}

static void fail_guest(struct vcpu *vcpu, unsigned int port)
{
	struct kvm_regs r = regs_of(vcpu);
	const char *file = guest_text(vcpu->vm, r.rsi);
	uint64_t exc[14];

	if (port == PORT_FAIL)
		fail("%s:%llu: got %#llx, expected %#llx", file, r.rdx, r.rax, r.rcx);
	if (port == PORT_NOFAULT)
		fail("%s:%llu: no exception, expected vector %llu", file, r.rdx, r.rcx);
	memcpy(exc, memory(vcpu->vm, EXC, sizeof(exc)), sizeof(exc));
	fail("unexpected exception %llu, error code %#llx, at %#llx:%#llx, cr2 %#llx",
	     (unsigned long long)exc[1], (unsigned long long)exc[2], (unsigned long long)exc[4],
	     (unsigned long long)exc[3], (unsigned long long)exc[8]);
}

void irq_line(struct vm *vm, unsigned int gsi, unsigned int level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	KVM(vm->fd, KVM_IRQ_LINE, &irq);
}

static void signal_msi(struct vm *vm, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = data };

	KVM(vm->fd, KVM_SIGNAL_MSI, &msi);
}

int run(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data;
	int r;

	for (;;) {
		r = TRY_KVM(vcpu->fd, KVM_RUN, 0);
		if (timed_out)
			fail_timed_out(vcpu);
		if (r == -EINTR)
			return GUEST_INTR;
		if (r == -EAGAIN)
			continue;
		if (r < 0)
			fail("KVM_RUN: %s", strerror(-r));
		if (run->exit_reason != KVM_EXIT_IO)
			return run->exit_reason;
		data = (uint8_t *)run + run->io.data_offset;
		switch (run->io.port) {
		case PORT_PASS:
			return GUEST_PASS;
		case PORT_SYNC:
			vcpu->sync = *data;
			return GUEST_SYNC;
		case PORT_FAIL:
		case PORT_STRAY:
		case PORT_NOFAULT:
			fail_guest(vcpu, run->io.port);
			break;
		case PORT_IRQ:
			irq_line(vcpu->vm, *data & 0x7f, *data >> 7);
			break;
		case PORT_NMI:
			KVM(vcpu->fd, KVM_NMI, 0);
			break;
		case PORT_MSI:
			signal_msi(vcpu->vm, *(uint32_t *)data);
			break;
		case PORT_LOG:
			if (vcpu->logged == ARRAY_SIZE(vcpu->log))
				fail("the guest logs without end");
			vcpu->log[vcpu->logged] = 0;
			memcpy(&vcpu->log[vcpu->logged++], data, run->io.size);
			break;
		default:
			return KVM_EXIT_IO;
		}
	}
}

void run_to_pass(struct vcpu *vcpu)
{
	int r = run(vcpu);

	if (r != GUEST_PASS)
		fail("%s, expected PASS", exit_text(vcpu, r));
}

void run_to_sync(struct vcpu *vcpu, unsigned int n)
{
	int r = run(vcpu);

	if (r != GUEST_SYNC || vcpu->sync != n)
		fail("%s, expected SYNC(%u)", exit_text(vcpu, r), n);
}

void run_to_exit(struct vcpu *vcpu, unsigned int reason)
{
	int r = run(vcpu);

	if (r != (int)reason)
		fail("%s, expected exit reason %u", exit_text(vcpu, r), reason);
}

static void *run_thread(void *arg)
{
	run_to_pass(arg);
	return NULL;
}

void run_all_to_pass(struct vm *vm)
{
	pthread_t threads[MAX_VCPUS];

	for (int i = 0; i < vm->count; i++)
		if (pthread_create(&threads[i], NULL, run_thread, &vm->vcpus[i]))
			fail("no thread for vCPU %d", i);
	for (int i = 0; i < vm->count; i++)
		pthread_join(threads[i], NULL);
}

/* ---- One test ------------------------------------------------------------------------- */

void test_main(const struct test *test, int outcome, int seconds)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = { .it_value.tv_sec = seconds, .it_interval.tv_sec = 1 };

	outcome_fd = outcome;
	timeout_seconds = seconds;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (const uint32_t *f = test->needs; *f; f++)
		if (!has_feature(*f))
			skip("the provider's CPUID has no bit %u of leaf %#x", *f >> 16, *f & 0xff);
	if (test->run) {
		test->run();
	} else {
		struct vcpu *vcpu = vcpu_create(vm_create(test->vm_flags));

		vcpu_start_at(vcpu, test->mode, test->entry);
		run_to_pass(vcpu);
	}
	if (write(outcome_fd, "P", 1) < 0)
		_exit(2);
	_exit(0);
}

void probe_paravirt(void)
{
	struct vcpu *vcpu = guest(0, MODE_LONG, "probe");
	int r = run(vcpu);

	if (r == KVM_EXIT_INTERNAL_ERROR)
		skip("KVM_EXIT_INTERNAL_ERROR for cmpxchg16b in ring 0");
	if (r != GUEST_PASS)
		fail("probe: %s", exit_text(vcpu, r));
}
