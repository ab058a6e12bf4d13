/* SPDX-License-Identifier: GPL-2.0-only */
/* Disks in the model of a configuration: --disk FILE,…, and "disks" in a file. */
#include "cli/config.h"

#include <errno.h>
#include <string.h>

#include "cli/cli.h"

static const char *const formats[] = { "raw", "qcow2", NULL };

static const struct config_key disk_keys[] = {
	{ .name = "file", .type = CONFIG_PATH, CONFIG_AT(struct disk_config, path),
	  .required = true, .value = "FILE" },
	{ .name = "format", .type = CONFIG_CHOICE, CONFIG_AT(struct disk_config, format),
	  .choices = formats, .value = "raw|qcow2" },
	{ .name = "readonly", .type = CONFIG_FLAG, CONFIG_AT(struct disk_config, readonly) },
	{ .name = "ephemeral", .type = CONFIG_FLAG, CONFIG_AT(struct disk_config, ephemeral) },
	{ 0 }
};

static int check_disk(struct config *c, const struct config_where *where, void *item)
{
	const struct disk_config *disk = item;

	if (disk->readonly && disk->ephemeral)
		return config_fail(where, "%s cannot be both readonly and ephemeral: give one of them",
				   disk->path);
	return CLI_OK;
}

static const struct config_item disk_item = {
	.noun = "disk",
	.size = sizeof(struct disk_config),
	.keys = disk_keys,
	.first = "file",
	.check = check_disk,
};

static const struct config_key keys[] = {
	{ .name = "disks", .option = "disk", .type = CONFIG_LIST, .item = &disk_item,
	  CONFIG_LIST_AT(struct config, vm.disks, vm.disk_count),
	  .value = "FILE[,format=raw|qcow2][,readonly][,ephemeral]",
	  .help = "a disk, /dev/vda in the guest; may be given more than once.\n"
		  "Without a format, what does not begin like qcow2 is raw.\n"
		  "readonly: the guest may not write; ephemeral: what it\n"
		  "writes is forgotten at the end. A comma in FILE is written\n"
		  "twice" },
	{ .name = "ephemeral", .type = CONFIG_FLAG, CONFIG_AT(struct config, ephemeral),
	  .help = "what the guest writes to any disk is forgotten at the end" },
	{ 0 }
};

static int finish_disks(struct config *c)
{
	struct disk_config *disks;

	if (!c->ephemeral || !c->vm.disk_count)
		return CLI_OK;
	disks = config_alloc(c, c->vm.disk_count * sizeof(*disks));
	if (!disks)
		return cli_fail(&command_run, CLI_FAILED, "%s", strerror(ENOMEM));
	for (unsigned int i = 0; i < c->vm.disk_count; i++) {
		disks[i] = c->vm.disks[i];
		disks[i].ephemeral = !disks[i].readonly;
	}
	c->vm.disks = disks;
	return CLI_OK;
}

const struct config_table config_disks = {
	.title = "Disks",
	.keys = keys,
	.finish = finish_disks,
};
