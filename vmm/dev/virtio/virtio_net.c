/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio network device (virtio 1.2, section 5.1) over any struct net_backend.
 *
 * Queues come in pairs, one to receive and one to send, with the control queue last. A packet is a
 * header (struct virtio_net_hdr_v1) and an Ethernet frame; the descriptors may cut them anywhere.
 * Nothing is kept here: a frame that the backend does not take stays in the guest's queue, and for
 * one that finds no buffers the backend is told to wait. So a pause finds nothing in flight.
 *
 * The backend is only called on the loop thread. What the driver settles from its own threads
 * (features, a reset) it is told of before the next frame in either direction.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/dev/virtio/virtio.h"
#include "vmm/net/net.h"
#include "vmm/net/offload.h"
#include "vmm/util.h"

#define QUEUE_SIZE	256

#define HEADER_BYTES	sizeof(struct virtio_net_hdr_v1)

/* As far as our structure goes; the header's may have grown. */
#define CONFIG_SIZE	(offsetof(struct virtio_net_config, mtu) + 2)

/* Bytes that one call sends at most before others on the loop thread get their turn. */
#define SEND_LIMIT	(1u << 20)

#define MAC_ENTRIES	64u		/* of the receive filter, for each of its two tables */
#define VLANS		4096u

#define BIT64(n)	(1ull << (n))

/* Features by which the driver says what it takes, and of which it may change its mind. */
#define GUEST_OFFLOADS	(BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_GUEST_TSO4) | \
			 BIT64(VIRTIO_NET_F_GUEST_TSO6) | BIT64(VIRTIO_NET_F_GUEST_ECN) | \
			 BIT64(VIRTIO_NET_F_GUEST_UFO))

struct mac_table {
	uint32_t count;
	bool overflow;			/* the driver had more: all of the kind are received */
	uint8_t macs[MAC_ENTRIES * ETH_ALEN];
};

struct virtio_net {
	struct virtio_device vdev;
	struct virtio_net_config config;
	struct net_backend *backend;	/* ours */
	uint8_t permanent_mac[ETH_ALEN];
	unsigned int pairs;		/* of queues that there are */

	/* What the driver asked for on the control queue. */
	uint16_t used_pairs;
	uint64_t offloads_off;		/* of GUEST_OFFLOADS: switched off again */
	bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	struct mac_table unicast, multicast;
	uint32_t vlans[VLANS / 32];
	uint8_t mac[ETH_ALEN];		/* as it reads in the configuration */

	bool link_up;			/* the backend's, read on the loop thread */
	bool unplugged;			/* by the user: nothing gets through, whatever the backend says */
	bool announce;			/* the guest shall tell the network where it is now */
	bool changed;			/* the driver has not been told of a new status */

	/* What the backend was told, and who waits. */
	uint32_t told_offloads;
	unsigned int told_pairs;
	bool receive_waits[NET_MAX_QUEUES];	/* by the backend's queues */

	struct net_counters received, sent;
	struct virtio_net *next;		/* in machine->nets, in the order they were made */

	struct iovec first[VIRTQUEUE_MAX_IOV];	/* the chain that a received packet begins in */
	struct iovec iov[VIRTQUEUE_MAX_IOV];
	struct virtqueue_used used[VIRTQUEUE_MAX_SIZE];
};

static struct virtio_net *to_net(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_net, vdev);
}

/* 5.1.2: receiveq1 is 0, transmitq1 is 1, and so on. */
static unsigned int receive_queue(unsigned int pair)
{
	return 2 * pair;
}

static unsigned int send_queue(unsigned int pair)
{
	return 2 * pair + 1;
}

/* Behind all pairs there are, but for a driver that does not know that there are several. */
static unsigned int control_queue(const struct virtio_net *net)
{
	return virtio_has_feature(&net->vdev, VIRTIO_NET_F_MQ) ? 2 * net->pairs : 2;
}

/* ------------------------------------------------------------------ offloads */

