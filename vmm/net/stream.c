/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames over a stream socket, each behind its length as four bytes, big-endian. So two virtual
 * machines are joined (--net socket: ours, or QEMU's -netdev socket and stream), and so passt is
 * talked to, which gives the guest the host's own network without privilege.
 *
 * One side listens and the other connects; both may come in any order, and again. The guest's cable
 * is plugged in while there is a connection. A peer that talks nonsense is a peer that has gone.
 *
 * The stream carries finished frames of the wire's size, so the guest's large segments are cut here
 * and the peer's joined. passt is no wire: it ends TCP itself, and takes segments of any size.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/dev/virtio/virtqueue.h"
#include "vmm/net/frames.h"
#include "vmm/net/net.h"
#include "vmm/net/offload.h"
#include "vmm/util.h"

#define LENGTH_BYTES	4u

/* Once this much waits to be sent, the device has to wait too. */
#define OUT_LIMIT	(256u * 1024)
/* The most that one frame becomes: as many headers as there are smallest segments in it. */
#define OUT_WORST	((NET_MAX_FRAME / NET_MIN_GSO + 1) * \
			 (LENGTH_BYTES + NET_MAX_HEADERS + NET_MIN_GSO))
#define OUT_BYTES	(OUT_LIMIT + OUT_WORST)

#define IN_BYTES	(256u * 1024)
#define ROW_BYTES	(IN_BYTES + NET_MAX_FRAME)
#define ROW_FRAMES	(IN_BYTES / (LENGTH_BYTES + NET_MIN_FRAME) + 1)

#define RETRY_NS	200000000ull	/* between two attempts to connect */

struct net_stream {
	struct net_backend backend;
	struct loop *loop;
	const char *option;		/* "--net socket" or "--net passt", for messages */
	bool large;			/* the peer takes segments of any size */
	bool is_listener;
	struct sockaddr_storage address;
	socklen_t address_length;
	bool bound;			/* the socket in the file system is ours to remove */

	struct loop_fd listener;	/* fd is -1 where there is none */
	struct loop_fd peer;		/* fd is -1 without a connection */
	struct loop_timer retry;
	struct loop_call call;		/* the device has room again; or the peer is to be dropped */
	bool connecting;		/* the peer's descriptor waits for its connection */
	bool blocked;			/* the device has no room: nothing is read */
	bool waiting;			/* the device has a frame that did not go */
	bool failed;			/* the connection is of no use any more */

	struct net_frames row;		/* received */
	size_t in_length;		/* bytes in in[] */
	size_t out_start, out_end;	/* bytes in out[] that are to be sent */
	uint8_t *in, *out;
	uint8_t frame[NET_MAX_FRAME];	/* of the guest's, while it is worked on */
};

static struct net_stream *to_stream(struct net_backend *backend)
{
	return container_of(backend, struct net_stream, backend);
}

static void watch_events(struct net_stream *s)
{
	bool out = s->connecting || s->out_end > s->out_start;
	uint32_t events = (s->blocked ? 0 : EPOLLIN) | (out ? EPOLLOUT : 0);

	if (events != s->peer.events)
		loop_fd_set_events(&s->peer, events);
}

/* ------------------------------------------------------------------ connections */

static void tell_link(struct net_stream *s, bool up)
{
	if (s->backend.link_up == up)
		return;
	s->backend.link_up = up;
	if (s->backend.front)
		s->backend.front->link_changed(s->backend.front_data);
}

static void try_later(struct net_stream *s)
{
	if (!s->is_listener)
		loop_timer_set(s->loop, &s->retry, loop_now() + RETRY_NS);
}

/* The connection has ended, or never was. Not with the device's lock held. */
static void drop_peer(struct net_stream *s)
{
	bool waiting = s->waiting;

	loop_fd_del(&s->peer);
	if (s->peer.fd >= 0)
		close(s->peer.fd);
	s->peer.fd = -1;
	s->connecting = s->blocked = s->waiting = s->failed = false;
	s->in_length = 0;
	s->out_start = s->out_end = 0;
	net_frames_clear(&s->row);
	tell_link(s, false);
	/* What the guest sends now falls on the floor. */
	if (waiting)
		s->backend.front->writable(s->backend.front_data, 0);
	try_later(s);
}

