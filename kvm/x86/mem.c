// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory beyond the inline fast path: TLB misses, page crossings, devices, breakpoints.
 *
 * Devices. An instruction that touches one is run alone ("carefully"). What it reads is kept in
 * c->io, in order; where the VMM has to be asked, the instruction is given up with X86_EXIT and run
 * again from the start once the answer is there, and the reads that it made before are replayed and not
 * made twice. What it writes to the VMM's devices is queued and told after the instruction is done.
 */
#include "kvm/core/kvm.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/mem.h"

bool x86_apic_page(const struct x86_cpu *c, u64 gpa)
{
	/* enabled (bit 11), not in x2APIC mode (bit 10) */
	return (c->apic_base & 0xc00) == 0x800 && ((gpa ^ c->apic_base) & 0x000ffffffffff000ull) == 0;
}

int x86_bad_host_page(struct x86_cpu *c, u64 gpa)
{
	(void)gpa;
	c->run_error = -EFAULT;
	return X86_EXIT;
}

int x86_internal_error(struct x86_cpu *c, u32 suberror)
{
	struct kvm_run *run = c->vcpu->run;

	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = suberror;
	run->internal.ndata = 0;
	return X86_EXIT;
}

/* ---- devices ---- */

void x86_io_begin(struct x86_cpu *c)
{
	c->io.nr_reads = 0;
	c->io.next_read = 0;
}

/* The slot for the next read of this instruction. X86_OK: filled already. X86_RESTART: the caller fills it. */
static int io_read_slot(struct x86_cpu *c, u64 addr, u32 len, struct x86_io_fragment **out)
{
	struct x86_io *io = &c->io;

	if (io->next_read < io->nr_reads) {
		*out = &io->reads[io->next_read++];
		return X86_OK;
	}
	if (io->nr_reads == X86_IO_FRAGMENTS)
		return x86_internal_error(c, KVM_INTERNAL_ERROR_EMULATION);
	*out = &io->reads[io->nr_reads];
	(*out)->addr = addr;
	(*out)->len = len;
	(*out)->refused = false;
	memset((*out)->data, 0, sizeof((*out)->data));
	return X86_RESTART;
}

static void io_read_done(struct x86_cpu *c)
{
	c->io.nr_reads++;
	c->io.next_read++;
}

/* One access of at most 8 bytes to what is not memory. */
static int mmio_read8(struct x86_cpu *c, u64 gpa, void *dst, u32 len)
{
	struct kvm_vcpu *v = c->vcpu;
	struct x86_io_fragment *f = NULL;
	int r = io_read_slot(c, gpa, len, &f);

	if (r == X86_RESTART) {
		if ((!c->lapic || kvm_lapic_mmio_read(v, gpa, len, f->data)) &&
		    kvm_bus_read(v, KVM_BUS_MMIO, gpa, len, f->data)) {
			kvm_count(v, KVM_STAT_MMIO_EXITS);
			v->run->exit_reason = KVM_EXIT_MMIO;
			v->run->mmio.phys_addr = gpa;
			v->run->mmio.len = len;
			v->run->mmio.is_write = 0;
			c->io.wait = X86_WAIT_MMIO;
			return X86_EXIT;
		}
		io_read_done(c);
	} else if (r != X86_OK) {
		return r;
	}
	memcpy(dst, f->data, len);
	return X86_OK;
}

static int mmio_write8(struct x86_cpu *c, u64 gpa, const void *src, u32 len)
{
	struct kvm_vcpu *v = c->vcpu;
	struct x86_io_fragment *f;

	if (c->lapic && !kvm_lapic_mmio_write(v, gpa, len, src))
		return X86_OK;
	if (!kvm_bus_write(v, KVM_BUS_MMIO, gpa, len, src))
		return X86_OK;
	if (c->io.nr_writes == X86_IO_FRAGMENTS)
		return x86_internal_error(c, KVM_INTERNAL_ERROR_EMULATION);
	f = &c->io.writes[c->io.nr_writes++];
	f->addr = gpa;
	f->len = len;
	memcpy(f->data, src, len);
	return X86_OK;
}

static int mmio_read(struct x86_cpu *c, u64 gpa, u8 *dst, u32 len)
{
	if (!c->careful)
		return X86_CAREFUL;
	for (u32 n; len; gpa += n, dst += n, len -= n) {
		int r = mmio_read8(c, gpa, dst, n = min(len, 8u));

		if (r)
			return r;
	}
	return X86_OK;
}

