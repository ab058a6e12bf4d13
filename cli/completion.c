/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm completion: what bash needs to complete our command lines.
 *
 * The script is made of what there is anyway: the tables of the configuration, for anykvm run, and
 * the options in the other commands' help.
 */
#include "cli/cli.h"

#include <getopt.h>
#include <stdbool.h>
#include <string.h>

#include "cli/config.h"
#include "cli/made_image.h"

/* The part that is the same whatever the options are. Names that begin with an underscore are
 * ours. */
static const char script[] =
"_anykvm_machines() {\n"
"	anykvm ps 2>/dev/null | awk 'NR > 1 { print $1 }'\n"
"}\n"
"\n"
"_anykvm_files() {\n"
"	compopt -o filenames 2>/dev/null\n"
"	mapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
"}\n"
"\n"
"_anykvm_words() {\n"
"	mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$2\")\n"
"	[[ ${COMPREPLY[*]} != *= ]] || compopt -o nospace 2>/dev/null\n"
"}\n"
"\n"
"# The value of an option of anykvm run. Bash splits words at '=', and so FILE,format=raw.\n"
"_anykvm_value() {\n"
"	local option=$1 value=$2 first items key\n"
"	first=$(_anykvm_first \"$option\")\n"
"	items=$(_anykvm_items \"$option\")\n"
"	if [[ $value == *,*=* ]]; then\n"
"		key=${value##*,}\n"
"		items=$(tr ' ' '\\n' <<<\"$items\" | sed -n \"s/^${key%%=*}=//p\")\n"
"		_anykvm_words \"$items\" \"${key#*=}\"\n"
"	elif [[ $value == *,* ]]; then\n"
"		_anykvm_words \"$items\" \"${value##*,}\"\n"
"		COMPREPLY=(\"${COMPREPLY[@]/#/${value%,*},}\")\n"
"	elif [ \"$first\" = - ]; then\n"
"		return\n"
"	elif [ \"$first\" = FILE ]; then\n"
"		_anykvm_files \"$value\"\n"
"	else\n"
"		_anykvm_words \"$first\" \"$value\"\n"
"	fi\n"
"}\n"
"\n"
"_anykvm() {\n"
"	local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} at=$COMP_CWORD value=\n"
"	COMPREPLY=()\n"
"	if [ \"$COMP_CWORD\" = 1 ]; then\n"
"		_anykvm_words \"$(_anykvm_commands)\" \"$cur\"\n"
"		return\n"
"	fi\n"
"	# Put together what was split: an option, and all of its value.\n"
"	value=$cur\n"
"	while ((at > 2)); do\n"
"		if [ \"${COMP_WORDS[at]}\" = = ]; then\n"
"			value=${COMP_WORDS[at - 1]}$value\n"
"		elif [ \"${COMP_WORDS[at - 1]}\" = = ]; then\n"
"			value==$value\n"
"		else\n"
"			break\n"
"		fi\n"
"		((at--))\n"
"	done\n"
"	if [[ $value == --*=* && $command == run ]]; then\n"
"		_anykvm_value \"${value%%=*}\" \"${value#*=}\"\n"
"		return\n"
"	fi\n"
"	if [[ $command == run && -n $(_anykvm_first \"${COMP_WORDS[at - 1]}\") ]]; then\n"
"		_anykvm_value \"${COMP_WORDS[at - 1]}\" \"$value\"\n"
"		return\n"
"	fi\n"
"	if [[ $cur == -* ]]; then\n"
"		_anykvm_words \"$(_anykvm_options \"$command\")\" \"$cur\"\n"
"		return\n"
"	fi\n"
"	case $command in\n"
"	run)\n"
"		_anykvm_files \"$cur\"\n"
"		mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -W \"$(_anykvm_images)\" -- \"$cur\") ;;\n"
"	help)\n"
"		_anykvm_words \"$(_anykvm_commands)\" \"$cur\" ;;\n"
"	console | ssh | exec | logs | stop | kill | pause | resume | stats | link | balloon | resize | rm)\n"
"		_anykvm_words \"$(_anykvm_machines)\" \"$cur\" ;;\n"
"	*)\n"
"		_anykvm_files \"$cur\" ;;\n"
"	esac\n"
"}\n"
"complete -F _anykvm anykvm\n";

/* ------------------------------------------------------------------ the part that is made */

/* The options of a command, as its help lists them: lines that begin with "  --NAME" or "  -X,
 * --NAME". */
