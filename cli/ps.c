/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm ps, stats, rm: which machines there are, what they use, and forgetting them. */
#include "cli/client.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/config.h"
#include "cli/made_image.h"
#include "vmm/control/rundir.h"

#define PS_TIMEOUT_MS	2000

/* A machine that nobody gave a name, whose process was killed: nobody will ask for what is left. */
static bool is_refuse(const char *name)
{
	return !strncmp(name, "vm-", 3) && name[3] && !name[3 + strspn(name + 3, "0123456789")];
}

/* What is to be said of a machine that does not say it. */
static json_t *bare_status(const char *name, const char *state, pid_t pid)
{
	json_t *status = json_pack("{s:s, s:s}", "name", name, "state", state);

	if (status && pid)
		json_object_set_new(status, "pid", json_integer(pid));
	return status;
}

static json_t *ask_status(struct client *c)
{
	json_t *status = NULL;
	int err = client_dial(c);

	/* Between taking its name and making its socket; an image may have to be made first. */
	if (err == -ENOENT)
		return bare_status(c->name, "starting", c->pid);
	c->timeout = PS_TIMEOUT_MS;
	c->quiet = true;
	if (err || client_ask(c, "status", NULL, &status))
		return bare_status(c->name, "unresponsive", c->pid);
	return status;
}

/* What a machine that does not run has left. NULL: nothing worth telling. */
static json_t *read_status(struct client *c)
{
	json_t *status = client_read_json(c, RUNDIR_ENDED);

	if (json_is_object(status))
		return status;
	json_decref(status);
	if (is_refuse(c->name) && !rundir_remove(c->name, NULL))
		return NULL;
	return bare_status(c->name, "died", 0);
}

