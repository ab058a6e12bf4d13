/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Networks in the model of a configuration: --net KIND,… and -p HOST:GUEST; "nets" and "ports" in
 * a file.
 *
 * A machine has the networks that it is told of. Without any, ports to be forwarded bring user
 * networking with them, as does an image to boot, whose users expect it to reach the world.
 */
#include "cli/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "vmm/net/net.h"
#include "vmm/util.h"

/* By enum net_kind. */
static const char *const kinds[] = { "user", "tap", "socket", "passt", "none", NULL };

/* ------------------------------------------------------------------ values */

static int parse_mac(struct config *c, const struct config_where *where, void *target,
		     const char *text)
{
	static const uint8_t none[6];
	unsigned int b[6];
	uint8_t mac[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6 || text[end] || end != 17)
		return config_fail(where, "'%s' is no address: give six bytes, as in "
				   "52:54:00:12:34:56", text);
	for (unsigned int i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	if (mac[0] & 1 || !memcmp(mac, none, 6))
		return config_fail(where, "%s cannot be one machine's address: give one whose first "
				   "byte is even, as in 52:54:00:12:34:56", text);
	memcpy(target, mac, 6);
	return CLI_OK;
}

static void print_mac(const void *target, char *text, size_t size)
{
	static const uint8_t none[6];
	const uint8_t *mac = target;

	if (memcmp(mac, none, 6))
		snprintf(text, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
			 mac[4], mac[5]);
}

/* Something a stream socket can be: HOST:PORT as it is, or a path, in a file relative to that. */
static int parse_address(struct config *c, const struct config_where *where, void *target,
			 const char *text)
{
	const char *slash = where->file ? strrchr(where->file, '/') : NULL;
	char *value;
	size_t size;

	if (!*text)
		return config_fail(where, "this is an empty name: give a path, or HOST:PORT");
	if (!slash || *text == '/' || net_is_tcp(text)) {
		value = config_strdup(c, text);
	} else {
		size = slash - where->file + 1 + strlen(text) + 1;
		value = config_alloc(c, size);
		if (value)
			snprintf(value, size, "%.*s/%s", (int)(slash - where->file), where->file,
				 text);
	}
	if (!value) {
		config_fail(where, "%s", strerror(ENOMEM));
		return CLI_FAILED;
	}
	memcpy(target, &value, sizeof(value));
	return CLI_OK;
}

static void print_address(const void *target, char *text, size_t size)
{
	const char *value;
	char *here = NULL;

	memcpy(&value, target, sizeof(value));
	if (!value)
		return;
	/* From wherever the file will be read, it is the same socket. */
	if (*value != '/' && !net_is_tcp(value))
		here = realpath(".", NULL);
	snprintf(text, size, "%s%s%s", here ? here : "", here ? "/" : "", value);
	free(here);
}

/* ------------------------------------------------------------------ networks */

#define NET_KEY(member_) CONFIG_AT(struct net_config, member_)

static const struct config_key net_keys[] = {
	{ .name = "kind", .type = CONFIG_ENUM, NET_KEY(kind), .choices = kinds,
	  .value = "user|tap|socket|passt|none" },
	{ .name = "mac", .type = CONFIG_CUSTOM, NET_KEY(mac), .value = "ADDRESS",
	  .parse = parse_mac, .print = print_mac },
	{ .name = "mtu", .type = CONFIG_NUMBER, NET_KEY(mtu), .min = NET_MIN_MTU,
	  .max = NET_MAX_MTU, .value = "N" },
	{ .name = "queues", .type = CONFIG_NUMBER, NET_KEY(queues), .min = 1,
	  .max = NET_MAX_QUEUES, .value = "N" },
	{ .name = "restricted", .type = CONFIG_FLAG, NET_KEY(restricted) },
	{ .name = "ifname", .type = CONFIG_STRING, NET_KEY(ifname), .value = "NAME" },
	{ .name = "bridge", .type = CONFIG_STRING, NET_KEY(bridge), .value = "NAME" },
	{ .name = "fd", .type = CONFIG_NUMBER, NET_KEY(fd), .min = 3, .max = 65535, .value = "N" },
	{ .name = "listen", .type = CONFIG_CUSTOM, NET_KEY(listen), .value = "ADDRESS",
	  .parse = parse_address, .print = print_address },
	{ .name = "connect", .type = CONFIG_CUSTOM, NET_KEY(connect), .value = "ADDRESS",
	  .parse = parse_address, .print = print_address },
	{ .name = "path", .type = CONFIG_PATH, NET_KEY(path), .value = "FILE" },
	{ 0 }
};

/* What a kind cannot do, by the key that asks for it. NULL: all is well. */
static const char *misplaced(const struct net_config *net)
{
	if (net->kind != NET_TAP && net->queues > 1)
		return "queues";
	if (net->kind != NET_USER && net->restricted)
		return "restricted";
	if (net->kind != NET_TAP && net->ifname)
		return "ifname";
	if (net->kind != NET_TAP && net->bridge)
		return "bridge";
	if (net->kind != NET_TAP && net->fd)
		return "fd";
	if (net->kind != NET_SOCKET && net->listen)
		return "listen";
	if (net->kind != NET_SOCKET && net->connect)
		return "connect";
	return net->kind != NET_PASST && net->path ? "path" : NULL;
}

static int check_tap(const struct config_where *where, const struct net_config *net)
{
	if (!net->ifname && !net->bridge && !net->fd)
		return config_fail(where, "no tap device named: give ifname=NAME, bridge=NAME to "
				   "have one made, or fd=N");
	if (net->fd && (net->ifname || net->bridge))
		return config_fail(where, "an open device has its name already: give fd=%u without "
				   "ifname and bridge", net->fd);
	if (net->fd && net->queues > 1)
		return config_fail(where, "fd=%u is one queue: give ifname=NAME for several", net->fd);
	if (net->ifname && (!*net->ifname || strlen(net->ifname) > 15 || strchr(net->ifname, '/')))
		return config_fail(where, "'%s' cannot be a network device's name: give 1 to 15 "
				   "characters without a slash", net->ifname);
	return CLI_OK;
}

static int check_net(struct config *c, const struct config_where *where, void *item)
{
	const struct net_config *net = item;
	const char *key = misplaced(net);

	if (key)
		return config_fail(where, "%s is not for a network of kind %s: leave it away%s", key,
				   kinds[net->kind], !strcmp(key, "queues") ? ", or give tap" : "");
	switch (net->kind) {
	case NET_TAP:
		return check_tap(where, net);
	case NET_SOCKET:
		if (!net->listen == !net->connect)
			return config_fail(where, "one side listens and the other connects: give "
					   "either listen=ADDRESS or connect=ADDRESS");
		return CLI_OK;
	case NET_PASST:
		return net->path ? CLI_OK :
		       config_fail(where, "where passt listens is not said: give path=FILE, as passt "
				   "prints it");
	default:
		return CLI_OK;
	}
}

static const struct config_item net_item = {
	.noun = "network",
	.size = sizeof(struct net_config),
	.keys = net_keys,
	.first = "kind",
	.check = check_net,
};

/* ------------------------------------------------------------------ ports */

static int check_host_address(const struct config_where *where, const void *target,
			      const char *text)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1)
		return config_fail(where, "'%s' is no IPv4 address: give one of this host, as in "
				   "127.0.0.1", text);
	return CLI_OK;
}

