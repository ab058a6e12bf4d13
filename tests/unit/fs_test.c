/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The FUSE server: what a guest's file system asks of it, held against the host's directory; and
 * what a hostile guest asks, which must not leave that directory.
 *
 * Around the shared directory there is another one with a secret, so that a way out would be seen.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_config.h>

#include "fake_machine.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/fs/fs_server.h"
#include "vmm/util.h"

#define ROOT		FUSE_ROOT_ID
#define ROOM		(64u << 10)

static char outside[] = "/tmp/fs_test.XXXXXX";
static char share[64];			/* outside/share */
static struct fs *fs;
static uint8_t answer[sizeof(struct fuse_out_header) + ROOM];
static size_t answer_size;		/* without the header */
static const uint8_t *const reply = answer + sizeof(struct fuse_out_header);

/* ------------------------------------------------------------------ asking */

/* Sends a request with so much room for the answer; returns its error. 1: there was no answer. */
static int ask_room(uint32_t opcode, uint64_t node, const void *args, size_t args_size,
		    const void *more, size_t more_size, size_t room)
{
	struct fuse_in_header header = {
		.len = (uint32_t)(sizeof(header) + args_size + more_size),
		.opcode = opcode, .unique = 0x1234567890abcdef, .nodeid = node,
	};
	const struct iovec out[] = {
		{ &header, sizeof(header) }, { (void *)args, args_size },
		{ (void *)more, more_size },
	};
	const struct iovec in[] = {
		{ answer, 7 }, { answer + 7, sizeof(struct fuse_out_header) - 7 },
		{ answer + sizeof(struct fuse_out_header), room },
	};
	struct fuse_out_header got;
	size_t size;

	memset(answer, 0xa5, sizeof(answer));
	size = fs_serve(fs, out, 3, in, 3);
	if (!size)
		return 1;
	memcpy(&got, answer, sizeof(got));
	assert_int_equal(got.len, size);
	assert_true(size >= sizeof(got) && size <= sizeof(got) + room);
	assert_int_equal(got.unique, header.unique);
	assert_true(got.error <= 0);
	if (got.error)
		assert_int_equal(size, sizeof(got));
	answer_size = size - sizeof(got);
	return got.error;
}

static int ask(uint32_t opcode, uint64_t node, const void *args, size_t args_size,
	       const void *more, size_t more_size)
{
	return ask_room(opcode, node, args, args_size, more, more_size, ROOM);
}

#define ASK(opcode, node, struct_, more, more_size) \
	ask(opcode, node, &(struct_), sizeof(struct_), more, more_size)

static int ask_name(uint32_t opcode, uint64_t node, const char *name)
{
	return ask(opcode, node, NULL, 0, name, strlen(name) + 1);
}

static int init_session(uint32_t major, uint32_t minor, uint32_t flags)
{
	struct fuse_init_in in = {
		.major = major, .minor = minor, .max_readahead = 4096, .flags = flags,
	};

	return ASK(FUSE_INIT, 0, in, NULL, 0);
}

static const struct fuse_entry_out *entry(void)
{
	return (const void *)reply;
}

/* Looks up a name that is there. */
static uint64_t lookup(uint64_t directory, const char *name)
{
	assert_int_equal(ask_name(FUSE_LOOKUP, directory, name), 0);
	assert_int_equal(answer_size, sizeof(struct fuse_entry_out));
	return entry()->nodeid;
}

static int create(uint64_t directory, const char *name, uint32_t flags, uint32_t mode, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = flags, .mode = S_IFREG | mode };
	int ret = ASK(FUSE_CREATE, directory, in, name, strlen(name) + 1);

	if (fh)
		*fh = 0;
	if (!ret) {
		struct fuse_open_out open;

		assert_int_equal(answer_size, sizeof(struct fuse_entry_out) + sizeof(open));
		memcpy(&open, reply + sizeof(struct fuse_entry_out), sizeof(open));
		if (fh)
			*fh = open.fh;
	}
	return ret;
}

static int open_node(uint32_t opcode, uint64_t node, uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = { .flags = flags };
	int ret = ASK(opcode, node, in, NULL, 0);

	*fh = ret ? 0 : ((const struct fuse_open_out *)reply)->fh;
	return ret;
}

static int release(uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return ASK(FUSE_RELEASE, 0, in, NULL, 0);
}

static int write_file(uint64_t node, uint64_t fh, uint64_t offset, const void *data, uint32_t size,
		      uint32_t flags)
{
	struct fuse_write_in in = { .fh = fh, .offset = offset, .size = size, .flags = flags };
	int ret = ASK(FUSE_WRITE, node, in, data, size);

	if (!ret)
		assert_int_equal(((const struct fuse_write_out *)reply)->size, size);
	return ret;
}

static int read_file(uint64_t node, uint64_t fh, uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };

	return ASK(FUSE_READ, node, in, NULL, 0);
}

static int mkdir_node(uint64_t directory, const char *name, uint32_t mode)
{
	struct fuse_mkdir_in in = { .mode = mode };

	return ASK(FUSE_MKDIR, directory, in, name, strlen(name) + 1);
}

static int rename_node(uint64_t from, const char *name, uint64_t to, const char *new_name,
		       uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = to, .flags = flags };
	char names[1024];
	size_t n = strlen(name) + 1;

	memcpy(names, name, n);
	strcpy(names + n, new_name);
	return ASK(FUSE_RENAME2, from, in, names, n + strlen(new_name) + 1);
}

static int symlink_node(uint64_t directory, const char *name, const char *target)
{
	char names[8192];
	size_t n = strlen(name) + 1;

	memcpy(names, name, n);
	strcpy(names + n, target);
	return ask(FUSE_SYMLINK, directory, NULL, 0, names, n + strlen(target) + 1);
}

static int link_node(uint64_t node, uint64_t directory, const char *name)
{
	struct fuse_link_in in = { .oldnodeid = node };

	return ASK(FUSE_LINK, directory, in, name, strlen(name) + 1);
}

static int mknod_node(uint64_t directory, const char *name, uint32_t mode)
{
	struct fuse_mknod_in in = { .mode = mode, .rdev = 0x103 };

	return ASK(FUSE_MKNOD, directory, in, name, strlen(name) + 1);
}

static void forget(uint64_t node, uint64_t lookups)
{
	struct fuse_forget_in in = { .nlookup = lookups };

	assert_int_equal(ASK(FUSE_FORGET, node, in, NULL, 0), 1);
}

/* ------------------------------------------------------------------ the host's side */

static const char *host_path(const char *name)
{
	static char path[2][PATH_MAX];
	static unsigned int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", share, name);
	return path[turn];
}

static void host_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static const char *host_read(const char *path)
{
	static char text[4096];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return NULL;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	return text;
}

static struct stat host_stat(const char *name)
{
	struct stat st;

