/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine's making, its run from start to end, and how it is stopped in between.
 *
 * machine_run's thread is in control. It sleeps until somebody asks for something (a guest's reset,
 * a user's leaving), stops the vCPUs, does it, and lets them go on or not. A stopped vCPU is parked
 * in machine_vcpu_wait, between two KVM_RUNs and with nothing of an exit left unfinished.
 */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "vmm/machine/boot.h"
#include "vmm/machine/irq.h"
#include "vmm/machine/probe.h"
#include "vmm/machine/vcpu.h"
#include "vmm/util.h"

#define KVM_API		12
#define IRQCHIPS	3	/* PIC master, PIC slave, I/O APIC */
#define GIB		(1ULL << 30)
#define DEFAULT_PHYS_BITS	36

/* What may be asked for; several at once are taken in this order. */
enum request {
	REQUEST_QUIT = 1 << 0,
	REQUEST_ERROR = 1 << 1,
	REQUEST_POWEROFF = 1 << 2,
	REQUEST_PANIC = 1 << 3,
	REQUEST_RESET = 1 << 4,
	REQUEST_PAUSE = 1 << 5,
	REQUEST_RESUME = 1 << 6,
};

struct machine_control {
	struct boot boot;
	struct boot_entry entry;
	struct kvm_irqchip irqchips[IRQCHIPS];	/* at power-on */
	struct kvm_pit_state2 pit;

	/* Protects what follows; taken last, under any other lock. */
	pthread_mutex_t lock;
	pthread_cond_t asked;		/* requests is not 0 */
	pthread_cond_t parked;		/* parked_count has grown */
	pthread_cond_t released;	/* halted became false, or ending true */
	unsigned int requests;		/* enum request */
	enum machine_state state;
	struct loop_call *state_call;	/* or NULL; set before the run */
	unsigned int parked_count;
	bool halted;			/* vCPUs are to park; read without the lock too */
	bool ending;			/* and then to end */
	struct vmm_error error;		/* of REQUEST_ERROR */
	struct vmm_error death;		/* of REQUEST_PANIC */
};

int machine_vm_ioctl(const struct machine *m, unsigned long request, void *arg)
{
	return m->provider->ioctl(m->vm_fd, request, arg);
}

/* ------------------------------------------------------------------ requests */

static void request(struct machine *m, enum request what)
{
	struct machine_control *c = m->control;

	pthread_mutex_lock(&c->lock);
	/* Of these two the last one counts. */
	if (what & (REQUEST_PAUSE | REQUEST_RESUME))
		c->requests &= ~(REQUEST_PAUSE | REQUEST_RESUME);
	c->requests |= what;
	__atomic_store_n(&c->halted, true, __ATOMIC_SEQ_CST);
	pthread_cond_signal(&c->asked);
	pthread_mutex_unlock(&c->lock);
}

void machine_request_reset(struct machine *m)
{
	request(m, REQUEST_RESET);
}

void machine_request_poweroff(struct machine *m)
{
	request(m, REQUEST_POWEROFF);
}

void machine_request_panic(struct machine *m)
{
	machine_request_dead(m, "the guest panicked");
}

void machine_request_quit(struct machine *m)
{
	request(m, REQUEST_QUIT);
}

void machine_request_pause(struct machine *m)
{
	request(m, REQUEST_PAUSE);
}

void machine_request_resume(struct machine *m)
{
	request(m, REQUEST_RESUME);
}

void machine_request_dead(struct machine *m, const char *what)
{
	pthread_mutex_lock(&m->control->lock);
	vmm_fail(&m->control->death, 0, "%s", what);
	pthread_mutex_unlock(&m->control->lock);
	request(m, REQUEST_PANIC);
}

