/* SPDX-License-Identifier: GPL-2.0-only */
/* Model-specific registers: lists of their numbers, and lists of their values. */
#include "kvm/api/api.h"
#include "kvm/x86/state.h"

#define MAX_MSRS	256	/* in one call */
#define MAX_INDICES	1024	/* more than there are */

static long get_list(struct api_call *c, bool features)
{
	const size_t head_size = offsetof(struct kvm_msr_list, indices);
	struct kvm_msr_list head;
	u32 *indices, room, n;
	long r;

	if (os_copy_from_user(&head, c->arg, head_size))
		return -EFAULT;
	indices = os_alloc(MAX_INDICES * sizeof(*indices));
	if (!indices)
		return -ENOMEM;
	room = head.nmsrs;
	n = x86_msr_list(indices, MAX_INDICES, features);
	/* How many there are is told in every case. */
	head.nmsrs = n;
	r = os_copy_to_user(c->arg, &head, head_size);
	if (!r && room < n)
		r = -E2BIG;
	if (!r)
		r = os_copy_to_user(c->arg + head_size, indices, n * sizeof(*indices));
	os_free(indices);
	return r;
}

long api_get_msr_index_list(struct api_call *c)
{
	return get_list(c, false);
}

long api_get_msr_feature_index_list(struct api_call *c)
{
	return get_list(c, true);
}

/* Serves entries in their order until one fails; the number served. */
static long each_msr(struct api_call *c, bool (*one)(struct api_call *c, struct kvm_msr_entry *e),
		     bool copy_back)
{
	const size_t head_size = offsetof(struct kvm_msrs, entries);
	struct kvm_msr_entry *entries;
	struct kvm_msrs head;
	size_t size;
	long r;
	u32 n;

	if (os_copy_from_user(&head, c->arg, head_size))
		return -EFAULT;
	if (head.nmsrs >= MAX_MSRS)
		return -E2BIG;
	size = head.nmsrs * sizeof(*entries);
	entries = os_alloc(size);
	if (!entries)
		return -ENOMEM;
	r = os_copy_from_user(entries, c->arg + head_size, size);
	if (r)
		goto out;
	for (n = 0; n < head.nmsrs && one(c, &entries[n]); n++)
		;
	if (copy_back)
		r = os_copy_to_user(c->arg + head_size, entries, size);
	if (!r)
		r = n;
out:
	os_free(entries);
	return r;
}

static bool get_one(struct api_call *c, struct kvm_msr_entry *e)
{
	u64 val = 0;

	if (x86_get_msr(&c->v->cpu, e->index, &val, true))
		return false;
	e->data = val;
	return true;
}

static bool set_one(struct api_call *c, struct kvm_msr_entry *e)
{
	return !x86_set_msr(&c->v->cpu, e->index, e->data, true);
}

static bool get_feature(struct api_call *c, struct kvm_msr_entry *e)
{
	u64 val = 0;

	if (x86_get_feature_msr(e->index, &val))
		return false;
	e->data = val;
	return true;
}

long api_get_msrs(struct api_call *c)
{
	return each_msr(c, get_one, true);
}

long api_set_msrs(struct api_call *c)
{
	return each_msr(c, set_one, false);
}

long api_get_feature_msrs(struct api_call *c)
{
	return each_msr(c, get_feature, true);
}
