/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hostile guest, for libFuzzer, without a processor: whatever it writes to registers, rings and
 * memory, in whatever order, devices answer, end, and stay within guest memory and what is shared.
 *
 * The machine is that of tests/unit/fake_machine.h. An input's first byte chooses a device, and
 * each byte after it what is done next, with bytes of the input as operands: single register
 * accesses and ring entries of any value, but also the driver's initialisation and chains that are
 * well-formed, so that what is behind them is reached. Whoever is at the other end of a device (a
 * program at a socket, a network, a typist) acts too.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fake_machine.h"
#include "vmm/bus/pci.h"
#include "vmm/char/char.h"
#include "vmm/char/local_socket.h"
#include "vmm/dev/pc/pc.h"
#include "vmm/dev/pci/watchdog.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/net/net.h"
#include "vmm/util.h"

#define SLOT		1
#define DISK_SIZE	(64u << 10)
#define MAX_CHAINS	6	/* buffers of one that is made by chain() */
#define HOST_ENDS	4	/* programs at sockets */
#define SMALL		(1u << 20)
#define MAX_FILE	(2 * FAKE_MEMORY)	/* guest memory is one too */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/device_fuzz.XXXXXX";
static char share[64], secret[64], socket_path[64], port_path[80], channel_path[64], disk_path[64];
static struct fake_machine *fm;
static struct driver d;
static int listener = -1, ends[HOST_ENDS];

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "device_fuzz: %s\n", what);
	abort();
}

/* ------------------------------------------------------------------ the input */

static const uint8_t *input;
static size_t left;

static uint8_t u8(void)
{
	if (!left)
		return 0;
	left--;
	return *input++;
}

static uint16_t u16(void)
{
	uint16_t low = u8();

	return low | (uint16_t)(u8() << 8);
}

static uint32_t u32(void)
{
	uint32_t low = u16();

	return low | (uint32_t)u16() << 16;
}

/* Numbers as hostile guests like them: small, at the edges of things, or anything. */
static uint64_t number(void)
{
	uint8_t kind = u8();

	switch (kind & 7) {
	case 0:
		return kind >> 3;
	case 1:
		return 1ull << (kind >> 3) << (kind >> 6 & 1 ? 32 : 0);
	case 2:
		return -(uint64_t)(kind >> 3);
	case 3:
		return FAKE_MEMORY - (kind >> 3);
	case 4:
		return u16();
	case 5:
		return u32();
	case 6:
		return DRIVER_BUFFERS + u16();
	default:
		return u32() | (uint64_t)u32() << 32;
	}
}

static unsigned int access_size(uint8_t bits)
{
	return 1u << (bits & 3);
}

/* ------------------------------------------------------------------ what is at the other end */

static size_t typed;

static size_t char_write(struct char_backend *backend, const uint8_t *data, size_t length)
{
	unsigned int sum = 0;

	/* All of it has to be there. */
	for (size_t i = 0; i < length; i++)
		sum += data[i];
	return sum & 1 ? length : length / 2;
}

static void char_accept(struct char_backend *backend)
{
}

static void char_size(struct char_backend *backend, unsigned int *columns, unsigned int *rows)
{
	*columns = 80;
	*rows = 25;
}

static void char_destroy(struct char_backend *backend)
{
}

static const struct char_ops char_ops = {
	.write = char_write, .accept_input = char_accept, .size = char_size,
	.destroy = char_destroy,
};
static struct char_backend terminal;

static bool net_send(struct net_backend *backend, unsigned int queue,
		     const struct virtio_net_hdr *header, const struct iovec *iov,
		     unsigned int count, size_t length)
{
	static uint8_t frame[NET_MAX_FRAME];

	require(length >= NET_MIN_FRAME && length <= NET_MAX_FRAME, "a frame of no length");
	require(iov_read(iov, count, 0, frame, length) == length, "less than a frame");
	return frame[0] != 0x77;
}

static void net_accept(struct net_backend *backend, unsigned int queue)
{
}

static void net_set_offloads(struct net_backend *backend, uint32_t offloads)
{
}

