/* SPDX-License-Identifier: GPL-2.0-only */
/* The machine itself in the model of a configuration: what it boots, its processors and memory. */
#include "cli/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "cli/cli.h"
#include "cli/made_image.h"

static const char *const accels[] = { "auto", "kvm", "soft", NULL };
static const char *const engines[] = { "interp", "jit", NULL };

/* More than all memory and swap would only end in the guest's death later. */
static int check_memory(const struct config_where *where, const void *target, const char *text)
{
	uint64_t size = *(const uint64_t *)target, present;
	struct sysinfo info;

	if (sysinfo(&info))
		return CLI_OK;
	present = (uint64_t)(info.totalram + info.totalswap) * info.mem_unit;
	if (size > present) {
		config_fail(where, "%s is more than this machine has (%llu MiB): give less", text,
			    (unsigned long long)present >> 20);
		return CLI_FAILED;
	}
	return CLI_OK;
}

/* It becomes the name of a directory, and is typed by people. */
static int check_name(const struct config_where *where, const void *target, const char *text)
{
	size_t length = strlen(text);

	if (!length || length > CONFIG_NAME_MAX || !isalnum((unsigned char)*text) ||
	    text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
		return config_fail(where, "'%s' is no name for a machine: give one of 1 to %d "
				   "letters, digits and ._- that begins with a letter or digit",
				   text, CONFIG_NAME_MAX);
	return CLI_OK;
}

/* The name of an image that anykvm makes, or a file, in a file of ours relative to that. */
static int parse_image(struct config *c, const struct config_where *where, void *target,
		       const char *text)
{
	const struct config_key path = { .type = CONFIG_PATH, .value = "IMAGE" };
	const struct config_key name = { .type = CONFIG_STRING };

	return config_set_text(c, where, made_image_is(text) ? &name : &path, target, text);
}

static void print_image(const void *target, char *text, size_t size)
{
	const char *image;
	char *here;

	memcpy(&image, target, sizeof(image));
	if (!image)
		return;
	here = made_image_is(image) || *image == '/' ? NULL : realpath(".", NULL);
	snprintf(text, size, "%s%s%s", here ? here : "", here ? "/" : "", image);
	free(here);
}

static const struct config_key keys[] = {
	{ .name = "name", .type = CONFIG_STRING, CONFIG_AT(struct config, name),
	  .value = "NAME", .check = check_name,
	  .help = "what the machine is called, for anykvm console, stop and\n"
		  "the like (see anykvm help)" },
	{ .name = "image", .option = "", .type = CONFIG_CUSTOM, CONFIG_AT(struct config, image),
	  .parse = parse_image, .print = print_image },
	{ .name = "kernel", .type = CONFIG_PATH, CONFIG_AT(struct config, vm.kernel),
	  .value = "FILE",
	  .help = "the kernel: a bzImage or an ELF vmlinux" },
	{ .name = "initrd", .type = CONFIG_PATH, CONFIG_AT(struct config, vm.initrd),
	  .value = "FILE", .help = "its initial RAM disk" },
	{ .name = "cmdline", .type = CONFIG_STRING, CONFIG_AT(struct config, vm.cmdline),
	  .value = "STR",
	  .help = "its command line; with console=hvc0 the terminal is a\n"
		  "virtio console instead of the first serial port\n"
		  "(default: console=ttyS0)" },
	{ .name = "cloud-init", .type = CONFIG_PATH, CONFIG_AT(struct config, cloud_init),
	  .value = "USER-DATA",
	  .help = "what the guest's cloud-init is told, on a disk that is made\n"
		  "for it (NoCloud)" },
	{ .name = "memory", .type = CONFIG_SIZE, CONFIG_AT(struct config, vm.memory),
	  .min = VM_MIN_MEMORY, .multiple = 4096, .standard = "512M", .value = "SIZE",
	  .check = check_memory, .help = "memory, as in 512M or 2G" },
	{ .name = "cpus", .type = CONFIG_NUMBER, CONFIG_AT(struct config, vm.cpus),
	  .min = 1, .max = VM_MAX_CPUS, .standard = "1", .value = "N",
	  .help = "processors, 1 to 254" },
	{ .name = "accel", .type = CONFIG_CHOICE, CONFIG_AT(struct config, accel),
	  .choices = accels, .standard = "auto", .value = "auto|kvm|soft",
	  .help = "who runs the guest: Linux's /dev/kvm, the software\n"
		  "processor, or the better one that works" },
	{ .name = "cpu-engine", .type = CONFIG_CHOICE, CONFIG_AT(struct config, cpu_engine),
	  .choices = engines, .value = "interp|jit",
	  .help = "how the software processor runs the guest's code: one\n"
		  "instruction at a time, or translated (default: jit)" },
	{ .name = "no-reboot", .type = CONFIG_FLAG, CONFIG_AT(struct config, vm.no_reboot),
	  .help = "end where the guest asks for a reset" },
	{ 0 }
};

const struct config_table config_machine = { .title = "The machine", .keys = keys };
