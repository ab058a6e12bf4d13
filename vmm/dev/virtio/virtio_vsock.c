/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio socket device (virtio 1.2, section 5.10): stream sockets between the guest and programs on
 * the host, which meet it at Unix sockets.
 *
 * A guest's program that connects to address 2 (the host), port P, gets to the Unix socket PATH_P.
 * A program on the host connects to PATH and writes "CONNECT P\n"; it is connected to the guest's
 * port P once it reads "OK n\n". This is Firecracker's convention, for which there are tools.
 *
 * Flow control. Each side says how much it is ready to hold for a connection, and how much of what
 * it got it has passed on (5.10.6.3). What comes from the guest goes to its Unix socket at once, or
 * waits in a buffer of BUFFER_SIZE here; a guest that sends more than that is disconnected. What
 * comes from a Unix socket is read when the guest has both room and a buffer for it, straight into
 * that buffer. Answers to packets that belong to no connection are kept in a short list; while it
 * is full, no packets are taken. So nothing here grows by what either side does.
 *
 * Everything is done on the loop thread with the device's lock held, except a reset, which may come
 * on a vCPU's: it only sets connections aside, and the loop thread closes them.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/block/block.h"
#include "vmm/char/local_socket.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

enum { RX, TX, EVENT, QUEUES };

#define QUEUE_SIZE	256
#define HOST_CID	2
#define DEFAULT_CID	3
#define HEADER_SIZE	sizeof(struct virtio_vsock_hdr)

#define MAX_CONNECTIONS	512
#define BUFFER_SIZE	(128u * 1024)
#define MAX_REFUSALS	64
#define GREETING_SIZE	24	/* "CONNECT 4294967295\n" and a bit */
#define FIRST_HOST_PORT	(1u << 30)

#define SHUTDOWN_BOTH	(VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum state {
	GREETING,	/* a host's program is about to say which port it wants */
	REQUESTED,	/* the guest has been asked */
	CONNECTED,
	DRAINING,	/* the guest has forgotten it; what it sent is still delivered */
	DEAD,		/* to be freed by reap() */
};

/* What is to be told to the guest, in this order. */
enum {
	TELL_REQUEST = 1 << 0,
	TELL_RESPONSE = 1 << 1,
	TELL_RESET = 1 << 2,		/* ends it */
	TELL_CREDIT = 1 << 3,
	TELL_SHUTDOWN = 1 << 4,
	TELL_CREDIT_REQUEST = 1 << 5,
};

struct connection {
	struct connection *next;
	struct virtio_vsock *vs;
	enum state state;
	struct loop_fd watch;		/* fd is the Unix socket; -1: closed */
	uint32_t host_port, guest_port;
	unsigned int tell;
	char greeting[GREETING_SIZE];
	unsigned int greeting_length;

	/* From the host's program to the guest. */
	bool readable;			/* there is something, or the end, to read */
	bool hung_up;			/* the program has closed it: watched no more */
	unsigned int shutdown;		/* what the guest is to know, or knows */
	uint32_t sent;			/* bytes that the guest got, modulo 2^32 */
	uint32_t guest_alloc;		/* what it holds at most… */
	uint32_t guest_forwarded;	/* …beyond so many that it passed on */

	/* From the guest to the program. */
	unsigned int guest_shutdown;	/* what the guest will not do any more */
	uint8_t *buffer;		/* a ring of BUFFER_SIZE; NULL until needed */
	uint32_t first, used;
	uint32_t forwarded;		/* bytes that the program's socket got */
	uint32_t told;			/* how many of them the guest knows of */
	bool write_shut;
};

struct refusal {
	uint32_t host_port, guest_port;
	uint64_t host_cid;		/* that the guest thought to reach */
	uint16_t type;
};

struct virtio_vsock {
	struct virtio_device vdev;
	struct virtio_vsock_config config;
	char *path;
	struct loop_fd listener;
	struct loop_call reap;
	struct connection *connections;
	unsigned int count;		/* of them, dead ones too */
	uint32_t next_port;
	struct refusal refusals[MAX_REFUSALS];	/* a ring */
	unsigned int first_refusal, refusal_count;
	bool transport_reset;		/* the guest is to learn that its connections are gone */
	uint64_t saved_cid;
	struct iovec iov[VIRTQUEUE_MAX_IOV];
	struct iovec slice[VIRTQUEUE_MAX_IOV];
};

