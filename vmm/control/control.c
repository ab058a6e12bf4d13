/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control socket: who is connected, their lines in and the answers out.
 *
 * A client's requests are served one after the other. As long as an answer waits, for the machine's
 * state or for the client to read, nothing more is read from it; so a client costs a bounded amount
 * of memory whatever it sends.
 */
#include "vmm/control/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/control/rundir.h"
#include "vmm/util.h"

#define LINE_SIZE	65536
#define CLIENTS		64

struct client {
	struct control *control;
	struct loop_fd watch;
	char *line;			/* LINE_SIZE bytes */
	size_t length;
	char *answer;			/* what is not sent yet, or NULL */
	size_t answer_length, answer_sent;
	json_t *id;			/* of the request whose answer waits for a state, or NULL */
	enum control_outcome waiting;	/* CONTROL_DONE: for nothing */
	struct client *next, **link;
};

struct control {
	struct machine *machine;
	struct console *console;
	struct loop_fd listener;
	struct loop_call state_call;
	struct client *clients;
	unsigned int client_count;
	uint64_t started;
	char path[108];			/* of the socket; "" where it is not made */
};

static void client_free(struct client *client)
{
	loop_fd_del(&client->watch);
	if (client->watch.fd >= 0)
		close(client->watch.fd);
	*client->link = client->next;
	if (client->next)
		client->next->link = client->link;
	client->control->client_count--;
	json_decref(client->id);
	free(client->answer);
	free(client->line);
	free(client);
}

/* ------------------------------------------------------------------ answers */

/* Returns false where the client is gone. */
static bool send_answer(struct client *client)
{
	while (client->answer_sent < client->answer_length) {
		ssize_t done = send(client->watch.fd, client->answer + client->answer_sent,
				    client->answer_length - client->answer_sent,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno == EAGAIN;
		client->answer_sent += done;
	}
	free(client->answer);
	client->answer = NULL;
	return true;
}

/* Takes result and id over. Returns false where the client is gone. */
static bool answer(struct client *client, json_t *id, json_t *result, const char *error)
{
	json_t *whole = error ? json_pack("{s:b, s:s}", "ok", 0, "error", error) :
				json_pack("{s:b, s:O}", "ok", 1, "result", result);
	char *text = NULL;

	json_decref(result);
	if (id && whole)
		json_object_set(whole, "id", id);
	json_decref(id);
	if (whole)
		text = json_dumps(whole, JSON_COMPACT);
	json_decref(whole);
	if (!text)
		return false;
	client->answer_length = strlen(text);
	client->answer_sent = 0;
	client->answer = realloc(text, client->answer_length + 1);
	if (!client->answer) {
		free(text);
		return false;
	}
	client->answer[client->answer_length++] = '\n';
	return send_answer(client);
}

/* ------------------------------------------------------------------ requests */

/* The connection is the console's from now on. Returns false: the client is no more. */
static bool become_console(struct client *client, const json_t *arguments)
{
	struct control *c = client->control;
	json_int_t columns = 0, rows = 0;

	/* What is not sent by now would get mixed with the console. */
	if (client->answer)
		return false;
	json_unpack((json_t *)arguments, "{s?I, s?I}", "columns", &columns, "rows", &rows);
	if (columns > 0 && columns < 65536 && rows > 0 && rows < 65536)
		console_resize(c->console, (unsigned int)columns, (unsigned int)rows);
	loop_fd_del(&client->watch);
	console_attach(c->console, client->watch.fd, (uint8_t *)client->line, client->length);
	client->watch.fd = -1;
	return false;
}

static bool reached(struct control *c, enum control_outcome waiting)
{
	enum machine_state state = machine_state(c->machine);

	return state == (waiting == CONTROL_WHEN_PAUSED ? MACHINE_PAUSED : MACHINE_RUNNING);
}

/* Returns false where the client is gone, or has become something else. */
static bool serve(struct client *client, json_t *whole)
{
	struct control *c = client->control;
	struct control_request request = {
		.machine = c->machine, .started = c->started, .arguments = whole,
	};
	const char *name = json_string_value(json_object_get(whole, "command"));
	json_t *id = json_incref(json_object_get(whole, "id"));
	enum control_outcome outcome;

	if (!name)
		return answer(client, id, NULL, "a request is an object with a \"command\"");
	request.result = json_object();
	if (!request.result) {
		json_decref(id);
		return false;
	}
	outcome = control_run(name, &request);
	if (outcome == CONTROL_CONSOLE && !c->console) {
		vmm_fail(&request.error, 0, "the machine's console is on the terminal that it was "
			 "started from");
		outcome = CONTROL_FAILED;
	}
	switch (outcome) {
	case CONTROL_FAILED:
		json_decref(request.result);
		return answer(client, id, NULL, request.error.text);
	case CONTROL_WHEN_PAUSED:
	case CONTROL_WHEN_RUNNING:
		json_decref(request.result);
		client->waiting = outcome;
		client->id = id;
		return true;
	case CONTROL_CONSOLE:
		return answer(client, id, request.result, NULL) && become_console(client, whole);
	default:
		return answer(client, id, request.result, NULL);
	}
}

/* Serves the lines that are there, until an answer has to wait. Returns false as serve does. */
static bool serve_lines(struct client *client)
{
	char *end;

	while (!client->answer && client->waiting == CONTROL_DONE &&
	       (end = memchr(client->line, '\n', client->length))) {
		size_t length = end - client->line;
		json_error_t error;
		json_t *whole;
		bool there;

		whole = json_loadb(client->line, length, JSON_REJECT_DUPLICATES, &error);
		client->length -= length + 1;
		memmove(client->line, end + 1, client->length);
		there = whole ? serve(client, whole) : answer(client, NULL, NULL, error.text);
		json_decref(whole);
		if (!there)
			return false;
	}
	return true;
}

static void arm(struct client *client)
{
	uint32_t events = client->answer ? EPOLLOUT :
			  client->waiting == CONTROL_DONE ? EPOLLIN : 0;

	loop_fd_set_events(&client->watch, events);
}

/* Returns false where the client is gone, or sent a line that is longer than any request. */
static bool receive(struct client *client)
{
	ssize_t n;

	if (client->length == LINE_SIZE)
		return false;
	n = recv(client->watch.fd, client->line + client->length, LINE_SIZE - client->length,
		 MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	client->length += n;
	return n;
}

static void client_ready(struct loop_fd *watch, uint32_t events)
{
	struct client *client = container_of(watch, struct client, watch);
	bool there = !(events & (EPOLLHUP | EPOLLERR));

	if (there && (events & EPOLLIN))
		there = receive(client);
	if (there && (events & EPOLLOUT))
		there = send_answer(client);
	if (there)
		there = serve_lines(client);
	if (there)
		arm(client);
	else
		client_free(client);
}

/* The machine's state has changed: some may have waited for it. */
static void state_changed(struct loop_call *call)
{
	struct control *c = container_of(call, struct control, state_call);

	for (struct client *client = c->clients, *next; client; client = next) {
		bool there;

		next = client->next;
		if (client->waiting == CONTROL_DONE || !reached(c, client->waiting))
			continue;
		client->waiting = CONTROL_DONE;
		there = answer(client, client->id, json_object(), NULL);
		client->id = NULL;
		if (there && serve_lines(client))
			arm(client);
		else
			client_free(client);
	}
}

/* ------------------------------------------------------------------ connections */

/* The directory is our user's alone already; this holds where somebody opened it up. */
static bool may_control(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) &&
	       (peer.uid == geteuid() || !peer.uid);
}

static void connected(struct loop_fd *watch, uint32_t events)
{
	struct control *c = container_of(watch, struct control, listener);
	struct client *client;
	int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	client = may_control(fd) && c->client_count < CLIENTS ? calloc(1, sizeof(*client)) : NULL;
	if (client)
		client->line = malloc(LINE_SIZE);
	if (!client || !client->line) {
		free(client);
		close(fd);
		return;
	}
	client->control = c;
	client->waiting = CONTROL_DONE;
	client->watch = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .callback = client_ready };
	client->next = c->clients;
	client->link = &c->clients;
	if (client->next)
		client->next->link = &client->next;
	c->clients = client;
	c->client_count++;
	if (loop_fd_add(c->machine->loop, &client->watch))
		client_free(client);
}