static int mmio_write(struct x86_cpu *c, u64 gpa, const u8 *src, u32 len)
{
	if (!c->careful)
		return X86_CAREFUL;
	for (u32 n; len; gpa += n, src += n, len -= n) {
		int r = mmio_write8(c, gpa, src, n = min(len, 8u));

		if (r)
			return r;
	}
	return X86_OK;
}

void x86_io_complete(struct x86_cpu *c)
{
	struct kvm_vcpu *v = c->vcpu;
	struct x86_io *io = &c->io;
	struct x86_io_fragment *f = &io->reads[io->nr_reads];

	switch (io->wait) {
	case X86_WAIT_MMIO:
		memcpy(f->data, v->run->mmio.data, f->len);
		break;
	case X86_WAIT_PIO:
		memcpy(f->data, v->pio_data, f->len);
		break;
	case X86_WAIT_MSR:
		memcpy(f->data, &v->run->msr.data, f->len);
		f->refused = READ_ONCE(v->run->msr.error);
		break;
	case X86_WAIT_HYPERCALL:
		memcpy(f->data, &v->run->hypercall.ret, f->len);
		break;
	case X86_WAIT_HV_HYPERCALL:
		memcpy(f->data, &v->run->hyperv.u.hcall.result, f->len);
		break;
	default:
		return;
	}
	io->nr_reads++;
	io->wait = X86_WAIT_NONE;
}

int x86_ask_vmm(struct x86_cpu *c, enum x86_io_wait what)
{
	struct x86_io_fragment *f;
	int r = io_read_slot(c, 0, sizeof(u64), &f);

	if (r != X86_RESTART)
		return r;
	c->io.wait = what;
	return X86_EXIT;
}

bool x86_vmm_answered(struct x86_cpu *c, u64 *val, bool *refused)
{
	const struct x86_io_fragment *f;

	if (c->io.next_read == c->io.nr_reads)
		return false;
	f = &c->io.reads[c->io.next_read++];
	memcpy(val, f->data, sizeof(*val));
	*refused = f->refused;
	return true;
}

bool x86_io_exit_next_write(struct x86_cpu *c)
{
	struct kvm_run *run = c->vcpu->run;
	struct x86_io_fragment *f;

	if (c->io.next_write == c->io.nr_writes) {
		c->io.next_write = c->io.nr_writes = 0;
		return false;
	}
	f = &c->io.writes[c->io.next_write++];
	kvm_count(c->vcpu, KVM_STAT_MMIO_EXITS);
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = f->addr;
	run->mmio.len = f->len;
	run->mmio.is_write = 1;
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	memcpy(run->mmio.data, f->data, f->len);
	return true;
}

/* ---- ports ---- */

static void note_io_breakpoint(struct x86_cpu *c, u16 port, u32 size)
{
	u64 dr7 = c->dr7;

	if (!(c->cr4 & X86_CR4_DE))
		return;
	for (int i = 0; i < 4; i++) {
		u32 len = ((dr7 >> (18 + i * 4)) & 3) + 1;

		if (!(dr7 & (3ull << (i * 2))) || ((dr7 >> (16 + i * 4)) & 3) != 2)
			continue;
		if (port < (c->dr[i] & ~(u64)(len - 1)) + len && port + size > (c->dr[i] & ~(u64)(len - 1)))
			c->debug.hit |= BIT(i);
	}
}

static void exit_io(struct x86_cpu *c, u8 direction, u16 port, u32 size, u32 count)
{
	struct kvm_run *run = c->vcpu->run;

	kvm_count(c->vcpu, KVM_STAT_IO_EXITS);
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = direction;
	run->io.size = size;
	run->io.port = port;
	run->io.count = count;
	run->io.data_offset = PAGE_SIZE;
}

int x86_port_in(struct x86_cpu *c, u16 port, u32 size, u32 *val)
{
	struct x86_io_fragment *f = NULL;
	int r;

	if (!c->careful)
		return X86_CAREFUL;
	note_io_breakpoint(c, port, size);
	r = io_read_slot(c, port, size, &f);
	if (r == X86_RESTART) {
		if (kvm_bus_read(c->vcpu, KVM_BUS_PIO, port, size, f->data)) {
			exit_io(c, KVM_EXIT_IO_IN, port, size, 1);
			c->io.pio_count = 1;
			c->io.wait = X86_WAIT_PIO;
			return X86_EXIT;
		}
		io_read_done(c);
	} else if (r != X86_OK) {
		return r;
	}
	*val = 0;
	memcpy(val, f->data, size);
	return X86_OK;
}

