/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What to tell the user when something cannot be done: one line, without a final dot or newline,
 * that says what is wrong and what to do. Functions that can meet a user's mistake take a
 * struct vmm_error beside their -errno return; the first message wins, being nearest the cause.
 */
#ifndef VMM_ERROR_H
#define VMM_ERROR_H

struct vmm_error {
	char text[512];
};

/* Fills in the line, unless there is one already, and returns code. error may be NULL. */
int vmm_fail(struct vmm_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
