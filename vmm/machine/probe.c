/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The probe guest: a few milliseconds which tell a KVM on hardware from what only looks like one.
 *
 * The guest starts in long mode with paging on, in ring 0, says so through a port, executes
 * cmpxchg16b (which emulating drivers lack, and kernels use) and a loop of a million iterations
 * (which takes a processor a millisecond, and an emulating driver a second). It runs in a child
 * process, because a driver that is not what it says may also hang, and only the death of the
 * process surely gets a thread out of KVM_RUN.
 */
#include "vmm/machine/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROBE_TIMEOUT_S	2
#define PROBE_TRIES	3

/* Guest-physical layout: everything in the one 2 MiB page that the tables map onto itself. */
enum {
	PROBE_PML4 = 0x1000,
	PROBE_PDPT = 0x2000,
	PROBE_PD = 0x3000,
	PROBE_CODE = 0x4000,
	PROBE_DATA = 0x5000,
	PROBE_MEM_SIZE = 0x8000,
};

/* Each step reports on its own port, so that an answer cannot be taken for another step's. */
#define PROBE_PORT_ALIVE	0x10
#define PROBE_PORT_CX16		0x11
#define PROBE_PORT_LOOP		0x12

#define PROBE_ALIVE	0x600dcafe

#define PTE_P	(1u << 0)
#define PTE_RW	(1u << 1)
#define PTE_PS	(1u << 7)

#define CR0_PE	(1u << 0)
#define CR0_MP	(1u << 1)
#define CR0_ET	(1u << 4)
#define CR0_NE	(1u << 5)
#define CR0_WP	(1u << 16)
#define CR0_PG	(1u << 31)
#define CR4_PAE	(1u << 5)
#define EFER_LME	(1u << 8)
#define EFER_LMA	(1u << 10)

#define STR_(x)	#x
#define STR(x)	STR_(x)

/*
 * alive: out PROBE_PORT_ALIVE, PROBE_ALIVE
 * cx16:  rdi points to 16 bytes equal to rdx:rax; exchange with rcx:rbx, report ZF
 * loop:  eax = sum of 1 … r8d, and report it
 */
extern const char probe_code[] __attribute__((visibility("hidden")));
extern const char probe_code_loop[] __attribute__((visibility("hidden")));
extern const char probe_code_end[] __attribute__((visibility("hidden")));
asm(".pushsection .rodata\n"
    "probe_code:\n"
    "	mov	$" STR(PROBE_ALIVE) ", %eax\n"
    "	out	%eax, $" STR(PROBE_PORT_ALIVE) "\n"
    "	mov	(%rdi), %rax\n"
    "	mov	8(%rdi), %rdx\n"
    "	mov	%rax, %rbx\n"
    "	not	%rbx\n"
    "	mov	%rdx, %rcx\n"
    "	not	%rcx\n"
    "	lock cmpxchg16b (%rdi)\n"
    "	sete	%al\n"
    "	movzbl	%al, %eax\n"
    "	out	%eax, $" STR(PROBE_PORT_CX16) "\n"
    "probe_code_loop:\n"
    "	xor	%eax, %eax\n"
    "	mov	%r8d, %ecx\n"
    "1:	add	%ecx, %eax\n"
    "	dec	%ecx\n"
    "	jnz	1b\n"
    "	out	%eax, $" STR(PROBE_PORT_LOOP) "\n"
    "	hlt\n"
    "probe_code_end:\n"
    ".popsection\n");

struct probe_vm {
	const struct kvm_provider *kvm;
	int sys, vm, vcpu;
	uint8_t *mem;
	struct kvm_run *run;
	size_t run_size;
};

static void __attribute__((format(printf, 2, 3)))
fail(struct kvm_probe *probe, const char *format, ...)
{
	va_list args;

	if (probe->reason[0])
		return;
	va_start(args, format);
	vsnprintf(probe->reason, sizeof(probe->reason), format, args);
	va_end(args);
}

