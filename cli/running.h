/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What makes a machine of anykvm run one that others find: its directory and name, and the process
 * that it lives in where that is not the caller's.
 */
#ifndef CLI_RUNNING_H
#define CLI_RUNNING_H

#include <stdbool.h>

#include "cli/config.h"
#include "vmm/control/rundir.h"

struct running {
	struct rundir dir;
	bool claimed;		/* dir is ours */
	bool unnamed;		/* nobody asked for it: it goes with the machine */
	char name[32];		/* of an unnamed one */
	char *description;
	struct control_config control;
	struct vsock_config vsock;
	int ready_fd;		/* detached: the caller waits here; else -1 */
	uint64_t started;
};

enum running_begun {
	RUNNING_HERE = 0,	/* go on, and run the machine */
	RUNNING_ELSEWHERE,	/* a process was made that does; *status is to be returned */
	RUNNING_FAILED,		/* likewise, having complained */
};

#ifdef HAVE_JANSSON

/* Notes what the configuration is, before what follows from it is put in. Returns an exit
 * status. */
int running_describe(struct running *r, const struct config *c);

/* Takes the machine's directory, whose name needed says has to be had. Returns an exit status,
 * having complained. */
int running_claim(struct running *r, const struct config *c, bool needed);

/*
 * Gives the configuration, which is complete, its control and started, and with detach makes the
 * process that runs it: then this returns twice, RUNNING_HERE in that process, and in the caller
 * when the guest runs or failed to.
 */
enum running_begun running_begin(struct running *r, struct config *c, bool detach, int *status);
/* The machine has ended, with that status; reason is what was said of it, NULL where it has not
 * come to be run. After running_claim, whatever that and running_begin returned. */
void running_end(struct running *r, const struct config *c, int status, const char *reason);
/* Gives back what running_describe took. */
void running_forget(struct running *r);

#else

#include "cli/cli.h"

static inline int running_describe(struct running *r, const struct config *c)
{
	return CLI_OK;
}

static inline int running_claim(struct running *r, const struct config *c, bool needed)
{
	return !needed ? CLI_OK :
	       cli_fail(&command_run, CLI_FAILED, "%s: this anykvm was built without libjansson "
			"and has no control sockets: leave it away", c->name ? "--name" : "--detach");
}

static inline enum running_begun running_begin(struct running *r, struct config *c, bool detach,
					       int *status)
{
	return RUNNING_HERE;
}

static inline void running_end(struct running *r, const struct config *c, int status,
			       const char *reason)
{
}

static inline void running_forget(struct running *r)
{
}

#endif

#endif
