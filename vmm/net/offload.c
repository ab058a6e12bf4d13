/* SPDX-License-Identifier: GPL-2.0-only */
/* Checksums and segmentation in software; see offload.h. */
#include "vmm/net/offload.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#define GSO_TYPE(header)	((header)->gso_type & ~VIRTIO_NET_HDR_GSO_ECN)

/* Offsets in headers. */
#define IP4_LENGTH	2
#define IP4_ID		4
#define IP4_FRAGMENT	6
#define IP4_PROTOCOL	9
#define IP4_CHECKSUM	10
#define IP4_ADDRESSES	12
#define IP6_LENGTH	4
#define IP6_NEXT	6
#define IP6_ADDRESSES	8
#define IP6_HEADER	40
#define TCP_SEQUENCE	4
#define TCP_OFFSET	12
#define TCP_FLAGS	13
#define TCP_CHECKSUM	16
#define TCP_HEADER	20
#define UDP_CHECKSUM	6
#define UDP_HEADER	8

#define TCP_FIN		0x01
#define TCP_PSH		0x08
#define TCP_CWR		0x80

void net_put16(uint8_t *p, unsigned int value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

unsigned int net_get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

uint32_t net_get32(const uint8_t *p)
{
	return (uint32_t)net_get16(p) << 16 | net_get16(p + 2);
}

static void put32(uint8_t *p, uint32_t value)
{
	net_put16(p, value >> 16);
	net_put16(p + 2, value & 0xffff);
}

/* ------------------------------------------------------------------ the header */

uint32_t net_needs(const struct virtio_net_hdr *header)
{
	uint32_t needs = header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? NET_CSUM : 0;

	if (header->gso_type & VIRTIO_NET_HDR_GSO_ECN)
		needs |= NET_ECN;
	switch (GSO_TYPE(header)) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return needs;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return needs | NET_TSO4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return needs | NET_TSO6;
	case VIRTIO_NET_HDR_GSO_UDP:
		return needs | NET_UFO;
	default:
		return UINT32_MAX;
	}
}

bool net_check_header(struct virtio_net_hdr *header, size_t length, uint32_t offloads)
{
	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
		/* 5.1.6.2.1: what is to be segmented has a checksum to be made too. */
		bool good = header->gso_type == VIRTIO_NET_HDR_GSO_NONE;

		*header = (struct virtio_net_hdr){ 0 };
		return good;
	}
	if (net_needs(header) & ~offloads)
		return false;
	if (GSO_TYPE(header) == VIRTIO_NET_HDR_GSO_NONE) {
		header->gso_type = VIRTIO_NET_HDR_GSO_NONE;
		header->gso_size = 0;
	} else if (header->gso_size < NET_MIN_GSO) {
		return false;
	}
	/* 16-bit numbers: their sum is an int. */
	if (header->csum_start < NET_MIN_FRAME ||
	    (size_t)(header->csum_start + header->csum_offset + 2) > length)
		return false;
	header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	/* 5.1.6.2.2: a hint at best. */
	if (header->hdr_len > length)
		header->hdr_len = (uint16_t)length;
	return true;
}

/* ------------------------------------------------------------------ finding the parts */

static bool parse_ip4(const uint8_t *frame, size_t length, bool whole, struct net_layout *l)
{
	const uint8_t *ip = frame + l->ip;
	size_t left = length - l->ip, header, total;

	if (left < 20 || ip[0] >> 4 != 4)
		return false;
	header = (ip[0] & 15u) * 4;
	total = whole ? left : net_get16(ip + IP4_LENGTH);
	if (header < 20 || header > total || total > left || total > 65535)
		return false;
	/* A fragment, first or not, has no whole segment in it. */
	if (net_get16(ip + IP4_FRAGMENT) & 0x3fff)
		return false;
	l->plain = header == 20;
	l->protocol = ip[IP4_PROTOCOL];
	l->transport = (uint16_t)(l->ip + header);
	l->end = (uint32_t)(l->ip + total);
	return true;
}

