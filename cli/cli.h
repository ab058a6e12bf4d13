/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The anykvm command: what its subcommands share.
 *
 * One file a subcommand, each giving a struct command. A mistake of the user's is answered with one
 * line on stderr that names the option and what to do, and the exit status below.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

enum cli_status {
	CLI_OK = 0,		/* run: the guest powered off */
	CLI_FAILED = 1,		/* anything that is not one of the others */
	CLI_USAGE = 2,		/* the command line is wrong */
	CLI_PANIC = 3,		/* the guest panicked or triple-faulted */
};

struct command {
	const char *name;
	const char *summary;	/* one line for the overview */
	const char *help;	/* "anykvm help NAME"; the whole of it, or before print_options */
	void (*print_options)(void);	/* the part that is made of tables, or NULL */
	const char *help_end;	/* after print_options */
	/* argv[0] is the subcommand's name. Returns an exit status. */
	int (*main)(int argc, char **argv);
};

extern const struct command command_run;
extern const struct command command_doctor;
extern const struct command command_shim;
extern const struct command command_image;
extern const struct command command_ps;
extern const struct command command_console;
extern const struct command command_ssh;
extern const struct command command_exec;
extern const struct command command_stop;
extern const struct command command_kill;
extern const struct command command_pause;
extern const struct command command_resume;
extern const struct command command_logs;
extern const struct command command_resize;
extern const struct command command_stats;
extern const struct command command_link;
extern const struct command command_balloon;
extern const struct command command_rm;
extern const struct command command_completion;
extern const struct command command_help;
extern const struct command command_version;

/* All of them, ended by NULL. */
extern const struct command *const commands[];

const struct command *command_find(const char *name);

/* Prints all that a command says of itself. */
void command_print_help(const struct command *command);

/* Prints "anykvm NAME: " and the message as one line on stderr. Returns status. */
int cli_fail(const struct command *command, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * What to say when getopt_long() returned '?' or ':' (opterr being 0, and the option string
 * beginning with ":"). Returns CLI_USAGE.
 */
int cli_bad_option(const struct command *command, int result, char **argv);

/* For subcommands that take no arguments but options: complains about the first. */
int cli_extra_argument(const struct command *command, const char *argument);

/* Ends a subcommand which has printed: a full disk or a closed pipe is a failure. */
int cli_finish_output(const struct command *command);

#endif
