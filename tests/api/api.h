/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the API's edges are written with. Expectations are what Linux 6.1's KVM on an
 * AMD processor answers, and hold for every provider; where libanykvm answers otherwise, the test
 * says so and why (DIFFERS).
 *
 * Each test runs in a process of its own and goes on after a wrong answer, so that one run shows
 * all of them.
 */
#ifndef API_TEST_H
#define API_TEST_H

#include "vmm/provider.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096ul

struct test {
	const char *group;
	const char *name;
	const char *text;
	void (*run)(void);
};

extern const struct test system_tests[], ioctl_tests[], memory_tests[], vcpu_tests[], irq_tests[],
	thread_tests[], limit_tests[], smm_tests[];

/* The provider under test. */
extern const struct kvm_provider *provider;
static inline bool on_soft(void)
{
	return provider == &kvm_provider_soft;
}

/* ---- answers ---- */

/* The expression's value is `want`: a result, or -errno. */
#define GIVES(expression, want)	\
	check_answer(__FILE__, __LINE__, #expression, (long)(expression), (long)(want))
/* Linux answers `linux_answer`, and libanykvm `ours`; the reason is for people. */
#define DIFFERS(expression, linux_answer, ours, why)						\
	check_difference(__FILE__, __LINE__, #expression, (long)(expression), linux_answer, ours, why)
#define HOLDS(condition)	check_answer(__FILE__, __LINE__, #condition, !!(condition), 1)
/* The same, where the text names what the expression does not: a row of a table. */
#define GIVES_FOR(text, expression, want) \
	check_answer(__FILE__, __LINE__, text, (long)(expression), (long)(want))

void check_answer(const char *file, int line, const char *text, long got, long want);
void check_difference(const char *file, int line, const char *text, long got, long linux_answer,
		      long ours, const char *why);
/* Ends the test: nothing after this makes sense without it. */
__attribute__((noreturn, format(printf, 1, 2))) void give_up(const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void skip(const char *format, ...);

/* ---- the API ---- */

int call(int fd, unsigned long request, void *arg);
int call_n(int fd, unsigned long request, unsigned long arg);
/* These must succeed; the test ends where they do not. */
int must(int fd, unsigned long request, void *arg);
int must_n(int fd, unsigned long request, unsigned long arg);
int cap(int fd, long capability);
int enable(int fd, uint32_t capability, uint32_t flags, uint64_t arg);
int region(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, const void *host);

/* Memory for guests and arguments: zeroed, page-aligned, never freed. */
void *pages(unsigned int n);
/* Addresses that no ioctl may accept as a pointer; NULL ends. */
extern void *const bad_pointers[];
/* An address whose last `size` bytes of a page end where nothing is mapped. */
void *at_the_edge(unsigned long size);

/* ---- a VM ---- */

#define RAM_SIZE	0x10000ul
#define CODE		0x1000ul	/* where guests begin, in real mode, all segments 0 */

enum { WITH_IRQCHIP = 1, WITH_PIT = 2, WITH_SPLIT = 4, WITHOUT_VCPU = 8 };

struct machine {
	int sys, vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram;			/* slot 0, RAM_SIZE bytes at 0; see guest() */
};

/* A VM with one vCPU. No memory yet. */
struct machine machine(unsigned int flags);
int add_vcpu(struct machine *m, unsigned int id, struct kvm_run **run);
/* A VM with memory whose vCPU stands at the code. */
struct machine guest(unsigned int flags, const void *code, unsigned long size);
void start_at(int vcpu, uint64_t rip);
/* As guest(), with the code as a string of bytes. */
#define GUEST(flags, bytes)	guest(flags, bytes, sizeof(bytes) - 1)

/* Guests. */
#define HLT		"\xf4"
#define SPIN		"\xeb\xfe"
#define COUNTER		0x2000		/* what COUNT counts in, a word */
#define COUNT		"\xff\x06\x00\x20\xeb\xfa"	/* 1: incw COUNTER; jmp 1b */

/* ---- threads ---- */

/* A vCPU that runs on a thread of its own until stop_runner. Exits are counted and run again. */
struct runner {
	pthread_t thread;
	int vcpu;
	struct kvm_run *run;		/* NULL: only a signal stops it */
	int stop, entered, ended;
	int result;			/* of the last KVM_RUN */
	uint32_t reason;		/* of the last exit */
	uint64_t exits;
};

void start_runner(struct runner *r, int vcpu, struct kvm_run *run);
/* True where KVM_RUN comes back when asked to. */
bool stop_runner(struct runner *r);
void sleep_ms(unsigned int ms);
/* Waits, some seconds at most, until the word changes from `old`. */
bool changes(const volatile uint16_t *word, uint16_t old);

#endif
