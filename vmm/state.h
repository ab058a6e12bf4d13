/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State tables: what of an object has to survive a snapshot or a migration, said once.
 *
 * A device lists its fields in one table; the table drives saving, loading, the JSON dump and a
 * generated round-trip test. A field is known by its number, never by its place, so structs may
 * be rearranged freely. A field added later carries the table's version that brought it: older
 * state, which lacks it, leaves it as reset left it.
 *
 * The saved form is little-endian. An object is
 *
 *	u32 length of what follows    u16 version    u16 number of fields    fields…
 *
 * and a field is
 *
 *	u16 id    u8 type    u8 zero    u32 element count    elements…
 *
 * where an element is the integer itself, or for STATE_STRUCT an object again. State is hostile
 * input: decoding checks the whole of it before it stores the first byte.
 */
#ifndef VMM_STATE_H
#define VMM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Part of the saved form: numbers are never given out again. */
enum state_type {
	STATE_BOOL = 1,
	STATE_U8 = 2,
	STATE_U16 = 3,
	STATE_U32 = 4,
	STATE_U64 = 5,
	STATE_S32 = 6,
	STATE_S64 = 7,
	STATE_STRUCT = 8,
};

#define STATE_NO_COUNT UINT32_MAX
/* Tables may nest this deep; the round-trip test holds every table to it. */
#define STATE_MAX_DEPTH 6

struct state_field {
	uint16_t id;		/* never 0, unique in its table, never reused */
	uint16_t since;		/* the table version that brought the field; 1 for the first */
	uint8_t type;		/* enum state_type */
	bool pointer;		/* the member points to the elements instead of holding them */
	uint32_t offset;	/* of the member, from the object */
	uint32_t size;		/* of one element in memory */
	uint32_t count;		/* elements there are; with used_offset, at most */
	uint32_t used_offset;	/* of a uint32_t member: elements in use; or STATE_NO_COUNT */
	const struct state_table *nested;
	const char *name;
};

struct state_table {
	const char *name;	/* part of the saved form */
	uint16_t version;	/* the highest "since" */
	uint16_t field_count;
	uint32_t size;		/* of the object */
	const struct state_field *fields;
	/* Brings the fields up to date before they are saved. May be NULL. */
	void (*pre_save)(void *object);
	/*
	 * Checks what was loaded against what the object can bear (the values are an attacker's)
	 * and derives from it what is not saved. version is the one that was saved. Returns 0 or
	 * -EINVAL; the caller then resets the object. May be NULL where every value of every field
	 * is harmless. Called for nested objects too, inner ones first.
	 */
	int (*post_load)(void *object, unsigned int version);
};

#define STATE_TYPE_OF(member)								\
	_Generic((member),								\
		bool: STATE_BOOL, uint8_t: STATE_U8, uint16_t: STATE_U16,		\
		uint32_t: STATE_U32, uint64_t: STATE_U64, unsigned long long: STATE_U64,\
		int32_t: STATE_S32, int64_t: STATE_S64, long long: STATE_S64)

#define STATE_MEMBER(struct_, member_) (((struct_ *)0)->member_)

