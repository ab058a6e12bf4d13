/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames on their way to the guest: a bounded row of them, in which TCP segments that follow each
 * other become one.
 *
 * Backends without segmentation of their own put here what they have read, and hand it on from
 * here. Joining is what network hardware calls receive coalescing. Only what cutting at the same
 * size would give back exactly is joined, and only after the checksums of both were found right,
 * since nobody can check them afterwards.
 */
#ifndef VMM_NET_FRAMES_H
#define VMM_NET_FRAMES_H

#include "vmm/net/net.h"
#include "vmm/net/offload.h"

struct net_frame {
	struct net_layout layout;	/* where it is TCP whose checksum is right */
	uint32_t length;
	uint32_t at;			/* in the data */
	uint32_t next_sequence;
	uint16_t gso_size;		/* data bytes of the first segment */
	uint16_t segments;
	bool valid;			/* the checksum was looked at, and is right */
	bool open;			/* more may be joined to it */
};

struct net_frames {
	uint8_t *data;
	size_t size, used;
	struct net_frame *frames;
	unsigned int max, first, count;	/* first to first + count, no wrapping around */
	uint32_t offloads;		/* NET_*: what the receiver understands */
};

/* Room for bytes of data and max frames; untouched, it takes no memory. Returns 0 or -ENOMEM. */
int net_frames_init(struct net_frames *f, size_t bytes, unsigned int max);
void net_frames_destroy(struct net_frames *f);

/* Appends a frame; one for which there is no room, or of no possible length, is dropped. */
void net_frames_add(struct net_frames *f, const void *frame, size_t length);

/* Whether a frame of any length has room. What was taken off leaves room only all together. */
bool net_frames_have_room(const struct net_frames *f);

static inline bool net_frames_empty(const struct net_frames *f)
{
	return !f->count;
}

/* Hands frames to the front until there are none (true) or it takes no more (false). */
bool net_frames_deliver(struct net_frames *f, struct net_backend *backend, unsigned int queue);

/* Forgets all. */
void net_frames_clear(struct net_frames *f);

#endif
