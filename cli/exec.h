/* SPDX-License-Identifier: GPL-2.0-only */
/* The two ways of anykvm exec into a guest. */
#ifndef CLI_EXEC_H
#define CLI_EXEC_H

#include "cli/client.h"

/* The exit status where the guest cannot be asked, as env(1) and shells have it. */
#define EXEC_NO_AGENT	125

/* Runs a command of at least one word by a shell that listens on the machine's console. Returns an
 * exit status, having complained where it is EXEC_NO_AGENT. */
int exec_by_console(struct client *c, char **words);

#endif
