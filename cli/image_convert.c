/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm image convert: copies what a disk shows into another image.
 *
 * Several threads take pieces of the disk in turn. What an image's tables are needed for is done under
 * one lock: finding the next piece, reading what is compressed, writing. Reading data and packing it,
 * which take the time, are not. Pieces are written in their order, so that the same disk always gives
 * the same file, unless -W says that this does not matter.
 */
#include "cli/image.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#define CHUNK		(2u << 20)	/* of a piece; a multiple of every size of clusters */
#define SPARSE		4096u		/* zeroes of this length are left out */
#define MAX_PARTS	32
#define MAX_THREADS	16
#define MAX_CLUSTERS	(CHUNK >> QCOW2_MIN_CLUSTER_BITS)

enum part_kind {
	PART_DATA,		/* at @host of @fd */
	PART_TABLES,		/* to be read through the image */
	PART_ZERO,
};

struct part {
	enum part_kind kind;
	uint64_t offset, length;
	int fd;
	uint64_t host;
};

struct piece {
	uint64_t offset, length;
	uint64_t number;
	unsigned int parts;
	struct part part[MAX_PARTS];
};

struct copy {
	struct image *from, *to;
	bool only_own;		/* not what comes from the images behind */
	bool existing;		/* zeroes have to be written */
	bool packed;		/* clusters are compressed */
	bool any_order;
	uint64_t step;		/* pieces begin at multiples of this */

	pthread_mutex_t lock;	/* protects all that follows, and the images' tables */
	pthread_cond_t turn;	/* written changed, or result */
	uint64_t at;		/* the next piece begins here, or later */
	uint64_t taken, written;	/* pieces */
	uint64_t done;		/* bytes */
	int result;		/* the first error */
	bool reading;		/* was one of reading */
	struct progress progress;
};

/* One of the threads. */
struct worker {
	struct copy *copy;
	pthread_t thread;
	struct piece piece;
	struct qcow2_packer *packer;
	char *buf, *packed;
	size_t length[MAX_CLUSTERS];	/* of each packed cluster; 0: it stays as it is */
};

/* ------------------------------------------------------------------ taking pieces; lock held */

static void add_part(struct copy *c, struct piece *p, enum part_kind kind, uint64_t length,
		     const struct image_extent *e)
{
	p->part[p->parts++] = (struct part){
		.kind = kind, .offset = c->at, .length = length, .fd = e ? e->fd : -1,
		.host = e ? e->host : 0,
	};
	p->length += length;
	c->at += length;
}

/* How much at @at, of which @length is alike, is whole steps. */
static uint64_t whole_steps(const struct copy *c, uint64_t length)
{
	if (c->at % c->step)
		return 0;
	return c->at + length == c->from->size ? length : length - length % c->step;
}

/* The next piece with anything to be done. Returns 1, 0 at the end, or -errno. */
static int take_piece(struct copy *c, struct piece *p)
{
	p->offset = c->at;
	p->length = 0;
	p->parts = 0;
	while (c->at < c->from->size && p->length < CHUNK && p->parts < MAX_PARTS - 1) {
		struct image_extent e;
		unsigned int depth;
		bool present, skip;
		uint64_t n;
		int ret = image_map(c->from, c->at, c->from->size - c->at, &e, &depth, &present);

		if (ret)
			return ret;
		skip = c->only_own && (depth || !present);
		if (!skip && e.type != EXTENT_ZERO) {
			n = CHUNK - p->length < e.length ? CHUNK - p->length : e.length;
			add_part(c, p, e.type == EXTENT_DATA ? PART_DATA : PART_TABLES, n, &e);
			continue;
		}
		n = whole_steps(c, e.length);
		if (n && p->parts)
			break;
		if (n && !skip && (c->existing || c->only_own)) {
			add_part(c, p, PART_ZERO, n, NULL);
			break;
		}
		if (n) {
			c->at += n;
			c->done += n;
			p->offset = c->at;
			continue;
		}
		/* Less than a cluster, of which the rest is something else. */
		n = c->step - c->at % c->step;
		add_part(c, p, skip ? PART_TABLES : PART_ZERO, n < e.length ? n : e.length, NULL);
	}
	if (c->at % c->step && c->at < c->from->size) {
		uint64_t n = c->step - c->at % c->step;

		if (n > c->from->size - c->at)
			n = c->from->size - c->at;
		add_part(c, p, PART_TABLES, n, NULL);
	}
	p->number = c->taken;
	c->taken += p->parts != 0;
	return p->parts != 0;
}

/* ------------------------------------------------------------------ without the lock */

