// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_RUN: the loop around guest code.
 *
 *     until the VMM is wanted:
 *         asleep?        wait for an event
 *         requests       what other threads asked for
 *         events         at most one interrupt or exception is delivered
 *         guest code     until somebody wants attention
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/events.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/mem.h"

/* A signal, or immediate_exit, asks for the VMM. */
static bool interrupted(struct kvm_vcpu *v)
{
	return READ_ONCE(v->run->immediate_exit) || os_signal_pending(&v->sigmask);
}

/*
 * Waking a thread costs tens of microseconds, and far more of them where the host is itself a guest: as long as HLTs
 * are short, the vCPU polls for a while before it sleeps. As in Linux, how long follows from how long HLTs were: a vCPU
 * that is idle for milliseconds does not poll at all. It yields all the time, since who is to wake it may be waiting for
 * this very processor.
 */
#define HALT_POLL_START	10000		/* ns */
#define POLLS_A_LOOK	32		/* at the event, each with a PAUSE: a microsecond */

static void poll_for_event(struct kvm_vcpu *v, u64 end)
{
	kvm_count(v, KVM_STAT_HALT_POLL_ATTEMPTED);
	do {
		for (u32 i = 0; i < POLLS_A_LOOK; i++) {
			if (os_event_is_set(&v->wake)) {
				kvm_count(v, KVM_STAT_HALT_POLL_SUCCESS);
				return;
			}
			os_cpu_relax();
		}
		os_yield();
	} while (os_time_ns() < end && !READ_ONCE(v->run->immediate_exit));
}

/*
 * A HLT that began then is over: how long is the next one to poll? What counts is when its end was asked for, or due:
 * the way from there to here is what polling saves.
 */
static void adapt_halt_poll(struct kvm_vcpu *v, u64 start, u64 deadline)
{
	u64 woken = READ_ONCE(v->wake.woken_at), now = os_time_ns();
	u64 took = (woken >= start && woken < now ? woken : min(now, max(deadline, start))) - start;
	u32 max_poll = READ_ONCE(v->kvm->halt_poll_max);

	if (took > max_poll)
		v->halt_poll = 0;
	else if (took > v->halt_poll)
		v->halt_poll = min(max(2 * v->halt_poll, (u32)HALT_POLL_START), max_poll);
}

/* Sleeps until the vCPU can run: HLT, or waiting for INIT and SIPI. 0, -EINTR. */
static int sleep_until_event(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	u64 start = 0;			/* of the HLT, as soon as there is something to wait for */
	u64 deadline = ~0ull;
	int r;

	for (;;) {
		x86_accept_reset_signals(v);
		if (c->mp_state == KVM_MP_STATE_RUNNABLE)
			return 0;
		if (c->mp_state == KVM_MP_STATE_HALTED) {
			if (c->lapic)
				kvm_lapic_run_timer(v);
			if (kvm_hv_stimers_due(v)) {
				kvm_vcpu_enter(v);
				kvm_make_own_request(v, KVM_REQ_HV_STIMER);
				x86_serve_requests(v);
				kvm_vcpu_leave(v);
			}
			if (atomic_xchg(&c->ev.pv_unhalted, false) || x86_wakes(v)) {
				c->mp_state = KVM_MP_STATE_RUNNABLE;
				kvm_count(v, KVM_STAT_HALT_WAKEUP);
				if (start)
					adapt_halt_poll(v, start, deadline);
				return 0;
			}
			deadline = c->lapic ? min(kvm_lapic_next_deadline(v), c->hv->deadline) : ~0ull;
			if (!start)
				start = os_time_ns();
		} else {
			deadline = ~0ull;	/* INIT has come */
			start = 0;
		}
		if (READ_ONCE(v->requests) & (BIT(KVM_REQ_VM_DEAD) | BIT(KVM_REQ_TRIPLE_FAULT)))
			return 0;
		if (v->halt_poll && start && !kvm_pv_guest_polls(v))
			poll_for_event(v, min(deadline, start + v->halt_poll));
		r = os_event_wait(&v->wake, deadline, &v->run->immediate_exit);
		if (r == -EINTR || interrupted(v))
			return -EINTR;
	}
}

