/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What block.c puts together to open a disk: the formats, the filters and the locks.
 */
#ifndef VMM_BLOCK_FORMAT_H
#define VMM_BLOCK_FORMAT_H

#include "vmm/block/block.h"

/* What others may do to the file while we have it, and what we may do; see lock.c. */
enum image_lock {
	IMAGE_LOCK_READ,	/* we read; others may read */
	IMAGE_LOCK_WRITE,	/* we read and write; others may do neither */
};

/*
 * Claims an open file or block device. Returns 0; -EBUSY if another user forbids it or we would
 * forbid what it does. Closing the descriptor gives the claim up.
 */
int image_lock(int fd, enum image_lock how);

/* Opens a raw image. Returns 0, or -errno with a line in @error. The engine stays the caller's. */
int raw_open(struct aio *aio, const char *path, bool read_only, bool direct, struct block **out,
	     struct vmm_error *error);

/* Opens an image of any format, with what it is based on. As raw_open(). */
int image_disk_open(struct aio *aio, const char *path, const char *format, bool read_only,
		    bool direct, struct block **out, struct vmm_error *error);

/*
 * Makes an anonymous raw image of @size bytes that reads as zeroes and vanishes when closed.
 */
int raw_open_scratch(struct aio *aio, uint64_t size, struct block **out, struct vmm_error *error);

/*
 * Puts a writable layer over @base, which it then owns: what is written goes to a scratch image,
 * what was not is read from @base. On failure @base is still the caller's.
 */
int overlay_open(struct block *base, struct block **out, struct vmm_error *error);

#endif
