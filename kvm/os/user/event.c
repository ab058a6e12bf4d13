/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a vCPU's thread sleeps, and what it does about signals.
 *
 * Linux's KVM_RUN comes back with EINTR for any signal that is let in, also for one whose handler does
 * nothing and one that stays blocked outside of KVM_RUN. A handler that runs while this code is between
 * its last look and its sleep would go unnoticed, so that within KVM_RUN all signals are blocked:
 * a pending signal does not go away. Guest code is left now and then to look for one
 * (os_signal_pending), and a sleep lets them in at the same instant as it begins: ppoll, with the
 * mask to hold meanwhile, on an eventfd. (A futex cannot swap the mask, and whoever waits on two futexes still
 * misses a handler that writes neither.)
 *
 * Signals that KVM_SET_SIGNAL_MASK lets in but the thread itself blocks must end the sleep and yet stay
 * pending, their handler not run: those come through a signalfd next to the eventfd.
 *
 * pthread_cancel of a thread that may be cancelled anywhere comes as a signal as well, whose handler never returns.
 * It is held back until KVM_RUN, which it ends, has let go of all that it holds.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

enum { EVENT_UNSET, EVENT_SET, EVENT_SLEEPING };

#define SIG_BIT(n)	(1ull << ((n) - 1))
#define SIG_CANCEL	32	/* glibc's */

/* What this thread does about signals in KVM_RUN: it is a property of threads, not of vCPUs. */
static __thread struct {
	bool inside;		/* between os_sigmask_enter and os_sigmask_leave */
	u64 outside;		/* what the thread blocks by itself */
	u64 accept;		/* what ends KVM_RUN */
	u64 cancel;		/* the signal of cancellation, where that may come anywhere; else 0 */
} run_signals;

u64 user_signals_kept_open(void)
{
	return SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGFPE) | SIG_BIT(SIGILL) |
	       SIG_BIT(SIGTRAP) | SIG_BIT(SIGSYS) | SIG_BIT(SIGABRT) |
	       SIG_BIT(SIG_CANCEL) | SIG_BIT(33);	/* glibc: cancellation, setuid for all threads */
}

/* Those that this thread lets in while it is in KVM_RUN. */
static u64 kept_open(void)
{
	return user_signals_kept_open() & ~run_signals.cancel;
}

static void set_mask(u64 mask, u64 *old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, old, sizeof(mask));
}

void os_sigmask_enter(const struct os_sigmask *m, u64 *old)
{
	int saved = errno;

	set_mask(~kept_open(), old);
	run_signals.inside = true;
	run_signals.outside = *old | run_signals.cancel;
	run_signals.accept = (~(m && m->set ? m->mask : *old) & ~kept_open()) | run_signals.cancel;
	errno = saved;
}

void os_sigmask_leave(const struct os_sigmask *m, u64 old)
{
	int saved = errno;

	run_signals.inside = false;
	set_mask(old | run_signals.cancel, NULL);
	errno = saved;
}

void user_hold_cancellation(bool sleeps, int *state)
{
	u64 cancel = SIG_BIT(SIG_CANCEL);
	int type;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, state);
	if (!sleeps || *state != PTHREAD_CANCEL_ENABLE)
		return;
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	if (type != PTHREAD_CANCEL_ASYNCHRONOUS)
		return;
	/* The signal is sent only where cancellation is enabled. A request that has come already is obeyed here. */
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &cancel, NULL, sizeof(cancel));
	run_signals.cancel = cancel;
	pthread_setcanceltype(type, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
}

void user_allow_cancellation(int state)
{
	u64 cancel = run_signals.cancel;

	pthread_setcancelstate(state, NULL);
	if (!cancel)
		return;
	run_signals.cancel = 0;
	syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &cancel, NULL, sizeof(cancel));
}

bool os_signal_pending(const struct os_sigmask *m)
{
	u64 pending = 0, accept = run_signals.accept;
	int saved = errno;

	if (!run_signals.inside) {
		u64 outside = 0;

		syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &outside, sizeof(outside));
		accept = ~(m && m->set ? m->mask : outside);
	}
	syscall(SYS_rt_sigpending, &pending, sizeof(pending));
	errno = saved;
	return pending & accept;
}

int os_event_init(struct os_event *e)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	*e = (struct os_event){ .wake_fd = fd + 1 };
	return 0;
}

void os_event_destroy(struct os_event *e)
{
	if (e->wake_fd)
		close(e->wake_fd - 1);
	if (e->signal_fd)
		close(e->signal_fd - 1);
	*e = (struct os_event){ 0 };
}

