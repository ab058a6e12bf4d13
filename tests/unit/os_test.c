/* SPDX-License-Identifier: GPL-2.0-only */
/* The user port of kvm/os/os.h, but for descriptors: locks, sleeping, timers, events, the caller's memory. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "kvm/os/os.h"

#define MS	1000000ull

static void sleep_ms(u64 ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* ---- memory ---- */

static void test_alloc(void **state)
{
	for (size_t n = 0; n < 5000; n += 7) {
		u8 *p = os_alloc(n);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 64, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
		os_free(p);
	}
	os_free(NULL);
	assert_null(os_alloc(SIZE_MAX - 8));
	assert_null(os_alloc_large(1ull << 62));
	os_free_large(NULL, 4096);
}

static void test_alloc_large(void **state)
{
	const size_t size = 1ull << 36;		/* more than there is memory: only address space */
	u8 *p = os_alloc_large(size);

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % 4096, 0);
	p[size - 1] = 1;
	assert_int_equal(p[size / 2], 0);
	os_free_large(p, size);
}

/* ---- locks ---- */

struct counter {
	struct os_mutex lock;
	u64 n;
};

static void *count(void *arg)
{
	struct counter *c = arg;

	for (int i = 0; i < 50000; i++) {
		os_mutex_lock(&c->lock);
		c->n++;
		os_mutex_unlock(&c->lock);
	}
	return NULL;
}

static void test_mutex(void **state)
{
	struct counter c = { 0 };
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, count, &c), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(c.n, 200000);
	assert_true(os_mutex_trylock(&c.lock));
	assert_false(os_mutex_trylock(&c.lock));
	os_mutex_unlock(&c.lock);
	assert_int_equal(c.lock.word, 0);
}

static u32 word;

static void *change_word(void *arg)
{
	sleep_ms(20);
	store_release(&word, 5);
	os_word_wake(&word);
	return NULL;
}

static void test_word(void **state)
{
	pthread_t t;

	word = 4;
	os_word_wait(&word, 3);		/* differs already */
	pthread_create(&t, NULL, change_word, NULL);
	os_word_wait(&word, 4);
	assert_int_equal(word, 5);
	pthread_join(t, NULL);
}

/* ---- events ---- */

static struct os_event event;

static void *set_event_soon(void *arg)
{
	sleep_ms(20);
	os_event_set(&event);
	return NULL;
}

static void test_event(void **state)
{
	pthread_t t;
	u64 start;

	assert_int_equal(os_event_init(&event), 0);
	/* Set before: no sleep; consumed once. */
	assert_false(os_event_is_set(&event));
	os_event_set(&event);
	os_event_set(&event);
	assert_true(os_event_is_set(&event));
	assert_int_equal(os_event_wait(&event, ~0ull, NULL), 0);
	assert_false(os_event_is_set(&event));
	assert_int_equal(event.woken_at, 0);
	start = os_time_ns();
	assert_int_equal(os_event_wait(&event, start + 15 * MS, NULL), -ETIMEDOUT);
	assert_true(os_time_ns() - start >= 15 * MS);
	assert_int_equal(os_event_wait(&event, 0, NULL), -ETIMEDOUT);

	/* On a busy machine, it may be set before we are asleep; not each time. */
	for (int i = 0; i < 3 || (event.woken_at < start && i < 100); i++) {
		start = os_time_ns();
		pthread_create(&t, NULL, set_event_soon, NULL);
		assert_int_equal(os_event_wait(&event, ~0ull, NULL), 0);
		pthread_join(t, NULL);
	}
	assert_in_range(event.woken_at, start, os_time_ns());
	os_event_destroy(&event);
	os_event_destroy(&event);
}

/* Two threads that wake each other by turns lose no wake-up. */
#define TURNS	20000
static struct os_event ping, pong;

static void *ponger(void *arg)
{
	for (int i = 0; i < TURNS; i++) {
		if (os_event_wait(&ping, ~0ull, NULL))
			return (void *)1;
		os_event_set(&pong);
	}
	return NULL;
}