static void peer_event(struct loop_fd *watch, uint32_t events);

/* Takes a descriptor that is connected, or about to be. Returns 0, or -errno and closes it. */
static int take_peer(struct net_stream *s, int fd, bool connecting)
{
	int on = 1, ret;

	if (s->address.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->peer.fd = fd;
	s->peer.events = connecting ? EPOLLOUT : EPOLLIN;
	s->peer.callback = peer_event;
	ret = loop_fd_add(s->loop, &s->peer);
	if (ret) {
		close(fd);
		s->peer.fd = -1;
		return ret;
	}
	s->connecting = connecting;
	if (!connecting)
		tell_link(s, true);
	return 0;
}

/* Returns 0 where the connection is there or under way, else -errno. */
static int connect_peer(struct net_stream *s)
{
	int fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return -errno;
	if (!connect(fd, (struct sockaddr *)&s->address, s->address_length))
		return take_peer(s, fd, false);
	if (errno == EINPROGRESS)
		return take_peer(s, fd, true);
	err = -errno;
	close(fd);
	return err;
}

static void retry(struct loop_timer *timer)
{
	struct net_stream *s = container_of(timer, struct net_stream, retry);

	if (connect_peer(s))
		try_later(s);
}

static void listener_event(struct loop_fd *watch, uint32_t events)
{
	struct net_stream *s = container_of(watch, struct net_stream, listener);
	int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	/* A cable has two ends: a third finds its connection closed. */
	if (s->peer.fd >= 0)
		close(fd);
	else
		take_peer(s, fd, false);
}

/* ------------------------------------------------------------------ sending */

/* Sends what there is. An error is noted, to be seen to without the device's lock. */
static void send_out(struct net_stream *s)
{
	while (s->out_start < s->out_end && !s->failed) {
		ssize_t n = send(s->peer.fd, s->out + s->out_start, s->out_end - s->out_start,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0) {
			s->out_start += (size_t)n;
		} else if (errno == EAGAIN || errno == EINTR) {
			break;
		} else {
			s->failed = true;
			loop_defer(s->loop, &s->call);
		}
	}
	if (s->out_start == s->out_end)
		s->out_start = s->out_end = 0;
	watch_events(s);
}

static void emit(void *arg, const void *headers, size_t header_length, const void *data,
		 size_t data_length)
{
	struct net_stream *s = arg;
	uint8_t *p = s->out + s->out_end;
	uint32_t length = htonl((uint32_t)(header_length + data_length));

	memcpy(p, &length, LENGTH_BYTES);
	p += LENGTH_BYTES;
	memcpy(p, headers, header_length);
	p += header_length;
	if (data_length)
		memcpy(p, data, data_length);
	s->out_end += LENGTH_BYTES + header_length + data_length;
}

static bool stream_send(struct net_backend *backend, unsigned int queue,
			const struct virtio_net_hdr *header, const struct iovec *iov,
			unsigned int count, size_t length)
{
	struct net_stream *s = to_stream(backend);

	if (!backend->link_up || s->failed)
		return true;
	if (s->out_end - s->out_start >= OUT_LIMIT) {
		s->waiting = true;
		return false;
	}
	if (OUT_BYTES - s->out_end < OUT_WORST) {
		memmove(s->out, s->out + s->out_start, s->out_end - s->out_start);
		s->out_end -= s->out_start;
		s->out_start = 0;
	}
	iov_read(iov, count, 0, s->frame, length);
	if (!s->large)
		net_segment(header, s->frame, length, emit, s);
	else if (net_finish(header, s->frame, length))
		emit(s, s->frame, length, NULL, 0);
	return true;
}

static void stream_flush(struct net_backend *backend)
{
	struct net_stream *s = to_stream(backend);

	if (s->out_end > s->out_start)
		send_out(s);
}

/* ------------------------------------------------------------------ receiving */

/* Takes the whole frames in in[] to the row. Returns false for what cannot be a frame. */
static bool parse(struct net_stream *s)
{
	size_t at = 0;
	bool good = true;

	while (s->in_length - at >= LENGTH_BYTES) {
		uint32_t length = net_get32(s->in + at);

		good = length <= NET_MAX_FRAME;
		if (!good || s->in_length - at - LENGTH_BYTES < length)
			break;
		net_frames_add(&s->row, s->in + at + LENGTH_BYTES, length);
		at += LENGTH_BYTES + length;
	}
	memmove(s->in, s->in + at, s->in_length - at);
	s->in_length -= at;
	return good;
}

/* Reads once. Returns false if the peer has gone. */
static bool receive(struct net_stream *s)
{
	ssize_t n = recv(s->peer.fd, s->in + s->in_length, IN_BYTES - s->in_length, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	s->in_length += (size_t)n;
	return n && parse(s);
}

/* Hands on what was received; where the device has no room, stops reading. */
static void deliver(struct net_stream *s)
{
	bool room = net_frames_deliver(&s->row, &s->backend, 0);

	if (room == s->blocked) {
		s->blocked = !room;
		watch_events(s);
	}
}

static void finish_connecting(struct net_stream *s)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(s->peer.fd, SOL_SOCKET, SO_ERROR, &error, &size) || error) {
		drop_peer(s);
		return;
	}
	s->connecting = false;
	watch_events(s);
	tell_link(s, true);
}

