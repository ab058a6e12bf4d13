/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the FUSE server share; see fs.h for what it is. */
#ifndef VMM_FS_SERVER_H
#define VMM_FS_SERVER_H

#include <limits.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sys/stat.h>

#include "vmm/fs/fs.h"

/* ------------------------------------------------------------------ numbered things */

/* A hash table of structs by number, that grows with its contents. */
struct fs_link {
	uint64_t key;
	struct fs_link *next;
};

struct fs_table {
	struct fs_link **buckets;
	uint32_t size;		/* a power of two, or 0 */
	uint32_t count;
};

/* A file that the guest knows: it looked it up and has not forgotten it. */
struct fs_node {
	struct fs_link by_number;	/* key: what the guest calls it */
	struct fs_link by_inode;	/* key: of its device and inode numbers */
	dev_t dev;
	ino_t ino;
	mode_t type;			/* S_IFMT bits: an inode keeps its type */
	int fd;				/* O_PATH */
	uint64_t lookups;		/* the guest's references */
	unsigned int users;		/* requests that work with it */
};

/* A file or directory that the guest has open. */
struct fs_handle {
	struct fs_link by_number;
	int fd;
	bool directory;
	unsigned int users;		/* requests that work with it */
	bool released;			/* the last of them frees it */
	pthread_mutex_t position;	/* a directory's: it is set, then read from */
};

/* ------------------------------------------------------------------ the server */

struct fs {
	bool readonly;
	bool map_owners;		/* our user is the guest's root */
	uid_t uid;
	gid_t gid;
	int proc_fd;			/* /proc/self/fd, by which O_PATH descriptors are opened */
	bool no_openat2;
	unsigned int max_files;
	struct fs_node root;		/* in both tables, and never freed */

	/* Protects what follows, and the counts of nodes and handles. Nothing that the disk could
	 * delay is done under it. */
	pthread_mutex_t lock;
	struct fs_table nodes;		/* by number */
	struct fs_table inodes;		/* the same nodes by device and inode */
	struct fs_table handles;
	unsigned int files;		/* descriptors kept: nodes and handles */
	uint64_t next_number;

	bool in_session;		/* atomic */
};

/* A request, taken apart. */
struct fs_request {
	struct fs *fs;
	struct fuse_in_header header;
	struct fs_node *node;		/* that header.nodeid names */
	const uint8_t *args;		/* what follows the header, a copy */
	size_t args_size;
	const char *names[2];		/* that follow the operation's struct, checked */
	size_t strings_end;		/* in args */
	/* The whole of it as the guest wrote it, for data that is not copied. */
	const struct iovec *out;
	unsigned int out_count;
	uint64_t data_size;		/* bytes of data after the operation's struct */
	/* Where the answer goes, after its header. */
	const struct iovec *in;
	unsigned int in_count;
	uint64_t in_room;
	/* The answer of an operation that returned 0: this, or what it wrote itself. */
	union {
		struct {
			struct fuse_entry_out entry;
			struct fuse_open_out open;
		} create;
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
		struct fuse_write_out write;
		struct fuse_statfs_out statfs;
		struct fuse_getxattr_out xattr;
		struct fuse_lseek_out lseek;
		struct fuse_init_out init;
	} reply;
	size_t reply_size;		/* bytes of reply, or of what was written to in */
	bool written;			/* the operation wrote its answer to in */
};

/* Writes a part of the answer, at byte offset after its header. False: no room. */
bool fs_answer(struct fs_request *r, uint64_t offset, const void *data, size_t length);

/* ------------------------------------------------------------------ fs_node.c */

int fs_nodes_init(struct fs *fs);
/* Forgets all nodes but the root. */
void fs_nodes_drop(struct fs *fs);
void fs_nodes_destroy(struct fs *fs);

/* The node of a number, with a use of it to give back; NULL where the guest has no such. */
struct fs_node *fs_node_get(struct fs *fs, uint64_t number);
void fs_node_put(struct fs *fs, struct fs_node *node);

/*
 * Gives the guest a reference to the file behind an O_PATH descriptor, which is taken over, also on
 * failure; st is the file's. The guest may give the reference back at once, so what the caller gets
 * is a number and not the node.
 */
int fs_node_enter(struct fs *fs, int fd, const struct stat *st, uint64_t *number);
/* The guest gives back references. */
void fs_node_forget(struct fs *fs, uint64_t number, uint64_t lookups);

/* Takes over the descriptor, also on failure. */
int fs_handle_create(struct fs *fs, int fd, bool directory, uint64_t *number);
struct fs_handle *fs_handle_get(struct fs *fs, uint64_t number);
void fs_handle_put(struct fs *fs, struct fs_handle *handle);
/* The guest closes it. -EBADF: there is none. */
int fs_handle_release(struct fs *fs, uint64_t number);
void fs_handles_drop(struct fs *fs);

/* ------------------------------------------------------------------ fs_host.c */

/* Opens a name in a directory, itself and not what it may point to. Returns it or -errno. */
int fs_open_child(struct fs *fs, int directory, const char *name, int flags, mode_t mode);
/* Opens the file behind a descriptor once more, in another way. */
int fs_reopen(struct fs *fs, int fd, int flags);
/* "/proc/self/fd/N", for the calls that have no better way. */
#define FS_PROC_PATH	32
void fs_proc_path(int fd, char path[FS_PROC_PATH]);

/* Whether there may be such a file: no setuid and setgid programs. */
bool fs_mode_allowed(mode_t type, mode_t mode);
/* The guest's owner in the host's terms: 0 or -EPERM. */
int fs_host_owner(const struct fs *fs, uint32_t guest_uid, uint32_t guest_gid, uid_t *uid,
		  gid_t *gid);
void fs_fill_attr(const struct fs *fs, const struct stat *st, struct fuse_attr *attr);

/* ------------------------------------------------------------------ operations */

/* Each does what its request asks for. Returns 0 with an answer, or -errno. */
typedef int fs_operation(struct fs_request *r);

/* fs_name.c: names and attributes */
fs_operation fs_lookup, fs_getattr, fs_setattr, fs_readlink, fs_symlink, fs_mknod, fs_mkdir;
fs_operation fs_unlink, fs_rmdir, fs_rename, fs_rename2, fs_link_file, fs_create_file, fs_statfs;
fs_operation fs_setxattr, fs_getxattr, fs_listxattr, fs_removexattr;
/* Finds a name in a directory, for an answer that gives the guest a reference to it. */
int fs_lookup_name(struct fs *fs, struct fs_node *directory, const char *name,
		   struct fuse_entry_out *entry);

/* fs_io.c: what is open */
fs_operation fs_open, fs_read, fs_write, fs_flush, fs_release, fs_fsync, fs_lseek, fs_fallocate;
fs_operation fs_copy_file_range, fs_opendir, fs_readdir, fs_readdirplus, fs_syncfs;
/* What the guest's flags for open mean here; -errno for those that it may not use. */
int fs_open_flags(const struct fs *fs, uint32_t flags);
/* Takes setuid and setgid bits off a file that changes hands. */
void fs_kill_privileges(struct fs *fs, int fd);

#endif
