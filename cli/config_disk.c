/* SPDX-License-Identifier: GPL-2.0-only */
/* Disks in the model of a configuration: --disk FILE,…, and "disks" in a file. */
#include "cli/config.h"

#include <errno.h>
#include <string.h>

#include "cli/cli.h"

#define SERIAL_MAX	20	/* virtio-blk's */
#define QUEUES_MAX	32

static const char *const formats[] = { "raw", "qcow2", NULL };

static int check_serial(const struct config_where *where, const void *target, const char *text)
{
	size_t length = strlen(text);

	if (!length || length > SERIAL_MAX)
		return config_fail(where, "'%s' is no serial number: give 1 to %d characters", text,
				   SERIAL_MAX);
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			return config_fail(where, "'%s' is no serial number: give ASCII characters "
					   "without spaces", text);
	return CLI_OK;
}

static const struct config_key disk_keys[] = {
	{ .name = "file", .type = CONFIG_PATH, CONFIG_AT(struct disk_config, path),
	  .required = true, .value = "FILE" },
	{ .name = "format", .type = CONFIG_CHOICE, CONFIG_AT(struct disk_config, format),
	  .choices = formats, .value = "raw|qcow2" },
	{ .name = "readonly", .type = CONFIG_FLAG, CONFIG_AT(struct disk_config, readonly) },
	{ .name = "ephemeral", .type = CONFIG_FLAG, CONFIG_AT(struct disk_config, ephemeral) },
	{ .name = "direct", .type = CONFIG_FLAG, CONFIG_AT(struct disk_config, direct) },
	{ .name = "serial", .type = CONFIG_STRING, CONFIG_AT(struct disk_config, serial),
	  .value = "TEXT", .check = check_serial },
	{ .name = "queues", .type = CONFIG_NUMBER, CONFIG_AT(struct disk_config, queues),
	  .min = 1, .max = QUEUES_MAX, .value = "N" },
	{ .name = "iops", .type = CONFIG_NUMBER, CONFIG_AT(struct disk_config, iops),
	  .min = 1, .max = 1000000000, .value = "N" },
	{ .name = "iops-burst", .type = CONFIG_NUMBER, CONFIG_AT(struct disk_config, iops_burst),
	  .min = 1, .max = 1000000000, .value = "N" },
	{ .name = "bps", .type = CONFIG_SIZE, CONFIG_AT(struct disk_config, bps),
	  .min = 512, .max = 1ULL << 40, .value = "SIZE" },
	{ .name = "bps-burst", .type = CONFIG_SIZE, CONFIG_AT(struct disk_config, bps_burst),
	  .min = 512, .max = 1ULL << 40, .value = "SIZE" },
	{ 0 }
};

static int check_disk(struct config *c, const struct config_where *where, void *item)
{
	const struct disk_config *disk = item;

	if (disk->readonly && disk->ephemeral)
		return config_fail(where, "%s cannot be both readonly and ephemeral: give one of them",
				   disk->path);
	if ((disk->iops_burst && !disk->iops) || (disk->bps_burst && !disk->bps))
		return config_fail(where, "%s has a burst without a limit: give %s too", disk->path,
				   disk->iops_burst && !disk->iops ? "iops" : "bps");
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
	  .value = "FILE[,format=raw|qcow2][,readonly][,ephemeral][,KEY=VALUE]...",
	  .help = "a disk, /dev/vda in the guest; may be given more than once.\n"
		  "Without a format, what does not begin like qcow2 is raw.\n"
		  "readonly: the guest may not write; ephemeral: what it\n"
		  "writes is forgotten at the end. A comma in FILE is written\n"
		  "twice. direct: past the host's page cache; serial=TEXT:\n"
		  "what the guest knows it by, instead of disk0; queues=N:\n"
		  "instead of one for each processor; iops=N and bps=SIZE: the\n"
		  "most requests and bytes in a second, and iops-burst=N and\n"
		  "bps-burst=SIZE how much of that may go at once after a\n"
		  "pause, a tenth of a second's if not given" },
	{ .name = "ephemeral", .type = CONFIG_FLAG, CONFIG_AT(struct config, ephemeral),
	  .help = "what the guest writes to any disk is forgotten at the end" },
	{ 0 }
};

/* The guest could not tell them apart. */
static const char *serial_of_two(const struct config *c)
{
	for (unsigned int i = 0; i < c->vm.disk_count; i++)
		for (unsigned int j = 0; j < i && c->vm.disks[i].serial; j++)
			if (c->vm.disks[j].serial &&
			    !strcmp(c->vm.disks[i].serial, c->vm.disks[j].serial))
				return c->vm.disks[i].serial;
	return NULL;
}

static int finish_disks(struct config *c)
{
	const char *serial = serial_of_two(c);
	struct disk_config *disks;

	if (serial)
		return cli_fail(&command_run, CLI_USAGE, "--disk: two have the serial number '%s': "
				"give another one", serial);

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
