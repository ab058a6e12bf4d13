/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loading kernels: what goes where for each protocol, and one clear line for everything that is
 * wrong with a user's files. The kernels here are headers with a pattern behind them.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_machine.h"
#include "vmm/machine/acpi.h"
#include "vmm/machine/boot.h"
#include "vmm/util.h"

#define MIB (1u << 20)

static struct fake_machine *fm;		/* 16 MiB */
static char dir[] = "/tmp/vmm_boot_test.XXXXXX";
static struct vmm_error error;
static struct boot_entry entry;

static int setup(void **state)
{
	fm = fake_machine_create(2);
	fm->m.vcpu_count = 2;
	error.text[0] = 0;
	return 0;
}

static int teardown(void **state)
{
	fake_machine_destroy(fm);
	return 0;
}

/* The path of a file in the test's directory. Several at a time. */
static const char *path_of(const char *name)
{
	static char paths[4][256];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static const char *write_file(const char *name, const void *data, size_t length)
{
	const char *path = path_of(name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, length, file), length);
	fclose(file);
	return path;
}

static void put(void *image, size_t offset, uint64_t value, size_t length)
{
	memcpy((char *)image + offset, &value, length);
}

/* Opens and loads. Returns 0 or -errno. */
static int load(const char *kernel, const char *initrd, const char *cmdline)
{
	struct vm_config config = { .kernel = kernel, .initrd = initrd, .cmdline = cmdline };
	struct boot boot;
	int err = boot_open(&boot, &config, &error);

	if (err)
		return err;
	err = boot_load(&boot, &fm->m, &entry, &error);
	boot_close(&boot);
	return err;
}

static void expect_failure(int err, const char *word)
{
	assert_true(err < 0);
	if (!strstr(error.text, word))
		fail_msg("\"%s\" does not say \"%s\"", error.text, word);
	assert_null(strchr(error.text, '\n'));
	error.text[0] = 0;
}

static void *ram(uint64_t gpa, uint64_t length)
{
	return fake_ram(fm, gpa, length);
}

static uint64_t ram_int(uint64_t gpa, unsigned int length)
{
	uint64_t value = 0;

	memcpy(&value, ram(gpa, length), length);
	return value;
}

/* ------------------------------------------------------------------ bzImage */

#define SETUP_SECTORS	2
#define CODE_SIZE	8192
#define BZIMAGE_SIZE	((SETUP_SECTORS + 1) * 512 + CODE_SIZE)

/* A bzImage of protocol 2.15 whose code is a pattern. */
static void make_bzimage(uint8_t *image)
{
	memset(image, 0, BZIMAGE_SIZE);
	put(image, 0x1f1, SETUP_SECTORS, 1);
	put(image, 0x1f4, CODE_SIZE / 16, 4);
	put(image, 0x1fe, 0xaa55, 2);
	put(image, 0x200, 0x6aeb, 2);		/* jmp over the header */
	put(image, 0x202, 0x53726448, 4);
	put(image, 0x206, 0x20f, 2);
	put(image, 0x211, LOADED_HIGH, 1);
	put(image, 0x22c, 0x7fffffff, 4);	/* initrd_addr_max */
	put(image, 0x230, 0x200000, 4);		/* kernel_alignment */
	put(image, 0x234, 1, 1);		/* relocatable */
	put(image, 0x236, XLF_KERNEL_64, 2);
	put(image, 0x238, 100, 4);		/* cmdline_size */
	put(image, 0x258, 0x400000, 8);		/* pref_address */
	put(image, 0x260, 0x10000, 4);		/* init_size */
	for (int i = 0; i < CODE_SIZE; i++)
		image[BZIMAGE_SIZE - CODE_SIZE + i] = i * 7;
}

static bool code_is_at(uint64_t gpa)
{
	uint8_t image[BZIMAGE_SIZE];

	make_bzimage(image);
	return !memcmp(ram(gpa, CODE_SIZE), image + BZIMAGE_SIZE - CODE_SIZE, CODE_SIZE);
}

