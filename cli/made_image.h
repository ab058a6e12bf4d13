/* SPDX-License-Identifier: GPL-2.0-only */
/* Images that anykvm makes itself, and the disks of machines that boot them. */
#ifndef CLI_MADE_IMAGE_H
#define CLI_MADE_IMAGE_H

#include <limits.h>
#include <stdbool.h>

#include "cli/config.h"

/* Whether anykvm makes an image of that name, and all of the names: "debian-12". */
bool made_image_is(const char *name);
extern const char made_image_names[];

/*
 * Finds the image that c->image names, having it made where there is none, and sets disk to the
 * one to boot: a machine with a name has one of its own, any other only reads the image's. Returns
 * an exit status, having complained.
 */
int made_image_disk(struct config *c, struct disk_config *disk);

/* What belongs to all of a user's machines ($XDG_DATA_HOME/anykvm, ~/.local/share/anykvm), followed
 * by rest. Returns false where the path would be too long. */
bool made_image_data(char path[PATH_MAX], const char *rest);

/* Whether a machine of that name has a disk of its own. */
bool made_image_has_disk(const char *name);

/* Removes the disk of a machine of that name. Returns 0, -ENOENT where it has none, or -errno. */
int made_image_forget(const char *name);

#endif
