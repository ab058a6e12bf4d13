/* SPDX-License-Identifier: GPL-2.0-only */
/* Rows of the integer instructions that touch no system state (SDM volume 2, appendix A). */
{ T1(0x90, "nop"), NOMODRM_Z(0), H(nop), .attr = X86_A_NOFLAGS },
