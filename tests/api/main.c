/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * api-test: the edges of the KVM API, over Linux's KVM and over libanykvm.
 *
 * One TAP line a test. What is expected is written down from Linux 6.1's KVM on an AMD processor;
 * that it is so is checked on that very kernel, in a machine of QEMU's (tests/boot/nested.py, with
 * --strict). The KVM of the machine at hand may be another version, another vendor's or a
 * paravirtual one, so there a difference is told and not counted.
 */
#include "api.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINES	20

static const struct test *const groups[] = {
	system_tests, ioctl_tests, memory_tests, vcpu_tests, irq_tests, thread_tests, limit_tests, smm_tests,
};

const struct kvm_provider *provider;

/* What the child that runs a test tells its parent. */
static struct outcome {
	unsigned int wrong;
	bool skipped, ended;
	unsigned int lines;
	char line[MAX_LINES][300];
} *outcome;

static bool show_differences;

/* ---- answers ---- */

static __attribute__((format(printf, 1, 0))) void say_v(const char *format, va_list args)
{
	unsigned int n = __atomic_fetch_add(&outcome->lines, 1, __ATOMIC_SEQ_CST);

	if (n < MAX_LINES)
		vsnprintf(outcome->line[n], sizeof(outcome->line[n]), format, args);
}

static __attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_v(format, args);
	va_end(args);
}

static const char *answer_text(long answer, char *buf, size_t size)
{
	const char *name = answer < 0 && answer >= -4095 ? strerrorname_np((int)-answer) : NULL;

	if (name)
		snprintf(buf, size, "-%s", name);
	else
		snprintf(buf, size, "%ld", answer);
	return buf;
}

static const char *base_name(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash ? slash + 1 : file;
}

void check_answer(const char *file, int line, const char *text, long got, long want)
{
	char a[32], b[32];

	if (got == want)
		return;
	__atomic_fetch_add(&outcome->wrong, 1, __ATOMIC_SEQ_CST);
	say("%s:%d: %s is %s, expected %s", base_name(file), line, text,
	    answer_text(got, a, sizeof(a)), answer_text(want, b, sizeof(b)));
}

void check_difference(const char *file, int line, const char *text, long got, long linux_answer,
		      long ours, const char *why)
{
	char a[32], b[32];

	if (show_differences)
		say("| `%s` | %s | %s | %s |", text, answer_text(linux_answer, a, sizeof(a)),
		    answer_text(ours, b, sizeof(b)), why);
	check_answer(file, line, text, got, on_soft() ? ours : linux_answer);
}

void give_up(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_v(format, args);
	va_end(args);
	outcome->wrong++;
	outcome->ended = true;
	_exit(0);
}

void skip(const char *format, ...)
{
	va_list args;

	/* The reason is the first line. */
	outcome->lines = 0;
	va_start(args, format);
	say_v(format, args);
	va_end(args);
	outcome->skipped = outcome->ended = true;
	_exit(0);
}

/* ---- one test ---- */

static void run_in_child(const struct test *test, int seconds)
{
	struct timespec tick = { .tv_nsec = 2000000 };
	long ticks = seconds * 500l;
	int status;
	pid_t pid;

	memset(outcome, 0, sizeof(*outcome));
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("api-test: cannot start a child");
		exit(2);
	}
	if (!pid) {
		test->run();
		outcome->ended = true;
		/* As a program ends: what runs at exit is looked at too. */
		exit(0);
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		if (!ticks--) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			outcome->wrong++;
			say("timed out after %d s", seconds);
			return;
		}
		nanosleep(&tick, NULL);
	}
	if (WIFSIGNALED(status)) {
		outcome->wrong++;
		say("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) || !outcome->ended) {
		outcome->wrong++;
		say("ended with status %d", WEXITSTATUS(status));
	}
}