static int read_part(struct copy *c, const struct part *part, char *buf)
{
	int ret = 0;

	switch (part->kind) {
	case PART_DATA:
		return image_pread(part->fd, buf, part->length, part->host);
	case PART_TABLES:
		pthread_mutex_lock(&c->lock);
		ret = image_read(c->from, part->offset, buf, part->length);
		pthread_mutex_unlock(&c->lock);
		return ret;
	case PART_ZERO:
		memset(buf, 0, part->length);
	}
	return 0;
}

/* Zeroes without anything beside them, which are not looked at. */
static bool all_zero(const struct piece *p)
{
	return p->parts == 1 && p->part[0].kind == PART_ZERO;
}

static int read_piece(struct worker *w)
{
	const struct piece *p = &w->piece;
	int ret = 0;

	for (unsigned int i = 0; i < p->parts && !ret && !all_zero(p); i++)
		ret = read_part(w->copy, &p->part[i],
				w->buf + (p->part[i].offset - p->offset));
	return ret;
}

static void pack_piece(struct worker *w)
{
	const struct piece *p = &w->piece;
	uint64_t step = w->copy->step;

	/* The last cluster of the disk may reach beyond its end. */
	if (p->length % step)
		memset(w->buf + p->length, 0, step - p->length % step);
	for (uint64_t at = 0; at < p->length; at += step)
		w->length[at / step] = buffer_is_zero(w->buf + at, step) ? 0 :
				       qcow2_pack(w->packer, w->buf + at, w->packed + at);
}

/* ------------------------------------------------------------------ writing; lock held */

/* Writes what is not zero. The target reads as zeroes, unless it exists already. */
static int write_sparse(struct copy *c, uint64_t offset, const char *buf, uint64_t length)
{
	uint64_t at = 0;
	int ret = 0;

	while (at < length && !ret) {
		uint64_t end = at;
		bool zero = buffer_is_zero(buf + at, length - at < SPARSE ? length - at : SPARSE);

		do {
			end += length - end < SPARSE ? length - end : SPARSE;
		} while (end < length && buffer_is_zero(buf + end, length - end < SPARSE ?
							length - end : SPARSE) == zero);
		if (!zero)
			ret = image_write(c->to, offset + at, buf + at, end - at);
		else if (c->existing || c->only_own)
			ret = image_zero(c->to, offset + at, end - at, true);
		at = end;
	}
	return ret;
}

static int write_piece(struct worker *w)
{
	const struct piece *p = &w->piece;
	struct copy *c = w->copy;
	int ret = 0;

	if (all_zero(p))
		return image_zero(c->to, p->offset, p->length, true);
	if (!c->packed)
		return write_sparse(c, p->offset, w->buf, p->length);
	for (uint64_t at = 0; at < p->length && !ret; at += c->step) {
		uint64_t n = p->length - at < c->step ? p->length - at : c->step;
		size_t length = w->length[at / c->step];

		ret = length ? qcow2_write_packed(c->to, p->offset + at, w->packed + at, length) :
			       write_sparse(c, p->offset + at, w->buf + at, n);
	}
	return ret;
}

/* ------------------------------------------------------------------ the threads */

static void fail(struct copy *c, int result, bool reading)
{
	if (!c->result) {
		c->result = result;
		c->reading = reading;
	}
	pthread_cond_broadcast(&c->turn);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct copy *c = w->copy;
	int ret;

	pthread_mutex_lock(&c->lock);
	while (!c->result) {
		ret = take_piece(c, &w->piece);
		if (ret < 0)
			fail(c, ret, true);
		if (ret <= 0)
			break;
		pthread_mutex_unlock(&c->lock);
		ret = read_piece(w);
		if (!ret && c->packed && !all_zero(&w->piece))
			pack_piece(w);
		pthread_mutex_lock(&c->lock);
		if (ret)
			fail(c, ret, true);
		while (!c->result && !c->any_order && c->written != w->piece.number)
			pthread_cond_wait(&c->turn, &c->lock);
		if (c->result)
			break;
		ret = write_piece(w);
		if (ret)
			fail(c, ret, false);
		c->written++;
		c->done += w->piece.length;
		pthread_cond_broadcast(&c->turn);
		progress_show(&c->progress, c->done);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static void free_worker(struct worker *w)
{
	qcow2_packer_destroy(w->packer);
	free(w->buf);
	free(w->packed);
}

static int make_worker(struct worker *w, struct copy *c)
{
	int ret = 0;

	w->copy = c;
	w->buf = malloc(CHUNK);
	if (c->packed) {
		w->packed = malloc(CHUNK);
		ret = qcow2_packer_create(to_qcow2(c->to), &w->packer);
	}
	if (!ret && (!w->buf || (c->packed && !w->packed)))
		ret = -ENOMEM;
	return ret;
}

static unsigned int thread_count(const struct image_args *args)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (args->threads)
		return args->threads;
	/* One more, that reads while the others pack. */
	return cpus < 1 ? 2 : cpus < 7 ? (unsigned int)cpus + 1 : 8;
}

static int copy_image(struct copy *c, unsigned int threads)
{
	struct worker *workers = calloc(threads, sizeof(*workers));
	unsigned int n = 0, running;
	int ret = workers ? 0 : -ENOMEM;

	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->turn, NULL);
	while (n < threads && !ret)
		ret = make_worker(&workers[n++], c);
	/* This thread is the first; those that cannot be had are done without. */
	for (running = 1; running < n && !ret; running++)
		if (pthread_create(&workers[running].thread, NULL, work, &workers[running]))
			break;
	if (!ret) {
		work(&workers[0]);
		while (--running)
			pthread_join(workers[running].thread, NULL);
	}
	while (n--)
		free_worker(&workers[n]);
	free(workers);
	pthread_cond_destroy(&c->turn);
	pthread_mutex_destroy(&c->lock);
	return ret ? ret : c->result;
}

