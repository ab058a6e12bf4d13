/* SPDX-License-Identifier: GPL-2.0-only */
/* Handlers of the system instructions, by the names that optable_sys.h uses. */
#ifndef KVM_X86_HANDLERS_SYS_H
#define KVM_X86_HANDLERS_SYS_H

#include "kvm/x86/handler.h"

/* transfer.c */
X86_DECLARE_HANDLER(jmpf_m)
X86_DECLARE_HANDLER(callf_m)
X86_DECLARE_HANDLER(jmpf_a)
X86_DECLARE_HANDLER(callf_a)
X86_DECLARE_HANDLER(retf)
X86_DECLARE_HANDLER(iret)
X86_DECLARE_HANDLER(syscall)
X86_DECLARE_HANDLER(sysret)
X86_DECLARE_HANDLER(sysenter)
X86_DECLARE_HANDLER(sysexit)

#endif
