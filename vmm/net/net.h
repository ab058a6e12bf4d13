/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a guest's Ethernet frames go and come from: the back of a network device.
 *
 * A backend is a struct of functions; the device behind which it stands is its front. Both belong
 * to one loop. Nothing here waits: who cannot take a frame says so and says later when it can, in
 * both directions, so that what is kept is bounded, and that somebody is slow gets to the sender.
 *
 * Frames come with a struct virtio_net_hdr (virtio 1.2, section 5.1.6), which says what of them is
 * not done yet: a checksum that is only begun, a TCP segment larger than the wire takes. Which of
 * that each side understands is a set of NET_* bits; offload.h does the rest in software.
 */
#ifndef VMM_NET_NET_H
#define VMM_NET_NET_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/error.h"
#include "vmm/loop.h"
#include "vmm/vmm.h"

/* What a frame may leave undone. */
#define NET_CSUM	0x01	/* VIRTIO_NET_HDR_F_NEEDS_CSUM */
#define NET_TSO4	0x02	/* VIRTIO_NET_HDR_GSO_TCPV4; goes with NET_CSUM, as do the others */
#define NET_TSO6	0x04	/* VIRTIO_NET_HDR_GSO_TCPV6 */
#define NET_ECN		0x08	/* VIRTIO_NET_HDR_GSO_ECN with one of these two */
#define NET_UFO		0x10	/* VIRTIO_NET_HDR_GSO_UDP */

#define NET_MIN_FRAME	14u	/* bytes: an Ethernet header */
#define NET_MAX_FRAME	65558u	/* an IP packet of 65535 bytes, Ethernet header, two VLAN tags */

#define NET_MIN_MTU	68u	/* RFC 791; IPv6 wants 1280 */
#define NET_MAX_MTU	65535u

struct net_backend;

/* What the device gives. Called on the loop thread with no lock held. */
struct net_front {
	/*
	 * A frame of at most NET_MAX_FRAME bytes from the network, for one of the device's queues.
	 * False: there is no room now, and ops->accept_input will be called; show the frame again.
	 */
	bool (*receive)(void *front, unsigned int queue, const struct virtio_net_hdr *header,
			const void *frame, size_t length);
	/* That was all for the moment: the guest may be told. */
	void (*received)(void *front, unsigned int queue);
	/* A frame that was not taken may be sent now. */
	void (*writable)(void *front, unsigned int queue);
	/* backend->link_up has changed. */
	void (*link_changed)(void *front);
};

/* Called on the loop thread, some with the device's lock held: none of these calls the front. */
struct net_ops {
	/*
	 * Sends a frame of length bytes, which iov has exactly; its memory is the guest's, which may
	 * change it meanwhile. The header is checked (net_check_header). False: not now, and
	 * front->writable will be called. A frame for which there is no way is taken and dropped.
	 */
	bool (*send)(struct net_backend *backend, unsigned int queue,
		     const struct virtio_net_hdr *header, const struct iovec *iov,
		     unsigned int count, size_t length);
	/* That was all for the moment. May be NULL. */
	void (*flush)(struct net_backend *backend);
	/* There is room for input again in the queue. */
	void (*accept_input)(struct net_backend *backend, unsigned int queue);
	/* What received frames may leave undone from now on, NET_*; nothing at first. */
	void (*set_offloads)(struct net_backend *backend, uint32_t offloads);
	/* So many queues are in use from now on; 1 at first. NULL where there is only one. */
	void (*set_queues)(struct net_backend *backend, unsigned int count);
	/* Frees. On the loop thread or after it has ended. */
	void (*destroy)(struct net_backend *backend);
};

struct net_backend {
	const struct net_ops *ops;
	unsigned int queues;	/* that it has */
	uint32_t sends;		/* NET_*: what send() understands */
	uint32_t receives;	/* what set_offloads can ask for */
	bool link_up;
	/* Set by net_attach. */
	const struct net_front *front;
	void *front_data;
};

/* Connects the device; frames start to flow. Once, before or on the loop thread. */
void net_attach(struct net_backend *backend, const struct net_front *front, void *front_data);

/* Whether an address of NET_SOCKET is HOST:PORT ([HOST]:PORT), rather than a path. */
bool net_is_tcp(const char *address);

/* The most queues that a device can have. */
#define NET_MAX_QUEUES	8

/*
 * Makes the backend that config asks for, which is not NET_NONE. Returns 0, or -errno with a line
 * in error that begins with "--net".
 */
int net_create(struct loop *loop, const struct net_config *config, struct net_backend **backend,
	       struct vmm_error *error);

/* The kinds there are; net_create calls them. */
int net_user_create(struct loop *loop, const struct net_config *config,
		    struct net_backend **backend, struct vmm_error *error);
int net_tap_create(struct loop *loop, const struct net_config *config,
		   struct net_backend **backend, struct vmm_error *error);
int net_stream_create(struct loop *loop, const struct net_config *config,
		      struct net_backend **backend, struct vmm_error *error);

#endif
