/* SPDX-License-Identifier: GPL-2.0-only */
/* The anykvm command: finds the subcommand, and the few things that all of them need. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const struct command *const commands[] = {
	&command_run,
#ifdef HAVE_JANSSON
	&command_ps,
	&command_console,
	&command_ssh,
	&command_exec,
	&command_logs,
	&command_stop,
	&command_kill,
	&command_pause,
	&command_resume,
	&command_resize,
	&command_stats,
	&command_link,
	&command_balloon,
	&command_rm,
#endif
	&command_doctor,
	&command_shim,
	&command_image,
	&command_completion,
	&command_help,
	&command_version,
	NULL,
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

void command_print_help(const struct command *command)
{
	fputs(command->help, stdout);
	if (command->print_options) {
		command->print_options();
		fputs(command->help_end, stdout);
	}
}

int cli_fail(const struct command *command, int status, const char *format, ...)
{
	va_list args;

	fputs("anykvm", stderr);
	if (command)
		fprintf(stderr, " %s", command->name);
	fputs(": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

int cli_bad_option(const struct command *command, int result, char **argv)
{
	const char *option = argv[optind - 1];

	if (result == ':')
		return cli_fail(command, CLI_USAGE, "%s needs a value: see anykvm help %s",
				option, command->name);
	/* A letter that getopt does not know, from the middle of a bundle of them perhaps. */
	if (optopt && strncmp(option, "--", 2))
		return cli_fail(command, CLI_USAGE,
				"there is no option -%c: see anykvm help %s for those there are",
				optopt, command->name);
	if (optopt)
		return cli_fail(command, CLI_USAGE, "%.*s takes no value: leave out what follows it",
				(int)strcspn(option, "="), option);
	return cli_fail(command, CLI_USAGE,
			"there is no option %.*s: see anykvm help %s for those there are",
			(int)strcspn(option, "="), option, command->name);
}

int cli_extra_argument(const struct command *command, const char *argument)
{
	return cli_fail(command, CLI_USAGE, "'%s' is no option: see anykvm help %s", argument,
			command->name);
}

int cli_finish_output(const struct command *command)
{
	if (fflush(stdout) || ferror(stdout))
		return cli_fail(command, CLI_FAILED, "writing to standard output: %s",
				strerror(errno));
	return CLI_OK;
}

int main(int argc, char **argv)
{
	const struct command *command;
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name)
		return cli_fail(NULL, CLI_USAGE, "no command given: see anykvm help");
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = command_help.name;
	else if (!strcmp(name, "--version"))
		name = command_version.name;
	command = command_find(name);
	if (!command)
		return cli_fail(NULL, CLI_USAGE, "there is no command '%s': see anykvm help", name);
	opterr = 0;
	return command->main(argc - 1, argv + 1);
}