void os_event_set(struct os_event *e)
{
	u64 one = 1;
	int saved = errno;

	if (load_acquire(&e->word) == EVENT_SLEEPING)
		WRITE_ONCE(e->woken_at, os_time_ns());
	/* A write that fails finds the count full, and then it is readable, which is all that matters. */
	if (__atomic_exchange_n(&e->word, EVENT_SET, __ATOMIC_SEQ_CST) == EVENT_SLEEPING)
		(void)!write(e->wake_fd - 1, &one, sizeof(one));
	errno = saved;
}

bool os_event_is_set(const struct os_event *e)
{
	return load_acquire(&e->word) == EVENT_SET;
}

/* Signals that the thread blocks and KVM_RUN lets in, as a descriptor; -1 where there are none. */
static int blocked_signal_fd(struct os_event *e, u64 signals)
{
	int fd;

	if (!signals)
		return -1;
	if (e->signal_fd && e->signals == signals)
		return e->signal_fd - 1;
	fd = syscall(SYS_signalfd4, e->signal_fd ? e->signal_fd - 1 : -1, &signals, sizeof(signals),
		     SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -1;	/* out of descriptors: such a signal is seen at the next wake-up */
	e->signal_fd = fd + 1;
	e->signals = signals;
	return fd;
}

/* Timers of the guest are as exact as Linux's KVM makes them: the default slack is 50 µs. */
static void sharpen_timers(void)
{
	static __thread bool done;

	if (done)
		return;
	done = true;
	prctl(PR_SET_TIMERSLACK, 1000);
}

static bool consume(struct os_event *e)
{
	u32 old = EVENT_SET;

	return __atomic_compare_exchange_n(&e->word, &old, EVENT_UNSET, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

static int sleep_on(struct os_event *e, u64 deadline, const volatile u8 *stop)
{
	u64 mask = run_signals.outside | ~run_signals.accept;
	struct pollfd fds[2] = {
		{ .fd = e->wake_fd - 1, .events = POLLIN },
		{ .fd = blocked_signal_fd(e, run_signals.outside & run_signals.accept),
		  .events = POLLIN },
	};
	int r = 0;

	mask &= ~kept_open();
	if (deadline != ~0ull)
		sharpen_timers();
	while (!r) {
		struct timespec ts, *timeout = NULL;
		u32 old = EVENT_UNSET;
		int n;

		if (stop && *stop)
			return -EINTR;
		if (deadline != ~0ull) {
			u64 now = os_time_ns();

			if (now >= deadline)
				return -ETIMEDOUT;
			ts.tv_sec = (deadline - now) / 1000000000;
			ts.tv_nsec = (deadline - now) % 1000000000;
			timeout = &ts;
		}
		if (!__atomic_compare_exchange_n(&e->word, &old, EVENT_SLEEPING, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) && consume(e))
			return 0;

		n = syscall(SYS_ppoll, fds, 2, timeout, &mask, sizeof(mask));
		if (n < 0 && errno == EINTR)
			r = -EINTR;
		else if (n < 0 && errno != EAGAIN && errno != ENOMEM)
			os_panic("a vCPU's eventfd was closed by somebody else");
		if (n > 0 && (fds[0].revents & POLLNVAL))
			os_panic("a vCPU's eventfd was closed by somebody else");
		if (n > 0 && fds[0].revents) {
			u64 count;	/* this wake-up's, or a late write of an earlier one's */

			(void)!read(e->wake_fd - 1, &count, sizeof(count));
		}
		if (n > 0 && (fds[1].revents & POLLIN))
			r = -EINTR;
		/* The event goes first: a signal stays pending or has set *stop, and is found later. */
		if (__atomic_exchange_n(&e->word, EVENT_UNSET, __ATOMIC_SEQ_CST) == EVENT_SET) {
			if (r != -EINTR)
				return 0;
			/* The handler has run already, if it had to: both have to be told. */
			os_event_set(e);
		}
	}
	return r;
}

int os_event_wait(struct os_event *e, u64 deadline, const volatile u8 *stop)
{
	int saved = errno, r;
	u64 old;

	if (consume(e))
		return 0;
	if (run_signals.inside) {
		r = sleep_on(e, deadline, stop);
	} else {
		os_sigmask_enter(NULL, &old);
		r = sleep_on(e, deadline, stop);
		os_sigmask_leave(NULL, old);
	}
	errno = saved;
	return r;
}
