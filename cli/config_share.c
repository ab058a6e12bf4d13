/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What host and guest share and talk by, in the model of a configuration: directories, sockets,
 * channels, memory given back, and the watchdog.
 */
#include "cli/config.h"

#include <string.h>

#include "cli/cli.h"

#define MAX_TAG		36	/* bytes that virtio-fs has for it */
#define FIRST_CID	3	/* 0 to 2 are nobody, the guest itself and the host */

/* ------------------------------------------------------------------ directories */

#define SHARE_KEY(member_) CONFIG_AT(struct share_config, member_)

static int check_tag(const struct config_where *where, const void *target, const char *text)
{
	if (!*text || strlen(text) > MAX_TAG)
		return config_fail(where, "'%s' cannot be a tag: give 1 to %d bytes, without a "
				   "colon", text, MAX_TAG);
	return CLI_OK;
}

static const struct config_key share_keys[] = {
	{ .name = "directory", .type = CONFIG_PATH, .required = true, SHARE_KEY(path),
	  .value = "DIR" },
	{ .name = "tag", .type = CONFIG_STRING, SHARE_KEY(tag), .value = "TAG",
	  .check = check_tag },
	{ .name = "ro", .type = CONFIG_FLAG, SHARE_KEY(readonly) },
	{ 0 }
};

/* DIR[:TAG]. What has a slash in it is no tag but a part of the directory's name. */
static int split_share(struct config *c, const struct config_where *where, void *item, char *text)
{
	const struct config_item keys = { .keys = share_keys };
	char *tag = strrchr(text, ':');
	int ret;

	if (tag && strchr(tag, '/'))
		tag = NULL;
	if (tag)
		*tag++ = 0;
	ret = config_set_item_key(c, where, &keys, item, "directory", text);
	return ret || !tag ? ret : config_set_item_key(c, where, &keys, item, "tag", tag);
}

static const struct config_item share_item = {
	.noun = "directory",
	.size = sizeof(struct share_config),
	.keys = share_keys,
	.split = split_share,
};

/* ------------------------------------------------------------------ sockets, channels */

#define VSOCK_KEY(member_) CONFIG_AT(struct vsock_config, member_)

static const struct config_key vsock_keys[] = {
	{ .name = "path", .type = CONFIG_PATH, .required = true, VSOCK_KEY(path), .value = "FILE" },
	{ .name = "cid", .type = CONFIG_NUMBER, VSOCK_KEY(cid), .min = FIRST_CID,
	  .max = UINT32_MAX - 1, .value = "N" },
	{ 0 }
};

static const struct config_item vsock_item = {
	.noun = "socket",
	.size = sizeof(struct vsock_config),
	.keys = vsock_keys,
	.first = "path",
};

#define CHANNEL_KEY(member_) CONFIG_AT(struct channel_config, member_)

static const struct config_key channel_keys[] = {
	{ .name = "name", .type = CONFIG_STRING, .required = true, CHANNEL_KEY(name),
	  .value = "NAME" },
	{ .name = "path", .type = CONFIG_PATH, .required = true, CHANNEL_KEY(path),
	  .value = "FILE" },
	{ 0 }
};

/* NAME=FILE */
static int split_channel(struct config *c, const struct config_where *where, void *item, char *text)
{
	const struct config_item keys = { .keys = channel_keys };
	char *path = strchr(text, '=');
	int ret;

	if (!path)
		return config_fail(where, "'%s' names no socket: give NAME=FILE, as in "
				   "org.qemu.guest_agent.0=agent.sock", text);
	*path++ = 0;
	ret = config_set_item_key(c, where, &keys, item, "name", text);
	return ret ? ret : config_set_item_key(c, where, &keys, item, "path", path);
}

static int check_channel(struct config *c, const struct config_where *where, void *item)
{
	const struct channel_config *channel = item;

	/* The guest makes a file of that name. */
	if (!*channel->name || strlen(channel->name) > 127 || strchr(channel->name, '/'))
		return config_fail(where, "'%s' cannot be a channel's name: give 1 to 127 bytes "
				   "without a slash", channel->name);
	return CLI_OK;
}

