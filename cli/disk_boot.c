/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel on a disk image; see disk_boot.h.
 *
 * The file systems are read by libext2fs, through our own images, so that any format and any chain
 * of images will do; nothing is mounted, and nothing written. What a guest wrote there is hostile:
 * partition tables are checked against the disk, files have limits, and libext2fs is made for
 * damaged file systems.
 */
#include "cli/disk_boot.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

#ifdef HAVE_EXT2FS

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/block/image.h"

#define SECTOR		512
#define PARTITIONS	128
#define KERNEL_LIMIT	(256ULL << 20)
#define INITRD_LIMIT	(1ULL << 30)
#define COPY_SIZE	(1 << 20)

struct partition {
	struct image *image;
	uint64_t offset, size;	/* bytes */
	unsigned int number;	/* from 1; 0: the whole disk */
};

/* ------------------------------------------------------------------ libext2fs's view of a
 * partition */

/* What the next ext2fs_open is to read: its io_manager gets nothing but a name. */
static struct partition *opening;

static errcode_t part_open(const char *name, int flags, io_channel *channel);
static errcode_t part_close(io_channel channel);
static errcode_t part_set_blksize(io_channel channel, int size);
static errcode_t part_read_blk(io_channel channel, unsigned long block, int count, void *data);
static errcode_t part_read_blk64(io_channel channel, unsigned long long block, int count,
				 void *data);
static errcode_t part_write_blk(io_channel channel, unsigned long block, int count,
				const void *data);
static errcode_t part_write_blk64(io_channel channel, unsigned long long block, int count,
				  const void *data);
static errcode_t part_flush(io_channel channel);

static struct struct_io_manager part_manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "a partition of an image",
	.open = part_open,
	.close = part_close,
	.set_blksize = part_set_blksize,
	.read_blk = part_read_blk,
	.write_blk = part_write_blk,
	.flush = part_flush,
	.read_blk64 = part_read_blk64,
	.write_blk64 = part_write_blk64,
};

static errcode_t part_open(const char *name, int flags, io_channel *channel)
{
	io_channel io = calloc(1, sizeof(*io));

	if (!io)
		return EXT2_ET_NO_MEMORY;
	io->name = strdup(name);
	if (!io->name) {
		free(io);
		return EXT2_ET_NO_MEMORY;
	}
	io->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	io->manager = &part_manager;
	io->block_size = 1024;
	io->refcount = 1;
	io->private_data = opening;
	*channel = io;
	return 0;
}

static errcode_t part_close(io_channel io)
{
	if (--io->refcount)
		return 0;
	free(io->name);
	free(io);
	return 0;
}

static errcode_t part_set_blksize(io_channel io, int size)
{
	io->block_size = size;
	return 0;
}

/* A negative count is one of bytes. */
static errcode_t part_read_blk64(io_channel io, unsigned long long block, int count, void *data)
{
	const struct partition *p = io->private_data;
	uint64_t length = count < 0 ? (uint64_t)-(int64_t)count : (uint64_t)count * io->block_size;
	uint64_t at;

	if (__builtin_mul_overflow(block, (uint64_t)io->block_size, &at) || at > p->size ||
	    length > p->size - at)
		return EXT2_ET_SHORT_READ;
	return image_read(p->image, p->offset + at, data, length) ? EXT2_ET_SHORT_READ : 0;
}

static errcode_t part_read_blk(io_channel io, unsigned long block, int count, void *data)
{
	return part_read_blk64(io, block, count, data);
}

static errcode_t part_write_blk64(io_channel io, unsigned long long block, int count,
				  const void *data)
{
	return EXT2_ET_RO_FILSYS;
}

static errcode_t part_write_blk(io_channel io, unsigned long block, int count, const void *data)
{
	return EXT2_ET_RO_FILSYS;
}

static errcode_t part_flush(io_channel io)
{
	return 0;
}

static ext2_filsys open_fs(struct partition *p)
{
	ext2_filsys fs;

	opening = p;
	return ext2fs_open("image", EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES, 0, 0,
			   &part_manager, &fs) ? NULL : fs;
}

/* ------------------------------------------------------------------ partition tables */

static uint32_t le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

static unsigned int add(struct partition *parts, unsigned int count, struct image *image,
			unsigned int number, uint64_t first, uint64_t sectors)
{
	const uint64_t all = image->size / SECTOR;

	if (!sectors || first >= all || sectors > all - first || count == PARTITIONS)
		return count;
	parts[count] = (struct partition){ image, first * SECTOR, sectors * SECTOR, number };
	return count + 1;
}

