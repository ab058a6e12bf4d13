/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The console of a machine without a terminal: a log, and whoever is attached.
 *
 * Output is taken into a ring and spread by the loop thread. Nobody can hold the guest up: the log
 * is a file, and somebody attached who does not read misses what he has no room for, as on a serial
 * line. The log is two files of a bounded size, since it lies where memory is.
 */
#include "vmm/control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control/rundir.h"
#include "vmm/util.h"

#define OUTPUT_SIZE	65536
#define PEER_OUTPUT	262144
#define PEER_INPUT	4096
#define LOG_SIZE	(1 << 20)	/* of each of the two files */
#define PACE_NS		1000000		/* output is spread this often at most, while it comes */

struct peer {
	struct console *console;
	struct loop_fd watch;
	uint8_t input[PEER_INPUT];	/* read, but without room in front */
	size_t input_start, input_end;
	uint8_t *output;		/* a ring */
	size_t out_start, out_used;
	bool ended;			/* sends no more; what it sent is still to be delivered */
	struct peer *next, **link;
};

struct console {
	struct char_backend backend;
	struct loop *loop;
	char directory[PATH_MAX];
	int log_fd;
	size_t log_length;
	struct peer *peers;
	unsigned int columns, rows;
	struct loop_call in_call;	/* the front has room */
	struct loop_call out_call;
	struct loop_timer out_timer;
	uint64_t out_time;		/* loop_now() when something was last spread; under lock */
	pthread_mutex_t lock;		/* protects the ring below, out_time; taken last */
	uint8_t output[OUTPUT_SIZE];
	size_t out_start, out_used;
	bool refused;			/* a write came back short */
	uint8_t taken[OUTPUT_SIZE];	/* out of the ring; the loop thread's */
};

/* Puts into a ring what fits. Returns how much that is. */
static size_t ring_put(uint8_t *ring, size_t size, size_t start, size_t used, const uint8_t *data,
		       size_t length)
{
	size_t at = (start + used) % size, first;

	if (length > size - used)
		length = size - used;
	first = length < size - at ? length : size - at;
	memcpy(ring + at, data, first);
	memcpy(ring, data + first, length - first);
	return length;
}

/* ------------------------------------------------------------------ the log */

static void open_log(struct console *c)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", c->directory, RUNDIR_CONSOLE);
	c->log_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	c->log_length = 0;
}

static void turn_log(struct console *c)
{
	char path[PATH_MAX + 32], old[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", c->directory, RUNDIR_CONSOLE);
	snprintf(old, sizeof(old), "%s/%s", c->directory, RUNDIR_CONSOLE_OLD);
	if (rename(path, old))
		unlink(path);
	close(c->log_fd);
	open_log(c);
}

/* A full file system must not stop the guest: what cannot be written is missing. */
static void write_log(struct console *c, const uint8_t *data, size_t length)
{
	if (c->log_fd < 0)
		return;
	if (c->log_length + length > LOG_SIZE)
		turn_log(c);
	c->log_length += length;
	if (c->log_fd >= 0 && write(c->log_fd, data, length) < 0)
		return;
}

/* ------------------------------------------------------------------ those who are attached */

static void peer_free(struct peer *p)
{
	loop_fd_del(&p->watch);
	close(p->watch.fd);
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	free(p->output);
	free(p);
}

/* Hands over what was read, as far as there is room. Returns true when all is handed over. */
static bool peer_deliver(struct peer *p)
{
	const struct char_front *front = p->console->backend.front;
	size_t length = p->input_end - p->input_start, room;

	if (length && front) {
		room = front->room(p->console->backend.front_data);
		if (room > length)
			room = length;
		if (room)
			front->input(p->console->backend.front_data, p->input + p->input_start,
				     room);
		p->input_start += room;
		length -= room;
	}
	if (!length)
		p->input_start = p->input_end = 0;
	return !length;
}

/* Watches for what there is to do, so that nothing keeps the loop spinning. */
static void peer_arm(struct peer *p)
{
	uint32_t events = 0;

	if (!p->input_end && !p->ended)
		events |= EPOLLIN;
	if (p->out_used)
		events |= EPOLLOUT;
	loop_fd_set_events(&p->watch, events);
}

/* Returns false where the peer is gone. */
static bool peer_send(struct peer *p)
{
	while (p->out_used) {
		size_t length = p->out_used;
		ssize_t done;

		if (length > PEER_OUTPUT - p->out_start)
			length = PEER_OUTPUT - p->out_start;
		done = send(p->watch.fd, p->output + p->out_start, length,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno == EAGAIN;
		p->out_start = (p->out_start + done) % PEER_OUTPUT;
		p->out_used -= done;
	}
	return true;
}

/* Returns false where the peer is gone. */
static bool peer_receive(struct peer *p)
{
	ssize_t length;

	if (!peer_deliver(p))
		return true;
	length = recv(p->watch.fd, p->input, PEER_INPUT, MSG_DONTWAIT);
	if (length < 0)
		return errno == EAGAIN || errno == EINTR;
	p->input_end = length;
	p->ended = !length;
	peer_deliver(p);
	return true;
}

static void peer_ready(struct loop_fd *watch, uint32_t events)
{
	struct peer *p = container_of(watch, struct peer, watch);
	bool there = !(events & (EPOLLHUP | EPOLLERR));

	if (there && (events & EPOLLIN))
		there = peer_receive(p);
	if (there && (events & EPOLLOUT))
		there = peer_send(p);
	if (there)
		peer_arm(p);
	else
		peer_free(p);
}

static void input_call(struct loop_call *call)
{
	struct console *c = container_of(call, struct console, in_call);

	for (struct peer *p = c->peers; p; p = p->next) {
		peer_deliver(p);
		peer_arm(p);
	}
}

void console_attach(struct console *c, int fd, const uint8_t *input, size_t length)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (p)
		p->output = malloc(PEER_OUTPUT);
	if (!p || !p->output) {
		free(p);
		close(fd);
		return;
	}
	p->console = c;
	p->watch = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .callback = peer_ready };
	p->input_end = length < PEER_INPUT ? length : PEER_INPUT;
	memcpy(p->input, input, p->input_end);
	if (loop_fd_add(c->loop, &p->watch)) {
		free(p->output);
		free(p);
		close(fd);
		return;
	}
	p->next = c->peers;
	p->link = &c->peers;
	if (p->next)
		p->next->link = &p->next;
	c->peers = p;
	loop_defer(c->loop, &c->in_call);
}