	assert_int_equal(lstat(host_path(name), &st), 0);
	return st;
}

static void check_outside(void)
{
	char path[80];
	struct dirent *d;
	unsigned int names = 0;
	DIR *dir = opendir(outside);

	assert_non_null(dir);
	while ((d = readdir(dir)))
		names++;
	closedir(dir);
	assert_int_equal(names, 4);	/* ., .., share, secret */
	snprintf(path, sizeof(path), "%s/secret", outside);
	assert_string_equal(host_read(path), "secret");
}

static void open_share(bool readonly, unsigned int max_files)
{
	struct vmm_error error = { "" };

	if (fs_create(share, readonly, max_files, &fs, &error))
		fail_msg("%s", error.text);
	assert_int_equal(init_session(7, 31, UINT32_MAX), 0);
}

static int make_directories(void **state)
{
	char path[80];

	strcpy(outside, "/tmp/fs_test.XXXXXX");
	assert_non_null(mkdtemp(outside));
	/* As for somebody who is not root, in some tests. */
	chmod(outside, 0755);
	snprintf(share, sizeof(share), "%s/share", outside);
	assert_int_equal(mkdir(share, 0755), 0);
	snprintf(path, sizeof(path), "%s/secret", outside);
	host_write(path, "secret");
	return 0;
}

static int remove_directories(void **state)
{
	char command[80];

	if (fs)
		fs_destroy(fs);
	fs = NULL;
	snprintf(command, sizeof(command), "rm -rf %s", outside);
	return system(command);
}

static int setup(void **state)
{
	make_directories(state);
	open_share(false, 1000);
	return 0;
}

/* ------------------------------------------------------------------ an honest guest */

static void session(void **state)
{
	const struct fuse_init_out *out = (const void *)reply;
	struct vmm_error error = { "" };

	assert_int_equal(fs_create(share, false, 100, &fs, &error), 0);
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, "x"), -EIO);
	assert_int_equal(init_session(6, 40, 0), -EPROTO);
	assert_int_equal(init_session(7, 30, 0), -EPROTO);
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, "x"), -EIO);
	assert_int_equal(init_session(8, 0, UINT32_MAX), 0);
	assert_int_equal(out->major, 7);
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, "x"), -EIO);

	assert_int_equal(init_session(7, 31, UINT32_MAX), 0);
	assert_int_equal(answer_size, sizeof(*out));
	assert_int_equal(out->major, 7);
	assert_int_equal(out->max_pages, FS_MAX_PAGES);
	assert_int_equal(out->max_write, FS_MAX_PAGES * 4096);
	assert_true(out->flags & FUSE_DO_READDIRPLUS);
	/* What would make the guest's cache, locks or rights ours to keep. */
	assert_false(out->flags & (FUSE_WRITEBACK_CACHE | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS |
				   FUSE_POSIX_ACL | FUSE_EXPORT_SUPPORT | FUSE_DONT_MASK));
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, "x"), -ENOENT);
	assert_int_equal(init_session(7, 38, 0), 0);
	assert_int_equal(out->flags, 0);
	assert_int_equal(out->max_write, 128 * 1024);
	assert_int_equal(ask(FUSE_DESTROY, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, "x"), -EIO);

	assert_int_equal(fs_create("/nonexistent", false, 9, &fs, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nonexistent"));
}

static void files(void **state)
{
	uint64_t node, fh, again;
	char data[5000];
	struct stat st;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31);
	assert_int_equal(create(ROOT, "file", O_RDWR, 0640, &fh), 0);
	node = entry()->nodeid;
	assert_int_equal(entry()->attr.mode, S_IFREG | 0640);
	assert_int_equal(write_file(node, fh, 0, data, sizeof(data), O_RDWR), 0);
	assert_int_equal(read_file(node, fh, 1000, 3000), 0);
	assert_int_equal(answer_size, 3000);
	assert_memory_equal(reply, data + 1000, 3000);
	/* Fewer bytes at the end, none beyond it. */
	assert_int_equal(read_file(node, fh, 4990, 3000), 0);
	assert_int_equal(answer_size, 10);
	assert_int_equal(read_file(node, fh, 5000, 1), 0);
	assert_int_equal(answer_size, 0);
	assert_int_equal(read_file(node, fh, UINT64_MAX, 1), -EINVAL);
	assert_int_equal(read_file(node, fh, INT64_MAX, 1), -EINVAL);
	st = host_stat("file");
	assert_int_equal(st.st_size, 5000);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	/* A guest that asks for more than it was told to gets no more. */
	{
		static uint8_t big[3 << 20];
		struct {
			struct fuse_in_header header;
			struct fuse_read_in in;
		} request = {
			.header = { .len = sizeof(request), .opcode = FUSE_READ, .nodeid = node },
			.in = { .fh = fh, .size = UINT32_MAX },
		};
		const struct iovec out = { &request, sizeof(request) }, in = { big, sizeof(big) };

		assert_int_equal(truncate(host_path("file"), 4 << 20), 0);
		assert_int_equal(fs_serve(fs, &out, 1, &in, 1),
				 sizeof(struct fuse_out_header) + FS_MAX_PAGES * 4096);
		assert_int_equal(truncate(host_path("file"), 5000), 0);
	}
	/* A write at the end is there wherever the guest thinks that is. */
	assert_int_equal(write_file(node, fh, 0, "end", 3, O_RDWR | O_APPEND), 0);
	assert_int_equal(host_stat("file").st_size, 5003);

	assert_int_equal(create(ROOT, "file", O_RDWR | O_EXCL, 0600, NULL), -EEXIST);
	assert_int_equal(create(ROOT, "file", O_RDONLY, 0600, &again), 0);
	assert_int_equal(entry()->nodeid, node);
	assert_int_equal(host_stat("file").st_mode & 07777, 0640);
	assert_int_equal(write_file(node, again, 0, "x", 1, 0), -EBADF);
	assert_int_equal(release(again), 0);
	assert_int_equal(release(again), -EBADF);
	assert_int_equal(open_node(FUSE_OPEN, node, O_WRONLY | O_TRUNC, &again), 0);
	assert_int_equal(host_stat("file").st_size, 0);
	assert_int_equal(open_node(FUSE_OPEN, node, 3, &again), -EINVAL);

	/* A file without a name is there for whoever has it open. */
	assert_int_equal(ask_name(FUSE_UNLINK, ROOT, "file"), 0);
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, "file"), -ENOENT);
	assert_int_equal(write_file(node, fh, 0, "still", 5, 0), 0);
	assert_int_equal(read_file(node, fh, 0, 10), 0);
	assert_memory_equal(reply, "still", 5);
}

static int set_attr(uint64_t node, struct fuse_setattr_in in)
{
	return ASK(FUSE_SETATTR, node, in, NULL, 0);
}

