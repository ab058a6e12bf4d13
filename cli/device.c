/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm link, balloon: what is done to a running machine's devices from outside. */
#include "cli/client.h"

#include <getopt.h>
#include <string.h>

#include "cli/config.h"
#include "vmm/vmm.h"

/*
 * The arguments of a command that takes a machine's name, least to most of others, and --help.
 * Returns how many of the others there are, having set *words to the name; or -1 where *status is to
 * be returned. missing says what is to be given.
 */
static int words_of(const struct command *command, int argc, char **argv, int least, int most,
		    const char *missing, char ***words, int *status)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, count;

	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			command_print_help(command);
			*status = cli_finish_output(command);
		} else {
			*status = cli_bad_option(command, c, argv);
		}
		return -1;
	}
	*words = argv + optind;
	count = argc - optind - 1;
	if (count < 0)
		*status = cli_fail(command, CLI_USAGE, "no machine named: give its NAME; anykvm ps "
				   "lists them");
	else if (count < least)
		*status = cli_fail(command, CLI_USAGE, "%s", missing);
	else if (count > most)
		*status = cli_extra_argument(command, (*words)[most + 1]);
	return count < least || count > most ? -1 : count;
}

/* ------------------------------------------------------------------ link */

static int link_main(int argc, char **argv)
{
	static const char missing[] = "what the link shall be is not said: give up or down";
	const char *state, *device = NULL;
	json_t *arguments;
	struct client c;
	int ret, count;
	char **words;

	count = words_of(&command_link, argc, argv, 1, 2, missing, &words, &ret);
	if (count < 0)
		return ret;
	state = words[count];
	if (count == 2)
		device = words[1];
	if (strcmp(state, "up") && strcmp(state, "down"))
		return cli_fail(&command_link, CLI_USAGE, "'%s' is no state of a link: give up or "
				"down", state);
	ret = client_connect(&c, &command_link, words[0]);
	if (ret)
		return ret;
	arguments = json_pack("{s:b}", "up", !strcmp(state, "up"));
	if (device)
		json_object_set_new(arguments, "device", json_string(device));
	ret = client_ask(&c, "link", arguments, NULL);
	client_close(&c);
	return ret;
}

const struct command command_link = {
	.name = "link",
	.summary = "pull out or plug in a network cable",
	.help =
"Usage: anykvm link NAME [DEVICE] up|down\n"
"\n"
"Pulls out the cable of a network device of a running machine (down), or plugs it in\n"
"again (up). The guest sees its link go down and up; while it is down nothing gets\n"
"through. DEVICE is net0 for the first --net, net1 for the second, and so on (default:\n"
"net0). anykvm stats NAME says how they are.\n"
"\n"
"  --help               print this\n",
	.main = link_main,
};

/* ------------------------------------------------------------------ balloon */

static int show_balloon(struct client *c)
{
	json_t *stats = NULL, *balloon;
	char wanted[32], actual[32];
	int ret = client_ask(c, "stats", NULL, &stats);

	if (ret)
		return ret;
	balloon = json_object_get(stats, "balloon");
	if (balloon) {
		config_format_size((uint64_t)json_integer_value(json_object_get(balloon, "wanted")),
				   wanted);
		config_format_size((uint64_t)json_integer_value(json_object_get(balloon, "actual")),
				   actual);
		printf("%s has %s and shall keep %s\n", c->name, actual, wanted);
		ret = cli_finish_output(c->command);
	} else {
		ret = cli_fail(c->command, CLI_FAILED, "%s: the machine has no balloon: start it "
			       "with --balloon", c->name);
	}
	json_decref(stats);
	return ret;
}

static int balloon_main(int argc, char **argv)
{
	struct client c;
	uint64_t size = 0;
	int ret, count;
	char **words;

	count = words_of(&command_balloon, argc, argv, 0, 1, "", &words, &ret);
	if (count < 0)
		return ret;
	if (count && (config_parse_size(words[1], &size) || size > INT64_MAX))
		return cli_fail(&command_balloon, CLI_USAGE, "'%s' is no size: give a number of "
				"bytes, as in 512M", words[1]);
	ret = client_connect(&c, &command_balloon, words[0]);
	if (ret)
		return ret;
	ret = count ? client_ask(&c, "balloon", json_pack("{s:I}", "size", (json_int_t)size), NULL) :
	      show_balloon(&c);
	client_close(&c);
	return ret;
}

const struct command command_balloon = {
	.name = "balloon",
	.summary = "say how much memory a guest is to keep",
	.help =
"Usage: anykvm balloon NAME [SIZE]\n"
"\n"
"Tells the guest of a machine with a --balloon to keep no more than SIZE (with K, M, G or\n"
"T) of its memory, and to give the rest to the host; its whole size gives it all back.\n"
"A guest takes its time, and keeps what it needs. Without SIZE, prints how far it is.\n"
"\n"
"  --help               print this\n",
	.main = balloon_main,
};