static void test_event_ping_pong(void **state)
{
	pthread_t t;
	void *result;

	assert_int_equal(os_event_init(&ping), 0);
	assert_int_equal(os_event_init(&pong), 0);
	pthread_create(&t, NULL, ponger, NULL);
	for (int i = 0; i < TURNS; i++) {
		os_event_set(&ping);
		assert_int_equal(os_event_wait(&pong, ~0ull, NULL), 0);
	}
	pthread_join(t, &result);
	assert_null(result);
	os_event_destroy(&ping);
	os_event_destroy(&pong);
}

static volatile u8 stop;
static volatile int handled;

static void set_stop(int sig)
{
	handled++;
	stop = 1;
}

static void do_nothing(int sig)
{
	handled++;
}

static void install(int sig, void (*fn)(int), int flags)
{
	struct sigaction sa = { .sa_handler = fn, .sa_flags = flags };

	sigaction(sig, &sa, NULL);
}

static pthread_t main_thread;

static void *signal_soon(void *arg)
{
	sleep_ms(20);
	pthread_kill(main_thread, (int)(intptr_t)arg);
	return NULL;
}

/* A handler that does nothing ends the sleep, also one that asks for system calls to be restarted. */
static void test_event_signal(void **state)
{
	pthread_t t;
	u64 old;

	assert_int_equal(os_event_init(&event), 0);
	main_thread = pthread_self();
	handled = 0;
	install(SIGUSR1, do_nothing, SA_RESTART);
	pthread_create(&t, NULL, signal_soon, (void *)(intptr_t)SIGUSR1);
	assert_int_equal(os_event_wait(&event, ~0ull, NULL), -EINTR);
	pthread_join(t, NULL);
	assert_int_equal(handled, 1);

	/* One that came between the beginning of KVM_RUN and the sleep. */
	os_sigmask_enter(NULL, &old);
	pthread_kill(main_thread, SIGUSR1);
	assert_int_equal(handled, 1);
	assert_true(os_signal_pending(NULL));
	assert_int_equal(os_event_wait(&event, ~0ull, NULL), -EINTR);
	os_sigmask_leave(NULL, old);
	assert_int_equal(handled, 2);
	assert_false(os_signal_pending(NULL));

	/* *stop ends it before it begins; an event that is set already goes first. */
	stop = 1;
	assert_int_equal(os_event_wait(&event, ~0ull, &stop), -EINTR);
	os_event_set(&event);
	assert_int_equal(os_event_wait(&event, ~0ull, &stop), 0);
	stop = 0;
	install(SIGUSR1, set_stop, SA_RESTART);
	pthread_create(&t, NULL, signal_soon, (void *)(intptr_t)SIGUSR1);
	assert_int_equal(os_event_wait(&event, ~0ull, &stop), -EINTR);
	assert_int_equal(stop, 1);
	pthread_join(t, NULL);
	stop = 0;
	os_event_destroy(&event);
}

