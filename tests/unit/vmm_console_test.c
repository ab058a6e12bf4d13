/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The console on stdio: a child with a pseudo-terminal (or pipes, or files) as its stdin and stdout
 * runs the backend, with a front that echoes; the test is the user, and looks at the terminal after
 * every way in which the child can go.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/char/char.h"

/* ------------------------------------------------------------------ the child */

enum child_does {
	CHILD_ECHOES,		/* gives back what it gets, in capitals */
	CHILD_IS_DEAF,		/* has no room for input */
	CHILD_TALKS,		/* writes a megabyte */
	CHILD_EXITS,		/* ends by exit(3) with the terminal raw */
	CHILD_CRASHES,
};

static struct char_backend *backend;
static enum child_does child_does;
static atomic_bool child_quits;

static size_t child_room(void *front)
{
	return child_does == CHILD_IS_DEAF ? 0 : 16;
}

static void child_input(void *front, const uint8_t *data, size_t length)
{
	uint8_t c;

	for (size_t i = 0; i < length; i++) {
		c = data[i] >= 'a' && data[i] <= 'z' ? data[i] - 32 : data[i];
		backend->ops->write(backend, &c, 1);
	}
	if (child_does == CHILD_EXITS)
		exit(9);
	if (child_does == CHILD_CRASHES)
		abort();
}

#define TALK (1 << 20)

static size_t talked;

static void child_talk(void *front)
{
	uint8_t line[100];
	size_t taken;

	while (talked < TALK) {
		for (unsigned int i = 0; i < sizeof(line); i++)
			line[i] = 'a' + (talked + i) % 26;
		taken = backend->ops->write(backend, line,
					    TALK - talked < sizeof(line) ? TALK - talked :
									   sizeof(line));
		talked += taken;
		if (!taken)
			return;
	}
	child_quits = true;
}

static const struct char_front child_front = {
	.room = child_room, .input = child_input, .writable = child_talk,
};

static void child_quit(void *data)
{
	child_quits = true;
}

static void child_main(enum child_does what)
{
	struct loop *loop = loop_create();
	struct vmm_error error = { "" };

	/* cmocka takes some, and who started the test may have had others ignored, as nohup does. */
	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	child_does = what;
	if (char_stdio_create(loop, child_quit, NULL, &backend, &error))
		_exit(99);
	loop_start(loop, "loop");
	backend->ops->write(backend, (const uint8_t *)"ready\r\n", 7);
	char_attach(backend, &child_front, NULL);
	if (what == CHILD_TALKS)
		loop_run(loop, child_talk, NULL);
	while (!child_quits)
		usleep(1000);
	loop_stop(loop);
	backend->ops->destroy(backend);
	_exit(7);
}

/* ------------------------------------------------------------------ the user */

static struct termios at_start;
static int master;
static pid_t child;

static void start(enum child_does what)
{
	child = forkpty(&master, NULL, NULL, NULL);
	assert_true(child >= 0);
	if (!child)
		child_main(what);
}

/* Reads until text has come, five seconds at most. */
static void expect_from(int fd, const char *text)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buffer[4096];
	size_t length = 0;
	ssize_t got;

	buffer[0] = 0;
	while (!strstr(buffer, text)) {
		if (poll(&p, 1, 5000) <= 0 || length + 1 == sizeof(buffer))
			fail_msg("no \"%s\" in \"%s\"", text, buffer);
		got = read(fd, buffer + length, sizeof(buffer) - 1 - length);
		if (got <= 0)
			fail_msg("it ended without \"%s\": \"%s\"", text, buffer);
		length += got;
		buffer[length] = 0;
	}
}

static void expect(const char *text)
{
	expect_from(master, text);
}

static void send_keys(const char *keys, size_t length)
{
	assert_int_equal(write(master, keys, length), length);
}

static bool is_raw(void)
{
	struct termios now;

	assert_int_equal(tcgetattr(master, &now), 0);
	return !(now.c_lflag & (ICANON | ECHO | ISIG));
}

static int wait_child(void)
{
	int status, patience = 500;

	while (waitpid(child, &status, WNOHANG) == 0) {
		if (!patience--) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			fail_msg("the child did not end");
		}
		usleep(10000);
	}
	return status;
}

/* Everything of the terminal is as it was before the child. */
static void expect_restored(void)
{
	struct termios now;

	assert_int_equal(tcgetattr(master, &now), 0);
	assert_int_equal(now.c_lflag, at_start.c_lflag);
	assert_int_equal(now.c_iflag, at_start.c_iflag);
	assert_int_equal(now.c_oflag, at_start.c_oflag);
	assert_int_equal(now.c_cflag, at_start.c_cflag);
	close(master);
}

static int learn_terminal(void **state)
{
	int a, b;

	if (openpty(&a, &b, NULL, NULL, NULL))
		return -1;
	tcgetattr(a, &at_start);
	close(a);
	close(b);
	return 0;
}

static void keys_reach_the_guest(void **state)
{
	start(CHILD_ECHOES);
	expect("ready\r\n");
	assert_true(is_raw());
	send_keys("hello\3\r\032\004", 9);
	expect("HELLO\3\r\032\004");		/* Ctrl-C, Ctrl-Z, Ctrl-D too */
	send_keys("x\1\1y\1az", 7);
	expect("X\1Y\1Z");
	send_keys("\1h", 2);
	expect("Ctrl-A x");
	send_keys("\1x", 2);
	assert_int_equal(wait_child(), 7 << 8);
	expect_restored();
}

