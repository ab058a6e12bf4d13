/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine: a VM of some KVM provider, its memory, processors and devices, and the loop thread
 * that the devices belong to.
 *
 * The board is a PC with PCI Express and no BIOS: interrupt chips and timer in KVM, one UART, an
 * RTC, a few ports for reset, everything else on PCI. Its map is below; ACPI tells it to guests.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/device.h"
#include "vmm/error.h"
#include "vmm/loop.h"
#include "vmm/provider.h"
#include "vmm/ram.h"
#include "vmm/vmm.h"

/* ------------------------------------------------------------------ the map */

#define PCI_MMIO32_START	0xc0000000ULL	/* BARs below 4 GiB */
#define PCI_MMIO32_END		0xe0000000ULL
#define PCI_ECAM_BASE		0xe0000000ULL	/* configuration space, 1 MiB a bus */
#define PCI_ECAM_BUSES		1
#define PCI_ECAM_SIZE		(PCI_ECAM_BUSES * 0x100000ULL)
#define IOAPIC_BASE		0xfec00000ULL
#define LAPIC_BASE		0xfee00000ULL
#define KVM_IDENTITY_MAP_BASE	0xfeffc000ULL	/* one page, for Intel's hosts */
#define KVM_TSS_BASE		0xfeffd000ULL	/* three pages, likewise */
#define PCI_MMIO64_SIZE		0x800000000ULL	/* 32 GiB, from machine.pci_mmio64_start on */

#define PCI_PIO_START		0xc000		/* port BARs */
#define PCI_PIO_END		0x10000

/* Inputs of the interrupt chips. 0-15 are both PICs' and the I/O APIC's, 16-23 the latter's. */
#define GSI_PIT			0		/* arrives at I/O APIC pin 2 */
#define GSI_COM1		4
#define GSI_RTC			8
#define GSI_ACPI		9
#define GSI_PCI_INTX		16		/* 16-19: pin (device + pin) % 4 of INTA-INTD */
#define GSI_PCI_INTX_COUNT	4
#define GSI_PINS		24		/* from here on: for MSI */

/* ------------------------------------------------------------------ the object */

struct vcpu;
struct pci_host;
struct virtio_device;
struct virtio_net;
struct irq_lines;
struct machine_control;

struct machine {
	const struct kvm_provider *provider;
	int kvm_fd, vm_fd;		/* the provider's */
	const struct vm_config *config;	/* outlives the machine */

	struct ram ram;
	uint64_t pci_mmio64_start;	/* BARs above 4 GiB: [start, start + PCI_MMIO64_SIZE) */

	struct bus pio;			/* ports */
	struct bus mmio;		/* memory addresses that are not RAM */
	struct device *devices;
	struct loop *loop;

	struct pci_host *pci;		/* vmm/bus/pci.h */
	struct virtio_blk *disks;	/* vmm/dev/virtio/virtio_blk.c */
	struct virtio_device *balloon;	/* or NULL; see virtio_balloon_set_size */
	struct virtio_net *nets;	/* or NULL; see virtio_net_set_link */

	struct vcpu *vcpus;
	unsigned int vcpu_count;

	struct irq_lines *lines;	/* irq.c */

	struct machine_control *control;	/* machine.c: running, paused, what is asked for */
};

/*
 * The life of a machine: create, add devices, run, destroy.
 *
 * machine_create makes the VM with its memory, chips, vCPUs and loop, and loads the kernel. Zeroes
 * *m first; machine_destroy undoes what was done, also after a failure. Returns 0 or -errno.
 */
int machine_create(struct machine *m, const struct vm_config *config, struct vmm_error *error);
void machine_destroy(struct machine *m);

/* Runs until the guest or the user ends it. Returns an enum vm_exit, or -errno with a line. With
 * VM_EXIT_PANIC error says how the guest died. */
int machine_run(struct machine *m, struct vmm_error *error);

/* How far a machine's life is. */
enum machine_state {
	MACHINE_STARTING,	/* no vCPU has run yet */
	MACHINE_RUNNING,
	MACHINE_PAUSED,		/* by machine_request_pause */
	MACHINE_ENDING,
};

/* Any thread. It may have changed when this returns. */
enum machine_state machine_state(struct machine *m);
/* Has call made (loop_defer) after each change of the state. One only; before machine_run. */
void machine_watch_state(struct machine *m, struct loop_call *call);

/* What machine_run does in between, on its thread: no vCPU runs and no device does anything between
 * pause and resume. A reset is only possible there. */
void machine_pause(struct machine *m);
void machine_resume(struct machine *m);
int machine_reset(struct machine *m, struct vmm_error *error);

/* As ioctl(2) on the VM, but -errno instead of -1. */
int machine_vm_ioctl(const struct machine *m, unsigned long request, void *arg);

/* ------------------------------------------------------------------ ioeventfd, irqfd, MSI */

/*
 * Makes the guest's writes of length bytes (1, 2, 4, 8; 0 for any) to addr, in ports (pio) or
 * memory, signal fd instead of calling a handler; with match, only writes of that value.
 * Returns 0 or -errno: -EEXIST where one like it is there.
 */
int machine_ioeventfd_add(struct machine *m, bool pio, uint64_t addr, unsigned int length,
			  const uint64_t *match, int fd);
