/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames on their way to the guest; see frames.h. */
#include "vmm/net/frames.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define TCP_SEQUENCE	4
#define TCP_FLAGS	13
#define TCP_WINDOW	14
#define TCP_CHECKSUM	16
#define TCP_OPTIONS	20
#define TCP_PSH		0x08
#define TCP_ACK		0x10

#define IP_MAX		65535u

int net_frames_init(struct net_frames *f, size_t bytes, unsigned int max)
{
	*f = (struct net_frames){ .size = bytes, .max = max };
	f->data = malloc(bytes);
	f->frames = calloc(max, sizeof(*f->frames));
	if (f->data && f->frames)
		return 0;
	net_frames_destroy(f);
	return -ENOMEM;
}

void net_frames_destroy(struct net_frames *f)
{
	free(f->data);
	free(f->frames);
	f->data = NULL;
	f->frames = NULL;
}

void net_frames_clear(struct net_frames *f)
{
	f->used = 0;
	f->first = 0;
	f->count = 0;
}

bool net_frames_have_room(const struct net_frames *f)
{
	return f->first + f->count < f->max && f->size - f->used >= NET_MAX_FRAME;
}

/* ------------------------------------------------------------------ joining */

/* Whether the receiver takes large segments of the kind. */
static bool may_be_large(const struct net_frames *f, const struct net_layout *l)
{
	uint32_t needed = NET_CSUM | (l->ipv6 ? NET_TSO6 : NET_TSO4);

	return (f->offloads & needed) == needed;
}

static bool same_layout(const struct net_layout *a, const struct net_layout *b)
{
	return a->ipv6 == b->ipv6 && a->ip == b->ip && a->transport == b->transport &&
	       a->data == b->data;
}

/*
 * What of the headers has to be the same in all segments. IPv4's length, number and checksum are
 * made anew for each when it is cut; so are TCP's sequence number and checksum.
 */
static bool same_headers(const uint8_t *a, const uint8_t *b, const struct net_layout *l)
{
	const uint8_t *ta = a + l->transport, *tb = b + l->transport;

	if (memcmp(a, b, l->ip))
		return false;
	a += l->ip;
	b += l->ip;
	if (l->ipv6) {
		/* Class and label; next header, hop limit, addresses. */
		if (memcmp(a, b, 4) || memcmp(a + 6, b + 6, 34))
			return false;
	} else if (memcmp(a, b, 2) || memcmp(a + 6, b + 6, 4) || memcmp(a + 12, b + 12, 8)) {
		return false;
	}
	/* Ports; acknowledgement and offset; window; options. */
	return !memcmp(ta, tb, TCP_SEQUENCE) && !memcmp(ta + 8, tb + 8, 5) &&
	       !memcmp(ta + TCP_WINDOW, tb + TCP_WINDOW, 2) &&
	       !memcmp(ta + TCP_OPTIONS, tb + TCP_OPTIONS,
		       (size_t)(l->data - l->transport) - TCP_OPTIONS);
}

/* Appends the frame's data to the last one, which there is, if it continues it. */
static bool join(struct net_frames *f, const uint8_t *frame, const struct net_layout *l)
{
	struct net_frame *last = &f->frames[f->first + f->count - 1];
	uint8_t *into = f->data + last->at;
	size_t length = l->end - l->data;
	uint8_t flags = frame[l->transport + TCP_FLAGS];

	if (!last->open || (flags & ~TCP_PSH) != TCP_ACK || !length ||
	    length > last->gso_size || last->length - last->layout.ip + length > IP_MAX ||
	    f->size - f->used < length)
		return false;
	if (!same_layout(&last->layout, l) ||
	    last->next_sequence != net_get32(frame + l->transport + TCP_SEQUENCE) ||
	    !same_headers(into, frame, l))
		return false;
	memcpy(into + last->length, frame + l->data, length);
	f->used += length;
	last->length += (uint32_t)length;
	last->next_sequence += (uint32_t)length;
	last->segments++;
	into[l->transport + TCP_FLAGS] |= flags & TCP_PSH;
	/* A segment smaller than the others is the last one, and so is one that says "now". */
	if (length < last->gso_size || flags & TCP_PSH)
		last->open = false;
	return true;
}

