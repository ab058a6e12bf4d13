/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm image: the subcommands that go through what is on a disk. */
#include "cli/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

#define CHUNK		(2u << 20)

int image_open_source(const struct image_args *args, const char *path, const char *format,
		       struct image **image)
{
	struct vmm_error error = { "" };

	if (image_open(path, format, args->no_lock ? IMAGE_NO_LOCK : 0, image, &error))
		return image_failed(&error);
	return CLI_OK;
}

/* ------------------------------------------------------------------ compare */

/* Where [@at, @end) of two images differs first; @end if nowhere. */
static int first_difference(struct image *a, struct image *b, uint64_t end, struct progress *p,
			    uint64_t *where)
{
	char *buf_a = malloc(CHUNK), *buf_b = malloc(CHUNK);
	uint64_t at = 0;
	int ret = buf_a && buf_b ? 0 : -ENOMEM;

	while (at < end && !ret) {
		struct image_extent ea, eb;
		unsigned int depth;
		uint64_t n;
		bool present;

		ret = image_map(a, at, end - at, &ea, &depth, &present);
		if (!ret)
			ret = image_map(b, at, end - at, &eb, &depth, &present);
		if (ret)
			break;
		n = ea.length < eb.length ? ea.length : eb.length;
		if (ea.type == EXTENT_ZERO && eb.type == EXTENT_ZERO) {
			at += n;
			continue;
		}
		n = n < CHUNK ? n : CHUNK;
		ret = image_read(a, at, buf_a, n);
		if (!ret)
			ret = image_read(b, at, buf_b, n);
		if (!ret && memcmp(buf_a, buf_b, n)) {
			for (n = 0; buf_a[n] == buf_b[n]; n++)
				;
			at += n / 512 * 512;
			break;
		}
		at += ret ? 0 : n;
		progress_show(p, at);
	}
	free(buf_a);
	free(buf_b);
	*where = at;
	return ret;
}

/* As qemu-img: status 0 for equal ones, 1 for different ones, more for failures. */
int image_compare(const struct image_args *args)
{
	struct image *a, *b, *longer;
	uint64_t size, where, total;
	struct progress p;
	int ret, status = CLI_OK;

	if (args->file_count != 2)
		return cli_fail(&command_image, CLI_USAGE, "compare: give two images");
	if (image_open_source(args, args->files[0], args->format, &a))
		return 2;
	if (image_open_source(args, args->files[1], args->backing_format, &b)) {
		image_close(a);
		return 2;
	}
	longer = a->size > b->size ? a : b;
	total = longer->size;
	size = a->size < b->size ? a->size : b->size;
	progress_start(&p, args, total);
	if (args->strict && a->size != b->size) {
		if (!args->quiet)
			printf("Strict mode: Image size mismatch!\n");
		status = 1;
		goto out;
	}
	/* What one has more must be zeroes: an image reads as zeroes behind its end. */
	ret = first_difference(a, b, total, &p, &where);
	progress_end(&p);
	if (ret) {
		status = cli_fail(&command_image, 2, "compare: reading: %s", strerror(-ret));
	} else if (where < total) {
		if (!args->quiet)
			printf("Content mismatch at offset %" PRIu64 "!\n", where);
		status = 1;
	} else if (!args->quiet) {
		if (size != total)
			printf("Warning: Image size mismatch!\n");
		printf("Images are identical.\n");
	}
out:
	image_close(a);
	image_close(b);
	return status;
}

/* ------------------------------------------------------------------ map */

struct map_entry {
	uint64_t start, length, host;
	unsigned int depth;
	bool present, zero, data, has_host;
};

static void print_entry(const struct map_entry *e, const char *file, bool json, bool first)
{
	if (!json) {
		if (e->data && !e->zero)
			printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", e->start,
			       e->length, e->host, file);
		return;
	}
	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, "
	       "\"present\": %s, \"zero\": %s, \"data\": %s", first ? "[" : ",\n", e->start,
	       e->length, e->depth, e->present ? "true" : "false", e->zero ? "true" : "false",
	       e->data ? "true" : "false");
	if (e->has_host)
		printf(", \"offset\": %" PRIu64, e->host);
	printf("}");
}

