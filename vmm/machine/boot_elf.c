/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ELF kernels: by PVH where a note offers it (Xen's "x86/HVM direct boot ABI", which Linux, FreeBSD
 * and others have), else by the 64-bit entry point with Linux's boot_params.
 */
#include "vmm/machine/boot.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SEGMENTS		64
#define MAX_NOTES_SIZE		(1 << 20)
#define NOTE_PHYS32_ENTRY	18	/* XEN_ELFNOTE_PHYS32_ENTRY */

#define HEADER_MAGIC		0x53726448
/* Where Linux's own header says an initrd must end, for want of that header. */
#define INITRD_LIMIT_64		0x80000000ULL
#define INITRD_LIMIT_32		0x38000000ULL

#define PVH_MAGIC		0x336ec578

struct pvh_start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct pvh_module {
	uint64_t address, size, cmdline, reserved;
};

struct pvh_memory {
	uint64_t address, size;
	uint32_t type, reserved;
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "version 1 of the start info");
_Static_assert(BOOT_PVH_INFO + sizeof(struct pvh_start_info) <= BOOT_PVH_MODULES, "");
_Static_assert(BOOT_PVH_MEMMAP + BOOT_MEMORY_MAX * sizeof(struct pvh_memory) <= BOOT_PARAMS, "");

/* The headers of either class, in the form of the larger. */
struct elf_kernel {
	bool is64;
	uint64_t entry;
	unsigned int segment_count;
	Elf64_Phdr segments[MAX_SEGMENTS];
	uint64_t pvh_entry;		/* 0: no note */
	uint64_t end;			/* of what was loaded */
};

static int bad(const struct boot *boot, struct vmm_error *error, const char *why)
{
	return vmm_fail(error, -ENOEXEC, "the kernel %s %s", boot->kernel.path, why);
}

static int read_segments(const struct boot *boot, struct elf_kernel *elf, uint64_t offset,
			 unsigned int size, unsigned int count, struct vmm_error *error)
{
	Elf32_Phdr narrow;
	int err = 0;

	if (!count || count > MAX_SEGMENTS || size != (elf->is64 ? sizeof(Elf64_Phdr) :
								   sizeof(Elf32_Phdr)))
		return bad(boot, error, "is an ELF file with no usable program headers");
	elf->segment_count = count;
	for (unsigned int i = 0; i < count && !err; i++, offset += size) {
		Elf64_Phdr *p = &elf->segments[i];

		if (elf->is64) {
			err = boot_read(&boot->kernel, offset, p, sizeof(*p), error);
			continue;
		}
		err = boot_read(&boot->kernel, offset, &narrow, sizeof(narrow), error);
		*p = (Elf64_Phdr){
			.p_type = narrow.p_type, .p_offset = narrow.p_offset,
			.p_vaddr = narrow.p_vaddr, .p_paddr = narrow.p_paddr,
			.p_filesz = narrow.p_filesz, .p_memsz = narrow.p_memsz,
			.p_align = narrow.p_align,
		};
	}
	return err;
}

static int read_headers(const struct boot *boot, struct elf_kernel *elf, struct vmm_error *error)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} head;
	int err;

	if (boot->kernel.size < sizeof(head))
		return bad(boot, error, "is truncated");
	err = boot_read(&boot->kernel, 0, &head, sizeof(head), error);
	if (err)
		return err;
	if (head.ident[EI_DATA] != ELFDATA2LSB)
		return bad(boot, error, "is an ELF file for another processor");
	/* e_type and e_machine are in the same place in both. */
	if (head.e64.e_type != ET_EXEC && head.e64.e_type != ET_DYN)
		return bad(boot, error, "is an ELF file, but not an executable one");
	elf->is64 = head.ident[EI_CLASS] == ELFCLASS64;
	if (head.e64.e_machine != (elf->is64 ? EM_X86_64 : EM_386))
		return bad(boot, error, "is an ELF file for another processor");
	if (elf->is64) {
		elf->entry = head.e64.e_entry;
		return read_segments(boot, elf, head.e64.e_phoff, head.e64.e_phentsize,
				     head.e64.e_phnum, error);
	}
	elf->entry = head.e32.e_entry;
	return read_segments(boot, elf, head.e32.e_phoff, head.e32.e_phentsize, head.e32.e_phnum,
			     error);
}

