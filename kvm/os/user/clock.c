/* SPDX-License-Identifier: GPL-2.0-only */
/* Clocks, the rate of the time-stamp counter, and how long a thread waited for a processor. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

static u64 clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (u64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

u64 os_time_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

u64 os_boottime_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

u64 os_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

u64 os_thread_runtime_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

u32 os_nr_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? n : 1;
}

bool os_smt_possible(void)
{
	int fd = open("/sys/devices/system/cpu/smt/control", O_RDONLY | O_CLOEXEC);
	char buf[16] = "";
	ssize_t n;

	if (fd < 0)
		return true;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	return n <= 0 || (strncmp(buf, "forceoff", 8) && strncmp(buf, "notsupported", 12));
}

/* ---- the time-stamp counter's rate ---- */

struct sample { u64 tsc, ns; };

/* A reading of both clocks at one moment: the tightest of a few. */
static struct sample take_sample(void)
{
	struct sample best = { 0 };
	u64 window = ~0ull;

	for (int i = 0; i < 16; i++) {
		u64 before = os_rdtsc(), ns = clock_ns(CLOCK_MONOTONIC_RAW), after = os_rdtsc();

		if (after - before >= window)
			continue;
		window = after - before;
		best = (struct sample){ .tsc = before + window / 2, .ns = ns };
	}
	return best;
}

/* SDM volume 3, 19.7.3: crystal frequency times ratio, where the processor knows both. */
static u32 tsc_khz_from_cpuid(void)
{
	u32 denominator = 0, numerator = 0, crystal = 0, edx = 0;

	if (!__get_cpuid_count(0x15, 0, &denominator, &numerator, &crystal, &edx))
		return 0;
	if (!denominator || !numerator || !crystal)
		return 0;
	return (u64)crystal * numerator / denominator / 1000;
}

static struct sample first_sample;

/* The measurement's start is when the program starts, so that nobody has to wait for its end. */
__attribute__((constructor)) static void start_measuring(void)
{
	first_sample = take_sample();
}

static u32 measured_khz;

static void measure(void)
{
	const u64 enough = 20000000;	/* 20 ms: a few millionths of error */
	u32 khz = tsc_khz_from_cpuid();
	struct sample last;

	while (!khz) {
		last = take_sample();
		if (last.ns - first_sample.ns >= enough) {
			khz = (u32)((u128)(last.tsc - first_sample.tsc) * 1000000 /
				    (last.ns - first_sample.ns));
			break;
		}
		nanosleep(&(struct timespec){ .tv_nsec = enough - (last.ns - first_sample.ns) },
			  NULL);
	}
	measured_khz = khz;
}

u32 os_tsc_khz(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, measure);
	return measured_khz;
}

/* ---- steal time ---- */

/*
 * The kernel counts, per thread, how long it was runnable without running: the second number of
 * schedstat. The descriptor is kept, since opening takes longer than reading, and goes with the thread.
 */
static pthread_key_t steal_key;
static bool steal_key_ok;
static __thread int steal_fd = -1;

static void close_steal_fd(void *fd_plus_one)
{
	close((int)(uintptr_t)fd_plus_one - 1);
}

static void make_steal_key(void)
{
	steal_key_ok = !pthread_key_create(&steal_key, close_steal_fd);
}

static bool open_steal_fd(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_steal_key);
	steal_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (steal_fd >= 0 && (!steal_key_ok ||
			      pthread_setspecific(steal_key, (void *)(uintptr_t)(steal_fd + 1)))) {
		close(steal_fd);
		steal_fd = -1;
	}
	return steal_fd >= 0;
}

static u64 parse_steal(const char *s)
{
	u64 n = 0;

	while (*s >= '0' && *s <= '9')
		s++;
	if (*s++ != ' ')
		return 0;
	while (*s >= '0' && *s <= '9')
		n = n * 10 + (*s++ - '0');
	return n;
}

u64 os_thread_steal_ns(void)
{
	static __thread bool unavailable;
	char buf[96];
	int saved = errno;
	ssize_t n;

	if (unavailable)
		return 0;
	if (steal_fd < 0 && !open_steal_fd()) {
		unavailable = true;
		errno = saved;
		return 0;
	}
	n = pread(steal_fd, buf, sizeof(buf) - 1, 0);
	errno = saved;
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	return parse_steal(buf);
}