static const struct {
	unsigned int host, guest;	/* feature bits: what the driver sends, what it takes */
	uint32_t offload;
} offload_features[] = {
	{ VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, NET_CSUM },
	{ VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4, NET_TSO4 },
	{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6, NET_TSO6 },
	{ VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN, NET_ECN },
	{ VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_GUEST_UFO, NET_UFO },
};

/* 5.1.3.1: without the checksum there is nothing, and ECN alone is nothing. */
static uint32_t consistent(uint32_t offloads)
{
	if (!(offloads & NET_CSUM))
		return 0;
	if (!(offloads & (NET_TSO4 | NET_TSO6)))
		offloads &= ~(uint32_t)NET_ECN;
	return offloads;
}

static uint32_t sent_offloads(const struct virtio_net *net)
{
	uint32_t offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++)
		if (virtio_has_feature(&net->vdev, offload_features[i].host))
			offloads |= offload_features[i].offload;
	return consistent(offloads);
}

static uint32_t received_offloads(const struct virtio_net *net)
{
	uint32_t offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++)
		if (virtio_has_feature(&net->vdev, offload_features[i].guest) &&
		    !(net->offloads_off & BIT64(offload_features[i].guest)))
			offloads |= offload_features[i].offload;
	return consistent(offloads);
}

/* Brings the backend, and a driver that waits to be told something, up to date. */
static void catch_up(struct virtio_net *net)
{
	uint32_t offloads = received_offloads(net);

	if (offloads != net->told_offloads) {
		net->told_offloads = offloads;
		net->backend->ops->set_offloads(net->backend, offloads);
	}
	if (net->used_pairs != net->told_pairs) {
		net->told_pairs = net->used_pairs;
		net->backend->ops->set_queues(net->backend, net->used_pairs);
	}
	if (net->changed) {
		net->changed = false;
		virtio_config_changed(&net->vdev);
	}
}

/* ------------------------------------------------------------------ the receive filter, 5.1.6.5 */

static bool in_table(const struct mac_table *table, const uint8_t *mac)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (!memcmp(&table->macs[i * ETH_ALEN], mac, ETH_ALEN))
			return true;
	return false;
}

static bool is_wanted(const struct virtio_net *net, const uint8_t *frame, size_t length)
{
	static const uint8_t broadcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_VLAN) && length >= ETH_HLEN + 4 &&
	    net_get16(frame + 12) == ETH_P_8021Q) {
		unsigned int vlan = net_get16(frame + 14) % VLANS;

		if (!(net->vlans[vlan / 32] >> vlan % 32 & 1))
			return false;
	}
	if (net->promiscuous)
		return true;
	if (!memcmp(frame, broadcast, ETH_ALEN))
		return !net->no_broadcast;
	if (frame[0] & 1) {
		if (net->no_multicast)
			return false;
		return net->all_multicast || net->multicast.overflow ||
		       in_table(&net->multicast, frame);
	}
	if (net->no_unicast)
		return false;
	return net->all_unicast || net->unicast.overflow || !memcmp(frame, net->mac, ETH_ALEN) ||
	       in_table(&net->unicast, frame);
}

/* ------------------------------------------------------------------ receiving, 5.1.6.4 */

/* What came of an attempt to put a packet into the guest's buffers. */
enum placed { PLACED, NO_BUFFERS, TOO_LARGE };

static void unpop(struct virtqueue *vq, unsigned int chains)
{
	while (chains--)
		virtqueue_unpop(vq);
}

/*
 * Writes the packet to as many chains as it takes. The buffers are the device's as long as they
 * are not given back: if there are too few, they may keep what was written.
 */
static enum placed place(struct virtio_net *net, unsigned int queue,
			 struct virtio_net_hdr_v1 *header, const uint8_t *frame, size_t length)
{
	struct virtqueue *vq = &net->vdev.queues[queue].vq;
	struct virtqueue_chain first = { .iov = net->first, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtqueue_chain chain = { .iov = net->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	bool mergeable = virtio_has_feature(&net->vdev, VIRTIO_NET_F_MRG_RXBUF);
	unsigned int n = 1;
	size_t done;

