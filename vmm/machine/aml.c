/* SPDX-License-Identifier: GPL-2.0-only */
/* The encoding of ACPI Machine Language; see aml.h. */
#include "vmm/machine/aml.h"

#include <stdlib.h>
#include <string.h>

#define OP_ZERO		0x00
#define OP_ONE		0x01
#define OP_NAME		0x08
#define OP_BYTE		0x0a
#define OP_WORD		0x0b
#define OP_DWORD	0x0c
#define OP_STRING	0x0d
#define OP_QWORD	0x0e
#define OP_SCOPE	0x10
#define OP_BUFFER	0x11
#define OP_PACKAGE	0x12
#define OP_DUAL_NAME	0x2e
#define OP_EXT		0x5b
#define EXT_DEVICE	0x82

/* ------------------------------------------------------------------ bytes */

static void put(struct aml *aml, const void *bytes, size_t length)
{
	size_t capacity = aml->capacity ? aml->capacity : 1024;
	uint8_t *bigger;

	while (capacity < aml->length + length)
		capacity *= 2;
	if (!aml->failed && capacity != aml->capacity) {
		bigger = realloc(aml->data, capacity);
		if (bigger) {
			aml->data = bigger;
			aml->capacity = capacity;
		} else {
			aml->failed = true;
		}
	}
	if (aml->failed)
		return;
	memcpy(aml->data + aml->length, bytes, length);
	aml->length += length;
}

static void put_int(struct aml *aml, uint64_t value, unsigned int length)
{
	put(aml, &value, length);
}

static void put_byte(struct aml *aml, uint8_t byte)
{
	put(aml, &byte, 1);
}

/* A segment is four characters, filled up with '_'. Returns the rest of the path. */
static const char *put_segment(struct aml *aml, const char *path)
{
	for (int i = 0; i < 4; i++)
		put_byte(aml, *path && *path != '.' ? *path++ : '_');
	return path;
}

static void put_path(struct aml *aml, const char *path)
{
	if (*path == '\\')
		put_byte(aml, *path++);
	if (strchr(path, '.'))
		put_byte(aml, OP_DUAL_NAME);
	path = put_segment(aml, path);
	if (*path == '.')
		put_segment(aml, path + 1);
}

/* Puts bytes in front of what was written since mark. */
static void insert(struct aml *aml, size_t mark, const uint8_t *bytes, size_t length)
{
	size_t moved = aml->length - mark;

	put(aml, bytes, length);
	if (aml->failed)
		return;
	memmove(aml->data + mark + length, aml->data + mark, moved);
	memcpy(aml->data + mark, bytes, length);
}

/* PkgLength (20.2.4) counts its own bytes too: one with 6 bits, or two to four with 4 + 8n bits. */
void aml_close(struct aml *aml, size_t mark)
{
	size_t length = aml->length - mark;
	unsigned int bytes = 1;
	uint8_t encoded[4];

	if (length + 1 > 0x3f)
		for (bytes = 2; length + bytes >= (size_t)1 << (4 + 8 * (bytes - 1)); bytes++)
			;
	length += bytes;
	if (bytes == 1) {
		encoded[0] = length;
	} else {
		encoded[0] = (bytes - 1) << 6 | (length & 0x0f);
		for (unsigned int i = 1; i < bytes; i++)
			encoded[i] = length >> (4 + 8 * (i - 1));
	}
	insert(aml, mark, encoded, bytes);
}

/* ------------------------------------------------------------------ objects */

size_t aml_scope(struct aml *aml, const char *path)
{
	size_t mark;

	put_byte(aml, OP_SCOPE);
	mark = aml->length;
	put_path(aml, path);
	return mark;
}

size_t aml_device(struct aml *aml, const char *name)
{
	size_t mark;

	put_byte(aml, OP_EXT);
	put_byte(aml, EXT_DEVICE);
	mark = aml->length;
	put_path(aml, name);
	return mark;
}

size_t aml_package(struct aml *aml, uint8_t elements)
{
	size_t mark;

	put_byte(aml, OP_PACKAGE);
	mark = aml->length;
	put_byte(aml, elements);
	return mark;
}

