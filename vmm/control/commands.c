/* SPDX-License-Identifier: GPL-2.0-only */
/* What can be asked of a running machine: the commands of docs/control.md, on the loop thread. */
#include "vmm/control/control.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/control/rundir.h"
#include "vmm/dev/pc/pc.h"
#include "vmm/machine/vcpu.h"
#include "vmm/provider.h"
#include "vmm/util.h"

static const char *state_name(enum machine_state state)
{
	static const char *const names[] = {
		[MACHINE_STARTING] = "starting", [MACHINE_RUNNING] = "running",
		[MACHINE_PAUSED] = "paused", [MACHINE_ENDING] = "ending",
	};

	return names[state];
}

static json_t *seconds(uint64_t ns)
{
	return json_real((double)ns / 1e9);
}

static json_t *clock_seconds(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		return json_null();
	return seconds(now.tv_sec * 1000000000ULL + now.tv_nsec);
}

/* ------------------------------------------------------------------ status and figures */

void control_status(const struct control_request *request, json_t *status)
{
	struct machine *m = request->machine;
	const struct control_config *config = m->config->control;

	json_object_set_new(status, "name", json_string(config->name));
	json_object_set_new(status, "state", json_string(state_name(machine_state(m))));
	json_object_set_new(status, "pid", json_integer(getpid()));
	json_object_set_new(status, "uptime", seconds(loop_now() - request->started));
	json_object_set_new(status, "cpus", json_integer(m->vcpu_count));
	json_object_set_new(status, "memory", json_integer((json_int_t)m->config->memory));
	json_object_set_new(status, "accel", json_string(m->provider->name));
	json_object_set_new(status, "console", json_string(config->console ? "attachable" :
							   "terminal"));
	json_object_set_new(status, "directory", json_string(config->directory));
	if (config->description)
		json_object_set_new(status, "config",
				    json_loads(config->description, 0, NULL));
}

static enum control_outcome run_status(struct control_request *request)
{
	control_status(request, request->result);
	return CONTROL_DONE;
}

static json_t *counters(const struct net_counters *c)
{
	return json_pack("{s:I, s:I}", "frames", (json_int_t)c->frames, "bytes",
			 (json_int_t)c->bytes);
}

/* Each network device, with what got through to its guest and from there. */
static json_t *networks(struct machine *m)
{
	json_t *all = json_array();
	struct net_info info;

	for (unsigned int i = 0; !virtio_net_query(m, i, &info); i++) {
		const uint8_t *mac = info.mac;
		json_t *one = json_object();

		json_object_set_new(one, "device", json_sprintf("net%u", i));
		json_object_set_new(one, "mac", json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
							     mac[1], mac[2], mac[3], mac[4],
							     mac[5]));
		json_object_set_new(one, "plugged", json_boolean(info.plugged));
		json_object_set_new(one, "link", json_string(info.link_up ? "up" : "down"));
		json_object_set_new(one, "received", counters(&info.received));
		json_object_set_new(one, "sent", counters(&info.sent));
		json_array_append_new(all, one);
	}
	return all;
}

/* By VIRTIO_BALLOON_S_*; docs/control.md has the units. */
static const char *const balloon_names[] = {
	[VIRTIO_BALLOON_S_SWAP_IN] = "swap_in",
	[VIRTIO_BALLOON_S_SWAP_OUT] = "swap_out",
	[VIRTIO_BALLOON_S_MAJFLT] = "major_faults",
	[VIRTIO_BALLOON_S_MINFLT] = "minor_faults",
	[VIRTIO_BALLOON_S_MEMFREE] = "free",
	[VIRTIO_BALLOON_S_MEMTOT] = "total",
	[VIRTIO_BALLOON_S_AVAIL] = "available",
	[VIRTIO_BALLOON_S_CACHES] = "caches",
	[VIRTIO_BALLOON_S_HTLB_PGALLOC] = "hugetlb_allocations",
	[VIRTIO_BALLOON_S_HTLB_PGFAIL] = "hugetlb_failures",
};

/* What the balloon does, and the guest says of its memory. NULL: there is no balloon. */
static json_t *balloon(struct machine *m)
{
	struct balloon_info info;
	json_t *all, *guest;

	if (virtio_balloon_query(m, &info))
		return NULL;
	all = json_pack("{s:I, s:I}", "wanted", (json_int_t)info.wanted, "actual",
			(json_int_t)info.actual);
	if (!info.known)
		return all;
	guest = json_object();
	for (unsigned int i = 0; i < ARRAY_SIZE(balloon_names); i++)
		if (info.known >> i & 1)
			json_object_set_new(guest, balloon_names[i],
					    json_integer((json_int_t)info.stats[i]));
	json_object_set_new(guest, "age", seconds(loop_now() - info.told));
	json_object_set_new(all, "guest", guest);
	return all;
}

