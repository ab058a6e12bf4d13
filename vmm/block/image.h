/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disk images, synchronously: a file in some format, with the images it is based on behind it.
 *
 * This is what the image tools work with, and what image_disk.c runs in a thread of its own to make
 * a disk of. A format says, for each part of the disk, where its contents are (map); reading
 * through the chain of images follows from that for all formats in one place. An image is used by one
 * thread at a time.
 */
#ifndef VMM_BLOCK_IMAGE_H
#define VMM_BLOCK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/error.h"

/* Images behind one another; a longer chain is a mistake or an attack. */
#define IMAGE_MAX_CHAIN	64

struct image;

enum image_flags {
	IMAGE_WRITE		= 1 << 0,	/* to be written */
	IMAGE_CHECK		= 1 << 1,	/* to be checked: open it though it is damaged */
	IMAGE_NO_BACKING	= 1 << 2,	/* without the images behind it */
	IMAGE_NO_LOCK		= 1 << 3,	/* also where another program uses it */
};

enum extent_type {
	EXTENT_ABSENT,		/* not in this image: ask the one behind it */
	EXTENT_ZERO,		/* zeroes, without a place */
	EXTENT_DATA,		/* at @host of @fd */
	EXTENT_COMPRESSED,	/* to be had from read_compressed() only */
};

struct image_extent {
	enum extent_type type;
	uint64_t length;	/* in bytes, from where was asked */
	uint64_t host;
	int fd;
	bool allocated;		/* EXTENT_ZERO: space is reserved, at @host */
};

struct image_ops {
	const char *format;
	/*
	 * What is at @offset, and for how long (1 to @length bytes). With @wait false it returns
	 * -EAGAIN rather than read from the file.
	 */
	int (*map)(struct image *image, uint64_t offset, uint64_t length, bool wait,
		   struct image_extent *extent);
	/*
	 * Where @length bytes at @offset can be overwritten without telling anyone, now and without
	 * reading from the file. Returns 0 or -EAGAIN.
	 */
	int (*map_write)(struct image *image, uint64_t offset, uint64_t length,
			 struct image_extent *extent);
	int (*read_compressed)(struct image *image, uint64_t offset, void *buf, uint64_t length);
	int (*write)(struct image *image, uint64_t offset, const void *buf, uint64_t length);
	/* Makes a range read as zeroes; @unmap: without keeping space for it. */
	int (*zero)(struct image *image, uint64_t offset, uint64_t length, bool unmap);
	int (*discard)(struct image *image, uint64_t offset, uint64_t length);
	int (*flush)(struct image *image);
	int (*resize)(struct image *image, uint64_t size, struct vmm_error *error);
	/* Writes what is only in memory, as far as possible, and frees the image. */
	int (*close)(struct image *image);
};

struct image {
	const struct image_ops *ops;
	char *path;
	int fd;
	int direct_fd;			/* of its data, past the host's page cache; or 0 */
	unsigned int flags;		/* enum image_flags */
	uint64_t size;			/* in bytes */
	uint32_t cluster;		/* bytes: what is allocated together */
	bool probed;			/* nobody said the format */
	char *backing_name;		/* as the image says; NULL: based on nothing */
	char *backing_format;		/* as the image says, or NULL */
	struct image *backing;		/* open, or NULL */
};

/* Knows a format by its name; returns NULL or "raw", "qcow2". */
const char *image_format(const char *name);

/*
 * Finds out the format of a file: "qcow2" if it begins like one, else "raw". Returns it, or NULL
 * with errno.
 */
const char *image_probe(const char *path);

/*
 * Opens an image with all that it is based on. @format NULL: finds out. Returns 0, or -errno with a
 * line in @error.
 */
int image_open(const char *path, const char *format, unsigned int flags, struct image **out,
	       struct vmm_error *error);

/* Returns 0, or -errno if something that was written could not be kept. */
int image_close(struct image *image);

/*
 * Reads through the chain; beyond the end of an image there are zeroes. As the others below returns
 * 0 or -errno.
 */
int image_read(struct image *image, uint64_t offset, void *buf, uint64_t length);
int image_write(struct image *image, uint64_t offset, const void *buf, uint64_t length);
int image_zero(struct image *image, uint64_t offset, uint64_t length, bool unmap);
int image_discard(struct image *image, uint64_t offset, uint64_t length);
int image_flush(struct image *image);
int image_resize(struct image *image, uint64_t size, struct vmm_error *error);

/*
 * What is at @offset, through the chain: never EXTENT_ABSENT. *@depth is the number of images in
 * front of the one it is in; *@present false if it is in none.
 */
int image_map(struct image *image, uint64_t offset, uint64_t length, struct image_extent *extent,
	      unsigned int *depth, bool *present);

/* The file name of @name as @path, an image, means it. malloc()ed, or NULL. */
char *image_relative_path(const char *path, const char *name);

/* pread and pwrite of everything. Past the end a file reads as zeroes. Return 0 or -errno. */
int image_pread(int fd, void *buf, uint64_t length, uint64_t offset);
int image_pwrite(int fd, const void *buf, uint64_t length, uint64_t offset);
/* Sets a range of a file to zero, with a hole if @unmap. The file grows as needed. */
int image_pzero(int fd, uint64_t offset, uint64_t length, bool unmap);

bool buffer_is_zero(const void *buf, size_t length);

#endif