static void print_help_options(const char *help)
{
	while (help) {
		const char *option = strncmp(help, "  -", 3) ? NULL : help + 2;

		if (option && option[1] != '-' && !strncmp(option + 2, ", --", 4))
			option += 4;
		if (option && option[1] == '-')
			printf(" %.*s", (int)strspn(option, "-abcdefghijklmnopqrstuvwxyz"), option);
		help = strchr(help, '\n');
		if (help)
			help++;
	}
}

static void print_options(void)
{
	printf("_anykvm_options() {\n\tcase $1 in\n");
	for (size_t i = 0; commands[i]; i++) {
		printf("\t%s) echo '", commands[i]->name);
		print_help_options(commands[i]->help);
		if (commands[i] == &command_run)
			for (size_t t = 0; config_tables[t]; t++)
				for (const struct config_key *key = config_tables[t]->keys; key->name;
				     key++)
					if (config_option(key))
						printf(" --%s", config_option(key));
		if (commands[i]->help_end)
			print_help_options(commands[i]->help_end);
		printf("' ;;\n");
	}
	printf("\tesac\n}\n\n");
}

/* Words that can stand for a key's value: FILE for any file, "-" for what nobody can guess. */
static void print_value(const struct config_key *key)
{
	if (key->choices)
		for (size_t i = 0; key->choices[i]; i++)
			printf("%s%s", i ? " " : "", key->choices[i]);
	else
		printf("%s", key->type == CONFIG_PATH ? "FILE" : "-");
}

/* What comes first in an item. */
static const struct config_key *first_of(const struct config_item *item)
{
	const struct config_key *key = item->keys;

	while (key->name && (!item->first || strcmp(key->name, item->first)))
		key++;
	return key->name ? key : NULL;
}

static void print_first(const struct config_key *key)
{
	if (key->item && first_of(key->item))
		print_value(first_of(key->item));
	else if (key->item)
		printf("-");
	else
		print_value(key);
}

static void print_items(const struct config_item *item)
{
	for (const struct config_key *key = item->keys; key->name; key++) {
		if (key == first_of(item))
			continue;
		if (key->type == CONFIG_FLAG)
			printf(" %s", key->name);
		else if (key->choices)
			for (size_t i = 0; key->choices[i]; i++)
				printf(" %s=%s", key->name, key->choices[i]);
		else
			printf(" %s=", key->name);
	}
}

/* A function of what print says of each option that takes a value. */
static void print_cases(const char *function, bool items)
{
	printf("%s() {\n\tcase $1 in\n", function);
	for (size_t t = 0; config_tables[t]; t++) {
		for (const struct config_key *key = config_tables[t]->keys; key->name; key++) {
			if (!config_option(key) || key->type == CONFIG_FLAG || (items && !key->item))
				continue;
			printf("\t--%s", config_option(key));
			if (key->letter)
				printf(" | -%c", key->letter);
			printf(") echo '");
			if (items)
				print_items(key->item);
			else
				print_first(key);
			printf("' ;;\n");
		}
	}
	printf("\tesac\n}\n\n");
}

static int completion_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (c != 'h')
			return cli_bad_option(&command_completion, c, argv);
		command_print_help(&command_completion);
		return cli_finish_output(&command_completion);
	}
	if (optind < argc && strcmp(argv[optind], "bash"))
		return cli_fail(&command_completion, CLI_USAGE, "there is none for '%s': give bash",
				argv[optind]);
	if (optind + 1 < argc)
		return cli_extra_argument(&command_completion, argv[optind + 1]);
	printf("# Completion of anykvm's command lines in bash, made by anykvm completion.\n\n"
	       "_anykvm_commands() {\n\techo '");
	for (size_t i = 0; commands[i]; i++)
		printf("%s%s", i ? " " : "", commands[i]->name);
	printf("'\n}\n\n_anykvm_images() {\n\techo '%s'\n}\n\n", made_image_names);
	print_options();
	print_cases("_anykvm_first", false);
	print_cases("_anykvm_items", true);
	fputs(script, stdout);
	return cli_finish_output(&command_completion);
}

const struct command command_completion = {
	.name = "completion",
	.summary = "print what bash completes command lines by",
	.help =
"Usage: anykvm completion [bash]\n"
"\n"
"Prints a script by which bash completes our command lines: source <(anykvm completion).\n"
"Where anykvm is installed, bash-completion finds it by itself.\n",
	.main = completion_main,
};
