/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's side of anykvm exec: runs commands for the host, over vsock, as agent.h has it.
 *
 * Only the host can connect. The agent is root, as the host's user is to this guest anyway.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "agent.h"

#define MAX_WORDS	4096

static int peer;

/* The host is gone: there is nobody to run anything for. */
static void send_frame(char kind, const void *content, uint32_t length)
{
	if (!agent_send(peer, kind, content, length))
		exit(1);
}

static void send_status(int status)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", status);
	send_frame('x', text, strlen(text));
}

/* ------------------------------------------------------------------ the command */

struct command {
	char *words[MAX_WORDS + 1];
	size_t count;
	bool terminal;
	struct winsize size;
	pid_t child;
	int in, out, err;	/* of this side; -1: closed */
};

static void parse_size(const char *text, struct winsize *size)
{
	unsigned int columns = 80, rows = 24;

	sscanf(text, "%u %u", &columns, &rows);
	size->ws_col = columns;
	size->ws_row = rows;
}

static bool read_command(struct command *c, char *content)
{
	uint32_t length;
	char kind;

	while ((kind = agent_receive(peer, content, &length)) && kind != 'g') {
		if (kind == 'a' && c->count < MAX_WORDS)
			c->words[c->count++] = strdup(content);
		else if (kind == 'e')
			putenv(strdup(content));
		else if (kind == 't') {
			c->terminal = true;
			parse_size(content, &c->size);
		}
	}
	return kind;
}

static void run_command(struct command *c)
{
	char *login[] = { "/bin/bash", "--login", NULL };
	char **words = c->count ? c->words : login;

	signal(SIGPIPE, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	if (chdir("/root") && chdir("/"))
		_exit(126);
	execvp(words[0], words);
	fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static bool start_on_terminal(struct command *c)
{
	int master;

	c->child = forkpty(&master, NULL, NULL, &c->size);
	if (!c->child)
		run_command(c);
	c->in = c->out = master;
	c->err = -1;
	return c->child > 0;
}

static bool start_on_pipes(struct command *c)
{
	int in[2], out[2], err[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return false;
	c->child = fork();
	if (!c->child) {
		setsid();
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		run_command(c);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	c->in = in[1];
	c->out = out[0];
	c->err = err[0];
	return c->child > 0;
}

static void end_input(struct command *c)
{
	const char end_of_file = 4;

	if (c->terminal && c->in >= 0)
		agent_write_all(c->in, &end_of_file, 1);
	else if (c->in >= 0)
		close(c->in);
	c->in = -1;
}

static void take_frame(struct command *c, char *content)
{
	uint32_t length;

	switch (agent_receive(peer, content, &length)) {
	case 'i':
		/* A command that reads no more is no reason to end. */
		if (c->in >= 0 && !agent_write_all(c->in, content, length))
			end_input(c);
		break;
	case 'c':
		end_input(c);
		break;
	case 'w':
		parse_size(content, &c->size);
		if (c->terminal)
			ioctl(c->out, TIOCSWINSZ, &c->size);
		break;
	case 0:
		/* As when a terminal goes away. */
		kill(-c->child, SIGHUP);
		exit(0);
	}
}

/* Passes on what the command says. Returns false at its end. */
static bool pass_output(int fd, char kind, char *content)
{
	ssize_t n = read(fd, content, AGENT_CONTENT);

	if (n > 0)
		send_frame(kind, content, n);
	return n > 0 || (n < 0 && errno == EINTR);
}

/* To the end of the command and of all it wrote; what it left running in the background may hold on
 * to the pipes, and is not waited for. */
static void attend(struct command *c, char *content)
{
	struct pollfd p[] = {
		{ .fd = c->out, .events = POLLIN },
		{ .fd = c->err, .events = POLLIN },
		{ .fd = (int)syscall(SYS_pidfd_open, c->child, 0), .events = POLLIN },
		{ .fd = peer, .events = POLLIN },
	};

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 4, -1) < 0)
			continue;
		if (p[2].revents && !p[0].revents && !p[1].revents)
			break;
		if (p[0].fd >= 0 && p[0].revents && !pass_output(c->out, 'o', content))
			p[0].fd = -1;
		if (p[1].fd >= 0 && p[1].revents && !pass_output(c->err, 'r', content))
			p[1].fd = -1;
		if (p[3].revents)
			take_frame(c, content);
	}
}

static int serve(void)
{
	static char content[AGENT_CONTENT + 1];
	static struct command c = { .in = -1, .out = -1, .err = -1 };
	int status;

	setenv("HOME", "/root", 1);
	setenv("USER", "root", 1);
	setenv("LOGNAME", "root", 1);
	setenv("SHELL", "/bin/bash", 1);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (!read_command(&c, content))
		return 1;
	if (!(c.terminal ? start_on_terminal(&c) : start_on_pipes(&c))) {
		status = snprintf(content, sizeof(content), "the guest cannot start it: %s\n",
				  strerror(errno));
		send_frame('r', content, status);
		send_status(126);
		return 1;
	}
	attend(&c, content);
	while (waitpid(c.child, &status, 0) < 0 && errno == EINTR)
		;
	send_status(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	return 0;
}

int main(void)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = AGENT_PORT,
	};
	int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t child;

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, 64)) {
		perror("anykvm-agent: vsock");
		return 1;
	}
	/* Children are nobody's to wait for; those of a child are, and it says so itself. */
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		struct sockaddr_vm from = { 0 };
		socklen_t length = sizeof(from);

		peer = accept4(listener, (struct sockaddr *)&from, &length, SOCK_CLOEXEC);
		if (peer < 0)
			continue;
		child = from.svm_cid == VMADDR_CID_HOST ? fork() : 1;
		if (!child) {
			signal(SIGCHLD, SIG_DFL);
			return serve();
		}
		close(peer);
	}
}
