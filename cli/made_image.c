/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Images that anykvm makes itself; see made_image.h. The making is a script's (scripts/get-image),
 * since it is apt and mkfs that do it.
 */
#include "cli/made_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "vmm/block/image.h"
#include "vmm/block/qcow2.h"

const char made_image_names[] = "debian-12";

bool made_image_is(const char *name)
{
	return !strcmp(name, made_image_names);
}

bool made_image_data(char path[PATH_MAX], const char *rest)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (data && *data == '/')
		return snprintf(path, PATH_MAX, "%s/anykvm/%s", data, rest) < PATH_MAX;
	return snprintf(path, PATH_MAX, "%s/.local/share/anykvm/%s", home ? home : "/root", rest) <
	       PATH_MAX;
}

/* ------------------------------------------------------------------ the image */

/*
 * Finds a file of ours: beside this program in its build directory, or where it was installed.
 * Returns whether path is it.
 */
static bool find_file(const char *built, const char *installed, char path[PATH_MAX])
{
	char self[PATH_MAX], candidate[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (*built != '/' && n > 0) {
		self[n] = 0;
		*strrchr(self, '/') = 0;
		snprintf(candidate, sizeof(candidate), "%s/%s", self, built);
		built = candidate;
	}
	return realpath(built, path) || realpath(installed, path);
}

/* Runs the script, which prints one line. Returns an exit status. */
static int run_script(const char *script, const char *name, const char *agent, char *line, size_t size)
{
	size_t length = 0;
	int out[2], status;
	pid_t child;
	ssize_t n;

	if (pipe2(out, O_CLOEXEC) || (child = fork()) < 0)
		return cli_fail(&command_run, CLI_FAILED, "%s", strerror(errno));
	if (!child) {
		dup2(out[1], STDOUT_FILENO);
		execl(script, script, name, agent, NULL);
		_exit(127);
	}
	close(out[1]);
	while (length + 1 < size && (n = read(out[0], line + length, size - 1 - length)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		length += n > 0 ? n : 0;
	}
	close(out[0]);
	line[length] = 0;
	line[strcspn(line, "\n")] = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) || !*line)
		return cli_fail(&command_run, CLI_FAILED, "%s cannot be made: see above", name);
	return CLI_OK;
}

static int find_image(const char *name, char *directory, size_t size)
{
	char script[PATH_MAX], agent[PATH_MAX];

	if (!find_file(ANYKVM_SOURCE "/scripts/get-image",
		       ANYKVM_PREFIX "/" ANYKVM_DATADIR "/anykvm/get-image", script) ||
	    !find_file("../scripts/agent", ANYKVM_PREFIX "/" ANYKVM_DATADIR "/anykvm/agent", agent))
		return cli_fail(&command_run, CLI_FAILED, "what makes %s is neither beside this "
				"program nor in " ANYKVM_PREFIX "/" ANYKVM_DATADIR "/anykvm: install it there",
				name);
	return run_script(script, name, agent, directory, size);
}

/* ------------------------------------------------------------------ a machine's disk */

static bool disk_of(char path[PATH_MAX], const char *name, const char *file)
{
	char rest[PATH_MAX];

	return snprintf(rest, sizeof(rest), "machines/%s%s", name, file) < PATH_MAX &&
	       made_image_data(path, rest);
}

/* Makes the directories on the way to path. */
static int make_parents(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

/* A disk on top of the image's, made when the machine is first run. */
static int own_disk(struct config *c, const char *base, struct disk_config *disk)
{
	struct qcow2_create options = { .version = 3, .cluster_bits = 16, .refcount_order = 4,
					.backing = base, .backing_format = "raw" };
	struct vmm_error error = { "" };
	char path[PATH_MAX];
	struct image *image;
	int err;

	if (!disk_of(path, c->name, "/disk.qcow2"))
		return cli_fail(&command_run, CLI_FAILED, "--name: %s", strerror(ENAMETOOLONG));
	disk->format = "qcow2";
	disk->path = config_strdup(c, path);
	if (!access(path, F_OK))
		return CLI_OK;
	if (image_open(base, "raw", 0, &image, &error))
		return cli_fail(&command_run, CLI_FAILED, "%s", error.text);
	options.size = image->size;
	image_close(image);
	err = make_parents(path);
	if (err)
		return cli_fail(&command_run, CLI_FAILED, "%s: %s", path, strerror(-err));
	if (qcow2_create(path, &options, &error))
		return cli_fail(&command_run, CLI_FAILED, "%s", error.text);
	return CLI_OK;
}

int made_image_disk(struct config *c, struct disk_config *disk)
{
	char directory[PATH_MAX], base[PATH_MAX + 16];
	int ret = find_image(c->image, directory, sizeof(directory));

	if (ret)
		return ret;
	snprintf(base, sizeof(base), "%s/disk.img", directory);
	if (c->name && !c->ephemeral)
		return own_disk(c, base, disk);
	if (!c->ephemeral)
		fprintf(stderr, "anykvm run: what the guest writes to its disk is forgotten at the "
			"end; give --name NAME to keep it\n");
	disk->path = config_strdup(c, base);
	disk->format = "raw";
	disk->ephemeral = true;
	return CLI_OK;
}

bool made_image_has_disk(const char *name)
{
	char path[PATH_MAX];

	return disk_of(path, name, "/disk.qcow2") && !access(path, F_OK);
}

int made_image_forget(const char *name)
{
	char path[PATH_MAX];

	if (!disk_of(path, name, "/disk.qcow2"))
		return -ENAMETOOLONG;
	if (unlink(path))
		return -errno;
	*strrchr(path, '/') = 0;
	return rmdir(path) ? -errno : 0;
}