static json_t *describe(const struct command *command, const char *name)
{
	struct client c = { .command = command, .name = name, .directory = -1, .socket = -1 };
	json_t *status;

	c.directory = rundir_open(name, &c.running, &c.pid, NULL);
	if (c.directory == -ENOENT && made_image_has_disk(name))
		return json_pack("{s:s, s:s, s:{s:s}}", "name", name, "state", "off", "config",
				 "image", made_image_names);
	if (c.directory < 0)
		return NULL;
	status = c.running ? ask_status(&c) : read_status(&c);
	client_close(&c);
	return status;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

/* "3d", "2h", "5m", "12s": one unit says enough. */
static void print_uptime(double seconds)
{
	char text[32];
	long s = (long)seconds;

	if (s >= 86400)
		snprintf(text, sizeof(text), "%ldd%ldh", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		snprintf(text, sizeof(text), "%ldh%ldm", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(text, sizeof(text), "%ldm%lds", s / 60, s % 60);
	else
		snprintf(text, sizeof(text), "%lds", s);
	printf("%-8s", text);
}

static void print_machine(const json_t *status)
{
	json_int_t pid = json_integer_value(json_object_get(status, "pid"));
	json_int_t memory = json_integer_value(json_object_get(status, "memory"));
	json_t *config = json_object_get(status, "config");
	const char *state = text_of(status, "state"), *boots = text_of(config, "image");
	char size[32], process[16] = "-";

	config_format_size((uint64_t)memory, size);
	if (pid && strcmp(state, "ended"))
		snprintf(process, sizeof(process), "%" JSON_INTEGER_FORMAT, pid);
	printf("%-16s %-12s %-8s %4" JSON_INTEGER_FORMAT " %8s  ", text_of(status, "name"), state,
	       process, json_integer_value(json_object_get(status, "cpus")), size);
	print_uptime(json_number_value(json_object_get(status, "uptime")));
	if (*boots == '-')
		boots = text_of(config, "kernel");
	printf(" %s\n", boots);
}

static int list(const struct command *command, bool json)
{
	json_t *all = json_array();
	char **names;
	size_t count;

	names = client_names(command, &count);
	if (!names || !all) {
		json_decref(all);
		client_free_names(names);
		return CLI_FAILED;
	}
	for (size_t i = 0; i < count; i++) {
		json_t *status = describe(command, names[i]);

		if (status)
			json_array_append_new(all, status);
	}
	client_free_names(names);
	if (json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		printf("%-16s %-12s %-8s %4s %8s  %-8s %s\n", "NAME", "STATE", "PID", "CPUS",
		       "MEMORY", "UPTIME", "BOOTS");
		for (size_t i = 0; i < json_array_size(all); i++)
			print_machine(json_array_get(all, i));
	}
	json_decref(all);
	return cli_finish_output(command);
}

/* Takes --json and at most so many arguments. Returns CLI_OK, or -1 where *status is to be
 * returned. */
static int parse_json_option(const struct command *command, int argc, char **argv, int most,
			     bool *json, int *status)
{
	enum { JSON = 256 };
	static const struct option options[] = {
		{ "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	*json = false;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == JSON) {
			*json = true;
			continue;
		}
		if (c == 'h') {
			command_print_help(command);
			*status = cli_finish_output(command);
		} else {
			*status = cli_bad_option(command, c, argv);
		}
		return -1;
	}
	if (argc - optind > most) {
		*status = cli_extra_argument(command, argv[optind + most]);
		return -1;
	}
	return CLI_OK;
}

static int ps_main(int argc, char **argv)
{
	int status;
	bool json;

	if (parse_json_option(&command_ps, argc, argv, 0, &json, &status))
		return status;
	return list(&command_ps, json);
}

const struct command command_ps = {
	.name = "ps",
	.summary = "list the machines that have a name or run",
	.help =
"Usage: anykvm ps [--json]\n"
"\n"
"Lists the machines of this user: those that run, those with a name that ran since\n"
"the host was started, and those that have a disk of their own. States are starting,\n"
"running, paused, ending, ended, off (there is only its disk), died (its process did\n"
"not come to an end of its own) and unresponsive.\n"
"\n"
"  --json               print all that is known of them as JSON\n"
"  --help               print this\n"
"\n"
"Machines are found in $XDG_RUNTIME_DIR/anykvm, or /run/user/UID/anykvm, or\n"
"/tmp/anykvm-UID.\n",
	.main = ps_main,
};

/* ------------------------------------------------------------------ stats */

static double mebibytes(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key)) / 1048576;
}

static void print_balloon(const json_t *balloon)
{
	const json_t *guest = json_object_get(balloon, "guest");

	printf("  balloon              the guest has %.1f MiB and shall keep %.1f\n",
	       mebibytes(balloon, "actual"), mebibytes(balloon, "wanted"));
	if (guest)
		printf("  the guest says       %.1f MiB free, %.1f available, %.1f caches\n",
		       mebibytes(guest, "free"), mebibytes(guest, "available"),
		       mebibytes(guest, "caches"));
}

static void print_networks(const json_t *networks)
{
	for (size_t i = 0; i < json_array_size(networks); i++) {
		const json_t *one = json_array_get(networks, i);
		bool plugged = json_is_true(json_object_get(one, "plugged"));

		printf("  %-20s %s%s, %.1f MiB received, %.1f sent\n", text_of(one, "device"),
		       text_of(one, "link"), plugged ? "" : " (anykvm link)",
		       mebibytes(json_object_get(one, "received"), "bytes"),
		       mebibytes(json_object_get(one, "sent"), "bytes"));
	}
}

static void print_disk(const json_t *disk)
{
	char size[32];

	config_format_size((uint64_t)json_integer_value(json_object_get(disk, "size")), size);
	printf("  %-20s %s of %s, %.1f MiB read, %.1f written\n", text_of(disk, "id"), size,
	       text_of(disk, "file"), mebibytes(json_object_get(disk, "read"), "bytes"),
	       mebibytes(json_object_get(disk, "written"), "bytes"));
}

static void print_stats(const char *name, const json_t *stats)
{
	const json_t *cpu = json_object_get(stats, "cpu"), *vcpus = json_object_get(cpu, "vcpus");
	const json_t *memory = json_object_get(stats, "memory");
	const json_t *disks = json_object_get(stats, "disks");
	double uptime = json_number_value(json_object_get(stats, "uptime"));
	double total = json_number_value(json_object_get(cpu, "total"));
	const json_t *balloon = json_object_get(stats, "balloon");

	printf("%s: %s, up %.1f s\n", name, text_of(stats, "state"), uptime);
	printf("  processor time       %.2f s, %.0f%% of one\n", total,
	       uptime > 0 ? 100 * total / uptime : 0);
	for (size_t i = 0; i < json_array_size(vcpus); i++)
		printf("  vCPU %-3zu             %.2f s\n", i,
		       json_number_value(json_array_get(vcpus, i)));
	printf("  memory               %.1f of %.1f MiB in use\n", mebibytes(memory, "resident"),
	       mebibytes(memory, "size"));
	if (balloon)
		print_balloon(balloon);
	for (size_t i = 0; i < json_array_size(disks); i++)
		print_disk(json_array_get(disks, i));
	print_networks(json_object_get(stats, "networks"));
}

/* What the guest said of itself is from some time ago; asking for it has made it tell anew. */
static bool has_aged(const json_t *stats)
{
	const json_t *guest = json_object_get(json_object_get(stats, "balloon"), "guest");

	return guest && json_number_value(json_object_get(guest, "age")) > 1;
}

static int stats_main(int argc, char **argv)
{
	const struct timespec a_moment = { .tv_nsec = 200000000 };
	json_t *stats = NULL;
	struct client c;
	bool json;
	int ret;

	if (parse_json_option(&command_stats, argc, argv, 1, &json, &ret))
		return ret;
	if (optind == argc)
		return cli_fail(&command_stats, CLI_USAGE, "no machine named: give its NAME; "
				"anykvm ps lists them");
	ret = client_connect(&c, &command_stats, argv[optind]);
	if (ret)
		return ret;
	ret = client_ask(&c, "stats", NULL, &stats);
	if (!ret && has_aged(stats)) {
		nanosleep(&a_moment, NULL);
		json_decref(stats);
		stats = NULL;
		ret = client_ask(&c, "stats", NULL, &stats);
	}
	client_close(&c);
	if (ret)
		return ret;
	if (json) {
		json_dumpf(stats, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_stats(argv[optind], stats);
	}
	json_decref(stats);
	return cli_finish_output(&command_stats);
}

const struct command command_stats = {
	.name = "stats",
	.summary = "show what a running machine uses",
	.help =
"Usage: anykvm stats [--json] NAME\n"
"\n"
"Shows how long a machine has run, the processor time that it and each of its\n"
"processors used, and how much of its memory takes memory of the host's; what its\n"
"guest says of its memory, where there is a --balloon; and of each disk and\n"
"network what was done with it, and whether its link is up.\n"
"\n"
"  --json               print it as JSON\n"
"  --help               print this\n",
	.main = stats_main,
};