void machine_request_error(struct machine *m, const char *format, ...)
{
	char text[sizeof(m->control->error.text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pthread_mutex_lock(&m->control->lock);
	vmm_fail(&m->control->error, 0, "%s", text);
	pthread_mutex_unlock(&m->control->lock);
	request(m, REQUEST_ERROR);
}

/* ------------------------------------------------------------------ stopping and going on */

bool machine_vcpu_wait(struct machine *m, struct vcpu *v)
{
	struct machine_control *c = m->control;
	bool go_on;

	if (!__atomic_load_n(&c->halted, __ATOMIC_SEQ_CST))
		return true;
	vcpu_finish_exit(v);
	pthread_mutex_lock(&c->lock);
	c->parked_count++;
	pthread_cond_signal(&c->parked);
	while (c->halted && !c->ending)
		pthread_cond_wait(&c->released, &c->lock);
	c->parked_count--;
	vcpu_clear_kick(v);
	go_on = !c->ending;
	pthread_mutex_unlock(&c->lock);
	return go_on;
}

static void halt_vcpus(struct machine *m)
{
	struct machine_control *c = m->control;

	pthread_mutex_lock(&c->lock);
	__atomic_store_n(&c->halted, true, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < m->vcpu_count; i++)
		vcpu_kick(&m->vcpus[i]);
	while (c->parked_count < m->vcpu_count)
		pthread_cond_wait(&c->parked, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static void release_vcpus(struct machine *m, bool ending)
{
	struct machine_control *c = m->control;

	pthread_mutex_lock(&c->lock);
	c->ending = ending;
	/* Somebody may have asked for something meanwhile. */
	if (!ending && !c->requests)
		__atomic_store_n(&c->halted, false, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&c->released);
	pthread_mutex_unlock(&c->lock);
}

static void pause_devices(void *arg)
{
	struct machine *m = arg;

	for (struct device *dev = m->devices; dev; dev = dev->next)
		if (dev->ops->pause)
			dev->ops->pause(dev);
}

struct quiescence {
	struct machine *m;
	bool reached;
};

static void ask_devices(void *arg)
{
	struct quiescence *q = arg;

	q->reached = true;
	for (struct device *dev = q->m->devices; dev; dev = dev->next)
		if (dev->ops->quiescent && !dev->ops->quiescent(dev))
			q->reached = false;
}

static void resume_devices(void *arg)
{
	struct machine *m = arg;

	for (struct device *dev = m->devices; dev; dev = dev->next)
		if (dev->ops->resume)
			dev->ops->resume(dev);
}

static void reset_devices(void *arg)
{
	struct machine *m = arg;

	for (struct device *dev = m->devices; dev; dev = dev->next)
		if (dev->ops->reset)
			dev->ops->reset(dev);
}

void machine_pause(struct machine *m)
{
	const struct timespec a_moment = { .tv_nsec = 1000000 };
	struct quiescence q = { .m = m };

	halt_vcpus(m);
	loop_run(m->loop, pause_devices, m);
	/* The loop stays free to finish what is under way. */
	for (loop_run(m->loop, ask_devices, &q); !q.reached; loop_run(m->loop, ask_devices, &q))
		nanosleep(&a_moment, NULL);
}

void machine_resume(struct machine *m)
{
	loop_run(m->loop, resume_devices, m);
	release_vcpus(m, false);
}

static int reset_chips(struct machine *m)
{
	struct machine_control *c = m->control;
	int err = 0;

	for (unsigned int i = 0; i < IRQCHIPS && !err; i++)
		err = machine_vm_ioctl(m, KVM_SET_IRQCHIP, &c->irqchips[i]);
	return err ? err : machine_vm_ioctl(m, KVM_SET_PIT2, &c->pit);
}

int machine_reset(struct machine *m, struct vmm_error *error)
{
	struct machine_control *c = m->control;
	int err;

	loop_run(m->loop, reset_devices, m);
	err = reset_chips(m);
	for (unsigned int i = 0; i < m->vcpu_count && !err; i++)
		err = vcpu_reset(&m->vcpus[i]);
	if (err)
		return vmm_fail(error, err, "cannot reset the machine: %s", strerror(-err));
	/* Memory as at power-on; a host that cannot do it leaves the old contents. */
	madvise(m->ram.host, m->ram.size, MADV_REMOVE);
	err = boot_load(&c->boot, m, &c->entry, error);
	if (!err) {
		err = vcpu_set_entry(&m->vcpus[0], &c->entry);
		if (err)
			vmm_fail(error, err, "cannot start the guest: %s", strerror(-err));
	}
	/* What the guest that is gone asked for is moot. */
	pthread_mutex_lock(&c->lock);
	c->requests &= REQUEST_QUIT | REQUEST_ERROR | REQUEST_PAUSE | REQUEST_RESUME;
	c->death.text[0] = 0;
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* ------------------------------------------------------------------ the run */

enum machine_state machine_state(struct machine *m)
{
	struct machine_control *c = m->control;
	enum machine_state state;

	pthread_mutex_lock(&c->lock);
	state = c->state;
	pthread_mutex_unlock(&c->lock);
	return state;
}

void machine_watch_state(struct machine *m, struct loop_call *call)
{
	m->control->state_call = call;
}

static void set_state(struct machine *m, enum machine_state state)
{
	struct machine_control *c = m->control;

	pthread_mutex_lock(&c->lock);
	c->state = state;
	pthread_mutex_unlock(&c->lock);
	if (c->state_call)
		loop_defer(m->loop, c->state_call);
}

static unsigned int wait_request(struct machine *m)
{
	struct machine_control *c = m->control;
	unsigned int requests;

	pthread_mutex_lock(&c->lock);
	while (!c->requests)
		pthread_cond_wait(&c->asked, &c->lock);
	requests = c->requests;
	c->requests &= ~(REQUEST_PAUSE | REQUEST_RESUME);
	pthread_mutex_unlock(&c->lock);
	return requests;
}

/* Lets a guest that stood still know it, or its watchdogs would think that it had hung. One without
 * kvmclock cannot be told. */
static void tell_of_pause(struct machine *m)
{
	for (unsigned int i = 0; i < m->vcpu_count; i++)
		vcpu_ioctl(&m->vcpus[i], KVM_KVMCLOCK_CTRL, NULL);
}

/* Serves requests until one of them ends the run. */
static int serve(struct machine *m, struct vmm_error *error)
{
	struct machine_control *c = m->control;
	bool paused = false;

	for (;;) {
		unsigned int requests = wait_request(m);
		int err;

		if (!paused)
			machine_pause(m);
		if (requests & REQUEST_QUIT)
			return VM_EXIT_QUIT;
		if (requests & REQUEST_ERROR)
			return vmm_fail(error, -EIO, "%s", c->error.text);
		if (requests & REQUEST_POWEROFF)
			return VM_EXIT_POWEROFF;
		if (requests & REQUEST_PANIC)
			return vmm_fail(error, VM_EXIT_PANIC, "%s", c->death.text);
		if ((requests & REQUEST_RESET) && m->config->no_reboot)
			return VM_EXIT_RESET;
		if (requests & REQUEST_RESET) {
			err = machine_reset(m, error);
			if (err)
				return err;
		}
		if (paused && (requests & REQUEST_RESUME))
			tell_of_pause(m);
		if (requests & (REQUEST_PAUSE | REQUEST_RESUME))
			paused = requests & REQUEST_PAUSE;
		if (!paused)
			machine_resume(m);
		set_state(m, paused ? MACHINE_PAUSED : MACHINE_RUNNING);
	}
}

static int start(struct machine *m, struct vmm_error *error)
{
	int err = vcpu_signal_init();

	if (!err)
		err = loop_start(m->loop, "loop");
	for (unsigned int i = 0; i < m->vcpu_count && !err; i++)
		err = vcpu_start(&m->vcpus[i]);
	return err ? vmm_fail(error, err, "cannot start the threads: %s", strerror(-err)) : 0;
}

static void stop(struct machine *m)
{
	release_vcpus(m, true);
	for (unsigned int i = 0; i < m->vcpu_count; i++)
		vcpu_join(&m->vcpus[i]);
	loop_stop(m->loop);
}

int machine_run(struct machine *m, struct vmm_error *error)
{
	int ret = start(m, error);

	if (!ret) {
		loop_run(m->loop, reset_devices, m);
		machine_resume(m);
		set_state(m, MACHINE_RUNNING);
		if (m->config->started)
			m->config->started(m->config->started_data);
		ret = serve(m, error);
	}
	set_state(m, MACHINE_ENDING);
	stop(m);
	return ret;
}

/* ------------------------------------------------------------------ making */

static int check_provider(struct machine *m, struct vmm_error *error)
{
	static const struct { int cap; const char *name; } needed[] = {
#define CAP(name) { KVM_CAP_##name, "KVM_CAP_" #name }
		CAP(USER_MEMORY), CAP(EXT_CPUID), CAP(IRQCHIP), CAP(PIT2), CAP(IRQ_ROUTING),
		CAP(IRQFD), CAP(IRQFD_RESAMPLE), CAP(IOEVENTFD), CAP(SIGNAL_MSI), CAP(MP_STATE),
		CAP(VCPU_EVENTS), CAP(DEBUGREGS), CAP(XSAVE), CAP(IMMEDIATE_EXIT),
#undef CAP
	};
	int version = m->provider->ioctl(m->kvm_fd, KVM_GET_API_VERSION, NULL);

	if (version != KVM_API)
		return vmm_fail(error, -ENOTSUP, "%s speaks version %d of the KVM API; version %d "
				"is needed", m->provider->description, version, KVM_API);
	for (unsigned int i = 0; i < ARRAY_SIZE(needed); i++)
		if (m->provider->ioctl(m->kvm_fd, KVM_CHECK_EXTENSION,
				       (void *)(long)needed[i].cap) <= 0)
			return vmm_fail(error, -ENOTSUP, "%s lacks %s; try another --accel",
					m->provider->description, needed[i].name);
	return 0;
}

static int check_config(const struct vm_config *config, struct vmm_error *error)
{
	if (config->cpus < 1 || config->cpus > VM_MAX_CPUS)
		return vmm_fail(error, -EINVAL, "the number of CPUs must be between 1 and %u, not "
				"%u", VM_MAX_CPUS, config->cpus);
	if (config->memory < VM_MIN_MEMORY)
		return vmm_fail(error, -EINVAL, "memory must be at least %llu MiB",
				VM_MIN_MEMORY >> 20);
	return 0;
}

/* The width of the guest's physical addresses. */
static unsigned int phys_bits(struct machine *m)
{
	const unsigned int entries = 512;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + entries * sizeof(cpuid->entries[0]));
	unsigned int bits = DEFAULT_PHYS_BITS;

	if (!cpuid)
		return bits;
	cpuid->nent = entries;
	if (!m->provider->ioctl(m->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid))
		for (uint32_t i = 0; i < cpuid->nent; i++)
			if (cpuid->entries[i].function == 0x80000008)
				bits = cpuid->entries[i].eax & 0xff;
	free(cpuid);
	return bits;
}

static int create_memory(struct machine *m, struct vmm_error *error)
{
	struct kvm_userspace_memory_region slots[2] = { 0 };
	unsigned int bits = phys_bits(m);
	int err;

	m->pci_mmio64_start = RAM_HOLE_END;
	if (m->config->memory > RAM_HOLE_START)
		m->pci_mmio64_start += m->config->memory - RAM_HOLE_START;
	m->pci_mmio64_start = (m->pci_mmio64_start + GIB - 1) & ~(GIB - 1);
	if (m->pci_mmio64_start + PCI_MMIO64_SIZE > 1ULL << (bits < 63 ? bits : 63))
		return vmm_fail(error, -ENOMEM, "memory of %" PRIu64 " MiB does not fit into the "
				"guest's %u-bit addresses; give it less", m->config->memory >> 20,
				bits);
	err = ram_create(&m->ram, m->config->memory, error);
	if (err)
		return err;
	slots[0].memory_size = m->ram.low_size;
	slots[0].userspace_addr = (uintptr_t)m->ram.host;
	slots[1].slot = 1;
	slots[1].guest_phys_addr = RAM_HOLE_END;
	slots[1].memory_size = m->ram.high_size;
	slots[1].userspace_addr = (uintptr_t)m->ram.host + m->ram.low_size;
	for (unsigned int i = 0; i < 2 && !err; i++)
		if (slots[i].memory_size)
			err = machine_vm_ioctl(m, KVM_SET_USER_MEMORY_REGION, &slots[i]);
	return err ? vmm_fail(error, err, "cannot give the guest its memory: %s", strerror(-err)) :
		     0;
}

static int create_chips(struct machine *m, struct vmm_error *error)
{
	struct machine_control *c = m->control;
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity_map = KVM_IDENTITY_MAP_BASE;
	int err;

	/* For Intel's processors, on which KVM has to run real mode with paging. */
	err = machine_vm_ioctl(m, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	if (!err)
		err = machine_vm_ioctl(m, KVM_SET_TSS_ADDR, (void *)(unsigned long)KVM_TSS_BASE);
	if (!err)
		err = machine_vm_ioctl(m, KVM_CREATE_IRQCHIP, NULL);
	if (!err)
		err = machine_vm_ioctl(m, KVM_CREATE_PIT2, &pit);
	for (unsigned int i = 0; i < IRQCHIPS && !err; i++) {
		c->irqchips[i].chip_id = i;
		err = machine_vm_ioctl(m, KVM_GET_IRQCHIP, &c->irqchips[i]);
	}
	if (!err)
		err = machine_vm_ioctl(m, KVM_GET_PIT2, &c->pit);
	if (!err)
		err = machine_irq_init(m);
	return err ? vmm_fail(error, err, "cannot make the interrupt chips: %s", strerror(-err)) :
		     0;
}

static void tell_written(const struct ram *ram, const struct ram_range *ranges, unsigned int count)
{
	const struct machine *m = container_of(ram, struct machine, ram);

	m->provider->memory_written(m->vm_fd, ranges, count);
}

static int create_vm(struct machine *m, struct vmm_error *error)
{
	char why[PROBE_REASON_SIZE];
	int err;

	m->kvm_fd = m->provider->open();
	if (m->kvm_fd < 0) {
		kvm_explain_open(m->provider, m->kvm_fd, why, sizeof(why));
		return vmm_fail(error, m->kvm_fd, "%s: %s", m->provider->description, why);
	}
	err = check_provider(m, error);
	if (err)
		return err;
	/* Interrupted by a signal, it may be tried again. */
	do
		m->vm_fd = m->provider->ioctl(m->kvm_fd, KVM_CREATE_VM, NULL);
	while (m->vm_fd == -EINTR);
	if (m->vm_fd < 0)
		return vmm_fail(error, m->vm_fd, "%s cannot create a virtual machine: %s",
				m->provider->description, strerror(-m->vm_fd));
	if (m->provider->memory_written) {
		m->provider->memory_written(m->vm_fd, NULL, 0);
		m->ram.written = tell_written;
	}
	return 0;
}

static int create_vcpus(struct machine *m, struct vmm_error *error)
{
	int most = m->provider->ioctl(m->kvm_fd, KVM_CHECK_EXTENSION,
				      (void *)(long)KVM_CAP_MAX_VCPUS);
	int err = 0;

	if (most > 0 && m->config->cpus > (unsigned int)most)
		return vmm_fail(error, -EINVAL, "%s has at most %d CPUs for a guest, not %u",
				m->provider->description, most, m->config->cpus);
	m->vcpus = calloc(m->config->cpus, sizeof(*m->vcpus));
	if (!m->vcpus)
		return vmm_fail(error, -ENOMEM, "out of memory");
	/* CPUID and ACPI tell the number, so it is set before the first is made. */
	m->vcpu_count = m->config->cpus;
	for (unsigned int i = 0; i < m->vcpu_count && !err; i++)
		err = vcpu_create(&m->vcpus[i], m, i, error);
	return err;
}

int machine_create(struct machine *m, const struct vm_config *config, struct vmm_error *error)
{
	struct machine_control *c = calloc(1, sizeof(*c));
	int err;

	*m = (struct machine){
		.provider = config->provider, .config = config, .kvm_fd = -1, .vm_fd = -1,
		.ram.fd = -1, .control = c,
	};
	if (!c)
		return vmm_fail(error, -ENOMEM, "out of memory");
	c->boot.kernel.fd = c->boot.initrd.fd = -1;
	c->halted = true;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->asked, NULL);
	pthread_cond_init(&c->parked, NULL);
	pthread_cond_init(&c->released, NULL);
	bus_init(&m->pio, "ports");
	bus_init(&m->mmio, "memory");
	m->loop = loop_create();
	if (!m->loop)
		return vmm_fail(error, -ENOMEM, "cannot create the event loop");
	err = check_config(config, error);
	if (!err)
		err = boot_open(&c->boot, config, error);
	if (!err)
		err = create_vm(m, error);
	if (!err)
		err = create_memory(m, error);
	if (!err)
		err = create_chips(m, error);
	if (!err)
		err = create_vcpus(m, error);
	if (!err)
		err = boot_load(&c->boot, m, &c->entry, error);
	if (err)
		return err;
	err = vcpu_set_entry(&m->vcpus[0], &c->entry);
	return err ? vmm_fail(error, err, "cannot start the guest: %s", strerror(-err)) : 0;
}

void machine_destroy(struct machine *m)
{
	struct machine_control *c = m->control;
	struct device *dev;

	if (!c)
		return;
	while ((dev = m->devices)) {
		m->devices = dev->next;
		pthread_mutex_destroy(&dev->lock);
		dev->ops->destroy(dev);
	}
	machine_irq_destroy(m);
	for (unsigned int i = 0; i < m->vcpu_count; i++)
		vcpu_destroy(&m->vcpus[i]);
	free(m->vcpus);
	if (m->vm_fd >= 0)
		m->provider->close(m->vm_fd);
	if (m->kvm_fd >= 0)
		m->provider->close(m->kvm_fd);
	ram_destroy(&m->ram);
	boot_close(&c->boot);
	if (m->loop)
		loop_destroy(m->loop);
	bus_destroy(&m->pio);
	bus_destroy(&m->mmio);
	pthread_cond_destroy(&c->asked);
	pthread_cond_destroy(&c->parked);
	pthread_cond_destroy(&c->released);
	pthread_mutex_destroy(&c->lock);
	free(c);
	m->control = NULL;
}
