/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest of share.py runs, where busybox has nothing for it:
 *
 *	share-guest fsx FILE SEED STEPS		random operations, against a copy in memory
 *	share-guest echo PORT			gives back what it is sent, by AF_VSOCK
 *	share-guest send PORT			sends its input to the host, prints the answer
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define MAX_SIZE	(300u << 10)

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 20) % limit;
}

static _Noreturn void die(const char *what)
{
	printf("share-guest: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ------------------------------------------------------------------ fsx */

static uint8_t model[MAX_SIZE];		/* what the file is to be; zero behind its end */
static uint32_t size;
static uint8_t buffer[MAX_SIZE];
static const char *name;
static char other[256];
static int fd;

static void compare(const uint8_t *found, uint32_t at, uint32_t length, const char *how)
{
	for (uint32_t i = 0; i < length; i++)
		if (found[i] != model[at + i]) {
			printf("share-guest: %s: byte %u is %u, not %u\n", how, at + i, found[i],
			       model[at + i]);
			exit(1);
		}
}

static void set_size(uint32_t to)
{
	if (to < size)
		memset(model + to, 0, size - to);
	size = to;
}

/* A range that begins within the file. */
static uint32_t choose(uint32_t *at)
{
	*at = random_below(size + 1);
	return 1 + random_below(random_below(8) ? 5000 : 60000);
}

static void fill(uint32_t at, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		model[at + i] = (uint8_t)random_below(256);
	if (at + length > size)
		size = at + length;
}

static void do_write(void)
{
	uint32_t at, length = choose(&at);

	/* Sometimes beyond the end, so that there is a hole. */
	if (!random_below(6))
		at += random_below(20000);
	if (at + length > MAX_SIZE)
		return;
	fill(at, length);
	if (pwrite(fd, model + at, length, at) != (ssize_t)length)
		die("pwrite");
}

static void do_append(void)
{
	uint32_t length = 1 + random_below(3000), at = size;
	int append = open(name, O_WRONLY | O_APPEND);

	if (append < 0)
		die("open to append");
	if (at + length <= MAX_SIZE) {
		fill(at, length);
		if (write(append, model + at, length) != (ssize_t)length)
			die("append");
	}
	close(append);
}

static void do_read(void)
{
	uint32_t at, length = choose(&at), there;
	ssize_t n;

	there = at >= size ? 0 : length < size - at ? length : size - at;
	n = pread(fd, buffer, length, at);
	if (n != (ssize_t)there)
		die("pread");
	compare(buffer, at, there, "read");
}

static void do_truncate(void)
{
	uint32_t to = random_below(MAX_SIZE);

	if (random_below(2) ? ftruncate(fd, to) : truncate(name, to))
		die("truncate");
	set_size(to);
}

static void do_map(void)
{
	uint32_t at, length = choose(&at);
	uint8_t *map;

	if (at >= size)
		return;
	if (length > size - at)
		length = size - at;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	compare(map + at, at, length, "map");
	if (random_below(2)) {
		fill(at, length);
		memcpy(map + at, model + at, length);
		if (msync(map, size, MS_SYNC))
			die("msync");
	}
	munmap(map, size);
}

static void do_punch(void)
{
	uint32_t at, length = choose(&at);

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length)) {
		if (errno == EOPNOTSUPP)
			return;
		die("fallocate");
	}
	if (at < size)
		memset(model + at, 0, length < size - at ? length : size - at);
}

static void do_rename(void)
{
	if (rename(name, other) || link(other, name) || unlink(other))
		die("rename");
}

static void do_reopen(void)
{
	struct stat st;

	if (fsync(fd) || close(fd))
		die("close");
	fd = open(name, O_RDWR);
	if (fd < 0 || fstat(fd, &st))
		die("open");
	if (st.st_size != size) {
		printf("share-guest: the size is %lld, not %u\n", (long long)st.st_size, size);
		exit(1);
	}
}

static void do_copy(void)
{
	uint32_t at, length = choose(&at), to = random_below(MAX_SIZE);
	off_t in, out = to;
	ssize_t n;

	if (at >= size)
		return;
	if (length > size - at)
		length = size - at;
	/* Ranges of one file that overlap are refused. */
	if (to + length > MAX_SIZE || (to < at + length && at < to + length))
		return;
	in = at;
	n = copy_file_range(fd, &in, fd, &out, length, 0);
	if (n < 0)
		die("copy_file_range");
	if (to + (uint32_t)n > size)
		size = to + (uint32_t)n;
	memmove(model + to, model + at, (size_t)n);
}

static int fsx(const char *file, const char *seed, unsigned int steps)
{
	static void (*const operations[])(void) = {
		do_write, do_write, do_write, do_read, do_read, do_read, do_map, do_map, do_append,
		do_truncate, do_punch, do_rename, do_reopen, do_copy,
	};
	uint64_t digest = 0xcbf29ce484222325;

	random_state = strtoull(seed, NULL, 0) * 0x9e3779b97f4a7c15 + 1;
	name = file;
	snprintf(other, sizeof(other), "%s.other", file);
	fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		die(file);
	for (unsigned int i = 0; i < steps; i++)
		operations[random_below(sizeof(operations) / sizeof(operations[0]))]();
	do_reopen();
	if (pread(fd, buffer, size, 0) != (ssize_t)size)
		die("pread");
	compare(buffer, 0, size, "the whole");
	close(fd);
	for (uint32_t i = 0; i < size; i++)
		digest = (digest ^ model[i]) * 0x100000001b3;
	printf("digest %016llx %u\n", (unsigned long long)digest, size);
	return 0;
}

/* ------------------------------------------------------------------ vsock */

static void send_all(int to, const char *data, size_t length)
{
	while (length) {
		ssize_t n = write(to, data, length);

		if (n <= 0)
			die("write");
		data += n;
		length -= (size_t)n;
	}
}

static int echo(unsigned int port)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port,
	};
	int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
	char data[20000];

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, 4))
		die("listen");
	printf("listening\n");
	fflush(stdout);
	for (;;) {
		int client = accept(listener, NULL, NULL);
		ssize_t n;

		if (client < 0)
			die("accept");
		while ((n = read(client, data, sizeof(data))) > 0)
			send_all(client, data, (size_t)n);
		close(client);
	}
}

static int send_to_host(unsigned int port)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port,
	};
	int s = socket(AF_VSOCK, SOCK_STREAM, 0);
	char data[4096];
	ssize_t n;

	if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof(address)))
		die("connect");
	while ((n = read(0, data, sizeof(data))) > 0)
		send_all(s, data, (size_t)n);
	shutdown(s, SHUT_WR);
	while ((n = read(s, data, sizeof(data))) > 0)
		send_all(1, data, (size_t)n);
	close(s);
	return n ? 1 : 0;
}

/* ------------------------------------------------------------------ */

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "fsx"))
		return fsx(argv[2], argv[3], (unsigned int)atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "echo"))
		return echo((unsigned int)atoi(argv[2]));
	if (argc == 3 && !strcmp(argv[1], "send"))
		return send_to_host((unsigned int)atoi(argv[2]));
	fprintf(stderr, "see the beginning of share-guest.c\n");
	return 2;
}
