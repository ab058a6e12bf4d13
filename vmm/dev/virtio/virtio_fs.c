/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio file system device (virtio 1.2, section 5.11): FUSE requests from the guest to the server
 * in vmm/fs/, which serves a directory of the host.
 *
 * The host's file system may take its time, so requests are served by threads of the device's own,
 * made when there is more work than idle threads. The loop thread takes chains from the queues and
 * gives them back when an eventfd tells it that some are done. While a chain is with a thread,
 * nobody else touches it; the server needs no lock of the device.
 *
 * In a snapshot the guest's open files are not contained. It finds those gone (ESTALE, EBADF) when
 * it goes on elsewhere, and never another file in their place: see fs_next_number().
 */
#include <errno.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/dev/virtio/virtio.h"
#include "vmm/fs/fs.h"
#include "vmm/util.h"

enum { HIGH_PRIORITY, REQUESTS, QUEUES };

/* So that a request of FS_MAX_PAGES fits, even without indirect descriptors. */
#define QUEUE_SIZE	1024
#define MAX_THREADS	4

/* Descriptors of this process that are not for guests' files. */
#define OTHER_FILES	512
#define MIN_FILES	64
#define MAX_FILES	(1u << 20)

/* No honest guest opens so many files that their numbers get there. */
#define MAX_NUMBER	(1ull << 62)

struct fs_work {
	struct fs_work *next;		/* in work, done or free */
	struct iovec *iov;
	unsigned int iov_max;
	unsigned int out_count, in_count;
	unsigned int queue;
	uint16_t head;
	uint32_t written;
};

struct virtio_fs {
	struct virtio_device vdev;
	struct virtio_fs_config config;
	struct fs *fs;
	struct fs_work *free;
	struct loop_fd watch;		/* something is done */
	int done_fd;			/* an eventfd */
	struct iovec iov[VIRTQUEUE_MAX_IOV];	/* of the chain at hand */
	/* as saved */
	uint64_t next_number;
	bool in_session;

	pthread_mutex_t work_lock;	/* a leaf; protects what follows */
	pthread_cond_t wake;		/* there is work, or stop */
	struct fs_work *work, **work_tail;
	struct fs_work *done, **done_tail;
	unsigned int queued, idle;
	bool stop;
	unsigned int thread_count;
	pthread_t threads[MAX_THREADS];
};

static struct virtio_fs *to_fs(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_fs, vdev);
}

/* ------------------------------------------------------------------ the threads */

static void *serve(void *arg)
{
	struct virtio_fs *vfs = arg;
	struct fs_work *w;

	pthread_mutex_lock(&vfs->work_lock);
	for (;;) {
		while (!vfs->work && !vfs->stop) {
			vfs->idle++;
			pthread_cond_wait(&vfs->wake, &vfs->work_lock);
			vfs->idle--;
		}
		if (vfs->stop)
			break;
		w = vfs->work;
		vfs->work = w->next;
		if (!vfs->work)
			vfs->work_tail = &vfs->work;
		vfs->queued--;
		pthread_mutex_unlock(&vfs->work_lock);

		w->written = (uint32_t)fs_serve(vfs->fs, w->iov, w->out_count,
						w->iov + w->out_count, w->in_count);

		pthread_mutex_lock(&vfs->work_lock);
		w->next = NULL;
		*vfs->done_tail = w;
		vfs->done_tail = &w->next;
		if (vfs->done == w)
			eventfd_write(vfs->done_fd, 1);
	}
	pthread_mutex_unlock(&vfs->work_lock);
	return NULL;
}

/* Lock held. Signals stay with the threads that expect them. */
static int add_thread(struct virtio_fs *vfs)
{
	sigset_t all, before;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&vfs->threads[vfs->thread_count], NULL, serve, vfs);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret)
		return -ret;
	pthread_setname_np(vfs->threads[vfs->thread_count++], "fs");
	return 0;
}

static void submit(struct virtio_fs *vfs, struct fs_work *w)
{
	virtio_request_started(&vfs->vdev);
	pthread_mutex_lock(&vfs->work_lock);
	w->next = NULL;
	*vfs->work_tail = w;
	vfs->work_tail = &w->next;
	vfs->queued++;
	/* The first was made at the start: failing to add one only makes it slower. */
	if (vfs->queued > vfs->idle && vfs->thread_count < MAX_THREADS)
		add_thread(vfs);
	pthread_cond_signal(&vfs->wake);
	pthread_mutex_unlock(&vfs->work_lock);
}

static void stop_threads(struct virtio_fs *vfs)
{
	pthread_mutex_lock(&vfs->work_lock);
	vfs->stop = true;
	pthread_cond_broadcast(&vfs->wake);
	pthread_mutex_unlock(&vfs->work_lock);
	for (unsigned int i = 0; i < vfs->thread_count; i++)
		pthread_join(vfs->threads[i], NULL);
}

