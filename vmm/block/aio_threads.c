/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asynchronous file I/O with threads that call the blocking system calls.
 *
 * The fallback where io_uring is missing or forbidden. Threads are made when there is more work
 * than idle threads, up to a small number, since more of them gain nothing on one file.
 */
#include "vmm/block/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_THREADS 8

struct threads {
	int event_fd;
	pthread_mutex_t lock;	/* protects all that follows */
	pthread_cond_t wake;	/* work was queued, or stop was set */
	struct aio_request *work, **work_tail;
	struct aio_request *finished;	/* newest first */
	unsigned int queued;	/* length of work */
	unsigned int idle;	/* threads waiting for work */
	unsigned int count;
	bool stop;
	pthread_t thread[MAX_THREADS];
};

static ssize_t perform(const struct aio_request *req)
{
	ssize_t ret;

	do {
		switch (req->op) {
		case AIO_READ:
			ret = preadv(req->fd, req->iov, (int)req->iovcnt, (off_t)req->offset);
			break;
		case AIO_WRITE:
			ret = pwritev(req->fd, req->iov, (int)req->iovcnt, (off_t)req->offset);
			break;
		case AIO_SYNC:
			ret = fdatasync(req->fd);
			break;
		case AIO_FALLOCATE:
			ret = fallocate(req->fd, req->mode, (off_t)req->offset, (off_t)req->length);
			break;
		default:
			return -EINVAL;
		}
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
}

static void *worker(void *arg)
{
	struct threads *t = arg;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct aio_request *req;
		uint64_t one = 1;

		while (!t->work && !t->stop) {
			t->idle++;
			pthread_cond_wait(&t->wake, &t->lock);
			t->idle--;
		}
		if (!t->work)
			break;
		req = t->work;
		t->work = req->next;
		if (!t->work)
			t->work_tail = &t->work;
		t->queued--;
		pthread_mutex_unlock(&t->lock);

		req->res = perform(req);

		pthread_mutex_lock(&t->lock);
		req->next = t->finished;
		t->finished = req;
		/* Refuses only when full, and then it is readable anyway. */
		if (!req->next && write(t->event_fd, &one, sizeof(one)) < 0)
			continue;
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* Called with the lock held. Signals stay with the threads that expect them. */
static int add_thread(struct threads *t)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&t->thread[t->count], NULL, worker, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ret)
		t->count++;
	return -ret;
}

static int threads_create(struct aio *aio)
{
	struct threads *t;
	int ret;

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->event_fd = aio->event_fd;
	t->work_tail = &t->work;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);

	/* One from the start, so that later work can always be done, if slowly. */
	pthread_mutex_lock(&t->lock);
	ret = add_thread(t);
	pthread_mutex_unlock(&t->lock);
	if (ret) {
		pthread_cond_destroy(&t->wake);
		pthread_mutex_destroy(&t->lock);
		free(t);
		return ret;
	}
	aio->priv = t;
	return 0;
}

static void threads_destroy(struct aio *aio)
{
	struct threads *t = aio->priv;

	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	for (unsigned int i = 0; i < t->count; i++)
		pthread_join(t->thread[i], NULL);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static bool threads_submit(struct aio *aio, struct aio_request *req)
{
	struct threads *t = aio->priv;

	pthread_mutex_lock(&t->lock);
	req->next = NULL;
	*t->work_tail = req;
	t->work_tail = &req->next;
	t->queued++;
	if (t->queued > t->idle && t->count < MAX_THREADS)
		add_thread(t);	/* failing to add one only makes it slower */
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	return true;
}

static void threads_flush(struct aio *aio)
{
}

static void threads_reap(struct aio *aio)
{
	struct threads *t = aio->priv;
	struct aio_request *req, *oldest_first = NULL;

	pthread_mutex_lock(&t->lock);
	req = t->finished;
	t->finished = NULL;
	pthread_mutex_unlock(&t->lock);

	while (req) {
		struct aio_request *next = req->next;

		req->next = oldest_first;
		oldest_first = req;
		req = next;
	}
	while (oldest_first) {
		req = oldest_first;
		oldest_first = req->next;
		aio_finish(aio, req, req->res);
	}
}

const struct aio_engine aio_engine_threads = {
	.name = "threads",
	.create = threads_create,
	.destroy = threads_destroy,
	.submit = threads_submit,
	.flush = threads_flush,
	.reap = threads_reap,
};