/* A signal that the thread blocks and the mask of KVM_RUN lets in: it ends the sleep, and stays pending. */
static void test_event_blocked_signal(void **state)
{
	struct os_sigmask m = { .set = true, .mask = ~(1ull << (SIGUSR2 - 1)) };
	struct timespec none = { 0 };
	sigset_t set;
	pthread_t t;
	u64 old;

	assert_int_equal(os_event_init(&event), 0);
	main_thread = pthread_self();
	handled = 0;
	install(SIGUSR2, do_nothing, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	pthread_create(&t, NULL, signal_soon, (void *)(intptr_t)SIGUSR2);
	os_sigmask_enter(&m, &old);
	assert_false(os_signal_pending(&m));
	assert_int_equal(os_event_wait(&event, ~0ull, NULL), -EINTR);
	assert_true(os_signal_pending(&m));
	os_sigmask_leave(&m, old);
	pthread_join(t, NULL);
	assert_int_equal(handled, 0);
	assert_int_equal(sigtimedwait(&set, NULL, &none), SIGUSR2);

	/* Not let in: it ends nothing. */
	pthread_kill(main_thread, SIGUSR2);
	os_sigmask_enter(NULL, &old);
	assert_false(os_signal_pending(NULL));
	assert_int_equal(os_event_wait(&event, os_time_ns() + 5 * MS, NULL), -ETIMEDOUT);
	os_sigmask_leave(NULL, old);
	assert_int_equal(handled, 0);
	assert_int_equal(sigtimedwait(&set, NULL, &none), SIGUSR2);

	/* A signal that the thread lets in and the mask does not waits until the mask is gone. */
	handled = 0;
	install(SIGUSR1, do_nothing, 0);
	os_sigmask_enter(&m, &old);
	pthread_kill(main_thread, SIGUSR1);
	assert_false(os_signal_pending(&m));
	assert_int_equal(os_event_wait(&event, os_time_ns() + 5 * MS, NULL), -ETIMEDOUT);
	assert_int_equal(handled, 0);
	os_sigmask_leave(&m, old);
	assert_int_equal(handled, 1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	os_event_destroy(&event);
}

/* Signals at any moment after os_sigmask_enter: each ends the wait, whether it came before or during it. */
#define SIGNALS	3000
static u32 entered;

static void *send_signals(void *arg)
{
	for (u32 i = 0; i < SIGNALS; i++) {
		os_word_wait(&entered, i);
		for (u32 spin = 0; spin < i % 512; spin++)
			os_cpu_relax();
		pthread_kill(main_thread, SIGUSR1);
	}
	return NULL;
}

static void test_event_signal_storm(void **state)
{
	pthread_t t;
	u64 old;

	assert_int_equal(os_event_init(&event), 0);
	main_thread = pthread_self();
	install(SIGUSR1, do_nothing, SA_RESTART);
	entered = 0;
	pthread_create(&t, NULL, send_signals, NULL);
	for (u32 i = 0; i < SIGNALS; i++) {
		os_sigmask_enter(NULL, &old);
		atomic_add(&entered, 1);
		os_word_wake(&entered);
		assert_int_equal(os_event_wait(&event, os_time_ns() + 10000 * MS, NULL), -EINTR);
		os_sigmask_leave(NULL, old);
	}
	pthread_join(t, NULL);
	os_event_destroy(&event);
}

/* ---- clocks ---- */

static void test_clocks(void **state)
{
	u64 t = os_time_ns(), b = os_boottime_ns(), before, ns, tsc;
	u32 khz = os_tsc_khz();

	sleep_ms(5);
	assert_true(os_time_ns() >= t + 5 * MS);
	assert_true(os_boottime_ns() >= b + 5 * MS);
	assert_true(os_realtime_ns() / 1000000000 > 1600000000);
	assert_true(os_nr_cpus() >= 1);

	assert_int_equal(os_tsc_khz(), khz);
	ns = os_time_ns();
	before = os_rdtsc();
	sleep_ms(50);
	tsc = os_rdtsc() - before;
	ns = os_time_ns() - ns;
	/* Within one part in 200, on a busy machine. */
	assert_true(tsc * 1000000 / ns > khz - khz / 200 && tsc * 1000000 / ns < khz + khz / 200);
}

static void test_steal(void **state)
{
	u64 a = os_thread_steal_ns(), b;

	sleep_ms(2);
	b = os_thread_steal_ns();
	assert_true(b >= a);
	assert_true(b - a < 60000 * MS);
}

/* ---- timers ---- */

static u32 fired;
static u64 fired_at;

static void on_timer(void *arg)
{
	fired_at = os_time_ns();
	atomic_add((u32 *)arg, 1);
	os_word_wake(arg);
}

static void test_timer(void **state)
{
	struct os_timer t;
	u64 deadline;

	fired = 0;
	os_timer_init(&t, on_timer, &fired);
	deadline = os_time_ns() + 10 * MS;
	assert_int_equal(os_timer_set(&t, deadline), 0);
	os_word_wait(&fired, 0);
	assert_int_equal(fired, 1);
	assert_true(fired_at >= deadline);

	/* In the past: at once. Rearmed: only the last counts. Cancelled: not at all. */
	assert_int_equal(os_timer_set(&t, 0), 0);
	os_word_wait(&fired, 1);
	assert_int_equal(os_timer_set(&t, os_time_ns() + 5 * MS), 0);
	assert_int_equal(os_timer_set(&t, os_time_ns() + 20 * MS), 0);
	sleep_ms(10);
	assert_int_equal(fired, 2);
	os_word_wait(&fired, 2);
	assert_int_equal(os_timer_set(&t, os_time_ns() + 5 * MS), 0);
	os_timer_cancel(&t);
	sleep_ms(15);
	assert_int_equal(fired, 3);
	os_timer_destroy(&t);
}

#define TIMERS	500

static u64 order[TIMERS];
static u32 nr_fired;

struct numbered {
	struct os_timer t;
	u64 deadline;
};

static void note_order(void *arg)
{
	order[nr_fired] = ((struct numbered *)arg)->deadline;
	atomic_add(&nr_fired, 1);
	os_word_wake(&nr_fired);
}

static void test_many_timers(void **state)
{
	static struct numbered n[TIMERS];
	u64 start = os_time_ns() + 30 * MS;
	u32 seed = 1, left = TIMERS;

	nr_fired = 0;
	for (u32 i = 0; i < TIMERS; i++) {
		seed = seed * 1103515245 + 12345;
		n[i].deadline = start + (seed >> 8) % (20 * MS);
		os_timer_init(&n[i].t, note_order, &n[i]);
		assert_int_equal(os_timer_set(&n[i].t, n[i].deadline), 0);
	}
	for (u32 i = 0; i < TIMERS; i += 3, left--)
		os_timer_cancel(&n[i].t);
	for (u32 done; (done = load_acquire(&nr_fired)) < left; )
		os_word_wait(&nr_fired, done);
	sleep_ms(10);
	assert_int_equal(nr_fired, left);
	for (u32 i = 1; i < left; i++)
		assert_true(order[i] >= order[i - 1]);
	for (u32 i = 0; i < TIMERS; i++)
		os_timer_destroy(&n[i].t);
}

static u32 in_callback, callback_done;

static void slow(void *arg)
{
	atomic_add(&in_callback, 1);
	os_word_wake(&in_callback);
	sleep_ms(30);
	store_release(&callback_done, 1);
}

static void test_timer_destroy_waits(void **state)
{
	struct os_timer t;

	in_callback = callback_done = 0;
	os_timer_init(&t, slow, NULL);
	assert_int_equal(os_timer_set(&t, 0), 0);
	os_word_wait(&in_callback, 0);
	os_timer_destroy(&t);
	assert_int_equal(callback_done, 1);
}

static struct os_timer self;

static void rearm(void *arg)
{
	if (atomic_add(&fired, 1) < 5)
		os_timer_set(&self, os_time_ns() + MS);
	else
		os_timer_destroy(&self);	/* by its own callback */
	os_word_wake(&fired);
}

static void test_timer_rearms_itself(void **state)
{
	fired = 0;
	os_timer_init(&self, rearm, NULL);
	assert_int_equal(os_timer_set(&self, os_time_ns() + MS), 0);
	for (u32 n; (n = load_acquire(&fired)) < 5; )
		os_word_wait(&fired, n);
	sleep_ms(5);
	assert_int_equal(fired, 5);
}

/* A child has no worker of its parent's, and starts one of its own. */
static void test_timer_fork(void **state)
{
	struct os_timer pending, t;
	int status;
	pid_t pid;

	fired = 0;
	os_timer_init(&pending, on_timer, &fired);
	assert_int_equal(os_timer_set(&pending, os_time_ns() + 60 * MS), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		u32 mine = 0;

		if (pending.deadline)
			_exit(2);
		os_timer_init(&t, on_timer, &mine);
		if (os_timer_set(&t, os_time_ns() + 2 * MS))
			_exit(3);
		os_word_wait(&mine, 0);
		sleep_ms(80);
		_exit(fired ? 4 : 0);	/* the parent's timer is the parent's */
	}
	os_word_wait(&fired, 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	os_timer_destroy(&pending);
}

/* ---- event descriptors ---- */

static void test_eventfd(void **state)
{
	int fd = eventfd(0, 0), other = eventfd(0, EFD_NONBLOCK), copy = dup(fd);
	struct os_eventfd *a, *b, *c, *x;
	u64 n;

	assert_int_equal(os_eventfd_get(-1, &x), -EBADF);
	assert_int_equal(os_eventfd_get(1000000, &x), -EBADF);
	assert_int_equal(os_eventfd_get(STDERR_FILENO, &x), -EINVAL);
	assert_int_equal(os_eventfd_get(fd, &a), 0);
	assert_int_equal(os_eventfd_get(copy, &b), 0);
	assert_int_equal(os_eventfd_get(other, &c), 0);
	assert_true(os_eventfd_same(a, b));
	assert_false(os_eventfd_same(a, c));
	os_eventfd_signal(a, 3);
	os_eventfd_signal(b, 4);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 7);

	/* Watched: each signal is taken and told. The reference outlives the user's descriptors. */
	fired = 0;
	assert_int_equal(os_eventfd_watch(a, on_timer, &fired), 0);
	close(copy);
	n = 1;
	assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
	os_word_wait(&fired, 0);
	close(fd);
	os_eventfd_signal(b, 1);
	os_word_wait(&fired, 1);
	os_eventfd_unwatch(a);
	os_eventfd_signal(b, 1);
	sleep_ms(5);
	assert_int_equal(fired, 2);
	os_eventfd_put(a);
	os_eventfd_put(b);
	os_eventfd_put(c);
	close(other);
}

static void test_eventfd_unwatch_waits(void **state)
{
	int fd = eventfd(1, 0);
	struct os_eventfd *e;

	in_callback = callback_done = 0;
	assert_int_equal(os_eventfd_get(fd, &e), 0);
	assert_int_equal(os_eventfd_watch(e, slow, NULL), 0);	/* set already */
	os_word_wait(&in_callback, 0);
	os_eventfd_unwatch(e);
	assert_int_equal(callback_done, 1);
	os_eventfd_put(e);
	close(fd);
}

/* ---- the caller's memory ---- */

static void test_user_copy(void **state)
{
	u8 *p = mmap(NULL, 3 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u8 buf[2 * PAGE_SIZE];

	assert_true(p != MAP_FAILED);
	munmap(p + PAGE_SIZE, PAGE_SIZE);
	mprotect(p + 2 * PAGE_SIZE, PAGE_SIZE, PROT_READ);
	memset(p, 0x5a, PAGE_SIZE);

	assert_int_equal(os_copy_from_user(buf, (u64)p, PAGE_SIZE), 0);
	assert_int_equal(buf[0], 0x5a);
	assert_int_equal(buf[PAGE_SIZE - 1], 0x5a);
	assert_int_equal(os_copy_from_user(buf, 0, 0), 0);
	assert_int_equal(os_copy_from_user(buf, (u64)p, PAGE_SIZE + 1), -EFAULT);
	assert_int_equal(os_copy_from_user(buf, 0, 8), -EFAULT);
	assert_int_equal(os_copy_from_user(buf, ~0ull - 3, 8), -EFAULT);
	assert_int_equal(os_copy_from_user(buf, 1ull << 63, 8), -EFAULT);
	assert_int_equal(os_copy_from_user(buf, (u64)p + 2 * PAGE_SIZE, 8), 0);
	assert_int_equal(os_copy_to_user((u64)p + 2 * PAGE_SIZE, buf, 8), -EFAULT);
	assert_int_equal(os_copy_to_user((u64)p + PAGE_SIZE, buf, 1), -EFAULT);
	buf[0] = 7;
	assert_int_equal(os_copy_to_user((u64)p + 10, buf, 1), 0);
	assert_int_equal(p[10], 7);

	assert_true(os_user_page_ok(p + 17, false));
	assert_true(os_user_page_ok(p, true));
	assert_false(os_user_page_ok(p + PAGE_SIZE, false));
	assert_true(os_user_page_ok(p + 2 * PAGE_SIZE, false));
	assert_false(os_user_page_ok(p + 2 * PAGE_SIZE, true));
	assert_false(os_user_page_ok((void *)0x1000, false));
	assert_false(os_user_page_ok((void *)(1ull << 47), false));
	munmap(p, PAGE_SIZE);
	munmap(p + 2 * PAGE_SIZE, PAGE_SIZE);
}

/* A page of a file that has been cut off is there and yet is not. */
static void test_user_page_behind_end(void **state)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	u8 *p;

	assert_int_equal(ftruncate(fd, PAGE_SIZE), 0);
	p = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	assert_true(os_user_page_ok(p, true));
	assert_false(os_user_page_ok(p + PAGE_SIZE, false));
	assert_false(os_user_page_ok(p + PAGE_SIZE, true));
	munmap(p, 2 * PAGE_SIZE);
	close(fd);
}

/* Makes the kernel of this process an older or stricter one. */
static void refuse_system_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 1, 2),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(77);
}

