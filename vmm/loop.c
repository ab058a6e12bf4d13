/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The loop thread; see loop.h.
 *
 * One mutex protects the lists and the "running" pointer. Callbacks run without it. An epoll event
 * may be about a watch that was deleted after epoll_wait returned, so the event carries a number
 * instead of a pointer and is looked up again under the mutex; the lists are a few dozen long.
 */
#include "vmm/loop.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LOOP_EVENTS 16

struct loop {
	int epoll_fd;
	int wake_fd;			/* an eventfd: look at timers and calls again */
	pthread_t thread;
	bool started;

	/* Protects everything below, and the loop's own members of watches, timers and calls. */
	pthread_mutex_t lock;
	pthread_cond_t idle;		/* running became NULL */
	struct loop_fd *watches;
	uint64_t next_id;		/* for watches; 0 is wake_fd's */
	struct loop_timer *timers;	/* by deadline */
	struct loop_call *calls;	/* in the order they were asked for */
	struct loop_call **calls_tail;
	const void *running;		/* the watch, timer or call whose callback is running */
	bool stopping;
};

uint64_t loop_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

struct loop *loop_create(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	struct epoll_event event = { .events = EPOLLIN };

	if (!loop)
		return NULL;
	loop->calls_tail = &loop->calls;
	loop->next_id = 1;
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->idle, NULL);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
	    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event)) {
		loop_destroy(loop);
		return NULL;
	}
	return loop;
}

void loop_destroy(struct loop *loop)
{
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_cond_destroy(&loop->idle);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

bool loop_is_current(const struct loop *loop)
{
	return loop->started && pthread_equal(loop->thread, pthread_self());
}

static void wake(struct loop *loop)
{
	eventfd_write(loop->wake_fd, 1);
}

/* Waits until no callback of object's is running. With the lock held. */
static void wait_not_running(struct loop *loop, const void *object)
{
	if (loop_is_current(loop))
		return;
	while (loop->running == object)
		pthread_cond_wait(&loop->idle, &loop->lock);
}

/* Called with the lock held before, and again to get it back after, a callback. */
static void begin_callback(struct loop *loop, const void *object)
{
	loop->running = object;
	pthread_mutex_unlock(&loop->lock);
}

static void end_callback(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->running = NULL;
	pthread_cond_broadcast(&loop->idle);
}

/* ------------------------------------------------------------------ descriptors */

int loop_fd_add(struct loop *loop, struct loop_fd *watch)
{
	struct epoll_event event = { .events = watch->events };
	int err = 0;

	pthread_mutex_lock(&loop->lock);
	watch->id = loop->next_id++;
	event.data.u64 = watch->id;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event)) {
		err = -errno;
	} else {
		watch->loop = loop;
		watch->next = loop->watches;
		watch->link = &loop->watches;
		if (watch->next)
			watch->next->link = &watch->next;
		loop->watches = watch;
	}
	pthread_mutex_unlock(&loop->lock);
	return err;
}

int loop_fd_set_events(struct loop_fd *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.u64 = watch->id };
	struct loop *loop = watch->loop;
	int err = 0;

	if (!loop)
		return -ENOENT;
	pthread_mutex_lock(&loop->lock);
	watch->events = events;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event))
		err = -errno;
	pthread_mutex_unlock(&loop->lock);
	return err;
}

void loop_fd_del(struct loop_fd *watch)
{
	struct loop *loop = watch->loop;

	if (!loop)
		return;
	pthread_mutex_lock(&loop->lock);
	if (watch->link) {
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
		*watch->link = watch->next;
		if (watch->next)
			watch->next->link = watch->link;
		watch->link = NULL;
	}
	wait_not_running(loop, watch);
	watch->loop = NULL;
	pthread_mutex_unlock(&loop->lock);
}

static void dispatch_fd(struct loop *loop, uint64_t id, uint32_t events)
{
	struct loop_fd *watch = loop->watches;

	while (watch && watch->id != id)
		watch = watch->next;
	if (!watch)
		return;
	begin_callback(loop, watch);
	watch->callback(watch, events);
	end_callback(loop);
}

/* ------------------------------------------------------------------ timers */

static void unlink_timer(struct loop_timer *timer)
{
	if (!timer->link)
		return;
	*timer->link = timer->next;
	if (timer->next)
		timer->next->link = timer->link;
	timer->link = NULL;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline)
{
	struct loop_timer **at;

	pthread_mutex_lock(&loop->lock);
	unlink_timer(timer);
	timer->loop = loop;
	timer->deadline = deadline;
	for (at = &loop->timers; *at && (*at)->deadline <= deadline; at = &(*at)->next)
		;
	timer->next = *at;
	timer->link = at;
	*at = timer;
	if (timer->next)
		timer->next->link = &timer->next;
	if (loop->timers == timer && !loop_is_current(loop))
		wake(loop);
	pthread_mutex_unlock(&loop->lock);
}

void loop_timer_cancel(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;

	if (!loop)
		return;
	pthread_mutex_lock(&loop->lock);
	unlink_timer(timer);
	wait_not_running(loop, timer);
	/* The callback that was waited for may have armed it again. */
	unlink_timer(timer);
	pthread_mutex_unlock(&loop->lock);
}