/* ------------------------------------------------------------------ the command */

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return !stat(a, &sa) && !stat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* What can be known of the command line without a look at the images. */
static int check_args(const struct image_args *args, const char *format)
{
	if (args->file_count != 2)
		return cli_fail(&command_image, CLI_USAGE,
				"convert: give the image to read and the one to write");
	if (!image_format(format))
		return cli_fail(&command_image, CLI_USAGE,
				"convert: -O: format '%s' is not known: give raw or qcow2", format);
	if (args->compress && strcmp(format, "qcow2"))
		return cli_fail(&command_image, CLI_USAGE,
				"convert: -c: a raw image cannot be compressed: give -O qcow2");
	if (args->threads > MAX_THREADS)
		return cli_fail(&command_image, CLI_USAGE, "convert: -m: give 1 to %d",
				MAX_THREADS);
	if (same_file(args->files[0], args->files[1]))
		return cli_fail(&command_image, CLI_USAGE,
				"convert: %s is both source and target: give another target",
				args->files[0]);
	return CLI_OK;
}

static int check_target(const struct image_args *args, const struct image *from,
			const struct image *to)
{
	if (to->size < from->size)
		return cli_fail(&command_image, CLI_FAILED,
				"convert: %s is smaller than %s: resize it first", args->files[1],
				args->files[0]);
	if (args->compress && (to->ops != &qcow2_image_ops || to_qcow2((struct image *)to)->external))
		return cli_fail(&command_image, CLI_FAILED,
				"convert: -c: %s cannot have compressed clusters: its data is in a "
				"file of its own", args->files[1]);
	if (args->compress && !qcow2_can_decompress(to_qcow2((struct image *)to)->compression_type))
		return cli_fail(&command_image, CLI_FAILED,
				"convert: -c: this anykvm was built without %s",
				to_qcow2((struct image *)to)->compression_type ? "zstd" : "zlib");
	return CLI_OK;
}

int image_convert(const struct image_args *args)
{
	const char *format = args->output_format ? args->output_format : "raw";
	struct vmm_error error = { "" };
	struct image *from, *to;
	struct copy c;
	int ret, status;

	status = check_args(args, format);
	if (!status)
		status = image_open_source(args, args->files[0], args->format, &from);
	if (status)
		return status;
	if (args->snapshot && qcow2_snapshot_view(from, args->snapshot, &error)) {
		status = image_failed(&error);
		goto out_from;
	}
	if (!args->existing) {
		status = image_make(args->files[1], format, args->options, args->backing,
				    args->backing_format, from->size);
		if (status)
			goto out_from;
	}
	if (image_open(args->files[1], format, IMAGE_WRITE, &to, &error)) {
		status = image_failed(&error);
		goto out_from;
	}
	status = check_target(args, from, to);
	if (status)
		goto out_to;
	c = (struct copy){
		.from = from, .to = to, .only_own = args->backing, .existing = args->existing,
		.packed = args->compress, .any_order = args->any_order,
		.step = args->compress ? to->cluster : 1,
	};
	progress_start(&c.progress, args, from->size);
	ret = copy_image(&c, thread_count(args));
	if (!ret) {
		progress_show(&c.progress, from->size);
		ret = image_flush(to);
	}
	progress_end(&c.progress);
	if (ret)
		status = cli_fail(&command_image, CLI_FAILED, "convert: %s %s: %s",
				  c.reading ? "reading" : "writing",
				  args->files[c.reading ? 0 : 1], strerror(-ret));
out_to:
	ret = image_close(to);
	if (ret && !status)
		status = cli_fail(&command_image, CLI_FAILED, "convert: writing %s: %s",
				  args->files[1], strerror(-ret));
out_from:
	image_close(from);
	return status;
}
