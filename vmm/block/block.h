/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disks, as devices see them: a size, a few properties, and requests that finish later.
 *
 * A device (virtio-blk) hands over a request and goes on; done() is called from block_poll(), in
 * the one thread that owns the disk, never from inside block_submit(). Formats and filters (raw.c,
 * overlay.c) are structs of functions behind this; host I/O is aio.h's.
 *
 * What a device must still check itself: nothing. block_submit() refuses what lies outside the disk
 * or writes to a read-only one, through done() like any other error.
 */
#ifndef VMM_BLOCK_BLOCK_H
#define VMM_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/block/aio.h"
#include "vmm/error.h"
#include "vmm/vmm.h"

#define BLOCK_SECTOR_SHIFT	9
#define BLOCK_SECTOR_SIZE	512u

struct block;

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,		/* everything written and finished before is on stable storage */
	BLOCK_DISCARD,		/* the contents no longer matter; a hint */
	BLOCK_WRITE_ZEROES,	/* reads as zeroes afterwards */
};

struct block_request {
	enum block_op op;
	bool may_unmap;		/* BLOCK_WRITE_ZEROES: the space may be given back */
	unsigned int iovcnt;	/* at most IOV_MAX */
	/*
	 * BLOCK_READ, BLOCK_WRITE: the memory; the lengths add up to @length. Until done() the
	 * array belongs to the disk, which may change it.
	 */
	struct iovec *iov;
	uint64_t offset;	/* in bytes, a multiple of 512 */
	uint64_t length;	/* in bytes, a multiple of 512; BLOCK_FLUSH ignores both */
	void (*done)(struct block_request *req, int result);	/* 0 or -errno */

	/* The disk's own, while the request is in flight. */
	struct block *block;
	struct aio_request aio;
	uint64_t left;
	int result;
	void *priv;
};

struct block_ops {
	const char *format;
	void (*submit)(struct block *block, struct block_request *req);
	/*
	 * Makes the disk longer or shorter while nothing is in flight; block->size is the caller's
	 * to set. Returns 0, or -errno with the end of a sentence in @error.
	 */
	int (*resize)(struct block *block, uint64_t size, struct vmm_error *error);
	void (*close)(struct block *block);
};

struct block {
	const struct block_ops *ops;
	struct aio *aio;
	uint64_t size;			/* in bytes, a multiple of 512 */
	uint32_t physical_block_size;	/* in bytes: what is written without read-modify-write */
	uint32_t discard_block_size;	/* in bytes: what a discard gives back together */
	bool read_only;
	bool probed_raw;		/* raw because it did not look like anything else */
	unsigned int in_flight;		/* requests whose done() was not called */
};

/*
 * Opens a disk and locks it against other users. @engine is how to do the I/O, NULL for the best
 * there is. Returns 0, or -errno with a line in @error.
 */
int block_open(const struct disk_config *config, const struct aio_engine *engine,
	       struct block **out, struct vmm_error *error);

/* Waits for everything in flight, then closes. Written data is handed to the host, not flushed. */
void block_close(struct block *block);

/*
 * Makes a disk longer or shorter, once everything in flight has finished (done() is called from
 * here). What is new reads as zeroes. @size is a multiple of 512. Returns 0, or -errno with the end
 * of a sentence in @error: the disk is what it was.
 */
int block_resize(struct block *block, uint64_t size, struct vmm_error *error);

/* Starts a request; block_kick() must follow, once for many. */
void block_submit(struct block *block, struct block_request *req);
void block_kick(struct block *block);

/* A descriptor that becomes readable when block_poll() has something to do. */
int block_event_fd(const struct block *block);

/* Calls done() of what finished. Does not block. */
void block_poll(struct block *block);

/* Polls until nothing is in flight. */
void block_drain(struct block *block);

/* For formats: finishes a request that block_submit() passed down, from inside a poll. */
void block_finish(struct block_request *req, int result);

/* For formats: as block_finish(), from anywhere, at the next poll. */
void block_finish_later(struct block_request *req, int result);

/* For formats: the same file once more, past the host's page cache. Returns a descriptor or -errno. */
int block_open_direct(int fd);

/* Whether the host may be asked for that past its page cache. */
bool block_can_be_direct(const struct iovec *iov, unsigned int count, uint64_t offset);

/* Copies the part [@skip, @skip + @length) of a vector; returns the number of entries written. */
unsigned int iov_slice(struct iovec *dst, const struct iovec *src, unsigned int count,
		       uint64_t skip, uint64_t length);

/* Shortens a vector in place by its first @bytes. */
void iov_advance(struct iovec **iov, unsigned int *count, uint64_t bytes);

/* Sets @bytes at the start of a vector to zero. */
void iov_zero(const struct iovec *iov, unsigned int count, uint64_t bytes);

#endif
