/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Raw mode, and the promise to leave the terminal as it was found; see terminal.h.
 *
 * This is the one place with global state, because signals and exit(3) are the process's.
 * tcsetattr is async-signal-safe, so a handler may call it.
 */
#include "vmm/char/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define LAST_SIGNAL 31

static struct termios cooked, raw;
static int terminal_fd;
static atomic_bool is_raw;
static struct sigaction old_actions[LAST_SIGNAL + 1];
static bool taken[LAST_SIGNAL + 1];

static void make_cooked(void)
{
	if (atomic_load(&is_raw))
		tcsetattr(terminal_fd, TCSANOW, &cooked);
}

/* From the background, tcsetattr would stop the process. */
static void make_raw(void)
{
	if (atomic_load(&is_raw) && tcgetpgrp(terminal_fd) == getpgrp())
		tcsetattr(terminal_fd, TCSANOW, &raw);
}

static void on_fatal(int signo)
{
	make_cooked();
	signal(signo, SIG_DFL);
	raise(signo);
}

/* Stopped from outside; the keys that stop are the guest's. SIGSTOP itself cannot be caught, but
 * what follows it can: then only the mode while stopped is wrong. */
static void on_stop(int signo)
{
	int saved = errno;

	make_cooked();
	raise(SIGSTOP);
	make_raw();
	errno = saved;
}

static void on_continue(int signo)
{
	int saved = errno;

	make_raw();
	errno = saved;
}

static void take_signal(int signo)
{
	struct sigaction action = { .sa_flags = SA_RESTART };

	switch (signo) {
	case SIGKILL:
	case SIGSTOP:
	case SIGCHLD:		/* those which by default do nothing */
	case SIGURG:
	case SIGWINCH:
	case SIGTTIN:		/* those which mean that the terminal is somebody else's now */
	case SIGTTOU:
		return;
	case SIGTSTP:
		action.sa_handler = on_stop;
		break;
	case SIGCONT:
		action.sa_handler = on_continue;
		break;
	default:
		action.sa_handler = on_fatal;
		/* A thread's fault comes again at once if it is blocked. */
		action.sa_flags |= SA_NODEFER;
	}
	if (sigaction(signo, NULL, &old_actions[signo]) ||
	    (old_actions[signo].sa_flags & SA_SIGINFO) ||
	    old_actions[signo].sa_handler != SIG_DFL)
		return;
	taken[signo] = !sigaction(signo, &action, NULL);
}

int terminal_raw(int fd)
{
	static bool registered;

	if (tcgetattr(fd, &cooked))
		return -errno;
	raw = cooked;
	cfmakeraw(&raw);
	terminal_fd = fd;
	if (!registered && atexit(make_cooked))
		return -ENOMEM;
	registered = true;
	for (int signo = 1; signo <= LAST_SIGNAL; signo++)
		take_signal(signo);
	atomic_store(&is_raw, true);
	if (tcsetattr(fd, TCSANOW, &raw)) {
		int err = -errno;

		terminal_restore();
		return err;
	}
	return 0;
}

void terminal_restore(void)
{
	if (!atomic_load(&is_raw))
		return;
	/* What the user typed ahead was meant for the guest, not for the shell. */
	tcsetattr(terminal_fd, TCSAFLUSH, &cooked);
	atomic_store(&is_raw, false);
	for (int signo = 1; signo <= LAST_SIGNAL; signo++) {
		if (taken[signo])
			sigaction(signo, &old_actions[signo], NULL);
		taken[signo] = false;
	}
}
