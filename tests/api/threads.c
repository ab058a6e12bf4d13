/* SPDX-License-Identifier: GPL-2.0-only */
/* Requests from other threads and processes, while vCPUs run, and objects closed under whoever uses
 * them. */
#include "api.h"

#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- one vCPU, several threads ---- */

static void *run_once(void *arg)
{
	return (void *)(long)call(*(int *)arg, KVM_RUN, NULL);
}

/* Whoever calls KVM_RUN is the vCPU's thread. */
static void any_thread(void)
{
	struct machine m = GUEST(0, HLT HLT HLT HLT);
	struct kvm_regs regs;
	pthread_t t;
	void *r;

	for (int i = 0; i < 3; i++) {
		pthread_create(&t, NULL, run_once, &m.vcpu);
		pthread_join(t, &r);
		GIVES((long)r, 0);
		GIVES(call(m.vcpu, KVM_GET_REGS, &regs), 0);
		GIVES(regs.rip, CODE + 1 + i);
	}
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
}

struct later {
	int vcpu;
	unsigned long request;
	void *arg;
	int result, done;
};

static void *request_meanwhile(void *arg)
{
	struct later *l = arg;

	l->result = call(l->vcpu, l->request, l->arg);
	__atomic_store_n(&l->done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* A request on a vCPU that runs waits until it no longer does, be it KVM_RUN itself. */
static void while_running(void)
{
	const unsigned long requests[] = { KVM_GET_REGS, KVM_GET_MP_STATE, KVM_GET_SREGS, KVM_NMI,
					   KVM_RUN };
	struct machine m = GUEST(0, COUNT);
	struct runner r;
	pthread_t t;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct later l = { .vcpu = m.vcpu, .request = requests[i], .arg = NULL };

		if (requests[i] != KVM_RUN && requests[i] != KVM_NMI)
			l.arg = pages(1);
		start_runner(&r, m.vcpu, m.run);
		HOLDS(changes((uint16_t *)(m.ram + COUNTER), *(uint16_t *)(m.ram + COUNTER)));
		pthread_create(&t, NULL, request_meanwhile, &l);
		sleep_ms(20);
		GIVES(__atomic_load_n(&l.done, __ATOMIC_SEQ_CST), 0);
		if (requests[i] == KVM_RUN) {
			/* The first one leaves, and the second has its turn. */
			m.run->immediate_exit = 1;
			r.stop = 1;
		}
		HOLDS(stop_runner(&r));
		if (requests[i] == KVM_RUN)
			m.run->immediate_exit = 1;
		for (int k = 0; k < 3000 && !__atomic_load_n(&l.done, __ATOMIC_SEQ_CST); k++) {
			pthread_kill(t, SIGUSR1);
			sleep_ms(1);
		}
		GIVES(l.done, 1);
		GIVES(l.result, requests[i] == KVM_RUN ? -EINTR : 0);
		pthread_join(t, NULL);
		m.run->immediate_exit = 0;
	}
}

/* Requests on the VM do not wait for vCPUs that run. */
static void vm_while_running(void)
{
	struct machine m = GUEST(WITH_IRQCHIP | WITH_PIT, COUNT);
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_ioeventfd io = { .addr = 0x9000000, .len = 4, .fd = eventfd(0, 0) };
	struct kvm_coalesced_mmio_zone zone = { .addr = 0xa0000, .size = 0x1000 };
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .gsi = 5 };
	struct kvm_irq_routing routing = { 0 };
	struct kvm_clock_data clock;
	struct kvm_pit_state2 pit;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x30 };
	struct runner r, second;
	struct kvm_run *run;
	int vcpu;

	start_runner(&r, m.vcpu, m.run);
	HOLDS(changes((uint16_t *)(m.ram + COUNTER), 0));
	for (int i = 0; i < 20; i++) {
		GIVES(call(m.vm, KVM_IRQ_LINE, &line), 0);
		line.level ^= 1;
		GIVES(call(m.vm, KVM_GET_IRQCHIP, &chip), 0);
		GIVES(call(m.vm, KVM_SET_IRQCHIP, &chip), 0);
		GIVES(call(m.vm, KVM_GET_PIT2, &pit), 0);
		GIVES(call(m.vm, KVM_SET_PIT2, &pit), 0);
		GIVES(call(m.vm, KVM_GET_CLOCK, &clock), 0);
		HOLDS(call(m.vm, KVM_SIGNAL_MSI, &msi) >= 0);
		io.flags = i & 1 ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0;
		GIVES(call(m.vm, KVM_IOEVENTFD, &io), 0);
		irqfd.flags = i & 1 ? KVM_IRQFD_FLAG_DEASSIGN : 0;
		GIVES(call(m.vm, KVM_IRQFD, &irqfd), 0);
		GIVES(call(m.vm, i & 1 ? KVM_UNREGISTER_COALESCED_MMIO : KVM_REGISTER_COALESCED_MMIO,
			   &zone), 0);
		GIVES(call(m.vm, KVM_SET_GSI_ROUTING, &routing), 0);
		clock.flags = 0;
		GIVES(call(m.vm, KVM_SET_CLOCK, &clock), 0);
	}
	/* A vCPU more, which runs as well. */
	vcpu = add_vcpu(&m, 1, &run);
	start_runner(&second, vcpu, run);
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, 1), -EEXIST);
	HOLDS(changes((uint16_t *)(m.ram + COUNTER), *(uint16_t *)(m.ram + COUNTER)));
	HOLDS(stop_runner(&second));
	HOLDS(stop_runner(&r));
	GIVES(r.result, -EINTR);
}