	if (!virtio_queue_pop(&net->vdev, queue, &first))
		return NO_BUFFERS;
	/* 5.1.6.3.1: not even for the header. */
	if (first.in_bytes < HEADER_BYTES) {
		virtio_device_broken(&net->vdev);
		return NO_BUFFERS;
	}
	done = iov_write(first.iov + first.out_count, first.in_count, HEADER_BYTES, frame, length);
	net->used[0] = (struct virtqueue_used){ first.head, (uint32_t)(HEADER_BYTES + done) };
	while (done < length) {
		size_t written;

		if (!mergeable || n == vq->size) {
			unpop(vq, n);
			return TOO_LARGE;
		}
		if (!virtio_queue_pop(&net->vdev, queue, &chain)) {
			unpop(vq, n);
			return NO_BUFFERS;
		}
		written = iov_write(chain.iov + chain.out_count, chain.in_count, 0, frame + done,
				    length - done);
		net->used[n++] = (struct virtqueue_used){ chain.head, (uint32_t)written };
		done += written;
	}
	/* 5.1.6.4.1: 1 where buffers are not merged. */
	header->num_buffers = (uint16_t)n;
	iov_write(first.iov + first.out_count, first.in_count, 0, header, HEADER_BYTES);
	virtqueue_push_all(vq, net->used, n);
	return PLACED;
}

/* Returns false if the frame shall be shown again. */
static bool receive_locked(struct virtio_net *net, unsigned int from,
			   const struct virtio_net_hdr *header, const uint8_t *frame, size_t length)
{
	unsigned int pair = from < net->used_pairs ? from : 0;
	struct virtio_net_hdr_v1 v1 = { 0 };

	if (net->vdev.paused) {
		net->receive_waits[from] = true;
		return false;
	}
	/* Nobody at home: lost, as on any wire. */
	if (!virtio_is_running(&net->vdev))
		return true;
	catch_up(net);
	if (net->unplugged)
		return true;
	/* It was made before the backend knew what the driver takes. */
	if (net_needs(header) & ~net->told_offloads)
		return true;
	if (!is_wanted(net, frame, length))
		return true;

	memcpy(&v1, header, sizeof(*header));
	if (!(net->told_offloads & NET_CSUM))
		v1.flags = 0;
	switch (place(net, receive_queue(pair), &v1, frame, length)) {
	case NO_BUFFERS:
		net->receive_waits[from] = virtio_is_running(&net->vdev);
		return !net->receive_waits[from];
	case TOO_LARGE:
		break;
	case PLACED:
		net->received.frames++;
		net->received.bytes += length;
	}
	return true;
}

static bool net_receive(void *front, unsigned int queue, const struct virtio_net_hdr *header,
			const void *frame, size_t length)
{
	struct virtio_net *net = front;
	bool taken;

	if (length < NET_MIN_FRAME || length > NET_MAX_FRAME)
		return true;
	pthread_mutex_lock(net->vdev.lock);
	taken = receive_locked(net, queue, header, frame, length);
	pthread_mutex_unlock(net->vdev.lock);
	return taken;
}

static void net_received(void *front, unsigned int queue)
{
	struct virtio_net *net = front;

	pthread_mutex_lock(net->vdev.lock);
	for (unsigned int i = 0; i < net->pairs; i++)
		virtio_queue_flush(&net->vdev, receive_queue(i));
	pthread_mutex_unlock(net->vdev.lock);
}

/* ------------------------------------------------------------------ sending, 5.1.6.2 */

/* Takes length bytes from the front of a vector, which it changes. Returns what is left of it. */
static struct iovec *strip(struct iovec *iov, unsigned int *count, size_t length)
{
	while (length && length >= iov->iov_len) {
		length -= iov->iov_len;
		iov++;
		(*count)--;
	}
	if (length) {
		iov->iov_base = (uint8_t *)iov->iov_base + length;
		iov->iov_len -= length;
	}
	return iov;
}

/* Sends what a chain holds; what is no packet is dropped. False: it shall be tried again. */
static bool transmit(struct virtio_net *net, unsigned int pair, struct virtqueue_chain *chain)
{
	struct virtio_net_hdr_v1 v1;
	struct virtio_net_hdr header;
	unsigned int count = chain->out_count;
	struct iovec *iov;
	size_t length;

	if (chain->out_bytes < HEADER_BYTES + NET_MIN_FRAME ||
	    chain->out_bytes > HEADER_BYTES + NET_MAX_FRAME)
		return true;
	iov_read(chain->iov, chain->out_count, 0, &v1, HEADER_BYTES);
	memcpy(&header, &v1, sizeof(header));
	length = chain->out_bytes - HEADER_BYTES;
	if (net->unplugged || !net_check_header(&header, length, sent_offloads(net)))
		return true;
	iov = strip(chain->iov, &count, HEADER_BYTES);
	if (!net->backend->ops->send(net->backend, pair, &header, iov, count, length))
		return false;
	net->sent.frames++;
	net->sent.bytes += length;
	return true;
}

static void process_send(struct virtio_net *net, unsigned int pair)
{
	struct virtqueue_chain chain = { .iov = net->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	unsigned int queue = send_queue(pair), n;
	struct virtqueue *vq = &net->vdev.queues[queue].vq;
	uint64_t bytes = 0;

	for (n = 0; n < VIRTIO_BATCH && bytes < SEND_LIMIT &&
		    virtio_queue_pop(&net->vdev, queue, &chain); n++) {
		if (!transmit(net, pair, &chain)) {
			/* net_writable() will be called. */
			virtqueue_unpop(vq);
			goto out;
		}
		bytes += chain.out_bytes;
		virtqueue_push(vq, chain.head, 0);
	}
	if (n == VIRTIO_BATCH || bytes >= SEND_LIMIT)
		virtio_queue_kick(&net->vdev, queue);
out:
	if (n && net->backend->ops->flush)
		net->backend->ops->flush(net->backend);
}

static void net_writable(void *front, unsigned int pair)
{
	struct virtio_net *net = front;

	virtio_queue_kick(&net->vdev, send_queue(pair));
}

/* ------------------------------------------------------------------ control queue, 5.1.6.5 */

/* A command's data, taken off piece by piece. */
struct command {
	const struct virtqueue_chain *chain;
	uint64_t at;
};

static bool take(struct command *c, void *to, size_t length)
{
	size_t got = iov_read(c->chain->iov, c->chain->out_count, c->at, to, length);

	c->at += got;
	return got == length;
}

static bool is_whole(const struct command *c)
{
	return c->at == c->chain->out_bytes;
}

static bool command_rx(struct virtio_net *net, uint8_t number, struct command *c)
{
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &net->promiscuous,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &net->all_multicast,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &net->all_unicast,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &net->no_multicast,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &net->no_unicast,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &net->no_broadcast,
	};
	unsigned int feature = number < VIRTIO_NET_CTRL_RX_ALLUNI ? VIRTIO_NET_F_CTRL_RX :
			       VIRTIO_NET_F_CTRL_RX_EXTRA;
	uint8_t on;

	if (number >= ARRAY_SIZE(modes) || !virtio_has_feature(&net->vdev, feature) ||
	    !take(c, &on, 1) || !is_whole(c))
		return false;
	*modes[number] = on;
	return true;
}

/* One of the two tables. What does not fit is not a mistake of the driver's. */
static bool take_table(struct command *c, struct mac_table *table)
{
	uint32_t count;

	*table = (struct mac_table){ 0 };
	if (!take(c, &count, sizeof(count)) ||
	    (uint64_t)count * ETH_ALEN > c->chain->out_bytes - c->at)
		return false;
	if (count > MAC_ENTRIES) {
		table->overflow = true;
		c->at += (uint64_t)count * ETH_ALEN;
		return true;
	}
	table->count = count;
	return take(c, table->macs, count * ETH_ALEN);
}

static bool command_mac(struct virtio_net *net, uint8_t number, struct command *c)
{
	struct mac_table unicast, multicast;
	uint8_t mac[ETH_ALEN];

	switch (number) {
	case VIRTIO_NET_CTRL_MAC_TABLE_SET:
		if (!virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_RX) ||
		    !take_table(c, &unicast) || !take_table(c, &multicast) || !is_whole(c))
			return false;
		net->unicast = unicast;
		net->multicast = multicast;
		return true;
	case VIRTIO_NET_CTRL_MAC_ADDR_SET:
		if (!virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
		    !take(c, mac, sizeof(mac)) || !is_whole(c))
			return false;
		memcpy(net->mac, mac, sizeof(mac));
		memcpy(net->config.mac, mac, sizeof(mac));
		return true;
	default:
		return false;
	}
}

static bool command_vlan(struct virtio_net *net, uint8_t number, struct command *c)
{
	uint16_t vlan;

	if (number > VIRTIO_NET_CTRL_VLAN_DEL ||
	    !virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_VLAN) ||
	    !take(c, &vlan, sizeof(vlan)) || !is_whole(c) || vlan >= VLANS)
		return false;
	if (number == VIRTIO_NET_CTRL_VLAN_ADD)
		net->vlans[vlan / 32] |= 1u << vlan % 32;
	else
		net->vlans[vlan / 32] &= ~(1u << vlan % 32);
	return true;
}

