/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model of a configuration: its tables, and how a value gets from text into the struct that its
 * key names. What is common to options and files is here; files are read in config_json.c.
 */
#include "cli/config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"
#include "vmm/util.h"

const struct config_table *const config_tables[] = {
	&config_machine,
	&config_disks,
	&config_nets,
	&config_shares,
	&config_inspect,
	NULL,
};

#define FIRST_OPTION	1000	/* what getopt_long gives for the first key of the first table */

/* ------------------------------------------------------------------ memory */

struct config_memory {
	struct config_memory *next;
	max_align_t data[];
};

void *config_alloc(struct config *c, size_t size)
{
	struct config_memory *m = calloc(1, sizeof(*m) + size);

	if (!m)
		return NULL;
	m->next = c->memory;
	c->memory = m;
	return m->data;
}

char *config_strdup(struct config *c, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = config_alloc(c, size);

	return copy ? memcpy(copy, text, size) : NULL;
}

void config_free(struct config *c)
{
	struct config_memory *m;

	while ((m = c->memory)) {
		c->memory = m->next;
		free(m);
	}
}

/* ------------------------------------------------------------------ messages */

int config_fail(const struct config_where *where, const char *format, ...)
{
	char message[512];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	return cli_fail(&command_run, CLI_USAGE, "%s%s%s%s%s", where->file ? where->file : "",
			where->file ? ": " : "", where->path, *where->path ? ": " : "", message);
}

static int no_memory(const struct config_where *where)
{
	config_fail(where, "%s", strerror(ENOMEM));
	return CLI_FAILED;
}

/* Where a key of the item at where is. */
static struct config_where inside(const struct config_where *where, const char *name)
{
	struct config_where w = { .file = where->file };

	snprintf(w.path, sizeof(w.path), "%.*s%s%s", (int)sizeof(w.path) / 2, where->path,
		 where->file ? "." : ": ", name);
	return w;
}

/* The names of a table's keys, or of choices: "raw or qcow2". */
static const char *list_choices(const char *const *choices, char *text, size_t size)
{
	size_t n = 0;

	*text = 0;
	for (size_t i = 0; choices[i]; i++) {
		const char *between = !i ? "" : choices[i + 1] ? ", " : " or ";

		n += snprintf(text + n, size - n, "%s%s", between, choices[i]);
		if (n >= size)
			break;
	}
	return text;
}

/* ------------------------------------------------------------------ sizes and numbers */

int config_parse_size(const char *text, uint64_t *size)
{
	unsigned long long value;
	unsigned int shift = 0;
	char *end;

	/* strtoull takes spaces and signs too, which no size has. */
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end) {
		switch (*end) {
		case 'k': case 'K':
			shift = 10;
			break;
		case 'm': case 'M':
			shift = 20;
			break;
		case 'g': case 'G':
			shift = 30;
			break;
		case 't': case 'T':
			shift = 40;
			break;
		default:
			return -EINVAL;
		}
		/* As people write it: 512M, 512MB, 512MiB. */
		end++;
		if (*end && strcasecmp(end, "B") && strcasecmp(end, "iB"))
			return -EINVAL;
	}
	if (value > ULLONG_MAX >> shift)
		return -EINVAL;
	*size = value << shift;
	return 0;
}

void config_format_size(uint64_t size, char text[32])
{
	static const char units[] = "KMGT";
	unsigned int i = 0;

	while (i < 4 && size && !(size % 1024)) {
		size /= 1024;
		i++;
	}
	snprintf(text, 32, "%" PRIu64 "%.1s", size, i ? &units[i - 1] : "");
}

uint64_t config_get_number(const struct config_key *key, const void *base)
{
	uint64_t number = 0;

	memcpy(&number, (const char *)base + key->offset, key->width);
	return number;
}

static int check_value(const struct config_where *where, const struct config_key *key,
		       const void *base, const char *text)
{
	return key->check ? key->check(where, (const char *)base + key->offset, text) : CLI_OK;
}

static int set_pointer(const struct config_where *where, const struct config_key *key, void *base,
		       const char *value)
{
	if (!value)
		return no_memory(where);
	memcpy((char *)base + key->offset, &value, sizeof(value));
	return check_value(where, key, base, value);
}

static uint64_t most(const struct config_key *key)
{
	uint64_t limit = key->width < 8 ? (1ULL << (8 * key->width)) - 1 : UINT64_MAX;

	return key->max && key->max < limit ? key->max : limit;
}