static bool parse_ip6(const uint8_t *frame, size_t length, bool whole, struct net_layout *l)
{
	const uint8_t *ip = frame + l->ip;
	size_t left = length - l->ip, at = IP6_HEADER, total;
	uint8_t next;

	if (left < IP6_HEADER || ip[0] >> 4 != 6)
		return false;
	total = whole ? left : IP6_HEADER + net_get16(ip + IP6_LENGTH);
	if (total > left || total - IP6_HEADER > 65535)
		return false;
	next = ip[IP6_NEXT];
	l->plain = true;
	while (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS) {
		if (at + 8 > total || at > NET_MAX_HEADERS)
			return false;
		next = ip[at];
		at += 8 * (ip[at + 1] + 1u);
		l->plain = false;
	}
	if (at > total || at > NET_MAX_HEADERS)
		return false;
	l->protocol = next;
	l->transport = (uint16_t)(l->ip + at);
	l->end = (uint32_t)(l->ip + total);
	return true;
}

bool net_parse(const uint8_t *frame, size_t length, bool whole, struct net_layout *l)
{
	unsigned int type, tags = 0, header;

	*l = (struct net_layout){ 0 };
	if (length < ETH_HLEN + 4 || length > NET_MAX_FRAME)
		return false;
	l->ip = ETH_HLEN;
	type = net_get16(frame + 12);
	while ((type == ETH_P_8021Q || type == ETH_P_8021AD) && tags++ < 2) {
		l->tagged = true;
		l->ip += 4;
		if (length < l->ip)
			return false;
		type = net_get16(frame + l->ip - 2);
	}
	if (type == ETH_P_IPV6)
		l->ipv6 = true;
	else if (type != ETH_P_IP)
		return false;
	if (!(l->ipv6 ? parse_ip6 : parse_ip4)(frame, length, whole, l))
		return false;

	if (l->protocol == IPPROTO_UDP) {
		header = UDP_HEADER;
	} else if (l->protocol == IPPROTO_TCP && l->end - l->transport >= TCP_HEADER) {
		header = (frame[l->transport + TCP_OFFSET] >> 4) * 4u;
		if (header < TCP_HEADER)
			return false;
	} else {
		return false;
	}
	l->data = (uint16_t)(l->transport + header);
	return l->data <= l->end && l->data <= NET_MAX_HEADERS;
}

/* ------------------------------------------------------------------ checksums */

/*
 * RFC 1071, section 2(B): the sum does not mind the order of bytes, as long as all are taken and
 * the result is stored in the same. So words are added as they lie, eight bytes at a time.
 */
uint64_t net_sum(const void *data, size_t length, uint64_t sum)
{
	const uint8_t *p = data;
	uint64_t word, high = 0;
	uint16_t last = 0;

	for (; length >= 8; length -= 8, p += 8) {
		memcpy(&word, p, 8);
		sum += word & 0xffffffff;
		high += word >> 32;
	}
	for (; length >= 2; length -= 2, p += 2) {
		memcpy(&last, p, 2);
		sum += last;
	}
	if (length)
		sum += *p;
	return sum + high;
}

uint16_t net_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void store_sum(uint8_t *p, uint64_t sum)
{
	uint16_t folded = (uint16_t)~net_fold(sum);

	/* RFC 768: a sum that comes out as zero is sent as all ones, which is the same number. */
	if (!folded)
		folded = 0xffff;
	memcpy(p, &folded, 2);
}

uint64_t net_pseudo_sum(const uint8_t *frame, const struct net_layout *l, size_t length)
{
	const uint8_t *ip = frame + l->ip;
	uint64_t sum;

	if (l->ipv6)
		sum = net_sum(ip + IP6_ADDRESSES, 32, 0);
	else
		sum = net_sum(ip + IP4_ADDRESSES, 8, 0);
	return sum + htons(l->protocol) + htons((uint16_t)length);
}

