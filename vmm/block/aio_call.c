/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Work that takes its time and is no single system call: a thread that does one call after the
 * other. Image formats change their tables in it, so that these need no finer locks.
 */
#include "vmm/block/aio.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct aio_caller {
	int event_fd;
	pthread_t thread;
	pthread_mutex_t lock;	/* protects all that follows */
	pthread_cond_t wake;	/* work was queued, or stop was set */
	struct aio_request *work, **work_tail;
	struct aio_request *finished, **finished_tail;
	bool stop;
};

static void *call_thread(void *arg)
{
	struct aio_caller *c = arg;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		struct aio_request *req;
		uint64_t one = 1;
		bool first;

		while (!c->work && !c->stop)
			pthread_cond_wait(&c->wake, &c->lock);
		req = c->work;
		if (!req)
			break;
		c->work = req->next;
		if (!c->work)
			c->work_tail = &c->work;
		pthread_mutex_unlock(&c->lock);

		req->res = req->call(req);

		pthread_mutex_lock(&c->lock);
		first = !c->finished;
		req->next = NULL;
		*c->finished_tail = req;
		c->finished_tail = &req->next;
		/* Refuses only when full, and then it is readable anyway. */
		if (first && write(c->event_fd, &one, sizeof(one)) < 0)
			continue;
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static int start_caller(struct aio *aio)
{
	struct aio_caller *c = calloc(1, sizeof(*c));
	sigset_t all, old;
	int ret;

	if (!c)
		return -ENOMEM;
	c->event_fd = aio->event_fd;
	c->work_tail = &c->work;
	c->finished_tail = &c->finished;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->wake, NULL);
	/* Signals stay with the threads that expect them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&c->thread, NULL, call_thread, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		pthread_cond_destroy(&c->wake);
		pthread_mutex_destroy(&c->lock);
		free(c);
		return -ret;
	}
	aio->caller = c;
	return 0;
}

void aio_call_submit(struct aio *aio, struct aio_request *req)
{
	struct aio_caller *c;
	int ret = aio->caller ? 0 : start_caller(aio);

	if (ret) {
		aio_finish(aio, req, ret);
		aio_wake(aio);
		return;
	}
	c = aio->caller;
	req->next = NULL;
	pthread_mutex_lock(&c->lock);
	*c->work_tail = req;
	c->work_tail = &req->next;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void aio_call_reap(struct aio *aio)
{
	struct aio_caller *c = aio->caller;
	struct aio_request *req;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	req = c->finished;
	c->finished = NULL;
	c->finished_tail = &c->finished;
	pthread_mutex_unlock(&c->lock);
	while (req) {
		struct aio_request *next = req->next;

		aio_finish(aio, req, req->res);
		req = next;
	}
}

void aio_call_destroy(struct aio *aio)
{
	struct aio_caller *c = aio->caller;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
	aio->caller = NULL;
}
