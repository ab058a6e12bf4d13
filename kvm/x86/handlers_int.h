/* SPDX-License-Identifier: GPL-2.0-only */
/* Handlers of the integer instructions, by the names that optable_int.h uses. */
#ifndef KVM_X86_HANDLERS_INT_H
#define KVM_X86_HANDLERS_INT_H

#include "kvm/x86/handler.h"

X86_DECLARE_HANDLER(nop)

#endif
