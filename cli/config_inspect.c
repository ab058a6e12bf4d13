/* SPDX-License-Identifier: GPL-2.0-only */
/* Looking inside the software processor, in the model of a configuration. */
#include "cli/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "vmm/provider.h"

/* Some of the names, with commas between. */
static int check_trace(const struct config_where *where, const void *target, const char *text)
{
	static const char *const names[] = { "exec", "exceptions", "translate" };

	for (const char *p = text; ; p++) {
		size_t length = strcspn(p, ","), i = 0;

		while (i < sizeof(names) / sizeof(names[0]) &&
		       (strlen(names[i]) != length || strncmp(names[i], p, length)))
			i++;
		if (i == sizeof(names) / sizeof(names[0]))
			return config_fail(where, "'%.*s' is not known: give some of exec, exceptions and "
					   "translate, with commas between", (int)length, p);
		p += length;
		if (!*p)
			return CLI_OK;
	}
}

static const struct config_key keys[] = {
	{ .name = "perf-map", .type = CONFIG_FLAG, CONFIG_AT(struct config, inspect.perf_map),
	  .help = "name translated code by guest addresses, for perf(1)" },
	{ .name = "stats", .type = CONFIG_FLAG, CONFIG_AT(struct config, inspect.stats),
	  .help = "print at the end what the software processor counted" },
	{ .name = "trace", .type = CONFIG_STRING, CONFIG_AT(struct config, inspect.trace),
	  .value = "WHAT", .check = check_trace,
	  .help = "print what the software processor does: some of exec,\n"
		  "exceptions and translate, with commas between" },
	{ .name = "trace-file", .type = CONFIG_PATH, CONFIG_AT(struct config, inspect.trace_file),
	  .value = "FILE", .help = "to FILE, as also --stats, instead of standard error" },
	{ .name = "code-cache", .type = CONFIG_SIZE, CONFIG_AT(struct config, inspect.code_cache),
	  .min = 1 << 20, .max = 2ULL << 30, .value = "SIZE",
	  .help = "what the software processor keeps of decoded and\n"
		  "translated code (default: 128M)" },
	{ 0 }
};

const struct config_table config_inspect = {
	.title = "Looking inside the software processor", .keys = keys,
};

static int set(const char *name, const char *value)
{
	int err = kvm_provider_soft_option(name, value);

	if (err == -ENOSYS)
		return cli_fail(&command_run, CLI_FAILED, "--%s: this build has no software processor: "
				"leave the option away", name);
	if (err)
		return cli_fail(&command_run, CLI_FAILED, "--%s: %s: %s", name, value, strerror(-err));
	return CLI_OK;
}

int config_apply_inspect(const struct config *c)
{
	char size[32];
	int ret = CLI_OK;

	snprintf(size, sizeof(size), "%llu", (unsigned long long)c->inspect.code_cache);
	if (c->inspect.perf_map)
		ret = set("perf-map", "1");
	if (!ret && c->inspect.stats)
		ret = set("stats", "1");
	if (!ret && c->inspect.trace)
		ret = set("trace", c->inspect.trace);
	if (!ret && c->inspect.trace_file)
		ret = set("trace-file", c->inspect.trace_file);
	if (!ret && c->inspect.code_cache)
		ret = set("code-cache", size);
	return ret;
}
