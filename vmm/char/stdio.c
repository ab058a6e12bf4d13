/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The process's stdin and stdout as a guest's console.
 *
 * Output is taken into a ring at once and written out by the loop thread, in as few system calls
 * as the guest's speed allows; when the ring is full because nobody reads, the device is told so
 * and the guest sees a busy line. The descriptors are shared with other processes (the shell), so
 * they are not made non-blocking: they are opened anew where that is possible.
 */
#include "vmm/char/char.h"
#include "vmm/char/terminal.h"
#include "vmm/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#define OUTPUT_SIZE	65536
#define INPUT_SIZE	4096
#define ESCAPE		0x01		/* Ctrl-A */
#define LAST_WORDS_MS	1000
#define PACE_NS		1000000		/* output goes out this often at most, while it comes */

struct char_stdio {
	struct char_backend backend;
	struct loop *loop;
	void (*quit)(void *data);
	void *quit_data;
	bool terminal;			/* stdin is one: raw mode and the escape key */

	/* input: the loop thread's only */
	int in_fd;			/* -1 after the end of file */
	bool in_always;			/* not pollable (a plain file): always readable */
	struct loop_fd in_watch;
	struct loop_call in_call;	/* look whether the front has room */
	bool escaped;			/* the last byte was the escape */
	uint8_t input[INPUT_SIZE];	/* read, but without room in front */
	size_t input_start, input_end;
	struct loop_fd winch_watch;
	int winch_fd;

	/* output */
	int out_fd;
	bool out_opened;		/* out_fd is ours to close, and non-blocking */
	struct loop_fd out_watch;
	struct loop_call out_call;
	struct loop_timer out_timer;
	pthread_mutex_t lock;		/* protects the ring below; taken last */
	uint8_t output[OUTPUT_SIZE];
	size_t out_start, out_used;
	bool out_refused;		/* a write came back short */
	bool out_gone;			/* nobody can read any more */
	uint64_t out_time;		/* loop_now() when something was last written out */
};

/* ------------------------------------------------------------------ output */

static size_t append_output(struct char_stdio *s, const uint8_t *data, size_t length)
{
	size_t room = OUTPUT_SIZE - s->out_used;
	size_t at = (s->out_start + s->out_used) % OUTPUT_SIZE, first;

	if (length > room)
		length = room;
	first = length < OUTPUT_SIZE - at ? length : OUTPUT_SIZE - at;
	memcpy(s->output + at, data, first);
	memcpy(s->output, data + first, length - first);
	s->out_used += length;
	return length;
}

static size_t stdio_write(struct char_backend *backend, const uint8_t *data, size_t length)
{
	struct char_stdio *s = container_of(backend, struct char_stdio, backend);
	uint64_t due = 0, now = loop_now();
	size_t taken = length;
	bool was_empty = false;

	pthread_mutex_lock(&s->lock);
	if (!s->out_gone) {
		was_empty = !s->out_used;
		due = s->out_time + PACE_NS;
		taken = append_output(s, data, length);
		if (taken < length)
			s->out_refused = true;
	}
	pthread_mutex_unlock(&s->lock);
	/* A UART's guest gives one character at a time. The first goes out at once; those that
	 * follow closely go together, or each would wake the loop. */
	if (was_empty && taken && now >= due)
		loop_defer(s->loop, &s->out_call);
	else if (was_empty && taken)
		loop_timer_set(s->loop, &s->out_timer, due);
	return taken;
}

/* Writes what the descriptor takes now. Returns false where it takes no more for the moment. */
static bool flush_output(struct char_stdio *s)
{
	struct pollfd poll_out = { .fd = s->out_fd, .events = POLLOUT };
	size_t length;
	ssize_t done;

	pthread_mutex_lock(&s->lock);
	while (s->out_used && !s->out_gone) {
		length = s->out_used;
		if (length > OUTPUT_SIZE - s->out_start)
			length = OUTPUT_SIZE - s->out_start;
		/* One that may block is asked first, and given what it surely takes. */
		if (!s->out_opened) {
			if (poll(&poll_out, 1, 0) == 0)
				break;
			if (length > 512)
				length = 512;
		}
		done = write(s->out_fd, s->output + s->out_start, length);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN)
			break;
		if (done < 0) {
			s->out_gone = true;
			s->out_used = 0;
			break;
		}
		s->out_start = (s->out_start + done) % OUTPUT_SIZE;
		s->out_used -= done;
	}
	length = s->out_used;
	s->out_time = loop_now();
	pthread_mutex_unlock(&s->lock);
	return !length;
}

