/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm run: a virtual machine from the command line to its end. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sysinfo.h>

#include "vmm/block/image.h"
#include "vmm/machine/probe.h"
#include "vmm/provider.h"
#include "vmm/vmm.h"

#define DEFAULT_MEMORY	(512ULL << 20)
#define DEFAULT_CMDLINE	"console=ttyS0"

struct run_options {
	struct vm_config config;
	struct disk_config *disks;	/* what config.disks points to */
	const char *accel;
};

/* A number of bytes with an optional K, M, G or T. Returns 0 or -EINVAL. */
static int parse_size(const char *text, uint64_t *size)
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

static int set_memory(struct run_options *opt, const char *text)
{
	uint64_t size, present;
	struct sysinfo info;

	if (parse_size(text, &size))
		return cli_fail(&command_run, CLI_USAGE, "--memory: '%s' is no size: give a number "
				"with K, M or G, as in 512M", text);
	if (size < VM_MIN_MEMORY)
		return cli_fail(&command_run, CLI_USAGE, "--memory: %s is less than the %llu MiB "
				"that a guest needs: give it a number with M or G, as in 512M",
				text, VM_MIN_MEMORY >> 20);
	if (size % 4096)
		return cli_fail(&command_run, CLI_USAGE, "--memory: %s is no multiple of 4 KiB: "
				"round it, as in 512M", text);
	if (!sysinfo(&info)) {
		present = (uint64_t)(info.totalram + info.totalswap) * info.mem_unit;
		if (size > present)
			return cli_fail(&command_run, CLI_FAILED, "--memory: %s is more than this "
					"machine has (%llu MiB): give less", text,
					(unsigned long long)present >> 20);
	}
	opt->config.memory = size;
	return CLI_OK;
}

static int set_cpus(struct run_options *opt, const char *text)
{
	unsigned long value;
	char *end;

	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end)
		return cli_fail(&command_run, CLI_USAGE, "--cpus: '%s' is no number: give 1 to %u",
				text, VM_MAX_CPUS);
	if (!value || value > VM_MAX_CPUS)
		return cli_fail(&command_run, CLI_USAGE, "--cpus: %s is out of range: give 1 to %u",
				text, VM_MAX_CPUS);
	opt->config.cpus = value;
	return CLI_OK;
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

static int add_disk(struct run_options *opt, char *text)
{
	struct disk_config disk = { 0 };
	struct disk_config *disks;
	char *rest = text;
	char *item;

	disk.path = next_item(&rest);
	if (!*disk.path)
		return cli_fail(&command_run, CLI_USAGE,
				"--disk: no file named: give FILE, and options after commas");
	while (rest) {
		item = next_item(&rest);
		if (!strcmp(item, "readonly"))
			disk.readonly = true;
		else if (!strcmp(item, "ephemeral"))
			disk.ephemeral = true;
		else if (!strcmp(item, "format=raw"))
			disk.format = "raw";
		else if (!strcmp(item, "format=qcow2"))
			disk.format = "qcow2";
		else if (!strncmp(item, "format=", 7))
			return cli_fail(&command_run, CLI_USAGE, "--disk: format '%s' is not "
					"known: give raw or qcow2", item + 7);
		else
			return cli_fail(&command_run, CLI_USAGE, "--disk: '%s' is not known: give "
					"format=raw, format=qcow2, readonly or ephemeral after the "
					"file (and write a comma in its name twice)", item);
	}
	if (disk.readonly && disk.ephemeral)
		return cli_fail(&command_run, CLI_USAGE, "--disk: %s cannot be both readonly and "
				"ephemeral: give one of them", disk.path);

	disks = reallocarray(opt->disks, opt->config.disk_count + 1, sizeof(*disks));
	if (!disks)
		return cli_fail(&command_run, CLI_FAILED, "--disk: %s", strerror(ENOMEM));
	disks[opt->config.disk_count++] = disk;
	opt->disks = disks;
	opt->config.disks = disks;
	return CLI_OK;
}

/* Standard input and output are the console that the guest's kernel is told to use: the last one
 * named counts for its /dev/console. */
