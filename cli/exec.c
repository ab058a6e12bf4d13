/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm exec: one command in a guest that has our agent (scripts/image/agent.h explains what is
 * said), over the machine's vsock; or by a shell on the console, see exec_console.c.
 *
 * The command's outputs and its exit status are this command's; on a terminal it has a terminal in
 * the guest too, and all keys are its.
 */
#include "cli/client.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/exec.h"
#include "scripts/image/agent.h"
#include "vmm/char/terminal.h"
#include "vmm/control/rundir.h"

#define WAIT_SECONDS	600

struct session {
	int socket;
	bool terminal;
	char content[AGENT_CONTENT + 1];
};

static bool send_text(struct session *s, char kind, const char *text)
{
	return agent_send(s->socket, kind, text, strlen(text));
}

/* ------------------------------------------------------------------ the connection */

/* Reads the line that says that the guest has taken the connection, by bytes: what follows is not
 * ours to read yet. */
static bool accepted(int fd)
{
	char line[32];
	size_t n = 0;

	while (n < sizeof(line) - 1 && agent_read_all(fd, line + n, 1) && line[n] != '\n')
		n++;
	return n > 2 && !memcmp(line, "OK ", 3);
}

/* The socket of the machine's vsock: ours in its directory, or where the user wanted it. Empty:
 * there is none. */
static void find_vsock(struct client *c, char *path, size_t size)
{
	json_t *status = NULL;
	const char *own = "";

	snprintf(path, size, "/proc/self/fd/%d/%s", c->directory, RUNDIR_VSOCK);
	if (!access(path, F_OK) || client_ask(c, "status", NULL, &status))
		return;
	json_unpack(status, "{s:{s:{s:s}}}", "config", "vsock", "path", &own);
	snprintf(path, size, "%s", own);
	json_decref(status);
}

/* Connects to the agent once. Returns a descriptor, or -1 where there is none yet. */
static int connect_agent(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = 10 }, none = { 0 };
	char hello[32];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int n = snprintf(hello, sizeof(hello), "CONNECT %d\n", AGENT_PORT);

	if (fd < 0)
		return -1;
	strcpy(address.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)) && client_write_all(fd, hello, n) &&
	    accepted(fd)) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
		return fd;
	}
	close(fd);
	return -1;
}

/* A guest that has just been started has no agent yet. Returns an exit status. */
static int find_agent(struct client *c, const char *path, int *fd)
{
	const struct timespec a_moment = { .tv_nsec = 200000000 };
	time_t until = time(NULL) + WAIT_SECONDS;

	do {
		*fd = connect_agent(path);
		if (*fd >= 0)
			return CLI_OK;
		if (client_wait_end(c, 0))
			return cli_fail(c->command, EXEC_NO_AGENT, "%s has ended", c->name);
		nanosleep(&a_moment, NULL);
	} while (time(NULL) < until);
	return cli_fail(c->command, EXEC_NO_AGENT, "the agent in %s does not answer: see anykvm "
			"logs %s", c->name, c->name);
}

/* ------------------------------------------------------------------ the session */

static bool send_size(struct session *s, char kind)
{
	struct winsize size = { .ws_col = 80, .ws_row = 24 };
	char text[32];

	ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	snprintf(text, sizeof(text), "%u %u", size.ws_col, size.ws_row);
	return send_text(s, kind, text);
}

static bool send_command(struct session *s, char **words)
{
	const char *term = getenv("TERM");
	bool sent = true;

	if (s->terminal) {
		snprintf(s->content, sizeof(s->content), "TERM=%s", term ? term : "vt220");
		sent = send_text(s, 'e', s->content) && send_size(s, 't');
	}
	for (; *words && sent; words++)
		sent = send_text(s, 'a', *words);
	return sent && send_text(s, 'g', "");
}

/* Passes input on. Returns false where there will be no more. */
static bool pass_input(struct session *s)
{
	ssize_t n = read(STDIN_FILENO, s->content, AGENT_CONTENT);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (!n) {
		send_text(s, 'c', "");
		return false;
	}
	return agent_send(s->socket, 'i', s->content, (uint32_t)n);
}

/* Takes one frame. Returns -1 to go on, or the command's status; EXEC_NO_AGENT where the guest is
 * gone. */
