/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User networking: a network of the guest's own behind this process, which reaches the world with
 * ordinary sockets and no privilege. libslirp ends the guest's TCP and UDP and gives out addresses
 * by DHCP (10.0.2.15) and router advertisements, and names by DNS (10.0.2.3); the host is 10.0.2.2.
 *
 * libslirp is made for a loop around poll(): it says before each sleep which descriptors it waits
 * for, and is told afterwards which are ready. Its descriptors are in an epoll set of their own,
 * whose descriptor our loop watches; after everything that may have changed its mind it is asked
 * again, and the set adjusted by what is different.
 *
 * What it sends while it works on a frame of the guest's cannot go to the device at once, whose
 * lock is held. All its frames go through a row, from which a deferred call hands them on; segments
 * of one connection come in runs, and are joined there. While the guest takes none, nothing is read
 * from the host's sockets.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/dev/virtio/virtqueue.h"
#include "vmm/net/frames.h"
#include "vmm/net/net.h"
#include "vmm/util.h"

/* What one look at the sockets can bring is their windows' sum. */
#define ROW_BYTES	(8u << 20)
#define ROW_FRAMES	8192u

#define EVENTS		64

#define SLIRP_MAX_MTU	65521u

/* A descriptor of libslirp's, by its number. */
struct user_fd {
	uint32_t events;	/* as the epoll set has them; 0: not in it */
	uint32_t ready;
	unsigned int round;	/* when it was last asked for */
};

struct user_timer {
	struct loop_timer timer;
	struct loop *loop;
	SlirpTimerCb callback;
	void *opaque;
};

struct net_user {
	struct net_backend backend;
	struct loop *loop;
	Slirp *slirp;
	int epoll_fd;
	struct loop_fd watch;		/* of epoll_fd */
	struct loop_timer timer;	/* libslirp's own deadlines */
	struct loop_call call;		/* frames to hand on, descriptors to ask for */
	bool blocked;			/* the device has no room */
	struct net_frames row;
	struct user_fd *fds;
	unsigned int fd_count;		/* entries of fds */
	unsigned int round;
	uint8_t frame[NET_MAX_FRAME];	/* the guest's, while it is worked on */
};

static struct net_user *to_user(struct net_backend *backend)
{
	return container_of(backend, struct net_user, backend);
}

/* ------------------------------------------------------------------ descriptors */

static uint32_t to_epoll(int events)
{
	return (events & SLIRP_POLL_IN ? EPOLLIN : 0) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
	       (events & SLIRP_POLL_PRI ? EPOLLPRI : 0) | (events & SLIRP_POLL_ERR ? EPOLLERR : 0) |
	       (events & SLIRP_POLL_HUP ? EPOLLHUP : 0);
}

