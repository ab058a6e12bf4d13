/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tap device of the host's: the guest's cable ends in the host's own network stack.
 *
 * The device is one that somebody made (ip tuntap add), one that was opened for us and is passed as
 * a descriptor, or, for those who may, a new one put into a bridge. It takes and gives frames with
 * struct virtio_net_hdr, as the guest's driver has it, so that large segments pass as they are; for
 * a passed descriptor that does not, software does it. Each of the guest's queues has a descriptor
 * of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/dev/virtio/virtqueue.h"
#include "vmm/net/frames.h"
#include "vmm/net/net.h"
#include "vmm/net/offload.h"
#include "vmm/util.h"

/* Frames that one call reads before others on the loop thread get their turn. */
#define BATCH		64

/* Of frames that have no header and are to be joined. */
#define ROW_BYTES	(1u << 20)

struct net_tap;

struct tap_queue {
	struct net_tap *tap;
	unsigned int index;
	struct loop_fd watch;
	struct loop_call call;		/* the device has room again */
	bool blocked;			/* the device has no room: nothing is read */
	bool waiting;			/* the device has a frame that the host did not take */
	size_t length;			/* of the frame read that waits for room, or 0 */
	struct virtio_net_hdr header;	/* its */
	struct net_frames row;		/* without headers: those read */
	uint8_t frame[NET_MAX_FRAME];
};

struct net_tap {
	struct net_backend backend;
	struct loop *loop;
	char name[IFNAMSIZ];		/* for messages */
	bool headers;			/* frames have a struct virtio_net_hdr */
	bool gone;			/* the device was taken away */
	struct loop_call gone_call;
	unsigned int used_queues;
	struct iovec iov[IOV_MAX];
	uint8_t copy[NET_MAX_FRAME];	/* of a frame to be sent */
	struct tap_queue queues[];	/* backend.queues */
};

static struct net_tap *to_tap(struct net_backend *backend)
{
	return container_of(backend, struct net_tap, backend);
}

static void watch_events(struct tap_queue *q)
{
	loop_fd_set_events(&q->watch, (q->blocked ? 0 : EPOLLIN) | (q->waiting ? EPOLLOUT : 0));
}

/* Somebody removed the device: the guest sees its cable pulled. */
static void is_gone(struct loop_call *call)
{
	struct net_tap *tap = container_of(call, struct net_tap, gone_call);

	for (unsigned int i = 0; i < tap->backend.queues; i++)
		loop_fd_del(&tap->queues[i].watch);
	tap->backend.link_up = false;
	tap->backend.front->link_changed(tap->backend.front_data);
}

static void set_gone(struct net_tap *tap)
{
	if (tap->gone)
		return;
	tap->gone = true;
	loop_defer(tap->loop, &tap->gone_call);
}

/* ------------------------------------------------------------------ sending */

/* What writing a frame came to: false if it has to be tried again. */
static bool written(struct tap_queue *q, ssize_t result)
{
	if (result >= 0)
		return true;
	if (errno == EAGAIN) {
		q->waiting = true;
		watch_events(q);
		return false;
	}
	if (errno == EBADFD)
		set_gone(q->tap);
	/* Whatever else the host has against the frame, as a wire would, it is lost. */
	return true;
}

static bool send_with_header(struct tap_queue *q, const struct virtio_net_hdr *header,
			     const struct iovec *iov, unsigned int count, size_t length)
{
	struct net_tap *tap = q->tap;

	tap->iov[0].iov_base = (void *)header;
	tap->iov[0].iov_len = sizeof(*header);
	if (count < IOV_MAX) {
		memcpy(tap->iov + 1, iov, count * sizeof(*iov));
	} else {
		iov_read(iov, count, 0, tap->copy, length);
		tap->iov[1] = (struct iovec){ tap->copy, length };
		count = 1;
	}
	return written(q, writev(q->watch.fd, tap->iov, (int)count + 1));
}

static void emit(void *arg, const void *headers, size_t header_length, const void *data,
		 size_t data_length)
{
	struct tap_queue *q = arg;
	const struct iovec iov[] = { { (void *)headers, header_length },
				     { (void *)data, data_length } };

	/* What does not go now is lost: half of a segment cannot be tried again. */
	if (writev(q->watch.fd, iov, data_length ? 2 : 1) < 0 && errno == EBADFD)
		set_gone(q->tap);
}

static bool tap_send(struct net_backend *backend, unsigned int queue,
		     const struct virtio_net_hdr *header, const struct iovec *iov,
		     unsigned int count, size_t length)
{
	struct net_tap *tap = to_tap(backend);
	struct tap_queue *q = &tap->queues[queue];

	if (tap->gone)
		return true;
	if (q->waiting)
		return false;
	if (tap->headers)
		return send_with_header(q, header, iov, count, length);
	iov_read(iov, count, 0, tap->copy, length);
	net_segment(header, tap->copy, length, emit, q);
	return true;
}

