/* SPDX-License-Identifier: GPL-2.0-only */
/* The disk from which a guest's cloud-init learns what it is to be (its data source NoCloud). */
#ifndef CLI_CLOUD_INIT_H
#define CLI_CLOUD_INIT_H

#include "cli/config.h"

/* Makes it of the file that c->cloud_init names, and sets disk to it. Returns an exit status,
 * having complained. */
int cloud_init_disk(struct config *c, struct disk_config *disk);

#endif
