/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State tables: the round trip of every table that is linked into the program, found by the list
 * that STATE_TABLE makes; and the rules of the saved form, on a table of the test's own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/state.h"

/* ------------------------------------------------------------------ a table with everything */

struct inner {
	uint16_t a;
	bool b;
	uint32_t later;
};

struct outer {
	int64_t s64;
	int32_t s32;
	uint8_t bytes[5];
	uint64_t words[3];
	struct inner one, three[3], *many;
	uint32_t many_count;
	uint16_t fifo[4];
	uint32_t fifo_used;
	uint8_t not_saved;
	bool refuse;
};

static const struct state_field inner_fields[] = {
	STATE_INT(1, 1, struct inner, a),
	STATE_INT(2, 1, struct inner, b),
	STATE_INT(7, 3, struct inner, later),
};
STATE_TABLE_STATIC(inner_state, "test-inner", 3, struct inner, inner_fields);

static const struct state_field inner_v1_fields[] = {
	STATE_INT(1, 1, struct inner, a),
	STATE_INT(2, 1, struct inner, b),
};
STATE_TABLE_STATIC(inner_v1_state, "test-inner-v1", 1, struct inner, inner_v1_fields);

static int outer_post_load(void *object, unsigned int version)
{
	struct outer *o = object;

	assert_int_equal(version, 1);
	return o->refuse ? -EINVAL : 0;
}

static void outer_pre_save(void *object)
{
	((struct outer *)object)->s32++;
}

static const struct state_field outer_fields[] = {
	STATE_INT(1, 1, struct outer, s64),
	STATE_INT(2, 1, struct outer, s32),
	STATE_ARRAY(3, 1, struct outer, bytes),
	STATE_ARRAY(4, 1, struct outer, words),
	STATE_NESTED(5, 1, struct outer, one, &inner_state),
	STATE_NESTED_ARRAY(6, 1, struct outer, three, &inner_state),
	STATE_NESTED_PTR(7, 1, struct outer, many, many_count, 16, &inner_state),
	STATE_ARRAY_USED(8, 1, struct outer, fifo, fifo_used),
	STATE_INT(9, 1, struct outer, refuse),
};
STATE_TABLE_STATIC(outer_state, "test-outer", 1, struct outer, outer_fields,
		   .pre_save = outer_pre_save, .post_load = outer_post_load);

/* ------------------------------------------------------------------ any object by its table */

static uint64_t random_state = 88172645463325252ULL;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static char *elements_of(const struct state_field *f, const void *object)
{
	char *member = (char *)object + f->offset;

	return f->pointer ? *(char **)member : member;
}

static uint32_t *used_of(const struct state_field *f, const void *object)
{
	return (uint32_t *)((char *)object + f->used_offset);
}

static uint32_t used(const struct state_field *f, const void *object)
{
	return f->used_offset == STATE_NO_COUNT ? f->count : *used_of(f, object);
}

/* Allocates what pointers are to point to. */
static void build(const struct state_table *table, char *object)
{
	for (unsigned int i = 0; i < table->field_count; i++) {
		const struct state_field *f = &table->fields[i];
		uint32_t count = f->count;
		char *elements;

		if (f->pointer) {
			if (count > 3)
				count = 3;
			if (f->used_offset != STATE_NO_COUNT)
				*used_of(f, object) = count;
			elements = calloc(count, f->size);
			assert_non_null(elements);
			*(char **)(object + f->offset) = elements;
		}
		for (uint32_t e = 0; f->type == STATE_STRUCT && e < count; e++)
			build(f->nested, elements_of(f, object) + (size_t)e * f->size);
	}
}

static char *create(const struct state_table *table)
{
	char *object = calloc(1, table->size);

	assert_non_null(object);
	build(table, object);
	return object;
}

static void unbuild(const struct state_table *table, char *object)
{
	for (unsigned int i = 0; i < table->field_count; i++) {
		const struct state_field *f = &table->fields[i];
		uint32_t count = f->pointer ? used(f, object) : f->count;

		for (uint32_t e = 0; f->type == STATE_STRUCT && e < count; e++)
			unbuild(f->nested, elements_of(f, object) + (size_t)e * f->size);
		if (f->pointer)
			free(elements_of(f, object));
	}
}

static void destroy(const struct state_table *table, char *object)
{
	unbuild(table, object);
	free(object);
}

static void randomize(const struct state_table *table, char *object)
{
	for (unsigned int i = 0; i < table->field_count; i++) {
		const struct state_field *f = &table->fields[i];

		if (f->used_offset != STATE_NO_COUNT && !f->pointer)
			*used_of(f, object) = random64() % (f->count + 1);
		for (uint32_t e = 0; e < used(f, object); e++) {
			char *element = elements_of(f, object) + (size_t)e * f->size;
			uint64_t value = random64();

			if (f->type == STATE_STRUCT)
				randomize(f->nested, element);
			else if (f->type == STATE_BOOL)
				*element = value & 1;
			else
				memcpy(element, &value, f->size);
		}
	}
}

