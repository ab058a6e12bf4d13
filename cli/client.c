/* SPDX-License-Identifier: GPL-2.0-only */
/* The client's side of the control sockets; see client.h. */
#include "cli/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/made_image.h"
#include "vmm/control/rundir.h"

#define TIMEOUT_MS	10000
#define ANSWER_LIMIT	(16 << 20)

bool client_write_all(int fd, const void *data, size_t length)
{
	const char *at = data;

	while (length) {
		ssize_t n = write(fd, at, length);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= n;
	}
	return true;
}

int client_find(struct client *c, const struct command *command, const char *name)
{
	struct vmm_error error = { "" };

	*c = (struct client){ .command = command, .name = name, .socket = -1,
			      .timeout = TIMEOUT_MS };
	c->directory = rundir_open(name, &c->running, &c->pid, &error);
	return c->directory < 0 ? cli_fail(command, CLI_FAILED, "%s", error.text) : CLI_OK;
}

/* By way of the directory's descriptor, so that no path is too long for a socket's address. */
int client_dial(struct client *c)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", c->directory,
		 RUNDIR_SOCKET);
	c->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->socket < 0)
		return -errno;
	return connect(c->socket, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

int client_connect(struct client *c, const struct command *command, const char *name)
{
	int ret = client_find(c, command, name);

	if (ret)
		return ret;
	if (!c->running) {
		client_close(c);
		return cli_fail(command, CLI_FAILED, "%s is not running: start it with anykvm run "
				"--name %s", name, name);
	}
	ret = client_dial(c);
	if (!ret)
		return CLI_OK;
	client_close(c);
	return cli_fail(command, CLI_FAILED, "%s does not answer: %s; it may be starting or "
			"ending, try again", name, strerror(-ret));
}

void client_close(struct client *c)
{
	if (c->socket >= 0)
		close(c->socket);
	if (c->directory >= 0)
		close(c->directory);
	c->socket = c->directory = -1;
}

/* ------------------------------------------------------------------ requests */

static bool send_all(int fd, const char *data, size_t length)
{
	while (length) {
		ssize_t n = send(fd, data, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		length -= n;
	}
	return true;
}

/* One line, without what follows it: after the answer to "console" that is the guest's. Returns
 * NULL with errno set (0: the machine hung up). */
static char *receive_line(struct client *c)
{
	struct pollfd ready = { .fd = c->socket, .events = POLLIN };
	size_t length = 0, size = 0;
	char *line = NULL;

	for (;;) {
		char *end, *more;
		ssize_t n;

		if (length == size) {
			size = size ? 2 * size : 4096;
			more = size > ANSWER_LIMIT ? NULL : realloc(line, size);
			if (!more)
				break;
			line = more;
		}
		n = poll(&ready, 1, c->timeout);
		if (n == 0)
			errno = ETIMEDOUT;
		if (n <= 0)
			break;
		n = recv(c->socket, line + length, size - length, MSG_PEEK);
		if (n <= 0) {
			errno = n ? errno : 0;
			break;
		}
		end = memchr(line + length, '\n', n);
		if (end)
			n = end + 1 - (line + length);
		n = recv(c->socket, line + length, n, 0);
		if (n <= 0)
			break;
		length += n;
		if (end && line + length == end + 1) {
			*end = 0;
			return line;
		}
	}
	free(line);
	return NULL;
}

static int take_answer(struct client *c, const char *line, json_t **result)
{
	json_t *answer = json_loads(line, 0, NULL);
	const char *error = "it answers nonsense";
	int ret = CLI_OK;

	json_unpack(answer, "{s:s}", "error", &error);
	if (!json_is_true(json_object_get(answer, "ok")))
		ret = c->quiet ? CLI_FAILED : cli_fail(c->command, CLI_FAILED, "%s: %s", c->name, error);
	else if (result)
		*result = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	return ret;
}

int client_ask(struct client *c, const char *what, json_t *arguments, json_t **result)
{
	json_t *request = arguments ? arguments : json_object();
	char *line = NULL, *text = NULL;
	int ret;

	json_object_set_new(request, "command", json_string(what));
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (!text)
		return cli_fail(c->command, CLI_FAILED, "%s", strerror(ENOMEM));
	errno = 0;
	if (send_all(c->socket, text, strlen(text)) && send_all(c->socket, "\n", 1))
		line = receive_line(c);
	ret = line ? take_answer(c, line, result) : c->quiet ? CLI_FAILED :
	      cli_fail(c->command, CLI_FAILED, "%s does not answer: %s", c->name,
		       errno ? strerror(errno) : "it has ended");
	free(text);
	free(line);
	return ret;
}

bool client_wait_end(struct client *c, double seconds)
{
	int lock = openat(c->directory, RUNDIR_LOCK, O_RDONLY | O_CLOEXEC);
	const struct timespec a_moment = { .tv_nsec = 20000000 };
	bool ended = lock < 0;

	/* The lock is what ends with the process whatever its end is. */
	for (; !ended && seconds >= 0; seconds -= 0.02) {
		ended = !rundir_is_locked(lock);
		if (!ended)
			nanosleep(&a_moment, NULL);
	}
	if (lock >= 0)
		close(lock);
	return ended;
}

/* ------------------------------------------------------------------ names */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the names of a directory's entries that are not there yet. Returns false where there is no
 * memory. */
static bool add_names(DIR *dir, char ***names, size_t *count)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		size_t i = 0;
		char **more;

		while (i < *count && strcmp((*names)[i], entry->d_name))
			i++;
		if (i < *count || !rundir_name_is_good(entry->d_name))
			continue;
		more = reallocarray(*names, *count + 2, sizeof(*more));
		if (!more)
			return false;
		*names = more;
		more[*count] = strdup(entry->d_name);
		more[*count + 1] = NULL;
		if (!more[*count])
			return false;
		++*count;
	}
	return true;
}

char **client_names(const struct command *command, size_t *count)
{
	struct vmm_error error = { "" };
	char base[PATH_MAX], machines[PATH_MAX], **names = calloc(1, sizeof(*names));
	DIR *running = rundir_base(base, &error) ? NULL : opendir(base), *disks = NULL;
	bool good = names;

	*count = 0;
	if (!running) {
		cli_fail(command, CLI_FAILED, "%s", error.text[0] ? error.text : strerror(errno));
		free(names);
		return NULL;
	}
	if (made_image_data(machines, "machines"))
		disks = opendir(machines);
	if (good)
		good = add_names(running, &names, count);
	if (good && disks)
		good = add_names(disks, &names, count);
	closedir(running);
	if (disks)
		closedir(disks);
	if (good) {
		qsort(names, *count, sizeof(*names), compare_names);
		return names;
	}
	cli_fail(command, CLI_FAILED, "%s", strerror(ENOMEM));
	client_free_names(names);
	return NULL;
}

void client_free_names(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

json_t *client_read_json(const struct client *c, const char *name)
{
	int fd = openat(c->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	json_t *value;

	if (fd < 0)
		return NULL;
	value = json_loadfd(fd, 0, NULL);
	close(fd);
	return value;
}

const char *client_only_name(const struct command *command, int argc, char **argv, int *status)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (c == 'h') {
			command_print_help(command);
			*status = cli_finish_output(command);
		} else {
			*status = cli_bad_option(command, c, argv);
		}
		return NULL;
	}
	if (optind == argc)
		*status = cli_fail(command, CLI_USAGE, "no machine named: give its NAME; anykvm ps "
				   "lists them");
	else if (optind + 1 < argc)
		*status = cli_extra_argument(command, argv[optind + 1]);
	return optind + 1 == argc ? argv[optind] : NULL;
}