static void report(unsigned int number, const struct test *test, bool strict)
{
	unsigned int lines = outcome->lines < MAX_LINES ? outcome->lines : MAX_LINES, first = 0;
	const char *word = "ok", *note = "";

	if (outcome->wrong && strict) {
		word = "not ok";
	} else if (outcome->wrong) {
		note = " # SKIP this KVM answers otherwise than Linux 6.1's on AMD";
	} else if (outcome->skipped) {
		note = " # SKIP ";
		first = 1;
	}
	printf("%s %u - %s %s/%s%s%s\n", word, number, provider->name, test->group, test->name, note,
	       first ? outcome->line[0] : "");
	for (unsigned int i = first; i < lines; i++)
		printf("# %s\n", outcome->line[i]);
	if (outcome->lines > MAX_LINES)
		printf("# …and %u more\n", outcome->lines - MAX_LINES);
	fflush(stdout);
}

/* ---- the program ---- */

static bool selected(const struct test *test, char **names, int count)
{
	char full[128];

	snprintf(full, sizeof(full), "%s/%s", test->group, test->name);
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], full) || !strcmp(names[i], test->group) ||
		    !strcmp(names[i], test->name))
			return true;
	return count == 0;
}

static const char usage[] =
	"usage: api-test --provider kvm|soft [--engine interp|jit] [--timeout SECONDS] [--strict]\n"
	"                [--differences] [--list] [GROUP | GROUP/NAME | NAME]...\n"
	"The edges of the KVM API; TAP on standard output.\n"
	"  --differences  shows where libanykvm is known to answer otherwise than Linux, and why\n"
	"  --engine       how the software processor runs guest code\n"
	"  --list         names the tests and says what each shows\n"
	"  --strict       on /dev/kvm, an answer that is not Linux 6.1's is a failure\n"
	"  --timeout      seconds for each test (60)\n";

static int bad_usage(void)
{
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "provider", required_argument, NULL, 'p' },
		{ "engine", required_argument, NULL, 'e' },
		{ "timeout", required_argument, NULL, 't' },
		{ "strict", no_argument, NULL, 's' },
		{ "differences", no_argument, NULL, 'd' },
		{ "list", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned int number = 0, chosen = 0, failed = 0, skipped = 0;
	struct rlimit files;
	bool strict = false, list = false;
	int c, fd, seconds = 60;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			provider = !strcmp(optarg, "kvm") ? &kvm_provider_linux :
				   !strcmp(optarg, "soft") ? &kvm_provider_soft : NULL;
			if (!provider)
				return bad_usage();
			break;
		case 'e':
			if (kvm_provider_soft_engine(optarg))
				return bad_usage();
			break;
		case 't':
			seconds = atoi(optarg);
			break;
		case 's':
			strict = true;
			break;
		case 'd':
			show_differences = true;
			break;
		case 'l':
			list = true;
			break;
		default:
			return bad_usage();
		}
	}
	if ((!provider && !list) || seconds < 1)
		return bad_usage();
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		for (const struct test *t = groups[g]; t->name; t++) {
			chosen += selected(t, argv + optind, argc - optind);
			if (list)
				printf("%s/%s: %s\n", t->group, t->name, t->text);
		}
	}
	if (list)
		return 0;
	if (!chosen) {
		fprintf(stderr, "api-test: no such test; --list names them\n");
		return 2;
	}
	fd = provider->open();
	if (fd < 0) {
		printf("1..0 # SKIP provider %s is not present\n", provider->name);
		return 0;
	}
	provider->close(fd);
	/* A vCPU takes two or three descriptors. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (outcome == MAP_FAILED) {
		perror("api-test: mmap");
		return 2;
	}
	printf("1..%u\n", chosen);
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		for (const struct test *t = groups[g]; t->name; t++) {
			if (!selected(t, argv + optind, argc - optind))
				continue;
			run_in_child(t, seconds);
			report(++number, t, strict || on_soft());
			failed += outcome->wrong && (strict || on_soft());
			skipped += outcome->skipped || (outcome->wrong && !strict && !on_soft());
		}
	}
	printf("# %u passed, %u failed, %u skipped\n", number - failed - skipped, failed, skipped);
	return failed != 0;
}