static bool command_announce(struct virtio_net *net, uint8_t number, struct command *c)
{
	if (number != VIRTIO_NET_CTRL_ANNOUNCE_ACK || !is_whole(c) ||
	    !virtio_has_feature(&net->vdev, VIRTIO_NET_F_GUEST_ANNOUNCE) ||
	    !(net->config.status & VIRTIO_NET_S_ANNOUNCE))
		return false;
	net->announce = false;
	net->config.status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
	return true;
}

static bool command_mq(struct virtio_net *net, uint8_t number, struct command *c)
{
	uint16_t pairs;

	if (number != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
	    !virtio_has_feature(&net->vdev, VIRTIO_NET_F_MQ) ||
	    !take(c, &pairs, sizeof(pairs)) || !is_whole(c) || !pairs || pairs > net->pairs)
		return false;
	net->used_pairs = pairs;
	/* There may be something in queues that were not looked at so far. */
	for (unsigned int i = 0; i < pairs; i++) {
		virtio_queue_kick(&net->vdev, receive_queue(i));
		virtio_queue_kick(&net->vdev, send_queue(i));
	}
	return true;
}

static bool command_offloads(struct virtio_net *net, uint8_t number, struct command *c)
{
	uint64_t offloads;

	if (number != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    !take(c, &offloads, sizeof(offloads)) || !is_whole(c) ||
	    offloads & ~(net->vdev.driver_features & GUEST_OFFLOADS))
		return false;
	net->offloads_off = GUEST_OFFLOADS & ~offloads;
	return true;
}