static void done_event(struct loop_fd *watch, uint32_t events)
{
	struct virtio_fs *vfs = container_of(watch, struct virtio_fs, watch);
	struct virtio_device *vdev = &vfs->vdev;
	struct fs_work *w, *next;
	eventfd_t count;

	if (eventfd_read(vfs->done_fd, &count))
		return;
	pthread_mutex_lock(&vfs->work_lock);
	w = vfs->done;
	vfs->done = NULL;
	vfs->done_tail = &vfs->done;
	pthread_mutex_unlock(&vfs->work_lock);

	pthread_mutex_lock(vdev->lock);
	for (; w; w = next) {
		next = w->next;
		virtqueue_push(&vdev->queues[w->queue].vq, w->head, w->written);
		w->next = vfs->free;
		vfs->free = w;
		virtio_request_finished(vdev);
	}
	for (unsigned int i = 0; i < QUEUES; i++)
		virtio_queue_flush(vdev, i);
	pthread_mutex_unlock(vdev->lock);
}

/* ------------------------------------------------------------------ requests */

static struct fs_work *get_work(struct virtio_fs *vfs, const struct virtqueue_chain *chain)
{
	unsigned int count = chain->out_count + chain->in_count;
	unsigned int needed = count ? count : 1;	/* a vector, be it empty */
	struct fs_work *w = vfs->free;
	struct iovec *iov;

	if (w)
		vfs->free = w->next;
	else
		w = calloc(1, sizeof(*w));
	if (w && needed > w->iov_max) {
		iov = realloc(w->iov, needed * sizeof(*iov));
		if (!iov) {
			w->next = vfs->free;
			vfs->free = w;
			return NULL;
		}
		w->iov = iov;
		w->iov_max = needed;
	}
	if (w)
		memcpy(w->iov, chain->iov, count * sizeof(*w->iov));
	return w;
}

static void fs_process(struct virtio_device *vdev, unsigned int queue)
{
	struct virtio_fs *vfs = to_fs(vdev);
	struct virtqueue_chain chain = { .iov = vfs->iov, .iov_max = VIRTQUEUE_MAX_IOV };
	unsigned int n;

	for (n = 0; n < VIRTIO_BATCH && virtio_queue_pop(vdev, queue, &chain); n++) {
		struct fs_work *w = get_work(vfs, &chain);

		if (!w) {
			/* No memory: an answer of no length fails the guest's request. */
			virtqueue_push(&vdev->queues[queue].vq, chain.head, 0);
			continue;
		}
		w->out_count = chain.out_count;
		w->in_count = chain.in_count;
		w->queue = queue;
		w->head = chain.head;
		submit(vfs, w);
	}
	if (n == VIRTIO_BATCH)
		virtio_queue_kick(vdev, queue);
}

/* ------------------------------------------------------------------ life and state */

static int fs_start(struct virtio_device *vdev)
{
	struct virtio_fs *vfs = to_fs(vdev);
	int ret;

	pthread_mutex_lock(&vfs->work_lock);
	ret = add_thread(vfs);
	pthread_mutex_unlock(&vfs->work_lock);
	if (ret)
		return ret;
	vfs->watch.fd = vfs->done_fd;
	vfs->watch.events = EPOLLIN;
	vfs->watch.callback = done_event;
	return loop_fd_add(vdev->machine->loop, &vfs->watch);
}

/* A guest that starts anew knows of no file. */
static void fs_device_reset(struct virtio_device *vdev)
{
	fs_reset(to_fs(vdev)->fs);
}

static void free_work(struct fs_work *w)
{
	while (w) {
		struct fs_work *next = w->next;

		free(w->iov);
		free(w);
		w = next;
	}
}

static void fs_device_destroy(struct virtio_device *vdev)
{
	struct virtio_fs *vfs = to_fs(vdev);

	loop_fd_del(&vfs->watch);
	stop_threads(vfs);
	free_work(vfs->free);
	free_work(vfs->work);
	free_work(vfs->done);
	fs_destroy(vfs->fs);
	close(vfs->done_fd);
	pthread_cond_destroy(&vfs->wake);
	pthread_mutex_destroy(&vfs->work_lock);
	virtio_device_destroy(vdev);
	free(vfs);
}

static void fs_pre_save(void *object)
{
	struct virtio_fs *vfs = object;

	vfs->next_number = fs_next_number(vfs->fs);
	vfs->in_session = fs_in_session(vfs->fs);
}

