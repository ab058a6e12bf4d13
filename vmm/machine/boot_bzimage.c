/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Linux's x86 boot protocol (Documentation/arch/x86/boot.rst): a bzImage, started at its 64-bit
 * entry, or at its 32-bit entry where it has no other. The real-mode part of the file is only read
 * for its header.
 */
#include "vmm/machine/boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SETUP_HEADER_OFFSET	0x1f1
#define SETUP_JUMP_OFFSET	0x201		/* its operand tells the header's length */
#define BOOT_FLAG		0xaa55
#define HEADER_MAGIC		0x53726448	/* "HdrS" */
#define SECTOR			512
#define ENTRY64_OFFSET		0x200

#define CMDLINE_BEFORE_206	255

static int not_a_kernel(const struct boot *boot, struct vmm_error *error)
{
	return vmm_fail(error, -ENOEXEC, "%s is not a kernel: neither a bzImage nor an ELF file",
			boot->kernel.path);
}

static int read_header(const struct boot *boot, struct setup_header *header,
		       struct vmm_error *error)
{
	uint8_t jump;
	uint64_t length = sizeof(*header);
	int err;

	memset(header, 0, sizeof(*header));
	if (boot->kernel.size < SETUP_HEADER_OFFSET + length)
		return not_a_kernel(boot, error);
	err = boot_read(&boot->kernel, SETUP_HEADER_OFFSET, header, length, error);
	if (err)
		return err;
	if (header->boot_flag != BOOT_FLAG || header->header != HEADER_MAGIC)
		return not_a_kernel(boot, error);
	if (header->version < 0x200 || !(header->loadflags & LOADED_HIGH))
		return vmm_fail(error, -ENOEXEC, "%s is a zImage, which is too old; a bzImage is "
				"needed", boot->kernel.path);
	/* What follows the header of an older kernel is code, not header. */
	jump = header->jump >> 8;
	length = SETUP_JUMP_OFFSET + 1 + jump - SETUP_HEADER_OFFSET;
	if (length < sizeof(*header))
		memset((char *)header + length, 0, sizeof(*header) - length);
	if (!header->setup_sects)
		header->setup_sects = 4;
	return 0;
}

/* Chooses where the kernel goes: where it would like, else as low as it may. *end gets the end of
 * the memory it needs before it looks at the memory map itself. */
static int place_kernel(const struct boot *boot, struct machine *m,
			const struct setup_header *header, uint64_t file_length, uint64_t *start,
			uint64_t *end, struct vmm_error *error)
{
	bool relocatable = header->version >= 0x205 && header->relocatable_kernel;
	uint64_t align = header->version >= 0x205 ? header->kernel_alignment : 0;
	uint64_t need = file_length, low = BOOT_HIGH;

	if (header->version >= 0x20a && header->init_size > need)
		need = header->init_size;
	if (relocatable && align && !(align & (align - 1)))
		low = (low + align - 1) & ~(align - 1);
	*start = low;
	if (relocatable && header->version >= 0x20a && header->pref_address >= BOOT_HIGH)
		*start = header->pref_address;
	if (!ram_ptr(&m->ram, *start, need) || *start >= RAM_HOLE_START)
		*start = low;
	if (!ram_ptr(&m->ram, *start, need))
		return vmm_fail(error, -ENOMEM, "the kernel %s needs %" PRIu64 " MiB of memory to "
				"start, and the guest has %" PRIu64 " MiB; give it more",
				boot->kernel.path, (*start + need + (1 << 20) - 1) >> 20,
				m->ram.size >> 20);
	*end = *start + need;
	return 0;
}

int boot_load_bzimage(const struct boot *boot, struct machine *m, uint64_t rsdp,
		      struct boot_entry *entry, struct vmm_error *error)
{
	struct boot_params params = { 0 };
	struct setup_header *header = &params.hdr;
	uint64_t offset, length, initrd_limit, start = 0, end = 0, initrd = 0;
	uint64_t longest = CMDLINE_BEFORE_206;
	int err = read_header(boot, header, error);

	if (err)
		return err;
	offset = (header->setup_sects + 1) * SECTOR;
	/* Before 2.04 only 16 bits of the size are valid: there, the file tells. */
	length = header->version >= 0x204 ? header->syssize * 16ULL : boot->kernel.size - offset;
	if (boot->kernel.size < offset || boot->kernel.size - offset < length)
		return vmm_fail(error, -ENODATA, "the kernel %s is truncated: it has %" PRIu64
				" bytes of %" PRIu64, boot->kernel.path, boot->kernel.size,
				offset + length);
	err = place_kernel(boot, m, header, length, &start, &end, error);
	if (!err)
		err = boot_read_ram(&boot->kernel, offset, m, start, length, error);
	if (err)
		return err;
	if (header->version >= 0x206 && header->cmdline_size)
		longest = header->cmdline_size;
	err = boot_put_cmdline(boot, m, longest, error);
	if (err)
		return err;
	initrd_limit = header->version >= 0x203 ? header->initrd_addr_max + 1ULL : 0x38000000;
	err = boot_put_initrd(boot, m, end, initrd_limit, &initrd, error);
	if (err)
		return err;
	header->code32_start = start;
	entry->rip = start;
	if (header->version >= 0x20c && (header->xloadflags & XLF_KERNEL_64)) {
		entry->rip += ENTRY64_OFFSET;
		boot_long_mode(m, entry);
	}
	return boot_put_params(boot, m, &params, initrd, rsdp, entry);
}
