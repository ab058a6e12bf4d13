/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What network hardware does for a driver, in software: the checksums it left out, and cutting a
 * large TCP segment into those of the wire's size. The other direction, joining segments, is in
 * frames.h.
 *
 * It pays twice: the guest's processor, which may be made of software, handles one large segment
 * instead of forty, and checks and computes no sums over its data.
 *
 * Every byte of a frame is the guest's or a stranger's. Frames are in our own memory here, so that
 * what was checked stays as it was.
 */
#ifndef VMM_NET_OFFLOAD_H
#define VMM_NET_OFFLOAD_H

#include "vmm/net/net.h"

/* Headers from the Ethernet one to the end of TCP's, at most: what segments are given copies of. */
#define NET_MAX_HEADERS	256u
/* Less data than this in a segment is no honest wish, but work for us. */
#define NET_MIN_GSO	48u

/* What of NET_* a receiver has to understand for a frame; all bits where nobody can. */
uint32_t net_needs(const struct virtio_net_hdr *header);

/*
 * Checks the header of a frame of length bytes, of which the sender may leave offloads (NET_*)
 * undone. What it does not use is zeroed. Returns false for a header that says what cannot be.
 */
bool net_check_header(struct virtio_net_hdr *header, size_t length, uint32_t offloads);

/* Where the parts of a TCP or UDP frame begin. */
struct net_layout {
	bool ipv6;
	bool tagged;		/* there are VLAN tags */
	bool plain;		/* no IP options or extension headers between */
	uint8_t protocol;	/* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t ip;		/* offset of the IP header */
	uint16_t transport;	/* of TCP's or UDP's */
	uint16_t data;		/* of what is in it */
	uint32_t end;		/* of the IP packet, by its own length; not beyond the frame's */
};

/*
 * Finds the parts of a frame that carries a whole TCP segment or UDP datagram. With whole, it is
 * the frame that says how long the packet is. Returns false where it is something else, or broken.
 */
bool net_parse(const uint8_t *frame, size_t length, bool whole, struct net_layout *layout);

/* RFC 1071: adds length bytes to a sum; folds it into the 16 bits as they are stored. */
uint64_t net_sum(const void *data, size_t length, uint64_t sum);
uint16_t net_fold(uint64_t sum);
/* The sum of the pseudo header for length bytes of TCP or UDP. */
uint64_t net_pseudo_sum(const uint8_t *frame, const struct net_layout *layout, size_t length);
/* Whether the checksum of the TCP segment or UDP datagram is right. */
bool net_checksum_ok(const uint8_t *frame, const struct net_layout *layout);

/* Stores 16 bits big-endian; reads them. */
void net_put16(uint8_t *p, unsigned int value);
unsigned int net_get16(const uint8_t *p);
uint32_t net_get32(const uint8_t *p);

/*
 * Completes the checksums of a frame whose header is checked, in place. A TCP segment stays as
 * large as it is, for who has no wire to fit it to. Returns false if the frame is not what the
 * header says.
 */
bool net_finish(const struct virtio_net_hdr *header, uint8_t *frame, size_t length);

/*
 * Makes of such a frame those that a wire takes, and gives each to emit: some bytes of headers in
 * memory that is only lent, and data. Returns false if the frame is not what the header says; then
 * nothing was emitted. NET_UFO is not known here.
 */
bool net_segment(const struct virtio_net_hdr *header, uint8_t *frame, size_t length,
		 void (*emit)(void *arg, const void *headers, size_t header_length,
			      const void *data, size_t data_length),
		 void *arg);

#endif
