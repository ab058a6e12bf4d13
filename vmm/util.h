/* SPDX-License-Identifier: GPL-2.0-only */
/* The handful of macros that C programmers expect to find. */
#ifndef VMM_UTIL_H
#define VMM_UTIL_H

#include <stddef.h>

#ifndef container_of
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#endif

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#endif

#endif
