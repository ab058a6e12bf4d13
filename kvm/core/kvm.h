/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The core's objects: a VM, its vCPUs and its memory slots, and what every architecture part,
 * processor and API handler may ask of them. Lock order: docs/locking.md.
 */
#ifndef KVM_CORE_KVM_H
#define KVM_CORE_KVM_H

#include <linux/kvm.h>

#include "kvm/ioctl.h"
#include "kvm/os/os.h"
#include "kvm/x86/cpu.h"
#include "kvm/x86/vm.h"

#define KVM_MAX_VCPUS		288	/* created; ids run to KVM_MAX_VCPU_ID */
#define KVM_MAX_VCPU_ID		1024
#define KVM_MAX_SLOTS		32764	/* in each address space */
#define KVM_MAX_SLOT_PAGES	((1ull << 31) - 1)
#define KVM_DIRTY_RING_OFFSET	64	/* pages, KVM_DIRTY_LOG_PAGE_OFFSET */
#define KVM_VCPU_MMAP_PAGES	3	/* kvm_run, port I/O data, coalesced MMIO ring */

typedef u64 gpa_t;
typedef u64 gfn_t;

struct kvm;
struct kvm_vcpu;

/* ---- memory slots: memslot.c ---- */

/* Guest-physical memory is two address spaces: the second is what a vCPU in system management mode sees. A slot's
 * number has its address space in the upper half. */
#define KVM_ADDRESS_SPACES	2
static inline bool kvm_valid_slot_id(u32 id)
{
	return id >> 16 < KVM_ADDRESS_SPACES && (id & 0xffff) < KVM_MAX_SLOTS;
}

/* One slot. Immutable once published, but for its bitmaps, whose bits are set atomically, and `aliased`. */
struct kvm_memslot {
	gfn_t base_gfn;
	u64 npages;
	u8 *host;		/* the VMM's address of the first page */
	u32 id;
	u32 flags;		/* KVM_MEM_* */
	bool aliased;		/* another slot has, or had, some of its host pages; never cleared */
	u64 *dirty;		/* a bit a page, while KVM_MEM_LOG_DIRTY_PAGES; else NULL */
	u64 *code;		/* a bit a page: some vCPU holds code made from it; writes to it trap */
	u64 *checked;		/* two bits a page: host page known readable, known writable */
};

/* The slot array: sorted by address space and base_gfn, never changed, swapped whole. Arrays share the slots. */
struct kvm_memslots {
	u64 generation;
	u32 count;
	u32 start[KVM_ADDRESS_SPACES + 1];	/* index of each address space's first; the last is count */
	struct kvm_memslot *slot[];
};

/* A page of guest memory as the software processor may touch it. */
struct kvm_page {
	u8 *host;			/* NULL: no memory there (MMIO) */
	struct kvm_memslot *slot;
	bool writable;			/* false: a read-only slot; a write is MMIO */
	bool code;			/* a write must go through kvm_page_written first */
};

/* Finds the page at gpa in the slots that v entered with, in the address space that v is in. Probes the host mapping on first touch.
 * 0 (page->host may be NULL), or -EFAULT where the VMM's address is not mapped. */
int kvm_find_page(struct kvm_vcpu *v, gpa_t gpa, bool write, struct kvm_page *page);
/* Before the page is written or made writable in a TLB: dirty log or ring, and, where code was
 * made from it, that code is dropped on every vCPU. */
void kvm_page_written(struct kvm_vcpu *v, struct kvm_memslot *slot, gfn_t gfn);
/* Before code is made from the page: from here on writes by any vCPU come to kvm_page_written.
 * Waits until no other vCPU holds a writable translation. May leave a request on v itself. */
void kvm_page_holds_code(struct kvm_vcpu *v, struct kvm_memslot *slot, gfn_t gfn);

/* The VMM has written there, and will tell each time: counts only where code was made from it. Any thread. */
void kvm_memory_written(struct kvm *kvm, const struct anykvm_memory_written *written);

