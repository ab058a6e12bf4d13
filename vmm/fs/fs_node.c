/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest knows and has open, by number. See fs_server.h.
 *
 * A node is one inode of the host, however many names it has: two names of one file must be one
 * file to the guest too. Our descriptor keeps the inode in existence, so that its number cannot
 * come to mean another file while the node lives.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/fs/fs_server.h"
#include "vmm/util.h"

/* ------------------------------------------------------------------ tables */

static uint64_t mix(uint64_t key)
{
	key ^= key >> 32;
	key *= 0x9e3779b97f4a7c15ull;
	return key ^ key >> 29;
}

static struct fs_link **bucket(const struct fs_table *t, uint64_t key)
{
	return &t->buckets[mix(key) & (t->size - 1)];
}

/* Makes room for one more. Chains get long, and nothing worse, where memory is short. */
static int grow(struct fs_table *t)
{
	struct fs_table larger = { .size = t->size ? 2 * t->size : 64 };

	if (t->count < t->size)
		return 0;
	larger.buckets = calloc(larger.size, sizeof(*larger.buckets));
	if (!larger.buckets)
		return t->size ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < t->size; i++) {
		struct fs_link *link;

		while ((link = t->buckets[i])) {
			struct fs_link **to = bucket(&larger, link->key);

			t->buckets[i] = link->next;
			link->next = *to;
			*to = link;
		}
	}
	free(t->buckets);
	t->buckets = larger.buckets;
	t->size = larger.size;
	return 0;
}

static void insert(struct fs_table *t, struct fs_link *link, uint64_t key)
{
	struct fs_link **to = bucket(t, key);

	link->key = key;
	link->next = *to;
	*to = link;
	t->count++;
}

static void take_out(struct fs_table *t, struct fs_link *link)
{
	struct fs_link **at = bucket(t, link->key);

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	t->count--;
}

static struct fs_link *find(const struct fs_table *t, uint64_t key)
{
	struct fs_link *link = t->size ? *bucket(t, key) : NULL;

	while (link && link->key != key)
		link = link->next;
	return link;
}

/* ------------------------------------------------------------------ nodes */

static struct fs_node *node_of(struct fs_link *by_number)
{
	return by_number ? container_of(by_number, struct fs_node, by_number) : NULL;
}

static uint64_t inode_key(dev_t dev, ino_t ino)
{
	return (uint64_t)ino + mix((uint64_t)dev);
}

static struct fs_node *find_inode(struct fs *fs, dev_t dev, ino_t ino)
{
	struct fs_link *link = find(&fs->inodes, inode_key(dev, ino));

	for (; link; link = link->next) {
		struct fs_node *node = container_of(link, struct fs_node, by_inode);

		if (node->dev == dev && node->ino == ino)
			return node;
	}
	return NULL;
}

static void insert_node(struct fs *fs, struct fs_node *node, uint64_t number)
{
	insert(&fs->nodes, &node->by_number, number);
	insert(&fs->inodes, &node->by_inode, inode_key(node->dev, node->ino));
}

int fs_nodes_init(struct fs *fs)
{
	if (grow(&fs->nodes) || grow(&fs->inodes) || grow(&fs->handles))
		return -ENOMEM;
	insert_node(fs, &fs->root, FUSE_ROOT_ID);
	fs->next_number = FUSE_ROOT_ID + 1;
	return 0;
}

/* Lock held. */
static void free_node_if_unused(struct fs *fs, struct fs_node *node)
{
	if (node == &fs->root || node->lookups || node->users)
		return;
	take_out(&fs->nodes, &node->by_number);
	take_out(&fs->inodes, &node->by_inode);
	close(node->fd);
	fs->files--;
	free(node);
}

struct fs_node *fs_node_get(struct fs *fs, uint64_t number)
{
	struct fs_node *node;

	pthread_mutex_lock(&fs->lock);
	node = node_of(find(&fs->nodes, number));
	if (node)
		node->users++;
	pthread_mutex_unlock(&fs->lock);
	return node;
}

void fs_node_put(struct fs *fs, struct fs_node *node)
{
	pthread_mutex_lock(&fs->lock);
	node->users--;
	free_node_if_unused(fs, node);
	pthread_mutex_unlock(&fs->lock);
}

int fs_node_enter(struct fs *fs, int fd, const struct stat *st, uint64_t *number)
{
	struct fs_node *node, *fresh = calloc(1, sizeof(*fresh));
	int ret = 0;

	pthread_mutex_lock(&fs->lock);
	node = find_inode(fs, st->st_dev, st->st_ino);
	if (!node) {
		if (!fresh || grow(&fs->nodes) || grow(&fs->inodes)) {
			ret = -ENOMEM;
		} else if (fs->files >= fs->max_files) {
			ret = -ENFILE;
		} else {
			node = fresh;
			fresh = NULL;
			node->dev = st->st_dev;
			node->ino = st->st_ino;
			node->type = st->st_mode & S_IFMT;
			node->fd = fd;
			fd = -1;
			fs->files++;
			insert_node(fs, node, fs->next_number++);
		}
	}
	if (node) {
		node->lookups++;
		*number = node->by_number.key;
	}
	pthread_mutex_unlock(&fs->lock);
	free(fresh);
	if (fd >= 0)
		close(fd);
	return ret;
}

