/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm image: disk images, made, looked at and changed. Subcommands, options, exit statuses and
 * JSON are qemu-img's, so that its users and their scripts find what they know.
 */
#include "cli/image.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "vmm/util.h"

/* qemu-img check's statuses beside CLI_OK and CLI_FAILED. */
#define CHECK_CORRUPT		2
#define CHECK_LEAKS		3
#define CHECK_UNSUPPORTED	63

int image_failed(const struct vmm_error *error)
{
	return cli_fail(&command_image, CLI_FAILED, "%s", error->text);
}

int image_parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "bkmgtpe";
	const char *unit;
	double value;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	if (!text[strspn(text, "0123456789")]) {
		*size = strtoull(text, NULL, 10);
		return errno || *size > INT64_MAX ? -EINVAL : 0;
	}
	value = strtod(text, &end);
	if (errno || !*end || end[1])
		return -EINVAL;
	unit = strchr(units, *end | 0x20);
	if (!unit)
		return -EINVAL;
	value *= (double)(1ull << (10 * (unit - units)));
	if (!(value < 0x1p63))
		return -EINVAL;
	*size = (uint64_t)value;
	return 0;
}

void image_print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

/* As people read it: 1.5 GiB. */
static void print_size(uint64_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)size;
	unsigned int i = 0;

	for (; value >= 1000 && i < 6; i++)
		value /= 1024;
	printf("%.3g %s", value, units[i]);
}

/* ------------------------------------------------------------------ create */

static bool parse_bool(const char *value, bool *out)
{
	if (!strcmp(value, "on") || !strcmp(value, "true") || !strcmp(value, "yes"))
		*out = true;
	else if (!strcmp(value, "off") || !strcmp(value, "false") || !strcmp(value, "no"))
		*out = false;
	else
		return false;
	return true;
}

static int log2_of(uint64_t value)
{
	return value && !(value & (value - 1)) ? __builtin_ctzll(value) : -1;
}

/* The options of -o, and what is said of values that cannot be. */
static const struct {
	const char *name, *values;
} create_options[] = {
	{ "cluster_size", "512 to 2M, a power of two" },
	{ "refcount_bits", "1, 2, 4, 8, 16, 32 or 64" },
	{ "compat", "0.10 or 1.1" },
	{ "compression_type", "zlib or zstd" },
	{ "lazy_refcounts", "on or off" },
	{ "extended_l2", "on or off" },
	{ "data_file_raw", "on or off" },
	{ "data_file", "the name of a file" },
	{ "backing_file", "the name of a file" },
	{ "backing_fmt", "raw or qcow2" },
	{ "preallocation", "off" },
};

/* One NAME=VALUE of -o. Returns false for a value that cannot be. */
static bool set_option(struct qcow2_create *o, const char *name, const char *value)
{
	uint64_t n;
	int bits;

	if (!strcmp(name, "cluster_size")) {
		bits = image_parse_size(value, &n) ? -1 : log2_of(n);
		o->cluster_bits = (unsigned int)bits;
		return bits >= QCOW2_MIN_CLUSTER_BITS && bits <= QCOW2_MAX_CLUSTER_BITS;
	}
	if (!strcmp(name, "refcount_bits")) {
		bits = image_parse_size(value, &n) ? -1 : log2_of(n);
		o->refcount_order = (unsigned int)bits;
		return bits >= 0 && bits <= 6;
	}
	if (!strcmp(name, "compat")) {
		o->version = !strcmp(value, "0.10") || !strcmp(value, "v2") ? 2 : 3;
		return o->version == 2 || !strcmp(value, "1.1") || !strcmp(value, "v3");
	}
	if (!strcmp(name, "compression_type")) {
		o->compression_type = !strcmp(value, "zstd");
		return o->compression_type || !strcmp(value, "zlib");
	}
	if (!strcmp(name, "lazy_refcounts"))
		return parse_bool(value, &o->lazy_refcounts);
	if (!strcmp(name, "extended_l2"))
		return parse_bool(value, &o->extended_l2);
	if (!strcmp(name, "data_file_raw"))
		return parse_bool(value, &o->data_file_raw);
	if (!strcmp(name, "preallocation"))
		return !strcmp(value, "off");
	if (!strcmp(name, "data_file"))
		o->data_file = value;
	else if (!strcmp(name, "backing_file"))
		o->backing = value;
	else
		o->backing_format = value;
	return *value && (o->backing_format != value || image_format(value));
}

