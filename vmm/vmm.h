/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The emulator, from outside: describe a virtual machine, run it to its end, learn how it ended.
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kvm_provider;

#define VM_MAX_CPUS	254	/* xAPIC identifiers; 255 is "all" */
#define VM_MIN_MEMORY	(2ULL << 20)

struct disk_config {
	const char *path;
	const char *format;	/* "raw" or "qcow2"; NULL: qcow2 if it begins like one, else raw */
	bool readonly;		/* the guest may not write */
	bool ephemeral;		/* the guest's writes are forgotten at the end */
	bool direct;		/* past the host's page cache, where that can be */
	const char *serial;	/* how the guest may know it, 1 to 20 bytes; NULL: disk0, disk1, … */
	unsigned int queues;	/* 0: one for each vCPU */
	/* The most of requests and of bytes read and written in a second; 0: no limit. */
	uint64_t iops, bps;
	/* How many of them may go at once after a pause; 0: a tenth of a second's. */
	uint64_t iops_burst, bps_burst;
};

/* A directory of the host's that the guest mounts: mount -t virtiofs TAG /mnt. */
struct share_config {
	const char *path;
	const char *tag;	/* what the guest calls it, 1 to 36 bytes; NULL: share0, share1, … */
	bool readonly;
};

/* Sockets between host and guest, without a network. See vmm/dev/virtio/virtio_vsock.c. */
struct vsock_config {
	const char *path;	/* a Unix socket to be made; the guest's port P is at path_P */
	uint32_t cid;		/* the guest's address, from 3 on; 0: 3 */
};

/* A port of the virtio console, which the guest finds as /dev/virtio-ports/NAME. */
struct channel_config {
	const char *name;	/* org.qemu.guest_agent.0 */
	const char *path;	/* a Unix socket to be made, the host's end */
};

/* Memory that the guest gives back. */
struct balloon_config {
	uint64_t size;		/* what the guest is to keep; 0: all. Can be changed as it runs */
};

enum watchdog_action {
	WATCHDOG_RESET,
	WATCHDOG_POWEROFF,
	WATCHDOG_PAUSE,
	WATCHDOG_NONE,		/* says so, and lets it hang */
};

struct watchdog_config {
	unsigned int action;	/* enum watchdog_action */
};

enum net_kind {
	NET_USER,		/* a network inside this process, by libslirp */
	NET_TAP,		/* a tap device of the host's */
	NET_SOCKET,		/* another machine's network device, over a stream socket */
	NET_PASST,		/* a running passt */
	NET_NONE,		/* no network device */
};

/* A port of the host that leads to one of the guest's, with NET_USER. */
struct net_forward {
	const char *address;	/* of the host, IPv4; NULL: all it has */
	uint16_t host_port, guest_port;
	bool udp;		/* instead of TCP */
};

struct net_config {
	enum net_kind kind;
	uint8_t mac[6];		/* all zeroes: one is chosen */
	unsigned int queues;	/* pairs of queues; 0: 1. More only with NET_TAP. */
	unsigned int mtu;	/* that the guest is told; 0: none */
	/* NET_USER */
	bool restricted;	/* no way out but forwarded ports */
	const struct net_forward *forwards;
	unsigned int forward_count;
	/* NET_TAP: ifname, or bridge and perhaps ifname, or fd. */
	const char *ifname;
	const char *bridge;	/* to put a new device into */
	unsigned int fd;	/* an open tap device; 0: none */
	/* NET_SOCKET: one of them, a path or HOST:PORT. */
	const char *listen;
	const char *connect;
	const char *path;	/* NET_PASST: its socket */
};

enum vm_console {
	VM_CONSOLE_SERIAL,	/* stdio is COM1 (guest: console=ttyS0) */
	VM_CONSOLE_VIRTIO,	/* stdio is a virtio console (guest: console=hvc0) */
	VM_CONSOLE_NONE,
};

/* How others find the machine while it runs, and talk to it; see vmm/control/control.h. */
struct control_config {
	const char *name;
	const char *directory;		/* the machine's own (vmm/control/rundir.h) */
	const char *description;	/* its configuration, as JSON; or NULL */
	bool console;			/* the console is to attach to and logged, not on stdio */
};

struct vm_config {
	const char *kernel;	/* a bzImage, or an ELF vmlinux; needed */
	const char *initrd;	/* or NULL */
	const char *cmdline;	/* or NULL */
	uint64_t memory;	/* bytes, a multiple of 4 KiB */
	unsigned int cpus;
	const struct disk_config *disks;
	unsigned int disk_count;
	const struct net_config *nets;
	unsigned int net_count;
	const struct kvm_provider *provider;	/* who runs the guest */
	const struct share_config *shares;
	unsigned int share_count;
	const struct channel_config *channels;
	unsigned int channel_count;
	const struct vsock_config *vsock;	/* or NULL */
	const struct balloon_config *balloon;	/* or NULL */
	const struct watchdog_config *watchdog;	/* or NULL */
	bool no_reboot;		/* a guest's reset ends the run */
	enum vm_console console;
	const struct control_config *control;	/* or NULL */
	/* Called once the guest runs, on vmm_run's thread. May be NULL. */
	void (*started)(void *data);
	void *started_data;
};

/* How a run ended. */
enum vm_exit {
	VM_EXIT_POWEROFF = 0,	/* the guest switched the machine off */
	VM_EXIT_RESET = 1,	/* the guest asked for a reset, and no_reboot */
	VM_EXIT_PANIC = 2,	/* the guest panicked or triple-faulted; error says which */
	VM_EXIT_QUIT = 3,	/* the user left: Ctrl-A x, SIGTERM, SIGINT or SIGHUP */
};

/*
 * Runs a machine until it ends. Returns an enum vm_exit, or -errno when it could not be built or
 * run on; then error holds one line for the user, without newline. Blocks and handles SIGTERM,
 * SIGINT, SIGHUP meanwhile, puts the terminal into raw mode where it is one and back at the end.
 */
int vmm_run(const struct vm_config *config, char *error, size_t error_size);

/*
 * The providers linked into this program, ended by NULL, the preferred one first. Whether one
 * works on this machine is another question: see its open.
 */
const struct kvm_provider *const *vmm_providers(void);

#endif