/* Copies to and from guest-physical memory, across pages and slots; v's thread. 0 or -EFAULT. The first two mean the
 * first address space, where guest and hypervisor have what they share; the others what v itself sees now. */
int kvm_read_guest(struct kvm_vcpu *v, gpa_t gpa, void *dst, size_t n);
int kvm_write_guest(struct kvm_vcpu *v, gpa_t gpa, const void *src, size_t n);
int kvm_vcpu_read_guest(struct kvm_vcpu *v, gpa_t gpa, void *dst, size_t n);
int kvm_vcpu_write_guest(struct kvm_vcpu *v, gpa_t gpa, const void *src, size_t n);

/* The five ioctls. */
int kvm_set_memory_region(struct kvm *kvm, const struct kvm_userspace_memory_region *mem);
int kvm_get_dirty_log(struct kvm *kvm, const struct kvm_dirty_log *log);
int kvm_clear_dirty_log(struct kvm *kvm, const struct kvm_clear_dirty_log *log);
struct kvm_memslot *kvm_memslot_by_id(struct kvm *kvm, u32 id);	/* by a holder of slots_lock */
int kvm_memslots_init(struct kvm *kvm);
void kvm_memslots_destroy(struct kvm *kvm);

/* ---- dirty pages: dirty.c ---- */
#define KVM_DIRTY_RING_RESERVED		64	/* entries kept for what one round of guest code may add */
#define KVM_DIRTY_RING_MAX_ENTRIES	65536
/* Notes that v writes page `rel` of the slot, which logs. */
void kvm_mark_dirty(struct kvm_vcpu *v, struct kvm_memslot *slot, u64 rel);
bool kvm_dirty_ring_full(struct kvm_vcpu *v);
long kvm_reset_dirty_rings(struct kvm *kvm);	/* number of entries taken back */

/* ---- I/O buses: bus.c ---- */

enum kvm_bus_id { KVM_BUS_PIO, KVM_BUS_MMIO, KVM_NR_BUSES };

struct kvm_io_device {
	/* 0 when handled; -EOPNOTSUPP passes the access on (to the next device, then to the VMM).
	 * v may be NULL. len is 1, 2, 4 or 8 (writes of ioeventfds: any). */
	int (*read)(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len, void *val);
	int (*write)(struct kvm_io_device *dev, struct kvm_vcpu *v, gpa_t addr, int len,
		     const void *val);
	void (*destroy)(struct kvm_io_device *dev);	/* may be NULL */
};

int kvm_bus_register(struct kvm *kvm, enum kvm_bus_id bus, gpa_t addr, u64 len,
		     struct kvm_io_device *dev);
void kvm_bus_unregister(struct kvm *kvm, enum kvm_bus_id bus, struct kvm_io_device *dev);
int kvm_bus_read(struct kvm_vcpu *v, enum kvm_bus_id bus, gpa_t addr, int len, void *val);
int kvm_bus_write(struct kvm_vcpu *v, enum kvm_bus_id bus, gpa_t addr, int len, const void *val);
/* As kvm_bus_register, by a caller who holds slots_lock. */
int kvm_bus_register_locked(struct kvm *kvm, enum kvm_bus_id bus, gpa_t addr, u64 len,
			    struct kvm_io_device *dev);
void kvm_bus_unregister_locked(struct kvm *kvm, enum kvm_bus_id bus, struct kvm_io_device *dev);
int kvm_buses_init(struct kvm *kvm);
void kvm_buses_destroy(struct kvm *kvm);	/* and the devices */

/* KVM_(UN)REGISTER_COALESCED_MMIO: coalesced.c */
int kvm_register_coalesced(struct kvm *kvm, const struct kvm_coalesced_mmio_zone *zone);
int kvm_unregister_coalesced(struct kvm *kvm, const struct kvm_coalesced_mmio_zone *zone);