static int parse_options(struct qcow2_create *o, char *text)
{
	char *item;

	while ((item = strsep(&text, ","))) {
		char *value = strchr(item, '=');
		size_t i = 0;

		if (!*item)
			continue;
		if (!value)
			return cli_fail(&command_image, CLI_USAGE,
					"-o: '%s' has no value: give NAME=VALUE", item);
		*value++ = 0;
		while (i < ARRAY_SIZE(create_options) && strcmp(create_options[i].name, item))
			i++;
		if (i == ARRAY_SIZE(create_options))
			return cli_fail(&command_image, CLI_USAGE,
					"-o: there is no option '%s': see anykvm help image", item);
		if (!set_option(o, item, value))
			return cli_fail(&command_image, CLI_USAGE, "-o: %s cannot be '%s': give %s",
					item, value, create_options[i].values);
	}
	if (o->data_file_raw && !o->data_file)
		return cli_fail(&command_image, CLI_USAGE, "-o: data_file_raw says how a data file "
				"is: give data_file=FILE too");
	return CLI_OK;
}

static int make_raw(const char *path, uint64_t size)
{
	struct vmm_error error = { "" };
	struct image *image;
	int fd, status = CLI_OK;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
	if (fd < 0)
		return cli_fail(&command_image, CLI_FAILED, "%s: %s", path, strerror(errno));
	close(fd);
	/* For the lock, before anything is lost. */
	if (image_open(path, "raw", IMAGE_WRITE, &image, &error))
		return image_failed(&error);
	if (image_resize(image, 0, &error) || image_resize(image, size, &error))
		status = image_failed(&error);
	image_close(image);
	return status;
}

/* The size of a backing file, for an image that is to be as large. */
static int backing_size(const char *path, const struct qcow2_create *o, uint64_t *size)
{
	struct vmm_error error = { "" };
	struct image *image;
	char *name = image_relative_path(path, o->backing);
	int ret;

	if (!name)
		return cli_fail(&command_image, CLI_FAILED, "%s", strerror(ENOMEM));
	ret = image_open(name, o->backing_format, 0, &image, &error);
	free(name);
	if (ret)
		return image_failed(&error);
	*size = image->size;
	image_close(image);
	return CLI_OK;
}

static int make(const char *path, const char *format, const char *options, const char *backing,
		const char *backing_format, uint64_t *size, bool look_at_backing)
{
	struct qcow2_create o = { .version = 3, .cluster_bits = 16, .refcount_order = 4 };
	char *copy = options ? strdup(options) : NULL;
	struct vmm_error error = { "" };
	uint64_t found = 0;
	int status;

	if (options && !copy)
		return cli_fail(&command_image, CLI_FAILED, "%s", strerror(ENOMEM));
	status = parse_options(&o, copy);
	if (status)
		goto out;
	if (backing)
		o.backing = backing;
	if (backing_format)
		o.backing_format = backing_format;
	if (!strcmp(format, "raw") && options && *options) {
		status = cli_fail(&command_image, CLI_USAGE,
				  "-o: a raw image has no options: give qcow2 as its format, or "
				  "leave -o out");
		goto out;
	}
	if (o.backing_format && !o.backing) {
		status = cli_fail(&command_image, CLI_USAGE, "there is no backing file for the "
				  "format %s: give one, or leave its format out", o.backing_format);
		goto out;
	}
	if (o.backing && !*o.backing) {
		status = cli_fail(&command_image, CLI_USAGE, "the backing file's name is empty: give "
				  "one, or none");
		goto out;
	}
	if (!strcmp(format, "raw") && o.backing) {
		status = cli_fail(&command_image, CLI_USAGE,
				  "a raw image cannot have a backing file: give -f qcow2");
		goto out;
	}
	/* What a format is found to be can be chosen by who wrote the file. */
	if (o.backing && (!o.backing_format || !image_format(o.backing_format))) {
		status = cli_fail(&command_image, CLI_USAGE, "give the format of the backing file "
				  "with -F raw or -F qcow2");
		goto out;
	}
	if (o.backing && look_at_backing) {
		status = backing_size(path, &o, &found);
		if (status)
			goto out;
		if (*size == UINT64_MAX)
			*size = found;
	}
	if (*size == UINT64_MAX) {
		status = cli_fail(&command_image, CLI_USAGE, "create: give a size, as in 10G");
		goto out;
	}
	o.size = *size;
	if (!strcmp(format, "raw"))
		status = make_raw(path, *size);
	else if (qcow2_create(path, &o, &error))
		status = image_failed(&error);
out:
	free(copy);
	return status;
}