static void peer_event(struct loop_fd *watch, uint32_t events)
{
	struct net_stream *s = container_of(watch, struct net_stream, peer);
	bool good = true;

	if (s->connecting) {
		finish_connecting(s);
		return;
	}
	if (events & EPOLLIN && !s->blocked) {
		good = receive(s);
		/* Before it went, it may have said something. */
		deliver(s);
	} else if (events & (EPOLLERR | EPOLLHUP)) {
		good = false;
	}
	if (!good) {
		drop_peer(s);
		return;
	}
	if (events & EPOLLOUT)
		send_out(s);
	if (s->waiting && s->out_end - s->out_start < OUT_LIMIT / 2) {
		s->waiting = false;
		s->backend.front->writable(s->backend.front_data, 0);
	}
}

static void settle(struct loop_call *call)
{
	struct net_stream *s = container_of(call, struct net_stream, call);

	if (s->failed)
		drop_peer(s);
	else if (s->peer.fd >= 0 && !s->connecting)
		deliver(s);
}

static void stream_accept_input(struct net_backend *backend, unsigned int queue)
{
	struct net_stream *s = to_stream(backend);

	loop_defer(s->loop, &s->call);
}

static void stream_set_offloads(struct net_backend *backend, uint32_t offloads)
{
	to_stream(backend)->row.offloads = offloads;
}

/* ------------------------------------------------------------------ making one */

static void remove_socket(struct net_stream *s)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&s->address;

	if (s->bound && un->sun_family == AF_UNIX)
		unlink(un->sun_path);
}

static void stream_destroy(struct net_backend *backend)
{
	struct net_stream *s = to_stream(backend);

	loop_timer_cancel(&s->retry);
	loop_call_cancel(&s->call);
	loop_fd_del(&s->peer);
	loop_fd_del(&s->listener);
	if (s->peer.fd >= 0)
		close(s->peer.fd);
	if (s->listener.fd >= 0)
		close(s->listener.fd);
	remove_socket(s);
	net_frames_destroy(&s->row);
	free(s->in);
	free(s->out);
	free(s);
}

static const struct net_ops stream_ops = {
	.send = stream_send,
	.flush = stream_flush,
	.accept_input = stream_accept_input,
	.set_offloads = stream_set_offloads,
	.destroy = stream_destroy,
};

bool net_is_tcp(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
	       !strchr(address, '/');
}

