/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm run: a virtual machine from the command line to its end. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cloud_init.h"
#include "cli/config.h"
#include "cli/disk_boot.h"
#include "cli/made_image.h"
#include "cli/running.h"
#include "vmm/block/image.h"
#include "vmm/machine/probe.h"
#include "vmm/provider.h"
#include "vmm/vmm.h"

#define DEFAULT_CMDLINE	"console=ttyS0"
#define TERM_CHARACTERS	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-"

enum {
	ARGUMENT = 1,		/* what getopt_long gives for one that is no option */
	PRINT_CONFIG = 256,
	DETACH,
	HELPED = -1,
};

struct run_options {
	struct config config;
	bool print_config, detach;
	struct running running;
};

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
	if (!kvm_provider_soft_engine(name))
		return CLI_OK;
	return cli_fail(&command_run, CLI_FAILED, "--cpu-engine: this build has no software "
			"processor: leave the option away");
}

/* A configuration file is known by its name. */
static bool is_config_file(const char *argument)
{
	size_t length = strlen(argument);

	return length > 5 && !strcmp(argument + length - 5, ".json");
}

/* Takes the argument that is no option: the options go over what it says, wherever it stands. */
static int take_argument(struct run_options *opt, const char *argument)
{
	if (is_config_file(argument))
		return config_read(&opt->config, argument);
	if (!made_image_is(argument) && access(argument, F_OK))
		return cli_fail(&command_run, CLI_USAGE, "'%s' is neither a file, which a disk "
				"image or FILE.json would be, nor an image that anykvm makes (%s)", argument,
				made_image_names);
	opt->config.image = config_strdup(&opt->config, argument);
	return opt->config.image ? CLI_OK : cli_fail(&command_run, CLI_FAILED, "%s",
						     strerror(ENOMEM));
}

