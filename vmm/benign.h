/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory under ThreadSanitizer. Guests race as they like, and with the program that looks at
 * their memory: those races are not ours. (Most accesses by the guest are single host instructions
 * in a line of assembler, or translated code, which ThreadSanitizer does not see; copies it does.)
 */
#ifndef VMM_BENIGN_H
#define VMM_BENIGN_H

#include <stddef.h>

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define HAVE_THREAD_SANITIZER
#endif
#endif

#ifdef HAVE_THREAD_SANITIZER
void AnnotateBenignRaceSized(const char *file, int line, const volatile void *memory, size_t size,
			     const char *what);
#endif

static inline void guest_memory(const volatile void *memory, size_t size)
{
#ifdef HAVE_THREAD_SANITIZER
	AnnotateBenignRaceSized(__FILE__, __LINE__, memory, size, "the guest's");
#endif
}

#endif