/* "give 1 to 254" */
static const char *number_remedy(const struct config_key *key, char text[64])
{
	if (key->max)
		snprintf(text, 64, "give %" PRIu64 " to %" PRIu64, key->min, key->max);
	else
		snprintf(text, 64, "give %" PRIu64 " or more", key->min);
	return text;
}

static int check_size(const struct config_where *where, const struct config_key *key,
		      uint64_t size, const char *text)
{
	char limit[32];

	if (size < key->min) {
		config_format_size(key->min, limit);
		return config_fail(where, "%s is less than %s, which it has to be at least: give a "
				   "number with K, M or G, as in 512M", text, limit);
	}
	if (size > most(key)) {
		config_format_size(most(key), limit);
		return config_fail(where, "%s is too much: give %s at the most", text, limit);
	}
	if (key->multiple && size % key->multiple)
		return config_fail(where, "%s is no multiple of %" PRIu64 " KiB: round it, as in 512M",
				   text, key->multiple >> 10);
	return CLI_OK;
}

int config_set_number(const struct config_where *where, const struct config_key *key, void *base,
		      uint64_t number, const char *text)
{
	char remedy[64];
	int ret = CLI_OK;

	if (key->type == CONFIG_SIZE)
		ret = check_size(where, key, number, text);
	else if (number < key->min || number > most(key))
		ret = config_fail(where, "%s is out of range: %s", text, number_remedy(key, remedy));
	if (ret)
		return ret;
	memcpy((char *)base + key->offset, &number, key->width);
	return check_value(where, key, base, text);
}

static int set_text_number(const struct config_where *where, const struct config_key *key,
			   void *base, const char *text)
{
	char remedy[64];
	uint64_t number;
	char *end;

	if (key->type == CONFIG_SIZE) {
		if (config_parse_size(text, &number))
			return config_fail(where, "'%s' is no size: give a number with K, M or G, "
					   "as in 512M", text);
		return config_set_number(where, key, base, number, text);
	}
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end)
		return config_fail(where, "'%s' is no number: %s", text,
				   number_remedy(key, remedy));
	if (errno)
		return config_fail(where, "%s is out of range: %s", text,
				   number_remedy(key, remedy));
	return config_set_number(where, key, base, number, text);
}

/* ------------------------------------------------------------------ other values */

static int set_flag(const struct config_where *where, const struct config_key *key, void *base,
		    const char *text)
{
	static const char *const words[] = { "off", "on", "no", "yes", "false", "true" };

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(text, words[i])) {
			*((bool *)base + key->offset) = i & 1;
			return check_value(where, key, base, text);
		}
	}
	return config_fail(where, "'%s' is neither on nor off: give one of them", text);
}

static int set_choice(const struct config_where *where, const struct config_key *key, void *base,
		      const char *text)
{
	char choices[256];

	for (unsigned int i = 0; key->choices[i]; i++) {
		if (strcmp(text, key->choices[i]))
			continue;
		if (key->type == CONFIG_CHOICE)
			return set_pointer(where, key, base, key->choices[i]);
		memcpy((char *)base + key->offset, &i, sizeof(i));
		return check_value(where, key, base, text);
	}
	return config_fail(where, "'%s' is not known: give %s", text,
			   list_choices(key->choices, choices, sizeof(choices)));
}

/* A file's paths are relative to the file. */
static int set_path(struct config *c, const struct config_where *where,
		    const struct config_key *key, void *base, const char *text)
{
	const char *slash = where->file ? strrchr(where->file, '/') : NULL;
	size_t size;
	char *path;

	if (!*text)
		return config_fail(where, "this is an empty name: give %s",
				   key->value ? key->value : "FILE");
	if (!slash || *text == '/')
		return set_pointer(where, key, base, config_strdup(c, text));
	size = slash - where->file + 1 + strlen(text) + 1;
	path = config_alloc(c, size);
	if (path)
		snprintf(path, size, "%.*s/%s", (int)(slash - where->file), where->file, text);
	return set_pointer(where, key, base, path);
}

/* ------------------------------------------------------------------ items */

static const struct config_key *find_key(const struct config_key *keys, const char *name,
					 size_t length)
{
	for (; keys->name; keys++)
		if (strlen(keys->name) == length && !memcmp(keys->name, name, length))
			return keys;
	return NULL;
}

