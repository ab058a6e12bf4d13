/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm shim: runs any program with a working /dev/kvm, the one of libanykvm.
 *
 * All that is done here is to put the library that does it before the program's own, and to become
 * the program: its status, signals and terminal are its own.
 */
#include "cli/cli.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY		"libanykvm-preload.so"

/* As env(1) and shells have it. */
#define STATUS_NOT_EXECUTABLE	126
#define STATUS_NOT_FOUND	127

/*
 * Finds the library: beside the build's or the installation's command (which may have been moved as a
 * whole), else where it was to be installed. Returns whether path is it.
 */
static bool find_library(char path[PATH_MAX])
{
	static const char *const beside[] = {
		"../kvm/shim/" LIBRARY,
		"../" ANYKVM_LIBDIR "/anykvm/" LIBRARY,
	};
	char self[PATH_MAX], candidate[PATH_MAX + 128];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = 0;
		*strrchr(self, '/') = 0;
		for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
			snprintf(candidate, sizeof(candidate), "%s/%s", self, beside[i]);
			if (realpath(candidate, path))
				return true;
		}
	}
	return realpath(ANYKVM_PREFIX "/" ANYKVM_LIBDIR "/anykvm/" LIBRARY, path);
}

/* The file that execvp would take, or NULL. */
static const char *find_program(const char *name, char path[PATH_MAX])
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/'))
		return name;
	if (!dirs)
		dirs = "/bin:/usr/bin";
	for (;;) {
		size_t n = strcspn(dirs, ":");

		if (snprintf(path, PATH_MAX, "%.*s%s%s", (int)n, dirs, n ? "/" : "", name) < PATH_MAX &&
		    !access(path, X_OK))
			return path;
		if (!dirs[n])
			return NULL;
		dirs += n + 1;
	}
}

/* Whether the file is an x86-64 program that no dynamic linker starts, and that takes no library therefore. */
static bool is_static(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool dynamic = false, is_elf = false;
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (fd < 0)
		return false;
	if (read(fd, &header, sizeof(header)) == sizeof(header) &&
	    !memcmp(header.e_ident, ELFMAG, SELFMAG) && header.e_ident[EI_CLASS] == ELFCLASS64 &&
	    header.e_phentsize == sizeof(segment)) {
		is_elf = true;
		for (int i = 0; i < header.e_phnum && !dynamic; i++) {
			if (pread(fd, &segment, sizeof(segment),
				  header.e_phoff + i * sizeof(segment)) != sizeof(segment))
				break;
			dynamic = segment.p_type == PT_INTERP;
		}
	}
	close(fd);
	return is_elf && !dynamic;
}

/* Puts the library first of those to be preloaded. */
static int set_preload(const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	char *all;
	int r;

	if (strpbrk(library, ": "))
		return cli_fail(&command_shim, CLI_FAILED, "the dynamic linker takes no path with a space "
				"or a colon, as in %s: move it", library);
	if (asprintf(&all, "%s%s%s", library, old && *old ? ":" : "", old ? old : "") < 0)
		return cli_fail(&command_shim, CLI_FAILED, "%s", strerror(ENOMEM));
	r = setenv("LD_PRELOAD", all, 1) ? cli_fail(&command_shim, CLI_FAILED, "%s", strerror(errno)) :
					   CLI_OK;
	free(all);
	return r;
}

/* Empties the file (NULL: it is standard error) and tells the library of it. */
static int set_trace(const char *file)
{
	char path[PATH_MAX];
	int fd;

	if (file) {
		fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (fd < 0 || !realpath(file, path)) {
			if (fd >= 0)
				close(fd);
			return cli_fail(&command_shim, CLI_FAILED, "--trace: %s: %s", file,
					strerror(errno));
		}
		close(fd);
	}
	if (setenv("ANYKVM_TRACE", file ? path : "1", 1))
		return cli_fail(&command_shim, CLI_FAILED, "--trace: %s", strerror(errno));
	return CLI_OK;
}

static int shim_main(int argc, char **argv)
{
	enum { TRACE = 1000 };
	static const struct option options[] = {
		{ "trace", optional_argument, NULL, TRACE },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	char library[PATH_MAX], path[PATH_MAX];
	const char *program, *trace = NULL;
	bool tracing = false;
	int c, r;

	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		switch (c) {
		case TRACE:
			if (optarg && !*optarg)
				return cli_fail(&command_shim, CLI_USAGE, "--trace: this is an "
						"empty name: give --trace=FILE, or --trace for "
						"standard error");
			tracing = true;
			trace = optarg;
			break;
		case 'h':
			fputs(command_shim.help, stdout);
			return cli_finish_output(&command_shim);
		default:
			return cli_bad_option(&command_shim, c, argv);
		}
	}
	if (optind == argc)
		return cli_fail(&command_shim, CLI_USAGE,
				"no command given: give the program to run and its arguments");
	argv += optind;

	if (!find_library(library))
		return cli_fail(&command_shim, CLI_FAILED, LIBRARY " is neither beside this program nor in "
				ANYKVM_PREFIX "/" ANYKVM_LIBDIR "/anykvm: install it there");
	program = find_program(argv[0], path);
	if (program && is_static(program))
		return cli_fail(&command_shim, CLI_FAILED, "%s is linked statically and takes no library: "
				"link it dynamically", program);
	r = set_preload(library);
	if (!r && tracing)
		r = set_trace(trace);
	if (r)
		return r;
	execvp(argv[0], argv);
	r = errno;
	return cli_fail(&command_shim, r == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE, "%s: %s",
			argv[0], strerror(r));
}

const struct command command_shim = {
	.name = "shim",
	.summary = "run another program with a working /dev/kvm",
	.help =
"Usage: anykvm shim [--trace[=FILE]] [--] COMMAND [ARGUMENT]...\n"
"\n"
"Runs COMMAND, another virtual machine monitor perhaps, so that it finds a working\n"
"/dev/kvm: the software processor's, whether the machine has one of its own or not.\n"
"The programs that it starts find it as well. All else is as without.\n"
"\n"
"  --trace[=FILE]       print what is asked of KVM, and the answers, on standard\n"
"                       error or to FILE\n"
"  --help               print this\n"
"\n"
"COMMAND must be linked dynamically to the C library, and must not be set-user-ID.\n"
"\n"
"Exit status: that of COMMAND; 126 where it cannot be run, 127 where it is not\n"
"found; 1 where something else failed before, 2 where the command line is wrong.\n",
	.main = shim_main,
};
