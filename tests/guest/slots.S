/* SPDX-License-Identifier: GPL-2.0-only */
/* The guests' half of slots.c. */
#include "guest.h"
GROUP(slots)

	MODE64
	.globl	slot_readwrite
slot_readwrite:
	movl	MOVABLE, %eax
	movl	%eax, SCRATCH
	movl	$0x600d, MOVABLE + 4
	SYNC(1)
	movl	MOVABLE, %eax
	movl	%eax, SCRATCH
	movl	$0x600e, MOVABLE + 4
	SYNC(2)
	movl	MOVABLE, %eax
	movl	%eax, SCRATCH
	PASS