static const char *file_at(const struct image *image, unsigned int depth)
{
	while (depth-- && image->backing)
		image = image->backing;
	return image->path;
}

static bool continues(const struct map_entry *a, const struct map_entry *b)
{
	return a->depth == b->depth && a->present == b->present && a->zero == b->zero &&
	       a->data == b->data && a->has_host == b->has_host &&
	       (!a->has_host || a->host + a->length == b->host);
}

int image_show_map(const struct image_args *args)
{
	struct map_entry last = { 0 }, entry;
	struct image *image;
	bool first = true;
	uint64_t at = 0;
	int ret = 0, status;

	if (args->file_count != 1)
		return cli_fail(&command_image, CLI_USAGE, "map: give one image");
	status = image_open_source(args, args->files[0], args->format, &image);
	if (status)
		return status;
	if (!args->json)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	while (at < image->size) {
		struct image_extent e;

		entry = (struct map_entry){ .start = at };
		ret = image_map(image, at, image->size - at, &e, &entry.depth, &entry.present);
		if (ret)
			break;
		if (e.type == EXTENT_COMPRESSED && !args->json) {
			status = cli_fail(&command_image, CLI_FAILED,
					  "map: File contains compressed data: use --output=json");
			goto out;
		}
		entry.length = e.length;
		entry.data = e.type != EXTENT_ZERO;
		entry.zero = e.type == EXTENT_ZERO;
		entry.has_host = e.type == EXTENT_DATA || (entry.zero && e.allocated);
		entry.host = entry.has_host ? e.host : 0;
		if (!entry.present)
			entry.depth = 0;
		at += e.length;
		if (last.length && continues(&last, &entry)) {
			last.length += entry.length;
			continue;
		}
		if (last.length) {
			print_entry(&last, file_at(image, last.depth), args->json, first);
			first = false;
		}
		last = entry;
	}
	if (last.length)
		print_entry(&last, file_at(image, last.depth), args->json, first);
	if (args->json)
		printf("%s]\n", last.length ? "" : "[");
	if (ret)
		status = cli_fail(&command_image, CLI_FAILED, "map: reading %s: %s",
				  args->files[0], strerror(-ret));
out:
	image_close(image);
	return status;
}

/* ------------------------------------------------------------------ commit and rebase */

/* Copies what @top has itself to @base. */
static int commit_data(struct image *top, struct image *base, struct progress *p)
{
	char *buf = malloc(CHUNK);
	uint64_t at = 0;
	int ret = buf ? 0 : -ENOMEM;

	while (at < top->size && !ret) {
		struct image_extent e;

		ret = top->ops->map(top, at, top->size - at, true, &e);
		if (ret)
			break;
		if (e.type == EXTENT_ZERO) {
			ret = image_zero(base, at, e.length, true);
		} else if (e.type != EXTENT_ABSENT) {
			e.length = e.length < CHUNK ? e.length : CHUNK;
			ret = image_read(top, at, buf, e.length);
			if (!ret)
				ret = image_write(base, at, buf, e.length);
		}
		at += e.length;
		progress_show(p, at);
	}
	free(buf);
	return ret ? ret : image_flush(base);
}

