/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VMM that forks: the child has copies of all objects but none of the threads that serve them. As
 * with Linux's KVM, only the process that made a VM may use it.
 */
#include <pthread.h>

#include "kvm/os/user/user.h"

static void before(void)
{
	user_fd_before_fork();
	user_worker_before_fork();
	user_eventfd_before_fork();
}

static void after(bool child)
{
	/* First, since the others close descriptors: under the shim, which would ask what they are. */
	user_fd_after_fork(child);
	user_eventfd_after_fork(child);
	user_worker_after_fork(child);
	if (child)
		user_copy_after_fork();
}

static void in_parent(void)
{
	after(false);
}

static void in_child(void)
{
	after(true);
}

static void register_handlers(void)
{
	pthread_atfork(before, in_parent, in_child);
}

void user_fork_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, register_handlers);
}
