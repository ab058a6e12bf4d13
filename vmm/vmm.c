/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a description to a running machine: which devices it has, and the signals of the process
 * while it runs.
 */
#include "vmm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "vmm/char/char.h"
#include "vmm/char/terminal.h"
#ifdef HAVE_JANSSON
#include "vmm/control/control.h"
#endif
#include "vmm/dev/pc/pc.h"
#include "vmm/dev/pci/watchdog.h"
#include "vmm/machine/machine.h"
#include "vmm/net/net.h"
#include "vmm/util.h"

const struct kvm_provider *const *vmm_providers(void)
{
	static const struct kvm_provider *const providers[] = {
		&kvm_provider_linux, &kvm_provider_soft, NULL,
	};

	return providers;
}

/* A run, from its user's side. */
struct run {
	struct machine machine;
	struct control *control;	/* or NULL */
	uint64_t leaving_since;		/* loop_now() when the user first asked to leave, or 0 */
	struct loop_fd signals;		/* those that ask the process to end */
	sigset_t mask_before;
	struct sigaction pipe_before;
};

#define PATIENCE_NS	2000000000ULL

/*
 * The user wants to leave. It takes the vCPUs' and the disks' cooperation; a user who asks again
 * when that has had its time leaves without it. On the loop thread.
 */
static void leave(void *data)
{
	struct run *run = data;

	if (!run->leaving_since) {
		run->leaving_since = loop_now();
		machine_request_quit(&run->machine);
	} else if (loop_now() - run->leaving_since > PATIENCE_NS) {
		terminal_restore();
		_exit(1);
	}
}

/* ------------------------------------------------------------------ devices */

#ifdef HAVE_JANSSON

static int create_control(struct run *run, struct vmm_error *error)
{
	return run->machine.config->control ?
	       control_create(&run->machine, &run->control, error) : 0;
}

static void destroy_control(struct run *run)
{
	control_destroy(run->control);
}

#else

static int create_control(struct run *run, struct vmm_error *error)
{
	return 0;
}

static void destroy_control(struct run *run)
{
}

static int control_console(struct control *control, struct char_backend **backend,
			   struct vmm_error *error)
{
	return vmm_fail(error, -ENOSYS, "this build has no control sockets, and a console only "
			"on a terminal");
}

#endif

/* The backend for a console; for the one that the user asked for, stdio or what to attach to. */
static int create_backend(struct run *run, enum vm_console which,
			  struct char_backend **backend, struct vmm_error *error)
{
	struct machine *m = &run->machine;

	if (m->config->console == which && m->config->control && m->config->control->console)
		return control_console(run->control, backend, error);
	if (m->config->console == which)
		return char_stdio_create(m->loop, leave, run, backend, error);
	if (char_null_create(backend))
		return vmm_fail(error, -ENOMEM, "out of memory");
	return 0;
}

static int create_net(struct machine *m, const struct net_config *config, struct vmm_error *error)
{
	struct net_backend *backend;
	int err;

	if (config->kind == NET_NONE)
		return 0;
	err = net_create(m->loop, config, &backend, error);
	return err ? err : virtio_net_create(m, config, backend, error);
}

static int create_pci_devices(struct machine *m, struct vmm_error *error)
{
	int err = pci_host_create(m, error);

	/* First, since guests call them by their slots: another disk is not to rename them. */
	for (unsigned int i = 0; i < m->config->net_count && !err; i++)
		err = create_net(m, &m->config->nets[i], error);
	for (unsigned int i = 0; i < m->config->disk_count && !err; i++)
		err = virtio_blk_create(m, &m->config->disks[i], error);
	for (unsigned int i = 0; i < m->config->share_count && !err; i++)
		err = virtio_fs_create(m, &m->config->shares[i], error);
	if (m->config->vsock && !err)
		err = virtio_vsock_create(m, m->config->vsock, error);
	if (m->config->balloon && !err)
		err = virtio_balloon_create(m, m->config->balloon, error);
	if (m->config->watchdog && !err)
		err = i6300esb_create(m, m->config->watchdog, error);
	return err ? err : virtio_rng_create(m, error);
}

