/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * anykvm doctor: what this machine can run guests with.
 *
 * Reports on every provider what a VMM would want to know before it relies on one, as text for
 * people or as JSON for programs, and which one "auto" takes.
 */
#include "cli/cli.h"

#include <getopt.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <string.h>

#include "vmm/machine/probe.h"
#include "vmm/provider.h"
#include "vmm/vmm.h"

struct capability {
	const char *name;	/* as linux/kvm.h has it, without KVM_CAP_ */
	int number;
};

#define CAP(x)	{ #x, KVM_CAP_##x }

/* Those that decide what a VMM can do; most are a yes or no, some a number. */
static const struct capability capabilities[] = {
	CAP(NR_VCPUS), CAP(MAX_VCPUS), CAP(NR_MEMSLOTS), CAP(USER_MEMORY), CAP(READONLY_MEM),
	CAP(SYNC_MMU), CAP(IRQCHIP), CAP(SPLIT_IRQCHIP), CAP(PIT2), CAP(IRQ_ROUTING), CAP(IRQFD),
	CAP(IRQFD_RESAMPLE), CAP(IOEVENTFD), CAP(SIGNAL_MSI), CAP(EXT_CPUID), CAP(TSC_CONTROL),
	CAP(TSC_DEADLINE_TIMER), CAP(X2APIC_API), CAP(ADJUST_CLOCK), CAP(XSAVE), CAP(XSAVE2),
	CAP(XCRS), CAP(VCPU_EVENTS), CAP(DEBUGREGS), CAP(SET_GUEST_DEBUG), CAP(IMMEDIATE_EXIT),
	CAP(DIRTY_LOG_RING), CAP(MANUAL_DIRTY_LOG_PROTECT2), CAP(NESTED_STATE),
};

#define CAPABILITY_COUNT	(sizeof(capabilities) / sizeof(capabilities[0]))

struct diagnosis {
	const struct kvm_provider *provider;
	struct kvm_probe probe;
	bool has_caps;
	int caps[CAPABILITY_COUNT];
};

/* Returns whether the provider runs guests. */
static bool diagnose(struct diagnosis *d)
{
	bool works = kvm_probe_run(d->provider, &d->probe, true);
	int fd;

	fd = d->probe.opens ? d->provider->open() : -1;
	if (fd >= 0) {
		d->has_caps = true;
		for (size_t i = 0; i < CAPABILITY_COUNT; i++)
			d->caps[i] = d->provider->ioctl(fd, KVM_CHECK_EXTENSION,
					(void *)(uintptr_t)capabilities[i].number);
		d->provider->close(fd);
	}
	return works;
}

static const char *yes(bool x)
{
	return x ? "yes" : "no";
}

static void print_text(const struct diagnosis *d)
{
	const struct kvm_probe *probe = &d->probe;
	int column;

	printf("%s: %s\n", d->provider->name, d->provider->description);
	printf("  opens         %s\n", yes(probe->opens));
	if (probe->opens) {
		printf("  API version   %d\n", probe->api_version);
		printf("  long mode     %s\n", yes(probe->long_mode));
		printf("  cmpxchg16b    %s\n", yes(probe->cmpxchg16b));
		if (probe->loop_ns)
			printf("  loop          %s%.1f ms for a million iterations (hardware: 1)\n",
			       probe->loop ? "" : "more than ", probe->loop_ns / 1e6);
	}
	if (probe->reason[0])
		printf("  runs a kernel no: %s\n", probe->reason);
	else
		printf("  runs a kernel yes%s\n",
		       kvm_probe_fast(probe) ? "" : ", slower than hardware");
	if (!d->has_caps)
		return;
	column = printf("  capabilities ");
	for (size_t i = 0; i < CAPABILITY_COUNT; i++) {
		if (column + (int)strlen(capabilities[i].name) + 12 > 90)
			column = printf("\n               ") - 1;
		if (d->caps[i] > 1)
			column += printf(" %s=%d", capabilities[i].name, d->caps[i]);
		else
			column += printf(" %s%s", d->caps[i] == 1 ? "" : "no-",
					 capabilities[i].name);
	}
	printf("\n");
}

static void print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			printf("\\u%04x", *text);
		else
			putchar(*text);
	}
	putchar('"');
}

static const char *truth(bool x)
{
	return x ? "true" : "false";
}

static void print_json(const struct diagnosis *d, bool works)
{
	const struct kvm_probe *probe = &d->probe;

	printf("    {\n      \"name\": ");
	print_json_string(d->provider->name);
	printf(",\n      \"description\": ");
	print_json_string(d->provider->description);
	printf(",\n      \"opens\": %s,\n", truth(probe->opens));
	printf("      \"api_version\": %d,\n", probe->api_version);
	printf("      \"long_mode\": %s,\n", truth(probe->long_mode));
	printf("      \"cmpxchg16b\": %s,\n", truth(probe->cmpxchg16b));
	printf("      \"loop\": %s,\n", truth(probe->loop));
	printf("      \"loop_ns\": %llu,\n", (unsigned long long)probe->loop_ns);
	printf("      \"works\": %s,\n", truth(works));
	printf("      \"fast\": %s,\n", truth(kvm_probe_fast(probe)));
	printf("      \"reason\": ");
	print_json_string(probe->reason);
	printf(",\n      \"capabilities\": {");
	for (size_t i = 0; d->has_caps && i < CAPABILITY_COUNT; i++)
		printf("%s\n        \"KVM_CAP_%s\": %d", i ? "," : "", capabilities[i].name,
		       d->caps[i]);
	printf("%s}\n    }", d->has_caps ? "\n      " : "");
}

static int doctor_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct kvm_provider *chosen;
	char why[PROBE_REASON_SIZE + 64];
	bool json = false, any = false;
	bool works;
	int c, ret;

	while ((c = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(command_doctor.help, stdout);
			return cli_finish_output(&command_doctor);
		default:
			return cli_bad_option(&command_doctor, c, argv);
		}
	}
	if (optind < argc)
		return cli_extra_argument(&command_doctor, argv[optind]);

	if (json)
		printf("{\n  \"providers\": [");
	for (const struct kvm_provider *const *p = vmm_providers(); *p; p++) {
		struct diagnosis d = { .provider = *p };

		works = diagnose(&d);
		any |= works;
		if (json) {
			printf("%s\n", p == vmm_providers() ? "" : ",");
			print_json(&d, works);
		} else {
			print_text(&d);
			printf("\n");
		}
	}
	chosen = kvm_provider_auto(why, sizeof(why));
	if (json) {
		printf("\n  ],\n  \"auto\": {\n    \"provider\": ");
		print_json_string(chosen->name);
		printf(",\n    \"reason\": ");
		print_json_string(why);
		printf("\n  }\n}\n");
	} else {
		printf("--accel auto takes %s\n", why);
	}
	ret = cli_finish_output(&command_doctor);
	return ret ? ret : any ? CLI_OK : CLI_FAILED;
}

const struct command command_doctor = {
	.name = "doctor",
	.summary = "say what this machine can run guests with",
	.help =
"Usage: anykvm doctor [--json]\n"
"\n"
"Says of each provider of the KVM API whether it opens, its API version and\n"
"capabilities, and whether it can really run a kernel: a small guest enters long\n"
"mode with paging, executes cmpxchg16b and times a loop of a million iterations.\n"
"Says last which one --accel auto takes, and why.\n"
"\n"
"  --json               print all of it as JSON\n"
"  --help               print this\n"
"\n"
"Exit status: 0 where some provider runs guests, else 1.\n",
	.main = doctor_main,
};