void kvm_explain_open(const struct kvm_provider *kvm, int err, char *text, size_t size)
{
	struct stat st;
	bool module = !stat("/sys/module/kvm", &st);

	if (kvm != &kvm_provider_linux)
		snprintf(text, size, "cannot be opened: %s", strerror(-err));
	else if (err == -ENOENT && module)
		snprintf(text, size, "/dev/kvm is absent, though the kvm module is loaded (in a "
			 "container, pass the device in)");
	else if (err == -ENOENT)
		snprintf(text, size, "/dev/kvm is absent: this machine has no virtualization "
			 "hardware, or the kvm-intel or kvm-amd module is not loaded");
	else if (err == -EACCES || err == -EPERM)
		snprintf(text, size, "no permission to open /dev/kvm (join the group which owns "
			 "it, or be root)");
	else if (err == -ENODEV || err == -ENXIO)
		snprintf(text, size, "/dev/kvm has no driver behind it: the kvm-intel or kvm-amd "
			 "module is not loaded");
	else
		snprintf(text, size, "/dev/kvm does not open: %s", strerror(-err));
}

static void probe_vm_close(struct probe_vm *p)
{
	if (p->run != MAP_FAILED)
		p->kvm->munmap(p->run, p->run_size);
	if (p->vcpu >= 0)
		p->kvm->close(p->vcpu);
	if (p->vm >= 0)
		p->kvm->close(p->vm);
	if (p->sys >= 0)
		p->kvm->close(p->sys);
	if (p->mem != MAP_FAILED)
		munmap(p->mem, PROBE_MEM_SIZE);
}

/* The guest sees what the provider offers; without CPUID's word for it, a provider may refuse long
 * mode or cmpxchg16b. */
static int probe_set_cpuid(struct probe_vm *p)
{
	const uint32_t entries = 256;
	struct kvm_cpuid2 *cpuid;
	int ret;

	cpuid = calloc(1, sizeof(*cpuid) + entries * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = entries;
	ret = p->kvm->ioctl(p->sys, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (!ret)
		ret = p->kvm->ioctl(p->vcpu, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	return ret;
}

/* Long mode with paging, entered by setting the registers: the way there is not what is probed. */
static int probe_set_registers(struct probe_vm *p)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 0x08, .type = 0xb, .present = 1, .s = 1, .l = 1,
		.g = 1,
	};
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 0x10, .type = 0x3, .present = 1, .s = 1, .db = 1,
		.g = 1,
	};
	struct kvm_regs regs = {
		.rip = PROBE_CODE, .rflags = 0x2, .rdi = PROBE_DATA, .r8 = PROBE_LOOP_ITERATIONS,
		.rsp = PROBE_MEM_SIZE,
	};
	struct kvm_sregs sregs;
	int ret;

	ret = p->kvm->ioctl(p->vcpu, KVM_GET_SREGS, &sregs);
	if (ret)
		return ret;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = data;
	sregs.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	sregs.cr3 = PROBE_PML4;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	ret = p->kvm->ioctl(p->vcpu, KVM_SET_SREGS, &sregs);
	if (ret)
		return ret;
	return p->kvm->ioctl(p->vcpu, KVM_SET_REGS, &regs);
}