/* ---- interrupt routing, irqfd, ioeventfd: irq.c, eventfd.c ---- */

#define KVM_MAX_IRQ_ROUTES	4096
#define KVM_USERSPACE_IRQ_SOURCE_ID	0
#define KVM_IRQFD_RESAMPLE_SOURCE_ID	1
#define KVM_PIT_SOURCE_ID		2

/* Drives GSI gsi to level from source_id (levels of several sources are ORed for one pin).
 * Returns how many vCPUs took it, 0 for coalesced, -1 for masked (KVM_IRQ_LINE_STATUS's figures). */
int kvm_set_irq(struct kvm *kvm, int source_id, u32 gsi, int level);
int kvm_send_msi(struct kvm *kvm, const struct kvm_msi *msi);
int kvm_set_gsi_routing(struct kvm *kvm, const struct kvm_irq_routing_entry *entries, u32 n);
int kvm_set_default_irq_routing(struct kvm *kvm);		/* PIC, I/O APIC: as Linux */
/* Called by the PIC and the I/O APIC when the guest acknowledges a pin: resamples, PIT. */
void kvm_notify_acked_irq(struct kvm *kvm, u32 irqchip, u32 pin);	/* with no lock of the chip held */
void kvm_notify_acked_sint(struct kvm *kvm, u32 vp_index, u32 sint);	/* likewise, Hyper-V's */
/* Who wants to know of acknowledgements. fn may call kvm_set_irq, but neither register nor unregister. */
struct kvm_irq_ack {
	struct kvm_irq_ack *next;
	u32 gsi;
	void (*fn)(struct kvm_irq_ack *ack);
};
void kvm_register_irq_ack(struct kvm *kvm, struct kvm_irq_ack *ack);
void kvm_unregister_irq_ack(struct kvm *kvm, struct kvm_irq_ack *ack);	/* waits for a running fn */
int kvm_irq_routing_init(struct kvm *kvm);
void kvm_irq_routing_destroy(struct kvm *kvm);
/* For split irqchip: does a level-triggered route send `vector` to v (KVM_EXIT_IOAPIC_EOI)? */
bool kvm_split_eoi_exits(struct kvm_vcpu *v, u8 vector);
int kvm_irqfd(struct kvm *kvm, const struct kvm_irqfd *args);
int kvm_ioeventfd(struct kvm *kvm, const struct kvm_ioeventfd *args);
int kvm_eventfds_init(struct kvm *kvm);
void kvm_eventfds_destroy(struct kvm *kvm);

/* ---- statistics: stats.c ---- */

enum { KVM_STAT_VM_REMOTE_TLB_FLUSH, KVM_NR_VM_STATS };
enum {
	KVM_STAT_EXITS,			/* guest code was left */
	KVM_STAT_IO_EXITS, KVM_STAT_MMIO_EXITS, KVM_STAT_SIGNAL_EXITS,	/* for the VMM */
	KVM_STAT_HALT_EXITS, KVM_STAT_HALT_WAKEUP,
	KVM_STAT_HALT_POLL_SUCCESS, KVM_STAT_HALT_POLL_ATTEMPTED,
	KVM_STAT_IRQ_INJECTIONS, KVM_STAT_NMI_INJECTIONS, KVM_STAT_HYPERCALLS,
	KVM_NR_VCPU_STATS,
};

/* Counters of a VM or a vCPU. */
struct kvm_stats {
	u64 *data;			/* own, or the file's once there is one */
	struct os_shared *shared;
	u64 own[KVM_NR_VCPU_STATS];
};
void kvm_stats_init(struct kvm_stats *s);
void kvm_stats_destroy(struct kvm_stats *s);
/* KVM_GET_STATS_FD: a descriptor, or -errno. The vCPU's: v->lock is held. */
long kvm_vm_stats_fd(struct kvm *kvm);
long kvm_vcpu_stats_fd(struct kvm_vcpu *v);

