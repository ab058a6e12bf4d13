/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The process's terminal in raw mode, and back: by request, at exit(3), and when a signal ends or
 * stops the process.
 */
#ifndef VMM_CHAR_TERMINAL_H
#define VMM_CHAR_TERMINAL_H

/*
 * Puts the terminal fd into raw mode and takes over every signal that would end or stop the
 * process and that nobody has a handler for. One terminal at a time. Returns 0 or -errno.
 */
int terminal_raw(int fd);
/* Undoes it. Harmless where terminal_raw was not called. */
void terminal_restore(void);

#endif