static void tell_writable(struct char_stdio *s)
{
	bool tell;

	pthread_mutex_lock(&s->lock);
	tell = s->out_refused && (s->out_gone || s->out_used <= OUTPUT_SIZE / 2);
	if (tell)
		s->out_refused = false;
	pthread_mutex_unlock(&s->lock);
	if (tell && s->backend.front)
		s->backend.front->writable(s->backend.front_data);
}

static void output_step(struct char_stdio *s)
{
	bool all = flush_output(s);

	if (all)
		loop_fd_del(&s->out_watch);
	else if (!s->out_watch.loop && loop_fd_add(s->loop, &s->out_watch))
		loop_defer(s->loop, &s->out_call);	/* not pollable, so never full for long */
	tell_writable(s);
}

static void output_call(struct loop_call *call)
{
	output_step(container_of(call, struct char_stdio, out_call));
}

static void output_due(struct loop_timer *timer)
{
	output_step(container_of(timer, struct char_stdio, out_timer));
}

static void output_ready(struct loop_fd *watch, uint32_t events)
{
	output_step(container_of(watch, struct char_stdio, out_watch));
}

/* ------------------------------------------------------------------ input */

static void say(struct char_stdio *s, const char *text)
{
	stdio_write(&s->backend, (const uint8_t *)text, strlen(text));
}

/*
 * Takes the escape sequences out of what was read, in place. Returns the length that is left for
 * the guest.
 */
static size_t filter_escapes(struct char_stdio *s, uint8_t *data, size_t length)
{
	size_t kept = 0;

	for (size_t i = 0; i < length; i++) {
		uint8_t c = data[i];

		if (!s->escaped) {
			if (c == ESCAPE)
				s->escaped = true;
			else
				data[kept++] = c;
			continue;
		}
		s->escaped = false;
		switch (c) {
		case 'x':
		case 'X':
			s->quit(s->quit_data);
			break;
		case 'a':
		case 'A':
		case ESCAPE:
			data[kept++] = ESCAPE;
			break;
		default:
			say(s, "\r\nCtrl-A x  leave: end the virtual machine\r\n"
			       "Ctrl-A a  send a Ctrl-A to the guest\r\n"
			       "Ctrl-A h  this help\r\n");
		}
	}
	return kept;
}

/* Hands over what was read, as far as there is room. Returns true when all is handed over. */
static bool deliver(struct char_stdio *s)
{
	const struct char_front *front = s->backend.front;
	size_t length = s->input_end - s->input_start, room;

	if (length && front) {
		room = front->room(s->backend.front_data);
		if (room > length)
			room = length;
		if (room)
			front->input(s->backend.front_data, s->input + s->input_start, room);
		s->input_start += room;
		length -= room;
	}
	if (!length)
		s->input_start = s->input_end = 0;
	return !length;
}

/*
 * A terminal is read at all times, for the escape key has to work when the guest reads nothing;
 * what the guest then has no room for is lost, as on a serial line. A pipe or a file waits.
 */
static void input_step(struct char_stdio *s)
{
	uint8_t *to;
	ssize_t length;

	if (!deliver(s) && !s->terminal)
		return;
	memmove(s->input, s->input + s->input_start, s->input_end - s->input_start);
	s->input_end -= s->input_start;
	s->input_start = 0;
	if (s->input_end == INPUT_SIZE)
		s->input_end = 0;
	to = s->input + s->input_end;
	length = read(s->in_fd, to, INPUT_SIZE - s->input_end);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (length <= 0) {		/* an end of file, or a terminal that hung up */
		s->in_fd = -1;
		return;
	}
	s->input_end += s->terminal ? filter_escapes(s, to, length) : (size_t)length;
	deliver(s);
}

/* Watches stdin exactly while it is to be read: otherwise it would keep the loop spinning. */
static void input_arm(struct char_stdio *s)
{
	bool wanted = s->in_fd >= 0 && (s->terminal || !s->input_end);

	if (!wanted) {
		loop_fd_del(&s->in_watch);
	} else if (s->in_always) {
		loop_defer(s->loop, &s->in_call);
	} else if (!s->in_watch.loop && loop_fd_add(s->loop, &s->in_watch) == -EPERM) {
		s->in_always = true;
		loop_defer(s->loop, &s->in_call);
	}
}

static void input_ready(struct loop_fd *watch, uint32_t events)
{
	struct char_stdio *s = container_of(watch, struct char_stdio, in_watch);

	input_step(s);
	input_arm(s);
}

static void input_call(struct loop_call *call)
{
	struct char_stdio *s = container_of(call, struct char_stdio, in_call);

	if (deliver(s) && s->in_always && s->in_fd >= 0)
		input_step(s);
	input_arm(s);
}

