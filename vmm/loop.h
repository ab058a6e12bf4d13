/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The loop thread: one epoll loop that devices and backends belong to.
 *
 * vCPU threads never wait for I/O: they write an eventfd (or the kernel does, by ioeventfd) and
 * the loop does the work. The structs are the caller's, embedded in what they serve; the loop only
 * links them, so that nothing here can fail for want of memory except epoll itself.
 *
 * All functions may be called from any thread, also from callbacks, unless said otherwise.
 * Callbacks run on the loop thread with no lock held: a device's callback takes the device's lock.
 * Removing something (loop_fd_del, loop_timer_cancel, loop_call_cancel) from another thread waits
 * until its callback has finished: so do not remove while holding a lock that the callback takes.
 * Pause, reset and destroy of devices run on the loop thread, where nothing waits.
 */
#ifndef VMM_LOOP_H
#define VMM_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* A descriptor that is watched. events are EPOLLIN, EPOLLOUT…, level-triggered. */
struct loop_fd {
	int fd;
	uint32_t events;
	void (*callback)(struct loop_fd *watch, uint32_t events);
	/* the loop's own */
	struct loop *loop;
	uint64_t id;
	struct loop_fd *next, **link;
};

/* A one-shot timer. Arm it again from its callback for a periodic one. */
struct loop_timer {
	void (*callback)(struct loop_timer *timer);
	/* the loop's own */
	struct loop *loop;
	uint64_t deadline;
	struct loop_timer *next, **link;
};

/* A call that somebody asks the loop thread to make. Asked twice before it ran, it runs once. */
struct loop_call {
	void (*callback)(struct loop_call *call);
	/* the loop's own */
	struct loop *loop;
	struct loop_call *next, **link;
};

/* Creates a loop; its thread does not run yet. NULL: out of memory or descriptors. */
struct loop *loop_create(void);
/* Starts the thread, named for debuggers. Returns 0 or -errno. */
int loop_start(struct loop *loop, const char *name);
/* Ends the thread after the callbacks in progress and waits for it. Not from a callback. */
void loop_stop(struct loop *loop);
/* Frees a stopped loop. What it still watched is forgotten, not closed. */
void loop_destroy(struct loop *loop);
/*
 * Instead of loop_start, for tests without a thread: waits for something to do, timeout
 * milliseconds at most (-1: for ever), and does it here. Returns the number of descriptors that
 * had something.
 */
int loop_step(struct loop *loop, int timeout);
/* True on the loop's own thread. */
bool loop_is_current(const struct loop *loop);

/* Nanoseconds of CLOCK_MONOTONIC: the clock of timers. */
uint64_t loop_now(void);

/* Watches watch->fd for watch->events. Returns 0 or -errno (-EPERM: not a pollable file). */
int loop_fd_add(struct loop *loop, struct loop_fd *watch);
/* Changes the events that are watched; 0 keeps the descriptor but reports only errors. */
int loop_fd_set_events(struct loop_fd *watch, uint32_t events);
/* Stops watching. Harmless if watch is not watched. Does not close. */
void loop_fd_del(struct loop_fd *watch);

/* Arms or re-arms the timer for the absolute time deadline (loop_now() scale). */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline);
/* Disarms. Harmless if not armed. */
void loop_timer_cancel(struct loop_timer *timer);

/* Asks for call->callback on the loop thread, soon. */
void loop_defer(struct loop *loop, struct loop_call *call);
void loop_call_cancel(struct loop_call *call);

/* Runs fn(arg) on the loop thread and waits for it; directly, if already there. */
void loop_run(struct loop *loop, void (*fn)(void *arg), void *arg);

#endif
