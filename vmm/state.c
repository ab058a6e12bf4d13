/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Saving, loading and dumping objects by their state tables; the format is described in state.h.
 *
 * Loading goes through the same code twice, first checking, then storing, so that damaged state
 * leaves the object as it was. Fields appear in a table, and so in the saved form, in the order of
 * their numbers: one pass over both matches them, and nothing can come twice.
 */
#include "vmm/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int state_buf_append(struct state_buf *buf, const void *data, size_t length)
{
	size_t capacity = buf->capacity ? buf->capacity : 256;
	uint8_t *bigger;

	if (length > SIZE_MAX / 2 - buf->length)
		return -ENOMEM;
	while (capacity < buf->length + length)
		capacity *= 2;
	if (capacity != buf->capacity) {
		bigger = realloc(buf->data, capacity);
		if (!bigger)
			return -ENOMEM;
		buf->data = bigger;
		buf->capacity = capacity;
	}
	if (length)
		memcpy(buf->data + buf->length, data, length);
	buf->length += length;
	return 0;
}

static size_t element_bytes(const struct state_field *field)
{
	switch (field->type) {
	case STATE_BOOL:
	case STATE_U8:
		return 1;
	case STATE_U16:
		return 2;
	case STATE_U32:
	case STATE_S32:
		return 4;
	case STATE_U64:
	case STATE_S64:
		return 8;
	default:
		return 0;
	}
}

/* The first element of the field in object. */
static void *field_elements(const struct state_field *field, const void *object)
{
	char *member = (char *)object + field->offset;

	return field->pointer ? *(void **)member : member;
}

static uint32_t field_used(const struct state_field *field, const void *object)
{
	uint32_t used;

	if (field->used_offset == STATE_NO_COUNT)
		return field->count;
	memcpy(&used, (const char *)object + field->used_offset, sizeof(used));
	return used;
}

/* ------------------------------------------------------------------ saving */

static int encode_object(const struct state_table *table, const void *object,
			 struct state_buf *buf, bool hooks);

static int encode_field(const struct state_field *field, const void *object,
			struct state_buf *buf, bool hooks)
{
	uint32_t used = field_used(field, object);
	const char *elements = field_elements(field, object);
	struct {
		uint16_t id;
		uint8_t type, zero;
		uint32_t count;
	} head = { field->id, field->type, 0, used };
	int err;

	if (used > field->count)
		return -EOVERFLOW;
	err = state_buf_append(buf, &head, sizeof(head));
	if (err || field->type != STATE_STRUCT)
		return err ? err : state_buf_append(buf, elements, used * element_bytes(field));
	for (uint32_t i = 0; i < used && !err; i++)
		err = encode_object(field->nested, elements + (size_t)i * field->size, buf, hooks);
	return err;
}

static int encode_object(const struct state_table *table, const void *object,
			 struct state_buf *buf, bool hooks)
{
	struct {
		uint32_t length;
		uint16_t version, field_count;
	} head = { 0, table->version, table->field_count };
	size_t start = buf->length;
	uint32_t length;
	int err;

	if (hooks && table->pre_save)
		table->pre_save((void *)object);
	err = state_buf_append(buf, &head, sizeof(head));
	for (unsigned int i = 0; i < table->field_count && !err; i++)
		err = encode_field(&table->fields[i], object, buf, hooks);
	if (err)
		return err;
	length = buf->length - start - sizeof(length);
	memcpy(buf->data + start, &length, sizeof(length));
	return 0;
}

int state_encode(const struct state_table *table, const void *object, struct state_buf *buf)
{
	return encode_object(table, object, buf, false);
}

int state_save(const struct state_table *table, void *object, struct state_buf *buf)
{
	return encode_object(table, object, buf, true);
}

/* ------------------------------------------------------------------ loading */

struct reader {
	const uint8_t *data;
	size_t left;
};

enum decode_mode {
	DECODE_CHECK,		/* look, store nothing */
	DECODE_STORE,
	DECODE_STORE_HOOKS,	/* and call post_load */
};

static int take(struct reader *in, void *to, size_t length)
{
	if (length > in->left)
		return -EINVAL;
	memcpy(to, in->data, length);
	in->data += length;
	in->left -= length;
	return 0;
}

static int decode_object(const struct state_table *table, void *object, struct reader *in,
			 enum decode_mode mode);

static int decode_integers(const struct state_field *field, void *elements, uint32_t count,
			   struct reader *in, enum decode_mode mode)
{
	size_t length = (size_t)count * element_bytes(field);

	if (length > in->left)
		return -EINVAL;
	if (mode != DECODE_CHECK) {
		memcpy(elements, in->data, length);
	} else if (field->type == STATE_BOOL) {
		for (uint32_t i = 0; i < count; i++)
			if (in->data[i] > 1)
				return -EINVAL;
	}
	in->data += length;
	in->left -= length;
	return 0;
}

