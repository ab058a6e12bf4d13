/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The port: everything the core asks of its host. user/ implements it for a process; a kernel
 * module implements it with the kernel's own. Nothing here knows of guests.
 */
#ifndef KVM_OS_H
#define KVM_OS_H

#include "kvm/os/types.h"

/* The compiler emits calls to these four by itself; every host has them. */
void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* ---- memory: zeroed, or NULL ---- */
void *os_alloc(size_t size);
void os_free(void *p);			/* NULL is fine */
/* Page-aligned, zeroed on first touch, for large sparse arrays. Free with the same size. */
void *os_alloc_large(size_t size);
void os_free_large(void *p, size_t size);
/* Zeroed again; whole pages of it go back to the host until they are touched. p: at a page's start. */
void os_large_zero(void *p, size_t size);

/* ---- locks: not recursive; usable from any thread ---- */
struct os_mutex { u32 word; };		/* all zero is unlocked */
void os_mutex_lock(struct os_mutex *m);
bool os_mutex_trylock(struct os_mutex *m);
void os_mutex_unlock(struct os_mutex *m);

/* ---- sleeping and waking: one sleeper (a vCPU's thread), any number of wakers ---- */
struct os_event {
	u32 word;			/* unset, set, or a sleeper waits */
	s32 wake_fd, signal_fd;		/* the port's; plus one, 0 is none */
	u64 signals;
	u64 woken_at;			/* os_time_ns when a sleeper was last woken, before it ran */
};
int os_event_init(struct os_event *e);		/* unset. 0, -EMFILE, -ENFILE, -ENOMEM */
void os_event_destroy(struct os_event *e);	/* no sleeper, no wakers any more; all zero is fine */
/* Sets the event; wakes the sleeper. Async-signal-safe. Stays set until a wait consumes it. */
void os_event_set(struct os_event *e);
/* Consumes the event or sleeps until it is set, `deadline` (os_time_ns; ~0 for none) passes
 * (-ETIMEDOUT) or a signal that the caller accepts arrives (-EINTR; see os_sigmask_enter). *stop, where
 * given, is a byte that a signal handler may set: non-zero is -EINTR too, without a window in which
 * that is missed. */
int os_event_wait(struct os_event *e, u64 deadline, const volatile u8 *stop);
bool os_event_is_set(const struct os_event *e);	/* the next wait returns at once */
/* Waits until *word != old (a short wait: spins, then sleeps). Wake with os_word_wake. */
void os_word_wait(u32 *word, u32 old);
void os_word_wake(u32 *word);
void os_cpu_relax(void);
void os_yield(void);			/* lets another thread run */

/* ---- signals around KVM_RUN ---- */
/* KVM_SET_SIGNAL_MASK: the mask (NULL for none) that holds while a vCPU runs. */
struct os_sigmask { bool set; u64 mask; };
/* From here to os_sigmask_leave this thread takes no signal but those that its own faults raise.
 * The others stay pending, so that none is lost between a look and a sleep, whatever its handler does;
 * those that m (or, unset, the thread's own mask) lets in are seen by os_signal_pending and end
 * os_event_wait. Who runs guest code has to ask os_signal_pending now and then. */
void os_sigmask_enter(const struct os_sigmask *m, u64 *old);
void os_sigmask_leave(const struct os_sigmask *m, u64 old);
/* True where this thread has a signal waiting that the mask of KVM_RUN would accept. */
bool os_signal_pending(const struct os_sigmask *m);

/* ---- clocks: nanoseconds ---- */
u64 os_time_ns(void);			/* CLOCK_MONOTONIC */
u64 os_boottime_ns(void);		/* CLOCK_BOOTTIME */
u64 os_realtime_ns(void);		/* CLOCK_REALTIME */
u64 os_thread_runtime_ns(void);		/* time this thread has had a CPU */
u64 os_thread_steal_ns(void);		/* time this thread was runnable but waited for a CPU */
u32 os_process_id(void);		/* whose objects these are, as its system numbers it */
u32 os_nr_cpus(void);			/* of the host, on line */
bool os_smt_possible(void);		/* processors of the host may share a core */
u32 os_tsc_khz(void);			/* the host's time-stamp counter's rate, measured once */
static inline u64 os_rdtsc(void)
{
	u32 lo, hi;

	__asm__ __volatile__("rdtsc" : "=a"(lo), "=d"(hi));
	return ((u64)hi << 32) | lo;
}

