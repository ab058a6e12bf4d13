/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model of a configuration as JSON: files are read into it, and it is written as one.
 *
 * A file is an object of the tables' keys, beside "version". A mistake is told as one line that
 * names the file and the key, and all that can be told by an option can be told here.
 */
#include "cli/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#ifdef HAVE_JANSSON

#include <jansson.h>

static int read_object(struct config *c, const struct config_where *where,
		       const struct config_key *keys, void *base, json_t *object);

/* ------------------------------------------------------------------ reading */

static const char *type_of(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a number";
	case JSON_REAL:
		return "a fraction";
	case JSON_NULL:
		return "null";
	default:
		return "a truth value";
	}
}

/* What a key's value should look like. */
static const char *remedy(const struct config_key *key)
{
	switch (key->type) {
	case CONFIG_FLAG:
		return "true or false";
	case CONFIG_NUMBER:
		return "a number";
	case CONFIG_SIZE:
		return "a string with K, M or G, as in \"512M\", or a number of bytes";
	case CONFIG_LIST:
		return "an array of objects";
	case CONFIG_OBJECT:
		return "an object";
	default:
		return "a string";
	}
}

static int wrong_type(const struct config_where *where, const struct config_key *key,
		      const json_t *value)
{
	return config_fail(where, "%s cannot be its value: give %s", type_of(value), remedy(key));
}

/* An item as an object, or as the text that the option takes. */
static int read_item(struct config *c, const struct config_where *where,
		     const struct config_key *key, void *base, json_t *value)
{
	void *object;
	int ret;

	if (json_is_string(value))
		return config_set_text(c, where, key, base, json_string_value(value));
	if (!json_is_object(value))
		return config_fail(where, "%s cannot be its value: give an object",
				   type_of(value));
	object = config_alloc(c, key->item->size);
	if (!object) {
		config_fail(where, "%s", strerror(ENOMEM));
		return CLI_FAILED;
	}
	ret = read_object(c, where, key->item->keys, object, value);
	return ret ? ret : config_add_item(c, where, key, base, object);
}

static int read_list(struct config *c, const struct config_where *where,
		     const struct config_key *key, void *base, json_t *array)
{
	int ret = CLI_OK;
	json_t *value;
	size_t i;

	json_array_foreach(array, i, value) {
		struct config_where w = { .file = where->file };

		snprintf(w.path, sizeof(w.path), "%.*s[%zu]", (int)sizeof(w.path) / 2, where->path,
			 i);
		ret = read_item(c, &w, key, base, value);
		if (ret)
			break;
	}
	return ret;
}

static int read_number(const struct config_where *where, const struct config_key *key, void *base,
		       const json_t *value)
{
	char text[32];

	snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	if (json_integer_value(value) < 0)
		return config_fail(where, "%s is less than nothing: give %s", text, remedy(key));
	return config_set_number(where, key, base, json_integer_value(value), text);
}

static int read_value(struct config *c, const struct config_where *where,
		      const struct config_key *key, void *base, json_t *value)
{
	switch (key->type) {
	case CONFIG_FLAG:
		if (json_is_boolean(value))
			return config_set_text(c, where, key, base,
					       json_is_true(value) ? "on" : "off");
		break;
	case CONFIG_SIZE:
		if (json_is_integer(value))
			return read_number(where, key, base, value);
		if (json_is_string(value))
			return config_set_text(c, where, key, base, json_string_value(value));
		break;
	case CONFIG_NUMBER:
		if (json_is_integer(value))
			return read_number(where, key, base, value);
		break;
	case CONFIG_LIST:
		if (json_is_array(value))
			return read_list(c, where, key, base, value);
		break;
	case CONFIG_OBJECT:
		return read_item(c, where, key, base, value);
	default:
		if (json_is_string(value))
			return config_set_text(c, where, key, base, json_string_value(value));
	}
	return wrong_type(where, key, value);
}

static int read_key(struct config *c, const struct config_where *where,
		    const struct config_key *key, void *base, json_t *value)
{
	struct config_where w = { .file = where->file };

	snprintf(w.path, sizeof(w.path), "%.*s%s%s", (int)sizeof(w.path) / 2, where->path,
		 *where->path ? "." : "", key->name);
	return read_value(c, &w, key, base, value);
}

static const struct config_key *find_key(const struct config_key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (!strcmp(keys->name, name))
			return keys;
	return NULL;
}

static int read_object(struct config *c, const struct config_where *where,
		       const struct config_key *keys, void *base, json_t *object)
{
	const char *name;
	json_t *value;
	int ret = CLI_OK;

	json_object_foreach(object, name, value) {
		const struct config_key *key = find_key(keys, name);

		if (!key)
			return config_fail(where, "there is no key '%s': see anykvm help config "
					   "for those there are", name);
		ret = read_key(c, where, key, base, value);
		if (ret)
			break;
	}
	return ret;
}

static const struct config_key *find_global(const char *name)
{
	const struct config_key *key = NULL;

	for (size_t t = 0; config_tables[t] && !key; t++)
		key = find_key(config_tables[t]->keys, name);
	return key;
}

