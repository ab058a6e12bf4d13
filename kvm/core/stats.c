/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Statistics: KVM_GET_STATS_FD gives a file with a header, a name, descriptors and the figures themselves, which
 * describes itself (api.rst 4.133).
 *
 * The file is memory that the counters live in, so that whoever reads it sees them as they are and nobody is asked.
 * Few VMMs do: until the first one, a VM or vCPU counts in memory of its own and has no file.
 */
#include "kvm/core/kvm.h"

#define NAME_SIZE	48

struct desc {
	struct kvm_stats_desc d;
	char name[NAME_SIZE];
};

struct layout {
	struct kvm_stats_header header;
	char id[NAME_SIZE];
	/* descriptors, then a u64 each */
};

static const char *const vm_names[KVM_NR_VM_STATS] = {
	[KVM_STAT_VM_REMOTE_TLB_FLUSH] = "remote_tlb_flush",
};

static const char *const vcpu_names[KVM_NR_VCPU_STATS] = {
	[KVM_STAT_EXITS] = "exits",
	[KVM_STAT_IO_EXITS] = "io_exits",
	[KVM_STAT_MMIO_EXITS] = "mmio_exits",
	[KVM_STAT_SIGNAL_EXITS] = "signal_exits",
	[KVM_STAT_HALT_EXITS] = "halt_exits",
	[KVM_STAT_HALT_WAKEUP] = "halt_wakeup",
	[KVM_STAT_HALT_POLL_SUCCESS] = "halt_successful_poll",
	[KVM_STAT_HALT_POLL_ATTEMPTED] = "halt_attempted_poll",
	[KVM_STAT_IRQ_INJECTIONS] = "irq_injections",
	[KVM_STAT_NMI_INJECTIONS] = "nmi_injections",
	[KVM_STAT_HYPERCALLS] = "hypercalls",
};

static char *add_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	return at;
}

static char *add_number(char *at, u32 n)
{
	char digits[10];
	u32 k = 0;

	do
		digits[k++] = '0' + n % 10;
	while (n /= 10);
	while (k)
		*at++ = digits[--k];
	return at;
}

/* Builds the file around the counters as they are now. From here on they are counted in it. */
static long publish(struct kvm_stats *s, const char *const *names, u32 n, s64 vcpu)
{
	struct layout *l;
	struct desc *desc;
	u64 *data;
	void *mem;
	char *at;
	int r;

	r = os_shared_create("anykvm-stats", sizeof(*l) + n * (sizeof(*desc) + sizeof(u64)), &s->shared, &mem);
	if (r)
		return r;
	l = mem;
	desc = (struct desc *)(l + 1);
	data = (u64 *)(desc + n);
	l->header = (struct kvm_stats_header){
		.name_size = NAME_SIZE, .num_desc = n,
		.id_offset = offsetof(struct layout, id),
		.desc_offset = sizeof(*l),
		.data_offset = (u8 *)data - (u8 *)l,
	};
	at = add_number(add_text(l->id, "kvm-"), os_process_id());
	if (vcpu >= 0)
		add_number(add_text(at, "/vcpu-"), vcpu);
	for (u32 k = 0; k < n; k++) {
		desc[k].d = (struct kvm_stats_desc){
			.flags = KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10,
			.size = 1, .offset = k * sizeof(u64),
		};
		add_text(desc[k].name, names[k]);
		data[k] = READ_ONCE(s->data[k]);
	}
	store_release(&s->data, data);
	return 0;
}

long kvm_vm_stats_fd(struct kvm *kvm)
{
	struct kvm_stats *s = &kvm->stats;
	long r = 0;

	os_mutex_lock(&kvm->lock);
	if (!s->shared)
		r = publish(s, vm_names, ARRAY_SIZE(vm_names), -1);
	if (!r)
		r = os_shared_open(s->shared);
	os_mutex_unlock(&kvm->lock);
	return r;
}

long kvm_vcpu_stats_fd(struct kvm_vcpu *v)
{
	struct kvm_stats *s = &v->stats;
	long r = 0;

	if (!s->shared)
		r = publish(s, vcpu_names, ARRAY_SIZE(vcpu_names), v->id);
	return r ? r : os_shared_open(s->shared);
}

void kvm_stats_init(struct kvm_stats *s)
{
	s->data = s->own;
}

void kvm_stats_destroy(struct kvm_stats *s)
{
	s->data = s->own;
	os_shared_destroy(s->shared);
	s->shared = NULL;
}