#define PORT_KEY(member_) CONFIG_AT(struct net_forward, member_)

static const struct config_key port_keys[] = {
	{ .name = "host", .type = CONFIG_NUMBER, .required = true, PORT_KEY(host_port), .min = 1,
	  .max = 65535, .value = "PORT" },
	{ .name = "guest", .type = CONFIG_NUMBER, .required = true, PORT_KEY(guest_port), .min = 1,
	  .max = 65535, .value = "PORT" },
	{ .name = "address", .type = CONFIG_STRING, PORT_KEY(address), .value = "ADDRESS",
	  .check = check_host_address },
	{ .name = "udp", .type = CONFIG_FLAG, PORT_KEY(udp) },
	{ 0 }
};

/* [ADDRESS:]HOST:GUEST[/udp] */
static int split_port(struct config *c, const struct config_where *where, void *item, char *text)
{
	char whole[128], *slash = strchr(text, '/');
	char *guest = strrchr(text, ':'), *host, *address = NULL;
	int ret;

	snprintf(whole, sizeof(whole), "%s", text);
	if (slash) {
		*slash++ = 0;
		if (strcmp(slash, "tcp") && strcmp(slash, "udp"))
			return config_fail(where, "'%s' of %s is not known: give tcp or udp", slash,
					   whole);
	}
	if (!guest)
		return config_fail(where, "'%s' is no pair of ports: give HOST:GUEST, as in 2222:22",
				   whole);
	*guest++ = 0;
	host = strrchr(text, ':');
	if (host) {
		*host++ = 0;
		address = text;
	} else {
		host = text;
	}
	ret = config_set_item_key(c, where, &(struct config_item){ .keys = port_keys }, item, "host",
				  host);
	if (!ret)
		ret = config_set_item_key(c, where, &(struct config_item){ .keys = port_keys }, item,
					  "guest", guest);
	if (!ret && address)
		ret = config_set_item_key(c, where, &(struct config_item){ .keys = port_keys }, item,
					  "address", address);
	if (!ret && slash)
		((struct net_forward *)item)->udp = !strcmp(slash, "udp");
	return ret;
}