static json_t *requests(uint64_t count, uint64_t bytes)
{
	return json_pack("{s:I, s:I}", "requests", (json_int_t)count, "bytes", (json_int_t)bytes);
}

/* Each disk, with what was done with it. */
static json_t *disks(struct machine *m)
{
	json_t *all = json_array();
	struct disk_info info;

	for (unsigned int i = 0; virtio_blk_query(m, i, &info); i++)
		json_array_append_new(all, json_pack(
			"{s:s, s:s, s:I, s:b, s:o, s:o, s:I}", "id", info.id, "file",
			info.config->path, "size", (json_int_t)info.size, "readonly",
			info.read_only, "read", requests(info.reads, info.read_bytes), "written",
			requests(info.writes, info.written_bytes), "flushes",
			(json_int_t)info.flushes));
	return all;
}

static enum control_outcome run_stats(struct control_request *request)
{
	struct machine *m = request->machine;
	json_t *cpu = json_object(), *vcpus = json_array(), *memory = json_object();
	struct stat st;

	for (unsigned int i = 0; i < m->vcpu_count; i++)
		json_array_append_new(vcpus, clock_seconds(m->vcpus[i].clock));
	json_object_set_new(cpu, "total", clock_seconds(CLOCK_PROCESS_CPUTIME_ID));
	json_object_set_new(cpu, "vcpus", vcpus);
	json_object_set_new(memory, "size", json_integer((json_int_t)m->ram.size));
	/* What of the guest's memory takes any of the host's. */
	json_object_set_new(memory, "resident", fstat(m->ram.fd, &st) ? json_null() :
			    json_integer((json_int_t)st.st_blocks * 512));
	json_object_set_new(request->result, "uptime", seconds(loop_now() - request->started));
	json_object_set_new(request->result, "state",
			    json_string(state_name(machine_state(m))));
	json_object_set_new(request->result, "cpu", cpu);
	json_object_set_new(request->result, "memory", memory);
	if (m->balloon)
		json_object_set_new(request->result, "balloon", balloon(m));
	json_object_set_new(request->result, "disks", disks(m));
	json_object_set_new(request->result, "networks", networks(m));
	return CONTROL_DONE;
}

/* ------------------------------------------------------------------ devices */

/* Of "net1". Returns -1 where that is no name. */
static int net_number(const char *name)
{
	unsigned int number;
	int end = 0;

	return sscanf(name, "net%2u%n", &number, &end) == 1 && !name[end] ? (int)number : -1;
}

static enum control_outcome run_link(struct control_request *request)
{
	const char *device = "net0";
	struct net_info info;
	int up = -1, number;

	json_unpack((json_t *)request->arguments, "{s?s, s?b}", "device", &device, "up", &up);
	number = net_number(device);
	if (up < 0)
		vmm_fail(&request->error, 0, "\"up\" is not said: give true or false");
	else if (virtio_net_query(request->machine, 0, &info))
		vmm_fail(&request->error, 0, "the machine has no network: start it with --net");
	else if (number < 0 || virtio_net_set_link(request->machine, (unsigned int)number, up))
		vmm_fail(&request->error, 0, "there is no network device '%.64s': give net0 for "
			 "the first, net1 for the second, and so on", device);
	else
		return CONTROL_DONE;
	return CONTROL_FAILED;
}

static enum control_outcome run_balloon(struct control_request *request)
{
	struct machine *m = request->machine;
	json_int_t size = -1;

	json_unpack((json_t *)request->arguments, "{s?I}", "size", &size);
	if (!m->balloon) {
		vmm_fail(&request->error, 0, "the machine has no balloon: start it with --balloon");
		return CONTROL_FAILED;
	}
	if (size < (json_int_t)VM_MIN_MEMORY || (uint64_t)size > m->ram.size) {
		vmm_fail(&request->error, 0, "the guest can be told to keep %llu to %llu MiB: give a "
			 "size between", VM_MIN_MEMORY >> 20, (unsigned long long)m->ram.size >> 20);
		return CONTROL_FAILED;
	}
	virtio_balloon_set_size(m, (uint64_t)size);
	return CONTROL_DONE;
}

