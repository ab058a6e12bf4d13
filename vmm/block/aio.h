/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asynchronous I/O on host files: what the disk formats are built on.
 *
 * An engine has one descriptor that becomes readable when something finished; the thread that owns
 * the engine then calls aio_poll(), and every callback runs there. Two engines do the same work:
 * io_uring where the kernel lets us have it (containers often do not), else a few threads.
 *
 * An engine belongs to one thread: submit, poll and destroy are called from that thread only.
 */
#ifndef VMM_BLOCK_AIO_H
#define VMM_BLOCK_AIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct aio;

enum aio_op {
	AIO_NOP,		/* finishes with result 0 at the next poll */
	AIO_READ,
	AIO_WRITE,
	AIO_SYNC,		/* fdatasync */
	AIO_FALLOCATE,
	AIO_CALL,		/* call() in another thread, one after the other, in order */
};

struct aio_request {
	enum aio_op op;
	int fd;
	int mode;		/* AIO_FALLOCATE: fallocate(2)'s mode */
	unsigned int iovcnt;	/* at most IOV_MAX */
	struct iovec *iov;
	uint64_t offset;
	uint64_t length;	/* AIO_FALLOCATE only */
	ssize_t (*call)(struct aio_request *req);	/* AIO_CALL only */
	/* Called from aio_poll(); @res is what the system call returned: a count, or -errno. */
	void (*done)(struct aio_request *req, ssize_t res);

	/* The engine's own. */
	struct aio_request *next;
	ssize_t res;
};

/* What an engine supplies; see aio_uring.c and aio_threads.c. */
struct aio_engine {
	const char *name;
	int (*create)(struct aio *aio);
	void (*destroy)(struct aio *aio);
	/* Takes the request, or returns false when it is full: then it comes again after a poll. */
	bool (*submit)(struct aio *aio, struct aio_request *req);
	/* Hands what was submitted to the kernel, if submit() only queued it. */
	void (*flush)(struct aio *aio);
	/* Moves what finished to aio_finish(). */
	void (*reap)(struct aio *aio);
};

struct aio_caller;

struct aio {
	const struct aio_engine *engine;
	void *priv;			/* the engine's */
	int event_fd;			/* an eventfd: readable when aio_poll() has work */
	unsigned int in_flight;		/* requests whose done() has not been called */
	struct aio_caller *caller;	/* the thread of AIO_CALL, once there was one */
	bool signalled;			/* event_fd was written for requests on the finished list */
	struct aio_request *waiting, **waiting_tail;	/* the engine was full */
	struct aio_request *finished, **finished_tail;	/* done() not called yet */
};

extern const struct aio_engine aio_engine_uring;
extern const struct aio_engine aio_engine_threads;

/*
 * Makes an engine: @engine, or with NULL the best one this machine allows. Returns 0 or -errno.
 */
int aio_create(const struct aio_engine *engine, struct aio **out);

/* Waits for every request to finish, then frees the engine. */
void aio_destroy(struct aio *aio);

/* Starts a request. Never calls done() itself. aio_flush() must follow, once for many submits. */
void aio_submit(struct aio *aio, struct aio_request *req);
void aio_flush(struct aio *aio);

/* Calls done() of every request that finished. Does not block. */
void aio_poll(struct aio *aio);

/* Polls until nothing is in flight. Callbacks may submit more, which is waited for as well. */
void aio_drain(struct aio *aio);

/* For engines: @req finished with @res; done() follows from the poll that is running. */
void aio_finish(struct aio *aio, struct aio_request *req, ssize_t res);

/* aio_call.c: the thread for AIO_CALL, the same with every engine. */
void aio_call_submit(struct aio *aio, struct aio_request *req);
void aio_call_reap(struct aio *aio);
void aio_call_destroy(struct aio *aio);

/* For engines: makes event_fd readable, so that a poll follows soon. */
void aio_wake(struct aio *aio);

#endif
