/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libanykvm: the KVM API, served in this process.
 *
 * The calls mirror what a program does with /dev/kvm. Descriptors are real ones (memfds), so
 * mmap(2), poll(2), dup(2) and passing them on work as they do for Linux's; only ioctl and close
 * have to come through here, since the kernel does not know what they mean.
 */
#ifndef ANYKVM_H
#define ANYKVM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Opens the system object, as open("/dev/kvm") does. Returns a descriptor or -errno. */
int anykvm_open(void);

/*
 * As ioctl(2) for any descriptor that came from anykvm_open or from an ioctl on one, here or in
 * another process that passed it on. Returns the request's result or -errno; -ENOTTY where the
 * descriptor is not ours; -EIO where it is of a VM or vCPU of another process.
 */
int anykvm_ioctl(int fd, unsigned long request, void *arg);

/*
 * As mmap(2), which does for all but one thing: the ring of coalesced MMIO is the VM's, and only with this does every
 * vCPU's mapping show it. With mmap(2) it is in the first vCPU's.
 */
void *anykvm_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);

/* Closes a descriptor of ours; the object goes when its last descriptor and user are gone.
 * Returns 0 or -errno. */
int anykvm_close(int fd);

/*
 * A promise: from here on, whoever in this process closes a descriptor of ours, or makes its number stand for something
 * else (dup2, close_range), does it by anykvm_close or between the two calls below. Then ioctls need not ask the
 * kernel each time what a number stands for.
 */
void anykvm_changes_are_told(void);
void anykvm_begin_change(int fd);	/* of this number; -1: of any */
void anykvm_end_change(int fd);		/* by the same argument */

/* Lets go of objects whose last descriptor was closed by other means than anykvm_close. */
void anykvm_collect(void);

/* What a descriptor is. Those of other processes count. */
enum anykvm_kind {
	ANYKVM_NONE,		/* not one of ours */
	ANYKVM_SYSTEM,
	ANYKVM_OBJECT,		/* a VM, a vCPU or what came from one */
};
enum anykvm_kind anykvm_kind(int fd);

/* True where fd is a descriptor of ours. */
static inline bool anykvm_owns(int fd)
{
	return anykvm_kind(fd) != ANYKVM_NONE;
}

/*
 * Sets something of virtual machines created from now on. What is not set so is set by the environment's variable.
 *
 *   engine      ANYKVM_CPU_ENGINE   "interp" or "jit": who runs the guest's code
 *   perf-map    ANYKVM_PERF_MAP     "1": translated code is named by its guest address, for perf(1)
 *   stats       ANYKVM_STATS        "1": a virtual machine tells at its end what its processors counted
 *   code-cache  ANYKVM_CODE_CACHE   bytes, as in "64M": what a virtual machine keeps of decoded and translated code
 *   trace       ANYKVM_CPU_TRACE    what they do, on standard error: some of "exec,exceptions,translate"
 *   trace-file  ANYKVM_CPU_TRACE_FILE   and counters and traces go to this file instead
 *
 * Returns 0; -ENOENT: no such name; -EINVAL: no such value; another -errno where it cannot be done.
 */
int anykvm_set_option(const char *name, const char *value);

/* anykvm_set_option("engine", name) */
int anykvm_set_engine(const char *name);

#endif
