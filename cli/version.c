/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm version: which anykvm this is. */
#include "cli/cli.h"

#include <getopt.h>

static int version_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (c != 'h')
			return cli_bad_option(&command_version, c, argv);
		fputs(command_version.help, stdout);
		return cli_finish_output(&command_version);
	}
	if (optind < argc)
		return cli_extra_argument(&command_version, argv[optind]);
	puts("anykvm " ANYKVM_VERSION);
	return cli_finish_output(&command_version);
}

const struct command command_version = {
	.name = "version",
	.summary = "print the version",
	.help =
"Usage: anykvm version\n"
"\n"
"Prints the version. anykvm --version does the same.\n",
	.main = version_main,
};
