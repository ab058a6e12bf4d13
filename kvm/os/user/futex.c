/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Locks and short waits on futexes. pthread mutexes would do, but are too large for objects of which
 * there are many, and the core wants a lock that is unlocked when it is zeroed.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

#define SPINS	100		/* about a microsecond: longer than most critical sections */

int user_futex_wait(u32 *word, u32 old, u64 timeout)
{
	struct timespec ts = { .tv_sec = timeout / 1000000000, .tv_nsec = timeout % 1000000000 };

	/* WAIT_BITSET takes absolute time. */
	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, old,
		    timeout == ~0ull ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY))
		return -errno;
	return 0;
}

void user_futex_wake(u32 *word, int n)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, NULL, NULL, 0);
	errno = saved;
}

void os_cpu_relax(void)
{
	__builtin_ia32_pause();
}

void os_yield(void)
{
	sched_yield();
}

/* 0 unlocked, 1 locked, 2 locked and somebody may sleep on it. */
void os_mutex_lock(struct os_mutex *m)
{
	int saved;
	u32 old;

	for (int i = 0; i < SPINS; i++) {
		old = 0;
		if (__atomic_compare_exchange_n(&m->word, &old, 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return;
		if (old == 2)
			break;		/* others sleep already: no jumping the queue by spinning */
		os_cpu_relax();
	}
	saved = errno;
	while (__atomic_exchange_n(&m->word, 2, __ATOMIC_ACQUIRE))
		user_futex_wait(&m->word, 2, ~0ull);
	errno = saved;
}

bool os_mutex_trylock(struct os_mutex *m)
{
	u32 old = 0;

	return __atomic_compare_exchange_n(&m->word, &old, 1, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

void os_mutex_unlock(struct os_mutex *m)
{
	if (__atomic_exchange_n(&m->word, 0, __ATOMIC_RELEASE) == 2)
		user_futex_wake(&m->word, 1);
}

void os_word_wait(u32 *word, u32 old)
{
	int saved = errno;

	for (int i = 0; i < SPINS; i++) {
		if (load_acquire(word) != old)
			return;
		os_cpu_relax();
	}
	while (load_acquire(word) == old)
		user_futex_wait(word, old, ~0ull);
	errno = saved;
}

void os_word_wake(u32 *word)
{
	user_futex_wake(word, INT_MAX);
}
