/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What anykvm exec and its agent in the guest say to each other, over vsock.
 *
 * Each connection is one command. Both sides speak in frames: a byte that says what it is, four
 * bytes of length (big-endian), and that many bytes.
 *
 *	host to guest			guest to host
 *	a  an argument			o  standard output
 *	e  NAME=VALUE			r  standard error
 *	t  COLUMNS ROWS: a terminal	x  the exit status, and the end
 *	g  go
 *	i  standard input
 *	c  the end of it
 *	w  COLUMNS ROWS: the window has changed
 */
#ifndef SCRIPTS_IMAGE_AGENT_H
#define SCRIPTS_IMAGE_AGENT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define AGENT_PORT	10022
#define AGENT_HEAD	5
#define AGENT_CONTENT	65536	/* bytes that a frame has at most */

/* All of it, however long that takes. Return false where there is nobody, or no more. */
static inline bool agent_write_all(int fd, const void *data, size_t length)
{
	const char *at = data;

	while (length) {
		ssize_t n = write(fd, at, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= n;
	}
	return true;
}

static inline bool agent_read_all(int fd, void *data, size_t length)
{
	char *at = data;

	while (length) {
		ssize_t n = read(fd, at, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= n;
	}
	return true;
}

/* Returns false where the other side is gone. */
static inline bool agent_send(int fd, char kind, const void *content, uint32_t length)
{
	unsigned char head[AGENT_HEAD] = { (unsigned char)kind, length >> 24, length >> 16,
					   length >> 8, length };

	return agent_write_all(fd, head, sizeof(head)) && agent_write_all(fd, content, length);
}

/* Reads a frame into content, which has AGENT_CONTENT + 1 bytes: a zero is put behind it. Returns
 * its kind, or 0 at the end, or where it is none. */
static inline char agent_receive(int fd, char *content, uint32_t *length)
{
	unsigned char head[AGENT_HEAD];

	if (!agent_read_all(fd, head, sizeof(head)))
		return 0;
	*length = (uint32_t)head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4];
	if (*length > AGENT_CONTENT || !agent_read_all(fd, content, *length))
		return 0;
	content[*length] = 0;
	return (char)head[0];
}

#endif
