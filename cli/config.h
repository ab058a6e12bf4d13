/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model of a virtual machine's configuration.
 *
 * What can be said of a machine is declared once, in tables of keys: a key's name, type, range and
 * help, and where its value goes. From the tables come the options of anykvm run, the keys of its
 * JSON files, what both say of bad values, anykvm help, and the shell's completion. docs/config.md
 * describes the file.
 *
 * A device with settings of its own adds a table in a file of its own (see config_disk.c) and a
 * line to config_tables in config.c. What there may be several of (disks) is a list of items, each
 * a struct with keys of its own: "--disk FILE,key=value,flag" as an option, an array of objects in
 * a file.
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/vmm.h"

struct json_t;
struct option;

/* The version of the model that files name; see docs/config.md for what belongs to which. */
#define CONFIG_VERSION	1

#define CONFIG_NAME_MAX	64	/* of a machine; its socket's path has to fit sun_path */

/* All that anykvm run is told. Zero, or NULL, is "not said"; config_finish puts the defaults in. */
struct config {
	struct vm_config vm;
	const char *image;	/* debian-12, or a disk image, to boot from */
	const char *accel;	/* auto, kvm, soft */
	const char *cpu_engine;	/* interp, jit */
	const char *name;
	const char *cloud_init;	/* the user-data file */
	bool ephemeral;		/* no disk keeps what is written */
	const struct net_forward *ports;	/* to be forwarded by the user network */
	unsigned int port_count;
	struct {		/* see config_inspect.c */
		bool perf_map, stats;
		const char *trace, *trace_file;
		uint64_t code_cache;
	} inspect;
	struct config_memory *memory;	/* what the pointers above lead to */
};

enum config_type {
	CONFIG_FLAG,	/* bool */
	CONFIG_STRING,	/* const char * */
	CONFIG_PATH,	/* const char *, of a host's file; in a file of ours relative to that */
	CONFIG_NUMBER,	/* unsigned integer of any width, from min to max */
	CONFIG_SIZE,	/* likewise, bytes: 512M; also of a multiple */
	CONFIG_CHOICE,	/* const char *, one of choices */
	CONFIG_ENUM,	/* unsigned int, the index of one of choices */
	CONFIG_CUSTOM,	/* text that parse takes and print gives */
	CONFIG_LIST,	/* const struct ITEM *, and unsigned int at count: one more with each option */
	CONFIG_OBJECT,	/* const struct ITEM *, NULL where not given */
};

/* Where a value was found, to begin a message with: "--disk" or "vm.json: disks[0]". */
struct config_where {
	const char *file;	/* NULL: an option */
	char path[160];
};

struct config_key {
	const char *name;	/* in files, and before "=" in items; NULL ends a table */
	const char *option;	/* without its dashes, where it is not name; "" for none */
	char letter;		/* and a short one, or 0 */
	enum config_type type;
	bool required;		/* in items: it has to be said */
	uint16_t offset, width;	/* CONFIG_AT(struct, member) */
	uint16_t count;		/* CONFIG_LIST: offset of the counter */
	uint64_t min, max;	/* CONFIG_NUMBER, CONFIG_SIZE; max 0: no limit */
	uint64_t multiple;	/* CONFIG_SIZE; 0: any */
	const char *const *choices;	/* ended by NULL */
	const struct config_item *item;	/* CONFIG_LIST, CONFIG_OBJECT */
	const char *standard;	/* the default, as an option's text; NULL: none. Not in items. */
	const char *value;	/* what help calls the value: "FILE" */
	const char *help;	/* lines of at most 56 characters, without a final newline */
	/* CONFIG_CUSTOM: stores the value at target, with config_strdup where it is text. Returns
	 * CLI_OK, or what config_fail returned. */
	int (*parse)(struct config *c, const struct config_where *where, void *target,
		     const char *text);
	/* CONFIG_CUSTOM: writes the value as parse takes it, or nothing where it is not set. */
	void (*print)(const void *target, char *text, size_t size);
	/* For what type and range do not say. As parse; text is as the user wrote it. May be
	 * NULL. */
	int (*check)(const struct config_where *where, const void *target, const char *text);
};

