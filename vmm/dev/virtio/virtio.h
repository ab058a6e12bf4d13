/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio devices (OASIS virtio 1.2), without the way the guest reaches them.
 *
 * A device (blk, rng, console) is a struct virtio_device with operations on its queues and its
 * configuration space. A transport (virtio_pci.c) carries status, features, queue addresses and
 * notifications from the guest and interrupts to it, and owns the device. Neither knows the other:
 * this file and virtio.c stand between, and hold all that both share.
 *
 * Threads: the guest's register accesses come in on vCPU threads. All work on queues is done on the
 * loop thread: a notification is an eventfd that the loop watches. Both hold the lock.
 *
 * Resets: a guest may reset a device that has requests with a backend, which still read and write
 * guest memory. The reset then ends when the last of them does; until that the status register
 * keeps its old value, which is how a driver learns that it has to wait (virtio 1.2, 4.1.4.3.1).
 */
#ifndef VMM_DEV_VIRTIO_VIRTIO_H
#define VMM_DEV_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/dev/virtio/virtqueue.h"
#include "vmm/error.h"
#include "vmm/loop.h"
#include "vmm/machine/machine.h"
#include "vmm/state.h"

#define VIRTIO_MAX_QUEUES	32

/* Chains that a device takes from a queue before others on the loop thread get their turn. */
#define VIRTIO_BATCH		256

struct virtio_device;

struct virtio_device_ops {
	const char *name;		/* "virtio-blk": what the machine calls it, with a number */
	uint16_t id;			/* the device type */
	uint32_t pci_class;		/* class, subclass, interface */
	/* Of the struct that begins with the virtio_device; NULL where there is nothing to save. */
	const struct state_table *state;

	/* The transport is attached: connect the backend. Returns 0 or -errno. May be NULL. */
	int (*start)(struct virtio_device *vdev);
	/*
	 * There may be chains in the queue. Takes up to VIRTIO_BATCH of them; where more may be
	 * left, ends with virtio_queue_kick(). On the loop thread, lock held, driver ready.
	 */
	void (*process)(struct virtio_device *vdev, unsigned int queue);
	/* The guest wrote its configuration space; the bytes are within it. NULL: all read-only. */
	void (*config_write)(struct virtio_device *vdev, unsigned int offset, unsigned int size,
			     uint32_t value);
	/* To the state at power-on. Nothing is in flight, the queues are reset. May be NULL. */
	void (*reset)(struct virtio_device *vdev);
	/* Frees the device, after virtio_device_destroy(). */
	void (*destroy)(struct virtio_device *vdev);
};

/* How a transport tells the driver something. Lock held. */
struct virtio_transport_ops {
	/* Buffers were used in the queue. */
	void (*queue_interrupt)(struct virtio_device *vdev, unsigned int queue);
	/* The configuration or the status changed. */
	void (*config_interrupt)(struct virtio_device *vdev);
	/* The device was reset: the transport's registers for the driver are too. */
	void (*reset)(struct virtio_device *vdev);
};

struct virtio_queue {
	struct virtio_device *vdev;
	uint32_t index;
	struct virtqueue vq;
	int kick_fd;			/* an eventfd: the driver notified */
	struct loop_fd watch;
};

struct virtio_device {
	const struct virtio_device_ops *ops;
	struct machine *machine;
	pthread_mutex_t *lock;		/* the transport's device's */

	const struct virtio_transport_ops *transport;
	void *transport_data;

	uint64_t host_features;		/* offered */
	uint64_t driver_features;	/* accepted */
	uint8_t status;			/* VIRTIO_CONFIG_S_* */
	uint8_t config_generation;
	bool resetting;			/* the driver waits for the end of a reset */
	bool paused;
	bool dma;			/* the transport lets the device at memory */
	unsigned int in_flight;		/* requests with a backend */

	uint8_t *config;		/* the configuration space as the driver reads it */
	unsigned int config_size;

	struct virtio_queue *queues;
	uint32_t queue_count;
};

/* ------------------------------------------------------------------ for devices */

/*
 * Prepares a device with count queues of at most queue_size entries. features are offered beside
 * those every device has; config is the device's own and lives as long. Returns 0 or -errno.
 */
int virtio_device_init(struct virtio_device *vdev, const struct virtio_device_ops *ops,
		       struct machine *machine, unsigned int queue_count, uint16_t queue_size,
		       uint64_t features, void *config, unsigned int config_size);

/* Gives back what init took. */
void virtio_device_destroy(struct virtio_device *vdev);

