/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing ACPI Machine Language (ACPI 6.4, chapter 20), as far as our DSDT needs it.
 *
 * Objects that contain others are opened and closed; closing fills in the length:
 *
 *	mark = aml_device(aml, "COM1");
 *	aml_name_eisaid(aml, "_HID", "PNP0501");
 *	aml_close(aml, mark);
 *
 * Running out of memory is remembered; look at aml->failed at the end.
 */
#ifndef VMM_MACHINE_AML_H
#define VMM_MACHINE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data;		/* free() it */
	size_t length, capacity;
	bool failed;
};

/* A path is up to four characters a segment, "\\" first for the root, "." between: "\\_SB". */
size_t aml_scope(struct aml *aml, const char *path);
size_t aml_device(struct aml *aml, const char *name);
size_t aml_package(struct aml *aml, uint8_t elements);
void aml_close(struct aml *aml, size_t mark);

/* The beginning of Name(name, …): the value follows. */
void aml_name(struct aml *aml, const char *name);
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_string(struct aml *aml, const char *name, const char *value);
void aml_name_eisaid(struct aml *aml, const char *name, const char *id);

void aml_integer(struct aml *aml, uint64_t value);

/* Resource descriptors (6.4): Name(_CRS, ResourceTemplate() { … }). */
size_t aml_resources(struct aml *aml);
void aml_resources_close(struct aml *aml, size_t mark);
void aml_io(struct aml *aml, uint16_t port, uint8_t length);
void aml_irq(struct aml *aml, unsigned int irq);
void aml_memory32_fixed(struct aml *aml, uint32_t base, uint32_t length);
/* Windows of a bridge: first to last, inclusive. */
void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_io_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_memory32_window(struct aml *aml, uint32_t first, uint32_t last);
void aml_memory64_window(struct aml *aml, uint64_t first, uint64_t last);

#endif