static void bzimage_64(void **state)
{
	uint8_t image[BZIMAGE_SIZE];
	struct boot_params params;
	uint64_t pte;
	const char *kernel;

	make_bzimage(image);
	kernel = write_file("kernel", image, sizeof(image));
	assert_int_equal(load(kernel, write_file("initrd", "not packed", 10), "a=b"), 0);
	assert_true(entry.long_mode);
	assert_int_equal(entry.rip, 0x400200);
	assert_int_equal(entry.rsi, BOOT_PARAMS);
	assert_true(code_is_at(0x400000));
	memcpy(&params, ram(BOOT_PARAMS, sizeof(params)), sizeof(params));
	assert_string_equal(ram(params.hdr.cmd_line_ptr, 4), "a=b");
	assert_int_equal(params.hdr.ramdisk_size, 10);
	assert_int_equal(params.hdr.ramdisk_image, 16 * MIB - 4096);
	assert_memory_equal(ram(params.hdr.ramdisk_image, 10), "not packed", 10);
	assert_int_equal(params.hdr.type_of_loader, 0xff);
	assert_int_equal(params.hdr.code32_start, 0x400000);
	/* The RSDP is where it says; the memory map has all RAM but the holes below 1 MiB. */
	assert_memory_equal(ram(params.acpi_rsdp_addr, 8), "RSD PTR ", 8);
	assert_int_equal(params.e820_entries, 5);
	assert_int_equal(params.e820_table[3].addr, MIB);
	assert_int_equal(params.e820_table[3].size, 15 * MIB);
	assert_int_equal(params.e820_table[3].type, 1);
	/* A seed, and not of zeros. */
	assert_int_equal(ram_int(params.hdr.setup_data + 8, 4), 9);
	assert_int_equal(ram_int(params.hdr.setup_data + 12, 4), 32);
	assert_true(ram_int(params.hdr.setup_data + 16, 8) != 0);
	/* Page tables that map the first 4 GiB onto themselves. */
	for (uint64_t va = 0; va < 4ULL << 30; va += 0x3fe00000) {
		pte = ram_int(entry.cr3, 8) & ~0xfffULL;
		pte = ram_int(pte + 8 * (va >> 30), 8) & ~0xfffULL;
		pte = ram_int(pte + 8 * (va >> 21 & 511), 8);
		assert_int_equal(pte, (va & ~0x1fffffULL) | 0x83);
	}
	assert_int_equal(ram_int(entry.gdt + BOOT_CS, 8), 0x00af9b000000ffff);
}

static void bzimage_32(void **state)
{
	uint8_t image[BZIMAGE_SIZE];

	make_bzimage(image);
	put(image, 0x236, 0, 2);
	assert_int_equal(load(write_file("kernel", image, sizeof(image)), NULL, NULL), 0);
	assert_false(entry.long_mode);
	assert_int_equal(entry.rip, 0x400000);
	assert_int_equal(ram_int(entry.gdt + BOOT_CS, 8), 0x00cf9b000000ffff);
	assert_int_equal(ram_int(BOOT_PARAMS + 0x218, 4), 0);	/* no initrd */
}

static void bzimage_places(void **state)
{
	uint8_t image[BZIMAGE_SIZE];

	/* Where it would like to be there is no memory: as low as its alignment lets it. */
	make_bzimage(image);
	put(image, 0x258, 64 * MIB, 8);
	assert_int_equal(load(write_file("kernel", image, sizeof(image)), NULL, NULL), 0);
	assert_int_equal(entry.rip, 0x200200);
	/* Not relocatable: 1 MiB, whatever else it says. */
	make_bzimage(image);
	put(image, 0x234, 0, 1);
	assert_int_equal(load(write_file("kernel", image, sizeof(image)), NULL, NULL), 0);
	assert_int_equal(entry.rip, 0x100200);
	/* It needs more memory than there is. */
	make_bzimage(image);
	put(image, 0x260, 15 * MIB, 4);
	expect_failure(load(write_file("kernel", image, sizeof(image)), NULL, NULL),
		       "give it more");
	/* The guest's memory ends in the initrd's place. */
	make_bzimage(image);
	put(image, 0x22c, 0x4fffff, 4);
	assert_int_equal(load(write_file("kernel", image, sizeof(image)),
			      write_file("initrd", "x", 1), NULL), 0);
	assert_int_equal(ram_int(BOOT_PARAMS + 0x218, 4), 0x4ff000);
}