static bool probe_vm_open(struct probe_vm *p, struct kvm_probe *probe)
{
	struct kvm_userspace_memory_region region = { .memory_size = PROBE_MEM_SIZE };
	const char *what;
	int ret;

	ret = p->kvm->open();
	if (ret < 0) {
		kvm_explain_open(p->kvm, ret, probe->reason, sizeof(probe->reason));
		return false;
	}
	p->sys = ret;
	probe->opens = true;

	what = "KVM_GET_API_VERSION";
	ret = p->kvm->ioctl(p->sys, KVM_GET_API_VERSION, NULL);
	if (ret < 0)
		goto failed;
	probe->api_version = ret;
	if (ret != KVM_API_VERSION) {
		fail(probe, "API version %d; only %d is known here", ret, KVM_API_VERSION);
		return false;
	}

	what = "KVM_CREATE_VM";
	p->vm = ret = p->kvm->ioctl(p->sys, KVM_CREATE_VM, NULL);
	if (ret < 0)
		goto failed;

	what = "memory for the probe";
	p->mem = mmap(NULL, PROBE_MEM_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p->mem == MAP_FAILED) {
		ret = -errno;
		goto failed;
	}
	*(uint64_t *)(p->mem + PROBE_PML4) = PROBE_PDPT | PTE_P | PTE_RW;
	*(uint64_t *)(p->mem + PROBE_PDPT) = PROBE_PD | PTE_P | PTE_RW;
	*(uint64_t *)(p->mem + PROBE_PD) = PTE_P | PTE_RW | PTE_PS;
	memcpy(p->mem + PROBE_CODE, probe_code, probe_code_end - probe_code);
	memset(p->mem + PROBE_DATA, 0x5a, 16);

	what = "KVM_SET_USER_MEMORY_REGION";
	region.userspace_addr = (uintptr_t)p->mem;
	ret = p->kvm->ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region);
	if (ret)
		goto failed;

	what = "KVM_CREATE_VCPU";
	p->vcpu = ret = p->kvm->ioctl(p->vm, KVM_CREATE_VCPU, NULL);
	if (ret < 0)
		goto failed;

	what = "KVM_GET_VCPU_MMAP_SIZE";
	ret = p->kvm->ioctl(p->sys, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (ret < (int)sizeof(struct kvm_run)) {
		ret = ret < 0 ? ret : -EINVAL;
		goto failed;
	}
	p->run_size = ret;
	what = "mapping kvm_run";
	p->run = p->kvm->mmap(p->run_size, p->vcpu, 0);
	if (p->run == MAP_FAILED) {
		ret = -errno;
		goto failed;
	}

	what = "KVM_SET_CPUID2";
	ret = probe_set_cpuid(p);
	if (ret)
		goto failed;
	what = "setting the registers";
	ret = probe_set_registers(p);
	if (ret)
		goto failed;
	return true;

failed:
	fail(probe, "%s failed: %s", what, strerror(-ret));
	return false;
}

/* Runs the guest up to its next report, which must come on the given port. */
static bool probe_vm_step(struct probe_vm *p, struct kvm_probe *probe, const char *step,
			  uint16_t port, uint32_t *value)
{
	struct kvm_run *run = p->run;
	int ret;

	do
		ret = p->kvm->ioctl(p->vcpu, KVM_RUN, NULL);
	while (ret == -EINTR || ret == -EAGAIN);

	if (ret < 0) {
		fail(probe, "%s: KVM_RUN failed: %s", step, strerror(-ret));
	} else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
		fail(probe, "%s ended in an internal error (%u)", step, run->internal.suberror);
	} else if (run->exit_reason == KVM_EXIT_SHUTDOWN) {
		fail(probe, "%s ended in a triple fault", step);
	} else if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT &&
		   run->io.size == 4 && run->io.count == 1 && run->io.port == port &&
		   run->io.data_offset <= p->run_size - 4) {
		memcpy(value, (uint8_t *)run + run->io.data_offset, 4);
		return true;
	} else {
		fail(probe, "%s ended in exit %u instead of its result", step, run->exit_reason);
	}
	return false;
}

/* After a step that failed: on with the loop, which needs no more than the registers. */
static bool probe_vm_goto_loop(struct probe_vm *p)
{
	return !probe_set_registers(p) &&
	       !p->kvm->ioctl(p->vcpu, KVM_SET_REGS, &(struct kvm_regs) {
			.rip = PROBE_CODE + (probe_code_loop - probe_code),
			.rflags = 0x2, .r8 = PROBE_LOOP_ITERATIONS,
	       });
}

/* Of the thread, so that a busy machine is not taken for a slow processor. A vCPU's time in the
 * guest counts as its thread's. */