static uint8_t command(struct virtio_net *net, const struct virtqueue_chain *chain)
{
	static bool (*const classes[])(struct virtio_net *net, uint8_t number,
				       struct command *c) = {
		[VIRTIO_NET_CTRL_RX] = command_rx,
		[VIRTIO_NET_CTRL_MAC] = command_mac,
		[VIRTIO_NET_CTRL_VLAN] = command_vlan,
		[VIRTIO_NET_CTRL_ANNOUNCE] = command_announce,
		[VIRTIO_NET_CTRL_MQ] = command_mq,
		[VIRTIO_NET_CTRL_GUEST_OFFLOADS] = command_offloads,
	};
	struct command c = { .chain = chain };
	struct virtio_net_ctrl_hdr header;

	if (!take(&c, &header, sizeof(header)) || header.class >= ARRAY_SIZE(classes) ||
	    !classes[header.class](net, header.cmd, &c))
		return VIRTIO_NET_ERR;
	return VIRTIO_NET_OK;
}

static void process_control(struct virtio_net *net, unsigned int queue)
{
	struct virtqueue_chain chain = { .iov = net->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	unsigned int n;

	for (n = 0; n < VIRTIO_BATCH && virtio_queue_pop(&net->vdev, queue, &chain); n++) {
		uint8_t ack;

		/* No room for an answer. */
		if (!chain.in_bytes) {
			virtio_device_broken(&net->vdev);
			return;
		}
		ack = command(net, &chain);
		iov_write(chain.iov + chain.out_count, chain.in_count, 0, &ack, 1);
		virtqueue_push(&net->vdev.queues[queue].vq, chain.head, 1);
	}
	if (n == VIRTIO_BATCH)
		virtio_queue_kick(&net->vdev, queue);
	catch_up(net);
}

/* ------------------------------------------------------------------ status, 5.1.4.2 */

static void update_status(struct virtio_net *net)
{
	uint16_t status = net->link_up && !net->unplugged ? VIRTIO_NET_S_LINK_UP : 0;

	if (net->announce && virtio_has_feature(&net->vdev, VIRTIO_NET_F_GUEST_ANNOUNCE))
		status |= VIRTIO_NET_S_ANNOUNCE;
	if (status == net->config.status)
		return;
	net->config.status = status;
	net->changed = true;
}

/* The link is not, or no longer, what it was. Lock held. */
static void link_changed(struct virtio_net *net)
{
	update_status(net);
	/* While paused, nothing; process() is called when that is over. */
	if (virtio_is_running(&net->vdev))
		catch_up(net);
}

static void net_link_changed(void *front)
{
	struct virtio_net *net = front;

	pthread_mutex_lock(net->vdev.lock);
	net->link_up = net->backend->link_up;
	link_changed(net);
	pthread_mutex_unlock(net->vdev.lock);
}

/* ------------------------------------------------------------------ for the host */

static struct virtio_net *find_net(struct machine *machine, unsigned int number)
{
	struct virtio_net *net = machine->nets;

	while (net && number--)
		net = net->next;
	return net;
}

int virtio_net_set_link(struct machine *machine, unsigned int number, bool up)
{
	struct virtio_net *net = find_net(machine, number);

	if (!net)
		return -ENODEV;
	pthread_mutex_lock(net->vdev.lock);
	net->unplugged = !up;
	link_changed(net);
	pthread_mutex_unlock(net->vdev.lock);
	return 0;
}

int virtio_net_query(struct machine *machine, unsigned int number, struct net_info *info)
{
	struct virtio_net *net = find_net(machine, number);

	if (!net)
		return -ENODEV;
	pthread_mutex_lock(net->vdev.lock);
	*info = (struct net_info){
		.plugged = !net->unplugged,
		.link_up = net->link_up && !net->unplugged,
		.received = net->received,
		.sent = net->sent,
	};
	memcpy(info->mac, net->mac, sizeof(info->mac));
	pthread_mutex_unlock(net->vdev.lock);
	return 0;
}

/* ------------------------------------------------------------------ life and state */

static const struct net_front front = {
	.receive = net_receive,
	.received = net_received,
	.writable = net_writable,
	.link_changed = net_link_changed,
};

static int net_start(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev);

	net->link_up = net->backend->link_up;
	net_attach(net->backend, &front, net);
	return 0;
}