static unsigned int read_gpt(struct image *image, struct partition *parts)
{
	uint8_t header[SECTOR], entry[128];
	uint32_t entries, size;
	unsigned int count = 0;
	uint64_t at;

	if (image_read(image, SECTOR, header, sizeof(header)) || memcmp(header, "EFI PART", 8))
		return 0;
	at = le64(header + 72);
	entries = le32(header + 80);
	size = le32(header + 84);
	if (size < sizeof(entry) || size > 4096 || at > image->size / SECTOR)
		return 0;
	for (uint32_t i = 0; i < entries && i < PARTITIONS; i++) {
		if (image_read(image, at * SECTOR + (uint64_t)i * size, entry, sizeof(entry)))
			break;
		if (le64(entry) || le64(entry + 8))	/* else its type is "unused" */
			count = add(parts, count, image, i + 1, le64(entry + 32),
				    le64(entry + 40) - le64(entry + 32) + 1);
	}
	return count;
}

/* The whole disk, and the partitions of a GPT or an MBR. Logical partitions are not looked for. */
static unsigned int find_partitions(struct image *image, struct partition *parts)
{
	unsigned int count = add(parts, 0, image, 0, 0, image->size / SECTOR), more;
	uint8_t mbr[SECTOR];

	if (image_read(image, 0, mbr, sizeof(mbr)) || mbr[510] != 0x55 || mbr[511] != 0xaa)
		return count;
	more = read_gpt(image, parts + count);
	if (more)
		return count + more;
	for (unsigned int i = 0; i < 4; i++) {
		const uint8_t *entry = mbr + 446 + 16 * i;

		count = add(parts, count, image, i + 1, le32(entry + 8), le32(entry + 12));
	}
	return count;
}

/* ------------------------------------------------------------------ files */

/* A path's inode, through symbolic links, or 0. */
static ext2_ino_t look_up(ext2_filsys fs, const char *path)
{
	ext2_ino_t ino;

	return ext2fs_namei_follow(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino) ? 0 : ino;
}

/* The best kernel of a directory so far. */
struct kernel {
	char version[200];	/* what follows "vmlinuz" */
	bool found;
};

static int consider(struct ext2_dir_entry *entry, int offset, int block_size, char *block,
		    void *data)
{
	const char *const prefix = "vmlinuz";
	const size_t skip = strlen(prefix);
	size_t length = ext2fs_dirent_name_len(entry);
	struct kernel *best = data;
	char version[200];

	if (length < skip || length - skip >= sizeof(version) || memcmp(entry->name, prefix, skip))
		return 0;
	memcpy(version, entry->name + skip, length - skip);
	version[length - skip] = 0;
	/* Rescue kernels and remains of packages are not what a boot loader would take. */
	if (strstr(version, "rescue") || strstr(version, ".dpkg") || strstr(version, ".old"))
		return 0;
	if (!best->found || strverscmp(version, best->version) > 0)
		memcpy(best->version, version, sizeof(version));
	best->found = true;
	return 0;
}

