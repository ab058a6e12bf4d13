/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * FUSE requests: taken apart, given to their operation, answered.
 *
 * A request is a header, a struct that depends on the operation, and strings or data after it. The
 * descriptors may cut it anywhere, and the guest may change it while we look: so all but data to be
 * written is copied once, and lengths and strings are checked in the copy.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/dev/virtio/virtqueue.h"
#include "vmm/fs/fs_server.h"
#include "vmm/util.h"

#define MIN_MINOR	31	/* of the protocol: what virtio-fs began with */

/* An extended attribute's name and value, the longest that is copied. */
#define MAX_ARGS	(sizeof(struct fuse_setxattr_in) + NAME_MAX + 1 + (64u << 10))
/* What is kept on the stack; a link's name and its target go there. */
#define SHORT_ARGS	5120

bool fs_answer(struct fs_request *r, uint64_t offset, const void *data, size_t length)
{
	if (offset > r->in_room || length > r->in_room - offset)
		return false;
	iov_write(r->in, r->in_count, sizeof(struct fuse_out_header) + offset, data, length);
	return true;
}

/* ------------------------------------------------------------------ the session */

static int init_session(struct fs_request *r)
{
	const uint32_t wanted = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
				FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |
				FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
				FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2;
	struct fuse_init_in in = { 0 };
	struct fs *fs = r->fs;

	memcpy(&in, r->args, r->args_size < sizeof(in) ? r->args_size : sizeof(in));
	r->reply.init = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
	};
	r->reply_size = sizeof(r->reply.init);
	/* To one that is ahead we say what we speak, and it asks again. */
	if (in.major > FUSE_KERNEL_VERSION)
		return 0;
	if (in.major < FUSE_KERNEL_VERSION || in.minor < MIN_MINOR)
		return -EPROTO;
	/* A guest that begins again, after a crash of its own, knows nothing of before. */
	fs_handles_drop(fs);
	fs_nodes_drop(fs);
	r->reply.init.max_readahead = in.max_readahead;
	r->reply.init.flags = in.flags & wanted;
	r->reply.init.max_background = 64;
	r->reply.init.congestion_threshold = 48;
	r->reply.init.max_pages = FS_MAX_PAGES;
	r->reply.init.max_write = in.flags & FUSE_MAX_PAGES ? FS_MAX_PAGES * 4096 : 32 * 4096;
	r->reply.init.time_gran = 1;
	fs_set_in_session(fs, true);
	return 0;
}

static int end_session(struct fs_request *r)
{
	fs_handles_drop(r->fs);
	fs_nodes_drop(r->fs);
	fs_set_in_session(r->fs, false);
	return 0;
}

static int forget(struct fs_request *r)
{
	struct fuse_forget_in in;

	memcpy(&in, r->args, sizeof(in));
	fs_node_forget(r->fs, r->header.nodeid, in.nlookup);
	return 0;
}

static int forget_batch(struct fs_request *r)
{
	struct fuse_batch_forget_in in;
	struct fuse_forget_one one;

	memcpy(&in, r->args, sizeof(in));
	for (size_t at = sizeof(in); in.count-- && at + sizeof(one) <= r->args_size;
	     at += sizeof(one)) {
		memcpy(&one, r->args + at, sizeof(one));
		fs_node_forget(r->fs, one.nodeid, one.nlookup);
	}
	return 0;
}

/* 5.11.6 (virtio): what it would interrupt ends by itself. */
static int interrupt(struct fs_request *r)
{
	return 0;
}

/* The driver's files have no such calls; ENOTTY is how ioctl() says so. */
static int refuse_ioctl(struct fs_request *r)
{
	return -ENOTTY;
}

/* ------------------------------------------------------------------ the table */

enum {
	NO_ANSWER = 1 << 0,
	NO_NODE = 1 << 1,	/* the header's node number means nothing */
	WRITES = 1 << 2,	/* refused where the directory is shared read-only */
	DATA = 1 << 3,		/* what follows the struct stays where it is */
	ANY_TIME = 1 << 4,	/* also before the session has begun */
	STRINGS_1 = 1 << 5,	/* one name follows the struct */
	STRINGS_2 = 1 << 6,	/* two do */
	TARGET = 1 << 7,	/* the second one is no name: what a link points to */
	VALUE = 1 << 8,		/* bytes follow the name */
};