/* A header of protocol 2.00 ends before most fields: what follows in the file is code. */
static void bzimage_old_header(void **state)
{
	uint8_t image[BZIMAGE_SIZE];

	make_bzimage(image);
	put(image, 0x201, 0x22, 1);
	put(image, 0x206, 0x203, 2);
	memset(image + 0x224, 0xee, 0x40);
	assert_int_equal(load(write_file("kernel", image, sizeof(image)), NULL, "x"), 0);
	assert_int_equal(entry.rip, 0x100000);
	assert_true(code_is_at(0x100000));
	assert_int_equal(ram_int(BOOT_PARAMS + 0x230, 4), 0);
}

/* ------------------------------------------------------------------ ELF */

struct elf_file {
	Elf64_Ehdr head;
	Elf64_Phdr segments[3];
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t entry;
	} note;
	uint8_t code[4096];
};

static void make_elf(struct elf_file *e)
{
	*e = (struct elf_file){
		.head = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			.e_entry = 0x200010, .e_phoff = offsetof(struct elf_file, segments),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3,
		},
		.segments = {
			{
				.p_type = PT_LOAD, .p_offset = offsetof(struct elf_file, code),
				.p_vaddr = 0xffffffff81000000, .p_paddr = 0x200000,
				.p_filesz = sizeof(e->code), .p_memsz = sizeof(e->code) + 0x1000,
			}, {
				.p_type = PT_NOTE, .p_offset = offsetof(struct elf_file, note),
				.p_filesz = sizeof(e->note), .p_memsz = sizeof(e->note),
			}, {
				.p_type = PT_NULL,
			},
		},
		.note = {
			.head = { .n_namesz = 4, .n_descsz = 4, .n_type = 18 },
			.name = "Xen", .entry = 0x200123,
		},
	};
	memset(e->code, 0x90, sizeof(e->code));
}

static const char *write_elf(const struct elf_file *e)
{
	return write_file("vmlinux", e, sizeof(*e));
}

static void elf_pvh(void **state)
{
	struct elf_file e;

	make_elf(&e);
	memset(ram(0x201000, 0x1000), 0xcc, 0x1000);
	assert_int_equal(load(write_elf(&e), write_file("initrd", "abc", 3), "quiet"), 0);
	assert_false(entry.long_mode);
	assert_int_equal(entry.rip, 0x200123);
	assert_int_equal(entry.rbx, BOOT_PVH_INFO);
	assert_memory_equal(ram(0x200000, 4096), e.code, 4096);
	assert_int_equal(ram_int(0x201ff8, 8), 0);		/* beyond the file: zeros */
	assert_int_equal(ram_int(BOOT_PVH_INFO, 4), 0x336ec578);
	assert_int_equal(ram_int(BOOT_PVH_INFO + 4, 4), 1);
	assert_int_equal(ram_int(BOOT_PVH_INFO + 12, 4), 1);	/* one module: the initrd */
	assert_memory_equal(ram(ram_int(ram_int(BOOT_PVH_INFO + 16, 8), 8), 3), "abc", 3);
	assert_string_equal(ram(ram_int(BOOT_PVH_INFO + 24, 8), 6), "quiet");
	assert_memory_equal(ram(ram_int(BOOT_PVH_INFO + 32, 8), 8), "RSD PTR ", 8);
	assert_int_equal(ram_int(BOOT_PVH_INFO + 48, 4), 5);
	assert_int_equal(ram_int(ram_int(BOOT_PVH_INFO + 40, 8) + 3 * 24, 8), MIB);
}

