/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtual CPU: its KVM object, its state at power-on, and the thread that runs it.
 */
#ifndef VMM_MACHINE_VCPU_H
#define VMM_MACHINE_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include "vmm/machine/boot.h"
#include "vmm/machine/machine.h"

struct vcpu_power_on;

struct vcpu {
	struct machine *machine;
	unsigned int id;		/* also the APIC identifier */
	int fd;				/* -1: not created */
	struct kvm_run *run;
	size_t run_size;
	bool unfinished;		/* KVM has yet to take in the answer to an I/O exit */
	struct vcpu_power_on *power_on;
	pthread_t thread;
	clockid_t clock;		/* of the processor time that the thread has used */
	bool started;
};

/* Creates the KVM object, sets CPUID and MSRs, and remembers the state at power-on. */
int vcpu_create(struct vcpu *v, struct machine *m, unsigned int id, struct vmm_error *error);
/* Not while its thread runs. Harmless where vcpu_create failed or was not called. */
void vcpu_destroy(struct vcpu *v);

/* Puts the power-on state back. While its thread is parked. Returns 0 or -errno. */
int vcpu_reset(struct vcpu *v);
/* Makes the boot processor start where the boot protocol wants it. */
int vcpu_set_entry(struct vcpu *v, const struct boot_entry *entry);

/* Starts the thread, which parks at once (machine_vcpu_wait). Returns 0 or -errno. */
int vcpu_start(struct vcpu *v);
/* Waits for the thread to end. */
void vcpu_join(struct vcpu *v);

/* Makes the thread leave the guest soon and look at what is wanted of it. */
void vcpu_kick(struct vcpu *v);
/* For the thread itself, before it parks and after: finishes what the last exit began, and forgets
 * kicks. */
void vcpu_finish_exit(struct vcpu *v);
void vcpu_clear_kick(struct vcpu *v);

/* Sets up the signal that kicks. Once, before the first thread. */
int vcpu_signal_init(void);

/* As ioctl(2) on the vCPU, but -errno instead of -1. */
int vcpu_ioctl(const struct vcpu *v, unsigned long request, void *arg);

/* ------------------------------------------------------------------ cpuid.c */

/* Gives the vCPU what the provider supports, with this machine's topology. */
int vcpu_set_cpuid(struct vcpu *v, struct vmm_error *error);

/* ------------------------------------------------------------------ the machine's side */

/*
 * True when the vCPU may run the guest. While the machine stands still, waits; false when the
 * thread is to end.
 */
bool machine_vcpu_wait(struct machine *m, struct vcpu *v);

/* The run cannot go on. The text is for the user. */
void machine_request_error(struct machine *m, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The guest is dead: what says how. */
void machine_request_dead(struct machine *m, const char *what);

#endif
