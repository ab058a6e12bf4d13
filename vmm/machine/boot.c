/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all boot protocols share: opening the files, the low memory's contents, the memory map. The
 * protocols are in boot_bzimage.c and boot_elf.c.
 */
#include "vmm/machine/boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/machine/acpi.h"
#include "vmm/machine/initrd.h"

#define EBDA_START	0x9fc00		/* the top of the first 640 KiB, which is a BIOS's */
#define VGA_START	0xa0000

#define SETUP_TYPE_RNG_SEED	9
#define SEED_SIZE		32

#define PTE_PRESENT	0x01
#define PTE_WRITE	0x02
#define PTE_LARGE	0x80
#define IDENTITY_GIB	4

/* ------------------------------------------------------------------ files */

static int open_file(struct boot_file *file, const char *path, const char *what,
		     struct vmm_error *error)
{
	struct stat st;

	file->path = path;
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0)
		return vmm_fail(error, -errno, "cannot open the %s %s: %s", what, path,
				strerror(errno));
	if (fstat(file->fd, &st))
		return vmm_fail(error, -errno, "cannot look at the %s %s: %s", what, path,
				strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vmm_fail(error, -EINVAL, "the %s %s is not a plain file", what, path);
	if (!st.st_size)
		return vmm_fail(error, -EINVAL, "the %s %s is empty", what, path);
	file->size = st.st_size;
	return 0;
}

int boot_open(struct boot *boot, const struct vm_config *config, struct vmm_error *error)
{
	int err;

	*boot = (struct boot){ .kernel.fd = -1, .initrd.fd = -1 };
	boot->cmdline = config->cmdline ? config->cmdline : "";
	if (!config->kernel)
		return vmm_fail(error, -EINVAL, "no kernel is given");
	err = open_file(&boot->kernel, config->kernel, "kernel", error);
	if (!err && config->initrd) {
		err = open_file(&boot->initrd, config->initrd, "initrd", error);
		if (!err)
			err = initrd_check(&boot->initrd, error);
	}
	if (err)
		boot_close(boot);
	return err;
}

void boot_close(struct boot *boot)
{
	if (boot->kernel.fd >= 0)
		close(boot->kernel.fd);
	if (boot->initrd.fd >= 0)
		close(boot->initrd.fd);
	boot->kernel.fd = boot->initrd.fd = -1;
}

int boot_read(const struct boot_file *file, uint64_t offset, void *to, uint64_t length,
	      struct vmm_error *error)
{
	char *at = to;
	ssize_t done;

	while (length) {
		done = pread(file->fd, at, length, offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return vmm_fail(error, -errno, "cannot read %s: %s", file->path,
					strerror(errno));
		if (!done)
			return vmm_fail(error, -ENODATA, "%s is truncated: it ends after %" PRIu64
					" bytes, and there should be %" PRIu64 " more",
					file->path, offset, length);
		at += done;
		offset += done;
		length -= done;
	}
	return 0;
}

int boot_read_ram(const struct boot_file *file, uint64_t offset, struct machine *m, uint64_t gpa,
		  uint64_t length, struct vmm_error *error)
{
	void *to = ram_ptr(&m->ram, gpa, length);

	if (!to)
		return vmm_fail(error, -ENOMEM, "%s does not fit into %" PRIu64
				" MiB of memory; give the guest more", file->path,
				m->ram.size >> 20);
	return boot_read(file, offset, to, length, error);
}

/* ------------------------------------------------------------------ what every kernel gets */

int boot_put_cmdline(const struct boot *boot, struct machine *m, uint64_t longest,
		     struct vmm_error *error)
{
	size_t length = strlen(boot->cmdline);

