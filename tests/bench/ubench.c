/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Micro-benchmarks, for a guest and its host alike: each line is a name, the time of one round in
 * nanoseconds (the best of several), and a checksum that must be the same everywhere. As the first
 * process of a guest it switches the machine off at the end.
 */
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

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* ---- computing ---- */

static uint64_t integers(void)
{
	uint64_t a = 1, b = 2, c = 3;

	for (int i = 0; i < 1000000; i++) {
		a += b ^ (c >> 7);
		b = (b << 3) - a;
		c ^= a + i;
	}
	return a ^ b ^ c;
}

static uint64_t branches(void)
{
	uint32_t x = 12345, n = 0;

	for (int i = 0; i < 500000; i++) {
		x = x * 1664525 + 1013904223;
		if (x & 0x10000)
			n += 3;
		else if (x & 0x20000)
			n ^= x;
		else
			n--;
	}
	return n;
}

static uint64_t sieve(void)
{
	static uint8_t composite[1 << 18];
	uint64_t n = 0;

	memset(composite, 0, sizeof(composite));
	for (uint32_t i = 2; i < sizeof(composite); i++) {
		if (composite[i])
			continue;
		n++;
		for (uint32_t k = 2 * i; k < sizeof(composite); k += i)
			composite[k] = 1;
	}
	return n;
}

static uint64_t chase(void)
{
	static uint32_t next[1 << 14];
	uint32_t at = 0;

	for (uint32_t i = 0; i < 1 << 14; i++)
		next[i] = (i * 4097 + 1237) & ((1 << 14) - 1);
	for (int i = 0; i < 500000; i++)
		at = next[at];
	return at;
}

static __attribute__((noinline)) uint64_t fib(uint64_t n)
{
	__asm__ volatile("" : "+r" (n));
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t calls(void)
{
	return fib(24);
}

static __attribute__((noinline)) uint64_t f0(uint64_t x) { return x + 1; }
static __attribute__((noinline)) uint64_t f1(uint64_t x) { return x ^ 5; }
static __attribute__((noinline)) uint64_t f2(uint64_t x) { return x * 3; }
static __attribute__((noinline)) uint64_t f3(uint64_t x) { return x >> 1; }

static uint64_t pointers(void)
{
	uint64_t (*volatile const f[4])(uint64_t) = { f0, f1, f2, f3 };
	uint64_t x = 99;

	for (int i = 0; i < 200000; i++)
		x = f[i & 3](x);
	return x;
}

static uint64_t crc(void)
{
	static uint32_t table[256];
	uint32_t v = ~0u;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int k = 0; k < 8; k++)
			table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320 : table[i] >> 1;
	}
	for (int i = 0; i < 300000; i++)
		v = table[(v ^ i) & 255] ^ v >> 8;
	return v;
}

static uint64_t divide(void)
{
	uint64_t x = 0x123456789abcdef, n = 0;

	for (uint32_t i = 1; i < 200000; i++)
		n += x / i + (uint32_t)x % i;
	return n;
}

static uint64_t floats(void)
{
	double x = 0.1, y = 0.2, s = 0;

	for (int i = 0; i < 300000; i++) {
		double t = x * x - y * y + 0.3;

		y = 2 * x * y + 0.1;
		x = t;
		if (x * x + y * y > 4) {
			x = 0.1;
			y = 0.2;
		}
		s += x;
	}
	return (int64_t)(s * 1000);
}

static uint64_t matrix(void)
{
	static double a[64][64], b[64][64], c[64][64];
	double s = 0;

	for (int i = 0; i < 64; i++)
		for (int k = 0; k < 64; k++)
			a[i][k] = i + k, b[i][k] = i - k, c[i][k] = 0;
	for (int i = 0; i < 64; i++)
		for (int k = 0; k < 64; k++)
			for (int j = 0; j < 64; j++)
				c[i][j] += a[i][k] * b[k][j];
	for (int i = 0; i < 64; i++)
		s += c[i][63 - i];
	return (int64_t)s;
}

static uint64_t x87(void)
{
	long double s = 0;

	for (int i = 1; i < 50000; i++)
		s += 1.0L / i;
	return (int64_t)(s * 1000000);
}

static uint64_t strings(void)
{
	static char text[4096];
	uint64_t n = 0;

	memset(text, 'a', sizeof(text) - 1);
	for (int i = 0; i < 400; i++) {
		text[i] = 'b';
		n += strlen(text) + !!strchr(text, 'c') +
		     (memcmp(text, text + 2048, 1000) > 0);
	}
	return n & 0xffff;
}

static uint64_t copies(void)
{
	static char from[1 << 16], to[1 << 16];

	for (int i = 0; i < 20; i++) {
		from[i] = i;
		memcpy(to, from, sizeof(to));
	}
	return to[19];
}

static int compare_ints(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

static uint64_t sorting(void)
{
	static int v[10000];
	uint32_t x = 1;

	for (int i = 0; i < 10000; i++)
		v[i] = x = x * 1664525 + 1013904223;
	qsort(v, 10000, sizeof(v[0]), compare_ints);
	return (uint32_t)v[5000];
}

/* ---- the system ---- */

static uint64_t syscalls(void)
{
	uint64_t n = 0;

	for (int i = 0; i < 2000; i++)
		n += syscall(SYS_getppid) >= 0;
	return n;
}

static uint64_t faults(void)
{
	uint64_t n = 0;

	for (int i = 0; i < 4; i++) {
		char *p = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (int k = 0; k < 64; k++)
			n += ++p[k * 4096];
		munmap(p, 64 * 4096);
	}
	return n;
}

static uint64_t forks(void)
{
	uint64_t n = 0;

	for (int i = 0; i < 4; i++) {
		int status;
		pid_t pid = fork();

		if (!pid)
			_exit(7);
		waitpid(pid, &status, 0);
		n += WEXITSTATUS(status);
	}
	return n;
}

static uint64_t pipes(void)
{
	static int a[2] = { -1 }, b[2];
	static pid_t child;
	char c = 1;

	if (a[0] < 0) {
		if (pipe(a) || pipe(b))
			return 0;
		child = fork();
		if (!child) {
			close(a[1]);
			while (read(a[0], &c, 1) == 1 && write(b[1], &c, 1) == 1)
				;
			_exit(0);
		}
	}
	for (int i = 0; i < 200; i++)
		if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1)
			return 0;
	return 200;
}

static const struct {
	const char *name;
	uint64_t (*run)(void);
} benches[] = {
	{ "integers", integers }, { "branches", branches }, { "sieve", sieve }, { "chase", chase },
	{ "calls", calls }, { "pointers", pointers }, { "crc", crc }, { "divide", divide },
	{ "floats", floats }, { "matrix", matrix }, { "x87", x87 }, { "strings", strings },
	{ "copies", copies }, { "sorting", sorting }, { "syscalls", syscalls }, { "faults", faults },
	{ "forks", forks }, { "pipes", pipes },
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned int i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
		uint64_t best = ~0ull, sum = 0, end = now() + 300000000;

		if (argc > 1 && strcmp(argv[1], benches[i].name))
			continue;
		for (int round = 0; round < 5 || (round < 100 && now() < end); round++) {
			uint64_t start = now(), t;

			sum = benches[i].run();
			t = now() - start;
			best = t < best ? t : best;
		}
		printf("bench %s %llu %llx\n", benches[i].name, (unsigned long long)best,
		       (unsigned long long)sum);
	}
	if (getpid() == 1) {
		sync();
		reboot(RB_POWER_OFF);
	}
	return 0;
}
