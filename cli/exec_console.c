/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm exec where the guest has no agent of ours: the command is typed to the shell on the
 * machine's console, as a user would, and what comes between two marks is what it says.
 *
 * What is typed is a line of letters and digits: everything else in it is written in octal, and
 * turned back by the guest's printf. So neither a shell's line editor nor its quoting has any say
 * in it. The marks are put together in the guest, lest the line's echo be taken for them.
 */
#include "cli/exec.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/loop.h"

/* A terminal in canonical mode takes a line of 4095 bytes. */
#define LINE_LIMIT	4000
#define MARK_SIZE	32
#define PROMPT_MS	2000	/* for a prompt to appear, and to be complete */
#define QUIET_MS	300
#define BEGIN_MS	30000	/* for the command to begin */

struct talk {
	int socket;
	int interrupts;			/* a signalfd, or -1 */
	unsigned int interrupted;	/* how often */
	char mark[MARK_SIZE];
	char text[65536];		/* what came and is not dealt with */
	size_t length;
};

/* ------------------------------------------------------------------ what is typed */

/* A string that grows, or overflows. */
struct line {
	char text[LINE_LIMIT];
	size_t length;
	bool overflow;
};

static void append(struct line *l, char c)
{
	if (l->length < sizeof(l->text))
		l->text[l->length++] = c;
	else
		l->overflow = true;
}

static void append_text(struct line *l, const char *text)
{
	while (*text)
		append(l, *text++);
}

/* As printf's format has it. */
static void append_encoded(struct line *l, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 128 && (isalnum(c) || strchr(" ./:=,+@-_", c))) {
			append(l, *text);
			continue;
		}
		append(l, '\\');
		append(l, (char)('0' + (c >> 6)));
		append(l, (char)('0' + (c >> 3 & 7)));
		append(l, (char)('0' + (c & 7)));
	}
}

/* A word as shells take it whatever is in it. */
static void append_word(struct line *l, const char *word)
{
	char one[2] = "";

	append_encoded(l, " '");
	for (; *word; word++) {
		one[0] = *word;
		append_encoded(l, *word == '\'' ? "'\\''" : one);
	}
	append_encoded(l, "'");
}

/*
 * An interrupt ends the command, in a shell of its own, and not that which tells its status.
 * Returns false where it is too long.
 */
static bool compose(const struct talk *t, struct line *l, char **words)
{
	append_text(l, " sh -c \"$(printf '");
	append_encoded(l, "trap : INT; printf '\\n%s%s\\n' ");
	append_encoded(l, t->mark);
	append_encoded(l, " -begin; (");
	for (; *words; words++)
		append_word(l, *words);
	append_encoded(l, ") </dev/null; s=$?; printf '%s%s %d\\n' ");
	append_encoded(l, t->mark);
	append_encoded(l, " -end $s");
	append_text(l, "')\"\r");
	return !l->overflow;
}

/* ------------------------------------------------------------------ what comes */

static void forget(struct talk *t, size_t length)
{
	t->length -= length;
	memmove(t->text, t->text + length, t->length);
}

/* Waits until more has come, milliseconds at most (-1: for ever), and passes the first interrupt on;
 * a second one is from somebody who has lost patience. Returns false where nothing came. */
static bool receive(struct talk *t, int milliseconds)
{
	struct pollfd p[] = {
		{ .fd = t->socket, .events = POLLIN }, { .fd = t->interrupts, .events = POLLIN },
	};
	struct signalfd_siginfo info;
	ssize_t n;

	for (;;) {
		int ready = poll(p, 2, milliseconds);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return false;
		if (p[1].revents && read(t->interrupts, &info, sizeof(info)) > 0 &&
		    (t->interrupted++ || !client_write_all(t->socket, "\003", 1)))
			return false;
		if (p[0].revents)
			break;
	}
	/* Who says so much before the mark says it for nobody. */
	if (t->length == sizeof(t->text))
		forget(t, sizeof(t->text) / 2);
	n = read(t->socket, t->text + t->length, sizeof(t->text) - t->length);
	if (n <= 0)
		return false;
	t->length += n;
	return true;
}

static bool ends_with(const struct talk *t, const char *what)
{
	size_t length = t->length, n = strlen(what);

	while (length && strchr(" \r\n", t->text[length - 1]))
		length--;
	return length >= n && !memcmp(t->text + length - n, what, n);
}

/* Presses return, and looks at who answers. Returns false where that wants to know a name or a
 * password. */
static bool is_shell(struct talk *t)
{
	uint64_t until = loop_now() + PROMPT_MS * 1000000ull;

	if (!client_write_all(t->socket, "\r", 1))
		return false;
	while (receive(t, QUIET_MS) && loop_now() < until)
		;
	return !ends_with(t, "login:") && !ends_with(t, "assword:");
}

