/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm stop, kill, pause, resume, logs, rm: what is done to a machine from outside. */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/made_image.h"
#include "vmm/control/rundir.h"

#define STOP_SECONDS	60
#define KILL_SECONDS	5

/* Sends a command without arguments, whose answer says nothing. */
static int simple(const struct command *command, int argc, char **argv)
{
	const char *name;
	struct client c;
	int ret;

	name = client_only_name(command, argc, argv, &ret);
	if (!name)
		return ret;
	ret = client_connect(&c, command, name);
	if (ret)
		return ret;
	ret = client_ask(&c, command->name, NULL, NULL);
	client_close(&c);
	return ret;
}

static int pause_main(int argc, char **argv)
{
	return simple(&command_pause, argc, argv);
}

const struct command command_pause = {
	.name = "pause",
	.summary = "make a machine stand still",
	.help =
"Usage: anykvm pause NAME\n"
"\n"
"Stops a machine's processors and devices until anykvm resume. Its memory stays.\n",
	.main = pause_main,
};

static int resume_main(int argc, char **argv)
{
	return simple(&command_resume, argc, argv);
}

const struct command command_resume = {
	.name = "resume",
	.summary = "let a paused machine go on",
	.help =
"Usage: anykvm resume NAME\n"
"\n"
"Lets a machine go on that anykvm pause stopped.\n",
	.main = resume_main,
};

/* ------------------------------------------------------------------ the end of a machine */

/* Ends it as if by pulling the plug; a process that does not obey is killed. */
static int kill_machine(struct client *c)
{
	c->quiet = true;
	client_ask(c, "kill", NULL, NULL);
	if (client_wait_end(c, KILL_SECONDS))
		return CLI_OK;
	if (c->pid > 0 && !kill(c->pid, SIGKILL) && client_wait_end(c, KILL_SECONDS))
		return CLI_OK;
	return cli_fail(c->command, CLI_FAILED, "%s does not end: its process is %d", c->name, c->pid);
}

static int kill_main(int argc, char **argv)
{
	const char *name;
	struct client c;
	int ret;

	name = client_only_name(&command_kill, argc, argv, &ret);
	if (!name)
		return ret;
	ret = client_connect(&c, &command_kill, name);
	if (ret)
		return ret;
	ret = kill_machine(&c);
	client_close(&c);
	return ret;
}

const struct command command_kill = {
	.name = "kill",
	.summary = "end a machine at once",
	.help =
"Usage: anykvm kill NAME\n"
"\n"
"Ends a machine as if by pulling its plug. What its guest has not written to its\n"
"disks is lost; see anykvm stop.\n",
	.main = kill_main,
};

/* Presses the power button, again every few seconds: a guest that is starting does not listen
 * yet. */
static int stop_machine(struct client *c, double seconds)
{
	const double again = 3;
	int ret = client_ask(c, "stop", NULL, NULL);

	if (ret)
		return ret;
	/* It may end at any time, and not take the next request. */
	c->quiet = true;
	for (; seconds > 0; seconds -= again) {
		if (client_wait_end(c, seconds < again ? seconds : again))
			return CLI_OK;
		client_ask(c, "stop", NULL, NULL);
	}
	c->quiet = false;
	if (client_wait_end(c, 0))
		return CLI_OK;
	fprintf(stderr, "anykvm stop: %s has not switched itself off in time: pulling the plug\n",
		c->name);
	return kill_machine(c);
}

static int stop_main(int argc, char **argv)
{
	enum { TIMEOUT = 256 };
	static const struct option options[] = {
		{ "timeout", required_argument, NULL, TIMEOUT },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	unsigned long seconds = STOP_SECONDS;
	struct client c;
	int opt, ret;
	char *end;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (opt) {
		case TIMEOUT:
			seconds = strtoul(optarg, &end, 10);
			if (*optarg < '0' || *optarg > '9' || *end || seconds > 86400)
				return cli_fail(&command_stop, CLI_USAGE, "--timeout: '%s' is no "
						"number of seconds: give 0 to 86400", optarg);
			break;
		case 'h':
			command_print_help(&command_stop);
			return cli_finish_output(&command_stop);
		default:
			return cli_bad_option(&command_stop, opt, argv);
		}
	}
	if (optind == argc)
		return cli_fail(&command_stop, CLI_USAGE, "no machine named: give its NAME; anykvm "
				"ps lists them");
	if (optind + 1 < argc)
		return cli_extra_argument(&command_stop, argv[optind + 1]);
	ret = client_connect(&c, &command_stop, argv[optind]);
	if (ret)
		return ret;
	ret = stop_machine(&c, seconds);
	client_close(&c);
	return ret;
}

