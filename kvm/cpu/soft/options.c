// SPDX-License-Identifier: GPL-2.0-only
/*
 * How virtual machines to come are made: the few things that are the process's and not the KVM API's. Each can be
 * set by anykvm_set_option, and where it is not, by an environment variable, which is the way for programs that
 * know nothing of this library.
 */
#include <string.h>

#include "kvm/anykvm.h"
#include "kvm/cpu/soft/inspect.h"
#include "kvm/cpu/soft/soft.h"

#define CODE_CACHE_MIN	(1u << 20)
#define CODE_CACHE_MAX	(2u << 30)	/* jumps in it reach so far */

static struct os_mutex lock;		/* all below */
static struct soft_options options = { .jit = true, .code_cache = 128 << 20 };
static u32 given;			/* rows set by a call: the environment does not count */
static bool environment_read;
static bool perf_map;

static int set_engine(const char *value)
{
	bool jit = !strcmp(value, "jit");

	if (!jit && strcmp(value, "interp"))
		return -EINVAL;
	options.jit = jit;
	return 0;
}

static int set_flag(const char *value, bool *flag)
{
	if (strcmp(value, "0") && strcmp(value, "1"))
		return -EINVAL;
	*flag = *value == '1';
	return 0;
}

static int set_perf_map(const char *value)
{
	return set_flag(value, &perf_map);
}

static int set_stats(const char *value)
{
	return set_flag(value, &options.stats);
}

/* Any of the names, with commas between. */
static int set_trace(const char *value)
{
	static const char *const names[] = { "exec", "exceptions", "translate" };	/* by bit */
	u32 trace = 0;

	for (;;) {
		size_t n = strcspn(value, ",");
		u32 k = 0;

		while (k < ARRAY_SIZE(names) && (strlen(names[k]) != n || memcmp(names[k], value, n)))
			k++;
		if (k == ARRAY_SIZE(names))
			return -EINVAL;
		trace |= BIT(k);
		if (!value[n])
			break;
		value += n + 1;
	}
	options.trace = trace;
	return 0;
}

/* A number of bytes, in K, M or G. */
static int set_code_cache(const char *value)
{
	u64 n = 0;

	if (!*value)
		return -EINVAL;
	for (; *value >= '0' && *value <= '9'; value++) {
		if (n > CODE_CACHE_MAX)
			return -EINVAL;
		n = n * 10 + (*value - '0');
	}
	n = min(n, (u64)CODE_CACHE_MAX + 1);
	switch (*value | 0x20) {
	case 'g': n <<= 30; break;
	case 'm': n <<= 20; break;
	case 'k': n <<= 10; break;
	}
	if (*value)
		value++;
	if (*value || n < CODE_CACHE_MIN || n > CODE_CACHE_MAX)
		return -EINVAL;
	options.code_cache = ALIGN_UP(n, 2 * PAGE_SIZE);
	return 0;
}

static const struct setting {
	const char *name, *variable, *values;
	int (*set)(const char *value);
} settings[] = {
	{ "engine", "ANYKVM_CPU_ENGINE", "interp or jit", set_engine },
	{ "perf-map", "ANYKVM_PERF_MAP", "0 or 1", set_perf_map },
	{ "stats", "ANYKVM_STATS", "0 or 1", set_stats },
	{ "trace", "ANYKVM_CPU_TRACE", "some of exec,exceptions,translate", set_trace },
	{ "code-cache", "ANYKVM_CODE_CACHE", "1M to 2G", set_code_cache },
	{ "trace-file", "ANYKVM_CPU_TRACE_FILE", "a file that can be written", os_show_to },
};

int anykvm_set_option(const char *name, const char *value)
{
	int r = -ENOENT;

	os_mutex_lock(&lock);
	for (u32 k = 0; k < ARRAY_SIZE(settings); k++) {
		if (strcmp(settings[k].name, name))
			continue;
		r = settings[k].set(value);
		if (!r)
			given |= BIT(k);
	}
	os_mutex_unlock(&lock);
	return r;
}

int anykvm_set_engine(const char *name)
{
	return anykvm_set_option("engine", name);
}

static int read_environment(void)
{
	for (u32 k = 0; k < ARRAY_SIZE(settings); k++) {
		const struct setting *s = &settings[k];
		const char *value = given & BIT(k) ? NULL : os_setting(s->variable);
		int r = value ? s->set(value) : 0;

		if (r == -EINVAL)
			os_log("%s=%s is not understood: give %s, or unset it", s->variable, value, s->values);
		else if (r)
			os_log("%s=%s does not work (error %d): unset it", s->variable, value, -r);
		if (r)
			return r;
	}
	environment_read = true;
	return 0;
}

int soft_get_options(struct soft_options *o)
{
	int r = 0;

	os_mutex_lock(&lock);
	if (!environment_read)
		r = read_environment();
	/* Not sooner: the file is named by the process, which may yet fork. */
	if (!r && perf_map) {
		r = os_perf_map_open();
		if (r)
			os_log("/tmp/perf-PID.map cannot be made (error %d): leave the perf map away", -r);
	}
	*o = options;
	os_mutex_unlock(&lock);
	return r;
}
