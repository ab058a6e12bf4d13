/* SPDX-License-Identifier: GPL-2.0-only */
/* What a program asks of KVM, a line a call, where ANYKVM_TRACE says so: "1" for standard error, else a file. */
#ifndef KVM_SHIM_TRACE_H
#define KVM_SHIM_TRACE_H

void trace_open(int fd);
void trace_enter(int fd, unsigned long request, void *arg);
void trace_leave(int fd, unsigned long request, void *arg, int result);

#endif