void fs_node_forget(struct fs *fs, uint64_t number, uint64_t lookups)
{
	struct fs_node *node;

	pthread_mutex_lock(&fs->lock);
	node = node_of(find(&fs->nodes, number));
	if (node) {
		node->lookups -= lookups < node->lookups ? lookups : node->lookups;
		free_node_if_unused(fs, node);
	}
	pthread_mutex_unlock(&fs->lock);
}

void fs_nodes_drop(struct fs *fs)
{
	pthread_mutex_lock(&fs->lock);
	for (uint32_t i = 0; i < fs->nodes.size; i++) {
		struct fs_link *link = fs->nodes.buckets[i];

		while (link) {
			struct fs_node *node = node_of(link);

			link = link->next;
			node->lookups = 0;
			free_node_if_unused(fs, node);
		}
	}
	pthread_mutex_unlock(&fs->lock);
}

void fs_nodes_destroy(struct fs *fs)
{
	fs_handles_drop(fs);
	fs_nodes_drop(fs);
	free(fs->nodes.buckets);
	free(fs->inodes.buckets);
	free(fs->handles.buckets);
}

/* ------------------------------------------------------------------ handles */

int fs_handle_create(struct fs *fs, int fd, bool directory, uint64_t *number)
{
	struct fs_handle *handle = calloc(1, sizeof(*handle));
	int ret = handle ? 0 : -ENOMEM;

	if (ret)
		goto out;
	handle->fd = fd;
	handle->directory = directory;
	pthread_mutex_init(&handle->position, NULL);
	pthread_mutex_lock(&fs->lock);
	if (grow(&fs->handles)) {
		ret = -ENOMEM;
	} else if (fs->files >= fs->max_files) {
		ret = -ENFILE;
	} else {
		fs->files++;
		*number = fs->next_number++;
		insert(&fs->handles, &handle->by_number, *number);
	}
	pthread_mutex_unlock(&fs->lock);
	if (ret) {
		pthread_mutex_destroy(&handle->position);
		free(handle);
	}
out:
	if (ret)
		close(fd);
	return ret;
}

/* Closing may have to wait for the disk: with the lock not held. */
static void free_handle(struct fs_handle *handle)
{
	if (!handle)
		return;
	close(handle->fd);
	pthread_mutex_destroy(&handle->position);
	free(handle);
}

/* The handle, if it is to be freed now. Lock held. */
static struct fs_handle *unused(struct fs *fs, struct fs_handle *handle)
{
	if (!handle->released || handle->users)
		return NULL;
	fs->files--;
	return handle;
}

struct fs_handle *fs_handle_get(struct fs *fs, uint64_t number)
{
	struct fs_handle *handle = NULL;
	struct fs_link *link;

	pthread_mutex_lock(&fs->lock);
	link = find(&fs->handles, number);
	if (link) {
		handle = container_of(link, struct fs_handle, by_number);
		handle->users++;
	}
	pthread_mutex_unlock(&fs->lock);
	return handle;
}

void fs_handle_put(struct fs *fs, struct fs_handle *handle)
{
	pthread_mutex_lock(&fs->lock);
	handle->users--;
	handle = unused(fs, handle);
	pthread_mutex_unlock(&fs->lock);
	free_handle(handle);
}

/* As unused(). */
static struct fs_handle *release(struct fs *fs, struct fs_link *link)
{
	struct fs_handle *handle = container_of(link, struct fs_handle, by_number);

	take_out(&fs->handles, link);
	handle->released = true;
	return unused(fs, handle);
}

int fs_handle_release(struct fs *fs, uint64_t number)
{
	struct fs_handle *handle = NULL;
	struct fs_link *link;

	pthread_mutex_lock(&fs->lock);
	link = find(&fs->handles, number);
	if (link)
		handle = release(fs, link);
	pthread_mutex_unlock(&fs->lock);
	free_handle(handle);
	return link ? 0 : -EBADF;
}

void fs_handles_drop(struct fs *fs)
{
	pthread_mutex_lock(&fs->lock);
	for (uint32_t i = 0; i < fs->handles.size; i++)
		while (fs->handles.buckets[i])
			free_handle(release(fs, fs->handles.buckets[i]));
	pthread_mutex_unlock(&fs->lock);
}
