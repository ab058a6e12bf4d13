/* SPDX-License-Identifier: GPL-2.0-only */
/* Rows of the system instructions: segments, control registers, ports, far transfers, privilege. */
