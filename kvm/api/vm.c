/* SPDX-License-Identifier: GPL-2.0-only */
/* ioctls of a VM. */
#include "kvm/api/api.h"
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/msr.h"

#define MIN_MMU_PAGES	64	/* Linux's KVM_MIN_ALLOC_MMU_PAGES */

/* ---- vCPUs ---- */

static long vcpu_ioctl(void *v, u32 cmd, u64 arg)
{
	return kvm_vcpu_ioctl(v, cmd, arg);
}

static void vcpu_release(void *v)
{
	kvm_put_vcpu(v);
}

static const struct os_fd_ops vcpu_fd_ops = { .ioctl = vcpu_ioctl, .release = vcpu_release };

static long create_vcpu(struct api_call *c)
{
	size_t size = kvm_vcpu_run_size(c->kvm);
	struct kvm_vcpu *v;
	struct os_fd *fd;
	void *run;
	int r;

	if (c->arg != (u32)c->arg)
		return -EINVAL;
	r = os_fd_prepare("kvm-vcpu", size, &fd, &run);
	if (r)
		return r;
	r = kvm_create_vcpu(c->kvm, c->arg, run, size, &v);
	if (r) {
		os_fd_discard(fd);
		return r;
	}
	/* The VM has one ring of coalesced MMIO: the first vCPU's, which all show. */
	if (v->index)
		os_fd_borrow_page(fd, c->kvm->vcpus[0]->run, KVM_COALESCED_MMIO_PAGE_OFFSET);
	return os_fd_publish(fd, &vcpu_fd_ops, v);
}

static long set_boot_cpu_id(struct api_call *c)
{
	long r = -EBUSY;

	os_mutex_lock(&c->kvm->lock);
	if (!c->kvm->nr_vcpus) {
		c->kvm->arch.bsp_vcpu_id = c->arg;
		r = 0;
	}
	os_mutex_unlock(&c->kvm->lock);
	return r;
}

/* ---- memory ---- */

static long set_user_memory_region(struct api_call *c)
{
	return kvm_set_memory_region(c->kvm, c->data);
}

static long get_dirty_log(struct api_call *c)
{
	return kvm_get_dirty_log(c->kvm, c->data);
}

static long clear_dirty_log(struct api_call *c)
{
	return kvm_clear_dirty_log(c->kvm, c->data);
}

static long reset_dirty_rings(struct api_call *c)
{
	return kvm_reset_dirty_rings(c->kvm);
}

static long register_coalesced(struct api_call *c)
{
	return kvm_register_coalesced(c->kvm, c->data);
}

static long unregister_coalesced(struct api_call *c)
{
	return kvm_unregister_coalesced(c->kvm, c->data);
}

/* Where VT-x without unrestricted guests kept its task state: kept, but of no use to us. */
static long set_tss_addr(struct api_call *c)
{
	if (c->arg > (u32)(-3 * PAGE_SIZE))
		return -EINVAL;
	c->kvm->arch.tss_addr = c->arg;
	return 0;
}

static long set_identity_map_addr(struct api_call *c)
{
	long r = -EINVAL;

	os_mutex_lock(&c->kvm->lock);
	if (!c->kvm->nr_vcpus) {
		c->kvm->arch.identity_map_addr = *(u64 *)c->data;
		r = 0;
	}
	os_mutex_unlock(&c->kvm->lock);
	return r;
}

/* Linux's limit on shadow page tables. The software TLBs have a fixed size. */
static long set_nr_mmu_pages(struct api_call *c)
{
	return c->arg < MIN_MMU_PAGES ? -EINVAL : 0;
}

/* ---- interrupts ---- */