static const struct {
	fs_operation *operation;
	uint16_t size;		/* of the struct: there is at least that much */
	uint16_t flags;
} operations[] = {
	[FUSE_LOOKUP] = { fs_lookup, 0, STRINGS_1 },
	[FUSE_FORGET] = { forget, sizeof(struct fuse_forget_in), NO_ANSWER | NO_NODE },
	[FUSE_GETATTR] = { fs_getattr, sizeof(struct fuse_getattr_in), 0 },
	[FUSE_SETATTR] = { fs_setattr, sizeof(struct fuse_setattr_in), WRITES },
	[FUSE_READLINK] = { fs_readlink, 0, 0 },
	[FUSE_SYMLINK] = { fs_symlink, 0, STRINGS_2 | TARGET | WRITES },
	[FUSE_MKNOD] = { fs_mknod, sizeof(struct fuse_mknod_in), STRINGS_1 | WRITES },
	[FUSE_MKDIR] = { fs_mkdir, sizeof(struct fuse_mkdir_in), STRINGS_1 | WRITES },
	[FUSE_UNLINK] = { fs_unlink, 0, STRINGS_1 | WRITES },
	[FUSE_RMDIR] = { fs_rmdir, 0, STRINGS_1 | WRITES },
	[FUSE_RENAME] = { fs_rename, sizeof(struct fuse_rename_in), STRINGS_2 | WRITES },
	[FUSE_LINK] = { fs_link_file, sizeof(struct fuse_link_in), STRINGS_1 | WRITES },
	[FUSE_OPEN] = { fs_open, sizeof(struct fuse_open_in), 0 },
	[FUSE_READ] = { fs_read, sizeof(struct fuse_read_in), 0 },
	[FUSE_WRITE] = { fs_write, sizeof(struct fuse_write_in), DATA | WRITES },
	[FUSE_STATFS] = { fs_statfs, 0, 0 },
	[FUSE_RELEASE] = { fs_release, sizeof(struct fuse_release_in), NO_NODE },
	[FUSE_FSYNC] = { fs_fsync, sizeof(struct fuse_fsync_in), 0 },
	[FUSE_SETXATTR] = { fs_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE,
			    STRINGS_1 | VALUE | WRITES },
	[FUSE_GETXATTR] = { fs_getxattr, sizeof(struct fuse_getxattr_in), STRINGS_1 },
	[FUSE_LISTXATTR] = { fs_listxattr, sizeof(struct fuse_getxattr_in), 0 },
	[FUSE_REMOVEXATTR] = { fs_removexattr, 0, STRINGS_1 | WRITES },
	[FUSE_FLUSH] = { fs_flush, sizeof(struct fuse_flush_in), 0 },
	/* The version we need has more; the first fields say which one it is. */
	[FUSE_INIT] = { init_session, 16, NO_NODE | ANY_TIME },
	[FUSE_OPENDIR] = { fs_opendir, sizeof(struct fuse_open_in), 0 },
	[FUSE_READDIR] = { fs_readdir, sizeof(struct fuse_read_in), 0 },
	[FUSE_RELEASEDIR] = { fs_release, sizeof(struct fuse_release_in), NO_NODE },
	[FUSE_FSYNCDIR] = { fs_fsync, sizeof(struct fuse_fsync_in), 0 },
	[FUSE_CREATE] = { fs_create_file, sizeof(struct fuse_create_in), STRINGS_1 | WRITES },
	[FUSE_INTERRUPT] = { interrupt, sizeof(struct fuse_interrupt_in), NO_ANSWER | NO_NODE },
	[FUSE_DESTROY] = { end_session, 0, NO_NODE },
	[FUSE_IOCTL] = { refuse_ioctl, 0, 0 },
	[FUSE_BATCH_FORGET] = { forget_batch, sizeof(struct fuse_batch_forget_in),
				NO_ANSWER | NO_NODE },
	[FUSE_FALLOCATE] = { fs_fallocate, sizeof(struct fuse_fallocate_in), WRITES },
	[FUSE_READDIRPLUS] = { fs_readdirplus, sizeof(struct fuse_read_in), 0 },
	[FUSE_RENAME2] = { fs_rename2, sizeof(struct fuse_rename2_in), STRINGS_2 | WRITES },
	[FUSE_LSEEK] = { fs_lseek, sizeof(struct fuse_lseek_in), 0 },
	[FUSE_COPY_FILE_RANGE] = { fs_copy_file_range, sizeof(struct fuse_copy_file_range_in),
				   WRITES },
	[FUSE_SYNCFS] = { fs_syncfs, 0, 0 },
};

/* ------------------------------------------------------------------ strings */