static const struct config_item port_item = {
	.noun = "port",
	.size = sizeof(struct net_forward),
	.keys = port_keys,
	.split = split_port,
};

/* ------------------------------------------------------------------ the table */

static const struct config_key keys[] = {
	{ .name = "nets", .option = "net", .type = CONFIG_LIST, .item = &net_item,
	  CONFIG_LIST_AT(struct config, vm.nets, vm.net_count),
	  .value = "KIND[,mac=ADDRESS][,mtu=N]...",
	  .help = "a network device; may be given more than once.\n"
		  "user[,restricted]: a network inside this process that\n"
		  "reaches the world, or only -p, without privilege;\n"
		  "tap,ifname=NAME[,queues=N]: a tap device of the host's;\n"
		  "tap,bridge=NAME: a new one, put into a bridge;\n"
		  "tap,fd=N: one that is open already;\n"
		  "socket,listen=ADDRESS or socket,connect=ADDRESS: another\n"
		  "machine's, by a path or HOST:PORT;\n"
		  "passt,path=FILE: a running passt's socket;\n"
		  "none: no network (default: user with -p or an image to\n"
		  "boot, else none)" },
	{ .name = "ports", .option = "port", .letter = 'p', .type = CONFIG_LIST, .item = &port_item,
	  CONFIG_LIST_AT(struct config, ports, port_count),
	  .value = "[ADDRESS:]HOST:GUEST[/udp]",
	  .help = "a port of the host's that leads to one of the guest's,\n"
		  "with --net user; may be given more than once" },
	{ 0 }
};

/* User networking where nobody said otherwise. */
static bool wants_user(const struct config *c)
{
#ifdef HAVE_SLIRP
	if (c->image)
		return true;
#endif
	return c->port_count;
}

static int finish_nets(struct config *c)
{
	const struct config_where where = { .path = "--port" };
	struct net_config *nets = NULL;
	unsigned int i = 0;

	if (!c->vm.net_count && !wants_user(c))
		return CLI_OK;
	if (c->vm.net_count && !c->port_count)
		return CLI_OK;
	while (i < c->vm.net_count && c->vm.nets[i].kind != NET_USER)
		i++;
	if (c->vm.net_count && i == c->vm.net_count)
		return config_fail(&where, "there is no user network to forward it: add --net user");
	if (!c->vm.net_count)
		c->vm.net_count = 1;
	nets = config_alloc(c, c->vm.net_count * sizeof(*nets));
	if (!nets)
		return cli_fail(&command_run, CLI_FAILED, "%s", strerror(ENOMEM));
	if (c->vm.nets)
		memcpy(nets, c->vm.nets, c->vm.net_count * sizeof(*nets));
	nets[i].forwards = c->ports;
	nets[i].forward_count = c->port_count;
	c->vm.nets = nets;
	return CLI_OK;
}

const struct config_table config_nets = {
	.title = "Networks",
	.keys = keys,
	.finish = finish_nets,
};
