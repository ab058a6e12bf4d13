/* SPDX-License-Identifier: GPL-2.0-only */
/* Rows of the MMX and SSE instructions without VEX. */