int x86_port_in_string(struct x86_cpu *c, u16 port, u32 size, u32 *n, const u8 **data)
{
	struct x86_io_fragment *f = NULL;
	int r;

	if (!c->careful)
		return X86_CAREFUL;
	r = io_read_slot(c, port, size, &f);
	if (r == X86_RESTART) {
		c->io.pio_count = 1;
		if (kvm_bus_read(c->vcpu, KVM_BUS_PIO, port, size, f->data)) {
			c->io.pio_count = *n;
			exit_io(c, KVM_EXIT_IO_IN, port, size, *n);
			c->io.wait = X86_WAIT_PIO;
			return X86_EXIT;
		}
		io_read_done(c);
	} else if (r != X86_OK) {
		return r;
	}
	/* The VMM may have changed RCX meanwhile. */
	*n = min(*n, c->io.pio_count);
	*data = c->io.pio_count == 1 ? f->data : c->vcpu->pio_data;
	return X86_OK;
}

int x86_port_out(struct x86_cpu *c, u16 port, u32 size, u32 val)
{
	if (!c->careful)
		return X86_CAREFUL;
	note_io_breakpoint(c, port, size);
	if (!kvm_bus_write(c->vcpu, KVM_BUS_PIO, port, size, &val))
		return X86_OK;
	exit_io(c, KVM_EXIT_IO_OUT, port, size, 1);
	memcpy(c->vcpu->pio_data, &val, size);
	c->exit_user = true;
	return X86_DONE;
}

/* ---- checks before an access ---- */

int x86_check_segment(struct x86_cpu *c, int seg, u64 offset, u32 size, enum x86_access acc)
{
	const struct x86_segment *s = &c->seg[seg];
	u64 last = (offset & 0xffffffff) + size - 1;
	u8 vector = seg == X86_SEG_SS ? X86_SS : X86_GP;
	u32 type = s->attr & X86_SEG_TYPE;

	if (x86_protected(c) && !x86_vm86(c)) {
		if ((s->attr & X86_SEG_UNUSABLE) || !(s->attr & X86_SEG_P))
			return x86_raise_err(c, vector, 0);
		if (type & 8) {		/* code: read where readable, never written */
			if (acc == X86_WRITE || (acc == X86_READ && !(type & 2)))
				return x86_raise_err(c, vector, 0);
		} else if (acc == X86_WRITE && !(type & 2)) {
			return x86_raise_err(c, vector, 0);
		}
		if ((type & 0xc) == 4) {	/* data, expand-down: valid above the limit */
			u64 top = s->attr & X86_SEG_DB ? 0xffffffffull : 0xffff;

			if ((offset & 0xffffffff) <= s->limit || last > top)
				return x86_raise_err(c, vector, 0);
			return X86_OK;
		}
	}
	if (last > s->limit)
		return x86_raise_err(c, vector, 0);
	return X86_OK;
}

static bool canonical(const struct x86_cpu *c, u64 lin)
{
	int shift = c->cr4 & X86_CR4_LA57 ? 7 : 16;

	return (u64)((s64)(lin << shift) >> shift) == lin;
}

/* Data breakpoints are traps: noted now, reported after the instruction (SDM volume 3, 17.3.1). */
static void note_breakpoints(struct x86_cpu *c, u64 lin, u32 size, enum x86_access acc)
{
	bool host = c->debug.control & KVM_GUESTDBG_USE_HW_BP;
	u64 dr7 = host ? c->debug.dr7 : c->dr7;
	const u64 *dr = host ? c->debug.dr : c->dr;

	if (!(dr7 & 0xff) || acc == X86_FETCH)
		return;
	for (int i = 0; i < 4; i++) {
		u32 rw = (dr7 >> (16 + i * 4)) & 3, len = (dr7 >> (18 + i * 4)) & 3;
		u64 at;

		if (!(dr7 & (3ull << (i * 2))) || !(rw == 3 || (rw == 1 && acc == X86_WRITE)))
			continue;
		len = len == 2 ? 8 : len + 1;
		at = dr[i] & ~(u64)(len - 1);
		if (lin < at + len && lin + size > at)
			c->debug.hit |= BIT(i);
	}
}

