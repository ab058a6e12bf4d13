/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Can a provider really run a kernel?
 *
 * That /dev/kvm opens says little: there are drivers behind it which emulate ring 0 one instruction
 * at a time, or cannot execute all of it. So the question is put to a guest.
 */
#ifndef VMM_MACHINE_PROBE_H
#define VMM_MACHINE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/provider.h"

#define PROBE_LOOP_ITERATIONS	1000000u
/* The loop, of three instructions, takes a processor about 1 ms; a good interpreter needs ten. What
 * takes longer than this is not running the guest on a processor. */
#define PROBE_LOOP_LIMIT_NS	5000000ull
#define PROBE_REASON_SIZE	256

/* The fields are filled in this order; the first failure leaves the rest false or 0. */
struct kvm_probe {
	bool opens;		/* the system object could be opened */
	int api_version;	/* KVM_GET_API_VERSION */
	bool long_mode;		/* ring 0 code ran in long mode, with paging */
	bool cmpxchg16b;	/* lock cmpxchg16b in ring 0 did what it should */
	bool loop;		/* the loop finished with the right sum */
	uint64_t loop_ns;	/* processor time which it took, or took before it was stopped */
	char reason[PROBE_REASON_SIZE];	/* the first failure, for people; "" where none */
};

/*
 * Runs the probe guest on a provider and fills *probe. Nothing of the guest stays behind: it runs
 * in a child process, which is killed after two seconds. With all, the loop is timed even where
 * cmpxchg16b failed, which may take those two seconds. Returns true where all of it worked.
 * Whether it was quick enough is not judged here: see kvm_probe_fast().
 */
bool kvm_probe_run(const struct kvm_provider *provider, struct kvm_probe *probe, bool all);

/* True where the loop took the time which a processor takes. */
bool kvm_probe_fast(const struct kvm_probe *probe);

/* Writes why the provider's open gave err (a -errno) and what would help: one line, no newline. */
void kvm_explain_open(const struct kvm_provider *provider, int err, char *text, size_t size);

/*
 * The provider that --accel auto takes: Linux's where the probe passes at a processor's speed, else
 * the software processor. Writes to reason, as one line without a newline, which and why.
 */
const struct kvm_provider *kvm_provider_auto(char *reason, size_t size);

#endif
