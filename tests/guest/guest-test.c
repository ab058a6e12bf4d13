/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guest-test: runs the small guests over every provider present and prints one TAP line each.
 *
 * A test is either a guest alone (TEST in one of the .S files, which checks itself) or a function
 * here in C around one. Each runs in a forked child under an alarm, so that a crash or a hang is
 * that test's failure. Where a provider is known to be wrong, the test says so (WRONG): it runs
 * all the same, and its failure there is a skip with the reason. Which kind of provider it is, is
 * found by trying: see probe().
 */
#include "harness.h"

#include <cpuid.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_TESTS	1024

extern const struct test api_tests[], ask_tests[], clock_tests[], event_tests[], hyperv_tests[], io_tests[],
	litmus_tests[], mmio_tests[], modify_tests[], run_tests[], slot_tests[], smm_tests[], smp_tests[],
	state_tests[];

static const struct test *const c_tests[] = {
	api_tests, ask_tests, clock_tests, event_tests, hyperv_tests, io_tests, litmus_tests, mmio_tests,
	modify_tests, run_tests, slot_tests, smm_tests, smp_tests, state_tests,
};

static const struct kvm_provider *const providers[] = { &kvm_provider_linux, &kvm_provider_soft };

static struct test tests[MAX_TESTS];
static size_t test_count;
static int timeout_seconds = 20;
static bool tap = true;
static unsigned int number, passed, failed, skipped;

struct outcome {
	char letter;			/* P, F or S */
	char text[1000];
};

static uint64_t deadline_left(uint64_t deadline)
{
	uint64_t now = now_ms();

	return now < deadline ? deadline - now : 0;
}

/* Runs body in a child; its last word, or how it died, is the outcome. */
static struct outcome in_child(const struct test *test, void (*body)(void), int seconds)
{
	struct outcome o = { .letter = 'F' };
	uint64_t deadline = now_ms() + (seconds + 3) * 1000;
	struct pollfd poll_fd;
	size_t n = 0;
	char raw[1001];
	int fds[2], status;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) < 0 || (pid = fork()) < 0) {
		perror("guest-test: cannot start a child");
		exit(2);
	}
	if (pid == 0) {
		struct test bare = { .run = body };

		close(fds[0]);
		test_main(test ? test : &bare, fds[1], seconds);
	}
	close(fds[1]);
	poll_fd = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	for (;;) {
		uint64_t left = deadline_left(deadline);
		ssize_t got;

		if (left == 0 || poll(&poll_fd, 1, (int)left) == 0) {
			kill(pid, SIGKILL);
			snprintf(o.text, sizeof(o.text), "timed out and did not end");
			break;
		}
		got = read(fds[0], raw + n, sizeof(raw) - 1 - n);
		if (got <= 0)
			break;
		n += got;
	}
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	raw[n] = 0;
	if (o.text[0])
		return o;
	if (WIFSIGNALED(status)) {
		snprintf(o.text, sizeof(o.text), "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	} else if (n == 0) {
		snprintf(o.text, sizeof(o.text), "exit status %d without an outcome",
			 WEXITSTATUS(status));
	} else {
		o.letter = raw[0];
		snprintf(o.text, sizeof(o.text), "%.998s", raw + 1);
	}
	return o;
}

/*
 * Which known-wrong marks apply. A KVM that emulates ring 0 gives up on cmpxchg16b there; Linux's
 * KVM on QEMU's emulated SVM shows in the hypervisor leaf of the CPUID around us.
 */
static int probe(char *why, size_t size)
{
	int where = provider == &kvm_provider_linux ? ON_LINUX : 0;
	uint32_t eax, sig[3];
	struct outcome o;

	why[0] = 0;
	o = in_child(NULL, probe_paravirt, timeout_seconds);
	if (o.letter == 'S') {
		snprintf(why, size, "paravirtual (%s)", o.text);
		return where | ON_PARAVIRT;
	}
	if (o.letter == 'F')
		snprintf(why, size, "%s", o.text);
	__cpuid(0x40000000, eax, sig[0], sig[1], sig[2]);
	if (where == ON_LINUX && !memcmp(sig, "TCGTCGTCGTCG", 12)) {
		snprintf(why, size, "on a processor that QEMU's TCG emulates");
		where |= ON_TCG;
	}
	return where;
}