/* ------------------------------------------------------------------ receiving */

/* Reads a frame into q->frame. Returns its length, or 0 if there is none now. */
static size_t read_frame(struct tap_queue *q)
{
	struct iovec iov[] = { { &q->header, sizeof(q->header) }, { q->frame, sizeof(q->frame) } };
	bool headers = q->tap->headers;
	ssize_t n = readv(q->watch.fd, headers ? iov : iov + 1, headers ? 2 : 1);

	if (n < 0 && errno == EBADFD)
		set_gone(q->tap);
	if (!headers)
		return n < 0 ? 0 : (size_t)n;
	return n <= (ssize_t)sizeof(q->header) ? 0 : (size_t)n - sizeof(q->header);
}

/* Hands on what there is. Returns false if the device has no room. */
static bool deliver(struct tap_queue *q)
{
	struct net_backend *backend = &q->tap->backend;

	if (!q->tap->headers)
		return net_frames_deliver(&q->row, backend, q->index);
	if (q->length && !backend->front->receive(backend->front_data, q->index, &q->header,
						  q->frame, q->length))
		return false;
	q->length = 0;
	return true;
}

static void receive(struct tap_queue *q)
{
	struct net_backend *backend = &q->tap->backend;
	bool room = deliver(q);

	for (unsigned int n = 0; n < BATCH && room; n++) {
		q->length = read_frame(q);
		if (!q->length)
			break;
		if (q->tap->headers) {
			room = deliver(q);
		} else {
			net_frames_add(&q->row, q->frame, q->length);
			room = net_frames_have_room(&q->row);
		}
	}
	if (q->tap->headers)
		backend->front->received(backend->front_data, q->index);
	else
		room = deliver(q);
	if (room == q->blocked) {
		q->blocked = !room;
		watch_events(q);
	}
}

static void tap_event(struct loop_fd *watch, uint32_t events)
{
	struct tap_queue *q = container_of(watch, struct tap_queue, watch);
	struct net_tap *tap = q->tap;

	/* The one who removes a device wakes those who have it open with an error. */
	if (events & (EPOLLERR | EPOLLHUP))
		set_gone(tap);
	if (events & EPOLLIN)
		receive(q);
	if (events & EPOLLOUT && q->waiting) {
		q->waiting = false;
		watch_events(q);
		tap->backend.front->writable(tap->backend.front_data, q->index);
	}
}

/* There may be a frame that has been read already and waits. */
static void has_room(struct loop_call *call)
{
	struct tap_queue *q = container_of(call, struct tap_queue, call);

	if (!q->tap->gone)
		receive(q);
}

static void tap_accept_input(struct net_backend *backend, unsigned int queue)
{
	struct net_tap *tap = to_tap(backend);

	loop_defer(tap->loop, &tap->queues[queue].call);
}

/* ------------------------------------------------------------------ settings */

static void tap_set_offloads(struct net_backend *backend, uint32_t offloads)
{
	struct net_tap *tap = to_tap(backend);
	unsigned int flags = (offloads & NET_CSUM ? TUN_F_CSUM : 0) |
			     (offloads & NET_TSO4 ? TUN_F_TSO4 : 0) |
			     (offloads & NET_TSO6 ? TUN_F_TSO6 : 0) |
			     (offloads & NET_ECN ? TUN_F_TSO_ECN : 0) |
			     (offloads & NET_UFO ? TUN_F_UFO : 0);

	for (unsigned int i = 0; i < backend->queues; i++)
		tap->queues[i].row.offloads = offloads;
	if (tap->headers)
		ioctl(tap->queues[0].watch.fd, TUNSETOFFLOAD, flags);
}

/* The host spreads connections over the queues that are attached. */
static void tap_set_queues(struct net_backend *backend, unsigned int count)
{
	struct net_tap *tap = to_tap(backend);

	for (unsigned int i = 1; i < backend->queues; i++) {
		struct ifreq request = {
			.ifr_flags = i < count ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE,
		};

		if ((i < count) != (i < tap->used_queues))
			ioctl(tap->queues[i].watch.fd, TUNSETQUEUE, &request);
	}
	tap->used_queues = count;
}

static void tap_destroy(struct net_backend *backend)
{
	struct net_tap *tap = to_tap(backend);

	loop_call_cancel(&tap->gone_call);
	for (unsigned int i = 0; i < backend->queues; i++) {
		struct tap_queue *q = &tap->queues[i];

		loop_call_cancel(&q->call);
		loop_fd_del(&q->watch);
		if (q->watch.fd >= 0)
			close(q->watch.fd);
		net_frames_destroy(&q->row);
	}
	free(tap);
}