static int find_argument(struct run_options *opt, int argc, char **argv,
			 const struct option *options, const char *letters)
{
	const char *argument = NULL;
	int c;

	while ((c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		if (c == 'h')
			return CLI_OK;
		if (c == '?' || c == ':')
			return cli_bad_option(&command_run, c, argv);
		if (c != ARGUMENT)
			continue;
		if (argument)
			return cli_extra_argument(&command_run, optarg);
		argument = optarg;
	}
	if (optind < argc)
		return cli_extra_argument(&command_run, argv[optind]);
	return argument ? take_argument(opt, argument) : CLI_OK;
}

/* Returns CLI_OK, another status after having complained, or HELPED. */
static int parse_with(struct run_options *opt, int argc, char **argv, const struct option *options,
		      const char *letters)
{
	int c, ret;

	ret = find_argument(opt, argc, argv, options, letters);
	if (ret)
		return ret;
	optind = 0;	/* from the start again */
	while ((c = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		switch (c) {
		case ARGUMENT:
			break;
		case PRINT_CONFIG:
			opt->print_config = true;
			break;
		case DETACH:
			opt->detach = true;
			break;
		case 'h':
			command_print_help(&command_run);
			return HELPED;
		default:
			ret = config_set_option(&opt->config, c, optarg);
			if (ret)
				return ret;
		}
	}
	return config_finish(&opt->config);
}

static int parse(struct run_options *opt, int argc, char **argv)
{
	static const struct option others[] = {
		{ "detach", no_argument, NULL, DETACH },
		{ "print-config", no_argument, NULL, PRINT_CONFIG },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct option *options;
	char *letters;
	int ret;

	options = config_options(others, &letters);
	if (!options)
		return cli_fail(&command_run, CLI_FAILED, "%s", strerror(ENOMEM));
	ret = parse_with(opt, argc, argv, options, letters);
	free(options);
	free(letters);
	return ret;
}

/* Puts a disk before all others, where it is /dev/vda, or behind them. */
static int add_disk(struct config *c, const struct disk_config *disk, bool first)
{
	struct disk_config *disks = config_alloc(c, (c->vm.disk_count + 1) * sizeof(*disks));

	if (!disks || !disk->path)
		return cli_fail(&command_run, CLI_FAILED, "%s", strerror(ENOMEM));
	if (c->vm.disk_count)
		memcpy(disks + first, c->vm.disks, c->vm.disk_count * sizeof(*disks));
	disks[first ? 0 : c->vm.disk_count] = *disk;
	c->vm.disks = disks;
	c->vm.disk_count++;
	return CLI_OK;
}

/*
 * The command line for a kernel of ours: quiet, since a serial line is slow, and with what that
 * line cannot tell the guest of the terminal at its end.
 */
static char *made_cmdline(struct config *c, bool detach)
{
	static const char base[] = "console=ttyS0 quiet cryptomgr.notests";
	const char *term = getenv("TERM");
	struct winsize size = { 0 };
	char *cmdline = config_alloc(c, 512);

	if (!cmdline)
		return NULL;
	snprintf(cmdline, 512, "%s", base);
	if (detach || !isatty(STDIN_FILENO) || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) || !size.ws_row)
		return cmdline;
	if (!term || strlen(term) > 64 || term[strspn(term, TERM_CHARACTERS)])
		term = "vt220";
	snprintf(cmdline, 512, "%s anykvm.term=%s anykvm.rows=%u anykvm.cols=%u", base, term,
		 size.ws_row, size.ws_col);
	return cmdline;
}

/* The image to boot: its disk, and the kernel on it if no other is given. */
static int boot_image(struct config *c, bool detach)
{
	struct disk_config disk = { .path = c->image, .ephemeral = c->ephemeral };
	bool made = made_image_is(c->image);
	int ret = CLI_OK;

	if (made)
		ret = made_image_disk(c, &disk);
	if (made && !c->vm.cmdline)
		c->vm.cmdline = made_cmdline(c, detach);
	if (!ret)
		ret = add_disk(c, &disk, true);
	if (!ret && !c->vm.kernel)
		ret = disk_boot_find(c, disk.path, disk.format);
	return ret;
}

static int add_seed(struct config *c)
{
	struct disk_config disk = { 0 };
	int ret = cloud_init_disk(c, &disk);

	return ret ? ret : add_disk(c, &disk, false);
}

/* What the configuration as a whole has to be, and what follows from it. */
static int complete(struct run_options *opt)
{
	struct vm_config *vm = &opt->config.vm;
	int ret = opt->config.image ? boot_image(&opt->config, opt->detach) : CLI_OK;

	if (ret)
		return ret;
	if (opt->config.cloud_init)
		ret = add_seed(&opt->config);
	if (ret)
		return ret;
	if (!vm->kernel)
		return cli_fail(&command_run, CLI_USAGE, "nothing to boot given: give an image "
				"(%s, or a disk's), or --kernel FILE, a bzImage or an ELF vmlinux",
				made_image_names);
	if (!vm->cmdline)
		vm->cmdline = DEFAULT_CMDLINE;
	vm->console = console_of(vm->cmdline);
	ret = opt->config.cpu_engine ? set_engine(opt->config.cpu_engine) : CLI_OK;
	return ret ? ret : config_apply_inspect(&opt->config);
}

/* Finds who runs the guest. With auto, says which one and why: it decides how fast the guest is. */
static int choose_provider(struct run_options *opt)
{
	char why[PROBE_REASON_SIZE + 64];
	int fd;

	if (!strcmp(opt->config.accel, "auto")) {
		opt->config.vm.provider = kvm_provider_auto(why, sizeof(why));
		fprintf(stderr, "anykvm run: --accel auto takes %s\n", why);
		return CLI_OK;
	}
	for (const struct kvm_provider *const *p = vmm_providers(); *p; p++)
		if (!strcmp(opt->config.accel, (*p)->name))
			opt->config.vm.provider = *p;
	fd = opt->config.vm.provider->open();
	if (fd < 0) {
		kvm_explain_open(opt->config.vm.provider, fd, why, sizeof(why));
		return cli_fail(&command_run, CLI_FAILED, "--accel %s: %s%s", opt->config.accel, why,
				opt->config.vm.provider == &kvm_provider_linux ?
				"; or give --accel soft" : "");
	}
	opt->config.vm.provider->close(fd);
	return CLI_OK;
}

/*
 * A disk that is raw because it looks like nothing else may not get qcow2's magic number from the
 * guest, or it would look like something else the next time: say so before it comes as a surprise.
 */
static void warn_of_probing(const struct run_options *opt)
{
	for (unsigned int i = 0; i < opt->config.vm.disk_count; i++) {
		const struct disk_config *disk = &opt->config.vm.disks[i];
		const char *format = disk->format ? NULL : image_probe(disk->path);

		if (format && !strcmp(format, "raw") && !disk->readonly && !disk->ephemeral)
			fprintf(stderr, "anykvm run: warning: --disk %s: taken as raw, and kept "
				"from looking like qcow2; give format=raw if it is\n", disk->path);
	}
}

/* Runs it, and says how it ended, also in reason. */
static int run(struct run_options *opt, char *reason, size_t size)
{
	char error[512] = "";
	int ret, status = CLI_FAILED;

	warn_of_probing(opt);
	ret = vmm_run(&opt->config.vm, error, sizeof(error));
	switch (ret) {
	case VM_EXIT_POWEROFF:
		snprintf(reason, size, "the guest switched the machine off");
		return CLI_OK;
	case VM_EXIT_RESET:
		snprintf(error, sizeof(error), "the guest asked for a reset, and --no-reboot was given");
		break;
	case VM_EXIT_PANIC:
		status = CLI_PANIC;
		if (!error[0])
			snprintf(error, sizeof(error), "the guest panicked");
		break;
	case VM_EXIT_QUIT:
		snprintf(error, sizeof(error), "left while the guest was running");
		break;
	default:
		if (!error[0])
			snprintf(error, sizeof(error), "%s", strerror(-ret));
	}
	snprintf(reason, size, "%s", error);
	return cli_fail(&command_run, status, "%s", error);
}

/* From a configuration to the machine's end. */
static int start(struct run_options *opt)
{
	char reason[512] = "";
	int ret;

	ret = running_describe(&opt->running, &opt->config);
	if (ret)
		return ret;
	/* The name first: what belongs to it is used in what follows. */
	ret = running_claim(&opt->running, &opt->config, opt->config.name || opt->detach);
	if (!ret)
		ret = complete(opt);
	if (!ret && running_begin(&opt->running, &opt->config, opt->detach, &ret) == RUNNING_HERE) {
		ret = choose_provider(opt);
		if (!ret)
			ret = run(opt, reason, sizeof(reason));
	}
	running_end(&opt->running, &opt->config, ret, *reason ? reason : NULL);
	running_forget(&opt->running);
	return ret;
}

static int run_main(int argc, char **argv)
{
	struct run_options opt = { 0 };
	int ret;

	ret = parse(&opt, argc, argv);
	if (ret == HELPED)
		ret = cli_finish_output(&command_run);
	else if (!ret && opt.print_config)
		ret = config_write(&opt.config);
	else if (!ret)
		ret = start(&opt);
	config_free(&opt.config);
	return ret;
}

const struct command command_run = {
	.name = "run",
	.summary = "run a virtual machine on this terminal",
	.help =
"Usage: anykvm run IMAGE [OPTION]...\n"
"       anykvm run --kernel FILE [OPTION]...\n"
"       anykvm run VM.json [OPTION]...\n"
"\n"
"Boots a virtual machine, its console on this terminal, until the guest switches the\n"
"machine off. IMAGE is debian-12, which is made when it is first asked for, or a disk\n"
"image, of which the newest kernel in /boot is booted (see anykvm help images); it is\n"
"the first disk. VM.json is a file that says what else options do (see anykvm help\n"
"config); options go over what it says, and add to its lists.\n"
"\n",
	.print_options = config_print_help,
	.help_end =
"Other options:\n"
"  --detach             come back once the guest runs, and print the machine's name;\n"
"                       anykvm console attaches to its console\n"
"  --print-config       print what all this says as a file for anykvm run, and end\n"
"  --help               print this\n"
"\n"
"On a terminal, Ctrl-A x leaves, Ctrl-A Ctrl-A sends a Ctrl-A, Ctrl-A h lists more.\n"
"\n"
"Exit status: 0 the guest powered off, 1 something failed, 2 the command line is\n"
"wrong, 3 the guest panicked or triple-faulted.\n",
	.main = run_main,
};