/*
 * Some queue has new buffers. It need not be the one by whose number the backend waits: frames for
 * queues that are not in use go to the first.
 */
static void try_to_receive(struct virtio_net *net)
{
	for (unsigned int i = 0; i < net->pairs; i++) {
		if (!net->receive_waits[i])
			continue;
		net->receive_waits[i] = false;
		net->backend->ops->accept_input(net->backend, i);
	}
}

static void net_process(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_net *net = to_net(vdev);
	unsigned int pair = queue / 2;

	catch_up(net);
	if (queue == control_queue(net)) {
		if (virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_VQ))
			process_control(net, queue);
	} else if (pair >= net->used_pairs) {
		/* 5.1.6.5.6: not before the driver has said that it uses them. */
	} else if (queue == send_queue(pair)) {
		process_send(net, pair);
	} else {
		try_to_receive(net);
	}
}

static void net_reset(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev);

	net->used_pairs = 1;
	net->offloads_off = 0;
	/* Until the driver says what it wants to have, it has everything. */
	net->promiscuous = true;
	net->all_multicast = net->all_unicast = false;
	net->no_multicast = net->no_unicast = net->no_broadcast = false;
	net->unicast = net->multicast = (struct mac_table){ 0 };
	memset(net->vlans, 0, sizeof(net->vlans));
	memcpy(net->mac, net->permanent_mac, sizeof(net->mac));
	memcpy(net->config.mac, net->permanent_mac, sizeof(net->mac));
	net->announce = false;
	update_status(net);
	net->changed = false;
}

