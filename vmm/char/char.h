/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a guest's characters go and come from: the back of a UART or a virtio console.
 *
 * A backend is a struct of functions; the device behind which it stands is its front. Both belong
 * to one loop. Nothing here waits: a backend takes what it can and says later when it can take
 * more, and hands over input only as far as the front has room.
 */
#ifndef VMM_CHAR_H
#define VMM_CHAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "vmm/error.h"
#include "vmm/loop.h"

struct char_backend;

/* What the device gives. Called on the loop thread with no lock held. */
struct char_front {
	/* How many bytes of input there is room for now. */
	size_t (*room)(void *front);
	/* Input; never more than room said. */
	void (*input)(void *front, const uint8_t *data, size_t length);
	/* A write that came back short can go on. */
	void (*writable)(void *front);
	/* The window became this large, in characters. May be NULL. */
	void (*resized)(void *front, unsigned int columns, unsigned int rows);
	/* Somebody is there now at the other end, or is not any more. May be NULL; backends that
	 * do not know never call it. */
	void (*connected)(void *front, bool connected);
};

struct char_ops {
	/* Takes up to length bytes without waiting. Returns how many, 0 for none (front->writable
	 * will be called). Bytes for a backend that is gone are taken and dropped. Any thread. */
	size_t (*write)(struct char_backend *backend, const uint8_t *data, size_t length);
	/* There is room for input again. Any thread. */
	void (*accept_input)(struct char_backend *backend);
	/* The window's size, in characters; 0 by 0 where there is none. */
	void (*size)(struct char_backend *backend, unsigned int *columns, unsigned int *rows);
	/* Writes out what is left (waiting at most briefly), restores, frees. On the loop thread
	 * or after it has ended. */
	void (*destroy)(struct char_backend *backend);
};

struct char_backend {
	const struct char_ops *ops;
	/* Set by char_attach. */
	const struct char_front *front;
	void *front_data;
};

/* Connects the device; input starts to flow. Once, before or on the loop thread. */
void char_attach(struct char_backend *backend, const struct char_front *front, void *front_data);

/*
 * This process's stdin and stdout. If stdin is a terminal it is put into raw mode, with Ctrl-A as
 * an escape: Ctrl-A x calls quit, Ctrl-A Ctrl-A (or a) sends a Ctrl-A, Ctrl-A h prints a help.
 * The terminal is restored by destroy, by exit(3), and by every signal that can be caught.
 * One at a time in a process.
 */
int char_stdio_create(struct loop *loop, void (*quit)(void *data), void *quit_data,
		      struct char_backend **backend, struct vmm_error *error);

/*
 * A Unix socket at path that programs of the host connect to, one at a time. what begins the line in
 * error.
 */
int char_socket_create(struct loop *loop, const char *path, const char *what,
		       struct char_backend **backend, struct vmm_error *error);

/* Takes everything, gives nothing. Returns 0 or -ENOMEM. */
int char_null_create(struct char_backend **backend);

#endif
