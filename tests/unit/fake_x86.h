/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kvm/core without a processor: a kvm_cpu_ops table and chips that only write down what they are asked, so that
 * slots, buses, routing and eventfds are tested by themselves.
 */
#ifndef TESTS_FAKE_X86_H
#define TESTS_FAKE_X86_H

#include "kvm/core/kvm.h"
#include "kvm/x86/irqchip.h"

#define FAKE_LOG_MAX	64

struct fake_pin_event { char chip; int pin, source, level; };	/* chip: 'p' or 'i' */

struct fake_log {
	struct os_mutex lock;
	u32 nr_pins, nr_msis, changes;	/* changes: bumped and woken at each */
	struct fake_pin_event pin[FAKE_LOG_MAX];
	struct kvm_lapic_msg msi[FAKE_LOG_MAX];
	int pin_result, msi_result;
	u32 vms, vcpus;			/* that exist */
	int fail_vcpu_create;
	u32 pit_acks, dropped;
	const u8 *last_dropped;
};

extern struct fake_log fake;

void fake_reset(void);
struct kvm *fake_vm(void);
/* A vCPU with a run area of its own. */
struct kvm_vcpu *fake_vcpu(struct kvm *kvm, u32 id);
/* Runs as a vCPU's thread would: enter, serve requests, leave, until told to stop. */
struct fake_runner;
struct fake_runner *fake_run(struct kvm_vcpu *v, void (*step)(struct kvm_vcpu *v, void *arg), void *arg);
void fake_run_stop(struct fake_runner *r);
/* Waits until n changes have been noted, 5 s at most. */
void fake_wait(u32 n);

#endif