static int listen_at(struct control *c, const char *directory, struct vmm_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory,
			 RUNDIR_SOCKET);

	if (n >= (int)sizeof(address.sun_path))
		return vmm_fail(error, -ENAMETOOLONG, "%s is too long a path for a socket: set "
				"XDG_RUNTIME_DIR to a shorter one", directory);
	c->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listener.fd < 0)
		return vmm_fail(error, -errno, "cannot make a socket: %s", strerror(errno));
	unlink(address.sun_path);
	if (bind(c->listener.fd, (struct sockaddr *)&address, sizeof(address)) ||
	    chmod(address.sun_path, 0600) || listen(c->listener.fd, CLIENTS))
		return vmm_fail(error, -errno, "cannot make the socket %s: %s", address.sun_path,
				strerror(errno));
	memcpy(c->path, address.sun_path, sizeof(c->path));
	return 0;
}

int control_create(struct machine *m, struct control **control, struct vmm_error *error)
{
	const struct control_config *config = m->config->control;
	struct control *c = calloc(1, sizeof(*c));
	int err;

	*control = c;
	if (!c)
		return vmm_fail(error, -ENOMEM, "out of memory");
	c->machine = m;
	c->started = loop_now();
	c->listener = (struct loop_fd){ .fd = -1, .events = EPOLLIN, .callback = connected };
	c->state_call.callback = state_changed;
	machine_watch_state(m, &c->state_call);
	err = listen_at(c, config->directory, error);
	if (err)
		return err;
	err = loop_fd_add(m->loop, &c->listener);
	return err ? vmm_fail(error, err, "cannot watch %s: %s", c->path, strerror(-err)) : 0;
}

int control_console(struct control *c, struct char_backend **backend, struct vmm_error *error)
{
	int err = console_create(c->machine->loop, c->machine->config->control->directory,
				 &c->console, error);

	if (!err)
		*backend = console_backend(c->console);
	return err;
}

void control_destroy(struct control *c)
{
	if (!c)
		return;
	machine_watch_state(c->machine, NULL);
	loop_call_cancel(&c->state_call);
	if (c->path[0])
		unlink(c->path);
	loop_fd_del(&c->listener);
	if (c->listener.fd >= 0)
		close(c->listener.fd);
	while (c->clients)
		client_free(c->clients);
	free(c);
}