void console_detach_all(struct console *c)
{
	while (c->peers) {
		peer_send(c->peers);
		peer_free(c->peers);
	}
}

void console_resize(struct console *c, unsigned int columns, unsigned int rows)
{
	c->columns = columns;
	c->rows = rows;
	if (c->backend.front && c->backend.front->resized)
		c->backend.front->resized(c->backend.front_data, columns, rows);
}

/* ------------------------------------------------------------------ output */

static void spread(struct console *c, const uint8_t *data, size_t length)
{
	write_log(c, data, length);
	for (struct peer *p = c->peers, *next; p; p = next) {
		next = p->next;
		p->out_used += ring_put(p->output, PEER_OUTPUT, p->out_start, p->out_used, data,
					length);
		if (peer_send(p))
			peer_arm(p);
		else
			peer_free(p);
	}
}

/* Takes out of the ring what is in it. Returns how much that was. */
static size_t take_output(struct console *c)
{
	size_t length, first;

	pthread_mutex_lock(&c->lock);
	length = c->out_used;
	first = length < OUTPUT_SIZE - c->out_start ? length : OUTPUT_SIZE - c->out_start;
	memcpy(c->taken, c->output + c->out_start, first);
	memcpy(c->taken + first, c->output, length - first);
	c->out_start = c->out_used = 0;
	c->out_time = loop_now();
	pthread_mutex_unlock(&c->lock);
	return length;
}

static void output_step(struct console *c)
{
	size_t length = take_output(c);
	bool refused;

	if (length)
		spread(c, c->taken, length);
	pthread_mutex_lock(&c->lock);
	refused = c->refused;
	c->refused = false;
	pthread_mutex_unlock(&c->lock);
	if (refused && c->backend.front)
		c->backend.front->writable(c->backend.front_data);
}

static void output_call(struct loop_call *call)
{
	output_step(container_of(call, struct console, out_call));
}

static void output_due(struct loop_timer *timer)
{
	output_step(container_of(timer, struct console, out_timer));
}

/* As stdio's: the first character goes out at once, those that follow closely go together. */
static size_t console_write(struct char_backend *backend, const uint8_t *data, size_t length)
{
	struct console *c = container_of(backend, struct console, backend);
	uint64_t due, now = loop_now();
	size_t taken;
	bool was_empty;

	pthread_mutex_lock(&c->lock);
	was_empty = !c->out_used;
	due = c->out_time + PACE_NS;
	taken = ring_put(c->output, OUTPUT_SIZE, c->out_start, c->out_used, data, length);
	c->out_used += taken;
	if (taken < length)
		c->refused = true;
	pthread_mutex_unlock(&c->lock);
	if (was_empty && taken && now >= due)
		loop_defer(c->loop, &c->out_call);
	else if (was_empty && taken)
		loop_timer_set(c->loop, &c->out_timer, due);
	return taken;
}

/* ------------------------------------------------------------------ beginning and end */

static void console_accept_input(struct char_backend *backend)
{
	struct console *c = container_of(backend, struct console, backend);

	loop_defer(c->loop, &c->in_call);
}

static void console_size(struct char_backend *backend, unsigned int *columns, unsigned int *rows)
{
	struct console *c = container_of(backend, struct console, backend);

	*columns = c->columns;
	*rows = c->rows;
}

static void console_free(struct char_backend *backend)
{
	struct console *c = container_of(backend, struct console, backend);

	loop_call_cancel(&c->in_call);
	loop_call_cancel(&c->out_call);
	loop_timer_cancel(&c->out_timer);
	c->backend.front = NULL;	/* it is going too */
	output_step(c);
	console_detach_all(c);
	if (c->log_fd >= 0)
		close(c->log_fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static const struct char_ops console_ops = {
	.write = console_write,
	.accept_input = console_accept_input,
	.size = console_size,
	.destroy = console_free,
};

int console_create(struct loop *loop, const char *directory, struct console **console,
		   struct vmm_error *error)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return vmm_fail(error, -ENOMEM, "out of memory");
	c->backend.ops = &console_ops;
	c->loop = loop;
	c->in_call.callback = input_call;
	c->out_call.callback = output_call;
	c->out_timer.callback = output_due;
	snprintf(c->directory, sizeof(c->directory), "%s", directory);
	pthread_mutex_init(&c->lock, NULL);
	open_log(c);
	if (c->log_fd < 0) {
		int err = -errno;

		pthread_mutex_destroy(&c->lock);
		free(c);
		return vmm_fail(error, err, "cannot make %s/%s: %s", directory, RUNDIR_CONSOLE,
				strerror(-err));
	}
	*console = c;
	return 0;
}

struct char_backend *console_backend(struct console *console)
{
	return &console->backend;
}
