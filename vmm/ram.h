/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: one memfd, mapped once.
 *
 * The part up to RAM_HOLE_START is at guest address 0; what does not fit there continues at 4 GiB,
 * so that PCI and the interrupt chips have their place below. In the memfd and in our mapping the
 * two parts follow each other without a gap. A memfd always: snapshots and processes that serve
 * devices need to share it.
 */
#ifndef VMM_RAM_H
#define VMM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/error.h"

#define RAM_HOLE_START	0xc0000000ULL	/* 3 GiB */
#define RAM_HOLE_END	0x100000000ULL	/* 4 GiB */

/* A part of guest memory. */
struct ram_range {
	uint64_t gpa, length;
};

struct ram {
	int fd;			/* the memfd */
	uint8_t *host;		/* our mapping of all of it */
	uint64_t size;		/* bytes altogether, a multiple of 4 KiB */
	uint64_t low_size;	/* of them at guest address 0 */
	uint64_t high_size;	/* of them at guest address RAM_HOLE_END */
	/* Has to be told what devices have written, if it is not NULL: ram_written(). */
	void (*written)(const struct ram *ram, const struct ram_range *ranges, unsigned int count);
};

/* Allocates size bytes. Returns 0 or -errno with a line in error. */
int ram_create(struct ram *ram, uint64_t size, struct vmm_error *error);
void ram_destroy(struct ram *ram);

/*
 * The host address of [gpa, gpa + length), or NULL unless every byte is memory and in one part.
 * A length of 0 needs gpa to be memory too. The guest may change the bytes at any moment: read a
 * value once, check the copy, use the copy.
 */
void *ram_ptr(const struct ram *ram, uint64_t gpa, uint64_t length);

/*
 * To be called when a device has written to guest memory, or the host's kernel for it, before the guest
 * can learn of it: virtqueue_push() does. What is written while no vCPU runs, or in answer to one's
 * exit, needs not be told.
 */
static inline void ram_written(const struct ram *ram, const struct ram_range *ranges,
			       unsigned int count)
{
	if (ram->written && count)
		ram->written(ram, ranges, count);
}

/* Copies out of or into guest memory. Return 0, or -EFAULT and nothing copied. */
int ram_read(const struct ram *ram, uint64_t gpa, void *to, uint64_t length);
int ram_write(const struct ram *ram, uint64_t gpa, const void *from, uint64_t length);

/* The offset of gpa in the memfd; -1 where it is not memory. */
int64_t ram_offset(const struct ram *ram, uint64_t gpa);

#endif
