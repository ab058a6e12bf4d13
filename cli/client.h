/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Running machines, from the side of the commands that deal with them: finding them by name, asking
 * them over their control sockets (docs/control.md), and what those commands have in common.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "cli/cli.h"

struct client {
	const struct command *command;	/* for messages */
	const char *name;
	int directory;			/* the machine's, or -1 */
	bool running;
	pid_t pid;
	int socket;			/* connected, or -1 */
	int timeout;			/* milliseconds to wait for an answer */
	bool quiet;			/* what goes wrong with a request is not told */
};

/* Finds the machine; complains where there is none. Returns an exit status. */
int client_find(struct client *c, const struct command *command, const char *name);
/* The same, and connects; complains also where it does not run. */
int client_connect(struct client *c, const struct command *command, const char *name);
/* Connects to one that was found. Returns 0 or -errno, without complaint. */
int client_dial(struct client *c);
void client_close(struct client *c);

/*
 * Sends a command with the members of arguments (or NULL; the reference is taken over) and waits
 * for the answer. Returns an exit status, having complained; *result, if it is wanted, is
 * json_decref'd by the caller.
 */
int client_ask(struct client *c, const char *what, json_t *arguments, json_t **result);

/* All of it, however long that takes. Returns false where nobody takes it. */
bool client_write_all(int fd, const void *data, size_t length);

/* Waits until the machine's process has ended, seconds at most. Returns whether it has. */
bool client_wait_end(struct client *c, double seconds);

/* The names of all machines, also those of which only a disk is left, sorted; or NULL, having
 * complained. client_free_names them. */
char **client_names(const struct command *command, size_t *count);
void client_free_names(char **names);

/* Reads a file of the machine's directory as JSON. NULL where there is none. */
json_t *client_read_json(const struct client *c, const char *file);

/*
 * The arguments of a command that takes a machine's name and nothing else but --help. Returns the
 * name, or NULL where *status is to be returned.
 */
const char *client_only_name(const struct command *command, int argc, char **argv, int *status);

#endif