static void attributes(void **state)
{
	const struct fuse_attr_out *out = (const void *)reply;
	struct fuse_getattr_in get = { 0 };
	uint64_t node, fh;
	struct stat st;

	assert_int_equal(create(ROOT, "f", O_RDWR, 0644, &fh), 0);
	node = entry()->nodeid;
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_SIZE, .size = 12345 }), 0);
	assert_int_equal(out->attr.size, 12345);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_SIZE | FATTR_FH, .size = 99, .fh = fh }), 0);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_SIZE | FATTR_FH, .size = 99, .fh = 777 }), -EBADF);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_SIZE, .size = UINT64_MAX }), -EINVAL);
	assert_int_equal(set_attr(ROOT, (struct fuse_setattr_in){ .valid = FATTR_SIZE }), -EISDIR);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_MODE | FATTR_MTIME | FATTR_ATIME, .mode = S_IFREG | 0701,
		.mtime = 1000, .mtimensec = 5, .atime = 2000, .atimensec = 7 }), 0);
	st = host_stat("f");
	assert_int_equal(st.st_size, 99);
	assert_int_equal(st.st_mode, S_IFREG | 0701);
	assert_int_equal(st.st_mtim.tv_sec, 1000);
	assert_int_equal(st.st_mtim.tv_nsec, 5);
	assert_int_equal(st.st_atim.tv_sec, 2000);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_MTIME | FATTR_MTIME_NOW }), 0);
	assert_true(host_stat("f").st_mtim.tv_sec > 1000000);
	assert_int_equal(ASK(FUSE_GETATTR, node, get, NULL, 0), 0);
	assert_int_equal(out->attr.size, 99);
	assert_int_equal(out->attr.ino, st.st_ino);

	/* The process's own umask is not the guest's. */
	umask(077);
	assert_int_equal(mkdir_node(ROOT, "wide", 01777), 0);
	assert_int_equal(create(ROOT, "open", O_RDWR, 0666, NULL), 0);
	assert_int_equal(mknod_node(ROOT, "pipe", S_IFIFO | 0622), 0);
	umask(022);
	assert_int_equal(host_stat("wide").st_mode, S_IFDIR | 01777);
	assert_int_equal(host_stat("open").st_mode, S_IFREG | 0666);
	assert_int_equal(host_stat("pipe").st_mode, S_IFIFO | 0622);
	/* A directory's group goes on to what is made in it. */
	assert_int_equal(chmod(host_path("wide"), 02777), 0);
	assert_int_equal(mkdir_node(lookup(ROOT, "wide"), "sub", 0755), 0);
	assert_int_equal(host_stat("wide/sub").st_mode, S_IFDIR | 02755);
}

static void io_calls(void **state)
{
	struct fuse_lseek_in seek = { .offset = 0, .whence = SEEK_DATA };
	struct fuse_copy_file_range_in copy = { .len = 1 << 30 };
	struct fuse_fallocate_in allocate = { .offset = 0, .length = 8192 };
	struct fuse_fsync_in sync = { 0 };
	struct fuse_flush_in flush = { 0 };
	uint64_t a, b, node, dir;

	assert_int_equal(create(ROOT, "a", O_RDWR, 0644, &a), 0);
	node = entry()->nodeid;
	assert_int_equal(create(ROOT, "b", O_RDWR, 0644, &b), 0);
	assert_int_equal(write_file(node, a, 1 << 20, "data", 4, 0), 0);
	seek.fh = a;
	assert_int_equal(ASK(FUSE_LSEEK, node, seek, NULL, 0), 0);
	assert_int_equal(((const struct fuse_lseek_out *)reply)->offset, 1 << 20);
	seek.offset = 1 << 21;
	assert_int_equal(ASK(FUSE_LSEEK, node, seek, NULL, 0), -ENXIO);
	seek.whence = 17;
	assert_int_equal(ASK(FUSE_LSEEK, node, seek, NULL, 0), -EINVAL);

	copy.fh_in = a;
	copy.fh_out = b;
	copy.nodeid_out = lookup(ROOT, "b");
	assert_int_equal(ASK(FUSE_COPY_FILE_RANGE, node, copy, NULL, 0), 0);
	assert_int_equal(((const struct fuse_write_out *)reply)->size, (1 << 20) + 4);
	copy.flags = 1;
	assert_int_equal(ASK(FUSE_COPY_FILE_RANGE, node, copy, NULL, 0), -EINVAL);
	copy.flags = 0;
	copy.fh_out = 12345;
	assert_int_equal(ASK(FUSE_COPY_FILE_RANGE, node, copy, NULL, 0), -EBADF);

	allocate.fh = b;
	allocate.offset = 2 << 20;
	assert_int_equal(ASK(FUSE_FALLOCATE, node, allocate, NULL, 0), 0);
	assert_int_equal(host_stat("b").st_size, (2 << 20) + 8192);
	allocate.length = UINT64_MAX;
	assert_int_equal(ASK(FUSE_FALLOCATE, node, allocate, NULL, 0), -EINVAL);

	assert_int_equal(open_node(FUSE_OPENDIR, ROOT, 0, &dir), 0);
	for (unsigned int i = 0; i < 3; i++) {
		sync.fh = flush.fh = i == 0 ? a : i == 1 ? dir : 4711;
		assert_int_equal(ASK(i == 1 ? FUSE_FSYNCDIR : FUSE_FSYNC, node, sync, NULL, 0),
				 i == 2 ? -EBADF : 0);
		assert_int_equal(ASK(FUSE_FLUSH, node, flush, NULL, 0), i == 2 ? -EBADF : 0);
	}
	assert_int_equal(ask(FUSE_SYNCFS, ROOT, NULL, 0, NULL, 0), 0);
	assert_int_equal(ask(FUSE_STATFS, ROOT, NULL, 0, NULL, 0), 0);
	assert_true(((const struct fuse_statfs_out *)reply)->st.blocks > 0);
	/* A directory's handle is no file's, and the other way round. */
	assert_int_equal(read_file(ROOT, dir, 0, 100), -EBADF);
	assert_int_equal(write_file(ROOT, dir, 0, "x", 1, 0), -EBADF);
	assert_int_equal(ask(FUSE_READDIR, node, &(struct fuse_read_in){ .fh = a, .size = 4096 },
			     sizeof(struct fuse_read_in), NULL, 0), -ENOTDIR);
	/* What we do not have. */
	assert_int_equal(ask(FUSE_POLL, node, &(struct fuse_poll_in){ .fh = a },
			     sizeof(struct fuse_poll_in), NULL, 0), -ENOSYS);
	assert_int_equal(ask(FUSE_SETUPMAPPING, node, NULL, 0, NULL, 0), -ENOSYS);
	assert_int_equal(ask(FUSE_IOCTL, node, NULL, 0, NULL, 0), -ENOTTY);
	assert_int_equal(ask(0, node, NULL, 0, NULL, 0), -ENOSYS);
	assert_int_equal(ask(UINT32_MAX, node, NULL, 0, NULL, 0), -ENOSYS);
	assert_int_equal(ask(FUSE_INTERRUPT, 0, &(struct fuse_interrupt_in){ 1 }, 8, NULL, 0), 1);
}