static void net_destroy(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev), **link = &vdev->machine->nets;

	while (*link && *link != net)
		link = &(*link)->next;
	if (*link)
		*link = net->next;
	net->backend->ops->destroy(net->backend);
	virtio_device_destroy(vdev);
	free(net);
}

static int mac_table_post_load(void *object, unsigned int version)
{
	const struct mac_table *table = object;

	return table->count <= MAC_ENTRIES ? 0 : -EINVAL;
}

static const struct state_field mac_table_fields[] = {
	STATE_INT(1, 1, struct mac_table, count),
	STATE_INT(2, 1, struct mac_table, overflow),
	STATE_ARRAY(3, 1, struct mac_table, macs),
};

STATE_TABLE_STATIC(mac_table_state, "virtio-net-macs", 1, struct mac_table, mac_table_fields,
		   .post_load = mac_table_post_load);

static int net_post_load(void *object, unsigned int version)
{
	struct virtio_net *net = object;

	if (!net->used_pairs || net->used_pairs > net->pairs)
		return -EINVAL;
	memcpy(net->config.mac, net->mac, sizeof(net->mac));
	/* It may be somewhere else now, which switches have to learn; told when all goes on. */
	net->announce = true;
	net->config.status = 0;
	update_status(net);
	return 0;
}

static const struct state_field net_fields[] = {
	STATE_INT(1, 1, struct virtio_net, used_pairs),
	STATE_INT(2, 1, struct virtio_net, offloads_off),
	STATE_INT(3, 1, struct virtio_net, promiscuous),
	STATE_INT(4, 1, struct virtio_net, all_multicast),
	STATE_INT(5, 1, struct virtio_net, all_unicast),
	STATE_INT(6, 1, struct virtio_net, no_multicast),
	STATE_INT(7, 1, struct virtio_net, no_unicast),
	STATE_INT(8, 1, struct virtio_net, no_broadcast),
	STATE_NESTED(9, 1, struct virtio_net, unicast, &mac_table_state),
	STATE_NESTED(10, 1, struct virtio_net, multicast, &mac_table_state),
	STATE_ARRAY(11, 1, struct virtio_net, vlans),
	STATE_ARRAY(12, 1, struct virtio_net, mac),
	STATE_ARRAY(13, 1, struct virtio_net, permanent_mac),
	STATE_INT(14, 2, struct virtio_net, unplugged),
};

STATE_TABLE_STATIC(net_state, "virtio-net", 2, struct virtio_net, net_fields,
		   .post_load = net_post_load);

static const struct virtio_device_ops net_ops = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.pci_class = 0x020000,		/* Ethernet controller */
	.state = &net_state,
	.start = net_start,
	.process = net_process,
	.reset = net_reset,
	.destroy = net_destroy,
};