/* ---- signals ---- */

/* A signal that came before KVM_RUN, and that only KVM_RUN lets in, ends it at once and stays. */
static void pending_signal(void)
{
	struct machine m = GUEST(0, SPIN);
	struct kvm_signal_mask *mask = pages(1);
	struct timespec none = { 0 };
	sigset_t set;

	mask->len = 8;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	GIVES(call(m.vcpu, KVM_SET_SIGNAL_MASK, mask), 0);
	pthread_kill(pthread_self(), SIGUSR1);
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINTR);
	GIVES(m.run->exit_reason, KVM_EXIT_INTR);
	GIVES(call(m.vcpu, KVM_RUN, NULL), -EINTR);
	GIVES(sigtimedwait(&set, NULL, &none), SIGUSR1);
}

/* A halted vCPU and one that waits for INIT leave KVM_RUN for a signal too. */
static void asleep(void)
{
	struct machine m = GUEST(WITH_IRQCHIP, HLT SPIN);
	struct kvm_run *run;
	struct runner halted, waiting;
	struct kvm_mp_state state;
	int second = add_vcpu(&m, 1, &run);

	start_runner(&halted, m.vcpu, m.run);
	start_runner(&waiting, second, NULL);
	sleep_ms(30);
	GIVES(__atomic_load_n(&halted.ended, __ATOMIC_SEQ_CST), 0);
	GIVES(__atomic_load_n(&waiting.ended, __ATOMIC_SEQ_CST), 0);
	HOLDS(stop_runner(&halted));
	HOLDS(stop_runner(&waiting));
	GIVES(halted.result, -EINTR);
	GIVES(waiting.result, -EINTR);
	GIVES(call(m.vcpu, KVM_GET_MP_STATE, &state), 0);
	GIVES(state.mp_state, KVM_MP_STATE_HALTED);
	GIVES(call(second, KVM_GET_MP_STATE, &state), 0);
	GIVES(state.mp_state, KVM_MP_STATE_UNINITIALIZED);
}

/* A figure of a vCPU's statistics. */
static uint64_t statistic(int fd, const char *name)
{
	struct kvm_stats_header h = { 0 };
	char buf[256] = { 0 };
	struct kvm_stats_desc *d = (void *)buf;
	uint64_t value = ~0ull;

	HOLDS(pread(fd, &h, sizeof(h), 0) == sizeof(h) && sizeof(*d) + h.name_size < sizeof(buf));
	for (uint32_t n = 0; n < h.num_desc; n++) {
		long size = (long)(sizeof(*d) + h.name_size);

		HOLDS(pread(fd, d, (unsigned long)size, h.desc_offset + n * size) == size);
		if (!strcmp(d->name, name))
			HOLDS(pread(fd, &value, sizeof(value), h.data_offset + d->offset) == sizeof(value));
	}
	return value;
}

/* Wakes a vCPU by NMIs, each as soon as the last one was counted; how often it has polled. */
static uint64_t polls(uint64_t max_ns)
{
	static const uint8_t handler[] = { 0xff, 0x06, 0x00, 0x20, 0xcf };	/* incw COUNTER; iret */
	struct machine m = GUEST(WITH_IRQCHIP, HLT "\xeb\xfd");
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x400 };
	uint16_t *vector = (uint16_t *)(m.ram + 2 * 4), *counter = (uint16_t *)(m.ram + COUNTER);
	struct runner r;
	int fd = call_n(m.vcpu, KVM_GET_STATS_FD, 0);

	HOLDS(fd >= 0);
	GIVES(enable(m.vm, KVM_CAP_HALT_POLL, 0, max_ns), 0);
	memcpy(m.ram + 0x1800, handler, sizeof(handler));
	vector[0] = 0x1800;
	vector[1] = 0;
	start_runner(&r, m.vcpu, m.run);
	for (uint16_t i = 0; i < 3000; i++) {
		GIVES(call(m.vm, KVM_SIGNAL_MSI, &msi), 1);
		for (int k = 0; k < 5000 && __atomic_load_n(counter, __ATOMIC_SEQ_CST) <= i; k++)
			if (k > 1000)
				sleep_ms(1);
	}
	HOLDS(stop_runner(&r));
	GIVES(__atomic_load_n(counter, __ATOMIC_SEQ_CST), 3000);
	HOLDS(statistic(fd, "halt_exits") > 0);
	HOLDS(statistic(fd, "halt_successful_poll") <= statistic(fd, "halt_attempted_poll"));
	return statistic(fd, "halt_attempted_poll");
}