/* Reads a whole directory with requests of so much room; counts the names f0, f1, … */
static unsigned int read_directory(bool plus, uint32_t room, uint64_t fh, bool *dots)
{
	struct fuse_read_in in = { .fh = fh, .size = room };
	unsigned int seen = 0;

	*dots = false;
	for (unsigned int turns = 0; turns < 10000; turns++) {
		int ret = ASK(plus ? FUSE_READDIRPLUS : FUSE_READDIR, ROOT, in, NULL, 0);
		size_t at = 0;

		if (ret == -EINVAL)
			return UINT32_MAX;
		assert_int_equal(ret, 0);
		assert_true(answer_size <= room);
		if (!answer_size)
			return seen;
		while (at < answer_size) {
			const struct fuse_direntplus *p = (const void *)(reply + at);
			const struct fuse_dirent *d = plus ? &p->dirent : (const void *)p;

			if (d->name[0] == 'f') {
				seen++;
				assert_int_equal(d->type, DT_REG);
				if (plus) {
					assert_true(p->entry_out.nodeid > ROOT);
					assert_int_equal(p->entry_out.attr.ino, d->ino);
					assert_int_equal(p->entry_out.attr.size, 3);
				}
			} else {
				*dots = true;
				/* What is above the root is not said. */
				assert_int_equal(d->ino, host_stat(".").st_ino);
				if (plus)
					assert_int_equal(p->entry_out.nodeid, 0);
			}
			in.offset = d->off;
			at += plus ? FUSE_DIRENTPLUS_SIZE(p) : FUSE_DIRENT_SIZE(d);
		}
		assert_int_equal(at, answer_size);
	}
	fail_msg("a directory without end");
	return 0;
}

static void directories(void **state)
{
	struct fuse_read_in in = { .size = 4096 };
	char name[16];
	uint64_t fh;
	bool dots;

	for (unsigned int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		host_write(host_path(name), "abc");
	}
	assert_int_equal(open_node(FUSE_OPENDIR, ROOT, 0, &fh), 0);
	assert_int_equal(read_directory(false, 4096, fh, &dots), 300);
	assert_true(dots);
	assert_int_equal(read_directory(false, 65536, fh, &dots), 300);
	assert_int_equal(read_directory(false, 100, fh, &dots), 300);
	assert_int_equal(read_directory(true, 4096, fh, &dots), 300);
	assert_int_equal(read_directory(true, 200, fh, &dots), 300);
	/* Not even one entry fits. */
	assert_int_equal(read_directory(true, 20, fh, &dots), UINT32_MAX);
	/* Offsets that nobody gave out end, one way or the other. */
	for (unsigned int i = 0; i < 64; i++) {
		in.fh = fh;
		in.offset = 0x9e3779b97f4a7c15ull << i;
		ASK(FUSE_READDIRPLUS, ROOT, in, NULL, 0);
	}
	assert_int_equal(open_node(FUSE_OPENDIR, lookup(ROOT, "f0"), 0, &fh), -ENOTDIR);
	assert_int_equal(open_node(FUSE_OPEN, ROOT, 0, &fh), -EISDIR);
}

