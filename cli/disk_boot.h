/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Booting what a disk image has on it, without firmware: its kernel and initial RAM disk are read
 * from its ext2, ext3 or ext4 file systems, as its own boot loader would.
 */
#ifndef CLI_DISK_BOOT_H
#define CLI_DISK_BOOT_H

#include "cli/config.h"

/*
 * Finds the newest kernel on the image and puts it, its initial RAM disk and where its root is into
 * the configuration, as far as nothing is said of them there. Returns an exit status, having
 * complained.
 */
int disk_boot_find(struct config *c, const char *path, const char *format);

#endif
