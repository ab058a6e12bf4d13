/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm help: the overview, or what a subcommand says of itself. */
#include "cli/cli.h"

#include <getopt.h>
#include <string.h>

#include "cli/config.h"

/* What there is to explain beside the commands. */
struct topic {
	const char *name, *summary;
	void (*print)(void);
};

static void print_config(void)
{
	printf("anykvm run VM.json takes a machine's configuration from a file: a JSON object like\n"
	       "\n"
	       "  {\n"
	       "    \"version\": %d,\n"
	       "    \"kernel\": \"vmlinuz\",\n"
	       "    \"cmdline\": \"console=ttyS0 root=/dev/vda\",\n"
	       "    \"memory\": \"1G\",\n"
	       "    \"disks\": [ { \"file\": \"debian.qcow2\", \"ephemeral\": true } ]\n"
	       "  }\n"
	       "\n"
	       "Options go over what the file says; those that may be given more than once add to\n"
	       "its lists. anykvm run ... --print-config writes such a file. The names of files in\n"
	       "it are relative to it. An item of an array may also be the text that the option\n"
	       "takes, as in \"disks\": [ \"debian.qcow2,ephemeral\" ].\n"
	       "\n"
	       "Keys:\n", CONFIG_VERSION);
	config_print_keys();
}

static void print_images(void)
{
	fputs("anykvm run IMAGE boots a machine from its first disk:\n"
	      "\n"
	      "debian-12    A Debian 12 that anykvm makes when it is first asked for, which takes a\n"
	      "             minute or two and root's rights (sudo). Its console and anykvm ssh and\n"
	      "             exec give a root shell. A machine with a --name has a disk of its own,\n"
	      "             which stays until anykvm rm; without a name, or with --ephemeral, what is\n"
	      "             written is forgotten at the end.\n"
	      "FILE         A disk image, qcow2 or raw. The newest kernel in /boot of its ext4 file\n"
	      "             systems is booted, with its initial RAM disk and the root file system\n"
	      "             that is there; --kernel, --initrd and --cmdline go over that. The guest\n"
	      "             writes to it, unless --ephemeral is given.\n"
	      "\n"
	      "Both have a network that reaches the world, and -p HOST:GUEST to reach them; --net\n"
	      "says otherwise. --cloud-init USER-DATA tells an image that has cloud-init what to be,\n"
	      "whom to let in for instance.\n"
	      "\n"
	      "Images that anykvm made, the disks of machines and the key for anykvm ssh are in\n"
	      "$XDG_DATA_HOME/anykvm or ~/.local/share/anykvm.\n", stdout);
}

static const struct topic topics[] = {
	{ "images", "what anykvm run boots by a name or a disk", print_images },
	{ "config", "the files that anykvm run takes", print_config },
	{ 0 },
};

static const struct topic *find_topic(const char *name)
{
	for (const struct topic *topic = topics; topic->name; topic++)
		if (!strcmp(topic->name, name))
			return topic;
	return NULL;
}

static void print_overview(void)
{
	printf("anykvm runs virtual machines on any x86-64 Linux machine, with virtualization\n"
	       "hardware or without.\n"
	       "\n"
	       "Usage: anykvm COMMAND [OPTION]...\n"
	       "\n"
	       "Commands:\n");
	for (size_t i = 0; commands[i]; i++)
		printf("  %-12s%s\n", commands[i]->name, commands[i]->summary);
	printf("\n"
	       "Topics:\n");
	for (const struct topic *topic = topics; topic->name; topic++)
		printf("  %-12s%s\n", topic->name, topic->summary);
	printf("\n"
	       "anykvm help NAME says more about one of these; the manual page anykvm(1) says all.\n");
}

static int help_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct command *command;
	const struct topic *topic;
	int c;

	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (c != 'h')
			return cli_bad_option(&command_help, c, argv);
		fputs(command_help.help, stdout);
		return cli_finish_output(&command_help);
	}
	if (argc - optind > 1)
		return cli_fail(&command_help, CLI_USAGE, "one topic at a time: '%s' is too many",
				argv[optind + 1]);
	if (optind == argc) {
		print_overview();
		return cli_finish_output(&command_help);
	}
	command = command_find(argv[optind]);
	topic = find_topic(argv[optind]);
	if (!command && !topic)
		return cli_fail(&command_help, CLI_USAGE,
				"there is no topic '%s': anykvm help lists them", argv[optind]);
	if (command)
		command_print_help(command);
	else
		topic->print();
	return cli_finish_output(&command_help);
}

const struct command command_help = {
	.name = "help",
	.summary = "explain a command or a topic",
	.help =
"Usage: anykvm help [COMMAND | TOPIC]\n"
"\n"
"Lists the commands and topics, or explains one. anykvm --help and anykvm COMMAND --help do\n"
"the same.\n",
	.main = help_main,
};