static struct virtio_vsock *to_vsock(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_vsock, vdev);
}

/* ------------------------------------------------------------------ connections */

static bool known_to_guest(const struct connection *c)
{
	return c->state == REQUESTED || c->state == CONNECTED;
}

static struct connection *find(struct virtio_vsock *vs, uint32_t host_port, uint32_t guest_port)
{
	struct connection *c = vs->connections;

	while (c && !(known_to_guest(c) && c->host_port == host_port &&
		      c->guest_port == guest_port))
		c = c->next;
	return c;
}

/* On any thread: leaves the rest to reap(). */
static void bury(struct connection *c)
{
	c->state = DEAD;
	c->tell = 0;
	loop_defer(c->vs->vdev.machine->loop, &c->vs->reap);
}

/* Frees the dead ones. On the loop thread. */
static void reap(struct loop_call *call)
{
	struct virtio_vsock *vs = container_of(call, struct virtio_vsock, reap);
	struct connection **at = &vs->connections;

	pthread_mutex_lock(vs->vdev.lock);
	while (*at) {
		struct connection *c = *at;

		if (c->state != DEAD) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		vs->count--;
		loop_fd_del(&c->watch);
		close(c->watch.fd);
		free(c->buffer);
		free(c);
	}
	pthread_mutex_unlock(vs->vdev.lock);
}

static void socket_event(struct loop_fd *watch, uint32_t events);

/* A place is found at the cost of one that only waits for the guest's last word. */
static bool make_room(struct virtio_vsock *vs)
{
	struct connection *c = vs->connections;

	if (vs->count < MAX_CONNECTIONS)
		return true;
	while (c && !(c->hung_up && c->shutdown == SHUTDOWN_BOTH && !c->tell))
		c = c->next;
	if (c)
		bury(c);
	return false;
}

/* Takes over the socket, also on failure. */
static struct connection *add_connection(struct virtio_vsock *vs, int fd, enum state state)
{
	struct connection *c = make_room(vs) ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		close(fd);
		return NULL;
	}
	c->vs = vs;
	c->state = state;
	c->watch = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .callback = socket_event };
	if (loop_fd_add(vs->vdev.machine->loop, &c->watch)) {
		close(fd);
		free(c);
		return NULL;
	}
	c->next = vs->connections;
	vs->connections = c;
	vs->count++;
	return c;
}

/* Ends it on both sides. */
static void reset_connection(struct connection *c)
{
	if (known_to_guest(c))
		c->tell = TELL_RESET;
	else
		bury(c);
}

/* What the socket is watched for, as things stand. */
static void watch_socket(struct connection *c)
{
	uint32_t events = c->used ? EPOLLOUT : 0;

	if (c->hung_up || c->state == DEAD)
		return;
	if (c->state == GREETING)
		events |= EPOLLIN;
	if (c->state == CONNECTED && !c->readable &&
	    !((c->shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) |
	      (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)))
		events |= EPOLLIN;
	if (events != c->watch.events)
		loop_fd_set_events(&c->watch, events);
}

/* Sees whether both sides are done, and all is delivered. */
static void check_end(struct connection *c)
{
	bool guest_done = c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND;
	bool host_done = (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) |
			 (c->shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND && !(c->tell & TELL_SHUTDOWN));

	if (c->used)
		return;
	if (c->state == DRAINING) {
		bury(c);
	} else if (c->state == CONNECTED && guest_done) {
		if (!c->write_shut)
			shutdown(c->watch.fd, SHUT_WR);
		c->write_shut = true;
		if (host_done)
			reset_connection(c);
	}
}

/* The program has closed its end: the guest cannot send either. */
static void hang_up(struct connection *c)
{
	/* It would be reported again and again. What it wrote before can still be read. */
	loop_fd_del(&c->watch);
	c->hung_up = true;
	c->used = 0;
	switch (c->state) {
	case CONNECTED:
		c->readable = true;
		if (!(c->shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)) {
			c->shutdown |= VIRTIO_VSOCK_SHUTDOWN_RCV;
			c->tell |= TELL_SHUTDOWN;
		}
		break;
	case REQUESTED:
		reset_connection(c);
		break;
	default:
		bury(c);
	}
}