/* Copies a file into memory. Returns a descriptor, or -errno. */
static int copy_file(ext2_filsys fs, ext2_ino_t ino, const char *name, uint64_t limit)
{
	char *buffer = malloc(COPY_SIZE);
	int fd = memfd_create(name, MFD_CLOEXEC), err = -EIO;
	uint64_t size, done = 0;
	unsigned int got;
	ext2_file_t file;

	if (!buffer || fd < 0)
		goto out;
	if (ext2fs_file_open(fs, ino, 0, &file))
		goto out;
	if (ext2fs_file_get_lsize(file, (__u64 *)&size) || size > limit)
		goto close;
	while (done < size) {
		if (ext2fs_file_read(file, buffer, COPY_SIZE, &got) || !got ||
		    write(fd, buffer, got) != (ssize_t)got)
			goto close;
		done += got;
	}
	err = 0;
close:
	ext2fs_file_close(file);
out:
	free(buffer);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

/* A path by which the file of a descriptor is opened again. */
static const char *path_of(struct config *c, int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return config_strdup(c, path);
}

/* By the names that distributions give them. */
static ext2_ino_t find_initrd(ext2_filsys fs, const char *directory, const char *version)
{
	static const char *const patterns[] = {
		"%s/initrd.img%s", "%s/initramfs%s.img", "%s/initrd%s", "%s/initramfs%s",
	};
	char path[256];
	ext2_ino_t ino = 0;

	for (unsigned int i = 0; i < sizeof(patterns) / sizeof(patterns[0]) && !ino; i++) {
		snprintf(path, sizeof(path), patterns[i], directory, version);
		ino = look_up(fs, path);
	}
	return ino;
}

/* ------------------------------------------------------------------ the search */

/* Takes kernel and initial RAM disk from a directory. Returns CLI_OK where there is a kernel, -1
 * where there is none, or another status. */
static int take_kernel(struct config *c, ext2_filsys fs, const char *directory)
{
	ext2_ino_t dir = *directory ? look_up(fs, directory) : EXT2_ROOT_INO, kernel, initrd;
	struct kernel best = { .found = false };
	char path[256];
	int fd;

	if (!dir || ext2fs_dir_iterate(fs, dir, 0, NULL, consider, &best) || !best.found)
		return -1;
	snprintf(path, sizeof(path), "%s/vmlinuz%s", directory, best.version);
	kernel = look_up(fs, path);
	if (!kernel)
		return -1;
	fd = copy_file(fs, kernel, "kernel", KERNEL_LIMIT);
	if (fd < 0)
		return cli_fail(&command_run, CLI_FAILED, "%s: its kernel %s cannot be read: give "
				"--kernel", c->image, path);
	c->vm.kernel = path_of(c, fd);
	initrd = c->vm.initrd ? 0 : find_initrd(fs, directory, best.version);
	if (initrd) {
		fd = copy_file(fs, initrd, "initrd", INITRD_LIMIT);
		if (fd < 0)
			return cli_fail(&command_run, CLI_FAILED, "%s: the initial RAM disk of %s "
					"cannot be read: give --kernel and --initrd", c->image, path);
		c->vm.initrd = path_of(c, fd);
	}
	return c->vm.kernel && (c->vm.initrd || !initrd) ? CLI_OK :
	       cli_fail(&command_run, CLI_FAILED, "%s", strerror(ENOMEM));
}

static bool is_root(ext2_filsys fs)
{
	return look_up(fs, "/etc") && (look_up(fs, "/sbin") || look_up(fs, "/usr"));
}

/* "root=…", as a kernel finds it: with an initial RAM disk by its UUID, wherever that finds it. */
static void name_root(const struct config *c, ext2_filsys fs, const struct partition *p, char *text,
		      size_t size)
{
	const uint8_t *u = fs->super->s_uuid;

	if (!c->vm.initrd && p->number)
		snprintf(text, size, "root=/dev/vda%u", p->number);
	else if (!c->vm.initrd)
		snprintf(text, size, "root=/dev/vda");
	else
		snprintf(text, size, "root=UUID=%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
			 "%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7],
			 u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

static int add_root(struct config *c, const char *root)
{
	const char *cmdline = c->vm.cmdline ? c->vm.cmdline : "console=ttyS0";
	size_t size = strlen(cmdline) + strlen(root) + 8;
	char *whole;

	if (!strncmp(cmdline, "root=", 5) || strstr(cmdline, " root="))
		return CLI_OK;
	whole = config_alloc(c, size);
	if (!whole)
		return cli_fail(&command_run, CLI_FAILED, "%s", strerror(ENOMEM));
	snprintf(whole, size, "%s ro %s", root, cmdline);
	c->vm.cmdline = whole;
	return CLI_OK;
}

/* The kernel is in /boot of the root file system, or on one of its own; so all are looked at. */
static int search(struct config *c, struct image *image)
{
	struct partition *parts = calloc(2 * PARTITIONS, sizeof(*parts)), *root = NULL;
	unsigned int count = parts ? find_partitions(image, parts) : 0;
	ext2_filsys fs = NULL, root_fs = NULL;
	int ret = -1;
	char name[80];

	for (unsigned int i = 0; i < count && ret <= 0 && !(root && !ret); i++) {
		fs = open_fs(&parts[i]);
		if (!fs)
			continue;
		if (ret < 0)
			ret = take_kernel(c, fs, "/boot");
		if (ret < 0)
			ret = take_kernel(c, fs, "");
		if (!root && is_root(fs)) {
			root = &parts[i];
			root_fs = fs;
		} else {
			ext2fs_close_free(&fs);
		}
	}
	if (ret < 0 || (!ret && !root))
		ret = cli_fail(&command_run, CLI_FAILED, "%s has no ext4 file system with %s on "
			       "it, and there is no firmware to boot it yet: give --kernel FILE, "
			       "and --initrd and --cmdline as it needs", c->image, ret ? "a kernel" : "a root");
	if (!ret) {
		name_root(c, root_fs, root, name, sizeof(name));
		ret = add_root(c, name);
	}
	if (root_fs)
		ext2fs_close_free(&root_fs);
	free(parts);
	return ret;
}

int disk_boot_find(struct config *c, const char *path, const char *format)
{
	struct vmm_error error = { "" };
	struct image *image;
	int ret;

	if (image_open(path, format, 0, &image, &error))
		return cli_fail(&command_run, CLI_FAILED, "%s", error.text);
	ret = search(c, image);
	image_close(image);
	return ret;
}

#else

int disk_boot_find(struct config *c, const char *path, const char *format)
{
	return cli_fail(&command_run, CLI_USAGE, "%s: this anykvm was built without libext2fs and "
			"finds no kernel on disks: give --kernel", path);
}

#endif