int image_make(const char *path, const char *format, const char *options, const char *backing,
	       const char *backing_format, uint64_t size)
{
	return make(path, format, options, backing, backing_format, &size, true);
}

static int image_create(const struct image_args *args)
{
	const char *format = args->format ? args->format : "raw";
	uint64_t size = UINT64_MAX;
	int status;

	if (args->file_count < 1 || args->file_count > 2)
		return cli_fail(&command_image, CLI_USAGE, "create: give a file and a size");
	if (!image_format(format))
		return cli_fail(&command_image, CLI_USAGE,
				"create: -f: format '%s' is not known: give raw or qcow2", format);
	if (args->file_count == 2 && image_parse_size(args->files[1], &size))
		return cli_fail(&command_image, CLI_USAGE, "create: '%s' is no size: give a number "
				"with K, M, G or T, as in 10G", args->files[1]);
	status = make(args->files[0], format, args->options, args->backing, args->backing_format,
		      &size, !args->unsafe);
	if (!status && !args->quiet)
		printf("Formatting '%s', fmt=%s size=%" PRIu64 "\n", args->files[0], format, size);
	return status;
}

/* ------------------------------------------------------------------ info */

static void print_clock(uint64_t nsec)
{
	uint64_t s = nsec / 1000000000;

	printf("%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64, s / 3600, s / 60 % 60,
	       s % 60, nsec / 1000000 % 1000);
}

static void print_snapshots(const struct qcow2 *q)
{
	printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE",
	       "VM CLOCK", "ICOUNT");
	for (uint32_t i = 0; i < q->nb_snapshots; i++) {
		const struct qcow2_snapshot *s = &q->snapshots[i];
		time_t date = s->date_sec;
		struct tm tm;
		char text[32];

		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", localtime_r(&date, &tm));
		printf("%-9s %-16s ", s->id, s->name);
		print_size(s->vm_state_size);
		printf(" %s ", text);
		print_clock(s->clock_nsec);
		printf("\n");
	}
}

static void print_snapshots_json(const struct qcow2 *q)
{
	printf("    \"snapshots\": [\n");
	for (uint32_t i = 0; i < q->nb_snapshots; i++) {
		const struct qcow2_snapshot *s = &q->snapshots[i];

		printf("        {\n            \"vm-clock-nsec\": %" PRIu64 ",\n"
		       "            \"name\": ", s->clock_nsec % 1000000000);
		image_print_json_string(s->name);
		printf(",\n            \"date-sec\": %u,\n            \"date-nsec\": %u,\n"
		       "            \"vm-clock-sec\": %" PRIu64 ",\n            \"id\": ", 
		       s->date_sec, s->date_nsec, s->clock_nsec / 1000000000);
		image_print_json_string(s->id);
		printf(",\n            \"vm-state-size\": %" PRIu64 "\n        }%s\n",
		       s->vm_state_size, i + 1 < q->nb_snapshots ? "," : "");
	}
	printf("    ],\n");
}

static const char *yes(bool value)
{
	return value ? "true" : "false";
}

