/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of asynchronous file I/O that both engines share: the list of requests that wait because
 * the engine is full, the list of those that finished, and the descriptor that says so.
 *
 * Callbacks run only from aio_poll(), never from aio_submit(): a device may thus submit while it
 * walks its own structures, without being re-entered.
 */
#include "vmm/block/aio.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct aio_engine *const engines[] = {
#ifdef HAVE_LIBURING
	&aio_engine_uring,
#endif
	&aio_engine_threads,
};

int aio_create(const struct aio_engine *engine, struct aio **out)
{
	struct aio *aio;
	int ret;

	aio = calloc(1, sizeof(*aio));
	if (!aio)
		return -ENOMEM;
	aio->waiting_tail = &aio->waiting;
	aio->finished_tail = &aio->finished;
	aio->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (aio->event_fd < 0) {
		ret = -errno;
		goto out_free;
	}

	ret = -ENOSYS;
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (engine && engine != engines[i])
			continue;
		aio->engine = engines[i];
		ret = aio->engine->create(aio);
		if (!ret)
			break;
	}
	if (ret)
		goto out_close;
	*out = aio;
	return 0;

out_close:
	close(aio->event_fd);
out_free:
	free(aio);
	return ret;
}

void aio_destroy(struct aio *aio)
{
	aio_drain(aio);
	aio_call_destroy(aio);
	aio->engine->destroy(aio);
	close(aio->event_fd);
	free(aio);
}

void aio_wake(struct aio *aio)
{
	uint64_t one = 1;

	if (aio->signalled)
		return;
	aio->signalled = true;
	/* Cannot fail: a non-blocking eventfd refuses only when it is full, hence readable. */
	if (write(aio->event_fd, &one, sizeof(one)) < 0)
		return;
}

void aio_finish(struct aio *aio, struct aio_request *req, ssize_t res)
{
	req->res = res;
	req->next = NULL;
	*aio->finished_tail = req;
	aio->finished_tail = &req->next;
}

static void start_waiting(struct aio *aio)
{
	while (aio->waiting) {
		struct aio_request *req = aio->waiting;
		struct aio_request *next = req->next;

		if (!aio->engine->submit(aio, req))
			break;
		aio->waiting = next;
		if (!next)
			aio->waiting_tail = &aio->waiting;
	}
}

void aio_submit(struct aio *aio, struct aio_request *req)
{
	aio->in_flight++;
	if (req->op == AIO_NOP) {
		aio_finish(aio, req, 0);
		aio_wake(aio);
		return;
	}
	if (req->op == AIO_CALL) {
		aio_call_submit(aio, req);
		return;
	}
	/* First come, first served: nothing overtakes what already waits. */
	if (!aio->waiting && aio->engine->submit(aio, req))
		return;
	req->next = NULL;
	*aio->waiting_tail = req;
	aio->waiting_tail = &req->next;
}

void aio_flush(struct aio *aio)
{
	aio->engine->flush(aio);
}

void aio_poll(struct aio *aio)
{
	struct aio_request *req;
	uint64_t count;

	/* Cleared first: what finishes from here on makes it readable again. */
	if (read(aio->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	aio->signalled = false;

	aio->engine->reap(aio);
	aio_call_reap(aio);

	/*
	 * Only what is on the list now: a callback may submit an AIO_NOP, whose callback may do so
	 * again, and a poll must end.
	 */
	req = aio->finished;
	aio->finished = NULL;
	aio->finished_tail = &aio->finished;
	while (req) {
		struct aio_request *next = req->next;

		aio->in_flight--;
		req->done(req, req->res);
		req = next;
	}

	start_waiting(aio);
	aio->engine->flush(aio);
}

void aio_drain(struct aio *aio)
{
	while (aio->in_flight) {
		struct pollfd pfd = { .fd = aio->event_fd, .events = POLLIN };

		aio->engine->flush(aio);
		poll(&pfd, 1, -1);
		aio_poll(aio);
	}
}