static void dispatch_timers(struct loop *loop)
{
	uint64_t now = loop_now();
	struct loop_timer *timer;
	unsigned int due = 0;

	/* Only those due so far: one that is armed again for a time already past waits for the
	 * next round, so that it cannot keep the descriptors from being served. */
	for (timer = loop->timers; timer && timer->deadline <= now; timer = timer->next)
		due++;
	while (due-- && (timer = loop->timers) && timer->deadline <= now) {
		unlink_timer(timer);
		begin_callback(loop, timer);
		timer->callback(timer);
		end_callback(loop);
	}
}

/* Milliseconds until the first timer, for epoll_wait; -1 if there is none. */
static int timeout_ms(struct loop *loop)
{
	uint64_t now, ms;

	if (loop->calls)
		return 0;
	if (!loop->timers)
		return -1;
	now = loop_now();
	if (loop->timers->deadline <= now)
		return 0;
	ms = (loop->timers->deadline - now + 999999) / 1000000;
	return ms > 60000 ? 60000 : (int)ms;
}

/* ------------------------------------------------------------------ calls */

void loop_defer(struct loop *loop, struct loop_call *call)
{
	pthread_mutex_lock(&loop->lock);
	if (!call->link) {
		call->loop = loop;
		call->next = NULL;
		call->link = loop->calls_tail;
		*loop->calls_tail = call;
		loop->calls_tail = &call->next;
		if (!loop_is_current(loop))
			wake(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

static void unlink_call(struct loop *loop, struct loop_call *call)
{
	if (!call->link)
		return;
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	else
		loop->calls_tail = call->link;
	call->link = NULL;
}

void loop_call_cancel(struct loop_call *call)
{
	struct loop *loop = call->loop;

	if (!loop)
		return;
	pthread_mutex_lock(&loop->lock);
	unlink_call(loop, call);
	wait_not_running(loop, call);
	unlink_call(loop, call);
	pthread_mutex_unlock(&loop->lock);
}

static void dispatch_calls(struct loop *loop)
{
	struct loop_call *call, *last = NULL;

	/* Only those asked for so far: a call that defers itself again waits for the next round. */
	for (call = loop->calls; call; call = call->next)
		last = call;
	while (last && (call = loop->calls)) {
		if (call == last)
			last = NULL;
		unlink_call(loop, call);
		begin_callback(loop, call);
		call->callback(call);
		end_callback(loop);
	}
}

struct run_request {
	struct loop_call call;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void run_request(struct loop_call *call)
{
	struct run_request *request = (struct run_request *)call;

	request->fn(request->arg);
	sem_post(&request->done);
}

void loop_run(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct run_request request = {
		.call = { .callback = run_request }, .fn = fn, .arg = arg,
	};

	if (loop_is_current(loop)) {
		fn(arg);
		return;
	}
	sem_init(&request.done, 0, 0);
	loop_defer(loop, &request.call);
	while (sem_wait(&request.done))
		;
	/* The loop thread may still be between sem_post and end_callback. */
	loop_call_cancel(&request.call);
	sem_destroy(&request.done);
}

/* ------------------------------------------------------------------ the thread */

/* Waits for something to do, timeout milliseconds at most, and does it. With the lock held. Returns
 * the number of descriptors that had something. */
static int loop_round(struct loop *loop, int timeout)
{
	struct epoll_event events[LOOP_EVENTS];
	int count, ready = 0;

	pthread_mutex_unlock(&loop->lock);
	count = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, timeout);
	pthread_mutex_lock(&loop->lock);
	for (int i = 0; i < count && !loop->stopping; i++) {
		eventfd_t ignored;

		if (events[i].data.u64) {
			dispatch_fd(loop, events[i].data.u64, events[i].events);
			ready++;
		} else {
			eventfd_read(loop->wake_fd, &ignored);
		}
	}
	dispatch_timers(loop);
	dispatch_calls(loop);
	return ready;
}

static void *loop_thread(void *arg)
{
	struct loop *loop = arg;

	pthread_mutex_lock(&loop->lock);
	while (!loop->stopping)
		loop_round(loop, timeout_ms(loop));
	pthread_mutex_unlock(&loop->lock);
	return NULL;
}

int loop_step(struct loop *loop, int timeout)
{
	int ready;

	pthread_mutex_lock(&loop->lock);
	loop->thread = pthread_self();
	loop->started = true;
	ready = loop_round(loop, loop->calls ? 0 : timeout);
	loop->started = false;
	pthread_mutex_unlock(&loop->lock);
	return ready;
}

int loop_start(struct loop *loop, const char *name)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	sigset_t all, before;
	int err;

	/* Signals are for the threads that expect them; a thread's own faults cannot be. */
	sigfillset(&all);
	for (unsigned int i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* Held until "started" is true, for loop_is_current on the new thread. */
	pthread_mutex_lock(&loop->lock);
	loop->stopping = false;
	err = pthread_create(&loop->thread, NULL, loop_thread, loop);
	loop->started = !err;
	if (!err)
		pthread_setname_np(loop->thread, name);
	pthread_mutex_unlock(&loop->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

void loop_stop(struct loop *loop)
{
	if (!loop->started)
		return;
	pthread_mutex_lock(&loop->lock);
	loop->stopping = true;
	wake(loop);
	pthread_mutex_unlock(&loop->lock);
	pthread_join(loop->thread, NULL);
	loop->started = false;
}