/* One component of a path, and not one that leads upwards. */
static int check_name(const char *name)
{
	size_t length = strlen(name);

	if (!length || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return length > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* Finds the strings after the struct. Attributes' names are no names of files. */
static int find_strings(struct fs_request *r, unsigned int flags, size_t at)
{
	unsigned int count = flags & STRINGS_2 ? 2 : flags & STRINGS_1 ? 1 : 0;
	bool attribute = flags & VALUE || r->header.opcode == FUSE_GETXATTR ||
			 r->header.opcode == FUSE_REMOVEXATTR;

	for (unsigned int i = 0; i < count; i++) {
		const char *string = (const char *)r->args + at;
		size_t length = strnlen(string, r->args_size - at);
		int ret = 0;

		if (length == r->args_size - at)
			return -EINVAL;
		r->names[i] = string;
		at += length + 1;
		if (flags & TARGET && i == 1)
			ret = length ? length >= PATH_MAX ? -ENAMETOOLONG : 0 : -ENOENT;
		else if (!attribute)
			ret = check_name(string);
		else if (!length || length > NAME_MAX)
			ret = -ERANGE;
		if (ret)
			return ret;
	}
	r->strings_end = at;
	return 0;
}

/* ------------------------------------------------------------------ one request */

static int call(struct fs_request *r)
{
	unsigned int flags = operations[r->header.opcode].flags;
	size_t size = operations[r->header.opcode].size;
	int ret;

	if (r->args_size < size)
		return -EINVAL;
	if (!fs_in_session(r->fs) && !(flags & ANY_TIME))
		return -EIO;
	if (flags & WRITES && r->fs->readonly)
		return -EROFS;
	ret = find_strings(r, flags, size);
	if (ret)
		return ret;
	if (!(flags & NO_NODE)) {
		r->node = fs_node_get(r->fs, r->header.nodeid);
		if (!r->node)
			return -ESTALE;
	}
	ret = operations[r->header.opcode].operation(r);
	if (r->node)
		fs_node_put(r->fs, r->node);
	return ret;
}

static size_t answer(struct fs_request *r, int error)
{
	struct fuse_out_header header = { .unique = r->header.unique, .error = error };

	if (!error && r->reply_size > r->in_room)
		header.error = -ENOSPC;
	if (header.error)
		r->reply_size = 0;
	else if (!r->written)
		fs_answer(r, 0, &r->reply, r->reply_size);
	header.len = (uint32_t)(sizeof(header) + r->reply_size);
	iov_write(r->in, r->in_count, 0, &header, sizeof(header));
	return header.len;
}

static uint64_t bytes(const struct iovec *iov, unsigned int count)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < count; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* Copies what is to be copied of the request and has the operation done. */
static int serve(struct fs_request *r, uint64_t out_bytes, unsigned int *flags)
{
	uint8_t on_stack[SHORT_ARGS], *args = on_stack;
	size_t size;
	int ret;

	if (r->header.opcode >= ARRAY_SIZE(operations) ||
	    !operations[r->header.opcode].operation)
		return -ENOSYS;
	*flags = operations[r->header.opcode].flags;
	if (r->header.len < sizeof(r->header) || r->header.len > out_bytes)
		return -EINVAL;
	size = r->header.len - sizeof(r->header);
	if (*flags & DATA && size > operations[r->header.opcode].size) {
		r->data_size = size - operations[r->header.opcode].size;
		size = operations[r->header.opcode].size;
	}
	if (size > MAX_ARGS)
		return -E2BIG;
	if (size > sizeof(on_stack)) {
		args = malloc(size);
		if (!args)
			return -ENOMEM;
	}
	iov_read(r->out, r->out_count, sizeof(r->header), args, size);
	r->args = args;
	r->args_size = size;
	ret = call(r);
	if (args != on_stack)
		free(args);
	return ret;
}

size_t fs_serve(struct fs *fs, const struct iovec *out, unsigned int out_count,
		const struct iovec *in, unsigned int in_count)
{
	struct fs_request r = {
		.fs = fs, .out = out, .out_count = out_count, .in = in, .in_count = in_count,
	};
	uint64_t out_bytes = bytes(out, out_count), in_bytes = bytes(in, in_count);
	unsigned int flags = 0;
	int ret;

	if (out_bytes < sizeof(r.header))
		return 0;
	iov_read(out, out_count, 0, &r.header, sizeof(r.header));
	if (in_bytes >= sizeof(struct fuse_out_header))
		r.in_room = in_bytes - sizeof(struct fuse_out_header);
	ret = serve(&r, out_bytes, &flags);
	if (flags & NO_ANSWER || in_bytes < sizeof(struct fuse_out_header))
		return 0;
	return answer(&r, ret);
}
