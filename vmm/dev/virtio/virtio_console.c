/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio console (virtio 1.2, section 5.3): a console over a character backend, and named ports
 * (channels) over Unix sockets, which guests find as /dev/virtio-ports/NAME.
 *
 * Port 0 is the console, where there is one; channels are ports 1 and up. A driver that does not
 * negotiate VIRTIO_CONSOLE_F_MULTIPORT has port 0 alone.
 *
 * Nothing is kept in the device. Output that a backend does not take stays in the guest's buffer,
 * of which we remember how far we got; input is taken from a backend only as far as the guest has
 * given buffers, and has the port open. What is to be told to the driver is a set of bits for each
 * port. So a pause finds nothing in flight, and a guest that does not read stops whoever types, not
 * the machine.
 */
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/char/char.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/util.h"

#define QUEUE_SIZE	256

/* 5.3.2: port 0's two queues, the control queues, and then two for each further port. */
enum { RX0, TX0, CONTROL_RX, CONTROL_TX, RX1, TX1 };

#define MAX_PORTS	(1 + (VIRTIO_MAX_QUEUES - RX1) / 2)

/* What one call moves at most before others on the loop thread get their turn. */
#define TX_LIMIT	(256u * 1024)
#define RX_LIMIT	4096u

/* What is to be told to the driver of a port, in this order. */
enum {
	TELL_ADD = 1 << 0,
	TELL_CONSOLE = 1 << 1,
	TELL_NAME = 1 << 2,
	TELL_SIZE = 1 << 3,
	TELL_OPEN = 1 << 4,	/* or closed: whether somebody is at our end */
};

struct port {
	struct virtio_console *console;
	uint32_t id;
	char *name;			/* NULL: the console */
	struct char_backend *backend;	/* NULL: there is no such port */
	bool attached;			/* the backend is ours */
	bool connected;			/* somebody is at the backend's other end */
	uint32_t tell;
	/* state */
	uint64_t sent;		/* bytes of the chain that comes next which the backend has */
	bool added;		/* the driver was told of the port */
	bool open;		/* a program of the guest's has it open */
};

struct virtio_console {
	struct virtio_device vdev;
	struct virtio_console_config config;
	struct port *ports;
	uint32_t port_count;
	struct iovec iov[VIRTQUEUE_MAX_IOV];
};

static struct virtio_console *to_console(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_console, vdev);
}

static unsigned int rx_queue(const struct port *port)
{
	return port->id ? RX1 + 2 * (port->id - 1) : RX0;
}

static unsigned int tx_queue(const struct port *port)
{
	return rx_queue(port) + 1;
}

