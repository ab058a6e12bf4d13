/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm console: this terminal as the console of a machine that has none.
 *
 * Keys are the guest's but for the escape, as with anykvm run; leaving leaves the machine running.
 */
#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/char/terminal.h"

#define ESCAPE	0x01	/* Ctrl-A */

enum verdict { GO_ON, LEAVE, MACHINE_ENDED };

struct session {
	int socket;
	bool terminal;		/* standard input is one */
	bool escaped;		/* the last key was the escape */
};

static void say(const char *text)
{
	if (!client_write_all(STDERR_FILENO, text, strlen(text)))
		return;
}

/* Takes the escape sequences out, in place. Returns false where one of them is to leave. */
static bool filter_escapes(struct session *s, char *data, size_t *length)
{
	size_t kept = 0;

	for (size_t i = 0; i < *length; i++) {
		char c = data[i];

		if (!s->escaped && c == ESCAPE) {
			s->escaped = true;
			continue;
		}
		if (!s->escaped) {
			data[kept++] = c;
			continue;
		}
		s->escaped = false;
		if (c == 'x' || c == 'X' || c == 'd' || c == 'D')
			return false;
		if (c == 'a' || c == 'A' || c == ESCAPE)
			data[kept++] = ESCAPE;
		else
			say("\r\nCtrl-A x  leave: the machine goes on\r\n"
			    "Ctrl-A a  send a Ctrl-A to the guest\r\n"
			    "Ctrl-A h  this help\r\n");
	}
	*length = kept;
	return true;
}

static enum verdict pass_input(struct session *s)
{
	char data[4096];
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));
	size_t length = n;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? GO_ON : LEAVE;
	/* The end of a file is not that of the console: what the guest says to it is still
	 * wanted. */
	if (!n && s->terminal)
		return LEAVE;
	if (!n) {
		shutdown(s->socket, SHUT_WR);
		return MACHINE_ENDED;
	}
	if (s->terminal && !filter_escapes(s, data, &length))
		return LEAVE;
	return client_write_all(s->socket, data, length) ? GO_ON : MACHINE_ENDED;
}

static enum verdict pass_output(struct session *s)
{
	char data[65536];
	ssize_t n = read(s->socket, data, sizeof(data));

	if (n < 0 && errno == EINTR)
		return GO_ON;
	if (n <= 0)
		return MACHINE_ENDED;
	return client_write_all(STDOUT_FILENO, data, n) ? GO_ON : LEAVE;
}

static enum verdict pass(struct session *s)
{
	struct pollfd ready[] = {
		{ .fd = s->socket, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN },
	};
	enum verdict verdict = GO_ON;

	while (verdict == GO_ON) {
		if (poll(ready, 2, -1) < 0 && errno != EINTR)
			return LEAVE;
		if (ready[1].revents) {
			verdict = pass_input(s);
			if (verdict == MACHINE_ENDED) {
				/* What it said to the end is still in the socket. */
				ready[1].fd = -1;
				ready[1].revents = 0;
				verdict = GO_ON;
			}
		}
		if (verdict == GO_ON && ready[0].revents)
			verdict = pass_output(s);
	}
	return verdict;
}

static int attach(struct client *c)
{
	struct session s = { .socket = c->socket, .terminal = isatty(STDIN_FILENO) };
	struct winsize size = { 0 };
	enum verdict verdict;
	int ret;

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	ret = client_ask(c, "console", json_pack("{s:i, s:i}", "columns", size.ws_col, "rows",
						 size.ws_row), NULL);
	if (ret)
		return ret;
	signal(SIGPIPE, SIG_IGN);
	if (s.terminal) {
		fprintf(stderr, "anykvm console: this is the console of %s; Ctrl-A x leaves it, "
			"Ctrl-A h lists more\n", c->name);
		ret = terminal_raw(STDIN_FILENO);
		if (ret)
			return cli_fail(c->command, CLI_FAILED, "cannot put the terminal into raw "
					"mode: %s", strerror(-ret));
	}
	verdict = pass(&s);
	terminal_restore();
	if (s.terminal)
		fprintf(stderr, "\nanykvm console: %s %s\n", c->name,
			verdict == LEAVE ? "goes on without this terminal" : "has ended");
	return CLI_OK;
}

static int console_main(int argc, char **argv)
{
	const char *name;
	struct client c;
	int ret;

	name = client_only_name(&command_console, argc, argv, &ret);
	if (!name)
		return ret;
	ret = client_connect(&c, &command_console, name);
	if (ret)
		return ret;
	ret = attach(&c);
	client_close(&c);
	return ret;
}

const struct command command_console = {
	.name = "console",
	.summary = "attach this terminal to a detached machine's console",
	.help =
"Usage: anykvm console NAME\n"
"\n"
"Makes this terminal the console of a machine that was started with --detach. Ctrl-A x\n"
"leaves it, and the machine goes on; Ctrl-A Ctrl-A sends a Ctrl-A, Ctrl-A h lists more.\n"
"All other keys are the guest's, Ctrl-C too. Several terminals may be attached.\n"
"\n"
"Without a terminal, standard input goes to the guest and its output comes on standard\n"
"output, until the machine ends.\n",
	.main = console_main,
};
