/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm help: the overview, or what a subcommand says of itself. */
#include "cli/cli.h"

#include <getopt.h>

static void print_overview(void)
{
	printf("anykvm runs virtual machines on any x86-64 Linux machine, with virtualization\n"
	       "hardware or without.\n"
	       "\n"
	       "Usage: anykvm COMMAND [OPTION]...\n"
	       "\n"
	       "Commands:\n");
	for (size_t i = 0; commands[i]; i++)
		printf("  %-10s%s\n", commands[i]->name, commands[i]->summary);
	printf("\n"
	       "anykvm help COMMAND says more about one; the manual page anykvm(1) says all.\n");
}

static int help_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct command *topic;
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
	topic = command_find(argv[optind]);
	if (!topic)
		return cli_fail(&command_help, CLI_USAGE,
				"there is no topic '%s': anykvm help lists them", argv[optind]);
	fputs(topic->help, stdout);
	return cli_finish_output(&command_help);
}

const struct command command_help = {
	.name = "help",
	.summary = "explain a command",
	.help =
"Usage: anykvm help [COMMAND]\n"
"\n"
"Lists the commands, or explains one. anykvm --help and anykvm COMMAND --help do\n"
"the same.\n",
	.main = help_main,
};
