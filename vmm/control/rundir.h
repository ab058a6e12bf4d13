/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where running machines are found: a directory for each, named like it, below one that is its
 * user's alone: $XDG_RUNTIME_DIR/anykvm/, or where that is not set /run/user/UID/anykvm/, or
 * /tmp/anykvm-UID/.
 *
 * A machine's process holds a lock on its directory for as long as it lives, however it ends; so
 * the lock, and not what lies there, says whether the machine runs.
 */
#ifndef VMM_CONTROL_RUNDIR_H
#define VMM_CONTROL_RUNDIR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/error.h"

/* What lies in a machine's directory. */
#define RUNDIR_LOCK		"lock"		/* with the process's identifier */
#define RUNDIR_SOCKET		"control"	/* docs/control.md */
#define RUNDIR_VSOCK		"vsock"		/* to the guest's vsock ports; docs/control.md */
#define RUNDIR_CONSOLE		"console.log"
#define RUNDIR_CONSOLE_OLD	"console.log.1"	/* what was there before */
#define RUNDIR_MESSAGES		"messages.log"	/* what the process had to say */
#define RUNDIR_ENDED		"ended.json"	/* how the machine ended, and its last status */

struct rundir {
	char path[PATH_MAX];
	int lock_fd;
};

/* Finds the directory of all machines; makes it where it is not there. Returns 0 or -errno. */
int rundir_base(char path[PATH_MAX], struct vmm_error *error);

/* Whether a machine can have that name, which has come from a user: that of one file, in plain
 * sight. */
bool rundir_name_is_good(const char *name);

/* Makes the directory of a machine, or takes over that of one that ended, for this process and
 * those that it forks. Returns 0, -EBUSY where a machine of the name runs, or -errno. */
int rundir_claim(struct rundir *dir, const char *name, struct vmm_error *error);
/* After a fork: it is this process that runs the machine. */
void rundir_set_pid(const struct rundir *dir);
/* The machine has ended. Its directory stays. */
void rundir_release(struct rundir *dir);
/* The machine has ended, and its directory goes. */
void rundir_discard(struct rundir *dir);

/* Opens the directory of a machine that another process may run; running is said of it then, and
 * the process's identifier (0: none). Returns a descriptor, or -errno: -ENOENT where there is none.
 * */
int rundir_open(const char *name, bool *running, pid_t *pid, struct vmm_error *error);

/* Whether a process holds the lock that lock_fd, any descriptor of the file, is of. */
bool rundir_is_locked(int lock_fd);

/* Removes the directory of a machine that has ended. Returns 0, -EBUSY where it runs, -ENOENT, or
 * -errno. */
int rundir_remove(const char *name, struct vmm_error *error);

#endif