static void names(void **state)
{
	uint64_t dir, node;

	assert_int_equal(mkdir_node(ROOT, "d", 0755), 0);
	dir = entry()->nodeid;
	assert_int_equal(create(dir, "f", O_RDWR, 0644, NULL), 0);
	node = entry()->nodeid;
	assert_int_equal(mkdir_node(ROOT, "d", 0755), -EEXIST);
	assert_int_equal(ask_name(FUSE_RMDIR, ROOT, "d"), -ENOTEMPTY);
	assert_int_equal(ask_name(FUSE_UNLINK, ROOT, "d"), -EISDIR);
	/* Two names of one file are one file. */
	assert_int_equal(link_node(node, ROOT, "g"), 0);
	assert_int_equal(entry()->nodeid, node);
	assert_int_equal(entry()->attr.nlink, 2);
	assert_int_equal(link_node(dir, ROOT, "h"), -EPERM);
	assert_int_equal(link_node(99999, ROOT, "h"), -ESTALE);
	assert_int_equal(rename_node(dir, "f", ROOT, "g", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename_node(dir, "f", ROOT, "h", RENAME_NOREPLACE), 0);
	assert_int_equal(rename_node(ROOT, "h", ROOT, "d", RENAME_EXCHANGE), 0);
	assert_int_equal(lookup(ROOT, "h"), dir);
	assert_int_equal(rename_node(ROOT, "h", ROOT, "d", RENAME_WHITEOUT), -EINVAL);
	assert_int_equal(rename_node(ROOT, "h", 424242, "d", 0), -ESTALE);
	assert_int_equal(rename_node(ROOT, "h", node, "d", 0), -ENOTDIR);
	assert_int_equal(ask_name(FUSE_RMDIR, ROOT, "h"), 0);

	assert_int_equal(symlink_node(ROOT, "s", "some/where"), 0);
	assert_int_equal(entry()->attr.mode & S_IFMT, S_IFLNK);
	node = entry()->nodeid;
	assert_int_equal(ask(FUSE_READLINK, node, NULL, 0, NULL, 0), 0);
	assert_int_equal(answer_size, 10);
	assert_memory_equal(reply, "some/where", 10);
	assert_int_equal(ask_room(FUSE_READLINK, node, NULL, 0, NULL, 0, 9), -ENAMETOOLONG);
	assert_int_equal(ask(FUSE_READLINK, ROOT, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(symlink_node(ROOT, "t", ""), -ENOENT);
	check_outside();
}

static void extended_attributes(void **state)
{
	const struct fuse_getxattr_out *out = (const void *)reply;
	struct fuse_getxattr_in get = { .size = 100 };
	struct { uint32_t size, flags; } set = { .size = 5 };
	uint64_t node;
	char probe;

	assert_int_equal(create(ROOT, "x", O_RDWR, 0644, NULL), 0);
	node = entry()->nodeid;
	if (setxattr(host_path("x"), "user.probe", "1", 1, 0) && errno == EOPNOTSUPP)
		skip();
	assert_int_equal(ASK(FUSE_SETXATTR, node, set, "user.a\0value", 12), 0);
	assert_int_equal(getxattr(host_path("x"), "user.a", &probe, 0), 5);
	assert_int_equal(ASK(FUSE_GETXATTR, node, get, "user.a", 7), 0);
	assert_int_equal(answer_size, 5);
	assert_memory_equal(reply, "value", 5);
	get.size = 4;
	assert_int_equal(ASK(FUSE_GETXATTR, node, get, "user.a", 7), -ERANGE);
	get.size = 0;
	assert_int_equal(ASK(FUSE_GETXATTR, node, get, "user.a", 7), 0);
	assert_int_equal(out->size, 5);
	assert_int_equal(ASK(FUSE_GETXATTR, node, get, "user.none", 10), -ENODATA);
	assert_int_equal(ASK(FUSE_LISTXATTR, node, get, NULL, 0), 0);
	assert_int_equal(out->size, 11 + 7);
	assert_int_equal(ask_name(FUSE_REMOVEXATTR, node, "user.a"), 0);
	assert_int_equal(ask_name(FUSE_REMOVEXATTR, node, "user.a"), -ENODATA);
	/* Values that are not there, and names that mean something to the host. */
	set.size = 100;
	assert_int_equal(ASK(FUSE_SETXATTR, node, set, "user.a\0value", 12), -EINVAL);
	set.size = 5;
	assert_int_equal(ASK(FUSE_SETXATTR, node, set, "security.capability\0value", 25),
			 -EOPNOTSUPP);
	assert_int_equal(ASK(FUSE_SETXATTR, node, set, "trusted.a\0value", 15), -EOPNOTSUPP);
	assert_int_equal(ASK(FUSE_GETXATTR, node, get, "security.selinux", 17), -ENODATA);
	assert_int_equal(ask_name(FUSE_REMOVEXATTR, node, "system.posix_acl_access"), -EOPNOTSUPP);
	assert_int_equal(ASK(FUSE_SETXATTR, node, set, "user.a", 6), -EINVAL);
}

/* ------------------------------------------------------------------ a hostile guest */

static void ways_out(void **state)
{
	static const char *const bad[] = {
		"", ".", "..", "/", "/etc", "../secret", "d/..", "d/f", "./x", "x/",
	};
	char long_name[300];
	uint64_t dir, file;

	assert_int_equal(mkdir_node(ROOT, "d", 0755), 0);
	dir = entry()->nodeid;
	assert_int_equal(create(ROOT, "victim", O_RDWR, 0644, NULL), 0);
	file = entry()->nodeid;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *name = bad[i];

		assert_int_equal(ask_name(FUSE_LOOKUP, dir, name), -EINVAL);
		assert_int_equal(create(dir, name, O_RDWR, 0644, NULL), -EINVAL);
		assert_int_equal(mkdir_node(dir, name, 0755), -EINVAL);
		assert_int_equal(mknod_node(dir, name, S_IFREG | 0644), -EINVAL);
		assert_int_equal(symlink_node(dir, name, "t"), -EINVAL);
		assert_int_equal(link_node(file, dir, name), -EINVAL);
		assert_int_equal(ask_name(FUSE_UNLINK, dir, name), -EINVAL);
		assert_int_equal(ask_name(FUSE_RMDIR, dir, name), -EINVAL);
		assert_int_equal(rename_node(ROOT, "victim", dir, name, 0), -EINVAL);
		assert_int_equal(rename_node(dir, name, ROOT, "stolen", 0), -EINVAL);
	}
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, long_name), -ENAMETOOLONG);
	assert_int_equal(mkdir_node(ROOT, long_name, 0755), -ENAMETOOLONG);
	/* Names without an end, and fewer of them than there should be. */
	assert_int_equal(ask(FUSE_LOOKUP, ROOT, NULL, 0, "victim", 6), -EINVAL);
	assert_int_equal(ask(FUSE_LOOKUP, ROOT, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(ask(FUSE_SYMLINK, ROOT, NULL, 0, "one\0two", 7), -EINVAL);
	assert_int_equal(ask(FUSE_SYMLINK, ROOT, NULL, 0, "one", 4), -EINVAL);
	assert_int_equal(ask_name(FUSE_UNLINK, ROOT, "victim"), 0);
	check_outside();
}

static void symbolic_links(void **state)
{
	char target[100];
	uint64_t up, secret, fh;

	snprintf(target, sizeof(target), "%s/secret", outside);
	assert_int_equal(symlink_node(ROOT, "up", ".."), 0);
	up = entry()->nodeid;
	assert_int_equal(symlink_node(ROOT, "secret", target), 0);
	secret = entry()->nodeid;
	/* A link is a link, and nothing is beneath or behind it. */
	assert_int_equal(ask_name(FUSE_LOOKUP, up, "secret"), -ENOTDIR);
	assert_int_equal(create(up, "new", O_RDWR, 0644, NULL), -ENOTDIR);
	assert_int_equal(mkdir_node(up, "new", 0755), -ENOTDIR);
	assert_int_equal(ask_name(FUSE_UNLINK, up, "secret"), -ENOTDIR);
	assert_int_equal(rename_node(ROOT, "secret", up, "x", 0), -ENOTDIR);
	assert_int_equal(open_node(FUSE_OPEN, secret, O_RDONLY, &fh), -ENXIO);
	assert_int_equal(open_node(FUSE_OPENDIR, up, O_RDONLY, &fh), -ENOTDIR);
	assert_true(create(ROOT, "secret", O_RDWR | O_TRUNC, 0644, NULL) < 0);
	assert_true(set_attr(secret, (struct fuse_setattr_in){ .valid = FATTR_SIZE }) < 0);
	set_attr(secret, (struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 0 });
	assert_int_equal(set_attr(secret, (struct fuse_setattr_in){ .valid = FATTR_MTIME }), 0);
	/* A hard link of it is a link too. */
	assert_int_equal(link_node(secret, ROOT, "again"), 0);
	assert_int_equal(entry()->attr.mode & S_IFMT, S_IFLNK);
	check_outside();
	snprintf(target, sizeof(target), "%s/secret", outside);
	{
		struct stat st;

		assert_int_equal(stat(target, &st), 0);
		assert_true(st.st_mode & 0400);
		assert_true(st.st_mtime > 1000);
	}
	/* What the host puts in the directory's place meanwhile does not lead out either. */
	assert_int_equal(mkdir_node(ROOT, "dir", 0755), 0);
	up = entry()->nodeid;
	assert_int_equal(rmdir(host_path("dir")), 0);
	assert_int_equal(symlink(outside, host_path("dir")), 0);
	assert_int_equal(ask_name(FUSE_LOOKUP, up, "secret"), -ENOENT);
	assert_int_equal(create(up, "new", O_RDWR, 0644, NULL), -ENOENT);
	check_outside();
}

static void special_files(void **state)
{
	uint64_t fh;

	assert_int_equal(mknod_node(ROOT, "null", S_IFCHR | 0666), -EPERM);
	assert_int_equal(mknod_node(ROOT, "disk", S_IFBLK | 0666), -EPERM);
	assert_int_equal(mknod_node(ROOT, "what", 0150000 | 0666), -EPERM);
	assert_int_equal(mknod_node(ROOT, "pipe", S_IFIFO | 0666), 0);
	/* Opening it here would wait for ever. */
	assert_int_equal(open_node(FUSE_OPEN, entry()->nodeid, O_RDONLY, &fh), -ENXIO);
	assert_int_equal(create(ROOT, "pipe", O_WRONLY, 0644, NULL), -EEXIST);
	assert_int_equal(mknod_node(ROOT, "socket", S_IFSOCK | 0666), 0);
	if (!mknod(host_path("zero"), S_IFCHR | 0666, 0x105)) {
		uint64_t node = lookup(ROOT, "zero");

		assert_int_equal(entry()->attr.rdev, 0x105);
		assert_int_equal(open_node(FUSE_OPEN, node, O_RDONLY, &fh), -ENXIO);
		assert_int_equal(create(ROOT, "zero", O_RDONLY, 0644, NULL), -EEXIST);
	}
}

static void privileges(void **state)
{
	struct fuse_write_in in = { .size = 1, .write_flags = FUSE_WRITE_KILL_SUIDGID };
	uint64_t node, fh;

	assert_int_equal(create(ROOT, "su", O_RDWR, 04755, NULL), -EPERM);
	assert_int_equal(create(ROOT, "sg", O_RDWR, 02755, NULL), -EPERM);
	assert_int_equal(mknod_node(ROOT, "su", S_IFREG | 04755), -EPERM);
	assert_int_equal(create(ROOT, "f", O_RDWR, 0755, &fh), 0);
	node = entry()->nodeid;
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_MODE, .mode = 04755 }), -EPERM);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_MODE, .mode = 02711 }), -EPERM);
	/* Locking, not privilege. */
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_MODE, .mode = 02644 }), 0);
	/* The host's own setuid program loses it when the guest writes. */
	assert_int_equal(chmod(host_path("f"), 04755), 0);
	in.fh = fh;
	assert_int_equal(ASK(FUSE_WRITE, node, in, "x", 1), 0);
	assert_int_equal(host_stat("f").st_mode & 07777, 0755);
}

