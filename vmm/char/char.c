/* SPDX-License-Identifier: GPL-2.0-only */
/* Character backends: what they share, and the one that swallows everything. See char.h. */
#include "vmm/char/char.h"

#include <errno.h>
#include <stdlib.h>

void char_attach(struct char_backend *backend, const struct char_front *front, void *front_data)
{
	backend->front_data = front_data;
	backend->front = front;
	backend->ops->accept_input(backend);
}

static size_t null_write(struct char_backend *backend, const uint8_t *data, size_t length)
{
	return length;
}

static void null_accept_input(struct char_backend *backend)
{
}

static void null_size(struct char_backend *backend, unsigned int *columns, unsigned int *rows)
{
	*columns = *rows = 0;
}

static void null_destroy(struct char_backend *backend)
{
	free(backend);
}

static const struct char_ops null_ops = {
	.write = null_write,
	.accept_input = null_accept_input,
	.size = null_size,
	.destroy = null_destroy,
};

int char_null_create(struct char_backend **backend)
{
	*backend = calloc(1, sizeof(**backend));
	if (!*backend)
		return -ENOMEM;
	(*backend)->ops = &null_ops;
	return 0;
}