/* The number of the disk with that serial number, or of that file; or -1. */
static int find_disk(struct machine *m, const char *name)
{
	struct disk_info info;

	for (unsigned int i = 0; virtio_blk_query(m, i, &info); i++)
		if (!strcmp(info.id, name) || !strcmp(info.config->path, name))
			return (int)i;
	return -1;
}

static enum control_outcome run_resize(struct control_request *request)
{
	const char *name = json_string_value(json_object_get(request->arguments, "disk"));
	const json_t *size = json_object_get(request->arguments, "size");
	bool shrink = json_is_true(json_object_get(request->arguments, "shrink"));
	struct disk_info info;
	int disk;

	if (!name || !json_is_integer(size) || json_integer_value(size) <= 0) {
		vmm_fail(&request->error, 0, "\"resize\" needs a \"disk\", which is text, and "
			 "its \"size\", a number of bytes");
		return CONTROL_FAILED;
	}
	disk = find_disk(request->machine, name);
	if (disk < 0 || !virtio_blk_query(request->machine, (unsigned int)disk, &info)) {
		vmm_fail(&request->error, 0, "there is no disk '%.64s'", name);
		return CONTROL_FAILED;
	}
	if ((uint64_t)json_integer_value(size) < info.size && !shrink) {
		vmm_fail(&request->error, 0, "what is beyond the new end would be lost: say "
			 "\"shrink\" if it may be");
		return CONTROL_FAILED;
	}
	if (virtio_blk_resize(request->machine, (unsigned int)disk,
			      (uint64_t)json_integer_value(size), &request->error))
		return CONTROL_FAILED;
	return CONTROL_DONE;
}

/* ------------------------------------------------------------------ the machine's life */

static enum control_outcome run_pause(struct control_request *request)
{
	if (machine_state(request->machine) == MACHINE_PAUSED)
		return CONTROL_DONE;
	machine_request_pause(request->machine);
	return CONTROL_WHEN_PAUSED;
}

static enum control_outcome run_resume(struct control_request *request)
{
	if (machine_state(request->machine) == MACHINE_RUNNING)
		return CONTROL_DONE;
	machine_request_resume(request->machine);
	return CONTROL_WHEN_RUNNING;
}

static enum control_outcome run_stop(struct control_request *request)
{
	if (machine_state(request->machine) == MACHINE_PAUSED) {
		vmm_fail(&request->error, 0, "the machine is paused, and its guest cannot switch "
			 "it off: resume it first");
		return CONTROL_FAILED;
	}
	acpi_pm_press_power_button(request->machine);
	return CONTROL_DONE;
}

static enum control_outcome run_kill(struct control_request *request)
{
	machine_request_quit(request->machine);
	return CONTROL_DONE;
}

static enum control_outcome run_reset(struct control_request *request)
{
	machine_request_reset(request->machine);
	return CONTROL_DONE;
}

/* ------------------------------------------------------------------ the console */

static enum control_outcome run_console(struct control_request *request)
{
	return CONTROL_CONSOLE;
}

static enum control_outcome run_logs(struct control_request *request)
{
	const struct control_config *config = request->machine->config->control;
	json_t *files = json_array();
	static const char *const names[] = { RUNDIR_CONSOLE_OLD, RUNDIR_CONSOLE };

	if (!config->console) {
		json_decref(files);
		vmm_fail(&request->error, 0, "the machine's console is on the terminal that it was "
			 "started from, and has no log");
		return CONTROL_FAILED;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		json_array_append_new(files, json_sprintf("%s/%s", config->directory, names[i]));
	json_object_set_new(request->result, "files", files);
	return CONTROL_DONE;
}

/* ------------------------------------------------------------------ the table */

static const struct command {
	const char *name;
	enum control_outcome (*run)(struct control_request *request);
} commands[] = {
	{ "status", run_status },
	{ "stats", run_stats },
	{ "pause", run_pause },
	{ "resume", run_resume },
	{ "stop", run_stop },
	{ "kill", run_kill },
	{ "reset", run_reset },
	{ "resize", run_resize },
	{ "console", run_console },
	{ "logs", run_logs },
	{ "link", run_link },
	{ "balloon", run_balloon },
};

enum control_outcome control_run(const char *name, struct control_request *request)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].run(request);
	vmm_fail(&request->error, 0, "there is no command '%.64s'", name);
	return CONTROL_FAILED;
}
