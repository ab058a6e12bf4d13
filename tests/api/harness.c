/* SPDX-License-Identifier: GPL-2.0-only */
/* Calls, memory, small VMs in real mode, and vCPUs on threads of their own. */
#include "api.h"
#include "vmm/benign.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- calls ---- */

int call(int fd, unsigned long request, void *arg)
{
	return provider->ioctl(fd, request, arg);
}

int call_n(int fd, unsigned long request, unsigned long arg)
{
	return call(fd, request, (void *)arg);
}

int must(int fd, unsigned long request, void *arg)
{
	int r = call(fd, request, arg);

	if (r < 0)
		give_up("request %#lx: %s", request, strerror(-r));
	return r;
}

int must_n(int fd, unsigned long request, unsigned long arg)
{
	return must(fd, request, (void *)arg);
}

int cap(int fd, long capability)
{
	return call_n(fd, KVM_CHECK_EXTENSION, (unsigned long)capability);
}

int enable(int fd, uint32_t capability, uint32_t flags, uint64_t arg)
{
	struct kvm_enable_cap c = { .cap = capability, .flags = flags, .args = { arg } };

	return call(fd, KVM_ENABLE_CAP, &c);
}

int region(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, const void *host)
{
	struct kvm_userspace_memory_region r = { slot, flags, gpa, size, (uintptr_t)host };

	return call(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

/* ---- memory ---- */

void *pages(unsigned int n)
{
	void *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		give_up("mmap of %u pages: %s", n, strerror(errno));
	guest_memory(p, n * PAGE);
	return p;
}

void *const bad_pointers[] = {
	(void *)8,				/* below mmap_min_addr */
	(void *)0x7ffffffff000,			/* just above what a process may map */
	(void *)0x800000000000,			/* not canonical */
	(void *)0xffff888000001000,		/* the kernel's */
	(void *)0xfffffffffffffff8,		/* wraps */
	NULL
};

void *at_the_edge(unsigned long size)
{
	unsigned int n = (size + PAGE - 1) / PAGE;
	char *p = pages(n + 1);

	if (munmap(p + n * PAGE, PAGE))
		give_up("munmap: %s", strerror(errno));
	return p + n * PAGE - size;
}

/* ---- VMs ---- */

int add_vcpu(struct machine *m, unsigned int id, struct kvm_run **run)
{
	int size = must_n(m->sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	int vcpu = must_n(m->vm, KVM_CREATE_VCPU, id);

	if (!run)
		return vcpu;
	*run = provider->mmap(size, vcpu, 0);
	if (*run == MAP_FAILED)
		give_up("mmap of a vCPU: %s", strerror(errno));
	return vcpu;
}

struct machine machine(unsigned int flags)
{
	struct machine m = { .sys = provider->open(), .vcpu = -1 };
	struct kvm_pit_config pit = { .flags = 0 };

	if (m.sys < 0)
		give_up("the system object does not open: %s", strerror(-m.sys));
	m.vm = must_n(m.sys, KVM_CREATE_VM, 0);
	if (flags & WITH_IRQCHIP)
		must_n(m.vm, KVM_CREATE_IRQCHIP, 0);
	if (flags & WITH_PIT)
		must(m.vm, KVM_CREATE_PIT2, &pit);
	if ((flags & WITH_SPLIT) && enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 0, 24))
		give_up("no split irqchip");
	if (!(flags & WITHOUT_VCPU))
		m.vcpu = add_vcpu(&m, 0, &m.run);
	return m;
}

void start_at(int vcpu, uint64_t rip)
{
	struct kvm_regs regs = { .rip = rip, .rsp = 0x8000, .rflags = 2 };
	struct kvm_sregs sregs;

	must(vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs.base = sregs.cs.selector = 0;
	must(vcpu, KVM_SET_SREGS, &sregs);
	must(vcpu, KVM_SET_REGS, &regs);
}

struct machine guest(unsigned int flags, const void *code, unsigned long size)
{
	struct machine m = machine(flags);
	int r;

	m.ram = pages(RAM_SIZE / PAGE);
	memcpy(m.ram + CODE, code, size);
	r = region(m.vm, 0, 0, 0, RAM_SIZE, m.ram);
	if (r)
		give_up("slot 0: %s", strerror(-r));
	if (m.vcpu >= 0)
		start_at(m.vcpu, CODE);
	return m;
}

/* ---- threads ---- */

static void nothing(int signal)
{
}

static void *runner(void *arg)
{
	struct runner *r = arg;

	__atomic_store_n(&r->entered, 1, __ATOMIC_SEQ_CST);
	do {
		r->result = call(r->vcpu, KVM_RUN, NULL);
		if (r->run)
			r->reason = r->run->exit_reason;
		__atomic_fetch_add(&r->exits, 1, __ATOMIC_SEQ_CST);
	} while ((!r->result || r->result == -EAGAIN) &&
		 !__atomic_load_n(&r->stop, __ATOMIC_SEQ_CST));
	__atomic_store_n(&r->ended, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

void start_runner(struct runner *r, int vcpu, struct kvm_run *run)
{
	struct sigaction action = { .sa_handler = nothing };

	*r = (struct runner){ .vcpu = vcpu, .run = run };
	sigaction(SIGUSR1, &action, NULL);
	if (pthread_create(&r->thread, NULL, runner, r))
		give_up("no thread");
	while (!__atomic_load_n(&r->entered, __ATOMIC_SEQ_CST))
		sleep_ms(1);
}

bool stop_runner(struct runner *r)
{
	__atomic_store_n(&r->stop, 1, __ATOMIC_SEQ_CST);
	if (r->run)
		__atomic_store_n(&r->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 10000 && !__atomic_load_n(&r->ended, __ATOMIC_SEQ_CST); i++) {
		/* Again, since the first one may have come before KVM_RUN. */
		pthread_kill(r->thread, SIGUSR1);
		sleep_ms(1);
	}
	if (!__atomic_load_n(&r->ended, __ATOMIC_SEQ_CST))
		return false;
	pthread_join(r->thread, NULL);
	if (r->run)
		r->run->immediate_exit = 0;
	return true;
}

void sleep_ms(unsigned int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	nanosleep(&time, NULL);
}

bool changes(const volatile uint16_t *word, uint16_t old)
{
	for (int i = 0; i < 10000; i++) {
		if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != old)
			return true;
		sleep_ms(1);
	}
	return false;
}