int image_commit(const struct image_args *args)
{
	struct image *top, *base = NULL;
	struct vmm_error error = { "" };
	struct progress p;
	char *path = NULL;
	int ret, status = CLI_OK;

	if (args->file_count != 1)
		return cli_fail(&command_image, CLI_USAGE, "commit: give one image");
	/* Its backing file is opened by itself, to be written. */
	if (image_open(args->files[0], args->format, IMAGE_WRITE | IMAGE_NO_BACKING, &top, &error))
		return image_failed(&error);
	if (!top->backing_name) {
		status = cli_fail(&command_image, CLI_FAILED,
				  "commit: %s is not based on another image: there is nothing to "
				  "commit to", args->files[0]);
		goto out;
	}
	path = image_relative_path(top->path, top->backing_name);
	if (!path || image_open(path, top->backing_format, IMAGE_WRITE, &base, &error)) {
		status = path ? image_failed(&error) :
			 cli_fail(&command_image, CLI_FAILED, "commit: %s", strerror(ENOMEM));
		goto out;
	}
	if (base->size < top->size && image_resize(base, top->size, &error)) {
		status = image_failed(&error);
		goto out;
	}
	progress_start(&p, args, top->size);
	ret = commit_data(top, base, &p);
	progress_end(&p);
	/*
	 * Now that it is safe in the base, the copy in front of it can go. From an external data
	 * file nothing goes: it would leave zeroes.
	 */
	if (!ret && !args->keep && !to_qcow2(top)->external)
		ret = image_discard(top, 0, top->size);
	if (!ret)
		ret = image_flush(top);
	if (ret)
		status = cli_fail(&command_image, CLI_FAILED, "commit: %s to %s: %s",
				  args->files[0], path, strerror(-ret));
	else if (!args->quiet)
		printf("Image committed.\n");
out:
	if (base && image_close(base) && !status)
		status = cli_fail(&command_image, CLI_FAILED, "commit: writing %s failed", path);
	if (image_close(top) && !status)
		status = cli_fail(&command_image, CLI_FAILED, "commit: writing %s failed",
				  args->files[0]);
	free(path);
	return status;
}

/* Brings into @top what it gets from its backing file now, and would not from @base. */
static int rebase_data(struct image *top, struct image *base, struct progress *p)
{
	char *was = malloc(CHUNK), *is = calloc(1, CHUNK);
	uint64_t at = 0, step;
	int ret = was && is ? 0 : -ENOMEM;

	while (at < top->size && !ret) {
		struct image_extent e;

		ret = top->ops->map(top, at, top->size - at, true, &e);
		if (ret)
			break;
		if (e.type != EXTENT_ABSENT) {
			at += e.length;
			continue;
		}
		/* A cluster at a time: what is the same is not copied. */
		step = top->cluster - at % top->cluster;
		if (step > e.length)
			step = e.length;
		ret = image_read(top, at, was, step);
		if (!ret && base)
			ret = image_read(base, at, is, step);
		if (!ret && memcmp(was, is, step))
			ret = image_write(top, at, was, step);
		at += step;
		progress_show(p, at);
	}
	free(was);
	free(is);
	return ret ? ret : image_flush(top);
}

int image_rebase(const struct image_args *args)
{
	const char *name = args->backing && *args->backing ? args->backing : NULL;
	unsigned int flags = IMAGE_WRITE | (args->unsafe ? IMAGE_NO_BACKING : 0);
	struct image *top, *base = NULL;
	struct vmm_error error = { "" };
	struct progress p;
	char *path = NULL;
	int ret = 0, status = CLI_OK;

	if (args->file_count != 1 || !args->backing)
		return cli_fail(&command_image, CLI_USAGE,
				"rebase: give -b BACKING (\"\" for none) and one image");
	if (name && !args->backing_format)
		return cli_fail(&command_image, CLI_USAGE,
				"rebase: give the backing file's format with -F raw or -F qcow2");
	if (image_open(args->files[0], args->format, flags, &top, &error))
		return image_failed(&error);
	if (top->ops != &qcow2_image_ops) {
		status = cli_fail(&command_image, CLI_FAILED,
				  "rebase: a %s image cannot have a backing file: convert it to "
				  "qcow2 first",
				  top->ops->format);
		goto out;
	}
	if (!args->unsafe) {
		if (name) {
			path = image_relative_path(top->path, name);
			if (!path || image_open(path, args->backing_format, 0, &base, &error)) {
				status = image_failed(&error);
				goto out;
			}
		}
		progress_start(&p, args, top->size);
		ret = rebase_data(top, base, &p);
		progress_end(&p);
	}
	if (!ret)
		ret = qcow2_set_backing(to_qcow2(top), name, args->backing_format);
	if (ret)
		status = cli_fail(&command_image, CLI_FAILED, "rebase: %s: %s", args->files[0],
				  ret == -ENOSPC ? "no room for the name in the first cluster" :
				  strerror(-ret));
out:
	if (base)
		image_close(base);
	if (image_close(top) && !status)
		status = cli_fail(&command_image, CLI_FAILED, "rebase: writing %s failed",
				  args->files[0]);
	free(path);
	return status;
}
