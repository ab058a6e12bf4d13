/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The port's one thread: timers and watched event descriptors.
 *
 * It starts with the first timer or watch. Timers are in a heap by deadline, whose top arms a timerfd;
 * descriptors are in the same epoll set. Callbacks run with no lock held, one at a time, so that
 * "wait until it no longer runs" is a wait for one pointer to change.
 *
 * After a fork the child has no such thread, and its epoll set would be the parent's own: the child
 * forgets everything here and may start afresh.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

struct watch {
	void (*fn)(void *arg);
	void *arg;
	u32 generation;		/* an event fetched for the slot's former owner must not reach the next */
	bool used;
};

static struct worker {
	struct os_mutex lock;		/* all of this but done */
	bool started;
	pthread_t thread;
	int epoll_fd, timer_fd;
	struct os_timer **heap;		/* earliest first; heap[i]'s children are 2i+1 and 2i+2 */
	u32 nr_timers, heap_size;
	struct watch *watches;
	u32 nr_watches;
	const void *running;		/* the timer or the watch's argument whose callback runs */
	u64 running_watch;		/* …or the watch */
	u32 done;			/* bumped after each callback */
	u32 waiters;
} worker;

#define NO_WATCH	(~0ull)
#define TIMER_WATCH	(~0ull)		/* epoll data of the timerfd */

/* ---- the heap ---- */

static void heap_place(u32 i, struct os_timer *t)
{
	worker.heap[i] = t;
	t->heap_index = i;
}

