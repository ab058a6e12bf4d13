/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A directory of the host, served by the FUSE protocol (linux/fuse.h, version 7.31 and later).
 *
 * The requests come from a guest, and so does everything in them. A guest gets at what lies beneath
 * the directory and at nothing else, whatever it asks for:
 *
 *  - each file that the guest knows is an O_PATH descriptor of ours, found from its directory's by
 *    a name of one component; ".." and names with a slash are refused, and symbolic links are the
 *    guest's to follow, never ours;
 *  - what is mounted beneath the directory is another file system and is not shared;
 *  - only regular files and directories are opened; device nodes are not made, setuid and setgid
 *    programs neither, and of the extended attributes only the user's own are passed on.
 *
 * Who owns what: where this process is root, user and group numbers are the same on both sides.
 * Elsewhere the process's user is the guest's root; other users' files belong to nobody there.
 */
#ifndef VMM_FS_FS_H
#define VMM_FS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/error.h"

/* The most that one request reads or writes, in pages of 4 KiB. */
#define FS_MAX_PAGES	256

struct fs;

/*
 * Prepares to serve the directory. At most max_files descriptors are kept for the guest: for what
 * it knows and for what it has open. Returns 0, or -errno with a line in error.
 */
int fs_create(const char *directory, bool readonly, unsigned int max_files, struct fs **fs,
	      struct vmm_error *error);
void fs_destroy(struct fs *fs);

/*
 * Serves one request, which may take as long as the host's disk does: out is what the guest wrote,
 * in is where the answer goes. Returns the bytes of the answer; 0 where there is none. Any thread,
 * several at once.
 */
size_t fs_serve(struct fs *fs, const struct iovec *out, unsigned int out_count,
		const struct iovec *in, unsigned int in_count);

/* Forgets all that the guest knew and had open: it was reset. Nothing is being served. */
void fs_reset(struct fs *fs);

/*
 * The next number for a file or handle. Numbers are never given out twice, also not after a
 * snapshot, so that a guest that still holds an old one gets an error and not another file.
 */
uint64_t fs_next_number(const struct fs *fs);
void fs_set_next_number(struct fs *fs, uint64_t number);

/* Whether the guest has begun a session (FUSE_INIT), for snapshots. */
bool fs_in_session(const struct fs *fs);
void fs_set_in_session(struct fs *fs, bool on);

#endif