static void numbers(void **state)
{
	struct { struct fuse_batch_forget_in in; struct fuse_forget_one one[3]; } batch = {
		.in.count = 1000,
	};
	uint64_t a, b, fh;

	host_write(host_path("a"), "a");
	host_write(host_path("b"), "b");
	a = lookup(ROOT, "a");
	assert_int_equal(lookup(ROOT, "a"), a);
	b = lookup(ROOT, "b");
	assert_true(a != b);
	assert_int_equal(open_node(FUSE_OPEN, a, O_RDONLY, &fh), 0);
	/* Two lookups, so one forget leaves it. */
	forget(a, 1);
	assert_int_equal(ask(FUSE_STATFS, a, NULL, 0, NULL, 0), 0);
	forget(a, UINT64_MAX);
	assert_int_equal(ask(FUSE_STATFS, a, NULL, 0, NULL, 0), -ESTALE);
	forget(a, 1);
	/* What is open stays open. */
	assert_int_equal(read_file(b, fh, 0, 10), 0);
	assert_int_equal(answer_size, 1);
	/* A number is never another file's. */
	assert_true(lookup(ROOT, "a") > b);
	batch.one[0] = (struct fuse_forget_one){ b, 1 };
	batch.one[1] = (struct fuse_forget_one){ ROOT, UINT64_MAX };
	batch.one[2] = (struct fuse_forget_one){ UINT64_MAX, 1 };
	assert_int_equal(ASK(FUSE_BATCH_FORGET, 0, batch, NULL, 0), 1);
	assert_int_equal(ask(FUSE_STATFS, b, NULL, 0, NULL, 0), -ESTALE);
	assert_int_equal(ask(FUSE_STATFS, ROOT, NULL, 0, NULL, 0), 0);
	for (uint64_t i = 0; i < 64; i++)
		if (1ull << i != ROOT)
			assert_int_equal(ask(FUSE_STATFS, 1000ull << i, NULL, 0, NULL, 0), -ESTALE);
	assert_int_equal(read_file(ROOT, UINT64_MAX, 0, 10), -EBADF);
	fs_reset(fs);
	assert_int_equal(init_session(7, 31, 0), 0);
	assert_int_equal(read_file(ROOT, fh, 0, 10), -EBADF);
	assert_true(lookup(ROOT, "a") > fh);
}

static void limits(void **state)
{
	uint64_t fh, nodes[3];
	char name[8];

	fs_destroy(fs);
	open_share(false, 3);
	for (unsigned int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		host_write(host_path(name), "x");
	}
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		nodes[i] = lookup(ROOT, name);
	}
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, "f3"), -ENFILE);
	assert_int_equal(open_node(FUSE_OPEN, nodes[0], O_RDONLY, &fh), -ENFILE);
	assert_int_equal(create(ROOT, "new", O_RDWR, 0644, NULL), -ENFILE);
	assert_int_equal(lookup(ROOT, "f2"), nodes[2]);
	forget(nodes[1], 1);
	assert_int_equal(open_node(FUSE_OPEN, nodes[0], O_RDONLY, &fh), 0);
	assert_int_equal(ask_name(FUSE_LOOKUP, ROOT, "f1"), -ENFILE);
	assert_int_equal(release(fh), 0);
	lookup(ROOT, "f1");
}

static void read_only(void **state)
{
	struct fuse_fallocate_in allocate = { .length = 1 };
	struct fuse_copy_file_range_in copy = { .len = 1 };
	struct { uint32_t size, flags; } set = { 0 };
	uint64_t node, fh;

	host_write(host_path("f"), "text");
	fs_destroy(fs);
	open_share(true, 100);
	node = lookup(ROOT, "f");
	assert_int_equal(open_node(FUSE_OPEN, node, O_RDWR, &fh), -EROFS);
	assert_int_equal(open_node(FUSE_OPEN, node, O_WRONLY, &fh), -EROFS);
	assert_int_equal(open_node(FUSE_OPEN, node, O_RDONLY | O_TRUNC, &fh), -EROFS);
	assert_int_equal(open_node(FUSE_OPEN, node, O_RDONLY, &fh), 0);
	assert_int_equal(read_file(node, fh, 0, 10), 0);
	assert_int_equal(write_file(node, fh, 0, "x", 1, 0), -EROFS);
	assert_int_equal(create(ROOT, "n", O_RDONLY, 0644, NULL), -EROFS);
	assert_int_equal(mkdir_node(ROOT, "n", 0755), -EROFS);
	assert_int_equal(mknod_node(ROOT, "n", S_IFREG), -EROFS);
	assert_int_equal(symlink_node(ROOT, "n", "t"), -EROFS);
	assert_int_equal(link_node(node, ROOT, "n"), -EROFS);
	assert_int_equal(ask_name(FUSE_UNLINK, ROOT, "f"), -EROFS);
	assert_int_equal(ask_name(FUSE_RMDIR, ROOT, "f"), -EROFS);
	assert_int_equal(rename_node(ROOT, "f", ROOT, "n", 0), -EROFS);
	assert_int_equal(ask(FUSE_RENAME, ROOT, &(uint64_t){ ROOT }, 8, "f\0n", 4), -EROFS);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){ .valid = FATTR_SIZE }), -EROFS);
	assert_int_equal(ASK(FUSE_FALLOCATE, node, allocate, NULL, 0), -EROFS);
	assert_int_equal(ASK(FUSE_COPY_FILE_RANGE, node, copy, NULL, 0), -EROFS);
	assert_int_equal(ASK(FUSE_SETXATTR, node, set, "user.a", 7), -EROFS);
	assert_int_equal(ask_name(FUSE_REMOVEXATTR, node, "user.a"), -EROFS);
	assert_string_equal(host_read(host_path("f")), "text");
}