static uint64_t disk_usage(const struct image *image)
{
	struct stat st;

	return fstat(image->fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static void info_json(struct image *image, const char *full)
{
	struct qcow2 *q = image->ops == &qcow2_image_ops ? to_qcow2(image) : NULL;

	printf("{\n");
	if (q && q->nb_snapshots)
		print_snapshots_json(q);
	printf("    \"virtual-size\": %" PRIu64 ",\n    \"filename\": ", image->size);
	image_print_json_string(image->path);
	if (q)
		printf(",\n    \"cluster-size\": %" PRIu64, q->cluster_size);
	printf(",\n    \"format\": \"%s\",\n    \"actual-size\": %" PRIu64 ",\n",
	       image->ops->format, disk_usage(image));
	if (q) {
		printf("    \"format-specific\": {\n        \"type\": \"qcow2\",\n"
		       "        \"data\": {\n            \"compat\": \"%s\",\n",
		       q->version == 2 ? "0.10" : "1.1");
		if (q->data_name) {
			printf("            \"data-file\": ");
			image_print_json_string(q->data_name);
			printf(",\n            \"data-file-raw\": %s,\n",
			       yes(q->autoclear & QCOW2_AUTOCLEAR_DATA_RAW));
		}
		printf("            \"compression-type\": \"%s\",\n",
		       q->compression_type ? "zstd" : "zlib");
		if (q->version > 2)
			printf("            \"lazy-refcounts\": %s,\n"
			       "            \"corrupt\": %s,\n            \"extended-l2\": %s,\n",
			       yes(q->compatible & QCOW2_COMPAT_LAZY),
			       yes(q->incompatible & QCOW2_INCOMPAT_CORRUPT),
			       yes(q->subclusters > 1));
		printf("            \"refcount-bits\": %u\n        }\n    },\n",
		       1u << q->refcount_order);
	}
	if (image->backing_name) {
		printf("    \"full-backing-filename\": ");
		image_print_json_string(full ? full : image->backing_name);
		printf(",\n    \"backing-filename\": ");
		image_print_json_string(image->backing_name);
		printf(",\n");
		if (image->backing_format) {
			printf("    \"backing-filename-format\": ");
			image_print_json_string(image->backing_format);
			printf(",\n");
		}
	}
	printf("    \"dirty-flag\": %s\n}", yes(q && q->incompatible & QCOW2_INCOMPAT_DIRTY));
}

static void info_text(struct image *image, const char *full)
{
	struct qcow2 *q = image->ops == &qcow2_image_ops ? to_qcow2(image) : NULL;

	printf("image: %s\nfile format: %s\nvirtual size: ", image->path, image->ops->format);
	print_size(image->size);
	printf(" (%" PRIu64 " bytes)\ndisk size: ", image->size);
	print_size(disk_usage(image));
	printf("\n");
	if (q)
		printf("cluster_size: %" PRIu64 "\n", q->cluster_size);
	if (q && q->incompatible & QCOW2_INCOMPAT_DIRTY)
		printf("cleanly shut down: no\n");
	if (image->backing_name) {
		printf("backing file: %s", image->backing_name);
		if (full && strcmp(full, image->backing_name))
			printf(" (actual path: %s)", full);
		printf("\n");
		if (image->backing_format)
			printf("backing file format: %s\n", image->backing_format);
	}
	if (!q)
		return;
	if (q->nb_snapshots)
		print_snapshots(q);
	printf("Format specific information:\n    compat: %s\n    compression type: %s\n",
	       q->version == 2 ? "0.10" : "1.1", q->compression_type ? "zstd" : "zlib");
	if (q->version > 2)
		printf("    lazy refcounts: %s\n", yes(q->compatible & QCOW2_COMPAT_LAZY));
	printf("    refcount bits: %u\n", 1u << q->refcount_order);
	if (q->data_name)
		printf("    data file: %s\n    data file raw: %s\n", q->data_name,
		       yes(q->autoclear & QCOW2_AUTOCLEAR_DATA_RAW));
	if (q->version > 2)
		printf("    corrupt: %s\n    extended l2: %s\n",
		       yes(q->incompatible & QCOW2_INCOMPAT_CORRUPT), yes(q->subclusters > 1));
}

static int image_info(const struct image_args *args)
{
	unsigned int flags = (args->chain ? 0 : IMAGE_NO_BACKING | IMAGE_CHECK) |
			     (args->no_lock ? IMAGE_NO_LOCK : 0);
	struct vmm_error error = { "" };
	struct image *image;

	if (args->file_count != 1)
		return cli_fail(&command_image, CLI_USAGE, "info: give one image");
	if (image_open(args->files[0], args->format, flags, &image, &error))
		return image_failed(&error);
	if (args->chain && args->json)
		printf("[\n");
	for (struct image *at = image; at; at = at->backing) {
		char *full = at->backing_name ?
			     image_relative_path(at->path, at->backing_name) : NULL;

		if (args->json)
			info_json(at, full);
		else
			info_text(at, full);
		free(full);
		printf("%s", args->json ? (at->backing ? ",\n" : "\n") : at->backing ? "\n" : "");
	}
	if (args->chain && args->json)
		printf("]\n");
	image_close(image);
	return CLI_OK;
}

/* ------------------------------------------------------------------ check */

static void print_check_json(const struct image_args *args, const struct qcow2_check *r)
{
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{ "image-end-offset", r->image_end },
		{ "total-clusters", r->total_clusters },
		{ "allocated-clusters", r->allocated_clusters },
		{ "fragmented-clusters", r->fragmented_clusters },
		{ "compressed-clusters", r->compressed_clusters },
		{ "corruptions", r->corruptions - r->corruptions_fixed },
		{ "leaks", r->leaks - r->leaks_fixed },
		{ "corruptions-fixed", r->corruptions_fixed },
		{ "leaks-fixed", r->leaks_fixed },
	};

	printf("{\n    \"check-errors\": %" PRIu64 ",\n    \"filename\": ", r->check_errors);
	image_print_json_string(args->files[0]);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].value)
			printf(",\n    \"%s\": %" PRIu64, fields[i].name, fields[i].value);
	printf(",\n    \"format\": \"qcow2\"\n}\n");
}