/* KVM_CAP_HALT_POLL: whether a vCPU looks for what may wake it before it sleeps. */
static void halt_poll(void)
{
	if (!on_soft())
		skip("how Linux's KVM polls is its module's parameters' to say");
	GIVES(polls(0), 0);
	HOLDS(polls(200000) > 0);
}

/* ---- closing ---- */

/* vCPUs keep their VM, a mapping of kvm_run its vCPU, a copy of a descriptor the object. */
static void close_order(void)
{
	struct machine m = GUEST(0, HLT HLT);
	int second = add_vcpu(&m, 1, NULL), copy = dup(m.vcpu);
	struct kvm_regs regs;

	GIVES(provider->close(m.vm), 0);
	GIVES(provider->close(m.sys), 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
	GIVES(provider->close(second), 0);
	GIVES(provider->close(m.vcpu), 0);
	GIVES(call(copy, KVM_GET_REGS, &regs), 0);
	GIVES(regs.rip, CODE + 1);
	GIVES(provider->close(copy), 0);
	GIVES(call(copy, KVM_GET_REGS, &regs), -EBADF);
	m.run->immediate_exit = 1;
	GIVES(munmap(m.run, 3 * PAGE), 0);
}

/* The id of a vCPU that is closed stays taken as long as the VM lives. */
static void close_vcpu_first(void)
{
	struct machine m = GUEST(0, HLT);

	munmap(m.run, 3 * PAGE);
	GIVES(provider->close(m.vcpu), 0);
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, 0), -EEXIST);
	GIVES(region(m.vm, 0, 0, 0, 0, NULL), 0);
	GIVES(provider->close(m.vm), 0);
	GIVES(call_n(m.vm, KVM_CREATE_VCPU, 1), -EBADF);
}

/* The last descriptors go while threads run the vCPUs: they run on until they are asked to
 * leave. */
static void close_under_threads(void)
{
	for (int order = 0; order < 4; order++) {
		struct machine m = GUEST(WITH_IRQCHIP, COUNT);
		volatile uint16_t *counter = (uint16_t *)(m.ram + COUNTER);
		struct kvm_run *run;
		struct runner a, b;
		int second = add_vcpu(&m, 1, &run);

		start_runner(&a, m.vcpu, m.run);
		start_runner(&b, second, NULL);		/* waits for INIT */
		HOLDS(changes(counter, 0));
		if (order & 1)
			GIVES(provider->close(m.vm), 0);
		if (order & 2) {
			GIVES(provider->close(m.vcpu), 0);
			GIVES(provider->close(second), 0);
		}
		if (!(order & 1))
			GIVES(provider->close(m.vm), 0);
		if (!(order & 2)) {
			GIVES(provider->close(second), 0);
			GIVES(provider->close(m.vcpu), 0);
		}
		GIVES(provider->close(m.sys), 0);
		HOLDS(changes(counter, *counter));
		HOLDS(stop_runner(&b));
		HOLDS(changes(counter, *counter));
		HOLDS(stop_runner(&a));
		GIVES(a.result, -EINTR);
		munmap(m.run, 3 * PAGE);
		munmap(run, 3 * PAGE);
	}
}

/* kvm_run is unmapped under the thread that runs. */
static void unmap_under_thread(void)
{
	struct machine m = GUEST(0, COUNT);
	volatile uint16_t *counter = (uint16_t *)(m.ram + COUNTER);
	struct runner r;

	start_runner(&r, m.vcpu, NULL);
	HOLDS(changes(counter, 0));
	munmap(m.run, 3 * PAGE);
	HOLDS(changes(counter, *counter));
	HOLDS(stop_runner(&r));
	GIVES(r.result, -EINTR);
}

/* Slots come and go on one thread, the vCPU runs on a second, a third makes vCPUs and closes
 * them. */
static int stop_churn;

static void *churn_slots(void *arg)
{
	int vm = *(int *)arg;
	void *host = pages(4);

	for (int i = 0; !__atomic_load_n(&stop_churn, __ATOMIC_SEQ_CST); i++) {
		uint32_t slot = 1 + i % 7;

		if (region(vm, slot, i & 8 ? KVM_MEM_LOG_DIRTY_PAGES : 0,
			   0x100000 + slot * 0x10000, 4 * PAGE, host))
			return "a slot cannot be added";
		if (region(vm, slot, 0, 0, 0, NULL))
			return "a slot cannot be deleted";
	}
	return NULL;
}