/* ---- the VM ---- */

struct kvm_irq_state;
struct kvm_eventfds;
struct kvm_cpu_ops;

struct kvm {
	u32 refs;			/* descriptors and vCPUs */
	struct os_mutex lock;		/* vCPU creation, chip creation, ENABLE_CAP */
	struct os_mutex slots_lock;	/* changes of slots and buses */
	struct kvm_memslots *slots;	/* published; read by vCPUs between enter and leave */
	struct kvm_memslot **slot_by_id;	/* by kvm_memslot_by_id; slots_lock */
	struct kvm_vcpu *vcpus[KVM_MAX_VCPUS];
	u32 nr_vcpus;			/* published with release */
	struct kvm_bus *buses[KVM_NR_BUSES];	/* immutable arrays, swapped under slots_lock */
	struct kvm_irq_state *irq;	/* routing table and what hangs on it */
	struct kvm_eventfds *eventfds;
	struct kvm_coalesced *coalesced;	/* zones of coalesced MMIO and PIO; slots_lock */
	struct os_mutex coalesced_lock;	/* the ring, which all vCPUs fill: the first vCPU's page */
	const struct kvm_cpu_ops *ops;
	void *cpu;			/* the processor's own per-VM data */
	u32 code_waits;			/* vCPUs inside kvm_page_holds_code */
	bool holds_code;		/* one has been there; never cleared */
	u32 outside;			/* counts what may follow a write to memory by the VMM: kvm_note_outside */
	bool told;			/* the VMM tells what it writes: kvm_memory_written */
	u32 dirty_ring_size;		/* bytes a vCPU; 0: none */
	u32 manual_dirty_protect;
	u32 max_vcpu_id;
	u32 halt_poll_max;		/* ns; 0: HLT never polls: KVM_CAP_HALT_POLL */
	struct kvm_stats stats;
	bool dead;			/* a bug was met; every ioctl gives -EIO */
	struct x86_vm arch;
};

/*
 * The VMM and its devices write to memory and tell nobody. But they raise an interrupt then, or answer an exit: who
 * keeps something that was made from memory looks at the count, and compares where it has changed.
 */
static inline void kvm_note_outside(struct kvm *kvm)
{
	atomic_add(&kvm->outside, 1);
}

/* The VMM raised an interrupt. */
static inline void kvm_note_interrupt(struct kvm *kvm)
{
	if (!READ_ONCE(kvm->told))
		kvm_note_outside(kvm);
}

/* ---- a vCPU ---- */

/* WAITING: inside kvm_request_all_and_wait. It runs no guest code, so that two vCPUs may wait for each
 * other, but holds pointers into the slot array, so that the array stays. */
enum kvm_vcpu_mode { OUTSIDE_GUEST, IN_GUEST, WAITING };

/* Requests: other threads set them, v's thread serves them before it next runs guest code. */
enum kvm_request {
	KVM_REQ_TLB_FLUSH,		/* drop all translations */
	KVM_REQ_TLB_WRITES,		/* drop writable translations (dirty log) */
	KVM_REQ_CODE_PAGES,		/* code is being made: the same for what v->code_pages names */
	KVM_REQ_SLOTS,			/* the slot array or a bus changed */
	KVM_REQ_CODE,			/* code was written: drop what v->stale_code names */
	KVM_REQ_EVENT,			/* look at interrupts again */
	KVM_REQ_CLOCK_UPDATE,		/* write kvmclock */
	KVM_REQ_STEAL_UPDATE,
	KVM_REQ_MASTERCLOCK,
	KVM_REQ_TIMER,			/* the local APIC's timer has run out */
	KVM_REQ_UNHALT,			/* wake from HLT whatever is pending */
	KVM_REQ_SMI,
	KVM_REQ_TRIPLE_FAULT,
	KVM_REQ_IOAPIC_EOI_EXIT,
	KVM_REQ_TPR_ACCESS,
	KVM_REQ_DIRTY_RING_FULL,
	KVM_REQ_VM_DEAD,
	KVM_REQ_HV_STIMER,		/* Hyper-V: a timer has run out, or is to be set */
	KVM_REQ_HV_EXIT, KVM_REQ_HV_CRASH, KVM_REQ_HV_RESET,	/* Hyper-V: to the VMM */
};