static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void probe_guest(const struct kvm_provider *kvm, struct kvm_probe *probe, bool all)
{
	struct probe_vm p = {
		.kvm = kvm, .sys = -1, .vm = -1, .vcpu = -1, .mem = MAP_FAILED, .run = MAP_FAILED,
	};
	const uint32_t sum = (uint32_t)(PROBE_LOOP_ITERATIONS *
					(PROBE_LOOP_ITERATIONS + 1ull) / 2);
	uint32_t value = 0;
	uint64_t start;

	if (!probe_vm_open(&p, probe))
		goto out;

	if (!probe_vm_step(&p, probe, "long mode with paging", PROBE_PORT_ALIVE, &value))
		goto out;
	if (value != PROBE_ALIVE) {
		fail(probe, "long mode with paging: port write carried %#x, not %#x", value,
		     PROBE_ALIVE);
		goto out;
	}
	probe->long_mode = true;

	if (probe_vm_step(&p, probe, "cmpxchg16b", PROBE_PORT_CX16, &value)) {
		const uint8_t *data = p.mem + PROBE_DATA;

		probe->cmpxchg16b = value == 1 && data[0] == 0xa5 && !memcmp(data, data + 1, 15);
		if (!probe->cmpxchg16b)
			fail(probe, "cmpxchg16b gave a wrong result");
	}
	if (!probe->cmpxchg16b && (!all || !probe_vm_goto_loop(&p)))
		goto out;

	start = thread_ns();
	if (!probe_vm_step(&p, probe, "the loop", PROBE_PORT_LOOP, &value))
		goto out;
	probe->loop_ns = thread_ns() - start;
	probe->loop = value == sum;
	if (!probe->loop)
		fail(probe, "the loop gave %u instead of %u", value, sum);
out:
	probe_vm_close(&p);
}

/* Waits for the child's answer, in memory which it shares, and never longer than the timeout. */
static void probe_wait(pid_t child, int done, struct kvm_probe *probe)
{
	struct pollfd pfd = { .fd = done, .events = POLLIN };
	int ret, status;

	do
		ret = poll(&pfd, 1, PROBE_TIMEOUT_S * 1000);
	while (ret < 0 && errno == EINTR);
	if (!ret) {
		kill(child, SIGKILL);
		if (probe->long_mode)
			probe->loop_ns = PROBE_TIMEOUT_S * 1000000000ull;
		fail(probe, "%s did not end within %d seconds",
		     !probe->long_mode ? "the probe guest" :
		     probe->cmpxchg16b ? "the loop" : "cmpxchg16b", PROBE_TIMEOUT_S);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		fail(probe, "the probe guest's process died of signal %d", WTERMSIG(status));
}

bool kvm_probe_run(const struct kvm_provider *provider, struct kvm_probe *probe, bool all)
{
	struct kvm_probe *shared;
	int done[2];
	pid_t child;

	memset(probe, 0, sizeof(*probe));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED) {
		fail(probe, "no memory for the probe: %s", strerror(errno));
		return false;
	}
	if (pipe2(done, O_CLOEXEC)) {
		fail(probe, "no pipe for the probe: %s", strerror(errno));
		goto out;
	}

	child = fork();
	if (!child) {
		/* The pipe's end closes with the process, however that ends. */
		close(done[0]);
		probe_guest(provider, shared, all);
		_exit(0);
	}
	close(done[1]);
	if (child < 0)
		fail(shared, "no process for the probe: %s", strerror(errno));
	else
		probe_wait(child, done[0], shared);
	close(done[0]);
	*probe = *shared;
	probe->reason[sizeof(probe->reason) - 1] = 0;
out:
	munmap(shared, sizeof(*shared));
	return !probe->reason[0];
}

bool kvm_probe_fast(const struct kvm_probe *probe)
{
	return probe->loop && probe->loop_ns <= PROBE_LOOP_LIMIT_NS;
}

const struct kvm_provider *kvm_provider_auto(char *reason, size_t size)
{
	struct kvm_probe probe;
	int tries = 0;

	/* A first run may have met cold caches or a stolen processor: ask again before judging. */
	while (kvm_probe_run(&kvm_provider_linux, &probe, false) && !kvm_probe_fast(&probe) &&
	       ++tries < PROBE_TRIES)
		;
	if (probe.reason[0]) {
		snprintf(reason, size, "soft: %s%s",
			 probe.opens ? "/dev/kvm cannot run a kernel: " : "", probe.reason);
		return &kvm_provider_soft;
	}
	if (!kvm_probe_fast(&probe)) {
		snprintf(reason, size, "soft: /dev/kvm runs the probe's loop in %.1f ms, where a "
			 "processor takes 1: it emulates", probe.loop_ns / 1e6);
		return &kvm_provider_soft;
	}
	snprintf(reason, size, "kvm: /dev/kvm ran the probe guest, its loop in %.1f ms",
		 probe.loop_ns / 1e6);
	return &kvm_provider_linux;
}