#define CONFIG_AT(type, member) \
	.offset = offsetof(type, member), .width = sizeof(((type *)NULL)->member)
#define CONFIG_LIST_AT(type, member, counter) \
	.offset = offsetof(type, member), .count = offsetof(type, counter)

/* What a list consists of. */
struct config_item {
	const char *noun;	/* for messages: "disk" */
	size_t size;		/* of the struct */
	const struct config_key *keys;
	const char *first;	/* the key whose value comes first, without "key=", or NULL */
	bool bare;		/* the option may come without any value: --balloon */
	/* Instead of storing it in first: takes that text apart, which it may write to, with
	 * config_set_item_key. As a key's parse. May be NULL. */
	int (*split)(struct config *c, const struct config_where *where, void *item, char *text);
	/* For what does not go together, or needs a default; all keys are set. May be NULL. */
	int (*check)(struct config *c, const struct config_where *where, void *item);
};

struct config_table {
	const char *title;	/* in anykvm help run */
	const struct config_key *keys;
	/* When all is said and the defaults are in: for what keys of different places make
	 * together. As a key's parse. May be NULL. */
	int (*finish)(struct config *c);
};

extern const struct config_table *const config_tables[];	/* ended by NULL */
extern const struct config_table config_machine;
extern const struct config_table config_disks;
extern const struct config_table config_inspect;
extern const struct config_table config_nets;
extern const struct config_table config_shares;

/* ------------------------------------------------------------------ from options and files */

/* A key's option, or NULL where it has none. */
const char *config_option(const struct config_key *key);

/* The options of all tables. Returns NULL where there is no memory; free() it. */
struct option *config_options(const struct option *others, char **letters);

/*
 * Takes what getopt_long() found: index as it gave it, or the letter. Returns an exit status,
 * having complained where it is not CLI_OK, or -1 where it is none of ours.
 */
int config_set_option(struct config *c, int found, const char *argument);

/* Reads a file, over which options are then put. Returns an exit status, having complained. */
int config_read(struct config *c, const char *path);

/* Puts in the defaults of what was not said. Returns an exit status. */
int config_finish(struct config *c);
void config_free(struct config *c);

/* Tells the software processor what of itself it is to show. Returns an exit status. */
int config_apply_inspect(const struct config *c);

/* Prints the model as a file, on stdout. Returns an exit status. */
int config_write(const struct config *c);
/* The same for others to print; json_decref it. NULL: no memory. */
struct json_t *config_to_json(const struct config *c);

/* ------------------------------------------------------------------ for tables */

/* Prints "anykvm run: WHERE: " and the message, which says what to do. Returns CLI_USAGE. */
int config_fail(const struct config_where *where, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Sets the key of an item (whose keys they are) from text, as "key=value" would. */
int config_set_item_key(struct config *c, const struct config_where *where,
			const struct config_item *item, void *object, const char *name,
			const char *text);

/* Memory that config_free takes back, zeroed. NULL where there is none. */
void *config_alloc(struct config *c, size_t size);
char *config_strdup(struct config *c, const char *text);

/* A number of bytes with an optional K, M, G or T. Returns 0 or -EINVAL. */
int config_parse_size(const char *text, uint64_t *size);

/* ------------------------------------------------------------------ between the files of this */

/* config.c: a value for a key of the struct at base. */
int config_set_text(struct config *c, const struct config_where *where,
		    const struct config_key *key, void *base, const char *text);
int config_set_number(const struct config_where *where, const struct config_key *key, void *base,
		      uint64_t number, const char *text);
/* Adds an item that is complete, or complains. */
int config_add_item(struct config *c, const struct config_where *where,
		    const struct config_key *key, void *base, void *object);
uint64_t config_get_number(const struct config_key *key, const void *base);
void config_format_size(uint64_t size, char text[32]);

/* config_help.c: the options, for anykvm help run; the keys of a file, for anykvm help config. */
void config_print_help(void);
void config_print_keys(void);

#endif