/* One bool or integer. */
#define STATE_INT(id_, since_, struct_, member_)					\
	{ .id = (id_), .since = (since_),						\
	  .type = STATE_TYPE_OF(STATE_MEMBER(struct_, member_)),			\
	  .offset = offsetof(struct_, member_),						\
	  .size = sizeof(STATE_MEMBER(struct_, member_)), .count = 1,			\
	  .used_offset = STATE_NO_COUNT, .name = #member_ }

/* A fixed array of bools or integers, all of it. */
#define STATE_ARRAY(id_, since_, struct_, member_)					\
	{ .id = (id_), .since = (since_),						\
	  .type = STATE_TYPE_OF(STATE_MEMBER(struct_, member_)[0]),			\
	  .offset = offsetof(struct_, member_),						\
	  .size = sizeof(STATE_MEMBER(struct_, member_)[0]),				\
	  .count = sizeof(STATE_MEMBER(struct_, member_)) /				\
		   sizeof(STATE_MEMBER(struct_, member_)[0]),				\
	  .used_offset = STATE_NO_COUNT, .name = #member_ }

/* A fixed array of bools or integers of which the first used_ (a uint32_t member) are in use.
 * The number in use is part of the field: it does not get a field of its own. */
#define STATE_ARRAY_USED(id_, since_, struct_, member_, used_)				\
	{ .id = (id_), .since = (since_),						\
	  .type = STATE_TYPE_OF(STATE_MEMBER(struct_, member_)[0]),			\
	  .offset = offsetof(struct_, member_),						\
	  .size = sizeof(STATE_MEMBER(struct_, member_)[0]),				\
	  .count = sizeof(STATE_MEMBER(struct_, member_)) /				\
		   sizeof(STATE_MEMBER(struct_, member_)[0]),				\
	  .used_offset = offsetof(struct_, used_), .name = #member_ }

/* A struct within the object. */
#define STATE_NESTED(id_, since_, struct_, member_, table_)				\
	{ .id = (id_), .since = (since_), .type = STATE_STRUCT,				\
	  .offset = offsetof(struct_, member_),						\
	  .size = sizeof(STATE_MEMBER(struct_, member_)), .count = 1,			\
	  .used_offset = STATE_NO_COUNT, .nested = (table_), .name = #member_ }

/* A fixed array of structs within the object. */
#define STATE_NESTED_ARRAY(id_, since_, struct_, member_, table_)			\
	{ .id = (id_), .since = (since_), .type = STATE_STRUCT,				\
	  .offset = offsetof(struct_, member_),						\
	  .size = sizeof(STATE_MEMBER(struct_, member_)[0]),				\
	  .count = sizeof(STATE_MEMBER(struct_, member_)) /				\
		   sizeof(STATE_MEMBER(struct_, member_)[0]),				\
	  .used_offset = STATE_NO_COUNT, .nested = (table_), .name = #member_ }

/*
 * A pointer to used_ (a uint32_t member) structs, which the object's constructor allocated. The
 * number is configuration, not state: loading state with another number of elements fails.
 */
#define STATE_NESTED_PTR(id_, since_, struct_, member_, used_, max_, table_)		\
	{ .id = (id_), .since = (since_), .type = STATE_STRUCT, .pointer = true,	\
	  .offset = offsetof(struct_, member_),						\
	  .size = sizeof(STATE_MEMBER(struct_, member_)[0]), .count = (max_),		\
	  .used_offset = offsetof(struct_, used_), .nested = (table_), .name = #member_ }

/*
 * Defines a table and enters it in the list that the round-trip test goes through:
 *
 *	static const struct state_field rtc_fields[] = { … };
 *	STATE_TABLE(rtc_state, "rtc", 1, struct rtc, rtc_fields, .post_load = rtc_post_load);
 *
 * For a table that another file uses, declare it extern const first; STATE_TABLE_STATIC is for
 * the others.
 */
#define STATE_TABLE(var_, name_, version_, struct_, fields_, ...)			\
	const struct state_table var_ = {						\
		.name = (name_), .version = (version_),					\
		.field_count = sizeof(fields_) / sizeof((fields_)[0]),			\
		.size = sizeof(struct_), .fields = (fields_), __VA_ARGS__ };		\
	static const struct state_table *const var_##_entry				\
		__attribute__((section("state_tables"), used)) = &var_

#define STATE_TABLE_STATIC(...) static STATE_TABLE(__VA_ARGS__)

/* The list of all tables linked into the program. */
extern const struct state_table *const __start_state_tables[] __attribute__((weak));
extern const struct state_table *const __stop_state_tables[] __attribute__((weak));

/* A growing buffer of saved state. Zero-initialise it; free(data) when done. */
struct state_buf {
	uint8_t *data;
	size_t length, capacity;
};

/* Appends the object's state: pre_save hooks, then the fields. Returns 0, -ENOMEM, or -EOVERFLOW
 * where a used count is above its array's size. */
int state_save(const struct state_table *table, void *object, struct state_buf *buf);

/*
 * Loads one object from data and runs the post_load hooks. *consumed, if not NULL, gets the
 * number of bytes the object took. Returns 0 or
 *   -EINVAL	the state is damaged, or a hook refused its values
 *   -ENOTSUP	it was saved by a newer version of the table
 * After -EINVAL from a hook the object is loaded but must be reset; otherwise it is untouched.
 */
int state_load(const struct state_table *table, void *object, const void *data, size_t length,
	       size_t *consumed);

/* The two above without the hooks: what the round-trip test exercises. */
int state_encode(const struct state_table *table, const void *object, struct state_buf *buf);
int state_decode(const struct state_table *table, void *object, const void *data, size_t length,
		 size_t *consumed);

/* Appends raw bytes to a buffer. Returns 0 or -ENOMEM. */
int state_buf_append(struct state_buf *buf, const void *data, size_t length);

/* Writes the object's state as JSON, for people and for tests. indent is in levels. */
void state_dump_json(const struct state_table *table, const void *object, FILE *out, int indent);

#endif