/* As a user who is not root: that user is the guest's root. */
static void owners(void **state)
{
	struct stat st;
	uint64_t node;

	fs_destroy(fs);
	fs = NULL;
	if (!geteuid()) {
		/* Root first: numbers are the same on both sides. */
		open_share(false, 100);
		assert_int_equal(create(ROOT, "r", O_RDWR, 0644, NULL), 0);
		node = entry()->nodeid;
		assert_int_equal(set_attr(node, (struct fuse_setattr_in){
			.valid = FATTR_UID | FATTR_GID, .uid = 1234, .gid = 77 }), 0);
		st = host_stat("r");
		assert_int_equal(st.st_uid, 1234);
		assert_int_equal(st.st_gid, 77);
		fs_destroy(fs);
		fs = NULL;
		assert_int_equal(chown(share, 4321, 4321), 0);
		assert_int_equal(setegid(4321), 0);
		assert_int_equal(seteuid(4321), 0);
	}
	open_share(false, 100);
	assert_int_equal(create(ROOT, "mine", O_RDWR, 0644, NULL), 0);
	node = entry()->nodeid;
	assert_int_equal(entry()->attr.uid, 0);
	assert_int_equal(entry()->attr.gid, 0);
	assert_int_equal(host_stat("mine").st_uid, geteuid());
	/* To itself is allowed, to another not possible. */
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_UID | FATTR_GID, .uid = 0, .gid = 0 }), 0);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_UID, .uid = 1000 }), -EPERM);
	assert_int_equal(set_attr(node, (struct fuse_setattr_in){
		.valid = FATTR_GID, .gid = 1000 }), -EPERM);
	if (!getuid()) {
		lookup(ROOT, "r");
		assert_int_equal(entry()->attr.uid, 65534);
		assert_int_equal(entry()->attr.gid, 65534);
		assert_int_equal(seteuid(0), 0);
		assert_int_equal(setegid(0), 0);
	}
}