/* Whether the driver accepted a feature bit. */
static inline bool virtio_has_feature(const struct virtio_device *vdev, unsigned int bit)
{
	return vdev->driver_features >> bit & 1;
}

/* Whether queues may be worked on: the driver is ready, the machine runs, nothing is wrong. */
bool virtio_is_running(const struct virtio_device *vdev);

/* virtqueue_pop(), which also tells the driver of its mistake. Returns true with a chain. */
bool virtio_queue_pop(struct virtio_device *vdev, unsigned int queue,
		      struct virtqueue_chain *chain);

/* Interrupts the driver if it wants to know of what was pushed to the queue. */
void virtio_queue_flush(struct virtio_device *vdev, unsigned int queue);

/* Has the loop thread process the queue, soon. Any thread. */
void virtio_queue_kick(struct virtio_device *vdev, unsigned int queue);

/* The driver made a mistake that the device cannot get over: it has to reset the device. */
void virtio_device_broken(struct virtio_device *vdev);

/* The device's configuration bytes have changed. */
void virtio_config_changed(struct virtio_device *vdev);

/* Counts requests that a backend works on. The last one to finish ends a reset that waits. */
void virtio_request_started(struct virtio_device *vdev);
void virtio_request_finished(struct virtio_device *vdev);

/* ------------------------------------------------------------------ for transports; lock held */

/* Connects a device; its lock is the transport's from here on. */
void virtio_attach(struct virtio_device *vdev, const struct virtio_transport_ops *transport,
		   void *transport_data, pthread_mutex_t *lock);

/* Connects the backend and starts to watch the queues' eventfds. Returns 0 or -errno. */
int virtio_start(struct virtio_device *vdev);

/* The status register. What a driver reads while a reset is not finished is the old value. */
static inline uint8_t virtio_status(const struct virtio_device *vdev)
{
	return vdev->status;
}
void virtio_set_status(struct virtio_device *vdev, uint8_t status);

/* The accepted features, 32 at a time; not after FEATURES_OK. */
void virtio_set_features(struct virtio_device *vdev, unsigned int word, uint32_t features);

/* The transport lets the device read and write memory from now on, or not. */
void virtio_set_dma(struct virtio_device *vdev, bool on);

/* Whether the driver may still place the queue: negotiated, not enabled, within range. */
bool virtio_queue_is_open(const struct virtio_device *vdev, unsigned int queue);

/* The driver has placed the queue and says that it is usable. */
void virtio_queue_enable(struct virtio_device *vdev, unsigned int queue);

/* The configuration space, size bytes at offset; what lies outside reads as 0. */
uint32_t virtio_config_read(struct virtio_device *vdev, unsigned int offset, unsigned int size);
void virtio_config_write(struct virtio_device *vdev, unsigned int offset, unsigned int size,
			 uint32_t value);

/* The machine's reset, pause and resume; see struct device_ops. */
void virtio_device_reset(struct virtio_device *vdev);
void virtio_device_pause(struct virtio_device *vdev);
bool virtio_device_quiescent(struct virtio_device *vdev);
void virtio_device_resume(struct virtio_device *vdev);

extern const struct state_table virtio_device_state;

/* ------------------------------------------------------------------ making them */

/*
 * The devices by themselves, for a transport or a test to attach to. Return 0, or -errno with a
 * line in error. virtio_blk_create() and the others in machine.h put the same on PCI. The
 * console's backend is the device's once it was started; the network's is the device's from the
 * first, or destroyed on failure.
 */
int virtio_blk_new(struct machine *machine, const struct disk_config *disk,
		   struct virtio_device **vdev, struct vmm_error *error);
int virtio_net_new(struct machine *machine, const struct net_config *net,
		   struct net_backend *backend, struct virtio_device **vdev,
		   struct vmm_error *error);
int virtio_rng_new(struct machine *machine, struct virtio_device **vdev, struct vmm_error *error);
int virtio_fs_new(struct machine *machine, const struct share_config *share,
		  struct virtio_device **vdev, struct vmm_error *error);
int virtio_vsock_new(struct machine *machine, const struct vsock_config *config,
		     struct virtio_device **vdev, struct vmm_error *error);
int virtio_balloon_new(struct machine *machine, const struct balloon_config *config,
		       struct virtio_device **vdev, struct vmm_error *error);
int virtio_console_new(struct machine *machine, struct char_backend *backend,
		       struct virtio_device **vdev, struct vmm_error *error);

/* Puts a device on the machine's PCI bus. It is the bus's afterwards, or destroyed on failure. */
int virtio_pci_create(struct virtio_device *vdev, struct vmm_error *error);

#endif