static const struct net_ops tap_ops = {
	.send = tap_send,
	.accept_input = tap_accept_input,
	.set_offloads = tap_set_offloads,
	.set_queues = tap_set_queues,
	.destroy = tap_destroy,
};

/* ------------------------------------------------------------------ finding the device */

/* An ioctl on network devices, by name. Returns 0 or -errno. */
static int device_ioctl(unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	ret = ioctl(fd, request, ifr) ? -errno : 0;
	close(fd);
	return ret;
}

static struct ifreq named(const char *name)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ifr;
}

/* The flags of an existing tap device, as IFF_*; 0 where there is none of the name. */
static unsigned int device_flags(const char *name)
{
	char path[64];
	unsigned int flags = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/net/%s/tun_flags", name);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%x", &flags) != 1)
		flags = 0;
	fclose(file);
	return flags;
}

static int check_existing(const char *name, unsigned int queues, unsigned int *flags,
			  struct vmm_error *error)
{
	struct ifreq ifr = named(name);
	unsigned int found;

	if (strlen(name) >= IFNAMSIZ || strchr(name, '/'))
		return vmm_fail(error, -EINVAL, "--net tap: '%s' cannot be a network device's name: "
				"give at most %d characters without a slash", name, IFNAMSIZ - 1);
	if (device_ioctl(SIOCGIFFLAGS, &ifr))
		return vmm_fail(error, -ENODEV, "--net tap: there is no network device %s: make it, "
				"as with 'ip tuntap add %s mode tap user NAME'", name, name);
	found = device_flags(name);
	if (!(found & IFF_TAP))
		return vmm_fail(error, -EINVAL, "--net tap: %s is no tap device: give one, or "
				"bridge=%s if it is a bridge", name, name);
	if (found & IFF_MULTI_QUEUE)
		*flags |= IFF_MULTI_QUEUE;
	else if (queues > 1)
		return vmm_fail(error, -EINVAL, "--net tap: %s was made with one queue: give "
				"queues=1, or make it with multi_queue", name);
	return 0;
}

/* A queue of the device, which is made where there is none of the name. */
static int attach(struct tap_queue *q, unsigned int flags, struct vmm_error *error)
{
	char *name = q->tap->name;
	struct ifreq ifr = named(name);
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int err;

	if (fd < 0)
		return vmm_fail(error, -errno, "--net tap: cannot open /dev/net/tun: %s%s",
				strerror(errno), errno == ENOENT || errno == ENODEV ?
				"; load the kernel module tun" : "");
	q->watch.fd = fd;
	ifr.ifr_flags = (short)flags;
	if (!ioctl(fd, TUNSETIFF, &ifr)) {
		/* The kernel has put a number in place of %d. */
		snprintf(name, IFNAMSIZ, "%s", ifr.ifr_name);
		return 0;
	}
	err = errno;
	return vmm_fail(error, -err, "--net tap: cannot use %s: %s%s", name, strerror(err),
			err == EPERM ? "; run as root, or have it made for you with "
				       "'ip tuntap add NAME mode tap user YOU'" :
			err == EBUSY ? "; somebody else does" : "");
}

static int set_up(const char *name, struct vmm_error *error)
{
	struct ifreq ifr = named(name);
	int ret = device_ioctl(SIOCGIFFLAGS, &ifr);

	if (!ret && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		ret = device_ioctl(SIOCSIFFLAGS, &ifr);
	}
	return ret ? vmm_fail(error, ret, "--net tap: %s is down, and cannot be set up: %s; have it "
			      "done with 'ip link set %s up'", name, strerror(-ret), name) : 0;
}

static int enslave(const char *name, const struct net_config *config, struct vmm_error *error)
{
	struct ifreq ifr = named(name);
	int ret = device_ioctl(SIOCGIFINDEX, &ifr);
	int index = ifr.ifr_ifindex;

	ifr = named(config->bridge);
	ifr.ifr_ifindex = index;
	if (!ret)
		ret = device_ioctl(SIOCBRADDIF, &ifr);
	if (ret)
		return vmm_fail(error, ret, "--net tap: bridge=%s: %s%s", config->bridge,
				strerror(-ret), ret == -ENODEV ? "; make it with 'ip link add NAME "
				"type bridge'" : ret == -EOPNOTSUPP ? "; it is no bridge" : "");
	if (!config->mtu)
		return 0;
	ifr = named(name);
	ifr.ifr_mtu = (int)config->mtu;
	ret = device_ioctl(SIOCSIFMTU, &ifr);
	return ret ? vmm_fail(error, ret, "--net tap: mtu=%u: %s", config->mtu, strerror(-ret)) : 0;
}