#define KVM_HALT_POLL_DEFAULT	200000	/* ns, as Linux */

#define KVM_STALE_CODE_MAX	16
#define KVM_EXIT_COUNTERS	64	/* more than there are reasons */

struct kvm_vcpu {
	struct x86_cpu cpu;		/* first: the processor's hot state */

	struct kvm *kvm;
	u32 id;				/* the API's vcpu_id; the initial APIC id */
	u32 index;			/* in kvm->vcpus */
	u32 refs;
	struct kvm_run *run;		/* shared with the VMM: read once, trust nothing */
	u8 *pio_data;			/* page 1 of the same mapping */
	struct kvm_coalesced_mmio_ring *coalesced;
	size_t run_size;
	struct os_mutex lock;		/* one ioctl at a time; the run thread holds it in KVM_RUN */
	bool has_run;			/* guest code, once */

	u32 mode;			/* enum kvm_vcpu_mode; seq_cst */
	u32 requests;			/* bits of enum kvm_request */
	u32 mode_word;			/* bumped on each change to OUTSIDE_GUEST or WAITING; others wait on it */
	u32 mode_waiters;		/* how many do */
	u32 leaves;			/* bumped on each leave */
	struct os_event wake;		/* set by kvm_vcpu_kick; a halted vCPU sleeps on it */
	u32 halt_poll;			/* ns that HLT polls before it sleeps: run.c */
	struct os_sigmask sigmask;
	u64 exits[KVM_EXIT_COUNTERS];	/* how often KVM_RUN ended, by exit_reason */
	struct kvm_memslots *slots;	/* what this vCPU runs with, valid IN_GUEST */
	u32 last_slot;			/* index of the slot last found: guests dwell */

	struct os_mutex stale_lock;	/* the lists below */
	u32 nr_stale;			/* > KVM_STALE_CODE_MAX: all */
	const u8 *stale_code[KVM_STALE_CODE_MAX];	/* host addresses */
	u32 nr_code_pages;		/* likewise */
	const u8 *code_pages[KVM_STALE_CODE_MAX];

	struct kvm_stats stats;		/* v's thread's */
	struct kvm_dirty_gfn *dirty_ring;
	u32 dirty_index, dirty_reset_index;
};

struct kvm *kvm_create_vm(unsigned long type, int *error);
void kvm_get_vm(struct kvm *kvm);
void kvm_put_vm(struct kvm *kvm);	/* the last put frees everything */

size_t kvm_vcpu_run_size(const struct kvm *kvm);	/* what `run` has to have */
/* `run` is the VMM-visible mapping, run_size bytes, made by the port (os_fd_prepare) and the vCPU's from
 * here on. Takes a reference to the VM. 0, -EINVAL, -EEXIST, -ENOMEM (`run` is still the caller's). */
int kvm_create_vcpu(struct kvm *kvm, u32 id, void *run, size_t run_size, struct kvm_vcpu **out);
/* The vCPU's descriptor is gone. The vCPU itself stays, as in Linux, until the VM goes. */
void kvm_put_vcpu(struct kvm_vcpu *v);
void kvm_free_vcpu(struct kvm_vcpu *v);	/* kvm_put_vm's, when the VM goes */
struct kvm_vcpu *kvm_vcpu_by_id(struct kvm *kvm, u32 id);

#define kvm_for_each_vcpu(v, kvm, i) \
	for ((i) = 0; (i) < load_acquire(&(kvm)->nr_vcpus) && ((v) = (kvm)->vcpus[i]); (i)++)