static void net_set_queues(struct net_backend *backend, unsigned int count)
{
	require(count >= 1 && count <= backend->queues, "queues that the backend has not");
}

static void net_destroy(struct net_backend *backend)
{
}

static const struct net_ops net_ops = {
	.send = net_send, .accept_input = net_accept, .set_offloads = net_set_offloads,
	.set_queues = net_set_queues, .destroy = net_destroy,
};
static struct net_backend network;

static void type(void)
{
	uint8_t text[64];
	size_t room = terminal.front ? terminal.front->room(terminal.front_data) : 0;
	size_t length = u8() % sizeof(text) + 1;

	if (!room)
		return;
	for (size_t i = 0; i < length; i++)
		text[i] = (uint8_t)typed++;
	terminal.front->input(terminal.front_data, text, length < room ? length : room);
}

static void receive_frame(void)
{
	static uint8_t frame[NET_MAX_FRAME];
	struct virtio_net_hdr header = { 0 };
	size_t length = NET_MIN_FRAME + u16() % (NET_MAX_FRAME - NET_MIN_FRAME + 1);
	unsigned int queue = u8() % network.queues;

	if (!network.front)
		return;
	if (u8() & 1)
		virtio_net_set_link(&fm->m, 0, u8() & 1);
	network.front->receive(network.front_data, queue, &header, frame, length);
	network.front->received(network.front_data, queue);
	if (u8() & 1)
		network.front->writable(network.front_data, queue);
	if (u8() & 1) {
		network.link_up = !network.link_up;
		network.front->link_changed(network.front_data);
	}
}