/* Looks for the PVH entry among the notes of one segment. */
static void scan_notes(struct elf_kernel *elf, const uint8_t *notes, uint64_t size)
{
	Elf64_Nhdr note;	/* the same in both classes */
	uint64_t at = 0, name, desc;

	while (size - at >= sizeof(note)) {
		memcpy(&note, notes + at, sizeof(note));
		name = at + sizeof(note);
		desc = name + ((note.n_namesz + 3ULL) & ~3ULL);
		if (desc > size || note.n_descsz > size - desc)
			return;
		if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == 4 &&
		    !memcmp(notes + name, "Xen", 4) && note.n_descsz >= 4 && note.n_descsz <= 8) {
			elf->pvh_entry = 0;
			memcpy(&elf->pvh_entry, notes + desc, note.n_descsz);
			return;
		}
		at = desc + ((note.n_descsz + 3ULL) & ~3ULL);
		if (at > size)
			return;
	}
}

static int read_notes(const struct boot *boot, struct elf_kernel *elf, const Elf64_Phdr *p,
		      struct vmm_error *error)
{
	uint8_t *notes;
	int err;

	if (p->p_filesz > MAX_NOTES_SIZE)
		return 0;
	notes = malloc(p->p_filesz + 1);
	if (!notes)
		return -ENOMEM;
	err = boot_read(&boot->kernel, p->p_offset, notes, p->p_filesz, error);
	if (!err)
		scan_notes(elf, notes, p->p_filesz);
	free(notes);
	return err;
}

static int load_segment(const struct boot *boot, struct machine *m, struct elf_kernel *elf,
			const Elf64_Phdr *p, struct vmm_error *error)
{
	uint8_t *to;
	int err;

	if (!p->p_memsz)
		return 0;
	if (p->p_filesz > p->p_memsz)
		return bad(boot, error, "is damaged: a segment is larger in the file than in "
			   "memory");
	/* Below 1 MiB is what the kernel is told with. */
	if (p->p_paddr < BOOT_HIGH)
		return bad(boot, error, "wants to be loaded below 1 MiB, which is not supported");
	to = ram_ptr(&m->ram, p->p_paddr, p->p_memsz);
	if (!to)
		return vmm_fail(error, -ENOMEM, "the kernel %s does not fit into %" PRIu64
				" MiB of memory (it has a segment of %" PRIu64 " KiB at 0x%" PRIx64
				"); give the guest more", boot->kernel.path, m->ram.size >> 20,
				p->p_memsz >> 10, p->p_paddr);
	err = boot_read(&boot->kernel, p->p_offset, to, p->p_filesz, error);
	if (err)
		return err;
	memset(to + p->p_filesz, 0, p->p_memsz - p->p_filesz);
	if (p->p_paddr + p->p_memsz > elf->end)
		elf->end = p->p_paddr + p->p_memsz;
	return 0;
}

/* Linux's entry point is a physical address; where it is a virtual one, the segments tell. */
static int find_entry64(const struct boot *boot, const struct elf_kernel *elf, uint64_t *rip,
			struct vmm_error *error)
{
	for (unsigned int i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *p = &elf->segments[i];

		if (p->p_type == PT_LOAD && elf->entry - p->p_paddr < p->p_memsz) {
			*rip = elf->entry;
			return 0;
		}
	}
	for (unsigned int i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *p = &elf->segments[i];

		if (p->p_type == PT_LOAD && elf->entry - p->p_vaddr < p->p_memsz) {
			*rip = elf->entry - p->p_vaddr + p->p_paddr;
			return 0;
		}
	}
	return bad(boot, error, "has an entry point outside of its segments");
}

