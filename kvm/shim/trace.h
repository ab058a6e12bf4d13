/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a program asks of KVM, a line a call, where ANYKVM_TRACE says so: "1" for standard error, else a
 * file. A call's line is begun before it, with what goes in, and written behind it, with what came out.
 */
#ifndef KVM_SHIM_TRACE_H
#define KVM_SHIM_TRACE_H

#include <stddef.h>

struct trace_call {
	size_t n;		/* bytes of text so far; 0: nothing is traced */
	char text[4096];
};

void trace_open(int fd);
void trace_enter(struct trace_call *t, int fd, unsigned long request, void *arg);
void trace_leave(struct trace_call *t, int fd, unsigned long request, void *arg, int result);

/* ---- trace_names.c: numbers of the KVM API by name ---- */

struct trace_name {
	unsigned long value;
	const char *name;
};

extern const struct trace_name trace_caps[], trace_exits[], trace_msrs[], trace_mp_states[], trace_slot_flags[],
	trace_irqfd_flags[], trace_ioeventfd_flags[], trace_debug_flags[], trace_chips[],
	trace_route_types[], trace_event_flags[], trace_clock_flags[], trace_system_events[];

/* NULL where the table, ended by a name of NULL, does not have it. */
const char *trace_find(const struct trace_name *table, unsigned long value);

#endif