static int decode_field(const struct state_field *field, void *object, struct reader *in,
			enum decode_mode mode)
{
	char *elements = field_elements(field, object);
	uint16_t id;
	uint8_t type, zero;
	uint32_t count;
	int err = 0;

	if (take(in, &id, sizeof(id)) || take(in, &type, 1) || take(in, &zero, 1) ||
	    take(in, &count, sizeof(count)))
		return -EINVAL;
	if (id != field->id || type != field->type || zero || count > field->count)
		return -EINVAL;
	if (field->used_offset == STATE_NO_COUNT || field->pointer) {
		if (count != field_used(field, object))
			return -EINVAL;
	} else if (mode != DECODE_CHECK) {
		memcpy((char *)object + field->used_offset, &count, sizeof(count));
	}
	if (field->type != STATE_STRUCT)
		return decode_integers(field, elements, count, in, mode);
	for (uint32_t i = 0; i < count && !err; i++)
		err = decode_object(field->nested, elements + (size_t)i * field->size, in, mode);
	return err;
}

static int decode_object(const struct state_table *table, void *object, struct reader *in,
			 enum decode_mode mode)
{
	uint16_t version, field_count;
	struct reader inner;
	uint32_t length;
	int err;

	if (take(in, &length, sizeof(length)) || length > in->left)
		return -EINVAL;
	inner = (struct reader){ in->data, length };
	in->data += length;
	in->left -= length;
	if (take(&inner, &version, sizeof(version)) ||
	    take(&inner, &field_count, sizeof(field_count)) || !version)
		return -EINVAL;
	if (version > table->version)
		return -ENOTSUP;
	for (unsigned int i = 0; i < table->field_count; i++) {
		if (table->fields[i].since > version)
			continue;
		if (!field_count--)
			return -EINVAL;
		err = decode_field(&table->fields[i], object, &inner, mode);
		if (err)
			return err;
	}
	if (field_count || inner.left)
		return -EINVAL;
	if (mode == DECODE_STORE_HOOKS && table->post_load)
		return table->post_load(object, version);
	return 0;
}

static int load(const struct state_table *table, void *object, const void *data, size_t length,
		size_t *consumed, enum decode_mode mode)
{
	struct reader in = { data, length };
	int err = decode_object(table, object, &in, DECODE_CHECK);

	if (err)
		return err;
	if (consumed)
		*consumed = length - in.left;
	in = (struct reader){ data, length };
	return decode_object(table, object, &in, mode);
}

int state_decode(const struct state_table *table, void *object, const void *data, size_t length,
		 size_t *consumed)
{
	return load(table, object, data, length, consumed, DECODE_STORE);
}

int state_load(const struct state_table *table, void *object, const void *data, size_t length,
	       size_t *consumed)
{
	return load(table, object, data, length, consumed, DECODE_STORE_HOOKS);
}

/* ------------------------------------------------------------------ JSON */

static void indentation(FILE *out, int level)
{
	fprintf(out, "%*s", 2 * level, "");
}

static void dump_integer(const struct state_field *field, const char *element, FILE *out)
{
	uint64_t u = 0;
	int32_t s32;
	int64_t s64;

	switch (field->type) {
	case STATE_BOOL:
		fputs(*element ? "true" : "false", out);
		break;
	case STATE_S32:
		memcpy(&s32, element, sizeof(s32));
		fprintf(out, "%" PRId32, s32);
		break;
	case STATE_S64:
		memcpy(&s64, element, sizeof(s64));
		fprintf(out, "%" PRId64, s64);
		break;
	default:
		memcpy(&u, element, field->size);
		fprintf(out, "%" PRIu64, u);
	}
}

static void dump_field(const struct state_field *field, const void *object, FILE *out, int indent)
{
	const char *elements = field_elements(field, object);
	uint32_t used = field_used(field, object);
	bool array = field->count != 1 || field->used_offset != STATE_NO_COUNT;

	if (array && field->type == STATE_U8) {		/* bytes: a string of hexadecimal digits */
		fputc('"', out);
		for (uint32_t i = 0; i < used; i++)
			fprintf(out, "%02x", (uint8_t)elements[i]);
		fputc('"', out);
		return;
	}
	if (array)
		fputc('[', out);
	for (uint32_t i = 0; i < used; i++) {
		const char *element = elements + (size_t)i * field->size;

		if (i)
			fputs(", ", out);
		if (field->type == STATE_STRUCT)
			state_dump_json(field->nested, element, out, indent);
		else
			dump_integer(field, element, out);
	}
	if (array)
		fputc(']', out);
}

void state_dump_json(const struct state_table *table, const void *object, FILE *out, int indent)
{
	fputs("{\n", out);
	for (unsigned int i = 0; i < table->field_count; i++) {
		indentation(out, indent + 1);
		fprintf(out, "\"%s\": ", table->fields[i].name);
		dump_field(&table->fields[i], object, out, indent + 1);
		fputs(i + 1 < table->field_count ? ",\n" : "\n", out);
	}
	indentation(out, indent);
	fputc('}', out);
}