/* A descriptor that whoever started us has opened and set up. */
static int adopt(struct net_tap *tap, unsigned int fd, struct vmm_error *error)
{
	struct ifreq ifr = { 0 };
	int flags = fcntl((int)fd, F_GETFL);

	if (flags < 0)
		return vmm_fail(error, -EBADF, "--net tap: fd=%u is no open descriptor: give one that "
				"this program was started with", fd);
	if (ioctl((int)fd, TUNGETIFF, &ifr) || !(ifr.ifr_flags & IFF_TAP))
		return vmm_fail(error, -EINVAL, "--net tap: fd=%u is no tap device: give one that "
				"is", fd);
	if (!(ifr.ifr_flags & IFF_NO_PI))
		return vmm_fail(error, -EINVAL, "--net tap: fd=%u gives packet information: open it "
				"with IFF_NO_PI", fd);
	tap->queues[0].watch.fd = (int)fd;
	tap->headers = ifr.ifr_flags & IFF_VNET_HDR;
	snprintf(tap->name, sizeof(tap->name), "%s", ifr.ifr_name);
	fcntl((int)fd, F_SETFL, flags | O_NONBLOCK);
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	return 0;
}

static int find_device(struct net_tap *tap, const struct net_config *config,
		       struct vmm_error *error)
{
	unsigned int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	const char *name = config->ifname ? config->ifname : "anykvm%d";
	int ret = 0;

	if (config->fd)
		return adopt(tap, config->fd, error);
	if (tap->backend.queues > 1)
		flags |= IFF_MULTI_QUEUE;
	if (!config->bridge)
		ret = check_existing(name, tap->backend.queues, &flags, error);
	tap->headers = true;
	snprintf(tap->name, sizeof(tap->name), "%s", name);
	for (unsigned int i = 0; i < tap->backend.queues && !ret; i++)
		ret = attach(&tap->queues[i], flags, error);
	if (!ret && config->bridge)
		ret = enslave(tap->name, config, error);
	return ret ? ret : set_up(tap->name, error);
}

/* ------------------------------------------------------------------ making one */

static int start_queue(struct tap_queue *q, struct vmm_error *error)
{
	int size = sizeof(struct virtio_net_hdr), little = 1, ret;

	if (q->tap->headers && (ioctl(q->watch.fd, TUNSETVNETHDRSZ, &size) ||
				ioctl(q->watch.fd, TUNSETVNETLE, &little)))
		return vmm_fail(error, -errno, "--net tap: %s takes no virtio headers: %s",
				q->tap->name, strerror(errno));
	if (!q->tap->headers && net_frames_init(&q->row, ROW_BYTES, BATCH))
		return vmm_fail(error, -ENOMEM, "--net tap: out of memory");
	q->watch.events = EPOLLIN;
	q->watch.callback = tap_event;
	q->call.callback = has_room;
	ret = loop_fd_add(q->tap->loop, &q->watch);
	return ret ? vmm_fail(error, ret, "--net tap: cannot wait for frames of %s: %s",
			      q->tap->name, strerror(-ret)) : 0;
}

static void set_abilities(struct net_tap *tap)
{
	const uint32_t tcp = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN;

	tap->backend.sends = tcp;
	tap->backend.receives = tcp & ~NET_ECN;
	if (tap->headers) {
		tap->backend.sends |= NET_UFO;
		if (!ioctl(tap->queues[0].watch.fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 |
			   TUN_F_TSO6 | TUN_F_TSO_ECN))
			tap->backend.receives |= NET_ECN;
	}
	tap_set_offloads(&tap->backend, 0);
}

int net_tap_create(struct loop *loop, const struct net_config *config,
		   struct net_backend **backend, struct vmm_error *error)
{
	unsigned int queues = config->queues ? config->queues : 1;
	struct net_tap *tap;
	int ret;

	tap = calloc(1, sizeof(*tap) + queues * sizeof(tap->queues[0]));
	if (!tap)
		return vmm_fail(error, -ENOMEM, "--net tap: out of memory");
	tap->backend = (struct net_backend){ .ops = &tap_ops, .queues = queues, .link_up = true };
	tap->loop = loop;
	tap->gone_call.callback = is_gone;
	tap->used_queues = queues;
	for (unsigned int i = 0; i < queues; i++) {
		tap->queues[i].tap = tap;
		tap->queues[i].index = i;
		tap->queues[i].watch.fd = -1;
	}
	ret = find_device(tap, config, error);
	for (unsigned int i = 0; i < queues && !ret; i++)
		ret = start_queue(&tap->queues[i], error);
	if (ret) {
		tap_destroy(&tap->backend);
		return ret;
	}
	set_abilities(tap);
	if (queues > 1)
		tap_set_queues(&tap->backend, 1);
	*backend = &tap->backend;
	return 0;
}