static int set_tcp_address(struct net_stream *s, const char *text, struct vmm_error *error)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (s->is_listener ? AI_PASSIVE : 0),
	};
	const char *colon = strrchr(text, ':');
	struct addrinfo *found;
	char host[256];
	int ret;

	if ((size_t)(colon - text) >= sizeof(host))
		return vmm_fail(error, -ENAMETOOLONG, "%s: the name in '%s' is too long: give at "
				"most 255 characters", s->option, text);
	if (*text == '[' && colon > text + 1 && colon[-1] == ']')
		snprintf(host, sizeof(host), "%.*s", (int)(colon - text - 2), text + 1);
	else
		snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	ret = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &found);
	if (ret)
		return vmm_fail(error, -EINVAL, "%s: '%s': %s: give HOST:PORT, or a path with a "
				"slash in it", s->option, text, gai_strerror(ret));
	memcpy(&s->address, found->ai_addr, found->ai_addrlen);
	s->address_length = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int set_address(struct net_stream *s, const char *text, struct vmm_error *error)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&s->address;

	if (!s->large && net_is_tcp(text))
		return set_tcp_address(s, text, error);
	if (strlen(text) >= sizeof(un->sun_path))
		return vmm_fail(error, -ENAMETOOLONG, "%s: %s is too long for a socket: give a path "
				"of at most %zu characters", s->option, text,
				sizeof(un->sun_path) - 1);
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, text);
	s->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text) + 1);
	return 0;
}

/* A socket in the file system to which nobody listens any more is a dead machine's. */
static void remove_stale_socket(struct net_stream *s)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&s->address;
	struct stat st;
	int fd;

	if (un->sun_family != AF_UNIX || lstat(un->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&s->address, s->address_length) && errno == ECONNREFUSED)
		unlink(un->sun_path);
	close(fd);
}

static int start_listening(struct net_stream *s, const char *text, struct vmm_error *error)
{
	int fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, ret;

	if (fd < 0)
		goto out_errno;
	s->listener.fd = fd;
	remove_stale_socket(s);
	if (s->address.ss_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&s->address, s->address_length))
		goto out_errno;
	s->bound = true;
	if (listen(fd, 1))
		goto out_errno;
	s->listener.events = EPOLLIN;
	s->listener.callback = listener_event;
	ret = loop_fd_add(s->loop, &s->listener);
	return ret ? vmm_fail(error, ret, "%s: listen=%s: %s", s->option, text, strerror(-ret)) : 0;

out_errno:
	ret = -errno;
	return vmm_fail(error, ret, "%s: listen=%s: %s%s", s->option, text, strerror(-ret),
			ret == -EADDRINUSE ? "; give another, or connect=" : "");
}

static int start_connecting(struct net_stream *s, const char *text, bool patient,
			    struct vmm_error *error)
{
	int ret = connect_peer(s);

	if (ret && patient) {
		try_later(s);
		return 0;
	}
	return ret ? vmm_fail(error, ret, "%s: cannot connect to %s: %s; start passt first, as with "
			      "'passt --socket %s'", s->option, text, strerror(-ret), text) : 0;
}

int net_stream_create(struct loop *loop, const struct net_config *config,
		      struct net_backend **backend, struct vmm_error *error)
{
	bool is_passt = config->kind == NET_PASST;
	const char *text = is_passt ? config->path :
			   config->listen ? config->listen : config->connect;
	struct net_stream *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return vmm_fail(error, -ENOMEM, "--net: out of memory");
	s->backend = (struct net_backend){
		.ops = &stream_ops,
		.queues = 1,
		.sends = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN,
		.receives = NET_CSUM | NET_TSO4 | NET_TSO6,
	};
	s->loop = loop;
	s->option = is_passt ? "--net passt" : "--net socket";
	s->large = is_passt;
	s->is_listener = !is_passt && config->listen;
	s->listener.fd = s->peer.fd = -1;
	s->retry.callback = retry;
	s->call.callback = settle;
	s->in = malloc(IN_BYTES);
	s->out = malloc(OUT_BYTES);
	ret = s->in && s->out ? net_frames_init(&s->row, ROW_BYTES, ROW_FRAMES) : -ENOMEM;
	if (ret) {
		vmm_fail(error, ret, "%s: out of memory", s->option);
		goto out;
	}
	ret = set_address(s, text, error);
	if (ret)
		goto out;
	ret = s->is_listener ? start_listening(s, text, error) :
	      start_connecting(s, text, !is_passt, error);
	if (ret)
		goto out;
	*backend = &s->backend;
	return 0;
out:
	stream_destroy(&s->backend);
	return ret;
}
