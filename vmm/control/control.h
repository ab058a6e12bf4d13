/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How others talk to a running machine: a socket in its directory, on which they send requests and
 * get answers, a line of JSON each; and the console of a machine without a terminal, which they
 * attach to by way of the socket. docs/control.md is the protocol.
 *
 * All of it lives on the loop thread. The directory keeps others out; a peer that got in has its
 * lines and numbers checked all the same.
 */
#ifndef VMM_CONTROL_CONTROL_H
#define VMM_CONTROL_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/char/char.h"
#include "vmm/error.h"
#include "vmm/machine/machine.h"

struct control;

/* Makes the socket in the directory that m->config->control names. Before the machine runs. Returns
 * 0 or -errno. */
int control_create(struct machine *m, struct control **control, struct vmm_error *error);
/* Where a console goes that has no terminal. The device owns it. Returns 0 or -errno. */
int control_console(struct control *control, struct char_backend **backend,
		    struct vmm_error *error);
/* After the run and before the machine is destroyed. Harmless with NULL. */
void control_destroy(struct control *control);

/* ------------------------------------------------------------------ commands.c */

struct control_request {
	struct machine *machine;
	uint64_t started;	/* loop_now() when the machine was made */
	const json_t *arguments;	/* the whole request */
	json_t *result;		/* an object; what is set in it is the answer */
	struct vmm_error error;
};

/* What a command comes to. */
enum control_outcome {
	CONTROL_DONE,
	CONTROL_FAILED,		/* error says why */
	CONTROL_WHEN_PAUSED,	/* answer when the machine is in that state */
	CONTROL_WHEN_RUNNING,
	CONTROL_CONSOLE,	/* the connection becomes the console */
};

/* Carries out the command of that name. */
enum control_outcome control_run(const char *name, struct control_request *request);
/* What "status" answers, also for the file that is left behind. */
void control_status(const struct control_request *request, json_t *status);

/* ------------------------------------------------------------------ console.c */

struct console;

/* A console with its log in that directory. Returns 0 or -errno. */
int console_create(struct loop *loop, const char *directory, struct console **console,
		   struct vmm_error *error);
struct char_backend *console_backend(struct console *console);
/* Connects fd, a socket, which the console then owns, and gives the guest what came on it
 * already. */
void console_attach(struct console *console, int fd, const uint8_t *input, size_t length);
void console_resize(struct console *console, unsigned int columns, unsigned int rows);
/* Lets go of those who are attached. The backend lives on, for the device to destroy. */
void console_detach_all(struct console *console);

#endif
