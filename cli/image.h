/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm image: what its two halves share. image.c has what concerns an image's tables (create,
 * info, check, resize, snapshot), image_data.c and image_convert.c what goes through its contents.
 */
#ifndef CLI_IMAGE_H
#define CLI_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/block/image.h"
#include "vmm/block/qcow2.h"

/* What the options of all subcommands together say; each takes only its own. */
struct image_args {
	const char *format;		/* -f */
	const char *output_format;	/* -O */
	const char *options;		/* -o */
	const char *backing;		/* -b, -B */
	const char *backing_format;	/* -F */
	const char *snapshot;		/* -l of convert; -c, -a, -d NAME of snapshot */
	char action;			/* snapshot: l, c, a or d */
	enum qcow2_repair repair;	/* -r */
	unsigned int threads;		/* -m; 0: as many as is good */
	bool compress, any_order;	/* -c, -W of convert */
	bool json, chain, quiet, progress, unsafe, shrink, strict, keep, existing, no_lock;
	char **files;
	int file_count;
};

/* Prints the line of an error. Returns CLI_FAILED. */
int image_failed(const struct vmm_error *error);

/* A size as qemu-img takes it: bytes, or with a unit, b to E. Returns 0 or -EINVAL. */
int image_parse_size(const char *text, uint64_t *size);

/* Makes an image as -f, -o, -b and -F say. Returns an exit status, having complained. */
int image_make(const char *path, const char *format, const char *options, const char *backing,
	       const char *backing_format, uint64_t size);

/* Opens an image to read, with -U. Returns an exit status, having complained. */
int image_open_source(const struct image_args *args, const char *path, const char *format,
		      struct image **image);

struct progress {
	uint64_t total;
	double start, shown;
	bool always, quiet, any;
};

/* Nothing is shown before some time, nor where nobody looks, unless -p says so. */
void progress_start(struct progress *p, const struct image_args *args, uint64_t total);
void progress_show(struct progress *p, uint64_t done);
void progress_end(const struct progress *p);

void image_print_json_string(const char *text);

int image_convert(const struct image_args *args);
int image_compare(const struct image_args *args);
int image_show_map(const struct image_args *args);
int image_commit(const struct image_args *args);
int image_rebase(const struct image_args *args);

#endif
