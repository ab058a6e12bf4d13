/* SPDX-License-Identifier: GPL-2.0-only */
/* Rows of the vector instructions with VEX. */
