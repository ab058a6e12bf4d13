/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What two processors cost each other, for a guest and its host alike: locks, wake-ups, TLB shootdowns. Two
 * threads (or processes), one on each of the first two processors; lines as of ubench.c. As the first process of a
 * guest it first runs ubench's pairs (/ubench), and switches the machine off at the end.
 *
 *	locks [NAME]	all of them, or one
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE	__attribute__((aligned(64)))

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void relax(void)
{
	__builtin_ia32_pause();
}

/* ---- locks that both want ---- */

#define TURNS	2000	/* about a millisecond: a machine with other work leaves some rounds alone */

static LINE pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static LINE uint32_t spinlock;
static LINE uint64_t shared[4];

static void work(void)
{
	for (int i = 0; i < 4; i++)
		shared[i] += shared[(i + 1) & 3] ^ i;
	shared[0]++;
}

static void between(void)
{
	for (volatile int i = 0; i < 10; i++)
		;
}

static void take_mutex(int me)
{
	for (int i = 0; i < TURNS; i++) {
		pthread_mutex_lock(&mutex);
		work();
		pthread_mutex_unlock(&mutex);
		between();
	}
}

static void take_spinlock(int me)
{
	for (int i = 0; i < TURNS; i++) {
		while (__atomic_exchange_n(&spinlock, 1, __ATOMIC_ACQUIRE))
			while (__atomic_load_n(&spinlock, __ATOMIC_RELAXED))
				relax();
		work();
		__atomic_store_n(&spinlock, 0, __ATOMIC_RELEASE);
		between();
	}
}

static void add(int me)
{
	for (int i = 0; i < TURNS; i++)
		__atomic_fetch_add(&shared[1], 1, __ATOMIC_RELAXED);
}

/* The kernel's own spinlock: that of the table of open files, which threads share. */
static void take_files(int me)
{
	for (int i = 0; i < TURNS / 4; i++) {
		int fd = dup(0);

		if (fd >= 0)
			close(fd);
	}
}

/* The lock of the address space, which both change; and each tells the other to flush its TLB. */
static void map(int me)
{
	for (int i = 0; i < 20; i++) {
		char *p = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return;
		for (int k = 0; k < 4; k++)
			p[k * 4096] = 1;
		munmap(p, 4 * 4096);
	}
}

/* ---- one for the other ---- */

static LINE uint32_t turn;
static int pipes[2][2];

/* Two threads take turns, by a word in memory. */
static void pass_word(int me)
{
	for (uint32_t i = 0; i < TURNS; i++) {
		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != 2 * i + me)
			relax();
		__atomic_store_n(&turn, 2 * i + me + 1, __ATOMIC_RELEASE);
	}
}

static void futex_wait(uint32_t *word, uint32_t old)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
}

/* Each works for a little, long enough for the other to fall asleep. */
static void pass_futex(int me)
{
	for (uint32_t i = 0; i < 50; i++) {
		uint32_t value;

		while ((value = __atomic_load_n(&turn, __ATOMIC_ACQUIRE)) != 2 * i + me)
			futex_wait(&turn, value);
		for (uint64_t end = now() + 5000; now() < end;)
			;
		__atomic_store_n(&turn, 2 * i + me + 1, __ATOMIC_RELEASE);
		syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
}

static void pass_pipe(int me)
{
	char c = 1;

	for (int i = 0; i < 50; i++) {
		if (!me && write(pipes[0][1], &c, 1) != 1)
			return;
		if (read(pipes[me ? 0 : 1][0], &c, 1) != 1)
			return;
		if (me && write(pipes[1][1], &c, 1) != 1)
			return;
	}
}

/* One changes rights of pages that both have used, so that the other has to be told; the other computes. */
static LINE uint32_t stop;

static void shoot(int me)
{
	static char page[4096] __attribute__((aligned(4096)));

	if (me) {
		while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
			*(volatile char *)page;
		return;
	}
	for (int i = 0; i < 50; i++) {
		mprotect(page, 4096, PROT_READ);
		mprotect(page, 4096, PROT_READ | PROT_WRITE);
		*(volatile char *)page = 1;
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
}

static const struct lock {
	const char *name;
	void (*run)(int me);
} locks[] = {
	{ "mutex", take_mutex }, { "spinlock", take_spinlock }, { "atomic", add },
	{ "files", take_files }, { "maps", map }, { "word", pass_word }, { "futex", pass_futex },
	{ "pipe", pass_pipe }, { "shootdown", shoot },
};

static const struct lock *current;
static LINE uint32_t ready;

static void *second(void *unused)
{
	run_on(1);
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < 2)
		relax();
	current->run(1);
	return NULL;
}

static uint64_t both(const struct lock *lock)
{
	pthread_t thread;
	uint64_t start;

	current = lock;
	ready = turn = stop = 0;
	memset(shared, 0, sizeof(shared));
	if (pthread_create(&thread, NULL, second, NULL))
		return 0;
	while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
		sched_yield();
	start = now();
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	lock->run(0);
	pthread_join(thread, NULL);
	return now() - start;
}

int main(int argc, char **argv)
{
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getpid() == 1 && argc == 1) {
		if (!fork()) {
			execl("/ubench", "/ubench", "--pairs", NULL);
			_exit(1);
		}
		wait(&status);
	}
	run_on(0);
	if (pipe(pipes[0]) || pipe(pipes[1]))
		return 1;
	for (unsigned int i = 0; i < sizeof(locks) / sizeof(locks[0]); i++) {
		uint64_t best = ~0ull, end = now() + 500000000;

		if (argc > 1 && strcmp(argv[1], locks[i].name))
			continue;
		for (int round = 0; round < 5 || (round < 2000 && now() < end); round++) {
			uint64_t t = both(&locks[i]);

			best = t < best ? t : best;
		}
		printf("bench %s %llu %llx\n", locks[i].name, (unsigned long long)best,
		       (unsigned long long)(locks[i].run == add ? shared[1] : 0));
	}
	if (getpid() == 1) {
		sync();
		reboot(RB_POWER_OFF);
	}
	return 0;
}