static int take_frame(struct session *s)
{
	uint32_t length;
	char kind = agent_receive(s->socket, s->content, &length);

	if (!kind)
		return EXEC_NO_AGENT;
	if (kind == 'x')
		return atoi(s->content) & 0xff;
	/* Nobody reads any more: as a shell would tell of it. */
	if (!client_write_all(kind == 'o' ? STDOUT_FILENO : STDERR_FILENO, s->content, length))
		return 128 + SIGPIPE;
	return -1;
}

static int open_window(void)
{
	sigset_t winch;

	sigemptyset(&winch);
	sigaddset(&winch, SIGWINCH);
	sigprocmask(SIG_BLOCK, &winch, NULL);
	return signalfd(-1, &winch, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int attend(struct session *s)
{
	struct pollfd p[] = {
		{ .fd = s->socket, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = s->terminal ? open_window() : -1, .events = POLLIN },
	};
	struct signalfd_siginfo info;
	int status = -1;

	while (status < 0) {
		if (poll(p, 3, -1) < 0)
			continue;
		if (p[1].revents && !pass_input(s))
			p[1].fd = -1;
		if (p[2].revents && read(p[2].fd, &info, sizeof(info)) > 0)
			send_size(s, 'w');
		if (p[0].revents)
			status = take_frame(s);
	}
	if (p[2].fd >= 0)
		close(p[2].fd);
	return status;
}

static int execute(struct client *c, const char *path, char **words)
{
	static struct session s;
	int ret = find_agent(c, path, &s.socket);

	if (ret)
		return ret;
	signal(SIGPIPE, SIG_IGN);
	s.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (send_command(&s, words)) {
		if (s.terminal && terminal_raw(STDIN_FILENO))
			s.terminal = false;
		ret = attend(&s);
		terminal_restore();
	} else {
		ret = EXEC_NO_AGENT;
	}
	close(s.socket);
	if (ret == EXEC_NO_AGENT && client_wait_end(c, 0.2))
		return cli_fail(c->command, ret, "%s has ended, and the command with it", c->name);
	return ret;
}

static int exec_main(int argc, char **argv)
{
	enum { CONSOLE = 256 };
	static const struct option options[] = {
		{ "console", no_argument, NULL, CONSOLE },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = "";
	bool console = false;
	struct client c;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		switch (opt) {
		case CONSOLE:
			console = true;
			break;
		case 'h':
			command_print_help(&command_exec);
			return cli_finish_output(&command_exec);
		default:
			return cli_bad_option(&command_exec, opt, argv);
		}
	}
	if (optind == argc)
		return cli_fail(&command_exec, CLI_USAGE, "no machine named: give its NAME; anykvm "
				"ps lists them");
	ret = client_connect(&c, &command_exec, argv[optind]);
	if (ret)
		return ret;
	argv += optind + 1;
	if (*argv && !strcmp(*argv, "--"))
		argv++;
	if (!console)
		find_vsock(&c, path, sizeof(path));
	ret = *path ? execute(&c, path, argv) : exec_by_console(&c, argv);
	client_close(&c);
	return ret;
}

const struct command command_exec = {
	.name = "exec",
	.summary = "run a command in a guest",
	.help =
"Usage: anykvm exec [--console] NAME [--] [COMMAND [ARGUMENT]...]\n"
"\n"
"Runs COMMAND, or a shell, as root in the guest of a machine that boots an image which\n"
"anykvm made. It needs no network. Standard input, output and error are the command's;\n"
"where they are a terminal it has a terminal in the guest, and all keys are its own.\n"
"Waits for a guest that is just starting.\n"
"\n"
"Other guests have no agent for this: there COMMAND is typed to the shell that is on\n"
"the console of a machine started with --detach, where somebody has logged in. Its\n"
"input is empty, and its output and its errors come together on standard output, with\n"
"what else there is on the console.\n"
"\n"
"  --console            use the console though there is an agent\n"
"  --help               print this\n"
"\n"
"Exit status: that of COMMAND, 126 or 127 where it cannot be run or is not found, 125\n"
"where the guest cannot be asked to.\n",
	.main = exec_main,
};