static int create_consoles(struct run *run, struct vmm_error *error)
{
	struct machine *m = &run->machine;
	struct char_backend *backend;
	int err = create_backend(run, VM_CONSOLE_SERIAL, &backend, error);

	if (!err)
		err = uart_create(m, UART_COM1_PORT, GSI_COM1, backend, error);
	if (err || (m->config->console != VM_CONSOLE_VIRTIO && !m->config->channel_count))
		return err;
	/* Channels are ports of the same device, with or without a console beside them. */
	backend = NULL;
	if (m->config->console == VM_CONSOLE_VIRTIO)
		err = create_backend(run, VM_CONSOLE_VIRTIO, &backend, error);
	return err ? err : virtio_console_create(m, backend, error);
}

/* The consoles come last: from then on the terminal is the guest's. */
static int create_devices(struct run *run, struct vmm_error *error)
{
	struct machine *m = &run->machine;
	int err = reset_ports_create(m, error);

	if (!err)
		err = acpi_pm_create(m, error);
	if (!err)
		err = rtc_create(m, error);
	if (!err)
		err = panic_port_create(m, error);
	if (!err)
		err = create_pci_devices(m, error);
	return err ? err : create_consoles(run, error);
}

/* ------------------------------------------------------------------ signals */

static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static void signal_arrived(struct loop_fd *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	if (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		leave(container_of(watch, struct run, signals));
}

/* Before the first thread, which inherits the mask. */
static void take_signals(struct run *run)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t mask;

	ending_signals(&mask);
	sigaddset(&mask, SIGWINCH);	/* the console's, by a signalfd */
	pthread_sigmask(SIG_BLOCK, &mask, &run->mask_before);
	/* A reader that left is not our end: the guest goes on without it. */
	sigaction(SIGPIPE, &ignore, &run->pipe_before);
}

static int watch_signals(struct run *run, struct vmm_error *error)
{
	sigset_t ending;
	int err;

	ending_signals(&ending);
	run->signals.fd = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signals.fd < 0)
		return vmm_fail(error, -errno, "cannot watch for signals: %s", strerror(errno));
	run->signals.events = EPOLLIN;
	run->signals.callback = signal_arrived;
	err = loop_fd_add(run->machine.loop, &run->signals);
	return err ? vmm_fail(error, err, "cannot watch for signals: %s", strerror(-err)) : 0;
}

static void give_signals_back(struct run *run)
{
	const struct timespec at_once = { 0 };
	sigset_t ending;

	if (run->signals.fd >= 0)
		close(run->signals.fd);
	/* One more of those that have been obeyed must not end the process now. */
	ending_signals(&ending);
	while (sigtimedwait(&ending, NULL, &at_once) > 0)
		;
	sigaction(SIGPIPE, &run->pipe_before, NULL);
	pthread_sigmask(SIG_SETMASK, &run->mask_before, NULL);
}

/* ------------------------------------------------------------------ the run */

/* A program started with one of these closed would get it for the next file it opens: a disk, into
 * which messages or the console were then written. */
static int occupy_standard_descriptors(struct vmm_error *error)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return vmm_fail(error, -errno, "cannot open /dev/null: %s",
					strerror(errno));
	return 0;
}

int vmm_run(const struct vm_config *config, char *error, size_t error_size)
{
	struct run run = { .signals.fd = -1 };
	struct vmm_error line = { 0 };
	int ret;

	take_signals(&run);
	ret = occupy_standard_descriptors(&line);
	if (!ret)
		ret = machine_create(&run.machine, config, &line);
	if (!ret)
		ret = watch_signals(&run, &line);
	if (!ret)
		ret = create_control(&run, &line);
	if (!ret)
		ret = create_devices(&run, &line);
	if (!ret)
		ret = machine_run(&run.machine, &line);
	/* The loop has stopped; devices and backends go, and the terminal is the user's again. */
	loop_fd_del(&run.signals);
	destroy_control(&run);
	machine_destroy(&run.machine);
	give_signals_back(&run);
	if (error_size)
		snprintf(error, error_size, "%s", line.text);
	return ret;
}