static void *churn_vcpus(void *arg)
{
	int vm = *(int *)arg;

	for (int id = 1; id < 100 && !__atomic_load_n(&stop_churn, __ATOMIC_SEQ_CST); id++) {
		int vcpu = call_n(vm, KVM_CREATE_VCPU, id);
		struct kvm_regs regs;

		if (vcpu < 0 || call(vcpu, KVM_GET_REGS, &regs) || provider->close(vcpu))
			return "a vCPU cannot be made";
	}
	return NULL;
}

static void *churn_irqfds(void *arg)
{
	struct kvm_irqfd irqfd = { .gsi = 5 };
	struct kvm_ioeventfd io = { .addr = 0x9000000, .len = 4 };
	int vm = *(int *)arg;
	uint64_t one = 1;

	while (!__atomic_load_n(&stop_churn, __ATOMIC_SEQ_CST)) {
		io.fd = irqfd.fd = eventfd(0, 0);
		irqfd.flags = io.flags = 0;
		if (call(vm, KVM_IRQFD, &irqfd) || call(vm, KVM_IOEVENTFD, &io))
			return "an irqfd or ioeventfd cannot be made";
		(void)!write(irqfd.fd, &one, sizeof(one));
		irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
		io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
		if (call(vm, KVM_IRQFD, &irqfd) || call(vm, KVM_IOEVENTFD, &io))
			return "an irqfd or ioeventfd cannot be taken away";
		close(irqfd.fd);
	}
	return NULL;
}

static void churn(void)
{
	void *(*const threads[])(void *) = { churn_slots, churn_vcpus, churn_irqfds };
	struct machine m = GUEST(WITH_IRQCHIP, COUNT);
	volatile uint16_t *counter = (uint16_t *)(m.ram + COUNTER);
	pthread_t t[ARRAY_SIZE(threads)];
	struct runner r;
	void *why;

	start_runner(&r, m.vcpu, m.run);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&t[i], NULL, threads[i], &m.vm);
	for (int i = 0; i < 50; i++) {
		HOLDS(changes(counter, *counter));
		sleep_ms(5);
	}
	__atomic_store_n(&stop_churn, 1, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(t[i], &why);
		if (why)
			give_up("%s", (char *)why);
	}
	HOLDS(stop_runner(&r));
}

/* ---- other processes ---- */

/* Only the process that made a VM may use it; /dev/kvm is anybody's. */
static void forked(void)
{
	struct machine m = GUEST(0, HLT HLT);
	struct kvm_regs regs;
	int status;
	pid_t pid = fork();

	if (!pid) {
		GIVES(call(m.vcpu, KVM_GET_REGS, &regs), -EIO);
		GIVES(call(m.vcpu, KVM_RUN, NULL), -EIO);
		GIVES(call_n(m.vm, KVM_CREATE_VCPU, 1), -EIO);
		GIVES(call_n(m.vm, KVM_CHECK_EXTENSION, 0), -EIO);
		GIVES(call_n(m.sys, KVM_GET_API_VERSION, 0), 12);
		GIVES(provider->close(m.vcpu), 0);
		GIVES(provider->close(m.vm), 0);
		m = GUEST(0, HLT);
		GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
		GIVES(m.run->exit_reason, KVM_EXIT_HLT);
		_exit(0);
	}
	HOLDS(waitpid(pid, &status, 0) == pid);
	GIVES(status, 0);
	GIVES(call(m.vcpu, KVM_RUN, NULL), 0);
	GIVES(m.run->exit_reason, KVM_EXIT_HLT);
}

const struct test thread_tests[] = {
	{ "threads", "any_thread", "a vCPU run by one thread after another", any_thread },
	{ "threads", "while_running", "requests on a vCPU wait while it runs", while_running },
	{ "threads", "vm_while_running", "requests on a VM do not", vm_while_running },
	{ "threads", "pending_signal", "a signal that waits for KVM_RUN", pending_signal },
	{ "threads", "halt_poll", "KVM_CAP_HALT_POLL, and statistics of it", halt_poll },
	{ "threads", "asleep", "a signal to vCPUs in HLT and before INIT", asleep },
	{ "threads", "close_order", "vCPUs, copies and mappings outlive what they came from",
	  close_order },
	{ "threads", "close_vcpu_first", "a vCPU closed before its VM", close_vcpu_first },
	{ "threads", "close_under_threads", "everything closed while threads run the vCPUs",
	  close_under_threads },
	{ "threads", "unmap_under_thread", "kvm_run unmapped while a thread runs",
	  unmap_under_thread },
	{ "threads", "churn", "slots, vCPUs and eventfds come and go under a running guest", churn },
	{ "threads", "forked", "objects of the process that this one was forked from", forked },
	{ 0 }
};