static void elf_entry64(void **state)
{
	struct elf_file e;

	make_elf(&e);
	e.segments[1].p_type = PT_NULL;
	assert_int_equal(load(write_elf(&e), NULL, NULL), 0);
	assert_true(entry.long_mode);
	assert_int_equal(entry.rip, 0x200010);
	assert_int_equal(entry.rsi, BOOT_PARAMS);
	assert_int_equal(ram_int(BOOT_PARAMS + 0x202, 4), 0x53726448);
	/* A virtual entry point. */
	e.head.e_entry = 0xffffffff81000020;
	assert_int_equal(load(write_elf(&e), NULL, NULL), 0);
	assert_int_equal(entry.rip, 0x200020);
}

static void bad_elf(void **state)
{
	struct elf_file e;

	make_elf(&e);
	e.head.e_machine = EM_AARCH64;
	expect_failure(load(write_elf(&e), NULL, NULL), "another processor");
	make_elf(&e);
	e.head.e_ident[EI_DATA] = ELFDATA2MSB;
	expect_failure(load(write_elf(&e), NULL, NULL), "another processor");
	make_elf(&e);
	e.head.e_type = ET_REL;
	expect_failure(load(write_elf(&e), NULL, NULL), "not an executable");
	make_elf(&e);
	e.head.e_phnum = 0;
	expect_failure(load(write_elf(&e), NULL, NULL), "program headers");
	make_elf(&e);
	e.head.e_phoff = UINT64_MAX - 8;
	expect_failure(load(write_elf(&e), NULL, NULL), "vmlinux");
	make_elf(&e);
	e.segments[0].p_offset = 1 << 30;
	expect_failure(load(write_elf(&e), NULL, NULL), "truncated");
	make_elf(&e);
	e.segments[0].p_memsz = 4;
	expect_failure(load(write_elf(&e), NULL, NULL), "damaged");
	make_elf(&e);
	e.segments[0].p_paddr = 15 * MIB;
	e.segments[0].p_memsz = 2 * MIB;
	expect_failure(load(write_elf(&e), NULL, NULL), "does not fit");
	make_elf(&e);
	e.segments[0].p_memsz = UINT64_MAX;
	expect_failure(load(write_elf(&e), NULL, NULL), "does not fit");
	make_elf(&e);
	e.segments[0].p_paddr = 0x7000;
	expect_failure(load(write_elf(&e), NULL, NULL), "below 1 MiB");
	make_elf(&e);
	e.segments[0].p_type = PT_NULL;
	expect_failure(load(write_elf(&e), NULL, NULL), "nothing to load");
	make_elf(&e);
	e.segments[1].p_type = PT_NULL;
	e.head.e_entry = 0x123;
	expect_failure(load(write_elf(&e), NULL, NULL), "entry point");
	/* Notes that lie about their sizes are not followed out of the segment. */
	make_elf(&e);
	e.note.head.n_namesz = UINT32_MAX;
	assert_int_equal(load(write_elf(&e), NULL, NULL), 0);
	assert_true(entry.long_mode);
	make_elf(&e);
	e.note.head.n_descsz = UINT32_MAX;
	assert_int_equal(load(write_elf(&e), NULL, NULL), 0);
	assert_true(entry.long_mode);
}

/* ------------------------------------------------------------------ the user's mistakes */

static void bad_files(void **state)
{
	uint8_t image[BZIMAGE_SIZE];
	char text[256];

	expect_failure(load(path_of("absent"), NULL, NULL), "No such file");
	expect_failure(load(dir, NULL, NULL), "not a plain file");
	expect_failure(load("/dev/null", NULL, NULL), "not a plain file");
	expect_failure(load(write_file("empty", "", 0), NULL, NULL), "empty");
	expect_failure(load(write_file("short", "ab", 2), NULL, NULL), "not a kernel");
	memset(image, 'x', sizeof(image));
	expect_failure(load(write_file("text", image, sizeof(image)), NULL, NULL), "not a kernel");
	make_bzimage(image);
	expect_failure(load(write_file("kernel", image, sizeof(image) - 1), NULL, NULL),
		       "truncated");
	expect_failure(load(write_file("kernel", image, 1000), NULL, NULL), "truncated");
	put(image, 0x211, 0, 1);
	expect_failure(load(write_file("kernel", image, sizeof(image)), NULL, NULL), "zImage");
	make_bzimage(image);
	write_file("kernel", image, sizeof(image));
	expect_failure(load(path_of("kernel"), path_of("absent"), NULL), "the initrd");
	expect_failure(load(path_of("kernel"), dir, NULL), "not a plain file");
	memset(text, 'c', 100);
	text[100] = 0;
	assert_int_equal(load(path_of("kernel"), NULL, text), 0);
	strcat(text, "c");
	expect_failure(load(path_of("kernel"), NULL, text), "at most 100");
}