static bool same(const struct state_table *table, const char *a, const char *b)
{
	for (unsigned int i = 0; i < table->field_count; i++) {
		const struct state_field *f = &table->fields[i];

		if (used(f, a) != used(f, b))
			return false;
		for (uint32_t e = 0; e < used(f, a); e++) {
			const char *x = elements_of(f, a) + (size_t)e * f->size;
			const char *y = elements_of(f, b) + (size_t)e * f->size;

			if (f->type == STATE_STRUCT ? !same(f->nested, x, y) :
						      memcmp(x, y, f->size) != 0)
				return false;
		}
	}
	return true;
}

static void check_table(const struct state_table *table, unsigned int depth)
{
	unsigned int id = 0, newest = 1;

	assert_true(depth <= STATE_MAX_DEPTH);
	assert_true(table->field_count > 0);
	for (unsigned int i = 0; i < table->field_count; i++) {
		const struct state_field *f = &table->fields[i];

		assert_true(f->id > id);
		id = f->id;
		assert_in_range(f->since, 1, table->version);
		if (f->since > newest)
			newest = f->since;
		assert_true(f->count > 0);
		assert_true(f->offset + (f->pointer ? sizeof(void *) :
					 (uint64_t)f->size * f->count) <= table->size);
		assert_int_equal(f->type == STATE_STRUCT, f->nested != NULL);
		if (f->nested) {
			assert_int_equal(f->nested->size, f->size);
			check_table(f->nested, depth + 1);
		}
	}
	assert_int_equal(newest, table->version);
}

#define FOR_ALL_TABLES(table)								\
	for (const struct state_table *const *p_ = __start_state_tables, *table;		\
	     p_ < __stop_state_tables && (table = *p_); p_++)

/* ------------------------------------------------------------------ the generated tests */

static void tables_are_sound(void **state)
{
	unsigned int count = 0;

	FOR_ALL_TABLES(table) {
		check_table(table, 1);
		FOR_ALL_TABLES(other)
			assert_true(table == other || strcmp(table->name, other->name));
		count++;
	}
	/* The test's own, and at least the PC's and the PCI devices'. */
	print_message("%u tables\n", count);
	assert_true(count > 8);
}

static void round_trips(void **state)
{
	FOR_ALL_TABLES(table) {
		for (int round = 0; round < 20; round++) {
			char *a = create(table), *b = create(table);
			struct state_buf first = { 0 }, second = { 0 };
			size_t consumed = 0;

			randomize(table, a);
			assert_int_equal(state_encode(table, a, &first), 0);
			assert_int_equal(state_decode(table, b, first.data, first.length,
						      &consumed), 0);
			assert_int_equal(consumed, first.length);
			assert_true(same(table, a, b));
			assert_int_equal(state_encode(table, b, &second), 0);
			assert_int_equal(first.length, second.length);
			assert_memory_equal(first.data, second.data, first.length);
			free(first.data);
			free(second.data);
			destroy(table, a);
			destroy(table, b);
		}
	}
}

static void truncated_state_is_refused(void **state)
{
	FOR_ALL_TABLES(table) {
		char *a = create(table), *b = create(table), *before = create(table);
		struct state_buf buf = { 0 };
		size_t step;

		randomize(table, a);
		assert_int_equal(state_encode(table, a, &buf), 0);
		step = buf.length / 500 + 1;
		for (size_t length = 0; length < buf.length; length += step) {
			/* Exactly as long, so that a checker sees what is read beyond. */
			uint8_t *copy = malloc(length + !length);

			memcpy(copy, buf.data, length);
			assert_int_equal(state_decode(table, b, copy, length, NULL), -EINVAL);
			assert_true(same(table, b, before));
			free(copy);
		}
		free(buf.data);
		destroy(table, a);
		destroy(table, b);
		destroy(table, before);
	}
}

static void damaged_state_does_no_harm(void **state)
{
	FOR_ALL_TABLES(table) {
		char *a = create(table), *b = create(table), *before = create(table);
		struct state_buf buf = { 0 };

		randomize(table, a);
		assert_int_equal(state_encode(table, a, &buf), 0);
		for (int round = 0; round < 300; round++) {
			size_t at = random64() % buf.length;
			uint8_t saved = buf.data[at];
			int err;

			buf.data[at] = random64();
			err = state_decode(table, b, buf.data, buf.length, NULL);
			if (err) {
				assert_true(err == -EINVAL || err == -ENOTSUP);
				assert_true(same(table, b, before));
			} else {
				destroy(table, b);
				b = create(table);
			}
			buf.data[at] = saved;
		}
		free(buf.data);
		destroy(table, a);
		destroy(table, b);
		destroy(table, before);
	}
}

/* ------------------------------------------------------------------ rules */