static void print_check(const struct qcow2_check *r)
{
	uint64_t corruptions = r->corruptions - r->corruptions_fixed;
	uint64_t leaks = r->leaks - r->leaks_fixed;

	if (r->corruptions_fixed || r->leaks_fixed)
		printf("The following inconsistencies were found and repaired:\n\n"
		       "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n",
		       r->leaks_fixed, r->corruptions_fixed);
	if (!corruptions && !leaks && !r->check_errors)
		printf("No errors were found on the image.\n");
	if (corruptions)
		printf("\n%" PRIu64 " errors were found on the image.\n"
		       "Data may be corrupted, or further writes to the image may corrupt it.\n",
		       corruptions);
	if (leaks)
		printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
		       "This means waste of disk space, but no harm to data.\n", leaks);
	if (r->check_errors)
		printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
		       r->check_errors);
	if (r->total_clusters)
		printf("%" PRIu64 "/%" PRIu64 " = %.2f%% allocated, %.2f%% fragmented, "
		       "%.2f%% compressed clusters\n", r->allocated_clusters, r->total_clusters,
		       (double)r->allocated_clusters * 100 / (double)r->total_clusters,
		       r->allocated_clusters ? (double)r->fragmented_clusters * 100 /
					       (double)r->allocated_clusters : 0,
		       r->allocated_clusters ? (double)r->compressed_clusters * 100 /
					       (double)r->allocated_clusters : 0);
	printf("Image end offset: %" PRIu64 "\n", r->image_end);
}