/* Where text stands in what has come; NULL: not yet. */
static char *find(const struct talk *t, const char *text)
{
	return memmem(t->text, t->length, text, strlen(text));
}

static bool wait_begin(struct talk *t)
{
	uint64_t until = loop_now() + BEGIN_MS * 1000000ull;
	char begin[MARK_SIZE + 16];
	char *found, *end;

	snprintf(begin, sizeof(begin), "%s-begin", t->mark);
	for (;;) {
		uint64_t now = loop_now();

		found = find(t, begin);
		end = found ? memchr(found, '\n', t->length - (size_t)(found - t->text)) : NULL;
		if (end) {
			forget(t, (size_t)(end + 1 - t->text));
			return true;
		}
		if (now >= until || !receive(t, (int)((until - now) / 1000000) + 1))
			return false;
	}
}

/* Prints the first bytes, with lines' ends as the command wrote them. Returns false where nobody
 * reads. */
static bool print(struct talk *t, size_t length)
{
	size_t kept = 0;

	for (size_t i = 0; i < length; i++)
		if (t->text[i] != '\r' || i + 1 == t->length || t->text[i + 1] != '\n')
			t->text[kept++] = t->text[i];
	if (!client_write_all(STDOUT_FILENO, t->text, kept))
		return false;
	forget(t, length);
	return true;
}

/* How many bytes at the end may be the beginning of mark. */
static size_t begun(const struct talk *t, const char *mark)
{
	size_t n = strlen(mark);

	if (n > t->length)
		n = t->length;
	while (n && memcmp(t->text + t->length - n, mark, n))
		n--;
	return n;
}

/* Prints what comes up to the end. Returns the command's status, or EXEC_NO_AGENT. */
static int print_output(struct talk *t)
{
	char mark[MARK_SIZE + 16], *found;
	size_t length;
	int status;

	snprintf(mark, sizeof(mark), "%s-end ", t->mark);
	for (;;) {
		found = find(t, mark);
		length = found ? (size_t)(found - t->text) : t->length - begun(t, mark);
		if (found && memchr(found, '\n', t->length - length))
			break;
		/* It may be half of a line's end. */
		if (length && length == t->length && t->text[length - 1] == '\r')
			length--;
		if (!print(t, length))
			return 128 + SIGPIPE;
		if (!receive(t, -1))
			return t->interrupted > 1 ? 128 + SIGINT : EXEC_NO_AGENT;
	}
	/* What is behind the status is the shell's. */
	t->text[t->length - 1] = 0;
	status = atoi(found + strlen(mark)) & 0xff;
	return print(t, length) ? status : 128 + SIGPIPE;
}

/* ------------------------------------------------------------------ the whole */

static int take_interrupts(void)
{
	sigset_t interrupt;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupt, NULL);
	return signalfd(-1, &interrupt, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run(struct client *c, struct talk *t, char **words)
{
	struct line line = { .length = 0 };
	int ret;

	if (!compose(t, &line, words))
		return cli_fail(c->command, EXEC_NO_AGENT, "the command is too long to be typed: put "
				"it into a file of the guest's");
	ret = client_ask(c, "console", NULL, NULL);
	if (ret)
		return EXEC_NO_AGENT;
	if (!is_shell(t))
		return cli_fail(c->command, EXEC_NO_AGENT, "the console of %s asks for a login: log in "
				"there first, with anykvm console %s", c->name, c->name);
	if (!client_write_all(t->socket, line.text, line.length) || !wait_begin(t))
		return t->interrupted > 1 ? 128 + SIGINT : cli_fail(c->command, EXEC_NO_AGENT, "no shell answers on the console of %s: see "
				"anykvm console %s", c->name, c->name);
	ret = print_output(t);
	if (ret == EXEC_NO_AGENT && client_wait_end(c, 0.2))
		return cli_fail(c->command, ret, "%s has ended, and the command with it", c->name);
	return ret;
}

int exec_by_console(struct client *c, char **words)
{
	static struct talk t;
	uint32_t random;

	if (!*words)
		return cli_fail(c->command, EXEC_NO_AGENT, "%s has no agent that gives a shell: use "
				"anykvm console %s", c->name, c->name);
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return cli_fail(c->command, EXEC_NO_AGENT, "%s", strerror(errno));
	snprintf(t.mark, sizeof(t.mark), "anykvm-%08x", random);
	t.socket = c->socket;
	signal(SIGPIPE, SIG_IGN);
	t.interrupts = take_interrupts();
	return run(c, &t, words);
}