/* What any access outside the fast path goes through first. `whole` is the access's size. */
static int check_access(struct x86_cpu *c, u64 lin, u32 size, enum x86_access acc)
{
	if (c->mode == X86_MODE_64 && (!canonical(c, lin) || !canonical(c, lin + size - 1)))
		return x86_raise_noncanonical(c);
	if (c->cpl == 3 && (c->rflags & X86_RFLAGS_AC) && (c->cr0 & X86_CR0_AM) && size <= 16 &&
	    (size & (size - 1)) == 0 && (lin & (min(size, 8u) - 1)))
		return x86_raise_err(c, X86_AC, 0);
	note_breakpoints(c, lin, size, acc);
	return X86_OK;
}

/* ---- accesses ---- */

static void copy_in(void *dst, const u8 *host, u32 size)
{
	/* Whole for the sizes that the architecture promises to be atomic when aligned. */
	switch (size) {
	case 1: *(u8 *)dst = *(const volatile u8 *)host; break;
	case 2: *(u16 *)dst = *(const volatile u16 *)host; break;
	case 4: *(u32 *)dst = *(const volatile u32 *)host; break;
	case 8: *(u64 *)dst = *(const volatile u64 *)host; break;
	default: memcpy(dst, host, size);
	}
}

static void copy_out(u8 *host, const void *src, u32 size)
{
	switch (size) {
	case 1: *(volatile u8 *)host = *(const u8 *)src; break;
	case 2: *(volatile u16 *)host = *(const u16 *)src; break;
	case 4: *(volatile u32 *)host = *(const u32 *)src; break;
	case 8: *(volatile u64 *)host = *(const u64 *)src; break;
	default: memcpy(host, src, size);
	}
}

/* Both pages of an access (the second where it crosses); n is how much lies in the first. */
struct span {
	struct x86_mapping map[2];
	u32 n[2];
};

static int translate_span(struct x86_cpu *c, u64 lin, u32 size, enum x86_access acc, bool sys,
			  struct span *s)
{
	u32 room = PAGE_SIZE - (lin & ~PAGE_MASK);
	int r = x86_translate(c, lin, acc, sys, &s->map[0]);

	s->n[0] = min(size, room);
	s->n[1] = size - s->n[0];
	if (r || !s->n[1])
		return r;
	return x86_translate(c, (lin + s->n[0]) & c->lin_mask, acc, sys, &s->map[1]);
}

static int read_span(struct x86_cpu *c, const struct span *s, u8 *dst)
{
	for (int i = 0; i < 2 && s->n[i]; dst += s->n[i++]) {
		int r;

		if (s->map[i].host) {
			copy_in(dst, s->map[i].host, s->n[i]);
			continue;
		}
		r = mmio_read(c, s->map[i].gpa, dst, s->n[i]);
		if (r)
			return r;
	}
	return X86_OK;
}

static int write_span(struct x86_cpu *c, const struct span *s, const u8 *src)
{
	/* Refuse before the first byte is written. */
	if (!c->careful && (!s->map[0].host || (s->n[1] && !s->map[1].host)))
		return X86_CAREFUL;
	for (int i = 0; i < 2 && s->n[i]; src += s->n[i++]) {
		int r;

		if (s->map[i].host) {
			copy_out(s->map[i].host, src, s->n[i]);
			continue;
		}
		r = mmio_write(c, s->map[i].gpa, src, s->n[i]);
		if (r)
			return r;
	}
	return X86_OK;
}

int x86_read_slow(struct x86_cpu *c, u64 lin, void *dst, u32 size)
{
	struct span s;
	int r = check_access(c, lin, size, X86_READ);

	if (!r)
		r = translate_span(c, lin, size, X86_READ, false, &s);
	return r ? r : read_span(c, &s, dst);
}

int x86_write_slow(struct x86_cpu *c, u64 lin, const void *src, u32 size)
{
	struct span s;
	int r = check_access(c, lin, size, X86_WRITE);

	if (!r)
		r = translate_span(c, lin, size, X86_WRITE, false, &s);
	return r ? r : write_span(c, &s, src);
}

int x86_read_buf(struct x86_cpu *c, u64 lin, void *dst, u32 size)
{
	struct x86_tlb_entry *e = x86_tlb_slot(c, lin);

	if (likely(x86_tlb_hit(c, lin, size, e->rd))) {
		memcpy(dst, (void *)(lin + e->addend), size);
		return X86_OK;
	}
	return x86_read_slow(c, lin, dst, size);
}