/* Somebody connects to a socket of the device's, writes, reads, or leaves. */
static void use_socket(const char *path)
{
	uint8_t what = u8();
	int *fd = &ends[what % HOST_ENDS];
	char text[600];
	size_t length;

	switch (what >> 2 & 7) {
	case 0:
		if (*fd < 0)
			*fd = local_socket_connect(path);
		length = (size_t)snprintf(text, sizeof(text), "CONNECT %u\n", (unsigned int)u8());
		send(*fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 1:
		if (*fd < 0)
			*fd = local_socket_connect(path);
		break;
	case 2:
		if (*fd < 0 && listener >= 0)
			*fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		break;
	case 3:
	case 4:
		length = u16() % sizeof(text);
		memset(text, what, length);
		send(*fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 5:
		recv(*fd, text, sizeof(text), MSG_DONTWAIT);
		break;
	case 6:
		shutdown(*fd, what & 1 ? SHUT_RD : SHUT_WR);
		break;
	default:
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
	}
}

static void use_balloon(void)
{
	struct balloon_info info;

	if (u8() & 1)
		virtio_balloon_set_size(&fm->m, number());
	else
		virtio_balloon_query(&fm->m, &info);
}

/* ------------------------------------------------------------------ the devices */

static struct vmm_error error;

static int make_blk(void)
{
	struct disk_config config = { .path = disk_path, .format = "raw", .queues = 2 };

	require(!truncate(disk_path, DISK_SIZE), disk_path);
	return virtio_blk_create(&fm->m, &config, &error);
}

static int make_rng(void)
{
	return virtio_rng_create(&fm->m, &error);
}

static int make_console(void)
{
	static const struct channel_config channels[] = {
		{ "org.qemu.guest_agent.0", channel_path }, { "other", port_path },
	};

	fm->config.channels = channels;
	fm->config.channel_count = 2;
	terminal = (struct char_backend){ .ops = &char_ops };
	return virtio_console_create(&fm->m, &terminal, &error);
}

static int make_fs(void)
{
	struct share_config config = { .path = share };

	return virtio_fs_create(&fm->m, &config, &error);
}

static int make_vsock(void)
{
	struct vsock_config config = { .path = socket_path };

	listener = local_socket_listen(port_path, "fuzz", &error);
	return listener < 0 ? listener : virtio_vsock_create(&fm->m, &config, &error);
}

static int make_balloon(void)
{
	struct balloon_config config = { 0 };

	return virtio_balloon_create(&fm->m, &config, &error);
}

static int make_net(void)
{
	static const struct net_config config = { .kind = NET_SOCKET, .queues = 2 };

	network = (struct net_backend){
		.ops = &net_ops, .queues = 2, .link_up = true,
		.sends = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO,
		.receives = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO,
	};
	return virtio_net_create(&fm->m, &config, &network, &error);
}

static int make_watchdog(void)
{
	struct watchdog_config config = { .action = WATCHDOG_RESET };

	return i6300esb_create(&fm->m, &config, &error);
}

/* What sits at fixed ports. */
static int make_pc(void)
{
	int ret;

	terminal = (struct char_backend){ .ops = &char_ops };
	ret = uart_create(&fm->m, UART_COM1_PORT, GSI_COM1, &terminal, &error);
	if (!ret)
		ret = rtc_create(&fm->m, &error);
	if (!ret)
		ret = acpi_pm_create(&fm->m, &error);
	if (!ret)
		ret = reset_ports_create(&fm->m, &error);
	return ret ? ret : panic_port_create(&fm->m, &error);
}

static void act_vsock(void)
{
	use_socket(socket_path);
}

static void act_console(void)
{
	if (u8() & 1)
		type();
	else
		use_socket(channel_path);
}

static uint64_t new_size;

static void resize(struct loop_call *call)
{
	virtio_blk_resize(&fm->m, 0, new_size, &error);
}

/* Somebody gives the disk another size, on the loop thread as it has to be. */
static void act_blk(void)
{
	static struct loop_call call = { .callback = resize };

	new_size = DISK_SIZE - 64 * 512 + 512 * (uint64_t)u8();
	loop_defer(fm->m.loop, &call);
}

static void act_nothing(void)
{
}

static const struct {
	int (*make)(void);
	void (*act)(void);	/* what is at the other end does something */
	unsigned int queues;	/* 0: this is no virtio device */
} devices[] = {
	{ make_blk, act_blk, 2 },
	{ make_rng, act_nothing, 1 },
	{ make_console, act_console, 8 },
	{ make_fs, act_nothing, 2 },
	{ make_vsock, act_vsock, 3 },
	{ make_balloon, use_balloon, 5 },
	{ make_net, receive_frame, 5 },
	{ make_watchdog, act_nothing, 0 },
	{ make_pc, type, 0 },
};

/* ------------------------------------------------------------------ what a guest does */

static unsigned int kind;	/* of devices */

static unsigned int some_queue(void)
{
	return devices[kind].queues ? u8() % devices[kind].queues : 0;
}

/* Where registers are, more or less. */
static uint64_t some_address(void)
{
	uint8_t where = u8();

	switch (where & 7) {
	case 0:
		return PCI_MMIO32_START + u16();
	case 1:
		return PCI_ECAM_BASE + ((where >> 3 & 3u) << 15) + u8();
	case 2:
		return d.device + u8();
	case 3:
		return d.notify + (where >> 3);
	case 4:
		return PCI_ECAM_BASE + (SLOT << 15) + u8();
	default:
		return d.common + u8() % 64;
	}
}

static void use_memory(void)
{
	uint64_t address = some_address();
	uint8_t how = u8();

	if (how & 4)
		fake_write(fm, address, access_size(how), number());
	else
		fake_read(fm, address, access_size(how));
}

static void use_port(void)
{
	static const uint16_t places[] = {
		UART_COM1_PORT, RTC_PORT, ACPI_PM1_EVENT_PORT, RESET_PORT - 1, PANIC_PORT, 0x60,
		0xcf8, 0xcfc,
	};
	uint8_t how = u8();
	uint16_t port = places[how & 7] + (how >> 3 & 7);

	if (how & 0x40)
		fake_out(fm, port, 1u << u8() % 3, number());
	else
		fake_in(fm, port, 1u << u8() % 3);
}

/* FUSE_INIT, without which the file server answers nothing else. */
static void begin_session(void)
{
	struct {
		struct fuse_in_header header;
		struct fuse_init_in init;
	} request = {
		.header = { .len = sizeof(request), .opcode = FUSE_INIT },
		.init = { .major = 7, .minor = 36, .flags = UINT32_MAX },
	};
	const struct driver_buffer buffers[] = {
		{ DRIVER_BUFFERS, sizeof(request), false }, { DRIVER_BUFFERS + 4096, 4096, true },
	};

	memcpy(fake_ram(fm, DRIVER_BUFFERS, sizeof(request)), &request, sizeof(request));
	driver_add(&d, 1, buffers, 2);
	driver_notify(&d, 1);
	fake_settle(fm);
}

/* The driver does all as it should. */
static void start_driver(void)
{
	uint64_t mask = u8() & 1 ? UINT64_MAX : ~(uint64_t)u32();

	if (devices[kind].make == make_pc)
		return;
	fake_machine_reset(fm);
	if (devices[kind].make == make_watchdog) {
		/* Only its registers. */
		fake_config_write(fm, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		d.device = fake_config_read(fm, SLOT, PCI_BASE_ADDRESS_0, 4) &
			   PCI_BASE_ADDRESS_MEM_MASK;
		return;
	}
	driver_find(&d, fm, SLOT);
	driver_start(&d, mask | 1ull << VIRTIO_F_VERSION_1, devices[kind].queues);
	if (devices[kind].make == make_fs)
		begin_session();
}

/* A chain of buffers, well-formed, with the input's bytes in those that the device reads. */
static void chain(void)
{
	struct driver_buffer buffers[MAX_CHAINS];
	unsigned int queue = some_queue(), shape = u8(), count = shape % MAX_CHAINS + 1;
	unsigned int readable = shape / MAX_CHAINS % (count + 1);
	uint64_t at = DRIVER_BUFFERS;

	if (!d.q[queue].size)
		return;
	for (unsigned int i = 0; i < count; i++) {
		uint32_t length = i < readable ? u8() : u16();

		buffers[i] = (struct driver_buffer){ at, length, i >= readable };
		if (i < readable)
			for (uint32_t b = 0; b < length; b++)
				*(uint8_t *)fake_ram(fm, at + b, 1) = u8();
		at += length;
	}
	driver_add(&d, queue, buffers, count);
	driver_notify(&d, queue);
}

/* The first bytes of requests whose kinds are few: one that there is, or nearly so. */
static void head(uint8_t *p)
{
	if (devices[kind].make == make_blk) {
		/* type, reserved, sector */
		p[0] %= 16;
		memset(p + 1, 0, 7);
		p[8] %= DISK_SIZE / 512 + 2;
		memset(p + 9, 0, 7);
	} else if (devices[kind].make == make_net) {
		/* class and command; in a packet, flags and gso_type */
		p[0] %= 7;
		p[1] %= 7;
	} else if (devices[kind].make == make_console) {
		/* id, event, value */
		p[0] %= 5;
		memset(p + 1, 0, 3);
		p[4] %= 10;
		p[5] = 0;
	}
}

/* A chain for the devices that have a header of their own, with the fields that matter. */
static void request(void)
{
	uint8_t *p = fake_ram(fm, DRIVER_BUFFERS, 4096);
	struct driver_buffer buffers[2] = {
		{ DRIVER_BUFFERS, 0, false }, { DRIVER_BUFFERS + 4096, u16(), true },
	};
	unsigned int queue = some_queue();
	uint32_t length;

	if (!d.q[queue].size)
		return;
	memset(p, 0, 4096);
	if (devices[kind].make == make_fs) {
		/* len, opcode, unique, nodeid, uid, gid, pid, padding; then whatever comes */
		uint32_t words[4] = { 0, u8(), 0, 0 };
		uint64_t node = u8() % 12;

		length = 40 + u8() % 120;
		words[0] = u8() ? length : u32();
		memcpy(p, words, sizeof(words));
		memcpy(p + 16, &node, sizeof(node));
		for (uint32_t i = 40; i < length; i++)
			p[i] = u8();
	} else if (devices[kind].make == make_vsock) {
		/* src_cid, dst_cid, src_port, dst_port, len, type, op, flags, buf_alloc, fwd_cnt */
		uint64_t cids[2] = { 3, 2 };
		uint32_t ports[2] = { u8() % 8, u8() % 4 ? 1234 : (1u << 30) + u8() % 8 };
		uint32_t data = u8();
		uint16_t types[2] = { 1, u8() % 9 };
		uint32_t rest[3] = { u8(), u8() & 1 ? 65536 : u32(), u8() & 1 ? 0 : u32() };

		length = 44 + data;
		memcpy(p, cids, 16);
		memcpy(p + 16, ports, 8);
		memcpy(p + 24, &data, 4);
		memcpy(p + 28, types, 4);
		memcpy(p + 32, rest, 12);
	} else if (devices[kind].make == make_balloon) {
		/* numbers of pages, most of which there are */
		length = u8();
		for (uint32_t i = 0; i + 4 <= length; i += 4) {
			uint32_t pfn = u16() % (FAKE_MEMORY / 4096 + 16);

			memcpy(p + i, &pfn, 4);
		}
	} else {
		length = u8();
		for (uint32_t i = 0; i < length; i++)
			p[i] = u8();
		head(p);
	}
	buffers[0].length = length;
	driver_add(&d, queue, buffers, buffers[1].length ? 2 : 1);
	driver_notify(&d, queue);
}

static void give_buffers(void)
{
	unsigned int queue = some_queue(), count = u8() % 32;

	if (!d.q[queue].size)
		return;
	for (unsigned int i = 0; i < count; i++) {
		struct driver_buffer b = {
			DRIVER_BUFFERS + 0x20000 + 2048 * (i % 64), 2048, true,
		};

		driver_add(&d, queue, &b, 1);
	}
	driver_notify(&d, queue);
}

/* Anything, where a descriptor is. */
static void write_descriptor(void)
{
	unsigned int queue = some_queue();

	if (!d.q[queue].size)
		return;
	driver_desc(&d, queue, u8() % d.q[queue].size, number(), (uint32_t)number(), u8() & 7,
		    u8());
}

static void offer(void)
{
	unsigned int queue = some_queue();

	if (!d.q[queue].size)
		return;
	if (u8() & 1)
		d.q[queue].avail_idx += (uint16_t)number();
	driver_offer(&d, queue, u8());
	driver_notify(&d, queue);
}

/* Tables of descriptors elsewhere, data, anything. */
static void scribble(void)
{
	uint64_t at = number() % (FAKE_MEMORY - 256);
	unsigned int length = u8();

	for (unsigned int i = 0; i < length; i++)
		*(uint8_t *)fake_ram(fm, at + i, 1) = u8();
}

static struct device *first_device(void)
{
	struct device *dev = fm->m.devices;

	/* The root complex comes before what is fuzzed. */
	return dev->next ? dev->next : dev;
}

/* A snapshot, as it was saved or as somebody has changed it. */
static void snapshot(void)
{
	struct device *dev = first_device();
	struct state_buf saved = { 0 };
	unsigned int changes = u8() % 4;
	int ret;

	fake_machine_pause(fm);
	fake_save(dev, &saved);
	for (unsigned int i = 0; i < changes && saved.length; i++)
		saved.data[u16() % saved.length] = u8();
	ret = fake_load(dev, &saved);
	/* What it saved itself it can load, unless the guest has moved its rings meanwhile. */
	free(saved.data);
	if (ret)
		fake_machine_reset(fm);
	fake_machine_resume(fm);
}

static void step(void)
{
	switch (u8() % 20) {
	case 0:
	case 1:
	case 2:
		use_memory();
		break;
	case 3:
		use_port();
		break;
	case 4:
		start_driver();
		break;
	case 5:
	case 6:
		chain();
		break;
	case 7:
	case 8:
	case 9:
		request();
		break;
	case 10:
		write_descriptor();
		break;
	case 11:
		offer();
		break;
	case 12:
		scribble();
		break;
	case 13:
		give_buffers();
		break;
	case 14:
	case 15:
		devices[kind].act();
		break;
	case 16:
		snapshot();
		break;
	case 17:
		fake_machine_reset(fm);
		break;
	case 18:
		if (devices[kind].queues)
			driver_set_status(&d, u8());
		break;
	default:
		fake_settle(fm);
	}
}

/* ------------------------------------------------------------------ */

/* What is asked of the machine while a device is fuzzed is not done. */
void __wrap_machine_request_reset(struct machine *m);
void __wrap_machine_request_poweroff(struct machine *m);
void __wrap_machine_request_panic(struct machine *m);
void __wrap_machine_request_pause(struct machine *m);

void __wrap_machine_request_reset(struct machine *m)
{
}

void __wrap_machine_request_poweroff(struct machine *m)
{
}

void __wrap_machine_request_panic(struct machine *m)
{
}

void __wrap_machine_request_pause(struct machine *m)
{
}

/* A guest may fill the disk; here it is not to. */
int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length)
{
	if (offset >= 0 && length > 0 && offset < SMALL && length < SMALL)
		return __real_fallocate64(fd, mode, offset, length);
	errno = ENOSPC;
	return -1;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);

	require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
	close(fd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The shared directory, as each input finds it. */
static void make_share(void)
{
	char path[80];

	remove_tree(share);
	require(!mkdir(share, 0755), "the shared directory");
	snprintf(path, sizeof(path), "%s/f", share);
	write_file(path, "some text");
	snprintf(path, sizeof(path), "%s/d", share);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/l", share);
	require(!symlink("../secret", path), "a link");
}

static void check_secret(void)
{
	char text[16] = "";
	struct stat st;
	int fd = open(secret, O_RDONLY);

	require(fd >= 0 && read(fd, text, sizeof(text)) == 6 && !memcmp(text, "secret", 6) &&
		!fstat(fd, &st) && st.st_nlink == 1, "the guest got out of the shared directory");
	close(fd);
}

static void clean_up(void)
{
	remove_tree(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct rlimit limit = { MAX_FILE, MAX_FILE };
	int fd;

	require(mkdtemp(directory), directory);
	atexit(clean_up);
	snprintf(share, sizeof(share), "%s/share", directory);
	snprintf(secret, sizeof(secret), "%s/secret", directory);
	snprintf(socket_path, sizeof(socket_path), "%s/vsock", directory);
	snprintf(port_path, sizeof(port_path), "%s/vsock_1234", directory);
	snprintf(channel_path, sizeof(channel_path), "%s/agent", directory);
	snprintf(disk_path, sizeof(disk_path), "%s/disk", directory);
	write_file(secret, "secret");
	fd = open(disk_path, O_RDWR | O_CREAT, 0644);
	require(fd >= 0 && !ftruncate(fd, DISK_SIZE), disk_path);
	close(fd);
	setrlimit(RLIMIT_FSIZE, &limit);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* libFuzzer takes it over after LLVMFuzzerInitialize(). */
	signal(SIGXFSZ, SIG_IGN);
	input = data;
	left = size;
	memset(&d, 0, sizeof(d));
	for (unsigned int i = 0; i < HOST_ENDS; i++)
		ends[i] = -1;
	terminal.front = NULL;
	network.front = NULL;
	kind = u8() % ARRAY_SIZE(devices);
	if (devices[kind].make == make_fs)
		make_share();
	fm = fake_machine_create(1);
	error.text[0] = 0;
	require(!devices[kind].make(), error.text);
	fake_machine_reset(fm);
	if (devices[kind].queues)
		driver_find(&d, fm, SLOT);
	if (u8() & 7)
		start_driver();
	while (left)
		step();
	fake_settle(fm);
	fake_machine_destroy(fm);
	for (unsigned int i = 0; i < HOST_ENDS; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (listener >= 0) {
		close(listener);
		unlink(port_path);
		listener = -1;
	}
	if (devices[kind].make == make_fs)
		check_secret();
	return 0;
}
