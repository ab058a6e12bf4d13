/* SPDX-License-Identifier: GPL-2.0-only */
/* From an ioctl's number to its handler, with the copies from and to the caller's memory. */
#include "kvm/api/api.h"

#define SMALL	512	/* bytes of data that go on the stack */

static long call(const struct api_row *row, struct api_call *c)
{
	long r;

	if (row->in) {
		r = os_copy_from_user(c->data, c->arg, row->in);
		if (r)
			return r;
	}
	r = row->fn(c);
	if (r >= 0 && row->out && os_copy_to_user(c->arg, c->data, row->out))
		return -EFAULT;
	return r;
}

static long call_large(const struct api_row *row, struct api_call *c, size_t size)
{
	long r;

	c->data = os_alloc(size);
	if (!c->data)
		return -ENOMEM;
	r = call(row, c);
	os_free(c->data);
	return r;
}

static __noinline long call_small(const struct api_row *row, struct api_call *c)
{
	u64 data[SMALL / sizeof(u64)];

	memset(data, 0, row->out);	/* nothing of the stack reaches the caller */
	c->data = data;
	return call(row, c);
}

long api_dispatch(const struct api_row *rows, u32 n, u32 cmd, struct api_call *c, long unknown)
{
	for (u32 i = 0; i < n; i++) {
		size_t size = max(rows[i].in, rows[i].out);

		if (rows[i].cmd == cmd)
			return size > SMALL ? call_large(&rows[i], c, size) : call_small(&rows[i], c);
	}
	return unknown;
}
