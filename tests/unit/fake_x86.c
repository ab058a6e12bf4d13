/* SPDX-License-Identifier: GPL-2.0-only */
/* See fake_x86.h. */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/fake_x86.h"
#include "kvm/x86/events.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/msr.h"

struct fake_log fake;

static void noted(void)
{
	atomic_add(&fake.changes, 1);
	os_word_wake(&fake.changes);
}

void fake_reset(void)
{
	u32 vms = fake.vms, vcpus = fake.vcpus;

	fake = (struct fake_log){ .vms = vms, .vcpus = vcpus, .pin_result = 1, .msi_result = 1 };
}

void fake_wait(u32 n)
{
	for (int ms = 0; ms < 5000 && load_acquire(&fake.changes) < n; ms++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* ---- the processor ---- */

static int vm_create(struct kvm *kvm)
{
	kvm->cpu = &fake;
	fake.vms++;
	return 0;
}

static void vm_destroy(struct kvm *kvm)
{
	fake.vms--;
}

static int vcpu_create(struct kvm_vcpu *v)
{
	if (fake.fail_vcpu_create)
		return fake.fail_vcpu_create;
	fake.vcpus++;
	return 0;
}

static void vcpu_destroy(struct kvm_vcpu *v)
{
	fake.vcpus--;
}

static void drop_code(struct kvm_vcpu *v, const u8 *host)
{
	atomic_add(&fake.dropped, 1);
	WRITE_ONCE(fake.last_dropped, host);
}

const struct kvm_cpu_ops soft_cpu_ops = {
	.name = "fake",
	.drop_code = drop_code,
	.vm_create = vm_create,
	.vm_destroy = vm_destroy,
	.vcpu_create = vcpu_create,
	.vcpu_destroy = vcpu_destroy,
};

int kvm_x86_vcpu_init(struct kvm_vcpu *v)
{
	return 0;
}

void kvm_x86_vcpu_free(struct kvm_vcpu *v)
{
}

/* ---- the chips ---- */

static int note_pin(char chip, int pin, int source, int level)
{
	os_mutex_lock(&fake.lock);
	if (fake.nr_pins < FAKE_LOG_MAX)
		fake.pin[fake.nr_pins++] = (struct fake_pin_event){ chip, pin, source, level };
	os_mutex_unlock(&fake.lock);
	noted();
	return fake.pin_result;
}

int kvm_ioapic_set_pin(struct kvm *kvm, int pin, int source_id, int level)
{
	return note_pin('i', pin, source_id, level);
}

int kvm_pic_set_pin(struct kvm *kvm, int pin, int source_id, int level)
{
	return note_pin('p', pin, source_id, level);
}

int kvm_lapic_deliver(struct kvm *kvm, struct kvm_vcpu *src, const struct kvm_lapic_msg *msg)
{
	os_mutex_lock(&fake.lock);
	if (fake.nr_msis < FAKE_LOG_MAX)
		fake.msi[fake.nr_msis++] = *msg;
	os_mutex_unlock(&fake.lock);
	noted();
	return fake.msi_result;
}

void kvm_pit_destroy(struct kvm *kvm)
{
}

void kvm_pit_ack(struct kvm *kvm)
{
	fake.pit_acks++;
}

void kvm_ioapic_destroy(struct kvm *kvm)
{
}

int kvm_hv_init_vm(struct kvm *kvm)
{
	return 0;
}

void kvm_hv_destroy_vm(struct kvm *kvm)
{
}

int kvm_hv_raise_sint_of(struct kvm *kvm, u32 vp_index, u32 sint)
{
	return -1;
}

void kvm_msr_filter_destroy(struct kvm *kvm)
{
}

void kvm_pic_destroy(struct kvm *kvm)
{
}

long kvm_system_ioctl(u32 cmd, u64 arg)
{
	return -EINVAL;
}

/* ---- VMs, and vCPUs that run ---- */

struct kvm *fake_vm(void)
{
	int error;
	struct kvm *kvm = kvm_create_vm(0, &error);

	assert(kvm);
	return kvm;
}

struct kvm_vcpu *fake_vcpu(struct kvm *kvm, u32 id)
{
	size_t size = kvm_vcpu_run_size(kvm);
	struct kvm_vcpu *v;
	int r = kvm_create_vcpu(kvm, id, os_alloc_large(size), size, &v);

	assert(!r);
	return v;
}

struct fake_runner {
	pthread_t thread;
	struct kvm_vcpu *v;
	void (*step)(struct kvm_vcpu *v, void *arg);
	void *arg;
	u32 stop;
};

static void *runner(void *arg)
{
	struct fake_runner *r = arg;
	struct kvm_vcpu *v = r->v;

	while (!load_acquire(&r->stop)) {
		kvm_vcpu_enter(v);
		if (kvm_check_request(v, KVM_REQ_SLOTS))
			kvm_vcpu_reload_slots(v);
		kvm_check_request(v, KVM_REQ_TLB_WRITES);
		kvm_check_request(v, KVM_REQ_CODE_PAGES);
		kvm_check_request(v, KVM_REQ_CODE);
		while (!READ_ONCE(v->cpu.attention) && !load_acquire(&r->stop))
			r->step(v, r->arg);
		kvm_vcpu_leave(v);
	}
	return NULL;
}

struct fake_runner *fake_run(struct kvm_vcpu *v, void (*step)(struct kvm_vcpu *v, void *arg), void *arg)
{
	struct fake_runner *r = calloc(1, sizeof(*r));

	assert(r);
	r->v = v;
	r->step = step;
	r->arg = arg;
	pthread_create(&r->thread, NULL, runner, r);
	return r;
}

void fake_run_stop(struct fake_runner *r)
{
	store_release(&r->stop, 1);
	pthread_join(r->thread, NULL);
	free(r);
}
