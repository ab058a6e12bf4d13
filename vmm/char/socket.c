/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A character backend that is a Unix socket: it listens, and talks to one program at a time. Others
 * wait in the socket's queue until that one has gone. While there is none, output is dropped.
 */
#include "vmm/char/char.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/char/local_socket.h"
#include "vmm/util.h"

#define READ_LIMIT 4096

struct char_socket {
	struct char_backend backend;
	struct loop *loop;
	char *path;
	struct loop_fd listener;
	struct loop_call accept_call;	/* there is room for input again */
	/* A leaf, but for the loop's own: protects client.fd and what it is watched for, against
	 * writers on other threads. Both change on the loop thread only. */
	pthread_mutex_t lock;
	struct loop_fd client;		/* fd -1: nobody is there */
};

static struct char_socket *to_socket(struct char_backend *backend)
{
	return container_of(backend, struct char_socket, backend);
}

/* Lock held. */
static void watch_for(struct char_socket *s, uint32_t events, bool on)
{
	events = on ? s->client.events | events : s->client.events & ~events;
	if (s->client.fd >= 0 && events != s->client.events)
		loop_fd_set_events(&s->client, events);
}

static void tell_connected(struct char_socket *s, bool connected)
{
	const struct char_front *front = s->backend.front;

	if (front && front->connected)
		front->connected(s->backend.front_data, connected);
}

/* On the loop thread, as all that follows but socket_write. */
static void disconnect(struct char_socket *s)
{
	pthread_mutex_lock(&s->lock);
	loop_fd_del(&s->client);
	close(s->client.fd);
	s->client.fd = -1;
	pthread_mutex_unlock(&s->lock);
	tell_connected(s, false);
	/* What the device had left over for it goes the way of all output now. */
	if (s->backend.front)
		s->backend.front->writable(s->backend.front_data);
	loop_fd_set_events(&s->listener, EPOLLIN);
}

static void read_client(struct char_socket *s)
{
	uint8_t data[READ_LIMIT];
	size_t room = s->backend.front ? s->backend.front->room(s->backend.front_data) : 0;
	ssize_t n;

	if (!room) {
		pthread_mutex_lock(&s->lock);
		watch_for(s, EPOLLIN, false);
		pthread_mutex_unlock(&s->lock);
		return;
	}
	n = recv(s->client.fd, data, room < sizeof(data) ? room : sizeof(data), MSG_DONTWAIT);
	if (n > 0)
		s->backend.front->input(s->backend.front_data, data, (size_t)n);
	else if (!n || (errno != EAGAIN && errno != EINTR))
		disconnect(s);
}

static void client_event(struct loop_fd *watch, uint32_t events)
{
	struct char_socket *s = container_of(watch, struct char_socket, client);

	if (events & EPOLLOUT) {
		pthread_mutex_lock(&s->lock);
		watch_for(s, EPOLLOUT, false);
		pthread_mutex_unlock(&s->lock);
		if (s->backend.front)
			s->backend.front->writable(s->backend.front_data);
	}
	if (events & EPOLLIN)
		read_client(s);
	/* Gone, and what it wrote before was read, or cannot be taken now: it is reported over and
	 * over, so it ends here. */
	else if (events & (EPOLLHUP | EPOLLERR))
		disconnect(s);
}

static void accept_client(struct loop_fd *watch, uint32_t events)
{
	struct char_socket *s = container_of(watch, struct char_socket, listener);
	int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	pthread_mutex_lock(&s->lock);
	s->client.fd = fd;
	s->client.events = EPOLLIN;
	if (loop_fd_add(s->loop, &s->client)) {
		close(fd);
		s->client.fd = fd = -1;
	}
	pthread_mutex_unlock(&s->lock);
	if (fd < 0)
		return;
	loop_fd_set_events(&s->listener, 0);
	tell_connected(s, true);
}

static void accept_input_call(struct loop_call *call)
{
	struct char_socket *s = container_of(call, struct char_socket, accept_call);

	pthread_mutex_lock(&s->lock);
	watch_for(s, EPOLLIN, true);
	pthread_mutex_unlock(&s->lock);
}

/* ------------------------------------------------------------------ operations */

static size_t socket_write(struct char_backend *backend, const uint8_t *data, size_t length)
{
	struct char_socket *s = to_socket(backend);
	ssize_t n;

	pthread_mutex_lock(&s->lock);
	n = s->client.fd < 0 ? (ssize_t)length :
	    send(s->client.fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		n = 0;
		watch_for(s, EPOLLOUT, true);
	} else if (n < 0) {
		/* The loop thread will see that it is gone. */
		n = (ssize_t)length;
	} else if ((size_t)n < length) {
		watch_for(s, EPOLLOUT, true);
	}
	pthread_mutex_unlock(&s->lock);
	return (size_t)n;
}

static void socket_accept_input(struct char_backend *backend)
{
	struct char_socket *s = to_socket(backend);

	loop_defer(s->loop, &s->accept_call);
}

static void socket_size(struct char_backend *backend, unsigned int *columns, unsigned int *rows)
{
	*columns = *rows = 0;
}

static void socket_destroy(struct char_backend *backend)
{
	struct char_socket *s = to_socket(backend);

	loop_call_cancel(&s->accept_call);
	loop_fd_del(&s->listener);
	loop_fd_del(&s->client);
	if (s->client.fd >= 0)
		close(s->client.fd);
	close(s->listener.fd);
	unlink(s->path);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

static const struct char_ops socket_ops = {
	.write = socket_write,
	.accept_input = socket_accept_input,
	.size = socket_size,
	.destroy = socket_destroy,
};

int char_socket_create(struct loop *loop, const char *path, const char *what,
		       struct char_backend **backend, struct vmm_error *error)
{
	struct char_socket *s = calloc(1, sizeof(*s));
	int ret;

	if (s)
		s->path = strdup(path);
	if (!s || !s->path) {
		free(s);
		return vmm_fail(error, -ENOMEM, "%s: out of memory", what);
	}
	s->backend.ops = &socket_ops;
	s->loop = loop;
	s->accept_call.callback = accept_input_call;
	s->client = (struct loop_fd){ .fd = -1, .callback = client_event };
	s->listener = (struct loop_fd){ .events = EPOLLIN, .callback = accept_client };
	pthread_mutex_init(&s->lock, NULL);
	s->listener.fd = local_socket_listen(path, what, error);
	ret = s->listener.fd < 0 ? s->listener.fd : loop_fd_add(loop, &s->listener);
	if (!ret) {
		*backend = &s->backend;
		return 0;
	}
	vmm_fail(error, ret, "%s: %s", what, strerror(-ret));
	if (s->listener.fd >= 0) {
		close(s->listener.fd);
		unlink(path);
	}
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
	return ret;
}
