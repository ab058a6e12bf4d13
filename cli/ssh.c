/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm ssh: ssh(1) to a machine, by its name.
 *
 * All there is to know for that (port, key, the guest's own key) is known here; the rest is ssh's.
 */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "cli/made_image.h"

#define WAIT_SECONDS	600
#define GREETING_MS	5000

/* The host's address and port that lead to the guest's port 22. */
static bool find_port(const json_t *config, const char **address, int *port)
{
	const json_t *forward;
	size_t i;

	json_array_foreach(json_object_get(config, "ports"), i, forward) {
		int host = 0, guest = 0, udp = 0;

		*address = "127.0.0.1";
		json_unpack((json_t *)forward, "{s:i, s:i, s?b, s?s}", "host", &host, "guest", &guest,
			    "udp", &udp, "address", address);
		if (guest == 22 && host && !udp) {
			*port = host;
			if (!strcmp(*address, "0.0.0.0"))
				*address = "127.0.0.1";
			return true;
		}
	}
	return false;
}

/* Whether a server greets there: with a forwarded port, connecting alone says nothing. */
static bool greets(const char *address, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char greeting[4];
	bool there;

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return false;
	there = !connect(fd, (struct sockaddr *)&to, sizeof(to)) && poll(&ready, 1, GREETING_MS) > 0 &&
		recv(fd, greeting, 4, MSG_WAITALL) == 4 && !memcmp(greeting, "SSH-", 4);
	close(fd);
	return there;
}

static int wait_server(struct client *c, const char *address, int port)
{
	const struct timespec a_moment = { .tv_nsec = 300000000 };
	time_t until = time(NULL) + WAIT_SECONDS;

	while (!greets(address, port)) {
		if (client_wait_end(c, 0))
			return cli_fail(c->command, CLI_FAILED, "%s has ended", c->name);
		if (time(NULL) >= until)
			return cli_fail(c->command, CLI_FAILED, "no ssh server answers in %s: see "
					"anykvm logs %s", c->name, c->name);
		nanosleep(&a_moment, NULL);
	}
	return CLI_OK;
}

/* The arguments of ssh, which are all that it is told. */
struct words {
	char *word[64];
	unsigned int count;
};

static void add(struct words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct words *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (w->count + 1 < sizeof(w->word) / sizeof(w->word[0]) &&
	    vasprintf(&w->word[w->count], format, args) >= 0)
		w->count++;
	va_end(args);
}

/* For images of ours: our key, and only the guest that has the image's. */
static int add_keys(struct words *w, const struct client *c, const char *image)
{
	char key[PATH_MAX], known[PATH_MAX];

	if (!made_image_data(key, "ssh/id_ed25519") || !made_image_data(known, "ssh/known_hosts"))
		return cli_fail(c->command, CLI_FAILED, "%s", strerror(ENAMETOOLONG));
	add(w, "-i");
	add(w, "%s", key);
	add(w, "-oIdentitiesOnly=yes");
	add(w, "-oUserKnownHostsFile=\"%s\"", known);
	add(w, "-oGlobalKnownHostsFile=none");
	add(w, "-oStrictHostKeyChecking=yes");
	add(w, "-oHostKeyAlias=anykvm-%s", image);
	add(w, "-oLogLevel=ERROR");
	return CLI_OK;
}

/* Where no port is forwarded, a server of its own for this connection, by anykvm exec. */
static void add_proxy(struct words *w, const struct client *c)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = 0;
	add(w, "-oProxyCommand='%s' exec %s -- /usr/sbin/sshd -i", self, c->name);
}

static int prepare(struct client *c, const json_t *config, const char *user, struct words *w)
{
	const char *image = json_string_value(json_object_get(config, "image"));
	const char *address = "127.0.0.1";
	bool made = image && made_image_is(image);
	int port, ret = CLI_OK;

	add(w, "ssh");
	if (find_port(config, &address, &port)) {
		ret = wait_server(c, address, port);
		add(w, "-p%d", port);
	} else if (made) {
		add_proxy(w, c);
	} else {
		return cli_fail(c->command, CLI_FAILED, "no port of this host leads to port 22 of "
				"%s: start it with -p 2222:22, say", c->name);
	}
	if (!ret && made)
		ret = add_keys(w, c, image);
	else
		add(w, "-oHostKeyAlias=anykvm-%s", c->name);
	if (user || made)
		add(w, "-l%s", user ? user : "root");
	add(w, "%s", address);
	return ret;
}

static int connect_ssh(struct client *c, const char *user, char **command)
{
	struct words w = { .count = 0 };
	json_t *status = NULL;
	char **all;
	int ret, words = 0;

	ret = client_ask(c, "status", NULL, &status);
	if (!ret)
		ret = prepare(c, json_object_get(status, "config"), user, &w);
	json_decref(status);
	if (ret)
		return ret;
	while (command[words])
		words++;
	all = calloc(w.count + words + 2, sizeof(*all));
	if (!all)
		return cli_fail(c->command, CLI_FAILED, "%s", strerror(ENOMEM));
	memcpy(all, w.word, w.count * sizeof(*all));
	if (words)
		all[w.count++] = "--";
	memcpy(all + w.count, command, words * sizeof(*all));
	execvp("ssh", all);
	return cli_fail(c->command, CLI_FAILED, "ssh cannot be run: %s; install openssh-client",
			strerror(errno));
}

static int ssh_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "login", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *user = NULL;
	struct client c;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "+:l:h", options, NULL)) != -1) {
		switch (opt) {
		case 'l':
			if (!*optarg || *optarg == '-')
				return cli_fail(&command_ssh, CLI_USAGE, "--login: '%s' is no "
						"user's name: give one, as in root", optarg);
			user = optarg;
			break;
		case 'h':
			command_print_help(&command_ssh);
			return cli_finish_output(&command_ssh);
		default:
			return cli_bad_option(&command_ssh, opt, argv);
		}
	}
	if (optind == argc)
		return cli_fail(&command_ssh, CLI_USAGE, "no machine named: give its NAME; anykvm "
				"ps lists them");
	ret = client_connect(&c, &command_ssh, argv[optind]);
	if (ret)
		return ret;
	argv += optind + 1;
	if (*argv && !strcmp(*argv, "--"))
		argv++;
	ret = connect_ssh(&c, user, argv);
	client_close(&c);
	return ret;
}

const struct command command_ssh = {
	.name = "ssh",
	.summary = "log in to a guest, or run a command there, by ssh",
	.help =
"Usage: anykvm ssh [-l USER] NAME [--] [COMMAND [ARGUMENT]...]\n"
"\n"
"Runs ssh(1) to the guest of a machine: by the port of this host that was made to lead\n"
"to the guest's port 22 (anykvm run -p 2222:22). Images that anykvm makes know a key of\n"
"anykvm's and log root in, and need no port. Waits for a guest that is just starting.\n"
"\n"
"  -l, --login USER     whom to log in as (default: root in images that anykvm makes,\n"
"                       else as ssh does)\n"
"  --help               print this\n"
"\n"
"Exit status: ssh's, which is COMMAND's or 255.\n",
	.main = ssh_main,
};