static void initrd_does_not_fit(void **state)
{
	uint8_t image[BZIMAGE_SIZE];
	const char *initrd;

	make_bzimage(image);
	write_file("kernel", image, sizeof(image));
	initrd = write_file("initrd", "x", 1);
	assert_int_equal(truncate(initrd, 12 * MIB - 0x10000), 0);
	assert_int_equal(load(path_of("kernel"), initrd, NULL), 0);
	assert_int_equal(truncate(initrd, 12 * MIB - 0xffff), 0);
	expect_failure(load(path_of("kernel"), initrd, NULL), "does not fit");
	assert_int_equal(truncate(initrd, 1LL << 40), 0);
	expect_failure(load(path_of("kernel"), initrd, NULL), "does not fit");
}

/* ------------------------------------------------------------------ truncated initrds */

/* A cpio archive with one file of 1,000 bytes. Returns its length. */
static size_t make_cpio(char *archive)
{
	char *at = archive;

	at += sprintf(at, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s%c", 1,
		      0100644, 0, 0, 1, 0, 1000, 0, 0, 0, 0, 6, 0, "./abc", 0);
	while ((at - archive) % 4)
		*at++ = 0;
	for (int i = 0; i < 1000; i++)
		*at++ = i * i;
	at += sprintf(at, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s%c", 0, 0,
		      0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0, "TRAILER!!!", 0);
	while ((at - archive) % 4)
		*at++ = 0;
	return at - archive;
}

/* Runs the command with the archive as stdin and "out" as stdout. False: no such command. */
static bool pack(const char *command, const char *from, const char *to)
{
	char line[512];

	snprintf(line, sizeof(line), "%s < %s > %s 2>/dev/null", command, path_of(from),
		 path_of(to));
	return !system(line);
}

static void expect_cut(const char *name, const char *kernel)
{
	struct stat st;

	assert_int_equal(load(kernel, path_of(name), NULL), 0);
	assert_int_equal(stat(path_of(name), &st), 0);
	for (off_t length = st.st_size - 7; length > 200; length = length * 3 / 4) {
		assert_int_equal(truncate(path_of(name), length), 0);
		expect_failure(load(kernel, path_of(name), NULL), "truncated");
	}
}

static void truncated_initrds(void **state)
{
	static const char *const packers[] = {
#ifdef HAVE_ZLIB
		"gzip -n",
#endif
		"xz --check=crc32", "zstd -q", "lz4 -l", "cat",
	};
	char archive[4096], two[2 * sizeof(archive)] = "";
	uint8_t image[BZIMAGE_SIZE];
	size_t length = make_cpio(archive);
	unsigned int tried = 0;
	char *kernel;

	make_bzimage(image);
	kernel = strdup(write_file("kernel", image, sizeof(image)));
	write_file("cpio", archive, length);
	for (unsigned int i = 0; i < ARRAY_SIZE(packers); i++) {
		if (!pack(packers[i], "cpio", "packed")) {
			print_message("no %s here\n", packers[i]);
			continue;
		}
		expect_cut("packed", kernel);
		tried++;
	}
	assert_true(tried > 0);
	/* Several parts with zeros between, as early microcode comes. */
	memcpy(two, archive, length);
	memcpy(two + length + 512, archive, length);
	write_file("two", two, 2 * length + 512);
	assert_int_equal(load(kernel, path_of("two"), NULL), 0);
	assert_int_equal(truncate(path_of("two"), length + 512 + 700), 0);
	expect_failure(load(kernel, path_of("two"), NULL), "truncated");
	/* What it does not know is the kernel's business. */
	write_file("other", "some other format", 17);
	assert_int_equal(load(kernel, path_of("other"), NULL), 0);
	free(kernel);
}