static int fs_post_load(void *object, unsigned int version)
{
	struct virtio_fs *vfs = object;

	if (vfs->next_number > MAX_NUMBER)
		return -EINVAL;
	if (vfs->next_number > fs_next_number(vfs->fs))
		fs_set_next_number(vfs->fs, vfs->next_number);
	fs_set_in_session(vfs->fs, vfs->in_session);
	return 0;
}

static const struct state_field fs_fields[] = {
	STATE_INT(1, 1, struct virtio_fs, next_number),
	STATE_INT(2, 1, struct virtio_fs, in_session),
};

STATE_TABLE_STATIC(fs_state, "virtio-fs", 1, struct virtio_fs, fs_fields,
		   .pre_save = fs_pre_save, .post_load = fs_post_load);

static const struct virtio_device_ops fs_ops = {
	.name = "virtio-fs",
	.id = VIRTIO_ID_FS,
	.pci_class = 0x018000,		/* mass storage, other */
	.state = &fs_state,
	.start = fs_start,
	.process = fs_process,
	.reset = fs_device_reset,
	.destroy = fs_device_destroy,
};

/*
 * How many files the guest may know and have open, all of which cost us a descriptor. The limit on
 * those is usually low for programs that use select(), which this one does not, and can be raised.
 */
static unsigned int file_limit(const struct machine *machine)
{
	unsigned int shares = machine->config->share_count;
	struct rlimit limit;
	rlim_t most;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return MIN_FILES;
	if (limit.rlim_cur < limit.rlim_max && limit.rlim_cur < MAX_FILES) {
		limit.rlim_cur = limit.rlim_max < MAX_FILES ? limit.rlim_max : MAX_FILES;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	most = limit.rlim_cur > 2 * OTHER_FILES ? limit.rlim_cur - OTHER_FILES :
						  limit.rlim_cur / 2;
	most /= shares ? shares : 1;
	return most < MIN_FILES ? MIN_FILES : most < MAX_FILES ? (unsigned int)most : MAX_FILES;
}

static int set_tag(struct virtio_fs *vfs, const struct share_config *share, struct vmm_error *error)
{
	const struct machine *machine = vfs->vdev.machine;
	char standard[16];
	const char *tag = share->tag;
	unsigned int number = 0;

	/* Named by its place, as in the guest's list of devices. */
	if (!tag) {
		for (const struct device *dev = machine->devices; dev; dev = dev->next)
			number += !strncmp(dev->name, fs_ops.name, strlen(fs_ops.name));
		snprintf(standard, sizeof(standard), "share%u", number);
		tag = standard;
	}
	if (!*tag || strlen(tag) > sizeof(vfs->config.tag))
		return vmm_fail(error, -EINVAL, "--share: %s: '%s' cannot be its tag: give 1 to "
				"%zu bytes", share->path, tag, sizeof(vfs->config.tag));
	memcpy(vfs->config.tag, tag, strlen(tag));
	return 0;
}

int virtio_fs_new(struct machine *machine, const struct share_config *share,
		  struct virtio_device **vdev, struct vmm_error *error)
{
	struct virtio_fs *vfs = calloc(1, sizeof(*vfs));
	int ret;

	if (!vfs)
		return vmm_fail(error, -ENOMEM, "--share: %s: out of memory", share->path);
	ret = fs_create(share->path, share->readonly, file_limit(machine), &vfs->fs, error);
	if (ret)
		goto out_free;
	vfs->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vfs->done_fd < 0) {
		ret = vmm_fail(error, -errno, "--share: %s: %s", share->path, strerror(errno));
		goto out_fs;
	}
	ret = virtio_device_init(&vfs->vdev, &fs_ops, machine, QUEUES, QUEUE_SIZE, 0, &vfs->config,
				 sizeof(vfs->config));
	if (ret) {
		vmm_fail(error, ret, "--share: %s: %s", share->path, strerror(-ret));
		goto out_close;
	}
	vfs->config.num_request_queues = QUEUES - REQUESTS;
	ret = set_tag(vfs, share, error);
	if (ret)
		goto out_device;
	pthread_mutex_init(&vfs->work_lock, NULL);
	pthread_cond_init(&vfs->wake, NULL);
	vfs->work_tail = &vfs->work;
	vfs->done_tail = &vfs->done;
	*vdev = &vfs->vdev;
	return 0;

out_device:
	virtio_device_destroy(&vfs->vdev);
out_close:
	close(vfs->done_fd);
out_fs:
	fs_destroy(vfs->fs);
out_free:
	free(vfs);
	return ret;
}

int virtio_fs_create(struct machine *machine, const struct share_config *share,
		     struct vmm_error *error)
{
	struct virtio_device *vdev;
	int ret = virtio_fs_new(machine, share, &vdev, error);

	return ret ? ret : virtio_pci_create(vdev, error);
}