/*
 * Takes the next comma-separated item off *rest, in place; two commas stand for one in the item.
 * *rest is NULL after the last one.
 */
static char *next_item(char **rest)
{
	char *item = *rest, *in = item, *out = item;

	for (; *in; in++) {
		if (*in == ',' && *++in != ',') {
			*out = 0;
			*rest = in;
			return item;
		}
		*out++ = *in;
	}
	*out = 0;
	*rest = NULL;
	return item;
}

int config_set_item_key(struct config *c, const struct config_where *where,
			const struct config_item *item, void *object, const char *name,
			const char *text)
{
	const struct config_key *key = find_key(item->keys, name, strlen(name));
	struct config_where w = inside(where, name);

	return key ? config_set_text(c, &w, key, object, text) : config_fail(&w, "is not known");
}

static int unknown_key(const struct config_where *where, const struct config_item *item,
		       const char *text)
{
	char known[256] = "";
	size_t n = 0;

	for (const struct config_key *key = item->keys; key->name && n < sizeof(known); key++) {
		const char *between = !n ? "" : key[1].name ? ", " : " or ";

		n += snprintf(known + n, sizeof(known) - n, "%s%s%s%s", between, key->name,
			      key->type == CONFIG_FLAG ? "" : "=",
			      key->type == CONFIG_FLAG ? "" : key->value ? key->value : "VALUE");
	}
	return config_fail(where, "'%s' is not known: give %s (and write a comma in a value twice)",
			   text, known);
}

/* One "key=value", or a flag. */
static int set_part(struct config *c, const struct config_where *where,
		    const struct config_item *item, void *object, char *text)
{
	char *equals = strchr(text, '=');
	const struct config_key *key;
	struct config_where w;

	key = find_key(item->keys, text, equals ? (size_t)(equals - text) : strlen(text));
	if (!key)
		return unknown_key(where, item, text);
	w = inside(where, key->name);
	if (!equals && key->type != CONFIG_FLAG)
		return config_fail(&w, "there is no value: give %s=%s", key->name,
				   key->value ? key->value : "VALUE");
	return config_set_text(c, &w, key, object, equals ? equals + 1 : "on");
}

/* What comes first, if that is not a key like the others. */
static int set_first(struct config *c, const struct config_where *where,
		     const struct config_item *item, void *object, char *text)
{
	char *equals = strchr(text, '=');

	if (equals && find_key(item->keys, text, equals - text))
		return set_part(c, where, item, object, text);
	if (item->split)
		return item->split(c, where, object, text);
	return *text ? config_set_item_key(c, where, item, object, item->first, text) : CLI_OK;
}

static int set_item_text(struct config *c, const struct config_where *where,
			 const struct config_key *key, void *base, const char *text)
{
	const struct config_item *item = key->item;
	void *object = config_alloc(c, item->size);
	char *rest = config_strdup(c, text);
	int ret = CLI_OK;

	if (!object || !rest)
		return no_memory(where);
	if (item->first || item->split)
		ret = set_first(c, where, item, object, next_item(&rest));
	while (!ret && rest && *rest)
		ret = set_part(c, where, item, object, next_item(&rest));
	return ret ? ret : config_add_item(c, where, key, base, object);
}

static bool is_set(const struct config_key *key, const void *base)
{
	const char *text = NULL;

	if (key->type == CONFIG_CUSTOM || key->type == CONFIG_ENUM || key->type == CONFIG_FLAG)
		return true;
	if (key->type == CONFIG_NUMBER || key->type == CONFIG_SIZE)
		return config_get_number(key, base);
	memcpy(&text, (const char *)base + key->offset, sizeof(text));
	return text;
}

int config_add_item(struct config *c, const struct config_where *where,
		    const struct config_key *key, void *base, void *object)
{
	const struct config_item *item = key->item;
	unsigned int *count = (void *)((char *)base + key->count);
	char **place = (void *)((char *)base + key->offset);
	char *array;
	int ret;

	for (const struct config_key *k = item->keys; k->name; k++)
		if (k->required && !is_set(k, object))
			return config_fail(where, "no %s named: give %s%s", k->name,
					   k->value ? k->value : "VALUE",
					   where->file || !item->keys[1].name ? "" :
					   ", and options after commas");
	ret = item->check ? item->check(c, where, object) : CLI_OK;
	if (ret)
		return ret;
	if (key->type == CONFIG_OBJECT) {
		*place = object;
		return check_value(where, key, base, NULL);
	}
	array = config_alloc(c, (*count + 1) * item->size);
	if (!array)
		return no_memory(where);
	if (*count)
		memcpy(array, *place, *count * item->size);
	memcpy(array + *count * item->size, object, item->size);
	*place = array;
	++*count;
	return check_value(where, key, base, NULL);
}