static enum vm_console console_of(const char *cmdline)
{
	enum vm_console console = VM_CONSOLE_SERIAL;
	const char *p = cmdline;

	while ((p = strstr(p, "console="))) {
		if (p == cmdline || p[-1] == ' ')
			console = strncmp(p + 8, "hvc", 3) ? VM_CONSOLE_SERIAL : VM_CONSOLE_VIRTIO;
		p += 8;
	}
	return console;
}

static int set_engine(const char *name)
{
	switch (kvm_provider_soft_engine(name)) {
	case 0:
		return CLI_OK;
	case -EINVAL:
		return cli_fail(&command_run, CLI_USAGE,
				"--cpu-engine: '%s' is not known: give interp or jit", name);
	default:
		return cli_fail(&command_run, CLI_FAILED,
				"--cpu-engine: this build has no software processor: leave the option away");
	}
}

/* Returns CLI_OK, another status after having complained, or -1 where help was printed. */
static int parse(struct run_options *opt, int argc, char **argv)
{
	enum { KERNEL = 1000, INITRD, CMDLINE, MEMORY, CPUS, DISK, ACCEL, CPU_ENGINE, NO_REBOOT };
	static const struct option options[] = {
		{ "kernel", required_argument, NULL, KERNEL },
		{ "initrd", required_argument, NULL, INITRD },
		{ "cmdline", required_argument, NULL, CMDLINE },
		{ "memory", required_argument, NULL, MEMORY },
		{ "cpus", required_argument, NULL, CPUS },
		{ "disk", required_argument, NULL, DISK },
		{ "accel", required_argument, NULL, ACCEL },
		{ "cpu-engine", required_argument, NULL, CPU_ENGINE },
		{ "no-reboot", no_argument, NULL, NO_REBOOT },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, ret;

	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		ret = CLI_OK;
		switch (c) {
		case KERNEL:
			opt->config.kernel = optarg;
			break;
		case INITRD:
			opt->config.initrd = optarg;
			break;
		case CMDLINE:
			opt->config.cmdline = optarg;
			break;
		case MEMORY:
			ret = set_memory(opt, optarg);
			break;
		case CPUS:
			ret = set_cpus(opt, optarg);
			break;
		case DISK:
			ret = add_disk(opt, optarg);
			break;
		case ACCEL:
			opt->accel = optarg;
			break;
		case CPU_ENGINE:
			ret = set_engine(optarg);
			break;
		case NO_REBOOT:
			opt->config.no_reboot = true;
			break;
		case 'h':
			fputs(command_run.help, stdout);
			return -1;
		default:
			return cli_bad_option(&command_run, c, argv);
		}
		if (ret)
			return ret;
	}
	if (optind < argc)
		return cli_extra_argument(&command_run, argv[optind]);
	if (!opt->config.kernel)
		return cli_fail(&command_run, CLI_USAGE,
				"no kernel given: give --kernel FILE, a bzImage or an ELF vmlinux");
	opt->config.console = console_of(opt->config.cmdline);
	return CLI_OK;
}

/* Finds who runs the guest. With auto, says which one and why: it decides how fast the guest is. */
static int choose_provider(struct run_options *opt)
{
	char why[PROBE_REASON_SIZE + 64];
	int fd;

	if (!strcmp(opt->accel, "auto")) {
		opt->config.provider = kvm_provider_auto(why, sizeof(why));
		fprintf(stderr, "anykvm run: --accel auto takes %s\n", why);
		return CLI_OK;
	}
	for (const struct kvm_provider *const *p = vmm_providers(); *p; p++)
		if (!strcmp(opt->accel, (*p)->name))
			opt->config.provider = *p;
	if (!opt->config.provider)
		return cli_fail(&command_run, CLI_USAGE,
				"--accel: '%s' is not known: give auto, kvm or soft", opt->accel);

	fd = opt->config.provider->open();
	if (fd < 0) {
		kvm_explain_open(opt->config.provider, fd, why, sizeof(why));
		return cli_fail(&command_run, CLI_FAILED, "--accel %s: %s%s", opt->accel, why,
				opt->config.provider == &kvm_provider_linux ?
				"; or give --accel soft" : "");
	}
	opt->config.provider->close(fd);
	return CLI_OK;
}

