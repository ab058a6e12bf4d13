/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the user port share. */
#ifndef KVM_OS_USER_H
#define KVM_OS_USER_H

#include "kvm/os/os.h"

/* futex.c. 0 or -errno; `timeout` is absolute CLOCK_MONOTONIC time in nanoseconds, ~0 for none. */
int user_futex_wait(u32 *word, u32 old, u64 timeout);
void user_futex_wake(u32 *word, int n);

/* The signals that a thread's own faults raise, and those that the C library needs for itself: they are never
 * held back. Bits as in the kernel's sigset_t. */
u64 user_signals_kept_open(void);

/* Around a call of the API, with nothing held: the thread is cancelled before or after it (pthread_cancel). sleeps: the
 * call lasts, as KVM_RUN does, and is ended with -EINTR where the thread may be cancelled anywhere. */
void user_hold_cancellation(bool sleeps, int *state);
void user_allow_cancellation(int state);

/* worker.c: a callback when a descriptor becomes readable. `watch` names it for removal. */
int user_worker_add(int fd, void (*fn)(void *), void *arg, u64 *watch);
/* From now on the callback comes once for each signal, read or not. */
void user_worker_each_signal(int fd, u64 watch);
/* Waits for a running callback, except on the worker's own thread. */
void user_worker_wait(u64 watch);
/* Is what is watched still there? It goes with the last descriptor of its file, wherever. */
bool user_worker_still_there(u64 watch);
/* Waits, too. */
void user_worker_remove(int fd, u64 watch);

/* What happens to each file's state around fork; called by fork.c in lock order. */
void user_worker_before_fork(void);
void user_worker_after_fork(bool child);
void user_eventfd_before_fork(void);
void user_eventfd_after_fork(bool child);
void user_fd_before_fork(void);
void user_fd_after_fork(bool child);
void user_copy_after_fork(void);
/* Registers the above once. */
void user_fork_init(void);

#endif