static void stdio_accept_input(struct char_backend *backend)
{
	struct char_stdio *s = container_of(backend, struct char_stdio, backend);

	loop_defer(s->loop, &s->in_call);
}

/* ------------------------------------------------------------------ the window */

static void stdio_size(struct char_backend *backend, unsigned int *columns, unsigned int *rows)
{
	struct winsize size;

	*columns = *rows = 0;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size)) {
		*columns = size.ws_col;
		*rows = size.ws_row;
	}
}

static void window_changed(struct loop_fd *watch, uint32_t events)
{
	struct char_stdio *s = container_of(watch, struct char_stdio, winch_watch);
	struct signalfd_siginfo info;
	unsigned int columns, rows;

	if (read(s->winch_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (!s->backend.front || !s->backend.front->resized)
		return;
	stdio_size(&s->backend, &columns, &rows);
	s->backend.front->resized(s->backend.front_data, columns, rows);
}

/* ------------------------------------------------------------------ beginning and end */

static void stdio_destroy(struct char_backend *backend)
{
	struct char_stdio *s = container_of(backend, struct char_stdio, backend);
	struct pollfd poll_out = { .fd = s->out_fd, .events = POLLOUT };

	loop_fd_del(&s->in_watch);
	loop_call_cancel(&s->in_call);
	loop_fd_del(&s->out_watch);
	loop_call_cancel(&s->out_call);
	loop_timer_cancel(&s->out_timer);
	loop_fd_del(&s->winch_watch);
	/* As long as somebody reads at all. */
	while (!flush_output(s) && poll(&poll_out, 1, LAST_WORDS_MS) > 0)
		;
	if (s->terminal)
		terminal_restore();
	if (s->out_opened)
		close(s->out_fd);
	if (s->winch_fd >= 0)
		close(s->winch_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct char_ops stdio_ops = {
	.write = stdio_write,
	.accept_input = stdio_accept_input,
	.size = stdio_size,
	.destroy = stdio_destroy,
};

/* A description of stdout of our own, so that O_NONBLOCK is not the shell's too. Plain files never
 * block, and must keep their shared offset; sockets cannot be opened anew. */
static void open_output(struct char_stdio *s)
{
	struct stat st;

	s->out_fd = STDOUT_FILENO;
	if (fstat(STDOUT_FILENO, &st) || !(S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)))
		return;
	s->out_fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (s->out_fd >= 0)
		s->out_opened = true;
	else
		s->out_fd = STDOUT_FILENO;
}

/* The machine's owner has SIGWINCH blocked in all threads, as a signalfd needs. */
static void open_window(struct char_stdio *s)
{
	sigset_t winch;

	sigemptyset(&winch);
	sigaddset(&winch, SIGWINCH);
	s->winch_fd = signalfd(-1, &winch, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->winch_fd < 0)
		return;
	s->winch_watch = (struct loop_fd){
		.fd = s->winch_fd, .events = EPOLLIN, .callback = window_changed,
	};
	loop_fd_add(s->loop, &s->winch_watch);
}

int char_stdio_create(struct loop *loop, void (*quit)(void *data), void *quit_data,
		      struct char_backend **backend, struct vmm_error *error)
{
	struct char_stdio *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return vmm_fail(error, -ENOMEM, "out of memory");
	s->backend.ops = &stdio_ops;
	s->loop = loop;
	s->quit = quit;
	s->quit_data = quit_data;
	pthread_mutex_init(&s->lock, NULL);
	s->in_call.callback = input_call;
	s->out_call.callback = output_call;
	s->out_timer.callback = output_due;
	s->in_fd = fcntl(STDIN_FILENO, F_GETFD) < 0 ? -1 : STDIN_FILENO;
	s->in_watch = (struct loop_fd){
		.fd = STDIN_FILENO, .events = EPOLLIN, .callback = input_ready,
	};
	s->winch_fd = -1;
	s->terminal = s->in_fd >= 0 && isatty(STDIN_FILENO);
	if (s->terminal) {
		err = terminal_raw(STDIN_FILENO);
		if (err) {
			pthread_mutex_destroy(&s->lock);
			free(s);
			return vmm_fail(error, err, "cannot put the terminal into raw mode: %s",
					strerror(-err));
		}
		open_window(s);
	}
	open_output(s);
	s->out_watch = (struct loop_fd){
		.fd = s->out_fd, .events = EPOLLOUT, .callback = output_ready,
	};
	*backend = &s->backend;
	return 0;
}