static long create_irqchip(struct api_call *c)
{
	struct kvm *kvm = c->kvm;
	long r;

	os_mutex_lock(&kvm->lock);
	r = -EEXIST;
	if (kvm->arch.irqchip_mode != KVM_IRQCHIP_NONE)
		goto out;
	r = -EINVAL;
	if (kvm->nr_vcpus)
		goto out;
	r = kvm_pic_create(kvm);
	if (r)
		goto out;
	r = kvm_ioapic_create(kvm);
	if (r)
		goto out_pic;
	r = kvm_set_default_irq_routing(kvm);
	if (r)
		goto out_ioapic;
	/* Published last: interrupts go to the chips from here on. */
	store_release(&kvm->arch.irqchip_mode, KVM_IRQCHIP_KERNEL);
	goto out;
out_ioapic:
	kvm_ioapic_destroy(kvm);
out_pic:
	kvm_pic_destroy(kvm);
out:
	os_mutex_unlock(&kvm->lock);
	return r;
}

static long irq_line(struct api_call *c)
{
	struct kvm_irq_level *l = c->data;

	if (c->kvm->arch.irqchip_mode == KVM_IRQCHIP_NONE)
		return -ENXIO;
	l->status = kvm_set_irq(c->kvm, KVM_USERSPACE_IRQ_SOURCE_ID, l->irq, l->level);
	return 0;
}

static long set_gsi_routing(struct api_call *c)
{
	const struct kvm_irq_routing *head = c->data;
	struct kvm_irq_routing_entry *entries;
	size_t size;
	long r;

	if (c->kvm->arch.irqchip_mode == KVM_IRQCHIP_NONE)
		return -EINVAL;
	if (head->nr > KVM_MAX_IRQ_ROUTES || head->flags)
		return -EINVAL;
	size = head->nr * sizeof(*entries);
	entries = os_alloc(size);
	if (!entries)
		return -ENOMEM;
	r = os_copy_from_user(entries, c->arg + offsetof(struct kvm_irq_routing, entries), size);
	if (!r)
		r = kvm_set_gsi_routing(c->kvm, entries, head->nr);
	os_free(entries);
	return r;
}

static long signal_msi(struct api_call *c)
{
	return kvm_send_msi(c->kvm, c->data);
}

static long irqfd(struct api_call *c)
{
	return kvm_irqfd(c->kvm, c->data);
}

static long ioeventfd(struct api_call *c)
{
	return kvm_ioeventfd(c->kvm, c->data);
}

static long get_irqchip(struct api_call *c)
{
	struct kvm_irqchip *chip = c->data;

	if (c->kvm->arch.irqchip_mode != KVM_IRQCHIP_KERNEL)
		return -ENXIO;
	switch (chip->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		kvm_pic_get_state(c->kvm, chip->chip_id, &chip->chip.pic);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		kvm_ioapic_get_state(c->kvm, &chip->chip.ioapic);
		return 0;
	default:
		return -EINVAL;
	}
}

static long set_irqchip(struct api_call *c)
{
	const struct kvm_irqchip *chip = c->data;

	if (c->kvm->arch.irqchip_mode != KVM_IRQCHIP_KERNEL)
		return -ENXIO;
	switch (chip->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		kvm_pic_set_state(c->kvm, chip->chip_id, &chip->chip.pic);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		kvm_ioapic_set_state(c->kvm, &chip->chip.ioapic);
		return 0;
	default:
		return -EINVAL;
	}
}

/* ---- the 8254 ---- */

static long new_pit(struct kvm *kvm, u32 flags)
{
	long r;

	os_mutex_lock(&kvm->lock);
	if (kvm->arch.pit)
		r = -EEXIST;
	else if (kvm->arch.irqchip_mode != KVM_IRQCHIP_KERNEL)
		r = -ENOENT;
	else
		r = kvm_pit_create(kvm, flags);
	os_mutex_unlock(&kvm->lock);
	return r;
}

static long create_pit(struct api_call *c)
{
	return new_pit(c->kvm, KVM_PIT_SPEAKER_DUMMY);
}

static long create_pit2(struct api_call *c)
{
	return new_pit(c->kvm, ((struct kvm_pit_config *)c->data)->flags);
}

static long get_pit2(struct api_call *c)
{
	if (!c->kvm->arch.pit)
		return -ENXIO;
	kvm_pit_get_state(c->kvm, c->data);
	return 0;
}