static void report(const struct test *test, struct outcome o, const char *known)
{
	const char *words[] = { ['P'] = "ok", ['F'] = "FAIL", ['S'] = "skip" };
	char text[2100] = "";

	if (o.letter == 'F' && known) {
		o.letter = 'S';
		snprintf(text, sizeof(text), "known wrong here, %s (%s)", known, o.text);
	} else {
		snprintf(text, sizeof(text), "%s", o.text);
	}
	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
	passed += o.letter == 'P';
	failed += o.letter == 'F';
	skipped += o.letter == 'S';
	number++;
	if (!tap)
		printf("%-4s %s/%s%s%s\n", words[(int)o.letter], test->group, test->name,
		       text[0] ? ": " : "", text);
	else
		printf("%s %u - %s %s/%s%s%s\n", o.letter == 'F' ? "not ok" : "ok", number,
		       provider->name, test->group, test->name,
		       o.letter == 'S' ? " # SKIP " : o.letter == 'F' ? " # " : "", text);
	fflush(stdout);
}

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

static void run_provider(char **names, int count, bool known_wrong)
{
	char why[1100];
	int fd;

	fd = provider->open();
	if (fd < 0) {
		printf("# %s: not present (%s)\n", provider->name, strerror(-fd));
		return;
	}
	provider->close(fd);
	environment = 0;
	environment = probe(why, sizeof(why));
	printf("# %s: %s%s%s\n", provider->name, provider->description, why[0] ? "; " : "", why);
	for (size_t i = 0; i < test_count; i++) {
		const struct test *t = &tests[i];
		const char *known = NULL;

		if (!selected(t, names, count))
			continue;
		if (environment & t->kills_on) {
			struct outcome skipped = { .letter = 'S' };

			snprintf(skipped.text, sizeof(skipped.text), "not tried here: %s", t->kills);
			report(t, skipped, NULL);
			continue;
		}
		if (environment & ON_LINUX)
			known = t->wrong_on_linux;
		if ((environment & ON_PARAVIRT) && t->wrong_on_paravirt)
			known = t->wrong_on_paravirt;
		if ((environment & ON_TCG) && t->wrong_on_tcg)
			known = t->wrong_on_tcg;
		if (!known_wrong)
			known = NULL;
		report(t, in_child(t, NULL, known ? 3 : timeout_seconds), known);
	}
}

static const char usage[] =
	"usage: guest-test [--provider kvm|soft|all] [--engine interp|jit] [--timeout SECONDS]\n"
	"                  [--plain] [--strict]\n"
	"                  [--list] [GROUP | GROUP/NAME | NAME]...\n"
	"Runs the small guests over the KVM API's providers; TAP on standard output.\n"
	"  --engine    how the software processor runs guest code\n"
	"  --list      names the tests and says what each shows\n"
	"  --plain     one line a test instead of TAP\n"
	"  --strict    a failure is a failure even where it is known\n"
	"  --timeout   seconds for each test (20)\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "provider", required_argument, NULL, 'p' },
		{ "engine", required_argument, NULL, 'e' },
		{ "timeout", required_argument, NULL, 't' },
		{ "list", no_argument, NULL, 'l' },
		{ "plain", no_argument, NULL, 'n' },
		{ "strict", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *wanted = "all";
	bool list = false, known_wrong = true;
	size_t chosen = 0, present = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			wanted = optarg;
			break;
		case 'e':
			if (kvm_provider_soft_engine(optarg)) {
				fputs(usage, stderr);
				return 2;
			}
			break;
		case 't':
			timeout_seconds = atoi(optarg);
			break;
		case 'l':
			list = true;
			break;
		case 'n':
			tap = false;
			break;
		case 's':
			known_wrong = false;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (timeout_seconds < 1 || (strcmp(wanted, "all") && strcmp(wanted, "kvm") &&
				    strcmp(wanted, "soft"))) {
		fputs(usage, stderr);
		return 2;
	}
	image_load();
	test_count = image_tests(tests, MAX_TESTS);
	for (size_t i = 0; i < ARRAY_SIZE(c_tests); i++)
		for (const struct test *t = c_tests[i]; t->name && test_count < MAX_TESTS; t++)
			tests[test_count++] = *t;
	for (size_t i = 0; i < test_count; i++) {
		if (!selected(&tests[i], argv + optind, argc - optind))
			continue;
		chosen++;
		if (list)
			printf("%s/%s: %s\n", tests[i].group, tests[i].name, tests[i].text);
	}
	if (list)
		return 0;
	if (!chosen) {
		fprintf(stderr, "guest-test: no such test; --list names them\n");
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(providers); i++) {
		int fd;

		if (strcmp(wanted, "all") && strcmp(wanted, providers[i]->name))
			continue;
		fd = providers[i]->open();
		if (fd >= 0) {
			providers[i]->close(fd);
			present++;
		}
	}
	if (tap && present)
		printf("1..%zu\n", present * chosen);
	else if (tap)
		printf("1..0 # SKIP provider %s is not present\n", wanted);
	for (size_t i = 0; i < ARRAY_SIZE(providers); i++) {
		provider = providers[i];
		if (!strcmp(wanted, "all") || !strcmp(wanted, provider->name))
			run_provider(argv + optind, argc - optind, known_wrong);
	}
	printf("# %u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed != 0;
}
