/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs one command in the quickstart guest and reports on it over the console.
 *
 * The console is one stream, on which the kernel speaks too; the command has two outputs and an
 * exit status. So what the command says travels in frames, which quickstart on the other side
 * takes apart: a byte 0x1d, the frame's kind (o standard output, e standard error, x exit status),
 * the length as four hexadecimal digits, and that many bytes of content. The command itself is
 * the content of a file, so that no quoting stands between the user and the guest's shell.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define FRAME_START	0x1d
#define FRAME_CONTENT	4096

static void write_all(int fd, const char *data, size_t length)
{
	ssize_t n;

	while (length) {
		n = write(fd, data, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			exit(1);
		data += n;
		length -= n;
	}
}

static void frame(char kind, const char *content, size_t length)
{
	char head[16];
	int n = snprintf(head, sizeof(head), "%c%c%04zx", FRAME_START, kind, length);

	write_all(STDOUT_FILENO, head, n);
	write_all(STDOUT_FILENO, content, length);
}

static void frame_status(int status)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", status);
	frame('x', text, strlen(text));
	tcdrain(STDOUT_FILENO);
}

/* Eight clean bits, and nothing that adds to them or takes some for itself. */
static void make_raw(int fd)
{
	struct termios tio;

	if (tcgetattr(fd, &tio))
		return;
	cfmakeraw(&tio);
	tcsetattr(fd, TCSANOW, &tio);
}

static char *read_command(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	/* A command has no zero bytes: this takes all of it. */
	if (file && getdelim(&text, &size, 0, file) < 0)
		text = strdup("");
	return text;
}

static pid_t start(char *command, int out, int err)
{
	pid_t child = fork();

	if (child)
		return child;
	setsid();
	dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	execl("/bin/bash", "bash", "-c", command, NULL);
	perror("/bin/bash");
	_exit(127);
}

int main(int argc, char **argv)
{
	int out[2], err[2], status;
	char buffer[FRAME_CONTENT];
	struct pollfd pfd[3];
	char *command;
	pid_t child;
	ssize_t n;

	if (argc != 2)
		return 2;
	make_raw(STDOUT_FILENO);
	command = read_command(argv[1]);
	if (!command || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) ||
	    (child = start(command, out[1], err[1])) < 0) {
		n = snprintf(buffer, sizeof(buffer), "the guest cannot run the command: %s\n",
			     strerror(errno));
		frame('e', buffer, n);
		frame_status(126);
		return 1;
	}
	close(out[1]);
	close(err[1]);

	pfd[0] = (struct pollfd) { .fd = out[0], .events = POLLIN };
	pfd[1] = (struct pollfd) { .fd = err[0], .events = POLLIN };
	pfd[2] = (struct pollfd) { .fd = syscall(SYS_pidfd_open, child, 0), .events = POLLIN };
	/* To the end of the command and of all it wrote; what it left running in the background
	 * may hold on to the pipes, and is not waited for. */
	while (pfd[0].fd >= 0 || pfd[1].fd >= 0) {
		if (poll(pfd, 3, -1) < 0)
			continue;
		if (pfd[2].revents && !pfd[0].revents && !pfd[1].revents)
			break;
		for (int i = 0; i < 2; i++) {
			if (pfd[i].fd < 0 || !pfd[i].revents)
				continue;
			n = read(pfd[i].fd, buffer, sizeof(buffer));
			if (n > 0)
				frame("oe"[i], buffer, n);
			else if (!n || errno != EINTR)
				pfd[i].fd = -1;
		}
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	frame_status(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	free(command);
	return 0;
}