static int read_version(const struct config_where *where, const json_t *root)
{
	const json_t *version = json_object_get(root, "version");
	struct config_where w = { .file = where->file, .path = "version" };

	if (!version)
		return config_fail(where, "it does not say which version of the format it has: add "
				   "\"version\": %d", CONFIG_VERSION);
	if (!json_is_integer(version))
		return config_fail(&w, "%s cannot be its value: give %d", type_of(version),
				   CONFIG_VERSION);
	if (json_integer_value(version) != CONFIG_VERSION)
		return config_fail(&w, "%" JSON_INTEGER_FORMAT " is none that this anykvm reads: "
				   "give %d, or use the anykvm that it was written for",
				   json_integer_value(version), CONFIG_VERSION);
	return CLI_OK;
}

static int read_root(struct config *c, const struct config_where *where, json_t *root)
{
	const char *name;
	json_t *value;
	int ret;

	if (!json_is_object(root))
		return config_fail(where, "%s is no configuration: give an object", type_of(root));
	ret = read_version(where, root);
	if (ret)
		return ret;
	json_object_foreach(root, name, value) {
		const struct config_key *key = find_global(name);

		if (!strcmp(name, "version"))
			continue;
		if (!key)
			return config_fail(where, "there is no key '%s': see anykvm help config "
					   "for those there are", name);
		ret = read_key(c, where, key, c, value);
		if (ret)
			return ret;
	}
	return CLI_OK;
}

int config_read(struct config *c, const char *path)
{
	struct config_where where = { .file = config_strdup(c, path) };
	json_error_t error;
	FILE *file;
	json_t *root;
	int ret;

	if (!where.file)
		return cli_fail(&command_run, CLI_FAILED, "%s", strerror(ENOMEM));
	file = fopen(path, "re");
	if (!file)
		return cli_fail(&command_run, CLI_FAILED, "%s: %s", path, strerror(errno));
	root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
	if (!root && ferror(file))
		ret = cli_fail(&command_run, CLI_FAILED, "%s: it cannot be read", path);
	else if (!root)
		ret = cli_fail(&command_run, CLI_USAGE, "%s: line %d: this is no JSON: %s", path,
			       error.line, error.text);
	else
		ret = read_root(c, &where, root);
	fclose(file);
	json_decref(root);
	return ret;
}

/* ------------------------------------------------------------------ writing */

static json_t *write_object(const struct config_key *keys, const void *base, json_t *object);

static const char *get_pointer(const struct config_key *key, const void *base)
{
	const char *pointer;

	memcpy(&pointer, (const char *)base + key->offset, sizeof(pointer));
	return pointer;
}

/* From wherever the file will be read, it is the same file. */
static json_t *write_path(const char *path)
{
	char *here;
	json_t *value;

	if (!path)
		return NULL;
	here = *path == '/' ? NULL : getcwd(NULL, 0);
	value = here ? json_sprintf("%s/%s", here, path) : json_string(path);
	free(here);
	return value;
}

static json_t *write_size(uint64_t size)
{
	char text[32];

	config_format_size(size, text);
	return size ? json_string(text) : NULL;
}

static json_t *write_list(const struct config_key *key, const void *base)
{
	const char *items = get_pointer(key, base);
	unsigned int count = *(const unsigned int *)((const char *)base + key->count);
	json_t *array = count ? json_array() : NULL;

	for (unsigned int i = 0; i < count; i++)
		json_array_append_new(array, write_object(key->item->keys,
							  items + i * key->item->size,
							  json_object()));
	return array;
}

static json_t *write_custom(const struct config_key *key, const void *base)
{
	char text[512] = "";

	key->print((const char *)base + key->offset, text, sizeof(text));
	return *text ? json_string(text) : NULL;
}

/* NULL where there is nothing to say. */
static json_t *write_value(const struct config_key *key, const void *base)
{
	const char *pointer;
	uint64_t number;

	switch (key->type) {
	case CONFIG_FLAG:
		return *((const bool *)base + key->offset) ? json_true() : NULL;
	case CONFIG_PATH:
		return write_path(get_pointer(key, base));
	case CONFIG_NUMBER:
		number = config_get_number(key, base);
		return number ? json_integer(number) : NULL;
	case CONFIG_SIZE:
		return write_size(config_get_number(key, base));
	case CONFIG_ENUM:
		return json_string(key->choices[config_get_number(key, base)]);
	case CONFIG_CUSTOM:
		return write_custom(key, base);
	case CONFIG_LIST:
		return write_list(key, base);
	case CONFIG_OBJECT:
		pointer = get_pointer(key, base);
		return pointer ? write_object(key->item->keys, pointer, json_object()) : NULL;
	default:
		pointer = get_pointer(key, base);
		return pointer ? json_string(pointer) : NULL;
	}
}

static json_t *write_object(const struct config_key *keys, const void *base, json_t *object)
{
	for (; keys->name; keys++) {
		json_t *value = write_value(keys, base);

		if (value)
			json_object_set_new(object, keys->name, value);
	}
	return object;
}

json_t *config_to_json(const struct config *c)
{
	json_t *root = json_object();

	json_object_set_new(root, "version", json_integer(CONFIG_VERSION));
	for (size_t t = 0; config_tables[t]; t++)
		write_object(config_tables[t]->keys, c, root);
	return root;
}

int config_write(const struct config *c)
{
	json_t *root = config_to_json(c);

	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
	return cli_finish_output(&command_run);
}

#else

int config_read(struct config *c, const char *path)
{
	return cli_fail(&command_run, CLI_FAILED, "%s: this anykvm was built without libjansson "
			"and reads no files: give options instead", path);
}

int config_write(const struct config *c)
{
	return cli_fail(&command_run, CLI_FAILED, "--print-config: this anykvm was built without "
			"libjansson and writes no files");
}

#endif
