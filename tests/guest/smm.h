/* SPDX-License-Identifier: GPL-2.0-only */
/* Where system management mode's own memory is, for both halves of its tests. */
#ifndef SMM_H
#define SMM_H

#define SMRAM		0xa0000		/* below 1 MiB, so that real-mode far transfers reach it */
#define SMRAM_SIZE	0x20000
#define SMM_ENTRY	0x8000		/* what follows is from SMBASE */
#define SMM_MAP		0xfe00
#define SMM_CODE	0x1000		/* the same address is code of the guest's in its own memory, */
#define SMM_DATA	0x2000		/* and data */
#define SMM_STRIDE	0x1000		/* from one vCPU's SMBASE to the next one's */

#endif