/* Sets a request and, where the vCPU sleeps or runs guest code, makes it look. Any thread. */
void kvm_make_request(struct kvm_vcpu *v, enum kvm_request req);
/* The same on v's own thread: guest code is left at the next block. */
void kvm_make_own_request(struct kvm_vcpu *v, enum kvm_request req);
/* Sets req on all vCPUs but `except` and waits until each has left guest code once (it then serves
 * the request before it comes back). The caller's own vCPU (`except`) counts as outside meanwhile, but
 * with KVM_REQ_SLOTS, whose wait lasts until nobody holds a pointer into the old slots and buses. */
void kvm_request_all_and_wait(struct kvm *kvm, enum kvm_request req, struct kvm_vcpu *except);
/* The same for those alone that `wanted` says. */
void kvm_request_some_and_wait(struct kvm *kvm, enum kvm_request req, struct kvm_vcpu *except,
			       bool (*wanted)(void *arg, struct kvm_vcpu *v), void *arg);
static inline bool kvm_check_request(struct kvm_vcpu *v, enum kvm_request req)
{
	if (!(READ_ONCE(v->requests) & BIT(req)))
		return false;
	atomic_and(&v->requests, ~BIT(req));
	return true;
}
/* Makes a vCPU notice: wakes it from HLT, or stops its guest code at the next block. */
void kvm_vcpu_kick(struct kvm_vcpu *v);
/* A vCPU's thread about to use guest memory (and done with it): pins the slot array. Enter drops kicks, so look
 * at v->requests after it, not before. */
void kvm_vcpu_enter(struct kvm_vcpu *v);
void kvm_vcpu_leave(struct kvm_vcpu *v);
void kvm_vcpu_reload_slots(struct kvm_vcpu *v);		/* serving KVM_REQ_SLOTS: no pointer into them is held */

/* KVM_RUN. 0 with run->exit_reason set, -EINTR, -EFAULT, -ENOEXEC, … : run.c */
int kvm_vcpu_run(struct kvm_vcpu *v);

static inline void kvm_count(struct kvm_vcpu *v, u32 stat)
{
	u64 *at = &v->stats.data[stat];

	WRITE_ONCE(*at, *at + 1);
}

/* ---- ioctls: kvm/api/. arg is the user's address or value; result or -errno ---- */
long kvm_system_ioctl(u32 cmd, u64 arg);
long kvm_vm_ioctl(struct kvm *kvm, u32 cmd, u64 arg);
long kvm_vcpu_ioctl(struct kvm_vcpu *v, u32 cmd, u64 arg);

/* ---- a processor: who runs guest code ---- */

/* What run() says. Anything negative is an errno for KVM_RUN. */
enum kvm_run_result {
	KVM_RUN_AGAIN,		/* serve requests and events, then come back */
	KVM_RUN_USER,		/* run->exit_reason is set: back to the VMM */
};

struct kvm_cpu_ops {
	const char *name;
	int (*vm_create)(struct kvm *kvm);
	void (*vm_destroy)(struct kvm *kvm);
	int (*vcpu_create)(struct kvm_vcpu *v);
	void (*vcpu_destroy)(struct kvm_vcpu *v);
	/* Guest code from the state in v->cpu, until something needs the core. */
	int (*run)(struct kvm_vcpu *v);
	/* CPUID changed: what was decoded under the old one goes. v's thread. */
	void (*features_changed)(struct kvm_vcpu *v);
	/* Code made from the page at this host address is stale (NULL: all). v's thread. */
	void (*drop_code)(struct kvm_vcpu *v, const u8 *host);
	/* State that a processor holds elsewhere, brought to and from v->cpu, by group. The
	 * software processor keeps everything in v->cpu: NULL. */
	void (*save)(struct kvm_vcpu *v, u32 groups);
	void (*load)(struct kvm_vcpu *v, u32 groups);
};

extern const struct kvm_cpu_ops soft_cpu_ops;

#endif