static int image_check(const struct image_args *args)
{
	unsigned int flags = IMAGE_CHECK | IMAGE_NO_BACKING | (args->repair ? IMAGE_WRITE : 0) |
			     (args->no_lock ? IMAGE_NO_LOCK : 0);
	struct vmm_error error = { "" };
	struct qcow2_check result;
	struct image *image;
	int ret;

	if (args->file_count != 1)
		return cli_fail(&command_image, CLI_USAGE, "check: give one image");
	if (image_open(args->files[0], args->format, flags, &image, &error))
		return image_failed(&error);
	if (image->ops != &qcow2_image_ops) {
		image_close(image);
		return cli_fail(&command_image, CHECK_UNSUPPORTED,
				"check: there is nothing to check in a raw image");
	}
	ret = qcow2_check(image, args->repair, &result, args->quiet || args->json ? NULL : stdout);
	image_close(image);
	if (ret == -ENOTSUP)
		return cli_fail(&command_image, CHECK_UNSUPPORTED,
				"check: %s has bitmaps, which are not supported", args->files[0]);
	if (ret)
		return cli_fail(&command_image, CLI_FAILED, "check: %s: %s", args->files[0],
				strerror(-ret));
	if (args->json)
		print_check_json(args, &result);
	else if (!args->quiet)
		print_check(&result);
	if (result.check_errors)
		return CLI_FAILED;
	if (result.corruptions > result.corruptions_fixed)
		return CHECK_CORRUPT;
	return result.leaks > result.leaks_fixed ? CHECK_LEAKS : CLI_OK;
}

/* ------------------------------------------------------------------ resize and snapshot */

static int image_set_size(const struct image_args *args)
{
	struct vmm_error error = { "" };
	const char *text;
	struct image *image;
	uint64_t size, old;
	int status = CLI_OK;

	if (args->file_count != 2)
		return cli_fail(&command_image, CLI_USAGE,
				"resize: give one image and its size, as in 20G or +5G");
	text = args->files[1];
	if (image_parse_size(text + (*text == '+' || *text == '-'), &size))
		return cli_fail(&command_image, CLI_USAGE, "resize: '%s' is no size: give a number "
				"with K, M, G or T, as in 20G or +5G", text);
	if (image_open(args->files[0], args->format, IMAGE_WRITE, &image, &error))
		return image_failed(&error);
	old = image->size;
	if (*text == '-' && size > old)
		status = cli_fail(&command_image, CLI_FAILED, "resize: %s is not that large: take less off",
				  args->files[0]);
	else if (*text == '-')
		size = old - size;
	else if (*text == '+')
		size += old;
	if (!status && size < old && !args->shrink)
		status = cli_fail(&command_image, CLI_FAILED, "resize: what is beyond the new end "
				  "of %s would be lost: give --shrink if it may be",
				  args->files[0]);
	if (!status && image->probed && image->ops != &qcow2_image_ops && !args->quiet)
		fprintf(stderr, "anykvm image: warning: resize: %s taken as raw; give -f raw if it "
			"is\n", args->files[0]);
	if (!status && image_resize(image, (size + 511) & ~511ull, &error))
		status = image_failed(&error);
	if (image_close(image) && !status)
		status = cli_fail(&command_image, CLI_FAILED, "resize: writing %s failed",
				  args->files[0]);
	if (!status && !args->quiet)
		printf("Image resized.\n");
	return status;
}

static int image_snapshot(const struct image_args *args)
{
	char action = args->action ? args->action : 'l';
	unsigned int flags = action == 'l' ? (args->no_lock ? IMAGE_NO_LOCK : 0) : IMAGE_WRITE;
	struct vmm_error error = { "" };
	struct image *image;
	int ret = 0, status = CLI_OK;

	if (args->file_count != 1)
		return cli_fail(&command_image, CLI_USAGE, "snapshot: give one image");
	if (image_open(args->files[0], args->format, flags | IMAGE_NO_BACKING, &image, &error))
		return image_failed(&error);
	switch (action) {
	case 'c':
		ret = qcow2_snapshot_create(image, args->snapshot, &error);
		break;
	case 'a':
		ret = qcow2_snapshot_apply(image, args->snapshot, &error);
		break;
	case 'd':
		ret = qcow2_snapshot_delete(image, args->snapshot, &error);
		break;
	default:
		if (image->ops == &qcow2_image_ops && to_qcow2(image)->nb_snapshots)
			print_snapshots(to_qcow2(image));
	}
	if (ret)
		status = image_failed(&error);
	if (image_close(image) && !status)
		status = cli_fail(&command_image, CLI_FAILED, "snapshot: writing %s failed",
				  args->files[0]);
	return status;
}

