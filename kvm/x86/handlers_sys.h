/* SPDX-License-Identifier: GPL-2.0-only */
/* Handlers of the system instructions, by the names that optable_sys.h uses. */
#ifndef KVM_X86_HANDLERS_SYS_H
#define KVM_X86_HANDLERS_SYS_H

#include "kvm/x86/handler.h"

#endif