	if (longest > BOOT_CMDLINE_SIZE - 1)
		longest = BOOT_CMDLINE_SIZE - 1;
	if (length > longest)
		return vmm_fail(error, -E2BIG, "the command line has %zu characters; %s takes at "
				"most %" PRIu64, length, boot->kernel.path, longest);
	return ram_write(&m->ram, BOOT_CMDLINE, boot->cmdline, length + 1);
}

int boot_put_initrd(const struct boot *boot, struct machine *m, uint64_t kernel_end,
		    uint64_t limit, uint64_t *gpa, struct vmm_error *error)
{
	uint64_t size = boot->initrd.size;

	*gpa = 0;
	if (boot->initrd.fd < 0)
		return 0;
	if (limit > m->ram.low_size)
		limit = m->ram.low_size;
	if (size > limit || ((limit - size) & ~0xfffULL) < kernel_end)
		return vmm_fail(error, -ENOMEM, "the initrd %s (%" PRIu64 " KiB) does not fit "
				"beside the kernel into %" PRIu64 " MiB of memory; give the guest "
				"more", boot->initrd.path, size >> 10, m->ram.size >> 20);
	*gpa = (limit - size) & ~0xfffULL;
	return boot_read_ram(&boot->initrd, 0, m, *gpa, size, error);
}

unsigned int boot_memory_map(const struct machine *m, struct boot_memory *map)
{
	unsigned int n = 0;

	map[n++] = (struct boot_memory){ 0, EBDA_START, BOOT_MEMORY_RAM };
	map[n++] = (struct boot_memory){ EBDA_START, VGA_START - EBDA_START,
					 BOOT_MEMORY_RESERVED };
	map[n++] = (struct boot_memory){ ACPI_BASE, ACPI_SIZE, BOOT_MEMORY_RESERVED };
	map[n++] = (struct boot_memory){ BOOT_HIGH, m->ram.low_size - BOOT_HIGH, BOOT_MEMORY_RAM };
	map[n++] = (struct boot_memory){ PCI_ECAM_BASE, PCI_ECAM_SIZE, BOOT_MEMORY_RESERVED };
	if (m->ram.high_size)
		map[n++] = (struct boot_memory){ RAM_HOLE_END, m->ram.high_size,
						 BOOT_MEMORY_RAM };
	return n;
}

static void put_seed(struct machine *m)
{
	struct {
		uint64_t next;
		uint32_t type, length;
		uint8_t seed[SEED_SIZE];
	} data = { 0, SETUP_TYPE_RNG_SEED, SEED_SIZE, { 0 } };

	/* Linux counts it only if its configuration trusts the boot loader. */
	if (getrandom(data.seed, sizeof(data.seed), 0) != sizeof(data.seed))
		data.length = 0;
	ram_write(&m->ram, BOOT_SETUP_DATA, &data, sizeof(data));
}

int boot_put_params(const struct boot *boot, struct machine *m, struct boot_params *params,
		    uint64_t initrd, uint64_t rsdp, struct boot_entry *entry)
{
	struct boot_memory map[BOOT_MEMORY_MAX];

	params->e820_entries = boot_memory_map(m, map);
	for (unsigned int i = 0; i < params->e820_entries; i++) {
		params->e820_table[i].addr = map[i].start;
		params->e820_table[i].size = map[i].size;
		params->e820_table[i].type = map[i].type;
	}
	params->acpi_rsdp_addr = rsdp;
	params->hdr.type_of_loader = 0xff;
	params->hdr.cmd_line_ptr = BOOT_CMDLINE;
	params->hdr.ramdisk_image = initrd;
	params->hdr.ramdisk_size = initrd ? boot->initrd.size : 0;
	put_seed(m);
	params->hdr.setup_data = BOOT_SETUP_DATA;
	entry->rsi = BOOT_PARAMS;
	return ram_write(&m->ram, BOOT_PARAMS, params, sizeof(*params));
}

/* One table of each upper level, and a directory of 2 MiB pages for every GiB. */
void boot_long_mode(struct machine *m, struct boot_entry *entry)
{
	uint64_t table[512] = { BOOT_PAGE_TABLES + 0x1000 + PTE_PRESENT + PTE_WRITE };
	uint64_t directory = BOOT_PAGE_TABLES + 0x2000;

	ram_write(&m->ram, BOOT_PAGE_TABLES, table, sizeof(table));
	for (uint64_t gib = 0; gib < IDENTITY_GIB; gib++)
		table[gib] = (directory + gib * 0x1000) | PTE_PRESENT | PTE_WRITE;
	ram_write(&m->ram, BOOT_PAGE_TABLES + 0x1000, table, sizeof(table));
	for (uint64_t gib = 0; gib < IDENTITY_GIB; gib++) {
		for (uint64_t i = 0; i < 512; i++)
			table[i] = (gib << 30 | i << 21) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
		ram_write(&m->ram, directory + gib * 0x1000, table, sizeof(table));
	}
	entry->long_mode = true;
	entry->cr3 = BOOT_PAGE_TABLES;
}

/* Descriptors that say what vcpu.c puts into the segment registers' hidden parts. */
static void put_gdt(struct machine *m, struct boot_entry *entry)
{
	const uint64_t gdt[] = {
		0, 0,
		entry->long_mode ? 0x00af9b000000ffff : 0x00cf9b000000ffff,	/* BOOT_CS */
		0x00cf93000000ffff,						/* BOOT_DS */
		0x00008b0000000067, 0,						/* BOOT_TSS */
	};

	ram_write(&m->ram, BOOT_GDT, gdt, sizeof(gdt));
	entry->gdt = BOOT_GDT;
	entry->gdt_limit = sizeof(gdt) - 1;
}

static int put_acpi(struct machine *m, uint64_t *rsdp, struct vmm_error *error)
{
	const struct acpi_config config = {
		.cpus = m->vcpu_count, .pci_mmio64_start = m->pci_mmio64_start,
	};
	struct acpi_tables tables;
	int err = acpi_build(&config, &tables);

	if (!err) {
		err = ram_write(&m->ram, ACPI_BASE, tables.data, tables.length);
		*rsdp = tables.rsdp;
		free(tables.data);
	}
	return err ? vmm_fail(error, err, "cannot make the ACPI tables: %s", strerror(-err)) : 0;
}

int boot_load(const struct boot *boot, struct machine *m, struct boot_entry *entry,
	      struct vmm_error *error)
{
	uint64_t rsdp = 0;
	char magic[4] = { 0 };
	int err;

	*entry = (struct boot_entry){ 0 };
	err = put_acpi(m, &rsdp, error);
	if (err)
		return err;
	if (boot->kernel.size < sizeof(magic))
		return vmm_fail(error, -ENOEXEC, "%s is not a kernel", boot->kernel.path);
	err = boot_read(&boot->kernel, 0, magic, sizeof(magic), error);
	if (err)
		return err;
	if (!memcmp(magic, "\177ELF", 4))
		err = boot_load_elf(boot, m, rsdp, entry, error);
	else
		err = boot_load_bzimage(boot, m, rsdp, entry, error);
	if (!err)
		put_gdt(m, entry);
	return err;
}