/* ------------------------------------------------------------------ the command line */

struct subcommand {
	const char *name;
	const char *letters;	/* for getopt, after "+:" */
	int (*run)(const struct image_args *args);
};

static const struct subcommand subcommands[] = {
	{ "create", "f:o:b:F:uq", image_create },
	{ "info", "f:U", image_info },
	{ "check", "f:r:qU", image_check },
	{ "convert", "f:O:o:B:F:l:cm:nWpqU", image_convert },
	{ "resize", "f:q", image_set_size },
	{ "snapshot", "f:lc:a:d:qU", image_snapshot },
	{ "map", "f:U", image_show_map },
	{ "compare", "f:F:spqU", image_compare },
	{ "commit", "f:dpq", image_commit },
	{ "rebase", "f:b:F:upq", image_rebase },
};

/* A letter whose meaning depends on the subcommand, or is all that one needs. */
static int set_letter(struct image_args *args, const struct subcommand *sub, int letter)
{
	bool snapshot = sub->run == image_snapshot;
	char *end;

	switch (letter) {
	case 'f': args->format = optarg; break;
	case 'O': args->output_format = optarg; break;
	case 'o': args->options = optarg; break;
	case 'b': case 'B': args->backing = optarg; break;
	case 'F': args->backing_format = optarg; break;
	case 'q': args->quiet = true; break;
	case 'p': args->progress = true; break;
	case 'u': args->unsafe = true; break;
	case 'U': args->no_lock = true; break;
	case 's': args->strict = true; break;
	case 'n': args->existing = true; break;
	case 'l': case 'c': case 'a': case 'd':
		if (sub->run == image_commit) {
			args->keep = true;
			break;
		}
		if (sub->run == image_convert && letter == 'c') {
			args->compress = true;
			break;
		}
		if (snapshot && args->action && args->action != letter)
			return cli_fail(&command_image, CLI_USAGE, "snapshot: -%c and -%c are two "
					"things: give one of -l, -c, -a and -d", args->action, letter);
		if (snapshot)
			args->action = (char)letter;
		if (optarg)
			args->snapshot = strncmp(optarg, "snapshot.name=", 14) ? optarg :
										 optarg + 14;
		break;
	case 'm':
		args->threads = (unsigned int)strtoul(optarg, &end, 10);
		if (*optarg < '1' || *optarg > '9' || *end || end - optarg > 2)
			return cli_fail(&command_image, CLI_USAGE, "convert: -m: '%s' is no number "
					"of threads: give 1 to 16", optarg);
		break;
	case 'W': args->any_order = true; break;
	case 'r':
		if (!strcmp(optarg, "leaks"))
			args->repair = QCOW2_REPAIR_LEAKS;
		else if (!strcmp(optarg, "all"))
			args->repair = QCOW2_REPAIR_ALL;
		else
			return cli_fail(&command_image, CLI_USAGE,
					"check: -r: '%s' is not known: give leaks or all", optarg);
		break;
	}
	return CLI_OK;
}