static const struct config_item channel_item = {
	.noun = "channel",
	.size = sizeof(struct channel_config),
	.keys = channel_keys,
	.split = split_channel,
	.check = check_channel,
};

/* ------------------------------------------------------------------ balloon, watchdog */

static const struct config_key balloon_keys[] = {
	{ .name = "size", .type = CONFIG_SIZE, CONFIG_AT(struct balloon_config, size),
	  .min = VM_MIN_MEMORY, .multiple = 4096, .value = "SIZE" },
	{ 0 }
};

static const struct config_item balloon_item = {
	.noun = "balloon",
	.size = sizeof(struct balloon_config),
	.keys = balloon_keys,
	.first = "size",
	.bare = true,
};

/* By enum watchdog_action. */
static const char *const actions[] = { "reset", "poweroff", "pause", "none", NULL };

static const struct config_key watchdog_keys[] = {
	{ .name = "action", .type = CONFIG_ENUM, CONFIG_AT(struct watchdog_config, action),
	  .choices = actions, .value = "reset|poweroff|pause|none" },
	{ 0 }
};

static const struct config_item watchdog_item = {
	.noun = "watchdog",
	.size = sizeof(struct watchdog_config),
	.keys = watchdog_keys,
	.first = "action",
	.bare = true,
};

/* ------------------------------------------------------------------ the table */

static const struct config_key keys[] = {
	{ .name = "shares", .option = "share", .type = CONFIG_LIST, .item = &share_item,
	  CONFIG_LIST_AT(struct config, vm.shares, vm.share_count),
	  .value = "DIR[:TAG][,ro]",
	  .help = "a directory of the host's; may be given more than once.\n"
		  "In the guest: mount -t virtiofs TAG /mnt (default:\n"
		  "share0, share1 and so on). The guest gets at all that is\n"
		  "beneath DIR, with this process's rights, but not at what\n"
		  "is mounted there; ro: it may not change it" },
	{ .name = "vsock", .type = CONFIG_OBJECT, .item = &vsock_item,
	  CONFIG_AT(struct config, vm.vsock),
	  .value = "FILE[,cid=N]",
	  .help = "sockets between host and guest. Who connects to the\n"
		  "Unix socket FILE and writes \"CONNECT PORT\" gets to the\n"
		  "guest's port; the guest's connections to the host's port\n"
		  "P go to FILE_P. cid: the guest's number (default: 3)" },
	{ .name = "channels", .option = "channel", .type = CONFIG_LIST, .item = &channel_item,
	  CONFIG_LIST_AT(struct config, vm.channels, vm.channel_count),
	  .value = "NAME=FILE",
	  .help = "/dev/virtio-ports/NAME in the guest is the Unix socket\n"
		  "FILE here; may be given more than once. The guest agent\n"
		  "listens to org.qemu.guest_agent.0" },
	{ .name = "balloon", .type = CONFIG_OBJECT, .item = &balloon_item,
	  CONFIG_AT(struct config, vm.balloon),
	  .value = "SIZE",
	  .help = "the guest gives memory back that it does not use, and is\n"
		  "told to keep no more than SIZE where that is given, as\n"
		  "in --balloon=1G" },
	{ .name = "watchdog", .type = CONFIG_OBJECT, .item = &watchdog_item,
	  CONFIG_AT(struct config, vm.watchdog),
	  .value = "reset|poweroff|pause|none",
	  .help = "a watchdog (i6300esb), and what is done when the guest\n"
		  "does not reset it in time (default: reset)" },
	{ 0 }
};

static int finish_shares(struct config *c)
{
	const struct config_where where = { .path = "--balloon" };

	if (c->vm.balloon && c->vm.balloon->size > c->vm.memory)
		return config_fail(&where, "the guest cannot keep more than the memory it has: "
				   "name a smaller size, or give more --memory");
	return CLI_OK;
}

const struct config_table config_shares = {
	.title = "Sharing and talking",
	.keys = keys,
	.finish = finish_shares,
};
