/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm resize: makes a disk of a running machine longer or shorter. */
#include "cli/client.h"

#include <getopt.h>
#include <string.h>

#include "cli/image.h"

/* What the machine says of the disk; borrowed from @stats. */
static const json_t *find_disk(const json_t *stats, const char *name)
{
	const json_t *disks = json_object_get(stats, "disks");

	for (size_t i = 0; i < json_array_size(disks); i++) {
		const json_t *disk = json_array_get(disks, i);
		const char *id = json_string_value(json_object_get(disk, "id"));
		const char *file = json_string_value(json_object_get(disk, "file"));

		if ((id && !strcmp(id, name)) || (file && !strcmp(file, name)))
			return disk;
	}
	return NULL;
}

static int resize(struct client *c, const char *name, const char *text, bool shrink)
{
	json_t *stats = NULL, *request;
	const json_t *disk;
	uint64_t size, old;
	int ret;

	if (image_parse_size(text + (*text == '+' || *text == '-'), &size) || size > INT64_MAX)
		return cli_fail(c->command, CLI_USAGE, "'%s' is no size: give a number with K, M, "
				"G or T, as in 20G or +5G", text);
	ret = client_ask(c, "stats", NULL, &stats);
	if (ret)
		return ret;
	disk = find_disk(stats, name);
	if (!disk) {
		ret = cli_fail(c->command, CLI_FAILED, "%s has no disk %s: give its file or its "
			       "serial number; anykvm stats lists them", c->name, name);
		goto out;
	}
	old = (uint64_t)json_integer_value(json_object_get(disk, "size"));
	if (*text == '-' && size >= old) {
		ret = cli_fail(c->command, CLI_FAILED, "%s is not that large", name);
		goto out;
	}
	size = *text == '+' ? old + size : *text == '-' ? old - size : size;
	if (size < old && !shrink) {
		ret = cli_fail(c->command, CLI_FAILED, "what is beyond the new end of %s would be "
			       "lost: give --shrink if the guest does not use it", name);
		goto out;
	}
	request = json_pack("{s:O, s:I, s:b}", "disk", json_object_get(disk, "id"), "size",
			    (json_int_t)((size + 511) & ~511ULL), "shrink", shrink);
	ret = client_ask(c, "resize", request, NULL);
out:
	json_decref(stats);
	return ret;
}

static int resize_main(int argc, char **argv)
{
	enum { SHRINK = 256 };
	static const struct option options[] = {
		{ "shrink", no_argument, NULL, SHRINK },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool shrink = false;
	struct client c;
	int opt, ret;

	/* A size may begin with a minus: all that is an option comes first. */
	while ((opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		switch (opt) {
		case SHRINK:
			shrink = true;
			break;
		case 'h':
			command_print_help(&command_resize);
			return cli_finish_output(&command_resize);
		default:
			return cli_bad_option(&command_resize, opt, argv);
		}
	}
	if (optind == argc)
		return cli_fail(&command_resize, CLI_USAGE, "no machine named: give its NAME; "
				"anykvm ps lists them");
	if (argc > optind + 3)
		return cli_extra_argument(&command_resize, argv[optind + 3]);
	ret = client_connect(&c, &command_resize, argv[optind]);
	if (ret)
		return ret;
	if (argc < optind + 3)
		ret = cli_fail(&command_resize, CLI_USAGE, "give one of the machine's disks and "
			       "its size, as in 20G or +5G");
	else
		ret = resize(&c, argv[optind + 1], argv[optind + 2], shrink);
	client_close(&c);
	return ret;
}

const struct command command_resize = {
	.name = "resize",
	.summary = "make a disk of a running machine longer or shorter",
	.help =
"Usage: anykvm resize [--shrink] NAME DISK [+|-]SIZE\n"
"\n"
"Changes the size of a disk of a running machine, and tells its guest. DISK is the\n"
"disk's file, or its serial number: disk0, disk1 and so on if it was not given one.\n"
"For disks of machines that do not run there is anykvm image resize.\n"
"\n"
"  --shrink             what is beyond the new end may be lost\n"
"  --help               print this\n",
	.main = resize_main,
};