static void the_escape_works_when_the_guest_is_deaf(void **state)
{
	char keys[6000];

	start(CHILD_IS_DEAF);
	expect("ready");
	memset(keys, 'k', sizeof(keys));
	/* More than is kept; a terminal takes no more than 4,095 at a time. */
	for (unsigned int i = 0; i < sizeof(keys); i += 1000) {
		send_keys(keys + i, 1000);
		usleep(20000);
	}
	send_keys("\1x", 2);
	assert_int_equal(wait_child(), 7 << 8);
	expect_restored();
}

static void every_end_restores(void **state)
{
	static const int signals[] = {
		SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGSEGV, SIGBUS, SIGABRT, SIGUSR1, SIGALRM,
		SIGPIPE,
	};

	for (unsigned int i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int status;

		start(CHILD_ECHOES);
		expect("ready");
		assert_true(is_raw());
		kill(child, signals[i]);
		status = wait_child();
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
		expect_restored();
	}
	start(CHILD_EXITS);
	expect("ready");
	send_keys("x", 1);
	assert_int_equal(wait_child(), 9 << 8);
	expect_restored();
	start(CHILD_CRASHES);
	expect("ready");
	send_keys("x", 1);
	assert_true(WIFSIGNALED(wait_child()));
	expect_restored();
}

static void stopping_restores_meanwhile(void **state)
{
	int status;

	start(CHILD_ECHOES);
	expect("ready");
	kill(child, SIGTSTP);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_true(WIFSTOPPED(status));
	assert_false(is_raw());
	kill(child, SIGCONT);
	for (int i = 0; i < 500 && !is_raw(); i++)
		usleep(10000);
	assert_true(is_raw());
	send_keys("on\1x", 4);
	assert_int_equal(wait_child(), 7 << 8);
	expect_restored();
}

/* ------------------------------------------------------------------ pipes and files */

/* The user's ends are not for the child to hold open. */
static void start_with(enum child_does what, int in, int out, int users_in, int users_out)
{
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		dup2(in, 0);
		dup2(out, 1);
		close(users_in);
		close(users_out);
		close(in);
		close(out);
		child_main(what);
	}
	close(in);
	close(out);
}

static void pipes_have_no_escape(void **state)
{
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	start_with(CHILD_ECHOES, in[0], out[1], in[1], out[0]);
	expect_from(out[0], "ready\r\n");
	assert_int_equal(write(in[1], "ab\1xcd", 6), 6);
	expect_from(out[0], "AB\1XCD");
	/* The end of input is not the end of the guest. */
	close(in[1]);
	usleep(20000);
	assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
	kill(child, SIGKILL);
	wait_child();
	close(out[0]);
}

static void all_output_arrives(void **state)
{
	int in = open("/dev/null", O_RDONLY), out[2];
	char buffer[1000];
	size_t total = 0;
	ssize_t got;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	start_with(CHILD_TALKS, in, out[1], -1, out[0]);
	while ((got = read(out[0], buffer, sizeof(buffer))) > 0) {
		for (ssize_t i = 0; i < got; i++) {
			size_t at = total + i;

			if (at >= 7)
				assert_int_equal(buffer[i], 'a' + (at - 7) % 26);
		}
		total += got;
		/* A slow reader, now and then. */
		if (total / 100000 != (total - got) / 100000)
			usleep(5000);
	}
	assert_int_equal(total, TALK + 7);
	assert_int_equal(wait_child(), 7 << 8);
	close(out[0]);
}

/* A file's offset is shared: what others wrote before and write after stays. */
static void files_are_appended_to(void **state)
{
	FILE *file = tmpfile(), *input = tmpfile();
	char buffer[64] = "";
	int fd = fileno(file);

	assert_int_equal(write(fd, "before\n", 7), 7);
	fputs("typed", input);
	rewind(input);
	start_with(CHILD_ECHOES, dup(fileno(input)), dup(fd), -1, -1);
	for (int i = 0; i < 500 && lseek(fd, 0, SEEK_CUR) < 19; i++)
		usleep(10000);
	kill(child, SIGKILL);
	wait_child();
	assert_int_equal(write(fd, "after", 5), 5);
	assert_true(pread(fd, buffer, sizeof(buffer) - 1, 0) > 0);
	assert_string_equal(buffer, "before\nready\r\nTYPEDafter");
	fclose(file);
	fclose(input);
}

static void a_reader_that_leaves_is_no_end(void **state)
{
	int in = open("/dev/null", O_RDONLY), out[2];

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	signal(SIGPIPE, SIG_IGN);	/* as the emulator has it */
	start_with(CHILD_TALKS, in, out[1], -1, out[0]);
	expect_from(out[0], "ready");
	close(out[0]);
	assert_int_equal(wait_child(), 7 << 8);
	signal(SIGPIPE, SIG_DFL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_reach_the_guest),
		cmocka_unit_test(the_escape_works_when_the_guest_is_deaf),
		cmocka_unit_test(every_end_restores),
		cmocka_unit_test(stopping_restores_meanwhile),
		cmocka_unit_test(pipes_have_no_escape),
		cmocka_unit_test(all_output_arrives),
		cmocka_unit_test(files_are_appended_to),
		cmocka_unit_test(a_reader_that_leaves_is_no_end),
	};

	return cmocka_run_group_tests_name("vmm-console", tests, learn_terminal, NULL);
}