static void heap_up(u32 i, struct os_timer *t)
{
	while (i && worker.heap[(i - 1) / 2]->deadline > t->deadline) {
		heap_place(i, worker.heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_place(i, t);
}

static void heap_down(u32 i, struct os_timer *t)
{
	for (;;) {
		u32 child = 2 * i + 1;

		if (child + 1 < worker.nr_timers &&
		    worker.heap[child + 1]->deadline < worker.heap[child]->deadline)
			child++;
		if (child >= worker.nr_timers || worker.heap[child]->deadline >= t->deadline)
			break;
		heap_place(i, worker.heap[child]);
		i = child;
	}
	heap_place(i, t);
}

static void heap_remove(struct os_timer *t)
{
	struct os_timer *last = worker.heap[--worker.nr_timers];
	u32 i = t->heap_index;

	t->deadline = 0;
	if (last == t)
		return;
	if (i && worker.heap[(i - 1) / 2]->deadline > last->deadline)
		heap_up(i, last);
	else
		heap_down(i, last);
}

static int heap_insert(struct os_timer *t)
{
	if (worker.nr_timers == worker.heap_size) {
		u32 n = worker.heap_size ? 2 * worker.heap_size : 64;
		struct os_timer **heap = realloc(worker.heap, n * sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		worker.heap = heap;
		worker.heap_size = n;
	}
	heap_up(worker.nr_timers++, t);
	return 0;
}

static void arm_timerfd(void)
{
	struct itimerspec its = { 0 };

	if (worker.nr_timers) {
		u64 ns = max(worker.heap[0]->deadline, 1ull);	/* 0 would disarm */

		its.it_value.tv_sec = ns / 1000000000;
		its.it_value.tv_nsec = ns % 1000000000;
	}
	timerfd_settime(worker.timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

/* ---- the thread ---- */

/* Called with the lock held, returns with it held. */
static void run_callback(void (*fn)(void *), void *arg, const void *timer, u64 watch)
{
	worker.running = timer;
	worker.running_watch = watch;
	os_mutex_unlock(&worker.lock);
	fn(arg);
	os_mutex_lock(&worker.lock);
	worker.running = NULL;
	worker.running_watch = NO_WATCH;
	atomic_add(&worker.done, 1);
	if (worker.waiters)
		os_word_wake(&worker.done);
}

static void run_timers(void)
{
	u64 now = os_time_ns();

	while (worker.nr_timers && worker.heap[0]->deadline <= now) {
		struct os_timer *t = worker.heap[0];

		heap_remove(t);
		run_callback(t->fn, t->arg, t, NO_WATCH);
	}
	arm_timerfd();
}

static void *worker_main(void *unused)
{
	struct epoll_event events[1];	/* one: what a callback removes must not come after it */

	pthread_setname_np(pthread_self(), "anykvm-worker");
	for (;;) {
		u64 data;

		if (epoll_wait(worker.epoll_fd, events, 1, -1) < 1)
			continue;
		data = events[0].data.u64;
		os_mutex_lock(&worker.lock);
		if (data == TIMER_WATCH) {
			run_timers();	/* which arms it anew: what a read would tell is forgotten by that */
		} else {
			u32 i = (u32)data, generation = data >> 32;

			if (i < worker.nr_watches && worker.watches[i].used &&
			    worker.watches[i].generation == generation) {
				struct watch w = worker.watches[i];

				run_callback(w.fn, w.arg, NULL, data);
			}
		}
		os_mutex_unlock(&worker.lock);
	}
	return NULL;
}

/* With the lock held. */
static int start_worker(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = TIMER_WATCH };
	u64 all = ~user_signals_kept_open(), old;
	int r;

	if (worker.started)
		return 0;
	worker.running_watch = NO_WATCH;
	worker.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker.epoll_fd < 0)
		return -errno;
	worker.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (worker.timer_fd < 0 ||
	    epoll_ctl(worker.epoll_fd, EPOLL_CTL_ADD, worker.timer_fd, &ev)) {
		r = -errno;
		goto out;
	}
	/* The program's signals are for the program's threads. */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));
	r = -pthread_create(&worker.thread, NULL, worker_main, NULL);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
	if (!r) {
		pthread_detach(worker.thread);
		worker.started = true;
		return 0;
	}
out:
	close(worker.epoll_fd);
	if (worker.timer_fd >= 0)
		close(worker.timer_fd);
	return r;
}

static bool on_worker(void)
{
	return worker.started && pthread_equal(pthread_self(), worker.thread);
}

/* With the lock held: until the callback that runs now is done. */
static void wait_done(void)
{
	u32 old = load_acquire(&worker.done);

	worker.waiters++;
	os_mutex_unlock(&worker.lock);
	os_word_wait(&worker.done, old);
	os_mutex_lock(&worker.lock);
	worker.waiters--;
}

/* ---- timers ---- */

void os_timer_init(struct os_timer *t, void (*fn)(void *), void *arg)
{
	*t = (struct os_timer){ .fn = fn, .arg = arg };
}

int os_timer_set(struct os_timer *t, u64 deadline_ns)
{
	int saved = errno, r;

	user_fork_init();
	os_mutex_lock(&worker.lock);
	r = start_worker();
	if (r)
		goto out;
	if (t->deadline)
		heap_remove(t);
	t->deadline = max(deadline_ns, 1ull);
	r = heap_insert(t);
	if (r)
		t->deadline = 0;
	/* A top that was removed leaves the timerfd too early: that costs one look, no system call now. Behind the
	 * callback that runs, it is armed anyway. */
	if (!r && worker.heap[0] == t && !worker.running)
		arm_timerfd();
out:
	os_mutex_unlock(&worker.lock);
	errno = saved;
	return r;
}

void os_timer_cancel(struct os_timer *t)
{
	os_mutex_lock(&worker.lock);
	if (t->deadline)
		heap_remove(t);
	os_mutex_unlock(&worker.lock);
}

void os_timer_destroy(struct os_timer *t)
{
	os_mutex_lock(&worker.lock);
	for (;;) {
		if (t->deadline)
			heap_remove(t);
		if (worker.running != t || on_worker())
			break;
		wait_done();	/* it may have armed itself again: look once more */
	}
	os_mutex_unlock(&worker.lock);
}

/* ---- watches ---- */

int user_worker_add(int fd, void (*fn)(void *), void *arg, u64 *watch)
{
	struct epoll_event ev = { .events = EPOLLIN };
	u32 i;
	int r;

	user_fork_init();
	os_mutex_lock(&worker.lock);
	r = start_worker();
	if (r)
		goto out;
	for (i = 0; i < worker.nr_watches && worker.watches[i].used; i++)
		;
	if (i == worker.nr_watches) {
		u32 n = i ? 2 * i : 16;
		struct watch *w = realloc(worker.watches, n * sizeof(*w));

		if (!w) {
			r = -ENOMEM;
			goto out;
		}
		for (u32 j = i; j < n; j++)
			w[j] = (struct watch){ 0 };
		worker.watches = w;
		worker.nr_watches = n;
	}
	*watch = i | (u64)worker.watches[i].generation << 32;
	ev.data.u64 = *watch;
	worker.watches[i].fn = fn;
	worker.watches[i].arg = arg;
	worker.watches[i].used = true;
	if (epoll_ctl(worker.epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
		r = -errno;
		worker.watches[i].used = false;
	}
out:
	os_mutex_unlock(&worker.lock);
	return r;
}

void user_worker_remove(int fd, u64 watch)
{
	u32 i = (u32)watch, generation = watch >> 32;

	os_mutex_lock(&worker.lock);
	if (i < worker.nr_watches && worker.watches[i].used &&
	    worker.watches[i].generation == generation) {
		epoll_ctl(worker.epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		worker.watches[i].used = false;
		worker.watches[i].generation = (generation + 1) & 0x7fffffff;	/* never TIMER_WATCH */
	}
	while (worker.running_watch == watch && !on_worker())
		wait_done();
	os_mutex_unlock(&worker.lock);
}

void user_worker_each_signal(int fd, u64 watch)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = watch };

	epoll_ctl(worker.epoll_fd, EPOLL_CTL_MOD, fd, &ev);
}

void user_worker_wait(u64 watch)
{
	os_mutex_lock(&worker.lock);
	while (worker.running_watch == watch && !on_worker())
		wait_done();
	os_mutex_unlock(&worker.lock);
}

/* What the kernel shows of an epoll set has a line for each file in it. */
bool user_worker_still_there(u64 watch)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", worker.epoll_fd);
	f = fopen(path, "re");
	if (!f)
		return true;
	while (!found && fgets(line, sizeof(line), f)) {
		char *data = strstr(line, "data:");

		found = data && strtoull(data + strlen("data:"), NULL, 16) == watch;
	}
	fclose(f);
	return found;
}

/* ---- fork ---- */

void user_worker_before_fork(void)
{
	os_mutex_lock(&worker.lock);
}

void user_worker_after_fork(bool child)
{
	if (child && worker.started) {
		close(worker.epoll_fd);
		close(worker.timer_fd);
		for (u32 i = 0; i < worker.nr_timers; i++)
			worker.heap[i]->deadline = 0;
		for (u32 i = 0; i < worker.nr_watches; i++)
			worker.watches[i].used = false;
		worker.nr_timers = 0;
		worker.started = false;
		worker.running = NULL;
		worker.running_watch = NO_WATCH;
		worker.waiters = 0;
	}
	os_mutex_unlock(&worker.lock);
}
