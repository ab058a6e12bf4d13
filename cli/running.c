/* SPDX-License-Identifier: GPL-2.0-only */
/* Machines that others find; see running.h. */
#include "cli/running.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/made_image.h"
#include "vmm/loop.h"

/* ------------------------------------------------------------------ the directory */

int running_claim(struct running *r, const struct config *c, bool needed)
{
	struct vmm_error error = { "" };
	int err;

	r->ready_fd = -1;
	r->unnamed = !c->name;
	r->started = loop_now();
	snprintf(r->name, sizeof(r->name), "vm-%d", getpid());
	err = rundir_claim(&r->dir, c->name ? c->name : r->name, &error);
	r->claimed = !err;
	/* Nobody asked for this one to be found. */
	if (err && !needed)
		return CLI_OK;
	return err ? cli_fail(&command_run, CLI_FAILED, "%s%s", c->name ? "--name: " : "",
			      error.text) : CLI_OK;
}

int running_describe(struct running *r, const struct config *c)
{
	json_t *json = config_to_json(c);

	r->description = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!r->description)
		return cli_fail(&command_run, CLI_FAILED, "the configuration cannot be told to "
				"others: a name or text in it is not UTF-8");
	return CLI_OK;
}

static void set_control(struct running *r, struct config *c, bool detach)
{
	r->control = (struct control_config){
		.name = c->name ? c->name : r->name, .directory = r->dir.path,
		.description = r->description, .console = detach,
	};
	c->vm.control = &r->control;
}

/* What listens in images of ours runs commands for anykvm exec; it is spoken to over this
 * socket. */
static int add_vsock(struct running *r, struct config *c)
{
	char path[PATH_MAX + 32];

	if (!c->image || !made_image_is(c->image) || c->vm.vsock)
		return CLI_OK;
	snprintf(path, sizeof(path), "%s/%s", r->dir.path, RUNDIR_VSOCK);
	r->vsock.path = config_strdup(c, path);
	c->vm.vsock = &r->vsock;
	return r->vsock.path ? CLI_OK : cli_fail(&command_run, CLI_FAILED, "%s", strerror(ENOMEM));
}

/* ------------------------------------------------------------------ the process */

/* The guest runs. The caller's terminal is not this process's any more: what it has to say from now
 * on goes to a file. */
static void tell_ready(void *data)
{
	struct running *r = data;
	char path[PATH_MAX + 32];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", r->dir.path, RUNDIR_MESSAGES);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0) {
		dup2(fd, STDERR_FILENO);
		close(fd);
	}
	/* A caller that was interrupted meanwhile does not want the machine. */
	if (write(r->ready_fd, "", 1) != 1)
		kill(getpid(), SIGTERM);
	close(r->ready_fd);
	r->ready_fd = -1;
}

/* Waits for the machine's process to say that its guest runs, or to end. */
static int wait_ready(pid_t child, int fd)
{
	char byte;
	ssize_t n;
	int status;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return CLI_OK;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return CLI_FAILED;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status);
	return cli_fail(&command_run, CLI_FAILED, "--detach: the machine ended before its guest ran");
}

static enum running_begun detach_process(struct running *r, struct config *c, int *status)
{
	int ready[2], null;
	pid_t child;

	if (pipe2(ready, O_CLOEXEC))
		goto failed;
	fflush(NULL);
	child = fork();
	if (child < 0) {
		close(ready[0]);
		close(ready[1]);
		goto failed;
	}
	if (child) {
		close(ready[1]);
		/* The lock is the child's alone, or it would outlive it. */
		rundir_release(&r->dir);
		r->claimed = false;
		*status = wait_ready(child, ready[0]);
		close(ready[0]);
		if (!*status) {
			printf("%s\n", r->control.name);
			*status = cli_finish_output(&command_run);
		}
		return RUNNING_ELSEWHERE;
	}
	close(ready[0]);
	r->ready_fd = ready[1];
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
	rundir_set_pid(&r->dir);
	c->vm.started = tell_ready;
	c->vm.started_data = r;
	return RUNNING_HERE;
failed:
	*status = cli_fail(&command_run, CLI_FAILED, "--detach: %s", strerror(errno));
	return RUNNING_FAILED;
}

enum running_begun running_begin(struct running *r, struct config *c, bool detach, int *status)
{
	*status = CLI_OK;
	if (!r->claimed)
		return RUNNING_HERE;
	*status = add_vsock(r, c);
	if (*status)
		return RUNNING_FAILED;
	set_control(r, c, detach);
	return detach ? detach_process(r, c, status) : RUNNING_HERE;
}

/* ------------------------------------------------------------------ the end */

static void leave_word(const struct running *r, const struct config *c, int status,
		       const char *reason)
{
	char path[PATH_MAX + 32];
	json_t *word = json_pack("{s:s, s:s, s:i, s:s, s:f, s:i, s:I}", "name", r->control.name,
				 "state", "ended", "status", status, "reason", reason, "uptime",
				 (double)(loop_now() - r->started) / 1e9, "cpus", c->vm.cpus,
				 "memory", (json_int_t)c->vm.memory);

	if (!word)
		return;
	json_object_set_new(word, "config", json_loads(r->description, 0, NULL));
	snprintf(path, sizeof(path), "%s/%s", r->dir.path, RUNDIR_ENDED);
	/* Where there is no room for it, the machine is said to have died. */
	if (json_dump_file(word, path, JSON_INDENT(2)))
		unlink(path);
	json_decref(word);
}

void running_end(struct running *r, const struct config *c, int status, const char *reason)
{
	bool keep = !r->unnamed && reason;

	if (r->claimed && keep) {
		leave_word(r, c, status, reason);
		rundir_release(&r->dir);
	} else if (r->claimed) {
		rundir_discard(&r->dir);
	}
	if (r->ready_fd >= 0)
		close(r->ready_fd);
}

void running_forget(struct running *r)
{
	free(r->description);
}