static long set_pit2(struct api_call *c)
{
	if (!c->kvm->arch.pit)
		return -ENXIO;
	kvm_pit_set_state(c->kvm, c->data);
	return 0;
}

/* The older pair knows the channels alone. */
static long get_pit(struct api_call *c)
{
	struct kvm_pit_state2 s;

	if (!c->kvm->arch.pit)
		return -ENXIO;
	kvm_pit_get_state(c->kvm, &s);
	memcpy(c->data, s.channels, sizeof(s.channels));
	return 0;
}

static long set_pit(struct api_call *c)
{
	struct kvm_pit_state2 s = { 0 };

	if (!c->kvm->arch.pit)
		return -ENXIO;
	memcpy(s.channels, c->data, sizeof(s.channels));
	kvm_pit_set_state(c->kvm, &s);
	return 0;
}

static long reinject_control(struct api_call *c)
{
	if (!c->kvm->arch.pit)
		return -ENXIO;
	kvm_pit_set_reinject(c->kvm, ((struct kvm_reinject_control *)c->data)->pit_reinject);
	return 0;
}

/* ---- clocks ---- */

static long get_clock(struct api_call *c)
{
	return kvm_clock_get(c->kvm, c->data);
}

static long set_clock(struct api_call *c)
{
	const struct kvm_clock_data *d = c->data;
	u64 ns = d->clock, now;

	if (d->flags & ~(u32)KVM_CLOCK_REALTIME)
		return -EINVAL;
	/* The clock went on since it was read elsewhere. It never goes back. */
	if (d->flags & KVM_CLOCK_REALTIME) {
		now = os_realtime_ns();
		if (now > d->realtime)
			ns += now - d->realtime;
	}
	kvm_clock_set(c->kvm, ns);
	return 0;
}

static long set_tsc_khz(struct api_call *c)
{
	u32 khz = c->arg ? c->arg : os_tsc_khz();
	long r = -EINVAL;

	os_mutex_lock(&c->kvm->lock);
	if (!c->kvm->nr_vcpus) {
		c->kvm->arch.default_tsc_khz = khz;
		r = 0;
	}
	os_mutex_unlock(&c->kvm->lock);
	return r;
}

static long get_tsc_khz(struct api_call *c)
{
	return c->kvm->arch.default_tsc_khz;
}

/* ---- the rest ---- */

static long get_stats_fd(struct api_call *c)
{
	return kvm_vm_stats_fd(c->kvm);
}

static long set_msr_filter(struct api_call *c)
{
	return kvm_set_msr_filter(c->kvm, c->data);
}

static long hyperv_eventfd(struct api_call *c)
{
	return kvm_hv_eventfd(c->kvm, c->data);
}

static long check_extension(struct api_call *c)
{
	return api_check_extension(c->kvm, c->arg);
}

static long enable_cap(struct api_call *c)
{
	return api_enable_vm_cap(c->kvm, c->data);
}

/* No kind of device: VFIO's needs the kernel. */
static long create_device(struct api_call *c)
{
	return -ENODEV;
}

static long memory_written(struct api_call *c)
{
	const struct anykvm_memory_written *written = c->data;

	if (written->count > ANYKVM_WRITTEN_RANGES || written->pad)
		return -EINVAL;
	for (u32 i = 0; i < written->count; i++)
		if (written->range[i].gpa + written->range[i].length < written->range[i].gpa)
			return -EINVAL;
	kvm_memory_written(c->kvm, written);
	return 0;
}