int x86_write_buf(struct x86_cpu *c, u64 lin, const void *src, u32 size)
{
	struct x86_tlb_entry *e = x86_tlb_slot(c, lin);

	if (likely(x86_tlb_hit(c, lin, size, e->wr))) {
		memcpy((void *)(lin + e->addend), src, size);
		return X86_OK;
	}
	return x86_write_slow(c, lin, src, size);
}

int x86_rmw_slow(struct x86_cpu *c, u64 lin, u32 size, void **host)
{
	struct span s;
	int r = check_access(c, lin, size, X86_WRITE);

	*host = NULL;
	if (!r)
		r = translate_span(c, lin, size, X86_WRITE, false, &s);
	if (r)
		return r;
	/* A span with a second page (n[1]) is not contiguous in the host. */
	if (!s.n[1])
		*host = s.map[0].host;
	return X86_OK;
}

void x86_split_lock(struct x86_cpu *c)
{
	os_mutex_lock(&c->vcpu->kvm->arch.split_lock);
}

void x86_split_unlock(struct x86_cpu *c)
{
	os_mutex_unlock(&c->vcpu->kvm->arch.split_lock);
}

int x86_host_range(struct x86_cpu *c, u64 lin, enum x86_access acc, u32 *n, u8 **host)
{
	struct x86_mapping map;
	int r;

	/* Breakpoints and alignment are looked at byte by byte, in the element-wise path. */
	*host = NULL;
	if (c->tlb_ctx[0] != x86_mmu_context(c, 0))
		return X86_OK;
	if (c->mode == X86_MODE_64 && !canonical(c, lin))
		return x86_raise_noncanonical(c);
	r = x86_translate(c, lin, acc, false, &map);
	if (r)
		return r;
	*host = map.host;
	*n = min((u64)*n, PAGE_SIZE - (lin & ~PAGE_MASK));
	return X86_OK;
}

int x86_probe(struct x86_cpu *c, u64 lin, u32 size, enum x86_access acc)
{
	struct span s;

	if (c->mode == X86_MODE_64 && (!canonical(c, lin) || !canonical(c, lin + size - 1)))
		return x86_raise_noncanonical(c);
	return translate_span(c, lin, size, acc, false, &s);
}

/* ---- accesses by the processor itself ---- */

int x86_read_sys(struct x86_cpu *c, u64 lin, void *dst, u32 size)
{
	struct span s;
	int r = translate_span(c, lin, size, X86_READ, true, &s);

	return r ? r : read_span(c, &s, dst);
}

int x86_write_sys(struct x86_cpu *c, u64 lin, const void *src, u32 size)
{
	struct span s;
	int r = translate_span(c, lin, size, X86_WRITE, true, &s);

	return r ? r : write_span(c, &s, src);
}

int x86_or_sys(struct x86_cpu *c, u64 lin, u8 bits, bool clear)
{
	struct x86_mapping map;
	int r = x86_translate(c, lin, X86_WRITE, true, &map);
	u8 val;

	if (r)
		return r;
	if (map.host) {
		if (clear)
			atomic_and(map.host, (u8)~bits);
		else
			atomic_or(map.host, bits);
		return X86_OK;
	}
	r = mmio_read(c, map.gpa, &val, 1);
	if (r)
		return r;
	val = clear ? val & ~bits : val | bits;
	return mmio_write(c, map.gpa, &val, 1);
}

u32 x86_fetch(struct x86_cpu *c, u64 lin, u8 *buf, u32 n, int *result)
{
	u32 done = 0;

	*result = X86_OK;
	while (done < n) {
		u64 at = (lin + done) & c->lin_mask;
		u32 chunk = min((u64)(n - done), PAGE_SIZE - (at & ~PAGE_MASK));
		struct x86_mapping map;

		if (c->mode == X86_MODE_64 && !canonical(c, at)) {
			*result = x86_raise_err(c, X86_GP, 0);
			return done;
		}
		*result = x86_translate(c, at, X86_FETCH, false, &map);
		if (*result)
			return done;
		if (!map.host) {
			/* Code in a device's memory: what Linux's emulator cannot do either. */
			*result = x86_internal_error(c, KVM_INTERNAL_ERROR_EMULATION);
			return done;
		}
		memcpy(buf + done, map.host, chunk);
		done += chunk;
	}
	return done;
}
