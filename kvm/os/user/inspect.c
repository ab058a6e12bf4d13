/* SPDX-License-Identifier: GPL-2.0-only */
/* What helps people to look inside: settings from the environment, names of code for profilers,
 * lines for people,
 * disassembly. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvm/os/user/user.h"

const char *os_setting(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

static int show_fd = STDERR_FILENO;

int os_show_to(const char *path)
{
	int saved = errno, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	int r = fd < 0 ? -errno : 0;

	if (fd >= 0)
		WRITE_ONCE(show_fd, fd);	/* the one before may be in use */
	errno = saved;
	return r;
}

/* One write a line, so that lines of several threads do not mix. */
void os_show(const char *fmt, ...)
{
	int saved = errno, n;
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	n = min(max(n, 0), (int)sizeof(line) - 2);
	line[n++] = '\n';
	(void)!write(READ_ONCE(show_fd), line, n);
	errno = saved;
}

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>

#define STRING_OF(x)	#x
#define LIBRARY(major)	"libcapstone.so." STRING_OF(major)

/* Capstone is large: it is there only for those who look. */
static struct {
	pthread_mutex_t lock;		/* its handles are one thread's */
	bool tried;
	csh handle[3];			/* 16, 32 and 64 bits; all or none */
	typeof(cs_open) *open;
	typeof(cs_disasm) *disasm;
	typeof(cs_free) *free;
} capstone = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool load_capstone(void)
{
	static const cs_mode modes[] = { CS_MODE_16, CS_MODE_32, CS_MODE_64 };
	void *library;

	if (capstone.tried)
		return capstone.handle[2];
	capstone.tried = true;
	library = dlopen(LIBRARY(CS_API_MAJOR), RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return false;
	capstone.open = dlsym(library, "cs_open");
	capstone.disasm = dlsym(library, "cs_disasm");
	capstone.free = dlsym(library, "cs_free");
	if (!capstone.open || !capstone.disasm || !capstone.free)
		return false;
	for (u32 k = 0; k < ARRAY_SIZE(modes); k++)
		if (capstone.open(CS_ARCH_X86, modes[k], &capstone.handle[k]) != CS_ERR_OK)
			return false;
	return true;
}

u32 os_disassemble(const u8 *bytes, size_t n, u32 bits, u64 addr, char *text, size_t size)
{
	int saved = errno;
	cs_insn *insn;
	u32 len = 0;

	pthread_mutex_lock(&capstone.lock);
	if (load_capstone() &&
	    capstone.disasm(capstone.handle[bits >> 5], bytes, n, addr, 1, &insn)) {
		snprintf(text, size, "%s%s%s", insn->mnemonic, *insn->op_str ? " " : "", insn->op_str);
		len = insn->size;
		capstone.free(insn, 1);
	}
	pthread_mutex_unlock(&capstone.lock);
	errno = saved;
	return len;
}
#else
u32 os_disassemble(const u8 *bytes, size_t n, u32 bits, u64 addr, char *text, size_t size)
{
	return 0;
}
#endif

static int perf_map = -1;

int os_perf_map_open(void)
{
	char path[64];
	int fd, saved = errno, r;

	if (READ_ONCE(perf_map) >= 0)
		return 0;
	/* perf(1) knows this name, and everybody may write there: nothing that is there already is opened. */
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
	r = fd < 0 ? -errno : 0;
	errno = saved;
	if (fd >= 0 && !__sync_bool_compare_and_swap(&perf_map, -1, fd))
		close(fd);
	return r;
}

void os_perf_map_add(const void *code, size_t size, const char *fmt, ...)
{
	int fd = READ_ONCE(perf_map), saved = errno, n;
	char line[256];
	va_list ap;

	if (fd < 0)
		return;
	n = snprintf(line, sizeof(line), "%lx %zx ", (unsigned long)code, size);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	n = min(n, (int)sizeof(line) - 2);
	line[n++] = '\n';
	(void)!write(fd, line, n);	/* a full disk costs names, no more */
	errno = saved;
}