static const struct api_row rows[] = {
	API_ROW(KVM_CREATE_VCPU, NONE, create_vcpu),
	API_ROW(KVM_SET_BOOT_CPU_ID, NONE, set_boot_cpu_id),
	API_ROW(KVM_SET_USER_MEMORY_REGION, IN(struct kvm_userspace_memory_region),
		set_user_memory_region),
	API_ROW(KVM_GET_DIRTY_LOG, IN(struct kvm_dirty_log), get_dirty_log),
	API_ROW(KVM_CLEAR_DIRTY_LOG, IN(struct kvm_clear_dirty_log), clear_dirty_log),
	API_ROW(KVM_RESET_DIRTY_RINGS, NONE, reset_dirty_rings),
	API_ROW(KVM_REGISTER_COALESCED_MMIO, IN(struct kvm_coalesced_mmio_zone), register_coalesced),
	API_ROW(KVM_UNREGISTER_COALESCED_MMIO, IN(struct kvm_coalesced_mmio_zone),
		unregister_coalesced),
	API_ROW(KVM_SET_TSS_ADDR, NONE, set_tss_addr),
	API_ROW(KVM_SET_IDENTITY_MAP_ADDR, IN(u64), set_identity_map_addr),
	API_ROW(KVM_SET_NR_MMU_PAGES, NONE, set_nr_mmu_pages),
	API_ROW(KVM_CREATE_IRQCHIP, NONE, create_irqchip),
	API_ROW(KVM_IRQ_LINE, IN(struct kvm_irq_level), irq_line),
	API_ROW(KVM_IRQ_LINE_STATUS, INOUT(struct kvm_irq_level), irq_line),
	API_ROW(KVM_SET_GSI_ROUTING, IN(struct kvm_irq_routing), set_gsi_routing),
	API_ROW(KVM_SIGNAL_MSI, IN(struct kvm_msi), signal_msi),
	API_ROW(KVM_IRQFD, IN(struct kvm_irqfd), irqfd),
	API_ROW(KVM_IOEVENTFD, IN(struct kvm_ioeventfd), ioeventfd),
	API_ROW(KVM_GET_IRQCHIP, INOUT(struct kvm_irqchip), get_irqchip),
	API_ROW(KVM_SET_IRQCHIP, IN(struct kvm_irqchip), set_irqchip),
	API_ROW(KVM_CREATE_PIT, NONE, create_pit),
	API_ROW(KVM_CREATE_PIT2, IN(struct kvm_pit_config), create_pit2),
	API_ROW(KVM_GET_PIT, OUT(struct kvm_pit_state), get_pit),
	API_ROW(KVM_SET_PIT, IN(struct kvm_pit_state), set_pit),
	API_ROW(KVM_GET_PIT2, OUT(struct kvm_pit_state2), get_pit2),
	API_ROW(KVM_SET_PIT2, IN(struct kvm_pit_state2), set_pit2),
	API_ROW(KVM_REINJECT_CONTROL, IN(struct kvm_reinject_control), reinject_control),
	API_ROW(KVM_GET_CLOCK, OUT(struct kvm_clock_data), get_clock),
	API_ROW(KVM_SET_CLOCK, IN(struct kvm_clock_data), set_clock),
	API_ROW(KVM_SET_TSC_KHZ, NONE, set_tsc_khz),
	API_ROW(KVM_GET_TSC_KHZ, NONE, get_tsc_khz),
	API_ROW(KVM_GET_STATS_FD, NONE, get_stats_fd),
	API_ROW(KVM_X86_SET_MSR_FILTER, IN(struct kvm_msr_filter), set_msr_filter),
	API_ROW(KVM_HYPERV_EVENTFD, IN(struct kvm_hyperv_eventfd), hyperv_eventfd),
	API_ROW(KVM_CHECK_EXTENSION, NONE, check_extension),
	API_ROW(KVM_ENABLE_CAP, IN(struct kvm_enable_cap), enable_cap),
	API_ROW(ANYKVM_MEMORY_WRITTEN, IN(struct anykvm_memory_written), memory_written),
	API_ROW(KVM_CREATE_DEVICE, IN(struct kvm_create_device), create_device),
};

long kvm_vm_ioctl(struct kvm *kvm, u32 cmd, u64 arg)
{
	struct api_call c = { .kvm = kvm, .arg = arg };

	if (READ_ONCE(kvm->dead))
		return -EIO;
	return api_dispatch(rows, ARRAY_SIZE(rows), cmd, &c, -ENOTTY);
}