/* What there is to know of a new frame for those that may follow. */
static void open_frame(const struct net_frames *f, struct net_frame *new, const uint8_t *frame,
		       const struct net_layout *l)
{
	size_t length = l->end - l->data;

	if (l->protocol != IPPROTO_TCP || !l->plain || l->tagged || !length ||
	    frame[l->transport + TCP_FLAGS] != TCP_ACK || !may_be_large(f, l))
		return;
	/* Ethernet pads short frames: what comes behind the packet is nothing. */
	new->length = l->end;
	new->layout = *l;
	new->gso_size = (uint16_t)length;
	new->next_sequence = net_get32(frame + l->transport + TCP_SEQUENCE) + (uint32_t)length;
	new->segments = 1;
	new->open = length >= NET_MIN_GSO;
}

void net_frames_add(struct net_frames *f, const void *data, size_t length)
{
	struct net_frame *new;
	struct net_layout l;
	bool valid = false;

	if (length < NET_MIN_FRAME || length > NET_MAX_FRAME)
		return;
	if (f->offloads & NET_CSUM && net_parse(data, length, false, &l)) {
		valid = net_checksum_ok(data, &l);
		if (valid && l.protocol == IPPROTO_TCP && l.plain && !l.tagged &&
		    may_be_large(f, &l) && f->count && join(f, data, &l))
			return;
	}
	if (f->first + f->count == f->max || f->size - f->used < length)
		return;
	new = &f->frames[f->first + f->count++];
	*new = (struct net_frame){
		.at = (uint32_t)f->used, .length = (uint32_t)length, .valid = valid,
	};
	if (valid)
		open_frame(f, new, data, &l);
	memcpy(f->data + f->used, data, new->length);
	f->used += new->length;
}

/* ------------------------------------------------------------------ handing on */

/* Makes the headers of joined segments those of one: see 5.1.6.2 for what a receiver expects. */
static struct virtio_net_hdr finish(const struct net_frame *frame, uint8_t *data)
{
	const struct net_layout *l = &frame->layout;
	uint8_t *ip = data + l->ip, *tcp = data + l->transport;
	unsigned int length = frame->length - l->ip;
	uint16_t sum;

	if (frame->segments < 2)
		return (struct virtio_net_hdr){
			.flags = frame->valid ? VIRTIO_NET_HDR_F_DATA_VALID : 0,
		};
	if (l->ipv6) {
		net_put16(ip + 4, length - 40);
	} else {
		net_put16(ip + 2, length);
		net_put16(ip + 10, 0);
		sum = (uint16_t)~net_fold(net_sum(ip, 20, 0));
		memcpy(ip + 10, &sum, 2);
	}
	/* The pseudo header's sum, for the receiver to add the data's, or to know that it need not. */
	sum = net_fold(net_pseudo_sum(data, l, frame->length - l->transport));
	memcpy(tcp + TCP_CHECKSUM, &sum, 2);
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = l->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = l->data,
		.gso_size = frame->gso_size,
		.csum_start = l->transport,
		.csum_offset = TCP_CHECKSUM,
	};
}

bool net_frames_deliver(struct net_frames *f, struct net_backend *backend, unsigned int queue)
{
	bool taken = true;

	if (!f->count)
		return true;
	while (f->count && taken) {
		struct net_frame *frame = &f->frames[f->first];
		struct virtio_net_hdr header = finish(frame, f->data + frame->at);

		/* From here on its headers are no single segment's. */
		frame->open = false;
		taken = backend->front->receive(backend->front_data, queue, &header,
						f->data + frame->at, frame->length);
		if (taken) {
			f->first++;
			f->count--;
		}
	}
	if (!f->count)
		net_frames_clear(f);
	backend->front->received(backend->front_data, queue);
	return taken;
}
