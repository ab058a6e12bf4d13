/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets by their paths, for devices whose other end is a program on the host. */
#ifndef VMM_CHAR_LOCAL_SOCKET_H
#define VMM_CHAR_LOCAL_SOCKET_H

#include "vmm/error.h"

/*
 * Makes a stream socket at path that only this user can connect to, and listens. One that a process
 * left behind, to which nobody answers any more, is replaced. Returns a descriptor that does not
 * wait, or -errno with a line in error that begins with what ("--vsock").
 */
int local_socket_listen(const char *path, const char *what, struct vmm_error *error);

/* Connects to the socket at path, without waiting. Returns a descriptor that does not wait, or
 * -errno. */
int local_socket_connect(const char *path);

#endif
