/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loading a kernel without firmware: which protocol it speaks, where everything goes, and how the
 * boot processor starts.
 *
 *	0x000500	GDT
 *	0x006000	PVH start info, its module list and memory map
 *	0x007000	Linux's boot_params (the "zero page")
 *	0x009000	page tables that map the first 4 GiB onto themselves
 *	0x010000	setup_data
 *	0x020000	command line
 *	0x0e0000	ACPI tables
 *	0x100000	the kernel, there or above; the initrd as high as the kernel lets it
 */
#ifndef VMM_MACHINE_BOOT_H
#define VMM_MACHINE_BOOT_H

#include <stdbool.h>
#include <stdint.h>
#include "vmm/error.h"
#include "vmm/machine/machine.h"

#define BOOT_GDT		0x500
#define BOOT_PVH_INFO		0x6000
#define BOOT_PVH_MODULES	0x6100
#define BOOT_PVH_MEMMAP		0x6200
#define BOOT_PARAMS		0x7000
#define BOOT_PAGE_TABLES	0x9000
#define BOOT_SETUP_DATA		0x10000
#define BOOT_CMDLINE		0x20000
#define BOOT_CMDLINE_SIZE	0x10000
#define BOOT_HIGH		0x100000

/* Selectors, as Linux's boot protocol has them. */
#define BOOT_CS			0x10
#define BOOT_DS			0x18
#define BOOT_TSS		0x20

/* The boot processor's registers; all not named here are 0 or as at power-on. */
struct boot_entry {
	bool long_mode;		/* else 32-bit protected mode, no paging */
	uint64_t rip, rsi, rbx;
	uint64_t cr3;
	uint64_t gdt;
	uint16_t gdt_limit;
};

/* A file that the user named. It stays open: a reset loads it again. */
struct boot_file {
	const char *path;
	int fd;			/* -1: none */
	uint64_t size;
};

struct boot {
	struct boot_file kernel, initrd;
	const char *cmdline;
};

/* Opens the files and says what is wrong with them. Returns 0 or -errno. */
int boot_open(struct boot *boot, const struct vm_config *config, struct vmm_error *error);
void boot_close(struct boot *boot);

/* Puts everything into guest memory, with the ACPI tables. Returns 0 or -errno. */
int boot_load(const struct boot *boot, struct machine *m, struct boot_entry *entry,
	      struct vmm_error *error);

/* ------------------------------------------------------------------ between the boot files */

/* Reads length bytes at offset. -ENODATA with a line where the file ends before. */
int boot_read(const struct boot_file *file, uint64_t offset, void *to, uint64_t length,
	      struct vmm_error *error);
/* Reads them into guest memory. */
int boot_read_ram(const struct boot_file *file, uint64_t offset, struct machine *m, uint64_t gpa,
		  uint64_t length, struct vmm_error *error);

/* Copies the command line to BOOT_CMDLINE; longest is without the final 0. */
int boot_put_cmdline(const struct boot *boot, struct machine *m, uint64_t longest,
		     struct vmm_error *error);
/*
 * Loads the initrd below limit (exclusive) and above the kernel's end. *gpa gets its address, 0
 * where there is none.
 */
int boot_put_initrd(const struct boot *boot, struct machine *m, uint64_t kernel_end,
		    uint64_t limit, uint64_t *gpa, struct vmm_error *error);

enum boot_memory_type { BOOT_MEMORY_RAM = 1, BOOT_MEMORY_RESERVED = 2 };

struct boot_memory {
	uint64_t start, size;
	enum boot_memory_type type;
};

#define BOOT_MEMORY_MAX 8

/* The guest's memory map, ascending. Returns the number of entries, at most BOOT_MEMORY_MAX. */
unsigned int boot_memory_map(const struct machine *m, struct boot_memory *map);

/* Fills in what every start by boot_params has, apart from the header: memory map, RSDP, cmdline,
 * initrd, seed; and the entry's rsi. struct boot_params is that of asm/bootparam.h. */
struct boot_params;
int boot_put_params(const struct boot *boot, struct machine *m, struct boot_params *params,
		    uint64_t initrd, uint64_t rsdp, struct boot_entry *entry);
/* Writes page tables and makes the entry one in long mode. */
void boot_long_mode(struct machine *m, struct boot_entry *entry);

int boot_load_bzimage(const struct boot *boot, struct machine *m, uint64_t rsdp,
		      struct boot_entry *entry, struct vmm_error *error);
int boot_load_elf(const struct boot *boot, struct machine *m, uint64_t rsdp,
		  struct boot_entry *entry, struct vmm_error *error);

#endif
