/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The disk that cloud-init reads: a file system with the label "cidata" that holds user-data, which
 * is the user's, and meta-data, which names the instance. cloud-init runs anew for an instance that
 * it does not know; so the name changes exactly when the machine's name or the user-data does.
 *
 * The file system is made by whichever of Debian's tools for that is there. The disk is a file
 * without a name, which goes with the process.
 */
#include "cli/cloud_init.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

#define USER_DATA_LIMIT	(16 << 20)
#define PATH_SIZE	4096

/* How each tool is told to make seed.img of user-data and meta-data, in the directory it runs
 * in. */
static const struct {
	const char *program, *script;
} tools[] = {
	{ "xorriso", "xorriso -as mkisofs -quiet -V cidata -J -r -o seed.img user-data meta-data" },
	{ "genisoimage", "genisoimage -quiet -V cidata -J -r -o seed.img user-data meta-data" },
	{ "mkisofs", "mkisofs -quiet -V cidata -J -r -o seed.img user-data meta-data" },
	{ "mformat", "size=$(cat user-data meta-data | wc -c) && "
		     "truncate -s $((size + 2097152)) seed.img && "
		     "mformat -i seed.img -v cidata :: && mcopy -i seed.img user-data meta-data ::" },
};

static bool is_there(const char *program)
{
	const char *dirs = getenv("PATH");
	char path[PATH_SIZE];

	for (dirs = dirs ? dirs : "/usr/bin:/bin";; dirs++) {
		size_t n = strcspn(dirs, ":");

		if (snprintf(path, sizeof(path), "%.*s/%s", (int)n, dirs, program) <
		    (int)sizeof(path) && !access(path, X_OK))
			return true;
		dirs += n;
		if (!*dirs)
			return false;
	}
}

static const char *find_script(void)
{
	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
		if (is_there(tools[i].program))
			return tools[i].script;
	return NULL;
}

static int run_in(const char *directory, const char *script)
{
	pid_t child = fork();
	int status;

	if (!child) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		/* Its messages are of its files, not of ours. */
		if (chdir(directory) || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
			_exit(126);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(127);
	}
	if (child < 0)
		return -errno;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

static int write_file(const char *directory, const char *name, const char *data, size_t length)
{
	char path[PATH_SIZE];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, data, length) != (ssize_t)length)
		err = -EIO;
	close(fd);
	return err;
}

/* FNV-1a: to tell one user-data from another. */
static uint64_t hash(const char *data, size_t length)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	while (length--)
		h = (h ^ (unsigned char)*data++) * 0x100000001b3ULL;
	return h;
}

static int write_files(const struct config *c, const char *directory, const char *data, size_t length)
{
	const char *name = c->name ? c->name : "anykvm";
	char meta[256];
	int n = snprintf(meta, sizeof(meta), "instance-id: %s-%016" PRIx64 "\nlocal-hostname: %s\n",
			 name, hash(data, length), name);
	int err = write_file(directory, "user-data", data, length);

	return err ? err : write_file(directory, "meta-data", meta, n);
}

/* Reads the user's file. Returns NULL, having complained. */
static char *read_user_data(const char *path, size_t *length)
{
	char *data = malloc(USER_DATA_LIMIT + 1);
	FILE *file = fopen(path, "re");
	const char *why = NULL;

	*length = 0;
	if (!data || !file) {
		why = strerror(errno);
	} else {
		*length = fread(data, 1, USER_DATA_LIMIT + 1, file);
		if (ferror(file))
			why = "it cannot be read";
		else if (*length > USER_DATA_LIMIT)
			why = "it is more than 16 MiB, and no user-data";
	}
	if (file)
		fclose(file);
	if (!why)
		return data;
	free(data);
	cli_fail(&command_run, CLI_FAILED, "--cloud-init: %s: %s", path, why);
	return NULL;
}

static void remove_work(const char *directory)
{
	static const char *const files[] = { "user-data", "meta-data", "seed.img" };
	char path[PATH_SIZE];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
		unlink(path);
	}
	rmdir(directory);
}

/* Makes the disk in a directory. Returns a descriptor of it, or -errno. */
static int make_disk(const struct config *c, const char *directory, const char *script,
		     const char *data, size_t length)
{
	char path[PATH_SIZE];
	int err = write_files(c, directory, data, length);
	int fd;

	if (!err)
		err = run_in(directory, script);
	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/seed.img", directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cloud_init_disk(struct config *c, struct disk_config *disk)
{
	const char *script = find_script(), *tmp = getenv("TMPDIR");
	char directory[PATH_SIZE - 16], path[32], *data;
	size_t length;
	int fd;

	data = read_user_data(c->cloud_init, &length);
	if (!data)
		return CLI_FAILED;
	if (!script) {
		free(data);
		return cli_fail(&command_run, CLI_FAILED, "--cloud-init: there is nothing here "
				"that makes its disk: install xorriso, genisoimage or mtools");
	}
	snprintf(directory, sizeof(directory), "%s/anykvm-seed.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(directory)) {
		free(data);
		return cli_fail(&command_run, CLI_FAILED, "--cloud-init: cannot make %s: %s", directory,
				strerror(errno));
	}
	fd = make_disk(c, directory, script, data, length);
	free(data);
	remove_work(directory);
	if (fd < 0)
		return cli_fail(&command_run, CLI_FAILED, "--cloud-init: its disk cannot be made "
				"in %s: %s", directory, strerror(-fd));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*disk = (struct disk_config){ .path = config_strdup(c, path), .format = "raw",
				      .readonly = true };
	return CLI_OK;
}
