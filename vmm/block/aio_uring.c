/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asynchronous file I/O through io_uring: one system call starts a batch, none is needed to learn
 * that it finished beyond reading the eventfd the ring is bound to.
 *
 * Kernels that lack an operation we need (fallocate came last, in 5.6) or a policy that forbids the
 * ring make create() fail, and the threads take over.
 */
#include "vmm/block/aio.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#define RING_ENTRIES 256

struct uring {
	struct io_uring ring;
	unsigned int queued;	/* prepared, not yet handed to the kernel */
	unsigned int in_ring;	/* prepared or handed over, not yet reaped */
};

static int uring_create(struct aio *aio)
{
	struct io_uring_probe *probe;
	struct uring *u;
	bool usable;
	int ret;

	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	ret = io_uring_queue_init(RING_ENTRIES, &u->ring, 0);
	if (ret)
		goto out_free;

	probe = io_uring_get_probe_ring(&u->ring);
	usable = probe && io_uring_opcode_supported(probe, IORING_OP_READV) &&
		 io_uring_opcode_supported(probe, IORING_OP_WRITEV) &&
		 io_uring_opcode_supported(probe, IORING_OP_FSYNC) &&
		 io_uring_opcode_supported(probe, IORING_OP_FALLOCATE);
	io_uring_free_probe(probe);
	ret = -EOPNOTSUPP;
	if (!usable)
		goto out_exit;

	ret = io_uring_register_eventfd(&u->ring, aio->event_fd);
	if (ret)
		goto out_exit;
	aio->priv = u;
	return 0;

out_exit:
	io_uring_queue_exit(&u->ring);
out_free:
	free(u);
	return ret;
}

static void uring_destroy(struct aio *aio)
{
	struct uring *u = aio->priv;

	io_uring_queue_exit(&u->ring);
	free(u);
}

static void uring_flush(struct aio *aio)
{
	struct uring *u = aio->priv;

	/*
	 * Whatever the kernel does not take now (it may be short of memory) stays in the ring and
	 * goes with the next flush; every poll ends in one. When the kernel has nothing of ours
	 * that could cause a poll, we cause it.
	 */
	while (u->queued) {
		int ret = io_uring_submit(&u->ring);

		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			break;
		u->queued -= (unsigned int)ret < u->queued ? (unsigned int)ret : u->queued;
	}
	if (u->queued && u->queued == u->in_ring)
		aio_wake(aio);
}

static bool uring_submit(struct aio *aio, struct aio_request *req)
{
	struct uring *u = aio->priv;
	struct io_uring_sqe *sqe;

	/* Never more than the completion ring holds, so that it cannot overflow. */
	if (u->in_ring == RING_ENTRIES)
		return false;
	sqe = io_uring_get_sqe(&u->ring);
	if (!sqe) {
		uring_flush(aio);
		sqe = io_uring_get_sqe(&u->ring);
		if (!sqe)
			return false;
	}

	switch (req->op) {
	case AIO_READ:
		io_uring_prep_readv(sqe, req->fd, req->iov, req->iovcnt, req->offset);
		break;
	case AIO_WRITE:
		io_uring_prep_writev(sqe, req->fd, req->iov, req->iovcnt, req->offset);
		break;
	case AIO_SYNC:
		io_uring_prep_fsync(sqe, req->fd, IORING_FSYNC_DATASYNC);
		break;
	case AIO_FALLOCATE:
		io_uring_prep_fallocate(sqe, req->fd, req->mode, (off_t)req->offset,
					(off_t)req->length);
		break;
	case AIO_NOP:
	case AIO_CALL:	/* never comes here */
		io_uring_prep_nop(sqe);
		break;
	}
	io_uring_sqe_set_data(sqe, req);
	u->queued++;
	u->in_ring++;
	return true;
}

static void uring_reap(struct aio *aio)
{
	struct uring *u = aio->priv;
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&u->ring, &cqe)) {
		struct aio_request *req = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		u->in_ring--;
		if (res == -EINTR || res == -EAGAIN) {
			/* Room was just made for it; submit() cannot refuse. */
			if (uring_submit(aio, req))
				continue;
		}
		aio_finish(aio, req, res);
	}
}

const struct aio_engine aio_engine_uring = {
	.name = "io_uring",
	.create = uring_create,
	.destroy = uring_destroy,
	.submit = uring_submit,
	.flush = uring_flush,
	.reap = uring_reap,
};