static bool is_multiport(const struct virtio_console *console)
{
	return virtio_has_feature(&console->vdev, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* ------------------------------------------------------------------ output */

/* Gives the backend up to limit bytes of a vector from byte skip on; returns how many it took. */
static uint64_t send(struct char_backend *backend, const struct iovec *iov, unsigned int count,
		     uint64_t skip, uint64_t limit)
{
	uint64_t done = 0;

	for (unsigned int i = 0; i < count && done < limit; i++) {
		size_t length = iov[i].iov_len, taken;

		if (skip >= length) {
			skip -= length;
			continue;
		}
		length -= skip;
		if (length > limit - done)
			length = limit - done;
		taken = backend->ops->write(backend, (const uint8_t *)iov[i].iov_base + skip,
					    length);
		done += taken;
		if (taken < length)
			break;
		skip = 0;
	}
	return done;
}

static void process_tx(struct port *port)
{
	struct virtio_console *console = port->console;
	struct virtqueue_chain chain = { .iov = console->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	unsigned int queue = tx_queue(port), n;
	struct virtqueue *vq = &console->vdev.queues[queue].vq;
	uint64_t budget = TX_LIMIT;

	for (n = 0; n < VIRTIO_BATCH && virtio_queue_pop(&console->vdev, queue, &chain); n++) {
		uint64_t left, taken;

		/* The guest may have changed the chain since we last saw it. */
		left = chain.out_bytes > port->sent ? chain.out_bytes - port->sent : 0;
		taken = send(port->backend, chain.iov, chain.out_count, port->sent,
			     left < budget ? left : budget);
		budget -= taken;
		if (taken < left) {
			port->sent += taken;
			virtqueue_unpop(vq);
			/* Either our time is up, or the backend will call port_writable(). */
			if (!budget)
				virtio_queue_kick(&console->vdev, queue);
			return;
		}
		port->sent = 0;
		virtqueue_push(vq, chain.head, 0);
	}
	if (n == VIRTIO_BATCH)
		virtio_queue_kick(&console->vdev, queue);
}

static void port_writable(void *front)
{
	struct port *port = front;

	virtio_queue_kick(&port->console->vdev, tx_queue(port));
}

/* ------------------------------------------------------------------ input */

/* A console has no need to be opened. */
static bool takes_input(const struct port *port)
{
	return virtio_is_running(&port->console->vdev) &&
	       (!port->id || (is_multiport(port->console) && port->open));
}

static size_t port_room(void *front)
{
	struct port *port = front;
	struct virtio_console *console = port->console;
	struct virtqueue_chain chain = { .iov = console->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtio_device *vdev = &console->vdev;
	unsigned int queue = rx_queue(port);
	struct virtqueue *vq = &vdev->queues[queue].vq;
	uint64_t room = 0;

	pthread_mutex_lock(vdev->lock);
	/* Each turn either ends the loop or takes a chain from the guest for good. */
	for (unsigned int n = 0; n < VIRTIO_BATCH && takes_input(port) &&
				 virtio_queue_pop(vdev, queue, &chain); n++) {
		if (chain.in_bytes) {
			room = chain.in_bytes < RX_LIMIT ? chain.in_bytes : RX_LIMIT;
			virtqueue_unpop(vq);
			break;
		}
		virtqueue_push(vq, chain.head, 0);
	}
	pthread_mutex_unlock(vdev->lock);
	return room;
}

static void port_input(void *front, const uint8_t *data, size_t length)
{
	struct port *port = front;
	struct virtio_console *console = port->console;
	struct virtqueue_chain chain = { .iov = console->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtio_device *vdev = &console->vdev;
	unsigned int queue = rx_queue(port);

	pthread_mutex_lock(vdev->lock);
	for (unsigned int n = 0; n < VIRTIO_BATCH && length && takes_input(port) &&
				 virtio_queue_pop(vdev, queue, &chain); n++) {
		size_t taken = iov_write(chain.iov + chain.out_count, chain.in_count, 0, data,
					 length);

		virtqueue_push(&vdev->queues[queue].vq, chain.head, (uint32_t)taken);
		data += taken;
		length -= taken;
	}
	virtio_queue_flush(vdev, queue);
	pthread_mutex_unlock(vdev->lock);
}

/* ------------------------------------------------------------------ control, 5.3.6.2 */

struct control_message {
	struct virtio_console_control header;
	char rest[128];		/* a name, or a size */
	size_t size;		/* of all */
};

/* Takes the next thing to tell of the port. */
static void next_message(struct port *port, struct control_message *m)
{
	uint32_t bit = port->tell & -port->tell;
	struct virtio_console_config *config = &port->console->config;

	port->tell &= ~bit;
	*m = (struct control_message){ .header.id = port->id, .size = sizeof(m->header) };
	switch (bit) {
	case TELL_ADD:
		m->header.event = VIRTIO_CONSOLE_PORT_ADD;
		port->added = true;
		break;
	case TELL_CONSOLE:
		m->header.event = VIRTIO_CONSOLE_CONSOLE_PORT;
		m->header.value = 1;
		break;
	case TELL_NAME:
		m->header.event = VIRTIO_CONSOLE_PORT_NAME;
		m->header.value = 1;
		m->size += (size_t)snprintf(m->rest, sizeof(m->rest), "%s", port->name);
		break;
	case TELL_SIZE:
		/* Linux's driver had these two the other way round until 2025. */
		m->header.event = VIRTIO_CONSOLE_RESIZE;
		memcpy(m->rest, &config->cols, sizeof(config->cols));
		memcpy(m->rest + sizeof(config->cols), &config->rows, sizeof(config->rows));
		m->size += sizeof(config->cols) + sizeof(config->rows);
		break;
	case TELL_OPEN:
		m->header.event = VIRTIO_CONSOLE_PORT_OPEN;
		m->header.value = !port->name || port->connected;
		break;
	}
}

/* Tells the driver what it has buffers for. Ends: each message is one bit less. */
static void tell_driver(struct virtio_console *console)
{
	struct virtqueue_chain chain = { .iov = console->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtio_device *vdev = &console->vdev;
	struct control_message m;

	if (!virtio_is_running(vdev) || !is_multiport(console) ||
	    !vdev->queues[CONTROL_RX].vq.enabled)
		return;
	for (unsigned int i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];

		while (port->tell) {
			if (!virtio_queue_pop(vdev, CONTROL_RX, &chain))
				goto out;
			next_message(port, &m);
			m.size = iov_write(chain.iov + chain.out_count, chain.in_count, 0, &m,
					   m.size);
			virtqueue_push(&vdev->queues[CONTROL_RX].vq, chain.head,
				       (uint32_t)m.size);
		}
	}
out:
	virtio_queue_flush(vdev, CONTROL_RX);
}

static void port_opened(struct port *port, bool open)
{
	port->open = open;
	if (open)
		port->backend->ops->accept_input(port->backend);
}

static void take_message(struct virtio_console *console, const struct virtio_console_control *c)
{
	struct port *port;

	if (c->event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned int i = 0; i < console->port_count && c->value; i++)
			if (console->ports[i].backend)
				console->ports[i].tell = TELL_ADD;
		return;
	}
	if (c->id >= console->port_count || !console->ports[c->id].added)
		return;
	port = &console->ports[c->id];
	switch (c->event) {
	case VIRTIO_CONSOLE_PORT_READY:
		/* 0: the driver could not set it up. */
		if (c->value)
			port->tell |= port->name ? TELL_NAME | TELL_OPEN :
				      TELL_CONSOLE | TELL_OPEN |
				      (virtio_has_feature(&console->vdev, VIRTIO_CONSOLE_F_SIZE) ?
				       TELL_SIZE : 0);
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		port_opened(port, c->value);
		break;
	}
}

static void process_control(struct virtio_console *console)
{
	struct virtqueue_chain chain = { .iov = console->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	struct virtio_device *vdev = &console->vdev;
	struct virtio_console_control control;
	unsigned int n;

	for (n = 0; n < VIRTIO_BATCH && virtio_queue_pop(vdev, CONTROL_TX, &chain); n++) {
		if (iov_read(chain.iov, chain.out_count, 0, &control, sizeof(control)) ==
		    sizeof(control))
			take_message(console, &control);
		virtqueue_push(&vdev->queues[CONTROL_TX].vq, chain.head, 0);
	}
	if (n == VIRTIO_BATCH)
		virtio_queue_kick(vdev, CONTROL_TX);
	tell_driver(console);
}

/* ------------------------------------------------------------------ the rest */

static void port_resized(void *front, unsigned int columns, unsigned int rows)
{
	struct port *port = front;
	struct virtio_console *console = port->console;

	pthread_mutex_lock(console->vdev.lock);
	console->config.cols = (uint16_t)columns;
	console->config.rows = (uint16_t)rows;
	if (port->added) {
		port->tell |= TELL_SIZE;
		tell_driver(console);
	}
	virtio_config_changed(&console->vdev);
	pthread_mutex_unlock(console->vdev.lock);
}

static void port_connected(void *front, bool connected)
{
	struct port *port = front;

	pthread_mutex_lock(port->console->vdev.lock);
	port->connected = connected;
	if (port->added) {
		port->tell |= TELL_OPEN;
		tell_driver(port->console);
	}
	pthread_mutex_unlock(port->console->vdev.lock);
}

static const struct char_front front = {
	.room = port_room,
	.input = port_input,
	.writable = port_writable,
	.resized = port_resized,
	.connected = port_connected,
};

static int console_start(struct virtio_device *vdev)
{
	struct virtio_console *console = to_console(vdev);

	for (unsigned int i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];

		if (!port->backend)
			continue;
		char_attach(port->backend, &front, port);
		port->attached = true;
	}
	return 0;
}

static void console_process(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_console *console = to_console(vdev);
	struct port *port;

	if (queue == CONTROL_RX) {
		tell_driver(console);
		return;
	}
	if (queue == CONTROL_TX) {
		process_control(console);
		return;
	}
	port = &console->ports[queue < RX1 ? 0 : (queue - RX1) / 2 + 1];
	if (!port->backend || (port->id && !is_multiport(console)))
		return;
	if (queue == tx_queue(port))
		process_tx(port);
	else
		port->backend->ops->accept_input(port->backend);
}

/* 5.3.4: a character for a guest in such trouble that it cannot set up queues. */
static void console_config_write(struct virtio_device *vdev, unsigned int offset, unsigned int size,
				 uint32_t value)
{
	struct port *port = &to_console(vdev)->ports[0];
	uint8_t c = (uint8_t)value;

	if (offset == offsetof(struct virtio_console_config, emerg_wr) && port->backend)
		port->backend->ops->write(port->backend, &c, 1);
}

static void console_reset(struct virtio_device *vdev)
{
	struct virtio_console *console = to_console(vdev);

	for (unsigned int i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];

		port->sent = 0;
		port->tell = 0;
		port->added = port->open = false;
	}
}

static void free_ports(struct virtio_console *console)
{
	for (unsigned int i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];

		/* The console's belongs to whoever asked for it until it is attached. */
		if (port->backend && (port->attached || port->id))
			port->backend->ops->destroy(port->backend);
		free(port->name);
	}
	free(console->ports);
}

static void console_destroy(struct virtio_device *vdev)
{
	struct virtio_console *console = to_console(vdev);

	free_ports(console);
	virtio_device_destroy(vdev);
	free(console);
}

/* Who is at the other end is not what it was. */
static int port_post_load(void *object, unsigned int version)
{
	struct port *port = object;

	if (!port->backend)
		port->added = port->open = false;
	port->tell = port->added ? TELL_OPEN : 0;
	return 0;
}

static const struct state_field port_fields[] = {
	STATE_INT(1, 1, struct port, sent),
	STATE_INT(2, 1, struct port, added),
	STATE_INT(3, 1, struct port, open),
};

STATE_TABLE_STATIC(port_state, "virtio-console-port", 1, struct port, port_fields,
		   .post_load = port_post_load);

/* Field 1 was for a device of one port. */
static const struct state_field console_fields[] = {
	STATE_NESTED_PTR(2, 2, struct virtio_console, ports, port_count, MAX_PORTS, &port_state),
};

STATE_TABLE_STATIC(console_state, "virtio-console", 2, struct virtio_console, console_fields);

static const struct virtio_device_ops console_ops = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,		/* communication controller, other */
	.state = &console_state,
	.start = console_start,
	.process = console_process,
	.config_write = console_config_write,
	.reset = console_reset,
	.destroy = console_destroy,
};

static int add_channel(struct virtio_console *console, unsigned int i,
		       const struct channel_config *config, struct vmm_error *error)
{
	struct machine *machine = console->vdev.machine;
	struct port *port = &console->ports[i];
	struct control_message m;

	if (!*config->name || strlen(config->name) >= sizeof(m.rest))
		return vmm_fail(error, -EINVAL, "--channel: the name '%s' cannot be given to a "
				"port: give 1 to %zu bytes", config->name, sizeof(m.rest) - 1);
	for (unsigned int j = 1; j < i; j++)
		if (!strcmp(console->ports[j].name, config->name))
			return vmm_fail(error, -EEXIST, "--channel: there are two of the name "
					"'%s': give them different ones", config->name);
	port->name = strdup(config->name);
	if (!port->name)
		return vmm_fail(error, -ENOMEM, "--channel: out of memory");
	return char_socket_create(machine->loop, config->path, "--channel", &port->backend, error);
}

static int init_device(struct virtio_console *console, struct machine *machine)
{
	const struct port *first = &console->ports[0];
	uint64_t features = 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
	unsigned int columns = 0, rows = 0, queues = 2 * console->port_count;

	if (first->backend)
		first->backend->ops->size(first->backend, &columns, &rows);
	if (columns && rows)
		features |= 1ull << VIRTIO_CONSOLE_F_SIZE;
	if (console->port_count > 1) {
		features |= 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
		queues += 2;
	}
	console->config.cols = (uint16_t)columns;
	console->config.rows = (uint16_t)rows;
	console->config.max_nr_ports = console->port_count;
	return virtio_device_init(&console->vdev, &console_ops, machine, queues, QUEUE_SIZE,
				  features, &console->config, sizeof(console->config));
}

int virtio_console_new(struct machine *machine, struct char_backend *backend,
		       struct virtio_device **vdev, struct vmm_error *error)
{
	unsigned int channels = machine->config->channel_count;
	struct virtio_console *console;
	int ret;

	if (channels >= MAX_PORTS)
		return vmm_fail(error, -EINVAL, "--channel: %u are too many: give at most %u",
				channels, MAX_PORTS - 1);
	console = calloc(1, sizeof(*console));
	if (console)
		console->ports = calloc(channels + 1, sizeof(*console->ports));
	if (!console || !console->ports) {
		free(console);
		return vmm_fail(error, -ENOMEM, "virtio-console: out of memory");
	}
	console->port_count = channels + 1;
	for (unsigned int i = 0; i < console->port_count; i++) {
		console->ports[i].console = console;
		console->ports[i].id = i;
	}
	console->ports[0].backend = backend;
	ret = init_device(console, machine);
	if (ret) {
		free_ports(console);
		free(console);
		return vmm_fail(error, ret, "virtio-console: %s", strerror(-ret));
	}
	for (unsigned int i = 1; i < console->port_count && !ret; i++)
		ret = add_channel(console, i, &machine->config->channels[i - 1], error);
	if (ret) {
		console_destroy(&console->vdev);
		return ret;
	}
	*vdev = &console->vdev;
	return 0;
}

int virtio_console_create(struct machine *machine, struct char_backend *backend,
			  struct vmm_error *error)
{
	struct virtio_device *vdev;
	int ret = virtio_console_new(machine, backend, &vdev, error);

	return ret ? ret : virtio_pci_create(vdev, error);
}