static int start_pvh(const struct boot *boot, struct machine *m, const struct elf_kernel *elf,
		     uint64_t initrd, uint64_t rsdp, struct boot_entry *entry)
{
	struct boot_memory map[BOOT_MEMORY_MAX];
	struct pvh_memory memory[BOOT_MEMORY_MAX] = { 0 };
	struct pvh_module module = { .address = initrd, .size = boot->initrd.size };
	struct pvh_start_info info = {
		.magic = PVH_MAGIC, .version = 1, .cmdline = BOOT_CMDLINE, .rsdp = rsdp,
		.memmap = BOOT_PVH_MEMMAP, .memmap_entries = boot_memory_map(m, map),
	};
	int err;

	for (unsigned int i = 0; i < info.memmap_entries; i++)
		memory[i] = (struct pvh_memory){ map[i].start, map[i].size, map[i].type, 0 };
	if (initrd) {
		info.module_count = 1;
		info.modules = BOOT_PVH_MODULES;
	}
	err = ram_write(&m->ram, BOOT_PVH_MODULES, &module, sizeof(module));
	if (!err)
		err = ram_write(&m->ram, BOOT_PVH_MEMMAP, memory, sizeof(memory));
	if (!err)
		err = ram_write(&m->ram, BOOT_PVH_INFO, &info, sizeof(info));
	entry->rip = elf->pvh_entry;
	entry->rbx = BOOT_PVH_INFO;
	return err;
}

static int start_entry64(const struct boot *boot, struct machine *m, const struct elf_kernel *elf,
			 uint64_t initrd, uint64_t rsdp, struct boot_entry *entry,
			 struct vmm_error *error)
{
	struct boot_params params = { 0 };
	int err = find_entry64(boot, elf, &entry->rip, error);

	if (err)
		return err;
	params.hdr.boot_flag = 0xaa55;
	params.hdr.header = HEADER_MAGIC;
	params.hdr.version = 0x20c;
	params.hdr.loadflags = LOADED_HIGH;
	boot_long_mode(m, entry);
	return boot_put_params(boot, m, &params, initrd, rsdp, entry);
}

int boot_load_elf(const struct boot *boot, struct machine *m, uint64_t rsdp,
		  struct boot_entry *entry, struct vmm_error *error)
{
	struct elf_kernel *elf = calloc(1, sizeof(*elf));
	uint64_t initrd = 0;
	int err;

	if (!elf)
		return vmm_fail(error, -ENOMEM, "out of memory");
	err = read_headers(boot, elf, error);
	for (unsigned int i = 0; i < elf->segment_count && !err; i++) {
		if (elf->segments[i].p_type == PT_LOAD)
			err = load_segment(boot, m, elf, &elf->segments[i], error);
		else if (elf->segments[i].p_type == PT_NOTE && !elf->pvh_entry)
			err = read_notes(boot, elf, &elf->segments[i], error);
	}
	if (!err && !elf->end)
		err = bad(boot, error, "is an ELF file with nothing to load");
	if (!err && !elf->is64 && !elf->pvh_entry)
		err = bad(boot, error, "is a 32-bit ELF file without a PVH note; use its bzImage");
	if (!err)
		err = boot_put_cmdline(boot, m, BOOT_CMDLINE_SIZE - 1, error);
	if (!err)
		err = boot_put_initrd(boot, m, elf->end,
				      elf->is64 ? INITRD_LIMIT_64 : INITRD_LIMIT_32, &initrd,
				      error);
	if (!err && elf->pvh_entry)
		err = start_pvh(boot, m, elf, initrd, rsdp, entry);
	else if (!err)
		err = start_entry64(boot, m, elf, initrd, rsdp, entry, error);
	free(elf);
	return err;
}