/* Damaged ones must end, whatever the answer. */
static void damaged_initrds(void **state)
{
	char archive[4096];
	size_t length = make_cpio(archive);
	uint8_t image[BZIMAGE_SIZE];
	uint32_t seed = 1;
	char *kernel;

	make_bzimage(image);
	kernel = strdup(write_file("kernel", image, sizeof(image)));
	for (int i = 0; i < 300; i++) {
		char copy[sizeof(archive)];

		memcpy(copy, archive, length);
		for (int j = 0; j < 3; j++) {
			seed = seed * 1664525 + 1013904223;
			copy[(seed >> 8) % length] = seed;
		}
		if (i % 4 == 1)
			memcpy(copy, "\x28\xb5\x2f\xfd", 4);
		if (i % 4 == 2)
			memcpy(copy, "\x02\x21\x4c\x18", 4);
		if (i % 4 == 3)
			memcpy(copy, "\x1f\x8b\x08\0", 4);
		load(kernel, write_file("damaged", copy, length), NULL);
		error.text[0] = 0;
	}
	free(kernel);
}

/* ------------------------------------------------------------------ ACPI */

static uint8_t sum(const uint8_t *data, size_t length)
{
	uint8_t total = 0;

	while (length--)
		total += *data++;
	return total;
}

/* Has ACPI's own disassembler and compiler look at a table. */
static void disassemble(const struct acpi_tables *t, uint64_t gpa, bool recompile)
{
	const uint8_t *table = t->data + (gpa - ACPI_BASE);
	char command[700];
	uint32_t length;

	memcpy(&length, table + 4, sizeof(length));
	assert_true(gpa + length <= ACPI_BASE + t->length);
	if (memcmp(table, "FACS", 4))
		assert_int_equal(sum(table, length), 0);
	write_file("table.aml", table, length);
	snprintf(command, sizeof(command), "cd %s && iasl -d table.aml >log 2>&1 && "
		 "! grep -iE '^(error|warning)|exception|invalid' log table.dsl", dir);
	assert_int_equal(system(command), 0);
	if (!recompile)
		return;
	snprintf(command, sizeof(command), "cd %s && iasl -ve table.dsl >log 2>&1 && "
		 "grep -q '0 Errors' log", dir);
	assert_int_equal(system(command), 0);
}

static void acpi_tables(void **state)
{
	static const unsigned int cpus[] = { 1, 2, 17, VM_MAX_CPUS };
	bool iasl = !system("command -v iasl >/dev/null");

	if (!iasl)
		print_message("no iasl here: only checksums are looked at\n");
	for (unsigned int i = 0; i < ARRAY_SIZE(cpus); i++) {
		const struct acpi_config config = {
			.cpus = cpus[i], .pci_mmio64_start = 0x1140000000,
		};
		struct acpi_tables t;
		uint8_t *rsdp;

		assert_int_equal(acpi_build(&config, &t), 0);
		rsdp = t.data + (t.rsdp - ACPI_BASE);
		assert_int_equal(t.rsdp % 16, 0);
		assert_int_equal(sum(rsdp, 20), 0);
		assert_int_equal(sum(rsdp, 36), 0);
		if (iasl) {
			disassemble(&t, t.dsdt, true);
			disassemble(&t, t.fadt, false);
			disassemble(&t, t.facs, false);
			disassemble(&t, t.madt, false);
			disassemble(&t, t.mcfg, false);
			disassemble(&t, t.xsdt, false);
		}
		free(t.data);
	}
}

/* ------------------------------------------------------------------ */

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bzimage_64),
		TEST(bzimage_32),
		TEST(bzimage_places),
		TEST(bzimage_old_header),
		TEST(elf_pvh),
		TEST(elf_entry64),
		TEST(bad_elf),
		TEST(bad_files),
		TEST(initrd_does_not_fit),
		TEST(truncated_initrds),
		TEST(damaged_initrds),
		TEST(acpi_tables),
	};

	return cmocka_run_group_tests_name("vmm-boot", tests, make_dir, remove_dir);
}