static int image_main(int argc, char **argv)
{
	enum { OUTPUT = 1000, CHAIN, SHRINK };
	static const struct option options[] = {
		{ "output", required_argument, NULL, OUTPUT },
		{ "backing-chain", no_argument, NULL, CHAIN },
		{ "shrink", no_argument, NULL, SHRINK },
		{ "force-share", no_argument, NULL, 'U' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct subcommand *sub = NULL;
	struct image_args args = { 0 };
	char letters[64];
	int c, status;

	for (size_t i = 0; argc > 1 && i < sizeof(subcommands) / sizeof(subcommands[0]); i++)
		if (!strcmp(argv[1], subcommands[i].name))
			sub = &subcommands[i];
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(command_image.help, stdout);
		return cli_finish_output(&command_image);
	}
	if (!sub)
		return cli_fail(&command_image, CLI_USAGE, argc > 1 ?
				"there is no subcommand '%s': see anykvm help image" :
				"no subcommand given: see anykvm help image",
				argc > 1 ? argv[1] : "");
	argc--;
	argv++;
	/* As with qemu-img, options may follow the files. */
	snprintf(letters, sizeof(letters), ":h%s", sub->letters);
	while ((c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		status = CLI_OK;
		switch (c) {
		case 'h':
			fputs(command_image.help, stdout);
			return cli_finish_output(&command_image);
		case '?':
		case ':':
			return cli_bad_option(&command_image, c, argv);
		case OUTPUT:
			if (strcmp(optarg, "json") && strcmp(optarg, "human"))
				return cli_fail(&command_image, CLI_USAGE, "--output: '%s' is not "
						"known: give human or json", optarg);
			args.json = !strcmp(optarg, "json");
			break;
		case CHAIN:
			args.chain = true;
			break;
		case SHRINK:
			args.shrink = true;
			break;
		default:
			status = set_letter(&args, sub, c);
		}
		if (status)
			return status;
	}
	if (args.format && !image_format(args.format))
		return cli_fail(&command_image, CLI_USAGE, "%s: -f: format '%s' is not known: give "
				"raw or qcow2", sub->name, args.format);
	if (args.backing_format && !image_format(args.backing_format))
		return cli_fail(&command_image, CLI_USAGE, "%s: -F: format '%s' is not known: give "
				"raw or qcow2", sub->name, args.backing_format);
	args.files = argv + optind;
	args.file_count = argc - optind;
	status = sub->run(&args);
	c = cli_finish_output(&command_image);
	return status ? status : c;
}

const struct command command_image = {
	.name = "image",
	.summary = "make, look at and change disk images",
	.help =
"Usage: anykvm image SUBCOMMAND [OPTION]... FILE...\n"
"\n"
"Disk images in the formats raw and qcow2, with qemu-img's options and output.\n"
"\n"
"  create [-f FMT] [-o OPTIONS] [-b BACKING -F FMT] [-u] FILE [SIZE]\n"
"                       make an image, raw if -f does not say otherwise\n"
"  info FILE            say what an image is\n"
"  check [-r leaks|all] FILE\n"
"                       find damage in a qcow2 image, and repair it\n"
"  convert [-O FMT] [-o OPTIONS] [-c] [-m THREADS] [-W] [-B BACKING -F FMT]\n"
"          [-l SNAPSHOT] [-n] FROM TO\n"
"                       copy an image into another format; -c: compressed; -m: so many\n"
"                       pieces at once, 1 to 16; -W: in any order; -n: TO exists already\n"
"  resize FILE [+|-]SIZE\n"
"  snapshot [-l | -c NAME | -a NAME | -d NAME] FILE\n"
"                       list, make, apply or delete a snapshot\n"
"  map FILE             what is where\n"
"  compare [-s] [-f FMT] [-F FMT] FILE FILE\n"
"                       status 0 if they have the same contents, else 1\n"
"  commit [-d] FILE     move what FILE holds into the image it is based on\n"
"  rebase -b BACKING -F FMT [-u] FILE\n"
"                       base FILE on another image, \"\" for none; -u: without a look\n"
"                       at what it holds\n"
"\n"
"  -f FMT               the format of FILE (default: what it looks like)\n"
"  --output human|json  of info, check and map: for people or programs\n"
"  --backing-chain      of info: with all that the image is based on\n"
"  --shrink             of resize: what is beyond the new end may be lost\n"
"  -p                   show progress at once; else after two seconds, on a terminal\n"
"  -q                   print only errors\n"
"  -U, --force-share    read an image that another program uses\n"
"  -o NAME=VALUE,...    for qcow2: cluster_size=512..2M, compat=0.10|1.1,\n"
"                       refcount_bits=1..64, lazy_refcounts=on, extended_l2=on,\n"
"                       compression_type=zlib|zstd, data_file=FILE, data_file_raw=on,\n"
"                       backing_file=FILE, backing_fmt=FMT\n"
"\n"
"Exit status: 0 well, 1 something failed, 2 the command line is wrong; of check also\n"
"2 for damage, 3 for leaked clusters, 63 for a format without anything to check.\n",
	.main = image_main,
};