#define EXPECT(n, condition) do { if (!(condition)) _exit(n); } while (0)

/* The same where process_vm_readv is not allowed and madvise does not populate. */
static void test_user_copy_elsewhere(void **state)
{
	const size_t big = 200000;
	u8 *p = mmap(NULL, big, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u8 *read_only = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u8 *buf = malloc(big);
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		refuse_system_calls();
		for (size_t i = 0; i < big; i++)
			p[i] = i * 13 >> 4;
		EXPECT(1, os_copy_from_user(buf, (u64)p, big) == 0);
		EXPECT(2, !memcmp(buf, p, big));
		buf[5] = 99;
		EXPECT(3, os_copy_to_user((u64)p, buf, 10) == 0 && p[5] == 99);
		EXPECT(4, os_copy_from_user(buf, 8, 4) == -EFAULT);
		EXPECT(5, os_copy_to_user((u64)read_only, buf, 4) == -EFAULT);
		EXPECT(6, os_copy_from_user(buf, (u64)read_only, 4) == 0);
		p[8] = 0xff;
		EXPECT(7, os_user_page_ok(p, true) && os_user_page_ok(p, false) && p[8] == 0xff);
		EXPECT(8, os_user_page_ok(read_only, false) && !os_user_page_ok(read_only, true));
		EXPECT(9, !os_user_page_ok((void *)0x1000, false));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	free(buf);
	munmap(p, big);
	munmap(read_only, PAGE_SIZE);
}

/* ---- code ---- */

static void test_code(void **state)
{
	static const u8 return_42[] = { 0xb8, 42, 0, 0, 0, 0xc3 };	/* mov $42, %eax; ret */
	struct os_code c;
	int (*fn)(void);

	assert_int_equal(os_code_alloc(&c, 100), 0);
	assert_int_equal(c.size, PAGE_SIZE);
	memcpy(c.rw, return_42, sizeof(return_42));
	fn = (int (*)(void))c.rx;
	assert_int_equal(fn(), 42);
	assert_false(os_user_page_ok(c.rx, true));
	os_code_free(&c);
	assert_null(c.rw);
}

static void test_random(void **state)
{
	u8 a[700] = { 0 }, b[700] = { 0 };

	os_random(a, sizeof(a));
	os_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a + 350, b + 350, 350);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc),
		cmocka_unit_test(test_alloc_large),
		cmocka_unit_test(test_mutex),
		cmocka_unit_test(test_word),
		cmocka_unit_test(test_event),
		cmocka_unit_test(test_event_ping_pong),
		cmocka_unit_test(test_event_signal),
		cmocka_unit_test(test_event_blocked_signal),
		cmocka_unit_test(test_event_signal_storm),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_steal),
		cmocka_unit_test(test_timer),
		cmocka_unit_test(test_many_timers),
		cmocka_unit_test(test_timer_destroy_waits),
		cmocka_unit_test(test_timer_rearms_itself),
		cmocka_unit_test(test_timer_fork),
		cmocka_unit_test(test_eventfd),
		cmocka_unit_test(test_eventfd_unwatch_waits),
		cmocka_unit_test(test_user_copy),
		cmocka_unit_test(test_user_copy_elsewhere),
		cmocka_unit_test(test_user_page_behind_end),
		cmocka_unit_test(test_code),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