void aml_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		put_byte(aml, value ? OP_ONE : OP_ZERO);
	} else if (value <= UINT8_MAX) {
		put_byte(aml, OP_BYTE);
		put_int(aml, value, 1);
	} else if (value <= UINT16_MAX) {
		put_byte(aml, OP_WORD);
		put_int(aml, value, 2);
	} else if (value <= UINT32_MAX) {
		put_byte(aml, OP_DWORD);
		put_int(aml, value, 4);
	} else {
		put_byte(aml, OP_QWORD);
		put_int(aml, value, 8);
	}
}

void aml_name(struct aml *aml, const char *name)
{
	put_byte(aml, OP_NAME);
	put_path(aml, name);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *value)
{
	aml_name(aml, name);
	put_byte(aml, OP_STRING);
	put(aml, value, strlen(value) + 1);
}

static unsigned int hex_digit(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* EISAID (19.3.4): three letters of 5 bits and four hexadecimal digits, big-endian. */
void aml_name_eisaid(struct aml *aml, const char *name, const char *id)
{
	uint32_t value = (id[0] - '@') << 26 | (id[1] - '@') << 21 | (id[2] - '@') << 16;

	for (int i = 0; i < 4; i++)
		value |= hex_digit(id[3 + i]) << (12 - 4 * i);
	aml_name(aml, name);
	put_byte(aml, OP_DWORD);
	put_int(aml, __builtin_bswap32(value), 4);
}

/* ------------------------------------------------------------------ resources */

size_t aml_resources(struct aml *aml)
{
	aml_name(aml, "_CRS");
	put_byte(aml, OP_BUFFER);
	return aml->length;
}

/* The buffer's size comes between its PkgLength and its bytes. */
void aml_resources_close(struct aml *aml, size_t mark)
{
	static const uint8_t end_tag[] = { 0x79, 0 };	/* a checksum of 0 is not looked at */
	uint8_t size[3] = { OP_WORD };
	size_t length;

	put(aml, end_tag, sizeof(end_tag));
	length = aml->length - mark;
	size[1] = length;
	size[2] = length >> 8;
	insert(aml, mark, size, sizeof(size));
	aml_close(aml, mark);
}

/* I/O port descriptor (6.4.2.5), decoding 16 bits. */
void aml_io(struct aml *aml, uint16_t port, uint8_t length)
{
	put_byte(aml, 0x47);
	put_byte(aml, 0x01);
	put_int(aml, port, 2);
	put_int(aml, port, 2);
	put_byte(aml, 1);
	put_byte(aml, length);
}

/* IRQ descriptor (6.4.2.1) in its short form: edge, high, not shared. */
void aml_irq(struct aml *aml, unsigned int irq)
{
	put_byte(aml, 0x22);
	put_int(aml, 1U << irq, 2);
}

/* 32-bit fixed memory range descriptor (6.4.3.4), writable. */
void aml_memory32_fixed(struct aml *aml, uint32_t base, uint32_t length)
{
	put_byte(aml, 0x86);
	put_int(aml, 9, 2);
	put_byte(aml, 1);
	put_int(aml, base, 4);
	put_int(aml, length, 4);
}

/* Address space descriptors (6.4.3.5): a range with both ends fixed, that the bridge produces. */
static void window(struct aml *aml, uint8_t tag, unsigned int width, uint8_t type,
		   uint8_t type_flags, uint64_t first, uint64_t last)
{
	put_byte(aml, tag);
	put_int(aml, 3 + 5 * width, 2);
	put_byte(aml, type);
	put_byte(aml, 0x0c);		/* both ends are fixed; positive decoding */
	put_byte(aml, type_flags);
	put_int(aml, 0, width);		/* granularity */
	put_int(aml, first, width);
	put_int(aml, last, width);
	put_int(aml, 0, width);		/* translation */
	put_int(aml, last - first + 1, width);
}

void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last)
{
	window(aml, 0x88, 2, 2, 0, first, last);
}

void aml_io_window(struct aml *aml, uint16_t first, uint16_t last)
{
	window(aml, 0x88, 2, 1, 3, first, last);	/* all of the ports, ISA's aliases too */
}

void aml_memory32_window(struct aml *aml, uint32_t first, uint32_t last)
{
	window(aml, 0x87, 4, 0, 1, first, last);	/* writable, not cacheable */
}

void aml_memory64_window(struct aml *aml, uint64_t first, uint64_t last)
{
	window(aml, 0x8a, 8, 0, 1, first, last);
}