const struct command command_stop = {
	.name = "stop",
	.summary = "ask a guest to switch its machine off",
	.help =
"Usage: anykvm stop [--timeout SECONDS] NAME\n"
"\n"
"Presses the machine's power button and waits until the guest has switched it off.\n"
"\n"
"  --timeout SECONDS    how long to wait before the plug is pulled, as by anykvm\n"
"                       kill (default: 60)\n"
"  --help               print this\n",
	.main = stop_main,
};

static int rm_main(int argc, char **argv)
{
	struct vmm_error error = { "" };
	const char *name;
	int ret;

	name = client_only_name(&command_rm, argc, argv, &ret);
	if (!name)
		return ret;
	/* Its disk may be there alone: what runs is forgotten when the host is switched off. */
	ret = rundir_remove(name, &error);
	if (!ret || (ret == -ENOENT && rundir_name_is_good(name))) {
		int err = made_image_forget(name);

		if (err && err != -ENOENT)
			return cli_fail(&command_rm, CLI_FAILED, "the disk of %s: %s", name,
					strerror(-err));
		if (!err)
			ret = 0;
	}
	return ret ? cli_fail(&command_rm, CLI_FAILED, "%s", error.text) : CLI_OK;
}

const struct command command_rm = {
	.name = "rm",
	.summary = "forget a machine that has ended",
	.help =
"Usage: anykvm rm NAME\n"
"\n"
"Removes what is left of a machine that has ended: its logs, and the disk that it has\n"
"of its own where it booted an image which anykvm made.\n",
	.main = rm_main,
};

/* ------------------------------------------------------------------ logs */

/* Copies what is in the file from *offset on. Returns false where standard output takes no more. */
static bool copy_log(int fd, off_t *offset)
{
	char data[65536];
	ssize_t n;

	while ((n = pread(fd, data, sizeof(data), *offset)) > 0) {
		if (fwrite(data, 1, n, stdout) != (size_t)n)
			return false;
		*offset += n;
	}
	return !fflush(stdout);
}

static int open_log(const struct client *c, const char *name)
{
	return openat(c->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* Until the machine has ended, or standard output has. */
static bool follow(struct client *c, int *fd, off_t *offset)
{
	bool ended = !c->running;

	for (;;) {
		struct stat now, next;

		if (!copy_log(*fd, offset))
			return false;
		/* A log that is full is moved away, and a new one begun. */
		if (!fstat(*fd, &now) && !fstatat(c->directory, RUNDIR_CONSOLE, &next, 0) &&
		    now.st_ino != next.st_ino) {
			close(*fd);
			*fd = open_log(c, RUNDIR_CONSOLE);
			*offset = 0;
			continue;
		}
		if (ended)
			return true;
		/* What it said last is still to be read. */
		ended = client_wait_end(c, 0.1);
	}
}

static int show_logs(struct client *c, bool following)
{
	off_t offset = 0;
	int fd = open_log(c, RUNDIR_CONSOLE_OLD);
	bool good = true;

	if (fd >= 0) {
		good = copy_log(fd, &offset);
		close(fd);
	}
	fd = open_log(c, RUNDIR_CONSOLE);
	if (fd < 0)
		return cli_fail(c->command, CLI_FAILED, "%s has no log: its console is the "
				"terminal that it was started from", c->name);
	offset = 0;
	if (good)
		good = following ? follow(c, &fd, &offset) : copy_log(fd, &offset);
	close(fd);
	return cli_finish_output(c->command);
}

static int logs_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "follow", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool following = false;
	struct client c;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, ":fh", options, NULL)) != -1) {
		switch (opt) {
		case 'f':
			following = true;
			break;
		case 'h':
			command_print_help(&command_logs);
			return cli_finish_output(&command_logs);
		default:
			return cli_bad_option(&command_logs, opt, argv);
		}
	}
	if (optind == argc)
		return cli_fail(&command_logs, CLI_USAGE, "no machine named: give its NAME; anykvm "
				"ps lists them");
	if (optind + 1 < argc)
		return cli_extra_argument(&command_logs, argv[optind + 1]);
	ret = client_find(&c, &command_logs, argv[optind]);
	if (ret)
		return ret;
	ret = show_logs(&c, following);
	client_close(&c);
	return ret;
}

const struct command command_logs = {
	.name = "logs",
	.summary = "print what a detached machine's console said",
	.help =
"Usage: anykvm logs [-f] NAME\n"
"\n"
"Prints the console of a machine that was started with --detach, the last megabyte\n"
"or two of it; also when it has ended.\n"
"\n"
"  -f, --follow         go on with what comes, until the machine ends\n"
"  --help               print this\n",
	.main = logs_main,
};