static unsigned int checksum_offset(const struct net_layout *l)
{
	return l->transport + (l->protocol == IPPROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
}

bool net_checksum_ok(const uint8_t *frame, const struct net_layout *l)
{
	size_t length = l->end - l->transport;

	/* RFC 768: none was made. IPv6 has no such thing. */
	if (l->protocol == IPPROTO_UDP && !net_get16(frame + checksum_offset(l)))
		return !l->ipv6;
	return net_fold(net_sum(frame + l->transport, length,
				net_pseudo_sum(frame, l, length))) == 0xffff;
}

/* The IP header for a packet of length bytes altogether. */
static void finish_ip(uint8_t *ip, const struct net_layout *l, size_t length)
{
	unsigned int header = l->transport - l->ip;

	if (l->ipv6) {
		net_put16(ip + IP6_LENGTH, (unsigned int)length - IP6_HEADER);
		return;
	}
	net_put16(ip + IP4_LENGTH, (unsigned int)length);
	net_put16(ip + IP4_CHECKSUM, 0);
	store_sum(ip + IP4_CHECKSUM, net_sum(ip, header, 0));
}

/* Whether the frame is a segment of the kind that the header says it is. */
static bool parse_tcp(const struct virtio_net_hdr *header, const uint8_t *frame, size_t length,
		      struct net_layout *l)
{
	bool ipv6 = GSO_TYPE(header) == VIRTIO_NET_HDR_GSO_TCPV6;

	/* A length that does not fit its field may be 0, as drivers of hardware have it. */
	return net_parse(frame, length, true, l) && l->protocol == IPPROTO_TCP && l->ipv6 == ipv6;
}

/* The sum that the driver began, completed (5.1.6.2.2). The pseudo header is in it. */
static void finish_checksum(const struct virtio_net_hdr *header, uint8_t *frame, size_t length)
{
	store_sum(frame + header->csum_start + header->csum_offset,
		  net_sum(frame + header->csum_start, length - header->csum_start, 0));
}

bool net_finish(const struct virtio_net_hdr *header, uint8_t *frame, size_t length)
{
	struct net_layout l;

	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE ||
	    header->gso_type == VIRTIO_NET_HDR_GSO_UDP) {
		finish_checksum(header, frame, length);
		return true;
	}
	if (!parse_tcp(header, frame, length, &l))
		return false;
	finish_ip(frame + l.ip, &l, length - l.ip);
	net_put16(frame + checksum_offset(&l), 0);
	store_sum(frame + checksum_offset(&l),
		  net_sum(frame + l.transport, length - l.transport,
			  net_pseudo_sum(frame, &l, length - l.transport)));
	return true;
}

/* ------------------------------------------------------------------ segmentation */

bool net_segment(const struct virtio_net_hdr *header, uint8_t *frame, size_t length,
		 void (*emit)(void *arg, const void *headers, size_t header_length,
			      const void *data, size_t data_length),
		 void *arg)
{
	uint8_t headers[NET_MAX_HEADERS];
	uint32_t sequence;
	unsigned int id = 0;
	struct net_layout l;
	uint8_t flags;

	if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		if (!net_finish(header, frame, length))
			return false;
		emit(arg, frame, length, NULL, 0);
		return true;
	}
	if (header->gso_type == VIRTIO_NET_HDR_GSO_UDP || !parse_tcp(header, frame, length, &l))
		return false;
	memcpy(headers, frame, l.data);
	sequence = net_get32(frame + l.transport + TCP_SEQUENCE);
	flags = frame[l.transport + TCP_FLAGS];
	if (!l.ipv6)
		id = net_get16(frame + l.ip + IP4_ID);

	for (size_t at = l.data; at < length;) {
		size_t size = length - at < header->gso_size ? length - at : header->gso_size;
		uint8_t *tcp = headers + l.transport;
		size_t tcp_length = l.data - l.transport + size;

		put32(tcp + TCP_SEQUENCE, sequence);
		/* Said once each: "here is a window reduced" first, "here it ends" last. */
		tcp[TCP_FLAGS] = flags;
		if (at != l.data)
			tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
		if (at + size < length)
			tcp[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
		if (!l.ipv6)
			net_put16(headers + l.ip + IP4_ID, id++ & 0xffff);
		finish_ip(headers + l.ip, &l, l.data - l.ip + size);
		net_put16(tcp + TCP_CHECKSUM, 0);
		store_sum(tcp + TCP_CHECKSUM,
			  net_sum(frame + at, size,
				  net_sum(tcp, l.data - l.transport,
					  net_pseudo_sum(headers, &l, tcp_length))));
		emit(arg, headers, l.data, frame + at, size);
		sequence += (uint32_t)size;
		at += size;
	}
	return true;
}