/* ------------------------------------------------------------------ making one */

/*
 * An address that is not given is one of QEMU's for virtual machines. Behind user networking nobody
 * else sees it, and it stays the same, for guests that know their interfaces by it; elsewhere two
 * machines must not have the same, so there it is drawn by lot.
 */
static int choose_mac(const struct machine *machine, const struct net_config *config,
		      uint8_t mac[ETH_ALEN])
{
	static const uint8_t none[ETH_ALEN], prefix[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
	unsigned int n = 0;

	if (memcmp(config->mac, none, ETH_ALEN)) {
		memcpy(mac, config->mac, ETH_ALEN);
		return 0;
	}
	memcpy(mac, prefix, ETH_ALEN);
	if (config->kind != NET_USER)
		return getrandom(mac + 3, 3, 0) == 3 ? 0 : -errno;
	for (const struct device *dev = machine->devices; dev; dev = dev->next)
		n += !strncmp(dev->name, net_ops.name, strlen(net_ops.name));
	mac[5] = (uint8_t)(mac[5] + n);
	return 0;
}

static uint64_t offered(const struct virtio_net *net, const struct net_config *config)
{
	uint32_t sends = consistent(net->backend->sends);
	uint32_t receives = consistent(net->backend->receives);
	uint64_t features = BIT64(VIRTIO_NET_F_MAC) | BIT64(VIRTIO_NET_F_STATUS) |
			    BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_NET_F_CTRL_VQ) |
			    BIT64(VIRTIO_NET_F_CTRL_RX) | BIT64(VIRTIO_NET_F_CTRL_RX_EXTRA) |
			    BIT64(VIRTIO_NET_F_CTRL_VLAN) | BIT64(VIRTIO_NET_F_CTRL_MAC_ADDR) |
			    BIT64(VIRTIO_NET_F_GUEST_ANNOUNCE);

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++) {
		if (sends & offload_features[i].offload)
			features |= BIT64(offload_features[i].host);
		if (receives & offload_features[i].offload)
			features |= BIT64(offload_features[i].guest);
	}
	if (receives)
		features |= BIT64(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (net->pairs > 1)
		features |= BIT64(VIRTIO_NET_F_MQ);
	if (config->mtu)
		features |= BIT64(VIRTIO_NET_F_MTU);
	return features;
}

int virtio_net_new(struct machine *machine, const struct net_config *config,
		   struct net_backend *backend, struct virtio_device **vdev,
		   struct vmm_error *error)
{
	struct virtio_net *net = calloc(1, sizeof(*net)), **link = &machine->nets;
	int ret;

	if (!net) {
		ret = -ENOMEM;
		goto out;
	}
	net->backend = backend;
	net->pairs = backend->queues;
	net->told_pairs = 1;
	ret = choose_mac(machine, config, net->permanent_mac);
	if (ret)
		goto out;
	memcpy(net->config.mac, net->permanent_mac, ETH_ALEN);
	net->config.max_virtqueue_pairs = (uint16_t)net->pairs;
	net->config.mtu = (uint16_t)config->mtu;
	ret = virtio_device_init(&net->vdev, &net_ops, machine, 2 * net->pairs + 1, QUEUE_SIZE,
				 offered(net, config), &net->config, CONFIG_SIZE);
	if (ret)
		goto out;
	while (*link)
		link = &(*link)->next;
	*link = net;
	*vdev = &net->vdev;
	return 0;
out:
	free(net);
	backend->ops->destroy(backend);
	return vmm_fail(error, ret, "virtio-net: %s", strerror(-ret));
}

int virtio_net_create(struct machine *machine, const struct net_config *config,
		      struct net_backend *backend, struct vmm_error *error)
{
	struct virtio_device *vdev;
	int ret = virtio_net_new(machine, config, backend, &vdev, error);

	return ret ? ret : virtio_pci_create(vdev, error);
}