static void older_state_leaves_newer_fields(void **state)
{
	struct inner old = { .a = 7, .b = true }, loaded = { .later = 99 };
	struct state_buf buf = { 0 };

	assert_int_equal(state_encode(&inner_v1_state, &old, &buf), 0);
	assert_int_equal(state_load(&inner_state, &loaded, buf.data, buf.length, NULL), 0);
	assert_int_equal(loaded.a, 7);
	assert_true(loaded.b);
	assert_int_equal(loaded.later, 99);
	free(buf.data);
}

static void newer_state_is_refused(void **state)
{
	struct inner new = { .a = 7 }, loaded = { .a = 1 };
	struct state_buf buf = { 0 };

	assert_int_equal(state_encode(&inner_state, &new, &buf), 0);
	assert_int_equal(state_load(&inner_v1_state, &loaded, buf.data, buf.length, NULL),
			 -ENOTSUP);
	assert_int_equal(loaded.a, 1);
	free(buf.data);
}

static void a_bool_is_0_or_1(void **state)
{
	struct inner object = { .b = true }, loaded = { 0 };
	struct state_buf buf = { 0 };

	assert_int_equal(state_encode(&inner_v1_state, &object, &buf), 0);
	assert_int_equal(buf.data[buf.length - 1], 1);
	buf.data[buf.length - 1] = 2;
	assert_int_equal(state_decode(&inner_v1_state, &loaded, buf.data, buf.length, NULL),
			 -EINVAL);
	assert_false(loaded.b);
	free(buf.data);
}

static void array_lengths_are_checked(void **state)
{
	struct outer *a = (struct outer *)create(&outer_state);
	struct outer *b = (struct outer *)create(&outer_state);
	struct state_buf buf = { 0 };
	struct inner *more;

	/* More in use than there are does not get as far as a file. */
	a->fifo_used = 5;
	assert_int_equal(state_encode(&outer_state, a, &buf), -EOVERFLOW);
	a->fifo_used = 3;
	/* Another number of configured parts is another machine. */
	more = realloc(b->many, 4 * sizeof(*more));
	assert_non_null(more);
	b->many = more;
	b->many_count = 4;
	buf.length = 0;
	assert_int_equal(state_encode(&outer_state, a, &buf), 0);
	assert_int_equal(state_decode(&outer_state, b, buf.data, buf.length, NULL), -EINVAL);
	b->many_count = 3;
	assert_int_equal(state_decode(&outer_state, b, buf.data, buf.length, NULL), 0);
	assert_int_equal(b->fifo_used, 3);
	free(buf.data);
	destroy(&outer_state, (char *)a);
	destroy(&outer_state, (char *)b);
}

static void hooks_are_called(void **state)
{
	struct outer *a = (struct outer *)create(&outer_state);
	struct state_buf buf = { 0 };

	a->s32 = 41;
	assert_int_equal(state_save(&outer_state, a, &buf), 0);
	assert_int_equal(a->s32, 42);
	a->s32 = 0;
	assert_int_equal(state_load(&outer_state, a, buf.data, buf.length, NULL), 0);
	assert_int_equal(a->s32, 42);
	a->refuse = true;
	buf.length = 0;
	assert_int_equal(state_save(&outer_state, a, &buf), 0);
	assert_int_equal(state_load(&outer_state, a, buf.data, buf.length, NULL), -EINVAL);
	free(buf.data);
	destroy(&outer_state, (char *)a);
}

static void json_reads_as_expected(void **state)
{
	static const char expected[] =
		"{\n"
		"  \"s64\": -5,\n"
		"  \"s32\": -6,\n"
		"  \"bytes\": \"01020300ff\",\n"
		"  \"words\": [1, 18446744073709551615, 3],\n"
		"  \"one\": {\n"
		"    \"a\": 65535,\n"
		"    \"b\": true,\n"
		"    \"later\": 0\n"
		"  },\n";
	struct outer *a = (struct outer *)create(&outer_state);
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	a->s64 = -5;
	a->s32 = -6;
	memcpy(a->bytes, "\1\2\3\0\377", 5);
	a->words[0] = 1;
	a->words[1] = UINT64_MAX;
	a->words[2] = 3;
	a->one = (struct inner){ .a = 65535, .b = true };
	a->fifo_used = 2;
	a->fifo[1] = 8;
	state_dump_json(&outer_state, a, out, 0);
	fclose(out);
	assert_memory_equal(text, expected, sizeof(expected) - 1);
	assert_non_null(strstr(text, "  \"fifo\": [0, 8],\n  \"refuse\": false\n}"));
	free(text);
	destroy(&outer_state, (char *)a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_sound),
		cmocka_unit_test(round_trips),
		cmocka_unit_test(truncated_state_is_refused),
		cmocka_unit_test(damaged_state_does_no_harm),
		cmocka_unit_test(older_state_leaves_newer_fields),
		cmocka_unit_test(newer_state_is_refused),
		cmocka_unit_test(a_bool_is_0_or_1),
		cmocka_unit_test(array_lengths_are_checked),
		cmocka_unit_test(hooks_are_called),
		cmocka_unit_test(json_reads_as_expected),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
