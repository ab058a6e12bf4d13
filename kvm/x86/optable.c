/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The instruction table: one array, put together from a file of rows for each part of the
 * architecture. Order matters only between rows of the same opcode (see optable_macros.h).
 */
#include "kvm/x86/cpu.h"
#include "kvm/x86/handlers_int.h"
#include "kvm/x86/handlers_sys.h"
#include "kvm/x86/hostop.h"
#include "kvm/x86/optable_macros.h"

const struct x86_opcode x86_optable[] = {
#include "kvm/x86/optable_int.h"
#include "kvm/x86/optable_sys.h"
#include "kvm/x86/optable_x87.h"
#include "kvm/x86/optable_sse.h"
#include "kvm/x86/optable_avx.h"
};

const u32 x86_optable_size = ARRAY_SIZE(x86_optable);
