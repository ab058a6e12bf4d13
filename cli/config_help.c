/* SPDX-License-Identifier: GPL-2.0-only */
/* What help says of the model of a configuration, by its tables. */
#include "cli/config.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

#define HELP_COLUMN	23
#define HELP_WIDTH	84

/* The lines of a help text, from HELP_COLUMN on; the first where the cursor is at column. Behind
 * the last one, or below it where it is long, the key's default. */
static void print_lines(const struct config_key *key, int column)
{
	const char *text = key->help;

	while (text) {
		int length = (int)strcspn(text, "\n");

		printf("%*s%.*s", HELP_COLUMN - column, "", length, text);
		text = text[length] ? text + length + 1 : NULL;
		if (!text && key->standard) {
			if (length + strlen(key->standard) + 12 > HELP_WIDTH - HELP_COLUMN)
				printf("\n%*s(default: %s)", HELP_COLUMN, "", key->standard);
			else
				printf(" (default: %s)", key->standard);
		}
		putchar('\n');
		column = 0;
	}
}

/* "  -p, --port VALUE". Returns its width. */
static int print_option(const struct config_key *key)
{
	int width = printf("  ");

	if (key->letter)
		width += printf("-%c, ", key->letter);
	width += printf("--%s", config_option(key));
	if (key->type == CONFIG_FLAG)
		return width;
	if (key->item && key->item->bare)
		return width + printf("[=%s]", key->value);
	return width + printf(" %s", key->value);
}

static void print_key(const struct config_key *key)
{
	int width = print_option(key);

	if (width > HELP_COLUMN - 2) {
		putchar('\n');
		width = 0;
	}
	print_lines(key, width);
}

void config_print_help(void)
{
	for (size_t t = 0; config_tables[t]; t++) {
		printf("%s:\n", config_tables[t]->title);
		for (const struct config_key *key = config_tables[t]->keys; key->name; key++)
			if (config_option(key))
				print_key(key);
		putchar('\n');
	}
}

/* ------------------------------------------------------------------ anykvm help config */

static const char *const kinds[] = {
	[CONFIG_FLAG] = "true or false",
	[CONFIG_STRING] = "string",
	[CONFIG_PATH] = "string, a file's name",
	[CONFIG_NUMBER] = "number",
	[CONFIG_SIZE] = "size, as \"512M\"",
	[CONFIG_CHOICE] = "string",
	[CONFIG_ENUM] = "string",
	[CONFIG_CUSTOM] = "string",
	[CONFIG_LIST] = "array of objects",
	[CONFIG_OBJECT] = "object",
};

static void print_json_key(const struct config_key *key, int indent)
{
	int width = printf("%*s%s", indent, "", key->name);

	printf("%*s%s", width < HELP_COLUMN - 1 ? HELP_COLUMN - width : 1, "", kinds[key->type]);
	if (key->choices) {
		for (size_t i = 0; key->choices[i]; i++)
			printf("%s\"%s\"", i ? " or " : ": ", key->choices[i]);
	} else if (key->type == CONFIG_NUMBER && key->max) {
		printf(", %llu to %llu", (unsigned long long)key->min,
		       (unsigned long long)key->max);
	}
	if (key->required)
		printf(", needed");
	if (key->standard)
		printf(" (default: %s)", key->standard);
	putchar('\n');
	if (key->item)
		for (const struct config_key *k = key->item->keys; k->name; k++)
			print_json_key(k, indent + 2);
}

void config_print_keys(void)
{
	printf("  version%*snumber, %d: of this format\n", HELP_COLUMN - 9, "", CONFIG_VERSION);
	for (size_t t = 0; config_tables[t]; t++)
		for (const struct config_key *key = config_tables[t]->keys; key->name; key++)
			print_json_key(key, 2);
}
