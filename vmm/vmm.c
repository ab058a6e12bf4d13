/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a description to a running machine: which devices it has, and the signals of the process
 * while it runs.
 */
#include "vmm/vmm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "vmm/char/char.h"
#include "vmm/dev/pc/pc.h"
#include "vmm/machine/machine.h"
#include "vmm/util.h"

const struct kvm_provider *const *vmm_providers(void)
{
	static const struct kvm_provider *const providers[] = {
		&kvm_provider_linux, &kvm_provider_soft, NULL,
	};

	return providers;
}

/* ------------------------------------------------------------------ devices */

static void quit(void *data)
{
	machine_request_quit(data);
}

/* The backend for a console, stdio for the one that the user asked for. */
static int create_backend(struct machine *m, enum vm_console which,
			  struct char_backend **backend, struct vmm_error *error)
{
	if (m->config->console == which)
		return char_stdio_create(m->loop, quit, m, backend, error);
	if (char_null_create(backend))
		return vmm_fail(error, -ENOMEM, "out of memory");
	return 0;
}

static int create_pci_devices(struct machine *m, struct vmm_error *error)
{
	int err = pci_host_create(m, error);

	for (unsigned int i = 0; i < m->config->disk_count && !err; i++)
		err = virtio_blk_create(m, &m->config->disks[i], error);
	return err ? err : virtio_rng_create(m, error);
}

static int create_consoles(struct machine *m, struct vmm_error *error)
{
	struct char_backend *backend;
	int err = create_backend(m, VM_CONSOLE_SERIAL, &backend, error);

	if (!err)
		err = uart_create(m, UART_COM1_PORT, GSI_COM1, backend, error);
	if (err || m->config->console != VM_CONSOLE_VIRTIO)
		return err;
	err = create_backend(m, VM_CONSOLE_VIRTIO, &backend, error);
	return err ? err : virtio_console_create(m, backend, error);
}

/* The consoles come last: from then on the terminal is the guest's. */
static int create_devices(struct machine *m, struct vmm_error *error)
{
	int err = reset_ports_create(m, error);

	if (!err)
		err = acpi_pm_create(m, error);
	if (!err)
		err = rtc_create(m, error);
	if (!err)
		err = panic_port_create(m, error);
	if (!err)
		err = create_pci_devices(m, error);
	return err ? err : create_consoles(m, error);
}

/* ------------------------------------------------------------------ signals */

/* Those that ask the process to end: they are read by the loop, not delivered. */
static const int ending_signals[] = { SIGTERM, SIGINT, SIGHUP };

struct signals {
	struct machine *machine;
	struct loop_fd watch;
	sigset_t mask_before;
	struct sigaction pipe_before;
};

static void signal_arrived(struct loop_fd *watch, uint32_t events)
{
	struct signals *s = container_of(watch, struct signals, watch);
	struct signalfd_siginfo info;

	if (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		machine_request_quit(s->machine);
}

/* Before the first thread, which inherits the mask. */
static void take_signals(struct signals *s)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t mask;

	sigemptyset(&mask);
	for (unsigned int i = 0; i < ARRAY_SIZE(ending_signals); i++)
		sigaddset(&mask, ending_signals[i]);
	sigaddset(&mask, SIGWINCH);	/* the console's, by a signalfd */
	pthread_sigmask(SIG_BLOCK, &mask, &s->mask_before);
	/* A reader that left is not our end: the guest goes on without it. */
	sigaction(SIGPIPE, &ignore, &s->pipe_before);
}

static int watch_signals(struct signals *s, struct machine *m, struct vmm_error *error)
{
	sigset_t ending;
	int err;

	sigemptyset(&ending);
	for (unsigned int i = 0; i < ARRAY_SIZE(ending_signals); i++)
		sigaddset(&ending, ending_signals[i]);
	s->machine = m;
	s->watch = (struct loop_fd){
		.fd = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK), .events = EPOLLIN,
		.callback = signal_arrived,
	};
	if (s->watch.fd < 0)
		return vmm_fail(error, -errno, "cannot watch for signals: %s", strerror(errno));
	err = loop_fd_add(m->loop, &s->watch);
	return err ? vmm_fail(error, err, "cannot watch for signals: %s", strerror(-err)) : 0;
}

static void give_signals_back(struct signals *s)
{
	const struct timespec at_once = { 0 };
	sigset_t ending;

	loop_fd_del(&s->watch);
	if (s->watch.fd >= 0)
		close(s->watch.fd);
	/* One more of those that have been obeyed must not end the process now. */
	sigemptyset(&ending);
	for (unsigned int i = 0; i < ARRAY_SIZE(ending_signals); i++)
		sigaddset(&ending, ending_signals[i]);
	while (sigtimedwait(&ending, NULL, &at_once) > 0)
		;
	sigaction(SIGPIPE, &s->pipe_before, NULL);
	pthread_sigmask(SIG_SETMASK, &s->mask_before, NULL);
}

/* ------------------------------------------------------------------ the run */

int vmm_run(const struct vm_config *config, char *error, size_t error_size)
{
	struct signals signals = { .watch.fd = -1 };
	struct vmm_error line = { 0 };
	struct machine m;
	int ret;

	take_signals(&signals);
	ret = machine_create(&m, config, &line);
	if (!ret)
		ret = watch_signals(&signals, &m, &line);
	if (!ret)
		ret = create_devices(&m, &line);
	if (!ret)
		ret = machine_run(&m, &line);
	/* The loop has stopped; devices and backends go, and the terminal is the user's again. */
	if (signals.watch.loop)
		loop_fd_del(&signals.watch);
	machine_destroy(&m);
	give_signals_back(&signals);
	if (error_size)
		snprintf(error, error_size, "%s", line.text);
	return ret;
}