/* What is mounted beneath the directory is not in it. In a process of its own, for the mount. */
static void mounts(void **state)
{
	pid_t pid;
	int status;

	assert_int_equal(mkdir_node(ROOT, "m", 0755), 0);
	pid = fork();
	if (!pid) {
		struct fuse_read_in in = { .size = 4096 };
		uint64_t dir;

		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", host_path("m"), "tmpfs", 0, NULL))
			_exit(77);
		/* The server's descriptors are of the other name space: begin again. */
		open_share(false, 100);
		if (ask_name(FUSE_LOOKUP, ROOT, "m") != -EACCES ||
		    mkdir_node(ROOT, "m", 0755) != -EEXIST ||
		    open_node(FUSE_OPENDIR, ROOT, 0, &dir))
			_exit(1);
		/* The name is there, without what it stands for. */
		in.fh = dir;
		if (ASK(FUSE_READDIRPLUS, ROOT, in, NULL, 0) || !answer_size)
			_exit(2);
		/* With a kernel that is older than openat2(). */
		fs->no_openat2 = true;
		if (ask_name(FUSE_LOOKUP, ROOT, "m") != -EACCES ||
		    create(ROOT, "m", O_RDONLY, 0644, NULL) >= 0 ||
		    create(ROOT, "f", O_RDONLY, 0644, NULL) ||
		    ask_name(FUSE_LOOKUP, ROOT, "..") != -EINVAL)
			_exit(3);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

/* Requests cut short, stretched and of random contents: an answer or none, and nothing else. */
static void malformed(void **state)
{
	uint64_t seed = 88172645463325252ull;
	uint8_t args[512];
	uint64_t fh;

	create(ROOT, "f", O_RDWR, 0644, &fh);
	open_node(FUSE_OPENDIR, ROOT, 0, &fh);
	for (unsigned int n = 0; n < 40000; n++) {
		size_t size, room;
		uint32_t opcode;

		for (size_t i = 0; i < sizeof(args); i += 8) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			/* Small numbers, large numbers, and bits that have a meaning. */
			memcpy(args + i, &(uint64_t){ seed & 1 ? seed >> 60 : seed & 2 ?
				seed : seed & 4 ? 0 : 1ull << (seed >> 58) }, 8);
		}
		opcode = n % 53;
		size = seed >> 20 & 127;
		room = seed >> 30 & 1 ? 4096 : seed >> 40 & 255;
		/* Sizes of hours of work are no mistake of the server's. */
		if (opcode == FUSE_FALLOCATE || opcode == FUSE_DESTROY)
			continue;
		if (seed >> 50 & 1)
			ask_room(opcode, seed >> 55 & 3, args, size, "name\0other", 11, room);
		else
			ask_room(opcode, seed >> 55 & 3, args, size, NULL, 0, room);
		/* Lengths that are not so, and no room for an answer. */
		if (!(n % 16)) {
			const struct iovec out = { args, 40 + size % 40 };
			const struct iovec in = { answer, seed >> 33 & 31 };

			memcpy(args, &(uint32_t){ (uint32_t)(seed >> 35) & 127 }, 4);
			memcpy(args + 4, &opcode, 4);
			assert_true(fs_serve(fs, &out, 1, &in, 1) <= in.iov_len);
			assert_int_equal(fs_serve(fs, &out, 1, NULL, 0), 0);
			assert_int_equal(fs_serve(fs, NULL, 0, &in, 1), 0);
		}
	}
	check_outside();
}

/* ------------------------------------------------------------------ the device */

#define SLOT		1
#define REQ		DRIVER_BUFFERS
#define ANS		(DRIVER_BUFFERS + 0x10000)

static struct fake_machine *fm;
static struct driver d;

static int setup_device(void **state)
{
	struct share_config config = { .path = share, .tag = "files" };
	struct vmm_error error = { "" };

	make_directories(state);
	fm = fake_machine_create(1);
	if (virtio_fs_create(&fm->m, &config, &error))
		fail_msg("%s", error.text);
	fake_machine_reset(fm);
	driver_find(&d, fm, SLOT);
	return 0;
}

static int teardown_device(void **state)
{
	fake_machine_destroy(fm);
	return remove_directories(state);
}

/* A request by the queue, cut into odd pieces. Returns the length that the used ring says. */
static uint32_t device_ask(unsigned int queue, uint32_t opcode, uint64_t node, const void *args,
			   uint32_t size, uint32_t room)
{
	struct fuse_in_header header = {
		.len = (uint32_t)sizeof(header) + size, .opcode = opcode, .nodeid = node,
	};
	struct driver_buffer buffers[] = {
		{ REQ, 3, false }, { REQ + 3, header.len - 3, false },
		{ ANS, 1, true }, { ANS + 1, room - 1, true },
	};
	uint32_t length = UINT32_MAX;

	memcpy(fake_ram(fm, REQ, sizeof(header)), &header, sizeof(header));
	memcpy(fake_ram(fm, REQ + sizeof(header), size), args, size);
	driver_add(&d, queue, buffers, room ? 4 : 2);
	driver_notify(&d, queue);
	fake_settle(fm);
	assert_true(driver_used(&d, queue, NULL, &length));
	return length;
}

static int device_error(void)
{
	return ((struct fuse_out_header *)fake_ram(fm, ANS, 16))->error;
}

static void device_start(void)
{
	struct fuse_init_in init = { .major = 7, .minor = 31 };

	driver_start(&d, UINT64_MAX, 2);
	assert_int_equal(device_ask(1, FUSE_INIT, 0, &init, sizeof(init), 4096), 16 + 64);
	assert_int_equal(device_error(), 0);
}

static void device(void **state)
{
	struct fuse_forget_in forget_in = { 1 };
	struct state_buf saved = { 0 };
	struct device *dev;
	char tag[36];

	for (unsigned int i = 0; i < sizeof(tag); i++)
		tag[i] = (char)fake_read(fm, d.device + i, 1);
	assert_string_equal(tag, "files");
	assert_int_equal(fake_read(fm, d.device + 36, 4), 1);
	host_write(host_path("f"), "text");
	device_start();
	assert_int_equal(device_ask(1, FUSE_LOOKUP, ROOT, "f", 2, 4096), 16 + 128);
	assert_int_equal(device_ask(1, FUSE_LOOKUP, ROOT, "g", 2, 4096), 16);
	assert_int_equal(device_error(), -ENOENT);
	assert_int_equal(device_ask(0, FUSE_FORGET, 2, &forget_in, sizeof(forget_in), 0), 0);
	/* No room for the whole of an answer, or for any. */
	assert_int_equal(device_ask(1, FUSE_LOOKUP, ROOT, "f", 2, 100), 16);
	assert_int_equal(device_error(), -ENOSPC);
	assert_int_equal(device_ask(1, FUSE_LOOKUP, ROOT, "f", 2, 15), 0);
	assert_false(driver_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);

	/* A snapshot: the session goes on, with other numbers. */
	fake_machine_pause(fm);
	dev = fake_device(fm, "virtio-fs0");
	fake_save(dev, &saved);
	fake_machine_reset(fm);
	fake_machine_pause(fm);
	assert_int_equal(fake_load(dev, &saved), 0);
	fake_machine_resume(fm);
	free(saved.data);
	assert_int_equal(device_ask(1, FUSE_LOOKUP, ROOT, "f", 2, 4096), 16 + 128);
	assert_true(((struct fuse_entry_out *)fake_ram(fm, ANS + 16, 128))->nodeid > 3);

	/* A reset ends the session. */
	driver_start(&d, UINT64_MAX, 2);
	assert_int_equal(device_ask(1, FUSE_LOOKUP, ROOT, "f", 2, 4096), 16);
	assert_int_equal(device_error(), -EIO);
}

/* Many requests at once, on both queues, and a reset in the middle of them. */
static void device_busy(void **state)
{
	struct fuse_in_header header = { .len = 42, .opcode = FUSE_LOOKUP, .nodeid = ROOT };
	struct driver_buffer buffers[] = { { REQ, 42, false }, { ANS, 0, true } };
	unsigned int used = 0;

	host_write(host_path("f"), "text");
	device_start();
	memcpy(fake_ram(fm, REQ, sizeof(header)), &header, sizeof(header));
	memcpy(fake_ram(fm, REQ + sizeof(header), 2), "f", 2);
	for (unsigned int i = 0; i < 500; i++) {
		buffers[1].addr = ANS + 256 * i;
		buffers[1].length = 256;
		driver_add(&d, 1, buffers, 2);
	}
	driver_notify(&d, 1);
	fake_settle(fm);
	while (driver_used(&d, 1, NULL, NULL))
		used++;
	assert_int_equal(used, 500);
	for (unsigned int i = 0; i < 500; i++) {
		driver_add(&d, 0, buffers, 2);
		driver_add(&d, 1, buffers, 2);
	}
	driver_notify(&d, 0);
	driver_notify(&d, 1);
	loop_step(fm->m.loop, 0);
	driver_set_status(&d, 0);
	fake_settle(fm);
	assert_int_equal(driver_status(&d), 0);
	device_start();
}

static void tags(void **state)
{
	struct share_config config = { .path = share };
	struct vmm_error error = { "" };
	struct virtio_device *vdev;

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(virtio_fs_create(&fm->m, &config, &error), 0);
		fake_machine_reset(fm);
		driver_find(&d, fm, SLOT + 1 + i);
		/* "files" is number 0. */
		assert_int_equal(fake_read(fm, d.device + 5, 1), '1' + i);
	}
	config.tag = "";
	assert_int_equal(virtio_fs_new(&fm->m, &config, &vdev, &error), -EINVAL);
	config.tag = "0123456789012345678901234567890123456";
	error.text[0] = 0;
	assert_int_equal(virtio_fs_new(&fm->m, &config, &vdev, &error), -EINVAL);
	assert_non_null(strstr(error.text, "1 to 36 bytes"));
	config = (struct share_config){ .path = "/nonexistent" };
	assert_int_equal(virtio_fs_new(&fm->m, &config, &vdev, &error), -ENOENT);
}

#define TEST(name)		cmocka_unit_test_setup_teardown(name, setup, remove_directories)
#define DEVICE_TEST(name)	cmocka_unit_test_setup_teardown(name, setup_device, teardown_device)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(session, make_directories, remove_directories),
		TEST(files), TEST(attributes), TEST(io_calls), TEST(directories), TEST(names),
		TEST(extended_attributes), TEST(ways_out), TEST(symbolic_links),
		TEST(special_files), TEST(privileges), TEST(numbers), TEST(limits),
		TEST(read_only), TEST(owners), TEST(mounts), TEST(malformed),
		DEVICE_TEST(device), DEVICE_TEST(device_busy), DEVICE_TEST(tags),
	};

	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