/* Takes back what was added with the same arguments. */
int machine_ioeventfd_del(struct machine *m, bool pio, uint64_t addr, unsigned int length,
			  const uint64_t *match, int fd);

/* Makes a signal on fd raise gsi; with resample_fd (or -1), level-triggered: the line falls when
 * the guest ends the interrupt, and resample_fd is signalled. */
int machine_irqfd_add(struct machine *m, unsigned int gsi, int fd, int resample_fd);
int machine_irqfd_del(struct machine *m, unsigned int gsi, int fd);

/* Sends a message (MSI, MSI-X). Returns 0 or -errno. */
int machine_msi_send(struct machine *m, uint64_t address, uint32_t data);

/* ------------------------------------------------------------------ what devices ask for */

/* The guest wants the machine reset, switched off, or has said that it panicked. Any thread, locks
 * held or not; the deed is done by the thread in machine_run, once the vCPUs have stopped. */
void machine_request_reset(struct machine *m);
void machine_request_poweroff(struct machine *m);
void machine_request_panic(struct machine *m);
/* The user wants to leave (Ctrl-A x, SIGTERM). */
void machine_request_quit(struct machine *m);
/* The user wants the guest to stand still, or to go on. machine_state tells when it does. */
void machine_request_pause(struct machine *m);
void machine_request_resume(struct machine *m);

/* ------------------------------------------------------------------ what the board calls */

/* vmm/bus/pci_host.c: makes the root complex with its ECAM region and ports 0xcf8/0xcfc, and sets
 * m->pci. Returns 0 or -errno. */
int pci_host_create(struct machine *m, struct vmm_error *error);

/* vmm/dev/virtio/: each adds a device to m->pci. Disks come in the order of the command line.
 * The console's backend is a struct char_backend (vmm/char/char.h), which the device then owns;
 * NULL: there are only the channels of the configuration. */
struct char_backend;
int virtio_blk_create(struct machine *m, const struct disk_config *disk, struct vmm_error *error);

/* What a disk is, and what was done with it. */
struct disk_info {
	const struct disk_config *config;
	char id[21];		/* its serial number, as the guest reads it */
	uint64_t size;		/* in bytes */
	bool read_only;
	uint64_t reads, writes, flushes;	/* requests that succeeded; discards are writes */
	uint64_t read_bytes, written_bytes;
};

/* The disk of that number, from 0 on, in their order. Any thread. Returns false if there is none. */
bool virtio_blk_query(struct machine *m, unsigned int disk, struct disk_info *info);
/*
 * Makes it longer or shorter, and tells the guest. Any thread; takes as long as what the disk is
 * doing. Returns 0, or -errno with a line in error.
 */
int virtio_blk_resize(struct machine *m, unsigned int disk, uint64_t size, struct vmm_error *error);
/* The backend is a struct net_backend (vmm/net/net.h): the device's, or destroyed on failure. */
struct net_backend;
int virtio_net_create(struct machine *m, const struct net_config *net, struct net_backend *backend,
		      struct vmm_error *error);

struct net_counters {
	uint64_t frames, bytes;
};

/* How a network device is. */
struct net_info {
	bool plugged;		/* see virtio_net_set_link */
	bool link_up;		/* that is so, and there is somebody at the other end */
	uint8_t mac[6];
	struct net_counters received, sent;	/* by the guest, what got through */
};

/*
 * Plugs the cable of the network device of that number (0, 1, … in the order of their creation), or
 * pulls it out: then no frame gets through in either direction, and the guest sees that its link is
 * down. On the loop thread. Returns 0, or -ENODEV where there is no such device.
 */
int virtio_net_set_link(struct machine *m, unsigned int number, bool up);
/* Any thread. Returns as above. */
int virtio_net_query(struct machine *m, unsigned int number, struct net_info *info);

int virtio_rng_create(struct machine *m, struct vmm_error *error);
int virtio_fs_create(struct machine *m, const struct share_config *share, struct vmm_error *error);
int virtio_vsock_create(struct machine *m, const struct vsock_config *config,
			struct vmm_error *error);
int virtio_balloon_create(struct machine *m, const struct balloon_config *config,
			  struct vmm_error *error);

/* What a guest with a balloon has, in bytes. */
struct balloon_info {
	uint64_t memory;	/* of the machine */
	uint64_t wanted;	/* what the guest was told to keep */
	uint64_t actual;	/* what it keeps by now */
	uint64_t told;		/* loop_now() when the guest last told any of stats */
	uint32_t known;		/* a bit for each of stats that the guest has told */
	uint64_t stats[16];	/* by VIRTIO_BALLOON_S_* of linux/virtio_balloon.h */
};

/* Tells the guest how much memory to keep: all, or less. It may take its time, or not do it. Any
 * thread. Returns 0, -ENODEV without a balloon, -EINVAL for more than there is. */
int virtio_balloon_set_size(struct machine *m, uint64_t size);
/* What is known now; asks the guest for new statistics, which the next call will find. As above. */
int virtio_balloon_query(struct machine *m, struct balloon_info *info);
int virtio_console_create(struct machine *m, struct char_backend *backend,
			  struct vmm_error *error);

#endif