/* What guest code left behind for the core. True: back to the VMM, run->exit_reason is set. */
static bool core_exit(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;

	if (c->ev.triple_fault) {
		c->ev.triple_fault = false;
		x86_shut_down(v);
		c->halted = false;
		v->run->exit_reason = KVM_EXIT_SHUTDOWN;
		return true;
	}
	if (c->halted) {
		c->halted = false;
		kvm_count(v, KVM_STAT_HALT_EXITS);
		if (c->lapic || (READ_ONCE(v->kvm->arch.disabled_exits) & KVM_X86_DISABLE_EXITS_HLT)) {
			/* While asleep, guest memory is not looked at: is the EOI that it holds given? */
			if (c->lapic && kvm_pv_eoi_take(v))
				kvm_lapic_eoi(v);
			c->mp_state = KVM_MP_STATE_HALTED;
			return false;
		}
		v->run->exit_reason = KVM_EXIT_HLT;
		return true;
	}
	if (kvm_check_request(v, KVM_REQ_IOAPIC_EOI_EXIT)) {
		v->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
		v->run->eoi.vector = c->ev.eoi_vector;
		return true;
	}
	if (kvm_check_request(v, KVM_REQ_TPR_ACCESS)) {
		v->run->exit_reason = KVM_EXIT_TPR_ACCESS;
		v->run->tpr_access.rip = c->ev.tpr_access_rip;
		v->run->tpr_access.is_write = c->ev.tpr_access_write;
		return true;
	}
	if (kvm_hv_exit(v))
		return true;
	/* Until the VMM has taken entries back, every KVM_RUN ends here. */
	if (kvm_check_request(v, KVM_REQ_DIRTY_RING_FULL) && kvm_dirty_ring_full(v)) {
		kvm_make_own_request(v, KVM_REQ_DIRTY_RING_FULL);
		v->run->exit_reason = KVM_EXIT_DIRTY_RING_FULL;
		return true;
	}
	return false;
}

/* The loop proper. 0 with run->exit_reason set, or -errno. Entered on return only if it was on entry. */
static int run_loop(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	/* A signal that this thread lets in had its chance just before KVM_RUN: looking, a system call, can wait
	 * until some guest code has run. One that only KVM_RUN lets in cannot. */
	bool look_for_signals = v->sigmask.set;
	int r;

	for (;;) {
		if (c->mp_state != KVM_MP_STATE_RUNNABLE) {
			/* As in Linux, a processor that SIPI has just started first goes back to the VMM. */
			bool waits_for_sipi = c->mp_state == KVM_MP_STATE_UNINITIALIZED;

			r = sleep_until_event(v);
			if (r)
				return r;
			if (waits_for_sipi && c->mp_state != KVM_MP_STATE_UNINITIALIZED)
				return -EAGAIN;
		}
		kvm_vcpu_enter(v);
		if (READ_ONCE(v->requests))
			x86_serve_requests(v);
		x86_accept_reset_signals(v);
		if (c->mp_state != KVM_MP_STATE_RUNNABLE)
			goto next;
		if (v->kvm->dead || (READ_ONCE(v->requests) & BIT(KVM_REQ_VM_DEAD))) {
			r = -EIO;
			goto out;
		}
		/* An access that the VMM has just answered is completed first: its state must be whole. */
		if (!c->io.nr_reads && (READ_ONCE(v->run->immediate_exit) ||
					(look_for_signals && os_signal_pending(&v->sigmask)))) {
			r = -EINTR;
			goto out;
		}
		look_for_signals = true;
		r = x86_inject_events(v);
		if (!r && !core_exit(v)) {
			v->has_run = true;
			r = v->kvm->ops->run(v);
			kvm_count(v, KVM_STAT_EXITS);
			if (r == KVM_RUN_AGAIN && !core_exit(v)) {
next:
				kvm_vcpu_leave(v);
				continue;
			}
		}
		r = r < 0 ? r : 0;
out:
		kvm_vcpu_leave(v);
		return r;
	}
}

int kvm_vcpu_run(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	/* An exit at once leaves exit_reason alone: it is the way to have an answer taken, and no more done. */
	bool at_once = READ_ONCE(v->run->immediate_exit);
	u64 old_mask = 0;
	int r;

	os_sigmask_enter(&v->sigmask, &old_mask);
	kvm_note_outside(v->kvm);

	r = x86_run_begin(v);
	if (r)
		goto out;
	x86_io_complete(c);
	/* The rest of a store that the VMM has seen in part. */
	if (x86_io_exit_next_write(c))
		goto out;
	r = run_loop(v);
	if (r == -EINTR && !at_once) {
		v->run->exit_reason = KVM_EXIT_INTR;
		kvm_count(v, KVM_STAT_SIGNAL_EXITS);
	}
out:
	v->exits[READ_ONCE(v->run->exit_reason) % KVM_EXIT_COUNTERS]++;
	x86_run_end(v);
	os_sigmask_leave(&v->sigmask, old_mask);
	return r;
}