/* ---- timers: fn runs on a thread of the port's, with no lock held ---- */
struct os_timer {
	void (*fn)(void *arg);
	void *arg;
	u64 deadline;			/* 0: not armed */
	u32 heap_index;			/* the port's */
};
void os_timer_init(struct os_timer *t, void (*fn)(void *), void *arg);
int os_timer_set(struct os_timer *t, u64 deadline_ns);	/* os_time_ns time; rearms */
void os_timer_cancel(struct os_timer *t);		/* may still be running on return */
void os_timer_destroy(struct os_timer *t);		/* cancels and waits for a running fn */

/* ---- event descriptors (irqfd, ioeventfd, resample) ---- */
struct os_eventfd;
/* Takes a reference to the event behind a user's descriptor. 0, -EBADF, -EINVAL. */
int os_eventfd_get(int fd, struct os_eventfd **out);
void os_eventfd_put(struct os_eventfd *e);
void os_eventfd_signal(struct os_eventfd *e, u64 n);
bool os_eventfd_same(const struct os_eventfd *a, const struct os_eventfd *b);
/* Calls fn(arg) on a thread of the port's each time e is signalled, after having read it.
 * Stop with os_eventfd_unwatch, which waits for a running fn. */
int os_eventfd_watch(struct os_eventfd *e, void (*fn)(void *), void *arg);
void os_eventfd_unwatch(struct os_eventfd *e);
/* True where the event, which is watched, can never be signalled again: no descriptor of it is left
 * anywhere. Costs some system calls. */
bool os_eventfd_abandoned(struct os_eventfd *e);

/* ---- descriptors: how the API hands out its objects ---- */
struct os_fd_ops {
	long (*ioctl)(void *obj, u32 cmd, u64 arg);
	void (*release)(void *obj);	/* its last descriptor is gone and no ioctl is under way */
};
struct os_fd;				/* a descriptor in the making */
/* A descriptor of `size` bytes of zeroed memory shared with whoever maps it, at *mem here (size 0:
 * none). 0, -EMFILE, -ENFILE, -ENOMEM. */
int os_fd_prepare(const char *name, size_t size, struct os_fd **out, void **mem);
/* Where f is mapped by anykvm_mmap, `page` of it is that page of the descriptor whose memory is `mem`, for as long
 * as that one has a descriptor. Before f is published. */
void os_fd_borrow_page(struct os_fd *f, const void *mem, u32 page);
/* Gives it to the caller of the API. Returns its number; cannot fail. */
int os_fd_publish(struct os_fd *f, const struct os_fd_ops *ops, void *obj);
void os_fd_discard(struct os_fd *f);	/* instead of publishing; *mem goes too */
/* The memory of a published descriptor outlives it: it goes with the object. */
void os_fd_unmap(void *mem, size_t size);

/* ---- memory that others may read through descriptors of their own ---- */
struct os_shared;
/* Zeroed, at *mem here. 0, -EMFILE, -ENFILE, -ENOMEM. */
int os_shared_create(const char *name, size_t size, struct os_shared **out, void **mem);
int os_shared_open(struct os_shared *s);	/* a new descriptor for the caller of the API, or -errno */
void os_shared_destroy(struct os_shared *s);	/* NULL is fine; what was opened can still be read */

/* ---- the caller's memory ---- */
/* ioctl arguments. 0 or -EFAULT, whatever the pointer. */
int os_copy_from_user(void *dst, u64 user, size_t n);
int os_copy_to_user(u64 user, const void *src, size_t n);
/* True where the page at p can be read (and written) without a fault; used before guest memory
 * is first touched, since a slot may name an address that is not mapped. */
bool os_user_page_ok(const void *p, bool write);

/* ---- code memory (user only): one memory, mapped writable and, elsewhere, executable ---- */
struct os_code { u8 *rw; u8 *rx; size_t size; };
int os_code_alloc(struct os_code *c, size_t size);
void os_code_free(struct os_code *c);
/* What is behind `from` is not needed any more: its memory goes back to the host until it is touched. */
void os_code_drop(struct os_code *c, size_t from);

/* ---- for people who look inside (user only) ---- */
/* What the environment says of a setting; NULL: nothing. */
const char *os_setting(const char *name);
/* Names of code, for profilers: with perf(1), in /tmp/perf-PID.map. 0 or -errno; names go nowhere before. */
int os_perf_map_open(void);
void os_perf_map_add(const void *code, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A line for such people: to standard error, or where os_show_to said. */
void os_show(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int os_show_to(const char *path);	/* a file, emptied first. 0 or -errno */
/* One instruction of code that runs at `addr` with 16, 32 or 64 bits. Its length; 0 where nothing can say. */
u32 os_disassemble(const u8 *bytes, size_t n, u32 bits, u64 addr, char *text, size_t size);

/* ---- random, log ---- */
void os_random(void *p, size_t n);
void os_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void os_panic(const char *what) __attribute__((noreturn));	/* a bug of ours, not of the guest's */

#endif