/*
 * A disk that is raw because it looks like nothing else may not get qcow2's magic number from the
 * guest, or it would look like something else the next time: say so before it comes as a surprise.
 */
static void warn_of_probing(const struct run_options *opt)
{
	for (unsigned int i = 0; i < opt->config.disk_count; i++) {
		const struct disk_config *disk = &opt->disks[i];
		const char *format = disk->format ? NULL : image_probe(disk->path);

		if (format && !strcmp(format, "raw") && !disk->readonly && !disk->ephemeral)
			fprintf(stderr, "anykvm run: warning: --disk %s: taken as raw, and kept "
				"from looking like qcow2; give format=raw if it is\n", disk->path);
	}
}

static int run_main(int argc, char **argv)
{
	struct run_options opt = {
		.config = {
			.cmdline = DEFAULT_CMDLINE, .memory = DEFAULT_MEMORY, .cpus = 1,
		},
		.accel = "auto",
	};
	char error[512] = "";
	int ret;

	ret = parse(&opt, argc, argv);
	if (ret < 0)
		ret = cli_finish_output(&command_run);
	else if (!ret && !(ret = choose_provider(&opt))) {
		warn_of_probing(&opt);
		ret = vmm_run(&opt.config, error, sizeof(error));
		switch (ret) {
		case VM_EXIT_POWEROFF:
			ret = CLI_OK;
			break;
		case VM_EXIT_RESET:
			ret = cli_fail(&command_run, CLI_FAILED,
				       "the guest asked for a reset, and --no-reboot was given");
			break;
		case VM_EXIT_PANIC:
			ret = cli_fail(&command_run, CLI_PANIC, "%s",
				       error[0] ? error : "the guest panicked");
			break;
		case VM_EXIT_QUIT:
			ret = cli_fail(&command_run, CLI_FAILED,
				       "left while the guest was running");
			break;
		default:
			ret = cli_fail(&command_run, CLI_FAILED, "%s",
				       error[0] ? error : strerror(-ret));
		}
	}
	free(opt.disks);
	return ret;
}

const struct command command_run = {
	.name = "run",
	.summary = "run a virtual machine on this terminal",
	.help =
"Usage: anykvm run --kernel FILE [OPTION]...\n"
"\n"
"Boots a Linux kernel in a virtual machine, its console on this terminal, until the\n"
"guest switches the machine off.\n"
"\n"
"  --kernel FILE        the kernel: a bzImage or an ELF vmlinux\n"
"  --initrd FILE        its initial RAM disk\n"
"  --cmdline STR        its command line (default: " DEFAULT_CMDLINE "); with\n"
"                       console=hvc0 the terminal is a virtio console instead of\n"
"                       the first serial port\n"
"  --memory SIZE        memory, as in 512M or 2G (default: 512M)\n"
"  --cpus N             processors, 1 to 254 (default: 1)\n"
"  --disk FILE[,format=raw|qcow2][,readonly][,ephemeral]\n"
"                       a disk, /dev/vda in the guest; may be given more than once.\n"
"                       Without a format, what does not begin like qcow2 is raw.\n"
"                       readonly: the guest may not write; ephemeral: what it\n"
"                       writes is forgotten at the end. A comma in FILE is written\n"
"                       twice.\n"
"  --accel auto|kvm|soft\n"
"                       who runs the guest: Linux's /dev/kvm, the software\n"
"                       processor, or the better one that works (default: auto)\n"
"  --cpu-engine interp|jit\n"
"                       how the software processor runs the guest's code: one\n"
"                       instruction at a time, or translated (default: interp)\n"
"  --no-reboot          end where the guest asks for a reset\n"
"  --help               print this\n"
"\n"
"On a terminal, Ctrl-A x leaves, Ctrl-A Ctrl-A sends a Ctrl-A, Ctrl-A h lists more.\n"
"\n"
"Exit status: 0 the guest powered off, 1 something failed, 2 the command line is\n"
"wrong, 3 the guest panicked or triple-faulted.\n",
	.main = run_main,
};