static int from_epoll(uint32_t events)
{
	return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static void forget_fd(int fd, void *opaque)
{
	struct net_user *user = opaque;

	if (fd < 0 || (unsigned int)fd >= user->fd_count || !user->fds[fd].events)
		return;
	epoll_ctl(user->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	user->fds[fd] = (struct user_fd){ 0 };
}

static bool have_entry(struct net_user *user, unsigned int fd)
{
	unsigned int count = user->fd_count ? user->fd_count : 64;
	struct user_fd *fds;

	if (fd < user->fd_count)
		return true;
	while (count <= fd)
		count *= 2;
	fds = reallocarray(user->fds, count, sizeof(*fds));
	if (!fds)
		return false;
	memset(fds + user->fd_count, 0, (count - user->fd_count) * sizeof(*fds));
	user->fds = fds;
	user->fd_count = count;
	return true;
}

/* libslirp waits for something; the answer is what it asks user_ready() by. */
static int ask_for(int fd, int slirp_events, void *opaque)
{
	struct epoll_event event = { .events = to_epoll(slirp_events), .data.fd = fd };
	struct net_user *user = opaque;
	struct user_fd *entry;

	if (fd < 0 || !have_entry(user, (unsigned int)fd))
		return -1;
	entry = &user->fds[fd];
	entry->round = user->round;
	if (entry->events == event.events)
		return fd;
	if (epoll_ctl(user->epoll_fd, entry->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event))
		return -1;
	entry->events = event.events;
	return fd;
}

static int user_ready(int fd, void *opaque)
{
	struct net_user *user = opaque;

	return fd < 0 || (unsigned int)fd >= user->fd_count ? 0 : from_epoll(user->fds[fd].ready);
}

/* Asks libslirp what it waits for now, and for how long. */
static void ask_again(struct net_user *user)
{
	uint32_t timeout = 1000;

	user->round++;
	slirp_pollfds_fill(user->slirp, &timeout, ask_for, user);
	for (unsigned int fd = 0; fd < user->fd_count; fd++)
		if (user->fds[fd].events && user->fds[fd].round != user->round)
			forget_fd((int)fd, user);
	loop_timer_set(user->loop, &user->timer, loop_now() + timeout * 1000000ull);
}

/* Lets libslirp work on what is ready, and on its deadlines. */
static void work(struct net_user *user)
{
	struct epoll_event events[EVENTS];
	int count = 0;

	if (!user->blocked)
		count = epoll_wait(user->epoll_fd, events, EVENTS, 0);
	for (int i = 0; i < count; i++)
		user->fds[events[i].data.fd].ready = events[i].events;
	slirp_pollfds_poll(user->slirp, 0, user_ready, user);
	for (int i = 0; i < count; i++)
		if ((unsigned int)events[i].data.fd < user->fd_count)
			user->fds[events[i].data.fd].ready = 0;
	loop_defer(user->loop, &user->call);
}

static void descriptor_ready(struct loop_fd *watch, uint32_t events)
{
	work(container_of(watch, struct net_user, watch));
}

static void deadline(struct loop_timer *timer)
{
	work(container_of(timer, struct net_user, timer));
}

/* ------------------------------------------------------------------ frames */

static void set_blocked(struct net_user *user, bool blocked)
{
	if (user->blocked == blocked)
		return;
	user->blocked = blocked;
	loop_fd_set_events(&user->watch, blocked ? 0 : EPOLLIN);
}

static void settle(struct loop_call *call)
{
	struct net_user *user = container_of(call, struct net_user, call);

	if (user->backend.front)
		set_blocked(user, !net_frames_deliver(&user->row, &user->backend, 0));
	ask_again(user);
}

static ssize_t from_slirp(const void *frame, size_t length, void *opaque)
{
	struct net_user *user = opaque;

	net_frames_add(&user->row, frame, length);
	loop_defer(user->loop, &user->call);
	return (ssize_t)length;
}

static bool user_send(struct net_backend *backend, unsigned int queue,
		      const struct virtio_net_hdr *header, const struct iovec *iov,
		      unsigned int count, size_t length)
{
	struct net_user *user = to_user(backend);

	iov_read(iov, count, 0, user->frame, length);
	/* There is no wire that a large segment would have to fit. */
	if (net_finish(header, user->frame, length))
		slirp_input(user->slirp, user->frame, (int)length);
	loop_defer(user->loop, &user->call);
	return true;
}

static void user_accept_input(struct net_backend *backend, unsigned int queue)
{
	struct net_user *user = to_user(backend);

	loop_defer(user->loop, &user->call);
}

static void user_set_offloads(struct net_backend *backend, uint32_t offloads)
{
	to_user(backend)->row.offloads = offloads;
}

/* ------------------------------------------------------------------ what else libslirp asks for */

/* The guest did something that should not be; that is its own affair. */
static void guest_error(const char *message, void *opaque)
{
}

/* Likewise what it says by way of GLib: the guest can make it talk, and the terminal is taken. */
static void swallow(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer data)
{
}

static int64_t clock_ns(void *opaque)
{
	return (int64_t)loop_now();
}

static void timer_expired(struct loop_timer *timer)
{
	struct user_timer *t = container_of(timer, struct user_timer, timer);

	t->callback(t->opaque);
}

static void *timer_new(SlirpTimerCb callback, void *timer_opaque, void *opaque)
{
	struct net_user *user = opaque;
	struct user_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->timer.callback = timer_expired;
	t->loop = user->loop;
	t->callback = callback;
	t->opaque = timer_opaque;
	return t;
}

static void timer_free(void *timer, void *opaque)
{
	struct user_timer *t = timer;

	if (t)
		loop_timer_cancel(&t->timer);
	free(t);
}

static void timer_mod(void *timer, int64_t milliseconds, void *opaque)
{
	struct user_timer *t = timer;

	if (t)
		loop_timer_set(t->loop, &t->timer, (uint64_t)milliseconds * 1000000);
}

static void notify(void *opaque)
{
	struct net_user *user = opaque;

	loop_defer(user->loop, &user->call);
}

static const SlirpCb callbacks = {
	.send_packet = from_slirp,
	.guest_error = guest_error,
	.clock_get_ns = clock_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	/* A number that was another descriptor's before: what was known of it is of no use. */
	.register_poll_fd = forget_fd,
	.unregister_poll_fd = forget_fd,
	.notify = notify,
};

/* ------------------------------------------------------------------ making one */

static void user_destroy(struct net_backend *backend)
{
	struct net_user *user = to_user(backend);

	loop_fd_del(&user->watch);
	if (user->slirp)
		slirp_cleanup(user->slirp);
	loop_timer_cancel(&user->timer);
	loop_call_cancel(&user->call);
	if (user->epoll_fd >= 0)
		close(user->epoll_fd);
	net_frames_destroy(&user->row);
	free(user->fds);
	free(user);
}

static const struct net_ops user_ops = {
	.send = user_send,
	.accept_input = user_accept_input,
	.set_offloads = user_set_offloads,
	.destroy = user_destroy,
};

static int add_forward(struct net_user *user, const struct net_forward *f, struct vmm_error *error)
{
	struct in_addr host = { .s_addr = htonl(INADDR_ANY) };
	const struct in_addr guest = { 0 };	/* the one that DHCP gives */
	const char *suffix = f->udp ? "/udp" : "";
	int err;

	if (f->address && inet_pton(AF_INET, f->address, &host) != 1)
		return vmm_fail(error, -EINVAL, "-p: '%s' is no IPv4 address: give one of this "
				"host, as in 127.0.0.1", f->address);
	if (!slirp_add_hostfwd(user->slirp, f->udp, host, f->host_port, guest, f->guest_port))
		return 0;
	err = errno ? errno : EINVAL;
	return vmm_fail(error, -err, "-p %s%s%u:%u%s: cannot listen on port %u: %s%s",
			f->address ? f->address : "", f->address ? ":" : "", f->host_port,
			f->guest_port, suffix, f->host_port, strerror(err),
			err == EACCES ? "; give one from 1024 on" :
			err == EADDRINUSE ? "; give another" : "");
}

static int start_slirp(struct net_user *user, const struct net_config *config,
		       struct vmm_error *error)
{
	SlirpConfig slirp = {
		.version = 1,
		.restricted = config->restricted,
		.in_enabled = true,
		.in6_enabled = true,
		.vprefix_len = 64,
		.vhostname = "anykvm",
	};
	int ret = 0;

	inet_pton(AF_INET, "10.0.2.0", &slirp.vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &slirp.vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &slirp.vhost);
	inet_pton(AF_INET, "10.0.2.3", &slirp.vnameserver);
	inet_pton(AF_INET, "10.0.2.15", &slirp.vdhcp_start);
	inet_pton(AF_INET6, "fec0::", &slirp.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &slirp.vhost6);
	inet_pton(AF_INET6, "fec0::3", &slirp.vnameserver6);
	if (config->mtu)
		slirp.if_mtu = slirp.if_mru = config->mtu < SLIRP_MAX_MTU ? config->mtu :
					      SLIRP_MAX_MTU;
	g_log_set_handler("Slirp", G_LOG_LEVEL_MASK, swallow, NULL);
	user->slirp = slirp_new(&slirp, &callbacks, user);
	if (!user->slirp)
		return vmm_fail(error, -EINVAL, "--net user: libslirp does not start");
	for (unsigned int i = 0; i < config->forward_count && !ret; i++)
		ret = add_forward(user, &config->forwards[i], error);
	return ret;
}

int net_user_create(struct loop *loop, const struct net_config *config,
		    struct net_backend **backend, struct vmm_error *error)
{
	struct net_user *user = calloc(1, sizeof(*user));
	int ret;

	if (!user)
		return vmm_fail(error, -ENOMEM, "--net user: out of memory");
	user->loop = loop;
	user->backend = (struct net_backend){
		.ops = &user_ops,
		.queues = 1,
		/* A UDP datagram need not fit a wire either. */
		.sends = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO,
		.receives = NET_CSUM | NET_TSO4 | NET_TSO6,
		.link_up = true,
	};
	user->timer.callback = deadline;
	user->call.callback = settle;
	user->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (user->epoll_fd < 0) {
		ret = vmm_fail(error, -errno, "--net user: %s", strerror(errno));
		goto out;
	}
	ret = net_frames_init(&user->row, ROW_BYTES, ROW_FRAMES);
	if (ret) {
		vmm_fail(error, ret, "--net user: out of memory");
		goto out;
	}
	ret = start_slirp(user, config, error);
	if (ret)
		goto out;
	user->watch.fd = user->epoll_fd;
	user->watch.events = EPOLLIN;
	user->watch.callback = descriptor_ready;
	ret = loop_fd_add(loop, &user->watch);
	if (ret) {
		vmm_fail(error, ret, "--net user: %s", strerror(-ret));
		goto out;
	}
	*backend = &user->backend;
	return 0;
out:
	user_destroy(&user->backend);
	return ret;
}