/* ------------------------------------------------------------------ from the guest */

static void count_forwarded(struct connection *c, uint32_t bytes)
{
	c->forwarded += bytes;
	/* Early enough that the guest need not stop and ask. */
	if (c->forwarded - c->told >= BUFFER_SIZE / 2)
		c->tell |= TELL_CREDIT;
}

/* Sends what the buffer holds. */
static void drain(struct connection *c)
{
	while (c->used) {
		uint32_t length = BUFFER_SIZE - c->first;
		ssize_t ret;

		if (length > c->used)
			length = c->used;
		ret = send(c->watch.fd, c->buffer + c->first, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (ret < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (ret < 0) {
			hang_up(c);
			return;
		}
		c->first = (c->first + (uint32_t)ret) % BUFFER_SIZE;
		c->used -= (uint32_t)ret;
		count_forwarded(c, (uint32_t)ret);
	}
	check_end(c);
}

/* Keeps length bytes of the chain from byte skip on. */
static bool keep(struct connection *c, const struct virtqueue_chain *chain, uint64_t skip,
		 uint32_t length)
{
	if (!length)
		return true;
	if (!c->buffer)
		c->buffer = malloc(BUFFER_SIZE);
	if (!c->buffer || length > BUFFER_SIZE - c->used)
		return false;
	while (length) {
		uint32_t at = (c->first + c->used) % BUFFER_SIZE;
		uint32_t n = BUFFER_SIZE - at < length ? BUFFER_SIZE - at : length;

		iov_read(chain->iov, chain->out_count, skip, c->buffer + at, n);
		skip += n;
		c->used += n;
		length -= n;
	}
	return true;
}

static void take_data(struct connection *c, const struct virtqueue_chain *chain, uint32_t length)
{
	struct virtio_vsock *vs = c->vs;
	uint64_t skip = HEADER_SIZE;
	struct msghdr message = { .msg_iov = vs->slice };
	ssize_t ret = 0;

	if (c->state != CONNECTED || c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND ||
	    chain->out_bytes - HEADER_SIZE < length || length > BUFFER_SIZE - c->used) {
		reset_connection(c);
		return;
	}
	/* To a program that is gone: as if it were read. The guest knows, or will soon. */
	if (c->hung_up) {
		count_forwarded(c, length);
		return;
	}
	if (!c->used && length) {
		message.msg_iovlen = iov_slice(vs->slice, chain->iov, chain->out_count, skip,
					       length);
		ret = sendmsg(c->watch.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (ret < 0 && errno != EAGAIN && errno != EINTR) {
			hang_up(c);
			return;
		}
		if (ret > 0)
			count_forwarded(c, (uint32_t)ret);
	}
	ret = ret < 0 ? 0 : ret;
	if (!keep(c, chain, skip + (uint64_t)ret, length - (uint32_t)ret))
		reset_connection(c);
}

static void refuse(struct virtio_vsock *vs, const struct virtio_vsock_hdr *hdr)
{
	unsigned int i = (vs->first_refusal + vs->refusal_count) % MAX_REFUSALS;

	/* 5.10.6.4.1: an answer to a reset would be answered in turn. process_tx() sees to it
	 * that there is a place. */
	if (hdr->op == VIRTIO_VSOCK_OP_RST)
		return;
	vs->refusals[i] = (struct refusal){
		.host_port = hdr->dst_port, .guest_port = hdr->src_port,
		.host_cid = hdr->dst_cid, .type = hdr->type,
	};
	vs->refusal_count++;
}

/* A program in the guest wants to talk to one on the host. */
static void guest_connects(struct virtio_vsock *vs, const struct virtio_vsock_hdr *hdr)
{
	struct connection *c = NULL;
	char *path;
	int fd;

	if (asprintf(&path, "%s_%" PRIu32, vs->path, hdr->dst_port) < 0) {
		refuse(vs, hdr);
		return;
	}
	fd = local_socket_connect(path);
	free(path);
	if (fd >= 0)
		c = add_connection(vs, fd, CONNECTED);
	if (!c) {
		refuse(vs, hdr);
		return;
	}
	c->host_port = hdr->dst_port;
	c->guest_port = hdr->src_port;
	c->guest_alloc = hdr->buf_alloc;
	c->guest_forwarded = hdr->fwd_cnt;
	c->tell = TELL_RESPONSE;
}

static void guest_accepts(struct connection *c)
{
	char line[32];
	int length = snprintf(line, sizeof(line), "OK %" PRIu32 "\n", c->host_port);

	if (c->state != REQUESTED) {
		reset_connection(c);
		return;
	}
	c->state = CONNECTED;
	/* The first bytes in a fresh socket: it has room for them. */
	if (send(c->watch.fd, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) != length)
		hang_up(c);
}

static void guest_resets(struct connection *c)
{
	c->tell = 0;
	c->state = c->used ? DRAINING : DEAD;
	if (c->state == DEAD)
		bury(c);
	else
		watch_socket(c);
}

static void handle(struct virtio_vsock *vs, const struct virtqueue_chain *chain)
{
	struct virtio_vsock_hdr hdr;
	struct connection *c;

	/* 5.10.6.4: what is no packet, or not from this guest, is dropped. */
	if (chain->out_bytes < sizeof(hdr))
		return;
	iov_read(chain->iov, chain->out_count, 0, &hdr, sizeof(hdr));
	if (hdr.src_cid != vs->config.guest_cid)
		return;
	if (hdr.type != VIRTIO_VSOCK_TYPE_STREAM || hdr.dst_cid != HOST_CID) {
		refuse(vs, &hdr);
		return;
	}
	c = find(vs, hdr.dst_port, hdr.src_port);
	if (!c) {
		if (hdr.op == VIRTIO_VSOCK_OP_REQUEST)
			guest_connects(vs, &hdr);
		else
			refuse(vs, &hdr);
		return;
	}
	/* One that is about to be reset only waits for that to be told. */
	if (c->tell & TELL_RESET && hdr.op != VIRTIO_VSOCK_OP_RST)
		return;
	c->guest_alloc = hdr.buf_alloc;
	c->guest_forwarded = hdr.fwd_cnt;
	c->tell &= ~(unsigned int)TELL_CREDIT_REQUEST;
	switch (hdr.op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		guest_accepts(c);
		break;
	case VIRTIO_VSOCK_OP_RST:
		guest_resets(c);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		c->guest_shutdown |= hdr.flags & SHUTDOWN_BOTH;
		break;
	case VIRTIO_VSOCK_OP_RW:
		take_data(c, chain, hdr.len);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->tell |= TELL_CREDIT;
		break;
	default:
		reset_connection(c);
	}
	check_end(c);
	watch_socket(c);
}

static void process_tx(struct virtio_vsock *vs)
{
	struct virtqueue_chain chain = { .iov = vs->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	unsigned int n;

	/* Each packet may need a refusal. When there is no place for one, pump() comes back. */
	for (n = 0; n < VIRTIO_BATCH && vs->refusal_count < MAX_REFUSALS &&
		    virtio_queue_pop(&vs->vdev, TX, &chain); n++) {
		handle(vs, &chain);
		virtqueue_push(&vs->vdev.queues[TX].vq, chain.head, 0);
	}
	if (n == VIRTIO_BATCH)
		virtio_queue_kick(&vs->vdev, TX);
}

/* ------------------------------------------------------------------ to the guest */

static void send_packet(struct virtio_vsock *vs, const struct virtqueue_chain *chain,
			struct virtio_vsock_hdr *hdr)
{
	iov_write(chain->iov + chain->out_count, chain->in_count, 0, hdr, sizeof(*hdr));
	virtqueue_push(&vs->vdev.queues[RX].vq, chain->head, (uint32_t)sizeof(*hdr) + hdr->len);
}

/* A buffer of the guest's for a packet. False: there is none now. */
static bool get_buffer(struct virtio_vsock *vs, struct virtqueue_chain *chain)
{
	if (!virtio_is_running(&vs->vdev) || !vs->vdev.queues[RX].vq.enabled ||
	    !virtio_queue_pop(&vs->vdev, RX, chain))
		return false;
	if (chain->in_bytes >= sizeof(struct virtio_vsock_hdr))
		return true;
	/* 5.10.6.4.2: it has to hold a header. */
	virtqueue_unpop(&vs->vdev.queues[RX].vq);
	virtio_device_broken(&vs->vdev);
	return false;
}

static bool send_refusal(struct virtio_vsock *vs, struct virtqueue_chain *chain)
{
	const struct refusal *r = &vs->refusals[vs->first_refusal];
	struct virtio_vsock_hdr hdr = {
		.src_cid = r->host_cid, .dst_cid = vs->config.guest_cid,
		.src_port = r->host_port, .dst_port = r->guest_port,
		.type = r->type, .op = VIRTIO_VSOCK_OP_RST,
	};

	if (!get_buffer(vs, chain))
		return false;
	if (vs->refusal_count-- == MAX_REFUSALS)
		virtio_queue_kick(&vs->vdev, TX);
	vs->first_refusal = (vs->first_refusal + 1) % MAX_REFUSALS;
	send_packet(vs, chain, &hdr);
	return true;
}

static uint32_t credit(const struct connection *c)
{
	uint32_t held = c->sent - c->guest_forwarded;

	return held < c->guest_alloc ? c->guest_alloc - held : 0;
}

/* The next thing to tell, as an operation; 0: nothing but data. */
static uint16_t next_operation(struct connection *c)
{
	static const struct { unsigned int bit; uint16_t op; } order[] = {
		{ TELL_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
		{ TELL_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
		{ TELL_RESET, VIRTIO_VSOCK_OP_RST },
		{ TELL_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
		{ TELL_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
		{ TELL_CREDIT_REQUEST, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++)
		if (c->tell & order[i].bit) {
			c->tell &= ~order[i].bit;
			return order[i].op;
		}
	return 0;
}

static bool has_data(const struct connection *c)
{
	return c->state == CONNECTED && c->readable &&
	       !(c->shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
	       !(c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* Reads the socket into the guest's buffer. Returns the bytes, 0 where none came. */
static uint32_t read_socket(struct connection *c, const struct virtqueue_chain *chain)
{
	uint64_t room = chain->in_bytes - HEADER_SIZE;
	struct msghdr message = { .msg_iov = c->vs->slice };
	ssize_t ret;

	if (room > credit(c))
		room = credit(c);
	if (!room)
		return 0;
	message.msg_iovlen = iov_slice(c->vs->slice, chain->iov + chain->out_count,
				       chain->in_count, HEADER_SIZE, room);
	do
		ret = recvmsg(c->watch.fd, &message, MSG_DONTWAIT);
	while (ret < 0 && errno == EINTR);
	if (ret > 0)
		return (uint32_t)ret;
	c->readable = false;
	if (!ret || errno != EAGAIN) {
		c->shutdown |= VIRTIO_VSOCK_SHUTDOWN_SEND;
		c->tell |= TELL_SHUTDOWN;
	}
	return 0;
}

/* Sends one packet for the connection. False: there was none to send, or no buffer for it. */
static bool send_next(struct connection *c, struct virtqueue_chain *chain)
{
	struct virtio_vsock *vs = c->vs;
	struct virtio_vsock_hdr hdr = {
		.src_cid = HOST_CID, .dst_cid = vs->config.guest_cid,
		.src_port = c->host_port, .dst_port = c->guest_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.buf_alloc = BUFFER_SIZE, .fwd_cnt = c->forwarded,
	};

	if (!c->tell && !(has_data(c) && credit(c)))
		return false;
	if (!get_buffer(vs, chain))
		return false;
	hdr.op = next_operation(c);
	if (!hdr.op) {
		hdr.len = read_socket(c, chain);
		if (!hdr.len) {
			virtqueue_unpop(&vs->vdev.queues[RX].vq);
			watch_socket(c);
			/* The socket's end is the next thing to tell. */
			return c->tell;
		}
		hdr.op = VIRTIO_VSOCK_OP_RW;
		c->sent += hdr.len;
		if (!credit(c))
			c->tell |= TELL_CREDIT_REQUEST;
	}
	if (hdr.op == VIRTIO_VSOCK_OP_SHUTDOWN)
		hdr.flags = c->shutdown;
	c->told = c->forwarded;
	send_packet(vs, chain, &hdr);
	if (hdr.op == VIRTIO_VSOCK_OP_RST)
		bury(c);
	else
		check_end(c);
	return true;
}

/* Tells the guest what it has buffers for: refusals first, then each connection in turn. */
static void pump(struct virtio_vsock *vs)
{
	struct virtqueue_chain chain = { .iov = vs->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	unsigned int sent = 0;
	bool more = true;

	while (vs->refusal_count && send_refusal(vs, &chain))
		sent++;
	while (more && sent < VIRTIO_BATCH) {
		more = false;
		for (struct connection *c = vs->connections; c; c = c->next)
			if (c->state != DEAD && send_next(c, &chain)) {
				more = true;
				sent++;
			}
	}
	if (more)
		virtio_queue_kick(&vs->vdev, RX);
	virtio_queue_flush(&vs->vdev, RX);
}

/* After a snapshot, connections are gone, which the guest cannot know (5.10.6.7). */
static void tell_transport_reset(struct virtio_vsock *vs)
{
	struct virtio_vsock_event event = { .id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };
	struct virtqueue_chain chain = { .iov = vs->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	size_t length;

	if (!vs->transport_reset || !virtio_queue_pop(&vs->vdev, EVENT, &chain))
		return;
	length = iov_write(chain.iov + chain.out_count, chain.in_count, 0, &event, sizeof(event));
	virtqueue_push(&vs->vdev.queues[EVENT].vq, chain.head, (uint32_t)length);
	vs->transport_reset = false;
}

/* ------------------------------------------------------------------ the host's programs */

/* Asks the guest on behalf of a program. */
static void host_connects(struct connection *c, uint32_t port)
{
	struct virtio_vsock *vs = c->vs;

	if (!virtio_is_running(&vs->vdev)) {
		bury(c);
		return;
	}
	c->guest_port = port;
	do
		c->host_port = FIRST_HOST_PORT + vs->next_port++ % FIRST_HOST_PORT;
	while (find(vs, c->host_port, port));
	c->state = REQUESTED;
	c->tell = TELL_REQUEST;
}

/* Reads "CONNECT port\n", and no byte of what comes after it. */
static void read_greeting(struct connection *c)
{
	char *digits = c->greeting + strlen("CONNECT ");
	unsigned long long port;
	char *end;

	while (c->greeting_length < sizeof(c->greeting)) {
		char *at = &c->greeting[c->greeting_length];
		ssize_t ret = recv(c->watch.fd, at, 1, MSG_DONTWAIT);

		if (ret < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (ret <= 0)
			break;
		c->greeting_length++;
		if (*at != '\n')
			continue;
		*at = 0;
		port = strtoull(digits, &end, 10);
		if (strncmp(c->greeting, "CONNECT ", strlen("CONNECT ")) || *digits < '0' ||
		    *digits > '9' || *end || port > UINT32_MAX)
			break;
		host_connects(c, (uint32_t)port);
		return;
	}
	bury(c);
}

static void socket_event(struct loop_fd *watch, uint32_t events)
{
	struct connection *c = container_of(watch, struct connection, watch);
	struct virtio_vsock *vs = c->vs;

	pthread_mutex_lock(vs->vdev.lock);
	if (c->state != DEAD) {
		if (c->state == GREETING && events & EPOLLIN)
			read_greeting(c);
		else if (c->state == CONNECTED && events & EPOLLIN)
			c->readable = true;
		if (events & EPOLLOUT)
			drain(c);
		if (events & (EPOLLHUP | EPOLLERR) && c->state != DEAD)
			hang_up(c);
		watch_socket(c);
		pump(vs);
	}
	pthread_mutex_unlock(vs->vdev.lock);
}

static void accept_host(struct loop_fd *watch, uint32_t events)
{
	struct virtio_vsock *vs = container_of(watch, struct virtio_vsock, listener);
	int fd;

	pthread_mutex_lock(vs->vdev.lock);
	fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		add_connection(vs, fd, GREETING);
	pthread_mutex_unlock(vs->vdev.lock);
}

/* ------------------------------------------------------------------ life and state */

static void vsock_process(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_vsock *vs = to_vsock(vdev);

	if (queue == TX)
		process_tx(vs);
	else if (queue == EVENT)
		tell_transport_reset(vs);
	pump(vs);
}

static int vsock_start(struct virtio_device *vdev)
{
	struct virtio_vsock *vs = to_vsock(vdev);

	return loop_fd_add(vdev->machine->loop, &vs->listener);
}

static void vsock_reset(struct virtio_device *vdev)
{
	struct virtio_vsock *vs = to_vsock(vdev);

	for (struct connection *c = vs->connections; c; c = c->next)
		if (c->state != GREETING)
			bury(c);
	vs->refusal_count = 0;
	vs->transport_reset = false;
}

static void vsock_destroy(struct virtio_device *vdev)
{
	struct virtio_vsock *vs = to_vsock(vdev);
	struct connection *c;

	loop_fd_del(&vs->listener);
	loop_call_cancel(&vs->reap);
	while ((c = vs->connections)) {
		vs->connections = c->next;
		loop_fd_del(&c->watch);
		close(c->watch.fd);
		free(c->buffer);
		free(c);
	}
	close(vs->listener.fd);
	unlink(vs->path);
	free(vs->path);
	virtio_device_destroy(vdev);
	free(vs);
}

static void vsock_pre_save(void *object)
{
	struct virtio_vsock *vs = object;

	vs->saved_cid = vs->config.guest_cid;
}

/* Whatever the guest's address was, it has to ask for it again. */
static int vsock_post_load(void *object, unsigned int version)
{
	struct virtio_vsock *vs = object;

	vs->transport_reset = true;
	return 0;
}

static const struct state_field vsock_fields[] = {
	STATE_INT(1, 1, struct virtio_vsock, saved_cid),
};

STATE_TABLE_STATIC(vsock_state, "virtio-vsock", 1, struct virtio_vsock, vsock_fields,
		   .pre_save = vsock_pre_save, .post_load = vsock_post_load);

static const struct virtio_device_ops vsock_ops = {
	.name = "virtio-vsock",
	.id = VIRTIO_ID_VSOCK,
	.pci_class = 0x078000,		/* communication controller, other */
	.state = &vsock_state,
	.start = vsock_start,
	.process = vsock_process,
	.reset = vsock_reset,
	.destroy = vsock_destroy,
};

int virtio_vsock_new(struct machine *machine, const struct vsock_config *config,
		     struct virtio_device **vdev, struct vmm_error *error)
{
	struct virtio_vsock *vs = calloc(1, sizeof(*vs));
	int ret;

	if (vs)
		vs->path = strdup(config->path);
	if (!vs || !vs->path) {
		free(vs);
		return vmm_fail(error, -ENOMEM, "--vsock: out of memory");
	}
	vs->listener = (struct loop_fd){ .events = EPOLLIN, .callback = accept_host };
	vs->listener.fd = local_socket_listen(config->path, "--vsock", error);
	if (vs->listener.fd < 0) {
		ret = vs->listener.fd;
		goto out_free;
	}
	vs->config.guest_cid = config->cid ? config->cid : DEFAULT_CID;
	vs->reap.callback = reap;
	ret = virtio_device_init(&vs->vdev, &vsock_ops, machine, QUEUES, QUEUE_SIZE, 0, &vs->config,
				 sizeof(vs->config));
	if (ret) {
		vmm_fail(error, ret, "--vsock: %s", strerror(-ret));
		goto out_close;
	}
	*vdev = &vs->vdev;
	return 0;

out_close:
	close(vs->listener.fd);
	unlink(vs->path);
out_free:
	free(vs->path);
	free(vs);
	return ret;
}

int virtio_vsock_create(struct machine *machine, const struct vsock_config *config,
			struct vmm_error *error)
{
	struct virtio_device *vdev;
	int ret = virtio_vsock_new(machine, config, &vdev, error);

	return ret ? ret : virtio_pci_create(vdev, error);
}