int config_set_text(struct config *c, const struct config_where *where,
		    const struct config_key *key, void *base, const char *text)
{
	switch (key->type) {
	case CONFIG_FLAG:
		return set_flag(where, key, base, text);
	case CONFIG_STRING:
		return set_pointer(where, key, base, config_strdup(c, text));
	case CONFIG_PATH:
		return set_path(c, where, key, base, text);
	case CONFIG_NUMBER:
	case CONFIG_SIZE:
		return set_text_number(where, key, base, text);
	case CONFIG_CHOICE:
	case CONFIG_ENUM:
		return set_choice(where, key, base, text);
	case CONFIG_CUSTOM:
		return key->parse(c, where, (char *)base + key->offset, text);
	default:
		return set_item_text(c, where, key, base, text);
	}
}

/* ------------------------------------------------------------------ options */

const char *config_option(const struct config_key *key)
{
	const char *option = key->option ? key->option : key->name;

	return *option ? option : NULL;
}

static int takes_argument(const struct config_key *key)
{
	if (key->type == CONFIG_FLAG)
		return no_argument;
	return key->item && key->item->bare ? optional_argument : required_argument;
}

static void add_letter(char *letters, int letter, int has_arg)
{
	size_t n = strlen(letters);

	if (letter <= 0 || letter >= 256)
		return;
	letters[n++] = (char)letter;
	for (int i = 0; i < has_arg; i++)
		letters[n++] = ':';
}

struct option *config_options(const struct option *others, char **letters)
{
	size_t count = 1, at = 0;
	struct option *options;
	int val = FIRST_OPTION;

	for (size_t t = 0; config_tables[t]; t++)
		for (const struct config_key *key = config_tables[t]->keys; key->name; key++)
			count++;
	for (const struct option *other = others; other->name; other++)
		count++;
	options = calloc(count, sizeof(*options));
	/* Arguments that are no options are returned in their place; mistakes are ours to
	 * report. */
	*letters = calloc(1, 3 + 3 * count);
	if (!options || !*letters) {
		free(options);
		free(*letters);
		return NULL;
	}
	strcpy(*letters, "-:");
	for (size_t t = 0; config_tables[t]; t++) {
		for (const struct config_key *key = config_tables[t]->keys; key->name; key++, val++) {
			if (!config_option(key))
				continue;
			options[at++] = (struct option){ config_option(key), takes_argument(key),
							 NULL, val };
			add_letter(*letters, key->letter, takes_argument(key));
		}
	}
	for (; others->name; others++) {
		options[at++] = *others;
		add_letter(*letters, others->val, others->has_arg);
	}
	return options;
}

int config_set_option(struct config *c, int found, const char *argument)
{
	int val = FIRST_OPTION;

	for (size_t t = 0; config_tables[t]; t++) {
		for (const struct config_key *key = config_tables[t]->keys; key->name; key++, val++) {
			struct config_where where = { 0 };

			if (found != val && (!key->letter || found != key->letter))
				continue;
			snprintf(where.path, sizeof(where.path), "--%s", config_option(key));
			if (key->type == CONFIG_FLAG)
				argument = "on";
			return config_set_text(c, &where, key, c, argument ? argument : "");
		}
	}
	return -1;
}

static int set_standards(struct config *c, const struct config_key *keys)
{
	int ret = CLI_OK;

	for (; keys->name && !ret; keys++) {
		struct config_where where = { 0 };

		if (!keys->standard || is_set(keys, c))
			continue;
		snprintf(where.path, sizeof(where.path), "--%s", keys->name);
		ret = config_set_text(c, &where, keys, c, keys->standard);
	}
	return ret;
}

int config_finish(struct config *c)
{
	int ret = CLI_OK;

	for (size_t t = 0; config_tables[t] && !ret; t++)
		ret = set_standards(c, config_tables[t]->keys);
	for (size_t t = 0; config_tables[t] && !ret; t++)
		if (config_tables[t]->finish)
			ret = config_tables[t]->finish(c);
	return ret;
}
